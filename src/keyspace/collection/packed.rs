//! A small collection: a head, and records one behind the other, which are the value of an entry.
//!
//! ```text
//! count (2 bytes, little-endian) | level | 0 | records
//! ```
//! The level says how far the value has come from the first encoding that Redis would have given it ([`super::super::values`]). Hashes and sets keep the order in which names came, as in Redis; lists and sorted sets have their own. A change is a [`Splice`]: what is put where in the
//! value. Whoever owns the value does it, because that may have to be in a new block.

use std::cmp::Ordering;

use super::hashed::{Field, Shape};
use super::order::Order;
use super::text::Needle;

const HEAD_BYTES: usize = 4;
/// The value of a small collection.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'v> {
    value: &'v [u8],
}

/// Bytes of a value that a record takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub at: usize,
    pub len: usize,
}

/// A change of a value: some bytes in place of others, and how many records there are then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice<'r> {
    pub at: usize,
    pub removed: usize,
    pub with: &'r [u8],
    pub count: u16,
    /// See [`Packed::level`].
    pub level: u8,
}

impl Splice<'_> {
    /// How long a value is after this.
    pub fn len_after(&self, len: usize) -> usize {
        len - self.removed + self.with.len()
    }

    /// Makes the change in a value that is long enough for before and after: `len` are its bytes before.
    pub fn apply(&self, value: &mut [u8], len: usize) {
        value.copy_within(self.at + self.removed..len, self.at + self.with.len());
        value[self.at..self.at + self.with.len()].copy_from_slice(self.with);
        Packed::set_head(value, usize::from(self.count), self.level);
    }
}

impl<'v> Packed<'v> {
    /// The value of a collection without records.
    pub const EMPTY: [u8; HEAD_BYTES] = [0; HEAD_BYTES];

    pub fn of(value: &'v [u8]) -> Packed<'v> {
        Packed { value }
    }

    /// A value that is long enough for one.
    pub fn checked(value: &'v [u8]) -> Option<Packed<'v>> {
        (value.len() >= HEAD_BYTES).then_some(Packed { value })
    }

    /// Writes the head of a value whose records are there: how many they are, and the level.
    pub fn set_head(value: &mut [u8], count: usize, level: u8) {
        value[..2].copy_from_slice(&(count as u16).to_le_bytes());
        value[2] = level;
    }

    #[inline]
    pub fn count(self) -> usize {
        usize::from(u16::from_le_bytes([self.value[0], self.value[1]]))
    }

    /// How far the value has come from the first encoding that Redis would have given it.
    #[inline]
    pub fn level(self) -> u8 {
        self.value[2]
    }

    /// Its bytes, with room for some more.
    pub fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.value.len() + 512);
        bytes.extend_from_slice(self.value);
        bytes
    }

    /// All records, one behind the other.
    #[inline]
    pub fn records(self) -> &'v [u8] {
        &self.value[HEAD_BYTES..]
    }

    /// Where each record is.
    pub fn spots<O: Order>(self, order: &O) -> impl Iterator<Item = Spot> + use<'v, O> {
        self.spots_from(order, HEAD_BYTES)
    }

    /// Where each record is, from one of them on.
    fn spots_from<O: Order>(self, order: &O, at: usize) -> impl Iterator<Item = Spot> + use<'v, O> {
        let order = *order;
        self.spots_by(at, move |records| order.len_of(records))
    }

    /// Where each record of a hash or a set is.
    pub fn spots_of_hash(self, shape: Shape) -> impl Iterator<Item = Spot> + use<'v> {
        self.spots_by(HEAD_BYTES, move |records| shape.len_of(records))
    }

    fn spots_by<F: Fn(&[u8]) -> usize>(
        self,
        mut at: usize,
        len_of: F,
    ) -> impl Iterator<Item = Spot> + use<'v, F> {
        std::iter::from_fn(move || {
            let rest = self.value.get(at..).filter(|rest| !rest.is_empty())?;
            let spot = Spot { at, len: len_of(rest).clamp(1, rest.len()) };
            at += spot.len;
            Some(spot)
        })
    }

    /// The record there.
    pub fn record(self, spot: Spot) -> &'v [u8] {
        &self.value[spot.at..spot.at + spot.len]
    }

    /// Records in their order.
    pub fn iter<O: Order>(self, order: &O) -> impl Iterator<Item = &'v [u8]> + use<'v, O> {
        self.spots(order).map(move |spot| self.record(spot))
    }

    /// Records in their order from the one with this number on.
    pub fn iter_from<O: Order>(self, order: &O, index: usize) -> impl Iterator<Item = &'v [u8]> + use<'v, O> {
        let (order, mut at) = (*order, self.spot_at(order, index).at);
        std::iter::from_fn(move || {
            let rest = self.value.get(at..).filter(|rest| !rest.is_empty())?;
            let record = &rest[..order.len_of(rest).clamp(1, rest.len())];
            at += record.len();
            Some(record)
        })
    }

    /// The head of a value like this one that has so many records.
    pub fn head(self, count: usize) -> [u8; HEAD_BYTES] {
        let [low, high] = (count as u16).to_le_bytes();
        [low, high, self.level(), 0]
    }

    /// Records from the one before a number on, backwards; of an order that can be passed so ([`Order::BOTH_WAYS`]).
    pub fn iter_before<O: Order>(
        self,
        order: &O,
        index: usize,
    ) -> impl Iterator<Item = &'v [u8]> + use<'v, O> {
        let (order, mut end) = (*order, self.spot_at(order, index).at);
        std::iter::from_fn(move || {
            let rest = self.value.get(HEAD_BYTES..end).filter(|rest| !rest.is_empty())?;
            let record = &rest[rest.len() - order.len_of_last(rest).clamp(1, rest.len())..];
            end -= record.len();
            Some(record)
        })
    }

    /// Where the record with this number is; behind the last one for the count.
    pub fn spot_at<O: Order>(self, order: &O, index: usize) -> Spot {
        let end = Spot { at: self.value.len(), len: 0 };
        if !O::BOTH_WAYS || index <= self.count() / 2 {
            return self.spots(order).nth(index).unwrap_or(end);
        }
        let before = |spot: Spot, _| {
            let len = order.len_of_last(&self.value[HEAD_BYTES..spot.at]).min(spot.at - HEAD_BYTES);
            Spot { at: spot.at - len, len }
        };
        (index..self.count()).fold(end, before)
    }

    /// Where the member or field with this name is.
    pub fn find_name<O: Order>(self, order: &O, name: &[u8]) -> Option<Spot> {
        self.find_name_near(order, name, HEAD_BYTES)
    }

    /// [`Packed::find_name`], which looks first from the record on that begins at `near`.
    pub fn find_name_near<O: Order>(self, order: &O, name: &[u8], near: usize) -> Option<Spot> {
        let needle = Needle::of(name);
        let is_it = |spot: &Spot| needle.is_at(Field::bytes_of_name(self.record(*spot)));
        let near = near.max(HEAD_BYTES);
        let behind = self.spots_from(order, near).find(is_it);
        behind.or_else(|| self.spots(order).take_while(|spot| spot.at < near).find(is_it))
    }

    /// Where the record is that is looked for, or in front of which one it would have to be.
    pub fn search<O: Order>(self, order: &O, probe: O::Probe<'_>) -> Result<Spot, usize> {
        for spot in self.spots(order) {
            match order.compare(probe, self.record(spot)) {
                Ordering::Equal => return Ok(spot),
                Ordering::Less => return Err(spot.at),
                Ordering::Greater => {}
            }
        }
        Err(self.value.len())
    }

    /// Puts a record at a place; behind all for the value's length.
    pub fn insert<'r>(self, at: usize, record: &'r [u8]) -> Splice<'r> {
        Splice { at, removed: 0, with: record, count: self.count() as u16 + 1, level: self.level() }
    }

    /// Puts a record in place of another.
    pub fn replace<'r>(self, spot: Spot, record: &'r [u8]) -> Splice<'r> {
        Splice {
            at: spot.at,
            removed: spot.len,
            with: record,
            count: self.count() as u16,
            level: self.level(),
        }
    }

    /// Takes so many records out, which take the bytes from `at` to `end`.
    pub fn remove(self, at: usize, end: usize, count: usize) -> Splice<'static> {
        Splice { at, removed: end - at, with: &[], count: (self.count() - count) as u16, level: self.level() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bound, ByHash, ByPosition, ByScore, Scored, Shape, Text, element, text};
    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::KeyHasher;

    /// Makes a change as the owner of a value does it.
    fn make(value: &mut Vec<u8>, splice: &Splice<'_>) {
        let (before, after) = (value.len(), splice.len_after(value.len()));
        value.resize(before.max(after), 0);
        splice.apply(value, before);
        value.truncate(after);
    }

    fn bytes_of(text: Text<'_>) -> Vec<u8> {
        text.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    fn word(random: &mut Random) -> Vec<u8> {
        match random.below(3) {
            0 => random.below(30).to_string().into_bytes(),
            1 => vec![b'a'; random.below(6) as usize],
            _ => vec![b'b'; random.below(200) as usize],
        }
    }

    #[test]
    fn fields_keep_the_order_in_which_they_came() {
        let hasher = KeyHasher::fixed(1);
        let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
        for seed in 0..20 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let (mut value, mut model) =
                (Packed::EMPTY.to_vec(), Vec::<(Vec<u8>, Vec<u8>, Option<i64>)>::new());
            for _ in 0..600 {
                let (name, new) = (word(&mut random), word(&mut random));
                let at_ms = (random.below(3) == 0).then(|| random.below(1 << 40) as i64);
                let mut record = Vec::new();
                Field::push(&mut record, &name, Some(&new), at_ms);
                let packed = Packed::of(&value);
                let place = model.iter().position(|(own, ..)| *own == name);
                let found = packed.find_name(&order, &name);
                assert_eq!(found.is_some(), place.is_some());
                let splice = match (found, place) {
                    (Some(spot), Some(place)) if random.below(2) == 0 => {
                        model.remove(place);
                        packed.remove(spot.at, spot.at + spot.len, 1)
                    }
                    (Some(spot), Some(place)) => {
                        model[place] = (name, new, at_ms);
                        packed.replace(spot, &record)
                    }
                    _ => {
                        model.push((name, new, at_ms));
                        packed.insert(value.len(), &record)
                    }
                };
                make(&mut value, &splice);
                let packed = Packed::of(&value);
                assert_eq!(packed.count(), model.len());
                let fields = packed.iter(&order).map(|record| Field::read(record, Shape::FieldAndValue));
                let found: Vec<_> = fields
                    .map(|field| (bytes_of(field.name), bytes_of(field.value), field.expire_at_ms))
                    .collect();
                assert_eq!(found, model);
            }
        }
    }

    #[test]
    fn elements_are_put_and_taken_anywhere() {
        let order = ByPosition;
        let mut random = Random::new(3);
        let (mut value, mut model) = (Packed::EMPTY.to_vec(), Vec::<Vec<u8>>::new());
        for step in 0..3_000 {
            let packed = Packed::of(&value);
            let index = random.below(model.len() as u64 + 1) as usize;
            let spot = packed.spot_at(&order, index);
            let record;
            let splice = if step / 200 % 2 == 0 {
                let new = word(&mut random);
                record = element::record(&new);
                model.insert(index, new);
                packed.insert(spot.at, &record)
            } else {
                let end = model.len().min(index + random.below(4) as usize);
                model.drain(index..end);
                packed.remove(spot.at, packed.spot_at(&order, end).at, end - index)
            };
            make(&mut value, &splice);
            let found: Vec<_> =
                Packed::of(&value).iter(&order).map(|record| bytes_of(text::read(record).0)).collect();
            assert_eq!((found, Packed::of(&value).count()), (model.clone(), model.len()));
            let back =
                Packed::of(&value).iter_before(&order, index).map(|record| bytes_of(element::read(record)));
            assert!(back.eq(model.iter().take(index).rev().cloned()), "step {step}");
        }
    }

    #[test]
    fn members_stand_by_their_scores() {
        let order = ByScore;
        let mut random = Random::new(4);
        let (mut value, mut model) = (Packed::EMPTY.to_vec(), Vec::<(f64, Vec<u8>)>::new());
        for _ in 0..2_000 {
            let (score, member) = (random.below(5) as f64 / 2.0, word(&mut random));
            let mut record = Vec::new();
            Scored::push(&mut record, score, &member);
            let packed = Packed::of(&value);
            let own = (score, member);
            let place = model.binary_search_by(|other| other.partial_cmp(&own).expect("no NaN"));
            let splice = match (packed.search(&order, Bound::At(own.0, &own.1)), place) {
                (Ok(spot), Ok(rank)) => {
                    model.remove(rank);
                    packed.remove(spot.at, spot.at + spot.len, 1)
                }
                (Err(at), Err(rank)) => {
                    model.insert(rank, own);
                    packed.insert(at, &record)
                }
                (found, place) => panic!("{found:?} against {place:?}"),
            };
            make(&mut value, &splice);
            let read = Packed::of(&value).iter(&order).map(Scored::read);
            let found: Vec<_> = read.map(|scored| (scored.score, bytes_of(scored.member))).collect();
            assert_eq!(found, model);
        }
    }

    /// What a session has: the arena's shapes, without key and header of the entry.
    #[test]
    fn a_small_collection_costs_a_byte_or_two_for_each_string() {
        let mut value = Packed::EMPTY.to_vec();
        for number in 0..10 {
            let mut record = Vec::new();
            Field::push(&mut record, format!("field{number:07}").as_bytes(), Some(&[b'v'; 150]), None);
            let splice = Packed::of(&value).insert(value.len(), &record);
            make(&mut value, &splice);
        }
        assert_eq!(value.len(), 4 + 10 * (1 + 12 + 2 + 150));
    }
}
