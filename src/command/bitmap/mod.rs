//! Commands on strings as arrays of bits, a file for each family.
//!
//! Bit 0 is the highest bit of the first byte, so a bitmap read as big-endian words counts its bits from the top. Values stay plain strings: what lies
//! behind their end counts as zeros.

mod bit;
mod combine;
mod count;
mod field;
mod words;

pub use bit::ROWS as BIT_ROWS;
pub use combine::ROWS as COMBINE_ROWS;
pub use count::ROWS as COUNT_ROWS;
pub use field::ROWS as FIELD_ROWS;

use std::ops::Range;

use super::cx::{Cx, Failure};
use crate::base::number::parse_i64;
use crate::keyspace::{Entry, Key, Kind, LENGTH_MAX, Position};

const NOT_AN_OFFSET: Failure = Failure::text("ERR bit offset is not an integer or out of range");

/// Reads the place of a bit, or, for a field of `unit` bits, that of its first one: `#2` is the third field.
///
/// # Errors
/// If it is no place that a value may have.
fn bit_offset(cx: &Cx<'_, '_>, word: &[u8], unit: Option<u32>) -> Result<u64, Failure> {
    let (text, factor) = match (unit, word) {
        (Some(bits), [b'#', text @ ..]) => (text, i64::from(bits)),
        _ => (word, 1),
    };
    let offset = parse_i64(text).and_then(|given| given.checked_mul(factor));
    let offset = offset.and_then(|offset| u64::try_from(offset).ok()).ok_or(NOT_AN_OFFSET)?;
    let allowed = cx.config().proto_max_bulk_len.min(LENGTH_MAX as u64);
    if offset / 8 < allowed { Ok(offset) } else { Err(NOT_AN_OFFSET) }
}

/// The bytes that bits `first..=last` lie in; as far away as can be if that is out of range.
fn bytes_of(first: u64, last: u64) -> Range<usize> {
    let byte = |bit: u64| usize::try_from(bit / 8).unwrap_or(usize::MAX - 1);
    byte(first)..byte(last) + 1
}

/// What a change found before it.
struct Edited<T> {
    /// What the change gave.
    outcome: T,
    /// The value is new or has become longer.
    grown: bool,
}

/// Lets `change` write into the string of a key: into the bytes `written` and nothing else, which the string reaches at least to the end of. A missing one is made of
/// zeros. The caller reports the change.
///
/// # Errors
/// If the value is no string, or would be too long.
fn edit_bits<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    found: Option<Position>,
    written: &[Range<usize>],
    change: impl FnOnce(&mut [u8]) -> T,
) -> Result<Edited<T>, Failure> {
    let needed = written.iter().map(|range| range.end).max().filter(|needed| *needed <= LENGTH_MAX);
    let needed = needed.ok_or(NOT_AN_OFFSET)?;
    let Some(position) = found else {
        let (access, mut outcome) = (cx.state.access.fresh(cx.steady_ms()), None);
        let entry = Entry::filled(key.bytes, needed, |made| outcome = Some(change(made)));
        cx.add(cx.client.database, key, entry.with_kind(Kind::Raw).with_access(access));
        let outcome = outcome.ok_or(NOT_AN_OFFSET)?;
        return Ok(Edited { outcome, grown: true });
    };
    cx.touch(key, position);
    let (partition, site) = cx.partition(key);
    let before = partition.entry(position).value().len();
    let length = before.max(needed);
    let outcome = partition.edit_value(site, position, (length, Kind::Raw), written, change);
    Ok(Edited { outcome, grown: length > before })
}
