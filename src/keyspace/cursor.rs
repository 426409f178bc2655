//! SCAN's cursors: a place in the order of hashes, under a keyed permutation.
//!
//! A place is a shard and a granule, 53 bits; so a cursor is one that every client can hold, in a floating-point number, too. It says nothing
//! of hashes, which would let its reader find keys that share a home. No place to go on from has the cursor 0, which ends a scan.
//! Any number is the cursor of some place, so one that comes from elsewhere goes on from there, and ends.

use super::hasher::KeyHasher;
use super::segment::GRANULE_BITS;

const RIGHT_BITS: u32 = 27;
const LEFT_BITS: u32 = 26;
const RIGHT_MASK: u64 = (1 << RIGHT_BITS) - 1;
const LEFT_MASK: u64 = (1 << LEFT_BITS) - 1;
const PLACE_MASK: u64 = (1 << (LEFT_BITS + RIGHT_BITS)) - 1;
const ROUNDS: u8 = 8;

/// The cursor of a place.
pub fn cursor_of(hasher: &KeyHasher, shard: usize, granule: u64) -> u64 {
    let place = (shard as u64) << GRANULE_BITS | granule;
    match permuted(hasher, place, 0..ROUNDS) {
        // Only the first of all places needs no cursor: its own stands for the one that would have 0.
        0 => permuted(hasher, 0, 0..ROUNDS),
        cursor => cursor,
    }
}

/// The shard and the granule of a cursor. 0 is that of the beginning.
pub fn place_of(hasher: &KeyHasher, cursor: u64) -> (usize, u64) {
    let place = match permuted(hasher, cursor & PLACE_MASK, (0..ROUNDS).rev()) {
        _ if cursor == 0 => 0,
        0 => permuted(hasher, 0, (0..ROUNDS).rev()),
        place => place,
    };
    ((place >> GRANULE_BITS) as usize, place & ((1 << GRANULE_BITS) - 1))
}

/// A Feistel network whose rounds take turns at the two halves. In opposite order they undo each other.
fn permuted(hasher: &KeyHasher, value: u64, rounds: impl Iterator<Item = u8>) -> u64 {
    let (mut left, mut right) = (value >> RIGHT_BITS, value & RIGHT_MASK);
    for round in rounds {
        if round.is_multiple_of(2) {
            right ^= mixed(hasher, round, left) & RIGHT_MASK;
        } else {
            left ^= mixed(hasher, round, right) & LEFT_MASK;
        }
    }
    left << RIGHT_BITS | right
}

fn mixed(hasher: &KeyHasher, round: u8, half: u64) -> u64 {
    let mut text = *b"cursor of SCAN  .....";
    text[15] = round;
    text[16..21].copy_from_slice(&half.to_le_bytes()[..5]);
    hasher.hash(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::keyspace::SHARDS;

    #[test]
    fn a_cursor_leads_back_to_its_place_and_is_never_0() {
        let (hasher, mut random) = (KeyHasher::fixed(1), Random::new(2));
        for _ in 0..20_000 {
            let (shard, granule) = (random.below(SHARDS as u64) as usize, random.below(1 << GRANULE_BITS));
            let cursor = cursor_of(&hasher, shard, granule);
            assert!(cursor != 0 && cursor <= PLACE_MASK);
            assert_eq!(place_of(&hasher, cursor), (shard, granule));
        }
        assert_eq!(place_of(&hasher, 0), (0, 0));
    }

    #[test]
    fn the_place_that_would_have_cursor_0_has_another() {
        let hasher = KeyHasher::fixed(1);
        let place = permuted(&hasher, 0, (0..ROUNDS).rev());
        let (shard, granule) = ((place >> GRANULE_BITS) as usize, place & ((1 << GRANULE_BITS) - 1));
        let cursor = cursor_of(&hasher, shard, granule);
        assert_ne!(cursor, 0);
        assert_eq!(place_of(&hasher, cursor), (shard, granule));
    }

    #[test]
    fn a_foreign_cursor_is_one_of_some_place() {
        for cursor in [1, PLACE_MASK, PLACE_MASK + 1, u64::MAX] {
            assert!(place_of(&KeyHasher::fixed(1), cursor).0 < SHARDS);
        }
    }

    #[test]
    fn cursors_of_neighbours_have_nothing_in_common() {
        let hasher = KeyHasher::fixed(3);
        let mut bits = 0;
        for granule in 1..1000 {
            let (one, next) = (cursor_of(&hasher, 5, granule), cursor_of(&hasher, 5, granule + 1));
            bits += (one ^ next).count_ones();
        }
        assert!((24_000..29_000).contains(&bits), "{bits} of 53,000 bits differ");
    }
}
