//! EXEC: runs what was queued since MULTI, as one step that nobody sees half done.
//!
//! The locks of all queued requests and of all watched keys are taken at once, ascending, and held until the last request
//! has run. So watched keys are compared and the queue runs at one moment, and two transactions never wait for each other in
//! a circle. What others are told of it (keyspace events) follows when the locks are released.
//!
//! Some commands wait: for the control thread, a file, another loop (`Flags::CONTROL`). Whoever they wait for may need the shards that EXEC
//! holds. So they run behind the last request that uses keys, with nothing held, and everything behind that one runs after them in the order
//! of the queue. The replies keep their places; a client that is blocked by such a request goes on with the rest when it wakes up.

use crate::base::clock::Stopwatch;
use crate::client::{Client, Gates, QueuedRequest, Unfinished};
use crate::command::{
    COMMANDS, Command, Commands, Flags, KeyPlan, Located, LoopState, RequestKeys, end_transaction,
    feed_monitors, publish_behind, unwatch_all,
};
use crate::keyspace::{Keyspace, Locked, Wanted};
use crate::resp::{Args, Output, Reply};

use super::execute::{call, call_unlocked, record_call};
use super::record;

/// The reply to EXEC after a request that could not be queued.
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";

/// Answers EXEC of a client between MULTI and EXEC.
pub fn run_queue(state: &mut LoopState<'_>, client: &mut Client, exec: &'static Command, out: &mut Output) {
    let start = Stopwatch::ticks();
    let Some(transaction) = client.transaction.take() else { return };
    let mark = out.len();
    if transaction.aborted {
        unwatch_all(&state.services.keyspace, client);
        Reply::new(out, client.protocol).error(ABORTED);
        state.count_error(ABORTED.as_bytes());
        state.statistics.commands.record_failed(exec.id);
        client.settle_reply(out, mark);
    } else {
        run_locked(state, client, transaction.queue, out);
    }
    run_unlocked(state, client, out);
    write_behind(state, client, out);
    record_call(state, exec, start, Stopwatch::ticks());
    state.begin_request();
}

/// Puts what the client hears behind the reply to EXEC to where that ends, which may be still to come.
pub fn write_behind(state: &mut LoopState<'_>, client: &mut Client, out: &mut Output) {
    if state.effects.behind_exec.is_empty() {
        return;
    }
    let messages = std::mem::take(&mut state.effects.behind_exec);
    if client.blocked.is_none() {
        out.append_all(messages);
    } else {
        client.unfinished.push_back(Unfinished::Reply(messages));
    }
}

/// The command of a queued request.
fn command_of(request: &QueuedRequest) -> &'static Command {
    let commands: &'static Commands = &COMMANDS;
    commands.by_id(request.command).expect("only what is in the table was queued")
}

/// How many requests of a queue the locks are held for: all if none waits, else up to the last one that uses keys or is heard by others.
fn locked_requests(queue: &[QueuedRequest]) -> usize {
    let (mut locked, mut waits) = (0, false);
    for (index, command) in queue.iter().map(command_of).enumerate() {
        if command.has(Flags::CONTROL) {
            waits = true;
        } else if command.plan != KeyPlan::None
            || command.spec.flags.has_any(Flags::ALL_KEYS.and(Flags::PUBSUB).and(Flags::MAY_REPLICATE))
        {
            locked = index + 1;
        }
    }
    if waits { locked } else { queue.len() }
}

/// Runs requests under all their locks, if the watched keys are as they were. Leaves the others, and the replies that come behind theirs, to
/// [`run_unlocked`].
fn run_locked(state: &mut LoopState<'_>, client: &mut Client, queue: Vec<QueuedRequest>, out: &mut Output) {
    let mark = out.len();
    let keyspace = &state.services.keyspace;
    let keys_of = |request: &QueuedRequest| RequestKeys::of(keyspace, command_of(request), request.args());
    let keys: Vec<RequestKeys> = queue.iter().map(keys_of).collect();
    let mut locked = lock_queue(keyspace, client, &queue, &keys);
    if !watched_unchanged(state, client, &mut locked) {
        Reply::new(out, client.protocol).null_array();
        client.settle_reply(out, mark);
        return;
    }
    Reply::new(out, client.protocol).array(queue.len());
    client.settle_reply(out, mark);
    let last = locked_requests(&queue);
    // Of the replies that are kept until those in front of them are there.
    let mut allowed = out.allowed();
    for (index, (request, keys)) in queue.into_iter().zip(&keys).enumerate() {
        if index >= last || command_of(&request).has(Flags::CONTROL) {
            client.unfinished.push_back(Unfinished::Request(request));
        } else if client.unfinished.is_empty() {
            call_locked(state, client, &request, keys, &mut locked, out);
        } else {
            let mut reply = Output::limited(allowed);
            call_locked(state, client, &request, keys, &mut locked, &mut reply);
            allowed = if reply.is_over() { 0 } else { allowed.saturating_sub(reply.len()) };
            client.unfinished.push_back(Unfinished::Reply(reply));
        }
    }
    record::append_gathered(state, client);
    if !state.effects.events.is_empty() {
        publish_behind(state, locked);
    }
}

/// Holds the shards of all queued requests and of all watched keys, and the turn for further ones if a request may ask for such: what ran before
/// it cannot be undone.
fn lock_queue<'s>(
    keyspace: &'s Keyspace,
    client: &Client,
    queue: &[QueuedRequest],
    keys: &[RequestKeys],
) -> Locked<'s> {
    let mut wanted = Wanted::default();
    keys.iter().for_each(|keys| keys.add_shards(&mut wanted.shards));
    for command in queue.iter().map(command_of) {
        wanted.turn |= command.has(Flags::OPEN_KEYS);
        if command.has(Flags::ALL_KEYS) {
            wanted.shards.add_all();
        }
    }
    for watched in client.watched.keys() {
        wanted.shards.add(keyspace.key(&watched.key).shard);
    }
    Locked::wanted(keyspace, &wanted)
}

fn call_locked<'s>(
    state: &mut LoopState<'s>,
    client: &mut Client,
    request: &QueuedRequest,
    keys: &RequestKeys,
    locked: &mut Locked<'s>,
    out: &mut Output,
) {
    let (command, args) = (command_of(request), request.args());
    if command.has(Flags::PUBSUB) && !state.effects.events.is_empty() {
        // Messages go out at once; events of the requests before must not come behind them.
        publish_behind(state, ());
    }
    state.begin_request();
    let mark = out.len();
    call(state, client, command, Located::Many(keys), args, locked, out, true);
    client.settle_reply(out, mark);
    record::gather(state, client, args);
    tell_monitors(state, client, command, args);
}

/// Runs what is left of an EXEC, holding nothing, until a request has to wait or all is done.
pub fn run_unlocked(state: &mut LoopState<'_>, client: &mut Client, out: &mut Output) {
    while let Some(next) = client.unfinished.pop_front() {
        match next {
            Unfinished::Reply(reply) => out.append_all(reply),
            Unfinished::Request(request) => {
                // A queued CONFIG SET is in force for what runs behind it.
                state.refresh();
                state.begin_request();
                let (command, args) = (command_of(&request), request.args());
                let mark = out.len();
                call_unlocked(state, client, command, args, out);
                client.settle_reply(out, mark);
                tell_monitors(state, client, command, args);
            }
        }
        if client.blocked.is_some() {
            break;
        }
    }
    if client.unfinished.is_empty() {
        end_transaction(client);
    }
}

fn tell_monitors(state: &mut LoopState<'_>, client: &Client, command: &Command, args: Args<'_>) {
    if client.gates.and(state.services.gates()).common(command.concerns).has(Gates::MONITORED) {
        feed_monitors(state, client, command, args);
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
