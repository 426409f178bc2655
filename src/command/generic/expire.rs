//! Deadlines of keys: EXPIRE and its kin, PERSIST, TTL and its kin.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{READ_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags};
use super::ONE_KEY_ROW;

const SETTER: CommandSpec = CommandSpec {
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
    keys: UPDATE_KEY,
    ..ONE_KEY_ROW
};
const GETTER: CommandSpec =
    CommandSpec { flags: Flags::READONLY.and(Flags::FAST), keys: READ_KEY, ..ONE_KEY_ROW };

/// What is left changes between two requests.
const REMAINING_TIPS: &[&str] = &["nondeterministic_output"];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "expire",
        syntax: "EXPIRE key seconds [NX | XX | GT | LT]",
        summary: "Lets a key expire after some seconds.",
        run: expire,
        ..SETTER
    },
    CommandSpec {
        name: "expireat",
        syntax: "EXPIREAT key unix-time-seconds [NX | XX | GT | LT]",
        since: "1.2.0",
        summary: "Lets a key expire at a Unix time in seconds.",
        run: expireat,
        ..SETTER
    },
    CommandSpec {
        name: "expiretime",
        syntax: "EXPIRETIME key",
        since: "7.0.0",
        summary: "Returns the Unix time in seconds at which a key expires.",
        run: expiretime,
        ..GETTER
    },
    CommandSpec {
        name: "persist",
        syntax: "PERSIST key",
        since: "2.2.0",
        summary: "Removes the expiration time of a key.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        run: persist,
        ..SETTER
    },
    CommandSpec {
        name: "pexpire",
        syntax: "PEXPIRE key milliseconds [NX | XX | GT | LT]",
        since: "2.6.0",
        summary: "Lets a key expire after some milliseconds.",
        run: pexpire,
        ..SETTER
    },
    CommandSpec {
        name: "pexpireat",
        syntax: "PEXPIREAT key unix-time-milliseconds [NX | XX | GT | LT]",
        since: "2.6.0",
        summary: "Lets a key expire at a Unix time in milliseconds.",
        run: pexpireat,
        ..SETTER
    },
    CommandSpec {
        name: "pexpiretime",
        syntax: "PEXPIRETIME key",
        since: "7.0.0",
        summary: "Returns the Unix time in milliseconds at which a key expires.",
        run: pexpiretime,
        ..GETTER
    },
    CommandSpec {
        name: "pttl",
        syntax: "PTTL key",
        since: "2.6.0",
        summary: "Returns the milliseconds until a key expires.",
        tips: REMAINING_TIPS,
        run: pttl,
        ..GETTER
    },
    CommandSpec {
        name: "ttl",
        syntax: "TTL key",
        summary: "Returns the seconds until a key expires.",
        tips: REMAINING_TIPS,
        run: ttl,
        ..GETTER
    },
];

/// Under which conditions on the present deadline a new one is set.
#[derive(Default)]
struct Conditions {
    if_none: bool,
    if_some: bool,
    if_later: bool,
    if_earlier: bool,
}

impl Conditions {
    fn parse(cx: &Cx<'_, '_>) -> Result<Conditions, Failure> {
        let mut conditions = Conditions::default();
        for word in cx.args.iter_from(3) {
            let condition = if word.eq_ignore_ascii_case(b"NX") {
                &mut conditions.if_none
            } else if word.eq_ignore_ascii_case(b"XX") {
                &mut conditions.if_some
            } else if word.eq_ignore_ascii_case(b"GT") {
                &mut conditions.if_later
            } else if word.eq_ignore_ascii_case(b"LT") {
                &mut conditions.if_earlier
            } else {
                return Err(Failure::echo("ERR Unsupported option ", word, ""));
            };
            *condition = true;
        }
        if conditions.if_none && (conditions.if_some || conditions.if_later || conditions.if_earlier) {
            return Err(Failure::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if conditions.if_later && conditions.if_earlier {
            return Err(Failure::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    /// Whether a key with this deadline may get the new one. No deadline is later than any.
    fn allow(&self, present: Option<i64>, at_ms: i64) -> bool {
        !(self.if_none && present.is_some()
            || self.if_some && present.is_none()
            || self.if_later && present.is_none_or(|present| at_ms <= present)
            || self.if_earlier && present.is_some_and(|present| at_ms >= present))
    }
}

fn expire(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadline(cx, 1000, cx.now_ms())
}

fn pexpire(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadline(cx, 1, cx.now_ms())
}

fn expireat(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadline(cx, 1000, 0)
}

fn pexpireat(cx: &mut Cx<'_, '_>) -> Outcome {
    set_deadline(cx, 1, 0)
}

/// Sets a deadline of the second argument times `unit_ms`, counted from `base_ms`. A deadline that has passed deletes the key.
fn set_deadline(cx: &mut Cx<'_, '_>, unit_ms: i64, base_ms: i64) -> Outcome {
    let conditions = Conditions::parse(cx)?;
    let at_ms = cx.integer(2)?.checked_mul(unit_ms).and_then(|ms| ms.checked_add(base_ms));
    let at_ms = at_ms.ok_or_else(|| {
        Failure::owned(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
    })?;
    let key = cx.key(1)?;
    let Some(position) = cx.find(key) else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let allowed = conditions.allow(cx.entry(key, position).expire_at_ms(), at_ms);
    if allowed && cx.has_passed(at_ms) {
        cx.remove(cx.client.database, key, position);
        cx.log(&[b"DEL", key.bytes]);
        cx.changed(Event::DEL, key);
    } else if allowed {
        cx.slide_expire_at_ms(key, position, at_ms);
        cx.changed(Event::EXPIRE, key);
    }
    cx.reply.integer(i64::from(allowed));
    Ok(())
}

fn persist(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let mut persisted = false;
    if let Some(position) = cx.find(key) {
        cx.touch(key, position);
        persisted = cx.entry(key, position).expire_at_ms().is_some();
        if persisted {
            cx.set_expire_at_ms(key, position, None);
            cx.changed(Event::PERSIST, key);
        }
    }
    cx.reply.integer(i64::from(persisted));
    Ok(())
}

fn ttl(cx: &mut Cx<'_, '_>) -> Outcome {
    let now_ms = cx.now_ms();
    reply_deadline(cx, |at_ms| rounded_seconds(at_ms - now_ms))
}

fn pttl(cx: &mut Cx<'_, '_>) -> Outcome {
    let now_ms = cx.now_ms();
    reply_deadline(cx, |at_ms| at_ms - now_ms)
}

fn expiretime(cx: &mut Cx<'_, '_>) -> Outcome {
    reply_deadline(cx, rounded_seconds)
}

fn pexpiretime(cx: &mut Cx<'_, '_>) -> Outcome {
    reply_deadline(cx, |at_ms| at_ms)
}

fn rounded_seconds(ms: i64) -> i64 {
    ms.saturating_add(500) / 1000
}

/// Answers with the deadline of a key in some form; -1 if the key has none, -2 if there is no such key.
fn reply_deadline(cx: &mut Cx<'_, '_>, form: impl Fn(i64) -> i64) -> Outcome {
    let key = cx.key(1)?;
    let answer = match cx.look(key) {
        Some(position) => cx.entry(key, position).expire_at_ms().map_or(-1, form),
        None => -2,
    };
    cx.reply.integer(answer);
    Ok(())
}
