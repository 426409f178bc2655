//! The order of sorted sets: by score, and by the bytes of members where scores are equal.
//!
//! ```text
//! score: an integer as in `text.rs`, or 0xe0 and 8 bytes of a double  |  member
//! ```

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::order::{Index, Order};
use super::text::{self, ESCAPE, Text};

/// The most bytes that a score takes.
const SCORE_MAX: usize = text::NUMBER_MAX;
/// Doubles up to this size have a neighbour at each integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A record of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scored<'a> {
    /// Not NaN.
    pub score: f64,
    pub member: Text<'a>,
}

impl<'a> Scored<'a> {
    #[inline]
    pub fn read(record: &'a [u8]) -> Scored<'a> {
        let (score, len) = score(record);
        Scored { score, member: text::read(record.get(len..).unwrap_or_default()).0 }
    }

    /// The bytes of a record behind its score.
    #[inline]
    pub fn member_bytes(record: &[u8]) -> &[u8] {
        record.get(score(record).1..).unwrap_or_default()
    }

    /// Appends a record.
    pub fn push(out: &mut Vec<u8>, score: f64, member: &[u8]) {
        with_score_bytes(score, |bytes| out.extend_from_slice(bytes));
        text::push(out, member);
    }
}

/// A score as a record begins with it.
#[inline]
fn with_score_bytes<T>(score: f64, use_it: impl FnOnce(&[u8]) -> T) -> T {
    let integer = score as i64;
    if score.abs() <= EXACT_MAX && integer as f64 == score && (integer != 0 || score.is_sign_positive()) {
        return use_it(text::Needle::of_integer(integer).parts().0);
    }
    let mut bytes = [ESCAPE; SCORE_MAX];
    bytes[1..].copy_from_slice(&score.to_le_bytes());
    use_it(&bytes)
}

/// A member that is encoded once, whatever score it gets. Short ones take no memory of their own.
pub struct Draft(SmallVec<[u8; 64]>);

impl Draft {
    #[inline]
    pub fn of(member: &[u8]) -> Draft {
        let needle = text::Needle::of(member);
        let (head, body) = needle.parts();
        let mut bytes = SmallVec::with_capacity(SCORE_MAX + head.len() + body.len());
        bytes.extend_from_slice(&[0; SCORE_MAX]);
        bytes.extend_from_slice(head);
        bytes.extend_from_slice(body);
        Draft(bytes)
    }

    /// What its record ends in.
    #[inline]
    pub fn member(&self) -> &[u8] {
        &self.0[SCORE_MAX..]
    }

    /// Its record with this score.
    #[inline]
    pub fn record(&mut self, score: f64) -> &[u8] {
        let start = with_score_bytes(score, |bytes| {
            let start = SCORE_MAX - bytes.len();
            self.0[start..SCORE_MAX].copy_from_slice(bytes);
            start
        });
        &self.0[start..]
    }
}

/// The score at the front, and how many bytes it takes.
#[inline]
fn score(record: &[u8]) -> (f64, usize) {
    match *record {
        [ESCAPE, a, b, c, d, e, f, g, h, ..] => (f64::from_le_bytes([a, b, c, d, e, f, g, h]), 9),
        _ => match text::read(record) {
            (Text::Integer(integer), len) => (integer as f64, len),
            (Text::Bytes(_), len) => (0.0, len),
        },
    }
}

/// 64 bits in the order of scores; both zeros have the same.
#[inline]
fn key_of_score(score: f64) -> u64 {
    let bits = (score + 0.0).to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// See the module's text.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByScore;

/// A place in that order.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'a> {
    /// Before all members of this score.
    Before(f64),
    /// Behind all members of this score.
    Behind(f64),
    At(f64, &'a [u8]),
}

impl Bound<'_> {
    fn score(self) -> f64 {
        match self {
            Bound::Before(score) | Bound::Behind(score) | Bound::At(score, _) => score,
        }
    }
}

impl Order for ByScore {
    type Probe<'p> = Bound<'p>;
    const INDEX: Index = Index::Offsets;

    #[inline]
    fn len_of(&self, records: &[u8]) -> usize {
        let (_, len) = score(records);
        len + text::len_of(&records[len..])
    }

    #[inline]
    fn key_of(&self, record: &[u8]) -> u64 {
        key_of_score(score(record).0)
    }

    #[inline]
    fn key(&self, probe: Bound<'_>) -> u64 {
        key_of_score(probe.score())
    }

    #[inline]
    fn compare(&self, probe: Bound<'_>, record: &[u8]) -> Ordering {
        let own = Scored::read(record);
        // Neither is NaN; both zeros are equal.
        let by_score = probe.score().partial_cmp(&own.score).unwrap_or(Ordering::Equal);
        by_score.then_with(|| match probe {
            Bound::Before(_) => Ordering::Less,
            Bound::Behind(_) => Ordering::Greater,
            Bound::At(_, member) => member.cmp(own.member.bytes(&mut itoa::Buffer::new())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::{Limits, NoCapture, Tree};
    use super::*;
    use crate::base::random::Random;

    const SCORES: [f64; 16] = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.1,
        -0.1,
        1e300,
        -1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        9_007_199_254_740_992.0,
        9_007_199_254_740_994.0,
        1_790_000_000_000.0,
        5e-324,
        -9_007_199_254_740_992.0,
    ];

    #[test]
    fn scores_come_back_to_the_bit() {
        let mut random = Random::new(1);
        let drawn = (0..10_000).map(|_| f64::from_bits(random.next_u64())).filter(|score| !score.is_nan());
        for score in SCORES.into_iter().chain(drawn) {
            let mut out = Vec::new();
            Scored::push(&mut out, score, b"member");
            let read = Scored::read(&out);
            assert!(read.score.to_bits() == score.to_bits() && read.member.is(b"member"), "{score}");
            assert_eq!(ByScore.len_of(&out), out.len());
        }
        let mut out = Vec::new();
        Scored::push(&mut out, 1_790_000_000_000.0, b"s");
        assert_eq!(out.len(), 7 + 2, "a time in milliseconds");
    }

    #[test]
    fn members_stand_by_score_and_then_by_bytes() {
        for seed in 0..8 {
            println!("seed {seed}");
            let order = ByScore;
            let mut random = Random::new(seed);
            let limits =
                Limits { leaf_bytes: [64, 300, 1024][seed as usize % 3], branches: 4 + seed as usize };
            let mut tree = Tree::new(limits, 0);
            let mut model: Vec<(f64, Vec<u8>)> = Vec::new();
            let stands = |a: &(f64, Vec<u8>), b: &(f64, Vec<u8>)| {
                a.0.partial_cmp(&b.0).expect("no NaN").then_with(|| a.1.cmp(&b.1))
            };
            for _ in 0..4_000 {
                let score = match random.below(3) {
                    0 => SCORES[random.below(16) as usize],
                    1 => 7.0,
                    _ => random.below(10_000) as f64 / 4.0,
                };
                // Prefixes of each other, and numbers.
                let member = match random.below(2) {
                    0 => vec![b'a'; random.below(30) as usize],
                    _ => random.below(500).to_string().into_bytes(),
                };
                let pair = (score, member);
                let place = model.binary_search_by(|own| stands(own, &pair));
                match (tree.find(&order, Bound::At(pair.0, &pair.1)), place) {
                    (Ok(found), Ok(rank)) => {
                        assert_eq!(tree.rank(&found), rank);
                        tree.remove(&order, &mut NoCapture, &found, 1);
                        model.remove(rank);
                    }
                    (Err(found), Err(rank)) => {
                        assert_eq!(tree.rank(&found), rank);
                        let mut record = Vec::new();
                        Scored::push(&mut record, pair.0, &pair.1);
                        tree.insert(&order, &mut NoCapture, &found, &record);
                        model.insert(rank, pair.clone());
                    }
                    (found, place) => panic!("{pair:?}: {found:?} against {place:?}"),
                }
                let rank = |bound| {
                    tree.find(&order, bound).map_or_else(|place| tree.rank(&place), |_| unreachable!())
                };
                assert_eq!(rank(Bound::Before(score)), model.partition_point(|own| own.0 < score));
                assert_eq!(rank(Bound::Behind(score)), model.partition_point(|own| own.0 <= score));
            }
            tree.check(&order).expect("a tree");
        }
    }
}
