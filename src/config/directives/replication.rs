//! Rows: replication, which does not exist yet. Clients read some of these when they connect.

use super::{COUNT, Directive, Group, Kind, LONG_COUNT, PORT, POSITIVE};

/// The group.
pub const GROUP: Group = Group { title: "Replication", rows: ROWS };

const NO_REPLICATION: &str = "There is no replication yet: the server is always a primary.";

const ROWS: &[Directive] = &[
    Directive::accepted("replicaof", Kind::Primary, "", NO_REPLICATION).alias("slaveof").immutable(),
    Directive::accepted("masteruser", Kind::Text, "", NO_REPLICATION).secret(),
    Directive::accepted("masterauth", Kind::Bytes, "", NO_REPLICATION).secret(),
    Directive::accepted("replica-read-only", Kind::Bool, "yes", NO_REPLICATION).alias("slave-read-only"),
    Directive::accepted("replica-serve-stale-data", Kind::Bool, "yes", NO_REPLICATION)
        .alias("slave-serve-stale-data"),
    Directive::accepted("replica-lazy-flush", Kind::Bool, "no", NO_REPLICATION).alias("slave-lazy-flush"),
    Directive::accepted("replica-ignore-maxmemory", Kind::Bool, "yes", NO_REPLICATION)
        .alias("slave-ignore-maxmemory"),
    Directive::accepted("replica-ignore-disk-write-errors", Kind::Bool, "no", NO_REPLICATION),
    Directive::accepted("replica-priority", COUNT, "100", NO_REPLICATION).alias("slave-priority"),
    Directive::accepted("replica-announce-ip", Kind::Text, "", NO_REPLICATION).alias("slave-announce-ip"),
    Directive::accepted("replica-announce-port", PORT, "0", NO_REPLICATION).alias("slave-announce-port"),
    Directive::accepted("replica-announced", Kind::Bool, "yes", NO_REPLICATION),
    Directive::accepted("repl-diskless-sync", Kind::Bool, "yes", NO_REPLICATION),
    Directive::accepted("repl-diskless-sync-delay", COUNT, "5", NO_REPLICATION),
    Directive::accepted("repl-diskless-sync-max-replicas", COUNT, "0", NO_REPLICATION),
    Directive::accepted(
        "repl-diskless-load",
        Kind::Choice(&["disabled", "on-empty-db", "swapdb"]),
        "disabled",
        NO_REPLICATION,
    ),
    Directive::accepted("repl-disable-tcp-nodelay", Kind::Bool, "no", NO_REPLICATION),
    Directive::accepted("repl-ping-replica-period", POSITIVE, "10", NO_REPLICATION)
        .alias("repl-ping-slave-period"),
    Directive::accepted("repl-timeout", POSITIVE, "60", NO_REPLICATION),
    Directive::accepted(
        "repl-backlog-size",
        Kind::Memory { min: 1, max: i64::MAX as u64 },
        "1mb",
        NO_REPLICATION,
    ),
    Directive::accepted("repl-backlog-ttl", LONG_COUNT, "3600", NO_REPLICATION),
    Directive::accepted("min-replicas-to-write", COUNT, "0", NO_REPLICATION).alias("min-slaves-to-write"),
    Directive::accepted("min-replicas-max-lag", COUNT, "10", NO_REPLICATION).alias("min-slaves-max-lag"),
    Directive::accepted(
        "propagation-error-behavior",
        Kind::Choice(&["ignore", "panic", "panic-on-replicas"]),
        "ignore",
        NO_REPLICATION,
    ),
];
