//! Tables against plain maps: in one segment and in many, with hashes as they should be and with hashes that somebody chose.

use std::collections::{HashMap, HashSet};

use super::super::segment::first_hash;
use super::super::split::{WORK, Work};
use super::*;
use crate::base::random::Random;

/// A keyed hash, for the tests' purposes.
fn even(key: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    for byte in key {
        state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state = (state ^ state >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state ^ state >> 29
}

/// All keys have one hash.
fn constant(_: &[u8]) -> u64 {
    0xfeed_0000_1234_5678
}

/// Three granules, whose hashes differ behind them.
fn three_granules(key: &[u8]) -> u64 {
    let hash = even(key);
    first_hash((hash % 3 + 1) << 40) | hash >> 50
}

/// The first bits are those of a single segment.
fn crowded(key: &[u8]) -> u64 {
    0xabc0 << 48 | even(key) >> 14
}

/// Half of the keys have one granule.
fn half_even(key: &[u8]) -> u64 {
    let hash = even(key);
    if hash & 1 == 0 { 7 << 60 | hash >> 50 } else { hash }
}

/// A table, a plain map of what it should hold, and a walk through it that is under way.
struct World<const SLOTS_MAX: usize> {
    table: Table<SLOTS_MAX>,
    model: HashMap<Vec<u8>, Vec<u8>>,
    hash: fn(&[u8]) -> u64,
    walk: Walk,
}

/// A walk in steps, between which the table changes.
#[derive(Default)]
struct Walk {
    from: u64,
    seen: HashSet<Vec<u8>>,
    /// Keys that were there when it began, and are still.
    lasting: HashSet<Vec<u8>>,
}

impl<const SLOTS_MAX: usize> World<SLOTS_MAX> {
    fn new(hash: fn(&[u8]) -> u64) -> Self {
        World { table: Table::default(), model: HashMap::new(), hash, walk: Walk::default() }
    }

    /// The most that one step moved.
    fn work(act: impl FnOnce()) -> Work {
        WORK.set(Work::default());
        act();
        WORK.get()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        let hash = (self.hash)(key);
        match self.table.find(hash, key) {
            Some(position) => self.table.replace(position, |_| Entry::new(key, value)),
            None => {
                if self.table.is_full() {
                    self.table.make_room(hash, self.hash, &mut Replaced::new());
                }
                let position = self.table.insert(hash, Entry::new(key, value));
                assert_eq!(self.table.entry(position).key(), key);
            }
        }
        self.model.insert(key.to_vec(), value.to_vec());
    }

    fn remove(&mut self, key: &[u8]) {
        let found = self.table.find((self.hash)(key), key);
        assert_eq!(found.is_some(), self.model.contains_key(key));
        if let Some(position) = found {
            assert_eq!(self.table.remove(position).view().value(), self.model.remove(key).expect("in both"));
            self.walk.lasting.remove(key);
            if self.table.is_sparse() {
                self.table.give_back(position, self.hash, &mut Replaced::new());
            }
        }
    }

    /// Goes on with the walk, or begins the next.
    fn step(&mut self, count: usize) {
        if self.walk.from == 0 {
            self.walk = Walk { lasting: self.model.keys().cloned().collect(), ..Walk::default() };
        }
        let (walk, table) = (&mut self.walk, &self.table);
        let rest = table.walk(walk.from, count, count * 3, self.hash, |entry| {
            assert!(walk.seen.insert(entry.key().to_vec()), "each key is seen once");
        });
        assert!(rest.is_none_or(|rest| rest > walk.from), "a walk moves on");
        walk.from = rest.unwrap_or(0);
        if walk.from == 0 {
            assert!(walk.seen.is_superset(&walk.lasting), "a key that was there all the time is seen");
        }
    }

    /// Compares everything.
    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        for (key, value) in &self.model {
            let hash = (self.hash)(key);
            let position = self.table.find(hash, key).expect("every key of the model is found");
            assert_eq!(self.table.entry(position).value(), value);
            let prefix = (hash >> 32) as u32;
            assert_eq!(self.table.find_by_prefix(prefix, |entry| entry.key() == key), Some(position));
        }
        let mut keys = HashSet::new();
        self.table.each(|entry| assert!(keys.insert(entry.key().to_vec())));
        assert_eq!(keys.len(), self.model.len());
        let sampled = self.table.sample(keys.len() * 31, usize::MAX, usize::MAX);
        let sampled: HashSet<_> = sampled.map(|position| self.table.entry(position).key().to_vec()).collect();
        assert_eq!(sampled, keys);
        for segment in self.table.segments() {
            assert!(segment.slots() <= SLOTS_MAX);
        }
    }
}

/// Grows and shrinks a table by random steps, several times.
fn exercise<const SLOTS_MAX: usize>(hash: fn(&[u8]) -> u64, seed: u64, keys: u64, steps: u64) {
    let mut world = World::<SLOTS_MAX>::new(hash);
    let mut random = Random::new(seed);
    for step in 0..steps {
        let phase = step * 4 / steps;
        let key = format!("key:{}", random.below(keys)).into_bytes();
        if random.below(10) < if phase.is_multiple_of(2) { 8 } else { 1 } {
            world.put(&key, step.to_string().as_bytes());
        } else {
            world.remove(&key);
        }
        if random.below(8) == 0 {
            world.step(random.below(40) as usize + 1);
        }
        if step % (steps / 16) == 0 {
            world.check();
        }
    }
    world.check();
    for key in world.model.keys().cloned().collect::<Vec<_>>() {
        world.remove(&key);
    }
    world.check();
    assert!(world.table.many.is_none() && world.table.slots() < 20, "an empty table is small");
}

#[test]
fn it_agrees_with_a_plain_map_through_growth_and_shrinking() {
    exercise::<SEGMENT_SLOTS_MAX>(even, 1, 4000, 20_000);
    for seed in 0..3 {
        exercise::<31>(even, seed, 1000, 8_000);
        exercise::<255>(even, seed, 4000, 16_000);
    }
    exercise::<SEGMENT_SLOTS_MAX>(even, 2, 30_000, 80_000);
}

/// One more of these than 128 made a table double until the process ended.
#[test]
fn keys_whose_hashes_somebody_chose_are_kept_like_others() {
    for hash in [constant, three_granules, crowded, half_even] {
        exercise::<31>(hash, 1, 300, 2_000);
        exercise::<255>(hash, 2, 800, 5_000);
        exercise::<SEGMENT_SLOTS_MAX>(hash, 3, 1000, 5_000);
    }
}

#[test]
fn a_table_of_one_granule_stays_small_and_keeps_its_entries() {
    let mut world = World::<SEGMENT_SLOTS_MAX>::new(constant);
    for number in 0..1500 {
        world.put(format!("{number}").as_bytes(), b"");
    }
    assert!(world.table.slots() < 400, "{} slots", world.table.slots());
    world.check();
}

#[test]
fn no_step_moves_more_than_a_segment_or_two_and_few_entries_are_read() {
    let mut world = World::<SEGMENT_SLOTS_MAX>::new(even);
    let key = |number: usize| format!("key:{number}").into_bytes();
    let (mut most, mut read, mut moved) = (Work::default(), 0, 0);
    let mut note = |work: Work| {
        most = Work { moved: most.moved.max(work.moved), read: most.read.max(work.read) };
        read += work.read;
        moved += work.moved;
    };
    const KEYS: usize = 150_000;
    for number in 0..KEYS {
        note(World::<SEGMENT_SLOTS_MAX>::work(|| world.put(&key(number), b"")));
    }
    assert!(world.table.segments().len() > 32 && world.table.spilled() == 0);
    assert!(world.table.slots() * 3 < KEYS * 5, "{} slots", world.table.slots());
    for number in 0..KEYS {
        note(World::<SEGMENT_SLOTS_MAX>::work(|| world.remove(&key(number))));
    }
    assert!(most.moved < 2 * SEGMENT_SLOTS_MAX, "{} words at once", most.moved);
    assert!(most.read < SEGMENT_SLOTS_MAX / 2, "{} entries at once", most.read);
    assert!(moved < 8 * KEYS && read < KEYS, "{moved} words and {read} entries");
}

#[test]
fn a_reserved_table_does_not_split_while_it_is_filled() {
    for entries in [10, 5000, 30_000] {
        let mut world = World::<SEGMENT_SLOTS_MAX>::new(even);
        world.table.reserve(entries, even, &mut Replaced::new());
        let segments = world.table.segments().len();
        for number in 0..entries {
            world.put(format!("{number}").as_bytes(), b"");
        }
        assert_eq!(world.table.segments().len(), segments);
        world.check();
    }
}

#[test]
fn a_walk_sees_every_key_once_while_the_table_is_resized() {
    let mut world = World::<255>::new(even);
    for number in 0..4000 {
        world.put(format!("stay:{number}").as_bytes(), b"");
    }
    for count in [1, 10, 100] {
        let mut turn = 0;
        world.step(count);
        while world.walk.from != 0 {
            turn += 1;
            for number in 0..600 {
                let key = format!("passing:{number}").into_bytes();
                if turn % 2 == 0 { world.put(&key, b"") } else { world.remove(&key) }
            }
            (0..50).for_each(|_| {
                if world.walk.from != 0 {
                    world.step(count)
                }
            });
        }
    }
}
