//! The bodies of the fuzz targets `rdb_load` and `rdb_values`: any bytes as an RDB stream, as a payload of RESTORE with a good checksum, as a
//! string to pack, and as a value of each encoding.

use std::io::{self, Cursor, Read};

use crc_fast::CrcAlgorithm;

use crate::rdb::value::{Body, Collector, Decoded, Kind, Value};
use crate::rdb::{Error, Payload, PayloadError, Reader, Record, Writer, encode_payload, seal_payload};

/// Any bytes through everything that reads RDB. Whatever is read reads the same in other pieces, and after it was written again.
///
/// # Panics
/// When the reader, the writer or the payload's functions are at fault.
pub fn rdb_load(data: &[u8]) {
    let (records, error) = read(data);
    let (same_records, same_error) = read(OneByOne(data));
    assert_eq!(records, same_records);
    assert_eq!(error.map(|error| error.to_string()), same_error.map(|error| error.to_string()));
    let (again, error) = read(&written(&records)[..]);
    let in_order = |record: Record| Record { value: record.value.as_written().sorted(), ..record };
    let both = [records, again].map(|records| records.into_iter().map(in_order).collect::<Vec<_>>());
    assert_eq!(both[0], both[1]);
    assert!(error.is_none(), "{error:?}");
    let payload = [data, &[10, 0]].concat();
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc64Redis, &payload);
    if let Ok(payload) = Payload::open(&[&payload[..], &checksum.to_le_bytes()].concat()) {
        // Whether it is a value or an error is for the other target to judge.
        let _ = payload.value();
    }
    let payload = encode_payload(data);
    let value = Payload::open(&payload).and_then(|payload| payload.value()).expect("an own payload");
    assert_eq!(value, Value::String(data.to_vec()));
}

/// The records in front of the end or an error.
fn read(input: impl Read) -> (Vec<Record>, Option<Error>) {
    let mut records = Vec::new();
    let outcome = Reader::new(input).and_then(|reader| {
        for record in reader {
            records.push(record?);
        }
        Ok(())
    });
    (records, outcome.err())
}

fn written(records: &[Record]) -> Vec<u8> {
    let write = || -> io::Result<Vec<u8>> {
        let mut writer = Writer::new(Cursor::new(Vec::new()), 0, 0)?;
        let mut database = None;
        for record in records {
            if database != Some(record.database) {
                database = Some(record.database);
                writer.database(record.database, 0, 0)?;
            }
            writer.value(&record.key, &record.value.encode(), record.expire_at_ms, record.access)?;
        }
        writer.finish().map(Cursor::into_inner)
    };
    write().expect("memory takes everything")
}

/// The version of payloads and files for each of two dialects, which have encodings of the same number.
const DIALECTS: [(u16, &[u8]); 2] = [(12, b"REDIS0012"), (80, b"VALKEY080")];
/// More than the numbers of encodings.
const CODES: u8 = 32;

/// Any bytes as a value: the first says which encoding and whose. What is read from a payload is read from a file, too, whatever the pieces in which
/// it comes, can be passed over there, and reads the same after it was written.
///
/// # Panics
/// When the decoders or the encoder are at fault.
pub fn rdb_values(data: &[u8]) {
    let Some((&first, value)) = data.split_first() else { return };
    let (code, (version, header)) = (first % CODES, DIALECTS[usize::from(first / CODES % 2)]);
    let payload = seal_payload(Body { bytes: [&[code], value].concat(), version });
    let payload = match Payload::open(&payload) {
        Ok(payload) => payload,
        Err(PayloadError::Format(None) | PayloadError::Unsupported(_)) => return,
        Err(other) => panic!("a good footer is refused: {other:?}"),
    };
    let kind = payload.kind();
    let mut collector = Collector::new(kind);
    let outcome = payload.give(&mut collector);
    let file = [header, &[code], b"\x01k", value].concat();
    let (from_file, end) = read_value(&file[..], kind);
    let (piecemeal, _) = read_value(OneByOne(&file), kind);
    assert_eq!(format!("{from_file:?}"), format!("{piecemeal:?}"));
    match (outcome, from_file) {
        (Ok(()), Ok((Decoded::Whole, read))) => {
            let value = collector.into_value();
            assert_same(&value, &read);
            assert_eq!(end, passed_over(&file));
            assert_written(&value);
        }
        (Err(PayloadError::Format(None)), Ok((Decoded::Empty, _))) => assert_eq!(end, passed_over(&file)),
        (Err(PayloadError::Format(Some(_))), Err(_)) => {}
        other => panic!("payload and file differ: {other:?}"),
    }
}

/// The value of the first key of a file, and where it ends.
fn read_value(file: impl Read, kind: Kind) -> (Result<(Decoded, Value), Error>, u64) {
    let mut reader = Reader::new(file).expect("a good header");
    assert_eq!(reader.next_key().expect("a good key").expect("there is one").kind, kind);
    let mut collector = Collector::new(kind);
    let decoded = reader.value(&mut collector);
    (decoded.map(|decoded| (decoded, collector.into_value())), reader.offset())
}

/// Where the value of the first key ends for one who passes over it.
fn passed_over(file: &[u8]) -> u64 {
    let mut reader = Reader::new(file).expect("a good header");
    let key = reader.next_key().expect("a good key").expect("there is one");
    reader.pass_over(&key).expect("what can be read can be passed over");
    reader.offset()
}

/// Numbers compare by their bits, as -0 is another score than 0.
fn assert_same(one: &Value, other: &Value) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

fn assert_written(value: &Value) {
    let payload = seal_payload(value.encode());
    let payload = Payload::open(&payload).expect("an own payload");
    let mut collector = Collector::new(value.kind());
    payload.give(&mut collector).expect("an own payload");
    assert_same(&value.clone().as_written().sorted(), &collector.into_value().sorted());
}

/// The worst way for bytes to come.
struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(1);
        self.0.read(&mut buffer[..most])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::rdb::Access;

    /// A stream of everything that has a meaning, in any order, with lengths that fit or do not. It has no checksum, so that damage is met by
    /// what reads the parts.
    fn stream(random: &mut Random) -> Vec<u8> {
        const PIECES: [&[u8]; 24] = [
            b"\x00\x01k\x01v",
            b"\x00\xc0\x05\xc1\x00\x01",
            b"\x00\x01k\xc3\x09\x16\x01aa\xe0\x09\x00\x01aa",
            b"\x00\x01k\xc3\x03\x80\x10\x00\x00\x00abc",
            b"\x00\x81\x00\x00\x00\x00\x00\x00\x00\x02kk\x40\x02vv",
            b"\x00\x80\x1f\xff\xff\xffkk",
            b"\xfc--------",
            b"\xfd----",
            b"\xf9\x08",
            b"\xf8\x40\x80",
            b"\xfe\x03",
            b"\xfb\x40\x80\x00",
            b"\xfa\x01a\x01b",
            b"\xf7\x01\x02\x01\x05\x01s\x00",
            b"\xf5\x01f",
            b"\xf4\x01\x02\x03",
            b"\x01\x01l\x02\x01a\x01b",
            b"\x03\x01z\x01\x01a\x011",
            b"\x07\x01m\x05\x01\x02\x04--------\x00",
            b"\x18\x01h--------\x01\x05\x01f\x01v",
            b"\x0f\x01s\x00\x01\x02\x03\x00",
            b"\x16\x01h\x01\x02\x01f\x01v",
            b"\xff\0\0\0\0\0\0\0\0",
            b"\xff\x01",
        ];
        let headers: [&[u8]; 4] = [b"REDIS0012", b"REDIS0003", b"VALKEY080", b"REDIS0099"];
        let mut bytes = headers[(random.below(40) / 10) as usize].to_vec();
        for _ in 0..random.below(12) {
            bytes.extend_from_slice(PIECES[random.below(PIECES.len() as u64) as usize]);
            if random.below(8) == 0 {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] ^= random.next_u64() as u8;
            }
        }
        bytes
    }

    #[test]
    fn any_stream_reads_in_any_pieces_and_after_it_was_written() {
        for seed in 0..2000 {
            let bytes = stream(&mut Random::new(seed));
            let outcome = std::panic::catch_unwind(|| rdb_load(&bytes));
            assert!(outcome.is_ok(), "seed {seed}: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn damage_without_a_checksum_is_survived() {
        let record = |key: &[u8], value: &[u8], access| {
            let (key, value) = (key.to_vec(), Value::String(value.to_vec()));
            Record { database: 1, key, value, expire_at_ms: Some(5), access }
        };
        let bytes = written(&[
            record(b"a", b"12345", Some(Access::IdleSeconds(9))),
            record(b"b", &[b'y'; 90], Some(Access::Frequency(9))),
        ]);
        let end = bytes.len() - 8;
        for at in 0..end {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut damaged = bytes.clone();
                damaged[at] ^= flip;
                damaged[end..].fill(0);
                rdb_load(&damaged);
            }
        }
    }

    /// A value of each encoding, behind the byte that says which.
    const VALUES: [&[u8]; 30] = [
        b"\x00\x05hello",
        b"\x01\x02\x01a\xc0\x05",
        b"\x02\x02\x01a\xc0\x05",
        b"\x02\x02\xc1\x00\x01\xc0\x05",
        b"\x03\x03\x01a\x031.5\x01b\xfe\x01c\xff",
        b"\x04\x02\x01a\x01b\x01c\xc0\x05",
        b"\x05\x02\x01a\0\0\0\0\0\0\xf0\x3f\x01b\0\0\0\0\0\0\0\x80",
        b"\x07\x01m\x05\x01\x02\x00",
        b"\x09\x1a\x02\x03foo\x03\x02bar..\x05hello\x05\x00world\xff",
        b"\x0a\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\xff\xff\x01\0",
        b"\x0b\x18\x08\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\x80\x01\0\0\0\0\0\0\0",
        b"\x0c\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff",
        b"\x0d\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff",
        b"\x0e\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff",
        b"\x10\x0d\x0d\0\0\0\x02\0\x81a\x02\xc1\x00\x02\xff",
        b"\x11\x0d\x0d\0\0\0\x02\0\x81a\x02\xc1\x00\x02\xff",
        b"\x12\x02\x02\x0d\x0d\0\0\0\x02\0\x81a\x02\xc1\x00\x02\xff\x01\x03abc",
        b"\x14\x0d\x0d\0\0\0\x02\0\x81a\x02\xc1\x00\x02\xff",
        b"\x16\x02\x00\x01a\x011\x40\x80\x01b\x012",
        b"\x36\x02\x01a\x011\xff\xff\xff\xff\xff\xff\xff\xff\x01b\x012\0\0\0\0\x01\0\0\0",
        b"\x17\x10\x10\0\0\0\x03\0\x81a\x02\x01\x01\xf1\0\x70\x03\xff",
        b"\x18\0\0\0\0\x01\0\0\0\x02\x00\x01a\x011\x01\x01b\x012",
        b"\x19\0\0\0\0\0\0\0\0\x10\x10\0\0\0\x03\0\x81a\x02\x01\x01\xf1\0\x70\x03\xff",
        // A node with two entries, the second of which is deleted, and no groups.
        b"\x0f\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x27\x27\0\0\0\x0f\0\x01\x01\x01\x01\x01\x01\x81f\x02\
        \x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\x03\x01\x01\x01\x00\x01\x07\x01\x04\x01\xff\x01\x05\x00\x00",
        // No entries, one group with a pending entry and its consumer.
        b"\x0f\x00\x00\x05\x00\x01\x01g\x01\x00\x01________________TTTTTTTT\x02\x01\x01c--------\x01________________",
        b"\x13\x00\x00\x05\x00\x00\x00\x00\x00\x07\x01\x01g\x01\x00\x05\x01________________TTTTTTTT\x02\x01\x01c--------\x01\
        ________________",
        b"\x15\x00\x00\x05\x00\x00\x00\x00\x00\x07\x01\x01g\x01\x00\x05\x00\x02\x01c----------------\x00\x01d----------------\x00",
        b"\x15\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\x1d\x1d\0\0\0\x0a\0\x01\x01\x00\x01\x01\x01\x81f\x02\
        \x00\x01\x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\xff\x01\x05\x00\x00\x00\x00\x00\x01\x00",
        b"\x01\x01\xc3\x04\x03\x02abc",
    ];

    #[test]
    fn the_examples_are_values() {
        let mut whole = 0;
        for value in VALUES {
            rdb_values(value);
            let bytes = [&[value[0] % CODES], &value[1..]].concat();
            let version = DIALECTS[usize::from(value[0] / CODES)].0;
            let payload = seal_payload(Body { bytes, version });
            if let Ok(payload) = Payload::open(&payload) {
                let mut collector = Collector::new(payload.kind());
                let outcome = payload.give(&mut collector);
                assert!(outcome.is_ok(), "{}: {outcome:?}", value.escape_ascii());
                whole += 1;
            }
        }
        assert_eq!(whole, VALUES.len() - 1, "all but the module");
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error() {
        for seed in 0..6000 {
            let random = &mut Random::new(seed);
            let mut bytes = VALUES[seed as usize % VALUES.len()].to_vec();
            for _ in 0..random.below(4) {
                let at = random.below(bytes.len() as u64) as usize;
                match random.below(5) {
                    0 => bytes[at] = random.next_u64() as u8,
                    1 => bytes[at] ^= 1 << random.below(8),
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 => bytes.insert(at, random.next_u64() as u8),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let outcome = std::panic::catch_unwind(|| rdb_values(&bytes));
            assert!(outcome.is_ok(), "seed {seed}: {}", bytes.escape_ascii());
        }
    }
}
