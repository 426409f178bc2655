//! Snapshots without fork: a cut, and a visitor that sees the keyspace as it was at the cut.
//!
//! [`Keyspace::cut`] begins a new epoch while all shards are locked, which takes microseconds. After that visitors walk the shards in
//! small bites; each entry with an old stamp is shown once and stamped. What was replaced or removed before a visitor came is in the
//! shard's captured queue ([`super::capture`]) and is shown from there.
//!
//! Growing tables do not disturb a walk, because it goes in hash order. SWAPDB starts the walk of the shard anew; entries that
//! were shown carry the stamp and are passed over.

use std::sync::atomic::Ordering;

use super::capture::Captured;
use super::entry::{EPOCH_BITS, EntryRef};
use super::line::{self, LINE};
use super::partition::Partition;
use super::table::Position;
use super::{Garbage, Keyspace, Locked, SHARDS, ShardSet, Site};

/// Entries that are prefetched together; with ten lines each they fit into half of a first-level cache.
const GROUP: usize = 32;
const GROUP_LINES: usize = 10;
/// Homes of a sparse table that one look goes over.
const GROUP_HOMES: usize = 512;

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
        for (database, at_cut) in self.databases_at_cut.iter().enumerate() {
            at_cut.store(database as u16, Ordering::Relaxed);
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

    /// Shows entries of one shard to `see`, with the number that their database had at the cut, until `is_enough` says that the bite is
    /// large enough; both run under the shard's lock. Says whether the shard has more to show.
    pub fn visit(&self, visit: &mut ShardVisit, see: &mut impl FnMut(usize, EntryRef<'_>) -> bool) -> bool {
        let mut shard = self.lock_shard(visit.shard);
        let swaps = self.swaps.load(Ordering::Relaxed);
        if visit.swaps != swaps {
            visit.start_again(swaps);
        }
        let epoch = self.epoch();
        while visit.database < self.databases {
            let site = Site { keyspace: self, database: visit.database, shard: visit.shard, now_ms: 0 };
            let partition = shard.partition_mut(visit.database);
            let database = self.database_at_cut(visit.database);
            visit.group.clear();
            let next = partition.table().gather(visit.granule, GROUP, GROUP_HOMES, &mut visit.group);
            prefetch_group(partition, &visit.group);
            let mut enough = false;
            for position in &visit.group {
                let entry = partition.entry(*position);
                if entry.stamp() != epoch {
                    enough |= see(database, entry);
                    partition.seen(site, *position);
                }
            }
            match next {
                Some(granule) => visit.granule = granule,
                None => {
                    visit.database += 1;
                    visit.granule = 0;
                }
            }
            if enough {
                return true;
            }
        }
        false
    }

    /// Shows what the captured queue of a shard holds, and frees it. The queue is taken under the shard's lock, so that what left the
    /// keyspace before a completed [`Keyspace::visit`] of the shard is in it; the showing needs no lock.
    pub fn visit_captured(&self, shard: usize, see: &mut impl FnMut(usize, EntryRef<'_>) -> bool) {
        let captured = {
            let _lock = self.lock_shard(shard);
            self.captured_queue(shard).take()
        };
        self.show(captured, self.epoch(), see);
    }

    /// Ends the snapshot: shows what is left in the captured queues of all shards. Every shard must have been visited to its end; from
    /// here on the next cut may come.
    pub fn finish_visit(&self, see: &mut impl FnMut(usize, EntryRef<'_>) -> bool) {
        let mut all = ShardSet::default();
        all.add_all();
        let locks = Locked::many(self, all);
        let captured: Vec<Captured> =
            (0..SHARDS).flat_map(|shard| self.captured_queue(shard).take()).collect();
        let epoch = self.epoch();
        self.visiting.store(false, Ordering::Relaxed);
        drop(locks);
        self.show(captured, epoch, see);
    }

    fn show(&self, captured: Vec<Captured>, epoch: u16, see: &mut impl FnMut(usize, EntryRef<'_>) -> bool) {
        for captured in captured {
            match captured {
                Captured::Entry(database, entry) => {
                    see(database, entry.view());
                    self.captured_bytes.released(entry.view());
                    self.reclaimer.free_entry(entry);
                }
                Captured::Partition(database, partition) => {
                    partition.table().each(|entry| {
                        if entry.stamp() != epoch {
                            see(database, entry);
                        }
                    });
                    self.reclaimer.free(Garbage::Partitions(vec![partition]));
                }
            }
        }
    }

    /// Shows the keys of a shard whose deadlines the write log knows only roughly, with their exact deadlines.
    pub fn each_coarse(&self, shard: usize, mut see: impl FnMut(usize, &[u8], i64)) {
        let shard = self.lock_shard(shard);
        for database in 0..self.databases {
            shard.partition(database).table().each(|entry| {
                if let (Some(at_ms), 1..) = (entry.expire_at_ms(), entry.logged_coarseness()) {
                    see(database, entry.key(), at_ms);
                }
            });
        }
    }

    /// Gives partitions up that were taken out while all shards were locked, and still are.
    pub fn discard(&self, removed: Vec<(Site<'_>, Partition)>) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::{Entry, KeyHasher, Reclaimer};
    use crate::storage::Mark;

    const NOW_MS: i64 = 1_790_000_000_000;
    const DATABASES: usize = 3;

    /// What each database holds.
    type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

    struct World {
        keyspace: Keyspace,
        contents: Contents,
        random: Random,
        /// A common hash tag puts many keys into few shards, so that tables grow and share homes.
        tags: u64,
        keys: u64,
    }

    impl World {
        fn new(seed: u64) -> World {
            let reclaimer = Reclaimer::inline();
            let keyspace = Keyspace::new(DATABASES, 1, KeyHasher::fixed(seed), reclaimer, NOW_MS);
            World { keyspace, contents: Contents::new(), random: Random::new(seed), tags: 5, keys: 400 }
        }

        fn with_key(
            &mut self,
            database: usize,
            number: u64,
            change: impl FnOnce(&mut Partition, Site<'_>, u64, Option<Position>, &[u8], &mut Contents),
        ) {
            let name = format!("{{{}}}:{number}", number % self.tags).into_bytes();
            let key = self.keyspace.key(&name);
            let site = Site { keyspace: &self.keyspace, database, shard: key.shard, now_ms: NOW_MS };
            let mut shard = self.keyspace.lock_shard(key.shard);
            let partition = shard.partition_mut(database);
            let found = partition.find(key.hash, key.bytes);
            change(partition, site, key.hash, found, &name, &mut self.contents);
        }

        /// One random change, noted in `contents`.
        fn change(&mut self) {
            let (database, number) =
                (self.random.below(DATABASES as u64) as usize, self.random.below(self.keys));
            let value = vec![self.random.below(256) as u8; self.random.below(300) as usize];
            match self.random.below(1000) {
                0..500 => self.with_key(database, number, |partition, site, hash, found, name, contents| {
                    if let Some(position) = found {
                        partition.set_value(site, position, &value, Mark::None);
                    } else {
                        partition.insert(site, hash, Entry::new(name, &value));
                    }
                    let at_ms = found.and_then(|position| partition.entry(position).expire_at_ms());
                    contents.insert((database, name.to_vec()), (value, at_ms));
                }),
                500..700 => self.with_key(database, number, |partition, site, _, found, name, contents| {
                    let Some(position) = found else { return };
                    let length = partition.entry(position).value().len() + 3;
                    partition.edit_value(site, position, length, Mark::Raw, |value| {
                        value[length - 3..].copy_from_slice(b"abc");
                    });
                    let entry = partition.entry(position);
                    let after = (entry.value().to_vec(), entry.expire_at_ms());
                    contents.insert((database, name.to_vec()), after);
                }),
                700..800 => {
                    let at_ms = (value.len() > 50).then(|| NOW_MS + 1000 + value.len() as i64);
                    self.with_key(database, number, |partition, site, hash, found, name, contents| {
                        let Some(position) = found else { return };
                        partition.set_expire_at_ms(site, position, hash, at_ms, 0);
                        let value = partition.entry(position).value().to_vec();
                        contents.insert((database, name.to_vec()), (value, at_ms));
                    });
                }
                800..990 => self.with_key(database, number, |partition, site, _, found, name, contents| {
                    let Some(position) = found else { return };
                    drop(partition.remove(site, position));
                    contents.remove(&(database, name.to_vec()));
                }),
                990..995 => self.swap(0, 1),
                _ => self.flush(database),
            }
        }

        fn locked(&self) -> Locked<'_> {
            let mut all = ShardSet::default();
            all.add_all();
            Locked::many(&self.keyspace, all)
        }

        fn swap(&mut self, first: usize, second: usize) {
            let mut locked = self.locked();
            for shard in 0..SHARDS {
                locked.shard(shard).swap(first, second);
            }
            self.keyspace.note_swap(first, second);
            drop(locked);
            let exchanged = |database| match database {
                _ if database == first => second,
                _ if database == second => first,
                _ => database,
            };
            let contents = std::mem::take(&mut self.contents);
            self.contents = contents
                .into_iter()
                .map(|((database, name), value)| ((exchanged(database), name), value))
                .collect();
        }

        fn flush(&mut self, database: usize) {
            let mut locked = self.locked();
            let removed = (0..SHARDS)
                .map(|shard| {
                    let site = Site { keyspace: &self.keyspace, database, shard, now_ms: NOW_MS };
                    (site, locked.shard(shard).partition_mut(database).take(site))
                })
                .collect();
            self.keyspace.discard(removed);
            drop(locked);
            self.contents.retain(|(each, _), _| *each != database);
        }

        /// Takes a snapshot, with changes between its bites.
        fn snapshot(&mut self, mut between: impl FnMut(&mut World)) -> Contents {
            let mut seen = Contents::new();
            fn note(seen: &mut Contents, database: usize, entry: EntryRef<'_>) -> bool {
                let before = seen
                    .insert((database, entry.key().to_vec()), (entry.value().to_vec(), entry.expire_at_ms()));
                assert!(before.is_none(), "an entry is shown once");
                seen.len().is_multiple_of(3)
            }
            assert!(self.keyspace.cut(|| {}));
            assert!(!self.keyspace.cut(|| {}), "one snapshot at a time");
            for shard in 0..SHARDS {
                let mut visit = ShardVisit::of(shard);
                while self.keyspace.visit(&mut visit, &mut |database, entry| note(&mut seen, database, entry))
                {
                    between(self);
                    if self.random.below(10) == 0 {
                        self.keyspace
                            .visit_captured(shard, &mut |database, entry| note(&mut seen, database, entry));
                    }
                }
            }
            self.keyspace.finish_visit(&mut |database, entry| note(&mut seen, database, entry));
            assert_eq!(self.keyspace.captured_bytes(), 0);
            seen
        }
    }

    #[test]
    fn what_a_flush_took_out_is_freed_at_the_next_quiet_point_without_further_traffic() {
        let mut world = World::new(1);
        (0..200).for_each(|_| world.change());
        let prefetcher = world.keyspace.prefetcher();
        prefetcher.enter(0);
        let removed = world.locked().take_databases(0..DATABASES, NOW_MS);
        assert!(!removed.is_empty() && prefetcher.waiting() >= removed.len());
        world.keyspace.discard(removed);
        prefetcher.leave(0);
        assert_eq!(prefetcher.waiting(), 0);
    }

    #[test]
    fn a_snapshot_is_exactly_the_state_at_its_cut() {
        for seed in 0..60 {
            let mut world = World::new(seed);
            for _ in 0..1500 {
                world.change();
            }
            for round in 0..3 {
                let at_cut = world.contents.clone();
                let seen = world.snapshot(|world| (0..world.random.below(8)).for_each(|_| world.change()));
                assert_eq!(seen, at_cut, "seed {seed}, round {round}");
            }
        }
    }

    /// A table of several segments, which split and merge while the visitor comes by.
    #[test]
    fn a_snapshot_is_exact_while_a_large_table_grows_and_shrinks() {
        let mut world = World::new(9);
        (world.tags, world.keys) = (1, 30_000);
        let put = |world: &mut World, number| {
            world.with_key(0, number, |partition, site, hash, found, name, contents| {
                if found.is_none() {
                    partition.insert(site, hash, Entry::new(name, b"v"));
                    contents.insert((0, name.to_vec()), (b"v".to_vec(), None));
                }
            });
        };
        let remove = |world: &mut World, number| {
            world.with_key(0, number, |partition, site, _, found, name, contents| {
                found.into_iter().for_each(|position| drop(partition.remove(site, position)));
                contents.remove(&(0, name.to_vec()));
            });
        };
        let mut sizes = Vec::new();
        for round in 0..2 {
            (0..12_000).for_each(|number| put(&mut world, number));
            let (at_cut, mut bites) = (world.contents.clone(), 0);
            let seen = world.snapshot(|world| {
                bites += 1;
                match bites % 1000 {
                    300 => (9_000..30_000).for_each(|number| put(world, number)),
                    800 => (1000..30_000)
                        .filter(|number| number % 16 > 0)
                        .for_each(|number| remove(world, number)),
                    _ => {}
                }
                let shard = world.keyspace.key(b"{0}:").shard;
                sizes.push(world.keyspace.lock_shard(shard).partition(0).table().slots());
            });
            assert!(seen == at_cut, "round {round}");
        }
        let (least, most) = (sizes.iter().min(), sizes.iter().max());
        assert!(least < Some(&9000) && most > Some(&30_000), "{least:?} to {most:?} slots");
    }
}
