//! Bad input and bad peers against the built server: a clear error or a closed connection, bounded memory, and nobody else harmed.
//!
//! Each test starts a server of its own and keeps a second connection, the bystander, whose key must survive whatever the others send.
//! Nothing sleeps: a test waits for bytes, or for the end of a connection. `CLOAKROOM_LONG=1` runs the full sizes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cloakroom::base::random::Random;
use socket2::SockRef;

/// A test that hangs fails by this instead; no assertion depends on it.
const HANGS: Duration = Duration::from_secs(60);
const MEGABYTE: usize = 1 << 20;

fn long() -> bool {
    std::env::var_os("CLOAKROOM_LONG").is_some_and(|value| value == "1")
}

struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts a server with one event loop, so that requests of all connections have an order, and waits until it accepts.
    fn start(arguments: &[&str]) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        // Nothing is ever written there but the lock.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("protocol-{port}"));
        let child = Command::new(env!("CARGO_BIN_EXE_cloakroom"))
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--threads", "1", "--save", ""])
            .args(["--loglevel", "warning", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Server { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().expect("the server's state");
            assert!(ended.is_none(), "the server ended at its start: {ended:?}");
            std::thread::yield_now();
        }
        server
    }

    fn connect(&self) -> Peer {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(HANGS)).expect("a socket option");
        stream.set_write_timeout(Some(HANGS)).expect("a socket option");
        Peer(stream)
    }

    /// Resident memory in bytes.
    fn resident_bytes(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident size");
        let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok());
        kilobytes.expect("a number of kilobytes") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process is ours; there is nothing to do about a failure to end it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that can do everything wrong.
struct Peer(TcpStream);

impl Peer {
    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("the server takes bytes");
    }

    /// Reads exactly what is expected.
    #[track_caller]
    fn hear(&mut self, expected: &[u8]) {
        let mut got = vec![0; expected.len()];
        self.0.read_exact(&mut got).expect("an answer");
        assert!(got == expected, "{} instead of {}", shown(&got), shown(expected));
    }

    #[track_caller]
    fn ask(&mut self, request: &[u8], answer: &[u8]) {
        self.send(request);
        self.hear(answer);
    }

    /// Reads until the server closes.
    fn hear_all(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        match self.0.read_to_end(&mut got) {
            Ok(_) => got,
            // What the server had not read when it closed makes its end a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => got,
            Err(error) => panic!("neither bytes nor an end: {error}"),
        }
    }

    /// Ends with a reset instead of a proper end; leaves no port behind to wait.
    fn reset(self) {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(200)].escape_ascii().to_string()
}

/// Somebody else's connection with somebody else's key.
struct Bystander(Peer);

impl Bystander {
    fn of(server: &Server) -> Bystander {
        let mut peer = server.connect();
        peer.ask(b"SET bystander unharmed\r\n", b"+OK\r\n");
        Bystander(peer)
    }

    /// It is answered and its key is as it was. Behind this, the server has read what was sent to it before.
    #[track_caller]
    fn check(&mut self) {
        self.0.ask(b"PING\r\nGET bystander\r\n", b"+PONG\r\n$8\r\nunharmed\r\n");
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

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A stream of valid requests of all forms, and its answers.
fn valid_stream() -> (Vec<u8>, Vec<u8>) {
    let parts: [(&[u8], &[u8]); 9] = [
        (b"*3\r\n$3\r\nSET\r\n$5\r\nkey:1\r\n$10\r\n0123\r\n6789\r\n", b"+OK\r\n"),
        (b"*2\r\n$3\r\nget\r\n$5\r\nkey:1\r\n", b"$10\r\n0123\r\n6789\r\n"),
        (b"PING\r\n", b"+PONG\r\n"),
        (b"*0\r\n\r\n*-1\r\n", b""),
        (b"SET \"in\\x00line\" 'v'\n", b"+OK\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$7\r\nin\0line\r\n", b"$1\r\nv\r\n"),
        (b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n", b"+OK\r\n"),
        (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"*1\r\n$6\r\nNOSUCH\r\n", b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"),
    ];
    let (requests, answers): (Vec<&[u8]>, Vec<&[u8]>) = parts.into_iter().unzip();
    (requests.concat(), answers.concat())
}

#[test]
fn a_stream_may_be_cut_anywhere() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let (stream, answers) = valid_stream();
    for cut in 1..stream.len() {
        let mut peer = server.connect();
        peer.send(&stream[..cut]);
        bystander.check();
        peer.send(&stream[cut..]);
        peer.hear(&answers);
        peer.reset();
    }
    bystander.check();
}

#[test]
fn a_slow_client_is_served_and_holds_nobody_up() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let (stream, answers) = valid_stream();
    let mut slow = server.connect();
    for byte in &stream {
        slow.send(&[*byte]);
        bystander.check();
    }
    slow.hear(&answers);
}

#[test]
fn torn_and_random_bytes_harm_nobody() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let before = server.resident_bytes();
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut random = Random::new(seed);
    let (valid, _) = valid_stream();
    for round in 0..2000 {
        let mut bytes = if random.below(2) == 0 {
            (0..random.below(3000)).map(|_| random.next_u64() as u8).collect()
        } else {
            valid.repeat(1 + random.below(3) as usize)
        };
        for _ in 0..random.below(6) {
            let at = random.below(bytes.len().max(1) as u64) as usize;
            match random.below(3) {
                0 if !bytes.is_empty() => bytes[at] = random.next_u64() as u8,
                1 => bytes.truncate(at),
                _ => bytes.splice(at.min(bytes.len()).., *b"*99\r\n$5\r\n").for_each(drop),
            }
        }
        let mut peer = server.connect();
        // The server may close before it has read all of it.
        let _ = peer.0.write_all(&bytes);
        if random.below(2) == 0 {
            let _ = peer.0.shutdown(Shutdown::Write);
            peer.hear_all();
        }
        peer.reset();
        if round % 50 == 0 {
            bystander.check();
        }
    }
    bystander.check();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MEGABYTE, "{grown} bytes are left of what strangers sent");
}

#[test]
fn heads_that_promise_too_much_are_refused_and_the_others_cost_nothing() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let refused: [(&[u8], &str); 9] = [
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$-9223372036854775808\r\n", "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n", "invalid bulk length"),
        (b"*1\r\n$ 4\r\n", "invalid bulk length"),
        (b"*1\r\n+PING\r\n", "expected '$', got '+'"),
    ];
    for (bytes, text) in refused {
        let mut peer = server.connect();
        peer.send(bytes);
        let heard = peer.hear_all();
        assert_eq!(shown(&heard), shown(format!("-ERR Protocol error: {text}\r\n").as_bytes()));
    }
    let mut nested = server.connect();
    nested.send(&b"*1\r\n".repeat(10_000));
    assert!(nested.hear_all().starts_with(b"-ERR Protocol error: expected '$', got '*'\r\n"));
    // Large promises below the limits are taken, but memory is given only for bytes that came.
    let before = server.resident_bytes();
    let mut waiting: Vec<Peer> = (0..200).map(|_| server.connect()).collect();
    for peer in &mut waiting {
        peer.send(b"*1000000\r\n$536870912\r\nonly this");
    }
    bystander.check();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 * 256 * 1024, "{grown} bytes for 200 unkept promises");
}

#[test]
fn lines_without_an_end_are_refused() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let heads: [(&[u8], &str); 3] = [
        (b"", "too big inline request"),
        (b"*", "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
    ];
    for (head, text) in heads {
        let mut peer = server.connect();
        peer.send(head);
        // The server closes in the midst of it.
        let _ = peer.0.write_all(&vec![b'1'; 100_000]);
        let heard = peer.hear_all();
        let expected = format!("-ERR Protocol error: {text}\r\n").into_bytes();
        assert!(heard == expected || heard.is_empty(), "{}", shown(&heard));
    }
    bystander.check();
}

#[test]
fn resp3_types_are_no_requests() {
    let server = Server::start(&[]);
    for (bytes, word) in
        [(&b"%1\r\n"[..], "%1"), (b"~2\r\n", "~2"), (b">3\r\n", ">3"), (b"_\r\n", "_"), (b"#t\r\n", "#t")]
    {
        let mut peer = server.connect();
        let answer = format!("-ERR unknown command '{word}', with args beginning with: \r\n");
        peer.ask(bytes, answer.as_bytes());
        peer.ask(b"PING\r\n", b"+PONG\r\n");
    }
}

#[test]
fn strangers_get_little_before_they_authenticate() {
    let server = Server::start(&["--requirepass", "secret"]);
    let mut peer = server.connect();
    peer.ask(b"GET k\r\n", b"-NOAUTH Authentication required.\r\n");
    let wrong = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    peer.ask(b"AUTH guess\r\n", wrong);
    peer.ask(b"AUTH nobody secret\r\n", wrong);
    peer.ask(b"HELLO 3 AUTH default guess\r\n", wrong);
    peer.ask(b"GET k\r\n", b"-NOAUTH Authentication required.\r\n");
    for (bytes, text) in [
        (&b"*11\r\n"[..], "unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nAUTH\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let mut peer = server.connect();
        peer.send(bytes);
        let heard = peer.hear_all();
        assert_eq!(shown(&heard), shown(format!("-ERR Protocol error: {text}\r\n").as_bytes()));
    }
    // What follows AUTH in the same write is already under the wider limits.
    let large = vec![b'v'; 100_000];
    let mut peer = server.connect();
    let pipeline =
        [request(&[b"AUTH", b"secret"]), request(&[b"SET", b"k", &large]), request(&[b"GET", b"k"])];
    peer.ask(&pipeline.concat(), &[&b"+OK\r\n+OK\r\n"[..], &bulk(&large)].concat());
}

#[test]
fn connections_may_come_and_go() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let round = |number: usize| {
        let mut peer = server.connect();
        match number % 4 {
            0 => peer.ask(b"PING\r\n", b"+PONG\r\n"),
            1 => peer.send(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf"),
            2 => peer.send(b"GET bystander\r\n"),
            _ => {}
        }
        peer.reset();
    };
    (0..1000).for_each(round);
    bystander.check();
    let before = server.resident_bytes();
    (0..if long() { 100_000 } else { 10_000 }).for_each(round);
    bystander.check();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MEGABYTE, "{grown} bytes are left of connections that are gone");
}

#[test]
fn half_open_connections_are_closed() {
    let server = Server::start(&["--timeout", "1"]);
    let mut half = server.connect();
    half.send(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf");
    half.0.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(half.hear_all(), b"", "a request that will never be whole has no answer");
    let mut whole = server.connect();
    whole.send(b"PING\r\nPING\r\n");
    whole.0.shutdown(Shutdown::Write).expect("a shutdown");
    assert_eq!(whole.hear_all(), b"+PONG\r\n+PONG\r\n");
    // Whoever says nothing is closed by `timeout`, in the midst of a request too.
    let (mut silent, mut slow) = (server.connect(), server.connect());
    slow.send(b"*1\r\n$4\r\nPI");
    assert_eq!((silent.hear_all(), slow.hear_all()), (Vec::new(), Vec::new()));
}

#[test]
fn replies_that_nobody_reads_are_bounded() {
    let server = Server::start(&["--client-output-buffer-limit", "normal 8mb 8mb 60 pubsub 8mb 8mb 60"]);
    let mut bystander = Bystander::of(&server);
    let value = vec![b'v'; MEGABYTE];
    bystander.0.ask(&request(&[b"SET", b"large", &value]), b"+OK\r\n");
    let before = server.resident_bytes();

    let mut greedy = server.connect();
    let requests = 400;
    // The server may close in the midst of it.
    let _ = greedy.0.write_all(&b"GET large\r\n".repeat(requests));
    bystander.check();
    let mut subscriber = server.connect();
    subscriber.ask(b"SUBSCRIBE news\r\n", b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    for _ in 0..100 {
        bystander.0.send(&request(&[b"PUBLISH", b"news", &value]));
        let mut answer = [0; 4];
        bystander.0.0.read_exact(&mut answer).expect("a number of receivers");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * MEGABYTE, "{grown} bytes for two clients that do not read");
    let heard = greedy.hear_all().len();
    assert!(heard < requests * MEGABYTE / 2, "the server sent {heard} bytes to a client above its limit");
    let heard = subscriber.hear_all().len();
    assert!(heard < 50 * MEGABYTE, "the server sent {heard} bytes to a subscriber above its limit");
    bystander.check();
}

#[test]
fn requests_that_never_end_are_bounded() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut bystander = Bystander::of(&server);
    let before = server.resident_bytes();
    let mut peer = server.connect();
    peer.send(b"*1000000\r\n");
    let argument = request(&[&[b'v'; 10_000]]);
    let mut sent = 0;
    while peer.0.write_all(&argument[4..]).is_ok() {
        sent += argument.len();
        assert!(sent < 100 * MEGABYTE, "the server takes a request without end");
    }
    bystander.check();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 * MEGABYTE, "{grown} bytes for a request without end");
}

/// An empty argument takes more memory than it has bytes on the wire.
#[test]
fn the_arguments_of_a_request_count_as_input_however_short_they_are() {
    let server = Server::start(&["--client-query-buffer-limit", "1mb"]);
    let mut bystander = Bystander::of(&server);
    // Less than the limit on the wire, and with their places more than it.
    let arguments = b"$0\r\n\r\n".repeat(100_000);
    let mut peer = server.connect();
    peer.send(b"*2147483647\r\n");
    peer.send(&arguments);
    assert_eq!(peer.hear_all(), b"");
    let mut peer = server.connect();
    peer.ask(b"MULTI\r\n", b"+OK\r\n");
    // 32 requests of 56 KB each, all of it places of arguments.
    let request = [&b"*7001\r\n$3\r\nDEL\r\n"[..], &arguments[..7000 * 6]].concat();
    peer.send(&request.repeat(32));
    let queued = peer.hear_all().len() / b"+QUEUED\r\n".len();
    assert!((16..20).contains(&queued), "{queued} requests were queued");
    bystander.check();
}

#[test]
fn a_request_may_have_more_than_a_million_arguments() {
    let server = Server::start(&[]);
    let keys = 1_100_000;
    let asked =
        [format!("*{}\r\n$3\r\nDEL\r\n", keys + 1).into_bytes(), b"$1\r\nk\r\n".repeat(keys)].concat();
    let mut peer = server.connect();
    peer.ask(b"SET k v\r\n", b"+OK\r\n");
    peer.ask(&asked, b":1\r\n");
    peer.ask(b"MULTI\r\n", b"+OK\r\n");
    peer.ask(&asked, b"+QUEUED\r\n");
    peer.ask(b"EXEC\r\n", b"*1\r\n:0\r\n");
}

#[test]
fn large_values_and_keys_are_kept() {
    let size = if long() { 512 * MEGABYTE } else { 64 * MEGABYTE };
    let server = Server::start(&["--client-query-buffer-limit", "2gb"]);
    let mut bystander = Bystander::of(&server);
    let large: Vec<u8> = (0..size).map(|at| (at / 7) as u8).collect();
    let mut peer = server.connect();
    peer.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${size}\r\n").as_bytes());
    for piece in large.chunks(MEGABYTE) {
        peer.send(piece);
        bystander.check();
    }
    peer.ask(b"\r\n", b"+OK\r\n");
    peer.ask(b"STRLEN k\r\n", format!(":{size}\r\n").as_bytes());
    peer.send(b"GET k\r\n");
    bystander.check();
    peer.hear(format!("${size}\r\n").as_bytes());
    peer.hear(&large);
    peer.ask(b"\r\nDEL k\r\n", b"\r\n:1\r\n");
    peer.ask(&request(&[b"SET", b"", b"nothing"]), b"+OK\r\n");
    peer.ask(&request(&[b"GET", b""]), b"$7\r\nnothing\r\n");
    let key = if long() { &large } else { &large[..size / 4] };
    peer.ask(&request(&[b"SET", key, b"v"]), b"+OK\r\n");
    peer.ask(&request(&[b"GET", key]), b"$1\r\nv\r\n");
    peer.ask(&request(&[b"DEL", key]), b":1\r\n");
    bystander.check();
}

#[test]
fn a_million_keys_may_be_asked_for_at_once() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    let keys = 1_000_000;
    let mut asked = format!("*{}\r\n$4\r\nMGET\r\n", keys + 1).into_bytes();
    for number in 0..keys {
        let key = format!("k{number}");
        asked.extend_from_slice(format!("${}\r\n{key}\r\n", key.len()).as_bytes());
    }
    bystander.0.ask(b"SET k999999 last\r\n", b"+OK\r\n");
    let mut peer = server.connect();
    for piece in asked.chunks(16 * 1024) {
        peer.send(piece);
    }
    peer.hear(format!("*{keys}\r\n").as_bytes());
    peer.hear(&b"$-1\r\n".repeat(keys - 1));
    peer.hear(b"$4\r\nlast\r\n");
    bystander.check();
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let server = Server::start(&[]);
    let mut bystander = Bystander::of(&server);
    bystander.0.ask(b"CLIENT PAUSE 600000 WRITE\r\n", b"+OK\r\n");
    for _ in 0..20 {
        let mut waiting = server.connect();
        waiting.send(b"SET never seen\r\n");
        bystander.check();
        waiting.send(b"GET more\r\n");
        bystander.check();
        waiting.reset();
    }
    bystander.check();
    bystander.0.ask(b"CLIENT UNPAUSE\r\n", b"+OK\r\n");
    bystander.0.ask(b"EXISTS never\r\n", b":0\r\n");
}
