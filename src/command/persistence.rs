//! Commands that save: SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF.
//!
//! All of them start the same work in the background; SAVE only waits for its end, and other clients go on meanwhile. With the write log on
//! the new snapshot becomes the log's base, so BGSAVE and BGREWRITEAOF differ in what INFO says and in the texts of Redis.

use super::cx::{Cx, Failure, Outcome};
use super::spec::{CommandSpec, Flags, Group};
use crate::client::Blocked;
use crate::snapshot::SaveKind;

const SAVE_RUNS: Failure = Failure::text("ERR Background save already in progress");
const REWRITE_RUNS: Failure = Failure::text("ERR Background append only file rewriting already in progress");
const OTHER_RUNS: Failure = Failure::text(
    "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.",
);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bgrewriteaof",
        syntax: "BGREWRITEAOF",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Takes a new snapshot as the base of the write log and drops what was logged before it.",
        flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: rewrite_log,
    },
    CommandSpec {
        name: "bgsave",
        syntax: "BGSAVE [SCHEDULE]",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Saves a snapshot of all databases in the background.",
        flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: save_in_background,
    },
    CommandSpec {
        name: "lastsave",
        syntax: "LASTSAVE",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the Unix time of the last good save.",
        flags: LAST_SAVE_FLAGS,
        keys: &[],
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: last_save,
    },
    CommandSpec {
        name: "save",
        syntax: "SAVE",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Saves a snapshot of all databases and waits for its end.",
        flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::NO_ASYNC_LOADING).and(Flags::NO_MULTI),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: save,
    },
];

const LAST_SAVE_FLAGS: Flags =
    Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::ADMIN_CATEGORY).and(Flags::DANGEROUS);

fn save(cx: &mut Cx<'_, '_>) -> Outcome {
    // The count is read before the start, so that the save's end cannot be missed.
    let mut saves = cx.services().snapshots.ended() + 1;
    if !cx.services().start_save(SaveKind::Save, cx.steady_ms()) {
        let mut state = cx.services().snapshots.state.lock();
        if state.is_running(SaveKind::Save) {
            return Err(SAVE_RUNS);
        }
        // Behind the rewrite that runs. Another one that waits is not needed any more.
        state.scheduled[SaveKind::Rewrite as usize] = false;
        state.schedule(SaveKind::Save);
        saves = state.ended + 1 + u64::from(state.running.is_some());
    }
    cx.client.blocked = Some(Blocked::Saving { saves });
    Ok(())
}

fn save_in_background(cx: &mut Cx<'_, '_>) -> Outcome {
    let schedule = match cx.args.get(1) {
        None => false,
        Some(word) if cx.args.len() == 2 && word.eq_ignore_ascii_case(b"SCHEDULE") => true,
        Some(_) => return Err(Failure::SYNTAX),
    };
    // A transaction does not end with a cut in its middle: in Redis as here the save then comes after it.
    if !cx.in_exec && cx.services().start_save(SaveKind::Save, cx.steady_ms()) {
        cx.reply.simple("Background saving started");
        return Ok(());
    }
    let mut state = cx.services().snapshots.state.lock();
    if state.is_running(SaveKind::Save) {
        return Err(SAVE_RUNS);
    }
    if !schedule && !cx.in_exec {
        return Err(OTHER_RUNS);
    }
    state.schedule(SaveKind::Save);
    cx.reply.simple("Background saving scheduled");
    Ok(())
}

fn rewrite_log(cx: &mut Cx<'_, '_>) -> Outcome {
    if !cx.in_exec && cx.services().start_save(SaveKind::Rewrite, cx.steady_ms()) {
        cx.reply.simple("Background append only file rewriting started");
        return Ok(());
    }
    let mut state = cx.services().snapshots.state.lock();
    if state.is_running(SaveKind::Rewrite) {
        return Err(REWRITE_RUNS);
    }
    state.schedule(SaveKind::Rewrite);
    cx.reply.simple("Background append only file rewriting scheduled");
    Ok(())
}

fn last_save(cx: &mut Cx<'_, '_>) -> Outcome {
    let last_save_ms = cx.services().snapshots.state.lock().last_save_ms;
    cx.reply.integer(last_save_ms / 1000);
    Ok(())
}
