//! Rows: snapshots and the write log.

use super::{COUNT, Directive, Effect, Group, Kind, LARGE_MEMORY, MEMORY, field};
use crate::config::choices::AppendFsync;

/// The group.
pub const GROUP: Group = Group { title: "Persistence", rows: ROWS };

const ROWS: &[Directive] = &[
    Directive::new(
        "dir",
        Kind::Text,
        "./cloakroom-data",
        "Directory of everything that the server writes.",
        field!(dir),
    )
    .protected_immutable(),
    Directive::new(
        "dbfilename",
        Kind::FileName { is_path: "dbfilename can't be a path, just a filename", is_empty: None },
        "dump.rdb",
        "Name of an RDB file in `dir` that is imported at the start (a change of it counts at the next one) if there is nothing else in it, no log of Redis either.",
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
    Directive::accepted(
        "rdbcompression",
        Kind::Bool,
        "yes",
        "Snapshots have a format of their own, see snapshot-compression; what DUMP gives is always compressed.",
    ),
    Directive::accepted("rdbchecksum", Kind::Bool, "yes", "Every block of a snapshot has a checksum that is always verified.")
        .immutable(),
    Directive::new(
        "snapshot-compression",
        Kind::Bool,
        "yes",
        "Compress the blocks of a snapshot with zstd.",
        field!(snapshot_compression),
    ),
    Directive::new(
        "encryption-key-file",
        Kind::Text,
        "",
        "A file with the key that encrypts snapshots and the write log: 32 bytes as 64 hexadecimal digits or in base64. Empty: no encryption.",
        field!(encryption_key_file),
    )
    .immutable()
    .hidden(),
    Directive::new(
        "encryption-key-env",
        Kind::Text,
        "",
        "The name of an environment variable that holds the key, instead of a file.",
        field!(encryption_key_env),
    )
    .immutable()
    .hidden(),
    Directive::new(
        "encryption-key-command",
        Kind::Text,
        "",
        "A command whose standard output is the key, instead of a file; it is run by /bin/sh when the server starts.",
        field!(encryption_key_command),
    )
    .immutable()
    .hidden(),
    Directive::new(
        "encryption-accept-plaintext",
        Kind::Bool,
        "no",
        "With an encryption key, read files that were written without it, too: for the first start with a key. What is written from then on is encrypted, and after a save all is.",
        field!(encryption_accept_plaintext),
    )
    .fixed(),
    Directive::new("appendonly", Kind::Bool, "yes", "Keep a log of writes.", field!(appendonly)),
    Directive::new(
        "appendfsync",
        Kind::Choice(AppendFsync::WORDS),
        "everysec",
        "When the write log is flushed to disk.",
        field!(appendfsync),
    ),
    Directive::new(
        "expire-log-slack",
        Kind::Integer { min: 0, max: 50 },
        "2",
        "How much longer than its TTL a key may live after a crash, in percent of the TTL but at least a second: moving a deadline by less than this is not logged. 0 logs every move.",
        field!(expire_log_slack),
    ),
    Directive::new(
        "write-log-buffer-limit",
        LARGE_MEMORY,
        "64mb",
        "Writes wait while so many bytes of the write log are on their way to the disk.",
        field!(write_log_buffer_limit),
    ),
    Directive::new(
        "auto-aof-rewrite-percentage",
        COUNT,
        "100",
        "Take a new snapshot as base of the write log when the log has grown by so many percent of the base, as it is before compression; 0 never.",
        field!(auto_aof_rewrite_percentage),
    ),
    Directive::new(
        "auto-aof-rewrite-min-size",
        MEMORY,
        "64mb",
        "But not before the log is as large as this.",
        field!(auto_aof_rewrite_min_size),
    ),
    Directive::new(
        "aof-load-truncated",
        Kind::Bool,
        "yes",
        "At the start, cut a record off that was torn when the machine stopped; `no` refuses to start then.",
        field!(aof_load_truncated),
    ),
    Directive::new(
        "appendfilename",
        Kind::FileName {
            is_path: "appendfilename can't be a path, just a filename",
            is_empty: Some("appendfilename can't be empty"),
        },
        "appendonly.aof",
        "What the names of the files of Redis's log begin with, which is imported at the start if there is nothing else in `dir`; before Redis 7 the log is one file of this name. Our own log names its files itself.",
        field!(appendfilename),
    )
    .immutable(),
    Directive::new(
        "appenddirname",
        Kind::FileName {
            is_path: "appenddirname can't be a path, just a dirname",
            is_empty: Some("appenddirname can't be empty"),
        },
        "appendonlydir",
        "Name of the folder in `dir` that has Redis's log since Redis 7; see appendfilename.",
        field!(appenddirname),
    )
    .immutable(),
    Directive::accepted("no-appendfsync-on-rewrite", Kind::Bool, "no", "A snapshot does not disturb the log."),
    Directive::accepted(
        "aof-rewrite-incremental-fsync",
        Kind::Bool,
        "yes",
        "Snapshots are always flushed in steps.",
    ),
    Directive::accepted("aof-disable-auto-gc", Kind::Bool, "no", "Files that no manifest names are always removed."),
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
