//! The file from which an interrupted import goes on. It is JSON, so that a user can look into it, and is removed at the end.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;

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
    pub fn load(&self, source: &str, target: &str) -> Option<State> {
        let text = fs::read(&self.path).ok()?;
        let state: State = serde_json::from_slice(&text).ok()?;
        (state.source == source && state.target == target).then_some(state)
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
