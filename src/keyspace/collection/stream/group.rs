//! A consumer group: how far it has read, its consumers, and what they have not acknowledged.

use super::super::arena::Arena;
use super::super::block::Block;
use super::super::tree::Limits;
use super::entries::Entries;
use super::id::{Base, Id};
use super::names::Names;
use super::pending::{Pending, PendingEntries};

/// A consumer of a group.
#[derive(Clone)]
pub struct Consumer {
    name: Block,
    /// When it last asked for something, in Unix milliseconds.
    pub seen_ms: i64,
    /// When it last got something; `None` if never.
    pub active_ms: Option<i64>,
    pending: u64,
}

impl Consumer {
    pub fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    /// How many entries it has not acknowledged.
    pub fn pending(&self) -> u64 {
        self.pending
    }
}

/// See the module's text.
#[derive(Clone)]
pub struct Group {
    /// The last entry that was delivered.
    pub last_delivered: Id,
    /// How many entries were ever added up to that one, if that is known.
    pub entries_read: Option<u64>,
    pending: PendingEntries,
    names: Names,
    consumers: Arena<Consumer>,
    name_bytes: usize,
}

impl Group {
    pub(super) fn new(last_delivered: Id, entries_read: Option<u64>, base: Base, limits: Limits) -> Group {
        Group {
            last_delivered,
            entries_read,
            pending: PendingEntries::new(base, limits),
            names: Names::new(limits),
            consumers: Arena::default(),
            name_bytes: 0,
        }
    }

    /// A copy without what only finds others.
    pub(super) fn to_be_saved(&self) -> Group {
        Group {
            pending: self.pending.to_be_saved(),
            names: self.names.clone(),
            consumers: self.consumers.clone(),
            ..*self
        }
    }

    /// Bytes that the allocator has set aside for what it owns.
    pub fn owned_bytes(&self) -> usize {
        self.pending.owned_bytes() + self.names.owned_bytes() + self.consumers.owned_bytes() + self.name_bytes
    }

    /// An entry behind the last one is delivered.
    pub fn advance(&mut self, entries: &Entries, id: Id) {
        self.entries_read = match self.entries_read {
            Some(read) if !entries.has_deleted_from(id) => Some(read.wrapping_add(1)),
            read if entries.added() == 0 => read,
            _ => entries.added_up_to(id),
        };
        self.last_delivered = id;
    }

    /// How many entries it has not read, if that is known.
    pub fn lag(&self, entries: &Entries) -> Option<i64> {
        if entries.added() == 0 {
            return Some(0);
        }
        let read = match self.entries_read {
            Some(read) if !entries.has_deleted_from(self.last_delivered) => Some(read),
            _ => entries.added_up_to(self.last_delivered),
        };
        read.map(|read| entries.added().wrapping_sub(read) as i64)
    }

    pub fn consumer_count(&self) -> usize {
        self.names.len()
    }

    /// The number of a consumer.
    pub fn find_consumer(&self, name: &[u8]) -> Option<u32> {
        self.names.get(name)
    }

    /// The consumer with a number that this group gave, until that one is removed.
    pub fn consumer(&self, number: u32) -> &Consumer {
        self.consumers.at(number)
    }

    /// All consumers by name, with their numbers.
    pub fn consumers(&self) -> impl Iterator<Item = (u32, &Consumer)> {
        self.names.iter().map(|(_, number)| (number, self.consumers.at(number)))
    }

    /// Adds a consumer that is not there, seen at this time.
    pub fn add_consumer(&mut self, name: &[u8], now_ms: i64) -> u32 {
        let name_block = Block::of(&[name]);
        self.name_bytes += name_block.owned_bytes();
        let consumer = Consumer { name: name_block, seen_ms: now_ms, active_ms: None, pending: 0 };
        let number = self.consumers.add(consumer);
        self.names.add(name, number);
        number
    }

    /// A consumer asks for something.
    pub fn see(&mut self, number: u32, now_ms: i64) {
        self.consumers.at_mut(number).seen_ms = now_ms;
    }

    /// A consumer gets something.
    pub fn set_active(&mut self, number: u32, now_ms: i64) {
        self.consumers.at_mut(number).active_ms = Some(now_ms);
    }

    /// Takes a consumer out, and what it has not acknowledged; says how much that was.
    pub fn remove_consumer(&mut self, number: u32) -> u64 {
        let ids: Vec<Id> = self.pending.iter_owned_from(number, Id::ZERO).collect();
        for id in ids {
            self.pending.remove(id);
        }
        let consumer = self.consumers.remove(number);
        self.names.remove(consumer.name());
        self.name_bytes -= consumer.name.owned_bytes();
        consumer.pending
    }

    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub fn pending(&self, id: Id) -> Option<Pending> {
        self.pending.get(id)
    }

    /// What is pending from an id on.
    pub fn pending_from(&self, id: Id) -> impl Iterator<Item = Pending> {
        self.pending.iter_from(id)
    }

    /// The last one that is pending.
    pub fn last_pending(&self) -> Option<Pending> {
        self.pending.last()
    }

    /// What one consumer has not acknowledged from an id on.
    pub fn pending_of(&self, number: u32, id: Id) -> impl Iterator<Item = Pending> {
        self.pending.iter_owned_from(number, id).filter_map(|id| self.pending.get(id))
    }

    /// An entry is pending now, whether it was before or not.
    pub fn set_pending(&mut self, pending: Pending) {
        let before = self.pending.set(pending);
        if before.map(|before| before.consumer) == Some(pending.consumer) {
            return;
        }
        if let Some(before) = before {
            self.consumers.at_mut(before.consumer).pending -= 1;
        }
        self.consumers.at_mut(pending.consumer).pending += 1;
    }

    /// An entry is no longer pending; gives what it was.
    pub fn remove_pending(&mut self, id: Id) -> Option<Pending> {
        let pending = self.pending.remove(id)?;
        self.consumers.at_mut(pending.consumer).pending -= 1;
        Some(pending)
    }

    /// Times count from here on. Only of a group in which nothing is pending.
    pub(super) fn set_base(&mut self, base: Base, limits: Limits) {
        debug_assert!(self.pending.len() == 0);
        self.pending = PendingEntries::new(base, limits);
    }

    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check(&self) -> Result<(), String> {
        self.pending.check()?;
        self.names.check()?;
        if self.names.len() != self.consumers.len() {
            return Err(format!("{} names for {} consumers", self.names.len(), self.consumers.len()));
        }
        let mut pending = 0;
        for (number, consumer) in self.consumers() {
            let own = self.pending_of(number, Id::ZERO).count() as u64;
            if own != consumer.pending {
                return Err(format!("{own} pending, {} are counted", consumer.pending));
            }
            pending += own;
        }
        if pending != self.pending.len() as u64 {
            return Err(format!("{pending} of {} pending entries have a consumer", self.pending.len()));
        }
        Ok(())
    }
}
