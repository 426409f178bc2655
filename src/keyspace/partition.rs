//! One shard's part of one database: its table, its expiry wheel, and the rule that keeps the two in step.
//!
//! The rule: an entry with a deadline has a record in the wheel at `filed_tick`, and that tick is not after the deadline's.
//! Moving a deadline further away only stores it; when the record comes due, the entry is filed again. Only a nearer
//! deadline files a second record, and the first, when it comes due, no longer matches `filed_tick` and is dropped.

use std::ops::Range;

use super::Garbage;
use super::capture::{self, Removed};
use super::collection::Splice;
use super::entry::{Change, Entry, EntryMut, EntryNotes, EntryRef};
use super::large::LeafGate;
use super::parts;
use super::root::Root;
use super::table::{Position, Replaced, Table};
use super::values;
use super::wheel::{TICK_MS, Wheel};
use super::{NO_DATABASE, Site};
use crate::storage::Kind;

/// A wheel is swept for stale records when it holds this many times its volatile keys, and this many more.
const STALE_FACTOR: usize = 2;
const STALE_SLACK: usize = 64;

/// See the module's text. One cache line, because every request touches it.
#[derive(Default)]
#[repr(align(64))]
pub struct Partition {
    table: Table,
    wheel: Option<Box<Wheel>>,
    volatile: u32,
    /// Keys whose elements may have deadlines.
    timed: u32,
}

/// What the wheel found due.
pub enum Due {
    /// The wheel has caught up, or the budget is used up.
    Nothing,
    /// A record that needed no more than filing again or dropping.
    Handled,
    /// The entry there has expired.
    Expired(Position),
    /// Elements of the entry there have expired.
    Elements(Position),
}

impl Partition {
    /// A partition that has nothing, not even memory.
    pub const fn new() -> Partition {
        Partition { table: Table::new(), wheel: None, volatile: 0, timed: 0 }
    }

    /// Whether it is as [`Partition::new`] made it.
    pub fn is_unused(&self) -> bool {
        self.table.is_unused() && self.wheel.is_none()
    }

    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys that have a deadline.
    pub fn volatile(&self) -> usize {
        self.volatile as usize
    }

    /// Keys whose elements may have deadlines.
    #[cfg(test)]
    pub fn timed(&self) -> usize {
        self.timed as usize
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Records in the wheel, stale ones included.
    pub fn records(&self) -> usize {
        self.wheel.as_ref().map_or(0, |wheel| wheel.len())
    }

    /// Records in the wheel that are due at the site's time, stale ones included: at least as many as there are keys whose
    /// time has passed and which are still resident, but for the last [`TICK_MS`]. Not counted further than `enough`, or a little more.
    pub fn due_records(&self, site: Site<'_>, enough: usize) -> usize {
        self.wheel.as_ref().map_or(0, |wheel| wheel.due(site.tick_reached(), enough))
    }

    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Position> {
        self.table.find(hash, key)
    }

    #[inline]
    pub fn entry(&self, position: Position) -> EntryRef<'_> {
        self.table.entry(position)
    }

    /// The entry at `position`, to take a note of an access in it.
    #[inline]
    pub fn notes(&mut self, position: Position) -> EntryNotes<'_> {
        self.table.entry_mut(position).into_notes()
    }

    /// The gate: makes a change of the entry at `position`, and gives it for more. If the running snapshot has yet to see the entry, that keeps the
    /// block and the change is made in a new one, which belongs to the present epoch; or the deadline of a large one is noted for the snapshot.
    #[inline]
    fn change(&mut self, site: Site<'_>, position: Position, change: Change<'_>) -> EntryMut<'_> {
        let mut entry = self.table.entry_mut(position);
        if entry.view().stamp() != site.epoch() || !entry.change(change) {
            self.remake(site, position, change);
        }
        self.table.entry_mut(position)
    }

    /// Makes a change that cannot be made where the entry lies.
    #[inline(never)]
    fn remake(&mut self, site: Site<'_>, position: Position, change: Change<'_>) {
        let entry = self.entry(position);
        let is_seen = entry.stamp() == site.epoch();
        if matches!(change, Change::Deadline) && entry.root().is_some() {
            capture::capture_head(site, entry);
            return self.seen(site, position);
        }
        if !is_seen && matches!(change, Change::Deadline) && entry.is_large() {
            return capture::note_deadline(site, entry);
        }
        let was_timed = entry.is_timed();
        self.table.replace(position, |old| match change {
            Change::Length(length, _) if is_seen && old.view().root().is_none() => {
                let mut resized = old.resize_value(length);
                resized.view_mut().set_timed(false);
                resized.view_mut().change(change);
                resized
            }
            Change::Splice(splice) if is_seen => old.splice(splice),
            _ => {
                let mut fresh = old.view().changed(change);
                fresh.view_mut().enter(site.epoch());
                drop(Removed::new(site, old));
                fresh
            }
        });
        self.timed -= u32::from(was_timed && !self.entry(position).is_timed());
    }

    /// The running snapshot has seen the entry at `position` as it is now.
    #[inline]
    pub(super) fn seen(&mut self, site: Site<'_>, position: Position) {
        self.table.entry_mut(position).enter(site.epoch());
    }

    /// Adds an entry whose key is not there yet. Its deadline, if it has one, is filed.
    pub fn insert(&mut self, site: Site<'_>, hash: u64, mut entry: Entry) -> Position {
        entry.view_mut().enter(site.epoch());
        entry.view_mut().into_notes().set_filed_tick(0);
        if let Some(root) = entry.view_mut().into_root() {
            root.enter(site.era());
        }
        if self.table.is_full() {
            self.rearrange(site, |table, replaced| table.make_room(hash, |key| site.hash(key), replaced));
        }
        let expire_at_ms = entry.view().expire_at_ms();
        let timed = entry.view().is_timed();
        let position = self.table.insert(hash, entry);
        if let Some(at) = expire_at_ms {
            self.volatile += 1;
            self.file(site, position, hash, at);
        }
        if timed {
            self.timed += 1;
            self.file_elements(site, position, hash);
        }
        position
    }

    /// Makes room for so many further entries, so that adding them does not grow the table step by step.
    pub fn reserve(&mut self, site: Site<'_>, more: usize) {
        self.rearrange(site, |table, replaced| table.reserve(more, |key| site.hash(key), replaced));
    }

    /// Removes the entry at `position`; its record in the wheel stays behind and is stale from now on.
    pub fn remove<'k>(&mut self, site: Site<'k>, position: Position) -> Removed<'k> {
        let entry = self.table.remove(position);
        self.volatile -= u32::from(entry.view().expire_at_ms().is_some());
        self.timed -= u32::from(entry.view().is_timed());
        if self.table.is_sparse() {
            self.rearrange(site, |table, replaced| table.give_back(position, |key| site.hash(key), replaced));
        }
        Removed::new(site, entry)
    }

    /// Replaces the value of the entry at `position`; deadline and access history stay.
    #[inline]
    pub fn set_value(
        &mut self,
        site: Site<'_>,
        position: Position,
        value: &[u8],
        kind: Kind,
    ) -> EntryNotes<'_> {
        self.change(site, position, Change::Value(value, kind)).into_notes()
    }

    /// Changes the length of the value at `position`, keeping its leading bytes (new ones are zero), and lets `edit` write into it: into the ranges `written`
    /// of its bytes and nothing else. Of a large string that the running snapshot has yet to see, that keeps those pages alone.
    pub fn edit_value<T>(
        &mut self,
        site: Site<'_>,
        position: Position,
        (value_len, kind): (usize, Kind),
        written: &[Range<usize>],
        edit: impl FnOnce(&mut [u8]) -> T,
    ) -> T {
        let entry = self.entry(position);
        let is_large = entry.stamp() != site.epoch() && entry.is_large();
        if is_large && entry.is_string() && value_len >= entry.value().len() {
            self.keep_parts(site, position, (value_len, kind), written);
            let mut entry = self.table.entry_mut(position);
            return edited_within(entry.value_mut(), written, edit);
        }
        edit(self.change(site, position, Change::Length(value_len, kind)).value_mut())
    }

    /// Makes a large string ready to be written into, though the running snapshot has not seen it.
    #[cold]
    fn keep_parts(
        &mut self,
        site: Site<'_>,
        position: Position,
        (value_len, kind): (usize, Kind),
        written: &[Range<usize>],
    ) {
        if site.database != NO_DATABASE {
            parts::before_edit(site, self.entry(position), written);
        }
        let change = Change::Length(value_len, kind);
        if !self.table.entry_mut(position).change(change) {
            let before = self.entry(position).address();
            self.table.replace(position, |old| {
                let mut resized = old.resize_value(value_len);
                resized.view_mut().change(change);
                resized
            });
            site.keyspace.captured_queue(site.shard).moved(before, self.entry(position).address());
        }
    }

    /// Replaces some bytes of the small collection at `position`.
    pub fn splice(&mut self, site: Site<'_>, position: Position, splice: &Splice<'_>) {
        self.change(site, position, Change::Splice(splice));
    }

    /// Makes the value at `position` a large collection of the same kind.
    pub fn set_root(&mut self, site: Site<'_>, position: Position, mut root: Box<Root>) {
        root.enter(site.era());
        self.table.replace(position, |old| {
            let mut fresh = old.view().with_other_value(|key, kind| Entry::with_root(key, kind, root));
            fresh.view_mut().enter(site.epoch());
            drop(Removed::new(site, old));
            fresh
        });
    }

    /// The large collection at `position`, to be changed, with what captures its leaves before. If the running snapshot has yet to see the collection, its head is
    /// captured.
    pub fn root_mut<'k>(&mut self, site: Site<'k>, position: Position) -> Option<(&mut Root, LeafGate<'k>)> {
        let entry = self.entry(position);
        entry.root()?;
        if entry.stamp() != site.epoch() {
            capture::capture_head(site, entry);
            self.seen(site, position);
        }
        let kind = self.entry(position).kind();
        let root = self.table.entry_mut(position).into_root()?;
        root.enter(site.era());
        let gate = LeafGate::of(site, kind, root);
        Some((root, gate))
    }

    /// The root at `position`, for the visitor: the running snapshot has seen its head, or all of it.
    pub(super) fn seen_root(&mut self, site: Site<'_>, position: Position) -> Option<&mut Root> {
        self.seen(site, position);
        self.table.entry_mut(position).into_root()
    }

    /// An element of the value at `position` has got this deadline, in Unix milliseconds. `hash` is the key's.
    pub fn note_element_deadline(&mut self, site: Site<'_>, position: Position, hash: u64, at_ms: i64) {
        self.set_timed(position, true);
        self.file(site, position, hash, at_ms);
    }

    fn set_timed(&mut self, position: Position, timed: bool) {
        let mut entry = self.table.entry_mut(position);
        let before = entry.view().is_timed();
        entry.set_timed(timed);
        self.timed = self.timed + u32::from(timed) - u32::from(before);
    }

    /// Files the entry at `position` at the time of its earliest element that has a deadline; if that has passed, at the tick that is under way.
    pub fn file_elements(&mut self, site: Site<'_>, position: Position, hash: u64) {
        match values::due_ms(self.entry(position)) {
            i64::MAX => self.set_timed(position, false),
            due_ms => self.file(site, position, hash, due_ms),
        }
    }

    /// Whether the entry at `position` belongs to the present epoch: it was made or changed after the last cut, or the snapshot has seen it.
    #[inline]
    pub fn is_seen(&self, site: Site<'_>, position: Position) -> bool {
        self.entry(position).stamp() == site.epoch()
    }

    /// Whether what the log is told of the deadline of the entry at `position` can be remembered: not before the running snapshot has seen
    /// a large one.
    #[inline]
    pub fn remembers_coarseness(&self, site: Site<'_>, position: Position) -> bool {
        self.is_seen(site, position) || !self.entry(position).is_large()
    }

    /// How coarsely the write log knows the deadline of the entry at `position`, for what is recorded from now on: exactly, if the present
    /// increment knows nothing of it.
    pub fn known_coarseness(&self, site: Site<'_>, position: Position) -> u32 {
        if self.is_seen(site, position) { self.entry(position).logged_coarseness() } else { 0 }
    }

    /// Sets or removes the deadline of the entry at `position`. `coarseness` is what the write log then knows of it
    /// ([`EntryRef::logged_coarseness`]).
    #[inline]
    pub fn set_expire_at_ms(
        &mut self,
        site: Site<'_>,
        position: Position,
        hash: u64,
        at: Option<i64>,
        coarseness: u32,
    ) {
        if self.entry(position).has_fate(at, coarseness, site.epoch()) {
            return;
        }
        let mut entry = self.change(site, position, Change::Deadline);
        let before = entry.view().expire_at_ms();
        entry.set_expire_at_ms(at, coarseness);
        if before == at {
            return;
        }
        self.volatile -= u32::from(before.is_some());
        if let Some(at) = at {
            self.volatile += 1;
            self.file(site, position, hash, at);
        }
    }

    #[inline]
    fn file(&mut self, site: Site<'_>, position: Position, hash: u64, at_ms: i64) {
        let tick = site.tick_of_deadline(at_ms);
        let mut entry = self.notes(position);
        let filed = entry.view().filed_tick();
        // Both are less than 2^31 ticks from now, so the lower halves tell which is earlier.
        if filed != 0 && (tick as u32).wrapping_sub(filed) as i32 >= 0 {
            return;
        }
        entry.set_filed_tick(tick as u32);
        let wheel = self.wheel.get_or_insert_with(|| Box::new(Wheel::new(site.tick_reached())));
        wheel.file((hash >> 32) as u32, tick);
        site.keyspace.note_due(site.shard, tick);
    }

    /// Handles the next record that is due at the site's time. An expired entry is named, not removed: the caller owns the
    /// effects of that.
    pub fn next_due(&mut self, site: Site<'_>, budget: &mut usize) -> Due {
        let Some(wheel) = &mut self.wheel else { return Due::Nothing };
        let Some(record) = wheel.pop_due(site.tick_reached(), budget) else { return Due::Nothing };
        // Of several keys with one home and one tick, each record must find its own: after the next resize they have different homes.
        let found = self.table.find_by_prefix(record.prefix, |entry| {
            entry.filed_tick() == record.tick && site.hash(entry.key()) >> 32 == u64::from(record.prefix)
        });
        let Some(position) = found else { return Due::Handled };
        let mut entry = self.notes(position);
        entry.set_filed_tick(0);
        if entry.view().is_expired(site.now_ms) {
            return Due::Expired(position);
        }
        let (at, timed) = (entry.view().expire_at_ms(), entry.view().is_timed());
        let hash = site.hash(self.table.entry(position).key());
        if let Some(at) = at {
            self.file(site, position, hash, at);
        }
        if timed && values::due_ms(self.entry(position)) <= site.now_ms {
            // Whoever takes them out files the entry for what is left.
            return Due::Elements(position);
        }
        if timed {
            self.file_elements(site, position, hash);
        }
        Due::Handled
    }

    /// Keys that have a deadline, in the order of the wheel from some slot on, behind so many records; `None` for stale records.
    pub fn filed(&self, from: usize, passed: usize) -> impl Iterator<Item = Option<Position>> {
        self.wheel.iter().flat_map(move |wheel| {
            wheel.records(from).skip(passed % wheel.len().max(1)).map(|record| {
                self.table.find_by_prefix(record.prefix, |entry| entry.filed_tick() == record.tick)
            })
        })
    }

    /// The next tick at which the wheel has something to do.
    pub fn next_tick(&self) -> Option<u64> {
        self.wheel.as_ref().and_then(|wheel| wheel.next_tick())
    }

    /// Milliseconds for which the wheel has had something to do that is not done at the site's time.
    pub fn lag_ms(&self, site: Site<'_>) -> i64 {
        let behind = |tick| site.tick_reached().saturating_sub(tick) as i64 * TICK_MS;
        self.next_tick().map_or(0, behind)
    }

    /// Drops stale records of the wheel if too many are stale, looking at no more records than the budget says.
    pub fn sweep_stale_records(&mut self, budget: &mut usize) {
        let Some(wheel) = &mut self.wheel else { return };
        if wheel.len() <= (self.volatile + self.timed) as usize * STALE_FACTOR + STALE_SLACK {
            return;
        }
        let table = &self.table;
        wheel.sweep(budget, |record| {
            table.find_by_prefix(record.prefix, |entry| entry.filed_tick() == record.tick).is_some()
        });
    }

    /// Gives the memory of a partition back in which nothing is left but stale records.
    pub(super) fn give_back_if_empty(&mut self, site: Site<'_>) {
        if self.is_empty() && !self.is_unused() {
            let old = std::mem::take(self);
            self.published(site);
            site.keyspace.prefetcher().retire_all(old.table.shared_words());
            site.keyspace.reclaimer().free(Garbage::Partitions(vec![Box::new(old)]));
        }
    }

    /// Makes the prefetch hint agree with the table; needed whenever a table moves to another site.
    pub fn published(&self, site: Site<'_>) {
        let address = std::ptr::from_ref(self).addr();
        site.keyspace.prefetcher().publish(site.database, site.shard, self.table.hint(), address);
    }

    /// Lets `change` replace arrays of the table, and tells the prefetcher.
    #[cold]
    fn rearrange(&mut self, site: Site<'_>, change: impl FnOnce(&mut Table, &mut Replaced) -> bool) {
        let mut replaced = Replaced::new();
        if change(&mut self.table, &mut replaced) {
            self.published(site);
        }
        if !replaced.is_empty() {
            site.keyspace.prefetcher().retire_all(replaced);
        }
    }
}

/// Lets `edit` write into a value, and in debug builds looks whether that has kept to the ranges.
fn edited_within<T>(value: &mut [u8], written: &[Range<usize>], edit: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut before = if cfg!(debug_assertions) { value.to_vec() } else { Vec::new() };
    let done = edit(value);
    if cfg!(debug_assertions) {
        written.iter().for_each(|range| before[range.clone()].copy_from_slice(&value[range.clone()]));
        debug_assert!(before == value, "an edit writes where it said it would");
    }
    done
}
