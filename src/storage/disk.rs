//! One directory of files, behind a trait: the real one here, one that loses power in `testing/power_cut_disk.rs`.
//!
//! The traits promise no more than a disk does. A write is durable after `sync_data` of its file has succeeded, and a name (creation, rename,
//! removal) after `sync_directory`; after a failed sync nothing is known of what was written before it, and trying again proves nothing.

use std::fs::{self, File};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Advice, AtFlags, Dir, DirEntry, FileType, Mode, OFlags, fadvise, openat, renameat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::direct::DirectFile;
use crate::base::waiting::may_wait;

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

/// A directory of the file system, held by its descriptor: it stays the same one whatever becomes of its path, of those above it, or of the
/// process's own.
#[derive(Debug)]
pub struct RealDisk {
    /// Where the directory was when it was opened. For messages only.
    path: PathBuf,
    /// All names are looked up here, and here they are made durable.
    directory: File,
}

impl RealDisk {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// If it does not exist, is no directory, or may not be read.
    pub fn open(path: &Path) -> io::Result<RealDisk> {
        let path = fs::canonicalize(path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty()))?;
        Ok(RealDisk { path, directory: File::from(directory) })
    }

    /// Opens a file of the directory; a new one is private.
    pub(super) fn open_with(&self, name: &str, flags: OFlags) -> io::Result<File> {
        may_wait();
        let (name, mode) = (checked(name)?, Mode::from_raw_mode(FILE_MODE));
        let file = retry_on_intr(|| openat(&self.directory, name, flags | OFlags::CLOEXEC, mode))?;
        Ok(File::from(file))
    }

    /// The directory once more, as an open file of its own.
    pub(super) fn open_itself(&self) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::from(retry_on_intr(|| openat(&self.directory, ".", flags, Mode::empty()))?))
    }

    fn is_file(&self, entry: &DirEntry) -> io::Result<bool> {
        let file_type = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => {
                let found = statat(&self.directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(found.st_mode)
            }
            known => known,
        };
        Ok(file_type.is_file())
    }
}

/// An error for a name that would lead elsewhere.
fn checked(name: &str) -> io::Result<&str> {
    let is_name = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
    if is_name { Ok(name) } else { Err(io::ErrorKind::InvalidFilename.into()) }
}

fn boxed(file: File) -> Box<dyn DiskFile> {
    Box::new(RealFile { file, direct: None })
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC).map(boxed)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OFlags::RDWR).map(boxed)
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(name, OFlags::RDONLY).map(boxed)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        may_wait();
        Ok(renameat(&self.directory, checked(from)?, &self.directory, checked(to)?)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        may_wait();
        Ok(unlinkat(&self.directory, checked(name)?, AtFlags::empty())?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            // A name that is no text is not one of ours.
            if let Ok(name) = entry.file_name().to_str()
                && self.is_file(&entry)?
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_directory(&self) -> io::Result<()> {
        may_wait();
        self.directory.sync_all()
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        match statat(&self.directory, checked(name)?, AtFlags::empty()) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
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
        may_wait();
        match &self.direct {
            Some(direct) if direct.write_all_at(offset, bytes)? => Ok(()),
            _ => self.file.write_all_at(bytes, offset),
        }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        may_wait();
        self.file.read_at(buffer, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        may_wait();
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

/// What a file system gives room by.
const PAGE: usize = 4096;
/// A file that grows by less than this the next time has its room already.
const GROWTH: usize = 1024;

/// Replaces a small file whole: whatever happens, the name holds the old bytes or the new ones.
///
/// The new bytes are written into a file that has its room already, if the last call could make one, and the file that they replace makes room for
/// the next. So a disk that is full to the last byte takes them (unless it writes each byte to a new place), and what they say can free it.
///
/// # Errors
/// What the disk says. Before the rename the old file is untouched; if the last step fails, the next power cut decides which one stays.
pub fn replace_file(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_name(name);
    let file = match disk.open(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&temporary)?,
        opened => opened?,
    };
    file.write_all_at(0, bytes)?;
    file.set_size(bytes.len() as u64)?;
    file.sync_data()?;
    disk.rename(&temporary, name)?;
    disk.sync_directory()?;
    // Without it only a full disk is worse off.
    let _ = take_room(disk, &temporary, bytes.len());
    Ok(())
}

/// Takes the room that the next bytes will need.
fn take_room(disk: &dyn Disk, temporary: &str, len: usize) -> io::Result<()> {
    let file = disk.create(temporary)?;
    file.write_all_at(0, &vec![0; (len + GROWTH).next_multiple_of(PAGE)])?;
    file.sync_data()
}

/// The name of a file while it is being written.
pub fn temporary_name(name: &str) -> String {
    format!("{TEMPORARY_PREFIX}{name}")
}

/// What the name of a file begins with while it is being written. Others use it, too: Redis has its `temp-<pid>.rdb`.
const TEMPORARY_PREFIX: &str = "temp-";

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
        assert_eq!(disk.list().expect("lists"), ["temp-two", "two"]);
        assert!(disk.exists("two").expect("looks") && !disk.exists("one").expect("looks"));
        disk.remove("two").expect("removes");
        assert_eq!(disk.open("two").err().expect("gone").kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(path).expect("removes");
    }

    #[test]
    fn a_directory_that_was_moved_is_the_same_one() {
        let (path, moved) = (scratch("here"), scratch("there"));
        let disk = RealDisk::open(&path).expect("opens");
        disk.create("old").expect("creates");
        fs::remove_dir(&moved).expect("removes");
        fs::rename(&path, &moved).expect("moves");
        // Another one in its place has nothing to do with it.
        fs::create_dir(&path).expect("creates");
        fs::write(path.join("stranger"), "").expect("writes");
        disk.create("new").expect("creates");
        disk.rename("new", "newer").expect("renames");
        replace_file(&disk, "whole", b"bytes").expect("replaces");
        assert_eq!(disk.list().expect("lists"), ["newer", "old", "temp-whole", "whole"]);
        assert!(disk.exists("old").expect("looks") && !disk.exists("stranger").expect("looks"));
        disk.open("old").expect("is there");
        disk.open_read("whole").expect("is there");
        disk.remove("old").expect("is there");
        assert_eq!(fs::read_dir(&moved).expect("is there").count(), 3);
        assert_eq!(fs::read_dir(&path).expect("is there").count(), 1);
        fs::remove_dir_all(path).expect("removes");
        fs::remove_dir_all(moved).expect("removes");
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
