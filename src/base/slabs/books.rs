//! The books over all regions and slabs: which blocks are free. Numbers only; it maps and touches no memory.
//!
//! ```text
//! region (2 MB, aligned)  = 32 slabs           region number = address >> 21
//! slab   (64 KB)          = blocks of one class, from its first byte on       slab number = address >> 16
//! span                    = slabs of one region side by side, given out as one block
//! ```
//! Free blocks are bits here, not links inside the blocks: to give out or take back a block touches none, a stale pointer cannot damage the books,
//! and the memory of a free slab can go back to the system without a trace. Of several slabs the one with the lowest address serves, so that the
//! others have a chance to become free as a whole.

use std::collections::{BTreeSet, HashMap};

use ahash::RandomState;
use smallvec::SmallVec;

use super::class::{CLASSES, SHARED_CLASSES, class_bytes, wide_class_bytes};

pub const REGION_BYTES: usize = 2 << 20;
pub const SLAB_BYTES: usize = 64 << 10;
pub(super) const SLABS_A_REGION: usize = REGION_BYTES / SLAB_BYTES;
const REGION_SHIFT: u32 = REGION_BYTES.trailing_zeros();
const SLAB_SHIFT: u32 = SLAB_BYTES.trailing_zeros();
const ALL_FREE: u32 = u32::MAX;
/// What a slab of a span has for a class.
const SPAN: u8 = u8::MAX;
/// How many regions are looked at for a span before a further one is taken.
const SPAN_REGIONS_MAX: usize = 64;

const _: () = assert!(SLABS_A_REGION == u32::BITS as usize, "a region's slabs are the bits of one word");

/// See the module's text.
pub struct Books {
    regions: HashMap<u32, Box<Region>, RandomState>,
    /// For each class, the slabs that have free blocks.
    partial: [BTreeSet<u32>; SHARED_CLASSES],
    /// Regions that have free slabs.
    vacant: BTreeSet<u32>,
    /// Those of them whose free slabs have memory behind them.
    dirty: BTreeSet<u32>,
    /// The region that was adopted last.
    newest: Option<u32>,
    counts: Counts,
}

/// What the books hold, in numbers.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    pub regions: usize,
    /// Slabs that have a class.
    pub used_slabs: usize,
    /// Slabs that have none, but memory behind them.
    pub dirty_slabs: usize,
    /// Bytes of blocks that are given out.
    pub given_bytes: usize,
}

/// Something that the operating system can have back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surplus {
    /// The address of a region. The books have forgotten it.
    Region(usize),
    /// The address of a slab. Nobody gets it before [`Books::take_clean`].
    Slab(usize),
}

struct Region {
    /// Slabs without a class.
    free: u32,
    /// Those of them that have no memory behind them.
    clean: u32,
    slabs: [Slab; SLABS_A_REGION],
}

#[derive(Default)]
struct Slab {
    class: u8,
    free_blocks: u16,
    /// A bit for each free block; exactly as many words as the class needs.
    free: SmallVec<[u64; 2]>,
}

/// The bytes of a block of `class`, which may be a wide one.
const fn bytes_of(class: usize) -> usize {
    if class < CLASSES { class_bytes(class) } else { wide_class_bytes(class) }
}

const fn blocks_a_slab(class: usize) -> usize {
    SLAB_BYTES / bytes_of(class)
}

impl Slab {
    fn begin(&mut self, class: usize) {
        let blocks = blocks_a_slab(class);
        self.class = class as u8;
        self.free_blocks = blocks as u16;
        self.free.clear();
        self.free.resize(blocks.div_ceil(64), u64::MAX);
        let rest = blocks % 64;
        if rest != 0
            && let Some(last) = self.free.last_mut()
        {
            *last = (1 << rest) - 1;
        }
    }

    /// Gives out up to `wanted` blocks, lowest first.
    fn take(&mut self, slab_address: usize, mut wanted: usize, taken: &mut Vec<usize>) {
        let bytes = bytes_of(usize::from(self.class));
        for (at, word) in self.free.iter_mut().enumerate() {
            while *word != 0 && wanted > 0 {
                let block = at * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                taken.push(slab_address + block * bytes);
                self.free_blocks -= 1;
                wanted -= 1;
            }
        }
    }

    /// Takes a block back.
    fn put(&mut self, offset: usize) {
        let bytes = bytes_of(usize::from(self.class));
        let block = offset / bytes;
        let (word, bit) = (&mut self.free[block / 64], 1 << (block % 64));
        assert!(offset.is_multiple_of(bytes) && *word & bit == 0, "a block is freed once, where it began");
        *word |= bit;
        self.free_blocks += 1;
    }
}

impl Books {
    pub fn new() -> Books {
        Books {
            regions: HashMap::default(),
            partial: std::array::from_fn(|_| BTreeSet::new()),
            vacant: BTreeSet::new(),
            dirty: BTreeSet::new(),
            newest: None,
            counts: Counts::default(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes a region in. `touched` says whether it has memory behind it already.
    pub fn adopt(&mut self, address: usize, touched: bool) {
        debug_assert!(address.is_multiple_of(REGION_BYTES));
        let number = (address >> REGION_SHIFT) as u32;
        let clean = if touched { 0 } else { ALL_FREE };
        self.regions.insert(
            number,
            Box::new(Region { free: ALL_FREE, clean, slabs: std::array::from_fn(|_| Slab::default()) }),
        );
        self.vacant.insert(number);
        self.newest = Some(number);
        self.counts.regions += 1;
        if touched {
            self.dirty.insert(number);
            self.counts.dirty_slabs += SLABS_A_REGION;
        }
    }

    /// Gives out up to `wanted` blocks of `class`, more than none unless a further region has to be adopted first.
    pub fn take(&mut self, class: usize, wanted: usize, taken: &mut Vec<usize>) {
        let Some(number) = self.partial[class].first().copied().or_else(|| self.begin_slab(class)) else {
            return;
        };
        let before = taken.len();
        let slab = self.slab(number);
        slab.take((number as usize) << SLAB_SHIFT, wanted, taken);
        if slab.free_blocks == 0 {
            self.partial[class].remove(&number);
        }
        self.counts.given_bytes += (taken.len() - before) * bytes_of(class);
    }

    /// Gives out one block of `class`, unless a further region has to be adopted first.
    pub fn take_one(&mut self, class: usize) -> Option<usize> {
        let mut taken = Vec::with_capacity(1);
        self.take(class, 1, &mut taken);
        taken.pop()
    }

    /// Takes a block of `class` back.
    pub fn put(&mut self, class: usize, address: usize) {
        let number = (address >> SLAB_SHIFT) as u32;
        let slab = self.slab(number);
        assert!(usize::from(slab.class) == class, "a block is freed with the size that it has");
        slab.put(address % SLAB_BYTES);
        let free = usize::from(slab.free_blocks);
        self.counts.given_bytes -= bytes_of(class);
        if free == blocks_a_slab(class) {
            self.partial[class].remove(&number);
            self.end_slab(number);
        } else if free == 1 {
            self.partial[class].insert(number);
        }
    }

    /// Gives out a span of so many slabs (1 to 32), unless a further region has to be adopted first.
    pub fn take_span(&mut self, slabs: usize) -> Option<usize> {
        let regions = self.vacant.iter().take(SPAN_REGIONS_MAX).chain(&self.newest);
        let (number, place) = regions.copied().find_map(|number| {
            let free = self.regions.get(&number)?.free;
            let starts = (1..slabs).fold(free, |starts, place| starts & free >> place);
            (starts != 0).then(|| (number, starts.trailing_zeros() as usize))
        })?;
        let mask = span_mask(slabs, place);
        let region = self.region(number);
        let dirty = region.free & !region.clean & mask;
        region.free &= !mask;
        region.clean &= !mask;
        for slab in &mut region.slabs[place..place + slabs] {
            *slab = Slab { class: SPAN, ..Slab::default() };
        }
        self.counts.dirty_slabs -= dirty.count_ones() as usize;
        self.counts.used_slabs += slabs;
        self.counts.given_bytes += slabs * SLAB_BYTES;
        self.note_free(number);
        Some(((number as usize) << REGION_SHIFT) + place * SLAB_BYTES)
    }

    /// Takes a span back.
    pub fn put_span(&mut self, address: usize, slabs: usize) {
        let number = (address >> REGION_SHIFT) as u32;
        let place = address % REGION_BYTES / SLAB_BYTES;
        let mask = span_mask(slabs, place);
        let region = self.region(number);
        let is_span = region.slabs[place..place + slabs].iter().all(|slab| slab.class == SPAN);
        assert!(is_span && region.free & mask == 0, "a span is freed once, with the size that it has");
        region.free |= mask;
        self.counts.used_slabs -= slabs;
        self.counts.dirty_slabs += slabs;
        self.counts.given_bytes -= slabs * SLAB_BYTES;
        self.note_free(number);
    }

    /// Takes a free slab, or a whole region if there is one, out of the books, for the operating system, if more than `kept` free slabs have memory
    /// behind them. Begins with the highest address.
    pub fn surplus(&mut self, kept: usize) -> Option<Surplus> {
        if self.counts.dirty_slabs <= kept {
            return None;
        }
        let number = *self.dirty.last()?;
        let region = self.regions.get_mut(&number)?;
        let dirty = region.free & !region.clean;
        if region.free == ALL_FREE {
            self.counts.dirty_slabs -= dirty.count_ones() as usize;
            self.counts.regions -= 1;
            self.regions.remove(&number);
            self.vacant.remove(&number);
            self.dirty.remove(&number);
            return Some(Surplus::Region((number as usize) << REGION_SHIFT));
        }
        let slab = u32::BITS - 1 - dirty.leading_zeros();
        region.free &= !(1 << slab);
        self.counts.dirty_slabs -= 1;
        self.note_free(number);
        Some(Surplus::Slab(((number as usize) << REGION_SHIFT) + slab as usize * SLAB_BYTES))
    }

    /// Takes a slab that [`Books::surplus`] gave back in, now without memory behind it.
    pub fn take_clean(&mut self, slab_address: usize) {
        let number = (slab_address >> REGION_SHIFT) as u32;
        let bit = 1 << (slab_address % REGION_BYTES / SLAB_BYTES);
        let region = self.region(number);
        region.free |= bit;
        region.clean |= bit;
        self.note_free(number);
    }

    fn region(&mut self, number: u32) -> &mut Region {
        self.regions
            .get_mut(&number)
            .expect("a block lies in a region that was adopted, until all of it is free")
    }

    fn slab(&mut self, number: u32) -> &mut Slab {
        &mut self.region(number / SLABS_A_REGION as u32).slabs[number as usize % SLABS_A_REGION]
    }

    /// Gives a free slab a class; gives its number. One that has memory behind it comes first.
    fn begin_slab(&mut self, class: usize) -> Option<u32> {
        let number = *self.vacant.first()?;
        let region = self.region(number);
        let dirty = region.free & !region.clean;
        let place = if dirty != 0 { dirty } else { region.free }.trailing_zeros();
        region.free &= !(1 << place);
        region.clean &= !(1 << place);
        region.slabs[place as usize].begin(class);
        self.counts.dirty_slabs -= usize::from(dirty != 0);
        self.counts.used_slabs += 1;
        self.note_free(number);
        let slab = number * SLABS_A_REGION as u32 + place;
        self.partial[class].insert(slab);
        Some(slab)
    }

    fn end_slab(&mut self, slab: u32) {
        let number = slab / SLABS_A_REGION as u32;
        self.region(number).free |= 1 << (slab as usize % SLABS_A_REGION);
        self.counts.used_slabs -= 1;
        self.counts.dirty_slabs += 1;
        self.note_free(number);
    }

    /// Keeps the lists of regions with free slabs true for one region.
    fn note_free(&mut self, number: u32) {
        let Region { free, clean, .. } = *self.region(number);
        for (list, belongs) in [(&mut self.vacant, free != 0), (&mut self.dirty, free & !clean != 0)] {
            if belongs {
                list.insert(number);
            } else {
                list.remove(&number);
            }
        }
    }
}

/// The bits of `slabs` slabs from `place` on.
const fn span_mask(slabs: usize, place: usize) -> u32 {
    (ALL_FREE >> (SLABS_A_REGION - slabs)) << place
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::base::random::Random;

    /// Counts by looking at everything.
    fn recount(books: &Books) -> Counts {
        let mut counts = Counts { regions: books.regions.len(), ..Counts::default() };
        for (number, region) in &books.regions {
            assert_eq!(books.vacant.contains(number), region.free != 0);
            assert_eq!(books.dirty.contains(number), region.free & !region.clean != 0);
            counts.dirty_slabs += (region.free & !region.clean).count_ones() as usize;
            for (place, slab) in region.slabs.iter().enumerate() {
                if region.free & 1 << place != 0 {
                    continue;
                }
                if slab.class == SPAN {
                    counts.used_slabs += 1;
                    counts.given_bytes += SLAB_BYTES;
                    continue;
                }
                let class = usize::from(slab.class);
                let free: u32 = slab.free.iter().map(|word| word.count_ones()).sum();
                assert_eq!(free, u32::from(slab.free_blocks));
                let slab_number = number * SLABS_A_REGION as u32 + place as u32;
                assert_eq!(books.partial[class].contains(&slab_number), free > 0);
                counts.used_slabs += 1;
                counts.given_bytes += (blocks_a_slab(class) - free as usize) * bytes_of(class);
            }
        }
        counts
    }

    #[test]
    fn blocks_never_overlap_and_everything_comes_back() {
        let seed = 20_261_126;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let mut books = Books::new();
        let mut next_region = 7 * REGION_BYTES;
        let mut given: Vec<(usize, usize)> = Vec::new();
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut held = HashSet::new();
        for step in 0..40_000 {
            let growing = step % 8_000 < 5_000;
            if random.below(10) < if growing { 7 } else { 2 } {
                let class = [0, 3, 30, 37, 38, 63, 64, 80, 95, 96, 103, 110][random.below(12) as usize];
                let mut taken = Vec::new();
                let wanted = 1 + random.below(20) as usize;
                books.take(class, wanted, &mut taken);
                if taken.is_empty() {
                    books.adopt(next_region, random.below(2) == 0);
                    next_region += REGION_BYTES * (1 + random.below(3) as usize);
                    books.take(class, wanted, &mut taken);
                }
                assert!((1..=wanted).contains(&taken.len()));
                given.extend(taken.into_iter().map(|address| (class, address)));
                if random.below(8) == 0 {
                    let slabs = 1 + random.below(SLABS_A_REGION as u64) as usize;
                    if let Some(address) = books.take_span(slabs) {
                        spans.push((slabs, address));
                    }
                }
            } else if !given.is_empty() {
                for _ in 0..random.below(20) {
                    let at = random.below(given.len().max(1) as u64) as usize;
                    if at < given.len() {
                        let (class, address) = given.swap_remove(at);
                        books.put(class, address);
                    }
                }
                if !spans.is_empty() {
                    let (slabs, address) = spans.swap_remove(random.below(spans.len() as u64) as usize);
                    books.put_span(address, slabs);
                }
            }
            if step % 500 == 0 {
                while let Some(surplus) = books.surplus(40) {
                    if let Surplus::Slab(address) = surplus {
                        held.insert(address);
                    }
                }
                held.drain().for_each(|address| books.take_clean(address));
                assert_eq!(books.counts(), recount(&books));
                let mut ranges: Vec<_> =
                    given.iter().map(|(class, address)| (*address, address + bytes_of(*class))).collect();
                assert!(ranges.iter().all(|(start, end)| start / SLAB_BYTES == (end - 1) / SLAB_BYTES));
                ranges.extend(spans.iter().map(|(slabs, address)| (*address, address + slabs * SLAB_BYTES)));
                ranges.sort_unstable();
                assert!(ranges.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            }
        }
        for (class, address) in given.drain(..) {
            books.put(class, address);
        }
        for (slabs, address) in spans.drain(..) {
            books.put_span(address, slabs);
        }
        while let Some(surplus) = books.surplus(0) {
            match surplus {
                Surplus::Region(_) => {}
                Surplus::Slab(address) => books.take_clean(address),
            }
        }
        let counts = books.counts();
        assert_eq!((counts.used_slabs, counts.dirty_slabs, counts.given_bytes), (0, 0, 0));
    }

    #[test]
    fn the_lowest_slab_serves_first_so_that_others_become_free() {
        let mut books = Books::new();
        books.adopt(REGION_BYTES, true);
        let class = 63;
        let mut blocks = Vec::new();
        while blocks.len() < 3 * blocks_a_slab(class) {
            books.take(class, 100, &mut blocks);
        }
        for address in blocks.drain(..) {
            if address % 4096 == 0 {
                books.put(class, address);
            }
        }
        books.take(class, 1, &mut blocks);
        assert_eq!(blocks, [REGION_BYTES]);
    }

    #[test]
    #[should_panic(expected = "a block is freed once")]
    fn freeing_a_block_twice_is_noticed() {
        let mut books = Books::new();
        books.adopt(REGION_BYTES, true);
        let mut blocks = Vec::new();
        books.take(0, 2, &mut blocks);
        books.put(0, blocks[0]);
        books.put(0, blocks[0]);
    }
}
