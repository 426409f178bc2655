//! Commands of publish and subscribe. They change a client's own lists and the shared registry together.
//!
//! A subscriber hears of each change of its list by a push of its own. These are no replies: CLIENT REPLY OFF and SKIP let them
//! through.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use super::cx::{Cx, Failure, LoopState, Outcome};
use super::help;
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::client::{Client, Gates};
use crate::observe::counters::Gauge;
use crate::pubsub::Space;
use crate::resp::{Output, Protocol, Reply};

const ANYTIME: Flags = Flags::PUBSUB.and(Flags::LOADING).and(Flags::STALE);
const SUBSCRIBING: Flags = ANYTIME.and(Flags::NOSCRIPT).and(Flags::WHILE_SUBSCRIBED);
const PUBLISHING: Flags = ANYTIME.and(Flags::FAST).and(Flags::MAY_REPLICATE);

/// What a subscription takes besides its name, in the client's list and in the registry (as measured, when a message has been sent to it).
const SUBSCRIPTION_BYTES: usize = 296;

const SHARD_CHANNELS: &[Keys] =
    &[Keys { not_key: true, ..Keys::to_end(1, 1, Access::ReadOnly, Effect::NONE) }];
const SHARD_CHANNEL: &[Keys] = &[Keys { not_key: true, ..Keys::one(1, Access::ReadOnly, Effect::NONE) }];

/// A row with what most rows of this file have in common.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Pubsub,
    since: "2.0.0",
    complexity: "O(1)",
    summary: "",
    flags: SUBSCRIBING,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: help::help,
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "psubscribe",
        syntax: "PSUBSCRIBE pattern [pattern ...]",
        complexity: "O(N) where N is the number of patterns the client is already subscribed to.",
        summary: "Subscribes to all channels whose names match one of the patterns.",
        run: psubscribe,
        ..ROW
    },
    CommandSpec {
        name: "publish",
        syntax: "PUBLISH channel message",
        complexity: "O(N+M) where N is the number of clients subscribed to the receiving channel and M is the total number of subscribed patterns (by any client).",
        summary: "Sends a message to all subscribers of a channel.",
        flags: PUBLISHING,
        run: publish_to_channel,
        ..ROW
    },
    CommandSpec {
        name: "pubsub",
        syntax: "PUBSUB",
        since: "2.8.0",
        complexity: "Depends on subcommand.",
        summary: "Tells what is subscribed to.",
        flags: Flags::NONE,
        subcommands: SUBCOMMANDS,
        run: help::help,
        ..ROW
    },
    CommandSpec {
        name: "punsubscribe",
        syntax: "PUNSUBSCRIBE [pattern [pattern ...]]",
        complexity: "O(N+M) where N is the number of patterns the client is already subscribed and M is the number of total patterns subscribed in the system (by any client).",
        summary: "Ends subscriptions to patterns; without patterns, all of them.",
        run: punsubscribe,
        ..ROW
    },
    CommandSpec {
        name: "spublish",
        syntax: "SPUBLISH shardchannel message",
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients subscribed to the receiving shard channel.",
        summary: "Sends a message to all subscribers of a shard channel.",
        flags: PUBLISHING,
        keys: SHARD_CHANNEL,
        run: publish_to_shard_channel,
        ..ROW
    },
    CommandSpec {
        name: "ssubscribe",
        syntax: "SSUBSCRIBE shardchannel [shardchannel ...]",
        since: "7.0.0",
        complexity: "O(N) where N is the number of shard channels to subscribe to.",
        summary: "Subscribes to shard channels.",
        keys: SHARD_CHANNELS,
        run: ssubscribe,
        ..ROW
    },
    CommandSpec {
        name: "subscribe",
        syntax: "SUBSCRIBE channel [channel ...]",
        complexity: "O(N) where N is the number of channels to subscribe to.",
        summary: "Subscribes to channels.",
        run: subscribe,
        ..ROW
    },
    CommandSpec {
        name: "sunsubscribe",
        syntax: "SUNSUBSCRIBE [shardchannel [shardchannel ...]]",
        since: "7.0.0",
        complexity: "O(N) where N is the number of clients already subscribed to a shard channel.",
        summary: "Ends subscriptions to shard channels; without channels, all of them.",
        keys: SHARD_CHANNELS,
        run: sunsubscribe,
        ..ROW
    },
    CommandSpec {
        name: "unsubscribe",
        syntax: "UNSUBSCRIBE [channel [channel ...]]",
        complexity: "O(N) where N is the number of clients already subscribed to a channel.",
        summary: "Ends subscriptions to channels; without channels, all of them.",
        run: unsubscribe,
        ..ROW
    },
];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "channels",
        syntax: "PUBSUB CHANNELS [pattern]",
        since: "2.8.0",
        complexity: "O(N) where N is the number of active channels, and assuming constant time pattern matching (relatively short channels and patterns)",
        summary: "Lists the channels that somebody is subscribed to.",
        flags: ANYTIME,
        run: channels,
        ..ROW
    },
    help::row("PUBSUB HELP", Group::Pubsub, "6.2.0", Flags::NONE),
    CommandSpec {
        name: "numpat",
        syntax: "PUBSUB NUMPAT",
        since: "2.8.0",
        summary: "Counts the patterns that somebody is subscribed to.",
        flags: ANYTIME,
        run: pattern_count,
        ..ROW
    },
    CommandSpec {
        name: "numsub",
        syntax: "PUBSUB NUMSUB [channel [channel ...]]",
        since: "2.8.0",
        complexity: "O(N) for the NUMSUB subcommand, where N is the number of requested channels",
        summary: "Counts the subscribers of channels.",
        flags: ANYTIME,
        run: subscriber_counts,
        ..ROW
    },
    CommandSpec {
        name: "shardchannels",
        syntax: "PUBSUB SHARDCHANNELS [pattern]",
        since: "7.0.0",
        complexity: "O(N) where N is the number of active shard channels, and assuming constant time pattern matching (relatively short shard channels).",
        summary: "Lists the shard channels that somebody is subscribed to.",
        flags: ANYTIME,
        run: shard_channels,
        ..ROW
    },
    CommandSpec {
        name: "shardnumsub",
        syntax: "PUBSUB SHARDNUMSUB [shardchannel [shardchannel ...]]",
        since: "7.0.0",
        complexity: "O(N) for the SHARDNUMSUB subcommand, where N is the number of requested shard channels",
        summary: "Counts the subscribers of shard channels.",
        flags: ANYTIME,
        run: shard_subscriber_counts,
        ..ROW
    },
];

fn subscription_bytes(name: &[u8]) -> usize {
    SUBSCRIPTION_BYTES + name.len()
}

/// Checks that the names in the request that are new to a list fit the limit of the client's subscriptions.
fn check_limit(cx: &mut Cx<'_, '_>, space: Space) -> Outcome {
    let limit = cx.config().client_subscription_limit;
    let present = list_of(cx.client, space);
    let new = cx.args.iter_from(1).filter(|name| !present.contains(*name));
    let more: usize = new.map(subscription_bytes).sum();
    if limit > 0 && (cx.client.info.subscribed_bytes.load(Relaxed) + more) as u64 > limit {
        return Err(Failure::text(
            "ERR the subscriptions of this client would take more memory than client-subscription-limit allows",
        ));
    }
    Ok(())
}

fn subscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    begin(cx, Space::Channels, "subscribe")
}

fn psubscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    begin(cx, Space::Patterns, "psubscribe")
}

fn ssubscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.in_exec {
        return Err(Failure::text("ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    begin(cx, Space::ShardChannels, "ssubscribe")
}

fn unsubscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    end(cx, Space::Channels, "unsubscribe")
}

fn punsubscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    end(cx, Space::Patterns, "punsubscribe")
}

fn sunsubscribe(cx: &mut Cx<'_, '_>) -> Outcome {
    end(cx, Space::ShardChannels, "sunsubscribe")
}

/// Subscribes to all names in the request; `kind` is the word that confirms each.
fn begin(cx: &mut Cx<'_, '_>, space: Space, kind: &str) -> Outcome {
    check_limit(cx, space)?;
    for name in cx.args.iter_from(1) {
        if !list_of(cx.client, space).contains(name) {
            let name = Bytes::copy_from_slice(name);
            cx.services().pubsub.subscribe(space, name.clone(), &cx.client.info);
            cx.client.info.subscribed_bytes.fetch_add(subscription_bytes(&name), Relaxed);
            list_of(cx.client, space).insert(name);
        }
        confirm(cx, kind, Some(name), confirmed_count(cx.client, space));
    }
    note_subscriptions(cx.state, cx.client);
    Ok(())
}

/// Ends the subscriptions to the names in the request, or all of the client's if there are none. Whatever was sent because of them comes before the
/// confirmations: it is taken when no more can follow.
fn end(cx: &mut Cx<'_, '_>, space: Space, kind: &str) -> Outcome {
    let names: Vec<Bytes> = if cx.args.len() == 1 {
        list_of(cx.client, space).iter().cloned().collect()
    } else {
        cx.args.iter_from(1).map(Bytes::copy_from_slice).collect()
    };
    if names.is_empty() {
        confirm(cx, kind, None, confirmed_count(cx.client, space));
    }
    for name in &names {
        if list_of(cx.client, space).contains(name) {
            cx.services().pubsub.unsubscribe(space, name, &cx.client.info);
        }
    }
    cx.write_deliveries_first();
    for name in names {
        if list_of(cx.client, space).remove(&name) {
            cx.client.info.subscribed_bytes.fetch_sub(subscription_bytes(&name), Relaxed);
        }
        confirm(cx, kind, Some(&name), confirmed_count(cx.client, space));
    }
    note_subscriptions(cx.state, cx.client);
    Ok(())
}

fn list_of(client: &mut Client, space: Space) -> &mut HashSet<Bytes> {
    match space {
        Space::Channels => &mut client.channels,
        Space::Patterns => &mut client.patterns,
        Space::ShardChannels => &mut client.shard_channels,
    }
}

/// What confirmations count: those of the two older kinds count both.
fn confirmed_count(client: &Client, space: Space) -> usize {
    match space {
        Space::Channels | Space::Patterns => client.channels.len() + client.patterns.len(),
        Space::ShardChannels => client.shard_channels.len(),
    }
}

/// Tells the client of a change of its subscriptions, and how many it has now.
fn confirm(cx: &mut Cx<'_, '_>, kind: &str, name: Option<&[u8]>, count: usize) {
    let write = |reply: &mut Reply<'_>| {
        reply.push(3);
        reply.bulk(kind.as_bytes());
        match name {
            Some(name) => reply.bulk(name),
            None => reply.null(),
        }
        reply.integer(count as i64);
    };
    if !cx.client.is_silent() {
        write(&mut cx.reply);
        return;
    }
    // The reply of this request will be dropped, but this is a push.
    let mut message = Output::default();
    write(&mut Reply::new(&mut message, cx.client.protocol));
    cx.state.effects.deliver_local(&cx.client.info, message.into_bytes());
}

/// Makes what depends on a client's subscriptions and its protocol version agree with them.
pub fn note_subscriptions(state: &LoopState<'_>, client: &mut Client) {
    let info = &client.info;
    let was_subscribed = info.is_subscriber();
    info.channels.store(client.channels.len(), Relaxed);
    info.patterns.store(client.patterns.len(), Relaxed);
    info.shard_channels.store(client.shard_channels.len(), Relaxed);
    let subscribed = client.subscriptions() > 0;
    if subscribed != was_subscribed {
        let gauges = &state.statistics.counters;
        if subscribed {
            gauges.rise(Gauge::PubsubClients);
        } else {
            gauges.fall(Gauge::PubsubClients);
        }
    }
    client.set_gate(Gates::SUBSCRIBED, subscribed && client.protocol == Protocol::Resp2);
}

/// Ends all subscriptions of a client without telling it (RESET, or the client leaves).
pub fn unsubscribe_all(state: &LoopState<'_>, client: &mut Client) {
    for space in [Space::Channels, Space::Patterns, Space::ShardChannels] {
        for name in std::mem::take(list_of(client, space)) {
            state.services.pubsub.unsubscribe(space, &name, &client.info);
        }
    }
    client.info.subscribed_bytes.store(0, Relaxed);
    note_subscriptions(state, client);
}

/// Sends a message to everybody who listens to a channel; gives the number of receivers. Those of the present request's own
/// client come behind its reply.
pub fn publish(state: &mut LoopState<'_>, space: Space, channel: &[u8], message: &[u8]) -> usize {
    let pubsub = &state.services.pubsub;
    pubsub.publish(space, channel, message, |audience, parcel| state.deliver(audience, parcel))
}

/// Publishes the keyspace events that were handed over, those of other loops among them.
#[cold]
pub fn publish_events(state: &mut LoopState<'_>) {
    let services = state.services;
    services.events.publish(|channel, message| {
        publish(state, Space::Channels, channel, message);
    });
}

/// Releases the locks `held`, and publishes the keyspace events that were noted under them.
#[cold]
pub fn publish_behind<T>(state: &mut LoopState<'_>, held: T) {
    let noted = state.hand_over_events();
    drop(held);
    if noted {
        publish_events(state);
    }
}

fn publish_to_channel(cx: &mut Cx<'_, '_>) -> Outcome {
    let receivers = publish(cx.state, Space::Channels, cx.args.at(1), cx.args.at(2));
    cx.reply.integer(receivers as i64);
    Ok(())
}

fn publish_to_shard_channel(cx: &mut Cx<'_, '_>) -> Outcome {
    let receivers = publish(cx.state, Space::ShardChannels, cx.args.at(1), cx.args.at(2));
    cx.reply.integer(receivers as i64);
    Ok(())
}

fn channels(cx: &mut Cx<'_, '_>) -> Outcome {
    list(cx, Space::Channels)
}

fn shard_channels(cx: &mut Cx<'_, '_>) -> Outcome {
    list(cx, Space::ShardChannels)
}

fn list(cx: &mut Cx<'_, '_>, space: Space) -> Outcome {
    if cx.args.len() > 3 {
        return Err(help::bad_arguments(cx));
    }
    let names = cx.services().pubsub.active(space, cx.args.get(2));
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(&name);
    }
    Ok(())
}

fn subscriber_counts(cx: &mut Cx<'_, '_>) -> Outcome {
    count(cx, Space::Channels)
}

fn shard_subscriber_counts(cx: &mut Cx<'_, '_>) -> Outcome {
    count(cx, Space::ShardChannels)
}

/// Pairs of name and count; an array in both protocol versions.
fn count(cx: &mut Cx<'_, '_>, space: Space) -> Outcome {
    cx.reply.array((cx.args.len() - 2) * 2);
    for name in cx.args.iter_from(2) {
        cx.reply.bulk(name);
        cx.reply.integer(cx.services().pubsub.subscribers(space, name) as i64);
    }
    Ok(())
}

fn pattern_count(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.integer(cx.services().pubsub.pattern_count() as i64);
    Ok(())
}
