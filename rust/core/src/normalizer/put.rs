//! What leaves the engine: bytes as they came, edited ones, and events of our own.

use super::{Host, Kind, Normalizer, Output};
use crate::blocks::Span;

/// Bytes of the end of the output that tell whether it is a blank line.
pub(super) const END: usize = 4;

impl Normalizer {
    pub(super) fn flush(&mut self, upto: usize, out: &mut Vec<u8>) {
        if upto > self.flushed {
            if self.output == Output::Sse {
                out.extend_from_slice(self.framer.bytes((self.flushed, upto)));
            }
            self.flushed = upto;
        }
    }

    /// Put out `edited` for the bytes of a value.
    pub(super) fn replace(&mut self, span: Span, edited: &[u8], out: &mut Vec<u8>) {
        if self.framer.bytes(span) != edited {
            self.flush(span.0, out);
            out.extend_from_slice(edited);
            self.flushed = span.1;
        }
    }

    /// An event of our own.
    pub(super) fn event(&self, document: &[u8], out: &mut Vec<u8>) {
        let is_lines = self.is_lines();
        out.extend_from_slice(if is_lines { b"" } else { b"data: " });
        out.extend_from_slice(document);
        out.extend_from_slice(if is_lines { b"\n" } else { b"\n\n" });
    }

    pub(super) fn is_lines(&self) -> bool {
        self.framer.is_lines() && !self.is_framed
    }

    /// Put out events for a line, or for the whole body; the line end stays behind them.
    pub(super) fn frame(&mut self, value: Span, documents: &[Vec<u8>], out: &mut Vec<u8>) {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        for document in documents {
            let start = document.iter().position(|byte| !is_space(byte)).unwrap_or(0);
            let end = document.iter().rposition(|byte| !is_space(byte)).map_or(0, |at| at + 1);
            self.event(&document[start.min(end)..end], out);
        }
        self.flushed = value.1;
    }

    /// Put out what is held back; `kind` says why.
    pub(super) fn put_out<H: Host>(
        &mut self,
        kind: Kind,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        for document in self.held(kind, host)? {
            self.kept.add(&document, &self.rules.table.usage_keys);
            self.event(&document, out);
        }
        Ok(())
    }

    pub(super) fn put_out_at_end<H: Host>(
        &mut self,
        kind: Kind,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        for document in self.held(kind, host)? {
            self.kept.add(&document, &self.rules.table.usage_keys);
            let mut end = self.end.clone();
            end.extend_from_slice(&out[out.len().saturating_sub(END)..]);
            let end = &end[end.len().saturating_sub(END)..];
            out.extend_from_slice(missing_end(end, self.is_lines()));
            self.event(&document, out);
        }
        Ok(())
    }

    /// Documents of our own with what is held back. (Chunks go straight to the host.)
    pub(super) fn held<H: Host>(
        &mut self,
        kind: Kind,
        host: &mut H,
    ) -> Result<Vec<Vec<u8>>, H::Error> {
        if !self.rules.choices.hold() {
            return Ok(Vec::new());
        }
        self.hand_in_chunks(host)?;
        let before = (&self.last[..], self.facts.complete, self.facts.has_deltas);
        let handed = host.hand_over(kind, (&[], &[]), &mut self.rules, before)?;
        self.last.clear();
        self.facts.visible |= handed.facts.visible;
        self.facts.reasoning |= handed.facts.reasoning;
        Ok(handed.before)
    }
}

/// What the output lacks before an event of our own can follow it.
fn missing_end(end: &[u8], is_lines: bool) -> &'static [u8] {
    let ends = |with: &[&[u8]]| with.iter().any(|with| end.ends_with(with));
    if end.is_empty() || ends(&[b"\n\n", b"\r\r", b"\r\n\r\n"]) {
        return b"";
    }
    if is_lines {
        return if ends(&[b"\n", b"\r"]) { b"" } else { b"\n" };
    }
    if ends(&[b"\n"]) { b"\n" } else { b"\n\n" }
}
