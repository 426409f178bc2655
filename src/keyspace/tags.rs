//! Which bits of a key's hash a word of the table keeps: its tag.
//!
//! ```text
//! hash   63................................................0
//!        |--- home ---|                     said by the word's place
//!              |-------- tag (14) --------|
//! ```
//! Words lie in hash order, so a home says the first bits of the hash, and the tag goes on where those of a table of this
//! size are sure. Home and tag together then say where the word belongs in a table of another size, and a resize need not
//! read the entry ([`Tags::bounds`]). Bits that both of them say do not tell keys of one home apart, and what the tag says beyond the
//! home becomes less as the table grows. So tags begin 2 bits later in tables of 2^3 slots, and again in those of 2^5, 2^7 and so on:
//! at least 11 bits go beyond the home, and a resize finds at most one word in 2^10 whose tag leaves two homes open.
//!
//! A small table that grows past such a size reads its entries to tag them anew. A larger one keeps the words with the former tag for
//! now: they are tagged anew a few homes at a time, in hash order (`Table::retag`), and until then a hash says by a comparison which of
//! the two its word has.

/// Bits of a tag.
pub const TAG_BITS: u32 = 14;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
/// Bits by which tags begin later in the next size of tables.
const LEVEL_BITS: u32 = 2;

/// Up to so many slots a table gets new tags at once: reading its entries takes some ten microseconds.
const AT_ONCE_SLOTS: usize = 512;

/// How far the hash is shifted to the right to have the tag of a table of `slots` slots at its end.
fn tag_shift(slots: usize) -> u8 {
    // At least twice as many slots as the bits in front of the tag can count: see `bounds`.
    let level = slots.ilog2().saturating_sub(1) / LEVEL_BITS;
    (u64::BITS - TAG_BITS - level * LEVEL_BITS) as u8
}

/// The tag of `hash` in a table whose tags begin at `shift`.
#[inline]
pub fn tag(hash: u64, shift: u8) -> u64 {
    hash >> shift & TAG_MASK
}

/// The tags of a table: hashes below the boundary have them at one shift, the others at another.
#[derive(Clone, Copy)]
pub struct Tags {
    boundary: u64,
    below: u8,
    above: u8,
}

impl Default for Tags {
    fn default() -> Tags {
        Tags::of_size(1)
    }
}

impl Tags {
    /// The tags of a table that was made with `slots` slots.
    pub fn of_size(slots: usize) -> Tags {
        let shift = tag_shift(slots);
        Tags { boundary: 0, below: shift, above: shift }
    }

    /// The tags that the table has after a resize to `slots` slots. Where that would need bits that the words do not have, those of a large
    /// table stay as they are and wait for [`Tags::retagged_below`].
    pub fn resized(self, slots: usize) -> Tags {
        let goal = Tags::of_size(slots);
        if self.is_uniform() && goal.below < self.above && slots > AT_ONCE_SLOTS {
            Tags { boundary: 0, below: goal.below, above: self.above }
        } else if !self.is_uniform() && goal.below == self.below {
            self
        } else {
            goal
        }
    }

    /// Whether all words have the tag of the table's size.
    #[inline]
    pub fn is_uniform(self) -> bool {
        self.below == self.above
    }

    /// The first hash that still has the former tag.
    pub fn boundary(self) -> u64 {
        self.boundary
    }

    /// Where the tags of the table's size begin.
    pub fn shift(self) -> u8 {
        self.below
    }

    /// Notes that the words of hashes below `boundary`, or all, now have the tag of the table's size.
    pub fn retagged_below(&mut self, boundary: Option<u64>) {
        match boundary {
            Some(boundary) => self.boundary = boundary,
            None => self.above = self.below,
        }
    }

    #[inline]
    fn shift_of(self, hash: u64) -> u8 {
        if hash < self.boundary { self.below } else { self.above }
    }

    /// The tag of `hash`.
    #[inline]
    pub fn tag(self, hash: u64) -> u64 {
        tag(hash, self.shift_of(hash))
    }

    /// The least and the greatest hash that a word of this tag can have whose home has the hashes `first` to `last`. Where tags of both
    /// kinds occur in the home, they say nothing.
    #[inline]
    pub fn bounds(self, first: u64, last: u64, tag: u64) -> (u64, u64) {
        let shift = self.shift_of(first);
        if shift != self.shift_of(last) {
            return (first, last);
        }
        let rest = (1 << shift) - 1;
        let above_tag = u32::from(shift) + TAG_BITS;
        // What stands in front of the tag is what `first` has there or one more, never both: a home is at most half as wide as what one
        // such number stands for.
        let front = if above_tag == u64::BITS { 0 } else { first >> above_tag << above_tag };
        let mut least = front | tag << shift;
        if least | rest < first {
            least = least.wrapping_add(1u64.wrapping_shl(above_tag));
        }
        (least.max(first), (least | rest).min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_on_where_homes_end() {
        for slots in [1, 6, 7] {
            assert_eq!(tag_shift(slots), 50);
        }
        for (bits, shift) in [(3, 48), (5, 46), (13, 38), (33, 18)] {
            assert_eq!(tag_shift(1 << bits), shift);
            assert_eq!(tag_shift((4 << bits) - 1), shift);
        }
    }

    #[test]
    fn growth_waits_for_bits_that_the_words_do_not_have_and_shrinking_does_not() {
        assert!(Tags::of_size(10).resized(400).is_uniform(), "small tables are tagged anew at once");
        let before = Tags::of_size(600);
        assert!(before.resized(2000).is_uniform());
        let mut grown = before.resized(2100);
        assert!(!grown.is_uniform());
        grown.retagged_below(Some(1 << 60));
        assert_eq!(grown.tag(1 << 59), tag(1 << 59, 40));
        assert_eq!(grown.tag(1 << 61), tag(1 << 61, 42));
        assert_eq!(grown.resized(8000).boundary(), 1 << 60, "a resize of the same kind changes nothing");
        assert!(grown.resized(1 << 16).is_uniform(), "three kinds of tags there are never");
        assert!(grown.resized(1000).is_uniform());
        grown.retagged_below(None);
        assert!(grown.is_uniform());
        assert_eq!(grown.shift(), 40);
    }
}
