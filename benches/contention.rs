//! Two event loops at once: on keys of one shard, where they wait for each other, and on keys of all shards, where they should
//! not notice each other. The figure is nanoseconds for one operation of each thread.

mod common;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cloakroom::keyspace::Kind;
use common::{START_MS, Store, VALUE, session_key, shuffled};
use divan::Bencher;

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

/// Few enough to stay in the processor's cache: what is measured is the locks, not the memory.
const KEYS: usize = 1000;

/// Where the next thread starts in the order of keys: half a round from the one before, so that two never walk side by side.
static NEXT_START: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Where this thread is in the order of keys.
    static AT: Cell<usize> = Cell::new(NEXT_START.fetch_add(KEYS / 2, Relaxed));
}

fn main() {
    divan::main();
}

/// Keys with one hash tag, so that all lie in one slot.
fn one_shard() -> Store {
    filled(Store::with_keys(KEYS, |number| format!("{{shop}}:{number}")))
}

fn all_shards() -> Store {
    filled(Store::with_keys(KEYS, session_key))
}

fn filled(store: Store) -> Store {
    for key in &store.keys {
        store.insert(key);
    }
    store
}

fn get(bencher: Bencher<'_, '_>, store: &Store) {
    let order = shuffled(KEYS);
    bencher.bench(|| {
        let at = AT.replace(AT.get().wrapping_add(1)) % KEYS;
        store.at(&store.keys[order[at]], START_MS, |partition, _, key| {
            let position = partition.find(key.hash, key.bytes);
            position.map(|position| divan::black_box(partition.entry(position).value()).len())
        })
    });
}

fn set(bencher: Bencher<'_, '_>, store: &Store) {
    let order = shuffled(KEYS);
    bencher.bench(|| {
        let at = AT.replace(AT.get().wrapping_add(1)) % KEYS;
        store.at(&store.keys[order[at]], START_MS, |partition, site, key| {
            let position = partition.find(key.hash, key.bytes);
            if let Some(position) = position {
                partition.set_value(site, position, &VALUE, Kind::String);
            }
        })
    });
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn get_on_one_shard(bencher: Bencher<'_, '_>) {
    get(bencher, &one_shard());
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn get_on_all_shards(bencher: Bencher<'_, '_>) {
    get(bencher, &all_shards());
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn set_on_one_shard(bencher: Bencher<'_, '_>) {
    set(bencher, &one_shard());
}

#[divan::bench(threads = [1, 2], sample_size = 10_000)]
fn set_on_all_shards(bencher: Bencher<'_, '_>) {
    set(bencher, &all_shards());
}
