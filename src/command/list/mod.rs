//! Commands on lists, a file for each family.

mod ends;
mod part;
mod search;

pub use ends::ROWS as ENDS_ROWS;
pub use part::ROWS as PART_ROWS;
pub use search::ROWS as SEARCH_ROWS;

use super::cx::{Cx, Failure};
use super::effects::Event;
use crate::keyspace::collection::Text;
use crate::keyspace::values::{Elements, ElementsMut, End};
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Reply;

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

/// Takes up to so many elements out at an end and reports that; the key goes with the last.
fn remove(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, end: End, count: usize) {
    let mut list = elements_mut(cx, key, position);
    let (len, is_whole) = (list.view().len(), count >= list.view().len());
    if !is_whole {
        list.remove(if end == End::Left { 0 } else { len - count }, count);
    }
    cx.changed(end.popped(), key);
    cx.changed_keyspace(count.min(len).saturating_sub(1) as u64);
    if is_whole {
        remove_key(cx, key, position);
    }
}

/// Removes a key whose last element goes.
fn remove_key(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) {
    cx.remove(cx.client.database, key, position);
    cx.also(Event::DEL, key);
}

/// Writes elements, until the reply is over its limit.
fn write<'e>(reply: &mut Reply<'_>, elements: impl Iterator<Item = Text<'e>>) {
    let room = &mut itoa::Buffer::new();
    for element in elements {
        reply.bulk(element.bytes(room));
        if reply.is_over() {
            return;
        }
    }
}
