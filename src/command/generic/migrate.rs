//! MIGRATE: hands keys over to another server.
//!
//! The request runs twice. The first time it copies the values, gives them to the control thread, and blocks its client: no event loop waits
//! for another machine. When the answer has come it runs again from its beginning, now with the result, and deletes those keys that are
//! still what was sent. A client that leaves in between leaves its keys in both places.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{Begin, Find, Found};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::base::number::parse_i64;
use crate::client::{Blocked, Luggage, MigrationOrder, MigrationResult, MovedKey};
use crate::keyspace::values::exchange;
use crate::resp::Args;

/// What a timeout that is not above zero means.
const DEFAULT_TIMEOUT_MS: u64 = 1000;
const KEY_MUST_BE_EMPTY: Failure =
    Failure::text("ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
const TOO_MUCH: Failure = Failure::text(
    "ERR more than 1 GB would be on its way to other servers at a time: name fewer keys, or wait for other MIGRATE requests",
);
const CANNOT_CONNECT: Failure = Failure::text("IOERR error or timeout connecting to the client");

const MOVED: Effect = Effect::ACCESS.and(Effect::DELETE);

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "migrate",
    syntax: "MIGRATE host port <key | \"\"> destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 username password] [KEYS key [key ...]]",
    group: Group::Generic,
    since: "2.6.0",
    complexity: "O(N) where N is the length of all values, here and there.",
    summary: "Moves keys to another server, or copies them, and waits until they have arrived.",
    flags: Flags::WRITE
        .and(Flags::DANGEROUS)
        .and(Flags::NO_MULTI)
        .and(Flags::LOGGED_OTHERWISE)
        .and(Flags::SECRET_OPTIONS),
    keys: &[
        Keys { exact: Some(only_key), ..Keys::one(3, Access::ReadWrite, MOVED) },
        Keys {
            begin: Begin::Behind { word: "KEYS", from: -2 },
            find: Find::Range { last: -1, step: 1, limit: 0 },
            exact: Some(listed_keys),
            ..Keys::one(3, Access::ReadWrite, MOVED.and(Effect::INCOMPLETE))
        },
    ],
    tips: &["nondeterministic_output"],
    subcommands: &[],
    run: migrate,
}];

/// Where the list of keys begins, if the request has one. A word of the credentials may be KEYS as well.
fn list(args: Args<'_>) -> Option<usize> {
    let mut at = 6;
    while let Some(word) = args.get(at) {
        at += 1;
        if word.eq_ignore_ascii_case(b"AUTH") {
            at += 1;
        } else if word.eq_ignore_ascii_case(b"AUTH2") {
            at += 2;
        } else if word.eq_ignore_ascii_case(b"KEYS") {
            return Some(at).filter(|at| *at < args.len());
        }
    }
    None
}

fn only_key(keys: &Keys, args: Args<'_>) -> Found {
    let found = keys.declared(args);
    if list(args).is_some() { Found { end: found.first, ..found } } else { found }
}

/// With a list and a key in front of it the request is wrong, and uses neither.
fn listed_keys(keys: &Keys, args: Args<'_>) -> Found {
    let list = list(args).filter(|_| args.at(3).is_empty());
    let (first, end) = list.map_or((0, 0), |first| (first, args.len()));
    Found { first, end, step: 1, access: keys.access, effect: MOVED, ..keys.declared(args) }
}

struct Options {
    copy: bool,
    replace: bool,
    credentials: Vec<Vec<u8>>,
    /// Where the keys are among the arguments.
    keys: std::ops::Range<usize>,
}

fn options(args: Args<'_>) -> Result<Options, Failure> {
    let mut options = Options { copy: false, replace: false, credentials: Vec::new(), keys: 3..4 };
    let mut at = 6;
    while let Some(word) = args.get(at) {
        at += 1;
        let left = args.len() - at;
        let mut credentials = 0;
        if word.eq_ignore_ascii_case(b"COPY") {
            options.copy = true;
        } else if word.eq_ignore_ascii_case(b"REPLACE") {
            options.replace = true;
        } else if word.eq_ignore_ascii_case(b"AUTH") && left >= 1 {
            credentials = 1;
        } else if word.eq_ignore_ascii_case(b"AUTH2") && left >= 2 {
            credentials = 2;
        } else if word.eq_ignore_ascii_case(b"KEYS") {
            if !args.at(3).is_empty() {
                return Err(KEY_MUST_BE_EMPTY);
            }
            options.keys = at..args.len();
            break;
        } else {
            return Err(Failure::SYNTAX);
        }
        if credentials > 0 {
            options.credentials = (at..at + credentials).map(|index| args.at(index).to_vec()).collect();
            at += credentials;
        }
    }
    Ok(options)
}

fn migrate(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = options(cx.args)?;
    if let Some(result) = cx.client.migration.take() {
        return finish(cx, &options, &result);
    }
    let timeout_ms = cx.integer(5)?;
    let database = cx.integer(4)?;
    let mut keys = Vec::new();
    let mut luggage = Luggage::new(&cx.services().migrating_bytes);
    for index in options.keys {
        let key = cx.key(index)?;
        if let Some(entry) = cx.read(key) {
            let body = exchange::encode(entry);
            // A key may be named any number of times.
            if !luggage.add(key.bytes.len() + body.bytes.len()) {
                return Err(TOO_MUCH);
            }
            keys.push(MovedKey { key: key.bytes.to_vec(), body, expire_at_ms: entry.expire_at_ms() });
        }
    }
    if keys.is_empty() {
        cx.reply.simple("NOKEY");
        return Ok(());
    }
    let order = MigrationOrder {
        host: String::from_utf8_lossy(cx.args.at(1)).into_owned(),
        port: parse_i64(cx.args.at(2)).and_then(|port| u16::try_from(port).ok()).unwrap_or(0),
        credentials: options.credentials,
        from_database: cx.client.database,
        database,
        timeout_ms: u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).unwrap_or(DEFAULT_TIMEOUT_MS),
        replace: options.replace,
        keys,
        luggage,
        now_ms: cx.now_ms(),
        loop_index: cx.client.info.loop_index,
        place: cx.client.info.place,
        id: cx.client.info.id,
    };
    if !cx.services().control.migrate(order) {
        return Err(CANNOT_CONNECT);
    }
    cx.client.blocked = Some(Blocked::Migrating);
    Ok(())
}

/// Deletes what has arrived, and answers.
fn finish(cx: &mut Cx<'_, '_>, options: &Options, result: &MigrationResult) -> Outcome {
    let mut changed = 0;
    if !options.copy {
        for moved in &result.arrived {
            let key = cx.services().keyspace.key(&moved.key);
            let Some(position) = cx.find(key) else { continue };
            let entry = cx.entry(key, position);
            let same_deadline = entry.expire_at_ms() == moved.expire_at_ms;
            if !same_deadline || exchange::encode(entry) != moved.body {
                changed += 1;
                continue;
            }
            cx.remove(cx.client.database, key, position);
            cx.log(&[b"DEL", key.bytes]);
            cx.changed(Event::DEL, key);
        }
    }
    if let Some(error) = &result.error {
        return Err(Failure(error.clone().into()));
    }
    if changed > 0 {
        return Err(Failure::owned(format!(
            "ERR {changed} keys were changed here while they were copied, and stay"
        )));
    }
    cx.reply.ok();
    Ok(())
}
