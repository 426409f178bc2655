//! Counters that one event loop owns and every thread may read.
//!
//! The invariant is a single writer: an addition is a relaxed load and a relaxed store, which costs what an
//! ordinary addition to memory costs, and it would lose counts if two threads added to the same cell. Readers sum
//! the cells of all loops; they may see one counter a little ahead of another, which INFO tolerates.

use std::sync::atomic::{AtomicU64, Ordering};

/// One number with a single writing thread and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero, usable in constants.
    pub const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    /// Adds `amount`. Only the owning thread may call this.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// Takes `amount` away, for gauges. Only the owning thread may call this.
    #[inline]
    pub fn subtract(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(amount), Ordering::Relaxed);
    }

    /// The present value.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a loop counts. The comment of each is its INFO field; the meaning is Redis 7.2's. CONFIG RESETSTAT sets
/// all of them back to zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// `total_connections_received`
    ConnectionsReceived,
    /// `rejected_connections`
    ConnectionsRejected,
    /// `total_commands_processed`
    CommandsProcessed,
    /// `total_net_input_bytes`
    NetInputBytes,
    /// `total_net_output_bytes`
    NetOutputBytes,
    /// `total_net_repl_input_bytes`
    ReplicationInputBytes,
    /// `total_net_repl_output_bytes`
    ReplicationOutputBytes,
    /// `expired_keys`
    ExpiredKeys,
    ExpiredElements,
    /// `expired_time_cap_reached_count`
    ExpiredTimeCapReached,
    /// `expire_cycle_cpu_milliseconds`, counted in microseconds
    ExpireCycleUs,
    /// `evicted_keys`
    EvictedKeys,
    /// `evicted_clients`
    EvictedClients,
    /// `total_eviction_exceeded_time`, counted in microseconds
    EvictionExceededUs,
    /// `keyspace_hits`
    KeyspaceHits,
    /// `keyspace_misses`
    KeyspaceMisses,
    /// `unexpected_error_replies`
    UnexpectedErrorReplies,
    /// `total_error_replies`
    ErrorReplies,
    /// `dump_payload_sanitizations`
    DumpPayloadSanitizations,
    /// `total_reads_processed`
    ReadsProcessed,
    /// `total_writes_processed`
    WritesProcessed,
    /// `client_query_buffer_limit_disconnections`
    QueryBufferLimitDisconnections,
    /// `client_output_buffer_limit_disconnections`
    OutputBufferLimitDisconnections,
    /// `reply_buffer_shrinks`
    ReplyBufferShrinks,
    /// `reply_buffer_expands`
    ReplyBufferExpands,
    /// `eventloop_cycles`
    EventLoopCycles,
    /// `eventloop_duration_sum`, microseconds
    EventLoopUs,
    /// `eventloop_duration_cmd_sum`, microseconds
    EventLoopCommandUs,
    /// `acl_access_denied_auth`
    AclDeniedAuth,
    /// `acl_access_denied_cmd`
    AclDeniedCommand,
    /// `acl_access_denied_key`
    AclDeniedKey,
    /// `acl_access_denied_channel`
    AclDeniedChannel,
}

/// How many variants `Count` has.
const COUNTS: usize = Count::AclDeniedChannel as usize + 1;

/// What a loop has at this moment. Unlike a `Count` it goes down again, and CONFIG RESETSTAT leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gauge {
    /// `connected_clients`
    ConnectedClients,
    /// `blocked_clients`
    BlockedClients,
    /// `pubsub_clients`
    PubsubClients,
    /// `tracking_clients`
    TrackingClients,
}

/// How many variants `Gauge` has.
const GAUGES: usize = Gauge::TrackingClients as usize + 1;

/// The counters and gauges of one event loop. Aligned to two cache lines (the unit that the adjacent-line
/// prefetcher fetches), so that loops do not slow each other down.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct LoopCounters {
    counts: [Counter; COUNTS],
    gauges: [Counter; GAUGES],
}

impl LoopCounters {
    /// Counts `amount` more. Only the owning loop may call this.
    #[inline]
    pub fn add(&self, count: Count, amount: u64) {
        self.counts[count as usize].add(amount);
    }

    /// One more of `gauge` exists on this loop. Only the owning loop may call this.
    #[inline]
    pub fn rise(&self, gauge: Gauge) {
        self.gauges[gauge as usize].add(1);
    }

    /// One less of `gauge` exists on this loop; what rose on this loop falls on it. Only the owning loop may call this.
    #[inline]
    pub fn fall(&self, gauge: Gauge) {
        self.gauges[gauge as usize].subtract(1);
    }
}

/// The sum of several loops' counters and gauges at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterTotals {
    counts: [u64; COUNTS],
    gauges: [u64; GAUGES],
}

impl CounterTotals {
    /// Adds up the counters of the given loops.
    pub fn sum<'a>(loops: impl IntoIterator<Item = &'a LoopCounters>) -> CounterTotals {
        let mut totals = CounterTotals { counts: [0; COUNTS], gauges: [0; GAUGES] };
        for one in loops {
            for (total, counter) in totals.counts.iter_mut().zip(&one.counts) {
                *total = total.wrapping_add(counter.get());
            }
            for (total, gauge) in totals.gauges.iter_mut().zip(&one.gauges) {
                *total = total.wrapping_add(gauge.get());
            }
        }
        totals
    }

    /// What was counted after `baseline` was taken; gauges stay as they are.
    pub fn since(mut self, baseline: &CounterTotals) -> CounterTotals {
        for (count, before) in self.counts.iter_mut().zip(&baseline.counts) {
            *count = count.saturating_sub(*before);
        }
        self
    }

    /// The total of one counter.
    pub fn count(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// The total of one gauge.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_loops_and_keep_fields_apart() {
        let (first, second) = (LoopCounters::default(), LoopCounters::default());
        first.add(Count::KeyspaceHits, 3);
        second.add(Count::KeyspaceHits, 4);
        second.add(Count::AclDeniedChannel, 1);
        first.rise(Gauge::ConnectedClients);
        first.rise(Gauge::ConnectedClients);
        first.fall(Gauge::ConnectedClients);
        second.rise(Gauge::ConnectedClients);
        let totals = CounterTotals::sum([&first, &second]);
        assert_eq!(totals.count(Count::KeyspaceHits), 7);
        assert_eq!(totals.count(Count::KeyspaceMisses), 0);
        assert_eq!(totals.count(Count::AclDeniedChannel), 1);
        assert_eq!(totals.gauge(Gauge::ConnectedClients), 2);
        assert_eq!(totals.gauge(Gauge::BlockedClients), 0);
    }

    #[test]
    fn a_baseline_takes_counts_away_and_leaves_gauges() {
        let counters = LoopCounters::default();
        counters.add(Count::CommandsProcessed, 10);
        counters.rise(Gauge::BlockedClients);
        let baseline = CounterTotals::sum([&counters]);
        counters.add(Count::CommandsProcessed, 5);
        let totals = CounterTotals::sum([&counters]).since(&baseline);
        assert_eq!(totals.count(Count::CommandsProcessed), 5);
        assert_eq!(totals.gauge(Gauge::BlockedClients), 1);
    }

    #[test]
    fn loops_do_not_share_cache_lines() {
        assert_eq!(align_of::<LoopCounters>(), 128);
    }
}
