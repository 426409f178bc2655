//! Output on its way to the sockets: what a turn has written, what waits for a slow reader, and the limits of that.

use std::sync::atomic::Ordering::Relaxed;

use super::event_loop::EventLoop;
use super::messages::Rest;
use super::unsent::Sent;
use crate::client::{Client, Closing, Gates};
use crate::config::OutputBufferLimit;
use crate::observe::counters::Count;

/// Output that does not yet count against client-output-buffer-limit while it is made; Redis has a fixed buffer of this size.
const OUTPUT_UNCOUNTED_BYTES: usize = 16 * 1024;

/// Output that a client which has not authenticated may leave unread, whatever the configuration says.
const STRANGERS_OUTPUT_BYTES_MAX: usize = 16 * 1024;

impl EventLoop<'_> {
    /// Sends what the requests of one connection have written.
    pub(super) fn send_output(&mut self, place: usize) {
        if self.output.is_over() {
            self.exceed_output_limit(place, self.output.len());
        } else if self.output.len() > OUTPUT_UNCOUNTED_BYTES {
            // A reply counts before it is sent, however fast its reader is: what limits memory must not depend on that.
            self.check_output_limit(place, self.output.len());
        }
        let closing = self.connections[place].as_deref().map_or(Closing::Now, |c| c.client.closing);
        if closing == Closing::Now {
            self.output.clear();
        }
        if self.output.is_empty() {
            return;
        }
        if self.holds(place) {
            return self.hold_output(place);
        }
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let (sent, bytes) = connection.send(&mut self.output);
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
        if bytes > 0 {
            connection.took_output_ms = self.state.steady_ms;
        }
        self.state.count(Count::NetOutputBytes, bytes as u64);
        self.after_send(place, sent);
        let Some(connection) = self.connections[place].as_deref() else { return };
        if connection.client.closing == Closing::AfterReply && connection.is_finished() {
            self.close(place);
        }
    }

    fn after_send(&mut self, place: usize, sent: Sent) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        let info = &connection.client.info;
        info.output_bytes.store(connection.output_bytes(), Relaxed);
        info.output_capacity.store(connection.output_capacity(), Relaxed);
        connection.sends_on = sent == Sent::Share;
        match sent {
            Sent::All if connection.polls_output => {
                self.rest = Rest::default();
                self.poll_output(place, false);
            }
            Sent::All => {}
            Sent::Share | Sent::Full => {
                info.output_peak.fetch_max(connection.output_bytes(), Relaxed);
                if !connection.polls_output {
                    connection.took_output_ms = self.state.steady_ms;
                    self.poll_output(place, true);
                }
                self.check_output_limit(place, 0);
            }
            Sent::Broken => connection.client.closing = Closing::Now,
        }
        self.weigh(place);
    }

    /// The limits of a client's output.
    fn output_limit(&self, client: &Client) -> OutputBufferLimit {
        let limits = self.state.config.client_output_buffer_limit;
        if client.subscriptions() > 0 { limits.pubsub } else { limits.normal }
    }

    /// What a turn may write before the client's output is above the hard limit.
    pub(super) fn output_allowed(&self, place: usize) -> usize {
        let Some(connection) = self.connections[place].as_deref() else { return 0 };
        match self.output_limit(&connection.client).hard_bytes {
            0 => usize::MAX,
            limit => (limit as usize).saturating_sub(connection.output_bytes()),
        }
    }

    /// Marks a client whose unsent output, together with `more` bytes, is above its class's limit for closing.
    pub(super) fn check_output_limit(&mut self, place: usize, more: usize) {
        let Some(connection) = self.connections[place].as_deref() else { return };
        let limit = self.output_limit(&connection.client);
        let unread = connection.output_bytes();
        let is_stranger = connection.client.gates.has(Gates::UNAUTHENTICATED);
        let over = |bytes: u64| bytes > 0 && (unread + more) as u64 > bytes;
        let steady_ms = self.state.steady_ms;
        let since_ms = over(limit.soft_bytes).then(|| connection.soft_limit_since_ms.unwrap_or(steady_ms));
        let too_long =
            since_ms.is_some_and(|since_ms| steady_ms - since_ms > limit.soft_seconds as i64 * 1000);
        if let Some(connection) = self.connections[place].as_deref_mut() {
            connection.soft_limit_since_ms = since_ms;
        }
        if over(limit.hard_bytes) || too_long || is_stranger && unread > STRANGERS_OUTPUT_BYTES_MAX {
            self.exceed_output_limit(place, more);
        }
    }

    /// Marks a client whose output, together with `more` bytes, is above a limit for closing.
    #[cold]
    fn exceed_output_limit(&mut self, place: usize, more: usize) {
        let Some(connection) = self.connections[place].as_deref_mut() else { return };
        if connection.client.closing != Closing::Now {
            connection.client.closing = Closing::Now;
            self.state.count(Count::OutputBufferLimitDisconnections, 1);
            let address = &connection.client.info.address;
            let bytes = connection.output_bytes() + more;
            tracing::warn!(
                client = address,
                bytes,
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
}
