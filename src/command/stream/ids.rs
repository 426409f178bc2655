//! How ids are written in requests: `ms-seq`, `ms` alone, `-` and `+`, `(` before one that is left out, `ms-*` for XADD.

use super::super::cx::{Cx, Failure};
use crate::base::number::parse_i64;
use crate::base::quote::up_to_zero;
use crate::keyspace::collection::stream::Id;

/// Redis reads no more than this.
const LENGTH_MAX: usize = 127;

const INVALID: Failure = Failure::text("ERR Invalid stream ID specified as stream command argument");

/// An id, of which the second part is `missing_seq` if it is not given.
///
/// # Errors
/// If it is none; `-` and `+` are none.
pub fn parse(text: &[u8], missing_seq: u64) -> Result<Id, Failure> {
    let (ms, seq) = parts(text).ok_or(INVALID)?;
    let seq = match seq {
        Some(seq) => number(seq).ok_or(INVALID)?,
        None => missing_seq,
    };
    Ok(Id { ms, seq })
}

/// The same, where `-` and `+` are the least and the greatest id.
pub fn parse_edge(text: &[u8], missing_seq: u64) -> Result<Id, Failure> {
    match up_to_zero(text) {
        b"-" => Ok(Id::ZERO),
        b"+" => Ok(Id::MAX),
        _ => parse(text, missing_seq),
    }
}

/// An id of XADD. Its second part is `None` if it is to be chosen.
pub fn parse_new(text: &[u8]) -> Result<(u64, Option<u64>), Failure> {
    match parts(text).ok_or(INVALID)? {
        (ms, Some(b"*")) => Ok((ms, None)),
        (ms, Some(seq)) => Ok((ms, Some(number(seq).ok_or(INVALID)?))),
        (ms, None) => Ok((ms, Some(0))),
    }
}

/// The id at `index` from which an interval goes on.
pub fn start(cx: &Cx<'_, '_>, index: usize) -> Result<Id, Failure> {
    let (id, is_left_out) = bound(cx.args.at(index), 0)?;
    let found = if is_left_out { id.next() } else { Some(id) };
    found.ok_or(Failure::text("ERR invalid start ID for the interval"))
}

/// The id at `index` up to which an interval goes.
pub fn end(cx: &Cx<'_, '_>, index: usize) -> Result<Id, Failure> {
    let (id, is_left_out) = bound(cx.args.at(index), u64::MAX)?;
    let found = if is_left_out { id.previous() } else { Some(id) };
    found.ok_or(Failure::text("ERR invalid end ID for the interval"))
}

fn bound(text: &[u8], missing_seq: u64) -> Result<(Id, bool), Failure> {
    match text {
        [b'(', rest @ ..] if !rest.is_empty() => Ok((parse(rest, missing_seq)?, true)),
        _ => Ok((parse_edge(text, missing_seq)?, false)),
    }
}

/// The ids from an argument on, all of them or none.
pub fn all_from(cx: &Cx<'_, '_>, index: usize) -> Result<Vec<Id>, Failure> {
    cx.args.iter_from(index).map(|text| parse(text, 0)).collect()
}

/// The first number of an id, and the text of the second.
fn parts(text: &[u8]) -> Option<(u64, Option<&[u8]>)> {
    let text = Some(text).filter(|text| text.len() <= LENGTH_MAX).map(up_to_zero)?;
    match text.iter().position(|byte| *byte == b'-') {
        Some(at) => Some((number(&text[..at])?, Some(&text[at + 1..]))),
        None => Some((number(text)?, None)),
    }
}

/// Reads a number as Redis does: by its own rules, or as the C function `strtoull` does what does not keep to them.
fn number(text: &[u8]) -> Option<u64> {
    if let Some(integer) = parse_i64(text) {
        return u64::try_from(integer).ok();
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let text = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    let (digits, is_negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        _ => (text, false),
    };
    if digits.is_empty() {
        return None;
    }
    let magnitude = digits.iter().try_fold(0u64, |value, byte| {
        let digit = Some(byte.wrapping_sub(b'0')).filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if is_negative { magnitude.wrapping_neg() } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let id = |ms, seq| Ok(Id::new(ms, seq));
        assert_eq!(parse(b"12-3", 9), id(12, 3));
        assert_eq!(parse(b"12", 9), id(12, 9));
        assert_eq!(parse(b"18446744073709551615-18446744073709551615", 0), Ok(Id::MAX));
        assert_eq!(parse(b"007-+1", 0), id(7, 1));
        assert_eq!(parse(b" 7- -1", 0), id(7, u64::MAX));
        assert_eq!(parse(b"1\0x", 0), id(1, 0));
        for text in ["", "-", "+", "-1", "1-", "1--1", "1-2-3", "1 ", "x", "1-*", "18446744073709551616"] {
            assert_eq!(parse(text.as_bytes(), 0), Err(INVALID), "{text}");
        }
        assert_eq!((parse_edge(b"-", 9), parse_edge(b"+", 9)), (id(0, 0), Ok(Id::MAX)));
        assert_eq!((parse_new(b"5-*"), parse_new(b"5")), (Ok((5, None)), Ok((5, Some(0)))));
        assert_eq!(parse(&[b'1'; 128], 0), Err(INVALID));
    }
}
