//! Where records come from: an RDB file, or a running server.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::connection::{Address, Connection, REPLY_BYTES_MAX, Reply};
use super::error::Error;
use super::fetch::{Fetched, Fetcher};
use super::state::Place;
use super::{BATCH_BYTES, BATCH_KEYS};
use crate::rdb::{Reader, Record, Skipped};

/// A stream of batches that knows where it stands.
pub trait Origin {
    /// The next records, all of one database, at most `keys_max`; `None` at the end. A batch may be empty before that.
    fn next_batch(&mut self, keys_max: usize) -> Result<Option<Vec<Record>>, Error>;
    /// Where a later import goes on behind the last batch.
    fn place(&self) -> Place;
    /// What was not taken so far.
    fn skipped(&self) -> &Skipped;
    /// About how many keys there are, for a progress bar.
    fn keys_expected(&self) -> u64;
    /// Whether deadlines are exact to the millisecond.
    fn is_exact(&self) -> bool {
        true
    }
}

/// Records of an RDB file, which is read from its beginning even if only its rest is wanted: its checksum is at its end.
pub struct FileOrigin {
    path: PathBuf,
    reader: Reader<File>,
    /// Records up to this offset are left out.
    resume_at: u64,
    /// A record of the next database that came too early.
    ahead: Option<Record>,
    /// Behind the last record that was given.
    offset: u64,
}

impl FileOrigin {
    pub fn open(path: &Path, resume_at: u64) -> Result<FileOrigin, Error> {
        let file = File::open(path).map_err(Error::file(path))?;
        let reader = Reader::new(file).map_err(Error::rdb(path))?;
        let path = path.to_owned();
        Ok(FileOrigin { path, reader, resume_at, ahead: None, offset: resume_at })
    }
}

impl Origin for FileOrigin {
    fn next_batch(&mut self, keys_max: usize) -> Result<Option<Vec<Record>>, Error> {
        let mut batch: Vec<Record> = self.ahead.take().into_iter().collect();
        let mut bytes = 0;
        while batch.len() < keys_max && bytes < BATCH_BYTES {
            // The offset is that of the last record in the batch.
            self.offset = self.offset.max(self.reader.offset());
            let Some(record) = self.reader.next_record().map_err(Error::rdb(&self.path))? else {
                return Ok((!batch.is_empty()).then_some(batch));
            };
            if self.reader.offset() <= self.resume_at {
                continue;
            }
            if batch.first().is_some_and(|first| first.database != record.database) {
                self.ahead = Some(record);
                return Ok(Some(batch));
            }
            bytes += record.key.len() + record.value.bytes();
            batch.push(record);
        }
        self.offset = self.offset.max(self.reader.offset());
        Ok(Some(batch))
    }

    fn place(&self) -> Place {
        Place::Offset(self.offset)
    }

    fn skipped(&self) -> &Skipped {
        self.reader.skipped()
    }

    fn keys_expected(&self) -> u64 {
        self.reader.keys_expected()
    }
}

/// Keys of a running server, by SCAN. What was there all the time is given at least once; what changes meanwhile is seen or not. Redis may give a
/// key twice when a table of it shrinks.
pub struct LiveOrigin {
    connection: Connection,
    fetcher: Fetcher,
    /// Databases to go through, the present one first, with the number of their keys.
    databases: Vec<(u32, u64)>,
    cursor: Vec<u8>,
    /// Keys that SCAN has given and that are not fetched yet.
    keys: Vec<Vec<u8>>,
    /// The cursor from which those keys came: where to go on as long as there are some.
    cursor_of_keys: Vec<u8>,
    selected: bool,
    skipped: Skipped,
    expected: u64,
    gives_keys_once: bool,
}

impl LiveOrigin {
    /// Starts with the first database that has keys, or goes on at a place that [`Origin::place`] gave.
    pub fn open(address: &Address, resume: Option<(u32, Vec<u8>)>) -> Result<LiveOrigin, Error> {
        let mut connection = Connection::open(address)?;
        connection.leave_no_trace()?;
        let gives_keys_once = is_cloakroom(&mut connection)?;
        let mut databases = databases(&mut connection, address.database)?;
        let expected = databases.iter().map(|(_, keys)| keys).sum();
        let mut cursor = b"0".to_vec();
        if let Some((database, place)) = resume {
            databases.retain(|(number, _)| *number >= database);
            if databases.first().is_some_and(|(number, _)| *number == database) {
                cursor = place;
            }
        }
        Ok(LiveOrigin {
            connection,
            fetcher: Fetcher::by_dump(),
            databases,
            cursor_of_keys: cursor.clone(),
            cursor,
            keys: Vec::new(),
            selected: false,
            skipped: Skipped::default(),
            expected,
            gives_keys_once,
        })
    }

    /// No key is given twice.
    pub fn gives_keys_once(&self) -> bool {
        self.gives_keys_once
    }

    /// The databases that are left, with the number of their keys.
    pub fn databases(&self) -> &[(u32, u64)] {
        &self.databases
    }

    /// Fills `keys` with the next page; false if the present database has no more.
    fn scan(&mut self, database: u32) -> Result<bool, Error> {
        if !self.selected {
            self.connection.select(database)?;
            self.selected = true;
        } else if self.cursor == b"0" {
            return Ok(false);
        }
        self.cursor_of_keys.clone_from(&self.cursor);
        let count = BATCH_KEYS.to_string();
        self.connection.queue(&[b"SCAN", &self.cursor, b"COUNT", count.as_bytes()]);
        self.connection.send()?;
        let parts = self.connection.array("SCAN")?;
        let Reply::Text(cursor) = self.connection.reply()? else { return Err(self.connection.nonsense()) };
        if parts != 2 {
            return Err(self.connection.nonsense());
        }
        let mut bytes = 0;
        for _ in 0..self.connection.array("SCAN")? {
            let Reply::Text(key) = self.connection.reply()? else { return Err(self.connection.nonsense()) };
            bytes += key.len() + size_of::<Vec<u8>>();
            if bytes > REPLY_BYTES_MAX {
                return Err(self.connection.long_reply());
            }
            self.keys.push(key);
        }
        self.cursor = cursor;
        Ok(true)
    }
}

impl Origin for LiveOrigin {
    fn next_batch(&mut self, keys_max: usize) -> Result<Option<Vec<Record>>, Error> {
        let Some((database, _)) = self.databases.first().copied() else { return Ok(None) };
        if self.keys.is_empty() && !self.scan(database)? {
            self.databases.remove(0);
            self.cursor = b"0".to_vec();
            self.cursor_of_keys = self.cursor.clone();
            self.selected = false;
            return Ok(Some(Vec::new()));
        }
        let names: Vec<&[u8]> = self.keys.iter().take(keys_max).map(Vec::as_slice).collect();
        let fetched = self.fetcher.fetch(&mut self.connection, &names)?;
        let mut batch = Vec::with_capacity(fetched.len());
        for (key, fetched) in self.keys.drain(..fetched.len()).zip(fetched) {
            match fetched {
                Fetched::Absent => {}
                Fetched::Value { value, expire_at_ms } => {
                    batch.push(Record { database, key, value, expire_at_ms, access: None });
                }
                Fetched::Other(name) => self.skipped.add(name, &key),
            }
        }
        Ok(Some(batch))
    }

    fn place(&self) -> Place {
        let cursor = if self.keys.is_empty() { &self.cursor } else { &self.cursor_of_keys };
        let database = self.databases.first().map_or(0, |(number, _)| *number);
        // A finished database is seen again from its last page on, which does no harm.
        let cursor = if cursor == b"0" { &self.cursor_of_keys } else { cursor };
        Place::Cursor { database, cursor: String::from_utf8_lossy(cursor).into_owned() }
    }

    fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    fn keys_expected(&self) -> u64 {
        self.expected
    }

    fn is_exact(&self) -> bool {
        self.fetcher.exact
    }
}

fn is_cloakroom(connection: &mut Connection) -> Result<bool, Error> {
    let Reply::Text(text) = connection.ask(&[b"INFO", b"server"])? else { return Ok(false) };
    Ok(memchr::memmem::find(&text, b"cloakroom_version:").is_some())
}

/// Databases that have keys, with their number; only one of them if the address names it.
fn databases(connection: &mut Connection, only: Option<u32>) -> Result<Vec<(u32, u64)>, Error> {
    if let Some(number) = only {
        connection.select(number)?;
        let keys = match connection.ask(&[b"DBSIZE"])? {
            Reply::Integer(keys) => keys.unsigned_abs(),
            _ => 0,
        };
        return Ok(vec![(number, keys)]);
    }
    let Reply::Text(text) = connection.ask(&[b"INFO", b"keyspace"])? else {
        // Where INFO is not allowed, the first database is most likely all there is; but that is for the user to know.
        eprintln!("INFO is refused, so it is not known which databases there are: only database 0 is read.");
        return Ok(vec![(0, 0)]);
    };
    // Lines like `db0:keys=12,expires=3,avg_ttl=0`.
    let text = String::from_utf8_lossy(&text);
    let databases = text.lines().filter_map(|line| {
        let (number, facts) = line.strip_prefix("db")?.split_once(":keys=")?;
        let keys = facts.split_once(',').map_or(facts, |(keys, _)| keys);
        Some((number.parse().ok()?, keys.trim().parse().ok()?))
    });
    Ok(databases.collect())
}
