//! The ends of JSON strings, many bytes at a time.

use wide::u8x16;

use crate::scan::{Declined, Scan};

/// Bytes that are compared at once.
const LANES: usize = 16;
/// Bytes that are looked at together once a text is not short.
const BLOCK: usize = 4 * LANES;

/// (place of the quote that closes the string whose text starts at `at`, whether it has
/// escapes). Declined where that is no string of JSON, or does not end.
#[inline]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> Scan<(usize, bool)> {
    // Most texts of a stream are a few letters.
    if let Some(lanes) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let place = at + specials(lanes).trailing_zeros() as usize;
        if bytes.get(place) == Some(&b'"') && place < at + LANES {
            return Ok((place, false));
        }
    }
    long_text_end(bytes, at)
}

/// The same, for texts that are longer or have escapes.
fn long_text_end(bytes: &[u8], mut at: usize) -> Scan<(usize, bool)> {
    let mut has_escapes = false;
    // Where the block at hand begins: `at` may be further on, behind an escape.
    let mut block = at;
    while let Some(taken) = bytes.get(block..).and_then(|rest| rest.first_chunk::<BLOCK>()) {
        let mut found = 0;
        for (n, lanes) in taken.chunks_exact(LANES).enumerate() {
            if let Some(lanes) = lanes.first_chunk() {
                found |= specials(lanes) << (n * LANES);
            }
        }
        found &= at_least(at - block);
        while found != 0 {
            let place = block + found.trailing_zeros() as usize;
            match bytes[place] {
                b'"' => return Ok((place, has_escapes)),
                b'\\' => {
                    has_escapes = true;
                    at = escape(bytes, place + 1)?;
                    found &= at_least(at - block);
                }
                // Raw control characters: not JSON.
                _ => return Err(Declined),
            }
        }
        block += BLOCK;
        at = at.max(block);
    }
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok((at, has_escapes)),
            Some(b'\\') => {
                has_escapes = true;
                at = escape(bytes, at + 1)?;
            }
            None | Some(0..=0x1f) => return Err(Declined),
            Some(_) => at += 1,
        }
    }
}

/// The end of the escape whose letter is at `at`.
#[inline]
fn escape(bytes: &[u8], at: usize) -> Scan<usize> {
    match bytes.get(at) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 1),
        Some(b'u') => {
            let digits = bytes.get(at + 1..at + 5).ok_or(Declined)?;
            if digits.iter().all(u8::is_ascii_hexdigit) { Ok(at + 5) } else { Err(Declined) }
        }
        _ => Err(Declined),
    }
}

/// A bit for each byte that is a quote, a backslash or a control character.
#[inline]
fn specials(lanes: &[u8; LANES]) -> u64 {
    let lanes = u8x16::new(*lanes);
    let is_control = lanes.min(u8x16::splat(0x1f)).cmp_eq(lanes);
    let is_quote = lanes.cmp_eq(u8x16::splat(b'"'));
    let is_special = lanes.cmp_eq(u8x16::splat(b'\\')) | is_quote | is_control;
    u64::try_from(is_special.move_mask()).unwrap_or_default()
}

/// The bits of places from `place` on.
fn at_least(place: usize) -> u64 {
    if place < 64 { u64::MAX << place } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::{Declined, Scan, escape, text_end};

    /// The same, a byte at a time.
    fn by_byte(bytes: &[u8], mut at: usize) -> Scan<(usize, bool)> {
        let mut has_escapes = false;
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok((at, has_escapes)),
                Some(b'\\') => (at, has_escapes) = (escape(bytes, at + 1)?, true),
                None | Some(0..=0x1f) => return Err(Declined),
                Some(_) => at += 1,
            }
        }
    }

    #[test]
    fn finds_what_a_search_byte_by_byte_finds() {
        let rare: [&[u8]; 7] =
            [b"\\\"", b"\\u00e9", b"\\\\", b"\\x", b"\n", b"\xf0\x9f\x98\x80", b"\""];
        for length in 0..200 {
            for (n, piece) in rare.iter().enumerate() {
                for place in [0, length / 3, length / 2, length] {
                    let mut text = vec![b'a'; length];
                    text.splice(place..place, piece.iter().copied());
                    text.splice(0..0, rare[n / 2 % 3].iter().copied());
                    text.extend_from_slice(b"\"}}");
                    for at in 0..text.len().min(9) {
                        assert_eq!(text_end(&text, at), by_byte(&text, at), "{text:?} from {at}");
                        let cut = &text[..text.len() - 3];
                        assert_eq!(text_end(cut, at), by_byte(cut, at), "{cut:?} from {at}");
                    }
                }
            }
        }
    }
}
