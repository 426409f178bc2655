//! Rows: logs, slow requests, latency statistics, keyspace events.

use super::{Directive, Effect, Group, Kind, LONG_COUNT, field};
use crate::config::choices::{LogFormat, LogLevel};

/// The group.
pub const GROUP: Group = Group { title: "Logs and events", rows: ROWS };

const NO_SYSLOG: &str = "Logs go to standard output or to `logfile`.";

const ROWS: &[Directive] = &[
    Directive::new(
        "loglevel",
        Kind::Choice(LogLevel::WORDS),
        "notice",
        "How much is logged.",
        field!(loglevel),
    ),
    Directive::new(
        "log-format",
        Kind::Choice(LogFormat::WORDS),
        "text",
        "Shape of a log line: for people, or one JSON object.",
        field!(log_format),
    )
    .fixed(),
    Directive::new("logfile", Kind::Text, "", "Log file; empty logs to standard output.", field!(logfile))
        .immutable(),
    Directive::accepted("syslog-enabled", Kind::Bool, "no", NO_SYSLOG).immutable(),
    Directive::accepted("syslog-ident", Kind::Text, "redis", NO_SYSLOG).immutable(),
    Directive::accepted(
        "syslog-facility",
        Kind::Choice(&[
            "user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
        ]),
        "local0",
        NO_SYSLOG,
    )
    .immutable(),
    Directive::new(
        "slowlog-log-slower-than",
        Kind::Integer { min: -1, max: i64::MAX },
        "10000",
        "Microseconds from which a request enters the slow log; 0 logs all, -1 none.",
        field!(slowlog_log_slower_than),
    ),
    Directive::new(
        "slowlog-max-len",
        LONG_COUNT,
        "128",
        "Entries that the slow log keeps.",
        field!(slowlog_max_len),
    ),
    Directive::new(
        "latency-monitor-threshold",
        LONG_COUNT,
        "0",
        "Milliseconds from which an event enters the latency monitor; 0 switches it off.",
        field!(latency_monitor_threshold),
    ),
    Directive::new(
        "latency-tracking",
        Kind::Bool,
        "yes",
        "Keep a latency histogram per command.",
        field!(latency_tracking),
    ),
    Directive::new(
        "latency-tracking-info-percentiles",
        Kind::Percentiles,
        "50 99 99.9",
        "Percentiles that INFO latencystats shows.",
        field!(latency_tracking_info_percentiles),
    ),
    Directive::new(
        "notify-keyspace-events",
        Kind::NotifyFlags,
        "",
        "Classes of keyspace events to publish, and on which channels; empty publishes none.",
        field!(notify_keyspace_events),
    ),
    Directive::accepted(
        "crash-log-enabled",
        Kind::Bool,
        "yes",
        "A crash leaves a core dump, if the system keeps one.",
    ),
    Directive::accepted("crash-memcheck-enabled", Kind::Bool, "yes", "Memory is not tested after a crash."),
    Directive::accepted(
        "watchdog-period",
        Kind::Integer { min: 0, max: i32::MAX as i64 },
        "0",
        "No signal handler looks at what a loop does.",
    )
    .hidden(),
];
