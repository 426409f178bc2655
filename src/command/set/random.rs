//! SPOP and SRANDMEMBER. What SPOP takes is drawn like this, too ([`Draw`]).

use std::ops::ControlFlow;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::drawing::Draw;
use super::super::effects::Event;
use super::super::keys::READ_AND_DELETE_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::{SET_ROW, find, members_mut, remove_if_empty};
use crate::base::number::parse_i64;
use crate::keyspace::values::{Members, chosen_ranks};
use crate::keyspace::{Key, Kind, Position};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "spop",
        syntax: "SPOP key [count]",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.",
        summary: "Removes random members from a set and returns them.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
        keys: READ_AND_DELETE_KEY,
        tips: &["nondeterministic_output"],
        run: spop,
        ..SET_ROW
    },
    CommandSpec {
        name: "srandmember",
        syntax: "SRANDMEMBER key [count]",
        complexity: "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.",
        summary: "Returns random members of a set.",
        flags: Flags::READONLY,
        tips: &["nondeterministic_output"],
        run: srandmember,
        ..SET_ROW
    },
];

/// Members that one record of the write log names.
const RECORD_MEMBERS: usize = 1024;

fn spop(cx: &mut Cx<'_, '_>) -> Outcome {
    let count = match cx.args.len() {
        2 => None,
        3 => Some(positive_argument(cx, 2)?),
        _ => return Err(Failure::SYNTAX),
    };
    let key = cx.key(1)?;
    let Some(position) = find(cx, key)? else {
        match count {
            Some(_) => cx.reply.set(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    match count {
        None => pop_one(cx, key, position),
        Some(0) => cx.reply.set(0),
        Some(count) => pop_some(cx, key, position, usize::try_from(count).unwrap_or(usize::MAX)),
    }
    Ok(())
}

fn positive_argument(cx: &Cx<'_, '_>, index: usize) -> Result<u64, Failure> {
    let number = parse_i64(cx.args.at(index)).and_then(|number| u64::try_from(number).ok());
    number.ok_or(Failure::text("ERR value is out of range, must be positive"))
}

fn pop_one(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) {
    let len = members(cx, key, position).len();
    let rank = cx.state.random.below(len as u64) as usize;
    let Some(member) = members(cx, key, position).at(rank) else { return cx.reply.null() };
    let member = member.bytes(&mut itoa::Buffer::new()).to_vec();
    cx.reply.bulk(&member);
    members_mut(cx, key, position).remove_ranks(&[rank]);
    cx.log(&[b"SREM", key.bytes, &member]);
    cx.changed(Event::SPOP, key);
    remove_if_empty(cx, key, position);
}

fn members<'c>(cx: &'c mut Cx<'_, '_>, key: Key<'_>, position: Position) -> Members<'c> {
    let keyspace = &cx.services().keyspace;
    Members::of(keyspace, cx.entry(key, position))
}

fn pop_some(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, count: usize) {
    let len = members(cx, key, position).len();
    if count >= len {
        return pop_all(cx, key, position);
    }
    let ranks = chosen_ranks(len, count, &mut cx.state.random);
    cx.reply.set(ranks.len());
    for some in ranks.chunks(RECORD_MEMBERS) {
        let all = members(cx, key, position);
        let popped: Vec<Vec<u8>> = some
            .iter()
            .filter_map(|rank| all.at(*rank))
            .map(|member| member.bytes(&mut itoa::Buffer::new()).to_vec())
            .collect();
        popped.iter().for_each(|member| cx.reply.bulk(member));
        let words: Vec<&[u8]> =
            [b"SREM".as_slice(), key.bytes].into_iter().chain(popped.iter().map(Vec::as_slice)).collect();
        cx.log(&words);
    }
    members_mut(cx, key, position).remove_ranks(&ranks);
    cx.changed(Event::SPOP, key);
}

fn pop_all(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) {
    let keyspace = &cx.services().keyspace;
    let (entry, reply) = cx.entry_and_reply(key, position);
    let members = Members::of(keyspace, entry);
    reply.set(members.len());
    members.iter().for_each(|member| reply.bulk(member.bytes(&mut itoa::Buffer::new())));
    cx.remove(cx.client.database, key, position);
    cx.log(&[b"DEL", key.bytes]);
    cx.changed(Event::SPOP, key);
    cx.also(Event::DEL, key);
}

fn srandmember(cx: &mut Cx<'_, '_>) -> Outcome {
    let (draw, _) = Draw::read(cx, None)?;
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::Set)? else {
        draw.answer_nothing(&mut cx.reply);
        return Ok(());
    };
    let keyspace = &cx.services().keyspace;
    let (database, now_ms) = (cx.client.database, cx.state.now_ms);
    // The entry is borrowed from the shard, the reply from the connection, and the generator from the loop.
    let members = Members::of(keyspace, cx.locked.partition(database, key, now_ms).0.entry(position));
    let (reply, random) = (&mut cx.reply, &mut cx.state.random);
    match draw {
        Draw::One => match members.random(random) {
            Some(member) => reply.bulk(member.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        },
        Draw::Repeated(count) => {
            reply.array(count as usize);
            members.random_repeated(random, count, |member| {
                reply.bulk(member.bytes(&mut itoa::Buffer::new()));
                // What goes beyond the client's limit ends its connection.
                if reply.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        Draw::Distinct(count) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX).min(members.len());
            reply.array(count);
            members.random_distinct(random, count, |member| {
                reply.bulk(member.bytes(&mut itoa::Buffer::new()));
            });
        }
    }
    Ok(())
}
