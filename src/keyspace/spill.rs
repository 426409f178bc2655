//! Entries that found no place in their segment: more than 128 of one home, or more than a segment may hold.
//!
//! With hashes as they should be this stays empty. Somebody who knew the key of the hash function could make keys that all have the same
//! hash; then they are here, in order of their hashes. Nothing is lost, and nobody else's keys become slower.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::entry::{Entry, EntryRef};
use super::segment::{entry_address, granule};

struct Spilled {
    hash: u64,
    /// As in a segment, but without tag and distance.
    word: AtomicU64,
}

/// See the module's text.
#[derive(Default)]
pub struct Spill {
    entries: Vec<Spilled>,
}

impl Spill {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The word of an entry.
    pub fn word(&self, index: usize) -> Option<&AtomicU64> {
        self.entries.get(index).map(|spilled| &spilled.word)
    }

    fn entry(&self, index: usize) -> EntryRef<'_> {
        // SAFETY: each word owns a live entry, and the spill is borrowed.
        unsafe { EntryRef::from_address(entry_address(self.entries[index].word.load(Relaxed))) }
    }

    pub fn find(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.find_between(hash, hash, |entry| entry.key() == key)
    }

    /// Finds an entry that `accept` takes among those with the hashes `first` to `last`.
    pub fn find_between(
        &self,
        first: u64,
        last: u64,
        accept: impl Fn(EntryRef<'_>) -> bool,
    ) -> Option<usize> {
        let from = self.entries.partition_point(|spilled| spilled.hash < first);
        let within = self.entries[from..].iter().take_while(|spilled| spilled.hash <= last).count();
        (from..from + within).find(|index| accept(self.entry(*index)))
    }

    /// Takes in the entry that the address bits of a word own, and gives its index.
    pub fn insert(&mut self, hash: u64, address_bits: u64) -> usize {
        let index = self.entries.partition_point(|spilled| spilled.hash < hash);
        self.entries.insert(index, Spilled { hash, word: AtomicU64::new(address_bits) });
        index
    }

    pub fn remove(&mut self, index: usize) -> Entry {
        let spilled = self.entries.remove(index);
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
        // SAFETY: the word owned the entry and is gone.
        unsafe { Entry::from_address(entry_address(spilled.word.load(Relaxed))) }
    }

    /// The entries whose granules are `from` to the one before `until`.
    pub fn between(&self, from: u64, until: u64) -> Range<usize> {
        let before = |limit: u64| self.entries.partition_point(|spilled| granule(spilled.hash) < limit);
        if self.entries.is_empty() { 0..0 } else { before(from)..before(until) }
    }
}

impl Drop for Spill {
    fn drop(&mut self) {
        while let Some(last) = self.entries.len().checked_sub(1) {
            drop(self.remove(last));
        }
    }
}
