//! Commands about the server.

use super::cx::{Cx, Outcome};
use super::spec::{CommandSpec, Flags, Group};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "dbsize",
    syntax: "DBSIZE",
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns the number of keys in the selected database.",
    flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALL_KEYS),
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: dbsize,
}];

fn dbsize(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut keys = 0;
    let database = cx.client.database;
    cx.locked.each_shard(0, |_, shard| {
        keys += shard.partition(database).len();
        true
    });
    cx.reply.integer(keys as i64);
    Ok(())
}
