//! One connection: its socket, the input that is not yet a whole request, and the output that the socket did not take yet.
//!
//! An idle connection holds no buffers: whole requests are parsed from the event loop's shared buffer, and replies go out from a
//! shared one. Only what is left over is kept here.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use rustix::io::Errno;

use super::intake::Intake;
use super::unsent::{Sent, Unsent};
use crate::client::{Client, Gates};
use crate::config::Config;
use crate::keyspace::LENGTH_MAX;
use crate::resp::{Limits, Output};

/// What a socket gets in one turn of its connection, so that who reads much shares the loop with the others.
pub const TURN_SEND_BYTES: usize = 64 * 1024;
/// Room for a read that goes on with what is kept, unless less is wanted.
const READ_BYTES: usize = 16 * 1024;
/// How far the buffer of an argument that has only begun to come may be ahead of it. From there on as much again as has come.
const READ_AHEAD_BYTES: usize = 64 * 1024;

pub struct Connection {
    pub socket: OwnedFd,
    pub client: Client,
    /// Input from the start of an unfinished (or waiting) request.
    pub pending: Vec<u8>,
    /// Where the connection stands in its input.
    pub intake: Intake,
    /// Output that the socket has not taken.
    unsent: Unsent,
    /// The poller tells when the socket takes output again.
    pub polls_output: bool,
    /// Output waits only because the last turn has sent its share.
    pub sends_on: bool,
    /// The poller tells when there is input.
    pub polls_input: bool,
    /// The output waits for the write log.
    pub held: bool,
    /// The last turn ended before the requests in `pending` did; the next one follows by itself.
    pub unfinished: bool,
    /// When the socket last took output of what waits, or began not to (steady milliseconds).
    pub took_output_ms: i64,
    /// Since when the output is above its class's soft limit (steady milliseconds).
    pub soft_limit_since_ms: Option<i64>,
}

impl Connection {
    pub fn new(socket: OwnedFd, client: Client) -> Connection {
        Connection {
            socket,
            client,
            pending: Vec::new(),
            intake: Intake::default(),
            unsent: Unsent::default(),
            polls_output: false,
            sends_on: false,
            polls_input: true,
            held: false,
            unfinished: false,
            took_output_ms: 0,
            soft_limit_since_ms: None,
        }
    }

    /// Bytes that wait for the socket.
    pub fn output_bytes(&self) -> usize {
        self.unsent.len()
    }

    /// Nothing more is to be sent: no output waits, and no reply for other event loops.
    pub fn is_finished(&self) -> bool {
        self.output_bytes() == 0 && self.client.withheld.is_none()
    }

    /// Memory of the buffer for output that the socket has not taken.
    pub fn output_capacity(&self) -> usize {
        self.unsent.capacity()
    }

    /// Memory of the input that is kept, and of what is known of its unfinished request.
    pub fn input_capacity(&self) -> usize {
        self.pending.capacity() + self.intake.partial_capacity()
    }

    /// Forgets the input; nothing more of it will run.
    pub fn drop_input(&mut self) {
        self.pending = Vec::new();
        self.intake = Intake::default();
    }

    /// Sends what a turn has written, behind what waits already; what does not go now is kept. Gives how that ended and how many bytes went.
    #[inline]
    pub fn send(&mut self, output: &mut Output) -> (Sent, usize) {
        if output.is_chunked() || !self.unsent.is_empty() {
            self.queue_all(output);
            // The poller says when the socket takes more.
            return match self.polls_output {
                true => (if self.sends_on { Sent::Share } else { Sent::Full }, 0),
                false => self.flush(),
            };
        }
        let sent = match rustix::io::write(&self.socket, output.tail()) {
            Ok(count) if count == output.len() => (Sent::All, count),
            Ok(count) => (Sent::Full, count),
            Err(Errno::AGAIN | Errno::INTR) => (Sent::Full, 0),
            Err(_) => (Sent::Broken, 0),
        };
        if sent.0 == Sent::Full {
            self.unsent.extend(&output.tail()[sent.1..]);
        }
        output.clear();
        sent
    }

    /// Keeps all of `output` for the next flush.
    pub fn queue_all(&mut self, output: &mut Output) {
        self.unsent.take(output);
    }

    /// Keeps a message for the next flush: its head, and its text, which is shared if it is large.
    pub fn queue(&mut self, head: &[u8], text: &Bytes) {
        self.unsent.extend(head);
        self.unsent.share(text);
    }

    /// Sends what waits, but not more than a turn's share.
    pub fn flush(&mut self) -> (Sent, usize) {
        self.unsent.write_to(&self.socket, TURN_SEND_BYTES)
    }

    /// Makes room for the next read of what belongs to the kept input: as much as the argument at hand wants, but not more than has come
    /// already, so that a length that was only announced takes no memory.
    pub fn make_room(&mut self, wanted: usize) {
        let least = if wanted == 0 { READ_BYTES } else { wanted.min(READ_BYTES) };
        if self.pending.capacity() - self.pending.len() < least {
            let ahead = self.pending.len().max(READ_AHEAD_BYTES);
            self.pending.reserve_exact(wanted.clamp(least, ahead));
        }
    }

    /// Drops the first `consumed` bytes of the kept input; an empty buffer is given back.
    pub fn consume_pending(&mut self, consumed: usize) {
        if consumed >= self.pending.len() {
            self.pending = Vec::new();
        } else if consumed > 0 {
            self.pending.drain(..consumed);
        }
    }
}

/// What a client may send at present.
pub(crate) fn limits(config: &Config, client: &Client) -> Limits {
    let unauthenticated = client.gates.has(Gates::UNAUTHENTICATED);
    let (bulk_len_max, multibulk_len_max) = if unauthenticated {
        (config.unauthenticated_max_bulk_len, config.unauthenticated_max_multibulk_len)
    } else {
        (config.proto_max_bulk_len, config.proto_max_multibulk_len)
    };
    Limits {
        bulk_len_max: bulk_len_max.min(LENGTH_MAX as u64),
        multibulk_len_max: u64::from(multibulk_len_max),
        inline_max: config.proto_inline_max_size as usize,
        unauthenticated,
    }
}
