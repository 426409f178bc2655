//! Listpacks: elements one after the other, each with its length in front and, to be read backwards, its size behind.
//!
//! ```text
//! bytes in all (4)  elements (2; 65535: not known)  { head  data  size of both }  0xff          little-endian
//! 0vvvvvvv                   0 to 127                      0xf1 + 2, 0xf2 + 3, 0xf3 + 4, 0xf4 + 8   signed integers
//! 110vvvvv + 1               13 bits, signed
//! 10llllll, 1110llll + 1     strings of so many bytes      0xf0 + 4                                 strings, too
//! ```
//! The size is in digits of seven bits, the last byte first: what is not the first byte has the highest bit set.

use super::packed::{Cursor, Malformed, Text};
use crate::base::number::parse_i64;

const HEADER_BYTES: usize = 6;
const END: u8 = 0xff;
/// More elements than the header can count.
const COUNT_UNKNOWN: u16 = u16::MAX;

const BROKEN: Malformed = Malformed("a listpack with an element that is not one");

/// The elements of a listpack, front to back. An error is the last thing that it gives.
pub struct Listpack<'a> {
    /// What is left, without the end mark.
    rest: Cursor<'a>,
    announced: u16,
    seen: u64,
    ended: bool,
}

impl<'a> Listpack<'a> {
    /// Checks header and end mark.
    pub fn new(bytes: &'a [u8]) -> Result<Listpack<'a>, Malformed> {
        const WRONG: Malformed = Malformed("a listpack whose header or end is not one");
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(WRONG)?;
        let [total @ .., low, high] = header;
        let (last, elements) = body.split_last().ok_or(WRONG)?;
        if u32::from_le_bytes(*total) as usize != bytes.len() || *last != END {
            return Err(WRONG);
        }
        let announced = u16::from_le_bytes([*low, *high]);
        Ok(Listpack { rest: Cursor(elements), announced, seen: 0, ended: false })
    }

    fn element(&mut self) -> Option<Text<'a>> {
        let before = self.rest.0.len();
        let text = read_element(&mut self.rest)?;
        let (size, digits) = size_behind(before - self.rest.0.len());
        (self.rest.take(digits)? == &size[..digits]).then_some(text)
    }
}

impl<'a> Iterator for Listpack<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Result<Text<'a>, Malformed>> {
        if self.ended {
            return None;
        }
        if self.rest.0.is_empty() {
            self.ended = true;
            let is_right = self.announced == COUNT_UNKNOWN || self.seen == u64::from(self.announced);
            return (!is_right).then_some(Err(Malformed("a listpack that has other elements than it says")));
        }
        self.seen += 1;
        let element = self.element();
        self.ended = element.is_none();
        Some(element.ok_or(BROKEN))
    }
}

fn read_element<'a>(rest: &mut Cursor<'a>) -> Option<Text<'a>> {
    let head = rest.byte()?;
    let low = head & 0x0f;
    Some(match head {
        0..=0x7f => Text::Integer(i64::from(head)),
        0x80..=0xbf => Text::Bytes(rest.take(usize::from(head & 0x3f))?),
        0xc0..=0xdf => {
            let bits = u16::from_be_bytes([head & 0x1f, rest.byte()?]);
            // The sign is the highest of 13 bits.
            Text::Integer(i64::from((bits << 3) as i16 >> 3))
        }
        0xe0..=0xef => {
            let length = u16::from_be_bytes([low, rest.byte()?]);
            Text::Bytes(rest.take(usize::from(length))?)
        }
        0xf0 => {
            let length = u32::from_le_bytes(rest.array()?);
            Text::Bytes(rest.take(length as usize)?)
        }
        0xf1 => Text::Integer(i64::from(i16::from_le_bytes(rest.array()?))),
        0xf2 => {
            let [a, b, c] = rest.array()?;
            Text::Integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        0xf3 => Text::Integer(i64::from(i32::from_le_bytes(rest.array()?))),
        0xf4 => Text::Integer(i64::from_le_bytes(rest.array()?)),
        _ => return None,
    })
}

/// The size that stands behind an element of so many bytes, and how many bytes of the array it takes. Redis takes one more than needed at the upper
/// ends of 2, 3 and 4 bytes.
fn size_behind(element: usize) -> ([u8; 5], usize) {
    let size = element as u64;
    let digits: usize = match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    let mut bytes = [0; 5];
    for (index, byte) in bytes[..digits].iter_mut().enumerate() {
        let digit = (size >> (7 * (digits - 1 - index)) & 0x7f) as u8;
        *byte = if index > 0 { digit | 0x80 } else { digit };
    }
    (bytes, digits)
}

/// A listpack that is written.
pub struct Writer {
    bytes: Vec<u8>,
    count: u64,
}

impl Writer {
    /// The largest number of the shortest form.
    pub const SMALL_MAX: u8 = 0x7f;

    pub fn new() -> Writer {
        Writer { bytes: vec![0; HEADER_BYTES], count: 0 }
    }

    /// Bytes so far, with the header.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends text, as a number if it is the text of one.
    pub fn text(&mut self, text: &[u8]) {
        if let Some(number) = parse_i64(text) {
            return self.integer(number);
        }
        let start = self.bytes.len();
        match text.len() {
            length @ 0..=0x3f => self.bytes.push(0x80 | length as u8),
            length @ 0x40..=0xfff => self.bytes.extend_from_slice(&(0xe000 | length as u16).to_be_bytes()),
            length => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.close(start);
    }

    pub fn integer(&mut self, number: i64) {
        const BITS_13_MAX: i64 = 1 << 12;
        const BITS_24_MAX: i64 = 1 << 23;
        let start = self.bytes.len();
        let out = &mut self.bytes;
        let wide = |out: &mut Vec<u8>, head: u8, bytes: usize| {
            out.push(head);
            out.extend_from_slice(&number.to_le_bytes()[..bytes]);
        };
        if (0..=i64::from(Writer::SMALL_MAX)).contains(&number) {
            out.push(number as u8);
        } else if (-BITS_13_MAX..BITS_13_MAX).contains(&number) {
            out.extend_from_slice(&(0xc000 | number as u16 & 0x1fff).to_be_bytes());
        } else if i16::try_from(number).is_ok() {
            wide(out, 0xf1, 2);
        } else if (-BITS_24_MAX..BITS_24_MAX).contains(&number) {
            wide(out, 0xf2, 3);
        } else if i32::try_from(number).is_ok() {
            wide(out, 0xf3, 4);
        } else {
            wide(out, 0xf4, 8);
        }
        self.close(start);
    }

    /// Puts the size behind the element that begins at `start`.
    fn close(&mut self, start: usize) {
        let (size, digits) = size_behind(self.bytes.len() - start);
        self.bytes.extend_from_slice(&size[..digits]);
        self.count += 1;
    }

    /// The whole listpack, its first element, which must be a small number, replaced by another.
    pub fn finish_with_first(mut self, first: u8) -> Vec<u8> {
        debug_assert!(self.bytes[HEADER_BYTES] <= Writer::SMALL_MAX && first <= Writer::SMALL_MAX);
        self.bytes[HEADER_BYTES] = first;
        self.finish()
    }

    /// The whole listpack.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.push(END);
        let (total, count) = (self.bytes.len() as u32, u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN));
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}
