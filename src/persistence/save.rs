//! Saving: a cut, a visit (`visit.rs`), a file, and the manifest that names it.
//!
//! With the write log on, the cut also begins a new increment, and the finished snapshot becomes the base in front of it. A failed save
//! leaves the old base and all increments in force. A save goes in steps: [`Saver::begin`] gives a [`SaveTask`] that a thread, or a test, steps to its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::store::Store;
use super::visit::{Pace, Visit, Visitor};
use crate::base::clock::{Clock, Now};
use crate::base::scheduling;
use crate::base::step::{Bell, Next};
use crate::client::Message;
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::{
    Compression, SnapshotFacts, SnapshotFile, SnapshotOptions, SnapshotStart, SnapshotWriter,
};
use crate::write_log::Increment;

/// Visitors at most: more than this only compete for the disk.
const VISITORS_MAX: usize = 8;

/// Takes snapshots, one at a time.
pub struct Saver {
    services: Arc<Services>,
    store: Arc<Store>,
    clock: Clock,
    /// The server waits for the save, so visitors do not rest.
    hurried: AtomicBool,
}

impl Saver {
    pub fn new(services: Arc<Services>, store: Arc<Store>, clock: Clock) -> Saver {
        Saver { services, store, clock, hurried: AtomicBool::new(false) }
    }

    /// Does a save that [`Services::reserve_save`] has reserved, and says how it went. Then does those that were scheduled meanwhile.
    pub fn save(&self, kind: SaveKind) -> bool {
        let saved = self.run(&mut self.begin(kind));
        while let Some(mut task) = self.begin_scheduled(self.clock.steady_ms()) {
            self.run(&mut task);
        }
        saved
    }

    /// The next save of those that were scheduled while another ran.
    pub fn begin_scheduled(&self, steady_ms: i64) -> Option<SaveTask> {
        let scheduled = self.services.snapshots.state.lock().next_scheduled();
        let reserved = scheduled.filter(|kind| self.services.reserve_save(*kind, steady_ms));
        reserved.map(|kind| self.begin(kind))
    }

    /// A save that was reserved, from its beginning.
    pub fn begin(&self, kind: SaveKind) -> SaveTask {
        self.begin_as_base(kind, self.services.settings.load().appendonly)
    }

    /// [`Saver::begin`], saying whether an increment of the write log begins at the cut, if one is wanted then. Without one the snapshot is all the data there is.
    pub fn begin_as_base(&self, kind: SaveKind, with_log: bool) -> SaveTask {
        SaveTask {
            services: Arc::clone(&self.services),
            store: Arc::clone(&self.store),
            kind,
            with_log,
            begun: None,
            changes: 0,
            captured_peak: 0,
            increment: None,
            log_failures: 0,
            state: State::Begin,
        }
    }

    /// Does a save on this thread, with visitors on others, and says how it went.
    pub fn run(&self, task: &mut SaveTask) -> bool {
        std::thread::scope(|scope| {
            let mut pace = Pace::default();
            let mut alone = true;
            loop {
                let heard = self.store.bell().rings();
                let now = self.clock.now();
                match task.step(now) {
                    Next::Now => {}
                    Next::End => return task.is_saved(),
                    next => self.store.bell().wait(heard, now, next),
                }
                if alone && task.is_visiting() {
                    alone = false;
                    scheduling::yield_to_others();
                    // The other half is for those who are being served.
                    let visitors = (scheduling::processors() / 2).clamp(1, VISITORS_MAX);
                    for visitor in (1..visitors).filter_map(|_| task.visitor()) {
                        let thread = std::thread::Builder::new().name("visitor".into());
                        let work = || {
                            scheduling::yield_to_others();
                            visitor.run(&self.hurried);
                        };
                        if let Err(error) = thread.spawn_scoped(scope, work) {
                            tracing::warn!(%error, "a save goes on with fewer threads");
                        }
                    }
                }
                pace.rest_after_work(&self.hurried);
            }
        })
    }

    /// What rings when a save that waits may go on.
    pub fn bell(&self) -> &Bell {
        self.store.bell()
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
}

/// A save on its way.
pub struct SaveTask {
    services: Arc<Services>,
    store: Arc<Store>,
    kind: SaveKind,
    with_log: bool,
    begun: Option<Now>,
    /// Changes of the keyspace up to the cut.
    changes: u64,
    /// The most bytes that waited in captured queues.
    captured_peak: u64,
    /// The increment of the log that begins at the cut.
    increment: Option<Increment>,
    /// How often the log had failed at the cut.
    log_failures: u64,
    state: State,
}

/// What comes next.
enum State {
    Begin,
    Cut(SnapshotFile),
    Visit {
        visit: Arc<Visit>,
        /// Steps of the task are bites of this one, until no shard is left.
        own: Box<Visitor>,
        file: io::Result<SnapshotWriter>,
    },
    /// The file is finished, and the increment behind it may not have begun yet.
    AwaitLog(SnapshotFacts),
    End(io::Result<SnapshotFacts>),
    Ended {
        saved: bool,
    },
}

impl SaveTask {
    /// Does one thing: the cut, a bite, the end of the file, or the manifest.
    pub fn step(&mut self, now: Now) -> Next {
        let (state, next) = match std::mem::replace(&mut self.state, State::Ended { saved: false }) {
            State::Begin => (self.create(now), Next::Now),
            State::Cut(file) => (self.cut(file, now), Next::Now),
            State::Visit { visit, own, file } => self.visit(visit, own, file),
            State::AwaitLog(facts) => self.await_log(facts, now),
            State::End(result) => (State::Ended { saved: self.end(result, now) }, Next::End),
            State::Ended { saved } => (State::Ended { saved }, Next::End),
        };
        self.state = state;
        next
    }

    /// How it went, at the end.
    pub fn is_saved(&self) -> bool {
        matches!(self.state, State::Ended { saved: true })
    }

    /// Whether more visitors are of use.
    pub fn is_visiting(&self) -> bool {
        matches!(self.state, State::Visit { .. })
    }

    /// One more visitor, for another thread.
    pub fn visitor(&self) -> Option<Visitor> {
        match &self.state {
            State::Visit { visit, file, .. } => Some(visit.visitor(file.as_ref().ok())),
            _ => None,
        }
    }

    /// Makes the file first: where there is no room for one, nothing else begins.
    fn create(&mut self, now: Now) -> State {
        self.begun = Some(now);
        let number = self.store.number_snapshot();
        match number.and_then(|number| SnapshotFile::create(Arc::clone(self.store.disk()), number)) {
            Ok(file) => State::Cut(file),
            Err(error) => State::End(Err(error)),
        }
    }

    fn cut(&mut self, file: SnapshotFile, now: Now) -> State {
        let services = &*self.services;
        services.snapshots.raw_bytes_written.store(0, Ordering::Relaxed);
        services.snapshots.keys_total.store(services.keyspace.keys() as u64, Ordering::Relaxed);
        let mut log_offset = 0;
        let cut = services.keyspace.cut(|| {
            self.changes = services.changes();
            self.log_failures = services.write_log.failures();
            log_offset = services.write_log.appended();
            // It may have been turned off since the save began.
            if self.with_log && services.settings.load().appendonly {
                self.increment = Some(services.write_log.begin_increment());
            }
        });
        if !cut {
            return State::End(Err(io::Error::other("another snapshot is under way")));
        }
        services.snapshots.has_visited.store(true, Ordering::Release);
        let file = self.begin_file(file, log_offset, now);
        let visit = Visit::new(Arc::clone(&self.services), Arc::clone(&self.store));
        let own = Box::new(visit.visitor(file.as_ref().ok()));
        State::Visit { visit, own, file }
    }

    fn begin_file(&self, file: SnapshotFile, log_offset: u64, now: Now) -> io::Result<SnapshotWriter> {
        let config = self.services.settings.load();
        let start = SnapshotStart {
            number: file.number(),
            created_ms: now.wall_ms().max(0) as u64,
            databases: self.services.keyspace.databases() as u32,
            lfu: config.maxmemory_policy.is_lfu(),
            log_offset,
        };
        let compression = if config.snapshot_compression { Compression::FAST } else { Compression::None };
        let options = SnapshotOptions { compression, key: self.store.key(), incremental_sync: true };
        SnapshotWriter::begin(file, start, &options)
    }

    fn visit(
        &mut self,
        visit: Arc<Visit>,
        mut own: Box<Visitor>,
        file: io::Result<SnapshotWriter>,
    ) -> (State, Next) {
        match own.step() {
            Next::End if visit.is_done() => {}
            Next::End => return (State::Visit { visit, own, file }, Next::Signal),
            next => return (State::Visit { visit, own, file }, next),
        }
        let visited = visit.finish(file.as_ref().ok());
        let facts = file.and_then(|file| {
            self.captured_peak = visited?;
            file.finish()
        });
        (facts.map_or_else(|error| State::End(Err(error)), State::AwaitLog), Next::Now)
    }

    /// Puts the finished file in force, once the increment that follows it has its file. If the disk has no room for that, the snapshot alone is all
    /// that there was at the cut: it takes the place of the old log, and the disk has room again.
    fn await_log(&mut self, facts: SnapshotFacts, now: Now) -> (State, Next) {
        let log = &self.services.write_log;
        let has_failed = log.failures() != self.log_failures;
        // What a flush has failed for since the cut may have been durable before, but not if it was not in force.
        let increment = self.increment.filter(|increment| increment.continues || !has_failed);
        if let Some(increment) = increment
            && self.store.log_of(increment).is_none()
            && !log.is_troubled()
            && !has_failed
        {
            return (State::AwaitLog(facts), Next::Signal);
        }
        let created_ms = self.begun.unwrap_or(now).wall_ms();
        let adopted = self.store.adopt(facts.clone(), increment, created_ms).map(|has_log| {
            self.follow(increment, has_log, facts.log_offset);
            facts
        });
        (State::End(adopted), Next::Now)
    }

    /// The log goes on behind the new base.
    fn follow(&self, increment: Option<Increment>, has_log: bool, log_offset: u64) {
        let log = &self.services.write_log;
        let Some(increment) = increment else { return };
        if !has_log {
            log.cover(log_offset);
        } else if log.come_into_force(increment) {
            self.tell(&Message::Durable);
        }
    }

    /// Without its base an increment that continues nothing is of no use. Writes are refused until there is one.
    fn give_up_increment(&self) {
        let log = &self.services.write_log;
        let is_wanted = self.with_log && self.services.settings.load().appendonly;
        if is_wanted && !(log.is_on() && log.is_in_force()) {
            self.services.keyspace.while_locked(|| log.give_up_increment());
            self.store.forget_waiting();
        }
    }

    fn tell(&self, message: &Message) {
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(message.clone());
        }
    }

    /// Writes down how it went, and tells those who wait.
    fn end(&mut self, result: io::Result<SnapshotFacts>, now: Now) -> bool {
        let milliseconds = self.begun.map_or(0, |begun| now.steady_ms() - begun.steady_ms());
        match &result {
            Ok(facts) => {
                tracing::info!(keys = facts.entries, bytes = facts.bytes, milliseconds, "snapshot saved");
                self.services.snapshots.has_visited.store(false, Ordering::Release);
            }
            Err(error) => {
                tracing::error!(%error, "saving a snapshot has failed");
                self.give_up_increment();
            }
        }
        let snapshots = &self.services.snapshots;
        let mut state = snapshots.state.lock();
        state.running = None;
        state.ended += 1;
        state.captured_bytes_peak[self.kind as usize] = self.captured_peak;
        let history = state.history(self.kind);
        history.last_ok = result.is_ok();
        history.last_ms = milliseconds;
        history.last_seconds = milliseconds / 1000;
        match &result {
            Ok(facts) => {
                history.completed += 1;
                history.failures = 0;
                (state.last_save_ms, state.last_save_steady_ms) = (now.wall_ms(), now.steady_ms());
                state.saved_changes = self.changes;
                state.base_bytes = facts.bytes;
                state.base_raw_bytes = snapshots.raw_bytes_written.load(Ordering::Relaxed);
                state.base_offset = facts.log_offset;
            }
            Err(_) => history.failures += 1,
        }
        drop(state);
        snapshots.idle.notify_all();
        self.services.check_writes();
        self.tell(&Message::Look);
        result.is_ok()
    }
}
