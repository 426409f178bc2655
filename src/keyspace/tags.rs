//! Which bits of a key's hash a word of a segment keeps: its tag.
//!
//! ```text
//! hash   63................................................0
//!        |--- home ---|                     said by the word's place
//!              |-------- tag (14) --------|
//! ```
//! Words lie in hash order, so a home says the first bits of the hash, and the tag goes on where those of a segment of this
//! size are sure. Home and tag together then say where the word belongs in a segment of another size, and a resize need not
//! read the entry ([`bounds`]). Bits that both of them say do not tell keys of one home apart, and what the tag says beyond the
//! home becomes less as the segment grows. So tags begin 2 bits later in segments of 2^3 slots, and again in those of 2^5, 2^7 and so on:
//! at least 11 bits go beyond the home, and a resize finds at most one word in 2^10 whose tag leaves two homes open.
//!
//! A segment that grows past such a size reads its entries to tag them anew. All words of a segment have tags of one kind: a change of
//! kinds that went on step by step would let a resize in its midst compare tags that mean different bits.

/// Bits of a tag.
pub const TAG_BITS: u32 = 14;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
/// Bits by which tags begin later in the next size of segments.
const LEVEL_BITS: u32 = 2;

/// How far the hash is shifted to the right to have the tag of a segment of `slots` slots at its end. The segment has those keys
/// whose hashes begin with certain `depth` bits, which its own hashes leave out. What counts is the size of the whole table, so that one
/// that is split or merged keeps its tags.
pub fn tag_shift(slots: usize, depth: u32) -> u8 {
    // At least twice as many slots as the bits in front of the tag can count: see `bounds`.
    let level = (depth + slots.ilog2()).saturating_sub(1) / LEVEL_BITS;
    (u64::BITS - TAG_BITS - (level * LEVEL_BITS).saturating_sub(depth)) as u8
}

/// The tag of `hash` in a segment whose tags begin at `shift`.
#[inline]
pub fn tag(hash: u64, shift: u8) -> u64 {
    hash >> shift & TAG_MASK
}

/// The least and the greatest hash that a word of this tag can have whose home has the hashes `first` to `last`.
///
/// A home is at most half as wide as what the bits in front of a tag count. So within a home tags become larger with the hash and start again
/// from 0 at most once, and two hashes of one home that have the same tag have no other tag between them.
#[inline]
pub fn bounds(shift: u8, first: u64, last: u64, tag: u64) -> (u64, u64) {
    let rest = (1 << shift) - 1;
    let above_tag = u32::from(shift) + TAG_BITS;
    debug_assert!(
        above_tag == u64::BITS || last - first < 1 << above_tag,
        "what stands in front of the tag is what `first` has there or one more, never both"
    );
    let front = if above_tag == u64::BITS { 0 } else { first >> above_tag << above_tag };
    let mut least = front | tag << shift;
    if least | rest < first {
        least = least.wrapping_add(1u64.wrapping_shl(above_tag));
    }
    (least.max(first), (least | rest).min(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn tags_go_on_where_homes_end() {
        for slots in [4, 6, 7] {
            assert_eq!(tag_shift(slots, 0), 50);
        }
        for (bits, shift) in [(3, 48), (5, 46), (13, 38)] {
            assert_eq!(tag_shift(1 << bits, 0), shift);
            assert_eq!(tag_shift((4 << bits) - 1, 0), shift);
        }
    }

    #[test]
    fn a_split_keeps_the_tags_of_the_whole_table() {
        for slots in [100, 3000, 4096, 5000, 8191] {
            for depth in 0..20 {
                // The half's hashes leave out one bit more.
                assert_eq!(
                    tag_shift(slots, depth) + 1,
                    tag_shift(slots / 2, depth + 1),
                    "{slots} at {depth}"
                );
            }
        }
    }

    #[test]
    fn bounds_have_the_hash_and_little_more() {
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let slots = 4 + random.below(8188) as usize;
            let shift = tag_shift(slots, random.below(20) as u32);
            let (hash, width) = (random.next_u64(), u64::MAX / slots as u64);
            let first = hash / width * width;
            let last = first.saturating_add(width);
            let (least, greatest) = bounds(shift, first, last, tag(hash, shift));
            assert!(first <= least && least <= hash && hash <= greatest && greatest <= last);
            assert!(greatest - least <= 1 << shift);
        }
    }
}
