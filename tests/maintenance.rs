//! Checking, repairing and rekeying a data directory on a disk that loses power at each step: it is as before, or done, and never in between.

use std::sync::Arc;

use cloakroom::maintenance::examine;
use cloakroom::storage::{
    Compression, Disk, EncryptionKey, EntryRecord, LogFacts, LogOptions, LogReader, LogStart, LogWriter,
    Manifest, Opener, Report, SnapshotOptions, SnapshotReader, SnapshotStart, SnapshotWriter, check, rekey,
    repair,
};
use cloakroom::testing::power_cut_disk::{Fault, NO_SPACE, Operation, PowerCutDisk};

const LOG_OFFSET: u64 = 1000;
const LOGS: u64 = 3;
const BLOCKS: u64 = 4;

fn key(byte: u8) -> Option<EncryptionKey> {
    Some(EncryptionKey::new([byte; 32]))
}

fn records(log: u64, block: u64) -> Vec<u8> {
    format!("record {block} of log {log}").repeat(20).into_bytes()
}

/// A snapshot of 50 entries and three logs of four blocks.
fn data(key: Option<&EncryptionKey>) -> PowerCutDisk {
    let disk = PowerCutDisk::new();
    let start = SnapshotStart { number: 1, created_ms: 1, databases: 16, lfu: false, log_offset: LOG_OFFSET };
    let options = SnapshotOptions { compression: Compression::FAST, key, incremental_sync: false };
    let writer = SnapshotWriter::create(Arc::new(disk.clone()), start, &options).expect("creates");
    let mut block = writer.block_writer().expect("memory");
    for number in 0..50u32 {
        let name = format!("session:{number}");
        let entry = EntryRecord {
            database: number % 2,
            key: name.as_bytes(),
            value: b"the same value again and again",
            ..EntryRecord::default()
        };
        block.push(number as u16, &entry);
        if number == 20 {
            block.flush().expect("writes");
        }
    }
    block.flush().expect("writes");
    drop(block);
    let snapshot = writer.finish().expect("finishes");
    let mut manifest = Manifest { last_number: 1, snapshot: Some(snapshot), ..Manifest::default() };
    let mut offset = LOG_OFFSET;
    for number in 2..2 + LOGS {
        let options = LogOptions { compression: Compression::None, key };
        let start = LogStart { number, start_offset: offset, created_ms: 1 };
        let mut log = LogWriter::create(&disk, &start, &options).expect("creates");
        for block in 0..BLOCKS {
            log.append(&records(number, block)).expect("appends");
            log.sync().expect("syncs");
            offset += records(number, block).len() as u64;
        }
        log.close().expect("closes");
        manifest.logs.push(LogFacts { number, start_offset: start.start_offset });
        manifest.last_number = number;
    }
    manifest.write(&disk, key).expect("writes");
    disk
}

fn checked(disk: &PowerCutDisk, key: Option<&EncryptionKey>) -> Report {
    check(disk, key, &|_, _| Ok((1, false))).expect("can be listed")
}

/// All that the manifest names, read with this key; `None` if it is another one's.
fn contents(disk: &PowerCutDisk, key: Option<&EncryptionKey>) -> Option<Vec<Vec<u8>>> {
    let manifest = Manifest::read(disk, key).ok()?.expect("there is one");
    let snapshot = SnapshotReader::open(disk, &manifest.snapshot?.name(), key).ok()?;
    let mut found = vec![format!("{:?}", snapshot.counts()).into_bytes()];
    let mut opener = Opener::new().expect("memory");
    for block in 0..snapshot.blocks().len() {
        found.push(snapshot.read_raw(block, &mut opener).expect("sound").1.to_vec());
    }
    for log in &manifest.logs {
        let mut log = LogReader::open(disk, log.number, key).ok()?;
        while let Some(records) = log.next_block().expect("sound") {
            found.push(records.to_vec());
        }
    }
    Some(found)
}

/// What a server's start does with files that nothing names.
fn remove_unnamed(disk: &PowerCutDisk, key: Option<&EncryptionKey>) {
    for name in checked(disk, key).unnamed {
        disk.remove(&name).expect("removes");
    }
}

#[test]
fn a_sound_directory_is_said_to_be_so_with_what_is_in_it() {
    for key in [None, key(1)] {
        let disk = data(key.as_ref());
        let report = checked(&disk, key.as_ref());
        assert!(report.is_sound() && report.first_cut().is_none(), "{report:?}");
        let snapshot = report.snapshot.expect("there is one");
        assert_eq!(snapshot.databases.values().copied().collect::<Vec<_>>(), [(25, 0), (25, 0)]);
        assert_eq!(report.logs.iter().map(|log| (log.blocks, log.records)).collect::<Vec<_>>(), [(4, 4); 3]);
        let other = self::key(9);
        let wrong = checked(&disk, other.as_ref());
        assert!(!wrong.is_sound() && wrong.first_cut().is_none(), "{wrong:?}");
    }
}

#[test]
fn a_lost_manifest_is_not_an_empty_directory() {
    let disk = data(None);
    disk.remove("manifest").expect("removes");
    let report = checked(&disk, None);
    assert!(!report.is_sound() && report.first_cut().is_none());
    assert_eq!(report.unnamed.len(), 4);
    assert!(checked(&PowerCutDisk::new(), None).is_sound());
}

#[test]
fn damage_of_a_snapshot_is_not_repaired() {
    let disk = data(None);
    let mut bytes = disk.contents("snapshot-1.cloakroom").expect("is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    disk.put("snapshot-1.cloakroom", &bytes);
    let report = checked(&disk, None);
    assert!(!report.is_sound() && report.first_cut().is_none(), "{report:?}");
    let before = disk.changes();
    repair(&disk, None, &report).expect("does nothing");
    assert_eq!(disk.changes(), before);
}

/// Each byte of the second log, and a log that is not there, or is another one.
#[test]
fn a_damaged_log_is_cut_and_those_behind_it_are_dropped() {
    for key in [None, key(1)] {
        let all = contents(&data(key.as_ref()), key.as_ref()).expect("sound");
        let len = data(key.as_ref()).contents("log-3.cloakroom").expect("is there").len();
        for at in 0..len {
            let disk = data(key.as_ref());
            let mut bytes = disk.contents("log-3.cloakroom").expect("is there");
            bytes[at] ^= 0x40;
            disk.put("log-3.cloakroom", &bytes);
            let report = checked(&disk, key.as_ref());
            assert_eq!(report.first_cut(), Some(1), "byte {at}: {report:?}");
            assert!(report.logs[1].behind.bytes > 0 && report.logs[2].blocks == BLOCKS, "byte {at}");
            repair(&disk, key.as_ref(), &report).expect("repairs");
            assert!(checked(&disk, key.as_ref()).is_sound(), "byte {at}");
            let left = contents(&disk, key.as_ref()).expect("sound");
            assert!(all.starts_with(&left) && left.len() >= 3 + BLOCKS as usize, "byte {at}");
            assert!(!disk.exists("log-4.cloakroom").expect("looks"));
        }
    }
    let disk = data(None);
    disk.remove("log-3.cloakroom").expect("removes");
    let report = checked(&disk, None);
    repair(&disk, None, &report).expect("repairs");
    assert!(checked(&disk, None).is_sound());
    // A log that ends early at the border of a block is noticed by the offset of the next one.
    let disk = data(None);
    let mut log = LogReader::open(&disk, 3, None).expect("opens");
    log.next_block().expect("sound");
    let end = log.end().offset as usize;
    let bytes = disk.contents("log-3.cloakroom").expect("is there");
    disk.put("log-3.cloakroom", &bytes[..end]);
    let report = checked(&disk, None);
    assert_eq!(report.first_cut(), Some(2), "{report:?}");
}

#[test]
fn wherever_the_power_is_cut_a_repair_can_be_done_again() {
    let damaged = || {
        let disk = data(None);
        let mut bytes = disk.contents("log-3.cloakroom").expect("is there");
        let place = bytes.len() - 10;
        bytes[place] ^= 0x40;
        disk.put("log-3.cloakroom", &bytes);
        disk
    };
    let disk = damaged();
    let before = disk.changes();
    repair(&disk, None, &checked(&disk, None)).expect("repairs");
    let (steps, repaired) = (disk.changes() - before, contents(&disk, None));
    assert!(steps >= 6, "{steps}");
    for step in 0..=steps {
        for seed in 0..20 {
            let disk = damaged();
            disk.stop_after(step);
            let done = repair(&disk, None, &checked(&disk, None)).is_ok();
            disk.power_cut(seed);
            let report = checked(&disk, None);
            assert!(report.is_sound() || !done, "step {step} seed {seed}");
            assert!(report.is_sound() || report.first_cut().is_some(), "step {step} seed {seed}: {report:?}");
            repair(&disk, None, &report).expect("repairs");
            assert_eq!(contents(&disk, None), repaired, "step {step} seed {seed}");
        }
    }
}

#[test]
fn wherever_the_power_is_cut_the_data_have_the_old_key_or_the_new_one() {
    for (old, new) in [(None, key(2)), (key(1), None), (key(1), key(2))] {
        let (old, new) = (old.as_ref(), new.as_ref());
        let run = |disk: &PowerCutDisk| {
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            rekey(&shared, old, new, 7)
        };
        let disk = data(old);
        let (all, before) = (contents(&disk, old), disk.changes());
        let after = run(&disk).expect("rewrites").expect("there are data");
        let steps = disk.changes() - before;
        assert_eq!((contents(&disk, new), after.last_number), (all.clone(), 8));
        assert!(contents(&disk, old).is_none(), "nothing is left of the old key");
        let mut names = disk.list().expect("lists");
        names.retain(|name| name != "temp-manifest");
        assert_eq!(names.len(), 5, "{names:?}");
        for step in 0..=steps {
            for seed in 0..4 {
                let disk = data(old);
                disk.stop_after(step);
                let done = run(&disk).is_ok();
                disk.power_cut(seed);
                let (with_old, with_new) = (contents(&disk, old), contents(&disk, new));
                assert!(with_old == all || with_new == all, "step {step} seed {seed}");
                assert!(with_new == all || !done, "step {step} seed {seed}");
                let present = if with_new == all { new } else { old };
                remove_unnamed(&disk, present);
                assert!(checked(&disk, present).is_sound(), "step {step} seed {seed}");
            }
        }
    }
}

#[test]
fn a_rekey_that_fails_leaves_the_old_data() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync] {
        for after in 0..5 {
            let disk = data(None);
            let names = disk.list().expect("lists");
            disk.fail(Fault {
                operation: Some(operation),
                after,
                errno: NO_SPACE,
                short: true,
                lasting: false,
            });
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let new = key(3);
            if rekey(&shared, None, new.as_ref(), 7).is_err() {
                assert!(checked(&disk, None).is_sound(), "{operation:?} {after}");
                remove_unnamed(&disk, None);
                assert_eq!(disk.list().expect("lists"), names, "{operation:?} {after}");
            }
        }
    }
    let disk = data(key(1).as_ref());
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let error = rekey(&shared, key(2).as_ref(), key(3).as_ref(), 7).expect_err("another key");
    assert!(error.to_string().contains("is encrypted with key"), "{error}");
}

/// A directory whose log has these blocks.
fn logged(blocks: &[&[u8]]) -> Arc<dyn Disk> {
    let disk = PowerCutDisk::new();
    let start = LogStart { number: 1, start_offset: 0, created_ms: 1 };
    let options = LogOptions { compression: Compression::None, key: None };
    let mut log = LogWriter::create(&disk, &start, &options).expect("creates");
    blocks.iter().for_each(|block| log.append(block).expect("appends"));
    log.close().expect("closes");
    let logs = vec![LogFacts { number: 1, start_offset: 0 }];
    Manifest { last_number: 1, logs, ..Manifest::default() }.write(&disk, None).expect("writes");
    Arc::new(disk)
}

fn examined(disk: &Arc<dyn Disk>, fix: bool) -> (bool, String) {
    let mut text = Vec::new();
    let is_sound = examine(disk, None, fix, &mut text).expect("can be read");
    (is_sound, String::from_utf8(text).expect("text"))
}

#[test]
fn records_that_a_start_refuses_are_not_said_to_be_sound() {
    let set: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n";
    let rename: &[u8] = b"*3\r\n$6\r\nRENAME\r\n$1\r\na\r\n$1\r\nb\r\n";
    let past: &[u8] = b"*3\r\n$9\r\nPEXPIREAT\r\n$1\r\na\r\n$1\r\n1\r\n";
    let other: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$4\r\n9999\r\n";
    assert!(examined(&logged(&[set, rename]), false).0);
    // A key whose time has passed is there until the log says otherwise.
    assert!(examined(&logged(&[set, past, rename]), false).0);
    assert!(examined(&logged(&[other, set, rename]), false).0, "a server may have so many databases");
    for refused in [&b"*1\r\n$4\r\nNAME\r\n"[..], b"*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n", rename] {
        let text: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nx\r\n";
        let disk = logged(&[text, rename, refused, set]);
        let (is_sound, said) = examined(&disk, false);
        assert!(!is_sound && said.contains("the block has "), "{said}");
        assert!(said.contains("with 2 blocks whose headers are whole"), "{said}");
        let (is_sound, said) = examined(&disk, true);
        assert!(is_sound, "{said}");
        let report = check(&*disk, None, &|_, _| Ok((1, false))).expect("can be listed");
        assert_eq!(report.logs[0].blocks, 2);
        assert!(examined(&disk, false).0);
    }
}
