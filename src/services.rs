//! The state that all event loops share: keyspace, configuration, clients, subscriptions, records. No loops, no sockets.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

use crate::base::lock;
use crate::base::waiting::may_wait;
use crate::client::{Clients, Gates, MigrationOrder, ReloadOrder};
use crate::config::{Config, Permission};
use crate::keyspace::Keyspace;
use crate::observe::latency_monitor::LatencyMonitor;
use crate::observe::rates::Rates;
use crate::observe::slow_log::SlowLog;
use crate::observe::statistics::Statistics;
use crate::pubsub::{Audience, KeyspaceEvents, PubSub};
use crate::snapshot::{Running, SaveKind, Snapshots};
use crate::write_log::WriteLog;

/// The configuration in force. Event loops keep a copy and look at the generation before each request.
pub struct Settings {
    current: ArcSwap<Config>,
    generation: AtomicU64,
    changing: Mutex<()>,
    /// The file that CONFIG REWRITE writes.
    pub file: Option<PathBuf>,
}

impl Settings {
    pub fn new(config: Config, file: Option<PathBuf>) -> Settings {
        Settings {
            current: ArcSwap::from_pointee(config),
            generation: AtomicU64::new(1),
            changing: Mutex::new(()),
            file,
        }
    }

    pub fn load(&self) -> Arc<Config> {
        self.current.load_full()
    }

    /// Begins a change; the next one begins when the guard is dropped. Who changes waits for the control thread and for files, so nobody
    /// who holds a shard may wait for the turn.
    pub fn begin_change(&self) -> MutexGuard<'_, ()> {
        may_wait();
        self.changing.lock()
    }

    /// Changes with every [`Settings::store`].
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn store(&self, config: Config) {
        self.current.store(Arc::new(config));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// CLIENT PAUSE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pause {
    /// Steady milliseconds; the pause is over from this moment on.
    pub until_ms: i64,
    /// All commands wait, not only those that write.
    pub all: bool,
}

/// How the server ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shutdown {
    /// SAVE or NOSAVE; without either the server saves if save points are configured.
    pub save: Option<bool>,
    /// End even if saving fails.
    pub force: bool,
    /// End without waiting for clients to read their replies.
    pub now: bool,
    /// The number of the request among [`Services::shutdowns`]; 0 for a signal.
    pub order: u64,
}

/// What the server can do to itself only from outside the core; `server` installs it.
pub trait Control: Send + Sync {
    /// Applies what a changed configuration needs done (listen on another port, log elsewhere). On an error nothing has
    /// changed, and the text goes into CONFIG SET's reply, with the name of the directive.
    fn apply(&self, old: &Config, new: &Config) -> Result<(), (String, String)>;
    /// Begins an orderly end (SHUTDOWN).
    fn shut_down(&self, how: Shutdown);
    /// Sends keys to another server; the client's event loop hears of the end. False if that cannot be begun.
    fn migrate(&self, order: MigrationOrder) -> bool;
    /// Loads the data again; the client's event loop hears of the end. False if that cannot be begun.
    fn reload(&self, order: ReloadOrder) -> bool;
    /// Does a save in the background that [`Services::reserve_save`] has reserved.
    fn start_save(&self, kind: SaveKind);
}

/// The error of Redis for a write after a failed save.
const SAVE_FAILED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";

/// See the module's text.
pub struct Services {
    pub keyspace: Keyspace,
    pub settings: Settings,
    pub clients: Clients,
    pub pubsub: PubSub,
    pub events: KeyspaceEvents,
    /// Locked while a line goes to all of them.
    pub monitors: lock::Mutex<Audience>,
    pub statistics: Statistics,
    pub slow_log: Mutex<SlowLog>,
    pub latency: Mutex<LatencyMonitor>,
    /// Sampled by event loop 0.
    pub rates: Mutex<Rates>,
    pub pause: Mutex<Pause>,
    gates: AtomicU32,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: AtomicBool,
    /// Bytes in use when the server had started (INFO used_memory_startup).
    pub startup_bytes: usize,
    /// Since when memory is above `maxmemory` (steady microseconds); 0 while it is not.
    pub memory_exceeded_since_us: AtomicI64,
    /// What MIGRATE has under way.
    pub migrating_bytes: Arc<AtomicUsize>,
    pub write_log: WriteLog,
    pub snapshots: Snapshots,
    /// SHUTDOWN requests so far, and the number of the last one that failed.
    pub shutdowns: AtomicU64,
    pub shutdowns_failed: AtomicU64,
    pub control: Box<dyn Control>,
    /// An event loop has failed: the server ends, and says so with its exit status.
    pub failed: AtomicBool,
    pub identity: Identity,
    /// 40 hexadecimal digits that would name this server's data to replicas.
    pub replication_id: Mutex<String>,
}

/// What does not change while the server runs.
pub struct Identity {
    /// 40 hexadecimal digits, new at each start.
    pub run_id: String,
    /// Steady milliseconds.
    pub started_ms: i64,
    pub loops: usize,
    pub executable: String,
}

impl Services {
    /// Puts the shared state together.
    pub fn new(
        keyspace: Keyspace,
        settings: Settings,
        clients: Clients,
        statistics: Statistics,
        control: Box<dyn Control>,
        identity: Identity,
    ) -> Services {
        let services = Services {
            keyspace,
            settings,
            clients,
            pubsub: PubSub::default(),
            events: KeyspaceEvents::default(),
            monitors: lock::Mutex::default(),
            statistics,
            slow_log: Mutex::default(),
            latency: Mutex::default(),
            rates: Mutex::default(),
            pause: Mutex::default(),
            gates: AtomicU32::new(0),
            active_expire: AtomicBool::new(true),
            startup_bytes: crate::base::allocator::used_bytes(),
            memory_exceeded_since_us: AtomicI64::new(0),
            migrating_bytes: Arc::default(),
            write_log: WriteLog::default(),
            snapshots: Snapshots::default(),
            shutdowns: AtomicU64::new(0),
            shutdowns_failed: AtomicU64::new(0),
            control,
            failed: AtomicBool::new(false),
            replication_id: Mutex::new(identity.run_id.clone()),
            identity,
        };
        let config = services.settings.load();
        services.set_gate(Gates::MEMORY_LIMIT, config.maxmemory > 0);
        services.set_gate(Gates::PROTECTED, config.enable_debug_command != Permission::Yes);
        services
    }

    /// CLIENT PAUSE until a steady time in milliseconds. A pause that is in force can get longer and stricter this way, never shorter
    /// or milder.
    pub fn pause_clients(&self, until_ms: i64, all: bool, steady_ms: i64) {
        let pause = &mut *self.pause.lock();
        if pause.until_ms <= steady_ms {
            *pause = Pause::default();
        }
        *pause = Pause { until_ms: pause.until_ms.max(until_ms), all: pause.all || all };
        self.set_gate(Gates::PAUSED, pause.until_ms > steady_ms);
    }

    /// CLIENT UNPAUSE. Blocked clients go on when their event loops look next.
    pub fn unpause_clients(&self) {
        let pause = &mut *self.pause.lock();
        *pause = Pause::default();
        self.set_gate(Gates::PAUSED, false);
    }

    /// Why writes are refused at present, as the error says it; `None` if they are not.
    pub fn why_writes_are_refused(&self, config: &Config) -> Option<String> {
        let saving_failed = !self.snapshots.state.lock().saves.last_ok;
        if config.stop_writes_on_bgsave_error && !config.save.is_empty() && saving_failed {
            return Some(String::from(SAVE_FAILED));
        }
        let failure = self.write_log.failure().filter(|_| config.appendonly)?;
        Some(format!("MISCONF Errors writing to the AOF file: {failure}"))
    }

    /// Refuses writes, or accepts them again, as saving and the write log have gone.
    pub fn check_writes(&self) {
        let refused = self.why_writes_are_refused(&self.settings.load()).is_some();
        self.set_gate(Gates::WRITES_REFUSED, refused);
    }

    /// Takes the right to save, and starts the save in the background. False if one is running.
    pub fn start_save(&self, kind: SaveKind, steady_ms: i64) -> bool {
        let reserved = self.reserve_save(kind, steady_ms);
        if reserved {
            self.control.start_save(kind);
        }
        reserved
    }

    /// Does what a change of the configuration needs done before it is in force, as far as that cannot fail.
    pub fn take_effect(&self, new: &Config) {
        self.set_gate(Gates::MEMORY_LIMIT, new.maxmemory > 0);
        self.write_log.configure(new.appendfsync, new.write_log_buffer_limit);
    }

    /// Puts a changed configuration in force. A write log that is turned on by it begins at a cut, so that what it lacks is in its base.
    pub fn put_in_force(&self, new: Config, steady_ms: i64) {
        let (before, after) = (self.settings.load().appendonly, new.appendonly);
        self.settings.store(new);
        if before && !after {
            // Only now: a save that makes its cut in between, and reads that the log is wanted, would turn it on again.
            self.keyspace.while_locked(|| self.write_log.turn_off());
        }
        if after && !before && !self.start_save(SaveKind::Rewrite, steady_ms) {
            self.snapshots.state.lock().schedule(SaveKind::Rewrite);
        }
    }

    /// Takes the right to save. False if a save is running.
    pub fn reserve_save(&self, kind: SaveKind, steady_ms: i64) -> bool {
        let mut state = self.snapshots.state.lock();
        if state.running.is_some() || self.snapshots.is_loading() {
            return false;
        }
        state.running = Some(Running { kind, started_ms: steady_ms });
        state.last_try_ms = steady_ms;
        state.scheduled[kind as usize] = false;
        self.snapshots.keys_written.store(0, Ordering::Relaxed);
        true
    }

    /// Changes of the keyspace since the start.
    pub fn changes(&self) -> u64 {
        self.statistics.loops().iter().map(|each| each.changes.get()).sum()
    }

    /// The gates that are in force for every client.
    #[inline]
    pub fn gates(&self) -> Gates {
        Gates(self.gates.load(Ordering::Relaxed))
    }

    /// The pause in force at `steady_ms`. One whose time has come is over from here on for everybody.
    pub fn pause_at(&self, steady_ms: i64) -> Option<Pause> {
        let mut pause = self.pause.lock();
        if pause.until_ms <= steady_ms {
            *pause = Pause::default();
            self.set_gate(Gates::PAUSED, false);
            return None;
        }
        Some(*pause)
    }

    pub fn set_gate(&self, gate: Gates, on: bool) {
        if on {
            self.gates.fetch_or(gate.0, Ordering::Relaxed);
        } else {
            self.gates.fetch_and(!gate.0, Ordering::Relaxed);
        }
    }
}
