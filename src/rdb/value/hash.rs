//! Hashes: fields and values one after the other, a zipmap, or pairs of a ziplist or listpack; and the forms in which a field is due some time.
//!
//! ```text
//! Redis 7.4    earliest (8)   fields   { due  field  value }      due: 0 for never, else as many ms behind the earliest, and one more
//!              earliest (8)   a listpack of field, value, due     due: 0 for never, else in Unix ms; fields in this order, those without last
//! before its release          the same without the earliest, and each due in Unix ms
//! Valkey 9                    fields   { field  value  due (8) }  due: -1 for never, else in Unix ms
//! ```

use std::io::Read;

use super::super::error::Error;
use super::super::source::Source;
use super::listpack::Listpack;
use super::packed::{Malformed, Text, for_pairs};
use super::ziplist::Ziplist;
use super::zipmap::for_fields;
use super::{Decoded, Sink, at, new, packed};

/// The latest that a field can be due, in Unix milliseconds: Redis keeps 48 bits and takes the highest number for never.
pub const DUE_MS_MAX: i64 = (1 << 48) - 2;

const WRONG_DUE: Malformed = Malformed("a field that is due at a time which cannot be");

/// Where it stands when a field is due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Due {
    Never,
    /// In front of the field.
    InFront,
    /// In front of the field, told from the earliest one, which stands in front of all.
    InFrontOfEarliest,
    /// Behind the value.
    Behind,
}

pub fn plain<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink, due: Due) -> Result<Decoded, Error> {
    let earliest = match due {
        Due::InFrontOfEarliest => u64::from_le_bytes(source.array()?),
        _ => 1,
    };
    let (count, mut field, mut value) = (source.length()?, Vec::new(), Vec::new());
    for _ in 0..count {
        let offset = source.offset();
        let failed = |malformed| at(offset, malformed);
        let mut due_ms = match due {
            Due::InFront | Due::InFrontOfEarliest => due_of(source.length()?, earliest).map_err(failed)?,
            Due::Never | Due::Behind => None,
        };
        source.string_into(&mut field)?;
        source.string_into(&mut value)?;
        if due == Due::Behind {
            due_ms = due_behind(i64::from_le_bytes(source.array()?)).map_err(failed)?;
        }
        new(sink.field(&field, &value, due_ms)).map_err(failed)?;
    }
    Ok(Decoded::of_count(count))
}

/// When a field is due that has this number in front, which is one more than the time after the earliest; 0 is never.
fn due_of(number: u64, earliest: u64) -> Result<Option<i64>, Malformed> {
    if number == 0 {
        return Ok(None);
    }
    let due_ms = (number - 1).checked_add(earliest).and_then(|due_ms| i64::try_from(due_ms).ok());
    due_ms.filter(|due_ms| *due_ms <= DUE_MS_MAX).map(Some).ok_or(WRONG_DUE)
}

/// When a field of Valkey is due. Times that are too far away for Redis are the latest there is.
fn due_behind(due_ms: i64) -> Result<Option<i64>, Malformed> {
    match due_ms {
        ..-1 => Err(WRONG_DUE),
        -1 => Ok(None),
        0.. => Ok(Some(due_ms.min(DUE_MS_MAX))),
    }
}

pub fn zipmap<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| for_fields(bytes, |field, value| new(sink.field(field, value, None))))?;
    Ok(Decoded::Whole)
}

pub fn ziplist<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| give(Ziplist::new(bytes)?, sink)).map(Decoded::of_count)
}

pub fn listpack<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| give(Listpack::new(bytes)?, sink)).map(Decoded::of_count)
}

fn give<'a>(
    elements: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    sink: &mut dyn Sink,
) -> Result<u64, Malformed> {
    let digits = &mut [itoa::Buffer::new(), itoa::Buffer::new()];
    for_pairs(elements, |field, value| {
        let [of_field, of_value] = digits;
        new(sink.field(field.bytes(of_field), value.bytes(of_value), None))
    })
}

/// A listpack of field, value and due, with the earliest in front, which the listpack says again.
pub fn listpack_behind_due<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    source.skip(8)?;
    listpack_with_due(source, sink)
}

pub fn listpack_with_due<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| {
        let (mut elements, mut count, mut last) = (Listpack::new(bytes)?, 0, Some(0));
        let digits = &mut [itoa::Buffer::new(), itoa::Buffer::new()];
        while let Some(field) = elements.next() {
            let mut next = || elements.next().ok_or(Malformed("a field without its value or time"))?;
            let (field, value, due) = (field?, next()?, next()?.integer()?);
            let due_ms = due_of(u64::try_from(due).map_err(|_| WRONG_DUE)?, 1)?;
            // None is behind all others.
            if due_ms.is_some_and(|due_ms| last.is_none_or(|last| due_ms < last)) {
                return Err(Malformed("fields that are not in the order in which they are due"));
            }
            last = due_ms;
            let [of_field, of_value] = digits;
            new(sink.field(field.bytes(of_field), value.bytes(of_value), due_ms))?;
            count += 1;
        }
        Ok(Decoded::of_count(count))
    })
}
