//! A complete line: which field it is, and what it adds to the block at hand.

use super::{BOM, ERROR_FIELD, FIELDS, Framer, HEAD_OF_LINE, Mode, is_blank};
use crate::blocks::{Block, BlockKind, Span, Unit};
use crate::lines::Line;
use crate::scan;

impl Framer {
    pub(super) fn line(&mut self, line: Line) -> Option<Block> {
        if self.skipping {
            self.skipping = false;
            self.pass(line.start, line.end);
            return None;
        }
        let mut start = line.start;
        if self.at_start {
            self.at_start = false;
            if self.buffer[start..line.end].starts_with(BOM) {
                start += BOM.len();
            }
        }
        let head = (start, line.end.min(start + HEAD_OF_LINE));
        let is_held = self.mode != Mode::Body && self.counts(head);
        if self.is_indented(head) || (is_held && self.is_over(head, line.end - start)) {
            // The line is not to be passed on, so it counts as still unread.
            self.lines.skip_to(line.start);
            return None;
        }
        if self.mode == Mode::Undecided {
            self.decide((start, line.end), line.start);
            if self.mode == Mode::Markup {
                self.drop_markup(line.start);
            }
        }
        match self.mode {
            Mode::Events => self.field(line, start),
            Mode::Undecided | Mode::Markup => None,
            Mode::Ndjson => self.json_line(line, start),
            Mode::Body => {
                self.check_body(line.next);
                None
            }
        }
    }

    fn decide(&mut self, text: Span, raw_start: usize) {
        let line = &self.buffer[text.0..text.1];
        let Some(first) = line.iter().find(|byte| !matches!(byte, b' ' | b'\t')) else {
            return;
        };
        self.mode = match first {
            b'[' => Mode::Body,
            b'{' if !scan::is_balanced(line) => Mode::Body,
            b'{' => Mode::Ndjson,
            b'<' => Mode::Markup,
            _ => Mode::Events,
        };
        if self.mode == Mode::Body {
            self.block = Block { kind: BlockKind::Body, raw: (raw_start, 0), ..Block::default() };
        }
    }

    fn field(&mut self, line: Line, start: usize) -> Option<Block> {
        let text = &self.buffer[start..line.end];
        if text.is_empty() {
            let begun = self.block.size > 0;
            self.pass(line.start, line.end);
            return if begun && self.fault.is_none() { self.dispatch(line.next) } else { None };
        }
        let colon = memchr::memchr(b':', text);
        let name = &text[..colon.unwrap_or(text.len())];
        let mut value = (start + colon.map_or(text.len(), |at| at + 1), line.end);
        if self.buffer.get(value.0) == Some(&b' ') && value.0 < value.1 {
            value.0 += 1;
        }
        self.saw_field |= FIELDS.contains(&name);
        if name == b"data" {
            self.hold(line.start, text.len());
            self.block.push_value(value);
        } else if FIELDS.contains(&name) {
            let kind = name[0];
            self.hold(line.start, text.len());
            self.control(kind, value);
        } else if colon != Some(0) && self.is_stray(name, text) {
            let is_error = name == ERROR_FIELD;
            self.hold(line.start, text.len());
            self.block.has_error |= is_error;
            self.block.stray.push(if is_error { value } else { (start, line.end) });
        } else {
            self.saw_unknown |= colon != Some(0);
            self.pass(line.start, line.end);
        }
        None
    }

    fn control(&mut self, kind: u8, value: Span) {
        let text = &self.buffer[value.0..value.1];
        match kind {
            b'e' => self.block.event = Some(value),
            b'i' => {
                if !text.contains(&0) {
                    self.id = Some(text.to_vec());
                    self.block.id = Some(value);
                }
            }
            _ => {
                if !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
                    self.retry = Some(text.to_vec());
                    self.block.retry = Some(value);
                }
            }
        }
    }

    /// Whether a line that is no field may be a raw JSON error, or go on with one.
    pub(super) fn is_stray(&self, name: &[u8], text: &[u8]) -> bool {
        if !self.sniff || name == ERROR_FIELD {
            return self.sniff;
        }
        if self.block.first.is_some() {
            return self.block.has_error;
        }
        text.first() == Some(&b'{') || !self.block.stray.is_empty()
    }

    fn json_line(&mut self, line: Line, start: usize) -> Option<Block> {
        let text = &self.buffer[start..line.end];
        if is_blank(text) {
            return None;
        }
        Some(Block {
            kind: BlockKind::Json,
            raw: (line.start, line.next),
            first: Some((start, line.end)),
            ..Block::default()
        })
    }

    /// Count a line of the block; the first one begins it.
    fn hold(&mut self, raw_start: usize, size: usize) {
        if self.block.size == 0 {
            self.block.raw.0 = raw_start;
        }
        self.block.size += size;
        self.check_event(self.block.size);
    }

    /// Bytes that no rule will look at.
    pub(super) fn pass(&mut self, start: usize, end: usize) {
        if self.mode != Mode::Body && self.keep_raw && self.block.size > 0 {
            self.hold(start, end - start);
        }
    }

    fn check_event(&mut self, size: usize) {
        if let Some(limit) = self.limits.event.filter(|limit| size > *limit) {
            self.fault = Some((Unit::Event, limit));
        }
    }

    pub(super) fn check_body(&mut self, end: usize) {
        self.block.size = end - self.block.raw.0;
        self.check_event(self.block.size);
    }

    pub(super) fn dispatch(&mut self, end: usize) -> Option<Block> {
        let mut block = std::mem::take(&mut self.block);
        if let Some(id) = &self.id {
            self.last_event_id.clone_from(id);
        }
        block.raw.1 = end;
        if block.kind == BlockKind::Body {
            let mut start = block.raw.0;
            if self.buffer[start..].starts_with(BOM) {
                start += BOM.len();
            }
            block.first = Some((start, end));
            return Some(block);
        }
        if block.first.is_some() {
            return Some(block);
        }
        if block.stray.is_empty() {
            return None;
        }
        block.kind = BlockKind::Stray;
        Some(block)
    }
}
