//! Changes of a running server: what CONFIG SET needs done, and the request to end.
//!
//! An event loop that runs CONFIG SET waits for the control thread, which opens and closes listeners, and may lock all shards. The loop
//! holds none meanwhile, also in EXEC (`base/waiting.rs` checks it), and the control thread never waits for an event loop, so this cannot
//! deadlock. When the control thread leaves, waiting requests fail.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::listen::{ListenError, Listeners, Resolved, resolve_addresses};
use super::logging::Logging;
use crate::base::allocator;
use crate::base::system;
use crate::base::waiting::may_wait;
use crate::client::{MigrationOrder, ReloadOrder};
use crate::config::Config;
use crate::services::{Control, Services, Shutdown};
use crate::snapshot::SaveKind;

/// What the hosts of a new configuration stand for; `None` if it listens where the old one does.
type NewAddresses = Option<Result<Vec<Resolved>, ListenError>>;

/// A change that waits for the control thread.
pub struct ChangeRequest {
    old: Config,
    new: Config,
    /// Gets what [`Control::apply`] returns.
    answer: mpsc::SyncSender<Result<(), (String, String)>>,
}

/// What commands can ask of the running server; any thread but the control thread may call it.
pub struct ServerControl {
    changes: UnboundedSender<ChangeRequest>,
    shutdowns: UnboundedSender<Shutdown>,
    saves: UnboundedSender<SaveKind>,
    migrations: UnboundedSender<MigrationOrder>,
    reloads: UnboundedSender<ReloadOrder>,
}

/// What commands ask of the control thread.
pub struct Orders {
    pub changes: UnboundedReceiver<ChangeRequest>,
    pub shutdowns: UnboundedReceiver<Shutdown>,
    /// Saves that were reserved.
    pub saves: UnboundedReceiver<SaveKind>,
    pub migrations: UnboundedReceiver<MigrationOrder>,
    pub reloads: UnboundedReceiver<ReloadOrder>,
}

impl ChangeRequest {
    /// Finds out where the new configuration listens, on another thread: name servers may take their time, and the control thread has
    /// connections to accept and signals to hear.
    pub async fn resolve(self) -> (ChangeRequest, NewAddresses) {
        if self.new.port == self.old.port && self.new.bind == self.old.bind {
            return (self, None);
        }
        let new = self.new.clone();
        let addresses = tokio::task::spawn_blocking(move || resolve_addresses(&new)).await.ok();
        (self, addresses)
    }
}

impl ServerControl {
    /// Gives the control thread's end too. At most one change for each event loop can wait, because each loop waits for its answer, and at
    /// most one save, because only one is reserved at a time; each client asks for the end, or waits in MIGRATE or
    /// a reload, at most once at a time.
    pub fn new() -> (ServerControl, Orders) {
        let (changes, changes_received) = unbounded_channel();
        let (shutdowns, shutdowns_received) = unbounded_channel();
        let (saves, saves_received) = unbounded_channel();
        let (migrations, migrations_received) = unbounded_channel();
        let (reloads, reloads_received) = unbounded_channel();
        let orders = Orders {
            changes: changes_received,
            shutdowns: shutdowns_received,
            saves: saves_received,
            migrations: migrations_received,
            reloads: reloads_received,
        };
        (ServerControl { changes, shutdowns, saves, migrations, reloads }, orders)
    }
}

impl Control for ServerControl {
    fn apply(&self, old: &Config, new: &Config) -> Result<(), (String, String)> {
        may_wait();
        let (answer, answered) = mpsc::sync_channel(1);
        // A failure on either way means that the control thread has left.
        let _ = self.changes.send(ChangeRequest { old: old.clone(), new: new.clone(), answer });
        let stopping = || {
            let name = old.changes(new).first().map_or("", |directive| directive.name);
            Err((name.to_owned(), String::from("the server is shutting down")))
        };
        answered.recv().unwrap_or_else(|_| stopping())
    }

    fn shut_down(&self, how: Shutdown) {
        // Without a receiver the server is ending already.
        let _ = self.shutdowns.send(how);
    }

    fn migrate(&self, order: MigrationOrder) -> bool {
        self.migrations.send(order).is_ok()
    }

    fn reload(&self, order: ReloadOrder) -> bool {
        self.reloads.send(order).is_ok()
    }

    fn start_save(&self, kind: SaveKind) {
        // As above; the save is then made, or not, by the end itself.
        let _ = self.saves.send(kind);
    }
}

/// Puts changes into effect; lives on the control thread.
pub struct Controller {
    pub services: Arc<Services>,
    pub listeners: Listeners,
    pub logging: Arc<Logging>,
}

impl Controller {
    /// Works one request off.
    pub async fn answer(&mut self, (request, addresses): (ChangeRequest, NewAddresses)) {
        let result = self.apply(&request.old, &request.new, addresses).await;
        // The one who asked may be gone together with its client.
        let _ = request.answer.send(result);
    }

    /// Does what the difference of two configurations needs done, all or nothing: what can fail comes first.
    async fn apply(
        &mut self,
        old: &Config,
        new: &Config,
        addresses: NewAddresses,
    ) -> Result<(), (String, String)> {
        let refuse = |name: &str, text: String| Err((name.to_owned(), text));
        if new.maxclients > old.maxclients {
            let allowed = system::allow_clients(new.maxclients, self.services.identity.loops);
            if allowed < new.maxclients {
                return refuse("maxclients", too_many_clients(allowed));
            }
        }
        let (name, text) = if new.port != old.port {
            ("port", "Unable to listen on this port. Check server logs.")
        } else {
            ("bind", "Failed to bind to specified addresses.")
        };
        let changed = match addresses {
            None => Ok(()),
            Some(Ok(addresses)) => self.listeners.change(&addresses, new.tcp_backlog),
            Some(Err(error)) => Err(error),
        };
        if let Err(error) = changed {
            tracing::warn!(%error, "the addresses stay as they were");
            return refuse(name, text.to_owned());
        }
        if new.loglevel != old.loglevel {
            self.logging.set_level(new.loglevel);
        }
        self.services.take_effect(new);
        let used = allocator::used_bytes() as u64;
        if new.maxmemory != old.maxmemory && new.maxmemory > 0 && new.maxmemory < used {
            tracing::warn!(
                maxmemory = new.maxmemory,
                used,
                policy = new.maxmemory_policy.as_str(),
                "maxmemory is now smaller than what is used: keys are evicted or writes refused"
            );
        }
        Ok(())
    }
}

/// The text of Redis for a limit of descriptors that allows fewer clients.
fn too_many_clients(allowed: u32) -> String {
    format!("The operating system is not able to handle the specified number of clients, try with {allowed}")
}
