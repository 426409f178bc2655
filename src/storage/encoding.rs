//! The only place that knows bincode and CRC-32C: structs to bytes and back, checksums, and numbers of variable length.
//!
//! Structs are encoded with fixed-width little-endian integers; lengths of lists and texts are eight bytes. Such bytes do not describe
//! themselves, so each struct that is stored stands behind a version number that is read first.

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// No encoded struct is longer: an index of this size describes a snapshot of about 500 GB.
pub const ENCODED_MAX: usize = 64 << 20;

/// The longest number of variable length: 64 bits, seven a byte.
const VARINT_MAX: usize = 10;

const CONFIGURATION: Configuration<LittleEndian, Fixint, Limit<ENCODED_MAX>> =
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<ENCODED_MAX>();

/// Appends the encoded struct.
///
/// # Errors
/// If it is longer than [`ENCODED_MAX`].
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let written = bincode::serde::encode_into_std_write(value, out, CONFIGURATION)
        .map_err(|error| error.to_string())?;
    if written > ENCODED_MAX {
        Err(format!("{written} bytes are more than a struct may take"))
    } else {
        Ok(())
    }
}

/// Decodes a struct that takes up all of `bytes`.
///
/// # Errors
/// What does not fit.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (value, read) =
        bincode::serde::decode_from_slice(bytes, CONFIGURATION).map_err(|error| error.to_string())?;
    if read == bytes.len() { Ok(value) } else { Err(format!("{} bytes are left over", bytes.len() - read)) }
}

/// The CRC-32C (Castagnoli, reflected; RFC 3720 appendix B.4) of `bytes`, by the processor's own instructions where it has them.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Appends a number, seven bits a byte, the least significant first; the high bit says that more follow (LEB128).
#[inline]
pub fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the front of `bytes`; `None` if they end before it does, or if it is longer than it needs to be or than 64 bits.
#[inline]
pub fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for (at, &byte) in bytes.iter().take(VARINT_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == VARINT_MAX - 1 && bits > 1 {
            return None;
        }
        number |= bits << (7 * at);
        if byte < 0x80 {
            // One spelling for each number: bytes that decode are the bytes that encoding gives.
            if byte == 0 && at > 0 {
                return None;
            }
            *bytes = &bytes[at + 1..];
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        // RFC 3720 B.4: 32 zeros, 32 bytes of ones, and the check value of the CRC catalogue.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn numbers_come_back_and_have_one_spelling() {
        let seed = 0x7a1e;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..10_000 {
            let number = random.next_u64() >> random.below(64);
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            bytes.push(0xaa);
            let mut rest = bytes.as_slice();
            assert_eq!(take_varint(&mut rest), Some(number));
            assert_eq!(rest, [0xaa]);
            let mut cut = &bytes[..bytes.len() - 2];
            assert_eq!(take_varint(&mut cut), None, "{number}");
        }
        for wrong in [&[0x80, 0][..], &[0xff; 10], &[0xff; 11], &[]] {
            assert_eq!(take_varint(&mut &wrong[..]), None, "{wrong:?}");
        }
        assert_eq!(
            take_varint(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1][..]),
            Some(u64::MAX)
        );
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Example {
        number: u32,
        text: Option<String>,
        list: Vec<u64>,
    }

    #[test]
    fn structs_come_back_whole_or_not_at_all() {
        let example = Example { number: 7, text: Some("seven".to_owned()), list: vec![1, u64::MAX] };
        let mut bytes = Vec::new();
        encode(&example, &mut bytes).expect("fits");
        assert_eq!(bytes.len(), 4 + 1 + 8 + 5 + 8 + 16);
        assert_eq!(decode::<Example>(&bytes).expect("decodes"), example);
        for cut in 0..bytes.len() {
            assert!(decode::<Example>(&bytes[..cut]).is_err());
        }
        bytes.push(0);
        assert!(decode::<Example>(&bytes).is_err());
        // A list that claims to be huge takes no memory for it.
        let mut huge = vec![0; 5];
        huge.extend_from_slice(&u64::MAX.to_le_bytes());
        assert!(decode::<Example>(&huge).is_err());
    }
}
