//! Snapshots without fork: a cut, and a visitor that sees the keyspace as it was at the cut.
//!
//! [`Keyspace::cut`] begins a new epoch while all shards are locked, which takes microseconds. After that visitors walk the shards in
//! small bites; each entry with an old stamp is shown once and stamped. What was replaced or removed before a visitor came is in the
//! shard's captured queue ([`super::capture`]) and is shown from there. A bite ends when so much was shown, or when so many entries and databases
//! were passed, shown or not; a large entry is shown behind a bite, without the shard's lock.
//!
//! Growing tables do not disturb a walk, because it goes in hash order. SWAPDB starts the walk of the shard anew; entries that
//! were shown carry the stamp and are passed over.

use std::sync::atomic::Ordering;

use super::capture::{Captured, Reading};
use super::entry::{EPOCH_BITS, EntryRef};
use super::line::{self, LINE};
use super::partition::Partition;
use super::root::Root;
use super::table::Position;
use super::{Garbage, Keyspace, Kind, Locked, SHARDS, ShardSet, Site};

/// Entries that are prefetched together; with ten lines each they fit into half of a first-level cache.
const GROUP: usize = 32;
const GROUP_LINES: usize = 10;
/// Homes of a sparse table that one look goes over.
const GROUP_HOMES: usize = 512;
/// Entries that a walk passes under one lock, and groups and databases besides: some ten microseconds' work, if nothing is shown.
pub(super) const BITE_PASSED: usize = 512;

/// An entry as it was at the cut.
#[derive(Clone, Copy)]
pub struct AtCut<'a> {
    /// The number that its database had at the cut.
    pub database: usize,
    pub shard: usize,
    pub key: &'a [u8],
    /// A string, or a small collection; of no use if there is a root.
    pub value: &'a [u8],
    /// A large collection.
    pub root: Option<&'a Root>,
    pub kind: Kind,
    pub expire_at_ms: Option<i64>,
    /// 24 bits of access history, as they happen to be.
    pub access: u32,
}

impl<'a> AtCut<'a> {
    /// An entry that is as it was at the cut.
    #[inline]
    pub(super) fn of(database: usize, shard: usize, entry: EntryRef<'a>) -> AtCut<'a> {
        AtCut {
            database,
            shard,
            key: entry.key(),
            value: entry.value(),
            root: entry.root(),
            kind: entry.kind(),
            expire_at_ms: entry.expire_at_ms(),
            access: entry.access(),
        }
    }
}

/// How far the visit of one shard has come.
#[derive(Debug)]
pub struct ShardVisit {
    shard: usize,
    database: usize,
    granule: u64,
    /// The exchanges of databases that had happened when the walk of the shard began.
    swaps: u32,
    group: Vec<Position>,
}

impl ShardVisit {
    pub fn of(shard: usize) -> ShardVisit {
        ShardVisit { shard, database: 0, granule: 0, swaps: 0, group: Vec::new() }
    }

    /// Which shard it is.
    pub fn shard(&self) -> usize {
        self.shard
    }

    fn start_again(&mut self, swaps: u32) {
        self.database = 0;
        self.granule = 0;
        self.swaps = swaps;
    }
}

impl Keyspace {
    /// Begins a snapshot of what the keyspace holds at this moment. `at_cut` runs while all shards are locked and must be short. False
    /// if another snapshot is not finished yet.
    pub fn cut(&self, at_cut: impl FnOnce()) -> bool {
        let mut all = ShardSet::default();
        all.add_all();
        let _locks = Locked::many(self, all);
        if self.visiting.swap(true, Ordering::Relaxed) {
            return false;
        }
        let epoch = (self.epoch.load(Ordering::Relaxed) + 1) & ((1 << EPOCH_BITS) - 1);
        self.epoch.store(epoch, Ordering::Relaxed);
        if self.swapped.swap(false, Ordering::Relaxed) {
            for (database, at_cut) in self.databases_at_cut.iter().enumerate() {
                at_cut.store(database as u16, Ordering::Relaxed);
            }
        }
        at_cut();
        true
    }

    /// Does something while all shards are locked.
    pub fn while_locked(&self, act: impl FnOnce()) {
        let mut all = ShardSet::default();
        all.add_all();
        let _locks = Locked::many(self, all);
        act();
    }

    /// Whether a snapshot is under way.
    pub fn is_visited(&self) -> bool {
        self.visiting.load(Ordering::Relaxed)
    }

    /// Shows entries of one shard to `see`, until that says that the bite is large enough, or enough was passed; this happens under the shard's
    /// lock. A large entry ends the bite too, and is shown after it without the lock. Says whether the shard has more to show.
    pub fn visit(&self, visit: &mut ShardVisit, see: &mut impl FnMut(&AtCut<'_>) -> bool) -> bool {
        let (more, reading) = self.bite(visit, see);
        if let Some(reading) = reading {
            see(reading.at_cut());
        }
        more
    }

    fn bite(
        &self,
        visit: &mut ShardVisit,
        see: &mut impl FnMut(&AtCut<'_>) -> bool,
    ) -> (bool, Option<Reading<'_>>) {
        let mut shard = self.lock_shard(visit.shard);
        let swaps = self.swaps.load(Ordering::Relaxed);
        if visit.swaps != swaps {
            visit.start_again(swaps);
        }
        let epoch = self.epoch();
        let mut passed = 0;
        while let Some(used) = shard.used_from(visit.database) {
            if used != visit.database {
                (visit.database, visit.granule) = (used, 0);
            }
            let site = Site { keyspace: self, database: visit.database, shard: visit.shard, now_ms: 0 };
            let partition = shard.partition_mut(visit.database);
            let database = self.database_at_cut(visit.database);
            visit.group.clear();
            let next = partition.table().gather(visit.granule, GROUP, GROUP_HOMES, &mut visit.group);
            prefetch_group(partition, &visit.group);
            for position in &visit.group {
                let entry = partition.entry(*position);
                if entry.stamp() == epoch {
                    continue;
                }
                // The walk comes back to this group, and passes over those of it that were shown.
                if entry.is_large() {
                    return (true, Some(Reading::begin(site, entry)));
                }
                let enough = see(&AtCut::of(database, visit.shard, entry));
                partition.seen(site, *position);
                if enough {
                    return (true, None);
                }
            }
            passed += visit.group.len() + 1;
            match next {
                Some(granule) => visit.granule = granule,
                None => {
                    visit.database += 1;
                    visit.granule = 0;
                }
            }
            if passed >= BITE_PASSED {
                return (true, None);
            }
        }
        (false, None)
    }

    /// Shows what the captured queue of a shard holds, and frees it. The queue is taken under the shard's lock, so that what left the
    /// keyspace before a completed [`Keyspace::visit`] of the shard is in it; the showing needs no lock.
    pub fn visit_captured(&self, shard: usize, see: &mut impl FnMut(&AtCut<'_>) -> bool) {
        let captured = {
            let _lock = self.lock_shard(shard);
            self.captured_queue(shard).take()
        };
        self.show(shard, captured, self.epoch(), see);
    }

    /// Ends the snapshot: shows what is left in the captured queues of all shards. Every shard must have been visited to its end; from
    /// here on the next cut may come.
    pub fn finish_visit(&self, see: &mut impl FnMut(&AtCut<'_>) -> bool) {
        let mut all = ShardSet::default();
        all.add_all();
        let locks = Locked::many(self, all);
        let captured: Vec<Vec<Captured>> =
            (0..SHARDS).map(|shard| self.captured_queue(shard).take()).collect();
        let epoch = self.epoch();
        self.visiting.store(false, Ordering::Relaxed);
        drop(locks);
        for (shard, captured) in captured.into_iter().enumerate() {
            self.show(shard, captured, epoch, see);
        }
    }

    fn show(
        &self,
        shard: usize,
        captured: Vec<Captured>,
        epoch: u16,
        see: &mut impl FnMut(&AtCut<'_>) -> bool,
    ) {
        let queue = self.captured_queue(shard);
        let mut see_entry = |database, entry: EntryRef<'_>| {
            see(&AtCut { expire_at_ms: queue.deadline_at_cut(entry), ..AtCut::of(database, shard, entry) });
        };
        for captured in captured {
            match captured {
                Captured::Entry(database, entry) => {
                    see_entry(database, entry.view());
                    self.captured_bytes.released(entry.view());
                    self.reclaimer.free_entry(entry);
                }
                Captured::Partition(database, partition) => {
                    partition.table().each(|entry| {
                        if entry.stamp() != epoch {
                            see_entry(database, entry);
                        }
                    });
                    self.reclaimer.free(Garbage::Partitions(vec![partition]));
                }
            }
        }
    }

    /// Shows the keys of a shard whose deadlines the write log knows only roughly, with their exact deadlines; with `all`, those of which it is not known
    /// how well it knows them, too. The shard is locked for a bite at a time.
    pub fn each_coarse(&self, shard: usize, all: bool, mut see: impl FnMut(usize, &[u8], i64)) {
        let mut found = Vec::new();
        let databases: Vec<usize> = self.lock_shard(shard).used().map(|(database, _)| database).collect();
        for database in databases {
            let mut next = Some(0);
            while let Some(granule) = next {
                let held = self.lock_shard(shard);
                let partition = held.partition(database);
                found.clear();
                next = partition.table().gather(granule, GROUP, GROUP_HOMES, &mut found);
                for entry in found.iter().map(|position| partition.entry(*position)) {
                    if let Some(at_ms) = entry.expire_at_ms()
                        && (all || entry.logged_coarseness() > 0)
                    {
                        see(database, entry.key(), at_ms);
                    }
                }
            }
        }
    }

    /// Gives partitions up that were taken out while all shards were locked, and still are.
    pub fn discard(&self, removed: Vec<(Site<'_>, Box<Partition>)>) {
        if self.is_visited() {
            for (site, partition) in removed {
                super::capture::capture_partition(site, partition);
            }
        } else {
            let partitions = removed.into_iter().map(|(_, partition)| partition).collect();
            self.reclaimer.free(Garbage::Partitions(partitions));
        }
    }

    /// Empties all databases and frees what they held, on the calling thread; no snapshot may be under way.
    pub fn empty(&self, now_ms: i64) {
        debug_assert!(!self.is_visited(), "what a snapshot has yet to see would be missing in it");
        let mut all = ShardSet::default();
        all.add_all();
        let removed = Locked::many(self, all).take_databases(0..self.databases, now_ms);
        drop(removed);
    }

    /// Takes note that two databases were exchanged. Called while all shards are locked.
    pub fn note_swap(&self, first: usize, second: usize) {
        let (a, b) = (&self.databases_at_cut[first], &self.databases_at_cut[second]);
        let before = a.load(Ordering::Relaxed);
        a.store(b.load(Ordering::Relaxed), Ordering::Relaxed);
        b.store(before, Ordering::Relaxed);
        self.swaps.fetch_add(1, Ordering::Relaxed);
        self.swapped.store(true, Ordering::Relaxed);
    }
}

/// Brings a group of entries closer, so that their cache misses overlap.
fn prefetch_group(partition: &Partition, group: &[Position]) {
    for position in group {
        let address = partition.table().address(*position);
        for line in 0..GROUP_LINES {
            line::prefetch(address + line * LINE);
        }
    }
}
