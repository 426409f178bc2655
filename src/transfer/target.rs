//! The server that receives.

use super::connection::{Address, Connection, Reply};
use super::error::Error;
use super::fetch::{Fetched, Fetcher};
use crate::rdb::{Access, Record, encode_payload};

/// See the module's text.
pub struct Target {
    connection: Connection,
    fetcher: Fetcher,
    /// Records with an access history go by RESTORE, which can say it.
    restores: bool,
    /// All records go to this database, whatever they say.
    only: Option<u32>,
    selected: Option<u32>,
}

impl Target {
    pub fn open(address: &Address) -> Result<Target, Error> {
        let mut connection = Connection::open(address)?;
        // The comparison at the end must not undo what was said of the access history.
        connection.leave_no_trace()?;
        let (only, fetcher) = (address.database, Fetcher::by_get());
        Ok(Target { connection, fetcher, restores: true, only, selected: None })
    }

    fn select(&mut self, batch: &[Record]) -> Result<(), Error> {
        let Some(first) = batch.first() else { return Ok(()) };
        let database = self.only.unwrap_or(first.database);
        if self.selected != Some(database) {
            self.connection.select(database)?;
            self.selected = Some(database);
        }
        Ok(())
    }

    /// Stores a batch of one database; keys that are there are overwritten.
    pub fn put(&mut self, batch: &[Record]) -> Result<(), Error> {
        self.select(batch)?;
        while let Some((command, text)) = self.attempt(batch)? {
            // An older server does not know the payload, or the user may not use the command. SET says all but the access history.
            if command != "RESTORE" {
                return Err(self.connection.refused(command, text));
            }
            self.restores = false;
        }
        Ok(())
    }

    /// Sends a batch. Gives the first refusal, and of what.
    fn attempt(&mut self, batch: &[Record]) -> Result<Option<(&'static str, String)>, Error> {
        let access = |record: &Record| record.access.filter(|_| self.restores);
        for record in batch {
            match access(record) {
                Some(access) => queue_restore(&mut self.connection, record, access),
                None => queue_set(&mut self.connection, record),
            }
        }
        self.connection.send()?;
        let mut refusal = None;
        for record in batch {
            let command = if access(record).is_some() { "RESTORE" } else { "SET" };
            match self.connection.reply()? {
                Reply::Error(text) => refusal = refusal.or(Some((command, text))),
                Reply::Text(_) => {}
                _ => return Err(self.connection.nonsense()),
            }
        }
        Ok(refusal)
    }

    /// What is there under the first keys of a batch, see [`Fetcher::fetch`].
    pub fn fetch(&mut self, batch: &[Record]) -> Result<Vec<Fetched>, Error> {
        self.select(batch)?;
        let keys: Vec<&[u8]> = batch.iter().map(|record| record.key.as_slice()).collect();
        self.fetcher.fetch(&mut self.connection, &keys)
    }

    /// Whether deadlines that [`Target::fetch`] gives are exact.
    pub fn is_exact(&self) -> bool {
        self.fetcher.exact
    }
}

fn queue_set(connection: &mut Connection, record: &Record) {
    let deadline = record.expire_at_ms.map(|at_ms| at_ms.to_string());
    match &deadline {
        Some(at_ms) => {
            connection.queue(&[b"SET", &record.key, &record.value, b"PXAT", at_ms.as_bytes()]);
        }
        None => connection.queue(&[b"SET", &record.key, &record.value]),
    }
}

/// A server whose eviction policy keeps another kind of history than the record has starts the key like a new one.
fn queue_restore(connection: &mut Connection, record: &Record, access: Access) {
    let (at_ms, payload) = (record.expire_at_ms.unwrap_or(0).to_string(), encode_payload(&record.value));
    let (word, number): (&[u8], i64) = match access {
        Access::IdleSeconds(seconds) => (b"IDLETIME", i64::try_from(seconds).unwrap_or(i64::MAX)),
        Access::Frequency(counter) => (b"FREQ", i64::from(counter)),
    };
    let number = number.to_string();
    connection.queue(&[
        b"RESTORE",
        &record.key,
        at_ms.as_bytes(),
        &payload,
        b"REPLACE",
        b"ABSTTL",
        word,
        number.as_bytes(),
    ]);
}
