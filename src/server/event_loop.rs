//! An event loop: one thread, one poller, its own connections.
//!
//! A sweep asks the poller for ready sockets, then takes them in groups: read all of a group, parse, prefetch, run, and write one
//! answer for each socket. Between sweeps it empties its mailbox and lets the wheels of its shards catch up.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::event::epoll;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use super::batch::{BATCH_REQUESTS, Batch};
use super::connection::{Connection, Sent, limits};
use super::drain::drain;
use crate::base::clock::{Clock, Stopwatch};
use crate::base::quote::split_args;
use crate::client::{Client, ClientFlags, ClientInfo, Closing, Gates, Message};
use crate::command::LoopState;
use crate::dispatch::{execute, forget_client};
use crate::keyspace::TICK_MS;
use crate::observe::counters::{Count, Gauge};
use crate::resp::{ArgRange, ParseError, Parser, Reply, Step};
use crate::services::{Services, Shutdown};

/// The shared input buffer; a group ends when less than one read's worth is left.
const INPUT_BYTES: usize = 512 * 1024;
const READ_BYTES: usize = 64 * 1024;
/// Output of one connection that is sent before its requests go on running.
const OUTPUT_FLUSH_BYTES: usize = 256 * 1024;
/// Output that does not yet count against client-output-buffer-limit while it is made; Redis has a fixed buffer of this size.
const OUTPUT_UNCOUNTED_BYTES: usize = 16 * 1024;
/// The most unprocessed input of a client, whatever the configuration says: places in it are 32 bits wide, and one read may add as
/// much again.
const INPUT_BYTES_MAX: u64 = i32::MAX as u64;
const EVENTS_MAX: usize = 256;
/// The poller's name for the loop's own eventfd.
const WAKE_TOKEN: u64 = u64::MAX;

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
    bell: OwnedFd,
    clients: AtomicUsize,
}

impl Door {
    /// # Errors
    /// When the operating system has no descriptor left.
    pub fn new() -> rustix::io::Result<Door> {
        Ok(Door {
            accepted: Mutex::new(Vec::new()),
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

    /// Wakes the loop.
    pub fn ring(&self) {
        // The only failure is a counter at its maximum, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

/// A connection's turn in a group.
pub(super) struct Turn {
    place: usize,
    /// Its requests in the batch.
    requests: std::ops::Range<usize>,
    source: Source,
    /// How much of its input is parsed into requests.
    parsed: usize,
    /// There may be more whole requests behind `parsed`.
    more: bool,
    /// The input was refused at `parsed`; the requests before it still run.
    error: Option<ParseError>,
    /// The peer has closed its side.
    end: bool,
}

/// Where the input of a turn is.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// In the loop's buffer.
    Shared { start: usize, end: usize },
    /// In the connection's own buffer.
    Pending,
}

pub struct EventLoop<'s> {
    pub(super) state: LoopState<'s>,
    pub(super) clock: Clock,
    pub(super) door: Arc<Door>,
    pub(super) poller: OwnedFd,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) vacant: Vec<usize>,
    pub(super) input: Box<[u8]>,
    pub(super) output: Vec<u8>,
    /// Places whose output waits for the write log.
    pub(super) held: Vec<usize>,
    pub(super) batch: Batch,
    pub(super) turns: Vec<Turn>,
    /// Places of blocked clients.
    pub(super) blocked: Vec<usize>,
    pub(super) messages: Vec<Message>,
    /// Places with fresh output from others.
    pub(super) delivered: Vec<usize>,
    pub(super) next_expire_ms: i64,
    pub(super) next_cron_ms: i64,
    pub(super) next_sample_ms: i64,
    pub(super) stopping: bool,
}

impl<'s> EventLoop<'s> {
    /// # Errors
    /// When the operating system has no poller left.
    pub fn new(
        services: &'s Services,
        loop_index: usize,
        door: Arc<Door>,
        clock: Clock,
        stopwatch: Stopwatch,
        seed: u64,
    ) -> rustix::io::Result<EventLoop<'s>> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&poller, &door.bell, epoll::EventData::new_u64(WAKE_TOKEN), epoll::EventFlags::IN)?;
        Ok(EventLoop {
            state: LoopState::new(services, loop_index, seed, stopwatch),
            clock,
            door,
            poller,
            connections: Vec::new(),
            vacant: Vec::new(),
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            output: Vec::new(),
            held: Vec::new(),
            batch: Batch::default(),
            turns: Vec::new(),
            blocked: Vec::new(),
            messages: Vec::new(),
            delivered: Vec::new(),
            next_expire_ms: 0,
            next_cron_ms: 0,
            next_sample_ms: 0,
            stopping: false,
        })
    }

    /// Serves until a `Stop` message comes, then sends what it can and ends. A loop whose poller fails has nothing to serve with: it ends, and
    /// the whole server with it.
    pub fn run(mut self) {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let mut wait_ms = TICK_MS;
        while !self.stopping {
            events.clear();
            let timeout = Duration::from_millis(wait_ms.max(0) as u64).try_into().ok();
            match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, event_loop = self.state.loop_index, "the poller failed");
                    self.state.services.failed.store(true, Relaxed);
                    self.state.services.control.shut_down(Shutdown { save: None, force: true, order: 0 });
                    break;
                }
            }
            let start = Stopwatch::ticks();
            self.state.set_now_us(self.clock.now_us());
            self.state.refresh();
            self.state.services.keyspace.prefetcher().enter(self.state.loop_index);
            if self.state.services.clients.mailbox(self.state.loop_index).is_signalled() {
                self.empty_mailbox();
            }
            self.sweep(&events);
            wait_ms = self.housekeeping();
            let elapsed_us = self.state.stopwatch.microseconds(start, Stopwatch::ticks());
            self.state.count(Count::EventLoopCycles, 1);
            self.state.count(Count::EventLoopUs, elapsed_us);
            self.state.services.keyspace.prefetcher().leave(self.state.loop_index);
        }
        // What waits for the disk goes out like the rest.
        self.state.services.write_log.sync_and_wait();
        self.release_held();
        drain(&mut self.connections, &self.clock, i64::from(self.state.config.shutdown_timeout) * 1000);
        for place in 0..self.connections.len() {
            self.close(place);
        }
    }

    /// Serves all ready sockets.
    fn sweep(&mut self, events: &[epoll::Event]) {
        let mut at = 0;
        while at < events.len() {
            let mut used = 0;
            self.batch.clear();
            self.turns.clear();
            while at < events.len()
                && self.batch.requests.len() < BATCH_REQUESTS
                && INPUT_BYTES - used >= READ_BYTES
            {
                let event = events[at];
                at += 1;
                if event.data.u64() == WAKE_TOKEN {
                    self.answer_door();
                    continue;
                }
                let place = event.data.u64() as usize;
                let flags = event.flags;
                if flags.contains(epoll::EventFlags::OUT) {
                    self.flush(place);
                }
                if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR)
                    && !self.polls_input(place)
                {
                    // The poller reports this until the socket is closed, and nobody is going to read it.
                    self.close(place);
                } else if flags
                    .intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
                {
                    used += self.read(place, used);
                }
            }
            self.run_group();
        }
        self.batch.shrink();
    }

    /// Reads from a ready socket, parses, and notes the turn. Gives how much of the shared buffer it took.
    fn read(&mut self, place: usize, used: usize) -> usize {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return 0 };
        if connection.client.blocked.is_some() && !connection.polls_input {
            return 0;
        }
        let (count, source) = if connection.pending.is_empty() {
            let buffer = &mut self.input[used..used + READ_BYTES];
            match rustix::io::read(&connection.socket, buffer) {
                Ok(count) => (count, Source::Shared { start: used, end: used + count }),
                Err(Errno::AGAIN | Errno::INTR) => return 0,
                Err(_) => (0, Source::Pending),
            }
        } else {
            let limits = limits(&self.state.config, &connection.client);
            let wanted = connection.parser.bytes_wanted(&connection.pending, &limits);
            // A large argument's buffer doubles as its bytes really come, whatever length its head claims.
            let room = wanted.clamp(READ_BYTES / 4, connection.pending.len().max(READ_BYTES));
            connection.pending.reserve(room);
            match rustix::io::read(
                &connection.socket,
                rustix::buffer::spare_capacity(&mut connection.pending),
            ) {
                Ok(count) => (count, Source::Pending),
                Err(Errno::AGAIN | Errno::INTR) => return 0,
                Err(_) => (0, Source::Pending),
            }
        };
        self.state.count(Count::ReadsProcessed, 1);
        self.state.count(Count::NetInputBytes, count as u64);
        connection.client.info.last_active_ms.store(self.state.now_ms, Relaxed);
        if count == 0 {
            let turn = Turn { place, requests: 0..0, source, parsed: 0, more: false, error: None, end: true };
            self.turns.push(turn);
            return 0;
        }
        if connection.client.blocked.is_some() {
            // A blocked client's requests wait unparsed; its socket is not read again until it goes on.
            if let Source::Shared { start, end } = source {
                connection.pending.extend_from_slice(&self.input[start..end]);
            }
            self.poll_input(place, false);
            return 0;
        }
        let turn = self.parse(place, source);
        self.turns.push(turn);
        match source {
            Source::Shared { end, .. } => end - used,
            Source::Pending => 0,
        }
    }

    /// Parses the next requests of a connection into the batch, from where its parser stands.
    pub(super) fn parse(&mut self, place: usize, source: Source) -> Turn {
        let first = self.batch.requests.len();
        let mut turn =
            Turn { place, requests: first..first, source, parsed: 0, more: false, error: None, end: false };
        let Some(connection) = self.connections[place].as_deref_mut() else { return turn };
        let limits = limits(&self.state.config, &connection.client);
        let keyspace = &self.state.services.keyspace;
        let database = connection.client.database;
        let input: &[u8] = match source {
            Source::Shared { start, end } => &self.input[start..end],
            Source::Pending => &connection.pending,
        };
        let parser = &mut connection.parser;
        turn.parsed = if connection.partial.is_empty() && !parser.is_inside() { parser.at } else { 0 };
        while parser.at < input.len() && self.batch.requests.len() - first < BATCH_REQUESTS {
            let first_range = self.batch.ranges.len();
            let resumed = parser.is_inside();
            // A request that began in an earlier read goes on in its own list, so that a long one is not copied at each read.
            let ranges = if resumed { &mut connection.partial } else { &mut self.batch.ranges };
            match parser.advance(input, &limits, ranges) {
                Ok(Step::Request) => {
                    if resumed {
                        self.batch.ranges.append(&mut connection.partial);
                        connection.partial = Vec::new();
                    }
                    if self.batch.ranges.len() > first_range {
                        self.batch.push(keyspace, database, input, first_range, turn.parsed);
                    }
                    turn.parsed = parser.at;
                }
                Ok(Step::Inline(line)) => {
                    match split_args(&input[line.start as usize..][..line.len as usize]) {
                        Ok(words) if words.is_empty() => {}
                        Ok(words) => self.batch.push_inline(keyspace, &words, turn.parsed),
                        Err(_) => {
                            turn.error = Some(ParseError::UnbalancedQuotes);
                            break;
                        }
                    }
                    turn.parsed = parser.at;
                }
                Ok(Step::Incomplete) => {
                    if !resumed {
                        connection.partial.extend(self.batch.ranges.drain(first_range..));
                    }
                    turn.requests.end = self.batch.requests.len();
                    return turn;
                }
                Err(error) => {
                    turn.error = Some(error);
                    break;
                }
            }
        }
        turn.more = turn.error.is_none() && parser.at < input.len();
        turn.requests.end = self.batch.requests.len();
        turn
    }

    /// Runs the turns of a group.
    fn run_group(&mut self) {
        if self.turns.is_empty() {
            return;
        }
        self.batch.prefetch_entries(&self.state.services.keyspace, 0);
        self.state.started_ticks = Stopwatch::ticks();
        // The list goes back when it is empty, so that the next group need not allocate one.
        let mut turns = std::mem::take(&mut self.turns);
        for turn in turns.drain(..) {
            self.run_turn(turn);
        }
        self.turns = turns;
        self.flush_delivered();
        if self.output.capacity() > 4 * OUTPUT_FLUSH_BYTES {
            self.output = Vec::new();
        }
    }

    /// Runs a connection's requests, parsing more behind them as long as there are, and sends the answers.
    pub(super) fn run_turn(&mut self, mut turn: Turn) {
        let place = turn.place;
        self.output.clear();
        if !self.may_run(&turn) {
            return;
        }
        loop {
            let ran = self.run_requests(&mut turn);
            if ran && turn.error.is_some_and(ParseError::depends_on_authentication) {
                self.parse_again_if_authenticated(&mut turn);
            }
            if !ran || !turn.more {
                break;
            }
            let next = self.parse(place, turn.source);
            self.batch.prefetch_entries(&self.state.services.keyspace, next.requests.start);
            turn = next;
        }
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        if let Some(error) = turn.error
            && connection.client.closing == Closing::No
            && connection.client.blocked.is_none()
        {
            Reply::new(&mut self.output, connection.client.protocol).error(format!("ERR {error}"));
            connection.client.closing = Closing::AfterReply;
            tracing::debug!(client = connection.client.info.address, %error, "protocol error");
        }
        self.keep_rest(&turn);
        self.send_output(place);
        let Some(connection) = self.connections[place].as_deref() else { return };
        let closing = connection.client.closing;
        if turn.end
            || closing == Closing::Now
            || closing == Closing::AfterReply && connection.output_bytes() == 0
        {
            self.close(place);
        }
    }

    /// Whether the requests of a turn may run at all. A client that was killed is closed instead; the input of one that is to be
    /// closed when its output is sent is dropped.
    fn may_run(&mut self, turn: &Turn) -> bool {
        let Some(connection) = self.connections[turn.place].as_deref_mut() else { return false };
        let client = &connection.client;
        let gone = client.closing == Closing::No && client.info.is_killed();
        if client.closing == Closing::No && !gone {
            let input_bytes = match turn.source {
                Source::Shared { start, end } => end - start,
                Source::Pending => connection.pending.len(),
            };
            client.info.input_bytes.store(input_bytes, Relaxed);
            return true;
        }
        connection.drop_input();
        if gone || turn.end {
            self.close(turn.place);
        }
        false
    }

    /// A batch is parsed before it runs. Where its own AUTH has lifted the tighter limits, the request that they refused is read anew.
    #[cold]
    fn parse_again_if_authenticated(&mut self, turn: &mut Turn) {
        let Some(connection) = self.connections[turn.place].as_deref_mut() else { return };
        if connection.client.gates.has(Gates::UNAUTHENTICATED) {
            return;
        }
        connection.partial = Vec::new();
        connection.parser = Parser::starting_at(turn.parsed);
        turn.error = None;
        turn.more = true;
    }

    /// Runs the requests of a turn; false when the rest has to wait or will never run. `turn.parsed` is then the first
    /// byte of what did not run.
    fn run_requests(&mut self, turn: &mut Turn) -> bool {
        let place = turn.place;
        for index in turn.requests.clone() {
            self.batch.prefetch_ahead_of(&self.state.services.keyspace, index);
            let request = &self.batch.requests[index];
            let Some(connection) = self.connections[place].as_deref_mut() else { return false };
            let input: &[u8] = match turn.source {
                Source::Shared { start, end } => &self.input[start..end],
                Source::Pending => &connection.pending,
            };
            let args = self.batch.args(request, input);
            let client = &mut connection.client;
            if !execute(&mut self.state, client, request.prepared, args, &mut self.output) {
                turn.parsed = request.start();
                self.block(place);
                return false;
            }
            let (closing, blocked) = (client.closing, client.blocked.is_some());
            if !self.state.effects.local.is_empty() {
                self.deliver_local(place);
            }
            if closing != Closing::No {
                return false;
            }
            if blocked {
                turn.parsed = self.batch.requests.get(index + 1).map_or(turn.parsed, |next| {
                    if index + 1 < turn.requests.end { next.start() } else { turn.parsed }
                });
                self.block(place);
                return false;
            }
            if self.output.len() >= OUTPUT_FLUSH_BYTES {
                self.send_output(place);
                let connection = self.connections[place].as_deref();
                if connection.is_none_or(|connection| connection.client.closing != Closing::No) {
                    return false;
                }
            }
        }
        true
    }

    /// Keeps the input that was not run for later.
    fn keep_rest(&mut self, turn: &Turn) {
        let Some(connection) = self.connections[turn.place].as_deref_mut() else { return };
        if let Source::Shared { start, end } = turn.source
            && turn.parsed == end - start
            && connection.parser.at == turn.parsed
            && connection.client.blocked.is_none()
        {
            // Nothing is left, as is usual.
            connection.parser.at = 0;
            connection.client.info.input_bytes.store(0, Relaxed);
            connection.client.info.input_capacity.store(connection.input_capacity(), Relaxed);
            return;
        }
        if connection.client.blocked.is_some() {
            // What waits is parsed again from its start.
            connection.partial = Vec::new();
            connection.parser = Parser::starting_at(turn.parsed);
        }
        let consumed = turn.parsed;
        match turn.source {
            Source::Shared { start, end } => {
                connection.pending.extend_from_slice(&self.input[start + consumed..end])
            }
            Source::Pending => connection.consume_pending(consumed),
        }
        connection.parser.at -= consumed;
        for range in &mut connection.partial {
            range.start -= consumed as u32;
        }
        let limit = self.state.config.client_query_buffer_limit.min(INPUT_BYTES_MAX) as usize;
        if connection.pending.len() + connection.partial.len() * size_of::<ArgRange>() > limit {
            self.state.count(Count::QueryBufferLimitDisconnections, 1);
            tracing::warn!(
                client = connection.client.info.address,
                "closed: more unprocessed input than client-query-buffer-limit"
            );
            connection.client.closing = Closing::Now;
        }
        connection.client.info.input_bytes.store(connection.pending.len(), Relaxed);
        connection.client.info.input_capacity.store(connection.input_capacity(), Relaxed);
    }

    /// Sends what the requests of one connection have written.
    pub(super) fn send_output(&mut self, place: usize) {
        if self.output.len() > OUTPUT_UNCOUNTED_BYTES {
            // A reply counts before it is sent, however fast its reader is: what limits memory must not depend on that.
            self.check_output_limit(place, self.output.len());
        }
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        if connection.client.closing == Closing::Now {
            self.output.clear();
        }
        if self.output.is_empty() {
            return;
        }
        if self.holds(place) {
            return self.hold_output(place);
        }
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let (sent, bytes) = connection.send(&self.output);
        self.output.clear();
        self.state.count(Count::WritesProcessed, 1);
        self.state.count(Count::NetOutputBytes, bytes as u64);
        self.after_send(place, sent);
    }

    /// Sends what waits in a connection's own buffer.
    pub(super) fn flush(&mut self, place: usize) {
        if self.connections.get(place).and_then(Option::as_deref).is_none_or(|connection| connection.held) {
            return;
        }
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        let (sent, bytes) = connection.flush();
        self.state.count(Count::NetOutputBytes, bytes as u64);
        self.after_send(place, sent);
        let Some(connection) = self.connections[place].as_deref() else { return };
        if connection.client.closing == Closing::AfterReply && connection.output_bytes() == 0 {
            self.close(place);
        }
    }

    fn after_send(&mut self, place: usize, sent: Sent) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let info = &connection.client.info;
        info.output_bytes.store(connection.output_bytes(), Relaxed);
        info.output_capacity.store(connection.output_capacity(), Relaxed);
        match sent {
            Sent::All if connection.polls_output => self.poll_output(place, false),
            Sent::All => {}
            Sent::Some => {
                info.output_peak.fetch_max(connection.output_bytes(), Relaxed);
                if !connection.polls_output {
                    self.poll_output(place, true);
                }
                self.check_output_limit(place, 0);
            }
            Sent::Broken => connection.client.closing = Closing::Now,
        }
    }

    /// Marks a client whose unsent output, together with `more` bytes, is above its class's limit for closing.
    pub(super) fn check_output_limit(&mut self, place: usize, more: usize) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let limits = self.state.config.client_output_buffer_limit;
        let subscribed = connection.client.subscriptions() > 0;
        let limit = if subscribed { limits.pubsub } else { limits.normal };
        let waiting = (connection.output_bytes() + more) as u64;
        let over = |bytes: u64| bytes > 0 && waiting > bytes;
        let now_ms = self.state.now_ms;
        let since_ms = if over(limit.soft_bytes) {
            *connection.soft_limit_since_ms.get_or_insert(now_ms)
        } else {
            connection.soft_limit_since_ms = None;
            now_ms
        };
        let too_long = now_ms - since_ms > limit.soft_seconds as i64 * 1000;
        if (over(limit.hard_bytes) || too_long) && connection.client.closing != Closing::Now {
            connection.client.closing = Closing::Now;
            self.state.count(Count::OutputBufferLimitDisconnections, 1);
            let address = &connection.client.info.address;
            tracing::warn!(
                client = address,
                bytes = waiting,
                "closed: more unread output than client-output-buffer-limit"
            );
        }
    }

    pub(super) fn close_if_marked(&mut self, place: usize) {
        let marked = self.connections[place].as_deref().is_some_and(|c| c.client.closing == Closing::Now);
        if marked {
            self.close(place);
        }
    }

    fn answer_door(&mut self) {
        let mut count = [0; 8];
        // An empty counter only means that somebody else's ring was answered together with this one.
        let _ = rustix::io::read(&self.door.bell, &mut count);
        let accepted = std::mem::take(&mut *self.door.accepted.lock());
        for accepted in accepted {
            self.open(accepted);
        }
    }

    fn open(&mut self, accepted: Accepted) {
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
            self.state.now_ms,
            flags,
        ));
        let token = epoll::EventData::new_u64(place as u64);
        if let Err(error) = epoll::add(&self.poller, &accepted.socket, token, epoll::EventFlags::IN) {
            tracing::warn!(%error, client = info.address, "a connection could not be polled and is closed");
            self.vacant.push(place);
            self.door.clients.fetch_sub(1, Relaxed);
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
        self.door.clients.fetch_sub(1, Relaxed);
        self.state.statistics.counters.fall(Gauge::ConnectedClients);
        self.vacant.push(place);
    }

    /// Whether input of the connection at `place` is read when it comes; a blocked client's is not.
    fn polls_input(&self, place: usize) -> bool {
        let connection = self.connections.get(place).and_then(Option::as_deref);
        connection.is_some_and(|connection| connection.polls_input)
    }

    pub(super) fn poll_input(&mut self, place: usize, on: bool) {
        if let Some(connection) = self.connections[place].as_deref_mut()
            && connection.polls_input != on
        {
            connection.polls_input = on;
            self.poll(place);
        }
    }

    pub(super) fn poll_output(&mut self, place: usize, on: bool) {
        if let Some(connection) = self.connections[place].as_deref_mut() {
            connection.polls_output = on;
            self.poll(place);
        }
    }

    fn poll(&mut self, place: usize) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, connection.polls_input);
        flags.set(epoll::EventFlags::OUT, connection.polls_output);
        let token = epoll::EventData::new_u64(place as u64);
        if epoll::modify(&self.poller, &connection.socket, token, flags).is_err() {
            connection.client.closing = Closing::Now;
        }
    }
}

#[cfg(test)]
#[path = "event_loop_tests.rs"]
mod tests;
