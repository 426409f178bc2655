//! How ranges of scores, members and ranks are read from requests.

use std::ops::Range;

use super::super::cx::Failure;
use crate::base::number::parse_f64_as_c;
use crate::keyspace::values::{LexEnd, LexRange, ScoreRange};

const NOT_FLOATS: Failure = Failure::text("ERR min or max is not a float");
const NOT_ENDS: Failure = Failure::text("ERR min or max not valid string range item");

/// A score, behind `(` one that is left out. Redis reads them with `strtod`, by which nothing is 0, and what is too large is infinite.
fn score_end(text: &[u8]) -> Result<(f64, bool), Failure> {
    let (number, is_excluded) = match text {
        [b'(', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    Ok((parse_f64_as_c(number).ok_or(NOT_FLOATS)?, is_excluded))
}

pub fn score_range(min: &[u8], max: &[u8]) -> Result<ScoreRange, Failure> {
    let (min, max) = (score_end(min)?, score_end(max)?);
    Ok(ScoreRange { min: min.0, max: max.0, excludes: (min.1, max.1) })
}

fn lex_end(text: &[u8]) -> Result<LexEnd<'_>, Failure> {
    match text {
        // C's strings end at a zero byte.
        [b'-'] | [b'-', 0, ..] => Ok(LexEnd::First),
        [b'+'] | [b'+', 0, ..] => Ok(LexEnd::Last),
        [b'[', member @ ..] => Ok(LexEnd::Including(member)),
        [b'(', member @ ..] => Ok(LexEnd::Excluding(member)),
        _ => Err(NOT_ENDS),
    }
}

pub fn lex_range<'a>(min: &'a [u8], max: &'a [u8]) -> Result<LexRange<'a>, Failure> {
    Ok(LexRange { min: lex_end(min)?, max: lex_end(max)? })
}

/// The ranks from `start` to `end`, both of them included; below 0 they count from the last.
pub fn ranks((start, end): (i64, i64), len: usize) -> Range<usize> {
    let count = len as i64;
    let from_front = |rank: i64| if rank < 0 { rank.saturating_add(count) } else { rank };
    let (start, end) = (from_front(start).max(0), from_front(end));
    if start > end || start >= count {
        return 0..0;
    }
    start as usize..(end.min(count - 1) + 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_count_from_either_end_whatever_they_are() {
        assert_eq!(ranks((0, -1), 3), 0..3);
        assert_eq!(ranks((-2, -2), 3), 1..2);
        assert_eq!(ranks((1, 100), 3), 1..3);
        assert_eq!(ranks((-100, 0), 3), 0..1);
        assert_eq!(ranks((i64::MIN, i64::MAX), 3), 0..3);
        for range in [(3, 5), (2, 1), (0, -4), (0, i64::MIN), (i64::MAX, -1)] {
            assert!(ranks(range, 3).is_empty(), "{range:?}");
        }
        assert!(ranks((0, -1), 0).is_empty());
    }

    #[test]
    fn an_end_of_scores_is_read_like_strtod() {
        for (text, want) in [
            (&b"1.5"[..], Some((1.5, false))),
            (b"(1.5", Some((1.5, true))),
            (b"-inf", Some((f64::NEG_INFINITY, false))),
            (b"(+Infinity", Some((f64::INFINITY, true))),
            (b"", Some((0.0, false))),
            (b"(", Some((0.0, true))),
            (b" \t7", Some((7.0, false))),
            (b"1\0x", Some((1.0, false))),
            (b"1e999", Some((f64::INFINITY, false))),
            (b"-1e999", Some((f64::NEG_INFINITY, false))),
            (b"1e-999", Some((0.0, false))),
            (b"0x1p4", Some((16.0, false))),
            (b"0x1p9999", Some((f64::INFINITY, false))),
            (b"0x1p-9999", Some((0.0, false))),
            (b" ", None),
            (b"1 ", None),
            (b"nan", None),
            (b"((1", None),
            (b"[1", None),
        ] {
            assert_eq!(score_end(text).ok(), want, "{}", text.escape_ascii());
        }
    }
}
