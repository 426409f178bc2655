//! A set of locked shards: deduplicated, taken in ascending order, released together.
//!
//! Most requests name all their keys, so all their shards are locked before they run. One that finds a further key while it runs, and has
//! changed nothing yet, asks for its shard ([`Locked::want`]); whoever runs it lets go of everything and runs it again with the wider
//! set. One that has changed something cannot be undone. So before its first change such a request takes the *turn* ([`Locked::take_turn`]), of
//! which there is one in the keyspace, and with it may lock any further shard at any time ([`Locked::widen`]).
//!
//! # Why nobody waits in a circle
//! In a circle each waits, holding shards, for a shard that the next one holds. Who waits while it holds shards is either
//! 1. taking its first set, in ascending order, and waits for a shard above all that it holds; or
//! 2. the one that has the turn, and waits for any shard.
//!
//! Those of the first kind alone form no circle, because the shards ascend all the way round. So the second is in it, and has raised the gate
//! before it began to wait. Under the gate the first kind does not wait: it wakes from its nap, finds the shard still locked, lets go of all
//! that it holds ([`acquire`] gives `None`), and then waits, with nothing in its hands, for the turn. So the circle does not last. With the turn it
//! takes its set as before; nobody can raise the gate meanwhile, so it gets it.
//!
//! The turn itself is waited for only by who holds nothing; who holds shards takes it if it is free, or lets go and runs again. A request that
//! runs and does not wait comes to its end. Visitors, expiry and eviction hold one shard and never wait for a second.

use std::sync::atomic::{AtomicBool, Ordering};

use smallvec::SmallVec;

use super::{EntryRef, Key, Keyspace, NO_DATABASE, Partition, SHARDS, Shard, ShardGuard, Site};
use crate::base::lock::{Mutex, MutexGuard};
use crate::base::waiting::may_wait;

const WORDS: usize = SHARDS / 64;

/// The shards that a request needs, before they are locked.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ShardSet([u64; WORDS]);

impl ShardSet {
    pub fn add(&mut self, shard: usize) {
        self.0[shard / 64] |= 1 << (shard % 64);
    }

    /// Every shard: for commands inside a transaction that walk the whole keyspace.
    pub fn add_all(&mut self) {
        self.0 = [u64::MAX; WORDS];
    }

    pub fn add_set(&mut self, other: &ShardSet) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    /// The shards, ascending.
    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(index * 64 + bit)
            })
        })
    }
}

/// What a request must hold when it runs again.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub shards: ShardSet,
    /// The turn to change things before all its keys are known.
    pub turn: bool,
}

impl Wanted {
    pub fn add(&mut self, more: &Wanted) {
        self.shards.add_set(&more.shards);
        self.turn |= more.turn;
    }
}

/// Who may lock further shards behind its first change. See the module's text.
#[derive(Default)]
pub struct Widening {
    turn: Mutex<()>,
    /// The gate: the one who has the turn waits for a shard, or did so before.
    up: AtomicBool,
}

/// The turn; ends, and lowers the gate, when it is dropped.
struct Turn<'k> {
    widening: &'k Widening,
    _turn: MutexGuard<'k, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.widening.up.store(false, Ordering::Release);
    }
}

impl Widening {
    /// Waits for the turn. The caller holds no shard.
    fn wait_for_turn(&self) -> Turn<'_> {
        may_wait();
        Turn { widening: self, _turn: self.turn.lock() }
    }

    fn try_turn(&self) -> Option<Turn<'_>> {
        Some(Turn { widening: self, _turn: self.turn.try_lock()? })
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }
}

/// Shards with their locks; those of a few keys without an allocation of their own.
type Guards<'k> = SmallVec<[(usize, ShardGuard<'k>); 4]>;

/// Locks of a set; the guards go before the turn.
#[derive(Default)]
struct Many<'k> {
    /// Ascending.
    guards: Guards<'k>,
    turn: Option<Turn<'k>>,
    wanted: Option<Box<Wanted>>,
    /// An empty shard in the place of those that were asked for but are not held. Nobody else sees it, and it goes with the request.
    stray: Option<Box<Shard>>,
}

/// The locks a request holds.
pub struct Locked<'k> {
    keyspace: &'k Keyspace,
    /// The only shard of most requests; kept apart from the list because every access comes through here.
    one: Option<(usize, ShardGuard<'k>)>,
    /// In a box, so that these locks are few words, and dropping them costs a comparison where there is only one.
    many: Option<Box<Many<'k>>>,
}

/// Locks a set of shards, or nothing of it, if the gate is up and one of them is not free. The caller holds none.
fn acquire<'k>(keyspace: &'k Keyspace, set: &ShardSet) -> Option<Guards<'k>> {
    let mut guards = Guards::new();
    for shard in set.iter() {
        let guard = if guards.is_empty() {
            keyspace.lock_shard(shard)
        } else {
            keyspace.lock_shard_unless(shard, || keyspace.widening.is_up())?
        };
        guards.push((shard, guard));
    }
    Some(guards)
}

impl<'k> Locked<'k> {
    /// Holds nothing: for commands that touch no key, or go through the keyspace shard by shard.
    #[inline]
    pub fn none(keyspace: &'k Keyspace) -> Locked<'k> {
        Locked { keyspace, one: None, many: None }
    }

    /// Holds one shard.
    #[inline]
    pub fn one(keyspace: &'k Keyspace, shard: usize) -> Locked<'k> {
        Locked { keyspace, one: Some((shard, keyspace.lock_shard(shard))), many: None }
    }

    /// Holds a set of shards.
    pub fn many(keyspace: &'k Keyspace, set: ShardSet) -> Locked<'k> {
        Locked::wanted(keyspace, &Wanted { shards: set, turn: false })
    }

    /// Holds what a request that ran has asked for.
    pub fn wanted(keyspace: &'k Keyspace, wanted: &Wanted) -> Locked<'k> {
        if wanted.turn {
            let turn = keyspace.widening.wait_for_turn();
            let guards = acquire(keyspace, &wanted.shards).expect("the gate is down while its turn is ours");
            let many = Many { guards, turn: Some(turn), ..Many::default() };
            return Locked { keyspace, one: None, many: Some(Box::new(many)) };
        }
        let guards = acquire(keyspace, &wanted.shards).unwrap_or_else(|| {
            let _turn = keyspace.widening.wait_for_turn();
            acquire(keyspace, &wanted.shards).expect("the gate is down while its turn is ours")
        });
        Locked { keyspace, one: None, many: Some(Box::new(Many { guards, ..Many::default() })) }
    }

    /// Whether this shard is held.
    pub fn holds(&self, shard: usize) -> bool {
        let one = self.one.as_ref().is_some_and(|(held, _)| *held == shard);
        one || self.many.as_ref().is_some_and(|many| many.place(shard).is_ok())
    }

    /// Takes the turn, so that further shards can be had from here on; false if it is not free.
    pub fn take_turn(&mut self) -> bool {
        let many = self.many.get_or_insert_default();
        if many.turn.is_none() {
            many.turn = self.keyspace.widening.try_turn();
        }
        many.turn.is_some()
    }

    /// Holds this shard too, if the turn is ours.
    pub fn widen(&mut self, shard: usize) -> bool {
        let Some(many) = self.many.as_mut().filter(|many| many.turn.is_some()) else { return false };
        if let Err(place) = many.place(shard) {
            let guard = self.keyspace.try_lock_shard(shard).unwrap_or_else(|| {
                self.keyspace.widening.up.store(true, Ordering::Release);
                self.keyspace.lock_shard(shard)
            });
            many.guards.insert(place, (shard, guard));
        }
        true
    }

    /// Notes what the request must hold when it runs again.
    pub fn want(&mut self, note: impl FnOnce(&mut Wanted)) {
        note(self.many.get_or_insert_default().wanted.get_or_insert_default());
    }

    /// What was noted.
    pub fn take_wanted(&mut self) -> Option<Wanted> {
        self.many.as_mut()?.wanted.take().map(|wanted| *wanted)
    }

    pub fn wants_more(&self) -> bool {
        self.many.as_ref().is_some_and(|many| many.wanted.is_some())
    }

    pub fn keyspace(&self) -> &'k Keyspace {
        self.keyspace
    }

    /// Whether no shard is held.
    pub fn is_empty(&self) -> bool {
        self.one.is_none() && self.many.as_ref().is_none_or(|many| many.guards.is_empty())
    }

    /// The held shard with this index. Whoever has a key of a request has it from `Cx::key` or `Cx::further`, and those fail where its
    /// shard is not held. Who asks for one all the same, which is a defect, gets an empty shard of no use, and
    /// [`Locked::take_stray`] tells.
    #[inline]
    pub fn shard(&mut self, shard: usize) -> &mut Shard {
        self.held_or_stray(shard).0
    }

    /// A shard, and whether it is the one that was asked for.
    #[inline(always)]
    fn held_or_stray(&mut self, shard: usize) -> (&mut Shard, bool) {
        match &mut self.one {
            Some((held, guard)) if *held == shard => (guard, true),
            _ => Locked::of_many(&mut self.many, shard),
        }
    }

    /// [`Locked::held_or_stray`] among several, apart from it, so that it is short enough to be a part of its callers.
    #[inline(never)]
    fn of_many<'a>(many: &'a mut Option<Box<Many<'k>>>, shard: usize) -> (&'a mut Shard, bool) {
        let many = many.get_or_insert_default();
        match many.guards.binary_search_by_key(&shard, |(held, _)| *held) {
            Ok(index) => (&mut many.guards[index].1, true),
            Err(_) => (many.stray.get_or_insert_default(), false),
        }
    }

    /// Whether a shard was asked for that is not held. What was done there goes.
    #[inline]
    pub fn take_stray(&mut self) -> bool {
        self.many.as_mut().is_some_and(|many| many.stray.take().is_some())
    }

    /// The partition of a key, and the site to change it at.
    #[inline]
    pub fn partition(&mut self, database: usize, key: Key<'_>, now_ms: i64) -> (&mut Partition, Site<'k>) {
        let keyspace = self.keyspace;
        let (shard, is_held) = self.held_or_stray(key.shard);
        let site_database = if is_held { database } else { NO_DATABASE };
        let site = Site { keyspace, database: site_database, shard: key.shard, now_ms };
        (shard.partition_mut(database), site)
    }

    /// The entry of a key whose deadline has not passed at `expired_ms`, to be read together with others.
    pub fn look(&self, database: usize, key: Key<'_>, expired_ms: i64) -> Option<EntryRef<'_>> {
        let one = self.one.as_ref().filter(|(held, _)| *held == key.shard).map(|(_, guard)| guard);
        let of_many = || {
            let many = self.many.as_ref()?;
            Some(&many.guards[many.place(key.shard).ok()?].1)
        };
        let partition = one.or_else(of_many)?.partition(database);
        let entry = partition.entry(partition.find(key.hash, key.bytes)?);
        (!entry.is_expired(expired_ms)).then_some(entry)
    }

    /// Takes everything out of some databases, and marks those of its keys that somebody watches as changed. Every shard must be held.
    pub fn take_databases(
        &mut self,
        databases: std::ops::Range<usize>,
        now_ms: i64,
    ) -> Vec<(Site<'k>, Box<Partition>)> {
        let keyspace = self.keyspace;
        let mut removed = Vec::new();
        for shard in 0..SHARDS {
            let held = self.shard(shard);
            let mut watched = std::mem::take(&mut held.watched);
            watched.touch_all(|database, key| {
                let hash = keyspace.key(key).hash;
                databases.contains(&database) && held.partition(database).find(hash, key).is_some()
            });
            held.watched = watched;
            held.take(&databases, &mut |database, partition| {
                keyspace.prefetcher().withdraw(database, shard);
                removed.push((Site { keyspace, database, shard, now_ms }, partition));
            });
        }
        let words = |(_, partition): &(Site<'_>, Box<Partition>)| partition.table().shared_words();
        let known = removed.iter().filter(|(site, _)| keyspace.prefetcher().knows(site.database));
        keyspace.prefetcher().retire_all(known.flat_map(words));
        removed
    }

    /// Between two bites of a walk: lets others have a shard, unless it is held throughout.
    pub fn let_others(&self, shard: usize) {
        if self.is_empty() {
            self.keyspace.let_others(shard);
        }
    }

    /// Visits every shard in ascending order: held ones as they are; if none is held, each under its own lock for as long
    /// as `visit` runs. `visit` says whether to go on.
    pub fn each_shard(&mut self, from: usize, mut visit: impl FnMut(usize, &mut Shard) -> bool) {
        for shard in from..SHARDS {
            let more = if self.is_empty() {
                visit(shard, &mut self.keyspace.lock_shard(shard))
            } else {
                visit(shard, self.shard(shard))
            };
            if !more {
                return;
            }
        }
    }
}

impl Many<'_> {
    /// Where a shard is, or would be, among the guards.
    fn place(&self, shard: usize) -> Result<usize, usize> {
        self.guards.binary_search_by_key(&shard, |(held, _)| *held)
    }
}

#[cfg(test)]
#[path = "locked_tests.rs"]
mod tests;
