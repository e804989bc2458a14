//! One JSON document: what the rules need of it, and what they change.
//!
//! Mirrors the part of `pure/documents.py` that the engine decides itself.

use crate::normalizer::Facts;
use crate::rules::{Case, Rules, Said};
use crate::scan::{Cursor, Declined, Kind, Scan, Text, Value};
use crate::splice::{self, Cut, Edit, Op};
use crate::table::{ErrorMark, ErrorTest, Terminal};
use crate::texts::{Content, Delta, is_empty_string, member};
use crate::tool_calls::{self, CallState};

/// One choice of a document.
// The flags are independent facts, not states of one machine.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
struct Choice {
    index: i64,
    is_finished: bool,
    /// Nothing more is expected: it is finished, or a whole message.
    is_final: bool,
    /// Its `finish_reason`, where it has one.
    reason: Option<Value>,
    delta: Option<Delta>,
    /// A delta that is missing or null can take held text.
    is_open: bool,
    /// It has a member of that name.
    has_delta: bool,
}

/// The working memory for one document, kept between documents.
#[derive(Debug, Default)]
pub(crate) struct Document {
    choices: Vec<Choice>,
    model: Option<Value>,
    /// The members of the document itself: where the name stands, and the value.
    top: Vec<(usize, usize, Value)>,
    edits: Vec<Edit>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) edited: Vec<u8>,
    /// Each `finish_reason` of the document that was edited last, by choice index.
    pub(crate) finishes: Vec<(i64, String)>,
}

impl Document {
    /// Read everything that the rules need; declines before anything is changed.
    pub(crate) fn read<'a>(
        &mut self,
        text: Text<'a>,
        rules: &Rules,
        has_deltas: bool,
    ) -> Scan<(Facts, Vec<Said<'a>>)> {
        self.choices.clear();
        self.top.clear();
        self.model = None;
        let mut facts = Facts::default();
        let start = text.skip_space(0);
        if text.byte(start)? != b'{' {
            return Err(Declined);
        }
        let mut cursor = Cursor::new(start);
        let mut has_choices = false;
        while let Some((key_start, key_end, at)) = text.next_name(&mut cursor)? {
            let name = &text.bytes[key_start + 1..key_end - 1];
            if name == b"choices" && std::mem::replace(&mut has_choices, true) {
                return Err(Declined);
            }
            if name == b"choices" && text.byte(at)? == b'[' {
                cursor.at = self.read_choices(text, at, rules, &mut facts)?;
                continue;
            }
            let value = text.value(at, 1)?;
            // An error may end the stream: the reference decides.
            if name == b"error" && value.kind != Kind::Null {
                return Err(Declined);
            }
            if name == b"model" {
                self.model = Some(value);
            }
            self.top.push((key_start, key_end, value));
            cursor.at = value.end;
        }
        if text.skip_space(cursor.at) != text.bytes.len() {
            return Err(Declined);
        }
        // Errors of other shapes, and whole completions, are for the reference.
        let is_error = |row: &Vec<ErrorMark>| row.iter().all(|mark| self.tells(text, mark));
        if self.choices.is_empty() && rules.table.errors.iter().any(is_error) {
            return Err(Declined);
        }
        if !has_deltas && facts.was_whole {
            return Err(Declined);
        }
        if !has_choices {
            let whole = Value { kind: Kind::Object, start, end: cursor.at };
            facts.visible = true;
            for terminal in &rules.table.terminals {
                facts.complete = facts.complete || stands(text, whole, terminal, 0, rules)?;
            }
        }
        if let Some(model) = self.model.filter(|value| value.kind == Kind::Str(true)) {
            text.decode(model)?;
        }
        let mut said = Vec::with_capacity(self.choices.len());
        for choice in &self.choices {
            said.push(match &choice.delta {
                Some(delta) => read_said(text, choice, delta, rules)?,
                None => Said::default(),
            });
        }
        Ok((facts, said))
    }

    /// The delta to learn from, with the index of its choice; None where the decision was
    /// about more than one text that stays or moves as it is.
    pub(crate) fn lesson(&self) -> Option<(i64, &Delta)> {
        let [choice] = &self.choices[..] else { return None };
        let delta = choice.delta.as_ref()?;
        let is_moved = |edit: &Edit| matches!(edit.op, Op::Rename(_) | Op::Drop);
        let is_one = !choice.is_final && self.edits.iter().all(is_moved);
        is_one.then_some((choice.index, delta))
    }

    /// Whether a mark of an error body may stand in the document.
    fn tells(&self, text: Text<'_>, mark: &ErrorMark) -> bool {
        let [name, rest @ ..] = &mark.path[..] else { return false };
        let is_name =
            |(start, end, _): &&(usize, usize, Value)| text.bytes[start + 1..end - 1] == **name;
        self.top.iter().filter(is_name).any(|(_, _, value)| {
            let mut found = Some(*value);
            for step in rest {
                let Some(value) = found else { break };
                match member(text, value, step) {
                    Ok(inner) => found = inner,
                    Err(Declined) => return true,
                }
            }
            found.is_some_and(|value| match &mark.test {
                ErrorTest::Is(word) => {
                    matches!(value.kind, Kind::Str(_))
                        && text.decode(value).is_ok_and(|said| said.as_bytes() == &**word)
                }
                ErrorTest::Text => matches!(value.kind, Kind::Str(_)),
                ErrorTest::False => text.bytes[value.start..value.end] == *b"false",
                ErrorTest::Any => value.kind != Kind::Null,
            })
        })
    }

    /// Whether the states of the choices are needed.
    pub(crate) fn is_stateful(&self, said: &[Said<'_>]) -> bool {
        self.choices.iter().zip(said).any(|(choice, said)| {
            let calls = choice.delta.as_ref().is_some_and(|delta| delta.calls.is_some());
            choice.is_final || calls || !said.fields.is_empty() || said.content.is_some()
        })
    }

    /// What depends on the states and may still be declined.
    pub(crate) fn check(&self, text: Text<'_>, said: &mut [Said<'_>], rules: &Rules) -> Scan<()> {
        for (n, choice) in self.choices.iter().enumerate() {
            let state = rules.choices.get(choice.index);
            let Some(delta) = &choice.delta else {
                let holds = state.is_some_and(|state| !state.tags.held.is_empty())
                    || self.choices[..n].iter().any(|other| other.index == choice.index);
                if choice.is_final && choice.is_open && holds {
                    return Err(Declined);
                }
                continue;
            };
            let Some(calls) = delta.calls else { continue };
            if self.choices[..n].iter().any(|other| other.index == choice.index) {
                return Err(Declined);
            }
            let mut next = state.map_or_else(CallState::default, |state| state.calls.clone());
            if !delta.is_message {
                next.take(&tool_calls::items(text, calls)?)?;
            } else if tool_calls::has_object_arguments(text, calls)? {
                return Err(Declined);
            }
            said[n].calls = Some(next);
        }
        Ok(())
    }

    fn read_choices(
        &mut self,
        text: Text<'_>,
        at: usize,
        rules: &Rules,
        facts: &mut Facts,
    ) -> Scan<usize> {
        let mut cursor = Cursor::new(at);
        let mut position = 0;
        let mut is_whole = true;
        while let Some(start) = text.next_item(&mut cursor)? {
            if text.byte(start)? == b'{' {
                let (choice, end) = read_choice(text, start, position, rules)?;
                facts.complete |= choice.is_finished;
                facts.has_deltas |= choice.has_delta;
                is_whole &= choice.delta.as_ref().is_some_and(|delta| delta.is_message);
                self.choices.push(choice);
                cursor.at = end;
            } else {
                cursor.at = text.value(start, 2)?.end;
                is_whole = false;
            }
            position += 1;
        }
        facts.was_whole = is_whole && position > 0;
        Ok(cursor.at)
    }

    /// Decide every choice and collect what changes; whether an answer is shown.
    pub(crate) fn edit(
        &mut self,
        text: Text<'_>,
        said: &mut [Said<'_>],
        rules: &mut Rules,
    ) -> bool {
        self.cuts.clear();
        self.finishes.clear();
        rules.has_held = false;
        let mut is_visible = false;
        let mut model = None;
        for (choice, said) in self.choices.iter().zip(said) {
            if let Some(delta) = &choice.delta {
                self.edits.clear();
                let asks = said.content.is_some() && rules.asks_for_model(choice.index);
                if asks && model.is_none() {
                    model = Some(self.model.map_or(String::new(), |value| lower(text, value)));
                }
                let model = model.as_deref().unwrap_or("");
                let case = Case { index: choice.index, is_final: choice.is_final, model };
                is_visible |= rules.apply(case, delta, said, &mut self.edits);
                if !self.edits.is_empty() {
                    let members = (delta.start, &delta.members[..]);
                    splice::cuts(text, members, &self.edits, &rules.table, &mut self.cuts);
                }
            }
            if let (true, Some(reason)) = (choice.is_final, choice.reason) {
                let has_calls = choice.delta.as_ref().is_some_and(|delta| delta.calls.is_some());
                if let Ok(reason) = text.decode(reason) {
                    rules.notice_finish(choice.index, &reason, has_calls);
                    if choice.is_finished {
                        self.finishes.push((choice.index, reason.into_owned()));
                    }
                }
            }
        }
        is_visible
    }
}

/// The name of the model in lower case; empty where it is no text.
fn lower(text: Text<'_>, value: Value) -> String {
    match value.kind {
        Kind::Str(_) => text.decode(value).map_or(String::new(), |name| name.to_lowercase()),
        _ => String::new(),
    }
}

/// What a delta says; declines content that is a list or may be flagged.
fn read_said<'a>(text: Text<'a>, choice: &Choice, delta: &Delta, rules: &Rules) -> Scan<Said<'a>> {
    let fields = rules.texts(text, delta)?;
    let mut content = None;
    if let Some(value) = delta.value(rules.table.content_key) {
        if matches!(value.kind, Kind::Array(_)) {
            return Err(Declined);
        }
        if delta.content == Content::Text && !rules.is_settled(choice.index) {
            content = Some(text.decode(value)?);
        }
    }
    let flag = delta.value(rules.table.flag_key);
    let is_read = delta.content == Content::Text || choice.is_final;
    if is_read && flag.is_some_and(|flag| flag.kind == Kind::Object) {
        return Err(Declined);
    }
    Ok(Said { fields, content, calls: None })
}

fn read_choice(text: Text<'_>, at: usize, position: i64, rules: &Rules) -> Scan<(Choice, usize)> {
    let mut found: [Option<Value>; 4] = [None; 4];
    let mut delta = None;
    let mut cursor = Cursor::new(at);
    while let Some((key_start, key_end, start)) = text.next_name(&mut cursor)? {
        let name = &text.bytes[key_start + 1..key_end - 1];
        let slot = match name {
            b"delta" => 0,
            b"message" => 1,
            b"index" => 2,
            b"finish_reason" => 3,
            _ => {
                cursor.at = text.value(start, 3)?.end;
                continue;
            }
        };
        let value = if slot == 0 && text.byte(start)? == b'{' {
            let (read, end) = read_delta(text, start, rules)?;
            delta = Some(read);
            Value { kind: Kind::Object, start, end }
        } else {
            text.value(start, 3)?
        };
        if found[slot].replace(value).is_some() {
            return Err(Declined);
        }
        cursor.at = value.end;
    }
    if let (None, Some(message)) = (found[0], found[1]) {
        if message.kind == Kind::Object {
            let read = read_delta(text, message.start, rules)?.0;
            delta = Some(Delta { is_message: true, ..read });
        }
    }
    let index = match found[2] {
        Some(value) => index_of(text, value)?.unwrap_or(position),
        None => position,
    };
    let reason = found[3].filter(|value| matches!(value.kind, Kind::Str(_)));
    let is_finished = match reason {
        Some(value) => {
            let reason = text.decode(value)?;
            !rules.table.unfinished.iter().any(|word| **word == *reason.as_bytes())
        }
        None => false,
    };
    let is_message = delta.as_ref().is_some_and(|delta| delta.is_message);
    if is_finished && rules.table.holds_finish && !is_message {
        return Err(Declined);
    }
    let container = found[0].or(found[1]);
    let is_open = container.is_none_or(|value| value.kind == Kind::Null);
    let is_final = is_finished || is_message;
    let has_delta = found[0].is_some();
    Ok((Choice { index, is_finished, is_final, reason, delta, is_open, has_delta }, cursor.at))
}

fn read_delta(text: Text<'_>, at: usize, rules: &Rules) -> Scan<(Delta, usize)> {
    let mut delta = Delta {
        start: at,
        members: Vec::with_capacity(8),
        slots: vec![None; rules.table.keys.len()],
        ..Delta::default()
    };
    let mut cursor = Cursor::new(at);
    while let Some(member) = text.next_member(&mut cursor, 3)? {
        if let Some(key) = rules.table.key_id(text.name(&member)) {
            if delta.slots[key].replace(delta.members.len()).is_some() {
                return Err(Declined);
            }
        }
        delta.members.push(member);
    }
    let content = delta.value(rules.table.content_key);
    delta.content = match content.map(|value| (value, value.kind)) {
        None => Content::Missing,
        Some((_, Kind::Null)) => Content::Null,
        Some((value, Kind::Str(_))) if is_empty_string(value) => Content::Blank,
        Some((_, Kind::Str(_))) => Content::Text,
        Some(_) => Content::Other,
    };
    let calls = delta.value(rules.table.calls_key);
    delta.calls = calls.filter(|value| value.kind == Kind::Array(false));
    Ok((delta, cursor.at))
}

/// An integer index; None for a value that is none, declined for one that is huge.
fn index_of(text: Text<'_>, value: Value) -> Scan<Option<i64>> {
    let spelled = &text.bytes[value.start..value.end];
    let digits = spelled.strip_prefix(b"-").unwrap_or(spelled);
    if value.kind != Kind::Other || !digits.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    let spelled = std::str::from_utf8(spelled).map_err(|_| Declined)?;
    spelled.parse().map(Some).map_err(|_| Declined)
}

/// Whether a mark of a good end stands in a document that is not chat completions.
fn stands(
    text: Text<'_>,
    value: Value,
    terminal: &Terminal,
    depth: usize,
    rules: &Rules,
) -> Scan<bool> {
    let Some(step) = terminal.path.get(depth) else {
        return match (&terminal.value, value.kind) {
            (Some(wanted), Kind::Str(_)) => Ok(text.decode(value)?.as_bytes() == &**wanted),
            (None, Kind::Str(_)) => {
                let said = text.decode(value)?;
                Ok(!rules.table.unfinished.iter().any(|word| **word == *said.as_bytes()))
            }
            (None, _) => Ok(&text.bytes[value.start..value.end] == b"true"),
            (Some(_), _) => Ok(false),
        };
    };
    if **step == *b"*" {
        if !matches!(value.kind, Kind::Array(_)) {
            return Ok(false);
        }
        let mut cursor = Cursor::new(value.start);
        while let Some(start) = text.next_item(&mut cursor)? {
            let item = text.value(start, 0)?;
            cursor.at = item.end;
            if stands(text, item, terminal, depth + 1, rules)? {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    match member(text, value, step)? {
        Some(value) => stands(text, value, terminal, depth + 1, rules),
        None => Ok(false),
    }
}
