//! Fields of hashes that are due: how late their events come, and how long GETs of other keys take meanwhile. A server of its own, hashes whose fields are due at random moments
//! of a minute, a subscriber of `hexpired`, and 4 clients that keep a pace of 1,000 GETs a second each. Once with many hashes, once with one.
//!
//! `CLOAKROOM_BENCH_FIELDS` fields in all (a million unless told), `CLOAKROOM_BENCH_HASHES` hashes in place of one and the other number.

#![allow(
    clippy::disallowed_methods,
    reason = "it waits for phases to pass, and reads the time that the server reads"
)]

#[path = "common/server.rs"]
mod server;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cloakroom::base::random::Random;
use server::{Course, Server, keep_pace, line, line_of_phase, push_request};

const CLIENTS: u32 = 4;
const OTHER_KEYS: u64 = 10_000;
const VALUE: [u8; 100] = [b'v'; 100];
/// Bytes of a reply to GET: a head and two line ends besides.
const REPLY_BYTES: usize = b"$100\r\n\r\n".len() + VALUE.len();
const FIELDS_A_HASH: u64 = 20;
const CHANNEL: &str = "__keyevent@0__:hexpired";
/// How long the last events may take.
const GRACE: Duration = Duration::from_secs(10);

/// Phases of the course.
const LOADING: usize = 0;
const IDLE: usize = 1;
const DUE: usize = 2;

fn now_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// When fields are due, in Unix milliseconds.
struct Plan {
    /// Of each hash, by its number.
    hashes: Vec<Vec<u64>>,
    from_ms: u64,
    window: Duration,
}

impl Plan {
    /// Fields of so many hashes, due within `window` from `from_ms` on.
    fn new(hashes: u64, fields: u64, from_ms: u64, window: Duration) -> Plan {
        let mut random = Random::new(hashes);
        let mut due = |_| from_ms + random.below(window.as_millis() as u64);
        let mut of_hash =
            |hash: u64| (0..fields / hashes + u64::from(hash < fields % hashes)).map(&mut due).collect();
        Plan { hashes: (0..hashes).map(&mut of_hash).collect(), from_ms, window }
    }

    /// Stores the fields.
    fn load(&self, server: &Server) -> io::Result<()> {
        let all = self.hashes.iter().enumerate().flat_map(|(hash, dues)| {
            dues.iter().enumerate().map(move |(field, due_ms)| (hash, field, *due_ms))
        });
        let all: Vec<(usize, usize, u64)> = all.collect();
        server.fill(all.len() as u64, b":1\r\n", |number, out| {
            let (hash, field, due_ms) = all[number as usize];
            let [key, field, due] = [format!("h:{hash}"), format!("f:{field}"), due_ms.to_string()];
            let words = ["HSETEX", &key, "PXAT", &due, "FIELDS", "1", &field, "0123456789ab"];
            push_request(out, &words.map(str::as_bytes));
        })
    }
}

/// Reads events until each field has one that came when the field was due, or the grace is over. Gives how late those were in milliseconds, and how many events there were.
fn hear(mut stream: TcpStream, plan: &Plan) -> io::Result<(Vec<f64>, u64)> {
    let mut waiting = plan.hashes.clone();
    // The last is the next.
    waiting.iter_mut().for_each(|dues| dues.sort_unstable_by(|a, b| b.cmp(a)));
    let mut left: usize = waiting.iter().map(Vec::len).sum();
    let until_ms = (plan.from_ms as f64) + (plan.window + GRACE).as_secs_f64() * 1000.0;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (mut late, mut events) = (Vec::with_capacity(left), 0);
    let (mut bytes, mut room) = (Vec::new(), vec![0; 256 * 1024]);
    while left > 0 && now_ms() < until_ms {
        match stream.read(&mut room) {
            Ok(0) => return Err(io::Error::other("the server has closed the subscription")),
            Ok(length) => bytes.extend_from_slice(&room[..length]),
            Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&error.kind()) => {
                continue;
            }
            Err(error) => return Err(error),
        }
        let heard_ms = now_ms();
        // A message is seven lines, the last of them the key.
        let mut taken = 0;
        while let Some(end) = bytes[taken..].iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(6) {
            let message = &bytes[taken..taken + end.0 + 1];
            taken += message.len();
            let key = message.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
            let number = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix("h:")?.parse().ok());
            let dues = number.and_then(|number: usize| waiting.get_mut(number));
            let dues =
                dues.ok_or_else(|| io::Error::other(format!("unexpected: {}", message.escape_ascii())))?;
            events += 1;
            while let Some(due_ms) = dues.pop_if(|due_ms| *due_ms as f64 <= heard_ms) {
                late.push(heard_ms - due_ms as f64);
                left -= 1;
            }
        }
        bytes.drain(..taken);
    }
    Ok((late, events))
}

fn measure(hashes: u64, fields: u64, lead: Duration, window: Duration) -> io::Result<()> {
    let server = Server::start()?;
    server.fill(OTHER_KEYS, b"+OK\r\n", |key, out| {
        push_request(out, &[b"SET", format!("k:{key}").as_bytes(), &VALUE]);
    })?;
    let mut subscriber = server.connect()?;
    let mut request = Vec::new();
    push_request(&mut request, &[b"SUBSCRIBE", CHANNEL.as_bytes()]);
    subscriber.write_all(&request)?;
    let confirmed = format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{CHANNEL}\r\n:1\r\n", CHANNEL.len());
    subscriber.read_exact(&mut vec![0; confirmed.len()])?;

    let plan = Plan::new(hashes, fields, (now_ms() as u64) + lead.as_millis() as u64, window);
    let course = Course::default();
    course.phase.store(LOADING, Ordering::Relaxed);
    std::thread::scope(|scope| -> io::Result<()> {
        let mut clients = Vec::new();
        for place in 0..CLIENTS {
            let (stream, course) = (server.connect()?, &course);
            clients.push(scope.spawn(move || {
                let mut random = Random::new(place.into());
                keep_pace(stream, (place, CLIENTS), course, REPLY_BYTES, |out| {
                    push_request(out, &[b"GET", format!("k:{}", random.below(OTHER_KEYS)).as_bytes()]);
                })
            }));
        }
        let heard = scope.spawn(|| hear(subscriber, &plan));
        let loaded = plan.load(&server);
        course.phase.store(IDLE, Ordering::Relaxed);
        let idle_ms = (plan.from_ms as f64 - now_ms()).max(0.0);
        std::thread::sleep(Duration::from_secs_f64(idle_ms / 1000.0));
        course.phase.store(DUE, Ordering::Relaxed);
        let heard = heard.join().map_err(|_| io::Error::other("the subscriber has panicked"))?;
        course.stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for client in clients {
            seen.extend(client.join().map_err(|_| io::Error::other("a client has panicked"))??);
        }
        loaded?;
        let (late, events) = heard?;
        let missing = fields as usize - late.len();
        println!(
            "{hashes} hashes, {fields} fields due within {window:?}, loaded {idle_ms:.0} ms before the first"
        );
        println!("  {}", line("events", "fields late", late));
        println!("  {events} events, {missing} fields without one");
        println!("  {}", line_of_phase("GET, idle", &seen, IDLE));
        println!("  {}", line_of_phase("GET, fields due", &seen, DUE));
        Ok(())
    })
}

fn main() -> io::Result<()> {
    let real = std::env::args().any(|word| word == "--bench");
    let told = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    // `cargo test --benches` only wants to know that it works.
    let (usual, lead, window) = if real {
        (1_000_000, Duration::from_secs(40), Duration::from_secs(60))
    } else {
        (2_000, Duration::from_secs(2), Duration::from_millis(500))
    };
    let fields: u64 = told("CLOAKROOM_BENCH_FIELDS").unwrap_or(usual);
    let numbers = match told("CLOAKROOM_BENCH_HASHES") {
        Some(hashes) => vec![hashes],
        None => vec![fields / FIELDS_A_HASH, 1],
    };
    numbers.into_iter().try_for_each(|hashes| measure(hashes, fields, lead, window))
}
