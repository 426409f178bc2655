//! The way into an event loop: connections that it accepts, those that others hand to it, and the doorbell.
//!
//! Every loop accepts from every listener. The system wakes one of them for a connection, which usually keeps it: no other thread
//! has to wake up. A loop that has clearly more clients than another hands the connection over.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection::Connection;
use super::event_loop::EventLoop;
use super::listen::Listener;
use crate::client::{Client, ClientFlags, ClientInfo};
use crate::config::Config;
use crate::dispatch::forget_client;
use crate::observe::counters::{Count, Gauge};

/// The bit that marks the poller's names of listeners.
pub(super) const LISTENER_TOKENS: u64 = 1 << 63;
/// Connections that a loop accepts from one listener before it serves others.
const ACCEPTS_A_SWEEP: usize = 16;
/// How long a loop accepts nothing when the system has no descriptor left.
const REST_MS: i64 = 50;

/// What a loop accepts from.
#[derive(Default)]
pub(super) struct Listening {
    listeners: Vec<Arc<Listener>>,
    /// When it goes on, if it rests.
    again_ms: Option<i64>,
}

/// A socket that was accepted for this loop.
pub struct Accepted {
    pub socket: OwnedFd,
    pub address: String,
    pub local_address: String,
    pub unix: bool,
    /// The peer is on this machine: loopback, or a Unix socket.
    pub local: bool,
}

/// The way to a loop from outside: new sockets and a doorbell.
pub struct Door {
    accepted: Mutex<Vec<Accepted>>,
    /// New ones, if the loop has not taken them yet.
    listeners: Mutex<Option<Vec<Arc<Listener>>>>,
    pub(super) bell: OwnedFd,
    clients: AtomicUsize,
}

impl Door {
    /// # Errors
    /// When the operating system has no descriptor left.
    pub fn new() -> rustix::io::Result<Door> {
        Ok(Door {
            accepted: Mutex::default(),
            listeners: Mutex::default(),
            clients: AtomicUsize::new(0),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        })
    }

    /// Clients that the loop serves or will serve.
    pub fn load(&self) -> usize {
        self.clients.load(Relaxed)
    }

    /// Hands a socket in.
    pub fn admit(&self, accepted: Accepted) {
        self.clients.fetch_add(1, Relaxed);
        self.accepted.lock().push(accepted);
        self.ring();
    }

    /// Makes the loop accept from these listeners and no others.
    pub fn listen_on(&self, listeners: Vec<Arc<Listener>>) {
        *self.listeners.lock() = Some(listeners);
        self.ring();
    }

    /// Wakes the loop.
    pub fn ring(&self) {
        // The only failure is a counter at its maximum, which takes longer than any server lives.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl EventLoop<'_> {
    pub(super) fn door(&self) -> &Door {
        &self.doors[self.state.loop_index]
    }

    pub(super) fn answer_door(&mut self) {
        let accepted = std::mem::take(&mut *self.door().accepted.lock());
        for accepted in accepted {
            self.open(accepted);
        }
        let listeners = self.door().listeners.lock().take();
        if let Some(listeners) = listeners {
            self.listen_on(listeners);
        }
    }

    /// Accepts from these listeners and no others. Only one loop is woken for a connection.
    fn listen_on(&mut self, listeners: Vec<Arc<Listener>>) {
        self.rest_from_accepting();
        self.listening.listeners = listeners;
        self.accept_again();
    }

    fn accept_again(&mut self) {
        self.listening.again_ms = None;
        for listener in &self.listening.listeners {
            let token = epoll::EventData::new_u64(LISTENER_TOKENS | listener.number);
            let flags = epoll::EventFlags::IN | epoll::EventFlags::EXCLUSIVE;
            if let Err(error) = epoll::add(&self.poller, listener, token, flags) {
                tracing::error!(%error, address = listener.shown_address(), "a listening socket cannot be polled");
            }
        }
    }

    fn rest_from_accepting(&self) {
        for listener in &self.listening.listeners {
            // It may not be polled at present.
            let _ = epoll::delete(&self.poller, listener);
        }
    }

    /// Ends a rest whose time is over.
    pub(super) fn look_after_listeners(&mut self) {
        if self.listening.again_ms.is_some_and(|again_ms| again_ms <= self.state.steady_ms) {
            self.accept_again();
        }
    }

    /// Accepts connections of the listener that the poller names so.
    pub(super) fn accept(&mut self, token: u64) {
        let named = |listener: &&Arc<Listener>| LISTENER_TOKENS | listener.number == token;
        let Some(listener) = self.listening.listeners.iter().find(named).cloned() else { return };
        for _ in 0..ACCEPTS_A_SWEEP {
            match rustix::net::acceptfrom_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    self.welcome(&listener, socket, peer);
                }
                // Another loop was quicker, or the listener is closed and the door is about to say so.
                Err(Errno::AGAIN | Errno::INVAL) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    // Out of descriptors, most likely: give connections a moment to end instead of spinning.
                    tracing::warn!(%error, "a connection could not be accepted");
                    self.rest_from_accepting();
                    self.listening.again_ms = Some(self.state.steady_ms + REST_MS);
                    return;
                }
            }
        }
    }

    /// Refuses a new connection, or opens it, here or in the event loop with the fewest clients.
    fn welcome(&mut self, listener: &Listener, socket: OwnedFd, peer: Option<SocketAddr>) {
        let local = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        // Counted before it is looked whether there is room, so that two loops do not both take the last place.
        self.door().clients.fetch_add(1, Relaxed);
        let connected = self.doors.iter().map(|door| door.load()).sum::<usize>() - 1;
        if let Some(text) = refusal(&self.state.config, connected, local) {
            self.door().clients.fetch_sub(1, Relaxed);
            self.state.count(Count::ConnectionsRejected, 1);
            // The connection ends whether or not the peer gets to read why.
            let _ = rustix::io::write(&socket, text.as_bytes());
            return;
        }
        if peer.is_some() {
            listener.keep_alive(&socket, self.state.config.tcp_keepalive);
        }
        let local_address = listener.local_address(&socket);
        let address = peer.map_or_else(|| local_address.clone(), |peer| peer.to_string());
        let accepted = Accepted { address, local_address, unix: peer.is_none(), local, socket };
        match self.quieter_loop() {
            Some(index) => {
                self.door().clients.fetch_sub(1, Relaxed);
                self.doors[index].admit(accepted);
            }
            None => self.open(accepted),
        }
    }

    /// Another loop, if this one has clearly more clients than that: handing a connection over costs a wake-up, and short ones come and go.
    fn quieter_loop(&self) -> Option<usize> {
        let (index, least) =
            self.doors.iter().map(|door| door.load()).enumerate().min_by_key(|(_, load)| *load)?;
        let others = self.door().load() - 1;
        (others > least + least / 8).then_some(index)
    }

    pub(super) fn open(&mut self, accepted: Accepted) {
        let place = self.vacant.pop().unwrap_or(self.connections.len());
        let services = self.state.services;
        let mut flags = ClientFlags::default();
        if accepted.unix {
            flags.0 |= ClientFlags::UNIX_SOCKET.0;
        }
        if accepted.local {
            flags.0 |= ClientFlags::LOCAL.0;
        }
        let info = Arc::new(ClientInfo::new(
            services.clients.next_id(),
            accepted.address,
            accepted.local_address,
            std::os::fd::AsRawFd::as_raw_fd(&accepted.socket),
            self.state.loop_index,
            place,
            self.state.steady_ms,
            flags,
        ));
        let token = epoll::EventData::new_u64(place as u64);
        if let Err(error) = epoll::add(&self.poller, &accepted.socket, token, epoll::EventFlags::IN) {
            tracing::warn!(%error, client = info.address, "a connection could not be polled and is closed");
            self.vacant.push(place);
            self.door().clients.fetch_sub(1, Relaxed);
            return;
        }
        let client = Client::new(Arc::clone(&info), !self.state.config.requirepass.is_empty());
        let connection = Some(Box::new(Connection::new(accepted.socket, client)));
        if place == self.connections.len() {
            self.connections.push(connection);
        } else {
            self.connections[place] = connection;
        }
        services.clients.add(info);
        self.state.count(Count::ConnectionsReceived, 1);
        self.state.statistics.counters.rise(Gauge::ConnectedClients);
    }

    pub(super) fn close(&mut self, place: usize) {
        let Some(mut connection) = self.connections[place].take() else { return };
        if connection.client.blocked.is_some() {
            self.state.statistics.counters.fall(Gauge::BlockedClients);
        }
        forget_client(&mut self.state, &mut connection.client);
        self.state.services.clients.remove(connection.client.info.id);
        if connection.unfinished {
            self.unfinished.retain(|other| *other != place);
        }
        self.door().clients.fetch_sub(1, Relaxed);
        self.state.statistics.counters.fall(Gauge::ConnectedClients);
        self.vacant.push(place);
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

    #[test]
    fn protected_mode_refuses_strangers_until_there_is_a_password() {
        let open = Config::default();
        assert_eq!(refusal(&open, 0, true), None);
        assert_eq!(refusal(&open, 0, false), Some(PROTECTED));
        let with_password = Config::with(|config| config.requirepass = b"secret".to_vec());
        assert_eq!(refusal(&with_password, 0, false), None);
        let unprotected = Config::with(|config| config.protected_mode = false);
        assert_eq!(refusal(&unprotected, 0, false), None);
    }

    #[test]
    fn the_limit_of_clients_comes_before_protected_mode() {
        let config = Config::with(|config| config.maxclients = 3);
        assert_eq!(refusal(&config, 2, true), None);
        assert_eq!(refusal(&config, 3, false), Some(TOO_MANY));
    }
}
