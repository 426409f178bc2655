//! The fields of a hash.

use super::{Edit, Either, Form, Level};
use crate::keyspace::collection::{ByHash, Field, Name, NoCapture, Packed, Shape, Tree, due_of};
use crate::keyspace::root::Body;
use crate::keyspace::{EntryRef, KeyHasher, Keyspace};

const SHAPE: Shape = Shape::FieldAndValue;

/// A hash, to be read.
#[derive(Clone, Copy)]
pub struct Fields<'a> {
    form: Form<'a>,
    order: ByHash<'a>,
}

impl<'a> Fields<'a> {
    /// The hash that an entry holds.
    pub fn of(keyspace: &'a Keyspace, entry: EntryRef<'a>) -> Fields<'a> {
        Fields { form: Form::of(entry), order: order(keyspace.hasher()) }
    }

    /// How many fields there are, those among them whose time has passed.
    pub fn len(&self) -> usize {
        self.form.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn tree(&self) -> Option<&'a Tree> {
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
        let record = match self.tree() {
            Some(tree) => tree.record(&self.order, &tree.find(&self.order, self.order.name(name)).ok()?)?,
            None => self.packed().record(self.packed().find_name(&self.order, name)?),
        };
        Some(Field::read(record, SHAPE))
    }

    /// Whether some field's time has come, or may have.
    pub fn has_due(&self, now_ms: i64) -> bool {
        self.due_ms() <= now_ms
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
        records.map(|record| Field::read(record, SHAPE))
    }
}

fn order(hasher: &KeyHasher) -> ByHash<'_> {
    ByHash { hasher, shape: SHAPE }
}

/// A hash in a table, to be changed.
pub struct FieldsMut<'p, 'k>(pub Edit<'p, 'k>);

impl<'k> FieldsMut<'_, 'k> {
    fn order(&self) -> ByHash<'k> {
        order(self.0.keyspace().hasher())
    }

    /// The hash as it is now.
    pub fn view(&self) -> Fields<'_> {
        Fields { form: self.0.form(), order: self.order() }
    }

    /// Gives a field a value and a deadline in Unix milliseconds or none; says whether the field is new. One whose time had come at `now_ms` is.
    pub fn set(&mut self, name: &[u8], value: &[u8], at_ms: Option<i64>, now_ms: i64) -> bool {
        let is_new = self.view().get(name).is_none_or(|field| field.is_due(now_ms));
        let order = self.order();
        let mut record = Vec::with_capacity(name.len() + value.len() + 16);
        Field::push(&mut record, name, Some(value), at_ms);
        match self.0.form() {
            Form::Root(_) => self.set_in_tree(order.name(name), &record),
            _ => {
                let packed = self.view().packed();
                let splice = match packed.find_name(&order, name) {
                    Some(spot) => packed.replace(spot, &record),
                    None => packed.insert(self.0.entry().value().len(), &record),
                };
                let len = splice.len_after(self.0.entry().value().len());
                if self.0.limits().is_small(usize::from(splice.count), len) {
                    self.0.splice(&splice);
                } else {
                    self.0.grow(&order, |body, order, record| {
                        let Body::Tree(tree) = body else { return };
                        let own = Field::read(record, SHAPE).name;
                        let room = &mut itoa::Buffer::new();
                        if let Err(place) = tree.find(order, order.name(own.bytes(room))) {
                            tree.insert(order, &mut NoCapture, &place, record);
                        }
                    });
                    self.set_in_tree(order.name(name), &record);
                }
            }
        }
        if let Some(at_ms) = at_ms {
            self.0.note_deadline(at_ms);
        }
        is_new
    }

    fn set_in_tree(&mut self, name: Name<'_>, record: &[u8]) {
        let order = self.order();
        let Some(mut tree) = self.0.tree_mut() else { return };
        match tree.find(&order, name) {
            Ok(place) => tree.replace(&order, &place, record),
            Err(place) => tree.insert(&order, &place, record),
        }
    }

    /// [`FieldsMut::remove`], which says no of a field whose time had come at `now_ms`.
    pub fn remove_live(&mut self, name: &[u8], now_ms: i64) -> bool {
        let is_live = self.view().get(name).is_some_and(|field| !field.is_due(now_ms));
        self.remove(name) && is_live
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

    /// Takes fields out whose time has come: all of a small hash, or those of some leaf; gives their names. A hash without fields is left for the caller
    /// to remove.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let order = self.order();
        let names = match self.0.tree_mut() {
            None => {
                let fields = self.view().iter().filter(|field| field.is_due(now_ms));
                fields.map(|field| field.name.bytes(&mut itoa::Buffer::new()).to_vec()).collect::<Vec<_>>()
            }
            Some(mut tree) => loop {
                let Some(place) = tree.find_due(now_ms) else { break Vec::new() };
                let records = tree.leaf(place.leaf()).iter(&order);
                let due =
                    records.map(|record| Field::read(record, SHAPE)).filter(|field| field.is_due(now_ms));
                let names: Vec<Vec<u8>> =
                    due.map(|field| field.name.bytes(&mut itoa::Buffer::new()).to_vec()).collect();
                // What is known of a leaf may be the deadline of a field that is gone.
                if !names.is_empty() {
                    break names;
                }
                tree.look_at_due(&order, &place);
            },
        };
        for name in &names {
            self.remove(name);
        }
        names
    }

    /// Redis makes a table of a hash with more fields than so many, or with a longer string than that; `longest` is that of what was put into it.
    pub fn raise_beyond(&mut self, (fields, bytes): (u64, u64), longest: usize) {
        if self.view().len() as u64 > fields || longest as u64 > bytes {
            self.0.raise(Level::Table);
        }
    }
}
