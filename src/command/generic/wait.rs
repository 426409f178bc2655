//! WAIT and WAITAOF: wait until replicas, or the disk, have a client's writes. There are no replicas yet, so WAIT only waits.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::{CommandSpec, Flags, Group};
use crate::base::number::parse_i64;
use crate::client::{Blocked, NO_LOG};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
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
    },
    CommandSpec {
        name: "waitaof",
        syntax: "WAITAOF numlocal numreplicas timeout",
        group: Group::Generic,
        since: "7.2.0",
        complexity: "O(1)",
        summary: "Waits until the write log on the local disk has the connection's writes, or some milliseconds have passed.",
        flags: Flags::BLOCKING.and(Flags::CONNECTION),
        keys: &[],
        tips: &["request_policy:all_shards", "response_policy:agg_min"],
        subcommands: &[],
        run: wait_for_log,
    },
];

fn wait(cx: &mut Cx<'_, '_>) -> Outcome {
    let replicas = cx.integer(1)?;
    let until_ms = until_ms(cx, 2)?;
    if replicas <= 0 || cx.in_exec {
        cx.reply.integer(0);
    } else {
        cx.client.blocked = Some(Blocked::Waiting { until_ms, answer: 0 });
    }
    Ok(())
}

/// The end of a waiting whose timeout in milliseconds is the argument at `index`. 0 is for ever, here as in [`Blocked`].
fn until_ms(cx: &Cx<'_, '_>, index: usize) -> Result<i64, Failure> {
    let timeout_ms =
        parse_i64(cx.args.at(index)).ok_or(Failure::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(Failure::text("ERR timeout is negative"));
    }
    match timeout_ms {
        0 => Ok(0),
        _ => cx.steady_ms().checked_add(timeout_ms).ok_or(Failure::text("ERR timeout is out of range")),
    }
}

fn wait_for_log(cx: &mut Cx<'_, '_>) -> Outcome {
    let local = cx.integer(1)?;
    if !(0..=1).contains(&local) {
        return Err(Failure::text("ERR value is out of range, value must between 0 and 1"));
    }
    let replicas = parse_i64(cx.args.at(2)).filter(|replicas| *replicas >= 0);
    let replicas = replicas.ok_or(Failure::text("ERR value is out of range, must be positive"))?;
    let until_ms = until_ms(cx, 3)?;
    let log = &cx.services().write_log;
    // One that was turned on and has no base yet, or that has failed, is waited for.
    if local == 1 && !cx.config().appendonly {
        return Err(Failure::text(NO_LOG));
    }
    let offset = cx.client.log_offset;
    let is_local = log.is_durable(offset);
    if cx.in_exec || replicas == 0 && (local == 0 || is_local) {
        cx.reply.array(2);
        cx.reply.integer(i64::from(is_local));
        cx.reply.integer(0);
        return Ok(());
    }
    // There are no replicas yet, so who waits for one waits until the timeout.
    let waited_for = if replicas == 0 { offset } else { u64::MAX };
    cx.client.blocked =
        Some(Blocked::Durable { offset: waited_for, written: offset, until_ms, local: local == 1 });
    // Redis does not flush sooner because somebody waits.
    log.await_durable();
    Ok(())
}
