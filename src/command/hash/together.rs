//! Commands that read or write fields and say in the same request when they expire or go: HGETDEL, HGETEX, HSETEX (Redis 8.0).

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{READ_AND_DELETE_KEY, READ_AND_UPDATE_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags};
use super::deadlines::{tell_deadline, tell_deleted, tell_persisted};
use super::named::{NO_POSITIVE_NUMBER, Unit, fields_at};
use super::read::reply_value;
use super::{HASH_ROW, fields_mut, find_to_change, or_add, remove_empty, table_limits};
use crate::base::number::parse_i64;
use crate::keyspace::values::Fields;
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Args;

const ROW: CommandSpec = CommandSpec {
    since: "8.0.0",
    complexity: "O(N) where N is the number of specified fields",
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
    ..HASH_ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hgetdel",
        syntax: "HGETDEL key FIELDS numfields field [field ...]",
        summary: "Returns the values of some fields of a hash and deletes them.",
        keys: READ_AND_DELETE_KEY,
        run: hgetdel,
        ..ROW
    },
    CommandSpec {
        name: "hgetex",
        syntax: "HGETEX key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST] FIELDS numfields field [field ...]",
        summary: "Returns the values of some fields of a hash and gives these a deadline or takes it away.",
        keys: READ_AND_UPDATE_KEY,
        run: hgetex,
        ..ROW
    },
    CommandSpec {
        name: "hsetex",
        syntax: "HSETEX key [FNX | FXX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL] FIELDS numfields field value [field value ...]",
        complexity: "O(N) where N is the number of fields being set.",
        summary: "Sets fields of a hash and gives them a deadline.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
        keys: UPDATE_KEY,
        run: hsetex,
        ..ROW
    },
];

/// Writes the value of a field, or that there is none; says whether it is there, and whether it has a deadline.
fn reply_field(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Option<Position>,
    name: &[u8],
) -> Option<Option<i64>> {
    let Some(position) = position else {
        cx.reply.null();
        return None;
    };
    let keyspace = &cx.services().keyspace;
    let (entry, reply) = cx.entry_and_reply(key, position);
    let field = Fields::of(keyspace, entry).get(name);
    reply_value(reply, field);
    field.map(|field| field.expire_at_ms)
}

fn hgetdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    cx.find_as(key, Kind::Hash)?;
    let names = fields_at(args, 2, NO_POSITIVE_NUMBER)?;
    cx.reply.array(names.len());
    let position = find_to_change(cx, key, names.iter_from(0))?;
    if let Some(position) = position {
        cx.touch(key, position);
    }
    let mut deleted = Vec::new();
    for name in names.iter_from(0) {
        if reply_field(cx, key, position, name).is_some()
            && let Some(position) = position
        {
            fields_mut(cx, key, position).remove(name);
            deleted.push(name);
        }
    }
    if !deleted.is_empty() {
        tell_deleted(cx, key, &deleted);
    }
    Ok(())
}

/// What HGETEX does with the deadlines of fields.
#[derive(Clone, Copy)]
enum Wanted {
    Keep,
    Persist,
    At(i64),
}

fn hgetex(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    cx.find_as(key, Kind::Hash)?;
    let (wanted, fields_from) = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"PERSIST") => (Wanted::Persist, 3),
        word => match Unit::named(word) {
            Some(unit) => (Wanted::At(unit.deadline(cx, args.get(3))?), 4),
            None => (Wanted::Keep, 2),
        },
    };
    let names = fields_at(args, fields_from, NO_POSITIVE_NUMBER)?;
    cx.reply.array(names.len());
    let position = find_to_change(cx, key, names.iter_from(0))?;
    if let Some(position) = position {
        cx.touch(key, position);
    }
    let mut changed = Vec::new();
    for name in names.iter_from(0) {
        let present = reply_field(cx, key, position, name);
        let (Some(position), Some(present)) = (position, present) else { continue };
        let has_passed = matches!(wanted, Wanted::At(at_ms) if cx.has_passed(at_ms));
        let mut fields = fields_mut(cx, key, position);
        match wanted {
            Wanted::Keep => continue,
            Wanted::Persist if present.is_none() => continue,
            Wanted::Persist => fields.set_deadline(name, None),
            Wanted::At(_) if has_passed => {
                fields.remove(name);
            }
            Wanted::At(at_ms) => fields.set_deadline(name, Some(at_ms)),
        }
        changed.push(name);
    }
    match wanted {
        Wanted::Keep => {}
        Wanted::Persist => tell_persisted(cx, key, &changed),
        Wanted::At(at_ms) => {
            let at_ms = Some(at_ms).filter(|at_ms| !cx.has_passed(*at_ms));
            tell_deadline(cx, key, &changed, at_ms);
        }
    }
    Ok(())
}

/// What HSETEX asks for.
struct Setting<'a> {
    /// All fields must be there, or none.
    must_exist: Option<bool>,
    keeps_deadlines: bool,
    at_ms: Option<i64>,
    pairs: Args<'a>,
}

impl<'a> Setting<'a> {
    fn parse(cx: &Cx<'a, '_>) -> Result<Setting<'a>, Failure> {
        let args = cx.args;
        let mut setting = Setting { must_exist: None, keeps_deadlines: false, at_ms: None, pairs: args };
        let mut at = 2;
        while let Some(word) = args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            let times_twice = setting.keeps_deadlines || setting.at_ms.is_some();
            const ONE_TIME: Failure =
                Failure::text("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified");
            if is(b"FIELDS") {
                setting.pairs = pairs_at(cx, at)?;
                return Ok(setting);
            } else if is(b"FNX") || is(b"FXX") {
                if setting.must_exist.replace(is(b"FXX")).is_some() {
                    return Err(Failure::text("ERR Only one of FXX or FNX arguments can be specified"));
                }
            } else if is(b"KEEPTTL") {
                if times_twice {
                    return Err(ONE_TIME);
                }
                setting.keeps_deadlines = true;
            } else if let Some(unit) = Unit::named(word) {
                if times_twice {
                    return Err(ONE_TIME);
                }
                at += 1;
                setting.at_ms = Some(unit.deadline(cx, args.get(at))?);
            } else {
                return Err(Failure::echo("ERR unknown argument: ", word, ""));
            }
            at += 1;
        }
        Err(cx.wrong_number_of_arguments())
    }

    fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.pairs.iter_from(0).step_by(2)
    }
}

/// The fields and values behind `FIELDS numfields`, which stands at `at` and goes to the end.
fn pairs_at<'a>(cx: &Cx<'a, '_>, at: usize) -> Result<Args<'a>, Failure> {
    let count = cx.args.get(at + 1).and_then(parse_i64).filter(|count| *count > 0);
    let count = count.ok_or(Failure::text("ERR invalid number of fields"))?;
    let words = cx.args.len() as i64 - at as i64 - 2;
    if count.checked_mul(2) != Some(words) {
        return Err(cx.wrong_number_of_arguments());
    }
    Ok(cx.args.from(at + 2))
}

fn hsetex(cx: &mut Cx<'_, '_>) -> Outcome {
    let setting = Setting::parse(cx)?;
    let key = cx.key(1)?;
    let found = find_to_change(cx, key, setting.names())?;
    if let Some(must_exist) = setting.must_exist {
        let view = found.map(|position| super::fields(cx, key, position));
        let is_there = |name| view.is_some_and(|fields| fields.get(name).is_some());
        if !setting.names().all(|name| is_there(name) == must_exist) {
            cx.reply.integer(0);
            return Ok(());
        }
    }
    let position = or_add(cx, key, found);
    let (limits, expired_ms) = (table_limits(cx), cx.state.expired_ms);
    let has_passed = setting.at_ms.is_some_and(|at_ms| cx.has_passed(at_ms));
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    let mut longest = 0;
    for at in (0..setting.pairs.len()).step_by(2) {
        let (name, value) = (setting.pairs.at(at), setting.pairs.at(at + 1));
        if has_passed {
            fields.remove(name);
            continue;
        }
        let kept = || fields.view().get(name).and_then(|field| field.expire_at_ms);
        let at_ms = if setting.keeps_deadlines { kept() } else { setting.at_ms };
        fields.set(name, value, at_ms, expired_ms);
        longest = longest.max(name.len()).max(value.len());
    }
    fields.raise_beyond(limits, longest);
    let is_empty = fields.view().is_empty();
    log_setting(cx, key, &setting, has_passed);
    cx.changed(Event::HSET, key);
    match setting.at_ms {
        Some(_) if has_passed => cx.also(Event::HDEL, key),
        Some(_) => cx.also(Event::HEXPIRE, key),
        None => {}
    }
    if is_empty {
        remove_empty(cx, key);
    }
    cx.reply.integer(1);
    Ok(())
}

/// The record says what has become of the fields, whatever was the condition.
fn log_setting(cx: &mut Cx<'_, '_>, key: Key<'_>, setting: &Setting<'_>, has_passed: bool) {
    if has_passed {
        let names: Vec<&[u8]> = setting.names().collect();
        return cx.log(&[&[b"HDEL".as_slice(), key.bytes], names.as_slice()].concat());
    }
    let (digits, count) = (&mut itoa::Buffer::new(), &mut itoa::Buffer::new());
    let mut words: Vec<&[u8]> = vec![b"HSETEX", key.bytes];
    match setting.at_ms {
        Some(at_ms) => words.extend([b"PXAT".as_slice(), digits.format(at_ms).as_bytes()]),
        None if setting.keeps_deadlines => words.push(b"KEEPTTL"),
        None => {}
    }
    words.extend([b"FIELDS".as_slice(), count.format(setting.pairs.len() / 2).as_bytes()]);
    words.extend(setting.pairs.iter_from(0));
    cx.log(&words);
}
