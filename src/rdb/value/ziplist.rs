//! Ziplists: what Redis used before listpacks. Each element has the size of the one before it in front.
//!
//! ```text
//! bytes in all (4)  offset of the last element (4)  elements (2; 65535: not known)  { size before  head  data }  0xff    little-endian
//! size before                one byte below 254, or 254 and 4 bytes
//! 00llllll, 01llllll + 1     strings of so many bytes (big-endian)     10...... + 4    strings, too
//! 0xc0 + 2, 0xd0 + 4, 0xe0 + 8, 0xf0 + 3, 0xfe + 1                     signed integers
//! 0xf1 to 0xfd               0 to 12
//! ```

use super::packed::{Cursor, Malformed, Text};

const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
const COUNT_UNKNOWN: u16 = u16::MAX;
/// The first byte of a size before that has four more.
const WIDE_SIZE: u8 = 0xfe;

/// The elements of a ziplist, front to back. An error is the last thing that it gives.
pub struct Ziplist<'a> {
    /// What is left, without the end mark.
    rest: Cursor<'a>,
    /// All elements.
    elements: usize,
    /// Where the last element begins, as the header says.
    tail: usize,
    /// Where the element before the next one begins, if there is one, and its size.
    before: Option<usize>,
    size_before: usize,
    announced: u16,
    seen: u64,
    ended: bool,
}

impl<'a> Ziplist<'a> {
    /// Checks header and end mark.
    pub fn new(bytes: &'a [u8]) -> Result<Ziplist<'a>, Malformed> {
        const WRONG: Malformed = Malformed("a ziplist whose header or end is not one");
        let mut header = Cursor(bytes);
        let total = header.array().map(u32::from_le_bytes).ok_or(WRONG)?;
        let tail = header.array().map(u32::from_le_bytes).ok_or(WRONG)?;
        let announced = header.array().map(u16::from_le_bytes).ok_or(WRONG)?;
        let (last, elements) = header.0.split_last().ok_or(WRONG)?;
        let tail = (tail as usize).checked_sub(HEADER_BYTES).ok_or(WRONG)?;
        if total as usize != bytes.len() || *last != END || tail > elements.len() {
            return Err(WRONG);
        }
        Ok(Ziplist {
            rest: Cursor(elements),
            elements: elements.len(),
            tail,
            before: None,
            size_before: 0,
            announced,
            seen: 0,
            ended: false,
        })
    }

    fn element(&mut self) -> Option<Text<'a>> {
        let left = self.rest.0.len();
        let size_before = match self.rest.byte()? {
            WIDE_SIZE => u32::from_le_bytes(self.rest.array()?) as usize,
            END => return None,
            size => usize::from(size),
        };
        let text = read_element(&mut self.rest)?;
        if size_before != self.size_before {
            return None;
        }
        self.before = Some(self.elements - left);
        self.size_before = left - self.rest.0.len();
        Some(text)
    }

    /// Whether the header has told the truth, now that all was read.
    fn is_as_announced(&self) -> bool {
        let counted = self.announced == COUNT_UNKNOWN || self.seen == u64::from(self.announced);
        counted && self.before.is_none_or(|last| last == self.tail)
    }
}

impl<'a> Iterator for Ziplist<'a> {
    type Item = Result<Text<'a>, Malformed>;

    fn next(&mut self) -> Option<Result<Text<'a>, Malformed>> {
        if self.ended {
            return None;
        }
        if self.rest.0.is_empty() {
            self.ended = true;
            let wrong = Malformed("a ziplist that has other elements than it says");
            return (!self.is_as_announced()).then_some(Err(wrong));
        }
        self.seen += 1;
        let element = self.element();
        self.ended = element.is_none();
        Some(element.ok_or(Malformed("a ziplist with an element that is not one")))
    }
}

fn read_element<'a>(rest: &mut Cursor<'a>) -> Option<Text<'a>> {
    let head = rest.byte()?;
    Some(match head {
        0..=0x3f => Text::Bytes(rest.take(usize::from(head))?),
        0x40..=0x7f => {
            let length = u16::from_be_bytes([head & 0x3f, rest.byte()?]);
            Text::Bytes(rest.take(usize::from(length))?)
        }
        0x80..=0xbf => {
            let length = u32::from_be_bytes(rest.array()?);
            Text::Bytes(rest.take(length as usize)?)
        }
        0xc0 => Text::Integer(i64::from(i16::from_le_bytes(rest.array()?))),
        0xd0 => Text::Integer(i64::from(i32::from_le_bytes(rest.array()?))),
        0xe0 => Text::Integer(i64::from_le_bytes(rest.array()?)),
        0xf0 => {
            let [a, b, c] = rest.array()?;
            Text::Integer(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8))
        }
        0xfe => Text::Integer(i64::from(i8::from_le_bytes(rest.array()?))),
        0xf1..=0xfd => Text::Integer(i64::from(head & 0x0f) - 1),
        _ => return None,
    })
}
