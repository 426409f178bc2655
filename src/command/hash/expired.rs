//! The record of what the wheel has reclaimed of a hash. No client can send it: only the replay of the write log knows the row.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::DELETE_KEY;
use super::super::spec::{CommandSpec, Flags};
use super::{HASH_ROW, fields_mut, remove_empty};
use crate::base::number::parse_i64;
use crate::keyspace::Kind;

/// The name of the record: `HEXPIRED key unix-time-milliseconds`.
pub const EXPIRED_FIELDS: &[u8] = b"HEXPIRED";

pub const ROW: CommandSpec = CommandSpec {
    name: "hexpired",
    syntax: "HEXPIRED key unix-time-milliseconds",
    complexity: "O(N) where N is the number of fields that have expired",
    summary: "Reclaims all fields of a hash whose time had come by then.",
    flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
    keys: DELETE_KEY,
    run: hexpired,
    ..HASH_ROW
};

fn hexpired(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let at_ms = parse_i64(cx.args.at(2)).ok_or(Failure::NOT_AN_INTEGER)?;
    let Some(position) = cx.find_as(key, Kind::Hash)? else { return Ok(()) };
    let mut fields = fields_mut(cx, key, position);
    fields.take_due(at_ms, &mut { usize::MAX });
    let is_empty = fields.view().is_empty();
    cx.changed(Event::HEXPIRED, key);
    if is_empty {
        remove_empty(cx, key);
    }
    Ok(())
}
