//! Commands that set one string whatever it was: SET, SETNX, SETEX, PSETEX, GETSET.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::{Deadline, Event};
use super::super::keys::READ_AND_UPDATE_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::condition::{Comparison, Test};
use super::expiry::{Expiry, Timing};
use crate::command::keys::Found;
use crate::keyspace::{Key, Position};
use crate::resp::Args;
use crate::storage::Kind;

const SET_KEY: &[Keys] = &[Keys {
    notes: "The old value is read only because of GET or a condition on it.",
    exact: Some(key_of_set),
    ..Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE).and(Effect::VARIABLE))
}];
const INSERT_KEY: &[Keys] = &[Keys::one(1, Access::Overwrite, Effect::INSERT)];
const OVERWRITE_KEY: &[Keys] = &[Keys::one(1, Access::Overwrite, Effect::UPDATE)];

fn key_of_set(keys: &Keys, args: Args<'_>) -> Found {
    let gets = args.iter_from(3).any(|word| word.eq_ignore_ascii_case(b"GET"));
    let compares = args.iter_from(3).any(|word| Test::named(word).is_some());
    let (access, effect) = match (gets, compares) {
        (true, _) => (Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE)),
        // The client does not see the value, but the command reads it.
        (false, true) => (Access::ReadWrite, Effect::UPDATE),
        (false, false) => (Access::Overwrite, Effect::UPDATE),
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
        keys: READ_AND_UPDATE_KEY,
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
        syntax: "SET key value [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1); with IFEQ, IFNE, IFDEQ or IFDNE O(N) where N is the length of the old value.",
        summary: "Sets the string value of a key, whatever it held before, or if that was as a condition says. Creates the key if it does not exist.",
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

/// When a value is set.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Condition<'a> {
    Always,
    /// NX
    Absent,
    /// XX
    Present,
    Value(Comparison<'a>),
}

impl Condition<'_> {
    /// Whether this may stand behind `earlier`: an option may be repeated, and the last one counts; different ones exclude each other.
    fn may_follow(self, earlier: Condition<'_>) -> bool {
        match (earlier, self) {
            (Condition::Always, _) => true,
            (Condition::Value(earlier), Condition::Value(later)) => earlier.test == later.test,
            _ => self == earlier,
        }
    }
}

/// The options of SET and MSETEX.
pub struct SetOptions<'a> {
    pub condition: Condition<'a>,
    get: bool,
    pub deadline: Deadline,
}

impl<'a> SetOptions<'a> {
    /// Reads the options from argument `at` on. Those about the old value are for SET alone, whose key is one.
    ///
    /// # Errors
    /// A syntax error, or those of [`Timing::deadline`].
    pub fn read(cx: &Cx<'a, '_>, mut at: usize, one_key: bool) -> Result<SetOptions<'a>, Failure> {
        let mut options = SetOptions { condition: Condition::Always, get: false, deadline: Deadline::Clear };
        let mut expiry = Expiry::default();
        while let Some(word) = cx.args.get(at) {
            let condition = if word.eq_ignore_ascii_case(b"NX") {
                Condition::Absent
            } else if word.eq_ignore_ascii_case(b"XX") {
                Condition::Present
            } else if one_key && word.eq_ignore_ascii_case(b"GET") {
                options.get = true;
                at += 1;
                continue;
            } else if let (true, Some(test)) = (one_key, Test::named(word)) {
                at += 1;
                Condition::Value(Comparison { test, with: cx.args.get(at).ok_or(Failure::SYNTAX)? })
            } else {
                at = expiry.take(cx.args, at, Timing::Persist)?;
                continue;
            };
            if !condition.may_follow(options.condition) {
                return Err(Failure::SYNTAX);
            }
            options.condition = condition;
            at += 1;
        }
        if let Some(at_ms) = expiry.deadline(cx)? {
            options.deadline = Deadline::At(at_ms);
        } else if expiry.timing.is_some() {
            options.deadline = Deadline::Keep;
        }
        Ok(options)
    }
}

fn set(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    if cx.args.len() == 3 {
        let found = cx.find(key);
        put(cx, key, found, cx.args.at(2), Deadline::Clear);
        cx.reply.ok();
        return Ok(());
    }
    let options = SetOptions::read(cx, 3, true)?;
    // With GET the old value is the reply, whether the new one is stored or not.
    let found = match options.condition {
        _ if options.get => old_value_into_reply(cx, key)?,
        Condition::Value(_) => cx.find_as(key, Kind::String)?,
        _ => cx.find(key),
    };
    let stores = match (options.condition, found) {
        (Condition::Always, _) => true,
        (Condition::Absent, found) => found.is_none(),
        (Condition::Present, found) => found.is_some(),
        (Condition::Value(comparison), None) => comparison.holds_of_none(),
        (Condition::Value(comparison), Some(position)) => {
            comparison.holds_of(cx.entry(key, position).value())?
        }
    };
    if stores {
        put(cx, key, found, cx.args.at(2), options.deadline);
        cx.log_set(2, options.deadline);
    }
    match (options.get, stores) {
        (true, _) => {}
        (false, false) => cx.reply.null(),
        (false, true) => cx.reply.ok(),
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
