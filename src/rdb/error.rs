//! What can be wrong with RDB input, and where.

use std::fmt;
use std::io;

/// An error with its place.
#[derive(Debug)]
pub struct Error {
    /// Bytes from the beginning of the stream to the thing that is wrong.
    pub offset: u64,
    pub problem: Problem,
}

/// See the texts.
#[derive(Debug)]
pub enum Problem {
    Io(io::Error),
    Truncated,
    NotRdb,
    Version(Vec<u8>),
    Checksum {
        computed: u64,
        stored: u64,
    },
    UnknownType(u8),
    ModuleWithoutOpcodes,
    PreReleaseFunction,
    UnknownLength(u8),
    NotALength,
    UnknownString(u8),
    LongString(u64),
    Lzf,
    DatabaseNumber(u64),
    ModuleOpcode(u64),
    /// A value whose encoding is damaged; says what was found.
    Malformed(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at byte {}: {}", self.offset, self.problem)
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Io(error) => write!(formatter, "cannot be read: {error}"),
            Problem::Truncated => formatter.write_str("the data ends in the middle of something"),
            Problem::NotRdb => {
                formatter.write_str("this is not an RDB file: it starts with neither REDIS nor VALKEY")
            }
            Problem::Version(text) => {
                write!(
                    formatter,
                    "RDB version {} is not one that can be read (1 to 12, VALKEY080)",
                    text.escape_ascii()
                )
            }
            Problem::Checksum { computed, stored } => {
                write!(formatter, "the checksum is {computed:016x}, but {stored:016x} is stored")
            }
            Problem::UnknownType(byte) => write!(formatter, "{byte} is not a known type of value or opcode"),
            Problem::ModuleWithoutOpcodes => {
                formatter.write_str("a module's value in the oldest form, which only that module can read")
            }
            Problem::PreReleaseFunction => {
                formatter.write_str("a function in the form of a Redis 7.0 release candidate")
            }
            Problem::UnknownLength(byte) => write!(formatter, "{byte:#04x} does not begin a length"),
            Problem::NotALength => formatter.write_str("a specially encoded string where a length must be"),
            Problem::UnknownString(code) => write!(formatter, "{code} is not a known encoding of strings"),
            Problem::LongString(bytes) => {
                write!(formatter, "a string of {bytes} bytes is longer than any may be")
            }
            Problem::Lzf => formatter.write_str("a compressed string that does not unpack to its length"),
            Problem::DatabaseNumber(number) => write!(formatter, "{number} is not the number of a database"),
            Problem::Malformed(what) => formatter.write_str(what),
            Problem::ModuleOpcode(code) => {
                write!(formatter, "{code} is not a known part of a module's value")
            }
        }
    }
}
