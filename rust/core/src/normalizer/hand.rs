//! Events that the reference engine decides, and the states that it needs for them.

use super::{Fault, Host, Kind, Normalizer, Output};
use crate::blocks::{Block, BlockKind, Span};
use crate::events::{HEAD_BYTES, is_binary};
use crate::rules::Rules;
use crate::state::Choices;

impl Normalizer {
    /// Whether the states are here, or could be taken back.
    pub(super) fn has_states<H: Host>(
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

    /// Chunks that the reference engine makes go to the collector at once, behind these.
    pub(super) fn hand_in_chunks<H: Host>(&mut self, host: &mut H) -> Result<(), H::Error> {
        if self.output == Output::Dict { self.hand_in(host) } else { Ok(()) }
    }

    pub(super) fn hand_over<H: Host>(
        &mut self,
        kind: Kind,
        block: &Block,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        self.hand_in_chunks(host)?;
        let spans: Vec<Span> =
            if kind == Kind::Stray { block.stray.clone() } else { block.values().collect() };
        let has_error = block.has_error && !matches!(kind, Kind::Stray | Kind::Error);
        let stray = if has_error { &block.stray[..] } else { &[] };
        let bytes = |span: &Span| self.framer.bytes(*span);
        let values: Vec<&[u8]> = spans.iter().map(bytes).collect();
        let stray: Vec<&[u8]> = stray.iter().map(bytes).collect();
        let before = (&self.last[..], self.facts.complete, self.facts.has_deltas);
        let handed = host.hand_over(kind, (&values, &stray), &mut self.rules, before)?;
        self.last.clear();
        self.rules.settled = handed.settled;
        let is_sse = self.output == Output::Sse;
        let can_frame = is_sse && block.kind != BlockKind::Event && self.facts.count == 0;
        self.is_framed |= can_frame && handed.facts.was_whole;
        for document in &handed.before {
            self.kept.add(document, &self.rules.table.usage_keys);
        }
        if self.kept.is_wanted() && !handed.edited.is_empty() {
            self.kept.add(&handed.edited.join(&b'\n'), &self.rules.table.usage_keys);
        }
        if !handed.before.is_empty() || self.is_framed {
            self.flush(block.raw.0, out);
        }
        if self.is_framed {
            let mut documents = handed.before;
            documents.extend(handed.edited);
            self.frame(spans[0], &documents, out);
        } else {
            for document in &handed.before {
                self.event(document, out);
            }
            for (span, edited) in spans.iter().zip(&handed.edited) {
                if is_sse {
                    self.replace(*span, edited, out);
                }
            }
        }
        self.declined += 1;
        self.facts.count += handed.facts.count;
        self.facts.malformed += handed.facts.malformed;
        self.facts.complete |= handed.facts.complete;
        self.facts.visible |= handed.facts.visible;
        self.facts.reasoning |= handed.facts.reasoning;
        self.facts.has_deltas |= handed.facts.has_deltas;
        self.is_done |= handed.facts.ends;
        if handed.is_fault {
            let data = self.framer.bytes(spans[0]);
            let head = &data[..data.len().min(HEAD_BYTES)];
            let is_first = self.facts.count == 0 && block.kind != BlockKind::Event;
            let is_garbage = handed.is_broken && is_first && is_binary(head);
            self.fault =
                Some(if is_garbage { Fault::NotSse(head.to_vec()) } else { Fault::Handed });
        }
        Ok(())
    }
}
