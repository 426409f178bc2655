//! Strings as numbers: INCR, DECR, INCRBY, DECRBY, INCRBYFLOAT.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::{Deadline, Event};
use super::super::keys::READ_AND_UPDATE_KEY;
use super::super::spec::{CommandSpec, Flags, Group};
use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::keyspace::Kind;

const FLAGS: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

const OVERFLOW: Failure = Failure::text("ERR increment or decrement would overflow");
const NOT_A_FLOAT: Failure = Failure::text("ERR value is not a valid float");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "decr",
        syntax: "DECR key",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Subtracts one from the integer value of a key. A missing key counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: decr,
    },
    CommandSpec {
        name: "decrby",
        syntax: "DECRBY key decrement",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Subtracts a number from the integer value of a key. A missing key counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: decrby,
    },
    CommandSpec {
        name: "incr",
        syntax: "INCR key",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds one to the integer value of a key. A missing key counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: incr,
    },
    CommandSpec {
        name: "incrby",
        syntax: "INCRBY key increment",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Adds a number to the integer value of a key. A missing key counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: incrby,
    },
    CommandSpec {
        name: "incrbyfloat",
        syntax: "INCRBYFLOAT key increment",
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Adds a number to the floating point value of a key. A missing key counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_OTHERWISE).and(Flags::FLOAT_INCREMENT),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: incrbyfloat,
    },
];

fn incr(cx: &mut Cx<'_, '_>) -> Outcome {
    add(cx, 1)
}

fn decr(cx: &mut Cx<'_, '_>) -> Outcome {
    add(cx, -1)
}

fn incrby(cx: &mut Cx<'_, '_>) -> Outcome {
    let by = cx.integer(2)?;
    add(cx, by)
}

fn decrby(cx: &mut Cx<'_, '_>) -> Outcome {
    let by = cx.integer(2)?;
    add(cx, by.checked_neg().ok_or(Failure::text("ERR decrement would overflow"))?)
}

fn add(cx: &mut Cx<'_, '_>, by: i64) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.find_as(key, Kind::String)?;
    let before = match found {
        Some(position) => parse_i64(cx.entry(key, position).value()).ok_or(Failure::NOT_AN_INTEGER)?,
        None => 0,
    };
    let after = before.checked_add(by).ok_or(OVERFLOW)?;
    let mut digits = itoa::Buffer::new();
    cx.store(key, found, digits.format(after).as_bytes());
    cx.changed(Event::INCRBY, key);
    cx.reply.integer(after);
    Ok(())
}

fn incrbyfloat(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.find_as(key, Kind::String)?;
    let before = match found {
        Some(position) => Some(LongDouble::parse(cx.entry(key, position).value()).ok_or(NOT_A_FLOAT)?),
        None => None,
    };
    let by = LongDouble::parse(cx.args.at(2)).ok_or(NOT_A_FLOAT)?;
    let after = before.map_or(by, |before| before + by);
    if !after.is_finite() {
        return Err(Failure::text("ERR increment would produce NaN or Infinity"));
    }
    let text = after.format();
    cx.store_as(key, found, text.as_bytes(), Kind::Text, Deadline::Keep);
    // A later version may round in another way.
    cx.log(&[b"SET", key.bytes, text.as_bytes(), b"KEEPTTL"]);
    cx.changed(Event::INCRBYFLOAT, key);
    cx.reply.bulk(text.as_bytes());
    Ok(())
}
