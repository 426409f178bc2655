//! Replies of both protocol versions as they came, and a connection that sends many requests at once.

use std::fmt;
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use super::support::client::request;

/// A server that hangs fails the test by this; no assertion depends on it.
const HANGS: Duration = Duration::from_secs(60);

/// The words of a request.
pub type Words = Vec<Vec<u8>>;

/// A reply with the mark of its type, since a client sees that as well.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// What is on one line: `+ - : , # ( _`.
    Line(u8, Vec<u8>),
    /// `$ = !`
    Text(u8, Vec<u8>),
    /// `$-1` and `*-1`
    Nothing(u8),
    /// `* ~ % >`; those of a map are keys and values in turn.
    Many(u8, Vec<Value>),
}

impl Value {
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Line(b'-', _))
    }

    /// The bytes of a reply that is one text, of whatever type.
    pub fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Line(_, bytes) | Value::Text(_, bytes) => Some(bytes),
            Value::Nothing(_) | Value::Many(..) => None,
        }
    }

    /// Whether it says that there is nothing, in either version.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Value::Nothing(_) | Value::Line(b'_', _))
    }

    pub fn integer(&self) -> Option<i64> {
        match self {
            Value::Line(b':', bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }

    pub fn parts(&self) -> &[Value] {
        match self {
            Value::Many(_, parts) => parts,
            _ => &[],
        }
    }

    /// All texts in a reply, however deep.
    pub fn leaves<'a>(&'a self, into: &mut Vec<&'a [u8]>) {
        into.extend(self.text());
        self.parts().iter().for_each(|part| part.leaves(into));
    }
}

/// As one could write it down, cut off where it is long.
impl fmt::Debug for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Line(mark, bytes) => write!(out, "{}{}", char::from(*mark), short(bytes)),
            Value::Text(b'$', bytes) => write!(out, "\"{}\"", short(bytes)),
            Value::Text(mark, bytes) => write!(out, "{}\"{}\"", char::from(*mark), short(bytes)),
            Value::Nothing(mark) => write!(out, "{}-1", char::from(*mark)),
            Value::Many(mark, parts) => {
                write!(out, "{}{}[", char::from(*mark), parts.len())?;
                for part in parts.iter().take(40) {
                    write!(out, " {part:?}")?;
                }
                out.write_str(if parts.len() > 40 { " ... ]" } else { " ]" })
            }
        }
    }
}

/// Bytes as in a transcript, at most 160 of them.
pub fn short(bytes: &[u8]) -> String {
    let end = bytes.len().min(160);
    let rest = if end < bytes.len() { format!("...({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{rest}", bytes[..end].escape_ascii())
}

/// A connection that speaks one version of the protocol.
pub struct Wire(BufReader<TcpStream>);

impl Wire {
    pub fn connect(port: u16, protocol: u8) -> io::Result<Wire> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(HANGS))?;
        stream.set_nodelay(true)?;
        let mut wire = Wire(BufReader::with_capacity(64 << 10, stream));
        wire.exchange(&[words(&format!("HELLO {protocol}"))])?;
        Ok(wire)
    }

    /// Sends all requests, then reads all replies.
    pub fn exchange(&mut self, requests: &[Words]) -> io::Result<Vec<Value>> {
        let bytes: Vec<u8> = requests.iter().flat_map(|words| request(words)).collect();
        self.0.get_mut().write_all(&bytes)?;
        requests.iter().map(|_| self.receive()).collect()
    }

    fn receive(&mut self) -> io::Result<Value> {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let (&mark, rest) = line.split_first().ok_or(ErrorKind::InvalidData)?;
        let length = || -> io::Result<i64> {
            let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no length: {}", short(rest))))
        };
        match mark {
            b'$' | b'=' | b'!' | b'*' | b'~' | b'%' | b'>' => {}
            _ => return Ok(Value::Line(mark, rest.to_vec())),
        }
        let Ok(count) = usize::try_from(length()?) else { return Ok(Value::Nothing(mark)) };
        Ok(match mark {
            b'$' | b'=' | b'!' => {
                let mut bytes = vec![0; count + 2];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(count);
                Value::Text(mark, bytes)
            }
            _ => {
                let count = if mark == b'%' { 2 * count } else { count };
                Value::Many(mark, (0..count).map(|_| self.receive()).collect::<io::Result<_>>()?)
            }
        })
    }
}

/// The words of a line without quotes.
pub fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// A request as in a transcript.
pub fn line(words: &[Vec<u8>]) -> String {
    let word = |word: &Vec<u8>| {
        let plain = !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
        if plain { short(word) } else { format!("\"{}\"", short(word)) }
    };
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}
