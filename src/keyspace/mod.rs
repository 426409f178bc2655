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
mod chain;
pub mod collection;
mod cursor;
mod entry;
mod eviction;
mod expire;
mod hasher;
mod hint;
pub mod large;
#[cfg(test)]
mod large_tests;
mod line;
mod locked;
mod partition;
mod parts;
mod prefetch;
mod reclaim;
mod root;
mod segment;
mod shard;
mod spill;
mod split;
mod table;
mod tags;
mod time;
pub mod values;
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

use std::cell;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

pub use capture::Removed;
pub use entry::{Entry, EntryNotes, EntryRef, LENGTH_MAX};
pub use eviction::{AccessRules, Policy, idle_seconds, lfu_counter};
pub use expire::{Expired, Expiry, ExpiryTurn, expire_shard, sweep_shard};
pub use hasher::{HashFunction, KeyHasher};
pub use line::prefetch as prefetch_line;
pub use locked::{Locked, ShardSet, Wanted};
pub use partition::Partition;
pub use prefetch::{Ahead, Prefetcher};
pub use reclaim::{Garbage, ReclaimWork, Reclaimer};
pub use root::{Body, LEAF_BYTES, Root, ValueLimits};
pub use shard::Shard;
pub use table::{Position, Table};
pub use victims::{EvictionRules, Victims};
pub use visit::{AtCut, ShardVisit};
pub use watch::{WatchTable, WatchedVersion};
pub use weights::ShardWeights;
pub use wheel::TICK_MS;

pub use crate::storage::Kind;

use self::capture::{CapturedBytes, CapturedQueue};
use self::locked::Widening;
use self::time::WheelTime;
use crate::base::clock::Now;
use crate::base::crc::key_slot;
use crate::base::lock::{Mutex, MutexGuard};
use crate::base::waiting::NoWaiting;

/// Shards of the keyspace: 16 cluster slots each.
pub const SHARDS: usize = 1024;
/// Attempts for a shard that somebody else holds, where another one will do.
const ATTEMPTS_SOON: u32 = 10;
const SLOTS_A_SHARD: usize = 16_384 / SHARDS;

/// Holds a shard until it is dropped. Its thread does not wait for anything meanwhile.
pub struct ShardGuard<'k> {
    shard: MutexGuard<'k, Shard>,
    _no_waiting: NoWaiting,
}

impl<'k> ShardGuard<'k> {
    #[inline]
    fn new(shard: MutexGuard<'k, Shard>) -> ShardGuard<'k> {
        #[cfg(test)]
        LOCKED.set(LOCKED.get() + 1);
        ShardGuard { shard, _no_waiting: NoWaiting::begin() }
    }
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

#[cfg(test)]
thread_local! {
    /// How often this thread has locked a shard.
    pub static LOCKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// A lock on cache lines of its own, so that neighbours do not disturb each other.
#[derive(Default)]
#[repr(align(128))]
struct Cell {
    shard: Mutex<Shard>,
    captured: CapturedQueue,
}

/// All databases.
pub struct Keyspace {
    cells: Box<[Cell]>,
    prefetcher: Prefetcher,
    hasher: KeyHasher,
    reclaimer: Reclaimer,
    databases: usize,
    time: WheelTime,
    /// For each shard, a tick before which none of its wheels has anything to do. Written under the shard's lock; read
    /// without it, so that a round of expiry touches only shards where something is due.
    next_due: Box<[AtomicU64]>,
    /// Advanced by each cut; what is written under all shards' locks is read under any one of them. So are the next three.
    epoch: AtomicU16,
    /// Advanced together with the epoch, but never the same again: the stamp of leaves.
    era: AtomicU32,
    /// A cut was made and its snapshot is not finished.
    visiting: AtomicBool,
    /// For each database, the number that it had at the last cut.
    databases_at_cut: Box<[AtomicU16]>,
    /// Exchanges of databases (SWAPDB) so far, and whether there was one since the last cut.
    swaps: AtomicU32,
    swapped: AtomicBool,
    captured_bytes: CapturedBytes,
    widening: Widening,
    limits: ValueLimits,
    /// Of DEBUG QUICKLIST-PACKED-THRESHOLD: the largest leaf for what changes from now on, 0 for that of `limits`.
    other_leaf_bytes: AtomicUsize,
}

/// A key with what is computed from it once: the shard that holds it and its keyed hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
    pub shard: usize,
}

/// The database of a site whose partition is in no keyspace: snapshots and readers ahead know nothing of it.
const NO_DATABASE: usize = 1 << 20;

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

    /// The era that leaves changed now belong to.
    #[inline]
    fn era(&self) -> u32 {
        self.keyspace.era.load(Ordering::Relaxed)
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
        Keyspace {
            cells: (0..SHARDS).map(|_| Cell::default()).collect(),
            prefetcher: Prefetcher::new(databases, SHARDS, readers),
            hasher,
            reclaimer,
            databases,
            time: WheelTime::new(now_ms),
            next_due: (0..SHARDS).map(|_| AtomicU64::new(u64::MAX)).collect(),
            epoch: AtomicU16::new(0),
            era: AtomicU32::new(0),
            visiting: AtomicBool::new(false),
            databases_at_cut: (0..databases).map(|database| AtomicU16::new(database as u16)).collect(),
            swaps: AtomicU32::new(0),
            swapped: AtomicBool::new(false),
            captured_bytes: CapturedBytes::default(),
            widening: Widening::default(),
            limits: ValueLimits::default(),
            other_leaf_bytes: AtomicUsize::new(0),
        }
    }

    /// The same keyspace, with other limits of its collections. It must be empty.
    pub fn with_limits(self, limits: ValueLimits) -> Keyspace {
        Keyspace { limits, ..self }
    }

    /// The limits of collections.
    pub fn limits(&self) -> ValueLimits {
        match self.other_leaf_bytes.load(Ordering::Relaxed) {
            0 => self.limits,
            bytes => ValueLimits::of_leaves(bytes),
        }
    }

    /// Lets collections that are made or become large from now on have leaves of at most so many bytes, without regard to the
    /// configuration; 0 restores what it says.
    pub fn set_leaf_bytes(&self, bytes: usize) {
        let bytes = if bytes == 0 { 0 } else { bytes.clamp(*LEAF_BYTES.start(), *LEAF_BYTES.end()) };
        self.other_leaf_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What keys, fields and members are hashed with.
    pub fn hasher(&self) -> &KeyHasher {
        &self.hasher
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

    /// The keyed hash of a key and its cluster slot.
    #[inline]
    pub fn locate(&self, key: &[u8]) -> (u64, u16) {
        (self.hasher.hash(key), key_slot(key))
    }

    #[inline]
    pub fn shard_of_slot(slot: u16) -> usize {
        usize::from(slot) / SLOTS_A_SHARD
    }

    /// Hashes a key and finds its shard.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        let (hash, slot) = self.locate(bytes);
        Key { bytes, hash, shard: Keyspace::shard_of_slot(slot) }
    }

    /// The cursor with which SCAN goes on from a place in a shard's tables.
    pub fn cursor_of(&self, shard: usize, granule: u64) -> u64 {
        cursor::cursor_of(&self.hasher, shard, granule)
    }

    /// The shard and the place that a cursor goes on from.
    pub fn place_of(&self, cursor: u64) -> (usize, u64) {
        cursor::place_of(&self.hasher, cursor)
    }

    /// Locks one shard.
    #[inline]
    pub fn lock_shard(&self, shard: usize) -> ShardGuard<'_> {
        ShardGuard::new(self.cells[shard].shard.lock())
    }

    /// Locks one shard if nobody holds it.
    fn try_lock_shard(&self, shard: usize) -> Option<ShardGuard<'_>> {
        self.cells[shard].shard.try_lock().map(ShardGuard::new)
    }

    /// Locks one shard, unless `give_up` ends the waiting.
    fn lock_shard_unless(&self, shard: usize, give_up: impl Fn() -> bool) -> Option<ShardGuard<'_>> {
        self.cells[shard].shard.lock_unless(give_up).map(ShardGuard::new)
    }

    /// Locks one shard, unless somebody holds it for long: for work that nobody waits for, or that another shard will do for as well.
    fn lock_shard_soon(&self, shard: usize) -> Option<ShardGuard<'_>> {
        let attempts = cell::Cell::new(1);
        self.lock_shard_unless(shard, || attempts.replace(attempts.get() + 1) >= ATTEMPTS_SOON)
    }

    /// Lets those have a shard who wait for it, before the caller takes it again.
    pub fn let_others(&self, shard: usize) {
        self.cells[shard].shard.let_others();
    }

    /// Brings a shard's lock and one of its partitions closer.
    #[inline]
    pub fn prefetch_shard(&self, database: usize, shard: usize) {
        // The lock is written, and was perhaps last written by another loop.
        line::prefetch_to_write(std::ptr::from_ref(&self.cells[shard]).addr());
        self.prefetcher.partition_ahead(database, shard);
    }

    /// Keys of all databases, counted shard by shard.
    pub fn keys(&self) -> usize {
        let of_shard =
            |shard| self.lock_shard(shard).used().map(|(_, partition)| partition.len()).sum::<usize>();
        (0..SHARDS).map(of_shard).sum()
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
