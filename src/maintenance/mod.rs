//! Tools for the files of a server that does not run: `cloakroom check` and `cloakroom rekey`.
//!
//! They take the lock of the data directory, so none of them can meet a running server. What they do is in `storage`; here is what they say.

mod check;
mod rekey;

use std::fmt;
use std::io;
use std::path::Path;

use crate::storage::{DirectoryLock, EncryptionKey, KeyError, KeySource, RealDisk, RekeyError};

pub use check::{check, count_records, examine};
pub use rekey::rekey;

/// Why a tool could not do its work.
#[derive(Debug)]
pub enum ToolError {
    /// A server, or another tool, uses the directory.
    InUse(String),
    /// The directory cannot be read or written.
    Directory(String, io::Error),
    Key(KeyError),
    Rekey(RekeyError),
    /// There is nothing to do: neither an old key nor a new one.
    NoKeys,
    /// Something is wrong with the data; it has been said what.
    NotSound,
}

impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ToolError::InUse(directory) => {
                write!(f, "the data directory '{directory}' is in use: stop the server first")
            }
            ToolError::Directory(directory, error) => write!(f, "the data directory '{directory}': {error}"),
            ToolError::Key(error) => error.fmt(f),
            ToolError::Rekey(error) => error.fmt(f),
            ToolError::NoKeys => {
                write!(
                    f,
                    "give the old key, the new key, or both; without an old key the data are not encrypted yet"
                )
            }
            ToolError::NotSound => write!(f, "the data are not sound"),
        }
    }
}

impl std::error::Error for ToolError {}

impl From<KeyError> for ToolError {
    fn from(error: KeyError) -> ToolError {
        ToolError::Key(error)
    }
}

/// Where a key comes from, as options of a tool say; empty means not given.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyOptions<'a> {
    pub file: &'a str,
    pub environment: &'a str,
    pub command: &'a str,
    /// What was written without the key is read, too.
    pub accept_plaintext: bool,
}

impl KeyOptions<'_> {
    fn source(&self) -> Result<KeySource, KeyError> {
        KeySource::choose(self.file, self.environment, self.command)
    }

    fn load(&self) -> Result<Option<EncryptionKey>, KeyError> {
        let key = self.source()?.load()?;
        Ok(key.map(|key| key.accepting_plaintext(self.accept_plaintext)))
    }
}

/// Takes possession of a directory.
fn open(directory: &Path) -> Result<(RealDisk, DirectoryLock), ToolError> {
    let name = directory.display().to_string();
    let failed = |error| ToolError::Directory(directory.display().to_string(), error);
    let disk = RealDisk::open(directory).map_err(failed)?;
    let lock = DirectoryLock::take(&disk).map_err(failed)?;
    Ok((disk, lock.ok_or(ToolError::InUse(name))?))
}
