//! Who is subscribed to what. The registry is shared by all event loops.
//!
//! Three separate name spaces: channels, patterns, and shard channels. A client's own lists are in `Client`; both are
//! changed together by the commands in `command/pubsub.rs`.
//!
//! The invariant: while a message is handed to the event loops, its channel's lane is locked. So all subscribers of a channel, by name or by
//! pattern, hear its messages in one order; and when a subscription has been taken out, no further message is under way to that client but those
//! that its loop can take already.

mod audience;
mod events;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ahash::RandomState;
use bytes::Bytes;
use parking_lot::RwLock;

use crate::base::glob;
use crate::base::lock::Mutex;
use crate::client::{ClientInfo, Parcel};

pub use audience::{Audience, Group};
pub use events::{KeyspaceEvents, Noted};

/// Locks for channels. Two channels that share one merely wait for each other.
const LANES: usize = 64;

type Names = HashMap<Bytes, Audience, RandomState>;

/// Names that messages are sent to.
struct Lanes {
    hasher: RandomState,
    lanes: [Mutex<Names>; LANES],
}

impl Default for Lanes {
    fn default() -> Lanes {
        Lanes { hasher: RandomState::new(), lanes: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Lanes {
    fn of(&self, channel: &[u8]) -> &Mutex<Names> {
        &self.lanes[self.hasher.hash_one(channel) as usize % LANES]
    }
}

/// See the module's text.
#[derive(Default)]
pub struct PubSub {
    channels: Lanes,
    shard_channels: Lanes,
    patterns: RwLock<Names>,
    pattern_count: AtomicUsize,
}

/// The name spaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    Channels,
    Patterns,
    ShardChannels,
}

fn insert(names: &mut Names, name: Bytes, client: &Arc<ClientInfo>) {
    names.entry(name).or_default().insert(client);
}

fn remove(names: &mut Names, name: &[u8], client: &ClientInfo) {
    if let Some(audience) = names.get_mut(name) {
        audience.remove(client);
        if audience.is_empty() {
            names.remove(name);
            if names.len() < names.capacity() / 8 {
                names.shrink_to(2 * names.len());
            }
        }
    }
}

impl PubSub {
    /// The lanes of a name space that has some: the names in it are channels.
    fn lanes(&self, space: Space) -> &Lanes {
        if space == Space::ShardChannels { &self.shard_channels } else { &self.channels }
    }

    pub fn subscribe(&self, space: Space, name: Bytes, client: &Arc<ClientInfo>) {
        if space != Space::Patterns {
            return insert(&mut self.lanes(space).of(&name).lock(), name, client);
        }
        let mut patterns = self.patterns.write();
        insert(&mut patterns, name, client);
        self.pattern_count.store(patterns.len(), Ordering::Relaxed);
    }

    /// Takes a subscription out. What was sent because of it can be taken from the mailbox of the client's loop when this returns.
    pub fn unsubscribe(&self, space: Space, name: &[u8], client: &ClientInfo) {
        if space != Space::Patterns {
            return remove(&mut self.lanes(space).of(name).lock(), name, client);
        }
        let mut patterns = self.patterns.write();
        remove(&mut patterns, name, client);
        self.pattern_count.store(patterns.len(), Ordering::Relaxed);
    }

    /// Sends a message to everybody who listens to `channel`, by name or by pattern. `deliver` gets the receivers and what they are to
    /// hear, and must not call back into the registry. Gives the number of receivers.
    pub fn publish(
        &self,
        space: Space,
        channel: &[u8],
        message: &[u8],
        mut deliver: impl FnMut(&Audience, Parcel),
    ) -> usize {
        let kind: &[u8] = if space == Space::ShardChannels { b"smessage" } else { b"message" };
        let (mut receivers, mut text) = (0, None);
        let mut send = |audience: &Audience, words: &[&[u8]]| {
            let text = text.get_or_insert_with(|| Parcel::text(message));
            deliver(audience, Parcel::push(words, text.clone()));
            receivers += audience.len();
        };
        let lane = self.lanes(space).of(channel).lock();
        if let Some(audience) = lane.get(channel) {
            send(audience, &[kind, channel]);
        }
        if space == Space::Channels && self.pattern_count.load(Ordering::Relaxed) > 0 {
            for (pattern, audience) in self.patterns.read().iter() {
                if glob::matches(pattern, channel, false) {
                    send(audience, &[b"pmessage", pattern, channel]);
                }
            }
        }
        drop(lane);
        receivers
    }

    /// Channels with at least one subscriber, those that `pattern` matches.
    pub fn active(&self, space: Space, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let fits = |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name, false));
        let mut names = Vec::new();
        for lane in &self.lanes(space).lanes {
            names.extend(lane.lock().keys().filter(fits).cloned());
        }
        names
    }

    /// Subscribers of one channel.
    pub fn subscribers(&self, space: Space, channel: &[u8]) -> usize {
        self.lanes(space).of(channel).lock().get(channel).map_or(0, Audience::len)
    }

    /// Channels with subscribers (INFO pubsub_channels, pubsubshard_channels).
    pub fn channel_count(&self, space: Space) -> usize {
        self.lanes(space).lanes.iter().map(|lane| lane.lock().len()).sum()
    }

    /// Patterns that somebody is subscribed to (PUBSUB NUMPAT).
    pub fn pattern_count(&self) -> usize {
        self.pattern_count.load(Ordering::Relaxed)
    }
}
