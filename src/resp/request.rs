//! The incremental request parser. It copies nothing: a request is a list of ranges into the input, and a parser that ran
//! out of input goes on at the argument where it stopped.
//!
//! Two forms are accepted, as the Redis protocol specification has them: an array of bulk strings (`*2\r\n$3\r\nGET\r\n...`) and a
//! plain line of words (inline), which the caller splits. Error texts are those that Redis sends.

use memchr::memchr2;

use crate::base::number::parse_i64;

/// Where an argument lies in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    pub start: u32,
    pub len: u32,
}

/// The arguments of one request, the command's name first.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    input: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// `ranges` come from a [`Parser`] that read `input`.
    pub fn new(input: &'a [u8], ranges: &'a [ArgRange]) -> Args<'a> {
        Args { input, ranges }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `index`, which must be below [`Args::len`].
    #[inline]
    pub fn at(&self, index: usize) -> &'a [u8] {
        let range = self.ranges[index];
        &self.input[range.start as usize..][..range.len as usize]
    }

    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The arguments from `from` on.
    pub fn iter_from(&self, from: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let args = *self;
        (from.min(args.len())..args.len()).map(move |index| args.at(index))
    }

    /// The request without its first `from` arguments.
    pub fn from(&self, from: usize) -> Args<'a> {
        Args { input: self.input, ranges: &self.ranges[from.min(self.len())..] }
    }

    /// Bytes of all arguments together.
    pub fn bytes(&self) -> usize {
        self.ranges.iter().map(|range| range.len as usize).sum()
    }
}

/// What a peer may send. Larger requests are protocol errors.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `proto-max-bulk-len`
    pub bulk_len_max: u64,
    /// `proto-max-multibulk-len`
    pub multibulk_len_max: u64,
    /// `proto-inline-max-size`: of a plain line, and of any length line.
    pub inline_max: usize,
    /// The client has not authenticated yet: the tighter limits are in force and errors say so.
    pub unauthenticated: bool,
}

/// A stream that does not keep to the protocol. The connection answers with the text and closes.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum ParseError {
    TooBigInline,
    TooBigMultibulkLine,
    TooBigBulkLine,
    InvalidMultibulkLength,
    UnauthenticatedMultibulkLength,
    InvalidBulkLength,
    UnauthenticatedBulkLength,
    ExpectedDollar(u8),
    UnbalancedQuotes,
}

impl ParseError {
    /// Whether the same request could be right once its client has authenticated.
    pub fn depends_on_authentication(self) -> bool {
        matches!(self, ParseError::UnauthenticatedMultibulkLength | ParseError::UnauthenticatedBulkLength)
    }
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Protocol error: ")?;
        match self {
            ParseError::TooBigInline => f.write_str("too big inline request"),
            ParseError::TooBigMultibulkLine => f.write_str("too big mbulk count string"),
            ParseError::TooBigBulkLine => f.write_str("too big bulk count string"),
            ParseError::InvalidMultibulkLength => f.write_str("invalid multibulk length"),
            ParseError::UnauthenticatedMultibulkLength => f.write_str("unauthenticated multibulk length"),
            ParseError::InvalidBulkLength => f.write_str("invalid bulk length"),
            ParseError::UnauthenticatedBulkLength => f.write_str("unauthenticated bulk length"),
            ParseError::ExpectedDollar(got) => {
                // A reply is one line: what could break it is shown as a space, as Redis does.
                let shown = if matches!(got, b'\r' | b'\n') { b' ' } else { *got };
                write!(f, "expected '$', got '{}'", char::from(shown))
            }
            ParseError::UnbalancedQuotes => f.write_str("unbalanced quotes in request"),
        }
    }
}

/// What a call of [`Parser::advance`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole request; its ranges are in the caller's list. No range at all: an empty request, to be ignored.
    Request,
    /// A plain line, without its end.
    Inline(ArgRange),
    /// The input ends inside a request.
    Incomplete,
}

/// The state of a parser between two reads. `at` is where it goes on in the input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parser {
    pub at: usize,
    arguments_left: u32,
}

impl Parser {
    /// A parser at the start of a request.
    pub fn starting_at(at: usize) -> Parser {
        Parser { at, arguments_left: 0 }
    }

    /// Whether it stands inside an array of arguments.
    pub fn is_inside(&self) -> bool {
        self.arguments_left > 0
    }

    /// Arguments of the present request that are still to come.
    pub fn arguments_left(&self) -> usize {
        self.arguments_left as usize
    }

    /// Goes on with `input`, adding each finished argument to `ranges`.
    #[inline]
    pub fn advance(
        &mut self,
        input: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<Step, ParseError> {
        if self.arguments_left == 0 && self.short_request(input, limits, ranges) {
            return Ok(Step::Request);
        }
        self.any_request(input, limits, ranges)
    }

    /// [`Parser::advance`], whatever comes.
    fn any_request(
        &mut self,
        input: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<Step, ParseError> {
        if self.arguments_left == 0 {
            match input.get(self.at) {
                None => return Ok(Step::Incomplete),
                Some(b'*') => {}
                Some(_) => return self.inline(input, limits),
            }
            let (too_long, invalid) = (ParseError::TooBigMultibulkLine, ParseError::InvalidMultibulkLength);
            let line = length_line(input, self.at + 1, limits, too_long, invalid)?;
            let Some((count, next)) = line else { return Ok(Step::Incomplete) };
            if count > limits.multibulk_len_max as i64 {
                return Err(if limits.unauthenticated {
                    ParseError::UnauthenticatedMultibulkLength
                } else {
                    ParseError::InvalidMultibulkLength
                });
            }
            self.at = next;
            if count <= 0 {
                return Ok(Step::Request);
            }
            self.arguments_left = count as u32;
        }
        loop {
            self.short_arguments(input, limits, ranges);
            if self.arguments_left == 0 {
                return Ok(Step::Request);
            }
            if !self.argument(input, limits, ranges)? {
                return Ok(Step::Incomplete);
            }
            self.arguments_left -= 1;
        }
    }

    /// Takes a whole request as nearly all are: less than ten arguments, a name of less than ten bytes, short length lines. Anything
    /// else, right or wrong, is left as it was, and the answer is false; since such a request is short or incomplete in its first few
    /// arguments, reading those again costs little.
    #[inline]
    fn short_request(&mut self, input: &[u8], limits: &Limits, ranges: &mut Vec<ArgRange>) -> bool {
        // The head and the first length line, `*N` and `$N`, are one word. Line feeds are not looked at: see `length_line`.
        const MASK: u64 = u64::from_le_bytes([0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0]);
        let Some(head) = input.get(self.at..).and_then(<[u8]>::first_chunk) else { return false };
        let word = u64::from_le_bytes(*head);
        if word & MASK != u64::from_le_bytes(*b"*\0\r\0$\0\r\0") {
            return false;
        }
        let (count, name) = (((word >> 8) as u8).wrapping_sub(b'0'), ((word >> 40) as u8).wrapping_sub(b'0'));
        let start = self.at + head.len();
        let mut at = start + usize::from(name) + 2;
        let tight = limits.multibulk_len_max < 10 || limits.bulk_len_max < SHORT_LENGTH_MAX;
        if !(1..=9).contains(&count) || name > 9 || at > input.len() || tight {
            return false;
        }
        let first = ranges.len();
        ranges.push(ArgRange { start: start as u32, len: u32::from(name) });
        for _ in 1..count {
            let argument = match input.get(at) {
                Some(b'$') => short_length(input, at + 1),
                _ => None,
            };
            let Some((len, start)) = argument.filter(|(len, start)| start + *len as usize + 2 <= input.len())
            else {
                ranges.truncate(first);
                return false;
            };
            ranges.push(ArgRange { start: start as u32, len });
            at = start + len as usize + 2;
        }
        self.at = at;
        true
    }

    /// Takes as many arguments as have a short length line and are whole; stops, without an opinion, at any other.
    #[inline]
    fn short_arguments(&mut self, input: &[u8], limits: &Limits, ranges: &mut Vec<ArgRange>) {
        let (mut at, mut left) = (self.at, self.arguments_left);
        while left > 0 && input.get(at) == Some(&b'$') {
            let Some((len, start)) = short_length(input, at + 1) else { break };
            let end = start + len as usize + 2;
            if u64::from(len) > limits.bulk_len_max || end > input.len() {
                break;
            }
            ranges.push(ArgRange { start: start as u32, len });
            at = end;
            left -= 1;
        }
        (self.at, self.arguments_left) = (at, left);
    }

    /// One `$len\r\nbytes\r\n`; false if the input ends before its end.
    fn argument(
        &mut self,
        input: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<bool, ParseError> {
        match input.get(self.at) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(other) => return Err(ParseError::ExpectedDollar(*other)),
        }
        let (too_long, invalid) = (ParseError::TooBigBulkLine, ParseError::InvalidBulkLength);
        let line = length_line(input, self.at + 1, limits, too_long, invalid)?;
        let Some((len, start)) = line else { return Ok(false) };
        if len < 0 {
            return Err(ParseError::InvalidBulkLength);
        }
        if len as u64 > limits.bulk_len_max {
            return Err(if limits.unauthenticated {
                ParseError::UnauthenticatedBulkLength
            } else {
                ParseError::InvalidBulkLength
            });
        }
        let end = start + len as usize + 2;
        if end > input.len() {
            return Ok(false);
        }
        ranges.push(ArgRange { start: start as u32, len: len as u32 });
        self.at = end;
        Ok(true)
    }

    fn inline(&mut self, input: &[u8], limits: &Limits) -> Result<Step, ParseError> {
        let rest = &input[self.at..];
        let Some(end) = find_end(b'\n', rest) else {
            return if rest.len() > limits.inline_max {
                Err(ParseError::TooBigInline)
            } else {
                Ok(Step::Incomplete)
            };
        };
        // The carriage return counts, since it may arrive before the line feed that makes it a part of the end.
        if end > limits.inline_max {
            return Err(ParseError::TooBigInline);
        }
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let range = ArgRange { start: self.at as u32, len: line.len() as u32 };
        self.at += end + 1;
        Ok(Step::Inline(range))
    }

    /// Bytes that must still arrive before the argument at hand is whole, as far as the input tells.
    pub fn bytes_wanted(&self, input: &[u8], limits: &Limits) -> usize {
        if self.arguments_left == 0 || input.get(self.at) != Some(&b'$') {
            return 0;
        }
        let (too_long, invalid) = (ParseError::TooBigBulkLine, ParseError::InvalidBulkLength);
        match length_line(input, self.at + 1, limits, too_long, invalid) {
            Ok(Some((len, start))) => (start + len.max(0) as usize + 2).saturating_sub(input.len()),
            _ => 0,
        }
    }
}

/// Where a line ends. Redis looks no further than to the first zero byte: a line with one in it never ends, it only grows too long.
#[inline]
fn find_end(mark: u8, rest: &[u8]) -> Option<usize> {
    memchr2(mark, 0, rest).filter(|at| rest[*at] == mark)
}

/// Reads a length line from `start`: its value and the index behind its end, or `None` while the end has not arrived.
fn length_line(
    input: &[u8],
    start: usize,
    limits: &Limits,
    too_long: ParseError,
    invalid: ParseError,
) -> Result<Option<(i64, usize)>, ParseError> {
    if let Some((value, end)) = short_length(input, start) {
        return Ok(Some((i64::from(value), end)));
    }
    let rest = &input[start..];
    match find_end(b'\r', rest) {
        // The byte behind the carriage return is taken for a line feed unseen, as Redis does.
        Some(end) if start + end + 1 < input.len() => {
            let value = parse_i64(&rest[..end]).ok_or(invalid)?;
            Ok(Some((value, start + end + 2)))
        }
        _ if rest.len() > limits.inline_max => Err(too_long),
        _ => Ok(None),
    }
}

/// The largest value that [`short_length`] gives.
const SHORT_LENGTH_MAX: u64 = 999_999;

/// Nearly all length lines are one to six digits with more input behind them: those are read in one pass, to the value and the index
/// behind the line. Anything else, right or wrong, is left to the caller's slow way.
#[inline(always)]
fn short_length(input: &[u8], start: usize) -> Option<(u32, usize)> {
    let head: &[u8; 8] = input.get(start..)?.first_chunk()?;
    let first = head[0].wrapping_sub(b'0');
    if head[1] == b'\r' {
        return (first <= 9).then_some((u32::from(first), start + 3));
    }
    if !(1..=9).contains(&first) {
        return None;
    }
    let mut value = u32::from(first);
    for (index, byte) in head[1..7].iter().enumerate() {
        if *byte == b'\r' {
            return Some((value, start + index + 3));
        }
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u32::from(digit);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bulk_len_max: 512 << 20,
        multibulk_len_max: 1 << 20,
        inline_max: 64 << 10,
        unauthenticated: false,
    };

    fn parse_all(input: &[u8]) -> Result<Vec<Vec<Vec<u8>>>, ParseError> {
        let (mut parser, mut requests) = (Parser::default(), Vec::new());
        loop {
            let mut ranges = Vec::new();
            match parser.advance(input, &LIMITS, &mut ranges)? {
                Step::Request => {
                    requests.push(Args::new(input, &ranges).iter_from(0).map(<[u8]>::to_vec).collect());
                }
                Step::Inline(line) => {
                    requests.push(vec![input[line.start as usize..][..line.len as usize].to_vec()]);
                }
                Step::Incomplete => return Ok(requests),
            }
        }
    }

    #[test]
    fn arrays_inline_lines_and_empty_requests_follow_each_other() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING x\r\n*0\r\n*-1\r\n*-9223372036854775808\r\n\r\n*1\r\n$0\r\n\r\n";
        let requests = parse_all(input).expect("a valid stream");
        let want: Vec<Vec<&[u8]>> =
            vec![vec![b"GET", b"k"], vec![b"PING x"], vec![], vec![], vec![], vec![b""], vec![b""]];
        assert_eq!(requests, want);
    }

    #[test]
    fn every_split_point_gives_the_same_requests() {
        let input = b"*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$10\r\n0123\r\n6789\r\n*1\r\n$4\r\nPING\r\n";
        for split in 0..input.len() {
            let (mut parser, mut ranges, mut count) = (Parser::default(), Vec::new(), 0);
            for end in [split, input.len()] {
                while parser.advance(&input[..end], &LIMITS, &mut ranges) == Ok(Step::Request) {
                    count += 1;
                }
            }
            let args: Vec<_> = Args::new(input, &ranges).iter_from(0).collect();
            assert_eq!((count, args.len(), args[2], args[3]), (2, 4, &b"0123\r\n6789"[..], &b"PING"[..]));
        }
    }

    /// What a stream holds, whether it comes at once or byte by byte. The short ways are for what is there as a whole; so this compares
    /// them with the long ones, for each byte that a head can have.
    #[test]
    fn each_byte_in_a_head_means_the_same_however_it_arrives() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n";
        let parse = |input: &[u8], step: usize| {
            let (mut parser, mut found, mut ranges) = (Parser::default(), Vec::new(), Vec::new());
            for end in (step..=input.len()).step_by(step) {
                loop {
                    match parser.advance(&input[..end], &LIMITS, &mut ranges) {
                        Ok(Step::Incomplete) => break,
                        Ok(step) => found.push((step, parser.at, std::mem::take(&mut ranges))),
                        Err(error) => return (found, Some(error)),
                    }
                }
            }
            (found, None)
        };
        for (at, byte) in (0..18).flat_map(|at| (0..=u8::MAX).map(move |byte| (at, byte))) {
            let mut input = input.to_vec();
            input[at] = byte;
            assert_eq!(parse(&input, input.len()), parse(&input, 1), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn errors_have_redis_texts() {
        let cases: [(&[u8], &str); 13] = [
            (b"*3000000000\r\n", "invalid multibulk length"),
            (b"*1x\r\n", "invalid multibulk length"),
            (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
            (b"*1\r\n\r\n", "expected '$', got ' '"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$2000000000\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*-0\r\n", "invalid multibulk length"),
            (b"*-01\r\n", "invalid multibulk length"),
            (b"*-9223372036854775809\r\n", "invalid multibulk length"),
            (b"*1\r\n$-0\r\n", "invalid bulk length"),
            (b"*1\r\n$+1\r\n", "invalid bulk length"),
        ];
        for (input, text) in cases {
            let error = parse_all(input).expect_err(text);
            assert_eq!(error.to_string(), format!("Protocol error: {text}"));
        }
        let long = vec![b'1'; 70_000];
        assert_eq!(parse_all(&long), Err(ParseError::TooBigInline));
        assert_eq!(parse_all(&[b"*", &long[..]].concat()), Err(ParseError::TooBigMultibulkLine));
        assert_eq!(parse_all(&[b"*1\r\n$", &long[..]].concat()), Err(ParseError::TooBigBulkLine));
    }

    #[test]
    fn the_longest_line_does_not_depend_on_how_it_arrives() {
        for (length, fits) in [(LIMITS.inline_max - 1, true), (LIMITS.inline_max, false)] {
            let line = [&vec![b'x'; length][..], b"\r\n"].concat();
            let whole = parse_all(&line);
            let (mut parser, mut ranges) = (Parser::default(), Vec::new());
            let cut = parser.advance(&line[..line.len() - 1], &LIMITS, &mut ranges);
            assert_eq!((whole.is_ok(), cut == Ok(Step::Incomplete)), (fits, fits), "{length}");
        }
    }

    #[test]
    fn a_long_request_is_never_read_twice() {
        let input = [&b"*100001\r\n"[..], &b"$4\r\nMGET\r\n".repeat(100_001)].concat();
        let (mut parser, mut ranges) = (Parser::default(), Vec::new());
        for end in (0..input.len()).step_by(16 * 1024) {
            assert_eq!(parser.advance(&input[..end], &LIMITS, &mut ranges), Ok(Step::Incomplete));
            // The next call goes on from here: less than one argument of what has come is still to be read.
            assert!(end - parser.at < b"*100001\r\n".len().max(b"$4\r\nMGET\r\n".len()));
        }
        assert_eq!(parser.advance(&input, &LIMITS, &mut ranges), Ok(Step::Request));
        assert_eq!((ranges.len(), parser.at), (100_001, input.len()));
    }

    #[test]
    fn it_says_how_many_bytes_a_large_argument_still_wants() {
        let (mut parser, mut ranges) = (Parser::default(), Vec::new());
        let input = b"*2\r\n$3\r\nSET\r\n$1000\r\nabc";
        assert_eq!(parser.advance(input, &LIMITS, &mut ranges), Ok(Step::Incomplete));
        assert_eq!(parser.bytes_wanted(input, &LIMITS), 1002 - 3);
    }
}
