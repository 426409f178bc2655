//! The fields of a hash. A set that is not of integers is the same with names alone ([`super::Members`]).

use std::cell::Cell;

use super::{Edit, Either, Form, Level, Taken};
use crate::keyspace::collection::{ByHash, Field, Name, NoCapture, Packed, Shape, Splice, Tree, due_of};
use crate::keyspace::root::Body;
use crate::keyspace::{EntryRef, KeyHasher, Keyspace, Kind};

/// A hash, to be read.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    form: Form<'a>,
    pub(super) order: ByHash<'a>,
    /// Some field may have a deadline.
    is_timed: bool,
}

/// Where the field that is looked for next may lie: clients mostly ask for fields in the order in which they have made them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hint(usize);

impl<'a> Fields<'a> {
    /// The hash that an entry holds.
    pub fn of(keyspace: &'a Keyspace, entry: EntryRef<'a>) -> Fields<'a> {
        Fields {
            form: Form::of(entry),
            order: order(keyspace.hasher(), entry.kind()),
            is_timed: entry.is_timed(),
        }
    }

    /// How many fields there are, those among them whose time has passed.
    pub fn len(&self) -> usize {
        self.form.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn tree(&self) -> Option<&'a Tree> {
        match self.form {
            Form::Root(root) => root.tree(),
            _ => None,
        }
    }

    fn packed(&self) -> Packed<'a> {
        match self.form {
            Form::Packed(packed) => packed,
            _ => Packed::of(&Packed::EMPTY),
        }
    }

    /// The field with this name.
    pub fn get(&self, name: &[u8]) -> Option<Field<'a>> {
        self.get_near(name, &mut Hint::default())
    }

    /// The field with this name, if its time has not come.
    pub fn get_live(&self, name: &[u8], now_ms: i64) -> Option<Field<'a>> {
        self.get(name).filter(|field| !field.is_due(now_ms))
    }

    /// [`Fields::get`] of several, one after the other.
    pub fn get_near(&self, name: &[u8], hint: &mut Hint) -> Option<Field<'a>> {
        let record = match self.tree() {
            Some(tree) => tree.record(&self.order, &tree.find(&self.order, self.order.name(name)).ok()?)?,
            None => {
                let spot = self.packed().find_name_near(&self.order, name, hint.0)?;
                hint.0 = spot.at + spot.len;
                self.packed().record(spot)
            }
        };
        Some(Field::read(record, self.order.shape))
    }

    /// Whether some field's time has come, or may have.
    pub fn has_due(&self, now_ms: i64) -> bool {
        self.is_timed && self.due_ms() <= now_ms
    }

    /// How many fields there are whose time has not come.
    pub fn count_live(&self, now_ms: i64) -> usize {
        if self.has_due(now_ms) { self.live(now_ms).count() } else { self.len() }
    }

    fn due_ms(&self) -> i64 {
        match self.tree() {
            Some(tree) => tree.due_ms(),
            None => self.packed().iter(&self.order).map(due_of).min().unwrap_or(i64::MAX),
        }
    }

    /// The fields whose time has not come.
    pub fn live(&self, now_ms: i64) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.iter().filter(move |field| !field.is_due(now_ms))
    }

    /// All fields: in the order in which they came of a small one, in any order of a large one.
    pub fn iter(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        self.iter_from(0)
    }

    /// The fields behind the first so many.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let records = match self.tree() {
            Some(tree) => Either::Large(tree.iter_from(&self.order, rank)),
            None => Either::Small(self.packed().iter(&self.order).skip(rank)),
        };
        let shape = self.order.shape;
        records.map(move |record| Field::read(record, shape))
    }
}

pub(super) fn order(hasher: &KeyHasher, kind: Kind) -> ByHash<'_> {
    let shape = if kind == Kind::Set { Shape::Member } else { Shape::FieldAndValue };
    ByHash { hasher, shape }
}

/// Gives something room for the bytes of a record, which are kept from one to the next unless they are many.
pub(super) fn with_room<T>(make: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    const KEPT_BYTES: usize = 4096;
    thread_local! {
        static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut room = ROOM.take();
    room.clear();
    let made = make(&mut room);
    if room.capacity() <= KEPT_BYTES {
        ROOM.set(room);
    }
    made
}

/// A hash in a table, to be changed.
pub struct FieldsMut<'p, 'k>(pub Edit<'p, 'k>);

impl<'k> FieldsMut<'_, 'k> {
    fn order(&self) -> ByHash<'k> {
        order(self.0.keyspace().hasher(), self.0.entry().kind())
    }

    /// The hash as it is now.
    pub fn view(&self) -> Fields<'_> {
        let entry = self.0.entry();
        Fields { form: Form::of(entry), order: self.order(), is_timed: entry.is_timed() }
    }

    /// Gives a field a value and a deadline in Unix milliseconds or none; says whether the field is new. One whose time had come at `now_ms` is.
    pub fn set(&mut self, name: &[u8], value: &[u8], at_ms: Option<i64>, now_ms: i64) -> bool {
        with_room(|record| {
            Field::push(record, name, Some(value), at_ms);
            let former = self.put(name, record, at_ms);
            former.is_none_or(|due_ms| due_ms <= now_ms)
        })
    }

    /// [`FieldsMut::set`] of several fields, without deadlines; says how many are new. A small hash is written once.
    pub fn set_all<'f>(
        &mut self,
        mut pairs: impl ExactSizeIterator<Item = (&'f [u8], &'f [u8])>,
        now_ms: i64,
    ) -> usize {
        let mut created = 0;
        if pairs.len() > 1
            && let Form::Packed(packed) = self.0.form()
            && !self.0.entry().is_timed()
        {
            let (order, limits, mut hint) = (self.order(), self.0.limits(), 0);
            let mut whole = packed.to_vec();
            with_room(|record| {
                for (name, value) in pairs.by_ref() {
                    record.clear();
                    Field::push(record, name, Some(value), None);
                    let (packed, len) = (Packed::of(&whole), whole.len());
                    let found = packed.find_name_near(&order, name, hint);
                    created += usize::from(found.is_none());
                    let splice = match found {
                        Some(spot) => packed.replace(spot, record),
                        None => packed.insert(len, record),
                    };
                    hint = splice.at + record.len();
                    let after = splice.len_after(len);
                    let is_small = limits.is_small(usize::from(splice.count), after);
                    whole.resize(after.max(len), 0);
                    splice.apply(&mut whole, len);
                    whole.truncate(after);
                    if !is_small {
                        break;
                    }
                }
            });
            self.0.set_bytes(&whole);
            if !self.0.limits().is_small(Packed::of(&whole).count(), whole.len()) {
                self.grow();
            }
        }
        created + pairs.filter(|(name, value)| self.set(name, value, None, now_ms)).count()
    }

    /// Gives a field that is there a deadline in Unix milliseconds, or none.
    pub fn set_deadline(&mut self, name: &[u8], at_ms: Option<i64>) {
        let order = self.order();
        let view = self.view();
        let old = match view.tree() {
            Some(tree) => match tree.find(&order, order.name(name)) {
                Ok(place) => tree.record(&order, &place),
                Err(_) => None,
            },
            None => view.packed().find_name(&order, name).map(|spot| view.packed().record(spot)),
        };
        let Some(old) = old else { return };
        let mut record = Vec::with_capacity(old.len() + 8);
        Field::push_with_deadline(&mut record, Field::bytes_of_name(old), at_ms);
        self.put(name, &record, at_ms);
    }

    /// Puts the record of a field in its place, which may be new.
    fn put(&mut self, name: &[u8], record: &[u8], at_ms: Option<i64>) -> Option<i64> {
        let order = self.order();
        let former = match self.0.form() {
            Form::Root(_) => self.set_in_tree(order.name(name), record),
            _ => {
                let packed = self.view().packed();
                let found = packed.find_name(&order, name);
                let former = found.map(|spot| due_of(packed.record(spot)));
                let value_len = self.0.entry().value().len();
                let splice = match found {
                    Some(spot) => packed.replace(spot, record),
                    None => packed.insert(value_len, record),
                };
                if self.0.limits().is_small(usize::from(splice.count), splice.len_after(value_len)) {
                    self.0.splice(&splice);
                } else {
                    self.grow();
                    self.set_in_tree(order.name(name), record);
                }
                former
            }
        };
        if let Some(at_ms) = at_ms {
            self.0.note_deadline(at_ms);
        }
        former
    }

    /// Makes a small hash a large one.
    fn grow(&mut self) {
        let order = self.order();
        self.0.grow(&order, |body, order, record| {
            let Body::Tree(tree) = body else { return };
            let own = Field::read(record, order.shape).name;
            let room = &mut itoa::Buffer::new();
            if let Err(place) = tree.find(order, order.name(own.bytes(room))) {
                tree.insert(order, &mut NoCapture, &place, record);
            }
        });
    }

    fn set_in_tree(&mut self, name: Name<'_>, record: &[u8]) -> Option<i64> {
        let order = self.order();
        let mut tree = self.0.tree_mut()?;
        match tree.find(&order, name) {
            Ok(place) => {
                let former = tree.record(&order, &place).map(due_of);
                tree.replace(&order, &place, record);
                former
            }
            Err(place) => {
                tree.insert(&order, &place, record);
                None
            }
        }
    }

    /// Takes a field out; says whether it was there. A hash without fields is left for the caller to remove.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let order = self.order();
        match self.0.form() {
            Form::Root(root) => {
                let Some(Ok(_)) = root.tree().map(|tree| tree.find(&order, order.name(name))) else {
                    return false;
                };
                let Some(mut tree) = self.0.tree_mut() else { return false };
                let Ok(place) = tree.find(&order, order.name(name)) else { return false };
                tree.remove(&order, &place, 1) > 0
            }
            _ => {
                let packed = self.view().packed();
                let Some(spot) = packed.find_name(&order, name) else { return false };
                let splice = packed.remove(spot.at, spot.at + spot.len, 1);
                self.0.splice(&splice);
                true
            }
        }
    }

    /// Takes fields out whose time has come: all of a small hash, those of a large one as far as the budget goes, which pays for each leaf and each
    /// field. A hash without fields is left for the caller to remove.
    pub fn take_due(&mut self, now_ms: i64, budget: &mut usize) -> Taken {
        let order = self.order();
        let mut taken = Taken::default();
        let Some(mut tree) = self.0.tree_mut() else {
            self.take_due_of_small(now_ms, &mut taken);
            *budget = budget.saturating_sub(1 + taken.count());
            return taken;
        };
        while let Some(place) = tree.find_due(now_ms) {
            if *budget == 0 {
                taken.is_rest = true;
                break;
            }
            let before = taken.count();
            tree.take_due(&order, &place, now_ms, |record| taken.push(record));
            *budget = budget.saturating_sub(1 + taken.count() - before);
        }
        taken
    }

    /// One change of the records from the first to the last that goes.
    fn take_due_of_small(&mut self, now_ms: i64, taken: &mut Taken) {
        let order = self.order();
        let packed = self.view().packed();
        let (mut kept, mut range) = (Vec::new(), None::<(usize, usize, usize)>);
        for spot in packed.spots(&order) {
            let record = packed.record(spot);
            if due_of(record) <= now_ms {
                taken.push(record);
                let (start, ..) = range.unwrap_or((spot.at, 0, 0));
                range = Some((start, spot.at + spot.len, kept.len()));
            } else if range.is_some() {
                kept.extend_from_slice(record);
            }
        }
        let Some((start, end, kept_len)) = range else { return };
        let splice = packed.remove(start, end, taken.count());
        self.0.splice(&Splice { with: &kept[..kept_len], ..splice });
    }

    /// Redis makes a table of a hash with more fields than so many, or with a longer string than that; `longest` is that of what was put into it.
    pub fn raise_beyond(&mut self, (fields, bytes): (u64, u64), longest: usize) {
        if self.view().len() as u64 > fields || longest as u64 > bytes {
            self.0.raise(Level::Table);
        }
    }
}
