//! What several benches share: a keyspace full of sessions, an order in which to visit them, and requests as bytes. It times
//! nothing itself. All sizes are those of the arena: 100,000 keys, values of 512 bytes.
#![allow(dead_code, reason = "each bench is a program of its own and uses only a part")]

use cloakroom::base::random::Random;
use cloakroom::keyspace::{Entry, Key, KeyHasher, Keyspace, Locked, Partition, Reclaimer, Site};

pub const KEYS: usize = 100_000;
pub const VALUE: [u8; 512] = [b'v'; 512];
/// Half an hour, the usual life of a session.
pub const TTL_MS: i64 = 1_800_000;
/// The time at which a bench begins. Any would do: nothing here reads a clock.
pub const START_MS: i64 = 1_700_000_000_000;

/// A keyspace, and the keys that are in it.
pub struct Store {
    pub keyspace: Keyspace,
    pub keys: Vec<Vec<u8>>,
}

impl Store {
    /// `name` makes the key with a given number.
    pub fn with_keys(count: usize, name: impl Fn(usize) -> String) -> Store {
        let keyspace = Keyspace::new(16, 2, KeyHasher::fixed(7), Reclaimer::inline(), START_MS);
        let keys = (0..count).map(|number| name(number).into_bytes()).collect();
        Store { keyspace, keys }
    }

    /// [`KEYS`] sessions without a deadline.
    pub fn sessions() -> Store {
        let store = Store::with_keys(KEYS, session_key);
        for key in &store.keys {
            store.insert(key);
        }
        store
    }

    /// [`Store::sessions`], each with this deadline.
    pub fn sessions_until(at_ms: i64) -> Store {
        let store = Store::sessions();
        for key in &store.keys {
            store.expire(key, at_ms);
        }
        store
    }

    /// A key that was just added, without a deadline: the next of `cycle`.
    pub fn fresh(&self, cycle: &Cycle) -> &[u8] {
        let key = &self.keys[cycle.next()];
        self.delete(key);
        self.insert(key);
        key
    }

    /// Runs `act` on a key's partition, under the shard's lock, as a command does.
    #[inline]
    pub fn at<T>(
        &self,
        key: &[u8],
        now_ms: i64,
        act: impl FnOnce(&mut Partition, Site<'_>, Key<'_>) -> T,
    ) -> T {
        let key = self.keyspace.key(key);
        let mut locked = Locked::one(&self.keyspace, key.shard);
        let (partition, site) = locked.partition(0, key, now_ms);
        act(partition, site, key)
    }

    /// Adds a key that is not there.
    pub fn insert(&self, key: &[u8]) {
        self.at(key, START_MS, |partition, site, key| {
            partition.insert(site, key.hash, Entry::new(key.bytes, &VALUE));
        });
    }

    /// Removes a key if it is there.
    pub fn delete(&self, key: &[u8]) {
        self.at(key, START_MS, |partition, site, key| {
            if let Some(position) = partition.find(key.hash, key.bytes) {
                drop(partition.remove(site, position));
            }
        });
    }

    /// Gives a key a deadline.
    #[inline]
    pub fn expire(&self, key: &[u8], at_ms: i64) {
        self.at(key, START_MS, |partition, site, key| {
            if let Some(position) = partition.find(key.hash, key.bytes) {
                partition.set_expire_at_ms(site, position, key.hash, Some(at_ms), 0);
            }
        });
    }
}

/// The name of a session, as connect-redis writes it.
pub fn session_key(number: usize) -> String {
    format!("sess:{:032x}", Random::new(number as u64).next_u64())
}

/// The numbers below `count` in a repeatable random order, so that a bench walks through memory as clients do.
pub fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut random = Random::new(1);
    for last in (1..count).rev() {
        order.swap(last, random.below(last as u64 + 1) as usize);
    }
    order
}

/// An endless walk through a list.
pub struct Cycle {
    order: Vec<usize>,
    at: std::cell::Cell<usize>,
}

impl Cycle {
    pub fn over(count: usize) -> Cycle {
        Cycle { order: shuffled(count), at: std::cell::Cell::new(0) }
    }

    #[inline]
    pub fn next(&self) -> usize {
        let at = self.at.get();
        self.at.set(if at + 1 == self.order.len() { 0 } else { at + 1 });
        self.order[at]
    }
}

/// A request as an array of bulk strings.
pub fn encode(args: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}
