//! RDB, the snapshot format of Redis and Valkey: the way in and out.
//!
//! ```text
//! "REDIS" + 4 digits, or "VALKEY" + 3 digits
//! AUX name value ...
//! SELECTDB number  RESIZEDB keys volatile  { [EXPIRETIME_MS at] [IDLE s | FREQ f] type key value } ...
//! EOF  CRC-64 (from version 5 on; 0: none)
//! ```
//! [`Reader`] goes through such a stream and gives keys and their values ([`value`]); what does not exist here is walked over and counted in [`Skipped`].
//! [`Writer`] writes version 10. [`seal_payload`] and [`Payload`] make and read what DUMP and RESTORE exchange: one value with a footer.
//!
//! This module knows the format and nothing of databases or clients. A length in the input is never trusted for an allocation, and no
//! input makes it panic. Sources of the format: the RDB page of the Redis documentation and files that servers wrote.

mod decoder;
mod error;
mod lzf;
mod payload;
mod reader;
mod skip;
mod source;
#[cfg(test)]
mod tests;
pub mod value;
mod writer;

pub use error::{Error, Problem};
pub use payload::{PAYLOAD_VERSION_MAX, Payload, PayloadError, encode_payload, seal_payload};
pub use reader::{Access, Header, Key, Reader, Record};
pub use skip::{Skipped, SkippedType};
pub use writer::{WRITTEN_VERSION, Writer};

use crc_fast::CrcAlgorithm;

/// The checksum of RDB streams and payloads: the reflected CRC-64 with the polynomial of Jones, start 0.
const CHECKSUM: CrcAlgorithm = CrcAlgorithm::Crc64Redis;
/// The longest string that is read: what `proto-max-bulk-len` allows by default, and so the longest that a server holds.
pub const STRING_BYTES_MAX: u64 = 512 << 20;

/// What a byte between two records means, from the top of the range downward; other bytes are types of values.
mod opcode {
    pub const EOF: u8 = 255;
    pub const SELECT_DATABASE: u8 = 254;
    pub const EXPIRE_SECONDS: u8 = 253;
    pub const EXPIRE_MS: u8 = 252;
    pub const RESIZE_DATABASE: u8 = 251;
    pub const AUXILIARY: u8 = 250;
    pub const FREQUENCY: u8 = 249;
    pub const IDLE: u8 = 248;
    pub const MODULE_AUXILIARY: u8 = 247;
    /// Written by release candidates of Redis 7.0, and read by nobody else.
    pub const FUNCTION_BEFORE_RELEASE: u8 = 246;
    pub const FUNCTION: u8 = 245;
    pub const SLOT_INFO: u8 = 244;
    /// Valkey 9 only: a slot import that was under way.
    pub const SLOT_IMPORT: u8 = 243;
    /// The type of a string value.
    pub const STRING: u8 = 0;
}

/// How the first byte of a length says what follows: its upper two bits, and then the lower six.
mod length {
    pub const SIX_BITS: u8 = 0;
    pub const FOURTEEN_BITS: u8 = 1;
    pub const WIDE: u8 = 2;
    /// The whole first byte of a length of 32 or 64 bits, big-endian.
    pub const BITS_32: u8 = 0x80;
    pub const BITS_64: u8 = 0x81;
    /// Not a length: the first byte of a string in a special encoding, with that in the lower six bits.
    pub const SPECIAL: u8 = 0xc0;
    pub const INT_8: u8 = 0;
    pub const INT_16: u8 = 1;
    pub const INT_32: u8 = 2;
    pub const LZF: u8 = 3;
}
