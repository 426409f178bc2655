//! Address space and memory for regions.
//!
//! Address space is reserved in large chunks, so that to begin a region takes no system call: a call that maps has to wait for the kernel's lock
//! on the process's map, which others may hold for milliseconds. Regions without memory are kept for the next need instead of being unmapped.

use std::ffi::c_void;
use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use super::books::REGION_BYTES;

/// Regions that are reserved at once; fewer where the process may not have so much address space.
const CHUNK_REGIONS: usize = 128;
/// The system's small page.
const PAGE_BYTES: usize = 4096;

/// How the memory of a region comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// In pages of 4 KB, each when it is first touched.
    Small,
    /// In one page of 2 MB, where the system has those, when it is first touched: that takes as long as clearing all of it.
    Huge,
}

/// Address space that no region of the books uses.
#[derive(Default)]
pub struct Space {
    /// Never used.
    fresh: Vec<usize>,
    /// Used before, with huge pages, and without memory now.
    forgotten: Vec<usize>,
}

impl Space {
    /// A region, without memory so far; `None` if the system has no more address space for us.
    pub fn region(&mut self, backing: Backing) -> Option<usize> {
        let (first, second) = match backing {
            Backing::Small => (&mut self.fresh, &mut self.forgotten),
            Backing::Huge => (&mut self.forgotten, &mut self.fresh),
        };
        if let Some(address) = first.pop().or_else(|| second.pop()) {
            return Some(address);
        }
        self.add_fresh(reserve());
        self.fresh.pop()
    }

    /// Whether the next regions come from a chunk that is yet to be reserved.
    pub fn is_short(&self) -> bool {
        self.fresh.len() < CHUNK_REGIONS / 8
    }

    /// Takes in what [`reserve`] gave.
    pub fn add_fresh(&mut self, regions: Vec<usize>) {
        self.fresh.extend(regions);
    }

    /// Takes in a region that has no memory any more.
    pub fn add_forgotten(&mut self, address: usize) {
        self.forgotten.push(address);
    }
}

/// Reserves a chunk; gives its regions, the lowest last, or none if the system refuses.
pub fn reserve() -> Vec<usize> {
    let mut regions = CHUNK_REGIONS;
    while regions > 0 {
        // One more, because the system may not align it.
        if let Some(start) = map_bytes((regions + 1) * REGION_BYTES) {
            let first = start.next_multiple_of(REGION_BYTES);
            return (0..regions).rev().map(|index| first + index * REGION_BYTES).collect();
        }
        regions /= 2;
    }
    Vec::new()
}

/// Lets a region be one huge page when it is touched.
pub fn make_huge(address: usize) {
    // A system without huge pages refuses, and then the region has small ones.
    let _ = advise(address, REGION_BYTES, Advice::LinuxHugepage);
}

/// Gets the memory of a region now. Touching takes less of the kernel's locks than asking it to (MADV_POPULATE_WRITE).
pub fn touch(address: usize) {
    for page in (address..address + REGION_BYTES).step_by(PAGE_BYTES) {
        // SAFETY: the region is mapped for writing and belongs to the caller alone; no block of it is given out.
        unsafe { ptr::write_volatile(ptr::with_exposed_provenance_mut::<u8>(page), 0) };
    }
}

/// Takes the memory from behind a part of a region in which no block is given out; it reads as zeros then.
pub fn forget(address: usize, bytes: usize) {
    // Refused only where pages are locked in memory; then they stay.
    let _ = advise(address, bytes, Advice::LinuxDontNeed);
}

fn advise(address: usize, bytes: usize, advice: Advice) -> rustix::io::Result<()> {
    let start = ptr::with_exposed_provenance_mut::<c_void>(address);
    // SAFETY: the range is part of our own mappings, and none of its blocks is given out, so whatever the advice does to their contents is nobody's loss.
    unsafe { madvise(start, bytes, advice) }
}

fn map_bytes(bytes: usize) -> Option<usize> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the system chooses the place, so nothing that exists is replaced.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) };
    mapped.ok().map(|address| address.expose_provenance())
}
