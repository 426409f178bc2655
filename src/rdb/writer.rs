//! Writes an RDB stream of version 10, which every Redis since 7.0 and every Valkey accepts; or of version 12, if a value needs that.
//!
//! The version stands at the very beginning, so it is written again in the end, and the checksum of both is put together. A server that does
//! not know version 12 (Redis before 7.4, Valkey) refuses such a file at its first bytes.

use std::io::{self, Seek, SeekFrom, Write};

use crc_fast::Digest;

use super::reader::Access;
use super::value::Body;
use super::{CHECKSUM, length, lzf, opcode};
use crate::base::number::parse_i64;

/// The version of streams and payloads that are written, unless a value needs a later one.
pub const WRITTEN_VERSION: u16 = 10;
/// The first server with each version, which streams claim to come from.
const REDIS_VERSIONS: [(u16, &[u8]); 2] = [(WRITTEN_VERSION, b"7.0.0"), (12, b"7.4.0")];
/// The longest string that may be the text of a 32-bit integer.
const INTEGER_LEN_MAX: usize = 11;
/// Longer strings are packed if that makes them smaller.
const UNPACKED_LEN_MAX: usize = 20;
/// What packing must save to be worth it.
const SAVED_MIN: usize = 4;
/// What is collected before it is written.
const BUFFER_BYTES: usize = 64 * 1024;

/// Writes records of one database after the other. What it wrote is a whole stream only after [`Writer::finish`].
pub struct Writer<W> {
    output: W,
    /// Where the stream begins in the output.
    start: u64,
    version: u16,
    buffer: Vec<u8>,
    /// Of everything behind the version and the claim.
    digest: Digest,
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a stream that says when it was made (Unix seconds) and how many bytes of memory its data took.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut output: W, created_seconds: i64, used_memory: u64) -> io::Result<Writer<W>> {
        let (start, version) = (output.stream_position()?, WRITTEN_VERSION);
        output.write_all(&head(version))?;
        let mut writer = Writer { output, start, version, buffer: Vec::new(), digest: Digest::new(CHECKSUM) };
        let (created, memory) = (created_seconds.to_string(), used_memory.to_string());
        let facts =
            [("redis-bits", &b"64"[..]), ("ctime", created.as_bytes()), ("used-mem", memory.as_bytes())];
        for (name, value) in facts {
            put_fact(&mut writer.buffer, name, value);
        }
        writer.flush_if_full()?;
        Ok(writer)
    }

    /// Begins a database, with the number of its keys and of those that expire; readers take these as hints.
    ///
    /// # Errors
    /// Those of the output.
    pub fn database(&mut self, number: u32, keys: u64, volatile: u64) -> io::Result<()> {
        self.buffer.push(opcode::SELECT_DATABASE);
        put_length(&mut self.buffer, u64::from(number));
        self.buffer.push(opcode::RESIZE_DATABASE);
        put_length(&mut self.buffer, keys);
        put_length(&mut self.buffer, volatile);
        self.flush_if_full()
    }

    /// Writes a key of the present database with its string.
    ///
    /// # Errors
    /// Those of the output.
    pub fn record(
        &mut self,
        key: &[u8],
        value: &[u8],
        expire_at_ms: Option<i64>,
        access: Option<Access>,
    ) -> io::Result<()> {
        self.attributes(expire_at_ms, access);
        self.buffer.push(opcode::STRING);
        put_string(&mut self.buffer, key);
        put_string(&mut self.buffer, value);
        self.flush_if_full()
    }

    /// Writes a key of the present database with a value of any type.
    ///
    /// # Errors
    /// Those of the output.
    pub fn value(
        &mut self,
        key: &[u8],
        value: &Body,
        expire_at_ms: Option<i64>,
        access: Option<Access>,
    ) -> io::Result<()> {
        let Some((code, content)) = value.bytes.split_first() else { return Ok(()) };
        self.version = self.version.max(value.version);
        self.attributes(expire_at_ms, access);
        self.buffer.push(*code);
        put_string(&mut self.buffer, key);
        self.buffer.extend_from_slice(content);
        self.flush_if_full()
    }

    fn attributes(&mut self, expire_at_ms: Option<i64>, access: Option<Access>) {
        if let Some(at_ms) = expire_at_ms {
            self.buffer.push(opcode::EXPIRE_MS);
            self.buffer.extend_from_slice(&at_ms.to_le_bytes());
        }
        match access {
            Some(Access::IdleSeconds(seconds)) => {
                self.buffer.push(opcode::IDLE);
                put_length(&mut self.buffer, seconds);
            }
            Some(Access::Frequency(counter)) => self.buffer.extend_from_slice(&[opcode::FREQUENCY, counter]),
            None => {}
        }
    }

    /// Ends the stream and gives the output back, everything written to it. To make a file durable is up to the caller.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.buffer.push(opcode::EOF);
        self.flush()?;
        let head = head(self.version);
        if self.version > WRITTEN_VERSION {
            self.output.seek(SeekFrom::Start(self.start))?;
            self.output.write_all(&head)?;
            self.output.seek(SeekFrom::End(0))?;
        }
        let mut whole = Digest::new(CHECKSUM);
        whole.update(&head);
        whole.combine(&self.digest);
        self.output.write_all(&whole.finalize().to_le_bytes())?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.digest.update(&self.buffer);
        self.output.write_all(&self.buffer)?;
        self.buffer.clear();
        // One large value must not keep its memory.
        self.buffer.shrink_to(2 * BUFFER_BYTES);
        Ok(())
    }
}

/// The first bytes of a stream of this version, which are as many for each.
fn head(version: u16) -> Vec<u8> {
    let mut head = format!("REDIS{version:04}").into_bytes();
    let server = REDIS_VERSIONS.iter().find(|(first, _)| *first >= version).or(REDIS_VERSIONS.last());
    put_fact(&mut head, "redis-ver", server.map_or(b"", |(_, name)| name));
    head
}

fn put_fact(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(opcode::AUXILIARY);
    put_string(out, name.as_bytes());
    put_string(out, value);
}

/// Appends a length in its shortest form.
pub(super) fn put_length(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=0x3f => out.push(number as u8),
        0x40..=0x3fff => {
            out.extend_from_slice(&(number as u16 | u16::from(length::FOURTEEN_BITS) << 14).to_be_bytes())
        }
        0x4000..=0xffff_ffff => {
            out.push(length::BITS_32);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(length::BITS_64);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends a string in the form that Redis chooses: an integer if it is the text of one that fits 32 bits, packed if it is long and
/// that saves a little, else as it is.
pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    if string.len() <= INTEGER_LEN_MAX
        && let Some(number) = parse_i64(string).and_then(|number| i32::try_from(number).ok())
    {
        return put_integer(out, number);
    }
    if string.len() > UNPACKED_LEN_MAX
        && let Some(packed) = lzf::pack(string, string.len() - SAVED_MIN)
    {
        out.push(length::SPECIAL | length::LZF);
        put_length(out, packed.len() as u64);
        put_length(out, string.len() as u64);
        out.extend_from_slice(&packed);
        return;
    }
    put_length(out, string.len() as u64);
    out.extend_from_slice(string);
}

fn put_integer(out: &mut Vec<u8>, number: i32) {
    if let Ok(number) = i8::try_from(number) {
        out.push(length::SPECIAL | length::INT_8);
        out.extend_from_slice(&number.to_le_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        out.push(length::SPECIAL | length::INT_16);
        out.extend_from_slice(&number.to_le_bytes());
    } else {
        out.push(length::SPECIAL | length::INT_32);
        out.extend_from_slice(&number.to_le_bytes());
    }
}
