//! What follows a request when its locks are released: keyspace events go out, slow requests are recorded.

use crate::client::Client;
use crate::command::{Command, Flags, LoopState, Noted, publish, shown_args};
use crate::config::NotifyFlags;
use crate::observe::slow_log::SlowLog;
use crate::pubsub::Space;
use crate::resp::Args;

/// Publishes the keyspace events that the request noted, in order.
#[cold]
pub fn publish_events(state: &mut LoopState<'_>) {
    let flags = state.config.notify_keyspace_events;
    for Noted { event, database, key } in std::mem::take(&mut state.effects.events) {
        if flags.contains(NotifyFlags::KEYSPACE) {
            let channel = [format!("__keyspace@{database}__:").as_bytes(), &key].concat();
            publish(state, Space::Channels, &channel, event.name.as_bytes());
        }
        if flags.contains(NotifyFlags::KEYEVENT) {
            let channel = format!("__keyevent@{database}__:{}", event.name);
            publish(state, Space::Channels, channel.as_bytes(), &key);
        }
    }
}

/// Puts a request that took at least `latency-monitor-threshold` into the latency monitor.
#[cold]
pub fn record_latency(state: &LoopState<'_>, command: &Command, elapsed_us: u64) {
    let event = if command.has(Flags::FAST) { "fast-command" } else { "command" };
    let latency_ms = u32::try_from(elapsed_us / 1000).unwrap_or(u32::MAX);
    let seconds = state.now_ms.div_euclid(1000).max(0) as u64;
    state.services.latency.lock().record(event, latency_ms, seconds);
}

/// Puts a request into the slow log.
#[cold]
pub fn record_slow(
    state: &mut LoopState<'_>,
    client: &Client,
    command: &Command,
    args: Args<'_>,
    elapsed_us: u64,
) {
    if command.has(Flags::SKIP_SLOWLOG) {
        return;
    }
    let seconds = state.now_ms.div_euclid(1000).max(0) as u64;
    let name = client.info.names.lock().name.clone();
    let length_max = state.config.slowlog_max_len.max(0) as usize;
    let log: &mut SlowLog = &mut state.services.slow_log.lock();
    log.push(seconds, elapsed_us, shown_args(command, args), &client.info.address, &name, length_max);
}
