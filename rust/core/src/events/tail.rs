//! The unfinished line: what is known of it before its end comes.

use super::{BOM, FIELDS, Framer, HEAD_OF_LINE, Mode, first_mark, is_blank, names_its_field};
use crate::blocks::{Span, Unit};

impl Framer {
    /// Look at the unfinished line: is it over a limit, or can it be dropped?
    pub(super) fn tail(&mut self) {
        let end = self.buffer.len();
        if self.mode == Mode::Body {
            self.lines.skip_to(end);
            self.check_body(end);
            return;
        }
        let mut start = self.lines.start;
        if self.at_start {
            let head = &self.buffer[start..end];
            if head.len() < BOM.len() && BOM.starts_with(head) {
                return;
            }
            if head.starts_with(BOM) {
                start += BOM.len();
            }
        }
        let head = (start, end.min(start + HEAD_OF_LINE));
        if self.is_indented(head) {
            return;
        }
        let is_markup = |byte: Option<&u8>| byte == Some(&b'<');
        if self.mode == Mode::Undecided && is_markup(first_mark(&self.buffer[head.0..head.1])) {
            self.drop_markup(self.lines.start);
            return;
        }
        if !self.skipping && self.counts(head) {
            if self.is_certain(head) && !self.is_over(head, end - start) {
                self.room = self.room_behind(head, end - start);
            }
            return;
        }
        let head = &self.buffer[head.0..head.1];
        if self.skipping || names_its_field(head) {
            self.saw_unknown |= !self.skipping && head.first() != Some(&b':');
            self.skip_tail();
        }
    }

    /// See `room`; the unfinished line has `size` bytes.
    pub(super) fn room_behind(&self, head: Span, size: usize) -> usize {
        let is_data = self.buffer[head.0..head.1].starts_with(b"data:");
        if !is_data || self.mode != Mode::Events || self.at_start || !self.has_head {
            return 0;
        }
        let line = self.limits.line.unwrap_or(usize::MAX).saturating_sub(size);
        let event = self.limits.event.unwrap_or(usize::MAX).saturating_sub(size + self.block.size);
        line.min(event)
    }

    /// Whether no byte that may follow makes the line that begins so one that is not held.
    pub(super) fn is_certain(&self, head: Span) -> bool {
        let head = &self.buffer[head.0..head.1];
        let start = head.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
        self.mode == Mode::Ndjson
            || !self.block.stray.is_empty()
            || names_its_field(head)
            || matches!(start, None | Some(b'{' | b'['))
    }

    /// Whether the first line passes its limit before it says anything.
    pub(super) fn is_indented(&mut self, head: Span) -> bool {
        let head = &self.buffer[head.0..head.1];
        let blanks = head.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if let (Mode::Undecided, Some(limit)) = (self.mode, self.limits.line) {
            if blanks > limit {
                self.fault = Some((Unit::Line, limit));
            }
        }
        self.fault.is_some()
    }

    /// Whether a line that begins so passes a limit with its `size` bytes so far. The one
    /// that it passes first is named: so the reads do not matter.
    pub(super) fn is_over(&mut self, head: Span, size: usize) -> bool {
        let is_blank = is_blank(&self.buffer[head.0..head.1]);
        let event = self.limits.event.filter(|_| !is_blank);
        let room = event.map(|limit| limit.saturating_sub(self.block.size));
        let line = self.limits.line.filter(|limit| room.is_none_or(|room| *limit <= room));
        self.fault = match (line, event, room) {
            (Some(limit), _, _) if size > limit => Some((Unit::Line, limit)),
            (_, Some(limit), Some(room)) if size > room => Some((Unit::Event, limit)),
            _ => None,
        };
        self.fault.is_some()
    }

    pub(super) fn skip_tail(&mut self) {
        if self.mode == Mode::Undecided {
            self.mode = Mode::Events;
        }
        self.at_start = false;
        self.skipping = true;
        let (start, end) = (self.lines.start, self.buffer.len());
        self.pass(start, end);
        if self.keep_raw {
            self.lines.skip_to(end);
        } else {
            self.buffer.truncate(start);
            self.lines.skip_to(start);
        }
    }

    /// Whether a line that begins so is held, and therefore bounded.
    pub(super) fn counts(&self, head: Span) -> bool {
        let head = &self.buffer[head.0..head.1];
        match self.mode {
            Mode::Ndjson | Mode::Body => return true,
            Mode::Undecided => {
                let start = head.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
                if matches!(start, None | Some(b'{' | b'[')) {
                    return true;
                }
            }
            Mode::Events | Mode::Markup => {}
        }
        let name = &head[..memchr::memchr(b':', head).unwrap_or(head.len())];
        FIELDS.contains(&name) || (head.first() != Some(&b':') && self.is_stray(name, head))
    }
}
