//! HRANDFIELD. Every field is as likely as any other, whatever the form of the hash.

use std::ops::ControlFlow;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::{CommandSpec, Flags};
use super::HASH_ROW;
use crate::base::number::parse_i64;
use crate::keyspace::Kind;
use crate::keyspace::collection::Field;
use crate::keyspace::values::Fields;
use crate::resp::{Protocol, Reply};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "hrandfield",
    syntax: "HRANDFIELD key [count [WITHVALUES]]",
    since: "6.2.0",
    complexity: "O(N) where N is the number of fields returned",
    summary: "Returns one or more random fields of a hash.",
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    run: hrandfield,
    ..HASH_ROW
}];

fn hrandfield(cx: &mut Cx<'_, '_>) -> Outcome {
    let count = cx.args.get(2).map(|_| count_argument(cx)).transpose()?;
    let key = cx.key(1)?;
    let found = cx.access_as(key, Kind::Hash)?;
    let (keyspace, expired_ms) = (&cx.services().keyspace, cx.state.expired_ms);
    let Some(position) = found else {
        match count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let (database, now_ms) = (cx.client.database, cx.state.now_ms);
    // The entry is borrowed from the shard, the reply from the connection, and the generator from the loop.
    let entry = cx.locked.partition(database, key, now_ms).0.entry(position);
    let draw =
        Draw { fields: Fields::of(keyspace, entry), now_ms: expired_ms, with_values: cx.args.len() == 4 };
    let (reply, random) = (&mut cx.reply, &mut cx.state.random);
    match count {
        None => match draw.fields.random(expired_ms, random) {
            Some(field) => reply.bulk(field.name.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        },
        Some(count) if count < 0 => draw.repeated(count.unsigned_abs(), reply, random),
        Some(count) => draw.distinct(count.unsigned_abs(), reply, random),
    }
    Ok(())
}

/// Reads count and WITHVALUES.
fn count_argument(cx: &Cx<'_, '_>) -> Result<i64, Failure> {
    let count = parse_i64(cx.args.at(2)).ok_or(Failure::NOT_AN_INTEGER)?;
    if count == i64::MIN {
        let (min, max) = (-i64::MAX, i64::MAX);
        return Err(Failure::owned(format!("ERR value is out of range, value must between {min} and {max}")));
    }
    match cx.args.get(3) {
        None => Ok(count),
        Some(word) if cx.args.len() > 4 || !word.eq_ignore_ascii_case(b"WITHVALUES") => Err(Failure::SYNTAX),
        Some(_) if count.abs() > i64::MAX / 2 => Err(Failure::text("ERR value is out of range")),
        Some(_) => Ok(count),
    }
}

struct Draw<'a> {
    fields: Fields<'a>,
    now_ms: i64,
    with_values: bool,
}

impl Draw<'_> {
    /// Independent draws.
    fn repeated(&self, count: u64, reply: &mut Reply<'_>, random: &mut crate::base::random::Random) {
        if self.fields.random(self.now_ms, random).is_none() {
            return reply.array(0);
        }
        self.head(count, reply);
        self.fields.random_repeated(self.now_ms, random, count, |field| {
            self.field(&field, reply);
            // What goes beyond the client's limit ends its connection.
            if reply.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }

    /// Different fields, at most all of them.
    fn distinct(&self, count: u64, reply: &mut Reply<'_>, random: &mut crate::base::random::Random) {
        let live = self.fields.count_live(self.now_ms) as u64;
        self.head(count.min(live), reply);
        self.fields.random_distinct(self.now_ms, random, count.min(live) as usize, |field| {
            self.field(&field, reply)
        });
    }

    fn head(&self, count: u64, reply: &mut Reply<'_>) {
        let is_flat = self.with_values && reply.protocol() == Protocol::Resp2;
        reply.array((if is_flat { count * 2 } else { count }) as usize);
    }

    fn field(&self, field: &Field<'_>, reply: &mut Reply<'_>) {
        if self.with_values && reply.protocol() == Protocol::Resp3 {
            reply.array(2);
        }
        reply.bulk(field.name.bytes(&mut itoa::Buffer::new()));
        if self.with_values {
            reply.bulk(field.value.bytes(&mut itoa::Buffer::new()));
        }
    }
}
