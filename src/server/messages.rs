//! What an event loop is told by others, and what its own requests tell other clients of the loop.

use super::connection::Connection;
use super::event_loop::EventLoop;
use crate::base::clock::Stopwatch;
use crate::base::system;
use crate::client::{Acknowledgement, Blocked, Closing, Delivery, Message, Parcel};
use crate::command::{LoopState, write_parcel};

/// Output of one connection that is tried on its socket before more is added from others.
const DELIVERED_BYTES: usize = 64 * 1024;
/// Deliveries that are taken from the mailbox between two looks at the sockets, as bytes that they count as.
const TURN_BYTES: usize = 1 << 20;
/// The pace at which deliveries go on when sockets do not take them, in bytes a microsecond.
const REFUSED_PACE: u64 = 64;
/// For how long a socket that takes nothing at all is waited for. Its reader is not a slow one but none; it has its output limit.
const PATIENCE_MS: i64 = 250;
/// The longest rest, however much sockets did not take: all other clients of the loop wait for their messages meanwhile.
const REST_US_MAX: u64 = 16_000;

/// A rest in the delivery of what other loops send, because sockets are full. A reader that is a little slower than the loop, or has no
/// processor for a moment, gets time to catch up; who waits for room in the mailbox meanwhile waits for him. One that does not read at all is waited for only for
/// [`PATIENCE_MS`], so that readers who have gone to sleep do not slow down those who are awake.
#[derive(Clone, Copy, Default)]
pub(super) struct Rest {
    since_ticks: u64,
    us: u64,
}

impl Rest {
    fn left_us(self, state: &LoopState<'_>) -> u64 {
        match self.us {
            0 => 0,
            us => us.saturating_sub(state.stopwatch.microseconds(self.since_ticks, Stopwatch::ticks())),
        }
    }
}

impl EventLoop<'_> {
    /// Hands messages from this loop's own requests to their clients. Bytes for the client at `running` go behind the reply
    /// that it just got.
    pub(super) fn deliver_local(&mut self, running: usize) {
        for message in std::mem::take(&mut self.state.effects.local) {
            match message {
                Message::Deliver(delivery) => self.deliver(&delivery, running),
                message => self.receive(message),
            }
        }
    }

    /// Does what a message asks.
    pub(super) fn receive(&mut self, message: Message) {
        match message {
            Message::Deliver(delivery) => self.deliver(&delivery, usize::MAX),
            Message::Kill { place, id, done } => {
                if self.connection_of(place, id).is_some() {
                    self.close(place);
                }
                if let Some(loop_index) = done.and_then(Acknowledgement::give) {
                    self.state.services.clients.mailbox(loop_index).send(Message::Look);
                }
            }
            Message::Unblock { place, id, error } => {
                let blocked = self.connection_of(place, id).and_then(|found| found.client.blocked.as_mut());
                if let Some(blocked) = blocked {
                    blocked.end(error);
                }
            }
            Message::Migrated { place, id, result } => {
                if let Some(connection) = self.connection_of(place, id) {
                    connection.client.migration = Some(result);
                }
            }
            Message::Reloaded { place, id, result } => {
                if let Some(connection) = self.connection_of(place, id) {
                    connection.client.blocked = Some(Blocked::Reloading { result: Some(result) });
                }
            }
            Message::Pass(quiet_point) => quiet_point.pass(),
            // The look at blocked clients follows in any case.
            Message::Look => {}
            Message::Durable => self.release_held(),
            Message::Sleep { until_us } => system::sleep(until_us - self.clock.steady_us()),
            Message::Stop { wait_ms } => self.stopping = Some(wait_ms),
        }
    }

    /// The connection at `place`, if it is still that of this client.
    pub(super) fn connection_of(&mut self, place: usize, id: u64) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(place)?.as_deref_mut()?;
        (connection.client.info.id == id).then_some(connection)
    }

    /// Hands a parcel to its receivers. For the client at `running` it goes behind the reply that it just got.
    fn deliver(&mut self, delivery: &Delivery, running: usize) {
        for client in delivery.missing() {
            // Behind the last reply of a client that leaves nothing follows.
            let Some(connection) = self.connection_of(client.place, client.id) else { continue };
            if connection.client.closing != Closing::No {
                continue;
            }
            if client.place == running {
                let protocol = connection.client.protocol;
                write_parcel(&delivery.parcel, protocol, &mut self.output);
            } else {
                self.queue(client.place, &delivery.parcel);
            }
        }
    }

    /// Queues a parcel for a client; it is sent at the end of the group, or when there is much. What the socket has not been asked to take
    /// does not count against the limit.
    fn queue(&mut self, place: usize, parcel: &Parcel) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        if connection.output_bytes() == 0 {
            self.delivered.push(place);
        }
        let before = connection.output_bytes();
        let (head, text) = parcel.parts(connection.client.protocol);
        connection.queue(head, text);
        if connection.held || connection.polls_output {
            if self.state.steady_ms - connection.took_output_ms < PATIENCE_MS {
                self.refused_bytes += connection.output_bytes() - before;
            }
            self.check_output_limit(place, 0);
        } else if connection.output_bytes() >= DELIVERED_BYTES {
            self.flush(place);
        }
    }

    /// Sends what was delivered to connections since the last call.
    pub(super) fn flush_delivered(&mut self) {
        while let Some(place) = self.delivered.pop() {
            self.flush(place);
            self.close_if_marked(place);
        }
    }

    /// Does what the messages in the mailbox ask; of deliveries, a turn's worth.
    pub(super) fn empty_mailbox(&mut self) {
        let bytes_max = (self.rest.left_us(&self.state) == 0).then_some(TURN_BYTES);
        let mut messages = std::mem::take(&mut self.messages);
        let mailbox = self.state.services.clients.mailbox(self.state.loop_index);
        let taken = mailbox.take(&mut messages, bytes_max);
        for message in messages.drain(..) {
            self.receive(message);
        }
        self.messages = messages;
        self.flush_delivered();
        let us = (std::mem::take(&mut self.refused_bytes) as u64 / REFUSED_PACE).min(REST_US_MAX);
        if bytes_max.is_some() {
            self.rest = Rest { since_ticks: Stopwatch::ticks(), us };
        }
        // Who waits for room gets it when this loop has done its part, so that what is under way stays bounded.
        self.state.note_taken(taken);
    }

    /// How long the loop may sleep, in milliseconds, as far as the mailbox is concerned: what was left in it rings no bell.
    pub(super) fn mailbox_wait_ms(&self) -> i64 {
        if !self.state.services.clients.mailbox(self.state.loop_index).is_signalled() {
            return i64::MAX;
        }
        self.rest.left_us(&self.state).div_ceil(1000) as i64
    }
}
