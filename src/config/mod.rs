//! Configuration: what an operator may set, its defaults, and the texts of CONFIG GET, SET and REWRITE.
//!
//! Owns the [`Config`] struct and the table of directives behind it. It is state only: nothing here opens a
//! socket, starts a thread or keeps a global, and a change of configuration is a new `Config` that the caller
//! puts in place. The invariant that matters: a `Config` only ever holds values that its table accepts.
//!
//! To add a directive, add its field below and its row in `directives/`; everything else follows from the
//! row.

mod choices;
mod directives;
mod file;
mod kind;
mod markdown;
mod notify;
mod rewrite;
mod value;
mod words;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::base::glob;

pub use choices::{AppendFsync, EvictionPolicy, HashFunction, LogFormat, LogLevel, Permission, Supervision};
pub use directives::{Change, Directive, Effect, GROUPS, Group, directives, find};
pub use file::{ConfigFile, LineError, LoadError, Loaded, Place, Source, Warning, load, read_files};
pub use kind::{Kind, ValueError, parse_memory};
pub use markdown::render_markdown;
pub use notify::NotifyFlags;
pub use rewrite::rewrite;
pub use value::{
    FileMode, MemoryOrPercent, OutputBufferLimit, OutputBufferLimits, SavePoint, ShutdownOptions, Value,
};

/// Declares `Config` and a private constructor that leaves each field empty. An empty field has no meaning:
/// only `Config::default`, which applies the defaults of the table, may use it, so no default is written
/// twice.
macro_rules! config {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// The configuration. Each field is named as its directive, with `_` for `-`; units and meaning are
        /// in the row and in docs/config.md.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[$doc])* pub $field: $type,)*
            /// What was set for directives without effect, by name.
            without_effect: BTreeMap<&'static str, Value>,
        }

        impl Config {
            fn empty() -> Config {
                Config { $($field: Default::default(),)* without_effect: BTreeMap::new() }
            }
        }
    };
}

config! {
    /// addresses, possibly with a leading `-`
    bind: Vec<String>,
    /// 0 for none
    port: u16,
    /// path, empty for none
    unixsocket: String,
    /// 0 leaves it to the umask
    unixsocketperm: FileMode,
    /// connections
    tcp_backlog: u32,
    /// seconds, 0 for off
    tcp_keepalive: u32,
    /// seconds, 0 for off
    timeout: u32,
    /// connections
    maxclients: u32,
    /// event loops, 0 for one per core
    threads: u32,
    /// refuse strangers while there is no password
    protected_mode: bool,
    /// empty for none
    requirepass: Vec<u8>,
    /// for `dbfilename`
    enable_protected_configs: Permission,
    /// for DEBUG
    enable_debug_command: Permission,
    /// of the key tables
    hash_function: HashFunction,
    /// bytes
    proto_max_bulk_len: u64,
    /// arguments
    proto_max_multibulk_len: u32,
    /// bytes
    proto_inline_max_size: u64,
    /// bytes
    unauthenticated_max_bulk_len: u64,
    /// arguments
    unauthenticated_max_multibulk_len: u32,
    /// bytes
    client_query_buffer_limit: u64,
    /// by class
    client_output_buffer_limit: OutputBufferLimits,
    /// bytes, 0 for no limit
    client_watch_limit: u64,
    /// bytes, 0 for no limit
    client_subscription_limit: u64,
    /// bytes
    delivery_buffer_limit: u64,
    /// of all connections
    maxmemory_clients: MemoryOrPercent,
    /// bytes, 0 for no limit
    maxmemory: u64,
    /// what goes when memory is full
    maxmemory_policy: EvictionPolicy,
    /// keys
    maxmemory_samples: u32,
    /// 0 to 100
    maxmemory_eviction_tenacity: u32,
    /// see the row
    lfu_log_factor: u32,
    /// minutes, 0 for never
    lfu_decay_time: u32,
    /// 1 to 10
    active_expire_effort: u32,
    /// path
    dir: String,
    /// name in `dir`
    dbfilename: String,
    /// empty for never
    save: Vec<SavePoint>,
    /// refuse writes after a failed save
    stop_writes_on_bgsave_error: bool,
    /// keep a write log
    appendonly: bool,
    /// flush the write log
    appendfsync: AppendFsync,
    /// percent of the TTL
    expire_log_slack: u32,
    /// bytes
    write_log_buffer_limit: u64,
    /// percent of growth, 0 for never
    auto_aof_rewrite_percentage: u32,
    /// bytes
    auto_aof_rewrite_min_size: u64,
    /// folder of Redis's log
    appenddirname: String,
    /// what the names of its files begin with
    appendfilename: String,
    /// cut a torn last record off
    aof_load_truncated: bool,
    /// compress blocks
    snapshot_compression: bool,
    /// path, empty for none
    encryption_key_file: String,
    /// name of a variable, empty for none
    encryption_key_env: String,
    /// shell command, empty for none
    encryption_key_command: String,
    /// read what was written without the key
    encryption_accept_plaintext: bool,
    /// how much is logged
    loglevel: LogLevel,
    /// shape of a line
    log_format: LogFormat,
    /// path, empty for standard output
    logfile: String,
    /// microseconds, -1 for off
    slowlog_log_slower_than: i64,
    /// entries
    slowlog_max_len: i64,
    /// milliseconds, 0 for off
    latency_monitor_threshold: i64,
    /// keep histograms
    latency_tracking: bool,
    /// 0 to 100 each
    latency_tracking_info_percentiles: Vec<f64>,
    /// bytes
    collection_leaf_bytes: u64,
    /// fields
    hash_max_listpack_entries: i64,
    /// bytes
    hash_max_listpack_value: u64,
    /// members
    set_max_intset_entries: i64,
    /// bytes
    hll_sparse_max_bytes: u64,
    /// bytes
    stream_node_max_bytes: u64,
    /// entries
    stream_node_max_entries: i64,
    /// members
    zset_max_listpack_entries: i64,
    /// bytes
    zset_max_listpack_value: u64,
    /// classes and channels
    notify_keyspace_events: NotifyFlags,
    /// databases
    databases: u32,
    /// rounds a second, 1 to 500
    hz: u32,
    /// path, empty for none
    pidfile: String,
    /// run in the background
    daemonize: bool,
    /// who hears when the server is ready
    supervised: Supervision,
    /// seconds
    shutdown_timeout: u32,
    /// what SIGTERM does
    shutdown_on_sigterm: ShutdownOptions,
    /// what SIGINT does
    shutdown_on_sigint: ShutdownOptions,
}

/// The defaults of the table.
impl Default for Config {
    fn default() -> Config {
        let mut config = Config::empty();
        for directive in directives() {
            if let Effect::Field { .. } = directive.effect {
                directive.store(&mut config, directive.default_value()).expect("a test stores every default");
            }
        }
        config
    }
}

impl Config {
    /// The defaults, but for what a test changes.
    #[cfg(test)]
    pub fn with(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::default();
        change(&mut config);
        config
    }

    /// Answers CONFIG GET: names and values of the directives that any of `patterns` matches, each once, in
    /// the order of the table; an alias is a name of its own. A pattern without `*`, `?` or `[` is a name.
    /// Case does not matter; a directive that is asked for by its name is called as the first such pattern calls it, as in Redis.
    pub fn get(&self, patterns: &[&[u8]]) -> Vec<(String, Vec<u8>)> {
        let mut found = Vec::new();
        for directive in directives() {
            for name in directive.names() {
                let Some(pattern) = patterns.iter().find(|each| is_asked_for(directive, name, each)) else {
                    continue;
                };
                let shown = if pattern.eq_ignore_ascii_case(name.as_bytes()) {
                    lossy(pattern)
                } else {
                    name.to_owned()
                };
                found.push((shown, directive.value(self).show()));
            }
        }
        found
    }

    /// Answers CONFIG SET: the configuration with all of `pairs` applied, or none of them.
    /// `protected_allowed` tells whether the client may change protected directives, see
    /// [`Permission::allows`]. The caller puts the result in place, after it did what a change needs (listen,
    /// change directory); where that fails, it answers [`SetError::Rejected`] with [`Rejection::NotApplied`].
    ///
    /// # Errors
    /// The first problem in Redis's order: first every name is checked, then every value.
    pub fn set(&self, pairs: &[(&[u8], &[u8])], protected_allowed: bool) -> Result<Config, SetError> {
        let mut rows: Vec<(&'static Directive, &'static str)> = Vec::with_capacity(pairs.len());
        for (name, _) in pairs {
            let (directive, spelled) =
                directives::find(name).ok_or_else(|| SetError::Unknown { name: name.to_vec() })?;
            let rejection = match directive.change {
                Change::Protected | Change::ProtectedImmutable if !protected_allowed => {
                    Some(Rejection::Protected)
                }
                Change::Immutable | Change::ProtectedImmutable => Some(Rejection::Immutable),
                _ if rows.iter().any(|(_, earlier)| *earlier == spelled) => Some(Rejection::Duplicate),
                _ => None,
            };
            if let Some(rejection) = rejection {
                return Err(SetError::Rejected { name: lossy(name), rejection });
            }
            rows.push((directive, spelled));
        }
        let mut changed = self.clone();
        for ((directive, spelled), (_, value)) in rows.iter().zip(pairs) {
            directive.assign(&mut changed, &[value]).map_err(|error| SetError::Rejected {
                name: (*spelled).to_string(),
                rejection: Rejection::Value(error),
            })?;
            if directive.change == Change::Fixed && directive.value(self) != directive.value(&changed) {
                let name = (*spelled).to_string();
                return Err(SetError::Rejected { name, rejection: Rejection::Immutable });
            }
        }
        Ok(changed)
    }

    /// The directives whose values differ in `other`.
    pub fn changes(&self, other: &Config) -> Vec<&'static Directive> {
        directives().filter(|directive| directive.value(self) != directive.value(other)).collect()
    }
}

/// Why CONFIG SET fails. `Display` writes the reply's text, error code included.
#[derive(Clone, Debug, PartialEq)]
pub enum SetError {
    /// There is no such directive.
    Unknown {
        /// as the client wrote it
        name: Vec<u8>,
    },
    /// One directive could not be changed, so nothing was.
    Rejected {
        /// of the directive
        name: String,
        /// why
        rejection: Rejection,
    },
}

/// Why one directive could not be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// only at start
    Immutable,
    /// not for this client
    Protected,
    /// named twice
    Duplicate,
    /// not a value of the directive
    Value(ValueError),
    /// a good value that the server could not put into effect
    NotApplied(String),
}

/// What the reply to CONFIG SET says before the name that no directive has.
pub const UNKNOWN_OPTION: &str = "ERR Unknown option or number of arguments for CONFIG SET - '";

impl fmt::Display for SetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetError::Unknown { name } => write!(out, "{UNKNOWN_OPTION}{}'", String::from_utf8_lossy(name)),
            SetError::Rejected { name, rejection } => {
                write!(out, "ERR CONFIG SET failed (possibly related to argument '{name}') - {rejection}")
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Immutable => write!(out, "can't set immutable config"),
            Rejection::Protected => write!(out, "can't set protected config"),
            Rejection::Duplicate => write!(out, "duplicate parameter"),
            Rejection::Value(error) => write!(out, "{error}"),
            Rejection::NotApplied(reason) => write!(out, "{reason}"),
        }
    }
}

impl std::error::Error for SetError {}

fn is_asked_for(directive: &Directive, name: &str, pattern: &[u8]) -> bool {
    let is_pattern = pattern.iter().any(|byte| b"[*?".contains(byte));
    if is_pattern {
        !directive.is_hidden && glob::matches(pattern, name.as_bytes(), true)
    } else {
        name.as_bytes().eq_ignore_ascii_case(pattern)
    }
}

/// Names are echoed in error texts; bytes that are not text cannot name a directive anyway.
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
