//! Rows: the process itself.

use super::{COUNT, Directive, Effect, Group, Kind, field};
use crate::config::choices::Supervision;

/// The group.
pub const GROUP: Group = Group { title: "Server", rows: ROWS };

const NO_CPU_LIST: &str = "Event loops are placed on cores by the server itself.";

const ROWS: &[Directive] = &[
    Directive::new(
        "databases",
        Kind::Integer { min: 1, max: 65536 },
        "16",
        "Databases that SELECT reaches.",
        field!(databases),
    )
    .immutable(),
    Directive::new(
        "hz",
        Kind::ClampedInteger { min: 1, max: 500 },
        "10",
        "Rounds of background work a second.",
        field!(hz),
    ),
    Directive::accepted("dynamic-hz", Kind::Bool, "yes", "Background work does not grow with idle clients."),
    Directive::new(
        "pidfile",
        Kind::Text,
        "",
        "File that gets the process id; empty for none.",
        field!(pidfile),
    )
    .immutable(),
    Directive::new(
        "shutdown-timeout",
        COUNT,
        "10",
        "Seconds that a shutdown waits for clients to read their replies; one with NOW does not wait.",
        field!(shutdown_timeout),
    ),
    Directive::new(
        "shutdown-on-sigterm",
        Kind::ShutdownOptions,
        "default",
        "How SIGTERM shuts down.",
        field!(shutdown_on_sigterm),
    ),
    Directive::new(
        "shutdown-on-sigint",
        Kind::ShutdownOptions,
        "default",
        "How SIGINT shuts down.",
        field!(shutdown_on_sigint),
    ),
    Directive::new(
        "daemonize",
        Kind::Bool,
        "no",
        "Run in the background, unless a service manager supervises the server: the command returns at once, and the log needs a `logfile`.",
        field!(daemonize),
    )
    .immutable(),
    Directive::new(
        "supervised",
        Kind::Choice(Supervision::WORDS),
        "no",
        "Which service manager is told that the server is ready: systemd by NOTIFY_SOCKET, upstart by SIGSTOP, or whichever the environment names.",
        field!(supervised),
    )
    .immutable(),
    Directive::accepted("set-proc-title", Kind::Bool, "yes", "The process title is left alone.").immutable(),
    Directive::accepted(
        "proc-title-template",
        Kind::Text,
        "{title} {listen-addr} {server-mode}",
        "The process title is left alone.",
    ),
    Directive::accepted("always-show-logo", Kind::Bool, "no", "There is no logo.").immutable(),
    Directive::accepted("ignore-warnings", Kind::Text, "", "There are no warnings that stop the start."),
    Directive::accepted("locale-collate", Kind::Text, "", "Strings are compared by bytes."),
    Directive::accepted("use-exit-on-panic", Kind::Bool, "no", "A debugging aid of Redis.").hidden(),
    Directive::accepted("server_cpulist", Kind::Text, "", NO_CPU_LIST).immutable(),
    Directive::accepted("bio_cpulist", Kind::Text, "", NO_CPU_LIST).immutable(),
    Directive::accepted("aof_rewrite_cpulist", Kind::Text, "", NO_CPU_LIST).immutable(),
    Directive::accepted("bgsave_cpulist", Kind::Text, "", NO_CPU_LIST).immutable(),
];
