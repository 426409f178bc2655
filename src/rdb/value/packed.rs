//! What the packed encodings share: elements that are text or integers, and reading bytes that may end anywhere.

use crate::base::number::{parse_f64, parse_i64};

/// What is wrong with bytes that should be a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// An element as it lies in a ziplist or listpack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Text<'a> {
    Bytes(&'a [u8]),
    /// The text of a number, in fewer bytes.
    Integer(i64),
}

impl<'a> Text<'a> {
    /// The element's bytes; digits are written into `digits`.
    pub fn bytes<'b>(self, digits: &'b mut itoa::Buffer) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Text::Bytes(bytes) => bytes,
            Text::Integer(number) => digits.format(number).as_bytes(),
        }
    }

    /// The number, in whichever form it lies there.
    pub fn integer(self) -> Result<i64, Malformed> {
        match self {
            Text::Integer(number) => Ok(number),
            Text::Bytes(bytes) => parse_i64(bytes).ok_or(Malformed("text where a whole number must be")),
        }
    }

    /// The score of a member.
    pub fn score(self) -> Result<f64, Malformed> {
        match self {
            Text::Integer(number) => Ok(number as f64),
            Text::Bytes(bytes) => parse_f64(bytes).ok_or(Malformed("a score that is not a number")),
        }
    }
}

/// Bytes that are read from the front. Whatever reaches beyond their end is `None`.
#[derive(Clone, Copy)]
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        Some(self.array::<1>()?[0])
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// Goes through elements two by two; gives how many pairs there are.
pub fn for_pairs<'a>(
    mut elements: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    mut each: impl FnMut(Text<'a>, Text<'a>) -> Result<(), Malformed>,
) -> Result<u64, Malformed> {
    let mut pairs = 0;
    while let Some(first) = elements.next() {
        let second = elements.next().ok_or(Malformed("an element without its other half"))?;
        each(first?, second?)?;
        pairs += 1;
    }
    Ok(pairs)
}
