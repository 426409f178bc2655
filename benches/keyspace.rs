//! The keyspace without the rest of the server: lock, find and change one of 100,000 sessions, in random order.
//!
//! The 60 MB of sessions do not fit the processor's caches, so `get` is mostly the wait for memory; `get_of_a_batch` shows how
//! much of that wait the two steps of prefetching take away.

mod common;

use cloakroom::keyspace::{Ahead, Entry, Kind, prefetch_line};
use common::{Cycle, KEYS, START_MS, Store, VALUE};
use divan::{Bencher, counter::ItemsCount};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const BATCH: usize = 64;
/// Cache lines of an entry that a batch prefetches, as the server does.
const ENTRY_LINES: usize = 10;

fn main() {
    divan::main();
}

#[divan::bench(sample_size = 2000)]
fn get(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    let mut out = Vec::with_capacity(1024);
    bencher.bench_local(|| {
        out.clear();
        store.at(&store.keys[cycle.next()], START_MS, |partition, _, key| {
            if let Some(position) = partition.find(key.hash, key.bytes) {
                out.extend_from_slice(partition.entry(position).value());
            }
        });
        divan::black_box(&out);
    });
}

#[divan::bench(sample_size = 50)]
fn get_of_a_batch(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    let keyspace = &store.keyspace;
    let mut out = Vec::with_capacity(BATCH * 1024);
    let mut ahead: Vec<Ahead> = Vec::with_capacity(BATCH);
    let mut keys = [0; BATCH];
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        out.clear();
        ahead.clear();
        keyspace.prefetcher().enter(0);
        for key in &mut keys {
            *key = cycle.next();
            // A server's keys lie in its input buffer and are near; these are far.
            prefetch_line(store.keys[*key].as_ptr().addr());
        }
        for key in keys {
            let key = keyspace.key(&store.keys[key]);
            keyspace.prefetch_shard(0, key.shard);
            ahead.extend(keyspace.prefetcher().slot_ahead(0, key.shard, key.hash));
        }
        for slot in &ahead {
            keyspace.prefetcher().entry_ahead(*slot, ENTRY_LINES);
        }
        for key in keys {
            store.at(&store.keys[key], START_MS, |partition, _, key| {
                if let Some(position) = partition.find(key.hash, key.bytes) {
                    out.extend_from_slice(partition.entry(position).value());
                }
            });
        }
        divan::black_box(&out);
    });
}

#[divan::bench(sample_size = 2000)]
fn set_over_a_value_of_the_same_class(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    bencher.bench_local(|| {
        store.at(&store.keys[cycle.next()], START_MS, |partition, site, key| {
            if let Some(position) = partition.find(key.hash, key.bytes) {
                partition.set_value(site, position, divan::black_box(&VALUE), Kind::String);
            }
        });
    });
}

#[divan::bench(sample_size = 2000)]
fn set_over_a_value_of_another_class(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    let values: [&[u8]; 2] = [&VALUE[..300], &VALUE];
    let mut turn = 0;
    bencher.bench_local(|| {
        turn += 1;
        store.at(&store.keys[cycle.next()], START_MS, |partition, site, key| {
            if let Some(position) = partition.find(key.hash, key.bytes) {
                partition.set_value(site, position, divan::black_box(values[turn / KEYS % 2]), Kind::String);
            }
        });
    });
}

#[divan::bench(sample_size = 2000)]
fn set_a_new_key(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    let absent = || {
        let key = &store.keys[cycle.next()];
        store.delete(key);
        key
    };
    bencher.with_inputs(absent).bench_local_values(|key| {
        store.at(key, START_MS, |partition, site, key| {
            partition.insert(site, key.hash, Entry::new(key.bytes, &VALUE));
        });
    });
}

#[divan::bench(sample_size = 2000)]
fn delete(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    bencher.with_inputs(|| store.fresh(&cycle)).bench_local_values(|key| {
        store.at(key, START_MS, |partition, site, key| {
            partition.find(key.hash, key.bytes).map(|position| partition.remove(site, position).into_entry())
        })
    });
}
