//! Events that are like one that was decided: the same bytes but for one text.
//!
//! Mirrors `pure/template.py`; the words are there. A template only saves work: an event
//! that it takes leaves nothing behind that the ordinary way would not.

use std::borrow::Cow;

use crate::blocks::Span;
use crate::rules::{Counted, Like, Rules};
use crate::scan::{self, Kind, Scan, Text, Value};
use crate::splice::Cut;
use crate::strings;
use crate::texts::{Content, Delta, is_empty_string, place_of};
use crate::tool_calls;

/// Templates that are remembered: for choices that come in turn.
const MOST: usize = 4;
/// How a line begins whose value a template may take where it stands.
pub(crate) const FIELD: &[u8] = b"data: ";

/// An event that was decided, and how.
#[derive(Debug)]
pub(crate) struct Template {
    /// Tells templates apart.
    pub(crate) serial: u64,
    /// `FIELD` and the document.
    bytes: Vec<u8>,
    /// The same text wherever it stands, without quotes; places in `bytes`, ascending.
    slots: Vec<Span>,
    /// What changes; places in `bytes`, ascending.
    cuts: Vec<Cut>,
    like: Like,
    /// Of the choice.
    index: i64,
    /// Index of the tool call that goes on.
    call: i64,
    /// Sources that say the same as the one that leads.
    mirrors: Vec<usize>,
    counted: Vec<(Counted, usize)>,
    /// All its integers fit 64 bits.
    pub(crate) is_plain: bool,
    /// It may hold usage.
    pub(crate) has_usage: bool,
    /// Nothing in its delta adds up over events but the text.
    pub(crate) adds_up: bool,
}

/// Where a template stands in an input; places from the start of its document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    slot: Span,
    has_escapes: bool,
    /// Behind the document.
    pub(crate) end: usize,
}

impl Template {
    /// What `data` begins with: the document of this template, with a text of its own.
    pub(crate) fn find(&self, data: &[u8]) -> Option<Found> {
        let doc = &self.bytes[FIELD.len()..];
        let shift = FIELD.len();
        let start = self.slots[0].0 - shift;
        if !data.starts_with(&doc[..start]) {
            return None;
        }
        let (end, has_escapes) = strings::text_end(data, start).ok()?;
        if end == start {
            return None;
        }
        let text = &data[start..end];
        let (mut at, mut known) = (end, self.slots[0].1 - shift);
        for slot in &self.slots[1..] {
            let between = &doc[known..slot.0 - shift];
            if !data[at..].starts_with(between) || !data[at + between.len()..].starts_with(text) {
                return None;
            }
            at += between.len() + text.len();
            known = slot.1 - shift;
        }
        let rest = &doc[known..];
        let is_whole = data[at..].starts_with(rest);
        is_whole.then_some(Found { slot: (start, end), has_escapes, end: at + rest.len() })
    }

    /// Append the normalised document, but for what comes before its first change and what
    /// follows its last, of an input whose document starts at `start`: from and up to where.
    pub(crate) fn edit(
        &self,
        buffer: &[u8],
        (start, found): (usize, Found),
        flushed: usize,
        out: &mut Vec<u8>,
    ) -> usize {
        let length = found.slot.1 - found.slot.0;
        let mut at = flushed;
        for cut in &self.cuts {
            let place = |at: usize| start + self.place(at, length) - FIELD.len();
            out.extend_from_slice(&buffer[at..place(cut.start)]);
            out.extend_from_slice(&cut.new);
            at = place(cut.end);
        }
        at
    }

    /// Where a place in `bytes` lies if the texts have that length.
    fn place(&self, at: usize, length: usize) -> usize {
        let before = self.slots.iter().filter(|slot| slot.1 <= at);
        before.fold(at, |at, slot| at + length - (slot.1 - slot.0))
    }

    pub(crate) fn is_edited(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// The normalised document without its slots, one of which is between any two parts.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        let mut parts = vec![Vec::new()];
        let mut at = FIELD.len();
        let mut cuts = self.cuts.iter().peekable();
        for slot in &self.slots {
            while let Some(cut) = cuts.next_if(|cut| cut.start < slot.0) {
                extend(&mut parts, &self.bytes[at..cut.start]);
                extend(&mut parts, &cut.new);
                at = cut.end;
            }
            // A cut may have taken it away, with the member that it stood in.
            if slot.0 >= at {
                extend(&mut parts, &self.bytes[at..slot.0]);
                parts.push(Vec::new());
                at = slot.1;
            }
        }
        for cut in cuts {
            extend(&mut parts, &self.bytes[at..cut.start]);
            extend(&mut parts, &cut.new);
            at = cut.end;
        }
        extend(&mut parts, &self.bytes[at..]);
        parts
    }

    /// The text of an input that it was found in, decoded.
    pub(crate) fn text(data: &[u8], found: Found) -> Scan<Cow<'_, str>> {
        scan::decode_bytes(Self::raw(data, found), found.has_escapes)
    }

    /// The same as it stands there.
    pub(crate) fn raw(data: &[u8], found: Found) -> &[u8] {
        &data[found.slot.0..found.slot.1]
    }

    /// Decide an event as that one was, but for `count`; false, and nothing has changed, where
    /// the choice is no longer where it was then. `None` stands for a text that need not be known.
    pub(crate) fn decide(&self, text: Option<&str>, rules: &mut Rules) -> bool {
        match (self.like, text) {
            (Like::Plain, _) => {
                if !rules.is_settled(self.index) {
                    return false;
                }
            }
            (Like::Call, _) => {
                let state = rules.choices.get_mut(self.index);
                if !state.is_some_and(|state| state.calls.go_on(self.call)) {
                    return false;
                }
            }
            (_, None) => return false,
            (Like::Field(source), Some(text)) => {
                let Some(state) = rules.choices.get_mut(self.index) else { return false };
                if state.leader() != Some(source) || !state.is_fielded {
                    return false;
                }
                state.emit(source, text, true, rules.table.repeat_memory);
                for mirror in &self.mirrors {
                    state.catch_up(*mirror);
                }
                rules.reasoning_seen = true;
            }
            (Like::Tags(family), Some(text)) => {
                let source = rules.table.tag_source;
                let Some(state) = rules.choices.get_mut(self.index) else { return false };
                let is_inside = state.tags.held.is_empty()
                    && state.tags.family == family
                    && !state.tags.flagged
                    && !state.is_fielded
                    && state.leader() == Some(source);
                if !is_inside || !rules.table.vocabulary.is_one_piece(&state.tags, text) {
                    return false;
                }
                state.tags.line_start = text.ends_with('\n');
                state.emit(source, text, true, rules.table.repeat_memory);
                rules.reasoning_seen = true;
            }
        }
        true
    }

    /// Count so many events that were decided.
    pub(crate) fn count(&self, count: u64, rules: &mut Rules) {
        for (what, source) in &self.counted {
            rules.tally.count(*what, *source, count);
        }
        if let Like::Tags(family) = self.like {
            rules.tally.count_family(family, count);
        }
    }

    pub(crate) fn is_visible(&self) -> bool {
        matches!(self.like, Like::Plain | Like::Call)
    }

    /// Whether the text has to be known to decide.
    pub(crate) fn asks_for_text(&self) -> bool {
        matches!(self.like, Like::Field(_) | Like::Tags(_))
    }
}

fn extend(parts: &mut [Vec<u8>], bytes: &[u8]) {
    if let Some(last) = parts.last_mut() {
        last.extend_from_slice(bytes);
    }
}

/// What is learned from: a document of one choice that was decided.
#[derive(Debug)]
pub(crate) struct Lesson<'a> {
    pub(crate) text: Text<'a>,
    pub(crate) delta: &'a Delta,
    pub(crate) index: i64,
    pub(crate) cuts: &'a [Cut],
    pub(crate) is_plain: bool,
    pub(crate) has_usage: bool,
}

/// The templates of one stream.
#[derive(Debug, Default)]
pub(crate) struct Templates {
    /// The one that fitted last comes first.
    known: Vec<Template>,
    serial: u64,
}

impl Templates {
    /// Bring the template that `data` begins with to the front.
    pub(crate) fn find(&mut self, data: &[u8]) -> Option<Found> {
        let found = self.known.iter().enumerate().find_map(|(i, t)| Some((i, t.find(data)?)));
        let (place, found) = found?;
        if place > 0 {
            self.known[..=place].rotate_right(1);
        }
        Some(found)
    }

    /// The one that was found last.
    pub(crate) fn first(&self) -> Option<&Template> {
        self.known.first()
    }

    /// Whether there is anything to find.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Learn from an event that the rules have just decided.
    pub(crate) fn learn(&mut self, lesson: &Lesson<'_>, rules: &Rules) {
        let Some((slots, mirrors, call)) = slots(lesson, rules) else { return };
        if self.known.len() < MOST {
            self.known.reserve_exact(1);
            self.known.push(Template {
                serial: 0,
                bytes: Vec::new(),
                slots: Vec::new(),
                cuts: Vec::new(),
                like: Like::Plain,
                index: 0,
                call: 0,
                mirrors: Vec::new(),
                counted: Vec::new(),
                is_plain: false,
                has_usage: false,
                adds_up: false,
            });
        }
        self.serial += 1;
        self.known.rotate_right(1);
        let template = &mut self.known[0];
        let shift = FIELD.len();
        template.serial = self.serial;
        template.bytes.clear();
        template.bytes.reserve_exact(FIELD.len() + lesson.text.bytes.len());
        template.bytes.extend_from_slice(FIELD);
        template.bytes.extend_from_slice(lesson.text.bytes);
        template.slots.clear();
        template.slots.reserve_exact(slots.len());
        template.slots.extend(slots.iter().map(|slot| (slot.0 + shift, slot.1 + shift)));
        template.cuts.clear();
        template.cuts.reserve_exact(lesson.cuts.len());
        template.cuts.extend(lesson.cuts.iter().map(|cut| cut.shifted(shift)));
        template.cuts.sort_by_key(|cut| (cut.start, cut.end));
        template.like = rules.like.unwrap_or(Like::Plain);
        template.index = lesson.index;
        template.mirrors = mirrors;
        template.call = call;
        template.counted.clone_from(&rules.tally.added);
        template.is_plain = lesson.is_plain;
        template.has_usage = lesson.has_usage;
        template.adds_up = adds_up(lesson, rules);
    }
}

/// Where the text stands, which sources but the leading one say it, and which tool call goes
/// on with it; None where the event is not to be learned.
fn slots(lesson: &Lesson<'_>, rules: &Rules) -> Option<(Vec<Span>, Vec<usize>, i64)> {
    let (text, delta, table) = (lesson.text, lesson.delta, &rules.table);
    let (like, mut call) = (rules.like?, 0);
    let is_answer = matches!(like, Like::Plain | Like::Tags(_));
    // Another text beside it would have to stay the same.
    if is_answer != (delta.content == Content::Text)
        || (like == Like::Call) != delta.calls.is_some()
    {
        return None;
    }
    let value = match like {
        Like::Plain | Like::Tags(_) => delta.value(table.content_key)?,
        Like::Field(source) => delta.value(table.source_keys[source])?,
        Like::Call => {
            let found = tool_calls::only_arguments(text, delta.calls?).ok()??;
            call = found.0;
            found.1
        }
    };
    let inner = |value: Value| (value.start + 1, value.end - 1);
    let said = inner(value);
    let mut slots = vec![said];
    let mut mirrors = Vec::new();
    if let Like::Field(lead) = like {
        for (i, source) in table.sources.iter().enumerate().filter(|(i, _)| *i != lead) {
            let Some(value) = delta.value(table.source_keys[i]) else { continue };
            if let Some(place) = place_of(source, text, value).ok()? {
                slots.push(inner(place));
                mirrors.push(i);
            }
        }
        slots.sort_unstable();
    }
    let raw = &text.bytes[said.0..said.1];
    let is_alike = slots.iter().all(|slot| text.bytes[slot.0..slot.1] == *raw);
    let is_apart = slots.windows(2).all(|pair| pair[0].1 < pair[1].0);
    let is_whole = lesson.cuts.iter().all(|cut| slots.iter().all(|slot| cut.spares(*slot)));
    let is_decoded = scan::decode_bytes(raw, raw.contains(&b'\\')).is_ok();
    (is_alike && is_apart && is_whole && is_decoded).then_some((slots, mirrors, call))
}

/// Whether a message says the same after many events like this one as after one with all
/// their texts in it.
fn adds_up(lesson: &Lesson<'_>, rules: &Rules) -> bool {
    let (text, delta) = (lesson.text, lesson.delta);
    let mut said = 0;
    for member in &delta.members {
        let is_still = match member.value.kind {
            Kind::Null | Kind::Other | Kind::Array(true) => true,
            Kind::Str(_) if is_empty_string(member.value) => true,
            Kind::Str(_) => !rules.table.text_keys.iter().any(|key| **key == *text.name(member)),
            Kind::Object | Kind::Array(false) => false,
        };
        said += usize::from(!is_still);
    }
    said == 1
}
