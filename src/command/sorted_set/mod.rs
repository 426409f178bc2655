//! Commands on sorted sets, a file for each family.

mod add;
mod combine;
mod gathered;
mod limits;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod scan;

pub use add::{Flag, Options, Pairs, ROWS as ADD_ROWS, add};
pub use combine::ROWS as COMBINE_ROWS;
pub use gathered::{Gathered, store};
pub use pop::ROWS as POP_ROWS;
pub use random::ROWS as RANDOM_ROWS;
pub use range::ROWS as RANGE_ROWS;
pub use read::{ROWS as READ_ROWS, read};
pub use remove::ROWS as REMOVE_ROWS;
pub use scan::ROWS as SCAN_ROWS;

use super::cx::{Cx, Failure, encoding_limits};
use super::effects::Event;
use super::help;
use super::keys::READ_KEY;
use super::keys::{Begin, Find};
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::keyspace::collection::Scored;
use crate::keyspace::values::ScoresMut;
use crate::keyspace::{Key, Kind, Position};
use crate::resp::{Protocol, Reply};

pub const NOT_A_FLOAT: Failure = Failure::text("ERR value is not a valid float");

/// A destination in front of what is read.
const DESTINATION: Keys = Keys::one(1, Access::Overwrite, Effect::UPDATE);
/// From a destination and one source.
pub const STORE_KEYS: &[Keys] = &[DESTINATION, Keys::one(2, Access::ReadOnly, Effect::ACCESS)];

/// As many keys as the argument at `count` says, behind it.
const fn counted(count: usize, access: Access, effect: Effect) -> Keys {
    Keys {
        begin: Begin::At(count),
        find: Find::Counted { count: 0, first: 1, step: 1 },
        ..Keys::one(count, access, effect)
    }
}

/// A row with what the commands have in common that read a sorted set at once.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::SortedSet,
    since: "1.2.0",
    complexity: "O(log(N)) where N is the number of members.",
    summary: "",
    flags: Flags::READONLY,
    keys: READ_KEY,
    tips: &[],
    subcommands: &[],
    run: help::help,
};

/// Flags of rows that change a sorted set, which are recorded as they came: what they do follows from the set and their arguments alone. The sum of two
/// doubles is one, too: ZINCRBY adds as every machine does.
const CHANGE: Flags = Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME);

/// The sorted set at a position, to be changed.
fn scores_mut<'c, 's>(cx: &'c mut Cx<'_, 's>, key: Key<'_>, position: Position) -> ScoresMut<'c, 's> {
    ScoresMut(cx.edit(key, position))
}

/// Beyond how many members, or how long ones, Redis makes a skiplist of a sorted set.
fn listpack_limits(cx: &Cx<'_, '_>) -> (u64, u64) {
    let limits = encoding_limits(cx.config(), Kind::SortedSet);
    (limits.elements, limits.bytes)
}

/// Reports so many changes of a key, and removes it if it has no members left.
fn removed(cx: &mut Cx<'_, '_>, event: Event, key: Key<'_>, position: Position, count: usize) {
    if count == 0 {
        return;
    }
    cx.changed(event, key);
    cx.changed_keyspace(count as u64 - 1);
    if scores_mut(cx, key, position).view().is_empty() {
        cx.remove(cx.client.database, key, position);
        cx.also(Event::DEL, key);
    }
}

/// The head of an array of members, perhaps with their scores; in RESP3 those are pairs.
fn members_head(reply: &mut Reply<'_>, count: usize, with_scores: bool) {
    let flat = with_scores && reply.protocol() == Protocol::Resp2;
    reply.array(if flat { count * 2 } else { count });
}

/// A member behind [`members_head`].
fn member(reply: &mut Reply<'_>, scored: &Scored<'_>, with_scores: bool) {
    member_bytes(reply, scored.member.bytes(&mut itoa::Buffer::new()), scored.score, with_scores);
}

fn member_bytes(reply: &mut Reply<'_>, bytes: &[u8], score: f64, with_scores: bool) {
    if with_scores && reply.protocol() == Protocol::Resp3 {
        reply.array(2);
    }
    reply.bulk(bytes);
    if with_scores {
        reply.double(score);
    }
}

/// Members behind [`members_head`], until the reply is over its limit.
fn members<'m>(reply: &mut Reply<'_>, members: impl Iterator<Item = Scored<'m>>, with_scores: bool) {
    for scored in members {
        member(reply, &scored, with_scores);
        if reply.is_over() {
            return;
        }
    }
}
