//! A reply as it stood on the wire, and how a transcript writes it.
//!
//! Owns a decoder that keeps what other decoders drop (which of the three nulls, the text of a number), because a transcript is
//! about the exact form. It must survive any bytes: depth and size are bounded.

use std::fmt;

/// Replies nest a handful of levels; a server that sends more is broken.
const DEPTH_MAX: usize = 32;
/// The longest header line before its line end, and the most elements or bytes that one header may announce.
const HEADER_BYTES_MAX: usize = 64 << 10;
const LENGTH_MAX: usize = 64 << 20;

/// What a scalar reply is; the text is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `+`
    Simple,
    /// `-`
    Error,
    /// `:`
    Integer,
    /// `$`
    Bulk,
    /// `,`
    Double,
    /// `(`
    BigNumber,
    /// `=`, its text starts with the format and a colon: `txt:`
    Verbatim,
    /// `!`
    BlobError,
    /// `#`, its text is `t` or `f`
    Boolean,
}

/// What an aggregate reply is. A map's elements are key, value, key, value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `*`
    Array,
    /// `~`
    Set,
    /// `%`
    Map,
    /// `>`
    Push,
}

/// The three ways to say nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NullForm {
    /// `$-1`
    Bulk,
    /// `*-1`
    Array,
    /// `_`
    Resp3,
}

/// One reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A value without parts, as its exact text.
    Scalar(Kind, Vec<u8>),
    /// A null.
    Null(NullForm),
    /// A value with parts.
    Aggregate(Shape, Vec<Reply>),
}

/// Bytes that are no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedReply(pub String);

/// Decodes the reply at the start of `bytes` and says how many bytes it took; `None` while more bytes are needed.
///
/// # Errors
/// The bytes are no reply, or are larger or deeper than any reply that a transcript can be about.
pub fn decode(bytes: &[u8]) -> Result<Option<(Reply, usize)>, MalformedReply> {
    let mut position = 0;
    let reply = decode_at(bytes, &mut position, DEPTH_MAX)?;
    Ok(reply.map(|reply| (reply, position)))
}

fn decode_at(bytes: &[u8], position: &mut usize, depth: usize) -> Result<Option<Reply>, MalformedReply> {
    let Some((mark, text)) = header(bytes, position)? else { return Ok(None) };
    let kind = match mark {
        b'+' => Kind::Simple,
        b'-' => Kind::Error,
        b':' => Kind::Integer,
        b',' => Kind::Double,
        b'(' => Kind::BigNumber,
        b'#' => Kind::Boolean,
        b'_' if text.is_empty() => return Ok(Some(Reply::Null(NullForm::Resp3))),
        b'$' if text == b"-1" => return Ok(Some(Reply::Null(NullForm::Bulk))),
        b'*' if text == b"-1" => return Ok(Some(Reply::Null(NullForm::Array))),
        b'$' => return body(bytes, position, Kind::Bulk, text),
        b'=' => return body(bytes, position, Kind::Verbatim, text),
        b'!' => return body(bytes, position, Kind::BlobError, text),
        b'*' => return elements(bytes, position, depth, Shape::Array, text),
        b'~' => return elements(bytes, position, depth, Shape::Set, text),
        b'%' => return elements(bytes, position, depth, Shape::Map, text),
        b'>' => return elements(bytes, position, depth, Shape::Push, text),
        _ => return Err(MalformedReply(format!("{} starts no reply", quote(&[mark])))),
    };
    Ok(Some(Reply::Scalar(kind, text.to_vec())))
}

/// The first byte of a header line and its text without the line end.
fn header<'a>(bytes: &'a [u8], position: &mut usize) -> Result<Option<(u8, &'a [u8])>, MalformedReply> {
    let rest = &bytes[*position..];
    let Some(end) = rest.windows(2).take(HEADER_BYTES_MAX).position(|pair| pair == b"\r\n") else {
        return if rest.len() > HEADER_BYTES_MAX {
            Err(MalformedReply("a header has no end".into()))
        } else {
            Ok(None)
        };
    };
    let (&mark, text) =
        rest[..end].split_first().ok_or(MalformedReply("an empty line is no reply".into()))?;
    *position += end + 2;
    Ok(Some((mark, text)))
}

fn length(text: &[u8]) -> Result<usize, MalformedReply> {
    let length = std::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok());
    let length = length.filter(|&length: &usize| length <= LENGTH_MAX);
    length.ok_or_else(|| MalformedReply(format!("{} is no length", quote(text))))
}

fn body(
    bytes: &[u8],
    position: &mut usize,
    kind: Kind,
    text: &[u8],
) -> Result<Option<Reply>, MalformedReply> {
    let end = *position + length(text)?;
    if bytes.len() < end + 2 {
        return Ok(None);
    }
    if &bytes[end..end + 2] != b"\r\n" {
        return Err(MalformedReply("a bulk string has no line end".into()));
    }
    let reply = Reply::Scalar(kind, bytes[*position..end].to_vec());
    *position = end + 2;
    Ok(Some(reply))
}

fn elements(
    bytes: &[u8],
    position: &mut usize,
    depth: usize,
    shape: Shape,
    text: &[u8],
) -> Result<Option<Reply>, MalformedReply> {
    if depth == 0 {
        return Err(MalformedReply("the reply nests too deep".into()));
    }
    let count = length(text)? * if shape == Shape::Map { 2 } else { 1 };
    let mut elements = Vec::new();
    for _ in 0..count {
        let Some(element) = decode_at(bytes, position, depth - 1)? else { return Ok(None) };
        elements.push(element);
    }
    Ok(Some(Reply::Aggregate(shape, elements)))
}

/// `bytes` as a transcript quotes them.
pub(super) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}

impl fmt::Display for Reply {
    /// The reply in the notation of transcripts.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reply::Scalar(kind, text) => {
                let plain = String::from_utf8_lossy(text);
                match kind {
                    Kind::Simple => write!(formatter, "+{}", quote(text)),
                    Kind::Error => write!(formatter, "-{}", quote(text)),
                    Kind::Integer => write!(formatter, ":{plain}"),
                    Kind::Bulk => write!(formatter, "{}", quote(text)),
                    Kind::Double => write!(formatter, ",{plain}"),
                    Kind::BigNumber => write!(formatter, "({plain}"),
                    Kind::Verbatim => write!(formatter, "={}", quote(text)),
                    Kind::BlobError => write!(formatter, "!{}", quote(text)),
                    Kind::Boolean => formatter.write_str(if text == b"t" { "true" } else { "false" }),
                }
            }
            Reply::Null(NullForm::Bulk) => formatter.write_str("nil"),
            Reply::Null(NullForm::Array) => formatter.write_str("nil-array"),
            Reply::Null(NullForm::Resp3) => formatter.write_str("null"),
            Reply::Aggregate(shape, elements) => {
                let (open, close) = match shape {
                    Shape::Array => ("[", "]"),
                    Shape::Set => ("set[", "]"),
                    Shape::Map => ("{", "}"),
                    Shape::Push => ("push[", "]"),
                };
                formatter.write_str(open)?;
                for (index, element) in elements.iter().enumerate() {
                    let space = if index == 0 { "" } else { " " };
                    write!(formatter, "{space}{element}")?;
                }
                formatter.write_str(close)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8]) -> String {
        decode(bytes).unwrap().unwrap().0.to_string()
    }

    #[test]
    fn each_wire_form_has_its_own_notation() {
        assert_eq!(written(b"+OK\r\n"), "+\"OK\"");
        assert_eq!(written(b"$-1\r\n"), "nil");
        assert_eq!(written(b"*-1\r\n"), "nil-array");
        assert_eq!(written(b"_\r\n"), "null");
        assert_eq!(written(b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n"), "[:1 [\"a\"]]");
        assert_eq!(written(b"%1\r\n+a\r\n#t\r\n"), "{+\"a\" true}");
        assert_eq!(written(b">1\r\n,1.5\r\n"), "push[,1.5]");
        assert_eq!(written(b"=5\r\ntxt:a\r\n"), "=\"txt:a\"");
    }

    #[test]
    fn every_cut_of_a_reply_asks_for_more() {
        let bytes = b"*3\r\n$3\r\na\r\n\r\n~1\r\n(12\r\n%1\r\n+k\r\n_\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(decode(bytes).unwrap().unwrap().1, bytes.len());
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert!(decode(&b"*1\r\n".repeat(1000)).is_err());
        assert!(decode(b"$99999999999999999999\r\n").is_err());
        assert!(decode(b"\r\n").is_err());
        assert!(decode(b"?1\r\n").is_err());
        assert!(decode(b"$1\r\nabc").is_err());
        assert!(decode(&vec![b'+'; HEADER_BYTES_MAX + 2]).is_err());
    }
}
