//! Commands that write hashes: HSET, HMSET, HSETNX, HDEL.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{DELETE_KEY, INSERT_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags};
use super::{HASH_ROW, fields_mut, find_to_change, or_add, remove_empty, table_limits};
use crate::keyspace::Kind;

const SETTER: CommandSpec = CommandSpec {
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
    keys: UPDATE_KEY,
    ..HASH_ROW
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "hdel",
        syntax: "HDEL key field [field ...]",
        complexity: "O(N) where N is the number of fields to be removed.",
        summary: "Deletes fields of a hash, and the hash with the last one.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: DELETE_KEY,
        run: hdel,
        ..HASH_ROW
    },
    CommandSpec {
        name: "hmset",
        syntax: "HMSET key field value [field value ...]",
        complexity: "O(N) where N is the number of fields being set.",
        summary: "Sets fields of a hash, which lose a deadline that they had. Creates the hash if it does not exist.",
        run: hmset,
        ..SETTER
    },
    CommandSpec {
        name: "hset",
        syntax: "HSET key field value [field value ...]",
        complexity: "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the command is called with multiple field/value pairs.",
        summary: "Sets fields of a hash, which lose a deadline that they had. Creates the hash if it does not exist.",
        run: hset,
        ..SETTER
    },
    CommandSpec {
        name: "hsetnx",
        syntax: "HSETNX key field value",
        summary: "Sets a field of a hash, unless it exists. Creates the hash if it does not exist.",
        keys: INSERT_KEY,
        run: hsetnx,
        ..SETTER
    },
];

fn hset(cx: &mut Cx<'_, '_>) -> Outcome {
    let created = set_pairs(cx)?;
    cx.reply.integer(created);
    Ok(())
}

fn hmset(cx: &mut Cx<'_, '_>) -> Outcome {
    set_pairs(cx)?;
    cx.reply.ok();
    Ok(())
}

/// Gives the fields of the request their values; says how many are new.
fn set_pairs(cx: &mut Cx<'_, '_>) -> Result<i64, Failure> {
    if !cx.args.len().is_multiple_of(2) {
        return Err(cx.wrong_number_of_arguments());
    }
    let key = cx.key(1)?;
    // A field whose time has passed is a new one, whatever the log knows of it.
    let found = cx.find_as(key, Kind::Hash)?;
    let position = or_add(cx, key, found);
    let limits = table_limits(cx);
    let (args, expired_ms) = (cx.args, cx.state.expired_ms);
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    let pairs = (2..args.len()).step_by(2).map(|at| (args.at(at), args.at(at + 1)));
    let longest = pairs.clone().map(|(name, value)| name.len().max(value.len())).max().unwrap_or(0);
    let created = fields.set_all(pairs, expired_ms);
    fields.raise_beyond(limits, longest);
    cx.changed(Event::HSET, key);
    Ok(created as i64)
}

fn hsetnx(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name, value) = (cx.key(1)?, cx.args.at(2), cx.args.at(3));
    let found = find_to_change(cx, key, std::iter::once(name))?;
    let position = or_add(cx, key, found);
    let limits = table_limits(cx);
    let expired_ms = cx.state.expired_ms;
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    let is_new = fields.view().get(name).is_none();
    if is_new {
        fields.set(name, value, None, expired_ms);
        fields.raise_beyond(limits, name.len().max(value.len()));
        cx.changed(Event::HSET, key);
    }
    cx.reply.integer(i64::from(is_new));
    Ok(())
}

fn hdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    let Some(position) = find_to_change(cx, key, args.iter_from(2))? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let mut fields = fields_mut(cx, key, position);
    let deleted = args.iter_from(2).filter(|name| fields.remove(name)).count();
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
