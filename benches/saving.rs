//! Saving: how long overwrites take before and while a snapshot is saved. A server of its own, 8 clients at a steady 1,000 requests a second
//! each; a request counts from when it was due, so that those behind a stall count too. No divan: the tail is what matters.
//!
//! `CLOAKROOM_BENCH_KEYS` keys (a million unless told) of 1 KB. `CLOAKROOM_BENCH_SERVER` measures another server: a command with `{port}` and
//! `{dir}`, split at spaces.

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

use cloakroom::base::random::Random;

const CLIENTS: u64 = 8;
const PERIOD: Duration = Duration::from_millis(1);
const VALUE_BYTES: usize = 1024;
/// Requests that are under way at once while the keys are filled in.
const PIPELINE: usize = 500;
const OK: &[u8] = b"+OK\r\n";
const COMMAND: &str = concat!(
    env!("CARGO_BIN_EXE_cloakroom"),
    " --port {port} --dir {dir} --save  --appendonly no --threads 1 --loglevel warning"
);

/// A server on a directory of its own; both end with this.
struct Server {
    process: Child,
    port: u16,
    dir: PathBuf,
}

impl Server {
    fn start() -> io::Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = std::env::temp_dir().join(format!("cloakroom-saving-{port}"));
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

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn is_saving(&self, control: &mut TcpStream) -> io::Result<bool> {
        control.write_all(b"INFO persistence\r\n")?;
        let mut reply = vec![0; 16 * 1024];
        let length = control.read(&mut reply)?;
        Ok(!String::from_utf8_lossy(&reply[..length]).contains("rdb_bgsave_in_progress:0"))
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

fn set(key: u64, out: &mut Vec<u8>) {
    let name = format!("k:{key}");
    out.extend_from_slice(
        format!("*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${VALUE_BYTES}\r\n", name.len()).as_bytes(),
    );
    out.resize(out.len() + VALUE_BYTES, b'v');
    out.extend_from_slice(b"\r\n");
}

fn fill(server: &Server, keys: u64) -> io::Result<()> {
    let mut stream = server.connect()?;
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for key in 0..keys {
        set(key, &mut requests);
        if (key + 1) % PIPELINE as u64 == 0 || key + 1 == keys {
            stream.write_all(&requests)?;
            replies.resize(OK.len() * (key as usize % PIPELINE + 1), 0);
            stream.read_exact(&mut replies)?;
            requests.clear();
        }
    }
    Ok(())
}

/// One client's requests until `stop`: the phase in which each was due, and how long after that its reply came.
fn overwrite(
    mut stream: TcpStream,
    seed: u64,
    keys: u64,
    phase: &AtomicUsize,
    stop: &AtomicBool,
) -> io::Result<Vec<(usize, Duration)>> {
    let mut random = Random::new(seed);
    let (mut request, mut reply) = (Vec::new(), [0; OK.len()]);
    let mut due = Instant::now() + PERIOD * seed as u32 / CLIENTS as u32;
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        due += PERIOD;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let now_in = phase.load(Ordering::Relaxed);
        request.clear();
        set(random.below(keys), &mut request);
        stream.write_all(&request)?;
        stream.read_exact(&mut reply)?;
        seen.push((now_in, due.elapsed()));
    }
    Ok(seen)
}

fn main() -> io::Result<()> {
    let real = std::env::args().any(|word| word == "--bench");
    let count = std::env::var("CLOAKROOM_BENCH_KEYS").ok().and_then(|text| text.parse().ok());
    // `cargo test --benches` only wants to know that it works.
    let (usual, before) =
        if real { (1_000_000, Duration::from_secs(5)) } else { (2_000, Duration::from_millis(50)) };
    let keys: u64 = count.unwrap_or(usual);
    let server = Server::start()?;
    fill(&server, keys)?;
    let mut control = server.connect()?;
    let (phase, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let seen: Vec<(usize, Duration)> = std::thread::scope(|scope| -> io::Result<_> {
        let mut clients = Vec::new();
        for seed in 0..CLIENTS {
            let stream = server.connect()?;
            let (phase, stop) = (&phase, &stop);
            clients.push(scope.spawn(move || overwrite(stream, seed, keys, phase, stop)));
        }
        std::thread::sleep(before);
        control.write_all(b"BGSAVE\r\n")?;
        control.read_exact(&mut [0; b"+Background saving started\r\n".len()])?;
        phase.store(1, Ordering::Relaxed);
        while server.is_saving(&mut control)? {
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for client in clients {
            seen.extend(client.join().map_err(|_| io::Error::other("a client has panicked"))??);
        }
        Ok(seen)
    })?;
    for (phase, name) in ["before", "saving"].into_iter().enumerate() {
        let mut times: Vec<f64> = seen
            .iter()
            .filter(|(when, _)| *when == phase)
            .map(|(_, time)| time.as_secs_f64() * 1000.0)
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
        let (count, max) = (times.len(), times.last().copied().unwrap_or_default());
        println!(
            "{name}: {count} requests, ms: p50 {:.3}  p99 {:.3}  p99.9 {:.3}  max {max:.3}",
            at(0.5),
            at(0.99),
            at(0.999)
        );
    }
    Ok(())
}
