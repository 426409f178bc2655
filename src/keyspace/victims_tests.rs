//! Eviction against what it should keep: hot keys, and as many hits as Redis's algorithm has.

use std::collections::HashMap;

use super::*;
use crate::base::clock::Now;
use crate::base::random::Random;

const START_MS: i64 = 1_790_000_000_000;
const SAMPLES: usize = 5;

/// A keyspace with room for so many keys.
struct Cache {
    keyspace: Keyspace,
    victims: Victims,
    rules: EvictionRules,
    random: Random,
    room: usize,
    keys: usize,
    now_ms: i64,
    /// What went last.
    evicted: Vec<String>,
}

impl Cache {
    fn new(policy: Policy, room: usize, seed: u64) -> Cache {
        Cache {
            keyspace: Keyspace::new(2, 1, KeyHasher::fixed(seed), Reclaimer::inline(), START_MS),
            victims: Victims::default(),
            rules: EvictionRules { policy, samples: SAMPLES, decay_minutes: 1 },
            random: Random::new(seed),
            room,
            keys: 0,
            now_ms: START_MS,
            evicted: Vec::new(),
        }
    }

    /// Uses a key, adding it if it is not there; says whether it was.
    fn touch(&mut self, name: &str, expire_at_ms: Option<i64>) -> bool {
        let key = self.keyspace.key(name.as_bytes());
        let site = Site { keyspace: &self.keyspace, database: 1, shard: key.shard, now_ms: self.now_ms };
        let access = AccessRules { lfu: false, log_factor: 10, decay_minutes: 1 }.fresh(self.now_ms);
        let mut shard = self.keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(1);
        if let Some(position) = partition.find(key.hash, key.bytes) {
            partition.notes(position).set_access(access);
            return true;
        }
        let position = partition.insert(site, key.hash, Entry::new(key.bytes, b"v").with_access(access));
        partition.set_expire_at_ms(site, position, key.hash, expire_at_ms, 0);
        drop(shard);
        self.keys += 1;
        while self.keys > self.room {
            assert!(self.evict());
        }
        false
    }

    fn evict(&mut self) -> bool {
        let now = Now::at_ms(self.now_ms);
        let evicted = &mut self.evicted;
        let any =
            self.victims.evict_one(&self.keyspace, self.rules, now, &mut self.random, |database, entry| {
                assert_eq!(database, 1);
                evicted.push(String::from_utf8_lossy(entry.view().key()).into_owned());
            });
        self.keys -= usize::from(any);
        any
    }
}

/// Redis's approximated LRU: a few random keys each time, a pool of the 16 that were idle for longest, and the best of that which is still there goes.
struct Redis {
    /// Keys with the seconds of their last use.
    keys: Vec<(u64, i64)>,
    places: HashMap<u64, usize>,
    pool: Vec<(i64, u64)>,
    random: Random,
    room: usize,
}

impl Redis {
    fn touch(&mut self, key: u64, second: i64) -> bool {
        if let Some(place) = self.places.get(&key) {
            self.keys[*place].1 = second;
            return true;
        }
        self.places.insert(key, self.keys.len());
        self.keys.push((key, second));
        while self.keys.len() > self.room {
            self.evict(second);
        }
        false
    }

    fn evict(&mut self, second: i64) {
        for _ in 0..SAMPLES {
            let (key, used) = self.keys[self.random.below(self.keys.len() as u64) as usize];
            let idle = second - used;
            if self.pool.iter().any(|(_, known)| *known == key) {
                continue;
            }
            let place = self.pool.partition_point(|(known, _)| *known < idle);
            if self.pool.len() < 16 {
                self.pool.insert(place, (idle, key));
            } else if place > 0 {
                self.pool.insert(place, (idle, key));
                self.pool.remove(0);
            }
        }
        while let Some((_, key)) = self.pool.pop() {
            if let Some(place) = self.places.remove(&key) {
                self.keys.swap_remove(place);
                if let Some((moved, _)) = self.keys.get(place) {
                    self.places.insert(*moved, place);
                }
                return;
            }
        }
    }
}

/// Hits of a workload by Zipf's law over four times what fits, here and with Redis's algorithm.
fn hits(seed: u64) -> (usize, usize) {
    const KEYS: u64 = 2400;
    const ROOM: usize = 600;
    const REQUESTS: i64 = 40_000;
    let mut cache = Cache::new(Policy::AllKeysLru, ROOM, seed);
    let (keys, places, pool) = (Vec::new(), HashMap::new(), Vec::new());
    let mut redis = Redis { keys, places, pool, random: Random::new(seed), room: ROOM };
    let mut chances: Vec<u64> = Vec::new();
    for rank in 1..=KEYS {
        chances.push(chances.last().unwrap_or(&0) + (1 << 32) / rank);
    }
    let mut workload = Random::new(seed + 1000);
    let (mut here, mut there) = (0, 0);
    for request in 0..REQUESTS {
        let chance = workload.below(chances[chances.len() - 1]);
        let key = chances.partition_point(|below| *below <= chance) as u64;
        // 60 requests a second: what is not used goes within a quarter of a minute.
        cache.now_ms = START_MS + request * 1000 / 60;
        here += usize::from(cache.touch(&format!("key:{key}"), None));
        there += usize::from(redis.touch(key, cache.now_ms / 1000));
    }
    (here, there)
}

#[test]
fn a_skewed_workload_hits_as_often_as_with_the_algorithm_of_redis() {
    let counts: Vec<(usize, usize)> = (0..4).map(hits).collect();
    let sum = counts.iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    assert!(sum.0 * 200 >= sum.1 * 199, "here and there: {counts:?}");
}

#[test]
fn keys_that_are_used_all_the_time_stay_though_others_stream_through() {
    let mut cache = Cache::new(Policy::AllKeysLru, 2000, 3);
    for second in 0..60 {
        cache.now_ms = START_MS + second * 1000;
        for number in 0..1000 {
            cache.touch(&format!("hot:{number}"), None);
        }
        for number in 0..100 {
            cache.touch(&format!("cold:{second}:{number}"), None);
        }
    }
    assert!(cache.evicted.len() > 4000);
    let hot: Vec<_> = cache.evicted.iter().filter(|name| name.starts_with("hot")).collect();
    assert!(hot.is_empty(), "{hot:?}");
}

#[test]
fn many_keys_of_one_tag_are_not_spared_because_they_lie_in_one_shard() {
    let mut cache = Cache::new(Policy::AllKeysLru, 30_000, 4);
    for number in 0..20_000 {
        cache.touch(&format!("{{tag}}:{number}"), None);
    }
    cache.now_ms += 100_000;
    for number in 0..2000 {
        cache.touch(&format!("hot:{number}"), None);
    }
    (0..10_000).for_each(|_| assert!(cache.evict()));
    let hot = cache.evicted.iter().filter(|name| name.starts_with("hot")).count();
    assert_eq!(hot, 0);
}

#[test]
fn the_few_keys_with_a_deadline_are_found_among_many_without() {
    for policy in [Policy::VolatileLru, Policy::VolatileLfu, Policy::VolatileTtl, Policy::VolatileRandom] {
        let mut cache = Cache::new(policy, 40_000, 5);
        for number in 0..20_000 {
            cache.touch(&format!("{{tag}}:{number}"), None);
        }
        for number in 0..30 {
            let name = [format!("{{tag}}:v{number}"), format!("volatile:{number}")][number % 2].clone();
            cache.touch(&name, Some(START_MS + 3_600_000 + number as i64 * 1000));
        }
        (0..30).for_each(|_| assert!(cache.evict(), "{policy:?}: {:?}", cache.evicted.len()));
        assert!(!cache.evict(), "nothing else may go");
        assert!(cache.evicted.iter().all(|name| name.contains('v')), "{:?}", cache.evicted);
    }
}

#[test]
fn a_candidate_that_was_used_since_it_was_found_does_not_go() {
    let mut cache = Cache::new(Policy::AllKeysLru, 100, 6);
    cache.rules.samples = 1000;
    for number in 0..12 {
        cache.now_ms += 1000;
        cache.touch(&format!("key:{number}"), None);
    }
    for number in [0, 2, 4, 6, 8, 10] {
        // The pool knows all of them.
        cache.now_ms += 1000;
        assert!(cache.evict());
        cache.touch(&format!("key:{}", number + 1), None);
    }
    assert_eq!(cache.evicted, ["key:0", "key:2", "key:4", "key:6", "key:8", "key:10"]);
}
