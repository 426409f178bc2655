//! Commands on strings.

use super::cx::{Cx, Failure, Outcome};
use super::effects::Event;
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::base::number::parse_i64;

const READ_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::ACCESS)];
const SET_KEY: &[Keys] =
    &[Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE).and(Effect::VARIABLE))];

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
        name: "set",
        syntax: "SET key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Sets the string value of a key, whatever it held before. Creates the key if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM),
        keys: SET_KEY,
        tips: &[],
        subcommands: &[],
        run: set,
    },
];

fn get(cx: &mut Cx<'_, '_>) -> Outcome {
    if !cx.read_into_reply(cx.key(1)) {
        cx.reply.null();
    }
    Ok(())
}

/// What the options of SET say about the deadline.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// No option: the key loses the deadline it had.
    Clear,
    Keep,
    At(i64),
}

struct SetOptions {
    if_absent: bool,
    if_present: bool,
    get: bool,
    deadline: Deadline,
}

/// Reads a time argument of SET, GETEX and their kin as an absolute deadline in Unix milliseconds.
///
/// # Errors
/// Redis's texts for a number that is none, not above zero, or out of range.
pub fn deadline_argument(
    cx: &Cx<'_, '_>,
    value: &[u8],
    seconds: bool,
    relative: bool,
) -> Result<i64, Failure> {
    let invalid = || Failure::owned(format!("ERR invalid expire time in '{}' command", cx.command.full_name));
    let given = parse_i64(value).ok_or(Failure::NOT_AN_INTEGER)?;
    if given <= 0 {
        return Err(invalid());
    }
    let ms = if seconds { given.checked_mul(1000).ok_or_else(invalid)? } else { given };
    let base = if relative { cx.now_ms() } else { 0 };
    ms.checked_add(base).ok_or_else(invalid)
}

fn set_options(cx: &Cx<'_, '_>) -> Result<SetOptions, Failure> {
    let mut options =
        SetOptions { if_absent: false, if_present: false, get: false, deadline: Deadline::Clear };
    let mut time: Option<(&[u8], bool, bool)> = None;
    let mut at = 3;
    while let Some(word) = cx.args.get(at) {
        let free = time.is_none() && options.deadline == Deadline::Clear;
        let mut timed = |seconds, relative| match cx.args.get(at + 1) {
            Some(value) if free => {
                time = Some((value, seconds, relative));
                at += 1;
                Ok(())
            }
            _ => Err(Failure::SYNTAX),
        };
        match word.len() {
            2 if word.eq_ignore_ascii_case(b"NX") && !options.if_present => options.if_absent = true,
            2 if word.eq_ignore_ascii_case(b"XX") && !options.if_absent => options.if_present = true,
            2 if word.eq_ignore_ascii_case(b"EX") => timed(true, true)?,
            2 if word.eq_ignore_ascii_case(b"PX") => timed(false, true)?,
            3 if word.eq_ignore_ascii_case(b"GET") => options.get = true,
            4 if word.eq_ignore_ascii_case(b"EXAT") => timed(true, false)?,
            4 if word.eq_ignore_ascii_case(b"PXAT") => timed(false, false)?,
            7 if word.eq_ignore_ascii_case(b"KEEPTTL") && free => options.deadline = Deadline::Keep,
            _ => return Err(Failure::SYNTAX),
        }
        at += 1;
    }
    if let Some((value, seconds, relative)) = time {
        options.deadline = Deadline::At(deadline_argument(cx, value, seconds, relative)?);
    }
    Ok(options)
}

fn set(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = if cx.args.len() == 3 {
        SetOptions { if_absent: false, if_present: false, get: false, deadline: Deadline::Clear }
    } else {
        set_options(cx)?
    };
    let key = cx.key(1);
    if options.get && !cx.read_into_reply(key) {
        cx.reply.null();
    }
    let found = cx.find(key);
    if options.if_absent && found.is_some() || options.if_present && found.is_none() {
        if !options.get {
            cx.reply.null();
        }
        return Ok(());
    }
    let position = cx.store(key, found, cx.args.at(2));
    match options.deadline {
        Deadline::Keep => {}
        Deadline::Clear => cx.set_expire_at_ms(key, position, None),
        Deadline::At(at_ms) => cx.set_expire_at_ms(key, position, Some(at_ms)),
    }
    cx.changed(Event::SET, key);
    if let Deadline::At(_) = options.deadline {
        cx.also(Event::EXPIRE, key);
    }
    if !options.get {
        cx.reply.ok();
    }
    Ok(())
}
