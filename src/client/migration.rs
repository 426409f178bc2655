//! MIGRATE while it is under way: what the control thread sends to another server, and what it then tells the client's event loop.
//!
//! The values are copies. The keys stay where they are and in use until the other server has them; then those that have not changed are
//! deleted, see `command/generic/migrate.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::rdb::value::Body;

/// Copies that may be under way at a time, for all clients together. A target that never answers must not keep more.
pub const MIGRATING_BYTES_MAX: usize = 1 << 30;

/// A migration's part of the copies that are under way.
#[derive(Debug)]
pub struct Luggage {
    bytes: usize,
    of_all: Arc<AtomicUsize>,
}

impl Luggage {
    /// None yet; `of_all` is what all have.
    pub fn new(of_all: &Arc<AtomicUsize>) -> Luggage {
        Luggage { bytes: 0, of_all: Arc::clone(of_all) }
    }

    /// Takes more; false if that is too much for all.
    pub fn add(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.of_all.fetch_add(bytes, Ordering::Relaxed) + bytes <= MIGRATING_BYTES_MAX
    }
}

impl Drop for Luggage {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A key on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedKey {
    pub key: Vec<u8>,
    /// The value as it is sent.
    pub body: Body,
    /// Unix milliseconds.
    pub expire_at_ms: Option<i64>,
}

/// What is to be sent, and where to.
#[derive(Debug)]
pub struct MigrationOrder {
    pub host: String,
    pub port: u16,
    /// The words behind AUTH, if there are any: a password, or a user and a password.
    pub credentials: Vec<Vec<u8>>,
    /// The database here.
    pub from_database: usize,
    /// The database over there.
    pub database: i64,
    /// How long each of connecting, writing and reading may take.
    pub timeout_ms: u64,
    /// Keys that are there may be replaced.
    pub replace: bool,
    pub keys: Vec<MovedKey>,
    pub luggage: Luggage,
    /// The time of the request, from which the remaining time of keys counts.
    pub now_ms: i64,
    /// The client that waits.
    pub loop_index: usize,
    pub place: usize,
    pub id: u64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct MigrationResult {
    /// Keys that the other server has confirmed.
    pub arrived: Vec<MovedKey>,
    /// What the client is told if not all of them were.
    pub error: Option<Vec<u8>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_has_a_limit_for_all_together() {
        let of_all = Arc::default();
        let (mut one, mut other) = (Luggage::new(&of_all), Luggage::new(&of_all));
        assert!(one.add(MIGRATING_BYTES_MAX / 2) && other.add(MIGRATING_BYTES_MAX / 2));
        assert!(!other.add(1));
        drop(other);
        assert!(one.add(MIGRATING_BYTES_MAX / 2) && !one.add(1));
        drop(one);
        assert_eq!(of_all.load(Ordering::Relaxed), 0);
    }
}
