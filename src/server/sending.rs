//! Output on its way to the sockets: what a turn has written, what waits for a slow reader, and the limits of that.

use std::sync::atomic::Ordering::Relaxed;

use super::connection::Sent;
use super::event_loop::EventLoop;
use super::messages::Rest;
use crate::client::Closing;
use crate::observe::counters::Count;

/// Output that does not yet count against client-output-buffer-limit while it is made; Redis has a fixed buffer of this size.
const OUTPUT_UNCOUNTED_BYTES: usize = 16 * 1024;

impl EventLoop<'_> {
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
            Sent::All if connection.polls_output => {
                self.rest = Rest::default();
                self.poll_output(place, false);
            }
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
        let steady_ms = self.state.steady_ms;
        let since_ms = if over(limit.soft_bytes) {
            *connection.soft_limit_since_ms.get_or_insert(steady_ms)
        } else {
            connection.soft_limit_since_ms = None;
            steady_ms
        };
        let too_long = steady_ms - since_ms > limit.soft_seconds as i64 * 1000;
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
}
