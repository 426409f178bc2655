//! A simulated world: whole lives of a server in one thread, with a disk that loses power and clocks that somebody sets.
//!
//! Nothing here runs by itself. Clients, event loops, the log's thread, the saving thread, expiry, the control thread's looks, time, the disk's
//! faults, crashes and ends are steps in an order that a seed draws ([`plan`]). Each life of the server begins by loading what the one before has left on the
//! [`PowerCutDisk`](super::power_cut_disk::PowerCutDisk), and then [`history`] checks that it is what may be there. So a defect in what is promised
//! shows as a seed; `shrink` leaves out what is not needed for it.
//!
//! To extend it:
//! - **A row** (a command) takes part by its syntax line ([`requests`]), if it writes; a data type by its keys and lines in `values`, too. An argument whose words need a form of their own is named in
//!   `requests::string` or `requests::integer`; a request to the server itself is a line of `plan::order`. What a value *is* says `keyspace::values::content`; what of it may be gone by itself, `content_at`.
//! - **A fault** is a [`plan::Op`], drawn in `plan::draw_op` and done in `life::Life::act`; one of the disk is a state of the `PowerCutDisk`. What
//!   only goes wrong when it lasts is a sequence, like `plan::draw_outage`: shrinking leaves out what it does not need.
//! - **A thread** is an object with `step(now) -> Next` that the server's own thread runs, too. It is a field of `life::Life`, with the `Next` that it has given last and an
//!   `Op` that gives it a turn. It gets none before what it waits for has come, so that a forgotten wake-up shows; it never waits and never reads a clock.
//! - **A rule** is a line in [`history`] (what a start may find) or a function in `checks` (what holds at any time).
//!
//! What is checked, besides that nothing panics:
//! - What is loaded is one of the states that the keyspace was in, not before the last that was promised; no deadline is earlier than in that state,
//!   and none later than `expire-log-slack` allows; those of fields are exact; after an orderly end it is the last state, exactly.
//! - `check` calls the directory sound, and it loads. A start that a failing disk refuses has removed nothing; another program's file stays.
//! - With `everysec`, a log that is not in trouble is durable after a second; with `always`, when its thread rests.
//! - After a round of expiry nothing is left whose time has long passed, however the clock was set. Who waits for a time is answered then.
//! - After a save nothing is captured, and on a disk that works nothing but the manifest's snapshot is there; a good one leaves the log in force, whatever has failed before. None waits for what does not come.
//! - A save that a save point asks for begins, and after failures each attempt later than the one before.
//! - The manifest names a new log only where a failed save has cut off records; files that it does not name, and bytes, are bounded.
//! - Whatever is asked to end ends, or refuses to, within a bounded number of steps; and on a disk that works again it does not refuse.

mod checks;
pub mod history;
mod life;
pub mod plan;
pub mod requests;
mod values;
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
