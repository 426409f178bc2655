//! Quoted text: how a line is cut into arguments, and how bytes are shown so that a person can read them.
//!
//! Lines are inline requests and lines of the configuration file. Both directions speak the same escapes, so what
//! [`push_quoted`] shows, [`split_args`] reads back. Who calls bounds the length of the line; the arguments together
//! are never longer than it.

/// The line has a quote that nothing closes, or that is closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unbalanced;

/// Cuts a line into its arguments.
///
/// Arguments are separated by white space. Within double quotes `\n`, `\r`, `\t`, `\b`, `\a` and `\xHH` stand for
/// their bytes and `\` before anything else for that byte; within single quotes `\'` stands for `'` and nothing else is
/// special. A quote may begin inside a word (`a"b c"` is one argument), but must end with it. A NUL byte ends the line,
/// as it does in Redis.
///
/// # Errors
///
/// [`Unbalanced`] when a quote stays open or when its end is followed by something else than white space.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, Unbalanced> {
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut arguments = Vec::new();
    loop {
        rest = &rest[rest.iter().take_while(|byte| is_space(**byte)).count()..];
        if rest.is_empty() {
            return Ok(arguments);
        }
        let mut argument = Vec::new();
        rest = take_argument(rest, &mut argument)?;
        arguments.push(argument);
    }
}

/// Takes one argument off the front of `rest` and returns what follows it.
fn take_argument<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            // Vertical tab and form feed separate words but do not end one.
            [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return check_end(take_double_quoted(quoted, argument)?),
            [b'\'', quoted @ ..] => return check_end(take_single_quoted(quoted, argument)?),
            [byte, behind @ ..] => {
                argument.push(*byte);
                rest = behind;
            }
        }
    }
}

/// A closing quote must end its argument.
fn check_end(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(Unbalanced),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, behind) = match rest {
            [] => return Err(Unbalanced),
            [b'"', behind @ ..] => return Ok(behind),
            [b'\\', b'x', high, low, behind @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_value(*high) << 4 | hex_value(*low), behind)
            }
            [b'\\', escape, behind @ ..] => (unescape(*escape), behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        argument.push(byte);
        rest = behind;
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], argument: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, behind) = match rest {
            [] => return Err(Unbalanced),
            [b'\'', behind @ ..] => return Ok(behind),
            [b'\\', b'\'', behind @ ..] => (b'\'', behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        argument.push(byte);
        rest = behind;
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(letter: u8) -> u8 {
    match letter {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => BACKSPACE,
        b'a' => BELL,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        letter => (letter | 0x20) - b'a' + 10,
    }
}

const BACKSPACE: u8 = 8;
const BELL: u8 = 7;

/// Appends `bytes` in double quotes, with everything escaped that is not printable ASCII. MONITOR and several error
/// texts show arguments so.
pub fn push_quoted(text: &mut Vec<u8>, bytes: &[u8]) {
    const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.reserve(bytes.len() + 2);
    text.push(b'"');
    for byte in bytes {
        match *byte {
            b'\\' => text.extend_from_slice(b"\\\\"),
            b'"' => text.extend_from_slice(b"\\\""),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            BELL => text.extend_from_slice(b"\\a"),
            BACKSPACE => text.extend_from_slice(b"\\b"),
            b' '..=b'~' => text.push(*byte),
            other => {
                let [high, low] = [other >> 4, other & 0xf].map(|digit| HEX_DIGITS[usize::from(digit)]);
                text.extend_from_slice(&[b'\\', b'x', high, low]);
            }
        }
    }
    text.push(b'"');
}

/// What Redis shows of bytes in its error texts: those in front of the first zero byte.
pub fn up_to_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &[u8], expected: &[&[u8]]) {
        let arguments = split_args(line).expect("balanced");
        assert_eq!(arguments, expected, "{}", line.escape_ascii());
    }

    #[test]
    fn words_and_white_space() {
        check(b"", &[]);
        check(b" \t\r\n\x0b\x0c ", &[]);
        check(b"get key", &[b"get", b"key"]);
        check(b"  get \t key\r\n", &[b"get", b"key"]);
        check(b"a\\nb \\", &[b"a\\nb", b"\\"]);
        check(b"\xff\x80", &[b"\xff\x80"]);
    }

    #[test]
    fn vertical_tab_and_form_feed_do_not_end_a_word() {
        check(b"a\x0bb c\x0c d", &[b"a\x0bb", b"c\x0c", b"d"]);
        check(b"\x0ba \"b\"\x0cc", &[b"a", b"b", b"c"]);
    }

    #[test]
    fn double_quotes() {
        check(b"set k \"hello world\"", &[b"set", b"k", b"hello world"]);
        check(b"\"\"", &[b""]);
        check(br#""\n\r\t\b\a\\\"\q'""#, &[b"\n\r\t\x08\x07\\\"q'"]);
        check(br#""\x00\xfF\xg0\x1""#, &[b"\x00\xffxg0x1"]);
        check(b"a\"b c\" d", &[b"ab c", b"d"]);
    }

    #[test]
    fn single_quotes() {
        check(br"'it\'s' 'a\nb\' ' ''", &[b"it's", br"a\nb' ", b""]);
        check(br"'\x41' x'y z'", &[br"\x41", b"xy z"]);
    }

    #[test]
    fn nul_ends_the_line() {
        check(b"a b\0c d", &[b"a", b"b"]);
        assert_eq!(split_args(b"a \"b\0c\""), Err(Unbalanced));
    }

    #[test]
    fn unbalanced_quotes() {
        let lines: &[&[u8]] = &[
            b"\"",
            b"'",
            b"a \"b",
            b"\"a\"b",
            b"'a'b",
            b"\"a\"\"b\"",
            b"\"a\\",
            b"\"a\\\"",
            b"'a\\'",
            b"\"a\"\\",
        ];
        for line in lines {
            assert_eq!(split_args(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quoted_bytes() {
        let mut text = b"> ".to_vec();
        push_quoted(&mut text, b"a \\ \" ' \n\r\t\x07\x08 \x00\x1f~\x7f\x80\xff");
        assert_eq!(
            text.escape_ascii().to_string(),
            br#"> "a \\ \" ' \n\r\t\a\b \x00\x1f~\x7f\x80\xff""#.escape_ascii().to_string()
        );
    }

    #[test]
    fn what_is_quoted_splits_back() {
        let every_byte: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        push_quoted(&mut line, &every_byte);
        check(&line, &[&every_byte]);
    }
}
