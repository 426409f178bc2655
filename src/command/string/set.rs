//! Commands that set one string whatever it was: SET, SETNX, SETEX, PSETEX, GETSET.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::{Deadline, Event};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::UPDATE_KEY;
use super::expiry::{Expiry, Timing};
use crate::command::keys::Found;
use crate::keyspace::{Key, Position};
use crate::resp::Args;
use crate::storage::Kind;

const SET_KEY: &[Keys] = &[Keys {
    notes: "The old value is read only because of GET.",
    exact: Some(key_of_set),
    ..Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE).and(Effect::VARIABLE))
}];
const INSERT_KEY: &[Keys] = &[Keys::one(1, Access::Overwrite, Effect::INSERT)];
const OVERWRITE_KEY: &[Keys] = &[Keys::one(1, Access::Overwrite, Effect::UPDATE)];

fn key_of_set(keys: &Keys, args: Args<'_>) -> Found {
    let gets = args.iter_from(3).any(|word| word.eq_ignore_ascii_case(b"GET"));
    let (access, effect) = if gets {
        (Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE))
    } else {
        (Access::Overwrite, Effect::UPDATE)
    };
    Found { access, effect, ..keys.declared(args) }
}

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "getset",
        syntax: "GETSET key value",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key and returns the value it had. SET with GET does the same.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: getset,
    },
    CommandSpec {
        name: "psetex",
        syntax: "PSETEX key milliseconds value",
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key and lets it expire after some milliseconds.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_SET),
        keys: OVERWRITE_KEY,
        tips: &[],
        subcommands: &[],
        run: psetex,
    },
    CommandSpec {
        name: "set",
        syntax: "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key, whatever it held before. Creates the key if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME).and(Flags::LOGGED_AS_SET),
        keys: SET_KEY,
        tips: &[],
        subcommands: &[],
        run: set,
    },
    CommandSpec {
        name: "setex",
        syntax: "SETEX key seconds value",
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key and lets it expire after some seconds.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_SET),
        keys: OVERWRITE_KEY,
        tips: &[],
        subcommands: &[],
        run: setex,
    },
    CommandSpec {
        name: "setnx",
        syntax: "SETNX key value",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key only if the key does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: INSERT_KEY,
        tips: &[],
        subcommands: &[],
        run: setnx,
    },
];

/// Stores a value and reports it: `set`, and `expire` if the key got a deadline. `found` as for [`Cx::store`].
#[inline]
pub fn put(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>, value: &[u8], deadline: Deadline) {
    cx.store_as(key, found, value, Kind::String, deadline);
    cx.changed(Event::SET, key);
    if let Deadline::At(_) = deadline {
        cx.also(Event::EXPIRE, key);
    }
}

struct SetOptions {
    if_absent: bool,
    if_present: bool,
    get: bool,
    deadline: Deadline,
}

fn set_options(cx: &Cx<'_, '_>) -> Result<SetOptions, Failure> {
    let mut options =
        SetOptions { if_absent: false, if_present: false, get: false, deadline: Deadline::Clear };
    let mut expiry = Expiry::default();
    let mut at = 3;
    while let Some(word) = cx.args.get(at) {
        if word.eq_ignore_ascii_case(b"NX") && !options.if_present {
            options.if_absent = true;
        } else if word.eq_ignore_ascii_case(b"XX") && !options.if_absent {
            options.if_present = true;
        } else if word.eq_ignore_ascii_case(b"GET") {
            options.get = true;
        } else {
            at = expiry.take(cx.args, at, Timing::Persist)?;
            continue;
        }
        at += 1;
    }
    if let Some(at_ms) = expiry.deadline(cx)? {
        options.deadline = Deadline::At(at_ms);
    } else if expiry.timing.is_some() {
        options.deadline = Deadline::Keep;
    }
    Ok(options)
}

fn set(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    if cx.args.len() == 3 {
        let found = cx.find(key);
        put(cx, key, found, cx.args.at(2), Deadline::Clear);
        cx.reply.ok();
        return Ok(());
    }
    let options = set_options(cx)?;
    // With GET the old value is the reply, whether the new one is stored or not.
    let found = if options.get { old_value_into_reply(cx, key)? } else { cx.find(key) };
    let refused = options.if_absent && found.is_some() || options.if_present && found.is_none();
    if !refused {
        put(cx, key, found, cx.args.at(2), options.deadline);
        cx.log_set(2, options.deadline);
    }
    match (options.get, refused) {
        (true, _) => {}
        (false, true) => cx.reply.null(),
        (false, false) => cx.reply.ok(),
    }
    Ok(())
}

fn old_value_into_reply(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Option<Position>, Failure> {
    let found = cx.access_as(key, Kind::String)?;
    match found {
        Some(position) => cx.reply_value(key, position),
        None => cx.reply.null(),
    }
    Ok(found)
}

fn setnx(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let absent = cx.find(key).is_none();
    if absent {
        put(cx, key, None, cx.args.at(2), Deadline::Clear);
    }
    cx.reply.integer(i64::from(absent));
    Ok(())
}

fn setex(cx: &mut Cx<'_, '_>) -> Outcome {
    set_with_ttl(cx, Timing::Seconds)
}

fn psetex(cx: &mut Cx<'_, '_>) -> Outcome {
    set_with_ttl(cx, Timing::Milliseconds)
}

fn set_with_ttl(cx: &mut Cx<'_, '_>, timing: Timing) -> Outcome {
    let at_ms = timing.deadline(cx, cx.args.at(2))?;
    let key = cx.key(1)?;
    let found = cx.find(key);
    put(cx, key, found, cx.args.at(3), Deadline::At(at_ms));
    cx.log_set(3, Deadline::At(at_ms));
    cx.reply.ok();
    Ok(())
}

fn getset(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = old_value_into_reply(cx, key)?;
    put(cx, key, found, cx.args.at(2), Deadline::Clear);
    Ok(())
}
