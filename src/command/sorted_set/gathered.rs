//! What a command has found of members and scores, to be stored under another key or told.

use std::ops::Range;

use super::super::cx::Cx;
use super::super::effects::Event;
use super::listpack_limits;
use crate::keyspace::Key;
use crate::keyspace::values::{Level, entry_of_scores};

/// See the module's text. All members' bytes lie in one run.
#[derive(Default)]
pub struct Gathered {
    bytes: Vec<u8>,
    members: Vec<(f64, Range<usize>)>,
    longest: usize,
}

impl Gathered {
    pub fn push(&mut self, score: f64, member: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(member);
        self.members.push((score, start..self.bytes.len()));
        self.longest = self.longest.max(member.len());
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (f64, &[u8])> {
        self.members.iter().map(|(score, place)| (*score, &self.bytes[place.clone()]))
    }

    /// Makes one of those that are the same member: `join` is given the score so far and that of the next one, in the order in which they came.
    pub fn join(&mut self, join: impl Fn(f64, f64) -> f64) {
        let bytes = &self.bytes;
        self.members.sort_by(|(_, one), (_, other)| bytes[one.clone()].cmp(&bytes[other.clone()]));
        self.members.dedup_by(|(next_score, next), (score, place)| {
            let same = bytes[next.clone()] == bytes[place.clone()];
            if same {
                *score = join(*score, *next_score);
            }
            same
        });
    }

    /// Brings them into the order of a sorted set.
    pub fn sort(&mut self) {
        let bytes = &self.bytes;
        self.members.sort_by(|(one_score, one), (other_score, other)| {
            // Neither is NaN; both zeros are equal.
            let by_score = one_score.partial_cmp(other_score).unwrap_or(std::cmp::Ordering::Equal);
            by_score.then_with(|| bytes[one.clone()].cmp(&bytes[other.clone()]))
        });
    }
}

/// Puts what was gathered under a key, whatever is there; takes that away if there is nothing to put. Tells how many members there are; an event of the
/// change counts as `changes`.
pub fn store(cx: &mut Cx<'_, '_>, key: Key<'_>, mut gathered: Gathered, event: Event, changes: u64) {
    let found = cx.find(key);
    let count = gathered.len();
    if count > 0 {
        let (entries, value) = listpack_limits(cx);
        let is_table = count as u64 > entries || gathered.longest as u64 > value;
        let level = if is_table { Level::Table } else { Level::First };
        gathered.sort();
        let keyspace = &cx.services().keyspace;
        let access = cx.state.access.fresh(cx.steady_ms());
        let entry = entry_of_scores(keyspace, key.bytes, level, gathered.iter()).with_access(access);
        cx.put(key, found, entry);
        cx.changed(event, key);
        cx.changed_keyspace(changes.saturating_sub(1));
    } else if let Some(position) = found {
        cx.remove(cx.client.database, key, position);
        cx.changed(Event::DEL, key);
    }
    cx.reply.integer(count as i64);
}
