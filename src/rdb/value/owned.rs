//! Values as data: for tools, and for tests that compare. A server builds its collections from a sink of its own.

use std::collections::HashSet;

use super::encode::{Body, Encoder};
use super::stream::{Group, NEVER_ACTIVE, StreamId, StreamState};
use super::stream_nodes::EntryFields;
use super::{Kind, Sink};

/// A value of any type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    String(Vec<u8>),
    List(Vec<Vec<u8>>),
    Set(Vec<Vec<u8>>),
    SortedSet(Vec<(Vec<u8>, f64)>),
    Hash(Vec<Field>),
    Stream(StreamValue),
}

/// A field of a hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    pub name: Vec<u8>,
    pub value: Vec<u8>,
    /// Unix milliseconds.
    pub due_ms: Option<i64>,
}

/// Names and values of an entry of a stream.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// A stream. Entries are in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamValue {
    pub entries: Vec<(StreamId, Pairs)>,
    pub state: StreamState,
    pub groups: Vec<Group>,
}

impl Value {
    pub fn kind(&self) -> Kind {
        match self {
            Value::String(_) => Kind::String,
            Value::List(_) => Kind::List,
            Value::Set(_) => Kind::Set,
            Value::SortedSet(_) => Kind::SortedSet,
            Value::Hash(_) => Kind::Hash,
            Value::Stream(_) => Kind::Stream,
        }
    }

    /// Gives the value to a sink, and says whether all its elements were new there.
    pub fn give(&self, sink: &mut dyn Sink) -> bool {
        match self {
            Value::String(value) => sink.string(value.clone()),
            Value::List(elements) => elements.iter().for_each(|element| sink.element(element)),
            Value::Set(members) => return members.iter().all(|member| sink.member(member)),
            Value::SortedSet(members) => {
                return members.iter().all(|(member, score)| sink.scored(member, *score));
            }
            Value::Hash(fields) => {
                return fields.iter().all(|field| sink.field(&field.name, &field.value, field.due_ms));
            }
            Value::Stream(stream) => {
                stream.entries.iter().for_each(|(id, fields)| sink.entry(*id, EntryFields::of_pairs(fields)));
                sink.stream(stream.state);
                stream.groups.iter().for_each(|group| sink.group(group.clone()));
            }
        }
        true
    }

    /// The value as it is written.
    pub fn encode(&self) -> Body {
        let mut encoder = Encoder::new(self.kind());
        self.give(&mut encoder);
        encoder.finish()
    }

    /// About how many bytes there are in it.
    pub fn bytes(&self) -> usize {
        let of_pairs =
            |pairs: &Pairs| pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        match self {
            Value::String(value) => value.len(),
            Value::List(strings) | Value::Set(strings) => strings.iter().map(Vec::len).sum(),
            Value::SortedSet(members) => members.iter().map(|(member, _)| member.len() + 8).sum(),
            Value::Hash(fields) => fields.iter().map(|field| field.name.len() + field.value.len()).sum(),
            Value::Stream(stream) => stream.entries.iter().map(|(_, pairs)| 16 + of_pairs(pairs)).sum(),
        }
    }

    /// What is left of it when it is written: Redis 7.0 does not know when a consumer was active, and nothing is due at 0.
    pub fn as_written(mut self) -> Value {
        match &mut self {
            Value::Hash(fields) => {
                for due_ms in fields.iter_mut().filter_map(|field| field.due_ms.as_mut()) {
                    *due_ms = (*due_ms).max(1);
                }
            }
            Value::Stream(stream) => {
                for consumer in stream.groups.iter_mut().flat_map(|group| &mut group.consumers) {
                    consumer.active_ms = Some(consumer.seen_ms).filter(|ms| *ms != NEVER_ACTIVE);
                }
            }
            _ => {}
        }
        self
    }

    /// The value with its elements in one order, if its type has none, so that equal ones compare as equal.
    pub fn sorted(mut self) -> Value {
        match &mut self {
            Value::String(_) | Value::List(_) => {}
            Value::Set(members) => members.sort_unstable(),
            Value::SortedSet(members) => members.sort_unstable_by(|one, other| one.0.cmp(&other.0)),
            Value::Hash(fields) => fields.sort_unstable(),
            Value::Stream(stream) => stream.groups.sort_unstable_by(|one, other| one.name.cmp(&other.name)),
        }
        self
    }
}

/// A sink that keeps what it gets.
pub struct Collector {
    value: Value,
    names: HashSet<Vec<u8>>,
}

impl Collector {
    /// Collects a value of this type.
    pub fn new(kind: Kind) -> Collector {
        let value = match kind {
            Kind::String => Value::String(Vec::new()),
            Kind::List => Value::List(Vec::new()),
            Kind::Set => Value::Set(Vec::new()),
            Kind::SortedSet => Value::SortedSet(Vec::new()),
            Kind::Hash => Value::Hash(Vec::new()),
            Kind::Stream => Value::Stream(StreamValue::default()),
        };
        Collector { value, names: HashSet::new() }
    }

    /// Whether a member or field of this name is there.
    pub fn has(&self, name: &[u8]) -> bool {
        self.names.contains(name)
    }

    pub fn into_value(self) -> Value {
        self.value
    }

    fn stream_value(&mut self) -> Option<&mut StreamValue> {
        match &mut self.value {
            Value::Stream(stream) => Some(stream),
            _ => None,
        }
    }
}

impl Sink for Collector {
    fn string(&mut self, value: Vec<u8>) {
        self.value = Value::String(value);
    }

    fn element(&mut self, element: &[u8]) {
        if let Value::List(elements) = &mut self.value {
            elements.push(element.to_vec());
        }
    }

    fn member(&mut self, member: &[u8]) -> bool {
        if let Value::Set(members) = &mut self.value {
            members.push(member.to_vec());
        }
        self.names.insert(member.to_vec())
    }

    fn scored(&mut self, member: &[u8], score: f64) -> bool {
        if let Value::SortedSet(members) = &mut self.value {
            members.push((member.to_vec(), score));
        }
        self.names.insert(member.to_vec())
    }

    fn field(&mut self, field: &[u8], value: &[u8], due_ms: Option<i64>) -> bool {
        if let Value::Hash(fields) = &mut self.value {
            fields.push(Field { name: field.to_vec(), value: value.to_vec(), due_ms });
        }
        self.names.insert(field.to_vec())
    }

    fn entry(&mut self, id: StreamId, fields: EntryFields<'_>) {
        let pairs = fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        if let Some(stream) = self.stream_value() {
            stream.entries.push((id, pairs));
        }
    }

    fn stream(&mut self, state: StreamState) {
        if let Some(stream) = self.stream_value() {
            stream.state = state;
        }
    }

    fn group(&mut self, group: Group) {
        if let Some(stream) = self.stream_value() {
            stream.groups.push(group);
        }
    }
}
