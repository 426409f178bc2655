//! A leaf: some records one behind the other, and an index in front of them as their order wants it.
//!
//! ```text
//! index: a record's place in 2 bytes, and with tags 2 bytes of its key before  |  records, in their order
//! ```
//! Places count from where the records begin. A leaf has more than 64 KB only if it is a single record, but for the moment before it is divided.

use std::cmp::Ordering;
use std::ops::Range;

use super::block::Block;
use super::order::{Index, Order};

/// The index has 16 bits for a place.
const PLACE_MAX: usize = u16::MAX as usize;

/// Tags tell keys from `base` on apart, in units of 2^`shift`. What lies outside of their range has the nearest tag, so their order is right in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scale {
    base: u64,
    shift: u32,
}

impl Scale {
    /// For keys from `first` to `last`.
    fn of(first: u64, last: u64) -> Scale {
        let bits = 64 - last.saturating_sub(first).leading_zeros();
        Scale { base: first, shift: bits.saturating_sub(16) }
    }

    #[inline]
    fn tag(self, key: u64) -> u16 {
        u16::try_from(key.saturating_sub(self.base) >> self.shift).unwrap_or(u16::MAX)
    }
}

/// See the module's text.
#[derive(Clone, Default)]
pub struct Leaf {
    block: Block,
    count: u16,
    /// The era that it belongs to: that in which it last changed or was shown to a snapshot.
    pub stamp: u32,
    scale: Scale,
    /// No record's time comes before, in Unix milliseconds.
    pub due_ms: i64,
}

impl Leaf {
    /// A leaf without records, for keys in a range.
    pub fn new(keys: Range<u64>, stamp: u32) -> Leaf {
        Leaf { scale: Scale::of(keys.start, keys.end), stamp, due_ms: i64::MAX, ..Leaf::default() }
    }

    #[inline]
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes of index and records.
    pub fn bytes(&self) -> usize {
        self.block.len()
    }

    pub fn owned_bytes(&self) -> usize {
        self.block.owned_bytes()
    }

    /// All records, one behind the other.
    pub fn records<O: Order>(&self) -> &[u8] {
        &self.block.bytes()[self.count() * width::<O>()..]
    }

    /// Where a record begins among the records; where they end, for one behind the last.
    #[inline]
    fn place<O: Order>(&self, order: &O, index: usize) -> usize {
        let records = self.records::<O>();
        if index == self.count() {
            return records.len();
        }
        match O::INDEX {
            Index::None => {}
            Index::Fixed(len) => return index * len,
            Index::Offsets | Index::Tags if records.len() <= PLACE_MAX => {
                return usize::from(self.index_word::<O>(index, width::<O>() - 2));
            }
            // Until a record that large is alone, places are told by passing records.
            Index::Offsets | Index::Tags => {}
        }
        if O::BOTH_WAYS && index * 2 > self.count() {
            let before = |end: usize, _| end.saturating_sub(order.len_of_last(&records[..end]));
            return (index..self.count()).fold(records.len(), before);
        }
        (0..index).fold(0, |place, _| place + order.len_of(&records[place..]))
    }

    #[inline]
    fn index_word<O: Order>(&self, index: usize, at: usize) -> u16 {
        let at = index * width::<O>() + at;
        let bytes = &self.block.bytes()[at..at + 2];
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    /// The record with this number in the leaf.
    #[inline]
    pub fn record<O: Order>(&self, order: &O, index: usize) -> &[u8] {
        let rest = &self.records::<O>()[self.place(order, index)..];
        &rest[..order.len_of(rest)]
    }

    /// Records that end with these bytes, of which there are some, with their numbers. Of most others only the last byte is looked at.
    pub fn ending_with<'l, O: Order>(
        &'l self,
        order: &'l O,
        ending: &'l [u8],
    ) -> impl Iterator<Item = (usize, &'l [u8])> {
        let (records, last, mut start) = (self.records::<O>(), ending.last(), 0);
        (0..self.count()).filter_map(move |index| {
            let end = self.place(order, index + 1);
            let record = &records[start..end];
            start = end;
            (record.last() == last && record.ends_with(ending)).then_some((index, record))
        })
    }

    /// The records before the one at `index`, and those from there on.
    pub fn divided<O: Order>(&self, order: &O, index: usize) -> (&[u8], &[u8]) {
        self.records::<O>().split_at(self.place(order, index))
    }

    /// The number of a record, or where it would have to be.
    pub fn search<O: Order>(&self, order: &O, probe: O::Probe<'_>) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count());
        if O::INDEX == Index::Tags {
            let tag = self.scale.tag(order.key(probe));
            low = self.first_tag::<O>(|own| own >= tag);
            high = low + (low..high).take_while(|index| self.index_word::<O>(*index, 0) == tag).count();
        }
        while low < high {
            let middle = low.midpoint(high);
            match order.compare(probe, self.record(order, middle)) {
                Ordering::Equal => return Ok(middle),
                Ordering::Less => high = middle,
                Ordering::Greater => low = middle + 1,
            }
        }
        Err(low)
    }

    /// The first record whose tag is so; tags never decrease.
    fn first_tag<O: Order>(&self, is_so: impl Fn(u16) -> bool) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low.midpoint(high);
            if is_so(self.index_word::<O>(middle, 0)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    /// Puts a record in front of the one at `index`. Up to `spare` bytes the leaf may take memory for further ones.
    pub fn insert<O: Order>(&mut self, order: &O, index: usize, record: &[u8], spare: usize) {
        let place = self.place(order, index);
        self.block.splice_sparing(self.count() * width::<O>() + place, 0, record, spare);
        if width::<O>() > 0 {
            let tag = self.scale.tag(order.key_of(record)).to_le_bytes();
            let offset = (place as u16).to_le_bytes();
            let word = [tag[0], tag[1], offset[0], offset[1]];
            self.block.splice(index * width::<O>(), 0, &word[4 - width::<O>()..]);
        }
        self.count += 1;
        self.shift_places::<O>(index + 1, record.len() as isize);
        self.due_ms = self.due_ms.min(order.due_ms(record));
    }

    /// Takes records out. Up to `spare` bytes the leaf may keep memory for others.
    pub fn remove<O: Order>(&mut self, order: &O, range: Range<usize>, spare: usize) {
        let (start, end) = (self.place(order, range.start), self.place(order, range.end));
        let (width, removed) = (width::<O>(), range.len());
        self.block.splice_sparing(self.count() * width + start, end - start, &[], spare);
        if width > 0 {
            self.block.splice(range.start * width, removed * width, &[]);
        }
        self.count -= removed as u16;
        self.shift_places::<O>(range.start, start as isize - end as isize);
    }

    /// Puts a record in place of the one at `index`, whose key it shares.
    pub fn replace<O: Order>(&mut self, order: &O, index: usize, record: &[u8]) {
        let place = self.place(order, index);
        let old_len = order.len_of(&self.records::<O>()[place..]);
        let at = self.count() * width::<O>() + place;
        if old_len == record.len() {
            self.block.bytes_mut()[at..at + old_len].copy_from_slice(record);
        } else {
            self.block.splice(at, old_len, record);
            self.shift_places::<O>(index + 1, record.len() as isize - old_len as isize);
        }
        self.due_ms = self.due_ms.min(order.due_ms(record));
    }

    /// Takes the record at `from` out and puts another in front of the one that stood at `to`.
    pub fn move_record<O: Order>(&mut self, order: &O, from: usize, to: usize, record: &[u8]) {
        if to == from || to == from + 1 {
            return self.replace(order, from, record);
        }
        self.remove(order, from..from + 1, 0);
        self.insert(order, to - usize::from(to > from), record, 0);
    }

    fn shift_places<O: Order>(&mut self, from: usize, by: isize) {
        if width::<O>() == 0 {
            return;
        }
        let (width, count) = (width::<O>(), self.count());
        for word in self.block.bytes_mut()[from * width..count * width].chunks_exact_mut(width) {
            let place = &mut word[width - 2..];
            let moved = u16::from_le_bytes([place[0], place[1]]).wrapping_add_signed(by as i16);
            place.copy_from_slice(&moved.to_le_bytes());
        }
    }

    /// The records from `index` on become a leaf of their own. `end` is behind the last key that may come into that.
    pub fn split_off<O: Order>(&mut self, order: &O, index: usize, end: u64) -> Leaf {
        let middle = order.key_of(self.record(order, index));
        let place = self.place(order, index);
        let (start, first) = (self.scale.base, &self.records::<O>()[..place]);
        let second = Leaf::with(order, middle..end, self.stamp, &[&self.records::<O>()[place..]]);
        let first = Leaf::with(order, start..middle, self.stamp, &[first]);
        *self = first;
        second
    }

    /// Keeps those of the records from `index` on that are wanted; says how many went.
    pub fn retain<O: Order>(
        &mut self,
        order: &O,
        index: usize,
        mut is_wanted: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        let (before, behind) = self.divided(order, index);
        let mut kept = Vec::with_capacity(behind.len());
        iter_records(order, behind)
            .filter(|record| is_wanted(record))
            .for_each(|record| kept.extend_from_slice(record));
        let (count, stamp, scale) = (self.count, self.stamp, self.scale);
        *self = Leaf { scale, ..Leaf::with(order, 0..0, stamp, &[before, &kept]) };
        usize::from(count - self.count)
    }

    /// Takes over the records of the leaf that follows. `end` as for [`Leaf::split_off`].
    pub fn append<O: Order>(&mut self, order: &O, next: &Leaf, end: u64) {
        let both = [self.records::<O>(), next.records::<O>()];
        *self = Leaf::with(order, self.scale.base..end, self.stamp, &both);
    }

    fn with<O: Order>(order: &O, keys: Range<u64>, stamp: u32, parts: &[&[u8]]) -> Leaf {
        let mut leaf = Leaf::new(keys, stamp);
        let (mut index, mut place) = (Vec::new(), 0);
        for mut records in parts.iter().copied() {
            while !records.is_empty() {
                let (record, rest) = records.split_at(order.len_of(records));
                if O::INDEX == Index::Tags {
                    index.extend_from_slice(&leaf.scale.tag(order.key_of(record)).to_le_bytes());
                }
                if width::<O>() > 0 {
                    index.extend_from_slice(&(place as u16).to_le_bytes());
                }
                leaf.due_ms = leaf.due_ms.min(order.due_ms(record));
                leaf.count += 1;
                place += record.len();
                records = rest;
            }
        }
        let parts: Vec<&[u8]> = std::iter::once(index.as_slice()).chain(parts.iter().copied()).collect();
        leaf.block = Block::of(&parts);
        leaf
    }

    /// Shows all records.
    pub fn each<O: Order>(&self, order: &O, mut see: impl FnMut(&[u8])) {
        self.iter(order).for_each(&mut see);
    }

    /// Its records, in their order.
    pub fn iter<'l, O: Order>(&'l self, order: &'l O) -> impl Iterator<Item = &'l [u8]> {
        iter_records(order, self.records::<O>())
    }

    /// Its records from the one with this number on.
    pub fn iter_from<'l, O: Order>(&'l self, order: &'l O, index: usize) -> impl Iterator<Item = &'l [u8]> {
        iter_records(order, self.divided(order, index).1)
    }

    /// Looks at all records again: the earliest time of one.
    pub fn earliest_ms<O: Order>(&self, order: &O) -> i64 {
        let mut earliest = i64::MAX;
        self.each(order, |record| earliest = earliest.min(order.due_ms(record)));
        earliest
    }

    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check<O: Order>(&self, order: &O) -> Result<(), String> {
        let mut rest = self.records::<O>();
        let (mut place, mut tag, mut key) = (0, 0, 0);
        for index in 0..self.count() {
            if self.place(order, index) != place {
                return Err(format!("record {index} is not where the index says"));
            }
            let (record, behind) = rest.split_at(order.len_of(rest));
            if order.key_of(record) < key {
                return Err(format!("the key of record {index} is less than the one before"));
            }
            key = order.key_of(record);
            if O::INDEX == Index::Tags {
                let own = self.index_word::<O>(index, 0);
                if own < tag || own != self.scale.tag(key) {
                    return Err(format!("record {index} has a wrong tag"));
                }
                tag = own;
            }
            if self.due_ms > order.due_ms(record) {
                return Err(format!("record {index} is due before the leaf"));
            }
            place += record.len();
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(String::from("there are more records than counted")) }
    }
}

/// Records that lie one behind the other.
fn iter_records<'r, O: Order>(order: &O, mut rest: &'r [u8]) -> impl Iterator<Item = &'r [u8]> {
    std::iter::from_fn(move || {
        let (record, behind) =
            rest.split_at_checked(order.len_of(rest)).filter(|(record, _)| !record.is_empty())?;
        rest = behind;
        Some(record)
    })
}

/// Bytes of a record's part of the index.
#[inline]
const fn width<O: Order>() -> usize {
    match O::INDEX {
        Index::None | Index::Fixed(_) => 0,
        Index::Offsets => 2,
        Index::Tags => 4,
    }
}
