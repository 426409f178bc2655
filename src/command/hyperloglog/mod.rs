//! HyperLogLog: PFADD, PFCOUNT, PFMERGE; PFDEBUG and PFSELFTEST.
//!
//! A sketch is a plain string in Redis's own bytes (`sketch.rs`), so that GET, DUMP and files carry it as it is. A string that is damaged gives an error, and is
//! never changed.

mod commands;
mod debug;
mod estimate;
mod hash;
mod sketch;

pub use commands::ROWS;
pub use debug::ROWS as DEBUG_ROWS;

use super::cx::{Cx, Failure};
use crate::keyspace::{Key, Kind, Position};
use sketch::{Corrupt, check};

const NOT_A_SKETCH: Failure = Failure::text("WRONGTYPE Key is not a valid HyperLogLog string value.");

impl From<Corrupt> for Failure {
    fn from(_: Corrupt) -> Failure {
        Failure::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// Refuses what [`Cx`] has found if it does not look like a sketch.
fn require_sketch(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>) -> Result<(), Failure> {
    match found {
        Some(position) if !check(cx.entry(key, position).value()) => Err(NOT_A_SKETCH),
        _ => Ok(()),
    }
}

/// The sketch of a key, to be changed.
fn find(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Option<Position>, Failure> {
    let found = cx.find_as(key, Kind::String)?;
    require_sketch(cx, key, found)?;
    Ok(found)
}

/// The sketch of a key, to be read.
fn access(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Option<Position>, Failure> {
    let found = cx.access_as(key, Kind::String)?;
    require_sketch(cx, key, found)?;
    Ok(found)
}
