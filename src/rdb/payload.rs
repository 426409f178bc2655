//! The payload of DUMP and RESTORE: a type byte, a value, and a footer of 10 bytes (version and CRC-64, little-endian).

use super::error::Error;
use super::skip::type_name;
use super::source::Source;
use super::value::{self, Body, Collector, Decoded, Kind, Sink, Value};
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
    let mut bytes = Vec::with_capacity(value.len() + 16);
    bytes.push(opcode::STRING);
    put_string(&mut bytes, value);
    seal_payload(Body { bytes, version: WRITTEN_VERSION })
}

/// The payload of a value that is encoded already.
pub fn seal_payload(body: Body) -> Vec<u8> {
    let Body { bytes: mut payload, version } = body;
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = crc_fast::checksum(CHECKSUM, &payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// A payload whose footer is good, with a value of a type that exists here.
#[derive(Clone, Copy, Debug)]
pub struct Payload<'a> {
    kind: Kind,
    code: u8,
    valkey: bool,
    value: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Looks at footer and type.
    ///
    /// # Errors
    /// When the footer is not good, or the value of a type that does not exist here.
    pub fn open(payload: &'a [u8]) -> Result<Payload<'a>, PayloadError> {
        let (body, version) = check_footer(payload).ok_or(PayloadError::VersionOrChecksum)?;
        let (&code, value) = body.split_first().ok_or(PayloadError::Format(None))?;
        let valkey = version == VALKEY_VERSION;
        match value::kind_of(code, valkey) {
            Some(kind) => Ok(Payload { kind, code, valkey, value }),
            None => {
                Err(type_name(code, valkey).map_or(PayloadError::Format(None), PayloadError::Unsupported))
            }
        }
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The value as data.
    ///
    /// # Errors
    /// See [`Payload::give`].
    pub fn value(&self) -> Result<Value, PayloadError> {
        let mut value = Collector::new(self.kind);
        self.give(&mut value)?;
        Ok(value.into_value())
    }

    /// Gives the value to a sink. What stands behind the value is ignored, as Redis does.
    ///
    /// # Errors
    /// When the value is damaged, or a collection without elements. What the sink has got then is to be thrown away.
    pub fn give(&self, sink: &mut dyn Sink) -> Result<(), PayloadError> {
        let mut source = Source::for_bytes(self.value, self.value.len());
        match value::decode(&mut source, self.code, self.valkey, sink) {
            Ok(Decoded::Whole) => Ok(()),
            Ok(Decoded::Empty) => Err(PayloadError::Format(None)),
            Err(error) => Err(PayloadError::Format(Some(error))),
        }
    }
}

/// The part before the footer and the version, if those are good. A checksum of 0 is no way around it here.
fn check_footer(payload: &[u8]) -> Option<(&[u8], u16)> {
    let (body, footer) = payload.split_last_chunk::<FOOTER_BYTES>()?;
    let [version @ .., _, _, _, _, _, _, _, _] = footer;
    let (signed, checksum) = payload.split_last_chunk::<8>()?;
    let version = u16::from_le_bytes(*version);
    let good = (version <= PAYLOAD_VERSION_MAX || version == VALKEY_VERSION)
        && crc_fast::checksum(CHECKSUM, signed) == u64::from_le_bytes(*checksum);
    good.then_some((body, version))
}
