//! Writing all data of a directory anew, with another key, or with one for the first time, or with none.
//!
//! ```text
//!   copy of the snapshot ─┐
//!   copy of each log ─────┴─> manifest names the copies ─> the old files go
//! ```
//!
//! The copies have numbers of their own and are durable before the manifest names them. So until the manifest is replaced the data are those of
//! the old key, from then on those of the new one, and what a crash leaves of the others is removed at the next start. No byte of an old file
//! is overwritten in place: what a file system or a disk keeps of removed files is readable with the old key, as ever.

use std::fmt;
use std::io;
use std::sync::Arc;

use super::blocks::{Compression, Opener};
use super::damage::Damage;
use super::disk::Disk;
use super::keys::EncryptionKey;
use super::log_file::{LogOptions, LogStart, LogWriter};
use super::log_reader::LogReader;
use super::manifest::{LogFacts, Manifest, SnapshotFacts};
use super::snapshot_file::SnapshotReader;
use super::snapshot_writer::{SnapshotOptions, SnapshotStart, SnapshotWriter};

/// Why the data were not rewritten as they should be.
#[derive(Debug)]
pub enum RekeyError {
    /// Something cannot be read, perhaps because the old key is another one. The data are as before.
    Damage(Damage),
    /// The copies cannot be written. The data are as before.
    System(io::Error),
    /// The manifest could not be replaced, or not durably: which data are in force is not known.
    Manifest(io::Error),
    /// The new data are in force, but an old file could not be removed.
    Remains(String, io::Error),
}

impl fmt::Display for RekeyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RekeyError::Damage(damage) => write!(formatter, "{damage}; the data are as they were"),
            RekeyError::System(error) => {
                write!(formatter, "the new files cannot be written: {error}; the data are as they were")
            }
            RekeyError::Manifest(error) => write!(
                formatter,
                "the manifest cannot be replaced: {error}; 'cloakroom check' with the old and with the new key tells which data are in force"
            ),
            RekeyError::Remains(name, error) => write!(
                formatter,
                "the data are rewritten, but {name}, which has the old ones, cannot be removed: {error}"
            ),
        }
    }
}

impl std::error::Error for RekeyError {}

impl From<Damage> for RekeyError {
    fn from(damage: Damage) -> RekeyError {
        RekeyError::Damage(damage)
    }
}

impl From<io::Error> for RekeyError {
    fn from(error: io::Error) -> RekeyError {
        RekeyError::System(error)
    }
}

/// Rewrites everything that the manifest names, and gives the new manifest; `None` if the directory has no data.
///
/// # Errors
/// See [`RekeyError`].
pub fn rekey(
    disk: &Arc<dyn Disk>,
    old: Option<&EncryptionKey>,
    new: Option<&EncryptionKey>,
    now_ms: u64,
) -> Result<Option<Manifest>, RekeyError> {
    let Some(before) = Manifest::read(&**disk, old)? else { return Ok(None) };
    let mut after = Manifest { written_ms: now_ms, snapshot: None, logs: Vec::new(), ..before };
    let copied = copy_all(disk, old, new, &before, &mut after);
    if let Err(error) = copied {
        // Nothing names these files; what cannot be removed now is removed at the next start.
        for number in before.last_number + 1..=after.last_number {
            let _ = disk.remove(&SnapshotFacts::name_of(number));
            let _ = disk.remove(&LogFacts::name_of(number));
        }
        return Err(error);
    }
    after.write(&**disk, new).map_err(RekeyError::Manifest)?;
    for name in before.file_names() {
        disk.remove(&name).map_err(|error| RekeyError::Remains(disk.describe(&name), error))?;
    }
    disk.sync_directory().map_err(RekeyError::Manifest)?;
    Ok(Some(after))
}

fn copy_all(
    disk: &Arc<dyn Disk>,
    old: Option<&EncryptionKey>,
    new: Option<&EncryptionKey>,
    before: &Manifest,
    after: &mut Manifest,
) -> Result<(), RekeyError> {
    if let Some(snapshot) = &before.snapshot {
        after.last_number += 1;
        let reader = SnapshotReader::open_named(&**disk, snapshot, old)?;
        after.snapshot = Some(copy_snapshot(disk, &reader, after.last_number, new)?);
    }
    for log in &before.logs {
        after.last_number += 1;
        let reader = LogReader::open(&**disk, log.number, old)?;
        copy_log(&**disk, reader, after.last_number, new)?;
        after.logs.push(LogFacts { number: after.last_number, start_offset: log.start_offset });
    }
    Ok(())
}

fn copy_snapshot(
    disk: &Arc<dyn Disk>,
    reader: &SnapshotReader,
    number: u64,
    key: Option<&EncryptionKey>,
) -> Result<SnapshotFacts, RekeyError> {
    let header = reader.header();
    let start = SnapshotStart {
        number,
        created_ms: header.created_ms,
        databases: header.databases,
        lfu: header.lfu,
        log_offset: header.log_offset,
    };
    let compression = if reader.is_compressed() { Compression::FAST } else { Compression::None };
    let options = SnapshotOptions { compression, key, incremental_sync: true };
    let writer = SnapshotWriter::create(Arc::clone(disk), start, &options)?;
    let mut blocks = writer.block_writer()?;
    let mut opener = Opener::new()?;
    for block in 0..reader.blocks().len() {
        let (facts, raw) = reader.read_raw(block, &mut opener)?;
        blocks.push_raw(raw, facts.entries);
        blocks.flush()?;
    }
    drop(blocks);
    writer.count(reader.counts());
    Ok(writer.finish()?)
}

/// Copies a log; a torn tail is damage here, because cutting it is for the operator or the server to decide.
fn copy_log(
    disk: &dyn Disk,
    mut reader: LogReader,
    number: u64,
    key: Option<&EncryptionKey>,
) -> Result<(), RekeyError> {
    let header = reader.header();
    let start = LogStart { number, start_offset: header.start_offset, created_ms: header.created_ms };
    let options = LogOptions { compression: Compression::None, key };
    let mut writer = LogWriter::create(disk, &start, &options)?;
    while let Some(records) = reader.next_block()? {
        writer.append(records)?;
    }
    Ok(writer.close()?)
}
