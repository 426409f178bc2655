//! Commands on streams, a file for each family.
//!
//! A request changes a stream first, then says what the write log hears, then writes its reply from the stream as it is: so nothing of the stream is
//! borrowed while the log or the reply is written. BLOCK is read and has no effect yet: a request that finds nothing is answered as at its timeout.

mod add;
mod claim;
mod delete;
mod group;
mod ids;
mod info;
mod pending;
mod range;
mod read;
mod trim;

pub use add::ROWS as ADD_ROWS;
pub use claim::ROWS as CLAIM_ROWS;
pub use delete::ROWS as DELETE_ROWS;
pub use group::ROWS as GROUP_ROWS;
pub use info::ROWS as INFO_ROWS;
pub use pending::ROWS as PENDING_ROWS;
pub use range::ROWS as RANGE_ROWS;
pub use read::ROWS as READ_ROWS;

use super::cx::{Cx, Failure};
use crate::base::quote::up_to_zero;
use crate::config::Config;
use crate::keyspace::collection::stream::{Entries, Entry, Group, Id, NodeLimits, Stream};
use crate::keyspace::large::LeafGate;
use crate::keyspace::{EntryRef, Key, Kind, Position};
use crate::resp::Reply;

/// The stream that an entry holds.
fn stream_of(entry: EntryRef<'_>) -> Result<&Stream, Failure> {
    entry.root().and_then(|root| root.stream()).ok_or(Failure::WRONG_TYPE)
}

/// Reads the stream of a key and writes the reply from it. `None` stands for a key that is not there.
fn read<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    answer: impl FnOnce(Option<&Stream>, &mut Reply<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let found = cx.access_as(key, Kind::Stream)?;
    let Some(position) = found else { return answer(None, &mut cx.reply) };
    read_at(cx, key, position, |stream, reply| answer(Some(stream), reply))
}

/// Writes the reply from the stream at a position.
fn read_at<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Position,
    answer: impl FnOnce(&Stream, &mut Reply<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (entry, reply) = cx.entry_and_reply(key, position);
    answer(stream_of(entry)?, reply)
}

/// Changes the stream at a position.
fn change<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Position,
    change: impl FnOnce(&mut Stream, &mut LeafGate<'_>) -> T,
) -> Result<T, Failure> {
    let mut edit = cx.edit(key, position);
    edit.stream_mut().map(|(stream, mut gate)| change(stream, &mut gate)).ok_or(Failure::WRONG_TYPE)
}

/// Changes a group of the stream at a position; `None` if there is no such group.
fn change_group<T>(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Position,
    name: &[u8],
    change: impl FnOnce(&Entries, &mut Group) -> T,
) -> Result<Option<T>, Failure> {
    // Looked for first: what is not changed is not captured.
    if stream_of(cx.entry(key, position))?.group(name).is_none() {
        return Ok(None);
    }
    self::change(cx, key, position, |stream, _| {
        stream.group_mut(name).map(|(entries, group)| change(entries, group))
    })
}

/// An error with two words of the request in it, as far as Redis shows them.
fn echo_two(parts: [&str; 3], words: [&[u8]; 2]) -> Failure {
    let [a, b, c] = parts.map(str::as_bytes);
    Failure([a, up_to_zero(words[0]), b, up_to_zero(words[1]), c].concat().into())
}

/// The error of a command that needs a key and a group.
fn no_group(key: &[u8], group: &[u8]) -> Failure {
    echo_two(["NOGROUP No such key '", "' or consumer group '", "'"], [key, group])
}

/// The error of a container's subcommand that needs a group.
fn no_group_of_key(key: &[u8], group: &[u8]) -> Failure {
    echo_two(["NOGROUP No such consumer group '", "' for key name '", "'"], [group, key])
}

fn node_limits(config: &Config) -> NodeLimits {
    let entries = config.stream_node_max_entries.max(0) as u64;
    NodeLimits { entries, bytes: config.stream_node_max_bytes }
}

/// The id of an entry and its fields.
fn write_entry(reply: &mut Reply<'_>, entry: Entry<'_>) {
    reply.array(2);
    reply.bulk_text(entry.id);
    reply.array(entry.field_count() * 2);
    let rooms = (&mut itoa::Buffer::new(), &mut itoa::Buffer::new());
    for (name, value) in entry.fields() {
        reply.bulk(name.bytes(rooms.0));
        reply.bulk(value.bytes(rooms.1));
    }
}

/// At most so many entries between two ids, both included; the last ones first if `back`.
fn write_range(reply: &mut Reply<'_>, entries: &Entries, (start, end): (Id, Id), count: usize, back: bool) {
    let count = entries.count(start, end).min(count);
    reply.array(count);
    if back {
        entries.range_back(start, end).take(count).for_each(|entry| write_entry(reply, entry));
    } else {
        entries.range(start, end).take(count).for_each(|entry| write_entry(reply, entry));
    }
}

/// How many at most, from a COUNT in which 0 and less are without limit.
fn unless_zero(count: i64) -> usize {
    usize::try_from(count).ok().filter(|count| *count > 0).unwrap_or(usize::MAX)
}
