//! Commands on hashes, a file for each family.
//!
//! Fields whose time has passed are not seen by any of them. They are reclaimed when the wheel comes to their hash, and never by a request
//! that reads.

mod read;
mod write;

pub use read::ROWS as READ_ROWS;
pub use write::ROWS as WRITE_ROWS;

use super::cx::{Cx, Failure};
use super::spec::{Access, Effect, Keys};
use crate::keyspace::values::FieldsMut;
use crate::keyspace::{Key, Kind, Position};

/// One key that is read.
const READ_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::ACCESS)];
/// One key of which something is asked that its elements do not tell.
const ASK_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::NONE)];
/// One key whose value gets new elements or changes some.
const UPDATE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::UPDATE)];
/// One key whose value loses elements.
const DELETE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::DELETE)];

/// The hash at a position, to be changed.
fn fields_mut<'c, 's>(cx: &'c mut Cx<'_, 's>, key: Key<'_>, position: Position) -> FieldsMut<'c, 's> {
    FieldsMut(cx.edit(key, position))
}

/// The hash of a key, and an empty one if there is none.
fn find_or_add(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Position, Failure> {
    Ok(match cx.find_as(key, Kind::Hash)? {
        Some(position) => position,
        None => cx.add_collection(key, Kind::Hash),
    })
}
