//! What a client leaves behind in the state that all share, and how it is taken away: when the client goes, and when it starts
//! afresh with RESET.
//!
//! None of this may run while the request holds shard locks: watches are kept in the shards.

use std::sync::atomic::Ordering::Relaxed;

use crate::client::{Client, ClientFlags, Gates};
use crate::pubsub::Space;
use crate::services::Services;

/// Ends all subscriptions of a client, without telling it.
pub fn unsubscribe_all(services: &Services, client: &mut Client) {
    let id = client.info.id;
    for channel in client.channels.drain() {
        services.pubsub.unsubscribe(Space::Channels, &channel, id);
    }
    for channel in client.shard_channels.drain() {
        services.pubsub.unsubscribe(Space::ShardChannels, &channel, id);
    }
    for pattern in client.patterns.drain() {
        services.pubsub.unsubscribe_pattern(&pattern, id);
    }
    client.info.channels.store(0, Relaxed);
    client.info.patterns.store(0, Relaxed);
    client.info.shard_channels.store(0, Relaxed);
    client.info.set_flag(ClientFlags::SUBSCRIBED, false);
    client.set_gate(Gates::SUBSCRIBED, false);
}

/// Takes a client off the MONITOR feed.
pub fn stop_monitoring(services: &Services, client: &mut Client) {
    if client.gates.has(Gates::MONITORING) && services.monitors.remove(&client.info.id).is_some() {
        services.set_gate(Gates::MONITORED, !services.monitors.is_empty());
    }
    client.info.set_flag(ClientFlags::MONITOR, false);
    client.set_gate(Gates::MONITORING, false);
}

/// Ends all of a client's watches.
pub fn unwatch_all(services: &Services, client: &mut Client) {
    let keyspace = &services.keyspace;
    for watched in client.watched.drain(..) {
        let key = keyspace.key(&watched.key);
        keyspace.lock_shard(key.shard).watched.unwatch(watched.database, key.bytes, watched.version);
    }
    client.info.watched.store(0, Relaxed);
    client.info.set_flag(ClientFlags::DIRTY_TRANSACTION, false);
}

/// Throws away what a client has queued since MULTI.
pub fn discard_transaction(client: &mut Client) {
    client.transaction = None;
    client.info.queued.store(-1, Relaxed);
    client.info.queued_bytes.store(0, Relaxed);
    client.info.set_flag(ClientFlags::IN_TRANSACTION, false);
    client.set_gate(Gates::IN_TRANSACTION, false);
}
