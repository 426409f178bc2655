//! Single bits: GETBIT, SETBIT.

use std::slice;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{READ_AND_UPDATE_KEY, READ_KEY};
use super::super::spec::{CommandSpec, Flags, Group};
use super::words::{field, set_field};
use super::{bit_offset, bytes_of, edit_bits};
use crate::base::number::parse_i64;
use crate::keyspace::Kind;

const NOT_A_BIT: Failure = Failure::text("ERR bit is not an integer or out of range");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "getbit",
        syntax: "GETBIT key offset",
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Returns a bit of the string value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: getbit,
    },
    CommandSpec {
        name: "setbit",
        syntax: "SETBIT key offset value",
        group: Group::Bitmap,
        since: "2.2.0",
        complexity: "O(1); a value that grows, or that a running snapshot has not seen yet, may move as a whole.",
        summary: "Sets or clears a bit of the string value of a key, and returns what it was. Gaps are filled with zeros.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: READ_AND_UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: setbit,
    },
];

fn getbit(cx: &mut Cx<'_, '_>) -> Outcome {
    let offset = bit_offset(cx, cx.args.at(2), None)?;
    let bit = cx.read_as(cx.key(1)?, Kind::String)?.map_or(0, |entry| field(entry.value(), offset, 1));
    cx.reply.integer(bit as i64);
    Ok(())
}

fn setbit(cx: &mut Cx<'_, '_>) -> Outcome {
    let offset = bit_offset(cx, cx.args.at(2), None)?;
    let bit = match parse_i64(cx.args.at(3)) {
        Some(bit @ (0 | 1)) => bit as u64,
        _ => return Err(NOT_A_BIT),
    };
    let key = cx.key(1)?;
    let found = cx.find_as(key, Kind::String)?;
    if let Some(position) = found {
        // What is so already is not written, so that a running snapshot needs no copy of it.
        let entry = cx.entry(key, position);
        let reaches = offset / 8 < entry.value().len() as u64;
        if reaches && entry.kind() == Kind::Raw && field(entry.value(), offset, 1) == bit {
            cx.touch(key, position);
            cx.reply.integer(bit as i64);
            return Ok(());
        }
    }
    let edited = edit_bits(cx, key, found, slice::from_ref(&bytes_of(offset, offset)), |bytes| {
        let before = field(bytes, offset, 1);
        set_field(bytes, offset, 1, bit);
        before
    })?;
    if edited.grown || edited.outcome != bit {
        cx.changed(Event::SETBIT, key);
    }
    cx.reply.integer(edited.outcome as i64);
    Ok(())
}
