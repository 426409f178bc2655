//! Integers of any width at any bit: BITFIELD, BITFIELD_RO.
//!
//! A request is read as a whole before the first of its operations is done; then they are done in order, on the same bytes.

use std::ops::Range;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::READ_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::words::{field, set_field};
use super::{bit_offset, bytes_of, edit_bits};
use crate::base::number::parse_i64;
use crate::command::keys::Found;
use crate::keyspace::{Key, Kind};
use crate::resp::Args;

const FIELD_KEY: &[Keys] = &[Keys {
    notes: "The value is only read where the request has nothing but GET.",
    exact: Some(key_of_bitfield),
    ..Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE).and(Effect::VARIABLE))
}];

const NOT_A_TYPE: Failure = Failure::text(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);
const READ_ONLY: Failure = Failure::text("ERR BITFIELD_RO only supports the GET subcommand");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "bitfield",
        syntax: "BITFIELD key [GET encoding offset | [OVERFLOW <WRAP | SAT | FAIL>] <SET encoding offset value | INCRBY encoding offset increment> ...]",
        group: Group::Bitmap,
        since: "3.2.0",
        complexity: "O(1) for each operation; a value that grows, or that a running snapshot has not seen yet, may move as a whole.",
        summary: "Reads, sets and increments integers of any width inside the string value of a key.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: FIELD_KEY,
        tips: &[],
        subcommands: &[],
        run: bitfield,
    },
    CommandSpec {
        name: "bitfield_ro",
        syntax: "BITFIELD_RO key [GET encoding offset [GET encoding offset ...]]",
        group: Group::Bitmap,
        since: "6.0.0",
        complexity: "O(1) for each operation.",
        summary: "Reads integers of any width inside the string value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: bitfield_ro,
    },
];

fn key_of_bitfield(keys: &Keys, args: Args<'_>) -> Found {
    let declared = keys.declared(args);
    if only_reads(args) {
        return Found { access: Access::ReadOnly, effect: Effect::ACCESS, ..declared };
    }
    Found { effect: Effect::ACCESS.and(Effect::UPDATE), ..declared }
}

/// Whether there is nothing but GET, as far as the words tell.
fn only_reads(args: Args<'_>) -> bool {
    let mut at = 2;
    while let Some(word) = args.get(at) {
        let behind = args.len() - at - 1;
        if word.eq_ignore_ascii_case(b"GET") && behind >= 2 {
            at += 3;
        } else if word.eq_ignore_ascii_case(b"OVERFLOW") && behind >= 1 {
            at += 2;
        } else {
            return false;
        }
    }
    true
}

/// What becomes of a number that its field cannot hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// A sign and a width: `i16`, `u8`.
#[derive(Clone, Copy)]
struct Type {
    signed: bool,
    bits: u32,
}

#[derive(Clone, Copy)]
enum Action {
    Get,
    Set(i64),
    Increment(i64),
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    integer: Type,
    offset: u64,
    overflow: Overflow,
}

impl Type {
    fn parse(word: &[u8]) -> Result<Type, Failure> {
        let (signed, most, digits) = match word {
            [b'i', digits @ ..] => (true, 64, digits),
            [b'u', digits @ ..] => (false, 63, digits),
            _ => return Err(NOT_A_TYPE),
        };
        let bits = parse_i64(digits).filter(|bits| (1..=most).contains(bits)).ok_or(NOT_A_TYPE)?;
        Ok(Type { signed, bits: bits as u32 })
    }

    /// The lower bits of a number, as a field of this type shows them.
    fn shown(self, raw: u64) -> i64 {
        let unused = u64::BITS - self.bits;
        if self.signed { (raw << unused) as i64 >> unused } else { (raw << unused >> unused) as i64 }
    }

    fn most(self) -> i64 {
        let bits = if self.signed { self.bits - 1 } else { self.bits };
        u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0) as i64
    }

    fn least(self) -> i64 {
        if self.signed { -self.most() - 1 } else { 0 }
    }

    /// `value + by`, and whether that is a number of this type. A value that is far below the least counts as too large, as in Redis.
    fn add(self, value: i64, by: i64, overflow: Overflow) -> Option<i64> {
        let exact = i128::from(value) + i128::from(by);
        let far_below =
            self.bits < u64::BITS && i128::from(self.most()) - i128::from(value) > i128::from(i64::MAX);
        // An unsigned field takes what it is given for an unsigned number.
        let unsigned_above = !self.signed && value < 0;
        let above = far_below || unsigned_above || exact > i128::from(self.most());
        let below = exact < i128::from(self.least());
        match overflow {
            _ if !above && !below => Some(exact as i64),
            Overflow::Wrap => Some(self.shown(value.wrapping_add(by) as u64)),
            Overflow::Saturate => Some(if above { self.most() } else { self.least() }),
            Overflow::Fail => None,
        }
    }
}

impl Operation {
    fn last_bit(self) -> u64 {
        self.offset + u64::from(self.integer.bits) - 1
    }

    fn read(self, bytes: &[u8]) -> i64 {
        self.integer.shown(field(bytes, self.offset, self.integer.bits))
    }

    /// Does the operation; gives the reply, and whether the bytes have changed.
    fn run(self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let before = self.read(bytes);
        let after = match self.action {
            Action::Get => return (Some(before), false),
            Action::Set(value) => self.integer.add(value, 0, self.overflow),
            Action::Increment(by) => self.integer.add(before, by, self.overflow),
        };
        let Some(after) = after else { return (None, false) };
        set_field(bytes, self.offset, self.integer.bits, after as u64);
        let reply = if matches!(self.action, Action::Set(_)) { before } else { after };
        (Some(reply), before != after)
    }
}

/// Reads all operations of a request.
fn operations(cx: &Cx<'_, '_>) -> Result<Vec<Operation>, Failure> {
    let (mut operations, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while let Some(word) = cx.args.get(at) {
        let behind = cx.args.len() - at - 1;
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let words = match () {
            () if is(b"GET") && behind >= 2 => 3,
            () if (is(b"SET") || is(b"INCRBY")) && behind >= 3 => 4,
            () if is(b"OVERFLOW") && behind >= 1 => {
                overflow = overflow_named(cx.args.at(at + 1))?;
                at += 2;
                continue;
            }
            () => return Err(Failure::SYNTAX),
        };
        let integer = Type::parse(cx.args.at(at + 1))?;
        let offset = bit_offset(cx, cx.args.at(at + 2), Some(integer.bits))?;
        let action = match words {
            3 => Action::Get,
            _ if is(b"SET") => Action::Set(cx.integer(at + 3)?),
            _ => Action::Increment(cx.integer(at + 3)?),
        };
        operations.push(Operation { action, integer, offset, overflow });
        at += words;
    }
    Ok(operations)
}

fn overflow_named(word: &[u8]) -> Result<Overflow, Failure> {
    match word.to_ascii_uppercase().as_slice() {
        b"WRAP" => Ok(Overflow::Wrap),
        b"SAT" => Ok(Overflow::Saturate),
        b"FAIL" => Ok(Overflow::Fail),
        _ => Err(Failure::text("ERR Invalid OVERFLOW type specified")),
    }
}

fn bitfield(cx: &mut Cx<'_, '_>) -> Outcome {
    let operations = operations(cx)?;
    match written(&operations).as_slice() {
        [] => read(cx, &operations),
        written => change(cx, &operations, written),
    }
}

fn bitfield_ro(cx: &mut Cx<'_, '_>) -> Outcome {
    let operations = operations(cx)?;
    if !written(&operations).is_empty() {
        return Err(READ_ONLY);
    }
    read(cx, &operations)
}

/// The bytes that are written.
fn written(operations: &[Operation]) -> Vec<Range<usize>> {
    let writing = operations.iter().filter(|operation| !matches!(operation.action, Action::Get));
    writing.map(|operation| bytes_of(operation.offset, operation.last_bit())).collect()
}

fn read(cx: &mut Cx<'_, '_>, operations: &[Operation]) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.access_as(key, Kind::String)?;
    cx.reply.array(operations.len());
    for operation in operations {
        let value = found.map_or(0, |position| operation.read(cx.entry(key, position).value()));
        cx.reply.integer(value);
    }
    Ok(())
}

fn change(cx: &mut Cx<'_, '_>, operations: &[Operation], written: &[Range<usize>]) -> Outcome {
    let key = cx.key(1)?;
    let found = cx.find_as(key, Kind::String)?;
    let edited = edit_bits(cx, key, found, written, |bytes| {
        operations.iter().map(|operation| operation.run(bytes)).collect::<Vec<_>>()
    })?;
    cx.reply.array(operations.len());
    let mut changes = 0;
    for (operation, (reply, has_changed)) in operations.iter().zip(edited.outcome) {
        let writes = !matches!(operation.action, Action::Get) && reply.is_some();
        changes += u64::from(writes && (has_changed || edited.grown));
        match reply {
            Some(value) => cx.reply.integer(value),
            None => cx.reply.null(),
        }
    }
    report(cx, key, changes, edited.grown);
    Ok(())
}

/// Each operation that has changed something counts. Where all have failed there is no event, but the value may have become longer.
fn report(cx: &mut Cx<'_, '_>, key: Key<'_>, changes: u64, grown: bool) {
    if changes > 0 {
        cx.changed(Event::SETBIT, key);
        cx.changed_keyspace(changes - 1);
    } else if grown {
        cx.changed_silently(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn of(name: u8, bits: u32) -> Type {
        Type { signed: name == b'i', bits }
    }

    #[test]
    fn limits_follow_from_the_width() {
        for (integer, least, most) in [
            (of(b'i', 1), -1, 0),
            (of(b'i', 8), -128, 127),
            (of(b'i', 64), i64::MIN, i64::MAX),
            (of(b'u', 1), 0, 1),
            (of(b'u', 63), 0, i64::MAX),
        ] {
            assert_eq!((integer.least(), integer.most()), (least, most), "{} bits", integer.bits);
        }
    }

    #[test]
    fn sums_wrap_saturate_or_fail() {
        let (wrap, saturate, fail) = (Overflow::Wrap, Overflow::Saturate, Overflow::Fail);
        for (integer, value, by, wrapped, saturated) in [
            (of(b'i', 8), 127, 1, -128, 127),
            (of(b'i', 8), -128, -1, 127, -128),
            (of(b'i', 64), i64::MAX, 1, i64::MIN, i64::MAX),
            (of(b'i', 64), i64::MIN, -1, i64::MAX, i64::MIN),
            (of(b'u', 8), 255, 1, 0, 255),
            (of(b'u', 8), 0, -1, 255, 0),
            (of(b'u', 8), -1, 0, 255, 255),
            (of(b'u', 63), 1, i64::MIN, 1, 0),
            (of(b'i', 1), 0, 1, -1, 0),
            // As Redis does it: so far below that it counts as above.
            (of(b'i', 8), i64::MIN, 0, 0, 127),
        ] {
            let text = format!("{value} + {by} in {} bits", integer.bits);
            assert_eq!(integer.add(value, by, wrap), Some(wrapped), "{text}");
            assert_eq!(integer.add(value, by, saturate), Some(saturated), "{text}");
            assert_eq!(integer.add(value, by, fail), None, "{text}");
        }
        assert_eq!(of(b'i', 8).add(-100, 50, fail), Some(-50));
        assert_eq!(of(b'u', 8).add(100, -50, fail), Some(50));
    }
}
