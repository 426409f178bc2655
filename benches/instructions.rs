//! Instructions a request, counted by valgrind: a figure that repeats exactly, on any machine, whoever else uses it.
//!
//! Without arguments it runs itself under callgrind once for each kind of request and prints the counts; the profiles stay
//! under target/ for `callgrind_annotate`. With a kind and a number it serves that many requests, in pipelines of 16, the way an
//! event loop does (parse, prepare, prefetch, execute) but without sockets. Only what is inside [`measured`] is counted.

mod common;

use std::ops::Range;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use cloakroom::base::clock::{Now, Stopwatch};
use cloakroom::client::{Client, ClientFlags, ClientInfo, Clients, Mailbox, MigrationOrder, ReloadOrder};
use cloakroom::command::{COMMANDS, LoopState};
use cloakroom::config::Config;
use cloakroom::dispatch::{Prepared, execute, prepare};
use cloakroom::keyspace::{Ahead, KeyHasher, Keyspace, Reclaimer};
use cloakroom::observe::statistics::Statistics;
use cloakroom::resp::{ArgRange, Args, Limits, Output, Parser, Step};
use cloakroom::services::{Control, Identity, Services, Settings, Shutdown};
use cloakroom::snapshot::SaveKind;
use common::{KEYS, START_MS, VALUE, encode, session_key, shuffled};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const PIPELINE: usize = 16;
const REQUESTS: usize = 64_000;
const ENTRY_LINES: usize = 10;
const LIMITS: Limits = Limits {
    bulk_len_max: 512 << 20,
    multibulk_len_max: 1 << 20,
    inline_max: 64 * 1024,
    unauthenticated: false,
};

/// A kind of requests.
struct Kind {
    name: &'static str,
    /// Whether the 100,000 keys have deadlines already.
    volatile: bool,
    /// Writes the request for a key.
    encode: fn(&[u8], &mut Vec<u8>),
}

impl Kind {
    const fn new(name: &'static str, volatile: bool, encode: fn(&[u8], &mut Vec<u8>)) -> Kind {
        Kind { name, volatile, encode }
    }
}

const SET: Kind = Kind::new("set", false, |key, out| encode(&[b"SET", key, &VALUE], out));
const SET_EX: Kind =
    Kind::new("set-ex", true, |key, out| encode(&[b"SET", key, &VALUE, b"EX", b"1800"], out));
const KINDS: &[Kind] = &[
    Kind::new("ping", false, |_, out| encode(&[b"PING"], out)),
    Kind::new("get", false, |key, out| encode(&[b"GET", key], out)),
    SET,
    SET_EX,
    Kind::new("getex", true, |key, out| encode(&[b"GETEX", key, b"EX", b"1800"], out)),
    Kind::new("set-new-ex", false, |key, out| {
        encode(&[b"SET", &[b"new:", key].concat(), &VALUE, b"EX", b"1800"], out);
    }),
];

struct NoControl;

impl Control for NoControl {
    fn apply(&self, _old: &Config, _new: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    fn start_save(&self, _kind: SaveKind) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }
}

fn services() -> Services {
    let keyspace = Keyspace::new(16, 1, KeyHasher::fixed(7), Reclaimer::inline(), START_MS);
    let mailbox = Mailbox::new(Box::new(|| ()));
    let identity =
        Identity { run_id: "0".repeat(40), started_ms: START_MS, loops: 1, executable: String::new() };
    Services::new(
        keyspace,
        Settings::new(Config::default(), None),
        Clients::new(Box::new([mailbox])),
        Statistics::new(1, COMMANDS.count),
        Box::new(NoControl),
        identity,
    )
}

/// One parsed request: what is known of it, where its arguments are, and where its entry probably is.
struct Parsed {
    prepared: Prepared,
    ranges: Range<usize>,
    ahead: Option<Ahead>,
}

/// An event loop without sockets: one client.
struct Server<'s> {
    state: LoopState<'s>,
    client: Client,
    ranges: Vec<ArgRange>,
    parsed: Vec<Parsed>,
    out: Output,
}

impl<'s> Server<'s> {
    fn new(services: &'s Services) -> Server<'s> {
        let (address, flags) = (String::from("127.0.0.1:1"), ClientFlags::default());
        let info = ClientInfo::new(1, address.clone(), address, 3, 0, 0, START_MS, flags);
        let mut state = LoopState::new(services, 0, 1, Stopwatch::calibrated());
        state.set_now(Now::at_ms(START_MS));
        Server {
            state,
            client: Client::new(Arc::new(info), false),
            ranges: Vec::new(),
            parsed: Vec::new(),
            out: Output::default(),
        }
    }

    fn run(&mut self, input: &[u8]) {
        let services = self.state.services;
        let keyspace = &services.keyspace;
        self.ranges.clear();
        self.parsed.clear();
        self.out.clear();
        keyspace.prefetcher().enter(0);
        let mut parser = Parser::default();
        loop {
            let first = self.ranges.len();
            let Ok(Step::Request) = parser.advance(input, &LIMITS, &mut self.ranges) else { break };
            let prepared = prepare(keyspace, Args::new(input, &self.ranges[first..]));
            let ahead = prepared.key.and_then(|(_, hash, shard)| {
                keyspace.prefetch_shard(0, shard);
                keyspace.prefetcher().slot_ahead(0, shard, hash)
            });
            self.parsed.push(Parsed { prepared, ranges: first..self.ranges.len(), ahead });
        }
        for request in &self.parsed {
            if let Some(ahead) = request.ahead {
                keyspace.prefetcher().entry_ahead(ahead, ENTRY_LINES);
            }
        }
        self.state.begin_request();
        for request in &self.parsed {
            let args = Args::new(input, &self.ranges[request.ranges.clone()]);
            execute(&mut self.state, &mut self.client, request.prepared, args, &mut self.out);
        }
        keyspace.prefetcher().leave(0);
    }
}

/// What callgrind counts.
#[inline(never)]
fn measured(server: &mut Server<'_>, input: &[u8]) {
    server.run(input);
}

/// Pipelines of requests for random keys.
fn pipelines(requests: usize, encode: fn(&[u8], &mut Vec<u8>)) -> Vec<Vec<u8>> {
    let numbers: Vec<usize> = shuffled(KEYS).into_iter().cycle().take(requests).collect();
    let pipeline = |numbers: &[usize]| {
        let mut input = Vec::new();
        for number in numbers {
            encode(session_key(*number).as_bytes(), &mut input);
        }
        input
    };
    numbers.chunks(PIPELINE).map(pipeline).collect()
}

/// Serves `requests` requests of one kind; says what it found wrong.
fn serve(kind: &str, requests: usize) -> Result<f64, String> {
    let kind = KINDS.iter().find(|known| known.name == kind).ok_or("no such kind of request")?;
    let services = services();
    let mut server = Server::new(&services);
    let fill = if kind.volatile { SET_EX } else { SET };
    for input in pipelines(KEYS, fill.encode) {
        server.run(&input);
    }
    // A second later, so that deadlines slide.
    server.state.set_now(Now::at_ms(START_MS + 1000));
    let inputs = pipelines(requests, kind.encode);
    let start = Stopwatch::ticks();
    for input in &inputs {
        measured(&mut server, input);
    }
    let elapsed_us = server.state.stopwatch.microseconds(start, Stopwatch::ticks());
    let nanoseconds = elapsed_us as f64 * 1000.0 / requests as f64;
    if server.out.tail().first() == Some(&b'-') {
        return Err(String::from_utf8_lossy(server.out.tail()).lines().next().unwrap_or_default().to_owned());
    }
    Ok(nanoseconds)
}

/// Runs this program under callgrind; gives the instructions that were counted.
fn count_instructions(kind: &str, requests: usize) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = format!("target/callgrind.{kind}.out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*::measured", "--collect-atstart=no"])
        .arg(format!("--callgrind-out-file={profile}"))
        .arg(program)
        .args([kind, &requests.to_string()])
        .output()
        .map_err(|error| format!("valgrind did not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, number)| number.trim().parse().ok()).ok_or_else(|| "no count from valgrind".into())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let [kind, requests] = &arguments[..] {
        return match serve(kind, requests.parse().unwrap_or(REQUESTS)) {
            Ok(nanoseconds) => {
                println!("{kind:12} {nanoseconds:8.1} ns a request");
                ExitCode::SUCCESS
            }
            Err(error) => {
                println!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    // `cargo test --benches` only wants to know that it works.
    let requests = if std::env::args().any(|word| word == "--bench") { REQUESTS } else { PIPELINE };
    println!("instructions a request, {KEYS} keys, values of {} bytes, pipeline {PIPELINE}:", VALUE.len());
    for Kind { name: kind, .. } in KINDS {
        match count_instructions(kind, requests) {
            Ok(count) => println!("  {kind:12} {:8.1}", count as f64 / requests as f64),
            Err(error) => println!("  {kind:12} not counted: {error}"),
        }
    }
    ExitCode::SUCCESS
}
