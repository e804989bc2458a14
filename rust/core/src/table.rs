//! The dialect table, as the Python side hands it over: no provider is known here.

use std::sync::Arc;

use crate::marks::Vocabulary;

/// How a source holds its text; see `Source` in `dialects.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    Object,
    Nested,
    /// In `content`: a list of parts, flagged content, content with delimiters.
    Parts,
    Flag,
    Tags,
}

/// (value that `type` must have, name of the string member).
pub type Pick = (Option<Box<[u8]>>, Box<[u8]>);

/// One row of `SOURCES`.
#[derive(Clone, Debug)]
pub struct Source {
    pub key: Box<[u8]>,
    pub shape: Shape,
    pub steps: Vec<Box<[u8]>>,
    pub picks: Vec<Pick>,
}

/// One row of `TERMINALS`.
#[derive(Clone, Debug)]
pub struct Terminal {
    pub path: Vec<Box<[u8]>>,
    pub value: Option<Box<[u8]>>,
}

/// What must stand at one place of an error body; what is more is for the reference.
#[derive(Clone, Debug)]
pub enum ErrorTest {
    /// This string.
    Is(Box<[u8]>),
    Text,
    False,
    /// Anything but null.
    Any,
}

/// One mark of one row of `ERRORS`.
#[derive(Clone, Debug)]
pub struct ErrorMark {
    pub path: Vec<Box<[u8]>>,
    pub test: ErrorTest,
}

/// Everything that the engine knows of the outside world.
#[derive(Clone, Debug)]
pub struct Table {
    pub sources: Vec<Source>,
    /// Keys that the text is written to, the leading one first.
    pub targets: Vec<Box<[u8]>>,
    pub keep_original: bool,
    pub terminals: Vec<Terminal>,
    pub errors: Vec<Vec<ErrorMark>>,
    pub unfinished: Vec<Box<[u8]>>,
    pub done_mark: Box<[u8]>,
    /// Code points of emitted text that a choice remembers.
    pub repeat_memory: usize,
    pub max_choices: usize,
    pub vocabulary: Arc<Vocabulary>,
    /// `content`, the list of tool calls, and the member that may flag content.
    pub content: Box<[u8]>,
    pub calls: Box<[u8]>,
    pub flag: Box<[u8]>,
    /// `finish_reason` values that say nothing of tool calls.
    pub vague: Vec<Box<[u8]>>,
    /// A `finish_reason` is held back to the end.
    pub holds_finish: bool,
    /// A delta that mixes reasoning and answer is split.
    pub splits: bool,
    /// Members of a delta whose strings are increments.
    pub text_keys: Vec<Box<[u8]>>,
    /// Names of members that hold usage, in quotes.
    pub usage_keys: Vec<Box<[u8]>>,
    /// Code points from which on an equal text is no coincidence.
    pub sure_length: usize,
    /// The distinct keys of sources and targets; a key's place here is its id.
    pub keys: Vec<Box<[u8]>>,
    /// For each source, the id of its key.
    pub source_keys: Vec<usize>,
    /// For each target, the id of its key.
    pub target_keys: Vec<usize>,
    pub content_key: usize,
    pub calls_key: usize,
    pub flag_key: usize,
    /// The source of delimited content.
    pub tag_source: usize,
}

impl Table {
    /// Give every key its id.
    #[must_use]
    pub fn indexed(mut self) -> Self {
        let mut keys: Vec<Box<[u8]>> = Vec::new();
        let mut id_of = |key: &[u8]| {
            keys.iter().position(|known| **known == *key).unwrap_or_else(|| {
                keys.push(key.into());
                keys.len() - 1
            })
        };
        self.source_keys = self.sources.iter().map(|source| id_of(&source.key)).collect();
        self.target_keys = self.targets.iter().map(|target| id_of(target)).collect();
        self.content_key = id_of(&self.content);
        self.calls_key = id_of(&self.calls);
        self.flag_key = id_of(&self.flag);
        let is_tags = |source: &Source| source.shape == Shape::Tags;
        self.tag_source = self.sources.iter().position(is_tags).unwrap_or(usize::MAX);
        self.keys = keys;
        self
    }

    pub(crate) fn key_id(&self, name: &[u8]) -> Option<usize> {
        self.keys.iter().position(|key| **key == *name)
    }

    pub(crate) fn is_target(&self, key: usize) -> bool {
        self.target_keys.contains(&key)
    }
}
