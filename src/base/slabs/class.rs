//! Sizes of blocks: one every 16 bytes up to 1 KB, 16 for each doubling above.
//!
//! So a block is at most 15 bytes, or 6 %, larger than what it holds; jemalloc's four classes a doubling leave up to 20 %.

/// The largest block that lies in a slab.
pub const BLOCK_MAX: usize = 4096;
/// How many sizes there are.
pub const CLASSES: usize = 96;

const FINE_MAX: usize = 1024;
const FINE_STEP: usize = 16;
const MIDDLE_MAX: usize = 2048;
const MIDDLE_STEP: usize = 64;
const COARSE_STEP: usize = 128;
const FINE_CLASSES: usize = FINE_MAX / FINE_STEP;
const MIDDLE_CLASSES: usize = (MIDDLE_MAX - FINE_MAX) / MIDDLE_STEP;

const _: () = assert!(FINE_CLASSES + MIDDLE_CLASSES + (BLOCK_MAX - MIDDLE_MAX) / COARSE_STEP == CLASSES);

/// The class of the blocks that `size` bytes (1 to [`BLOCK_MAX`]) go into.
#[inline]
pub const fn class_of(size: usize) -> usize {
    debug_assert!(size > 0 && size <= BLOCK_MAX);
    if size <= FINE_MAX {
        (size - 1) / FINE_STEP
    } else if size <= MIDDLE_MAX {
        FINE_CLASSES + (size - FINE_MAX - 1) / MIDDLE_STEP
    } else {
        FINE_CLASSES + MIDDLE_CLASSES + (size - MIDDLE_MAX - 1) / COARSE_STEP
    }
}

/// The bytes of a block of `class`.
#[inline]
pub const fn class_bytes(class: usize) -> usize {
    if class < FINE_CLASSES {
        (class + 1) * FINE_STEP
    } else if class < FINE_CLASSES + MIDDLE_CLASSES {
        FINE_MAX + (class - FINE_CLASSES + 1) * MIDDLE_STEP
    } else {
        MIDDLE_MAX + (class - FINE_CLASSES - MIDDLE_CLASSES + 1) * COARSE_STEP
    }
}

/// `class_bytes(class_of(size))`, by rounding alone.
#[inline]
pub const fn rounded(size: usize) -> usize {
    if size <= FINE_MAX {
        size.next_multiple_of(FINE_STEP)
    } else if size <= MIDDLE_MAX {
        size.next_multiple_of(MIDDLE_STEP)
    } else {
        size.next_multiple_of(COARSE_STEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_goes_into_the_smallest_class_that_holds_it() {
        for size in 1..=BLOCK_MAX {
            let class = class_of(size);
            assert!(class < CLASSES && class_bytes(class) >= size, "{size}");
            assert!(class == 0 || class_bytes(class - 1) < size, "{size}");
            assert_eq!(rounded(size), class_bytes(class), "{size}");
            assert_eq!(class_bytes(class) % 16, 0, "{size}");
            assert!(class_bytes(class) - size <= 15.max(size / 16), "{size}");
        }
        assert_eq!(class_of(BLOCK_MAX), CLASSES - 1);
    }
}
