//! Commands on elements by their index: LINDEX, LLEN, LRANGE, LSET, LTRIM.

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{ASK_KEY, DELETE_KEY, READ_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags, Group};
use super::{elements_mut, read, remove_key, write};
use crate::keyspace::Kind;

const READ: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::List,
    since: "1.0.0",
    complexity: "O(log N)",
    summary: "",
    flags: Flags::READONLY,
    keys: READ_KEY,
    tips: &[],
    subcommands: &[],
    run: llen,
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "lindex",
        syntax: "LINDEX key index",
        complexity: "O(log N) where N is the length of the list.",
        summary: "Returns the element of a list with an index; negative ones count from the end.",
        run: lindex,
        ..READ
    },
    CommandSpec {
        name: "llen",
        syntax: "LLEN key",
        complexity: "O(1)",
        summary: "Returns the length of a list.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        run: llen,
        ..READ
    },
    CommandSpec {
        name: "lrange",
        syntax: "LRANGE key start stop",
        complexity: "O(log N + M) where N is the length of the list and M the number of elements returned.",
        summary: "Returns the elements of a list from one index to another, both included.",
        run: lrange,
        ..READ
    },
    CommandSpec {
        name: "lset",
        syntax: "LSET key index element",
        complexity: "O(log N) where N is the length of the list.",
        summary: "Replaces the element of a list with an index.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        run: lset,
        ..READ
    },
    CommandSpec {
        name: "ltrim",
        syntax: "LTRIM key start stop",
        complexity: "O(M) where M is the number of elements that are removed.",
        summary: "Removes all elements of a list but those from one index to another.",
        flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
        keys: DELETE_KEY,
        run: ltrim,
        ..READ
    },
];

/// The index of an element of a list with `len` of them; negative ones count from the end.
fn index_in(len: usize, index: i64) -> Option<usize> {
    let index = if index < 0 { (len as i64).checked_add(index)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < len)
}

/// The indices from one to another, both included, as far as a list with `len` elements has them.
fn part(len: usize, start: i64, stop: i64) -> Range<usize> {
    let len = len as i64;
    let from_start = |index: i64| if index < 0 { len.saturating_add(index) } else { index };
    let (start, stop) = (from_start(start).max(0), from_start(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

fn lindex(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.access_as(key, Kind::List)?;
    let Some(position) = found else {
        cx.reply.null();
        return Ok(());
    };
    let index = cx.integer(2)?;
    let (list, reply) = read(cx, key, position);
    match index_in(list.len(), index).and_then(|index| list.get(index)) {
        Some(element) => reply.bulk(element.bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
    Ok(())
}

fn llen(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.access_as(key, Kind::List)?;
    let len = found.map_or(0, |position| read(cx, key, position).0.len());
    cx.reply.integer(len as i64);
    Ok(())
}

fn lrange(cx: &mut Cx<'_, '_>) -> Outcome {
    let (start, stop) = (cx.integer(2)?, cx.integer(3)?);
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::List)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let (list, reply) = read(cx, key, position);
    let part = part(list.len(), start, stop);
    reply.array(part.len());
    write(reply, list.iter_from(part.start).take(part.len()));
    Ok(())
}

fn lset(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::List)? else { return Err(Failure::NO_SUCH_KEY) };
    let (index, element) = (cx.integer(2)?, cx.args.at(3));
    let len = read(cx, key, position).0.len();
    let index = index_in(len, index).ok_or(Failure::text("ERR index out of range"))?;
    cx.touch(key, position);
    elements_mut(cx, key, position).set(index, element);
    cx.changed(Event::LSET, key);
    cx.reply.ok();
    Ok(())
}

fn ltrim(cx: &mut Cx<'_, '_>) -> Outcome {
    let (start, stop) = (cx.integer(2)?, cx.integer(3)?);
    let key = cx.key(1)?;
    if let Some(position) = cx.find_as(key, Kind::List)? {
        cx.touch(key, position);
        let len = read(cx, key, position).0.len();
        let kept = part(len, start, stop);
        match (len - kept.len()) as u64 {
            0 => cx.touched(Event::LTRIM, key),
            gone => {
                cx.changed(Event::LTRIM, key);
                cx.changed_keyspace(gone - 1);
            }
        }
        if kept.is_empty() {
            remove_key(cx, key, position);
        } else {
            let mut list = elements_mut(cx, key, position);
            list.remove(kept.end, len - kept.end);
            list.remove(0, kept.start);
        }
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_count_from_both_ends_and_stay_inside() {
        for (len, start, stop, want) in [
            (5, 0, -1, 0..5),
            (5, -3, -2, 2..4),
            (5, 3, 1, 0..0),
            (5, 5, 9, 0..0),
            (5, -99, 99, 0..5),
            (0, 0, -1, 0..0),
            (5, i64::MIN, i64::MAX, 0..5),
            (5, i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(part(len, start, stop), want, "{start} to {stop} of {len}");
        }
        assert_eq!([0, 4, -1, -5].map(|index| index_in(5, index)), [Some(0), Some(4), Some(4), Some(0)]);
        assert_eq!([5, -6, i64::MIN, i64::MAX].map(|index| index_in(5, index)), [None; 4]);
    }
}
