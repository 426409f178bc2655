//! Records as bytes: RESP arrays of bulk strings, as a client would send them.

use crate::keyspace::LENGTH_MAX;
use crate::resp::{ArgRange, Args, Limits, Parser, Step};

/// Whatever was a request may be a record.
pub const RECORD_LIMITS: Limits = Limits {
    bulk_len_max: LENGTH_MAX as u64,
    multibulk_len_max: i32::MAX as u64,
    inline_max: 0,
    unauthenticated: false,
};

/// What whole records hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    pub records: u64,
    /// A group (MULTI) has begun in them, or before, and not ended (EXEC).
    pub inside: bool,
}

/// Looks through whole records; `inside` says whether a group is open in front of them.
///
/// # Errors
/// With what is no record.
pub fn scan(records: &[u8], inside: bool) -> Result<Scanned, String> {
    let mut scanned = Scanned { records: 0, inside };
    let (mut parser, mut ranges) = (Parser::default(), Vec::new());
    while parser.at < records.len() {
        ranges.clear();
        match parser.advance(records, &RECORD_LIMITS, &mut ranges) {
            Ok(Step::Request) if ranges.is_empty() => {}
            Ok(Step::Request) => {
                scanned.records += 1;
                scanned.inside = is_inside(records, &ranges, scanned.inside);
            }
            Ok(Step::Inline(_) | Step::Incomplete) => return Err(String::from("a record that ends early")),
            Err(error) => return Err(format!("a record that cannot be read: {error}")),
        }
    }
    Ok(scanned)
}

/// [`scan`], for whether a group is open behind the records alone. Few blocks have a group, and the others are told by a glance.
///
/// # Errors
/// As there.
pub fn ends_inside(records: &[u8], inside: bool) -> Result<bool, String> {
    if !inside && memchr::memmem::find(records, b"\r\nMULTI\r\n").is_none() {
        return Ok(false);
    }
    scan(records, inside).map(|scanned| scanned.inside)
}

/// Whether a group is open behind a record.
fn is_inside(records: &[u8], ranges: &[ArgRange], inside: bool) -> bool {
    match Args::new(records, ranges).at(0) {
        b"MULTI" => true,
        b"EXEC" => false,
        _ => inside,
    }
}

/// How many bytes of the records are the first ones that together have at most `most` bytes; at least one record. A group is divided only if it
/// has more than that by itself.
pub fn leading_records(records: &[u8], most: usize) -> usize {
    if records.len() <= most {
        return records.len();
    }
    let (mut parser, mut ranges) = (Parser::default(), Vec::new());
    // The ends of the last record and of the last one outside of groups.
    let (mut record_end, mut whole_end, mut inside) = (0, 0, false);
    while let Ok(Step::Request) = parser.advance(records, &RECORD_LIMITS, &mut ranges) {
        if record_end > 0 && parser.at > most {
            return if whole_end > 0 { whole_end } else { record_end };
        }
        inside = is_inside(records, &ranges, inside);
        ranges.clear();
        record_end = parser.at;
        if !inside {
            whole_end = record_end;
        }
    }
    records.len()
}

/// Writes the head of a request with this many words.
#[inline]
pub fn encode_head(out: &mut Vec<u8>, words: usize) {
    encode_number(out, b'*', words);
}

/// Writes one word of a request.
#[inline]
pub fn encode_word(out: &mut Vec<u8>, word: &[u8]) {
    encode_number(out, b'$', word.len());
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole request.
pub fn encode_request(out: &mut Vec<u8>, words: &[&[u8]]) {
    encode_head(out, words.len());
    for word in words {
        encode_word(out, word);
    }
}

pub(super) fn encode_select(out: &mut Vec<u8>, database: usize) {
    encode_request(out, &[b"SELECT", itoa::Buffer::new().format(database).as_bytes()]);
}

#[inline]
fn encode_number(out: &mut Vec<u8>, mark: u8, number: usize) {
    out.push(mark);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_split_only_between_two() {
        let mut records = Vec::new();
        let mut ends = Vec::new();
        for number in 0..5 {
            encode_request(&mut records, &[b"SET", b"key", &vec![b'v'; 100 * number]]);
            ends.push(records.len());
        }
        for most in 0..records.len() + 2 {
            let fitting = ends.iter().rev().find(|end| **end <= most).unwrap_or(&ends[0]);
            assert_eq!(leading_records(&records, most), *fitting, "{most}");
        }
        assert_eq!(leading_records(b"", 0), 0);
    }

    /// Records of three groups, and where each record ends.
    fn groups() -> (Vec<u8>, Vec<(usize, bool)>) {
        let (mut records, mut ends) = (Vec::new(), Vec::new());
        let mut add = |words: &[&[u8]], inside| {
            encode_request(&mut records, words);
            ends.push((records.len(), inside));
        };
        add(&[b"DEL", b"\r\nMULTI\r\n"], false);
        for group in 1..4 {
            add(&[b"MULTI"], true);
            (0..group).for_each(|_| add(&[b"SET", b"MULTI", b"EXEC"], true));
            add(&[b"EXEC"], false);
        }
        (records, ends)
    }

    #[test]
    fn groups_are_divided_only_where_they_are_too_large() {
        let (records, ends) = groups();
        let largest = ends[ends.len() - 1].0 - ends[ends.len() - 6].0;
        for most in 1..records.len() + 2 {
            let (mut at, mut inside) = (0, false);
            while at < records.len() {
                let len = leading_records(&records[at..], most);
                let (_, open) = *ends.iter().find(|(end, _)| *end == at + len).expect("between two records");
                assert!(most < largest || !open, "{most}");
                assert_eq!(ends_inside(&records[at..at + len], inside), Ok(open), "{most}");
                (at, inside) = (at + len, open);
            }
        }
    }

    #[test]
    fn records_are_counted_and_what_is_none_is_told() {
        let (records, ends) = groups();
        assert_eq!(scan(&records, false), Ok(Scanned { records: ends.len() as u64, inside: false }));
        assert!(scan(&records[..records.len() - 1], false).is_err());
        assert!(scan(b"*1\r\n$x\r\n", false).is_err());
    }
}
