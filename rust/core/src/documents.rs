//! One JSON document: what the rules need of it, and what they change.
//!
//! Mirrors the part of `pure/documents.py` that the engine decides itself.

use crate::normalizer::Facts;
use crate::rules::Rules;
use crate::scan::{Cursor, Declined, Kind, Scan, Text, Value};
use crate::splice::{self, Cut, Edit};
use crate::table::Terminal;
use crate::texts::{Delta, Texts, is_empty_string, member};

/// One choice of a document.
#[derive(Debug, Default)]
struct Choice {
    index: i64,
    is_final: bool,
    delta: Option<Delta>,
}

/// The working memory for one document, kept between documents.
#[derive(Debug, Default)]
pub(crate) struct Document {
    choices: Vec<Choice>,
    edits: Vec<Edit>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) edited: Vec<u8>,
}

impl Document {
    /// Read everything that the rules need; declines before anything is changed.
    pub(crate) fn read<'a>(
        &mut self,
        text: Text<'a>,
        rules: &Rules,
    ) -> Scan<(Facts, Vec<Texts<'a>>)> {
        self.choices.clear();
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
            cursor.at = value.end;
        }
        if text.skip_space(cursor.at) != text.bytes.len() {
            return Err(Declined);
        }
        if !has_choices {
            let whole = Value { kind: Kind::Object, start, end: cursor.at };
            facts.visible = true;
            for terminal in &rules.table.terminals {
                facts.complete = facts.complete || stands(text, whole, terminal, 0, rules)?;
            }
        }
        let mut texts = Vec::with_capacity(self.choices.len());
        for choice in &self.choices {
            texts.push(match &choice.delta {
                Some(delta) => rules.texts(text, delta)?,
                None => Texts::new(),
            });
        }
        Ok((facts, texts))
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
        while let Some(start) = text.next_item(&mut cursor)? {
            if text.byte(start)? == b'{' {
                let (choice, end) = read_choice(text, start, position, rules)?;
                facts.complete |= choice.is_final;
                facts.visible |= choice.delta.as_ref().is_some_and(|delta| delta.is_visible);
                self.choices.push(choice);
                cursor.at = end;
            } else {
                cursor.at = text.value(start, 2)?.end;
            }
            position += 1;
        }
        Ok(cursor.at)
    }

    /// Decide every choice and collect what changes.
    pub(crate) fn edit(&mut self, text: Text<'_>, texts: &[Texts<'_>], rules: &mut Rules) {
        self.cuts.clear();
        for (choice, texts) in self.choices.iter().zip(texts) {
            let Some(delta) = &choice.delta else { continue };
            self.edits.clear();
            rules.apply(choice.index, delta, texts, choice.is_final, &mut self.edits);
            if !self.edits.is_empty() {
                let targets = &rules.table.targets;
                splice::cuts(text, &delta.members, &self.edits, targets, &mut self.cuts);
            }
        }
    }
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
            delta = Some(read_delta(text, message.start, rules)?.0);
        }
    }
    let index = match found[2] {
        Some(value) => index_of(text, value)?.unwrap_or(position),
        None => position,
    };
    let is_final = match found[3] {
        Some(value) if matches!(value.kind, Kind::Str(_)) => {
            let reason = text.decode(value)?;
            !rules.table.unfinished.iter().any(|word| **word == *reason.as_bytes())
        }
        _ => false,
    };
    Ok((Choice { index, is_final, delta }, cursor.at))
}

fn read_delta(text: Text<'_>, at: usize, rules: &Rules) -> Scan<(Delta, usize)> {
    let mut delta = Delta {
        members: Vec::with_capacity(8),
        slots: vec![None; rules.table.keys.len()],
        is_visible: false,
    };
    let (mut has_content, mut has_calls) = (false, false);
    let mut cursor = Cursor::new(at);
    while let Some(member) = text.next_member(&mut cursor, 3)? {
        let name = text.name(&member);
        let is_list = member.value.kind == Kind::Array(false);
        if name == b"content" {
            let is_text = matches!(member.value.kind, Kind::Str(_));
            delta.is_visible |= is_list || (is_text && !is_empty_string(member.value));
            if std::mem::replace(&mut has_content, true) {
                return Err(Declined);
            }
        } else if name == b"tool_calls" {
            delta.is_visible |= is_list;
            if std::mem::replace(&mut has_calls, true) {
                return Err(Declined);
            }
        } else if let Some(key) = rules.table.key_id(name) {
            if delta.slots[key].replace(delta.members.len()).is_some() {
                return Err(Declined);
            }
        }
        delta.members.push(member);
    }
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
