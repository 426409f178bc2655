//! Where the process stands among others: in the background (`daemonize`), and under a service manager (`supervised`).
//!
//! A daemon is this program started again with the same arguments, in a session of its own and with no terminal; a fork after threads have
//! begun would not be safe. The protocol of systemd is that of sd_notify(3), the one of upstart its `expect stop`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};

use rustix::process::{Signal, getpid, kill_process, setsid};

use crate::config::{Config, Source, Supervision};

/// Set in the environment of the program that is started again.
const DAEMON_VARIABLE: &str = "CLOAKROOM_IS_DAEMON";
/// Where systemd listens.
const SYSTEMD_VARIABLE: &str = "NOTIFY_SOCKET";
/// Set for the jobs of upstart.
const UPSTART_VARIABLE: &str = "UPSTART_JOB";

/// The service manager that waits to hear of the server.
pub enum Manager {
    None,
    Systemd(OsString),
    Upstart,
}

impl Manager {
    /// Who is to hear of the server, by its configuration and its environment. Under nobody a warning says what is missing.
    pub fn find(config: &Config) -> Manager {
        let socket = std::env::var_os(SYSTEMD_VARIABLE).filter(|socket| !socket.is_empty());
        let is_job = std::env::var_os(UPSTART_VARIABLE).is_some();
        match (config.supervised, socket, is_job) {
            (Supervision::Auto | Supervision::Upstart, _, true) => Manager::Upstart,
            (Supervision::Auto | Supervision::Systemd, Some(socket), _) => Manager::Systemd(socket),
            (Supervision::Systemd, None, _) => {
                tracing::warn!(
                    "supervised systemd, but {SYSTEMD_VARIABLE} is not set: nobody hears when the server is ready"
                );
                Manager::None
            }
            (Supervision::Upstart, _, false) => {
                tracing::warn!(
                    "supervised upstart, but {UPSTART_VARIABLE} is not set: nobody hears when the server is ready"
                );
                Manager::None
            }
            (Supervision::No | Supervision::Auto, ..) => Manager::None,
        }
    }

    pub fn is_there(&self) -> bool {
        !matches!(self, Manager::None)
    }

    /// The server answers data commands from now on.
    pub fn ready(&self) {
        match self {
            Manager::None => {}
            Manager::Systemd(socket) => notify(socket, b"STATUS=Ready to accept connections\nREADY=1\n"),
            Manager::Upstart => {
                // upstart lets it go on when it has seen it stop.
                if let Err(error) = kill_process(getpid(), Signal::STOP) {
                    tracing::warn!(%error, "upstart could not be told that the server is ready");
                }
            }
        }
    }

    /// The server ends.
    pub fn stopping(&self) {
        if let Manager::Systemd(socket) = self {
            notify(socket, b"STOPPING=1\n");
        }
    }
}

fn notify(socket: &OsString, message: &[u8]) {
    let send = || -> io::Result<()> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
        };
        UnixDatagram::unbound()?.send_to_addr(message, &address).map(|_| ())
    };
    if let Err(error) = send() {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

/// Whether this process is the one that another has put in the background; it then leaves the terminal's session.
pub fn is_daemon() -> bool {
    let is = std::env::var_os(DAEMON_VARIABLE).is_some();
    if is {
        // Fails only for who leads a session already.
        let _ = setsid();
    }
    is
}

/// Starts this program again in the background, with the same arguments and configuration.
///
/// # Errors
/// When the system does not start it.
pub fn start_daemon(sources: &[Source]) -> io::Result<()> {
    let standard_input = sources.iter().find_map(|source| match source {
        Source::Text(file) => Some(file.text.as_slice()),
        _ => None,
    });
    let mut daemon = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(DAEMON_VARIABLE, "1")
        .stdin(if standard_input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    match (daemon.stdin.take(), standard_input) {
        (Some(mut pipe), Some(text)) => pipe.write_all(text),
        _ => Ok(()),
    }
}
