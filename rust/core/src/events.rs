//! Lines to blocks: events of an event stream, objects of NDJSON, or one raw JSON body.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>

mod line;
mod tail;

use crate::blocks::{Block, Limits, Span, Unit};
use crate::lines::{Line, LineScanner};

const BOM: &[u8] = b"\xef\xbb\xbf";
const FIELDS: [&[u8]; 4] = [b"event", b"data", b"id", b"retry"];
/// Not a field of the standard: some servers write a bare `error: {...}` line when they
/// fail in the middle of a stream.
const ERROR_FIELD: &[u8] = b"error";
const LONGEST_FIELD: usize = 5;
/// So much of a line tells its field name.
const HEAD_OF_LINE: usize = 9;
pub(crate) const HEAD_BYTES: usize = 200;
/// Comments inside of an unfinished block may take so much more than its lines.
const SLACK: usize = 256 * 1024;
/// So large a read seldom holds no line end: it is not looked through for one beforehand.
const LARGE: usize = 4 * 1024;
/// Bytes that a buffer may keep for the next read: of many streams, most wait.
const KEPT_CAPACITY: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Before the first byte that is not white space: an object or a list cannot begin
    /// an event stream.
    Undecided,
    Events,
    Ndjson,
    Body,
    /// HTML or XML: nothing is read but the head.
    Markup,
}

/// How bodies begin whose `Content-Encoding` nobody undid: gzip, Zstandard, zlib.
const MAGIC: [&[u8]; 5] =
    [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda"];

// The flags are independent facts about the input, not states of one machine.
#[allow(clippy::struct_excessive_bools)]
/// Splits a body into blocks; the result does not depend on where the reads are cut.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    lines: LineScanner,
    limits: Limits,
    /// Byte output needs every byte; otherwise comments and unknown fields are dropped.
    keep_raw: bool,
    sniff: bool,
    block: Block,
    mode: Mode,
    at_start: bool,
    /// The line being read is a comment or an unknown field: its bytes are not held.
    skipping: bool,
    /// So many bytes may follow in the unfinished line, a `data` line, before there is
    /// anything to look at but line ends; 0 where that is not known.
    room: usize,
    pub fault: Option<(Unit, usize)>,
    pub last_event_id: Vec<u8>,
    id: Option<Vec<u8>>,
    pub retry: Option<Vec<u8>>,
    /// For the fault of a body that is no event stream.
    pub head: Vec<u8>,
    /// The head is all there, or nobody will ask for it.
    has_head: bool,
    pub saw_unknown: bool,
    saw_field: bool,
    /// Bytes with which a mark of `MAGIC` may begin; None once that is decided.
    first: Option<Vec<u8>>,
    /// The first bytes of an input that can be no event stream, once they are known.
    pub refused: Option<Vec<u8>>,
}

impl Framer {
    #[must_use]
    pub fn new(limits: Limits, keep_raw: bool, sniff: bool) -> Self {
        Self {
            buffer: Vec::new(),
            lines: LineScanner::default(),
            limits,
            keep_raw,
            sniff,
            block: Block::default(),
            mode: if sniff { Mode::Undecided } else { Mode::Events },
            at_start: true,
            skipping: false,
            room: 0,
            fault: None,
            last_event_id: Vec::new(),
            id: None,
            retry: None,
            head: Vec::new(),
            has_head: !sniff,
            saw_unknown: false,
            saw_field: false,
            first: sniff.then(Vec::new),
            refused: None,
        }
    }

    /// Take the next bytes; `next_block` then gives what they completed, and `settle` ends
    /// the read.
    pub fn push(&mut self, data: &[u8]) {
        self.room = 0;
        if self.fault.is_some() || self.refused.is_some() {
            return;
        }
        if !self.has_head {
            let wanted = (HEAD_BYTES - self.head.len()).min(data.len());
            self.head.extend_from_slice(&data[..wanted]);
            self.has_head = self.head.len() == HEAD_BYTES;
        }
        if self.mode == Mode::Markup {
            return;
        }
        if let Some(mut first) = self.first.take() {
            first.extend_from_slice(data);
            self.sniffed(first);
        } else {
            self.buffer.extend_from_slice(data);
        }
        let at = self.lines.start;
        if self.lines.take_late_lf(&self.buffer) {
            self.pass(at, at);
        }
    }

    /// How many bytes of `data` end the event whose only line is being read, 0 between events;
    /// None where they may do more than that, or nothing is known of the input yet.
    pub(crate) fn ends_in(&self, data: &[u8]) -> Option<usize> {
        let start = self.block_start()?;
        let is_known = self.has_head && self.first.is_none();
        if !is_known || self.lines.after_cr || self.refused.is_some() {
            return None;
        }
        if start == self.buffer.len() {
            return Some(0);
        }
        let end = memchr::memchr2(b'\n', b'\r', data)?;
        match data[end..] {
            [b'\n', b'\n', ..] => Some(end + 2),
            [b'\r', b'\n', b'\r', b'\n', ..] => Some(end + 4),
            _ => None,
        }
    }

    /// Whether all that was taken is read, and the next line is the first of its event.
    pub(crate) fn is_through(&self) -> bool {
        !self.lines.after_cr && self.block_start() == Some(self.buffer.len())
    }

    /// Take the beginning of a line, without its end.
    pub(crate) fn begin(&mut self, data: &[u8]) {
        self.room = 0;
        self.buffer.extend_from_slice(data);
        self.lines.pass_to(self.buffer.len());
    }

    /// Nobody will ask for the head: there was an event.
    pub(crate) fn forget_head(&mut self) {
        if !self.head.is_empty() {
            (self.head, self.has_head) = (Vec::new(), true);
        }
    }

    /// Take bytes that do no more than make an unfinished line longer; false where they may
    /// do more, and nothing was taken.
    pub(crate) fn append(&mut self, data: &[u8]) -> bool {
        let is_small = data.len() < self.room.min(LARGE);
        if !is_small || memchr::memchr2(b'\n', b'\r', data).is_some() {
            return false;
        }
        self.room -= data.len();
        self.buffer.extend_from_slice(data);
        self.lines.pass_to(self.buffer.len());
        true
    }

    /// Take the first bytes, as soon as it is known that they are not compressed.
    fn sniffed(&mut self, first: Vec<u8>) {
        if let Some(mark) = MAGIC.iter().find(|mark| first.starts_with(mark)) {
            self.refused = Some(mark.to_vec());
        } else if MAGIC.iter().any(|mark| mark.starts_with(&first)) {
            self.first = Some(first);
        } else {
            self.buffer.extend_from_slice(&first);
        }
    }

    /// The next complete block.
    pub fn next_block(&mut self) -> Option<Block> {
        while self.fault.is_none() && self.mode != Mode::Markup {
            let line = self.lines.next(&self.buffer)?;
            if let Some(block) = self.line(line) {
                return Some(block);
            }
        }
        None
    }

    /// All lines of this read have been taken: look at the unfinished one.
    pub fn settle(&mut self) {
        if self.fault.is_none() && (self.lines.start < self.buffer.len() || self.mode == Mode::Body)
        {
            self.tail();
        }
        if self.mode == Mode::Markup && self.head.len() == HEAD_BYTES && self.refused.is_none() {
            self.refused = Some(self.head.clone());
        }
    }

    /// Nothing of an HTML page is held or passed on.
    fn drop_markup(&mut self, start: usize) {
        self.mode = Mode::Markup;
        self.buffer.truncate(start);
        self.lines.skip_to(start);
    }

    /// End the input: the last block, although its blank line is missing.
    pub fn close(&mut self) -> Option<Block> {
        if self.fault.is_some() || self.refused.is_some() {
            return None;
        }
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            self.buffer.extend_from_slice(&first);
            self.tail();
        }
        let end = self.buffer.len();
        if self.lines.start < end || self.skipping {
            let line = Line { start: self.lines.start, end, next: end };
            self.lines.skip_to(end);
            if let Some(block) = self.line(line) {
                return Some(block);
            }
        }
        if self.mode == Mode::Markup {
            self.refused = Some(self.head.clone());
        }
        if self.fault.is_some() || self.refused.is_some() { None } else { self.dispatch(end) }
    }

    /// Whether the input begins like no text, and no field was seen in it.
    #[must_use]
    pub fn is_garbage(&self) -> bool {
        !self.saw_field && is_binary(&self.head)
    }

    #[must_use]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.buffer[span.0..span.1]
    }

    /// What is in the buffer from `at` on.
    #[must_use]
    pub(crate) fn rest(&self, at: usize) -> &[u8] {
        &self.buffer[at..]
    }

    /// Where the next block of an event stream begins, if no line of it was taken yet.
    pub(crate) fn block_start(&self) -> Option<usize> {
        let is_between = self.mode == Mode::Events
            && self.block.size == 0
            && !self.at_start
            && !self.skipping
            && self.fault.is_none();
        is_between.then_some(self.lines.start)
    }

    /// Whether a block of one line of that size passes no limit.
    pub(crate) fn fits(&self, size: usize) -> bool {
        self.limits.line.is_none_or(|limit| size <= limit)
            && self.limits.event.is_none_or(|limit| size <= limit)
    }

    /// Pass over a block.
    pub(crate) fn go_on_at(&mut self, at: usize) {
        self.lines.skip_to(at);
    }

    /// Up to where the buffer holds nothing that a later read could change.
    #[must_use]
    pub fn ready(&self) -> usize {
        if self.block.size > 0 { self.block.raw.0 } else { self.lines.start }
    }

    /// Whether all lines so far are complete, and the last may yet turn out a CRLF.
    #[must_use]
    pub fn ends_with_cr(&self) -> bool {
        self.lines.after_cr
    }

    #[must_use]
    pub fn is_lines(&self) -> bool {
        self.mode == Mode::Ndjson
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Forget what is `ready`, at the end of a read.
    pub fn compact(&mut self) {
        if !self.keep_raw && self.block.size > 0 {
            self.squeeze();
        }
        let count = self.ready();
        if count == 0 {
            return;
        }
        self.buffer.drain(..count);
        self.lines.shift(count);
        if self.block.size > 0 {
            self.block.raw.0 -= count;
            for span in self.block.spans_mut() {
                *span = (span.0 - count, span.1 - count);
            }
        }
        give_back(&mut self.buffer);
    }

    /// Chunk output: throw away the comments that lie between the lines of an unfinished
    /// block, once they are the larger part of what is held.
    fn squeeze(&mut self) {
        let (begun, held) = (self.block.raw.0, self.block.size);
        if self.mode == Mode::Body || self.lines.start - begun < 2 * held + SLACK {
            return;
        }
        let mut kept = Vec::with_capacity(held + self.buffer.len() - self.lines.start);
        for span in self.block.spans_mut() {
            let at = kept.len();
            kept.extend_from_slice(&self.buffer[span.0..span.1]);
            *span = (at, kept.len());
        }
        self.block.raw.0 = 0;
        let start = kept.len();
        kept.extend_from_slice(&self.buffer[self.lines.start..]);
        self.buffer = kept;
        self.lines.skip_to(start);
    }
}

/// Whether a line that begins so says which field it is, or that it is none.
fn names_its_field(head: &[u8]) -> bool {
    head.contains(&b':') || head.len() > LONGEST_FIELD
}

/// Keep no more memory than the next read of one event needs.
pub(crate) fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > 2 * KEPT_CAPACITY && buffer.len() < KEPT_CAPACITY {
        buffer.shrink_to_fit();
    }
}

/// Before an edit: as much room as the output may need of what is left of an input.
pub(crate) fn make_room(out: &mut Vec<u8>, rest: &[u8]) {
    out.reserve(rest.len() + rest.len() / 8);
}

/// The first byte that is no white space.
fn first_mark(head: &[u8]) -> Option<&u8> {
    head.iter().find(|byte| !matches!(byte, b' ' | b'\t'))
}

/// Whether the first bytes of an input are no text.
pub(crate) fn is_binary(head: &[u8]) -> bool {
    let is_broken = std::str::from_utf8(head).is_err_and(|error| error.error_len().is_some());
    is_broken || head.iter().any(|byte| matches!(byte, 0..=8 | 0x0e..=0x1a | 0x1c..=0x1f))
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}
