//! The start, in steps: loading what is there, or importing what another server has left, and what follows before anybody is served.

use std::sync::atomic::Ordering;

use super::import::{import_redis, warn_of_redis};
use super::load::{Expired, LoadError, LogEnding, ManifestLoad};
use super::save::{SaveTask, Saver};
use super::store::Store;
use crate::base::clock::{Clock, Now};
use crate::base::step::Next;
use crate::client::{Gates, Message};
use crate::services::Services;
use crate::snapshot::SaveKind;

/// Each start begins an increment; when there are more than this, a new base takes their place.
const INCREMENTS_MAX: usize = 16;

/// See the module's text.
pub struct Loader<'l> {
    services: &'l Services,
    store: &'l Store,
    saver: &'l Saver,
    seed: u64,
    /// The log is on behind what is loaded. One that is turned on while it is loaded begins with a base of its own.
    with_log: bool,
    begun: Option<Now>,
    state: State<'l>,
}

/// What comes next.
enum State<'l> {
    Load(Box<ManifestLoad<'l>>),
    Import,
    /// What was imported is saved.
    Save(Box<SaveTask>),
    BeginLog,
    Expire(Expired<'l>),
    Serve,
    Done,
}

impl<'l> Loader<'l> {
    pub fn new(services: &'l Services, store: &'l Store, saver: &'l Saver, seed: u64) -> Loader<'l> {
        let with_log = services.settings.load().appendonly;
        if let Some(facts) = &store.manifest().snapshot {
            services.snapshots.state.lock().last_save_ms = facts.created_ms as i64;
        }
        let load = ManifestLoad::new(services, store, seed, LogEnding::Cut, with_log);
        Loader { services, store, saver, seed, with_log, begun: None, state: State::Load(Box::new(load)) }
    }

    /// Does all of it, with further threads where they help, and lets clients in.
    ///
    /// # Errors
    /// See [`LoadError`]; part of the data may be in memory then.
    pub fn run(mut self, clock: &Clock) -> Result<(), LoadError> {
        self.begun = Some(clock.now());
        loop {
            match &mut self.state {
                State::Load(load) => load.run(clock)?,
                State::Save(task) => drop(self.saver.run(task)),
                State::Expire(expired) => expired.run(clock),
                _ => {}
            }
            if self.step(clock.now())? == Next::End {
                return Ok(());
            }
        }
    }

    /// # Errors
    /// As [`Loader::run`].
    pub fn step(&mut self, now: Now) -> Result<Next, LoadError> {
        let begun = *self.begun.get_or_insert(now);
        let (state, next) = match std::mem::replace(&mut self.state, State::Done) {
            State::Load(mut load) => match load.step(now)? {
                Next::End => (self.after_load(&load, now.steady_ms() - begun.steady_ms()), Next::Now),
                next => (State::Load(load), next),
            },
            State::Import => match import_redis(self.services, self.store, now, self.seed)? {
                // What was imported must not depend on the files of Redis any more, once something else is recorded.
                true => (State::Save(Box::new(self.saver.begin_as_base(SaveKind::Save, false))), Next::Now),
                false => (State::BeginLog, Next::Now),
            },
            State::Save(mut task) => match task.step(now) {
                Next::End if task.is_saved() => (State::BeginLog, Next::Now),
                Next::End => {
                    return Err(LoadError::Import(String::from("what was imported could not be saved")));
                }
                next => (State::Save(task), next),
            },
            State::BeginLog => {
                self.store.remove_unnamed();
                self.begin_log();
                (State::Expire(Expired::new(self.services)), Next::Now)
            }
            State::Expire(mut expired) => match expired.step(now) {
                Next::End => (State::Serve, Next::Now),
                next => (State::Expire(expired), next),
            },
            State::Serve => {
                self.serve();
                (State::Done, Next::End)
            }
            State::Done => (State::Done, Next::End),
        };
        self.state = state;
        Ok(next)
    }

    fn after_load(&self, load: &ManifestLoad<'_>, milliseconds: i64) -> State<'l> {
        let (offset, records) = load.result();
        self.services.write_log.start_at(offset);
        if self.store.is_new() {
            return State::Import;
        }
        let keys = self.services.snapshots.progress.loaded_keys.load(Ordering::Relaxed);
        tracing::info!(keys, records, milliseconds, "data loaded");
        warn_of_redis(self.services);
        State::BeginLog
    }

    fn begin_log(&self) {
        let (services, config) = (self.services, self.services.settings.load());
        services.write_log.configure(config.appendfsync, config.write_log_buffer_limit);
        if self.with_log && config.appendonly {
            services.write_log.go_on();
        }
    }

    /// Lets clients in.
    fn serve(&self) {
        let services = self.services;
        services.snapshots.state.lock().saved_changes = services.changes();
        services.snapshots.progress.loading.store(false, Ordering::Release);
        services.set_gate(Gates::LOADING, false);
        for mailbox in services.clients.mailboxes() {
            mailbox.send(Message::Look);
        }
        if self.store.manifest().logs.len() > INCREMENTS_MAX {
            services.snapshots.state.lock().schedule(SaveKind::Rewrite);
        }
    }
}
