//! A RESP2 client for tests: writes requests, reads whole replies.
//!
//! It believes the server: lengths are not limited. What is wrong with the connection is an `io::Error`, because a test that kills the
//! server expects it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// A test that hangs fails by this instead; no assertion depends on it.
const HANGS: Duration = Duration::from_secs(60);

/// A reply of RESP2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Nil,
    Array(Vec<Reply>),
}

/// Texts as redis-cli shows them, arrays in brackets.
impl fmt::Display for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Simple(text) => out.write_str(text),
            Reply::Error(text) => write!(out, "-{text}"),
            Reply::Integer(number) => write!(out, "{number}"),
            Reply::Bulk(bytes) => out.write_str(&String::from_utf8_lossy(bytes)),
            Reply::Nil => out.write_str("(nil)"),
            Reply::Array(replies) => {
                let texts: Vec<String> = replies.iter().map(Reply::to_string).collect();
                write!(out, "[{}]", texts.join(" "))
            }
        }
    }
}

impl Reply {
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// The number of an integer, or of a text that is one.
    pub fn number(&self) -> Option<i64> {
        match self {
            Reply::Integer(number) => Some(*number),
            Reply::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }
}

/// A connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(HANGS))?;
        stream.set_nodelay(true)?;
        Ok(Client(BufReader::new(stream)))
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end_matches(['\r', '\n']);
        let Some(kind) = line.chars().next() else { return Err(invalid(line)) };
        let rest = &line[kind.len_utf8()..];
        Ok(match kind {
            '+' => Reply::Simple(rest.to_owned()),
            '-' => Reply::Error(rest.to_owned()),
            ':' => Reply::Integer(rest.parse().map_err(|_| invalid(line))?),
            '$' if rest == "-1" => Reply::Nil,
            '*' if rest == "-1" => Reply::Nil,
            '$' => {
                let length: usize = rest.parse().map_err(|_| invalid(line))?;
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bulk(bytes)
            }
            '*' => {
                let length: usize = rest.parse().map_err(|_| invalid(line))?;
                Reply::Array((0..length).map(|_| self.receive()).collect::<io::Result<_>>()?)
            }
            _ => return Err(invalid(line)),
        })
    }

    /// One request and its reply.
    pub fn try_ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> io::Result<Reply> {
        self.send_bytes(&request(words))?;
        self.receive()
    }

    /// As `try_ask`, of a server that must answer.
    #[track_caller]
    pub fn ask<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        self.try_ask(words).expect("the server answers")
    }

    /// The reply to words without spaces, as text.
    #[track_caller]
    pub fn text(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        self.ask(&words).to_string()
    }
}

fn invalid(line: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("this is no reply: {line:?}"))
}

/// A request as clients send it.
pub fn request<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
