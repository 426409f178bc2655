//! A set of locked shards: ascending, deduplicated, released together. No other order of shard locks exists in Cloakroom, so
//! two sets never wait for each other in a circle.

use smallvec::SmallVec;

use super::{Key, Keyspace, Partition, SHARDS, Shard, ShardGuard, Site};

/// The shards that a request needs, before they are locked.
#[derive(Default)]
pub struct ShardSet {
    shards: SmallVec<[u16; 4]>,
    all: bool,
}

impl ShardSet {
    pub fn add(&mut self, shard: usize) {
        self.shards.push(shard as u16);
    }

    /// Every shard: for commands inside a transaction that walk the whole keyspace.
    pub fn add_all(&mut self) {
        self.all = true;
    }
}

/// The locks a request holds.
pub struct Locked<'k> {
    keyspace: &'k Keyspace,
    /// The only shard of most requests; kept apart from the list because every access comes through here.
    one: Option<(usize, ShardGuard<'k>)>,
    /// `None` rather than empty, so that dropping it costs a comparison.
    many: Option<Vec<(usize, ShardGuard<'k>)>>,
}

impl<'k> Locked<'k> {
    /// Holds nothing: for commands that touch no key, or go through the keyspace shard by shard.
    #[inline]
    pub fn none(keyspace: &'k Keyspace) -> Locked<'k> {
        Locked { keyspace, one: None, many: None }
    }

    /// Holds one shard.
    #[inline]
    pub fn one(keyspace: &'k Keyspace, shard: usize) -> Locked<'k> {
        Locked { keyspace, one: Some((shard, keyspace.lock_shard(shard))), many: None }
    }

    /// Holds a set of shards.
    pub fn many(keyspace: &'k Keyspace, mut set: ShardSet) -> Locked<'k> {
        if set.all {
            set.shards = (0..SHARDS as u16).collect();
        } else {
            set.shards.sort_unstable();
            set.shards.dedup();
        }
        let lock = |shard: &u16| (usize::from(*shard), keyspace.lock_shard(usize::from(*shard)));
        Locked { keyspace, one: None, many: Some(set.shards.iter().map(lock).collect()) }
    }

    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// Whether no shard is held.
    pub fn is_empty(&self) -> bool {
        self.one.is_none() && self.many.as_ref().is_none_or(Vec::is_empty)
    }

    /// The held shard with this index. The request's specification named its keys, and their shards were locked; to ask
    /// for another is a defect of the command, never of the peer.
    #[inline]
    pub fn shard(&mut self, shard: usize) -> &mut Shard {
        if let Some((held, guard)) = &mut self.one
            && *held == shard
        {
            return guard;
        }
        let many = self.many.as_mut().map_or(&mut [][..], |many| many);
        let found = many.binary_search_by_key(&shard, |(held, _)| *held);
        let index = found.expect("a command touched a key that its row does not name");
        &mut many[index].1
    }

    /// The partition of a key, and the site to change it at.
    #[inline]
    pub fn partition(&mut self, database: usize, key: Key<'_>, now_ms: i64) -> (&mut Partition, Site<'k>) {
        let site = Site { keyspace: self.keyspace, database, shard: key.shard, now_ms };
        (self.shard(key.shard).partition_mut(database), site)
    }

    /// Takes everything out of some databases, and marks those of its keys that somebody watches as changed. Every shard must be held.
    pub fn take_databases(
        &mut self,
        databases: std::ops::Range<usize>,
        now_ms: i64,
    ) -> Vec<(Site<'k>, Box<Partition>)> {
        let keyspace = self.keyspace;
        let mut removed = Vec::new();
        for shard in 0..SHARDS {
            let held = self.shard(shard);
            let mut watched = std::mem::take(&mut held.watched);
            watched.touch_all(|database, key| {
                let hash = keyspace.key(key).hash;
                databases.contains(&database) && held.partition(database).find(hash, key).is_some()
            });
            held.watched = watched;
            held.take(&databases, &mut |database, partition| {
                keyspace.prefetcher().withdraw(database, shard);
                removed.push((Site { keyspace, database, shard, now_ms }, partition));
            });
        }
        let words = |(_, partition): &(Site<'_>, Box<Partition>)| partition.table().shared_words();
        let known = removed.iter().filter(|(site, _)| keyspace.prefetcher().knows(site.database));
        keyspace.prefetcher().retire_all(known.flat_map(words));
        removed
    }

    /// Between two bites of a walk: lets others have a shard, unless it is held throughout.
    pub fn let_others(&self, shard: usize) {
        if self.is_empty() {
            self.keyspace.let_others(shard);
        }
    }

    /// Visits every shard in ascending order: held ones as they are; if none is held, each under its own lock for as long
    /// as `visit` runs. `visit` says whether to go on.
    pub fn each_shard(&mut self, from: usize, mut visit: impl FnMut(usize, &mut Shard) -> bool) {
        for shard in from..SHARDS {
            let more = if self.is_empty() {
                visit(shard, &mut self.keyspace.lock_shard(shard))
            } else {
                visit(shard, self.shard(shard))
            };
            if !more {
                return;
            }
        }
    }
}
