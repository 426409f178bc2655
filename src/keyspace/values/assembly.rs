//! Large collections from what a snapshot has of them: a head, and leaves in any order.
//!
//! ```text
//! head   varint id | level | varint count | varint number of leaves, and their numbers in order (varints): of lists alone | of a stream: all but the entries' records
//! leaf   varint id | varint number | varint count | records
//! ```

use std::collections::HashMap;

use crate::keyspace::AtCut;
use crate::keyspace::collection::stream;
#[cfg(doc)]
use crate::keyspace::collection::stream::Stream;
use crate::keyspace::large::{Head, Large, LeafAtCut};
use crate::storage::Kind;
use crate::storage::encoding::{push_varint, take_varint};

const WRONG: &str = "a part of a large value cannot be read";

/// Appends a head as a snapshot holds it.
pub fn encode_head(head: &Head, out: &mut Vec<u8>) {
    push_varint(out, head.id);
    out.push(head.level);
    push_varint(out, head.count);
    push_varint(out, head.leaves.len() as u64);
    head.leaves.iter().for_each(|number| push_varint(out, u64::from(*number)));
    if let Some(stream) = &head.stream {
        stream.encode_around(head.count, out);
    }
}

/// Appends a leaf as a snapshot holds it.
pub fn encode_leaf(leaf: &LeafAtCut<'_>, out: &mut Vec<u8>) {
    push_varint(out, leaf.id);
    push_varint(out, u64::from(leaf.number));
    push_varint(out, leaf.count);
    out.extend_from_slice(leaf.records);
}

/// Collections of which something is missing yet. `T` is whatever is known of the entry with a head.
pub struct Assembly<T> {
    waiting: HashMap<u64, Parts<T>>,
}

impl<T> Default for Assembly<T> {
    fn default() -> Assembly<T> {
        Assembly { waiting: HashMap::new() }
    }
}

struct Parts<T> {
    head: Option<(T, Kind, Outline)>,
    leaves: Vec<(u64, Vec<u8>)>,
    count: u64,
}

/// What a head says of its leaves.
struct Outline {
    level: u8,
    count: u64,
    leaves: Vec<u64>,
    /// What [`Stream::encode_around`] wrote, of a stream.
    around: Vec<u8>,
}

/// A collection that is complete: what was given with its head, and what [`crate::keyspace::Root::encode`] would write of it.
pub type Complete<T> = Option<(T, Vec<u8>)>;

impl<T> Assembly<T> {
    /// Adds a head.
    ///
    /// # Errors
    /// If it cannot be read, or was there before.
    pub fn head(&mut self, entry: T, kind: Kind, mut bytes: &[u8]) -> Result<Complete<T>, &'static str> {
        let id = take_varint(&mut bytes).ok_or(WRONG)?;
        let (level, rest) = bytes.split_first().ok_or(WRONG)?;
        bytes = rest;
        let count = take_varint(&mut bytes).ok_or(WRONG)?;
        let numbers = take_varint(&mut bytes).ok_or(WRONG)?;
        // Each takes a byte at least, so what may be claimed is bounded by what is there.
        if numbers > bytes.len() as u64 {
            return Err(WRONG);
        }
        let leaves: Option<Vec<u64>> = (0..numbers).map(|_| take_varint(&mut bytes)).collect();
        let around = if kind == Kind::Stream { std::mem::take(&mut bytes).to_vec() } else { Vec::new() };
        let outline = Outline { level: *level, count, leaves: leaves.ok_or(WRONG)?, around };
        let parts = self.parts(id);
        if !bytes.is_empty() || parts.head.replace((entry, kind, outline)).is_some() {
            return Err(WRONG);
        }
        self.take_if_complete(id)
    }

    /// Adds what a running snapshot shows of a large collection.
    ///
    /// # Errors
    /// As [`Assembly::head`] and [`Assembly::leaf`].
    pub fn shown(&mut self, entry: T, shown: &AtCut<'_>) -> Result<Complete<T>, &'static str> {
        let mut bytes = Vec::new();
        match shown.large {
            Large::No => Ok(None),
            Large::Whole(root) => {
                root.encode(shown.kind, &mut bytes);
                Ok(Some((entry, bytes)))
            }
            Large::Head(head) => {
                encode_head(head, &mut bytes);
                self.head(entry, shown.kind, &bytes)
            }
            Large::Leaf(leaf) => {
                encode_leaf(&leaf, &mut bytes);
                self.leaf(&bytes)
            }
        }
    }

    /// Adds a leaf.
    ///
    /// # Errors
    /// If it cannot be read, or there are more elements than the head says.
    pub fn leaf(&mut self, mut bytes: &[u8]) -> Result<Complete<T>, &'static str> {
        let mut number = || take_varint(&mut bytes).ok_or(WRONG);
        let (id, number, count) = (number()?, number()?, number()?);
        if count == 0 || count > bytes.len() as u64 {
            return Err(WRONG);
        }
        let parts = self.parts(id);
        parts.leaves.push((number, bytes.to_vec()));
        parts.count += count;
        self.take_if_complete(id)
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn parts(&mut self, id: u64) -> &mut Parts<T> {
        self.waiting.entry(id).or_insert_with(|| Parts { head: None, leaves: Vec::new(), count: 0 })
    }

    fn take_if_complete(&mut self, id: u64) -> Result<Complete<T>, &'static str> {
        let parts = self.parts(id);
        let Some((_, _, outline)) = &parts.head else { return Ok(None) };
        if parts.count < outline.count {
            return Ok(None);
        }
        let (count, parts) = (parts.count, self.waiting.remove(&id));
        let Some(Parts { head: Some((entry, kind, outline)), mut leaves, .. }) = parts else {
            return Ok(None);
        };
        if count > outline.count {
            return Err("a large value has more elements than it says");
        }
        if kind == Kind::List {
            let places: HashMap<u64, usize> =
                outline.leaves.iter().zip(0..).map(|(number, place)| (*number, place)).collect();
            if leaves.len() != places.len() || leaves.iter().any(|(number, _)| !places.contains_key(number)) {
                return Err("a list has other leaves than it says");
            }
            leaves.sort_by_key(|(number, _)| places[number]);
        }
        let mut whole = vec![outline.level];
        push_varint(&mut whole, outline.count);
        if kind == Kind::Stream {
            let mut records: Vec<Vec<u8>> = leaves.into_iter().map(|(_, records)| records).collect();
            whole.extend(stream::join(&outline.around, &mut records).ok_or(WRONG)?);
        } else {
            leaves.iter().for_each(|(_, records)| whole.extend_from_slice(records));
        }
        Ok(Some((entry, whole)))
    }
}
