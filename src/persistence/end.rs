//! The server's end, in steps: writes are held back, and what was acknowledged is made sure to be on disk, by the log or by a save.
//!
//! If that cannot be made sure, writes go on. Who ordered the end decides what follows (`server/ending.rs`); nothing here ends anything. The
//! simulated world steps the same object.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::save::{SaveTask, Saver};
use super::threads::log_exact_deadlines;
use crate::base::clock::{Clock, Now};
use crate::base::step::Next;
use crate::client::{Gates, Message, QuietPoint};
use crate::services::Services;
use crate::snapshot::SaveKind;

/// How often an end that waits looks whether it can go on.
const LOOK_AGAIN_MS: i64 = 2;

/// See the module's text.
pub struct EndTask {
    services: Arc<Services>,
    saver: Arc<Saver>,
    /// Whether a save is asked for; else save points decide.
    save: Option<bool>,
    /// It was tried.
    has_failed: bool,
    state: State,
}

/// What comes next.
enum State {
    HoldWrites,
    /// A write that did not see the gate may still run.
    Quiet(Arc<QuietPoint>),
    /// The log was asked to be on disk up to an offset.
    Flush(u64),
    /// Another save may run.
    Reserve,
    Save(Box<SaveTask>),
    /// The error says what the server's end would lose.
    Ended(Result<(), String>),
}

impl EndTask {
    pub fn new(services: Arc<Services>, saver: Arc<Saver>, save: Option<bool>) -> EndTask {
        EndTask { services, saver, save, has_failed: false, state: State::HoldWrites }
    }

    /// Does all of it on this thread.
    ///
    /// # Errors
    /// When the end would lose something, with what that is; the server goes on then.
    pub fn run(mut self, clock: &Clock) -> Result<(), String> {
        loop {
            if let State::Save(task) = &mut self.state {
                self.saver.run(task);
            }
            let (heard, now) = (self.saver.bell().rings(), clock.now());
            match self.step(now) {
                Next::Now => {}
                Next::End => return self.result().unwrap_or(Ok(())),
                next => self.saver.bell().wait(heard, now, next),
            }
        }
    }

    /// Does one thing, which may be a step of the last save.
    pub fn step(&mut self, now: Now) -> Next {
        let again = Next::At(now.steady_ms() + LOOK_AGAIN_MS);
        let (state, next) = match std::mem::replace(&mut self.state, State::HoldWrites) {
            State::HoldWrites => (self.hold_writes(), Next::Now),
            // A loop that has failed passes nothing any more.
            State::Quiet(point) if point.is_passed() || self.services.failed.load(Ordering::Relaxed) => {
                (self.make_sure(), Next::Now)
            }
            State::Quiet(point) => (State::Quiet(point), again),
            State::Flush(offset) => match self.is_flushed(offset) {
                Some(true) => (State::Ended(Ok(())), Next::Now),
                // Where the log has not everything, a snapshot may.
                Some(false) if self.save.is_none() && !self.has_failed => (self.await_save(), Next::Now),
                Some(false) if self.save == Some(false) => (self.lose(), Next::Now),
                Some(false) => (self.go_on(), Next::Now),
                None => (State::Flush(offset), again),
            },
            State::Reserve => match self.services.reserve_save(SaveKind::Save, now.steady_ms()) {
                true => (State::Save(Box::new(self.saver.begin(SaveKind::Save))), Next::Now),
                false => (State::Reserve, again),
            },
            State::Save(mut task) => match task.step(now) {
                Next::End if task.is_saved() => (State::Ended(Ok(())), Next::Now),
                Next::End => (self.after_failed_save(), Next::Now),
                next => (State::Save(task), next),
            },
            State::Ended(result) => (State::Ended(result), Next::End),
        };
        self.state = state;
        next
    }

    /// The last save, while it runs.
    pub fn save(&self) -> Option<&SaveTask> {
        match &self.state {
            State::Save(task) => Some(task),
            _ => None,
        }
    }

    /// How it went, at the end.
    pub fn result(&self) -> Option<Result<(), String>> {
        match &self.state {
            State::Ended(result) => Some(result.clone()),
            _ => None,
        }
    }

    /// Lets writes wait. [`Gates::ENDING`] is a gate of its own, so that no CLIENT UNPAUSE opens it.
    fn hold_writes(&self) -> State {
        let snapshots = &self.services.snapshots;
        if snapshots.is_loading() && !snapshots.is_loading_again() {
            // What is on disk is better than the part of it that was loaded. What is loaded again is soon whole.
            return State::Ended(Ok(()));
        }
        self.services.set_gate(Gates::ENDING, true);
        let mailboxes = self.services.clients.mailboxes();
        let quiet_point = Arc::new(QuietPoint::new(mailboxes.len()));
        for mailbox in mailboxes {
            mailbox.send(Message::Pass(Arc::clone(&quiet_point)));
        }
        State::Quiet(quiet_point)
    }

    fn wants_save(&self) -> bool {
        self.save.unwrap_or_else(|| !self.services.settings.load().save.is_empty())
    }

    /// No write runs any more.
    fn make_sure(&self) -> State {
        if self.wants_save() {
            return self.await_save();
        }
        self.await_log()
    }

    fn await_log(&self) -> State {
        let log = &self.services.write_log;
        let offset = log.appended();
        log.request_sync();
        State::Flush(offset)
    }

    /// A log that has everything is enough, unless a snapshot was asked for.
    fn after_failed_save(&mut self) -> State {
        self.has_failed = true;
        if self.save.is_some() || !self.services.settings.load().appendonly {
            return self.go_on();
        }
        tracing::warn!("the last snapshot could not be saved; the write log is enough if it has everything");
        self.await_log()
    }

    /// Whoever says NOSAVE wants the end, whatever it costs.
    fn lose(&self) -> State {
        tracing::warn!("the server ends without saving, as it was told to, and loses {}", self.would_lose());
        State::Ended(Ok(()))
    }

    fn await_save(&self) -> State {
        self.saver.hurry(true);
        State::Reserve
    }

    /// Whether the log holds all that it should, once that is known.
    fn is_flushed(&self, offset: u64) -> Option<bool> {
        let log = &self.services.write_log;
        if !self.services.settings.load().appendonly || log.is_durable(offset) {
            return Some(true);
        }
        (!log.is_on() || !log.is_in_force() || log.is_stuck()).then_some(false)
    }

    /// Lets writes in again.
    fn go_on(&self) -> State {
        let lost = self.would_lose();
        self.saver.hurry(false);
        self.services.set_gate(Gates::ENDING, false);
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(Message::Look);
        }
        State::Ended(Err(lost))
    }

    fn would_lose(&self) -> String {
        let (services, log) = (&self.services, &self.services.write_log);
        let has_log = services.settings.load().appendonly;
        if has_log && log.is_durable(log.appended()) {
            return String::from("nothing but the snapshot that was asked for: the write log has everything");
        }
        if has_log {
            let bytes = log.appended().saturating_sub(log.durable());
            let why = log.failure().unwrap_or_else(|| String::from("its base is not saved yet"));
            return format!("{bytes} bytes of the write log are not on disk ({why})");
        }
        let changes = services.changes() - services.snapshots.state.lock().saved_changes;
        format!("{changes} changes since the last good save")
    }
}

/// Ends the log, with exact deadlines, when nothing changes the keyspace any more: its writer ends when it has written what there is. Gives how
/// often the log has failed so far; if it has failed more often when its writer has ended, the disk did not take that.
pub fn end_log(services: &Services) -> u64 {
    let failures = services.write_log.failures();
    if !services.snapshots.is_loading() {
        log_exact_deadlines(services);
    }
    services.write_log.end();
    failures
}
