//! One entry of a stream, as a record of its tree.
//!
//! ```text
//! id, as in id.rs | length of the rest | shape     | value ...
//! id              | length of the rest | 0 | count | name, value ...
//! ```
//! Numbers are varints, strings as in `text.rs`. The shape says which field names it has (`shapes.rs`).

use std::cmp::Ordering;

use super::super::order::{Index, Order};
use super::super::text::{self, Text};
use super::id::{self, Base, Id};
use super::shapes::Shapes;
use crate::storage::encoding::{push_varint, take_varint};

/// The order of entries, by their ids.
#[derive(Clone, Copy)]
pub struct ByEntryId(pub Base);

impl Order for ByEntryId {
    type Probe<'p> = Id;
    const INDEX: Index = Index::Offsets;

    #[inline]
    fn len_of(&self, records: &[u8]) -> usize {
        let mut rest = records.get(id::len_of(records)..).unwrap_or_default();
        let len = take_varint(&mut rest).unwrap_or_default();
        records.len() - rest.len() + len as usize
    }

    #[inline]
    fn key_of(&self, record: &[u8]) -> u64 {
        self.0.read_ms(record)
    }

    #[inline]
    fn key(&self, probe: Id) -> u64 {
        probe.ms
    }

    #[inline]
    fn compare(&self, probe: Id, record: &[u8]) -> Ordering {
        probe.cmp(&self.0.read(record).0)
    }
}

/// Appends a record of an entry that shares its names, or with them as pairs if its shape is 0. `body` is the strings.
pub fn push(out: &mut Vec<u8>, base: Base, id: Id, shape: u32, fields: usize, body: &[u8]) {
    base.push(out, id);
    let mut head = Vec::with_capacity(8);
    push_varint(&mut head, u64::from(shape));
    if shape == 0 {
        push_varint(&mut head, fields as u64);
    }
    push_varint(out, (head.len() + body.len()) as u64);
    out.extend_from_slice(&head);
    out.extend_from_slice(body);
}

/// The shape of a record.
pub fn shape_of(record: &[u8]) -> u32 {
    let mut rest = record.get(id::len_of(record)..).unwrap_or_default();
    take_varint(&mut rest);
    take_varint(&mut rest).unwrap_or_default() as u32
}

/// An entry that lies in a stream.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'s> {
    pub id: Id,
    fields: usize,
    /// Empty where names lie with their values.
    names: &'s [u8],
    body: &'s [u8],
}

impl<'s> Entry<'s> {
    pub fn read(record: &'s [u8], base: Base, shapes: &'s Shapes) -> Entry<'s> {
        let (id, len) = base.read(record);
        let mut body = record.get(len..).unwrap_or_default();
        take_varint(&mut body);
        let shape = take_varint(&mut body).unwrap_or_default();
        match shapes.at(shape as u32) {
            Some(shape) => Entry { id, fields: shape.fields(), names: shape.names(), body },
            None => {
                let fields = take_varint(&mut body).unwrap_or_default() as usize;
                Entry { id, fields, names: &[], body }
            }
        }
    }

    /// How many fields it has.
    pub fn field_count(&self) -> usize {
        self.fields
    }

    /// Names and values of its fields.
    pub fn fields(self) -> impl Iterator<Item = (Text<'s>, Text<'s>)> {
        let Entry { fields, mut names, mut body, .. } = self;
        let shares = !names.is_empty();
        (0..fields).map(move |_| {
            let name = if shares { take_text(&mut names) } else { take_text(&mut body) };
            (name, take_text(&mut body))
        })
    }
}

fn take_text<'s>(bytes: &mut &'s [u8]) -> Text<'s> {
    let (found, len) = text::read(bytes);
    *bytes = bytes.get(len..).unwrap_or_default();
    found
}

/// Whether a record is whole: its strings are as many as it says, and its shape is known.
pub fn is_sound(record: &[u8], shapes: &Shapes) -> bool {
    let mut rest = record.get(id::len_of(record)..).unwrap_or_default();
    let Some(len) = take_varint(&mut rest) else { return false };
    if len != rest.len() as u64 {
        return false;
    }
    let strings = match take_varint(&mut rest) {
        Some(0) => {
            take_varint(&mut rest).filter(|fields| *fields > 0).and_then(|fields| fields.checked_mul(2))
        }
        Some(shape) => {
            let known = u32::try_from(shape).ok().and_then(|shape| shapes.at(shape));
            known.map(|shape| shape.fields() as u64).filter(|fields| *fields > 0)
        }
        None => None,
    };
    strings.is_some() && super::shapes::strings_in(rest).map(|found| found as u64) == strings
}
