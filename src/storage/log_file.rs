//! The log file: records appended in blocks, synced when the caller says so, and read back up to the last whole block.
//!
//! ```text
//!   header block    version, LogHeader         number 0, never encrypted
//!   record blocks   whole records              numbers 1, 2, ... without gaps
//!   resume blocks   a fresh salt               among them, only in encrypted logs
//!   zeros           prepared for what comes    optional
//! ```
//!
//! **Pages.** An append writes whole pages: what its first page has already, the block, and zeros behind it. So a large one can go around the
//! system's page cache ([`DiskFile::expect_appends`]), and no page has to be read before it is written. Bytes that are on the disk already
//! are written again as they are, which is what writing back a cached page does, too.
//!
//! **Nonces.** In an encrypted log no two blocks of one key have the same number. After a failed append, or when a file is taken up again, the next number may
//! already have been on the disk once. So a resume block with a fresh salt comes first, and what follows has another key.
//!
//! **Prepared zeros.** Syncing bytes that overwrite zeros which are already on the disk is cheaper than syncing a file that grows, because
//! no file size and no extents have to be written with them. Zeros behind the last block are the end of the log.
//!
//! `log_reader.rs` says how a torn tail is told from damage.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::blocks::{BODY_MAX, BlockKind, Compression, Sealer};
use super::damage::Damage;
use super::disk::{Disk, DiskFile};
use super::file_header::{Encryption, FileHeader, file_key, header_body, read_header, write_header};
use super::format::Format;
use super::keys::{EncryptionKey, FileKey, NONCE_RANDOM_LEN, TAG_LEN, fresh_bytes};
use super::manifest::LogFacts;
use super::pages::page_start;

/// The most that one append takes.
pub const RECORDS_MAX: usize = BODY_MAX - TAG_LEN - NONCE_RANDOM_LEN;
/// How much of a log may lie in memory before the system is told that it need not.
const FORGET_EVERY: u64 = 16 << 20;
/// What is read is written again in pieces of this size.
const COPIED_AT_ONCE: u64 = 1 << 20;
/// Zeros are written in pieces of this size.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// What a log says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHeader {
    /// The file's number, which its name has, too.
    pub number: u64,
    /// The offset of the first record in the whole log.
    pub start_offset: u64,
    /// When the file was created, in milliseconds since 1970.
    pub created_ms: u64,
    /// The version of the program that created it.
    pub cloakroom_version: String,
    /// How the records are encrypted, if they are.
    pub encryption: Option<Encryption>,
}

/// What a new log says of itself.
#[derive(Clone, Copy, Debug)]
pub struct LogStart {
    /// Its number; the name follows from it.
    pub number: u64,
    /// The offset of the first record in the whole log.
    pub start_offset: u64,
    /// When it is created, in milliseconds since 1970.
    pub created_ms: u64,
}

/// How a log is written.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions<'a> {
    /// Whether blocks are compressed.
    pub compression: Compression,
    /// The configured key.
    pub key: Option<&'a EncryptionKey>,
}

/// Where a log ends: what a reader has found and a writer goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnd {
    /// The byte behind the last block.
    pub offset: u64,
    /// The number that the next block has.
    pub sequence: u64,
}

/// What a writer can still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// The file ends where the writer thinks it does.
    Good,
    /// An append failed: there may be part of a block behind the end. It must go before anything else is written.
    Torn,
    /// A sync failed: what of the last blocks is on the disk cannot be known any more.
    Lost,
}

/// A log that is being written, by one thread.
pub struct LogWriter {
    file: Arc<dyn DiskFile>,
    sealer: Sealer,
    /// What further keys of the file follow from: the configured key and the header's bytes.
    rekey: Option<(EncryptionKey, Vec<u8>)>,
    end: LogEnd,
    /// What the page that the next block begins in has before it.
    last_page: Vec<u8>,
    /// Bytes of the file; from the end on they are zeros.
    size: u64,
    /// Bytes that need not stay in memory, as the system was told.
    forgotten: u64,
    /// Blocks of which no sync has said that they are durable.
    unsynced: u64,
    health: Health,
}

impl LogWriter {
    /// Creates a log; its header and its name are durable when this returns.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(disk: &dyn Disk, start: &LogStart, options: &LogOptions<'_>) -> io::Result<LogWriter> {
        let header = LogHeader {
            number: start.number,
            start_offset: start.start_offset,
            created_ms: start.created_ms,
            cloakroom_version: env!("CARGO_PKG_VERSION").to_owned(),
            encryption: Encryption::new(options.key)?,
        };
        let format = Format::of_new_file()?;
        let body = header_body(format, &header)?;
        let key = match (options.key, &header.encryption) {
            (Some(key), Some(encryption)) => Some(key.for_file(&encryption.salt, &body)?),
            _ => None,
        };
        let name = LogFacts::name_of(start.number);
        let created = disk.create(&name).and_then(|file| {
            let offset = write_header(&*file, BlockKind::LogHeader, &body)?;
            file.sync_data()?;
            disk.sync_directory()?;
            Ok((file, offset))
        });
        let (file, offset) = created.inspect_err(|_| {
            // Nothing refers to the file yet; if it stays, its number will not be used again.
            let _ = disk.remove(&name);
        })?;
        LogWriter::new(file, (format, body), key, options, LogEnd { offset, sequence: 1 })
    }

    /// Takes up a log where a reader found its end. What is behind the end is cut off, and what is before it is durable when this returns.
    ///
    /// # Errors
    /// Damage of the header, another key, or what the disk says.
    pub fn reopen(
        disk: &dyn Disk,
        number: u64,
        options: &LogOptions<'_>,
        end: LogEnd,
    ) -> Result<LogWriter, Damage> {
        let name = LogFacts::name_of(number);
        let path = disk.describe(&name);
        let unreadable = |error| Damage::unreadable(&path, end.offset, error);
        let file = disk.open(&name).map_err(unreadable)?;
        let size = file.size().map_err(unreadable)?;
        let FileHeader { facts, format, body, end: header_end } =
            read_header::<LogHeader>(&*file, &path, size, BlockKind::LogHeader)?;
        if end.offset < header_end || end.offset > size {
            return Err(Damage::wrong(&path, size, "the log does not reach to the end that was found"));
        }
        let key = file_key(&path, facts.encryption.as_ref(), &body, options.key)?;
        // A log that was begun without a key goes on without one; the next log has it.
        let options = LogOptions { key: options.key.filter(|_| key.is_some()), ..*options };
        file.set_size(end.offset).and_then(|()| file.sync_data()).map_err(unreadable)?;
        let mut writer = LogWriter::new(file, (format, body), key, &options, end).map_err(unreadable)?;
        writer.resume().map_err(unreadable)?;
        Ok(writer)
    }

    fn new(
        mut file: Box<dyn DiskFile>,
        (format, header_body): (Format, Vec<u8>),
        key: Option<FileKey>,
        options: &LogOptions<'_>,
        end: LogEnd,
    ) -> io::Result<LogWriter> {
        let sealer = Sealer::new(format, options.compression, key.map(Arc::new))?;
        let rekey = options.key.map(|key| (key.clone(), header_body));
        let forgotten = end.offset;
        file.expect_appends();
        let mut last_page = vec![0; (end.offset - page_start(end.offset)) as usize];
        file.read_exact_at(page_start(end.offset), &mut last_page)?;
        Ok(LogWriter {
            file: Arc::from(file),
            sealer,
            rekey,
            end,
            last_page,
            size: end.offset,
            forgotten,
            unsynced: 0,
            health: Health::Good,
        })
    }

    /// Appends one block of whole records. It is durable after the next [`LogWriter::sync`].
    ///
    /// # Errors
    /// What the disk says: nothing of the block is in the log then, and a later append may succeed, for instance when there is space again. After
    /// a sync has failed, every append fails.
    pub fn append(&mut self, raw: &[u8]) -> io::Result<()> {
        self.recover()?;
        self.write(BlockKind::LogRecords, raw)
    }

    fn write(&mut self, kind: BlockKind, raw: &[u8]) -> io::Result<()> {
        let written = self.write_block(kind, raw);
        if self.health == Health::Torn {
            // If this fails, too, the next append tries it again; the error that matters is the first one.
            let _ = self.recover();
        }
        written
    }

    /// Writes a block as whole pages, from the first that it begins in. What that page has before the block is written once more, as it is.
    fn write_block(&mut self, kind: BlockKind, raw: &[u8]) -> io::Result<()> {
        let LogEnd { offset, sequence } = self.end;
        let start = page_start(offset);
        let unsynced = u16::try_from(self.unsynced).unwrap_or(u16::MAX);
        let (pages, len) = self.sealer.seal_pages(&self.last_page, kind, sequence, unsynced, raw)?;
        self.file.write_all_at(start, pages).inspect_err(|_| self.health = Health::Torn)?;
        self.end = LogEnd { offset: offset + len as u64, sequence: sequence + 1 };
        self.size = self.size.max(start + pages.len() as u64);
        let last_page = (page_start(self.end.offset) - start) as usize..(self.end.offset - start) as usize;
        self.last_page.clear();
        self.last_page.extend_from_slice(&pages[last_page]);
        self.unsynced += 1;
        Ok(())
    }

    /// Cuts off what a failed append has left. The cut is synced before anything is written in its place.
    fn recover(&mut self) -> io::Result<()> {
        match self.health {
            Health::Good => return Ok(()),
            Health::Lost => return Err(lost()),
            Health::Torn => {}
        }
        self.file.set_size(self.end.offset)?;
        self.size = self.end.offset;
        self.sync_file()?;
        self.resume()
    }

    /// Writes a fresh salt, if the log is encrypted, and uses the key that follows from it.
    fn resume(&mut self) -> io::Result<()> {
        let Some((key, header_body)) = &self.rekey else {
            self.health = Health::Good;
            return Ok(());
        };
        let salt = fresh_bytes()?;
        let key = key.for_file(&salt, header_body)?;
        self.write_block(BlockKind::LogResume, &salt)?;
        self.sealer.set_key(Some(Arc::new(key)));
        self.health = Health::Good;
        Ok(())
    }

    /// Makes all appended blocks durable.
    ///
    /// # Errors
    /// What the disk says. What is on the disk then is unknown, so the writer refuses everything from now on; a new file has to be begun, from a
    /// snapshot.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.health == Health::Lost {
            return Err(lost());
        }
        self.sync_file()
    }

    fn sync_file(&mut self) -> io::Result<()> {
        let sync = self.begin_sync();
        let result = sync.run();
        self.end_sync(&sync, result)
    }

    /// A sync that another thread does while more is appended. No other one may begin before it has ended: the system tells of an error once.
    pub fn begin_sync(&self) -> LogSync {
        LogSync { file: Arc::clone(&self.file), end: self.end.offset, blocks: self.unsynced }
    }

    /// How it went. What was appended before it began is durable if it went well.
    ///
    /// # Errors
    /// As [`LogWriter::sync`], and with the same consequence.
    pub fn end_sync(&mut self, sync: &LogSync, result: io::Result<()>) -> io::Result<()> {
        if let Err(error) = result {
            self.health = Health::Lost;
            return Err(error);
        }
        self.unsynced -= sync.blocks;
        if sync.end >= self.forgotten + FORGET_EVERY {
            // A log is written and not read. Kept in memory it would only push out what is, and on a virtual machine each new page of the
            // cache is slow for the first time.
            self.file.forget_before(sync.end);
            self.forgotten = sync.end;
        }
        Ok(())
    }

    /// Makes sure that at least half of `ahead` bytes of zeros are behind the end, by writing zeros up to `ahead`. For idle moments: the next sync
    /// writes them, the ones after it are cheaper.
    ///
    /// # Errors
    /// What the disk says; the log is as good as before.
    pub fn prepare(&mut self, ahead: u64) -> io::Result<()> {
        if self.health != Health::Good || self.size - self.end.offset > ahead / 2 {
            return Ok(());
        }
        let target = self.end.offset + ahead;
        while self.size < target {
            let len = (target - self.size).min(ZEROS.len() as u64);
            self.file.write_all_at(self.size, &ZEROS[..len as usize])?;
            self.size += len;
        }
        Ok(())
    }

    /// A sync has failed: the writer refuses everything from now on.
    pub fn is_lost(&self) -> bool {
        self.health == Health::Lost
    }

    /// Where the log ends.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// Bytes of the file, with what is prepared.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Cuts off what was prepared and makes all durable.
    ///
    /// # Errors
    /// What the disk says.
    pub fn close(mut self) -> io::Result<()> {
        if self.health == Health::Lost {
            return Err(lost());
        }
        if self.size > self.end.offset || self.health == Health::Torn {
            let cut = self.file.set_size(self.end.offset);
            // Zeros behind the last block may stay: they are its end, too. Part of a block may not.
            if self.health == Health::Torn {
                cut?;
            }
        }
        self.sync_file()
    }
}

/// See [`LogWriter::begin_sync`].
#[derive(Clone)]
pub struct LogSync {
    file: Arc<dyn DiskFile>,
    /// Where the log ended when it began.
    end: u64,
    /// Blocks that were not durable then.
    blocks: u64,
}

impl LogSync {
    /// # Errors
    /// What the disk says, for [`LogWriter::end_sync`].
    pub fn run(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn lost() -> io::Error {
    io::Error::other("an earlier sync of the log failed; what is on the disk is not known")
}

/// Cuts a log at the offset of a torn tail, durably.
///
/// # Errors
/// What the disk says.
pub fn cut_tail(disk: &dyn Disk, name: &str, offset: u64) -> io::Result<()> {
    let file = disk.open(name)?;
    if file.size()? > offset {
        file.set_size(offset)?;
    }
    file.sync_data()
}

/// Makes what was read of a log durable, up to `end`, and cuts off what is behind it. What no block vouches for, from `proven_end` on, is written once more:
/// after a flush that has failed the system's memory has what the disk has not, and takes it for written, so that another flush alone says nothing.
///
/// # Errors
/// What the disk says. Then nothing may follow that depends on what was read.
pub fn keep_tail(disk: &dyn Disk, name: &str, proven_end: u64, end: u64) -> io::Result<()> {
    let file = disk.open(name)?;
    if file.size()? > end {
        file.set_size(end)?;
    }
    let mut bytes = Vec::new();
    let mut at = proven_end;
    while at < end {
        bytes.resize((end - at).min(COPIED_AT_ONCE) as usize, 0);
        file.read_exact_at(at, &mut bytes)?;
        file.write_all_at(at, &bytes)?;
        at += bytes.len() as u64;
    }
    file.sync_data()
}
