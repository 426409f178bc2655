//! The range commands: ZRANGE with its options, the older commands that each are one choice of them, and ZRANGESTORE.
//!
//! Whatever a range is of, it is one of ranks when it is found; LIMIT takes a part of that, so an offset costs nothing.

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{CommandSpec, Flags};
use super::limits::{lex_range, ranks, score_range};
use super::{CHANGE, Gathered, ROW, STORE_KEYS, members, members_head, read, store};
use crate::keyspace::Kind;
use crate::keyspace::values::{LexRange, ScoreRange, Scores};

const LIMIT_COMPLEXITY: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).";

const RANGE: CommandSpec = CommandSpec {
    complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.",
    ..ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zrange",
        syntax: "ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]",
        summary: "Returns members of a sorted set in a range of ranks, scores or bytes.",
        run: |cx| reply_range(cx, None, None),
        ..RANGE
    },
    CommandSpec {
        name: "zrangebylex",
        syntax: "ZRANGEBYLEX key min max [LIMIT offset count]",
        since: "2.8.9",
        complexity: LIMIT_COMPLEXITY,
        summary: "Returns members of a sorted set with equal scores in a range.",
        run: |cx| reply_range(cx, Some(Of::Members), Some(false)),
        ..RANGE
    },
    CommandSpec {
        name: "zrangebyscore",
        syntax: "ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]",
        since: "1.0.5",
        complexity: LIMIT_COMPLEXITY,
        summary: "Returns members of a sorted set in a range of scores.",
        run: |cx| reply_range(cx, Some(Of::Scores), Some(false)),
        ..RANGE
    },
    CommandSpec {
        name: "zrangestore",
        syntax: "ZRANGESTORE destination source min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]",
        since: "6.2.0",
        complexity: "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.",
        summary: "Stores members of a sorted set in a range of ranks, scores or bytes in a key.",
        flags: CHANGE.and(Flags::DENYOOM),
        keys: STORE_KEYS,
        run: zrangestore,
        ..RANGE
    },
    CommandSpec {
        name: "zrevrange",
        syntax: "ZREVRANGE key start stop [WITHSCORES]",
        summary: "Returns members of a sorted set in a range of ranks from the highest score on.",
        run: |cx| reply_range(cx, Some(Of::Ranks), Some(true)),
        ..RANGE
    },
    CommandSpec {
        name: "zrevrangebylex",
        syntax: "ZREVRANGEBYLEX key max min [LIMIT offset count]",
        since: "2.8.9",
        complexity: LIMIT_COMPLEXITY,
        summary: "Returns members of a sorted set with equal scores in a range, the last one first.",
        run: |cx| reply_range(cx, Some(Of::Members), Some(true)),
        ..RANGE
    },
    CommandSpec {
        name: "zrevrangebyscore",
        syntax: "ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]",
        since: "2.2.0",
        complexity: LIMIT_COMPLEXITY,
        summary: "Returns members of a sorted set in a range of scores, the highest score first.",
        run: |cx| reply_range(cx, Some(Of::Scores), Some(true)),
        ..RANGE
    },
];

/// What a range is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Ranks,
    Scores,
    Members,
}

enum Ends<'a> {
    Ranks(i64, i64),
    Scores(ScoreRange),
    Members(LexRange<'a>),
}

/// What a request asks for.
struct Asked<'a> {
    ends: Ends<'a>,
    backwards: bool,
    offset: i64,
    /// Below 0 for all.
    limit: i64,
    with_scores: bool,
}

impl<'a> Asked<'a> {
    /// Reads the arguments behind the source's key. What the command's name says is given.
    fn parse(
        cx: &Cx<'a, '_>,
        source: usize,
        of: Option<Of>,
        backwards: Option<bool>,
        stores: bool,
    ) -> Result<Asked<'a>, Failure> {
        let (given_of, given_backwards) = (of, backwards);
        let (mut of, mut backwards) = (of, backwards);
        let (mut offset, mut limit, mut with_scores) = (0, -1, false);
        let mut at = source + 3;
        while let Some(word) = cx.args.get(at) {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if !stores && is(b"WITHSCORES") {
                with_scores = true;
            } else if is(b"LIMIT") && cx.args.get(at + 2).is_some() {
                (offset, limit) = (cx.integer(at + 1)?, cx.integer(at + 2)?);
                at += 2;
            } else if given_backwards.is_none() && backwards.is_none() && is(b"REV") {
                backwards = Some(true);
            } else if given_of.is_none() && of.is_none() && is(b"BYLEX") {
                of = Some(Of::Members);
            } else if given_of.is_none() && of.is_none() && is(b"BYSCORE") {
                of = Some(Of::Scores);
            } else {
                return Err(Failure::SYNTAX);
            }
            at += 1;
        }
        let (of, backwards) = (of.unwrap_or(Of::Ranks), backwards.unwrap_or(false));
        if limit != -1 && of == Of::Ranks {
            return Err(Failure::text(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if with_scores && of == Of::Members {
            return Err(Failure::text(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        // Backwards the greater end comes first, but for ranks, which count from the other end then.
        let (min, max) =
            if backwards && of != Of::Ranks { (source + 2, source + 1) } else { (source + 1, source + 2) };
        let ends = match of {
            Of::Ranks => Ends::Ranks(cx.integer(min)?, cx.integer(max)?),
            Of::Scores => Ends::Scores(score_range(cx.args.at(min), cx.args.at(max))?),
            Of::Members => Ends::Members(lex_range(cx.args.at(min), cx.args.at(max))?),
        };
        Ok(Asked { ends, backwards, offset, limit, with_scores })
    }

    /// The ranks that are asked for.
    fn find(&self, scores: &Scores<'_>) -> Range<usize> {
        match &self.ends {
            Ends::Ranks(start, end) => {
                let found = ranks((*start, *end), scores.len());
                match self.backwards {
                    true => scores.len() - found.end..scores.len() - found.start,
                    false => found,
                }
            }
            Ends::Scores(range) => self.limited(scores.ranks_by_score(range)),
            Ends::Members(range) => self.limited(scores.ranks_by_member(range, self.backwards)),
        }
    }

    fn limited(&self, found: Range<usize>) -> Range<usize> {
        // An offset below 0 goes past all of them in Redis.
        let skipped = usize::try_from(self.offset).map_or(found.len(), |offset| offset.min(found.len()));
        let left = found.len() - skipped;
        let count = usize::try_from(self.limit).map_or(left, |limit| limit.min(left));
        if self.backwards {
            let end = found.end - skipped;
            return end - count..end;
        }
        let start = found.start + skipped;
        start..start + count
    }
}

fn reply_range(cx: &mut Cx<'_, '_>, of: Option<Of>, backwards: Option<bool>) -> Outcome {
    let asked = Asked::parse(cx, 1, of, backwards, false)?;
    let key = cx.key(1)?;
    read(cx, key, |scores, reply| {
        let Some(scores) = scores else { return reply.array(0) };
        let found = asked.find(&scores);
        members_head(reply, found.len(), asked.with_scores);
        members(reply, scores.iter(found, asked.backwards), asked.with_scores);
    })
}

fn zrangestore(cx: &mut Cx<'_, '_>) -> Outcome {
    let asked = Asked::parse(cx, 2, None, None, true)?;
    let (destination, source) = (cx.key(1)?, cx.key(2)?);
    let mut gathered = Gathered::default();
    if let Some(position) = cx.access_as(source, Kind::SortedSet)? {
        let keyspace = &cx.services().keyspace;
        let scores = Scores::of(keyspace, cx.entry(source, position));
        let room = &mut itoa::Buffer::new();
        for scored in scores.iter(asked.find(&scores), false) {
            gathered.push(scored.score, scored.member.bytes(room));
        }
    }
    store(cx, destination, gathered, Event::ZRANGESTORE, 1);
    Ok(())
}
