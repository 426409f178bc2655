//! Commands about the connection itself.

use super::cx::{Cx, Outcome};
use super::spec::{CommandSpec, Flags, Group};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "ping",
    syntax: "PING [message]",
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Answers PONG, or the message.",
    flags: Flags::FAST.and(Flags::WHILE_SUBSCRIBED).and(Flags::CONNECTION),
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: ping,
}];

fn ping(cx: &mut Cx<'_, '_>) -> Outcome {
    match cx.args.get(1) {
        Some(message) => cx.reply.bulk(message),
        None => cx.reply.simple("PONG"),
    }
    Ok(())
}
