//! Streams on their way in and out (`exchange.rs`): entries first, then what is remembered of those that are gone, then groups.

use crate::keyspace::collection::NoCapture;
use crate::keyspace::collection::stream::{Entry, Group, Id, NodeLimits, Pending, Stream};
use crate::rdb::value::{self as rdb, EntryFields, Sink, StreamId, StreamState, Strings};

fn id_of(id: StreamId) -> Id {
    Id::new(id.ms, id.number)
}

fn rdb_id_of(id: Id) -> StreamId {
    StreamId { ms: id.ms, number: id.seq }
}

/// Gives everything in a stream to a sink.
pub(super) fn give(stream: &Stream, sink: &mut dyn Sink) {
    let entries = stream.entries();
    let mut strings = Strings::default();
    for entry in entries.range(Id::ZERO, Id::MAX) {
        give_entry(entry, &mut strings, sink);
    }
    sink.stream(StreamState {
        last_id: rdb_id_of(entries.last_id()),
        max_deleted_id: rdb_id_of(entries.max_deleted_id()),
        entries_added: entries.added(),
    });
    for (name, group) in stream.groups() {
        sink.group(rdb_group_of(name, group));
    }
}

fn give_entry(entry: Entry<'_>, strings: &mut Strings, sink: &mut dyn Sink) {
    strings.clear();
    let digits = &mut itoa::Buffer::new();
    for (name, value) in entry.fields() {
        strings.push(name.bytes(digits));
        strings.push(value.bytes(digits));
    }
    sink.entry(rdb_id_of(entry.id), EntryFields::in_turn(strings));
}

fn rdb_group_of(name: &[u8], group: &Group) -> rdb::Group {
    let mut places = Vec::new();
    let mut consumers = Vec::with_capacity(group.consumer_count());
    for (number, consumer) in group.consumers() {
        places.resize(places.len().max(number as usize + 1), 0);
        places[number as usize] = consumers.len() as u32;
        consumers.push(rdb::Consumer {
            name: consumer.name().to_vec(),
            seen_ms: consumer.seen_ms,
            active_ms: consumer.active_ms,
        });
    }
    let pending = group.pending_from(Id::ZERO).map(|pending| rdb::Pending {
        id: rdb_id_of(pending.id),
        delivered_ms: pending.delivered_ms,
        deliveries: pending.deliveries,
        consumer: places[pending.consumer as usize],
    });
    rdb::Group {
        name: name.to_vec(),
        last_id: rdb_id_of(group.last_delivered),
        entries_read: group.entries_read,
        pending: pending.collect(),
        consumers,
    }
}

/// Adds an entry. Where Redis would divide the stream follows from the directives' defaults.
pub(super) fn add(stream: &mut Stream, id: StreamId, fields: EntryFields<'_>) {
    let added = stream.add(&mut NoCapture, id_of(id), fields.iter(), NodeLimits::USUAL);
    debug_assert!(added.is_ok(), "ids ascend, and a payload has room for each entry");
}

/// What is remembered, behind the last entry.
pub(super) fn remember(stream: &mut Stream, state: StreamState) {
    let last = id_of(state.last_id).max(stream.entries().last_id());
    stream.entries_mut().set_last_id(last, Some(state.entries_added), Some(id_of(state.max_deleted_id)));
}

pub(super) fn add_group(stream: &mut Stream, group: &rdb::Group) {
    stream.add_group(&group.name, id_of(group.last_id), group.entries_read);
    let Some((_, own)) = stream.group_mut(&group.name) else { return };
    let mut numbers = Vec::with_capacity(group.consumers.len());
    for consumer in &group.consumers {
        let number = own.add_consumer(&consumer.name, consumer.seen_ms);
        if let Some(active_ms) = consumer.active_ms {
            own.set_active(number, active_ms);
        }
        numbers.push(number);
    }
    for pending in &group.pending {
        let Some(consumer) = numbers.get(pending.consumer as usize).copied() else { continue };
        let (id, delivered_ms) = (id_of(pending.id), pending.delivered_ms);
        own.set_pending(Pending { id, consumer, delivered_ms, deliveries: pending.deliveries });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::value::{Collector, Kind};

    #[test]
    fn what_is_built_of_a_stream_gives_the_same_stream() {
        let mut stream = Stream::default();
        for ms in 1..300u64 {
            let value = ms.to_string();
            let fields = [(&b"field"[..], value.as_bytes()), (b"12", b"")];
            let fields = &fields[..1 + ms as usize % 2];
            stream
                .add(&mut NoCapture, Id::new(ms / 3, ms), fields.iter().copied(), NodeLimits::USUAL)
                .expect("a higher id");
        }
        stream.entries_mut().remove(&mut NoCapture, Id::new(5, 16));
        stream.add_group(b"group", Id::new(50, 0), Some(20));
        stream.add_group(b"other", Id::ZERO, None);
        let (_, group) = stream.group_mut(b"group").expect("it was added");
        let gone = group.add_consumer(b"gone", 1);
        let consumers = [b"b".as_slice(), b"a"].map(|name| group.add_consumer(name, 7));
        group.remove_consumer(gone);
        group.set_active(consumers[1], 8);
        for ms in 1..40u64 {
            let consumer = consumers[ms as usize % 2];
            group.set_pending(Pending { id: Id::new(ms, 0), consumer, delivered_ms: 5, deliveries: ms });
        }
        let mut built = Stream::default();
        let mut collected = [Collector::new(Kind::Stream), Collector::new(Kind::Stream)];
        give(&stream, &mut Into(&mut built));
        built.check().expect("a stream");
        give(&stream, &mut collected[0]);
        give(&built, &mut collected[1]);
        let [first, second] = collected.map(Collector::into_value);
        assert_eq!(first, second);
    }

    /// Makes a stream, as a builder does.
    struct Into<'s>(&'s mut Stream);

    impl Sink for Into<'_> {
        fn string(&mut self, _: Vec<u8>) {}
        fn element(&mut self, _: &[u8]) {}
        fn member(&mut self, _: &[u8]) -> bool {
            false
        }
        fn scored(&mut self, _: &[u8], _: f64) -> bool {
            false
        }
        fn field(&mut self, _: &[u8], _: &[u8], _: Option<i64>) -> bool {
            false
        }
        fn entry(&mut self, id: StreamId, fields: EntryFields<'_>) {
            add(self.0, id, fields);
        }
        fn stream(&mut self, state: StreamState) {
            remember(self.0, state);
        }
        fn group(&mut self, group: rdb::Group) {
            add_group(self.0, &group);
        }
    }
}
