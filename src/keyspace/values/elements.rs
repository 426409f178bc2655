//! The elements of a list.

use super::{Edit, Either, Form};
use crate::keyspace::EntryRef;
use crate::keyspace::collection::element::{self, Record};
use crate::keyspace::collection::text::Needle;
use crate::keyspace::collection::{ByPosition, NoCapture, Packed, Splice, Text, Tree};
use crate::keyspace::root::Body;

/// One of the two ends of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Left,
    Right,
}

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
        if index >= self.len() {
            return None;
        }
        let record = match self.tree() {
            Some(tree) => tree.record(&ByPosition, &tree.place_at(index))?,
            None => self.packed().record(self.packed().spot_at(&ByPosition, index)),
        };
        Some(element::read(record))
    }

    /// The elements from an index on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Text<'a>> + use<'a> {
        self.records_from(index).map(element::read)
    }

    /// The elements from the last one to the first.
    pub fn iter_back(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        self.records_back().map(element::read)
    }

    /// The records from an index on, for who compares them as they are.
    pub fn records_from(&self, index: usize) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        match self.tree() {
            Some(tree) => Either::Large(tree.iter_from(&ByPosition, index)),
            None => Either::Small(self.packed().iter_from(&ByPosition, index)),
        }
    }

    /// The records from the last one to the first.
    pub fn records_back(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        match self.tree() {
            Some(tree) => Either::Large(tree.iter_before(&ByPosition, usize::MAX)),
            None => Either::Small(self.packed().iter_before(&ByPosition, usize::MAX)),
        }
    }
}

/// A list in a table, to be changed. One that is left without elements is for the caller to remove.
pub struct ElementsMut<'p, 'k>(pub Edit<'p, 'k>);

impl ElementsMut<'_, '_> {
    /// The list as it is now.
    pub fn view(&self) -> Elements<'_> {
        Elements { form: self.0.form() }
    }

    /// Puts strings at an end, one behind the other.
    pub fn push<'v>(&mut self, end: End, values: impl DoubleEndedIterator<Item = &'v [u8]> + Clone) {
        if let Form::Packed(packed) = self.0.form() {
            let (mut records, mut count) = (Record::new(), packed.count());
            let mut add = |value| {
                records.extend_from_slice(&element::record(value));
                count += 1;
            };
            match end {
                End::Left => values.clone().rev().for_each(&mut add),
                End::Right => values.clone().for_each(&mut add),
            }
            let at = if end == End::Left { Packed::EMPTY.len() } else { self.0.entry().value().len() };
            if self.splice_if_small(at, 0, &records, count) {
                return;
            }
            self.grow();
        }
        let Some(mut tree) = self.0.tree_mut() else { return };
        for value in values {
            let place = tree.place_at(if end == End::Left { 0 } else { usize::MAX });
            tree.insert(&ByPosition, &place, &element::record(value));
        }
    }

    /// Puts records in place of some bytes of a small list, if it stays small; says whether.
    fn splice_if_small(&mut self, at: usize, removed: usize, with: &[u8], count: usize) -> bool {
        let splice = Splice { at, removed, with, count: count as u16, level: self.0.form().level() as u8 };
        let len = splice.len_after(self.0.entry().value().len());
        let is_small = count <= usize::from(u16::MAX) && self.0.limits().is_small(count, len);
        if is_small {
            self.0.splice(&splice);
        }
        is_small
    }

    fn grow(&mut self) {
        self.0.grow(&ByPosition, |body, order, record| {
            if let Body::Tree(tree) = body {
                tree.insert(order, &mut NoCapture, &tree.place_at(usize::MAX), record);
            }
        });
    }

    /// Puts a string in front of the element at this index, or behind the last one.
    pub fn insert(&mut self, index: usize, value: &[u8]) {
        let record = element::record(value);
        if let Form::Packed(packed) = self.0.form() {
            let at = packed.spot_at(&ByPosition, index).at;
            if self.splice_if_small(at, 0, &record, packed.count() + 1) {
                return;
            }
            self.grow();
        }
        if let Some(mut tree) = self.0.tree_mut() {
            let place = tree.place_at(index);
            tree.insert(&ByPosition, &place, &record);
        }
    }

    /// Puts a string in place of the element at this index, which there is.
    pub fn set(&mut self, index: usize, value: &[u8]) {
        let record = element::record(value);
        if let Form::Packed(packed) = self.0.form() {
            let spot = packed.spot_at(&ByPosition, index);
            if self.splice_if_small(spot.at, spot.len, &record, packed.count()) {
                return;
            }
            self.grow();
        }
        if let Some(mut tree) = self.0.tree_mut() {
            let place = tree.place_at(index);
            tree.replace(&ByPosition, &place, &record);
        }
    }

    /// Takes so many elements from an index on out.
    pub fn remove(&mut self, index: usize, count: usize) {
        if let Form::Packed(packed) = self.0.form() {
            let count = count.min(packed.count() - index.min(packed.count()));
            let start = packed.spot_at(&ByPosition, index);
            let end =
                if count == 1 { start.at + start.len } else { packed.spot_at(&ByPosition, index + count).at };
            let splice = packed.remove(start.at, end, count);
            self.0.splice(&splice);
        } else if let Some(mut tree) = self.0.tree_mut() {
            tree.remove_ranks(&ByPosition, index, count);
        }
    }

    /// Takes elements out that are equal to a string, no more than `most` of them, those that are nearest to an end; says how many went.
    pub fn remove_equal(&mut self, nearest: End, most: usize, value: &[u8]) -> usize {
        let (needle, view) = (Needle::of(value), self.view());
        let passed = match nearest {
            End::Left => view.records_from(0).position(|each| needle.is_at(each)),
            End::Right => view.records_back().position(|each| needle.is_at(each)),
        };
        let Some(passed) = passed.filter(|_| most > 0) else { return 0 };
        match (self.0.form(), nearest) {
            (Form::Packed(packed), _) => {
                let (value, gone) = without(packed, &needle, nearest, most);
                self.0.set_bytes(&value);
                gone
            }
            (_, End::Left) => self.remove_onward(passed, most, &needle),
            (_, End::Right) => self.remove_backward(self.view().len() - passed, most, &needle),
        }
    }

    /// Goes through a large list leaf by leaf, from the element at this index on.
    fn remove_onward(&mut self, mut rank: usize, most: usize, needle: &Needle<'_>) -> usize {
        let Some(mut tree) = self.0.tree_mut() else { return 0 };
        let mut gone = 0;
        while gone < most && rank < tree.len() {
            let place = tree.place_at(rank);
            let leaf = tree.leaf(place.leaf());
            let there = leaf.count() - place.index();
            rank += there;
            let mut left = (most - gone)
                .min(leaf.iter_from(&ByPosition, place.index()).filter(|each| needle.is_at(each)).count());
            if left > 0 {
                let taken = tree.retain(&ByPosition, &place, |record| {
                    let goes = left > 0 && needle.is_at(record);
                    left -= usize::from(goes);
                    !goes
                });
                (rank, gone) = (rank - taken, gone + taken);
            }
        }
        gone
    }

    /// The same from the element in front of this number on, backwards.
    fn remove_backward(&mut self, mut end: usize, most: usize, needle: &Needle<'_>) -> usize {
        let Some(mut tree) = self.0.tree_mut() else { return 0 };
        let mut gone = 0;
        while gone < most && end > 0 {
            let last = tree.place_at(end - 1);
            end -= last.index() + 1;
            let records = tree.leaf(last.leaf()).iter_from(&ByPosition, 0).take(last.index() + 1);
            let found = records.filter(|each| needle.is_at(each)).count();
            let (mut passed, mut at) = (found - found.min(most - gone), 0);
            if found > 0 {
                let first = tree.place_at(end);
                gone += tree.retain(&ByPosition, &first, |record| {
                    at += 1;
                    let is_equal = at <= last.index() + 1 && needle.is_at(record);
                    let goes = is_equal && passed == 0;
                    passed -= usize::from(is_equal && !goes);
                    !goes
                });
            }
        }
        gone
    }
}

/// The value of a small list without up to `most` elements, those equal to a string that are nearest to an end, and how many these are.
fn without(packed: Packed<'_>, needle: &Needle<'_>, nearest: End, most: usize) -> (Vec<u8>, usize) {
    let found = packed.iter(&ByPosition).filter(|record| needle.is_at(record)).count();
    let gone = found.min(most);
    let mut kept = if nearest == End::Left { 0 } else { found - gone };
    let mut left = gone;
    let mut value = Vec::with_capacity(packed.records().len() + Packed::EMPTY.len());
    value.extend_from_slice(&packed.head(packed.count() - gone));
    for record in packed.iter(&ByPosition) {
        let is_equal = needle.is_at(record);
        if is_equal && kept == 0 && left > 0 {
            left -= 1;
            continue;
        }
        kept -= usize::from(is_equal && kept > 0);
        value.extend_from_slice(record);
    }
    (value, gone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::{Entry, Key, KeyHasher, Keyspace, Kind, Locked, Reclaimer, ValueLimits};

    fn keyspace(limits: ValueLimits) -> Keyspace {
        Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0).with_limits(limits)
    }

    /// Lets `change` work on the list of a key, which is made if it is not there.
    fn on_list<T>(
        keyspace: &Keyspace,
        key: Key<'_>,
        change: impl FnOnce(&mut ElementsMut<'_, '_>) -> T,
    ) -> T {
        let mut locked = Locked::one(keyspace, key.shard);
        let (partition, site) = locked.partition(0, key, 0);
        let position = partition.find(key.hash, key.bytes).unwrap_or_else(|| {
            let entry = Entry::new(key.bytes, &Packed::EMPTY).with_kind(Kind::List);
            partition.insert(site, key.hash, entry)
        });
        change(&mut ElementsMut(Edit::new(partition, site, position, key.hash)))
    }

    fn string(text: Text<'_>) -> Vec<u8> {
        text.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    fn word(random: &mut Random) -> Vec<u8> {
        match random.below(8) {
            0..=3 => random.below(6).to_string().into_bytes(),
            4..=5 => vec![b'a'; random.below(5) as usize],
            6 => (random.next_u64() as i64).to_string().into_bytes(),
            _ => vec![b'b'; random.below(150) as usize],
        }
    }

    fn remove_from_model(model: &mut Vec<Vec<u8>>, nearest: End, most: usize, value: &[u8]) -> usize {
        let found = model.iter().filter(|each| *each == value).count();
        let gone = found.min(most);
        let first = if nearest == End::Left { 0 } else { found - gone };
        let mut at = 0;
        model.retain(|each| {
            let is_equal = each == value;
            at += usize::from(is_equal);
            !(is_equal && (first + 1..=first + gone).contains(&at))
        });
        gone
    }

    /// A list in whatever form it has come to is a vector.
    #[test]
    fn a_list_is_a_vector() {
        for (limits, steps) in [(ValueLimits::of_leaves(64), 2_500), (ValueLimits::default(), 2_500)] {
            for seed in 0..6 {
                println!("seed {seed}, {limits:?}");
                let keyspace = keyspace(limits);
                let (mut random, mut model) = (Random::new(seed), Vec::<Vec<u8>>::new());
                for step in 0..steps {
                    let grows = step / 400 % 2 == 0;
                    on_list(&keyspace, keyspace.key(b"list"), |list| {
                        change(list, &mut model, &mut random, grows);
                        let view = list.view();
                        assert_eq!(view.len(), model.len(), "step {step}");
                        if let Some(tree) = view.tree() {
                            tree.check(&ByPosition).unwrap_or_else(|wrong| panic!("step {step}: {wrong}"));
                        }
                        let at = random.below(model.len() as u64 + 1) as usize;
                        assert_eq!(view.get(at).map(string), model.get(at).cloned(), "step {step}");
                        if step % 10 == 0 {
                            assert!(
                                view.iter_from(at).map(string).eq(model[at..].iter().cloned()),
                                "step {step}"
                            );
                            assert!(
                                view.iter_back().map(string).eq(model.iter().rev().cloned()),
                                "step {step}"
                            );
                        }
                    });
                }
            }
        }
    }

    fn change(list: &mut ElementsMut<'_, '_>, model: &mut Vec<Vec<u8>>, random: &mut Random, grows: bool) {
        let at = random.below(model.len() as u64 + 1) as usize;
        let few: Vec<Vec<u8>> = (0..1 + random.below(3)).map(|_| word(random)).collect();
        match random.below(if grows { 5 } else { 9 }) {
            0 => {
                list.push(End::Left, few.iter().map(Vec::as_slice));
                few.into_iter().for_each(|value| model.insert(0, value));
            }
            1 | 2 => {
                list.push(End::Right, few.iter().map(Vec::as_slice));
                model.extend(few);
            }
            3 => {
                list.insert(at, &few[0]);
                model.insert(at, few[0].clone());
            }
            4 if at < model.len() => {
                list.set(at, &few[0]);
                model[at].clone_from(&few[0]);
            }
            5 => {
                let nearest = if random.below(2) == 0 { End::Left } else { End::Right };
                let most = if random.below(3) == 0 { usize::MAX } else { random.below(4) as usize };
                let gone = remove_from_model(model, nearest, most, &few[0]);
                assert_eq!(list.remove_equal(nearest, most, &few[0]), gone);
            }
            6 | 7 => {
                let count = 1 + random.below(4) as usize;
                let at = [0, model.len().saturating_sub(count), at][random.below(3) as usize];
                list.remove(at, count);
                model.drain(at..model.len().min(at + count));
            }
            _ => {
                let count = random.below(model.len() as u64 / 4 + 1) as usize;
                list.remove(at, count);
                model.drain(at..model.len().min(at + count));
            }
        }
    }
}
