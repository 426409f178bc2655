//! A server of its own for benches that measure over sockets, and clients that keep a pace.
//!
//! `CLOAKROOM_BENCH_SERVER` measures another server: a command with `{port}` and `{dir}`, split at spaces.
#![allow(
    clippy::disallowed_methods,
    reason = "clients that keep a pace sleep, and single requests need microseconds"
)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_millis(1);
/// Requests that are under way at once while keys are filled in.
const PIPELINE: usize = 500;
const COMMAND: &str = concat!(
    env!("CARGO_BIN_EXE_cloakroom"),
    " --port {port} --dir {dir} --save  --appendonly no --threads 1 --loglevel warning --notify-keyspace-events Eh"
);

/// A server on a directory of its own; both end with this.
pub struct Server {
    process: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    pub fn start() -> io::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = std::env::temp_dir().join(format!("cloakroom-bench-{port}"));
        std::fs::create_dir_all(&dir)?;
        let command = std::env::var("CLOAKROOM_BENCH_SERVER").unwrap_or_else(|_| COMMAND.into());
        let words: Vec<String> = command
            .split(' ')
            .map(|word| word.replace("{port}", &port.to_string()).replace("{dir}", &dir.to_string_lossy()))
            .collect();
        let process = Command::new(&words[0]).args(&words[1..]).spawn()?;
        let server = Server { process, port, dir };
        for _ in 0..500 {
            if server.connect().is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(io::Error::other("the server does not answer"))
    }

    pub fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Sends so many requests, each of which is answered with `reply`.
    pub fn fill(&self, count: u64, reply: &[u8], request: impl Fn(u64, &mut Vec<u8>)) -> io::Result<()> {
        let mut stream = self.connect()?;
        let (mut requests, mut replies) = (Vec::new(), Vec::new());
        for number in 0..count {
            request(number, &mut requests);
            if (number + 1) % PIPELINE as u64 == 0 || number + 1 == count {
                stream.write_all(&requests)?;
                replies.resize(reply.len() * (number as usize % PIPELINE + 1), 0);
                stream.read_exact(&mut replies)?;
                if replies.chunks(reply.len()).any(|each| each != reply) {
                    return Err(io::Error::other(format!("unexpected: {}", replies.escape_ascii())));
                }
                requests.clear();
            }
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What cannot be ended or removed is somebody else's by now.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Writes a request.
pub fn push_request(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// Which phase of the bench it is, and whether it is over.
#[derive(Default)]
pub struct Course {
    pub phase: AtomicUsize,
    pub stop: AtomicBool,
}

/// The requests of client `place` of so many, one each millisecond until the course stops, with replies of so many bytes: the phase in which each was due, and how long
/// after that its reply came, so that those behind a stall count too.
pub fn keep_pace(
    mut stream: TcpStream,
    (place, clients): (u32, u32),
    course: &Course,
    reply_bytes: usize,
    mut push: impl FnMut(&mut Vec<u8>),
) -> io::Result<Vec<(usize, Duration)>> {
    let (mut request, mut reply) = (Vec::new(), vec![0; reply_bytes]);
    let mut due = Instant::now() + PERIOD * place / clients;
    let mut seen = Vec::new();
    while !course.stop.load(Ordering::Relaxed) {
        due += PERIOD;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now_in = course.phase.load(Ordering::Relaxed);
        request.clear();
        push(&mut request);
        stream.write_all(&request)?;
        stream.read_exact(&mut reply)?;
        seen.push((now_in, due.elapsed()));
    }
    Ok(seen)
}

/// The line of a table for these times, in milliseconds.
pub fn line(name: &str, what: &str, mut ms: Vec<f64>) -> String {
    ms.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| ms.get((ms.len() as f64 * share) as usize).copied().unwrap_or_default();
    let (count, max) = (ms.len(), ms.last().copied().unwrap_or_default());
    format!(
        "{name}: {count} {what}, ms: p50 {:.3}  p99 {:.3}  p99.9 {:.3}  max {max:.3}",
        at(0.5),
        at(0.99),
        at(0.999)
    )
}

/// [`line`] of what clients saw in one phase.
pub fn line_of_phase(name: &str, seen: &[(usize, Duration)], phase: usize) -> String {
    let times = seen.iter().filter(|(when, _)| *when == phase);
    line(name, "requests", times.map(|(_, time)| time.as_secs_f64() * 1000.0).collect())
}
