//! Deadlines of fields against a model: whatever happens to a hash, each field goes at its time and none before.
//!
//! Time is a pair of clocks that the test moves. What a change does to the wheel shows only later, so the test makes many changes of all kinds, lets time
//! pass in steps of all lengths, and compares everything after each round of expiry.

use std::collections::BTreeMap;

use super::{Edit, Fields, FieldsMut, content, of_content};
use crate::base::clock::Now;
use crate::base::random::Random;
use crate::keyspace::{
    Entry, Expired, Expiry, Key, KeyHasher, Keyspace, Kind, Reclaimer, SHARDS, Site, TICK_MS, ValueLimits,
    expire_shard,
};

const START_MS: i64 = 1_790_000_000_000;
const DATABASES: usize = 2;
/// What a wheel does not notice of a clock that is set back, and a tick.
const LATE_MS: i64 = 50 + 2 * TICK_MS;

type Hash = BTreeMap<String, Option<i64>>;

#[derive(Clone, Debug, Default, PartialEq)]
struct Modelled {
    at_ms: Option<i64>,
    fields: Hash,
}

struct World {
    keyspace: Keyspace,
    random: Random,
    steady_ms: i64,
    wall_ms: i64,
    model: BTreeMap<(usize, String), Modelled>,
}

impl World {
    fn new(seed: u64) -> World {
        let limits = if seed.is_multiple_of(2) { ValueLimits::of_leaves(64) } else { ValueLimits::default() };
        let hasher = KeyHasher::fixed(seed);
        let keyspace = Keyspace::new(DATABASES, 1, hasher, Reclaimer::inline(), START_MS);
        World {
            keyspace: keyspace.with_limits(limits),
            random: Random::new(seed),
            steady_ms: START_MS,
            wall_ms: START_MS,
            model: BTreeMap::new(),
        }
    }

    fn now(&self) -> Now {
        Now { wall_us: self.wall_ms * 1000, steady_us: self.steady_ms * 1000 }
    }

    fn site(&self, database: usize, key: Key<'_>) -> Site<'_> {
        Site { keyspace: &self.keyspace, database, shard: key.shard, now_ms: self.wall_ms }
    }

    fn draw(&mut self) -> (usize, String) {
        let name = format!("{{tag}}:{}", self.random.below(3));
        (self.random.below(DATABASES as u64) as usize, name)
    }

    fn some_time(&mut self) -> i64 {
        let ms = [1, 40, 700, 5_000, 80_000][self.random.below(5) as usize];
        self.wall_ms + 1 + self.random.below(ms) as i64
    }

    /// Makes a change of the entry of a key, if it is there.
    fn with_entry<T>(
        &self,
        database: usize,
        name: &str,
        change: impl FnOnce(Edit<'_, '_>) -> T,
    ) -> Option<T> {
        let key = self.keyspace.key(name.as_bytes());
        let site = self.site(database, key);
        let mut shard = self.keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(database);
        let position = partition.find(key.hash, key.bytes)?;
        Some(change(Edit::new(partition, site, position, key.hash)))
    }

    fn insert(&self, database: usize, name: &str, entry: Entry) {
        let key = self.keyspace.key(name.as_bytes());
        let site = self.site(database, key);
        self.keyspace.lock_shard(key.shard).partition_mut(database).insert(site, key.hash, entry);
    }

    fn remove(&self, database: usize, name: &str) -> Option<Entry> {
        let key = self.keyspace.key(name.as_bytes());
        let site = self.site(database, key);
        let mut shard = self.keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(database);
        let position = partition.find(key.hash, key.bytes)?;
        Some(partition.remove(site, position).into_entry())
    }

    fn set_field(&mut self) {
        let (database, name) = self.draw();
        let field = format!("field:{}", self.random.below(30));
        let at_ms = (self.random.below(3) > 0).then(|| self.some_time());
        if !self.model.contains_key(&(database, name.clone())) {
            let empty = crate::keyspace::collection::Packed::EMPTY;
            self.insert(database, &name, Entry::new(name.as_bytes(), &empty).with_kind(Kind::Hash));
        }
        self.with_entry(database, &name, |edit| {
            FieldsMut(edit).set(field.as_bytes(), b"some value", at_ms, self.wall_ms);
        });
        self.model.entry((database, name)).or_default().fields.insert(field, at_ms);
    }

    fn move_field(&mut self) {
        let (database, name) = self.draw();
        let at_ms = (self.random.below(3) > 0).then(|| self.some_time());
        let Some(modelled) = self.model.get_mut(&(database, name.clone())) else { return };
        let chosen = self.random.below(modelled.fields.len() as u64) as usize;
        let Some((field, present)) = modelled.fields.iter_mut().nth(chosen) else { return };
        *present = at_ms;
        let field = field.clone();
        self.with_entry(database, &name, |edit| FieldsMut(edit).set_deadline(field.as_bytes(), at_ms));
    }

    fn remove_field(&mut self) {
        let (database, name) = self.draw();
        let field = format!("field:{}", self.random.below(30));
        let Some(modelled) = self.model.get_mut(&(database, name.clone())) else { return };
        let was_there = modelled.fields.remove(&field).is_some();
        let is_empty = modelled.fields.is_empty();
        let removed = self.with_entry(database, &name, |edit| FieldsMut(edit).remove(field.as_bytes()));
        assert_eq!(removed, Some(was_there));
        if is_empty {
            self.remove(database, &name);
            self.model.remove(&(database, name));
        }
    }

    fn set_deadline_of_key(&mut self) {
        let (database, name) = self.draw();
        let at_ms = (self.random.below(3) > 0).then(|| self.some_time());
        let Some(modelled) = self.model.get_mut(&(database, name.clone())) else { return };
        modelled.at_ms = at_ms;
        let key = self.keyspace.key(name.as_bytes());
        let site = self.site(database, key);
        let mut shard = self.keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(database);
        let position = partition.find(key.hash, key.bytes).expect("the model has it");
        partition.set_expire_at_ms(site, position, key.hash, at_ms, 0);
    }

    /// A key is copied, renamed, moved, loaded, or set to a string and gone.
    fn relocate(&mut self) {
        let (from, to) = (self.draw(), self.draw());
        if from == to || !self.model.contains_key(&from) {
            return;
        }
        let Some(entry) = self.remove(from.0, &from.1) else { panic!("the model has it") };
        let modelled = self.model.remove(&from).expect("it is there");
        self.remove(to.0, &to.1);
        self.model.remove(&to);
        match self.random.below(4) {
            0 => {
                self.insert(to.0, &to.1, entry.view().copy_as(to.1.as_bytes()));
                self.insert(from.0, &from.1, entry);
                self.model.insert(from, modelled.clone());
            }
            1 => self.insert(to.0, &to.1, entry.view().copy_as(to.1.as_bytes())),
            2 => {
                // As a snapshot brings it back.
                let view = entry.view();
                let bytes = content(view.kind(), view.value(), view.root());
                let loaded = of_content(&self.keyspace, to.1.as_bytes(), &bytes).expect("a value");
                let at_ms = view.expire_at_ms();
                // Meanwhile some of it has become due.
                self.steady_ms += 3_000;
                self.wall_ms += 3_000;
                self.keyspace.follow(self.now());
                self.insert(to.0, &to.1, at_ms.into_iter().fold(loaded, Entry::with_expire_at_ms));
            }
            _ => {
                self.insert(from.0, &from.1, entry);
                let key = self.keyspace.key(from.1.as_bytes());
                let site = self.site(from.0, key);
                let mut shard = self.keyspace.lock_shard(key.shard);
                let partition = shard.partition_mut(from.0);
                let position = partition.find(key.hash, key.bytes).expect("it was put there");
                partition.set_value(site, position, b"text", Kind::String);
                drop(partition.remove(site, position));
                return;
            }
        }
        self.model.insert(to, modelled);
    }

    /// Time passes, or somebody sets the clock, and what is due goes.
    fn pass(&mut self) {
        let ms = [1, 16, 50, 900, 6_000, 100_000][self.random.below(6) as usize];
        self.steady_ms += ms;
        self.wall_ms += ms;
        if self.random.below(12) == 0 {
            self.wall_ms += [-3_000, 2_000, 90_000][self.random.below(3) as usize];
        }
        self.keyspace.follow(self.now());
        let mut gone = Vec::new();
        for shard in 0..SHARDS {
            loop {
                let mut budget = 1 + self.random.below(200) as usize;
                let came =
                    expire_shard(&self.keyspace, shard, self.wall_ms, &mut budget, |database, what| {
                        gone.push(match what {
                            Expired::Key(entry) => (database, entry.view().key().to_vec(), None),
                            Expired::Elements { key, taken, .. } => {
                                let names = taken.names().map(<[u8]>::to_vec).collect::<Vec<_>>();
                                (database, key.to_vec(), Some(names))
                            }
                        });
                    });
                if came == Expiry::Done {
                    break;
                }
            }
        }
        for (database, key, names) in gone {
            self.take_gone(database, key, names);
        }
    }

    fn take_gone(&mut self, database: usize, key: Vec<u8>, names: Option<Vec<Vec<u8>>>) {
        let key = (database, String::from_utf8(key).expect("a name"));
        let modelled = self.model.get_mut(&key).expect("what expires is there");
        let Some(names) = names else {
            assert!(modelled.at_ms.is_some_and(|at_ms| at_ms <= self.wall_ms), "a key goes before its time");
            self.model.remove(&key);
            return;
        };
        assert!(!names.is_empty(), "nothing has expired");
        for name in names {
            let name = String::from_utf8(name).expect("a name");
            let at_ms = modelled.fields.remove(&name).expect("a field that is there");
            assert!(at_ms.is_some_and(|at_ms| at_ms <= self.wall_ms), "{name} goes before its time");
        }
        if modelled.fields.is_empty() {
            self.model.remove(&key);
        }
    }

    fn check(&self) {
        for database in 0..DATABASES {
            let named = self.model.iter().filter(|((own, _), _)| *own == database);
            let named: Vec<_> = named.collect();
            for ((_, name), modelled) in &named {
                self.check_key(database, name, modelled);
            }
            let shard = self.keyspace.lock_shard(self.keyspace.key(b"{tag}").shard);
            let partition = shard.partition(database);
            let counts = (partition.len(), partition.volatile());
            let volatile = named.iter().filter(|(_, modelled)| modelled.at_ms.is_some()).count();
            assert_eq!(counts, (named.len(), volatile));
            let (mut timed, rehash) = (0, |key: &[u8]| self.keyspace.key(key).hash);
            let count = |entry: crate::keyspace::EntryRef<'_>| timed += usize::from(entry.is_timed());
            assert!(partition.table().walk(0, usize::MAX, usize::MAX, rehash, count).is_none());
            assert_eq!(partition.timed(), timed);
        }
    }

    fn check_key(&self, database: usize, name: &str, modelled: &Modelled) {
        let late_ms = self.wall_ms - LATE_MS;
        assert!(modelled.at_ms.is_none_or(|at_ms| at_ms > late_ms), "{name} stays beyond its time");
        let found = self.with_entry(database, name, |edit| {
            if let Some(root) = edit.entry().root() {
                let fields = Fields::of(&self.keyspace, edit.entry());
                root.tree().expect("a hash").check(&fields.order).expect("a tree");
            }
            let fields = Fields::of(&self.keyspace, edit.entry());
            let name_of = |field: &crate::keyspace::collection::Field<'_>| {
                String::from_utf8(field.name.bytes(&mut itoa::Buffer::new()).to_vec()).expect("a name")
            };
            let all: Hash = fields.iter().map(|field| (name_of(&field), field.expire_at_ms)).collect();
            assert_eq!(all.len(), fields.len());
            all
        });
        assert_eq!(found.as_ref(), Some(&modelled.fields), "{name}");
        let late = modelled.fields.iter().find(|(_, at_ms)| at_ms.is_some_and(|at_ms| at_ms <= late_ms));
        assert_eq!(late, None, "a field stays beyond its time, {}", self.wall_ms);
    }
}

#[test]
fn each_field_goes_at_its_time_whatever_happens_to_its_hash() {
    for seed in 0..40 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        for _ in 0..1_500 {
            match world.random.below(20) {
                0..8 => world.set_field(),
                8..11 => world.move_field(),
                11..13 => world.remove_field(),
                13 => world.set_deadline_of_key(),
                14..16 => world.relocate(),
                16 if world.random.below(2) == 0 => drop(world.keyspace.cut(|| ())),
                16 => world.keyspace.finish_visit(&mut |_| true),
                _ => {
                    world.pass();
                    world.check();
                }
            }
        }
    }
}
