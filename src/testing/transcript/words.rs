//! The words of a transcript line: bare words, quoted texts with escapes, `${name}` and, in patterns, `*` and `{name}`.
//!
//! Owns the smallest pieces of the format and how a text is compared with bytes. It knows nothing of replies.

use super::LINE_BYTES_MAX;
use super::pattern::Variables;

/// A piece of a [`Text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(Vec<u8>),
    /// `${name}`: what an earlier pattern captured.
    Variable(String),
    /// `*`: any bytes, none included.
    Anything,
    /// `{name}`: one or more bytes without a space or line end, kept under that name.
    Capture(String),
}

/// A text to send or to compare with.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Text(pub(super) Vec<Piece>);

impl Text {
    /// The bytes that this text stands for, or the name of a variable that nothing captured.
    pub(super) fn bytes(&self, variables: &Variables) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Literal(literal) => bytes.extend_from_slice(literal),
                Piece::Variable(name) => {
                    let value = variables.get(name).ok_or_else(|| format!("nothing captured ${{{name}}}"))?;
                    bytes.extend_from_slice(value);
                }
                Piece::Anything | Piece::Capture(_) => {
                    return Err("a pattern has no bytes of its own".to_owned());
                }
            }
        }
        Ok(bytes)
    }

    /// Whether `bytes` fit this text; captures are stored in `variables` when they do.
    pub(super) fn matches(&self, bytes: &[u8], variables: &mut Variables) -> bool {
        let mut captured = Variables::new();
        let fits = fits(&self.0, bytes, variables, &mut captured);
        if fits {
            variables.extend(captured);
        }
        fits
    }

    fn push_byte(&mut self, byte: u8) {
        match self.0.last_mut() {
            Some(Piece::Literal(literal)) => literal.push(byte),
            _ => self.0.push(Piece::Literal(vec![byte])),
        }
    }
}

/// Tries the pieces in order, with the shortest run first for the open ones.
fn fits(pieces: &[Piece], bytes: &[u8], variables: &Variables, captured: &mut Variables) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return bytes.is_empty() };
    match piece {
        Piece::Literal(literal) => {
            bytes.strip_prefix(literal.as_slice()).is_some_and(|tail| fits(rest, tail, variables, captured))
        }
        Piece::Variable(name) => variables
            .get(name)
            .and_then(|value| bytes.strip_prefix(value.as_slice()))
            .is_some_and(|tail| fits(rest, tail, variables, captured)),
        Piece::Anything => (0..=bytes.len()).any(|length| fits(rest, &bytes[length..], variables, captured)),
        Piece::Capture(name) => {
            let run = bytes.iter().take_while(|byte| !matches!(byte, b' ' | b'\r' | b'\n')).count();
            (1..=run).any(|length| {
                let fits = fits(rest, &bytes[length..], variables, captured);
                if fits {
                    captured.insert(name.clone(), bytes[..length].to_vec());
                }
                fits
            })
        }
    }
}

/// A position in a line or in an aggregate of several lines.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Cursor { bytes: text.as_bytes(), position: 0 }
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    pub(super) fn skip_spaces(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.position += 1;
        }
    }

    /// Steps over `word` if it is next.
    pub(super) fn take(&mut self, word: &str) -> bool {
        let next = self.bytes[self.position..].starts_with(word.as_bytes());
        if next {
            self.position += word.len();
        }
        next
    }

    /// The bytes up to the next one that `ends` says ends them.
    pub(super) fn take_until(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| ends(byte)).unwrap_or(rest.len());
        self.position += length;
        &rest[..length]
    }

    /// A quoted text, with its opening quote next, and `*N` behind it for a repetition.
    pub(super) fn quoted(&mut self, pattern: bool) -> Result<Text, String> {
        if !self.take("\"") {
            return Err("a quoted text must start here".to_owned());
        }
        let mut text = Text::default();
        loop {
            let byte = self.peek().ok_or("the closing quote is missing")?;
            self.position += 1;
            match byte {
                b'"' => break,
                b'\\' => text.push_byte(self.escape()?),
                b'*' if pattern => text.0.push(Piece::Anything),
                b'{' if pattern => text.0.push(Piece::Capture(self.name()?)),
                b'$' if self.take("{") => text.0.push(Piece::Variable(self.name()?)),
                other => text.push_byte(other),
            }
        }
        self.repeated(text)
    }

    /// A text without quotes, ended by a byte that `ends` names.
    pub(super) fn bare(&mut self, pattern: bool, ends: impl Fn(u8) -> bool) -> Result<Text, String> {
        let mut text = Text::default();
        while let Some(byte) = self.peek().filter(|&byte| !ends(byte)) {
            self.position += 1;
            match byte {
                b'*' if pattern => text.0.push(Piece::Anything),
                b'{' if pattern => text.0.push(Piece::Capture(self.name()?)),
                b'$' if self.take("{") => text.0.push(Piece::Variable(self.name()?)),
                other => text.push_byte(other),
            }
        }
        Ok(text)
    }

    fn escape(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or("an escape is cut off")?;
        self.position += 1;
        Ok(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let digits =
                    self.bytes.get(self.position..self.position + 2).ok_or("\\x needs two digits")?;
                self.position += 2;
                let digits = std::str::from_utf8(digits).map_err(|_| "\\x needs two digits")?;
                u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two hexadecimal digits")?
            }
            b'\\' | b'"' | b'*' | b'{' | b'$' => byte,
            _ => return Err(format!("unknown escape \\{}", char::from(byte))),
        })
    }

    /// The rest of `{name}`, behind its brace.
    fn name(&mut self) -> Result<String, String> {
        let name = self.take_until(|byte| !(byte.is_ascii_alphanumeric() || byte == b'-'));
        let name = String::from_utf8_lossy(name).into_owned();
        if name.is_empty() || !self.take("}") {
            return Err("a name in braces must be letters and digits".to_owned());
        }
        Ok(name)
    }

    fn repeated(&mut self, text: Text) -> Result<Text, String> {
        if !self.take("*") {
            return Ok(text);
        }
        let count = self.take_until(|byte| !byte.is_ascii_digit());
        let count = std::str::from_utf8(count).ok().and_then(|digits| digits.parse::<usize>().ok());
        let count = count.ok_or("a repetition needs a number")?;
        let [Piece::Literal(literal)] = text.0.as_slice() else {
            return Err("only a plain text can be repeated".to_owned());
        };
        if literal.len().saturating_mul(count) > LINE_BYTES_MAX {
            return Err(format!("a line may hold at most {LINE_BYTES_MAX} bytes"));
        }
        Ok(Text(vec![Piece::Literal(literal.repeat(count))]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str, pattern: bool) -> Result<Text, String> {
        Cursor::new(text).quoted(pattern)
    }

    #[test]
    fn escapes_and_repetition_give_bytes() {
        let none = Variables::new();
        assert_eq!(quoted(r#""a\x00\r\n\"\\""#, false).unwrap().bytes(&none).unwrap(), b"a\0\r\n\"\\");
        assert_eq!(quoted(r#""ab"*3"#, false).unwrap().bytes(&none).unwrap(), b"ababab");
        assert!(quoted(r#""ab"*999999999999"#, false).is_err());
        assert!(quoted(r#""ab"#, false).is_err());
        assert!(quoted(r#""\x0"#, false).is_err());
    }

    #[test]
    fn patterns_capture_and_variables_give_back() {
        let mut variables = Variables::new();
        let text = quoted(r#""id={id} addr=* end""#, true).unwrap();
        assert!(text.matches(b"id=17 addr=127.0.0.1:5 x end", &mut variables));
        assert_eq!(variables["id"], b"17");
        assert!(!text.matches(b"id= addr=1 end", &mut variables));
        let text = quoted(r#""kill ${id}""#, false).unwrap();
        assert_eq!(text.bytes(&variables).unwrap(), b"kill 17");
        assert!(text.matches(b"kill 17", &mut variables));
    }
}
