//! How much each shard holds, as far as somebody knows: so that a shard is drawn at random in proportion to that.
//!
//! A shard's weight is what it held when it was last looked at. Whoever draws says what it then found, and looks at some more shards in turn, so
//! that a draw is cheap and no weight stays wrong for long. Names can be aimed at one shard; without weights a draw would nearly always
//! miss it.

use super::SHARDS;
use crate::base::random::Random;

const GROUP: usize = 32;
/// Shards that are looked at again with each use.
const LOOKS: usize = 2;

/// See the module's text. Before its first use it knows nothing and takes no memory.
#[derive(Default)]
pub struct ShardWeights {
    weights: Vec<u32>,
    /// Sums of 32 weights each.
    groups: Vec<u64>,
    total: u64,
    next: usize,
}

impl ShardWeights {
    /// Looks at some shards again: at all of them before the first use. `weigh` says what a shard holds, if it can be told at present.
    pub fn look(&mut self, mut weigh: impl FnMut(usize) -> Option<usize>) {
        if self.weights.is_empty() {
            return self.look_at_all(|shard| weigh(shard).unwrap_or(0));
        }
        for _ in 0..LOOKS {
            let shard = self.next;
            self.next = (shard + 1) % SHARDS;
            if let Some(weight) = weigh(shard) {
                self.note(shard, weight);
            }
        }
    }

    /// Looks at all shards.
    pub fn look_at_all(&mut self, mut weigh: impl FnMut(usize) -> usize) {
        self.weights.resize(SHARDS, 0);
        self.groups.resize(SHARDS.div_ceil(GROUP), 0);
        (0..SHARDS).for_each(|shard| self.note(shard, weigh(shard)));
    }

    /// Takes note of what a shard holds.
    pub fn note(&mut self, shard: usize, weight: usize) {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.weights[shard], weight);
        let group = &mut self.groups[shard / GROUP];
        *group = *group - u64::from(before) + u64::from(weight);
        self.total = self.total - u64::from(before) + u64::from(weight);
    }

    /// Whether no shard holds anything.
    pub fn is_zero(&self) -> bool {
        self.total == 0
    }

    /// A shard in proportion to its weight; `None` if all are zero.
    pub fn draw(&self, random: &mut Random) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        let mut place = random.below(self.total);
        let mut shard = 0;
        for group in &self.groups {
            if place < *group {
                break;
            }
            place -= group;
            shard += GROUP;
        }
        while place >= u64::from(self.weights[shard]) {
            place -= u64::from(self.weights[shard]);
            shard += 1;
        }
        Some(shard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_drawn_in_proportion() {
        let (mut weights, mut random) = (ShardWeights::default(), Random::new(5));
        assert_eq!(weights.draw(&mut random), None);
        let held = |shard: usize| [1000, 0, 1, 3][shard % 4] * usize::from(shard < 8);
        weights.look(|_| Some(1));
        weights.look_at_all(held);
        let mut drawn = [0usize; SHARDS];
        (0..200_800).for_each(|_| drawn[weights.draw(&mut random).expect("some hold something")] += 1);
        for (shard, drawn) in drawn.into_iter().enumerate() {
            let expected = held(shard) * 100;
            assert!(drawn.abs_diff(expected) <= expected / 20 + 40, "{shard}: {drawn} instead of {expected}");
        }
    }

    #[test]
    fn a_wrong_weight_is_found_out_in_time() {
        let mut weights = ShardWeights::default();
        weights.look(|_| Some(7));
        for _ in 0..SHARDS / LOOKS {
            weights.look(|_| Some(0));
        }
        assert!(weights.is_zero());
    }
}
