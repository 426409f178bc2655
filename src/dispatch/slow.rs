//! What is recorded of a request that took long.

use crate::client::Client;
use crate::command::{Command, Flags, LoopState, shown_args};
use crate::observe::slow_log::SlowLog;
use crate::resp::Args;

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
