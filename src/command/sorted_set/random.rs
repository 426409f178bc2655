//! ZRANDMEMBER.

use super::super::cx::{Cx, Outcome};
use super::super::drawing::Draw;
use super::super::spec::CommandSpec;
use super::{ROW, member, members, members_head};
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
    let (draw, with_scores) = Draw::read(cx, Some("WITHSCORES"))?;
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::SortedSet)? else {
        draw.answer_nothing(&mut cx.reply);
        return Ok(());
    };
    let (database, now_ms, keyspace) = (cx.client.database, cx.state.now_ms, &cx.services().keyspace);
    // The entry is borrowed from the shard, the reply from the connection, and the generator from the loop.
    let entry = cx.locked.partition(database, key, now_ms).0.entry(position);
    let scores = Scores::of(keyspace, entry);
    let (reply, random) = (&mut cx.reply, &mut cx.state.random);
    match draw {
        Draw::One => match scores.random(random) {
            Some(scored) => reply.bulk(scored.member.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        },
        Draw::Repeated(count) => repeated(&scores, count, with_scores, reply, random),
        Draw::Distinct(count) => distinct(&scores, count, with_scores, reply, random),
    }
    Ok(())
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
