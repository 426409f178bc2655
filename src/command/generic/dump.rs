//! DUMP and RESTORE: a value as bytes that another server understands. The payload is Redis's, see [`crate::rdb`].

use super::super::cx::{Cx, Failure, Outcome, encoding_limits};
use super::super::effects::Event;
use super::super::keys::READ_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::base::number::parse_i64;
use crate::keyspace::values::exchange::{self, Builder};
use crate::keyspace::{Entry, EntryRef, Key};
use crate::rdb::{Payload, PayloadError, seal_payload};

const BUSY_KEY: Failure = Failure::text("BUSYKEY Target key name already exists.");
const NEGATIVE_TTL: Failure = Failure::text("ERR Invalid TTL value, must be >= 0");
const NEGATIVE_IDLE_TIME: Failure = Failure::text("ERR Invalid IDLETIME value, must be >= 0");
const BAD_FREQUENCY: Failure = Failure::text("ERR Invalid FREQ value, must be >= 0 and <= 255");
const BAD_PAYLOAD: Failure = Failure::text("ERR DUMP payload version or checksum are wrong");
const BAD_FORMAT: Failure = Failure::text("ERR Bad data format");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "dump",
        syntax: "DUMP key",
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Returns the value of a key in the form that RESTORE takes, here and in Redis.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: dump,
    },
    CommandSpec {
        name: "restore",
        syntax: "RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]",
        group: Group::Generic,
        since: "2.6.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Creates a key with a value that DUMP returned.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::DANGEROUS).and(Flags::LOGGED_OTHERWISE),
        keys: &[Keys::one(1, Access::Overwrite, Effect::UPDATE)],
        tips: &[],
        subcommands: &[],
        run: restore,
    },
];

fn dump(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    match cx.read(key).map(exchange::encode) {
        Some(body) => cx.reply.bulk(&seal_payload(body)),
        None => cx.reply.null(),
    }
    Ok(())
}

/// What the options say of the access history.
#[derive(Clone, Copy)]
enum History {
    Fresh,
    IdleSeconds(i64),
    Frequency(u8),
}

struct Options {
    replace: bool,
    /// The time to live is a moment, in Unix milliseconds.
    absolute: bool,
    history: History,
}

fn options(cx: &Cx<'_, '_>) -> Result<Options, Failure> {
    let mut options = Options { replace: false, absolute: false, history: History::Fresh };
    let mut at = 4;
    while let Some(word) = cx.args.get(at) {
        let value = cx.args.get(at + 1);
        if word.eq_ignore_ascii_case(b"REPLACE") {
            options.replace = true;
        } else if word.eq_ignore_ascii_case(b"ABSTTL") {
            options.absolute = true;
        } else if word.eq_ignore_ascii_case(b"IDLETIME")
            && let Some(value) = value
            && !matches!(options.history, History::Frequency(_))
        {
            let seconds = parse_i64(value).ok_or(Failure::NOT_AN_INTEGER)?;
            if seconds < 0 {
                return Err(NEGATIVE_IDLE_TIME);
            }
            options.history = History::IdleSeconds(seconds);
            at += 1;
        } else if word.eq_ignore_ascii_case(b"FREQ")
            && let Some(value) = value
            && !matches!(options.history, History::IdleSeconds(_))
        {
            let counter = parse_i64(value).ok_or(Failure::NOT_AN_INTEGER)?;
            options.history = History::Frequency(u8::try_from(counter).map_err(|_| BAD_FREQUENCY)?);
            at += 1;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    Ok(options)
}

fn restore(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = options(cx)?;
    let (key, database, now_ms) = (cx.key(1)?, cx.client.database, cx.now_ms());
    let found = cx.find(key);
    if found.is_some() && !options.replace {
        return Err(BUSY_KEY);
    }
    let ttl = cx.integer(2)?;
    if ttl < 0 {
        return Err(NEGATIVE_TTL);
    }
    let entry = entry(cx, key)?;
    let expire_at_ms = match ttl {
        0 => None,
        _ if options.absolute => Some(ttl),
        _ => Some(ttl.saturating_add(now_ms)),
    };
    if let Some(position) = found {
        cx.remove(database, key, position);
    }
    if expire_at_ms.is_some_and(|at_ms| cx.has_passed(at_ms)) {
        // The key would be gone at once; it is not even made.
        if found.is_some() {
            cx.log(&[b"DEL", key.bytes]);
            cx.changed(Event::DEL, key);
        }
        cx.reply.ok();
        return Ok(());
    }
    let rules = cx.state.access;
    let access = match options.history {
        History::IdleSeconds(seconds) => rules.idle(seconds, cx.steady_ms()),
        History::Frequency(counter) => rules.frequency(counter, cx.steady_ms()),
        History::Fresh => rules.fresh(cx.steady_ms()),
    };
    log(cx, key, entry.view(), expire_at_ms);
    let position = cx.add(database, key, entry.with_access(access));
    cx.set_expire_at_ms(key, position, expire_at_ms);
    cx.changed(Event::RESTORE, key);
    cx.reply.ok();
    Ok(())
}

/// Records what has come: neither depends on the time. A string is a plain SET, which is not unpacked again.
fn log(cx: &mut Cx<'_, '_>, key: Key<'_>, entry: EntryRef<'_>, expire_at_ms: Option<i64>) {
    let digits = &mut itoa::Buffer::new();
    let at_ms = digits.format(expire_at_ms.unwrap_or(0)).as_bytes();
    match (entry.is_string(), expire_at_ms) {
        (true, Some(_)) => cx.log(&[b"SET", key.bytes, entry.value(), b"PXAT", at_ms]),
        (true, None) => cx.log(&[b"SET", key.bytes, entry.value()]),
        (false, _) => cx.log(&[b"RESTORE", key.bytes, at_ms, cx.args.at(3), b"REPLACE", b"ABSTTL"]),
    }
}

/// The entry that a payload makes of a key.
fn entry(cx: &Cx<'_, '_>, key: Key<'_>) -> Result<Entry, Failure> {
    let failure = |error| match error {
        PayloadError::VersionOrChecksum => BAD_PAYLOAD,
        PayloadError::Unsupported(name) => {
            Failure::owned(format!("ERR Bad data format: values of type {name} are not supported"))
        }
        PayloadError::Format(_) => BAD_FORMAT,
    };
    let payload = Payload::open(cx.args.at(3)).map_err(failure)?;
    let kind = exchange::kind_of(payload.kind());
    let mut builder = Builder::new(&cx.services().keyspace, kind);
    payload.give(&mut builder).map_err(failure)?;
    Ok(builder.finish(key.bytes, encoding_limits(cx.config(), kind)))
}
