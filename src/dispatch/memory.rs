//! `maxmemory` and `maxmemory-clients`: when something has to go, how much, and which requests are refused.
//!
//! Which key goes is `keyspace`'s choice; this file only decides how many. Memory that was given to the reclaiming thread counts as
//! freed already, else one large eviction would be followed by many needless ones. The invariant: one call evicts for a bounded time,
//! and while keys are left to evict, no request is refused.

use std::cmp::Reverse;
use std::sync::atomic::Ordering::Relaxed;

use super::record;
use crate::base::allocator;
use crate::base::clock::Stopwatch;
use crate::base::random::Random;
use crate::client::{Client, ClientFlags, Gates};
use crate::command::{COMMANDS, Command, Event, Flags, LoopState, publish_events};
use crate::config::EvictionPolicy;
use crate::keyspace::{EvictionRules, Policy};
use crate::observe::counters::Count;
use crate::services::Services;

/// The error of a request that needs memory when there is none.
pub const OUT_OF_MEMORY: &[u8] = b"OOM command not allowed when used memory > 'maxmemory'.";

/// Evictions between two looks at the time.
const EVICTIONS_A_LOOK: usize = 16;
/// `maxmemory-eviction-tenacity` at which a call has no time limit.
const TENACITY_UNLIMITED: u32 = 100;
/// How far memory is below its limit after a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Room {
    /// It is below the limit, or soon will be.
    Enough,
    /// The time was up; there are keys left to evict.
    Later,
    /// It is above the limit, and the policy has nothing that it may evict.
    Exhausted,
}

/// Whether a request is refused because memory is short. Evicts first, if the policy allows it. Called only while there is a limit.
pub fn is_refused(state: &mut LoopState<'_>, client: &Client, command: &Command) -> bool {
    make_room(state) == Room::Exhausted && needs_memory(client, command)
}

/// Evicts between two sweeps, so that a limit that was lowered is reached without any request; says whether there is more to do.
pub fn relieve(state: &mut LoopState<'_>) -> bool {
    // One loop is enough for what no request asks for; several would evict for the same excess.
    if state.loop_index != 0 {
        return false;
    }
    if !state.services.gates().has(Gates::MEMORY_LIMIT) {
        // Without a limit nothing is above it any more.
        note_room(state, true);
        return false;
    }
    !state.must_wait_with_events() && make_room(state) == Room::Later
}

/// Whether the request can make the server larger. Between MULTI and EXEC everything can, because it is queued; EXEC itself is judged by
/// what it would run.
fn needs_memory(client: &Client, command: &Command) -> bool {
    let Some(transaction) = &client.transaction else { return command.has(Flags::DENYOOM) };
    if command.has(Flags::RUNS_QUEUE) {
        let mut queued = transaction.queue.iter().filter_map(|request| COMMANDS.by_id(request.command));
        return queued.any(|command| command.has(Flags::DENYOOM));
    }
    // What runs at once and names no keys, which WATCH would remember, takes nothing.
    !command.has(Flags::NOT_QUEUED) || !command.spec.keys.is_empty()
}

/// Memory that counts against the limit.
fn counted_bytes(services: &Services) -> usize {
    // Evicting sessions would not make a slow disk faster.
    let leaving = services.keyspace.reclaimer().pending_bytes()
        + services.keyspace.captured_bytes()
        + services.write_log.backlog_bytes();
    allocator::used_bytes().saturating_sub(leaving)
}

fn excess_bytes(state: &LoopState<'_>) -> usize {
    match state.config.maxmemory {
        0 => 0,
        limit => counted_bytes(state.services).saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX)),
    }
}

/// Evicts until memory is below its limit, for as long as `maxmemory-eviction-tenacity` allows.
fn make_room(state: &mut LoopState<'_>) -> Room {
    let excess = excess_bytes(state);
    let services = state.services;
    if excess == 0 || services.gates().has(Gates::PAUSED.and(Gates::LOADING).and(Gates::ENDING)) {
        note_room(state, true);
        return Room::Enough;
    }
    // How much a database gives back is known only when it is freed, which is soon.
    if services.keyspace.reclaimer().is_freeing_databases() {
        return Room::Later;
    }
    let time_us = eviction_time_us(state.config.maxmemory_eviction_tenacity);
    let start = Stopwatch::ticks();
    let (mut freed, mut evicted) = (0, 0);
    let room = loop {
        match evict(state) {
            Some(bytes) => freed += bytes,
            None => break Room::Exhausted,
        }
        evicted += 1;
        if freed >= excess {
            break Room::Enough;
        }
        let elapsed_us = || state.stopwatch.microseconds(start, Stopwatch::ticks());
        if evicted % EVICTIONS_A_LOOK == 0 && time_us.is_some_and(|time_us| elapsed_us() > time_us) {
            break Room::Later;
        }
    };
    note_latency(state, start);
    note_room(state, room == Room::Enough);
    room
}

/// How long one call may evict; `None` is no limit. The steps are those that redis.conf describes: 500 microseconds at the default
/// of 10, less below, growing by 15 % a step above.
fn eviction_time_us(tenacity: u32) -> Option<u64> {
    match tenacity {
        0..=10 => Some(50 * u64::from(tenacity)),
        TENACITY_UNLIMITED.. => None,
        _ => Some((500.0 * 1.15f64.powi(tenacity as i32 - 10)) as u64),
    }
}

/// Evicts one key and tells who listens; gives the bytes that it took.
fn evict(state: &mut LoopState<'_>) -> Option<usize> {
    let rules = EvictionRules {
        policy: policy(state.config.maxmemory_policy),
        samples: state.config.maxmemory_samples as usize,
        decay_minutes: state.config.lfu_decay_time,
    };
    let (keyspace, now) = (&state.services.keyspace, state.now());
    let mut random = Random::new(state.random.next_u64());
    let (mut bytes, mut noted) = (None, false);
    let mut victims = std::mem::take(&mut state.victims);
    victims.evict_one(keyspace, rules, now, &mut random, |database, entry| {
        bytes = Some(entry.view().owned_bytes());
        record::append_removal(&state.services.write_log, database, entry.view().key());
        state.note(Event::EVICTED, database, entry.view().key());
        noted = state.hand_over_events();
        drop(entry);
    });
    state.victims = victims;
    if bytes.is_some() {
        state.count(Count::EvictedKeys, 1);
        state.statistics.changes.add(1);
        if noted {
            publish_events(state);
        }
    }
    bytes
}

/// Keeps the account of how long memory was above its limit.
fn note_room(state: &LoopState<'_>, enough: bool) {
    let since = &state.services.memory_exceeded_since_us;
    if !enough {
        // Another loop may have noted the beginning already; then its note stands.
        let _ = since.compare_exchange(0, state.steady_us, Relaxed, Relaxed);
    } else if since.load(Relaxed) != 0 {
        let since_us = since.swap(0, Relaxed);
        if since_us != 0 {
            state.count(Count::EvictionExceededUs, (state.steady_us - since_us).max(0) as u64);
        }
    }
}

fn note_latency(state: &LoopState<'_>, start: u64) {
    let threshold_ms = state.config.latency_monitor_threshold;
    let elapsed_ms = state.stopwatch.microseconds(start, Stopwatch::ticks()) / 1000;
    if threshold_ms > 0 && elapsed_ms >= threshold_ms as u64 {
        let seconds = state.now_ms.div_euclid(1000).max(0) as u64;
        let elapsed_ms = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        state.services.latency.lock().record("eviction-cycle", elapsed_ms, seconds);
    }
}

fn policy(policy: EvictionPolicy) -> Policy {
    match policy {
        EvictionPolicy::VolatileLru => Policy::VolatileLru,
        EvictionPolicy::VolatileLfu => Policy::VolatileLfu,
        EvictionPolicy::VolatileRandom => Policy::VolatileRandom,
        EvictionPolicy::VolatileTtl => Policy::VolatileTtl,
        EvictionPolicy::AllkeysLru => Policy::AllKeysLru,
        EvictionPolicy::AllkeysLfu => Policy::AllKeysLfu,
        EvictionPolicy::AllkeysRandom => Policy::AllKeysRandom,
        EvictionPolicy::NoEviction => Policy::NoEviction,
    }
}

/// How much memory all clients together may take; 0 for any.
pub fn client_memory_limit(state: &LoopState<'_>) -> u64 {
    state.config.maxmemory_clients.bytes_of(state.config.maxmemory)
}

/// Closes the largest clients until all together are below `maxmemory-clients`.
pub fn evict_clients(state: &LoopState<'_>) {
    let limit = client_memory_limit(state);
    if limit == 0 {
        return;
    }
    let mut clients: Vec<_> =
        state.services.clients.all().into_iter().map(|info| (info.memory_bytes() as u64, info)).collect();
    let mut total: u64 = clients.iter().map(|(bytes, _)| *bytes).sum();
    if total <= limit {
        return;
    }
    clients.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
    for (bytes, info) in clients {
        if total <= limit {
            return;
        }
        if !info.has(ClientFlags::NO_EVICT) {
            total -= bytes;
            state.services.clients.kill(&info, || None);
            state.count(Count::EvictedClients, 1);
            tracing::info!(client = info.address, bytes, "closed: clients use more than maxmemory-clients");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_stretches_the_time_of_one_call() {
        let steps = [0, 1, 10, 11, 50, 99].map(eviction_time_us);
        assert_eq!(steps[..4], [Some(0), Some(50), Some(500), Some(575)]);
        assert!(steps[4] > steps[3] && steps[5] > steps[4], "{steps:?}");
        assert_eq!(eviction_time_us(100), None);
    }
}
