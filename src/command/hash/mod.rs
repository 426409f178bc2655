//! Commands on hashes, a file for each family.
//!
//! Fields whose time has passed are not seen by any of them. They are reclaimed when the wheel comes to their hash, and never by a request that
//! reads. A request that changes fields by their names reclaims those of them, and says so in the write log before its own record, because what it
//! does may depend on their being gone ([`find_to_change`]).

mod deadlines;
mod expired;
mod named;
mod number;
mod random;
mod read;
mod scan;
mod together;
mod write;

pub use deadlines::ROWS as DEADLINE_ROWS;
pub use expired::{EXPIRED_FIELDS, ROW as EXPIRED_ROW};
pub use number::ROWS as NUMBER_ROWS;
pub use random::ROWS as RANDOM_ROWS;
pub use read::ROWS as READ_ROWS;
pub use scan::ROWS as SCAN_ROWS;
pub use together::ROWS as TOGETHER_ROWS;
pub use write::ROWS as WRITE_ROWS;

use super::cx::{Cx, Failure};
use super::effects::Event;
use super::help;
use super::keys::READ_KEY;
use super::spec::{CommandSpec, Flags, Group};
use crate::keyspace::values::{Fields, FieldsMut};
use crate::keyspace::{Key, Kind, Position};

/// A row with what the commands have in common that read a hash at once.
const HASH_ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Hash,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "",
    flags: Flags::READONLY.and(Flags::FAST),
    keys: READ_KEY,
    tips: &[],
    subcommands: &[],
    run: help::help,
};

/// The hash at a position, to be changed.
fn fields_mut<'c, 's>(cx: &'c mut Cx<'_, 's>, key: Key<'_>, position: Position) -> FieldsMut<'c, 's> {
    FieldsMut(cx.edit(key, position))
}

/// The hash at a position, to be read.
fn fields<'c>(cx: &'c mut Cx<'_, '_>, key: Key<'_>, position: Position) -> Fields<'c> {
    let keyspace = &cx.services().keyspace;
    Fields::of(keyspace, cx.entry(key, position))
}

/// The hash of a key, of which a request changes fields with these names. Those of them whose time has passed go first.
fn find_to_change<'n>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    names: impl Iterator<Item = &'n [u8]>,
) -> Result<Option<Position>, Failure> {
    let Some(position) = cx.find_as(key, Kind::Hash)? else { return Ok(None) };
    if !cx.entry(key, position).is_timed() {
        return Ok(Some(position));
    }
    let expired_ms = cx.state.expired_ms;
    let view = fields(cx, key, position);
    let is_due = |name: &&[u8]| view.get(name).is_some_and(|field| field.is_due(expired_ms));
    let due: Vec<&[u8]> = names.filter(is_due).collect();
    if due.is_empty() {
        return Ok(Some(position));
    }
    let mut fields = fields_mut(cx, key, position);
    let gone = due.iter().filter(|name| fields.remove(name)).count();
    let is_empty = fields.view().is_empty();
    cx.elements_expired(key, gone as u64, &[&[b"HDEL".as_slice(), key.bytes], due.as_slice()].concat());
    if is_empty {
        remove_empty(cx, key);
    }
    Ok(if is_empty { None } else { Some(position) })
}

/// Makes an empty hash of a key that is not there.
fn or_add(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>) -> Position {
    found.unwrap_or_else(|| cx.add_collection(key, Kind::Hash))
}

/// From how many fields on, and from which length of a string, Redis makes a table of a hash.
fn table_limits(cx: &Cx<'_, '_>) -> (u64, u64) {
    (cx.config().hash_max_listpack_entries as u64, cx.config().hash_max_listpack_value)
}

/// Removes a key whose last field has gone.
fn remove_empty(cx: &mut Cx<'_, '_>, key: Key<'_>) {
    if let Some(position) = cx.find(key) {
        cx.remove(cx.client.database, key, position);
        cx.also(Event::DEL, key);
    }
}
