//! An event loop: one thread, one poller, its own connections.
//!
//! A sweep asks the poller for ready sockets, then takes them in groups: read all of a group, parse, prefetch, run, and write one
//! answer for each socket. Between sweeps it empties its mailbox and lets the wheels of its shards catch up.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;

use super::batch::{BATCH_REQUESTS, Batch};
use super::connection::{Connection, limits};
use super::door::{Door, LISTENER_TOKENS, Listening};
use super::drain::drain;
use super::messages::Rest;
use super::turn::{Source, TURN_US, Turn};
use crate::base::clock::{Clock, Stopwatch};
use crate::client::{Closing, Message};
use crate::command::LoopState;
use crate::keyspace::TICK_MS;
use crate::observe::counters::Count;
use crate::resp::Output;
use crate::services::{Services, Shutdown};

/// The shared input buffer; a group ends when less than one read's worth is left.
const INPUT_BYTES: usize = 256 * 1024;
const READ_BYTES: usize = 64 * 1024;
const EVENTS_MAX: usize = 256;
/// The poller's name for the loop's own eventfd.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;

pub struct EventLoop<'s> {
    pub(super) state: LoopState<'s>,
    pub(super) clock: Clock,
    /// Of all loops; this one's is at its index.
    pub(super) doors: Arc<[Arc<Door>]>,
    pub(super) listening: Listening,
    pub(super) poller: OwnedFd,
    events: Vec<epoll::Event>,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) vacant: Vec<usize>,
    pub(super) input: Box<[u8]>,
    pub(super) output: Output,
    /// Places whose output waits for the write log.
    pub(super) held: Vec<usize>,
    pub(super) batch: Batch,
    pub(super) turns: Vec<Turn>,
    /// Places whose last turn ended before their requests did.
    pub(super) unfinished: Vec<usize>,
    /// [`TURN_US`] on the stopwatch.
    pub(super) turn_ticks: u64,
    /// Places of blocked clients.
    pub(super) blocked: Vec<usize>,
    pub(super) messages: Vec<Message>,
    /// Places with fresh output from others.
    pub(super) delivered: Vec<usize>,
    /// What was queued from others for full sockets in this turn, and the rest that follows from it.
    pub(super) refused_bytes: usize,
    pub(super) rest: Rest,
    pub(super) next_expire_ms: i64,
    pub(super) next_cron_ms: i64,
    pub(super) next_sample_ms: i64,
    pub(super) stopping: Option<i64>,
}

impl<'s> EventLoop<'s> {
    /// # Errors
    /// When the operating system has no poller left.
    pub fn new(
        services: &'s Services,
        loop_index: usize,
        doors: Arc<[Arc<Door>]>,
        clock: Clock,
        stopwatch: Stopwatch,
        seed: u64,
    ) -> rustix::io::Result<EventLoop<'s>> {
        let poller = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // Each ring is an edge: the poller tells of it once and forgets it by that, so nobody has to read the bell, and no ring that comes
        // after the wake-up can be taken for the one before (`client/mailbox.rs`).
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&poller, &doors[loop_index].bell, epoll::EventData::new_u64(WAKE_TOKEN), edges)?;
        Ok(EventLoop {
            state: LoopState::new(services, loop_index, seed, stopwatch),
            clock,
            doors,
            listening: Listening::default(),
            poller,
            events: Vec::with_capacity(EVENTS_MAX),
            connections: Vec::new(),
            vacant: Vec::new(),
            input: vec![0; INPUT_BYTES].into_boxed_slice(),
            output: Output::default(),
            held: Vec::new(),
            batch: Batch::default(),
            turns: Vec::new(),
            unfinished: Vec::new(),
            turn_ticks: stopwatch.ticks_in(TURN_US),
            blocked: Vec::new(),
            messages: Vec::new(),
            delivered: Vec::new(),
            refused_bytes: 0,
            rest: Rest::default(),
            next_expire_ms: 0,
            next_cron_ms: 0,
            next_sample_ms: 0,
            stopping: None,
        })
    }

    /// Serves until a `Stop` message comes, then sends what it can and ends. A loop whose poller fails has nothing to serve with: it ends, and
    /// the whole server with it.
    pub fn run(mut self) {
        let mut wait_ms = TICK_MS;
        while self.stopping.is_none() {
            wait_ms = match self.step(wait_ms) {
                Ok(wait_ms) => wait_ms,
                Err(error) => {
                    tracing::error!(%error, event_loop = self.state.loop_index, "the poller failed");
                    self.state.services.failed.store(true, Relaxed);
                    self.state.services.control.shut_down(Shutdown {
                        save: None,
                        force: true,
                        now: false,
                        order: 0,
                    });
                    break;
                }
            };
        }
        // What waits for the disk goes out like the rest.
        self.state.services.write_log.sync_and_wait();
        self.release_held();
        let timeout_ms = i64::from(self.state.config.shutdown_timeout) * 1000;
        drain(&mut self.connections, &self.clock, self.stopping.unwrap_or(timeout_ms));
        for place in 0..self.connections.len() {
            self.close(place);
        }
    }

    /// Waits until something is to be done, for at most `wait_ms`, and does it. Gives how long the next step may wait.
    pub(super) fn step(&mut self, wait_ms: i64) -> rustix::io::Result<i64> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let timeout = Duration::from_millis(wait_ms.max(0) as u64).try_into().ok();
        match epoll::wait(&self.poller, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let start = Stopwatch::ticks();
        self.state.set_now(self.clock.now());
        self.state.refresh();
        self.state.services.keyspace.prefetcher().enter(self.state.loop_index);
        if self.state.services.clients.mailbox(self.state.loop_index).is_signalled() {
            self.empty_mailbox();
        }
        if !self.unfinished.is_empty() {
            self.continue_unfinished();
        }
        self.sweep(&events);
        self.events = events;
        let idle_ms = self.housekeeping().min(self.mailbox_wait_ms());
        let elapsed_us = self.state.stopwatch.microseconds(start, Stopwatch::ticks());
        self.state.count(Count::EventLoopCycles, 1);
        self.state.count(Count::EventLoopUs, elapsed_us);
        self.state.services.keyspace.prefetcher().leave(self.state.loop_index);
        Ok(if self.unfinished.is_empty() { idle_ms } else { 0 })
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
                if event.data.u64() & LISTENER_TOKENS != 0 {
                    self.accept(event.data.u64());
                    continue;
                }
                let place = event.data.u64() as usize;
                let flags = event.flags;
                if flags.contains(epoll::EventFlags::OUT) {
                    self.flush(place);
                }
                let gone = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
                if flags.intersects(gone) && !self.polls_input(place) {
                    // The peer sends nothing more. Where input is read, the read says so; here nobody would ever hear of it.
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
        // The socket keeps what a connection sends beyond its turn.
        if connection.unfinished || connection.client.blocked.is_some() && !connection.polls_input {
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
            let wanted = connection.intake.bytes_wanted(&connection.pending, &limits);
            connection.make_room(wanted);
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
        connection.client.info.last_active_ms.store(self.state.steady_ms, Relaxed);
        if count == 0 {
            let turn = Turn { place, requests: 0..0, source, more: false, error: None, end: true };
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
        flags.set(epoll::EventFlags::RDHUP, !connection.polls_input);
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
