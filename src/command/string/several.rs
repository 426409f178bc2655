//! Commands on several strings at once: MGET, MSET, MSETNX. The shards of all keys are locked, so nobody sees half of a change.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Deadline;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::set::put;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "mget",
        syntax: "MGET key [key ...]",
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys.",
        summary: "Returns the string values of several keys.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: &[Keys::to_end(1, 1, Access::ReadOnly, Effect::ACCESS)],
        tips: &["request_policy:multi_shard"],
        subcommands: &[],
        run: mget,
    },
    CommandSpec {
        name: "mset",
        syntax: "MSET key value [key value ...]",
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Sets the string values of several keys at once.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys::to_end(1, 2, Access::Overwrite, Effect::UPDATE)],
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        subcommands: &[],
        run: mset,
    },
    CommandSpec {
        name: "msetnx",
        syntax: "MSETNX key value [key value ...]",
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Sets the string values of several keys at once, only if none of the keys exists.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys::to_end(1, 2, Access::Overwrite, Effect::INSERT)],
        tips: &["request_policy:multi_shard", "response_policy:agg_min"],
        subcommands: &[],
        run: msetnx,
    },
];

fn mget(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(cx.args.len() - 1);
    for index in 1..cx.args.len() {
        let key = cx.key(index)?;
        if !cx.read_into_reply(key) {
            // A key that is no string reads as none.
            cx.miss(key);
            cx.reply.null();
        }
    }
    Ok(())
}

fn mset(cx: &mut Cx<'_, '_>) -> Outcome {
    require_pairs(cx)?;
    put_pairs(cx)?;
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Cx<'_, '_>) -> Outcome {
    require_pairs(cx)?;
    let mut any_exists = false;
    for index in (1..cx.args.len()).step_by(2) {
        any_exists = any_exists || cx.find(cx.key(index)?).is_some();
    }
    if !any_exists {
        put_pairs(cx)?;
    }
    cx.reply.integer(i64::from(!any_exists));
    Ok(())
}

fn require_pairs(cx: &Cx<'_, '_>) -> Outcome {
    if cx.args.len() % 2 == 1 {
        return Ok(());
    }
    let name = &cx.command.full_name;
    Err(Failure::owned(format!("ERR wrong number of arguments for '{name}' command")))
}

fn put_pairs(cx: &mut Cx<'_, '_>) -> Outcome {
    for index in (1..cx.args.len()).step_by(2) {
        let key = cx.key(index)?;
        // Looked up in turn, because a key may be named twice.
        let found = cx.find(key);
        put(cx, key, found, cx.args.at(index + 1), Deadline::Clear);
    }
    Ok(())
}
