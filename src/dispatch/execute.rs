//! Running one request.

use std::sync::atomic::Ordering::Relaxed;

use crate::base::clock::Stopwatch;
use crate::client::{Blocked, Client, Closing, Gates};
use crate::command::{
    COMMANDS, Command, Commands, Cx, Failure, KeyPlan, Located, LoopState, RequestKeys, feed_monitors,
    publish_behind,
};
use crate::keyspace::{Key, Keyspace, Locked, Wanted};
use crate::observe::counters::Count;
use crate::observe::slow_log::is_slow;
use crate::resp::{Args, Output, ParseError, Reply};

use super::admit::{self, Admission};
use super::{record, transaction};

/// What is known of a request before it runs; computed for a whole batch, so that memory can be prefetched.
#[derive(Clone, Copy)]
pub struct Prepared {
    /// The command or subcommand, if there is one of that name.
    pub command: Option<&'static Command>,
    /// Shard and hash of the first key, if the command has exactly one.
    pub key: Option<(usize, u64, usize)>,
}

/// What is known of a request without arguments (an empty line, `*0`).
pub const EMPTY: Prepared = Prepared { command: None, key: None };

/// Finds the command and hashes the key of a request.
#[inline(always)]
pub fn prepare(keyspace: &Keyspace, args: Args<'_>) -> Prepared {
    let commands: &'static Commands = &COMMANDS;
    let mut command = commands.find(args.at(0));
    if let Some(container) = command
        && !container.subcommands.is_empty()
        && let Some(name) = args.get(1)
    {
        command = container.subcommand(name).or(command);
    }
    let key = command.and_then(|command| first_key(keyspace, command, args));
    Prepared { command, key }
}

/// The one key of a request, hashed, if its row has one: where it stands, its hash and its shard.
#[inline]
pub(super) fn first_key(
    keyspace: &Keyspace,
    command: &Command,
    args: Args<'_>,
) -> Option<(usize, u64, usize)> {
    let KeyPlan::One(index) = command.plan else { return None };
    let key = keyspace.key(args.get(index)?);
    Some((index, key.hash, key.shard))
}

/// Runs one request of `client`, writing its reply into `out`. Gives false when the request has to wait (the client is blocked
/// now): it was not run, and must be given again later.
pub fn execute(
    state: &mut LoopState<'_>,
    client: &mut Client,
    prepared: Prepared,
    args: Args<'_>,
    out: &mut Output,
) -> bool {
    state.refresh();
    let mark = out.len();
    match prepared.command {
        Some(command) if command.subcommands.is_empty() => {
            client.info.last_command.store(command.id, Relaxed)
        }
        // An empty request is none.
        None if args.is_empty() => {}
        _ => client.info.last_command.store(usize::MAX, Relaxed),
    }
    let served = serve(state, client, prepared, args, out);
    if served != Served::Waits && client.gates.has(Gates::MUTED.and(Gates::WITHHELD)) {
        if served == Served::Whole {
            client.settle_reply(out, mark);
        }
        if client.gates.has(Gates::WITHHELD) {
            withhold(client, out, mark);
        }
        // The reply to a request that blocks its client is still to come.
        if client.blocked.is_none() {
            client.end_reply();
        }
    }
    served != Served::Waits
}

/// Takes what was written since `mark` back until other event loops have done what it tells of, whatever the request was (EXEC, too). If the request
/// waits for something else now, what it writes behind that comes to it.
#[cold]
pub fn withhold(client: &mut Client, out: &mut Output, mark: usize) {
    client.set_gate(Gates::WITHHELD, false);
    if let Some(withheld) = &mut client.withheld {
        withheld.reply.append_all(out.split_off(mark));
        client.blocked.get_or_insert(Blocked::Withheld);
    }
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    /// It was answered, or waits for its answer; whether the reply is sent is not decided yet.
    Whole,
    /// It was an EXEC, in which that was decided for each part.
    InParts,
    /// It was not run, and must be given again.
    Waits,
}

/// [`execute`], with a reply even if nobody wants it.
#[inline]
fn serve(
    state: &mut LoopState<'_>,
    client: &mut Client,
    prepared: Prepared,
    args: Args<'_>,
    out: &mut Output,
) -> Served {
    let mut reply = Reply::new(out, client.protocol);
    let Some(command) = prepared.command else {
        if args.is_empty() {
            // Nothing but the end of a request, which CLIENT REPLY SKIP waits for.
            return Served::Whole;
        }
        if admit::is_from_browser(args.at(0)) {
            tracing::warn!(client = client.info.address, "closed: a browser's request, perhaps an attack");
            client.closing = Closing::Now;
            return Served::Whole;
        }
        admit::reject(state, client, &mut reply, None, &admit::unknown_command(args));
        return Served::Whole;
    };
    if !command.accepts(args.len()) || !command.runs_itself(args.len()) {
        admit::reject_shape(state, client, &mut reply, command, args);
        return Served::Whole;
    }
    let gates = client.gates.and(state.services.gates()).common(command.concerns);
    if gates.any() {
        match admit::admit(state, client, gates, command, args, &mut reply) {
            Admission::Run => state.begin_request(),
            Admission::Done => return Served::Whole,
            Admission::Wait => return Served::Waits,
        }
    }
    let served = run(state, client, command, prepared, args, out);
    if matches!(client.blocked, Some(Blocked::Migrating | Blocked::Parked)) {
        // It is not done: it runs once more when the other server has answered, or in the client's next turn.
        return Served::Waits;
    }
    if gates.has(Gates::MONITORED) {
        feed_monitors(state, client, command, args);
        state.begin_request();
    }
    served
}

/// Locks what the command's row names, and runs it.
#[inline]
fn run(
    state: &mut LoopState<'_>,
    client: &mut Client,
    command: &'static Command,
    prepared: Prepared,
    args: Args<'_>,
    out: &mut Output,
) -> Served {
    let keyspace = &state.services.keyspace;
    let first_key = prepared.key.map(|(at, hash, shard)| (at, Key { bytes: args.at(at), hash, shard }));
    let (keys, mut locked) = match (command.plan, first_key) {
        (KeyPlan::None, _) => (Located::None, Locked::none(keyspace)),
        (KeyPlan::One(_), Some((at, key))) => (Located::One(at, key), Locked::one(keyspace, key.shard)),
        (KeyPlan::Queue, _) if client.transaction.is_some() => {
            transaction::run_queue(state, client, command, out);
            return Served::InParts;
        }
        _ => {
            run_several(state, client, command, args, out);
            return Served::Whole;
        }
    };
    call(state, client, command, keys, args, &mut locked, out, false);
    if settle(state, client, args) {
        publish_behind(state, locked);
        state.begin_request();
    }
    Served::Whole
}

/// [`run`] for any number of keys. A request that asks for further keys before it has changed anything runs again, holding those as well; each
/// time there is at least one shard more, or the turn, so this ends.
#[inline(never)]
fn run_several(
    state: &mut LoopState<'_>,
    client: &mut Client,
    command: &'static Command,
    args: Args<'_>,
    out: &mut Output,
) {
    let keyspace = &state.services.keyspace;
    let keys = RequestKeys::of(keyspace, command, args);
    let mut wanted = Wanted::default();
    keys.add_shards(&mut wanted.shards);
    loop {
        let mut locked = Locked::wanted(keyspace, &wanted);
        call(state, client, command, Located::Many(&keys), args, &mut locked, out, false);
        let more = locked.take_wanted();
        if settle(state, client, args) {
            publish_behind(state, locked);
            state.begin_request();
        }
        let Some(more) = more else { return };
        wanted.add(&more);
    }
}

/// Calls a command of an EXEC whose shards are released.
pub fn call_unlocked(
    state: &mut LoopState<'_>,
    client: &mut Client,
    command: &'static Command,
    args: Args<'_>,
    out: &mut Output,
) {
    let mut locked = Locked::none(&state.services.keyspace);
    call(state, client, command, Located::None, args, &mut locked, out, true);
    if settle(state, client, args) {
        publish_behind(state, locked);
        state.begin_request();
    }
}

/// Does what follows from a request that was called while its locks are held. Says whether it has events, to be published behind them.
#[inline(always)]
fn settle(state: &mut LoopState<'_>, client: &mut Client, args: Args<'_>) -> bool {
    if state.effects.records.any() {
        record::append_request(state, client, args);
    }
    !state.effects.events.is_empty()
}

/// Calls the command's function with the locks in place, and records how it went.
#[allow(clippy::too_many_arguments, reason = "the parts of a context, which borrow from different owners")]
#[inline(always)]
pub fn call<'s>(
    state: &mut LoopState<'s>,
    client: &mut Client,
    command: &'static Command,
    keys: Located<'_>,
    args: Args<'_>,
    locked: &mut Locked<'s>,
    out: &mut Output,
    in_exec: bool,
) {
    let mark = out.len();
    let reply = Reply::new(out, client.protocol);
    let mut cx = Cx { args, command, reply, client, state, locked, keys, has_changed: false, in_exec };
    let mut outcome = (command.spec.run)(&mut cx);
    if cx.locked.take_stray() {
        outcome = Err(Failure::NOT_HELD);
    }
    if let Err(Failure(text)) = outcome {
        cx.reply.rewind(mark);
        if cx.locked.wants_more() || cx.client.parked.is_some() {
            return;
        }
        cx.reply.error(&text);
        state.count_error(&text);
        state.statistics.commands.record_failed(command.id);
    }
    let form = state.effects.records.form;
    debug_assert!(command.is_logged_as(form), "{}: {form:?}", command.full_name);
    // The counter is read once a request: a request begins when the one before it ended, or its batch began.
    let end = Stopwatch::ticks();
    let elapsed_us = record_call(state, command, state.started_ticks, end);
    state.started_ticks = end;
    if is_slow(elapsed_us, state.config.slowlog_log_slower_than) {
        super::slow::record_slow(state, client, command, args, elapsed_us);
    }
    let threshold_ms = state.config.latency_monitor_threshold;
    if threshold_ms > 0 && elapsed_us >= threshold_ms as u64 * 1000 {
        super::slow::record_latency(state, command, elapsed_us);
    }
}

/// Counts a call that lasted from `start` to `end` (in ticks); gives the microseconds that it took.
#[inline]
pub fn record_call(state: &LoopState<'_>, command: &Command, start: u64, end: u64) -> u64 {
    let elapsed_us = state.stopwatch.microseconds(start, end);
    state.statistics.commands.record_call(command.id, elapsed_us);
    state.count(Count::CommandsProcessed, 1);
    if state.config.latency_tracking {
        state.statistics.latencies.record_us(command.id, elapsed_us);
    }
    elapsed_us
}

/// Answers input that does not keep to the protocol; the connection ends.
pub fn refuse(state: &LoopState<'_>, client: &mut Client, error: ParseError, out: &mut Output) {
    let (mark, text) = (out.len(), format!("ERR {error}"));
    Reply::new(out, client.protocol).error(&text);
    state.count_error(text.as_bytes());
    client.settle_reply(out, mark);
    client.close_after_reply();
}
