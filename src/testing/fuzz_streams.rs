//! The body of the fuzz target of streams: bytes as changes of a stream and its groups, against maps of the standard library, with everything looked at
//! after each one. Trimming is held against nodes as Redis keeps them: lists in which what is deleted stays as a mark.

use std::collections::BTreeMap;

use crate::keyspace::collection::stream::{Entry, Id, Keep, NodeLimits, Pending, Refused, Stream, Trim};
use crate::keyspace::collection::{Limits, NoCapture};

/// Small, so that a few records split a leaf, and a few leaves an inner node.
const SMALL: Limits = Limits { leaf_bytes: 64, branches: 4 };
/// More take too long to be looked at after each change.
const ENTRIES_MAX: usize = 300;
const GROUPS: [&[u8]; 3] = [b"a", b"group", b""];

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Bytes that are used up one by one; zeros when they are.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A string: often one of few, often a number, rarely longer than a leaf.
    fn word(&mut self) -> Vec<u8> {
        let kind = self.byte();
        match kind % 4 {
            0 => usize::from(kind >> 2).to_string().into_bytes(),
            1 => vec![self.byte(); usize::from(kind >> 3)],
            2 => vec![b'f', kind >> 6],
            _ if kind > 250 => vec![kind; 300],
            _ => Vec::new(),
        }
    }

    /// An id at or around those that are there.
    fn id_of(&mut self, model: &Model) -> Id {
        let (choice, at) = (self.byte(), usize::from(self.byte()));
        let known = model.entries.keys().nth(at % model.entries.len().max(1)).copied().unwrap_or_default();
        match choice % 4 {
            0 => Id { ms: known.ms, seq: u64::from(choice) },
            1 => known.next().unwrap_or(known),
            2 if choice == 2 => Id::MAX,
            _ => known,
        }
    }
}

/// A node as Redis has it: ids, and whether they are there.
type MarkedNode = Vec<(Id, bool)>;

#[derive(Default)]
struct GroupModel {
    last_delivered: Id,
    consumers: BTreeMap<Vec<u8>, i64>,
    pending: BTreeMap<Id, (Vec<u8>, i64, u64)>,
}

#[derive(Default)]
struct Model {
    entries: BTreeMap<Id, Fields>,
    nodes: Vec<MarkedNode>,
    last: Id,
    max_deleted: Id,
    added: u64,
    groups: BTreeMap<Vec<u8>, GroupModel>,
}

fn live(node: &MarkedNode) -> u64 {
    node.iter().filter(|(_, is_there)| *is_there).count() as u64
}

impl Model {
    fn add(&mut self, id: Id, fields: Fields, node_entries: usize) {
        match self.nodes.last_mut() {
            Some(node) if node_entries == 0 || node.len() < node_entries => node.push((id, true)),
            _ => self.nodes.push(vec![(id, true)]),
        }
        self.entries.insert(id, fields);
        (self.last, self.added) = (id, self.added + 1);
    }

    fn remove(&mut self, id: Id) -> bool {
        if self.entries.remove(&id).is_none() {
            return false;
        }
        for node in &mut self.nodes {
            node.iter_mut().filter(|(own, _)| *own == id).for_each(|(_, is_there)| *is_there = false);
        }
        // One that trimming has emptied stays; one that is emptied by a deletion goes.
        self.nodes.retain(|node| live(node) > 0 || node.iter().all(|(own, _)| *own != id));
        self.max_deleted = self.max_deleted.max(id);
        true
    }

    fn trim(&mut self, trim: Trim) -> u64 {
        let mut removed = 0;
        while let Some(node) = self.nodes.first().cloned() {
            let len = self.entries.len() as u64;
            if matches!(trim.keep, Keep::Newest(most) if len <= most)
                || trim.limit > 0 && removed + live(&node) > trim.limit
            {
                break;
            }
            let goes = match trim.keep {
                Keep::Newest(most) => len - live(&node) >= most,
                Keep::From(id) => node[node.len() - 1].0 < id,
            };
            if !goes && trim.whole_nodes {
                break;
            }
            let mut rest = node.clone();
            for (id, is_there) in rest.iter_mut().filter(|(_, is_there)| *is_there) {
                let stays = match trim.keep {
                    Keep::Newest(most) => self.entries.len() as u64 <= most,
                    Keep::From(first) => *id >= first,
                };
                if !stays || goes {
                    self.entries.remove(id);
                    *is_there = false;
                    removed += 1;
                }
            }
            if goes {
                self.nodes.remove(0);
            } else {
                self.nodes[0] = rest;
                break;
            }
        }
        removed
    }
}

/// Any bytes: a stream that says what maps say.
///
/// # Panics
/// When the stream is at fault.
pub fn streams(data: &[u8]) {
    drop(Stream::decode(data));
    let mut input = Input(data);
    let node_entries = usize::from(input.byte() % 12);
    let limits = NodeLimits { entries: node_entries as u64, bytes: 0 };
    let (mut stream, mut model) = (Stream::new(SMALL), Model::default());
    while !input.0.is_empty() {
        match input.byte() % 16 {
            0..6 if model.entries.len() < ENTRIES_MAX => add(&mut input, &mut stream, &mut model, limits),
            6 | 7 => {
                let id = input.id_of(&model);
                assert_eq!(stream.entries_mut().remove(&mut NoCapture, id), model.remove(id));
            }
            8 => trim(&mut input, &mut stream, &mut model),
            9 => ranges(&mut input, &stream, &model),
            10 => groups(&mut input, &mut stream, &mut model),
            11 => stream = again(&stream),
            _ => pending(&mut input, &mut stream, &mut model),
        }
        look_at(&stream, &model);
    }
    let all = stream.entries().range(Id::ZERO, Id::MAX).map(fields_of).collect::<Vec<_>>();
    assert!(all.iter().eq(&model.entries.into_iter().collect::<Vec<_>>()));
}

fn fields_of(entry: Entry<'_>) -> (Id, Fields) {
    let own = |text: crate::keyspace::collection::Text<'_>| text.bytes(&mut itoa::Buffer::new()).to_vec();
    (entry.id, entry.fields().map(|(name, value)| (own(name), own(value))).collect())
}

fn add(input: &mut Input<'_>, stream: &mut Stream, model: &mut Model, limits: NodeLimits) {
    let (step, count) = (input.byte(), usize::from(input.byte() % 3) + 1);
    let id = match step % 4 {
        0 => Id { ms: model.last.ms, seq: u64::from(step) },
        1 if step > 250 => Id { ms: model.last.ms.saturating_add(1 << 45), seq: u64::MAX },
        _ => Id { ms: model.last.ms.saturating_add(u64::from(step)), seq: u64::from(step / 4) },
    };
    let fields: Fields = (0..count).map(|_| (input.word(), input.word())).collect();
    let pairs = fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
    if id <= model.last {
        assert_eq!(stream.add(&mut NoCapture, id, pairs, limits), Err(Refused::NotAbove));
        return;
    }
    assert_eq!(stream.add(&mut NoCapture, id, pairs, limits), Ok(()));
    assert_eq!(stream.entries().get(id).map(fields_of), Some((id, fields.clone())));
    model.add(id, fields, limits.entries as usize);
}

fn trim(input: &mut Input<'_>, stream: &mut Stream, model: &mut Model) {
    let (kind, number) = (input.byte(), input.byte());
    let keep = match kind % 2 {
        0 => Keep::Newest(model.entries.len().saturating_sub(usize::from(number % 32)) as u64),
        _ => Keep::From(input.id_of(model)),
    };
    let whole_nodes = kind & 2 != 0;
    let limit = if whole_nodes && kind & 4 != 0 { u64::from(number % 40) } else { 0 };
    let trim = Trim { keep, whole_nodes, limit };
    assert_eq!(stream.entries_mut().trim(&mut NoCapture, trim), model.trim(trim), "{trim:?}");
}

fn ranges(input: &mut Input<'_>, stream: &Stream, model: &Model) {
    let (start, end) = (input.id_of(model), input.id_of(model));
    let found = stream.entries().range(start, end).map(|entry| entry.id).collect::<Vec<_>>();
    let mut back = stream.entries().range_back(start, end).map(|entry| entry.id).collect::<Vec<_>>();
    back.reverse();
    let expected =
        model.entries.keys().filter(|id| **id >= start && **id <= end).copied().collect::<Vec<_>>();
    assert_eq!((&found, &back), (&expected, &expected), "{start} to {end}");
    assert_eq!(stream.entries().contains(start), model.entries.contains_key(&start));
}

/// The same stream from its bytes, or a copy.
fn again(stream: &Stream) -> Stream {
    let mut bytes = Vec::new();
    stream.encode(&mut bytes);
    let read = Stream::decode_with(&bytes, SMALL).unwrap_or_else(|wrong| panic!("{wrong}"));
    let (mut second, copy) = (Vec::new(), stream.clone());
    read.encode(&mut second);
    assert_eq!(bytes, second, "what is read is written as the same");
    if let Err(wrong) = copy.check() {
        panic!("a copy: {wrong}");
    }
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    drop(Stream::decode(&bytes));
    if bytes.len().is_multiple_of(2) { read } else { copy }
}

fn groups(input: &mut Input<'_>, stream: &mut Stream, model: &mut Model) {
    let (op, name) = (input.byte(), GROUPS[usize::from(input.byte() % 3)]);
    if op % 8 == 0 {
        assert_eq!(stream.remove_group(name), model.groups.remove(name).is_some());
        return;
    }
    let is_new = !model.groups.contains_key(name);
    assert_eq!(stream.add_group(name, model.last, None), is_new);
    if is_new {
        let group = GroupModel { last_delivered: model.last, ..GroupModel::default() };
        model.groups.insert(name.to_vec(), group);
    }
}

fn pending(input: &mut Input<'_>, stream: &mut Stream, model: &mut Model) {
    let name = GROUPS[usize::from(input.byte() % 3)];
    let (op, id, consumer) = (input.byte(), input.id_of(model), vec![b'c', input.byte() % 5]);
    let Some((entries, group)) = stream.group_mut(name) else {
        assert!(!model.groups.contains_key(name));
        return;
    };
    let own = model.groups.get_mut(name).expect("the stream has it");
    let number = group.find_consumer(&consumer);
    assert_eq!(number.is_some(), own.consumers.contains_key(&consumer));
    match (op % 8, number) {
        (0, Some(number)) => {
            let before = own.pending.len();
            own.pending.retain(|_, (owner, ..)| *owner != consumer);
            own.consumers.remove(&consumer);
            assert_eq!(group.remove_consumer(number), (before - own.pending.len()) as u64);
        }
        (1 | 2, _) => {
            let removed = group.remove_pending(id).map(|pending| (pending.delivered_ms, pending.deliveries));
            assert_eq!(removed, own.pending.remove(&id).map(|(_, at_ms, count)| (at_ms, count)));
        }
        (_, None) => {
            group.add_consumer(&consumer, i64::from(op));
            own.consumers.insert(consumer, i64::from(op));
        }
        (_, Some(number)) => {
            let (delivered_ms, deliveries) = (i64::from(op) - 100, u64::from(op));
            group.see(number, delivered_ms);
            group.set_active(number, delivered_ms);
            own.consumers.insert(consumer.clone(), delivered_ms);
            group.set_pending(Pending { id, consumer: number, delivered_ms, deliveries });
            own.pending.insert(id, (consumer, delivered_ms, deliveries));
            if entries.contains(id) && id > group.last_delivered {
                group.advance(entries, id);
                own.last_delivered = id;
            }
        }
    }
    for (number, consumer) in group.consumers() {
        let found = group.pending_of(number, id).map(|pending| pending.id).collect::<Vec<_>>();
        let expected = own.pending.range(id..).filter(|(_, (owner, ..))| owner == consumer.name());
        assert_eq!(found, expected.map(|(id, _)| *id).collect::<Vec<_>>());
    }
}

fn look_at(stream: &Stream, model: &Model) {
    if let Err(wrong) = stream.check() {
        panic!("{wrong}");
    }
    let entries = stream.entries();
    assert_eq!(entries.len(), model.entries.len());
    let first = model.entries.keys().next().copied().unwrap_or_default();
    assert_eq!((entries.first_id(), entries.last_id()), (first, model.last));
    assert_eq!((entries.max_deleted_id(), entries.added()), (model.max_deleted, model.added));
    assert_eq!(entries.greatest(), model.entries.keys().next_back().copied());
    let nodes = entries.nodes().map(|node| (node.first, node.last, u64::from(node.live)));
    let expected = model.nodes.iter().map(|node| (node[0].0, node[node.len() - 1].0, live(node)));
    assert!(nodes.eq(expected), "nodes");
    assert_eq!(stream.group_count(), model.groups.len());
    for ((name, group), (expected_name, expected)) in stream.groups().zip(&model.groups) {
        assert_eq!((name, group.last_delivered), (expected_name.as_slice(), expected.last_delivered));
        let consumers = group.consumers().map(|(_, own)| (own.name(), own.seen_ms));
        assert!(consumers.eq(expected.consumers.iter().map(|(name, at_ms)| (name.as_slice(), *at_ms))));
        let pending = group.pending_from(Id::ZERO).map(|pending| {
            let owner = group.consumer(pending.consumer).name();
            (pending.id, owner, pending.delivered_ms, pending.deliveries)
        });
        let own = expected.pending.iter();
        assert!(pending.eq(own.map(|(id, (owner, at_ms, count))| (*id, owner.as_slice(), *at_ms, *count))));
        assert_eq!(
            group.last_pending().map(|pending| pending.id),
            expected.pending.keys().next_back().copied()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn any_changes_leave_a_stream_that_says_what_maps_say() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let data: Vec<u8> = (0..random.below(3_000)).map(|_| random.next_u64() as u8).collect();
            println!("seed {seed}");
            streams(&data);
        }
    }
}
