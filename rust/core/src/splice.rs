//! Edits of members, made in the bytes.

use crate::scan::{Member, Text};
use crate::table::Table;

/// A new value for a member.
#[derive(Clone, Debug)]
pub(crate) enum New {
    /// The value of another member, as it stands.
    CopyOf(usize),
    Text(Box<str>),
}

/// A name that is written: a target by its index in the table's targets, or `content`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name {
    Target(usize),
    Content,
}

/// What happens to a member; a target is an index in the table's targets.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Rename(usize),
    Set(New),
    /// A member of that name before it.
    Insert(usize, New),
    Drop,
    /// A member of that name before all others; the edit names no member.
    Prepend(Name, Box<str>),
}

#[derive(Clone, Debug)]
pub(crate) struct Edit {
    /// Place of the member in its delta; beyond it for a member that comes before all.
    pub(crate) member: usize,
    pub(crate) op: Op,
}

/// A replacement of a half-open span.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) new: Vec<u8>,
}

impl Cut {
    /// The same in a text that begins `count` bytes earlier.
    pub(crate) fn shifted(&self, count: usize) -> Self {
        Self { start: self.start + count, end: self.end + count, new: self.new.clone() }
    }

    /// Whether it leaves a span as it is, or takes away all of it.
    pub(crate) fn spares(&self, span: (usize, usize)) -> bool {
        let is_beside = self.end <= span.0 || self.start >= span.1;
        is_beside || (self.start < span.0 && self.end > span.1)
    }
}

/// What the edits of one delta change in the text.
pub(crate) fn cuts(
    text: Text<'_>,
    (start, members): (usize, &[Member]),
    edits: &[Edit],
    table: &Table,
    made: &mut Vec<Cut>,
) {
    let targets = &table.targets;
    prepended(start, members, edits, table, made);
    let value = |new: &New| match new {
        New::CopyOf(at) => {
            let value = members[*at].value;
            text.bytes[value.start..value.end].to_vec()
        }
        New::Text(text) => encode_string(text),
    };
    for edit in edits {
        let Some(&member) = members.get(edit.member) else { continue };
        let (start, end, new) = match &edit.op {
            Op::Rename(target) => (member.key_start, member.key_end, quoted(&targets[*target])),
            Op::Set(new) => (member.value.start, member.value.end, value(new)),
            Op::Insert(target, new) => {
                let mut inserted = quoted(&targets[*target]);
                inserted.push(b':');
                inserted.extend_from_slice(&value(new));
                inserted.push(b',');
                (member.key_start, member.key_start, inserted)
            }
            Op::Drop | Op::Prepend(..) => continue,
        };
        made.push(Cut { start, end, new });
    }
    removals(members, edits, made);
}

/// Members that come before all others.
fn prepended(start: usize, members: &[Member], edits: &[Edit], table: &Table, made: &mut Vec<Cut>) {
    let mut new = Vec::new();
    for edit in edits {
        if let Op::Prepend(name, value) = &edit.op {
            if !new.is_empty() {
                new.push(b',');
            }
            new.extend_from_slice(&quoted(match name {
                Name::Target(target) => &table.targets[*target],
                Name::Content => &table.content,
            }));
            new.push(b':');
            new.extend_from_slice(&encode_string(value));
        }
    }
    if new.is_empty() {
        return;
    }
    let dropped = edits.iter().filter(|edit| matches!(edit.op, Op::Drop)).count();
    if members.len() > dropped {
        new.push(b',');
    }
    made.push(Cut { start: start + 1, end: start + 1, new });
}

/// Spans of members that go, each run with exactly one of the commas around it.
fn removals(members: &[Member], edits: &[Edit], made: &mut Vec<Cut>) {
    let goes =
        |at: usize| edits.iter().any(|edit| edit.member == at && matches!(edit.op, Op::Drop));
    let mut at = 0;
    while at < members.len() {
        if !goes(at) {
            at += 1;
            continue;
        }
        let first = at;
        while at < members.len() && goes(at) {
            at += 1;
        }
        let (start, end) = if at < members.len() {
            (members[first].key_start, members[at].key_start)
        } else if first > 0 {
            (members[first - 1].value.end, members[at - 1].value.end)
        } else {
            (members[first].key_start, members[at - 1].value.end)
        };
        made.push(Cut { start, end, new: Vec::new() });
    }
}

/// Append the text with all cuts made.
pub(crate) fn make(text: &[u8], made: &mut [Cut], out: &mut Vec<u8>) {
    let at = begin(text, made, out);
    out.extend_from_slice(&text[at..]);
}

/// The same up to the end of the last cut, which is returned: what follows stays as it is.
pub(crate) fn begin(text: &[u8], made: &mut [Cut], out: &mut Vec<u8>) -> usize {
    let mut pieces = pieces(text, made);
    let rest = pieces.pop().unwrap_or_default();
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    text.len() - rest.len()
}

/// What the text consists of with all cuts made, to be put together by whoever needs it.
pub(crate) fn pieces<'a>(text: &'a [u8], made: &'a mut [Cut]) -> Vec<&'a [u8]> {
    made.sort_by_key(|cut| (cut.start, cut.end));
    let mut pieces = Vec::with_capacity(2 * made.len() + 1);
    let mut at = 0;
    for cut in made.iter() {
        pieces.extend([&text[at..cut.start], &cut.new]);
        at = cut.end;
    }
    pieces.push(&text[at..]);
    pieces
}

fn quoted(name: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(name.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(name);
    quoted.push(b'"');
    quoted
}

/// Write `text` as a JSON string with the fewest escapes, spelled as Python's json does.
fn encode_string(text: &str) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut encoded = Vec::with_capacity(text.len() + 2);
    encoded.push(b'"');
    for &byte in text.as_bytes() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => {
                encoded.extend_from_slice(b"\\u00");
                encoded.push(HEX[usize::from(byte >> 4)]);
                encoded.push(HEX[usize::from(byte & 15)]);
                continue;
            }
            _ => {
                encoded.push(byte);
                continue;
            }
        };
        encoded.extend_from_slice(&[b'\\', short]);
    }
    encoded.push(b'"');
    encoded
}
