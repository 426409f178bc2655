//! The nodes of a stream: listpacks of entries, each told from the node's id and from the names of the first entry's fields.
//!
//! ```text
//! node    entries  deleted ones  fields  { name }  0
//! entry   flags  ms behind the node's id  number behind the node's  [fields  { name  value } | { value }]  elements of the entry
//! flags   1: deleted     2: the fields are those of the node, so only values are written
//! ```

use super::listpack::{Listpack, Writer};
use super::packed::{Malformed, Text};
use super::stream::StreamId;

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// How many bytes of names a byte of a node may stand for, as its entries share them. Redis's nodes have 4,096 bytes and 100 entries, unless it is
/// told otherwise.
const SHARED_MAX: u64 = 1024;
/// So many bytes of names may be shared by the entries of any node.
const SHARED_ANYHOW: u64 = 16 << 20;

/// What Redis puts into a node, unless it is told otherwise.
const NODE_BYTES_MAX: usize = 4096;
const NODE_ENTRIES_MAX: usize = 100;

/// Strings one behind the other: fields of an entry that are put together without an allocation for each.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }
}

/// The fields of an entry, in their order. Two may have the same name.
#[derive(Clone, Copy)]
pub struct EntryFields<'a>(Place<'a>);

/// Where the fields of an entry lie.
#[derive(Clone, Copy)]
enum Place<'a> {
    Apart { names: &'a Strings, values: &'a Strings },
    InTurn(&'a Strings),
    Pairs(&'a [(Vec<u8>, Vec<u8>)]),
}

impl<'a> EntryFields<'a> {
    /// Names and values that follow each other.
    pub fn in_turn(strings: &'a Strings) -> EntryFields<'a> {
        EntryFields(Place::InTurn(strings))
    }

    pub fn of_pairs(pairs: &'a [(Vec<u8>, Vec<u8>)]) -> EntryFields<'a> {
        EntryFields(Place::Pairs(pairs))
    }

    pub fn len(self) -> usize {
        match self.0 {
            Place::Apart { names, .. } => names.len(),
            Place::InTurn(strings) => strings.len() / 2,
            Place::Pairs(pairs) => pairs.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Names and values.
    pub fn iter(self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone {
        (0..self.len()).map(move |index| match self.0 {
            Place::Apart { names, values } => (names.get(index), values.get(index)),
            Place::InTurn(strings) => (strings.get(2 * index), strings.get(2 * index + 1)),
            Place::Pairs(pairs) => (&pairs[index].0[..], &pairs[index].1[..]),
        })
    }
}

/// A node that is read.
pub struct Node<'a> {
    id: StreamId,
    rest: Elements<'a>,
    /// With those that were deleted.
    entries: u64,
    names: Strings,
    /// How many bytes of names the entries may still share.
    shared_left: u64,
}

/// The elements of a node, with errors in terms of it.
struct Elements<'a>(Listpack<'a>);

impl<'a> Elements<'a> {
    fn text(&mut self) -> Result<Text<'a>, Malformed> {
        self.0.next().unwrap_or(Err(Malformed("a node of a stream that ends inside an entry")))
    }

    fn number(&mut self) -> Result<i64, Malformed> {
        self.text()?.integer()
    }

    /// How many of something there are.
    fn count(&mut self) -> Result<u64, Malformed> {
        u64::try_from(self.number()?).map_err(|_| Malformed("a node of a stream with fewer than no elements"))
    }
}

impl<'a> Node<'a> {
    /// Reads what stands in front of the entries.
    pub fn new(id: StreamId, bytes: &'a [u8]) -> Result<Node<'a>, Malformed> {
        let mut rest = Elements(Listpack::new(bytes)?);
        let (live, deleted) = (rest.count()?, rest.count()?);
        let mut names = Strings::default();
        for _ in 0..rest.count()? {
            names.push(rest.text()?.bytes(&mut itoa::Buffer::new()));
        }
        if rest.number()? != 0 {
            return Err(Malformed("a node of a stream whose first entry has no end"));
        }
        let shared_left = SHARED_ANYHOW.max(SHARED_MAX * bytes.len() as u64);
        Ok(Node { id, rest, entries: live.saturating_add(deleted), names, shared_left })
    }

    /// Goes through the entries that were not deleted.
    pub fn for_entries(
        mut self,
        mut each: impl FnMut(StreamId, EntryFields<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut strings = Strings::default();
        for _ in 0..self.entries {
            self.entry(&mut strings, &mut each)?;
        }
        match self.rest.0.next() {
            None => Ok(()),
            Some(Err(malformed)) => Err(malformed),
            Some(Ok(_)) => Err(Malformed("a node of a stream with more than its entries")),
        }
    }

    fn entry(
        &mut self,
        strings: &mut Strings,
        each: &mut impl FnMut(StreamId, EntryFields<'_>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let rest = &mut self.rest;
        let flags = rest.number()?;
        // Both may be negative: the first entry of a node may be gone, and the number begins anew with each ms.
        let (ms, number) = (rest.number()?, rest.number()?);
        let id = StreamId {
            ms: self.id.ms.wrapping_add(ms as u64),
            number: self.id.number.wrapping_add(number as u64),
        };
        let is_same = flags & SAME_FIELDS != 0;
        let count = if is_same { self.names.len() as u64 } else { rest.count()? };
        let (strings_in_entry, around) = if is_same { (count, 3) } else { (count.saturating_mul(2), 4) };
        strings.clear();
        for _ in 0..strings_in_entry {
            strings.push(rest.text()?.bytes(&mut itoa::Buffer::new()));
        }
        if rest.count()? != strings_in_entry.saturating_add(around) {
            return Err(Malformed("an entry of a stream that has other elements than it says"));
        }
        if flags & DELETED != 0 {
            return Ok(());
        }
        if count == 0 {
            return Err(Malformed("an entry of a stream without fields"));
        }
        if is_same {
            let shared = self.shared_left.checked_sub(self.names.bytes.len() as u64);
            self.shared_left =
                shared.ok_or(Malformed("a node of a stream whose entries share too long names"))?;
        }
        let (names, values) = (&self.names, &*strings);
        each(id, EntryFields(if is_same { Place::Apart { names, values } } else { Place::InTurn(values) }))
    }
}

/// A node that is written.
pub struct NodeWriter {
    id: StreamId,
    names: Vec<Vec<u8>>,
    entries: usize,
    listpack: Writer,
}

impl NodeWriter {
    /// A node that begins with this entry.
    pub fn new(id: StreamId, fields: EntryFields<'_>) -> NodeWriter {
        let mut listpack = Writer::new();
        // How many there are is written in the end.
        for number in [0, 0, fields.len() as i64] {
            listpack.integer(number);
        }
        for (name, _) in fields.iter() {
            listpack.text(name);
        }
        listpack.integer(0);
        let names = fields.iter().map(|(name, _)| name.to_vec()).collect();
        let mut node = NodeWriter { id, names, entries: 0, listpack };
        node.push(id, fields);
        node
    }

    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Whether Redis would put another entry into this node.
    pub fn has_room(&self, fields: EntryFields<'_>) -> bool {
        let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.entries < NODE_ENTRIES_MAX && self.listpack.len() + bytes < NODE_BYTES_MAX
    }

    pub fn push(&mut self, id: StreamId, fields: EntryFields<'_>) {
        let is_same = self.names.iter().map(Vec::as_slice).eq(fields.iter().map(|(name, _)| name));
        let count = fields.len() as i64;
        let listpack = &mut self.listpack;
        listpack.integer(if is_same { SAME_FIELDS } else { 0 });
        listpack.integer(id.ms.wrapping_sub(self.id.ms) as i64);
        listpack.integer(id.number.wrapping_sub(self.id.number) as i64);
        if is_same {
            fields.iter().for_each(|(_, value)| listpack.text(value));
            listpack.integer(count + 3);
        } else {
            listpack.integer(count);
            for (name, value) in fields.iter() {
                listpack.text(name);
                listpack.text(value);
            }
            listpack.integer(2 * count + 4);
        }
        self.entries += 1;
    }

    /// The node's bytes.
    pub fn finish(self) -> Vec<u8> {
        const { assert!(NODE_ENTRIES_MAX <= Writer::SMALL_MAX as usize, "the first element keeps its size") };
        self.listpack.finish_with_first(self.entries as u8)
    }
}
