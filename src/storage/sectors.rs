//! Sectors, which a disk writes whole or not at all, and how a block of a log is made so that a sector which was not written can be told.
//!
//! A sector that was not written reads as zeros. So none may hold nothing but zeros of what was written: a body that would leave a sector
//! with fewer than two bits set in what it holds of the block is mixed with a mask, a row of numbers that look random. Two, because then no
//! single flipped bit makes a sector look as if it had not been written.
//!
//! ```text
//!   word i of mask m = splitmix64(seed + (i + 1) * GOLDEN)     seed = splitmix64(id of the file + splitmix64(64 * number of the block + m))
//! ```
//!
//! Mask 0 changes nothing. The id is random, so nobody who sends values can choose one that any mask turns to zeros.

/// Bytes of a sector. Disks with larger ones write several of these.
pub const SECTOR: usize = 512;
/// How many masks there are. Each fails for the last byte of a block with a chance of 1 to 28, so that all do happens never.
pub const MASKS: u8 = 64;
const BITS_MIN: u32 = 2;
/// Steele, Lea, Flood: Fast splittable pseudorandom number generators (2014).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Whether every sector would show that it was written, if a block begins at this offset.
pub fn show_block(offset: usize, block: &[u8]) -> bool {
    let (first, rest) = block.split_at(block.len().min(SECTOR - offset % SECTOR));
    shows(first) && rest.chunks(SECTOR).all(shows)
}

fn shows(part: &[u8]) -> bool {
    let mut bits = 0;
    part.iter().any(|byte| {
        bits += byte.count_ones();
        bits >= BITS_MIN
    })
}

/// Mixes a body with a mask; twice with the same one leaves it as it was.
pub fn mix(body: &mut [u8], file_id: u64, sequence: u64, mask: u8) {
    if mask == 0 {
        return;
    }
    let place = sequence.wrapping_mul(u64::from(MASKS)).wrapping_add(u64::from(mask));
    let mut word = splitmix64(file_id.wrapping_add(splitmix64(place)));
    for part in body.chunks_mut(8) {
        word = word.wrapping_add(GOLDEN);
        part.iter_mut().zip(splitmix64(word).to_le_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }
}

fn splitmix64(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sector_shows_if_two_bits_of_it_are_set() {
        let mut block = [0; 1000];
        // It begins 12 bytes before the end of a sector, so that it lies in three.
        for (at, bits) in [(11, 3), (12, 0x80), (523, 1), (524, 0x11)] {
            assert!(!show_block(500, &block));
            block[at] = bits;
        }
        assert!(show_block(500, &block));
        assert!(!show_block(501, &block) && !show_block(488, &block));
        assert!(show_block(511, &[3]) && !show_block(511, &[4]));
    }

    #[test]
    fn masks_are_what_the_page_about_the_format_says() {
        let mut body = [0; 19];
        mix(&mut body, 1, 2, 3);
        let word = |number: u64| {
            let seed = splitmix64(1 + splitmix64(64 * 2 + 3));
            splitmix64(seed.wrapping_add(number.wrapping_mul(GOLDEN))).to_le_bytes()
        };
        assert_eq!(body, [word(1), word(2), word(3)].concat()[..19]);
        mix(&mut body, 1, 2, 3);
        assert_eq!(body, [0; 19]);
        mix(&mut body, 1, 2, 0);
        assert_eq!(body, [0; 19]);
        // The first number of the published generator for the seed 1234567.
        assert_eq!(splitmix64(1_234_567u64.wrapping_add(GOLDEN)), 6_457_827_717_110_365_317);
    }
}
