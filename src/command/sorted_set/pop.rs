//! ZPOPMIN, ZPOPMAX, ZMPOP: members are taken from an end, and told.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Keys};
use super::{CHANGE, ROW, counted, removed, scores_mut};
use crate::base::number::parse_i64;
use crate::keyspace::values::Scores;
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Protocol;

const EFFECT: Effect = Effect::ACCESS.and(Effect::DELETE);
const POP_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, EFFECT)];

const POP: CommandSpec = CommandSpec {
    since: "5.0.0",
    complexity: "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.",
    flags: CHANGE.and(Flags::FAST),
    keys: POP_KEY,
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zmpop",
        syntax: "ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]",
        since: "7.0.0",
        complexity: "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.",
        summary: "Takes the members with the lowest or highest scores out of the first of several sorted sets that has some.",
        flags: CHANGE,
        keys: &[counted(1, Access::ReadWrite, EFFECT)],
        run: zmpop,
        ..POP
    },
    CommandSpec {
        name: "zpopmax",
        syntax: "ZPOPMAX key [count]",
        summary: "Takes the members with the highest scores out of a sorted set.",
        run: |cx| pop_one(cx, End::Max),
        ..POP
    },
    CommandSpec {
        name: "zpopmin",
        syntax: "ZPOPMIN key [count]",
        summary: "Takes the members with the lowest scores out of a sorted set.",
        run: |cx| pop_one(cx, End::Min),
        ..POP
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn event(self) -> Event {
        match self {
            End::Min => Event::ZPOPMIN,
            End::Max => Event::ZPOPMAX,
        }
    }
}

/// Writes members at an end of a set, and takes them out. In RESP3, or where `nested`, with the scores in pairs.
fn pop(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, end: End, count: usize, nested: bool) {
    let keyspace = &cx.services().keyspace;
    let (entry, reply) = cx.entry_and_reply(key, position);
    let scores = Scores::of(keyspace, entry);
    let len = scores.len();
    let ranks = match end {
        End::Min => 0..count,
        End::Max => len - count..len,
    };
    let found = scores.iter(ranks.clone(), end == End::Max);
    if nested {
        reply.array(count);
        for scored in found {
            reply.array(2);
            reply.bulk(scored.member.bytes(&mut itoa::Buffer::new()));
            reply.double(scored.score);
        }
    } else {
        reply.array(count * 2);
        found.for_each(|scored| {
            reply.bulk(scored.member.bytes(&mut itoa::Buffer::new()));
            reply.double(scored.score);
        });
    }
    scores_mut(cx, key, position).remove_ranks(ranks);
    removed(cx, end.event(), key, position, count);
}

fn pop_one(cx: &mut Cx<'_, '_>, end: End) -> Outcome {
    if cx.args.len() > 3 {
        return Err(Failure::SYNTAX);
    }
    let count = cx.args.get(2).map(|text| positive(text, 0, "ERR value is out of range, must be positive"));
    let count = count.transpose()?;
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::SortedSet)? else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.touch(key, position);
    let len = scores_mut(cx, key, position).view().len();
    let nested = cx.reply.protocol() == Protocol::Resp3 && count.is_some();
    match count.unwrap_or(1).min(len) {
        0 => cx.reply.array(0),
        count => pop(cx, key, position, end, count, nested),
    }
    Ok(())
}

/// An argument that is at least so much; anything else is one error.
fn positive(text: &[u8], least: i64, error: &'static str) -> Result<usize, Failure> {
    let number = parse_i64(text).filter(|number| *number >= least).ok_or(Failure::text(error))?;
    Ok(usize::try_from(number).unwrap_or(usize::MAX))
}

fn zmpop(cx: &mut Cx<'_, '_>) -> Outcome {
    let keys = positive(cx.args.at(1), 1, "ERR numkeys should be greater than 0")?;
    let at = keys.saturating_add(2);
    let end = match cx.args.get(at) {
        Some(word) if word.eq_ignore_ascii_case(b"MIN") => End::Min,
        Some(word) if word.eq_ignore_ascii_case(b"MAX") => End::Max,
        _ => return Err(Failure::SYNTAX),
    };
    let count = match (cx.args.get(at + 1), cx.args.get(at + 2)) {
        (None, _) => 1,
        (Some(word), Some(count)) if word.eq_ignore_ascii_case(b"COUNT") => {
            positive(count, 1, "ERR count should be greater than 0")?
        }
        _ => return Err(Failure::SYNTAX),
    };
    if cx.args.len() > at + 3 {
        return Err(Failure::SYNTAX);
    }
    for index in 2..at {
        let key = cx.key(index)?;
        let Some(position) = cx.find_as(key, Kind::SortedSet)? else { continue };
        cx.touch(key, position);
        let len = scores_mut(cx, key, position).view().len();
        cx.reply.array(2);
        cx.reply.bulk(key.bytes);
        pop(cx, key, position, end, count.min(len), true);
        return Ok(());
    }
    cx.reply.null_array();
    Ok(())
}
