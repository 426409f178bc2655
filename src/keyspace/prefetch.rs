//! Looking ahead without locks: an event loop prefetches the table slots and entries of a whole batch before it runs it.
//!
//! A hint says where the word array of a shard and database is. It is read without the shard's lock, so the array that it
//! names may just have been replaced; a replaced array is therefore kept until every reader has passed a quiet point
//! (quiescent-state reclamation). Entries need no such care: only their address is used, and a prefetch never faults.
//!
//! What a hint says is in `hint.rs`. The array that it names is that of a segment, or a directory of further hints.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::hint;
use super::line::{LINE, prefetch};
use super::segment::{self, Probe};
use super::words::Words;

/// Slots behind the home that the second stage looks at; most keys are no further away.
const PROBES: usize = 7;
/// What an idle reader announces: it holds no word array.
const QUIET: u64 = u64::MAX;
/// Arrays that one more retired one frees, if it can: so the queue becomes shorter even if no reader ever passes by.
const FREED_BY_RETIRING: usize = 2;
/// Places that the queue keeps when it is empty.
const KEPT_PLACES: usize = 64;
/// Arrays that a reader frees at a quiet point: some hundred microseconds' work.
const FREED_WHEN_QUIET: usize = 1024;

/// Databases with hints; requests to others are served without looking ahead, so that databases that nobody uses cost nothing.
const DATABASES_MAX: usize = 16;

/// All hints, and the arrays that wait for release.
pub struct Prefetcher {
    /// By database, then shard.
    places: Box<[Place]>,
    shards: usize,
    epoch: AtomicU64,
    readers: Box<[Reader]>,
    /// In ascending order of the epochs that they were retired at.
    retired: Mutex<VecDeque<(u64, Words)>>,
    /// How many there are in `retired`, to be read without its lock.
    waiting: AtomicUsize,
    #[cfg(test)]
    looked_at: AtomicUsize,
}

/// What is known of a shard's part of a database.
#[derive(Default)]
struct Place {
    hint: AtomicU64,
    /// Where the partition is; 0 if there is none.
    partition: AtomicUsize,
}

/// What a reader announces: the epoch at which it entered, or [`QUIET`]. It is written twice in each sweep of an event loop, so readers
/// have cache lines of their own.
#[repr(align(128))]
struct Reader(AtomicU64);

/// A place to look at in the second stage: a home slot, how many slots to look at behind it, and what a word in it must say.
#[derive(Clone, Copy)]
pub struct Ahead {
    slot: NonNull<AtomicU64>,
    behind: u32,
    wanted: u32,
}

impl Prefetcher {
    /// `readers` is the number of event loops.
    pub fn new(databases: usize, shards: usize, readers: usize) -> Prefetcher {
        Prefetcher {
            places: (0..databases.min(DATABASES_MAX) * shards).map(|_| Place::default()).collect(),
            shards,
            epoch: AtomicU64::new(0),
            readers: (0..readers).map(|_| Reader(AtomicU64::new(QUIET))).collect(),
            retired: Mutex::default(),
            waiting: AtomicUsize::new(0),
            #[cfg(test)]
            looked_at: AtomicUsize::new(0),
        }
    }

    /// Says where a partition is, and the hint of its table; called under its shard's lock.
    pub fn publish(&self, database: usize, shard: usize, hint: u64, partition: usize) {
        if let Some(place) = self.places.get(database * self.shards + shard) {
            place.hint.store(hint, Ordering::SeqCst);
            place.partition.store(partition, Ordering::Relaxed);
        }
    }

    /// Whether readers look ahead in a database at all, so that its arrays must be retired.
    pub fn knows(&self, database: usize) -> bool {
        database * self.shards < self.places.len()
    }

    /// Takes note that a partition is gone; called under its shard's lock.
    pub fn withdraw(&self, database: usize, shard: usize) {
        self.publish(database, shard, 0, 0);
    }

    /// Brings a partition closer.
    #[inline]
    pub fn partition_ahead(&self, database: usize, shard: usize) {
        if let Some(place) = self.places.get(database * self.shards + shard) {
            prefetch(place.partition.load(Ordering::Relaxed));
        }
    }

    /// Keeps a replaced array until all readers have passed a quiet point.
    pub fn retire(&self, words: Words) {
        self.retire_all(std::iter::once(words));
    }

    /// [`Prefetcher::retire`] of many at once.
    pub fn retire_all(&self, arrays: impl IntoIterator<Item = Words>) {
        let mut retired = self.retired.lock();
        // Under the lock, because the queue is in order of epochs.
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst) + 1;
        retired.extend(arrays.into_iter().map(|words| (epoch, words)));
        self.waiting.store(retired.len(), Ordering::SeqCst);
        drop(retired);
        self.release(FREED_BY_RETIRING);
    }

    /// Frees arrays that no reader can hold any more, at most so many.
    fn release(&self, count_max: usize) {
        let oldest = self.readers.iter().map(|reader| reader.0.load(Ordering::SeqCst)).min().unwrap_or(QUIET);
        let mut retired = self.retired.lock();
        let may_go = |(epoch, _): &&(u64, Words)| {
            #[cfg(test)]
            self.looked_at.fetch_add(1, Ordering::Relaxed);
            *epoch <= oldest
        };
        let free = retired.iter().take(count_max).take_while(may_go).count();
        let freed: SmallVec<[(u64, Words); FREED_BY_RETIRING]> = retired.drain(..free).collect();
        self.waiting.store(retired.len(), Ordering::SeqCst);
        if retired.is_empty() {
            retired.shrink_to(KEPT_PLACES);
        }
        drop(retired);
        drop(freed);
    }

    /// A reader starts a batch: arrays that were retired before are no longer in its hands.
    ///
    /// The announcement comes before every hint of the batch is read, and [`Prefetcher::retire_all`] looks at the announcements after the
    /// hint has changed. Of two such pairs, a store and then a load elsewhere, at least one must see the other's store, so
    /// all four are sequentially consistent.
    pub fn enter(&self, reader: usize) {
        self.readers[reader].0.store(self.epoch.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// A reader holds nothing until it enters again. It frees what only waited for that.
    pub fn leave(&self, reader: usize) {
        self.readers[reader].0.store(QUIET, Ordering::SeqCst);
        // Another such pair: who retires stores this and then looks at the announcements.
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.release(FREED_WHEN_QUIET);
        }
    }

    /// Arrays that wait for a quiet point.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// First stage: brings the home slot of a key closer. The result is for [`Prefetcher::entry_ahead`] in the same
    /// batch, between one [`Prefetcher::enter`] and the next.
    #[inline]
    pub fn slot_ahead(&self, database: usize, shard: usize, hash: u64) -> Option<Ahead> {
        // Not before the announcement of `enter`.
        let hint = self.places.get(database * self.shards + shard)?.hint.load(Ordering::SeqCst);
        let (hint, hash) = if hint::is_directory(hint) { in_directory(hint, hash) } else { (hint, hash) };
        if hint == 0 {
            return None;
        }
        let slots = hint::slots(hint);
        let home = segment::home(hash, slots);
        let slot = NonNull::new(hint::address(hint).wrapping_add(home))?;
        prefetch(slot.addr().get());
        let behind = (slots - 1 - home).min(PROBES) as u32;
        Some(Ahead { slot, behind, wanted: segment::wanted(hash, hint::tag_shift(hint)) as u32 })
    }

    /// Second stage: brings the first `lines` cache lines of the key's entry closer, if its slot is near its home.
    #[inline]
    pub fn entry_ahead(&self, ahead: Ahead, lines: usize) {
        if let Some(address) = ahead.look() {
            for line in 0..lines {
                prefetch(address + line * LINE);
            }
        }
    }
}

impl Ahead {
    /// The address of the key's entry, if its slot is near its home.
    #[inline]
    fn look(self) -> Option<usize> {
        for distance in 0..=self.behind {
            // SAFETY: the array was named by a hint that was read after `enter`, so `retire` keeps it until this reader enters
            // again; the slot lies inside it; words are atomics, so reading one while its shard changes is no race.
            let word = unsafe { self.slot.add(distance as usize).as_ref().load(Ordering::Relaxed) };
            match segment::probe(word, u64::from(self.wanted + distance)) {
                Probe::Match(address) => return Some(address),
                Probe::Other => {}
                Probe::Absent => return None,
            }
        }
        None
    }
}

/// The hint of the segment that has `hash`, and the local hash in it. One in a directory that was replaced meanwhile may be outdated; its
/// array is kept as long as the directory.
#[inline(never)]
fn in_directory(directory: u64, hash: u64) -> (u64, u64) {
    let cell = hint::address(directory).wrapping_add(hint::index(directory, hash));
    // SAFETY: as in `entry_ahead`, for an array that has a hint for each beginning of a hash.
    let hint = unsafe { (*cell).load(Ordering::SeqCst) };
    (hint, segment::local_hash(hash, hint::depth(hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::entry::Entry;
    use crate::keyspace::hasher::KeyHasher;
    use crate::keyspace::table::{Replaced, Table};

    #[test]
    fn hints_lead_to_the_entries_of_a_table_of_any_size() {
        let (prefetcher, hasher) = (Prefetcher::new(1, 1, 1), KeyHasher::fixed(3));
        let mut table = Table::<255>::default();
        let key = |number: u32| format!("key:{number}").into_bytes();
        let mut next_check = 1;
        for number in 0..5000 {
            let (name, mut replaced) = (key(number), Replaced::new());
            let hash = hasher.hash(&name);
            if table.is_full() && table.make_room(hash, |key| hasher.hash(key), &mut replaced) {
                prefetcher.publish(0, 0, table.hint(), 0);
            }
            prefetcher.retire_all(replaced);
            table.insert(hash, Entry::new(&name, b""));
            if number < next_check {
                continue;
            }
            next_check = number * 3 / 2 + 1;
            prefetcher.enter(0);
            let mut near = 0;
            for number in 0..=number {
                let hash = hasher.hash(&key(number));
                let ahead = prefetcher.slot_ahead(0, 0, hash).expect("there is an array");
                if let Some(address) = ahead.look() {
                    // Two keys of one home and tag are told apart by their entries alone.
                    near += usize::from(
                        table.find(hash, &key(number)).map(|at| table.address(at)) == Some(address),
                    );
                }
            }
            prefetcher.leave(0);
            assert!(near * 10 >= (number as usize + 1) * 9, "{near} of {number}");
        }
    }

    #[test]
    fn what_was_retired_is_freed_at_the_last_quiet_point_without_another_resize() {
        let prefetcher = Prefetcher::new(1, 1, 2);
        prefetcher.enter(0);
        prefetcher.enter(1);
        prefetcher.retire_all((0..100).map(|_| Words::new(7)));
        prefetcher.leave(0);
        assert_eq!(prefetcher.waiting(), 100, "the other reader may hold them");
        prefetcher.enter(0);
        prefetcher.leave(1);
        assert_eq!(prefetcher.waiting(), 0, "the first has entered since");
    }

    #[test]
    fn arrays_leave_in_the_order_in_which_readers_let_go_of_them() {
        let prefetcher = Prefetcher::new(1, 1, 2);
        prefetcher.retire(Words::new(7));
        assert_eq!(prefetcher.waiting(), 0, "nobody reads");
        prefetcher.enter(0);
        prefetcher.retire(Words::new(7));
        prefetcher.enter(1);
        prefetcher.retire(Words::new(7));
        prefetcher.enter(0);
        prefetcher.retire(Words::new(7));
        assert_eq!(prefetcher.waiting(), 2, "the first is nobody's any more");
        prefetcher.leave(0);
        assert_eq!(prefetcher.waiting(), 2);
        prefetcher.leave(1);
        assert_eq!(prefetcher.waiting(), 0);
    }

    /// FLUSHALL retires an array for each shard and database, while its own event loop is in the middle of a batch.
    #[test]
    fn retiring_looks_at_few_arrays_however_many_wait() {
        let prefetcher = Prefetcher::new(1, 1, 1);
        prefetcher.enter(0);
        for _ in 0..1000 {
            prefetcher.retire(Words::new(7));
        }
        assert_eq!(prefetcher.waiting(), 1000);
        assert!(prefetcher.looked_at.load(Ordering::Relaxed) <= 1000 * FREED_BY_RETIRING);
        prefetcher.leave(0);
        assert_eq!(prefetcher.waiting(), 0);
    }
}
