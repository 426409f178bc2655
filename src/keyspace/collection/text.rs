//! One string inside a record.
//!
//! ```text
//! 0xxxxxxx                    up to 127 bytes follow
//! 10xxxxxx xxxxxxxx           up to 16,383
//! 11000000 and 4 bytes        more; the length is little-endian, as all numbers here
//! 1101nnnn and n+1 bytes      an integer, as the shortest two's complement; it stands for its decimal digits
//! ```
//! The other first bytes are free for whoever makes records of strings ([`ESCAPE`]).

use crate::base::number::parse_i64;

/// From this byte on, none begins a string.
pub const ESCAPE: u8 = 0xe0;

const MEDIUM: u8 = 0x80;
const LONG: u8 = 0xc0;
const INTEGER: u8 = 0xd0;
const SHORT_MAX: usize = 0x7f;
const MEDIUM_MAX: usize = 0x3fff;
/// The most bytes that an integer takes, which is the longest head.
pub const NUMBER_MAX: usize = 9;
/// A decimal number of an `i64` has at most so many bytes.
const DIGITS_MAX: usize = 20;

/// A string as a record holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    Bytes(&'a [u8]),
    Integer(i64),
}

/// Appends a string.
pub fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    let needle = Needle::of(bytes);
    let (head, body) = needle.parts();
    out.extend_from_slice(head);
    out.extend_from_slice(body);
}

/// A string as a record holds it, in two parts: to be looked for, or put somewhere.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'n> {
    head: [u8; NUMBER_MAX],
    head_len: usize,
    /// Empty for an integer.
    body: &'n [u8],
}

impl<'n> Needle<'n> {
    #[inline]
    pub fn of(bytes: &'n [u8]) -> Needle<'n> {
        if let Some(integer) = integer_of(bytes) {
            return Needle::of_integer(integer);
        }
        let mut needle = Needle { head: [0; NUMBER_MAX], head_len: 1, body: bytes };
        match bytes.len() {
            len @ 0..=SHORT_MAX => needle.head[0] = len as u8,
            len @ 0..=MEDIUM_MAX => {
                needle.head[..2].copy_from_slice(&[MEDIUM | (len >> 8) as u8, len as u8]);
                needle.head_len = 2;
            }
            len => {
                needle.head[0] = LONG;
                needle.head[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                needle.head_len = 5;
            }
        }
        needle
    }

    #[inline]
    pub fn of_integer(integer: i64) -> Needle<'static> {
        let (mut head, kept) = ([0; NUMBER_MAX], bytes_of(integer));
        head[0] = INTEGER | (kept - 1) as u8;
        head[1..].copy_from_slice(&integer.to_le_bytes());
        Needle { head, head_len: 1 + kept, body: &[] }
    }

    /// What [`push`] would write of it, in two parts.
    #[inline]
    pub fn parts(&self) -> (&[u8], &'n [u8]) {
        (&self.head[..self.head_len], self.body)
    }

    /// Whether it is the string at the front.
    #[inline]
    pub fn is_at(&self, bytes: &[u8]) -> bool {
        // Lengths and first bytes differ mostly, so that one look is enough.
        bytes.first() == Some(&self.head[0])
            && bytes.split_at_checked(self.head_len).is_some_and(|(head, rest)| {
                head == &self.head[..self.head_len] && rest.starts_with(self.body)
            })
    }
}

/// The integer that a string is the usual spelling of.
fn integer_of(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [b'0'..=b'9' | b'-', ..] if bytes.len() <= DIGITS_MAX => {
            let integer = parse_i64(bytes)?;
            // A short number is no longer as a string.
            (bytes.len() > bytes_of(integer)).then_some(integer)
        }
        _ => None,
    }
}

/// How many bytes of two's complement an integer needs.
fn bytes_of(integer: i64) -> usize {
    let bits = 65 - (integer ^ integer >> 63).leading_zeros() as usize;
    bits.div_ceil(8)
}

/// The string at the front, and how many bytes it takes.
///
/// The bytes come from [`push`]; where they do not, the string is empty or ends early.
#[inline]
pub fn read(bytes: &[u8]) -> (Text<'_>, usize) {
    let (start, len) = span(bytes);
    let body = &bytes[start.min(bytes.len())..(start + len).min(bytes.len())];
    match bytes.first() {
        Some(first) if first & 0xf0 == INTEGER => {
            let mut all = match body.last() {
                Some(last) if last & 0x80 != 0 => [0xff; 8],
                _ => [0; 8],
            };
            let kept = body.len().min(8);
            all[..kept].copy_from_slice(&body[..kept]);
            (Text::Integer(i64::from_le_bytes(all)), start + len)
        }
        _ => (Text::Bytes(body), start + len),
    }
}

/// Bytes that the string at the front takes.
#[inline]
pub fn len_of(bytes: &[u8]) -> usize {
    let (start, len) = span(bytes);
    start + len
}

/// Where the string's body begins, and how long it is.
#[inline]
fn span(bytes: &[u8]) -> (usize, usize) {
    match *bytes {
        [] => (0, 0),
        [first, ..] if first <= SHORT_MAX as u8 => (1, first as usize),
        [first, second, ..] if first < LONG => (2, usize::from(first & 0x3f) << 8 | usize::from(second)),
        [first, ..] if first & 0xf0 == INTEGER => (1, usize::from(first & 0x0f) + 1),
        [_, a, b, c, d, ..] => (5, u32::from_le_bytes([a, b, c, d]) as usize),
        _ => (bytes.len(), 0),
    }
}

impl<'a> Text<'a> {
    /// The bytes of the string. An integer's digits are written into `room`.
    pub fn bytes(self, room: &'a mut itoa::Buffer) -> &'a [u8] {
        match self {
            Text::Bytes(bytes) => bytes,
            Text::Integer(integer) => room.format(integer).as_bytes(),
        }
    }

    /// Whether it is this string.
    pub fn is(self, bytes: &[u8]) -> bool {
        match self {
            Text::Bytes(own) => own == bytes,
            Text::Integer(integer) => itoa::Buffer::new().format(integer).as_bytes() == bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn comes_back(bytes: &[u8]) -> usize {
        let mut out = Vec::new();
        push(&mut out, bytes);
        let taken = out.len();
        out.extend_from_slice(b"rest");
        let (text, len) = read(&out);
        assert_eq!((text.bytes(&mut itoa::Buffer::new()), len), (bytes, taken), "{}", bytes.escape_ascii());
        assert!(text.is(bytes) && !text.is(b"something else"));
        let needle = Needle::of(bytes);
        assert!(needle.is_at(&out) && !needle.is_at(&out[..taken - 1]));
        assert!(!Needle::of(b"something else").is_at(&out));
        assert_eq!(len_of(&out), taken);
        assert!(out[0] < ESCAPE);
        taken
    }

    #[test]
    fn a_string_comes_back_in_as_many_bytes_as_it_needs() {
        for (len, head) in [(0, 1), (1, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 5), (100_000, 5)] {
            assert_eq!(comes_back(&vec![b'x'; len]), len + head);
        }
        for (number, bytes) in [("7", 2), ("12", 2), ("127", 2), ("-128", 2), ("128", 3), ("101700", 4)] {
            assert_eq!(comes_back(number.as_bytes()), bytes, "{number}");
        }
        assert_eq!(comes_back(b"1790000000000"), 7);
        assert_eq!(comes_back(i64::MIN.to_string().as_bytes()), 9);
        assert_eq!(comes_back(i64::MAX.to_string().as_bytes()), 9);
    }

    #[test]
    fn only_the_usual_spelling_of_a_number_is_an_integer() {
        for text in
            ["-0", "007", "+12", " 12", "12 ", "1e3", "-", "9223372036854775808", "12345678901234567890"]
        {
            comes_back(text.as_bytes());
        }
    }

    #[test]
    fn any_numbers_and_bytes_come_back_and_any_bytes_can_be_read() {
        let seed = 0x7e47;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let integer = random.next_u64() as i64 >> random.below(64);
            comes_back(integer.to_string().as_bytes());
            let noise: Vec<u8> = (0..random.below(12)).map(|_| random.next_u64() as u8).collect();
            comes_back(&noise);
            let (text, _) = read(&noise);
            text.bytes(&mut itoa::Buffer::new());
        }
    }
}
