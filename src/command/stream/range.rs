//! Commands that read entries by their ids: XLEN, XRANGE, XREVRANGE.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::{ASK_KEY, READ_KEY};
use super::super::spec::{CommandSpec, Flags, Group};
use super::{ids, read, unless_zero, write_range};

const COMPLEXITY: &str =
    "O(log N + M) where N is the number of entries and M the number of those that are returned.";

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xlen",
        syntax: "XLEN key",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Returns the number of entries of a stream.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        tips: &[],
        subcommands: &[],
        run: xlen,
    },
    CommandSpec {
        name: "xrange",
        syntax: "XRANGE key start end [COUNT count]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: COMPLEXITY,
        summary: "Returns the entries of a stream whose ids are in a range.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: xrange,
    },
    CommandSpec {
        name: "xrevrange",
        syntax: "XREVRANGE key end start [COUNT count]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: COMPLEXITY,
        summary: "Returns the entries of a stream whose ids are in a range, the last one first.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: xrevrange,
    },
];

fn xlen(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    read(cx, key, |stream, reply| {
        reply.integer(stream.map_or(0, |stream| stream.entries().len()) as i64);
        Ok(())
    })
}

fn xrange(cx: &mut Cx<'_, '_>) -> Outcome {
    range(cx, (2, 3), false)
}

fn xrevrange(cx: &mut Cx<'_, '_>) -> Outcome {
    range(cx, (3, 2), true)
}

fn range(cx: &mut Cx<'_, '_>, (start_at, end_at): (usize, usize), back: bool) -> Outcome {
    let bounds = (ids::start(cx, start_at)?, ids::end(cx, end_at)?);
    let mut count = None;
    for at in (4..cx.args.len()).step_by(2) {
        if !cx.args.at(at).eq_ignore_ascii_case(b"count") || at + 1 == cx.args.len() {
            return Err(Failure::SYNTAX);
        }
        count = Some(cx.integer(at + 1)?);
    }
    let key = cx.key(1)?;
    read(cx, key, |stream, reply| {
        match (stream, count) {
            (None, _) => reply.array(0),
            (Some(_), Some(..=0)) => reply.null_array(),
            (Some(stream), _) => {
                write_range(reply, stream.entries(), bounds, unless_zero(count.unwrap_or(0)), back);
            }
        }
        Ok(())
    })
}
