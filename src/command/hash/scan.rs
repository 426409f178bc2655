//! HSCAN. A small hash comes whole. A large one is walked in the order of hashes, whose places mean the same however its leaves are divided and joined
//! meanwhile: a field that is there all the time comes exactly once.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{Options, Own, cursor_argument};
use super::super::spec::{CommandSpec, Flags};
use super::HASH_ROW;
use super::read::read;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "hscan",
    syntax: "HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all calls until the cursor is back at 0.",
    summary: "Returns some of the fields of a hash and a cursor to go on from.",
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    run: hscan,
    ..HASH_ROW
}];

fn hscan(cx: &mut Cx<'_, '_>) -> Outcome {
    let cursor = cursor_argument(cx.args.at(2))?;
    let key = cx.key(1)?;
    let keyspace = &cx.services().keyspace;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, Some(Own::NoValues));
    let mut found = cx.reply.aside();
    let protocol = cx.reply.protocol();
    read(cx, key, |fields, reply, now_ms| {
        let Some(fields) = fields else {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
            return Ok(());
        };
        let options = options?;
        let (mut count, with_values) = (0, !options.no_values);
        let next = fields.scan(keyspace.place_of(cursor).1, options.count, |field| {
            let room = &mut itoa::Buffer::new();
            let name = field.name.bytes(room);
            if !field.is_due(now_ms) && options.matches(name) {
                let mut found = crate::resp::Reply::new(&mut found, protocol);
                found.bulk(name);
                if with_values {
                    found.bulk(field.value.bytes(&mut itoa::Buffer::new()));
                }
                count += 1 + usize::from(with_values);
            }
            !found.is_over()
        });
        reply.array(2);
        reply.bulk_text(next.map_or(0, |granule| keyspace.cursor_of(0, granule)));
        reply.array(count);
        reply.append(found);
        Ok(())
    })?
}
