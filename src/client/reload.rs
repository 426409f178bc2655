//! DEBUG RELOAD and DEBUG LOADAOF while they are under way: what the thread that reloads is asked for, and how it knows that no event loop
//! still runs a request that began before.

use parking_lot::{Condvar, Mutex};

/// What is to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reload {
    /// The newest snapshot.
    Snapshot {
        /// One is taken first.
        save: bool,
        /// What is in memory goes first.
        empty: bool,
        /// A key that is in both is taken from the snapshot; without this it is an error.
        merge: bool,
    },
    /// All that a start would load: the newest snapshot and the write log behind it.
    Log,
}

/// A client asks for a reload and waits.
#[derive(Clone, Copy, Debug)]
pub struct ReloadOrder {
    pub what: Reload,
    pub loop_index: usize,
    pub place: usize,
    pub id: u64,
}

/// How it went: nothing, or what the client is told.
pub type ReloadResult = Result<(), &'static str>;

/// A moment that each event loop passes between two batches. Who raises a gate and then waits for it knows that every request that did not
/// see the gate has ended.
#[derive(Debug)]
pub struct QuietPoint {
    /// Loops that have not passed it.
    missing: Mutex<usize>,
    passed: Condvar,
}

impl QuietPoint {
    pub fn new(loops: usize) -> QuietPoint {
        QuietPoint { missing: Mutex::new(loops), passed: Condvar::new() }
    }

    /// An event loop has come to it.
    pub fn pass(&self) {
        *self.missing.lock() -= 1;
        self.passed.notify_all();
    }

    /// Whether all loops have.
    pub fn is_passed(&self) -> bool {
        *self.missing.lock() == 0
    }

    /// Waits for all loops.
    pub fn wait(&self) {
        let mut missing = self.missing.lock();
        while *missing > 0 {
            self.passed.wait(&mut missing);
        }
    }
}
