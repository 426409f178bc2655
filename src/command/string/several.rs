//! Commands on several strings at once: MGET, MSET, MSETNX, MSETEX. The shards of all keys are locked, so nobody sees half of a change.

use std::ops::Range;

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Deadline;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::set::{Condition, SetOptions, put};
use crate::base::number::parse_i64;
use crate::command::keys::Find;

const NOT_A_COUNT: Failure = Failure::text("ERR invalid numkeys value");
const NOT_SO_MANY_PAIRS: Failure = Failure::text("ERR wrong number of key-value pairs");

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
        name: "msetex",
        syntax: "MSETEX numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(N) where N is the number of keys.",
        summary: "Sets the string values of several keys at once, with one expiration time, if none of the keys exists or all do.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME).and(Flags::LOGGED_OTHERWISE),
        keys: &[Keys {
            find: Find::Counted { count: 0, first: 1, step: 2 },
            ..Keys::one(1, Access::Overwrite, Effect::UPDATE)
        }],
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"],
        subcommands: &[],
        run: msetex,
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
    put_pairs(cx, 1..cx.args.len(), Deadline::Clear)?;
    cx.reply.ok();
    Ok(())
}

fn msetnx(cx: &mut Cx<'_, '_>) -> Outcome {
    require_pairs(cx)?;
    let pairs = 1..cx.args.len();
    let stores = permits(cx, pairs.clone(), Condition::Absent)?;
    if stores {
        put_pairs(cx, pairs, Deadline::Clear)?;
    }
    cx.reply.integer(i64::from(stores));
    Ok(())
}

fn msetex(cx: &mut Cx<'_, '_>) -> Outcome {
    let count = parse_i64(cx.args.at(1)).and_then(|count| i32::try_from(count).ok());
    let count = count.filter(|count| *count > 0).ok_or(NOT_A_COUNT)? as usize;
    let pairs = 2..2 + 2 * count;
    if pairs.end > cx.args.len() {
        return Err(NOT_SO_MANY_PAIRS);
    }
    let options = SetOptions::read(cx, pairs.end, false)?;
    let stores = permits(cx, pairs.clone(), options.condition)?;
    if stores {
        if let Deadline::At(at_ms) = options.deadline {
            log_with_deadline(cx, pairs.clone(), at_ms);
        }
        put_pairs(cx, pairs, options.deadline)?;
    }
    cx.reply.integer(i64::from(stores));
    Ok(())
}

fn require_pairs(cx: &Cx<'_, '_>) -> Outcome {
    if cx.args.len() % 2 == 1 { Ok(()) } else { Err(cx.wrong_number_of_arguments()) }
}

/// Whether the keys of these pairs are there, or are not, as the condition wants it. Those whose time has passed are gone afterwards, so that what is
/// recorded of that is in front of what the request records.
fn permits(cx: &mut Cx<'_, '_>, pairs: Range<usize>, condition: Condition<'_>) -> Result<bool, Failure> {
    let (mut any, mut all) = (false, true);
    for index in pairs.step_by(2) {
        let exists = cx.find(cx.key(index)?).is_some();
        (any, all) = (any || exists, all && exists);
    }
    Ok(match condition {
        Condition::Absent => !any,
        Condition::Present => all,
        Condition::Always | Condition::Value(_) => true,
    })
}

/// Records the pairs as they are set, with an absolute deadline.
fn log_with_deadline(cx: &mut Cx<'_, '_>, pairs: Range<usize>, at_ms: i64) {
    let digits = &mut itoa::Buffer::new();
    let args = cx.args;
    let mut words: SmallVec<[&[u8]; 16]> = SmallVec::new();
    words.push(b"MSETEX");
    words.extend((1..pairs.end).map(|index| args.at(index)));
    words.extend([b"PXAT", digits.format(at_ms).as_bytes()]);
    cx.log(&words);
}

fn put_pairs(cx: &mut Cx<'_, '_>, pairs: Range<usize>, deadline: Deadline) -> Outcome {
    for index in pairs.step_by(2) {
        let key = cx.key(index)?;
        // Looked up in turn, because a key may be named twice.
        let found = cx.find(key);
        put(cx, key, found, cx.args.at(index + 1), deadline);
    }
    Ok(())
}
