//! Rows: how much memory the keyspace takes, what goes when it is full, and how memory is given back.

use super::{COUNT, Directive, Effect, Group, Kind, POSITIVE, field};
use crate::config::choices::EvictionPolicy;

/// The group.
pub const GROUP: Group = Group { title: "Memory", rows: ROWS };

const ALWAYS_LAZY: &str = "What is large is always freed by a thread of its own.";
const NO_DEFRAGMENTATION: &str = "The allocator is not asked to move entries.";

const ROWS: &[Directive] = &[
    Directive::new(
        "maxmemory",
        Kind::Memory { min: 0, max: u64::MAX },
        "0",
        "Bytes that the server may use before it evicts; 0 is no limit.",
        field!(maxmemory),
    ),
    Directive::new(
        "maxmemory-policy",
        Kind::Choice(EvictionPolicy::WORDS),
        "noeviction",
        "Which keys are evicted when `maxmemory` is reached.",
        field!(maxmemory_policy),
    ),
    Directive::new(
        "maxmemory-samples",
        POSITIVE,
        "5",
        "Keys compared for each eviction: more is closer to the exact policy and slower.",
        field!(maxmemory_samples),
    ),
    Directive::new(
        "maxmemory-eviction-tenacity",
        Kind::Integer { min: 0, max: 100 },
        "10",
        "How long one command may spend evicting: 0 is shortest, 100 until enough is free.",
        field!(maxmemory_eviction_tenacity),
    ),
    Directive::new(
        "lfu-log-factor",
        COUNT,
        "10",
        "How slowly the access counter of the LFU policies saturates.",
        field!(lfu_log_factor),
    ),
    Directive::new(
        "lfu-decay-time",
        COUNT,
        "1",
        "Minutes after which the access counter of the LFU policies is decremented; 0 never.",
        field!(lfu_decay_time),
    ),
    Directive::accepted("lazyfree-lazy-eviction", Kind::Bool, "no", ALWAYS_LAZY),
    Directive::accepted("lazyfree-lazy-expire", Kind::Bool, "no", ALWAYS_LAZY),
    Directive::accepted("lazyfree-lazy-server-del", Kind::Bool, "no", ALWAYS_LAZY),
    Directive::accepted("lazyfree-lazy-user-del", Kind::Bool, "no", ALWAYS_LAZY),
    Directive::accepted("lazyfree-lazy-user-flush", Kind::Bool, "no", ALWAYS_LAZY),
    Directive::new(
        "active-expire-effort",
        Kind::Integer { min: 1, max: 10 },
        "1",
        "How much expiry may do at a time when it is behind: 2,000 records of the wheel, times this, between two looks at the sockets.",
        field!(active_expire_effort),
    ),
    Directive::accepted("activerehashing", Kind::Bool, "yes", "Tables are small enough to grow in one step."),
    Directive::accepted(
        "jemalloc-bg-thread",
        Kind::Bool,
        "yes",
        "The allocator's thread is set up at build time.",
    ),
    Directive::accepted("activedefrag", Kind::Bool, "no", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-ignore-bytes", DEFRAG_BYTES, "100mb", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-threshold-lower", DEFRAG_PERCENT, "10", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-threshold-upper", DEFRAG_PERCENT, "100", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-cycle-min", DEFRAG_CYCLE, "1", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-cycle-max", DEFRAG_CYCLE, "25", NO_DEFRAGMENTATION),
    Directive::accepted("active-defrag-max-scan-fields", DEFRAG_FIELDS, "1000", NO_DEFRAGMENTATION),
    Directive::accepted(
        "disable-thp",
        Kind::Bool,
        "yes",
        "There is no fork that huge pages would make slow.",
    )
    .immutable(),
    Directive::accepted(
        "oom-score-adj",
        Kind::Choice(&["no", "yes", "relative", "absolute"]),
        "no",
        "The process does not change its own OOM score.",
    ),
    Directive::accepted(
        "oom-score-adj-values",
        Kind::OomScores,
        "0 200 800",
        "The process does not change its own OOM score.",
    ),
];

const DEFRAG_BYTES: Kind = Kind::Memory { min: 1, max: i64::MAX as u64 };
const DEFRAG_PERCENT: Kind = Kind::Integer { min: 0, max: 1000 };
const DEFRAG_CYCLE: Kind = Kind::Integer { min: 1, max: 99 };
const DEFRAG_FIELDS: Kind = Kind::Integer { min: 1, max: i64::MAX };
