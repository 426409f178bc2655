//! Starting and stopping the server: event loops on threads of their own, and the control thread, which is a tokio runtime and works as
//! `ending.rs` says until the end.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::unbounded_channel;

use super::control::{Controller, ServerControl};
use super::door::Door;
use super::ending::{Ending, Signals, exit_interrupted, load_result};
use super::event_loop::EventLoop;
use super::listen::{self, ListenError, Listener, Listeners, remove_file};
use super::logging::{LogError, Logging};
use super::supervision::{self, Manager};
use crate::base::clock::{Clock, Stopwatch};
use crate::base::slabs;
use crate::base::{scheduling, system};
use crate::client::{Clients, Mailbox, Message};
use crate::command::COMMANDS;
use crate::config::{self, Config, LoadError, Source, read_files};
use crate::keyspace::{HashFunction, KeyHasher, Keyspace, ReclaimWork, Reclaimer, ValueLimits};
use crate::observe::statistics::Statistics;
use crate::persistence::LOADED_SOON;
use crate::persistence::LoadError as DataError;
use crate::persistence::{Persistence, open_store};
use crate::persistence::{Store, StoreError};
use crate::services::{Identity, Services, Settings};

/// What a server starts from.
pub struct Launch {
    /// Where the configuration comes from, in order.
    pub sources: Vec<Source>,
    /// The absolute path of the configuration file, if there is one: CONFIG REWRITE writes it.
    pub file: Option<PathBuf>,
}

/// Why the server did not start. `Display` writes one line.
#[derive(Debug)]
pub enum StartError {
    Load(LoadError),
    Log(LogError),
    /// The data directory cannot be made or used.
    Directory {
        path: String,
        error: std::io::Error,
    },
    Listen(ListenError),
    /// The data in the directory is another server's, or cannot be read.
    Store {
        path: String,
        error: StoreError,
    },
    /// The data is damaged.
    Data(DataError),
    /// Neither a port nor a Unix socket.
    Nowhere,
    /// The limit of open descriptors leaves no room for clients.
    Descriptors,
    /// A thread, runtime or poller could not be made.
    System(std::io::Error),
    /// An event loop could not go on.
    Failed,
    /// The disk did not take the end of the write log.
    LogLost,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Load(error) => error.fmt(f),
            StartError::Log(error) => error.fmt(f),
            StartError::Directory { path, error } => {
                write!(f, "cannot use the data directory '{path}' (dir): {error}")
            }
            StartError::Listen(error) => error.fmt(f),
            StartError::Store { path, error } => {
                write!(f, "cannot use the data directory '{path}' (dir): {error}")
            }
            StartError::Data(error) => write!(f, "cannot load the data: {error}"),
            StartError::Nowhere => {
                write!(
                    f,
                    "there is nowhere to listen: give a port with an address of this machine, or a unixsocket"
                )
            }
            StartError::Descriptors => {
                write!(f, "the limit of open files (ulimit -n) leaves no room for clients")
            }
            StartError::System(error) => {
                write!(f, "the operating system refused what the server needs: {error}")
            }
            StartError::Failed => write!(f, "an event loop failed, and the server ended with it"),
            StartError::LogLost => write!(f, "the end of the write log could not be written and is lost"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> StartError {
        StartError::System(error)
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start, or when an event loop failed and the server had to end.
pub fn run(launch: Launch) -> Result<(), StartError> {
    let loaded = config::load(&launch.sources, &mut |path| read_files(path)).map_err(StartError::Load)?;
    let mut config = loaded.config;
    if config.daemonize && !supervision::is_daemon() && !Manager::find(&config).is_there() {
        return Ok(supervision::start_daemon(&launch.sources)?);
    }
    let logging = Arc::new(Logging::start(&config).map_err(StartError::Log)?);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), pid = std::process::id(), "starting");
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    config.dir = system::data_directory(&config.dir)
        .map_err(|error| StartError::Directory { path: config.dir.clone(), error })?;
    let loops = match config.threads {
        0 => scheduling::processors().max(1),
        threads => threads as usize,
    };
    let allowed = system::allow_clients(config.maxclients, loops);
    if allowed == 0 {
        return Err(StartError::Descriptors);
    }
    if allowed < config.maxclients {
        tracing::warn!(
            asked = config.maxclients,
            allowed,
            "maxclients is lowered to what the limit of open files allows"
        );
        config.maxclients = allowed;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anybody can connect, so that who knows the server to be there can also signal it.
    let signals = runtime.block_on(async { Signals::new() })?;
    let store = open_store(&config).map_err(|error| StartError::Store { path: config.dir.clone(), error })?;
    let listeners = listen::open(&config).map_err(StartError::Listen)?;
    if listeners.is_empty() {
        return Err(StartError::Nowhere);
    }
    system::start_allocator_thread();
    let pidfile = write_pidfile(&config.pidfile);
    let control = ControlThread { runtime, signals, logging, listeners };
    let result = serve(config, &launch, control, store, loops);
    if let Some(path) = pidfile {
        remove_file(&path, "pidfile");
    }
    tracing::info!("stopped");
    result
}

/// Writes the process id; a server without the file is better than no server, as in Redis.
fn write_pidfile(path: &str) -> Option<PathBuf> {
    if path.is_empty() {
        return None;
    }
    let written = std::path::absolute(path)
        .and_then(|path| std::fs::write(&path, format!("{}\n", std::process::id())).map(|()| path));
    written.inspect_err(|error| tracing::warn!(%error, path, "the pidfile could not be written")).ok()
}

/// What the control thread works with.
struct ControlThread {
    runtime: Runtime,
    signals: Signals,
    logging: Arc<Logging>,
    listeners: Vec<Listener>,
}

/// Starts the threads and serves until told to stop.
fn serve(
    config: Config,
    launch: &Launch,
    control_thread: ControlThread,
    store: Store,
    loops: usize,
) -> Result<(), StartError> {
    let doors: Arc<[Arc<Door>]> = (0..loops)
        .map(|_| Door::new().map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(std::io::Error::from)?
        .into();
    let (control, orders) = ServerControl::new();
    let (services, reclaim_work) = services(config, launch.file.clone(), &doors, control);
    std::thread::Builder::new().name("reclaim".into()).spawn(move || reclaim_work.run())?;
    let _memory = MemoryThread::start()?;
    let manager = Manager::find(&services.settings.load());
    let mut persistence = Persistence::new(&services, store, Clock::System);
    let threads = start_loops(&services, &doors)?;
    let mut loaded = persistence.load(random_seed())?;
    let local = tokio::task::LocalSet::new();
    let ControlThread { runtime, mut signals, logging, listeners } = control_thread;
    let result = local.block_on(&runtime, async {
        // Who connects meanwhile waits in the sockets' backlog, and hears LOADING only if there is much to load.
        let early = tokio::time::timeout(LOADED_SOON, &mut loaded).await.ok();
        let listeners = Listeners::start(doors, listeners);
        logging.limit_lines();
        let mut controller = Controller { services: Arc::clone(&services), listeners, logging };
        let is_loading = early.is_none();
        let result = match early.map_or(Ok(()), load_result) {
            Ok(()) => {
                if !is_loading {
                    manager.ready();
                }
                let ending = Ending {
                    persistence: &persistence,
                    orders,
                    loaded,
                    lost: unbounded_channel(),
                    manager: &manager,
                };
                ending.wait(&mut controller, &mut signals, is_loading).await
            }
            Err(error) => Err(error),
        };
        manager.stopping();
        controller.listeners.close();
        let at_once = result.as_ref().is_ok_and(|how| how.now);
        let wait_ms = if at_once { 0 } else { i64::from(services.settings.load().shutdown_timeout) * 1000 };
        for mailbox in services.clients.mailboxes() {
            mailbox.send(Message::Stop { wait_ms });
        }
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A thread that panicked has said so already.
                let _ = thread.join();
            }
        });
        tokio::select! {
            _ = ended => {}
            _ = signals.interrupt.recv() => exit_interrupted(),
        }
        result
    });
    // A name server that does not answer must not keep the process.
    runtime.shutdown_background();
    let written = persistence.end();
    if services.failed.load(Ordering::Relaxed) {
        return Err(StartError::Failed);
    }
    let how = result?;
    if written || how.force || how.save == Some(false) { Ok(()) } else { Err(StartError::LogLost) }
}

/// The thread that keeps memory for entries ready and gives it back; ends with this value.
struct MemoryThread {
    attendant: Arc<slabs::Attendant>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryThread {
    fn start() -> std::io::Result<MemoryThread> {
        let attendant = Arc::<slabs::Attendant>::default();
        let work = Arc::clone(&attendant);
        let thread = std::thread::Builder::new().name("memory".into()).spawn(move || work.run())?;
        Ok(MemoryThread { attendant, thread: Some(thread) })
    }
}

impl Drop for MemoryThread {
    fn drop(&mut self) {
        self.attendant.end();
        if let Some(thread) = self.thread.take() {
            // If it panicked, it has said so already.
            let _ = thread.join();
        }
    }
}

/// Puts the shared state together.
fn services(
    config: Config,
    file: Option<PathBuf>,
    doors: &[Arc<Door>],
    control: ServerControl,
) -> (Arc<Services>, ReclaimWork) {
    let mailboxes = doors.iter().map(|door| {
        let door = Arc::clone(door);
        Mailbox::new(Box::new(move || door.ring()))
    });
    let (reclaimer, reclaim_work) = Reclaimer::with_thread();
    let function = match config.hash_function {
        config::HashFunction::Ahash => HashFunction::Ahash,
        config::HashFunction::Siphash => HashFunction::Siphash,
    };
    let loops = doors.len();
    let now = Clock::System.now();
    let keyspace = Keyspace::new(
        config.databases as usize,
        loops,
        KeyHasher::random(function),
        reclaimer,
        now.wall_ms(),
    )
    .with_limits(ValueLimits::of_leaves(config.collection_leaf_bytes as usize));
    let identity = Identity {
        run_id: run_id(),
        started_ms: now.steady_ms(),
        loops,
        executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
    };
    // One part more than there are loops: the control thread counts what it refuses.
    let statistics = Statistics::new(loops + 1, COMMANDS.count);
    let settings = Settings::new(config, file);
    let clients = Clients::new(mailboxes.collect());
    let services = Services::new(keyspace, settings, clients, statistics, Box::new(control), identity);
    (Arc::new(services), reclaim_work)
}

/// Starts the event loops, and returns when all of them serve. They are not tied to processors: on a machine that others work on, too, a loop that
/// shares its processor with a busy client would wait while another is idle.
fn start_loops(
    services: &Arc<Services>,
    doors: &Arc<[Arc<Door>]>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let stopwatch = Stopwatch::calibrated();
    let (ready, is_ready) = mpsc::channel();
    let mut threads = Vec::new();
    for loop_index in 0..doors.len() {
        let (services, doors, ready) = (Arc::clone(services), Arc::clone(doors), ready.clone());
        let seed = random_seed();
        let body = move || {
            scheduling::run_in_short_turns();
            let made = EventLoop::new(&services, loop_index, doors, Clock::System, stopwatch, seed);
            let (event_loop, failed) = match made {
                Ok(event_loop) => (Some(event_loop), None),
                Err(error) => (None, Some(error)),
            };
            // Nobody listens any more when another loop has failed; then the process ends.
            let _ = ready.send(failed);
            if let Some(event_loop) = event_loop {
                event_loop.run();
            }
        };
        threads.push(std::thread::Builder::new().name(format!("loop-{loop_index}")).spawn(body)?);
    }
    drop(ready);
    if let Some(error) = is_ready.iter().take(doors.len()).flatten().next() {
        return Err(StartError::System(error.into()));
    }
    Ok(threads)
}

pub(super) fn random_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(Stopwatch::ticks())
}

/// 40 hexadecimal digits that no other start of the server has.
fn run_id() -> String {
    (0..3).map(|_| format!("{:016x}", random_seed())).collect::<String>()[..40].to_owned()
}
