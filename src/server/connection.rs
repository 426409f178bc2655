//! One connection: its socket, the input that is not yet a whole request, and the output that the socket did not take yet.
//!
//! An idle connection holds no buffers: whole requests are parsed from the event loop's shared buffer, and replies go out from a
//! shared one. Only what is left over is kept here.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::client::{Client, Gates};
use crate::config::Config;
use crate::keyspace::LENGTH_MAX;
use crate::resp::Limits;

use super::intake::Intake;

/// Buffers above this size are not kept for the next time.
const KEEP_BYTES: usize = 64 * 1024;

pub struct Connection {
    pub socket: OwnedFd,
    pub client: Client,
    /// Input from the start of an unfinished (or waiting) request.
    pub pending: Vec<u8>,
    /// Where the connection stands in its input.
    pub intake: Intake,
    /// Output that the socket has not taken; the first `sent` bytes are gone.
    output: Vec<u8>,
    sent: usize,
    /// The poller tells when the socket takes output again.
    pub polls_output: bool,
    /// The poller tells when there is input.
    pub polls_input: bool,
    /// The output waits for the write log.
    pub held: bool,
    /// The last turn ended before the requests in `pending` did; the next one follows by itself.
    pub unfinished: bool,
    /// Since when the output is above its class's soft limit (Unix milliseconds).
    pub soft_limit_since_ms: Option<i64>,
}

/// How a write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    All,
    /// The socket takes no more now.
    Some,
    /// The peer is gone.
    Broken,
}

impl Connection {
    pub fn new(socket: OwnedFd, client: Client) -> Connection {
        Connection {
            socket,
            client,
            pending: Vec::new(),
            intake: Intake::default(),
            output: Vec::new(),
            sent: 0,
            polls_output: false,
            polls_input: true,
            held: false,
            unfinished: false,
            soft_limit_since_ms: None,
        }
    }

    /// Bytes that wait for the socket.
    pub fn output_bytes(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Nothing more is to be sent: no output waits, and no reply for other event loops.
    pub fn is_finished(&self) -> bool {
        self.output_bytes() == 0 && self.client.withheld.is_none()
    }

    /// Memory of the buffer for output that the socket has not taken.
    pub fn output_capacity(&self) -> usize {
        self.output.capacity()
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

    /// Sends `bytes` behind what waits already; what the socket does not take is kept.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> (Sent, usize) {
        if self.output_bytes() > 0 {
            self.output.extend_from_slice(bytes);
            return self.flush();
        }
        let mut done = 0;
        while done < bytes.len() {
            match rustix::io::write(&self.socket, &bytes[done..]) {
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.output.extend_from_slice(&bytes[done..]);
                    return (Sent::Some, done);
                }
                Err(_) => return (Sent::Broken, done),
            }
        }
        (Sent::All, done)
    }

    /// Keeps bytes for the next flush.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends what waits.
    pub fn flush(&mut self) -> (Sent, usize) {
        let before = self.sent;
        while self.sent < self.output.len() {
            match rustix::io::write(&self.socket, &self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let done = self.sent - before;
                    self.compact();
                    return (Sent::Some, done);
                }
                Err(_) => return (Sent::Broken, self.sent - before),
            }
        }
        let done = self.sent - before;
        self.sent = 0;
        self.output.clear();
        if self.output.capacity() > KEEP_BYTES || done > 0 {
            self.output = Vec::new();
        }
        (Sent::All, done)
    }

    /// Moves what is left to the front once most of the buffer has been sent.
    fn compact(&mut self) {
        if self.sent > self.output.len() / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
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
