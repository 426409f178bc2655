//! Fields at random, and fields by their place in the order of hashes.
//!
//! Each field whose time has not come is as likely as any other: ranks are drawn, not places in memory. The order of hashes is what a scan goes by; its
//! places are those of SCAN (`cursor.rs`), the upper bits of a hash.

use std::collections::HashSet;
use std::ops::ControlFlow;

use super::Fields;
use crate::base::random::Random;
use crate::keyspace::collection::{Field, Order, Tree};
use crate::keyspace::segment::GRANULE_BITS;

/// Of how many different elements that are drawn one by one there are at least so many times as many.
pub const SPARSE_FACTOR: usize = 3;
/// Where fewer than one in so many fields lives, the others are not drawn in vain.
const LIVE_PART: usize = 4;

/// So many different numbers below `len`, ascending; each choice of them is as likely as any other. For `count` that is a good deal less than `len`.
pub fn distinct_ranks(len: usize, count: usize, random: &mut Random) -> Vec<usize> {
    // Robert Floyd's: one draw for each number.
    let mut chosen = HashSet::with_capacity(count);
    for top in len - count..len {
        let drawn = random.below(top as u64 + 1) as usize;
        if !chosen.insert(drawn) {
            chosen.insert(top);
        }
    }
    let mut ranks: Vec<usize> = chosen.into_iter().collect();
    ranks.sort_unstable();
    ranks
}

/// So many different numbers below `len`, which is at least that, ascending; each choice of them is as likely as any other.
pub fn chosen_ranks(len: usize, count: usize, random: &mut Random) -> Vec<usize> {
    if count * SPARSE_FACTOR < len {
        return distinct_ranks(len, count, random);
    }
    let mut ranks = Vec::with_capacity(count);
    select(0..len, len, count, random, |rank| ranks.push(rank));
    ranks
}

/// Some of the things that an iterator has so many of, in their order; each choice of `count` of them is as likely as any other.
pub fn select<T>(
    things: impl Iterator<Item = T>,
    len: usize,
    count: usize,
    random: &mut Random,
    mut see: impl FnMut(T),
) {
    let (mut left, mut wanted) = (len, count);
    for thing in things {
        if wanted == 0 {
            return;
        }
        if random.below(left as u64) < wanted as u64 {
            wanted -= 1;
            see(thing);
        }
        left -= 1;
    }
}

/// What fields are drawn from.
enum Pool<'a> {
    Few(Vec<Field<'a>>),
    /// By rank; fields whose time has come are drawn again.
    Ranks(&'a Tree),
}

impl<'a> Fields<'a> {
    /// `None` if no field lives.
    fn pool(&self, now_ms: i64) -> Option<Pool<'a>> {
        let gathered =
            || Some(Pool::Few(self.live(now_ms).collect())).filter(|_| self.live(now_ms).next().is_some());
        match self.tree() {
            Some(tree) if !self.has_due(now_ms) => Some(Pool::Ranks(tree)).filter(|_| !tree.is_empty()),
            Some(tree) if self.count_live(now_ms) * LIVE_PART >= tree.len() => Some(Pool::Ranks(tree)),
            _ => gathered(),
        }
    }

    fn draw(&self, pool: &Pool<'a>, now_ms: i64, random: &mut Random) -> Option<Field<'a>> {
        match pool {
            Pool::Few(fields) => fields.get(random.below(fields.len() as u64) as usize).copied(),
            Pool::Ranks(tree) => loop {
                let place = tree.place_at(random.below(tree.len() as u64) as usize);
                let field = Field::read(tree.record(&self.order, &place)?, self.order.shape);
                if !field.is_due(now_ms) {
                    return Some(field);
                }
            },
        }
    }

    /// Some field whose time has not come.
    pub fn random(&self, now_ms: i64, random: &mut Random) -> Option<Field<'a>> {
        if self.tree().is_none() && !self.has_due(now_ms) {
            return self.iter_from(random.below(self.len() as u64) as usize).next();
        }
        self.draw(&self.pool(now_ms)?, now_ms, random)
    }

    /// So many draws, each of all fields, until `see` breaks off.
    pub fn random_repeated(
        &self,
        now_ms: i64,
        random: &mut Random,
        count: u64,
        mut see: impl FnMut(Field<'a>) -> ControlFlow<()>,
    ) {
        let Some(pool) = self.pool(now_ms) else { return };
        for _ in 0..count {
            let Some(field) = self.draw(&pool, now_ms, random) else { return };
            if see(field).is_break() {
                return;
            }
        }
    }

    /// So many different fields, of which there are at least as many.
    pub fn random_distinct(
        &self,
        now_ms: i64,
        random: &mut Random,
        count: usize,
        mut see: impl FnMut(Field<'a>),
    ) {
        match self.tree() {
            Some(tree) if count * SPARSE_FACTOR < tree.len() && !self.has_due(now_ms) => {
                for rank in distinct_ranks(tree.len(), count, random) {
                    let record = tree.record(&self.order, &tree.place_at(rank));
                    record.into_iter().for_each(|record| see(Field::read(record, self.order.shape)));
                }
            }
            _ => select(self.live(now_ms), self.count_live(now_ms), count, random, see),
        }
    }

    /// Shows fields, of a small hash all, of a large one from a place in the order of hashes on, until it has shown `count` of them or `see` says that it
    /// wants no more. Gives the place to go on from, if there are more. Fields with one place come together.
    pub fn scan(&self, place: u64, count: usize, mut see: impl FnMut(Field<'a>) -> bool) -> Option<u64> {
        let Some(tree) = self.tree() else {
            let _ = self.iter().all(see);
            return None;
        };
        let place_of = |record: &[u8]| self.order.key_of(record) >> (64 - GRANULE_BITS);
        let mut at = tree.place_from(&self.order, place << (64 - GRANULE_BITS));
        let (mut seen, mut last) = (0, None);
        while let Some(record) = tree.record(&self.order, &at) {
            if seen >= count && last != Some(place_of(record)) {
                return Some(place_of(record));
            }
            seen += 1;
            if seen >= count {
                last = Some(place_of(record));
            }
            if !see(Field::read(record, self.order.shape)) || !tree.step(&mut at) {
                return None;
            }
        }
        None
    }

    /// Whether the hash is large.
    #[cfg(test)]
    pub fn is_large(&self) -> bool {
        self.tree().is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Edit, FieldsMut};
    use super::*;
    use crate::keyspace::collection::Packed;
    use crate::keyspace::{Entry, Key, KeyHasher, Keyspace, Kind, Position, Reclaimer, Site, ValueLimits};

    const NOW_MS: i64 = 1_000;

    fn keyspace(seed: u64) -> Keyspace {
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(seed), Reclaimer::inline(), NOW_MS);
        keyspace.with_limits(ValueLimits::of_leaves(64))
    }

    /// Lets `work` change and read a hash, which is an empty one at first.
    fn with_hash(seed: u64, work: impl FnOnce(&Keyspace, &mut dyn FnMut(&mut dyn FnMut(FieldsMut<'_, '_>)))) {
        let keyspace = keyspace(seed);
        let key: Key<'_> = keyspace.key(b"h");
        let site = Site { keyspace: &keyspace, database: 0, shard: key.shard, now_ms: NOW_MS };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(0);
        let entry = Entry::new(key.bytes, &Packed::EMPTY).with_kind(Kind::Hash);
        let position: Position = partition.insert(site, key.hash, entry);
        work(&keyspace, &mut |act| act(FieldsMut(Edit::new(partition, site, position, key.hash))));
    }

    fn name_of(field: Field<'_>) -> String {
        String::from_utf8(field.name.bytes(&mut itoa::Buffer::new()).to_vec()).expect("a name")
    }

    #[test]
    fn each_field_of_a_large_hash_is_drawn_as_often_as_any_other() {
        with_hash(3, |_, hash| {
            let mut random = Random::new(7);
            let mut counts = BTreeMap::new();
            hash(&mut |mut fields| {
                // Long and short ones, so that leaves have different numbers of them, and some whose time has come.
                for number in 0..60 {
                    let (name, value) = (format!("field:{number}"), vec![b'v'; number % 7 * 9]);
                    let at_ms = (number >= 30).then_some(NOW_MS - number as i64 % 2 * 500 + 1);
                    fields.set(name.as_bytes(), &value, at_ms, 0);
                }
                let view = fields.view();
                assert!(view.is_large() && view.has_due(NOW_MS));
                for _ in 0..4_000 {
                    let drawn = view.random(NOW_MS, &mut random).expect("some live");
                    *counts.entry(name_of(drawn)).or_insert(0) += 1;
                    view.random_distinct(NOW_MS, &mut random, 3, |field| {
                        *counts.entry(name_of(field)).or_insert(0) += 1;
                    });
                    view.random_repeated(NOW_MS, &mut random, 2, |field| {
                        *counts.entry(name_of(field)).or_insert(0) += 1;
                        ControlFlow::Continue(())
                    });
                }
            });
            let counts: Vec<u32> = counts.into_values().collect();
            assert_eq!(counts.len(), 45, "those whose time has come are not drawn");
            // 44 degrees of freedom: above 90 once in 10,000 times.
            assert!(chi_square(&counts) < 90.0, "{counts:?}");
        });
    }

    #[test]
    fn a_scan_shows_each_lasting_field_once_though_leaves_are_divided_and_joined_meanwhile() {
        for seed in 0..20 {
            println!("seed {seed}");
            with_hash(seed, |_, hash| {
                let mut random = Random::new(seed);
                let set = |fields: &mut FieldsMut<'_, '_>, name: String| {
                    fields.set(name.as_bytes(), b"a value", None, 0);
                };
                hash(&mut |mut fields| {
                    (0..200).for_each(|number| set(&mut fields, format!("lasting:{number}")))
                });
                let (mut seen, mut place) = (BTreeMap::new(), Some(0));
                while let Some(from) = place {
                    let count = 1 + random.below(12) as usize;
                    hash(&mut |fields| {
                        let mut shown = 0;
                        place = fields.view().scan(from, count, |field| {
                            *seen.entry(name_of(field)).or_insert(0) += 1;
                            shown += 1;
                            true
                        });
                        assert!(shown == count || place.is_none(), "{shown} of {count}");
                    });
                    let grows = random.below(2) == 0;
                    hash(&mut |mut fields| {
                        for number in 0..random.below(60) {
                            let name = format!("passing:{}", number + random.below(100));
                            if grows {
                                set(&mut fields, name);
                            } else {
                                fields.remove(name.as_bytes());
                            }
                        }
                    });
                }
                let lasting: Vec<_> = seen.iter().filter(|(name, _)| name.starts_with("lasting")).collect();
                assert!(lasting.len() == 200 && lasting.iter().all(|(_, times)| **times == 1), "{lasting:?}");
            });
        }
    }

    /// Chi-square of counts that should be equal.
    fn chi_square(counts: &[u32]) -> f64 {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum()
    }

    #[test]
    fn each_rank_is_drawn_as_often_as_any_other() {
        let mut random = Random::new(5);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            let ranks = distinct_ranks(10, 3, &mut random);
            assert!(ranks.len() == 3 && ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
            ranks.into_iter().for_each(|rank| counts[rank] += 1);
        }
        assert!(chi_square(&counts) < 40.0, "{counts:?}");
    }

    #[test]
    fn each_choice_of_a_selection_is_as_likely_as_any_other() {
        let mut random = Random::new(6);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            let mut chosen = Vec::new();
            select(0..5, 5, 2, &mut random, |number| chosen.push(number));
            let [a, b] = chosen[..] else { panic!("two are chosen: {chosen:?}") };
            // The pairs of 0 to 4 with a < b, numbered.
            counts[a * (9 - a) / 2 + b - a - 1] += 1;
        }
        assert!(chi_square(&counts) < 40.0, "{counts:?}");
    }
}
