//! Export: from a running server into an RDB file.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use super::connection::Address;
use super::error::Error;
use super::origin::{LiveOrigin, Origin};
use super::pace::Pace;
use crate::base::clock::Clock;
use crate::rdb::Writer;

/// See `cloakroom export --help`.
#[derive(Clone)]
pub struct ExportOptions {
    pub file: PathBuf,
    pub from: Address,
    /// Keys a second; 0 is no limit.
    pub rate: u32,
}

/// Exports, and says on standard output what was taken and what not.
///
/// # Errors
/// When the server cannot be reached or refuses, or the file cannot be written; an older file of that name then stays.
pub fn export(options: &ExportOptions) -> Result<(), Error> {
    write_file(&options.from, &options.file, options.rate)
}

/// Writes the strings of a server into a file. It is complete under its name, or not there.
pub fn write_file(from: &Address, path: &Path, rate: u32) -> Result<(), Error> {
    let mut origin = LiveOrigin::open(from, None)?;
    let mut keys = 0;
    replace_durably(path, |file| {
        let now_ms = Clock::System.now_ms();
        let mut writer = Writer::new(file, now_ms / 1000, 0).map_err(Error::file(path))?;
        let sizes: Vec<(u32, u64)> = origin.databases().to_vec();
        let mut pace = Pace::new("export", rate);
        let mut database = None;
        while let Some(batch) = origin.next_batch(pace.keys_max())? {
            for record in &batch {
                if database != Some(record.database) {
                    database = Some(record.database);
                    let size = sizes.iter().find(|(number, _)| *number == record.database);
                    // How many of them expire is not known before they were read; both numbers are hints.
                    let hint = size.map_or(0, |(_, keys)| *keys);
                    writer.database(record.database, hint, 0).map_err(Error::file(path))?;
                }
                writer
                    .record(&record.key, &record.value, record.expire_at_ms, None)
                    .map_err(Error::file(path))?;
            }
            keys += batch.len() as u64;
            pace.done(batch.len() as u64, origin.keys_expected());
        }
        pace.finish();
        writer.finish().map(drop).map_err(Error::file(path))
    })?;
    println!("{keys} keys exported to {}.", path.display());
    if origin.skipped().count() > 0 {
        println!("Not taken, because only strings exist here: {}.", origin.skipped());
    }
    Ok(())
}

/// Writes a file under another name first: what is then under its own is whole and on disk.
pub fn replace_durably(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let temporary = path.with_added_extension(format!("temp-{}", std::process::id()));
    let written = (|| {
        let mut file = BufWriter::new(File::create(&temporary).map_err(Error::file(&temporary))?);
        write(&mut file)?;
        let file = file.into_inner().map_err(|error| Error::file(path)(error.into_error()))?;
        file.sync_all().map_err(Error::file(path))?;
        fs::rename(&temporary, path).map_err(Error::file(path))?;
        // The new name is durable with its folder.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))
    })();
    if written.is_err() {
        // Only the unfinished file is left over, and the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}
