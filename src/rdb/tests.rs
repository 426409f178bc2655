//! Files made by hand, the reader against damage, and the writer against the reader. Files of real servers are in tests/rdb/.

use std::io::Cursor;

use super::value::{Collector, Kind, Value};
use super::*;
use crate::base::random::Random;

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.push(opcode::EOF);
    let checksum = crc_fast::checksum(CHECKSUM, &bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The strings of a file; other keys are passed over.
fn read_strings(bytes: &[u8]) -> Result<(Vec<Record>, Skipped), Error> {
    let (mut reader, mut records) = (Reader::new(bytes)?, Vec::new());
    while let Some(key) = reader.next_key()? {
        if key.kind != Kind::String {
            reader.pass_over(&key)?;
            continue;
        }
        let mut value = Collector::new(key.kind);
        reader.value(&mut value)?;
        let Key { database, name: key, expire_at_ms, access, .. } = key;
        records.push(Record { database, key, value: value.into_value(), expire_at_ms, access });
    }
    Ok((records, reader.skipped().clone()))
}

fn read(bytes: &[u8]) -> Result<(Vec<Record>, Skipped), Error> {
    let mut reader = Reader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    Ok((records, reader.skipped().clone()))
}

fn record(database: u32, key: &[u8], value: &[u8]) -> Record {
    let value = Value::String(value.to_vec());
    Record { database, key: key.to_vec(), value, expire_at_ms: None, access: None }
}

/// A small file with everything in it that the writer can write.
fn sample() -> (Vec<u8>, Vec<Record>) {
    let records = vec![
        record(0, b"a", b""),
        Record { expire_at_ms: Some(1_790_000_000_123), ..record(0, b"b", b"-129") },
        Record { access: Some(Access::IdleSeconds(70_000)), ..record(0, b"1234", b"2147483647") },
        record(0, b"c", b"2147483648"),
        Record {
            expire_at_ms: Some(-5),
            access: Some(Access::Frequency(255)),
            ..record(3, b"d", &[b'x'; 300])
        },
        record(3, b"0007", b"+1"),
        record(70_000, &[0xff; 70], b"\x00\r\n"),
    ];
    let mut writer = Writer::new(Cursor::new(Vec::new()), 1_790_000_000, 1 << 33).expect("memory takes all");
    let mut database = None;
    for record in &records {
        if database != Some(record.database) {
            database = Some(record.database);
            writer.database(record.database, 20_000, 1).expect("memory takes all");
        }
        writer
            .value(&record.key, &record.value.encode(), record.expire_at_ms, record.access)
            .expect("memory takes all");
    }
    (writer.finish().expect("memory takes all").into_inner(), records)
}

#[test]
fn what_is_written_reads_as_the_same() {
    let (bytes, records) = sample();
    assert_eq!(read(&bytes).expect("a good file"), (records, Skipped::default()));
    let header = Reader::new(&bytes[..]).expect("a good header").header();
    assert_eq!(header, Header { valkey: false, version: 10 });
}

#[test]
fn strings_are_written_in_the_forms_that_redis_chooses() {
    for (string, form) in [
        (&b"0"[..], &b"\xc0\x00"[..]),
        (b"-128", b"\xc0\x80"),
        (b"128", b"\xc1\x80\x00"),
        (b"32768", b"\xc2\x00\x80\x00\x00"),
        (b"-2147483648", b"\xc2\x00\x00\x00\x80"),
        (b"2147483648", b"\x0a2147483648"),
        (b"01", b"\x0201"),
        (b"-0", b"\x02-0"),
        (b"", b"\x00"),
        (b"aaaaaaaaaaaaaaaaaaaaaa", b"\xc3\x08\x16\x01aa\xe0\x0a\x00\x00a"),
    ] {
        let mut out = Vec::new();
        writer::put_string(&mut out, string);
        assert_eq!(out.escape_ascii().to_string(), form.escape_ascii().to_string());
        assert_eq!(source::Source::new(&out[..]).string().expect("what was written"), string);
    }
}

#[test]
fn lengths_have_four_forms() {
    for (number, form) in [
        (0, &b"\x00"[..]),
        (63, b"\x3f"),
        (64, b"\x40\x40"),
        (16_383, b"\x7f\xff"),
        (16_384, b"\x80\x00\x00\x40\x00"),
        (u64::from(u32::MAX), b"\x80\xff\xff\xff\xff"),
        (1 << 32, b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"),
    ] {
        let mut out = Vec::new();
        writer::put_length(&mut out, number);
        assert_eq!(out, form, "{number}");
        assert_eq!(source::Source::new(form).length().expect("a length"), number);
    }
}

/// Values of every type, by hand: the type byte, and what follows the key.
fn other_types() -> Vec<(u8, &'static str, Vec<u8>)> {
    let stream = |revision: u32| {
        let mut bytes = b"\x01\x10________________\x03lp_".to_vec();
        bytes.extend_from_slice(&vec![5; if revision >= 2 { 8 } else { 3 }]);
        // One group with one pending entry and one consumer that has it.
        bytes.extend_from_slice(b"\x01\x01g");
        bytes.extend_from_slice(&vec![6; if revision >= 2 { 3 } else { 2 }]);
        bytes.extend_from_slice(b"\x01________________TTTTTTTT\x02");
        bytes.extend_from_slice(b"\x01\x01c");
        bytes.extend_from_slice(&vec![7; if revision >= 3 { 16 } else { 8 }]);
        bytes.extend_from_slice(b"\x01________________");
        bytes
    };
    vec![
        (1, "list", b"\x02\x01a\xc0\x05".to_vec()),
        (2, "set", b"\x01\x01a".to_vec()),
        (3, "zset", b"\x03\x01a\x031.5\x01b\xfd\x01c\xff".to_vec()),
        (4, "hash", b"\x01\x01f\xc3\x04\x03\x02abc".to_vec()),
        (5, "zset", b"\x01\x01a--------".to_vec()),
        (7, "module", b"\x81--------\x01\x05\x02\x40\x40\x03----\x04--------\x05\x02st\x00".to_vec()),
        (9, "hash", b"\x02zm".to_vec()),
        (10, "list", b"\x02zl".to_vec()),
        (11, "set", b"\x02is".to_vec()),
        (12, "zset", b"\x02zl".to_vec()),
        (13, "hash", b"\x02zl".to_vec()),
        (14, "list", b"\x02\x02zl\x02zl".to_vec()),
        (15, "stream", stream(1)),
        (16, "hash", b"\x02lp".to_vec()),
        (17, "zset", b"\x02lp".to_vec()),
        (18, "list", b"\x02\x01\x02pl\x02\x02lp".to_vec()),
        (19, "stream", stream(2)),
        (20, "set", b"\x02lp".to_vec()),
        (21, "stream", stream(3)),
        (23, "hash", b"\x02lp".to_vec()),
        (24, "hash", b"--------\x01\x05\x01f\x01v".to_vec()),
        (25, "hash", b"--------\x02lp".to_vec()),
    ]
}

#[test]
fn other_types_are_walked_over_and_counted() {
    for (kind, name, value) in other_types() {
        let mut bytes = b"REDIS0012\xfc--------\xf8\x05".to_vec();
        bytes.push(kind);
        bytes.extend_from_slice(b"\x05other");
        bytes.extend_from_slice(&value);
        bytes.extend_from_slice(b"\x00\x01k\x01v");
        let (records, skipped) =
            read_strings(&sealed(bytes)).unwrap_or_else(|error| panic!("type {kind}: {error}"));
        // The skipped key's deadline is not taken for that of the next.
        assert_eq!(records, [record(0, b"k", b"v")], "type {kind}");
        let other = SkippedType { name: name.into(), count: 1, first_key: b"other".to_vec() };
        assert_eq!(skipped.types, [other], "type {kind}");
    }
}

#[test]
fn valkey_has_its_own_header_and_hash() {
    let mut bytes = b"VALKEY080\xf3\x03job\x01\x00\x05".to_vec();
    bytes.extend_from_slice(b"\x16\x01h\x01\x01f\x01v--------\xf4\x01\x02\x03\x00\x01k\x01v");
    let (records, skipped) = read_strings(&sealed(bytes)).expect("a good file");
    assert_eq!(records, [record(0, b"k", b"v")]);
    assert_eq!(skipped.to_string(), "1 of type hash (the first is \"h\")");
}

#[test]
fn functions_and_module_data_are_reported() {
    let mut bytes = b"REDIS0010\xf5\x04code\xf7\x81--------\x02\x01\x05\x02xx\x00\xf5\x04code".to_vec();
    bytes.extend_from_slice(b"\x01\x01l\x00");
    let (_, skipped) = read_strings(&sealed(bytes)).expect("a good file");
    assert_eq!(
        skipped.to_string(),
        "2 of type function, 1 of type module data, 1 of type list (the first is \"l\")"
    );
    assert_eq!(skipped.count(), 4);
}

#[test]
fn old_versions_have_no_checksum_and_deadlines_in_seconds() {
    let bytes = b"REDIS0003\xfe\x02\xfd\x01\x00\x00\x00\x00\x01k\x01v\xff";
    let (records, _) = read(bytes).expect("a good file");
    assert_eq!(records, [Record { expire_at_ms: Some(1000), ..record(2, b"k", b"v") }]);
    let unchecked = b"REDIS0006\xfe\x02\x00\x01k\x01v\xff\0\0\0\0\0\0\0\0";
    assert_eq!(read(unchecked).expect("a checksum of 0 is none").0, [record(2, b"k", b"v")]);
}

#[test]
fn errors_say_what_and_where() {
    for (bytes, text) in [
        (&b"RED"[..], "at byte 3: the data ends in the middle of something"),
        (b"<!DOCTYPE html>", "at byte 0: this is not an RDB file: it starts with neither REDIS nor VALKEY"),
        (b"REDIS0013", "at byte 0: RDB version 0013 is not one that can be read (1 to 12, VALKEY080)"),
        (b"REDIS00+1", "at byte 0: RDB version 00+1 is not one that can be read (1 to 12, VALKEY080)"),
        (b"REDIS0010\x63\x01k", "at byte 9: 99 is not a known type of value or opcode"),
        (
            b"REDIS0010\x06\x01k",
            "at byte 9: a module's value in the oldest form, which only that module can read",
        ),
        (b"REDIS0010\xf6\x01k", "at byte 9: a function in the form of a Redis 7.0 release candidate"),
        (b"REDIS0010\x00\x82", "at byte 10: 0x82 does not begin a length"),
        (b"REDIS0010\x00\xc4", "at byte 10: 4 is not a known encoding of strings"),
        (b"REDIS0010\xfe\xc0\x01", "at byte 10: a specially encoded string where a length must be"),
        (b"REDIS0010\xfe\x80\xff\xff\xff\xff\xff", "at byte 16: the data ends in the middle of something"),
        (
            b"REDIS0010\xfe\x81\x01\x00\x00\x00\x00\x00\x00\x00",
            "at byte 10: 72057594037927936 is not the number of a database",
        ),
        (
            b"REDIS0010\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xff",
            "at byte 10: a string of 9223372036854775807 bytes is longer than any may be",
        ),
        (
            b"REDIS0010\x00\xc3\x02\x80\x10\x00\x00\x00xx",
            "at byte 10: a compressed string that does not unpack to its length",
        ),
        (b"REDIS0010\x00\x80\x10\x00\x00\x00xx", "at byte 17: the data ends in the middle of something"),
        (b"REDIS0010\x07\x01k\x05\x09", "at byte 13: 9 is not a known part of a module's value"),
        (b"REDIS0010\xff12345678", "at byte 10: the checksum is "),
    ] {
        let error = read(bytes).expect_err("a bad file").to_string();
        assert!(error.starts_with(text), "{}: {error}", bytes.escape_ascii());
    }
}

#[test]
fn any_flipped_byte_is_an_error() {
    let (bytes, records) = sample();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x40, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            if let Ok((read, _)) = read(&damaged) {
                panic!("byte {at} with {flip:#x}: read as {} records of {}", read.len(), records.len());
            }
        }
    }
    for end in 0..bytes.len() {
        assert!(read(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// Gives its bytes in pieces of random size.
struct Dribble<'a>(&'a [u8], Random);

impl std::io::Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.1.below(4) == 0 {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        let taken = buffer.len().min(self.0.len()).min(1 + self.1.below(9) as usize);
        buffer[..taken].copy_from_slice(&self.0[..taken]);
        self.0 = &self.0[taken..];
        Ok(taken)
    }
}

#[test]
fn it_does_not_matter_in_which_pieces_the_bytes_come() {
    let (bytes, records) = sample();
    for seed in 0..50 {
        let reader = Reader::new(Dribble(&bytes, Random::new(seed))).expect("a good header");
        let read: Vec<Record> = reader.map(|record| record.expect("a good record")).collect();
        assert_eq!(read, records, "seed {seed}");
    }
}

fn decode_payload(payload: &[u8]) -> Result<Value, PayloadError> {
    Payload::open(payload)?.value()
}

#[test]
fn payloads_come_back_and_damaged_ones_do_not() {
    for value in [&b""[..], b"123", b"hello", &[b'z'; 5000]] {
        let payload = encode_payload(value);
        assert_eq!(decode_payload(&payload).expect("a good payload"), Value::String(value.to_vec()));
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert!(matches!(decode_payload(&damaged), Err(PayloadError::VersionOrChecksum)), "byte {at}");
        }
    }
    // `redis-server 7.0.15`: SET k hello, DUMP k.
    assert_eq!(encode_payload(b"hello"), b"\x00\x05hello\x0a\x00cr\xdfve4 \x0a");
}

#[test]
fn a_payload_has_a_version_and_a_type_that_are_known() {
    let payload_of = |version: u16, body: &[u8]| {
        let mut bytes = [body, &version.to_le_bytes()].concat();
        bytes.extend_from_slice(&crc_fast::checksum(CHECKSUM, &bytes).to_le_bytes());
        decode_payload(&bytes)
    };
    let payload = |body: &[u8]| payload_of(PAYLOAD_VERSION_MAX, body);
    assert!(matches!(payload(b"\x07\x00"), Err(PayloadError::Unsupported("module"))));
    assert!(matches!(payload(b"\x06\x00"), Err(PayloadError::Unsupported("module"))));
    assert!(matches!(payload(b"\x12\x00"), Err(PayloadError::Format(None))));
    assert!(matches!(payload(b"\x63\x00"), Err(PayloadError::Format(None))));
    assert!(matches!(payload(b""), Err(PayloadError::Format(None))));
    assert!(matches!(payload(b"\x00\x05hell"), Err(PayloadError::Format(Some(_)))));
    let hello = Value::String(b"hello".to_vec());
    assert_eq!(payload(b"\x00\x05hello and more").expect("a good one"), hello);
    assert_eq!(payload_of(80, b"\x00\x05hello").expect("one of Valkey 9"), hello);
    assert!(matches!(payload_of(13, b"\x00\x05hello"), Err(PayloadError::VersionOrChecksum)));
}
