//! What a reply must be: the notation of transcripts, parsed and compared.
//!
//! Owns the grammar of expectations. A pattern without wildcards fits exactly one sequence of bytes on the wire.

use std::collections::BTreeMap;

use super::reply::{Kind, NullForm, Reply, Shape};
use super::words::{Cursor, Text};

/// What patterns captured in a case, by name.
pub type Variables = BTreeMap<String, Vec<u8>>;

/// Nested aggregates in an expectation; more is a mistake in the file.
const DEPTH_MAX: usize = 32;

/// An expectation for one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Form);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Any,
    IntegerIn {
        low: i64,
        high: i64,
        name: Option<String>,
    },
    Scalar(Kind, Text),
    /// Each text fits one line of the reply.
    Lines(Kind, Vec<Text>),
    Null(NullForm),
    Aggregate {
        shape: Shape,
        elements: Vec<Form>,
        order: Order,
        open: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    AsWritten,
    /// Groups of this many elements come in any order.
    AnyOf(usize),
}

impl Pattern {
    /// Reads one expectation; all of `text` must belong to it.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut cursor = Cursor::new(text);
        let form = top_form(&mut cursor)?;
        cursor.skip_spaces();
        match cursor.peek() {
            None => Ok(Pattern(form)),
            Some(_) => Err("more follows behind the reply".to_owned()),
        }
    }

    /// The pattern that no reply fits.
    pub(super) fn nothing() -> Pattern {
        Pattern(Form::IntegerIn { low: 1, high: 0, name: None })
    }

    /// Whether `reply` is what was expected. Captures are kept in `variables` when it is.
    pub fn matches(&self, reply: &Reply, variables: &mut Variables) -> bool {
        self.0.matches(reply, variables)
    }
}

/// At the top a simple string or an error needs no quotes: it is the rest of the line.
fn top_form(cursor: &mut Cursor<'_>) -> Result<Form, String> {
    let kind = match cursor.peek() {
        Some(b'+') => Kind::Simple,
        Some(b'-') => Kind::Error,
        _ => return form(cursor, DEPTH_MAX),
    };
    cursor.take(if kind == Kind::Simple { "+" } else { "-" });
    let pattern = cursor.take("~");
    if cursor.peek() == Some(b'"') {
        return Ok(Form::Scalar(kind, cursor.quoted(pattern)?));
    }
    Ok(Form::Scalar(kind, cursor.bare(pattern, |_| false)?))
}

fn form(cursor: &mut Cursor<'_>, depth: usize) -> Result<Form, String> {
    let scalar = [
        ("+", Kind::Simple),
        ("-", Kind::Error),
        (":", Kind::Integer),
        (",", Kind::Double),
        ("(", Kind::BigNumber),
        ("!", Kind::BlobError),
    ];
    for (mark, kind) in scalar {
        if cursor.take(mark) {
            return Ok(Form::Scalar(kind, text(cursor)?));
        }
    }
    if cursor.take("=lines[") {
        return lines(cursor, Kind::Verbatim);
    }
    if cursor.take("lines[") {
        return lines(cursor, Kind::Bulk);
    }
    if cursor.take("=") {
        return Ok(Form::Scalar(Kind::Verbatim, text(cursor)?));
    }
    if matches!(cursor.peek(), Some(b'"' | b'~')) {
        return Ok(Form::Scalar(Kind::Bulk, text(cursor)?));
    }
    if cursor.take("<") {
        return placeholder(cursor);
    }
    let aggregates = [
        ("[", Shape::Array, Order::AsWritten),
        ("{", Shape::Map, Order::AsWritten),
        ("set[", Shape::Set, Order::AnyOf(1)),
        ("push[", Shape::Push, Order::AsWritten),
        ("any-order[", Shape::Array, Order::AnyOf(1)),
        ("pairs[", Shape::Array, Order::AnyOf(2)),
        ("any-order{", Shape::Map, Order::AnyOf(2)),
    ];
    for (opening, shape, order) in aggregates {
        if cursor.take(opening) {
            let depth = depth.checked_sub(1).ok_or("the reply nests too deep")?;
            return aggregate(cursor, shape, order, depth);
        }
    }
    word(cursor)
}

/// A text inside brackets: quoted, or one word.
fn text(cursor: &mut Cursor<'_>) -> Result<Text, String> {
    let pattern = cursor.take("~");
    match cursor.peek() {
        Some(b'"') => cursor.quoted(pattern),
        _ => cursor.bare(pattern, |byte| byte.is_ascii_whitespace() || matches!(byte, b']' | b'}')),
    }
}

fn word(cursor: &mut Cursor<'_>) -> Result<Form, String> {
    let word = cursor.take_until(|byte| byte.is_ascii_whitespace() || matches!(byte, b']' | b'}'));
    Ok(match word {
        b"nil" => Form::Null(NullForm::Bulk),
        b"nil-array" => Form::Null(NullForm::Array),
        b"null" => Form::Null(NullForm::Resp3),
        b"true" => boolean(b't'),
        b"false" => boolean(b'f'),
        _ => return Err(format!("'{}' is no reply", String::from_utf8_lossy(word))),
    })
}

fn boolean(letter: u8) -> Form {
    Form::Scalar(Kind::Boolean, Text(vec![super::words::Piece::Literal(vec![letter])]))
}

/// The rest of `<any>`, `<int>`, `<int 1..9>`, `<int as name>`.
fn placeholder(cursor: &mut Cursor<'_>) -> Result<Form, String> {
    let inside = String::from_utf8_lossy(cursor.take_until(|byte| byte == b'>')).into_owned();
    if !cursor.take(">") {
        return Err("the closing > is missing".to_owned());
    }
    let mut words = inside.split_ascii_whitespace();
    match words.next() {
        Some("any") => Ok(Form::Any),
        Some("int") => {
            let (mut low, mut high, mut name) = (i64::MIN, i64::MAX, None);
            while let Some(word) = words.next() {
                if word == "as" {
                    name = Some(words.next().ok_or("a name must follow 'as'")?.to_owned());
                } else if let Some((from, to)) = word.split_once("..") {
                    low = from.parse().map_err(|_| "a range needs two numbers")?;
                    high = to.parse().map_err(|_| "a range needs two numbers")?;
                } else {
                    return Err(format!("'{word}' means nothing in <int>"));
                }
            }
            Ok(Form::IntegerIn { low, high, name })
        }
        _ => Err(format!("<{inside}> is unknown")),
    }
}

fn lines(cursor: &mut Cursor<'_>, kind: Kind) -> Result<Form, String> {
    let mut texts = Vec::new();
    loop {
        cursor.skip_spaces();
        if cursor.take("]") {
            return Ok(Form::Lines(kind, texts));
        }
        texts.push(cursor.quoted(true)?);
    }
}

fn aggregate(cursor: &mut Cursor<'_>, shape: Shape, order: Order, depth: usize) -> Result<Form, String> {
    let closing = if shape == Shape::Map { "}" } else { "]" };
    let (mut elements, mut open) = (Vec::new(), false);
    loop {
        cursor.skip_spaces();
        if cursor.take(closing) {
            break;
        }
        if open {
            return Err("... must be the last thing in an aggregate".to_owned());
        }
        if cursor.take("...") {
            open = true;
        } else {
            elements.push(form(cursor, depth)?);
        }
    }
    let group = if let Order::AnyOf(group) = order { group } else { 1 };
    let group = if shape == Shape::Map { 2 } else { group };
    let in_groups = !open || order != Order::AsWritten;
    if in_groups && elements.len() % group != 0 {
        return Err("a pair has only one half".to_owned());
    }
    Ok(Form::Aggregate { shape, elements, order, open })
}

impl Form {
    fn matches(&self, reply: &Reply, variables: &mut Variables) -> bool {
        match (self, reply) {
            (Form::Any, _) => true,
            (Form::IntegerIn { low, high, name }, Reply::Scalar(Kind::Integer, text)) => {
                let number = std::str::from_utf8(text).ok().and_then(|digits| digits.parse::<i64>().ok());
                let fits = number.is_some_and(|number| (*low..=*high).contains(&number));
                if let (true, Some(name)) = (fits, name) {
                    variables.insert(name.clone(), text.clone());
                }
                fits
            }
            (Form::Scalar(kind, text), Reply::Scalar(found, bytes)) => {
                kind == found && text.matches(bytes, variables)
            }
            (Form::Lines(kind, texts), Reply::Scalar(found, bytes)) => {
                kind == found && has_lines(texts, bytes, variables)
            }
            (Form::Null(form), Reply::Null(found)) => form == found,
            (Form::Aggregate { shape, elements, order, open }, Reply::Aggregate(found, replies)) => {
                let count_fits =
                    if *open { elements.len() <= replies.len() } else { elements.len() == replies.len() };
                shape == found
                    && count_fits
                    && match order {
                        Order::AsWritten => elements
                            .iter()
                            .zip(replies)
                            .all(|(element, reply)| element.matches(reply, variables)),
                        Order::AnyOf(group) => any_order(elements, replies, *group, variables),
                    }
            }
            _ => false,
        }
    }
}

/// Each group of elements takes the first group of replies that fits it and is still free.
fn any_order(elements: &[Form], replies: &[Reply], group: usize, variables: &mut Variables) -> bool {
    let mut free: Vec<&[Reply]> = replies.chunks(group).collect();
    elements.chunks(group).all(|wanted| {
        let place = free.iter().position(|found| {
            wanted.len() == found.len()
                && wanted.iter().zip(*found).all(|(form, reply)| form.matches(reply, variables))
        });
        place.map(|place| free.remove(place)).is_some()
    })
}

fn has_lines(texts: &[Text], bytes: &[u8], variables: &mut Variables) -> bool {
    let lines: Vec<&[u8]> =
        bytes.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    texts.iter().all(|text| lines.iter().any(|line| text.matches(line, variables)))
}

#[cfg(test)]
mod tests {
    use super::super::reply::decode;
    use super::*;

    fn fits(pattern: &str, wire: &[u8]) -> bool {
        Pattern::parse(pattern).unwrap().matches(&decode(wire).unwrap().unwrap().0, &mut Variables::new())
    }

    #[test]
    fn what_a_reply_is_written_as_fits_that_reply_only() {
        let wires: [&[u8]; 16] = [
            b"+OK\r\n",
            b"-ERR a b\r\n",
            b":1\r\n",
            b"$1\r\n1\r\n",
            b"$-1\r\n",
            b"*-1\r\n",
            b"_\r\n",
            b"#t\r\n",
            b"#f\r\n",
            b",1\r\n",
            b"(1\r\n",
            b"=5\r\ntxt:1\r\n",
            b"!1\r\n1\r\n",
            b"*1\r\n:1\r\n",
            b"~1\r\n:1\r\n",
            b">1\r\n:1\r\n",
        ];
        for wire in wires {
            let written = decode(wire).unwrap().unwrap().0.to_string();
            for other in wires {
                assert_eq!(
                    fits(&written, other),
                    wire == other,
                    "{written} against {}",
                    String::from_utf8_lossy(other)
                );
            }
        }
    }

    #[test]
    fn unquoted_texts_reach_to_the_end_of_the_line_at_the_top() {
        assert!(fits("-ERR no such key", b"-ERR no such key\r\n"));
        assert!(!fits("-ERR no such key", b"-ERR no such key \r\n"));
        assert!(fits("-~ERR * key", b"-ERR no such key\r\n"));
        assert!(fits("[+OK -\"ERR a b\" +QUEUED]", b"*3\r\n+OK\r\n-ERR a b\r\n+QUEUED\r\n"));
    }

    #[test]
    fn order_and_rest_can_be_left_open() {
        let wire = b"*4\r\n+a\r\n:1\r\n+b\r\n:2\r\n";
        assert!(fits("pairs[+b :2 +a :1]", wire));
        assert!(!fits("pairs[+b :1 +a :2]", wire));
        assert!(fits("any-order[:2 +b :1 +a]", wire));
        assert!(fits("[+a ...]", wire));
        assert!(!fits("[+a]", wire));
        assert!(fits("[+a <int 0..1> ...]", wire));
        assert!(!fits("[+a <int 2..3> ...]", wire));
        assert!(fits("lines[\"b:*\" \"a:1\"]", b"$10\r\na:1\r\nb:22\n\r\n"));
    }

    #[test]
    fn mistakes_are_named() {
        for text in ["", "[", "nul", "{:1}", "[... :1]", "<foo>", "\"a", "\"a\" b", "<int 1>"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
        assert!(Pattern::parse(&"[".repeat(10_000)).is_err());
    }
}
