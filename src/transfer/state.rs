//! The file from which an interrupted import goes on. It is JSON, so that a user can look into it, and is removed at the end.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;

/// A state has a few names and numbers.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// Where an import stands in its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Bytes of the file up to the last record that has arrived.
    Offset(u64),
    /// A page of SCAN.
    Cursor { database: u32, cursor: String },
}

/// What must be the same for an import to go on, and where it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The file with its size and time, or the server with its run id: a cursor means nothing to another process.
    pub source: String,
    /// The server with its run id.
    pub target: String,
    pub place: Place,
    /// Keys that have arrived.
    pub copied: u64,
}

/// A state file.
pub struct StateFile {
    path: PathBuf,
}

impl StateFile {
    pub fn new(path: PathBuf) -> StateFile {
        StateFile { path }
    }

    /// The state that was saved for this source and target; another's is ignored.
    ///
    /// # Errors
    /// When the file is something else, which must not be overwritten.
    pub fn load(&self, source: &str, target: &str) -> Result<Option<State>, Error> {
        let mut text = Vec::new();
        match File::open(&self.path).and_then(|file| file.take(STATE_BYTES_MAX).read_to_end(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file(&self.path)(error)),
        }
        let Ok(state) = serde_json::from_slice::<State>(&text) else {
            let path = self.path.display();
            return Err(Error::Usage(format!(
                "{path} is not the state of an import, and is not overwritten"
            )));
        };
        Ok((state.source == source && state.target == target).then_some(state))
    }

    /// Replaces the file as a whole. It is not forced to disk: an older state only means that more is done again.
    pub fn save(&self, state: &State) -> Result<(), Error> {
        let text = serde_json::to_vec(state).unwrap_or_default();
        let temporary = self.path.with_extension("state-temp");
        fs::write(&temporary, text)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .map_err(Error::file(&self.path))
    }

    pub fn remove(&self) {
        // What is not there need not be removed, and what stays is ignored when it no longer fits.
        let _ = fs::remove_file(&self.path);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
