//! The data directory of a running server: its lock, its manifest, and the order in which files come and go.
//!
//! A file is written and durable before the manifest names it, and no longer named before it is removed. So a crash at any moment leaves a
//! manifest whose files are all there; what it does not name is removed when the next start has loaded what it names. Numbers of files are never
//! used twice.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::step::Bell;
use crate::storage::check::missing_manifest;
use crate::storage::lock::LOCK_NAME;
use crate::storage::{
    Compression, Damage, DirectoryLock, Disk, EncryptionKey, KeyError, LogFacts, LogOptions, LogStart,
    LogWriter, Manifest, OurFile, RealDisk, SnapshotFacts,
};
use crate::write_log::Increment;

/// See the module's text.
pub struct Store {
    disk: Arc<dyn Disk>,
    key: Option<EncryptionKey>,
    manifest: Mutex<Manifest>,
    /// Numbers of the increments that were begun since the server started, in order. Its lock comes after the manifest's.
    begun: Mutex<Vec<u64>>,
    /// Rings when a log has begun, and for what else those who save wait for.
    bell: Bell,
    /// There were no data at the start.
    is_new: bool,
    _lock: Option<DirectoryLock>,
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
                write!(
                    f,
                    "another server is running on it (it holds the lock of the directory or of its file '{LOCK_NAME}')"
                )
            }
            StoreError::System(error) => error.fmt(f),
            StoreError::Damage(damage) => write!(f, "{damage}{}", damage.advice()),
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
    /// Takes possession of a directory.
    ///
    /// # Errors
    /// When another server has it, it cannot be read, or its manifest is damaged.
    pub fn open(path: &Path, key: Option<EncryptionKey>) -> Result<Store, StoreError> {
        let disk = RealDisk::open(path)?;
        let lock = DirectoryLock::take(&disk)?.ok_or(StoreError::Locked)?;
        Store::on(Arc::new(disk), key, Some(lock))
    }

    /// [`Store::open`] on any disk.
    ///
    /// # Errors
    /// As there, but for the lock.
    pub fn on(
        disk: Arc<dyn Disk>,
        key: Option<EncryptionKey>,
        lock: Option<DirectoryLock>,
    ) -> Result<Store, StoreError> {
        let names = disk.list()?;
        let mut manifest = match Manifest::read(&*disk, key.as_ref())? {
            Some(manifest) => manifest,
            None => begin_empty(&*disk, key.as_ref(), &names)?,
        };
        let is_new = manifest == Manifest::default();
        // Files that the manifest does not name are there until it is known that those it names are good; no new one takes their place.
        let taken = names.iter().filter_map(|name| OurFile::of(name)?.number()).max();
        manifest.last_number = manifest.last_number.max(taken.unwrap_or(0));
        let (manifest, begun) = (Mutex::new(manifest), Mutex::default());
        Ok(Store { disk, key, manifest, begun, bell: Bell::default(), is_new, _lock: lock })
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
        manifest.last_number += 1;
        manifest.last_number
    }

    /// Begins an increment of the write log.
    ///
    /// # Errors
    /// When the file or the manifest cannot be written; the old manifest is in force then.
    pub fn begin_log(&self, start_offset: u64, now_ms: i64) -> io::Result<LogWriter> {
        let mut manifest = self.manifest.lock();
        manifest.last_number += 1;
        let start = LogStart { number: manifest.last_number, start_offset, created_ms: now_ms.max(0) as u64 };
        let options = LogOptions { compression: Compression::None, key: self.key() };
        let writer = LogWriter::create(&*self.disk, &start, &options)?;
        let mut next = manifest.clone();
        next.written_ms = start.created_ms;
        next.logs.push(LogFacts { number: start.number, start_offset });
        // After an error the new manifest may be the one on the disk all the same, so the file it names has to stay; if nothing names it, it
        // is removed at the next start.
        next.write(&*self.disk, self.key())?;
        *manifest = next;
        self.begun.lock().push(start.number);
        self.bell.ring();
        Ok(writer)
    }

    /// The number of the file that an increment has, once it has one.
    pub fn log_of(&self, increment: Increment) -> Option<u64> {
        self.begun.lock().get(increment.index as usize - 1).copied()
    }

    /// What rings when a log has begun, the log is in trouble, or a visitor has ended.
    pub fn bell(&self) -> &Bell {
        &self.bell
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
        next.write(&*self.disk, self.key())?;
        *manifest = next;
        drop(manifest);
        self.remove_unnamed();
        Ok(())
    }

    /// Removes files of ours that the manifest does not name. Only for a server that has read what it does name: in a copy of a directory that was
    /// in use, the files that are not named may be the better ones.
    pub fn remove_unnamed(&self) {
        let manifest = self.manifest.lock();
        let names = self.disk.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the data directory cannot be listed, so files that are no longer needed stay");
            Vec::new()
        });
        for name in names {
            if OurFile::of(&name).is_some()
                && !manifest.names(&name)
                && let Err(error) = self.disk.remove(&name)
            {
                let file = self.disk.describe(&name);
                tracing::warn!(%error, file, "a file that is no longer needed cannot be removed");
            }
        }
    }
}

/// Writes the first manifest, before there is any other file: so a directory that has data and no manifest has lost it, and is not
/// taken for an empty one.
fn begin_empty(
    disk: &dyn Disk,
    key: Option<&EncryptionKey>,
    names: &[String],
) -> Result<Manifest, StoreError> {
    if let Some(damage) = missing_manifest(disk, names) {
        return Err(damage.into());
    }
    let manifest = Manifest::default();
    manifest.write(disk, key)?;
    Ok(manifest)
}
