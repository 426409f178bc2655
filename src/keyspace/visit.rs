//! Snapshots without fork: a cut, and a visitor that sees the keyspace as it was at the cut.
//!
//! [`Keyspace::cut`] begins a new epoch while all shards are locked, which takes microseconds. After that visitors walk the shards in
//! small bites; each entry with an old stamp is shown once and stamped. What was replaced or removed before a visitor came is in the
//! shard's captured queue ([`super::capture`]) and is shown from there. A bite ends when so much was shown, or when so many entries and databases
//! were passed, shown or not; a large entry is copied in several bites and shown behind the last, without the shard's lock.
//!
//! Growing tables do not disturb a walk, because it goes in hash order. SWAPDB starts the walk of the shard anew; entries that
//! were shown carry the stamp and are passed over.

use std::sync::atomic::Ordering;

use super::capture::{self, Captured};
use super::entry::{EPOCH_BITS, EntryRef};
use super::large::{self, Head, Large, LeafAtCut};
use super::line::{self, LINE};
use super::partition::Partition;
use super::parts::{self, Whole};
use super::table::Position;
use super::{Garbage, Keyspace, Kind, Locked, SHARDS, ShardSet, Site};

/// Entries that are prefetched together; with ten lines each they fit into half of a first-level cache.
const GROUP: usize = 32;
const GROUP_LINES: usize = 10;
/// Homes of a sparse table that one look goes over.
const GROUP_HOMES: usize = 512;
/// Bytes of leaves, or of a large entry, that are copied under one lock.
const COPIED_BITE_BYTES: usize = 64 << 10;
/// Entries that a walk passes under one lock, and groups and databases besides: some ten microseconds' work, if nothing is shown.
pub(super) const BITE_PASSED: usize = 512;

/// An entry as it was at the cut.
#[derive(Clone, Copy)]
pub struct AtCut<'a> {
    /// The number that its database had at the cut.
    pub database: usize,
    pub shard: usize,
    pub key: &'a [u8],
    /// A string, or a small collection; of no use if this is about a large one.
    pub value: &'a [u8],
    pub large: Large<'a>,
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
            large: entry.root().map_or(Large::No, Large::Whole),
            kind: entry.kind(),
            expire_at_ms: entry.expire_at_ms(),
            access: entry.access(),
        }
    }
}

impl<'a> AtCut<'a> {
    /// What a head says of its entry.
    pub(super) fn of_head(head: &'a Head) -> AtCut<'a> {
        AtCut {
            database: head.database,
            shard: head.shard,
            key: &head.key,
            value: &[],
            large: Large::Head(head),
            kind: head.kind,
            expire_at_ms: head.expire_at_ms,
            access: head.access,
        }
    }

    /// A leaf, whose head says everything else.
    pub(super) fn of_leaf(shard: usize, leaf: LeafAtCut<'a>) -> AtCut<'a> {
        AtCut {
            database: 0,
            shard,
            key: &[],
            value: &[],
            large: Large::Leaf(leaf),
            kind: leaf.kind,
            expire_at_ms: None,
            access: 0,
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
        self.era.fetch_add(1, Ordering::Relaxed);
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
    /// lock. A piece of a large entry ends the bite too; when it was the last one, the entry is shown without the lock. Says whether the shard has more to show.
    pub fn visit(&self, visit: &mut ShardVisit, see: &mut impl FnMut(&AtCut<'_>) -> bool) -> bool {
        let (more, whole) = self.bite(visit, see);
        if let Some(whole) = whole {
            see(&whole.at_cut());
        }
        more
    }

    fn bite(
        &self,
        visit: &mut ShardVisit,
        see: &mut impl FnMut(&AtCut<'_>) -> bool,
    ) -> (bool, Option<Whole>) {
        let mut shard = self.lock_shard(visit.shard);
        let swaps = self.swaps.load(Ordering::Relaxed);
        if visit.swaps != swaps {
            visit.start_again(swaps);
        }
        let (epoch, era) = (self.epoch(), self.era.load(Ordering::Relaxed));
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
                if let Some(root) = entry.root() {
                    let is_untouched = entry.stamp() != epoch;
                    if !is_untouched && !root.is_unseen(era) {
                        continue;
                    }
                    let whole = is_untouched && large::is_shown_whole(root);
                    let enough = match (whole, is_untouched) {
                        (true, _) => see(&AtCut::of(database, visit.shard, entry)),
                        (false, true) => {
                            // It may be long, so it is written without the lock.
                            capture::capture_head(site, entry);
                            false
                        }
                        (false, false) => false,
                    };
                    let kind = entry.kind();
                    let Some(root) = partition.seen_root(site, *position) else { continue };
                    if whole {
                        root.finish(era);
                    }
                    if enough || !whole && large::show_leaves((visit.shard, era), kind, root, see) {
                        return (true, None);
                    }
                    continue;
                }
                if entry.stamp() == epoch {
                    continue;
                }
                // The walk comes back to this group, and passes over those of it that were shown.
                if entry.is_large() {
                    let whole = parts::advance(site, entry, COPIED_BITE_BYTES);
                    if whole.is_some() {
                        partition.seen(site, *position);
                    }
                    return (true, whole);
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
        self.show(shard, captured, self.epoch_and_era(), see);
    }

    /// Ends the snapshot: shows what is left in the captured queues of all shards. Every shard must have been visited to its end; from
    /// here on the next cut may come.
    pub fn finish_visit(&self, see: &mut impl FnMut(&AtCut<'_>) -> bool) {
        let mut is_last = false;
        // A large collection that has moved is looked for before the end, and may have moved again meanwhile.
        while !is_last {
            let mut all = ShardSet::default();
            all.add_all();
            let locks = Locked::many(self, all);
            let captured: Vec<Vec<Captured>> =
                (0..SHARDS).map(|shard| self.captured_queue(shard).take()).collect();
            let has_moved = |captured: &Captured| matches!(captured, Captured::Moved { .. });
            is_last = !captured.iter().flatten().any(has_moved);
            self.visiting.store(!is_last, Ordering::Relaxed);
            let now = self.epoch_and_era();
            drop(locks);
            for (shard, captured) in captured.into_iter().enumerate() {
                self.show(shard, captured, now, see);
            }
        }
    }

    fn epoch_and_era(&self) -> (u16, u32) {
        (self.epoch(), self.era.load(Ordering::Relaxed))
    }

    /// Shows the leaves that are left of a large collection which has got another name or database. They are copied in bites under the lock of
    /// its shard, and shown without it.
    fn show_moved(&self, id: u64, key: &[u8], shard: usize, see: &mut impl FnMut(&AtCut<'_>) -> bool) {
        let hash = self.hasher.hash(key);
        let mut more = true;
        while more {
            let mut copies = Vec::new();
            let mut held = self.lock_shard(shard);
            let mut next = held.used_from(0);
            more = false;
            while let Some(database) = next {
                next = held.used_from(database + 1);
                let site = Site { keyspace: self, database, shard, now_ms: 0 };
                let partition = held.partition_mut(database);
                let Some(position) = partition.find(hash, key) else { continue };
                let kind = partition.entry(position).kind();
                let is_it = |root: &super::Root| root.id == id && root.is_unseen(site.era());
                if !partition.entry(position).root().is_some_and(is_it) {
                    continue;
                }
                let Some(root) = partition.seen_root(site, position) else { continue };
                let mut bytes = 0;
                more = large::show_leaves((shard, site.era()), kind, root, &mut |entry| {
                    if let Large::Leaf(leaf) = entry.large {
                        copies.push((leaf.kind, leaf.number, leaf.count, leaf.records.to_vec()));
                        bytes += leaf.records.len();
                    }
                    bytes >= COPIED_BITE_BYTES
                });
            }
            drop(held);
            for (kind, number, count, records) in copies {
                see(&AtCut::of_leaf(shard, LeafAtCut { id, kind, number, count, records: &records }));
            }
        }
    }

    fn show(
        &self,
        shard: usize,
        captured: Vec<Captured>,
        (epoch, era): (u16, u32),
        see: &mut impl FnMut(&AtCut<'_>) -> bool,
    ) {
        let now = (shard, epoch, era);
        for captured in captured {
            match captured {
                Captured::Entry(database, entry) => {
                    self.show_entry(database, now, entry.view(), see);
                    self.captured_bytes.released(entry.view());
                    self.reclaimer.free_entry(entry);
                }
                Captured::Head(head) => {
                    see(&AtCut::of_head(&head));
                    self.captured_bytes.subtract(head.owned_bytes());
                }
                Captured::Leaf { id, kind, number, leaf } => {
                    see(&AtCut::of_leaf(shard, LeafAtCut::of(id, kind, number, &leaf)));
                    self.captured_bytes.subtract(leaf.owned_bytes());
                }
                Captured::Moved { id, key, shard } => self.show_moved(id, &key, shard, see),
                Captured::Partition(database, partition) => {
                    partition.table().each(|entry| {
                        let is_unseen = |root: &super::Root| root.is_unseen(era);
                        if entry.stamp() != epoch || entry.root().is_some_and(is_unseen) {
                            self.show_entry(database, now, entry, see);
                        }
                    });
                    self.reclaimer.free(Garbage::Partitions(vec![partition]));
                }
            }
        }
    }

    /// Shows an entry that has left its table.
    fn show_entry(
        &self,
        database: usize,
        now: (usize, u16, u32),
        entry: EntryRef<'_>,
        see: &mut impl FnMut(&AtCut<'_>) -> bool,
    ) {
        let queue = self.captured_queue(now.0);
        if let Some(root) = entry.root() {
            large::show_rest(database, now, entry, root, see);
        } else if let Some(whole) = parts::completed(database, now.0, queue, &self.captured_bytes, entry) {
            see(&whole.at_cut());
        } else {
            let expire_at_ms = queue.deadline_at_cut(entry);
            see(&AtCut { expire_at_ms, ..AtCut::of(database, now.0, entry) });
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
