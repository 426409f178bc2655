//! The first block of snapshots and logs: a version, the file's id, then a struct; and the key of the file that follows from it.
//!
//! The version (two bytes) is that of the whole file and is read before anything else, so that a program can tell "newer than I am" from
//! "damaged". The id (8 bytes, not in version 1) is what the checksums of all further blocks begin with. The block is never encrypted, because it says which key is needed; that key is derived from its bytes, so it cannot be exchanged.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::blocks::{BlockHeader, BlockKind, Compression, HEADER_LEN, Opener, Sealer};
use super::damage::{Damage, Problem};
use super::disk::DiskFile;
use super::encoding::{decode, encode};
use super::format::{FORMAT_VERSION, Format, SAME_BLOCKS_FROM};
use super::keys::{EncryptionKey, FileKey, KeyId, SALT_LEN, fresh_bytes};

/// No header has more bytes.
const BODY_MAX: u64 = 1 << 16;

/// How a file is encrypted: AES-256-GCM with a key that follows from the configured one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The public name of the configured key.
    pub key_id: KeyId,
    /// Makes this file's own key.
    pub salt: [u8; SALT_LEN],
}

impl Encryption {
    /// What a new file says of its key; `None` without one.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new(key: Option<&EncryptionKey>) -> io::Result<Option<Encryption>> {
        key.map(|key| Ok(Encryption { key_id: key.id(), salt: fresh_bytes()? })).transpose()
    }
}

/// The header of a file that was read.
pub struct FileHeader<T> {
    /// What it says.
    pub facts: T,
    /// How the other blocks are made.
    pub format: Format,
    /// Its bytes, from which the file's key follows.
    pub body: Vec<u8>,
    /// Where the next block begins.
    pub end: u64,
}

/// The header's bytes of a new file, without the block around them.
///
/// # Errors
/// If it is longer than a header may be.
pub fn header_body<T: Serialize>(format: Format, facts: &T) -> io::Result<Vec<u8>> {
    let mut body = match format {
        Format::One => 1u16.to_le_bytes().to_vec(),
        Format::Two(id) => [&FORMAT_VERSION.to_le_bytes()[..], &id.to_le_bytes()].concat(),
    };
    encode(facts, &mut body).map_err(io::Error::other)?;
    if body.len() as u64 > BODY_MAX { Err(io::Error::other("a file's header is too long")) } else { Ok(body) }
}

/// Writes the header's block at the beginning of a file; returns where the next one begins.
///
/// # Errors
/// What the disk says.
pub fn write_header(file: &dyn DiskFile, kind: BlockKind, body: &[u8]) -> io::Result<u64> {
    let mut sealer = Sealer::new(Format::One, Compression::None, None)?;
    let block = sealer.seal(kind, 0, 0, body)?;
    file.write_all_at(0, block)?;
    Ok(block.len() as u64)
}

/// Reads the header of a file of this kind and size.
///
/// # Errors
/// Damage, or a version that this program does not know.
pub fn read_header<T: DeserializeOwned>(
    file: &dyn DiskFile,
    path: &str,
    size: u64,
    kind: BlockKind,
) -> Result<FileHeader<T>, Damage> {
    let wrong = |what: &str| Damage::wrong(path, 0, what);
    if size < HEADER_LEN as u64 {
        return Err(wrong("the file is too short to have a header"));
    }
    let mut header = [0; HEADER_LEN];
    file.read_exact_at(0, &mut header).map_err(|error| Damage::unreadable(path, 0, error))?;
    let header = BlockHeader::read(&header, Format::One).map_err(wrong)?;
    if header.kind != kind || header.sequence != 0 || header.unsynced != 0 {
        return Err(wrong("the file begins with a block of another kind"));
    }
    let end = header.len_with_header();
    if end > size || u64::from(header.stored_len) > BODY_MAX {
        return Err(wrong("the file ends inside its header"));
    }
    let mut opener = Opener::new().map_err(|error| Damage::unreadable(path, 0, error))?;
    let block = opener.open_at(file, (0, end as usize), (Format::One, None), |_| Ok(()));
    let body = block.map_err(|problem| Damage::new(path, 0, problem))?;
    let (version, rest) = body.split_first_chunk().ok_or_else(|| wrong("the header has no version"))?;
    let (format, facts) = match u16::from_le_bytes(*version) {
        1 => (Format::One, rest),
        SAME_BLOCKS_FROM..=FORMAT_VERSION => {
            let (id, facts) = rest.split_first_chunk().ok_or_else(|| wrong("the header has no id"))?;
            (Format::Two(u64::from_le_bytes(*id)), facts)
        }
        version => {
            let problem = Problem::UnknownVersion { what: "the file", found: u32::from(version) };
            return Err(Damage::new(path, 0, problem));
        }
    };
    let facts = decode(facts).map_err(|what| wrong(&format!("the header cannot be read: {what}")))?;
    Ok(FileHeader { facts, format, body: body.to_vec(), end })
}

/// The key of a file that says so of its encryption.
///
/// # Errors
/// If the configured key is another one, or there is none; or if there is one that the file does without.
pub fn file_key(
    path: &str,
    encryption: Option<&Encryption>,
    body: &[u8],
    key: Option<&EncryptionKey>,
) -> Result<Option<FileKey>, Damage> {
    let Some(encryption) = encryption else {
        return require_no_key(key).map(|()| None).map_err(|problem| Damage::new(path, 0, problem));
    };
    let Some(key) = key.filter(|key| key.id() == encryption.key_id) else {
        let configured = key.map(EncryptionKey::id);
        return Err(Damage::new(path, 0, Problem::WrongKey { file: encryption.key_id, configured }));
    };
    let derived = key.for_file(&encryption.salt, body);
    derived.map(Some).map_err(|error| Damage::unreadable(path, 0, error))
}

/// Lets what was written without a key be read, if that is wanted.
///
/// # Errors
/// If a key is configured that does not accept it.
pub fn require_no_key(key: Option<&EncryptionKey>) -> Result<(), Problem> {
    match key.filter(|key| !key.accepts_plaintext()) {
        Some(key) => Err(Problem::NotEncrypted { configured: key.id() }),
        None => Ok(()),
    }
}
