//! SSCAN. A small set comes whole; a large one is walked in the order of hashes, as HSCAN does it.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{Options, cursor_argument};
use super::super::spec::{CommandSpec, Flags};
use super::{SET_ROW, read};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "sscan",
    syntax: "SSCAN key cursor [MATCH pattern] [COUNT count]",
    since: "2.8.0",
    complexity: "O(1) for each call, O(N) for all calls until the cursor is back at 0.",
    summary: "Returns some of the members of a set and a cursor to go on from.",
    flags: Flags::READONLY,
    tips: &["nondeterministic_output"],
    run: sscan,
    ..SET_ROW
}];

fn sscan(cx: &mut Cx<'_, '_>) -> Outcome {
    let cursor = cursor_argument(cx.args.at(2))?;
    let key = cx.key(1)?;
    let keyspace = &cx.services().keyspace;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, None);
    let mut found = cx.reply.aside();
    let protocol = cx.reply.protocol();
    read(cx, key, |members, reply| {
        let Some(members) = members else {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
            return Ok(());
        };
        let (options, mut count) = (options?, 0);
        let next = members.scan(keyspace.place_of(cursor).1, options.count, |member| {
            let room = &mut itoa::Buffer::new();
            let member = member.bytes(room);
            if options.matches(member) {
                crate::resp::Reply::new(&mut found, protocol).bulk(member);
                count += 1;
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
