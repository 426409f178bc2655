//! ZSCAN. A set that Redis would have as a listpack comes whole. A larger one is walked in the order of hashes, never of scores, which change: a member that
//! is there all the time comes exactly once.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{Options, cursor_argument};
use super::super::spec::CommandSpec;
use super::{ROW, read};
use crate::base::number::{format_f64, format_f64_in_17};
use crate::keyspace::values::Level;
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "zscan",
    syntax: "ZSCAN key cursor [MATCH pattern] [COUNT count]",
    since: "2.8.0",
    complexity: "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.",
    summary: "Returns some of the members of a sorted set and a cursor to go on from.",
    tips: &["nondeterministic_output"],
    run: zscan,
    ..ROW
}];

fn zscan(cx: &mut Cx<'_, '_>) -> Outcome {
    let cursor = cursor_argument(cx.args.at(2))?;
    let key = cx.key(1)?;
    let keyspace = &cx.services().keyspace;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, None);
    let (mut found, protocol) = (cx.reply.aside(), cx.reply.protocol());
    read(cx, key, |scores, reply| {
        let Some(scores) = scores else {
            reply.array(2);
            reply.bulk(b"0");
            reply.array(0);
            return Ok(());
        };
        let options = options?;
        let (mut count, is_listpack) = (0, scores.level() == Level::First);
        let next = scores.scan(keyspace.place_of(cursor).1, options.count, |scored| {
            let room = &mut itoa::Buffer::new();
            let member = scored.member.bytes(room);
            if options.matches(member) {
                let mut found = Reply::new(&mut found, protocol);
                found.bulk(member);
                // Redis prints what is in a skiplist another way.
                match is_listpack {
                    true => found.bulk(&format_f64(scored.score)),
                    false => found.bulk(format_f64_in_17(scored.score).as_bytes()),
                }
                count += 2;
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
