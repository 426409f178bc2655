//! Records of a wheel's slot: a chain of chunks, of which the first grows before another is put in front of it.
//!
//! ```text
//! 0          8       12         16
//! | next     | len   | capacity | records of 8 bytes ...
//! ```
//! A wheel has few records in most of its slots where a shard has few keys, so a chunk begins with room for two.

use std::marker::PhantomData;
use std::ptr::NonNull;

use super::wheel::Record;
use crate::base::slabs;

/// Records that chunks have room for, the smallest first: 32 to 128 bytes, each a size class of the slabs.
const CAPACITIES: [u32; 4] = [2, 4, 8, 14];

#[repr(C)]
struct Chunk {
    next: Option<NonNull<Chunk>>,
    len: u32,
    capacity: u32,
}

const fn bytes(capacity: u32) -> usize {
    size_of::<Chunk>() + capacity as usize * size_of::<Record>()
}

const _: () = assert!(bytes(CAPACITIES[0]) == 32 && bytes(CAPACITIES[3]) == 128);
const _: () = assert!(size_of::<Chunk>().is_multiple_of(align_of::<Record>()));

/// See the module's text.
#[derive(Default)]
pub struct Chain {
    head: Option<NonNull<Chunk>>,
}

// SAFETY: a chain is the only owner of its chunks, which hold plain numbers.
unsafe impl Send for Chain {}
// SAFETY: through a shared reference chunks are only read.
unsafe impl Sync for Chain {}

impl Chain {
    pub fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// Adds a record.
    pub fn push(&mut self, record: Record) {
        let head = match self.head {
            // SAFETY: the chain owns the chunk, and nobody else looks at it.
            Some(head) if unsafe { head.as_ref() }.len < unsafe { head.as_ref() }.capacity => head,
            _ => self.make_room(),
        };
        // SAFETY: as above; the chunk has room for one more record, behind those that it has.
        unsafe {
            let chunk = &mut *head.as_ptr();
            records(head).add(chunk.len as usize).write(record);
            chunk.len += 1;
        }
    }

    /// A first chunk with room for one more.
    fn make_room(&mut self) -> NonNull<Chunk> {
        // SAFETY: the chain owns the chunk.
        let full = self.head.map(|head| (head, unsafe { head.as_ref() }.capacity));
        let larger = full.and_then(|(head, capacity)| {
            let larger = CAPACITIES.into_iter().find(|larger| *larger > capacity)?;
            Some((head, capacity, larger))
        });
        let made = match larger {
            Some((head, capacity, larger)) => {
                // SAFETY: the chunk was allocated for its capacity, and the chain alone knows of it.
                let made = unsafe { slabs::reallocate(head.cast(), bytes(capacity), bytes(larger)) };
                let mut made = made.cast::<Chunk>();
                // SAFETY: the head of the chunk was moved with it.
                unsafe { made.as_mut() }.capacity = larger;
                made
            }
            None => {
                let made = slabs::allocate(bytes(CAPACITIES[0])).cast::<Chunk>();
                // SAFETY: the block is new, large enough, and aligned for whatever has words.
                unsafe { made.write(Chunk { next: self.head, len: 0, capacity: CAPACITIES[0] }) };
                made
            }
        };
        self.head = Some(made);
        made
    }

    /// Takes a record, the last one of the first chunk.
    pub fn pop(&mut self) -> Option<Record> {
        let head = self.head?;
        // SAFETY: the chain owns the chunk, which has a record at least; all up to `len` are initialised.
        unsafe {
            let chunk = &mut *head.as_ptr();
            chunk.len -= 1;
            let record = records(head).add(chunk.len as usize).read();
            if chunk.len == 0 {
                self.head = chunk.next;
                slabs::free(head.cast(), bytes(chunk.capacity));
            }
            Some(record)
        }
    }

    /// All records.
    pub fn iter(&self) -> Iter<'_> {
        Iter { chunk: self.head, index: 0, life: PhantomData }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        let mut next = self.head;
        while let Some(head) = next {
            // SAFETY: the chain owns the chunk, and goes away; the chunk was allocated for its capacity.
            unsafe {
                let Chunk { next: behind, capacity, .. } = head.read();
                slabs::free(head.cast(), bytes(capacity));
                next = behind;
            }
        }
    }
}

/// Where a chunk's records begin.
fn records(chunk: NonNull<Chunk>) -> NonNull<Record> {
    // SAFETY: a chunk's block goes on behind its head.
    unsafe { chunk.add(1) }.cast()
}

/// See [`Chain::iter`].
pub struct Iter<'c> {
    chunk: Option<NonNull<Chunk>>,
    index: usize,
    life: PhantomData<&'c Chain>,
}

impl Iterator for Iter<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let chunk = self.chunk?;
        // SAFETY: the chain is borrowed, so its chunks stay as they are; a chunk has a record at least, and `index` is below `len`.
        let (record, head) = unsafe { (records(chunk).add(self.index).read(), chunk.as_ref()) };
        self.index += 1;
        if self.index == head.len as usize {
            (self.chunk, self.index) = (head.next, 0);
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_chain_gives_back_what_it_was_given() {
        let mut random = Random::new(3);
        let (mut chain, mut model) = (Chain::default(), Vec::new());
        for number in 0..5000 {
            if random.below(5) < 3 {
                let record = Record { prefix: number, tick: random.next_u64() as u32 };
                chain.push(record);
                model.push(record);
            } else {
                let taken = chain.pop();
                assert_eq!(taken.is_none(), model.is_empty());
                taken.into_iter().for_each(|taken| model.retain(|record| *record != taken));
            }
            assert_eq!((chain.iter().count(), chain.is_empty()), (model.len(), model.is_empty()));
        }
        let mut left: Vec<u32> = chain.iter().map(|record| record.prefix).collect();
        left.sort_unstable();
        assert_eq!(left, model.iter().map(|record| record.prefix).collect::<Vec<_>>());
    }
}
