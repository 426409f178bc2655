//! Records as bytes: RESP arrays of bulk strings, as a client would send them.

use crate::keyspace::LENGTH_MAX;
use crate::resp::{Limits, Parser, Step};

/// Whatever was a request may be a record.
pub const RECORD_LIMITS: Limits = Limits {
    bulk_len_max: LENGTH_MAX as u64,
    multibulk_len_max: i32::MAX as u64,
    inline_max: 0,
    unauthenticated: false,
};

/// How many bytes of the records are the first ones that together have at most `most` bytes; at least one record.
pub fn leading_records(records: &[u8], most: usize) -> usize {
    if records.len() <= most {
        return records.len();
    }
    let (mut parser, mut ranges, mut end) = (Parser::default(), Vec::new(), 0);
    while let Ok(Step::Request) = parser.advance(records, &RECORD_LIMITS, &mut ranges) {
        ranges.clear();
        if end > 0 && parser.at > most {
            return end;
        }
        end = parser.at;
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
}
