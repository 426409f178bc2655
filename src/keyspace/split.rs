//! A table in several segments, so that no step of its growth moves more than one of them.
//!
//! ```text
//! hash     63 62 61 ...      segments in the order of their making     4 segments, and a fifth
//!          the first bits    0: begins with 0                          0: 000   1: 10   2: 01   3: 11
//!          say which         1: begins with 1                                                      4: 001
//! ```
//! This is linear hashing, with the first bits of the hash: the segment whose turn it is splits in two by the next bit, so
//! that there is one for every [`Segments::SPLIT_LEN`] entries on average. With 2^n segments, number `i` has the hashes whose first n bits are `i`
//! read backwards; the numbers below `count - 2^n` are split already, and their second halves are the numbers from 2^n on. Segments lie
//! in hash order therefore, though their numbers do not, and a walk goes from one to the next by the hash alone.
//!
//! While hashes are spread evenly, a segment holds at most twice the average. Whatever else happens, it stays within its size: what it
//! has no room for goes to the spill.

use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::entry::{Entry, EntryRef};
use super::hint;
use super::segment::{Budget, GRANULE_BITS, Segment, first_hash, granule, local_hash, pack};
use super::spill::Spill;
use super::words::Words;

/// Word arrays that were replaced, for a delayed release.
pub type Replaced = SmallVec<[Words; 3]>;

/// More segments than memory has entries for; a prefetch hint has room for so many bits of depth.
const SEGMENTS_MAX: usize = 1 << 20;
const SLOT_BITS: u32 = 16;
const SPILLED: usize = 1 << 63;

/// Where an entry is: a segment's number and a slot in it, or a place of the spill. Good until the table changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position(usize);

impl Position {
    #[inline]
    pub fn new(segment: usize, slot: usize) -> Position {
        Position(segment << SLOT_BITS | slot)
    }

    pub fn spilled(index: usize) -> Position {
        Position(SPILLED | index)
    }

    /// The slot of a position in the first segment; a number beyond all slots for others.
    #[inline]
    pub fn slot_of_first(self) -> usize {
        self.0
    }

    fn segment(self) -> usize {
        self.0 >> SLOT_BITS
    }

    fn slot(self) -> usize {
        self.0 & ((1 << SLOT_BITS) - 1)
    }

    fn in_spill(self) -> Option<usize> {
        (self.0 & SPILLED != 0).then_some(self.0 & !SPILLED)
    }
}

/// Moves the words of `old`, whose hashes begin at `first`, to `into`: one segment that has all their hashes, or two that have half of
/// them each. What finds no place there is given to `refuse` with its hash. `rehash` is the keyed hash of a key.
pub fn resettle<const N: usize>(
    mut old: Segment,
    first: u64,
    into: &mut [Segment; N],
    rehash: &impl Fn(&[u8]) -> u64,
    mut refuse: impl FnMut(u64, u64),
) -> Option<Words> {
    let half = 63 - old.depth();
    let place = |into: &[Segment; N], hash: u64| {
        let number = if N == 1 { 0 } else { (hash >> half & 1) as usize };
        (number, into[number].place_of(local_hash(hash, into[number].depth())))
    };
    // How many bits of the whole table's hash come after its tag.
    let bits_after_tag = |segment: &Segment| u32::from(segment.tag_shift()) - segment.depth();
    let reads_all = bits_after_tag(&into[0]) < bits_after_tag(&old);
    old.move_out(first, reads_all, |moved| {
        #[cfg(test)]
        WORK.with(|work| work.set(Work { moved: work.get().moved + 1, ..work.get() }));
        let (least, greatest) = (place(into, moved.least), place(into, moved.greatest));
        let hash = || rehash(moved.entry().key());
        let goal = if least == greatest {
            least
        } else {
            #[cfg(test)]
            WORK.with(|work| work.set(Work { read: work.get().read + 1, ..work.get() }));
            place(into, hash())
        };
        debug_assert_eq!(goal, place(into, hash()), "home and tag say where a word belongs");
        if into[goal.0].put(goal.1, moved.address_bits).is_none() {
            refuse(hash(), moved.address_bits);
        }
    });
    old.into_words()
}

/// What [`resettle`] did: words that it moved, and entries that it had to read for that.
#[cfg(test)]
#[derive(Clone, Copy, Default)]
pub struct Work {
    pub moved: usize,
    pub read: usize,
}

#[cfg(test)]
thread_local! {
    pub static WORK: std::cell::Cell<Work> = std::cell::Cell::default();
}

/// See the module's text.
pub struct Segments<const SLOTS_MAX: usize> {
    segments: Vec<Segment>,
    /// What prefetching readers find the segments by, see `hint.rs`.
    directory: Words,
    directory_bits: u32,
    spill: Spill,
    /// Entries in segments.
    len: usize,
    slots: usize,
}

impl<const SLOTS_MAX: usize> Segments<SLOTS_MAX> {
    /// Entries for each of which there is a segment. Twice as many are well below 7/8 of the slots of the largest.
    pub const SPLIT_LEN: usize = SLOTS_MAX * 2 / 5;
    /// With fewer entries for each segment than this, two become one again.
    const MERGE_LEN: usize = Self::SPLIT_LEN * 2 / 5;

    /// The one segment of a table, which others are going to follow.
    pub fn new(one: Segment) -> Segments<SLOTS_MAX> {
        let (len, slots) = (one.len(), one.slots());
        let mut segments = Segments {
            segments: vec![one],
            directory: Words::new(0),
            directory_bits: 0,
            spill: Spill::default(),
            len,
            slots,
        };
        segments.fit_directory();
        segments
    }

    /// The only segment, and the directory.
    pub fn into_one(mut self) -> (Segment, Words) {
        debug_assert!(self.is_one(), "the others would be lost");
        (self.segments.swap_remove(0), self.directory)
    }

    /// Whether there is one segment that has everything.
    pub fn is_one(&self) -> bool {
        self.segments.len() == 1 && self.spill.is_empty()
    }

    pub fn len(&self) -> usize {
        self.len + self.spill.len()
    }

    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub fn spill(&self) -> &Spill {
        &self.spill
    }

    pub fn directory(&self) -> &Words {
        &self.directory
    }

    pub fn hint(&self) -> u64 {
        hint::of_directory(&self.directory, self.directory_bits)
    }

    /// The number of the segment that has `hash`.
    pub fn number(&self, hash: u64) -> usize {
        let backwards = hash.reverse_bits() as usize;
        let below = 1usize << self.segments.len().ilog2();
        let number = backwards & (2 * below - 1);
        if number < self.segments.len() { number } else { number & (below - 1) }
    }

    /// The first hash of a segment.
    fn first(number: usize) -> u64 {
        (number as u64).reverse_bits()
    }

    /// The segment of `hash`, its number, and the local hash.
    fn of(&self, hash: u64) -> (usize, &Segment, u64) {
        let number = self.number(hash);
        let segment = &self.segments[number];
        (number, segment, local_hash(hash, segment.depth()))
    }

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let (number, segment, local) = self.of(hash);
        let found = segment.find(local, key).map(|slot| Position::new(number, slot));
        found.or_else(|| self.spill.find(hash, key).map(Position::spilled))
    }

    /// Finds an entry that `accept` takes near the hashes `first` to `last`, which are fewer than a segment has.
    pub fn find_between(
        &self,
        first: u64,
        last: u64,
        accept: impl Fn(EntryRef<'_>) -> bool,
    ) -> Option<Position> {
        let (number, segment, local) = self.of(first);
        let last_local = local_hash(last, segment.depth());
        let found = segment.find_between(local, last_local, &accept).map(|slot| Position::new(number, slot));
        found.or_else(|| self.spill.find_between(first, last, accept).map(Position::spilled))
    }

    /// The word at a position.
    pub fn word(&self, position: Position) -> Option<&AtomicU64> {
        match position.in_spill() {
            Some(index) => self.spill.word(index),
            None => self.segments.get(position.segment())?.words().get(position.slot()),
        }
    }

    /// Inserts an entry whose key is not there.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Position {
        let number = self.number(hash);
        let segment = &mut self.segments[number];
        let entry = if segment.is_full() {
            entry
        } else {
            match segment.insert(local_hash(hash, segment.depth()), entry) {
                Ok(slot) => {
                    self.len += 1;
                    return Position::new(number, slot);
                }
                Err(entry) => entry,
            }
        };
        self.spill_over(hash, pack(entry))
    }

    /// Takes in an entry for which there is no place in its segment.
    pub fn spill_over(&mut self, hash: u64, address_bits: u64) -> Position {
        Position::spilled(self.spill.insert(hash, address_bits))
    }

    pub fn remove(&mut self, position: Position) -> Entry {
        match position.in_spill() {
            Some(index) => self.spill.remove(index),
            None => {
                self.len -= 1;
                self.segments[position.segment()].remove(position.slot())
            }
        }
    }

    /// Prepares for one more entry with this hash: a segment may split, and the one of the entry may grow. Says whether arrays changed.
    pub fn make_room(&mut self, hash: u64, rehash: &impl Fn(&[u8]) -> u64, replaced: &mut Replaced) -> bool {
        let splits = self.len >= self.segments.len() * Self::SPLIT_LEN;
        if splits {
            self.split(rehash, replaced);
        }
        let number = self.number(hash);
        let segment = &self.segments[number];
        let grows = segment.is_full() && segment.slots() < SLOTS_MAX;
        if grows {
            self.resize(number, segment.fitting_slots().min(SLOTS_MAX), rehash, replaced);
        }
        splits || grows
    }

    /// Makes as many segments as so many entries need.
    pub fn reserve(&mut self, entries: usize, rehash: &impl Fn(&[u8]) -> u64, replaced: &mut Replaced) {
        while self.segments.len() * Self::SPLIT_LEN < entries && self.segments.len() < SEGMENTS_MAX {
            self.split(rehash, replaced);
        }
    }

    /// Gives memory back after an entry left `position`: its segment may shrink, and two may become one. Says whether arrays changed.
    pub fn give_back(
        &mut self,
        position: Position,
        rehash: &impl Fn(&[u8]) -> u64,
        replaced: &mut Replaced,
    ) -> bool {
        let sparse = position.in_spill().is_none() && self.segments[position.segment()].is_sparse();
        if sparse {
            let number = position.segment();
            self.resize(number, self.segments[number].fitting_slots(), rehash, replaced);
        }
        let merges = self.segments.len() > 1 && self.len < self.segments.len() * Self::MERGE_LEN;
        (merges && self.merge(rehash, replaced)) || sparse
    }

    /// Splits the segment whose turn it is.
    #[cold]
    fn split(&mut self, rehash: &impl Fn(&[u8]) -> u64, replaced: &mut Replaced) {
        let count = self.segments.len();
        if count >= SEGMENTS_MAX {
            return;
        }
        let number = count - (1 << count.ilog2());
        let old = std::mem::take(&mut self.segments[number]);
        let depth = old.depth() + 1;
        // With as many slots as half of the old one's the tags stay, and no entry is read.
        let fresh = |len: usize| Segment::new((len + len / 4).min(SLOTS_MAX), depth);
        let [first, second] = old.lens_of_halves();
        let mut halves = [fresh(first), fresh(second)];
        self.move_words(old, Self::first(number), &mut halves, rehash, replaced);
        let [first, second] = halves;
        self.segments[number] = first;
        self.segments.push(second);
        self.slots += self.segments[number].slots() + self.segments[count].slots();
        if self.fit_directory_later() {
            replaced.push(self.fit_directory());
        } else {
            self.note(number);
            self.note(count);
        }
    }

    /// Merges the two segments that were split last, if one can hold what they have.
    #[cold]
    fn merge(&mut self, rehash: &impl Fn(&[u8]) -> u64, replaced: &mut Replaced) -> bool {
        let last = self.segments.len() - 1;
        let number = last - (1 << last.ilog2());
        let len = self.segments[number].len() + self.segments[last].len();
        if len > 2 * Self::SPLIT_LEN {
            return false;
        }
        let mut merged = [Segment::new((len + len / 2).min(SLOTS_MAX), self.segments[last].depth() - 1)];
        let second = self.segments.swap_remove(last);
        let first = std::mem::take(&mut self.segments[number]);
        self.move_words(first, Self::first(number), &mut merged, rehash, replaced);
        self.move_words(second, Self::first(last), &mut merged, rehash, replaced);
        let [merged] = merged;
        self.slots += merged.slots();
        self.segments[number] = merged;
        if self.fit_directory_later() {
            replaced.push(self.fit_directory());
        } else {
            self.note(number);
        }
        true
    }

    #[cold]
    fn resize(
        &mut self,
        number: usize,
        slots: usize,
        rehash: &impl Fn(&[u8]) -> u64,
        replaced: &mut Replaced,
    ) {
        let old = std::mem::take(&mut self.segments[number]);
        let mut fresh = [Segment::new(slots.max(old.len() + old.len() / 7 + 1), old.depth())];
        self.move_words(old, Self::first(number), &mut fresh, rehash, replaced);
        let [fresh] = fresh;
        self.slots += fresh.slots();
        self.segments[number] = fresh;
        self.note(number);
    }

    fn move_words<const N: usize>(
        &mut self,
        old: Segment,
        first: u64,
        into: &mut [Segment; N],
        rehash: &impl Fn(&[u8]) -> u64,
        replaced: &mut Replaced,
    ) {
        self.slots -= old.slots();
        let spill = &mut self.spill;
        let spilled_before = spill.len();
        let words = resettle(old, first, into, rehash, |hash, address_bits| {
            spill.insert(hash, address_bits);
        });
        self.len -= self.spill.len() - spilled_before;
        replaced.extend(words);
    }

    fn fit_directory_later(&self) -> bool {
        self.directory_bits != self.segments.len().ilog2() + 1
    }

    /// Makes a directory for the number of segments there is, and gives the old one.
    fn fit_directory(&mut self) -> Words {
        self.directory_bits = self.segments.len().ilog2() + 1;
        let fresh = Words::new(1 << self.directory_bits);
        let old = std::mem::replace(&mut self.directory, fresh);
        (0..self.segments.len()).for_each(|number| self.note(number));
        old
    }

    /// Writes the hint of a segment into the directory.
    fn note(&self, number: usize) {
        let segment = &self.segments[number];
        let hint = hint::of_segment(segment);
        let first = (Self::first(number) >> (64 - self.directory_bits)) as usize;
        let count = 1 << (self.directory_bits - segment.depth());
        for cell in &self.directory[first..first + count] {
            cell.store(hint, Ordering::SeqCst);
        }
    }

    /// [`super::table::Table::walk`], for positions.
    pub fn walk(&self, from: u64, budget: &mut Budget, mut visit: impl FnMut(Position, bool)) -> Option<u64> {
        let mut at = from;
        loop {
            let (number, segment, local) = self.of(first_hash(at));
            let depth = segment.depth();
            let start = granule(Self::first(number));
            let rest = segment.walk(granule(local), budget, |slot, is_first| {
                visit(Position::new(number, slot), is_first && at == from);
            });
            // The first granule whose home is that one, or that of the next segment.
            let next = match rest {
                Some(local) => start + local.div_ceil(1 << depth),
                None => start + (1 << (GRANULE_BITS - depth)),
            };
            for index in self.spill.between(at, next) {
                visit(Position::spilled(index), false);
                budget.entries = budget.entries.saturating_sub(1);
            }
            if next >> GRANULE_BITS != 0 {
                return None;
            }
            // However few homes there are in it: each segment counts.
            budget.homes = budget.homes.saturating_sub(1);
            if rest.is_some() || budget.is_used_up() {
                return Some(next);
            }
            at = next;
        }
    }
}
