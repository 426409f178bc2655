//! Walks through the keyspace: each shard is locked for a bite at a time, so that nobody waits long for one with many keys.
//!
//! Inside EXEC all shards are held anyway, and nothing changes between two bites. Elsewhere what others change meanwhile is seen or not; what
//! is there all the time is seen once. There a request may also let others have the loop, and go on in its client's next turn (`Cx::park`).

use std::ops::Range;

use super::cx::Cx;
use crate::keyspace::{EntryRef, Keyspace, SHARDS, Shard};

/// Entries that one bite looks at, and homes of a table that it goes over: some ten microseconds' work.
pub const BITE_KEYS: usize = 512;
pub const BITE_HOMES: usize = 4096;

/// What a request may look at in a turn of its client: entries, and homes, of which so many cost as much as an entry. Entries come from anywhere in
/// memory, so this is about the millisecond that a turn has.
const TURN_KEYS: usize = 4096;
const HOMES_PER_KEY: usize = 8;

/// What is left of a turn.
pub struct TurnLeft(usize);

impl TurnLeft {
    /// EXEC is one step, whatever is in it.
    pub fn of(cx: &Cx<'_, '_>) -> TurnLeft {
        TurnLeft(if cx.in_exec { usize::MAX } else { TURN_KEYS })
    }

    pub fn spend(&mut self, entries: usize, homes: usize) {
        self.0 = self.0.saturating_sub(entries.max(homes / HOMES_PER_KEY));
    }

    pub fn is_used_up(&self) -> bool {
        self.0 == 0
    }
}

/// Visits the entries of some databases. Each is given with its database; those whose time has passed are among them.
pub fn each_entry(cx: &mut Cx<'_, '_>, databases: Range<usize>, mut visit: impl FnMut(usize, EntryRef<'_>)) {
    let keyspace = &cx.services().keyspace;
    for shard in 0..SHARDS {
        let mut walk = Walk { databases: databases.clone(), granule: 0 };
        let mut more = true;
        while more {
            cx.locked.each_shard(shard, |_, held| {
                more = walk.bite(keyspace, held, &mut visit);
                false
            });
            cx.locked.let_others(shard);
        }
    }
}

/// What is still to be seen of one shard.
struct Walk {
    databases: Range<usize>,
    /// Where the first of them goes on.
    granule: u64,
}

impl Walk {
    /// Visits the next entries; says whether there are more.
    fn bite(
        &mut self,
        keyspace: &Keyspace,
        shard: &Shard,
        visit: &mut impl FnMut(usize, EntryRef<'_>),
    ) -> bool {
        let used = shard.used_from(self.databases.start);
        let Some(database) = used.filter(|database| self.databases.contains(database)) else { return false };
        if database != self.databases.start {
            (self.databases.start, self.granule) = (database, 0);
        }
        let rehash = |key: &[u8]| keyspace.key(key).hash;
        let table = shard.partition(database).table();
        match table.walk(self.granule, BITE_KEYS, BITE_HOMES, rehash, |entry| visit(database, entry)) {
            Some(granule) => self.granule = granule,
            None => (self.databases.start, self.granule) = (database + 1, 0),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::keyspace::{Entry, KeyHasher, Partition, Reclaimer, Site};

    /// For each number of entries that come between two bites, and go between the next two: how often was each key seen that
    /// was there all the time?
    #[test]
    fn a_key_is_seen_once_though_its_table_grows_and_shrinks_between_bites() {
        const LASTING: usize = 6 * BITE_KEYS;
        let keyspace = Keyspace::new(2, 1, KeyHasher::fixed(7), Reclaimer::inline(), 0);
        let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: 0 };
        let mut shard = keyspace.lock_shard(0);
        let add = |partition: &mut Partition, name: &str| {
            let key = keyspace.key(name.as_bytes());
            partition.insert(site, key.hash, Entry::new(key.bytes, b"v"));
        };
        (0..LASTING).for_each(|number| add(shard.partition_mut(0), &format!("lasting:{number}")));
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        let mut walk = Walk { databases: 0..2, granule: 0 };
        let mut passing = 0..0;
        loop {
            sizes.push(shard.partition(0).table().slots());
            let more = walk.bite(&keyspace, &shard, &mut |_, entry| {
                if entry.key().starts_with(b"lasting") {
                    seen.push(entry.key().to_vec());
                }
            });
            if !more {
                break;
            }
            let partition = shard.partition_mut(0);
            if passing.is_empty() {
                passing = 0..LASTING * (4 + sizes.len() % 3 * 3);
                passing.clone().for_each(|number| add(partition, &format!("passing:{number}")));
            } else {
                for number in std::mem::take(&mut passing) {
                    let name = format!("passing:{number}");
                    let key = keyspace.key(name.as_bytes());
                    let position = partition.find(key.hash, key.bytes).expect("it was added");
                    drop(partition.remove(site, position));
                }
            }
        }
        let distinct: HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (LASTING, LASTING));
        sizes.dedup();
        assert!(sizes.len() > 4, "{sizes:?}");
    }
}
