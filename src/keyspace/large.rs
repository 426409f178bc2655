//! How a snapshot sees large collections: a head that says what there was at the cut, and leaf by leaf what was in it.
//!
//! A collection can have millions of elements, so it is neither shown nor captured as a whole. Its **head** is captured when its entry first changes
//! after the cut (also when only its deadline does), or shown when the visitor comes to it; from then on the entry has the stamp of the present epoch. Its **leaves** are shown one by
//! one, each by whoever comes first: the visitor, in bites, or a change of it, which captures a copy of at most a leaf's size ([`LeafGate`]). The root
//! says in `done` when all of them were shown; until then an entry that leaves its table goes to the captured queue with what is left of them, and one that only moves
//! (RENAME, MOVE) is noted there with its new name, because the visitor may have passed that.
//!
//! Which leaf belongs where is needed of lists alone: their heads have the numbers of all leaves in order. A leaf's number is its own until it was shown.
//! The leaves of a stream are those of its entries; all else is in its head.

use super::capture::Captured;
use super::collection::stream::{ByEntryId, Stream};
use super::collection::{ByHash, ByPosition, ByScore, Capture, Leaf};
use super::entry::EntryRef;
use super::root::Root;
use super::visit::AtCut;
use super::{NO_DATABASE, Site};
use crate::storage::Kind;

/// A collection with no more leaves than this is shown as a whole, if nothing of it was captured.
const WHOLE_LEAVES_MAX: usize = 16;
/// ... and, of a stream, with no more bytes than this of anything else.
const WHOLE_REST_MAX: usize = 64 << 10;
/// Leaves that a visitor passes under one lock.
const BITE_LEAVES: u32 = 256;

/// A large collection as it was at the cut, but for its elements.
pub struct Head {
    /// Says which heads and leaves belong together.
    pub id: u64,
    pub database: usize,
    pub shard: usize,
    pub key: Vec<u8>,
    pub kind: Kind,
    pub expire_at_ms: Option<i64>,
    pub access: u32,
    /// See [`super::values::Level`].
    pub level: u8,
    /// How many elements its leaves have together.
    pub count: u64,
    /// The numbers of a list's leaves, in order.
    pub leaves: Vec<u32>,
    /// A stream without the records of its entries.
    pub stream: Option<Box<Stream>>,
}

impl Head {
    /// What the allocator has set aside for it, as far as it may be much.
    pub(super) fn owned_bytes(&self) -> usize {
        let stream = self.stream.as_ref().map_or(0, |stream| stream.owned_bytes());
        self.key.len() + self.leaves.len() * size_of::<u32>() + stream
    }

    /// That of an entry which has changed in nothing since the cut; the number of its database is that at the cut.
    pub(super) fn of(database: usize, shard: usize, entry: EntryRef<'_>, root: &Root) -> Head {
        Head {
            id: root.id,
            database,
            shard,
            key: entry.key().to_vec(),
            kind: entry.kind(),
            expire_at_ms: entry.expire_at_ms(),
            access: entry.access(),
            level: root.level,
            count: root.len() as u64,
            leaves: if entry.kind() == Kind::List { root.leaves().leaf_order() } else { Vec::new() },
            stream: root.stream().map(|stream| Box::new(stream.without_records())),
        }
    }
}

/// The elements of a leaf as they were at the cut.
#[derive(Clone, Copy, Debug)]
pub struct LeafAtCut<'a> {
    /// Of the [`Head`] that it belongs to.
    pub id: u64,
    pub kind: Kind,
    /// The leaf's number.
    pub number: u32,
    pub count: u64,
    pub records: &'a [u8],
}

impl<'a> LeafAtCut<'a> {
    pub(super) fn of(id: u64, kind: Kind, number: u32, leaf: &'a Leaf) -> LeafAtCut<'a> {
        let records = match kind {
            Kind::List => leaf.records::<ByPosition>(),
            Kind::SortedSet => leaf.records::<ByScore>(),
            Kind::Stream => leaf.records::<ByEntryId>(),
            _ => leaf.records::<ByHash<'_>>(),
        };
        LeafAtCut { id, kind, number, count: leaf.count() as u64, records }
    }
}

/// What a snapshot is shown of a large collection; of another value nothing.
#[derive(Clone, Copy)]
pub enum Large<'a> {
    /// It is none.
    No,
    /// All of it at once.
    Whole(&'a Root),
    Head(&'a Head),
    Leaf(LeafAtCut<'a>),
}

/// Whether the running snapshot has something to see yet of an entry.
#[inline]
pub(super) fn is_unseen(site: Site<'_>, entry: EntryRef<'_>) -> bool {
    entry.stamp() != site.epoch() || entry.root().is_some_and(|root| root.is_unseen(site.era()))
}

/// Whether a collection that the running snapshot has not seen can be shown at once.
pub(super) fn is_shown_whole(root: &Root) -> bool {
    let rest = root.stream().map_or(0, |stream| stream.owned_bytes() - stream.entries().tree().owned_bytes());
    root.leaves().leaves() <= WHOLE_LEAVES_MAX && rest <= WHOLE_REST_MAX
}

/// Shows an entry with a root that nobody changes any more: its head, if that was not seen, and the leaves that were not.
pub(super) fn show_rest(
    database: usize,
    (shard, epoch, era): (usize, u16, u32),
    entry: EntryRef<'_>,
    root: &Root,
    see: &mut impl FnMut(&AtCut<'_>) -> bool,
) {
    let is_untouched = entry.stamp() != epoch;
    if is_untouched && is_shown_whole(root) {
        see(&AtCut::of(database, shard, entry));
        return;
    }
    if is_untouched {
        let head = Head::of(database, shard, entry, root);
        see(&AtCut::of_head(&head));
    }
    if !root.is_unseen(era) {
        return;
    }
    let tree = root.leaves();
    for number in 0..tree.numbers() {
        if let Some(leaf) = tree.unseen_leaf(number, era).filter(|leaf| leaf.count() > 0) {
            see(&AtCut::of_leaf(shard, LeafAtCut::of(root.id, entry.kind(), number, leaf)));
        }
    }
}

/// Shows leaves of a root in its table that were not seen, until `see` has enough of them or a bite's worth was passed; false when none is left.
pub(super) fn show_leaves(
    (shard, era): (usize, u32),
    kind: Kind,
    root: &mut Root,
    see: &mut impl FnMut(&AtCut<'_>) -> bool,
) -> bool {
    let (id, mut number) = (root.id, root.next_leaf);
    let numbers = root.leaves().numbers();
    let end = numbers.min(number.saturating_add(BITE_LEAVES));
    while number < end {
        // The one leaf of a stream without entries has nothing to show.
        let leaf = root.leaves().unseen_leaf(number, era).filter(|leaf| leaf.count() > 0);
        let shown = leaf.map(|leaf| see(&AtCut::of_leaf(shard, LeafAtCut::of(id, kind, number, leaf))));
        if shown.is_some() {
            root.seen_leaf(number, era);
        }
        number += 1;
        if shown == Some(true) {
            root.next_leaf = number;
            return true;
        }
    }
    if number < numbers {
        root.next_leaf = number;
        return true;
    }
    root.finish(era);
    false
}

/// Captures the leaves of a root before they change or go.
pub struct LeafGate<'k> {
    site: Site<'k>,
    kind: Kind,
    id: u64,
    era: u32,
    /// The snapshot has leaves to see yet.
    wants: bool,
}

impl<'k> LeafGate<'k> {
    pub(super) fn of(site: Site<'k>, kind: Kind, root: &Root) -> LeafGate<'k> {
        let era = site.era();
        let wants = site.database != NO_DATABASE && root.is_unseen(era);
        LeafGate { site, kind, id: root.id, era, wants }
    }
}

impl Capture for LeafGate<'_> {
    #[inline]
    fn era(&self) -> u32 {
        self.era
    }

    #[inline]
    fn wants(&self, stamp: u32) -> bool {
        self.wants && stamp != self.era
    }

    #[cold]
    fn capture(&mut self, number: u32, leaf: Leaf) {
        if leaf.count() == 0 {
            return;
        }
        super::capture::capture(self.site, Captured::Leaf { id: self.id, kind: self.kind, number, leaf });
    }
}
