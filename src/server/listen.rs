//! Listening sockets: opened and closed by the control thread, accepted from by the event loops (`server/door.rs`).
//!
//! [`Listeners`] are the open ones. The invariant of a change of addresses: either all new ones are open afterwards, or the old ones
//! still are.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use super::door::Door;
use crate::config::Config;

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
    /// Its name; no other listener ever has it.
    pub number: u64,
    /// Our address of every connection, unless that depends on where the peer connects to.
    every: Option<String>,
    /// The keepalive seconds that accepted sockets get from it.
    keepalive: AtomicU32,
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
        listeners.push(Listener::new(Endpoint::Unix { path }, None, socket));
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
            Ok(socket) => listeners.push(Listener::new(endpoint, Some(address), socket)),
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
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
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

/// All open listeners; lives on the control thread. The event loops accept from them.
pub struct Listeners {
    doors: Arc<[Arc<Door>]>,
    open: Vec<Arc<Listener>>,
}

impl Listeners {
    /// Lets the event loops accept from `listeners`.
    pub fn start(doors: Arc<[Arc<Door>]>, listeners: Vec<Listener>) -> Listeners {
        let mut started = Listeners { doors, open: Vec::new() };
        started.add(listeners);
        started
    }

    fn add(&mut self, listeners: Vec<Listener>) {
        for listener in listeners {
            tracing::info!(address = listener.shown_address(), "ready to accept connections");
            self.open.push(Arc::new(listener));
        }
        self.tell_loops();
    }

    fn tell_loops(&self) {
        self.doors.iter().for_each(|door| door.listen_on(self.open.clone()));
    }

    /// Listens on the TCP addresses `wanted` instead of those that are open now. Addresses that stay are left alone.
    ///
    /// # Errors
    /// The first address that cannot be bound; the server then listens where it did before.
    pub fn change(&mut self, wanted: &[Resolved], backlog: u32) -> Result<(), ListenError> {
        let is_same =
            |open: &Listener, each: &Resolved| open.endpoint == each.endpoint && open.address == each.address;
        let stays = |open: &Arc<Listener>| {
            matches!(open.endpoint, Endpoint::Unix { .. }) || wanted.iter().any(|each| is_same(open, each))
        };
        let (kept, given_up): (Vec<_>, Vec<_>) = self.open.drain(..).partition(stays);
        let is_new = |each: &&Resolved| !kept.iter().any(|open| is_same(open, each));
        let added: Vec<_> = wanted.iter().filter(is_new).cloned().collect();
        self.open = kept;
        match open_all(added.clone(), backlog) {
            Ok(listeners) => {
                close(given_up);
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
        let as_before = |open: &Arc<Listener>| Resolved {
            endpoint: open.endpoint.clone(),
            address: open.address,
            optional: false,
        };
        let before = given_up.iter().map(as_before).collect();
        close(given_up);
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
    pub fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        for open in &open {
            if let Endpoint::Unix { path } = &open.endpoint {
                remove_file(Path::new(path), "unixsocket");
            }
        }
        close(open);
        self.tell_loops();
    }
}

/// Removes a file that this server made.
pub fn remove_file(path: &Path, directive: &str) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), directive, "a file could not be removed");
    }
}

/// Ends listening at once, whatever the event loops do: their next attempt to accept fails, and the address is free when this returns.
fn close(listeners: Vec<Arc<Listener>>) {
    for listener in listeners {
        // The only failure is that it does not listen any more.
        let _ = listener.socket.shutdown(std::net::Shutdown::Read);
        tracing::info!(address = %listener.endpoint, "no longer accepting connections");
    }
}

impl Listener {
    fn new(endpoint: Endpoint, address: Option<SocketAddr>, socket: Socket) -> Listener {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let bound = socket.local_addr().ok().and_then(|address| address.as_socket());
        let every = match &endpoint {
            Endpoint::Unix { path } => Some(format!("{path}:0")),
            Endpoint::Tcp { .. } => {
                bound.filter(|bound| !bound.ip().is_unspecified()).map(|bound| bound.to_string())
            }
        };
        let number = NUMBERS.fetch_add(1, Relaxed);
        Listener { endpoint, address, socket, number, every, keepalive: AtomicU32::new(0) }
    }

    /// The address; its port is the one that the operating system chose if none was asked for.
    pub fn shown_address(&self) -> String {
        let address = self.socket.local_addr().ok().and_then(|address| address.as_socket());
        address.map_or_else(|| self.endpoint.to_string(), |address| address.to_string())
    }

    /// Our address of a connection that was accepted here.
    pub fn local_address(&self, socket: &OwnedFd) -> String {
        if let Some(address) = &self.every {
            return address.clone();
        }
        let address = SockRef::from(socket).local_addr().ok().and_then(|address| address.as_socket());
        address.map_or_else(|| String::from("?:0"), |address| address.to_string())
    }

    /// Has a connection that was accepted here probed when it is silent for so many seconds; 0 is never. It has that from the listener, unless the
    /// configuration has changed since.
    pub fn keep_alive(&self, socket: &OwnedFd, seconds: u32) {
        if self.keepalive.load(Relaxed) != seconds {
            set_keepalive(&SockRef::from(socket), seconds);
            set_keepalive(&SockRef::from(&self.socket), seconds);
            self.keepalive.store(seconds, Relaxed);
        }
    }
}

/// A peer that is gone without a word is noticed after so many seconds of silence, and some more. What fails leaves the connection as it is.
fn set_keepalive(socket: &SockRef<'_>, seconds: u32) {
    let keepalive = Duration::from_secs(u64::from(seconds));
    if keepalive.is_zero() {
        let _ = socket.set_keepalive(false);
        return;
    }
    let settings =
        TcpKeepalive::new().with_time(keepalive).with_interval(keepalive / 3 + Duration::from_secs(1));
    let _ = socket.set_tcp_keepalive(&settings.with_retries(3));
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn addresses_are_shown_with_their_port() {
        let mut config = Config::with(|config| config.bind = vec!["-::1".into(), "10.0.0.1".into()]);
        config.port = 7;
        let shown: Vec<_> = tcp_endpoints(&config)
            .iter()
            .map(|(endpoint, optional)| format!("{endpoint} {optional}"))
            .collect();
        assert_eq!(shown, ["[::1]:7 true", "10.0.0.1:7 false"]);
        config.port = 0;
        assert!(tcp_endpoints(&config).is_empty());
    }

    #[test]
    fn accepted_sockets_have_the_options_of_their_listener() {
        let socket = open_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 8).expect("a socket");
        let address = socket.local_addr().expect("an address").as_socket().expect("an address");
        let endpoint = Endpoint::Tcp { host: String::from("127.0.0.1"), port: address.port() };
        let listener = Listener::new(endpoint, Some(address), socket);
        let accept = || {
            let peer = TcpStream::connect(address).expect("it listens");
            let socket = loop {
                match rustix::net::accept(&listener) {
                    Ok(socket) => break socket,
                    Err(error) => assert_eq!(error, rustix::io::Errno::AGAIN),
                }
            };
            (peer, socket)
        };
        let (_peer, first) = accept();
        listener.keep_alive(&first, 100);
        let (_other_peer, second) = accept();
        for socket in [&first, &second] {
            let socket = SockRef::from(socket);
            assert!(socket.tcp_nodelay().expect("an option") && socket.keepalive().expect("an option"));
            assert_eq!(socket.tcp_keepalive_time().expect("an option"), Duration::from_secs(100));
            assert_eq!(socket.tcp_keepalive_interval().expect("an option").as_secs(), 34);
        }
        assert_eq!(listener.local_address(&first), address.to_string());
    }

    #[test]
    fn the_address_of_a_closed_listener_is_free_though_loops_still_have_it() {
        let open = |address| {
            open_tcp(address, 8).map(|socket| {
                let address = socket.local_addr().expect("an address").as_socket();
                Arc::new(Listener::new(Endpoint::Tcp { host: String::new(), port: 0 }, address, socket))
            })
        };
        let held = open(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
        let address = held.address.expect("an address");
        assert!(open(address).is_err());
        close(vec![Arc::clone(&held)]);
        assert!(TcpStream::connect(address).is_err(), "nobody listens");
        let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert!(open(everywhere).is_ok());
        assert_eq!(rustix::net::accept(&held).expect_err("closed"), rustix::io::Errno::INVAL);
    }
}
