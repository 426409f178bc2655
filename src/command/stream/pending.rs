//! What was delivered and not acknowledged: XACK, XPENDING.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::{READ_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags, Group as CommandGroup};
use super::{change_group, ids, no_group, read, stream_of};
use crate::keyspace::Kind;
use crate::keyspace::collection::stream::{Group, Id, Pending};
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xack",
        syntax: "XACK key group id [id ...]",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(log N) for each id, where N is the number of pending entries",
        summary: "Acknowledges entries in a group. Returns how many were pending.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: xack,
    },
    CommandSpec {
        name: "xpending",
        syntax: "XPENDING key group [[IDLE min-idle-time] start end count [consumer]]",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(log N + M) where N is the number of pending entries and M the number of those that are looked at.",
        summary: "Returns what is pending in a group: a summary, or the entries in a range.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: xpending,
    },
];

fn xack(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, group) = (cx.key(1)?, cx.args.at(2));
    let Some(position) = cx.access_as(key, Kind::Stream)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    if stream_of(cx.entry(key, position))?.group(group).is_none() {
        cx.reply.integer(0);
        return Ok(());
    }
    let ids = ids::all_from(cx, 3)?;
    let acknowledged = change_group(cx, key, position, group, |_, group| {
        ids.iter().filter(|id| group.remove_pending(**id).is_some()).count() as u64
    })?;
    let acknowledged = acknowledged.unwrap_or(0);
    if acknowledged > 0 {
        cx.changed_keyspace(acknowledged);
    }
    cx.reply.integer(acknowledged as i64);
    Ok(())
}

/// Which pending entries are asked for.
struct Range {
    min_idle_ms: i64,
    start: Id,
    end: Id,
    count: usize,
    /// The argument that names the consumer.
    consumer_at: Option<usize>,
}

fn parse(cx: &Cx<'_, '_>) -> Result<Option<Range>, Failure> {
    let len = cx.args.len();
    if len == 3 {
        return Ok(None);
    }
    if !(6..=9).contains(&len) {
        return Err(Failure::SYNTAX);
    }
    let (mut min_idle_ms, mut at) = (0, 3);
    if cx.args.at(3).eq_ignore_ascii_case(b"idle") {
        min_idle_ms = cx.integer(4)?;
        if len < 8 {
            return Err(Failure::SYNTAX);
        }
        at += 2;
    }
    let count = cx.integer(at + 2)?.max(0) as usize;
    let (start, end) = (ids::start(cx, at)?, ids::end(cx, at + 1)?);
    let consumer_at = Some(at + 3).filter(|at| *at < len);
    Ok(Some(Range { min_idle_ms, start, end, count, consumer_at }))
}

fn xpending(cx: &mut Cx<'_, '_>) -> Outcome {
    let range = parse(cx)?;
    let (key, name, now_ms, args) = (cx.key(1)?, cx.args.at(2), cx.now_ms(), cx.args);
    read(cx, key, |stream, reply| {
        let group = stream.and_then(|stream| stream.group(name)).ok_or_else(|| no_group(key.bytes, name))?;
        match range {
            None => write_summary(reply, group),
            Some(range) => {
                let consumer = range.consumer_at.map(|at| group.find_consumer(args.at(at)));
                write_entries(reply, group, &range, consumer, now_ms);
            }
        }
        Ok(())
    })
}

fn write_summary(reply: &mut Reply<'_>, group: &Group) {
    reply.array(4);
    reply.integer(group.pending_count() as i64);
    let (Some(first), Some(last)) = (group.pending_from(Id::ZERO).next(), group.last_pending()) else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    reply.bulk_text(first.id);
    reply.bulk_text(last.id);
    let owners = || group.consumers().map(|(_, consumer)| consumer).filter(|consumer| consumer.pending() > 0);
    reply.array(owners().count());
    for consumer in owners() {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_text(consumer.pending());
    }
}

/// Pending entries; `consumer` is the one whose they are, or that there is none of that name.
fn write_entries(
    reply: &mut Reply<'_>,
    group: &Group,
    range: &Range,
    consumer: Option<Option<u32>>,
    now_ms: i64,
) {
    let is_idle = |pending: &Pending| {
        range.min_idle_ms == 0 || now_ms.saturating_sub(pending.delivered_ms) >= range.min_idle_ms
    };
    let in_range = |pending: &Pending| pending.id <= range.end;
    let found: Vec<Pending> = match consumer {
        Some(None) => Vec::new(),
        Some(Some(number)) => {
            let own = group.pending_of(number, range.start).take_while(in_range);
            own.filter(is_idle).take(range.count).collect()
        }
        None => {
            group.pending_from(range.start).take_while(in_range).filter(is_idle).take(range.count).collect()
        }
    };
    reply.array(found.len());
    for pending in found {
        reply.array(4);
        reply.bulk_text(pending.id);
        reply.bulk(group.consumer(pending.consumer).name());
        reply.integer(now_ms.saturating_sub(pending.delivered_ms).max(0));
        reply.integer(pending.deliveries as i64);
    }
}
