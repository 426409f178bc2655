//! Commands that combine sets: SINTER, SUNION, SDIFF and their kin.
//!
//! The sets are read where they lie; none is copied. What comes of them goes into the reply, or into a new value that takes the destination's place when
//! it is whole, so the destination may be among the sources.

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Keys};
use super::SET_ROW;
use crate::base::number::parse_i64;
use crate::command::cx::encoding_limits;
use crate::command::keys::{Begin, Find};
use crate::keyspace::values::Members;
use crate::keyspace::values::exchange::Builder;
use crate::keyspace::{Entry, Kind};
use crate::rdb::value::Sink;

const SOURCES: Keys = Keys::to_end(2, 1, Access::ReadOnly, Effect::ACCESS);

const READER: CommandSpec = CommandSpec {
    flags: Flags::READONLY,
    keys: &[Keys { begin: Begin::At(1), ..SOURCES }],
    tips: &["nondeterministic_output_order"],
    ..SET_ROW
};

const STORER: CommandSpec = CommandSpec {
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
    keys: &[Keys::one(1, Access::Overwrite, Effect::UPDATE), SOURCES],
    ..SET_ROW
};

const N_TIMES_M: &str =
    "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.";
const N: &str = "O(N) where N is the total number of elements in all given sets.";

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sdiff",
        syntax: "SDIFF key [key ...]",
        complexity: N,
        summary: "Returns the members of the first set that are in none of the others.",
        run: |cx| answer(cx, Operation::Difference),
        ..READER
    },
    CommandSpec {
        name: "sdiffstore",
        syntax: "SDIFFSTORE destination key [key ...]",
        complexity: N,
        summary: "Stores the members of the first set that are in none of the others.",
        run: |cx| store(cx, Operation::Difference, Event::SDIFFSTORE),
        ..STORER
    },
    CommandSpec {
        name: "sinter",
        syntax: "SINTER key [key ...]",
        complexity: N_TIMES_M,
        summary: "Returns the members that all of several sets have.",
        run: |cx| answer(cx, Operation::Intersection),
        ..READER
    },
    CommandSpec {
        name: "sintercard",
        syntax: "SINTERCARD numkeys key [key ...] [LIMIT limit]",
        since: "7.0.0",
        complexity: N_TIMES_M,
        summary: "Returns the number of members that all of several sets have.",
        flags: Flags::READONLY,
        keys: &[Keys { find: Find::Counted { count: 0, first: 1, step: 1 }, ..READER.keys[0] }],
        run: sintercard,
        ..SET_ROW
    },
    CommandSpec {
        name: "sinterstore",
        syntax: "SINTERSTORE destination key [key ...]",
        complexity: N_TIMES_M,
        summary: "Stores the members that all of several sets have.",
        keys: &[Keys::one(1, Access::ReadWrite, Effect::UPDATE), SOURCES],
        run: |cx| store(cx, Operation::Intersection, Event::SINTERSTORE),
        ..STORER
    },
    CommandSpec {
        name: "sunion",
        syntax: "SUNION key [key ...]",
        complexity: N,
        summary: "Returns the members that any of several sets has.",
        run: |cx| answer(cx, Operation::Union),
        ..READER
    },
    CommandSpec {
        name: "sunionstore",
        syntax: "SUNIONSTORE destination key [key ...]",
        complexity: N,
        summary: "Stores the members that any of several sets has.",
        run: |cx| store(cx, Operation::Union, Event::SUNIONSTORE),
        ..STORER
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Intersection,
    Union,
    Difference,
}

/// Sets to be combined; `None` for a key that is not there.
type Sources<'c> = SmallVec<[Option<Members<'c>>; 8]>;

/// Notes the access to each of the keys at some arguments, and reclaims those whose time has passed.
///
/// # Errors
/// If one of them has no set.
fn access(cx: &mut Cx<'_, '_>, arguments: std::ops::Range<usize>) -> Outcome {
    for index in arguments {
        let key = cx.key(index)?;
        cx.access_as(key, Kind::Set)?;
    }
    Ok(())
}

/// The sets of the keys at some arguments, to which [`access`] was noted before.
fn sources<'c>(cx: &'c Cx<'_, '_>, arguments: std::ops::Range<usize>) -> Result<Sources<'c>, Failure> {
    let keyspace = &cx.services().keyspace;
    let mut sets = Sources::new();
    for index in arguments {
        let entry = cx.locked.look(cx.client.database, cx.key(index)?, cx.state.expired_ms);
        sets.push(entry.map(|entry| Members::of(keyspace, entry)));
    }
    Ok(sets)
}

impl Operation {
    /// Shows each member of the result once, until `see` wants no more.
    fn each(self, sets: Sources<'_>, see: impl FnMut(&[u8]) -> bool) {
        match self {
            Operation::Intersection => intersect(sets, see),
            Operation::Union => unite(&sets, see),
            Operation::Difference => subtract(&sets, see),
        }
    }
}

/// Goes through the smallest set and looks its members up in the others, the next smaller one first.
fn intersect(sets: Sources<'_>, mut see: impl FnMut(&[u8]) -> bool) {
    let Some(mut sets) = sets.into_iter().collect::<Option<SmallVec<[Members<'_>; 8]>>>() else { return };
    sets.sort_by_key(Members::len);
    let Some((smallest, others)) = sets.split_first() else { return };
    for member in smallest.iter() {
        let room = &mut itoa::Buffer::new();
        let member = member.bytes(room);
        if others.iter().all(|set| set.contains(member)) && !see(member) {
            return;
        }
    }
}

/// A member is shown if no set before its own has it, so that nothing has to be remembered.
fn unite(sets: &Sources<'_>, mut see: impl FnMut(&[u8]) -> bool) {
    for (index, set) in sets.iter().enumerate() {
        for member in set.iter().flat_map(Members::iter) {
            let room = &mut itoa::Buffer::new();
            let member = member.bytes(room);
            let is_known = sets[..index].iter().flatten().any(|before| before.contains(member));
            if !is_known && !see(member) {
                return;
            }
        }
    }
}

/// Goes through the first set and looks its members up in the others, the largest first: it is the likeliest to have one.
fn subtract(sets: &Sources<'_>, mut see: impl FnMut(&[u8]) -> bool) {
    let Some((Some(first), others)) = sets.split_first() else { return };
    let mut others: SmallVec<[Members<'_>; 8]> = others.iter().copied().flatten().collect();
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    for member in first.iter() {
        let room = &mut itoa::Buffer::new();
        let member = member.bytes(room);
        if !others.iter().any(|set| set.contains(member)) && !see(member) {
            return;
        }
    }
}

fn answer(cx: &mut Cx<'_, '_>, operation: Operation) -> Outcome {
    let keys = 1..cx.args.len();
    access(cx, keys.clone())?;
    let mut found = cx.reply.aside();
    let (protocol, mut count) = (cx.reply.protocol(), 0);
    operation.each(sources(cx, keys)?, |member| {
        crate::resp::Reply::new(&mut found, protocol).bulk(member);
        count += 1;
        !found.is_over()
    });
    cx.reply.set(count);
    cx.reply.append(found);
    Ok(())
}

fn store(cx: &mut Cx<'_, '_>, operation: Operation, event: Event) -> Outcome {
    let keys = 2..cx.args.len();
    access(cx, keys.clone())?;
    let destination = cx.key(1)?;
    let mut builder = Builder::new(&cx.services().keyspace, Kind::Set);
    let mut count = 0;
    operation.each(sources(cx, keys)?, |member| {
        count += i64::from(builder.member(member));
        true
    });
    let entry =
        (count > 0).then(|| builder.finish(destination.bytes, encoding_limits(cx.config(), Kind::Set)));
    replace(cx, entry, event)?;
    cx.reply.integer(count);
    Ok(())
}

/// Puts an entry in the place of the destination, which is argument 1; without one, the destination goes.
fn replace(cx: &mut Cx<'_, '_>, entry: Option<Entry>, event: Event) -> Outcome {
    let (key, database) = (cx.key(1)?, cx.client.database);
    let occupied = cx.find(key);
    if let Some(position) = occupied {
        cx.remove(database, key, position);
    }
    match entry {
        Some(entry) => {
            let access = cx.state.access.fresh(cx.steady_ms());
            cx.add(database, key, entry.with_access(access));
            cx.changed(event, key);
        }
        None if occupied.is_some() => cx.changed(Event::DEL, key),
        None => {}
    }
    Ok(())
}

fn sintercard(cx: &mut Cx<'_, '_>) -> Outcome {
    let number = parse_i64(cx.args.at(1)).filter(|number| *number > 0);
    let number = number.ok_or(Failure::text("ERR numkeys should be greater than 0"))?;
    let count = usize::try_from(number).ok().filter(|count| *count <= cx.args.len() - 2);
    let count = count.ok_or(Failure::text("ERR Number of keys can't be greater than number of args"))?;
    let (keys, mut limit) = (2..2 + count, 0);
    let mut at = keys.end;
    while let Some(word) = cx.args.get(at) {
        if !word.eq_ignore_ascii_case(b"LIMIT") || at + 1 >= cx.args.len() {
            return Err(Failure::SYNTAX);
        }
        let number = parse_i64(cx.args.at(at + 1)).filter(|number| *number >= 0);
        limit = number.ok_or(Failure::text("ERR LIMIT can't be negative"))?;
        at += 2;
    }
    access(cx, keys.clone())?;
    let mut found = 0;
    Operation::Intersection.each(sources(cx, keys)?, |_| {
        found += 1;
        found != limit
    });
    cx.reply.integer(found);
    Ok(())
}
