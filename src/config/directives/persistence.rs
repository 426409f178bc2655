//! Rows: snapshots and the write log.

use super::{COUNT, Directive, Effect, Group, Kind, MEMORY, field};
use crate::config::choices::AppendFsync;

/// The group.
pub const GROUP: Group = Group { title: "Persistence", rows: ROWS };

const NO_LOG_REWRITE: &str = "The write log is not rewritten yet.";

const ROWS: &[Directive] = &[
    Directive::new(
        "dir",
        Kind::Text,
        "./cloakroom-data",
        "Directory of everything that the server writes.",
        field!(dir),
    )
    .protected(),
    Directive::new(
        "dbfilename",
        Kind::FileName { is_path: "dbfilename can't be a path, just a filename", is_empty: None },
        "dump.rdb",
        "Name of the snapshot in `dir`.",
        field!(dbfilename),
    )
    .protected(),
    Directive::new(
        "save",
        Kind::SavePoints,
        "3600 1 300 100 60 10000",
        "Save after so many seconds if there were at least so many changes; `\"\"` never saves.",
        field!(save),
    ),
    Directive::new(
        "stop-writes-on-bgsave-error",
        Kind::Bool,
        "yes",
        "Refuse writes after a save failed, until one succeeds.",
        field!(stop_writes_on_bgsave_error),
    ),
    Directive::new(
        "rdbcompression",
        Kind::Bool,
        "yes",
        "Compress long strings of a snapshot.",
        field!(rdbcompression),
    ),
    Directive::new(
        "rdbchecksum",
        Kind::Bool,
        "yes",
        "End a snapshot with a checksum and verify it.",
        field!(rdbchecksum),
    )
    .immutable(),
    Directive::new("appendonly", Kind::Bool, "no", "Keep a log of writes.", field!(appendonly)),
    Directive::new(
        "appendfsync",
        Kind::Choice(AppendFsync::WORDS),
        "everysec",
        "When the write log is flushed to disk.",
        field!(appendfsync),
    ),
    Directive::accepted(
        "appendfilename",
        Kind::FileName {
            is_path: "appendfilename can't be a path, just a filename",
            is_empty: Some("appendfilename can't be empty"),
        },
        "appendonly.aof",
        "The write log names its own files.",
    )
    .immutable(),
    Directive::accepted(
        "appenddirname",
        Kind::FileName {
            is_path: "appenddirname can't be a path, just a dirname",
            is_empty: Some("appenddirname can't be empty"),
        },
        "appendonlydir",
        "The write log names its own files.",
    )
    .immutable(),
    Directive::accepted("no-appendfsync-on-rewrite", Kind::Bool, "no", NO_LOG_REWRITE),
    Directive::accepted("auto-aof-rewrite-percentage", COUNT, "100", NO_LOG_REWRITE),
    Directive::accepted("auto-aof-rewrite-min-size", MEMORY, "64mb", NO_LOG_REWRITE),
    Directive::accepted("aof-rewrite-incremental-fsync", Kind::Bool, "yes", NO_LOG_REWRITE),
    Directive::accepted("aof-disable-auto-gc", Kind::Bool, "no", NO_LOG_REWRITE),
    Directive::accepted("aof-load-truncated", Kind::Bool, "yes", "A torn last record is always cut off."),
    Directive::accepted(
        "aof-use-rdb-preamble",
        Kind::Bool,
        "yes",
        "The write log always starts from a snapshot.",
    ),
    Directive::accepted("aof-timestamp-enabled", Kind::Bool, "no", "Records of the write log carry no time."),
    Directive::accepted(
        "rdb-save-incremental-fsync",
        Kind::Bool,
        "yes",
        "Snapshots are always flushed in steps.",
    ),
    Directive::accepted(
        "rdb-del-sync-files",
        Kind::Bool,
        "no",
        "There are no replicas that leave such files.",
    ),
    Directive::accepted(
        "rdb-key-save-delay",
        Kind::Integer { min: i32::MIN as i64, max: i32::MAX as i64 },
        "0",
        "A debugging aid of Redis.",
    )
    .hidden(),
    Directive::accepted(
        "key-load-delay",
        Kind::Integer { min: i32::MIN as i64, max: i32::MAX as i64 },
        "0",
        "A debugging aid of Redis.",
    )
    .hidden(),
    Directive::accepted(
        "loading-process-events-interval-bytes",
        Kind::Integer { min: 1024, max: i32::MAX as i64 },
        "2097152",
        "Loading runs beside the event loops.",
    )
    .hidden(),
];
