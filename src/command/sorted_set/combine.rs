//! Unions, intersections and differences of sorted sets and sets, whose members count with a score of 1.
//!
//! The time they take is in proportion to what their sources hold, as in Redis, and the shards of all keys are held for as long.

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Keys};
use super::{CHANGE, DESTINATION, Gathered, ROW, counted, member_bytes, members_head, store};
use crate::base::number::{parse_f64, parse_i64};
use crate::keyspace::values::Source;
use crate::keyspace::{Key, Kind};

const SOURCES: &[Keys] = &[counted(1, Access::ReadOnly, Effect::ACCESS)];
const STORE: &[Keys] = &[DESTINATION, counted(2, Access::ReadOnly, Effect::ACCESS)];

const DIFF_COMPLEXITY: &str = "O(L + (N-K)log(N)) worst case where L is the total number of elements in all the sets, N is the size of the first set, and K is the size of the result set.";
const INTER_COMPLEXITY: &str = "O(N*K)+O(M*log(M)) worst case with N being the smallest input sorted set, K being the number of input sorted sets and M being the number of elements in the resulting sorted set.";
const UNION_COMPLEXITY: &str = "O(N)+O(M*log(M)) with N being the sum of the sizes of the input sorted sets, and M being the number of elements in the resulting sorted set.";

const READ: CommandSpec = CommandSpec { since: "6.2.0", keys: SOURCES, ..ROW };
const WRITE: CommandSpec =
    CommandSpec { since: "2.0.0", flags: CHANGE.and(Flags::DENYOOM), keys: STORE, ..ROW };

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zdiff",
        syntax: "ZDIFF numkeys key [key ...] [WITHSCORES]",
        complexity: DIFF_COMPLEXITY,
        summary: "Returns the members of a sorted set that none of some others has.",
        run: |cx| tell(cx, Operation::Diff),
        ..READ
    },
    CommandSpec {
        name: "zdiffstore",
        syntax: "ZDIFFSTORE destination numkeys key [key ...]",
        since: "6.2.0",
        complexity: DIFF_COMPLEXITY,
        summary: "Stores the members of a sorted set that none of some others has in a key.",
        run: |cx| put(cx, Operation::Diff, Event::ZDIFFSTORE),
        ..WRITE
    },
    CommandSpec {
        name: "zinter",
        syntax: "ZINTER numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        complexity: INTER_COMPLEXITY,
        summary: "Returns the members that several sorted sets have in common.",
        run: |cx| tell(cx, Operation::Inter),
        ..READ
    },
    CommandSpec {
        name: "zintercard",
        syntax: "ZINTERCARD numkeys key [key ...] [LIMIT limit]",
        since: "7.0.0",
        complexity: "O(N*K) worst case with N being the smallest input sorted set, K being the number of input sorted sets.",
        summary: "Returns how many members several sorted sets have in common.",
        run: zintercard,
        ..READ
    },
    CommandSpec {
        name: "zinterstore",
        syntax: "ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        complexity: INTER_COMPLEXITY,
        summary: "Stores the members that several sorted sets have in common in a key.",
        run: |cx| put(cx, Operation::Inter, Event::ZINTERSTORE),
        ..WRITE
    },
    CommandSpec {
        name: "zunion",
        syntax: "ZUNION numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>] [WITHSCORES]",
        complexity: UNION_COMPLEXITY,
        summary: "Returns the members that any of several sorted sets has.",
        run: |cx| tell(cx, Operation::Union),
        ..READ
    },
    CommandSpec {
        name: "zunionstore",
        syntax: "ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]",
        complexity: UNION_COMPLEXITY,
        summary: "Stores the members that any of several sorted sets has in a key.",
        run: |cx| put(cx, Operation::Union, Event::ZUNIONSTORE),
        ..WRITE
    },
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// What becomes of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Told,
    Stored,
    Counted,
}

#[derive(Clone, Copy)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            // Of infinities of both signs.
            Aggregate::Sum => zero_for_nan(one + other),
            // NaN, which a weight can make of infinity, is neither less nor greater.
            Aggregate::Min if other < one => other,
            Aggregate::Max if other > one => other,
            Aggregate::Min | Aggregate::Max => one,
        }
    }
}

fn zero_for_nan(number: f64) -> f64 {
    if number.is_nan() { 0.0 } else { number }
}

/// What a request asks for.
struct Asked<'a> {
    sources: SmallVec<[(Key<'a>, f64); 4]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// 0 for none.
    limit: usize,
}

impl<'a> Asked<'a> {
    /// Reads the arguments from the number of keys on. As in Redis, keys are looked up before options are read.
    fn parse(
        cx: &mut Cx<'a, '_>,
        at: usize,
        operation: Operation,
        result: Use,
    ) -> Result<Asked<'a>, Failure> {
        let count = cx.integer(at)?;
        if count < 1 {
            let name = &cx.command.full_name;
            return Err(Failure::owned(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let first = at + 1;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > cx.args.len() - first {
            return Err(Failure::SYNTAX);
        }
        let mut sources = SmallVec::with_capacity(count);
        for index in first..first + count {
            let key = cx.key(index)?;
            if let Some(position) = cx.access(key)
                && !matches!(cx.entry(key, position).kind(), Kind::SortedSet | Kind::Set)
            {
                return Err(Failure::WRONG_TYPE);
            }
            sources.push((key, 1.0));
        }
        let mut asked = Asked { sources, aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let mut at = first + count;
        while at < cx.args.len() {
            at = asked.option(cx, at, operation, result)?;
        }
        Ok(asked)
    }

    /// Reads one option; gives the place behind it.
    fn option(
        &mut self,
        cx: &Cx<'a, '_>,
        at: usize,
        operation: Operation,
        result: Use,
    ) -> Result<usize, Failure> {
        let (count, left) = (self.sources.len(), cx.args.len() - at);
        let is = |name: &[u8]| cx.args.at(at).eq_ignore_ascii_case(name);
        let joins = operation != Operation::Diff && result != Use::Counted;
        if joins && left > count && is(b"WEIGHTS") {
            for (index, (_, weight)) in self.sources.iter_mut().enumerate() {
                let text = cx.args.at(at + 1 + index);
                *weight = parse_f64(text).ok_or(Failure::text("ERR weight value is not a float"))?;
            }
            return Ok(at + 1 + count);
        }
        if joins && left >= 2 && is(b"AGGREGATE") {
            self.aggregate = match cx.args.at(at + 1) {
                word if word.eq_ignore_ascii_case(b"SUM") => Aggregate::Sum,
                word if word.eq_ignore_ascii_case(b"MIN") => Aggregate::Min,
                word if word.eq_ignore_ascii_case(b"MAX") => Aggregate::Max,
                _ => return Err(Failure::SYNTAX),
            };
            return Ok(at + 2);
        }
        if result == Use::Told && is(b"WITHSCORES") {
            self.with_scores = true;
            return Ok(at + 1);
        }
        if result == Use::Counted && left >= 2 && is(b"LIMIT") {
            let limit = parse_i64(cx.args.at(at + 1)).and_then(|limit| usize::try_from(limit).ok());
            self.limit = limit.ok_or(Failure::text("ERR LIMIT can't be negative"))?;
            return Ok(at + 2);
        }
        Err(Failure::SYNTAX)
    }

    /// The sources that are there, with their weights; an empty one for each key that is not.
    fn look<'c>(&self, cx: &'c Cx<'_, '_>) -> SmallVec<[(Source<'c>, f64); 4]> {
        let keyspace = &cx.services().keyspace;
        let source = |(key, weight): &(Key<'_>, f64)| {
            let entry = cx.locked.look(cx.client.database, *key, cx.state.expired_ms);
            (Source::of(keyspace, entry), *weight)
        };
        self.sources.iter().map(source).collect()
    }

    fn result(&self, cx: &Cx<'_, '_>, operation: Operation) -> Gathered {
        let (mut sources, mut result) = (self.look(cx), Gathered::default());
        match operation {
            Operation::Diff => diff(&sources, |score, member| result.push(score, member)),
            Operation::Inter => {
                sources.sort_by_key(|(source, _)| source.len());
                inter(&sources, self.aggregate, |score, member| {
                    result.push(score, member);
                    true
                });
            }
            Operation::Union => {
                // In this order scores are added up in Redis, too.
                sources.sort_by_key(|(source, _)| source.len());
                for (source, weight) in &sources {
                    source.each(|score, member| {
                        result.push(zero_for_nan(score * weight), member);
                        true
                    });
                }
                result.join(|one, other| self.aggregate.of(one, other));
            }
        }
        result.sort();
        result
    }
}

/// Shows the members that all sources have; the first one is the smallest. `see` says whether it wants more.
fn inter(sources: &[(Source<'_>, f64)], aggregate: Aggregate, mut see: impl FnMut(f64, &[u8]) -> bool) {
    let Some(((first, weight), others)) = sources.split_first() else { return };
    first.each(|score, member| {
        let mut joined = zero_for_nan(score * weight);
        for (other, weight) in others {
            let Some(score) = other.score(member) else { return true };
            joined = aggregate.of(joined, score * weight);
        }
        see(joined, member)
    });
}

/// Shows the members of the first source that no other has.
fn diff(sources: &[(Source<'_>, f64)], mut see: impl FnMut(f64, &[u8])) {
    let Some(((first, _), others)) = sources.split_first() else { return };
    first.each(|score, member| {
        if others.iter().all(|(other, _)| other.score(member).is_none()) {
            see(score, member);
        }
        true
    });
}

fn tell(cx: &mut Cx<'_, '_>, operation: Operation) -> Outcome {
    let asked = Asked::parse(cx, 1, operation, Use::Told)?;
    let result = asked.result(cx, operation);
    members_head(&mut cx.reply, result.len(), asked.with_scores);
    for (score, member) in result.iter() {
        member_bytes(&mut cx.reply, member, score, asked.with_scores);
    }
    Ok(())
}

fn put(cx: &mut Cx<'_, '_>, operation: Operation, event: Event) -> Outcome {
    let asked = Asked::parse(cx, 2, operation, Use::Stored)?;
    let destination = cx.key(1)?;
    let result = asked.result(cx, operation);
    store(cx, destination, result, event, 1);
    Ok(())
}

fn zintercard(cx: &mut Cx<'_, '_>) -> Outcome {
    let asked = Asked::parse(cx, 1, Operation::Inter, Use::Counted)?;
    let mut count = 0;
    {
        let mut sources = asked.look(cx);
        sources.sort_by_key(|(source, _)| source.len());
        inter(&sources, Aggregate::Sum, |_, _| {
            count += 1;
            count != asked.limit
        });
    }
    cx.reply.integer(count as i64);
    Ok(())
}
