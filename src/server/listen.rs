//! Listening sockets and accepting: one task for each address hands every connection to the least loaded event loop.
//!
//! [`Listeners`] are the open ones. The invariant of a change of addresses: either all new ones are open afterwards, or the old ones
//! still are.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::task::JoinHandle;

use super::event_loop::{Accepted, Door};
use crate::config::Config;
use crate::observe::counters::Count;
use crate::services::Services;

/// Where the server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Endpoint {
    Tcp { host: String, port: u16 },
    Unix { path: String },
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Endpoint::Tcp { host, port } => write!(f, "{host}:{port}"),
            Endpoint::Unix { path } => write!(f, "{path}"),
        }
    }
}

/// A socket that accepts connections.
pub struct Listener {
    endpoint: Endpoint,
    /// `None` for a Unix socket.
    address: Option<SocketAddr>,
    socket: Socket,
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
    let mut listeners = open_all(resolve(tcp_endpoints(config))?, config.tcp_backlog)?;
    if !config.unixsocket.is_empty() {
        let path = config.unixsocket.clone();
        let socket = open_unix(&path, config.unixsocketperm.0, config.tcp_backlog)
            .map_err(|error| ListenError { address: path.clone(), error })?;
        listeners.push(Listener { endpoint: Endpoint::Unix { path }, address: None, socket });
    }
    Ok(listeners)
}

/// The TCP addresses of a configuration; `true` where an address may be missing on this machine.
fn tcp_endpoints(config: &Config) -> Vec<(Endpoint, bool)> {
    let hosts = config.bind.iter().filter(|host| config.port != 0 && !host.is_empty());
    let endpoint = |address: &String| {
        let (optional, host) =
            address.strip_prefix('-').map_or((false, address.as_str()), |host| (true, host));
        (Endpoint::Tcp { host: host.to_owned(), port: config.port }, optional)
    };
    hosts.map(endpoint).collect()
}

/// A TCP address that the configuration names, and what its host stands for; `None` where an optional one stands for nothing.
#[derive(Clone)]
pub struct Resolved {
    endpoint: Endpoint,
    address: Option<SocketAddr>,
    optional: bool,
}

/// Asks the system what the hosts of a configuration stand for. That may take as long as its name servers do.
///
/// # Errors
/// The first host that cannot be resolved and is not optional.
pub fn resolve_addresses(config: &Config) -> Result<Vec<Resolved>, ListenError> {
    resolve(tcp_endpoints(config))
}

fn resolve(endpoints: Vec<(Endpoint, bool)>) -> Result<Vec<Resolved>, ListenError> {
    let mut resolved = Vec::new();
    for (endpoint, optional) in endpoints {
        let Endpoint::Tcp { host, port } = &endpoint else { continue };
        let address = match address_of(host, *port) {
            Ok(address) => Some(address),
            Err(error) if optional && is_missing_address(&error) => None,
            Err(error) => return Err(ListenError { address: endpoint.to_string(), error }),
        };
        resolved.push(Resolved { endpoint, address, optional });
    }
    Ok(resolved)
}

fn address_of(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    match host {
        "*" => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        "::*" => Ok(SocketAddr::from(([0u16; 8], port))),
        _ => {
            let found = (host, port).to_socket_addrs()?.next();
            found.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "no such host"))
        }
    }
}

fn open_all(resolved: Vec<Resolved>, backlog: u32) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    for Resolved { endpoint, address, optional } in resolved {
        let Some(address) = address else { continue };
        match open_tcp(address, backlog) {
            Ok(socket) => listeners.push(Listener { endpoint, address: Some(address), socket }),
            Err(error) if optional && is_missing_address(&error) => {}
            Err(error) => return Err(ListenError { address: endpoint.to_string(), error }),
        }
    }
    Ok(listeners)
}

fn is_missing_address(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported)
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

fn open_tcp(address: SocketAddr, backlog: u32) -> std::io::Result<Socket> {
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
    let address = socket2::SockAddr::unix(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            ));
        }
        // A server that was killed leaves its socket behind; one that runs answers.
        Ok(_) if Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(&address).is_ok() => {
            return Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "another server listens there"));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    if mode != 0 {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    socket.listen(backlog.min(i32::MAX as u32) as i32)?;
    Ok(socket)
}

/// A listener that a task serves.
struct Open {
    endpoint: Endpoint,
    /// `None` for a Unix socket.
    address: Option<SocketAddr>,
    task: JoinHandle<()>,
}

/// All open listeners; lives on the control thread, whose tasks accept.
pub struct Listeners {
    services: Arc<Services>,
    doors: Arc<[Arc<Door>]>,
    open: Vec<Open>,
}

impl Listeners {
    /// Starts to accept on `listeners`; must be called on a `LocalSet`.
    pub fn start(services: Arc<Services>, doors: Arc<[Arc<Door>]>, listeners: Vec<Listener>) -> Listeners {
        let mut started = Listeners { services, doors, open: Vec::new() };
        started.add(listeners);
        started
    }

    fn add(&mut self, listeners: Vec<Listener>) {
        for listener in listeners {
            tracing::info!(address = listener.shown_address(), "ready to accept connections");
            let (services, doors) = (Arc::clone(&self.services), Arc::clone(&self.doors));
            let (endpoint, address) = (listener.endpoint.clone(), listener.address);
            let task = tokio::task::spawn_local(async move {
                if let Err(error) = listener.accept_all(services, doors).await {
                    tracing::error!(%error, "a listening socket failed");
                }
            });
            self.open.push(Open { endpoint, address, task });
        }
    }

    /// Listens on the TCP addresses `wanted` instead of those that are open now. Addresses that stay are left alone.
    ///
    /// # Errors
    /// The first address that cannot be bound; the server then listens where it did before.
    pub async fn change(&mut self, wanted: &[Resolved], backlog: u32) -> Result<(), ListenError> {
        let is_same =
            |open: &Open, each: &Resolved| open.endpoint == each.endpoint && open.address == each.address;
        let stays = |open: &Open| {
            matches!(open.endpoint, Endpoint::Unix { .. }) || wanted.iter().any(|each| is_same(open, each))
        };
        let (kept, given_up): (Vec<Open>, Vec<Open>) = self.open.drain(..).partition(stays);
        let is_new = |each: &&Resolved| !kept.iter().any(|open| is_same(open, each));
        let added: Vec<_> = wanted.iter().filter(is_new).cloned().collect();
        self.open = kept;
        match open_all(added.clone(), backlog) {
            Ok(listeners) => {
                close(given_up).await;
                self.add(listeners);
                return Ok(());
            }
            // `*` and `127.0.0.1` cannot both have a port, so changing between them needs the old one closed first.
            Err(refused) if refused.error.kind() == std::io::ErrorKind::AddrInUse && !given_up.is_empty() => {
            }
            Err(refused) => {
                self.open.extend(given_up);
                return Err(refused);
            }
        }
        let as_before = |open: &Open| Resolved {
            endpoint: open.endpoint.clone(),
            address: open.address,
            optional: false,
        };
        let before = given_up.iter().map(as_before).collect();
        close(given_up).await;
        match open_all(added, backlog) {
            Ok(listeners) => {
                self.add(listeners);
                Ok(())
            }
            Err(refused) => {
                self.add(open_all(before, backlog)?);
                Err(refused)
            }
        }
    }

    /// Stops accepting, and removes the Unix socket's file.
    pub async fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        for open in &open {
            if let Endpoint::Unix { path } = &open.endpoint {
                remove_file(Path::new(path), "unixsocket");
            }
        }
        close(open).await;
    }
}

/// Removes a file that this server made.
pub fn remove_file(path: &Path, directive: &str) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), directive, "a file could not be removed");
    }
}

/// Ends tasks; their sockets are closed when this returns.
async fn close(listeners: Vec<Open>) {
    for open in listeners {
        open.task.abort();
        // The only outcome is that it was cancelled.
        let _ = open.task.await;
        tracing::info!(address = %open.endpoint, "no longer accepting connections");
    }
}

impl Listener {
    /// The address; its port is the one that the operating system chose if none was asked for.
    fn shown_address(&self) -> String {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.map_or_else(|| self.endpoint.to_string(), |address| address.to_string())
    }

    /// Accepts until the task is dropped.
    ///
    /// # Errors
    /// When the socket cannot be watched.
    async fn accept_all(self, services: Arc<Services>, doors: Arc<[Arc<Door>]>) -> std::io::Result<()> {
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
        if let Endpoint::Unix { path } = self.endpoint {
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
    let connected: usize = doors.iter().map(|door| door.load()).sum();
    if let Some(text) = refusal(&config, connected, local) {
        // Behind the parts of the event loops is one that the control thread writes.
        services.statistics.loops()[services.identity.loops].counters.add(Count::ConnectionsRejected, 1);
        // The connection ends whether or not the peer gets to read why.
        let _ = socket.send(text.as_bytes());
        return;
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

const TOO_MANY: &str = "-ERR max number of clients reached\r\n";

/// What a new connection is told instead of being served; `local` says that the peer is on this machine.
fn refusal(config: &Config, connected: usize, local: bool) -> Option<&'static str> {
    if connected >= config.maxclients as usize {
        Some(TOO_MANY)
    } else if config.protected_mode && config.requirepass.is_empty() && !local {
        Some(PROTECTED)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    #[test]
    fn protected_mode_refuses_strangers_until_there_is_a_password() {
        let open = Config::default();
        assert_eq!(refusal(&open, 0, true), None);
        assert_eq!(refusal(&open, 0, false), Some(PROTECTED));
        let with_password = config(|config| config.requirepass = b"secret".to_vec());
        assert_eq!(refusal(&with_password, 0, false), None);
        let unprotected = config(|config| config.protected_mode = false);
        assert_eq!(refusal(&unprotected, 0, false), None);
    }

    #[test]
    fn the_limit_of_clients_comes_before_protected_mode() {
        let config = config(|config| config.maxclients = 3);
        assert_eq!(refusal(&config, 2, true), None);
        assert_eq!(refusal(&config, 3, false), Some(TOO_MANY));
    }

    #[test]
    fn addresses_are_shown_with_their_port() {
        let mut config = config(|config| config.bind = vec!["-::1".into(), "10.0.0.1".into()]);
        config.port = 7;
        let shown: Vec<_> = tcp_endpoints(&config)
            .iter()
            .map(|(endpoint, optional)| format!("{endpoint} {optional}"))
            .collect();
        assert_eq!(shown, ["[::1]:7 true", "10.0.0.1:7 false"]);
        config.port = 0;
        assert!(tcp_endpoints(&config).is_empty());
    }
}
