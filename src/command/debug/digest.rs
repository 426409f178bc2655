//! DEBUG DIGEST and DIGEST-VALUE: 40 hexadecimal digits that are equal exactly when the content is.
//!
//! The sums are those of Redis, so that a digest here can be compared with one there. Two operations on a sum of 20 bytes: *add*
//! combines it with the SHA-1 of some bytes by exclusive or, so that order does not matter; *chain* adds and then replaces the
//! sum by its own SHA-1, so that it does. Checked against redis-server 7.0.15 in the tests below.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::base::number::format_f64_in_17;
use crate::command::cx::{Cx, Outcome};
use crate::command::walk::each_entry;
use crate::keyspace::collection::stream::Id;
use crate::keyspace::values::{Elements, Fields, Members, Scores};
use crate::keyspace::{EntryRef, Keyspace, Kind};

/// How Redis numbers types.
fn type_number(kind: Kind) -> u32 {
    match kind {
        Kind::String | Kind::Raw | Kind::Text => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::SortedSet => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    }
}

/// What stands for the deadline of a volatile key, whatever it is.
const VOLATILE: &[u8] = b"!!expire!!";
/// What stands for the deadline of a field, whatever it is (Redis 7.4).
const VOLATILE_FIELD: &[u8] = b"!!hexpire!!";

#[derive(Clone, Copy, Default)]
struct Sum([u8; 20]);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.combine(Sum(Sha1::digest(bytes).into()));
    }

    fn chain(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn combine(&mut self, other: Sum) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine ^= theirs;
        }
    }

    fn chain_value(&mut self, keyspace: &Keyspace, entry: EntryRef<'_>) {
        self.chain(&type_number(entry.kind()).to_be_bytes());
        match entry.kind() {
            Kind::Set => {
                let room = &mut itoa::Buffer::new();
                Members::of(keyspace, entry).iter().for_each(|member| self.add(member.bytes(room)));
            }
            Kind::Hash => self.add_fields(Fields::of(keyspace, entry)),
            Kind::List => {
                let room = &mut itoa::Buffer::new();
                Elements::of(entry).iter_from(0).for_each(|element| self.chain(element.bytes(room)));
            }
            Kind::Stream => self.chain_entries(entry),
            Kind::SortedSet => self.add_scores(Scores::of(keyspace, entry)),
            _ => self.chain(entry.value()),
        }
        if entry.expire_at_ms().is_some() {
            self.add(VOLATILE);
        }
    }

    fn add_fields(&mut self, fields: Fields<'_>) {
        let rooms = (&mut itoa::Buffer::new(), &mut itoa::Buffer::new());
        for field in fields.iter() {
            let mut sum = Sum::default();
            sum.chain(field.name.bytes(rooms.0));
            sum.chain(field.value.bytes(rooms.1));
            if field.expire_at_ms.is_some() {
                sum.add(VOLATILE_FIELD);
            }
            self.add(&sum.0);
        }
    }

    /// Of a stream, ids and fields: groups do not count, as in Redis.
    fn chain_entries(&mut self, entry: EntryRef<'_>) {
        let rooms = (&mut itoa::Buffer::new(), &mut itoa::Buffer::new());
        let Some(stream) = entry.root().and_then(|root| root.stream()) else { return };
        for entry in stream.entries().range(Id::ZERO, Id::MAX) {
            self.chain(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
            for (name, value) in entry.fields() {
                self.chain(name.bytes(rooms.0));
                self.chain(value.bytes(rooms.1));
            }
        }
    }

    fn add_scores(&mut self, scores: Scores<'_>) {
        for scored in scores.iter_from(0) {
            let mut sum = Sum::default();
            sum.chain(scored.member.bytes(&mut itoa::Buffer::new()));
            sum.chain(format_f64_in_17(scored.score).as_bytes());
            self.add(&sum.0);
        }
    }

    fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn of_entry(keyspace: &Keyspace, entry: EntryRef<'_>) -> Sum {
    let mut sum = Sum::default();
    sum.chain(entry.key());
    sum.chain_value(keyspace, entry);
    sum
}

pub fn of_everything(cx: &mut Cx<'_, '_>) -> Outcome {
    let (mut sums, now_ms) = (BTreeMap::<usize, Sum>::new(), cx.now_ms());
    let keyspace = &cx.services().keyspace;
    let databases = 0..keyspace.databases();
    each_entry(cx, databases, |database, entry| {
        if !entry.is_expired(now_ms) {
            sums.entry(database).or_default().add(&of_entry(keyspace, entry).0);
        }
    });
    let mut all = Sum::default();
    for (database, keys) in sums {
        all.chain(&(database as u32).to_be_bytes());
        all.combine(keys);
    }
    cx.reply.simple(&all.text());
    Ok(())
}

pub fn of_values(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(cx.args.len() - 2);
    for index in 2..cx.args.len() {
        let key = cx.services().keyspace.key(cx.args.at(index));
        super::lock(cx, key);
        let mut sum = Sum::default();
        // The lock goes before the record of a reclaimed key would be appended.
        if let Some(position) = cx.peek(key) {
            sum.chain_value(&cx.services().keyspace, cx.entry(key, position));
        }
        cx.reply.simple(&sum.text());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::values::exchange::{Builder, EncodingLimits};
    use crate::keyspace::{Entry, KeyHasher, Reclaimer};
    use crate::rdb::value::Sink as _;

    /// `redis-server 8.2.3`: HSET h a 1 b 2, HPEXPIRE h 100000000 FIELDS 1 a.
    #[test]
    fn a_field_with_a_deadline_counts_as_in_redis() {
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0);
        let mut hash = Builder::new(&keyspace, Kind::Hash);
        hash.field(b"a", b"1", Some(1 << 42));
        hash.field(b"b", b"2", None);
        let entry = hash.finish(b"h", EncodingLimits { elements: 512, bytes: 64, integers: 0 });
        let mut value = Sum::default();
        value.chain_value(&keyspace, entry.view());
        assert_eq!(value.text(), "c07db73128914a41e685572f9d83e5ec946f598d");
    }

    #[test]
    fn digests_are_those_of_redis() {
        let mut value = Sum::default();
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0);
        value.chain_value(&keyspace, Entry::new(b"a", b"b").view());
        assert_eq!(value.text(), "b78559cd22bce6e6df712eb99ce7f3b08e8f8f1f");
        let mut all = Sum::default();
        all.chain(&0u32.to_be_bytes());
        all.add(&of_entry(&keyspace, Entry::new(b"a", b"b").view()).0);
        assert_eq!(all.text(), "479783d7290f02957dfbe3408a858ba13eea1709");
    }
}
