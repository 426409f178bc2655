//! The snapshot file: what is in it, and reading it, from several threads at once.
//!
//! ```text
//!   header block   version, SnapshotHeader                       number 0, never encrypted
//!   entry blocks   entries in any order, about 256 KB each       numbers 1 to n, side by side in any order
//!   index blocks   where each entry block is, what it holds      number n + 1 and on
//!   trailer        32 bytes: where the index is
//! ```
//!
//! A snapshot is complete or it is not one: [`SnapshotReader::open`] checks trailer, header and index, and that the blocks fill the file without
//! gaps, before the first entry is read. There is no torn tail here; writing (`snapshot_writer.rs`) gives a file its name when all is durable.

use serde::{Deserialize, Serialize};

use super::blocks::{BlockKind, HEADER_LEN, Opener};
use super::damage::Damage;
use super::disk::{Disk, DiskFile};
use super::encoding::crc32c;
use super::file_header::{Encryption, FileHeader, file_key, read_header};
use super::format::Format;
use super::keys::{EncryptionKey, FileKey, KeyId};
use super::manifest::SnapshotFacts;
use super::snapshot_entry::Entries;
use super::snapshot_index::{Index, read_index};

/// Bytes of the trailer.
pub(super) const TRAILER_LEN: usize = 32;
const TRAILER_MAGIC: [u8; 8] = *b"CLKRIDX1";
const TRAILER_CHECKSUMMED: usize = 28;

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// The snapshot's number, which its name has, too.
    pub number: u64,
    /// When the cut was, in milliseconds since 1970.
    pub created_ms: u64,
    /// The version of the program that wrote it.
    pub cloakroom_version: String,
    /// How many databases the server had.
    pub databases: u32,
    /// Whether the entries' access histories are LFU's; else they are LRU clocks.
    pub lfu: bool,
    /// The offset of the log at the cut: the first record that is not in the snapshot begins there.
    pub log_offset: u64,
    /// How the blocks are encrypted, if they are.
    pub encryption: Option<Encryption>,
}

/// An entry block, as the index has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedBlock {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length in the file, header included.
    pub stored_len: u32,
    /// Bytes of its entries.
    pub raw_len: u32,
    /// How many entries it has.
    pub entries: u32,
}

/// Where leaves of large collections are counted: in no shard, and in database 0.
pub const LEAVES: u16 = u16::MAX;

/// How many entries of one database and shard there are in the whole file; for sizing tables before loading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardCount {
    /// The database's number.
    pub database: u32,
    /// The shard's number.
    pub shard: u16,
    /// Its entries.
    pub entries: u64,
}

/// The end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Where the index block begins.
    pub index_offset: u64,
    /// Its length, header included.
    pub index_len: u64,
}

impl Trailer {
    pub fn write(&self) -> [u8; TRAILER_LEN] {
        let mut bytes = [0; TRAILER_LEN];
        bytes[..8].copy_from_slice(&TRAILER_MAGIC);
        bytes[8..16].copy_from_slice(&self.index_offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.index_len.to_le_bytes());
        let checksum = crc32c(&bytes[..TRAILER_CHECKSUMMED]);
        bytes[TRAILER_CHECKSUMMED..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8; TRAILER_LEN]) -> Result<Trailer, &'static str> {
        if bytes[..8] != TRAILER_MAGIC {
            return Err("the file does not end as a snapshot does; it is cut off or no snapshot");
        }
        let number = |at: usize| bytes[at..].first_chunk().copied().map_or(0, u64::from_le_bytes);
        let trailer = Trailer { index_offset: number(8), index_len: number(16) };
        if trailer.write() == *bytes {
            Ok(trailer)
        } else {
            Err("the checksum of the trailer does not match")
        }
    }
}

/// A snapshot that is open for reading; threads share it, each with an [`Opener`] of its own.
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    path: String,
    size: u64,
    header: SnapshotHeader,
    format: Format,
    key: Option<FileKey>,
    index: Index,
}

impl SnapshotReader {
    /// Opens a snapshot and checks all but its entries.
    ///
    /// # Errors
    /// Damage, a version that this program does not know, the wrong key, or what the disk says.
    pub fn open(disk: &dyn Disk, name: &str, key: Option<&EncryptionKey>) -> Result<SnapshotReader, Damage> {
        let path = disk.describe(name);
        let unreadable = |error| Damage::unreadable(&path, 0, error);
        let file = disk.open_read(name).map_err(unreadable)?;
        let size = file.size().map_err(unreadable)?;
        let FileHeader { facts: header, format, body, end } =
            read_header::<SnapshotHeader>(&*file, &path, size, BlockKind::SnapshotHeader)?;
        let key = file_key(&path, header.encryption.as_ref(), &body, key)?;
        let trailer = read_trailer(&*file, &path, size, end)?;
        let index = read_index(&*file, &path, trailer, (format, key.as_ref()))?;
        index
            .check(end, trailer.index_offset)
            .map_err(|what| Damage::wrong(&path, trailer.index_offset, what))?;
        Ok(SnapshotReader { file, path, size, header, format, key, index })
    }

    /// [`SnapshotReader::open`] for the snapshot that a manifest names. Another one in its place, such as one from a copy of older files, does not
    /// fit the logs behind it.
    ///
    /// # Errors
    /// As [`SnapshotReader::open`].
    pub fn open_named(
        disk: &dyn Disk,
        facts: &SnapshotFacts,
        key: Option<&EncryptionKey>,
    ) -> Result<SnapshotReader, Damage> {
        let reader = SnapshotReader::open(disk, &facts.name(), key)?;
        let SnapshotHeader { number, created_ms, log_offset, .. } = *reader.header();
        let found =
            SnapshotFacts { number, created_ms, log_offset, entries: reader.keys(), bytes: reader.size };
        if found == *facts {
            Ok(reader)
        } else {
            Err(reader.damage("it is another snapshot than the one that the manifest names"))
        }
    }

    /// What the snapshot says of itself.
    pub fn header(&self) -> &SnapshotHeader {
        &self.header
    }

    /// The entry blocks, in the order of their numbers.
    pub fn blocks(&self) -> &[IndexedBlock] {
        &self.index.blocks
    }

    /// Entries by database and shard, ordered.
    pub fn counts(&self) -> &[ShardCount] {
        &self.index.counts
    }

    /// How many keys it has.
    pub fn keys(&self) -> u64 {
        self.index.counts.iter().filter(|count| count.shard != LEAVES).map(|count| count.entries).sum()
    }

    /// All entries, those among them that are parts of others.
    pub fn entries(&self) -> u64 {
        self.index.blocks.iter().map(|block| u64::from(block.entries)).sum()
    }

    /// Something that is wrong with the file as a whole.
    pub fn damage(&self, what: impl Into<String>) -> Damage {
        Damage::wrong(&self.path, 0, what)
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The entries of one block, given by its place in [`SnapshotReader::blocks`].
    ///
    /// # Errors
    /// Damage, or what the disk says. The entries themselves are decoded as they are asked for, and can be damaged, too.
    pub fn read_block<'a>(&'a self, block: usize, opener: &'a mut Opener) -> Result<Entries<'a>, Damage> {
        let (facts, raw) = self.read_raw(block, opener)?;
        Ok(Entries::new(raw, facts.entries, &self.path, facts.offset))
    }

    /// The entries of one block as they are encoded, and what the index has of it.
    ///
    /// # Errors
    /// As [`SnapshotReader::read_block`].
    pub fn read_raw<'a>(
        &'a self,
        block: usize,
        opener: &'a mut Opener,
    ) -> Result<(&'a IndexedBlock, &'a [u8]), Damage> {
        let number = block as u64 + 1;
        let Some(block) = self.index.blocks.get(block) else {
            return Err(Damage::wrong(&self.path, self.size, "there is no such block"));
        };
        let (place, seal) = ((block.offset, block.stored_len as usize), (self.format, self.key.as_ref()));
        // Before it is decompressed: what the index says is what the reader has made room for.
        let raw = opener.open_at(&*self.file, place, seal, |header| {
            let expected = (BlockKind::SnapshotEntries, number, block.raw_len);
            let found = (header.kind, header.sequence, header.raw_len);
            if found == expected { Ok(()) } else { Err("the block is not the one that the index says") }
        });
        Ok((block, raw.map_err(|problem| Damage::new(&self.path, block.offset, problem))?))
    }

    /// The key that the file is encrypted with, if it is.
    pub fn key_id(&self) -> Option<KeyId> {
        self.header.encryption.as_ref().map(|encryption| encryption.key_id)
    }

    /// Whether compression has saved anything.
    pub fn is_compressed(&self) -> bool {
        self.index.blocks.iter().any(|block| block.stored_len < block.raw_len)
    }
}

fn read_trailer(file: &dyn DiskFile, path: &str, size: u64, header_end: u64) -> Result<Trailer, Damage> {
    let Some(offset) = size.checked_sub(TRAILER_LEN as u64).filter(|offset| *offset >= header_end) else {
        return Err(Damage::wrong(path, size, "the file is too short to be a snapshot"));
    };
    let mut bytes = [0; TRAILER_LEN];
    file.read_exact_at(offset, &mut bytes).map_err(|error| Damage::unreadable(path, offset, error))?;
    let trailer = Trailer::read(&bytes).map_err(|what| Damage::wrong(path, offset, what))?;
    if trailer.index_len < HEADER_LEN as u64
        || trailer.index_offset < header_end
        || trailer.index_offset.checked_add(trailer.index_len) != Some(offset)
    {
        return Err(Damage::wrong(path, offset, "the index does not end where the trailer begins"));
    }
    Ok(trailer)
}
