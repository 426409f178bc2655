//! Commands that read hashes: HGET and its kin.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::ASK_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::HASH_ROW;
use crate::keyspace::collection::Field;
use crate::keyspace::values::{Fields, Hint};
use crate::keyspace::{Key, Kind};
use crate::resp::Reply;

const UNORDERED: &[&str] = &["nondeterministic_output_order"];
/// Reads all of a hash.
const WHOLE: CommandSpec = CommandSpec {
    complexity: "O(N) where N is the size of the hash.",
    flags: Flags::READONLY,
    tips: UNORDERED,
    ..HASH_ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hexists",
        syntax: "HEXISTS key field",
        summary: "Says whether a hash has a field.",
        keys: ASK_KEY,
        run: hexists,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hget",
        syntax: "HGET key field",
        summary: "Returns the value of a field of a hash.",
        run: hget,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hgetall",
        syntax: "HGETALL key",
        summary: "Returns all fields of a hash with their values.",
        run: hgetall,
        ..WHOLE
    },
    CommandSpec {
        name: "hkeys",
        syntax: "HKEYS key",
        summary: "Returns the names of all fields of a hash.",
        run: hkeys,
        ..WHOLE
    },
    CommandSpec {
        name: "hlen",
        syntax: "HLEN key",
        summary: "Returns the number of fields of a hash.",
        keys: ASK_KEY,
        run: hlen,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hmget",
        syntax: "HMGET key field [field ...]",
        complexity: "O(N) where N is the number of fields being requested.",
        summary: "Returns the values of some fields of a hash.",
        run: hmget,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hstrlen",
        syntax: "HSTRLEN key field",
        since: "3.2.0",
        summary: "Returns the length of the value of a field of a hash.",
        keys: ASK_KEY,
        run: hstrlen,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hvals",
        syntax: "HVALS key",
        summary: "Returns the values of all fields of a hash.",
        run: hvals,
        ..WHOLE
    },
];

/// Reads a hash and writes the reply from it. `None` stands for a key that is not there.
pub fn read<T>(
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

/// Reads one field, which the request names, and writes the reply from it.
fn read_field(cx: &mut Cx<'_, '_>, answer: impl FnOnce(Option<Field<'_>>, &mut Reply<'_>)) -> Outcome {
    let (key, name) = (cx.key(1)?, cx.args.at(2));
    read(cx, key, |fields, reply, now_ms| {
        answer(fields.and_then(|fields| fields.get_live(name, now_ms)), reply);
    })
}

/// Writes the value of a field, or that there is none.
pub fn reply_value(reply: &mut Reply<'_>, field: Option<Field<'_>>) {
    match field {
        Some(field) => reply.bulk(field.value.bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
}

fn hget(cx: &mut Cx<'_, '_>) -> Outcome {
    read_field(cx, |field, reply| reply_value(reply, field))
}

fn hexists(cx: &mut Cx<'_, '_>) -> Outcome {
    read_field(cx, |field, reply| reply.integer(i64::from(field.is_some())))
}

fn hstrlen(cx: &mut Cx<'_, '_>) -> Outcome {
    read_field(cx, |field, reply| {
        reply.integer(field.map_or(0, |field| field.value.bytes(&mut itoa::Buffer::new()).len()) as i64);
    })
}

fn hmget(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    read(cx, key, |fields, reply, now_ms| {
        reply.array(args.len() - 2);
        let mut hint = Hint::default();
        for name in args.iter_from(2) {
            let field = fields.and_then(|fields| fields.get_near(name, &mut hint));
            reply_value(reply, field.filter(|field| !field.is_due(now_ms)));
        }
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
        reply.map(fields.count_live(now_ms));
        for field in fields.live(now_ms) {
            reply.bulk(field.name.bytes(&mut itoa::Buffer::new()));
            reply.bulk(field.value.bytes(&mut itoa::Buffer::new()));
        }
    })
}

fn hkeys(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |fields, reply, now_ms| {
        let Some(fields) = fields else { return reply.array(0) };
        reply.array(fields.count_live(now_ms));
        fields.live(now_ms).for_each(|field| reply.bulk(field.name.bytes(&mut itoa::Buffer::new())));
    })
}

fn hvals(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |fields, reply, now_ms| {
        let Some(fields) = fields else { return reply.array(0) };
        reply.array(fields.count_live(now_ms));
        fields.live(now_ms).for_each(|field| reply.bulk(field.value.bytes(&mut itoa::Buffer::new())));
    })
}
