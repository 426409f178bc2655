//! The state of one connection, owned and changed by its event loop alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::info::{ClientFlags, ClientInfo};
use super::kill::Acknowledgements;
use super::migration::MigrationResult;
use super::reload::ReloadResult;
use crate::resp::{ArgRange, Args, Output, Protocol};

/// Reasons why a request may need a closer look before it runs. A client's and the server's gates together are compared with
/// the gates that concern a command; usually nothing is left and admission is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gates(pub u32);

impl Gates {
    /// The client has not authenticated and must.
    pub const UNAUTHENTICATED: Gates = Gates(1);
    /// The client is between MULTI and EXEC.
    pub const IN_TRANSACTION: Gates = Gates(1 << 1);
    /// A RESP2 client with subscriptions: only a few commands are allowed.
    pub const SUBSCRIBED: Gates = Gates(1 << 2);
    /// The client feeds on MONITOR.
    pub const MONITORING: Gates = Gates(1 << 3);
    /// CLIENT REPLY OFF, or SKIP for the present request, or SKIP for the next one. `muted.rs` says what follows.
    pub const REPLIES_OFF: Gates = Gates(1 << 4);
    pub const SKIP_THIS: Gates = Gates(1 << 5);
    pub const SKIP_NEXT: Gates = Gates(1 << 6);
    /// CLIENT NO-TOUCH: reads leave the access history alone. Concerns no command's admission.
    pub const NO_TOUCH: Gates = Gates(1 << 16);
    /// The reply that is being written waits, see [`Withheld`].
    pub const WITHHELD: Gates = Gates(1 << 7);
    /// The server has a memory limit.
    pub const MEMORY_LIMIT: Gates = Gates(1 << 8);
    /// CLIENT PAUSE is in force.
    pub const PAUSED: Gates = Gates(1 << 9);
    /// Somebody monitors.
    pub const MONITORED: Gates = Gates(1 << 10);
    /// The data is still being loaded.
    pub const LOADING: Gates = Gates(1 << 11);
    /// Too much of the write log is on its way to the disk: writes wait.
    pub const LOG_FULL: Gates = Gates(1 << 12);
    /// What is written could be lost: a save or the write log has failed.
    pub const WRITES_REFUSED: Gates = Gates(1 << 13);
    /// Too much is on its way to clients of some event loop: requests that would send more wait.
    pub const DELIVERIES_FULL: Gates = Gates(1 << 14);
    /// The server saves for the last time: writes wait. Nothing that clients can ask for takes it away.
    pub const ENDING: Gates = Gates(1 << 15);

    /// Not everybody may use DEBUG.
    pub const PROTECTED: Gates = Gates(1 << 17);

    #[inline]
    pub const fn and(self, other: Gates) -> Gates {
        Gates(self.0 | other.0)
    }

    #[inline]
    pub const fn without(self, other: Gates) -> Gates {
        Gates(self.0 & !other.0)
    }

    #[inline]
    pub const fn common(self, other: Gates) -> Gates {
        Gates(self.0 & other.0)
    }

    #[inline]
    pub const fn any(self) -> bool {
        self.0 != 0
    }

    #[inline]
    pub const fn has(self, other: Gates) -> bool {
        self.0 & other.0 != 0
    }
}

/// Whether and when the connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Closing {
    #[default]
    No,
    /// When all that was written has been sent (QUIT, protocol errors).
    AfterReply,
    /// As soon as the event loop has the connection again.
    Now,
}

/// A request that waits for EXEC; it owns its bytes.
pub struct QueuedRequest {
    /// The id of the command in the command table.
    pub command: usize,
    bytes: Box<[u8]>,
    ranges: Box<[ArgRange]>,
}

impl QueuedRequest {
    /// Copies a request.
    pub fn new(command: usize, args: Args<'_>) -> QueuedRequest {
        let mut bytes = Vec::with_capacity(args.bytes());
        let ranges = args.iter_from(0).map(|arg| {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(arg);
            ArgRange { start, len: arg.len() as u32 }
        });
        let ranges = ranges.collect();
        QueuedRequest { command, bytes: bytes.into(), ranges }
    }

    pub fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }

    /// Bytes that the copy takes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.ranges.len() * size_of::<ArgRange>() + size_of::<QueuedRequest>()
    }
}

/// What MULTI began.
#[derive(Default)]
pub struct Transaction {
    pub queue: Vec<QueuedRequest>,
    /// A request could not be queued: EXEC answers EXECABORT.
    pub aborted: bool,
    /// Bytes of the queued requests.
    pub bytes: usize,
}

/// What an EXEC has yet to answer since it released its shards, in order.
pub enum Unfinished {
    /// It has to run.
    Request(QueuedRequest),
    /// Its reply, for it has run already; or what the client hears behind the reply to EXEC.
    Reply(Output),
}

/// A key that EXEC must find unchanged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct WatchedKey {
    pub database: usize,
    pub key: Box<[u8]>,
}

/// What WATCH saw of a key.
#[derive(Clone, Copy, Debug)]
pub struct Sighting {
    pub version: u64,
    /// The key's deadline had passed already when WATCH was called.
    pub was_expired: bool,
}

/// The error of Redis for WAITAOF without a log.
pub const NO_LOG: &str = "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";

/// Why the client's next request has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blocked {
    /// Until the pause ends (CLIENT PAUSE); the request then runs from its beginning.
    Paused,
    /// MIGRATE: until the other server has answered; the request then runs from its beginning, with the result.
    Migrating,
    /// Until the client's next turn, in which the request goes on from where [`Parked`] says.
    Parked,
    /// Until the write log has room again; the request then runs from its beginning.
    LogFull,
    /// Until the other event loops have taken what was sent to their clients; the request then runs from its beginning.
    DeliveriesFull,
    /// CLIENT KILL: until other event loops have closed those whom they own; then the reply that waits goes out.
    Withheld,
    /// Until the server has ended, or cannot; the request then runs from its beginning.
    Ending,
    /// Until the data are loaded again (DEBUG RELOAD), or that takes too long; the request then runs from its beginning.
    Loading,
    /// DEBUG RELOAD or LOADAOF: until it is done, and how it went.
    Reloading { result: Option<ReloadResult> },
    /// SAVE: until this many saves have ended; answers with how that one went.
    Saving { saves: u64 },
    /// SHUTDOWN: until the server ends, or says of the order with this number, or a later one, that it cannot.
    ShuttingDown { order: u64 },
    /// WAITAOF: answers when the write log is on disk up to `offset`, or the time (steady milliseconds; 0: never) has come, with whether
    /// the client's own writes, which end at `written`, are. `local`: it is an error if the log is turned off meanwhile.
    Durable { offset: u64, written: u64, until_ms: i64, local: bool },
    /// WAIT: answers with an integer when the time (steady milliseconds; 0: never) has come.
    Waiting { until_ms: i64, answer: i64 },
    /// CLIENT UNBLOCK with ERROR has ended the waiting; the client hears so at the next look.
    Unblocked,
}

/// A deadline that nothing but CLIENT UNBLOCK gives.
const LONG_AGO_MS: i64 = 1;

impl Blocked {
    /// Whether the request has not begun, and runs from its beginning when the waiting is over.
    pub fn runs_again(self) -> bool {
        match self {
            Blocked::Paused
            | Blocked::Migrating
            | Blocked::Parked
            | Blocked::LogFull
            | Blocked::DeliveriesFull
            | Blocked::Ending
            | Blocked::Loading => true,
            Blocked::Withheld
            | Blocked::Reloading { .. }
            | Blocked::Saving { .. }
            | Blocked::ShuttingDown { .. }
            | Blocked::Durable { .. }
            | Blocked::Waiting { .. }
            | Blocked::Unblocked => false,
        }
    }

    /// CLIENT UNBLOCK: ends the waiting for others, as its time does or with an error.
    pub fn end(&mut self, error: bool) {
        match self {
            Blocked::Waiting { .. } | Blocked::Durable { .. } if error => *self = Blocked::Unblocked,
            // Whose time has come long ago is woken at the next look at blocked clients.
            Blocked::Waiting { until_ms, .. } | Blocked::Durable { until_ms, .. } => *until_ms = LONG_AGO_MS,
            _ => {}
        }
    }

    /// When a client that waits for others is to be answered at the latest (0: never); `None` for one that waits for the
    /// server itself.
    pub fn waits_until_ms(&self) -> Option<i64> {
        match self {
            Blocked::Waiting { until_ms, .. } | Blocked::Durable { until_ms, .. } => Some(*until_ms),
            _ => None,
        }
    }

    /// Whether CLIENT UNBLOCK may end the waiting, and has not done so.
    pub fn may_be_unblocked(&self) -> bool {
        self.waits_until_ms().is_some_and(|until_ms| until_ms != LONG_AGO_MS)
    }
}

/// A reply that is written and waits for other event loops. In the meantime the client is [`Blocked::Withheld`].
#[derive(Debug, Default)]
pub struct Withheld {
    pub reply: Output,
    pub awaited: Acknowledgements,
}

/// A request whose work takes more than a turn: how far its walk through the keyspace has come, and what it has found.
#[derive(Debug, Default)]
pub struct Parked {
    pub shard: usize,
    pub granule: u64,
    pub found: Output,
    /// Replies in `found`.
    pub count: usize,
    /// What it may still look at (SCAN).
    pub keys_left: usize,
    pub homes_left: usize,
    /// What it has taken so far, on the stopwatch.
    pub spent_ticks: u64,
}

/// Gates of which other threads see a copy, with its name there.
const SHOWN_GATES: [(Gates, ClientFlags); 3] = [
    (Gates::IN_TRANSACTION, ClientFlags::IN_TRANSACTION),
    (Gates::MONITORING, ClientFlags::MONITOR),
    (Gates::NO_TOUCH, ClientFlags::NO_TOUCH),
];

/// See the module's text.
pub struct Client {
    pub info: Arc<ClientInfo>,
    pub database: usize,
    pub protocol: Protocol,
    pub gates: Gates,
    pub closing: Closing,
    pub blocked: Option<Blocked>,
    pub transaction: Option<Box<Transaction>>,
    /// Not empty while the client is blocked in a request of an EXEC.
    pub unfinished: VecDeque<Unfinished>,
    pub watched: HashMap<WatchedKey, Sighting>,
    pub channels: HashSet<Bytes>,
    pub patterns: HashSet<Bytes>,
    pub shard_channels: HashSet<Bytes>,
    /// The write log's offset behind the client's last change.
    pub log_offset: u64,
    /// How the MIGRATE went that the client is blocked in.
    pub migration: Option<Arc<MigrationResult>>,
    pub withheld: Option<Box<Withheld>>,
    /// The request that goes on in the client's next turn.
    pub parked: Option<Box<Parked>>,
}

impl Client {
    /// A client that has just connected.
    pub fn new(info: Arc<ClientInfo>, must_authenticate: bool) -> Client {
        let gates = if must_authenticate { Gates::UNAUTHENTICATED } else { Gates::default() };
        Client {
            info,
            database: 0,
            protocol: Protocol::default(),
            gates,
            closing: Closing::default(),
            blocked: None,
            transaction: None,
            unfinished: VecDeque::new(),
            watched: HashMap::new(),
            channels: HashSet::new(),
            patterns: HashSet::new(),
            shard_channels: HashSet::new(),
            log_offset: 0,
            migration: None,
            withheld: None,
            parked: None,
        }
    }

    /// Channels, patterns and shard channels that the client is subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Sets or clears gates; what others may see of them follows.
    pub fn set_gate(&mut self, gate: Gates, on: bool) {
        self.gates = if on { self.gates.and(gate) } else { self.gates.without(gate) };
        for (shown, flag) in SHOWN_GATES {
            if gate.has(shown) {
                self.info.set_flag(flag, on);
            }
        }
    }

    /// What others see of the client's waiting follows from what it waits in: called when it begins to wait, and when it goes on.
    pub fn show_blocked(&self) {
        let until_ms = self.blocked.as_ref().and_then(Blocked::waits_until_ms);
        self.info.set_flag(ClientFlags::BLOCKED, self.blocked.is_some());
        self.info.unblockable.store(until_ms.is_some(), Ordering::Relaxed);
        self.info.has_timeout.store(until_ms.is_some_and(|at| at != 0), Ordering::Relaxed);
    }

    /// The connection ends when all that was written has been sent.
    pub fn close_after_reply(&mut self) {
        self.closing = Closing::AfterReply;
        self.info.set_flag(ClientFlags::CLOSE_AFTER_REPLY, true);
    }

    /// Chooses the database that the client's requests work on.
    pub fn select(&mut self, database: usize) {
        self.database = database;
        self.info.database.store(database, Ordering::Relaxed);
    }

    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.info.set_protocol(protocol);
    }
}
