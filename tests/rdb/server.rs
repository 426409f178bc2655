//! A server process with one connection to it, in a folder of its own below target/tmp.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cloakroom::rdb::Record;
use cloakroom::rdb::value::Value;
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame as Frame;

pub const CLOAKROOM: &str = env!("CARGO_BIN_EXE_cloakroom");
const PATIENCE: Duration = Duration::from_secs(20);
const STARTS_MAX: u32 = 2000;

/// A server process with one connection to it.
pub struct Server {
    child: Child,
    pub folder: PathBuf,
    pub port: u16,
    pub stream: TcpStream,
    input: Vec<u8>,
}

impl Server {
    pub fn start(program: &str, more: &[&str]) -> Server {
        Server::start_in(program, new_folder(), more)
    }

    pub fn start_in(program: &str, folder: PathBuf, more: &[&str]) -> Server {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let mut command = Command::new(program);
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"]).arg(&folder);
        command.args(["--loglevel", "warning"]).args(more);
        let output = File::create(folder.join("server.log")).expect("a log file");
        let child = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::inherit()).spawn();
        let mut child = child.expect("the server starts");
        let stream = connect(port, &mut child);
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket option");
        let mut server = Server { child, folder, port, stream, input: Vec::new() };
        // It listens before its data is loaded.
        while matches!(server.ask(&[b"DBSIZE"]), Frame::Error(text) if text.starts_with("LOADING")) {}
        server
    }

    pub fn address(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn send(&mut self, words: &[&[u8]]) {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word);
            bytes.extend_from_slice(b"\r\n");
        }
        self.stream.write_all(&bytes).expect("a server that reads");
    }

    pub fn receive(&mut self) -> Frame {
        loop {
            if let Some((frame, taken)) = decode(&self.input).expect("a reply") {
                self.input.drain(..taken);
                return frame;
            }
            let mut buffer = vec![0; 64 << 10];
            let count = self.stream.read(&mut buffer).expect("a server that answers");
            assert!(count > 0, "the server has closed the connection");
            self.input.extend_from_slice(&buffer[..count]);
        }
    }

    pub fn ask(&mut self, words: &[&[u8]]) -> Frame {
        self.send(words);
        self.receive()
    }

    /// A command as a line of words.
    pub fn run(&mut self, line: &str) -> Frame {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let reply = self.ask(&words);
        assert!(!matches!(reply, Frame::Error(_)), "{line}: {reply:?}");
        reply
    }

    /// Value and deadline of a key of the selected database.
    pub fn look(&mut self, key: &[u8]) -> Option<(Vec<u8>, Option<i64>)> {
        let Frame::BulkString(value) = self.ask(&[b"GET", key]) else { return None };
        let Frame::Integer(at_ms) = self.ask(&[b"PEXPIRETIME", key]) else { panic!("a deadline") };
        Some((value, (at_ms >= 0).then_some(at_ms)))
    }

    /// The server has exactly these strings in this database.
    pub fn assert_holds(&mut self, database: u32, records: &[Record]) {
        self.run(&format!("SELECT {database}"));
        for record in records.iter().filter(|record| record.database == database) {
            let expected = Some((text_of(record).to_vec(), record.expire_at_ms));
            assert_eq!(self.look(&record.key), expected, "{}", record.key.escape_ascii());
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Process and folder are ours; there is nothing to do about a failure to remove them.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[allow(clippy::disallowed_methods, reason = "another process cannot be waited for in another way")]
fn connect(port: u16, child: &mut Child) -> TcpStream {
    for _ in 0..STARTS_MAX {
        if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            return stream;
        }
        assert!(child.try_wait().expect("the server's state").is_none(), "the server ended at its start");
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the server never listened");
}

pub fn new_folder() -> PathBuf {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("rdb-{}-{number}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// The string in a record that has one.
pub fn text_of(record: &Record) -> &[u8] {
    match &record.value {
        Value::String(text) => text,
        other => panic!("a string, not {other:?}"),
    }
}
