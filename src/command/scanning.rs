//! What SCAN and the scans of one key have in common: how a cursor and a pattern are read, the options MATCH and COUNT, and the reply.

use super::cx::{Cx, Failure};
use crate::base::glob;
use crate::keyspace::Keyspace;
use crate::resp::{Output, Protocol, Reply};

/// Elements that a scan looks at if the request does not say how many.
const COUNT_DEFAULT: usize = 10;

/// A pattern that matches every key.
pub fn is_all(pattern: &[u8]) -> bool {
    pattern == b"*"
}

pub fn matches(pattern: &[u8], key: &[u8]) -> bool {
    // The one key that is empty is not matched by a star in `glob`, but KEYS and SCAN leave a lone star out.
    is_all(pattern) || glob::matches(pattern, key, false)
}

/// Reads a cursor as Redis does, with C's `strtoul`: a sign is allowed, nothing at all is 0, and a zero byte ends it.
pub fn cursor_argument(text: &[u8]) -> Result<u64, Failure> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let invalid = Failure::text("ERR invalid cursor");
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() && !text.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid);
    }
    let value = digits
        .iter()
        .try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    let value = value.ok_or(invalid)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// The options of a scan.
pub struct Options<'a> {
    pattern: &'a [u8],
    pub count: usize,
    /// TYPE, of SCAN.
    pub of_type: Option<&'a [u8]>,
    /// NOVALUES, of HSCAN.
    pub no_values: bool,
}

/// An option that only one of the scans has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Own {
    Type,
    NoValues,
}

impl<'a> Options<'a> {
    /// Reads the arguments from `at` on.
    ///
    /// # Errors
    /// If one of them is no option, lacks its value, or has a wrong one.
    pub fn parse(cx: &Cx<'a, '_>, mut at: usize, own: Option<Own>) -> Result<Options<'a>, Failure> {
        let mut options = Options { pattern: b"*", count: COUNT_DEFAULT, of_type: None, no_values: false };
        while let Some(word) = cx.args.get(at) {
            if own == Some(Own::NoValues) && word.eq_ignore_ascii_case(b"NOVALUES") {
                options.no_values = true;
                at += 1;
                continue;
            }
            let value = cx.args.get(at + 1).ok_or(Failure::SYNTAX)?;
            if word.eq_ignore_ascii_case(b"COUNT") {
                let count = cx.integer(at + 1)?;
                options.count =
                    usize::try_from(count).ok().filter(|count| *count > 0).ok_or(Failure::SYNTAX)?;
            } else if word.eq_ignore_ascii_case(b"MATCH") {
                options.pattern = value;
            } else if own == Some(Own::Type) && word.eq_ignore_ascii_case(b"TYPE") {
                options.of_type = Some(value);
            } else {
                return Err(Failure::SYNTAX);
            }
            at += 2;
        }
        Ok(options)
    }

    /// Whether MATCH lets a name through.
    pub fn matches(&self, name: &[u8]) -> bool {
        matches(self.pattern, name)
    }
}

/// A scan of one key's elements (HSCAN, SSCAN, ZSCAN): a part of the reply is made aside, since what it has comes in front of it.
///
/// What is small comes whole. What is large is walked in the order of hashes, whose places mean the same however its leaves are divided and joined meanwhile: an element that
/// is there all the time comes exactly once.
pub struct ElementScan<'a> {
    keyspace: &'a Keyspace,
    /// From where in the order of hashes it goes on.
    pub place: u64,
    found: Output,
    /// Words that were found.
    words: usize,
    protocol: Protocol,
}

impl<'a> ElementScan<'a> {
    /// Reads the cursor.
    ///
    /// # Errors
    /// If it is none.
    pub fn begin<'s: 'a>(cx: &Cx<'_, 's>) -> Result<ElementScan<'a>, Failure> {
        let keyspace = &cx.services().keyspace;
        let place = keyspace.place_of(cursor_argument(cx.args.at(2))?).1;
        let (found, protocol) = (cx.reply.aside(), cx.reply.protocol());
        Ok(ElementScan { keyspace, place, found, words: 0, protocol })
    }

    /// Puts so many words into the reply.
    pub fn push(&mut self, words: usize, write: impl FnOnce(&mut Reply<'_>)) {
        write(&mut Reply::new(&mut self.found, self.protocol));
        self.words += words;
    }

    /// Whether the reply is beyond the client's limit, and no more need be looked for.
    pub fn is_over(&self) -> bool {
        self.found.is_over()
    }

    /// Writes the reply, with the place from where the next call goes on.
    pub fn finish(self, reply: &mut Reply<'_>, next: Option<u64>) {
        reply.array(2);
        reply.bulk_text(next.map_or(0, |place| self.keyspace.cursor_of(0, place)));
        reply.array(self.words);
        reply.append(self.found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_like_strtoul() {
        for (text, want) in [
            (&b"0"[..], Some(0)),
            (b"", Some(0)),
            (b"+7", Some(7)),
            (b"-1", Some(u64::MAX)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b" 1", None),
            (b"1 ", None),
            (b"+", None),
            (b"12\x00x", Some(12)),
            (b"\x00", Some(0)),
            (b"abc", None),
        ] {
            assert_eq!(cursor_argument(text).ok(), want, "{text:?}");
        }
    }
}
