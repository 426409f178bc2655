//! Changes of a running server: what CONFIG SET and SIGHUP need done, and the request to end.
//!
//! An event loop that runs CONFIG SET waits for the control thread, which opens and closes listeners, and may lock all shards. The loop
//! holds none meanwhile, also in EXEC (`base/waiting.rs` checks it), and the control thread never waits for an event loop, so this cannot deadlock; SIGHUP, which takes the lock of changes, is worked off on a
//! thread of its own. When the control thread leaves, waiting requests fail.

use std::sync::Arc;
use std::sync::mpsc;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::listen::Listeners;
use super::logging::Logging;
use crate::base::allocator;
use crate::base::clock::Clock;
use crate::base::system;
use crate::base::waiting::may_wait;
use crate::client::{Gates, MigrationOrder, ReloadOrder};
use crate::config::{Config, Source, load, read_files};
use crate::services::{Control, Services, Shutdown};
use crate::snapshot::SaveKind;

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
    pub async fn answer(&mut self, request: ChangeRequest) {
        let result = self.apply(&request.old, &request.new).await;
        // The one who asked may be gone together with its client.
        let _ = request.answer.send(result);
    }

    /// Does what the difference of two configurations needs done, all or nothing: what can fail comes first.
    async fn apply(&mut self, old: &Config, new: &Config) -> Result<(), (String, String)> {
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
        if (new.port != old.port || new.bind != old.bind)
            && let Err(error) = self.listeners.change(new).await
        {
            tracing::warn!(%error, "the addresses stay as they were");
            return refuse(name, text.to_owned());
        }
        if new.loglevel != old.loglevel {
            self.logging.set_level(new.loglevel);
        }
        self.services.set_gate(Gates::MEMORY_LIMIT, new.maxmemory > 0);
        self.services.write_log.configure(new.appendfsync, new.write_log_buffer_limit);
        if old.appendonly && !new.appendonly {
            self.services.keyspace.while_locked(|| self.services.write_log.turn_off());
        }
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

/// Reads the configuration again (SIGHUP) and takes over what can change; the rest is logged. Blocks, and so must not run on the control
/// thread.
pub fn reload(services: &Services, sources: &[Source]) {
    // Held to the end: CONFIG SET and CONFIG REWRITE wait for it.
    let _one_change_at_a_time = services.settings.begin_change();
    let mut loaded = match load(sources, &mut |path| read_files(path)) {
        Ok(loaded) => loaded,
        Err(error) => return tracing::error!(%error, "the configuration stays as it is"),
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    match system::data_directory(&loaded.config.dir) {
        Ok(path) => loaded.config.dir = path,
        Err(error) => tracing::warn!(%error, dir = loaded.config.dir, "the data directory cannot be used"),
    }
    let old = services.settings.load();
    let (mut new, need_restart) = old.reloaded(&loaded.config);
    for directive in need_restart {
        tracing::warn!(directive = directive.name, "takes effect at the next start");
    }
    while let Err((name, reason)) = services.control.apply(&old, &new) {
        tracing::warn!(directive = name, reason, "stays as it is");
        match name.as_str() {
            "dir" => new.dir.clone_from(&old.dir),
            "maxclients" => new.maxclients = old.maxclients,
            "port" | "bind" => {
                new.port = old.port;
                new.bind.clone_from(&old.bind);
            }
            _ => return,
        }
    }
    let changed: Vec<_> = old.changes(&new).iter().map(|directive| directive.name).collect();
    services.put_in_force(new, Clock::System.steady_ms());
    tracing::info!(changed = changed.join(" "), "configuration read again");
}
