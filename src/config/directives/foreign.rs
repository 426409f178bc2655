//! Directives that other versions of Redis and Valkey know and this server does not.
//!
//! Owns their names and what becomes of such a line: it is taken, with whatever value, and the log says why it does nothing. They have no value
//! to show, so CONFIG GET and SET do not know them. What restricts access must not stand here: it has a row, or stops the start
//! (`UNSUPPORTED` in `file.rs`). The names are those of Redis 2.0 to 8.10 and Valkey 7.2 to 9.1 that have no row in this folder.

/// Names with one reason.
struct Foreign {
    reason: &'static str,
    names: &'static [&'static str],
}

/// Names of modules' directives, by how they begin.
const PREFIXES: &[(&str, &str)] = &[
    ("bf-", "The Bloom filters of Redis 8 do not exist."),
    ("cf-", "The cuckoo filters of Redis 8 do not exist."),
    ("search-", "The query engine of Redis 8 does not exist."),
    ("ts-", "The time series of Redis 8 do not exist."),
    ("json.", "The JSON type of Valkey's bundle does not exist."),
    ("bf.", "The Bloom filters of Valkey's bundle do not exist."),
    ("search.", "The search of Valkey's bundle does not exist."),
    ("ldap.", "The LDAP module of Valkey's bundle does not exist."),
];

const FOREIGN: &[Foreign] = &[
    Foreign {
        reason: "Event loops are placed on cores by the server itself.",
        names: &["server-cpulist", "bio-cpulist", "aof-rewrite-cpulist", "bgsave-cpulist"],
    },
    Foreign {
        reason: "The encodings of small collections are chosen by other limits since Redis 3.2.",
        names: &[
            "hash-max-zipmap-entries",
            "hash-max-zipmap-value",
            "list-max-ziplist-entries",
            "list-max-ziplist-value",
        ],
    },
    Foreign {
        reason: "Values are always in memory (Redis 2.4 had virtual memory).",
        names: &["vm-enabled", "vm-swap-file", "vm-max-memory", "vm-page-size", "vm-pages", "vm-max-threads"],
    },
    Foreign {
        reason: "An option of Redis 2.0 and older.",
        names: &["glueoutputbuf", "shareobjects", "shareobjectspoolsize"],
    },
    Foreign {
        reason: "There are no scripts yet.",
        names: &["lua-replicate-commands", "lua-enable-insecure-api"],
    },
    Foreign { reason: "The Gopher protocol of Redis 6 is not spoken.", names: &["gopher-enabled"] },
    Foreign {
        reason: "There is no replication yet: the server is always a primary.",
        names: &[
            "primaryauth",
            "primaryuser",
            "replica-full-sync-buffer-limit",
            "dual-channel-replication-enabled",
            "repl-mptcp",
            "repl-rdb-channel",
            "lazyexpire-nested-arbitrary-keys",
            "rdb-version-check",
            "import-mode",
        ],
    },
    Foreign {
        reason: "There is no cluster mode yet: one server holds all slots.",
        names: &[
            "cluster-announce-client-ipv4",
            "cluster-announce-client-ipv6",
            "cluster-announce-client-port",
            "cluster-announce-client-tls-port",
            "cluster-blacklist-ttl",
            "cluster-compatibility-sample-ratio",
            "cluster-config-save-behavior",
            "cluster-databases",
            "cluster-manual-failover-timeout",
            "cluster-message-gossip-perc",
            "cluster-ping-interval",
            "cluster-slot-migration-handoff-max-lag-bytes",
            "cluster-slot-migration-log-max-len",
            "cluster-slot-migration-sync-buffer-drain-timeout",
            "cluster-slot-migration-write-pause-timeout",
            "cluster-slot-stats-enabled",
            "availability-zone",
            "slot-migration-max-failover-repl-bytes",
        ],
    },
    Foreign {
        reason: "The command log is `slowlog`, see slowlog-log-slower-than and slowlog-max-len.",
        names: &[
            "commandlog-execution-slower-than",
            "commandlog-large-reply-max-len",
            "commandlog-large-request-max-len",
            "commandlog-reply-larger-than",
            "commandlog-request-larger-than",
            "commandlog-slow-execution-max-len",
        ],
    },
    Foreign {
        reason: "Whole requests run on event loops, see `threads`.",
        names: &[
            "events-per-io-thread",
            "io-threads-always-active",
            "prefetch-batch-max-size",
            "lookahead",
            "min-io-threads-avoid-copy-reply",
            "min-string-size-avoid-copy-reply",
            "min-string-size-avoid-copy-reply-threaded",
            "max-new-tls-connections-per-cycle",
        ],
    },
    Foreign {
        reason: "There is no TLS yet: put a TLS proxy in front.",
        names: &["tls-auth-clients-user", "tls-auto-reload-interval"],
    },
    Foreign {
        reason: "Connections are TCP and Unix sockets.",
        names: &["rdma-bind", "rdma-completion-vector", "rdma-port", "rdma-rx-size", "mptcp"],
    },
    Foreign { reason: "The group of the Unix socket is that of the process.", names: &["unixsocketgroup"] },
    Foreign { reason: "The allocator is not asked to move entries.", names: &["active-defrag-cycle-us"] },
    Foreign {
        reason: "Lines of the log carry the time in UTC and no user data.",
        names: &["log-timestamp-format", "hide-user-data-from-log"],
    },
    Foreign { reason: "The server calls itself what it is.", names: &["extended-redis-compatibility"] },
    Foreign { reason: "A debugging aid of Redis or Valkey.", names: &["enable-debug-assert"] },
    Foreign {
        reason: "The type does not exist yet.",
        names: &["vset-force-single-threaded-execution", "stream-idmp-duration", "stream-idmp-maxsize"],
    },
    Foreign { reason: "See aof-load-truncated.", names: &["aof-load-corrupt-tail-max-size"] },
    Foreign { reason: "INFO has no histograms of keys' sizes.", names: &["key-memory-histograms"] },
];

/// Why a directive of another server does nothing here; `None` if nobody knows the name. Case does not matter.
pub fn reason(name: &[u8]) -> Option<&'static str> {
    let listed = FOREIGN
        .iter()
        .find(|foreign| foreign.names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())));
    let of_module = || {
        let starts = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        PREFIXES.iter().find(|(prefix, _)| starts(prefix)).map(|(_, reason)| *reason)
    };
    listed.map(|foreign| foreign.reason).or_else(of_module)
}

/// All listed names with their reasons, for docs/config.md and tests.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    FOREIGN.iter().flat_map(|foreign| foreign.names.iter().map(|name| (*name, foreign.reason)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::find;

    #[test]
    fn no_name_has_a_row_as_well_and_each_stands_once() {
        let mut names: Vec<&str> = all().map(|(name, _)| name).collect();
        let count = names.len();
        for name in &names {
            assert!(find(name.as_bytes()).is_none(), "{name} has a row");
            assert_eq!(*name, name.to_ascii_lowercase());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn names_of_modules_are_known_by_how_they_begin() {
        assert!(reason(b"TS-num-threads").is_some());
        assert!(reason(b"bf-error-rate").is_some());
        assert!(reason(b"t").is_none());
        assert!(reason(b"no-such-directive").is_none());
    }
}
