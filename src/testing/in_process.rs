//! A server without sockets, threads or a clock: in-memory connections to one event loop's state, or to those of several.
//!
//! It owns the bytes between a client and the core, and a clock that only [`InProcess::advance`] moves. It shares everything from the
//! parser to the effects with the event loop; what it leaves out is what needs an operating system: polling, write limits, idle
//! timeouts. The invariant that matters: when a call returns, all that it caused on its loop has happened, so nothing ever needs waiting for. What it
//! caused on other loops lies in their mailboxes until they are told to [`InProcess::settle`]; so a test decides when they do.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock};

use super::transcript::{Patience, Received, Target};
use crate::base::clock::{Now, Stopwatch};
use crate::base::quote::split_args;
use crate::client::{
    Acknowledgement, Blocked, Client, ClientFlags, ClientInfo, Clients, Closing, Mailbox, Message,
    MigrationOrder, ReloadOrder,
};
use crate::command::{COMMANDS, LoopState, write_parcel};
use crate::config::Config;
use crate::dispatch::{
    EMPTY, evict_clients, execute, expire_round, forget_client, prepare, refuse, relieve, wake,
};
use crate::keyspace::{KeyHasher, Keyspace, Reclaimer, TICK_MS, ValueLimits};
use crate::observe::counters::{Count, Gauge};
use crate::observe::statistics::Statistics;
use crate::resp::{ArgRange, Args, Output, ParseError, Parser, Step};
use crate::server::limits;
use crate::services::{Control, Identity, Services, Settings, Shutdown};
use crate::snapshot::SaveKind;

/// What the clock shows at the start: a day of 2023, in Unix milliseconds.
pub const START_MS: i64 = 1_700_000_000_000;
/// The seed of the hash and of the loop's random numbers: every run is the same.
const SEED: u64 = 0x00c1_0a4b;
/// Steps in which the clock moves; a long way is gone in larger ones.
const STEPS_MAX: i64 = 1024;
/// The longest way at once: 300 years.
const WAY_MS_MAX: i64 = 300 * 366 * 24 * 3600 * 1000;

static STOPWATCH: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::calibrated);

/// A process that cannot be told anything: every configuration is fine, and it never ends.
struct NoControl;

impl Control for NoControl {
    fn apply(&self, _old: &Config, _new: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    fn start_save(&self, _kind: SaveKind) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }
}

/// The shared state of a server with one event loop.
pub fn services(config: Config) -> Services {
    services_of(config, 1)
}

/// The shared state of a server with several event loops.
pub fn services_of(config: Config, loops: usize) -> Services {
    services_with(config, loops, Box::new(NoControl), Now::at_ms(START_MS))
}

/// The shared state of a server that starts now.
pub fn services_with(config: Config, loops: usize, control: Box<dyn Control>, now: Now) -> Services {
    let (databases, hasher) = (config.databases as usize, KeyHasher::fixed(SEED));
    let limits = ValueLimits::of_leaves(config.collection_leaf_bytes as usize);
    let keyspace =
        Keyspace::new(databases, loops, hasher, Reclaimer::inline(), now.wall_ms()).with_limits(limits);
    let identity = Identity {
        run_id: "0".repeat(40),
        started_ms: now.steady_ms(),
        loops,
        executable: String::from("/in/process/cloakroom"),
    };
    Services::new(
        keyspace,
        Settings::new(config, None),
        Clients::new((0..loops).map(|_| Mailbox::new(Box::new(|| {}))).collect()),
        // One part for each loop, one for whoever loads.
        Statistics::new(loops + 1, COMMANDS.count),
        control,
        identity,
    )
}

struct Connection {
    client: Client,
    /// Input from the start of a request that is not whole, or has to wait.
    input: Vec<u8>,
    parser: Parser,
    ranges: Vec<ArgRange>,
}

/// See the module's text.
pub struct InProcess<'s> {
    state: LoopState<'s>,
    /// By place; a place is never used again.
    connections: Vec<Option<Box<Connection>>>,
    /// What each client has not read yet; it outlives the connection.
    outputs: Vec<Output>,
    next_expire_ms: i64,
}

impl<'s> InProcess<'s> {
    /// The first event loop.
    pub fn new(services: &'s Services) -> InProcess<'s> {
        InProcess::on_loop(services, 0)
    }

    /// One event loop of several.
    pub fn on_loop(services: &'s Services, loop_index: usize) -> InProcess<'s> {
        InProcess::starting(services, loop_index, Now::at_ms(START_MS))
    }

    /// One event loop of several, which starts now.
    pub fn starting(services: &'s Services, loop_index: usize, now: Now) -> InProcess<'s> {
        let mut state = LoopState::new(services, loop_index, SEED + loop_index as u64, *STOPWATCH);
        state.set_now(now);
        let next_expire_ms = now.steady_ms() + TICK_MS;
        InProcess { state, connections: Vec::new(), outputs: Vec::new(), next_expire_ms }
    }

    /// The loop looks at the clocks, at its mailbox, and at who waits, and lets one client go on; false if there was nothing to do. So what
    /// several clients then do can be observed one by one.
    pub fn look(&mut self, now: Now) -> bool {
        self.state.set_now(now);
        self.state.refresh();
        self.settle_one()
    }

    /// Rounds of expiry until nothing more is due.
    pub fn expire(&mut self) {
        while expire_round(&mut self.state) {}
        relieve(&mut self.state);
        self.deliver_local();
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.state.now_ms
    }

    /// Opens a connection and gives its place.
    pub fn connect(&mut self) -> usize {
        self.state.refresh();
        let (services, place) = (self.state.services, self.connections.len());
        let address = format!("127.0.0.1:{}", 49_152 + place % 16_384);
        let info = Arc::new(ClientInfo::new(
            services.clients.next_id(),
            address,
            String::from("127.0.0.1:6379"),
            8 + place as i32,
            self.state.loop_index,
            place,
            self.state.steady_ms,
            ClientFlags::LOCAL,
        ));
        services.clients.add(Arc::clone(&info));
        let client = Client::new(info, !self.state.config.requirepass.is_empty());
        let parser = Parser::default();
        let connection = Connection { client, input: Vec::new(), parser, ranges: Vec::new() };
        self.connections.push(Some(Box::new(connection)));
        self.outputs.push(Output::default());
        self.state.count(Count::ConnectionsReceived, 1);
        self.state.statistics.counters.rise(Gauge::ConnectedClients);
        place
    }

    /// Closes a connection, from either side. What it was sent can still be read.
    pub fn disconnect(&mut self, place: usize) {
        let Some(mut connection) = self.connections[place].take() else { return };
        if connection.client.blocked.is_some() {
            self.state.statistics.counters.fall(Gauge::BlockedClients);
        }
        forget_client(&mut self.state, &mut connection.client);
        self.state.services.clients.remove(connection.client.info.id);
        self.state.statistics.counters.fall(Gauge::ConnectedClients);
    }

    pub fn is_open(&self, place: usize) -> bool {
        self.connections[place].is_some()
    }

    /// Where the log is behind the client's last write.
    pub fn log_offset(&self, place: usize) -> u64 {
        self.connections[place].as_deref().map_or(0, |connection| connection.client.log_offset)
    }

    /// What the client is told has to wait for the disk. Here it is not kept back.
    pub fn is_held(&self, place: usize) -> bool {
        let log = &self.state.services.write_log;
        (log.is_synchronous() || log.has_failed())
            && self.connections[place]
                .as_deref()
                .is_some_and(|connection| log.is_awaited(connection.client.log_offset))
    }

    /// A request of the client waits for something.
    pub fn is_waiting(&self, place: usize) -> bool {
        self.connections[place].as_deref().is_some_and(|connection| connection.client.blocked.is_some())
    }

    /// The client waits for others, and for a time at most (WAIT, WAITAOF).
    pub fn waits_for_time(&self, place: usize) -> bool {
        let connection = self.connections[place].as_deref();
        let blocked = connection.and_then(|connection| connection.client.blocked.as_ref());
        blocked.and_then(Blocked::waits_until_ms).is_some_and(|until_ms| until_ms != 0)
    }

    /// Takes what the server has sent to a client since the last call.
    pub fn take_output(&mut self, place: usize) -> Vec<u8> {
        std::mem::take(&mut self.outputs[place]).into_bytes().into()
    }

    /// Bytes come from a client: all requests that they complete run, and their effects reach everybody. A closed connection
    /// swallows them.
    pub fn feed(&mut self, place: usize, bytes: &[u8]) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        connection.input.extend_from_slice(bytes);
        connection.client.info.last_active_ms.store(self.state.steady_ms, Relaxed);
        self.state.count(Count::NetInputBytes, bytes.len() as u64);
        self.state.begin_request();
        self.state.refresh();
        self.run(place);
        self.settle();
    }

    /// Closes clients while all take more than `maxmemory-clients`, as the first event loop does from time to time.
    pub fn evict_clients(&mut self) {
        self.state.refresh();
        evict_clients(&self.state);
        self.settle();
    }

    /// Moves the clock, tick by tick unless the way is long, with all that is due on the way.
    pub fn advance(&mut self, milliseconds: u64) {
        let way_ms = i64::try_from(milliseconds).unwrap_or(i64::MAX).min(WAY_MS_MAX);
        let step_ms = (way_ms / STEPS_MAX).max(TICK_MS);
        let mut left_ms = way_ms;
        while left_ms > 0 {
            let passed_us = step_ms.min(left_ms) * 1000;
            let Now { wall_us, steady_us } = self.state.now();
            self.state.set_now(Now { wall_us: wall_us + passed_us, steady_us: steady_us + passed_us });
            left_ms -= step_ms;
            self.settle();
            if self.state.steady_ms >= self.next_expire_ms {
                self.expire();
                self.next_expire_ms = self.state.steady_ms + TICK_MS;
            }
        }
    }

    /// Sets the wall clock to another time, while none passes.
    pub fn step_clock(&mut self, milliseconds: i64) {
        let now = self.state.now();
        self.state.set_now(Now { wall_us: now.wall_us + milliseconds * 1000, ..now });
    }

    /// Runs the whole requests that lie in a connection's input.
    fn run(&mut self, place: usize) {
        while let Some(connection) = self.connections[place].as_deref_mut() {
            let client = &mut connection.client;
            if client.blocked.is_some() || client.closing != Closing::No || client.info.is_killed() {
                return;
            }
            let limits = limits(&self.state.config, client);
            let (input, ranges) = (&connection.input, &mut connection.ranges);
            let words;
            let args = match connection.parser.advance(input, &limits, ranges) {
                Ok(Step::Incomplete) => return,
                Ok(Step::Request) => Args::new(input, ranges),
                Ok(Step::Inline(line)) => {
                    match Words::split(&input[line.start as usize..][..line.len as usize]) {
                        Ok(split) => {
                            words = split;
                            words.args()
                        }
                        Err(error) => return self.refuse(place, error),
                    }
                }
                Err(error) => return self.refuse(place, error),
            };
            let keyspace = &self.state.services.keyspace;
            let prepared = if args.is_empty() { EMPTY } else { prepare(keyspace, args) };
            let ran = execute(&mut self.state, client, prepared, args, &mut self.outputs[place]);
            // A request that has to wait is parsed again when it may go on.
            let consumed = if ran { connection.parser.at } else { 0 };
            connection.input.drain(..consumed);
            connection.parser = Parser::default();
            connection.ranges.clear();
            if client.blocked.take_if(|blocked| *blocked == Blocked::Parked).is_some() {
                // Its next turn comes at once.
                continue;
            }
            if client.blocked.is_some() {
                client.show_blocked();
                self.state.statistics.counters.rise(Gauge::BlockedClients);
            }
            self.deliver_local();
        }
    }

    /// Answers input that does not keep to the protocol; the connection ends.
    fn refuse(&mut self, place: usize, error: ParseError) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        refuse(&self.state, &mut connection.client, error, &mut self.outputs[place]);
    }

    /// Lets happen what the last request or tick has caused, or another loop, until nothing more follows.
    pub fn settle(&mut self) {
        while self.settle_one() {}
    }

    /// Takes the messages of other loops, and lets one client go on or leave; false if there was nothing to do.
    fn settle_one(&mut self) -> bool {
        let mut messages = Vec::new();
        let mailbox = self.state.services.clients.mailbox(self.state.loop_index);
        self.state.note_taken(mailbox.take(&mut messages, Some(usize::MAX)));
        let any = !messages.is_empty();
        for message in messages {
            self.receive(message);
        }
        (0..self.connections.len()).any(|place| self.look_after(place)) || any
    }

    /// Closes or wakes a client whose time has come; says whether it was so.
    fn look_after(&mut self, place: usize) -> bool {
        let Some(connection) = self.connections[place].as_deref_mut() else { return false };
        let client = &mut connection.client;
        if client.withheld.is_none() && (client.closing != Closing::No || client.info.is_killed()) {
            self.disconnect(place);
            return true;
        }
        if client.blocked.is_none() || !wake(&mut self.state, client, &mut self.outputs[place]) {
            return false;
        }
        client.show_blocked();
        self.state.statistics.counters.fall(Gauge::BlockedClients);
        self.run(place);
        true
    }

    fn deliver_local(&mut self) {
        for message in std::mem::take(&mut self.state.effects.local) {
            self.receive(message);
        }
    }

    /// Does what a message asks.
    fn receive(&mut self, message: Message) {
        match message {
            Message::Deliver(delivery) => {
                for receiver in delivery.missing() {
                    // Behind the last reply of a client that leaves nothing follows.
                    if let Some(client) = self.client_of(receiver.place, receiver.id)
                        && client.closing == Closing::No
                    {
                        let protocol = client.protocol;
                        write_parcel(&delivery.parcel, protocol, &mut self.outputs[receiver.place]);
                    }
                }
            }
            Message::Kill { place, id, done } => {
                if self.client_of(place, id).is_some() {
                    self.disconnect(place);
                }
                if let Some(loop_index) = done.and_then(Acknowledgement::give) {
                    self.state.services.clients.mailbox(loop_index).send(Message::Look);
                }
            }
            Message::Unblock { place, id, error } => {
                if let Some(blocked) = self.client_of(place, id).and_then(|client| client.blocked.as_mut()) {
                    blocked.end(error);
                }
            }
            Message::Migrated { place, id, result } => {
                if let Some(client) = self.client_of(place, id) {
                    client.migration = Some(result);
                }
            }
            Message::Reloaded { place, id, result } => {
                if let Some(client) = self.client_of(place, id) {
                    client.blocked = Some(Blocked::Reloading { result: Some(result) });
                }
            }
            Message::Pass(quiet_point) => quiet_point.pass(),
            Message::Look | Message::Durable | Message::Sleep { .. } | Message::Stop { .. } => {}
        }
    }

    fn client_of(&mut self, place: usize, id: u64) -> Option<&mut Client> {
        let connection = self.connections.get_mut(place)?.as_deref_mut()?;
        (connection.client.info.id == id).then_some(&mut connection.client)
    }
}

/// A plain line, split into words.
struct Words {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Words {
    fn split(line: &[u8]) -> Result<Words, ParseError> {
        let mut words = Words { bytes: Vec::new(), ranges: Vec::new() };
        for word in split_args(line).map_err(|_| ParseError::UnbalancedQuotes)? {
            words.ranges.push(ArgRange { start: words.bytes.len() as u32, len: word.len() as u32 });
            words.bytes.extend_from_slice(&word);
        }
        Ok(words)
    }

    fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }
}

impl Target for InProcess<'_> {
    fn open(&mut self) -> Result<usize, String> {
        Ok(self.connect())
    }

    fn send(&mut self, connection: usize, bytes: &[u8]) {
        self.feed(connection, bytes);
    }

    fn receive(&mut self, connection: usize, _patience: Patience) -> Received {
        match self.take_output(connection) {
            bytes if !bytes.is_empty() => Received::Bytes(bytes),
            _ if self.is_open(connection) => Received::Nothing,
            _ => Received::Closed,
        }
    }

    fn close(&mut self, connection: usize) {
        self.disconnect(connection);
    }

    fn advance(&mut self, milliseconds: u64) {
        InProcess::advance(self, milliseconds);
    }

    fn retry(&mut self, _attempt: u32) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_run_whole_and_deadlines_follow_the_clock() {
        let services = services(Config::default());
        let mut server = InProcess::new(&services);
        let client = server.connect();
        for piece in [&b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n$2\r\nP"[..], b"X\r\n$3\r\n100\r\nPING\r"] {
            server.feed(client, piece);
        }
        assert_eq!(server.take_output(client), b"+OK\r\n");
        server.feed(client, b"\nGET k\r\n");
        assert_eq!(server.take_output(client), b"+PONG\r\n$1\r\nv\r\n");
        server.advance(99);
        server.feed(client, b"GET k\r\n");
        server.advance(1);
        server.feed(client, b"GET k\r\n");
        assert_eq!(server.take_output(client), b"$1\r\nv\r\n$-1\r\n");
    }

    #[test]
    fn a_protocol_error_ends_only_its_own_connection() {
        let services = services(Config::default());
        let mut server = InProcess::new(&services);
        let (bad, good) = (server.connect(), server.connect());
        server.feed(bad, b"PING\r\n*x\r\nPING\r\n");
        assert_eq!(server.take_output(bad), b"+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n");
        assert!(!server.is_open(bad) && server.is_open(good));
        server.feed(good, b"PING\r\n");
        assert_eq!(server.take_output(good), b"+PONG\r\n");
    }
}
