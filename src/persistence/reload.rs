//! DEBUG RELOAD and DEBUG LOADAOF: emptying the memory of a running server and loading it again from what is on disk.
//!
//! Redis stops for this; here a gate stops everybody else. The gate is raised, then every event loop passes a quiet point, so that no request
//! that did not see the gate still runs, and only when no save runs either does the work begin. From there to the end nothing changes the
//! keyspace but this thread, so nothing that was acknowledged can be missing from what is saved. Requests wait while the data are saved and for
//! as long after that as a server that starts lets them wait ([`LOADED_SOON`]); then they hear LOADING.
//!
//! The rule for the files: at every moment they hold what was acknowledged last, so that a crash is like one without a reload. Where the memory
//! comes to hold something else than the log tells (NOSAVE, NOFLUSH), a new base is saved before anybody is served, and the increments before
//! it, which tell of another past, leave the manifest in the same step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::load::{Expired, LoadError, LoadRules, LogEnding, ManifestLoad, SnapshotLoad, meets_keys};
use super::save::Saver;
use super::store::Store;
use super::threads::log_exact_deadlines;
use crate::base::clock::Clock;
use crate::base::step::Next;
use crate::client::{Gates, Message, QuietPoint, Reload, ReloadResult};
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::check::check_snapshot;
use crate::storage::{Damage, SnapshotReader, check};

/// How long loading may take before clients hear LOADING.
pub const LOADED_SOON: Duration = Duration::from_millis(200);

/// Where Redis writes no more than this, either.
const NOT_SAVED: &str = "ERR";
const NOT_LOADED: &str = "ERR Error trying to load the RDB dump";
/// Where Redis ends.
const LOG_NOT_LOADED: &str = "ERR Error trying to load the write log";

/// See the module's text.
pub struct Reloader {
    services: Arc<Services>,
    saver: Arc<Saver>,
    store: Arc<Store>,
    clock: Clock,
    one_at_a_time: Mutex<()>,
}

impl Reloader {
    pub fn new(services: Arc<Services>, saver: Arc<Saver>, store: Arc<Store>, clock: Clock) -> Reloader {
        Reloader { services, saver, store, clock, one_at_a_time: Mutex::new(()) }
    }

    /// Does what DEBUG has asked for, and says how it went.
    ///
    /// # Errors
    /// When the memory was emptied and could not be loaded again: nobody may be served any more.
    pub fn reload(&self, what: Reload, seed: u64) -> Result<ReloadResult, LoadError> {
        let _one = self.one_at_a_time.lock();
        self.stop_requests();
        let result = match what {
            Reload::Snapshot { save, empty, merge } => self.load_snapshot_again(save, empty, merge, seed)?,
            Reload::Log => self.load_log_again(seed)?,
        };
        self.serve();
        Ok(result)
    }

    /// Returns when no request runs that may touch keys, none can begin, and no save runs or can begin.
    fn stop_requests(&self) {
        let (services, snapshots) = (&*self.services, &self.services.snapshots);
        loop {
            // Others go on while a save runs.
            snapshots.wait_until_idle();
            snapshots.progress.awaited_until_ms.store(i64::MAX, Ordering::Relaxed);
            services.set_gate(Gates::LOADING, true);
            let mailboxes = services.clients.mailboxes();
            let quiet_point = Arc::new(QuietPoint::new(mailboxes.len()));
            for mailbox in mailboxes {
                mailbox.send(Message::Pass(Arc::clone(&quiet_point)));
            }
            quiet_point.wait();
            {
                let state = snapshots.state.lock();
                if state.running.is_none() {
                    snapshots.progress.again.store(true, Ordering::Relaxed);
                    snapshots.progress.begin(self.clock.now());
                    return;
                }
            }
            self.open();
        }
    }

    /// Lets requests in again.
    fn serve(&self) {
        let progress = &self.services.snapshots.progress;
        progress.loading.store(false, Ordering::Release);
        progress.again.store(false, Ordering::Relaxed);
        self.open();
    }

    fn open(&self) {
        self.services.set_gate(Gates::LOADING, false);
        self.services.snapshots.progress.awaited_until_ms.store(0, Ordering::Relaxed);
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(Message::Look);
        }
    }

    /// From here on requests wait only for a while.
    fn limit_patience(&self) {
        let until_ms = self.clock.steady_ms() + LOADED_SOON.as_millis() as i64;
        self.services.snapshots.progress.awaited_until_ms.store(until_ms, Ordering::Relaxed);
    }

    fn load_snapshot_again(
        &self,
        save: bool,
        empty: bool,
        merge: bool,
        seed: u64,
    ) -> Result<ReloadResult, LoadError> {
        let services = &*self.services;
        let with_log = services.settings.load().appendonly;
        // What the log tells is what the snapshot holds.
        let told = save && empty || !services.write_log.is_on();
        if !told && !self.drain() {
            tracing::error!(
                "the write log cannot be written, so DEBUG RELOAD does not replace what it tells"
            );
            return Ok(Err(NOT_SAVED));
        }
        if save && !self.saver.run(&mut self.saver.begin_as_base(SaveKind::Save, with_log)) {
            return Ok(Err(NOT_SAVED));
        }
        self.limit_patience();
        let now = self.clock.now();
        let now_ms = now.wall_ms();
        let opened = self.open_snapshot(!save);
        let reader = match opened.and_then(|reader| self.may_load(reader, empty || merge, now_ms)) {
            Ok(Some(reader)) => reader,
            Ok(None) => return Ok(Err(NOT_LOADED)),
            Err(damage) => {
                tracing::error!(%damage, "the snapshot cannot be loaded again");
                return Ok(Err(NOT_LOADED));
            }
        };
        if empty {
            services.keyspace.empty(now_ms);
        }
        let rules = LoadRules { expired: false, replace: merge };
        SnapshotLoad::new(services, reader, now, rules)?.run()?;
        if !told && !self.saver.run(&mut self.saver.begin_as_base(SaveKind::Rewrite, true)) {
            // The disk tells of another past than the memory has, and cannot be told of this one.
            self.load_all(seed)?;
            return Ok(Err(NOT_SAVED));
        }
        tracing::warn!("the snapshot was loaded again by DEBUG RELOAD");
        Ok(Ok(()))
    }

    /// The newest snapshot, if there is one. What was not written just now is read to its end before anything is given up for it.
    fn open_snapshot(&self, check_all: bool) -> Result<Option<SnapshotReader>, Damage> {
        let (disk, manifest) = (&**self.store.disk(), self.store.manifest());
        let Some(facts) = manifest.snapshot else {
            tracing::error!("there is no snapshot that DEBUG RELOAD could load");
            return Ok(None);
        };
        if check_all {
            check_snapshot(disk, &facts, self.store.key())?;
        }
        SnapshotReader::open(disk, &facts.name(), self.store.key()).map(Some)
    }

    /// Lets a snapshot through whose keys may come into the memory.
    fn may_load(
        &self,
        reader: Option<SnapshotReader>,
        may_meet_keys: bool,
        now_ms: i64,
    ) -> Result<Option<SnapshotReader>, Damage> {
        let Some(reader) = reader else { return Ok(None) };
        if !may_meet_keys && meets_keys(&self.services, &reader, now_ms)? {
            tracing::error!("keys of the snapshot are in memory, and DEBUG RELOAD was not told to MERGE");
            return Ok(None);
        }
        Ok(Some(reader))
    }

    fn load_log_again(&self, seed: u64) -> Result<ReloadResult, LoadError> {
        let services = &*self.services;
        log_exact_deadlines(services);
        if !self.drain() {
            tracing::error!("the write log cannot be written, so DEBUG LOADAOF does not load it");
            return Ok(Err(LOG_NOT_LOADED));
        }
        match check(&**self.store.disk(), self.store.key(), &|_, _| Ok((0, false))) {
            Ok(report) if report.snapshot.is_none() && report.logs.is_empty() => {
                tracing::error!("there is nothing that DEBUG LOADAOF could load");
                return Ok(Err(LOG_NOT_LOADED));
            }
            Ok(report) => {
                if let Some(damage) = report.problems().next() {
                    tracing::error!(%damage, "the write log cannot be loaded again");
                    return Ok(Err(LOG_NOT_LOADED));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the data directory cannot be read");
                return Ok(Err(LOG_NOT_LOADED));
            }
        }
        self.limit_patience();
        self.load_all(seed)?;
        services.snapshots.state.lock().saved_changes = services.changes();
        tracing::warn!("the write log was loaded again by DEBUG LOADAOF");
        Ok(Ok(()))
    }

    /// Empties the memory and loads what a start would load. The log must be drained.
    fn load_all(&self, seed: u64) -> Result<(), LoadError> {
        let services = &*self.services;
        services.keyspace.empty(self.clock.now_ms());
        ManifestLoad::new(services, &self.store, seed, LogEnding::Open, true).run(&self.clock)?;
        Expired::new(services).run(&self.clock);
        Ok(())
    }

    /// Waits until the manifest names all increments that were begun and all records are on disk; false if that cannot be.
    fn drain(&self) -> bool {
        let log = &self.services.write_log;
        if let Some(increment) = log.last_increment() {
            loop {
                let heard = self.store.bell().rings();
                if self.store.log_of(increment).is_some() {
                    break;
                }
                if log.is_stuck() {
                    return false;
                }
                self.store.bell().wait(heard, self.clock.now(), Next::Signal);
            }
        }
        log.drain_and_wait()
    }
}
