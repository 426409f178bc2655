//! The files of a data directory: blocks, snapshots, the write log, the manifest, and the key that encrypts them.
//!
//! Knows nothing of the keyspace or of commands: an entry is a key, a value and a few numbers, a log record is bytes. Everything goes through
//! [`Disk`], so that tests can cut the power, fill the disk or fail any single operation. docs/snapshot-format.md describes each byte.
//!
//! ```text
//!   manifest ──> snapshot-<n>.cloakroom   complete or absent        (snapshot_file)
//!           └──> log-<n>.cloakroom ...    may end in a torn block   (log_file)
//!                     both are rows of blocks                       (blocks: checksum, zstd, AES-256-GCM)
//! ```
//!
//! The rule that holds everywhere: what is read back is exactly what was written, or a [`Damage`] that says where and why not. No input makes
//! a reader panic or allocate more than the file can justify.

pub mod blocks;
pub mod check;
pub mod damage;
mod direct;
pub mod disk;
pub mod encoding;
pub mod file_header;
pub mod format;
pub mod keys;
mod kind;
pub mod lock;
pub mod log_file;
pub mod log_reader;
pub mod manifest;
pub mod names;
pub mod pages;
pub mod rekey;
mod sectors;
pub mod snapshot_entry;
pub mod snapshot_file;
mod snapshot_index;
pub mod snapshot_writer;

pub use blocks::{Compression, Opener};
pub use check::{LogReport, Report, SnapshotReport, check, check_showing, repair};
pub use damage::{Damage, Problem};
pub use disk::{Disk, DiskFile, RealDisk};
pub use keys::{EncryptionKey, KeyError, KeyId, KeySource};
pub use kind::Kind;
pub use lock::DirectoryLock;
pub use log_file::{LogEnd, LogHeader, LogOptions, LogStart, LogSync, LogWriter, cut_tail, keep_tail};
pub use log_reader::{Behind, LogReader};
pub use manifest::{LogFacts, Manifest, SnapshotFacts};
pub use names::OurFile;
pub use rekey::{RekeyError, rekey};
pub use snapshot_entry::{Entries, EntryRecord, Form, encode_entry};
pub use snapshot_file::{ShardCount, SnapshotHeader, SnapshotReader};
pub use snapshot_writer::{BlockWriter, SnapshotFile, SnapshotOptions, SnapshotStart, SnapshotWriter};
