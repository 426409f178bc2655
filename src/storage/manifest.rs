//! The manifest: which files of the directory are the data. Whatever it does not name is rubbish or the future.
//!
//! It is replaced whole, by rename, so there is an old one or a new one at any time. That makes every larger step atomic: a snapshot or a log is
//! written and synced first, then the manifest names it, then what it no longer names is removed.
//!
//! ```text
//!   byte 0     version
//!   byte 1     1 if a key authenticates it, else 0         (from here on not in version 1)
//!   40 bytes   id of the key, HMAC-SHA256 of bytes 0 to 9 and of the encoded manifest; only if byte 1 says so
//!   bytes      Manifest, encoded                           (to here)
//!   4 bytes    CRC-32C of all before
//! ```

use std::io;

use serde::{Deserialize, Serialize};

use super::damage::{Damage, Problem};
use super::disk::{Disk, replace_file};
use super::encoding::{crc32c, decode, encode};
use super::file_header::require_no_key;
use super::keys::{EncryptionKey, KeyId, MANIFEST_TAG_LEN};

/// The file's name.
pub const MANIFEST_NAME: &str = "manifest";
/// What the names of logs and of snapshots begin with.
pub const LOG_PREFIX: &str = "log-";
pub const SNAPSHOT_PREFIX: &str = "snapshot-";
/// The version that this program writes.
const VERSION: u8 = 2;
/// Byte 1 of a manifest, and what follows.
const PLAIN: u8 = 0;
const AUTHENTICATED: u8 = 1;
/// A manifest names a snapshot and a handful of logs; it is never longer.
const MANIFEST_MAX: u64 = 1 << 20;
const CHECKSUM_LEN: usize = 4;
/// No server makes so many files, writes so many bytes, or lives for so many milliseconds.
const COUNT_MAX: u64 = 1 << 62;

/// What the data consists of: the snapshot, and then the logs in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The highest number that a file has taken, snapshot or log. No number is taken twice.
    pub last_number: u64,
    /// When this manifest was written, in milliseconds since 1970.
    pub written_ms: u64,
    /// The base; `None` if the logs begin with an empty server.
    pub snapshot: Option<SnapshotFacts>,
    /// The increments, in order; the last one is being written.
    pub logs: Vec<LogFacts>,
}

/// A snapshot, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotFacts {
    /// Its number.
    pub number: u64,
    /// When the cut was, in milliseconds since 1970.
    pub created_ms: u64,
    /// The offset of the log at the cut.
    pub log_offset: u64,
    /// How many entries it has.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl SnapshotFacts {
    /// The name of the file.
    pub fn name(&self) -> String {
        SnapshotFacts::name_of(self.number)
    }

    /// The name of the snapshot of a number.
    pub fn name_of(number: u64) -> String {
        format!("{SNAPSHOT_PREFIX}{number}.cloakroom")
    }
}

/// A log, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFacts {
    /// Its number.
    pub number: u64,
    /// The offset of its first record in the whole log.
    pub start_offset: u64,
}

impl LogFacts {
    /// The name of the file.
    pub fn name(&self) -> String {
        LogFacts::name_of(self.number)
    }

    /// The name of the log of a number.
    pub fn name_of(number: u64) -> String {
        format!("{LOG_PREFIX}{number}.cloakroom")
    }
}

impl Manifest {
    /// Reads the manifest; `None` if there is none, which is a directory without data.
    ///
    /// # Errors
    /// Damage, a version that this program does not know, the wrong key, or what the disk says.
    pub fn read(disk: &dyn Disk, key: Option<&EncryptionKey>) -> Result<Option<Manifest>, Damage> {
        let path = disk.describe(MANIFEST_NAME);
        let unreadable = |error| Damage::unreadable(&path, 0, error);
        let file = match disk.open_read(MANIFEST_NAME) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        let size = file.size().map_err(unreadable)?;
        if size > MANIFEST_MAX {
            return Err(Damage::wrong(&path, 0, "the manifest is longer than any manifest may be"));
        }
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(0, &mut bytes).map_err(unreadable)?;
        Manifest::from_bytes(&bytes, key).map(Some).map_err(|problem| Damage::new(&path, 0, problem))
    }

    /// The names of the files that are the data.
    pub fn file_names(&self) -> impl Iterator<Item = String> {
        self.snapshot.iter().map(SnapshotFacts::name).chain(self.logs.iter().map(LogFacts::name))
    }

    /// Whether a file of this name is part of the data.
    pub fn names(&self, name: &str) -> bool {
        self.file_names().any(|named| named == name)
    }

    /// Replaces the manifest, authenticated by the key if there is one. When this returns, the new one is durable.
    ///
    /// # Errors
    /// What the disk says. It is not known then which one a power cut would leave; the next successful call settles it.
    pub fn write(&self, disk: &dyn Disk, key: Option<&EncryptionKey>) -> io::Result<()> {
        replace_file(disk, MANIFEST_NAME, &self.to_bytes(key)?)
    }

    fn to_bytes(&self, key: Option<&EncryptionKey>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        encode(self, &mut body).map_err(io::Error::other)?;
        let mut bytes = vec![VERSION, if key.is_some() { AUTHENTICATED } else { PLAIN }];
        if let Some(key) = key {
            bytes.extend_from_slice(&key.id().0);
            let tag = key.manifest_tag(&[&bytes[..], &body].concat())?;
            bytes.extend_from_slice(&tag);
        }
        bytes.extend_from_slice(&body);
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        if bytes.len() as u64 > MANIFEST_MAX {
            return Err(io::Error::other("the manifest is too long"));
        }
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8], key: Option<&EncryptionKey>) -> Result<Manifest, Problem> {
        let (bytes, checksum) =
            bytes.split_last_chunk::<CHECKSUM_LEN>().ok_or_else(|| wrong("the manifest is cut off"))?;
        if crc32c(bytes) != u32::from_le_bytes(*checksum) {
            return Err(wrong("the checksum of the manifest does not match"));
        }
        let body = match bytes {
            [] => return Err(wrong("the manifest is empty")),
            [1, body @ ..] | [VERSION, PLAIN, body @ ..] => {
                require_no_key(key)?;
                body
            }
            [VERSION, AUTHENTICATED, rest @ ..] => authenticated(&bytes[..2], rest, key)?,
            [VERSION, ..] => return Err(wrong("the manifest is of no kind that its version has")),
            [version, ..] => {
                return Err(Problem::UnknownVersion { what: "the manifest", found: u32::from(*version) });
            }
        };
        let manifest: Manifest =
            decode(body).map_err(|what| Problem::Wrong(format!("the manifest cannot be read: {what}")))?;
        if manifest.is_possible() {
            Ok(manifest)
        } else {
            Err(wrong("the numbers of the manifest contradict each other"))
        }
    }

    /// Whether its numbers are such as a server counts: new ones are added to them without looking.
    fn is_possible(&self) -> bool {
        let (snapshot, logs) = (self.snapshot.iter(), self.logs.iter());
        let numbers =
            snapshot.clone().map(|snapshot| snapshot.number).chain(logs.clone().map(|log| log.number));
        let counts = snapshot
            .flat_map(|snapshot| [snapshot.log_offset, snapshot.created_ms])
            .chain(logs.map(|log| log.start_offset));
        self.last_number <= COUNT_MAX
            && numbers.clone().all(|number| number <= self.last_number)
            && counts.clone().all(|count| count <= COUNT_MAX)
            && self
                .logs
                .is_sorted_by(|log, next| log.number < next.number && log.start_offset <= next.start_offset)
    }
}

fn wrong(what: &str) -> Problem {
    Problem::Wrong(what.to_owned())
}

/// The encoded manifest of one that is authenticated.
fn authenticated<'a>(start: &[u8], rest: &'a [u8], key: Option<&EncryptionKey>) -> Result<&'a [u8], Problem> {
    let cut_off = || wrong("the manifest is cut off");
    let (id, rest) = rest.split_first_chunk().ok_or_else(cut_off)?;
    let (tag, body) = rest.split_first_chunk::<MANIFEST_TAG_LEN>().ok_or_else(cut_off)?;
    let Some(key) = key.filter(|key| key.id() == KeyId(*id)) else {
        return Err(Problem::WrongKey { file: KeyId(*id), configured: key.map(EncryptionKey::id) });
    };
    let is_right = key.is_manifest_tag(&[start, id, body].concat(), tag).map_err(Problem::Unreadable)?;
    if is_right { Ok(body) } else { Err(wrong("the manifest was not written by a holder of the key")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        let snapshot = SnapshotFacts { number: 7, created_ms: 1, log_offset: 2, entries: 3, bytes: 4 };
        let logs = vec![LogFacts { number: 8, start_offset: 2 }, LogFacts { number: 9, start_offset: 5 }];
        Manifest { last_number: 9, written_ms: 6, snapshot: Some(snapshot), logs }
    }

    fn key() -> EncryptionKey {
        EncryptionKey::new([7; 32])
    }

    /// As version 1 was written.
    fn of_version_1(manifest: &Manifest) -> Vec<u8> {
        let mut bytes = vec![1];
        encode(manifest, &mut bytes).expect("encodes");
        let checksum = crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    #[test]
    fn a_manifest_comes_back() {
        for manifest in [Manifest::default(), example()] {
            for key in [None, Some(&key())] {
                let bytes = manifest.to_bytes(key).expect("encodes");
                assert_eq!(Manifest::from_bytes(&bytes, key).expect("decodes"), manifest);
            }
            assert_eq!(Manifest::from_bytes(&of_version_1(&manifest), None).expect("decodes"), manifest);
        }
        assert_eq!(example().logs[1].name(), "log-9.cloakroom");
        assert_eq!(example().snapshot.expect("has one").name(), "snapshot-7.cloakroom");
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_damage() {
        for key in [None, Some(&key())] {
            let bytes = example().to_bytes(key).expect("encodes");
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Manifest::from_bytes(&flipped, key).is_err(), "bit {bit}");
            }
            for cut in 0..bytes.len() {
                assert!(Manifest::from_bytes(&bytes[..cut], key).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn with_a_key_nobody_else_can_write_a_manifest() {
        let bytes = example().to_bytes(Some(&key())).expect("encodes");
        for at in 0..bytes.len() - CHECKSUM_LEN {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            let end = bytes.len() - CHECKSUM_LEN;
            let checksum = crc32c(&forged[..end]);
            forged[end..].copy_from_slice(&checksum.to_le_bytes());
            assert!(Manifest::from_bytes(&forged, Some(&key())).is_err(), "byte {at}");
        }
        let other = EncryptionKey::new([8; 32]);
        let read = |key: Option<&EncryptionKey>| Manifest::from_bytes(&bytes, key).expect_err("refused");
        assert!(matches!(read(Some(&other)), Problem::WrongKey { configured: Some(_), .. }));
        assert!(matches!(read(None), Problem::WrongKey { configured: None, .. }));
        let accepting = key().accepting_plaintext(true);
        for plain in [example().to_bytes(None).expect("encodes"), of_version_1(&example())] {
            let refused = Manifest::from_bytes(&plain, Some(&key())).expect_err("refused");
            assert!(matches!(refused, Problem::NotEncrypted { .. }));
            assert_eq!(Manifest::from_bytes(&plain, Some(&accepting)).expect("accepted"), example());
        }
    }

    #[test]
    fn numbers_that_no_server_counts_are_damage() {
        let changes: [fn(&mut Manifest); 7] = [
            |manifest| manifest.last_number = u64::MAX,
            |manifest| manifest.last_number = 8,
            |manifest| manifest.snapshot.iter_mut().for_each(|snapshot| snapshot.number = 10),
            |manifest| manifest.snapshot.iter_mut().for_each(|snapshot| snapshot.log_offset = u64::MAX),
            |manifest| manifest.snapshot.iter_mut().for_each(|snapshot| snapshot.created_ms = u64::MAX),
            |manifest| manifest.logs[1].start_offset = u64::MAX,
            |manifest| manifest.logs.reverse(),
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut manifest = example();
            change(&mut manifest);
            let read = Manifest::from_bytes(&manifest.to_bytes(None).expect("encodes"), None);
            assert!(matches!(read, Err(Problem::Wrong(_))), "{index}: {read:?}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut bytes = example().to_bytes(None).expect("encodes");
        bytes[0] = VERSION + 1;
        let body = bytes.len() - CHECKSUM_LEN;
        let checksum = crc32c(&bytes[..body]);
        bytes[body..].copy_from_slice(&checksum.to_le_bytes());
        assert!(matches!(Manifest::from_bytes(&bytes, None), Err(Problem::UnknownVersion { found: 3, .. })));
    }
}
