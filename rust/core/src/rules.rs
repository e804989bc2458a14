//! What happens to the reasoning of one delta: which text comes out, and which members change.
//!
//! Mirrors `pure/rules.py`; the words are there.

mod write;

use std::borrow::Cow;
use std::sync::Arc;

use crate::content::{self, Reading};
use crate::marks::Family;
use crate::scan::{Scan, Text};
use crate::splice::{Edit, Op};
use crate::state::{ChoiceState, Choices, fresh_part};
use crate::table::{Shape, Table};
use crate::tags::Mode;
use crate::texts::{Content, Delta, Texts, text_of};
use crate::tool_calls::CallState;

/// What is counted by source; the place of its row in `Tally::counts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Carried,
    Remaps,
    Removed,
    Mirrored,
    Repeated,
    Conflicts,
}

impl Counted {
    /// All of them, with the names that a report knows them by.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Carried, "carried"),
        (Self::Remaps, "remaps"),
        (Self::Removed, "removed"),
        (Self::Mirrored, "mirrored"),
        (Self::Repeated, "repeated"),
        (Self::Conflicts, "conflicts"),
    ];
}

/// Counts of what was done; see `Tally` in `pure/rules.py`.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Of those that are not zero: there are few, and of many streams most wait.
    counts: Vec<(Counted, usize, u64)>,
    /// What the event at hand has added.
    pub(crate) added: Vec<(Counted, usize)>,
    /// Deltas by the tag family that their reasoning stood in.
    pub families: Vec<(Family, u64)>,
    /// Vague finish reasons beside tool calls.
    pub vague: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, what: Counted, source: usize) {
        self.added.push((what, source));
        self.count(what, source, 1);
    }

    /// Count what so many events have added that are like one before.
    pub(crate) fn count(&mut self, what: Counted, source: usize, count: u64) {
        let is_it = |known: &&mut (Counted, usize, u64)| (known.0, known.1) == (what, source);
        if let Some((.., known)) = self.counts.iter_mut().find(is_it) {
            *known += count;
        } else {
            self.counts.reserve_exact(1);
            self.counts.push((what, source, count));
        }
    }

    /// One counter of the report: (source, count), of those that are not zero.
    pub fn of(&self, what: Counted) -> impl Iterator<Item = (usize, u64)> + '_ {
        let of_it = self.counts.iter().filter(move |(counted, ..)| *counted == what);
        of_it.map(|(_, source, count)| (*source, *count))
    }

    pub(crate) fn count_family(&mut self, family: Family, count: u64) {
        match self.families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, known)) => *known += count,
            None => self.families.push((family, count)),
        }
    }
}

/// What was decided of a delta, where another one like it would be decided alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Like {
    /// Its content leaves as it came.
    Plain,
    /// The whole text of this source came out, and every other text was the same.
    Field(usize),
    /// All of its content was reasoning.
    Tags(Family),
    /// It goes on with a tool call, and says nothing else.
    Call,
}

/// The rules of one stream, with the state of each choice.
#[derive(Debug)]
pub struct Rules {
    pub(crate) table: Arc<Table>,
    /// The source that already is the output: its text needs no edit.
    native: usize,
    pub choices: Choices,
    /// While the states are away: choices whose content leaves as it came.
    pub settled: Vec<i64>,
    pub tally: Tally,
    pub reasoning_seen: bool,
    /// Text was held back in the document at hand.
    pub(crate) has_held: bool,
    /// What was decided of the last delta, if it can be learned; see `template.rs`.
    pub(crate) like: Option<Like>,
}

/// What one delta says, as far as the rules care.
#[derive(Debug, Default)]
pub(crate) struct Said<'a> {
    pub(crate) fields: Texts<'a>,
    /// Content that may hold reasoning.
    pub(crate) content: Option<Cow<'a, str>>,
    /// Where the tool calls stand then; None where there are none.
    pub(crate) calls: Option<CallState>,
}

/// What the caller knows of a choice besides its delta.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) index: i64,
    pub(crate) is_final: bool,
    /// Name of the model in lower case, where it may matter.
    pub(crate) model: &'a str,
}

impl Rules {
    #[must_use]
    pub fn new(table: Arc<Table>) -> Self {
        let native = table
            .sources
            .iter()
            .position(|source| source.shape == Shape::Text && source.key == table.targets[0]);
        Self {
            native: native.unwrap_or(usize::MAX),
            choices: Choices::Here(Vec::new()),
            settled: Vec::new(),
            tally: Tally::default(),
            reasoning_seen: false,
            has_held: false,
            like: None,
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

    /// Whether no content of a choice that is still to come can be reasoning.
    pub(crate) fn is_settled(&self, index: i64) -> bool {
        match self.choices.get(index) {
            Some(state) => !state.tags.flagged && self.table.vocabulary.is_settled(&state.tags),
            None => matches!(self.choices, Choices::Away) && self.settled.contains(&index),
        }
    }

    /// Decide one delta; whether it shows the user something. It cannot be declined here.
    pub(crate) fn apply(
        &mut self,
        case: Case<'_>,
        delta: &Delta,
        said: &mut Said<'_>,
        edits: &mut Vec<Edit>,
    ) -> bool {
        self.like = None;
        let has_calls = said.calls.is_some();
        let is_flushed = case.is_final
            && self.choices.get(case.index).is_some_and(|state| !state.tags.held.is_empty());
        let is_plain = said.content.is_none() && !(is_flushed && delta.content != Content::Other);
        if is_plain && !has_calls && said.fields.is_empty() {
            self.drop_empty(delta, edits);
            self.like = (delta.content == Content::Text).then_some(Like::Plain);
            return delta.content == Content::Text;
        }
        let (place, mut state) = self.take_state(case.index);
        if !said.fields.is_empty() {
            state.set_fielded(self.table.tag_source);
        }
        let text = said.content.take();
        let text = text.as_deref().or((delta.content == Content::Blank).then_some(""));
        let flush = case.is_final || !(place.is_some() || self.has_room());
        let mut reading = (!is_plain)
            .then(|| content::read(&self.table.vocabulary, &mut state, text, case.model, flush));
        let is_call = has_calls && reading.is_none() && said.fields.is_empty();
        self.has_held |= reading.is_some() && !state.tags.held.is_empty();
        self.decide(&mut state, delta, (&mut said.fields, reading.as_mut()), case.is_final, edits);
        if let Some(calls) = said.calls.take() {
            state.calls = calls;
            self.like = is_call.then_some(Like::Call);
        }
        self.put_state(case.index, place, state);
        self.drop_empty(delta, edits);
        has_calls
            || reading.map_or(delta.content == Content::Text, |reading| !reading.answer.is_empty())
    }

    /// Count a `finish_reason` that does not say that there were tool calls.
    pub(crate) fn notice_finish(&mut self, index: i64, reason: &str, has_calls: bool) {
        let is_vague = self.table.vague.iter().any(|word| **word == *reason.as_bytes());
        let known = self.choices.get(index);
        if is_vague && (has_calls || known.is_some_and(|state| !state.calls.is_empty())) {
            self.tally.vague += 1;
        }
    }

    /// The state of a choice, and its place; a new one where it is not known.
    fn take_state(&mut self, index: i64) -> (Option<usize>, Box<ChoiceState>) {
        if let Choices::Here(states) = &mut self.choices {
            if let Some(place) = states.iter().position(|(known, _)| *known == index) {
                return (Some(place), states.remove(place).1);
            }
        }
        (None, Box::new(ChoiceState::new(&self.table.vocabulary)))
    }

    /// Whether another choice can be remembered.
    fn has_room(&self) -> bool {
        match &self.choices {
            Choices::Here(states) => states.len() < self.table.max_choices,
            Choices::Away => false,
        }
    }

    fn put_state(&mut self, index: i64, place: Option<usize>, state: Box<ChoiceState>) {
        let has_room = self.has_room();
        let Choices::Here(states) = &mut self.choices else {
            return;
        };
        // The order is that in which what is held back comes out.
        match place {
            Some(place) => states.insert(place, (index, state)),
            None if has_room => states.push((index, state)),
            None => {}
        }
    }

    /// Whether the name of the model may matter for the content of a choice.
    pub(crate) fn asks_for_model(&self, index: i64) -> bool {
        self.choices.get(index).is_none_or(|state| state.tags.mode != Mode::Reason)
    }

    fn decide(
        &mut self,
        state: &mut ChoiceState,
        delta: &Delta,
        (fields, mut reading): (&mut Texts<'_>, Option<&mut Reading<'_>>),
        is_final: bool,
        edits: &mut Vec<Edit>,
    ) {
        let tags = self.table.tag_source;
        let mut texts: Vec<(usize, Cow<'_, str>)> = std::mem::take(fields);
        if let Some(reading) = reading.as_deref_mut() {
            if !reading.reasoning.is_empty() {
                texts.push((tags, std::mem::take(&mut reading.reasoning)));
            } else if reading.is_cut {
                self.tally.add(Counted::Removed, tags);
            }
        }
        // Delimited text counts once it is known not to be the answer.
        for (i, _) in texts.iter().filter(|(i, _)| *i != tags) {
            self.tally.add(Counted::Carried, *i);
        }
        let mut repeats = 0_u64;
        let lead = self.lead(state, &texts, is_final, &mut repeats);
        let has_tags = texts.last().is_some_and(|(i, _)| *i == tags);
        let mut is_renamed = false;
        if let Some((place, fresh)) = lead {
            let (lead, text) = (texts[place].0, &*texts[place].1);
            let fresh = &text[fresh..];
            let before = edits.len();
            let how = (repeats, reading.as_deref());
            if !self.write(delta, &texts, (lead, text, fresh), how, edits) {
                // Every output key holds something that must stay: so does this text.
                self.tally.add(Counted::Conflicts, lead);
                if let (true, Some(reading)) = (has_tags, reading.as_deref_mut()) {
                    reading.refuse(state);
                }
                self.write_content(delta, reading.as_deref(), edits);
                return;
            }
            let content = delta.slots[self.table.content_key];
            is_renamed = lead == tags
                && edits[before..]
                    .iter()
                    .any(|e| matches!(e.op, Op::Rename(_)) && Some(e.member) == content);
            self.reasoning_seen = true;
            if let (true, Some(reading)) = (lead == tags, reading.as_deref()) {
                self.tally.add(Counted::Carried, tags);
                self.tally.count_family(reading.family, 1);
            }
            self.like = match reading.as_deref() {
                None if lead != tags && self.leads_always(lead, &texts) => Some(Like::Field(lead)),
                Some(reading) if is_renamed && texts.len() == 1 && reading.text == Some(text) => {
                    Some(Like::Tags(reading.family))
                }
                _ => None,
            };
            self.like = self.like.filter(|_| fresh.len() == text.len());
            state.emit(lead, fresh, fresh.len() == text.len(), self.table.repeat_memory);
        }
        let winner = lead.map(|(place, fresh)| (place, &texts[place].1[fresh..]));
        for (place, (i, text)) in texts.iter().enumerate() {
            if winner.is_some_and(|(won, _)| won == place) {
                continue;
            }
            let is_repeated = repeats & (1 << i) != 0;
            if *i == tags && state.is_fielded {
                let is_echo = state.is_echo(tags, text);
                self.drop_read(state, (is_echo, is_repeated), reading.as_deref_mut());
                continue;
            }
            let is_mirrored = winner.is_some_and(|(won, fresh)| {
                *text == texts[won].1 || *text == fresh || self.is_snapshot(state, *i, text)
            });
            if *i == tags {
                self.drop_read(state, (is_mirrored, is_repeated), reading.as_deref_mut());
                continue;
            }
            if is_mirrored {
                state.catch_up(*i);
            } else {
                self.like = None;
            }
            self.drop_other(delta, *i, is_mirrored, is_repeated, winner.is_none(), edits);
        }
        if let Some(reading) = reading.as_deref_mut() {
            if reading.is_closed && !state.is_echoed(tags) {
                // It only begins like the field's text: the answer speaks of delimiters.
                self.tally.add(Counted::Conflicts, tags);
                reading.refuse(state);
            }
        }
        if !is_renamed {
            self.write_content(delta, reading.as_deref(), edits);
        }
    }

    /// Whether a source that leads does so whenever the same sources say something.
    fn leads_always(&self, lead: usize, texts: &Texts<'_>) -> bool {
        lead == self.native || texts.iter().all(|(i, _)| *i != self.native)
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
        let is_shadowed = state.is_fielded;
        for place in native.into_iter().chain(leader).chain(rest) {
            let (i, text) = &texts[place];
            if is_shadowed && *i == self.table.tag_source {
                continue;
            }
            let sure = self.table.sure_length;
            match fresh_part(state, (*i, self.is_nested(*i)), text, is_final, sure) {
                Some(start) if start < text.len() => return Some((place, start)),
                Some(_) => *repeats |= 1 << i,
                None => {}
            }
        }
        None
    }
}
