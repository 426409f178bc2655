//! Names in the order of their bytes, and a number for each: groups of a stream, consumers of a group.
//!
//! ```text
//! length (varint) | name | number (4 bytes, little-endian)
//! ```

use std::cmp::Ordering;

use super::super::order::{Index, Order};
use super::super::tree::{Limits, NoCapture, Tree};
use crate::storage::encoding::{push_varint, take_varint};

const NUMBER_BYTES: usize = 4;

#[derive(Clone, Copy)]
struct ByName;

impl Order for ByName {
    type Probe<'p> = &'p [u8];
    const INDEX: Index = Index::Offsets;

    fn len_of(&self, records: &[u8]) -> usize {
        let mut rest = records;
        let len = take_varint(&mut rest).unwrap_or_default() as usize;
        records.len() - rest.len() + len + NUMBER_BYTES
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        self.key(parts(record).0)
    }

    fn key(&self, name: &[u8]) -> u64 {
        let mut first = [0; 8];
        let len = name.len().min(8);
        first[..len].copy_from_slice(&name[..len]);
        u64::from_be_bytes(first)
    }

    fn compare(&self, name: &[u8], record: &[u8]) -> Ordering {
        name.cmp(parts(record).0)
    }
}

/// Name and number of a record.
fn parts(record: &[u8]) -> (&[u8], u32) {
    let mut rest = record;
    let len = take_varint(&mut rest).unwrap_or_default() as usize;
    let (name, number) = rest.split_at_checked(len).unwrap_or_default();
    (name, number.first_chunk().copied().map_or(0, u32::from_le_bytes))
}

/// See the module's text.
#[derive(Clone)]
pub struct Names(Tree);

impl Names {
    pub fn new(limits: Limits) -> Names {
        Names(Tree::new(limits, 0))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn owned_bytes(&self) -> usize {
        self.0.owned_bytes()
    }

    /// The number of a name.
    pub fn get(&self, name: &[u8]) -> Option<u32> {
        let place = self.0.find(&ByName, name).ok()?;
        Some(parts(self.0.record(&ByName, &place)?).1)
    }

    /// Adds a name that is not there.
    pub fn add(&mut self, name: &[u8], number: u32) {
        let Err(place) = self.0.find(&ByName, name) else { return };
        let mut record = Vec::with_capacity(name.len() + 9);
        push_varint(&mut record, name.len() as u64);
        record.extend_from_slice(name);
        record.extend_from_slice(&number.to_le_bytes());
        self.0.insert(&ByName, &mut NoCapture, &place, &record);
    }

    /// Takes a name out, and gives the number that it had.
    pub fn remove(&mut self, name: &[u8]) -> Option<u32> {
        let place = self.0.find(&ByName, name).ok()?;
        let (_, number) = parts(self.0.record(&ByName, &place)?);
        self.0.remove(&ByName, &mut NoCapture, &place, 1);
        Some(number)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u32)> {
        self.0.iter_from(&ByName, 0).map(parts)
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.0.check(&ByName)
    }
}
