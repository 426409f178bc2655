//! Trees against vectors, with leaves so small that they are split and joined all the time.

use std::cmp::Ordering;

use super::element;
use super::leaf::Leaf;
use super::order::{ByPosition, Index, Order};
use super::text;
use super::tree::{Capture, Limits, Tree};
use crate::base::random::Random;

const SMALL: Limits = Limits { leaf_bytes: 64, branches: 4 };

/// Records are strings in the order of their bytes; their keys are the first so many of these, so that with few of them keys are equal.
#[derive(Clone, Copy)]
struct ByBytes<const KEY: usize, const INDEX: u8>;

fn record_of(bytes: &[u8]) -> Vec<u8> {
    let mut record = Vec::new();
    text::push(&mut record, bytes);
    record
}

fn bytes_of(record: &[u8]) -> Vec<u8> {
    text::read(record).0.bytes(&mut itoa::Buffer::new()).to_vec()
}

impl<const KEY: usize, const INDEX: u8> Order for ByBytes<KEY, INDEX> {
    type Probe<'p> = &'p [u8];
    const INDEX: Index = match INDEX {
        0 => Index::None,
        1 => Index::Offsets,
        _ => Index::Tags,
    };

    fn len_of(&self, records: &[u8]) -> usize {
        text::len_of(records)
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        self.key(&bytes_of(record))
    }

    fn key(&self, probe: &[u8]) -> u64 {
        let mut first = [0; 8];
        let len = probe.len().min(KEY);
        first[..len].copy_from_slice(&probe[..len]);
        u64::from_be_bytes(first)
    }

    fn compare(&self, probe: &[u8], record: &[u8]) -> Ordering {
        probe.cmp(&bytes_of(record))
    }

    /// What ends in a digit is due then.
    fn due_ms(&self, record: &[u8]) -> i64 {
        match bytes_of(record).last() {
            Some(digit @ b'0'..=b'9') => i64::from(digit - b'0'),
            _ => i64::MAX,
        }
    }
}

/// A snapshot that was begun at some state, and what it has been shown of leaves that changed.
#[derive(Default)]
struct Seen {
    epoch: u32,
    captured: Vec<Vec<Vec<u8>>>,
}

impl Capture for Seen {
    fn era(&self) -> u32 {
        self.epoch
    }

    fn capture(&mut self, _number: u32, leaf: Leaf) {
        let order = ByBytes::<8, 2>;
        self.captured.push((0..leaf.count()).map(|index| bytes_of(leaf.record(&order, index))).collect());
    }
}

fn all<O: Order>(tree: &Tree, order: &O) -> Vec<Vec<u8>> {
    tree.iter_from(order, 0).map(bytes_of).collect()
}

fn word(random: &mut Random, spread: u64) -> Vec<u8> {
    let long = random.below(50) == 0;
    let mut word = random.below(spread).to_string().into_bytes();
    if random.below(3) == 0 {
        word.insert(0, b'x');
    }
    word.extend(vec![b'-'; random.below(if long { 200 } else { 6 }) as usize]);
    word
}

/// Random changes of a tree whose order is that of its records.
fn agrees_with_a_vector<const KEY: usize, const INDEX: u8>(seed: u64, limits: Limits, steps: usize) {
    let order = ByBytes::<KEY, INDEX>;
    let mut random = Random::new(seed);
    let (mut tree, mut model, mut seen) = (Tree::new(limits, 0), Vec::<Vec<u8>>::new(), Seen::default());
    let spread = [20, 1_000, 100_000][random.below(3) as usize];
    for step in 0..steps {
        // It grows, and shrinks again.
        let grows = (step / 500) % 3 < 2;
        let word = word(&mut random, spread);
        let place = model.binary_search(&word);
        match (tree.find(&order, &word), place) {
            (Ok(found), Ok(rank)) => {
                assert_eq!(
                    (tree.rank(&found), bytes_of(tree.record(&order, &found).expect("it is there"))),
                    (rank, word.clone())
                );
                if grows {
                    tree.replace(&order, &mut seen, &found, &record_of(&word));
                } else {
                    tree.remove(&order, &mut seen, &found, 1);
                    model.remove(rank);
                }
            }
            (Err(found), Err(rank)) => {
                assert_eq!(tree.rank(&found), rank, "seed {seed}, step {step}");
                if grows {
                    tree.insert(&order, &mut seen, &found, &record_of(&word));
                    model.insert(rank, word);
                } else if !model.is_empty() {
                    let start = random.below(model.len() as u64) as usize;
                    let count = (random.below(4) as usize).min(model.len() - start);
                    tree.remove_ranks(&order, &mut seen, start, count);
                    model.drain(start..start + count);
                }
            }
            _ => panic!("seed {seed}, step {step}: '{}' is in one of both", word.escape_ascii()),
        }
        assert_eq!(tree.len(), model.len());
        if step % 50 == 0 {
            tree.check(&order).unwrap_or_else(|wrong| panic!("seed {seed}, step {step}: {wrong}"));
            assert_eq!(all(&tree, &order), model, "seed {seed}, step {step}");
            let from = random.below(model.len() as u64 + 1) as usize;
            let rest: Vec<_> = tree.iter_from(&order, from).map(bytes_of).collect();
            assert_eq!(rest, model[from..]);
            let mut back = Vec::new();
            let mut place = tree.place_at(from);
            while tree.step_back(&mut place) {
                back.push(bytes_of(tree.record(&order, &place).expect("a record")));
            }
            back.reverse();
            assert_eq!(back, model[..from]);
        }
    }
    tree.remove_ranks(&order, &mut seen, 0, usize::MAX);
    assert!(tree.is_empty() && tree.leaves() == 1);
    tree.check(&order).expect("an empty tree");
}

#[test]
fn trees_of_every_index_agree_with_vectors() {
    for seed in 0..12 {
        println!("seed {seed}");
        let limits = Limits {
            leaf_bytes: [64, 100, 500][seed as usize % 3],
            branches: [4, 5, 9, 64][seed as usize % 4],
        };
        agrees_with_a_vector::<8, 2>(seed, limits, 3_000);
        agrees_with_a_vector::<8, 1>(seed, limits, 3_000);
        agrees_with_a_vector::<8, 0>(seed, limits, 1_500);
    }
}

#[test]
fn equal_keys_are_told_apart_by_their_records() {
    for seed in 100..106 {
        println!("seed {seed}");
        agrees_with_a_vector::<0, 2>(seed, SMALL, 2_000);
        agrees_with_a_vector::<1, 2>(seed, SMALL, 2_000);
        agrees_with_a_vector::<1, 1>(seed, SMALL, 2_000);
    }
}

#[test]
fn a_list_is_a_vector() {
    for seed in 0..6 {
        println!("seed {seed}");
        let order = ByPosition;
        let mut random = Random::new(seed);
        let (mut tree, mut model, mut seen) = (Tree::new(SMALL, 0), Vec::<Vec<u8>>::new(), Seen::default());
        for step in 0..3_000 {
            let rank = match random.below(4) {
                0 => 0,
                1 => model.len(),
                _ => random.below(model.len() as u64 + 1) as usize,
            };
            let place = tree.place_at(rank);
            if (step / 700) % 2 == 0 || model.is_empty() {
                let word = word(&mut random, 1_000_000);
                tree.insert(&order, &mut seen, &place, &element::record(&word));
                model.insert(rank, word);
            } else {
                let count = 1 + random.below(3) as usize;
                tree.remove_ranks(&order, &mut seen, rank, count);
                let end = model.len().min(rank + count);
                model.drain(rank..end);
            }
            if step % 20 == 0 {
                tree.check(&order).unwrap_or_else(|wrong| panic!("seed {seed}, step {step}: {wrong}"));
                assert_eq!(all(&tree, &order), model, "seed {seed}, step {step}");
                let back = tree.iter_before(&order, rank).map(bytes_of);
                assert!(back.eq(model.iter().take(rank).rev().cloned()), "seed {seed}, step {step}");
            }
        }
    }
}

/// Whatever is kept of a list, leaf by leaf, is what a vector keeps.
#[test]
fn what_is_not_wanted_of_a_leaf_goes_at_once() {
    let order = ByPosition;
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let (mut tree, mut model, mut seen) = (Tree::new(SMALL, 0), Vec::<Vec<u8>>::new(), Seen::default());
        for _ in 0..400 {
            model.push(random.below(20).to_string().into_bytes());
            tree.insert(
                &order,
                &mut seen,
                &tree.place_at(usize::MAX),
                &element::record(&model[model.len() - 1]),
            );
        }
        for unwanted in 0..20u64 {
            let unwanted = unwanted.to_string().into_bytes();
            let mut rank = 0;
            while rank < tree.len() {
                let place = tree.place_at(rank);
                let there = tree.leaf(place.leaf()).count() - place.index();
                let is_wanted = |record: &[u8]| !element::read(record).is(&unwanted);
                rank += there - tree.retain(&order, &mut seen, &place, is_wanted);
            }
            model.retain(|word| *word != unwanted);
            tree.check(&order).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            assert_eq!(all(&tree, &order), model);
        }
        assert!(tree.is_empty());
    }
}

#[test]
fn what_is_due_is_found_in_time_and_nothing_before() {
    let order = ByBytes::<8, 2>;
    let mut random = Random::new(9);
    let (mut tree, mut seen) = (Tree::new(SMALL, 0), Seen::default());
    for number in 0..2_000u32 {
        let word = format!("{:05}{}", random.below(100_000), if number % 10 == 0 { "7" } else { "x" });
        if let Err(place) = tree.find(&order, word.as_bytes()) {
            tree.insert(&order, &mut seen, &place, &record_of(word.as_bytes()));
        }
    }
    assert_eq!(tree.due_ms(), 7);
    assert!(tree.find_due(6).is_none());
    let due = all(&tree, &order).iter().filter(|word| word.ends_with(b"7")).count();
    let mut gone = 0;
    while let Some(place) = tree.find_due(7) {
        let at = tree.rank(&place);
        let first = tree.iter_from(&order, at).take(64).position(|record| order.due_ms(record) == 7);
        match first {
            Some(behind) if tree.place_at(at + behind).is_in_leaf_of(&place) => {
                tree.remove_ranks(&order, &mut seen, at + behind, 1);
                gone += 1;
            }
            // What the leaf had is gone; it was only not looked at again.
            _ => tree.look_at_due(&order, &place),
        }
    }
    assert_eq!((gone, tree.due_ms()), (due, i64::MAX));
    tree.check(&order).expect("a tree");
}

/// What a snapshot is shown of a tree that changes meanwhile, captured or visited, is what the tree held at the cut.
#[test]
fn a_leaf_is_captured_before_it_changes_and_only_then() {
    let order = ByBytes::<8, 2>;
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let (mut tree, mut seen) = (Tree::new(SMALL, 0), Seen::default());
        let fill = |tree: &mut Tree, seen: &mut Seen, random: &mut Random, steps| {
            for _ in 0..steps {
                let word = word(random, 400);
                match tree.find(&order, &word) {
                    Err(place) => tree.insert(&order, seen, &place, &record_of(&word)),
                    Ok(place) if random.below(2) == 0 => _ = tree.remove(&order, seen, &place, 1),
                    Ok(place) => tree.replace(&order, seen, &place, &record_of(&word)),
                }
            }
        };
        fill(&mut tree, &mut seen, &mut random, 400);
        assert!(seen.captured.is_empty());
        let at_cut = all(&tree, &order);
        seen.epoch = 1;
        fill(&mut tree, &mut seen, &mut random, 150);
        let mut shown: Vec<Vec<u8>> = seen.captured.drain(..).flatten().collect();
        let unseen = tree.unseen_leaves(1);
        shown.extend(
            unseen
                .iter()
                .flat_map(|leaf| (0..leaf.count()).map(|index| bytes_of(leaf.record(&order, index)))),
        );
        shown.sort();
        assert_eq!(shown, at_cut);
    }
}

#[test]
fn what_grows_at_an_end_fills_its_leaves() {
    let (order, mut seen) = (ByPosition, Seen::default());
    for at_front in [false, true] {
        let mut tree = Tree::new(Limits::USUAL, 0);
        for number in 0..100_000 {
            let place = tree.place_at(if at_front { 0 } else { number });
            tree.insert(
                &order,
                &mut seen,
                &place,
                &element::record(format!("element:{number:09}").as_bytes()),
            );
        }
        let each = tree.owned_bytes() as f64 / 100_000.0;
        println!("{each} bytes an element of 17");
        assert!(each < 20.5, "at the front: {at_front}: {each} bytes");
    }
}

#[test]
fn a_record_of_more_than_64_kb_in_front_of_others_is_divided_from_them() {
    let (order, mut tree, mut seen) = (ByBytes::<2, 2>, Tree::new(Limits::USUAL, 0), Seen::default());
    let mut names = ["b", "d", "f", "h"].map(|name| name.as_bytes().to_vec()).to_vec();
    names.extend(["a", "c", "e", "g"].map(|name| name.repeat(70_000).into_bytes()));
    for name in &names {
        let Err(place) = tree.find(&order, name) else { panic!("it is new") };
        tree.insert(&order, &mut seen, &place, &record_of(name));
        tree.check(&order).unwrap_or_else(|wrong| panic!("{}: {wrong}", name[0] as char));
    }
    names.sort();
    assert_eq!(tree.iter_from(&order, 0).map(bytes_of).collect::<Vec<_>>(), names);
}

#[test]
fn a_copy_of_a_tree_counts_what_it_owns_itself() {
    let (order, mut tree, mut seen) = (ByBytes::<2, 1>, Tree::new(SMALL, 0), Seen::default());
    for number in 0..500 {
        let name = format!("{}{number}", number % 7);
        let Err(place) = tree.find(&order, name.as_bytes()) else { panic!("it is new") };
        tree.insert(&order, &mut seen, &place, &record_of(name.as_bytes()));
    }
    tree.remove_ranks(&order, &mut seen, 100, 150);
    let mut copy = tree.clone();
    copy.check(&order).expect("a copy");
    copy.remove_ranks(&order, &mut seen, 0, 350);
    copy.check(&order).expect("an empty copy");
    tree.check(&order).expect("the tree that was copied");
}
