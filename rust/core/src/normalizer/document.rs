//! One document: decided by a template or by the rules, put out, and kept.

use std::cell::Cell;

use super::{Host, Normalizer, Output};
use crate::blocks::Span;
use crate::documents::Document;
use crate::events;
use crate::scan::{Declined, Scan, Text};
use crate::splice;

impl Normalizer {
    /// Decide one document; `Ok(Err(Declined))` leaves everything as it was.
    pub(super) fn document<H: Host>(
        &mut self,
        start: usize,
        span: Span,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<Scan<()>, H::Error> {
        if self.by_template(span, host, out)? {
            return Ok(Ok(()));
        }
        let mut document = self.document.take().unwrap_or_default();
        let decided = self.decide(&mut document, span, host);
        let result = match decided {
            Ok(Ok(is_plain)) => self.deliver(&mut document, (start, span), is_plain, host, out),
            Ok(Err(declined)) => {
                self.document = Some(document);
                return Ok(Err(declined));
            }
            Err(error) => Err(error),
        };
        self.document = Some(document);
        result.map(Ok)
    }

    /// Find what changes in a document; whether its integers are short.
    fn decide<H: Host>(
        &mut self,
        document: &mut Document,
        span: Span,
        host: &mut H,
    ) -> Result<Scan<bool>, H::Error> {
        self.rules.tally.added.clear();
        let data = self.framer.bytes(span);
        let has_long_integer = Cell::new(false);
        let Ok(text) = Text::new(data, &has_long_integer) else {
            return Ok(Err(Declined));
        };
        let Ok((facts, mut said)) = document.read(text, &self.rules, self.facts.has_deltas) else {
            return Ok(Err(Declined));
        };
        let is_stateful = document.is_stateful(&said);
        if is_stateful && !Self::has_states(&mut self.rules, &mut self.returns, host)? {
            return Ok(Err(Declined));
        }
        if is_stateful && document.check(text, &mut said, &self.rules).is_err() {
            return Ok(Err(Declined));
        }
        let is_visible = document.edit(text, &mut said, &mut self.rules);
        for (index, reason) in &document.finishes {
            host.note_finish(*index, reason)?;
        }
        if self.rules.has_held {
            self.last.clear();
            self.last.extend_from_slice(data);
        }
        self.facts.count += 1;
        self.facts.complete |= facts.complete;
        self.facts.has_deltas |= facts.has_deltas;
        self.facts.visible |= facts.visible || is_visible;
        let is_plain = !has_long_integer.get();
        Self::learn((&mut self.templates, &self.kept, &self.rules), document, text, is_plain);
        Ok(Ok(is_plain))
    }

    /// Put out a document that was decided.
    fn deliver<H: Host>(
        &mut self,
        document: &mut Document,
        (start, span): (usize, Span),
        is_plain: bool,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        if self.rules.table.splits {
            return self.deliver_split(document, (start, span), is_plain, host, out);
        }
        let is_edited = !document.cuts.is_empty();
        let data = self.framer.bytes(span);
        if self.kept.is_wanted() && is_edited {
            document.edited.clear();
            splice::make(data, &mut document.cuts, &mut document.edited);
            self.kept.add(&document.edited, &self.rules.table.usage_keys);
        } else {
            self.kept.add(data, &self.rules.table.usage_keys);
        }
        match self.output {
            Output::Sse if is_edited => {
                events::make_room(out, self.framer.rest(self.flushed));
                out.extend_from_slice(self.framer.bytes((self.flushed, span.0)));
                // What follows the last change is copied once, at the end of the read.
                self.flushed = span.0 + splice::begin(data, &mut document.cuts, out);
            }
            Output::Sse => {}
            Output::Dict => host.chunk(&splice::pieces(data, &mut document.cuts), is_plain)?,
        }
        self.give_away(host)
    }

    /// As `deliver`, of a document that may become two.
    fn deliver_split<H: Host>(
        &mut self,
        document: &mut Document,
        (start, span): (usize, Span),
        is_plain: bool,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        document.edited.clear();
        let data = self.framer.bytes(span);
        splice::make(data, &mut document.cuts, &mut document.edited);
        let halves = host.split(&document.edited)?;
        let (first, rest) = match &halves {
            Some((first, rest)) => (Some(&first[..]), &rest[..]),
            None => (None, &document.edited[..]),
        };
        for half in first.into_iter().chain([rest]) {
            self.kept.add(half, &self.rules.table.usage_keys);
            if self.output == Output::Dict {
                host.chunk(&[half], is_plain)?;
            }
        }
        if self.output == Output::Sse {
            if let Some(first) = first {
                self.flush(start, out);
                self.event(first, out);
            }
            self.replace(span, rest, out);
        }
        self.give_away(host)
    }

    fn give_away<H: Host>(&mut self, host: &mut H) -> Result<(), H::Error> {
        if self.kept.is_full() { host.collect(self.kept.take_oldest()) } else { Ok(()) }
    }
}
