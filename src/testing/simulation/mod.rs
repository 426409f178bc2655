//! A simulated world: whole lives of a server in one thread, with a disk that loses power and clocks that somebody sets.
//!
//! Nothing here runs by itself. Clients, event loops, the log's thread, the saving thread, expiry, the control thread's looks, time, the disk's
//! faults, crashes and ends are steps in an order that a seed draws ([`plan`]). Each life of the server begins by loading what the one before has left on the
//! [`PowerCutDisk`](super::power_cut_disk::PowerCutDisk), and then [`history`] checks that it is what may be there. So a defect in what is promised
//! shows as a seed; `shrink` leaves out what is not needed for it.
//!
//! What is checked, besides that nothing panics:
//! - What is loaded is one of the states that the keyspace was in, not before the last that was promised; no deadline is earlier than in that state,
//!   and none later than `expire-log-slack` allows; after an orderly end it is the last state, exactly.
//! - `check` calls the directory sound, and it loads.
//! - With `everysec`, a log that is not in trouble is durable after a second.
//! - After a round of expiry nothing is left whose time has long passed, however the clock was set.
//! - After a save nothing is captured; the directory holds no more files than the manifest names, once a start has cleared it.
//! - Whatever is asked to end ends within a bounded number of steps.
//!
//! To extend it:
//! - **A command or a data type** takes part by the syntax line of its rows ([`requests`]). An argument whose words need a form of their own is named in
//!   `requests::string` or `requests::integer`. What a value *is* beyond its bytes belongs into `history::observe`.
//! - **A fault** is a [`plan::Op`], drawn in `plan::draw_op`, done in `world::Life::act`.
//! - **An actor** is a field of `world::Life` with an `Op` that gives it a turn. It must not wait and must not read a clock.
//! - **A rule** is a line in `history` (what may be found) or in `world::Life::check` (what must hold at any time).

pub mod history;
pub mod plan;
pub mod requests;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::Plan;

/// Runs what a seed draws.
///
/// # Errors
/// What went wrong, with the seed and the shortest sequence of events that was found to lead there.
pub fn run_seed(seed: u64) -> Result<(), String> {
    let plan = Plan::draw(seed);
    let Some(wrong) = failure(&plan) else { return Ok(()) };
    let (plan, wrong) = shrink(plan, wrong);
    let ops: Vec<String> = plan.ops.iter().map(|op| format!("  {op}")).collect();
    Err(format!("seed {seed}: {wrong}\nbegins with {:?}\n{}", plan.start, ops.join("\n")))
}

/// What goes wrong in a world, if anything does.
fn failure(plan: &Plan) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| world::run(plan))) {
        Ok(result) => result.err(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    }
}

/// Leaves out events for as long as something still goes wrong: many at once first, then single ones.
fn shrink(mut plan: Plan, mut wrong: String) -> (Plan, String) {
    let mut size = plan.ops.len().div_ceil(2);
    loop {
        let before = plan.ops.len();
        let mut at = 0;
        while at < plan.ops.len() {
            let mut fewer = plan.clone();
            fewer.ops.drain(at..plan.ops.len().min(at + size));
            match failure(&fewer) {
                Some(still) => (plan, wrong) = (fewer, still),
                None => at += size,
            }
        }
        if size == 1 && plan.ops.len() == before {
            return (plan, wrong);
        }
        size = (size / 2).max(1);
    }
}
