//! XINFO: what there is to know of a stream, its groups and their consumers.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::help;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group as CommandGroup, Keys};
use super::{no_group_of_key, read, unless_zero, write_entry, write_range};
use crate::keyspace::collection::stream::{Consumer, Entries, Group, Id, Stream};
use crate::resp::Reply;

const KEY: &[Keys] = &[Keys::one(2, Access::ReadOnly, Effect::ACCESS)];
/// How many entries FULL shows of each list without COUNT.
const FULL_COUNT: i64 = 10;

pub const ROWS: &[CommandSpec] = &[help::container(
    "xinfo",
    "XINFO <subcommand>",
    CommandGroup::Stream,
    "5.0.0",
    "A container for stream introspection commands.",
    XINFO,
)];

const XINFO: &[CommandSpec] = &[
    CommandSpec {
        name: "consumers",
        syntax: "XINFO CONSUMERS key group",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of consumers",
        summary: "Returns the consumers of a group.",
        flags: Flags::READONLY,
        keys: KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: consumers,
    },
    CommandSpec {
        name: "groups",
        syntax: "XINFO GROUPS key",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of groups",
        summary: "Returns the consumer groups of a stream.",
        flags: Flags::READONLY,
        keys: KEY,
        tips: &[],
        subcommands: &[],
        run: groups,
    },
    help::row("XINFO HELP", CommandGroup::Stream, "5.0.0", Flags::NONE),
    CommandSpec {
        name: "stream",
        syntax: "XINFO STREAM key [FULL [COUNT count]]",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of nodes that Redis would divide the stream into, and of entries that are returned",
        summary: "Returns what there is to know of a stream.",
        flags: Flags::READONLY,
        keys: KEY,
        tips: &[],
        subcommands: &[],
        run: stream,
    },
];

/// Reads the stream that a subcommand is about, which must exist.
fn ask(cx: &mut Cx<'_, '_>, answer: impl FnOnce(&Stream, &mut Reply<'_>) -> Outcome) -> Outcome {
    let key = cx.key(2)?;
    read(cx, key, |stream, reply| answer(stream.ok_or(Failure::NO_SUCH_KEY)?, reply))
}

fn consumers(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name, now_ms) = (cx.args.at(2), cx.args.at(3), cx.now_ms());
    ask(cx, |stream, reply| {
        let group = stream.group(name).ok_or_else(|| no_group_of_key(key, name))?;
        reply.array(group.consumer_count());
        for (_, consumer) in group.consumers() {
            reply.map(3);
            name_of(reply, consumer.name());
            number(reply, "pending", consumer.pending() as i64);
            number(reply, "idle", now_ms.saturating_sub(consumer.seen_ms).max(0));
        }
        Ok(())
    })
}

fn groups(cx: &mut Cx<'_, '_>) -> Outcome {
    ask(cx, |stream, reply| {
        reply.array(stream.group_count());
        for (name, group) in stream.groups() {
            reply.map(6);
            name_of(reply, name);
            number(reply, "consumers", group.consumer_count() as i64);
            number(reply, "pending", group.pending_count() as i64);
            write_progress(reply, stream.entries(), group);
        }
        Ok(())
    })
}

fn stream(cx: &mut Cx<'_, '_>) -> Outcome {
    let (mut full, mut wrong, mut count) = (None, None, None);
    // The key is looked for before options are, so an error of theirs waits.
    match cx.args.len() - 3 {
        0 => {}
        1 | 3 if cx.args.at(3).eq_ignore_ascii_case(b"full") => full = Some(FULL_COUNT),
        _ => wrong = Some(help::bad_arguments(cx)),
    }
    if full.is_some() && cx.args.len() > 4 {
        if cx.args.at(4).eq_ignore_ascii_case(b"count") {
            count = Some(cx.integer(5));
        } else {
            wrong = Some(help::bad_arguments(cx));
        }
    }
    ask(cx, |stream, reply| {
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        let count = count.transpose()?.filter(|count| *count >= 0);
        let shown = full.map(|default| unless_zero(count.unwrap_or(default)));
        reply.map(if shown.is_some() { 9 } else { 10 });
        write_facts(reply, stream.entries());
        match shown {
            Some(count) => write_full(reply, stream, count),
            None => write_ends(reply, stream),
        }
        Ok(())
    })
}

fn write_facts(reply: &mut Reply<'_>, entries: &Entries) {
    number(reply, "length", entries.len() as i64);
    number(reply, "radix-tree-keys", entries.node_count() as i64);
    number(reply, "radix-tree-nodes", entries.radix_nodes() as i64);
    id(reply, "last-generated-id", entries.last_id());
    id(reply, "max-deleted-entry-id", entries.max_deleted_id());
    number(reply, "entries-added", entries.added() as i64);
    id(reply, "recorded-first-entry-id", entries.first_id());
}

fn write_ends(reply: &mut Reply<'_>, stream: &Stream) {
    number(reply, "groups", stream.group_count() as i64);
    let entries = stream.entries();
    let first = entries.range(Id::ZERO, Id::MAX).next();
    let last = entries.range_back(Id::ZERO, Id::MAX).next();
    for (name, entry) in [("first-entry", first), ("last-entry", last)] {
        reply.bulk(name.as_bytes());
        match entry {
            Some(entry) => write_entry(reply, entry),
            None => reply.null(),
        }
    }
}

fn write_full(reply: &mut Reply<'_>, stream: &Stream, count: usize) {
    reply.bulk(b"entries");
    write_range(reply, stream.entries(), (Id::ZERO, Id::MAX), count, false);
    reply.bulk(b"groups");
    reply.array(stream.group_count());
    for (name, group) in stream.groups() {
        reply.map(7);
        name_of(reply, name);
        write_progress(reply, stream.entries(), group);
        number(reply, "pel-count", group.pending_count() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending_count().min(count));
        for pending in group.pending_from(Id::ZERO).take(count) {
            reply.array(4);
            reply.bulk_text(pending.id);
            reply.bulk(group.consumer(pending.consumer).name());
            reply.integer(pending.delivered_ms);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumer_count());
        for (number, consumer) in group.consumers() {
            write_consumer(reply, group, number, consumer, count);
        }
    }
}

fn write_consumer(reply: &mut Reply<'_>, group: &Group, own: u32, consumer: &Consumer, count: usize) {
    reply.map(4);
    name_of(reply, consumer.name());
    number(reply, "seen-time", consumer.seen_ms);
    number(reply, "pel-count", consumer.pending() as i64);
    reply.bulk(b"pending");
    reply.array((consumer.pending() as usize).min(count));
    for pending in group.pending_of(own, Id::ZERO).take(count) {
        reply.array(3);
        reply.bulk_text(pending.id);
        reply.integer(pending.delivered_ms);
        reply.integer(pending.deliveries as i64);
    }
}

/// How far a group has read.
fn write_progress(reply: &mut Reply<'_>, entries: &Entries, group: &Group) {
    id(reply, "last-delivered-id", group.last_delivered);
    for (name, value) in
        [("entries-read", group.entries_read.map(|read| read as i64)), ("lag", group.lag(entries))]
    {
        reply.bulk(name.as_bytes());
        match value {
            Some(value) => reply.integer(value),
            None => reply.null(),
        }
    }
}

fn number(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn id(reply: &mut Reply<'_>, name: &str, id: Id) {
    reply.bulk(name.as_bytes());
    reply.bulk_text(id);
}

fn name_of(reply: &mut Reply<'_>, name: &[u8]) {
    reply.bulk(b"name");
    reply.bulk(name);
}
