//! Memory for entries and tables: blocks of up to 4 KB, and wide ones for arrays, from slabs of our own, which lie in huge pages.
//!
//! A general allocator rounds sessions up by a tenth, and spreads them over so many small pages that finding one costs a miss of the processor's
//! address translation (TLB) besides the misses of its caches. Here sizes are finer (`class.rs`), slabs lie in regions of 2 MB that are huge pages
//! where the system has them (`pages.rs`), and what is free is known without touching it (`books.rs`).
//!
//! ```text
//! allocate, free -> the thread's own cache, a stack for each class -> Shared, behind one lock, 8 KB at a time -> regions
//! ```
//! The first touch of a huge page takes as long as clearing it. So the server's memory thread ([`Attendant`]) keeps regions ready, and who comes while
//! there is none takes one with small pages. The same thread gives memory back that stays free. Other blocks above 4 KB come from the global allocator.
//!
//! Under AddressSanitizer (without the feature `slabs`) every block comes from the global allocator, so that it sees the bounds and the end of each.

mod books;
mod class;
mod pages;

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::ptr::{self, NonNull};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use self::books::{Books, REGION_BYTES, SLAB_BYTES, Surplus};
use self::class::{
    BLOCK_MAX, CLASSES, WIDE_MAX, class_bytes, class_of, rounded, wide_class_bytes, wide_class_of,
};
use self::pages::{Backing, Space};
use super::allocator::{account, size_class};
use super::lock::{Condvar, Mutex};

/// All blocks are aligned to this, so that who keeps an address can drop its low four bits.
pub const ALIGN: usize = 16;

/// What goes between a thread's cache and the shared books at once.
const BATCH_BYTES: usize = 8 * 1024;
const BATCH_BLOCKS_MAX: usize = 32;
const BATCH_BLOCKS_MIN: usize = 4;
/// Regions that are kept ready while memory is taken faster than they can be made.
const READY_MAX: usize = 8;
/// With no more slabs free than this a region is made ready: what they have is taken in half a millisecond at the earliest, and a region takes a fifth of one.
const FREE_SLABS_LOW: usize = 8;
/// How long no region is needed before the attendant looks for memory to give back, and how often from then on.
const LOOK: Duration = Duration::from_millis(500);
/// Free slabs whose memory is kept: this many, and one for so many in use.
const KEPT_SLABS: usize = 32;
const KEPT_DIVISOR: usize = 16;
/// The part of what is too much that goes back at one look, so that a short ebb costs little.
const GIVE_BACK_DIVISOR: usize = 16;

/// What all threads share.
struct Shared {
    state: Mutex<State>,
    /// A region was taken, or the attendant is to end.
    taken: Condvar,
}

struct State {
    books: Books,
    space: Space,
    /// Regions with memory behind them that the books do not know yet.
    ready: Vec<usize>,
    /// How many of these there should be when few slabs are free; 0 while no attendant works or nothing was ever allocated.
    wanted: usize,
    attendants: usize,
}

impl State {
    /// How many regions should be ready now.
    fn target(&self) -> usize {
        let counts = self.books.counts();
        let is_plenty = counts.regions * books::SLABS_A_REGION - counts.used_slabs > FREE_SLABS_LOW;
        if is_plenty && self.wanted == 1 { 0 } else { self.wanted }
    }

    /// Whether the attendant has something to do.
    fn is_short(&self) -> bool {
        self.ready.len() < self.target()
    }
}

static SHARED: LazyLock<Shared> = LazyLock::new(|| Shared {
    state: Mutex::new(State {
        books: Books::new(),
        space: Space::default(),
        ready: Vec::new(),
        wanted: 0,
        attendants: 0,
    }),
    taken: Condvar::new(),
});

/// A thread's own free blocks.
struct Cache {
    classes: RefCell<[Vec<usize>; CLASSES]>,
    /// See [`prefer_huge_pages`].
    huge: Cell<bool>,
}

thread_local! {
    static CACHE: Cache = const {
        Cache { classes: RefCell::new([const { Vec::new() }; CLASSES]), huge: Cell::new(false) }
    };
}

/// Memory behind the blocks, in bytes.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct SlabBytes {
    /// Blocks that are in use, or in a thread's cache.
    pub allocated: usize,
    /// Slabs that hold these.
    pub active: usize,
    /// These, free slabs that still have memory, and regions that are kept ready.
    pub resident: usize,
}

/// The bytes that are set aside for a block of `size` bytes.
#[inline]
pub const fn block_bytes(size: usize) -> usize {
    if is_slab_block(size) { rounded(size) } else { size_class(size) }
}

#[inline]
const fn is_slab_block(size: usize) -> bool {
    cfg!(feature = "slabs") && size <= BLOCK_MAX
}

/// How many blocks go between a thread's cache and the shared books at once.
const fn batch(class: usize) -> usize {
    let blocks = BATCH_BYTES / class_bytes(class);
    if blocks < BATCH_BLOCKS_MIN {
        BATCH_BLOCKS_MIN
    } else if blocks > BATCH_BLOCKS_MAX {
        BATCH_BLOCKS_MAX
    } else {
        blocks
    }
}

fn large_layout(size: usize) -> Layout {
    Layout::from_size_align(size_class(size), ALIGN).expect("a block's size fits isize")
}

/// A block of at least `size` bytes (more than none), not initialised. Ends the process if there is no memory, as all allocation does.
#[inline]
pub fn allocate(size: usize) -> NonNull<u8> {
    if !is_slab_block(size) {
        let layout = large_layout(size);
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc::alloc(layout) };
        return NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout));
    }
    let class = class_of(size);
    account(class_bytes(class) as i64);
    let cached = CACHE.try_with(|cache| cache.classes.borrow_mut()[class].pop()).ok().flatten();
    let address = cached.unwrap_or_else(|| refill(class));
    NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("no region begins at 0")
}

/// Gives a block back.
///
/// # Safety
/// The block came from [`allocate`] or [`reallocate`], with a size of the same [`block_bytes`], and is not used any more.
#[inline]
pub unsafe fn free(block: NonNull<u8>, size: usize) {
    if !is_slab_block(size) {
        // SAFETY: as the caller says, it was allocated with this layout.
        return unsafe { alloc::dealloc(block.as_ptr(), large_layout(size)) };
    }
    let class = class_of(size);
    account(-(class_bytes(class) as i64));
    let address = block.as_ptr().expose_provenance();
    let kept = CACHE.try_with(|cache| {
        let blocks = &mut cache.classes.borrow_mut()[class];
        if blocks.len() >= 2 * batch(class) {
            // The oldest go; those that were freed just now are still in the processor's cache.
            SHARED.put(class, blocks.drain(..batch(class)));
        }
        blocks.push(address);
    });
    if kept.is_err() {
        // The thread is ending and has no cache any more.
        SHARED.put(class, [address].into_iter());
    }
}

/// Moves what a block holds into one of another size, as far as it fits.
///
/// # Safety
/// As for [`free`], with `old_size`.
pub unsafe fn reallocate(block: NonNull<u8>, old_size: usize, new_size: usize) -> NonNull<u8> {
    if !is_slab_block(old_size) && !is_slab_block(new_size) {
        let (old, new) = (large_layout(old_size), large_layout(new_size));
        // SAFETY: as the caller says, the block was allocated with `old`, whose alignment is the same.
        let moved = unsafe { alloc::realloc(block.as_ptr(), old, new.size()) };
        return NonNull::new(moved).unwrap_or_else(|| alloc::handle_alloc_error(new));
    }
    let moved = allocate(new_size);
    // SAFETY: both blocks have this many bytes, and they are two.
    unsafe { ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr(), old_size.min(new_size)) };
    // SAFETY: the caller's promise, and nobody uses the old block from here on.
    unsafe { free(block, old_size) };
    moved
}

/// Where an array lies.
enum Place {
    /// Among others of its class in a slab.
    Slab(usize),
    /// In so many slabs of its own.
    Span(usize),
    /// Where [`allocate`] puts it.
    Block,
}

fn place_of_array(size: usize) -> Place {
    if !cfg!(feature = "slabs") || size <= BLOCK_MAX || size > REGION_BYTES {
        Place::Block
    } else if size <= WIDE_MAX {
        Place::Slab(wide_class_of(size))
    } else {
        Place::Span(size.div_ceil(SLAB_BYTES))
    }
}

/// As [`allocate`], for an array: it lies in huge pages at any size up to 2 MB, and its size is best a quarter of a power of two.
pub fn allocate_array(size: usize) -> NonNull<u8> {
    let (bytes, address) = match place_of_array(size) {
        Place::Block => return allocate(size),
        Place::Slab(class) => (wide_class_bytes(class), SHARED.take_wide(|books| books.take_one(class))),
        Place::Span(slabs) => (slabs * SLAB_BYTES, SHARED.take_wide(|books| books.take_span(slabs))),
    };
    account(bytes as i64);
    NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("no region begins at 0")
}

/// Gives an array back.
///
/// # Safety
/// The block came from [`allocate_array`] with this size, and is not used any more.
pub unsafe fn free_array(block: NonNull<u8>, size: usize) {
    let address = block.as_ptr().expose_provenance();
    match place_of_array(size) {
        // SAFETY: the caller's promise; `allocate` gave the block for this size.
        Place::Block => unsafe { free(block, size) },
        Place::Slab(class) => {
            account(-(wide_class_bytes(class) as i64));
            SHARED.put(class, [address].into_iter());
        }
        Place::Span(slabs) => {
            account(-((slabs * SLAB_BYTES) as i64));
            SHARED.state.lock().books.put_span(address, slabs);
        }
    }
}

/// From now on this thread fills huge pages at their first touch where none are ready. For threads that fill much memory and that nobody waits
/// for step by step.
pub fn prefer_huge_pages() {
    // A thread that is ending allocates no more.
    let _ = CACHE.try_with(|cache| cache.huge.set(true));
}

/// Takes blocks from the books into the thread's cache; gives one of them.
#[cold]
fn refill(class: usize) -> usize {
    let refilled = CACHE.try_with(|cache| {
        let blocks = &mut cache.classes.borrow_mut()[class];
        blocks.reserve_exact(2 * batch(class));
        SHARED.take(
            class,
            batch(class),
            blocks,
            if cache.huge.get() { Backing::Huge } else { Backing::Small },
        );
        // In the order of their addresses, so that neighbours in time are neighbours in memory.
        blocks.reverse();
        blocks.pop()
    });
    refilled.ok().flatten().unwrap_or_else(|| {
        let mut blocks = Vec::with_capacity(1);
        SHARED.take(class, 1, &mut blocks, Backing::Small);
        blocks[0]
    })
}

impl Drop for Cache {
    fn drop(&mut self) {
        for (class, blocks) in self.classes.get_mut().iter_mut().enumerate() {
            SHARED.put(class, blocks.drain(..));
        }
    }
}

impl Shared {
    /// Takes at least one block. `backing` is for a region that is mapped because none is ready.
    fn take(&self, class: usize, wanted: usize, blocks: &mut Vec<usize>, backing: Backing) {
        let mut state = self.state.lock();
        state.books.take(class, wanted, blocks);
        if blocks.is_empty() {
            self.add_region(&mut state, backing);
            state.books.take(class, wanted, blocks);
        }
        let is_short = state.is_short();
        drop(state);
        if is_short {
            self.taken.notify_one();
        }
    }

    /// Takes the block that `take` finds in the books; a further region always has one.
    fn take_wide(&self, take: impl Fn(&mut Books) -> Option<usize>) -> usize {
        let mut state = self.state.lock();
        loop {
            if let Some(address) = take(&mut state.books) {
                let is_short = state.is_short();
                drop(state);
                if is_short {
                    self.taken.notify_one();
                }
                return address;
            }
            self.add_region(&mut state, Backing::Small);
        }
    }

    fn put(&self, class: usize, blocks: impl Iterator<Item = usize>) {
        let mut state = self.state.lock();
        blocks.for_each(|address| state.books.put(class, address));
    }

    #[cold]
    fn add_region(&self, state: &mut State, backing: Backing) {
        if let Some(address) = state.ready.pop() {
            state.books.adopt(address, true);
        } else {
            let Some(address) = state.space.region(backing) else {
                alloc::handle_alloc_error(large_layout(REGION_BYTES));
            };
            if backing == Backing::Huge {
                pages::make_huge(address);
            }
            state.books.adopt(address, backing == Backing::Huge);
            if state.attendants > 0 {
                state.wanted = (state.wanted * 2).clamp(1, READY_MAX);
            }
        }
    }

    /// Makes regions until as many are ready as should be. The system works without the lock.
    fn make_ready(&self) {
        loop {
            let mut state = self.state.lock();
            if !state.is_short() {
                return;
            }
            if state.space.is_short() {
                drop(state);
                let regions = pages::reserve();
                state = self.state.lock();
                state.space.add_fresh(regions);
            }
            let Some(address) = state.space.region(Backing::Huge) else {
                // Without address space there is nothing to wait for; the next need asks again.
                state.wanted = state.ready.len();
                return;
            };
            drop(state);
            pages::make_huge(address);
            pages::touch(address);
            self.state.lock().ready.push(address);
        }
    }

    /// Gives part of what is free back to the system. Called when no region was needed for a while.
    fn look(&self) {
        let mut state = self.state.lock();
        state.wanted = state.wanted.min(1);
        let kept = state.target().min(state.ready.len());
        let spare = state.ready.split_off(kept);
        let counts = state.books.counts();
        drop(state);
        spare.into_iter().for_each(|address| self.give_region_back(address));
        let kept = KEPT_SLABS + counts.used_slabs / KEPT_DIVISOR;
        let excess = counts.dirty_slabs.saturating_sub(kept);
        self.give_back(counts.dirty_slabs - excess.div_ceil(GIVE_BACK_DIVISOR));
    }

    /// Gives free slabs back until no more than `kept` have memory behind them.
    fn give_back(&self, kept: usize) {
        loop {
            let surplus = self.state.lock().books.surplus(kept);
            match surplus {
                None => return,
                Some(Surplus::Region(address)) => self.give_region_back(address),
                Some(Surplus::Slab(address)) => {
                    pages::forget(address, SLAB_BYTES);
                    self.state.lock().books.take_clean(address);
                }
            }
        }
    }

    fn give_region_back(&self, address: usize) {
        pages::forget(address, REGION_BYTES);
        self.state.lock().space.add_forgotten(address);
    }
}

/// Gives all memory in which no block is used back to the operating system.
pub fn purge() {
    let mut state = SHARED.state.lock();
    state.wanted = 0;
    let ready = std::mem::take(&mut state.ready);
    drop(state);
    ready.into_iter().for_each(|address| SHARED.give_region_back(address));
    SHARED.give_back(0);
}

/// How much memory there is behind the blocks.
pub fn bytes() -> SlabBytes {
    let state = SHARED.state.lock();
    let counts = state.books.counts();
    let active = counts.used_slabs * SLAB_BYTES;
    SlabBytes {
        allocated: counts.given_bytes,
        active,
        resident: active + counts.dirty_slabs * SLAB_BYTES + state.ready.len() * REGION_BYTES,
    }
}

/// The work of the memory thread: keeps regions ready and gives free memory back.
#[derive(Debug, Default)]
pub struct Attendant {
    ending: AtomicBool,
}

impl Attendant {
    /// Works until [`Attendant::end`] is called.
    pub fn run(&self) {
        SHARED.state.lock().attendants += 1;
        while !self.ending.load(Ordering::Relaxed) {
            SHARED.make_ready();
            let state = SHARED.state.lock();
            let idle = !state.is_short() && !self.ending.load(Ordering::Relaxed);
            let timed_out = idle && SHARED.taken.wait_for(state, LOOK).1;
            if timed_out {
                SHARED.look();
            }
        }
        let mut state = SHARED.state.lock();
        state.attendants -= 1;
        if state.attendants == 0 {
            state.wanted = 0;
        }
    }

    /// Lets [`Attendant::run`] return.
    pub fn end(&self) {
        // Under the lock, so that the attendant cannot miss it between its look and its sleep.
        let _state = SHARED.state.lock();
        self.ending.store(true, Ordering::Relaxed);
        SHARED.taken.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills a block with a byte of its own.
    fn fill(block: NonNull<u8>, size: usize, byte: u8) {
        // SAFETY: the block has so many bytes.
        unsafe { ptr::write_bytes(block.as_ptr(), byte, size) };
    }

    fn is_filled(block: NonNull<u8>, size: usize, byte: u8) -> bool {
        // SAFETY: so many bytes of the block are initialised.
        let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), size) };
        bytes.iter().all(|each| *each == byte)
    }

    #[test]
    fn blocks_of_all_sizes_keep_what_is_written_and_pass_between_threads() {
        let make = |from: usize| {
            (from..9000)
                .step_by(37)
                .map(|size| {
                    let block = allocate(size);
                    assert!(block.addr().get().is_multiple_of(ALIGN));
                    fill(block, size, size as u8);
                    (block.as_ptr().expose_provenance(), size)
                })
                .collect::<Vec<_>>()
        };
        let other = std::thread::spawn(move || make(1)).join().expect("makes blocks");
        for (address, size) in other.into_iter().chain(make(2)) {
            let block = NonNull::new(ptr::with_exposed_provenance_mut(address)).expect("not null");
            assert!(is_filled(block, size, size as u8), "{size}");
            // SAFETY: it was allocated with this size, and is not used again.
            unsafe { free(block, size) };
        }
    }

    #[test]
    fn arrays_of_all_sizes_keep_what_is_written() {
        let sizes: Vec<_> = (1..60).map(|step: usize| step * step * step * 11).collect();
        let arrays: Vec<_> = sizes.iter().map(|size| (allocate_array(*size), *size)).collect();
        for (array, size) in &arrays {
            assert!(array.addr().get().is_multiple_of(ALIGN));
            fill(*array, *size, *size as u8);
        }
        for (array, size) in arrays {
            assert!(is_filled(array, size, size as u8), "{size}");
            // SAFETY: it was allocated with this size, and is not used again.
            unsafe { free_array(array, size) };
        }
    }

    #[test]
    fn a_block_that_changes_its_size_keeps_what_fits() {
        let sizes = [10, 500, 501, 4096, 4097, 100_000, 300_000, 4097, 4096, 17, 3];
        let mut block = allocate(sizes[0]);
        fill(block, sizes[0], 9);
        for pair in sizes.windows(2) {
            // SAFETY: the block was allocated, or moved, with the first size.
            block = unsafe { reallocate(block, pair[0], pair[1]) };
            assert!(is_filled(block, pair[0].min(pair[1]), 9), "{pair:?}");
            fill(block, pair[1], 9);
        }
        // SAFETY: as above, with the last size.
        unsafe { free(block, sizes[sizes.len() - 1]) };
    }

    #[test]
    fn an_attendant_ends_when_it_is_told_to() {
        let attendant = std::sync::Arc::<Attendant>::default();
        let work = std::sync::Arc::clone(&attendant);
        let thread = std::thread::spawn(move || work.run());
        attendant.end();
        thread.join().expect("ends");
        purge();
        assert!(bytes().allocated <= bytes().active || !cfg!(feature = "slabs"));
    }
}
