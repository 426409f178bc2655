//! Commands that take a field for a number: HINCRBY, HINCRBYFLOAT. A field keeps its deadline.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::READ_AND_UPDATE_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::{HASH_ROW, fields, fields_mut, find_to_change, or_add, table_limits};
use crate::base::long_double::LongDouble;
use crate::base::number::parse_i64;
use crate::keyspace::{Key, Position};

const FLAGS: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hincrby",
        syntax: "HINCRBY key field increment",
        summary: "Adds a number to the integer value of a field of a hash. A missing field counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        run: hincrby,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hincrbyfloat",
        syntax: "HINCRBYFLOAT key field increment",
        since: "2.6.0",
        summary: "Adds a number to the floating point value of a field of a hash. A missing field counts as 0.",
        flags: FLAGS.and(Flags::LOGGED_OTHERWISE).and(Flags::FLOAT_INCREMENT),
        keys: READ_AND_UPDATE_KEY,
        run: hincrbyfloat,
        ..HASH_ROW
    },
];

/// What a field holds, read by `parse`, and its deadline.
///
/// # Errors
/// With `error` if it holds something else.
fn present<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    found: Option<Position>,
    parse: impl FnOnce(&[u8]) -> Option<T>,
    error: &'static str,
) -> Result<(Option<T>, Option<i64>), Failure> {
    let Some(position) = found else { return Ok((None, None)) };
    let name = cx.args.at(2);
    let Some(field) = fields(cx, key, position).get(name) else { return Ok((None, None)) };
    let value = parse(field.value.bytes(&mut itoa::Buffer::new())).ok_or(Failure::text(error))?;
    Ok((Some(value), field.expire_at_ms))
}

/// Gives the field its new value.
fn store(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>, value: &[u8], at_ms: Option<i64>) {
    let position = or_add(cx, key, found);
    let (name, limits, expired_ms) = (cx.args.at(2), table_limits(cx), cx.state.expired_ms);
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    fields.set(name, value, at_ms, expired_ms);
    fields.raise_beyond(limits, name.len().max(value.len()));
}

fn hincrby(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, by) = (cx.key(1)?, cx.integer(3)?);
    let found = find_to_change(cx, key, std::iter::once(cx.args.at(2)))?;
    let (before, at_ms) = present(cx, key, found, parse_i64, "ERR hash value is not an integer")?;
    let after = before.unwrap_or(0).checked_add(by);
    let after = after.ok_or(Failure::text("ERR increment or decrement would overflow"))?;
    store(cx, key, found, itoa::Buffer::new().format(after).as_bytes(), at_ms);
    cx.changed(Event::HINCRBY, key);
    cx.reply.integer(after);
    Ok(())
}

fn hincrbyfloat(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name) = (cx.key(1)?, cx.args.at(2));
    let by = LongDouble::parse(cx.args.at(3)).ok_or(Failure::text("ERR value is not a valid float"))?;
    if !by.is_finite() {
        return Err(Failure::text("ERR value is NaN or Infinity"));
    }
    let found = find_to_change(cx, key, std::iter::once(name))?;
    let (before, at_ms) = present(cx, key, found, LongDouble::parse, "ERR hash value is not a float")?;
    let after = before.map_or(by, |before| before + by);
    if !after.is_finite() {
        return Err(Failure::text("ERR increment would produce NaN or Infinity"));
    }
    let text = after.format();
    store(cx, key, found, text.as_bytes(), at_ms);
    // A later version may round in another way.
    match at_ms {
        None => cx.log(&[b"HSET", key.bytes, name, text.as_bytes()]),
        Some(_) => {
            cx.log(&[b"HSETEX", key.bytes, b"KEEPTTL", b"FIELDS", b"1", name, text.as_bytes()]);
        }
    }
    cx.changed(Event::HINCRBYFLOAT, key);
    cx.reply.bulk(text.as_bytes());
    Ok(())
}
