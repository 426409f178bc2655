//! Entries that a group has delivered and nobody has acknowledged: by id, and for each consumer.
//!
//! ```text
//! id | consumer | delivered - the id's time | deliveries       all of a group, by id
//! consumer | id                                                the same again, by consumer
//! ```
//! Ids as in `id.rs`, the rest varints; the difference is folded, so that a small negative one is short, too.

use std::cmp::Ordering;

use super::super::order::{Index, Order};
use super::super::tree::{Limits, NoCapture, Tree};
use super::id::{self, Base, Id};
use crate::storage::encoding::{push_varint, take_varint};

/// A tree that is as large as this when its last record goes is made anew, so that it gives its memory back.
const KEPT_BYTES: usize = 4096;
/// The key of an entry by consumer is so many bits of its consumer, and of its time.
const CONSUMER_BITS: u32 = 20;
const TIME_BITS: u32 = u64::BITS - CONSUMER_BITS;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    pub id: Id,
    /// The consumer's number.
    pub consumer: u32,
    /// Unix milliseconds.
    pub delivered_ms: i64,
    pub deliveries: u64,
}

/// Folds a number so that small ones of both signs are small.
pub fn fold(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// What [`fold`] was given.
pub fn unfold(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

impl Pending {
    pub fn push(self, out: &mut Vec<u8>, base: Base) {
        base.push(out, self.id);
        push_varint(out, u64::from(self.consumer));
        push_varint(out, fold(self.delivered_ms.wrapping_sub(self.id.ms as i64)));
        push_varint(out, self.deliveries);
    }

    /// Takes a record from the front of `bytes`.
    pub fn take(bytes: &mut &[u8], base: Base) -> Option<Pending> {
        let (id, len) = base.read(bytes);
        *bytes = bytes.get(len..)?;
        let consumer = u32::try_from(take_varint(bytes)?).ok()?;
        let delivered_ms = unfold(take_varint(bytes)?).wrapping_add(id.ms as i64);
        Some(Pending { id, consumer, delivered_ms, deliveries: take_varint(bytes)? })
    }
}

/// All of a group, by id.
#[derive(Clone, Copy)]
struct ById(Base);

impl ById {
    fn read(self, mut record: &[u8]) -> Pending {
        let nobody = Pending { id: Id::ZERO, consumer: 0, delivered_ms: 0, deliveries: 0 };
        Pending::take(&mut record, self.0).unwrap_or(nobody)
    }
}

impl Order for ById {
    type Probe<'p> = Id;
    const INDEX: Index = Index::Offsets;

    fn len_of(&self, records: &[u8]) -> usize {
        let mut rest = records.get(id::len_of(records)..).unwrap_or_default();
        for _ in 0..3 {
            take_varint(&mut rest);
        }
        records.len() - rest.len()
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        self.0.read_ms(record)
    }

    fn key(&self, probe: Id) -> u64 {
        probe.ms
    }

    fn compare(&self, probe: Id, record: &[u8]) -> Ordering {
        probe.cmp(&self.0.read(record).0)
    }
}

/// By consumer, and by id.
#[derive(Clone, Copy)]
struct ByOwner(Base);

impl ByOwner {
    fn read(self, record: &[u8]) -> (u32, Id) {
        let mut rest = record;
        let consumer = take_varint(&mut rest).unwrap_or_default() as u32;
        (consumer, self.0.read(rest).0)
    }
}

impl Order for ByOwner {
    type Probe<'p> = (u32, Id);
    const INDEX: Index = Index::Offsets;

    fn len_of(&self, records: &[u8]) -> usize {
        let mut rest = records;
        take_varint(&mut rest);
        records.len() - rest.len() + id::len_of(rest)
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        self.key(self.read(record))
    }

    /// Times count from the base, those before it as if they were at it: most differ in their lower bits.
    fn key(&self, (consumer, id): (u32, Id)) -> u64 {
        if consumer >> CONSUMER_BITS != 0 {
            return u64::MAX;
        }
        let time = id.ms.saturating_sub(self.0.0).min((1 << TIME_BITS) - 1);
        u64::from(consumer) << TIME_BITS | time
    }

    fn compare(&self, probe: (u32, Id), record: &[u8]) -> Ordering {
        probe.cmp(&self.read(record))
    }
}

/// See the module's text.
#[derive(Clone)]
pub struct PendingEntries {
    base: Base,
    limits: Limits,
    by_id: Tree,
    by_owner: Tree,
}

impl PendingEntries {
    pub fn new(base: Base, limits: Limits) -> PendingEntries {
        PendingEntries { base, limits, by_id: Tree::new(limits, 0), by_owner: Tree::new(limits, 0) }
    }

    /// A copy without what is by consumer.
    pub fn to_be_saved(&self) -> PendingEntries {
        PendingEntries { by_id: self.by_id.clone(), by_owner: Tree::new(self.limits, 0), ..*self }
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn owned_bytes(&self) -> usize {
        self.by_id.owned_bytes() + self.by_owner.owned_bytes()
    }

    pub fn get(&self, id: Id) -> Option<Pending> {
        let order = ById(self.base);
        let place = self.by_id.find(&order, id).ok()?;
        self.by_id.record(&order, &place).map(|record| order.read(record))
    }

    /// Those from an id on.
    pub fn iter_from(&self, id: Id) -> impl Iterator<Item = Pending> {
        let order = ById(self.base);
        let (Ok(mut place) | Err(mut place)) = self.by_id.find(&order, id);
        let mut more = self.by_id.settle(&mut place);
        std::iter::from_fn(move || {
            let record = if more { self.by_id.record(&order, &place) } else { None };
            let pending = order.read(record?);
            more = self.by_id.step(&mut place);
            Some(pending)
        })
    }

    /// The last one.
    pub fn last(&self) -> Option<Pending> {
        let order = ById(self.base);
        let place = self.by_id.place_at(self.len().checked_sub(1)?);
        self.by_id.record(&order, &place).map(|record| order.read(record))
    }

    /// Ids of one consumer's, from an id on.
    pub fn iter_owned_from(&self, consumer: u32, id: Id) -> impl Iterator<Item = Id> {
        let order = ByOwner(self.base);
        let (Ok(mut place) | Err(mut place)) = self.by_owner.find(&order, (consumer, id));
        let mut more = self.by_owner.settle(&mut place);
        std::iter::from_fn(move || {
            let record = if more { self.by_owner.record(&order, &place) } else { None };
            let (owner, id) = order.read(record?);
            more = self.by_owner.step(&mut place) && owner == consumer;
            (owner == consumer).then_some(id)
        })
    }

    /// Adds an entry, or puts it in place of what was said of this id. Gives that.
    pub fn set(&mut self, pending: Pending) -> Option<Pending> {
        let (order, mut record) = (ById(self.base), Vec::with_capacity(32));
        pending.push(&mut record, self.base);
        match self.by_id.find(&order, pending.id) {
            Ok(place) => {
                let before = self.by_id.record(&order, &place).map(|record| order.read(record))?;
                self.by_id.replace(&order, &mut NoCapture, &place, &record);
                if before.consumer != pending.consumer {
                    self.disown(before);
                    self.own(pending);
                }
                Some(before)
            }
            Err(place) => {
                self.by_id.insert(&order, &mut NoCapture, &place, &record);
                self.own(pending);
                None
            }
        }
    }

    fn own(&mut self, pending: Pending) {
        let (order, mut record) = (ByOwner(self.base), Vec::with_capacity(24));
        push_varint(&mut record, u64::from(pending.consumer));
        self.base.push(&mut record, pending.id);
        if let Err(place) = self.by_owner.find(&order, (pending.consumer, pending.id)) {
            self.by_owner.insert(&order, &mut NoCapture, &place, &record);
        }
    }

    fn disown(&mut self, pending: Pending) {
        let order = ByOwner(self.base);
        if let Ok(place) = self.by_owner.find(&order, (pending.consumer, pending.id)) {
            self.by_owner.remove(&order, &mut NoCapture, &place, 1);
        }
    }

    /// Takes an entry out.
    pub fn remove(&mut self, id: Id) -> Option<Pending> {
        let order = ById(self.base);
        let place = self.by_id.find(&order, id).ok()?;
        let pending = self.by_id.record(&order, &place).map(|record| order.read(record))?;
        self.by_id.remove(&order, &mut NoCapture, &place, 1);
        self.disown(pending);
        if self.by_id.is_empty() && self.owned_bytes() > KEPT_BYTES {
            *self = PendingEntries::new(self.base, self.limits);
        }
        Some(pending)
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.by_id.check(&ById(self.base))?;
        self.by_owner.check(&ByOwner(self.base))?;
        if self.by_id.len() != self.by_owner.len() {
            return Err(format!("{} are pending, {} by consumer", self.by_id.len(), self.by_owner.len()));
        }
        let missing = self
            .iter_from(Id::ZERO)
            .find(|pending| self.by_owner.find(&ByOwner(self.base), (pending.consumer, pending.id)).is_err());
        missing.map_or(Ok(()), |pending| Err(format!("{pending:?} is not found by its consumer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_folded_and_come_back() {
        for number in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unfold(fold(number)), number);
        }
        assert_eq!((fold(-64), fold(63)), (127, 126));
    }
}
