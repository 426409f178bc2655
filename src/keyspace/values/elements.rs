//! The elements of a list.

use super::{Edit, Either, Form};
use crate::keyspace::EntryRef;
use crate::keyspace::collection::{ByPosition, NoCapture, Packed, Place, Text, Tree, text};
use crate::keyspace::root::Body;

/// A list, to be read.
#[derive(Clone, Copy)]
pub struct Elements<'a> {
    form: Form<'a>,
}

impl<'a> Elements<'a> {
    /// The list that an entry holds.
    pub fn of(entry: EntryRef<'a>) -> Elements<'a> {
        Elements { form: Form::of(entry) }
    }

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

    /// The element at an index.
    pub fn get(&self, index: usize) -> Option<Text<'a>> {
        self.iter_from(index).next()
    }

    /// The elements from an index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Text<'a>> + use<'a> {
        self.records_from(index).map(|record| text::read(record).0)
    }

    /// The elements from the last one to the first.
    pub fn iter_back(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        self.records_back().map(|record| text::read(record).0)
    }

    /// The records from an index on, for who compares them as they are.
    pub fn records_from(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        match self.tree() {
            Some(tree) => Either::Large(tree.iter_from(&ByPosition, index)),
            None => Either::Small(self.packed().iter(&ByPosition).skip(index)),
        }
    }

    /// The records from the last one to the first.
    pub fn records_back(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        match self.tree() {
            Some(tree) => Either::Large(Back::of(tree)),
            None => {
                let all: Vec<&[u8]> = self.packed().iter(&ByPosition).collect();
                Either::Small(all.into_iter().rev())
            }
        }
    }
}

/// Goes through a tree from its end, a leaf at a time.
struct Back<'t> {
    tree: &'t Tree,
    /// In the leaf that comes next; `None` when none is left.
    place: Option<Place>,
    /// What is left of the present leaf.
    rest: Vec<&'t [u8]>,
}

impl<'t> Back<'t> {
    fn of(tree: &'t Tree) -> Back<'t> {
        Back { tree, place: Some(tree.place_at(tree.len())), rest: Vec::new() }
    }
}

impl<'t> Iterator for Back<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        while self.rest.is_empty() {
            let place = self.place.as_mut()?;
            self.rest.extend(self.tree.leaf(place.leaf()).iter(&ByPosition));
            if !self.tree.to_previous_leaf(place) {
                self.place = None;
            }
        }
        self.rest.pop()
    }
}

/// A list in a table, to be changed. One without elements is left for the caller to remove.
pub struct ElementsMut<'p, 'k>(pub Edit<'p, 'k>);

impl ElementsMut<'_, '_> {
    /// The list as it is now.
    pub fn view(&self) -> Elements<'_> {
        Elements { form: self.0.form() }
    }

    /// Puts an element in front of the one with an index; behind all for the length. `record` is room that is used.
    pub fn insert(&mut self, index: usize, element: &[u8], record: &mut Vec<u8>) {
        record.clear();
        text::push(record, element);
        if let Form::Packed(packed) = self.0.form() {
            let value_len = self.0.entry().value().len();
            let at = if index == packed.count() { value_len } else { packed.spot_at(&ByPosition, index).at };
            let splice = packed.insert(at, record);
            if self.0.limits().is_small(usize::from(splice.count), splice.len_after(value_len)) {
                return self.0.splice(&splice);
            }
            self.grow();
        }
        if let Some(mut tree) = self.0.tree_mut() {
            let place = tree.place_at(index);
            tree.insert(&ByPosition, &place, record);
        }
    }

    /// Gives the element with an index, which must be there, another value.
    pub fn set(&mut self, index: usize, element: &[u8]) {
        let mut record = Vec::with_capacity(element.len() + text::HEAD_MAX);
        text::push(&mut record, element);
        if let Form::Packed(packed) = self.0.form() {
            let splice = packed.replace(packed.spot_at(&ByPosition, index), &record);
            let len = splice.len_after(self.0.entry().value().len());
            if self.0.limits().is_small(usize::from(splice.count), len) {
                return self.0.splice(&splice);
            }
            self.grow();
        }
        if let Some(mut tree) = self.0.tree_mut() {
            let place = tree.place_at(index);
            tree.replace(&ByPosition, &place, &record);
        }
    }

    /// Takes so many elements out, from an index on.
    pub fn remove(&mut self, start: usize, count: usize) {
        if count == 0 {
            return;
        }
        if let Form::Packed(packed) = self.0.form() {
            let (first, end) =
                (packed.spot_at(&ByPosition, start), packed.spot_at(&ByPosition, start + count));
            let splice = packed.remove(first.at, end.at, count);
            return self.0.splice(&splice);
        }
        if let Some(mut tree) = self.0.tree_mut() {
            tree.remove_ranks(&ByPosition, start, count);
        }
    }

    fn grow(&mut self) {
        self.0.grow(&ByPosition, |body, order, record| {
            if let Body::Tree(tree) = body {
                let end = tree.place_at(tree.len());
                tree.insert(order, &mut NoCapture, &end, record);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::{Entry, KeyHasher, Keyspace, Kind, Reclaimer, Site, ValueLimits};

    fn bytes(text: Text<'_>) -> Vec<u8> {
        text.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    /// Random changes of a list in a keyspace whose leaves are this large.
    fn agrees_with_a_deque(seed: u64, leaf_bytes: usize) {
        println!("seed {seed}, leaves of {leaf_bytes} bytes");
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(seed), Reclaimer::inline(), 0)
            .with_limits(ValueLimits::of_leaves(leaf_bytes));
        let key = keyspace.key(b"list");
        let site = Site { keyspace: &keyspace, database: 0, shard: key.shard, now_ms: 0 };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(0);
        let entry = Entry::new(key.bytes, &Packed::EMPTY).with_kind(Kind::List);
        let position = partition.insert(site, key.hash, entry);
        let mut list = ElementsMut(Edit::new(partition, site, position, key.hash));
        let (mut random, mut model, mut room) = (Random::new(seed), VecDeque::<Vec<u8>>::new(), Vec::new());
        for step in 0..4_000 {
            let index = random.below(model.len() as u64 + 1) as usize;
            let element = match random.below(3) {
                0 => random.below(1_000_000).to_string().into_bytes(),
                1 => vec![b'x'; random.below(10) as usize],
                _ => vec![b'y'; random.below(200) as usize],
            };
            let growing = step / 700 % 2 == 0;
            match random.below(10) {
                0..2 if growing => {
                    list.insert(0, &element, &mut room);
                    model.push_front(element);
                }
                2..6 if growing => {
                    list.insert(model.len(), &element, &mut room);
                    model.push_back(element);
                }
                6 => {
                    list.insert(index, &element, &mut room);
                    model.insert(index, element);
                }
                7 if index < model.len() => {
                    list.set(index, &element);
                    model[index] = element;
                }
                _ => {
                    let count = (random.below(6) as usize).min(model.len() - index);
                    list.remove(index, count);
                    model.drain(index..index + count);
                }
            }
            let view = list.view();
            assert_eq!(view.len(), model.len());
            assert_eq!(view.get(index).map(bytes), model.get(index).cloned());
            if step % 50 == 0 {
                assert!(view.iter_from(index).map(bytes).eq(model.iter().skip(index).cloned()));
                assert!(view.iter_back().map(bytes).eq(model.iter().rev().cloned()));
                if let Some(tree) = view.tree() {
                    tree.check(&ByPosition).expect("a tree");
                }
            }
        }
    }

    #[test]
    fn a_list_is_a_deque_whatever_its_form() {
        for seed in 0..6 {
            agrees_with_a_deque(seed, [64, 300, 4096][seed as usize % 3]);
        }
    }
}
