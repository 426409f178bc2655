//! The hash table of one shard and database: words that lie in the order of their keys' hashes, in one segment or in several.
//!
//! Nearly every table is one segment (`segment.rs`), which lies in the partition itself and costs nothing more. Names can be aimed at
//! a shard, by a hash tag or on purpose; where a segment would become too large to be moved in a fraction of a millisecond, the table
//! goes on in several that split one at a time (`split.rs`). Either way its entries have a place in hash order that no resize
//! changes, so that a SCAN cursor or a snapshot's visitor goes on where it was.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::{Entry, EntryMut, EntryRef};
use super::hint;
use super::segment::{Budget, Segment, entry_address, granule, local_hash, with_entry};
pub use super::split::{Position, Replaced};
use super::split::{Segments, resettle};

/// Slots of the largest segment: to move one takes some 50 microseconds. With the count of sharers its array is 64 KB.
const SEGMENT_SLOTS_MAX: usize = 8191;

/// See the module's text.
#[derive(Default)]
pub struct Table<const SLOTS_MAX: usize = SEGMENT_SLOTS_MAX> {
    /// All of the table, or without slots.
    one: Segment,
    many: Option<Box<Segments<SLOTS_MAX>>>,
}

impl<const SLOTS_MAX: usize> Table<SLOTS_MAX> {
    /// How large the only segment may become. When it is split, the halves fit half of the largest size, and keep their tags.
    const ONE_SLOTS_MAX: usize = (SLOTS_MAX + 1) / 8 * 7 - 1;

    pub const fn new() -> Self {
        Table { one: Segment::none(), many: None }
    }

    pub fn len(&self) -> usize {
        self.one.len() + self.many.as_ref().map_or(0, |many| many.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn slots(&self) -> usize {
        self.one.slots() + self.many.as_ref().map_or(0, |many| many.slots())
    }

    /// Whether nothing was ever stored, so that there is no array.
    pub fn is_unused(&self) -> bool {
        self.slots() == 0
    }

    fn segments(&self) -> &[Segment] {
        match &self.many {
            Some(many) => many.segments(),
            None => std::slice::from_ref(&self.one),
        }
    }

    fn spilled(&self) -> usize {
        self.many.as_ref().map_or(0, |many| many.spill().len())
    }

    /// What the prefetcher is to know, see `hint.rs`.
    pub fn hint(&self) -> u64 {
        self.many.as_ref().map_or_else(|| hint::of_segment(&self.one), |many| many.hint())
    }

    /// All arrays that readers of a hint may be looking at, to be kept for them.
    pub fn shared_words(&self) -> Replaced {
        let directory = self.many.iter().map(|many| many.directory());
        self.segments().iter().filter_map(Segment::shared_words).chain(directory).cloned().collect()
    }

    /// Finds the entry of `key`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        if self.one.words().is_empty() {
            return self.find_in_many(hash, key);
        }
        self.one.find(hash, key).map(|slot| Position::new(0, slot))
    }

    /// Apart from [`Table::find`], which is to be short enough to be a part of its callers.
    #[inline(never)]
    fn find_in_many(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.many.as_ref()?.find(hash, key)
    }

    /// Finds an entry near the home of a truncated hash (its upper 32 bits) that `accept` takes. The wheel's records keep
    /// only that much of a hash.
    pub fn find_by_prefix(&self, prefix: u32, accept: impl Fn(EntryRef<'_>) -> bool) -> Option<Position> {
        let (first, last) = (u64::from(prefix) << 32, u64::from(prefix) << 32 | 0xffff_ffff);
        match &self.many {
            None => self.one.find_between(first, last, accept).map(|slot| Position::new(0, slot)),
            Some(many) => many.find_between(first, last, accept),
        }
    }

    #[inline]
    fn word(&self, position: Position) -> &AtomicU64 {
        match self.one.words().get(position.slot_of_first()) {
            Some(word) => word,
            None => self.word_in_many(position),
        }
    }

    #[inline(never)]
    fn word_in_many(&self, position: Position) -> &AtomicU64 {
        let word = self.many.as_ref().and_then(|many| many.word(position));
        word.expect("a position names a slot of the table, until that changes")
    }

    /// The address of the entry at `position`, for prefetching.
    #[inline]
    pub fn address(&self, position: Position) -> usize {
        entry_address(self.word(position).load(Relaxed))
    }

    #[inline]
    pub fn entry(&self, position: Position) -> EntryRef<'_> {
        let word = self.word(position).load(Relaxed);
        debug_assert!(word != 0, "a position names an occupied slot");
        // SAFETY: a position names an occupied slot until the table changes, and the table is borrowed.
        unsafe { EntryRef::from_address(entry_address(word)) }
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, position: Position) -> EntryMut<'_> {
        let word = self.word(position).load(Relaxed);
        debug_assert!(word != 0, "a position names an occupied slot");
        // SAFETY: as in `entry`; the table is borrowed exclusively.
        unsafe { EntryMut::from_address(entry_address(word)) }
    }

    /// Takes the entry at `position` out, lets `change` make another of it (with the same key), and puts that there.
    pub fn replace(&mut self, position: Position, change: impl FnOnce(Entry) -> Entry) {
        let cell = self.word(position);
        let word = cell.load(Relaxed);
        // SAFETY: the word owned the entry; from here on `entry` does, until the new word is stored. `change` cannot
        // reach the table, so nobody sees the stale word between.
        let entry = change(unsafe { Entry::from_address(entry_address(word)) });
        cell.store(with_entry(word, entry), Relaxed);
    }

    /// Whether [`Table::make_room`] must be asked before one more entry comes.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.one.is_full()
    }

    /// Prepares for an entry with this hash. Arrays that it replaces are given for a delayed release. Says whether the hint is another one.
    /// `rehash` is the keyed hash of a key.
    #[cold]
    pub fn make_room(&mut self, hash: u64, rehash: impl Fn(&[u8]) -> u64, replaced: &mut Replaced) -> bool {
        if self.many.is_none() && self.one.slots() < Self::ONE_SLOTS_MAX {
            self.resize_one(self.one.fitting_slots().min(Self::ONE_SLOTS_MAX), &rehash, replaced);
            return true;
        }
        self.in_many().make_room(hash, &rehash, replaced)
    }

    /// Makes room for `more` further entries, so that adding them does not grow the table step by step; else as [`Table::make_room`].
    pub fn reserve(&mut self, more: usize, rehash: impl Fn(&[u8]) -> u64, replaced: &mut Replaced) -> bool {
        let entries = self.len() + more;
        let slots = entries + entries / 6;
        if self.many.is_some() || slots > Self::ONE_SLOTS_MAX {
            self.in_many().reserve(entries, &rehash, replaced);
        } else if slots > self.one.slots() {
            self.resize_one(slots, &rehash, replaced);
        } else {
            return false;
        }
        true
    }

    /// Whether [`Table::give_back`] may have something to do.
    #[inline]
    pub fn is_sparse(&self) -> bool {
        self.one.is_sparse() || self.many.is_some()
    }

    /// Gives memory back after the entry at `position` was removed; else as [`Table::make_room`].
    #[cold]
    pub fn give_back(
        &mut self,
        position: Position,
        rehash: impl Fn(&[u8]) -> u64,
        replaced: &mut Replaced,
    ) -> bool {
        let Some(many) = &mut self.many else {
            self.resize_one(self.one.fitting_slots(), &rehash, replaced);
            return true;
        };
        let changed = many.give_back(position, &rehash, replaced);
        let last = self.many.take_if(|many| many.is_one());
        match last.map(|many| (*many).into_one()) {
            Some((one, directory)) => {
                self.one = one;
                replaced.push(directory);
                true
            }
            None => changed,
        }
    }

    /// The table as several segments, which it is from here on.
    fn in_many(&mut self) -> &mut Segments<SLOTS_MAX> {
        let one = &mut self.one;
        self.many.get_or_insert_with(|| {
            let one = std::mem::take(one);
            Box::new(Segments::new(if one.slots() == 0 { Segment::new(0, 0) } else { one }))
        })
    }

    fn resize_one(&mut self, slots: usize, rehash: &impl Fn(&[u8]) -> u64, replaced: &mut Replaced) {
        let old = std::mem::take(&mut self.one);
        let mut fresh = [Segment::new(slots.max(old.len() + old.len() / 7 + 1), 0)];
        let mut refused = Vec::new();
        let words = resettle(old, 0, &mut fresh, rehash, |hash, bits| refused.push((hash, bits)));
        replaced.extend(words);
        let [fresh] = fresh;
        self.one = fresh;
        for (hash, address_bits) in refused {
            self.in_many().spill_over(hash, address_bits);
        }
    }

    /// Inserts an entry whose key is not in the table, for which [`Table::make_room`] was asked.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Position {
        match self.one.insert(hash, entry) {
            Ok(slot) => Position::new(0, slot),
            Err(entry) => self.insert_elsewhere(hash, entry),
        }
    }

    #[cold]
    fn insert_elsewhere(&mut self, hash: u64, entry: Entry) -> Position {
        self.in_many().insert(hash, entry)
    }

    /// Removes the entry at `position`.
    #[inline]
    pub fn remove(&mut self, position: Position) -> Entry {
        match self.many {
            None => self.one.remove(position.slot_of_first()),
            Some(_) => self.remove_from_many(position),
        }
    }

    #[inline(never)]
    fn remove_from_many(&mut self, position: Position) -> Entry {
        self.in_many().remove(position)
    }

    /// Visits the entries of one home after another in hash order, from `granule` on, until `visit` has seen at least `count` entries or
    /// `homes` homes were walked. Gives the granule to go on from, or `None` at the end. An entry that is in the table during a whole
    /// sequence of such walks is seen exactly once, also when the table is resized between them. `rehash` is the keyed hash of a key.
    pub fn walk(
        &self,
        from: u64,
        count: usize,
        homes: usize,
        rehash: impl Fn(&[u8]) -> u64,
        mut visit: impl FnMut(EntryRef<'_>),
    ) -> Option<u64> {
        self.walk_positions(from, count, homes, &mut |position, is_first_home| {
            let entry = self.entry(position);
            // After a resize the first home may begin before the place where the last walk ended.
            if from == 0 || !is_first_home || granule(rehash(entry.key())) >= from {
                visit(entry);
            }
        })
    }

    /// [`Table::walk`] that only notes where the entries are, among them some that the last one gave, too.
    pub fn gather(&self, from: u64, count: usize, homes: usize, found: &mut Vec<Position>) -> Option<u64> {
        self.walk_positions(from, count, homes, &mut |position, _| found.push(position))
    }

    fn walk_positions(
        &self,
        from: u64,
        count: usize,
        homes: usize,
        visit: &mut impl FnMut(Position, bool),
    ) -> Option<u64> {
        let mut budget = Budget { entries: count, homes };
        match &self.many {
            None => {
                self.one.walk(from, &mut budget, |slot, is_first| visit(Position::new(0, slot), is_first))
            }
            Some(many) => many.walk(from, &mut budget, visit),
        }
    }

    /// Shows every entry.
    pub fn each(&self, mut see: impl FnMut(EntryRef<'_>)) {
        for position in self.sample(0, usize::MAX, usize::MAX) {
            see(self.entry(position));
        }
    }

    /// Up to `count` occupied positions, from a slot on (wrapping), looking at no more than `slots_max` slots.
    pub fn sample(
        &self,
        from: usize,
        count: usize,
        slots_max: usize,
    ) -> impl Iterator<Item = Position> + use<'_, SLOTS_MAX> {
        let segments = self.segments();
        let slots = self.slots();
        let (mut number, mut slot) = self.slot_at(from);
        let places = (0..slots.min(slots_max)).filter_map(move |_| {
            let position = Position::new(number, slot);
            let word = segments[number].words()[slot].load(Relaxed);
            slot += 1;
            if slot == segments[number].slots() {
                (number, slot) = ((number + 1) % segments.len(), 0);
            }
            (word != 0).then_some(position)
        });
        places.chain((0..self.spilled()).map(Position::spilled)).take(count)
    }

    /// The segment's number and the slot in it that has the place `from` among all slots (wrapping), as far as segments are alike.
    fn slot_at(&self, from: usize) -> (usize, usize) {
        let slots = self.slots().max(1);
        let place = from % slots;
        let Some(many) = &self.many else { return (0, place) };
        let hash = (((place as u128) << 64) / slots as u128) as u64;
        let number = many.number(hash);
        let segment = &self.segments()[number];
        (number, segment.place_of(local_hash(hash, segment.depth())).0)
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
