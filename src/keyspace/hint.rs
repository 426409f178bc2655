//! What a prefetch hint says: where the words of a segment are, or those of a table's directory of hints.
//!
//! ```text
//! segment     63   62......57 56....52 51...................8 7....................0     0 = no array yet
//!             0    tag shift  depth    array address / 8      segment::encode_slots
//! directory   1    0          0        array address / 8      how many bits of the hash number a hint
//! ```
//! A table in several segments has a directory: an array of segments' hints, for all that the first bits of a hash can be.

use std::sync::atomic::AtomicU64;

use super::segment::{self, Segment};
use super::words::Words;

const IS_DIRECTORY: u64 = 1 << 63;
const TAG_SHIFT: u32 = 57;
const DEPTH_SHIFT: u32 = 52;
const DEPTH_MASK: u64 = 0x1f;

fn array(words: &Words) -> u64 {
    (words.as_ptr().expose_provenance() as u64) >> 3 << 8
}

/// The hint of a segment.
pub fn of_segment(segment: &Segment) -> u64 {
    segment.shared_words().map_or(0, |words| {
        u64::from(segment.tag_shift()) << TAG_SHIFT
            | u64::from(segment.depth()) << DEPTH_SHIFT
            | array(words)
            | segment::encode_slots(words.len())
    })
}

/// The hint of a directory of 2^`bits` hints.
pub fn of_directory(directory: &Words, bits: u32) -> u64 {
    IS_DIRECTORY | array(directory) | u64::from(bits)
}

#[inline]
pub fn is_directory(hint: u64) -> bool {
    hint & IS_DIRECTORY != 0
}

/// The first word of the array.
#[inline]
pub fn address(hint: u64) -> *mut AtomicU64 {
    std::ptr::with_exposed_provenance_mut((hint << 12 >> 20 << 3) as usize)
}

/// How many slots the segment has.
#[inline]
pub fn slots(hint: u64) -> usize {
    segment::decode_slots(hint & 0xff)
}

/// Where the tags of the segment begin.
#[inline]
pub fn tag_shift(hint: u64) -> u8 {
    (hint >> TAG_SHIFT) as u8
}

/// [`Segment::depth`].
#[inline]
pub fn depth(hint: u64) -> u32 {
    (hint >> DEPTH_SHIFT & DEPTH_MASK) as u32
}

/// Which hint of the directory is that of a hash.
#[inline]
pub fn index(hint: u64, hash: u64) -> usize {
    (hash >> (64 - (hint & 0xff))) as usize
}
