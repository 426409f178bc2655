//! Bits of byte strings, eight bytes at a time: counting, searching, combining, and reading and writing a few of them.
//!
//! Bits are counted from the highest one of the first byte. Knows nothing of keys and requests.

use std::ops::Range;

const BITS: u64 = u64::BITS as u64;

/// Bits that are set in `bytes`.
fn count_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let ones: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    ones + u64::from(padded(rest).count_ones())
}

/// Up to eight bytes as a big-endian word, with zeros behind them.
fn padded(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

/// The word with this index; the last one has zeros behind the end.
fn word(bytes: &[u8], index: u64) -> u64 {
    let rest = &bytes[(index * 8) as usize..];
    rest.first_chunk().map_or_else(|| padded(rest), |word| u64::from_be_bytes(*word))
}

/// How many bits of `range` are set. It lies within `bytes`.
pub fn count(bytes: &[u8], range: Range<u64>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    let (before, behind) = (range.start % 8, 7 - (range.end - 1) % 8);
    let skipped =
        (bytes[first] & !(0xff >> before)).count_ones() + (bytes[last] & !(0xff << behind)).count_ones();
    count_bytes(&bytes[first..=last]) - u64::from(skipped)
}

/// The first bit of `range` that is set, or that is not. It lies within `bytes`.
pub fn find(bytes: &[u8], range: Range<u64>, set: bool) -> Option<u64> {
    if range.is_empty() {
        return None;
    }
    let flip = if set { 0 } else { u64::MAX };
    let first = range.start / BITS;
    for index in first..=(range.end - 1) / BITS {
        let mut wanted = word(bytes, index) ^ flip;
        if index == first {
            wanted &= u64::MAX >> (range.start % BITS);
        }
        if wanted != 0 {
            let found = index * BITS + u64::from(wanted.leading_zeros());
            return (found < range.end).then_some(found);
        }
    }
    None
}

/// Changes each word of `into` by the word of `from` at the same place; where `from` has ended it counts as zeros.
pub fn combine(into: &mut [u8], from: &[u8], operation: impl Fn(u64, u64) -> u64) {
    let (covered, rest) = into.split_at_mut(from.len().min(into.len()));
    let (words, tail) = covered.as_chunks_mut::<8>();
    let (from_words, from_tail) = from[..words.len() * 8 + tail.len()].as_chunks::<8>();
    for (word, from) in words.iter_mut().zip(from_words) {
        *word = operation(u64::from_ne_bytes(*word), u64::from_ne_bytes(*from)).to_ne_bytes();
    }
    combine_tail(tail, padded(from_tail), &operation);
    let (words, tail) = rest.as_chunks_mut::<8>();
    for word in words {
        *word = operation(u64::from_ne_bytes(*word), 0).to_ne_bytes();
    }
    combine_tail(tail, 0, &operation);
}

/// [`combine`] of fewer than eight bytes.
fn combine_tail(tail: &mut [u8], from: u64, operation: &impl Fn(u64, u64) -> u64) {
    let combined = operation(padded(tail), from).to_be_bytes();
    tail.copy_from_slice(&combined[..tail.len()]);
}

/// A field of at most 64 bits, and where it lies in the nine bytes that it touches at most.
#[derive(Clone, Copy)]
struct Window {
    first: usize,
    shift: u32,
    mask: u128,
}

const WINDOW_BYTES: usize = 9;

impl Window {
    fn new(offset: u64, bits: u32) -> Window {
        let shift = u128::BITS - (offset % 8) as u32 - bits;
        Window { first: (offset / 8) as usize, shift, mask: (u128::MAX >> (u128::BITS - bits)) << shift }
    }

    /// The bytes of the window that `bytes` has.
    fn part(self, len: usize) -> Range<usize> {
        self.first.min(len)..self.first.saturating_add(WINDOW_BYTES).min(len)
    }

    fn load(self, bytes: &[u8]) -> u128 {
        let mut loaded = [0; 16];
        let part = &bytes[self.part(bytes.len())];
        loaded[..part.len()].copy_from_slice(part);
        u128::from_be_bytes(loaded)
    }
}

/// The `bits` bits from `offset` on as a number; behind the end there are zeros.
pub fn field(bytes: &[u8], offset: u64, bits: u32) -> u64 {
    let window = Window::new(offset, bits);
    ((window.load(bytes) & window.mask) >> window.shift) as u64
}

/// Writes the lower `bits` bits of `value` to `offset`, which lies within `bytes`.
pub fn set_field(bytes: &mut [u8], offset: u64, bits: u32, value: u64) {
    let window = Window::new(offset, bits);
    let changed = window.load(bytes) & !window.mask | u128::from(value) << window.shift & window.mask;
    let part = window.part(bytes.len());
    let len = part.len();
    bytes[part].copy_from_slice(&changed.to_be_bytes()[..len]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn bit(bytes: &[u8], at: u64) -> bool {
        bytes[(at / 8) as usize] >> (7 - at % 8) & 1 == 1
    }

    fn some_bytes(random: &mut Random, most: u64) -> Vec<u8> {
        let len = random.below(most + 1);
        let dense = random.below(3);
        (0..len)
            .map(|_| match dense {
                0 => random.next_u64() as u8,
                1 if random.below(20) == 0 => 1 << random.below(8),
                1 => 0,
                _ => u8::MAX,
            })
            .collect()
    }

    #[test]
    fn counting_and_searching_by_words_agree_with_bits() {
        let random = &mut Random::new(1);
        for _ in 0..20_000 {
            let bytes = some_bytes(random, 40);
            let len = bytes.len() as u64 * 8;
            let (one, other) = (random.below(len + 1), random.below(len + 1));
            let range = one.min(other)..one.max(other);
            let set = range.clone().filter(|at| bit(&bytes, *at)).count() as u64;
            assert_eq!(count(&bytes, range.clone()), set, "{bytes:?} {range:?}");
            for wanted in [false, true] {
                let first = range.clone().find(|at| bit(&bytes, *at) == wanted);
                assert_eq!(find(&bytes, range.clone(), wanted), first, "{wanted} in {bytes:?} {range:?}");
            }
        }
    }

    #[test]
    fn combining_by_words_agrees_with_bytes() {
        let random = &mut Random::new(2);
        for _ in 0..5_000 {
            let (into, from) = (some_bytes(random, 40), some_bytes(random, 60));
            let byte = |at: usize| from.get(at).copied().unwrap_or(0);
            let want: Vec<u8> = into.iter().enumerate().map(|(at, old)| old & !byte(at)).collect();
            let mut got = into.clone();
            combine(&mut got, &from, |into, from| into & !from);
            assert_eq!(got, want, "{into:?} {from:?}");
        }
    }

    #[test]
    fn a_field_is_written_where_it_is_read_and_nothing_else_changes() {
        let random = &mut Random::new(3);
        for _ in 0..20_000 {
            let before = some_bytes(random, 20);
            let (len, bits) = (before.len() as u64 * 8, 1 + random.below(64));
            let Some(room) = len.checked_sub(bits) else {
                assert_eq!(field(&before, len, bits as u32), 0);
                continue;
            };
            let offset = random.below(room + 1);
            let value = random.next_u64();
            let mut after = before.clone();
            set_field(&mut after, offset, bits as u32, value);
            for at in 0..len {
                let inside = (offset..offset + bits).contains(&at);
                let want = if inside { value >> (offset + bits - 1 - at) & 1 == 1 } else { bit(&before, at) };
                assert_eq!(bit(&after, at), want, "bit {at}, {bits} bits at {offset}");
            }
            assert_eq!(field(&after, offset, bits as u32), value & (u64::MAX >> (64 - bits)));
        }
    }

    #[test]
    fn behind_the_end_there_are_zeros() {
        assert_eq!(field(&[0xff], 4, 8), 0xf0);
        assert_eq!(field(&[0xff], 1 << 40, 64), 0);
        assert_eq!(field(&[], 0, 1), 0);
    }
}
