//! ZSCAN: what [`ElementScan`] says, of members. A set that Redis would have as a listpack comes whole; a larger one is never walked in the order of scores, which change.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{ElementScan, Options};
use super::super::spec::CommandSpec;
use super::{ROW, read};
use crate::base::number::{format_f64, format_f64_in_17};
use crate::keyspace::values::Level;

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
    let mut scan = ElementScan::begin(cx)?;
    let key = cx.key(1)?;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, None);
    read(cx, key, |scores, reply| {
        let Some(scores) = scores else {
            scan.finish(reply, None);
            return Ok(());
        };
        let options = options?;
        let is_listpack = scores.level() == Level::First;
        let next = scores.scan(scan.place, options.count, |scored| {
            let room = &mut itoa::Buffer::new();
            let member = scored.member.bytes(room);
            if options.matches(member) {
                scan.push(2, |found| {
                    found.bulk(member);
                    // Redis prints what is in a skiplist another way.
                    match is_listpack {
                        true => found.bulk(&format_f64(scored.score)),
                        false => found.bulk(format_f64_in_17(scored.score).as_bytes()),
                    }
                });
            }
            !scan.is_over()
        });
        scan.finish(reply, next);
        Ok(())
    })?
}
