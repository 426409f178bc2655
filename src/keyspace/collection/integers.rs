//! A small set of nothing but integers: ascending, each in as few bytes as the difference to a base needs, which is at most the least of them.
//!
//! ```text
//! count (2 bytes, little-endian) | level and bytes of a difference | 0xff | the base (8 bytes) | differences to it
//! ```
//! The fourth byte tells it from [`super::Packed`]. The upper bit of the third is the level ([`super::Packed::level`]), the others are 1, 2, 4 or 8.

use super::packed::Splice;

const HEAD_BYTES: usize = 12;
const MARK: u8 = 0xff;
const LEVEL_BIT: u32 = 7;

/// The value of a small set of integers; it has at least one.
#[derive(Clone, Copy, Debug)]
pub struct Integers<'v> {
    value: &'v [u8],
}

impl<'v> Integers<'v> {
    /// The set that a value holds, if it holds integers.
    #[inline]
    pub fn of(value: &'v [u8]) -> Option<Integers<'v>> {
        (value.len() > HEAD_BYTES && value[3] == MARK).then_some(Integers { value })
    }

    /// Whether the value has as many integers as it says, ascending.
    pub fn is_whole(self) -> bool {
        self.value.len() == HEAD_BYTES + self.count() * self.width()
            && matches!(self.value[2] & !(1 << LEVEL_BIT), 1 | 2 | 4 | 8)
            && self.iter().zip(self.iter().skip(1)).all(|(one, next)| one < next)
    }

    #[inline]
    pub fn count(self) -> usize {
        usize::from(u16::from_le_bytes([self.value[0], self.value[1]]))
    }

    fn width(self) -> usize {
        usize::from(self.value[2] & !(1 << LEVEL_BIT)).clamp(1, 8)
    }

    /// See [`super::Packed::level`].
    #[inline]
    pub fn level(self) -> u8 {
        self.value[2] >> LEVEL_BIT
    }

    fn base(self) -> i64 {
        self.value[4..HEAD_BYTES].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// The integer with this rank.
    #[inline]
    pub fn at(self, rank: usize) -> i64 {
        let (width, mut bytes) = (self.width(), [0; 8]);
        let start = HEAD_BYTES + rank * width;
        bytes[..width].copy_from_slice(&self.value[start..start + width]);
        self.base().wrapping_add_unsigned(u64::from_le_bytes(bytes))
    }

    /// All of them, ascending.
    pub fn iter(self) -> impl Iterator<Item = i64> + Clone + use<'v> {
        (0..self.count()).map(move |rank| self.at(rank))
    }

    /// The rank of an integer, or that which it would have.
    pub fn search(self, integer: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            match integer.cmp(&self.at(middle)) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => high = middle,
                std::cmp::Ordering::Greater => low = middle + 1,
            }
        }
        Err(low)
    }

    /// Puts an integer that is not there at its rank, if it fits into the bytes of a difference, which are written to `room`.
    pub fn insert<'r>(self, rank: usize, integer: i64, room: &'r mut [u8; 8]) -> Option<Splice<'r>> {
        let (base, width) = (self.base(), self.width());
        if integer < base || width_for(integer.abs_diff(base)) > width {
            return None;
        }
        *room = integer.abs_diff(base).to_le_bytes();
        let splice = self.change(rank, 0, self.count() + 1);
        Some(Splice { with: &room[..width], ..splice })
    }

    /// The difference between the least and the last of them and this one.
    pub fn span_with(self, integer: i64) -> u64 {
        let (least, last) = (self.at(0).min(integer), self.at(self.count() - 1).max(integer));
        last.abs_diff(least)
    }

    /// Takes the integer with this rank out.
    pub fn remove(self, rank: usize) -> Splice<'static> {
        self.change(rank, 1, self.count() - 1)
    }

    /// Says that the set has come at least to this level, and changes nothing else.
    pub fn raise(self, level: u8) -> Splice<'static> {
        let none = self.change(0, 0, self.count());
        Splice { level: none.level | level << LEVEL_BIT, ..none }
    }

    fn change(self, rank: usize, removed: usize, count: usize) -> Splice<'static> {
        let width = self.width();
        let (at, removed) = (HEAD_BYTES + rank * width, removed * width);
        Splice { at, removed, with: &[], count: count as u16, level: self.value[2] }
    }

    /// Appends the value of the set with one more integer, which gets this rank.
    pub fn push_with(self, out: &mut Vec<u8>, rank: usize, integer: i64) {
        let upper = (rank..self.count()).map(move |rank| self.at(rank));
        let all = self.iter().take(rank).chain(std::iter::once(integer)).chain(upper);
        Integers::push(out, self.level(), all);
    }

    /// Bytes of the value of so many integers, the last of which is so much more than the first.
    pub fn bytes_for(count: usize, span: u64) -> usize {
        HEAD_BYTES + count * width_for(span)
    }

    /// Appends the value of a set of these integers, which ascend and are at most 65,535, to `out`; nothing for none.
    pub fn push(out: &mut Vec<u8>, level: u8, integers: impl Iterator<Item = i64> + Clone) {
        let (Some(least), Some(last)) = (integers.clone().next(), integers.clone().last()) else { return };
        let width = width_for(last.abs_diff(least));
        let count = integers.clone().count() as u16;
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[width as u8 | level << LEVEL_BIT, MARK]);
        out.extend_from_slice(&least.to_le_bytes());
        for integer in integers {
            out.extend_from_slice(&integer.abs_diff(least).to_le_bytes()[..width]);
        }
    }
}

/// Bytes of a difference up to this one.
fn width_for(span: u64) -> usize {
    match span {
        0..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x1_0000_0000 => 4,
        _ => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn integers_of_any_span_come_back() {
        for seed in 0..40 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let shift = random.below(64);
            let model: BTreeSet<i64> = (0..200).map(|_| random.next_u64() as i64 >> shift).collect();
            let mut value = Vec::new();
            Integers::push(&mut value, 0, model.iter().copied());
            let set = Integers::of(&value).expect("integers");
            assert_eq!(set.count(), model.len());
            assert!(set.iter().eq(model.iter().copied()));
            for probe in model.iter().copied().chain((0..200).map(|_| random.next_u64() as i64 >> shift)) {
                let rank = model.range(..probe).count();
                let expected = if model.contains(&probe) { Ok(rank) } else { Err(rank) };
                assert_eq!(set.search(probe), expected);
            }
        }
    }

    #[test]
    fn the_ends_of_the_range_are_integers_like_others() {
        let mut value = Vec::new();
        Integers::push(&mut value, 0, [i64::MIN, -1, 0, i64::MAX].into_iter());
        let set = Integers::of(&value).expect("integers");
        assert!(set.iter().eq([i64::MIN, -1, 0, i64::MAX]));
        assert_eq!((set.search(i64::MAX), set.search(1)), (Ok(3), Err(3)));
    }

    /// The arena's shape: 100 of them, 17 apart.
    #[test]
    fn a_hundred_integers_near_each_other_take_two_bytes_each() {
        let mut value = Vec::new();
        Integers::push(&mut value, 0, (0..100).map(|number| 50_000 + number * 17));
        assert_eq!(value.len(), HEAD_BYTES + 200);
        assert!(Integers::of(&super::super::Packed::EMPTY).is_none());
    }
}
