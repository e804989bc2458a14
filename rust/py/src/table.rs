//! What the options choose, read once for all streams that have them.

use std::sync::Arc;

use pyo3::prelude::*;
use streamnorm_core::{
    Action, ErrorMark, ErrorTest, Mark, Marks, Shape, Source, Table as CoreTable, TagMode,
    Terminal, Vocabulary as CoreVocabulary,
};

use crate::host::Calls;

type PySource = (Vec<u8>, String, Vec<Vec<u8>>, Vec<(Option<Vec<u8>>, Vec<u8>)>);
/// The marks of one shape of errors: the path, the test by name.
type PyError = Vec<(Vec<Vec<u8>>, String)>;
type PyTable = (
    Vec<PySource>,
    Vec<(Vec<Vec<u8>>, Option<Vec<u8>>)>,
    Vec<Vec<u8>>,
    Vec<u8>,
    (usize, usize, usize),
    (Vec<u8>, Vec<u8>, Vec<u8>),
    Vec<Vec<u8>>,
    Vec<PyError>,
    (Vec<Vec<u8>>, Vec<Vec<u8>>),
);
/// What the options choose: the targets, `keep_original`, `finish`, `split_mixed`.
type PyChoice = (Vec<Vec<u8>>, bool, bool, bool);
/// A mark: text, action, family, tail, whether an upper-case letter follows, models.
type PyMark = (String, String, i32, String, bool, Vec<String>);
/// start, `flag_start`, after, `flag_after`, free, `any_closers`; closers and ends by family;
/// mode, prompted, family of flagged content, trim.
type PyMarks = (Vec<Vec<PyMark>>, Vec<Vec<PyMark>>, Vec<Vec<PyMark>>, (String, bool, usize, bool));

/// The delimiters of reasoning that an option set chooses, built once.
#[pyclass(frozen, module = "streamnorm._native")]
pub(crate) struct Vocabulary(Arc<CoreVocabulary>);

fn marks(given: Vec<PyMark>) -> Marks {
    let mark = |(text, action, family, tail, before_upper, models): PyMark| Mark {
        text: text.into(),
        action: match action.as_str() {
            "open" => Action::Open,
            "close" => Action::Close,
            "swallow" => Action::Swallow,
            "final" => Action::Final,
            "end" => Action::End,
            _ => Action::Implicit,
        },
        family,
        tail: tail.into(),
        before_upper,
        models: models.into_iter().map(Into::into).collect(),
    };
    given.into_iter().map(mark).collect()
}

#[pymethods]
impl Vocabulary {
    #[new]
    fn new(given: PyMarks) -> Self {
        let (places, closers, ends, (mode, is_prompted, flag_family, trim)) = given;
        let mut places = places.into_iter();
        let mut next = || marks(places.next().unwrap_or_default());
        Self(Arc::new(CoreVocabulary {
            start: next(),
            flag_start: next(),
            after: next(),
            flag_after: next(),
            free: next(),
            any_closers: next(),
            closers: closers.into_iter().map(marks).collect(),
            ends: ends.into_iter().map(marks).collect(),
            mode: match mode.as_str() {
                "anchored" => TagMode::Anchored,
                "free" => TagMode::Free,
                _ => TagMode::Off,
            },
            is_prompted,
            flag_family,
            trim,
        }))
    }
}

fn boxed(bytes: Vec<u8>) -> Box<[u8]> {
    bytes.into_boxed_slice()
}

/// The dialect table with what the options choose in it.
fn table(rows: PyTable, chosen: PyChoice, vocabulary: Arc<CoreVocabulary>) -> CoreTable {
    let (sources, terminals, unfinished, done_mark, limits, names, vague, errors, collected) = rows;
    let (text_keys, usage_keys) = collected;
    let (content, calls, flag) = names;
    let (repeat_memory, max_choices, sure_length) = limits;
    let (targets, keep_original, holds_finish, splits) = chosen;
    let source = |(key, shape, steps, picks): PySource| Source {
        key: boxed(key),
        shape: match shape.as_str() {
            "text" => Shape::Text,
            "object" => Shape::Object,
            "parts" => Shape::Parts,
            "flag" => Shape::Flag,
            "tags" => Shape::Tags,
            _ => Shape::Nested,
        },
        steps: steps.into_iter().map(boxed).collect(),
        picks: picks.into_iter().map(|(kind, name)| (kind.map(boxed), boxed(name))).collect(),
    };
    let terminal = |(path, value): (Vec<Vec<u8>>, Option<Vec<u8>>)| Terminal {
        path: path.into_iter().map(boxed).collect(),
        value: value.map(boxed),
    };
    let error = |(path, test): (Vec<Vec<u8>>, String)| ErrorMark {
        path: path.into_iter().map(boxed).collect(),
        test: match test.as_str() {
            "text" => ErrorTest::Text,
            "false" => ErrorTest::False,
            "said" | "http" | "code" => ErrorTest::Any,
            _ => ErrorTest::Is(boxed(test.into_bytes())),
        },
    };
    CoreTable {
        sources: sources.into_iter().map(source).collect(),
        targets: targets.into_iter().map(boxed).collect(),
        keep_original,
        terminals: terminals.into_iter().map(terminal).collect(),
        errors: errors.into_iter().map(|row| row.into_iter().map(error).collect()).collect(),
        unfinished: unfinished.into_iter().map(boxed).collect(),
        done_mark: boxed(done_mark),
        repeat_memory,
        max_choices,
        sure_length,
        vocabulary,
        content: boxed(content),
        calls: boxed(calls),
        flag: boxed(flag),
        vague: vague.into_iter().map(boxed).collect(),
        holds_finish,
        splits,
        text_keys: text_keys.into_iter().map(boxed).collect(),
        usage_keys: usage_keys.into_iter().map(boxed).collect(),
        keys: Vec::new(),
        source_keys: Vec::new(),
        target_keys: Vec::new(),
        content_key: 0,
        calls_key: 0,
        flag_key: 0,
        tag_source: 0,
    }
    .indexed()
}

/// The table with what an option set chooses in it, built once for all its streams.
#[pyclass(frozen, module = "streamnorm._native")]
pub(crate) struct Table {
    pub(crate) table: Arc<CoreTable>,
    pub(crate) calls: Arc<Calls>,
}

#[pymethods]
impl Table {
    #[new]
    fn new(
        rows: PyTable,
        chosen: PyChoice,
        vocabulary: &Vocabulary,
        calls: (Py<PyAny>, Py<PyAny>, Py<PyAny>),
    ) -> Self {
        let (fast_loads, loads, split) = calls;
        Self {
            table: Arc::new(table(rows, chosen, Arc::clone(&vocabulary.0))),
            calls: Arc::new(Calls { fast_loads, loads, split }),
        }
    }
}
