//! Snapshots against a model: whatever changes while one is taken, it shows what there was at its cut, a bounded piece at a time.

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;

use super::visit::BITE_PASSED;
use super::*;
use crate::base::random::Random;

const NOW_MS: i64 = 1_790_000_000_000;
const DATABASES: usize = 3;
/// The length of a value that a snapshot copies in pieces: so many pages that a bite does not take them all.
const LARGE: usize = 150_000;

/// What each database holds.
type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

struct World {
    keyspace: Arc<Keyspace>,
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
        let (contents, random) = (Contents::new(), Random::new(seed));
        World { keyspace: Arc::new(keyspace), contents, random, tags: 5, keys: 400 }
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
        let (database, number) = (self.random.below(DATABASES as u64) as usize, self.random.below(self.keys));
        let length = if self.random.below(40) == 0 { LARGE } else { 0 } + self.random.below(300) as usize;
        let part = (self.random.below(LARGE as u64 + 300) as usize, self.random.below(20_000) as usize);
        let value = vec![self.random.below(256) as u8; length];
        match self.random.below(1000) {
            0..500 => self.with_key(database, number, |partition, site, hash, found, name, contents| {
                if let Some(position) = found {
                    partition.set_value(site, position, &value, Kind::String);
                } else {
                    partition.insert(site, hash, Entry::new(name, &value));
                }
                let at_ms = found.and_then(|position| partition.entry(position).expire_at_ms());
                contents.insert((database, name.to_vec()), (value, at_ms));
            }),
            500..700 => self.with_key(database, number, |partition, site, _, found, name, contents| {
                let Some(position) = found else { return };
                let before = partition.entry(position).value().len();
                // Somewhere inside, or at the end, or across it.
                let start = if part.1.is_multiple_of(3) { before } else { part.0.min(before) };
                let written = start..start + part.1 % 7 * 500 + 3;
                let length = before.max(written.end);
                partition.edit_value(
                    site,
                    position,
                    (length, Kind::Raw),
                    slice::from_ref(&written),
                    |value| {
                        value[written.clone()].fill(part.1 as u8);
                    },
                );
                let entry = partition.entry(position);
                let after = (entry.value().to_vec(), entry.expire_at_ms());
                contents.insert((database, name.to_vec()), after);
            }),
            700..800 => {
                let at_ms = (value.len() % 300 > 50).then(|| NOW_MS + 1000 + value.len() as i64);
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
        let removed = locked.take_databases(database..database + 1, NOW_MS);
        self.keyspace.discard(removed);
        drop(locked);
        self.contents.retain(|(each, _), _| *each != database);
    }

    /// What the visitor does with an entry. Nothing is locked while it is a large one, so others make changes then.
    fn shown(&mut self, seen: &mut Contents, entry: &AtCut<'_>) -> bool {
        if entry.value.len() >= LARGE {
            (0..self.random.below(200)).for_each(|_| self.change());
        }
        let name = (entry.database, entry.key.to_vec());
        let before = seen.insert(name, (entry.value.to_vec(), entry.expire_at_ms));
        assert!(before.is_none(), "an entry is shown once");
        seen.len().is_multiple_of(3)
    }

    /// Takes a snapshot, with changes between its bites, and while what is large is read.
    fn snapshot(&mut self, mut between: impl FnMut(&mut World)) -> Contents {
        let keyspace = Arc::clone(&self.keyspace);
        let mut seen = Contents::new();
        assert!(keyspace.cut(|| {}));
        assert!(!keyspace.cut(|| {}), "one snapshot at a time");
        for shard in 0..SHARDS {
            let mut visit = ShardVisit::of(shard);
            while keyspace.visit(&mut visit, &mut |entry| self.shown(&mut seen, entry)) {
                between(self);
                if self.random.below(10) == 0 {
                    keyspace.visit_captured(shard, &mut |entry| self.shown(&mut seen, entry));
                }
            }
        }
        keyspace.finish_visit(&mut |entry| self.shown(&mut seen, entry));
        assert_eq!(keyspace.captured_bytes(), 0);
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
                800 => {
                    (1000..30_000).filter(|number| number % 16 > 0).for_each(|number| remove(world, number))
                }
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

/// A keyspace with these values in its first shard's first database, under the names of their places.
fn filled(values: &[Vec<u8>]) -> Keyspace {
    let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), NOW_MS);
    let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: NOW_MS };
    for (place, value) in values.iter().enumerate() {
        let name = place.to_string();
        let hash = keyspace.key(name.as_bytes()).hash;
        keyspace.lock_shard(0).partition_mut(0).insert(site, hash, Entry::new(name.as_bytes(), value));
    }
    keyspace
}

/// For each time that the first shard was locked: how many entries and how many bytes were shown under its lock.
fn bites(keyspace: &Keyspace, is_enough: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let (mut visit, mut bites) = (ShardVisit::of(0), Vec::new());
    loop {
        let (mut entries, mut bytes) = (0, 0);
        let more = keyspace.visit(&mut visit, &mut |entry| {
            if keyspace.cells[0].shard.try_lock().is_none() {
                (entries, bytes) = (entries + 1, bytes + entry.value.len());
            }
            is_enough(bytes)
        });
        bites.push((entries, bytes));
        if !more {
            return bites;
        }
    }
}

#[test]
fn a_large_value_is_not_copied_under_the_lock_of_its_shard() {
    let values: Vec<Vec<u8>> = (0..200).map(|place| vec![b'v'; [300, 30_000, 900_000][place % 3]]).collect();
    let keyspace = filled(&values);
    assert!(keyspace.cut(|| {}));
    let bites = bites(&keyspace, |bytes| bytes >= 64 << 10);
    assert!(bites.iter().all(|(_, bytes)| *bytes < 100_000), "{bites:?}");
    let shown: usize = bites.iter().map(|(entries, _)| entries).sum();
    assert_eq!(shown, values.iter().filter(|value| value.len() < LARGE).count());
    keyspace.finish_visit(&mut |_| true);
}

#[test]
fn a_visit_that_needs_no_bytes_lets_go_of_the_lock_all_the_same() {
    let keyspace = filled(&vec![b"v".to_vec(); 20_000]);
    for all_stamped in [false, true] {
        assert!(keyspace.cut(|| {}));
        if all_stamped {
            let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: NOW_MS };
            for place in 0..20_000 {
                let (mut shard, name) = (keyspace.lock_shard(0), place.to_string());
                let partition = shard.partition_mut(0);
                let found = partition.find(keyspace.key(name.as_bytes()).hash, name.as_bytes());
                partition.set_value(site, found.expect("it was added"), b"w", Kind::String);
            }
        }
        // As after a failed save: nothing is ever enough.
        let bites = bites(&keyspace, |_| false);
        assert!(bites.iter().all(|(entries, _)| *entries < BITE_PASSED + 100), "{bites:?}");
        assert!(bites.len() >= 20_000 / (BITE_PASSED + 100), "{}", bites.len());
        keyspace.finish_visit(&mut |_| false);
    }
}

#[test]
fn the_deadline_of_a_large_value_moves_without_a_copy_and_the_snapshot_has_the_old_one() {
    let keyspace = filled(&[vec![b'v'; LARGE]]);
    let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: NOW_MS };
    let hash = keyspace.key(b"0").hash;
    let slide = |at_ms| {
        let mut shard = keyspace.lock_shard(0);
        let partition = shard.partition_mut(0);
        let position = partition.find(hash, b"0").expect("it was added");
        partition.set_expire_at_ms(site, position, hash, Some(at_ms), 0);
        partition.entry(position).address()
    };
    let block = slide(NOW_MS + 1000);
    for (removed, at_cut) in [(false, NOW_MS + 1000), (true, NOW_MS + 3000)] {
        assert!(keyspace.cut(|| {}));
        assert_eq!([slide(NOW_MS + 2000), slide(NOW_MS + 3000)], [block, block]);
        if removed {
            let mut shard = keyspace.lock_shard(0);
            let partition = shard.partition_mut(0);
            let position = partition.find(hash, b"0").expect("it was added");
            drop(partition.remove(site, position));
        }
        let (mut seen, mut visit) = (Vec::new(), ShardVisit::of(0));
        let mut see = |entry: &AtCut<'_>| {
            seen.push(entry.expire_at_ms);
            false
        };
        while keyspace.visit(&mut visit, &mut see) {}
        keyspace.finish_visit(&mut see);
        assert_eq!(seen, [Some(at_cut)]);
    }
}

#[test]
fn a_large_value_that_moves_to_another_database_while_it_is_copied_makes_no_place_for_others() {
    let keyspace = Keyspace::new(1000, 1, KeyHasher::fixed(1), Reclaimer::inline(), NOW_MS);
    let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: NOW_MS };
    let hash = keyspace.key(b"k").hash;
    keyspace.lock_shard(0).partition_mut(0).insert(site, hash, Entry::new(b"k", &[b'v'; LARGE]));
    let (mut visit, mut seen) = (ShardVisit::of(0), Vec::new());
    assert!(keyspace.cut(|| {}));
    let mut see = |entry: &AtCut<'_>| {
        seen.push((entry.database, entry.value.len()));
        false
    };
    let mut bites = 0;
    while keyspace.visit(&mut visit, &mut see) {
        bites += 1;
        // There and not back: it is copied in three bites.
        if bites % 2 == 1 {
            let mut all = ShardSet::default();
            all.add_all();
            let mut locked = Locked::many(&keyspace, all);
            locked.shard(0).swap(0, 999);
            keyspace.note_swap(0, 999);
        }
    }
    keyspace.finish_visit(&mut see);
    assert_eq!((seen.as_slice(), bites % 4), (&[(0, LARGE)][..], 3));
    let shard = keyspace.lock_shard(0);
    assert!(shard.used().all(|(database, _)| [0, 999].contains(&database)));
}

#[test]
fn a_write_into_a_large_string_that_was_not_seen_copies_the_pages_it_writes_into() {
    const LEN: usize = 4 << 20;
    let keyspace = filled(&[vec![b'v'; LEN]]);
    let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: NOW_MS };
    let hash = keyspace.key(b"0").hash;
    let write = |len: usize, written: std::ops::Range<usize>| {
        let mut shard = keyspace.lock_shard(0);
        let partition = shard.partition_mut(0);
        let position = partition.find(hash, b"0").expect("it was added");
        partition.edit_value(site, position, (len, Kind::Raw), slice::from_ref(&written), |value| {
            value[written.clone()].fill(b'w');
        });
        keyspace.captured_bytes()
    };
    assert!(keyspace.cut(|| {}));
    assert_eq!(write(LEN, 70_000..70_001), 16 << 10);
    assert_eq!(write(LEN, 70_001..70_002), 16 << 10, "a page is kept once");
    // What comes behind the end was not there at the cut, whether the block moves for it or not.
    assert_eq!(write(LEN + 1, LEN..LEN + 1), 16 << 10);
    assert_eq!(write(2 * LEN, 2 * LEN - 1..2 * LEN), 16 << 10);
    let (mut seen, mut visit, mut bites) = (Vec::new(), ShardVisit::of(0), 0);
    let mut see = |entry: &AtCut<'_>| {
        seen.push((entry.kind, entry.value.iter().all(|byte| *byte == b'v'), entry.value.len()));
        false
    };
    while keyspace.visit(&mut visit, &mut see) {
        bites += 1;
        if bites == 3 {
            let before = keyspace.captured_bytes();
            assert_eq!(write(2 * LEN, 0..100_000), before, "the visitor has passed there");
            assert_eq!(write(2 * LEN, LEN - 50_000..LEN - 49_999), before + (16 << 10));
            // The key lies in front, so the last page has one byte that was there at the cut.
            assert_eq!(write(2 * LEN, LEN - 1..LEN + 1), before + (16 << 10) + 1);
        }
    }
    keyspace.finish_visit(&mut see);
    assert_eq!(seen, [(Kind::String, true, LEN)]);
    assert_eq!(keyspace.captured_bytes(), 0);
}
