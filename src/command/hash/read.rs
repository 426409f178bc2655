//! Commands that read hashes: HGET, HGETALL, HLEN, HEXISTS.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::{CommandSpec, Flags, Group};
use super::{ASK_KEY, READ_KEY};
use crate::keyspace::values::Fields;
use crate::keyspace::{Key, Kind};
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hexists",
        syntax: "HEXISTS key field",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Says whether a hash has a field.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        tips: &[],
        subcommands: &[],
        run: hexists,
    },
    CommandSpec {
        name: "hget",
        syntax: "HGET key field",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the value of a field of a hash.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: hget,
    },
    CommandSpec {
        name: "hgetall",
        syntax: "HGETALL key",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N) where N is the size of the hash.",
        summary: "Returns all fields of a hash with their values.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &["nondeterministic_output_order"],
        subcommands: &[],
        run: hgetall,
    },
    CommandSpec {
        name: "hlen",
        syntax: "HLEN key",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Returns the number of fields of a hash.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        tips: &[],
        subcommands: &[],
        run: hlen,
    },
];

/// Reads a hash and writes the reply from it. `None` stands for a key that is not there.
fn read<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    answer: impl FnOnce(Option<Fields<'_>>, &mut Reply<'_>, i64) -> T,
) -> Result<T, Failure> {
    let found = cx.access_as(key, Kind::Hash)?;
    let (keyspace, expired_ms) = (&cx.services().keyspace, cx.state.expired_ms);
    let Some(position) = found else { return Ok(answer(None, &mut cx.reply, expired_ms)) };
    let (entry, reply) = cx.entry_and_reply(key, position);
    Ok(answer(Some(Fields::of(keyspace, entry)), reply, expired_ms))
}

fn hget(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |fields, reply, now_ms| {
        let field = fields.and_then(|fields| fields.get(name)).filter(|field| !field.is_due(now_ms));
        match field {
            Some(field) => reply.bulk(field.value.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        }
    })
}

fn hexists(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |fields, reply, now_ms| {
        let field = fields.and_then(|fields| fields.get(name)).filter(|field| !field.is_due(now_ms));
        reply.integer(i64::from(field.is_some()));
    })
}

fn hlen(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |fields, reply, _| reply.integer(fields.map_or(0, |fields| fields.len()) as i64))
}

fn hgetall(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |fields, reply, now_ms| {
        let Some(fields) = fields else { return reply.map(0) };
        let count = if fields.has_due(now_ms) { fields.live(now_ms).count() } else { fields.len() };
        reply.map(count);
        let rooms = (&mut itoa::Buffer::new(), &mut itoa::Buffer::new());
        for field in fields.live(now_ms) {
            reply.bulk(field.name.bytes(rooms.0));
            reply.bulk(field.value.bytes(rooms.1));
        }
    })
}
