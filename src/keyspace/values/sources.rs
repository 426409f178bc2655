//! What sorted sets are combined from: sorted sets, and sets, whose members all count with a score of 1.

use super::{Form, Scores};
use crate::keyspace::collection::{ByHash, Field, Shape};
use crate::keyspace::{EntryRef, Keyspace};
use crate::storage::Kind;

const SHAPE: Shape = Shape::Member;

/// See the module's text.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A key that is not there.
    Empty,
    SortedSet(Scores<'a>),
    Set(Form<'a>, ByHash<'a>),
}

impl<'a> Source<'a> {
    /// That of an entry with a sorted set or a set, or of none.
    pub fn of(keyspace: &'a Keyspace, entry: Option<EntryRef<'a>>) -> Source<'a> {
        match entry {
            Some(entry) if entry.kind() == Kind::SortedSet => Source::SortedSet(Scores::of(keyspace, entry)),
            Some(entry) if entry.kind() == Kind::Set => {
                Source::Set(Form::of(entry), ByHash { hasher: keyspace.hasher(), shape: SHAPE })
            }
            _ => Source::Empty,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Source::Empty => 0,
            Source::SortedSet(scores) => scores.len(),
            Source::Set(form, _) => form.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        let is_there = match self {
            Source::Empty => false,
            Source::SortedSet(scores) => return scores.score(member),
            Source::Set(Form::Packed(packed), order) => packed.find_name(order, member).is_some(),
            Source::Set(Form::Integers(integers), _) => {
                let integer = crate::base::number::parse_i64(member);
                integer.is_some_and(|integer| integers.search(integer).is_ok())
            }
            Source::Set(Form::Root(root), order) => {
                root.tree().is_some_and(|tree| tree.find(order, order.name(member)).is_ok())
            }
        };
        is_there.then_some(1.0)
    }

    /// Shows members with their scores, until `see` wants no more.
    pub fn each(&self, mut see: impl FnMut(f64, &[u8]) -> bool) {
        let mut see_record =
            |record: &[u8]| see(1.0, Field::read(record, SHAPE).name.bytes(&mut itoa::Buffer::new()));
        let _ = match self {
            Source::Empty => true,
            Source::SortedSet(scores) => scores
                .iter_from(0)
                .all(|scored| see(scored.score, scored.member.bytes(&mut itoa::Buffer::new()))),
            Source::Set(Form::Packed(packed), order) => packed.iter(order).all(&mut see_record),
            Source::Set(Form::Integers(integers), _) => {
                integers.iter().all(|integer| see(1.0, itoa::Buffer::new().format(integer).as_bytes()))
            }
            Source::Set(Form::Root(root), order) => {
                root.tree().is_none_or(|tree| tree.iter_from(order, 0).all(&mut see_record))
            }
        };
    }
}
