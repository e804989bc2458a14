//! Tool call deltas: which are right already.
//!
//! Mirrors the part of `pure/tool_calls.py` that needs no repair; a delta that needs one is
//! declined.

use std::borrow::Cow;

use crate::scan::{Cursor, Declined, Kind, Scan, Text, Value};
use crate::texts::{is_empty_string, member};

/// Calls of one choice that are told apart.
const MAX_CALLS: usize = 1024;

/// How far the arguments of a call have come; only the reference looks at them.
pub type ExportedArguments = (i64, bool, bool, bool);

/// calls: (index, id, name, arguments); slots: (index as sent, index); the last index; the
/// next free one.
pub type ExportedCalls =
    (Vec<(i64, String, String, Option<ExportedArguments>)>, Vec<(i64, i64)>, Option<i64>, i64);

#[derive(Clone, Debug)]
struct Call {
    index: i64,
    id: String,
    name: String,
    /// Kept by the reference for calls whose index was missing.
    arguments: Option<ExportedArguments>,
}

/// The tool calls of one choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallState {
    calls: Vec<Call>,
    /// Which call an index, as it is sent, means at the moment.
    slots: Vec<(i64, i64)>,
    last: Option<i64>,
    /// Behind all indexes so far.
    free: i64,
}

impl CallState {
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn export(&self) -> ExportedCalls {
        let calls = self.calls.iter();
        let calls = calls.map(|c| (c.index, c.id.clone(), c.name.clone(), c.arguments));
        (calls.collect(), self.slots.clone(), self.last, self.free)
    }

    pub(crate) fn load((calls, slots, last, free): ExportedCalls) -> Self {
        let call = |(index, id, name, arguments)| Call { index, id, name, arguments };
        Self { calls: calls.into_iter().map(call).collect(), slots, last, free }
    }

    fn position(&self, index: i64) -> Option<usize> {
        self.calls.iter().position(|call| call.index == index)
    }

    /// Take one list of calls that is right already; declines where a repair is due.
    pub(crate) fn take(&mut self, items: &[Item<'_>]) -> Scan<()> {
        let mut touched = Vec::with_capacity(items.len());
        for item in items {
            let call = match self.find(item, &touched)? {
                Some(position) => position,
                None => self.open(item)?,
            };
            touched.push(item.index);
            self.last = Some(item.index);
            let slot = self.slots.iter_mut().find(|(sent, _)| *sent == item.index);
            match slot {
                Some(slot) => slot.1 = item.index,
                None => self.slots.push((item.index, item.index)),
            }
            let call = &mut self.calls[call];
            if call.id.is_empty() {
                call.id = item.id.to_string();
            }
            if call.name.is_empty() {
                call.name = item.name.to_string();
            }
        }
        Ok(())
    }

    /// Take an item that holds nothing but more arguments of the call with that index; false,
    /// and nothing has changed, where no call goes on so.
    pub(crate) fn go_on(&mut self, index: i64) -> bool {
        let is_known = self.slots.contains(&(index, index))
            && self.calls.iter().any(|call| call.index == index && call.arguments.is_none());
        if is_known {
            self.last = Some(index);
        }
        is_known
    }

    /// The call that an item goes on with, if it needs no repair for that.
    fn find(&self, item: &Item<'_>, touched: &[i64]) -> Scan<Option<usize>> {
        let slot = self.slots.iter().find(|(sent, _)| *sent == item.index);
        let known = match slot.and_then(|slot| self.position(slot.1)) {
            Some(position) => {
                let call = &self.calls[position];
                let is_other = !item.id.is_empty()
                    && !call.id.is_empty()
                    && item.id != call.id
                    && (!item.name.is_empty() || self.calls.iter().any(|c| c.id == item.id));
                let is_second = touched.contains(&call.index)
                    && !item.name.is_empty()
                    && !call.name.is_empty()
                    && (item.id.is_empty() || item.name != call.name);
                if is_other || is_second {
                    return Err(Declined);
                }
                position
            }
            None if !item.name.is_empty() => return Ok(None),
            None => {
                let same_id = |call: &Call| call.id == item.id;
                let found = match &*item.id {
                    "" => self.position(item.index),
                    _ => self.calls.iter().position(same_id),
                };
                let Some(position) = found else { return Ok(None) };
                position
            }
        };
        let call = &self.calls[known];
        let repeats = (!item.name.is_empty() && item.name == call.name)
            || (!item.id.is_empty() && !call.id.is_empty());
        if call.index != item.index || call.arguments.is_some() || repeats {
            return Err(Declined);
        }
        Ok(Some(known))
    }

    fn open(&mut self, item: &Item<'_>) -> Scan<usize> {
        if self.position(item.index).is_some() || self.calls.len() >= MAX_CALLS {
            return Err(Declined);
        }
        self.free = self.free.max(item.index.saturating_add(1));
        let (id, name) = (String::new(), String::new());
        self.calls.push(Call { index: item.index, id, name, arguments: None });
        Ok(self.calls.len() - 1)
    }
}

/// What one item of the list says.
#[derive(Debug)]
pub(crate) struct Item<'a> {
    index: i64,
    id: Cow<'a, str>,
    name: Cow<'a, str>,
}

/// The items of a `tool_calls` list; declined where one has a defect of its own.
pub(crate) fn items(text: Text<'_>, list: Value) -> Scan<Vec<Item<'_>>> {
    let mut found = Vec::with_capacity(1);
    let mut cursor = Cursor::new(list.start);
    while let Some(start) = text.next_item(&mut cursor)? {
        if text.byte(start)? != b'{' {
            return Err(Declined);
        }
        let (item, end) = item(text, start)?;
        found.push(item);
        cursor.at = end;
    }
    Ok(found)
}

fn item(text: Text<'_>, start: usize) -> Scan<(Item<'_>, usize)> {
    let mut values: [Option<Value>; 3] = [None; 3];
    let mut cursor = Cursor::new(start);
    while let Some(member) = text.next_member(&mut cursor, 5)? {
        let slot = match text.name(&member) {
            b"index" => 0,
            b"id" => 1,
            b"function" => 2,
            _ => continue,
        };
        if values[slot].replace(member.value).is_some() {
            return Err(Declined);
        }
    }
    let spelled = values[0].map_or(&b""[..], |value| &text.bytes[value.start..value.end]);
    let digits = std::str::from_utf8(spelled).map_err(|_| Declined)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Declined);
    }
    let index = digits.parse().map_err(|_| Declined)?;
    let id = word(text, values[1])?;
    let name = match values[2] {
        None => Cow::Borrowed(""),
        Some(function) => name_of(text, function)?,
    };
    Ok((Item { index, id, name }, cursor.at))
}

fn name_of(text: Text<'_>, function: Value) -> Scan<Cow<'_, str>> {
    if function.kind != Kind::Object {
        return Err(Declined);
    }
    let (mut name, mut arguments) = (None, None);
    let mut cursor = Cursor::new(function.start);
    while let Some(member) = text.next_member(&mut cursor, 6)? {
        let place = match text.name(&member) {
            b"name" => &mut name,
            b"arguments" => &mut arguments,
            _ => continue,
        };
        if place.replace(member.value).is_some() {
            return Err(Declined);
        }
    }
    if arguments.is_some_and(|value: Value| matches!(value.kind, Kind::Object | Kind::Array(_))) {
        return Err(Declined);
    }
    word(text, name)
}

/// Whether a call of a whole message gives its arguments as an object.
pub(crate) fn has_object_arguments(text: Text<'_>, list: Value) -> Scan<bool> {
    let mut cursor = Cursor::new(list.start);
    while let Some(start) = text.next_item(&mut cursor)? {
        let item = text.value(start, 4)?;
        cursor.at = item.end;
        let Some(function) = member(text, item, b"function")? else { continue };
        let arguments = member(text, function, b"arguments")?;
        if arguments.is_some_and(|value| matches!(value.kind, Kind::Object | Kind::Array(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A text that is there and not empty, or nothing; null and the like are defects.
fn word(text: Text<'_>, value: Option<Value>) -> Scan<Cow<'_, str>> {
    let Some(value) = value else { return Ok(Cow::Borrowed("")) };
    let is_text = matches!(value.kind, Kind::Str(_)) && value.end - value.start > 2;
    if is_text { text.decode(value) } else { Err(Declined) }
}

/// (the index of the call, its arguments) where a list holds one item with nothing else.
pub(crate) fn only_arguments(text: Text<'_>, list: Value) -> Scan<Option<(i64, Value)>> {
    let mut cursor = Cursor::new(list.start);
    let Some(start) = text.next_item(&mut cursor)? else { return Ok(None) };
    let (item, end) = item(text, start)?;
    cursor.at = end;
    if text.next_item(&mut cursor)?.is_some() || !item.id.is_empty() || !item.name.is_empty() {
        return Ok(None);
    }
    let whole = Value { kind: Kind::Object, start, end };
    let Some(function) = member(text, whole, b"function")? else { return Ok(None) };
    let arguments = member(text, function, b"arguments")?;
    let is_said = |value: &Value| matches!(value.kind, Kind::Str(_)) && !is_empty_string(*value);
    Ok(arguments.filter(is_said).map(|arguments| (item.index, arguments)))
}
