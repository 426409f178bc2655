//! Replies that wait for the disk: with `appendfsync always` a client hears of its write when the log has it for good.
//!
//! Only the output of clients with such writes is kept back; other clients of the loop are served meanwhile, and these clients' own
//! requests go on running behind. The log's thread flushes what has gathered, one flush for all, and then wakes the loop. When the log
//! has failed, or cannot be written because the disk is full, nobody knows whether what was written will last: those clients are closed
//! without an answer.

use super::event_loop::EventLoop;
use crate::client::Closing;

impl EventLoop<'_> {
    /// Whether the output of the client at `place` has to wait for the log.
    #[inline]
    pub(super) fn holds(&self, place: usize) -> bool {
        let log = &self.state.services.write_log;
        if !log.is_synchronous() && !log.has_failed() {
            return false;
        }
        self.connections[place].as_deref().is_some_and(|connection| {
            log.is_awaited(connection.client.log_offset) && connection.client.closing != Closing::Now
        })
    }

    /// Keeps the output that has just been made, until the log is on disk up to the client's last write.
    #[cold]
    pub(super) fn hold_output(&mut self, place: usize) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        connection.queue_all(&mut self.output);
        let polls_output = connection.polls_output;
        if !connection.held {
            connection.held = true;
            self.held.push(place);
        }
        if polls_output {
            // What waits must not go out, so there is no use in hearing that it could.
            self.poll_output(place, false);
        }
        self.release_held();
    }

    /// Sends the output of all clients whose writes have reached the disk.
    pub(super) fn release_held(&mut self) {
        if !self.held.is_empty() {
            // Before the offsets are compared: what becomes durable after that is told.
            self.state.services.write_log.await_durable();
        }
        let stuck = self.state.services.write_log.is_stuck();
        for place in std::mem::take(&mut self.held) {
            let still = self.holds(place);
            let Some(connection) = self.connections[place].as_deref_mut() else { continue };
            if still && !stuck {
                self.held.push(place);
                continue;
            }
            connection.held = false;
            if still {
                connection.client.closing = Closing::Now;
            } else {
                self.flush(place);
            }
            self.close_if_marked(place);
        }
    }
}
