//! Regions from the operating system, and back.

use std::ffi::c_void;
use std::ptr;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use super::books::REGION_BYTES;

/// How the memory of a fresh region comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// In pages of 4 KB, each when it is first touched.
    Small,
    /// In one page of 2 MB, where the system has those, when the region is first touched: that takes as long as filling all of it.
    Huge,
    /// The same, at once.
    HugeNow,
}

/// Maps a region of zeros; `None` if the system refuses.
pub fn map(backing: Backing) -> Option<usize> {
    let address = map_aligned()?;
    if backing != Backing::Small {
        // A system without huge pages refuses, and then the region has small ones.
        let _ = advise(address, REGION_BYTES, Advice::LinuxHugepage);
    }
    if backing == Backing::HugeNow {
        // What is refused here comes when it is touched.
        let _ = advise(address, REGION_BYTES, Advice::LinuxPopulateWrite);
    }
    Some(address)
}

/// Gives a region back that nothing points into.
pub fn unmap(address: usize) {
    // SAFETY: the books have forgotten the region, so none of its blocks is given out.
    let unmapped = unsafe { munmap(at(address), REGION_BYTES) };
    debug_assert!(unmapped.is_ok(), "a region is a mapping of ours");
}

/// Takes the memory from behind a part of a region in which no block is given out; it reads as zeros then.
pub fn forget(address: usize, bytes: usize) {
    // Refused only where pages are locked in memory; then they stay.
    let _ = advise(address, bytes, Advice::LinuxDontNeed);
}

fn advise(address: usize, bytes: usize, advice: Advice) -> rustix::io::Result<()> {
    // SAFETY: the range is one of our own mappings, and none of its blocks is given out, so whatever the advice does to their contents is nobody's loss.
    unsafe { madvise(at(address), bytes, advice) }
}

fn at(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

fn map_aligned() -> Option<usize> {
    let address = map_bytes(REGION_BYTES)?;
    if address.is_multiple_of(REGION_BYTES) {
        return Some(address);
    }
    // Twice as much has an aligned region in it; the rest goes back.
    unmap(address);
    let start = map_bytes(2 * REGION_BYTES)?;
    let region = start.next_multiple_of(REGION_BYTES);
    let (before, behind) = (region - start, start + REGION_BYTES - region);
    for (from, bytes) in [(start, before), (region + REGION_BYTES, behind)] {
        if bytes > 0 {
            // SAFETY: this part of the fresh mapping is outside of the region, and nobody knows of it.
            let unmapped = unsafe { munmap(at(from), bytes) };
            debug_assert!(unmapped.is_ok(), "it was mapped just now");
        }
    }
    Some(region)
}

fn map_bytes(bytes: usize) -> Option<usize> {
    let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
    // SAFETY: the system chooses the place, so nothing that exists is replaced.
    let mapped = unsafe { mmap_anonymous(ptr::null_mut(), bytes, access, flags) };
    mapped.ok().map(|address| address.expose_provenance())
}
