//! The lock that keeps two programs off one data directory: a server holds it while it runs, a tool while it works.
//!
//! It is the kernel's lock on an open file (flock), so it ends with its holder, however that ends. The file itself stays and means nothing.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name of the locked file.
pub const LOCK_NAME: &str = "lock";

/// A data directory is ours until this is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock; `None` if another program has it.
    ///
    /// # Errors
    /// If the file cannot be created, or the file system knows no locks.
    pub fn take(directory: &Path) -> io::Result<Option<DirectoryLock>> {
        let mut options = File::options();
        let file =
            options.create(true).truncate(false).write(true).mode(0o600).open(directory.join(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirectoryLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
