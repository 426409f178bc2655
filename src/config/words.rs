//! Words of a configuration line: splitting with quotes, and quoting.
//!
//! Owns the syntax that redis.conf shares with redis-cli: words apart by white space; `"..."` with the
//! escapes `\n \r \t \b \a \xHH`; `'...'` where only `\'` is an escape; a closing quote must be followed by
//! white space. What a word means is not known here.

/// A line whose quotes do not match, or whose closing quote is followed by more text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnbalancedQuotes;

/// The words of `line`, unquoted. An empty line has none.
///
/// # Errors
/// When quotes do not match.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        let start = rest.iter().position(|&byte| !is_space(byte)).unwrap_or(rest.len());
        rest = &rest[start..];
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, used) = first_word(rest)?;
        words.push(word);
        rest = &rest[used..];
    }
}

/// `text` in double quotes, so that `split` gives it back.
pub fn quote(text: &[u8]) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => quoted.extend(['\\', byte as char]),
            b'\n' => quoted.push_str("\\n"),
            b'\r' => quoted.push_str("\\r"),
            b'\t' => quoted.push_str("\\t"),
            0x07 => quoted.push_str("\\a"),
            0x08 => quoted.push_str("\\b"),
            b' '..=b'~' => quoted.push(byte as char),
            _ => quoted.push_str(&format!("\\x{byte:02x}")),
        }
    }
    quoted.push('"');
    quoted
}

/// White space as C's `isspace` has it.
pub fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// The first word of `text` (which starts with it) and how many bytes it took. Quotes may start inside a
/// word: `ab"c d"` is one word.
fn first_word(text: &[u8]) -> Result<(Vec<u8>, usize), UnbalancedQuotes> {
    let mut word = Vec::new();
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' | b'\'' => {
                at += 1 + quoted(&text[at + 1..], byte, &mut word)?;
                return match text.get(at) {
                    Some(&next) if !is_space(next) => Err(UnbalancedQuotes),
                    _ => Ok((word, at)),
                };
            }
            0 => break,
            _ if is_space(byte) => break,
            _ => word.push(byte),
        }
        at += 1;
    }
    // A NUL ends a word too: skip it, or the caller would never get past it.
    let ended_by_nul = text.get(at) == Some(&0);
    Ok((word, at + usize::from(ended_by_nul)))
}

/// Appends what stands before the closing `mark`; returns how many bytes were used, the mark included.
fn quoted(text: &[u8], mark: u8, word: &mut Vec<u8>) -> Result<usize, UnbalancedQuotes> {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte == mark {
            return Ok(at + 1);
        }
        let (plain, used) = match (byte, mark) {
            (b'\\', b'"') => escape(&text[at + 1..]).ok_or(UnbalancedQuotes)?,
            (b'\\', _) if text.get(at + 1) == Some(&b'\'') => (b'\'', 1),
            _ => (byte, 0),
        };
        word.push(plain);
        at += 1 + used;
    }
    Err(UnbalancedQuotes)
}

/// The byte that the text after a backslash means, and how many bytes of it were used.
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    if let [b'x', high, low, ..] = text
        && let (Some(high), Some(low)) = (hex_digit(*high), hex_digit(*low))
    {
        return Some((high << 4 | low, 3));
    }
    let byte = match *text.first()? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    Some((byte, 1))
}

fn hex_digit(byte: u8) -> Option<u8> {
    (byte as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line.as_bytes())
            .expect(line)
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect()
    }

    #[test]
    fn quotes_and_escapes_split_as_redis_does() {
        assert_eq!(words("  port   7000 "), ["port", "7000"]);
        assert_eq!(words(""), [""; 0]);
        assert_eq!(words(r#"save """#), ["save", ""]);
        assert_eq!(words(r"save ''"), ["save", ""]);
        assert_eq!(words(r#"a "b c\n\x41\q" 'd\'e\n'"#), ["a", "b c\nAq", r"d'e\n"]);
        assert_eq!(words(r#"a"b c" d"#), ["ab c", "d"]);
        assert_eq!(words("a\0b"), ["a", "b"]);
    }

    #[test]
    fn unmatched_quotes_are_refused() {
        for line in [r#"port "5"#, "port '5", r#"port "5"x"#, "port '5'x", r#"port "5\"#] {
            assert_eq!(split(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn every_byte_survives_quoting() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(split(quote(&all).as_bytes()), Ok(vec![all]));
        assert_eq!(quote(b"a\n\t'\"\\ \x01z"), r#""a\n\t'\"\\ \x01z""#);
    }
}
