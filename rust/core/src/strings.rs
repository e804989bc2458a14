//! The ends of JSON strings, many bytes at a time.

// See `lanes`: a `Task` must be inlined.
#![allow(clippy::inline_always)]

use crate::lanes::{self, BEFORE, BLOCK, LANES, Lanes, STRIDE, Task};
use crate::scan::{Declined, Scan};

/// Of a word, the bits at odd places.
const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

/// (place of the quote that closes the string whose text starts at `at`, whether it has
/// escapes). Declined where that is no string of JSON, or does not end.
#[inline]
pub(crate) fn text_end(bytes: &[u8], at: usize) -> Scan<(usize, bool)> {
    // Most texts of a stream are a few letters.
    if let Some(lanes) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LANES>()) {
        let found = lanes::of_lanes(lanes);
        let place = at + (found.slashes | found.ends).trailing_zeros() as usize;
        if bytes.get(place) == Some(&b'"') && place < at + LANES {
            return Ok((place, false));
        }
    }
    lanes::run(TextEnd { bytes, at })
}

/// The same, for texts that are longer or have escapes.
struct TextEnd<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Task for TextEnd<'_> {
    type Output = Scan<(usize, bool)>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Scan<(usize, bool)> {
        let Self { bytes, mut at } = self;
        let start = at;
        let mut escapes = Escapes::default();
        let mut rest = bytes.get(at..).ok_or(Declined)?;
        while let Some((block, behind)) = rest.split_first_chunk() {
            if let Some(end) = escapes.end_in(lanes, block, bytes, at)? {
                return Ok((end, escapes.any_in(&bytes[start..end])));
            }
            rest = behind;
            at += BLOCK;
            let passed = escapes.pass(lanes, bytes, at);
            if passed > at {
                at = passed;
                rest = &bytes[at..];
            }
        }
        // A control character ends the text that has no end.
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        let end = escapes.end_in(lanes, &block, bytes, at)?.ok_or(Declined)?;
        Ok((end, escapes.any_in(&bytes[start..end])))
    }
}

/// What is known of the escapes in a text, up to a block of it.
#[derive(Debug, Default)]
struct Escapes {
    /// The backslashes before it, put together, but for those of strides.
    slashes: u64,
    /// There were strides.
    has_strides: bool,
    /// 1 if the first byte of the block is escaped.
    carried: u64,
}

impl Escapes {
    /// Whether the text that was read has any. Looked for in strides only here: where there
    /// are some, the first is mostly near, or was seen in a block.
    fn any_in(&self, text: &[u8]) -> bool {
        self.slashes != 0 || (self.has_strides && memchr::memchr(b'\\', text).is_some())
    }

    /// Up to where the text surely goes on from `at`, which is behind a block of it.
    ///
    /// Most of a long text are strides of which nothing else has to be known: they cost little
    /// more than half of what blocks do.
    #[inline(always)]
    fn pass<L: Lanes>(&mut self, lanes: L, bytes: &[u8], mut at: usize) -> usize {
        // Whether the byte before escapes, as the lanes see it.
        let carried = |at: usize| u64::from(bytes[at - 1] == b'\\' && bytes[at - 2] != b'\\');
        if carried(at) != self.carried {
            return at;
        }
        while let Some(stride) = bytes[at - BEFORE..].first_chunk() {
            if !lanes.pass(stride) {
                break;
            }
            at += STRIDE;
            self.has_strides = true;
        }
        self.carried = carried(at);
        at
    }

    /// Where the text ends, if that is in the block, which starts at `at`.
    ///
    /// No jump depends on where the escapes are: which bytes are escaped, nobody can guess.
    #[inline(always)]
    fn end_in<L: Lanes>(
        &mut self,
        lanes: L,
        block: &[u8; BLOCK],
        bytes: &[u8],
        at: usize,
    ) -> Scan<Option<usize>> {
        let found = lanes.find(block);
        let escaped = self.escaped(found.slashes);
        let ends = found.ends & !escaped;
        // All bits below the lowest one of `ends`; what is behind the text is not looked at.
        let inside = ends.wrapping_sub(1) & !ends;
        self.slashes |= found.slashes & inside;
        let unusual = escaped & inside & !(found.slashes | found.letters);
        if unusual != 0 {
            check(bytes, at, unusual)?;
        }
        if ends == 0 {
            return Ok(None);
        }
        let place = ends.trailing_zeros() as usize;
        // Raw control characters: not JSON.
        if block[place % BLOCK] == b'"' { Ok(Some(at + place)) } else { Err(Declined) }
    }

    /// A bit for each byte of a block with a backslash before it that is not escaped itself.
    #[inline(always)]
    fn escaped(&mut self, slashes: u64) -> u64 {
        // In a run of backslashes every second byte is escaped. To subtract a run from the
        // bits at odd places, with those set that follow a backslash, leaves them changed
        // from the first byte of the run to the one behind it, but for every second one: no
        // matter at which place the run begins.
        let begins = slashes & !self.carried;
        let changed = ((begins << 1 | ODD).wrapping_sub(begins)) ^ ODD;
        let escaped = changed ^ (slashes | self.carried);
        self.carried = (changed & slashes) >> (BLOCK - 1);
        escaped
    }
}

/// Whether the bytes at the places of `escaped` in the block at `at` are the letters of
/// escapes, with their digits.
#[cold]
fn check(bytes: &[u8], at: usize, mut escaped: u64) -> Scan<()> {
    while escaped != 0 {
        let place = at + escaped.trailing_zeros() as usize;
        escaped &= escaped - 1;
        match bytes.get(place) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
            Some(b'u') => {
                let digits = bytes.get(place + 1..place + 5).ok_or(Declined)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Declined);
                }
            }
            _ => return Err(Declined),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Declined, Escapes, Scan, TextEnd, text_end};
    use crate::lanes::{Narrow, Task};

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

    /// The end of the escape whose letter is at `at`.
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

    /// What `text_end` finds, also where only the narrow way is there.
    fn found(bytes: &[u8], at: usize) -> Scan<(usize, bool)> {
        let found = text_end(bytes, at);
        assert_eq!(TextEnd { bytes, at }.run(Narrow), found, "{bytes:?} from {at}");
        found
    }

    /// Numbers that look like chance: the same ones every time.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, count: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap_or_default() % count
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
                        assert_eq!(found(&text, at), by_byte(&text, at), "{text:?} from {at}");
                        let cut = &text[..text.len() - 3];
                        assert_eq!(found(cut, at), by_byte(cut, at), "{cut:?} from {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn finds_the_same_in_texts_made_by_chance() {
        let good: [&[u8]; 12] = [
            b"\\\\",
            b"\\\"",
            b"\\n",
            b"\\/",
            b"\\b",
            b"\\f",
            b"\\r",
            b"\\t",
            b"\\u12aF",
            b"abc",
            b" ",
            b"\xe6\x80\x9d",
        ];
        let bad: [&[u8]; 8] =
            [b"\\", b"\"", b"\x1f", b"\\u12", b"\\u00g0", b"\\x", b"\x7f \x21", b"\\\x00"];
        let mut chance = Chance(0x5eed);
        let mut ends = 0;
        for round in 0..40_000 {
            let most_bad = chance.below(3);
            let mut text = Vec::new();
            for _ in 0..chance.below(120) {
                // In half of the rounds most pieces are escapes, so that runs are long.
                let kinds = if round % 2 == 0 { 3 } else { good.len() };
                text.extend_from_slice(good[chance.below(kinds)]);
                if most_bad > 0 && chance.below(60) < most_bad {
                    text.extend_from_slice(bad[chance.below(bad.len())]);
                }
            }
            text.extend_from_slice(&b"\",\"logprobs\":null"[..chance.below(18)]);
            let at = chance.below(text.len() + 2);
            let end = found(&text, at);
            assert_eq!(end, by_byte(&text, at), "{text:?} from {at}");
            ends += usize::from(end.is_ok());
        }
        assert!(ends > 10_000, "{ends}");
    }

    #[test]
    fn finds_the_same_in_long_texts_that_are_passed_over() {
        let usual: [&[u8]; 5] = [b"abcdefghi", b"\\n", b"\\\"", b"\\\\a", b"\xe6\x80\x9d"];
        let rare: [&[u8]; 12] = [
            b"\\\\\\\\",
            b"\\\\\\n",
            b"\\\\\\\"",
            b"\\\\\\x",
            b"\\\\\"",
            b"\\t",
            b"\\u12aF",
            b"\\x",
            b"\\",
            b"\"",
            b"\x1f",
            b"\x00",
        ];
        let mut chance = Chance(0x1_0ad);
        let mut ends = 0;
        for _ in 0..40_000 {
            let mut text = Vec::new();
            let kinds = 1 + chance.below(usual.len());
            while text.len() < 600 {
                text.extend_from_slice(usual[chance.below(kinds)]);
            }
            for _ in 0..chance.below(4) {
                let place = chance.below(text.len());
                let piece = rare[chance.below(rare.len())];
                text.splice(place..place, piece.iter().copied());
            }
            text.extend_from_slice(&b"\"}}]}\n\ndata: {}\n\n"[..=chance.below(16)]);
            let at = chance.below(70);
            let end = found(&text, at);
            assert_eq!(end, by_byte(&text, at), "{text:?} from {at}");
            ends += usize::from(end.is_ok_and(|(place, _)| place > 500));
        }
        assert!(ends > 10_000, "{ends}");
    }

    #[test]
    fn every_byte_counts_as_it_does_byte_by_byte() {
        for byte in 0..=u8::MAX {
            for place in [1, 14, 15, 16, 17, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 1] {
                for before in [b'a', b'\\'] {
                    let mut text = vec![b'a'; 4 * BLOCK];
                    text[place] = byte;
                    text[place - 1] = before;
                    text.push(b'"');
                    assert_eq!(found(&text, 0), by_byte(&text, 0), "{byte} at {place}");
                }
            }
        }
    }

    #[test]
    fn knows_what_is_escaped_across_blocks() {
        let mut chance = Chance(0xface);
        for _ in 0..20_000 {
            let mut escapes = Escapes::default();
            let mut is_escaped = false;
            for _ in 0..3 {
                let often = 1 + chance.below(4);
                let (mut slashes, mut expected) = (0_u64, 0_u64);
                for place in 0..BLOCK {
                    let is_slash = chance.below(often + 1) != 0;
                    slashes |= u64::from(is_slash) << place;
                    expected |= u64::from(is_escaped) << place;
                    is_escaped = is_slash && !is_escaped;
                }
                assert_eq!(escapes.escaped(slashes), expected, "{slashes:b}");
            }
        }
    }
}
