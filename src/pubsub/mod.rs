//! Who is subscribed to what. The registry is shared by all event loops; a message is encoded once for each protocol version in
//! use and handed to the subscriber's loop as shared bytes.
//!
//! Three separate name spaces: channels, patterns, and shard channels. A client's own lists are in `Client`; both are
//! changed together by the commands in `command/pubsub.rs`.

mod events;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use parking_lot::RwLock;

use crate::base::glob;
use crate::client::ClientInfo;
use crate::resp::{Protocol, Reply};

pub use events::{KeyspaceEvents, Noted};

/// Subscribers of one name, by client id.
#[derive(Default)]
struct Subscribers(HashMap<u64, Arc<ClientInfo>, ahash::RandomState>);

/// See the module's text.
#[derive(Default)]
pub struct PubSub {
    channels: DashMap<Bytes, Subscribers, ahash::RandomState>,
    shard_channels: DashMap<Bytes, Subscribers, ahash::RandomState>,
    patterns: RwLock<HashMap<Bytes, Subscribers, ahash::RandomState>>,
    pattern_count: AtomicUsize,
}

/// The two name spaces that are addressed by exact name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    Channels,
    ShardChannels,
}

/// A message in both protocol versions, each made when the first subscriber needs it.
struct Encoded<'a> {
    parts: &'a [&'a [u8]],
    resp2: Option<Bytes>,
    resp3: Option<Bytes>,
}

impl<'a> Encoded<'a> {
    fn new(parts: &'a [&'a [u8]]) -> Encoded<'a> {
        Encoded { parts, resp2: None, resp3: None }
    }

    fn bytes(&mut self, protocol: Protocol) -> Bytes {
        let cached = match protocol {
            Protocol::Resp2 => &mut self.resp2,
            Protocol::Resp3 => &mut self.resp3,
        };
        cached.get_or_insert_with(|| encode(self.parts, protocol)).clone()
    }
}

fn encode(parts: &[&[u8]], protocol: Protocol) -> Bytes {
    let mut out = Vec::new();
    let mut reply = Reply::new(&mut out, protocol);
    reply.push(parts.len());
    for part in parts {
        reply.bulk(part);
    }
    out.into()
}

impl PubSub {
    fn space(&self, space: Space) -> &DashMap<Bytes, Subscribers, ahash::RandomState> {
        match space {
            Space::Channels => &self.channels,
            Space::ShardChannels => &self.shard_channels,
        }
    }

    pub fn subscribe(&self, space: Space, channel: Bytes, client: &Arc<ClientInfo>) {
        self.space(space).entry(channel).or_default().0.insert(client.id, Arc::clone(client));
    }

    pub fn unsubscribe(&self, space: Space, channel: &[u8], client: u64) {
        if let Some(mut subscribers) = self.space(space).get_mut(channel) {
            subscribers.0.remove(&client);
        }
        // The guard above is gone: the map must not be touched while one is held.
        self.space(space).remove_if(channel, |_, subscribers| subscribers.0.is_empty());
    }

    pub fn subscribe_pattern(&self, pattern: Bytes, client: &Arc<ClientInfo>) {
        let mut patterns = self.patterns.write();
        patterns.entry(pattern).or_default().0.insert(client.id, Arc::clone(client));
        self.pattern_count.store(patterns.len(), Ordering::Relaxed);
    }

    pub fn unsubscribe_pattern(&self, pattern: &[u8], client: u64) {
        let mut patterns = self.patterns.write();
        if let Some(subscribers) = patterns.get_mut(pattern) {
            subscribers.0.remove(&client);
            if subscribers.0.is_empty() {
                patterns.remove(pattern);
            }
        }
        self.pattern_count.store(patterns.len(), Ordering::Relaxed);
    }

    /// Sends a message to everybody who listens to `channel`, by name or by pattern. `deliver` gets each receiver and the bytes
    /// for it, and must not call back into the registry. Gives the number of receivers.
    pub fn publish(
        &self,
        space: Space,
        channel: &[u8],
        message: &[u8],
        mut deliver: impl FnMut(&Arc<ClientInfo>, Bytes),
    ) -> usize {
        let kind: &[u8] = if space == Space::ShardChannels { b"smessage" } else { b"message" };
        let mut receivers = 0;
        if let Some(subscribers) = self.space(space).get(channel) {
            let parts = [kind, channel, message];
            let mut encoded = Encoded::new(&parts);
            for client in subscribers.0.values() {
                deliver(client, encoded.bytes(client.protocol()));
                receivers += 1;
            }
        }
        if space == Space::Channels && self.pattern_count.load(Ordering::Relaxed) > 0 {
            for (pattern, subscribers) in self.patterns.read().iter() {
                if !glob::matches(pattern, channel, false) {
                    continue;
                }
                let parts = [b"pmessage", pattern.as_ref(), channel, message];
                let mut encoded = Encoded::new(&parts);
                for client in subscribers.0.values() {
                    deliver(client, encoded.bytes(client.protocol()));
                    receivers += 1;
                }
            }
        }
        receivers
    }

    /// Channels with at least one subscriber, those that `pattern` matches.
    pub fn active(&self, space: Space, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let fits = |name: &Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        self.space(space).iter().map(|entry| entry.key().clone()).filter(fits).collect()
    }

    /// Subscribers of one channel.
    pub fn subscribers(&self, space: Space, channel: &[u8]) -> usize {
        self.space(space).get(channel).map_or(0, |subscribers| subscribers.0.len())
    }

    /// Channels with subscribers (INFO pubsub_channels, pubsubshard_channels).
    pub fn channel_count(&self, space: Space) -> usize {
        self.space(space).len()
    }

    /// Patterns that somebody is subscribed to (PUBSUB NUMPAT).
    pub fn pattern_count(&self) -> usize {
        self.pattern_count.load(Ordering::Relaxed)
    }
}
