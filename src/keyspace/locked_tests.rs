//! Sets of shards, taken at once and one by one, by one thread and by several.

use std::sync::atomic::AtomicU64;

use super::*;
use crate::base::random::Random;
use crate::keyspace::{HashFunction, KeyHasher, Reclaimer};

fn keyspace() -> Keyspace {
    Keyspace::new(1, 1, KeyHasher::random(HashFunction::Ahash), Reclaimer::inline(), 0)
}

fn set(shards: &[usize]) -> ShardSet {
    let mut set = ShardSet::default();
    shards.iter().for_each(|shard| set.add(*shard));
    set
}

#[test]
fn a_set_is_ascending_and_without_doubles() {
    assert_eq!(set(&[700, 3, 3, 64, 63, 1023, 0]).iter().collect::<Vec<_>>(), [0, 3, 63, 64, 700, 1023]);
    let mut all = set(&[5]);
    all.add_all();
    assert!(all.iter().eq(0..SHARDS));
    let mut both = set(&[1, 900]);
    both.add_set(&set(&[1, 2]));
    assert_eq!(both, set(&[1, 2, 900]));
}

#[test]
fn the_turn_gives_any_further_shard_and_without_it_none_is_had() {
    let keyspace = keyspace();
    let mut locked = Locked::many(&keyspace, set(&[5]));
    assert!(!locked.widen(1), "not without the turn");
    assert!(locked.take_turn() && locked.take_turn());
    for shard in [1, 900, 5, 0] {
        assert!(locked.widen(shard) && locked.holds(shard));
        locked.shard(shard);
    }
    assert!(!locked.holds(2));
    let mut other = Locked::many(&keyspace, set(&[7]));
    assert!(!other.take_turn(), "there is one turn");
    drop(locked);
    assert!(other.take_turn());
    assert!(keyspace.try_lock_shard(900).is_some(), "released together");
}

/// What two threads do in turns, done by one: the first waits for a shard of the second, the second then wants one of the first.
#[test]
fn who_waits_for_a_further_shard_lets_go_of_all_when_the_gate_goes_up() {
    let keyspace = keyspace();
    let mut open = Locked::wanted(&keyspace, &Wanted { shards: set(&[9]), turn: true });
    keyspace.widening.up.store(true, Ordering::Release);
    assert!(acquire(&keyspace, &set(&[3, 9])).is_none());
    assert!(open.widen(3), "nobody holds it any more");
    // What is free is had under the gate, too.
    assert_eq!(acquire(&keyspace, &set(&[4, 6])).map(|guards| guards.len()), Some(2));
    drop(open);
    assert!(!keyspace.widening.is_up(), "the gate goes down with the turn");
    assert_eq!(Locked::many(&keyspace, set(&[3, 9])).many.map(|many| many.guards.len()), Some(2));
}

/// Sums that only whole sets of locks keep right, while sets of all sizes are taken at once and one by one in any order.
#[test]
fn sets_that_grow_in_any_order_neither_wait_in_a_circle_nor_overlap() {
    const ROUNDS: u64 = 3000;
    const USED: u64 = 12;
    let keyspace = keyspace();
    // One number for each shard, read and written without any lock but the shard's.
    let numbers: Vec<AtomicU64> = (0..USED).map(|_| AtomicU64::new(0)).collect();
    let add = |shard: usize| {
        let before = numbers[shard].load(Ordering::Relaxed);
        std::hint::spin_loop();
        numbers[shard].store(before + 1, Ordering::Relaxed);
    };
    let (keyspace, add) = (&keyspace, &add);
    let work = move |seed: u64| {
        let mut random = Random::new(seed);
        let mut added = 0;
        for _ in 0..ROUNDS {
            let mut shard = || random.below(USED) as usize;
            let (first, second, third) = (shard(), shard(), shard());
            let mut wanted = Wanted { shards: set(&[first]), turn: false };
            match seed % 3 {
                0 => wanted.shards.add(second),
                1 if third == 0 => wanted.shards.add_all(),
                _ => {}
            }
            let mut locked = Locked::wanted(keyspace, &wanted);
            if seed % 3 == 2 {
                while !locked.take_turn() {
                    drop(locked);
                    wanted.turn = true;
                    locked = Locked::wanted(keyspace, &wanted);
                }
                for further in [second, third] {
                    assert!(locked.widen(further));
                }
            }
            for shard in 0..USED as usize {
                if locked.holds(shard) {
                    add(shard);
                    added += 1;
                }
            }
        }
        added
    };
    let added: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    assert_eq!(numbers.iter().map(|number| number.load(Ordering::Relaxed)).sum::<u64>(), added);
}
