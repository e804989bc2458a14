//! Where the bytes stand in a block that a reader of JSON strings asks for.
//!
//! One binary runs on every machine of its architecture, so what is compared at once is
//! chosen when it runs: 32 bytes where the processor can (AVX2), 16 elsewhere.

// What is compiled for a wider processor is only what is inlined there.
#![allow(clippy::inline_always)]

use wide::u8x16;

/// Bytes that are looked at together: one bit of a word each.
pub(crate) const BLOCK: usize = 64;
/// Bytes that are compared at once on every machine.
pub(crate) const LANES: usize = 16;
/// Bytes of a long text that are passed over together if nothing is to be decided in them.
pub(crate) const STRIDE: usize = 128;
/// A stride is looked at with so many bytes before it.
pub(crate) const BEFORE: usize = 2;
/// A stride behind those bytes.
pub(crate) type Stride = [u8; BEFORE + STRIDE];

/// A bit for each byte of a block that is one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) slashes: u64,
    /// Quotes and control characters.
    pub(crate) ends: u64,
    /// Quotes and the letter `n`: with the backslash, those of nearly all escapes.
    pub(crate) letters: u64,
}

impl Found {
    fn shifted(self, by: usize) -> Self {
        Self { slashes: self.slashes << by, ends: self.ends << by, letters: self.letters << by }
    }

    fn and(self, other: Self) -> Self {
        Self {
            slashes: self.slashes | other.slashes,
            ends: self.ends | other.ends,
            letters: self.letters | other.letters,
        }
    }
}

/// How a block is looked at.
pub(crate) trait Lanes: Copy {
    fn find(self, block: &[u8; BLOCK]) -> Found;

    /// Whether a text surely goes on through a stride. Every backslash before it that follows no
    /// other one must escape.
    ///
    /// A backslash escapes if it follows none, so that of two in a row the second does not.
    /// Three in a row, and other escapes than of `n`, quotes and backslashes, are for those to
    /// judge who look at each: then the text does not surely go on.
    fn pass(self, stride: &Stride) -> bool;
}

/// What is done with blocks, in whichever way they are looked at. It must be inlined.
pub(crate) trait Task {
    type Output;

    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Do it in the fastest way that there is here.
#[inline]
pub(crate) fn run<T: Task>(task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = pulp::x86::V3::try_new() {
        return lanes.vectorize(avx2::Bound { lanes, task });
    }
    task.run(Narrow)
}

/// 16 bytes at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Narrow;

impl Lanes for Narrow {
    #[inline(always)]
    fn find(self, block: &[u8; BLOCK]) -> Found {
        let mut found = Found::default();
        for (n, lanes) in block.chunks_exact(LANES).enumerate() {
            if let Some(lanes) = lanes.first_chunk() {
                found = found.and(of_lanes(lanes).shifted(n * LANES));
            }
        }
        found
    }

    #[inline(always)]
    fn pass(self, stride: &Stride) -> bool {
        let splat = u8x16::splat;
        let is = |lanes: u8x16, byte| lanes.cmp_eq(splat(byte));
        let (mut wrong, mut lowest) = (splat(0), splat(u8::MAX));
        for part in parts(stride) {
            let [_, _, here] = part.map(u8x16::new);
            let [second_last, last, slash] = part.map(|lanes| is(u8x16::new(lanes), b'\\'));
            let is_escaped = last & !second_last;
            // A quote that is not escaped, or what is, and is no quote.
            let differs = is_escaped ^ is(here, b'"');
            wrong |= differs & !(slash | is(here, b'n'));
            wrong |= second_last & last & slash;
            lowest = lowest.min(here);
        }
        wrong |= lowest.min(splat(CONTROL)).cmp_eq(lowest);
        wrong.move_mask() == 0
    }
}

/// The parts of a stride, each as it stands two bytes and one byte before, and itself.
#[inline(always)]
fn parts<const WIDTH: usize>(stride: &Stride) -> impl Iterator<Item = [[u8; WIDTH]; 3]> + '_ {
    let shifted = |by: usize| stride[by..].chunks_exact(WIDTH);
    let parts = shifted(0).zip(shifted(1)).zip(shifted(BEFORE));
    parts.filter_map(|((second_last, last), here)| {
        Some([*second_last.first_chunk()?, *last.first_chunk()?, *here.first_chunk()?])
    })
}

/// The bits of the first `LANES` bytes.
#[inline(always)]
pub(crate) fn of_lanes(lanes: &[u8; LANES]) -> Found {
    let lanes = u8x16::new(*lanes);
    let bits = |found: u8x16| u64::try_from(found.move_mask()).unwrap_or_default();
    let turned = lanes ^ u8x16::splat(TURN);
    Found {
        slashes: bits(lanes.cmp_eq(u8x16::splat(b'\\'))),
        ends: bits(turned.min(u8x16::splat(b' ')).cmp_eq(turned)),
        letters: bits(lanes.cmp_eq(u8x16::splat(b'n')) | lanes.cmp_eq(u8x16::splat(b'"'))),
    }
}

/// With these bits turned over, the quote changes places with the space, which is next to the
/// control characters: then they are all found by one comparison.
const TURN: u8 = b'"' ^ b' ';

/// The last control character.
const CONTROL: u8 = 0x1f;

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{BLOCK, CONTROL, Found, Lanes, Stride, TURN, Task, parts};
    use core::arch::x86_64::__m256i;
    use pulp::x86::V3;

    /// Bytes that are compared at once.
    const WIDTH: usize = 32;

    /// A task, to be compiled for this processor.
    pub(super) struct Bound<T> {
        pub(super) lanes: V3,
        pub(super) task: T,
    }

    impl<T: Task> pulp::NullaryFnOnce for Bound<T> {
        type Output = T::Output;

        #[inline(always)]
        fn call(self) -> T::Output {
            self.task.run(self.lanes)
        }
    }

    impl Lanes for V3 {
        #[inline(always)]
        fn find(self, block: &[u8; BLOCK]) -> Found {
            let [low, high]: [[u8; WIDTH]; 2] = pulp::cast(*block);
            half(self, low).and(half(self, high).shifted(WIDTH))
        }

        #[inline(always)]
        fn pass(self, stride: &Stride) -> bool {
            let V3 { avx, avx2, .. } = self;
            let splat = |byte| splat(self, byte);
            let is = |lanes, byte| avx2._mm256_cmpeq_epi8(lanes, splat(byte));
            let both = |one, other| avx2._mm256_and_si256(one, other);
            let either = |one, other| avx2._mm256_or_si256(one, other);
            let without = |one, other| avx2._mm256_andnot_si256(other, one);
            let (mut wrong, mut lowest) = (splat(0), splat(u8::MAX));
            for part in parts::<WIDTH>(stride) {
                let [_, _, here] = part.map(pulp::cast::<_, __m256i>);
                let [second_last, last, slash] = part.map(|lanes| is(pulp::cast(lanes), b'\\'));
                let pair = both(second_last, last);
                let is_escaped = without(last, second_last);
                let differs = avx2._mm256_xor_si256(is_escaped, is(here, b'"'));
                let is_wrong = without(differs, is(here, b'n'));
                wrong = either(wrong, avx2._mm256_blendv_epi8(is_wrong, pair, slash));
                lowest = avx2._mm256_min_epu8(lowest, here);
            }
            let clamped = avx2._mm256_min_epu8(lowest, splat(CONTROL));
            wrong = either(wrong, avx2._mm256_cmpeq_epi8(clamped, lowest));
            avx._mm256_testz_si256(wrong, wrong) != 0
        }
    }

    #[inline(always)]
    fn splat(V3 { avx, .. }: V3, byte: u8) -> __m256i {
        avx._mm256_set1_epi8(i8::from_ne_bytes([byte]))
    }

    #[inline(always)]
    fn half(v3: V3, bytes: [u8; WIDTH]) -> Found {
        let (avx2, splat) = (v3.avx2, |byte| splat(v3, byte));
        let lanes = pulp::cast(bytes);
        let turned = avx2._mm256_xor_si256(lanes, splat(TURN));
        let is_end = avx2._mm256_cmpeq_epi8(avx2._mm256_min_epu8(turned, splat(b' ')), turned);
        let is = |byte| avx2._mm256_cmpeq_epi8(lanes, splat(byte));
        let bits =
            |found| u64::from(u32::from_ne_bytes(avx2._mm256_movemask_epi8(found).to_ne_bytes()));
        Found {
            slashes: bits(is(b'\\')),
            ends: bits(is_end),
            letters: bits(avx2._mm256_or_si256(is(b'n'), is(b'"'))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{BLOCK, Found, Lanes, Narrow, Task, run};

    struct Find<'a>(&'a [u8; BLOCK]);

    impl Task for Find<'_> {
        type Output = Found;

        fn run<L: Lanes>(self, lanes: L) -> Found {
            lanes.find(self.0)
        }
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..BLOCK {
                let mut block = [b'~'; BLOCK];
                block[place] = byte;
                let bit = |is: bool| u64::from(is) << place;
                let expected = Found {
                    slashes: bit(byte == b'\\'),
                    ends: bit(byte == b'"' || byte < b' '),
                    letters: bit(byte == b'n' || byte == b'"'),
                };
                assert_eq!(Narrow.find(&block), expected, "{byte} at {place}");
                assert_eq!(run(Find(&block)), expected, "{byte} at {place}, fastest");
            }
        }
    }
}
