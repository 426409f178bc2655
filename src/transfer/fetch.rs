//! Reading keys from a server: value and deadline of a batch of keys, in one round trip.
//!
//! Servers and their rules differ in what they allow, so the best commands are tried first: DUMP, which works for any type, then GET;
//! PEXPIRETIME, which is exact, then PTTL.
//!
//! How large values are is known only when they come. So the first keys are asked for in small numbers, and never more at a time than would
//! make up a batch if all were as large as the largest of the last ones; nor more than the server can read before its answers are.

use super::connection::{Connection, Reply};
use super::error::Error;
use super::{BATCH_BYTES, BATCH_KEYS};
use crate::base::clock::Clock;
use crate::rdb::value::Value;
use crate::rdb::{Payload, PayloadError};

/// Keys that are asked for together at first.
const WINDOW_KEYS: usize = 16;
/// Names of keys in one round trip. Requests of this size fit into the sockets' buffers, so a server that stops to read until its answers are
/// read is not waited for in vain.
const WINDOW_BYTES: usize = 16 << 10;
/// More than the name of any type there is.
const TYPE_BYTES_MAX: usize = 64;

/// What PTTL and PEXPIRETIME say of a key that is not there; -1 is said of one without a deadline.
const NO_KEY: i64 = -2;

/// What a server has under a key.
#[derive(Debug, PartialEq)]
pub enum Fetched {
    Absent,
    Value {
        value: Value,
        expire_at_ms: Option<i64>,
    },
    /// A value of a type that does not exist here, or one that GET does not tell where DUMP is not allowed.
    Other(String),
}

/// Which commands the server allows, as far as is known.
pub struct Fetcher {
    dump: bool,
    /// Deadlines are exact; else they are computed from the remaining time, which is a little late when it arrives.
    pub exact: bool,
    /// How many keys are asked for together next.
    window: usize,
    clock: Clock,
}

impl Fetcher {
    /// Values come by DUMP if the server allows it.
    pub fn by_dump() -> Fetcher {
        Fetcher { dump: true, exact: true, window: WINDOW_KEYS, clock: Clock::System }
    }

    /// Values come by GET.
    pub fn by_get() -> Fetcher {
        Fetcher { dump: false, ..Fetcher::by_dump() }
    }

    /// Fetches keys of the selected database: the first of these, as many as make up a batch.
    ///
    /// # Errors
    /// When the connection breaks, or the server allows none of the commands.
    pub fn fetch(&mut self, connection: &mut Connection, keys: &[&[u8]]) -> Result<Vec<Fetched>, Error> {
        let (mut fetched, mut bytes) = (Vec::new(), 0);
        while fetched.len() < keys.len() && bytes < BATCH_BYTES {
            let left = &keys[fetched.len()..];
            let mode = (self.dump, self.exact);
            let (some, sizes) = self.attempt(connection, &left[..self.fitting(left)])?;
            // An attempt that has learnt something is made again.
            if mode != (self.dump, self.exact) {
                continue;
            }
            let largest = sizes.iter().copied().max().unwrap_or(0);
            self.window = (BATCH_BYTES / largest.max(1)).clamp(1, BATCH_KEYS.min(2 * self.window));
            bytes += sizes.iter().sum::<usize>();
            fetched.extend(some);
        }
        Ok(fetched)
    }

    /// How many of these keys are asked for together: at least one.
    fn fitting(&self, keys: &[&[u8]]) -> usize {
        let mut bytes = 0;
        let fit = keys.iter().take(self.window).take_while(|key| {
            bytes += key.len();
            bytes <= WINDOW_BYTES
        });
        fit.count().max(1)
    }

    /// Asks for all of these keys. Gives what is there, and how large each answer was.
    fn attempt(
        &mut self,
        connection: &mut Connection,
        keys: &[&[u8]],
    ) -> Result<(Vec<Fetched>, Vec<usize>), Error> {
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
        let (mut fetched, mut sizes) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
        // All replies are read, whatever they are: the connection goes on being used.
        for _ in keys {
            let mut value = connection.reply()?;
            sizes.push(if let Reply::Text(bytes) = &value { bytes.len() } else { 0 });
            let expire_at_ms = match connection.reply()? {
                Reply::Integer(time) if time >= 0 => {
                    Some(if exact { time } else { now_ms.saturating_add(time) })
                }
                Reply::Integer(NO_KEY) => {
                    // It went between the two requests. Its value alone would be a key that never expires.
                    value = Reply::Null;
                    None
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
                Reply::Text(value) if !dump => Fetched::Value { value: Value::String(value), expire_at_ms },
                Reply::Text(payload) => match Payload::open(&payload).and_then(|payload| payload.value()) {
                    Ok(value) => Fetched::Value { value, expire_at_ms },
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
        Ok((fetched, sizes))
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
                    Reply::Text(text) => text[..text.len().min(TYPE_BYTES_MAX)].escape_ascii().to_string(),
                    _ => String::from("unknown"),
                };
            }
        }
        Ok(())
    }
}
