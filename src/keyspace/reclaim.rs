//! Freeing large things away from the event loops. A huge value, or a whole database after FLUSHALL, is handed to a thread
//! that does nothing but drop what it is given.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};

use super::entry::Entry;
use super::partition::Partition;

/// Entries whose block is at least this large are not freed on an event loop.
const LARGE_BLOCK_BYTES: usize = 64 * 1024;

/// Something that is no longer reachable and only waits to be freed.
pub enum Garbage {
    Entry(Entry),
    Partitions(Vec<Partition>),
}

impl Garbage {
    fn objects(&self) -> usize {
        match self {
            Garbage::Entry(_) => 1,
            Garbage::Partitions(partitions) => partitions.iter().map(Partition::len).sum(),
        }
    }
}

/// Counts of objects that wait to be freed, and that were freed (INFO lazyfree_pending_objects, lazyfreed_objects).
#[derive(Default)]
struct Counts {
    pending: AtomicUsize,
    freed: AtomicUsize,
}

/// The way to the freeing thread. Without one ([`Reclaimer::inline`]) things are freed where they are given up.
pub struct Reclaimer {
    queue: Option<Sender<Garbage>>,
    counts: Arc<Counts>,
}

/// The work of the freeing thread.
pub struct ReclaimWork {
    queue: Receiver<Garbage>,
    counts: Arc<Counts>,
}

impl Reclaimer {
    /// Frees at once, in the caller's thread: for tests and for tools without an event loop.
    pub fn inline() -> Reclaimer {
        Reclaimer { queue: None, counts: Arc::default() }
    }

    /// A reclaimer and the work that a thread of the server must run for it. The queue holds only what was reachable
    /// before, so it cannot outgrow the keyspace.
    pub fn with_thread() -> (Reclaimer, ReclaimWork) {
        let (sender, receiver) = mpsc::channel();
        let counts = Arc::<Counts>::default();
        (
            Reclaimer { queue: Some(sender), counts: Arc::clone(&counts) },
            ReclaimWork { queue: receiver, counts },
        )
    }

    /// Frees an entry: here if it is small, else by the thread.
    #[inline]
    pub fn free_entry(&self, entry: Entry) {
        if entry.view().block_bytes() >= LARGE_BLOCK_BYTES {
            self.free(Garbage::Entry(entry));
        }
    }

    pub fn free(&self, garbage: Garbage) {
        let objects = garbage.objects();
        let Some(queue) = &self.queue else {
            self.counts.freed.fetch_add(objects, Ordering::Relaxed);
            return;
        };
        self.counts.pending.fetch_add(objects, Ordering::Relaxed);
        if queue.send(garbage).is_err() {
            // The thread is gone because the process ends; `send` gave the garbage back and it was dropped just now.
            self.counts.pending.fetch_sub(objects, Ordering::Relaxed);
        }
    }

    pub fn pending(&self) -> usize {
        self.counts.pending.load(Ordering::Relaxed)
    }

    pub fn freed(&self) -> usize {
        self.counts.freed.load(Ordering::Relaxed)
    }

    /// Starts the count of freed objects again (CONFIG RESETSTAT).
    pub fn reset_freed(&self) {
        self.counts.freed.store(0, Ordering::Relaxed);
    }
}

impl ReclaimWork {
    /// Frees what comes until the reclaimer is dropped.
    pub fn run(self) {
        while let Ok(garbage) = self.queue.recv() {
            let objects = garbage.objects();
            drop(garbage);
            self.counts.pending.fetch_sub(objects, Ordering::Relaxed);
            self.counts.freed.fetch_add(objects, Ordering::Relaxed);
        }
    }
}
