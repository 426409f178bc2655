//! Values of every type: read from any encoding that Redis and Valkey ever wrote, and written in one that Redis 7.0 reads.
//!
//! A value goes element by element into a [`Sink`], so that nobody holds a large one twice. [`Reader::value`](super::Reader::value) and
//! [`Payload::give`](super::Payload::give) read an encoding and call the sink; an [`Encoder`] is a sink that writes one, a [`Collector`] is one that
//! gathers a [`Value`]. What a sink has got before an error is to be thrown away.
//!
//! Everything is checked as Redis checks with `sanitize-dump-payload yes`: lengths, counts, the order of an intset, scores that are not numbers,
//! members that are there twice. A packed encoding is one string and is in memory as a whole; everything else is not.

mod encode;
mod hash;
mod intset;
mod list;
mod listpack;
mod owned;
mod packed;
mod set;
mod sorted_set;
mod stream;
mod stream_nodes;
#[cfg(test)]
mod tests;
mod ziplist;
mod zipmap;

pub use encode::{Body, Encoder};
pub use hash::DUE_MS_MAX;
pub use owned::{Collector, Field, Pairs, StreamValue, Value};
pub use stream::{Consumer, Group, Pending, StreamId, StreamState};
pub use stream_nodes::{EntryFields, Strings};

use std::io::Read;

use self::packed::Malformed;
use super::error::{Error, Problem};
use super::source::Source;

/// The types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

impl Kind {
    /// What TYPE says.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }
}

/// Takes one value, of whichever type it is. Only the functions of that type are called.
pub trait Sink {
    /// The whole of a string.
    fn string(&mut self, value: Vec<u8>);
    /// The next element of a list.
    fn element(&mut self, element: &[u8]);
    /// A member of a set; false if it was there.
    fn member(&mut self, member: &[u8]) -> bool;
    /// A member of a sorted set, in any order; false if it was there.
    fn scored(&mut self, member: &[u8], score: f64) -> bool;
    /// A field of a hash, and when it is due, in Unix milliseconds (0 to [`DUE_MS_MAX`]), which may have passed; false if it was there.
    fn field(&mut self, field: &[u8], value: &[u8], due_ms: Option<i64>) -> bool;
    /// The next entry of a stream: their ids ascend.
    fn entry(&mut self, id: StreamId, fields: EntryFields<'_>);
    /// What a stream remembers, behind its last entry.
    fn stream(&mut self, state: StreamState);
    /// A consumer group of a stream, behind its state. Their names differ.
    fn group(&mut self, group: Group);
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded {
    Whole,
    /// A collection without elements, which no server keeps: Redis leaves such a key out when it loads a file, and refuses the payload.
    Empty,
}

impl Decoded {
    fn of_count(elements: u64) -> Decoded {
        if elements > 0 { Decoded::Whole } else { Decoded::Empty }
    }
}

/// The type of a value whose encoding has this number. Number 22 is another encoding for Valkey than for Redis, and later ones are Redis's only.
pub fn kind_of(code: u8, valkey: bool) -> Option<Kind> {
    Some(match code {
        0 => Kind::String,
        1 | 10 | 14 | 18 => Kind::List,
        2 | 11 | 20 => Kind::Set,
        3 | 5 | 12 | 17 => Kind::SortedSet,
        4 | 9 | 13 | 16 | 22 => Kind::Hash,
        23..=25 if !valkey => Kind::Hash,
        15 | 19 | 21 => Kind::Stream,
        _ => return None,
    })
}

/// Reads a value whose encoding has this number, behind the number and the key.
///
/// # Errors
/// When it is damaged, ends too early, or has another encoding.
pub(super) fn decode<R: Read>(
    source: &mut Source<R>,
    code: u8,
    valkey: bool,
    sink: &mut dyn Sink,
) -> Result<Decoded, Error> {
    match code {
        0 => source.string().map(|value| {
            sink.string(value);
            Decoded::Whole
        }),
        1 => list::plain(source, sink),
        10 => list::ziplist(source, sink),
        14 => list::nodes(source, sink, list::Nodes::Ziplists),
        18 => list::nodes(source, sink, list::Nodes::ListpacksAndPlain),
        2 => set::plain(source, sink),
        11 => set::intset(source, sink),
        20 => set::listpack(source, sink),
        3 => sorted_set::plain(source, sink, sorted_set::Scores::Text),
        5 => sorted_set::plain(source, sink, sorted_set::Scores::Binary),
        12 => sorted_set::ziplist(source, sink),
        17 => sorted_set::listpack(source, sink),
        4 => hash::plain(source, sink, hash::Due::Never),
        9 => hash::zipmap(source, sink),
        13 => hash::ziplist(source, sink),
        16 => hash::listpack(source, sink),
        22 if valkey => hash::plain(source, sink, hash::Due::Behind),
        22 => hash::plain(source, sink, hash::Due::InFront),
        23 if !valkey => hash::listpack_with_due(source, sink),
        24 if !valkey => hash::plain(source, sink, hash::Due::InFrontOfEarliest),
        25 if !valkey => hash::listpack_behind_due(source, sink),
        15 => stream::read(source, sink, stream::Revision::First),
        19 => stream::read(source, sink, stream::Revision::Counted),
        21 => stream::read(source, sink, stream::Revision::WithActivity),
        other => Err(source.error(Problem::UnknownType(other))),
    }
}

const TWICE: Malformed = Malformed("an element that is there twice");

/// What a sink says of an element that must be new.
fn new(is_new: bool) -> Result<(), Malformed> {
    if is_new { Ok(()) } else { Err(TWICE) }
}

/// Reads a string and what is packed in it.
fn packed<R: Read, T>(
    source: &mut Source<R>,
    read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<T, Error> {
    let offset = source.offset();
    let bytes = source.string()?;
    read(&bytes).map_err(|malformed| at(offset, malformed))
}

fn at(offset: u64, Malformed(what): Malformed) -> Error {
    Error { offset, problem: Problem::Malformed(what) }
}
