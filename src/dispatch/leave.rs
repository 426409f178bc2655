//! What the rest of the server has to forget when a client leaves.

use crate::client::{Client, Gates};
use crate::command::LoopState;
use crate::pubsub::Space;

/// Removes every trace of a client from the shared registries: watches, subscriptions, the monitor feed.
pub fn forget_client(state: &mut LoopState<'_>, client: &mut Client) {
    let services = state.services;
    unwatch_all(state, client);
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
    if client.gates.has(Gates::MONITORING) && services.monitors.remove(&id).is_some() {
        services.set_gate(Gates::MONITORED, !services.monitors.is_empty());
    }
}

/// Ends all of a client's watches.
pub fn unwatch_all(state: &LoopState<'_>, client: &mut Client) {
    let keyspace = &state.services.keyspace;
    for watched in client.watched.drain(..) {
        let key = keyspace.key(&watched.key);
        keyspace.lock_shard(key.shard).watched.unwatch(watched.database, key.bytes, watched.version);
    }
}
