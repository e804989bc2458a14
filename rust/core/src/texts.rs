//! Reasoning text in a delta: what each source of the table finds.
//!
//! Mirrors `pure/texts.py`.

use std::borrow::Cow;

use crate::scan::{Cursor, Declined, Kind, Member, Scan, Text, Value};
use crate::table::{Shape, Source};

/// What stands under `content`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Content {
    #[default]
    Missing,
    Null,
    /// An empty text.
    Blank,
    Text,
    Other,
}

/// The members of one delta, and where those that the table names are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    /// Where it starts.
    pub(crate) start: usize,
    /// It is the whole message of a body that was not streamed.
    pub(crate) is_message: bool,
    pub(crate) members: Vec<Member>,
    /// For each key of the table, the place of its member.
    pub(crate) slots: Vec<Option<usize>>,
    /// Its tool calls; None where there are none.
    pub(crate) calls: Option<Value>,
    pub(crate) content: Content,
}

impl Delta {
    pub(crate) fn value(&self, key: usize) -> Option<Value> {
        self.slots[key].map(|at| self.members[at].value)
    }
}

/// The texts of a delta: (index of the source, its text), in the order of the table.
pub(crate) type Texts<'a> = Vec<(usize, Cow<'a, str>)>;

pub(crate) fn is_empty_string(value: Value) -> bool {
    value.kind == Kind::Str(false) && value.end - value.start == 2
}

/// The text that `source` finds in its member; what only the reference reads is declined.
pub(crate) fn text_of<'a>(source: &Source, text: Text<'a>, value: Value) -> Scan<Cow<'a, str>> {
    match source.shape {
        Shape::Text => match value.kind {
            Kind::Str(_) => text.decode(value),
            _ => Ok(Cow::Borrowed("")),
        },
        // Rare (one gateway), and what else is in the object decides whether it stays.
        Shape::Object if value.kind == Kind::Object => Err(Declined),
        // The last three stand in `content`, which is read by itself.
        Shape::Object | Shape::Parts | Shape::Flag | Shape::Tags => Ok(Cow::Borrowed("")),
        Shape::Nested => {
            let mut found = Cow::Borrowed("");
            nested(text, value, &source.steps, source, &mut |value| {
                let piece = text.decode(value)?;
                if found.is_empty() {
                    found = piece;
                } else {
                    found.to_mut().push_str(&piece);
                }
                Ok(())
            })?;
            Ok(found)
        }
    }
}

/// Call `take` with every string that a nested source picks, in order.
fn nested(
    text: Text<'_>,
    value: Value,
    steps: &[Box<[u8]>],
    source: &Source,
    take: &mut impl FnMut(Value) -> Scan<()>,
) -> Scan<()> {
    let Some((step, rest)) = steps.split_first() else {
        return pick(text, value, source)?.map_or(Ok(()), take);
    };
    if **step == *b"*" {
        if !matches!(value.kind, Kind::Array(_)) {
            return Ok(());
        }
        let mut cursor = Cursor::new(value.start);
        while let Some(start) = text.next_item(&mut cursor)? {
            let item = text.value(start, 0)?;
            cursor.at = item.end;
            nested(text, item, rest, source, take)?;
        }
        return Ok(());
    }
    match member(text, value, step)? {
        Some(value) => nested(text, value, rest, source, take),
        None => Ok(()),
    }
}

/// The string of the first pick that fits an object.
fn pick(text: Text<'_>, value: Value, source: &Source) -> Scan<Option<Value>> {
    if value.kind != Kind::Object {
        return Ok(None);
    }
    let mut kind = None;
    for (wanted, name) in &source.picks {
        if let Some(wanted) = wanted {
            if kind.is_none() {
                kind = Some(match member(text, value, b"type")? {
                    Some(value) if matches!(value.kind, Kind::Str(_)) => text.decode(value)?,
                    _ => Cow::Borrowed(""),
                });
            }
            if kind.as_ref().is_none_or(|kind| kind.as_bytes() != &**wanted) {
                continue;
            }
        }
        if let Some(value) = member(text, value, name)? {
            if matches!(value.kind, Kind::Str(_)) {
                return Ok(Some(value));
            }
        }
    }
    Ok(None)
}

/// A member of an object by name; declined where the name occurs twice.
pub(crate) fn member(text: Text<'_>, value: Value, name: &[u8]) -> Scan<Option<Value>> {
    if value.kind != Kind::Object {
        return Ok(None);
    }
    let mut found = None;
    let mut cursor = Cursor::new(value.start);
    while let Some(member) = text.next_member(&mut cursor, 0)? {
        if text.name(&member) == name && found.replace(member.value).is_some() {
            return Err(Declined);
        }
    }
    Ok(found)
}

/// Where the text stands that `source` finds in its member: one string, all of whose text it
/// is. None where it finds no text; declined where that is made of several strings.
pub(crate) fn place_of(source: &Source, text: Text<'_>, value: Value) -> Scan<Option<Value>> {
    let mut found = None;
    let mut take = |value: Value| match value.kind {
        Kind::Str(_) if is_empty_string(value) => Ok(()),
        Kind::Str(_) if found.replace(value).is_some() => Err(Declined),
        _ => Ok(()),
    };
    match source.shape {
        Shape::Text => take(value)?,
        Shape::Nested => nested(text, value, &source.steps, source, &mut take)?,
        // They stand in `content`, or are declined.
        Shape::Object | Shape::Parts | Shape::Flag | Shape::Tags => {}
    }
    Ok(found)
}
