//! One directory of files, behind a trait: the real one here, one that loses power in `testing/power_cut_disk.rs`.
//!
//! The traits promise no more than a disk does. A write is durable after `sync_data` of its file has succeeded, and a name (creation, rename,
//! removal) after `sync_directory`; after a failed sync nothing is known of what was written before it, and trying again proves nothing.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::direct::DirectFile;

/// Sessions are credentials: only the server's own user may read its files.
const FILE_MODE: u32 = 0o600;

/// A directory. Names are relative to it and have no slash.
pub trait Disk: Send + Sync {
    /// Creates a file for reading and writing; one of this name that exists becomes empty.
    ///
    /// # Errors
    /// What the operating system says; so for all methods here.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading.
    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that had it. Atomic, also across a power cut.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, sorted.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// Whether there is a file of this name.
    fn exists(&self, name: &str) -> io::Result<bool>;

    /// What a message to the operator calls this file: its path where there is one.
    fn describe(&self, name: &str) -> String;
}

/// An open file. Reads and writes say where, so that several threads can use one.
pub trait DiskFile: Send + Sync {
    /// Writes all bytes at an offset; a gap before it reads as zeros.
    ///
    /// # Errors
    /// Part of the bytes may have been written.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads up to a buffer full; 0 at the end of the file.
    ///
    /// # Errors
    /// What the operating system says; so for all methods here.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Makes the file's bytes and length durable.
    fn sync_data(&self) -> io::Result<()>;

    /// The bytes up to an offset are durable and will not be read soon: they need not stay in memory. Only advice; a disk may ignore it.
    fn forget_before(&self, _offset: u64) {}

    /// From now on the file is written at its end, and not read: what is written in whole pages (`pages.rs`) need not pass through memory that
    /// the system keeps. Only advice; a disk may ignore it.
    fn expect_appends(&mut self) {}

    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it by zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Reads a buffer full.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(offset, buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    offset += read as u64;
                    buffer = &mut buffer[read..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A directory of the file system. It stays the same directory if the process changes its own.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    /// Open all the time, so that a sync needs no look-up that could fail.
    directory: File,
}

impl RealDisk {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// If it does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> io::Result<RealDisk> {
        let path = fs::canonicalize(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(RealDisk { directory: File::open(&path)?, path })
    }

    /// Where the directory is, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file; an error for a name that would lead elsewhere.
    fn path_of(&self, name: &str) -> io::Result<PathBuf> {
        let is_name = !matches!(name, "" | "." | "..") && !name.contains('/') && CString::new(name).is_ok();
        if is_name { Ok(self.path.join(name)) } else { Err(io::ErrorKind::InvalidFilename.into()) }
    }

    /// Opens a file; std adds O_CLOEXEC.
    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<Box<dyn DiskFile>> {
        let file = options.mode(FILE_MODE).open(self.path_of(name)?)?;
        Ok(Box::new(RealFile { file, direct: None }))
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true).write(true))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OpenOptions::new().read(true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path_of(from)?, self.path_of(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path_of(name)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            // A name that is no text is not one of ours.
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        fs::exists(self.path_of(name)?)
    }

    fn describe(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }
}

/// A file of the file system.
#[derive(Debug)]
struct RealFile {
    file: File,
    /// The way around the page cache, if the file has one.
    direct: Option<DirectFile>,
}

impl DiskFile for RealFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.direct {
            Some(direct) if direct.write_all_at(offset, bytes)? => Ok(()),
            _ => self.file.write_all_at(bytes, offset),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget_before(&self, offset: u64) {
        // What the system does with the advice is its own affair.
        let _ = fadvise(&self.file, 0, NonZeroU64::new(offset), Advice::DontNeed);
    }

    fn expect_appends(&mut self) {
        self.direct = DirectFile::open(&self.file);
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }
}

/// Replaces a small file whole: whatever happens, the name holds the old bytes or the new ones.
///
/// # Errors
/// What the disk says. Before the rename the old file is untouched; if the last step fails, the next power cut decides which one stays.
pub fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(name);
    let written = disk.create(&temporary).and_then(|file| {
        file.write_all_at(0, bytes)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // Already an error; a file that stays behind is removed at the next start.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.rename(&temporary, name)?;
    disk.sync_directory()
}

/// The name of a file while it is being written.
pub fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY_PREFIX}{name}")
}

/// Files whose names begin like this were never finished; they can be removed at start.
pub const TEMPORARY_PREFIX: &str = "temp-";

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A directory below the build's own, empty.
    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("cloakroom-disk-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a directory for the test");
        path
    }

    #[test]
    fn files_are_private_and_hold_what_is_written_anywhere() {
        let path = scratch("private");
        let disk = RealDisk::open(&path).expect("opens");
        let file = disk.create("one").expect("creates");
        file.write_all_at(5, b"five").expect("writes");
        assert_eq!(file.size().expect("size"), 9);
        let mut buffer = [1; 9];
        disk.open_read("one").expect("opens").read_exact_at(0, &mut buffer).expect("reads");
        assert_eq!(&buffer, b"\0\0\0\0\0five");
        let mode = fs::metadata(path.join("one")).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        file.set_size(6).expect("cuts");
        let end = file.read_exact_at(0, &mut buffer).expect_err("too short");
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        disk.rename("one", "two").expect("renames");
        replace_file(&disk, "two", b"new").expect("replaces");
        disk.sync_directory().expect("syncs");
        assert_eq!(disk.list().expect("lists"), ["two"]);
        assert!(disk.exists("two").expect("looks") && !disk.exists("one").expect("looks"));
        disk.remove("two").expect("removes");
        assert_eq!(disk.open("two").err().expect("gone").kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(path).expect("removes");
    }

    #[test]
    fn names_do_not_lead_out_of_the_directory() {
        let path = scratch("names");
        let disk = RealDisk::open(&path).expect("opens");
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", "nul\0byte"] {
            assert_eq!(
                disk.create(name).err().expect(name).kind(),
                io::ErrorKind::InvalidFilename,
                "{name:?}"
            );
        }
        assert!(RealDisk::open(&path.join("absent")).is_err());
        fs::remove_dir_all(path).expect("removes");
    }
}
