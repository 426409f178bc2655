//! Loading a directory for trial: what a start would do with the files, in a keyspace that nobody is served from. Nothing on the disk changes.
//!
//! A record may be whole and yet be refused: one that renames a key which is not there, say. Only doing all of them again shows that.

use std::sync::Arc;

use super::load::{LoadError, LogEnding, ManifestLoad};
use super::store::{Store, StoreError};
use crate::base::clock::Clock;
use crate::client::{Clients, Mailbox, MigrationOrder, ReloadOrder};
use crate::command::COMMANDS;
use crate::config::Config;
use crate::keyspace::{HashFunction, KeyHasher, Keyspace, Reclaimer};
use crate::observe::statistics::Statistics;
use crate::services::{Control, Identity, Services, Settings, Shutdown};
use crate::snapshot::SaveKind;
use crate::storage::{Disk, EncryptionKey};

/// As many as a server can have: how many the one has that wrote the files is not known here.
const DATABASES: u32 = 65_536;

/// Loads what the manifest names as a start does, and forgets it. Takes as much memory as a start. The end of the last log must be whole.
///
/// # Errors
/// What a start would refuse.
pub fn load_for_trial(disk: Arc<dyn Disk>, key: Option<EncryptionKey>) -> Result<(), LoadError> {
    let store = Store::on(disk, key, None).map_err(|error| match error {
        StoreError::Damage(damage) => LoadError::Damage(damage),
        StoreError::System(error) => LoadError::System(error),
        other => LoadError::System(std::io::Error::other(other.to_string())),
    })?;
    let services = idle_services();
    // A log may follow at the next start, so keys whose time has passed are loaded, too.
    ManifestLoad::new(&services, &store, 1, LogEnding::Open, true).run(&Clock::System)
}

/// What loading needs of a server, and nothing more.
fn idle_services() -> Services {
    let mut config = Config::default();
    config.databases = DATABASES;
    let hasher = KeyHasher::random(HashFunction::Ahash);
    let now = Clock::System.now();
    Services::new(
        Keyspace::new(DATABASES as usize, 1, hasher, Reclaimer::inline(), now.wall_ms()),
        Settings::new(config, None),
        Clients::new(Box::new([Mailbox::new(Box::new(|| {}))])),
        // One part for a loop, one for whoever loads.
        Statistics::new(2, COMMANDS.count),
        Box::new(Nobody),
        Identity { run_id: String::new(), started_ms: now.steady_ms(), loops: 1, executable: String::new() },
    )
}

/// There is no server: records ask for nothing but the keyspace.
struct Nobody;

impl Control for Nobody {
    fn apply(&self, _old: &Config, _new: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }

    fn start_save(&self, _kind: SaveKind) {}
}
