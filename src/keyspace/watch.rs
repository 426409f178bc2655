//! Versions of watched keys. Only keys that some client watches have a version; a change of any other key costs one test.
//!
//! Whether a transaction may run is decided by versions, under the locks of its shards. Each watcher has a mark besides, one for all the keys
//! that it watches, which a change of any of them sets: others may read it at any time, without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// A key of some database.
#[derive(PartialEq, Eq, Hash)]
struct WatchedKey {
    database: usize,
    key: Box<[u8]>,
}

struct Watched {
    /// One for each watcher.
    marks: Vec<Arc<AtomicBool>>,
    version: u64,
}

impl Watched {
    fn change(&mut self, version: u64) {
        self.version = version;
        for mark in &self.marks {
            mark.store(true, Relaxed);
        }
    }
}

/// The version of a watched key at one moment; equal versions mean that the key was not changed between.
pub type WatchedVersion = u64;

/// The watched keys of one shard.
#[derive(Default)]
pub struct WatchTable {
    #[allow(clippy::box_collection, reason = "usually nobody watches, and a shard has one word for that")]
    keys: Option<Box<HashMap<WatchedKey, Watched>>>,
    last_version: u64,
}

impl WatchTable {
    /// Adds a watcher, whose mark a change will set, and gives the key's present version.
    pub fn watch(&mut self, database: usize, key: &[u8], mark: &Arc<AtomicBool>) -> WatchedVersion {
        let keys = self.keys.get_or_insert_default();
        let id = WatchedKey { database, key: key.into() };
        let watched = keys.entry(id).or_insert(Watched { marks: Vec::new(), version: self.last_version });
        watched.marks.push(Arc::clone(mark));
        watched.version
    }

    /// Removes a watcher; says whether the key still has `version`.
    pub fn unwatch(
        &mut self,
        database: usize,
        key: &[u8],
        version: WatchedVersion,
        mark: &Arc<AtomicBool>,
    ) -> bool {
        let Some(keys) = &mut self.keys else { return false };
        let id = WatchedKey { database, key: key.into() };
        let Some(watched) = keys.get_mut(&id) else { return false };
        let unchanged = watched.version == version;
        if let Some(index) = watched.marks.iter().position(|held| Arc::ptr_eq(held, mark)) {
            watched.marks.swap_remove(index);
        }
        if watched.marks.is_empty() {
            keys.remove(&id);
            if keys.is_empty() {
                self.keys = None;
            }
        }
        unchanged
    }

    /// Whether the key still has `version`.
    pub fn is_unchanged(&self, database: usize, key: &[u8], version: WatchedVersion) -> bool {
        let id = WatchedKey { database, key: key.into() };
        let watched = self.keys.as_ref().and_then(|keys| keys.get(&id));
        watched.is_some_and(|watched| watched.version == version)
    }

    /// Notes that a key has changed.
    #[inline]
    pub fn touch(&mut self, database: usize, key: &[u8]) {
        if let Some(keys) = &mut self.keys {
            self.last_version += 1;
            if let Some(watched) = keys.get_mut(&WatchedKey { database, key: key.into() }) {
                watched.change(self.last_version);
            }
        }
    }

    /// Notes that all keys have changed that `applies` to, which is given their database, too (FLUSHDB, SWAPDB).
    pub fn touch_all(&mut self, applies: impl Fn(usize, &[u8]) -> bool) {
        if let Some(keys) = &mut self.keys {
            self.last_version += 1;
            for (id, watched) in keys.iter_mut() {
                if applies(id.database, &id.key) {
                    watched.change(self.last_version);
                }
            }
        }
    }

    /// The names of the keys that are watched in one of these databases.
    pub fn keys_of(&self, databases: [usize; 2]) -> Vec<Box<[u8]>> {
        let watched = self.keys.iter().flat_map(|keys| keys.keys());
        watched.filter(|id| databases.contains(&id.database)).map(|id| id.key.clone()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Arc<AtomicBool> {
        Arc::default()
    }

    #[test]
    fn a_touch_is_seen_by_all_watchers_and_only_of_that_key() {
        let mut table = WatchTable::default();
        let (first, second, other) = (mark(), mark(), mark());
        let (a, a_again) = (table.watch(0, b"a", &first), table.watch(0, b"a", &second));
        let b = table.watch(0, b"b", &other);
        table.touch(0, b"a");
        table.touch(1, b"b");
        assert!(table.is_unchanged(0, b"b", b));
        assert_eq!([&first, &second, &other].map(|mark| mark.load(Relaxed)), [true, true, false]);
        assert!(!table.unwatch(0, b"a", a, &first) && !table.unwatch(0, b"a", a_again, &second));
        assert!(table.unwatch(0, b"b", b, &other));
        assert!(table.is_empty());
    }

    #[test]
    fn a_version_never_comes_back_after_everybody_stopped_watching() {
        let mut table = WatchTable::default();
        let mark = mark();
        let first = table.watch(0, b"a", &mark);
        let keep = table.watch(0, b"other", &mark);
        table.touch(0, b"a");
        table.unwatch(0, b"a", first, &mark);
        assert!(!table.is_unchanged(0, b"a", first));
        let second = table.watch(0, b"a", &mark);
        assert_ne!(first, second);
        assert!(table.is_unchanged(0, b"other", keep));
    }

    #[test]
    fn a_watcher_that_left_is_not_marked() {
        let mut table = WatchTable::default();
        let (leaver, stayer) = (mark(), mark());
        let version = table.watch(0, b"a", &leaver);
        table.watch(0, b"a", &stayer);
        assert!(table.unwatch(0, b"a", version, &leaver));
        table.touch_all(|_, _| true);
        assert_eq!([&leaver, &stayer].map(|mark| mark.load(Relaxed)), [false, true]);
    }
}
