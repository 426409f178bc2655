//! Writing values: one encoding a type, which every server reads that reads the version it belongs to.
//!
//! | type | encoding | since version |
//! | --- | --- | --- |
//! | string, list, set, hash, sorted set | strings one after the other, scores in binary | 8 (Redis 4) |
//! | small set of nothing but integers | intset | 3 |
//! | stream | nodes as Redis 7.0 makes them | 10 (Redis 7.0) |
//! | hash with a field that is due some time | fields with times | 12 (Redis 7.4) |

use super::super::source::Source;
use super::super::writer::{WRITTEN_VERSION, put_length, put_string};
use super::super::{length, opcode};
use super::hash::DUE_MS_MAX;
use super::intset;
use super::stream::{ENTRIES_READ_UNKNOWN, Group, Pending, StreamId, StreamState};
use super::stream_nodes::{EntryFields, NodeWriter};
use super::{Kind, Sink};
use crate::base::number::parse_i64;

const LIST: u8 = 1;
const SET: u8 = 2;
const HASH: u8 = 4;
const SORTED_SET: u8 = 5;
const INTSET: u8 = 11;
const STREAM: u8 = 19;
const HASH_WITH_DUE: u8 = 24;
/// The version of a hash whose fields are due some time.
const DUE_VERSION: u16 = 12;

/// Bytes of a count that is written when it is known.
const COUNT_BYTES: usize = 5;
/// Where the count of a collection's elements or nodes is: behind the number of the encoding.
const COUNT_AT: usize = 1;

/// A value as it is written: what stands in a file in front of and behind the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The number of the encoding, and the value.
    pub bytes: Vec<u8>,
    /// The lowest version of files and payloads that may have it.
    pub version: u16,
}

/// A sink that writes the value. It does not look whether elements are there twice.
pub struct Encoder {
    bytes: Vec<u8>,
    /// Elements, or nodes.
    count: u32,
    kept: Kept,
}

/// What is kept back for the end.
enum Kept {
    Nothing,
    /// A set's members, for as long as there are few of them and all are integers.
    Integers(Vec<i64>),
    /// Which fields are due, and when.
    Due(Vec<(u32, i64)>),
    Stream(Box<Entries>),
}

/// How far a stream is written.
#[derive(Default)]
struct Entries {
    node: Option<NodeWriter>,
    entries: u64,
    first: StreamId,
    groups: u32,
    /// Where their count is.
    groups_at: usize,
}

impl Encoder {
    /// Writes a value of this type.
    pub fn new(kind: Kind) -> Encoder {
        let (code, kept) = match kind {
            Kind::String => (opcode::STRING, Kept::Nothing),
            Kind::List => (LIST, Kept::Nothing),
            Kind::Set => (SET, Kept::Integers(Vec::new())),
            Kind::SortedSet => (SORTED_SET, Kept::Nothing),
            Kind::Hash => (HASH, Kept::Due(Vec::new())),
            Kind::Stream => (STREAM, Kept::Stream(Box::default())),
        };
        let mut bytes = vec![code];
        if kind != Kind::String {
            leave_count(&mut bytes);
        }
        Encoder { bytes, count: 0, kept }
    }

    /// The value, whole.
    pub fn finish(mut self) -> Body {
        match self.kept {
            Kept::Integers(integers) if !integers.is_empty() => {
                self.bytes = vec![INTSET];
                put_string(&mut self.bytes, &intset::encode(integers));
                return Body { bytes: self.bytes, version: WRITTEN_VERSION };
            }
            Kept::Due(due) if !due.is_empty() => {
                return Body { bytes: with_due(&self.bytes, self.count, &due), version: DUE_VERSION };
            }
            Kept::Stream(entries) => set_count(&mut self.bytes, entries.groups_at, entries.groups),
            Kept::Nothing | Kept::Integers(_) | Kept::Due(_) => {}
        }
        if self.bytes[0] != opcode::STRING {
            set_count(&mut self.bytes, COUNT_AT, self.count);
        }
        Body { bytes: self.bytes, version: WRITTEN_VERSION }
    }

    /// Writes a member of a set, unless it and all before it are few integers.
    fn put_member(&mut self, member: &[u8]) {
        if let Kept::Integers(integers) = &mut self.kept {
            if let Some(integer) = parse_i64(member)
                && integers.len() < intset::MEMBERS_MAX
            {
                return integers.push(integer);
            }
            let digits = &mut itoa::Buffer::new();
            self.count = integers.len() as u32;
            for integer in std::mem::take(integers) {
                put_string(&mut self.bytes, digits.format(integer).as_bytes());
            }
            self.kept = Kept::Nothing;
        }
        self.put_element(member);
    }

    fn put_element(&mut self, element: &[u8]) {
        put_string(&mut self.bytes, element);
        self.count += 1;
    }
}

impl Sink for Encoder {
    fn string(&mut self, value: Vec<u8>) {
        put_string(&mut self.bytes, &value);
    }

    fn element(&mut self, element: &[u8]) {
        self.put_element(element);
    }

    fn member(&mut self, member: &[u8]) -> bool {
        self.put_member(member);
        true
    }

    fn scored(&mut self, member: &[u8], score: f64) -> bool {
        self.put_element(member);
        self.bytes.extend_from_slice(&score.to_le_bytes());
        true
    }

    fn field(&mut self, field: &[u8], value: &[u8], due_ms: Option<i64>) -> bool {
        if let (Some(due_ms), Kept::Due(due)) = (due_ms, &mut self.kept) {
            // Redis takes a field that is due at 0 for one that never is. Both are long past.
            due.push((self.count, due_ms.clamp(1, DUE_MS_MAX)));
        }
        self.put_element(field);
        put_string(&mut self.bytes, value);
        true
    }

    fn entry(&mut self, id: StreamId, fields: EntryFields<'_>) {
        let Kept::Stream(stream) = &mut self.kept else { return };
        if stream.entries == 0 {
            stream.first = id;
        }
        stream.entries += 1;
        match &mut stream.node {
            Some(node) if node.has_room(fields) => node.push(id, fields),
            node => {
                if let Some(full) = node.replace(NodeWriter::new(id, fields)) {
                    put_node(&mut self.bytes, full);
                    self.count += 1;
                }
            }
        }
    }

    fn stream(&mut self, state: StreamState) {
        let Kept::Stream(stream) = &mut self.kept else { return };
        let out = &mut self.bytes;
        if let Some(last) = stream.node.take() {
            put_node(out, last);
            self.count += 1;
        }
        put_length(out, stream.entries);
        put_id(out, state.last_id);
        put_id(out, stream.first);
        put_id(out, state.max_deleted_id);
        put_length(out, state.entries_added);
        stream.groups_at = out.len();
        leave_count(out);
    }

    fn group(&mut self, group: Group) {
        let Kept::Stream(stream) = &mut self.kept else { return };
        stream.groups += 1;
        put_group(&mut self.bytes, &group);
    }
}

/// Leaves room for a count, in a form that is longer than it may have to be.
fn leave_count(out: &mut Vec<u8>) {
    out.push(length::BITS_32);
    out.extend_from_slice(&[0; COUNT_BYTES - 1]);
}

fn set_count(bytes: &mut [u8], at: usize, count: u32) {
    bytes[at + 1..at + COUNT_BYTES].copy_from_slice(&count.to_be_bytes());
}

/// The encoding of a hash with times, made of the one without.
fn with_due(plain: &[u8], count: u32, due: &[(u32, i64)]) -> Vec<u8> {
    let earliest = due.iter().map(|(_, due_ms)| *due_ms).min().unwrap_or(DUE_MS_MAX);
    let mut bytes = Vec::with_capacity(plain.len() + 2 * count as usize + 4 * due.len() + 8);
    bytes.push(HASH_WITH_DUE);
    bytes.extend_from_slice(&earliest.to_le_bytes());
    put_length(&mut bytes, u64::from(count));
    let fields = &plain[COUNT_AT + COUNT_BYTES..];
    let (mut walk, mut due) = (Source::for_bytes(fields, fields.len()), due.iter().peekable());
    for index in 0..count {
        let start = walk.offset() as usize;
        if walk.skip_string().and_then(|()| walk.skip_string()).is_err() {
            debug_assert!(false, "what was written can be walked over");
            break;
        }
        let this = due.next_if(|(field, _)| *field == index);
        put_length(&mut bytes, this.map_or(0, |(_, due_ms)| (due_ms - earliest + 1) as u64));
        bytes.extend_from_slice(&fields[start..walk.offset() as usize]);
    }
    bytes
}

fn put_node(out: &mut Vec<u8>, node: NodeWriter) {
    put_string(out, &node.id().to_bytes());
    put_string(out, &node.finish());
}

fn put_id(out: &mut Vec<u8>, id: StreamId) {
    put_length(out, id.ms);
    put_length(out, id.number);
}

fn put_group(out: &mut Vec<u8>, group: &Group) {
    put_string(out, &group.name);
    put_id(out, group.last_id);
    put_length(out, group.entries_read.unwrap_or(ENTRIES_READ_UNKNOWN));
    put_length(out, group.pending.len() as u64);
    for pending in &group.pending {
        out.extend_from_slice(&pending.id.to_bytes());
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        put_length(out, pending.deliveries);
    }
    put_length(out, group.consumers.len() as u64);
    let mut by_consumer: Vec<&Pending> = group.pending.iter().collect();
    by_consumer.sort_by_key(|pending| pending.consumer);
    let mut rest = &by_consumer[..];
    for (index, consumer) in group.consumers.iter().enumerate() {
        let (own, others) = rest.split_at(rest.partition_point(|pending| pending.consumer as usize <= index));
        rest = others;
        put_string(out, &consumer.name);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        put_length(out, own.len() as u64);
        own.iter().for_each(|pending| out.extend_from_slice(&pending.id.to_bytes()));
    }
}
