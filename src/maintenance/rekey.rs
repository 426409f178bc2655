//! `cloakroom rekey DIR`: the data with another key, with one for the first time, or with none.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use super::{KeyOptions, ToolError, open};
use crate::base::clock::Clock;
use crate::storage::{self, Disk, KeySource};

/// Rewrites all files of a data directory and writes what it did.
///
/// # Errors
/// If the directory or a key cannot be used, or something cannot be read or written; the old data are in force then.
pub fn rekey(
    directory: &Path,
    old: &KeyOptions<'_>,
    new: &KeyOptions<'_>,
    out: &mut impl Write,
) -> Result<(), ToolError> {
    if (old.source()?, new.source()?) == (KeySource::None, KeySource::None) {
        return Err(ToolError::NoKeys);
    }
    let (old, new) = (old.load()?, new.load()?);
    let (disk, _lock) = open(directory)?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let now_ms = Clock::System.now_ms().max(0) as u64;
    let after = storage::rekey(&disk, old.as_ref(), new.as_ref(), now_ms).map_err(ToolError::Rekey)?;
    let written = match (after, new) {
        (None, _) => writeln!(out, "There are no data here."),
        (Some(after), new) => {
            let names: Vec<String> = after.file_names().collect();
            let how = new.map_or_else(
                || String::from("no longer encrypted"),
                |key| format!("encrypted with key {}", key.id()),
            );
            writeln!(out, "The data are {how}: {}.", names.join(", "))
        }
    };
    // The work is done, whether anybody reads about it or not.
    written.map_err(|error| ToolError::Directory(directory.display().to_string(), error))
}
