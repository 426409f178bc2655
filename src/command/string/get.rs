//! Commands that read one string: GET, GETEX, GETDEL.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{READ_AND_DELETE_KEY, READ_AND_UPDATE_KEY, READ_KEY};
use super::super::spec::{CommandSpec, Flags, Group, Keys};
use super::expiry::{Expiry, Timing};
use crate::keyspace::Kind;

const GETEX_KEY: &[Keys] =
    &[Keys { notes: "The update is that of the expiration time.", ..READ_AND_UPDATE_KEY[0] }];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        syntax: "GET key",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: get,
    },
    CommandSpec {
        name: "getdel",
        syntax: "GETDEL key",
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key and deletes the key.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_DELETE_KEY,
        tips: &[],
        subcommands: &[],
        run: getdel,
    },
    CommandSpec {
        name: "getex",
        syntax: "GETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Returns the string value of a key and sets or removes its expiration time.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
        keys: GETEX_KEY,
        tips: &[],
        subcommands: &[],
        run: getex,
    },
];

fn get(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    if !cx.read_into_reply(key) {
        if cx.miss(key) {
            return Err(Failure::WRONG_TYPE);
        }
        cx.reply.null();
    }
    Ok(())
}

fn getdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::String)? else {
        cx.reply.null();
        return Ok(());
    };
    cx.reply_value(key, position);
    cx.remove(cx.client.database, key, position);
    cx.changed(Event::DEL, key);
    Ok(())
}

fn getex(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut expiry = Expiry::default();
    let mut at = 2;
    while at < cx.args.len() {
        at = expiry.take(cx.args, at, Timing::Keep)?;
    }
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::String)? else {
        cx.reply.null();
        return Ok(());
    };
    // Redis looks at the number only when there is a key to give it to.
    let deadline = expiry.deadline(cx)?;
    cx.reply_value(key, position);
    match deadline {
        Some(at_ms) if cx.has_passed(at_ms) => {
            cx.remove(cx.client.database, key, position);
            cx.log(&[b"DEL", key.bytes]);
            cx.changed(Event::DEL, key);
        }
        Some(at_ms) => {
            cx.slide_expire_at_ms(key, position, at_ms);
            cx.changed(Event::EXPIRE, key);
        }
        None if expiry.timing.is_some() && cx.entry(key, position).expire_at_ms().is_some() => {
            cx.set_expire_at_ms(key, position, None);
            cx.log(&[b"PERSIST", key.bytes]);
            cx.changed(Event::PERSIST, key);
        }
        None => {}
    }
    Ok(())
}
