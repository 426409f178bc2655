//! The versions of snapshots and logs, and what differs between them.
//!
//! ```text
//!   1   checksums of block headers begin with nothing; no masks; a nonce is a number
//!   2   each file has a random id, with which the checksums of its block headers begin: bytes that a client has sent are never taken for
//!       a block of the file, whatever they look like; bodies may be masked (sectors.rs); nonces have random bytes (keys.rs);
//!       the index of a snapshot is several blocks, not compressed
//!   3   entries may be collections (snapshot_entry.rs), and records commands on them; else as 2, which is told apart so that a program that knows
//!       strings alone says that the file is too new for it, and not that it is damaged
//! ```

use std::io;

use super::encoding::crc32c;
use super::keys::{BlockNonce, NONCE_RANDOM_LEN, TAG_LEN, fresh_bytes};

/// The version that this program writes.
pub const FORMAT_VERSION: u16 = 3;
/// The first version whose blocks are as those of the present one.
pub const SAME_BLOCKS_FROM: u16 = 2;
/// Bytes of a file's id.
pub const ID_LEN: usize = 8;
/// The part of a block's header that its checksum is of.
pub const CHECKSUMMED: usize = 28;

/// How the blocks of a file are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Version 1. The first block of every file is made like this, because it says which version the others are.
    One,
    /// Version 2 and later, with the id of the file.
    Two(u64),
}

impl Format {
    /// That of a new file.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn of_new_file() -> io::Result<Format> {
        Ok(Format::Two(u64::from_le_bytes(fresh_bytes()?)))
    }

    /// The checksum of a block's header.
    pub fn header_checksum(self, bytes: &[u8; CHECKSUMMED]) -> u32 {
        match self {
            Format::One => crc32c(bytes),
            Format::Two(id) => {
                let mut seeded = [0; ID_LEN + CHECKSUMMED];
                seeded[..ID_LEN].copy_from_slice(&id.to_le_bytes());
                seeded[ID_LEN..].copy_from_slice(bytes);
                crc32c(&seeded)
            }
        }
    }

    /// The id that masks are made of; `None` if there are none.
    pub fn mask_id(self) -> Option<u64> {
        match self {
            Format::One => None,
            Format::Two(id) => Some(id),
        }
    }

    /// Bytes that encryption adds to a body: the tag, and what of the nonce is stored.
    pub fn seal_len(self) -> usize {
        match self {
            Format::One => TAG_LEN,
            Format::Two(_) => TAG_LEN + NONCE_RANDOM_LEN,
        }
    }

    /// A nonce for a new block, and what of it is to be stored.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new_nonce(self, sequence: u64) -> io::Result<(BlockNonce, Option<[u8; NONCE_RANDOM_LEN]>)> {
        match self {
            Format::One => Ok((BlockNonce::of_version_1(sequence), None)),
            Format::Two(_) => {
                let random = fresh_bytes()?;
                Ok((BlockNonce::new(sequence, random), Some(random)))
            }
        }
    }

    /// The nonce of a block, and the rest of its body, tag included; `None` if the body is too short.
    pub fn split_nonce(self, sequence: u64, body: &mut [u8]) -> Option<(BlockNonce, &mut [u8])> {
        match self {
            Format::One => Some((BlockNonce::of_version_1(sequence), body)),
            Format::Two(_) => {
                let (sealed, random) = body.split_last_chunk_mut()?;
                Some((BlockNonce::new(sequence, *random), sealed))
            }
        }
    }
}
