//! The reply writer: RESP3's nouns, written straight into the connection's output. It alone knows what each becomes in RESP2.

use std::io::Write;

use crate::base::number::format_f64;

/// The protocol version that a client asked for with HELLO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Writes replies of one client.
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Reply<'a> {
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
        self.out.truncate(mark);
    }

    /// What was written since `mark`.
    pub fn since(&self, mark: usize) -> &[u8] {
        &self.out[mark..]
    }

    /// Bytes that are already in the form of this client's protocol.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
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
        self.out.push(b'-');
        self.out.extend(text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.number_line(b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.number_line(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    pub fn bulk_text(&mut self, text: impl std::fmt::Display) {
        let text = text.to_string();
        self.bulk(text.as_bytes());
    }

    pub fn bulk_integer(&mut self, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.bulk(digits.format(value).as_bytes());
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value where an array would be (EXEC of an aborted transaction).
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
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

    /// The head of a set.
    pub fn set(&mut self, len: usize) {
        self.number_line(if self.protocol == Protocol::Resp3 { b'~' } else { b'*' }, len as i64);
    }

    /// The head of a message that answers no request.
    pub fn push(&mut self, len: usize) {
        self.number_line(if self.protocol == Protocol::Resp3 { b'>' } else { b'*' }, len as i64);
    }

    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
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
                // Writing into a Vec cannot fail.
                let _ = write!(self.out, "{format}:{text}\r\n");
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

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn number_line(&mut self, kind: u8, value: i64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(value).as_bytes();
        self.out.reserve(digits.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(digits);
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply<'_>)) -> (String, String) {
        let text = |protocol| {
            let mut out = Vec::new();
            write(&mut Reply::new(&mut out, protocol));
            String::from_utf8(out).expect("replies in this test are text")
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
    fn an_error_stays_on_one_line() {
        let (text, _) = both(|r| r.error("ERR two\r\nlines\r\n"));
        assert_eq!(text, "-ERR two  lines\r\n");
    }
}
