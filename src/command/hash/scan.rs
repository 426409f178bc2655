//! HSCAN: what [`ElementScan`] says, of fields.

use super::super::cx::{Cx, Outcome};
use super::super::scanning::{ElementScan, Options, Own};
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
    let mut scan = ElementScan::begin(cx)?;
    let key = cx.key(1)?;
    // Redis reads the options only where there is something to scan.
    let options = Options::parse(cx, 3, Some(Own::NoValues));
    read(cx, key, |fields, reply, now_ms| {
        let Some(fields) = fields else {
            scan.finish(reply, None);
            return Ok(());
        };
        let options = options?;
        let words = if options.no_values { 1 } else { 2 };
        let next = fields.scan(scan.place, options.count, |field| {
            let room = &mut itoa::Buffer::new();
            let name = field.name.bytes(room);
            if !field.is_due(now_ms) && options.matches(name) {
                scan.push(words, |found| {
                    found.bulk(name);
                    if !options.no_values {
                        found.bulk(field.value.bytes(&mut itoa::Buffer::new()));
                    }
                });
            }
            !scan.is_over()
        });
        scan.finish(reply, next);
        Ok(())
    })?
}
