//! Rows: cluster mode, which does not exist yet.

use super::{COUNT, Directive, Group, Kind, LONG_COUNT, PORT};

/// The group.
pub const GROUP: Group = Group { title: "Cluster", rows: ROWS };

const NO_CLUSTER: &str = "There is no cluster mode yet: one server holds all slots.";

const ROWS: &[Directive] = &[
    Directive::accepted("cluster-enabled", Kind::Bool, "no", NO_CLUSTER).immutable(),
    Directive::accepted("cluster-config-file", Kind::Text, "nodes.conf", NO_CLUSTER).immutable(),
    Directive::accepted("cluster-port", PORT, "0", NO_CLUSTER).immutable(),
    Directive::accepted("cluster-node-timeout", LONG_COUNT, "15000", NO_CLUSTER),
    Directive::accepted("cluster-migration-barrier", COUNT, "1", NO_CLUSTER),
    Directive::accepted("cluster-replica-validity-factor", COUNT, "10", NO_CLUSTER)
        .alias("cluster-slave-validity-factor"),
    Directive::accepted("cluster-replica-no-failover", Kind::Bool, "no", NO_CLUSTER)
        .alias("cluster-slave-no-failover"),
    Directive::accepted("cluster-require-full-coverage", Kind::Bool, "yes", NO_CLUSTER),
    Directive::accepted("cluster-allow-reads-when-down", Kind::Bool, "no", NO_CLUSTER),
    Directive::accepted("cluster-allow-pubsubshard-when-down", Kind::Bool, "yes", NO_CLUSTER),
    Directive::accepted("cluster-allow-replica-migration", Kind::Bool, "yes", NO_CLUSTER),
    Directive::accepted("cluster-announce-ip", Kind::Text, "", NO_CLUSTER),
    Directive::accepted("cluster-announce-hostname", Kind::Text, "", NO_CLUSTER),
    Directive::accepted("cluster-announce-human-nodename", Kind::Text, "", NO_CLUSTER),
    Directive::accepted("cluster-announce-port", PORT, "0", NO_CLUSTER),
    Directive::accepted("cluster-announce-tls-port", PORT, "0", NO_CLUSTER),
    Directive::accepted("cluster-announce-bus-port", PORT, "0", NO_CLUSTER),
    Directive::accepted(
        "cluster-link-sendbuf-limit",
        Kind::Memory { min: 0, max: u64::MAX },
        "0",
        NO_CLUSTER,
    ),
    Directive::accepted(
        "cluster-preferred-endpoint-type",
        Kind::Choice(&["ip", "hostname", "unknown-endpoint"]),
        "ip",
        NO_CLUSTER,
    ),
];
