//! The body of the fuzz target `rdb_load`: any bytes as an RDB stream, as a payload of RESTORE with a good checksum, and as a string to pack.

use std::io::{self, Read};

use crc_fast::CrcAlgorithm;

use crate::rdb::{Error, Reader, Record, Writer, decode_payload, encode_payload};

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
    assert_eq!(records, again);
    assert!(error.is_none(), "{error:?}");
    let payload = [data, &[10, 0]].concat();
    let checksum = crc_fast::checksum(CrcAlgorithm::Crc64Redis, &payload);
    if let Ok(value) = decode_payload(&[&payload[..], &checksum.to_le_bytes()].concat()) {
        assert_eq!(decode_payload(&encode_payload(&value)).expect("an own payload"), value);
    }
    assert_eq!(decode_payload(&encode_payload(data)).expect("an own payload"), data);
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
        let mut writer = Writer::new(Vec::new(), 0, 0)?;
        let mut database = None;
        for record in records {
            if database != Some(record.database) {
                database = Some(record.database);
                writer.database(record.database, 0, 0)?;
            }
            writer.record(&record.key, &record.value, record.expire_at_ms, record.access)?;
        }
        writer.finish()
    };
    write().expect("memory takes everything")
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
            let (key, value) = (key.to_vec(), value.to_vec());
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
}
