//! The payload of DUMP and RESTORE: a type byte, a value, and a footer of 10 bytes (version and CRC-64, little-endian).

use super::error::Error;
use super::skip::type_name;
use super::source::Source;
use super::writer::{WRITTEN_VERSION, put_string};
use super::{CHECKSUM, opcode};

/// The newest version that payloads may have (Redis 8).
pub const PAYLOAD_VERSION_MAX: u16 = 12;
/// What Valkey 9 writes. Its strings are those of Redis.
const VALKEY_VERSION: u16 = 80;
const FOOTER_BYTES: usize = 10;

/// Why a payload was refused.
#[derive(Debug)]
pub enum PayloadError {
    /// It is too short for a footer, from a newer version, or its checksum is wrong.
    VersionOrChecksum,
    /// A value of this type, which does not exist here.
    Unsupported(&'static str),
    /// Not a value.
    Format(Option<Error>),
}

/// The payload of a string.
pub fn encode_payload(value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(value.len() + 16);
    payload.push(opcode::STRING);
    put_string(&mut payload, value);
    payload.extend_from_slice(&WRITTEN_VERSION.to_le_bytes());
    let checksum = crc_fast::checksum(CHECKSUM, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The string in a payload.
///
/// # Errors
/// When it is no payload, or one of another type.
pub fn decode_payload(payload: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let body = check_footer(payload).ok_or(PayloadError::VersionOrChecksum)?;
    let Some((&kind, value)) = body.split_first() else { return Err(PayloadError::Format(None)) };
    if kind != opcode::STRING {
        return Err(type_name(kind).map_or(PayloadError::Format(None), PayloadError::Unsupported));
    }
    // What stands behind the value is ignored, as Redis does.
    Source::for_bytes(value, value.len()).string().map_err(|error| PayloadError::Format(Some(error)))
}

/// The part before the footer, if that is good. A checksum of 0 is no way around it here.
fn check_footer(payload: &[u8]) -> Option<&[u8]> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>()?;
    let [version @ .., _, _, _, _, _, _, _, _] = footer;
    let (signed, checksum) = payload.split_last_chunk::<8>()?;
    let version = u16::from_le_bytes(*version);
    let good = (version <= PAYLOAD_VERSION_MAX || version == VALKEY_VERSION)
        && crc_fast::checksum(CHECKSUM, signed) == u64::from_le_bytes(*checksum);
    good.then_some(body)
}
