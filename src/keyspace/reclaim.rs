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
    Partitions(Vec<Box<Partition>>),
}

impl Garbage {
    fn objects(&self) -> usize {
        match self {
            Garbage::Entry(_) => 1,
            Garbage::Partitions(partitions) => partitions.iter().map(|partition| partition.len()).sum(),
        }
    }

    /// Bytes of an entry; those of partitions nobody has counted.
    fn bytes(&self) -> usize {
        match self {
            Garbage::Entry(entry) => entry.view().owned_bytes(),
            Garbage::Partitions(_) => 0,
        }
    }
}

/// Counts of objects that wait to be freed, and that were freed (INFO lazyfree_pending_objects, lazyfreed_objects).
#[derive(Default)]
struct Counts {
    pending: AtomicUsize,
    /// Bytes of the entries among them.
    pending_bytes: AtomicUsize,
    /// Databases among them.
    pending_databases: AtomicUsize,
    freed: AtomicUsize,
}

/// What one piece of garbage adds to the counts.
#[derive(Clone, Copy)]
struct Size {
    objects: usize,
    bytes: usize,
    databases: usize,
}

impl Size {
    fn of(garbage: &Garbage) -> Size {
        let databases = usize::from(matches!(garbage, Garbage::Partitions(_)));
        Size { objects: garbage.objects(), bytes: garbage.bytes(), databases }
    }
}

impl Counts {
    fn begin(&self, size: Size) {
        self.pending.fetch_add(size.objects, Ordering::Relaxed);
        self.pending_bytes.fetch_add(size.bytes, Ordering::Relaxed);
        self.pending_databases.fetch_add(size.databases, Ordering::Relaxed);
    }

    fn end(&self, size: Size) {
        self.pending.fetch_sub(size.objects, Ordering::Relaxed);
        self.pending_bytes.fetch_sub(size.bytes, Ordering::Relaxed);
        self.pending_databases.fetch_sub(size.databases, Ordering::Relaxed);
    }
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
        if entry.view().owned_bytes() >= LARGE_BLOCK_BYTES {
            self.free(Garbage::Entry(entry));
        }
    }

    pub fn free(&self, garbage: Garbage) {
        let size = Size::of(&garbage);
        let Some(queue) = &self.queue else {
            self.counts.freed.fetch_add(size.objects, Ordering::Relaxed);
            return;
        };
        self.counts.begin(size);
        if queue.send(garbage).is_err() {
            // The thread is gone because the process ends; `send` gave the garbage back and it was dropped just now.
            self.counts.end(size);
        }
    }

    /// Bytes of entries that wait to be freed.
    pub fn pending_bytes(&self) -> usize {
        self.counts.pending_bytes.load(Ordering::Relaxed)
    }

    /// Whether a database of unknown size waits to be freed.
    pub fn is_freeing_databases(&self) -> bool {
        self.counts.pending_databases.load(Ordering::Relaxed) > 0
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
            let size = Size::of(&garbage);
            drop(garbage);
            self.counts.end(size);
            self.counts.freed.fetch_add(size.objects, Ordering::Relaxed);
        }
    }
}
