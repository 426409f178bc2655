//! The array of a table's words: shared with readers that only prefetch, zero at first, and in the same memory as the entries.
//!
//! ```text
//! block of base::slabs = how many share it (8 bytes), word 0, word 1, ...
//! ```
//! It is an `Arc<[AtomicU64]>` in all but where it lies: a lookup's first miss is in this array, and tables that grow do not wait for the system to
//! find memory for them.

use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use crate::base::slabs;

/// Words' worth of bytes in front of the words.
pub const COUNT_WORDS: usize = 1;

/// See the module's text.
pub struct Words {
    block: NonNull<AtomicU64>,
    slots: usize,
}

// SAFETY: what several threads reach through it are atomics alone.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// So many words, all zero.
    pub fn new(slots: usize) -> Words {
        let bytes = block_bytes(slots);
        let block = slabs::allocate_array(bytes).cast::<AtomicU64>();
        // SAFETY: the block has so many bytes, aligned to 16, and nobody else knows it. Zero bytes are zero words.
        unsafe {
            ptr::write_bytes(block.as_ptr().cast::<u8>(), 0, bytes);
            block.cast::<AtomicUsize>().write(AtomicUsize::new(1));
        }
        Words { block, slots }
    }

    #[inline]
    fn sharers(&self) -> &AtomicUsize {
        // SAFETY: `new` wrote it, and the block lives as long as anybody shares it.
        unsafe { self.block.cast().as_ref() }
    }
}

fn block_bytes(slots: usize) -> usize {
    (slots + COUNT_WORDS) * size_of::<u64>()
}

impl Deref for Words {
    type Target = [AtomicU64];

    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `slots` words follow the count, all of them initialised, for as long as anybody shares the block.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(COUNT_WORDS), self.slots) }
    }
}

impl Clone for Words {
    fn clone(&self) -> Words {
        self.sharers().fetch_add(1, Ordering::Relaxed);
        Words { block: self.block, slots: self.slots }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        if self.sharers().fetch_sub(1, Ordering::Release) == 1 {
            // What the others did with the words happened before the block is used for something else.
            fence(Ordering::Acquire);
            // SAFETY: nobody shares the block any more, and it was allocated with this size.
            unsafe { slabs::free_array(self.block.cast(), block_bytes(self.slots)) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_zero_and_stay_while_anybody_shares_them() {
        for slots in [7, 600, 5119, 8191, 20_000] {
            let words = Words::new(slots);
            assert_eq!(words.len(), slots);
            assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
            words.iter().zip(1..).for_each(|(word, value)| word.store(value, Ordering::Relaxed));
            let shared = words.clone();
            drop(words);
            let reader =
                std::thread::spawn(move || shared.iter().map(|word| word.load(Ordering::Relaxed)).sum());
            let sum: u64 = reader.join().expect("reads");
            assert_eq!(sum, (slots * (slots + 1) / 2) as u64);
        }
    }
}
