//! A block of bytes that its owner splices: memory from the slabs, as entries have it.
//!
//! ```text
//! room in front | bytes | room behind
//! ```
//! Bytes come and go at either end without a move of the others where there is room. All raw memory work of collections is in this file.

use std::ptr::{self, NonNull};

use crate::base::slabs;

/// A block gives memory back when it would fit into so small a part of it (in quarters), ...
const KEPT_QUARTERS: usize = 3;
/// ... or into this, if it may have spare memory.
const KEPT_SPARING_QUARTERS: usize = 1;

/// Sizes are so many to a doubling, and so 2 % of a large block is for nothing. With all size classes of the slabs in use, which are 16 bytes apart, each of them
/// would have a slab that is mostly empty.
const SIZES_PER_DOUBLING: usize = 16;

/// Bytes in memory of their own. Empty ones take none.
pub struct Block {
    start: NonNull<u8>,
    /// Bytes of memory in front of its own.
    front: u32,
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
        Block { start: NonNull::dangling(), front: 0, len: 0, capacity: 0 }
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
        let step = bytes.next_power_of_two() / 2 / SIZES_PER_DOUBLING;
        let bytes = bytes.next_multiple_of(step.max(1));
        let capacity = u32::try_from(slabs::block_bytes(bytes)).expect("a value's lengths are 32 bits wide");
        Block { start: slabs::allocate(bytes), front: 0, len: 0, capacity }
    }

    /// Appends what there is room for.
    fn push_within(&mut self, part: &[u8]) {
        let (end, new_len) = ((self.front + self.len) as usize, self.len as usize + part.len());
        assert!(end + part.len() <= self.capacity as usize, "the room was reserved");
        // SAFETY: the block has room for the part behind its bytes, and nobody else's slice lies in memory that this one owns.
        unsafe { ptr::copy_nonoverlapping(part.as_ptr(), self.start.as_ptr().add(end), part.len()) };
        self.len = new_len as u32;
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the `len` bytes behind the room in front are initialised, and borrowed with self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(self.front as usize), self.len as usize) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(self.start.as_ptr().add(self.front as usize), self.len as usize)
        }
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
        self.splice_sparing(at, removed, with, 0);
    }

    /// [`Block::splice`], after which the block may have memory for as many bytes again as it has, up to `spare` in all, so that a row of changes at an
    /// end moves few bytes.
    pub fn splice_sparing(&mut self, at: usize, removed: usize, with: &[u8], spare: usize) {
        assert!(at + removed <= self.len(), "what is replaced is there");
        let new_len = self.len() - removed + with.len();
        let kept = if spare > 0 { KEPT_SPARING_QUARTERS } else { KEPT_QUARTERS };
        let capacity = self.capacity as usize;
        if new_len > capacity || slabs::block_bytes(new_len.max(1)) * 4 <= capacity * kept {
            *self = self.remade(at, removed, with, spare);
            return;
        }
        let front = self.front_after(at, removed, with.len(), spare);
        self.move_ends((at, removed, with.len()), front);
        // SAFETY: the gap that was made has this length and lies in memory that this block owns, the slice outside of it.
        unsafe {
            let gap = self.start.as_ptr().add(front + at);
            ptr::copy_nonoverlapping(with.as_ptr(), gap, with.len());
        }
        (self.front, self.len) = (front as u32, new_len as u32);
    }

    /// A block with the bytes after a splice; what memory it has besides is where the splice was.
    fn remade(&self, at: usize, removed: usize, with: &[u8], spare: usize) -> Block {
        let (before, rest) = self.bytes().split_at(at);
        let after = &rest[removed..];
        let new_len = before.len() + with.len() + after.len();
        let mut block = Block::with_capacity(new_len + new_len.min(spare.saturating_sub(new_len)));
        if at == 0 && spare > 0 {
            block.front = block.capacity - new_len as u32;
        }
        [before, with, after].iter().for_each(|part| block.push_within(part));
        block
    }

    /// How much room is in front after a splice that fits into the memory: as much as before, or as the bytes before the splice are moved, or, where room
    /// is on the wrong side, half of what there is.
    fn front_after(&self, at: usize, removed: usize, added: usize, spare: usize) -> usize {
        let (front, len, capacity) = (self.front as usize, self.len as usize, self.capacity as usize);
        let (before, after) = (at, len - at - removed);
        let fits_in_front = front + removed >= added;
        let fits_behind = front + len - removed + added <= capacity;
        if fits_in_front && (before < after || !fits_behind) {
            return front + removed - added;
        }
        if fits_behind {
            return front;
        }
        let room = capacity - (len - removed + added);
        if at == 0 && spare > 0 { room.div_ceil(2) } else { room / 2 }
    }

    /// Moves the bytes before and behind a splice to where they are after it; `front` is the room in front then.
    fn move_ends(&mut self, (at, removed, added): (usize, usize, usize), front: usize) {
        let (old, len) = (self.front as usize, self.len as usize);
        let after = len - at - removed;
        let start = self.start.as_ptr();
        // SAFETY: both parts lie within the bytes before and within the memory after, as the caller has seen to. Of two parts the one that moves away from
        // the other goes first, so neither is overwritten before it has moved.
        unsafe {
            let move_before = || {
                if front != old {
                    ptr::copy(start.add(old), start.add(front), at);
                }
            };
            let move_after = || {
                if old + removed != front + added {
                    ptr::copy(start.add(old + at + removed), start.add(front + at + added), after);
                }
            };
            if front < old {
                move_before();
                move_after();
            } else {
                move_after();
                move_before();
            }
        }
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

    /// As the ends of lists do it: most changes are at an end, and there is spare memory.
    #[test]
    fn bytes_come_and_go_at_both_ends() {
        const SPARE: usize = 512;
        for seed in 0..20 {
            println!("seed {seed}");
            let mut random = Random::new(seed);
            let (mut block, mut model) = (Block::new(), Vec::new());
            for step in 0..4_000 {
                let len = model.len();
                let removes = random.below(100) < if step / 300 % 2 == 0 { 30 } else { 70 };
                let removed = if removes { len.min(random.below(40) as usize) } else { 0 };
                let at = match random.below(8) {
                    0..=3 if seed % 2 == 0 => 0,
                    0..=6 => len - removed,
                    _ => random.below((len - removed) as u64 + 1) as usize,
                };
                let with: Vec<u8> = (0..if removes { 0 } else { random.below(40) })
                    .map(|_| random.next_u64() as u8)
                    .collect();
                block.splice_sparing(at, removed, &with, if random.below(50) == 0 { 0 } else { SPARE });
                model.splice(at..at + removed, with);
                assert_eq!(block.bytes(), model, "step {step}");
                assert!(
                    block.owned_bytes() <= slabs::block_bytes(SPARE.max((block.len() + 16) * 4)),
                    "step {step}"
                );
            }
        }
    }
}
