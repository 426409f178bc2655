//! ZRANDMEMBER. Every member is as likely as any other, whatever the form of the sorted set.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::CommandSpec;
use super::{ROW, member, members, members_head};
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::keyspace::Kind;
use crate::keyspace::values::Scores;
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "zrandmember",
    syntax: "ZRANDMEMBER key [count [WITHSCORES]]",
    since: "6.2.0",
    complexity: "O(N) where N is the number of elements returned",
    summary: "Returns one or more random members of a sorted set.",
    tips: &["nondeterministic_output"],
    run: zrandmember,
    ..ROW
}];

fn zrandmember(cx: &mut Cx<'_, '_>) -> Outcome {
    let count = cx.args.get(2).map(|_| count_argument(cx)).transpose()?;
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::SortedSet)? else {
        match count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let (database, now_ms, keyspace) = (cx.client.database, cx.state.now_ms, &cx.services().keyspace);
    // The entry is borrowed from the shard, the reply from the connection, and the generator from the loop.
    let entry = cx.locked.partition(database, key, now_ms).0.entry(position);
    let scores = Scores::of(keyspace, entry);
    let (reply, random, with_scores) = (&mut cx.reply, &mut cx.state.random, cx.args.len() == 4);
    match count {
        None => match scores.random(random) {
            Some(scored) => reply.bulk(scored.member.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        },
        Some(count) if count < 0 => repeated(&scores, count.unsigned_abs(), with_scores, reply, random),
        Some(count) => distinct(&scores, count.unsigned_abs(), with_scores, reply, random),
    }
    Ok(())
}

/// Reads count and WITHSCORES.
fn count_argument(cx: &Cx<'_, '_>) -> Result<i64, Failure> {
    let count = parse_i64(cx.args.at(2)).ok_or(Failure::NOT_AN_INTEGER)?;
    if count == i64::MIN {
        let (min, max) = (-i64::MAX, i64::MAX);
        return Err(Failure::owned(format!("ERR value is out of range, value must between {min} and {max}")));
    }
    match cx.args.get(3) {
        None => Ok(count),
        Some(word) if cx.args.len() > 4 || !word.eq_ignore_ascii_case(b"WITHSCORES") => Err(Failure::SYNTAX),
        Some(_) if count.abs() > i64::MAX / 2 => Err(Failure::text("ERR value is out of range")),
        Some(_) => Ok(count),
    }
}

/// Independent draws. What goes beyond the client's limit ends its connection.
fn repeated(scores: &Scores<'_>, count: u64, with_scores: bool, reply: &mut Reply<'_>, random: &mut Random) {
    members_head(reply, count as usize, with_scores);
    for _ in 0..count {
        let Some(drawn) = scores.random(random) else { return };
        member(reply, &drawn, with_scores);
        if reply.is_over() {
            return;
        }
    }
}

/// Different members, at most all of them.
fn distinct(scores: &Scores<'_>, count: u64, with_scores: bool, reply: &mut Reply<'_>, random: &mut Random) {
    let len = scores.len();
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(len);
    members_head(reply, count, with_scores);
    if count == len {
        return members(reply, scores.iter(0..len, true), with_scores);
    }
    scores.random_distinct(random, count, |drawn| member(reply, &drawn, with_scores));
}
