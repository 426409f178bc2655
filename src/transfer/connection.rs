//! A connection to a server, from the client's side: pipelined requests, and replies decoded by `redis-protocol`.
//!
//! That decoder goes into nested arrays by recursion. It never meets one here: the head of an array is read by itself
//! ([`Connection::array`]), and its elements one by one, so no server can exhaust the stack.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::time::Duration;

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::error::Error;
use crate::base::number::parse_i64;

const DEFAULT_PORT: u16 = 6379;
/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 64 * 1024;
/// More than the longest string that servers hold by default.
pub const REPLY_BYTES_MAX: usize = (512 << 20) + 64;
/// The longest head of an array.
const HEAD_BYTES_MAX: usize = 32;

/// `redis://[[user][:password]@]host[:port][/database]`
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    pub port: u16,
    pub user: String,
    pub password: String,
    /// `None` if the address names none.
    pub database: Option<u32>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let bad = |what: &str| {
            format!("{what}, where redis://[[user]:password@]host[:port][/database] is expected")
        };
        let rest = text.strip_prefix("redis://").ok_or_else(|| bad("this does not start with redis://"))?;
        let (rest, database) = match rest.split_once('/') {
            None | Some((_, "")) => (rest.trim_end_matches('/'), None),
            Some((rest, number)) => {
                (rest, Some(number.parse().map_err(|_| bad("the database is no number"))?))
            }
        };
        let (credentials, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = credentials.split_once(':').unwrap_or(("", credentials));
        // An IPv6 address stands in brackets, because it has colons itself.
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| bad("the port is no number"))?)
            }
            _ => (rest, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let plain = |text: &str| percent_decoded(text).ok_or_else(|| bad("a % sequence is broken"));
        Ok(Address { host: host.to_owned(), port, user: plain(user)?, password: plain(password)?, database })
    }
}

/// Replaces `%40` and the like.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, behind) = rest.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Display for Address {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)?;
        self.database.map_or(Ok(()), |database| write!(formatter, "/{database}"))
    }
}

/// A reply that is no array.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Text(Vec<u8>),
    Integer(i64),
    Null,
    Error(String),
}

/// See the module's text.
pub struct Connection {
    stream: TcpStream,
    server: String,
    output: Vec<u8>,
    input: Vec<u8>,
    /// How much of `input` is consumed.
    at: usize,
}

impl Connection {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub fn open(address: &Address) -> Result<Connection, Error> {
        let server = address.to_string();
        let connected = TcpStream::connect((address.host.as_str(), address.port)).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| Error::Network { server: server.clone(), error })?;
        let mut connection = Connection { stream, server, output: Vec::new(), input: Vec::new(), at: 0 };
        if !address.password.is_empty() {
            let (user, password) = (address.user.as_bytes(), address.password.as_bytes());
            let words: &[&[u8]] =
                if user.is_empty() { &[b"AUTH", password] } else { &[b"AUTH", user, password] };
            connection.expect_ok("AUTH", words)?;
        }
        Ok(connection)
    }

    /// Adds a request to what the next [`Connection::send`] sends.
    pub fn queue(&mut self, words: &[&[u8]]) {
        let output = &mut self.output;
        output.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
        for word in words {
            output.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            output.extend_from_slice(word);
            output.extend_from_slice(b"\r\n");
        }
    }

    /// Sends the queued requests.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send(&mut self) -> Result<(), Error> {
        let sent = self.stream.write_all(&self.output);
        self.output.clear();
        sent.map_err(|error| self.broken(error))
    }

    /// Reads a reply that is no array.
    ///
    /// # Errors
    /// When the connection is broken, or the server sends something else.
    pub fn reply(&mut self) -> Result<Reply, Error> {
        loop {
            let waiting = &self.input[self.at..];
            if waiting.first() == Some(&b'*') {
                return Err(self.nonsense());
            }
            match decode(waiting) {
                Ok(Some((frame, taken))) => {
                    self.at += taken;
                    return match frame {
                        OwnedFrame::SimpleString(text) | OwnedFrame::BulkString(text) => {
                            Ok(Reply::Text(text))
                        }
                        OwnedFrame::Integer(number) => Ok(Reply::Integer(number)),
                        OwnedFrame::Null => Ok(Reply::Null),
                        OwnedFrame::Error(text) => Ok(Reply::Error(text)),
                        OwnedFrame::Array(_) => Err(self.nonsense()),
                    };
                }
                Ok(None) => self.receive()?,
                Err(_) => return Err(self.nonsense()),
            }
        }
    }

    /// Reads the head of an array: the number of the replies that follow, or the error that came instead.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn array(&mut self, command: &'static str) -> Result<usize, Error> {
        while self.at == self.input.len() {
            self.receive()?;
        }
        if self.input[self.at] != b'*' {
            return match self.reply()? {
                Reply::Error(text) => Err(self.refused(command, text)),
                _ => Err(self.nonsense()),
            };
        }
        loop {
            let waiting = &self.input[self.at + 1..];
            if let Some(end) = memchr::memchr(b'\r', waiting).filter(|end| waiting.len() > end + 1) {
                let count = parse_i64(&waiting[..end]).and_then(|count| usize::try_from(count).ok());
                self.at += 1 + end + 2;
                return count.ok_or_else(|| self.nonsense());
            }
            if waiting.len() > HEAD_BYTES_MAX {
                return Err(self.nonsense());
            }
            self.receive()?;
        }
    }

    /// Sends one request and reads its reply, which is no array.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Error> {
        self.queue(words);
        self.send()?;
        self.reply()
    }

    /// Sends one request that must succeed.
    ///
    /// # Errors
    /// As [`Connection::reply`], and when the server refuses.
    pub fn expect_ok(&mut self, command: &'static str, words: &[&[u8]]) -> Result<(), Error> {
        match self.ask(words)? {
            Reply::Error(text) => Err(self.refused(command, text)),
            _ => Ok(()),
        }
    }

    /// Asks the server not to take this connection's reads for use of the keys; one that does not know how is read all the same.
    ///
    /// # Errors
    /// As [`Connection::reply`].
    pub fn leave_no_trace(&mut self) -> Result<(), Error> {
        self.ask(&[b"CLIENT", b"NO-TOUCH", b"ON"]).map(drop)
    }

    /// Selects a database.
    ///
    /// # Errors
    /// As [`Connection::expect_ok`].
    pub fn select(&mut self, database: u32) -> Result<(), Error> {
        self.expect_ok("SELECT", &[b"SELECT", database.to_string().as_bytes()])
    }

    fn receive(&mut self) -> Result<(), Error> {
        self.input.drain(..self.at);
        self.at = 0;
        if self.input.len() > REPLY_BYTES_MAX {
            return Err(self.long_reply());
        }
        let before = self.input.len();
        self.input.resize(before + READ_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.input[before..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.input.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(self.broken(error)),
        }
    }

    fn broken(&self, error: io::Error) -> Error {
        Error::Network { server: self.server.clone(), error }
    }

    pub fn nonsense(&self) -> Error {
        Error::Protocol { server: self.server.clone() }
    }

    pub fn long_reply(&self) -> Error {
        Error::LongReply { server: self.server.clone() }
    }

    pub fn refused(&self, command: &'static str, text: String) -> Error {
        Error::Refused { server: self.server.clone(), command, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_optional_parts() {
        let parts = |text: &str| {
            let address: Address = text.parse().expect("a good address");
            (address.host, address.port, address.user, address.password, address.database)
        };
        let expected = |host: &str, port, user: &str, password: &str, database| {
            (host.to_owned(), port, user.to_owned(), password.to_owned(), database)
        };
        assert_eq!(parts("redis://localhost"), expected("localhost", 6379, "", "", None));
        assert_eq!(parts("redis://10.0.0.1:7000/3"), expected("10.0.0.1", 7000, "", "", Some(3)));
        assert_eq!(parts("redis://:p%40ss@h:1/"), expected("h", 1, "", "p@ss", None));
        assert_eq!(parts("redis://me:a:b@[::1]:5"), expected("::1", 5, "me", "a:b", None));
        assert_eq!(parts("redis://[::1]"), expected("::1", 6379, "", "", None));
        for bad in ["localhost", "rediss://h", "redis://", "redis://h:x", "redis://h/x", "redis://:%4@h"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn messages_do_not_show_passwords() {
        let address: Address = "redis://me:secret@h:1/2".parse().expect("a good address");
        assert_eq!(address.to_string(), "h:1/2");
    }
}
