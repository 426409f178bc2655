//! Import: from a file or a running server into a running server, or into a data directory that a server will start from.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::connection::{Address, Connection, Reply};
use super::error::Error;
use super::export::write_file;
use super::fetch::Fetched;
use super::origin::{FileOrigin, LiveOrigin, Origin};
use super::pace::Pace;
use super::state::{Place, State, StateFile};
use super::target::Target;
use crate::base::clock::Clock;
use crate::rdb::value::Value;
use crate::rdb::{Record, Skipped};
use crate::storage::manifest::MANIFEST_NAME;
use crate::storage::{DirectoryLock, RealDisk};

/// The file that a server looks for in an empty data directory.
const RDB_NAME: &str = "dump.rdb";
/// Deadlines that are computed from a remaining time may differ by this.
const INEXACT_MS: i64 = 2000;
/// A key that expires within this time may be gone before it is compared.
const EXPIRING_MS: i64 = 2000;
/// Differences that are shown one by one.
const SHOWN_MAX: u64 = 5;
/// Batches between two states on disk.
const BATCHES_A_STATE: u64 = 16;

/// What is imported.
#[derive(Clone)]
pub enum Source {
    File(PathBuf),
    Server(Address),
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        if text.contains("://") { text.parse().map(Source::Server) } else { Ok(Source::File(text.into())) }
    }
}

/// Where it goes.
#[derive(Clone)]
pub enum Destination {
    Server(Address),
    /// A data directory without data, from which no server runs yet.
    Directory(PathBuf),
}

/// See `cloakroom import --help`.
#[derive(Clone)]
pub struct ImportOptions {
    pub source: Source,
    pub into: Destination,
    /// Keys a second; 0 is no limit.
    pub rate: u32,
    /// Where the progress is kept; by default next to the file, or in the working directory.
    pub state: Option<PathBuf>,
    /// Compare everything at the end.
    pub check: bool,
}

/// Imports, and says on standard output what was taken and what not.
///
/// # Errors
/// When the source is damaged, a server cannot be reached or refuses, or what arrived differs from what was sent.
pub fn import(options: &ImportOptions) -> Result<(), Error> {
    match &options.into {
        Destination::Server(address) => import_into_server(options, address),
        Destination::Directory(folder) => import_into_directory(&options.source, folder, options.rate),
    }
}

impl Source {
    fn open(&self, place: Option<Place>) -> Result<Box<dyn Origin>, Error> {
        Ok(match (self, place) {
            (Source::File(path), Some(Place::Offset(offset))) => Box::new(FileOrigin::open(path, offset)?),
            (Source::File(path), _) => Box::new(FileOrigin::open(path, 0)?),
            (Source::Server(address), Some(Place::Cursor { database, cursor })) => {
                Box::new(LiveOrigin::open(address, Some((database, cursor.into_bytes())))?)
            }
            (Source::Server(address), _) => Box::new(LiveOrigin::open(address, None)?),
        })
    }

    /// What tells this source, in its present state, from any other.
    fn identity(&self) -> Result<String, Error> {
        match self {
            Source::File(path) => {
                let facts = std::fs::metadata(path).map_err(Error::file(path))?;
                let modified =
                    facts.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
                let modified = modified.map_or(0, |since| since.as_nanos());
                Ok(format!("{} of {} bytes, {modified}", path.display(), facts.len()))
            }
            Source::Server(address) => Ok(match run_id(address)? {
                Some(run_id) => format!("{address}, run {run_id}"),
                // It may have been started anew, and then a cursor leads anywhere: this name is never met again.
                None => format!("{address}, at {}", Clock::System.now_us()),
            }),
        }
    }

    fn state_path(&self) -> PathBuf {
        match self {
            Source::File(path) => path.with_added_extension("import-state"),
            Source::Server(address) => {
                format!("cloakroom-{}-{}.import-state", address.host, address.port).into()
            }
        }
    }
}

/// What a process of a server calls itself, if it says so.
fn run_id(address: &Address) -> Result<Option<String>, Error> {
    let Reply::Text(text) = Connection::open(address)?.ask(&[b"INFO", b"server"])? else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::to_owned))
}

fn import_into_server(options: &ImportOptions, address: &Address) -> Result<(), Error> {
    let source = options.source.identity()?;
    // A target that was started anew may have lost what it had.
    let target_name = format!("{address}, run {}", run_id(address)?.unwrap_or_default());
    let file = StateFile::new(options.state.clone().unwrap_or_else(|| options.source.state_path()));
    let earlier = file.load(&source, &target_name)?;
    let mut copied = 0;
    let mut place = None;
    if let Some(earlier) = earlier {
        println!("Going on after {} keys, as {} says.", earlier.copied, file.path().display());
        (copied, place) = (earlier.copied, Some(earlier.place));
    }
    let mut origin = options.source.open(place)?;
    let mut target = Target::open(address)?;
    let mut pace = Pace::new("import", options.rate);
    pace.done(0, 1);
    let (mut expired, mut batches) = (0, 0);
    while let Some(mut batch) = origin.next_batch(pace.keys_max())? {
        expired += drop_expired(&mut batch);
        target.put(&batch)?;
        copied += batch.len() as u64;
        batches += 1;
        if batches % BATCHES_A_STATE == 1 {
            let state =
                State { source: source.clone(), target: target_name.clone(), place: origin.place(), copied };
            file.save(&state)?;
        }
        pace.done(batch.len() as u64, origin.keys_expected());
    }
    pace.finish();
    // There is nothing left to go on with: if the comparison finds a difference, the next import must begin anew.
    file.remove();
    println!("{copied} keys imported, {expired} had expired.");
    report_skipped(origin.skipped());
    if options.check { compare(&options.source, &mut target) } else { Ok(()) }
}

/// Takes out what has expired; gives how many.
fn drop_expired(batch: &mut Vec<Record>) -> u64 {
    let (now_ms, before) = (Clock::System.now_ms(), batch.len());
    batch.retain(|record| record.expire_at_ms.is_none_or(|at_ms| at_ms > now_ms));
    (before - batch.len()) as u64
}

fn report_skipped(skipped: &Skipped) {
    if skipped.count() > 0 {
        println!("Not taken, because their values cannot be read here: {skipped}.");
    }
}

/// What the comparison found.
#[derive(Default)]
struct Comparison {
    equal: u64,
    missing: u64,
    different: u64,
    /// Sums of the records' checksums, whatever their order.
    source_sum: u64,
    target_sum: u64,
}

/// Reads the source again, and from the target what should be the same.
fn compare(source: &Source, target: &mut Target) -> Result<(), Error> {
    let mut origin = source.open(None)?;
    let mut pace = Pace::new("compare", 0);
    let mut found = Comparison::default();
    while let Some(mut batch) = origin.next_batch(pace.keys_max())? {
        drop_expired(&mut batch);
        while !batch.is_empty() {
            let arrived = target.fetch(&batch)?;
            let exact = origin.is_exact() && target.is_exact();
            pace.done(arrived.len() as u64, origin.keys_expected());
            for (record, arrived) in batch.drain(..arrived.len()).zip(arrived) {
                found.add(&record, arrived, exact);
            }
        }
    }
    pace.finish();
    let Comparison { equal, missing, different, source_sum, target_sum } = found;
    println!(
        "Compared {} keys: checksum {source_sum:016x} here, {target_sum:016x} there.",
        equal + missing + different
    );
    if missing + different > 0 {
        return Err(Error::Different(format!(
            "{missing} keys are missing and {different} differ. If the source or the target is in use, that may be why; the next import copies everything again"
        )));
    }
    println!("All are equal.");
    Ok(())
}

impl Comparison {
    fn add(&mut self, record: &Record, arrived: Fetched, exact: bool) {
        let soon_ms = Clock::System.now_ms() + EXPIRING_MS;
        let own = content(&record.value, soon_ms);
        let own_sum = checksum(record, &own, record.expire_at_ms, exact);
        self.source_sum = self.source_sum.wrapping_add(own_sum);
        let problem = match arrived {
            Fetched::Value { value, expire_at_ms } => {
                let value = content(&value, soon_ms);
                self.target_sum = self.target_sum.wrapping_add(checksum(record, &value, expire_at_ms, exact));
                if value != own {
                    "has another value"
                } else if !is_same_deadline(record.expire_at_ms, expire_at_ms, exact) {
                    "has another deadline"
                } else {
                    self.equal += 1;
                    return;
                }
            }
            Fetched::Other(_) => "is of another type",
            Fetched::Absent => {
                if goes_soon(record, soon_ms) {
                    // It has gone its way between the two looks, and counts on both sides.
                    self.target_sum = self.target_sum.wrapping_add(own_sum);
                    self.equal += 1;
                    return;
                }
                self.missing += 1;
                "is missing"
            }
        };
        if problem != "is missing" {
            self.different += 1;
        }
        if self.missing + self.different <= SHOWN_MAX {
            println!("The key \"{}\" {problem}.", record.key.escape_ascii());
        }
    }
}

/// What a value has, as bytes that are the same for equal values. Fields of a hash that are due soon do not count.
fn content(value: &Value, soon_ms: i64) -> Vec<u8> {
    if let Value::String(text) = value {
        return text.clone();
    }
    let mut value = value.clone().as_written().sorted();
    if let Value::Hash(fields) = &mut value {
        fields.retain(|field| field.due_ms.is_none_or(|due_ms| due_ms > soon_ms));
    }
    value.encode().bytes
}

/// Whether a key may be gone already when it is looked for.
fn goes_soon(record: &Record, soon_ms: i64) -> bool {
    let is_soon = |at_ms: Option<i64>| at_ms.is_some_and(|at_ms| at_ms <= soon_ms);
    let fields_go =
        matches!(&record.value, Value::Hash(fields) if fields.iter().all(|field| is_soon(field.due_ms)));
    is_soon(record.expire_at_ms) || fields_go
}

fn is_same_deadline(one: Option<i64>, other: Option<i64>, exact: bool) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one == other || !exact && one.abs_diff(other) <= INEXACT_MS as u64,
        (one, other) => one == other,
    }
}

/// The checksum of a record as the source or the target has it. Deadlines that are not exact stay out of it.
fn checksum(record: &Record, value: &[u8], expire_at_ms: Option<i64>, exact: bool) -> u64 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc64Nvme);
    digest.update(&record.database.to_le_bytes());
    digest.update(&(record.key.len() as u64).to_le_bytes());
    digest.update(&record.key);
    digest.update(value);
    if exact {
        digest.update(&expire_at_ms.unwrap_or(-1).to_le_bytes());
    }
    digest.finalize()
}

/// Where a server looks for a log of Redis, which counts more than an RDB file, unless its configuration says otherwise.
const LOG_FOLDER: &str = "appendonlydir";
const LOG_NAME: &str = "appendonly.aof";

/// Puts an RDB file where a server finds it at its start.
fn import_into_directory(source: &Source, folder: &Path, rate: u32) -> Result<(), Error> {
    let file = folder.join(RDB_NAME);
    std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
    let disk = RealDisk::open(folder).map_err(Error::file(folder))?;
    let Some(_lock) = DirectoryLock::take(&disk).map_err(Error::file(folder))? else {
        return Err(Error::Usage(format!(
            "a server is running from {}: import into it with --to",
            folder.display()
        )));
    };
    for name in [MANIFEST_NAME, RDB_NAME, LOG_FOLDER, LOG_NAME] {
        if folder.join(name).exists() {
            return Err(Error::Usage(format!(
                "{} has data already ({name}): start a server from it and import with --to",
                folder.display()
            )));
        }
    }
    match source {
        Source::Server(address) => write_file(address, &file, rate)?,
        Source::File(path) => {
            check_file(path)?;
            copy_durably(path, &file)?;
        }
    }
    println!("A server with --dir {} imports {RDB_NAME} when it starts.", folder.display());
    Ok(())
}

/// Reads a whole file, so that a damaged one is found before a server has to.
fn check_file(path: &Path) -> Result<(), Error> {
    let mut origin = FileOrigin::open(path, 0)?;
    let mut pace = Pace::new("check", 0);
    let mut keys = 0;
    while let Some(batch) = origin.next_batch(pace.keys_max())? {
        keys += batch.len() as u64;
        pace.done(batch.len() as u64, origin.keys_expected());
    }
    pace.finish();
    println!("{keys} keys will be imported.");
    report_skipped(origin.skipped());
    Ok(())
}

fn copy_durably(from: &Path, to: &Path) -> Result<(), Error> {
    super::export::replace_durably(to, |output| {
        let mut input = File::open(from).map_err(Error::file(from))?;
        std::io::copy(&mut input, output).map(drop).map_err(Error::file(to))
    })
}
