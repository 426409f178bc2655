//! Streams: nodes of entries, what the stream remembers, and its consumer groups. The bytes of a node are in `stream_nodes.rs`.
//!
//! ```text
//! nodes     { id of the node (a string of 16 bytes, big-endian)  listpack (a string) }
//! entries   last id   [first id   largest deleted id   entries ever added]
//! groups    { name   last id   [entries read]
//!             pending     { id (16)  delivered at (8)  deliveries }
//!             consumers   { name  seen at (8)  [active at (8)]  pending { id (16) } } }
//! ```
//! Counts and the parts of an id are lengths; times are Unix milliseconds, little-endian. What is in brackets came with Redis 7.0, and the time
//! when a consumer was active with 7.2.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::Read;

use super::super::error::Error;
use super::super::source::Source;
use super::packed::Malformed;
use super::stream_nodes::Node;
use super::{Decoded, Sink, at};

/// What a group has read of its stream, if that is not known.
pub const ENTRIES_READ_UNKNOWN: u64 = u64::MAX;
/// When a consumer was active, if it never was.
pub const NEVER_ACTIVE: i64 = -1;
const ID_BYTES: usize = 16;

/// The name of an entry: a time and a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    pub ms: u64,
    pub number: u64,
}

impl StreamId {
    fn from_bytes(bytes: [u8; ID_BYTES]) -> StreamId {
        let both = u128::from_be_bytes(bytes);
        StreamId { ms: (both >> 64) as u64, number: both as u64 }
    }

    /// 16 bytes in the order of ids.
    pub fn to_bytes(self) -> [u8; ID_BYTES] {
        (u128::from(self.ms) << 64 | u128::from(self.number)).to_be_bytes()
    }
}

/// What a stream remembers beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamState {
    /// Of the last entry ever added, which may be gone.
    pub last_id: StreamId,
    pub max_deleted_id: StreamId,
    pub entries_added: u64,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    pub name: Vec<u8>,
    pub last_id: StreamId,
    /// How many entries of the stream the group has read, if that is known.
    pub entries_read: Option<u64>,
    /// Their names differ.
    pub consumers: Vec<Consumer>,
    /// In the order of ids, each once.
    pub pending: Vec<Pending>,
}

/// A consumer of a group. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    pub name: Vec<u8>,
    pub seen_ms: i64,
    /// When it last got something, if ever.
    pub active_ms: Option<i64>,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub id: StreamId,
    /// Unix milliseconds.
    pub delivered_ms: i64,
    pub deliveries: u64,
    /// Index of the consumer.
    pub consumer: u32,
}

/// What is written of a stream, by the server's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revision {
    /// Redis 5.
    First,
    /// Redis 7.0, which counts what was added and read.
    Counted,
    /// Redis 7.2.
    WithActivity,
}

/// How many entries a stream has, and its first one: what older revisions leave to be computed.
#[derive(Default)]
struct Extent {
    entries: u64,
    first: Option<StreamId>,
    last: Option<StreamId>,
}

pub fn read<R: Read>(
    source: &mut Source<R>,
    sink: &mut dyn Sink,
    revision: Revision,
) -> Result<Decoded, Error> {
    let (mut extent, nodes) = (Extent::default(), source.length()?);
    for _ in 0..nodes {
        read_node(source, sink, &mut extent)?;
    }
    let offset = source.offset();
    let announced = source.length()?;
    let state = read_state(source, &extent, revision)?;
    let what = if announced > 0 && nodes == 0 {
        "a stream with entries but without nodes"
    } else if extent.last.is_some_and(|last| last > state.last_id) {
        "a stream with an entry behind its last one"
    } else {
        sink.stream(state);
        return read_groups(source, sink, &extent, state, revision).map(|()| Decoded::Whole);
    };
    Err(at(offset, Malformed(what)))
}

fn read_node<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink, extent: &mut Extent) -> Result<(), Error> {
    let offset = source.offset();
    let mut read = || {
        let id: Result<[u8; ID_BYTES], _> = source.string()?.try_into();
        let bytes = source.string()?;
        Ok(id.map(|id| (StreamId::from_bytes(id), bytes)))
    };
    let wrong = Malformed("a node whose name is not the id of an entry");
    let (id, bytes) = read()?.map_err(|_| at(offset, wrong))?;
    Node::new(id, &bytes)
        .and_then(|node| {
            node.for_entries(|id, fields| {
                // Nothing can be added with the least id.
                if extent.last.unwrap_or_default() >= id {
                    return Err(Malformed("entries of a stream that do not ascend"));
                }
                extent.first.get_or_insert(id);
                extent.last = Some(id);
                extent.entries += 1;
                sink.entry(id, fields);
                Ok(())
            })
        })
        .map_err(|malformed| at(offset, malformed))
}

fn read_id<R: Read>(source: &mut Source<R>) -> Result<StreamId, Error> {
    Ok(StreamId { ms: source.length()?, number: source.length()? })
}

fn read_state<R: Read>(
    source: &mut Source<R>,
    extent: &Extent,
    revision: Revision,
) -> Result<StreamState, Error> {
    let last_id = read_id(source)?;
    if revision == Revision::First {
        return Ok(StreamState { last_id, entries_added: extent.entries, ..StreamState::default() });
    }
    // The first id is that of the first entry.
    read_id(source)?;
    Ok(StreamState { last_id, max_deleted_id: read_id(source)?, entries_added: source.length()? })
}

fn read_groups<R: Read>(
    source: &mut Source<R>,
    sink: &mut dyn Sink,
    extent: &Extent,
    state: StreamState,
    revision: Revision,
) -> Result<(), Error> {
    let mut names = HashSet::new();
    for _ in 0..source.length()? {
        let offset = source.offset();
        let (name, last_id) = (source.string()?, read_id(source)?);
        if !names.insert(name.clone()) {
            return Err(at(offset, Malformed("a consumer group that is there twice")));
        }
        let entries_read = match revision {
            Revision::First => entries_before(last_id, extent, state),
            _ => Some(source.length()?).filter(|read| *read != ENTRIES_READ_UNKNOWN),
        };
        let mut group = Group { name, last_id, entries_read, ..Group::default() };
        let mut owners = Owners { pending: read_pending(source)?, consumers: HashSet::new() };
        for _ in 0..source.length()? {
            let consumer = read_consumer(source, revision, &mut owners, group.consumers.len())?;
            group.consumers.push(consumer);
        }
        group.pending = owners.finish().map_err(|malformed| at(offset, malformed))?;
        sink.group(group);
    }
    Ok(())
}

/// How many entries a group has read that has come to this id, as far as that can be told: what Redis 7 computes for what older ones wrote.
fn entries_before(id: StreamId, extent: &Extent, state: StreamState) -> Option<u64> {
    if state.entries_added == 0 {
        return Some(0);
    }
    match (id.cmp(&state.last_id), extent.first) {
        (Ordering::Less, None) | (Ordering::Equal, _) => Some(state.entries_added),
        (Ordering::Less, Some(first)) if id < first => Some(state.entries_added - extent.entries),
        (Ordering::Less, Some(first)) if id == first => Some(state.entries_added - extent.entries + 1),
        _ => None,
    }
}

/// Pending entries of a group, in the order of ids, whose consumers are found one after the other.
struct Owners {
    pending: Vec<Pending>,
    consumers: HashSet<Vec<u8>>,
}

/// The consumer of a pending entry that has none yet.
const NOBODY: u32 = u32::MAX;

impl Owners {
    fn own(&mut self, id: StreamId, consumer: usize) -> Result<(), Malformed> {
        let found = self.pending.binary_search_by_key(&id, |pending| pending.id);
        let index = found.map_err(|_| Malformed("a consumer has an entry that is not pending"))?;
        let owner = &mut self.pending[index].consumer;
        if *owner != NOBODY {
            return Err(Malformed("a pending entry of two consumers"));
        }
        *owner = u32::try_from(consumer).ok().filter(|number| *number != NOBODY).ok_or(TOO_MANY)?;
        Ok(())
    }

    fn finish(self) -> Result<Vec<Pending>, Malformed> {
        if self.pending.iter().any(|pending| pending.consumer == NOBODY) {
            return Err(Malformed("a pending entry of no consumer"));
        }
        Ok(self.pending)
    }
}

const TOO_MANY: Malformed = Malformed("more consumers than a group can have");

fn read_pending<R: Read>(source: &mut Source<R>) -> Result<Vec<Pending>, Error> {
    let mut all: Vec<Pending> = Vec::new();
    for _ in 0..source.length()? {
        let offset = source.offset();
        let id = StreamId::from_bytes(source.array()?);
        let delivered_ms = i64::from_le_bytes(source.array()?);
        if all.last().is_some_and(|last| last.id >= id) {
            return Err(at(offset, Malformed("pending entries that do not ascend")));
        }
        all.push(Pending { id, delivered_ms, deliveries: source.length()?, consumer: NOBODY });
    }
    Ok(all)
}

fn read_consumer<R: Read>(
    source: &mut Source<R>,
    revision: Revision,
    owners: &mut Owners,
    number: usize,
) -> Result<Consumer, Error> {
    let offset = source.offset();
    let name = source.string()?;
    let seen_ms = i64::from_le_bytes(source.array()?);
    let active_ms = match revision {
        Revision::WithActivity => i64::from_le_bytes(source.array()?),
        _ => seen_ms,
    };
    if !owners.consumers.insert(name.clone()) {
        return Err(at(offset, Malformed("a consumer that is there twice")));
    }
    for _ in 0..source.length()? {
        let offset = source.offset();
        let id = StreamId::from_bytes(source.array()?);
        owners.own(id, number).map_err(|malformed| at(offset, malformed))?;
    }
    Ok(Consumer { name, seen_ms, active_ms: Some(active_ms).filter(|ms| *ms != NEVER_ACTIVE) })
}
