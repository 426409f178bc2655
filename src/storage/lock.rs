//! The lock that keeps two programs off one data directory: a server holds it while it runs, a tool while it works.
//!
//! It is the kernel's lock on an open file (flock), so it ends with its holder, however that ends. Two things are locked: the file `lock`,
//! which programs of all versions know and which means nothing by itself, and the directory, which nobody can remove and create anew while it
//! is used. Network file systems know no locks of directories; there it is the file alone.

use std::fs::{File, TryLockError};
use std::io;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::disk::RealDisk;

/// The name of the locked file.
pub const LOCK_NAME: &str = "lock";

/// A data directory is ours until this is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _directory: File,
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock; `None` if another program has it.
    ///
    /// # Errors
    /// If the file cannot be created, or the file system knows no locks.
    pub fn take(disk: &RealDisk) -> io::Result<Option<DirectoryLock>> {
        let directory = disk.open_itself()?;
        match directory.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if only_files_are_locked(&error) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let file = disk.open_with(LOCK_NAME, OFlags::WRONLY | OFlags::CREATE)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirectoryLock { _directory: directory, _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// NFS makes such a lock one of a range of bytes, for which a file has to be open for writing, which no directory can be (flock(2)).
fn only_files_are_locked(error: &io::Error) -> bool {
    let refusals = [Errno::BADF, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOLCK];
    refusals.iter().any(|refusal| error.raw_os_error() == Some(refusal.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Disk;

    #[test]
    fn a_directory_has_one_holder_whatever_becomes_of_the_file() {
        let path = std::env::temp_dir().join(format!("cloakroom-lock-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory for the test");
        let open = || RealDisk::open(&path).expect("opens");
        let lock = DirectoryLock::take(&open()).expect("can be locked").expect("nobody has it");
        assert!(DirectoryLock::take(&open()).expect("can be asked").is_none());
        open().remove(LOCK_NAME).expect("removes");
        assert!(DirectoryLock::take(&open()).expect("can be asked").is_none(), "its file was removed");
        std::fs::write(path.join(LOCK_NAME), "").expect("writes");
        assert!(DirectoryLock::take(&open()).expect("can be asked").is_none(), "its file was replaced");
        drop(lock);
        // A program that knows the file alone is met, too.
        let file = File::open(path.join(LOCK_NAME)).expect("opens");
        file.try_lock().expect("nobody has it");
        assert!(DirectoryLock::take(&open()).expect("can be asked").is_none());
        drop(file);
        assert!(DirectoryLock::take(&open()).expect("can be locked").is_some());
        std::fs::remove_dir_all(path).expect("removes");
    }
}
