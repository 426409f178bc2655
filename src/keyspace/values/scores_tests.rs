//! Sorted sets in entries against a model of the standard library, in all forms.

use std::collections::BTreeMap;

use super::*;
use crate::base::random::Random;
use crate::keyspace::collection::Packed;
use crate::keyspace::{Partition, Reclaimer, Site, ValueLimits};

type Model = BTreeMap<Vec<u8>, f64>;

fn keyspace(limits: ValueLimits) -> Keyspace {
    Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0).with_limits(limits)
}

/// A partition with one empty sorted set.
struct Stage<'k> {
    site: Site<'k>,
    partition: Partition,
    position: crate::keyspace::Position,
    hash: u64,
}

impl<'k> Stage<'k> {
    fn new(keyspace: &'k Keyspace) -> Stage<'k> {
        let site = Site { keyspace, database: 0, shard: 0, now_ms: 0 };
        let (mut partition, hash) = (Partition::default(), keyspace.key(b"z").hash);
        let entry = Entry::new(b"z", &Packed::EMPTY).with_kind(Kind::SortedSet);
        let position = partition.insert(site, hash, entry);
        Stage { site, partition, position, hash }
    }

    fn edit(&mut self) -> ScoresMut<'_, 'k> {
        ScoresMut(Edit::new(&mut self.partition, self.site, self.position, self.hash))
    }
}

fn listed<'a>(members: impl Iterator<Item = Scored<'a>>) -> Vec<(f64, Vec<u8>)> {
    members.map(|own| (own.score, own.member.bytes(&mut itoa::Buffer::new()).to_vec())).collect()
}

fn sorted(model: &Model) -> Vec<(f64, Vec<u8>)> {
    let mut all: Vec<_> = model.iter().map(|(member, score)| (*score, member.clone())).collect();
    all.sort_by(|one, other| one.partial_cmp(other).expect("no NaN"));
    all
}

fn check(scores: Scores<'_>, model: &Model, random: &mut Random) {
    let all = sorted(model);
    assert_eq!(scores.len(), all.len());
    assert_eq!(listed(scores.iter_from(0)), all);
    let (start, end) =
        (random.below(all.len() as u64 + 1) as usize, random.below(all.len() as u64 + 1) as usize);
    let (start, end) = (start.min(end), start.max(end));
    assert_eq!(listed(scores.iter(start..end, false)), all[start..end]);
    let backwards: Vec<_> = all[start..end].iter().rev().cloned().collect();
    assert_eq!(listed(scores.iter(start..end, true)), backwards);
    let (min, max) = (random.below(12) as f64 / 2.0 - 1.0, random.below(12) as f64 / 2.0 - 1.0);
    let excludes = (random.below(2) == 0, random.below(2) == 0);
    let is_in = |score: f64| {
        (if excludes.0 { score > min } else { score >= min })
            && (if excludes.1 { score < max } else { score <= max })
    };
    let found = scores.ranks_by_score(&ScoreRange { min, max, excludes });
    let expected: Vec<_> = all.iter().filter(|(score, _)| is_in(*score)).cloned().collect();
    assert_eq!(all[found], expected, "{min} to {max}, {excludes:?}");
    if let Some(rank) = (!all.is_empty()).then(|| random.below(all.len() as u64) as usize) {
        let (score, member) = &all[rank];
        assert_eq!(scores.rank(member), Some((rank, *score)));
        assert_eq!(scores.at(rank).map(|own| own.score), Some(*score));
    }
}

#[test]
fn a_sorted_set_does_in_every_form_what_a_model_does() {
    for seed in 0..12 {
        println!("seed {seed}");
        let limits = if seed % 3 == 2 { ValueLimits::default() } else { ValueLimits::of_leaves(64) };
        let (keyspace, mut random) = (keyspace(limits), Random::new(seed));
        let (mut stage, mut model) = (Stage::new(&keyspace), Model::new());
        let members = [12, 60, 600][seed as usize % 3];
        for step in 0..2_000 {
            let member = match random.below(3) {
                0 => random.below(members).to_string().into_bytes(),
                1 => format!("m{:02}", random.below(members)).into_bytes(),
                _ => vec![b'x'; random.below(members.min(40)) as usize],
            };
            let mut scores = stage.edit();
            match random.below(8) {
                0 | 1 => assert_eq!(scores.remove(&member), model.remove(&member)),
                2 if step % 50 == 0 => {
                    let all = sorted(&model);
                    let start = random.below(all.len() as u64 + 1) as usize;
                    let end = (start + random.below(20) as usize).min(all.len());
                    scores.remove_ranks(start..end);
                    all[start..end].iter().for_each(|(_, member)| {
                        model.remove(member);
                    });
                }
                3 => {
                    let before = scores.update(&member, |before| before.map(|score| score + 0.5));
                    assert_eq!(before, model.get(&member).copied());
                    model.entry(member).and_modify(|score| *score += 0.5);
                }
                _ => {
                    let score = [random.below(8) as f64 / 2.0, -0.0][usize::from(random.below(9) == 0)];
                    let before = scores.update(&member, |before| {
                        assert_eq!(before, model.get(&member).copied());
                        Some(score)
                    });
                    assert_eq!(before, model.insert(member, score));
                }
            }
            if step % 20 == 0 {
                check(scores.view(), &model, &mut random);
            }
        }
        if let Form::Root(root) = stage.edit().0.form() {
            root.sorted_set().expect("a sorted set").check(keyspace.hasher()).expect("a sorted set");
        }
        let large = stage.edit().view().is_large();
        assert!(large || seed % 3 == 2 || model.len() < 9, "few members are small, others not");
        let len = stage.edit().view().len();
        stage.edit().remove_ranks(0..len);
        assert!(stage.edit().view().is_empty());
    }
}

#[test]
fn a_range_of_equal_members_is_found_by_halving_and_of_others_as_redis_walks() {
    for (limits, level) in [
        (ValueLimits::default(), Level::First),
        (ValueLimits::of_leaves(64), Level::First),
        (ValueLimits::of_leaves(64), Level::Table),
    ] {
        let keyspace = keyspace(limits);
        let mut stage = Stage::new(&keyspace);
        for number in 0..40u32 {
            stage.edit().update(format!("m{number:02}").as_bytes(), |_| Some(1.0));
        }
        stage.edit().0.raise(level);
        let find = |stage: &mut Stage<'_>, min, max, backwards| {
            stage.edit().view().ranks_by_member(&LexRange { min, max }, backwards)
        };
        use LexEnd::{Excluding, First, Including, Last};
        for backwards in [false, true] {
            for (min, max, expected) in [
                (First, Last, 0..40),
                (First, First, 0..0),
                (Last, Last, 40..40),
                (Including(b"m10"), Including(b"m20"), 10..21),
                (Excluding(b"m10"), Excluding(b"m20"), 11..20),
                (Including(b"m105"), Excluding(b"m2"), 11..20),
                (Excluding(b"m05"), Last, 6..40),
                (First, Including(b"m05"), 0..6),
                (Including(b"m20"), Including(b"m10"), 20..20),
                (Excluding(b"m20"), Including(b"m20"), 21..21),
                (Including(b"n"), Last, 40..40),
                (First, Excluding(b"a"), 0..0),
            ] {
                let found = find(&mut stage, min, max, backwards);
                assert_eq!(found.len(), expected.len(), "{min:?} {max:?} {level:?}");
                assert!(found.is_empty() || found == expected, "{min:?} {max:?} {level:?}");
            }
        }
        // Not in the order of their bytes any more: m39, then m00 to m38.
        stage.edit().update(b"m39", |_| Some(0.0));
        if level == Level::First {
            assert_eq!(find(&mut stage, Including(b"m05"), Including(b"m10"), false), 0..0);
            assert_eq!(find(&mut stage, Including(b"m05"), Last, false), 0..40);
            assert_eq!(find(&mut stage, First, Including(b"m05"), false), 0..0);
        } else {
            assert!(find(&mut stage, Including(b"m05"), Last, false).end <= 40);
        }
    }
}

#[test]
fn a_scan_gives_a_listpack_whole_and_a_skiplist_in_parts() {
    for level in [Level::First, Level::Table] {
        let keyspace = keyspace(ValueLimits::of_leaves(64));
        let mut stage = Stage::new(&keyspace);
        for number in 0..100u32 {
            stage.edit().update(number.to_string().as_bytes(), |_| Some(f64::from(number)));
        }
        stage.edit().0.raise(level);
        let scores = stage.edit();
        let (mut seen, mut place, mut calls) = (Vec::new(), 0, 0);
        loop {
            calls += 1;
            let next = scores.view().scan(place, 10, |own| {
                seen.push(own.score as u32);
                true
            });
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
        assert_eq!(calls > 5, level == Level::Table);
    }
}

#[test]
fn a_sorted_set_that_is_made_at_once_is_what_one_is_that_grew() {
    for (count, limits) in [(3, ValueLimits::default()), (900, ValueLimits::default())] {
        let keyspace = keyspace(limits);
        let names: Vec<String> = (0..count).map(|number| format!("m{number:03}")).collect();
        let members = names.iter().enumerate().map(|(rank, name)| (rank as f64, name.as_bytes()));
        let entry = entry_of_scores(&keyspace, b"z", Level::Table, members);
        let scores = Scores::of(&keyspace, entry.view());
        assert_eq!((scores.len(), scores.level(), scores.is_large()), (count, Level::Table, count > 100));
        assert_eq!(scores.rank(b"m002"), Some((2, 2.0)));
    }
}
