//! What happens to the reasoning of one delta: which text comes out, and which members change.
//!
//! Mirrors `pure/rules.py`; the words are there.

use crate::scan::{Kind, Scan, Text, Value};
use crate::splice::{Edit, New, Op};
use crate::state::{ChoiceState, Choices, fresh_part};
use crate::table::{Shape, Table};
use crate::texts::{Delta, Texts, is_empty_string, text_of};

/// One counter of the report, by source.
pub type Counter = Vec<u64>;

/// Counts of what was done; see `Tally` in `pure/rules.py`.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub carried: Counter,
    pub remaps: Counter,
    pub removed: Counter,
    pub mirrored: Counter,
    pub repeated: Counter,
    pub conflicts: Counter,
}

impl Tally {
    fn new(sources: usize) -> Self {
        let counter = vec![0; sources];
        Self {
            carried: counter.clone(),
            remaps: counter.clone(),
            removed: counter.clone(),
            mirrored: counter.clone(),
            repeated: counter.clone(),
            conflicts: counter,
        }
    }
}

/// The reasoning rules of one stream, with the state of each choice.
#[derive(Debug)]
pub struct Rules {
    pub(crate) table: Table,
    /// The source that already is the output: its text needs no edit.
    native: usize,
    pub choices: Choices,
    pub tally: Tally,
    pub reasoning_seen: bool,
}

impl Rules {
    #[must_use]
    pub fn new(table: Table) -> Self {
        let native = table
            .sources
            .iter()
            .position(|source| source.shape == Shape::Text && source.key == table.targets[0]);
        Self {
            native: native.unwrap_or(usize::MAX),
            choices: Choices::Here(Vec::new()),
            tally: Tally::new(table.sources.len()),
            reasoning_seen: false,
            table,
        }
    }

    /// The texts of a delta; declines what only the reference reads.
    pub(crate) fn texts<'a>(&self, text: Text<'a>, delta: &Delta) -> Scan<Texts<'a>> {
        let mut texts = Texts::new();
        for (i, source) in self.table.sources.iter().enumerate() {
            let Some(value) = delta.value(self.table.source_keys[i]) else {
                continue;
            };
            let found = text_of(source, text, value)?;
            if !found.is_empty() {
                texts.push((i, found));
            }
        }
        Ok(texts)
    }

    /// Decide one delta whose texts are known.
    pub(crate) fn apply(
        &mut self,
        index: i64,
        delta: &Delta,
        texts: &Texts<'_>,
        is_final: bool,
        edits: &mut Vec<Edit>,
    ) {
        if texts.is_empty() {
            self.drop_empty(delta, edits);
            return;
        }
        for (i, _) in texts {
            self.tally.carried[*i] += 1;
        }
        let mut state = self.take_state(index);
        self.decide(&mut state, delta, texts, is_final, edits);
        self.put_state(index, state);
        self.drop_empty(delta, edits);
    }

    fn take_state(&mut self, index: i64) -> ChoiceState {
        let Choices::Here(states) = &mut self.choices else {
            return ChoiceState::default();
        };
        states
            .iter_mut()
            .find(|(known, _)| *known == index)
            .map(|(_, state)| std::mem::take(state))
            .unwrap_or_default()
    }

    fn put_state(&mut self, index: i64, state: ChoiceState) {
        let Choices::Here(states) = &mut self.choices else {
            return;
        };
        if let Some((_, place)) = states.iter_mut().find(|(known, _)| *known == index) {
            *place = state;
        } else if states.len() < self.table.max_choices {
            states.push((index, state));
        }
    }

    fn decide(
        &mut self,
        state: &mut ChoiceState,
        delta: &Delta,
        texts: &Texts<'_>,
        is_final: bool,
        edits: &mut Vec<Edit>,
    ) {
        let mut repeats = 0_u64;
        let lead = self.lead(state, texts, is_final, &mut repeats);
        if let Some((place, fresh)) = lead {
            let (lead, text) = (texts[place].0, &*texts[place].1);
            let fresh = &text[fresh..];
            if !self.write(delta, texts, (lead, text, fresh), repeats, edits) {
                // Every output key holds something that must stay: so does this text.
                self.tally.conflicts[lead] += 1;
                return;
            }
            self.reasoning_seen = true;
            state.emit(lead, fresh, fresh.len() == text.len(), self.table.repeat_memory);
        }
        let winner = lead.map(|(place, fresh)| (place, &texts[place].1[fresh..]));
        for (place, (i, text)) in texts.iter().enumerate() {
            if winner.is_some_and(|(won, _)| won == place) {
                continue;
            }
            let is_mirrored = winner.is_some_and(|(won, fresh)| {
                *text == texts[won].1 || *text == fresh || self.is_snapshot(state, *i, text)
            });
            if is_mirrored {
                state.catch_up(*i);
            }
            self.drop_other(
                delta,
                *i,
                is_mirrored,
                repeats & (1 << i) != 0,
                winner.is_none(),
                edits,
            );
        }
    }

    /// Whether a source says all that has come out so far.
    fn is_snapshot(&self, state: &ChoiceState, source: usize, text: &str) -> bool {
        self.is_nested(source) && state.is_all(text)
    }

    fn is_nested(&self, source: usize) -> bool {
        self.table.sources[source].shape == Shape::Nested
    }

    /// Choose the source whose text comes out: (its place in `texts`, where its text that
    /// was not yet emitted starts). `repeats` gets a bit for each that was passed over.
    fn lead(
        &self,
        state: &mut ChoiceState,
        texts: &Texts<'_>,
        is_final: bool,
        repeats: &mut u64,
    ) -> Option<(usize, usize)> {
        let place_of = |source: usize| texts.iter().position(|(i, _)| *i == source);
        let native = place_of(self.native);
        let leader = state.leader().and_then(place_of);
        let leader = leader.filter(|_| leader != native);
        let rest =
            (0..texts.len()).filter(|place| Some(*place) != native && Some(*place) != leader);
        for place in native.into_iter().chain(leader).chain(rest) {
            let (i, text) = &texts[place];
            let sure = self.table.sure_length;
            match fresh_part(state, (*i, self.is_nested(*i)), text, is_final, sure) {
                Some(start) if start < text.len() => return Some((place, start)),
                Some(_) => *repeats |= 1 << i,
                None => {}
            }
        }
        None
    }

    /// Bring the leading text to the output keys; false where none can take it.
    fn write(
        &mut self,
        delta: &Delta,
        texts: &Texts<'_>,
        (lead, text, fresh): (usize, &str, &str),
        repeats: u64,
        edits: &mut Vec<Edit>,
    ) -> bool {
        let (shape, key) = (self.table.sources[lead].shape, self.table.source_keys[lead]);
        let Some(own) = delta.slots[key] else {
            return false;
        };
        // The provider's own spelling of the string is kept where the whole string goes.
        let is_whole = shape == Shape::Text && fresh.len() == text.len();
        let new = || {
            if is_whole { New::CopyOf(own) } else { New::Text(fresh.into()) }
        };
        let before = edits.len();
        let mut missing = Vec::new();
        let mut placed = 0;
        for (t, &target) in self.table.target_keys.iter().enumerate() {
            if target == key {
                // An object here would have been declined: it is text, or nested text.
                placed += 1;
                if fresh.len() != text.len() {
                    edits.push(Edit { member: own, op: Op::Set(New::Text(fresh.into())) });
                }
                continue;
            }
            let Some(at) = delta.slots[target] else {
                missing.push(t);
                continue;
            };
            let value = delta.members[at].value;
            if self.is_free(value, target, repeats) {
                placed += 1;
                edits.push(Edit { member: at, op: Op::Set(new()) });
            } else if texts.iter().any(|(i, said)| self.is_text_at(*i, target) && said == text) {
                placed += 1;
                if fresh.len() != text.len() {
                    edits.push(Edit { member: at, op: Op::Set(New::Text(fresh.into())) });
                }
            }
        }
        if placed == 0 && missing.is_empty() {
            return false;
        }
        let mut missing = missing.into_iter();
        if self.is_movable(lead) {
            if let Some(target) = missing.next() {
                edits.push(Edit { member: own, op: Op::Rename(target) });
                if !is_whole {
                    edits.push(Edit { member: own, op: Op::Set(New::Text(fresh.into())) });
                }
            } else {
                edits.push(Edit { member: own, op: Op::Drop });
            }
        }
        for target in missing {
            edits.push(Edit { member: own, op: Op::Insert(target, new()) });
        }
        if edits.len() > before {
            self.tally.remaps[lead] += 1;
        }
        true
    }

    fn is_text_at(&self, source: usize, key: usize) -> bool {
        self.table.sources[source].shape == Shape::Text && self.table.source_keys[source] == key
    }

    /// Whether an output key's value may be replaced: it says nothing, or nothing new.
    fn is_free(&self, value: Value, target: usize, repeats: u64) -> bool {
        if matches!(value.kind, Kind::Null | Kind::Array(true)) || is_empty_string(value) {
            return true;
        }
        let of_target = |(i, key): (usize, &usize)| *key == target && repeats & (1 << i) != 0;
        self.table.source_keys.iter().enumerate().any(of_target)
    }

    /// Whether the source's member holds nothing but the text, and may go. (Objects are
    /// declined, so this is a matter of the table alone.)
    fn is_movable(&self, source: usize) -> bool {
        !self.table.keep_original
            && self.table.sources[source].shape == Shape::Text
            && !self.table.is_target(self.table.source_keys[source])
    }

    fn drop_other(
        &mut self,
        delta: &Delta,
        i: usize,
        is_mirrored: bool,
        is_repeated: bool,
        is_alone: bool,
        edits: &mut Vec<Edit>,
    ) {
        if is_mirrored {
            self.tally.mirrored[i] += 1;
        } else if is_repeated {
            self.tally.repeated[i] += 1;
        } else {
            self.tally.conflicts[i] += 1;
            return;
        }
        let key = self.table.source_keys[i];
        let goes = if self.table.is_target(key) { is_alone } else { self.is_movable(i) };
        if let (true, Some(member)) = (goes, delta.slots[key]) {
            edits.push(Edit { member, op: Op::Drop });
        }
    }

    /// Remove aliases that are null or empty.
    fn drop_empty(&mut self, delta: &Delta, edits: &mut Vec<Edit>) {
        if self.table.keep_original {
            return;
        }
        for (i, source) in self.table.sources.iter().enumerate() {
            let key = self.table.source_keys[i];
            if source.shape != Shape::Text || self.table.is_target(key) {
                continue;
            }
            let Some(member) = delta.slots[key] else {
                continue;
            };
            let value = delta.members[member].value;
            if value.kind == Kind::Null || is_empty_string(value) {
                self.tally.removed[i] += 1;
                edits.push(Edit { member, op: Op::Drop });
            }
        }
    }
}
