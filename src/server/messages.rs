//! What an event loop is told by others, and what its own requests tell other clients of the loop.

use super::connection::Connection;
use super::event_loop::EventLoop;
use crate::base::system;
use crate::client::{Blocked, Closing, Message};

impl EventLoop<'_> {
    /// Hands messages from this loop's own requests to their clients. Bytes for the client at `running` go behind the reply
    /// that it just got.
    pub(super) fn deliver_local(&mut self, running: usize) {
        for message in std::mem::take(&mut self.state.effects.local) {
            match message {
                Message::Deliver { place, id, bytes } if place == running => {
                    // Behind the last reply of a client that leaves nothing follows.
                    if self.connection_of(place, id).is_some_and(|c| c.client.closing == Closing::No) {
                        self.output.extend_from_slice(&bytes);
                    }
                }
                message => self.receive(message),
            }
        }
    }

    /// Does what a message asks.
    pub(super) fn receive(&mut self, message: Message) {
        match message {
            Message::Deliver { place, id, bytes } => self.deliver(place, id, &bytes),
            Message::Kill { place, id } => {
                if self.connection_of(place, id).is_some() {
                    self.close(place);
                }
            }
            Message::Unblock { place, id, error } => {
                let Some(connection) = self.connection_of(place, id) else { return };
                if let Some(Blocked::Waiting { answer, .. }) = connection.client.blocked {
                    // Whose time has come long ago is woken at the next look at blocked clients.
                    let timed_out = Blocked::Waiting { until_ms: 1, answer };
                    connection.client.blocked = Some(if error { Blocked::Unblocked } else { timed_out });
                } else if let Some(Blocked::Durable { offset, written, local, .. }) =
                    connection.client.blocked
                {
                    let timed_out = Blocked::Durable { offset, written, until_ms: 1, local };
                    connection.client.blocked = Some(if error { Blocked::Unblocked } else { timed_out });
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
            Message::Stop => self.stopping = true,
        }
    }

    /// The connection at `place`, if it is still that of this client.
    pub(super) fn connection_of(&mut self, place: usize, id: u64) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(place)?.as_deref_mut()?;
        (connection.client.info.id == id).then_some(connection)
    }

    /// Queues bytes for a client; they are sent at the end of the group.
    pub(super) fn deliver(&mut self, place: usize, id: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_deref_mut) else { return };
        if connection.client.info.id == id && connection.client.closing == Closing::No {
            if connection.output_bytes() == 0 {
                self.delivered.push(place);
            }
            connection.queue(bytes);
            self.check_output_limit(place, 0);
        }
    }

    /// Sends what was delivered to connections since the last call.
    pub(super) fn flush_delivered(&mut self) {
        while let Some(place) = self.delivered.pop() {
            self.flush(place);
            self.close_if_marked(place);
        }
    }

    pub(super) fn empty_mailbox(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.state.services.clients.mailbox(self.state.loop_index).take(&mut messages);
        for message in messages.drain(..) {
            self.receive(message);
        }
        self.messages = messages;
        self.flush_delivered();
    }
}
