//! Fuzz bodies for the files of a data directory: any bytes as a snapshot or a log, and sound files with edits.
//!
//! Checksums keep a fuzzer out, so there are three ways in, which the first byte chooses: the rest of the input is the file; it is edits of a sound
//! file, which must be noticed or change nothing that is read; it is edits of a sound file whose checksums are made right again, so that the decoders behind them
//! meet nonsense. Nothing here may panic, and nothing that is read may be larger than the file can justify.

use std::sync::Arc;

use super::power_cut_disk::PowerCutDisk;
use crate::storage::blocks::{HEADER_LEN, MAGIC};
use crate::storage::encoding::crc32c;
use crate::storage::format::{CHECKSUMMED, FORMAT_VERSION, Format, SAME_BLOCKS_FROM};
use crate::storage::{
    Compression, Damage, EncryptionKey, EntryRecord, LogFacts, LogOptions, LogReader, LogStart, LogWriter,
    Manifest, Opener, SnapshotFacts, SnapshotOptions, SnapshotReader, SnapshotStart, SnapshotWriter, check,
    repair,
};

const NUMBER: u64 = 1;
/// An edit: where, in two bytes, and what to change there.
const EDIT_LEN: usize = 3;
const TRAILER_LEN: usize = 32;

/// What an input does with a file.
struct Choice<'a> {
    is_raw: bool,
    reseals: bool,
    cuts: bool,
    compression: Compression,
    key: Option<EncryptionKey>,
    rest: &'a [u8],
}

impl Choice<'_> {
    fn of(data: &[u8]) -> Option<Choice<'_>> {
        let (&first, rest) = data.split_first()?;
        let bit = |number: u8| first >> number & 1 != 0;
        Some(Choice {
            is_raw: first & 3 == 0,
            reseals: first & 3 == 1,
            cuts: bit(4),
            compression: if bit(2) { Compression::FAST } else { Compression::None },
            key: bit(3).then(|| EncryptionKey::new([first; 32])),
            rest,
        })
    }

    /// The file that the input makes of a sound one.
    fn file(&self, sound: &[u8], has_trailer: bool) -> Vec<u8> {
        if self.is_raw {
            return self.rest.to_vec();
        }
        let mut file = sound.to_vec();
        for edit in self.rest.chunks_exact(EDIT_LEN) {
            let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % file.len();
            file[at] ^= edit[2];
        }
        if let [length, ..] = self.rest.chunks_exact(EDIT_LEN).remainder()
            && self.cuts
        {
            file.truncate(sound.len() * usize::from(*length) / 256);
        }
        if self.reseals {
            reseal(&mut file, has_trailer);
        }
        file
    }

    /// What is read is nothing but what was written.
    fn keeps_contents(&self) -> bool {
        !self.is_raw && !self.reseals
    }
}

/// The format that a file's first block says.
fn format_of(file: &[u8]) -> Format {
    let body = file.get(HEADER_LEN..).unwrap_or_default();
    match body.split_first_chunk() {
        Some((version, rest))
            if (SAME_BLOCKS_FROM..=FORMAT_VERSION).contains(&u16::from_le_bytes(*version)) =>
        {
            Format::Two(rest.first_chunk().map_or(0, |id| u64::from_le_bytes(*id)))
        }
        _ => Format::One,
    }
}

/// Makes the checksums of all blocks right that can be found, and those of a snapshot's trailer.
fn reseal(file: &mut [u8], has_trailer: bool) {
    let put =
        |file: &mut [u8], at: usize, number: u32| file[at..at + 4].copy_from_slice(&number.to_le_bytes());
    let mut at = 0;
    while file.get(at..at + HEADER_LEN).is_some_and(|header| header.starts_with(&MAGIC)) {
        let stored = [8, 9, 10, 11].map(|place| file[at + place]);
        let body = at + HEADER_LEN;
        let end = body.saturating_add(u32::from_le_bytes(stored) as usize);
        if let Some(stored) = file.get(body..end) {
            let checksum = crc32c(stored);
            put(file, at + 24, checksum);
        }
        let format = if at == 0 { Format::One } else { format_of(file) };
        if let Some(checksum) = file[at..].first_chunk().map(|header| format.header_checksum(header)) {
            put(file, at + CHECKSUMMED, checksum);
        }
        at = end;
    }
    if let Some(trailer) = file.len().checked_sub(TRAILER_LEN).filter(|_| has_trailer) {
        let checksum = crc32c(&file[trailer..trailer + 28]);
        put(file, trailer + 28, checksum);
    }
}

/// An entry that outlives its block.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    database: u32,
    key: Vec<u8>,
    value: Vec<u8>,
    expire_at_ms: Option<u64>,
    access: u32,
}

/// What `cloakroom check --fix` does: after a repair nothing is wrong. Says whether nothing was wrong before.
fn check_and_repair(disk: &PowerCutDisk, manifest: &Manifest, key: Option<&EncryptionKey>) -> bool {
    let count = |_: &[u8], _| Ok((1, false));
    manifest.write(disk, key).expect("a disk in memory");
    let report = check(disk, key, &count).expect("a disk in memory");
    if report.first_cut().is_some() {
        repair(disk, key, &report).expect("a disk in memory");
        let again = check(disk, key, &count).expect("a disk in memory");
        assert!(again.is_sound(), "{again:?} after {report:?}");
    }
    report.is_sound()
}

fn sound_snapshot(choice: &Choice<'_>) -> (PowerCutDisk, SnapshotFacts) {
    let disk = PowerCutDisk::new();
    let start = SnapshotStart { number: NUMBER, created_ms: 1, databases: 3, lfu: false, log_offset: 0 };
    let options = SnapshotOptions {
        compression: choice.compression,
        key: choice.key.as_ref(),
        incremental_sync: false,
    };
    let writer = SnapshotWriter::create(Arc::new(disk.clone()), start, &options).expect("a disk in memory");
    let mut block = writer.block_writer().expect("memory");
    for number in 0..12u32 {
        let entry = EntryRecord {
            database: number % 3,
            expire_at_ms: (number % 2 == 0).then_some(1_790_000_000_000),
            access: number,
            key: &[b'k', number as u8],
            value: b"a value that compresses, that compresses, that compresses",
            ..EntryRecord::default()
        };
        block.push(number as u16 % 2, &entry);
        if number == 6 {
            block.flush().expect("a disk in memory");
        }
    }
    block.flush().expect("a disk in memory");
    drop(block);
    let facts = writer.finish().expect("a disk in memory");
    (disk, facts)
}

fn read_snapshot(disk: &PowerCutDisk, key: Option<&EncryptionKey>) -> Result<Vec<Seen>, Damage> {
    let reader = SnapshotReader::open(disk, &SnapshotFacts::name_of(NUMBER), key)?;
    let (mut opener, mut seen) = (Opener::new().expect("memory"), Vec::new());
    for block in 0..reader.blocks().len() {
        for entry in reader.read_block(block, &mut opener)? {
            let entry = entry?;
            let EntryRecord { database, expire_at_ms, access, key, value, .. } = entry;
            seen.push(Seen { database, key: key.to_vec(), value: value.to_vec(), expire_at_ms, access });
        }
    }
    assert_eq!(seen.len() as u64, reader.entries(), "the counts are checked");
    Ok(seen)
}

/// Bytes as a snapshot.
pub fn snapshot_load(data: &[u8]) {
    let Some(choice) = Choice::of(data) else { return };
    let (disk, facts) = sound_snapshot(&choice);
    let written = read_snapshot(&disk, choice.key.as_ref()).expect("sound");
    let name = SnapshotFacts::name_of(NUMBER);
    let sound = disk.contents(&name).expect("is there");
    disk.put(&name, &choice.file(&sound, true));
    let read = read_snapshot(&disk, choice.key.as_ref());
    let manifest = Manifest { last_number: NUMBER, snapshot: Some(facts), ..Manifest::default() };
    let is_sound = check_and_repair(&disk, &manifest, choice.key.as_ref());
    assert!(read.is_ok() || !is_sound, "{read:?}");
    match read {
        Ok(read) if choice.keeps_contents() => assert_eq!(read, written),
        Ok(_) => {}
        Err(damage) => assert!(!damage.is_torn_tail(), "{damage}"),
    }
}

fn sound_log(choice: &Choice<'_>) -> PowerCutDisk {
    let disk = PowerCutDisk::new();
    let start = LogStart { number: NUMBER, start_offset: 0, created_ms: 1 };
    let options = LogOptions { compression: choice.compression, key: choice.key.as_ref() };
    let mut log = LogWriter::create(&disk, &start, &options).expect("a disk in memory");
    log.prepare(600).expect("a disk in memory");
    for number in 0..6u8 {
        log.append(&[b'a' + number].repeat(40 * usize::from(number))).expect("a disk in memory");
        if number == 3 {
            log.sync().expect("a disk in memory");
        }
    }
    disk
}

/// All blocks up to the end, or up to what is wrong; and where that is.
fn read_log(disk: &PowerCutDisk, key: Option<&EncryptionKey>) -> (Vec<Vec<u8>>, Result<(), Damage>) {
    let mut blocks = Vec::new();
    let mut reader = match LogReader::open(disk, NUMBER, key) {
        Ok(reader) => reader,
        Err(damage) => return (blocks, Err(damage)),
    };
    let result = loop {
        match reader.next_block() {
            Ok(Some(block)) => blocks.push(block.to_vec()),
            Ok(None) => break Ok(()),
            Err(damage) => break Err(damage),
        }
    };
    let end = reader.end().offset;
    assert!(end <= reader.size());
    let behind = reader.behind(end).expect("a disk in memory");
    assert!(behind.bytes <= reader.size() - end);
    (blocks, result)
}

/// Bytes as a log; a torn one is cut and read again.
pub fn log_load(data: &[u8]) {
    let Some(choice) = Choice::of(data) else { return };
    let disk = sound_log(&choice);
    let (written, sound) = read_log(&disk, choice.key.as_ref());
    sound.expect("sound");
    let name = LogFacts::name_of(NUMBER);
    let file = disk.contents(&name).expect("is there");
    disk.put(&name, &choice.file(&file, false));
    let (read, result) = read_log(&disk, choice.key.as_ref());
    if choice.keeps_contents() {
        assert!(written.starts_with(&read), "what is read was written");
    }
    if let Err(damage) = &result
        && damage.is_torn_tail()
    {
        crate::storage::cut_tail(&disk, &name, damage.offset).expect("a disk in memory");
        let (again, result) = read_log(&disk, choice.key.as_ref());
        assert_eq!(again, read);
        result.expect("nothing is wrong with what is left");
    }
    let logs = vec![LogFacts { number: NUMBER, start_offset: 0 }];
    let manifest = Manifest { last_number: NUMBER, logs, ..Manifest::default() };
    let is_sound = check_and_repair(&disk, &manifest, choice.key.as_ref());
    let can_be_read = result.is_ok() || result.is_err_and(|damage| damage.is_torn_tail());
    assert!(can_be_read || !is_sound, "what is sound can be read");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    /// Runs `body` on inputs of any kind; a failure names the seed that repeats it.
    fn with_seeds(body: impl Fn(&[u8])) {
        println!("seeds 0 to 3999");
        for seed in 0..4000 {
            let mut random = Random::new(seed);
            let bits = 1 + random.below(8);
            let len = 1 + random.below(1 << bits);
            let mut data: Vec<u8> = (0..len).map(|_| random.next_u64() as u8).collect();
            // Small numbers and few edits get further.
            data.iter_mut().skip(1).for_each(|byte| *byte >>= random.below(8) as u32);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&data)));
            assert!(outcome.is_ok(), "seed {seed}: {}", data.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_are_a_snapshot_or_damage() {
        with_seeds(snapshot_load);
    }

    #[test]
    fn any_bytes_are_a_log_or_damage() {
        with_seeds(log_load);
    }

    /// Found by the fuzzer: the repair cut behind the block, which then was damage again.
    #[test]
    fn a_salt_in_a_log_that_is_not_encrypted_goes_with_the_repair() {
        log_load(b"\x01\x19\x32\x08\x2c\x2c\x03");
    }

    #[test]
    fn resealing_a_sound_file_changes_nothing() {
        let choice = Choice::of(&[1]).expect("a byte");
        let snapshot = sound_snapshot(&choice).0.contents(&SnapshotFacts::name_of(NUMBER)).expect("is there");
        assert!(choice.file(&snapshot, true) == snapshot);
        let log = sound_log(&choice).contents(&LogFacts::name_of(NUMBER)).expect("is there");
        assert!(choice.file(&log, false) == log);
    }
}
