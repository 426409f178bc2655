//! LZF, the compression of strings in RDB.
//!
//! Packed data is a row of pieces. A first byte below 32 announces that many literal bytes, and one more. Else its upper three bits are
//! a count, and when they are all set another byte adds to it; the lower five and the next byte are a distance. Such a piece stands for
//! `count + 2` bytes that appeared `distance + 1` bytes earlier.
//!
//! [`pack`] looks for repetitions where liblzf in its usual setting does (a table of 65,536 last positions, by a hash of three bytes). So
//! what it writes is what a Redis server writes for the same string, byte for byte.

use std::cell::RefCell;

/// Literals in one piece.
const LITERALS_MAX: usize = 32;
/// How far back a repetition may lie.
const DISTANCE_MAX: usize = 1 << 13;
/// The longest repetition in one piece: a count of seven, a byte that adds up to 255, and two.
const REPEAT_MAX: usize = 7 + 255 + 2;
/// Packed bytes of the longest repetition: what bounds how much a byte can unpack to.
const REPEAT_PACKED: u64 = 3;
/// A count that says that another byte follows.
const COUNT_FULL: usize = 7;

/// Whether so many packed bytes can unpack to so many at all. Checked before anything is allocated.
pub fn is_possible(packed: u64, unpacked: u64) -> bool {
    unpacked <= packed.saturating_mul(REPEAT_MAX as u64).div_ceil(REPEAT_PACKED)
}

/// Unpacks to exactly `length` bytes, or `None` if that is not what `packed` holds.
pub fn unpack(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    if !is_possible(packed.len() as u64, length as u64) {
        return None;
    }
    let mut unpacked: Vec<u8> = Vec::with_capacity(length);
    let mut rest = packed;
    while let Some((&head, behind)) = rest.split_first() {
        let head = usize::from(head);
        rest = behind;
        if head < LITERALS_MAX {
            let (literals, behind) = rest.split_at_checked(head + 1)?;
            unpacked.extend_from_slice(literals);
            rest = behind;
        } else {
            let mut count = head >> 5;
            if count == COUNT_FULL {
                let (&more, behind) = rest.split_first()?;
                count += usize::from(more);
                rest = behind;
            }
            let (&low, behind) = rest.split_first()?;
            rest = behind;
            let distance = (head & 31) << 8 | usize::from(low);
            repeat(&mut unpacked, distance + 1, count + 2)?;
        }
        if unpacked.len() > length {
            return None;
        }
    }
    (unpacked.len() == length).then_some(unpacked)
}

/// Appends `count` bytes from `back` bytes before the end. The two may overlap: then what was just appended repeats itself.
fn repeat(bytes: &mut Vec<u8>, back: usize, count: usize) -> Option<()> {
    let start = bytes.len().checked_sub(back)?;
    let mut left = count;
    while left > 0 {
        let step = left.min(bytes.len() - start);
        bytes.extend_from_within(start..start + step);
        left -= step;
    }
    Some(())
}

/// Packs `bytes` into at most `room` bytes; `None` if they do not fit.
pub fn pack(bytes: &[u8], room: usize) -> Option<Vec<u8>> {
    thread_local! {
        /// 256 KB that would cost more to clear for each small value than to pack it.
        static TABLE: RefCell<Table> = const { RefCell::new(Table { last: Vec::new(), base: 0 }) };
    }
    if bytes.is_empty() || room == 0 {
        return None;
    }
    TABLE.with_borrow_mut(|table| table.pack(bytes, room))
}

/// Where each three bytes were seen last.
struct Table {
    /// Positions plus `base` plus one. What is at most `base` was left behind by strings packed before.
    last: Vec<u32>,
    base: u32,
}

impl Table {
    fn pack(&mut self, bytes: &[u8], room: usize) -> Option<Vec<u8>> {
        let length = u32::try_from(bytes.len()).ok()?;
        if self.last.is_empty() || self.base.checked_add(length).is_none() {
            self.last.clear();
            self.last.resize(TABLE_SLOTS, 0);
            self.base = 0;
        }
        let packed = self.pack_with_base(bytes, room);
        self.base += length;
        packed
    }

    /// Notes that three bytes are at `at`, and gives where they, or others of the same slot, were before.
    fn note(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        let slot = &mut self.last[slot_of(bytes, at)];
        let before = slot.checked_sub(self.base + 1);
        *slot = self.base + 1 + at as u32;
        before.map(|before| before as usize)
    }

    fn pack_with_base(&mut self, bytes: &[u8], room: usize) -> Option<Vec<u8>> {
        let mut packed = Packed { bytes: vec![0], literals: 0, room };
        let mut at = 0;
        while at + 2 < bytes.len() {
            let repeated = |before: &usize| {
                // A repetition of the very first byte is not looked for: liblzf takes that position for an empty slot.
                *before > 0 && at - before <= DISTANCE_MAX && bytes[*before..before + 3] == bytes[at..at + 3]
            };
            let Some(before) = self.note(bytes, at).filter(repeated) else {
                packed.literal(bytes[at])?;
                at += 1;
                continue;
            };
            let length = repeat_length(bytes, before, at);
            packed.repeat(at - before - 1, length)?;
            at += length;
            if at + 2 >= bytes.len() {
                break;
            }
            // Of the positions inside the repetition only the last two are noted.
            self.note(bytes, at - 2);
            self.note(bytes, at - 1);
        }
        packed.finish(&bytes[at..])
    }
}

const TABLE_SLOTS: usize = 1 << 16;

/// The slot of the three bytes at `at`.
fn slot_of(bytes: &[u8], at: usize) -> usize {
    let three = usize::from(bytes[at]) << 16 | usize::from(bytes[at + 1]) << 8 | usize::from(bytes[at + 2]);
    (three >> 8).wrapping_sub(5 * three) % TABLE_SLOTS
}

/// How many bytes at `at` repeat those at `before`; the first three are known to. The last two of the input are left out where liblzf
/// does: it first compares the three and then, if so many are left at all, 16 more without looking for the end.
fn repeat_length(bytes: &[u8], before: usize, at: usize) -> usize {
    let least = if bytes.len() - at - 2 > 16 { 19 } else { 3 };
    let most = (bytes.len() - at - 2).clamp(least, REPEAT_MAX);
    let same = |length: &usize| bytes[before + length] == bytes[at + length];
    3 + (3..most).take_while(same).count()
}

/// What is packed so far; behind it a run of literals is open, whose head is written when it ends.
struct Packed {
    bytes: Vec<u8>,
    literals: usize,
    room: usize,
}

impl Packed {
    fn literal(&mut self, byte: u8) -> Option<()> {
        if self.bytes.len() >= self.room {
            return None;
        }
        self.push_literal(byte);
        Some(())
    }

    fn push_literal(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.literals += 1;
        if self.literals == LITERALS_MAX {
            self.end_run();
            self.bytes.push(0);
        }
    }

    /// Writes the head of the open run, or takes its place back if the run is empty.
    fn end_run(&mut self) {
        match self.literals {
            0 => {
                self.bytes.pop();
            }
            count => {
                let head = self.bytes.len() - count - 1;
                self.bytes[head] = count as u8 - 1;
            }
        }
        self.literals = 0;
    }

    fn repeat(&mut self, distance: usize, length: usize) -> Option<()> {
        // The longest form, and the head of the run behind it, must fit.
        let used = self.bytes.len() - usize::from(self.literals == 0);
        if used + 4 >= self.room {
            return None;
        }
        self.end_run();
        let count = length - 2;
        let high = (distance >> 8) as u8;
        if count < COUNT_FULL {
            self.bytes.push((count as u8) << 5 | high);
        } else {
            self.bytes.push((COUNT_FULL as u8) << 5 | high);
            self.bytes.push((count - COUNT_FULL) as u8);
        }
        self.bytes.push(distance as u8);
        self.bytes.push(0);
        Some(())
    }

    fn finish(mut self, rest: &[u8]) -> Option<Vec<u8>> {
        if self.bytes.len() + 3 > self.room {
            return None;
        }
        for byte in rest {
            self.push_literal(*byte);
        }
        self.end_run();
        Some(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn what_is_packed_unpacks_to_the_same() {
        for seed in 0..500 {
            let random = &mut Random::new(seed);
            let letters = 1 + random.below(20);
            let bytes: Vec<u8> = (0..random.below(3000)).map(|_| random.below(letters) as u8).collect();
            if let Some(packed) = pack(&bytes, bytes.len().saturating_sub(4)) {
                assert!(packed.len() <= bytes.len() - 4, "seed {seed}");
                assert_eq!(unpack(&packed, bytes.len()), Some(bytes), "seed {seed}");
            }
        }
    }

    #[test]
    fn long_repetitions_become_small() {
        let bytes = vec![b'a'; 10_000];
        let packed = pack(&bytes, bytes.len() - 4).expect("it shrinks");
        assert!(packed.len() < 150, "{}", packed.len());
        assert!(is_possible(packed.len() as u64, bytes.len() as u64));
        assert_eq!(unpack(&packed, bytes.len()), Some(bytes));
    }

    #[test]
    fn what_does_not_shrink_is_not_packed() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(pack(&bytes, bytes.len() - 4), None);
        assert_eq!(pack(b"", 10), None);
    }

    #[test]
    fn damaged_data_is_refused() {
        // A literal run without its bytes, a repetition of what is not there, a missing distance, and wrong lengths.
        for (packed, length) in [
            (&b"\x05abc"[..], 6),
            (b"\x20\x00", 3),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 4),
            (b"\x00a\xe0\xff", 4),
            (b"\x00a", 2),
            (b"\x01ab", 1),
            (b"", 1),
            (b"\x00a", 1 << 40),
        ] {
            assert_eq!(unpack(packed, length), None, "{}", packed.escape_ascii());
        }
        assert_eq!(unpack(b"\x00a\x20\x00", 4), Some(b"aaaa".to_vec()));
    }
}
