//! A block of bytes that its owner splices: memory from the slabs, as entries have it.
//!
//! All raw memory work of collections is in this file.

use std::ptr::{self, NonNull};

use crate::base::slabs;

/// A block gives memory back when it would fit into so small a part of it (in quarters).
const KEPT_QUARTERS: usize = 3;

/// Bytes in memory of their own. Empty ones take none.
pub struct Block {
    start: NonNull<u8>,
    len: u32,
    capacity: u32,
}

// SAFETY: a Block is the only owner of its memory, which holds plain bytes.
unsafe impl Send for Block {}
// SAFETY: a shared Block is only read.
unsafe impl Sync for Block {}

impl Block {
    /// A block without bytes.
    pub const fn new() -> Block {
        Block { start: NonNull::dangling(), len: 0, capacity: 0 }
    }

    /// The concatenation of some parts.
    pub fn of(parts: &[&[u8]]) -> Block {
        let mut block = Block::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            block.push_within(part);
        }
        block
    }

    /// No bytes, and room for so many.
    pub fn with_capacity(bytes: usize) -> Block {
        if bytes == 0 {
            return Block::new();
        }
        let capacity = u32::try_from(slabs::block_bytes(bytes)).expect("a value's lengths are 32 bits wide");
        Block { start: slabs::allocate(bytes), len: 0, capacity }
    }

    /// Appends what there is room for.
    fn push_within(&mut self, part: &[u8]) {
        let (len, new_len) = (self.len as usize, self.len as usize + part.len());
        assert!(new_len <= self.capacity as usize, "the room was reserved");
        // SAFETY: the block has room for the part behind its bytes, and nobody else's slice lies in memory that this one owns.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), self.start.as_ptr().add(len), part.len()) };
        self.len = new_len as u32;
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialised, and borrowed with self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len as usize) }
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that the allocator has set aside.
    pub fn owned_bytes(&self) -> usize {
        self.capacity as usize
    }

    /// Puts `with` in place of `removed` bytes at `at`. Memory is taken and given back as the length asks for.
    pub fn splice(&mut self, at: usize, removed: usize, with: &[u8]) {
        let (before, rest) = self.bytes().split_at(at);
        let (_, after) = rest.split_at(removed);
        let new_len = before.len() + with.len() + after.len();
        let fits = new_len <= self.capacity as usize;
        if !fits || slabs::block_bytes(new_len.max(1)) * 4 <= self.capacity as usize * KEPT_QUARTERS {
            *self = Block::of(&[before, with, after]);
            return;
        }
        let moved = after.len();
        // SAFETY: `at + removed + moved` is the length and `at + with.len() + moved` at most the capacity; what is moved was initialised, and the
        // gap is filled from a slice that lies outside of this block.
        unsafe {
            let gap = self.start.as_ptr().add(at);
            ptr::copy(gap.add(removed), gap.add(with.len()), moved);
            ptr::copy_nonoverlapping(with.as_ptr(), gap, with.len());
        }
        self.len = new_len as u32;
    }
}

impl Default for Block {
    fn default() -> Block {
        Block::new()
    }
}

impl Clone for Block {
    fn clone(&self) -> Block {
        Block::of(&[self.bytes()])
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: the memory came from `allocate` with a size whose block has this capacity, and its owner goes away.
            unsafe { slabs::free(self.start, self.capacity as usize) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn splices_do_what_vectors_do() {
        let seed = 0xb10c;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let (mut block, mut model) = (Block::new(), Vec::new());
        for step in 0..20_000 {
            let at = random.below(model.len() as u64 + 1) as usize;
            let removed = random.below((model.len() - at) as u64 + 1) as usize;
            let removed = if random.below(4) == 0 { removed } else { removed.min(10) };
            let with: Vec<u8> = (0..random.below(60)).map(|_| random.next_u64() as u8).collect();
            block.splice(at, removed, &with);
            model.splice(at..at + removed, with);
            assert_eq!(block.bytes(), model, "step {step}");
            assert!(block.owned_bytes() >= block.len());
            assert!(
                block.owned_bytes() <= slabs::block_bytes(block.len().max(1)) * 4 / 3 + 16,
                "step {step}"
            );
        }
        assert_eq!(block.clone().bytes(), model);
    }
}
