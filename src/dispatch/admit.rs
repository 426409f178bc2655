//! Admission: the gates that a request may have to pass before it runs. Reached only when a gate that concerns the command is in
//! force; the order of the checks is that of Redis, because it decides which error a client sees.

use std::borrow::Cow;
use std::sync::atomic::Ordering::Relaxed;

use super::memory;
use crate::base::quote::up_to_zero;
use crate::client::{Blocked, Client, ClientFlags, Closing, Gates, QueuedRequest};
use crate::command::{COMMANDS, Command, Flags, KeyPlan, LOADING, LoopState, end_transaction, unwatch_all};
use crate::observe::counters::Count;
use crate::resp::{Args, Reply};

/// What becomes of a request at the gates.
pub enum Admission {
    /// It runs.
    Run,
    /// It was answered.
    Done,
    /// It waits, unchanged.
    Wait,
}

/// How much of an unknown command's arguments its error repeats.
const ECHOED_BYTES: usize = 128;

/// Checks the gates in force.
#[cold]
pub fn admit(
    state: &mut LoopState<'_>,
    client: &mut Client,
    gates: Gates,
    command: &'static Command,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Admission {
    if gates.has(Gates::PROTECTED) && !may_debug(state, client) {
        reject(state, client, reply, Some(command), DEBUG_NOT_ALLOWED);
        return Admission::Done;
    }
    if gates.has(Gates::DELIVERIES_FULL) && must_wait_with_deliveries(state, client, gates, command) {
        client.blocked = Some(Blocked::DeliveriesFull);
        return Admission::Wait;
    }
    let limited = !gates.has(Gates::UNAUTHENTICATED) && state.services.gates().has(Gates::MEMORY_LIMIT);
    if limited && memory::is_refused(state, client, command) {
        reject(state, client, reply, Some(command), memory::OUT_OF_MEMORY);
        return Admission::Done;
    }
    let loading = gates.has(Gates::LOADING) && !runs_while_loading(client, command);
    let awaited = loading && state.services.snapshots.progress.is_awaited(state.steady_ms);
    let refusal = if gates.has(Gates::UNAUTHENTICATED) {
        Some(Cow::Borrowed(NO_AUTH))
    } else if gates.has(Gates::IN_TRANSACTION) && command.has(Flags::NO_MULTI) {
        Some(Cow::Borrowed(NO_MULTI))
    } else if gates.has(Gates::WRITES_REFUSED) && is_refused_with_writes(client, command) {
        state.services.why_writes_are_refused(&state.config).map(Cow::Owned)
    } else if gates.has(Gates::SUBSCRIBED) {
        Some(Cow::Owned(while_subscribed(command)))
    } else if loading && !awaited {
        Some(Cow::Borrowed(LOADING))
    } else if gates.has(Gates::MONITORING) && does(client, command, USES_KEYSPACE) {
        Some(Cow::Borrowed(MONITOR_AND_KEYS))
    } else {
        None
    };
    if let Some(text) = refusal {
        reject(state, client, reply, Some(command), text.as_bytes());
        return Admission::Done;
    }
    if awaited {
        client.blocked = Some(Blocked::Loading);
        return Admission::Wait;
    }
    if gates.has(Gates::PAUSED) && is_paused(state, client, command) {
        client.blocked = Some(Blocked::Paused);
        return Admission::Wait;
    }
    if gates.has(Gates::ENDING) && does(client, command, MAY_WRITE) {
        client.blocked = Some(Blocked::Ending);
        return Admission::Wait;
    }
    if gates.has(Gates::LOG_FULL) && does(client, command, MAY_WRITE) {
        if state.services.write_log.is_full() {
            client.blocked = Some(Blocked::LogFull);
            return Admission::Wait;
        }
        // Who raised the gate may have been slower than the log's thread that made room.
        state.services.set_gate(Gates::LOG_FULL, false);
    }
    if gates.has(Gates::IN_TRANSACTION) {
        enqueue(state, client, command, args, reply);
        return Admission::Done;
    }
    Admission::Run
}

const DEBUG_NOT_ALLOWED: &[u8] = b"ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", \
    you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
const NO_AUTH: &str = "NOAUTH Authentication required.";
const NO_MULTI: &str = "ERR Command not allowed inside a transaction";
/// A client that monitors counts as a replica in Redis, and the text says so.
const MONITOR_AND_KEYS: &str = "ERR Replica can't interact with the keyspace";

fn may_debug(state: &LoopState<'_>, client: &Client) -> bool {
    state.config.enable_debug_command.allows(client.info.has(ClientFlags::LOCAL))
}

/// What CLIENT PAUSE WRITE stops.
const MAY_WRITE: Flags = Flags::WRITE.and(Flags::MAY_REPLICATE);
const USES_KEYSPACE: Flags = MAY_WRITE.and(Flags::READONLY);

fn while_subscribed(command: &Command) -> String {
    let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
    format!("ERR Can't execute '{}': only {allowed} are allowed in this context", command.full_name)
}

/// Whether the request has one of `flags`; for EXEC, whether one of the requests that it would run has.
fn does(client: &Client, command: &Command, flags: Flags) -> bool {
    if command.plan != KeyPlan::Queue {
        return command.spec.flags.has_any(flags);
    }
    let queue = client.transaction.as_ref().map_or(&[][..], |transaction| &transaction.queue);
    let queued = queue.iter().filter_map(|queued| COMMANDS.by_id(queued.command));
    queued.into_iter().any(|command| command.spec.flags.has_any(flags))
}

/// EXEC does if all that it would run does: what was queued before the data were loaded again must not run in the middle of that.
fn runs_while_loading(client: &Client, command: &Command) -> bool {
    if command.plan != KeyPlan::Queue {
        return command.has(Flags::LOADING);
    }
    let queue = client.transaction.as_ref().map_or(&[][..], |transaction| &transaction.queue);
    let mut queued = queue.iter().filter_map(|queued| COMMANDS.by_id(queued.command));
    queued.all(|command| command.has(Flags::LOADING))
}

fn is_refused_with_writes(client: &Client, command: &Command) -> bool {
    does(client, command, MAY_WRITE.and(Flags::REFUSED_WITH_WRITES))
}

/// Whether the request would send something to other clients while too much is under way to those of other loops already. What is only
/// queued, or refused because the client is not known, sends nothing.
fn must_wait_with_deliveries(
    state: &LoopState<'_>,
    client: &Client,
    gates: Gates,
    command: &Command,
) -> bool {
    let queued = gates.has(Gates::IN_TRANSACTION) && command.plan != KeyPlan::Queue;
    if queued || gates.has(Gates::UNAUTHENTICATED) {
        return false;
    }
    let has_events = !state.config.notify_keyspace_events.is_silent() && does(client, command, USES_KEYSPACE);
    let sends = gates.has(Gates::MONITORED) || has_events || does(client, command, Flags::MAY_REPLICATE);
    sends && state.must_wait_with_deliveries()
}

/// Whether CLIENT PAUSE holds this request back. Monitors are not paused, as in Redis.
fn is_paused(state: &LoopState<'_>, client: &Client, command: &Command) -> bool {
    if client.gates.has(Gates::MONITORING) {
        return false;
    }
    let pause = state.services.pause_at(state.steady_ms);
    pause.is_some_and(|pause| pause.all || does(client, command, MAY_WRITE))
}

/// Queues a request for EXEC. Queued requests count as unprocessed input: a client that exceeds the limit of that is closed,
/// as in Redis.
fn enqueue(
    state: &LoopState<'_>,
    client: &mut Client,
    command: &Command,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) {
    let Some(transaction) = &mut client.transaction else { return };
    // What will never run need not be kept.
    if !transaction.aborted {
        let queued = QueuedRequest::new(command.id, args);
        transaction.bytes += queued.memory_bytes();
        transaction.queue.push(queued);
        client.info.queued.store(transaction.queue.len() as i64, Relaxed);
        client.info.queued_bytes.store(transaction.bytes, Relaxed);
    }
    if transaction.bytes as u64 > state.config.client_query_buffer_limit {
        state.count(Count::QueryBufferLimitDisconnections, 1);
        tracing::warn!(
            client = client.info.address,
            "closed: more input queued in a transaction than client-query-buffer-limit"
        );
        client.closing = Closing::Now;
        return;
    }
    reply.simple("QUEUED");
}

/// Answers with an error instead of running the request. A transaction that is being queued is spoilt by it, and one that was to
/// run now is over.
#[cold]
pub fn reject(
    state: &mut LoopState<'_>,
    client: &mut Client,
    reply: &mut Reply<'_>,
    command: Option<&Command>,
    text: &[u8],
) {
    // A request that waited for the other server (MIGRATE), or for its next turn, and is refused now must not leave anything to the next one.
    client.migration = None;
    client.parked = None;
    let mut text = Cow::Borrowed(text);
    if command.is_some_and(|command| command.plan == KeyPlan::Queue) {
        let cause = text.strip_prefix(b"ERR ").unwrap_or(&text);
        text = Cow::Owned([EXEC_REFUSED, cause].concat());
        end_transaction(client);
        unwatch_all(&state.services.keyspace, client);
    } else if let Some(transaction) = &mut client.transaction {
        transaction.aborted = true;
    }
    reply.error_bytes(&text);
    state.count_error(&text);
    if let Some(command) = command {
        state.statistics.commands.record_rejected(command.id);
    }
}

/// [`reject`] for a request with a wrong number of arguments, or of a container's subcommand that does not exist: that is no call of the container,
/// and counts for no command, as in Redis.
#[cold]
pub fn reject_shape(
    state: &mut LoopState<'_>,
    client: &mut Client,
    reply: &mut Reply<'_>,
    command: &Command,
    args: Args<'_>,
) {
    let is_known = command.subcommands.is_empty() || args.len() == 1;
    reject(state, client, reply, is_known.then_some(command), &bad_shape(command, args));
}

const EXEC_REFUSED: &[u8] = b"EXECABORT Transaction discarded because of: ";

/// What an error repeats of an argument: at most `len_max` bytes of it.
fn shown(arg: &[u8], len_max: usize) -> &[u8] {
    up_to_zero(&arg[..arg.len().min(len_max)])
}

/// Whether this is the head of a browser's request: a web page may make its reader's browser send commands to a server that only
/// the reader can reach, and those come behind such a line. Redis closes the connection, too.
pub fn is_from_browser(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:")
}

/// The error for a name that no command has.
#[cold]
pub fn unknown_command(args: Args<'_>) -> Vec<u8> {
    let mut text = b"ERR unknown command '".to_vec();
    text.extend_from_slice(shown(args.at(0), ECHOED_BYTES));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut echoed = 0;
    for arg in args.iter_from(1) {
        if echoed >= ECHOED_BYTES {
            break;
        }
        let shown = shown(arg, ECHOED_BYTES - echoed);
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        echoed += shown.len() + 3;
    }
    let hint = NOT_YET.iter().find(|(name, _)| args.at(0).eq_ignore_ascii_case(name.as_bytes()));
    if let Some((_, hint)) = hint {
        text.extend_from_slice(hint.as_bytes());
    }
    text
}

/// Commands that tools of Redis rely on and that do not exist yet: what to do instead stands behind the error, because the tools show it.
const NOT_YET: &[(&str, &str)] = &[
    ("lpush", "(there are no lists yet: redis-benchmark -t ping,set,get,incr,mset works)"),
    ("psync", "(there is no replication yet: cloakroom export FILE.rdb writes what redis-cli --rdb would)"),
    ("sync", "(there is no replication yet: cloakroom export FILE.rdb writes what redis-cli --rdb would)"),
];

/// The error for a wrong number of arguments, or for a container without a subcommand of the given name.
#[cold]
fn bad_shape(command: &Command, args: Args<'_>) -> Vec<u8> {
    if !command.subcommands.is_empty()
        && let Some(name) = args.get(1)
    {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(shown(name, ECHOED_BYTES));
        let container = command.full_name.to_ascii_uppercase();
        text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
        return text;
    }
    format!("ERR wrong number of arguments for '{}' command", command.full_name).into_bytes()
}
