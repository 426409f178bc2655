//! Commands on members that the request names, and on all of a set: SADD and its kin.

use super::super::cx::{Cx, Outcome};
use super::super::effects::Event;
use super::super::keys::{ASK_KEY, DELETE_KEY, INSERT_KEY};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Keys};
use super::{SET_ROW, find, integers_max, members_mut, read, remove_if_empty};
use crate::keyspace::values::{Hint, Members};
use crate::keyspace::{Key, Kind};

const WRITER: CommandSpec = CommandSpec {
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
    keys: DELETE_KEY,
    ..SET_ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sadd",
        syntax: "SADD key member [member ...]",
        complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
        summary: "Adds members to a set. Creates the set if it does not exist.",
        flags: WRITER.flags.and(Flags::DENYOOM),
        keys: INSERT_KEY,
        run: sadd,
        ..SET_ROW
    },
    CommandSpec {
        name: "scard",
        syntax: "SCARD key",
        summary: "Returns the number of members of a set.",
        keys: ASK_KEY,
        run: scard,
        ..SET_ROW
    },
    CommandSpec {
        name: "sismember",
        syntax: "SISMEMBER key member",
        summary: "Says whether a set has a member.",
        keys: ASK_KEY,
        run: sismember,
        ..SET_ROW
    },
    CommandSpec {
        name: "smembers",
        syntax: "SMEMBERS key",
        complexity: "O(N) where N is the set cardinality.",
        summary: "Returns all members of a set.",
        flags: Flags::READONLY,
        tips: &["nondeterministic_output_order"],
        run: smembers,
        ..SET_ROW
    },
    CommandSpec {
        name: "smismember",
        syntax: "SMISMEMBER key member [member ...]",
        since: "6.2.0",
        complexity: "O(N) where N is the number of elements being checked for membership",
        summary: "Says of each of some strings whether it is a member of a set.",
        run: smismember,
        ..SET_ROW
    },
    CommandSpec {
        name: "smove",
        syntax: "SMOVE source destination member",
        summary: "Moves a member from one set to another.",
        keys: &[
            Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE)),
            Keys::one(2, Access::ReadWrite, Effect::INSERT),
        ],
        run: smove,
        ..WRITER
    },
    CommandSpec {
        name: "srem",
        syntax: "SREM key member [member ...]",
        complexity: "O(N) where N is the number of members to be removed.",
        summary: "Removes members from a set, and the set with the last one.",
        run: srem,
        ..WRITER
    },
];

fn sadd(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args, integers_max) = (cx.key(1)?, cx.args, integers_max(cx));
    let found = find(cx, key)?;
    let position = found.unwrap_or_else(|| cx.add_collection(key, Kind::Set));
    let mut members = members_mut(cx, key, position);
    let added = args.iter_from(2).filter(|member| members.add(member, integers_max)).count();
    if added > 0 {
        cx.changed(Event::SADD, key);
    }
    cx.reply.integer(added as i64);
    Ok(())
}

fn srem(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    let Some(position) = find(cx, key)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let mut members = members_mut(cx, key, position);
    let removed = args.iter_from(2).filter(|member| members.remove(member)).count();
    if removed > 0 {
        cx.changed(Event::SREM, key);
        remove_if_empty(cx, key, position);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

fn smove(cx: &mut Cx<'_, '_>) -> Outcome {
    let (from, to, member) = (cx.key(1)?, cx.key(2)?, cx.args.at(3));
    let source = cx.find(from);
    source.into_iter().for_each(|position| cx.touch(from, position));
    let destination = cx.find(to);
    destination.into_iter().for_each(|position| cx.touch(to, position));
    let moved = source.is_some() && move_member(cx, from, to, member)?;
    cx.reply.integer(i64::from(moved));
    Ok(())
}

/// Moves a member from a set that is there; says whether it was in it. Removing or adding a key may move its neighbours in the table, so positions are
/// looked up anew.
fn move_member(
    cx: &mut Cx<'_, '_>,
    from: Key<'_>,
    to: Key<'_>,
    member: &[u8],
) -> Result<bool, super::Failure> {
    let integers_max = integers_max(cx);
    let source = cx.find_as(from, Kind::Set)?;
    cx.find_as(to, Kind::Set)?;
    let Some(position) = source else { return Ok(false) };
    if from.bytes == to.bytes {
        let keyspace = &cx.services().keyspace;
        return Ok(Members::of(keyspace, cx.entry(from, position)).contains(member));
    }
    if !members_mut(cx, from, position).remove(member) {
        return Ok(false);
    }
    cx.changed(Event::SREM, from);
    remove_if_empty(cx, from, position);
    let found = cx.find(to);
    let position = found.unwrap_or_else(|| cx.add_collection(to, Kind::Set));
    if members_mut(cx, to, position).add(member, integers_max) {
        cx.changed(Event::SADD, to);
    }
    Ok(true)
}

fn scard(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |members, reply| reply.integer(members.map_or(0, |members| members.len()) as i64))
}

fn sismember(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, member) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |members, reply| {
        reply.integer(i64::from(members.is_some_and(|members| members.contains(member))));
    })
}

fn smismember(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    read(cx, key, |members, reply| {
        reply.array(args.len() - 2);
        let mut hint = Hint::default();
        for member in args.iter_from(2) {
            let is_member = members.is_some_and(|members| members.contains_near(member, &mut hint));
            reply.integer(i64::from(is_member));
        }
    })
}

fn smembers(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |members, reply| {
        let Some(members) = members else { return reply.set(0) };
        reply.set(members.len());
        members.iter().for_each(|member| reply.bulk(member.bytes(&mut itoa::Buffer::new())));
    })
}
