//! Deadlines: what it costs to give a key its first one, to slide it (no wheel operation), to bring it nearer (a second
//! record), and to look at a key whose record came due.
//!
//! The wheel is reached through the partition that owns it, so the figures of the first three hold a lookup of the key as well;
//! `find_alone` is that part.

mod common;

use cloakroom::base::clock::Now;
use cloakroom::keyspace::{SHARDS, TICK_MS, expire_shard};
use common::{Cycle, KEYS, START_MS, Store, TTL_MS};
use divan::{Bencher, counter::ItemsCount};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

/// The deadlines of the keys that come due are spread over this long.
const SPREAD_MS: usize = 60_000;

fn main() {
    divan::main();
}

#[divan::bench(sample_size = 2000)]
fn find_alone(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    bencher.bench_local(|| {
        store.at(&store.keys[cycle.next()], START_MS, |partition, _, key| {
            partition
                .find(key.hash, key.bytes)
                .is_some_and(|position| partition.entry(position).is_expired(START_MS))
        })
    });
}

#[divan::bench(sample_size = 2000)]
fn file_a_first_deadline(bencher: Bencher<'_, '_>) {
    let (store, cycle) = (Store::sessions(), Cycle::over(KEYS));
    let mut at_ms = START_MS + TTL_MS;
    bencher.with_inputs(|| store.fresh(&cycle)).bench_local_values(|key| {
        at_ms += 1;
        store.expire(key, at_ms);
    });
}

#[divan::bench(sample_size = 2000)]
fn slide_a_deadline(bencher: Bencher<'_, '_>) {
    let mut at_ms = START_MS + TTL_MS;
    let (store, cycle) = (Store::sessions_until(at_ms), Cycle::over(KEYS));
    bencher.bench_local(|| {
        at_ms += 1;
        store.expire(&store.keys[cycle.next()], at_ms);
    });
}

#[divan::bench(sample_size = 2000)]
fn bring_a_deadline_nearer(bencher: Bencher<'_, '_>) {
    let mut at_ms = START_MS + 1_000 * TTL_MS;
    let (store, cycle) = (Store::sessions_until(at_ms), Cycle::over(KEYS));
    let mut step = 0;
    bencher.bench_local(|| {
        step += 1;
        // Each round over all keys is one tick nearer than the one before.
        if step % KEYS == 1 {
            at_ms -= TICK_MS;
        }
        store.expire(&store.keys[cycle.next()], at_ms);
    });
}

/// A store whose keys have deadlines over the next minute, each then moved on by `slide_ms`.
fn store_with_deadlines(slide_ms: i64) -> Store {
    let store = Store::sessions();
    for (number, key) in store.keys.iter().enumerate() {
        let at_ms = START_MS + (number * 7919 % SPREAD_MS) as i64;
        store.expire(key, at_ms);
        store.expire(key, at_ms + slide_ms);
    }
    store
}

/// Lets all wheels catch up with a time at which every record of [`store_with_deadlines`] is due.
fn catch_up(store: &Store) -> usize {
    let now_ms = START_MS + SPREAD_MS as i64 + TICK_MS;
    store.keyspace.follow(Now::at_ms(now_ms));
    let (mut budget, mut expired) = (usize::MAX, 0);
    for shard in 0..SHARDS {
        expire_shard(&store.keyspace, shard, now_ms, &mut budget, |_, entry| {
            expired += 1;
            drop(entry);
        });
    }
    expired
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn expire_what_is_due(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(KEYS))
        .with_inputs(|| store_with_deadlines(0))
        .bench_local_refs(|store| assert_eq!(catch_up(store), KEYS));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn file_slid_keys_again(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(KEYS))
        .with_inputs(|| store_with_deadlines(TTL_MS))
        .bench_local_refs(|store| assert_eq!(catch_up(store), 0));
}
