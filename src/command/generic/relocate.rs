//! Commands that put a value under another key or into another database: RENAME, RENAMENX, COPY, MOVE.
//!
//! A key is part of its entry's block. So MOVE hands the entry over as it is, while a new name costs one copy of the value.
//! Removing or expiring one key may move its neighbours in the table, so a position is looked up after the last removal.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::Found;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::base::number::parse_i64;
use crate::keyspace::Key;
use crate::resp::Args;

const SAME_OBJECT: Failure = Failure::text("ERR source and destination objects are the same");

const SOURCE_RENAMED: Keys = Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE));

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "copy",
        syntax: "COPY source destination [DB destination-db] [REPLACE]",
        group: Group::Generic,
        since: "6.2.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Copies the value and the expiration time of a key to another key.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[
            Keys::one(1, Access::ReadOnly, Effect::ACCESS),
            Keys { exact: Some(key_of_copy), ..Keys::one(2, Access::Overwrite, Effect::UPDATE) },
        ],
        tips: &[],
        subcommands: &[],
        run: copy,
    },
    CommandSpec {
        name: "move",
        syntax: "MOVE key db",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1); O(N) where N is the length of the value, if a running snapshot has not seen it yet.",
        summary: "Moves a key to another database, unless that has the key already.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys {
            exact: Some(key_of_move),
            ..Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE))
        }],
        tips: &[],
        subcommands: &[],
        run: move_key,
    },
    CommandSpec {
        name: "rename",
        syntax: "RENAME key newkey",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Renames a key, replacing the key that has the new name.",
        flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
        keys: &[SOURCE_RENAMED, Keys::one(2, Access::Overwrite, Effect::UPDATE)],
        tips: &[],
        subcommands: &[],
        run: rename,
    },
    CommandSpec {
        name: "renamenx",
        syntax: "RENAMENX key newkey",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Renames a key, unless a key with the new name exists.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[SOURCE_RENAMED, Keys::one(2, Access::Overwrite, Effect::INSERT)],
        tips: &[],
        subcommands: &[],
        run: renamenx,
    },
];

fn rename(cx: &mut Cx<'_, '_>) -> Outcome {
    rename_key(cx, false)?;
    cx.reply.ok();
    Ok(())
}

fn renamenx(cx: &mut Cx<'_, '_>) -> Outcome {
    let renamed = rename_key(cx, true)?;
    cx.reply.integer(i64::from(renamed));
    Ok(())
}

/// Gives the first key the name of the second; says whether it did.
fn rename_key(cx: &mut Cx<'_, '_>, if_absent: bool) -> Result<bool, Failure> {
    let (from, to, database) = (cx.key(1)?, cx.key(2)?, cx.client.database);
    if cx.find(from).is_none() {
        return Err(Failure::NO_SUCH_KEY);
    }
    if from.bytes == to.bytes {
        return Ok(false);
    }
    if let Some(occupied) = cx.find(to) {
        if if_absent {
            return Ok(false);
        }
        cx.remove(database, to, occupied);
    }
    let Some(position) = cx.find(from) else { return Err(Failure::NO_SUCH_KEY) };
    cx.touch(from, position);
    let entry = cx.take(database, from, position);
    cx.add(database, to, entry.into_entry_as(to.bytes, to.shard));
    cx.changed(Event::RENAME_FROM, from);
    cx.changed(Event::RENAME_TO, to);
    Ok(true)
}

/// The argument at `index` as the number of a database.
fn database_argument(cx: &Cx<'_, '_>, index: usize) -> Result<usize, Failure> {
    let number = cx.integer(index)?;
    if i32::try_from(number).is_err() {
        let (min, max) = (i32::MIN, i32::MAX);
        return Err(Failure::owned(format!("ERR value is out of range, value must between {min} and {max}")));
    }
    let database =
        usize::try_from(number).ok().filter(|database| *database < cx.services().keyspace.databases());
    database.ok_or(Failure::text("ERR DB index is out of range"))
}

/// The second key lies in the database that DB names.
fn key_of_copy(keys: &Keys, args: Args<'_>) -> Found {
    let named = (3..args.len()).rfind(|index| args.at(*index).eq_ignore_ascii_case(b"DB"));
    Found { database: named.and_then(|index| database_of(args.get(index + 1)?)), ..keys.declared(args) }
}

/// The key is looked for, and may come to lie, in the database that the second argument names.
fn key_of_move(keys: &Keys, args: Args<'_>) -> Found {
    Found { also_in: args.get(2).and_then(database_of), ..keys.declared(args) }
}

fn database_of(word: &[u8]) -> Option<usize> {
    parse_i64(word).and_then(|number| usize::try_from(number).ok())
}

fn copy(cx: &mut Cx<'_, '_>) -> Outcome {
    let (from, to) = (cx.key(1)?, cx.key(2)?);
    let mut database = cx.client.database;
    let mut replace = false;
    let mut at = 3;
    while let Some(word) = cx.args.get(at) {
        if word.eq_ignore_ascii_case(b"REPLACE") {
            replace = true;
        } else if word.eq_ignore_ascii_case(b"DB") && at + 1 < cx.args.len() {
            at += 1;
            database = database_argument(cx, at)?;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    if database == cx.client.database && from.bytes == to.bytes {
        return Err(SAME_OBJECT);
    }
    let copied = cx.access(from).is_some() && make_room(cx, database, to, replace);
    if copied && let Some(position) = cx.find(from) {
        let access = cx.state.access.fresh(cx.steady_ms());
        let entry = cx.entry(from, position).copy_as(to.bytes).with_access(access);
        cx.add(database, to, entry);
        cx.changed_in(database, Event::COPY_TO, to);
    }
    cx.reply.integer(i64::from(copied));
    Ok(())
}

/// Whether a key can be added: it is not there, or was and may be replaced.
fn make_room(cx: &mut Cx<'_, '_>, database: usize, key: Key<'_>, replace: bool) -> bool {
    match cx.find_in(database, key) {
        None => true,
        Some(_) if !replace => false,
        Some(occupied) => {
            cx.remove(database, key, occupied);
            true
        }
    }
}

fn move_key(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let (from, to) = (cx.client.database, database_argument(cx, 2)?);
    if from == to {
        return Err(SAME_OBJECT);
    }
    let found = cx.find(key);
    if let Some(position) = found {
        cx.touch(key, position);
    }
    // The databases have tables of their own, so what happens in one does not move the other's entries.
    let moved = match found {
        Some(position) if cx.find_in(to, key).is_none() => {
            let entry = cx.take(from, key, position);
            cx.add(to, key, entry.into_entry());
            cx.changed_in(from, Event::MOVE_FROM, key);
            cx.changed_in(to, Event::MOVE_TO, key);
            true
        }
        _ => false,
    };
    cx.reply.integer(i64::from(moved));
    Ok(())
}
