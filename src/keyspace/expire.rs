//! Active expiry: handling what the wheels of one shard find due.

use super::partition::Due;
use super::values::{self, Taken};
use super::{Keyspace, Removed, Site};

/// Wheel records that are handled under one lock: at most about 100 us' work, even if each is of a key that has expired.
const LOCKED_RECORDS: usize = 128;
/// Records that a sweep looks at under one lock.
const SWEPT_RECORDS: usize = 256;

/// How far [`expire_shard`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Nothing more is due.
    Done,
    /// The budget ran out; more may be due.
    OutOfBudget,
    /// Somebody holds the shard for long, and it stays as it is.
    Held,
}

/// What has expired.
pub enum Expired<'e, 'k> {
    /// A key.
    Key(Removed<'k>),
    /// Fields of a hash; `gone` is the key, if they were its last.
    Elements {
        key: &'e [u8],
        taken: &'e Taken,
        /// No element is left whose time had come by then, in Unix milliseconds.
        at_ms: i64,
        gone: Option<Removed<'k>>,
    },
}

/// Lets the wheels of one shard catch up with `now_ms`, spending at most `budget` record visits, and releases the shard's lock now and then. Each
/// expired entry or element is removed and given to `expired` with its database while the shard is locked: `expired` must be short and may not lock
/// another shard.
pub fn expire_shard(
    keyspace: &Keyspace,
    shard: usize,
    now_ms: i64,
    budget: &mut usize,
    mut expired: impl FnMut(usize, Expired<'_, '_>),
) -> Expiry {
    loop {
        let allowed = LOCKED_RECORDS.min(*budget);
        let mut left = allowed;
        if !expire_some(keyspace, shard, now_ms, &mut left, &mut expired) {
            return Expiry::Held;
        }
        *budget -= allowed - left;
        if *budget == 0 {
            return Expiry::OutOfBudget;
        }
        if left > 0 {
            return Expiry::Done;
        }
        keyspace.let_others(shard);
    }
}

/// One bite of [`expire_shard`]; false if the shard could not be had.
fn expire_some(
    keyspace: &Keyspace,
    shard: usize,
    now_ms: i64,
    budget: &mut usize,
    expired: &mut impl FnMut(usize, Expired<'_, '_>),
) -> bool {
    let Some(mut guard) = keyspace.lock_shard_soon(shard) else { return false };
    keyspace.clear_due(shard);
    let mut to_sweep = SWEPT_RECORDS;
    let mut next = guard.used_from(0);
    while let Some(database) = next {
        next = guard.used_from(database + 1);
        let site = Site { keyspace, database, shard, now_ms };
        let (partition, watched) = guard.split(database);
        if partition.records() == 0 {
            continue;
        }
        loop {
            match partition.next_due(site, budget) {
                Due::Nothing => break,
                Due::Handled => {}
                Due::Elements(position) => {
                    let key = partition.entry(position).key().to_vec();
                    let taken = values::take_due(partition, site, position, budget);
                    // It may be that a deadline was taken for that of a field that has a later one by now.
                    if taken.count() == 0 {
                        continue;
                    }
                    watched.touch(database, &key);
                    let is_empty = values::Form::of(partition.entry(position)).is_empty();
                    let gone = is_empty.then(|| partition.remove(site, position));
                    expired(database, Expired::Elements { key: &key, taken: &taken, at_ms: now_ms, gone });
                }
                Due::Expired(position) => {
                    let entry = partition.remove(site, position);
                    watched.touch(database, entry.view().key());
                    expired(database, Expired::Key(entry));
                }
            }
        }
        partition.sweep_stale_records(&mut to_sweep);
        if let Some(tick) = partition.next_tick() {
            keyspace.note_due(shard, tick);
        }
    }
    true
}

/// Where an event loop's next round of expiry and its next sweep begin, counted in its own shards.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExpiryTurn {
    pub round: usize,
    pub sweep: usize,
}

/// Drops some stale records of the wheels of a shard that have too many, and gives the memory of databases back that have nothing there
/// any more. A round does the former, too, but only where something is due. False if somebody holds the shard for long.
pub fn sweep_shard(keyspace: &Keyspace, shard: usize, now_ms: i64) -> bool {
    let Some(mut guard) = keyspace.lock_shard_soon(shard) else { return false };
    let mut to_sweep = SWEPT_RECORDS;
    let mut next = guard.used_from(0);
    while let Some(database) = next {
        let partition = guard.partition_mut(database);
        partition.sweep_stale_records(&mut to_sweep);
        partition.give_back_if_empty(Site { keyspace, database, shard, now_ms });
        next = guard.used_from(database + 1);
    }
    guard.forget_unused();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Now;
    use crate::keyspace::{Entry, KeyHasher, Reclaimer, TICK_MS};

    #[test]
    fn a_wheel_that_waits_for_a_far_deadline_is_not_behind() {
        let start_ms = 1_790_000_000_000;
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(7), Reclaimer::inline(), start_ms);
        let key = keyspace.key(b"sess:1");
        let at = |now_ms| Site { keyspace: &keyspace, database: 0, shard: key.shard, now_ms };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(0);
        let position = partition.insert(at(start_ms), key.hash, Entry::new(key.bytes, b"v"));
        partition.set_expire_at_ms(at(start_ms), position, key.hash, Some(start_ms + 500), 0);
        keyspace.follow(Now::at_ms(start_ms + 5_000));
        assert_eq!(partition.lag_ms(at(start_ms + 400)), 0);
        assert!(partition.lag_ms(at(start_ms + 5_000)) >= 4_000, "nobody looked since it came due");
        drop(shard);
        let (mut budget, mut expired) = (10, 0);
        let came = expire_shard(&keyspace, key.shard, start_ms + 5_000, &mut budget, |_, _| expired += 1);
        assert_eq!((came, expired), (Expiry::Done, 1));
        assert!(!keyspace.has_due(key.shard, start_ms + 5_000 + TICK_MS));
    }

    #[test]
    fn expiry_does_not_wait_for_a_shard_that_a_long_request_holds() {
        let start_ms = 1_790_000_000_000;
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(7), Reclaimer::inline(), start_ms);
        let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: start_ms };
        let key = keyspace.key(b"sess:1");
        let mut entry = Entry::new(key.bytes, b"v");
        entry.view_mut().set_expire_at_ms(Some(start_ms + 20), 0);
        let mut held = keyspace.lock_shard(0);
        held.partition_mut(0).insert(site, key.hash, entry);
        let now_ms = start_ms + 100;
        keyspace.follow(Now::at_ms(now_ms));
        let (mut budget, mut expired) = (10, 0);
        assert_eq!(expire_shard(&keyspace, 0, now_ms, &mut budget, |_, _| expired += 1), Expiry::Held);
        assert!(!sweep_shard(&keyspace, 0, now_ms));
        assert!(expired == 0 && keyspace.has_due(0, now_ms), "it is left for the next round");
        drop(held);
        assert_eq!(expire_shard(&keyspace, 0, now_ms, &mut budget, |_, _| expired += 1), Expiry::Done);
        assert!(sweep_shard(&keyspace, 0, now_ms));
        assert_eq!(expired, 1);
    }

    #[test]
    fn all_keys_of_one_deadline_expire_while_their_table_shrinks() {
        let start_ms = 1_790_000_000_000;
        for seed in 0..50 {
            let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(seed), Reclaimer::inline(), start_ms);
            let site = Site { keyspace: &keyspace, database: 0, shard: 0, now_ms: start_ms };
            for number in 0..500 {
                let name = format!("sess:{number}");
                let key = keyspace.key(name.as_bytes());
                let mut entry = Entry::new(key.bytes, b"v");
                entry.view_mut().set_expire_at_ms(Some(start_ms + 20), 0);
                keyspace.lock_shard(0).partition_mut(0).insert(site, key.hash, entry);
            }
            keyspace.follow(Now::at_ms(start_ms + 100));
            let (mut budget, mut expired) = (usize::MAX, 0);
            expire_shard(&keyspace, 0, start_ms + 100, &mut budget, |_, _| expired += 1);
            assert_eq!(expired, 500, "seed {seed}");
        }
    }
}
