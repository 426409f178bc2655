//! A large sorted set: a tree of members by score, and an index that finds a member's leaf there.
//!
//! A member's bytes lie in the score's tree alone. The index is a tree of words in the order of hashes: half of a member's hash, and the number of the
//! leaf that it is in. When a leaf is divided or joined, the words of the members that move are pointed elsewhere.

use std::cmp::Ordering;

use super::leaf::Leaf;
use super::order::{Index, Order};
use super::scored::{Bound, ByScore, Scored};
use super::text;
use super::tree::{Capture, Limits, NoCapture, Place, Tree};
use crate::keyspace::KeyHasher;

const WORD_BYTES: usize = 8;

/// Words in the order of their hashes.
#[derive(Clone, Copy)]
struct ByWord;

/// Before all words of this half of a hash.
#[derive(Clone, Copy)]
struct BeforeHash(u32);

fn word(hash: u32, leaf: u32) -> [u8; WORD_BYTES] {
    (u64::from(hash) << 32 | u64::from(leaf)).to_be_bytes()
}

/// Hash and leaf of a word.
fn parts(word: &[u8]) -> (u32, u32) {
    let word = word.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    ((word >> 32) as u32, word as u32)
}

impl Order for ByWord {
    type Probe<'p> = BeforeHash;
    const INDEX: Index = Index::Fixed(WORD_BYTES);

    fn len_of(&self, _records: &[u8]) -> usize {
        WORD_BYTES
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        u64::from(parts(record).0)
    }

    fn key(&self, probe: BeforeHash) -> u64 {
        u64::from(probe.0)
    }

    fn compare(&self, probe: BeforeHash, record: &[u8]) -> Ordering {
        probe.0.cmp(&parts(record).0).then(Ordering::Less)
    }
}

/// See the module's text.
#[derive(Clone)]
pub struct SortedSet {
    scores: Tree,
    words: Tree,
}

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Set {
    Added,
    /// It had this score before.
    Changed(f64),
    Same,
}

/// Passes on what a snapshot wants to hear, and notes which members move.
struct Moves<'c, C> {
    capture: &'c mut C,
    hasher: &'c KeyHasher,
    /// Halves of hashes, and the leaves' numbers before and after.
    moved: Vec<(u32, u32, u32)>,
}

impl<C: Capture> Capture for Moves<'_, C> {
    fn era(&self) -> u32 {
        self.capture.era()
    }

    fn wants(&self, stamp: u32) -> bool {
        self.capture.wants(stamp)
    }

    fn capture(&mut self, number: u32, leaf: Leaf) {
        self.capture.capture(number, leaf);
    }

    fn moved(&mut self, record: &[u8], from: u32, to: u32) {
        let member = Scored::read(record).member;
        self.moved.push((half(self.hasher, member.bytes(&mut itoa::Buffer::new())), from, to));
    }
}

/// The half of a member's hash that its word has.
fn half(hasher: &KeyHasher, member: &[u8]) -> u32 {
    (hasher.hash(member) >> 32) as u32
}

impl SortedSet {
    /// A set without members.
    pub fn new(limits: Limits, era: u32) -> SortedSet {
        let words = Limits { leaf_bytes: limits.leaf_bytes * 2, ..limits };
        SortedSet { scores: Tree::new(limits, era), words: Tree::new(words, 0) }
    }

    pub fn len(&self) -> usize {
        self.scores.len()
    }

    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// Bytes that the allocator has set aside for all of it.
    pub fn owned_bytes(&self) -> usize {
        self.scores.owned_bytes() + self.words.owned_bytes()
    }

    /// Members by score: for ranks and ranges.
    pub fn scores(&self) -> &Tree {
        &self.scores
    }

    /// Takes note that a leaf of the scores was seen ([`Tree::seen_leaf`]).
    pub fn seen_leaf(&mut self, number: u32, era: u32) {
        self.scores.seen_leaf(number, era);
    }

    /// The score of a member.
    pub fn score(&self, hasher: &KeyHasher, member: &[u8]) -> Option<f64> {
        let mut bytes = Vec::with_capacity(member.len() + text::HEAD_MAX);
        text::push(&mut bytes, member);
        self.find_word(half(hasher, member), |leaf| self.score_in(leaf, &bytes)).map(|(_, score)| score)
    }

    /// How many members stand before this one.
    pub fn rank(&self, hasher: &KeyHasher, member: &[u8]) -> Option<usize> {
        let score = self.score(hasher, member)?;
        let place = self.scores.find(&ByScore, Bound::At(score, member)).ok()?;
        Some(self.scores.rank(&place))
    }

    /// The first word with this half of a hash whose leaf has what is wanted.
    fn find_word<T>(&self, half: u32, wanted: impl Fn(u32) -> Option<T>) -> Option<(Place, T)> {
        let mut place = match self.words.find(&ByWord, BeforeHash(half)) {
            Ok(place) | Err(place) => place,
        };
        let mut there = self.words.settle(&mut place);
        while there {
            let (own, leaf) = parts(self.words.record(&ByWord, &place)?);
            if own != half {
                return None;
            }
            if let Some(found) = wanted(leaf) {
                return Some((place, found));
            }
            there = self.words.step(&mut place);
        }
        None
    }

    /// The score of the member whose record ends in these bytes.
    fn score_in(&self, leaf: u32, member: &[u8]) -> Option<f64> {
        let mut records = self.scores.leaf(leaf).iter(&ByScore);
        let record = records.find(|record| Scored::member_bytes(record) == member)?;
        Some(Scored::read(record).score)
    }

    /// Gives a member a score, whether it is there or not.
    pub fn set(&mut self, hasher: &KeyHasher, capture: &mut impl Capture, member: &[u8], score: f64) -> Set {
        let before = self.score(hasher, member);
        if let Some(before) = before {
            if before.to_bits() == score.to_bits() {
                return Set::Same;
            }
            self.take_out(hasher, capture, member, before);
        }
        let place = match self.scores.find(&ByScore, Bound::At(score, member)) {
            Ok(place) | Err(place) => place,
        };
        let half = half(hasher, member);
        self.point(half, place.leaf());
        let mut record = Vec::with_capacity(member.len() + 16);
        Scored::push(&mut record, score, member);
        let mut moves = Moves { capture, hasher, moved: Vec::new() };
        self.scores.insert(&ByScore, &mut moves, &place, &record);
        let moved = moves.moved;
        self.follow(&moved);
        before.map_or(Set::Added, Set::Changed)
    }

    /// Takes a member out; gives the score that it had.
    pub fn remove(&mut self, hasher: &KeyHasher, capture: &mut impl Capture, member: &[u8]) -> Option<f64> {
        let score = self.score(hasher, member)?;
        self.take_out(hasher, capture, member, score);
        Some(score)
    }

    /// Takes members in a range of ranks out.
    pub fn remove_ranks(
        &mut self,
        hasher: &KeyHasher,
        capture: &mut impl Capture,
        start: usize,
        count: usize,
    ) {
        let mut left = count.min(self.len().saturating_sub(start));
        while left > 0 {
            let place = self.scores.place_at(start);
            let mut halves = Vec::new();
            let leaf = self.scores.leaf(place.leaf());
            let here = left.min(leaf.count() - place.index());
            for index in place.index()..place.index() + here {
                let member = Scored::read(leaf.record(&ByScore, index)).member;
                halves.push(half(hasher, member.bytes(&mut itoa::Buffer::new())));
            }
            for half in halves {
                self.drop_word(half, place.leaf());
            }
            let mut moves = Moves { capture, hasher, moved: Vec::new() };
            left -= self.scores.remove(&ByScore, &mut moves, &place, here);
            let moved = moves.moved;
            self.follow(&moved);
        }
    }

    fn take_out(&mut self, hasher: &KeyHasher, capture: &mut impl Capture, member: &[u8], score: f64) {
        let Ok(place) = self.scores.find(&ByScore, Bound::At(score, member)) else { return };
        self.drop_word(half(hasher, member), place.leaf());
        let mut moves = Moves { capture, hasher, moved: Vec::new() };
        self.scores.remove(&ByScore, &mut moves, &place, 1);
        let moved = moves.moved;
        self.follow(&moved);
    }

    fn point(&mut self, half: u32, leaf: u32) {
        let (Ok(place) | Err(place)) = self.words.find(&ByWord, BeforeHash(half));
        self.words.insert(&ByWord, &mut NoCapture, &place, &word(half, leaf));
    }

    fn drop_word(&mut self, half: u32, leaf: u32) {
        let found = self.find_word(half, |own| (own == leaf).then_some(()));
        if let Some((place, ())) = found {
            self.words.remove(&ByWord, &mut NoCapture, &place, 1);
        }
    }

    /// Points the words of members that have moved to their leaves. Words of one hash and one leaf are as good as each other.
    fn follow(&mut self, moved: &[(u32, u32, u32)]) {
        for (half, from, to) in moved.iter().copied() {
            let found = self.find_word(half, |own| (own == from).then_some(()));
            if let Some((place, ())) = found {
                self.words.replace(&ByWord, &mut NoCapture, &place, &word(half, to));
            }
        }
    }

    /// What is wrong with it, if anything is; for tests and fuzz targets.
    pub fn check(&self, hasher: &KeyHasher) -> Result<(), String> {
        self.scores.check(&ByScore)?;
        self.words.check(&ByWord)?;
        if self.words.len() != self.scores.len() {
            return Err(format!("{} words for {} members", self.words.len(), self.scores.len()));
        }
        for record in self.scores.iter_from(&ByScore, 0) {
            let own = Scored::read(record);
            let room = &mut itoa::Buffer::new();
            let member = own.member.bytes(room);
            if self.score(hasher, member).map(f64::to_bits) != Some(own.score.to_bits()) {
                return Err(format!("'{}' is not found", member.escape_ascii()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::random::Random;

    const SMALL: Limits = Limits { leaf_bytes: 64, branches: 4 };

    #[test]
    fn a_sorted_set_knows_scores_and_ranks_whatever_is_done_to_it() {
        for seed in 0..8 {
            println!("seed {seed}");
            let hasher = KeyHasher::fixed(seed);
            let mut random = Random::new(seed);
            let mut set = SortedSet::new(
                [SMALL, Limits { leaf_bytes: 200, branches: 8 }, Limits::SORTED][seed as usize % 3],
                0,
            );
            let mut model = BTreeMap::<String, f64>::new();
            for step in 0..4_000 {
                let member = match random.below(2) {
                    0 => random.below(700).to_string(),
                    _ => "m".repeat(random.below(40) as usize),
                };
                let score =
                    [0.0, -0.0, f64::INFINITY, random.below(50) as f64 / 8.0][random.below(4) as usize];
                match random.below(8) {
                    0 | 1 => {
                        let before = set.remove(&hasher, &mut NoCapture, member.as_bytes());
                        assert_eq!(before, model.remove(&member));
                    }
                    2 if step % 40 == 0 && !model.is_empty() => {
                        let start = random.below(model.len() as u64) as usize;
                        let count = random.below(60) as usize;
                        set.remove_ranks(&hasher, &mut NoCapture, start, count);
                        let mut all: Vec<(f64, String)> =
                            model.iter().map(|(member, score)| (*score, member.clone())).collect();
                        all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
                        for (_, member) in all.into_iter().skip(start).take(count) {
                            model.remove(&member);
                        }
                    }
                    _ => {
                        let before = model.insert(member.clone(), score);
                        let expected = match before {
                            None => Set::Added,
                            Some(before) if before.to_bits() == score.to_bits() => Set::Same,
                            Some(before) => Set::Changed(before),
                        };
                        let said = set.set(&hasher, &mut NoCapture, member.as_bytes(), score);
                        assert_eq!(said, expected, "step {step}");
                    }
                }
                assert_eq!(set.score(&hasher, member.as_bytes()), model.get(&member).copied());
                if step % 100 == 0 {
                    set.check(&hasher).unwrap_or_else(|wrong| panic!("seed {seed}, step {step}: {wrong}"));
                    let rank = set.rank(&hasher, member.as_bytes());
                    let own = model.get(&member).map(|score| (*score, member.as_str()));
                    let before =
                        |own: (f64, &str)| model.iter().filter(|(m, s)| (**s, m.as_str()) < own).count();
                    assert_eq!(rank, own.map(before));
                }
            }
            set.remove_ranks(&hasher, &mut NoCapture, 0, usize::MAX);
            assert!(set.is_empty());
            set.check(&hasher).expect("an empty set");
        }
    }

    /// Half of a hash says only mostly which leaf it is.
    #[test]
    fn members_of_one_half_of_a_hash_are_told_apart() {
        let mut words = Tree::new(SMALL, 0);
        for leaf in 0..40 {
            let (Ok(place) | Err(place)) = words.find(&ByWord, BeforeHash(7));
            words.insert(&ByWord, &mut NoCapture, &place, &word(7, leaf));
        }
        let mut set = SortedSet { scores: Tree::new(SMALL, 0), words };
        for leaf in 0..40 {
            set.drop_word(7, leaf);
            assert_eq!(set.words.len(), 39 - leaf as usize);
            set.words.check(&ByWord).expect("a tree");
        }
    }

    /// As the arena's `big`: scores in no order, members of 16 bytes.
    #[test]
    fn a_member_and_its_score_cost_few_bytes_besides() {
        let hasher = KeyHasher::fixed(1);
        let mut set = SortedSet::new(Limits::SORTED, 0);
        for number in 0..200_000u64 {
            let (member, score) = (format!("member:{number:09}"), number * 2_654_435_761 % 1_000_003);
            set.set(&hasher, &mut NoCapture, member.as_bytes(), score as f64);
        }
        let each = set.owned_bytes() as f64 / 200_000.0;
        println!("{each} bytes");
        assert!(each < 44.0, "{each} bytes");
    }
}
