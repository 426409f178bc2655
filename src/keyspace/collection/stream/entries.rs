//! The entries of a stream, in the order of their ids, and what is known of those that are gone.

use super::super::text;
use super::super::tree::{Capture, Limits, NoCapture, Tree};
use super::entry::{self, ByEntryId, Entry};
use super::id::{Base, Id};
use super::nodes::{Cost, LISTPACK_BYTES_MAX, Node, NodeLimits, Nodes};
use super::shapes::{Names, Shapes};

/// Bytes that the names of most entries, or their values, do not exceed.
const ROOM: usize = 128;

/// Why an entry is not added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Its id is not above all that the stream had.
    NotAbove,
    /// Its strings are too long, as Redis counts.
    TooLarge,
}

/// What trimming leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// At most so many entries, the last ones.
    Newest(u64),
    /// Entries from this id on.
    From(Id),
}

/// How a stream is trimmed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trim {
    pub keep: Keep,
    /// Only whole nodes of Redis's go.
    pub whole_nodes: bool,
    /// No more entries go; 0 is without limit.
    pub limit: u64,
}

/// See the module's text.
#[derive(Clone)]
pub struct Entries {
    pub(super) base: Base,
    limits: Limits,
    tree: Tree,
    pub(super) shapes: Shapes,
    pub(super) nodes: Nodes,
    /// The id of the first one; 0 without any.
    first: Id,
    last: Id,
    max_deleted: Id,
    added: u64,
}

impl Entries {
    pub fn new(limits: Limits) -> Entries {
        Entries {
            base: Base::default(),
            limits,
            tree: Tree::new(limits, 0),
            shapes: Shapes::default(),
            nodes: Nodes::new(limits),
            first: Id::ZERO,
            last: Id::ZERO,
            max_deleted: Id::ZERO,
            added: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.tree.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Bytes that the allocator has set aside for what it owns.
    pub fn owned_bytes(&self) -> usize {
        self.tree.owned_bytes() + self.shapes.owned_bytes() + self.nodes.owned_bytes()
    }

    /// The id of the first entry; 0 without any.
    pub fn first_id(&self) -> Id {
        self.first
    }

    /// The id that was added last; no further one may be below. That entry may be gone.
    pub fn last_id(&self) -> Id {
        self.last
    }

    /// The greatest id that was deleted; 0 if none was. Trimming is not deleting.
    pub fn max_deleted_id(&self) -> Id {
        self.max_deleted
    }

    /// How many entries were ever added.
    pub fn added(&self) -> u64 {
        self.added
    }

    /// XSETID: what is remembered of entries that are gone; what is not given stays.
    pub fn set_last_id(&mut self, last: Id, added: Option<u64>, max_deleted: Option<Id>) {
        self.last = last;
        self.added = added.unwrap_or(self.added);
        self.max_deleted = max_deleted.unwrap_or(self.max_deleted);
    }

    fn order(&self) -> ByEntryId {
        ByEntryId(self.base)
    }

    /// Where the records of the entries lie.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn seen_leaf(&mut self, number: u32, era: u32) {
        self.tree.seen_leaf(number, era);
    }

    /// The same without the records, for a snapshot, which sees those by leaves. Not to be changed.
    pub(super) fn without_records(&self) -> Entries {
        Entries {
            tree: Tree::new(self.limits, 0),
            shapes: self.shapes.clone(),
            nodes: self.nodes.clone(),
            ..*self
        }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// If it cannot be; nothing has changed then.
    pub fn add<'f>(
        &mut self,
        gate: &mut impl Capture,
        id: Id,
        fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
        limits: NodeLimits,
    ) -> Result<(), Refused> {
        if id <= self.last {
            return Err(Refused::NotAbove);
        }
        let mut cost = Cost::default();
        let (mut names, mut values) = (Vec::with_capacity(ROOM), Vec::with_capacity(ROOM));
        for (name, value) in fields {
            cost.add(name, value);
            text::push(&mut names, name);
            text::push(&mut values, value);
        }
        if cost.strings > LISTPACK_BYTES_MAX {
            return Err(Refused::TooLarge);
        }
        let shared = Names::new(&names, cost.fields);
        cost.names_hash = shared.hash;
        let shape = self.shapes.take(shared);
        if shape == 0 {
            values = interleaved(&names, &values);
        }
        let mut record = Vec::with_capacity(values.len() + 24);
        entry::push(&mut record, self.base, id, shape, cost.fields, &values);
        self.append(gate, id, &record);
        self.nodes.add(id, &cost, limits);
        self.last = id;
        self.added = self.added.wrapping_add(1);
        Ok(())
    }

    fn append(&mut self, gate: &mut impl Capture, id: Id, record: &[u8]) {
        if self.tree.is_empty() {
            self.first = id;
        }
        let end = self.tree.place_at(self.tree.len());
        self.tree.insert(&self.order(), gate, &end, record);
    }

    /// Times count from here on. Only of an empty stream.
    pub(super) fn set_base(&mut self, base: Base) {
        debug_assert!(self.is_empty());
        self.base = base;
    }

    pub fn contains(&self, id: Id) -> bool {
        self.tree.find(&self.order(), id).is_ok()
    }

    pub fn get(&self, id: Id) -> Option<Entry<'_>> {
        let order = self.order();
        let place = self.tree.find(&order, id).ok()?;
        Some(self.read(self.tree.record(&order, &place)?))
    }

    fn read<'s>(&'s self, record: &'s [u8]) -> Entry<'s> {
        Entry::read(record, self.base, &self.shapes)
    }

    /// The id of the last entry.
    pub fn greatest(&self) -> Option<Id> {
        let place = self.tree.place_at(self.len().checked_sub(1)?);
        Some(self.base.read(self.tree.record(&self.order(), &place)?).0)
    }

    /// Entries with ids from `start` to `end`, both included.
    pub fn range(&self, start: Id, end: Id) -> impl Iterator<Item = Entry<'_>> {
        let order = self.order();
        let (Ok(mut place) | Err(mut place)) = self.tree.find(&order, start);
        let mut more = self.tree.settle(&mut place);
        std::iter::from_fn(move || {
            let record = if more { self.tree.record(&order, &place) } else { None };
            let entry = self.read(record?);
            more = entry.id <= end && self.tree.step(&mut place);
            (entry.id <= end).then_some(entry)
        })
    }

    /// The same, the last one first.
    pub fn range_back(&self, start: Id, end: Id) -> impl Iterator<Item = Entry<'_>> {
        let order = self.order();
        let (mut place, mut more) = match self.tree.find(&order, end) {
            Ok(place) => (place, true),
            Err(mut place) => {
                let more = self.tree.step_back(&mut place);
                (place, more)
            }
        };
        std::iter::from_fn(move || {
            let record = if more { self.tree.record(&order, &place) } else { None };
            let entry = self.read(record?);
            more = entry.id >= start && self.tree.step_back(&mut place);
            (entry.id >= start).then_some(entry)
        })
    }

    /// How many entries have ids from `start` to `end`, both included.
    pub fn count(&self, start: Id, end: Id) -> usize {
        let behind = end.next().map_or(self.len() as u64, |behind| self.below(behind));
        behind.saturating_sub(self.below(start)) as usize
    }

    /// Deletes an entry; false if it is not there.
    pub fn remove(&mut self, gate: &mut impl Capture, id: Id) -> bool {
        let was_there = self.take_out(gate, id);
        if was_there {
            self.max_deleted = self.max_deleted.max(id);
        }
        was_there
    }

    /// The same, as trimming does it: that it was deleted is not remembered.
    pub(super) fn take_out(&mut self, gate: &mut impl Capture, id: Id) -> bool {
        let order = self.order();
        let Ok(place) = self.tree.find(&order, id) else { return false };
        self.shapes.give_back(self.tree.record(&order, &place).map_or(0, entry::shape_of));
        self.tree.remove(&order, gate, &place, 1);
        self.nodes.remove(id);
        if id == self.first {
            self.look_at_first(gate.era());
        }
        true
    }

    /// Takes entries at the front out; says how many.
    pub fn trim(&mut self, gate: &mut impl Capture, trim: Trim) -> u64 {
        let mut removed = 0;
        while let Some(node) = self.nodes.first() {
            let (len, live) = (self.len() as u64, u64::from(node.live));
            if matches!(trim.keep, Keep::Newest(most) if len <= most)
                || trim.limit > 0 && removed + live > trim.limit
            {
                break;
            }
            let goes = match trim.keep {
                Keep::Newest(most) => len - live >= most,
                Keep::From(id) => node.last < id,
            };
            if goes {
                self.remove_front(gate, live);
                self.nodes.drop_first();
                removed += live;
                continue;
            }
            if !trim.whole_nodes {
                let part = match trim.keep {
                    Keep::Newest(most) => len - most,
                    Keep::From(id) => self.below(id),
                };
                self.remove_front(gate, part);
                self.nodes.take_from_first(part as u32);
                removed += part;
            }
            break;
        }
        if removed > 0 {
            self.look_at_first(gate.era());
        }
        removed
    }

    /// How many entries have ids below this one.
    fn below(&self, id: Id) -> u64 {
        let (Ok(place) | Err(place)) = self.tree.find(&self.order(), id);
        self.tree.rank(&place) as u64
    }

    fn remove_front(&mut self, gate: &mut impl Capture, count: u64) {
        let order = self.order();
        for record in self.tree.iter_from(&order, 0).take(count as usize) {
            self.shapes.give_back(entry::shape_of(record));
        }
        self.tree.remove_ranks(&order, gate, 0, count as usize);
    }

    fn look_at_first(&mut self, era: u32) {
        let first = self.tree.record(&self.order(), &self.tree.place_at(0));
        self.first = first.map_or(Id::ZERO, |record| self.base.read(record).0);
        if self.tree.is_empty() {
            // What its nodes were in goes, too.
            self.tree = Tree::new(self.limits, era);
        }
    }

    /// Where Redis would divide it.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.nodes.iter()
    }

    /// What it would be divided into if nothing had a limit, and nothing had been deleted.
    pub(super) fn as_one_node(&self) -> Option<Node> {
        let last = self.greatest()?;
        let live = self.len() as u32;
        Some(Node { first: self.first, last, live, deleted: 0, bytes: 0, names_hash: 0 })
    }

    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// How many nodes Redis's radix tree has, which takes a look at each of [`Entries::nodes`].
    pub fn radix_nodes(&self) -> usize {
        self.nodes.radix_nodes()
    }

    /// Whether an entry from `start` on was deleted, as far as that is known.
    pub fn has_deleted_from(&self, start: Id) -> bool {
        let deleted = self.max_deleted;
        !self.is_empty() && deleted != Id::ZERO && self.first <= deleted && start <= deleted
    }

    /// How many entries were ever added up to an id, if that is known.
    pub fn added_up_to(&self, id: Id) -> Option<u64> {
        if self.added == 0 {
            return Some(0);
        }
        if id == self.last || self.is_empty() && id < self.last {
            return Some(self.added);
        }
        let is_whole = self.max_deleted == Id::ZERO || self.max_deleted < self.first;
        if id > self.last || !is_whole {
            return None;
        }
        let before = self.added.wrapping_sub(self.len() as u64);
        match id.cmp(&self.first) {
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// All records, one behind the other, in parts.
    pub(super) fn each_leaf(&self, see: impl FnMut(&[u8])) {
        self.tree.each_leaf::<ByEntryId>(see);
    }

    /// Appends all records, with times that count from another base.
    pub(super) fn each_with_base(&self, base: Base, out: &mut Vec<u8>) {
        for record in self.tree.iter_from(&self.order(), 0) {
            let (id, len) = self.base.read(record);
            base.push(out, id);
            out.extend_from_slice(record.get(len..).unwrap_or_default());
        }
    }

    /// Puts a record at the end, for loading; its id is above all others.
    pub(super) fn load(&mut self, record: &[u8]) {
        self.shapes.take_at(entry::shape_of(record));
        self.append(&mut NoCapture, self.base.read(record).0, record);
    }

    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check(&self) -> Result<(), String> {
        self.tree.check(&self.order())?;
        self.nodes.check()?;
        let mut uses = vec![0; self.shapes.iter().len() + 1];
        let mut ids = Vec::new();
        for record in self.tree.iter_from(&self.order(), 0) {
            uses[entry::shape_of(record) as usize] += 1;
            ids.push(self.base.read(record).0);
        }
        self.shapes.check(&uses)?;
        let mut rest = ids.as_slice();
        for node in self.nodes() {
            let (own, behind) =
                rest.split_at_checked(node.live as usize).ok_or("a node has too many entries")?;
            if own.iter().any(|id| *id < node.first || *id > node.last) {
                return Err(format!("{node:?} has none of {own:?}"));
            }
            rest = behind;
        }
        if !rest.is_empty() || ids.first().copied().unwrap_or_default() != self.first {
            return Err(format!("{} entries in no node, or the first is not {}", rest.len(), self.first));
        }
        if !ids.is_sorted_by(|a, b| a < b) || ids.last().is_some_and(|id| *id > self.last) {
            return Err(format!("ids are not in order, or above {}", self.last));
        }
        Ok(())
    }
}

/// Names and values in turn.
fn interleaved(names: &[u8], values: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(names.len() + values.len());
    let mut rest = [names, values];
    while !rest[0].is_empty() {
        for strings in &mut rest {
            let (first, behind) = strings.split_at(text::len_of(strings));
            out.extend_from_slice(first);
            *strings = behind;
        }
    }
    out
}
