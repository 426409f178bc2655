//! HRANDFIELD.

use std::ops::ControlFlow;

use super::super::cx::{Cx, Outcome};
use super::super::drawing::Draw;
use super::super::spec::{CommandSpec, Flags};
use super::HASH_ROW;
use crate::base::random::Random;
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
    let (draw, with_values) = Draw::read(cx, Some("WITHVALUES"))?;
    let key = cx.key(1)?;
    let (keyspace, expired_ms) = (&cx.services().keyspace, cx.state.expired_ms);
    let Some(position) = cx.access_as(key, Kind::Hash)? else {
        draw.answer_nothing(&mut cx.reply);
        return Ok(());
    };
    let (database, now_ms) = (cx.client.database, cx.state.now_ms);
    // The entry is borrowed from the shard, the reply from the connection, and the generator from the loop.
    let entry = cx.locked.partition(database, key, now_ms).0.entry(position);
    let from = Source { fields: Fields::of(keyspace, entry), now_ms: expired_ms, with_values };
    let (reply, random) = (&mut cx.reply, &mut cx.state.random);
    match draw {
        Draw::One => match from.fields.random(expired_ms, random) {
            Some(field) => reply.bulk(field.name.bytes(&mut itoa::Buffer::new())),
            None => reply.null(),
        },
        Draw::Repeated(count) => from.repeated(count, reply, random),
        Draw::Distinct(count) => from.distinct(count, reply, random),
    }
    Ok(())
}

/// A hash of which fields are drawn.
struct Source<'a> {
    fields: Fields<'a>,
    now_ms: i64,
    with_values: bool,
}

impl Source<'_> {
    /// Independent draws.
    fn repeated(&self, count: u64, reply: &mut Reply<'_>, random: &mut Random) {
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
    fn distinct(&self, count: u64, reply: &mut Reply<'_>, random: &mut Random) {
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
