//! Listening sockets and accepting: one task for each address hands every connection to the least loaded event loop.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::event_loop::{Accepted, Door};
use crate::config::Config;
use crate::observe::counters::Count;
use crate::services::Services;

/// A socket that accepts connections.
pub struct Listener {
    socket: Socket,
    unix_path: Option<String>,
}

/// Why a socket could not be opened, with the address.
#[derive(Debug)]
pub struct ListenError {
    pub address: String,
    pub error: std::io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot listen on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for ListenError {}

/// Opens all sockets that the configuration names. An address with a leading `-` may be missing on this machine.
///
/// # Errors
/// The first address that cannot be bound.
pub fn open(config: &Config) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if config.port != 0 {
        for address in &config.bind {
            let (optional, host) = address.strip_prefix('-').map_or((false, address.as_str()), |h| (true, h));
            match open_tcp(host, config.port, config.tcp_backlog) {
                Ok(socket) => listeners.push(Listener { socket, unix_path: None }),
                Err(error) if optional && is_missing_address(&error) => {}
                Err(error) => {
                    let address = format!("{host}:{}", config.port);
                    return Err(ListenError { address, error });
                }
            }
        }
    }
    if !config.unixsocket.is_empty() {
        let socket = open_unix(&config.unixsocket, config.unixsocketperm.0, config.tcp_backlog)
            .map_err(|error| ListenError { address: config.unixsocket.clone(), error })?;
        listeners.push(Listener { socket, unix_path: Some(config.unixsocket.clone()) });
    }
    Ok(listeners)
}

fn is_missing_address(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open_tcp(host: &str, port: u16, backlog: u32) -> std::io::Result<Socket> {
    let address: SocketAddr = match host {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0u16; 8], port)),
        _ => {
            use std::net::ToSocketAddrs;
            let found = (host, port).to_socket_addrs()?.next();
            found.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "no such host"))?
        }
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket)
}

fn open_unix(path: &str, mode: u32, backlog: u32) -> std::io::Result<Socket> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket)
}

impl Listener {
    /// The port of a TCP listener; the operating system chose it if the configuration said 0.
    pub fn address(&self) -> String {
        match (&self.unix_path, self.socket.local_addr().ok().and_then(|address| address.as_socket())) {
            (Some(path), _) => path.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::from("?"),
        }
    }

    /// Accepts until the task is dropped.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    pub async fn accept_all(self, services: Arc<Services>, doors: Arc<[Arc<Door>]>) -> std::io::Result<()> {
        let welcome =
            |accepted: std::io::Result<(Socket, Option<SocketAddr>)>, path: Option<&str>| match accepted {
                Ok((socket, peer)) => {
                    welcome(&services, &doors, socket, peer, path);
                    true
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    false
                }
            };
        // Out of descriptors, most likely: give connections a moment to end instead of spinning.
        let pause = Duration::from_millis(50);
        if let Some(path) = self.unix_path {
            let listener = tokio::net::UnixListener::from_std(self.socket.into())?;
            loop {
                let accepted = listener.accept().await.and_then(|(stream, _)| stream.into_std());
                if !welcome(accepted.map(|stream| (stream.into(), None)), Some(&path)) {
                    tokio::time::sleep(pause).await;
                }
            }
        }
        let listener = tokio::net::TcpListener::from_std(self.socket.into())?;
        loop {
            let accepted = listener.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer)));
            if !welcome(accepted.map(|(stream, peer)| (stream.into(), Some(peer))), None) {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// Refuses a new connection, or hands it to the event loop with the fewest clients.
fn welcome(
    services: &Services,
    doors: &[Arc<Door>],
    socket: Socket,
    peer: Option<SocketAddr>,
    unix_path: Option<&str>,
) {
    let config = services.settings.load();
    let local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
    if services.clients.connected() >= config.maxclients as usize {
        services.statistics.loops()[0].counters.add(Count::ConnectionsRejected, 1);
        return refuse(&socket, "-ERR max number of clients reached\r\n");
    }
    if config.protected_mode && config.requirepass.is_empty() && !local {
        services.statistics.loops()[0].counters.add(Count::ConnectionsRejected, 1);
        return refuse(&socket, PROTECTED);
    }
    if peer.is_some() {
        let sock = SockRef::from(&socket);
        let keepalive = Duration::from_secs(u64::from(config.tcp_keepalive));
        let _ = sock.set_tcp_nodelay(true);
        if !keepalive.is_zero() {
            let settings = TcpKeepalive::new()
                .with_time(keepalive)
                .with_interval(keepalive / 3 + Duration::from_secs(1));
            let _ = sock.set_tcp_keepalive(&settings.with_retries(3));
        }
    }
    if let Err(error) = socket.set_nonblocking(true) {
        tracing::warn!(%error, "a connection could not be made non-blocking and is closed");
        return;
    }
    let text = |address: std::io::Result<socket2::SockAddr>| {
        let address = address.ok().and_then(|address| address.as_socket());
        match (address, unix_path) {
            (Some(address), _) => address.to_string(),
            (None, Some(path)) => format!("{path}:0"),
            (None, None) => String::from("?:0"),
        }
    };
    let address = peer.map_or_else(|| text(socket.local_addr()), |peer| peer.to_string());
    let local_address = text(socket.local_addr());
    let accepted =
        Accepted { address, local_address, unix: peer.is_none(), local, socket: OwnedFd::from(socket) };
    let least = doors.iter().min_by_key(|door| door.load());
    if let Some(door) = least {
        door.admit(accepted);
    }
}

/// What a stranger reads while the server has neither a password nor a bound address on purpose.
const PROTECTED: &str = "-DENIED Cloakroom is running in protected mode because no password is set for the default user. \
Only connections from this machine are accepted. To accept others, set a password (requirepass), or, if the network is \
trusted, turn protected-mode off.\r\n";

fn refuse(socket: &Socket, text: &str) {
    // The connection ends whether or not the peer gets to read why.
    let _ = socket.send(text.as_bytes());
}
