//! The keyspace: databases split into shards, each shard behind its own lock.
//!
//! ```text
//! key -> slot = crc16(hash tag) mod 16,384 -> shard = slot / 16 -> Mutex<Shard>
//! Shard -> one Partition per database -> Table (words) -> Entry (one block: header, key, value)
//!                                     -> Wheel (records of 8 bytes)
//! ```
//! This module alone changes entries (invariant 5). It takes time as an argument and never logs or does I/O. A change is made
//! through [`Locked`], which holds the locks of the shards it may touch; [`Partition`] has the operations.

mod capture;
mod entry;
mod eviction;
mod expire;
mod hasher;
mod hint;
mod line;
mod locked;
mod partition;
mod prefetch;
mod reclaim;
mod segment;
mod spill;
mod split;
mod table;
mod tags;
mod time;
mod victims;
#[cfg(test)]
mod victims_tests;
mod visit;
#[cfg(test)]
mod visit_tests;
mod watch;
mod weights;
mod wheel;
mod words;

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

pub use capture::Removed;
pub use entry::{Entry, EntryNotes, EntryRef, LENGTH_MAX};
pub use eviction::{AccessRules, Policy, idle_seconds, lfu_counter};
pub use expire::{ExpiryTurn, expire_shard, sweep_shard};
pub use hasher::{HashFunction, KeyHasher};
pub use line::prefetch as prefetch_line;
pub use locked::{Locked, ShardSet};
pub use partition::Partition;
pub use prefetch::{Ahead, Prefetcher};
pub use reclaim::{Garbage, ReclaimWork, Reclaimer};
pub use segment::GRANULE_BITS;
pub use table::{Position, Table};
pub use victims::{EvictionRules, Victims};
pub use visit::{AtCut, ShardVisit};
pub use watch::{WatchTable, WatchedVersion};
pub use weights::ShardWeights;
pub use wheel::TICK_MS;

pub use crate::storage::Mark;

use self::capture::{CapturedBytes, CapturedQueue};
use self::time::WheelTime;
use crate::base::clock::Now;
use crate::base::crc::key_slot;
use crate::base::lock::{Mutex, MutexGuard};
use crate::base::waiting::NoWaiting;

/// Shards of the keyspace: 16 cluster slots each.
pub const SHARDS: usize = 1024;
const SLOTS_A_SHARD: usize = 16_384 / SHARDS;

/// What one lock guards: a shard's partitions, by database, and the keys in it that somebody watches.
pub struct Shard {
    partitions: Box<[Partition]>,
    pub watched: WatchTable,
}

impl Shard {
    #[inline]
    pub fn partition(&self, database: usize) -> &Partition {
        &self.partitions[database]
    }

    #[inline]
    pub fn partition_mut(&mut self, database: usize) -> &mut Partition {
        &mut self.partitions[database]
    }

    /// A partition together with the shard's watched keys.
    pub fn split(&mut self, database: usize) -> (&mut Partition, &mut WatchTable) {
        (&mut self.partitions[database], &mut self.watched)
    }

    /// Exchanges two databases' partitions (SWAPDB). The caller publishes both to the prefetcher.
    pub fn swap(&mut self, first: usize, second: usize) {
        self.partitions.swap(first, second);
    }
}

/// Holds a shard until it is dropped. Its thread does not wait for anything meanwhile.
pub struct ShardGuard<'k> {
    shard: MutexGuard<'k, Shard>,
    _no_waiting: NoWaiting,
}

impl std::ops::Deref for ShardGuard<'_> {
    type Target = Shard;

    #[inline]
    fn deref(&self) -> &Shard {
        &self.shard
    }
}

impl std::ops::DerefMut for ShardGuard<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Shard {
        &mut self.shard
    }
}

/// A lock on cache lines of its own, so that neighbours do not disturb each other.
#[repr(align(128))]
struct Cell {
    shard: Mutex<Shard>,
    captured: CapturedQueue,
}

/// All databases.
pub struct Keyspace {
    cells: Box<[Cell]>,
    prefetcher: Prefetcher,
    /// Where each shard's partitions lie, for prefetching without the lock; they never move.
    partition_addresses: Box<[usize]>,
    hasher: KeyHasher,
    reclaimer: Reclaimer,
    databases: usize,
    time: WheelTime,
    /// For each shard, a tick before which none of its wheels has anything to do. Written under the shard's lock; read
    /// without it, so that a round of expiry touches only shards where something is due.
    next_due: Box<[AtomicU64]>,
    /// Advanced by each cut; what is written under all shards' locks is read under any one of them. So are the next three.
    epoch: AtomicU16,
    /// A cut was made and its snapshot is not finished.
    visiting: AtomicBool,
    /// For each database, the number that it had at the last cut.
    databases_at_cut: Box<[AtomicU16]>,
    /// Exchanges of databases (SWAPDB) so far.
    swaps: AtomicU32,
    captured_bytes: CapturedBytes,
}

/// A key with what is computed from it once: the shard that holds it and its keyed hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
    pub shard: usize,
}

/// Where and when an operation happens: the partition's coordinates, and the time of the batch.
#[derive(Clone, Copy)]
pub struct Site<'k> {
    pub keyspace: &'k Keyspace,
    pub database: usize,
    pub shard: usize,
    pub now_ms: i64,
}

impl Site<'_> {
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        self.keyspace.hasher.hash(key)
    }

    /// The epoch that entries made now belong to.
    #[inline]
    fn epoch(&self) -> u16 {
        self.keyspace.epoch()
    }

    /// The last tick that has been reached at the site's time.
    #[inline]
    fn tick_reached(&self) -> u64 {
        self.keyspace.time.tick_reached(self.now_ms)
    }

    /// The tick at which to look at an entry with this deadline.
    #[inline]
    fn tick_of_deadline(&self, at_ms: i64) -> u64 {
        self.keyspace.time.tick_of_deadline(at_ms, self.now_ms)
    }
}

impl Keyspace {
    /// `readers` is the number of event loops that prefetch; `now_ms` is the time of creation.
    pub fn new(
        databases: usize,
        readers: usize,
        hasher: KeyHasher,
        reclaimer: Reclaimer,
        now_ms: i64,
    ) -> Keyspace {
        let shard = || Shard {
            partitions: (0..databases).map(|_| Partition::default()).collect(),
            watched: WatchTable::default(),
        };
        let cells: Box<[Cell]> = (0..SHARDS)
            .map(|_| Cell { shard: Mutex::new(shard()), captured: CapturedQueue::default() })
            .collect();
        Keyspace {
            partition_addresses: cells
                .iter()
                .map(|cell| cell.shard.lock().partitions.as_ptr().addr())
                .collect(),
            cells,
            prefetcher: Prefetcher::new(databases, SHARDS, readers),
            hasher,
            reclaimer,
            databases,
            time: WheelTime::new(now_ms),
            next_due: (0..SHARDS).map(|_| AtomicU64::new(u64::MAX)).collect(),
            epoch: AtomicU16::new(0),
            visiting: AtomicBool::new(false),
            databases_at_cut: (0..databases).map(|database| AtomicU16::new(database as u16)).collect(),
            swaps: AtomicU32::new(0),
            captured_bytes: CapturedBytes::default(),
        }
    }

    /// Lets the time of the wheels follow the clocks; called wherever they are read.
    #[inline]
    pub fn follow(&self, now: Now) {
        self.time.follow(now);
    }

    /// Whether a wheel of the shard may have something to do at `now_ms`.
    #[inline]
    pub fn has_due(&self, shard: usize, now_ms: i64) -> bool {
        self.next_due[shard].load(Ordering::Relaxed) <= self.time.tick_reached(now_ms)
    }

    /// Notes that a wheel of the shard has something to do at `tick`; called under the shard's lock.
    #[inline]
    fn note_due(&self, shard: usize, tick: u64) {
        let next = &self.next_due[shard];
        if tick < next.load(Ordering::Relaxed) {
            next.store(tick, Ordering::Relaxed);
        }
    }

    /// Forgets what is due in a shard, before its wheels say it anew; called under the shard's lock.
    fn clear_due(&self, shard: usize) {
        self.next_due[shard].store(u64::MAX, Ordering::Relaxed);
    }

    #[inline]
    fn epoch(&self) -> u16 {
        self.epoch.load(Ordering::Relaxed)
    }

    fn captured_queue(&self, shard: usize) -> &CapturedQueue {
        &self.cells[shard].captured
    }

    fn database_at_cut(&self, database: usize) -> usize {
        usize::from(self.databases_at_cut[database].load(Ordering::Relaxed))
    }

    /// Bytes of entries that left the keyspace, but that a snapshot has yet to see.
    pub fn captured_bytes(&self) -> usize {
        self.captured_bytes.waiting()
    }

    pub fn databases(&self) -> usize {
        self.databases
    }

    pub fn prefetcher(&self) -> &Prefetcher {
        &self.prefetcher
    }

    pub fn reclaimer(&self) -> &Reclaimer {
        &self.reclaimer
    }

    /// Hashes a key and finds its shard.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.hasher.hash(bytes), shard: usize::from(key_slot(bytes)) / SLOTS_A_SHARD }
    }

    /// Locks one shard.
    #[inline]
    pub fn lock_shard(&self, shard: usize) -> ShardGuard<'_> {
        ShardGuard { shard: self.cells[shard].shard.lock(), _no_waiting: NoWaiting::begin() }
    }

    /// Brings a shard's lock and one of its partitions closer.
    #[inline]
    pub fn prefetch_shard(&self, database: usize, shard: usize) {
        // The lock is written, and was perhaps last written by another loop.
        line::prefetch_to_write(std::ptr::from_ref(&self.cells[shard]).addr());
        line::prefetch(self.partition_addresses[shard] + database * size_of::<Partition>());
    }

    /// Keys and volatile keys of a database, counted shard by shard.
    pub fn count(&self, database: usize) -> (usize, usize) {
        (0..SHARDS).fold((0, 0), |(keys, volatile), shard| {
            let shard = self.lock_shard(shard);
            let partition = shard.partition(database);
            (keys + partition.len(), volatile + partition.volatile())
        })
    }
}
