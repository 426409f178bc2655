//! A large sorted set: a tree of members by score, and an index that finds a member's leaf there.
//!
//! A member's bytes lie in the score's tree alone. The index is a tree of words in the order of hashes: half of a member's hash, and the number of the
//! leaf that it is in. When a leaf is divided or joined, the words of the members that move are pointed elsewhere.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::leaf::Leaf;
use super::order::{Index, Order};
use super::scored::{Bound, ByScore, Draft, Scored};
use super::tree::{Capture, Limits, NoCapture, Place, Tree};
use crate::keyspace::KeyHasher;

const WORD_BYTES: usize = 8;
/// The leaf of a member that is in none, because its score is about to change.
const ON_THE_WAY: u32 = u32::MAX;

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

/// Where a member is.
struct Found {
    /// Its word.
    word: Place,
    /// Its leaf among the scores, and its number there.
    leaf: u32,
    index: usize,
    score: f64,
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
        let found = self.find(half(hasher, member), Draft::of(member).member()).ok()?;
        Some(found.score)
    }

    /// How many members stand before this one, and its score.
    pub fn rank(&self, hasher: &KeyHasher, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(hasher, member)?;
        let place = self.scores.find(&ByScore, Bound::At(score, member)).ok()?;
        Some((self.scores.rank(&place), score))
    }

    /// Where a member is, or where its word would have to be. `ending` is what its record ends in.
    fn find(&self, half: u32, ending: &[u8]) -> Result<Found, Place> {
        let (Ok(first) | Err(first)) = self.words.find(&ByWord, BeforeHash(half));
        let found = self.find_word(&first, half, |leaf| self.find_in(leaf, ending).map(|at| (leaf, at)));
        let Some((word, (leaf, (index, score)))) = found else { return Err(first) };
        Ok(Found { word, leaf, index, score })
    }

    /// The first word with this half of a hash whose leaf has what is wanted; `first` is the place of the first with that half.
    fn find_word<T>(
        &self,
        first: &Place,
        half: u32,
        wanted: impl Fn(u32) -> Option<T>,
    ) -> Option<(Place, T)> {
        let mut place = first.clone();
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

    /// The number in its leaf and the score of the member whose record ends in these bytes.
    fn find_in(&self, leaf: u32, ending: &[u8]) -> Option<(usize, f64)> {
        let mut records = self.scores.leaf(leaf).ending_with(&ByScore, ending);
        let (index, record) = records.find(|(_, record)| Scored::member_bytes(record) == ending)?;
        Some((index, Scored::read(record).score))
    }

    /// Gives a member a score, whether it is there or not.
    pub fn set(&mut self, hasher: &KeyHasher, capture: &mut impl Capture, member: &[u8], score: f64) -> Set {
        match self.update(hasher, capture, member, |_| Some(score)) {
            None => Set::Added,
            Some(before) if before.to_bits() == score.to_bits() => Set::Same,
            Some(before) => Set::Changed(before),
        }
    }

    /// Gives a member the score that follows from the one it has, if it is there, or leaves it as it is for `None`. Gives the one it had.
    pub fn update(
        &mut self,
        hasher: &KeyHasher,
        capture: &mut impl Capture,
        member: &[u8],
        decide: impl FnOnce(Option<f64>) -> Option<f64>,
    ) -> Option<f64> {
        let (half, mut draft) = (half(hasher, member), Draft::of(member));
        let moves = &mut Moves { capture, hasher, moved: Vec::new() };
        match self.find(half, draft.member()) {
            Ok(found) => {
                let before = found.score;
                if let Some(score) = decide(Some(before)).filter(|score| score.to_bits() != before.to_bits())
                {
                    self.rescore(moves, &found, half, score, (member, draft.record(score)));
                }
                Some(before)
            }
            Err(word_place) => {
                if let Some(score) = decide(None) {
                    let (Ok(place) | Err(place)) = self.scores.find(&ByScore, Bound::At(score, member));
                    self.words.insert(&ByWord, &mut NoCapture, &word_place, &word(half, place.leaf()));
                    self.scores.insert(&ByScore, moves, &place, draft.record(score));
                    self.follow(moves);
                }
                None
            }
        }
    }

    /// Gives a member that was found another score.
    fn rescore<C: Capture>(
        &mut self,
        moves: &mut Moves<'_, C>,
        found: &Found,
        half: u32,
        score: f64,
        (member, record): (&[u8], &[u8]),
    ) {
        if self.move_within_leaf(moves, found, Bound::At(score, member), record) {
            return;
        }
        let Ok(old) = self.scores.find(&ByScore, Bound::At(found.score, member)) else { return };
        // Its word stays where it is, so it is found once; a leaf that is joined now must not take it for another's.
        self.words.replace(&ByWord, &mut NoCapture, &found.word, &word(half, ON_THE_WAY));
        self.scores.remove(&ByScore, moves, &old, 1);
        self.follow(moves);
        let (Ok(new) | Err(new)) = self.scores.find(&ByScore, Bound::At(score, member));
        self.words.replace(&ByWord, &mut NoCapture, &found.word, &word(half, new.leaf()));
        self.scores.insert(&ByScore, moves, &new, record);
        self.follow(moves);
    }

    /// [`SortedSet::rescore`] where the member then stands between two others of its leaf: no word and no inner node knows of that. Says no where it does
    /// not.
    fn move_within_leaf(
        &mut self,
        capture: &mut impl Capture,
        found: &Found,
        to: Bound<'_>,
        record: &[u8],
    ) -> bool {
        let leaf = self.scores.leaf(found.leaf);
        let (Ok(at) | Err(at)) = leaf.search(&ByScore, to);
        let (index, count) = (found.index, leaf.count());
        // Among the others, of which there are `count - 1`.
        let place = at - usize::from(at > index);
        let stays = place > 0 && place + 1 < count;
        stays && self.scores.move_within(&ByScore, capture, found.leaf, (index, at), record)
    }

    /// Takes a member out; gives the score that it had.
    pub fn remove(&mut self, hasher: &KeyHasher, capture: &mut impl Capture, member: &[u8]) -> Option<f64> {
        let found = self.find(half(hasher, member), Draft::of(member).member()).ok()?;
        let place = self.scores.find(&ByScore, Bound::At(found.score, member)).ok()?;
        self.words.remove(&ByWord, &mut NoCapture, &found.word, 1);
        let moves = &mut Moves { capture, hasher, moved: Vec::new() };
        self.scores.remove(&ByScore, moves, &place, 1);
        self.follow(moves);
        Some(found.score)
    }

    /// Shows members in the order of the halves of their hashes, those with one half together, from a half on, until it has shown `count` of them or `see`
    /// wants no more. Gives the half to go on from, if there are more members.
    pub fn scan(
        &self,
        hasher: &KeyHasher,
        from: u32,
        count: usize,
        mut see: impl FnMut(Scored<'_>) -> bool,
    ) -> Option<u32> {
        let (Ok(mut place) | Err(mut place)) = self.words.find(&ByWord, BeforeHash(from));
        let mut there = self.words.settle(&mut place);
        let mut shown = 0;
        while there {
            let (own, mut leaf) = parts(self.words.record(&ByWord, &place)?);
            if shown >= count {
                return Some(own);
            }
            // Words of one half and one leaf may be several.
            let mut leaves = SmallVec::<[u32; 4]>::new();
            while there {
                if !leaves.contains(&leaf) {
                    leaves.push(leaf);
                }
                there = self.words.step(&mut place);
                match self.words.record(&ByWord, &place).map(parts) {
                    Some((next, next_leaf)) if next == own && there => leaf = next_leaf,
                    _ => break,
                }
            }
            for leaf in leaves {
                let members = self.scores.leaf(leaf).iter(&ByScore).map(Scored::read);
                let is_own =
                    |member: &Scored<'_>| half(hasher, member.member.bytes(&mut itoa::Buffer::new())) == own;
                for member in members.filter(is_own) {
                    shown += 1;
                    if !see(member) {
                        return None;
                    }
                }
            }
        }
        None
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
            let moves = &mut Moves { capture, hasher, moved: Vec::new() };
            left -= self.scores.remove(&ByScore, moves, &place, here);
            self.follow(moves);
        }
    }

    fn drop_word(&mut self, half: u32, leaf: u32) {
        let (Ok(first) | Err(first)) = self.words.find(&ByWord, BeforeHash(half));
        let found = self.find_word(&first, half, |own| (own == leaf).then_some(()));
        if let Some((place, ())) = found {
            self.words.remove(&ByWord, &mut NoCapture, &place, 1);
        }
    }

    /// Points the words of members that have moved to their leaves. Words of one hash and one leaf are as good as each other. No word changes its place.
    fn follow<C>(&mut self, moves: &mut Moves<'_, C>) {
        for (half, from, to) in moves.moved.drain(..) {
            let (Ok(first) | Err(first)) = self.words.find(&ByWord, BeforeHash(half));
            let found = self.find_word(&first, half, |own| (own == from).then_some(()));
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
                let near = model.get(&member).copied().unwrap_or_default() + random.below(3) as f64 / 64.0;
                let score =
                    [0.0, -0.0, f64::INFINITY, random.below(50) as f64 / 8.0, near][random.below(5) as usize];
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
                    let rank = set.rank(&hasher, member.as_bytes()).map(|(rank, _)| rank);
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

    #[test]
    fn a_score_that_moves_within_its_leaf_leaves_everything_where_it_is() {
        let hasher = KeyHasher::fixed(3);
        for limits in [SMALL, Limits::SORTED] {
            let mut set = SortedSet::new(limits, 0);
            for number in 0..500 {
                set.set(&hasher, &mut NoCapture, format!("m{number:03}").as_bytes(), f64::from(number));
            }
            for number in 0..500 {
                for by in [0.5, 1.5, 2.5, -3.5, -1.5, 0.0] {
                    let (member, score) = (format!("m{number:03}"), f64::from(number) + by);
                    set.set(&hasher, &mut NoCapture, member.as_bytes(), score);
                    let others = f64::from(number).min(score.ceil().max(0.0));
                    let rank = if score > f64::from(number) { score.floor().min(499.0) } else { others };
                    assert_eq!(
                        set.rank(&hasher, member.as_bytes()),
                        Some((rank as usize, score)),
                        "{member} at {score}"
                    );
                }
            }
            set.check(&hasher).expect("a sorted set");
        }
    }

    #[test]
    fn a_scan_shows_each_member_that_stays_once_whatever_becomes_of_scores() {
        for seed in 0..6 {
            println!("seed {seed}");
            let (hasher, mut random) = (KeyHasher::fixed(seed), Random::new(seed));
            let mut set = SortedSet::new([SMALL, Limits::SORTED][seed as usize % 2], 0);
            for number in 0..800u64 {
                let member = number.to_string();
                set.set(&hasher, &mut NoCapture, member.as_bytes(), random.below(100) as f64);
            }
            let (mut seen, mut from) = (BTreeMap::<String, usize>::new(), 0);
            loop {
                let mut shown = 0;
                let next = set.scan(&hasher, from, 10, |scored| {
                    let room = &mut itoa::Buffer::new();
                    let member = String::from_utf8(scored.member.bytes(room).to_vec()).expect("digits");
                    *seen.entry(member).or_default() += 1;
                    shown += 1;
                    true
                });
                assert!(shown <= 12, "{shown}");
                for _ in 0..50 {
                    let member = random.below(1_200).to_string();
                    set.set(&hasher, &mut NoCapture, member.as_bytes(), random.below(100) as f64);
                    let other = (800 + random.below(400)).to_string();
                    set.remove(&hasher, &mut NoCapture, other.as_bytes());
                }
                let Some(next) = next else { break };
                assert!(next > from);
                from = next;
            }
            assert!((0..800).all(|number: u64| seen.get(&number.to_string()) == Some(&1)));
            set.check(&hasher).expect("a sorted set");
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
