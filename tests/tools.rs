//! The tools that come with Redis, as a user starts them: redis-cli in all its modes and redis-benchmark, against the built binary.
//!
//! Each one has to end well and must not complain; the counts are small. Nothing here waits for a time to pass: a tool that
//! never ends by itself is read until it has said what it should, and then stopped.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A tool that hangs is ended by `timeout` after this; no assertion depends on it.
const HANGS_SECONDS: &str = "60";

struct Server {
    child: Child,
    port: String,
    folder: PathBuf,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            listener.local_addr().expect("an address").port().to_string()
        };
        let folder = std::env::temp_dir().join(format!("cloakroom-tools-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("temporary directory");
        let mut child = Command::new(env!("CARGO_BIN_EXE_cloakroom"))
            .current_dir(&folder)
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", "", "--loglevel", "notice"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut log = BufReader::new(child.stdout.take().expect("a pipe"));
        read_until(&mut log, "ready to accept connections");
        Server { child, port, folder }
    }

    /// A tool that talks to this server.
    fn tool(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args([HANGS_SECONDS, name, "-p", &self.port]).args(arguments);
        // Without a folder of its own, redis-cli would add to the history of whoever runs the tests.
        command.env("HOME", &self.folder).stdin(Stdio::null());
        command
    }

    /// Runs a tool to its end; gives what it printed. It must neither fail nor print to standard error.
    #[track_caller]
    fn run(&self, name: &str, arguments: &[&str], input: &[u8]) -> String {
        let mut command = self.tool(name, arguments);
        let streams = [Stdio::piped(), Stdio::piped(), Stdio::piped()];
        let [stdin, stdout, stderr] = streams;
        let mut child = command.stdin(stdin).stdout(stdout).stderr(stderr).spawn().expect("the tool runs");
        child.stdin.take().expect("a pipe").write_all(input).expect("the tool reads");
        let output = child.wait_with_output().expect("the tool ends");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && complaints.is_empty(),
            "{name} {arguments:?}: {complaints}\n{text}"
        );
        for complaint in ["ERR ", "WARN", "Error", "error: "] {
            assert!(!text.contains(complaint), "{name} {arguments:?}:\n{text}");
        }
        text
    }

    #[track_caller]
    fn cli(&self, arguments: &[&str]) -> String {
        self.run("redis-cli", arguments, b"")
    }

    /// Starts a tool that does not end by itself.
    fn watch(&self, command: Command) -> Watched {
        let mut command = command;
        // It ends with the server, and then says so.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the tool runs");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Watched { child, output }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What has ended already cannot be killed, and what cannot be removed is only left behind in the temporary directory.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A running tool.
struct Watched {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Watched {
    #[track_caller]
    fn says(&mut self, text: &str) {
        read_until(&mut self.output, text);
    }

    fn types(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("a pipe");
        input.write_all(line.as_bytes()).expect("the tool reads");
        input.flush().expect("the tool reads");
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads up to `text`, byte by byte, because a prompt does not end its line.
#[track_caller]
fn read_until(output: &mut impl BufRead, text: &str) {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(text.as_bytes()) {
        let count = output.read(&mut byte).expect("output");
        assert!(count > 0, "ended before '{text}':\n{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

/// Requests that set `count` keys, as redis-cli --pipe takes them.
fn mass_insertion(count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for index in 0..count {
        let key = format!("key:{index:05}");
        bytes.extend_from_slice(format!("*3\r\n$3\r\nSET\r\n$9\r\n{key}\r\n$5\r\nvalue\r\n").as_bytes());
    }
    bytes
}

#[test]
fn redis_cli_fills_and_searches_the_keyspace() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lfu"]);
    let answer = server.run("redis-cli", &["--pipe"], &mass_insertion(2000));
    assert!(answer.contains("errors: 0, replies: 2000"), "{answer}");
    assert_eq!(server.cli(&["dbsize"]), "2000\n");
    let found = server.cli(&["--scan", "--pattern", "key:0199?"]);
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found.len(), 10);
    assert_eq!((found[0], found[9]), ("key:01990", "key:01999"));
    assert_eq!(server.cli(&["--scan"]).lines().count(), 2000);
    server.cli(&["setrange", "large", "5000", "end"]);
    for mode in ["--bigkeys", "--memkeys"] {
        let answer = server.cli(&[mode]);
        assert!(answer.contains("Sampled 2001 keys") && answer.contains("Biggest string found"), "{answer}");
        assert!(answer.contains("large"), "{answer}");
    }
    let answer = server.cli(&["--hotkeys"]);
    assert!(answer.contains("hot key found with counter: "), "{answer}");
    assert_eq!(server.run("redis-cli", &["-x", "set", "file"], b"bytes"), "OK\n");
    assert_eq!(server.cli(&["-3", "--json", "mget", "file", "none"]), "[\"bytes\",null]\n");
    assert_eq!(server.cli(&["-r", "3", "ping"]), "PONG\nPONG\nPONG\n");
    assert_eq!(server.cli(&["--latency", "--raw", "-i", "1"]).split_whitespace().count(), 4);
}

/// With a terminal, redis-cli first reads the documentation of all commands.
#[test]
fn redis_cli_serves_a_person_at_a_terminal() {
    let server = Server::start(&[]);
    let mut terminal = Command::new("timeout");
    let line = format!("redis-cli -p {}", server.port);
    terminal.args([HANGS_SECONDS, "script", "-qec", &line, "/dev/null"]);
    terminal.env("HOME", &server.folder).env("TERM", "dumb");
    let mut session = server.watch(terminal);
    for (typed, answer) in [
        ("set greeting hello", "OK"),
        ("get greeting", "\"hello\""),
        ("incr greeting", "(error) ERR value is not an integer or out of range"),
        ("help client kill", "summary:"),
        ("help @string", "SETRANGE"),
        ("multi", "OK"),
        ("incr n", "QUEUED"),
        ("exec", "1) (integer) 1"),
        ("hello 3", "server"),
        ("select 3", "OK"),
    ] {
        session.says("> ");
        session.types(&format!("{typed}\n"));
        session.says(answer);
    }
    session.says("[3]> ");
    session.types("quit\n");
    assert!(session.child.wait().expect("a child").success());
}

#[test]
fn redis_cli_watches_the_server() {
    let server = Server::start(&[]);
    let mut monitor = server.watch(server.tool("redis-cli", &["monitor"]));
    monitor.says("OK\n");
    let mut subscriber = server.watch(server.tool("redis-cli", &["subscribe", "news"]));
    subscriber.says("news\n1\n");
    let mut pattern = server.watch(server.tool("redis-cli", &["-3", "psubscribe", "n*"]));
    pattern.says("n*\n1\n");
    assert_eq!(server.cli(&["publish", "news", "one"]), "2\n");
    subscriber.says("message\nnews\none\n");
    pattern.says("pmessage\nn*\nnews\none\n");
    monitor.says("\"publish\" \"news\" \"one\"\n");
    // Its rows stay in the C library's buffer unless that is told to write each line.
    let mut rows = Command::new("timeout");
    rows.args([HANGS_SECONDS, "stdbuf", "-oL", "redis-cli", "-p", &server.port, "--stat", "-i", "0.01"]);
    let mut rows = server.watch(rows);
    rows.says("keys       mem      clients blocked requests            connections");
    rows.says("(+1)");
}

#[test]
fn redis_benchmark_runs_without_complaint() {
    let server = Server::start(&[]);
    let tests = "ping,set,get,incr,mset";
    for options in [
        &["-t", tests][..],
        &["-t", tests, "-P", "64"],
        &["-t", tests, "-P", "16", "--threads", "2"],
        &["-t", tests, "-3"],
        &["-r", "1000", "SET", "key:__rand_int__", "value", "EX", "1800"],
    ] {
        let arguments: Vec<&str> = ["-q", "-c", "8", "-n", "2000"].iter().chain(options).copied().collect();
        let answer = server.run("redis-benchmark", &arguments, b"");
        let expected = if options[0] == "-t" { 6 } else { 1 };
        assert_eq!(answer.matches(" requests per second").count(), expected, "{arguments:?}: {answer}");
    }
    // A pipeline is not cut short for the last requests, so there may be some more.
    let counted: usize = server.cli(&["get", "counter:__rand_int__"]).trim_end().parse().expect("a number");
    assert!(counted >= 4 * 2000, "{counted}");
}
