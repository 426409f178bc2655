//! Reading keys from a server: value and deadline of a batch of keys, in one round trip.
//!
//! Servers and their rules differ in what they allow, so the best commands are tried first: DUMP, which works for any type, then GET;
//! PEXPIRETIME, which is exact, then PTTL.

use super::connection::{Connection, Reply};
use super::error::Error;
use crate::base::clock::Clock;
use crate::rdb::{PayloadError, decode_payload};

/// What a server has under a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Fetched {
    Absent,
    Text {
        value: Vec<u8>,
        expire_at_ms: Option<i64>,
    },
    /// A value of a type that does not exist here.
    Other(String),
}

/// Which commands the server allows, as far as is known.
pub struct Fetcher {
    dump: bool,
    /// Deadlines are exact; else they are computed from the remaining time, which is a little late when it arrives.
    pub exact: bool,
    clock: Clock,
}

impl Fetcher {
    /// Values come by DUMP if the server allows it.
    pub fn by_dump() -> Fetcher {
        Fetcher { dump: true, exact: true, clock: Clock::System }
    }

    /// Values come by GET.
    pub fn by_get() -> Fetcher {
        Fetcher { dump: false, ..Fetcher::by_dump() }
    }

    /// Fetches keys of the selected database.
    ///
    /// # Errors
    /// When the connection breaks, or the server allows none of the commands.
    pub fn fetch(&mut self, connection: &mut Connection, keys: &[&[u8]]) -> Result<Vec<Fetched>, Error> {
        loop {
            let mode = (self.dump, self.exact);
            let fetched = self.attempt(connection, keys)?;
            // An attempt that has learnt something is made again.
            if mode == (self.dump, self.exact) {
                return Ok(fetched);
            }
        }
    }

    fn attempt(&mut self, connection: &mut Connection, keys: &[&[u8]]) -> Result<Vec<Fetched>, Error> {
        // What this attempt learns counts from the next one on: all its requests are sent already.
        let (dump, exact) = (self.dump, self.exact);
        let (value_command, time_command) =
            (if dump { "DUMP" } else { "GET" }, if exact { "PEXPIRETIME" } else { "PTTL" });
        for key in keys {
            connection.queue(&[value_command.as_bytes(), key]);
            connection.queue(&[time_command.as_bytes(), key]);
        }
        connection.send()?;
        let now_ms = self.clock.now_ms();
        let mut fetched = Vec::with_capacity(keys.len());
        // All replies are read, whatever they are: the connection goes on being used.
        for _ in keys {
            let value = connection.reply()?;
            let expire_at_ms = match connection.reply()? {
                Reply::Integer(time) if time >= 0 => {
                    Some(if exact { time } else { now_ms.saturating_add(time) })
                }
                Reply::Integer(_) => None,
                Reply::Error(_) if exact => {
                    self.exact = false;
                    None
                }
                Reply::Error(text) => return Err(connection.refused(time_command, text)),
                _ => return Err(connection.nonsense()),
            };
            fetched.push(match value {
                Reply::Null => Fetched::Absent,
                Reply::Text(value) if !dump => Fetched::Text { value, expire_at_ms },
                Reply::Text(payload) => match decode_payload(&payload) {
                    Ok(value) => Fetched::Text { value, expire_at_ms },
                    Err(PayloadError::Unsupported(name)) => Fetched::Other(name.to_owned()),
                    // From a server that is newer than we know: its GET still works.
                    Err(_) => {
                        self.dump = false;
                        Fetched::Absent
                    }
                },
                Reply::Error(_) if dump => {
                    self.dump = false;
                    Fetched::Absent
                }
                Reply::Error(text) if text.starts_with("WRONGTYPE") => Fetched::Other(String::new()),
                Reply::Error(text) => return Err(connection.refused(value_command, text)),
                Reply::Integer(_) => return Err(connection.nonsense()),
            });
        }
        self.name_types(connection, keys, &mut fetched)?;
        Ok(fetched)
    }

    /// Asks for the types that GET did not tell.
    fn name_types(
        &self,
        connection: &mut Connection,
        keys: &[&[u8]],
        fetched: &mut [Fetched],
    ) -> Result<(), Error> {
        for (key, fetched) in keys.iter().zip(fetched) {
            if let Fetched::Other(name) = fetched
                && name.is_empty()
            {
                *name = match connection.ask(&[b"TYPE", key])? {
                    Reply::Text(text) => String::from_utf8_lossy(&text).into_owned(),
                    _ => String::from("unknown"),
                };
            }
        }
        Ok(())
    }
}
