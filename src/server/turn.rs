//! A connection's turn: the requests of one read are parsed, run and answered.
//!
//! A turn is bounded, whatever a client pipelines: it ends after the request that used up its time or filled its output. What is left
//! then waits, unparsed, for the connection's next turn, which comes when every other connection of the loop that is ready has had one.

use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;

use super::batch::BATCH_REQUESTS;
use super::connection::limits;
use super::event_loop::EventLoop;
use crate::base::clock::Stopwatch;
use crate::base::quote::split_args;
use crate::client::{Blocked, Closing, Gates};
use crate::dispatch::{execute, refuse};
use crate::observe::counters::Count;
use crate::resp::{ParseError, Step};

/// A turn in which this much time has gone by ends with the present request.
pub(super) const TURN_US: u64 = 1000;
/// The most unprocessed input of a client, whatever the configuration says: places in it are 32 bits wide, and one read may add as
/// much again.
const INPUT_BYTES_MAX: u64 = i32::MAX as u64;

/// A connection's turn in a group.
pub(super) struct Turn {
    pub place: usize,
    /// Its requests in the batch.
    pub requests: Range<usize>,
    pub source: Source,
    /// There may be further whole requests behind those in the batch.
    pub more: bool,
    /// The input was refused behind them; they still run.
    pub error: Option<ParseError>,
    /// The peer has closed its side.
    pub end: bool,
}

/// Where the input of a turn is.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// In the loop's buffer.
    Shared { start: usize, end: usize },
    /// In the connection's own buffer.
    Pending,
}

/// How far the requests of a turn came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    All,
    /// The turn's time or output is used up: the rest waits for the next one.
    UsedUp,
    /// The client is blocked, or the connection ends.
    Stopped,
}

impl EventLoop<'_> {
    /// Parses the next requests of a connection into the batch, from where its [`Intake`](super::intake::Intake) stands.
    pub(super) fn parse(&mut self, place: usize, source: Source) -> Turn {
        let first = self.batch.requests.len();
        let mut turn = Turn { place, requests: first..first, source, more: false, error: None, end: false };
        let Some(connection) = self.connections[place].as_deref_mut() else { return turn };
        let limits = limits(&self.state.config, &connection.client);
        let keyspace = &self.state.services.keyspace;
        let database = connection.client.database;
        let input: &[u8] = match source {
            Source::Shared { start, end } => &self.input[start..end],
            Source::Pending => &connection.pending,
        };
        let intake = &mut connection.intake;
        turn.more = true;
        while turn.more && self.batch.requests.len() - first < BATCH_REQUESTS {
            let (start, first_range) = (intake.whole(), self.batch.ranges.len());
            match intake.next(input, &limits, &mut self.batch.ranges) {
                Ok(Step::Request) if self.batch.ranges.len() == first_range => self.batch.push_empty(start),
                Ok(Step::Request) => self.batch.push(keyspace, database, input, first_range, start),
                Ok(Step::Inline(line)) => {
                    match split_args(&input[line.start as usize..][..line.len as usize]) {
                        Ok(words) if words.is_empty() => self.batch.push_empty(start),
                        Ok(words) => self.batch.push_inline(keyspace, &words, start),
                        Err(_) => {
                            intake.return_to(start);
                            turn.error = Some(ParseError::UnbalancedQuotes);
                            break;
                        }
                    }
                }
                Ok(Step::Incomplete) => {
                    turn.more = false;
                    break;
                }
                Err(error) => {
                    turn.error = Some(error);
                    break;
                }
            }
            turn.more = intake.has_more(input.len());
        }
        turn.more &= turn.error.is_none();
        turn.requests.end = self.batch.requests.len();
        turn
    }

    /// Runs the turns of a group.
    pub(super) fn run_group(&mut self) {
        if self.turns.is_empty() {
            return;
        }
        self.batch.prefetch_entries(&self.state.services.keyspace, 0);
        // The list goes back when it is empty, so that the next group need not allocate one.
        let mut turns = std::mem::take(&mut self.turns);
        for turn in turns.drain(..) {
            self.run_turn(turn);
        }
        self.turns = turns;
        self.flush_delivered();
    }

    /// Gives a turn to each connection whose last one ended before its requests did.
    pub(super) fn continue_unfinished(&mut self) {
        for place in std::mem::take(&mut self.unfinished) {
            let Some(connection) = self.connections[place].as_deref_mut() else { continue };
            // Asked once: a socket that has become full meanwhile tells nothing.
            if std::mem::take(&mut connection.sends_on) {
                // Its replies first: a client that reads them need not have more of them made in advance.
                self.unfinished.push(place);
                continue;
            }
            connection.unfinished = false;
            self.resume(place);
        }
        self.flush_delivered();
    }

    /// Gives a connection a turn with the input that it has kept.
    pub(super) fn resume(&mut self, place: usize) {
        self.batch.clear();
        let turn = self.parse(place, Source::Pending);
        self.batch.prefetch_entries(&self.state.services.keyspace, 0);
        self.run_turn(turn);
    }

    /// Runs a connection's requests, parsing more behind them as long as there are any, and sends the answers.
    pub(super) fn run_turn(&mut self, mut turn: Turn) {
        let place = turn.place;
        if !self.may_run(&turn) {
            return;
        }
        self.output.begin(self.output_allowed(place));
        let start = Stopwatch::ticks();
        let ran = loop {
            let ran = self.run_requests(&turn, start);
            if ran == Ran::All && turn.error.is_some_and(ParseError::depends_on_authentication) {
                self.parse_again_if_authenticated(&mut turn);
            }
            if ran != Ran::All || !turn.more {
                break ran;
            }
            turn = self.parse(place, turn.source);
            self.batch.prefetch_entries(&self.state.services.keyspace, turn.requests.start);
        };
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        if let Some(error) = turn.error
            && ran == Ran::All
        {
            refuse(&self.state, &mut connection.client, error, &mut self.output);
            tracing::debug!(client = connection.client.info.address, %error, "protocol error");
        }
        if ran == Ran::UsedUp {
            connection.unfinished = true;
            self.unfinished.push(place);
        }
        self.keep_rest(&turn);
        self.send_output(place);
        let Some(connection) = self.connections[place].as_deref() else { return };
        let closing = connection.client.closing;
        if turn.end || closing == Closing::Now || closing == Closing::AfterReply && connection.is_finished() {
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
        if gone || turn.end || connection.client.closing == Closing::AfterReply && connection.is_finished() {
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
        connection.intake.return_to(connection.intake.whole());
        turn.error = None;
        turn.more = true;
    }

    /// Runs the requests of a turn that began at `turn_start`. What is not to run now is given back to the connection's intake.
    pub(super) fn run_requests(&mut self, turn: &Turn, turn_start: u64) -> Ran {
        let place = turn.place;
        // What came before it is not the first request's own: other connections' turns, their writes, the parsing.
        self.state.begin_request();
        for index in turn.requests.clone() {
            self.batch.prefetch_ahead_of(&self.state.services.keyspace, index);
            let request = &self.batch.requests[index];
            let Some(connection) = self.connections[place].as_deref_mut() else { return Ran::Stopped };
            let input: &[u8] = match turn.source {
                Source::Shared { start, end } => &self.input[start..end],
                Source::Pending => &connection.pending,
            };
            let args = self.batch.args(request, input);
            let client = &mut connection.client;
            if !execute(&mut self.state, client, request.prepared, args, &mut self.output) {
                // One that is parked has used up its turn, and goes on in the next.
                let parked = client.blocked.take_if(|blocked| *blocked == Blocked::Parked);
                self.give_back(turn, index);
                if parked.is_some() {
                    return Ran::UsedUp;
                }
                self.block(place);
                return Ran::Stopped;
            }
            let (closing, blocked) = (client.closing, client.blocked.is_some());
            if client.info.is_killed() && closing == Closing::No && !blocked {
                // By another loop, which hears that it is so when the mailbox is emptied next. One that is blocked is closed then.
                client.closing = Closing::Now;
                return Ran::Stopped;
            }
            if !self.state.effects.local.is_empty() {
                self.deliver_local(place);
                self.state.begin_request();
            }
            if closing != Closing::No && !blocked {
                return Ran::Stopped;
            }
            if blocked {
                self.give_back(turn, index + 1);
                self.block(place);
                return Ran::Stopped;
            }
            let time = self.state.started_ticks.wrapping_sub(turn_start);
            // An output that is chunked is larger than a tail, or a large value is in it, or it is over its limit.
            if self.output.is_chunked() || time > self.turn_ticks {
                let is_last = index + 1 == turn.requests.end && !turn.more && turn.error.is_none();
                if !is_last {
                    self.give_back(turn, index + 1);
                    return Ran::UsedUp;
                }
            }
        }
        Ran::All
    }

    /// The request at `index` of the batch and all that came behind it are to be parsed again, at the connection's next turn.
    fn give_back(&mut self, turn: &Turn, index: usize) {
        let Some(connection) = self.connections[turn.place].as_deref_mut() else { return };
        let next = if index < turn.requests.end { self.batch.requests.get(index) } else { None };
        let start = next.map_or(connection.intake.whole(), super::batch::Request::start);
        connection.intake.return_to(start);
    }

    /// Keeps the input that was not run for later.
    fn keep_rest(&mut self, turn: &Turn) {
        let Some(connection) = self.connections[turn.place].as_deref_mut() else { return };
        if let Source::Shared { start, end } = turn.source
            && connection.intake.is_at_end(end - start)
        {
            // Nothing is left, as is usual.
            connection.intake.cut();
            connection.client.info.input_bytes.store(0, Relaxed);
            connection.client.info.input_capacity.store(connection.input_capacity(), Relaxed);
            self.weigh(turn.place);
            return;
        }
        let done = connection.intake.cut();
        match turn.source {
            Source::Shared { start, end } => {
                connection.pending.extend_from_slice(&self.input[start + done..end])
            }
            Source::Pending => connection.consume_pending(done),
        }
        let limit = self.state.config.client_query_buffer_limit.min(INPUT_BYTES_MAX) as usize;
        if connection.pending.len() + connection.intake.partial_bytes() > limit {
            self.state.count(Count::QueryBufferLimitDisconnections, 1);
            tracing::warn!(
                client = connection.client.info.address,
                "closed: more unprocessed input than client-query-buffer-limit"
            );
            connection.client.closing = Closing::Now;
        }
        connection.client.info.input_bytes.store(connection.pending.len(), Relaxed);
        connection.client.info.input_capacity.store(connection.input_capacity(), Relaxed);
        self.weigh(turn.place);
    }
}
