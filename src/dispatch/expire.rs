//! One event loop's share of active expiry, and its effects.

use std::sync::atomic::Ordering::Relaxed;

use super::after::publish_events;
use super::record;
use crate::client::Gates;
use crate::command::{Event, LoopState};
use crate::keyspace::{SHARDS, expire_shard};
use crate::observe::counters::Count;

/// Wheel records that one round handles; about a millisecond's work. What is left waits for the next round, between two sweeps
/// over the sockets.
const ROUND_BUDGET: usize = 2000;

/// Lets the wheels of this loop's shards catch up; says whether more is due. Shards are dealt out to the loops in turn.
pub fn expire_round(state: &mut LoopState<'_>) -> bool {
    let services = state.services;
    if services.gates().has(Gates::LOADING) {
        return false;
    }
    let paused = services.gates().has(Gates::PAUSED) && services.pause_at(state.now_ms).is_some();
    if paused || !services.active_expire.load(Relaxed) {
        return false;
    }
    let (keyspace, now_ms) = (&services.keyspace, state.now_ms);
    let (mut budget, mut expired) = (ROUND_BUDGET, 0);
    for shard in (state.loop_index..SHARDS).step_by(services.identity.loops) {
        if !keyspace.has_due(shard, now_ms) {
            continue;
        }
        let more = expire_shard(keyspace, shard, now_ms, &mut budget, |database, entry| {
            expired += 1;
            record::append_removal(&services.write_log, database, entry.view().key());
            state.note(Event::EXPIRED, database, entry.view().key());
            drop(entry);
        });
        if !state.effects.events.is_empty() {
            publish_events(state);
        }
        if more {
            break;
        }
    }
    if expired > 0 {
        state.count(Count::ExpiredKeys, expired);
        state.statistics.changes.add(expired);
    }
    let backlog = budget == 0;
    if backlog {
        state.count(Count::ExpiredTimeCapReached, 1);
    }
    backlog
}
