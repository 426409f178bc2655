//! A large collection: what an entry owns whose value does not fit into its own block.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use super::KeyHasher;
use super::collection::stream::Stream;
use super::collection::{
    ByHash, ByPosition, ByScore, Field, Limits, NoCapture, Order, Scored, Shape, SortedSet, Tree, element,
};
use crate::storage::Kind;
use crate::storage::encoding::{push_varint, take_varint};

/// From how large on a collection leaves its entry's block, and how large the parts of a large one are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLimits {
    /// Bytes of a small collection, ...
    pub small_bytes: usize,
    /// ... or of one that has few elements.
    pub few_bytes: usize,
    /// Leaves of hashes, sets, lists and streams.
    pub usual: Limits,
    /// Leaves of sorted sets.
    pub sorted: Limits,
}

/// How large the largest leaf may be made, in bytes.
pub const LEAF_BYTES: RangeInclusive<usize> = 64..=16_384;
/// How many elements are few.
const FEW: usize = 8;

impl ValueLimits {
    /// Limits that follow from the largest leaf. `Default` is for 4096 bytes.
    pub fn of_leaves(bytes: usize) -> ValueLimits {
        let branches = if bytes < 1024 { 4 } else { 64 };
        ValueLimits {
            small_bytes: bytes,
            few_bytes: bytes * 16,
            usual: Limits { leaf_bytes: bytes, branches },
            sorted: Limits { leaf_bytes: (bytes / 4).max(64), branches },
        }
    }

    /// Whether so many elements in so many bytes are a small collection.
    pub fn is_small(&self, count: usize, bytes: usize) -> bool {
        bytes <= self.small_bytes || count <= FEW && bytes <= self.few_bytes
    }
}

impl Default for ValueLimits {
    fn default() -> ValueLimits {
        ValueLimits::of_leaves(4096)
    }
}

/// The structure of a large collection.
#[derive(Clone)]
pub enum Body {
    /// Of a list, a set or a hash.
    Tree(Tree),
    SortedSet(SortedSet),
    Stream(Box<Stream>),
}

/// Numbers of roots, from 0 on.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);
/// `done` of a root that is in no table yet: it has nothing that a snapshot would have to see.
const NEW: u32 = u32::MAX;

/// See the module's text.
pub struct Root {
    pub body: Body,
    /// No other root of this process has it.
    pub(super) id: u64,
    /// The era in which the last leaf was seen ([`super::large`]).
    done: u32,
    /// Leaves with lesser numbers have been seen in the present era.
    pub(super) next_leaf: u32,
    /// How far the value has come from Redis's first encoding of its type ([`super::collection::Packed::level`]).
    pub level: u8,
}

impl Clone for Root {
    /// A root of its own, in no table yet.
    fn clone(&self) -> Root {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Root { body: self.body.clone(), id, done: NEW, next_leaf: 0, level: self.level }
    }
}

impl Root {
    /// An empty large collection of a kind that has one.
    pub fn new(kind: Kind, level: u8, limits: &ValueLimits) -> Root {
        let body = match kind {
            Kind::SortedSet => Body::SortedSet(SortedSet::new(limits.sorted, 0)),
            Kind::Stream => Body::Stream(Box::new(Stream::new(limits.usual))),
            _ => Body::Tree(Tree::new(limits.usual, 0)),
        };
        Root { body, id: NEXT_ID.fetch_add(1, Ordering::Relaxed), done: NEW, next_leaf: 0, level }
    }

    /// Puts it into a table: there is nothing of it to be seen, unless it was in one before.
    pub(super) fn enter(&mut self, era: u32) {
        if self.done == NEW {
            self.done = era;
        }
    }

    /// Whether a snapshot of this era has leaves to see yet.
    #[inline]
    pub(super) fn is_unseen(&self, era: u32) -> bool {
        self.done != era && self.done != NEW
    }

    /// All leaves have been seen.
    pub(super) fn finish(&mut self, era: u32) {
        (self.done, self.next_leaf) = (era, 0);
    }

    /// The tree whose leaves a snapshot sees.
    pub(super) fn leaves(&self) -> &Tree {
        match &self.body {
            Body::Tree(tree) => tree,
            Body::SortedSet(set) => set.scores(),
            Body::Stream(stream) => stream.entries().tree(),
        }
    }

    pub(super) fn seen_leaf(&mut self, number: u32, era: u32) {
        match &mut self.body {
            Body::Tree(tree) => tree.seen_leaf(number, era),
            Body::SortedSet(set) => set.seen_leaf(number, era),
            Body::Stream(stream) => stream.entries_mut().seen_leaf(number, era),
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match &self.body {
            Body::Tree(tree) => tree.len(),
            Body::SortedSet(set) => set.len(),
            Body::Stream(stream) => stream.entries().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the allocator has set aside for all of it.
    pub fn owned_bytes(&self) -> usize {
        let own = crate::base::slabs::block_bytes(size_of::<Root>());
        own + match &self.body {
            Body::Tree(tree) => tree.owned_bytes(),
            Body::SortedSet(set) => set.owned_bytes(),
            Body::Stream(stream) => {
                crate::base::slabs::block_bytes(size_of::<Stream>()) + stream.owned_bytes()
            }
        }
    }

    /// When the earliest element with a deadline is due, or before, in Unix milliseconds; `i64::MAX` for never.
    pub fn due_ms(&self) -> i64 {
        match &self.body {
            Body::Tree(tree) => tree.due_ms(),
            Body::SortedSet(_) | Body::Stream(_) => i64::MAX,
        }
    }

    /// The tree, unless it is another structure.
    pub fn tree(&self) -> Option<&Tree> {
        match &self.body {
            Body::Tree(tree) => Some(tree),
            Body::SortedSet(_) | Body::Stream(_) => None,
        }
    }

    pub fn sorted_set(&self) -> Option<&SortedSet> {
        match &self.body {
            Body::SortedSet(set) => Some(set),
            Body::Tree(_) | Body::Stream(_) => None,
        }
    }

    /// The stream, unless it is another structure.
    pub fn stream(&self) -> Option<&Stream> {
        match &self.body {
            Body::Stream(stream) => Some(stream),
            Body::Tree(_) | Body::SortedSet(_) => None,
        }
    }

    /// Appends what a snapshot holds of it: its level, the number of elements, and their records.
    pub fn encode(&self, kind: Kind, out: &mut Vec<u8>) {
        out.push(self.level);
        push_varint(out, self.len() as u64);
        let see = |records: &[u8]| out.extend_from_slice(records);
        match &self.body {
            Body::Tree(tree) if kind == Kind::List => tree.each_leaf::<ByPosition>(see),
            Body::Tree(tree) => tree.each_leaf::<ByHash<'_>>(see),
            Body::SortedSet(set) => set.scores().each_leaf::<ByScore>(see),
            Body::Stream(stream) => stream.encode(out),
        }
    }

    /// The collection that [`Root::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are not that.
    pub fn decode(
        kind: Kind,
        mut bytes: &[u8],
        hasher: &KeyHasher,
        limits: &ValueLimits,
    ) -> Result<Root, &'static str> {
        const WRONG: &str = "a large value has other elements than it says";
        let (level, rest) = bytes.split_first().ok_or(WRONG)?;
        bytes = rest;
        let count = take_varint(&mut bytes).ok_or(WRONG)?;
        let mut root = Root::new(kind, *level, limits);
        if kind == Kind::Stream {
            root.body = Body::Stream(Box::new(Stream::decode_with(bytes, limits.usual)?));
            return if root.len() as u64 == count { Ok(root) } else { Err(WRONG) };
        }
        let shape = if kind == Kind::Hash { Shape::FieldAndValue } else { Shape::Member };
        let by_hash = ByHash { hasher, shape };
        let room = &mut itoa::Buffer::new();
        while !bytes.is_empty() {
            let len = match kind {
                Kind::List => ByPosition.len_of(bytes),
                Kind::SortedSet => ByScore.len_of(bytes),
                _ => by_hash.len_of(bytes),
            };
            let (record, rest) = bytes.split_at_checked(len.max(1)).ok_or(WRONG)?;
            bytes = rest;
            match &mut root.body {
                Body::Tree(tree) if kind == Kind::List => {
                    if !element::is_whole(record) {
                        return Err(WRONG);
                    }
                    let end = tree.place_at(tree.len());
                    tree.insert(&ByPosition, &mut NoCapture, &end, record);
                }
                Body::Tree(tree) => {
                    let name = Field::read(record, Shape::Member).name;
                    let place = tree.find(&by_hash, by_hash.name(name.bytes(room))).err().ok_or(WRONG)?;
                    tree.insert(&by_hash, &mut NoCapture, &place, record);
                }
                Body::SortedSet(set) => {
                    let scored = Scored::read(record);
                    set.set(hasher, &mut NoCapture, scored.member.bytes(room), scored.score);
                }
                Body::Stream(_) => return Err(WRONG),
            }
        }
        if root.len() as u64 == count && count > 0 { Ok(root) } else { Err(WRONG) }
    }
}
