//! Ids of a stream's entries: a time in milliseconds, and a number within it. Together they are 128 bits that only grow.
//!
//! A record holds an id as the difference of its time to the stream's base and its number, each in as few bytes as it needs:
//! ```text
//! bytes of the time, bytes of the number (4 bits each) | time - base, little-endian | number, little-endian
//! ```

use std::fmt;

/// See the module's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Id {
    pub ms: u64,
    pub seq: u64,
}

impl Id {
    /// No entry has it.
    pub const ZERO: Id = Id { ms: 0, seq: 0 };
    pub const MAX: Id = Id { ms: u64::MAX, seq: u64::MAX };

    pub const fn new(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    /// The least id above it.
    pub fn next(self) -> Option<Id> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The greatest id below it.
    pub fn previous(self) -> Option<Id> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Id { seq, ..self }),
            None => Some(Id { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// Its 128 bits, so that their order is that of ids.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.ms) << 64 | u128::from(self.seq)).to_be_bytes()
    }

    /// What [`Id::to_bytes`] made.
    pub fn from_bytes(bytes: [u8; 16]) -> Id {
        let bits = u128::from_be_bytes(bytes);
        Id { ms: (bits >> 64) as u64, seq: bits as u64 }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = itoa::Buffer::new();
        out.write_str(digits.format(self.ms))?;
        out.write_str("-")?;
        out.write_str(digits.format(self.seq))
    }
}

/// What the times in a stream's records are counted from: that of its first entry. An id before it comes back, too, but takes more bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Base(pub u64);

impl Base {
    /// Appends an id.
    pub fn push(self, out: &mut Vec<u8>, id: Id) {
        let ms = id.ms.wrapping_sub(self.0);
        let (ms_len, seq_len) = (bytes_of(ms), bytes_of(id.seq));
        out.push((ms_len << 4 | seq_len) as u8);
        out.extend_from_slice(&ms.to_le_bytes()[..ms_len]);
        out.extend_from_slice(&id.seq.to_le_bytes()[..seq_len]);
    }

    /// The id at the front, and how many bytes it takes.
    #[inline]
    pub fn read(self, bytes: &[u8]) -> (Id, usize) {
        let (ms_len, seq_len) = lengths(bytes);
        let ms = number(bytes, 1, ms_len).wrapping_add(self.0);
        (Id { ms, seq: number(bytes, 1 + ms_len, seq_len) }, 1 + ms_len + seq_len)
    }

    /// The time of the id at the front.
    #[inline]
    pub fn read_ms(self, bytes: &[u8]) -> u64 {
        number(bytes, 1, lengths(bytes).0).wrapping_add(self.0)
    }
}

/// Bytes that the id at the front takes.
#[inline]
pub fn len_of(bytes: &[u8]) -> usize {
    let (ms_len, seq_len) = lengths(bytes);
    1 + ms_len + seq_len
}

/// Bytes that an id with this first byte takes; `None` if no id has it.
pub fn checked_len(head: u8) -> Option<usize> {
    let (ms_len, seq_len) = lengths(&[head]);
    (ms_len <= 8 && seq_len <= 8).then_some(1 + ms_len + seq_len)
}

#[inline]
fn lengths(bytes: &[u8]) -> (usize, usize) {
    let head = bytes.first().copied().unwrap_or_default();
    (usize::from(head >> 4), usize::from(head & 15))
}

/// The number in `len` bytes at a place; of bytes that no id has, any.
#[inline]
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let mut all = [0; 8];
    let found = bytes.get(at..).unwrap_or_default();
    let kept = len.min(8).min(found.len());
    all[..kept].copy_from_slice(&found[..kept]);
    u64::from_le_bytes(all)
}

fn bytes_of(number: u64) -> usize {
    (64 - number.leading_zeros() as usize).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn ids_follow_each_other_across_milliseconds_and_end() {
        assert_eq!(Id::new(1, u64::MAX).next(), Some(Id::new(2, 0)));
        assert_eq!(Id::new(2, 0).previous(), Some(Id::new(1, u64::MAX)));
        assert_eq!((Id::MAX.next(), Id::ZERO.previous()), (None, None));
        assert_eq!(Id::new(1_526_919_030_474, 55).to_string(), "1526919030474-55");
    }

    #[test]
    fn ids_come_back_from_any_base_in_their_order() {
        let seed = 0x1d;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut drawn = || random.next_u64() >> random.below(64);
        for _ in 0..20_000 {
            let (base, id, other) = (Base(drawn()), Id::new(drawn(), drawn()), Id::new(drawn(), drawn()));
            let mut out = Vec::new();
            base.push(&mut out, id);
            assert_eq!((base.read(&out), base.read_ms(&out)), ((id, out.len()), id.ms));
            assert_eq!(Id::from_bytes(id.to_bytes()), id);
            assert_eq!(id.cmp(&other), id.to_bytes().cmp(&other.to_bytes()));
        }
        let mut out = Vec::new();
        Base(1_790_000_000_000).push(&mut out, Id::new(1_790_000_060_000, 0));
        assert_eq!(out.len(), 3, "a minute later");
    }

    #[test]
    fn any_bytes_can_be_read_as_an_id() {
        let mut random = Random::new(2);
        for _ in 0..10_000 {
            let noise: Vec<u8> = (0..random.below(20)).map(|_| random.next_u64() as u8).collect();
            Base(random.next_u64()).read(&noise);
        }
    }
}
