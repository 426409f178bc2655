//! The field names of a stream's entries, each set of them once: entries name them by a number.
//!
//! A set is kept while an entry has it. Where a stream has too many different ones, further entries have their names with them.

use super::super::block::Block;
use super::super::text;

/// As many sets of names are shared at most; finding one among them is a look at so many hashes.
const SHAPES_MAX: usize = 256;

/// Names of fields, and how many entries have them.
#[derive(Clone, Default)]
pub struct Shape {
    /// As [`text`] has strings, one behind the other.
    names: Block,
    fields: u32,
    hash: u32,
    uses: u64,
}

impl Shape {
    pub fn names(&self) -> &[u8] {
        self.names.bytes()
    }

    pub fn fields(&self) -> usize {
        self.fields as usize
    }

    pub fn is_used(&self) -> bool {
        self.uses > 0
    }
}

/// Names as an entry comes with them.
#[derive(Clone, Copy)]
pub struct Names<'n> {
    /// As [`Shape::names`].
    pub bytes: &'n [u8],
    pub fields: usize,
    pub hash: u32,
}

impl<'n> Names<'n> {
    pub fn new(bytes: &'n [u8], fields: usize) -> Names<'n> {
        Names { bytes, fields, hash: hash_of(bytes) }
    }
}

/// FNV-1a, folded. It only saves comparisons: nothing goes wrong where two sets have the same.
fn hash_of(bytes: &[u8]) -> u32 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    (hash >> 32 ^ hash) as u32
}

/// See the module's text. The number of a set is its place and 1, so that 0 is for entries with names of their own.
#[derive(Clone, Default)]
pub struct Shapes {
    shapes: Vec<Shape>,
    /// The set of the entry that came last.
    latest: usize,
    name_bytes: usize,
}

impl Shapes {
    /// The number of a set for one more entry; 0 if there is no room for it.
    pub fn take(&mut self, names: Names<'_>) -> u32 {
        let is_it = |shape: &Shape| {
            shape.uses > 0
                && shape.hash == names.hash
                && shape.fields() == names.fields
                && shape.names() == names.bytes
        };
        let latest = Some(self.latest).filter(|latest| self.shapes.get(*latest).is_some_and(is_it));
        let known = latest.or_else(|| self.shapes.iter().position(is_it));
        let Some(place) = known.or_else(|| self.add(names)) else { return 0 };
        self.latest = place;
        self.shapes[place].uses += 1;
        place as u32 + 1
    }

    fn add(&mut self, names: Names<'_>) -> Option<usize> {
        let free = self.shapes.iter().position(|shape| !shape.is_used());
        let place = free.unwrap_or(self.shapes.len());
        if place == SHAPES_MAX {
            return None;
        }
        if place == self.shapes.len() {
            self.shapes.push(Shape::default());
        }
        self.put(place, names.bytes, names.fields);
        Some(place)
    }

    fn put(&mut self, place: usize, bytes: &[u8], fields: usize) {
        let names = Block::of(&[bytes]);
        self.name_bytes += names.owned_bytes();
        self.shapes[place] = Shape { names, fields: fields as u32, hash: hash_of(bytes), uses: 0 };
    }

    /// An entry with this number is gone.
    pub fn give_back(&mut self, number: u32) {
        let Some(shape) = (number as usize).checked_sub(1).and_then(|place| self.shapes.get_mut(place))
        else {
            return;
        };
        shape.uses -= 1;
        if shape.uses == 0 {
            self.name_bytes -= shape.names.owned_bytes();
            *shape = Shape::default();
        }
    }

    /// The set with this number.
    #[inline]
    pub fn at(&self, number: u32) -> Option<&Shape> {
        self.shapes.get((number as usize).checked_sub(1)?)
    }

    /// All places, free ones too.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Shape> {
        self.shapes.iter()
    }

    /// Puts a set at the next place, for loading; entries take it by [`Shapes::take_at`].
    pub fn load(&mut self, bytes: &[u8], fields: usize) -> Option<()> {
        if self.shapes.len() == SHAPES_MAX {
            return None;
        }
        self.shapes.push(Shape::default());
        if fields > 0 {
            self.put(self.shapes.len() - 1, bytes, fields);
        }
        Some(())
    }

    /// One more entry has the set with this number.
    pub fn take_at(&mut self, number: u32) {
        if let Some(shape) = (number as usize).checked_sub(1).and_then(|place| self.shapes.get_mut(place)) {
            shape.uses += 1;
        }
    }

    pub fn owned_bytes(&self) -> usize {
        self.shapes.capacity() * size_of::<Shape>() + self.name_bytes
    }

    /// What is wrong with it, if anything is; `uses` says how many entries have each number.
    pub fn check(&self, uses: &[u64]) -> Result<(), String> {
        let counted: Vec<u64> = self.shapes.iter().map(|shape| shape.uses).collect();
        if uses.iter().skip(1).ne(&counted) {
            return Err(format!("sets of names are used {uses:?} times, {counted:?} are counted"));
        }
        let name_bytes: usize = self.shapes.iter().map(|shape| shape.names.owned_bytes()).sum();
        if name_bytes != self.name_bytes {
            return Err(format!("names have {name_bytes} bytes, {} are counted", self.name_bytes));
        }
        Ok(())
    }
}

/// How many strings lie one behind the other in these bytes; `None` if they do not end with one.
pub fn strings_in(mut bytes: &[u8]) -> Option<usize> {
    let mut found = 0;
    while let Some(first) = bytes.first() {
        if *first >= text::ESCAPE {
            return None;
        }
        bytes = bytes.get(text::len_of(bytes).max(1)..)?;
        found += 1;
    }
    Some(found)
}
