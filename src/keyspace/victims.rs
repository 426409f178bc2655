//! The search for a key to evict: samples from all shards, and a pool of the best that were found, as Redis has it.
//!
//! Each eviction adds some samples to the pool and takes its best. So what one eviction has found and not needed, the next ones know, and the victims
//! are far better than the best of each few samples. A candidate may have been used, changed or removed since it was found; it is looked at again
//! before it goes. One shard is locked at a time, and for a bounded look.

use smallvec::SmallVec;

use super::eviction::{Policy, score};
use super::table::Position;
use super::weights::ShardWeights;
use super::{Keyspace, Partition, Removed, SHARDS, Shard, ShardGuard, Site};
use crate::base::clock::Now;
use crate::base::random::Random;

/// Candidates that are remembered.
const POOL: usize = 16;
/// Of a shard with few keys not all samples are taken, or an eviction would choose among the same few again and again: one for each so many keys.
const KEYS_A_SAMPLE: usize = 16;
/// Slots of one shard that a search for candidates looks at, so that a shard is never locked for long.
const SLOTS_MAX: usize = 256;
/// Keys that a search passes over at most, before it takes one.
const KEYS_PASSED: usize = 16;
/// Where fewer than one key in so many has a deadline, those that have one are looked for in the wheel.
const SPARSE: usize = 16;
/// Records of a wheel that are looked at, and how many are passed over first, so that it is not always the newest.
const RECORDS: usize = 64;
const RECORDS_PASSED: usize = 512;
/// How often the pool is filled in search of one candidate that is still what it was.
const ROUNDS: usize = 4;
/// Keys of a shard that a last search passes under one lock.
const BITE_KEYS: usize = 256;

/// What `maxmemory-policy` and its companions ask for.
#[derive(Clone, Copy, Debug)]
pub struct EvictionRules {
    pub policy: Policy,
    /// `maxmemory-samples`.
    pub samples: usize,
    /// `lfu-decay-time`.
    pub decay_minutes: u32,
}

/// A key that may go: where it was, and how willingly the policy gave it up.
#[derive(Clone, Copy)]
struct Candidate {
    score: u64,
    database: usize,
    shard: usize,
    /// The upper half of its hash.
    prefix: u32,
    /// Of its block.
    address: usize,
}

/// What an event loop remembers from eviction to eviction.
#[derive(Default)]
pub struct Victims {
    policy: Option<Policy>,
    /// Keys of each shard that the policy may evict.
    weights: ShardWeights,
    /// In ascending order of scores.
    pool: Vec<Candidate>,
}

/// One eviction: what it works on.
struct Search<'s> {
    keyspace: &'s Keyspace,
    rules: EvictionRules,
    now: Now,
    random: &'s mut Random,
    /// It waits for shards, however long others hold them.
    patient: bool,
}

impl Victims {
    /// Evicts one key. It is given to `evicted` with its database while its shard is locked. Says whether there was one.
    pub fn evict_one(
        &mut self,
        keyspace: &Keyspace,
        rules: EvictionRules,
        now: Now,
        random: &mut Random,
        mut evicted: impl FnMut(usize, Removed<'_>),
    ) -> bool {
        if rules.policy == Policy::NoEviction {
            return false;
        }
        if self.policy != Some(rules.policy) {
            *self = Victims { policy: Some(rules.policy), ..Victims::default() };
        }
        let mut search = Search { keyspace, rules, now, random, patient: false };
        self.weights.look(|shard| Some(search.weigh(&*search.lock(shard)?)));
        for _ in 0..ROUNDS {
            self.fill(&mut search);
            while let Some(candidate) = self.pool.pop() {
                if search.evict(candidate, &mut evicted) {
                    return true;
                }
            }
        }
        search.patient = true;
        self.weights.look_at_all(|shard| search.weigh_shard(shard));
        self.evict_any(&mut search, &mut evicted)
    }

    /// Adds samples to the pool.
    fn fill(&mut self, search: &mut Search<'_>) {
        let mut wanted = if search.rules.policy.is_random() { 1 } else { search.rules.samples.max(1) };
        while wanted > 0 {
            let Some(shard) = self.weights.draw(search.random) else { return };
            let Some(held) = search.lock(shard) else {
                wanted -= 1;
                continue;
            };
            let weight = search.weigh(&held);
            self.weights.note(shard, weight);
            let count = (weight / KEYS_A_SAMPLE).clamp(1, wanted);
            wanted -= count;
            if weight > 0 {
                search.sample(&held, shard, weight, count, &mut |candidate| offer(&mut self.pool, candidate));
            }
        }
    }

    /// Evicts some key, whichever: samples have found none, which happens where nearly all were deleted or lost their deadlines just now.
    fn evict_any(&self, search: &mut Search<'_>, evicted: &mut impl FnMut(usize, Removed<'_>)) -> bool {
        let Some(first) = self.weights.draw(search.random) else { return false };
        for shard in (first..SHARDS).chain(0..first) {
            let used =
                search.keyspace.lock_shard(shard).used().map(|(database, _)| database).collect::<Vec<_>>();
            for database in used {
                let mut next = Some(0);
                while let Some(from) = next {
                    let candidate;
                    (candidate, next) = search.any_from(shard, database, from);
                    if candidate.is_some_and(|candidate| search.evict(candidate, evicted)) {
                        return true;
                    }
                }
            }
        }
        false
    }
}

impl<'k> Search<'k> {
    /// A shard that is to be had. Others have keys, too, while a long request holds it; only the last search waits for each.
    fn lock(&self, shard: usize) -> Option<ShardGuard<'k>> {
        if self.patient {
            Some(self.keyspace.lock_shard(shard))
        } else {
            self.keyspace.lock_shard_soon(shard)
        }
    }

    fn is_wanted(&self, partition: &Partition, position: Position) -> bool {
        !self.rules.policy.only_volatile() || partition.entry(position).expire_at_ms().is_some()
    }

    /// How many keys of a partition may be evicted.
    fn weigh_partition(&self, partition: &Partition) -> usize {
        if self.rules.policy.only_volatile() { partition.volatile() } else { partition.len() }
    }

    fn weigh(&self, shard: &Shard) -> usize {
        shard.used().map(|(_, partition)| self.weigh_partition(partition)).sum()
    }

    fn weigh_shard(&self, shard: usize) -> usize {
        self.weigh(&self.keyspace.lock_shard(shard))
    }

    fn score(&self, partition: &Partition, position: Position) -> u64 {
        score(self.rules.policy, partition.entry(position), self.now, self.rules.decay_minutes)
    }

    fn candidate(
        &self,
        shard: usize,
        database: usize,
        partition: &Partition,
        position: Position,
    ) -> Candidate {
        let entry = partition.entry(position);
        Candidate {
            score: self.score(partition, position),
            database,
            shard,
            prefix: (self.keyspace.key(entry.key()).hash >> 32) as u32,
            address: entry.address(),
        }
    }

    /// Finds candidates in one of a shard's databases, drawn in proportion to what it holds.
    fn sample(
        &mut self,
        held: &Shard,
        shard: usize,
        weight: usize,
        count: usize,
        found: &mut impl FnMut(Candidate),
    ) {
        let mut place = self.random.below(weight as u64) as usize;
        for (database, partition) in held.used() {
            let here = self.weigh_partition(partition);
            if place >= here {
                place -= here;
                continue;
            }
            for position in self.positions(partition, count) {
                found(self.candidate(shard, database, partition, position));
            }
            return;
        }
    }

    fn positions(&mut self, partition: &Partition, count: usize) -> SmallVec<[Position; POOL]> {
        let mut positions = SmallVec::new();
        if partition.len() <= self.weigh_partition(partition) * SPARSE {
            let from = self.random.below(partition.table().slots().max(1) as u64) as usize;
            let near = partition.table().sample(from, usize::MAX, SLOTS_MAX);
            // The first key behind a slot is mostly one with a gap before it: without this, its neighbours would grow old unseen.
            let keys = self.weigh_partition(partition).clamp(1, KEYS_PASSED);
            let passed = self.random.below(keys as u64) as usize;
            let wanted = near.filter(|position| self.is_wanted(partition, *position));
            positions.extend(wanted.skip(passed).take(count));
        }
        if positions.is_empty() && self.rules.policy.only_volatile() {
            let (from, passed) = (self.random.next_u64() as usize, self.random.below(RECORDS_PASSED as u64));
            let filed = partition.filed(from, passed as usize).take(RECORDS).flatten();
            positions.extend(filed.filter(|position| self.is_wanted(partition, *position)).take(count));
        }
        positions
    }

    /// Evicts a candidate, if it is still there and no less willingly given up than when it was found.
    fn evict(&mut self, candidate: Candidate, evicted: &mut impl FnMut(usize, Removed<'_>)) -> bool {
        let Candidate { score, database, shard, prefix, address } = candidate;
        let Some(mut held) = self.lock(shard) else { return false };
        let (partition, watched) = held.split(database);
        let found = partition.table().find_by_prefix(prefix, |entry| entry.address() == address);
        let still = |position: &Position| {
            self.is_wanted(partition, *position) && self.score(partition, *position) >= score
        };
        let Some(position) = found.filter(still) else { return false };
        let site = Site { keyspace: self.keyspace, database, shard, now_ms: self.now.wall_ms() };
        let entry = partition.remove(site, position);
        watched.touch(database, entry.view().key());
        evicted(database, entry);
        true
    }

    /// The first candidate of a partition from a place in its table on, within one bite; and where to go on, unless that was all.
    fn any_from(&self, shard: usize, database: usize, from: u64) -> (Option<Candidate>, Option<u64>) {
        let held = self.keyspace.lock_shard(shard);
        let partition = held.partition(database);
        if self.weigh_partition(partition) == 0 {
            return (None, None);
        }
        let mut found = Vec::new();
        let next = partition.table().gather(from, BITE_KEYS, BITE_KEYS * 16, &mut found);
        let first = found.into_iter().find(|position| self.is_wanted(partition, *position));
        (first.map(|position| self.candidate(shard, database, partition, position)), next)
    }
}

/// Puts a candidate into the pool, if it is better than the worst or there is room.
fn offer(pool: &mut Vec<Candidate>, candidate: Candidate) {
    // One that is found again has perhaps been used meanwhile.
    pool.retain(|known| known.address != candidate.address);
    let place = pool.partition_point(|known| known.score <= candidate.score);
    if pool.len() < POOL {
        pool.insert(place, candidate);
    } else if place > 0 {
        pool.insert(place, candidate);
        pool.remove(0);
    }
}
