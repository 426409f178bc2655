//! Commands that take members out by name, rank, score or bytes.

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::DELETE_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::limits::{lex_range, ranks, score_range};
use super::{CHANGE, ROW, removed, scores_mut};
use crate::keyspace::Kind;
use crate::keyspace::values::Scores;

const REMOVE: CommandSpec = CommandSpec {
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.",
    flags: CHANGE,
    keys: DELETE_KEY,
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zrem",
        syntax: "ZREM key member [member ...]",
        complexity: "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.",
        summary: "Removes members of a sorted set, and the set with the last one.",
        flags: CHANGE.and(Flags::FAST),
        run: zrem,
        ..REMOVE
    },
    CommandSpec {
        name: "zremrangebylex",
        syntax: "ZREMRANGEBYLEX key min max",
        since: "2.8.9",
        summary: "Removes the members of a sorted set with equal scores that are in a range.",
        run: zremrangebylex,
        ..REMOVE
    },
    CommandSpec {
        name: "zremrangebyrank",
        syntax: "ZREMRANGEBYRANK key start stop",
        since: "2.0.0",
        summary: "Removes the members of a sorted set whose ranks are in a range.",
        run: zremrangebyrank,
        ..REMOVE
    },
    CommandSpec {
        name: "zremrangebyscore",
        syntax: "ZREMRANGEBYSCORE key min max",
        summary: "Removes the members of a sorted set whose scores are in a range.",
        run: zremrangebyscore,
        ..REMOVE
    },
];

fn zrem(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    let Some(position) = cx.find_as(key, Kind::SortedSet)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let mut scores = scores_mut(cx, key, position);
    let count = (2..args.len()).filter(|at| scores.remove(args.at(*at)).is_some()).count();
    removed(cx, Event::ZREM, key, position, count);
    cx.reply.integer(count as i64);
    Ok(())
}

/// Removes the members whose ranks `find` gives.
fn remove_range(
    cx: &mut Cx<'_, '_>,
    event: Event,
    find: impl FnOnce(Scores<'_>) -> Range<usize>,
) -> Result<(), Failure> {
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::SortedSet)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let mut scores = scores_mut(cx, key, position);
    let found = find(scores.view());
    let count = found.len();
    scores.remove_ranks(found);
    removed(cx, event, key, position, count);
    cx.reply.integer(count as i64);
    Ok(())
}

fn zremrangebyrank(cx: &mut Cx<'_, '_>) -> Outcome {
    let ends = (cx.integer(2)?, cx.integer(3)?);
    remove_range(cx, Event::ZREMRANGEBYRANK, |scores| ranks(ends, scores.len()))
}

fn zremrangebyscore(cx: &mut Cx<'_, '_>) -> Outcome {
    let range = score_range(cx.args.at(2), cx.args.at(3))?;
    remove_range(cx, Event::ZREMRANGEBYSCORE, |scores| scores.ranks_by_score(&range))
}

fn zremrangebylex(cx: &mut Cx<'_, '_>) -> Outcome {
    let range = lex_range(cx.args.at(2), cx.args.at(3))?;
    remove_range(cx, Event::ZREMRANGEBYLEX, |scores| scores.ranks_by_member(&range, false))
}
