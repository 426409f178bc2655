//! Writing a snapshot: several threads fill blocks of their own; the file gets its name when everything is durable.
//!
//! A [`BlockWriter`] collects entries in memory and writes a block when it has about 256 KB. Collecting ([`BlockWriter::push`]) does no I/O, so
//! that it may happen under a shard's lock; writing ([`BlockWriter::write_if_full`], [`BlockWriter::flush`]) is for after the unlock. The place of
//! a block in the file, and with it its number, is taken under a small lock; the bytes are written without one.
//!
//! The file is written under a temporary name. Only [`SnapshotWriter::finish`] gives it its own, after a sync; whatever goes wrong before leaves
//! nothing behind, and no older snapshot is touched.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::blocks::{BlockKind, Compression, Sealer};
use super::disk::{Disk, DiskFile, temporary_name};
use super::file_header::{Encryption, header_body, write_header};
use super::format::Format;
use super::keys::{EncryptionKey, FileKey};
use super::manifest::SnapshotFacts;
use super::snapshot_entry::{EntryRecord, Form, encode_entry};
use super::snapshot_file::{IndexedBlock, LEAVES, ShardCount, SnapshotHeader, Trailer};
use super::snapshot_index::IndexPart;

/// A block is written when it has this many raw bytes: large enough that headers and system calls do not count, small enough for the second
/// cache of a core.
pub const BLOCK_LEN: usize = 256 << 10;
/// How many bytes may wait for the disk when incremental syncs are asked for; as Redis's `rdb-save-incremental-fsync` (4 MB) in purpose.
const SYNC_EVERY: u64 = 32 << 20;
/// Room that a file takes before anything is known of what it will hold.
const FIRST_PAGE: usize = 4096;

/// What a new snapshot says of itself.
#[derive(Clone, Debug)]
pub struct SnapshotStart {
    /// Its number; the name follows from it.
    pub number: u64,
    /// When the cut was, in milliseconds since 1970.
    pub created_ms: u64,
    /// How many databases the server has.
    pub databases: u32,
    /// Whether access histories are LFU's.
    pub lfu: bool,
    /// The offset of the log at the cut.
    pub log_offset: u64,
}

/// How a snapshot is written.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotOptions<'a> {
    /// Whether blocks are compressed.
    pub compression: Compression,
    /// The configured key.
    pub key: Option<&'a EncryptionKey>,
    /// Sync every 32 MB, so that the last sync has little left to do and others' syncs do not wait behind it.
    pub incremental_sync: bool,
}

/// A snapshot that is being written.
pub struct SnapshotWriter {
    shared: Arc<Shared>,
}

/// A snapshot's file under its temporary name. Dropping it removes the file, if it was not finished.
pub struct SnapshotFile {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    number: u64,
    finished: bool,
}

impl SnapshotFile {
    /// Creates the file, with room for its first page.
    ///
    /// # Errors
    /// What the disk says; there is no such file then.
    pub fn create(disk: Arc<dyn Disk>, number: u64) -> io::Result<SnapshotFile> {
        let file = disk.create(&temporary_name(&SnapshotFacts::name_of(number)))?;
        let file = SnapshotFile { disk, file, number, finished: false };
        file.file.write_all_at(0, &[0; FIRST_PAGE])?;
        Ok(file)
    }

    /// The snapshot's number.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        if !self.finished {
            // A file that stays is removed at the next start.
            let _ = self.disk.remove(&temporary_name(&SnapshotFacts::name_of(self.number)));
        }
    }
}

/// What the threads share.
struct Shared {
    file: SnapshotFile,
    start: SnapshotStart,
    format: Format,
    compression: Compression,
    key: Option<Arc<FileKey>>,
    incremental_sync: bool,
    layout: Mutex<Layout>,
    /// Bytes written since the last incremental sync.
    unsynced: AtomicU64,
    /// Some write failed, or entries were dropped: the file will never be complete.
    failed: AtomicBool,
}

/// What the file will consist of.
#[derive(Default)]
struct Layout {
    /// Where the next block begins.
    end: u64,
    blocks: Vec<IndexedBlock>,
    counts: BTreeMap<(u32, u16), u64>,
}

impl SnapshotWriter {
    /// [`SnapshotFile::create`] and [`SnapshotWriter::begin`] in one.
    ///
    /// # Errors
    /// What the disk says.
    pub fn create(
        disk: Arc<dyn Disk>,
        start: SnapshotStart,
        options: &SnapshotOptions<'_>,
    ) -> io::Result<SnapshotWriter> {
        SnapshotWriter::begin(SnapshotFile::create(disk, start.number)?, start, options)
    }

    /// Begins to write a file that has `start`'s number.
    ///
    /// # Errors
    /// What the disk says.
    pub fn begin(
        file: SnapshotFile,
        start: SnapshotStart,
        options: &SnapshotOptions<'_>,
    ) -> io::Result<SnapshotWriter> {
        debug_assert_eq!(file.number, start.number, "the file has the name of this snapshot");
        let encryption = Encryption::new(options.key)?;
        let header = SnapshotHeader {
            number: start.number,
            created_ms: start.created_ms,
            cloakroom_version: env!("CARGO_PKG_VERSION").to_owned(),
            databases: start.databases,
            lfu: start.lfu,
            log_offset: start.log_offset,
            encryption,
        };
        let format = Format::of_new_file()?;
        let body = header_body(format, &header)?;
        let key = match (options.key, &header.encryption) {
            (Some(key), Some(encryption)) => Some(Arc::new(key.for_file(&encryption.salt, &body)?)),
            _ => None,
        };
        let shared = Shared {
            file,
            start,
            format,
            compression: options.compression,
            key,
            incremental_sync: options.incremental_sync,
            layout: Mutex::default(),
            unsynced: AtomicU64::new(0),
            failed: AtomicBool::new(false),
        };
        shared.layout.lock().end = write_header(&*shared.file.file, BlockKind::SnapshotHeader, &body)?;
        Ok(SnapshotWriter { shared: Arc::new(shared) })
    }

    /// A writer for one thread.
    ///
    /// # Errors
    /// If zstd cannot have its memory.
    pub fn block_writer(&self) -> io::Result<BlockWriter> {
        Ok(BlockWriter {
            sealer: Sealer::new(self.shared.format, self.shared.compression, self.shared.key.clone())?,
            shared: Arc::clone(&self.shared),
            raw: Vec::new(),
            entries: 0,
            counts: BTreeMap::new(),
            current: ((0, 0), 0),
        })
    }

    /// Adds to the counts of the index, for entries that came by [`BlockWriter::push_raw`].
    pub fn count(&self, counts: &[ShardCount]) {
        let mut layout = self.shared.layout.lock();
        for count in counts {
            *layout.counts.entry((count.database, count.shard)).or_default() += count.entries;
        }
    }

    /// Bytes that the file has so far.
    pub fn bytes_written(&self) -> u64 {
        self.shared.layout.lock().end
    }

    /// Writes index and trailer, makes all durable, and gives the file its name. All writers have been flushed and dropped.
    ///
    /// # Errors
    /// If any write failed, a writer still exists or had entries when it was dropped, or what the disk says. The snapshot does not exist then.
    pub fn finish(self) -> io::Result<SnapshotFacts> {
        let mut shared = Arc::into_inner(self.shared)
            .ok_or_else(|| io::Error::other("a part of the snapshot is still being written"))?;
        shared.fail_if_failed()?;
        let facts = shared.write_index()?;
        let name = SnapshotFacts::name_of(shared.start.number);
        let file = &mut shared.file;
        file.disk.rename(&temporary_name(&name), &name)?;
        file.finished = true;
        if let Err(error) = file.disk.sync_directory() {
            // Not known to be durable, so it must not be taken for a snapshot; nothing refers to it yet.
            let _ = file.disk.remove(&name);
            return Err(error);
        }
        Ok(facts)
    }
}

impl Shared {
    fn fail_if_failed(&self) -> io::Result<()> {
        if self.failed.load(Ordering::Acquire) {
            return Err(io::Error::other("a part of the snapshot could not be written"));
        }
        Ok(())
    }

    /// Remembers that the file cannot become complete.
    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Index, trailer, and a sync.
    fn write_index(&mut self) -> io::Result<SnapshotFacts> {
        let Layout { end: index_offset, blocks, counts } = std::mem::take(self.layout.get_mut());
        let entries: u64 = blocks.iter().map(|block| u64::from(block.entries)).sum();
        let of_leaves =
            |((_, shard), entries): (&(u32, u16), &u64)| if *shard == LEAVES { *entries } else { 0 };
        let keys = entries - counts.iter().map(of_leaves).sum::<u64>();
        let mut sealer = Sealer::new(self.format, Compression::None, self.key.clone())?;
        let (mut end, mut number) = (index_offset, blocks.len() as u64 + 1);
        let mut write = |part: IndexPart| {
            let block = sealer.seal(BlockKind::SnapshotIndex, number, 0, &part.encode()?)?;
            self.file.file.write_all_at(end, block)?;
            (end, number) = (end + block.len() as u64, number + 1);
            io::Result::Ok(())
        };
        for blocks in blocks.chunks(IndexPart::LEN_MAX) {
            write(IndexPart { blocks: blocks.to_vec(), counts: Vec::new() })?;
        }
        let mut counts = counts.into_iter().peekable();
        while counts.peek().is_some() {
            let part = counts.by_ref().take(IndexPart::LEN_MAX);
            let part = part.map(|((database, shard), entries)| ShardCount { database, shard, entries });
            write(IndexPart { blocks: Vec::new(), counts: part.collect() })?;
        }
        if entries == 0 {
            write(IndexPart::default())?;
        }
        let trailer = Trailer { index_offset, index_len: end - index_offset };
        self.file.file.write_all_at(end, &trailer.write())?;
        let bytes = end + trailer.write().len() as u64;
        if bytes < FIRST_PAGE as u64 {
            self.file.file.set_size(bytes)?;
        }
        self.file.file.sync_data()?;
        let SnapshotStart { number, created_ms, log_offset, .. } = self.start;
        Ok(SnapshotFacts { number, created_ms, log_offset, entries: keys, bytes })
    }

    /// Syncs, if this write made up the next 32 MB.
    fn sync_incrementally(&self, written: u64) -> io::Result<()> {
        if !self.incremental_sync {
            return Ok(());
        }
        let before = self.unsynced.fetch_add(written, Ordering::Relaxed);
        if before < SYNC_EVERY && before + written >= SYNC_EVERY {
            self.unsynced.store(0, Ordering::Relaxed);
            // What is taken here is written already, or by another thread just now; the sync does not mind, and the advice is only that.
            let end = self.layout.lock().end;
            self.file.file.sync_data()?;
            self.file.file.forget_before(end);
        }
        Ok(())
    }
}

/// One thread's part of a snapshot.
pub struct BlockWriter {
    shared: Arc<Shared>,
    sealer: Sealer,
    raw: Vec<u8>,
    entries: u32,
    counts: BTreeMap<(u32, u16), u64>,
    /// The database and shard that entries come from just now, and how many have come.
    current: ((u32, u16), u64),
}

impl BlockWriter {
    /// Adds an entry. No I/O.
    #[inline]
    pub fn push(&mut self, shard: u16, entry: &EntryRecord<'_>) {
        encode_entry(&mut self.raw, entry);
        // A leaf is a part of a key, and none of its own.
        let shard = if entry.form == Form::Leaf { LEAVES } else { shard };
        self.count(entry.database, shard, 1);
    }

    /// Adds entries of one database and shard that [`encode_entry`] has written. No I/O.
    pub fn push_encoded(&mut self, database: u32, shard: u16, encoded: &[u8], entries: u32) {
        self.raw.extend_from_slice(encoded);
        self.count(database, shard, entries);
    }

    /// Adds entries of another snapshot's block as they are; [`SnapshotWriter::count`] has to say where they belong. No I/O.
    pub fn push_raw(&mut self, raw: &[u8], entries: u32) {
        self.raw.extend_from_slice(raw);
        self.entries += entries;
    }

    #[inline]
    fn count(&mut self, database: u32, shard: u16, entries: u32) {
        self.entries += entries;
        if self.current.0 != (database, shard) {
            self.count_current();
            self.current.0 = (database, shard);
        }
        self.current.1 += u64::from(entries);
    }

    fn count_current(&mut self) {
        let (place, entries) = self.current;
        if entries > 0 {
            *self.counts.entry(place).or_default() += entries;
            self.current.1 = 0;
        }
    }

    /// Raw bytes that are waiting to be written.
    pub fn pending(&self) -> usize {
        self.raw.len()
    }

    /// Writes a block if there is enough for one.
    ///
    /// # Errors
    /// As [`BlockWriter::flush`].
    #[inline]
    pub fn write_if_full(&mut self) -> io::Result<()> {
        if self.raw.len() >= BLOCK_LEN { self.flush() } else { Ok(()) }
    }

    /// Writes what there is.
    ///
    /// # Errors
    /// What the disk says, or that another thread's write failed. The snapshot cannot be finished then.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.entries == 0 {
            return Ok(());
        }
        self.shared.fail_if_failed()?;
        self.count_current();
        let result = self.write_block();
        self.raw.clear();
        // One huge entry must not cost its memory until the end.
        self.raw.shrink_to(2 * BLOCK_LEN);
        self.entries = 0;
        self.shared.note(result)
    }

    fn write_block(&mut self) -> io::Result<()> {
        // Compression and encryption happen outside of the lock, but encryption needs the number, which needs the place, which needs the
        // length: so numbers are taken first, and a block whose turn has not come is not waited for.
        let shared = &*self.shared;
        let number = {
            let mut layout = shared.layout.lock();
            for (place, entries) in std::mem::take(&mut self.counts) {
                *layout.counts.entry(place).or_default() += entries;
            }
            let none_yet = IndexedBlock {
                offset: 0,
                stored_len: 0,
                raw_len: self.raw.len() as u32,
                entries: self.entries,
            };
            layout.blocks.push(none_yet);
            layout.blocks.len()
        };
        let block = self.sealer.seal(BlockKind::SnapshotEntries, number as u64, 0, &self.raw)?;
        let len = block.len() as u64;
        let offset = {
            let mut layout = shared.layout.lock();
            let offset = layout.end;
            layout.end += len;
            let placed = &mut layout.blocks[number - 1];
            (placed.offset, placed.stored_len) = (offset, len as u32);
            offset
        };
        shared.file.file.write_all_at(offset, block)?;
        shared.sync_incrementally(len)
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        if self.entries > 0 {
            self.shared.failed.store(true, Ordering::Release);
        }
    }
}
