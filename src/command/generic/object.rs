//! OBJECT: what the server knows of a value besides its content. Asking is not an access.
//!
//! The encodings and reference counts that Redis would have for the same value are derived from Cloakroom's own forms, because clients and their tests ask for them.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::help;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::ONE_KEY_ROW;
use crate::base::number::parse_i64;
use crate::config::EvictionPolicy;
use crate::keyspace::values;
use crate::keyspace::{EntryRef, Kind, idle_seconds, lfu_counter};
use crate::observe::counters::Count;

/// The longest string that Redis keeps in one block with its header.
const EMBEDDED_LEN_MAX: usize = 44;
/// The longest text of a 64-bit integer.
const INTEGER_LEN_MAX: usize = 20;
/// Redis shares the objects of integers below this among all keys, and says so with a reference count of `SHARED`.
const SHARED_INTEGERS: i64 = 10_000;
const SHARED: i64 = i32::MAX as i64;

const ASK_KEY: &[Keys] = &[Keys::one(2, Access::ReadOnly, Effect::NONE)];

const QUESTION: CommandSpec =
    CommandSpec { keys: ASK_KEY, tips: &["nondeterministic_output"], ..ONE_KEY_ROW };

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "encoding",
        syntax: "OBJECT ENCODING key",
        since: "2.2.3",
        summary: "Returns how the value of a key would be represented in Redis.",
        run: encoding,
        ..QUESTION
    },
    CommandSpec {
        name: "freq",
        syntax: "OBJECT FREQ key",
        since: "4.0.0",
        summary: "Returns the logarithmic access counter of a key, under an LFU policy.",
        run: freq,
        ..QUESTION
    },
    help::row("OBJECT HELP", Group::Generic, "6.2.0", Flags::NONE),
    CommandSpec {
        name: "idletime",
        syntax: "OBJECT IDLETIME key",
        since: "2.2.3",
        summary: "Returns the seconds since the last access to a key, under an LRU policy.",
        run: idletime,
        ..QUESTION
    },
    CommandSpec {
        name: "refcount",
        syntax: "OBJECT REFCOUNT key",
        since: "2.2.3",
        summary: "Returns the number of references that the value of a key would have in Redis.",
        run: refcount,
        ..QUESTION
    },
];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "object",
    syntax: "OBJECT subcommand [argument ...]",
    group: Group::Generic,
    since: "2.2.3",
    complexity: "Depends on the subcommand.",
    summary: "A container for commands that look into values.",
    flags: Flags::NONE,
    keys: &[],
    tips: &[],
    subcommands: SUBCOMMANDS,
    run: help::help,
}];

/// The entry that the request asks for. Redis counts that as a hit or a miss, but tells nobody of a miss.
fn entry<'c>(cx: &'c mut Cx<'_, '_>) -> Result<Option<EntryRef<'c>>, Failure> {
    let key = cx.key(2)?;
    let found = cx.find(key);
    cx.state.count(if found.is_some() { Count::KeyspaceHits } else { Count::KeyspaceMisses }, 1);
    Ok(found.map(|position| cx.entry(key, position)))
}

/// The integer that Redis would keep instead of a string.
fn as_integer(entry: EntryRef<'_>) -> Option<i64> {
    let value = entry.value();
    let text = entry.kind() != Kind::String || value.len() > INTEGER_LEN_MAX;
    if text { None } else { parse_i64(value) }
}

/// The name of the encoding that a value would have in Redis.
pub fn encoding_name(entry: EntryRef<'_>) -> &'static str {
    if !entry.is_string() {
        values::encoding_name(entry)
    } else if as_integer(entry).is_some() {
        "int"
    } else if entry.kind() == Kind::Raw || entry.value().len() > EMBEDDED_LEN_MAX {
        "raw"
    } else {
        "embstr"
    }
}

fn encoding(cx: &mut Cx<'_, '_>) -> Outcome {
    match entry(cx)?.map(encoding_name) {
        Some(name) => cx.reply.bulk(name.as_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// How many references to the value there would be in Redis. Integers are not shared where each needs an access
/// history of its own: under a memory limit with an LRU or LFU policy.
pub fn reference_count(entry: EntryRef<'_>, sharing: bool) -> i64 {
    let shared = sharing && as_integer(entry).is_some_and(|value| (0..SHARED_INTEGERS).contains(&value));
    if shared { SHARED } else { 1 }
}

fn refcount(cx: &mut Cx<'_, '_>) -> Outcome {
    let policy = cx.config().maxmemory_policy;
    let keeps_history =
        policy.is_lfu() || matches!(policy, EvictionPolicy::AllkeysLru | EvictionPolicy::VolatileLru);
    let sharing = cx.config().maxmemory == 0 || !keeps_history;
    match entry(cx)?.map(|entry| reference_count(entry, sharing)) {
        Some(count) => cx.reply.integer(count),
        None => cx.reply.null(),
    }
    Ok(())
}

fn freq(cx: &mut Cx<'_, '_>) -> Outcome {
    let Some(access) = entry(cx)?.map(EntryRef::access) else {
        cx.reply.null();
        return Ok(());
    };
    let rules = cx.state.access;
    if !rules.lfu {
        return Err(Failure::text(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    cx.reply.integer(i64::from(lfu_counter(access, cx.steady_ms(), rules.decay_minutes)));
    Ok(())
}

fn idletime(cx: &mut Cx<'_, '_>) -> Outcome {
    let Some(access) = entry(cx)?.map(EntryRef::access) else {
        cx.reply.null();
        return Ok(());
    };
    if cx.state.access.lfu {
        return Err(Failure::text(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    cx.reply.integer(i64::from(idle_seconds(access, cx.steady_ms())));
    Ok(())
}
