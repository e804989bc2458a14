//! The binding: types in and out, locks, and the two calls back into Python.

mod host;
mod model;

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};
use streamnorm_core::{
    Action, Counted, ErrorMark, ErrorTest, Fault, Framer, Keep, Limits, Mark, Marks,
    Normalizer as Core, Output, Shape, Source, Table as CoreTable, TagMode, Terminal, Unit,
    Vocabulary as CoreVocabulary,
};

use crate::host::{Attached, Calls, PyHost, joined};

/// Bytes that a stream may keep for its next output.
const MOST_KEPT: usize = 1024;

/// Reads whose times are kept until somebody asks for them.
const MOST_TIMES: usize = 512;

/// One more event in a pulse, and nothing else.
const ONE_EVENT: u64 = 8;

/// Raised with every change of this module's interface; `_engine.py` compares it.
const ABI: u32 = 5;

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
struct Vocabulary(Arc<CoreVocabulary>);

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
struct Table {
    table: Arc<CoreTable>,
    calls: Arc<Calls>,
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

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Line => "line",
        Unit::Event => "event",
    }
}

/// What `step` has noted; see `_engine.SteppingEngine.stepped`.
#[derive(Default)]
struct Noted {
    bytes: usize,
    last: f64,
    /// Of the reads that completed an event.
    times: Vec<f64>,
}

struct Stream {
    core: Core,
    host: PyHost,
    out: Vec<u8>,
    noted: Noted,
}

impl Stream {
    fn feed(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.core.feed(data, &mut Attached { host: &mut self.host, py }, &mut self.out)
    }

    fn pulse(&self) -> u64 {
        let facts = self.core.facts();
        let is_over = self.core.is_done() || self.core.fault().is_some();
        let flags = u64::from(is_over) | u64::from(facts.reasoning) << 1;
        facts.count << 3 | u64::from(facts.visible) << 2 | flags
    }

    /// Whether nothing is ready.
    fn is_empty(&self) -> bool {
        let (from, upto) = self.core.passed();
        let is_passed = from < upto || !self.core.unedited().is_empty();
        self.out.is_empty() && self.host.is_empty() && !is_passed
    }
}

/// One stream's engine. The lock makes the answer defined when two threads meet in it.
#[pyclass(frozen, subclass, module = "streamnorm._native")]
struct Normalizer {
    stream: Mutex<Stream>,
    output: Output,
    /// Gives the time of a `step`.
    clock: Option<Py<PyAny>>,
}

impl Normalizer {
    fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Stream) -> PyResult<T>,
    ) -> PyResult<T> {
        // A panic while the lock was held leaves no promise broken: the stream is over.
        let mut stream = self.stream.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        work(&mut stream)
    }

    /// What a read gives. `data` is what was fed.
    fn taken(&self, py: Python<'_>, stream: &mut Stream, data: &[u8]) -> PyResult<Py<PyAny>> {
        let Stream { core, host, out, .. } = stream;
        if self.output == Output::Dict {
            core.release(&[], &[]);
            return host.take_chunks(py);
        }
        let (from, upto) = core.passed();
        let passed = &data[from..upto];
        let bytes = joined(py, &[out, core.unedited(), passed])?;
        core.release(out, passed);
        // Of many streams, most wait: memory is not kept for the next read.
        if out.capacity() > MOST_KEPT {
            *out = Vec::new();
        }
        out.clear();
        Ok(bytes.into_any().unbind())
    }
}

#[pymethods]
impl Normalizer {
    #[new]
    fn new(
        py: Python<'_>,
        table: &Table,
        limits: (Option<usize>, Option<usize>),
        output: &str,
        reference: Py<PyAny>,
        collector: Option<Py<PyAny>>,
        clock: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let is_sse = output == "sse";
        let output = if is_sse { Output::Sse } else { Output::Dict };
        let limits = Limits { line: limits.0, event: limits.1 };
        let keep = match &collector {
            None => Keep::Nothing,
            Some(collector) if collector.bind(py).getattr("keeps_message")?.is_truthy()? => {
                Keep::All
            }
            Some(_) => Keep::Usage,
        };
        let core = Core::new(Arc::clone(&table.table), limits, output, keep);
        let host = PyHost::new(Arc::clone(&table.calls), reference, collector, is_sse);
        let stream = Stream { core, host, out: Vec::new(), noted: Noted::default() };
        Ok(Self { stream: Mutex::new(stream), output, clock })
    }

    fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<Py<PyAny>> {
        self.with(py, |stream| {
            if stream.core.append(data) {
                return Ok(match self.output {
                    Output::Sse => PyBytes::new(py, b"").into_any().unbind(),
                    Output::Dict => PyList::empty(py).into_any().unbind(),
                });
            }
            stream.feed(py, data)?;
            if stream.is_empty() && stream.core.fault().is_some() {
                return Ok(py.None());
            }
            self.taken(py, stream, data)
        })
    }

    /// All that a usual read needs, in one call; see `_engine.SteppingEngine.step`.
    fn step(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let data = item.cast_exact::<PyBytes>().map_or(&[][..], |data| data.as_bytes());
        let Some(clock) = self.clock.as_ref().filter(|_| !data.is_empty()) else {
            return Ok(PyTuple::empty(py).into_any().unbind());
        };
        let now: f64 = clock.bind(py).call0()?.extract()?;
        self.with(py, |stream| {
            let before = stream.pulse();
            if !stream.core.append(data) {
                stream.feed(py, data)?;
            }
            let after = stream.pulse();
            let is_noted = stream.noted.times.len() < MOST_TIMES;
            let is_usual = after == before || after == before + ONE_EVENT;
            if !is_noted || !is_usual || stream.host.has_several() {
                let out = self.taken(py, stream, data)?;
                return Ok((out, now).into_pyobject(py)?.into_any().unbind());
            }
            stream.noted.bytes += data.len();
            stream.noted.last = now;
            if after != before {
                stream.noted.times.push(now);
            }
            if self.output == Output::Dict {
                stream.core.release(&[], &[]);
                return Ok(stream.host.take_chunk().unwrap_or_else(|| py.None()));
            }
            if stream.is_empty() { Ok(py.None()) } else { self.taken(py, stream, data) }
        })
    }

    /// What `step` has noted since the last call; see `_engine.SteppingEngine.stepped`.
    fn stepped<'py>(&self, py: Python<'py>) -> PyResult<Option<(usize, f64, Bound<'py, PyBytes>)>> {
        self.with(py, |stream| {
            let Noted { bytes, last, times } = std::mem::take(&mut stream.noted);
            let times: Vec<u8> = times.into_iter().flat_map(f64::to_ne_bytes).collect();
            Ok((bytes > 0).then(|| (bytes, last, PyBytes::new(py, &times))))
        })
    }

    #[pyo3(signature = (failed=false))]
    fn close(&self, py: Python<'_>, failed: bool) -> PyResult<Py<PyAny>> {
        self.with(py, |stream| {
            let host = &mut Attached { host: &mut stream.host, py };
            stream.core.close(failed, host, &mut stream.out)?;
            self.taken(py, stream, &[])
        })
    }

    /// Give the collector what waits for it.
    fn hand_in(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |stream| stream.core.hand_in(&mut Attached { host: &mut stream.host, py }))
    }

    /// What every read asks for, in one number; see `_engine.NormalizerEngine.pulse`.
    #[getter]
    fn pulse(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |stream| Ok(stream.pulse()))
    }

    /// Facts of the fault that ended the stream, or None.
    #[getter]
    fn fault(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.with(py, |stream| {
            let Some(fault) = stream.core.fault() else {
                return Ok(None);
            };
            let facts = match fault {
                Fault::Handed => return Ok(stream.host.fault(py)),
                Fault::TooLarge(unit, limit) => {
                    ("too_large", unit_name(*unit), *limit).into_pyobject(py)?.into_any()
                }
                Fault::Empty { done, skipped } => {
                    ("empty", *done, *skipped).into_pyobject(py)?.into_any()
                }
                Fault::NotSse(head) => {
                    ("not_sse", PyBytes::new(py, head)).into_pyobject(py)?.into_any()
                }
                Fault::Truncated => ("truncated",).into_pyobject(py)?.into_any(),
            };
            Ok(Some(facts.unbind()))
        })
    }

    /// Whether `[DONE]` was seen.
    #[getter]
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.is_done()))
    }

    #[getter]
    fn events(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |stream| Ok(stream.core.facts().count))
    }

    #[getter]
    fn visible(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.facts().visible))
    }

    #[getter]
    fn reasoning(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.facts().reasoning))
    }

    /// The counters of what was decided here; see `counts_of` in `pure/documents.py`.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.with(py, |stream| {
            let counts = PyDict::new(py);
            let tally = stream.core.tally();
            for (counted, name) in Counted::ALL {
                let named = PyDict::new(py);
                for (source, count) in tally.of(counted) {
                    named.set_item(source, count)?;
                }
                counts.set_item(name, named)?;
            }
            counts.set_item("families", &tally.families)?;
            counts.set_item("vague", tally.vague)?;
            let (declined, alike) = stream.core.ways();
            let facts = stream.core.facts();
            counts.set_item("events", facts.count)?;
            counts.set_item("malformed", facts.malformed)?;
            counts.set_item("declined", declined)?;
            counts.set_item("alike", alike)?;
            counts.set_item("complete", facts.complete)?;
            counts.set_item("visible", facts.visible)?;
            counts.set_item("reasoning", facts.reasoning)?;
            Ok(counts)
        })
    }
}

type PyEvent<'py> = (
    Option<Bound<'py, PyString>>,
    Bound<'py, PyString>,
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
);

/// The event stream decoder: framing alone, no rules.
#[pyclass(frozen, module = "streamnorm._native")]
struct Decoder {
    framer: Mutex<Framer>,
    flush_tail: bool,
}

/// Decode as the standard does: what is not UTF-8 becomes U+FFFD.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(py, &String::from_utf8_lossy(bytes))
}

fn event<'py>(
    py: Python<'py>,
    framer: &Framer,
    block: &streamnorm_core::Block,
) -> Option<PyEvent<'py>> {
    let first = block.first?;
    let field = |span: Option<_>| span.map(|span| text(py, framer.bytes(span)));
    let data = if block.more.is_empty() {
        text(py, framer.bytes(first))
    } else {
        let mut joined = Vec::new();
        for (n, span) in block.values().enumerate() {
            if n > 0 {
                joined.push(b'\n');
            }
            joined.extend_from_slice(framer.bytes(span));
        }
        text(py, &joined)
    };
    Some((field(block.event), data, field(block.id), field(block.retry)))
}

impl Decoder {
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut Framer) -> T) -> T {
        work(&mut self.framer.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Decoder {
    #[new]
    fn new(max_line: Option<usize>, max_event: Option<usize>, flush_tail: bool) -> Self {
        let limits = Limits { line: max_line, event: max_event };
        Self { framer: Mutex::new(Framer::new(limits, false, false)), flush_tail }
    }

    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> Vec<PyEvent<'py>> {
        self.with(py, |framer| {
            let mut events = Vec::new();
            framer.push(data);
            while let Some(block) = framer.next_block() {
                events.extend(event(py, framer, &block));
            }
            framer.settle();
            framer.compact();
            events
        })
    }

    fn close<'py>(&self, py: Python<'py>) -> Vec<PyEvent<'py>> {
        self.with(py, |framer| {
            let block = if self.flush_tail { framer.close() } else { None };
            block.and_then(|block| event(py, framer, &block)).into_iter().collect()
        })
    }

    #[getter]
    fn fault(&self, py: Python<'_>) -> Option<(&'static str, usize)> {
        self.with(py, |framer| framer.fault.map(|(unit, limit)| (unit_name(unit), limit)))
    }

    #[getter]
    fn last_event_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.with(py, |framer| text(py, &framer.last_event_id))
    }

    #[getter]
    fn retry<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.with(py, |framer| framer.retry.as_deref().map(|retry| text(py, retry)))
    }
}

/// The Rust engine of streamnorm; `streamnorm.native` is what calls it.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::{Decoder, Normalizer, Table, Vocabulary};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("VERSION", env!("STREAMNORM_VERSION"))?;
        module.add("ABI", super::ABI)
    }
}
