//! Files of each version of the format, kept for ever in tests/data: this program and every later one reads them.
//!
//! To keep the files of a new version: raise the versions in `storage`, run `CLOAKROOM_WRITE_GOLDEN=1 cargo test --test golden`, which writes
//! `tests/data/v<version>` if that folder does not exist yet, and commit it. A folder that exists is never written again. Salts are
//! random, so encrypted files differ between two runs; what they hold does not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloakroom::keyspace::values::assembly::Assembly;
use cloakroom::keyspace::{KeyHasher, Keyspace, Reclaimer, values};
use cloakroom::storage::format::FORMAT_VERSION;
use cloakroom::storage::keys::KEY_LEN;
use cloakroom::storage::{
    Compression, Disk, EncryptionKey, EntryRecord, Form, Kind, LogFacts, LogOptions, LogReader, LogStart,
    LogWriter, Manifest, Opener, RealDisk, SnapshotOptions, SnapshotReader, SnapshotStart, SnapshotWriter,
    check,
};

/// 32 times the byte 0x47, as tests/data/README.md says.
const KEY: [u8; KEY_LEN] = [0x47; KEY_LEN];
const CREATED_MS: u64 = 1_790_000_000_000;
const LOG_OFFSET: u64 = 4711;
/// The folders of a version: whether files are compressed, and whether they are encrypted.
const FOLDERS: [(&str, bool, bool); 3] =
    [("plain", false, false), ("compressed", true, false), ("encrypted", true, true)];

fn folder(version: u16, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("v{version}")).join(name)
}

/// The manifest of version 1 is not authenticated.
fn key(version: u16, encrypted: bool) -> Option<EncryptionKey> {
    encrypted.then(|| EncryptionKey::new(KEY).accepting_plaintext(version == 1))
}

/// Each kind of entry that there is: kinds of strings, deadlines, databases, an empty value, bytes that are no text, one that compresses; from version 3 on
/// collections, small, large and in parts.
fn entries(version: u16) -> Vec<EntryRecord<'static>> {
    let plain = EntryRecord { access: 0x00ab_cdef, key: b"plain", value: b"value", ..EntryRecord::default() };
    let mut entries = vec![
        plain,
        EntryRecord { key: b"number", value: b"12345", ..plain },
        EntryRecord { key: b"text", value: b"12345", kind: Kind::Text, ..plain },
        EntryRecord { key: b"raw", value: b"changed in place", kind: Kind::Raw, ..plain },
        EntryRecord { key: b"session", expire_at_ms: Some(CREATED_MS + 1_800_000), ..plain },
        EntryRecord { key: b"elsewhere", database: 15, expire_at_ms: Some(1), ..plain },
        EntryRecord { key: b"", value: b"", ..plain },
        EntryRecord { key: b"\x00\xff\r\n", value: &[0; 300], ..plain },
    ];
    let small = |key, kind, value| EntryRecord { key, kind, value, ..plain };
    let large = |key, kind, form, value| EntryRecord { key, kind, form, value, ..plain };
    let collections = [
        // A field with a deadline in front, and one without.
        small(
            b"hash",
            Kind::Hash,
            b"\x02\0\0\0\xe0\x80\x3c\x36\xc4\xa0\x01\x04name\x05value\x02id\xd1\x39\x30",
        ),
        small(b"list", Kind::List, b"\x02\0\0\0\x01a\x02\x01b\x02"),
        small(b"set", Kind::Set, b"\x01\0\x02\0\x06member"),
        small(b"integers", Kind::Set, b"\x02\0\x01\xff\x05\0\0\0\0\0\0\0\x00\x07"),
        small(b"scores", Kind::SortedSet, b"\x02\0\0\0\xd0\x01\x01a\xe0\0\0\0\0\0\0\xf8\x3f\x01b"),
        large(b"large list", Kind::List, Form::Large, b"\0\x02\x01a\x02\x01b\x02"),
        large(b"in parts", Kind::List, Form::Head, b"\x07\0\x02\x02\x05\x01"),
        large(b"", Kind::List, Form::Leaf, b"\x07\x01\x01\x04last\x05"),
        large(b"", Kind::List, Form::Leaf, b"\x07\x05\x01\x05first\x06"),
    ];
    if version > 2 {
        entries.extend(collections);
    }
    entries
}

/// Blocks of the log of a version. From version 2 on bodies that leave sectors without bits are masked.
fn blocks(version: u16) -> Vec<Vec<u8>> {
    let [first, second]: [&[u8]; 2] = [
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n",
        b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n",
    ];
    let zeros = [b"*3\r\n$3\r\nSET\r\n$1\r\nz\r\n$1200\r\n", &[0; 1200][..], b"\r\n"].concat();
    let mut blocks = vec![first.to_vec(), second.to_vec()];
    blocks.extend((version > 1).then_some(zeros));
    blocks
}

fn write(path: &Path, compressed: bool, encrypted: bool) {
    std::fs::create_dir_all(path).expect("a folder");
    let disk = Arc::new(RealDisk::open(path).expect("a folder"));
    let key = key(FORMAT_VERSION, encrypted);
    let compression = if compressed { Compression::Zstd(1) } else { Compression::None };
    let start =
        SnapshotStart { number: 1, created_ms: CREATED_MS, databases: 16, lfu: true, log_offset: LOG_OFFSET };
    let options = SnapshotOptions { compression, key: key.as_ref(), incremental_sync: false };
    let writer = SnapshotWriter::create(disk.clone(), start, &options).expect("a file");
    let mut block = writer.block_writer().expect("memory");
    for (number, entry) in entries(FORMAT_VERSION).iter().enumerate() {
        block.push(number as u16 % 2, entry);
        // Two blocks.
        if number == 3 {
            block.flush().expect("written");
        }
    }
    block.flush().expect("written");
    drop(block);
    let snapshot = writer.finish().expect("written");
    let start = LogStart { number: 2, start_offset: LOG_OFFSET, created_ms: CREATED_MS };
    let options = LogOptions { compression: Compression::None, key: key.as_ref() };
    let mut log = LogWriter::create(&*disk, &start, &options).expect("a file");
    let blocks = blocks(FORMAT_VERSION);
    log.append(&blocks[0]).expect("written");
    log.sync().expect("synced");
    let end = log.end();
    // Taken up again: an encrypted log has a resume block here.
    let mut log = LogWriter::reopen(&*disk, 2, &options, end).expect("a file");
    blocks[1..].iter().for_each(|block| log.append(block).expect("written"));
    log.prepare(100).expect("written");
    log.sync().expect("synced");
    let logs = vec![LogFacts { number: 2, start_offset: LOG_OFFSET }];
    let manifest = Manifest { last_number: 2, written_ms: CREATED_MS, snapshot: Some(snapshot), logs };
    manifest.write(&*disk, key.as_ref()).expect("written");
}

fn read(version: u16, name: &str, compressed: bool, encrypted: bool) {
    let disk = RealDisk::open(&folder(version, name)).expect("a folder of tests/data");
    let key = key(version, encrypted);
    let manifest = Manifest::read(&disk, key.as_ref()).expect("sound").expect("there is one");
    assert_eq!((manifest.last_number, manifest.written_ms, manifest.logs.len()), (2, CREATED_MS, 1));
    let facts = manifest.snapshot.expect("it names one");
    let reader = SnapshotReader::open(&disk, &facts.name(), key.as_ref()).expect("sound");
    let header = reader.header();
    let keys = entries(version).iter().filter(|entry| entry.form != Form::Leaf).count();
    assert_eq!((header.number, header.created_ms, header.databases, header.lfu), (1, CREATED_MS, 16, true));
    assert_eq!((header.log_offset, facts.log_offset, facts.entries), (LOG_OFFSET, LOG_OFFSET, keys as u64));
    assert_eq!((reader.blocks().len(), reader.is_compressed()), (2, compressed));
    let mut opener = Opener::new().expect("memory");
    let mut expected = entries(version).into_iter();
    for block in 0..reader.blocks().len() {
        for entry in reader.read_block(block, &mut opener).expect("sound") {
            assert_eq!(Some(entry.expect("sound")), expected.next());
        }
    }
    assert_eq!(expected.next(), None);
    let mut log = LogReader::open(&disk, 2, key.as_ref()).expect("sound");
    for records in blocks(version) {
        assert_eq!(log.next_block().expect("sound"), Some(&records[..]));
    }
    assert_eq!(log.next_block().expect("sound"), None);
    assert!(log.end().offset < log.size(), "zeros are prepared behind the end");
    let report = check(&disk, key.as_ref(), &|_, _| Ok((1, false))).expect("can be listed");
    assert!(report.is_sound() && report.unnamed.is_empty(), "{report:?}");
    assert_eq!(EncryptionKey::new(KEY).id().to_string(), "d3cc9182c1739541", "a key keeps its name");
    assert_eq!(reader.key_id(), key.map(|key| key.id()));
    assert!(disk.exists("manifest").expect("can be listed"));
}

/// Not only the bytes come back: they are values, as a server loads them.
#[test]
fn what_the_files_hold_are_values() {
    let keyspace = Keyspace::new(16, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0);
    let (mut assembly, mut in_parts) = (Assembly::default(), Vec::new());
    let load = |key: &[u8], kind, is_large, value: &[u8]| {
        let entry = values::load(&keyspace, key, kind, is_large, value);
        assert!(entry.is_ok(), "{}: {:?}", key.escape_ascii(), entry.err());
    };
    for entry in entries(FORMAT_VERSION) {
        let complete = match entry.form {
            Form::Head => assembly.head(entry.key.to_vec(), entry.kind, entry.value),
            Form::Leaf => assembly.leaf(entry.value),
            form => {
                load(entry.key, entry.kind, form == Form::Large, entry.value);
                Ok(None)
            }
        };
        in_parts.extend(complete.expect("parts that belong together"));
    }
    assert!(in_parts.len() == 1 && assembly.is_empty());
    in_parts.iter().for_each(|(key, whole)| load(key, Kind::List, true, whole));
}

#[test]
fn files_of_every_version_are_read() {
    for (name, compressed, encrypted) in FOLDERS {
        let path = folder(FORMAT_VERSION, name);
        if std::env::var_os("CLOAKROOM_WRITE_GOLDEN").is_some() && !path.exists() {
            write(&path, compressed, encrypted);
        }
        // What a later version no longer writes must still be read: all versions, not only the present one.
        for version in 1..=FORMAT_VERSION {
            read(version, name, compressed, encrypted);
        }
    }
}
