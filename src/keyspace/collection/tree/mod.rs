//! A counted tree of leaves: the one structure behind every large collection.
//!
//! Records stand in the order of an [`Order`]. Inner nodes know of each branch how many records it has, a key that none of its records is below, and
//! when the earliest of them is due. A leaf is split when it is larger than the tree's limit, and joined with a neighbour when both together are
//! well below it, so neither growing nor shrinking ever costs more than a few leaves.

mod check;

use std::cmp::Ordering;
use std::ops::Range;

use smallvec::SmallVec;

use super::arena::Arena;
use super::leaf::Leaf;
use super::order::Order;

/// How large the parts of a tree may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a leaf, unless it is one record.
    pub leaf_bytes: usize,
    /// Branches of an inner node; at least 4.
    pub branches: usize,
}

impl Limits {
    /// For hashes, sets and lists. A leaf is also what a change copies while a snapshot is taken.
    pub const USUAL: Limits = Limits { leaf_bytes: 4096, branches: 64 };
    /// For sorted sets, where each look at a member passes its leaf.
    pub const SORTED: Limits = Limits { leaf_bytes: 1024, branches: 64 };
}

/// Neighbours are joined if they have at most this part (in tenths) of what one may have.
const JOINED_TENTHS: usize = 7;

/// Who wants to hear of changes: a running snapshot, which sees leaves as they were before, and whoever knows leaves by their numbers.
pub trait Capture {
    /// What leaves are stamped with that change now. It never comes again.
    fn era(&self) -> u32;

    /// Whether a leaf with this stamp is still to be seen.
    fn wants(&self, stamp: u32) -> bool {
        stamp != self.era()
    }

    /// What the leaf with a number held, the moment before it changes or goes.
    fn capture(&mut self, number: u32, leaf: Leaf);

    /// A record is in another leaf from now on, because its own was divided or joined with that.
    fn moved(&mut self, _record: &[u8], _from: u32, _to: u32) {}
}

/// No snapshot runs, and the era is 0.
pub struct NoCapture;

impl Capture for NoCapture {
    fn era(&self) -> u32 {
        0
    }

    fn wants(&self, _stamp: u32) -> bool {
        false
    }

    fn capture(&mut self, _number: u32, _leaf: Leaf) {}
}

/// A branch of an inner node.
#[derive(Clone, Copy)]
struct Child {
    /// A leaf, or an inner node of the level below.
    node: u32,
    count: u32,
    /// No record in it has a lesser key, unless it is the first of its level.
    key: u64,
    due_ms: i64,
}

type Inner = Vec<Child>;

/// Where a record is, or would be put: valid until the tree changes.
#[derive(Clone, Debug)]
pub struct Place {
    /// Inner nodes from the root on, and which of their branches.
    path: SmallVec<[(u32, usize); 6]>,
    leaf: u32,
    /// The record's number in the leaf.
    index: usize,
}

/// See the module's text.
pub struct Tree {
    leaves: Arena<Leaf>,
    inners: Arena<Inner>,
    root: u32,
    /// Levels of inner nodes.
    height: usize,
    len: usize,
    /// Bytes that leaves and inner nodes own.
    bytes: usize,
    limits: Limits,
}

impl Clone for Tree {
    fn clone(&self) -> Tree {
        let (leaves, inners) = (self.leaves.clone(), self.inners.clone());
        // A copy has no more room than it needs.
        let leaf_bytes: usize = leaves.iter().map(Leaf::owned_bytes).sum();
        let inner_bytes: usize = inners.iter().map(|inner| inner.capacity() * size_of::<Child>()).sum();
        Tree { leaves, inners, bytes: leaf_bytes + inner_bytes, ..*self }
    }
}

impl Tree {
    /// A tree without records.
    pub fn new(limits: Limits, era: u32) -> Tree {
        let mut leaves = Arena::default();
        let root = leaves.add(Leaf::new(0..u64::MAX, era));
        Tree { leaves, inners: Arena::default(), root, height: 0, len: 0, bytes: 0, limits }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the allocator has set aside for all of it.
    pub fn owned_bytes(&self) -> usize {
        self.bytes + self.leaves.owned_bytes() + self.inners.owned_bytes()
    }

    /// How many leaves it has, which is what freeing it costs.
    pub fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// When the earliest record is due, or before, in Unix milliseconds; `i64::MAX` for never.
    pub fn due_ms(&self) -> i64 {
        match self.height {
            0 => self.leaves.at(self.root).due_ms,
            _ => earliest(self.inners.at(self.root)),
        }
    }

    /// Finds a record, or the place where it would have to be.
    pub fn find<O: Order>(&self, order: &O, probe: O::Probe<'_>) -> Result<Place, Place> {
        let key = order.key(probe);
        let mut place = Place { path: SmallVec::new(), leaf: self.root, index: 0 };
        for level in (0..self.height).rev() {
            let children = self.inners.at(place.leaf);
            let end = children.partition_point(|child| child.key <= key);
            let start = children[..end].partition_point(|child| child.key < key);
            // Where several branches begin with this key, their first records decide.
            let before = |child: &Child| {
                let first = self.leaves.at(self.first_leaf(child.node, level)).record(order, 0);
                order.compare(probe, first) != Ordering::Less
            };
            let index = (start + children[start..end].partition_point(before)).saturating_sub(1);
            place.path.push((place.leaf, index));
            place.leaf = children[index].node;
        }
        match self.leaves.at(place.leaf).search(order, probe) {
            Ok(index) => Ok(Place { index, ..place }),
            Err(index) => Err(Place { index, ..place }),
        }
    }

    fn first_leaf(&self, mut node: u32, levels: usize) -> u32 {
        for _ in 0..levels {
            node = self.inners.at(node)[0].node;
        }
        node
    }

    /// The place of the record with this rank; behind the last record for the length.
    pub fn place_at(&self, rank: usize) -> Place {
        let mut place = Place { path: SmallVec::new(), leaf: self.root, index: rank.min(self.len) };
        let mut count = self.len;
        for _ in 0..self.height {
            let children = self.inners.at(place.leaf);
            let (index, before) = branch_of(children, count, place.index);
            place.path.push((place.leaf, index));
            place.leaf = children[index].node;
            place.index -= before;
            count = children[index].count as usize;
        }
        place
    }

    /// How many records stand before a place.
    pub fn rank(&self, place: &Place) -> usize {
        let before = |(inner, index): &(u32, usize)| {
            self.inners.at(*inner)[..*index].iter().map(|child| child.count as usize).sum::<usize>()
        };
        place.path.iter().map(before).sum::<usize>() + place.index
    }

    /// The record at a place; `None` behind the last one.
    pub fn record<O: Order>(&self, order: &O, place: &Place) -> Option<&[u8]> {
        let leaf = self.leaves.at(place.leaf);
        (place.index < leaf.count()).then(|| leaf.record(order, place.index))
    }

    /// Records from a rank on.
    pub fn iter_from<'t, O: Order>(
        &'t self,
        order: &O,
        rank: usize,
    ) -> impl Iterator<Item = &'t [u8]> + use<'t, O> {
        let order = *order;
        let mut place = self.place_at(rank);
        let mut rest = self.leaves.at(place.leaf).divided(&order, place.index).1;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                if !self.to_next_leaf(&mut place) {
                    return None;
                }
                rest = self.leaves.at(place.leaf).records::<O>();
            }
            let (record, behind) = rest.split_at(order.len_of(rest));
            rest = behind;
            Some(record)
        })
    }

    /// Records from the one before a rank on, backwards; of an order that can be passed so ([`Order::BOTH_WAYS`]).
    pub fn iter_before<'t, O: Order>(
        &'t self,
        order: &O,
        rank: usize,
    ) -> impl Iterator<Item = &'t [u8]> + use<'t, O> {
        let order = *order;
        let mut place = self.place_at(rank);
        let mut rest = self.leaves.at(place.leaf).divided(&order, place.index).0;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                place.index = 0;
                if !self.step_back(&mut place) {
                    return None;
                }
                rest = self.leaves.at(place.leaf).records::<O>();
            }
            let (before, record) = rest.split_at(rest.len() - order.len_of_last(rest));
            rest = before;
            Some(record)
        })
    }

    /// The records of each leaf, one behind the other.
    pub fn each_leaf<O: Order>(&self, mut see: impl FnMut(&[u8])) {
        let mut place = self.place_at(0);
        loop {
            see(self.leaves.at(place.leaf).records::<O>());
            if !self.to_next_leaf(&mut place) {
                return;
            }
        }
    }

    /// Bytes of all records; not counted further than `enough`, or a leaf more.
    pub fn record_bytes<O: Order>(&self, enough: usize) -> usize {
        let (mut place, mut bytes) = (self.place_at(0), 0);
        loop {
            bytes += self.leaves.at(place.leaf).records::<O>().len();
            if bytes > enough || !self.to_next_leaf(&mut place) {
                return bytes;
            }
        }
    }

    /// Numbers of leaves are less than this.
    pub fn numbers(&self) -> u32 {
        self.leaves.slots()
    }

    /// The leaf with a number, if it has a stamp of another era.
    pub fn unseen_leaf(&self, number: u32, era: u32) -> Option<&Leaf> {
        self.leaves.get(number).filter(|leaf| leaf.stamp != era)
    }

    /// Takes note that a leaf was seen.
    pub fn seen_leaf(&mut self, number: u32, era: u32) {
        self.leaves.at_mut(number).stamp = era;
    }

    /// The numbers of all leaves in the order of their records.
    pub fn leaf_order(&self) -> Vec<u32> {
        let (mut place, mut order) = (self.place_at(0), Vec::with_capacity(self.leaves.len()));
        loop {
            order.push(place.leaf);
            if !self.to_next_leaf(&mut place) {
                return order;
            }
        }
    }

    /// A leaf by its number, which is its own until its records have moved.
    pub fn leaf(&self, number: u32) -> &Leaf {
        self.leaves.at(number)
    }

    /// Goes to the record behind; false if there is none.
    pub fn step(&self, place: &mut Place) -> bool {
        place.index += 1;
        self.settle(place)
    }

    /// A place behind the last record of a leaf is that of the first record of the next one; false if there is none.
    pub fn settle(&self, place: &mut Place) -> bool {
        place.index < self.leaves.at(place.leaf).count() || self.to_next_leaf(place)
    }

    /// Goes to the first record of the next leaf; false if there is none.
    pub fn to_next_leaf(&self, place: &mut Place) -> bool {
        let up = place.path.iter().rposition(|(inner, index)| index + 1 < self.inners.at(*inner).len());
        let Some(depth) = up else { return false };
        place.path.truncate(depth + 1);
        place.path[depth].1 += 1;
        self.descend(place, |_| 0);
        place.index = 0;
        true
    }

    /// Goes to the record before; false if there is none.
    pub fn step_back(&self, place: &mut Place) -> bool {
        if place.index > 0 {
            place.index -= 1;
            return true;
        }
        let Some(depth) = place.path.iter().rposition(|(_, index)| *index > 0) else { return false };
        place.path.truncate(depth + 1);
        place.path[depth].1 -= 1;
        self.descend(place, |children| children.len() - 1);
        place.index = self.leaves.at(place.leaf).count() - 1;
        true
    }

    /// Goes to the last record of the leaf before; false if there is none.
    pub fn to_previous_leaf(&self, place: &mut Place) -> bool {
        place.index = 0;
        self.step_back(place)
    }

    /// Goes on to a leaf from the last inner node of the path.
    fn descend(&self, place: &mut Place, which: impl Fn(&Inner) -> usize) {
        let (inner, index) = place.path[place.path.len() - 1];
        place.leaf = self.inners.at(inner)[index].node;
        while place.path.len() < self.height {
            let index = which(self.inners.at(place.leaf));
            place.path.push((place.leaf, index));
            place.leaf = self.inners.at(place.leaf)[index].node;
        }
    }

    /// Puts a record where [`Tree::find`] says that it would have to be, or at any place of a list.
    pub fn insert<O: Order>(&mut self, order: &O, capture: &mut impl Capture, place: &Place, record: &[u8]) {
        let spare = self.spare::<O>(place);
        self.change(capture, place, |leaf| leaf.insert(order, place.index, record, spare));
        self.len += 1;
        self.count_along(place, 1);
        self.split_if_large(order, capture, place);
    }

    /// Puts a record in place of another that it shares its key with. One of the same length leaves all others where they are.
    pub fn replace<O: Order>(&mut self, order: &O, capture: &mut impl Capture, place: &Place, record: &[u8]) {
        let before = self.leaves.at(place.leaf).bytes();
        self.change(capture, place, |leaf| leaf.replace(order, place.index, record));
        if self.leaves.at(place.leaf).bytes() > before {
            self.split_if_large(order, capture, place);
        }
    }

    /// Puts a record in place of the one at `from` in a leaf, and at `to`, the number of the record that it then stands before; both it and that are of the
    /// same leaf, and so is the one before. Says no, having done nothing, where the leaf would become too large: no counts and no keys of branches
    /// change, so this needs no path.
    pub fn move_within<O: Order>(
        &mut self,
        order: &O,
        capture: &mut impl Capture,
        leaf: u32,
        (from, to): (usize, usize),
        record: &[u8],
    ) -> bool {
        let now = self.leaves.at(leaf);
        if now.bytes() - now.record(order, from).len() + record.len() > self.limits.leaf_bytes {
            return false;
        }
        self.change_leaf(capture, leaf, |leaf| leaf.move_record(order, from, to, record));
        true
    }

    /// Takes up to `count` records from a place on out, as far as they lie in the same leaf; says how many that were.
    pub fn remove<O: Order>(
        &mut self,
        order: &O,
        capture: &mut impl Capture,
        place: &Place,
        count: usize,
    ) -> usize {
        let count = count.min(self.leaves.at(place.leaf).count() - place.index);
        let spare = self.spare::<O>(place);
        self.change(capture, place, |leaf| leaf.remove(order, place.index..place.index + count, spare));
        self.len -= count;
        self.count_along(place, -(count as i64));
        self.shrink(order, capture, place);
        count
    }

    /// Of the records from a place on that lie in the same leaf, keeps those that are wanted; says how many went.
    pub fn retain<O: Order>(
        &mut self,
        order: &O,
        capture: &mut impl Capture,
        place: &Place,
        is_wanted: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        let mut gone = 0;
        self.change(capture, place, |leaf| gone = leaf.retain(order, place.index, is_wanted));
        self.len -= gone;
        self.count_along(place, -(gone as i64));
        self.shrink(order, capture, place);
        gone
    }

    /// How far a leaf may take memory for records to come: the first and the last one of a list, where elements come and go one by one.
    fn spare<O: Order>(&self, place: &Place) -> usize {
        let is_end = O::BOTH_WAYS && (self.is_in_first_leaf(place) || self.is_in_last_leaf(place));
        if is_end { self.limits.leaf_bytes } else { 0 }
    }

    fn is_in_first_leaf(&self, place: &Place) -> bool {
        place.path.iter().all(|(_, index)| *index == 0)
    }

    fn is_in_last_leaf(&self, place: &Place) -> bool {
        place.path.iter().all(|(inner, index)| index + 1 == self.inners.at(*inner).len())
    }

    /// Takes all records in a range of ranks out.
    pub fn remove_ranks<O: Order>(
        &mut self,
        order: &O,
        capture: &mut impl Capture,
        start: usize,
        count: usize,
    ) {
        let mut left = count.min(self.len.saturating_sub(start));
        while left > 0 {
            let place = self.place_at(start);
            left -= self.remove(order, capture, &place, left);
        }
    }

    /// A leaf in which something may be due at a Unix time in milliseconds: the place of its first record.
    pub fn find_due(&self, now_ms: i64) -> Option<Place> {
        if self.due_ms() > now_ms {
            return None;
        }
        let mut place = Place { path: SmallVec::new(), leaf: self.root, index: 0 };
        for _ in 0..self.height {
            let index = self.inners.at(place.leaf).iter().position(|child| child.due_ms <= now_ms)?;
            place.path.push((place.leaf, index));
            place.leaf = self.inners.at(place.leaf)[index].node;
        }
        Some(place)
    }

    /// Takes those records of a leaf out whose time has come, and shows them before.
    pub fn take_due<O: Order>(
        &mut self,
        order: &O,
        capture: &mut impl Capture,
        place: &Place,
        now_ms: i64,
        mut see: impl FnMut(&[u8]),
    ) {
        let mut runs: SmallVec<[Range<usize>; 8]> = SmallVec::new();
        for (index, record) in self.leaves.at(place.leaf).iter(order).enumerate() {
            if order.due_ms(record) > now_ms {
                continue;
            }
            see(record);
            match runs.last_mut() {
                Some(run) if run.end == index => run.end += 1,
                _ => runs.push(index..index + 1),
            }
        }
        // What is known of a leaf may be the deadline of a record that is gone.
        if runs.is_empty() {
            return self.look_at_due(order, place);
        }
        let count: usize = runs.iter().map(Range::len).sum();
        self.change(capture, place, |leaf| {
            runs.iter().rev().for_each(|run| leaf.remove(order, run.clone(), 0));
        });
        self.len -= count;
        self.count_along(place, -(count as i64));
        self.look_at_due(order, place);
        self.shrink(order, capture, place);
    }

    /// The first record whose key is not below this one; a place behind the last if there is none.
    pub fn place_from<O: Order>(&self, order: &O, key: u64) -> Place {
        let mut place = Place { path: SmallVec::new(), leaf: self.root, index: 0 };
        for _ in 0..self.height {
            let children = self.inners.at(place.leaf);
            // Records with this very key may be at the end of the branch before the first that begins with it.
            let index = children.partition_point(|child| child.key < key).saturating_sub(1);
            place.path.push((place.leaf, index));
            place.leaf = children[index].node;
        }
        let leaf = self.leaves.at(place.leaf);
        let (mut low, mut high) = (0, leaf.count());
        while low < high {
            let middle = low.midpoint(high);
            if order.key_of(leaf.record(order, middle)) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        place.index = low;
        self.settle(&mut place);
        place
    }

    /// Looks when the records of a leaf are due: what is known of that is what was, after some were removed or have more time.
    pub fn look_at_due<O: Order>(&mut self, order: &O, place: &Place) {
        let leaf = self.leaves.at_mut(place.leaf);
        leaf.due_ms = leaf.earliest_ms(order);
        let due_ms = leaf.due_ms;
        self.tell_due(&place.path, due_ms);
    }

    /// What is at the end of a path is due then. Of inner nodes it is always known exactly, so that who looks for what is due finds a leaf.
    fn tell_due(&mut self, path: &[(u32, usize)], mut due_ms: i64) {
        for (inner, index) in path.iter().rev() {
            let children = self.inners.at_mut(*inner);
            children[*index].due_ms = due_ms;
            due_ms = earliest(children);
        }
    }

    /// The one way to a leaf that changes. Keeps the account of bytes and of what is due.
    fn change(&mut self, capture: &mut impl Capture, place: &Place, change: impl FnOnce(&mut Leaf)) {
        self.change_leaf(capture, place.leaf, change);
        let due_ms = self.leaves.at(place.leaf).due_ms;
        for (inner, index) in &place.path {
            let child = &mut self.inners.at_mut(*inner)[*index];
            child.due_ms = child.due_ms.min(due_ms);
        }
    }

    /// [`Tree::change`] where no deadline can have become earlier.
    fn change_leaf(&mut self, capture: &mut impl Capture, number: u32, change: impl FnOnce(&mut Leaf)) {
        let leaf = self.leaves.at_mut(number);
        if capture.wants(leaf.stamp) {
            capture.capture(number, leaf.clone());
        }
        leaf.stamp = capture.era();
        let before = leaf.owned_bytes();
        change(leaf);
        self.bytes = self.bytes + leaf.owned_bytes() - before;
    }

    fn count_along(&mut self, place: &Place, by: i64) {
        for (inner, index) in &place.path {
            let child = &mut self.inners.at_mut(*inner)[*index];
            child.count = child.count.wrapping_add_signed(by as i32);
        }
    }

    /// The key that the records behind a branch begin with.
    fn key_behind(&self, path: &[(u32, usize)]) -> u64 {
        let next = |(inner, index): &(u32, usize)| self.inners.at(*inner).get(index + 1);
        path.iter().rev().find_map(next).map_or(u64::MAX, |child| child.key)
    }

    fn split_if_large<O: Order>(&mut self, order: &O, capture: &mut impl Capture, place: &Place) {
        let leaf = self.leaves.at(place.leaf);
        if leaf.bytes() <= self.most_bytes(place) || leaf.count() < 2 {
            return;
        }
        let (end, start) = (self.key_behind(&place.path), self.rank(place) - place.index);
        // What grows at an end leaves full leaves behind.
        let at = match place.index {
            0 if self.is_in_first_leaf(place) => 1,
            index if self.is_in_last_leaf(place) && index + 1 == leaf.count() => index,
            _ => half(order, leaf),
        };
        let leaf = self.leaves.at_mut(place.leaf);
        let before = leaf.owned_bytes();
        let second = leaf.split_off(order, at, end);
        self.bytes = self.bytes + leaf.owned_bytes() + second.owned_bytes() - before;
        let (count, due_ms) = (leaf.count() as u32, leaf.due_ms);
        // A record that is larger than a leaf may be takes more than one split to be alone.
        let rest = [leaf.bytes(), second.bytes()].map(|len| len > self.limits.leaf_bytes);
        let child = Child {
            node: 0,
            count: second.count() as u32,
            key: order.key_of(second.record(order, 0)),
            due_ms: second.due_ms,
        };
        let child = Child { node: self.leaves.add(second), ..child };
        self.leaves.at(child.node).each(order, |record| capture.moved(record, place.leaf, child.node));
        self.add_behind(&place.path, (count, due_ms), child);
        for (rank, _) in [start, start + at].into_iter().zip(rest).filter(|(_, is_large)| *is_large) {
            self.split_if_large(order, capture, &self.place_at(rank));
        }
    }

    /// How large the leaf of a place may be when it has got a record there. Leaves of one size would be of the same size at any time, since keys are spread evenly: they would all
    /// grow out of one size class of the slabs into the next together, and leave it half empty behind. So each has a limit of its own, but where records are added at an end.
    fn most_bytes(&self, place: &Place) -> usize {
        let most = self.limits.leaf_bytes;
        let is_last = || place.index + 1 == self.leaves.at(place.leaf).count() && self.is_in_last_leaf(place);
        if place.index == 0 && self.is_in_first_leaf(place) || is_last() {
            return most;
        }
        let part = place.leaf.wrapping_mul(0x9e37_79b1) >> 24;
        most - most / 4 * part as usize / 256
    }

    /// A new branch stands behind the last one of the path, of which so many records are left, the earliest due then.
    fn add_behind(&mut self, path: &[(u32, usize)], (count, due_ms): (u32, i64), new: Child) {
        let Some((&(inner, index), above)) = path.split_last() else {
            let old = Child { node: self.root, count, key: 0, due_ms };
            self.root = self.add_inner(vec![old, new]);
            self.height += 1;
            return;
        };
        let children = self.inners.at_mut(inner);
        (children[index].count, children[index].due_ms) = (count, due_ms);
        let before = children.capacity();
        children.insert(index + 1, new);
        let grown = children.capacity() - before;
        self.bytes += grown * size_of::<Child>();
        if children.len() <= self.limits.branches {
            let due_ms = earliest(children);
            return self.tell_due(above, due_ms);
        }
        let at = if index + 2 == children.len() { self.limits.branches * 9 / 10 } else { children.len() / 2 };
        let second = children.split_off(at);
        let (count, due_ms) = (total(children), earliest(children));
        let new = Child { node: 0, count: total(&second), key: second[0].key, due_ms: earliest(&second) };
        let new = Child { node: self.add_inner(second), ..new };
        self.add_behind(above, (count, due_ms), new);
    }

    fn add_inner(&mut self, children: Inner) -> u32 {
        self.bytes += children.capacity() * size_of::<Child>();
        self.inners.add(children)
    }

    /// After records have left a leaf: drops it if it is empty, or joins it with a neighbour.
    fn shrink<O: Order>(&mut self, order: &O, capture: &mut impl Capture, place: &Place) {
        let Some(&(inner, index)) = place.path.last() else { return };
        let leaf = self.leaves.at(place.leaf);
        if leaf.count() == 0 {
            self.bytes -= leaf.owned_bytes();
            self.leaves.remove(place.leaf);
            self.drop_branch(&place.path);
            return;
        }
        let (len, most) = (leaf.bytes(), self.limits.leaf_bytes * JOINED_TENTHS / 10);
        if len * 2 > self.limits.leaf_bytes {
            return;
        }
        let children = self.inners.at(inner);
        let joins = |index: usize| {
            let pair = children.get(index).zip(children.get(index + 1));
            pair.filter(|(a, b)| self.leaves.at(a.node).bytes() + self.leaves.at(b.node).bytes() <= most)
        };
        let before = index.checked_sub(1).filter(|before| joins(*before).is_some());
        let Some(first) = before.or_else(|| joins(index).map(|_| index)) else { return };
        let (a, b) = (children[first], children[first + 1]);
        let mut path = place.path.clone();
        let depth = path.len() - 1;
        path[depth].1 = first + 1;
        let end = self.key_behind(&path);
        let next = self.leaves.remove(b.node);
        self.bytes -= next.owned_bytes();
        if capture.wants(next.stamp) {
            capture.capture(b.node, next.clone());
        }
        next.each(order, |record| capture.moved(record, b.node, a.node));
        path[depth].1 = first;
        let joined = Place { path: path.clone(), leaf: a.node, index: 0 };
        self.change(capture, &joined, |leaf| leaf.append(order, &next, end));
        self.inners.at_mut(inner)[first].count += b.count;
        path[depth].1 = first + 1;
        self.drop_branch(&path);
    }

    /// Takes a branch out of its inner node, which may be joined with a neighbour or go, too.
    fn drop_branch(&mut self, path: &[(u32, usize)]) {
        let Some((&(inner, index), above)) = path.split_last() else { return };
        let children = self.inners.at_mut(inner);
        children.remove(index);
        let (len, due_ms) = (children.len(), earliest(children));
        if !above.is_empty() {
            if len == 0 {
                self.remove_inner(inner);
                return self.drop_branch(above);
            }
            self.tell_due(above, due_ms);
            if len * 4 < self.limits.branches {
                self.join_inner(above);
            }
        }
        while self.height > 0 && self.inners.at(self.root).len() == 1 {
            let only = self.inners.at(self.root)[0].node;
            self.remove_inner(self.root);
            self.root = only;
            self.height -= 1;
        }
    }

    /// Joins the inner node at the end of a path with a neighbour, if both are well below what one may have.
    fn join_inner(&mut self, path: &[(u32, usize)]) {
        let Some(&(parent, index)) = path.last() else { return };
        let siblings = self.inners.at(parent);
        let len = |child: &Child| self.inners.at(child.node).len();
        let joins = |index: usize| {
            let pair = siblings.get(index).zip(siblings.get(index + 1));
            pair.is_some_and(|(a, b)| len(a) + len(b) <= self.limits.branches * JOINED_TENTHS / 10)
        };
        let before = index.checked_sub(1).filter(|before| joins(*before));
        let Some(first) = before.or_else(|| joins(index).then_some(index)) else { return };
        let (a, b) = (siblings[first], siblings[first + 1]);
        let mut moved = self.remove_inner(b.node);
        // The first branch of a node may have lesser keys than its own, but none that is less than the node's.
        if let Some(first) = moved.first_mut() {
            first.key = b.key;
        }
        let children = self.inners.at_mut(a.node);
        let capacity = children.capacity();
        children.append(&mut moved);
        let grown = children.capacity() - capacity;
        self.bytes += grown * size_of::<Child>();
        let child = &mut self.inners.at_mut(parent)[first];
        (child.count, child.due_ms) = (a.count + b.count, a.due_ms.min(b.due_ms));
        let mut path: SmallVec<[(u32, usize); 6]> = path.into();
        let depth = path.len() - 1;
        path[depth].1 = first + 1;
        self.drop_branch(&path);
    }

    fn remove_inner(&mut self, inner: u32) -> Inner {
        let children = self.inners.remove(inner);
        self.bytes -= children.capacity() * size_of::<Child>();
        children
    }
}

impl Place {
    /// The leaf's number.
    pub fn leaf(&self) -> u32 {
        self.leaf
    }

    /// The record's number in the leaf.
    pub fn index(&self) -> usize {
        self.index
    }

    #[cfg(test)]
    pub fn is_in_leaf_of(&self, other: &Place) -> bool {
        self.leaf == other.leaf
    }
}

/// Which of these branches, that have so many records together, has the one with this number, and how many records stand before the branch.
/// Counted from the nearer end.
fn branch_of(children: &[Child], count: usize, number: usize) -> (usize, usize) {
    if number * 2 < count {
        let (mut index, mut before) = (0, 0);
        while index + 1 < children.len() && number >= before + children[index].count as usize {
            before += children[index].count as usize;
            index += 1;
        }
        return (index, before);
    }
    let (mut index, mut before) = (children.len() - 1, count);
    loop {
        before -= children[index].count as usize;
        if index == 0 || before <= number {
            return (index, before);
        }
        index -= 1;
    }
}

fn total(children: &[Child]) -> u32 {
    children.iter().map(|child| child.count).sum()
}

fn earliest(children: &[Child]) -> i64 {
    children.iter().map(|child| child.due_ms).min().unwrap_or(i64::MAX)
}

/// The record at which a leaf has half of its bytes before it; neither the first nor behind the last.
fn half<O: Order>(order: &O, leaf: &Leaf) -> usize {
    let records = leaf.records::<O>();
    let (mut rest, mut index) = (records, 0);
    while rest.len() * 2 > records.len() && index + 1 < leaf.count() {
        rest = &rest[order.len_of(rest)..];
        index += 1;
    }
    index.max(1)
}
