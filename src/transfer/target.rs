//! The server that receives.

use super::connection::{Address, Connection, Reply};
use super::error::Error;
use super::fetch::{Fetched, Fetcher};
use crate::rdb::Record;

/// See the module's text.
pub struct Target {
    connection: Connection,
    fetcher: Fetcher,
    /// All records go to this database, whatever they say.
    only: Option<u32>,
    selected: Option<u32>,
}

impl Target {
    pub fn open(address: &Address) -> Result<Target, Error> {
        let connection = Connection::open(address)?;
        Ok(Target { connection, fetcher: Fetcher::by_get(), only: address.database, selected: None })
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
        for record in batch {
            let deadline = record.expire_at_ms.map(|at_ms| at_ms.to_string());
            match &deadline {
                Some(at_ms) => {
                    self.connection.queue(&[b"SET", &record.key, &record.value, b"PXAT", at_ms.as_bytes()]);
                }
                None => self.connection.queue(&[b"SET", &record.key, &record.value]),
            }
        }
        self.connection.send()?;
        let mut refusal = None;
        for _ in batch {
            match self.connection.reply()? {
                Reply::Error(text) => refusal = refusal.or(Some(text)),
                Reply::Text(_) => {}
                _ => return Err(self.connection.nonsense()),
            }
        }
        refusal.map_or(Ok(()), |text| Err(self.connection.refused("SET", text)))
    }

    /// What is there under the keys of a batch.
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
