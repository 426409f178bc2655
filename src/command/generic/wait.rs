//! WAIT: waits until replicas have a client's writes. There are none yet, so it only waits.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::{CommandSpec, Flags, Group};
use crate::base::number::parse_i64;
use crate::client::Blocked;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "wait",
    syntax: "WAIT numreplicas timeout",
    group: Group::Generic,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "Waits until enough replicas have the connection's writes, or some milliseconds have passed.",
    flags: Flags::BLOCKING.and(Flags::CONNECTION),
    keys: &[],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    subcommands: &[],
    run: wait,
}];

fn wait(cx: &mut Cx<'_, '_>) -> Outcome {
    let replicas = cx.integer(1)?;
    let timeout_ms =
        parse_i64(cx.args.at(2)).ok_or(Failure::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(Failure::text("ERR timeout is negative"));
    }
    // 0 is for ever, here as in the reply's deadline.
    let until_ms = match timeout_ms {
        0 => 0,
        _ => cx.now_ms().checked_add(timeout_ms).ok_or(Failure::text("ERR timeout is out of range"))?,
    };
    if replicas <= 0 || cx.in_exec {
        cx.reply.integer(0);
    } else {
        cx.client.blocked = Some(Blocked::Waiting { until_ms, answer: 0 });
    }
    Ok(())
}
