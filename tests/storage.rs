//! Files that were damaged, cut off, or caught by a power cut: what is read back was written, or there is an error that says where.

use std::io;
use std::sync::Arc;

use cloakroom::base::random::Random;
use cloakroom::storage::encoding::{ENCODED_MAX, crc32c};
use cloakroom::storage::keys::KEY_LEN;
use cloakroom::storage::{
    Compression, Damage, Disk, EncryptionKey, EntryRecord, Form, Kind, LogFacts, LogOptions, LogReader,
    LogStart, LogWriter, Manifest, Opener, Problem, RealDisk, ShardCount, SnapshotFacts, SnapshotOptions,
    SnapshotReader, SnapshotStart, SnapshotWriter, cut_tail,
};
use cloakroom::testing::power_cut_disk::{Fault, NO_SPACE, Operation, PowerCutDisk};

/// An entry that outlives its block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Owned {
    database: u32,
    expire_at_ms: Option<u64>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Owned {
    fn record(&self) -> EntryRecord<'_> {
        let Owned { database, expire_at_ms, key, value } = self;
        EntryRecord {
            database: *database,
            kind: Kind::Raw,
            form: Form::Small,
            expire_at_ms: *expire_at_ms,
            access: 7,
            key,
            value,
        }
    }
}

/// The ways in which a file may be written.
fn manners() -> Vec<(Compression, Option<EncryptionKey>)> {
    let key = || Some(EncryptionKey::new([5; KEY_LEN]));
    vec![
        (Compression::None, None),
        (Compression::Zstd(1), None),
        (Compression::None, key()),
        (Compression::Zstd(-1), key()),
    ]
}

fn entries(tag: &str, count: u32) -> Vec<Owned> {
    let entry = |number: u32| Owned {
        database: number % 3,
        expire_at_ms: number.is_multiple_of(2).then_some(1_790_000_000_000 + u64::from(number)),
        key: format!("session:{tag}:{number}").into_bytes(),
        value: format!("{{\"user\":{number},\"roles\":[\"user\",\"editor\"],\"tag\":\"{tag}\"}}")
            .into_bytes(),
    };
    let mut entries: Vec<Owned> = (0..count).map(entry).collect();
    entries.sort();
    entries
}

fn write_snapshot(
    disk: &PowerCutDisk,
    number: u64,
    (compression, key): &(Compression, Option<EncryptionKey>),
    entries: &[Owned],
) -> io::Result<SnapshotFacts> {
    let start = SnapshotStart { number, created_ms: 1, databases: 3, lfu: false, log_offset: 9 };
    let options = SnapshotOptions { compression: *compression, key: key.as_ref(), incremental_sync: true };
    let writer = SnapshotWriter::create(Arc::new(disk.clone()), start, &options)?;
    let mut block = writer.block_writer()?;
    for part in entries.chunks(entries.len().div_ceil(3).max(1)) {
        for entry in part {
            block.push(entry.key.len() as u16, &entry.record());
        }
        block.flush()?;
    }
    drop(block);
    writer.finish()
}

fn read_snapshot(disk: &dyn Disk, number: u64, key: Option<&EncryptionKey>) -> Result<Vec<Owned>, Damage> {
    let reader = SnapshotReader::open(disk, &SnapshotFacts::name_of(number), key)?;
    let mut opener = Opener::new().expect("memory");
    let mut found = Vec::new();
    for block in 0..reader.blocks().len() {
        for entry in reader.read_block(block, &mut opener)? {
            let EntryRecord { database, expire_at_ms, key, value, .. } = entry?;
            found.push(Owned { database, expire_at_ms, key: key.to_vec(), value: value.to_vec() });
        }
    }
    assert_eq!(found.len() as u64, reader.entries());
    found.sort();
    Ok(found)
}

#[test]
fn several_threads_write_and_read_one_snapshot() {
    let path = std::env::temp_dir().join(format!("cloakroom-storage-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    let disk = Arc::new(RealDisk::open(&path).expect("opens"));
    for (number, (compression, key)) in manners().into_iter().enumerate() {
        let start =
            SnapshotStart { number: number as u64, created_ms: 1, databases: 3, lfu: true, log_offset: 9 };
        let options = SnapshotOptions { compression, key: key.as_ref(), incremental_sync: true };
        let writer = SnapshotWriter::create(disk.clone(), start, &options).expect("creates");
        let written = ["a", "b", "c", "d"].map(|tag| entries(tag, 5000));
        std::thread::scope(|scope| {
            for (shard, part) in written.iter().enumerate() {
                let mut block = writer.block_writer().expect("memory");
                scope.spawn(move || {
                    for entry in part {
                        block.push(shard as u16, &entry.record());
                        block.write_if_full().expect("writes");
                    }
                    block.flush().expect("writes");
                });
            }
        });
        let facts = writer.finish().expect("finishes");
        assert_eq!((facts.entries, facts.log_offset), (20_000, 9));
        let mut all = written.concat();
        all.sort();
        assert_eq!(read_snapshot(&*disk, facts.number, key.as_ref()).expect("sound"), all);
        let reader = SnapshotReader::open(&*disk, &facts.name(), key.as_ref()).expect("sound");
        assert_eq!((reader.size(), reader.header().lfu), (facts.bytes, true));
        assert_eq!(reader.counts().len(), 12, "three databases in each of four shards");
        let only_snapshots = disk.list().expect("lists").iter().all(|name| name.starts_with("snapshot-"));
        assert!(only_snapshots, "temporary files are gone");
    }
    std::fs::remove_dir_all(path).expect("removes");
}

/// Some 8,000 databases with keys in most shards.
#[test]
fn a_snapshot_has_as_many_databases_and_shards_as_it_needs() {
    let disk = PowerCutDisk::new();
    let start = SnapshotStart { number: 1, created_ms: 1, databases: 8000, lfu: false, log_offset: 9 };
    let options = SnapshotOptions { compression: Compression::FAST, key: None, incremental_sync: true };
    let writer = SnapshotWriter::create(Arc::new(disk.clone()), start, &options).expect("creates");
    let mut block = writer.block_writer().expect("memory");
    let entry = EntryRecord { key: b"k", value: b"v", ..EntryRecord::default() };
    for shard in 0..3 {
        block.push(shard, &entry);
        block.flush().expect("writes");
    }
    drop(block);
    // A count takes 14 bytes.
    let places = (ENCODED_MAX / 14 + 1000) as u32;
    let counts: Vec<ShardCount> = (0..places)
        .map(|place| ShardCount { database: place / 1024, shard: (place % 1024) as u16, entries: 0 })
        .collect();
    writer.count(&counts);
    let facts = writer.finish().expect("an index of any length");
    let reader = SnapshotReader::open_named(&disk, &facts, None).expect("sound");
    assert_eq!((reader.entries(), reader.counts().len(), reader.blocks().len()), (3, places as usize, 3));
    // A part of the index that is missing, or is there twice, is noticed.
    let (name, bytes) = (facts.name(), disk.contents(&facts.name()).expect("is there"));
    let headers: Vec<usize> = memchr::memmem::find_iter(&bytes, b"CLKB\x03").collect();
    assert!(headers.len() > 100);
    for range in [headers[0]..headers[1], headers[5]..headers[6]] {
        let without = [&bytes[..range.start], &bytes[range.end..]].concat();
        let twice = [&bytes[..range.end], &bytes[range.start..]].concat();
        for mut file in [without, twice] {
            let trailer = file.len() - 32;
            file[trailer + 16..trailer + 24].copy_from_slice(&((trailer - headers[0]) as u64).to_le_bytes());
            let checksum = crc32c(&file[trailer..trailer + 28]);
            file[trailer + 28..].copy_from_slice(&checksum.to_le_bytes());
            let disk = PowerCutDisk::new();
            disk.put(&name, &file);
            let damage = SnapshotReader::open(&disk, &name, None).err().expect("noticed");
            assert!(damage.to_string().contains("index"), "{damage}");
        }
    }
}

#[test]
fn a_snapshot_with_a_flipped_byte_or_a_missing_end_is_not_read() {
    for manner in manners() {
        let disk = PowerCutDisk::new();
        let written = entries("x", 12);
        write_snapshot(&disk, 1, &manner, &written).expect("writes");
        let name = SnapshotFacts::name_of(1);
        let bytes = disk.contents(&name).expect("is there");
        assert_eq!(read_snapshot(&disk, 1, manner.1.as_ref()).expect("sound"), written);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                disk.put(&name, &flipped);
                let damage = read_snapshot(&disk, 1, manner.1.as_ref()).expect_err("damaged");
                assert!(!damage.is_torn_tail() && damage.file == name, "{damage}");
            }
            disk.put(&name, &bytes[..at]);
            assert!(read_snapshot(&disk, 1, manner.1.as_ref()).is_err(), "cut at {at}");
        }
    }
}

#[test]
fn a_wrong_key_is_a_clear_error() {
    let disk = PowerCutDisk::new();
    let (right, wrong) = (EncryptionKey::new([5; KEY_LEN]), EncryptionKey::new([6; KEY_LEN]));
    let manner = (Compression::Zstd(1), Some(right.clone()));
    write_snapshot(&disk, 1, &manner, &entries("x", 5)).expect("writes");
    let log = LogOptions { compression: Compression::None, key: Some(&right) };
    LogWriter::create(&disk, &LogStart { number: 2, start_offset: 0, created_ms: 1 }, &log).expect("creates");
    for (configured, message) in [
        (Some(&wrong), format!("is encrypted with key {}, the configured key is {}", right.id(), wrong.id())),
        (None, format!("is encrypted with key {}, and no key is configured", right.id())),
    ] {
        let damage = SnapshotReader::open(&disk, "snapshot-1.cloakroom", configured).err().expect("refused");
        assert!(damage.to_string().ends_with(&message), "{damage}");
        let damage = LogReader::open(&disk, 2, configured).err().expect("refused");
        assert!(damage.to_string().ends_with(&message), "{damage}");
    }
    // Two files of the same key cannot exchange their blocks: neither a header nor a body fits elsewhere.
    write_snapshot(&disk, 3, &manner, &entries("x", 5)).expect("writes");
    let (one, two) = (disk.contents("snapshot-1.cloakroom"), disk.contents("snapshot-3.cloakroom"));
    let (mut one, two) = (one.expect("is there"), two.expect("is there"));
    let header_len = one.len().min(200);
    one[..header_len].copy_from_slice(&two[..header_len]);
    disk.put("snapshot-3.cloakroom", &one);
    assert!(read_snapshot(&disk, 3, Some(&right)).is_err());
}

/// Replaces the data by a new snapshot, as a server does: snapshot, manifest, then the old one goes.
fn replace_data(
    disk: &PowerCutDisk,
    manner: &(Compression, Option<EncryptionKey>),
    new: &[Owned],
) -> io::Result<()> {
    let mut manifest = Manifest::read(disk, manner.1.as_ref()).map_err(io::Error::other)?.unwrap_or_default();
    let number = manifest.last_number + 1;
    let old = manifest.snapshot.take();
    manifest.snapshot = Some(write_snapshot(disk, number, manner, new)?);
    manifest.last_number = number;
    manifest.write(disk, manner.1.as_ref())?;
    if let Some(old) = old {
        disk.remove(&old.name())?;
    }
    Ok(())
}

fn current_data(disk: &PowerCutDisk, key: Option<&EncryptionKey>) -> Vec<Owned> {
    let manifest = Manifest::read(disk, key).expect("the manifest is sound").expect("there is one");
    let snapshot = manifest.snapshot.expect("it names a snapshot");
    read_snapshot(disk, snapshot.number, key).expect("the snapshot is sound")
}

#[test]
fn wherever_the_power_is_cut_the_old_snapshot_or_the_new_one_is_there() {
    let (old, new) = (entries("old", 40), entries("new", 50));
    for manner in manners() {
        let begin = || {
            let disk = PowerCutDisk::new();
            replace_data(&disk, &manner, &old).expect("writes");
            disk
        };
        let disk = begin();
        let before = disk.changes();
        replace_data(&disk, &manner, &new).expect("writes");
        let steps = disk.changes() - before;
        assert!(steps > 10, "{steps}");
        for step in 0..=steps {
            for seed in 0..20 {
                let disk = begin();
                disk.stop_after(step);
                let result = replace_data(&disk, &manner, &new);
                disk.power_cut(seed);
                let found = current_data(&disk, manner.1.as_ref());
                assert!(found == old || found == new, "step {step} seed {seed}");
                // All but the removal was synced.
                assert!(result.is_err() || found == new, "step {step} seed {seed}");
            }
        }
    }
}

#[test]
fn whichever_operation_fails_the_old_snapshot_or_the_new_one_is_there() {
    let (old, new) = (entries("old", 40), entries("new", 50));
    let manner = (Compression::Zstd(1), None);
    for operation in Operation::CHANGING {
        for (after, short) in (0..8).flat_map(|after| [(after, false), (after, true)]) {
            let disk = PowerCutDisk::new();
            replace_data(&disk, &manner, &old).expect("writes");
            disk.fail(Fault { operation: Some(operation), after, errno: NO_SPACE, short, lasting: false });
            let result = replace_data(&disk, &manner, &new);
            let found = current_data(&disk, None);
            assert!(found == old || found == new, "{operation:?} {after}");
            assert!(result.is_err() || found == new, "{operation:?} {after}");
            // And it can be tried again.
            disk.heal();
            replace_data(&disk, &manner, &new).expect("writes");
            assert_eq!(current_data(&disk, None), new);
            assert!(disk.list().expect("lists").iter().filter(|name| name.starts_with("temp-")).count() <= 1);
        }
    }
}

#[test]
fn entries_that_were_not_written_keep_a_snapshot_from_finishing() {
    let disk = PowerCutDisk::new();
    let start = SnapshotStart { number: 1, created_ms: 1, databases: 1, lfu: false, log_offset: 0 };
    let options = SnapshotOptions { compression: Compression::None, key: None, incremental_sync: false };
    let create = || SnapshotWriter::create(Arc::new(disk.clone()), start.clone(), &options).expect("creates");
    let writer = create();
    let mut block = writer.block_writer().expect("memory");
    block.push(0, &EntryRecord::default());
    drop(block);
    assert!(writer.finish().is_err(), "dropped with an entry");
    let writer = create();
    let block = writer.block_writer().expect("memory");
    assert!(writer.finish().is_err(), "still being written");
    drop(block);
    assert_eq!(disk.list().expect("lists"), [""; 0]);
}

const LOG: u64 = 4;

fn log_start() -> LogStart {
    LogStart { number: LOG, start_offset: 77, created_ms: 1 }
}

/// Everything up to the end or the first fault.
fn read_log(disk: &dyn Disk, key: Option<&EncryptionKey>) -> (Vec<Vec<u8>>, Option<Damage>) {
    let mut blocks = Vec::new();
    let mut reader = match LogReader::open(disk, LOG, key) {
        Ok(reader) => reader,
        Err(damage) => return (blocks, Some(damage)),
    };
    loop {
        match reader.next_block() {
            Ok(Some(block)) => blocks.push(block.to_vec()),
            Ok(None) => return (blocks, None),
            Err(damage) => return (blocks, Some(damage)),
        }
    }
}

fn record(number: u64) -> Vec<u8> {
    format!("*3\r\n$3\r\nSET\r\n$11\r\nsession:{number:03}\r\n$60\r\n{}\r\n", "abcdef".repeat(10))
        .into_bytes()
}

/// A log of six blocks, synced after the third, with prepared zeros behind.
fn small_log(manner: &(Compression, Option<EncryptionKey>)) -> (PowerCutDisk, Vec<Vec<u8>>, usize) {
    let disk = PowerCutDisk::new();
    let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
    let mut log = LogWriter::create(&disk, &log_start(), &options).expect("creates");
    log.prepare(3000).expect("prepares");
    let blocks: Vec<Vec<u8>> = (0..6).map(|number| record(number).repeat(number as usize + 1)).collect();
    for (number, block) in blocks.iter().enumerate() {
        log.append(block).expect("appends");
        if number == 2 {
            log.sync().expect("syncs");
        }
    }
    let end = log.end().offset as usize;
    (disk, blocks, end)
}

#[test]
fn a_flipped_byte_in_a_log_is_damage() {
    for manner in manners() {
        let (disk, blocks, end) = small_log(&manner);
        let name = LogFacts::name_of(LOG);
        let bytes = disk.contents(&name).expect("is there");
        assert!(bytes.len() > end, "there are zeros behind the end");
        let (found, damage) = read_log(&disk, manner.1.as_ref());
        assert!(found == blocks && damage.is_none(), "{damage:?}");
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = bytes.clone();
                flipped[at] ^= flip;
                disk.put(&name, &flipped);
                let (found, damage) = read_log(&disk, manner.1.as_ref());
                assert!(blocks.starts_with(&found), "flip at {at}: what is read was written");
                let damage = damage.expect("noticed");
                assert!(at >= end || !damage.is_torn_tail(), "flip at {at}: {damage}");
                assert!(at < end || found == blocks, "flip at {at} behind the end");
            }
        }
    }
}

#[test]
fn a_log_that_was_cut_anywhere_gives_what_is_whole_and_goes_on_from_there() {
    for manner in manners() {
        let (disk, blocks, end) = small_log(&manner);
        let name = LogFacts::name_of(LOG);
        let bytes = disk.contents(&name).expect("is there");
        let header_end = LogReader::open(&disk, LOG, manner.1.as_ref()).expect("opens").end().offset as usize;
        for cut in 0..end {
            disk.put(&name, &bytes[..cut]);
            let (found, damage) = read_log(&disk, manner.1.as_ref());
            assert!(blocks.starts_with(&found) && found.len() < blocks.len(), "cut at {cut}");
            if cut < header_end {
                assert!(!damage.expect("no header").is_torn_tail(), "cut at {cut}");
                continue;
            }
            if let Some(damage) = damage {
                assert!(damage.is_torn_tail(), "cut at {cut}: {damage}");
                cut_tail(&disk, &name, damage.offset).expect("cuts");
            }
            let mut reader = LogReader::open(&disk, LOG, manner.1.as_ref()).expect("opens");
            while reader.next_block().expect("sound").is_some() {}
            let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
            let mut log = LogWriter::reopen(&disk, LOG, &options, reader.end()).expect("opens");
            log.append(b"more").expect("appends");
            log.close().expect("closes");
            let (again, damage) = read_log(&disk, manner.1.as_ref());
            assert!(damage.is_none() && again[..found.len()] == found && again[found.len()..] == [b"more"]);
        }
    }
}

#[test]
fn a_hole_before_a_block_that_vouches_for_it_is_damage() {
    let (disk, _, _) = small_log(&(Compression::None, None));
    let name = LogFacts::name_of(LOG);
    let bytes = disk.contents(&name).expect("is there");
    let mut reader = LogReader::open(&disk, LOG, None).expect("opens");
    for number in 0..6 {
        let from = reader.end().offset as usize;
        reader.next_block().expect("sound");
        let to = reader.end().offset as usize;
        let mut holed = bytes.clone();
        // All of the block, as if its sectors had not been written.
        holed[from..to].fill(0);
        disk.put(&name, &holed);
        let (found, damage) = read_log(&disk, None);
        assert_eq!(found.len(), number);
        // The first three were synced before the fourth was written. Whether the others may be torn depends on where the sectors are.
        match damage {
            Some(damage) => assert!(number >= 3 || !damage.is_torn_tail(), "block {number}: {damage}"),
            None => assert_eq!(number, 5, "only zeros behind it"),
        }
    }
}

/// A block as a client may put it into a value: it would follow the next thousand, and vouch for all of them.
fn made_up_block() -> Vec<u8> {
    let body = b"*1\r\n$8\r\nFLUSHALL\r\n";
    let mut block = Vec::from(*b"CLKB\x05\0\0\0");
    for word in [body.len() as u32, body.len() as u32, 1000, 0, crc32c(body)] {
        block.extend_from_slice(&word.to_le_bytes());
    }
    let checksum = crc32c(&block);
    block.extend_from_slice(&checksum.to_le_bytes());
    block.extend_from_slice(body);
    block
}

#[test]
fn what_a_client_made_up_does_not_turn_a_torn_tail_into_damage() {
    for manner in manners() {
        let disk = PowerCutDisk::new();
        let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
        let mut log = LogWriter::create(&disk, &log_start(), &options).expect("creates");
        log.append(&record(0)).expect("appends");
        log.sync().expect("syncs");
        let start = log.end().offset as usize;
        let mut random = Random::new(10);
        let mut noise = || (0..1000).map(|_| random.next_u64() as u8).collect::<Vec<u8>>();
        let value = [noise(), made_up_block(), noise()].concat();
        log.append(&value).expect("appends");
        let name = LogFacts::name_of(LOG);
        let mut bytes = disk.contents(&name).expect("is there");
        // The sector that the block begins in was not written when the power went.
        let sector_end = (start + 1).next_multiple_of(512);
        bytes[start..sector_end].fill(0);
        disk.put(&name, &bytes);
        let (found, damage) = read_log(&disk, manner.1.as_ref());
        assert_eq!(found, [record(0)]);
        let damage = damage.expect("noticed");
        assert!(damage.is_torn_tail() && damage.offset == start as u64, "{damage}");
    }
}

/// As `appendfsync always` writes it: the last block is as durable as the first, and nothing behind it says so.
#[test]
fn a_flipped_bit_in_a_log_of_zeros_is_never_taken_for_a_torn_tail() {
    for manner in manners() {
        let disk = PowerCutDisk::new();
        let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
        let mut log = LogWriter::create(&disk, &log_start(), &options).expect("creates");
        let header_end = log.end().offset as usize;
        let mut ends = Vec::new();
        for len in [1, 700, 0, 1500] {
            log.append(&vec![0; len]).expect("appends");
            log.sync().expect("syncs");
            ends.push(log.end().offset as usize);
        }
        let name = LogFacts::name_of(LOG);
        let bytes = disk.contents(&name).expect("is there");
        for bit in header_end * 8..ends[3] * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let disk = PowerCutDisk::new();
            disk.put(&name, &flipped);
            let (found, damage) = read_log(&disk, manner.1.as_ref());
            let damage = damage.expect("noticed");
            assert!(!damage.is_torn_tail(), "bit {} of byte {}: {damage}", bit % 8, bit / 8);
            assert_eq!(found.len(), ends.iter().filter(|end| **end <= bit / 8).count());
        }
    }
}

/// A log through random appends, syncs, faults and a power cut: what was synced is there, what is there was written.
fn survive(seed: u64, manner: &(Compression, Option<EncryptionKey>)) {
    let mut random = Random::new(seed);
    let disk = PowerCutDisk::new();
    let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
    let mut log = LogWriter::create(&disk, &log_start(), &options).expect("creates");
    let (mut written, mut synced): (Vec<Vec<u8>>, usize) = (Vec::new(), 0);
    for life in 0..4 {
        for _ in 0..random.below(30) {
            match random.below(12) {
                0..6 => {
                    let len = random.below(2000) >> random.below(8);
                    let mut block = vec![0; len as usize];
                    match random.below(4) {
                        0 => {}
                        1 => block.extend(made_up_block()),
                        _ => block.fill_with(|| random.next_u64() as u8),
                    }
                    if log.append(&block).is_ok() {
                        written.push(block);
                    }
                }
                6..8 => match log.sync() {
                    Ok(()) => synced = written.len(),
                    Err(_) => break,
                },
                8 => drop(log.prepare(8000)),
                9..11 => disk.heal(),
                _ => {
                    let operation =
                        [Operation::Write, Operation::SetSize, Operation::Sync][random.below(3) as usize];
                    let (short, lasting) = (random.below(2) == 0, random.below(2) == 0);
                    disk.fail(Fault {
                        operation: Some(operation),
                        after: random.below(4),
                        errno: NO_SPACE,
                        short,
                        lasting,
                    });
                }
            }
        }
        disk.power_cut(random.next_u64());
        let (found, damage) = read_log(&disk, manner.1.as_ref());
        let place = format!("seed {seed} life {life}: {} of {}, {synced} synced", found.len(), written.len());
        if let Some(damage) = damage {
            assert!(damage.is_torn_tail(), "{place}: {damage}");
            cut_tail(&disk, &LogFacts::name_of(LOG), damage.offset).expect("cuts");
        }
        assert!(found.len() >= synced && written.starts_with(&found), "{place}");
        written = found;
        synced = written.len();
        let mut reader = LogReader::open(&disk, LOG, manner.1.as_ref()).expect("opens");
        while reader.next_block().expect("sound").is_some() {}
        log = LogWriter::reopen(&disk, LOG, &options, reader.end()).expect("opens");
    }
}

#[test]
fn a_log_survives_power_cuts_with_all_that_was_synced() {
    for manner in manners() {
        for seed in 0..1000 {
            survive(seed, &manner);
        }
    }
}

#[test]
fn a_full_disk_costs_the_append_that_met_it_and_a_failed_sync_ends_the_log() {
    for manner in manners() {
        let disk = PowerCutDisk::new();
        let options = LogOptions { compression: manner.0, key: manner.1.as_ref() };
        let mut log = LogWriter::create(&disk, &log_start(), &options).expect("creates");
        log.append(b"first").expect("appends");
        disk.fail(Fault {
            operation: Some(Operation::Write),
            after: 0,
            errno: NO_SPACE,
            short: true,
            lasting: true,
        });
        for _ in 0..3 {
            assert_eq!(log.append(b"no space").expect_err("full").raw_os_error(), Some(NO_SPACE));
        }
        disk.heal();
        log.append(b"second").expect("appends");
        log.sync().expect("syncs");
        let (found, damage) = read_log(&disk, manner.1.as_ref());
        assert!(found == [&b"first"[..], b"second"] && damage.is_none(), "{damage:?}");
        disk.fail(Fault {
            operation: Some(Operation::Sync),
            after: 0,
            errno: 5,
            short: false,
            lasting: false,
        });
        log.append(b"third").expect("appends");
        assert!(log.sync().is_err() && log.sync().is_err(), "a second sync does not succeed");
        assert!(log.append(b"fourth").is_err() && log.close().is_err());
    }
}

#[test]
fn a_manifest_that_is_not_there_is_no_damage() {
    let disk = PowerCutDisk::new();
    assert!(Manifest::read(&disk, None).expect("no damage").is_none());
    disk.put("manifest", b"");
    let damage = Manifest::read(&disk, None).expect_err("damage");
    assert!(
        matches!(damage.problem, Problem::Wrong(_)) && damage.to_string().starts_with("manifest: damaged")
    );
}
