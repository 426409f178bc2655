//! EXEC: runs what was queued since MULTI, as one step that nobody sees half done.
//!
//! The locks of all queued requests and of all watched keys are taken at once, ascending, and held until the last request
//! has run. So watched keys are compared and the queue runs at one moment, and two transactions never wait for each other in
//! a circle. What others are told of it (keyspace events) follows when the locks are released.

use crate::base::clock::Stopwatch;
use crate::client::{Client, Gates, QueuedRequest};
use crate::command::{
    COMMANDS, Command, Commands, Flags, KeyPlan, LoopState, end_transaction, feed_monitors, publish_behind,
    unwatch_all,
};
use crate::keyspace::{Locked, ShardSet};
use crate::observe::counters::Count;
use crate::resp::Reply;

use super::execute::{add_shards, call, record_call};
use super::record;

/// The reply to EXEC after a request that could not be queued.
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Answers EXEC of a client between MULTI and EXEC.
pub fn run_queue(state: &mut LoopState<'_>, client: &mut Client, exec: &'static Command, out: &mut Vec<u8>) {
    let start = Stopwatch::ticks();
    let Some(transaction) = client.transaction.take() else { return };
    if transaction.aborted {
        unwatch_all(&state.services.keyspace, client);
        Reply::new(out, client.protocol).error(ABORTED);
        state.services.statistics.record_error(ABORTED.as_bytes());
        state.count(Count::ErrorReplies, 1);
        state.statistics.commands.record_failed(exec.id);
    } else {
        run_locked(state, client, &transaction.queue, out);
    }
    end_transaction(client);
    record_call(state, exec, start, Stopwatch::ticks());
    state.begin_request();
}

/// Runs the requests under all their locks, if the watched keys are as they were.
fn run_locked(state: &mut LoopState<'_>, client: &mut Client, queue: &[QueuedRequest], out: &mut Vec<u8>) {
    let commands: &'static Commands = &COMMANDS;
    let find = |queued: &QueuedRequest| commands.by_id(queued.command);
    let keyspace = &state.services.keyspace;
    let mut shards = ShardSet::default();
    for queued in queue {
        if let Some(command) = find(queued) {
            add_shards(keyspace, command, queued.args(), &mut shards);
        }
    }
    for watched in client.watched.keys() {
        shards.add(keyspace.key(&watched.key).shard);
    }
    let mut locked = Locked::many(keyspace, shards);
    if !watched_unchanged(state, client, &mut locked) {
        Reply::new(out, client.protocol).null_array();
        return;
    }
    Reply::new(out, client.protocol).array(queue.len());
    for queued in queue {
        let Some(command) = find(queued) else { continue };
        // A queued CONFIG SET is in force for what follows it.
        state.refresh();
        if command.has(Flags::PUBSUB) && !state.effects.events.is_empty() {
            // Messages go out at once; events of the requests before must not come behind them.
            publish_behind(state, ());
        }
        let args = queued.args();
        state.begin_request();
        let first_key = match command.plan {
            KeyPlan::One(index) => Some((index, keyspace.key(args.at(index)))),
            _ => None,
        };
        call(state, client, command, first_key, args, &mut locked, out, true);
        record::gather(state, client, args);
        let gates = state.services.gates().common(command.concerns);
        if gates.has(Gates::MONITORED) {
            feed_monitors(state, client, command, args);
        }
    }
    record::append_gathered(state, client);
    if !state.effects.events.is_empty() {
        publish_behind(state, locked);
    }
}

/// Ends the client's watches; says whether no watched key was changed or has expired since.
fn watched_unchanged(state: &LoopState<'_>, client: &mut Client, locked: &mut Locked<'_>) -> bool {
    let mut unchanged = true;
    for (watched, sighting) in client.watched.drain() {
        let key = locked.keyspace().key(&watched.key);
        let (partition, _) = locked.partition(watched.database, key, state.now_ms);
        let found = partition.find(key.hash, key.bytes);
        let expired = found.is_some_and(|position| partition.entry(position).is_expired(state.now_ms));
        let table = &mut locked.shard(key.shard).watched;
        let same = table.unwatch(watched.database, key.bytes, sighting.version, &client.info.watch_broken);
        unchanged &= same && (!expired || sighting.was_expired);
    }
    unchanged
}
