//! What one shard's lock guards: the shard's part of each database that has something there, and its watched keys.
//!
//! Database 0 lies in the shard itself, because that is the one nearly everybody uses. Parts of the others are made when they are first
//! written to, and given back when nothing is left in them (`expire.rs`); so a database costs what it holds, however many may be used.

use super::partition::Partition;
use super::watch::WatchTable;

static EMPTY: Partition = Partition::new();

/// See the module's text.
#[derive(Default)]
pub struct Shard {
    first: Partition,
    pub watched: WatchTable,
    others: Others,
}

/// Parts of databases other than 0.
#[derive(Default)]
struct Others {
    /// In order of their databases.
    used: Vec<(usize, Box<Partition>)>,
    /// The part of the database that was asked for last and has none in `used`. Once something is in it, it goes there when it is another's turn.
    latest: Option<Box<Partition>>,
    database: usize,
}

impl Others {
    fn get(&self, database: usize) -> Option<&Partition> {
        if self.database == database {
            return self.latest.as_deref();
        }
        let index = self.used.binary_search_by_key(&database, |(database, _)| *database).ok()?;
        Some(&self.used[index].1)
    }

    fn get_mut(&mut self, database: usize) -> &mut Partition {
        if self.database != database {
            if let Ok(index) = self.used.binary_search_by_key(&database, |(database, _)| *database) {
                return &mut self.used[index].1;
            }
            self.keep_latest();
            self.database = database;
        }
        self.latest.get_or_insert_default()
    }

    /// Puts the latest part where the others are, if there is something in it.
    fn keep_latest(&mut self) {
        if let Some(latest) = self.latest.take_if(|latest| !latest.is_unused()) {
            let index = self.used.partition_point(|(database, _)| *database < self.database);
            self.used.insert(index, (self.database, latest));
        }
        self.database = 0;
    }

    fn first_from(&self, database: usize) -> Option<usize> {
        let index = self.used.partition_point(|(each, _)| *each < database);
        let used = self.used[index..].iter().find(|(_, partition)| !partition.is_unused());
        let latest = self.latest.as_ref().filter(|latest| self.database >= database && !latest.is_unused());
        used.map(|(database, _)| *database).into_iter().chain(latest.map(|_| self.database)).min()
    }
}

impl Shard {
    #[inline]
    pub fn partition(&self, database: usize) -> &Partition {
        if database == 0 { &self.first } else { self.others.get(database).unwrap_or(&EMPTY) }
    }

    #[inline]
    pub fn partition_mut(&mut self, database: usize) -> &mut Partition {
        if database == 0 { &mut self.first } else { self.others.get_mut(database) }
    }

    /// A partition together with the shard's watched keys.
    #[inline]
    pub fn split(&mut self, database: usize) -> (&mut Partition, &mut WatchTable) {
        let partition = if database == 0 { &mut self.first } else { self.others.get_mut(database) };
        (partition, &mut self.watched)
    }

    /// The first database from this one on that has memory in the shard.
    pub fn used_from(&self, database: usize) -> Option<usize> {
        let first = database == 0 && !self.first.is_unused();
        if first { Some(0) } else { self.others.first_from(database.max(1)) }
    }

    /// All databases that have memory in the shard, in ascending order, with their partitions.
    pub fn used(&self) -> impl Iterator<Item = (usize, &Partition)> {
        let after = |(database, _): &(usize, &Partition)| self.used_from(database + 1);
        let with_partition = |database| (database, self.partition(database));
        std::iter::successors(self.used_from(0).map(with_partition), move |each| {
            after(each).map(with_partition)
        })
    }

    /// Exchanges two databases' partitions (SWAPDB). The caller publishes both to the prefetcher.
    pub fn swap(&mut self, first: usize, second: usize) {
        if first == second {
            return;
        }
        let one = std::mem::take(self.partition_mut(first));
        let other = std::mem::replace(self.partition_mut(second), one);
        *self.partition_mut(first) = other;
        self.forget_unused();
    }

    /// Forgets partitions that have no memory of their own any more.
    pub fn forget_unused(&mut self) {
        self.others.keep_latest();
        self.others.used.retain(|(_, partition)| !partition.is_unused());
        if self.others.used.is_empty() {
            self.others = Others::default();
        }
    }

    /// Takes the partitions of some databases out, as far as they have memory.
    pub fn take(
        &mut self,
        databases: &std::ops::Range<usize>,
        removed: &mut impl FnMut(usize, Box<Partition>),
    ) {
        if databases.contains(&0) && !self.first.is_unused() {
            removed(0, Box::new(std::mem::take(&mut self.first)));
        }
        self.others.keep_latest();
        let of = |limit: usize| self.others.used.partition_point(|(database, _)| *database < limit);
        let range = of(databases.start)..of(databases.end);
        self.others.used.drain(range).for_each(|(database, partition)| removed(database, partition));
        self.forget_unused();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::{Entry, KeyHasher, Keyspace, Reclaimer, Site, sweep_shard};

    const SHARD: usize = 5;

    fn site(keyspace: &Keyspace, database: usize) -> Site<'_> {
        Site { keyspace, database, shard: SHARD, now_ms: 0 }
    }

    fn keyspace() -> Keyspace {
        Keyspace::new(65_536, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0)
    }

    fn put(keyspace: &Keyspace, shard: &mut Shard, database: usize, name: &str) {
        let hash = keyspace.key(name.as_bytes()).hash;
        shard.partition_mut(database).insert(
            site(keyspace, database),
            hash,
            Entry::new(name.as_bytes(), b"v"),
        );
    }

    #[test]
    fn databases_that_are_only_read_take_no_memory() {
        let keyspace = keyspace();
        let mut shard = keyspace.lock_shard(SHARD);
        for database in 0..65_536 {
            assert!(shard.partition_mut(database).find(1, b"k").is_none());
            assert!(shard.partition(database).is_unused());
        }
        assert_eq!(shard.used_from(0), None);
        assert!(shard.others.used.capacity() == 0);
        const { assert!(size_of::<Shard>() <= 128, "the partition of database 0, and some words") };
    }

    #[test]
    fn a_database_that_was_emptied_gives_its_memory_back() {
        let keyspace = keyspace();
        let databases = [0, 1, 2, 700, 65_535];
        let mut shard = keyspace.lock_shard(SHARD);
        for database in databases {
            put(&keyspace, &mut shard, database, "k");
            let partition = shard.partition_mut(database);
            let hash = keyspace.key(b"k").hash;
            let position = partition.find(hash, b"k").expect("it was put");
            partition.set_expire_at_ms(site(&keyspace, database), position, hash, Some(1 << 40), 0);
            if database != 2 {
                drop(partition.remove(site(&keyspace, database), position));
            }
        }
        assert_eq!(shard.used().map(|(database, _)| database).collect::<Vec<_>>(), databases);
        drop(shard);
        sweep_shard(&keyspace, SHARD, 0);
        let shard = keyspace.lock_shard(SHARD);
        assert_eq!(shard.used().map(|(database, _)| database).collect::<Vec<_>>(), [2]);
        assert_eq!(shard.others.used.len(), 1);
    }

    #[test]
    fn it_agrees_with_a_plain_map_of_databases() {
        let keyspace = keyspace();
        let mut random = Random::new(3);
        let mut model = BTreeMap::<usize, Vec<String>>::new();
        let databases = [0, 1, 2, 3, 9, 15, 16, 17, 4000, 65_535];
        for step in 0..20_000 {
            let mut shard = keyspace.lock_shard(SHARD);
            let mut any = || databases[random.below(databases.len() as u64) as usize];
            let (database, other) = (any(), any());
            match random.below(100) {
                0..60 => {
                    let name = format!("key:{step}");
                    put(&keyspace, &mut shard, database, &name);
                    model.entry(database).or_default().push(name);
                }
                60..90 => {
                    let Some(name) = model.get_mut(&database).and_then(Vec::pop) else { continue };
                    let partition = shard.partition_mut(database);
                    let hash = keyspace.key(name.as_bytes()).hash;
                    let position = partition.find(hash, name.as_bytes()).expect("it is in the model");
                    drop(partition.remove(site(&keyspace, database), position));
                }
                90..95 => {
                    shard.swap(database, other);
                    let (one, two) = (model.remove(&database), model.remove(&other));
                    model.extend(two.map(|names| (database, names)));
                    model.extend(one.map(|names| (other, names)));
                }
                95..97 => {
                    let mut taken = 0;
                    shard.take(&(database..database + 2), &mut |_, partition| taken += partition.len());
                    let names = [database, database + 1].map(|each| model.remove(&each).unwrap_or_default());
                    assert_eq!(taken, names.concat().len());
                }
                _ => {
                    drop(shard);
                    sweep_shard(&keyspace, SHARD, 0);
                    continue;
                }
            }
            for (database, names) in &model {
                assert_eq!(shard.partition(*database).len(), names.len());
            }
            let used = shard.used().filter(|(_, partition)| !partition.is_empty());
            let filled = model.iter().filter(|(_, names)| !names.is_empty());
            assert!(used.map(|(database, _)| database).eq(filled.map(|(database, _)| *database)), "{step}");
        }
    }
}
