//! Blocks, of which snapshots and logs consist: a header of 32 bytes, then a body that may be compressed and then encrypted.
//!
//! ```text
//!   0  magic "CLKB"        8  length of the body as stored    24  CRC-32C of the body as stored
//!   4  kind               12  length of the body raw          28  CRC-32C of bytes 0 to 27
//!   5  flags              16  number of the block in its file
//!   6  unsynced           (all little-endian)
//! ```
//!
//! The checksum finds bytes that have changed by accident; with a key, the tag behind the body also finds those that were changed on purpose. A
//! block is opened in this order: header checksum, limits, body checksum, tag, decompression. Nothing is allocated for a length that the
//! header claims before the file is known to be that long, and a body is not decompressed to more than zstd can have made of it.

use std::io;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::damage::Problem;
use super::disk::DiskFile;
use super::encoding::crc32c;
use super::keys::{FileKey, TAG_LEN};
use super::pages::{PAGE, PageBuffer};

/// Bytes of a block's header.
pub const HEADER_LEN: usize = 32;
/// The first bytes of each block.
pub const MAGIC: [u8; 4] = *b"CLKB";
/// Longer bodies are damage. No key and no value has more than 1 GB, and no request more than 2 GB, so that each entry and each record fits.
pub const BODY_MAX: usize = (2 << 30) + (64 << 20);

const FLAG_COMPRESSED: u8 = 1;
const FLAG_ENCRYPTED: u8 = 2;
/// The part of the header that encryption authenticates; the checksums behind it follow from it and the body.
const AUTHENTICATED: usize = 24;
const CHECKSUMMED: usize = 28;
/// A zstd block of 4 bytes can stand for 128 KB, and nothing can stand for more (RFC 8878, "RLE_Block").
const EXPANSION_MAX: usize = (128 << 10) / 4;
/// A shorter body is not worth a frame.
const COMPRESSED_MIN: usize = 64;
/// Buffers that grew beyond this for one huge entry are given back.
const KEPT_MAX: usize = 4 << 20;

/// What a block is for. The numbers are part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum BlockKind {
    /// What a snapshot is, first in its file; never encrypted.
    SnapshotHeader = 1,
    /// Entries.
    SnapshotEntries = 2,
    /// Where the entries are; last in the file but for the trailer.
    SnapshotIndex = 3,
    /// What a log is, first in its file; never encrypted.
    LogHeader = 4,
    /// Records.
    LogRecords = 5,
    /// A fresh salt for what follows, where a writer takes up an encrypted log again; never encrypted itself.
    LogResume = 6,
}

impl BlockKind {
    fn from_byte(byte: u8) -> Option<BlockKind> {
        use BlockKind::{LogHeader, LogRecords, LogResume, SnapshotEntries, SnapshotHeader, SnapshotIndex};
        [SnapshotHeader, SnapshotEntries, SnapshotIndex, LogHeader, LogRecords, LogResume]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether a block of this kind is encrypted in a file that has a key.
    fn is_secret(self) -> bool {
        matches!(self, BlockKind::SnapshotEntries | BlockKind::SnapshotIndex | BlockKind::LogRecords)
    }
}

/// Whether bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Stored as they are.
    None,
    /// By zstd with this level; below zero is faster. A body that does not shrink is stored as it is.
    Zstd(i32),
}

impl Compression {
    /// What snapshots are compressed with: docs/performance.md has the measurement.
    pub const FAST: Compression = Compression::Zstd(-5);
}

/// The header of a block, checked as far as it can be without the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// What the block is for.
    pub kind: BlockKind,
    /// How many blocks right before this one were not known to be durable when it was written; 65,535 for more. Always 0 in a snapshot.
    pub unsynced: u16,
    /// Bytes behind the header.
    pub stored_len: u32,
    /// Bytes that they stand for.
    pub raw_len: u32,
    /// The number of the block in its file.
    pub sequence: u64,
    flags: u8,
    body_checksum: u32,
}

impl BlockHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Result<BlockHeader, &'static str> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..4] != MAGIC {
            return Err("no block begins here");
        }
        if word(CHECKSUMMED) != crc32c(&bytes[..CHECKSUMMED]) {
            return Err("the checksum of the block's header does not match");
        }
        let header = BlockHeader {
            kind: BlockKind::from_byte(bytes[4]).ok_or("the block is of an unknown kind")?,
            flags: bytes[5],
            unsynced: u16::from_le_bytes([bytes[6], bytes[7]]),
            stored_len: word(8),
            raw_len: word(12),
            sequence: u64::from(word(20)) << 32 | u64::from(word(16)),
            body_checksum: word(24),
        };
        header.check_lengths()?;
        Ok(header)
    }

    fn check_lengths(&self) -> Result<(), &'static str> {
        if self.flags & !(FLAG_COMPRESSED | FLAG_ENCRYPTED) != 0 {
            return Err("the block has unknown flags");
        }
        let (stored, raw) = (self.stored_len as usize, self.raw_len as usize);
        if stored > BODY_MAX || raw > BODY_MAX {
            return Err("the block is longer than any block may be");
        }
        let tag = if self.flags & FLAG_ENCRYPTED != 0 { TAG_LEN } else { 0 };
        let body = stored.checked_sub(tag).ok_or("the block is shorter than its tag")?;
        let fits = if self.flags & FLAG_COMPRESSED != 0 { raw / EXPANSION_MAX <= body } else { raw == body };
        if fits { Ok(()) } else { Err("the lengths of the block contradict each other") }
    }

    fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.unsynced.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_checksum.to_le_bytes());
        let checksum = crc32c(&bytes[..CHECKSUMMED]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Whether the body is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.flags & FLAG_ENCRYPTED != 0
    }

    /// Whether the body is compressed.
    pub fn is_compressed(&self) -> bool {
        self.flags & FLAG_COMPRESSED != 0
    }

    /// Bytes from the header's first to the body's last.
    pub fn len_with_header(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.stored_len)
    }
}

/// Makes blocks; keeps its buffer and zstd's tables, so that a thread that has one allocates nothing for a block.
pub struct Sealer {
    compressor: Option<Compressor<'static>>,
    key: Option<Arc<FileKey>>,
    buffer: PageBuffer,
}

impl Sealer {
    /// A sealer for one file.
    ///
    /// # Errors
    /// If zstd cannot have its memory or does not know the level.
    pub fn new(compression: Compression, key: Option<Arc<FileKey>>) -> io::Result<Sealer> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd(level) => Some(Compressor::new(level)?),
        };
        Ok(Sealer { compressor, key, buffer: PageBuffer::default() })
    }

    /// Seals with another key from now on.
    pub fn set_key(&mut self, key: Option<Arc<FileKey>>) {
        self.key = key;
    }

    /// A whole block, header first. No two blocks of a file and key may have the same number.
    ///
    /// # Errors
    /// If the body is too long, or a library refuses.
    pub fn seal(&mut self, kind: BlockKind, sequence: u64, unsynced: u16, raw: &[u8]) -> io::Result<&[u8]> {
        let len = self.seal_behind(&[], kind, sequence, unsynced, raw)?;
        Ok(self.buffer.first(len))
    }

    /// [`Sealer::seal`], as whole pages: in front of the block is what its first page begins with, behind it are zeros. Gives the length of the
    /// block, too.
    ///
    /// # Errors
    /// As there.
    pub fn seal_pages(
        &mut self,
        before: &[u8],
        kind: BlockKind,
        sequence: u64,
        unsynced: u16,
        raw: &[u8],
    ) -> io::Result<(&[u8], usize)> {
        let len = self.seal_behind(before, kind, sequence, unsynced, raw)?;
        let end = before.len() + len;
        let pages = end.next_multiple_of(PAGE);
        self.buffer.sized(pages)[end..].fill(0);
        Ok((self.buffer.first(pages), len))
    }

    /// Makes a block in the buffer, behind these bytes; gives its length.
    fn seal_behind(
        &mut self,
        before: &[u8],
        kind: BlockKind,
        sequence: u64,
        unsynced: u16,
        raw: &[u8],
    ) -> io::Result<usize> {
        if raw.len() > BODY_MAX - TAG_LEN {
            return Err(io::Error::other("a block would be longer than any block may be"));
        }
        if self.buffer.kept() > KEPT_MAX && raw.len() < KEPT_MAX / 4 {
            self.buffer = PageBuffer::default();
        }
        let compressor = self.compressor.as_mut().filter(|_| kind.is_secret() && raw.len() >= COMPRESSED_MIN);
        let room = if compressor.is_some() { compress_bound(raw.len()) } else { raw.len() };
        // A page more, so that zeros up to its end do not need another buffer.
        let buffer = self.buffer.sized(before.len() + HEADER_LEN + room + TAG_LEN + PAGE);
        buffer[..before.len()].copy_from_slice(before);
        let (header_bytes, body) = buffer[before.len()..].split_at_mut(HEADER_LEN);
        let written = match compressor {
            Some(compressor) => compressor.compress_to_buffer(raw, body)?,
            None => raw.len(),
        };
        // What does not shrink is stored as it is.
        let compressed = written < raw.len();
        let mut len = if compressed { written } else { raw.len() };
        if !compressed {
            body[..len].copy_from_slice(raw);
        }
        let key = self.key.as_deref().filter(|_| kind.is_secret());
        let tag_len = if key.is_some() { TAG_LEN } else { 0 };
        let mut header = BlockHeader {
            kind,
            flags: if compressed { FLAG_COMPRESSED } else { 0 }
                | if key.is_some() { FLAG_ENCRYPTED } else { 0 },
            unsynced,
            stored_len: (len + tag_len) as u32,
            raw_len: raw.len() as u32,
            sequence,
            body_checksum: 0,
        };
        if let Some(key) = key {
            let tag = key.seal(sequence, &header.write()[..AUTHENTICATED], &mut body[..len])?;
            body[len..len + TAG_LEN].copy_from_slice(&tag);
            len += TAG_LEN;
        }
        header.body_checksum = crc32c(&body[..len]);
        header_bytes.copy_from_slice(&header.write());
        Ok(HEADER_LEN + len)
    }
}

/// Opens blocks; keeps its buffers and zstd's tables. One for each thread that reads.
pub struct Opener {
    decompressor: Decompressor<'static>,
    raw: Vec<u8>,
    stored: Vec<u8>,
}

impl Opener {
    /// A fresh one.
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn new() -> io::Result<Opener> {
        Ok(Opener { decompressor: Decompressor::new()?, raw: Vec::new(), stored: Vec::new() })
    }

    /// The raw body of a block; `stored` is the body as stored, which is decrypted in place.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open<'a>(
        &'a mut self,
        header_bytes: &[u8; HEADER_LEN],
        stored: &'a mut [u8],
        key: Option<&FileKey>,
    ) -> Result<&'a [u8], &'static str> {
        open_body(&mut self.decompressor, &mut self.raw, header_bytes, stored, key)
    }

    /// What the last block that was opened decompressed to, if it was compressed.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Reads a block of `len` bytes, header included, and opens it. The caller has checked that the file is that long.
    ///
    /// # Errors
    /// What the disk says, or what is wrong with the block.
    pub fn open_at<'a>(
        &'a mut self,
        file: &dyn DiskFile,
        offset: u64,
        len: usize,
        key: Option<&FileKey>,
    ) -> Result<(BlockHeader, &'a [u8]), Problem> {
        let Opener { decompressor, raw, stored } = self;
        if stored.capacity() > KEPT_MAX && len < KEPT_MAX / 4 {
            *stored = Vec::new();
        }
        if stored.len() < len {
            let more = len - stored.len();
            stored
                .try_reserve_exact(more)
                .map_err(|_| Problem::Unreadable(io::ErrorKind::OutOfMemory.into()))?;
            stored.resize(len, 0);
        }
        let block = &mut stored[..len];
        file.read_exact_at(offset, block).map_err(Problem::Unreadable)?;
        let wrong = |what: &str| Problem::Wrong(what.to_owned());
        let (header_bytes, body) =
            block.split_first_chunk_mut().ok_or_else(|| wrong("a block has no header"))?;
        let header = BlockHeader::read(header_bytes).map_err(wrong)?;
        let body = open_body(decompressor, raw, header_bytes, body, key).map_err(wrong)?;
        Ok((header, body))
    }
}

fn open_body<'a>(
    decompressor: &mut Decompressor<'static>,
    raw: &'a mut Vec<u8>,
    header_bytes: &[u8; HEADER_LEN],
    stored: &'a mut [u8],
    key: Option<&FileKey>,
) -> Result<&'a [u8], &'static str> {
    let header = BlockHeader::read(header_bytes)?;
    if stored.len() != header.stored_len as usize {
        return Err("the block is not as long as its header says");
    }
    if crc32c(stored) != header.body_checksum {
        return Err("the checksum of the block's body does not match");
    }
    let body = match key.filter(|_| header.kind.is_secret()) {
        Some(_) if !header.is_encrypted() => return Err("the block is not encrypted, though its file is"),
        Some(key) => key
            .open(header.sequence, &header_bytes[..AUTHENTICATED], stored)
            .ok_or("the block is not what was encrypted: its tag does not match")?,
        None if header.is_encrypted() => return Err("the block is encrypted, though its file is not"),
        None => stored,
    };
    if header.flags & FLAG_COMPRESSED == 0 {
        return Ok(body);
    }
    decompress(decompressor, raw, body, header.raw_len as usize)
}

fn decompress<'a>(
    decompressor: &mut Decompressor<'static>,
    raw: &'a mut Vec<u8>,
    body: &[u8],
    raw_len: usize,
) -> Result<&'a [u8], &'static str> {
    if raw.capacity() > KEPT_MAX && raw_len < KEPT_MAX / 4 {
        *raw = Vec::new();
    }
    raw.clear();
    raw.try_reserve_exact(raw_len).map_err(|_| "there is not enough memory for the block")?;
    let written =
        decompressor.decompress_to_buffer(body, raw).map_err(|_| "the block cannot be decompressed")?;
    if written == raw_len {
        Ok(raw)
    } else {
        Err("the block decompresses to another length than its header says")
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::EncryptionKey;
    use super::*;
    use crate::base::random::Random;

    fn file_key() -> Option<Arc<FileKey>> {
        Some(Arc::new(EncryptionKey::new([7; 32]).for_file(&[1; 32], b"header").expect("derives")))
    }

    fn open(block: &[u8], key: Option<&FileKey>) -> Result<Vec<u8>, &'static str> {
        let mut block = block.to_vec();
        let (header, body) = block.split_first_chunk_mut().expect("a header");
        Opener::new().expect("memory").open(header, body, key).map(<[u8]>::to_vec)
    }

    /// Text that shrinks, and bytes that do not.
    fn bodies(random: &mut Random) -> Vec<Vec<u8>> {
        let noise = |random: &mut Random, len| (0..len).map(|_| random.next_u64() as u8).collect::<Vec<u8>>();
        let mut bodies = vec![Vec::new(), vec![0; 1], vec![0; 300_000], b"session".repeat(1000)];
        for len in [1, 63, 64, 1000, 70_000] {
            bodies.push(noise(random, len));
        }
        bodies
    }

    #[test]
    fn bodies_come_back_whatever_is_done_to_them() {
        let seed = 0xb10c;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for key in [None, file_key()] {
            for compression in [Compression::None, Compression::Zstd(1), Compression::Zstd(-3)] {
                let mut sealer = Sealer::new(compression, key.clone()).expect("memory");
                for (sequence, raw) in bodies(&mut random).into_iter().enumerate() {
                    let kind = BlockKind::LogRecords;
                    let block = sealer.seal(kind, sequence as u64, 5, &raw).expect("seals").to_vec();
                    let header = BlockHeader::read(block.first_chunk().expect("a header")).expect("sound");
                    assert_eq!((header.kind, header.sequence, header.unsynced), (kind, sequence as u64, 5));
                    assert_eq!(header.len_with_header(), block.len() as u64);
                    assert!(block.len() <= raw.len() + HEADER_LEN + TAG_LEN, "never longer than raw");
                    assert_eq!(open(&block, key.as_deref()).expect("opens"), raw);
                }
            }
        }
    }

    #[test]
    fn one_flipped_bit_is_noticed_wherever_it_is() {
        for key in [None, file_key()] {
            let mut sealer = Sealer::new(Compression::Zstd(1), key.clone()).expect("memory");
            let block =
                sealer.seal(BlockKind::LogRecords, 3, 0, &b"abcdefgh".repeat(40)).expect("seals").to_vec();
            for bit in 0..block.len() * 8 {
                let mut flipped = block.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&flipped, key.as_deref()).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_forged_checksum_does_not_help_without_the_key() {
        let key = file_key();
        let mut sealer = Sealer::new(Compression::None, key.clone()).expect("memory");
        let block = sealer.seal(BlockKind::LogRecords, 3, 0, b"body").expect("seals").to_vec();
        for at in (4..CHECKSUMMED - 4).chain(HEADER_LEN..block.len()) {
            let mut forged = block.clone();
            forged[at] ^= 1;
            let body = crc32c(&forged[HEADER_LEN..]);
            forged[24..28].copy_from_slice(&body.to_le_bytes());
            let header = crc32c(&forged[..CHECKSUMMED]);
            forged[28..32].copy_from_slice(&header.to_le_bytes());
            assert!(open(&forged, key.as_deref()).is_err(), "byte {at}");
        }
        let plain = Sealer::new(Compression::None, None)
            .expect("memory")
            .seal(BlockKind::LogRecords, 3, 0, b"body")
            .expect("seals")
            .to_vec();
        assert_eq!(open(&plain, key.as_deref()), Err("the block is not encrypted, though its file is"));
        assert_eq!(open(&block, None), Err("the block is encrypted, though its file is not"));
    }

    #[test]
    fn lengths_that_cannot_be_true_are_refused_before_anything_is_allocated() {
        let header = |flags, stored_len, raw_len| {
            let header = BlockHeader {
                kind: BlockKind::LogRecords,
                flags,
                unsynced: 0,
                stored_len,
                raw_len,
                sequence: 0,
                body_checksum: 0,
            };
            BlockHeader::read(&header.write())
        };
        assert!(header(0, 5, 5).is_ok());
        assert!(header(0, 5, 6).is_err());
        assert!(header(FLAG_ENCRYPTED, 15, 0).is_err());
        assert!(header(FLAG_COMPRESSED, 100, 1 << 30).is_err());
        assert!(header(FLAG_COMPRESSED, 1 << 30, BODY_MAX as u32 + 1).is_err());
        assert!(header(4, 5, 5).is_err());
        let mut sealer = Sealer::new(Compression::None, None).expect("memory");
        // A frame that says nothing of a size, with a header that claims another.
        let frame = zstd::bulk::compress(&[0; 1000], 1).expect("compresses");
        let block = sealer.seal(BlockKind::LogRecords, 0, 0, &frame).expect("seals").to_vec();
        let mut lying = BlockHeader::read(block.first_chunk().expect("a header")).expect("sound");
        lying.flags = FLAG_COMPRESSED;
        for raw_len in [0, 999, 1001] {
            lying.raw_len = raw_len;
            let mut block = block.clone();
            block[..HEADER_LEN].copy_from_slice(&lying.write());
            assert!(open(&block, None).is_err(), "{raw_len}");
        }
    }
}
