//! Rows: where the server listens, and how it treats connections.

use super::{COUNT, Directive, Effect, Group, Kind, PORT, field};

/// The group.
pub const GROUP: Group = Group { title: "Network", rows: ROWS };

const ROWS: &[Directive] = &[
    Directive::new(
        "bind",
        Kind::Words,
        "127.0.0.1 -::1",
        "Addresses to listen on; `*` and `::*` mean every interface, and a leading `-` lets the server start \
         when the address does not exist.",
        field!(bind),
    ),
    Directive::new("port", PORT, "6379", "TCP port; 0 listens on no port.", field!(port)),
    Directive::new(
        "unixsocket",
        Kind::Text,
        "",
        "Path of a Unix socket to listen on; empty for none.",
        field!(unixsocket),
    )
    .immutable(),
    Directive::new(
        "unixsocketperm",
        Kind::FileMode,
        "0",
        "Permissions of the Unix socket; 0 leaves them to the umask.",
        field!(unixsocketperm),
    )
    .immutable(),
    Directive::new(
        "tcp-backlog",
        COUNT,
        "511",
        "Connections that the operating system queues before they are accepted.",
        field!(tcp_backlog),
    )
    .immutable(),
    Directive::new(
        "tcp-keepalive",
        COUNT,
        "300",
        "Seconds between probes of silent connections; 0 sends none.",
        field!(tcp_keepalive),
    ),
    Directive::new(
        "timeout",
        COUNT,
        "0",
        "Seconds after which an idle client is closed; 0 keeps it for ever.",
        field!(timeout),
    ),
    Directive::new(
        "maxclients",
        Kind::Integer { min: 1, max: u32::MAX as i64 },
        "10000",
        "Connections at the same time; the next one is answered with an error and closed.",
        field!(maxclients),
    ),
    Directive::new(
        "threads",
        Kind::Integer { min: 0, max: 1024 },
        "0",
        "Event loops; 0 starts one per core.",
        field!(threads),
    )
    .fixed(),
    Directive::accepted(
        "io-threads",
        Kind::Integer { min: 1, max: 128 },
        "1",
        "Whole requests run on event loops, see `threads`.",
    )
    .immutable(),
    Directive::accepted(
        "io-threads-do-reads",
        Kind::Bool,
        "no",
        "Whole requests run on event loops, see `threads`.",
    )
    .immutable(),
    Directive::accepted(
        "socket-mark-id",
        Kind::Integer { min: 0, max: u32::MAX as i64 },
        "0",
        "Sockets are not marked for packet filters.",
    )
    .immutable(),
    Directive::accepted(
        "bind-source-addr",
        Kind::Text,
        "",
        "MIGRATE, the only command that opens connections, lets the system choose the address.",
    ),
    Directive::accepted(
        "max-new-connections-per-cycle",
        Kind::Integer { min: 1, max: 1000 },
        "10",
        "One thread accepts all connections, so a burst does not delay requests.",
    ),
];
