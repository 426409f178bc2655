//! The data directory of a running server: its lock, its manifest, and the order in which files come and go.
//!
//! A file is written and durable before the manifest names it, and no longer named before it is removed. So a crash at any moment leaves a
//! manifest whose files are all there; what it does not name is removed when the next start has loaded what it names. Numbers of files are never
//! used twice.

use std::collections::{BTreeMap, HashSet};
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
    files: Mutex<Files>,
    /// Rings when a log has begun, and for what else those who save wait for.
    bell: Bell,
    /// There were no data at the start.
    is_new: bool,
    _lock: Option<DirectoryLock>,
}

/// The files that there are.
#[derive(Default)]
struct Files {
    manifest: Manifest,
    /// The increments that have a file, by their index, with the number of that.
    begun: BTreeMap<u64, u64>,
    /// Logs that wait for the base that they continue, before the manifest can name them.
    waiting: Vec<LogFacts>,
    /// The increment that the base ends at, by its index, if it had no file when the base was adopted.
    awaited: Option<u64>,
    /// A log that is made and not yet named.
    unnamed: Option<u64>,
    /// Whatever the disk does now, it has the manifest that is in force.
    is_settled: bool,
    /// Files of steps that failed at a point where the manifest on the disk may name them: they go when it is settled.
    doubtful: Vec<String>,
}

/// An increment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// The manifest names it: it is part of what a start loads.
    InForce,
    /// It waits for the base that it continues.
    Waiting,
    /// The base has all that it would hold.
    Covered,
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
        let taken = names.iter().filter_map(|name| Some(OurFile::of(name)?.number())).max();
        manifest.last_number = manifest.last_number.max(taken.unwrap_or(0));
        let files = Mutex::new(Files { manifest, ..Files::default() });
        Ok(Store { disk, key, files, bell: Bell::default(), is_new, _lock: lock })
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
        self.files.lock().manifest.clone()
    }

    /// Reserves a number for a snapshot's file.
    ///
    /// # Errors
    /// When what an earlier attempt has left cannot be cleared away. Nothing is added to it then.
    pub fn number_snapshot(&self) -> io::Result<u64> {
        let files = &mut *self.files.lock();
        self.clear_doubtful(files)?;
        Ok(files.next_number())
    }

    /// Makes the file of an increment of the write log, durable, but not yet part of the data.
    ///
    /// # Errors
    /// When it cannot be made; there is no such file then.
    pub fn create_log(&self, start_offset: u64, now_ms: i64) -> io::Result<(LogWriter, LogFacts)> {
        // Held, so that nobody removes the file who does not know of it.
        let files = &mut *self.files.lock();
        self.clear_doubtful(files)?;
        let number = files.next_number();
        let start = LogStart { number, start_offset, created_ms: now_ms.max(0) as u64 };
        let options = LogOptions { compression: Compression::None, key: self.key() };
        let writer = LogWriter::create(&*self.disk, &start, &options)?;
        files.unnamed = Some(number);
        Ok((writer, LogFacts { number, start_offset }))
    }

    /// Makes the file of an increment part of the data, if it continues them.
    ///
    /// # Errors
    /// When the manifest cannot be written; the old one is in force then, and the file waits for the next attempt.
    pub fn name_log(&self, increment: Increment, log: &LogFacts, now_ms: i64) -> io::Result<Named> {
        let files = &mut *self.files.lock();
        let base = files.manifest.snapshot.as_ref().map_or(0, |snapshot| snapshot.log_offset);
        if log.start_offset < base {
            return Ok(Named::Covered);
        }
        // The same offset alone says nothing: what changes while the log is off does not move it.
        let named = if increment.continues || files.awaited == Some(increment.index) {
            let mut next = files.manifest.clone();
            next.written_ms = now_ms.max(0) as u64;
            next.logs.push(log.clone());
            self.replace_manifest(files, next)?;
            Named::InForce
        } else {
            files.waiting.push(log.clone());
            Named::Waiting
        };
        files.unnamed = None;
        files.begun.insert(increment.index, log.number);
        self.bell.ring();
        Ok(named)
    }

    /// The file of an increment is not needed any more before it was named.
    pub fn forget_log(&self, log: &LogFacts) {
        let mut files = self.files.lock();
        files.unnamed = None;
        self.forget(&mut files, log.name());
    }

    /// The number of the file that an increment has, once it has one.
    pub fn log_of(&self, increment: Increment) -> Option<u64> {
        self.files.lock().begun.get(&increment.index).copied()
    }

    /// What rings when a log has begun, the log is in trouble, or a visitor has ended.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Makes a finished snapshot the base. Of the log only this increment and later ones stay; none do if it has no file, because the snapshot has
    /// all that was recorded before it. Says whether it has one.
    ///
    /// # Errors
    /// When the manifest cannot be written; the old one is in force then, and the snapshot is gone.
    pub fn adopt(
        &self,
        snapshot: SnapshotFacts,
        increment: Option<Increment>,
        now_ms: i64,
    ) -> io::Result<bool> {
        let mut files = self.files.lock();
        let first_log = increment.and_then(|increment| files.begun.get(&increment.index).copied());
        let name = snapshot.name();
        let mut next = files.manifest.clone();
        next.written_ms = now_ms.max(0) as u64;
        next.snapshot = Some(snapshot);
        next.logs.extend(files.waiting.iter().cloned());
        next.logs.retain(|log| first_log.is_some_and(|first| log.number >= first));
        if let Err(error) = self.replace_manifest(&mut files, next) {
            self.forget(&mut files, name);
            return Err(error);
        }
        files.waiting.clear();
        files.awaited = increment.filter(|_| first_log.is_none()).map(|increment| increment.index);
        drop(files);
        self.remove_unnamed();
        Ok(first_log.is_some())
    }

    /// Gives the logs up that wait for a base: it is not to be had.
    pub fn forget_waiting(&self) {
        let mut files = self.files.lock();
        for log in std::mem::take(&mut files.waiting) {
            self.forget(&mut files, log.name());
        }
    }

    fn replace_manifest(&self, files: &mut Files, next: Manifest) -> io::Result<()> {
        files.is_settled = false;
        next.write(&*self.disk, self.key())?;
        files.is_settled = true;
        files.manifest = next;
        for name in std::mem::take(&mut files.doubtful) {
            if !files.manifest.names(&name) {
                self.remove(&name);
            }
        }
        Ok(())
    }

    /// After a manifest could not be written the one on the disk may be another than the one in force: where its directory could not be synced, the
    /// next power cut decides which one that is. Writes the one in force again, if that may be so.
    fn settle(&self, files: &mut Files) -> io::Result<()> {
        if files.is_settled {
            return Ok(());
        }
        self.replace_manifest(files, files.manifest.clone())
    }

    /// Before another file is made, those go whose names are on a manifest that is not in force. So there are never those of more than one attempt.
    fn clear_doubtful(&self, files: &mut Files) -> io::Result<()> {
        if files.doubtful.is_empty() { Ok(()) } else { self.settle(files) }
    }

    /// Removes a file that is not needed any more, at the latest before another is made.
    fn forget(&self, files: &mut Files, name: String) {
        let on_disk = Manifest::read(&*self.disk, self.key());
        if on_disk.is_ok_and(|manifest| manifest.is_some_and(|manifest| !manifest.names(&name))) {
            self.remove(&name);
            return;
        }
        files.doubtful.push(name);
        if let Err(error) = self.settle(files) {
            tracing::warn!(%error, "files of a step that has failed stay until the manifest can be written");
        }
    }

    /// Removes files of ours that the manifest does not name. Only for a server that has read what it does name: in a copy of a directory that was
    /// in use, the files that are not named may be the better ones.
    pub fn remove_unnamed(&self) {
        let files = &mut *self.files.lock();
        let waiting = files.waiting.iter().map(|log| log.number).chain(files.unnamed);
        let needed: HashSet<String> =
            files.manifest.file_names().chain(waiting.map(LogFacts::name_of)).collect();
        let names = self.disk.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "the data directory cannot be listed, so files that are no longer needed stay");
            Vec::new()
        });
        let mut unnamed = names.iter().filter(|name| OurFile::of(name).is_some() && !needed.contains(*name));
        let Some(first) = unnamed.next() else { return };
        // The manifest that was read may be in the system's memory alone.
        if let Err(error) = self.settle(files) {
            tracing::warn!(%error, "the manifest cannot be written, so files that are no longer needed stay");
            return;
        }
        for name in std::iter::once(first).chain(unnamed) {
            self.remove(name);
        }
    }

    fn remove(&self, name: &str) {
        if let Err(error) = self.disk.remove(name) {
            let file = self.disk.describe(name);
            tracing::warn!(%error, file, "a file that is no longer needed cannot be removed");
        }
    }
}

impl Files {
    fn next_number(&mut self) -> u64 {
        self.manifest.last_number += 1;
        self.manifest.last_number
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
