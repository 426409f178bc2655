//! Servers as processes, each in a directory of its own, with their log in a file of it.
//!
//! Whoever makes a `Server` or a `Folder` owns it: both are gone when it is dropped, except that a folder of a failed test stays, for whoever
//! looks for the reason.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, Reply};
use super::pause;

const POLL_PAUSE: Duration = Duration::from_millis(2);
/// How often a condition is looked at before it counts as never coming; about a minute.
const POLLS_MAX: u32 = 30_000;

/// The program that is tested.
pub fn program() -> String {
    std::env::var("CLOAKROOM_TEST_SERVER").unwrap_or_else(|_| env!("CARGO_BIN_EXE_cloakroom").to_owned())
}

/// The tests run against redis-server (or a wrapper that is named after it) to prove themselves.
pub fn is_redis() -> bool {
    Path::new(&program()).file_name().is_some_and(|name| name.to_string_lossy().contains("redis"))
}

/// A directory on the disk that the tests are built on, removed at the end of a test that passes.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(purpose: &str) -> Folder {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(path.join("data")).expect("a directory of the test");
        Folder(path)
    }

    /// The server's `dir`.
    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{} is kept", self.0.display());
        } else {
            // What cannot be removed is only left behind in the target directory.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Looks again and again until `holds`; false when it never did.
pub fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    (0..POLLS_MAX).any(|_| {
        let now = holds();
        if !now {
            pause(POLL_PAUSE);
        }
        now
    })
}

/// A port that nobody had a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// A running server.
pub struct Server {
    child: Child,
    pub port: u16,
    log: PathBuf,
    /// Where this run began in the log.
    log_start: usize,
}

impl Server {
    /// Starts a server on `folder.data()`; it may still be loading, or not yet listen.
    pub fn launch(folder: &Folder, arguments: &[&str]) -> Server {
        Server::launch_with(folder, &[], arguments)
    }

    /// As `launch`, below another program such as `prlimit`, whose words come first.
    pub fn launch_with(folder: &Folder, below: &[&str], arguments: &[&str]) -> Server {
        let program = program();
        Server::launch_words(folder, &[below, &[&program]].concat(), arguments)
    }

    /// Redis, whatever server the tests are for.
    pub fn launch_redis(folder: &Folder, arguments: &[&str]) -> Server {
        Server::launch_words(folder, &["redis-server"], arguments)
    }

    /// Another server, whose binary is at `program`.
    pub fn launch_program(folder: &Folder, program: &str, arguments: &[&str]) -> Server {
        Server::launch_words(folder, &[program], arguments)
    }

    fn launch_words(folder: &Folder, words: &[&str], arguments: &[&str]) -> Server {
        let port = free_port();
        let log = folder.0.join("log");
        let log_start = std::fs::metadata(&log).map_or(0, |metadata| metadata.len() as usize);
        let append = || File::options().create(true).append(true).open(&log).expect("a log file");
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
        command.arg(folder.data()).args(arguments).current_dir(&folder.0);
        command.stdin(Stdio::null()).stdout(append()).stderr(append());
        let child = command.spawn().expect("the server runs");
        Server { child, port, log, log_start }
    }

    /// Starts a server and waits until it serves data.
    #[track_caller]
    pub fn start(folder: &Folder, arguments: &[&str]) -> Server {
        let mut server = Server::launch(folder, arguments);
        server.wait_until_loaded(|_| {});
        server
    }

    /// Waits until data commands are answered; `loading` sees a connection whenever they are not yet.
    #[track_caller]
    pub fn wait_until_loaded(&mut self, mut loading: impl FnMut(&mut Client)) {
        let ready = wait_until(|| {
            let ended = self.child.try_wait().expect("the server's state");
            assert!(ended.is_none(), "the server ended at its start: {ended:?}\n{}", self.log());
            let Ok(mut client) = Client::connect(self.port) else { return false };
            match client.try_ask(&["DBSIZE"]) {
                Ok(Reply::Integer(_)) => return true,
                Ok(Reply::Error(text)) => assert!(text.starts_with("LOADING "), "{text}"),
                Ok(reply) => panic!("DBSIZE gave {reply}"),
                Err(_) => return false,
            }
            loading(&mut client);
            false
        });
        assert!(ready, "the server never got ready:\n{}", self.log());
    }

    #[track_caller]
    pub fn connect(&self) -> Client {
        Client::connect(self.port).expect("the server accepts")
    }

    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the server runs");
    }

    /// kill -9; the process is gone when this returns.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // A server that has ended already cannot be killed, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the server to end by itself.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        let ended = wait_until(|| self.child.try_wait().expect("the server's state").is_some());
        assert!(ended, "the server never ended:\n{}", self.log());
        self.child.wait().expect("a child")
    }

    /// What this run wrote to its log and to standard error.
    pub fn log(&self) -> String {
        let read = || -> io::Result<String> {
            let bytes = std::fs::read(&self.log)?;
            Ok(String::from_utf8_lossy(bytes.get(self.log_start..).unwrap_or_default()).into_owned())
        };
        read().unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Waits for a line that has all of `texts`, whatever their case, and gives it.
    #[track_caller]
    pub fn wait_for_line(&self, texts: &[&str]) -> String {
        let mut found = None;
        wait_until(|| {
            found = line_with(&self.log(), texts);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("no line has {texts:?}:\n{}", self.log()))
    }
}

/// The first line that has all of `texts`, whatever their case.
pub fn line_with(log: &str, texts: &[&str]) -> Option<String> {
    let has = |line: &str, text: &str| line.to_lowercase().contains(&text.to_lowercase());
    log.lines().find(|line| texts.iter().all(|text| has(line, text))).map(str::to_owned)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}
