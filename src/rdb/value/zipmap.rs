//! Zipmaps: small hashes of Redis before version 2.6.
//!
//! ```text
//! fields (1; 254: not known)  { length  field  length  free bytes (1)  value  so many bytes that mean nothing }  0xff
//! length: one byte below 254, or 254 and 4 bytes, little-endian, which are not less
//! ```

use super::packed::{Cursor, Malformed};

const END: u8 = 0xff;
const COUNT_UNKNOWN: u8 = 0xfe;
/// The first byte of a length that has four more.
const WIDE_LENGTH: u8 = 0xfe;

/// Goes through fields and values. As in Redis, a zipmap without any is not one.
pub fn for_fields<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    const WRONG: Malformed = Malformed("a zipmap whose beginning or end is not one");
    let ((last, inner), mut fields) = (bytes.split_last().ok_or(WRONG)?, 0u64);
    let mut rest = Cursor(inner);
    let announced = rest.byte().ok_or(WRONG)?;
    if *last != END {
        return Err(WRONG);
    }
    while !rest.0.is_empty() {
        let (field, value) = read_field(&mut rest).ok_or(Malformed("a zipmap with a broken field"))?;
        each(field, value)?;
        fields += 1;
    }
    if fields == 0 || announced != COUNT_UNKNOWN && fields != u64::from(announced) {
        return Err(Malformed("a zipmap that has other fields than it says"));
    }
    Ok(())
}

fn read_field<'a>(rest: &mut Cursor<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let length = read_length(rest)?;
    let field = rest.take(length)?;
    let (length, free) = (read_length(rest)?, rest.byte()?);
    let value = rest.take(length)?;
    rest.take(usize::from(free))?;
    Some((field, value))
}

fn read_length(rest: &mut Cursor<'_>) -> Option<usize> {
    match rest.byte()? {
        END => None,
        WIDE_LENGTH => Some(u32::from_le_bytes(rest.array()?) as usize)
            .filter(|length| *length >= usize::from(WIDE_LENGTH)),
        length => Some(usize::from(length)),
    }
}
