//! Counting and searching bits: BITCOUNT, BITPOS.

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::READ_KEY;
use super::super::spec::{CommandSpec, Flags, Group};
use super::words;
use crate::keyspace::Kind;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitcount",
        syntax: "BITCOUNT key [start end [BYTE | BIT]]",
        group: Group::Bitmap,
        since: "2.6.0",
        complexity: "O(N) where N is the length of the part.",
        summary: "Counts the bits that are set in the string value of a key, or in a part of it.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: bitcount,
    },
    CommandSpec {
        name: "bitpos",
        syntax: "BITPOS key bit [start [end [BYTE | BIT]]]",
        group: Group::Bitmap,
        since: "2.8.7",
        complexity: "O(N) where N is the length of the part.",
        summary: "Finds the first bit that is set, or that is not, in the string value of a key, or in a part of it.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: bitpos,
    },
];

/// What the indices of a part count.
#[derive(Clone, Copy)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    /// The unit that is named at `index`, if the request goes so far.
    fn named(cx: &Cx<'_, '_>, index: usize) -> Result<Unit, Failure> {
        match cx.args.get(index) {
            None => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"BYTE") => Ok(Unit::Byte),
            Some(word) if word.eq_ignore_ascii_case(b"BIT") => Ok(Unit::Bit),
            Some(_) => Err(Failure::SYNTAX),
        }
    }

    fn bits(self) -> i64 {
        match self {
            Unit::Byte => 8,
            Unit::Bit => 1,
        }
    }

    /// The bits from index `start` to index `end`, both included, of a string of so many bytes; negative ones count from the end.
    fn part(self, length: usize, start: i64, end: Option<i64>) -> Range<u64> {
        let total = length as i64 * 8 / self.bits();
        let from_start = |index: i64| if index < 0 { (total + index).max(0) } else { index };
        let (start, end) = (from_start(start), from_start(end.unwrap_or(-1)).min(total - 1));
        if start > end { 0..0 } else { (start * self.bits()) as u64..((end + 1) * self.bits()) as u64 }
    }
}

fn bitcount(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::String)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let length = cx.entry(key, position).value().len();
    let part = match cx.args.len() {
        2 => 0..length as u64 * 8,
        4 | 5 => counted_part(cx, length)?,
        _ => return Err(Failure::SYNTAX),
    };
    let count = words::count(cx.entry(key, position).value(), part);
    cx.reply.integer(count as i64);
    Ok(())
}

fn counted_part(cx: &Cx<'_, '_>, length: usize) -> Result<Range<u64>, Failure> {
    let (start, end) = (cx.integer(2)?, cx.integer(3)?);
    if start < 0 && end < 0 && start > end {
        return Ok(0..0);
    }
    Ok(Unit::named(cx, 4)?.part(length, start, Some(end)))
}

fn bitpos(cx: &mut Cx<'_, '_>) -> Outcome {
    let bit = cx.integer(2)?;
    if bit != 0 && bit != 1 {
        return Err(Failure::text("ERR The bit argument must be 1 or 0."));
    }
    let key = cx.key(1)?;
    let Some(position) = cx.access_as(key, Kind::String)? else {
        // Without end, and all of it zeros.
        cx.reply.integer(-bit);
        return Ok(());
    };
    let length = cx.entry(key, position).value().len();
    let (part, end_given) = searched_part(cx, length)?;
    let found = words::find(cx.entry(key, position).value(), part.clone(), bit == 1);
    let place = match found {
        Some(place) => place as i64,
        // Where no end was given, zeros follow.
        None if bit == 0 && !end_given && !part.is_empty() => part.end as i64,
        None => -1,
    };
    cx.reply.integer(place);
    Ok(())
}

/// The bits to look at, and whether the request says where they end.
fn searched_part(cx: &Cx<'_, '_>, length: usize) -> Result<(Range<u64>, bool), Failure> {
    let argc = cx.args.len();
    if argc > 6 {
        return Err(Failure::SYNTAX);
    }
    let start = if argc > 3 { cx.integer(3)? } else { 0 };
    let unit = Unit::named(cx, 5)?;
    let end = if argc > 4 { Some(cx.integer(4)?) } else { None };
    Ok((unit.part(length, start, end), end.is_some()))
}
