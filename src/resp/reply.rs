//! The reply writer: RESP3's nouns, written straight into the connection's output. It alone knows what each becomes in RESP2.

use std::fmt::{self, Write as _};

use smallvec::SmallVec;

use super::output::Output;
use crate::base::number::format_f64;

/// The protocol version that a client asked for with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// A text that mostly takes no memory of its own.
struct ShortText(SmallVec<[u8; 64]>);

impl fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes replies of one client.
pub struct Reply<'a> {
    out: &'a mut Output,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    #[inline]
    pub fn new(out: &'a mut Output, protocol: Protocol) -> Reply<'a> {
        Reply { out, protocol }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// From here on replies are in another version (HELLO, RESET).
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// A place to come back to with [`Reply::rewind`].
    #[inline]
    pub fn mark(&self) -> usize {
        self.out.len()
    }

    /// Takes back everything that was written since `mark`.
    pub fn rewind(&mut self, mark: usize) {
        self.out.rewind(mark);
    }

    /// Bytes that may still be written; what goes beyond ends the connection, so there is no use in making more.
    pub fn allowed(&self) -> usize {
        self.out.allowed()
    }

    /// Whether more was written than may be: what follows is thrown away, so there is no use in making it.
    pub fn is_over(&self) -> bool {
        self.out.is_over()
    }

    /// For replies that are made before it is known what comes in front of them. The same limit is in force.
    pub fn aside(&self) -> Output {
        Output::limited(self.out.allowed())
    }

    /// Replies that were made aside.
    pub fn append(&mut self, made: Output) {
        self.out.append_all(made);
    }

    /// Bytes that are already in the form of this client's protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend(bytes);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.out.extend(b"+OK\r\n");
    }

    /// A simple string; `text` has no line break.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: the code, a space, the message (`ERR no such key`). Line breaks become spaces, because an error is one line.
    /// Those at its end are dropped.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        let end = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        self.error_bytes(&text[..end]);
    }

    /// An error of which line breaks at the end become spaces, too.
    pub fn error_bytes(&mut self, text: &[u8]) {
        let as_line = |byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte };
        let text: Vec<u8> = text.iter().map(as_line).collect();
        self.line(b'-', &text);
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.number_line(b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        match self.out.tail_with_room(bytes.len() + 2 * LINE_BYTES) {
            Some(tail) => {
                number_line(tail, b'$', bytes.len() as i64);
                tail.extend_from_slice(bytes);
                tail.extend_from_slice(b"\r\n");
            }
            None => self.bulk_apart(bytes),
        }
    }

    /// [`Reply::bulk`] where the buffer has no room.
    #[cold]
    #[inline(never)]
    fn bulk_apart(&mut self, bytes: &[u8]) {
        self.number_line(b'$', bytes.len() as i64);
        self.out.extend(bytes);
        self.out.extend(b"\r\n");
    }

    pub fn bulk_text(&mut self, text: impl std::fmt::Display) {
        let mut short = ShortText(SmallVec::new());
        // Memory takes whatever is written.
        let _ = write!(short, "{text}");
        self.bulk(&short.0);
    }

    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend(match self.protocol {
            Protocol::Resp2 => &b"$-1\r\n"[..],
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value where an array would be (EXEC of an aborted transaction).
    pub fn null_array(&mut self) {
        self.out.extend(match self.protocol {
            Protocol::Resp2 => &b"*-1\r\n"[..],
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// The head of an array of `len` replies.
    pub fn array(&mut self, len: usize) {
        self.number_line(b'*', len as i64);
    }

    /// The head of a map of `pairs` keys, each followed by its value; in RESP2 a flat array.
    pub fn map(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.number_line(b'*', pairs as i64 * 2),
            Protocol::Resp3 => self.number_line(b'%', pairs as i64),
        }
    }

    /// The head of a map whose keys and values stand, in RESP2, in arrays of two: [`Reply::pair`] comes before each key.
    pub fn map_of_pairs(&mut self, pairs: usize) {
        match self.protocol {
            Protocol::Resp2 => self.array(pairs),
            Protocol::Resp3 => self.map(pairs),
        }
    }

    /// See [`Reply::map_of_pairs`].
    pub fn pair(&mut self) {
        if self.protocol == Protocol::Resp2 {
            self.array(2);
        }
    }

    /// The head of a set.
    pub fn set(&mut self, len: usize) {
        self.number_line(if self.protocol == Protocol::Resp3 { b'~' } else { b'*' }, len as i64);
    }

    /// The head of a message that answers no request.
    pub fn push(&mut self, len: usize) {
        self.number_line(if self.protocol == Protocol::Resp3 { b'>' } else { b'*' }, len as i64);
    }

    pub fn boolean(&mut self, value: bool) {
        self.out.extend(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// A floating point number; in RESP2 a bulk string of the same digits.
    pub fn double(&mut self, value: f64) {
        let text = format_f64(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(&text),
            Protocol::Resp3 => self.line(b',', &text),
        }
    }

    /// A text for people, `txt` or `mkd`; in RESP2 a bulk string.
    pub fn verbatim(&mut self, format: &str, text: &str) {
        debug_assert_eq!(format.len(), 3, "a verbatim string's format is three letters");
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.number_line(b'=', text.len() as i64 + 4);
                for part in [format, ":", text, "\r\n"] {
                    self.out.extend(part.as_bytes());
                }
            }
        }
    }

    /// A number of any size, given as its digits.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    #[inline]
    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.extend(&[kind]);
        self.out.extend(text);
        self.out.extend(b"\r\n");
    }

    #[inline]
    fn number_line(&mut self, kind: u8, value: i64) {
        number_line(self.out.room(LONG_LINE_BYTES), kind, value);
    }
}

#[inline]
fn number_line(tail: &mut Vec<u8>, kind: u8, value: i64) {
    let Ok(short @ 0..=9999) = usize::try_from(value) else { return long_number_line(tail, kind, value) };
    // A copy of fixed size and a cut are two stores; a copy of as many bytes as there are would be a call.
    let (line, len) = short_line(kind, short);
    let end = tail.len() + len;
    tail.extend_from_slice(&line);
    tail.truncate(end);
}

#[inline(never)]
fn long_number_line(tail: &mut Vec<u8>, kind: u8, value: i64) {
    let mut digits = itoa::Buffer::new();
    tail.push(kind);
    tail.extend_from_slice(digits.format(value).as_bytes());
    tail.extend_from_slice(b"\r\n");
}

/// Room for the line of any number: a sign and 19 digits.
const LONG_LINE_BYTES: usize = 1 + 20 + 2;
/// Room for a [`short_line`].
const LINE_BYTES: usize = 8;

/// The digits of 0 to 99.
static PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// A line that says a number below 10,000, and its length: nearly all lengths and counts. Put together in one register.
#[inline]
fn short_line(kind: u8, value: usize) -> ([u8; LINE_BYTES], usize) {
    let pair = |value: usize| u64::from(u16::from_le_bytes(PAIRS[value % 100]));
    let line_end = u64::from(u16::from_le_bytes(*b"\r\n"));
    let four = pair(value / 100) | pair(value % 100) << 16 | line_end << 32;
    let leading_zeros = usize::from(value < 10) + usize::from(value < 100) + usize::from(value < 1000);
    let line = four >> (8 * leading_zeros) << 8 | u64::from(kind);
    (line.to_le_bytes(), 7 - leading_zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let text = |protocol| {
            let mut out = Output::default();
            write(&mut Reply::new(&mut out, protocol));
            String::from_utf8(out.into_bytes().into()).expect("replies in this test are text")
        };
        (text(Protocol::Resp2), text(Protocol::Resp3))
    }

    fn pair(resp2: &str, resp3: &str) -> (String, String) {
        (resp2.into(), resp3.into())
    }

    #[test]
    fn each_noun_has_its_form_in_both_versions() {
        assert_eq!(both(|r| r.null()), pair("$-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.null_array()), pair("*-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.map(2)), pair("*4\r\n", "%2\r\n"));
        assert_eq!(both(|r| r.set(2)), pair("*2\r\n", "~2\r\n"));
        assert_eq!(both(|r| r.push(3)), pair("*3\r\n", ">3\r\n"));
        assert_eq!(both(|r| r.boolean(true)), pair(":1\r\n", "#t\r\n"));
        assert_eq!(both(|r| r.double(1.5)), pair("$3\r\n1.5\r\n", ",1.5\r\n"));
        assert_eq!(both(|r| r.verbatim("txt", "hi")), pair("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"));
        assert_eq!(both(|r| r.bulk(b"")), pair("$0\r\n\r\n", "$0\r\n\r\n"));
        assert_eq!(both(|r| r.integer(-7)), pair(":-7\r\n", ":-7\r\n"));
    }

    #[test]
    fn lengths_are_written_as_decimal_numbers() {
        for value in (0..10_100).chain([99_999, 100_000, 1 << 40]) {
            let mut out = Output::default();
            out.extend(b"before");
            Reply::new(&mut out, Protocol::Resp2).integer(value);
            assert_eq!(String::from_utf8_lossy(&out.into_bytes()), format!("before:{value}\r\n"));
        }
        assert_eq!(both(|r| r.integer(-1)), pair(":-1\r\n", ":-1\r\n"));
    }

    #[test]
    fn an_error_stays_on_one_line() {
        let (text, _) = both(|r| r.error("ERR two\r\nlines\r\n"));
        assert_eq!(text, "-ERR two  lines\r\n");
    }
}
