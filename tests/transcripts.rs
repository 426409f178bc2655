//! Runs every file of tests/transcripts in process and against servers on sockets: Cloakroom, and redis-server as the oracle.
//!
//! Each file gets a server process of its own, and another one after each failure. All mismatches of all files are collected before a test fails. The format is
//! described in `cloakroom::testing::transcript`. `CLOAKROOM_TRANSCRIPTS=text` runs only the cases whose `file: name` has that text.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::base::allocator::Counting;
use cloakroom::config::{Config, Permission};
use cloakroom::testing::in_process::{InProcess, services};
use cloakroom::testing::transcript::{Patience, Place, Received, Target, Transcript, run_case};

/// What the server in process counts its memory with, as the binary does.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How long a reply may take before it counts as missing, and how long a poll goes on.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL_PAUSE: Duration = Duration::from_millis(5);
const POLLS_MAX: u32 = 2000;

/// What both servers are started with besides their port and directory.
const ARGUMENTS: [&str; 8] =
    ["--save", "", "--appendonly", "no", "--loglevel", "warning", "--enable-debug-command", "yes"];

#[test]
fn redis_server_answers_as_the_transcripts_say() {
    let program = find_in_path("redis-server")
        .expect("redis-server must be installed: the transcripts are checked against it");
    let place = redis_place(&program);
    let command = |port: u16, dir: &Path| {
        let mut command = Command::new(&program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(dir);
        command.args(ARGUMENTS);
        command
    };
    run_all("redis-server", place, &|| Box::new(Server::start(&command)));
}

#[test]
fn cloakroom_answers_as_the_transcripts_say() {
    let command = |port: u16, dir: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
        command.args(["--port", &port.to_string(), "--dir"]).arg(dir);
        command.args(ARGUMENTS);
        command
    };
    run_all("cloakroom", Place::Cloakroom, &|| Box::new(Server::start(&command)));
}

#[test]
fn the_library_answers_as_the_transcripts_say() {
    run_all("in process", Place::Process, &|| in_process(Config::default()));
}

/// So that nearly every collection is a large one, of many leaves.
#[test]
fn the_library_answers_so_where_leaves_are_tiny() {
    run_all("in process, with leaves of 64 bytes", Place::Process, &|| {
        let mut config = Config::default();
        config.collection_leaf_bytes = 64;
        in_process(config)
    });
}

fn in_process(mut config: Config) -> Box<dyn Target> {
    config.enable_debug_command = Permission::Yes;
    config.save.clear();
    config.appendonly = false;
    // A connection's state borrows the server's, which therefore lives on; there is one for each file and each failure.
    Box::new(InProcess::new(Box::leak(Box::new(services(config)))))
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The version that the program names, as in `Redis server v=7.0.15 sha=...`.
fn redis_place(program: &Path) -> Place {
    let output = Command::new(program).arg("--version").output().expect("redis-server --version runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_once("v=").map_or("", |(_, rest)| rest);
    let mut numbers = version.split(['.', ' ']).map(|number| number.parse().expect("a version number"));
    Place::Redis(numbers.next().expect("a major version"), numbers.next().expect("a minor version"))
}

fn transcript_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let entries = std::fs::read_dir(&folder).expect("tests/transcripts can be read");
    let paths = entries.map(|entry| entry.expect("a folder entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    files.sort();
    assert!(!files.is_empty(), "there are transcripts");
    files
}

/// What a run counted.
#[derive(Default)]
struct Tally {
    run: usize,
    /// Each case that does not run on this server, with the reason.
    skipped: Vec<String>,
    failures: Vec<String>,
}

fn run_all(server: &str, place: Place, start: &dyn Fn() -> Box<dyn Target>) {
    let wanted = std::env::var("CLOAKROOM_TRANSCRIPTS").unwrap_or_default();
    let mut tally = Tally::default();
    for path in transcript_files() {
        let text = std::fs::read_to_string(&path).expect("a transcript is text");
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let transcript = match Transcript::parse(&text) {
            Ok(transcript) => transcript,
            Err(error) => {
                tally.failures.push(format!("tests/transcripts/{file}: {error}"));
                continue;
            }
        };
        run_file(&file, &transcript, place, &wanted, start, &mut tally);
    }
    println!("{server}: {} cases ran, {} skipped", tally.run, tally.skipped.len());
    for case in &tally.skipped {
        println!("  skipped {case}");
    }
    let Tally { run, failures, .. } = tally;
    assert!(
        failures.is_empty(),
        "{} of {run} cases fail against {server}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

fn run_file(
    file: &str,
    transcript: &Transcript,
    place: Place,
    wanted: &str,
    start: &dyn Fn() -> Box<dyn Target>,
    tally: &mut Tally,
) {
    let mut server: Option<Box<dyn Target>> = None;
    for case in &transcript.cases {
        if !format!("{file}: {}", case.name).contains(wanted) {
            continue;
        }
        if let Some(reason) = case.skipped_at(place) {
            tally.skipped.push(format!("{file}:{}: {} ({reason})", case.line, case.name));
            continue;
        }
        tally.run += 1;
        let outcome = run_case(case, server.get_or_insert_with(start).as_mut());
        if let Err(mismatch) = outcome {
            // A case that stopped half-way may have left a password or a pause behind: the next one gets a new server.
            server = None;
            let line = mismatch.line;
            tally.failures.push(format!("tests/transcripts/{file}:{line}: {}\n{mismatch}", case.name));
        }
    }
}

/// A server process, and the sockets to it.
struct Server {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
    connections: Vec<Option<TcpStream>>,
}

impl Server {
    /// Starts the server on a port that was free a moment ago, and waits until it accepts.
    fn start(command: &impl Fn(u16, &Path) -> Command) -> Server {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("transcripts-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("a folder for the server");
        let mut command = command(port, &folder);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the server starts");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Server { child, folder, address, connections: Vec::new() };
        let mut attempt = 0;
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait().expect("the server's state");
            assert!(ended.is_none(), "the server ended at its start: {ended:?}");
            assert!(server.retry(attempt), "the server never listened on {address}");
            attempt += 1;
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process and its folder are ours; there is nothing to do about a failure to remove them.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Target for Server {
    fn open(&mut self) -> Result<usize, String> {
        let stream = TcpStream::connect(self.address).map_err(|error| format!("cannot connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        self.connections.push(Some(stream));
        Ok(self.connections.len() - 1)
    }

    fn send(&mut self, connection: usize, bytes: &[u8]) {
        if let Some(stream) = &mut self.connections[connection] {
            // A server that has closed is found out by the next expectation.
            let _ = stream.write_all(bytes);
        }
    }

    fn receive(&mut self, connection: usize, patience: Patience) -> Received {
        let Some(stream) = &mut self.connections[connection] else { return Received::Closed };
        stream.set_nonblocking(patience == Patience::Now).expect("a socket can be made nonblocking");
        let mut bytes = vec![0; 64 << 10];
        let read = stream.read(&mut bytes);
        stream.set_nonblocking(false).expect("a socket can be made blocking");
        match read {
            Ok(0) => Received::Closed,
            Ok(length) => Received::Bytes(bytes[..length].to_vec()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Received::Nothing
            }
            Err(_) => Received::Closed,
        }
    }

    fn close(&mut self, connection: usize) {
        self.connections[connection] = None;
    }

    fn advance(&mut self, _milliseconds: u64) {}

    #[allow(
        clippy::disallowed_methods,
        reason = "between two looks at another process, which cannot be waited for"
    )]
    fn retry(&mut self, attempt: u32) -> bool {
        std::thread::sleep(POLL_PAUSE);
        attempt < POLLS_MAX
    }
}
