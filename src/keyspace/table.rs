//! The hash table of one shard and database: 8-byte words, open addressing, Robin Hood order.
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
//! The words are atomics with relaxed access: writers hold the shard's lock, but an event loop may read a word without
//! it in order to prefetch the entry behind it (`prefetch.rs` keeps a replaced word array alive for such readers).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::{Entry, EntryMut, EntryRef};
use super::tags::{self, TAG_BITS, Tags};
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
/// Homes whose words get the tag of their table's new size at once: as many entries are read at about the price of a few, because their
/// cache lines come together.
const RETAG_HOMES: usize = 8;
/// Bytes of a cache line.
pub const LINE: usize = 64;

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
fn first_hash(granule: u64) -> u64 {
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

#[derive(Default)]
pub struct Table {
    words: Option<Words>,
    len: usize,
    tags: Tags,
}

/// Where an entry is; good until the table changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position(usize);

impl Table {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn slots(&self) -> usize {
        self.words().len()
    }

    /// The shared word array, for a prefetch hint; `None` while nothing was ever stored.
    pub fn shared_words(&self) -> Option<&Words> {
        self.words.as_ref()
    }

    #[inline]
    fn words(&self) -> &[AtomicU64] {
        self.words.as_deref().unwrap_or_default()
    }

    /// Finds the entry of `key`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        let words = self.words();
        if words.is_empty() {
            return None;
        }
        let mut slot = home(hash, words.len());
        let mut want = self.tags.tag(hash) << DISTANCE_BITS;
        loop {
            let word = words[slot].load(Relaxed);
            if word == 0 || (word & DISTANCE_MASK) < (want & DISTANCE_MASK) {
                return None;
            }
            // SAFETY: a word that is not 0 owns a live entry, and the table is borrowed.
            if word & LOW_MASK == want && unsafe { EntryRef::from_address(entry_address(word)) }.key() == key
            {
                return Some(Position(slot));
            }
            if want & DISTANCE_MASK == DISTANCE_MASK {
                return None;
            }
            want += 1;
            slot = next(slot, words.len());
        }
    }

    /// Finds an entry near the home of a truncated hash (its upper 32 bits) that `accept` takes. The wheel's records keep
    /// only that much of a hash.
    pub fn find_by_prefix(&self, prefix: u32, accept: impl Fn(EntryRef<'_>) -> bool) -> Option<Position> {
        let words = self.words();
        if words.is_empty() {
            return None;
        }
        let first_home = home(u64::from(prefix) << 32, words.len());
        let last_home = home(u64::from(prefix) << 32 | 0xffff_ffff, words.len());
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
                    return Some(Position(slot));
                }
            }
            slot = next(slot, words.len());
        }
        None
    }

    #[inline]
    pub fn entry(&self, position: Position) -> EntryRef<'_> {
        let word = self.words()[position.0].load(Relaxed);
        debug_assert!(word != 0, "a position names an occupied slot");
        // SAFETY: a position names an occupied slot until the table changes, and the table is borrowed.
        unsafe { EntryRef::from_address(entry_address(word)) }
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, position: Position) -> EntryMut<'_> {
        let word = self.words()[position.0].load(Relaxed);
        debug_assert!(word != 0, "a position names an occupied slot");
        // SAFETY: as in `entry`; the table is borrowed exclusively.
        unsafe { EntryMut::from_address(entry_address(word)) }
    }

    /// Takes the entry at `position` out, lets `change` make another of it (with the same key), and puts that there.
    pub fn replace(&mut self, position: Position, change: impl FnOnce(Entry) -> Entry) {
        let cell = &self.words()[position.0];
        let word = cell.load(Relaxed);
        // SAFETY: the word owned the entry; from here on `entry` does, until the new word is stored. `change` cannot
        // reach the table, so nobody sees the stale word between.
        let entry = change(unsafe { Entry::from_address(entry_address(word)) });
        cell.store(pack(entry, word & LOW_MASK), Relaxed);
    }

    /// Whether one more entry needs a larger table.
    #[inline]
    pub fn is_full(&self) -> bool {
        let slots = self.slots();
        self.len + 1 > slots - slots / 8
    }

    /// Whether so few entries are left that a smaller table should take them.
    pub fn is_sparse(&self) -> bool {
        let slots = self.slots();
        slots > FIRST_SLOTS && self.len * 5 < slots
    }

    /// The number of slots that the table should have for what it holds now, growing by half or shrinking to fit.
    pub fn fitting_slots(&self) -> usize {
        let slots = self.slots();
        rounded_slots(if self.is_full() { slots + slots / 2 } else { self.len * 2 })
    }

    /// Moves all entries into a table of `slots` slots; gives the old words back for a delayed release.
    /// `rehash` is the keyed hash of a key.
    pub fn resize(&mut self, slots: usize, rehash: impl Fn(&[u8]) -> u64) -> Option<Words> {
        let mut slots = rounded_slots(slots.max(self.len + self.len / 7 + 1));
        loop {
            let words = Some(Words::new(slots));
            let tags = if self.is_empty() { Tags::of_size(slots) } else { self.tags.resized(slots) };
            let mut fresh = Table { words, len: 0, tags };
            if fresh.adopt(self, &rehash) {
                let old = self.words.take();
                self.len = 0;
                *self = fresh;
                return old;
            }
            // The entries are still the old table's.
            fresh.words = None;
            // More than 127 entries in front of one home: no hash of ours does that at this load, but a table that is
            // too full must grow rather than lose an entry.
            slots *= 2;
        }
    }

    fn adopt(&mut self, old: &Table, rehash: &impl Fn(&[u8]) -> u64) -> bool {
        let old_slots = old.slots();
        // A home is so many hashes wide, with an error of less than two for each home, and one granule at its end.
        let width = u64::MAX / old_slots.max(1) as u64;
        let error = first_hash(1) + 2 * old_slots as u64;
        let reads_all = self.tags.shift() < old.tags.shift() && self.tags.is_uniform();
        for (slot, cell) in old.words().iter().enumerate() {
            if reads_all && let Some(ahead) = old.words().get(slot + READ_AHEAD) {
                prefetch_key(entry_address(ahead.load(Relaxed)));
            }
            let word = cell.load(Relaxed);
            if word == 0 {
                continue;
            }
            let distance = (word & DISTANCE_MASK) as usize;
            let its_home =
                if slot >= distance { slot - distance } else { slot + old_slots - distance } as u64;
            let first = its_home * width;
            let last = first.saturating_add(width).saturating_add(error);
            let (least, greatest) = old.tags.bounds(first, last, (word & LOW_MASK) >> DISTANCE_BITS);
            let place = self.place_of(least);
            let place = if place == self.place_of(greatest) {
                place
            } else {
                // SAFETY: a word that is not 0 points at a live entry; `resize` moves it, so nobody frees it meanwhile.
                self.place_of(rehash(unsafe { EntryRef::from_address(entry_address(word)) }.key()))
            };
            if self.put(place, word & !LOW_MASK).is_none() {
                return false;
            }
        }
        true
    }

    /// Whether words have yet to be tagged anew after the table grew.
    #[inline]
    pub fn needs_retag(&self) -> bool {
        !self.tags.is_uniform()
    }

    /// Where the tags of the table's size begin, for a prefetch hint.
    pub fn tag_shift(&self) -> u8 {
        self.tags.shift()
    }

    /// Tags the words of some homes anew, which needs their entries. `rehash` is the keyed hash of a key.
    pub fn retag(&mut self, rehash: impl Fn(&[u8]) -> u64) {
        let from = granule(self.tags.boundary());
        self.walk_homes(from, usize::MAX, RETAG_HOMES, &mut |position| {
            prefetch_key(self.address(position));
        });
        let next = self.walk_homes(from, usize::MAX, RETAG_HOMES, &mut |position| {
            let cell = &self.words()[position.0];
            let word = cell.load(Relaxed);
            let low = wanted(rehash(self.entry(position).key()), self.tags.shift());
            cell.store(word & !(LOW_MASK - DISTANCE_MASK) | low, Relaxed);
        });
        self.tags.retagged_below(next.map(first_hash));
    }

    /// Inserts an entry whose key is not in the table, which must not be full. Gives the entry back if the run in
    /// front of its home is too long; the caller then resizes and tries again.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: Entry) -> Result<Position, Entry> {
        let address = pack(entry, 0);
        // SAFETY: when `put` refuses the word, the ownership is still here.
        self.put(self.place_of(hash), address)
            .ok_or_else(|| unsafe { Entry::from_address(entry_address(address)) })
    }

    /// The home of `hash`, and the low bits of a word in it.
    #[inline]
    fn place_of(&self, hash: u64) -> (usize, u64) {
        (home(hash, self.slots()), self.tags.tag(hash) << DISTANCE_BITS)
    }

    #[inline]
    fn put(&mut self, (home, low): (usize, u64), address_bits: u64) -> Option<Position> {
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
        Some(Position(slot))
    }

    /// Removes the entry at `position`.
    #[inline]
    pub fn remove(&mut self, position: Position) -> Entry {
        let words = self.words();
        let mut hole = position.0;
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
        // SAFETY: the word owned its entry and is gone from the table.
        unsafe { Entry::from_address(entry_address(removed)) }
    }

    /// Visits the entries of one home after another in hash order, starting with the home that holds `granule`, until
    /// `visit` has seen at least `count` entries or `homes` homes were walked. Gives the granule to go on from, or `None`
    /// at the end. Every entry that is in the table during a whole sequence of such walks is seen at least once, also
    /// when the table is resized between them.
    pub fn walk(
        &self,
        granule: u64,
        count: usize,
        homes: usize,
        mut visit: impl FnMut(EntryRef<'_>),
    ) -> Option<u64> {
        self.walk_homes(granule, count, homes, &mut |position| visit(self.entry(position)))
    }

    /// [`Table::walk`] that only notes where the entries are.
    pub fn gather(&self, granule: u64, count: usize, homes: usize, found: &mut Vec<Position>) -> Option<u64> {
        self.walk_homes(granule, count, homes, &mut |position| found.push(position))
    }

    /// Shows every entry.
    pub fn each(&self, mut see: impl FnMut(EntryRef<'_>)) {
        for slot in 0..self.slots() {
            if self.words()[slot].load(Relaxed) != 0 {
                see(self.entry(Position(slot)));
            }
        }
    }

    /// The address of the entry at `position`, for prefetching.
    #[inline]
    pub fn address(&self, position: Position) -> usize {
        entry_address(self.words()[position.0].load(Relaxed))
    }

    fn walk_homes(
        &self,
        granule: u64,
        count: usize,
        homes: usize,
        visit: &mut impl FnMut(Position),
    ) -> Option<u64> {
        let words = self.words();
        if self.len == 0 {
            return None;
        }
        let mut seen = 0;
        let first = home(first_hash(granule), words.len());
        for (walked, home) in (first..words.len()).enumerate() {
            if seen >= count || walked >= homes {
                return Some(first_granule(home, words.len()));
            }
            let mut slot = home;
            for distance in 0..=DISTANCE_MASK {
                let word = words[slot].load(Relaxed);
                if word == 0 || (word & DISTANCE_MASK) < distance {
                    break;
                }
                if word & DISTANCE_MASK == distance {
                    visit(Position(slot));
                    seen += 1;
                }
                slot = next(slot, words.len());
            }
        }
        None
    }

    /// Up to `count` occupied positions, from a slot on (wrapping), looking at no more than `slots_max` slots.
    pub fn sample(
        &self,
        from: usize,
        count: usize,
        slots_max: usize,
    ) -> impl Iterator<Item = Position> + use<'_> {
        let words = self.words();
        let from = if words.is_empty() { 0 } else { from % words.len() };
        (0..words.len().min(slots_max))
            .map(move |step| (from + step) % words.len())
            .filter(move |slot| words[*slot].load(Relaxed) != 0)
            .take(count)
            .map(Position)
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for cell in self.words() {
            let word = cell.load(Relaxed);
            if word != 0 {
                // SAFETY: the table owned this entry and is going away. Prefetching readers never follow the address.
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

#[inline]
fn pack(entry: Entry, low: u64) -> u64 {
    let address = entry.into_address() as u64;
    debug_assert!(
        address.trailing_zeros() >= 4 && address < 1 << 47,
        "an x86-64 user address, aligned to 16"
    );
    address >> 4 << LOW_BITS | low
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

/// Asks the processor to bring the cache line at `address` closer; any address is allowed.
#[inline]
pub fn prefetch(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults and changes nothing but the cache.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(std::ptr::without_provenance::<i8>(address), _MM_HINT_T0);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// [`prefetch`] of a line that this thread is going to write: it comes without the copies that other processors have of it, which the
/// write would have to wait for. Processors without the instruction skip it.
#[inline]
pub fn prefetch_to_write(address: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as for `prefetch`.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn hash(key: &[u8]) -> u64 {
        let mut state = 0xcbf2_9ce4_8422_2325u64;
        for byte in key {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        state = (state ^ state >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^ state >> 29
    }

    fn put(table: &mut Table, key: &[u8], value: &[u8]) {
        if let Some(position) = table.find(hash(key), key) {
            return table.replace(position, |_| Entry::new(key, value));
        }
        if table.is_full() {
            table.resize(table.fitting_slots(), hash);
        }
        assert!(table.insert(hash(key), Entry::new(key, value)).is_ok());
    }

    #[test]
    fn it_agrees_with_a_plain_map_through_growth_and_shrinking() {
        let mut table = Table::default();
        let mut model = HashMap::new();
        let mut state = 7u64;
        for step in 0..60_000u32 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let growing = step < 30_000;
            let key = format!("key:{}", (state >> 40) % 4000).into_bytes();
            if (state >> 20) % 10 < if growing { 7 } else { 2 } {
                let value = step.to_string().into_bytes();
                put(&mut table, &key, &value);
                model.insert(key, value);
            } else if let Some(position) = table.find(hash(&key), &key) {
                assert_eq!(table.remove(position).view().value(), model.remove(&key).expect("in the model"));
                if table.is_sparse() {
                    table.resize(table.fitting_slots(), hash);
                }
            } else {
                assert!(!model.contains_key(&key));
            }
            assert_eq!(table.len(), model.len());
        }
        for (key, value) in &model {
            let position = table.find(hash(key), key).expect("every key of the model is found");
            assert_eq!(table.entry(position).value(), value);
            let prefix = (hash(key) >> 32) as u32;
            let found = table.find_by_prefix(prefix, |entry| entry.key() == key);
            assert_eq!(found, Some(position));
        }
    }

    #[test]
    fn a_walk_sees_every_key_that_stays_while_the_table_is_resized() {
        let mut table = Table::default();
        for i in 0..1000 {
            put(&mut table, format!("stay:{i}").as_bytes(), b"");
        }
        for sizes in [[3000, 1200], [1200, 9000], [5000, 5001]] {
            let mut seen = std::collections::HashSet::new();
            let (mut at, mut turn) = (0, 0);
            loop {
                let step = table.walk(at, 10, 100, |entry| {
                    seen.insert(entry.key().to_vec());
                });
                let Some(granule) = step else { break };
                assert!(granule > at, "a walk moves on");
                at = granule;
                turn += 1;
                table.resize(sizes[turn % 2], hash);
            }
            assert_eq!(seen.len(), 1000);
        }
    }

    #[test]
    fn a_resize_reads_few_entries_and_a_growing_table_a_few_at_a_time() {
        let reads = std::cell::Cell::new(0);
        let counted = |key: &[u8]| {
            reads.set(reads.get() + 1);
            hash(key)
        };
        let mut table = Table::default();
        let (mut most, mut retagged) = (0.0f64, 0);
        for number in 0..60_000 {
            let key = format!("key:{number}");
            if table.is_full() {
                reads.set(0);
                table.resize(table.fitting_slots(), counted);
                if table.slots() > 1000 {
                    most = most.max(f64::from(reads.get()) / table.len() as f64);
                }
            } else if table.needs_retag() {
                reads.set(0);
                table.retag(counted);
                assert!(reads.get() < 10 * RETAG_HOMES as u32, "{} at once", reads.get());
                retagged += reads.get();
            }
            assert!(table.insert(hash(key.as_bytes()), Entry::new(key.as_bytes(), b"")).is_ok());
        }
        assert!(most < 0.01, "one in {:.0} read", 1.0 / most);
        assert!(!table.needs_retag() && retagged > 5_000, "tagged anew");
        reads.set(0);
        while table.len() > 10 {
            let from = table.len() * 7919;
            let any = table.sample(from, 1, usize::MAX).next().expect("there are some left");
            table.remove(any);
            if table.is_sparse() {
                table.resize(table.fitting_slots(), counted);
                assert!(!table.needs_retag(), "a smaller table needs no bits that the words do not have");
            }
        }
        assert!(reads.get() < 400, "{} read on the way down", reads.get());
    }

    #[test]
    fn keys_are_found_at_every_stage_of_a_change_of_tags() {
        for (start, steps) in [
            (250, [400, 600, 900, 250]),
            (250, [400, 20_000, 40_000, 300]),
            (32_700, [33_000, 66_000, 40_000, 200]),
        ] {
            let mut table = Table::default();
            table.resize(start, hash);
            let keys: Vec<_> = (0..180).map(|number| format!("key:{number}").into_bytes()).collect();
            for key in &keys {
                assert!(table.insert(hash(key), Entry::new(key, key)).is_ok());
            }
            for slots in steps {
                table.resize(slots, hash);
                for turn in 0.. {
                    for key in &keys {
                        let position = table.find(hash(key), key).expect("no key is lost");
                        assert_eq!(table.entry(position).value(), key);
                    }
                    // Every other size is left before its tags are all new.
                    if !table.needs_retag() || (slots / 100 % 2 == 0 && turn == 2) {
                        break;
                    }
                    table.retag(hash);
                }
            }
        }
    }

    #[test]
    fn a_table_too_crowded_for_its_size_grows_and_keeps_its_entries() {
        // Two homes of a large table that are one in a small one.
        let both = [1u64 << 40, 1 << 60];
        let of = |key: &[u8]| both[usize::from(key[0] == b'b')];
        let mut table = Table::default();
        table.resize(2000, of);
        let keys: Vec<_> = (0..200).map(|number| format!("{}{number}", ["a", "b"][number % 2])).collect();
        for key in &keys {
            assert!(table.insert(of(key.as_bytes()), Entry::new(key.as_bytes(), b"")).is_ok());
        }
        table.resize(0, of);
        assert!(table.slots() > 256);
        for key in &keys {
            assert!(table.find(of(key.as_bytes()), key.as_bytes()).is_some());
        }
    }

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
        let mut table = Table::default();
        table.resize(1000, hash);
        for i in 0..128 {
            assert!(table.insert(0, Entry::new(format!("{i}").as_bytes(), b"")).is_ok());
        }
        let refused =
            table.insert(0, Entry::new(b"one too many", b"")).expect_err("the distance is 7 bits wide");
        assert_eq!(refused.view().key(), b"one too many");
        assert_eq!(table.len(), 128);
        for i in 0..128 {
            let key = format!("{i}");
            let position = table.find(0, key.as_bytes()).expect("all 128 are there");
            table.remove(position);
        }
        assert_eq!(table.len(), 0);
    }
}
