//! A small, fast generator of random numbers for sampling: RANDOMKEY, eviction, frequency counters.
//!
//! It is xoshiro256++ by David Blackman and Sebastiano Vigna ("Scrambled linear pseudorandom number generators", ACM
//! Transactions on Mathematical Software 47, 2021), seeded through SplitMix64 as its authors advise. It is predictable
//! by design: the same seed gives the same numbers, so that tests repeat. Never use it for secrets such as tokens or
//! hash keys.

/// A generator with its own state; not shared between threads.
#[derive(Clone, Debug)]
pub struct Random {
    state: [u64; 4],
}

impl Random {
    /// A generator that yields the sequence of `seed`. Each seed is a good one, zero included.
    pub fn new(seed: u64) -> Self {
        let mut splitter = seed;
        let state = std::array::from_fn(|_| {
            splitter = splitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (splitter ^ (splitter >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        });
        Random { state }
    }

    /// The next number; all 64 bits are equally good.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        let [first, second, third, fourth] = self.state;
        let result = first.wrapping_add(fourth).rotate_left(23).wrapping_add(first);
        let third_mixed = third ^ first;
        let fourth_mixed = fourth ^ second;
        self.state = [
            first ^ fourth_mixed,
            second ^ third_mixed,
            third_mixed ^ (second << 17),
            fourth_mixed.rotate_left(45),
        ];
        result
    }

    /// A number below `bound`, each equally likely up to a bias of `bound / 2^64`; 0 when `bound` is 0.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        // The high half of the product spreads the 64-bit range evenly over the bound, without a division.
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yields_the_sequence_of_the_reference() {
        // From the state 1, 2, 3, 4; the first one is easily checked by hand: rotate_left(1 + 4, 23) + 1.
        let mut random = Random { state: [1, 2, 3, 4] };
        let numbers: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [41943041, 58720359, 3588806011781223, 3591011842654386]);
    }

    #[test]
    fn seeding_follows_split_mix() {
        assert_eq!(Random::new(0).state[0], 0xe220_a839_7b1d_cdaf);
        assert_ne!(Random::new(1).next_u64(), Random::new(2).next_u64());
        let mut left = Random::new(7);
        let mut right = Random::new(7);
        assert!((0..100).all(|_| left.next_u64() == right.next_u64()));
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut random = Random::new(0x5eed);
        let mut counts = [0u32; 10];
        for _ in 0..10_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        assert!((0..100).all(|_| random.below(u64::MAX) < u64::MAX));
    }
}
