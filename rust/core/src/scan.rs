//! Where things stand in a JSON text: validated and found in one pass, nothing rebuilt.
//!
//! The scanner accepts a subset of what Python's `json` accepts and gives up on anything
//! else, valid or not: the reference engine then decides. It never accepts what `json`
//! refuses, and never reads a document differently.

use std::borrow::Cow;
use std::cell::Cell;

use crate::strings::text_end;

/// The event is for the reference engine. Nothing has been changed when this is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declined;

pub(crate) type Scan<T> = Result<T, Declined>;

/// Deeper documents are for the reference, whose own limit is higher.
const MAX_DEPTH: u32 = 64;
/// Longer numbers may pass the limit that Python sets on the digits of an int.
const MAX_NUMBER: usize = 300;
/// Integers of so many digits fit 64 bits: no parser of JSON turns them into a float.
const MAX_INTEGER: usize = 18;

/// What a value is, as far as the rules care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    /// A string; `true` where it has escapes.
    Str(bool),
    Object,
    /// A list; `true` where it is empty.
    Array(bool),
    Other,
}

/// A value: its kind and its half-open span (quotes and brackets included).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) kind: Kind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A member of an object. Names with escapes are declined, so a name is its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// Span of the name with its quotes.
    pub(crate) key_start: usize,
    pub(crate) key_end: usize,
    pub(crate) value: Value,
}

/// A place in an object or a list that is being walked; at its end, behind its bracket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    pub(crate) at: usize,
    is_first: bool,
}

impl Cursor {
    /// Before the first member or item of what opens at `open`.
    pub(crate) fn new(open: usize) -> Self {
        Self { at: open + 1, is_first: true }
    }
}

/// A JSON text, known to be UTF-8.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    pub(crate) bytes: &'a [u8],
    /// The same: what is cut out of it need not be validated again.
    said: &'a str,
    /// Set when an integer is met that may need more than 64 bits.
    has_long_integer: &'a Cell<bool>,
}

impl<'a> Text<'a> {
    pub(crate) fn new(bytes: &'a [u8], has_long_integer: &'a Cell<bool>) -> Scan<Self> {
        let said = std::str::from_utf8(bytes).map_err(|_| Declined)?;
        Ok(Self { bytes, said, has_long_integer })
    }

    pub(crate) fn skip_space(&self, mut at: usize) -> usize {
        while matches!(self.bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            at += 1;
        }
        at
    }

    pub(crate) fn byte(&self, at: usize) -> Scan<u8> {
        self.bytes.get(at).copied().ok_or(Declined)
    }

    pub(crate) fn name(&self, member: &Member) -> &'a [u8] {
        &self.bytes[member.key_start + 1..member.key_end - 1]
    }

    /// The value that starts at `at`, validated.
    pub(crate) fn value(&self, at: usize, depth: u32) -> Scan<Value> {
        let (kind, end) = match self.byte(at)? {
            b'"' => {
                let (end, escaped) = self.string(at)?;
                (Kind::Str(escaped), end)
            }
            b'{' => (Kind::Object, self.object(at, depth)?),
            b'[' => {
                let is_empty = self.byte(self.skip_space(at + 1))? == b']';
                (Kind::Array(is_empty), self.array(at, depth)?)
            }
            b'n' => (Kind::Null, self.literal(at, b"null")?),
            b't' => (Kind::Other, self.literal(at, b"true")?),
            b'f' => (Kind::Other, self.literal(at, b"false")?),
            _ => (Kind::Other, self.number(at)?),
        };
        Ok(Value { kind, start: at, end })
    }

    /// The next member of an object, with its value validated; None at its end.
    pub(crate) fn next_member(&self, cursor: &mut Cursor, depth: u32) -> Scan<Option<Member>> {
        let Some((key_start, key_end, start)) = self.next_name(cursor)? else {
            return Ok(None);
        };
        let value = self.value(start, depth + 1)?;
        cursor.at = value.end;
        Ok(Some(Member { key_start, key_end, value }))
    }

    /// As `next_member`, but the value is left to be read: (the name's span, the value's
    /// start). The caller moves the cursor behind the value.
    pub(crate) fn next_name(&self, cursor: &mut Cursor) -> Scan<Option<(usize, usize, usize)>> {
        let Some(key_start) = self.next_start(cursor, b'}')? else {
            return Ok(None);
        };
        if self.byte(key_start)? != b'"' {
            return Err(Declined);
        }
        let (key_end, escaped) = self.string(key_start)?;
        if escaped {
            return Err(Declined);
        }
        let colon = self.skip_space(key_end);
        if self.byte(colon)? != b':' {
            return Err(Declined);
        }
        Ok(Some((key_start, key_end, self.skip_space(colon + 1))))
    }

    /// Where the next item of a list starts; the caller moves the cursor behind it.
    pub(crate) fn next_item(&self, cursor: &mut Cursor) -> Scan<Option<usize>> {
        self.next_start(cursor, b']')
    }

    fn next_start(&self, cursor: &mut Cursor, close: u8) -> Scan<Option<usize>> {
        let mut at = self.skip_space(cursor.at);
        let byte = self.byte(at)?;
        if byte == close {
            cursor.at = at + 1;
            return Ok(None);
        }
        if !cursor.is_first {
            if byte != b',' {
                return Err(Declined);
            }
            at = self.skip_space(at + 1);
            if self.byte(at)? == close {
                return Err(Declined);
            }
        }
        cursor.is_first = false;
        Ok(Some(at))
    }

    fn object(&self, mut at: usize, depth: u32) -> Scan<usize> {
        if depth >= MAX_DEPTH {
            return Err(Declined);
        }
        at = self.skip_space(at + 1);
        if self.byte(at)? == b'}' {
            return Ok(at + 1);
        }
        loop {
            if self.byte(at)? != b'"' {
                return Err(Declined);
            }
            at = self.skip_space(self.string(at)?.0);
            if self.byte(at)? != b':' {
                return Err(Declined);
            }
            at = self.skip_space(self.value(self.skip_space(at + 1), depth + 1)?.end);
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1),
                b'}' => return Ok(at + 1),
                _ => return Err(Declined),
            }
        }
    }

    fn array(&self, mut at: usize, depth: u32) -> Scan<usize> {
        if depth >= MAX_DEPTH {
            return Err(Declined);
        }
        at = self.skip_space(at + 1);
        if self.byte(at)? == b']' {
            return Ok(at + 1);
        }
        loop {
            at = self.skip_space(self.value(at, depth + 1)?.end);
            match self.byte(at)? {
                b',' => at = self.skip_space(at + 1),
                b']' => return Ok(at + 1),
                _ => return Err(Declined),
            }
        }
    }

    /// (end of the string that starts at `at`, whether it has escapes).
    fn string(&self, at: usize) -> Scan<(usize, bool)> {
        text_end(self.bytes, at + 1).map(|(end, has_escapes)| (end + 1, has_escapes))
    }

    fn literal(&self, at: usize, word: &[u8]) -> Scan<usize> {
        if self.bytes[at..].starts_with(word) { Ok(at + word.len()) } else { Err(Declined) }
    }

    fn number(&self, start: usize) -> Scan<usize> {
        let mut at = start;
        if self.bytes.get(at) == Some(&b'-') {
            at += 1;
        }
        match self.byte(at)? {
            b'0' => at += 1,
            b'1'..=b'9' => at = self.skip_digits(at),
            _ => return Err(Declined),
        }
        if at - start > MAX_INTEGER && !matches!(self.bytes.get(at), Some(b'.' | b'e' | b'E')) {
            self.has_long_integer.set(true);
        }
        if self.bytes.get(at) == Some(&b'.') {
            at = self.some_digits(at + 1)?;
        }
        if matches!(self.bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(self.bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            at = self.some_digits(at)?;
        }
        if at - start > MAX_NUMBER { Err(Declined) } else { Ok(at) }
    }

    fn skip_digits(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    fn some_digits(&self, at: usize) -> Scan<usize> {
        let end = self.skip_digits(at);
        if end == at { Err(Declined) } else { Ok(end) }
    }

    /// A string's text. Lone surrogates, which no `str` can hold, are declined.
    pub(crate) fn decode(&self, value: Value) -> Scan<Cow<'a, str>> {
        let inner = self.said.get(value.start + 1..value.end - 1).ok_or(Declined)?;
        decode(inner, value.kind != Kind::Str(false))
    }
}

/// The text of a string from what stands between its quotes.
pub(crate) fn decode(inner: &str, has_escapes: bool) -> Scan<Cow<'_, str>> {
    if has_escapes { unescape(inner).map(Cow::Owned) } else { Ok(Cow::Borrowed(inner)) }
}

/// The same of bytes that may be no UTF-8.
pub(crate) fn decode_bytes(inner: &[u8], has_escapes: bool) -> Scan<Cow<'_, str>> {
    decode(std::str::from_utf8(inner).map_err(|_| Declined)?, has_escapes)
}

fn unescape(inner: &str) -> Scan<String> {
    let bytes = inner.as_bytes();
    let mut text = String::with_capacity(inner.len());
    let mut at = 0;
    while let Some(slash) = memchr::memchr(b'\\', &bytes[at..]) {
        text.push_str(&inner[at..at + slash]);
        at += slash + 2;
        match bytes[at - 1] {
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => text.push(code_point(bytes, &mut at)?),
            other => text.push(char::from(other)),
        }
    }
    text.push_str(&inner[at..]);
    Ok(text)
}

/// The character of a `\u` escape whose digits start at `at`, with the second half of a
/// surrogate pair if it is one.
fn code_point(inner: &[u8], at: &mut usize) -> Scan<char> {
    let high = hex(inner, at)?;
    if !(0xd800..0xdc00).contains(&high) {
        return char::from_u32(high).ok_or(Declined);
    }
    if inner.get(*at..*at + 2) != Some(b"\\u".as_slice()) {
        return Err(Declined);
    }
    *at += 2;
    let low = hex(inner, at)?;
    if !(0xdc00..0xe000).contains(&low) {
        return Err(Declined);
    }
    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).ok_or(Declined)
}

fn hex(inner: &[u8], at: &mut usize) -> Scan<u32> {
    let digits = inner.get(*at..*at + 4).ok_or(Declined)?;
    *at += 4;
    let digits = std::str::from_utf8(digits).map_err(|_| Declined)?;
    u32::from_str_radix(digits, 16).map_err(|_| Declined)
}

/// Whether every bracket that `text` opens is closed in it: one line, one document.
pub(crate) fn is_balanced(text: &[u8]) -> bool {
    let (mut braces, mut brackets) = (0_i64, 0_i64);
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'{' => braces += 1,
            b'}' => braces -= 1,
            b'[' => brackets += 1,
            b']' => brackets -= 1,
            b'"' => match string_end(text, at + 1) {
                Some(end) => at = end,
                None => return false,
            },
            _ => {}
        }
        at += 1;
    }
    braces == 0 && brackets == 0
}

/// The place of the quote that closes a string, whatever is in it.
fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}
