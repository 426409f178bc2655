//! The sections of INFO that count: stats, and statistics by command and by error.

use std::sync::atomic::Ordering::Relaxed;

use super::line;
use crate::command::cx::Cx;
use crate::command::registry::{COMMANDS, Command};
use crate::observe::counters::{Count, CounterTotals};
use crate::observe::info_lines::{command_line, error_line, latency_line};
use crate::observe::rates::Rates;
use crate::pubsub::Space;

pub fn stats(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let services = cx.services();
    let counters = services.statistics.counters();
    let rates = services.rates.lock();
    traffic(text, &counters, &rates);
    keys(text, &counters, exceeded_us(cx));
    line(text, "pubsub_channels", services.pubsub.channel_count(Space::Channels));
    line(text, "pubsub_patterns", services.pubsub.pattern_count());
    line(text, "pubsubshard_channels", services.pubsub.channel_count(Space::ShardChannels));
    nothing_of(text);
    for (name, count) in [
        ("unexpected_error_replies", Count::UnexpectedErrorReplies),
        ("total_error_replies", Count::ErrorReplies),
        ("dump_payload_sanitizations", Count::DumpPayloadSanitizations),
        ("total_reads_processed", Count::ReadsProcessed),
        ("total_writes_processed", Count::WritesProcessed),
    ] {
        line(text, name, counters.count(count));
    }
    line(text, "io_threaded_reads_processed", 0);
    line(text, "io_threaded_writes_processed", 0);
    for (name, count) in [
        ("client_query_buffer_limit_disconnections", Count::QueryBufferLimitDisconnections),
        ("client_output_buffer_limit_disconnections", Count::OutputBufferLimitDisconnections),
        ("reply_buffer_shrinks", Count::ReplyBufferShrinks),
        ("reply_buffer_expands", Count::ReplyBufferExpands),
        ("eventloop_cycles", Count::EventLoopCycles),
        ("eventloop_duration_sum", Count::EventLoopUs),
    ] {
        line(text, name, counters.count(count));
    }
    let command_us: u64 = services.statistics.commands().iter().map(|totals| totals.usec).sum();
    line(text, "eventloop_duration_cmd_sum", command_us);
    line(text, "instantaneous_eventloop_cycles_per_sec", rates.cycles.rate());
    line(text, "instantaneous_eventloop_duration_usec", rates.cycle_us.rate());
    for (name, count) in [
        ("acl_access_denied_auth", Count::AclDeniedAuth),
        ("acl_access_denied_cmd", Count::AclDeniedCommand),
        ("acl_access_denied_key", Count::AclDeniedKey),
        ("acl_access_denied_channel", Count::AclDeniedChannel),
    ] {
        line(text, name, counters.count(count));
    }
}

/// Microseconds for which memory has been above `maxmemory` until now.
fn exceeded_us(cx: &Cx<'_, '_>) -> u64 {
    match cx.services().memory_exceeded_since_us.load(Relaxed) {
        0 => 0,
        since_us => (cx.state.steady_us - since_us).max(0) as u64,
    }
}

fn traffic(text: &mut Vec<u8>, counters: &CounterTotals, rates: &Rates) {
    line(text, "total_connections_received", counters.count(Count::ConnectionsReceived));
    line(text, "total_commands_processed", counters.count(Count::CommandsProcessed));
    line(text, "instantaneous_ops_per_sec", rates.operations.rate());
    line(text, "total_net_input_bytes", counters.count(Count::NetInputBytes));
    line(text, "total_net_output_bytes", counters.count(Count::NetOutputBytes));
    line(text, "total_net_repl_input_bytes", counters.count(Count::ReplicationInputBytes));
    line(text, "total_net_repl_output_bytes", counters.count(Count::ReplicationOutputBytes));
    line(text, "instantaneous_input_kbps", rates.input.kilobytes());
    line(text, "instantaneous_output_kbps", rates.output.kilobytes());
    line(text, "instantaneous_input_repl_kbps", "0.00");
    line(text, "instantaneous_output_repl_kbps", "0.00");
    line(text, "rejected_connections", counters.count(Count::ConnectionsRejected));
    for name in ["sync_full", "sync_partial_ok", "sync_partial_err"] {
        line(text, name, 0);
    }
}

fn keys(text: &mut Vec<u8>, counters: &CounterTotals, exceeded_us: u64) {
    line(text, "expired_subkeys", counters.count(Count::ExpiredElements));
    line(text, "expired_keys", counters.count(Count::ExpiredKeys));
    line(text, "expired_stale_perc", "0.00");
    line(text, "expired_time_cap_reached_count", counters.count(Count::ExpiredTimeCapReached));
    line(text, "expire_cycle_cpu_milliseconds", counters.count(Count::ExpireCycleUs) / 1000);
    line(text, "evicted_keys", counters.count(Count::EvictedKeys));
    line(text, "evicted_clients", counters.count(Count::EvictedClients));
    line(
        text,
        "total_eviction_exceeded_time",
        (counters.count(Count::EvictionExceededUs) + exceeded_us) / 1000,
    );
    line(text, "current_eviction_exceeded_time", exceeded_us / 1000);
    line(text, "keyspace_hits", counters.count(Count::KeyspaceHits));
    line(text, "keyspace_misses", counters.count(Count::KeyspaceMisses));
}

/// Counters of what does not exist here: forks, migration, replicas, defragmentation, tracking.
fn nothing_of(text: &mut Vec<u8>) {
    for name in [
        "latest_fork_usec",
        "total_forks",
        "migrate_cached_sockets",
        "slave_expires_tracked_keys",
        "active_defrag_hits",
        "active_defrag_misses",
        "active_defrag_key_hits",
        "active_defrag_key_misses",
        "total_active_defrag_time",
        "current_active_defrag_time",
        "tracking_total_keys",
        "tracking_total_items",
        "tracking_total_prefixes",
    ] {
        line(text, name, 0);
    }
}

pub fn command_statistics(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let totals = cx.services().statistics.commands();
    for command in COMMANDS.iter() {
        if let Some(totals) = totals.get(command.id) {
            command_line(&command.full_name, totals, text);
        }
    }
}

pub fn error_statistics(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    for (code, count) in cx.services().statistics.errors() {
        error_line(&code, count, text);
    }
}

pub fn latency_statistics(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let percentiles = &cx.config().latency_tracking_info_percentiles;
    let histogram = |command: &Command| cx.services().statistics.latencies(command.id);
    for command in COMMANDS.iter() {
        if let Some(histogram) = histogram(command) {
            latency_line(&command.full_name, &histogram, percentiles, text);
        }
    }
}
