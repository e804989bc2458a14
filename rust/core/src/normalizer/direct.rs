//! Reads whose events are decided where they stand: only what is left is held.
//!
//! What comes out does not depend on where the input is cut. So a read may be taken as two:
//! the bytes that complete the event at hand, which is in the framer's buffer, and the rest,
//! of which whatever the templates take is not copied there.

use memchr::memrchr2;

use super::{Host, Normalizer, Output};

/// Of a smaller read, little could be passed.
const LEAST: usize = 128;

impl Normalizer {
    /// Where the first event of `data` begins, if what follows may be taken where it stands.
    pub(super) fn can_pass(&self, data: &[u8]) -> Option<usize> {
        if data.len() < LEAST || self.templates.is_empty() {
            return None;
        }
        self.framer.ends_in(data)
    }

    /// Take a read whose first event begins at `start`.
    pub(super) fn take_directly<H: Host>(
        &mut self,
        data: &[u8],
        start: usize,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        if start > 0 {
            self.framer.push(&data[..start]);
            self.take(host, out)?;
            if self.fault.is_some() || self.waiting.is_some() || self.is_done {
                return self.feed(&data[start..], host, out);
            }
            if !self.framer.is_through() {
                self.framer.push(&data[start..]);
                return self.take(host, out);
            }
        }
        // An event that is cut off is not looked for.
        let complete = memrchr2(b'\n', b'\r', data).map_or(0, |end| end + 1);
        let mut at = start;
        if start < complete {
            at = self.skim_directly(&data[..complete], start, host, out)?;
        }
        if at == complete.max(start) {
            return self.hold(&data[at..], data, host, out);
        }
        self.put_out_passed(self.framer.ready(), data, out);
        self.framer.push(&data[at..]);
        self.take(host, out)
    }

    /// Hold the beginning of a line, until the rest of it comes.
    fn hold<H: Host>(
        &mut self,
        line: &[u8],
        data: &[u8],
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        let ready = self.framer.ready();
        self.framer.begin(line);
        self.framer.settle();
        let is_bad = self.framer.fault.is_some() || self.framer.refused.is_some();
        // A comment is ready before it has ended.
        if is_bad || self.framer.ready() != ready {
            self.put_out_passed(ready, data, out);
        }
        self.end_read(host, out)
    }

    /// Put out what has passed of `data`, since more is to follow; before it comes what is in
    /// the framer's buffer up to `ready`.
    fn put_out_passed(&mut self, ready: usize, data: &[u8], out: &mut Vec<u8>) {
        let (from, upto) = std::mem::take(&mut self.passed);
        if from == upto {
            return;
        }
        self.flush(ready, out);
        if self.output == Output::Sse {
            out.extend_from_slice(&data[from..upto]);
        }
    }
}
