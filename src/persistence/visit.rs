//! The visit of a save: bite by bite, all that was there at the cut goes into the file.
//!
//! A [`Visit`] is shared by its [`Visitor`]s, which take shards in turn; one may do it all, or each has a thread of its own. Whatever happens to the
//! file, the visit goes on to its end, because the keyspace relies on every entry carrying the stamp of the last cut
//! ([`crate::keyspace::Keyspace::cut`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::store::Store;
use crate::base::step::Next;
use crate::base::system;
use crate::keyspace::large::Large;
use crate::keyspace::values::assembly;
use crate::keyspace::{AtCut, SHARDS, ShardVisit};
use crate::services::Services;
use crate::storage::{BlockWriter, EntryRecord, Form, SnapshotWriter};

/// How much a visitor copies under a shard's lock at a time.
const BITE_BYTES: usize = 64 * 1024;
/// Captured bytes that are not left waiting until their shard's turn.
const CAPTURED_BYTES_MAX: usize = 16 << 20;
/// How long a visitor works before it rests for as long. A thread that wakes up to serve a client may have to wait for this, so it is short; and where
/// every processor is in use, half of one is all that a save takes.
const STRETCH: Duration = Duration::from_micros(300);

/// What the visitors of one save share.
pub struct Visit {
    services: Arc<Services>,
    store: Arc<Store>,
    next_shard: AtomicUsize,
    /// Visitors that have not come to their end.
    active: AtomicUsize,
    /// The most captured bytes that were seen waiting.
    captured_peak: AtomicU64,
    failure: Mutex<Option<io::Error>>,
}

impl Visit {
    pub fn new(services: Arc<Services>, store: Arc<Store>) -> Arc<Visit> {
        Arc::new(Visit {
            services,
            store,
            next_shard: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            captured_peak: AtomicU64::new(0),
            failure: Mutex::default(),
        })
    }

    /// One more visitor. Without a file it only ends the cut.
    pub fn visitor(self: &Arc<Visit>, writer: Option<&SnapshotWriter>) -> Visitor {
        self.active.fetch_add(1, Ordering::AcqRel);
        let page = Page::new(&self.services, writer);
        Visitor { visit: Arc::clone(self), page: Some(page), shard: None, has_begun: false }
    }

    /// Whether all visitors have come to their end.
    pub fn is_done(&self) -> bool {
        self.active.load(Ordering::Acquire) == 0
    }

    /// Shows what is left in the captured queues; from here on the next cut may come. After all visitors. Gives the most captured bytes that
    /// were seen waiting.
    ///
    /// # Errors
    /// The first failure of any visitor.
    pub fn finish(&self, writer: Option<&SnapshotWriter>) -> io::Result<u64> {
        let mut page = Page::new(&self.services, writer);
        self.services.keyspace.finish_visit(&mut |entry| page.add_unlocked(entry));
        self.note(page.end());
        self.failure.lock().take().map_or(Ok(self.captured_peak.load(Ordering::Relaxed)), Err)
    }

    fn note(&self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.lock().get_or_insert(error);
        }
    }
}

/// Who visits shards, one after the other.
pub struct Visitor {
    visit: Arc<Visit>,
    /// `None` when it has come to its end.
    page: Option<Page>,
    shard: Option<ShardVisit>,
    /// It has taken a shard.
    has_begun: bool,
}

impl Visitor {
    /// Shows one bite of a shard; [`Next::End`] when no shard is left.
    pub fn step(&mut self) -> Next {
        let Some(page) = &mut self.page else { return Next::End };
        let visit = &*self.visit;
        let keyspace = &visit.services.keyspace;
        let shard = match &mut self.shard {
            Some(shard) => shard,
            None => {
                let number = visit.next_shard.fetch_add(1, Ordering::Relaxed);
                if number >= SHARDS {
                    self.end();
                    return Next::End;
                }
                self.has_begun = true;
                self.shard.insert(ShardVisit::of(number))
            }
        };
        let number = shard.shard();
        page.begin_bite();
        let more = keyspace.visit(shard, &mut |entry| page.add(entry));
        page.write();
        if !more {
            self.shard = None;
            page.visit_captured(number);
            let waiting = keyspace.captured_bytes();
            visit.captured_peak.fetch_max(waiting as u64, Ordering::Relaxed);
            if waiting > CAPTURED_BYTES_MAX {
                (0..SHARDS).for_each(|shard| page.visit_captured(shard));
            }
            visit.services.snapshots.keys_written.fetch_add(page.take_count(), Ordering::Relaxed);
        }
        Next::Now
    }

    /// Works to the end, on a thread of its own.
    pub fn run(mut self, hurried: &AtomicBool) {
        let mut pace = Pace::default();
        while self.step() != Next::End {
            pace.rest_after_work(hurried);
        }
    }

    fn end(&mut self) {
        if let Some(page) = self.page.take() {
            self.visit.note(page.end());
            self.leave();
        }
    }

    fn leave(&self) {
        self.visit.active.fetch_sub(1, Ordering::AcqRel);
        self.visit.store.bell().ring();
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        if self.page.take().is_some() {
            if self.has_begun {
                self.visit.note(Err(io::Error::other("a visitor has not come to its end")));
            }
            self.leave();
        }
    }
}

/// Lets a thread that works in the background rest for as long as it works, in short turns.
pub struct Pace {
    /// Processor time that the thread had used when its last rest ended.
    since: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { since: system::thread_time() }
    }
}

impl Pace {
    /// Rests if enough was done since the last rest, unless somebody waits.
    pub fn rest_after_work(&mut self, hurried: &AtomicBool) {
        let worked = system::thread_time().saturating_sub(self.since);
        if worked >= STRETCH && !hurried.load(Ordering::Relaxed) {
            system::rest(worked);
            self.since = system::thread_time();
        }
    }
}

/// One visitor's way into the file. After a failure it swallows everything, so that the visit can go on.
struct Page {
    services: Arc<Services>,
    writer: Option<BlockWriter>,
    failure: Option<io::Error>,
    /// Bytes that the present bite began with.
    bite_start: usize,
    /// A root as the file holds it.
    scratch: Vec<u8>,
    /// Keys since the last look.
    count: u64,
    raw_bytes: u64,
}

impl Page {
    fn new(services: &Arc<Services>, writer: Option<&SnapshotWriter>) -> Page {
        let (writer, failure) = match writer.map(SnapshotWriter::block_writer) {
            Some(Ok(writer)) => (Some(writer), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        Page {
            services: Arc::clone(services),
            writer,
            failure,
            bite_start: 0,
            scratch: Vec::new(),
            count: 0,
            raw_bytes: 0,
        }
    }

    fn begin_bite(&mut self) {
        self.bite_start = self.writer.as_ref().map_or(0, BlockWriter::pending);
    }

    /// Adds an entry, in memory only. Says whether the bite is large enough.
    #[inline]
    fn add(&mut self, entry: &AtCut<'_>) -> bool {
        self.count += u64::from(!matches!(entry.large, Large::Leaf(_)));
        self.raw_bytes += (entry.key.len() + entry.value.len()) as u64;
        let Some(writer) = &mut self.writer else { return false };
        self.scratch.clear();
        let form = encode_large(entry, &mut self.scratch);
        writer.push(entry.shard as u16, &record(entry, form, &self.scratch));
        writer.pending() >= self.bite_start + BITE_BYTES
    }

    /// [`Page::add`] for an entry that no lock is held for.
    fn add_unlocked(&mut self, entry: &AtCut<'_>) -> bool {
        self.add(entry);
        self.write();
        false
    }

    /// Shows what the captured queue of a shard holds.
    fn visit_captured(&mut self, shard: usize) {
        let services = Arc::clone(&self.services);
        services.keyspace.visit_captured(shard, &mut |entry| self.add_unlocked(entry));
    }

    /// Writes what makes up a block. Not under a lock.
    fn write(&mut self) {
        let result = self.writer.as_mut().map_or(Ok(()), BlockWriter::write_if_full);
        self.note(result);
    }

    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
            self.writer = None;
        }
    }

    fn take_count(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }

    /// Writes the rest.
    fn end(mut self) -> io::Result<()> {
        self.services.snapshots.raw_bytes_written.fetch_add(self.raw_bytes, Ordering::Relaxed);
        let result = self.writer.as_mut().map_or(Ok(()), BlockWriter::flush);
        self.note(result);
        self.failure.map_or(Ok(()), Err)
    }
}

/// Appends what the file holds of a large collection; says what that is.
fn encode_large(entry: &AtCut<'_>, out: &mut Vec<u8>) -> Form {
    match entry.large {
        Large::No => Form::Small,
        Large::Whole(root) => {
            root.encode(entry.kind, out);
            Form::Large
        }
        Large::Head(head) => {
            assembly::encode_head(head, out);
            Form::Head
        }
        Large::Leaf(leaf) => {
            assembly::encode_leaf(&leaf, out);
            Form::Leaf
        }
    }
}

/// An entry as the file holds it; `large` is what it holds of a large collection.
fn record<'a>(entry: &AtCut<'a>, form: Form, large: &'a [u8]) -> EntryRecord<'a> {
    EntryRecord {
        database: entry.database as u32,
        kind: entry.kind,
        expire_at_ms: entry.expire_at_ms.map(|at| at as u64),
        access: entry.access,
        key: entry.key,
        form,
        value: if form == Form::Small { entry.value } else { large },
    }
}
