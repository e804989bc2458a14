//! The engine for one stream: framing, documents, how the stream ended.
//!
//! Mirrors `pure/normalizer.py`. What happens outside of Rust (building chunks, deciding
//! a declined event) is the `Host`'s.

use std::cell::Cell;

use crate::blocks::{Block, BlockKind, Limits, Span, Unit};
use crate::documents::Document;
use crate::events::Framer;
use crate::rules::{Rules, Tally};
use crate::scan::{Declined, Scan, Text};
use crate::splice;
use crate::state::{Choices, ExportedState};
use crate::table::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Sse,
    Dict,
}

/// What a declined event is; see `decide` in `pure/documents.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    /// Cut off by the end of the input.
    Tail,
    Error,
    Stray,
}

/// The facts of a fault; the words are in `faults.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    TooLarge(Unit, usize),
    Empty {
        done: bool,
        skipped: u64,
    },
    NotSse(Vec<u8>),
    Truncated,
    /// Found by the reference engine; the host has it.
    Handed,
}

/// What one event added to the facts of its stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub count: u64,
    pub malformed: u64,
    pub complete: bool,
    pub visible: bool,
    pub reasoning: bool,
}

/// The reference engine's answer.
#[derive(Debug, Default)]
pub struct Handed {
    /// For byte output: the edited values, as many as were given.
    pub edited: Vec<Vec<u8>>,
    pub is_fault: bool,
    /// The fault is that the event was cut off.
    pub is_cut_off: bool,
    pub facts: Facts,
}

/// What the engine needs from outside.
pub trait Host {
    type Error;

    /// Chunk output: take a normalised document. It is plain if all its integers fit 64 bits.
    fn chunk(&mut self, document: &[u8], is_plain: bool) -> Result<(), Self::Error>;

    /// Let the reference engine decide an event; the states of `rules` go there and stay.
    fn hand_over(
        &mut self,
        kind: Kind,
        values: &[&[u8]],
        rules: &mut Rules,
    ) -> Result<Handed, Self::Error>;

    /// The states of the choices back from the reference engine; None where they hold text
    /// that Rust cannot: lone surrogates.
    fn take_back(&mut self) -> Result<Option<Vec<(i64, ExportedState)>>, Self::Error>;
}

/// How often the states of the choices are taken back. Each time copies what they remember:
/// a stream that goes to and fro for ever stays with the reference engine.
const RETURNS: u32 = 16;

/// The whole engine for one stream.
#[derive(Debug)]
pub struct Normalizer {
    framer: Framer,
    rules: Rules,
    output: Output,
    document: Document,
    /// Up to where the framer's buffer has been put out.
    flushed: usize,
    facts: Facts,
    declined: u64,
    is_done: bool,
    is_closed: bool,
    fault: Option<Fault>,
    /// Byte output: a fault whose event ended with a CR that was the last byte of its read.
    /// It waits for the next byte, since an LF there still belongs to the event.
    waiting: Option<Fault>,
    /// How often the states may still be taken back.
    returns: u32,
}

impl Normalizer {
    #[must_use]
    pub fn new(table: Table, limits: Limits, output: Output) -> Self {
        Self {
            framer: Framer::new(limits, output == Output::Sse, true),
            rules: Rules::new(table),
            output,
            document: Document::default(),
            flushed: 0,
            facts: Facts::default(),
            declined: 0,
            is_done: false,
            is_closed: false,
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

    /// Facts of the stream so far, and how many events were declined.
    #[must_use]
    pub fn facts(&self) -> (Facts, u64) {
        let reasoning = self.facts.reasoning || self.rules.reasoning_seen;
        (Facts { reasoning, ..self.facts }, self.declined)
    }

    /// Take the next bytes; append to `out` the bytes that are ready (byte output).
    pub fn feed<H: Host>(
        &mut self,
        data: &[u8],
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
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
        self.framer.push(data);
        while let Some(block) = self.framer.next_block() {
            self.block(&block, host, out)?;
            if self.fault.is_some() || self.is_done {
                self.stop(block.raw.1, out);
                return Ok(());
            }
        }
        self.framer.settle();
        self.flush(self.framer.ready(), out);
        if let Some((unit, limit)) = self.framer.fault {
            self.fault = Some(Fault::TooLarge(unit, limit));
        }
        let before = self.framer.len();
        self.framer.compact();
        self.flushed = self.flushed.saturating_sub(before - self.framer.len());
        Ok(())
    }

    /// End the stream; the fault is set if it ended badly.
    pub fn close<H: Host>(&mut self, host: &mut H, out: &mut Vec<u8>) -> Result<(), H::Error> {
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
                self.fault = Some(Fault::TooLarge(unit, limit));
            } else {
                self.flush(self.framer.len(), out);
            }
        }
        if self.fault.is_none() {
            self.fault = self.bad_end();
        }
        Ok(())
    }

    fn bad_end(&self) -> Option<Fault> {
        // Byte output passes what is malformed; in chunk output nothing has come out.
        let has_passed_malformed = self.output == Output::Sse && self.facts.malformed > 0;
        if self.facts.count == 0 && !has_passed_malformed {
            return Some(if self.framer.saw_unknown && !self.is_done {
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

    fn flush(&mut self, upto: usize, out: &mut Vec<u8>) {
        if upto > self.flushed {
            if self.output == Output::Sse {
                out.extend_from_slice(self.framer.bytes((self.flushed, upto)));
            }
            self.flushed = upto;
        }
    }

    fn block<H: Host>(
        &mut self,
        block: &Block,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        if block.kind == BlockKind::Stray {
            return self.hand_over(Kind::Stray, &block.stray, host, out);
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
        let is_error = block.event.is_some_and(|event| self.framer.bytes(event) == b"error");
        if is_error && is_said {
            let values: Vec<Span> = block.values().collect();
            self.hand_over(Kind::Error, &values, host, out)?;
        } else if is_said && !is_done(first) {
            // Several data lines are one document or several: the reference knows.
            let is_simple = block.more.is_empty() && block.kind != BlockKind::Body;
            if !is_simple || self.document(first, host, out)?.is_err() {
                let values: Vec<Span> = block.values().collect();
                let is_tail = self.is_closed && block.kind != BlockKind::Body;
                let kind = if is_tail { Kind::Tail } else { Kind::Event };
                self.hand_over(kind, &values, host, out)?;
            }
        }
        self.is_done = ends;
        Ok(())
    }

    /// Decide one document; `Ok(Err(Declined))` leaves everything as it was.
    fn document<H: Host>(
        &mut self,
        span: Span,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<Scan<()>, H::Error> {
        let data = self.framer.bytes(span);
        let has_long_integer = Cell::new(false);
        let Ok(text) = Text::new(data, &has_long_integer) else {
            return Ok(Err(Declined));
        };
        let mut document = std::mem::take(&mut self.document);
        let read = document.read(text, &self.rules);
        let Ok((facts, texts)) = read else {
            self.document = document;
            return Ok(Err(Declined));
        };
        let is_stateful = texts.iter().any(|texts| !texts.is_empty());
        if is_stateful && !Self::has_states(&mut self.rules, &mut self.returns, host)? {
            self.document = document;
            return Ok(Err(Declined));
        }
        document.edit(text, &texts, &mut self.rules);
        drop(texts);
        self.facts.count += 1;
        self.facts.complete |= facts.complete;
        self.facts.visible |= facts.visible;
        let result = match (self.output, document.cuts.is_empty()) {
            (Output::Sse, true) => Ok(()),
            (Output::Sse, false) => {
                out.extend_from_slice(self.framer.bytes((self.flushed, span.0)));
                splice::make(text, &mut document.cuts, out);
                self.flushed = span.1;
                Ok(())
            }
            (Output::Dict, true) => host.chunk(data, !has_long_integer.get()),
            (Output::Dict, false) => {
                document.edited.clear();
                splice::make(text, &mut document.cuts, &mut document.edited);
                host.chunk(&document.edited, !has_long_integer.get())
            }
        };
        self.document = document;
        result.map(Ok)
    }

    /// Whether the states are here, or could be taken back.
    fn has_states<H: Host>(
        rules: &mut Rules,
        returns: &mut u32,
        host: &mut H,
    ) -> Result<bool, H::Error> {
        if !matches!(rules.choices, Choices::Away) {
            return Ok(true);
        }
        if *returns == 0 {
            return Ok(false);
        }
        *returns -= 1;
        let Some(states) = host.take_back()? else { return Ok(false) };
        rules.choices = Choices::load(states);
        Ok(true)
    }

    fn hand_over<H: Host>(
        &mut self,
        kind: Kind,
        spans: &[Span],
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        let values: Vec<&[u8]> = spans.iter().map(|span| self.framer.bytes(*span)).collect();
        let handed = host.hand_over(kind, &values, &mut self.rules)?;
        for (span, edited) in spans.iter().zip(&handed.edited) {
            if self.output == Output::Sse && self.framer.bytes(*span) != &edited[..] {
                self.flush(span.0, out);
                out.extend_from_slice(edited);
                self.flushed = span.1;
            }
        }
        self.declined += 1;
        self.facts.count += handed.facts.count;
        self.facts.malformed += handed.facts.malformed;
        self.facts.complete |= handed.facts.complete;
        self.facts.visible |= handed.facts.visible;
        self.facts.reasoning |= handed.facts.reasoning;
        if handed.is_fault && !(handed.is_cut_off && self.facts.complete) {
            self.fault = Some(Fault::Handed);
        }
        Ok(())
    }
}

fn is_blank(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}
