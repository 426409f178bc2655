//! How far a connection's input is understood.
//!
//! The input is what a turn looks at: what one read brought, or what the connection has kept. [`Intake`] stands in it as
//!
//! ```text
//! 0            whole           at              end of the input
//! | whole requests | arguments of | not looked at |
//! |                | one that is  |               |
//! |                | not whole    |               |
//! ```
//!
//! and these hold after each of its functions:
//! - `0 <= whole <= at <= end`;
//! - what lies before `whole` are whole requests, each given out once by [`Intake::next`];
//! - what lies from `whole` to `at` is the beginning of one request, and `partial` has its arguments, all of them inside;
//! - between two turns `whole` is 0: requests that ran are cut off ([`Intake::cut`]), and those that did not are given back
//!   ([`Intake::return_to`]), to be parsed again. So the kept input begins with the first byte that has not run.

use crate::resp::{ArgRange, Limits, ParseError, Parser, Step};

/// See the module's text.
#[derive(Default)]
pub struct Intake {
    whole: usize,
    parser: Parser,
    partial: Vec<ArgRange>,
}

impl Intake {
    /// Where the next request begins.
    #[inline]
    pub fn whole(&self) -> usize {
        self.whole
    }

    /// Whether the whole of an input of `len` bytes has been given out.
    #[inline]
    pub fn is_at_end(&self, len: usize) -> bool {
        self.whole == len && self.parser.at == len
    }

    /// Whether bytes of the input have not been looked at.
    #[inline]
    pub fn has_more(&self, len: usize) -> bool {
        self.parser.at < len
    }

    /// Finds the next request. The arguments of a whole one are added to `ranges`; otherwise `ranges` stays as it was.
    ///
    /// # Errors
    /// When the input breaks the protocol; the position then is only good for [`Intake::return_to`].
    #[inline]
    pub fn next(
        &mut self,
        input: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<Step, ParseError> {
        if self.parser.is_inside() {
            return self.resume(input, limits, ranges);
        }
        let first = ranges.len();
        let step = self.parser.advance(input, limits, ranges);
        match step {
            Ok(Step::Request | Step::Inline(_)) => self.whole = self.parser.at,
            Ok(Step::Incomplete) => self.partial.extend(ranges.drain(first..)),
            Err(_) => ranges.truncate(first),
        }
        step
    }

    /// [`Intake::next`] for a request that began in an earlier read. It goes on in a list of its own, so that a long one is not copied
    /// at each read.
    #[cold]
    fn resume(
        &mut self,
        input: &[u8],
        limits: &Limits,
        ranges: &mut Vec<ArgRange>,
    ) -> Result<Step, ParseError> {
        let step = self.parser.advance(input, limits, &mut self.partial)?;
        if step == Step::Request {
            self.whole = self.parser.at;
            ranges.append(&mut self.partial);
            self.partial = Vec::new();
        }
        Ok(step)
    }

    /// What begins at `start`, which is where a request began or [`Intake::whole`], will be parsed again.
    pub fn return_to(&mut self, start: usize) {
        debug_assert!(start <= self.whole, "what was not given out cannot be given back");
        *self = Intake { whole: start, parser: Parser::starting_at(start), partial: Vec::new() };
    }

    /// Cuts off what was given out: the input begins at what was [`Intake::whole`] from here on. Gives how many bytes that were.
    #[inline]
    pub fn cut(&mut self) -> usize {
        let cut = std::mem::take(&mut self.whole);
        self.parser.at -= cut;
        for range in &mut self.partial {
            range.start -= cut as u32;
        }
        cut
    }

    /// Bytes that must still arrive before the argument at hand is whole, as far as the input tells.
    pub fn bytes_wanted(&self, input: &[u8], limits: &Limits) -> usize {
        self.parser.bytes_wanted(input, limits)
    }

    /// Bytes of what is known of a request that is not whole, and the memory that they take.
    pub fn partial_bytes(&self) -> usize {
        self.partial.len() * size_of::<ArgRange>()
    }

    pub fn partial_capacity(&self) -> usize {
        self.partial.capacity() * size_of::<ArgRange>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;
    use crate::resp::Args;

    const LIMITS: Limits =
        Limits { bulk_len_max: 1 << 20, multibulk_len_max: 1000, inline_max: 1000, unauthenticated: false };

    /// Arguments of a request; a plain line has one.
    type Words = Vec<Vec<u8>>;

    /// A stream of requests of all forms, and what they say. Empty requests say nothing.
    fn stream(random: &mut Random) -> (Vec<u8>, Vec<Words>) {
        let (mut bytes, mut requests) = (Vec::new(), Vec::new());
        for number in 0..random.below(30) {
            match random.below(8) {
                0 => bytes.extend_from_slice(b"*0\r\n"),
                1 => {
                    let line = format!("PING {number}");
                    bytes.extend_from_slice(format!("{line}\r\n").as_bytes());
                    requests.push(vec![line.into_bytes()]);
                }
                _ => {
                    let count = 1 + random.below(14) as usize;
                    let word =
                        |random: &mut Random| vec![b'a' + number as u8 % 26; random.below(40) as usize];
                    let words: Words = (0..count).map(|_| word(random)).collect();
                    bytes.extend_from_slice(format!("*{count}\r\n").as_bytes());
                    for word in &words {
                        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                        bytes.extend_from_slice(word);
                        bytes.extend_from_slice(b"\r\n");
                    }
                    requests.push(words);
                }
            }
        }
        (bytes, requests)
    }

    fn check(intake: &Intake, len: usize) {
        assert!(intake.whole <= intake.parser.at && intake.parser.at <= len, "the order of the positions");
        for range in &intake.partial {
            let (start, end) = (range.start as usize, range.start as usize + range.len as usize);
            assert!(intake.whole <= start && end <= intake.parser.at, "an argument inside");
        }
    }

    /// One turn: requests are given out, some of them run, and the rest is given back, as an event loop does it.
    fn turn(intake: &mut Intake, input: &mut Vec<u8>, random: &mut Random, ran: &mut Vec<Words>) {
        let (mut ranges, mut found) = (Vec::new(), Vec::new());
        for _ in 0..1 + random.below(6) {
            let (start, first) = (intake.whole(), ranges.len());
            match intake.next(input, &LIMITS, &mut ranges).expect("a valid stream") {
                Step::Request => {
                    let words = Args::new(input, &ranges[first..]).iter_from(0).map(<[u8]>::to_vec);
                    found.push((start, words.collect::<Words>()));
                }
                Step::Inline(line) => {
                    found.push((start, vec![input[line.start as usize..][..line.len as usize].to_vec()]));
                }
                Step::Incomplete => {
                    assert_eq!(ranges.len(), first, "only whole requests are given out");
                    break;
                }
            }
            check(intake, input.len());
        }
        let runs =
            if random.below(3) == 0 { random.below(found.len() as u64 + 1) as usize } else { found.len() };
        if let Some((start, _)) = found.get(runs) {
            intake.return_to(*start);
        } else if random.below(4) == 0 {
            intake.return_to(intake.whole());
        }
        ran.extend(found.into_iter().take(runs).map(|(_, words)| words).filter(|words| !words.is_empty()));
        check(intake, input.len());
        let cut = intake.cut();
        input.drain(..cut);
        assert_eq!(intake.whole(), 0);
        check(intake, input.len());
    }

    #[test]
    fn each_request_runs_once_however_the_input_arrives_and_the_turns_end() {
        for seed in 0..3000 {
            let random = &mut Random::new(seed);
            let (bytes, requests) = stream(random);
            let (mut intake, mut input, mut ran, mut arrived) =
                (Intake::default(), Vec::new(), Vec::new(), 0);
            while ran.len() < requests.len() || arrived < bytes.len() {
                let more = arrived + (random.below(60) as usize).min(bytes.len() - arrived);
                input.extend_from_slice(&bytes[arrived..more]);
                arrived = more;
                turn(&mut intake, &mut input, random, &mut ran);
            }
            assert_eq!(ran, requests, "seed {seed}");
        }
    }

    #[test]
    fn an_error_leaves_no_argument_behind() {
        let (mut intake, mut ranges) = (Intake::default(), Vec::new());
        let input = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n+no\r\n";
        assert_eq!(intake.next(input, &LIMITS, &mut ranges), Ok(Step::Request));
        let start = intake.whole();
        assert_eq!(intake.next(input, &LIMITS, &mut ranges), Err(ParseError::ExpectedDollar(b'+')));
        assert_eq!((ranges.len(), intake.whole()), (1, start));
        intake.return_to(start);
        check(&intake, input.len());
    }
}
