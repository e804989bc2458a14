//! Bytes to lines, for any cutting: LF, CR and CRLF end a line.
//!
//! Source: <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream>

use memchr::memchr2;

/// Finds line ends in a buffer that grows at its end and is cut at its front.
#[derive(Debug, Default)]
pub(crate) struct LineScanner {
    /// Where the unfinished line starts.
    pub(crate) start: usize,
    /// How far it has been searched: no byte is searched twice.
    searched: usize,
    /// The last line ended with a CR that was the last byte there was. The line is
    /// complete; an LF that comes next belongs to that same line end.
    pub(crate) after_cr: bool,
}

/// One line: where it starts, where its content ends, where the next one starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) next: usize,
}

impl LineScanner {
    /// Before the first byte that follows a read: whether that byte is the LF of a CRLF
    /// whose CR ended the line before. It is then passed over.
    pub(crate) fn take_late_lf(&mut self, buffer: &[u8]) -> bool {
        if !self.after_cr || self.start >= buffer.len() {
            return false;
        }
        self.after_cr = false;
        if buffer[self.start] != b'\n' {
            return false;
        }
        self.start += 1;
        self.searched = self.start;
        true
    }

    /// The next complete line.
    pub(crate) fn next(&mut self, buffer: &[u8]) -> Option<Line> {
        let Some(found) = memchr2(b'\n', b'\r', &buffer[self.searched..]) else {
            self.searched = buffer.len();
            return None;
        };
        let end = self.searched + found;
        let mut next = end + 1;
        if buffer[end] == b'\r' {
            match buffer.get(next) {
                Some(b'\n') => next += 1,
                Some(_) => {}
                None => self.after_cr = true,
            }
        }
        let line = Line { start: self.start, end, next };
        self.skip_to(next);
        Some(line)
    }

    /// Go on at `at`, whatever lies before it.
    pub(crate) fn skip_to(&mut self, at: usize) {
        self.start = at;
        self.searched = at;
    }

    /// There is no line end before `at`.
    pub(crate) fn pass_to(&mut self, at: usize) {
        self.searched = at;
    }

    /// The buffer has lost its first `count` bytes.
    pub(crate) fn shift(&mut self, count: usize) {
        self.start -= count;
        self.searched -= count;
    }
}
