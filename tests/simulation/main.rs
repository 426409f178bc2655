//! Whole lives of a server, drawn from seeds (`cloakroom::testing::simulation` says what happens in them and how to add to it).
//!
//! `CLOAKROOM_SEEDS=100000` runs so many seeds instead of 3,000; `CLOAKROOM_SEED=17` runs one; both together, so many from there on.

use std::sync::atomic::{AtomicU64, Ordering};

use cloakroom::testing::simulation::run_seed;
use parking_lot::Mutex;

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const SEEDS: u64 = 3_000;
/// Failures that are shown.
const SHOWN: usize = 3;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn whatever_happens_a_server_finds_what_it_has_promised() {
    let (seed, seeds) = (number("CLOAKROOM_SEED"), number("CLOAKROOM_SEEDS"));
    let first = seed.unwrap_or(0);
    let last = first + seeds.unwrap_or(if seed.is_some() { 1 } else { SEEDS });
    // A panic in a world is a finding; each is told once, when its sequence of events is as short as it gets.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, failures) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failures.lock().len() >= SHOWN {
                        return;
                    }
                    if let Err(failure) = run_seed(seed) {
                        failures.lock().push(failure);
                    }
                }
            });
        }
    });
    let _ = std::panic::take_hook();
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
