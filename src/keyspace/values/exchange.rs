//! Values on their way in and out, element by element: making an entry of what comes from a dump or a payload, and giving an entry's elements to one
//! that is written. Both ends meet in [`Sink`], which knows RDB's types and nothing of forms.

use super::{Form, Level, exchange_streams};
use crate::base::number::parse_i64;
use crate::keyspace::collection::stream::Stream;
use crate::keyspace::collection::{
    Bound, ByHash, ByPosition, ByScore, Draft, Field, Integers, NoCapture, Order, Packed, Scored, Shape,
    element, text,
};
use crate::keyspace::root::Body;
use crate::keyspace::{Entry, EntryRef, Keyspace, Kind, Root};
use crate::rdb::value::{self as rdb, EntryFields, Group, Sink, StreamId, StreamState};

/// The kind of a value of a type in RDB.
pub fn kind_of(kind: rdb::Kind) -> Kind {
    match kind {
        rdb::Kind::String => Kind::String,
        rdb::Kind::List => Kind::List,
        rdb::Kind::Set => Kind::Set,
        rdb::Kind::SortedSet => Kind::SortedSet,
        rdb::Kind::Hash => Kind::Hash,
        rdb::Kind::Stream => Kind::Stream,
    }
}

/// The type in RDB of a kind of value.
pub fn rdb_kind_of(kind: Kind) -> rdb::Kind {
    match kind {
        Kind::String | Kind::Raw | Kind::Text => rdb::Kind::String,
        Kind::List => rdb::Kind::List,
        Kind::Set => rdb::Kind::Set,
        Kind::SortedSet => rdb::Kind::SortedSet,
        Kind::Hash => rdb::Kind::Hash,
        Kind::Stream => rdb::Kind::Stream,
    }
}

/// Gives everything in a value to a sink.
pub fn give(entry: EntryRef<'_>, sink: &mut dyn Sink) {
    let kind = entry.kind();
    if kind.is_string() {
        return sink.string(entry.value().to_vec());
    }
    if let Some(stream) = entry.root().and_then(Root::stream) {
        return exchange_streams::give(stream, sink);
    }
    let mut records = |records: &[u8]| give_records(kind, records, sink);
    match Form::of(entry) {
        Form::Packed(packed) => records(packed.records()),
        Form::Integers(integers) => {
            for integer in integers.iter() {
                sink.member(itoa::Buffer::new().format(integer).as_bytes());
            }
        }
        Form::Root(root) => match (&root.body, kind) {
            (Body::SortedSet(set), _) => set.scores().each_leaf::<ByScore>(records),
            (Body::Tree(tree), Kind::List) => tree.each_leaf::<ByPosition>(records),
            (Body::Tree(tree), _) => tree.each_leaf::<ByHash<'_>>(records),
            (Body::Stream(_), _) => {}
        },
    }
}

/// Gives records that lie one behind the other.
fn give_records(kind: Kind, mut records: &[u8], sink: &mut dyn Sink) {
    let [one, other] = &mut [itoa::Buffer::new(), itoa::Buffer::new()];
    while !records.is_empty() {
        let len = match kind {
            Kind::SortedSet => ByScore.len_of(records),
            Kind::Set => Shape::Member.len_of(records),
            Kind::Hash => Shape::FieldAndValue.len_of(records),
            _ => ByPosition.len_of(records),
        };
        let (record, rest) = records.split_at(len.clamp(1, records.len()));
        records = rest;
        match kind {
            Kind::SortedSet => {
                let scored = Scored::read(record);
                sink.scored(scored.member.bytes(one), scored.score);
            }
            Kind::Set => {
                sink.member(Field::read(record, Shape::Member).name.bytes(one));
            }
            Kind::Hash => {
                let field = Field::read(record, Shape::FieldAndValue);
                sink.field(field.name.bytes(one), field.value.bytes(other), field.expire_at_ms);
            }
            _ => sink.element(text::read(record).0.bytes(one)),
        }
    }
}

/// The value of an entry as RDB has it.
pub fn encode(entry: EntryRef<'_>) -> rdb::Body {
    let mut encoder = rdb::Encoder::new(rdb_kind_of(entry.kind()));
    give(entry, &mut encoder);
    encoder.finish()
}

/// Up to how many elements, how long strings and how many integers Redis keeps the first encodings of a type.
#[derive(Clone, Copy, Debug)]
pub struct EncodingLimits {
    pub elements: u64,
    pub bytes: u64,
    pub integers: u64,
}

/// A sink that makes an entry of one key. Each element is at once where it will stay: in the bytes of a small collection, or in the tree of a large one.
pub struct Builder<'k> {
    keyspace: &'k Keyspace,
    kind: Kind,
    made: Made,
    longest: usize,
    /// All elements so far are integers, in their usual spelling.
    integers_only: bool,
    due_ms: i64,
    record: Vec<u8>,
}

/// What a builder has made so far.
enum Made {
    String(Vec<u8>),
    /// Ascending.
    Integers(Vec<i64>),
    Packed(Vec<u8>),
    Large(Box<Root>),
}

impl<'k> Builder<'k> {
    /// Makes a value of this kind.
    pub fn new(keyspace: &'k Keyspace, kind: Kind) -> Builder<'k> {
        let made = match kind {
            Kind::Set => Made::Integers(Vec::new()),
            Kind::Stream => Made::Large(Box::new(Root::new(kind, 0, &keyspace.limits()))),
            _ if kind.is_string() => Made::String(Vec::new()),
            _ => Made::Packed(Packed::EMPTY.to_vec()),
        };
        let (longest, integers_only, due_ms) = (0, kind == Kind::Set, i64::MAX);
        Builder { keyspace, kind, made, longest, integers_only, due_ms, record: Vec::new() }
    }

    /// The entry of this key, with the encoding that Redis would choose within these limits.
    pub fn finish(self, key: &[u8], limits: EncodingLimits) -> Entry {
        let level = self.level(limits) as u8;
        let mut entry = match self.made {
            Made::String(value) => return Entry::new(key, &value),
            Made::Integers(integers) => {
                let mut value = Vec::new();
                Integers::push(&mut value, level, integers.iter().copied());
                Entry::new(key, &value).with_kind(self.kind)
            }
            Made::Packed(mut value) => {
                value[2] = level;
                Entry::new(key, &value).with_kind(self.kind)
            }
            Made::Large(mut root) => {
                root.level = level;
                Entry::with_root(key, self.kind, root)
            }
        };
        entry.view_mut().set_timed(self.due_ms < i64::MAX);
        entry
    }

    fn level(&self, limits: EncodingLimits) -> Level {
        let elements = self.len() as u64;
        let is_first = match self.kind {
            // Redis has one encoding of it, so a list is the same however it was made.
            Kind::Stream | Kind::List => true,
            Kind::Set => self.integers_only && elements <= limits.integers,
            _ => elements <= limits.elements && self.longest as u64 <= limits.bytes,
        };
        if is_first { Level::First } else { Level::Table }
    }

    fn len(&self) -> usize {
        match &self.made {
            Made::String(_) => 1,
            Made::Integers(integers) => integers.len(),
            Made::Packed(value) => Packed::of(value).count(),
            Made::Large(root) => root.len(),
        }
    }

    /// The order of a hash or a set.
    fn by_hash(&self) -> ByHash<'k> {
        let shape = if self.kind == Kind::Hash { Shape::FieldAndValue } else { Shape::Member };
        ByHash { hasher: self.keyspace.hasher(), shape }
    }

    /// The stream that is being made, if it is one.
    fn stream_mut(&mut self) -> Option<&mut Stream> {
        match &mut self.made {
            Made::Large(root) => match &mut root.body {
                Body::Stream(stream) => Some(stream),
                Body::Tree(_) | Body::SortedSet(_) => None,
            },
            _ => None,
        }
    }

    /// Puts an integer into a set of nothing but few integers; `None` if it is not that any more.
    fn add_integer(&mut self, integer: Option<i64>) -> Option<bool> {
        if let (Made::Integers(integers), Some(integer)) = (&mut self.made, integer) {
            let Err(place) = integers.binary_search(&integer) else { return Some(false) };
            integers.insert(place, integer);
            let count = integers.len();
            let span = integers[count - 1].abs_diff(integers[0]);
            let bytes = Integers::bytes_for(count, span);
            if self.keyspace.limits().is_small(count, bytes) && u16::try_from(count).is_ok() {
                return Some(true);
            }
            integers.remove(place);
        }
        self.leave_integers();
        None
    }

    /// Makes a set of integers a set like others.
    fn leave_integers(&mut self) {
        let Made::Integers(integers) = &mut self.made else { return };
        let integers = std::mem::take(integers);
        self.made = Made::Packed(Packed::EMPTY.to_vec());
        let digits = &mut itoa::Buffer::new();
        for integer in integers {
            self.record.clear();
            Field::push(&mut self.record, digits.format(integer).as_bytes(), None, None);
            self.add_named(digits.format(integer).as_bytes());
        }
    }

    /// Puts the record, whose member or field this is, into a hash or a set; false if it is there.
    fn add_named(&mut self, name: &[u8]) -> bool {
        let order = self.by_hash();
        if let Made::Packed(value) = &self.made {
            let packed = Packed::of(value);
            if packed.find_name(&order, name).is_some() {
                return false;
            }
            if self.put_if_small(|_| None) {
                return true;
            }
        }
        let record = std::mem::take(&mut self.record);
        let is_new = self.place(&record, name);
        self.record = record;
        is_new
    }

    /// Puts the record into a small collection, at this place or behind all others, if it stays a small one.
    fn put_if_small(&mut self, place: impl FnOnce(Packed<'_>) -> Option<usize>) -> bool {
        let Made::Packed(value) = &mut self.made else { return false };
        let (len, packed) = (value.len(), Packed::of(value));
        let splice = packed.insert(place(packed).unwrap_or(len), &self.record);
        let after = splice.len_after(len);
        if !self.keyspace.limits().is_small(usize::from(splice.count), after) {
            return false;
        }
        value.resize(after.max(len), 0);
        splice.apply(value, len);
        true
    }

    /// Puts a record into a large collection, which it becomes if it is not one yet.
    fn place(&mut self, record: &[u8], name: &[u8]) -> bool {
        if let Made::Packed(value) = &mut self.made {
            let value = std::mem::take(value);
            self.made = Made::Large(Box::new(Root::new(self.kind, 0, &self.keyspace.limits())));
            self.place_all(Packed::of(&value).records());
        }
        let (order, hasher) = (self.by_hash(), self.keyspace.hasher());
        let Made::Large(root) = &mut self.made else { return false };
        match (&mut root.body, self.kind) {
            (Body::Tree(tree), Kind::List) => {
                let end = tree.place_at(tree.len());
                tree.insert(&ByPosition, &mut NoCapture, &end, record);
                true
            }
            (Body::Tree(tree), _) => match tree.find(&order, order.name(name)) {
                Ok(_) => false,
                Err(place) => {
                    tree.insert(&order, &mut NoCapture, &place, record);
                    true
                }
            },
            (Body::SortedSet(set), _) => {
                if set.score(hasher, name).is_some() {
                    return false;
                }
                set.set(hasher, &mut NoCapture, name, Scored::read(record).score);
                true
            }
            (Body::Stream(_), _) => false,
        }
    }

    /// Puts the records of a small collection into the large one that it becomes.
    fn place_all(&mut self, mut records: &[u8]) {
        let digits = &mut itoa::Buffer::new();
        while !records.is_empty() {
            let (len, name) = match self.kind {
                Kind::List => (ByPosition.len_of(records), &b""[..]),
                Kind::SortedSet => (ByScore.len_of(records), Scored::read(records).member.bytes(digits)),
                _ => {
                    let order = self.by_hash();
                    (order.len_of(records), Field::read(records, order.shape).name.bytes(digits))
                }
            };
            let (record, rest) = records.split_at(len.clamp(1, records.len()));
            self.place(record, name);
            records = rest;
        }
    }
}

impl Sink for Builder<'_> {
    fn string(&mut self, value: Vec<u8>) {
        self.made = Made::String(value);
    }

    fn element(&mut self, element: &[u8]) {
        self.longest = self.longest.max(element.len());
        self.record.clear();
        self.record.extend_from_slice(&element::record(element));
        if !self.put_if_small(|_| None) {
            let record = std::mem::take(&mut self.record);
            self.place(&record, b"");
            self.record = record;
        }
    }

    fn member(&mut self, member: &[u8]) -> bool {
        self.longest = self.longest.max(member.len());
        let integer = parse_i64(member);
        self.integers_only &= integer.is_some();
        if let Some(is_new) = self.add_integer(integer) {
            return is_new;
        }
        self.record.clear();
        Field::push(&mut self.record, member, None, None);
        self.add_named(member)
    }

    fn scored(&mut self, member: &[u8], score: f64) -> bool {
        self.longest = self.longest.max(member.len());
        let draft = Draft::of(member);
        self.record.clear();
        Scored::push(&mut self.record, score, member);
        if let Made::Packed(value) = &self.made {
            if Packed::of(value).iter(&ByScore).any(|record| Scored::member_bytes(record) == draft.member()) {
                return false;
            }
            if self.put_if_small(|packed| packed.search(&ByScore, Bound::At(score, member)).err()) {
                return true;
            }
        }
        let record = std::mem::take(&mut self.record);
        let is_new = self.place(&record, member);
        self.record = record;
        is_new
    }

    fn field(&mut self, field: &[u8], value: &[u8], due_ms: Option<i64>) -> bool {
        self.longest = self.longest.max(field.len()).max(value.len());
        self.due_ms = self.due_ms.min(due_ms.unwrap_or(i64::MAX));
        self.record.clear();
        Field::push(&mut self.record, field, Some(value), due_ms);
        self.add_named(field)
    }

    fn entry(&mut self, id: StreamId, fields: EntryFields<'_>) {
        if let Some(stream) = self.stream_mut() {
            exchange_streams::add(stream, id, fields);
        }
    }

    fn stream(&mut self, state: StreamState) {
        if let Some(stream) = self.stream_mut() {
            exchange_streams::remember(stream, state);
        }
    }

    fn group(&mut self, group: Group) {
        if let Some(stream) = self.stream_mut() {
            exchange_streams::add_group(stream, &group);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::values::encoding_name;
    use crate::keyspace::{KeyHasher, Reclaimer, ValueLimits};
    use crate::rdb::value::{Collector, Value};

    const KINDS: [Kind; 4] = [Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash];
    const LIMITS: EncodingLimits = EncodingLimits { elements: 128, bytes: 64, integers: 512 };

    fn keyspace(limits: ValueLimits) -> Keyspace {
        let mut keyspace = Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0);
        keyspace.limits = limits;
        keyspace
    }

    fn text(random: &mut Random, numbers: bool) -> Vec<u8> {
        match random.below(8) {
            _ if numbers => (random.next_u64() as i64 >> (random.below(5) * 14)).to_string().into_bytes(),
            0 => vec![b'z'; random.below(90) as usize],
            1 => vec![b'y'; random.below(9000) as usize],
            2 => random.below(300).to_string().into_bytes(),
            _ => (0..random.below(9)).map(|_| random.next_u64() as u8).collect(),
        }
    }

    /// Gives an element to both sinks, which agree about whether it is new.
    fn add(random: &mut Random, kind: Kind, numbers: bool, both: [&mut dyn Sink; 2]) {
        let [one, other] = both;
        let (name, value) = (text(random, numbers), text(random, false));
        let score = random.below(9) as f64 / 4.0 - 1.0;
        let due_ms = (random.below(4) == 0).then(|| random.below(1 << 40) as i64);
        let into = |sink: &mut dyn Sink| match kind {
            Kind::List => {
                sink.element(&name);
                true
            }
            Kind::Set => sink.member(&name),
            Kind::SortedSet => sink.scored(&name, score),
            _ => sink.field(&name, &value, due_ms),
        };
        assert_eq!(into(one), into(other), "{}", name.escape_ascii());
    }

    #[test]
    fn what_is_built_gives_the_same_elements() {
        for limits in [ValueLimits::of_leaves(64), ValueLimits::default()] {
            let keyspace = keyspace(limits);
            for seed in 0..160u64 {
                let random = &mut Random::new(seed);
                let kind = KINDS[seed as usize % KINDS.len()];
                let numbers = random.below(3) == 0;
                let mut builder = Builder::new(&keyspace, kind);
                let mut model = Model(Collector::new(rdb_kind_of(kind)));
                let most = if random.below(3) == 0 { 900 } else { 20 };
                let count = 1 + random.below(most);
                for _ in 0..count {
                    add(random, kind, numbers, [&mut builder, &mut model]);
                }
                let entry = builder.finish(b"key", LIMITS);
                assert_eq!((entry.view().key(), entry.view().kind()), (&b"key"[..], kind));
                let mut found = Collector::new(rdb_kind_of(kind));
                give(entry.view(), &mut found);
                let (found, expected) = (found.into_value().sorted(), model.0.into_value().sorted());
                assert_eq!(found, expected, "seed {seed}");
                let has_due = matches!(&expected, Value::Hash(fields) if fields.iter().any(|field| field.due_ms.is_some()));
                assert_eq!(entry.view().is_timed(), has_due, "seed {seed}");
                if let Some(Body::Tree(tree)) = entry.view().root().map(|root| &root.body) {
                    let shape = if kind == Kind::Hash { Shape::FieldAndValue } else { Shape::Member };
                    let by_hash = ByHash { hasher: keyspace.hasher(), shape };
                    let outcome =
                        if kind == Kind::List { tree.check(&ByPosition) } else { tree.check(&by_hash) };
                    outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                }
            }
        }
    }

    /// A collector that keeps only what is new.
    struct Model(Collector);

    impl Sink for Model {
        fn string(&mut self, value: Vec<u8>) {
            self.0.string(value);
        }
        fn element(&mut self, element: &[u8]) {
            self.0.element(element);
        }
        fn member(&mut self, member: &[u8]) -> bool {
            !self.0.has(member) && self.0.member(member)
        }
        fn scored(&mut self, member: &[u8], score: f64) -> bool {
            !self.0.has(member) && self.0.scored(member, score)
        }
        fn field(&mut self, field: &[u8], value: &[u8], due_ms: Option<i64>) -> bool {
            !self.0.has(field) && self.0.field(field, value, due_ms)
        }
        fn entry(&mut self, _: StreamId, _: EntryFields<'_>) {}
        fn stream(&mut self, _: StreamState) {}
        fn group(&mut self, _: Group) {}
    }

    #[test]
    fn the_encoding_is_the_one_that_redis_would_choose() {
        let keyspace = keyspace(ValueLimits::default());
        let set = |members: &mut dyn Iterator<Item = String>| {
            let mut builder = Builder::new(&keyspace, Kind::Set);
            members.for_each(|member| assert!(builder.member(member.as_bytes())));
            encoding_name(builder.finish(b"k", LIMITS).view())
        };
        assert_eq!(set(&mut (0..512).map(|number| number.to_string())), "intset");
        assert_eq!(set(&mut (0..513).map(|number| number.to_string())), "hashtable");
        let mut mixed = (0..5).map(|number| if number < 4 { number.to_string() } else { "x".into() });
        assert_eq!(set(&mut mixed), "hashtable");
        let mut builder = Builder::new(&keyspace, Kind::Hash);
        builder.field(b"f", &[b'v'; 64], None);
        assert_eq!(encoding_name(builder.finish(b"k", LIMITS).view()), "listpack");
        let mut builder = Builder::new(&keyspace, Kind::SortedSet);
        builder.scored(&[b'm'; 65], 1.0);
        assert_eq!(encoding_name(builder.finish(b"k", LIMITS).view()), "skiplist");
    }
}
