//! The counting global allocator: jemalloc, with an exact account of the bytes that its size classes hand out.
//!
//! `used_memory`, maxmemory and eviction read this account. Each thread keeps its own delta and adds it to the process
//! total only when it has grown past a step, so that an allocation costs no shared cache line.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

use tikv_jemallocator::Jemalloc;

/// A thread's uncounted remainder never exceeds this many bytes in either direction.
const FLUSH_STEP: i64 = 32 * 1024;

static USED: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static PENDING: Cell<i64> = const { Cell::new(0) };
}

/// Bytes allocated in the process now, exact to `FLUSH_STEP` a thread.
pub fn used_bytes() -> usize {
    let pending = PENDING.try_with(Cell::get).unwrap_or(0);
    let used = (USED.load(Ordering::Relaxed) + pending).max(0);
    // Almost always a read alone: every loop asks at every request while there is a memory limit.
    if used > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(used, Ordering::Relaxed);
    }
    used as usize
}

/// The highest value that [`used_bytes`] had when somebody looked or a thread flushed.
pub fn peak_bytes() -> usize {
    used_bytes();
    PEAK.load(Ordering::Relaxed).max(0) as usize
}

/// The size that jemalloc really sets aside for a request of `size` bytes: four classes for each doubling.
///
/// The rule is jemalloc's own documented table (16-byte quantum, LG_SIZE_CLASS_GROUP 2).
#[inline]
pub const fn size_class(size: usize) -> usize {
    if size <= 8 {
        return 8;
    }
    if size <= 128 {
        return (size + 15) & !15;
    }
    let step = 1usize << (usize::BITS - 3 - (size - 1).leading_zeros());
    (size + step - 1) & !(step - 1)
}

/// Gives all pages of jemalloc in which nothing is allocated back to the operating system; says whether jemalloc could. Takes time in proportion to
/// what it gives back.
pub fn purge() -> bool {
    // 4096 stands for all arenas (jemalloc's MALLCTL_ARENAS_ALL).
    let entry = c"arena.4096.purge";
    let nothing = std::ptr::null_mut();
    // SAFETY: the name ends with a zero byte, and this entry takes no value and gives none, which is what null pointers say.
    let status =
        unsafe { tikv_jemalloc_sys::mallctl(entry.as_ptr(), nothing, std::ptr::null_mut(), nothing, 0) };
    status == 0
}

/// Adds to the account of the calling thread.
#[inline]
pub(super) fn account(delta: i64) {
    // A thread that is being torn down has no slot any more; it counts straight into the total.
    let counted = PENDING.try_with(|pending| {
        let sum = pending.get() + delta;
        if !(-FLUSH_STEP..=FLUSH_STEP).contains(&sum) {
            USED.fetch_add(sum, Ordering::Relaxed);
            pending.set(0);
        } else {
            pending.set(sum);
        }
    });
    if counted.is_err() {
        USED.fetch_add(delta, Ordering::Relaxed);
    }
}

/// The allocator that `main.rs` and the test binaries install.
pub struct Counting;

// SAFETY: every call is passed on to jemalloc unchanged; the account beside it neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let block = unsafe { Jemalloc.alloc(layout) };
        if !block.is_null() {
            account(size_class(layout.size()) as i64);
        }
        block
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let block = unsafe { Jemalloc.alloc_zeroed(layout) };
        if !block.is_null() {
            account(size_class(layout.size()) as i64);
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        account(-(size_class(layout.size()) as i64));
        // SAFETY: the caller keeps GlobalAlloc's contract.
        unsafe { Jemalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller keeps GlobalAlloc's contract.
        let moved = unsafe { Jemalloc.realloc(block, layout, new_size) };
        if !moved.is_null() {
            account(size_class(new_size) as i64 - size_class(layout.size()) as i64);
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_follow_jemallocs_table() {
        for (size, class) in
            [(1, 8), (9, 16), (17, 32), (128, 128), (129, 160), (512, 512), (513, 640), (641, 768)]
        {
            assert_eq!(size_class(size), class, "size {size}");
        }
        assert_eq!(size_class(1025), 1280);
        assert_eq!(size_class(16 * 1024 + 1), 20 * 1024);
    }
}
