//! What must hold at any time in a server's life, whatever happens. Each rule is a function that says what is wrong.

use super::life::Life;
use super::plan::{CLIENTS, Op};
use super::world::{LIMIT_BYTES, LOOPS};
use crate::client::Gates;
use crate::config::AppendFsync;
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::{Disk, OurFile};

/// A key whose time has passed for so long is gone after a round of expiry: a tick, and what the wheels do not notice of a step of the clock.
const LATE_MS: i64 = 150;
/// `everysec` is a second, and what gathers before it is taken.
const DURABLE_MS: i64 = 1_100;
/// The longest time that any request here asks to wait for.
const WAIT_MS: i64 = 200;
/// Files of ours that the manifest does not name while a server runs: a snapshot and a manifest that are being written, a log that waits for its
/// base, and what the manifest on a disk that could not be synced may name.
const UNNAMED_MAX: usize = 5;
/// After a failed save the next one that nobody asks for comes no sooner, and each later one after twice the time, up to the maximum.
const RETRY_MS: i64 = 5_000;
const RETRY_MAX_MS: i64 = 300_000;
/// Save points here are `1 3` or none.
const POINT: (i64, u64) = (1_000, 3);
/// What a request adds to the files at most, with blocks and pages around it.
const REQUEST_BYTES: u64 = 64 * 1024;
/// The files of an idle server with so few keys.
const FILES_BYTES: u64 = 512 * 1024;

/// What the rules remember of a life.
#[derive(Default)]
pub struct Checks {
    /// The present state and the steady time at each turn of the log after which everything was written.
    log_turns: Vec<(usize, i64)>,
    /// A removal has failed, so files may stay.
    pub removals_fail: bool,
    /// Since when each client waits for a time or for the disk, in steady milliseconds.
    waiting_since_ms: [Option<i64>; CLIENTS as usize],
    /// Requests so far.
    pub requests: u64,
    /// Logs that the manifest may name at most.
    logs_max: usize,
    /// Where the log's last increment began.
    increment_at: Option<u64>,
    /// How often saves have failed since the last good one, in the order of [`SaveKind`].
    failures: [u32; 2],
    /// Steady milliseconds of the last attempt to save, and of the end of the last good one.
    last_try_ms: i64,
    last_saved_ms: i64,
    /// Changes that the last good save has, and that the present one has.
    saved_changes: u64,
    changes_at_cut: u64,
    /// How often the log had failed at the cut of the save that runs, and at that of the last one, if it was good.
    log_failures: u64,
    overcome: Option<u64>,
    /// Bytes of all files at the start.
    bytes_at_start: u64,
}

impl Checks {
    pub fn note_try(&mut self, now_ms: i64) {
        self.last_try_ms = now_ms;
        self.overcome = None;
    }

    /// A save has made its cut.
    pub fn note_cut(&mut self, services: &Services) {
        let log = &services.write_log;
        self.changes_at_cut = services.changes();
        self.log_failures = log.failures();
        // An increment without a record is as good as a new one.
        if log.is_on() && self.increment_at.replace(log.appended()) != Some(log.appended()) {
            self.logs_max += 1;
        }
    }

    /// A save has ended, with a cut or before it.
    pub fn note_save(&mut self, kind: SaveKind, cut: bool, saved: bool, now_ms: i64) {
        let failures = &mut self.failures[kind as usize];
        if !saved {
            *failures += 1;
            return;
        }
        *failures = 0;
        if cut {
            (self.saved_changes, self.last_saved_ms) = (self.changes_at_cut, now_ms);
            self.overcome = Some(self.log_failures);
            self.logs_max = 1;
        }
    }
}

impl Life<'_, '_> {
    /// Right after the data were loaded.
    pub fn begin_checks(&mut self) -> Result<(), String> {
        let unnamed = self.unnamed_files();
        if !unnamed.is_empty() {
            return Err(format!("files that nothing names stay after a start: {unnamed:?}"));
        }
        self.checks.logs_max = self.store.manifest().logs.len();
        self.checks.increment_at = self.services.write_log.last_increment().map(|first| first.start_offset);
        self.checks.saved_changes = self.services.changes();
        self.checks.last_saved_ms = self.now().steady_ms();
        self.checks.bytes_at_start = self.file_bytes();
        Ok(())
    }

    /// After anything that has happened.
    pub fn check(&mut self, op: &Op) -> Result<(), String> {
        if !self.services.write_log.is_on() {
            self.checks.increment_at = None;
        }
        if matches!(op, Op::Expire) {
            self.check_expiry()?;
        }
        if matches!(op, Op::Log { .. }) && self.log_waits() {
            self.check_policy()?;
            self.check_overcome()?;
        }
        if matches!(op, Op::Log { .. } | Op::Save { .. }) {
            self.check_waiting()?;
            self.check_files()?;
        }
        self.check_clients()?;
        self.check_memory()
    }

    fn check_expiry(&self) -> Result<(), String> {
        let gates = self.services.gates();
        let is_held = gates.has(Gates::PAUSED.and(Gates::ENDING)) || self.services.write_log.is_full();
        let overdue = self.world.history.overdue(self.now().wall_ms() - LATE_MS);
        match overdue {
            0 => Ok(()),
            _ if is_held => Ok(()),
            overdue => Err(format!("{overdue} keys are there although their time has long passed")),
        }
    }

    /// A log that waits, and whose disk works, has flushed as `appendfsync` says.
    fn check_policy(&mut self) -> Result<(), String> {
        let (log, now_ms) = (&self.services.write_log, self.now().steady_ms());
        let promises = log.is_on() && log.is_in_force() && !log.is_stuck();
        // The first of them was written in an earlier turn, and there was one more now.
        let first = self.world.history.first_unpromised();
        let written =
            self.checks.log_turns.iter().find(|(present, _)| first.is_some_and(|first| *present >= first));
        let late = written.is_some_and(|(_, steady_ms)| *steady_ms < now_ms - DURABLE_MS);
        match log.policy() {
            AppendFsync::Everysec if promises && late => {
                return Err(String::from("everysec has not flushed for more than a second"));
            }
            AppendFsync::Always if promises && self.log_rests() && !log.is_durable(log.appended()) => {
                return Err(String::from("the log's thread rests although `always` is not fulfilled"));
            }
            _ => {}
        }
        if log.written() == log.appended() {
            self.checks.log_turns.push((self.world.history.present(), now_ms));
        }
        Ok(())
    }

    /// A failed flush is overcome by a good save, and no save that ends well leaves the log out of force.
    fn check_overcome(&self) -> Result<(), String> {
        let log = &self.services.write_log;
        let is_whole = self.checks.overcome == Some(log.failures()) && !log.is_troubled();
        if is_whole && self.save.is_none() && (log.has_failed() || log.is_on() && !log.is_in_force()) {
            return Err(String::from("the log is not in force although a save has ended well"));
        }
        Ok(())
    }

    /// A save does not wait for what nobody is about to do.
    fn check_waiting(&self) -> Result<(), String> {
        let rings = self.store.bell().rings();
        if self.log_waits() && self.save.as_ref().is_some_and(|save| save.waits(rings)) {
            return Err(String::from("a save waits, and the log's thread does, too"));
        }
        Ok(())
    }

    /// Files and their bytes are bounded: by what the keys need, and by what was asked since a good save.
    fn check_files(&self) -> Result<(), String> {
        let (logs, logs_max) = (self.store.manifest().logs.len(), self.checks.logs_max);
        if logs > logs_max {
            return Err(format!("the manifest names {logs} logs where {logs_max} are enough"));
        }
        if self.checks.removals_fail {
            return Ok(());
        }
        let unnamed = self.unnamed_files();
        if unnamed.len() > UNNAMED_MAX {
            return Err(format!("files pile up that nothing names: {unnamed:?}"));
        }
        let most = self.checks.bytes_at_start + FILES_BYTES + self.checks.requests * REQUEST_BYTES;
        match self.file_bytes() {
            bytes if bytes > most => Err(format!("the files have {bytes} bytes")),
            _ => Ok(()),
        }
    }

    /// Who waits for a time is answered when it has come.
    fn check_clients(&mut self) -> Result<(), String> {
        let now_ms = self.now().steady_ms();
        for (client, place) in self.places.iter().enumerate() {
            let waits = place.is_some_and(|place| self.loops[client % LOOPS].waits_for_time(place));
            let since_ms = &mut self.checks.waiting_since_ms[client];
            *since_ms = waits.then(|| since_ms.unwrap_or(now_ms));
            if since_ms.is_some_and(|since_ms| now_ms - since_ms > WAIT_MS) {
                return Err(format!("client {client} waits longer than it has asked for"));
            }
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), String> {
        let bytes = self.services.write_log.buffered_bytes() as u64;
        if self.world.start.tight && bytes > LIMIT_BYTES + CLIENTS * REQUEST_BYTES {
            return Err(format!("{bytes} bytes wait for the log's thread"));
        }
        Ok(())
    }

    /// When a save has ended, and no other has begun.
    pub fn check_saved(&self) -> Result<(), String> {
        match self.services.keyspace.captured_bytes() {
            0 => {}
            bytes => return Err(format!("{bytes} captured bytes are left when a save has ended")),
        }
        if !self.world.disk.is_sound() || self.checks.removals_fail {
            return Ok(());
        }
        let is_log = |name: &String| matches!(OurFile::of(name), Some(OurFile::Log(_)));
        match self.unnamed_files().into_iter().find(|name| !is_log(name)) {
            Some(name) => Err(format!("{name} stays behind when a save has ended")),
            None => Ok(()),
        }
    }

    /// When the control thread has looked whether a save is due: not too soon after a failure, and not never.
    pub fn check_look(&self, scheduled: Option<SaveKind>, due: Option<SaveKind>) -> Result<(), String> {
        let now_ms = self.now().steady_ms();
        let checks = &self.checks;
        let waited_ms = now_ms - checks.last_try_ms;
        if let Some(kind) = due.filter(|_| scheduled.is_none()) {
            let failures = checks.failures[kind as usize];
            let wait_ms = (RETRY_MS << failures.saturating_sub(1).min(16)).min(RETRY_MAX_MS);
            if failures > 0 && waited_ms <= wait_ms {
                return Err(format!("a save begins {waited_ms} ms after failure {failures} in a row"));
            }
        }
        let changes = self.services.changes().saturating_sub(checks.saved_changes);
        let is_due = changes >= POINT.1 && now_ms - checks.last_saved_ms > POINT.0;
        let may_try = checks.failures == [0; 2] || waited_ms > RETRY_MAX_MS;
        let has_points = !self.services.settings.load().save.is_empty();
        if has_points && is_due && may_try && due.is_none() && self.save.is_none() {
            return Err(format!("no save begins although {changes} changes are not saved"));
        }
        Ok(())
    }

    /// When the disk works again, and a save was made on it.
    pub fn check_recovered(&self) -> Result<(), String> {
        let (log, gates) = (&self.services.write_log, self.services.gates());
        let appendonly = self.services.settings.load().appendonly;
        if gates.has(Gates::WRITES_REFUSED.and(Gates::LOG_FULL).and(Gates::ENDING)) {
            return Err(String::from("writes are refused although nothing keeps them from being saved"));
        }
        if appendonly && !(log.is_on() && log.is_in_force()) {
            return Err(String::from("the log is not in force although nothing keeps it from that"));
        }
        Ok(())
    }

    fn unnamed_files(&self) -> Vec<String> {
        let manifest = self.store.manifest();
        self.our_files().filter(|name| !manifest.names(name)).collect()
    }

    fn file_bytes(&self) -> u64 {
        self.our_files()
            .filter_map(|name| self.world.disk.contents(&name))
            .map(|bytes| bytes.len() as u64)
            .sum()
    }

    fn our_files(&self) -> impl Iterator<Item = String> {
        let names = self.world.disk.list().unwrap_or_default();
        names.into_iter().filter(|name| OurFile::of(name).is_some())
    }
}
