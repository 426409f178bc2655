//! Commands on lists, a file for each family.

mod ends;
mod part;
mod search;

pub use ends::ROWS as ENDS_ROWS;
pub use part::ROWS as PART_ROWS;
pub use search::ROWS as SEARCH_ROWS;

use super::cx::{Cx, Failure};
use super::effects::Event;
use super::spec::{Access, Effect, Keys};
use crate::keyspace::values::{Elements, ElementsMut};
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Reply;

const READ_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::ACCESS)];
const ASK_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::NONE)];
const INSERT_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::INSERT)];
const UPDATE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::UPDATE)];
const DELETE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::DELETE)];
const POP_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE))];

/// An end of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Left,
    Right,
}

impl End {
    /// The end that a word of a request names.
    fn parse(word: &[u8]) -> Result<End, Failure> {
        if word.eq_ignore_ascii_case(b"LEFT") {
            Ok(End::Left)
        } else if word.eq_ignore_ascii_case(b"RIGHT") {
            Ok(End::Right)
        } else {
            Err(Failure::SYNTAX)
        }
    }

    fn pushed(self) -> Event {
        if self == End::Left { Event::LPUSH } else { Event::RPUSH }
    }

    fn popped(self) -> Event {
        if self == End::Left { Event::LPOP } else { Event::RPOP }
    }

    /// Where an element is put that is pushed to a list of this length.
    fn place(self, len: usize) -> usize {
        if self == End::Left { 0 } else { len }
    }
}

/// Finds the list of a key that is about to be changed.
fn find(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Option<Position>, Failure> {
    let found = cx.find_as(key, Kind::List)?;
    if let Some(position) = found {
        cx.touch(key, position);
    }
    Ok(found)
}

/// The list at a position, to be read into the reply.
fn read<'c, 'a>(
    cx: &'c mut Cx<'a, '_>,
    key: Key<'_>,
    position: Position,
) -> (Elements<'c>, &'c mut Reply<'a>) {
    let (entry, reply) = cx.entry_and_reply(key, position);
    (Elements::of(entry), reply)
}

/// The list at a position, to be changed.
fn elements_mut<'c, 's>(cx: &'c mut Cx<'_, 's>, key: Key<'_>, position: Position) -> ElementsMut<'c, 's> {
    ElementsMut(cx.edit(key, position))
}

/// Takes so many elements out from an index on and reports that; the key goes with the last.
fn remove(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, start: usize, count: usize, event: Event) {
    let mut list = elements_mut(cx, key, position);
    list.remove(start, count);
    let is_empty = list.view().is_empty();
    cx.changed(event, key);
    if is_empty {
        cx.remove(cx.client.database, key, position);
        cx.also(Event::DEL, key);
    }
}
