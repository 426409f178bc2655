//! The server as an operator meets it: the built binary, its arguments, files, signals, exit status and limits.
//!
//! Nothing here waits for a time to pass: a test waits for a line of the log, for an answer, or for the process to end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A test that hangs fails by this instead; no assertion depends on it.
const HANGS: Duration = Duration::from_secs(60);

/// A directory of one test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name =
            format!("cloakroom-server-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("temporary directory");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).expect("temporary file");
        self.path(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is only left behind in the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn command(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cloakroom"));
    command.current_dir(&folder.0).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// Runs a server that is expected to end by itself.
fn ends(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the binary runs")
}

/// What a failed start says: one line on standard error, and status 1.
fn complaint(folder: &Folder, arguments: &[&str]) -> String {
    let output = ends(folder, arguments);
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

struct Server {
    child: Child,
    log: BufReader<ChildStdout>,
    port: u16,
}

impl Server {
    /// Starts a server on a port of its own and waits until it accepts.
    fn start(folder: &Folder, arguments: &[&str]) -> Server {
        let port = free_port();
        let shown = port.to_string();
        let mut all = vec!["--bind", "127.0.0.1", "--port", &shown];
        all.extend(arguments);
        Server::spawn(command(folder, &all), port)
    }

    fn spawn(mut command: Command, port: u16) -> Server {
        let mut child = command.spawn().expect("the binary runs");
        let log = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut server = Server { child, log, port };
        server.wait_for("ready to accept connections");
        server
    }

    /// Reads the log up to a line that contains `text`, and gives it.
    fn wait_for(&mut self, text: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            let count = self.log.read_line(&mut seen).expect("the log");
            assert!(count > 0, "the log ended before '{text}':\n{seen}");
            if seen[from..].contains(text) {
                return seen[from..].to_owned();
            }
        }
    }

    fn connect(&self) -> Client<TcpStream> {
        connect(self.port)
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server runs");
    }

    /// Exit status, after everything that is left of the log was read.
    fn exit(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("the log");
        (self.child.wait().expect("a child").code(), rest)
    }

    fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("procfs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
        let kilobytes = line.split_ascii_whitespace().nth(1).expect("a number");
        kilobytes.parse::<usize>().expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A server that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(port: u16) -> Client<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts");
    stream.set_read_timeout(Some(HANGS)).expect("a socket");
    Client(BufReader::new(stream))
}

/// Just enough of a client.
struct Client<S: Read>(BufReader<S>);

impl<S: Read + Write> Client<S> {
    fn send(&mut self, words: &[&[u8]]) {
        self.0.get_mut().write_all(&request(words)).expect("the server reads");
    }

    /// The first line of the next reply, and the bytes of a bulk string.
    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a reply");
        let line = line.trim_end().to_owned();
        match line.strip_prefix('$').map(|length| length.parse::<usize>()) {
            Some(Ok(length)) => {
                let mut bytes = vec![0; length + 2];
                self.0.read_exact(&mut bytes).expect("a bulk string");
                bytes.truncate(length);
                String::from_utf8(bytes).expect("text")
            }
            _ => line,
        }
    }

    fn ask(&mut self, words: &[&str]) -> String {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        self.send(&words);
        self.reply()
    }

    /// The connection has ended, orderly or not.
    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    /// Looks again after each of a bounded number of requests, until `holds`.
    fn ask_until(&mut self, words: &[&str], mut holds: impl FnMut(&str) -> bool) {
        for _ in 0..1_000_000 {
            if holds(&self.ask(words)) {
                return;
            }
        }
        panic!("{words:?} never gave what was expected");
    }
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn help_and_version_say_what_this_is() {
    let folder = Folder::new();
    for (argument, expected) in [
        ("--help", "check-config"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("-v", env!("CARGO_PKG_VERSION")),
    ] {
        let output = ends(&folder, &[argument]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains(expected), "{argument}: {text}");
    }
}

#[test]
fn check_config_names_the_bad_line() {
    let folder = Folder::new();
    let good = folder.write("good.conf", "port 7000\nactivedefrag yes\n");
    let output = ends(&folder, &["check-config", &good, "--hz", "20"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("good.conf, line 2: 'activedefrag' has no effect"), "{text}");
    let bad = folder.write("bad.conf", "port 7000\nnosuch 3\n");
    let text = complaint(&folder, &["check-config", &bad]);
    assert!(text.contains("bad.conf, line 2: 'nosuch 3'"), "{text}");
    assert!(!folder.0.join("cloakroom-data").exists(), "checking leaves nothing behind");
}

#[test]
fn a_failed_start_is_one_line_and_status_1() {
    let folder = Folder::new();
    let bad = folder.write("bad.conf", "# a comment\nmaxmemory lots\n");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let file = folder.write("file", "");
    let in_file = format!("{file}/data");
    for (arguments, expected) in [
        (vec![bad.as_str()], "bad.conf, line 2: 'maxmemory lots': argument must be a memory value"),
        (vec!["--nosuch", "1"], "there is no directive 'nosuch'"),
        (vec!["missing.conf"], "can't open config file 'missing.conf': No such file or directory"),
        (vec!["--bind", "127.0.0.1", "--port", &port], "Address already in use"),
        (vec!["--port", "0", "--dir", &in_file], "cannot use the data directory"),
        (vec!["--port", "0", "--unixsocket", "/nonexistent/s"], "cannot listen on /nonexistent/s"),
        (vec!["--port", "0", "--unixsocket", &file], "a file that is no socket is there"),
        (vec!["--port", "0"], "there is nowhere to listen"),
        (vec!["--port", "0", "--logfile", "/nonexistent/log"], "cannot write the log file"),
    ] {
        let text = complaint(&folder, &arguments);
        assert!(text.contains(expected), "{arguments:?}: {text}");
    }
}

#[test]
fn arguments_override_the_file() {
    let folder = Folder::new();
    let port = free_port();
    let file = folder.write("a.conf", "port 1\nbind 127.0.0.1\nloglevel warning\nrequirepass secret\n");
    let arguments = [&file, "--port", &port.to_string(), "--loglevel", "notice", "--save", ""];
    let server = Server::spawn(command(&folder, &arguments), port);
    assert_eq!(server.connect().ask(&["SET", "a", "b"]), "-NOAUTH Authentication required.");
}

#[test]
fn the_configuration_may_come_from_standard_input() {
    let folder = Folder::new();
    let port = free_port();
    let mut command = command(&folder, &["-", "--hz", "20"]);
    let file = folder.write("stdin", &format!("port {port}\nbind 127.0.0.1\n"));
    command.stdin(std::fs::File::open(file).expect("a file"));
    let server = Server::spawn(command, port);
    assert_eq!(server.connect().ask(&["SET", "a", "b"]), "+OK");
}

#[test]
fn the_data_directory_is_made_for_its_owner_alone() {
    let folder = Folder::new();
    let _server = Server::start(&folder, &["--dir", "data"]);
    let mode = std::fs::metadata(folder.path("data")).expect("a directory").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn sigterm_answers_what_came_and_ends_with_status_0() {
    let folder = Folder::new();
    let pidfile = folder.path("pid");
    let mut server = Server::start(&folder, &["--pidfile", &pidfile]);
    let pid = std::fs::read_to_string(&pidfile).expect("a pidfile");
    assert_eq!(pid, format!("{}\n", server.child.id()));
    let mut idle = server.connect();
    assert_eq!(idle.ask(&["PING"]), "+PONG");
    let mut busy = server.connect();
    let value = vec![b'v'; 4 << 20];
    busy.send(&[b"SET", b"key", &value]);
    assert_eq!(busy.reply(), "+OK");
    busy.send(&[b"GET", b"key"]);
    // The server has begun to answer with more than the socket takes; the rest goes out after the signal.
    let mut first = [0; 1];
    busy.0.read_exact(&mut first).expect("the reply begins");
    server.signal(Signal::TERM);
    server.wait_for("SIGTERM received");
    let mut rest = Vec::new();
    busy.0.read_to_end(&mut rest).expect("the reply ends");
    assert_eq!(rest.len(), format!("{}\r\n", value.len()).len() + value.len() + 2);
    assert!(idle.is_closed());
    let (status, log) = server.exit();
    assert_eq!(status, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    assert!(!Path::new(&pidfile).exists(), "the pidfile is gone");
}

/// A server that cannot end at once, because a client does not read its answers.
fn held_up(folder: &Folder, arguments: &[&str]) -> (Server, Client<TcpStream>) {
    let server = Server::start(folder, arguments);
    let mut client = server.connect();
    client.send(&[b"SET", b"key", &vec![b'v'; 32 << 20]]);
    assert_eq!(client.reply(), "+OK");
    client.send(&[b"GET", b"key"]);
    let mut first = [0; 1];
    client.0.read_exact(&mut first).expect("the reply begins");
    (server, client)
}

#[test]
fn a_client_that_does_not_read_holds_a_shutdown_up_only_for_shutdown_timeout() {
    let folder = Folder::new();
    let (server, _client) = held_up(&folder, &["--shutdown-timeout", "0"]);
    server.signal(Signal::INT);
    assert_eq!(server.exit().0, Some(0));
}

#[test]
fn shutdown_now_waits_for_no_client_to_read() {
    let ends: [(&str, &[&[u8]]); 2] = [("default", &[b"SHUTDOWN", b"NOSAVE", b"NOW"]), ("now", &[])];
    for (sigterm, command) in ends {
        let folder = Folder::new();
        let arguments = ["--shutdown-timeout", "1000000", "--shutdown-on-sigterm", sigterm];
        let (server, _client) = held_up(&folder, &arguments);
        if command.is_empty() {
            server.signal(Signal::TERM);
        } else {
            server.connect().send(command);
        }
        assert_eq!(server.exit().0, Some(0));
    }
}

#[test]
fn a_second_sigint_ends_at_once() {
    let folder = Folder::new();
    let (mut server, _client) = held_up(&folder, &["--shutdown-timeout", "1000000"]);
    server.signal(Signal::INT);
    server.wait_for("no longer accepting connections");
    server.signal(Signal::INT);
    assert_eq!(server.exit().0, Some(1));
}

#[test]
fn a_unix_socket_has_its_permissions_and_goes_with_the_server() {
    let folder = Folder::new();
    let path = folder.path("socket");
    let arguments = ["--port", "0", "--unixsocket", &path, "--unixsocketperm", "600"];
    // A server that was killed leaves its socket behind; the next one takes its place.
    drop(Server::spawn(command(&folder, &arguments), 0));
    assert!(Path::new(&path).exists());
    let server = Server::spawn(command(&folder, &arguments), 0);
    let mode = std::fs::metadata(&path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let stream = UnixStream::connect(&path).expect("the server accepts");
    assert_eq!(Client(BufReader::new(stream)).ask(&["PING"]), "+PONG");
    let other = folder.path("other");
    let elsewhere = [&arguments[..], &["--dir", &other]].concat();
    assert!(complaint(&folder, &elsewhere).contains("another server listens there"));
    server.signal(Signal::TERM);
    assert_eq!(server.exit().0, Some(0));
    assert!(!Path::new(&path).exists());
}

#[test]
fn one_client_too_many_is_told_so() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--maxclients", "2"]);
    let (mut first, mut second) = (server.connect(), server.connect());
    assert_eq!((first.ask(&["PING"]), second.ask(&["PING"])), ("+PONG".into(), "+PONG".into()));
    let mut third = server.connect();
    assert_eq!(third.reply(), "-ERR max number of clients reached");
    assert!(third.is_closed());
    assert_eq!(first.ask(&["PING"]), "+PONG");
}

#[test]
fn config_set_moves_the_server_or_leaves_it_where_it_was() {
    let folder = Folder::new();
    let (old, new) = (free_port(), free_port());
    let server = Server::spawn(command(&folder, &["--bind", "127.0.0.1", "--port", &old.to_string()]), old);
    let mut client = server.connect();
    assert_eq!(client.ask(&["SET", "a", "b"]), "+OK");
    assert_eq!(client.ask(&["CONFIG", "SET", "port", &new.to_string()]), "+OK");
    assert_eq!(connect(new).ask(&["GET", "a"]), "b");
    assert!(TcpStream::connect(("127.0.0.1", old)).is_err(), "the old address is closed");
    assert_eq!(client.ask(&["GET", "a"]), "b", "a connection outlives the address that it came through");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_port = taken.local_addr().expect("an address").port().to_string();
    let refused = client.ask(&["CONFIG", "SET", "port", &taken_port]);
    assert!(refused.contains("Unable to listen on this port"), "{refused}");
    let refused = client.ask(&["CONFIG", "SET", "bind", "no-such-host.invalid"]);
    assert!(refused.contains("Failed to bind to specified addresses"), "{refused}");
    assert_eq!(connect(new).ask(&["GET", "a"]), "b");
    for bind in ["localhost", "*", "127.0.0.1"] {
        assert_eq!(client.ask(&["CONFIG", "SET", "bind", bind]), "+OK", "bind {bind}");
        assert_eq!(connect(new).ask(&["PING"]), "+PONG", "bind {bind}");
    }
}

/// Whoever changes the configuration holds the turn to do so while the control thread works, which may need all shards; EXEC may hold some.
#[test]
fn exec_and_the_control_thread_do_not_wait_for_each_other() {
    let folder = Folder::new();
    let port = free_port();
    let text = format!("bind 127.0.0.1\nport {port}\nappendonly yes\nsave \"\"\nthreads 2\n");
    let file = folder.write("a.conf", &text);
    let mut server = Server::spawn(command(&folder, &[&file]), port);
    let mut client = server.connect();
    for wanted in ["no", "yes", "no"] {
        let requests: [&[&str]; 5] = [
            &["SET", "k", wanted],
            &["CONFIG", "SET", "appendonly", wanted],
            &["GET", "k"],
            &["CONFIG", "REWRITE"],
            &["INFO", "server"],
        ];
        assert_eq!(client.ask(&["MULTI"]), "+OK");
        for request in requests {
            assert_eq!(client.ask(request), "+QUEUED");
        }
        server.signal(Signal::HUP);
        assert_eq!(client.ask(&["EXEC"]), "*5");
        let replies: Vec<String> = requests.iter().map(|_| client.reply()).collect();
        assert_eq!(replies[..4], ["+OK", "+OK", wanted, "+OK"]);
        server.wait_for("SIGHUP received");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.exit().0, Some(0));
}

#[test]
fn sighup_undoes_nothing_that_config_set_has_changed() {
    let folder = Folder::new();
    let port = free_port();
    let file = folder.write("a.conf", &format!("bind 127.0.0.1\nport {port}\n"));
    let mut server = Server::spawn(command(&folder, &[&file]), port);
    let mut client = server.connect();
    assert_eq!(
        client.ask(&["CONFIG", "SET", "requirepass", "secret", "notify-keyspace-events", "KEA"]),
        "+OK"
    );
    server.signal(Signal::HUP);
    server.wait_for("SIGHUP received");
    let mut stranger = server.connect();
    assert_eq!(stranger.ask(&["GET", "a"]), "-NOAUTH Authentication required.");
    assert_eq!(stranger.ask(&["AUTH", "secret"]), "+OK");
    assert!(!stranger.ask(&["INFO", "stats"]).is_empty());
}

/// What a service manager hears on its socket.
#[test]
fn systemd_hears_when_the_server_is_ready_and_when_it_ends() {
    let folder = Folder::new();
    let (port, path) = (free_port(), folder.path("notify"));
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(HANGS)).expect("a limit");
    let arguments =
        ["--bind", "127.0.0.1", "--port", &port.to_string(), "--supervised", "systemd", "--daemonize", "yes"];
    let mut command = command(&folder, &arguments);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::spawn(command, port);
    let hear = || {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).expect("a message");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    assert!(hear().lines().any(|line| line == "READY=1"));
    assert_eq!(server.connect().ask(&["PING"]), "+PONG");
    server.signal(Signal::TERM);
    assert!(hear().lines().any(|line| line == "STOPPING=1"));
    assert_eq!(server.exit().0, Some(0));
}

#[test]
fn a_daemon_outlives_the_command_that_starts_it() {
    let folder = Folder::new();
    let port = free_port();
    let text = format!("bind 127.0.0.1\nport {port}\ndaemonize yes\npidfile {}\n", folder.path("pid"));
    let mut command = command(&folder, &["-", "--logfile", &folder.path("log")]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("runs");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the configuration");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    let mut client = loop {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            break Client(BufReader::new(stream));
        }
        let log = std::fs::read_to_string(folder.path("log")).unwrap_or_default();
        assert!(!log.contains("stopped"), "{log}");
        std::thread::yield_now();
    };
    client.ask_until(&["PING"], |reply| reply == "+PONG");
    let pid = std::fs::read_to_string(folder.path("pid")).expect("a pidfile");
    assert_ne!(pid.trim(), child.id().to_string());
    client.0.get_mut().write_all(b"SHUTDOWN NOSAVE\r\n").expect("a request");
    assert!(client.is_closed());
}

#[test]
fn the_log_file_goes_on_after_it_was_moved_away() {
    let folder = Folder::new();
    let (port, log) = (free_port(), folder.path("log"));
    let socket = folder.path("socket");
    let arguments =
        ["--bind", "127.0.0.1", "--port", &port.to_string(), "--logfile", &log, "--log-format", "json"];
    let mut child =
        command(&folder, &[&arguments[..], &["--unixsocket", &socket]].concat()).spawn().expect("runs");
    let mut client = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break Client(BufReader::new(stream)),
            Err(_) => assert!(child.try_wait().expect("a child").is_none(), "the server has ended"),
        }
    };
    std::fs::rename(&log, folder.path("log.1")).expect("a log file");
    kill_process(Pid::from_child(&child), Signal::HUP).expect("the server runs");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    client.ask_until(&["PING"], |_| text().contains("SIGHUP received"));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("the server runs");
    assert_eq!(child.wait().expect("a child").code(), Some(0));
    for line in text().lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("each line is a JSON object");
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    assert!(std::fs::read_to_string(folder.path("log.1")).expect("the old log").contains("starting"));
}

#[test]
fn writes_are_refused_above_maxmemory_and_go_on_when_there_is_room() {
    let folder = Folder::new();
    let port = free_port();
    let arguments = ["--bind", "127.0.0.1", "--port", &port.to_string(), "--maxmemory", "24mb"];
    let server = Server::spawn(command(&folder, &arguments), port);
    let mut client = server.connect();
    let value = "v".repeat(10_000);
    let mut stored = 0;
    let refusal = loop {
        match client.ask(&["SET", &format!("key:{stored}"), &value]).as_str() {
            "+OK" => stored += 1,
            other => break other.to_owned(),
        }
        assert!(stored < 2400, "24 MB cannot hold more");
    };
    assert_eq!(refusal, "-OOM command not allowed when used memory > 'maxmemory'.");
    assert!(stored > 500, "only {stored} values fit");
    assert_eq!(client.ask(&["GET", "key:0"]), value, "reads go on");
    assert_eq!(client.ask(&["CONFIG", "SET", "maxmemory", "48mb"]), "+OK");
    assert_eq!(client.ask(&["SET", "key:0", &value]), "+OK");
}

#[test]
fn eviction_keeps_memory_below_its_limit() {
    let folder = Folder::new();
    let port = free_port();
    let port_text = port.to_string();
    let arguments = [
        ["--bind", "127.0.0.1"],
        ["--port", &port_text],
        ["--maxmemory-policy", "allkeys-lru"],
        ["--maxmemory", "32mb"],
    ];
    let server = Server::spawn(command(&folder, arguments.as_flattened()), port);
    let mut client = server.connect();
    const KEYS: usize = 100_000;
    const VALUE: usize = 2000;
    let value = "v".repeat(VALUE);
    for first in (0..KEYS).step_by(100) {
        let batch: Vec<u8> = (first..first + 100)
            .flat_map(|index| request(&[b"SET", format!("key:{index}").as_bytes(), value.as_bytes()]))
            .collect();
        client.0.get_mut().write_all(&batch).expect("the server reads");
        for _ in 0..100 {
            assert_eq!(client.reply(), "+OK");
        }
    }
    let held = |client: &mut Client<TcpStream>| {
        let mut count = 0;
        for first in (0..KEYS).step_by(100) {
            let batch: Vec<u8> = (first..first + 100)
                .flat_map(|index| request(&[b"GET", format!("key:{index}").as_bytes()]))
                .collect();
            client.0.get_mut().write_all(&batch).expect("the server reads");
            count += (0..100).filter(|_| client.reply() != "$-1").count();
        }
        count
    };
    let count = held(&mut client);
    assert!(count * VALUE < 32 << 20, "{count} keys are left");
    assert!(count * VALUE > 12 << 20, "only {count} keys are left");
    let resident = server.resident_bytes();
    assert!(resident < 96 << 20, "{resident} bytes resident after 200 MB were written");
    // A lower limit is reached without any request.
    assert_eq!(client.ask(&["CONFIG", "SET", "maxmemory", "16mb"]), "+OK");
    let fewer = |client: &mut Client<TcpStream>| held(client) * VALUE < 16 << 20;
    assert!((0..100).any(|_| fewer(&mut client)), "keys are evicted in the background");
}

#[test]
fn the_largest_client_goes_when_clients_take_too_much() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--maxmemory-clients", "4mb"]);
    let (mut small, mut large) = (server.connect(), server.connect());
    assert_eq!(small.ask(&["PING"]), "+PONG");
    large.0.get_mut().write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n").expect("the server reads");
    // The server may end the connection in the middle of this.
    let sent = large.0.get_mut().write_all(&vec![b'v'; 16 << 20]);
    assert!(sent.is_err() || large.is_closed());
    assert_eq!(small.ask(&["PING"]), "+PONG");
}

#[test]
fn memory_purge_gives_back_what_deleted_keys_took() {
    let folder = Folder::new();
    // A snapshot that runs, such as a new base of the log, holds what is deleted until it has seen it.
    let options = ["--enable-debug-command", "local", "--appendonly", "no", "--save", ""];
    let server = Server::start(&folder, &options);
    let mut client = server.connect();
    let before = server.resident_bytes();
    assert_eq!(client.ask(&["DEBUG", "POPULATE", "100000", "key", "1000"]), "+OK");
    let full = server.resident_bytes();
    assert!(full - before > 100_000_000, "{before} bytes resident before, {full} with keys");
    assert_eq!(client.ask(&["FLUSHALL"]), "+OK");
    client.ask_until(&["INFO", "memory"], |text| text.contains("lazyfree_pending_objects:0"));
    assert_eq!(client.ask(&["MEMORY", "PURGE"]), "+OK");
    let purged = server.resident_bytes();
    assert!(purged < before + (full - before) / 4, "{purged} of {full} bytes are still resident");
}
