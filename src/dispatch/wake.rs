//! When a blocked client goes on, and what it then hears.

use std::sync::atomic::Ordering;

use crate::client::{Blocked, Client, Gates, NO_LOG};
use crate::command::LoopState;
use crate::resp::{Output, Reply};

use super::execute::withhold;
use super::transaction;

/// The answer to a client whose waiting CLIENT UNBLOCK has ended with ERROR.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// The answer to SHUTDOWN when saving has failed.
const NO_SHUTDOWN: &str = "ERR Errors trying to SHUTDOWN. Check logs.";

/// Lets a blocked client go on if what it waits for has come, and answers the request that it waited in. Gives whether it goes on;
/// a request that was held back by a pause is then run from its beginning. An EXEC goes on here, and may have to wait once more.
pub fn wake(state: &mut LoopState<'_>, client: &mut Client, out: &mut Output) -> bool {
    let done = match client.blocked {
        None | Some(Blocked::Unblocked | Blocked::Parked) => true,
        Some(Blocked::Paused) => state.services.pause_at(state.steady_ms).is_none(),
        Some(Blocked::Migrating) => client.migration.is_some(),
        Some(Blocked::Loading) => {
            let services = state.services;
            !services.gates().has(Gates::LOADING) || !services.snapshots.progress.is_awaited(state.steady_ms)
        }
        Some(Blocked::Reloading { result }) => result.is_some(),
        Some(Blocked::Ending) => !state.services.gates().has(Gates::ENDING),
        Some(Blocked::LogFull) => !state.services.write_log.is_full(),
        Some(Blocked::DeliveriesFull) => {
            let limit = state.config.delivery_buffer_limit;
            !state.services.clients.has_full_mailbox(state.loop_index, limit)
        }
        Some(Blocked::Withheld) => {
            client.withheld.as_ref().is_none_or(|withheld| withheld.awaited.are_complete())
        }
        Some(Blocked::Saving { saves }) => state.services.snapshots.ended() >= saves,
        Some(Blocked::ShuttingDown { order }) => {
            state.services.shutdowns_failed.load(Ordering::Acquire) >= order
        }
        Some(Blocked::Durable { offset, until_ms, local, .. }) => {
            let log = &state.services.write_log;
            log.is_durable(offset)
                || local && !state.config.appendonly
                || until_ms != 0 && until_ms <= state.steady_ms
        }
        Some(Blocked::Waiting { until_ms, .. }) => until_ms != 0 && until_ms <= state.steady_ms,
    };
    if !done || client.blocked.as_ref().is_some_and(Blocked::may_be_unblocked) && !is_ours(client) {
        return false;
    }
    let Some(blocked) = client.blocked.take().filter(|blocked| !blocked.runs_again()) else { return true };
    let mark = out.len();
    if blocked == Blocked::Withheld {
        // Whether it is sent was decided when it was written.
        out.append_all(client.withheld.take().unwrap_or_default().reply);
    } else {
        answer(state, blocked, &mut Reply::new(out, client.protocol));
        client.settle_reply(out, mark);
    }
    if !client.unfinished.is_empty() {
        transaction::run_unlocked(state, client, out);
        transaction::write_behind(state, client, out);
    }
    if client.withheld.is_some() {
        withhold(client, out, mark);
    }
    if client.blocked.is_some() {
        return false;
    }
    client.end_reply();
    true
}

/// Whether the waiting may end by itself. CLIENT UNBLOCK may have ended it already, and has been told so; its message then says how.
fn is_ours(client: &Client) -> bool {
    client.info.unblockable.swap(false, Ordering::AcqRel)
}

/// Answers a request whose waiting is over.
fn answer(state: &LoopState<'_>, blocked: Blocked, reply: &mut Reply<'_>) {
    match blocked {
        Blocked::Waiting { answer, .. } => reply.integer(answer),
        Blocked::Unblocked => {
            fail(state, reply, UNBLOCKED);
        }
        Blocked::Saving { .. } => match state.services.snapshots.state.lock().saves.last_ok {
            true => reply.ok(),
            false => fail(state, reply, "ERR"),
        },
        Blocked::Reloading { result } => match result {
            Some(Err(text)) => fail(state, reply, text),
            _ => reply.ok(),
        },
        Blocked::ShuttingDown { .. } => fail(state, reply, NO_SHUTDOWN),
        Blocked::Durable { local: true, .. } if !state.config.appendonly => {
            fail(state, reply, NO_LOG);
        }
        Blocked::Durable { written, .. } => {
            reply.array(2);
            let log = &state.services.write_log;
            reply.integer(i64::from(log.is_durable(written)));
            reply.integer(0);
        }
        Blocked::Paused
        | Blocked::Loading
        | Blocked::LogFull
        | Blocked::DeliveriesFull
        | Blocked::Ending
        | Blocked::Migrating
        | Blocked::Parked
        | Blocked::Withheld => {}
    }
}

fn fail(state: &LoopState<'_>, reply: &mut Reply<'_>, text: &str) {
    reply.error(text);
    state.count_error(text.as_bytes());
}
