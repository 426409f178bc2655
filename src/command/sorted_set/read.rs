//! Commands that ask for scores, ranks and counts.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::ASK_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::ROW;
use super::limits::{lex_range, score_range};
use crate::keyspace::values::Scores;
use crate::keyspace::{Key, Kind};
use crate::resp::Reply;

const FAST: CommandSpec = CommandSpec { flags: Flags::READONLY.and(Flags::FAST), ..ROW };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zcard",
        syntax: "ZCARD key",
        complexity: "O(1)",
        summary: "Returns the number of members of a sorted set.",
        keys: ASK_KEY,
        run: zcard,
        ..FAST
    },
    CommandSpec {
        name: "zcount",
        syntax: "ZCOUNT key min max",
        since: "2.0.0",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns how many members of a sorted set have scores in a range.",
        run: zcount,
        ..FAST
    },
    CommandSpec {
        name: "zlexcount",
        syntax: "ZLEXCOUNT key min max",
        since: "2.8.9",
        complexity: "O(log(N)) with N being the number of elements in the sorted set.",
        summary: "Returns how many members of a sorted set with equal scores are in a range.",
        run: zlexcount,
        ..FAST
    },
    CommandSpec {
        name: "zmscore",
        syntax: "ZMSCORE key member [member ...]",
        since: "6.2.0",
        complexity: "O(N) where N is the number of members being requested.",
        summary: "Returns the scores of members of a sorted set.",
        run: zmscore,
        ..FAST
    },
    CommandSpec {
        name: "zrank",
        syntax: "ZRANK key member [WITHSCORE]",
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns how many members of a sorted set stand before one.",
        run: |cx| rank(cx, false),
        ..FAST
    },
    CommandSpec {
        name: "zrevrank",
        syntax: "ZREVRANK key member [WITHSCORE]",
        since: "2.0.0",
        complexity: "O(log(N))",
        summary: "Returns how many members of a sorted set stand behind one.",
        run: |cx| rank(cx, true),
        ..FAST
    },
    CommandSpec {
        name: "zscore",
        syntax: "ZSCORE key member",
        complexity: "O(1)",
        summary: "Returns the score of a member of a sorted set.",
        run: zscore,
        ..FAST
    },
];

/// Reads a sorted set and writes the reply from it. `None` stands for a key that is not there.
pub fn read<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    answer: impl FnOnce(Option<Scores<'_>>, &mut Reply<'_>) -> T,
) -> Result<T, Failure> {
    let found = cx.access_as(key, Kind::SortedSet)?;
    let keyspace = &cx.services().keyspace;
    let Some(position) = found else { return Ok(answer(None, &mut cx.reply)) };
    let (entry, reply) = cx.entry_and_reply(key, position);
    Ok(answer(Some(Scores::of(keyspace, entry)), reply))
}

fn score_or_null(reply: &mut Reply<'_>, score: Option<f64>) {
    match score {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
}

fn zcard(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |scores, reply| reply.integer(scores.map_or(0, |scores| scores.len()) as i64))
}

fn zscore(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, member) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |scores, reply| score_or_null(reply, scores.and_then(|scores| scores.score(member))))
}

fn zmscore(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    read(cx, key, |scores, reply| {
        reply.array(args.len() - 2);
        for at in 2..args.len() {
            score_or_null(reply, scores.and_then(|scores| scores.score(args.at(at))));
        }
    })
}

fn rank(cx: &mut Cx<'_, '_>, backwards: bool) -> Outcome {
    let with_score = cx.args.get(3).is_some();
    if cx.args.len() > 4 {
        return Err(cx.wrong_number_of_arguments());
    }
    if with_score && !cx.args.at(3).eq_ignore_ascii_case(b"WITHSCORE") {
        return Err(Failure::SYNTAX);
    }
    let (key, member) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |scores, reply| {
        let found = scores.and_then(|scores| Some((scores.rank(member)?, scores.len())));
        let Some(((rank, score), len)) = found else {
            return if with_score { reply.null_array() } else { reply.null() };
        };
        if with_score {
            reply.array(2);
        }
        reply.integer(if backwards { len - 1 - rank } else { rank } as i64);
        if with_score {
            reply.double(score);
        }
    })
}

fn zcount(cx: &mut Cx<'_, '_>) -> Outcome {
    let range = score_range(cx.args.at(2), cx.args.at(3))?;
    let key = cx.key(1)?;
    read(cx, key, |scores, reply| {
        reply.integer(scores.map_or(0, |scores| scores.ranks_by_score(&range).len()) as i64);
    })
}

fn zlexcount(cx: &mut Cx<'_, '_>) -> Outcome {
    let range = lex_range(cx.args.at(2), cx.args.at(3))?;
    let key = cx.key(1)?;
    read(cx, key, |scores, reply| {
        reply.integer(scores.map_or(0, |scores| scores.ranks_by_member(&range, false).len()) as i64);
    })
}
