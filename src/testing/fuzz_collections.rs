//! The body of the fuzz target of collections: bytes as changes of trees, each against a plain vector, with everything looked at after each one.

use std::collections::BTreeMap;

use crate::keyspace::KeyHasher;
use crate::keyspace::collection::{
    Bound, ByHash, ByPosition, ByScore, Capture, Field, Leaf, Limits, NoCapture, Order, Scored, Shape,
    SortedSet, Text, Tree, element, text,
};

/// Small, so that a few records split a leaf, and a few leaves an inner node.
const SMALL: Limits = Limits { leaf_bytes: 64, branches: 4 };
/// More take too long to be looked at after each change.
const RECORDS_MAX: usize = 600;

/// Bytes that are used up one by one; zeros when they are.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A string: often short, often a number, rarely longer than a leaf.
    fn word(&mut self) -> Vec<u8> {
        let kind = self.byte();
        match kind % 4 {
            0 => usize::from(self.byte()).to_string().into_bytes(),
            1 => vec![self.byte(); usize::from(kind >> 3)],
            2 => vec![self.byte(), kind],
            _ if kind > 250 => vec![kind; 300],
            _ => vec![self.byte()],
        }
    }
}

/// A snapshot that begins anew now and then.
#[derive(Default)]
struct Epochs {
    epoch: u32,
    captured: Vec<Leaf>,
}

impl Capture for Epochs {
    fn era(&self) -> u32 {
        self.epoch
    }

    fn capture(&mut self, _number: u32, leaf: Leaf) {
        assert_ne!(leaf.stamp, self.epoch, "what was seen is not captured");
        self.captured.push(leaf);
    }
}

/// Any bytes: trees that say what a vector says.
///
/// # Panics
/// When a tree is at fault.
pub fn collections(data: &[u8]) {
    let mut input = Input(data);
    match input.byte() % 4 {
        0 => list(&mut input),
        1 => hash(&mut input),
        2 => scores(&mut input),
        _ => sorted_set(&mut input),
    }
}

fn look_at<O: Order>(tree: &Tree, order: &O, len: usize) {
    assert_eq!(tree.len(), len);
    if let Err(wrong) = tree.check(order) {
        panic!("{wrong}");
    }
}

fn bytes_of(text: Text<'_>) -> Vec<u8> {
    text.bytes(&mut itoa::Buffer::new()).to_vec()
}

fn list(input: &mut Input<'_>) {
    let (order, mut epochs) = (ByPosition, Epochs::default());
    let (mut tree, mut model) = (Tree::new(SMALL, 0), Vec::<Vec<u8>>::new());
    while !input.0.is_empty() {
        let (op, at) = (input.byte(), usize::from(input.byte()) * usize::from(input.byte()));
        let rank = at % (model.len() + 1);
        match op % 8 {
            0 => epochs.epoch = (epochs.epoch + 1) % 2048,
            1 | 2 => {
                let count = usize::from(op >> 3);
                tree.remove_ranks(&order, &mut epochs, rank, count);
                model.drain(rank..model.len().min(rank + count));
            }
            3 if op & 0x80 != 0 && rank < model.len() => {
                let (place, unwanted) = (tree.place_at(rank), input.word());
                let there = tree.leaf(place.leaf()).count() - place.index();
                tree.retain(&order, &mut epochs, &place, |record| !element::read(record).is(&unwanted));
                let behind = model.split_off(rank + there);
                let kept = model.split_off(rank).into_iter().filter(|word| *word != unwanted);
                model.extend(kept.chain(behind));
            }
            3 if rank < model.len() => {
                model[rank] = input.word();
                let record = element::record(&model[rank]);
                tree.replace(&order, &mut epochs, &tree.place_at(rank), &record);
            }
            _ if model.len() < RECORDS_MAX => {
                let word = input.word();
                tree.insert(&order, &mut epochs, &tree.place_at(rank), &element::record(&word));
                model.insert(rank, word);
            }
            _ => {}
        }
        look_at(&tree, &order, model.len());
    }
    let found: Vec<Vec<u8>> =
        tree.iter_from(&order, 0).map(|record| bytes_of(text::read(record).0)).collect();
    assert_eq!(found, model);
    let back = tree.iter_before(&order, usize::MAX).map(|record| bytes_of(element::read(record)));
    assert!(back.eq(model.iter().rev().cloned()));
}

fn hash(input: &mut Input<'_>) {
    let hasher = KeyHasher::fixed(u64::from(input.byte()));
    let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
    let mut epochs = Epochs::default();
    let (mut tree, mut model) = (Tree::new(SMALL, 0), BTreeMap::new());
    while !input.0.is_empty() {
        let (op, name) = (input.byte(), input.word());
        let place = tree.find(&order, order.name(&name));
        assert_eq!(place.is_ok(), model.contains_key(&name));
        match place {
            _ if op == 0 => epochs.epoch = (epochs.epoch + 1) % 2048,
            Ok(place) if op % 3 == 0 => {
                assert_eq!(tree.remove(&order, &mut epochs, &place, 1), 1);
                model.remove(&name);
            }
            place if model.len() < RECORDS_MAX => {
                let (value, mut record) = (input.word(), Vec::new());
                let at_ms = (op % 5 == 0).then(|| i64::from(op));
                Field::push(&mut record, &name, Some(&value), at_ms);
                match place {
                    Ok(place) => tree.replace(&order, &mut epochs, &place, &record),
                    Err(place) => tree.insert(&order, &mut epochs, &place, &record),
                }
                model.insert(name, (value, at_ms));
            }
            _ => {}
        }
        look_at(&tree, &order, model.len());
        let due = model.values().filter_map(|(_, at_ms)| *at_ms).min().unwrap_or(i64::MAX);
        assert!(tree.due_ms() <= due, "what is due is known");
    }
    let found: BTreeMap<_, _> = tree
        .iter_from(&order, 0)
        .map(|record| Field::read(record, Shape::FieldAndValue))
        .map(|field| (bytes_of(field.name), (bytes_of(field.value), field.expire_at_ms)))
        .collect();
    assert_eq!(found, model);
}

fn scores(input: &mut Input<'_>) {
    let (order, mut epochs) = (ByScore, Epochs::default());
    let (mut tree, mut model) = (Tree::new(SMALL, 0), Vec::<(f64, Vec<u8>)>::new());
    while !input.0.is_empty() {
        let (op, member) = (input.byte(), input.word());
        let score = match op % 4 {
            0 => f64::from(op) / 8.0,
            1 => -f64::from(input.byte()),
            2 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 5e-324][usize::from(op) % 5],
            _ => f64::from_bits(u64::from_le_bytes(std::array::from_fn(|_| input.byte()))),
        };
        if score.is_nan() {
            continue;
        }
        let stands = |own: &(f64, Vec<u8>)| {
            own.0.partial_cmp(&score).unwrap_or(std::cmp::Ordering::Equal).then_with(|| own.1.cmp(&member))
        };
        match (tree.find(&order, Bound::At(score, &member)), model.binary_search_by(stands)) {
            (Ok(place), Ok(rank)) => {
                assert_eq!(tree.rank(&place), rank);
                tree.remove(&order, &mut epochs, &place, 1);
                model.remove(rank);
            }
            (Err(place), Err(rank)) => {
                assert_eq!(tree.rank(&place), rank);
                let mut record = Vec::new();
                Scored::push(&mut record, score, &member);
                if model.len() < RECORDS_MAX {
                    tree.insert(&order, &mut epochs, &place, &record);
                    model.insert(rank, (score, member));
                }
            }
            _ => panic!("one of both has {score} {}", member.escape_ascii()),
        }
        look_at(&tree, &order, model.len());
    }
    let found: Vec<(u64, Vec<u8>)> = tree
        .iter_from(&order, 0)
        .map(Scored::read)
        .map(|scored| (scored.score.to_bits(), bytes_of(scored.member)))
        .collect();
    let expected: Vec<(u64, Vec<u8>)> =
        model.into_iter().map(|(score, member)| (score.to_bits(), member)).collect();
    assert_eq!(found, expected);
}

fn sorted_set(input: &mut Input<'_>) {
    let hasher = KeyHasher::fixed(u64::from(input.byte()));
    let (mut set, mut model) = (SortedSet::new(SMALL, 0), BTreeMap::new());
    while !input.0.is_empty() {
        let (op, member) = (input.byte(), input.word());
        if op % 4 == 0 {
            assert_eq!(set.remove(&hasher, &mut NoCapture, &member), model.remove(&member));
        } else if model.len() < RECORDS_MAX {
            let score = f64::from(input.byte()) / 4.0;
            set.set(&hasher, &mut NoCapture, &member, score);
            model.insert(member, score);
        }
        assert_eq!(set.len(), model.len());
        if let Err(wrong) = set.check(&hasher) {
            panic!("{wrong}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn any_changes_leave_trees_that_say_what_vectors_say() {
        for seed in 0..100 {
            let mut random = Random::new(seed);
            let data: Vec<u8> = (0..random.below(3_000)).map(|_| random.next_u64() as u8).collect();
            println!("seed {seed}");
            collections(&data);
        }
    }
}
