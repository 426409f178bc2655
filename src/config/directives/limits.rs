//! Rows: limits on what one client may send, make the server keep, or hold it up with.

use super::{Directive, Effect, Group, Kind, LARGE_MEMORY, LONG_COUNT, MEMORY, field};

/// The group.
pub const GROUP: Group = Group { title: "Limits of clients", rows: ROWS };

const ROWS: &[Directive] = &[
    Directive::new(
        "proto-max-bulk-len",
        LARGE_MEMORY,
        "512mb",
        "Longest single argument of a request.",
        field!(proto_max_bulk_len),
    ),
    Directive::new(
        "proto-max-multibulk-len",
        Kind::Integer { min: 16, max: i32::MAX as i64 },
        "2147483647",
        "Most arguments of one request; what they take in memory counts as unprocessed input.",
        field!(proto_max_multibulk_len),
    ),
    Directive::new(
        "proto-inline-max-size",
        Kind::Memory { min: 1 << 10, max: 1 << 30 },
        "64kb",
        "Longest inline request, and longest line of a header.",
        field!(proto_inline_max_size),
    ),
    Directive::new(
        "unauthenticated-max-bulk-len",
        MEMORY,
        "16kb",
        "Longest single argument before the client has authenticated.",
        field!(unauthenticated_max_bulk_len),
    ),
    Directive::new(
        "unauthenticated-max-multibulk-len",
        Kind::Integer { min: 1, max: i32::MAX as i64 },
        "10",
        "Most arguments of one request before the client has authenticated.",
        field!(unauthenticated_max_multibulk_len),
    ),
    Directive::new(
        "client-query-buffer-limit",
        LARGE_MEMORY,
        "1gb",
        "Bytes of unprocessed input after which a client is closed.",
        field!(client_query_buffer_limit),
    ),
    Directive::new(
        "client-output-buffer-limit",
        Kind::OutputBufferLimits,
        "normal 0 0 0 slave 256mb 64mb 60 pubsub 32mb 8mb 60",
        "Bytes of unread replies after which a client is closed: at once beyond the hard limit, or when the soft \
         limit is exceeded for that many seconds; 0 is no limit. A client that has not authenticated is closed when it leaves \
         more than 16 KB unread.",
        field!(client_output_buffer_limit),
    ),
    Directive::new(
        "client-watch-limit",
        MEMORY,
        "64mb",
        "Memory that the watched keys of one client may take; WATCH is refused beyond it. 0 is no limit.",
        field!(client_watch_limit),
    ),
    Directive::new(
        "client-subscription-limit",
        MEMORY,
        "256mb",
        "Memory that the subscriptions of one client may take; SUBSCRIBE and its kin are refused beyond it. 0 is no limit.",
        field!(client_subscription_limit),
    ),
    Directive::new(
        "delivery-buffer-limit",
        MEMORY,
        "4mb",
        "Messages, keyspace events and lines of MONITOR that are on their way from one event loop to another's clients, in bytes that these count as. Above it, requests that would send more wait.",
        field!(delivery_buffer_limit),
    ),
    Directive::new(
        "maxmemory-clients",
        Kind::MemoryOrPercent,
        "0",
        "Memory of all connections together, beyond which the largest ones are closed; 0 is no limit.",
        field!(maxmemory_clients),
    ),
    Directive::accepted(
        "tracking-table-max-keys",
        LONG_COUNT,
        "1000000",
        "There is no client-side caching yet.",
    ),
    Directive::accepted("busy-reply-threshold", LONG_COUNT, "5000", "There are no scripts yet.")
        .alias("lua-time-limit"),
    Directive::accepted("lua-enable-deprecated-api", Kind::Bool, "no", "There are no scripts.")
        .immutable()
        .hidden(),
];
