//! Strings as arrays of bytes: APPEND, STRLEN, GETRANGE, SUBSTR, SETRANGE.
//!
//! Values are edited where they lie; their block moves only when it has to grow. No value becomes longer than
//! `proto-max-bulk-len`, so that a client can always be sent what it has built.

use std::slice;

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{ASK_KEY, INSERT_KEY, READ_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags, Group};
use crate::keyspace::{Entry, Key, Kind, LENGTH_MAX, Position};

const TOO_LONG: Failure = Failure::text("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "append",
        syntax: "APPEND key value",
        group: Group::String,
        since: "2.0.0",
        complexity: "O(N) where N is the length of the appended value; now and then, and where a running snapshot has not seen it yet, the whole value moves.",
        summary: "Appends a string to the value of a key. Creates the key if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: INSERT_KEY,
        tips: &[],
        subcommands: &[],
        run: append,
    },
    CommandSpec {
        name: "getrange",
        syntax: "GETRANGE key start end",
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the returned string.",
        summary: "Returns a part of the string value of a key.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: getrange,
    },
    CommandSpec {
        name: "setrange",
        syntax: "SETRANGE key offset value",
        group: Group::String,
        since: "2.2.0",
        complexity: "O(N) where N is the length of the new part; a value that grows, or that a running snapshot has not seen yet, may move as a whole.",
        summary: "Overwrites a part of the string value of a key, from an offset on. Gaps are filled with zero bytes.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: setrange,
    },
    CommandSpec {
        name: "strlen",
        syntax: "STRLEN key",
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns the length of the string value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        tips: &[],
        subcommands: &[],
        run: strlen,
    },
    CommandSpec {
        name: "substr",
        syntax: "SUBSTR key start end",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the returned string.",
        summary: "Returns a part of the string value of a key. An old name of GETRANGE.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: getrange,
    },
];

fn strlen(cx: &mut Cx<'_, '_>) -> Outcome {
    let length = cx.read_as(cx.key(1)?, Kind::String)?.map_or(0, |entry| entry.value().len());
    cx.reply.integer(length as i64);
    Ok(())
}

fn getrange(cx: &mut Cx<'_, '_>) -> Outcome {
    let (start, end) = (cx.integer(2)?, cx.integer(3)?);
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::String)? else {
        cx.reply.bulk(b"");
        return Ok(());
    };
    let (database, now_ms) = (cx.client.database, cx.now_ms());
    let value = cx.locked.partition(database, key, now_ms).0.entry(position).value();
    cx.reply.bulk(&value[part(value.len(), start, end)]);
    Ok(())
}

/// The part of `length` bytes from index `start` to index `end`, both included; negative ones count from the end.
fn part(length: usize, start: i64, end: i64) -> Range<usize> {
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let length = length as i64;
    let from_start = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

fn append(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, value) = (cx.key(1)?, cx.args.at(2));
    let length = match cx.find_as(key, Kind::String)? {
        None => {
            cx.store(key, None, value);
            value.len()
        }
        Some(position) => {
            let length = cx.entry(key, position).value().len();
            check_length(cx, length, value.len())?;
            edit(cx, key, position, length, value)
        }
    };
    cx.changed(Event::APPEND, key);
    cx.reply.integer(length as i64);
    Ok(())
}

fn setrange(cx: &mut Cx<'_, '_>) -> Outcome {
    let offset = cx.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| Failure::text("ERR offset is out of range"))?;
    let (key, value) = (cx.key(1)?, cx.args.at(3));
    let found = cx.find_as(key, Kind::String)?;
    if value.is_empty() {
        let length = found.map_or(0, |position| cx.entry(key, position).value().len());
        cx.reply.integer(length as i64);
        return Ok(());
    }
    check_length(cx, offset, value.len())?;
    let length = match found {
        Some(position) => edit(cx, key, position, offset, value),
        None => {
            let (length, access) = (offset + value.len(), cx.state.access.fresh(cx.steady_ms()));
            let entry = Entry::filled(key.bytes, length, |made| made[offset..].copy_from_slice(value));
            cx.add(cx.client.database, key, entry.with_kind(Kind::Raw).with_access(access));
            length
        }
    };
    cx.changed(Event::SETRANGE, key);
    cx.reply.integer(length as i64);
    Ok(())
}

/// Refuses a string of `length` and `more` bytes if that is too long.
fn check_length(cx: &Cx<'_, '_>, length: usize, more: usize) -> Outcome {
    let allowed = cx.config().proto_max_bulk_len.min(LENGTH_MAX as u64);
    let total = (length as u64).checked_add(more as u64);
    if total.is_some_and(|total| total <= allowed) { Ok(()) } else { Err(TOO_LONG) }
}

/// Writes `part` into the value at `position`, from `offset` on; gives the value's length.
fn edit(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, offset: usize, part: &[u8]) -> usize {
    let end = offset + part.len();
    cx.touch(key, position);
    let (partition, site) = cx.partition(key);
    let length = partition.entry(position).value().len().max(end);
    let written = offset..end;
    partition.edit_value(site, position, (length, Kind::Raw), slice::from_ref(&written), |value| {
        value[offset..end].copy_from_slice(part);
    });
    length
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn parts_count_from_both_ends_and_stay_inside() {
        for (length, start, end, want) in [
            (5, 0, 2, 0..3),
            (5, -3, -1, 2..5),
            (5, -1, -3, 0..0),
            (5, 3, 1, 0..0),
            (5, 0, 99, 0..5),
            (5, 5, 99, 0..0),
            (5, -99, 0, 0..1),
            (5, -99, -50, 0..1),
            (0, 0, -1, 0..0),
            (5, i64::MIN, i64::MAX, 0..5),
            (5, i64::MAX, i64::MAX, 0..0),
        ] {
            assert_eq!(part(length, start, end), want, "{start} to {end} of {length}");
        }
    }
}
