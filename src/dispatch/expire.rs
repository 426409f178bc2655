//! One event loop's share of active expiry, and its effects.

use std::sync::atomic::Ordering::Relaxed;

use super::record;
use crate::base::clock::Stopwatch;
use crate::client::Gates;
use crate::command::{Event, LoopState, publish_events};
use crate::keyspace::{Expired, Expiry, SHARDS, expire_shard, sweep_shard};
use crate::observe::counters::Count;

/// Wheel records that one round handles with `active-expire-effort 1`; about a millisecond's work. What is left waits for the next round, between two sweeps
/// over the sockets.
const ROUND_BUDGET: usize = 2000;
/// Shards that a round without backlog sweeps for stale records. Rounds come every 16 ms, so one loop visits all shards in eight seconds.
const ROUND_SWEEPS: usize = 2;

/// Lets the wheels of this loop's shards catch up; says whether more is due. Shards are dealt out to the loops in turn. A round
/// that ran out of budget, or came to a shard that somebody holds for long, ends there, and the next one begins behind that shard: so no shard
/// waits for another that never gets done, and a request that holds many shards costs the loop one vain wait a round.
pub fn expire_round(state: &mut LoopState<'_>) -> bool {
    let services = state.services;
    // Each key that is reclaimed adds a record to the log; while that has no room, expired keys stay where they are, unseen.
    if services.gates().has(Gates::LOADING.and(Gates::ENDING))
        || services.write_log.is_full()
        || state.must_wait_with_events()
    {
        return false;
    }
    let paused = services.gates().has(Gates::PAUSED) && services.pause_at(state.steady_ms).is_some();
    if paused || !services.active_expire.load(Relaxed) {
        return false;
    }
    let start = Stopwatch::ticks();
    let (keyspace, now_ms) = (&services.keyspace, state.now_ms);
    let mut budget = ROUND_BUDGET * state.config.active_expire_effort as usize;
    let (mut changes, mut expired, mut elements) = (0, 0, 0);
    let (first, loops) = (state.loop_index, services.identity.loops);
    let own_shards = (SHARDS - first.min(SHARDS)).div_ceil(loops);
    let begin = state.expiry_turn.round;
    for turn in (begin..own_shards).chain(0..begin) {
        let shard = first + turn * loops;
        if !keyspace.has_due(shard, now_ms) {
            continue;
        }
        let mut noted = false;
        let came = expire_shard(keyspace, shard, now_ms, &mut budget, |database, what| {
            changes += 1;
            record::append_expired(&services.write_log, database, &what);
            match what {
                Expired::Key(entry) => {
                    expired += 1;
                    state.note(Event::EXPIRED, database, entry.view().key());
                }
                Expired::Elements { key, taken, gone, .. } => {
                    elements += taken.count() as u64;
                    state.note(Event::HEXPIRED, database, key);
                    if gone.is_some() {
                        state.note(Event::DEL, database, key);
                    }
                }
            }
            noted |= state.hand_over_events();
        });
        if noted {
            publish_events(state);
        }
        if came != Expiry::Done {
            state.expiry_turn.round = (turn + 1) % own_shards;
            break;
        }
    }
    if changes > 0 {
        state.count(Count::ExpiredKeys, expired);
        state.count(Count::ExpiredElements, elements);
        state.statistics.changes.add(changes);
    }
    let backlog = budget == 0;
    if backlog {
        state.count(Count::ExpiredTimeCapReached, 1);
    } else if own_shards > 0 {
        for _ in 0..ROUND_SWEEPS {
            let turn = state.expiry_turn.sweep % own_shards;
            if sweep_shard(keyspace, first + turn * loops, now_ms) {
                state.expiry_turn.sweep = turn + 1;
            }
        }
    }
    state.count(Count::ExpireCycleUs, state.stopwatch.microseconds(start, Stopwatch::ticks()));
    backlog
}
