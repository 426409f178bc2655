//! Commands on sets, a file for each family.

mod algebra;
mod member;
mod random;
mod scan;

pub use algebra::ROWS as ALGEBRA_ROWS;
pub use member::ROWS as MEMBER_ROWS;
pub use random::ROWS as RANDOM_ROWS;
pub use scan::ROWS as SCAN_ROWS;

use super::cx::{Cx, Failure};
use super::effects::Event;
use super::help;
use super::keys::READ_KEY;
use super::spec::{CommandSpec, Flags, Group};
use crate::keyspace::values::{Members, MembersMut};
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Reply;

/// A row with what the commands have in common that read a set at once.
const SET_ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Set,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    flags: Flags::READONLY.and(Flags::FAST),
    keys: READ_KEY,
    tips: &[],
    subcommands: &[],
    run: help::help,
};

/// Reads a set and writes the reply from it. `None` stands for a key that is not there.
fn read<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    answer: impl FnOnce(Option<Members<'_>>, &mut Reply<'_>) -> T,
) -> Result<T, Failure> {
    let keyspace = &cx.services().keyspace;
    let Some(position) = cx.access_as(key, Kind::Set)? else { return Ok(answer(None, &mut cx.reply)) };
    let (entry, reply) = cx.entry_and_reply(key, position);
    Ok(answer(Some(Members::of(keyspace, entry)), reply))
}

/// The set of a key that is about to be changed.
fn find(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Option<Position>, Failure> {
    let found = cx.find_as(key, Kind::Set)?;
    if let Some(position) = found {
        cx.touch(key, position);
    }
    Ok(found)
}

/// The set at a position, to be changed.
fn members_mut<'c, 's>(cx: &'c mut Cx<'_, 's>, key: Key<'_>, position: Position) -> MembersMut<'c, 's> {
    MembersMut::new(cx.edit(key, position))
}

/// Beyond how many integers Redis makes a table of a set.
fn integers_max(cx: &Cx<'_, '_>) -> u64 {
    cx.config().set_max_intset_entries as u64
}

/// Removes a key if its set has no members left.
fn remove_if_empty(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) {
    let keyspace = &cx.services().keyspace;
    if Members::of(keyspace, cx.entry(key, position)).is_empty() {
        cx.remove(cx.client.database, key, position);
        cx.also(Event::DEL, key);
    }
}
