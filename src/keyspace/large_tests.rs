//! Snapshots of large collections: whatever changes while one is taken, its heads and leaves make up what there was at the cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::collection::stream::{Id, Keep, NodeLimits, Pending, References, Stream, Trim};
use super::values::assembly::Assembly;
use super::values::{self, Edit, FieldsMut};
use super::*;
use crate::base::random::Random;

const NOW_MS: i64 = 1_790_000_000_000;
const DATABASES: usize = 2;
const NAMES: u64 = 12;

/// What each key holds, as [`values::content`] says it, and its deadline.
type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

struct World {
    keyspace: Arc<Keyspace>,
    random: Random,
}

/// What a snapshot has shown.
#[derive(Default)]
struct Seen {
    contents: Contents,
    assembly: Assembly<(usize, Vec<u8>, Kind, Option<i64>)>,
    heads: usize,
}

impl Seen {
    fn note(&mut self, entry: &AtCut<'_>) {
        let AtCut { database, key, kind, expire_at_ms, .. } = *entry;
        let (database, key, content, expire_at_ms) = match entry.large {
            large::Large::No => {
                (database, key.to_vec(), values::content(kind, entry.value, None), expire_at_ms)
            }
            _ => {
                self.heads += usize::from(matches!(entry.large, large::Large::Head(_)));
                let entry = self.assembly.shown((database, key.to_vec(), kind, expire_at_ms), entry);
                let Some((entry, encoded)) = entry.expect("parts that belong together") else { return };
                (entry.0, entry.1, values::content_of_encoded(entry.2, &encoded), entry.3)
            }
        };
        assert!(self.contents.insert((database, key), (content, expire_at_ms)).is_none(), "shown once");
    }
}

impl World {
    fn new(seed: u64) -> World {
        let keyspace = Keyspace::new(DATABASES, 1, KeyHasher::fixed(seed), Reclaimer::inline(), NOW_MS);
        World {
            keyspace: Arc::new(keyspace.with_limits(ValueLimits::of_leaves(64))),
            random: Random::new(seed),
        }
    }

    fn contents(&self) -> Contents {
        let mut contents = Contents::new();
        for shard in 0..SHARDS {
            let held = self.keyspace.lock_shard(shard);
            for (database, partition) in held.used() {
                partition.table().each(|entry| {
                    let content = values::content(entry.kind(), entry.value(), entry.root());
                    contents.insert((database, entry.key().to_vec()), (content, entry.expire_at_ms()));
                });
            }
        }
        contents
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.random.below(NAMES);
        let kind = if number.is_multiple_of(3) { "stream" } else { "hash" };
        format!("{kind}:{number}").into_bytes()
    }

    /// One random change.
    fn change(&mut self) {
        let (name, other) = (self.name(), self.name());
        let (database, op) = (self.random.below(DATABASES as u64) as usize, self.random.below(100));
        let keyspace = Arc::clone(&self.keyspace);
        let (key, to) = (keyspace.key(&name), keyspace.key(&other));
        let mut all = ShardSet::default();
        all.add_all();
        let mut locked = Locked::many(&keyspace, all);
        let (partition, site) = locked.partition(database, key, NOW_MS);
        let found = partition.find(key.hash, key.bytes);
        let kind = found.map(|position| partition.entry(position).kind());
        match (op, found) {
            (0..70, _) if kind == Some(Kind::Stream) || found.is_none() && name.starts_with(b"stream") => {
                let position = found.unwrap_or_else(|| {
                    let root = Box::new(Root::new(Kind::Stream, 0, &keyspace.limits()));
                    partition.insert(site, key.hash, Entry::with_root(key.bytes, Kind::Stream, root))
                });
                let mut edit = Edit::new(partition, site, position, key.hash);
                let (stream, mut gate) = edit.stream_mut().expect("a stream");
                (0..1 + self.random.below(6))
                    .for_each(|_| change_stream(&mut self.random, stream, &mut gate));
                stream.check().expect("a sound stream");
            }
            (0..70, _) if found.is_none_or(|position| !partition.entry(position).is_string()) => {
                let position = found.unwrap_or_else(|| {
                    let entry = Entry::new(key.bytes, &collection::Packed::EMPTY).with_kind(Kind::Hash);
                    partition.insert(site, key.hash, entry)
                });
                let mut fields = FieldsMut(Edit::new(partition, site, position, key.hash));
                for _ in 0..1 + self.random.below(6) {
                    let field = self.random.below(400).to_string();
                    let value = vec![b'v'; self.random.below(20) as usize];
                    match self.random.below(4) {
                        0 => drop(fields.remove(field.as_bytes())),
                        _ => drop(fields.set(field.as_bytes(), &value, None, NOW_MS)),
                    }
                }
                if fields.view().is_empty() {
                    drop(partition.remove(site, position));
                }
            }
            (70..80, Some(position)) => {
                let at_ms = (self.random.below(3) > 0).then(|| NOW_MS + self.random.below(1_000_000) as i64);
                partition.set_expire_at_ms(site, position, key.hash, at_ms, 0);
            }
            (80..83, Some(position)) => drop(partition.remove(site, position)),
            (83..85, Some(position)) => {
                partition.set_value(site, position, b"a string", Kind::String);
            }
            (85..92, Some(position)) if name != other => {
                let entry = partition.remove(site, position).into_entry_as(to.bytes, to.shard);
                let (partition, site) = locked.partition(database, to, NOW_MS);
                if let Some(occupied) = partition.find(to.hash, to.bytes) {
                    drop(partition.remove(site, occupied));
                }
                partition.insert(site, to.hash, entry);
            }
            (92..96, Some(position)) => {
                let entry = partition.remove(site, position).into_entry();
                let (partition, site) = locked.partition(1 - database, key, NOW_MS);
                if let Some(occupied) = partition.find(key.hash, key.bytes) {
                    drop(partition.remove(site, occupied));
                }
                partition.insert(site, key.hash, entry);
            }
            (96, _) => {
                (0..SHARDS).for_each(|shard| locked.shard(shard).swap(0, 1));
                keyspace.note_swap(0, 1);
            }
            (97, _) => keyspace.discard(locked.take_databases(database..database + 1, NOW_MS)),
            (98.., Some(position)) => {
                let copy = partition.entry(position).copy_as(to.bytes);
                let (partition, site) = locked.partition(database, to, NOW_MS);
                if let Some(occupied) = partition.find(to.hash, to.bytes) {
                    drop(partition.remove(site, occupied));
                }
                partition.insert(site, to.hash, copy);
            }
            _ => {}
        }
    }

    /// Takes a snapshot, with changes between its bites.
    fn snapshot(&mut self, changes: u64) -> Seen {
        let mut seen = Seen::default();
        assert!(self.keyspace.cut(|| {}));
        let keyspace = Arc::clone(&self.keyspace);
        for shard in 0..SHARDS {
            let mut visit = ShardVisit::of(shard);
            let mut bite = 0;
            let most = 1 + self.random.below(8);
            while keyspace.visit(&mut visit, &mut |entry| {
                seen.note(entry);
                bite += 1;
                bite % most == 0
            }) {
                (0..self.random.below(changes)).for_each(|_| self.change());
                if self.random.below(4) == 0 {
                    keyspace.visit_captured(shard, &mut |entry| {
                        seen.note(entry);
                        false
                    });
                }
            }
            if shard % 50 == 0 {
                (0..self.random.below(changes)).for_each(|_| self.change());
            }
        }
        self.keyspace.finish_visit(&mut |entry| {
            seen.note(entry);
            false
        });
        assert!(seen.assembly.is_empty(), "every leaf has a head");
        assert_eq!(self.keyspace.captured_bytes(), 0);
        seen
    }
}

/// One random change of a stream: mostly another entry at its end.
fn change_stream(random: &mut Random, stream: &mut Stream, gate: &mut large::LeafGate<'_>) {
    let entries = stream.entries();
    let (last, any) = (entries.last_id(), Id::new(random.below(entries.last_id().ms + 1), 0));
    let group = [b'g', random.below(3) as u8];
    match random.below(16) {
        0 => {
            let keep = Keep::Newest(random.below(100));
            stream.trim(gate, Trim { keep, whole_nodes: false, limit: 0 }, References::Keep);
        }
        1..4 => drop(stream.entries_mut().remove(gate, any)),
        4 => drop(stream.add_group(&group, Id::ZERO, Some(0))),
        5 if random.below(4) == 0 => drop(stream.remove_group(&group)),
        6..9 => {
            let Some((entries, group)) = stream.group_mut(&group) else { return };
            let consumer = group.find_consumer(b"c").unwrap_or_else(|| group.add_consumer(b"c", NOW_MS));
            group.set_pending(Pending { id: any, consumer, delivered_ms: NOW_MS, deliveries: 1 });
            group.advance(entries, last);
        }
        9 => {
            if let Some((_, group)) = stream.group_mut(&group) {
                group.remove_pending(any);
            }
        }
        _ => {
            let fields = [(&b"name"[..], &b"some value"[..])];
            let id = Id::new(last.ms + 1, 0);
            stream.add(gate, id, fields.into_iter(), NodeLimits::USUAL).expect("a higher id");
        }
    }
}

#[test]
fn heads_and_leaves_make_up_what_there_was_at_the_cut() {
    let mut heads = 0;
    for seed in 0..60 {
        println!("seed {seed}");
        let mut world = World::new(seed);
        (0..800).for_each(|_| world.change());
        for round in 0..4 {
            let at_cut = world.contents();
            let seen = world.snapshot([2, 6, 20][seed as usize % 3]);
            heads += seen.heads;
            assert_eq!(seen.contents, at_cut, "seed {seed}, round {round}");
        }
    }
    assert!(heads > 500, "{heads}");
}
