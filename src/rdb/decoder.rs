//! The parts that records are made of: lengths and strings.

use std::io::Read;

use super::error::{Error, Problem};
use super::source::Source;
use super::{STRING_BYTES_MAX, length, lzf};

/// A length, or the encoding of a special string in its place.
enum Head {
    Length(u64),
    Special(u8),
}

/// How the bytes of a string lie in the input.
enum Form {
    Raw(u64),
    Integer(i64),
    Lzf { packed: u64, unpacked: u64 },
}

impl<R: Read> Source<R> {
    fn head(&mut self) -> Result<Head, Error> {
        let offset = self.offset();
        let first = self.byte()?;
        let low = first & 0x3f;
        Ok(match (first >> 6, first) {
            (length::SIX_BITS, _) => Head::Length(u64::from(low)),
            (length::FOURTEEN_BITS, _) => Head::Length(u64::from(u16::from_be_bytes([low, self.byte()?]))),
            (length::WIDE, length::BITS_32) => Head::Length(u64::from(u32::from_be_bytes(self.array()?))),
            (length::WIDE, length::BITS_64) => Head::Length(u64::from_be_bytes(self.array()?)),
            (length::WIDE, _) => return Err(Error { offset, problem: Problem::UnknownLength(first) }),
            _ => Head::Special(low),
        })
    }

    /// A length or another number that is written as one.
    pub fn length(&mut self) -> Result<u64, Error> {
        let offset = self.offset();
        match self.head()? {
            Head::Length(length) => Ok(length),
            Head::Special(_) => Err(Error { offset, problem: Problem::NotALength }),
        }
    }

    fn form(&mut self) -> Result<Form, Error> {
        let offset = self.offset();
        let form = match self.head()? {
            Head::Length(length) => Form::Raw(length),
            Head::Special(length::INT_8) => Form::Integer(i64::from(self.byte()? as i8)),
            Head::Special(length::INT_16) => Form::Integer(i64::from(i16::from_le_bytes(self.array()?))),
            Head::Special(length::INT_32) => Form::Integer(i64::from(i32::from_le_bytes(self.array()?))),
            Head::Special(length::LZF) => Form::Lzf { packed: self.length()?, unpacked: self.length()? },
            Head::Special(code) => return Err(Error { offset, problem: Problem::UnknownString(code) }),
        };
        let longest = match form {
            Form::Raw(length) => length,
            Form::Integer(_) => 0,
            Form::Lzf { packed, unpacked } => packed.max(unpacked),
        };
        if longest > STRING_BYTES_MAX {
            return Err(Error { offset, problem: Problem::LongString(longest) });
        }
        match form {
            Form::Lzf { packed, unpacked } if unpacked == 0 || !lzf::is_possible(packed, unpacked) => {
                Err(Error { offset, problem: Problem::Lzf })
            }
            form => Ok(form),
        }
    }

    /// A string in any encoding.
    pub fn string(&mut self) -> Result<Vec<u8>, Error> {
        let mut string = Vec::new();
        self.string_into(&mut string)?;
        Ok(string)
    }

    /// Replaces what is in `string` by a string in any encoding, and so spares an allocation for each of many.
    pub fn string_into(&mut self, string: &mut Vec<u8>) -> Result<(), Error> {
        let offset = self.offset();
        string.clear();
        match self.form()? {
            Form::Raw(length) => self.append_bytes(length, string)?,
            Form::Integer(number) => string.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
            Form::Lzf { packed, unpacked } => {
                let packed = self.bytes(packed)?;
                *string =
                    lzf::unpack(&packed, unpacked as usize).ok_or(Error { offset, problem: Problem::Lzf })?;
            }
        }
        Ok(())
    }

    /// Goes past a string without keeping or unpacking it.
    pub fn skip_string(&mut self) -> Result<(), Error> {
        match self.form()? {
            Form::Raw(length) | Form::Lzf { packed: length, .. } => self.skip(length),
            Form::Integer(_) => Ok(()),
        }
    }
}
