//! Saving: a cut, visitors on threads of their own, a file, and the manifest that names it.
//!
//! With the write log on, the cut also begins a new increment, and the finished snapshot becomes the base in front of it. A failed save
//! leaves the old base and all increments in force. Whatever happens to the file, the visit goes on to its end, because the keyspace relies on
//! every entry carrying the stamp of the last cut ([`crate::keyspace::Keyspace::cut`]).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::store::Store;
use crate::base::clock::Clock;
use crate::base::{scheduling, system};
use crate::client::Message;
use crate::keyspace::{EntryRef, SHARDS, ShardVisit};
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::{
    BlockWriter, Compression, EntryRecord, SnapshotFacts, SnapshotOptions, SnapshotStart, SnapshotWriter,
};

/// How much a visitor copies under a shard's lock at a time.
const BITE_BYTES: usize = 64 * 1024;
/// Captured bytes that are not left waiting until their shard's turn.
const CAPTURED_BYTES_MAX: usize = 16 << 20;
/// Visitors at most: more than this only compete for the disk.
const VISITORS_MAX: usize = 8;
/// How long a visitor works before it rests for as long. A thread that wakes up to serve a client may have to wait for this, so it is short; and where
/// every processor is in use, half of one is all that a save takes.
const STRETCH: Duration = Duration::from_micros(300);

/// What a save has seen besides the file.
#[derive(Default)]
struct Measured {
    /// Changes of the keyspace up to the cut.
    changes: u64,
    /// The most bytes that waited in captured queues.
    captured_peak: u64,
}

/// Takes snapshots, one at a time.
pub struct Saver {
    services: Arc<Services>,
    store: Arc<Store>,
    clock: Clock,
    one_at_a_time: Mutex<()>,
    /// The server waits for the save, so visitors do not rest.
    hurried: AtomicBool,
}

impl Saver {
    pub fn new(services: Arc<Services>, store: Arc<Store>, clock: Clock) -> Saver {
        Saver { services, store, clock, one_at_a_time: Mutex::new(()), hurried: AtomicBool::new(false) }
    }

    /// Does a save that [`Services::reserve_save`] has reserved, and says how it went. Then does those that were scheduled meanwhile.
    pub fn save(&self, kind: SaveKind) -> bool {
        let with_log = || self.services.settings.load().appendonly;
        let saved = self.save_as_base(kind, with_log());
        loop {
            let scheduled = self.services.snapshots.state.lock().next_scheduled();
            let reserved = scheduled.filter(|kind| self.services.reserve_save(*kind, self.clock.steady_ms()));
            let Some(kind) = reserved else { return saved };
            self.save_as_base(kind, with_log());
        }
    }

    /// [`Saver::save`], saying whether an increment of the write log begins at the cut. Without one the snapshot is all the data there is.
    pub fn save_as_base(&self, kind: SaveKind, with_log: bool) -> bool {
        let _one = self.one_at_a_time.lock();
        let started_ms = self.clock.steady_ms();
        let mut measured = Measured::default();
        let result = self.take_snapshot(with_log, &mut measured);
        let now = self.clock.now();
        let milliseconds = now.steady_ms() - started_ms;
        match &result {
            Ok(facts) => {
                tracing::info!(keys = facts.entries, bytes = facts.bytes, milliseconds, "snapshot saved")
            }
            Err(error) => tracing::error!(%error, "saving a snapshot has failed"),
        }
        let mut state = self.services.snapshots.state.lock();
        state.running = None;
        state.ended += 1;
        state.captured_bytes_peak[kind as usize] = measured.captured_peak;
        let history = state.history(kind);
        history.last_ok = result.is_ok();
        history.last_ms = milliseconds;
        history.last_seconds = history.last_ms / 1000;
        match &result {
            Ok(facts) => {
                history.completed += 1;
                history.failures = 0;
                (state.last_save_ms, state.last_save_steady_ms) = (now.wall_ms(), now.steady_ms());
                state.saved_changes = measured.changes;
                state.base_bytes = facts.bytes;
                state.base_raw_bytes = self.services.snapshots.raw_bytes_written.load(Ordering::Relaxed);
                state.base_offset = facts.log_offset;
            }
            Err(_) => history.failures += 1,
        }
        drop(state);
        self.services.snapshots.idle.notify_all();
        self.services.check_writes();
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(Message::Look);
        }
        result.is_ok()
    }

    /// Whether saves from now on, and the one under way, take all the time they can get: for the server's end.
    pub fn hurry(&self, on: bool) {
        self.hurried.store(on, Ordering::Relaxed);
    }

    /// Ends a save that could not begin.
    pub fn give_up(&self, kind: SaveKind) {
        let mut state = self.services.snapshots.state.lock();
        state.running = None;
        state.ended += 1;
        state.history(kind).last_ok = false;
        state.history(kind).failures += 1;
        drop(state);
        self.services.snapshots.idle.notify_all();
        self.services.check_writes();
    }

    fn take_snapshot(&self, with_log: bool, measured: &mut Measured) -> io::Result<SnapshotFacts> {
        let services = &*self.services;
        services.snapshots.raw_bytes_written.store(0, Ordering::Relaxed);
        let config = services.settings.load();
        let keys: usize =
            (0..services.keyspace.databases()).map(|database| services.keyspace.count(database).0).sum();
        services.snapshots.keys_total.store(keys as u64, Ordering::Relaxed);
        let number = self.store.next_number();
        let mut increment = None;
        let now_ms = self.clock.now_ms();
        let cut = services.keyspace.cut(|| {
            measured.changes = services.changes();
            if with_log && !services.write_log.has_failed() {
                increment = Some(services.write_log.begin_increment());
            }
        });
        if !cut {
            return Err(io::Error::other("another snapshot is under way"));
        }
        let start = SnapshotStart {
            number,
            created_ms: now_ms.max(0) as u64,
            databases: services.keyspace.databases() as u32,
            lfu: config.maxmemory_policy.is_lfu(),
            log_offset: increment.map_or_else(|| services.write_log.appended(), |each| each.start_offset),
        };
        let compression = if config.snapshot_compression { Compression::FAST } else { Compression::None };
        let options = SnapshotOptions { compression, key: self.store.key(), incremental_sync: true };
        let writer = SnapshotWriter::create(Arc::clone(self.store.disk()), start, &options);
        let visited = self.visit_all(writer.as_ref().ok(), &mut measured.captured_peak);
        let facts = writer.and_then(|writer| {
            visited?;
            writer.finish()
        })?;
        let mut first_log = None;
        if let Some(increment) = increment {
            first_log = self.store.wait_for_log(increment, || services.write_log.has_failed());
            if first_log.is_none() {
                return Err(io::Error::other("the write log has failed"));
            }
        }
        self.store.adopt(facts.clone(), first_log, now_ms)?;
        Ok(facts)
    }

    /// Shows all that was there at the cut to the file, on several threads; without a file the visit only ends the cut.
    fn visit_all(&self, writer: Option<&SnapshotWriter>, captured_peak: &mut u64) -> io::Result<()> {
        let keyspace = &self.services.keyspace;
        let next_shard = AtomicUsize::new(0);
        // The other half is for those who are being served.
        let threads = (scheduling::processors().len() / 2).clamp(1, VISITORS_MAX);
        let mut results: Vec<io::Result<u64>> = std::thread::scope(|scope| {
            let visitor = || {
                scheduling::yield_to_others();
                self.visit_shards(&next_shard, writer)
            };
            let spawned: Vec<_> = (0..threads)
                .map(|_| std::thread::Builder::new().name("visitor".into()).spawn_scoped(scope, visitor))
                .collect();
            let mut results: Vec<_> = Vec::new();
            for thread in spawned {
                results.push(match thread {
                    Ok(thread) => {
                        thread.join().unwrap_or_else(|_| Err(io::Error::other("a visitor has panicked")))
                    }
                    Err(error) => Err(error),
                });
            }
            results
        });
        // If no thread could be started the shards are still to be visited.
        results.push(self.visit_shards(&next_shard, writer));
        let mut page = Page::new(&self.services, writer);
        keyspace.finish_visit(&mut |database, entry| page.add_unlocked(database, entry));
        results.push(page.end().map(|()| 0));
        for result in results {
            *captured_peak = (*captured_peak).max(result?);
        }
        Ok(())
    }

    /// Visits shards until none is left. Gives the most captured bytes that were seen waiting.
    fn visit_shards(&self, next_shard: &AtomicUsize, writer: Option<&SnapshotWriter>) -> io::Result<u64> {
        let keyspace = &self.services.keyspace;
        let mut page = Page::new(&self.services, writer);
        let mut worked = system::thread_time();
        let mut peak = 0;
        loop {
            let shard = next_shard.fetch_add(1, Ordering::Relaxed);
            if shard >= SHARDS {
                break;
            }
            let mut visit = ShardVisit::of(shard);
            loop {
                page.begin_bite();
                let more =
                    keyspace.visit(&mut visit, &mut |database, entry| page.add(shard, database, entry));
                page.write();
                self.rest_after_work(&mut worked);
                if !more {
                    break;
                }
            }
            self.visit_captured(shard, &mut page);
            let waiting = keyspace.captured_bytes();
            peak = peak.max(waiting as u64);
            if waiting > CAPTURED_BYTES_MAX {
                (0..SHARDS).for_each(|shard| self.visit_captured(shard, &mut page));
            }
            self.services.snapshots.keys_written.fetch_add(page.take_count(), Ordering::Relaxed);
        }
        page.end().map(|()| peak)
    }

    /// Rests if enough was done since the last rest, which ended when the thread had used `since` of processor time.
    fn rest_after_work(&self, since: &mut Duration) {
        let worked = system::thread_time().saturating_sub(*since);
        if worked >= STRETCH && !self.hurried.load(Ordering::Relaxed) {
            system::rest(worked);
            *since = system::thread_time();
        }
    }

    fn visit_captured(&self, shard: usize, page: &mut Page<'_>) {
        self.services
            .keyspace
            .visit_captured(shard, &mut |database, entry| page.add_unlocked(database, entry));
    }
}

/// One visitor's way into the file. After a failure it swallows everything, so that the visit can go on.
struct Page<'s> {
    services: &'s Services,
    writer: Option<BlockWriter>,
    failure: Option<io::Error>,
    /// Bytes that the present bite began with.
    bite_start: usize,
    /// Keys since the last look.
    count: u64,
    raw_bytes: u64,
}

impl<'s> Page<'s> {
    fn new(services: &'s Services, writer: Option<&SnapshotWriter>) -> Page<'s> {
        let (writer, failure) = match writer.map(SnapshotWriter::block_writer) {
            Some(Ok(writer)) => (Some(writer), None),
            Some(Err(error)) => (None, Some(error)),
            None => (None, None),
        };
        Page { services, writer, failure, bite_start: 0, count: 0, raw_bytes: 0 }
    }

    fn begin_bite(&mut self) {
        self.bite_start = self.writer.as_ref().map_or(0, BlockWriter::pending);
    }

    /// Adds an entry, in memory only. Says whether the bite is large enough.
    #[inline]
    fn add(&mut self, shard: usize, database: usize, entry: EntryRef<'_>) -> bool {
        self.count += 1;
        self.raw_bytes += (entry.key().len() + entry.value().len()) as u64;
        let Some(writer) = &mut self.writer else { return false };
        writer.push(shard as u16, &record(database, entry));
        writer.pending() >= self.bite_start + BITE_BYTES
    }

    /// [`Page::add`] for an entry that no lock is held for.
    fn add_unlocked(&mut self, database: usize, entry: EntryRef<'_>) -> bool {
        let shard = self.services.keyspace.key(entry.key()).shard;
        self.add(shard, database, entry);
        self.write();
        false
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

/// An entry as the file holds it.
fn record(database: usize, entry: EntryRef<'_>) -> EntryRecord<'_> {
    EntryRecord {
        database: database as u32,
        mark: entry.mark(),
        expire_at_ms: entry.expire_at_ms().map(|at| at as u64),
        access: entry.access(),
        key: entry.key(),
        value: entry.value(),
    }
}
