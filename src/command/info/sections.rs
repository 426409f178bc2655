//! The sections of INFO that describe a state: server, clients, memory, persistence, replication, processor, keyspace, and
//! Cloakroom's own. Names, order and units are those of Redis 7.2.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;

use super::{human, line, process};
use crate::base::allocator;
use crate::client::ClientInfo;
use crate::command::cx::Cx;
use crate::config::Config;
use crate::keyspace::{Partition, Site};
use crate::observe::counters::Gauge;

const SECONDS_A_DAY: i64 = 86_400;

pub fn server(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let (services, now_us) = (cx.services(), cx.state.now_us);
    let uptime = (cx.steady_ms() - services.identity.started_ms).max(0) / 1000;
    line(text, "redis_version", crate::command::REDIS_VERSION);
    line(text, "server_name", "cloakroom");
    line(text, "cloakroom_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_git_sha1", "00000000");
    line(text, "redis_git_dirty", 0);
    line(text, "redis_build_id", "0000000000000000");
    line(text, "redis_mode", "standalone");
    line(text, "os", process::system_name());
    line(text, "arch_bits", usize::BITS);
    line(text, "monotonic_clock", "POSIX clock_gettime");
    line(text, "multiplexing_api", "epoll");
    line(text, "atomicvar_api", "rust-core");
    line(text, "gcc_version", concat!("rustc-", env!("CARGO_PKG_RUST_VERSION")));
    line(text, "process_id", std::process::id());
    line(text, "process_supervised", "no");
    line(text, "run_id", &services.identity.run_id);
    line(text, "tcp_port", cx.config().port);
    line(text, "server_time_usec", now_us);
    line(text, "uptime_in_seconds", uptime);
    line(text, "uptime_in_days", uptime / SECONDS_A_DAY);
    line(text, "hz", cx.config().hz);
    line(text, "configured_hz", cx.config().hz);
    line(text, "lru_clock", (cx.steady_ms() / 1000) & 0x00ff_ffff);
    line(text, "executable", &services.identity.executable);
    line(
        text,
        "config_file",
        services.settings.file.as_deref().map_or(String::new(), |path| path.display().to_string()),
    );
    line(text, "io_threads_active", 0);
    for (index, listener) in listeners(cx.config()).iter().enumerate() {
        line(text, &format!("listener{index}"), listener);
    }
}

fn listeners(config: &Config) -> Vec<String> {
    let mut listeners = Vec::new();
    if config.port != 0 {
        let addresses: String = config.bind.iter().map(|address| format!(",bind={address}")).collect();
        listeners.push(format!("name=tcp{addresses},port={}", config.port));
    }
    if !config.unixsocket.is_empty() {
        listeners.push(format!("name=unix,bind={}", config.unixsocket));
    }
    listeners
}

pub fn clients(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let services = cx.services();
    let counters = services.statistics.counters();
    let all = services.clients.all();
    let largest = |bytes: fn(&ClientInfo) -> usize| all.iter().map(|info| bytes(info)).max().unwrap_or(0);
    line(text, "connected_clients", all.len());
    line(text, "cluster_connections", 0);
    line(text, "maxclients", cx.config().maxclients);
    line(text, "client_recent_max_input_buffer", largest(|info| info.input_capacity.load(Relaxed)));
    line(text, "client_recent_max_output_buffer", largest(|info| info.output_bytes.load(Relaxed)));
    line(text, "blocked_clients", counters.gauge(Gauge::BlockedClients));
    line(text, "tracking_clients", counters.gauge(Gauge::TrackingClients));
    let timed = all.iter().filter(|info| info.has_timeout.load(Relaxed)).count();
    line(text, "clients_in_timeout_table", timed);
    line(text, "total_blocking_keys", 0);
    line(text, "total_blocking_keys_on_nokey", 0);
}

/// Bytes that a connection takes besides its buffers.
const CLIENT_BYTES: usize = 1024;

/// Bytes of all connections: their state, input and output.
pub fn client_bytes(cx: &Cx<'_, '_>) -> usize {
    let bytes = |info: &ClientInfo| {
        CLIENT_BYTES
            + info.input_capacity.load(Relaxed)
            + info.output_bytes.load(Relaxed)
            + info.queued_bytes.load(Relaxed)
    };
    cx.services().clients.all().iter().map(|info| bytes(info)).sum()
}

/// The numbers behind INFO memory and MEMORY STATS.
pub struct MemoryFacts {
    pub used: u64,
    pub peak: u64,
    pub startup: u64,
    pub clients: u64,
    /// What is used beside the keys and values themselves.
    pub overhead: u64,
    pub dataset: u64,
    /// Of what was allocated since the start, in percent.
    pub dataset_percent: f64,
    pub resident: u64,
    pub allocator: process::AllocatorBytes,
}

/// Gathers them.
pub fn memory_facts(cx: &Cx<'_, '_>) -> MemoryFacts {
    let used = allocator::used_bytes() as u64;
    let startup = cx.services().startup_bytes as u64;
    let clients = client_bytes(cx) as u64;
    let overhead = startup + clients;
    let dataset = used.saturating_sub(overhead);
    let since_start = used.saturating_sub(startup).max(1);
    MemoryFacts {
        used,
        peak: allocator::peak_bytes() as u64,
        startup,
        clients,
        overhead,
        dataset,
        dataset_percent: dataset as f64 * 100.0 / since_start as f64,
        resident: process::resident_bytes(),
        allocator: process::allocator_bytes(),
    }
}

/// `numerator / denominator`, and 0 without a denominator.
pub fn ratio(numerator: u64, denominator: u64) -> f64 {
    if denominator == 0 { 0.0 } else { numerator as f64 / denominator as f64 }
}

/// How much larger `first` is; negative if it is smaller.
pub fn difference(first: u64, second: u64) -> i64 {
    first as i64 - second as i64
}

pub fn memory(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let facts = memory_facts(cx);
    let both = |text: &mut Vec<u8>, name: &str, bytes: u64| {
        line(text, name, bytes);
        line(text, &format!("{name}_human"), human(bytes));
    };
    both(text, "used_memory", facts.used);
    both(text, "used_memory_rss", facts.resident);
    both(text, "used_memory_peak", facts.peak);
    line(text, "used_memory_peak_perc", format_args!("{:.2}%", ratio(facts.used, facts.peak) * 100.0));
    line(text, "used_memory_overhead", facts.overhead);
    line(text, "used_memory_startup", facts.startup);
    line(text, "used_memory_dataset", facts.dataset);
    line(text, "used_memory_dataset_perc", format_args!("{:.2}%", facts.dataset_percent));
    line(text, "allocator_allocated", facts.allocator.allocated);
    line(text, "allocator_active", facts.allocator.active);
    line(text, "allocator_resident", facts.allocator.resident);
    both(text, "total_system_memory", process::machine_bytes());
    scripting_memory(text);
    both(text, "maxmemory", cx.config().maxmemory);
    line(text, "maxmemory_policy", cx.config().maxmemory_policy.as_str());
    fragmentation(text, &facts);
    for name in ["mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers"] {
        line(text, name, 0);
    }
    line(text, "mem_clients_slaves", 0);
    line(text, "mem_clients_normal", facts.clients);
    line(text, "mem_cluster_links", 0);
    line(text, "mem_aof_buffer", cx.services().write_log.backlog_bytes());
    line(text, "mem_allocator", process::allocator_name());
    line(text, "active_defrag_running", 0);
    let reclaimer = cx.services().keyspace.reclaimer();
    line(text, "lazyfree_pending_objects", reclaimer.pending());
    line(text, "lazyfreed_objects", reclaimer.freed());
}

/// There are no scripts, but dashboards add these up.
fn scripting_memory(text: &mut Vec<u8>) {
    line(text, "used_memory_lua", 0);
    line(text, "used_memory_vm_eval", 0);
    line(text, "used_memory_lua_human", human(0));
    for name in ["used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions"] {
        line(text, name, 0);
    }
    for name in ["number_of_libraries", "used_memory_vm_functions", "used_memory_vm_total"] {
        line(text, name, 0);
    }
    line(text, "used_memory_vm_total_human", human(0));
    line(text, "used_memory_functions", 0);
    line(text, "used_memory_scripts", 0);
    line(text, "used_memory_scripts_human", human(0));
}

fn fragmentation(text: &mut Vec<u8>, facts: &MemoryFacts) {
    let allocator = facts.allocator;
    let mut pair = |name: &str, first: u64, second: u64| {
        line(text, &format!("{name}_ratio"), format_args!("{:.2}", ratio(first, second)));
        line(text, &format!("{name}_bytes"), difference(first, second));
    };
    pair("allocator_frag", allocator.active, allocator.allocated);
    pair("allocator_rss", allocator.resident, allocator.active);
    pair("rss_overhead", facts.resident, allocator.resident);
    pair("mem_fragmentation", facts.resident, facts.used);
}

pub fn replication(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_replid", cx.services().replication_id.lock());
    line(text, "master_replid2", "0".repeat(40));
    line(text, "master_repl_offset", 0);
    line(text, "second_repl_offset", -1);
    line(text, "repl_backlog_active", 0);
    line(text, "repl_backlog_size", 1 << 20);
    line(text, "repl_backlog_first_byte_offset", 0);
    line(text, "repl_backlog_histlen", 0);
}

pub fn cpu(_: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let (all, main) = (process::process_cpu(), process::main_thread_cpu());
    for (name, seconds) in [
        ("used_cpu_sys", all.system),
        ("used_cpu_user", all.user),
        ("used_cpu_sys_children", all.children_system),
        ("used_cpu_user_children", all.children_user),
        ("used_cpu_sys_main_thread", main.system),
        ("used_cpu_user_main_thread", main.user),
    ] {
        line(text, name, format_args!("{seconds:.6}"));
    }
}

/// Keys and volatile keys of each database that has any.
pub fn key_counts(cx: &mut Cx<'_, '_>) -> BTreeMap<usize, (usize, usize)> {
    let mut counts = BTreeMap::<usize, (usize, usize)>::new();
    cx.locked.each_shard(0, |_, shard| {
        for (database, partition) in shard.used().filter(|(_, partition)| !partition.is_empty()) {
            let (keys, volatile) = counts.entry(database).or_default();
            *keys += partition.len();
            *volatile += partition.volatile();
        }
        true
    });
    counts
}

/// Entries of one table that an estimate looks at, and the slots where it looks for them.
const ESTIMATE_ENTRIES: usize = 4;
const ESTIMATE_SLOTS: usize = 16;
/// Entries that the estimates of all databases look at together: some hundred microseconds' work.
const ESTIMATE_ENTRIES_MAX: usize = 4096;

/// What a few volatile keys of a database say of all of them.
#[derive(Clone, Copy, Default)]
struct TtlEstimate {
    /// Each looked-at table's mean, times its volatile keys.
    weighted_ms: f64,
    weight: f64,
}

impl TtlEstimate {
    /// Adds some of a table's entries. Keys whose time has passed do not count, as in Redis. Gives how many entries it looked at.
    fn add(&mut self, partition: &Partition, from: usize, now_ms: i64) -> usize {
        let table = partition.table();
        let (mut looked_at, mut volatile, mut sum_ms) = (0, 0, 0.0);
        for position in table.sample(from, ESTIMATE_ENTRIES, ESTIMATE_SLOTS) {
            looked_at += 1;
            let left_ms = table.entry(position).expire_at_ms().map_or(0, |at_ms| at_ms - now_ms);
            if left_ms > 0 {
                volatile += 1;
                sum_ms += left_ms as f64;
            }
        }
        if volatile > 0 {
            let weight = partition.volatile() as f64;
            self.weighted_ms += sum_ms / f64::from(volatile) * weight;
            self.weight += weight;
        }
        looked_at
    }

    fn mean_ms(self) -> i64 {
        if self.weight > 0.0 { (self.weighted_ms / self.weight) as i64 } else { 0 }
    }
}

pub fn keyspace(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let now_ms = cx.now_ms();
    let from = cx.state.random.next_u64() as usize;
    let mut estimates = BTreeMap::<usize, TtlEstimate>::new();
    let mut entries_left = ESTIMATE_ENTRIES_MAX;
    cx.locked.each_shard(0, |_, shard| {
        for (database, partition) in shard.used() {
            if partition.volatile() > 0 {
                let estimate = estimates.entry(database).or_default();
                entries_left = entries_left.saturating_sub(estimate.add(partition, from, now_ms));
            }
        }
        entries_left > 0
    });
    for (database, (keys, volatile)) in key_counts(cx) {
        let avg_ttl = estimates.get(&database).copied().unwrap_or_default().mean_ms();
        line(
            text,
            &format!("db{database}"),
            format_args!("keys={keys},expires={volatile},avg_ttl={avg_ttl}"),
        );
    }
}

/// How far the keys of one shard and database are counted that are due: those who wait for the shard must not wait for the counting.
const COUNTED_DUE_MAX: usize = 4096;

/// What Redis has no field for: how well expiry keeps up, and how the server is laid out.
pub fn cloakroom(cx: &mut Cx<'_, '_>, text: &mut Vec<u8>) {
    let (services, now_ms) = (cx.services(), cx.now_ms());
    let keyspace = &services.keyspace;
    let (mut records, mut resident, mut lag_ms) = (0, 0, 0);
    cx.locked.each_shard(0, |index, shard| {
        for (database, partition) in shard.used() {
            let site = Site { keyspace, database, shard: index, now_ms };
            records += partition.records();
            let due = partition.due_records(site, COUNTED_DUE_MAX);
            resident += due;
            if due > 0 {
                lag_ms = lag_ms.max(partition.lag_ms(site));
            }
        }
        true
    });
    line(text, "event_loops", services.identity.loops);
    line(text, "expired_keys_resident", resident);
    line(text, "expiry_wheel_lag_ms", lag_ms);
    line(text, "expiry_records", records);
}
