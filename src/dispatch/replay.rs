//! Doing again what the write log tells, when the server starts.
//!
//! A record is a request that was already accepted once: no gate, no statistics, no event, and no key expires but those that the log
//! names. It runs through the same functions, so a command has one meaning.

use crate::base::number::parse_i64;
use crate::client::Client;
use crate::command::{Cx, Failure, Flags, KeyPlan, Located, LoopState, RequestKeys, record_named};
use crate::keyspace::{Key, Locked, Wanted};
use crate::resp::{Args, Output, Reply};

use super::execute::{Prepared, first_key, prepare};

/// What an error ends with that another configuration helps against.
pub const NO_DATABASE: &str = "a database that this server does not have (see databases)";

/// Does one record again, after [`LoopState::begin_replay`]. `out` is used for the reply, which nobody reads.
///
/// # Errors
/// With why the record cannot be one of ours: no such command, or the command refuses it.
pub fn replay(
    state: &mut LoopState<'_>,
    client: &mut Client,
    args: Args<'_>,
    out: &mut Output,
) -> Result<(), String> {
    let name = || String::from_utf8_lossy(args.at(0)).into_owned();
    if is(args, b"MULTI") || is(args, b"EXEC") {
        // Whoever reads the records has seen to it that the group is whole.
        return Ok(());
    }
    if is(args, b"SELECT") {
        let database = args.get(1).and_then(parse_i64).and_then(|number| usize::try_from(number).ok());
        let known = database.filter(|database| *database < state.services.keyspace.databases());
        client.database = known.ok_or_else(|| format!("a request of {NO_DATABASE}"))?;
        return Ok(());
    }
    let keyspace = &state.services.keyspace;
    let Prepared { mut command, mut key } = prepare(keyspace, args);
    if command.is_none() {
        command = record_named(args.at(0));
        key = command.and_then(|command| first_key(keyspace, command, args));
    }
    let command = command.ok_or_else(|| format!("the unknown command '{}'", name()))?;
    if !command.accepts(args.len()) || !command.runs_itself(args.len()) {
        return Err(format!("'{}' with a wrong number of arguments", name()));
    }
    // Else a file could make the server end, sleep, or call others.
    if !command.has(Flags::WRITE) || command.has(Flags::NO_MULTI) {
        return Err(format!("'{}', which is never logged", name()));
    }
    let first_key = key.map(|(at, hash, shard)| (at, Key { bytes: args.at(at), hash, shard }));
    let several;
    let (keys, mut locked) = match (command.plan, first_key) {
        (KeyPlan::None, _) => (Located::None, Locked::none(keyspace)),
        (KeyPlan::One(_), Some((at, key))) => (Located::One(at, key), Locked::one(keyspace, key.shard)),
        (KeyPlan::Queue, _) => return Err(format!("'{}', which is never logged", name())),
        _ => {
            several = RequestKeys::of(keyspace, command, args);
            // Nobody else is at work, so the turn is free for what may ask for further keys.
            let mut wanted = Wanted { turn: command.has(Flags::OPEN_KEYS), ..Wanted::default() };
            several.add_shards(&mut wanted.shards);
            (Located::Many(&several), Locked::wanted(keyspace, &wanted))
        }
    };
    out.clear();
    let reply = Reply::new(out, client.protocol);
    let mut cx = Cx {
        args,
        command,
        reply,
        client,
        state,
        locked: &mut locked,
        keys,
        has_changed: false,
        in_exec: false,
    };
    let mut outcome = (command.spec.run)(&mut cx);
    if locked.take_stray() {
        outcome = Err(Failure::NOT_HELD);
    }
    drop(locked);
    state.effects.events.clear();
    state.effects.records.clear();
    outcome.map_err(|Failure(text)| format!("'{}' fails: {}", name(), String::from_utf8_lossy(&text)))
}

fn is(args: Args<'_>, name: &[u8]) -> bool {
    args.at(0).eq_ignore_ascii_case(name)
}
