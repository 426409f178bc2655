//! Crashes a server again and again, with kill -9 at random moments, and checks that what it acknowledged is there after the restart.
//!
//! Several connections write (`writer`), each in a database of its own and with a journal in this process's memory; what must be there follows from
//! a plain model (`state`). After a restart the database of each writer must hold the state after some prefix of its journal, values and
//! deadlines alike; the policy says how long that prefix is at least. Transactions, and sums over accounts that all writers share, are whole
//! or absent. Kills also fall into snapshots, log rewrites and loading.
//!
//! `CLOAKROOM_CRASH_SEED` repeats the random choices of a run (the moments stay a matter of timing), `CLOAKROOM_LONG` makes it 1,000
//! rounds instead of 50, `CLOAKROOM_TEST_SERVER` names another program, such as redis-server.

#[path = "../support/mod.rs"]
mod support;

mod operation;
mod round;
mod state;
mod writer;

use std::io::Write;

use cloakroom::base::random::Random;

use crate::round::{Harness, Policy};

/// Rounds of a usual run by policy; 50 in all.
const ALWAYS: u64 = 28;
const EVERY_SECOND: u64 = 12;
const SNAPSHOT: u64 = 10;
/// How many times as many with `CLOAKROOM_LONG`.
const LONG: u64 = 20;

fn run(policy: Policy, rounds: u64) {
    let seed = std::env::var("CLOAKROOM_CRASH_SEED").map_or_else(
        |_| support::now_ms() as u64,
        |seed| seed.parse().expect("CLOAKROOM_CRASH_SEED is a number"),
    );
    println!("{policy:?}: CLOAKROOM_CRASH_SEED={seed}");
    let rounds = if std::env::var_os("CLOAKROOM_LONG").is_some() { rounds * LONG } else { rounds };
    let mut harness = Harness::new(policy, Random::new(seed));
    for round in 0..rounds {
        if let Err(failure) = harness.round() {
            panic!("{policy:?}, round {round} of seed {seed}: {failure}");
        }
    }
    // Not by println, which is captured: the tally belongs to the log of a run that passes, too. Where there is none, nobody reads it.
    let _ = writeln!(std::io::stdout(), "{policy:?}: {rounds} rounds, {}", harness.tally());
}

#[test]
fn with_always_nothing_acknowledged_is_lost() {
    run(Policy::Always, ALWAYS);
}

#[test]
fn with_everysec_at_most_the_last_two_seconds_are_lost() {
    run(Policy::EverySecond, EVERY_SECOND);
}

#[test]
fn without_a_log_the_last_snapshot_is_whole() {
    run(Policy::Snapshot, SNAPSHOT);
}
