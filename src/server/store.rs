//! The data directory of a running server: its lock, its manifest, and the order in which files come and go.
//!
//! A file is written and durable before the manifest names it, and no longer named before it is removed. So a crash at any moment leaves a
//! manifest whose files are all there; what it does not name is removed at the next start. Numbers of files are never used twice.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::storage::{Compression, KeyError};
use crate::storage::{
    Damage, Disk, EncryptionKey, LogFacts, LogOptions, LogStart, LogWriter, Manifest, RealDisk, SnapshotFacts,
};
use crate::write_log::Increment;

/// The file that a running server holds locked.
const LOCK_NAME: &str = "lock";

/// See the module's text.
pub struct Store {
    disk: Arc<dyn Disk>,
    key: Option<EncryptionKey>,
    manifest: Mutex<Manifest>,
    /// Numbers of the increments that were begun since the server started, in order. Its lock comes after the manifest's.
    begun: Mutex<Vec<u64>>,
    /// The manifest names another log.
    log_begun: Condvar,
    /// There was no manifest at the start.
    is_new: bool,
    _lock: Option<File>,
}

/// Why a data directory cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// Another server runs on it.
    Locked,
    System(io::Error),
    Damage(Damage),
    Key(KeyError),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Locked => {
                write!(f, "another server is running on it (it holds the file '{LOCK_NAME}')")
            }
            StoreError::System(error) => error.fmt(f),
            StoreError::Damage(damage) => damage.fmt(f),
            StoreError::Key(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        StoreError::System(error)
    }
}

impl From<Damage> for StoreError {
    fn from(damage: Damage) -> StoreError {
        StoreError::Damage(damage)
    }
}

impl Store {
    /// Takes possession of a directory, and removes what an earlier server did not finish.
    ///
    /// # Errors
    /// When another server has it, it cannot be read, or its manifest is damaged.
    pub fn open(path: &Path, key: Option<EncryptionKey>) -> Result<Store, StoreError> {
        let lock = File::options().create(true).truncate(false).write(true).open(path.join(LOCK_NAME))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
            Err(TryLockError::Error(error)) => return Err(StoreError::System(error)),
        }
        Store::on(Arc::new(RealDisk::open(path)?), key, Some(lock))
    }

    /// [`Store::open`] on any disk.
    ///
    /// # Errors
    /// As there, but for the lock.
    pub fn on(
        disk: Arc<dyn Disk>,
        key: Option<EncryptionKey>,
        lock: Option<File>,
    ) -> Result<Store, StoreError> {
        let found = Manifest::read(&*disk)?;
        let is_new = found.is_none();
        let manifest = Mutex::new(found.unwrap_or_default());
        let begun = Mutex::default();
        let store = Store { disk, key, manifest, begun, log_begun: Condvar::new(), is_new, _lock: lock };
        store.remove_unnamed()?;
        Ok(store)
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn key(&self) -> Option<&EncryptionKey> {
        self.key.as_ref()
    }

    /// The directory held no data of ours when the server started.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The files that make up the data at this moment.
    pub fn manifest(&self) -> Manifest {
        self.manifest.lock().clone()
    }

    /// Reserves a number for a file.
    pub fn next_number(&self) -> u64 {
        let mut manifest = self.manifest.lock();
        manifest.next_number += 1;
        manifest.next_number
    }

    /// Begins an increment of the write log.
    ///
    /// # Errors
    /// When the file or the manifest cannot be written; the old manifest is in force then.
    pub fn begin_log(&self, start_offset: u64, now_ms: i64) -> io::Result<LogWriter> {
        let mut manifest = self.manifest.lock();
        manifest.next_number += 1;
        let start = LogStart { number: manifest.next_number, start_offset, created_ms: now_ms.max(0) as u64 };
        let options = LogOptions { compression: Compression::None, key: self.key() };
        let writer = LogWriter::create(&*self.disk, &start, &options)?;
        let mut next = manifest.clone();
        next.written_ms = start.created_ms;
        next.logs.push(LogFacts { number: start.number, start_offset });
        if let Err(error) = next.write(&*self.disk) {
            // If it stays, it is removed at the next start.
            let _ = self.disk.remove(&LogFacts::name_of(start.number));
            return Err(error);
        }
        *manifest = next;
        self.begun.lock().push(start.number);
        self.log_begun.notify_all();
        Ok(writer)
    }

    /// Waits until an increment has its file, and gives that file's number; `gave_up` is asked from time to time.
    pub fn wait_for_log(&self, increment: Increment, gave_up: impl Fn() -> bool) -> Option<u64> {
        let mut manifest = self.manifest.lock();
        loop {
            if let Some(number) = self.begun.lock().get(increment.index as usize - 1) {
                return Some(*number);
            }
            if gave_up() {
                return None;
            }
            self.log_begun.wait_for(&mut manifest, std::time::Duration::from_millis(100));
        }
    }

    /// Makes a finished snapshot the base. Of the log only the increment with this number and later ones stay; `None`: none do.
    ///
    /// # Errors
    /// When the manifest cannot be written; the old one is in force then.
    pub fn adopt(&self, snapshot: SnapshotFacts, first_log: Option<u64>, now_ms: i64) -> io::Result<()> {
        let mut manifest = self.manifest.lock();
        let mut next = manifest.clone();
        next.written_ms = now_ms.max(0) as u64;
        next.snapshot = Some(snapshot);
        next.logs.retain(|log| first_log.is_some_and(|first| log.number >= first));
        next.write(&*self.disk)?;
        *manifest = next;
        drop(manifest);
        if let Err(error) = self.remove_unnamed() {
            tracing::warn!(%error, "files that are no longer needed could not be removed");
        }
        Ok(())
    }

    /// Removes files of ours that the manifest does not name.
    fn remove_unnamed(&self) -> io::Result<()> {
        let manifest = self.manifest.lock();
        for name in self.disk.list()? {
            let is_temporary = name.starts_with(crate::storage::disk::TEMPORARY_PREFIX);
            let is_data =
                name.ends_with(".cloakroom") && (name.starts_with("snapshot-") || name.starts_with("log-"));
            let is_named = manifest.snapshot.as_ref().is_some_and(|snapshot| snapshot.name() == name)
                || manifest.logs.iter().any(|log| log.name() == name);
            // A directory without a manifest may be one whose manifest was lost: nothing of it is touched.
            if is_temporary || is_data && !is_named && !self.is_new {
                self.disk.remove(&name)?;
            }
        }
        Ok(())
    }
}
