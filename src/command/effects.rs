//! What follows from a change, in one place: commands only say that something has changed.
//!
//! While the shards are locked, a change advances the versions of watched keys and is counted; what others are told is noted here and
//! sent after the locks are released.

use bytes::Bytes;

use crate::client::Message;
use crate::config::NotifyFlags;

/// A keyspace event: its class and its name in messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub class: NotifyFlags,
    pub name: &'static str,
}

macro_rules! events {
    ($($constant:ident = $class:ident $name:literal,)*) => {
        impl Event { $(pub const $constant: Event = Event { class: NotifyFlags::$class, name: $name };)* }
    };
}

events! {
    DEL = GENERIC "del",
    RENAME_FROM = GENERIC "rename_from",
    RENAME_TO = GENERIC "rename_to",
    MOVE_FROM = GENERIC "move_from",
    MOVE_TO = GENERIC "move_to",
    COPY_TO = GENERIC "copy_to",
    EXPIRE = GENERIC "expire",
    PERSIST = GENERIC "persist",
    RESTORE = GENERIC "restore",
    SET = STRING "set",
    SETRANGE = STRING "setrange",
    APPEND = STRING "append",
    INCRBY = STRING "incrby",
    INCRBYFLOAT = STRING "incrbyfloat",
    EXPIRED = EXPIRED "expired",
    EVICTED = EVICTED "evicted",
    KEY_MISS = KEY_MISS "keymiss",
    NEW_KEY = NEW_KEY "new",
}

/// An event that waits to be published.
pub struct Noted {
    pub event: Event,
    pub database: usize,
    pub key: Box<[u8]>,
}

/// What the present request has caused and others must hear of.
#[derive(Default)]
pub struct Effects {
    /// Keyspace events, in order.
    pub events: Vec<Noted>,
    /// Messages for clients of this loop, in order.
    pub local: Vec<Message>,
}

impl Effects {
    /// Notes bytes for a client of this loop.
    pub fn deliver_local(&mut self, place: usize, id: u64, bytes: Bytes) {
        self.local.push(Message::Deliver { place, id, bytes });
    }
}
