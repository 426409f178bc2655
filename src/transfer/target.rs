//! The server that receives.

use super::connection::{Address, Connection, Reply};
use super::error::Error;
use super::fetch::{Fetched, Fetcher};
use crate::rdb::value::{Kind, Value};
use crate::rdb::{Access, Record, seal_payload};

/// See the module's text.
pub struct Target {
    connection: Connection,
    /// Strings are compared by GET, which costs less than DUMP, and other values by that.
    texts: Fetcher,
    values: Fetcher,
    /// Strings with an access history go by RESTORE, which can say it. Collections always do.
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
        let (texts, values) = (Fetcher::by_get(), Fetcher::by_dump());
        let only = address.database;
        Ok(Target { connection, texts, values, restores: true, only, selected: None })
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
        let mut refusal = self.attempt(batch)?;
        if matches!(refusal, Some((Command::Restore(Kind::String), _))) {
            // An older server does not know the payload, or the user may not use the command. SET says all but the access history.
            self.restores = false;
            refusal = self.attempt(batch)?;
        }
        match refusal {
            Some((command, text)) => Err(self.connection.refused(command.name(), text)),
            None => Ok(()),
        }
    }

    /// How a record is stored.
    fn command(&self, record: &Record) -> Command {
        match record.value.kind() {
            Kind::String if !self.restores || record.access.is_none() => Command::Set,
            kind => Command::Restore(kind),
        }
    }

    /// Sends a batch. Gives the first refusal, and of what.
    fn attempt(&mut self, batch: &[Record]) -> Result<Option<(Command, String)>, Error> {
        for record in batch {
            match (self.command(record), &record.value) {
                (Command::Set, Value::String(text)) => queue_set(&mut self.connection, record, text),
                _ => queue_restore(&mut self.connection, record),
            }
        }
        self.connection.send()?;
        let mut refusal = None;
        for record in batch {
            let command = self.command(record);
            match self.connection.reply()? {
                Reply::Text(_) => {}
                Reply::Error(text) => refusal = refusal.or(Some((command, text))),
                _ => return Err(self.connection.nonsense()),
            }
        }
        Ok(refusal)
    }

    /// What is there under the first keys of a batch, see [`Fetcher::fetch`].
    pub fn fetch(&mut self, batch: &[Record]) -> Result<Vec<Fetched>, Error> {
        self.select(batch)?;
        let keys: Vec<&[u8]> = batch.iter().map(|record| record.key.as_slice()).collect();
        let only_texts = batch.iter().all(|record| record.value.kind() == Kind::String);
        let fetcher = if only_texts { &mut self.texts } else { &mut self.values };
        fetcher.fetch(&mut self.connection, &keys)
    }

    /// Whether deadlines that [`Target::fetch`] gives are exact.
    pub fn is_exact(&self) -> bool {
        self.texts.exact && self.values.exact
    }
}

/// A command that stores a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Set,
    Restore(Kind),
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Command::Set => "SET",
            Command::Restore(_) => "RESTORE",
        }
    }
}

fn queue_set(connection: &mut Connection, record: &Record, text: &[u8]) {
    let deadline = record.expire_at_ms.map(|at_ms| at_ms.to_string());
    match &deadline {
        Some(at_ms) => connection.queue(&[b"SET", &record.key, text, b"PXAT", at_ms.as_bytes()]),
        None => connection.queue(&[b"SET", &record.key, text]),
    }
}

/// A server whose eviction policy keeps another kind of history than the record has starts the key like a new one.
fn queue_restore(connection: &mut Connection, record: &Record) {
    let at_ms = record.expire_at_ms.unwrap_or(0).to_string();
    let payload = seal_payload(record.value.encode());
    let mut words: Vec<&[u8]> =
        vec![b"RESTORE", &record.key, at_ms.as_bytes(), &payload, b"REPLACE", b"ABSTTL"];
    let history = record.access.map(|access| match access {
        Access::IdleSeconds(seconds) => (&b"IDLETIME"[..], i64::try_from(seconds).unwrap_or(i64::MAX)),
        Access::Frequency(counter) => (&b"FREQ"[..], i64::from(counter)),
    });
    let number = history.map_or(String::new(), |(_, number)| number.to_string());
    if let Some((word, _)) = history {
        words.extend([word, number.as_bytes()]);
    }
    connection.queue(&words);
}
