//! What is known about saving and loading: which save runs, how the last one went, how far loading has come.
//!
//! State only, shared by commands, INFO and the threads that do the work (`persistence/save.rs`, `persistence/load.rs`). With the write log on a save and a
//! rewrite of the log are the same work, a new snapshot that becomes the log's base; they differ in what INFO says about them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::base::clock::Now;
use crate::base::waiting::may_wait;

/// Why a snapshot is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaveKind {
    /// SAVE, BGSAVE, a save point, the server's end.
    Save,
    /// BGREWRITEAOF, or the log has grown, or was turned on.
    Rewrite,
}

/// A save that runs.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    pub kind: SaveKind,
    /// Steady milliseconds.
    pub started_ms: i64,
}

/// How saves of one kind went.
#[derive(Clone, Copy, Debug)]
pub struct History {
    pub last_ok: bool,
    /// Seconds that the last one took; -1 before the first.
    pub last_seconds: i64,
    /// The same in milliseconds.
    pub last_ms: i64,
    pub completed: u64,
    /// Failures since the last success.
    pub failures: u64,
}

impl Default for History {
    fn default() -> History {
        History { last_ok: true, last_seconds: -1, last_ms: 0, completed: 0, failures: 0 }
    }
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct SaveState {
    pub running: Option<Running>,
    /// Saves that are to begin when the running one has ended, in the order of [`SaveKind`].
    pub scheduled: [bool; 2],
    pub saves: History,
    pub rewrites: History,
    /// Saves and rewrites that have ended, well or not.
    pub ended: u64,
    /// Unix milliseconds of the last good save (LASTSAVE).
    pub last_save_ms: i64,
    /// When that was, in steady milliseconds; before the first save, when the server started.
    pub last_save_steady_ms: i64,
    /// Steady milliseconds of the last attempt of any kind.
    pub last_try_ms: i64,
    /// Changes that the last good save has.
    pub saved_changes: u64,
    /// Captured bytes at most during the last save, in the order of [`SaveKind`].
    pub captured_bytes_peak: [u64; 2],
    /// Size of the log's base, the newest snapshot, and the log's offset at its cut.
    pub base_bytes: u64,
    pub base_offset: u64,
    /// Bytes of the base's entries, not compressed: what the growth of the log is measured by, because a base that compresses well is
    /// as slow to load as another.
    pub base_raw_bytes: u64,
}

impl SaveState {
    pub fn history(&mut self, kind: SaveKind) -> &mut History {
        match kind {
            SaveKind::Save => &mut self.saves,
            SaveKind::Rewrite => &mut self.rewrites,
        }
    }

    /// What begins next; a rewrite first, as in Redis.
    pub fn next_scheduled(&self) -> Option<SaveKind> {
        [SaveKind::Rewrite, SaveKind::Save].into_iter().find(|kind| self.scheduled[*kind as usize])
    }

    pub fn schedule(&mut self, kind: SaveKind) {
        self.scheduled[kind as usize] = true;
    }

    pub fn is_running(&self, kind: SaveKind) -> bool {
        self.running.is_some_and(|running| running.kind == kind)
    }
}

/// How far loading has come (INFO persistence).
#[derive(Debug, Default)]
pub struct Progress {
    pub loading: AtomicBool,
    /// The data are loaded a second time (DEBUG RELOAD, DEBUG LOADAOF).
    pub again: AtomicBool,
    /// Requests wait for the load until this time (steady milliseconds) and are refused from then on.
    pub awaited_until_ms: AtomicI64,
    /// When the load began: Unix milliseconds, and steady ones.
    pub started_ms: AtomicI64,
    pub started_steady_ms: AtomicI64,
    pub total_bytes: AtomicU64,
    pub loaded_bytes: AtomicU64,
    pub loaded_keys: AtomicU64,
    pub expired_keys: AtomicU64,
}

impl Progress {
    /// A load begins: nothing is loaded yet.
    pub fn begin(&self, now: Now) {
        self.started_ms.store(now.wall_ms(), Ordering::Relaxed);
        self.started_steady_ms.store(now.steady_ms(), Ordering::Relaxed);
        for each in [&self.total_bytes, &self.loaded_bytes, &self.loaded_keys, &self.expired_keys] {
            each.store(0, Ordering::Relaxed);
        }
        self.loading.store(true, Ordering::Release);
    }

    /// Whether a request that the load keeps from running waits for its end, instead of being refused.
    pub fn is_awaited(&self, steady_ms: i64) -> bool {
        steady_ms < self.awaited_until_ms.load(Ordering::Relaxed)
    }
}

/// The shared state of saving and loading.
#[derive(Debug, Default)]
pub struct Snapshots {
    pub state: Mutex<SaveState>,
    /// No save runs any more. Goes with `state`.
    pub idle: Condvar,
    pub progress: Progress,
    /// A save has visited entries and is not the base, or not yet: how well the log knows their deadlines is forgotten.
    pub has_visited: AtomicBool,
    /// Keys that the running save has written, and how many there are.
    pub keys_written: AtomicU64,
    pub keys_total: AtomicU64,
    /// Bytes of keys and values among them.
    pub raw_bytes_written: AtomicU64,
}

impl Snapshots {
    /// Saves that have ended; who waits for one compares.
    pub fn ended(&self) -> u64 {
        self.state.lock().ended
    }

    pub fn is_loading(&self) -> bool {
        self.progress.loading.load(Ordering::Acquire)
    }

    /// Whether what is loaded was in memory before.
    pub fn is_loading_again(&self) -> bool {
        self.is_loading() && self.progress.again.load(Ordering::Relaxed)
    }

    /// Waits until no save runs.
    pub fn wait_until_idle(&self) {
        may_wait();
        let mut state = self.state.lock();
        while state.running.is_some() {
            self.idle.wait(&mut state);
        }
    }
}
