//! Writing around the page cache.
//!
//! Copying into the cache is most of what a busy log would cost: each page has to be found, and on a virtual machine its memory is often
//! new to the guest. So whole pages, if there are many, go straight to the disk (O_DIRECT); what is little goes through the cache.
//!
//! **Coherence.** The kernel writes back and drops what its cache has of the pages before a direct write, and drops it again behind it
//! (Linux: `kiocb_invalidate_pages`, `kiocb_invalidate_post_direct_write`), so readers of the cache see what was written, and no older
//! page is written over it later. What it does not order is a direct write and a cached access to the same pages at the same time; a log is
//! written by one thread, and nobody reads it meanwhile. `fdatasync` makes both kinds durable: it waits for cached pages, and flushes the
//! disk's own cache for all.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;

use super::pages::are_pages;

/// Shorter writes go through the cache: a server with little to write must not wait for the disk, and not make it work, every few milliseconds.
pub const DIRECT_MIN: usize = 128 << 10;

/// A second way to a file.
#[derive(Debug)]
pub struct DirectFile {
    file: File,
    /// The file system has refused a write: then all go through the cache, for good.
    refused: AtomicBool,
}

impl DirectFile {
    /// The same file once more; `None` if its file system knows no direct writes.
    pub fn open(file: &File) -> Option<DirectFile> {
        // By its descriptor it is this very file, whatever its name is by now.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let flags = OFlags::DIRECT.bits() as i32;
        let file = OpenOptions::new().write(true).custom_flags(flags).open(path).ok()?;
        Some(DirectFile { file, refused: AtomicBool::new(false) })
    }

    /// Writes all bytes at an offset, if they are many and whole pages; `false` if they are to go through the cache, all of them.
    ///
    /// # Errors
    /// What the system says; part of the bytes may have been written.
    pub fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<bool> {
        let suits = bytes.len() >= DIRECT_MIN && are_pages(offset, bytes);
        if !suits || self.refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match self.file.write_all_at(bytes, offset) {
            Err(error) if is_refusal(&error) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(false)
            }
            written => written.map(|()| true),
        }
    }
}

/// EINVAL: pages are not what this file system aligns to, or it writes directly only in some files. What it has written before it said so
/// can be written again.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::storage::pages::{PAGE, PageBuffer};

    /// A file in the directory for temporary files that has lost its name already.
    fn nameless(name: &str) -> File {
        let path = std::env::temp_dir().join(format!("cloakroom-direct-{}-{name}", std::process::id()));
        let file = File::options().read(true).write(true).create_new(true).open(&path).expect("creates");
        std::fs::remove_file(path).expect("removes");
        file
    }

    fn fill(buffer: &mut PageBuffer, len: usize, random: &mut Random) {
        for word in buffer.sized(len).chunks_mut(8) {
            word.copy_from_slice(&random.next_u64().to_le_bytes()[..word.len()]);
        }
    }

    /// The same file with another way to it.
    fn through(file: &str) -> DirectFile {
        let file = File::options().write(true).open(file).expect("opens");
        DirectFile { file, refused: AtomicBool::new(false) }
    }

    #[test]
    fn cached_pages_never_hide_or_replace_what_was_written_around_them() {
        let seed = 0xd17ec7;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        let file = nameless("coherent");
        let direct = DirectFile::open(&file).expect("the file system of the tests knows direct writes");
        let (mut buffer, mut expected) = (PageBuffer::default(), vec![0; 1 << 20]);
        // Zeros that were prepared, and are not on the disk yet.
        file.write_all_at(&expected, 0).expect("writes");
        let mut around = 0;
        for round in 0..100 {
            let pages = 1 + random.below(if round % 2 == 0 { 100 } else { 5 }) as usize;
            let offset = random.below(300) as usize * PAGE;
            fill(&mut buffer, pages * PAGE, &mut random);
            let bytes = buffer.first(pages * PAGE);
            // As `RealFile` does it.
            if direct.write_all_at(offset as u64, bytes).expect("writes") {
                around += 1;
            } else {
                file.write_all_at(bytes, offset as u64).expect("writes");
            }
            let end = offset + bytes.len();
            expected.resize(expected.len().max(end), 0);
            expected[offset..end].copy_from_slice(bytes);
            if round % 7 == 0 {
                file.sync_data().expect("syncs");
            }
            let mut found = vec![0; expected.len() + 1];
            let len = file.read_at(&mut found, 0).expect("reads");
            assert!(found[..len] == expected, "round {round}");
        }
        assert!((20..80).contains(&around), "{around} of 100");
    }

    #[test]
    fn what_is_little_or_not_in_pages_goes_through_the_cache() {
        let file = nameless("little");
        let direct = DirectFile::open(&file).expect("the file system of the tests knows direct writes");
        let mut buffer = PageBuffer::default();
        let bytes = &*buffer.sized(DIRECT_MIN + PAGE);
        for (offset, bytes, expected) in [
            (0, &bytes[..DIRECT_MIN], true),
            (PAGE as u64, bytes, true),
            (0, &bytes[..DIRECT_MIN - PAGE], false),
            (0, &bytes[..DIRECT_MIN + 1], false),
            (512, &bytes[..DIRECT_MIN], false),
            (0, &bytes[512..][..DIRECT_MIN], false),
            (0, &[][..], false),
        ] {
            assert_eq!(
                direct.write_all_at(offset, bytes).expect("writes"),
                expected,
                "{} at {offset}",
                bytes.len()
            );
        }
    }

    #[test]
    fn a_refusal_turns_to_the_cache_for_good_and_other_errors_do_not() {
        let mut buffer = PageBuffer::default();
        let bytes = &*buffer.sized(DIRECT_MIN);
        // A file that holds a number says EINVAL to all else.
        let refusing = through("/proc/self/oom_score_adj");
        for _ in 0..2 {
            assert!(!refusing.write_all_at(0, bytes).expect("no error"));
            assert!(refusing.refused.load(Ordering::Relaxed));
        }
        let full = through("/dev/full");
        for _ in 0..2 {
            assert_eq!(full.write_all_at(0, bytes).expect_err("full").kind(), io::ErrorKind::StorageFull);
            assert!(!full.refused.load(Ordering::Relaxed));
        }
        // procfs refuses sooner: when such a file is opened.
        assert!(DirectFile::open(&File::open("/proc/self/oom_score_adj").expect("opens")).is_none());
    }
}
