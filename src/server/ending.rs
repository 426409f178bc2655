//! What the control thread does until the server ends: it hears signals, changes of the configuration and what else commands ask for, looks
//! whether a save is due, and makes the last save. Starting and stopping threads is `run.rs`'s.
//!
//! While the last save runs everything goes on but writes. So nothing here may wait for it, or for an event loop.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::control::{Controller, Orders};
use super::migrate::migrate;
use super::run::{StartError, random_seed};
use super::supervision::Manager;
use crate::client::Message;
use crate::config::ShutdownOptions;
use crate::persistence::LoadError;
use crate::persistence::Persistence;
use crate::services::{Services, Shutdown};

/// The exit status of a server that was interrupted twice.
const EXIT_INTERRUPTED: i32 = 1;

/// How often the control thread looks whether a save is due.
const LOOK: Duration = Duration::from_millis(100);

/// How often lines of the log are counted anew.
const SECOND: Duration = Duration::from_secs(1);

/// The signals that the server answers.
pub(super) struct Signals {
    terminate: Signal,
    pub interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

/// What the control thread listens to until the server ends.
pub(super) struct Ending<'p> {
    pub persistence: &'p Persistence,
    pub orders: Orders,
    pub loaded: oneshot::Receiver<Result<(), LoadError>>,
    /// What has kept the data from being loaded again when the memory was emptied already.
    pub lost: (UnboundedSender<LoadError>, UnboundedReceiver<LoadError>),
    pub manager: &'p Manager,
}

impl Ending<'_> {
    /// Works off what commands and signals ask for, until the server is to end: because SIGTERM, SIGINT or SHUTDOWN came, or because its
    /// data cannot be loaded. Changes that wait then fail, because their receiver is dropped. While the last save runs all goes on but writes:
    /// an event loop that changes the configuration gets its answer. Says whether the end may lose something.
    pub async fn wait(
        mut self,
        controller: &mut Controller,
        signals: &mut Signals,
        mut is_loading: bool,
    ) -> Result<Shutdown, StartError> {
        let persistence = self.persistence;
        let mut last_save: Option<LastSave<'_>> = None;
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (resolved, mut ready) = unbounded_channel();
        loop {
            let how = tokio::select! {
                _ = signals.terminate.recv() => {
                    tracing::info!("SIGTERM received, shutting down");
                    as_shutdown(controller.services.settings.load().shutdown_on_sigterm)
                }
                _ = signals.interrupt.recv() => {
                    if last_save.is_some() {
                        exit_interrupted();
                    }
                    tracing::info!("SIGINT received, shutting down");
                    as_shutdown(controller.services.settings.load().shutdown_on_sigint)
                }
                Some(how) = self.orders.shutdowns.recv() => {
                    let failed = controller.services.failed.load(Ordering::Relaxed);
                    let cause = if failed { "an event loop failed" } else { "SHUTDOWN received" };
                    tracing::info!("{cause}, shutting down");
                    how
                }
                (how, ready) = ready_to_end(&mut last_save) => {
                    last_save = None;
                    if may_end(&controller.services, how, ready) {
                        return Ok(how);
                    }
                    continue;
                }
                _ = signals.hangup.recv() => {
                    // Nothing else: what CONFIG SET has changed since the start, such as a password, stays.
                    controller.logging.reopen();
                    tracing::info!("SIGHUP received: the log file is opened again");
                    continue;
                }
                Some(change) = self.orders.changes.recv() => {
                    let resolved = resolved.clone();
                    tokio::task::spawn_local(async move {
                        // Nobody listens any more when the server ends meanwhile; whoever waits hears that by the drop.
                        let _ = resolved.send(change.resolve().await);
                    });
                    continue;
                }
                Some(change) = ready.recv() => {
                    controller.answer(change).await;
                    continue;
                }
                Some(order) = self.orders.migrations.recv() => {
                    tokio::spawn(migrate(Arc::clone(&controller.services), order));
                    continue;
                }
                Some(order) = self.orders.reloads.recv() => {
                    persistence.start_reload(order, random_seed(), self.lost.0.clone());
                    continue;
                }
                Some(error) = self.lost.1.recv() => return Err(StartError::Data(error)),
                Some(kind) = self.orders.saves.recv() => {
                    persistence.start_save(kind);
                    continue;
                }
                loaded = &mut self.loaded, if is_loading => {
                    is_loading = false;
                    load_result(loaded)?;
                    self.manager.ready();
                    continue;
                }
                _ = seconds.tick() => {
                    controller.logging.next_second();
                    continue;
                }
                _ = looks.tick() => {
                    if last_save.is_none() {
                        persistence.look();
                    }
                    continue;
                }
            };
            match &mut last_save {
                // Whoever asks once more may only be more resolute.
                Some((present, _)) => {
                    present.force |= how.force;
                    present.now |= how.now;
                    present.order = present.order.max(how.order);
                }
                None => last_save = Some((how, Box::pin(persistence.prepare_end(how.save)))),
            }
        }
    }
}

/// What has ordered the server's end, and what makes it possible; the error says what would be lost.
type LastSave<'p> = (Shutdown, Pin<Box<dyn Future<Output = Result<(), String>> + 'p>>);

/// Waits for the last save, if one runs.
async fn ready_to_end(last_save: &mut Option<LastSave<'_>>) -> (Shutdown, Result<(), String>) {
    match last_save {
        Some((how, ready)) => {
            let ready = ready.await;
            (*how, ready)
        }
        None => std::future::pending().await,
    }
}

/// Whether the server ends now. If not, it goes on, and whoever ordered the end hears so.
fn may_end(services: &Services, how: Shutdown, ready: Result<(), String>) -> bool {
    let Err(lost) = ready else { return true };
    if how.force {
        tracing::warn!("the server ends because it was told to, and loses {lost}");
        return true;
    }
    tracing::error!(
        "the server does not end, because it would lose {lost}; SHUTDOWN FORCE ends it all the same"
    );
    services.shutdowns_failed.fetch_max(how.order, Ordering::Release);
    services.clients.mailboxes().iter().for_each(|mailbox| mailbox.send(Message::Look));
    false
}

/// SIGINT came a second time.
pub(super) fn exit_interrupted() -> ! {
    tracing::warn!("SIGINT received again: exiting at once");
    std::process::exit(EXIT_INTERRUPTED)
}

/// What the thread that loads has said, or not.
pub(super) fn load_result(
    loaded: Result<Result<(), LoadError>, oneshot::error::RecvError>,
) -> Result<(), StartError> {
    match loaded {
        Ok(result) => result.map_err(StartError::Data),
        Err(_) => Err(StartError::System(std::io::Error::other("loading has panicked"))),
    }
}

fn as_shutdown(options: ShutdownOptions) -> Shutdown {
    let save = if options.save { Some(true) } else { options.nosave.then_some(false) };
    Shutdown { save, force: options.force, now: options.now, order: 0 }
}

#[cfg(test)]
#[path = "ending_tests.rs"]
mod tests;
