//! SSCAN: what [`ElementScan`] says, of members.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{ElementScan, Options};
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
    let mut scan = ElementScan::begin(cx)?;
    let key = cx.key(1)?;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, None);
    read(cx, key, |members, reply| {
        let Some(members) = members else {
            scan.finish(reply, None);
            return Ok(());
        };
        let options = options?;
        let next = members.scan(scan.place, options.count, |member| {
            let room = &mut itoa::Buffer::new();
            let member = member.bytes(room);
            if options.matches(member) {
                scan.push(1, |found| found.bulk(member));
            }
            !scan.is_over()
        });
        scan.finish(reply, next);
        Ok(())
    })?
}
