//! Versions of watched keys. Only keys that some client watches have a version; a change of any other key costs one test.

use std::collections::HashMap;

/// A key of some database.
#[derive(PartialEq, Eq, Hash)]
struct WatchedKey {
    database: usize,
    key: Box<[u8]>,
}

struct Watched {
    watchers: usize,
    version: u64,
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
    /// Adds a watcher and gives the key's present version.
    pub fn watch(&mut self, database: usize, key: &[u8]) -> WatchedVersion {
        let keys = self.keys.get_or_insert_default();
        let id = WatchedKey { database, key: key.into() };
        let watched = keys.entry(id).or_insert(Watched { watchers: 0, version: self.last_version });
        watched.watchers += 1;
        watched.version
    }

    /// Removes a watcher; says whether the key still has `version`.
    pub fn unwatch(&mut self, database: usize, key: &[u8], version: WatchedVersion) -> bool {
        let Some(keys) = &mut self.keys else { return false };
        let id = WatchedKey { database, key: key.into() };
        let Some(watched) = keys.get_mut(&id) else { return false };
        let unchanged = watched.version == version;
        watched.watchers -= 1;
        if watched.watchers == 0 {
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
                watched.version = self.last_version;
            }
        }
    }

    /// Notes that all keys of a database that `applies` to have changed (FLUSHDB, SWAPDB).
    pub fn touch_all(&mut self, database: usize, applies: impl Fn(&[u8]) -> bool) {
        if let Some(keys) = &mut self.keys {
            self.last_version += 1;
            for (id, watched) in keys.iter_mut() {
                if id.database == database && applies(&id.key) {
                    watched.version = self.last_version;
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

    #[test]
    fn a_touch_is_seen_by_all_watchers_and_only_of_that_key() {
        let mut table = WatchTable::default();
        let (a, a_again, b) = (table.watch(0, b"a"), table.watch(0, b"a"), table.watch(0, b"b"));
        table.touch(0, b"a");
        table.touch(1, b"b");
        assert!(table.is_unchanged(0, b"b", b));
        assert!(!table.unwatch(0, b"a", a) && !table.unwatch(0, b"a", a_again) && table.unwatch(0, b"b", b));
        assert!(table.is_empty());
    }

    #[test]
    fn a_version_never_comes_back_after_everybody_stopped_watching() {
        let mut table = WatchTable::default();
        let first = table.watch(0, b"a");
        let keep = table.watch(0, b"other");
        table.touch(0, b"a");
        table.unwatch(0, b"a", first);
        assert!(!table.is_unchanged(0, b"a", first));
        let second = table.watch(0, b"a");
        assert_ne!(first, second);
        assert!(table.is_unchanged(0, b"other", keep));
    }
}
