//! A small set of nothing but integers: ascending, each in as few bytes as the difference between the first and the last needs.
//!
//! ```text
//! count (2 bytes, little-endian) | bytes of a difference: 1, 2, 4 or 8 | 0xff | the least integer (8 bytes) | differences to it
//! ```
//! The fourth byte tells it from [`super::Packed`].

const HEAD_BYTES: usize = 12;
const MARK: u8 = 0xff;

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
            && matches!(self.value[2], 1 | 2 | 4 | 8)
            && self.iter().zip(self.iter().skip(1)).all(|(one, next)| one < next)
    }

    #[inline]
    pub fn count(self) -> usize {
        usize::from(u16::from_le_bytes([self.value[0], self.value[1]]))
    }

    fn width(self) -> usize {
        usize::from(self.value[2]).clamp(1, 8)
    }

    fn least(self) -> i64 {
        self.value[4..HEAD_BYTES].first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// The integer with this rank.
    #[inline]
    pub fn at(self, rank: usize) -> i64 {
        let (width, mut bytes) = (self.width(), [0; 8]);
        let start = HEAD_BYTES + rank * width;
        bytes[..width].copy_from_slice(&self.value[start..start + width]);
        self.least().wrapping_add_unsigned(u64::from_le_bytes(bytes))
    }

    /// All of them, ascending.
    pub fn iter(self) -> impl Iterator<Item = i64> {
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

    /// Bytes of the value of so many integers, the last of which is so much more than the first.
    pub fn bytes_for(count: usize, span: u64) -> usize {
        HEAD_BYTES + count * width_for(span)
    }

    /// Appends the value of a set of these integers, which ascend and are at most 65,535, to `out`; nothing for none.
    pub fn push(out: &mut Vec<u8>, integers: impl Iterator<Item = i64> + Clone) {
        let (Some(least), Some(last)) = (integers.clone().next(), integers.clone().last()) else { return };
        let width = width_for(last.abs_diff(least));
        let count = integers.clone().count() as u16;
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&[width as u8, MARK]);
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
            Integers::push(&mut value, model.iter().copied());
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
        Integers::push(&mut value, [i64::MIN, -1, 0, i64::MAX].into_iter());
        let set = Integers::of(&value).expect("integers");
        assert!(set.iter().eq([i64::MIN, -1, 0, i64::MAX]));
        assert_eq!((set.search(i64::MAX), set.search(1)), (Ok(3), Err(3)));
    }

    /// The arena's shape: 100 of them, 17 apart.
    #[test]
    fn a_hundred_integers_near_each_other_take_two_bytes_each() {
        let mut value = Vec::new();
        Integers::push(&mut value, (0..100).map(|number| 50_000 + number * 17));
        assert_eq!(value.len(), HEAD_BYTES + 200);
        assert!(Integers::of(&super::super::Packed::EMPTY).is_none());
    }
}
