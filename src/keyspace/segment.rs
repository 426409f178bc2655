//! One array of a hash table: 8-byte words, open addressing, Robin Hood order.
//!
//! ```text
//! word   63........................21 20..........7 6........0
//!        entry address / 16 (43 bits)   tag (14)     distance from home (7)       0 = empty
//! ```
//! * An entry's home is `granule * slots / 2^43`, `granule` being the top 43 bits of its keyed hash. So words lie in hash
//!   order whatever the number of slots, slots need not be a power of two, and a SCAN cursor is simply a granule: it means
//!   the same before and after a resize.
//! * Distances make entries of one home a contiguous run. A lookup compares tag and distance at once and follows a
//!   pointer only when both agree.
//! * The tag is the part of the hash that comes after what the home says (`tags.rs`), so a resize moves words by home and tag alone:
//!   it reads the entry only where they leave two homes open.
//! * Deleting shifts the rest of the cluster back; there are no tombstones.
//!
//! A segment of a split table has the hashes that begin with `depth` certain bits. It works with *local* hashes, which leave these out
//! ([`local_hash`]); `table.rs` and `split.rs` know where the segment begins.
//!
//! The words are atomics with relaxed access: writers hold the shard's lock, but an event loop may read a word without
//! it in order to prefetch the entry behind it (`prefetch.rs` keeps a replaced word array alive for such readers).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::{Entry, EntryRef};
use super::line::{LINE, prefetch};
use super::tags::{self, TAG_BITS};
use super::words::{COUNT_WORDS, Words};

/// Bits of the hash that decide an entry's home; also the width of a SCAN position.
pub const GRANULE_BITS: u32 = 43;

const DISTANCE_BITS: u32 = 7;
const DISTANCE_MASK: u64 = (1 << DISTANCE_BITS) - 1;
const LOW_BITS: u32 = DISTANCE_BITS + TAG_BITS;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
const FIRST_SLOTS: usize = 7;
/// How many words ahead a resize that reads all entries prefetches them.
const READ_AHEAD: usize = 24;

/// The place of a key in the order of hashes: the top bits of its keyed hash.
#[inline]
pub fn granule(hash: u64) -> u64 {
    hash >> (64 - GRANULE_BITS)
}

/// The home slot of `hash` among `slots`.
#[inline]
pub fn home(hash: u64, slots: usize) -> usize {
    ((u128::from(granule(hash)) * slots as u128) >> GRANULE_BITS) as usize
}

/// The first hash whose granule is `granule`.
pub fn first_hash(granule: u64) -> u64 {
    granule << (64 - GRANULE_BITS)
}

/// The address of the entry that a word points at.
#[inline]
pub fn entry_address(word: u64) -> usize {
    (word >> LOW_BITS << 4) as usize
}

/// What a word has in its low bits that lies in the home of `hash`, where tags begin at `tag_shift`; one more for each slot behind it.
#[inline]
pub fn wanted(hash: u64, tag_shift: u8) -> u64 {
    tags::tag(hash, tag_shift) << DISTANCE_BITS
}

/// What one word says about a key that is looked for.
pub enum Probe {
    /// Very likely the key's entry, at this address.
    Match(usize),
    /// Another key; look further.
    Other,
    /// The key is not in the table.
    Absent,
}

/// Judges a word by tag and distance alone: those that `wanted` says.
#[inline]
pub fn probe(word: u64, wanted: u64) -> Probe {
    if word == 0 || word & DISTANCE_MASK < wanted & DISTANCE_MASK {
        Probe::Absent
    } else if word & LOW_MASK == wanted {
        Probe::Match(entry_address(word))
    } else {
        Probe::Other
    }
}

/// The smallest table size that is at least `slots`. With its count of sharers the array then fills a size class of the
/// allocator: four for each doubling, so that a prefetch hint can say the size in eight bits.
pub fn rounded_slots(slots: usize) -> usize {
    let words = slots.max(FIRST_SLOTS) + COUNT_WORDS;
    let exponent = (words / 4).ilog2();
    (words.div_ceil(1 << exponent) << exponent) - COUNT_WORDS
}

/// A size that [`rounded_slots`] gave, in eight bits: five of exponent, two of mantissa.
pub fn encode_slots(slots: usize) -> u64 {
    let words = slots + COUNT_WORDS;
    let exponent = (words / 4).ilog2();
    let code = u64::from(exponent) << 2 | ((words >> exponent) as u64 - 4);
    debug_assert_eq!(decode_slots(code), slots, "sizes come from rounded_slots");
    code
}

/// The inverse of [`encode_slots`].
#[inline]
pub fn decode_slots(code: u64) -> usize {
    ((4 + (code & 3) as usize) << (code >> 2)) - COUNT_WORDS
}

/// The local hash of `hash` in a segment of this depth. Only bits of the granule count, so that a granule has one home, as in a table that
/// is not split.
#[inline]
pub fn local_hash(hash: u64, depth: u32) -> u64 {
    first_hash(granule(hash)) << depth
}

/// See the module's text.
#[derive(Default)]
pub struct Segment {
    words: Option<Words>,
    len: u32,
    tag_shift: u8,
    depth: u8,
}

/// A word on its way to another segment: its address bits, and the least and the greatest hash that it may have.
pub struct Moved {
    pub address_bits: u64,
    pub least: u64,
    pub greatest: u64,
}

impl Moved {
    /// The entry that the word owns.
    pub fn entry(&self) -> EntryRef<'_> {
        // SAFETY: the word points at a live entry, and whoever moves it is its owner.
        unsafe { EntryRef::from_address(entry_address(self.address_bits)) }
    }
}

impl Segment {
    /// A segment without slots.
    pub const fn none() -> Segment {
        Segment { words: None, len: 0, tag_shift: 0, depth: 0 }
    }

    /// An empty segment of at least `slots` slots.
    pub fn new(slots: usize, depth: u32) -> Segment {
        let slots = rounded_slots(slots);
        Segment {
            words: Some(Words::new(slots)),
            len: 0,
            tag_shift: tags::tag_shift(slots, depth),
            depth: depth as u8,
        }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn slots(&self) -> usize {
        self.words().len()
    }

    /// How many bits its hashes begin with in common.
    pub fn depth(&self) -> u32 {
        u32::from(self.depth)
    }

    pub fn tag_shift(&self) -> u8 {
        self.tag_shift
    }

    /// The word array; `None` while nothing was ever stored.
    pub fn shared_words(&self) -> Option<&Words> {
        self.words.as_ref()
    }

    /// Gives the word array up, whose words are no longer owners of anything.
    pub fn into_words(mut self) -> Option<Words> {
        self.words.take()
    }

    #[inline]
    pub fn words(&self) -> &[AtomicU64] {
        self.words.as_deref().unwrap_or_default()
    }

    /// Where the entry of `key` is.
    #[inline]
    pub fn find(&self, local: u64, key: &[u8]) -> Option<usize> {
        let words = self.words();
        if words.is_empty() {
            return None;
        }
        let mut slot = home(local, words.len());
        let mut want = wanted(local, self.tag_shift);
        loop {
            let word = words[slot].load(Relaxed);
            if word == 0 || (word & DISTANCE_MASK) < (want & DISTANCE_MASK) {
                return None;
            }
            // SAFETY: a word that is not 0 owns a live entry, and the segment is borrowed.
            if word & LOW_MASK == want && unsafe { EntryRef::from_address(entry_address(word)) }.key() == key
            {
                return Some(slot);
            }
            if want & DISTANCE_MASK == DISTANCE_MASK {
                return None;
            }
            want += 1;
            slot = next(slot, words.len());
        }
    }

    /// Finds an entry that `accept` takes in the homes of the local hashes `first` to `last`.
    pub fn find_between(
        &self,
        first: u64,
        last: u64,
        accept: impl Fn(EntryRef<'_>) -> bool,
    ) -> Option<usize> {
        let words = self.words();
        if words.is_empty() {
            return None;
        }
        let (first_home, last_home) = (home(first, words.len()), home(last, words.len()));
        let mut slot = first_home;
        for step in 0..=(last_home - first_home) + DISTANCE_MASK as usize {
            let word = words[slot].load(Relaxed);
            let distance = (word & DISTANCE_MASK) as usize;
            if word == 0 && step >= last_home - first_home {
                return None;
            }
            if word != 0 && step + first_home >= distance {
                let its_home = step + first_home - distance;
                if its_home > last_home {
                    return None;
                }
                // SAFETY: as in `find`.
                if its_home >= first_home && accept(unsafe { EntryRef::from_address(entry_address(word)) }) {
                    return Some(slot);
                }
            }
            slot = next(slot, words.len());
        }
        None
    }

    /// Whether one more entry needs a larger segment.
    #[inline]
    pub fn is_full(&self) -> bool {
        let slots = self.slots();
        self.len() + 1 > slots - slots / 8
    }

    /// Whether so few entries are left that a smaller segment should take them.
    #[inline]
    pub fn is_sparse(&self) -> bool {
        let slots = self.slots();
        slots > FIRST_SLOTS && self.len() * 5 < slots
    }

    /// The number of slots that the segment should have for what it holds now, growing by half or shrinking to fit.
    pub fn fitting_slots(&self) -> usize {
        let slots = self.slots();
        if self.is_full() { slots + slots / 2 } else { self.len() * 2 }
    }

    /// About how many entries there are with a hash that begins with 0, and with 1.
    pub fn lens_of_halves(&self) -> [usize; 2] {
        let (first, _) = self.words().split_at(self.slots() / 2);
        let first = first.iter().filter(|cell| cell.load(Relaxed) != 0).count();
        [first, self.len() - first]
    }

    /// Takes all words out, in the order of their hashes but for those of one home. `first` is the first hash of the segment, and the moved
    /// words' hashes are those of the whole table.
    /// `reads_all` says that `take` is going to read most of the entries.
    pub fn move_out(&mut self, first: u64, reads_all: bool, mut take: impl FnMut(Moved)) {
        // The words own nothing from here on.
        self.len = 0;
        let words = self.words();
        let slots = words.len();
        let depth = self.depth();
        // A home is so many hashes wide, with an error of less than two for each home, and one granule at its end.
        let width = u64::MAX / slots.max(1) as u64;
        let error = first_hash(1) + 2 * slots as u64;
        for (slot, cell) in words.iter().enumerate() {
            if reads_all && let Some(ahead) = words.get(slot + READ_AHEAD) {
                prefetch_key(entry_address(ahead.load(Relaxed)));
            }
            let word = cell.load(Relaxed);
            if word == 0 {
                continue;
            }
            let distance = (word & DISTANCE_MASK) as usize;
            let its_home = if slot >= distance { slot - distance } else { slot + slots - distance } as u64;
            let start = its_home * width;
            let end = start.saturating_add(width).saturating_add(error);
            let (least, greatest) =
                tags::bounds(self.tag_shift, start, end, (word & LOW_MASK) >> DISTANCE_BITS);
            take(Moved {
                address_bits: word & !LOW_MASK,
                least: first | least >> depth,
                greatest: first | greatest >> depth,
            });
        }
    }

    /// Inserts an entry whose key is not in the segment, which must not be full. Gives the entry back if the run in
    /// front of its home is too long.
    #[inline]
    pub fn insert(&mut self, local: u64, entry: Entry) -> Result<usize, Entry> {
        let address_bits = pack(entry);
        // SAFETY: when `put` refuses the word, the ownership is still here.
        self.put(self.place_of(local), address_bits)
            .ok_or_else(|| unsafe { Entry::from_address(entry_address(address_bits)) })
    }

    /// The home of a hash, and the low bits of a word in it.
    #[inline]
    pub fn place_of(&self, local: u64) -> (usize, u64) {
        (home(local, self.slots()), wanted(local, self.tag_shift))
    }

    /// Puts a word to a place that [`Segment::place_of`] gave, if its run is not too long.
    #[inline]
    pub fn put(&mut self, (home, low): (usize, u64), address_bits: u64) -> Option<usize> {
        let words = self.words.as_deref().unwrap_or_default();
        if words.is_empty() {
            return None;
        }
        let (mut slot, mut low) = (home, low);
        loop {
            let word = words[slot].load(Relaxed);
            if word == 0 || (word & DISTANCE_MASK) < (low & DISTANCE_MASK) {
                break;
            }
            if low & DISTANCE_MASK == DISTANCE_MASK {
                return None;
            }
            low += 1;
            slot = next(slot, words.len());
        }
        if !shift_forward(words, slot) {
            return None;
        }
        words[slot].store(address_bits | low, Relaxed);
        self.len += 1;
        Some(slot)
    }

    /// Removes the entry of an occupied slot.
    #[inline]
    pub fn remove(&mut self, slot: usize) -> Entry {
        let words = self.words();
        let mut hole = slot;
        let removed = words[hole].load(Relaxed);
        loop {
            let after = next(hole, words.len());
            let word = words[after].load(Relaxed);
            if word == 0 || word & DISTANCE_MASK == 0 {
                break;
            }
            words[hole].store(word - 1, Relaxed);
            hole = after;
        }
        words[hole].store(0, Relaxed);
        self.len -= 1;
        // SAFETY: the word owned its entry and is gone from the segment.
        unsafe { Entry::from_address(entry_address(removed)) }
    }

    /// Visits the occupied slots of one home after another in hash order, beginning with the home of the granule `from` of a local hash, until
    /// the budget is used up; says of each whether it is in the first home. Gives the granule to go on from, or `None` at the end.
    pub fn walk(&self, from: u64, budget: &mut Budget, mut visit: impl FnMut(usize, bool)) -> Option<u64> {
        let words = self.words();
        if self.len == 0 {
            return None;
        }
        let first = home(first_hash(from), words.len());
        for home in first..words.len() {
            if budget.is_used_up() {
                return Some(first_granule(home, words.len()));
            }
            budget.homes -= 1;
            let mut slot = home;
            for distance in 0..=DISTANCE_MASK {
                let word = words[slot].load(Relaxed);
                if word == 0 || (word & DISTANCE_MASK) < distance {
                    break;
                }
                if word & DISTANCE_MASK == distance {
                    visit(slot, home == first);
                    budget.entries = budget.entries.saturating_sub(1);
                }
                slot = next(slot, words.len());
            }
        }
        None
    }
}

/// What a walk may still do.
pub struct Budget {
    pub entries: usize,
    pub homes: usize,
}

impl Budget {
    pub fn is_used_up(&self) -> bool {
        self.entries == 0 || self.homes == 0
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        for cell in self.words() {
            let word = cell.load(Relaxed);
            if word != 0 {
                // SAFETY: the segment owned this entry and is going away. Prefetching readers never follow the address.
                drop(unsafe { Entry::from_address(entry_address(word)) });
            }
        }
    }
}

#[inline]
fn next(slot: usize, slots: usize) -> usize {
    let after = slot + 1;
    if after == slots { 0 } else { after }
}

/// The smallest granule whose home is `home`.
fn first_granule(home: usize, slots: usize) -> u64 {
    ((home as u128) << GRANULE_BITS).div_ceil(slots as u128) as u64
}

/// The bits of a word that say where its entry is; the word becomes the owner.
#[inline]
pub fn pack(entry: Entry) -> u64 {
    let address = entry.into_address() as u64;
    debug_assert!(
        address.trailing_zeros() >= 4 && address < 1 << 47,
        "an x86-64 user address, aligned to 16"
    );
    address >> 4 << LOW_BITS
}

/// The word for the place of `word` and another entry, whose owner it becomes.
#[inline]
pub fn with_entry(word: u64, entry: Entry) -> u64 {
    pack(entry) | word & LOW_MASK
}

/// Opens the slot by shifting its cluster one to the right. Refuses when a distance would not fit any more.
#[inline]
fn shift_forward(words: &[AtomicU64], slot: usize) -> bool {
    let mut end = slot;
    loop {
        let word = words[end].load(Relaxed);
        if word == 0 {
            break;
        }
        if word & DISTANCE_MASK == DISTANCE_MASK {
            return false;
        }
        end = next(end, words.len());
        if end == slot {
            return false;
        }
    }
    let mut carried = 0;
    let mut at = slot;
    loop {
        let word = words[at].load(Relaxed);
        words[at].store(carried, Relaxed);
        if word == 0 {
            return true;
        }
        carried = word + 1;
        at = next(at, words.len());
    }
}

/// [`prefetch`] of an entry's header and key, which for most entries lie in two lines.
#[inline]
fn prefetch_key(address: usize) {
    prefetch(address);
    prefetch(address + LINE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fill_size_classes_and_fit_a_hint() {
        let mut slots = rounded_slots(1);
        while slots < 1 << 24 {
            let bytes = (slots + COUNT_WORDS) * size_of::<u64>();
            assert_eq!(crate::base::allocator::size_class(bytes), bytes, "{slots} slots");
            assert_eq!(decode_slots(encode_slots(slots)), slots);
            assert_eq!(rounded_slots(slots), slots);
            slots = rounded_slots(slots + 1);
        }
    }

    #[test]
    fn a_full_run_is_refused_and_the_entry_given_back() {
        let mut segment = Segment::new(1000, 0);
        for i in 0..128 {
            assert!(segment.insert(0, Entry::new(format!("{i}").as_bytes(), b"")).is_ok());
        }
        let refused =
            segment.insert(0, Entry::new(b"one too many", b"")).expect_err("the distance is 7 bits wide");
        assert_eq!(refused.view().key(), b"one too many");
        assert_eq!(segment.len(), 128);
        for i in 0..128 {
            let key = format!("{i}");
            let slot = segment.find(0, key.as_bytes()).expect("all 128 are there");
            segment.remove(slot);
        }
        assert_eq!(segment.len(), 0);
    }

    #[test]
    fn a_granule_has_one_home_at_every_depth() {
        for depth in 0..20 {
            let hash = 0x0123_4567_89ab_cdef;
            let other = hash ^ 0x1f_ffff;
            assert_eq!(granule(hash), granule(other));
            assert_eq!(local_hash(hash, depth), local_hash(other, depth));
            assert_eq!(local_hash(hash, depth) >> depth, first_hash(granule(hash)) << depth >> depth);
        }
    }
}
