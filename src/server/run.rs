//! Starting, running and stopping the server: event loops on threads of their own; signals, accepting and slow timers on the
//! control thread, which is a tokio runtime.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use super::event_loop::{Door, EventLoop};
use super::listen::{self, ListenError};
use crate::base::clock::{Clock, Stopwatch};
use crate::client::{Clients, Mailbox, Message};
use crate::command::COMMANDS;
use crate::config::Config;
use crate::keyspace::{HashFunction, KeyHasher, Keyspace, Reclaimer};
use crate::observe::statistics::Statistics;
use crate::services::{Control, Identity, Services, Settings};

/// Why the server did not start.
#[derive(Debug)]
pub enum StartError {
    Listen(ListenError),
    /// A thread, runtime or poller could not be made.
    System(std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Listen(error) => error.fmt(f),
            StartError::System(error) => {
                write!(f, "the operating system refused what the server needs: {error}")
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> StartError {
        StartError::System(error)
    }
}

/// What commands can ask of the running server.
struct ServerControl {
    stop: Arc<Notify>,
}

impl Control for ServerControl {
    fn apply(&self, _old: &Config, _new: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn shut_down(&self) {
        self.stop.notify_one();
    }
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start; once it runs it does not fail.
pub fn run(config: Config, file: Option<std::path::PathBuf>) -> Result<(), StartError> {
    let listeners = listen::open(&config).map_err(StartError::Listen)?;
    let loops = match config.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads as usize,
    };
    let doors: Arc<[Arc<Door>]> = (0..loops)
        .map(|_| Door::new().map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(std::io::Error::from)?
        .into();
    let mailboxes = doors.iter().map(|door| {
        let door = Arc::clone(door);
        Mailbox::new(Box::new(move || door.ring()))
    });
    let clock = Clock::System;
    let stop = Arc::new(Notify::new());
    let (reclaimer, reclaim_work) = Reclaimer::with_thread();
    let function = match config.hash_function {
        crate::config::HashFunction::Ahash => HashFunction::Ahash,
        crate::config::HashFunction::Siphash => HashFunction::Siphash,
    };
    let now_ms = clock.now_ms();
    let keyspace =
        Keyspace::new(config.databases as usize, loops, KeyHasher::random(function), reclaimer, now_ms);
    let identity = Identity {
        run_id: run_id(),
        started_ms: now_ms,
        loops,
        executable: std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default(),
    };
    let services = Arc::new(Services::new(
        keyspace,
        Settings::new(config, file),
        Clients::new(mailboxes.collect()),
        Statistics::new(loops, COMMANDS.count),
        Box::new(ServerControl { stop: Arc::clone(&stop) }),
        identity,
    ));
    std::thread::Builder::new().name("reclaim".into()).spawn(move || reclaim_work.run())?;
    let stopwatch = Stopwatch::calibrated();
    let mut threads = Vec::new();
    for loop_index in 0..loops {
        let (services, door, clock) = (Arc::clone(&services), Arc::clone(&doors[loop_index]), clock.clone());
        let seed = random_seed();
        let body = move || match EventLoop::new(&services, loop_index, door, clock, stopwatch, seed) {
            Ok(event_loop) => event_loop.run(),
            Err(error) => tracing::error!(%error, "an event loop did not start"),
        };
        threads.push(std::thread::Builder::new().name(format!("loop-{loop_index}")).spawn(body)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    for listener in listeners {
        tracing::info!(address = listener.address(), "ready to accept connections");
        let (services, doors) = (Arc::clone(&services), Arc::clone(&doors));
        local.spawn_local(async move {
            if let Err(error) = listener.accept_all(services, doors).await {
                tracing::error!(%error, "a listening socket failed");
            }
        });
    }
    local.block_on(&runtime, until_stopped(&stop))?;
    for mailbox in services.clients.mailboxes() {
        mailbox.send(Message::Stop);
    }
    for thread in threads {
        // A thread that panicked has said so already.
        let _ = thread.join();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Waits for SIGTERM, SIGINT or SHUTDOWN.
async fn until_stopped(stop: &Notify) -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM received"),
        _ = interrupt.recv() => tracing::info!("SIGINT received"),
        () = stop.notified() => tracing::info!("SHUTDOWN received"),
    }
    Ok(())
}

fn random_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(Stopwatch::ticks())
}

/// 40 hexadecimal digits that no other start of the server has.
fn run_id() -> String {
    (0..3).map(|_| format!("{:016x}", random_seed())).collect::<String>()[..40].to_owned()
}
