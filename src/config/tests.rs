//! Tests of the table itself, and of CONFIG GET and SET against answers observed on redis-server 7.0.15.

use std::collections::BTreeSet;

use super::*;

/// Names that `CONFIG GET *` of redis-server 7.0.15 answers, the ones of 7.2, and hidden ones of the test
/// suite.
const REDIS_NAMES: &str = "
    acl-pubsub-default aclfile acllog-max-len active-defrag-cycle-max active-defrag-cycle-min
    active-defrag-ignore-bytes active-defrag-max-scan-fields active-defrag-threshold-lower
    active-defrag-threshold-upper active-expire-effort activedefrag activerehashing always-show-logo
    aof-disable-auto-gc aof-load-truncated aof-rewrite-incremental-fsync aof-timestamp-enabled
    aof-use-rdb-preamble aof_rewrite_cpulist appenddirname appendfilename appendfsync appendonly
    auto-aof-rewrite-min-size auto-aof-rewrite-percentage bgsave_cpulist bind bind-source-addr bio_cpulist
    busy-reply-threshold client-output-buffer-limit client-query-buffer-limit
    cluster-allow-pubsubshard-when-down cluster-allow-reads-when-down cluster-allow-replica-migration
    cluster-announce-bus-port cluster-announce-hostname cluster-announce-ip cluster-announce-port
    cluster-announce-tls-port cluster-config-file cluster-enabled cluster-link-sendbuf-limit
    cluster-migration-barrier cluster-node-timeout cluster-port cluster-preferred-endpoint-type
    cluster-replica-no-failover cluster-replica-validity-factor cluster-require-full-coverage
    cluster-slave-no-failover cluster-slave-validity-factor crash-log-enabled crash-memcheck-enabled daemonize
    databases dbfilename dir disable-thp dynamic-hz enable-debug-command enable-module-command
    enable-protected-configs hash-max-listpack-entries hash-max-listpack-value hash-max-ziplist-entries
    hash-max-ziplist-value hll-sparse-max-bytes hz ignore-warnings io-threads io-threads-do-reads
    jemalloc-bg-thread latency-monitor-threshold latency-tracking latency-tracking-info-percentiles
    lazyfree-lazy-eviction lazyfree-lazy-expire lazyfree-lazy-server-del lazyfree-lazy-user-del
    lazyfree-lazy-user-flush lfu-decay-time lfu-log-factor list-compress-depth list-max-listpack-size
    list-max-ziplist-size logfile loglevel lua-time-limit masterauth masteruser maxclients maxmemory
    maxmemory-clients maxmemory-eviction-tenacity maxmemory-policy maxmemory-samples min-replicas-max-lag
    min-replicas-to-write min-slaves-max-lag min-slaves-to-write no-appendfsync-on-rewrite
    notify-keyspace-events oom-score-adj oom-score-adj-values pidfile port proc-title-template
    propagation-error-behavior protected-mode proto-max-bulk-len rdb-del-sync-files rdb-save-incremental-fsync
    rdbchecksum rdbcompression repl-backlog-size repl-backlog-ttl repl-disable-tcp-nodelay repl-diskless-load
    repl-diskless-sync repl-diskless-sync-delay repl-diskless-sync-max-replicas repl-ping-replica-period
    repl-ping-slave-period repl-timeout replica-announce-ip replica-announce-port replica-announced
    replica-ignore-disk-write-errors replica-ignore-maxmemory replica-lazy-flush replica-priority
    replica-read-only replica-serve-stale-data replicaof requirepass sanitize-dump-payload save server_cpulist
    set-max-intset-entries set-proc-title shutdown-on-sigint shutdown-on-sigterm shutdown-timeout
    slave-announce-ip slave-announce-port slave-ignore-maxmemory slave-lazy-flush slave-priority
    slave-read-only slave-serve-stale-data slaveof slowlog-log-slower-than slowlog-max-len socket-mark-id
    stop-writes-on-bgsave-error stream-node-max-bytes stream-node-max-entries supervised syslog-enabled
    syslog-facility syslog-ident tcp-backlog tcp-keepalive timeout tls-auth-clients tls-ca-cert-dir
    tls-ca-cert-file tls-cert-file tls-ciphers tls-ciphersuites tls-client-cert-file tls-client-key-file
    tls-client-key-file-pass tls-cluster tls-dh-params-file tls-key-file tls-key-file-pass tls-port
    tls-prefer-server-ciphers tls-protocols tls-replication tls-session-cache-size tls-session-cache-timeout
    tls-session-caching tracking-table-max-keys unixsocket unixsocketperm zset-max-listpack-entries
    zset-max-listpack-value zset-max-ziplist-entries zset-max-ziplist-value
    cluster-announce-human-nodename key-load-delay loading-process-events-interval-bytes locale-collate
    rdb-key-save-delay set-max-listpack-entries set-max-listpack-value use-exit-on-panic watchdog-period";

fn set(config: &Config, pairs: &[(&str, &str)]) -> Result<Config, String> {
    let pairs: Vec<(&[u8], &[u8])> =
        pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    config.set(&pairs, false).map_err(|error| error.to_string())
}

fn get(config: &Config, patterns: &[&str]) -> Vec<(String, String)> {
    let patterns: Vec<&[u8]> = patterns.iter().map(|pattern| pattern.as_bytes()).collect();
    let answer = config.get(&patterns);
    answer.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect()
}

fn get_one(config: &Config, name: &str) -> String {
    get(config, &[name]).pop().map(|(_, value)| value).unwrap_or_default()
}

/// A value that differs from the default, for each kind.
fn other_value(directive: &Directive) -> Value {
    match (directive.default_value(), directive.kind) {
        (Value::Bool(value), _) => Value::Bool(!value),
        (Value::Integer(value), Kind::Integer { max, .. } | Kind::ClampedInteger { max, .. }) => {
            Value::Integer(if value == max { value - 1 } else { value + 1 })
        }
        (Value::Memory(bytes), _) => Value::Memory(bytes + 1),
        (Value::Choice(word), Kind::Choice(words)) => {
            Value::Choice(words.iter().find(|other| **other != word).expect("two words"))
        }
        (Value::MemoryOrPercent(_), _) => Value::MemoryOrPercent(MemoryOrPercent::Percent(7)),
        (Value::Text(_), _) => Value::Text("o ther".to_string()),
        (Value::Bytes(_), _) => Value::Bytes(b"o \xff\n\"ther".to_vec()),
        (Value::Words(_), Kind::Primary) => Value::Words(vec!["one".to_string(), "7000".to_string()]),
        (Value::Words(_), _) => Value::Words(vec!["one".to_string(), "#two".to_string()]),
        (Value::FileMode(_), _) => Value::FileMode(FileMode(0o640)),
        (Value::Notify(_), _) => Value::Notify(NotifyFlags::ALL | NotifyFlags::KEYEVENT),
        (Value::SavePoints(_), _) => Value::SavePoints(vec![SavePoint { seconds: 7, changes: 8 }]),
        (Value::OutputBufferLimits(mut limits), _) => {
            limits.replica.hard_bytes += 1;
            Value::OutputBufferLimits(limits)
        }
        (Value::Percentiles(_), _) => Value::Percentiles(vec![12.5]),
        (Value::ShutdownOptions(_), _) => {
            Value::ShutdownOptions(ShutdownOptions { nosave: true, now: true, ..Default::default() })
        }
        (Value::OomScores(_), _) => Value::OomScores([-1, 2, 3]),
        (value, kind) => panic!("{}: {value:?} is not a value of {kind:?}", directive.name),
    }
}

#[test]
fn names_are_unique_and_in_lower_case() {
    let mut seen = BTreeSet::new();
    for name in directives().flat_map(Directive::names) {
        assert!(seen.insert(name), "{name} appears twice");
        assert_eq!(name, name.to_ascii_lowercase());
    }
}

#[test]
fn every_name_of_redis_is_known() {
    for name in REDIS_NAMES.split_whitespace() {
        let (_, spelled) = find(name.as_bytes()).unwrap_or_else(|| panic!("{name} has no row"));
        assert_eq!(spelled, name);
    }
}

#[test]
fn defaults_and_other_values_survive_their_own_text() {
    for directive in directives() {
        // Of what is refused there is no other value.
        let other = !matches!(directive.effect, Effect::Refused { .. });
        for value in
            [Some(directive.default_value()), other.then(|| other_value(directive))].into_iter().flatten()
        {
            let shown = value.show();
            let parsed = directive.kind.parse(&[&shown], &directive.default_value());
            assert_eq!(parsed.as_ref(), Ok(&value), "{} shows {shown:?}", directive.name);
            let mut config = Config::default();
            for line in value.file_lines() {
                let words = words::split(line.as_bytes()).expect("quoted");
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let stored = directive.assign(&mut config, &words);
                assert_eq!(stored, Ok(()), "{} {line}", directive.name);
            }
            if directive.kind != Kind::SavePoints {
                assert_eq!(directive.value(&config), value, "{}", directive.name);
            }
        }
    }
}

#[test]
fn a_row_changes_its_own_field_and_no_other() {
    let default = Config::default();
    for directive in directives() {
        let mut config = Config::default();
        assert_eq!(directive.value(&config), directive.default_value(), "{}", directive.name);
        directive.store(&mut config, other_value(directive)).expect(directive.name);
        let changed: Vec<&str> = default.changes(&config).iter().map(|changed| changed.name).collect();
        assert_eq!(changed, [directive.name]);
    }
}

#[test]
fn fields_are_named_as_their_directives() {
    let shown = format!("{:#?}", Config::default());
    let fields: BTreeSet<String> = shown
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .filter(|(name, _)| name.starts_with(|first: char| first.is_ascii_lowercase()))
        .map(|(name, _)| name.to_string())
        .filter(|name| name != "without_effect")
        .collect();
    let rows: BTreeSet<String> = directives()
        .filter(|directive| matches!(directive.effect, Effect::Field { .. }))
        .map(|directive| directive.name.replace('-', "_"))
        .collect();
    assert_eq!(fields, rows);
}

#[test]
fn sentences_end_and_say_something() {
    for directive in directives() {
        assert!(directive.doc.ends_with('.'), "{}", directive.name);
        assert!(!directive.doc.contains('|'), "{} would break the table of docs/config.md", directive.name);
    }
}

#[test]
fn defaults_are_safe() {
    let config = Config::default();
    assert_eq!(config.bind, ["127.0.0.1", "-::1"]);
    assert!(config.protected_mode);
    assert_eq!(config.enable_debug_command, Permission::No);
    assert_eq!(config.enable_protected_configs, Permission::No);
    assert_eq!(config.port, 6379);
    assert_eq!(config.dir, "./cloakroom-data");
    assert_eq!(config.save.len(), 3);
    assert_eq!(config.proto_max_bulk_len, 512 << 20);
    assert_eq!(config.unauthenticated_max_bulk_len, 16384);
}

#[test]
fn get_answers_names_and_patterns_once_each() {
    let config = Config::default();
    let names =
        |patterns: &[&str]| get(&config, patterns).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(&["maxmemory", "MAXMEMORY"]), ["maxmemory"]);
    assert_eq!(
        names(&["MAXMEMORY*", "maxmemory"]),
        [
            "maxmemory-clients",
            "maxmemory",
            "maxmemory-policy",
            "maxmemory-samples",
            "maxmemory-eviction-tenacity"
        ]
    );
    assert_eq!(names(&["*-read-*"]), ["replica-read-only", "slave-read-only"]);
    assert_eq!(names(&["nope"]), [""; 0]);
    assert_eq!(names(&["watch*"]), [""; 0], "hidden from patterns");
    assert_eq!(names(&["watchdog-period"]), ["watchdog-period"]);
    assert_eq!(get_one(&config, "notify-keyspace-events"), "");
    assert_eq!(get_one(&config, "save"), "3600 1 300 100 60 10000");
    assert_eq!(get_one(&config, "latency-tracking-info-percentiles"), "50 99 99.9");
    assert_eq!(
        get_one(&config, "client-output-buffer-limit"),
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
    );
}

#[test]
fn set_changes_all_or_nothing() {
    let config = Config::default();
    let changed = set(&config, &[("maxmemory", "1g"), ("HZ", "5000"), ("appendonly", "NO")]).expect("good");
    assert_eq!((changed.maxmemory, changed.hz, changed.appendonly), (1_000_000_000, 500, false));
    let alias = set(&config, &[("replica-read-only", "yes"), ("slave-read-only", "no")]).expect("two names");
    assert_eq!(get_one(&alias, "replica-read-only"), "no");
    let shared = set(&config, &[("lua-time-limit", "12")]).expect("an alias");
    assert_eq!(get_one(&shared, "busy-reply-threshold"), "12");
    assert!(set(&config, &[("timeout", "5"), ("hz", "abc")]).is_err());
}

#[test]
fn set_fails_in_the_words_of_redis() {
    let config = Config::default();
    let related = |name: &str, reason: &str| {
        format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    };
    let unknown = |name: &str| format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'");
    let one_of = "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, \
                  volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction";
    let cases: &[(&[(&str, &str)], String)] = &[
        (&[("foo", "bar")], unknown("foo")),
        (&[("timeout", "5"), ("nope", "1")], unknown("nope")),
        (&[("timeout", "abc"), ("databases", "1")], related("databases", "can't set immutable config")),
        (&[("databases", "5"), ("nope", "5")], related("databases", "can't set immutable config")),
        (&[("DATABASES", "3")], related("DATABASES", "can't set immutable config")),
        (&[("threads", "3")], related("threads", "can't set immutable config")),
        (&[("dir", "/tmp")], related("dir", "can't set protected config")),
        (&[("dbfilename", "a.rdb")], related("dbfilename", "can't set protected config")),
        (&[("maxmemory", "1gb"), ("MaxMemory", "2gb")], related("MaxMemory", "duplicate parameter")),
        (&[("MAXMEMORY", "abc")], related("maxmemory", "argument must be a memory value")),
        (&[("maxmemory-policy", "bogus")], related("maxmemory-policy", one_of)),
        (
            &[("maxmemory-eviction-tenacity", "101")],
            related("maxmemory-eviction-tenacity", "argument must be between 0 and 100 inclusive"),
        ),
        (
            &[("maxmemory-samples", "0")],
            related("maxmemory-samples", "argument must be between 1 and 2147483647 inclusive"),
        ),
        (&[("port", "99999")], related("port", "argument must be between 0 and 65535 inclusive")),
        (
            &[("maxclients", "0")],
            related("maxclients", "argument must be between 1 and 4294967295 inclusive"),
        ),
        (
            &[("slowlog-log-slower-than", "-2")],
            related(
                "slowlog-log-slower-than",
                "argument must be between -1 and 9223372036854775807 inclusive",
            ),
        ),
        (&[("timeout", "7"), ("save", "x")], related("save", "Invalid save parameters")),
    ];
    for (pairs, expected) in cases {
        assert_eq!(set(&config, pairs).as_ref().map_err(String::as_str), Err(expected.as_str()));
    }
    let not_applied = SetError::Rejected {
        name: "dir".to_string(),
        rejection: Rejection::NotApplied("No such file or directory".to_string()),
    };
    assert_eq!(not_applied.to_string(), related("dir", "No such file or directory"));
    let allowed = config.set(&[(b"dbfilename", b"a.rdb")], true).expect("protected, but allowed");
    assert_eq!(allowed.dbfilename, "a.rdb");
}

/// Files stay where they are while the server runs; a CONFIG REWRITE behind that would send the next start to an empty directory.
#[test]
fn nobody_may_change_the_directory_that_is_in_use() {
    let config = Config::default();
    for (allowed, reason) in [(false, "protected"), (true, "immutable")] {
        let refused = config.set(&[(b"dir", b"/tmp")], allowed).expect_err("in use");
        let text =
            format!("ERR CONFIG SET failed (possibly related to argument 'dir') - can't set {reason} config");
        assert_eq!(refused.to_string(), text);
    }
}

#[test]
fn what_a_pattern_gave_can_be_written_back() {
    let config = Config::default();
    for (name, value) in get(&config, &["*"]) {
        let change = find(name.as_bytes()).map(|(directive, _)| directive.change);
        if !matches!(change, Some(Change::Immutable | Change::ProtectedImmutable | Change::Protected)) {
            assert_eq!(set(&config, &[(&name, &value)]).map(|set| get_one(&set, &name)), Ok(value));
        }
    }
}

#[test]
fn values_are_shown_as_redis_normalises_them() {
    for (name, value, shown) in [
        ("notify-keyspace-events", "Egx", "gxE"),
        ("notify-keyspace-events", "KEA", "AKE"),
        ("maxmemory-policy", "ALLKEYS-LRU", "allkeys-lru"),
        ("save", "5 10 1 2", "5 10 1 2"),
        ("save", "", ""),
        ("maxmemory-clients", "5%", "5%"),
        ("maxmemory", "", "0"),
        ("shutdown-on-sigterm", "force now nosave", "nosave now force"),
        ("latency-tracking-info-percentiles", "50 99.99 100", "50 99.99 100"),
        ("bind", "127.0.0.1 ::1", "127.0.0.1 ::1"),
        ("oom-score-adj-values", "100 2 3", "100 2 3"),
        ("hash-max-ziplist-value", "1kb", "1024"),
    ] {
        let config = set(&Config::default(), &[(name, value)]).expect(name);
        assert_eq!(get_one(&config, name), shown, "{name} {value}");
    }
}

/// The code of each source file outside this module, without its tests.
fn code() -> Vec<(String, String)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let (mut code, mut folders) = (Vec::new(), vec![std::path::PathBuf::from(root)]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder of the source") {
            let path = entry.expect("an entry").path();
            let is_own = path.ends_with("src/config") || path.ends_with("src/testing");
            let is_test = path.to_string_lossy().ends_with("tests.rs");
            if path.is_dir() && !is_own {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == "rs") && !is_test {
                let text = std::fs::read_to_string(&path).expect("a source file");
                let without_tests = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
                let name = path.strip_prefix(root).expect("in the folder").to_string_lossy().into_owned();
                code.push((name, without_tests));
            }
        }
    }
    code
}

/// Whether some code asks for a directive's field.
fn asks_for(code: &str, directive: &Directive) -> bool {
    let field = format!(".{}", directive.name.replace('-', "_"));
    code.match_indices(&field).any(|(at, _)| {
        let behind = code[at + field.len()..].chars().next();
        !behind.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

/// Directives that nothing reads would be promises: each either says that it has no effect, or some code outside this module asks for its field.
#[test]
fn every_directive_with_a_field_is_read_by_something() {
    let code = code();
    let is_read = |directive: &Directive| code.iter().any(|(_, text)| asks_for(text, directive));
    let promised = directives().filter(|directive| matches!(directive.effect, Effect::Field { .. }));
    let unread: Vec<_> = promised.filter(|each| !is_read(each)).map(|each| each.name).collect();
    assert!(unread.is_empty(), "nothing reads {unread:?}");
}

/// Files that run while the server starts, and those directives that they read later, too.
const START: &[&str] = &[
    "main.rs",
    "persistence/import.rs",
    "persistence/load.rs",
    "persistence/start.rs",
    "server/listen.rs",
    "server/logging.rs",
    "server/run.rs",
    "server/supervision.rs",
];
const READ_AT_A_SIGNAL: &[&str] = &["shutdown-on-sigterm", "shutdown-on-sigint"];

/// CONFIG SET must not answer that it has done what only the next start does, unless the directive's sentence says so.
#[test]
fn a_directive_that_only_the_start_reads_cannot_be_set_or_says_so() {
    let (start, later): (Vec<_>, Vec<_>) =
        code().into_iter().partition(|(name, _)| START.contains(&name.as_str()));
    assert_eq!(start.len(), START.len(), "a file of the start is gone");
    let settable = directives().filter(|each| matches!(each.change, Change::Runtime | Change::Protected));
    let mut only_start = settable.filter(|each| {
        let is_read = |code: &[(String, String)]| code.iter().any(|(_, text)| asks_for(text, each));
        matches!(each.effect, Effect::Field { .. }) && is_read(&start) && !is_read(&later)
    });
    let silent = only_start.find(|each| {
        !READ_AT_A_SIGNAL.contains(&each.name) && !each.doc.to_ascii_lowercase().contains("at the start")
    });
    assert!(silent.is_none(), "{:?}", silent.map(|each| each.name));
}

/// `CONFIG GET *` of Redis 8.2.3 and Valkey 9.1.2 beyond [`REDIS_NAMES`], hidden names that DEBUG CONFIG-REWRITE-FORCE-ALL of 8.2.3 writes,
/// names of Redis 8.4, and what files of Redis 2.4 to 6.2 have beside it.
const NAMES_OF_OTHER_VERSIONS: &str = "
    aof-rewrite-cpulist bgsave-cpulist bio-cpulist server-cpulist cluster-compatibility-sample-ratio
    cluster-slot-stats-enabled hide-user-data-from-log max-new-connections-per-cycle max-new-tls-connections-per-cycle
    replica-full-sync-buffer-limit vset-force-single-threaded-execution active-defrag-cycle-us availability-zone
    cluster-announce-client-ipv4 cluster-announce-client-ipv6 cluster-announce-client-port
    cluster-announce-client-tls-port cluster-blacklist-ttl cluster-config-save-behavior cluster-databases
    cluster-manual-failover-timeout cluster-slot-migration-log-max-len commandlog-execution-slower-than
    commandlog-large-reply-max-len commandlog-large-request-max-len commandlog-reply-larger-than
    commandlog-request-larger-than commandlog-slow-execution-max-len dual-channel-replication-enabled
    extended-redis-compatibility import-mode log-timestamp-format mptcp prefetch-batch-max-size primaryauth
    primaryuser rdb-version-check rdma-bind rdma-completion-vector rdma-port rdma-rx-size repl-mptcp
    slot-migration-max-failover-repl-bytes tls-auth-clients-user tls-auto-reload-interval unixsocketgroup
    hash-max-zipmap-entries hash-max-zipmap-value list-max-ziplist-entries list-max-ziplist-value
    lua-replicate-commands gopher-enabled vm-enabled vm-swap-file vm-max-memory vm-page-size vm-pages
    repl-rdb-channel lazyexpire-nested-arbitrary-keys cluster-ping-interval
    cluster-slot-migration-handoff-max-lag-bytes cluster-slot-migration-sync-buffer-drain-timeout
    cluster-slot-migration-write-pause-timeout key-memory-histograms stream-idmp-duration stream-idmp-maxsize
    aof-load-corrupt-tail-max-size
    vm-max-threads glueoutputbuf events-per-io-thread search-threads ts-num-threads bf-error-rate cf-bucket-size";

/// Clients and Redis's own tests write back what `CONFIG GET *` gave them, and expect that only what Redis cannot change either is refused.
#[test]
fn a_directive_that_redis_does_not_have_takes_its_own_value_back() {
    let redis: BTreeSet<&str> = REDIS_NAMES.split_whitespace().collect();
    for directive in directives().filter(|each| {
        !each.is_hidden && matches!(each.change, Change::Immutable | Change::ProtectedImmutable)
    }) {
        assert!(redis.contains(directive.name), "{} is not Redis's: say fixed", directive.name);
    }
}

#[test]
fn every_line_that_another_version_takes_is_taken_or_refused_with_a_reason() {
    for name in NAMES_OF_OTHER_VERSIONS.split_whitespace() {
        let known = find(name.as_bytes()).is_some() || directives::foreign::reason(name.as_bytes()).is_some();
        assert!(known, "{name} is unknown");
    }
}

#[test]
fn the_page_of_directives_is_fresh() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/config.md");
    let page = render_markdown();
    if std::env::var_os("CLOAKROOM_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).expect("docs/config.md");
    }
    let have = std::fs::read_to_string(path).unwrap_or_default();
    assert!(have == page, "docs/config.md is stale: run CLOAKROOM_WRITE_DOCS=1 cargo test config");
}
