//! The engine for one stream: framing, documents, how the stream ended.
//!
//! Mirrors `pure/normalizer.py`. What happens outside of Rust (building chunks, deciding
//! a declined event) is the `Host`'s.

mod direct;
mod document;
mod hand;
mod host;
mod put;
mod skim;

use std::sync::Arc;

pub use self::host::{Facts, Fault, Halves, Handed, Host, Kind, Model, Output};
use self::put::END;
use crate::blocks::{Block, BlockKind, Limits, Span};
use crate::documents::Document;
use crate::events::Framer;
use crate::kept::{Keep, Kept};
use crate::rules::{Rules, Tally};
use crate::table::Table;
use crate::template::Templates;

/// How often the states of the choices are taken back. Each time copies what they remember:
/// a stream that goes to and fro for ever stays with the reference engine.
const RETURNS: u32 = 16;

/// The whole engine for one stream.
// The flags are independent facts, not states of one machine.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug)]
pub struct Normalizer {
    framer: Framer,
    rules: Rules,
    templates: Templates,
    kept: Kept,
    output: Output,
    /// As long as a read goes on.
    document: Option<Box<Document>>,
    /// Up to where the framer's buffer has been put out.
    flushed: usize,
    /// What of the fed bytes was read where it stands, and not put out yet; see `direct`.
    passed: Span,
    facts: Facts,
    declined: u64,
    /// Events that a template decided.
    alike: u64,
    /// The last document after which something was held back.
    last: Vec<u8>,
    /// The end of what was put out: an event of our own needs a blank line before it.
    end: Vec<u8>,
    is_done: bool,
    is_closed: bool,
    /// The body was one whole completion: byte output makes an event stream of it.
    is_framed: bool,
    fault: Option<Fault>,
    /// Byte output: a fault whose event ended with a CR that was the last byte of its read.
    /// It waits for the next byte, since an LF there still belongs to the event.
    waiting: Option<Fault>,
    /// How often the states may still be taken back.
    returns: u32,
}

impl Normalizer {
    #[must_use]
    pub fn new(table: Arc<Table>, limits: Limits, output: Output, keep: Keep) -> Self {
        Self {
            framer: Framer::new(limits, output == Output::Sse, true),
            rules: Rules::new(table),
            templates: Templates::default(),
            kept: Kept::new(keep),
            output,
            document: None,
            flushed: 0,
            passed: (0, 0),
            facts: Facts::default(),
            declined: 0,
            alike: 0,
            last: Vec::new(),
            end: Vec::new(),
            is_done: false,
            is_closed: false,
            is_framed: false,
            fault: None,
            waiting: None,
            returns: RETURNS,
        }
    }

    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.rules.tally
    }

    /// Facts of the stream so far.
    #[must_use]
    pub fn facts(&self) -> Facts {
        let reasoning = self.facts.reasoning || self.rules.reasoning_seen;
        Facts { reasoning, ..self.facts }
    }

    /// How many events the reference decided, and how many a template.
    #[must_use]
    pub fn ways(&self) -> (u64, u64) {
        (self.declined, self.alike)
    }

    /// Take the next bytes; append to `out` the bytes that are ready (byte output). Those of
    /// `unedited` come behind them, then those of `data` at `passed`; `release` ends the read.
    pub fn feed<H: Host>(
        &mut self,
        data: &[u8],
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        self.passed = (0, 0);
        if self.fault.is_some() || data.is_empty() {
            return Ok(());
        }
        if self.waiting.is_some() {
            self.fault = self.waiting.take();
            out.extend_from_slice(if data[0] == b'\n' { b"\n" } else { b"" });
            return Ok(());
        }
        if self.is_done {
            if self.output == Output::Sse {
                out.extend_from_slice(data);
            }
            return Ok(());
        }
        if let Some(start) = self.can_pass(data) {
            return self.take_directly(data, start, host, out);
        }
        self.framer.push(data);
        self.take(host, out)
    }

    /// Take bytes that only go on with a line, as most small reads do: nothing comes of them.
    /// False, and they were not taken, where more may.
    pub fn append(&mut self, data: &[u8]) -> bool {
        let is_over = self.fault.is_some() || self.waiting.is_some() || self.is_done;
        !is_over && self.framer.append(data)
    }

    /// Byte output: the place in what was fed last of what leaves as it came.
    #[must_use]
    pub fn passed(&self) -> Span {
        if self.output == Output::Sse { self.passed } else { (0, 0) }
    }

    /// Byte output: what is ready behind `out` and leaves as it came, to be copied once.
    #[must_use]
    pub fn unedited(&self) -> &[u8] {
        let ready = self.framer.ready();
        let is_over = self.fault.is_some() || self.waiting.is_some() || self.is_done;
        if is_over || self.output != Output::Sse || ready <= self.flushed {
            return &[];
        }
        self.framer.bytes((self.flushed, ready))
    }

    /// End a read: what is ready is on its way, `out`, then `unedited`, then what `passed`.
    pub fn release(&mut self, out: &[u8], passed: &[u8]) {
        let mut last = [0; END];
        let rest = self.unedited();
        let rest = &rest[rest.len().saturating_sub(END)..];
        let count = rest.len();
        last[..count].copy_from_slice(rest);
        self.note_end(out);
        self.note_end(&last[..count]);
        self.note_end(passed);
        self.passed = (0, 0);
        // Of many streams, most wait: what the next read can make again is not kept.
        self.document = None;
        if self.facts.count > 0 {
            self.framer.forget_head();
        }
        self.flushed = self.flushed.max(self.framer.ready());
        let before = self.framer.len();
        self.framer.compact();
        self.flushed = self.flushed.saturating_sub(before - self.framer.len());
    }

    fn note_end(&mut self, out: &[u8]) {
        if !out.is_empty() {
            self.end.extend_from_slice(&out[out.len().saturating_sub(END)..]);
            self.end.drain(..self.end.len().saturating_sub(END));
        }
    }

    /// Give the host what is kept of the documents that came out.
    pub fn hand_in<H: Host>(&mut self, host: &mut H) -> Result<(), H::Error> {
        let kept = self.kept.take();
        if kept.is_empty() { Ok(()) } else { host.collect(kept) }
    }

    /// Decide what the framer has.
    fn take<H: Host>(&mut self, host: &mut H, out: &mut Vec<u8>) -> Result<(), H::Error> {
        self.skim(host, out)?;
        while let Some(block) = self.framer.next_block() {
            self.block(&block, host, out)?;
            if self.fault.is_some() || self.is_done {
                self.stop(block.raw.1, out);
                return Ok(());
            }
            self.skim(host, out)?;
        }
        self.framer.settle();
        self.end_read(host, out)
    }

    /// End the stream if what is left of a read is bad.
    fn end_read<H: Host>(&mut self, host: &mut H, out: &mut Vec<u8>) -> Result<(), H::Error> {
        if let Some((unit, limit)) = self.framer.fault {
            self.flush(self.framer.ready(), out);
            self.put_out(Kind::Flush, host, out)?;
            self.fault = Some(Fault::TooLarge(unit, limit));
        } else if let Some(head) = self.framer.refused.clone() {
            self.flush(self.framer.ready(), out);
            self.fault = Some(Fault::NotSse(head));
        }
        Ok(())
    }

    /// End the stream; the fault is set if it ended badly. Where its input has failed, a
    /// `finish_reason` that is held does not go out.
    pub fn close<H: Host>(
        &mut self,
        has_failed: bool,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        // A call of the host's that failed may have left it.
        self.passed = (0, 0);
        if std::mem::replace(&mut self.is_closed, true) {
            return Ok(());
        }
        if self.waiting.is_some() {
            self.fault = self.waiting.take();
        }
        if self.fault.is_none() && !self.is_done {
            if let Some(block) = self.framer.close() {
                self.block(&block, host, out)?;
            }
            if let (None, Some((unit, limit))) = (&self.fault, self.framer.fault) {
                self.flush(self.framer.ready(), out);
                self.put_out(Kind::Flush, host, out)?;
                self.fault = Some(Fault::TooLarge(unit, limit));
            } else if let (None, Some(head)) = (&self.fault, &self.framer.refused) {
                self.fault = Some(Fault::NotSse(head.clone()));
            } else {
                self.flush(self.framer.len(), out);
                if self.fault.is_none() && !self.is_done {
                    let is_good = self.facts.complete && !has_failed;
                    let kind = if is_good { Kind::End } else { Kind::Flush };
                    self.put_out_at_end(kind, host, out)?;
                }
            }
        }
        if self.fault.is_none() {
            self.fault = self.bad_end();
            if self.fault.is_none() && self.is_framed && !self.is_done && !has_failed {
                let mark = self.rules.table.done_mark.clone();
                self.event(&mark, out);
                self.is_done = true;
            }
        }
        Ok(())
    }

    fn bad_end(&self) -> Option<Fault> {
        // Byte output passes what is malformed; in chunk output nothing has come out.
        let is_passed = self.output == Output::Sse && self.facts.malformed > 0;
        let is_garbage = self.framer.is_garbage();
        if self.facts.count == 0 && (!is_passed || is_garbage) {
            return Some(if (self.framer.saw_unknown || is_garbage) && !self.is_done {
                Fault::NotSse(self.framer.head.clone())
            } else {
                Fault::Empty { done: self.is_done, skipped: self.facts.malformed }
            });
        }
        if self.is_done || self.facts.complete { None } else { Some(Fault::Truncated) }
    }

    /// After the end of the stream all bytes pass; after a fault none do.
    fn stop(&mut self, end: usize, out: &mut Vec<u8>) {
        let goes_on = self.is_done && self.fault.is_none();
        let upto = if goes_on { self.framer.len() } else { end };
        self.flush(upto, out);
        let ends_with_cr = end == self.framer.len() && self.framer.ends_with_cr();
        if self.output == Output::Sse && ends_with_cr && self.fault.is_some() {
            self.waiting = self.fault.take();
        }
    }

    fn block<H: Host>(
        &mut self,
        block: &Block,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        let start = block.raw.0;
        if block.kind == BlockKind::Stray {
            return self.hand_over(Kind::Stray, block, host, out);
        }
        let Some(first) = block.first else {
            return Ok(());
        };
        let is_said = block.values().any(|value| !is_blank(self.framer.bytes(value)));
        let is_done = |span: Span| {
            let value = self.framer.bytes(span);
            let start = value.iter().position(|byte| !matches!(byte, b' ' | b'\t'));
            start.is_some_and(|start| value[start..].starts_with(&self.rules.table.done_mark))
        };
        let ends = block.values().any(is_done);
        let is_first_done = is_done(first);
        let is_error = block.event.is_some_and(|event| self.framer.bytes(event) == b"error");
        if block.has_error && !is_said {
            self.hand_over(Kind::Stray, block, host, out)?;
        } else if is_error && is_said {
            self.hand_over(Kind::Error, block, host, out)?;
        } else if is_first_done {
            self.flush(start, out);
            self.put_out(Kind::End, host, out)?;
            if self.is_framed {
                let mark = self.framer.bytes(first).to_vec();
                self.frame(first, &[mark], out);
            }
        } else if is_said {
            // Several data lines are one document or several: the reference knows.
            let is_simple = block.more.is_empty() && block.kind != BlockKind::Body;
            let is_simple = is_simple && !block.has_error && !self.is_framed;
            if !is_simple || self.document(start, first, host, out)?.is_err() {
                let kind = match block.kind {
                    _ if ends => Kind::Last,
                    BlockKind::Body => Kind::Body,
                    _ if self.is_closed => Kind::Tail,
                    _ => Kind::Event,
                };
                self.hand_over(kind, block, host, out)?;
            }
        }
        self.is_done |= ends;
        Ok(())
    }
}

fn is_blank(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}
