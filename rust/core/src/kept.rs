//! What came out of a stream, for those who will ask for its message and its usage.

use memchr::memmem;

use crate::template::Template;

/// So many bytes may wait before some are given away: most streams end before, and of most
/// nobody asks for the message.
const MOST_BYTES: usize = 64 * 1024;
/// And so many documents, since all that wait are parsed at once when somebody asks.
const MOST_DOCUMENTS: usize = 2048;
/// So many are given away at once: they are parsed then, and others wait meanwhile.
const GIVEN_AT_ONCE: usize = 64;

/// Which documents are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Nothing,
    /// Those with an object under one of the names in `Table::usage_keys`.
    Usage,
    All,
}

/// Documents in normal form that came out and were not given away yet.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    keep: Keep,
    documents: Vec<Vec<u8>>,
    bytes: usize,
    /// Events behind those documents that are alike.
    run: Option<Run>,
}

/// Events that one template has taken, in succession.
#[derive(Debug)]
struct Run {
    serial: u64,
    parts: Vec<Vec<u8>>,
    /// Their texts as they were spelled, one behind the other.
    texts: Vec<u8>,
    /// Where each text ends; empty where one document with all of them says the same.
    ends: Vec<u32>,
    adds_up: bool,
}

impl Run {
    fn add(&mut self, raw: &[u8]) {
        grow(&mut self.texts, raw.len());
        self.texts.extend_from_slice(raw);
        if !self.adds_up {
            self.ends.push(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        }
    }

    /// Append its oldest documents, no more than `most`, and forget them.
    fn write(&mut self, most: usize, documents: &mut Vec<Vec<u8>>) {
        if self.adds_up {
            documents.push(self.parts.join(&self.texts[..]));
            self.texts.clear();
            return;
        }
        let mut start = 0;
        let count = self.ends.len().min(most);
        for end in self.ends.drain(..count) {
            let end = end as usize;
            documents.push(self.parts.join(&self.texts[start..end]));
            start = end;
        }
        self.texts.drain(..start);
        let start = u32::try_from(start).unwrap_or(u32::MAX);
        for end in &mut self.ends {
            *end -= start;
        }
    }

    fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(Vec::len).sum::<usize>();
        parts + self.texts.len() + self.ends.len() * size_of::<u32>()
    }
}

impl Kept {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Whether documents are wanted at all.
    pub(crate) fn is_wanted(&self) -> bool {
        self.keep != Keep::Nothing
    }

    /// Whether every document is wanted, whatever is in it.
    pub(crate) fn wants_all(&self) -> bool {
        self.keep == Keep::All
    }

    /// Whether so much waits that it should be given away.
    pub(crate) fn is_full(&self) -> bool {
        let alike = self.run.as_ref().map_or(0, |run| run.ends.len());
        self.bytes > MOST_BYTES || self.documents.len() + alike >= MOST_DOCUMENTS
    }

    /// Whether a document may hold usage, where only such are kept.
    pub(crate) fn holds(&self, document: &[u8], usage_keys: &[Box<[u8]>]) -> bool {
        self.keep == Keep::Usage && holds_usage(document, usage_keys)
    }

    /// Keep a document, or several with a line feed between any two.
    pub(crate) fn add(&mut self, document: &[u8], usage_keys: &[Box<[u8]>]) {
        let is_wanted = match self.keep {
            Keep::Nothing => false,
            Keep::Usage => holds_usage(document, usage_keys),
            Keep::All => true,
        };
        if is_wanted {
            self.end_run();
            self.push(document.to_vec());
        }
    }

    /// Keep a document that a template has taken, with `raw` for its text as it was spelled.
    pub(crate) fn repeat(&mut self, template: &Template, raw: &[u8]) {
        let is_wanted = match self.keep {
            Keep::Nothing => false,
            Keep::Usage => template.has_usage,
            Keep::All => true,
        };
        if !is_wanted {
            return;
        }
        let is_known = self.run.as_ref().is_some_and(|run| run.serial == template.serial);
        if !is_known {
            self.end_run();
            let (serial, parts) = (template.serial, template.parts());
            let adds_up = template.adds_up && parts.len() == 2;
            let run = Run { serial, parts, texts: Vec::new(), ends: Vec::new(), adds_up };
            self.bytes += run.bytes();
            self.run = Some(run);
        }
        if let Some(run) = &mut self.run {
            run.add(raw);
            self.bytes += raw.len() + if run.adds_up { 0 } else { size_of::<u32>() };
        }
    }

    /// Take all that waits.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        self.end_run();
        self.bytes = 0;
        std::mem::take(&mut self.documents)
    }

    /// Take what waits longest: so much as may be parsed at once.
    pub(crate) fn take_oldest(&mut self) -> Vec<Vec<u8>> {
        let count = self.documents.len().min(GIVEN_AT_ONCE);
        let mut taken: Vec<_> = self.documents.drain(..count).collect();
        if count < GIVEN_AT_ONCE {
            if let Some(mut run) = self.run.take() {
                run.write(GIVEN_AT_ONCE - count, &mut taken);
                self.run = Some(run).filter(|run| !run.texts.is_empty());
            }
        }
        self.bytes = self.documents.iter().map(Vec::len).sum::<usize>()
            + self.run.as_ref().map_or(0, Run::bytes);
        taken
    }

    fn push(&mut self, document: Vec<u8>) {
        self.bytes += document.len();
        self.documents.push(document);
    }

    fn end_run(&mut self) {
        if let Some(mut run) = self.run.take() {
            run.write(usize::MAX, &mut self.documents);
        }
    }
}

/// Make room for more: by a quarter, since of many streams most wait.
fn grow(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more + bytes.len() / 4);
    }
}

/// Whether an object may stand under one of the names; see `collect.py`.
pub(crate) fn holds_usage(document: &[u8], names: &[Box<[u8]>]) -> bool {
    names.iter().any(|name| {
        memmem::find_iter(document, &**name).any(|at| {
            let is_space = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
            let rest = &document[at + name.len()..];
            let colon = rest.iter().position(is_space).unwrap_or(rest.len());
            let Some((b':', rest)) = rest[colon..].split_first() else { return false };
            rest.iter().find(|byte| is_space(byte)) == Some(&b'{')
        })
    })
}
