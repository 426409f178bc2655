//! Bytes on their way to clients that did not ask for them: messages of pub/sub, keyspace events, lines of MONITOR.
//!
//! A parcel exists once, however many clients get it. What differs between protocol versions and patterns is its head; the text of the message
//! behind it is shared by all. In which version a client hears it is decided when it reaches the client, so that none comes in a
//! version that the client has left meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::info::ClientInfo;
use crate::resp::{Output, Protocol, Reply};

/// What a parcel counts as besides its bytes: for each receiver, and once for all, which is more than its place in a mailbox, its second head and the
/// allocator's part take.
pub const RECEIVER_BYTES: usize = 16;
pub const DELIVERY_BYTES: usize = 512;

/// See the module's text.
#[derive(Debug)]
pub struct Parcel {
    /// The head in RESP2, and behind it the head in RESP3.
    heads: Bytes,
    resp3_at: usize,
    tail: Bytes,
}

impl Parcel {
    /// Bytes that are the same in every protocol version.
    pub fn plain(tail: Bytes) -> Parcel {
        Parcel { heads: Bytes::new(), resp3_at: 0, tail }
    }

    /// A push of `words`, and behind them of a text that is encoded already ([`Parcel::text`]).
    pub fn push(words: &[&[u8]], text: Bytes) -> Parcel {
        let mut heads = Output::default();
        let mut add = |protocol| {
            let mut reply = Reply::new(&mut heads, protocol);
            reply.push(words.len() + 1);
            words.iter().for_each(|word| reply.bulk(word));
            heads.len()
        };
        let resp3_at = add(Protocol::Resp2);
        add(Protocol::Resp3);
        Parcel { heads: heads.into_bytes(), resp3_at, tail: text }
    }

    /// The text of a message, as each of its parcels ends with it.
    pub fn text(message: &[u8]) -> Bytes {
        let mut text = Output::default();
        // A bulk string looks the same in both versions.
        Reply::new(&mut text, Protocol::Resp2).bulk(message);
        text.into_bytes()
    }

    /// The bytes in this version: the head, and the text that all share.
    pub fn parts(&self, protocol: Protocol) -> (&[u8], &Bytes) {
        let head = match protocol {
            Protocol::Resp2 => &self.heads[..self.resp3_at],
            Protocol::Resp3 => &self.heads[self.resp3_at..],
        };
        (head, &self.tail)
    }

    /// What the parcel counts as for each of its receivers.
    pub fn counted_bytes(&self) -> usize {
        self.resp3_at + self.tail.len() + RECEIVER_BYTES
    }
}

/// A parcel and those of one event loop's clients that get it.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// By id.
    pub receivers: Arc<[Arc<ClientInfo>]>,
    pub parcel: Arc<Parcel>,
    /// A receiver that has it already.
    pub but_for: Option<u64>,
}

impl Delivery {
    pub fn new(receivers: Arc<[Arc<ClientInfo>]>, parcel: Arc<Parcel>) -> Delivery {
        Delivery { receivers, parcel, but_for: None }
    }

    /// The receivers that do not have it.
    pub fn missing(&self) -> impl Iterator<Item = &Arc<ClientInfo>> {
        self.receivers.iter().filter(|client| self.but_for != Some(client.id))
    }

    /// Takes the parcel for this client, if it is a receiver that does not have it.
    pub fn take_for(&mut self, id: u64) -> Option<&Parcel> {
        let waits =
            self.but_for != Some(id) && self.receivers.binary_search_by_key(&id, |client| client.id).is_ok();
        waits.then(|| {
            self.but_for = Some(id);
            &*self.parcel
        })
    }

    /// All that the delivery counts as.
    pub fn counted_bytes(&self) -> usize {
        DELIVERY_BYTES + self.receivers.len() * self.parcel.counted_bytes()
    }

    /// It leaves for a mailbox: from here on it counts as its receivers' memory.
    pub(super) fn depart(&self) {
        let bytes = self.parcel.counted_bytes();
        for client in self.receivers.iter() {
            client.in_transit_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// It has left the mailbox.
    pub(super) fn arrive(&self) {
        let bytes = self.parcel.counted_bytes();
        for client in self.receivers.iter() {
            client.in_transit_bytes.fetch_sub(bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_the_same_as_a_reply_writer_makes_it_in_either_version() {
        let parcel = Parcel::push(&[b"message", b"c"], Parcel::text(b"hello"));
        let shown = |protocol| {
            let (head, text) = parcel.parts(protocol);
            String::from_utf8([head, text].concat()).expect("text")
        };
        assert_eq!(shown(Protocol::Resp2), "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n");
        assert_eq!(shown(Protocol::Resp3), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$5\r\nhello\r\n");
        assert_eq!(parcel.counted_bytes(), shown(Protocol::Resp2).len() + RECEIVER_BYTES);
    }
}
