//! Sizes of blocks: one every 16 bytes up to 1 KB, 16 for each doubling up to 4 KB.
//!
//! So a block is at most 15 bytes, or 6 %, larger than what it holds; jemalloc's four classes a doubling leave up to 20 %.
//!
//! Arrays, which choose their own size, go on in wide blocks: four for each doubling up to a slab, and above that whole slabs.

/// The largest block that is not wide.
pub const BLOCK_MAX: usize = 4096;
/// How many sizes there are up to that.
pub const CLASSES: usize = 96;
/// The largest wide block that shares a slab with others.
pub const WIDE_MAX: usize = 14 << 12;
/// How many sizes there are that share slabs, the wide ones included.
pub const SHARED_CLASSES: usize = CLASSES + 15;

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

/// The class of the wide block that `size` bytes (more than [`BLOCK_MAX`], up to [`WIDE_MAX`]) go into.
pub const fn wide_class_of(size: usize) -> usize {
    debug_assert!(size > BLOCK_MAX && size <= WIDE_MAX);
    let doublings = (size - 1).ilog2() - BLOCK_MAX.ilog2();
    let quarter = (BLOCK_MAX / 4) << doublings;
    CLASSES + doublings as usize * 4 + size.div_ceil(quarter) - 5
}

/// The bytes of a wide block of `class`.
pub const fn wide_class_bytes(class: usize) -> usize {
    let number = class - CLASSES;
    ((5 + number % 4) * (BLOCK_MAX / 4)) << (number / 4)
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
        for size in BLOCK_MAX + 1..=WIDE_MAX {
            let class = wide_class_of(size);
            assert!((CLASSES..SHARED_CLASSES).contains(&class) && wide_class_bytes(class) >= size, "{size}");
            assert!(class == CLASSES || wide_class_bytes(class - 1) < size, "{size}");
        }
        assert_eq!(wide_class_of(WIDE_MAX), SHARED_CLASSES - 1);
    }
}
