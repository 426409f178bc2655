//! Large collections: finding, adding and removing, among as many elements as the argument says.

use cloakroom::base::random::Random;
use cloakroom::keyspace::KeyHasher;
use cloakroom::keyspace::collection::{
    ByHash, ByPosition, Field, Limits, NoCapture, Shape, SortedSet, Tree, element,
};
use divan::{Bencher, black_box};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];

fn main() {
    divan::main();
}

fn hasher() -> KeyHasher {
    KeyHasher::fixed(1)
}

fn field(number: u64) -> String {
    format!("field:{number:09}")
}

fn put(tree: &mut Tree, order: &ByHash<'_>, record: &mut Vec<u8>, name: &str) {
    record.clear();
    Field::push(record, name.as_bytes(), Some(&[b'v'; 20]), None);
    match tree.find(order, order.name(name.as_bytes())) {
        Ok(place) => tree.replace(order, &mut NoCapture, &place, record),
        Err(place) => tree.insert(order, &mut NoCapture, &place, record),
    }
}

fn hash(order: &ByHash<'_>, size: u64) -> Tree {
    let (mut tree, mut record) = (Tree::new(Limits::USUAL, 0), Vec::new());
    (0..size).for_each(|number| put(&mut tree, order, &mut record, &field(number)));
    tree
}

/// Names are made beforehand, so that this is not measured.
fn names(size: u64) -> impl FnMut() -> String {
    let mut random = Random::new(7);
    move || field(random.below(size))
}

#[divan::bench(args = SIZES)]
fn hash_get(bencher: Bencher<'_, '_>, size: u64) {
    let hasher = hasher();
    let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
    let tree = hash(&order, size);
    bencher.with_inputs(names(size)).bench_local_refs(|name| {
        let place = tree.find(&order, order.name(name.as_bytes())).expect("it is there");
        black_box(tree.record(&order, &place));
    });
}

#[divan::bench(args = SIZES)]
fn hash_set_over(bencher: Bencher<'_, '_>, size: u64) {
    let hasher = hasher();
    let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
    let (mut tree, mut record) = (hash(&order, size), Vec::new());
    bencher.with_inputs(names(size)).bench_local_refs(|name| put(&mut tree, &order, &mut record, name));
}

#[divan::bench(args = SIZES)]
fn hash_set_new(bencher: Bencher<'_, '_>, size: u64) {
    let hasher = hasher();
    let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
    let (mut tree, mut record, mut number) = (hash(&order, size), Vec::new(), size);
    let inputs = || {
        number += 1;
        field(number)
    };
    bencher.with_inputs(inputs).bench_local_refs(|name| put(&mut tree, &order, &mut record, name));
}

#[divan::bench(args = SIZES)]
fn sorted_set_score(bencher: Bencher<'_, '_>, size: u64) {
    let (hasher, set) = (hasher(), sorted_set(size));
    bencher.with_inputs(names(size)).bench_local_refs(|name| set.score(&hasher, name.as_bytes()));
}

#[divan::bench(args = SIZES)]
fn sorted_set_rank(bencher: Bencher<'_, '_>, size: u64) {
    let (hasher, set) = (hasher(), sorted_set(size));
    bencher.with_inputs(names(size)).bench_local_refs(|name| set.rank(&hasher, name.as_bytes()));
}

#[divan::bench(args = SIZES)]
fn sorted_set_change(bencher: Bencher<'_, '_>, size: u64) {
    let (hasher, mut set, mut random) = (hasher(), sorted_set(size), Random::new(3));
    bencher.with_inputs(names(size)).bench_local_refs(|name| {
        set.set(&hasher, &mut NoCapture, name.as_bytes(), random.below(1 << 30) as f64)
    });
}

/// Scores that move a member past few others or none.
#[divan::bench(args = SIZES)]
fn sorted_set_nudge(bencher: Bencher<'_, '_>, size: u64) {
    let (hasher, mut set, mut random) = (hasher(), sorted_set(size), Random::new(3));
    bencher.with_inputs(|| random.below(size)).bench_local_refs(|number| {
        let near = score_of(*number) + 0.001 * 1_000_003.0 / size as f64;
        set.set(&hasher, &mut NoCapture, field(*number).as_bytes(), near)
    });
}

#[divan::bench(args = SIZES)]
fn sorted_set_add(bencher: Bencher<'_, '_>, size: u64) {
    let (hasher, mut set, mut number) = (hasher(), sorted_set(size), size);
    let inputs = || {
        number += 1;
        (field(number), score_of(number))
    };
    bencher
        .with_inputs(inputs)
        .bench_local_refs(|(name, score)| set.set(&hasher, &mut NoCapture, name.as_bytes(), *score));
}

/// Scores in no order.
fn score_of(number: u64) -> f64 {
    (number * 2_654_435_761 % 1_000_003) as f64
}

fn sorted_set(size: u64) -> SortedSet {
    let (hasher, mut set) = (hasher(), SortedSet::new(Limits::SORTED, 0));
    for number in 0..size {
        set.set(&hasher, &mut NoCapture, field(number).as_bytes(), score_of(number));
    }
    set
}

/// A list of elements like those of benchmarks.
fn list(size: u64) -> Tree {
    let (mut tree, record) = (Tree::new(Limits::USUAL, 0), element::record(ELEMENT));
    (0..size).for_each(|_| tree.insert(&ByPosition, &mut NoCapture, &tree.place_at(usize::MAX), &record));
    tree
}

const ELEMENT: &[u8] = b"element:000000001";

#[divan::bench(args = SIZES)]
fn list_push_back(bencher: Bencher<'_, '_>, size: u64) {
    let mut tree = list(size);
    bencher.bench_local(|| {
        tree.insert(&ByPosition, &mut NoCapture, &tree.place_at(usize::MAX), &element::record(ELEMENT))
    });
}

#[divan::bench(args = SIZES)]
fn list_push_front(bencher: Bencher<'_, '_>, size: u64) {
    let mut tree = list(size);
    bencher.bench_local(|| {
        tree.insert(&ByPosition, &mut NoCapture, &tree.place_at(0), &element::record(ELEMENT))
    });
}

/// A pop, and a push at the other end, so that there is always as much.
#[divan::bench(args = SIZES)]
fn list_turn_forward(bencher: Bencher<'_, '_>, size: u64) {
    let mut tree = list(size);
    bencher.bench_local(|| {
        black_box(tree.remove(&ByPosition, &mut NoCapture, &tree.place_at(0), 1));
        tree.insert(&ByPosition, &mut NoCapture, &tree.place_at(usize::MAX), &element::record(ELEMENT));
    });
}

#[divan::bench(args = SIZES)]
fn list_turn_backward(bencher: Bencher<'_, '_>, size: u64) {
    let mut tree = list(size);
    bencher.bench_local(|| {
        black_box(tree.remove(&ByPosition, &mut NoCapture, &tree.place_at(tree.len() - 1), 1));
        tree.insert(&ByPosition, &mut NoCapture, &tree.place_at(0), &element::record(ELEMENT));
    });
}

#[divan::bench(args = SIZES)]
fn list_index(bencher: Bencher<'_, '_>, size: u64) {
    let (tree, mut random) = (list(size), Random::new(5));
    bencher.bench_local(|| {
        let place = tree.place_at(random.below(size) as usize);
        black_box(tree.record(&ByPosition, &place).is_some())
    });
}
