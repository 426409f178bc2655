//! Bodies of the fuzz targets: any bytes must leave them without a panic. They also run as tests with fixed seeds.
//!
//! [`request`] holds the parser to one rule: what it finds depends on the bytes alone, not on how they arrive. [`commands`] turns bytes into
//! requests on few keys, runs them in process with a clock that jumps, and compares each reply with the plain [`Model`].

use std::collections::BTreeSet;

use super::in_process::{self, InProcess, START_MS};
use super::model::Model;
use super::transcript::{Kind, Reply, Shape, decode};
use crate::base::random::Random;
use crate::config::Config;
use crate::keyspace::TICK_MS;
use crate::resp::{ArgRange, Args, Limits, ParseError, Parser, Step};

/// Small, so that inputs of a few hundred bytes reach every limit.
const LIMITS: Limits =
    Limits { bulk_len_max: 1000, multibulk_len_max: 50, inline_max: 64, unauthenticated: false };
/// Databases of the servers that are fuzzed.
const DATABASES: usize = 2;

/// What a stream says: its requests, and how it ends.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    requests: Vec<Vec<Vec<u8>>>,
    error: Option<ParseError>,
}

/// Any bytes, as they come from a socket: the same requests wherever they are cut, and a server that survives them.
///
/// # Panics
/// When the parser or the server is at fault.
pub fn request(data: &[u8]) {
    let seed = data.iter().fold(data.len() as u64, |seed, byte| seed.wrapping_mul(31) ^ u64::from(*byte));
    let mut random = Random::new(seed);
    let whole = hear(data, &[data.len()]);
    let pieces = 1 + random.below(8);
    let mut ends: Vec<usize> = (0..pieces).map(|_| random.below(data.len() as u64 + 1) as usize).collect();
    ends.push(data.len());
    ends.sort_unstable();
    for ends in [ends, (1..=data.len()).collect()] {
        let cut = hear(data, &ends);
        assert_eq!(cut.requests, whole.requests, "cut at {ends:?}");
        // A line that is too long is noticed before its end has come, if it comes in pieces: then the error says so.
        let too_long = |error: &ParseError| {
            matches!(
                error,
                ParseError::TooBigInline | ParseError::TooBigMultibulkLine | ParseError::TooBigBulkLine
            )
        };
        if !cut.error.as_ref().is_some_and(too_long) || whole.error.is_none() {
            assert_eq!(cut.error, whole.error, "cut at {ends:?}");
        }
    }
    if !whole.requests.is_empty() {
        serve(data, &mut random);
    }
}

/// Parses a stream that arrives up to each of `ends` in turn.
fn hear(data: &[u8], ends: &[usize]) -> Heard {
    let mut heard = Heard { requests: Vec::new(), error: None };
    let (mut parser, mut ranges) = (Parser::default(), Vec::<ArgRange>::new());
    for &end in ends {
        let input = &data[..end];
        loop {
            let before = parser.at;
            match parser.advance(input, &LIMITS, &mut ranges) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Request) => {
                    let words = Args::new(input, &ranges).iter_from(0).map(<[u8]>::to_vec);
                    heard.requests.push(words.collect());
                    ranges.clear();
                }
                Ok(Step::Inline(line)) => {
                    heard.requests.push(vec![input[line.start as usize..][..line.len as usize].to_vec()]);
                }
                Err(error) => {
                    heard.error = Some(error);
                    return heard;
                }
            }
            assert!(
                parser.at > before && parser.at <= input.len(),
                "a request takes bytes, and only those there are"
            );
        }
        // An argument has a head of at least four bytes, so what the parser holds on to is bounded by what was sent.
        assert!(ranges.len() * 4 <= end && ranges.len() <= LIMITS.multibulk_len_max as usize);
        assert!(parser.bytes_wanted(input, &LIMITS) <= LIMITS.bulk_len_max as usize + 2);
    }
    heard
}

/// A server hears the bytes in two pieces, while another client has a key that must survive them.
fn serve(data: &[u8], random: &mut Random) {
    let config = config();
    let services = in_process::services(config);
    let mut server = InProcess::new(&services);
    let (stranger, neighbour) = (server.connect(), server.connect());
    let (first, second) = data.split_at(random.below(data.len() as u64 + 1) as usize);
    server.feed(stranger, first);
    server.feed(neighbour, b"SELECT 1\r\n");
    server.feed(stranger, second);
    server.advance(1000);
    server.feed(neighbour, b"PING\r\n");
    server.disconnect(stranger);
    if server.is_open(neighbour) {
        let heard = server.take_output(neighbour);
        let paused = heard.len() < b"+OK\r\n+PONG\r\n".len();
        assert!(paused || heard.starts_with(b"+OK\r\n"), "{}", String::from_utf8_lossy(&heard));
    }
}

fn config() -> Config {
    let mut config = Config::default();
    config.databases = DATABASES as u32;
    // A megabyte is the largest value: SETRANGE with a huge offset is an error then, not a test of the machine's memory.
    config.proto_max_bulk_len = 1 << 20;
    config
}

/// Bytes as requests on few keys: the server answers as the model does.
///
/// # Panics
/// When server and model differ.
pub fn commands(data: &[u8]) {
    let services = in_process::services(config());
    let mut server = InProcess::new(&services);
    let client = server.connect();
    let mut run = Run { server, client, model: Model::new(DATABASES, START_MS), scan: None, log: Vec::new() };
    let mut bytes = Bytes(data);
    while !bytes.0.is_empty() {
        run.step(&mut bytes);
    }
    for database in 0..DATABASES {
        run.check(&[b"SELECT", database.to_string().as_bytes()]);
        run.check_keys();
    }
    // Whatever has expired is gone for good two ticks later, not only unseen.
    let most = run.model.keys().len();
    run.advance(2 * TICK_MS as u64);
    let least = run.model.keys().len();
    let reply = run.ask(&[b"DBSIZE"]);
    let Reply::Scalar(Kind::Integer, resident) = reply_of(&reply) else { panic!("{}", run.story()) };
    let resident: usize = String::from_utf8_lossy(&resident).parse().expect("a number");
    assert!((least..=most).contains(&resident), "{resident} of {least} to {most}: {}", run.story());
}

/// A SCAN under way: what it must still return, and what it has returned.
struct Scan {
    cursor: Vec<u8>,
    /// Keys that were there when it began and never went since.
    owed: BTreeSet<Vec<u8>>,
    seen: BTreeSet<Vec<u8>>,
}

struct Run<'s> {
    server: InProcess<'s>,
    client: usize,
    model: Model,
    scan: Option<Scan>,
    /// What was asked, for the message of a failure.
    log: Vec<String>,
}

impl Run<'_> {
    /// Reads one operation and does it.
    fn step(&mut self, bytes: &mut Bytes<'_>) {
        match bytes.next() % 32 {
            0..=1 => self.advance(STEPS_MS[usize::from(bytes.next()) % STEPS_MS.len()]),
            2 => self.check_keys(),
            3..=4 => self.scan_on(bytes),
            other => {
                let words = bytes.command(other, self.server.now_ms());
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                self.check(&words);
            }
        }
        if let Some(scan) = &mut self.scan {
            let keys: BTreeSet<_> = self.model.keys().into_iter().collect();
            scan.owed.retain(|key| keys.contains(key));
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        self.log.push(format!("advance {milliseconds}"));
        self.server.advance(milliseconds);
        self.model.set_now_ms(self.server.now_ms());
    }

    fn ask(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let shown: Vec<String> = words.iter().map(|word| word.escape_ascii().to_string()).collect();
        self.log.push(shown.join(" "));
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.server.feed(self.client, &request);
        self.server.take_output(self.client)
    }

    /// Asks server and model.
    fn check(&mut self, words: &[&[u8]]) {
        let owned: Vec<Vec<u8>> = words.iter().map(|word| word.to_vec()).collect();
        if matches!(words[0], b"SELECT" | b"SWAPDB" | b"FLUSHDB") {
            self.scan = None;
        }
        let expected = self.model.answer(&owned);
        let got = self.ask(words);
        assert_eq!(
            got.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "server (left) and model (right) differ at the end of:\n{}",
            self.story()
        );
    }

    fn check_keys(&mut self) {
        let reply = self.ask(&[b"KEYS", b"*"]);
        let mut keys = strings(reply_of(&reply));
        keys.sort_unstable();
        assert_eq!(keys, self.model.keys(), "{}", self.story());
    }

    /// Begins a SCAN, or goes on with one; at its end everything that was owed has been seen.
    fn scan_on(&mut self, bytes: &mut Bytes<'_>) {
        let mut scan = self.scan.take().unwrap_or_else(|| Scan {
            cursor: b"0".to_vec(),
            owed: self.model.keys().into_iter().collect(),
            seen: BTreeSet::new(),
        });
        let count = (1 + bytes.next() / 16).to_string();
        let reply = self.ask(&[b"SCAN", &scan.cursor, b"COUNT", count.as_bytes()]);
        let Reply::Aggregate(Shape::Array, parts) = reply_of(&reply) else { panic!("{}", self.story()) };
        let [Reply::Scalar(Kind::Bulk, cursor), keys] =
            <[Reply; 2]>::try_from(parts).expect("a cursor and keys")
        else {
            panic!("{}", self.story())
        };
        let keys = strings(keys);
        let there = self.model.keys();
        assert!(keys.iter().all(|key| there.contains(key)), "a key that is gone: {}", self.story());
        scan.seen.extend(keys);
        scan.cursor = cursor;
        if scan.cursor == b"0" {
            assert!(scan.owed.is_subset(&scan.seen), "{:?} of {:?}\n{}", scan.seen, scan.owed, self.story());
        } else {
            self.scan = Some(scan);
        }
    }

    fn story(&self) -> String {
        self.log.join("\n")
    }
}

/// Ways of the clock, in milliseconds.
const STEPS_MS: [u64; 8] = [1, 5, 63, 64, 999, 1000, 1500, 20_000];

/// Input that means something byte by byte; behind its end come zeros.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn pick<'w>(&mut self, words: &[&'w str]) -> &'w str {
        words[usize::from(self.next()) % words.len()]
    }

    /// One of eight keys in different shards, or one of many in a shard that they fill.
    fn key(&mut self) -> Vec<u8> {
        match self.next() {
            0 => Vec::new(),
            few @ 1..=127 => format!("k{}", few % 8).into_bytes(),
            many => format!("{{one shard}}{many}").into_bytes(),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let byte = self.next();
        match byte % 4 {
            0 => (byte as i8).to_string().into_bytes(),
            1 => Vec::new(),
            2 => self.pick(&["9223372036854775807", "-9223372036854775808", "01", " 1", "1.5", "x"]).into(),
            _ => vec![byte; usize::from(byte)],
        }
    }

    fn number(&mut self) -> String {
        match self.next() {
            byte @ 0..=239 => (byte as i8 % 40).to_string(),
            _ => self
                .pick(&["9223372036854775807", "-9223372036854775808", "9223372036854775", "1.5", ""])
                .to_owned(),
        }
    }

    /// A moment around now, or far away.
    fn moment(&mut self, unit_ms: i64, now_ms: i64) -> String {
        let distance = i64::from(self.next() as i8);
        (now_ms / unit_ms + distance).to_string()
    }

    /// EX, PX, EXAT or PXAT with what belongs to it.
    fn deadline(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let (unit, amount) = match self.next() % 4 {
            0 => ("EX", self.number()),
            1 => ("px", self.number()),
            2 => ("EXAT", self.moment(1000, now_ms)),
            _ => ("PxAt", self.moment(1, now_ms)),
        };
        vec![unit.into(), amount.into_bytes()]
    }

    /// A request; `kind` is 5 to 31.
    fn command(&mut self, kind: u8, now_ms: i64) -> Vec<Vec<u8>> {
        let word = |name: &str| name.as_bytes().to_vec();
        match kind {
            5..=7 => self.set(now_ms),
            8 => vec![word("GET"), self.key()],
            9 => self.keys(&["DEL", "UNLINK", "EXISTS", "TOUCH", "MGET"]),
            10..=12 => self.expire(now_ms),
            13 | 14 => {
                vec![word(self.pick(&["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "TYPE"])), self.key()]
            }
            15 => vec![word("PERSIST"), self.key()],
            16 => vec![word("APPEND"), self.key(), self.value()],
            17 => vec![word("SETRANGE"), self.key(), self.small().into_bytes(), self.value()],
            18 => vec![word("GETRANGE"), self.key(), self.number().into_bytes(), self.number().into_bytes()],
            19 => vec![word(self.pick(&["INCR", "DECR"])), self.key()],
            20 => vec![word(self.pick(&["INCRBY", "DECRBY"])), self.key(), self.number().into_bytes()],
            21 | 22 => self.getex(now_ms),
            23 => vec![word(self.pick(&["GETDEL", "STRLEN", "GET"])), self.key()],
            24 | 25 => vec![word(self.pick(&["RENAME", "RENAMENX"])), self.key(), self.key()],
            26 => self.copy(),
            27 => vec![word("MOVE"), self.key(), word(self.pick(&["0", "1"]))],
            28 => {
                let mut words = vec![word(self.pick(&["MSET", "MSETNX"]))];
                for _ in 0..=self.next() % 4 {
                    words.extend([self.key(), self.value()]);
                }
                words
            }
            29 => vec![word(self.pick(&["GETSET", "SETNX"])), self.key(), self.value()],
            30 => {
                let name = word(self.pick(&["SETEX", "PSETEX"]));
                vec![name, self.key(), self.number().into_bytes(), self.value()]
            }
            _ => match self.next() {
                0..=7 => vec![word("FLUSHDB")],
                8..=31 => vec![word("SWAPDB"), word("0"), word("1")],
                _ => vec![word("SELECT"), word(self.pick(&["0", "1"]))],
            },
        }
    }

    fn small(&mut self) -> String {
        (self.next() as i8 / 2).to_string()
    }

    fn set(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let mut words = vec![b"SET".to_vec(), self.key(), self.value()];
        let choices = self.next();
        match choices % 4 {
            1 => words.push(b"nx".to_vec()),
            2 => words.push(b"XX".to_vec()),
            _ => {}
        }
        if choices & 4 != 0 {
            words.push(b"Get".to_vec());
        }
        match choices / 8 % 4 {
            1 | 2 => words.extend(self.deadline(now_ms)),
            3 => words.push(b"KEEPTTL".to_vec()),
            _ => {}
        }
        words
    }

    fn getex(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let mut words = vec![b"GETEX".to_vec(), self.key()];
        match self.next() % 4 {
            0 => {}
            1 => words.push(b"PERSIST".to_vec()),
            _ => words.extend(self.deadline(now_ms)),
        }
        words
    }

    fn expire(&mut self, now_ms: i64) -> Vec<Vec<u8>> {
        let name = self.pick(&["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"]);
        let key = self.key();
        let amount = match name {
            "EXPIREAT" => self.moment(1000, now_ms),
            "PEXPIREAT" => self.moment(1, now_ms),
            _ => self.number(),
        };
        let mut words = vec![name.into(), key, amount.into_bytes()];
        match self.next() % 8 {
            condition @ 0..=3 => words.push(["NX", "XX", "GT", "LT"][usize::from(condition)].into()),
            4 => words.extend([b"XX".to_vec(), b"gt".to_vec()]),
            _ => {}
        }
        words
    }

    fn copy(&mut self) -> Vec<Vec<u8>> {
        let mut words = vec![b"COPY".to_vec(), self.key(), self.key()];
        let choices = self.next();
        if choices & 1 != 0 {
            words.extend([b"DB".to_vec(), vec![b'0' + choices / 2 % 2]]);
        }
        if choices & 4 != 0 {
            words.push(b"REPLACE".to_vec());
        }
        words
    }

    fn keys(&mut self, names: &[&str]) -> Vec<Vec<u8>> {
        let mut words = vec![self.pick(names).as_bytes().to_vec()];
        for _ in 0..=self.next() % 4 {
            words.push(self.key());
        }
        words
    }
}

fn reply_of(bytes: &[u8]) -> Reply {
    let (reply, taken) = decode(bytes).expect("a reply").expect("a whole reply");
    assert_eq!(taken, bytes.len(), "one request has one reply");
    reply
}

/// The strings of an array.
fn strings(reply: Reply) -> Vec<Vec<u8>> {
    let Reply::Aggregate(Shape::Array, elements) = reply else { panic!("an array, not {reply}") };
    let text = |element| match element {
        Reply::Scalar(Kind::Bulk, text) => text,
        other => panic!("a string, not {other}"),
    };
    elements.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `body` on inputs that `make` draws; a failure names the seed that repeats it.
    fn with_seeds(inputs: u64, make: impl Fn(&mut Random) -> Vec<u8>, body: impl Fn(&[u8])) {
        for seed in 0..inputs {
            let data = make(&mut Random::new(seed));
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&data)));
            assert!(outcome.is_ok(), "seed {seed}: {}", data.escape_ascii());
        }
    }

    /// Pieces of valid streams, mixed with nonsense.
    fn stream(random: &mut Random) -> Vec<u8> {
        const PIECES: [&[u8]; 24] = [
            b"*1\r\n$4\r\nPING\r\n",
            b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\r\n\r\n",
            b"*2\r\n$3\r\nGET\r\n",
            b"$1\r\nk\r\n",
            b"$0\r\n\r\n",
            b"*0\r\n",
            b"*-1\r\n",
            b"PING\r\n",
            b"SET k \"a\\x00b\"\r\n",
            b"\"unbalanced\r\n",
            b"\r\n",
            b"\n",
            b"\r",
            b"*",
            b"$",
            b"-",
            b"50\r\n",
            b"51\r\n",
            b"1000\r\n",
            b"1001\r\n",
            b"0",
            b"0123456789012345678901234567890123456789",
            b" ",
            b"\xff\x00",
        ];
        let mut bytes = Vec::new();
        for _ in 0..random.below(24) {
            bytes.extend_from_slice(PIECES[random.below(PIECES.len() as u64) as usize]);
            if random.below(16) == 0 {
                bytes.truncate(random.below(bytes.len() as u64 + 1) as usize);
            }
        }
        bytes
    }

    fn noise(random: &mut Random) -> Vec<u8> {
        (0..random.below(400)).map(|_| random.next_u64() as u8).collect()
    }

    #[test]
    fn requests_do_not_depend_on_how_they_arrive() {
        with_seeds(2000, stream, request);
        with_seeds(1000, noise, request);
    }

    #[test]
    fn commands_answer_as_the_model_does() {
        with_seeds(500, noise, commands);
    }
}
