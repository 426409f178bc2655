//! What other threads may know about a client (CLIENT LIST, CLIENT KILL, PUBLISH). The owning event loop writes it with relaxed
//! stores; a reader sees each field at some recent moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::resp::Protocol;

/// Properties of a client that CLIENT LIST shows as letters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ClientFlags(pub u32);

impl ClientFlags {
    pub const BLOCKED: ClientFlags = ClientFlags(1);
    pub const IN_TRANSACTION: ClientFlags = ClientFlags(1 << 1);
    pub const MONITOR: ClientFlags = ClientFlags(1 << 2);
    pub const UNIX_SOCKET: ClientFlags = ClientFlags(1 << 4);
    pub const NO_EVICT: ClientFlags = ClientFlags(1 << 5);
    pub const NO_TOUCH: ClientFlags = ClientFlags(1 << 6);
    pub const CLOSE_AFTER_REPLY: ClientFlags = ClientFlags(1 << 7);
    /// The peer is on this machine.
    pub const LOCAL: ClientFlags = ClientFlags(1 << 8);
}

/// Texts that a client says about itself.
#[derive(Clone, Debug, Default)]
pub struct ClientNames {
    pub name: Vec<u8>,
    pub library_name: Vec<u8>,
    pub library_version: Vec<u8>,
}

/// See the module's text.
#[derive(Debug)]
pub struct ClientInfo {
    pub id: u64,
    /// The peer's address, `ip:port` or `path:0`.
    pub address: String,
    pub local_address: String,
    pub descriptor: i32,
    /// The event loop that owns the client, and its place there.
    pub loop_index: usize,
    pub place: usize,
    /// Steady milliseconds, like `last_active_ms`.
    pub created_ms: i64,
    pub names: Mutex<ClientNames>,
    pub last_active_ms: AtomicI64,
    pub database: AtomicUsize,
    resp3: AtomicBool,
    flags: AtomicU32,
    pub channels: AtomicUsize,
    pub patterns: AtomicUsize,
    pub shard_channels: AtomicUsize,
    /// Requests in the transaction, or -1 outside one.
    pub queued: AtomicI64,
    pub queued_bytes: AtomicUsize,
    pub watched: AtomicUsize,
    /// Memory of the watched keys and of the subscriptions, on both sides of their registries.
    pub watched_bytes: AtomicUsize,
    pub subscribed_bytes: AtomicUsize,
    /// A watched key was changed: EXEC will refuse. Set by whoever changes the key.
    pub watch_broken: Arc<AtomicBool>,
    pub input_bytes: AtomicUsize,
    pub input_capacity: AtomicUsize,
    pub output_bytes: AtomicUsize,
    /// What other loops have sent to the client and its own loop has not taken yet. Who sends it counts it.
    pub in_transit_bytes: AtomicUsize,
    /// The id of the command that ran last; `usize::MAX` before the first.
    pub last_command: AtomicUsize,
    pub output_class: AtomicU8,
    /// Memory of the buffer for unsent output, and the most that ever waited in it.
    pub output_capacity: AtomicUsize,
    /// [`ClientInfo::memory_bytes`] when the registry last counted it.
    pub(super) counted_bytes: AtomicUsize,
    pub output_peak: AtomicUsize,
    /// The client waits in a command that CLIENT UNBLOCK may end.
    pub unblockable: AtomicBool,
    /// It is blocked, but not for ever (`clients_in_timeout_table`).
    pub has_timeout: AtomicBool,
    killed: AtomicBool,
}

/// Whether a name fits into CLIENT LIST, whose fields end with a space: printable ASCII without blanks.
pub fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii_graphic)
}

impl ClientInfo {
    /// A client that connected at this steady time.
    #[allow(clippy::too_many_arguments, reason = "each is one independent fact of a new connection")]
    pub fn new(
        id: u64,
        address: String,
        local_address: String,
        descriptor: i32,
        loop_index: usize,
        place: usize,
        steady_ms: i64,
        flags: ClientFlags,
    ) -> ClientInfo {
        ClientInfo {
            id,
            address,
            local_address,
            descriptor,
            loop_index,
            place,
            created_ms: steady_ms,
            names: Mutex::default(),
            last_active_ms: AtomicI64::new(steady_ms),
            database: AtomicUsize::new(0),
            resp3: AtomicBool::new(false),
            flags: AtomicU32::new(flags.0),
            channels: AtomicUsize::new(0),
            patterns: AtomicUsize::new(0),
            shard_channels: AtomicUsize::new(0),
            queued: AtomicI64::new(-1),
            queued_bytes: AtomicUsize::new(0),
            watched: AtomicUsize::new(0),
            watched_bytes: AtomicUsize::new(0),
            subscribed_bytes: AtomicUsize::new(0),
            watch_broken: Arc::default(),
            input_bytes: AtomicUsize::new(0),
            input_capacity: AtomicUsize::new(0),
            output_bytes: AtomicUsize::new(0),
            in_transit_bytes: AtomicUsize::new(0),
            last_command: AtomicUsize::new(usize::MAX),
            output_class: AtomicU8::new(0),
            output_capacity: AtomicUsize::new(0),
            counted_bytes: AtomicUsize::new(0),
            output_peak: AtomicUsize::new(0),
            unblockable: AtomicBool::new(false),
            has_timeout: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        }
    }

    pub fn protocol(&self) -> Protocol {
        if self.resp3.load(Ordering::Relaxed) { Protocol::Resp3 } else { Protocol::Resp2 }
    }

    pub fn set_protocol(&self, protocol: Protocol) {
        self.resp3.store(protocol == Protocol::Resp3, Ordering::Relaxed);
    }

    /// Subscribed to anything.
    pub fn is_subscriber(&self) -> bool {
        let counts = [&self.channels, &self.patterns, &self.shard_channels];
        counts.iter().any(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// From here on the client is as good as gone: none of its requests runs, no list shows it. Gives whether this call was the first.
    pub fn mark_killed(&self) -> bool {
        !self.killed.swap(true, Ordering::AcqRel)
    }

    #[inline]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Memory that the client takes: what every connection has, its buffers, what is on its way to it, queued requests, watches,
    /// subscriptions and names.
    pub fn memory_bytes(&self) -> usize {
        /// A connection without anything in its buffers, a registry entry included.
        const FIXED_BYTES: usize = size_of::<super::Client>() + size_of::<ClientInfo>() + 256;
        let load = |field: &AtomicUsize| field.load(Ordering::Relaxed);
        let names = self.names.lock();
        FIXED_BYTES
            + self.address.capacity()
            + self.local_address.capacity()
            + names.name.capacity()
            + names.library_name.capacity()
            + names.library_version.capacity()
            + load(&self.input_capacity)
            + load(&self.output_capacity)
            + load(&self.in_transit_bytes)
            + load(&self.queued_bytes)
            + load(&self.watched_bytes)
            + load(&self.subscribed_bytes)
    }

    pub fn has(&self, flag: ClientFlags) -> bool {
        self.flags.load(Ordering::Relaxed) & flag.0 != 0
    }

    /// Sets or clears a flag. Only the owning event loop calls this.
    pub fn set_flag(&self, flag: ClientFlags, on: bool) {
        let flags = self.flags.load(Ordering::Relaxed);
        self.flags.store(if on { flags | flag.0 } else { flags & !flag.0 }, Ordering::Relaxed);
    }
}
