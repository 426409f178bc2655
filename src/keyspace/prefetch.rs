//! Looking ahead without locks: an event loop prefetches the table slots and entries of a whole batch before it runs it.
//!
//! A hint says where the word array of a shard and database is. It is read without the shard's lock, so the array that it
//! names may just have been replaced; a replaced array is therefore kept until every reader has passed a quiet point
//! (quiescent-state reclamation). Entries need no such care: only their address is used, and a prefetch never faults.
//!
//! ```text
//! hint   63........56 51...................8 7....................0     0 = no array yet
//!        tag shift    array address / 8      table::encode_slots
//! ```
//! The shift is that of the array's size. Words of a table that grew and are not yet tagged anew do not match it; their entries are not
//! prefetched until then.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::table::{self, LINE, Probe, Table};
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

/// All hints, indexed by database, then shard, and the arrays that wait for release.
pub struct Prefetcher {
    hints: Box<[AtomicU64]>,
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
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Box<[AtomicU64]>>();
        Prefetcher {
            hints: zeros(databases * shards),
            shards,
            epoch: AtomicU64::new(0),
            readers: (0..readers).map(|_| Reader(AtomicU64::new(QUIET))).collect(),
            retired: Mutex::default(),
            waiting: AtomicUsize::new(0),
            #[cfg(test)]
            looked_at: AtomicUsize::new(0),
        }
    }

    /// Names the present word array of a table; called under its shard's lock.
    pub fn publish(&self, database: usize, shard: usize, table: &Table) {
        let hint = table.shared_words().map_or(0, |words| {
            u64::from(table.tag_shift()) << 56
                | (words.as_ptr().expose_provenance() as u64) >> 3 << 8
                | table::encode_slots(words.len())
        });
        self.hints[database * self.shards + shard].store(hint, Ordering::SeqCst);
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
        self.waiting.store(retired.len(), Ordering::Relaxed);
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
        self.waiting.store(retired.len(), Ordering::Relaxed);
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
        if self.waiting.load(Ordering::Relaxed) > 0 {
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
        let hint = self.hints[database * self.shards + shard].load(Ordering::SeqCst);
        if hint == 0 {
            return None;
        }
        let slots = table::decode_slots(hint & 0xff);
        let start = std::ptr::with_exposed_provenance_mut::<AtomicU64>((hint << 8 >> 16 << 3) as usize);
        let home = table::home(hash, slots);
        let slot = NonNull::new(start.wrapping_add(home))?;
        table::prefetch(slot.addr().get());
        let behind = (slots - 1 - home).min(PROBES) as u32;
        Some(Ahead { slot, behind, wanted: table::wanted(hash, (hint >> 56) as u8) as u32 })
    }

    /// Second stage: brings the first `lines` cache lines of the key's entry closer, if its slot is near its home.
    #[inline]
    pub fn entry_ahead(&self, ahead: Ahead, lines: usize) {
        for distance in 0..=ahead.behind {
            // SAFETY: the array was named by a hint that was read after `enter`, so `retire` keeps it until this reader enters
            // again; the slot lies inside it; words are atomics, so reading one while its shard changes is no race.
            let word = unsafe { ahead.slot.add(distance as usize).as_ref().load(Ordering::Relaxed) };
            match table::probe(word, u64::from(ahead.wanted + distance)) {
                Probe::Match(address) => {
                    for line in 0..lines {
                        table::prefetch(address + line * LINE);
                    }
                    return;
                }
                Probe::Other => {}
                Probe::Absent => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
