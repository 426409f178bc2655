//! Growth: how long single inserts take while the store grows from nothing to `CLOAKROOM_BENCH_KEYS` keys (2 million unless
//! told). No divan here: what matters is not the mean but the worst insert, and that is the one that resizes a table.
//!
//! An insert that fills its table is also timed by the thread's own processor time, because on a busy machine the worst wall
//! time is often only another process's turn. (Time that a hypervisor takes away counts as the thread's own, so look at the
//! middle of many as well.)

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::base::slabs::Attendant;
use cloakroom::keyspace::Entry;
use common::{START_MS, Store, TTL_MS, session_key};
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

/// Large enough for a key of its own cache lines, small enough that ten million fit a small machine.
const VALUE_BYTES: usize = 64;

/// An insert that made its shard's table larger.
struct Resize {
    slots: usize,
    wall: Duration,
    processor: Duration,
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn main() {
    let count = std::env::var("CLOAKROOM_BENCH_KEYS").ok().and_then(|text| text.parse().ok());
    // `cargo test --benches` only wants to know that it works.
    let usual = if std::env::args().any(|word| word == "--bench") { 2_000_000 } else { 10_000 };
    let count: usize = count.unwrap_or(usual);
    // As in the server: a thread that keeps memory ready.
    let attendant = Arc::<Attendant>::default();
    let work = Arc::clone(&attendant);
    let memory_thread = std::thread::spawn(move || work.run());
    let store = Store::with_keys(0, session_key);
    let mut nanoseconds: Vec<u32> = Vec::with_capacity(count);
    let mut resizes = Vec::new();
    for number in 0..count {
        let key = session_key(number);
        let (wall, resize) = insert(&store, key.as_bytes());
        nanoseconds.push(u32::try_from(wall.as_nanos()).unwrap_or(u32::MAX));
        resizes.extend(resize);
    }
    attendant.end();
    memory_thread.join().expect("the memory thread does not panic");
    nanoseconds.sort_unstable();
    print_inserts(&nanoseconds);
    print_resizes(resizes);
}

/// Inserts a key with a deadline, as `SET key value EX 1800` does.
#[allow(
    clippy::disallowed_methods,
    reason = "single inserts need nanoseconds, which the server's clock does not have"
)]
fn insert(store: &Store, key: &[u8]) -> (Duration, Option<Resize>) {
    let fills = store.at(key, START_MS, |partition, _, _| partition.table().is_full());
    let processor_start = if fills { processor_time() } else { Duration::ZERO };
    let start = Instant::now();
    let slots = store.at(key, START_MS, |partition, site, key| {
        let position = partition.insert(site, key.hash, Entry::new(key.bytes, &[b'v'; VALUE_BYTES]));
        partition.set_expire_at_ms(site, position, key.hash, Some(START_MS + TTL_MS), 0);
        partition.table().slots()
    });
    let wall = start.elapsed();
    let resize = fills.then(|| Resize { slots, wall, processor: processor_time() - processor_start });
    (wall, resize)
}

fn print_inserts(nanoseconds: &[u32]) {
    let at = |share: f64| {
        let index = (nanoseconds.len() as f64 * share) as usize;
        f64::from(nanoseconds.get(index).or(nanoseconds.last()).copied().unwrap_or(0)) / 1000.0
    };
    println!("{} inserts, microseconds:", nanoseconds.len());
    println!(
        "  p50 {:.2}  p99 {:.2}  p99.9 {:.2}  p99.99 {:.2}  max {:.2}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0)
    );
    let mut bound = 1_000u64;
    let mut below = 0;
    while below < nanoseconds.len() {
        let until = nanoseconds.partition_point(|time| u64::from(*time) < bound);
        if until > below {
            println!("  under {:6} us: {:9}", bound / 1000, until - below);
        }
        below = until;
        bound *= 2;
    }
}

fn print_resizes(mut resizes: Vec<Resize>) {
    println!("{} table resizes; processor time, and the longest wall time, in microseconds:", resizes.len());
    resizes.sort_unstable_by_key(|resize| (resize.slots, resize.processor));
    for of_size in resizes.chunk_by(|one, other| one.slots == other.slots) {
        let microseconds = |time: Duration| time.as_secs_f64() * 1e6;
        let at = |index: usize| microseconds(of_size[index].processor);
        let count = of_size.len();
        let wall = of_size.iter().map(|resize| resize.wall).max().unwrap_or_default();
        println!(
            "  to {:6} slots: {count:5} times  p50 {:8.1}  p90 {:8.1}  max {:8.1}  wall max {:8.1}",
            of_size[0].slots,
            at(count / 2),
            at(count * 9 / 10),
            at(count - 1),
            microseconds(wall)
        );
    }
}
