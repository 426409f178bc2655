//! Commands that write hashes: HSET, HDEL.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{CommandSpec, Flags, Group};
use super::{DELETE_KEY, UPDATE_KEY, fields_mut, find_or_add};
use crate::keyspace::{Key, Kind};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hdel",
        syntax: "HDEL key field [field ...]",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(N) where N is the number of fields to be removed.",
        summary: "Deletes fields of a hash, and the hash with the last one.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: DELETE_KEY,
        tips: &[],
        subcommands: &[],
        run: hdel,
    },
    CommandSpec {
        name: "hset",
        syntax: "HSET key field value [field value ...]",
        group: Group::Hash,
        since: "2.0.0",
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
        summary: "Sets fields of a hash, which lose a deadline that they had. Creates the hash if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: hset,
    },
];

fn hset(cx: &mut Cx<'_, '_>) -> Outcome {
    let created = set_pairs(cx)?;
    cx.reply.integer(created);
    Ok(())
}

/// Gives the fields of the request their values; says how many are new.
fn set_pairs(cx: &mut Cx<'_, '_>) -> Result<i64, Failure> {
    if !cx.args.len().is_multiple_of(2) {
        let name = &cx.command.full_name;
        return Err(Failure::owned(format!("ERR wrong number of arguments for '{name}' command")));
    }
    let key = cx.key(1)?;
    let position = find_or_add(cx, key)?;
    let limits = (cx.config().hash_max_listpack_entries as u64, cx.config().hash_max_listpack_value);
    let (args, expired_ms) = (cx.args, cx.state.expired_ms);
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    let (mut created, mut longest) = (0, 0);
    for at in (2..args.len()).step_by(2) {
        let (name, value) = (args.at(at), args.at(at + 1));
        created += i64::from(fields.set(name, value, None, expired_ms));
        longest = longest.max(name.len()).max(value.len());
    }
    fields.raise_beyond(limits, longest);
    cx.changed(Event::HSET, key);
    Ok(created)
}

fn hdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::Hash)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let (args, expired_ms) = (cx.args, cx.state.expired_ms);
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    // A field whose time has passed is not counted, but goes with the others.
    let deleted = (2..args.len()).filter(|at| fields.remove_live(args.at(*at), expired_ms)).count();
    let is_empty = fields.view().is_empty();
    if deleted > 0 {
        cx.changed(Event::HDEL, key);
    }
    if is_empty {
        remove_empty(cx, key);
    }
    cx.reply.integer(deleted as i64);
    Ok(())
}

/// Removes a key whose last field has gone.
fn remove_empty(cx: &mut Cx<'_, '_>, key: Key<'_>) {
    if let Some(position) = cx.find(key) {
        cx.remove(cx.client.database, key, position);
        cx.also(Event::DEL, key);
    }
}
