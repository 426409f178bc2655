//! Bringing the parts of persistence together: loading before anybody is served, the write log's thread, and when a save is due.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::end::{EndTask, end_log};
use super::load::LoadError;
use super::log_writer::LogTask;
use super::reload::Reloader;
use super::save::Saver;
use super::start::Loader;
use super::store::{Store, StoreError};
use crate::base::clock::Clock;
use crate::client::{Gates, Message, ReloadOrder};
use crate::config::Config;
use crate::keyspace::SHARDS;
use crate::services::Services;
use crate::snapshot::{History, SaveKind};
use crate::storage::{EncryptionKey, KeySource};
use crate::write_log::encode_request;

/// After a failed save the next one that nobody asked for comes no sooner, as in Redis. After each further failure the wait is twice as long, so
/// that what each attempt leaves behind (an increment, if there were writes) does not add up.
const RETRY_MS: i64 = 5000;
const RETRY_MAX_MS: i64 = 300_000;

/// How many times its own duration passes between one rewrite of the log and the next that only growth asks for. A small keyspace that is
/// rewritten all the time would else be saved all the time.
const REWRITE_REST: i64 = 10;

/// What a client is told whose reload has no thread.
const NOT_STARTED: &str = "ERR the operating system has no thread left";

/// The threads and state of a running server's persistence.
pub struct Persistence {
    services: Arc<Services>,
    saver: Arc<Saver>,
    reloader: Arc<Reloader>,
    store: Arc<Store>,
    clock: Clock,
    log_thread: Option<JoinHandle<()>>,
}

/// Opens the data directory with the configured key.
///
/// # Errors
/// When the key cannot be had, or the directory is another server's or damaged.
pub fn open_store(config: &Config) -> Result<Store, StoreError> {
    let source = KeySource::choose(
        &config.encryption_key_file,
        &config.encryption_key_env,
        &config.encryption_key_command,
    );
    let key = source.and_then(|source| source.load()).map_err(StoreError::Key)?;
    let key = key.map(|key| key.accepting_plaintext(config.encryption_accept_plaintext));
    if key.as_ref().is_some_and(EncryptionKey::accepts_plaintext) {
        tracing::warn!(
            "files that were written without the encryption key are accepted (encryption-accept-plaintext)"
        );
    }
    Store::open(Path::new(&config.dir), key)
}

impl Persistence {
    /// From here on clients hear LOADING, until [`Persistence::load`] is done.
    pub fn new(services: &Arc<Services>, store: Store, clock: Clock) -> Persistence {
        let store = Arc::new(store);
        let now = clock.now();
        let snapshots = &services.snapshots;
        snapshots.progress.begin(now);
        let mut state = snapshots.state.lock();
        (state.last_save_ms, state.last_save_steady_ms) = (now.wall_ms(), now.steady_ms());
        drop(state);
        services.set_gate(Gates::LOADING, true);
        let saver = Arc::new(Saver::new(Arc::clone(services), Arc::clone(&store), clock.clone()));
        let parts = (Arc::clone(services), Arc::clone(&saver), Arc::clone(&store));
        let reloader = Arc::new(Reloader::new(parts.0, parts.1, parts.2, clock.clone()));
        Persistence { services: Arc::clone(services), saver, reloader, store, clock, log_thread: None }
    }

    /// Loads on a thread of its own, and begins the write log behind what was loaded. The receiver hears how it went.
    pub fn load(&mut self, seed: u64) -> std::io::Result<oneshot::Receiver<Result<(), LoadError>>> {
        let (done, loaded) = oneshot::channel();
        let (services, store, clock) =
            (Arc::clone(&self.services), Arc::clone(&self.store), self.clock.clone());
        let log_task = LogTask::new(Arc::clone(&services), Arc::clone(&store));
        let log_clock = clock.clone();
        let thread = std::thread::Builder::new().name("log".into());
        self.log_thread = Some(thread.spawn(move || log_task.run(&log_clock))?);
        let saver = Arc::clone(&self.saver);
        std::thread::Builder::new().name("load".into()).spawn(move || {
            let result = Loader::new(&services, &store, &saver, seed).run(&clock);
            // Nobody listens any more when the server ends meanwhile.
            let _ = done.send(result);
        })?;
        Ok(loaded)
    }

    /// Does a save in the background that was reserved.
    pub fn start_save(&self, kind: SaveKind) {
        let saver = Arc::clone(&self.saver);
        let started = std::thread::Builder::new().name("save".into()).spawn(move || saver.save(kind));
        if let Err(error) = started {
            tracing::error!(%error, "a save could not be started");
            self.saver.give_up(kind);
        }
    }

    /// Does what DEBUG RELOAD or LOADAOF has ordered and tells the client's event loop. What goes wrong when the memory was emptied already is
    /// told to `lost`.
    pub fn start_reload(&self, order: ReloadOrder, seed: u64, lost: UnboundedSender<LoadError>) {
        let (services, reloader) = (Arc::clone(&self.services), Arc::clone(&self.reloader));
        let tell = move |services: &Services, result| {
            let message = Message::Reloaded { place: order.place, id: order.id, result };
            services.clients.mailbox(order.loop_index).send(message);
        };
        let started = std::thread::Builder::new().name("reload".into()).spawn(move || {
            match reloader.reload(order.what, seed) {
                Ok(result) => tell(&services, result),
                // Nobody listens any more when the server ends meanwhile.
                Err(error) => drop(lost.send(error)),
            }
        });
        if let Err(error) = started {
            tracing::error!(%error, "a reload could not be started");
            tell(&self.services, Err(NOT_STARTED));
        }
    }

    /// Starts a save if one is due; called several times a second.
    pub fn look(&self) {
        if let Some(kind) = look(&self.services, self.clock.steady_ms()) {
            self.start_save(kind);
        }
    }

    /// Holds writes back, and makes sure that what was acknowledged is on disk, by a save if that is asked for (`save`; else save points decide). If
    /// it cannot be made sure, writes go on; the error says what the server's end would lose.
    ///
    /// # Errors
    /// See above.
    pub async fn prepare_end(&self, save: Option<bool>) -> Result<(), String> {
        let task = EndTask::new(Arc::clone(&self.services), Arc::clone(&self.saver), save);
        let clock = self.clock.clone();
        let ready = tokio::task::spawn_blocking(move || task.run(&clock)).await;
        ready.unwrap_or_else(|panic| Err(panic.to_string()))
    }

    /// Writes the end of the log. After the event loops have ended. False if the disk did not take it.
    pub fn end(&mut self) -> bool {
        let failures = end_log(&self.services);
        if let Some(thread) = self.log_thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
        self.services.write_log.failures() == failures
    }
}

/// Records the deadlines that the write log knows only roughly: after an orderly end no key lives longer than it should.
pub fn log_exact_deadlines(services: &Services) {
    let log = &services.write_log;
    if !log.is_on() {
        return;
    }
    // What a save has visited is of its epoch, and the log of another.
    let all = services.snapshots.has_visited.load(Ordering::Acquire);
    for shard in 0..SHARDS {
        services.keyspace.each_coarse(shard, all, |database, key, at_ms| {
            let digits = &mut itoa::Buffer::new();
            let words: [&[u8]; 3] = [b"PEXPIREAT", key, digits.format(at_ms).as_bytes()];
            log.append(database, |out| encode_request(out, &words));
        });
    }
}

/// Reserves a save if one is due at a steady time.
pub fn look(services: &Services, steady_ms: i64) -> Option<SaveKind> {
    // A save that began just before may have turned it on again.
    if services.write_log.is_on() && !services.settings.load().appendonly {
        services.keyspace.while_locked(|| services.write_log.turn_off());
    }
    due(services, steady_ms).filter(|kind| services.reserve_save(*kind, steady_ms))
}

/// How long the next save of a kind waits whose last one has failed.
fn retry_ms(history: &History) -> i64 {
    let doublings = history.failures.saturating_sub(1).min(16) as u32;
    (RETRY_MS << doublings).min(RETRY_MAX_MS)
}

/// The save that is due at a steady time: one that was scheduled, or that a save point or the growth of the write log asks for.
fn due(services: &Services, steady_ms: i64) -> Option<SaveKind> {
    if services.snapshots.is_loading() {
        return None;
    }
    let config = services.settings.load();
    let changes = services.changes();
    let log = &services.write_log;
    let state = &mut *services.snapshots.state.lock();
    if state.running.is_some() {
        return None;
    }
    if let Some(kind) = state.next_scheduled() {
        return Some(kind);
    }
    let waited_ms = steady_ms - state.last_try_ms;
    let unsaved = changes.saturating_sub(state.saved_changes);
    let since_save_ms = steady_ms - state.last_save_steady_ms;
    let point = config
        .save
        .iter()
        .any(|point| unsaved >= u64::from(point.changes) && since_save_ms > i64::from(point.seconds) * 1000);
    if point && (state.saves.last_ok || waited_ms > retry_ms(&state.saves)) {
        return Some(SaveKind::Save);
    }
    // It was turned on while a save ran that did not know of it yet, or has failed, or its base could not be saved.
    let log_missing = config.appendonly && log.needs_cut();
    let log_bytes = log.appended().saturating_sub(state.base_offset);
    let percentage = u64::from(config.auto_aof_rewrite_percentage);
    let grown = log.is_on()
        && percentage > 0
        && state.base_bytes + log_bytes >= config.auto_aof_rewrite_min_size
        && log_bytes.saturating_mul(100) >= state.base_raw_bytes.saturating_mul(percentage);
    let rested = waited_ms >= REWRITE_REST * state.rewrites.last_ms;
    let may_rewrite =
        if state.rewrites.last_ok { log_missing || rested } else { waited_ms > retry_ms(&state.rewrites) };
    ((log_missing || grown) && may_rewrite).then_some(SaveKind::Rewrite)
}
