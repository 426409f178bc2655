//! The record of a list: a string, and behind it how long that is, so that records can be passed from either end.
//!
//! ```text
//! a string as in `text`  |  its bytes there, read from the end: 7 bits each, the lowest ones last; the highest bit says that another byte stands before
//! ```

use smallvec::SmallVec;

use super::text::{self, Needle, Text};

/// A record that is about to be put somewhere.
pub type Record = SmallVec<[u8; 128]>;

const SEVEN_BITS: usize = 0x7f;
const MORE: u8 = 0x80;
/// A length has 32 bits.
const BACK_BYTES_MAX: usize = 5;

/// The record of a string.
pub fn record(bytes: &[u8]) -> Record {
    let mut out = Record::new();
    let needle = Needle::of(bytes);
    let (head, body) = needle.parts();
    out.extend_from_slice(head);
    out.extend_from_slice(body);
    let len = out.len();
    for place in (0..back_len(len)).rev() {
        let more = if place + 1 < back_len(len) { MORE } else { 0 };
        out.push(0);
        let end = out.len() - 1;
        out[end] = (len >> (7 * place) & SEVEN_BITS) as u8 | more;
    }
    out
}

/// The string of the record at the front.
#[inline]
pub fn read(records: &[u8]) -> Text<'_> {
    text::read(records).0
}

/// Bytes that the record at the front takes.
#[inline]
pub fn len_of(records: &[u8]) -> usize {
    let len = text::len_of(records);
    len + back_len(len)
}

/// Bytes that the record at the end takes.
#[inline]
pub fn len_of_last(records: &[u8]) -> usize {
    let mut len = 0;
    for (place, byte) in records.iter().rev().take(BACK_BYTES_MAX).enumerate() {
        len |= (usize::from(*byte) & SEVEN_BITS) << (7 * place);
        if byte & MORE == 0 {
            return len + place + 1;
        }
    }
    records.len()
}

/// Whether these bytes are one record.
pub fn is_whole(record: &[u8]) -> bool {
    !record.is_empty() && len_of(record) == record.len() && len_of_last(record) == record.len()
}

#[inline]
fn back_len(len: usize) -> usize {
    match len {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        0x4000..0x20_0000 => 3,
        0x20_0000..0x1000_0000 => 4,
        _ => BACK_BYTES_MAX,
    }
}

/// Bytes that the string takes in a listpack of Redis, which says what its encoding is called.
pub fn listpack_bytes(text: Text<'_>) -> usize {
    let own = match text {
        Text::Integer(0..=127) => 1,
        Text::Integer(-4096..=4095) => 2,
        Text::Integer(-32_768..=32_767) => 3,
        Text::Integer(-8_388_608..=8_388_607) => 4,
        Text::Integer(-2_147_483_648..=2_147_483_647) => 5,
        Text::Integer(_) => 9,
        Text::Bytes([b'0'..=b'9']) => 1,
        Text::Bytes(bytes) if bytes.len() < 64 => 1 + bytes.len(),
        Text::Bytes(bytes) if bytes.len() < 4096 => 2 + bytes.len(),
        Text::Bytes(bytes) => 5 + bytes.len(),
    };
    own + match own {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn records_are_passed_from_either_end() {
        let mut random = Random::new(7);
        let lens =
            [0, 1, 125, 126, 127, 128, 129, 16_380, 16_381, 16_382, 16_384, 2_097_147, 2_097_148, 3_000_000];
        let mut words: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'x'; *len]).collect();
        words.extend(
            (0..500).map(|_| (random.next_u64() as i64 >> random.below(64)).to_string().into_bytes()),
        );
        let mut all = Vec::new();
        for word in &words {
            let record = record(word);
            assert!(is_whole(&record), "{} bytes", word.len());
            assert!(!is_whole(&record[1..]) && !is_whole(&record[..record.len() - 1]));
            all.extend_from_slice(&record);
        }
        let (mut forward, mut back) = (all.as_slice(), all.as_slice());
        for (word, last) in words.iter().zip(words.iter().rev()) {
            assert!(read(forward).is(word));
            forward = &forward[len_of(forward)..];
            let rest = back.len() - len_of_last(back);
            assert!(read(&back[rest..]).is(last));
            back = &back[..rest];
        }
        assert!(forward.is_empty() && back.is_empty());
    }

    #[test]
    fn any_bytes_can_be_looked_at() {
        let mut random = Random::new(8);
        for _ in 0..20_000 {
            let noise: Vec<u8> = (0..random.below(12)).map(|_| random.next_u64() as u8).collect();
            let (_, _) = (is_whole(&noise), len_of_last(&noise));
            read(&noise);
        }
    }

    /// Each length as redis-server 8.2 says it in `DEBUG LISTPACK`, or by the growth of MEMORY USAGE.
    #[test]
    fn a_listpack_has_its_own_lengths() {
        let of = |bytes: &[u8]| listpack_bytes(read(&record(bytes)));
        for (word, bytes) in
            [("7", 2), ("12", 2), ("127", 2), ("128", 3), ("-1", 3), ("4095", 3), ("4096", 4)]
        {
            assert_eq!(of(word.as_bytes()), bytes, "{word}");
        }
        for (word, bytes) in [("32768", 5), ("8388608", 6), ("2147483648", 10), ("007", 5), ("", 2)] {
            assert_eq!(of(word.as_bytes()), bytes, "{word}");
        }
        for (len, bytes) in [(63, 65), (64, 67), (125, 128), (126, 130), (4095, 4099), (4096, 4103)] {
            assert_eq!(of(&vec![b'x'; len]), bytes, "{len} bytes");
        }
    }
}
