//! A stream as bytes, for our own snapshots.
//!
//! ```text
//! version (1) | base | last id | greatest deleted id | entries ever added
//! sets of names:  how many | each: fields, length, names                       as shapes.rs has them; 0 and 0 for a free place
//! nodes:          how many | each: first id, last id, live, deleted, bytes, hash of names
//! entries:        how many | each: its record
//! groups:         how many | each: length, name | last delivered | 1 and entries read, or 0
//!     consumers:  how many | each: length, name | seen | 1 and active, or 0
//!     pending:    how many | each: its record, with the consumer's place in the line above
//! ```
//! Numbers are varints, times folded (`pending.rs`), ids two numbers. Bytes of any origin are read without a panic: what is read is a stream whose
//! parts agree, or an error.

use super::super::tree::Limits;
use super::entry;
use super::group::Group;
use super::id::{self, Base, Id};
use super::nodes::Node;
use super::pending::{Pending, fold, unfold};
use super::{Entries, Stream, shapes};
use crate::storage::encoding::{push_varint, take_varint};

const VERSION: u8 = 1;

const CUT_OFF: &str = "a stream ends early";
const BAD_NAMES: &str = "a stream's field names are not what they should be";
const BAD_ENTRY: &str = "an entry of a stream is not what it should be";
const BAD_ORDER: &str = "a stream's ids are not in order";
const BAD_NODES: &str = "a stream's nodes and entries do not agree";
const BAD_GROUP: &str = "a stream has two groups or consumers of one name";
const BAD_PENDING: &str = "a pending entry of a stream is not what it should be";
const TOO_LONG: &str = "there are bytes behind a stream";

fn push_id(out: &mut Vec<u8>, id: Id) {
    push_varint(out, id.ms);
    push_varint(out, id.seq);
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_option(out: &mut Vec<u8>, number: Option<u64>) {
    push_varint(out, u64::from(number.is_some()));
    if let Some(number) = number {
        push_varint(out, number);
    }
}

impl Stream {
    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_parts(out, true);
    }

    /// Appends its bytes as if no consumer had ever asked for anything, with one node and times that count from 0: when consumers asked, and how a stream came
    /// to be as it lies in memory, is known to nothing but the memory and its snapshots, so streams are compared without.
    pub fn encode_comparable(&self, out: &mut Vec<u8>) {
        self.encode_parts(out, false);
    }

    /// Appends its bytes but for the records of its entries, of which there are so many: how many bytes come before those, those bytes, and the ones behind.
    pub fn encode_around(&self, count: u64, out: &mut Vec<u8>) {
        let mut front = Vec::new();
        self.encode_front(&mut front, self.entries.base, true);
        push_varint(&mut front, count);
        push_bytes(out, &front);
        self.encode_groups(out, self.entries.base, true);
    }

    fn encode_parts(&self, out: &mut Vec<u8>, with_history: bool) {
        let entries = &self.entries;
        let base = if with_history { entries.base } else { Base::default() };
        self.encode_front(out, base, with_history);
        push_varint(out, entries.len() as u64);
        if with_history {
            entries.each_leaf(|records| out.extend_from_slice(records));
        } else {
            entries.each_with_base(base, out);
        }
        self.encode_groups(out, base, with_history);
    }

    fn encode_front(&self, out: &mut Vec<u8>, base: Base, with_history: bool) {
        let entries = &self.entries;
        out.push(VERSION);
        push_varint(out, base.0);
        push_id(out, entries.last_id());
        push_id(out, entries.max_deleted_id());
        push_varint(out, entries.added());
        push_varint(out, entries.shapes.iter().len() as u64);
        for shape in entries.shapes.iter() {
            push_varint(out, shape.fields() as u64);
            push_bytes(out, shape.names());
        }
        if with_history {
            push_varint(out, entries.node_count() as u64);
            entries.nodes().for_each(|node| push_node(out, node));
        } else {
            push_varint(out, u64::from(!entries.is_empty()));
            entries.as_one_node().into_iter().for_each(|node| push_node(out, node));
        }
    }

    fn encode_groups(&self, out: &mut Vec<u8>, base: Base, with_history: bool) {
        push_varint(out, self.group_count() as u64);
        for (name, group) in self.groups() {
            push_bytes(out, name);
            push_group(out, group, base, with_history);
        }
    }

    /// The stream whose bytes [`Stream::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are none that it writes.
    pub fn decode(bytes: &[u8]) -> Result<Stream, &'static str> {
        Stream::decode_with(bytes, Limits::USUAL)
    }

    /// The same, with other limits of its trees.
    ///
    /// # Errors
    /// As [`Stream::decode`].
    pub fn decode_with(bytes: &[u8], limits: Limits) -> Result<Stream, &'static str> {
        let mut rest = Rest(bytes);
        if rest.number()? != u64::from(VERSION) {
            return Err("a stream is of an unknown version");
        }
        let mut stream = Stream::new(limits);
        let entries = &mut stream.entries;
        entries.set_base(Base(rest.number()?));
        let (last, max_deleted) = (rest.id()?, rest.id()?);
        entries.set_last_id(last, Some(rest.number()?), Some(max_deleted));
        for _ in 0..rest.number()? {
            let (fields, names) = (rest.number()?, rest.bytes()?);
            if shapes::strings_in(names).map(|found| found as u64) != Some(fields) {
                return Err(BAD_NAMES);
            }
            entries.shapes.load(names, fields as usize).ok_or(BAD_NAMES)?;
        }
        for _ in 0..rest.number()? {
            let (first, last) = (rest.id()?, rest.id()?);
            let mut numbers = [0; 4];
            for number in &mut numbers {
                *number = u32::try_from(rest.number()?).map_err(|_| BAD_NODES)?;
            }
            let [live, deleted, bytes, names_hash] = numbers;
            if entries.nodes.last().is_some_and(|before| before.last >= first) || last < first {
                return Err(BAD_NODES);
            }
            entries.nodes.push(Node { first, last, live, deleted, bytes, names_hash });
        }
        rest.entries(entries)?;
        for _ in 0..rest.number()? {
            rest.group(&mut stream)?;
        }
        if rest.0.is_empty() { Ok(stream) } else { Err(TOO_LONG) }
    }
}

/// What [`Stream::encode`] would have written, from what [`Stream::encode_around`] did and the records of the leaves, which come in any order. `None` if
/// it is none of that.
pub fn join(around: &[u8], leaves: &mut [Vec<u8>]) -> Option<Vec<u8>> {
    let mut rest = Rest(around);
    let front = rest.bytes().ok()?;
    let mut behind_version = front.get(1..)?;
    let base = Base(take_varint(&mut behind_version)?);
    let is_entry = |records: &Vec<u8>| records.first().is_some_and(|head| id::checked_len(*head).is_some());
    if !leaves.iter().all(is_entry) {
        return None;
    }
    leaves.sort_by_key(|records| base.read(records).0);
    let mut whole = front.to_vec();
    leaves.iter().for_each(|records| whole.extend_from_slice(records));
    whole.extend_from_slice(rest.0);
    Some(whole)
}

fn push_node(out: &mut Vec<u8>, node: Node) {
    push_id(out, node.first);
    push_id(out, node.last);
    for number in [node.live, node.deleted, node.bytes, node.names_hash] {
        push_varint(out, u64::from(number));
    }
}

fn push_group(out: &mut Vec<u8>, group: &Group, base: Base, with_history: bool) {
    push_id(out, group.last_delivered);
    push_option(out, group.entries_read);
    push_varint(out, group.consumer_count() as u64);
    let mut places = Vec::new();
    for (place, (number, consumer)) in group.consumers().enumerate() {
        push_bytes(out, consumer.name());
        push_varint(out, if with_history { fold(consumer.seen_ms) } else { 0 });
        push_option(out, consumer.active_ms.filter(|_| with_history).map(fold));
        places.resize(places.len().max(number as usize + 1), 0);
        places[number as usize] = place as u32;
    }
    push_varint(out, group.pending_count() as u64);
    for pending in group.pending_from(Id::ZERO) {
        Pending { consumer: places[pending.consumer as usize], ..pending }.push(out, base);
    }
}

/// Bytes that were not read yet.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn number(&mut self) -> Result<u64, &'static str> {
        take_varint(&mut self.0).ok_or(CUT_OFF)
    }

    fn id(&mut self) -> Result<Id, &'static str> {
        Ok(Id { ms: self.number()?, seq: self.number()? })
    }

    fn bytes(&mut self) -> Result<&'b [u8], &'static str> {
        let len = self.number()?;
        let (bytes, rest) = self.0.split_at_checked(len as usize).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn option(&mut self) -> Result<Option<u64>, &'static str> {
        if self.number()? == 0 { Ok(None) } else { self.number().map(Some) }
    }

    fn entries(&mut self, entries: &mut Entries) -> Result<(), &'static str> {
        let nodes: Vec<Node> = entries.nodes().collect();
        let mut left = self.number()?;
        if nodes.iter().map(|node| u64::from(node.live)).sum::<u64>() != left {
            return Err(BAD_NODES);
        }
        let mut nodes = nodes.into_iter();
        let mut before = None;
        // How many entries the present node still has.
        let (mut node, mut own) = (None, 0);
        while left > 0 {
            let record = self.entry()?;
            if !entry::is_sound(record, &entries.shapes) {
                return Err(BAD_ENTRY);
            }
            let (id, _) = entries.base.read(record);
            if before.is_some_and(|before| before >= id) || id > entries.last_id() {
                return Err(BAD_ORDER);
            }
            while own == 0 {
                node = nodes.next();
                own = node.ok_or(BAD_NODES)?.live;
            }
            if node.is_none_or(|node| id < node.first || id > node.last) {
                return Err(BAD_NODES);
            }
            entries.load(record);
            (before, own, left) = (Some(id), own - 1, left - 1);
        }
        Ok(())
    }

    /// The next entry's record.
    fn entry(&mut self) -> Result<&'b [u8], &'static str> {
        let id_len = self.0.first().and_then(|head| id::checked_len(*head)).ok_or(BAD_ENTRY)?;
        let mut behind = self.0.get(id_len..).ok_or(CUT_OFF)?;
        let len = take_varint(&mut behind).ok_or(CUT_OFF)?;
        if len > behind.len() as u64 {
            return Err(CUT_OFF);
        }
        let (record, rest) = self.0.split_at(self.0.len() - behind.len() + len as usize);
        self.0 = rest;
        Ok(record)
    }

    fn group(&mut self, stream: &mut Stream) -> Result<(), &'static str> {
        let (name, base) = (self.bytes()?, stream.entries.base);
        let (last_delivered, entries_read) = (self.id()?, self.option()?);
        if !stream.add_group(name, last_delivered, entries_read) {
            return Err(BAD_GROUP);
        }
        let (_, group) = stream.group_mut(name).ok_or(BAD_GROUP)?;
        let mut numbers = Vec::new();
        for _ in 0..self.number()? {
            let (name, seen_ms) = (self.bytes()?, unfold(self.number()?));
            if group.find_consumer(name).is_some() {
                return Err(BAD_GROUP);
            }
            let number = group.add_consumer(name, seen_ms);
            if let Some(active_ms) = self.option()? {
                group.set_active(number, unfold(active_ms));
            }
            numbers.push(number);
        }
        let mut before = None;
        for _ in 0..self.number()? {
            self.0.first().and_then(|head| id::checked_len(*head)).ok_or(BAD_PENDING)?;
            let pending = Pending::take(&mut self.0, base).ok_or(CUT_OFF)?;
            if before.is_some_and(|before| before >= pending.id) {
                return Err(BAD_ORDER);
            }
            before = Some(pending.id);
            let consumer = numbers.get(pending.consumer as usize).ok_or(BAD_PENDING)?;
            group.set_pending(Pending { consumer: *consumer, ..pending });
        }
        Ok(())
    }
}
