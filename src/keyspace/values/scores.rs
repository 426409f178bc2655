//! The members of a sorted set, with their scores.
//!
//! Ranks count from the least score. A range of any kind is a range of ranks, which takes O(log n) to find in a large set.

use std::ops::Range;

use smallvec::SmallVec;

use super::draws::{SPARSE_FACTOR, distinct_ranks, select};
use super::{Edit, Either, Form, Level};
use crate::base::random::Random;
use crate::keyspace::collection::{
    Bound, ByScore, Draft, NoCapture, Order, Packed, Scored, SortedSet, Splice, Spot, Tree,
};
use crate::keyspace::root::{Body, Root};
use crate::keyspace::segment::GRANULE_BITS;
use crate::keyspace::{Entry, EntryRef, KeyHasher, Keyspace};
use crate::storage::Kind;

/// A sorted set's index by hash has half of each hash, of which a place to scan from has more bits.
const HALF_BITS: u32 = 32;

/// A sorted set, to be read.
#[derive(Clone, Copy)]
pub struct Scores<'a> {
    form: Form<'a>,
    hasher: &'a KeyHasher,
}

/// Scores from one to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    pub min: f64,
    pub max: f64,
    /// Whether the ends themselves are left out.
    pub excludes: (bool, bool),
}

/// An end of a range of members by their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LexEnd<'a> {
    /// Before all members.
    First,
    /// Behind all members.
    Last,
    Including(&'a [u8]),
    Excluding(&'a [u8]),
}

/// Members from one to another, where all have the same score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LexRange<'a> {
    pub min: LexEnd<'a>,
    pub max: LexEnd<'a>,
}

impl LexRange<'_> {
    fn is_behind_min(&self, member: &[u8]) -> bool {
        match self.min {
            LexEnd::First => true,
            LexEnd::Last => false,
            LexEnd::Including(min) => member >= min,
            LexEnd::Excluding(min) => member > min,
        }
    }

    fn is_before_max(&self, member: &[u8]) -> bool {
        match self.max {
            LexEnd::First => false,
            LexEnd::Last => true,
            LexEnd::Including(max) => member <= max,
            LexEnd::Excluding(max) => member < max,
        }
    }
}

/// Where members are, from which a scan goes on.
pub type ScanPlace = u64;

impl<'a> Scores<'a> {
    /// The sorted set that an entry holds.
    #[inline]
    pub fn of(keyspace: &'a Keyspace, entry: EntryRef<'a>) -> Scores<'a> {
        Scores { form: Form::of(entry), hasher: keyspace.hasher() }
    }

    /// How many members there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.form.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn level(&self) -> Level {
        self.form.level()
    }

    fn sorted_set(&self) -> Option<&'a SortedSet> {
        match self.form {
            Form::Root(root) => root.sorted_set(),
            _ => None,
        }
    }

    fn tree(&self) -> Option<&'a Tree> {
        self.sorted_set().map(SortedSet::scores)
    }

    fn packed(&self) -> Packed<'a> {
        match self.form {
            Form::Packed(packed) => packed,
            _ => Packed::of(&Packed::EMPTY),
        }
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match self.sorted_set() {
            Some(set) => set.score(self.hasher, member),
            None => find(self.packed(), Draft::of(member).member()).map(|(_, score)| score),
        }
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, member: &[u8]) -> Option<(usize, f64)> {
        if let Some(set) = self.sorted_set() {
            return set.rank(self.hasher, member);
        }
        let draft = Draft::of(member);
        let mut records = self.packed().iter(&ByScore);
        let rank = records.position(|record| Scored::member_bytes(record) == draft.member())?;
        Some((rank, self.at(rank)?.score))
    }

    /// The member with a rank.
    pub fn at(&self, rank: usize) -> Option<Scored<'a>> {
        let record = match self.tree() {
            Some(tree) => tree.record(&ByScore, &tree.place_at(rank)),
            None => self.packed().iter(&ByScore).nth(rank),
        };
        record.map(Scored::read)
    }

    /// How many members stand before a place.
    fn rank_of(&self, bound: Bound<'_>) -> usize {
        match self.tree() {
            Some(tree) => {
                let (Ok(place) | Err(place)) = tree.find(&ByScore, bound);
                tree.rank(&place)
            }
            None => {
                let records = self.packed().iter(&ByScore);
                records.take_while(|record| ByScore.compare(bound, record).is_gt()).count()
            }
        }
    }

    /// The ranks of members whose scores are in a range.
    pub fn ranks_by_score(&self, range: &ScoreRange) -> Range<usize> {
        let min = if range.excludes.0 { Bound::Behind(range.min) } else { Bound::Before(range.min) };
        let max = if range.excludes.1 { Bound::Before(range.max) } else { Bound::Behind(range.max) };
        let start = self.rank_of(min);
        start..self.rank_of(max).max(start)
    }

    /// The ranks of members in a range of bytes. Where scores are not all equal, Redis says that the result is unspecified; as long as it would have a
    /// listpack it depends on nothing but what is in the set, and it is the same here: the way from the first member that is in the range, or backwards
    /// from the last, up to one that is not.
    pub fn ranks_by_member(&self, range: &LexRange<'_>, backwards: bool) -> Range<usize> {
        let (Some(first), Some(last)) = (self.at(0), self.at(self.len().wrapping_sub(1))) else {
            return 0..0;
        };
        match self.tree() {
            Some(_) if first.score == last.score => self.ranks_of_equals(first.score, range),
            Some(_) if self.level() > Level::First => self.halved(range),
            _ => self.walked(range, backwards, first, last),
        }
    }

    fn ranks_of_equals(&self, score: f64, range: &LexRange<'_>) -> Range<usize> {
        let rank = |end: LexEnd<'_>, is_max: bool| match end {
            LexEnd::First => 0,
            LexEnd::Last => self.len(),
            LexEnd::Including(member) | LexEnd::Excluding(member) => {
                let rank = self.rank_of(Bound::At(score, member));
                let with_it = matches!(end, LexEnd::Including(_)) == is_max;
                rank + usize::from(with_it && self.at(rank).is_some_and(|found| found.member.is(member)))
            }
        };
        let start = rank(range.min, false);
        start..rank(range.max, true).max(start)
    }

    /// By halving, as if members were in the order of their bytes.
    fn halved(&self, range: &LexRange<'_>) -> Range<usize> {
        let first_so = |is_so: &dyn Fn(&[u8]) -> bool| {
            let (mut low, mut high) = (0, self.len());
            while low < high {
                let middle = low.midpoint(high);
                let room = &mut itoa::Buffer::new();
                if self.at(middle).is_none_or(|found| is_so(found.member.bytes(room))) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            low
        };
        let start = first_so(&|member| range.is_behind_min(member));
        start..first_so(&|member| !range.is_before_max(member)).max(start)
    }

    /// Member by member.
    fn walked(
        &self,
        range: &LexRange<'_>,
        backwards: bool,
        first: Scored<'_>,
        last: Scored<'_>,
    ) -> Range<usize> {
        let is_behind =
            |found: &Scored<'_>| range.is_behind_min(found.member.bytes(&mut itoa::Buffer::new()));
        let is_before =
            |found: &Scored<'_>| range.is_before_max(found.member.bytes(&mut itoa::Buffer::new()));
        if !is_behind(&last) || !is_before(&first) {
            return 0..0;
        }
        if backwards {
            let skipped = self.iter_back(self.len()).take_while(|found| !is_before(found)).count();
            let end = self.len() - skipped;
            let count = self.iter_back(end).take_while(|found| is_behind(found)).count();
            return end - count..end;
        }
        let start = self.iter_from(0).take_while(|found| !is_behind(found)).count();
        let count = self.iter_from(start).take_while(|found| is_before(found)).count();
        start..start + count
    }

    /// Members from a rank on.
    pub fn iter_from(&self, rank: usize) -> impl Iterator<Item = Scored<'a>> + use<'a> {
        let records = match self.tree() {
            Some(tree) => Either::Large(tree.iter_from(&ByScore, rank)),
            None => Either::Small(self.packed().iter(&ByScore).skip(rank)),
        };
        records.map(Scored::read)
    }

    /// Members before a rank, the last one first.
    pub fn iter_back(&self, rank: usize) -> impl Iterator<Item = Scored<'a>> + use<'a> {
        let records = match self.tree() {
            Some(tree) => {
                let mut place = tree.place_at(rank);
                let before = move || tree.step_back(&mut place).then(|| tree.record(&ByScore, &place))?;
                Either::Large(std::iter::from_fn(before))
            }
            None => {
                let packed = self.packed();
                let spots: SmallVec<[Spot; 32]> = packed.spots(&ByScore).take(rank).collect();
                Either::Small(spots.into_iter().rev().map(move |spot| packed.record(spot)))
            }
        };
        records.map(Scored::read)
    }

    /// Members in a range of ranks, ascending or descending.
    pub fn iter(&self, ranks: Range<usize>, backwards: bool) -> impl Iterator<Item = Scored<'a>> + use<'a> {
        let members = match backwards {
            false => Either::Small(self.iter_from(ranks.start)),
            true => Either::Large(self.iter_back(ranks.end)),
        };
        members.take(ranks.len())
    }

    /// Some member.
    pub fn random(&self, random: &mut Random) -> Option<Scored<'a>> {
        self.at(random.below(self.len().max(1) as u64) as usize)
    }

    /// Shows so many different members, of which there are at least as many.
    pub fn random_distinct(&self, random: &mut Random, count: usize, mut see: impl FnMut(Scored<'a>)) {
        let len = self.len();
        if self.sorted_set().is_some() && count.saturating_mul(SPARSE_FACTOR) < len {
            let ranks = distinct_ranks(len, count, random);
            return ranks.into_iter().filter_map(|rank| self.at(rank)).for_each(see);
        }
        select(self.iter_from(0), len, count, random, &mut see);
    }

    /// Shows members from a place in the order of hashes on, until it has shown `count` of them or `see` wants no more; of a set that Redis would have as a
    /// listpack all. Gives the place to go on from, if there are more.
    pub fn scan(
        &self,
        place: ScanPlace,
        count: usize,
        mut see: impl FnMut(Scored<'_>) -> bool,
    ) -> Option<ScanPlace> {
        let half = u32::try_from(place >> (GRANULE_BITS - HALF_BITS)).unwrap_or(u32::MAX);
        match self.sorted_set().filter(|_| self.level() > Level::First) {
            Some(set) => {
                let next = set.scan(self.hasher, half, count, see)?;
                Some(u64::from(next) << (GRANULE_BITS - HALF_BITS))
            }
            None => {
                let _ = self.iter_from(0).all(&mut see);
                None
            }
        }
    }

    /// Whether the set is large.
    #[cfg(test)]
    pub fn is_large(&self) -> bool {
        self.sorted_set().is_some()
    }
}

/// The member whose record ends in these bytes.
fn find(packed: Packed<'_>, ending: &[u8]) -> Option<(Spot, f64)> {
    let mut spots = packed.spots(&ByScore);
    let spot = spots.find(|spot| Scored::member_bytes(packed.record(*spot)) == ending)?;
    Some((spot, Scored::read(packed.record(spot)).score))
}

/// A sorted set in a table, to be changed.
pub struct ScoresMut<'p, 'k>(pub Edit<'p, 'k>);

impl ScoresMut<'_, '_> {
    /// The sorted set as it is now.
    pub fn view(&self) -> Scores<'_> {
        Scores { form: self.0.form(), hasher: self.0.keyspace().hasher() }
    }

    /// Gives a member the score that follows from the one it has, if it is there, or leaves it as it is for `None`. Gives the one it had.
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
        let level = self.view().level();
        if let Some(mut set) = self.0.sorted_set_mut() {
            return set.update(member, |before| decide(before).map(|score| level.stored(score)));
        }
        let mut draft = Draft::of(member);
        let found = find(self.view().packed(), draft.member());
        let before = found.map(|(_, score)| score);
        let Some(score) = decide(before).map(|score| level.stored(score)) else { return before };
        if before.map(f64::to_bits) == Some(score.to_bits()) {
            return before;
        }
        let probe = Bound::At(score, member);
        match found {
            Some((spot, _)) => self.move_small(spot, probe, draft.record(score)),
            None => self.add_small(probe, draft.record(score)),
        }
        before
    }

    /// A member of a small set gets another record.
    fn move_small(&mut self, old: Spot, probe: Bound<'_>, record: &[u8]) {
        let packed = self.view().packed();
        let (Ok(Spot { at, .. }) | Err(at)) = packed.search(&ByScore, probe);
        // What lies between the two places moves by the length of a record, so it is one splice.
        let mut moved = SmallVec::<[u8; 128]>::new();
        let (start, end) = (at.min(old.at), at.max(old.at + old.len));
        if at <= old.at {
            moved.extend_from_slice(record);
            moved.extend_from_slice(packed.record(Spot { at, len: old.at - at }));
        } else {
            let behind = old.at + old.len;
            moved.extend_from_slice(packed.record(Spot { at: behind, len: end - behind }));
            moved.extend_from_slice(record);
        }
        let splice = packed.replace(Spot { at: start, len: end - start }, &moved);
        self.put(&splice);
    }

    fn add_small(&mut self, probe: Bound<'_>, record: &[u8]) {
        let packed = self.view().packed();
        let (Ok(Spot { at, .. }) | Err(at)) = packed.search(&ByScore, probe);
        let splice = packed.insert(at, record);
        self.put(&splice);
    }

    /// Makes a change of a small set, which may make it a large one.
    fn put(&mut self, splice: &Splice<'_>) {
        let len = self.0.entry().value().len();
        if self.0.limits().is_small(usize::from(splice.count), splice.len_after(len)) {
            return self.0.splice(splice);
        }
        let mut value = self.0.entry().value().to_vec();
        value.resize(len.max(splice.len_after(len)), 0);
        splice.apply(&mut value, len);
        value.truncate(splice.len_after(len));
        let root = large(self.0.keyspace(), splice.level, Packed::of(&value));
        self.0.set_root(root);
    }

    /// Takes a member out; gives the score that it had. A set without members is left for the caller to remove.
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        if let Some(mut set) = self.0.sorted_set_mut() {
            return set.remove(member);
        }
        let packed = self.view().packed();
        let (spot, score) = find(packed, Draft::of(member).member())?;
        let splice = packed.remove(spot.at, spot.at + spot.len, 1);
        self.0.splice(&splice);
        Some(score)
    }

    /// Takes the members in a range of ranks out. A set without members is left for the caller to remove.
    pub fn remove_ranks(&mut self, ranks: Range<usize>) {
        if ranks.is_empty() {
            return;
        }
        if let Some(mut set) = self.0.sorted_set_mut() {
            return set.remove_ranks(ranks.start, ranks.len());
        }
        let packed = self.view().packed();
        let ends = [ranks.start, ranks.end].map(|rank| packed.spot_at(&ByScore, rank).at);
        let splice = packed.remove(ends[0], ends[1], ranks.len().min(packed.count()));
        self.0.splice(&splice);
    }

    /// Redis makes a skiplist of a set with more members than so many, or with a longer one than that; `added` is the length of one that was put into it.
    pub fn raise_beyond(&mut self, (members, bytes): (u64, u64), added: usize) {
        if self.view().len() as u64 > members || added as u64 > bytes {
            self.0.raise(Level::Table);
        }
    }
}

/// An entry with a sorted set of these members, which come by their scores; there is at least one.
pub fn entry_of_scores<'m>(
    keyspace: &Keyspace,
    key: &[u8],
    level: Level,
    members: impl Iterator<Item = (f64, &'m [u8])>,
) -> Entry {
    let (mut value, mut count) = (Packed::EMPTY.to_vec(), 0);
    for (score, member) in members {
        Scored::push(&mut value, level.stored(score), member);
        count += 1;
    }
    if keyspace.limits().is_small(count, value.len()) {
        Packed::set_head(&mut value, count, level as u8);
        return Entry::new(key, &value).with_kind(Kind::SortedSet);
    }
    let root = large(keyspace, level as u8, Packed::of(&value));
    Entry::with_root(key, Kind::SortedSet, Box::new(root))
}

/// A large set of the members of a small one.
fn large(keyspace: &Keyspace, level: u8, packed: Packed<'_>) -> Root {
    let mut root = Root::new(Kind::SortedSet, level, &keyspace.limits());
    if let Body::SortedSet(set) = &mut root.body {
        for scored in packed.iter(&ByScore).map(Scored::read) {
            let room = &mut itoa::Buffer::new();
            set.set(keyspace.hasher(), &mut NoCapture, scored.member.bytes(room), scored.score);
        }
    }
    root
}

#[cfg(test)]
#[path = "scores_tests.rs"]
mod tests;
