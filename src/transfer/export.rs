//! Export: from a running server into an RDB file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::connection::Address;
use super::error::Error;
use super::origin::{LiveOrigin, Origin};
use super::pace::Pace;
use crate::base::clock::Clock;
use crate::rdb::{Record, Writer};

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

/// Writes the keys of a server into a file. It is complete under its name, or not there.
pub fn write_file(from: &Address, path: &Path, rate: u32) -> Result<(), Error> {
    let mut origin = LiveOrigin::open(from, None)?;
    let mut keys = 0;
    replace_durably(path, |file| {
        let now_ms = Clock::System.now_ms();
        let mut writer = Writer::new(file, now_ms / 1000, 0).map_err(Error::file(path))?;
        let sizes: Vec<(u32, u64)> = origin.databases().to_vec();
        let mut pace = Pace::new("export", rate);
        let mut database = None;
        let mut written = (!origin.gives_keys_once()).then(HashSet::new);
        while let Some(mut batch) = origin.next_batch(pace.keys_max())? {
            if let Some(written) = &mut written {
                batch.retain(|record| written.insert(name_of(record)));
            }
            for record in &batch {
                if database != Some(record.database) {
                    database = Some(record.database);
                    let size = sizes.iter().find(|(number, _)| *number == record.database);
                    // How many of them expire is not known before they were read; both numbers are hints.
                    let hint = size.map_or(0, |(_, keys)| *keys);
                    writer.database(record.database, hint, 0).map_err(Error::file(path))?;
                }
                writer
                    .value(&record.key, &record.value.encode(), record.expire_at_ms, None)
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
        println!("Not taken, because their values cannot be read here: {}.", origin.skipped());
    }
    Ok(())
}

/// What stands for a key among those that are written: Redis ends when it finds one twice in a file, and its own SCAN may give one twice. The
/// digest is long enough that two keys of one are not met.
fn name_of(record: &Record) -> [u8; 16] {
    let mut digest = Context::new(&SHA256);
    digest.update(&record.database.to_le_bytes());
    digest.update(&record.key);
    let mut name = [0; 16];
    name.copy_from_slice(&digest.finish().as_ref()[..16]);
    name
}

/// Removes what exports to this file have left that were killed. One that is still written is locked.
fn remove_left(path: &Path, folder: &Path) {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    // Who cannot list the folder may still write into it.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let other = entry.file_name();
        let of = other.to_str().and_then(|other| other.strip_prefix(name)?.strip_prefix(".temp-"));
        let is_ours = of.is_some_and(|number| number.parse::<u32>().is_ok());
        if is_ours && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Sessions are credentials: nobody but the user may read them. The file is locked as long as it is written.
fn create_private(path: &Path) -> io::Result<File> {
    // What an earlier process of this number has left may be anybody's.
    let _ = fs::remove_file(path);
    let file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    // Some file systems have no locks; what is left of a killed export stays there.
    let _ = file.try_lock();
    Ok(file)
}

/// Writes a file under another name first: what is then under its own is whole and on disk.
pub fn replace_durably(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let temporary = path.with_added_extension(format!("temp-{}", std::process::id()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    remove_left(path, folder);
    let written = (|| {
        let mut file = BufWriter::new(create_private(&temporary).map_err(Error::file(&temporary))?);
        write(&mut file)?;
        let file = file.into_inner().map_err(|error| Error::file(path)(error.into_error()))?;
        file.sync_all().map_err(Error::file(path))?;
        fs::rename(&temporary, path).map_err(Error::file(path))?;
        // The new name is durable with its folder.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file(folder))
    })();
    if written.is_err() {
        // Only the unfinished file is left over, and the first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    written
}
