//! Blocks, of which snapshots and logs consist: a header of 32 bytes, then a body that may be compressed, then encrypted, then masked.
//!
//! ```text
//!   0  magic "CLKB"        8  length of the body as stored    24  CRC-32C of the body as stored
//!   4  kind               12  length of the body raw          28  CRC-32C of the file's id and bytes 0 to 27
//!   5  flags and mask     16  number of the block in its file
//!   6  unsynced           (all little-endian)
//! ```
//!
//! The checksum finds bytes that have changed by accident; with a key, the tag behind the body also finds those that were changed on purpose. A
//! block is opened in this order: header checksum, limits, body checksum, mask, tag, decompression. Nothing is allocated for a length that the
//! header claims before the file is known to be that long, and a body is not decompressed to more than zstd can have made of it.

use std::io;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::damage::Problem;
use super::disk::DiskFile;
use super::encoding::crc32c;
use super::format::{CHECKSUMMED, Format};
use super::keys::FileKey;
use super::pages::{PAGE, PageBuffer};
use super::sectors::{MASKS, mix, show_block};

/// Bytes of a block's header.
pub const HEADER_LEN: usize = 32;
/// The first bytes of each block.
pub const MAGIC: [u8; 4] = *b"CLKB";
/// Longer bodies are damage. No key and no value has more than 1 GB, and no request more than 2 GB, so that each entry and each record fits.
pub const BODY_MAX: usize = (2 << 30) + (64 << 20);

const FLAG_COMPRESSED: u8 = 1;
const FLAG_ENCRYPTED: u8 = 2;
const FLAGS: u8 = FLAG_COMPRESSED | FLAG_ENCRYPTED;
/// Behind the flags, in the same byte, is the number of the mask.
const MASK_SHIFT: u32 = FLAGS.count_ones();
/// The part of the header that encryption authenticates, without the mask, which is chosen later; the checksums behind it follow from it and the body.
const AUTHENTICATED: usize = 24;
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
    format: Format,
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
    mask: u8,
    body_checksum: u32,
}

impl BlockHeader {
    /// Reads a header of a file of this format.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(bytes: &[u8; HEADER_LEN], format: Format) -> Result<BlockHeader, &'static str> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..4] != MAGIC {
            return Err("no block begins here");
        }
        if bytes.first_chunk().map(|bytes| format.header_checksum(bytes)) != Some(word(CHECKSUMMED)) {
            return Err("the checksum of the block's header does not match");
        }
        let header = BlockHeader {
            format,
            kind: BlockKind::from_byte(bytes[4]).ok_or("the block is of an unknown kind")?,
            flags: bytes[5] & FLAGS,
            mask: bytes[5] >> MASK_SHIFT,
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
        if self.mask != 0 && self.format.mask_id().is_none() {
            return Err("the block has unknown flags");
        }
        let (stored, raw) = (self.stored_len as usize, self.raw_len as usize);
        if stored > BODY_MAX || raw > BODY_MAX {
            return Err("the block is longer than any block may be");
        }
        let seal = if self.flags & FLAG_ENCRYPTED != 0 { self.format.seal_len() } else { 0 };
        let body = stored.checked_sub(seal).ok_or("the block is shorter than its tag")?;
        let fits = if self.flags & FLAG_COMPRESSED != 0 { raw / EXPANSION_MAX <= body } else { raw == body };
        if fits { Ok(()) } else { Err("the lengths of the block contradict each other") }
    }

    fn write(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags | self.mask << MASK_SHIFT;
        bytes[6..8].copy_from_slice(&self.unsynced.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.raw_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_checksum.to_le_bytes());
        if let Some(checksum) = bytes.first_chunk().map(|bytes| self.format.header_checksum(bytes)) {
            bytes[CHECKSUMMED..].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    }

    /// What of the header is authenticated.
    fn authenticated(&self) -> [u8; AUTHENTICATED] {
        let mut bytes = [0; AUTHENTICATED];
        bytes.copy_from_slice(&BlockHeader { mask: 0, ..*self }.write()[..AUTHENTICATED]);
        bytes
    }

    /// Mixes the body with its mask, or what is mixed with its body.
    fn mix(&self, body: &mut [u8]) {
        if let Some(id) = self.format.mask_id() {
            mix(body, id, self.sequence, self.mask);
        }
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
    format: Format,
    compressor: Option<Compressor<'static>>,
    key: Option<Arc<FileKey>>,
    buffer: PageBuffer,
}

impl Sealer {
    /// A sealer for one file.
    ///
    /// # Errors
    /// If zstd cannot have its memory or does not know the level.
    pub fn new(format: Format, compression: Compression, key: Option<Arc<FileKey>>) -> io::Result<Sealer> {
        let compressor = match compression {
            Compression::None => None,
            Compression::Zstd(level) => Some(Compressor::new(level)?),
        };
        Ok(Sealer { format, compressor, key, buffer: PageBuffer::default() })
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
        let (mut header, len) = self.put_body(0, kind, sequence, unsynced, raw)?;
        self.put_header(0, &mut header, len);
        Ok(self.buffer.first(HEADER_LEN + len))
    }

    /// [`Sealer::seal`], as whole pages: in front of the block is what its first page begins with, behind it are zeros. The block is masked, if need be, so that it shows
    /// in each sector of these pages that it lies in. Gives its length, too.
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
        let start = before.len();
        let (mut header, len) = self.put_body(start, kind, sequence, unsynced, raw)?;
        let end = start + HEADER_LEN + len;
        let masks = if self.format.mask_id().is_some() { MASKS } else { 1 };
        for mask in 0..masks {
            header.mask = mask;
            header.mix(&mut self.buffer.sized(end)[start + HEADER_LEN..]);
            self.put_header(start, &mut header, len);
            if show_block(start, &self.buffer.first(end)[start..]) || mask + 1 == masks {
                break;
            }
            header.mix(&mut self.buffer.sized(end)[start + HEADER_LEN..]);
        }
        let pages = end.next_multiple_of(PAGE);
        let buffer = self.buffer.sized(pages);
        buffer[..start].copy_from_slice(before);
        buffer[end..].fill(0);
        Ok((self.buffer.first(pages), HEADER_LEN + len))
    }

    /// Makes a body in the buffer, compressed and encrypted, for a block that begins at `start`. Gives the header without its checksums, and the body's length.
    fn put_body(
        &mut self,
        start: usize,
        kind: BlockKind,
        sequence: u64,
        unsynced: u16,
        raw: &[u8],
    ) -> io::Result<(BlockHeader, usize)> {
        let seal_len = self.format.seal_len();
        if raw.len() > BODY_MAX - seal_len {
            return Err(io::Error::other("a block would be longer than any block may be"));
        }
        if self.buffer.kept() > KEPT_MAX && raw.len() < KEPT_MAX / 4 {
            self.buffer = PageBuffer::default();
        }
        let compressor = self.compressor.as_mut().filter(|_| kind.is_secret() && raw.len() >= COMPRESSED_MIN);
        let room = if compressor.is_some() { compress_bound(raw.len()) } else { raw.len() };
        // A page more, so that zeros up to its end do not need another buffer.
        let body = &mut self.buffer.sized(start + HEADER_LEN + room + seal_len + PAGE)[start + HEADER_LEN..];
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
        let flags =
            if compressed { FLAG_COMPRESSED } else { 0 } | if key.is_some() { FLAG_ENCRYPTED } else { 0 };
        let stored_len = (len + if key.is_some() { seal_len } else { 0 }) as u32;
        let raw_len = raw.len() as u32;
        let format = self.format;
        let header = BlockHeader {
            format,
            kind,
            flags,
            mask: 0,
            unsynced,
            stored_len,
            raw_len,
            sequence,
            body_checksum: 0,
        };
        if let Some(key) = key {
            let (nonce, random) = format.new_nonce(sequence)?;
            let tag = key.seal(nonce, &header.authenticated(), &mut body[..len])?;
            for part in [&tag[..], random.as_ref().map_or(&[], |random| random)] {
                body[len..len + part.len()].copy_from_slice(part);
                len += part.len();
            }
        }
        Ok((header, len))
    }

    /// Writes the header of the block at `start`, behind which its body lies, in front of it.
    fn put_header(&mut self, start: usize, header: &mut BlockHeader, len: usize) {
        let (bytes, body) = self.buffer.sized(start + HEADER_LEN + len)[start..].split_at_mut(HEADER_LEN);
        header.body_checksum = crc32c(body);
        bytes.copy_from_slice(&header.write());
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
        header: &BlockHeader,
        stored: &'a mut [u8],
        key: Option<&FileKey>,
    ) -> Result<&'a [u8], &'static str> {
        open_body(&mut self.decompressor, &mut self.raw, header, stored, key)
    }

    /// Gives back what it keeps of a huge block.
    pub fn forget_large(&mut self) {
        for buffer in [&mut self.raw, &mut self.stored] {
            if buffer.capacity() > KEPT_MAX {
                *buffer = Vec::new();
            }
        }
    }

    /// What the last block that was opened decompressed to, if it was compressed.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Reads a block of `len` bytes, header included, and opens it if it is the one that `check` wants. The caller has checked that the file is that
    /// long.
    ///
    /// # Errors
    /// What the disk says, or what is wrong with the block.
    pub fn open_at<'a>(
        &'a mut self,
        file: &dyn DiskFile,
        (offset, len): (u64, usize),
        (format, key): (Format, Option<&FileKey>),
        check: impl FnOnce(&BlockHeader) -> Result<(), &'static str>,
    ) -> Result<&'a [u8], Problem> {
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
        let header = BlockHeader::read(header_bytes, format).map_err(wrong)?;
        check(&header).map_err(wrong)?;
        open_body(decompressor, raw, &header, body, key).map_err(wrong)
    }
}

fn open_body<'a>(
    decompressor: &mut Decompressor<'static>,
    raw: &'a mut Vec<u8>,
    header: &BlockHeader,
    stored: &'a mut [u8],
    key: Option<&FileKey>,
) -> Result<&'a [u8], &'static str> {
    if stored.len() != header.stored_len as usize {
        return Err("the block is not as long as its header says");
    }
    if crc32c(stored) != header.body_checksum {
        return Err("the checksum of the block's body does not match");
    }
    header.mix(stored);
    let body = match key.filter(|_| header.kind.is_secret()) {
        Some(_) if !header.is_encrypted() => return Err("the block is not encrypted, though its file is"),
        Some(key) => header
            .format
            .split_nonce(header.sequence, stored)
            .and_then(|(nonce, sealed)| key.open(nonce, &header.authenticated(), sealed))
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

    const FORMATS: [Format; 2] = [Format::One, Format::Two(0x1234_5678_9abc_def0)];

    fn file_key() -> Option<Arc<FileKey>> {
        Some(Arc::new(EncryptionKey::new([7; 32]).for_file(&[1; 32], b"header").expect("derives")))
    }

    fn read(block: &[u8], format: Format) -> BlockHeader {
        BlockHeader::read(block.first_chunk().expect("a header"), format).expect("sound")
    }

    fn open(block: &[u8], format: Format, key: Option<&FileKey>) -> Result<Vec<u8>, &'static str> {
        let mut block = block.to_vec();
        let (header, body) = block.split_first_chunk_mut().expect("a header");
        let header = BlockHeader::read(header, format)?;
        Opener::new().expect("memory").open(&header, body, key).map(<[u8]>::to_vec)
    }

    /// A sealer for each format, without a key and with one.
    fn sealers(compression: Compression) -> impl Iterator<Item = (Format, Option<Arc<FileKey>>, Sealer)> {
        let manners = FORMATS.into_iter().flat_map(|format| [(format, None), (format, file_key())]);
        manners.map(move |(format, key)| {
            let sealer = Sealer::new(format, compression, key.clone()).expect("memory");
            (format, key, sealer)
        })
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
        for compression in [Compression::None, Compression::Zstd(1), Compression::Zstd(-3)] {
            for (format, key, mut sealer) in sealers(compression) {
                for (sequence, raw) in bodies(&mut random).into_iter().enumerate() {
                    let kind = BlockKind::LogRecords;
                    let block = sealer.seal(kind, sequence as u64, 5, &raw).expect("seals").to_vec();
                    let header = read(&block, format);
                    assert_eq!((header.kind, header.sequence, header.unsynced), (kind, sequence as u64, 5));
                    assert_eq!(header.len_with_header(), block.len() as u64);
                    assert!(
                        block.len() <= raw.len() + HEADER_LEN + format.seal_len(),
                        "never longer than raw"
                    );
                    assert_eq!(open(&block, format, key.as_deref()).expect("opens"), raw);
                }
            }
        }
    }

    #[test]
    fn one_flipped_bit_is_noticed_wherever_it_is() {
        for (format, key, mut sealer) in sealers(Compression::Zstd(1)) {
            let raw = b"abcdefgh".repeat(40);
            let block = sealer.seal(BlockKind::LogRecords, 3, 0, &raw).expect("seals").to_vec();
            for bit in 0..block.len() * 8 {
                let mut flipped = block.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&flipped, format, key.as_deref()).is_err(), "bit {bit}");
            }
        }
    }

    #[test]
    fn what_was_made_for_one_file_is_no_block_of_another() {
        for format in FORMATS {
            let mut sealer = Sealer::new(format, Compression::None, None).expect("memory");
            let block = sealer.seal(BlockKind::LogRecords, 3, 0, b"body").expect("seals").to_vec();
            for other in FORMATS.into_iter().chain([Format::Two(1)]) {
                let opened = open(&block, other, None);
                assert_eq!(opened.is_ok(), format == other, "{format:?} {other:?}: {opened:?}");
            }
        }
    }

    #[test]
    fn a_block_shows_in_every_sector_wherever_it_begins_and_is_read_back() {
        let zeros = vec![0; 3000];
        let mut masked = 0;
        for (format, key, mut sealer) in sealers(Compression::None) {
            // Where it begins, and how many bytes of it are in its last sector.
            for (start, len) in
                (0..PAGE).step_by(61).flat_map(|start| [(start, 1), (start, 40), (start, 2600)])
            {
                let (kind, before) = (BlockKind::LogRecords, vec![7; start]);
                let (pages, block_len) =
                    sealer.seal_pages(&before, kind, len as u64, 0, &zeros[..len]).expect("seals");
                let (page, block) = (pages[..start].to_vec(), pages[start..start + block_len].to_vec());
                assert!(page == before && pages[start + block_len..].iter().all(|byte| *byte == 0));
                assert_eq!(open(&block, format, key.as_deref()).expect("opens"), zeros[..len]);
                assert!(format == Format::One || show_block(start, &block), "{start} {len}");
                masked += u32::from(read(&block, format).mask > 0);
            }
        }
        assert!(masked > 40, "{masked}");
    }

    #[test]
    fn one_number_never_has_one_nonce_twice() {
        let key = file_key();
        let mut sealer = Sealer::new(FORMATS[1], Compression::None, key.clone()).expect("memory");
        let mut seal = || sealer.seal(BlockKind::LogRecords, 3, 0, b"body").expect("seals").to_vec();
        let (one, other) = (seal(), seal());
        assert_ne!(one[HEADER_LEN..][..4], other[HEADER_LEN..][..4], "the same key stream");
        for block in [one, other] {
            assert_eq!(open(&block, FORMATS[1], key.as_deref()).expect("opens"), b"body");
        }
    }

    #[test]
    fn a_forged_checksum_does_not_help_without_the_key() {
        for format in FORMATS {
            let key = file_key();
            let mut sealer = Sealer::new(format, Compression::None, key.clone()).expect("memory");
            let block = sealer.seal(BlockKind::LogRecords, 3, 0, b"body").expect("seals").to_vec();
            for at in (4..CHECKSUMMED - 4).chain(HEADER_LEN..block.len()) {
                let mut forged = block.clone();
                forged[at] ^= 1;
                let body = crc32c(&forged[HEADER_LEN..]);
                forged[24..28].copy_from_slice(&body.to_le_bytes());
                let header = format.header_checksum(forged.first_chunk().expect("a header"));
                forged[28..32].copy_from_slice(&header.to_le_bytes());
                assert!(open(&forged, format, key.as_deref()).is_err(), "byte {at}");
            }
            let mut sealer = Sealer::new(format, Compression::None, None).expect("memory");
            let plain = sealer.seal(BlockKind::LogRecords, 3, 0, b"body").expect("seals").to_vec();
            let refused = Err("the block is not encrypted, though its file is");
            assert_eq!(open(&plain, format, key.as_deref()), refused);
            let refused = Err("the block is encrypted, though its file is not");
            assert_eq!(open(&block, format, None), refused);
        }
    }

    #[test]
    fn lengths_that_cannot_be_true_are_refused_before_anything_is_allocated() {
        let header = |format, flags, mask, stored_len, raw_len| {
            let (kind, unsynced, sequence, body_checksum) = (BlockKind::LogRecords, 0, 0, 0);
            let header = BlockHeader {
                format,
                kind,
                flags,
                mask,
                unsynced,
                stored_len,
                raw_len,
                sequence,
                body_checksum,
            };
            BlockHeader::read(&header.write(), format)
        };
        for format in FORMATS {
            assert!(header(format, 0, 0, 5, 5).is_ok());
            assert!(header(format, 0, 0, 5, 6).is_err());
            assert!(header(format, FLAG_ENCRYPTED, 0, format.seal_len() as u32 - 1, 0).is_err());
            assert!(header(format, FLAG_COMPRESSED, 0, 100, 1 << 30).is_err());
            assert!(header(format, FLAG_COMPRESSED, 0, 1 << 30, BODY_MAX as u32 + 1).is_err());
            assert_eq!(header(format, 0, 1, 5, 5).is_err(), format == Format::One);
        }
        let format = Format::One;
        let mut sealer = Sealer::new(format, Compression::None, None).expect("memory");
        // A frame that says nothing of a size, with a header that claims another.
        let frame = zstd::bulk::compress(&[0; 1000], 1).expect("compresses");
        let block = sealer.seal(BlockKind::LogRecords, 0, 0, &frame).expect("seals").to_vec();
        let mut lying = read(&block, format);
        lying.flags = FLAG_COMPRESSED;
        for raw_len in [0, 999, 1001] {
            lying.raw_len = raw_len;
            let mut block = block.clone();
            block[..HEADER_LEN].copy_from_slice(&lying.write());
            assert!(open(&block, format, None).is_err(), "{raw_len}");
        }
    }
}
