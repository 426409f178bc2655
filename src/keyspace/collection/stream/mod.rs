//! A stream: entries in the order of their ids, and groups of consumers that read them.
//!
//! Entries lie in a tree whose order is the id; the names of their fields lie apart, once each (`shapes.rs`). What is deleted is taken out, unlike in
//! Redis, which marks it; what Redis's nodes would look like is booked beside that (`nodes.rs`). A group has trees of what is pending, by id and by
//! consumer (`pending.rs`), some 25 bytes for each.
//!
//! A snapshot sees the records of the entries leaf by leaf, so who changes those brings a gate; all the rest it sees at once.
//!
//! Nothing here knows commands or replies. Who changes a group goes through [`Stream::group_mut`], so that the account of bytes is right at any time.

mod entries;
mod entry;
mod group;
mod id;
mod names;
mod nodes;
mod pending;
mod saved;
mod shapes;
#[cfg(test)]
mod tests;

pub use entries::{Entries, Keep, Refused, Trim};
pub use entry::ByEntryId;
pub use entry::Entry;
pub use group::{Consumer, Group};
pub use id::Id;
pub use nodes::{Node, NodeLimits};
pub use pending::Pending;
pub use saved::join;

use self::id::Base;
use self::names::Names;
use super::arena::Arena;
use super::tree::{Capture, Limits};

/// What becomes of an entry that groups still refer to: one that is pending in a group, or that a group has not read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum References {
    /// It goes, and stays pending.
    #[default]
    Keep,
    /// It goes, and is pending nowhere any more.
    Drop,
    /// It stays.
    Respect,
}

/// See the module's text.
pub struct Stream {
    entries: Entries,
    names: Names,
    groups: Arena<Group>,
    /// Bytes of all groups but the one that was changed last.
    other_bytes: usize,
    changed: Option<u32>,
    limits: Limits,
}

impl Default for Stream {
    fn default() -> Stream {
        Stream::new(Limits::USUAL)
    }
}

impl Clone for Stream {
    fn clone(&self) -> Stream {
        let groups = self.groups.clone();
        // A copy has no more room than it needs.
        let other_bytes = groups.iter().map(Group::owned_bytes).sum();
        Stream {
            entries: self.entries.clone(),
            names: self.names.clone(),
            groups,
            other_bytes,
            changed: None,
            limits: self.limits,
        }
    }
}

impl Stream {
    /// A stream without entries; the limits are those of its trees.
    pub fn new(limits: Limits) -> Stream {
        Stream {
            entries: Entries::new(limits),
            names: Names::new(limits),
            groups: Arena::default(),
            other_bytes: 0,
            changed: None,
            limits,
        }
    }

    pub fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The same without its entries' records and without what only finds others, for a snapshot ([`Stream::encode_around`]). Not to be changed.
    pub fn without_records(&self) -> Stream {
        let groups = self.groups.map(Group::to_be_saved);
        let other_bytes = groups.iter().map(Group::owned_bytes).sum();
        Stream {
            entries: self.entries.without_records(),
            names: self.names.clone(),
            groups,
            other_bytes,
            changed: None,
            limits: self.limits,
        }
    }

    /// For all changes but adding.
    pub fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }

    /// Bytes that the allocator has set aside for what it owns; it itself is not counted. However many groups it has, this takes no longer.
    pub fn owned_bytes(&self) -> usize {
        let changed = self.changed.map_or(0, |number| self.groups.at(number).owned_bytes());
        self.entries.owned_bytes()
            + self.names.owned_bytes()
            + self.groups.owned_bytes()
            + self.other_bytes
            + changed
    }

    /// Adds an entry, as [`Entries::add`].
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
        if self.entries.is_empty() {
            self.choose_base(id);
        }
        self.entries.add(gate, id, fields, limits)
    }

    /// The first entry decides what times count from, unless records are there that count from elsewhere.
    fn choose_base(&mut self, id: Id) {
        let is_chosen = self.entries.base != Base::default();
        let any_pending = || self.groups().any(|(_, group)| group.pending_count() > 0);
        if is_chosen && self.group_count() > 0 || any_pending() {
            return;
        }
        self.entries.set_base(Base(id.ms));
        let limits = self.limits;
        let numbers: Vec<u32> = self.names.iter().map(|(_, number)| number).collect();
        for number in numbers {
            self.group_at(number).1.set_base(Base(id.ms), limits);
        }
    }

    /// Takes entries at the front out; says how many. Whole nodes alone go only where references are kept, as in Redis.
    pub fn trim(&mut self, gate: &mut impl Capture, trim: Trim, references: References) -> u64 {
        if references == References::Keep {
            return self.entries.trim(gate, trim);
        }
        if trim.whole_nodes {
            return 0;
        }
        let most = match trim.keep {
            Keep::Newest(most) => (self.entries.len() as u64).saturating_sub(most) as usize,
            Keep::From(_) => usize::MAX,
        };
        let end = match trim.keep {
            Keep::Newest(_) => Some(Id::MAX),
            Keep::From(id) => id.previous(),
        };
        let ids = end.into_iter().flat_map(|end| self.entries.range(Id::ZERO, end)).map(|entry| entry.id);
        let goes = |id: &Id| references == References::Drop || !self.is_referenced(*id);
        let gone: Vec<Id> = ids.filter(goes).take(most).collect();
        for id in &gone {
            self.entries.take_out(gate, *id);
            if references == References::Drop {
                self.forget(*id);
            }
        }
        gone.len() as u64
    }

    /// Whether an id is pending in a group, or above what one has read.
    pub fn is_referenced(&self, id: Id) -> bool {
        self.groups().any(|(_, group)| id > group.last_delivered || group.pending(id).is_some())
    }

    /// Takes an id out of what is pending in any group.
    pub fn forget(&mut self, id: Id) {
        let groups = self.names.iter().map(|(_, number)| number);
        let concerned = groups.filter(|number| self.groups.at(*number).pending(id).is_some());
        for number in concerned.collect::<Vec<u32>>() {
            self.group_at(number).1.remove_pending(id);
        }
    }

    pub fn group_count(&self) -> usize {
        self.names.len()
    }

    pub fn group(&self, name: &[u8]) -> Option<&Group> {
        self.names.get(name).map(|number| self.groups.at(number))
    }

    /// All groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (&[u8], &Group)> {
        self.names.iter().map(|(name, number)| (name, self.groups.at(number)))
    }

    /// A group that is to be changed, with the entries that it reads.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<(&Entries, &mut Group)> {
        let number = self.names.get(name)?;
        Some(self.group_at(number))
    }

    fn group_at(&mut self, number: u32) -> (&Entries, &mut Group) {
        if self.changed != Some(number) {
            self.settle();
            self.other_bytes -= self.groups.at(number).owned_bytes();
            self.changed = Some(number);
        }
        (&self.entries, self.groups.at_mut(number))
    }

    fn settle(&mut self) {
        if let Some(number) = self.changed.take() {
            self.other_bytes += self.groups.at(number).owned_bytes();
        }
    }

    /// Adds a group; false if one has that name.
    pub fn add_group(&mut self, name: &[u8], last_delivered: Id, entries_read: Option<u64>) -> bool {
        if self.names.get(name).is_some() {
            return false;
        }
        let group = Group::new(last_delivered, entries_read, self.entries.base, self.limits);
        self.other_bytes += group.owned_bytes();
        let number = self.groups.add(group);
        self.names.add(name, number);
        true
    }

    /// Takes a group out; false if there is none of that name.
    pub fn remove_group(&mut self, name: &[u8]) -> bool {
        let Some(number) = self.names.remove(name) else { return false };
        self.settle();
        self.other_bytes -= self.groups.remove(number).owned_bytes();
        true
    }

    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check(&self) -> Result<(), String> {
        self.entries.check()?;
        self.names.check()?;
        let mut bytes = 0;
        for (_, group) in self.groups() {
            group.check()?;
            bytes += group.owned_bytes();
        }
        let counted =
            self.other_bytes + self.changed.map_or(0, |number| self.groups.at(number).owned_bytes());
        if bytes != counted || self.groups.len() != self.names.len() {
            return Err(format!("groups own {bytes} bytes, {counted} are counted"));
        }
        Ok(())
    }
}
