//! Commands on keys of any type. In this file those that only ask for keys or remove them; the others are next to it.

mod dump;
mod expire;
mod migrate;
mod object;
mod relocate;
mod scan;
mod sort;
mod wait;

pub use dump::ROWS as DUMP_ROWS;
pub use expire::ROWS as EXPIRE_ROWS;
pub use migrate::ROWS as MIGRATE_ROWS;
pub use object::{ROWS as OBJECT_ROWS, encoding_name};
pub use relocate::ROWS as RELOCATE_ROWS;
pub use scan::ROWS as SCAN_ROWS;
pub use sort::ROWS as SORT_ROWS;
pub use wait::ROWS as WAIT_ROWS;

use super::cx::{Cx, Outcome};
use super::effects::Event;
use super::help;
use super::keys::ASK_KEY;
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::keyspace::Kind;

const COUNT_TIPS: &[&str] = &["request_policy:multi_shard", "response_policy:agg_sum"];
const DELETE_KEYS: &[Keys] = &[Keys::to_end(1, 1, Access::Remove, Effect::DELETE)];
const LOOK_KEYS: &[Keys] = &[Keys::to_end(1, 1, Access::ReadOnly, Effect::NONE)];

/// A row with what the commands have in common that ask one question of one key, or change one property of it.
const ONE_KEY_ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Generic,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    flags: Flags::READONLY,
    keys: ASK_KEY,
    tips: &[],
    subcommands: &[],
    run: help::help,
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "del",
        syntax: "DEL key [key ...]",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys; large values are freed in the background.",
        summary: "Deletes keys and returns how many there were.",
        flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
        keys: DELETE_KEYS,
        tips: COUNT_TIPS,
        subcommands: &[],
        run: del,
    },
    CommandSpec {
        name: "exists",
        syntax: "EXISTS key [key ...]",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys.",
        summary: "Returns how many of the given keys exist; a key that is named twice counts twice.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: LOOK_KEYS,
        tips: COUNT_TIPS,
        subcommands: &[],
        run: exists,
    },
    CommandSpec {
        name: "touch",
        syntax: "TOUCH key [key ...]",
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys.",
        summary: "Notes an access to keys, for eviction, and returns how many of them exist.",
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALWAYS_TOUCHES),
        keys: LOOK_KEYS,
        tips: COUNT_TIPS,
        subcommands: &[],
        run: touch,
    },
    CommandSpec {
        name: "type",
        syntax: "TYPE key",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the type of the value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: ASK_KEY,
        tips: &[],
        subcommands: &[],
        run: type_of,
    },
    CommandSpec {
        name: "unlink",
        syntax: "UNLINK key [key ...]",
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(N) where N is the number of keys; large values are freed in the background.",
        summary: "Deletes keys and returns how many there were. Here DEL does not wait for memory to be freed either.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: DELETE_KEYS,
        tips: COUNT_TIPS,
        subcommands: &[],
        run: del,
    },
];

fn del(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut deleted = 0;
    for index in 1..cx.args.len() {
        let key = cx.key(index)?;
        if let Some(position) = cx.find(key) {
            cx.remove(cx.client.database, key, position);
            cx.changed(Event::DEL, key);
            deleted += 1;
        }
    }
    cx.reply.integer(deleted);
    Ok(())
}

fn exists(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut existing = 0;
    for index in 1..cx.args.len() {
        existing += i64::from(cx.look(cx.key(index)?).is_some());
    }
    cx.reply.integer(existing);
    Ok(())
}

fn touch(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut touched = 0;
    for index in 1..cx.args.len() {
        touched += i64::from(cx.access(cx.key(index)?).is_some());
    }
    cx.reply.integer(touched);
    Ok(())
}

fn type_of(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.look(key);
    let kind = found.map(|position| cx.entry(key, position).kind());
    cx.reply.simple(kind.map_or("none", Kind::type_name));
    Ok(())
}
