//! Deadlines of fields: HEXPIRE and its kin, HPERSIST, HTTL and its kin (Redis 7.4).

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::UPDATE_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::named::{NO_POSITIVE_NUMBER, Unit, fields_at, log_fields};
use super::read::read;
use super::{HASH_ROW, fields, fields_mut, find_to_change, remove_empty};
use crate::keyspace::{Key, Kind};

const SETTER: CommandSpec = CommandSpec {
    since: "7.4.0",
    complexity: "O(N) where N is the number of specified fields",
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
    keys: UPDATE_KEY,
    ..HASH_ROW
};
const GETTER: CommandSpec =
    CommandSpec { since: "7.4.0", complexity: "O(N) where N is the number of specified fields", ..HASH_ROW };
/// What is left changes between two requests.
const REMAINING_TIPS: &[&str] = &["nondeterministic_output"];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hexpire",
        syntax: "HEXPIRE key seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Lets fields of a hash expire after some seconds.",
        run: hexpire,
        ..SETTER
    },
    CommandSpec {
        name: "hexpireat",
        syntax: "HEXPIREAT key unix-time-seconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Lets fields of a hash expire at a Unix time in seconds.",
        run: hexpireat,
        ..SETTER
    },
    CommandSpec {
        name: "hexpiretime",
        syntax: "HEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Returns the Unix times in seconds at which fields of a hash expire.",
        run: hexpiretime,
        ..GETTER
    },
    CommandSpec {
        name: "hpersist",
        syntax: "HPERSIST key FIELDS numfields field [field ...]",
        summary: "Removes the expiration times of fields of a hash.",
        run: hpersist,
        ..SETTER
    },
    CommandSpec {
        name: "hpexpire",
        syntax: "HPEXPIRE key milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Lets fields of a hash expire after some milliseconds.",
        run: hpexpire,
        ..SETTER
    },
    CommandSpec {
        name: "hpexpireat",
        syntax: "HPEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT] FIELDS numfields field [field ...]",
        summary: "Lets fields of a hash expire at a Unix time in milliseconds.",
        run: hpexpireat,
        ..SETTER
    },
    CommandSpec {
        name: "hpexpiretime",
        syntax: "HPEXPIRETIME key FIELDS numfields field [field ...]",
        summary: "Returns the Unix times in milliseconds at which fields of a hash expire.",
        run: hpexpiretime,
        ..GETTER
    },
    CommandSpec {
        name: "hpttl",
        syntax: "HPTTL key FIELDS numfields field [field ...]",
        summary: "Returns the milliseconds until fields of a hash expire.",
        tips: REMAINING_TIPS,
        run: hpttl,
        ..GETTER
    },
    CommandSpec {
        name: "httl",
        syntax: "HTTL key FIELDS numfields field [field ...]",
        summary: "Returns the seconds until fields of a hash expire.",
        tips: REMAINING_TIPS,
        run: httl,
        ..GETTER
    },
];

/// What becomes of a field, as the reply says it.
mod outcome {
    pub const NO_FIELD: i64 = -2;
    pub const NO_DEADLINE: i64 = -1;
    pub const REFUSED: i64 = 0;
    pub const DONE: i64 = 1;
    pub const DELETED: i64 = 2;
}

/// Under which condition on its present deadline a field gets a new one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    None,
    IfNone,
    IfSome,
    IfLater,
    IfEarlier,
}

impl Condition {
    fn named(word: &[u8]) -> Option<Condition> {
        let names: [(&[u8], Condition); 4] = [
            (b"NX", Condition::IfNone),
            (b"XX", Condition::IfSome),
            (b"GT", Condition::IfLater),
            (b"LT", Condition::IfEarlier),
        ];
        names.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, condition)| condition)
    }

    /// No deadline is later than any.
    fn allows(self, present: Option<i64>, at_ms: i64) -> bool {
        match self {
            Condition::None => true,
            Condition::IfNone => present.is_none(),
            Condition::IfSome => present.is_some(),
            Condition::IfLater => present.is_some_and(|present| at_ms > present),
            Condition::IfEarlier => present.is_none_or(|present| at_ms < present),
        }
    }
}

fn hexpire(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadlines(cx, Unit::SECONDS)
}

fn hpexpire(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadlines(cx, Unit::MILLISECONDS)
}

fn hexpireat(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadlines(cx, Unit::UNIX_SECONDS)
}

fn hpexpireat(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadlines(cx, Unit::UNIX_MILLISECONDS)
}

/// Gives the fields of a request a deadline, in so far as its condition allows it. One that has passed deletes them.
fn set_deadlines(cx: &mut Cx<'_, '_>, unit: Unit) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    cx.find_as(key, Kind::Hash)?;
    let at_ms = unit.deadline(cx, args.get(2))?;
    let condition = args.get(3).and_then(Condition::named);
    let fields_from = if condition.is_some() { 4 } else { 3 };
    let condition = condition.unwrap_or(Condition::None);
    let names = fields_at(args, fields_from, "ERR Parameter `numFields` should be greater than 0")?;
    cx.reply.array(names.len());
    let Some(position) = find_to_change(cx, key, names.iter_from(0))? else {
        names.iter_from(0).for_each(|_| cx.reply.integer(outcome::NO_FIELD));
        return Ok(());
    };
    cx.touch(key, position);
    let deletes = cx.has_passed(at_ms);
    let mut changed = Vec::new();
    for name in names.iter_from(0) {
        let mut fields = fields_mut(cx, key, position);
        let present = fields.view().get(name).map(|field| field.expire_at_ms);
        let result = match present {
            None => outcome::NO_FIELD,
            Some(present) if !condition.allows(present, at_ms) => outcome::REFUSED,
            Some(_) if deletes => {
                fields.remove(name);
                outcome::DELETED
            }
            Some(_) => {
                fields.set_deadline(name, Some(at_ms));
                outcome::DONE
            }
        };
        if result > outcome::REFUSED {
            changed.push(name);
        }
        cx.reply.integer(result);
    }
    tell_deadline(cx, key, &changed, (!deletes).then_some(at_ms));
    Ok(())
}

/// These fields have got this deadline, or were deleted because it has passed: tells the write log and others, and removes a hash without fields.
pub fn tell_deadline(cx: &mut Cx<'_, '_>, key: Key<'_>, names: &[&[u8]], at_ms: Option<i64>) {
    if names.is_empty() {
        return;
    }
    match at_ms {
        Some(at_ms) => {
            let digits = &mut itoa::Buffer::new();
            log_fields(cx, &[b"HPEXPIREAT", key.bytes, digits.format(at_ms).as_bytes()], names);
            cx.changed(Event::HEXPIRE, key);
        }
        None => tell_deleted(cx, key, names),
    }
}

/// These fields were deleted: as [`tell_deadline`].
pub fn tell_deleted(cx: &mut Cx<'_, '_>, key: Key<'_>, names: &[&[u8]]) {
    cx.log(&[&[b"HDEL".as_slice(), key.bytes], names].concat());
    cx.changed(Event::HDEL, key);
    let position = cx.find(key);
    if position.is_some_and(|position| fields(cx, key, position).is_empty()) {
        remove_empty(cx, key);
    }
}

fn hpersist(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    cx.find_as(key, Kind::Hash)?;
    let names = fields_at(args, 2, NO_POSITIVE_NUMBER)?;
    cx.reply.array(names.len());
    let Some(position) = find_to_change(cx, key, names.iter_from(0))? else {
        names.iter_from(0).for_each(|_| cx.reply.integer(outcome::NO_FIELD));
        return Ok(());
    };
    cx.touch(key, position);
    let mut changed = Vec::new();
    for name in names.iter_from(0) {
        let mut fields = fields_mut(cx, key, position);
        let present = fields.view().get(name).map(|field| field.expire_at_ms);
        let result = match present {
            None => outcome::NO_FIELD,
            Some(None) => outcome::NO_DEADLINE,
            Some(Some(_)) => {
                fields.set_deadline(name, None);
                changed.push(name);
                outcome::DONE
            }
        };
        cx.reply.integer(result);
    }
    tell_persisted(cx, key, &changed);
    Ok(())
}

/// These fields have lost their deadlines: as [`tell_deadline`].
pub fn tell_persisted(cx: &mut Cx<'_, '_>, key: Key<'_>, names: &[&[u8]]) {
    if !names.is_empty() {
        log_fields(cx, &[b"HPERSIST", key.bytes], names);
        cx.changed(Event::HPERSIST, key);
    }
}

fn httl(cx: &mut Cx<'_, '_>) -> Outcome {
    let now_ms = cx.now_ms();
    reply_deadlines(cx, |at_ms| seconds(at_ms - now_ms))
}

fn hpttl(cx: &mut Cx<'_, '_>) -> Outcome {
    let now_ms = cx.now_ms();
    reply_deadlines(cx, |at_ms| at_ms - now_ms)
}

fn hexpiretime(cx: &mut Cx<'_, '_>) -> Outcome {
    reply_deadlines(cx, seconds)
}

fn hpexpiretime(cx: &mut Cx<'_, '_>) -> Outcome {
    reply_deadlines(cx, |at_ms| at_ms)
}

/// Rounded up, where EXPIRETIME rounds.
fn seconds(ms: i64) -> i64 {
    ms.saturating_add(999) / 1000
}

/// Answers with the deadlines of fields in some form.
fn reply_deadlines(cx: &mut Cx<'_, '_>, form: impl Fn(i64) -> i64) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    read(cx, key, |fields, reply, now_ms| {
        let names = fields_at(args, 2, NO_POSITIVE_NUMBER)?;
        reply.array(names.len());
        for name in names.iter_from(0) {
            let field = fields.and_then(|fields| fields.get_live(name, now_ms));
            reply.integer(match field {
                None => outcome::NO_FIELD,
                Some(field) => field.expire_at_ms.map_or(outcome::NO_DEADLINE, &form),
            });
        }
        Ok::<(), Failure>(())
    })?
}
