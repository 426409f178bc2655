//! Reading a log, and telling a torn tail from damage.
//!
//! A power cut may leave any subset of the 512-byte sectors that were written since the last sync, and each of those sectors whole; one that was
//! not written still reads as zeros, or lies behind the end of the file. So a block that is not as it was written is *torn* only if
//! - something of it is missing: the file ends inside it, or one of the sectors that it lies in is all zeros from the block's first byte on; and
//! - no later block proves that it was durable: each block says how many right before it were not yet synced when it was written.
//!
//! Everything else is damage. A flipped bit leaves no sector of zeros, because no sector of a block has fewer than two bits set when it is written
//! (`sectors.rs`; files of version 1 do not promise that). A block that was synced is vouched for by those that follow, and what a client has sent vouches for nothing,
//! because it does not know the file's id (`format.rs`). What cannot be told from a torn tail is the loss of whole sectors of blocks that none
//! vouches for: at most what was written after the last sync but one.

use std::collections::VecDeque;
use std::ops::Range;

use super::blocks::{BlockHeader, BlockKind, HEADER_LEN, MAGIC, Opener};
use super::damage::{Damage, Problem};
use super::disk::{Disk, DiskFile};
use super::file_header::{FileHeader, file_key, read_header};
use super::format::Format;
use super::keys::{EncryptionKey, FileKey, KeyId};
use super::log_file::{LogEnd, LogHeader};
use super::manifest::LogFacts;
use super::sectors;

/// What a disk writes whole or not at all.
const SECTOR: u64 = sectors::SECTOR as u64;
/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// A log that is open for reading, from its beginning to its end, once.
pub struct LogReader {
    file: Box<dyn DiskFile>,
    path: String,
    size: u64,
    header: LogHeader,
    format: Format,
    /// The configured key and the header's bytes, for the keys behind resume blocks.
    rekey: Option<(EncryptionKey, Vec<u8>)>,
    key: Option<FileKey>,
    end: LogEnd,
    /// Where the blocks begin of which no later one says that they were durable.
    unproven: VecDeque<LogEnd>,
    opener: Opener,
    window: Vec<u8>,
    /// Where the window lies in the file.
    window_offset: u64,
}

/// What lies behind the end of what can be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// Bytes up to the last one that is not zero.
    pub bytes: u64,
    /// Blocks of records whose headers are whole.
    pub blocks: u64,
}

/// Where the body of a block is, once it is open.
enum Place {
    Window(Range<usize>),
    Opener,
}

impl LogReader {
    /// Opens the log of this number and checks its header.
    ///
    /// # Errors
    /// Damage, a version that this program does not know, the wrong key, or what the disk says. A header is never torn: a log is named by the
    /// manifest only after its header is durable.
    pub fn open(disk: &dyn Disk, number: u64, key: Option<&EncryptionKey>) -> Result<LogReader, Damage> {
        let name = LogFacts::name_of(number);
        let path = disk.describe(&name);
        let unreadable = |error| Damage::unreadable(&path, 0, error);
        let file = disk.open_read(&name).map_err(unreadable)?;
        let size = file.size().map_err(unreadable)?;
        let FileHeader { facts: header, format, body, end } =
            read_header::<LogHeader>(&*file, &path, size, BlockKind::LogHeader)?;
        let file_key = file_key(&path, header.encryption.as_ref(), &body, key)?;
        if header.number != number {
            return Err(Damage::wrong(&path, 0, "the log has another number than its name"));
        }
        Ok(LogReader {
            opener: Opener::new().map_err(unreadable)?,
            rekey: key.filter(|_| file_key.is_some()).map(|key| (key.clone(), body)),
            key: file_key,
            end: LogEnd { offset: end, sequence: 1 },
            unproven: VecDeque::new(),
            window: Vec::new(),
            window_offset: 0,
            file,
            path,
            size,
            header,
            format,
        })
    }

    /// Checks that the log begins where what is before it ends; else records between the two are missing.
    ///
    /// # Errors
    /// Damage that says so.
    pub fn follows(&self, end_offset: u64) -> Result<(), Damage> {
        if self.header.start_offset == end_offset {
            return Ok(());
        }
        let what = format!(
            "it continues the write log at {}, and what is before it ends at {end_offset}",
            self.header.start_offset
        );
        Err(Damage::wrong(&self.path, 0, what))
    }

    /// Something that is wrong with the records of a block.
    pub fn damage_at(&self, offset: u64, what: impl Into<String>) -> Damage {
        Damage::wrong(&self.path, offset, what)
    }

    /// A transaction begins at a block and does not end in the log: the last blocks of it are missing.
    pub fn unfinished(&self, offset: u64) -> Damage {
        Damage::new(&self.path, offset, Problem::TornTail("the end of the last transaction is missing"))
    }

    /// What the log says of itself.
    pub fn header(&self) -> &LogHeader {
        &self.header
    }

    /// Where the next block begins, or where the log ends when there is none.
    pub fn end(&self) -> LogEnd {
        self.end
    }

    /// From where on no later block says that what was read so far was durable. A process that is killed may leave it in the system's memory alone,
    /// where it also stays when a flush has failed; and then no flush tells that it is not on the disk.
    pub fn proven_end(&self) -> u64 {
        self.unproven.front().unwrap_or(&self.end).offset
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The key that the file is encrypted with, if it is.
    pub fn key_id(&self) -> Option<KeyId> {
        self.header.encryption.as_ref().map(|encryption| encryption.key_id)
    }

    /// The records of the next block; `None` at the end of the log.
    ///
    /// # Errors
    /// A torn tail, damage, or what the disk says. [`LogReader::end`] stays where the bad block begins, which is where a torn tail is cut.
    pub fn next_block(&mut self) -> Result<Option<&[u8]>, Damage> {
        loop {
            let before = self.end;
            let Some((kind, place)) = self.advance()? else { return Ok(None) };
            if kind == BlockKind::LogRecords {
                return Ok(Some(self.body(place)));
            }
            let offset = before.offset;
            let salt = <[u8; 32]>::try_from(self.body(place));
            let (Some((key, header_body)), Ok(salt)) = (&self.rekey, salt) else {
                // It was stepped over already, but a cut has to take it away.
                self.end = before;
                return Err(Damage::wrong(
                    &self.path,
                    offset,
                    "the block is a salt, which is of no use here",
                ));
            };
            let key = key.for_file(&salt, header_body);
            self.key = Some(key.map_err(|error| Damage::unreadable(&self.path, offset, error))?);
        }
    }

    fn body(&self, place: Place) -> &[u8] {
        match place {
            Place::Window(range) => &self.window[range],
            Place::Opener => self.opener.raw(),
        }
    }

    /// Opens the next block and steps over it.
    fn advance(&mut self) -> Result<Option<(BlockKind, Place)>, Damage> {
        let at = self.end.offset;
        let left = self.size - at;
        if left == 0 {
            return Ok(None);
        }
        if left < HEADER_LEN as u64 {
            return if self.is_zero_from(at)? {
                Ok(None)
            } else {
                self.torn(at, "it ends inside a block's header")
            };
        }
        let start = self.load(at, HEADER_LEN)?;
        let mut header_bytes = [0; HEADER_LEN];
        header_bytes.copy_from_slice(&self.window[start..start + HEADER_LEN]);
        let header = match BlockHeader::read(&header_bytes, self.format) {
            Ok(header) => header,
            Err(_) if self.is_zero_from(at)? => return Ok(None),
            Err(what) => return self.bad_block(at..at + HEADER_LEN as u64, what),
        };
        if header.sequence != self.end.sequence {
            let what = format!("block {} stands where block {} should", header.sequence, self.end.sequence);
            return Err(Damage::wrong(&self.path, at, what));
        }
        let len = header.len_with_header();
        if len > left {
            return self.torn(at, "it ends inside a block");
        }
        let start = self.load(at, len as usize)?;
        let stored = &mut self.window[start + HEADER_LEN..start + len as usize];
        let opened = self.opener.open(&header, stored, self.key.as_ref()).map(<[u8]>::len);
        let body_len = match opened {
            Ok(len) => len,
            // Decryption has changed the bytes in the window, so what follows must read them again.
            Err(what) => {
                self.window.clear();
                return self.bad_block(at..at + len, what);
            }
        };
        if !matches!(header.kind, BlockKind::LogRecords | BlockKind::LogResume) {
            return Err(Damage::wrong(&self.path, at, "the block is of a kind that logs do not have"));
        }
        self.note_proven(header.unsynced);
        self.end = LogEnd { offset: at + len, sequence: header.sequence + 1 };
        let body = start + HEADER_LEN;
        let place = if header.is_compressed() { Place::Opener } else { Place::Window(body..body + body_len) };
        Ok(Some((header.kind, place)))
    }

    /// The next block was written when so many right before it were not known to be durable.
    fn note_proven(&mut self, unsynced: u16) {
        let durable = self.end.sequence - u64::from(unsynced).min(self.end.sequence);
        if unsynced < u16::MAX {
            while self.unproven.front().is_some_and(|block| block.sequence < durable) {
                self.unproven.pop_front();
            }
        }
        // No block tells of more than these and, in between, the first.
        if self.unproven.len() > usize::from(u16::MAX) {
            self.unproven.remove(1);
        }
        self.unproven.push_back(self.end);
    }

    /// Makes sure that bytes of the file, which is that long, are in the window; returns where in it.
    fn load(&mut self, offset: u64, len: usize) -> Result<usize, Damage> {
        let window_end = self.window_offset + self.window.len() as u64;
        if offset >= self.window_offset && offset + len as u64 <= window_end {
            return Ok((offset - self.window_offset) as usize);
        }
        let wanted = (WINDOW.max(len) as u64).min(self.size - offset) as usize;
        // A huge block must not cost its memory for the rest of the log.
        if self.window.capacity() > 2 * WINDOW.max(wanted) {
            self.window = Vec::new();
        }
        let error = self.window.try_reserve_exact(wanted.saturating_sub(self.window.len())).err();
        let read = match error {
            Some(_) => Err(std::io::ErrorKind::OutOfMemory.into()),
            None => {
                self.window.resize(wanted, 0);
                self.file.read_exact_at(offset, &mut self.window)
            }
        };
        self.window_offset = offset;
        if let Err(error) = read {
            self.window.clear();
            return Err(Damage::unreadable(&self.path, offset, error));
        }
        Ok(0)
    }

    fn torn<T>(&self, at: u64, what: &'static str) -> Result<T, Damage> {
        Err(Damage::new(&self.path, at, Problem::TornTail(what)))
    }

    /// Decides what a block is that is not what was written; it takes up at least these bytes.
    fn bad_block<T>(&mut self, extent: Range<u64>, what: &'static str) -> Result<T, Damage> {
        if self.has_lost_sector(&extent)? && !self.is_proven_durable(extent.end)? {
            return self.torn(extent.start, "part of the last write is missing");
        }
        Err(Damage::wrong(&self.path, extent.start, what))
    }

    /// Whether everything from this place on is zeros.
    fn is_zero_from(&mut self, mut at: u64) -> Result<bool, Damage> {
        while at < self.size {
            let len = (self.size - at).min(WINDOW as u64) as usize;
            let start = self.load(at, len)?;
            if self.window[start..start + len].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }

    /// Whether a sector that the block lies in was never written: zeros from the block's first byte to the sector's end.
    fn has_lost_sector(&mut self, extent: &Range<u64>) -> Result<bool, Damage> {
        let mut at = extent.start;
        while at < extent.end {
            let sector_end = ((at / SECTOR + 1) * SECTOR).min(self.size);
            let start = self.load(at, (sector_end - at) as usize)?;
            let sector = &self.window[start..start + (sector_end - at) as usize];
            if sector.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            at = sector_end;
        }
        Ok(false)
    }

    /// Whether some block behind this place was written when the one that should be here was already durable.
    fn is_proven_durable(&mut self, at: u64) -> Result<bool, Damage> {
        let expected = self.end.sequence;
        let mut proven = false;
        self.scan(at, |header| {
            let durable = header.sequence.saturating_sub(u64::from(header.unsynced));
            proven = header.unsynced < u16::MAX && durable > expected;
            !proven
        })?;
        Ok(proven)
    }

    /// What lies behind a place: how many bytes up to the last one that is not zero, and how many blocks of records seem to begin in
    /// them. For telling what a cut there costs.
    ///
    /// # Errors
    /// What the disk says.
    pub fn behind(&mut self, place: u64) -> Result<Behind, Damage> {
        let mut behind = Behind::default();
        let mut at = place;
        // Decryption may have changed what is in the window.
        self.window.clear();
        while at < self.size {
            let len = (self.size - at).min(WINDOW as u64) as usize;
            let start = self.load(at, len)?;
            if let Some(last) = self.window[start..start + len].iter().rposition(|byte| *byte != 0) {
                behind.bytes = at + last as u64 + 1 - place;
            }
            at += len as u64;
        }
        self.scan(place, |header| {
            behind.blocks += u64::from(header.kind == BlockKind::LogRecords);
            true
        })?;
        Ok(behind)
    }

    /// Shows each header of a block that begins at or behind a place, wherever it lies, until `see` has seen enough.
    fn scan(&mut self, mut at: u64, mut see: impl FnMut(BlockHeader) -> bool) -> Result<(), Damage> {
        let format = self.format;
        while at + HEADER_LEN as u64 <= self.size {
            let len = (self.size - at).min(WINDOW as u64) as usize;
            let start = self.load(at, len)?;
            let bytes = &self.window[start..start + len];
            for found in memchr::memmem::find_iter(bytes, &MAGIC) {
                let header = bytes[found..].first_chunk();
                let header = header.and_then(|bytes| BlockHeader::read(bytes, format).ok());
                if header.is_some_and(|header| !see(header)) {
                    return Ok(());
                }
            }
            // The next window begins a little before this one ends, so that no header lies across the border and none is in both.
            at += if len < WINDOW { len } else { len - (HEADER_LEN - 1) } as u64;
        }
        Ok(())
    }
}
