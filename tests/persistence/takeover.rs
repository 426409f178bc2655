//! Taking over a directory of Redis that has an append-only log: what Redis would load is there, or the start is refused.

use std::path::{Path, PathBuf};

use crate::support::client::Client;
use crate::support::process::{Folder, Server, is_redis};
use crate::{BARE, Contents, LOGGED, contents, copy, files, refused, wait_for_saves, with};

/// A log of every write; nothing is written anew by itself.
const REDIS: &[&str] =
    &["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];

/// Every kind of write that strings know, in two databases, with scripts and transactions.
const WRITES: &[&[&str]] = &[
    &["SET", "plain", "value"],
    &["SET", "session", "1", "EX", "5000"],
    &["SET", "kept", "1", "PX", "5000000"],
    &["APPEND", "kept", " and more"],
    &["GETEX", "session", "EX", "9000"],
    &["SETEX", "old style", "7000", "v"],
    &["MSET", "a", "1", "b", "2", "c", "3"],
    &["INCR", "a"],
    &["INCRBYFLOAT", "b", "1.5"],
    &["GETDEL", "c"],
    &["SETRANGE", "plain", "2", "\u{0}\r\n*1"],
    &["EXPIRE", "plain", "8000"],
    &["PERSIST", "plain"],
    &["RENAME", "a", "renamed"],
    &["COPY", "renamed", "copied"],
    &["MULTI"],
    &["SET", "in transaction", "1", "KEEPTTL"],
    &["INCR", "counter"],
    &["EXEC"],
    &["EVAL", "redis.call('SET', KEYS[1], 'x') redis.call('INCR', KEYS[2])", "2", "by script", "counter"],
    &["SELECT", "3"],
    &["SET", "elsewhere", "1"],
    &["SET", "moved", "1", "PX", "6000000"],
    &["MOVE", "moved", "0"],
    &["SET", "gone", "1", "PX", "1"],
    &["SELECT", "4"],
    &["SET", "swapped", "1"],
    &["SWAPDB", "4", "5"],
    &["SET", "flushed", "1"],
    &["FLUSHDB"],
    &["SELECT", "0"],
    &["DEL", "copied"],
    &["UNLINK", "nothing", "by script"],
];

fn write(client: &mut Client) {
    for words in WRITES {
        client.ask(words);
    }
}

fn all(client: &mut Client) -> Vec<Contents> {
    (0..6).map(|database| contents(client, database)).collect()
}

/// Starts Redis in a directory, lets it write, kills it, and gives what it had.
fn run_redis(folder: &Folder, more: &[&str], work: impl FnOnce(&mut Client)) -> Vec<Contents> {
    let mut server = Server::launch_redis(folder, &with(REDIS, more));
    server.wait_until_loaded(|_| {});
    let mut client = server.connect();
    work(&mut client);
    let all = all(&mut client);
    server.kill();
    all
}

/// A server of ours has these contents after its start from a directory of Redis, and after the next one.
#[track_caller]
fn assert_taken_over(folder: &Folder, expected: &[Contents]) {
    for arguments in [LOGGED, &with(LOGGED, &["--aof-load-truncated", "no"])] {
        let ours = Folder::new("persistence");
        copy(&folder.data(), &ours.data());
        let server = Server::start(&ours, arguments);
        assert_eq!(all(&mut server.connect()), expected);
        server.wait_for_line(&["import", "log of Redis"]);
        // From now on it is our own data.
        assert_eq!(server.connect().text("SET plain changed"), "OK");
        server.kill();
        let server = Server::start(&ours, arguments);
        assert_eq!(server.connect().text("GET plain"), "changed");
    }
}

fn only_file(folder: &Path, part: &str) -> PathBuf {
    let found = files(folder, part);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().expect("one")
}

#[test]
fn a_log_of_redis_is_imported_whatever_its_form() {
    if is_redis() {
        return;
    }
    for preamble in ["yes", "no"] {
        for more in [
            &["--aof-timestamp-enabled", "yes"][..],
            &["--appenddirname", "logs", "--appendfilename", "my log"],
        ] {
            let redis = Folder::new("persistence");
            let arguments = with(more, &["--aof-use-rdb-preamble", preamble]);
            let expected = run_redis(&redis, &arguments, |client| {
                write(client);
                assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
                wait_for_saves(client);
                // What a base has, and increments then change.
                assert_eq!(client.text("SET late 1"), "OK");
                assert_eq!(client.text("DEL session"), "1");
                assert_eq!(client.text("PERSIST kept"), "1");
            });
            assert!(expected[0].len() > 8 && !expected[5].is_empty(), "{expected:?}");
            let ours = Folder::new("persistence");
            copy(&redis.data(), &ours.data());
            let arguments = if more[0] == "--appenddirname" { with(LOGGED, more) } else { LOGGED.to_vec() };
            let server = Server::start(&ours, &arguments);
            assert_eq!(all(&mut server.connect()), expected, "{preamble} {more:?}");
            if more[0] != "--appenddirname" {
                assert_taken_over(&redis, &expected);
            }
        }
    }
}

/// Before Redis 7: one file in `dir`, as records or as an RDB file with records behind it.
#[test]
fn a_single_file_of_an_older_redis_is_imported() {
    if is_redis() {
        return;
    }
    for preamble in ["yes", "no"] {
        let redis = Folder::new("persistence");
        let expected = run_redis(&redis, &["--aof-use-rdb-preamble", preamble], |client| {
            write(client);
            assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
            wait_for_saves(client);
            assert_eq!(client.text("SET late 1"), "OK");
        });
        let read = |part| std::fs::read(only_file(&redis.data(), part)).expect("a file");
        let old = Folder::new("persistence");
        let single = [read(".base."), read(".incr.")].concat();
        std::fs::write(old.data().join("appendonly.aof"), single).expect("a file");
        assert_taken_over(&old, &expected);
        // Redis 7 was stopped while it moved that file into a folder of its own.
        std::fs::create_dir(old.data().join("appendonlydir")).expect("a folder");
        let manifest = old.data().join("appendonlydir/appendonly.aof.manifest");
        std::fs::write(manifest, "file appendonly.aof seq 1 type b\n").expect("a file");
        assert_taken_over(&old, &expected);
    }
}

/// Sessions that were logged out after the dump do not come back.
#[test]
fn a_dump_beside_a_log_is_not_what_is_served() {
    if is_redis() {
        return;
    }
    let redis = Folder::new("persistence");
    let expected = run_redis(&redis, &[], |client| {
        assert_eq!(client.text("MSET logged-out 1 kept 1"), "OK");
        assert_eq!(client.text("SAVE"), "OK");
        assert_eq!(client.text("DEL logged-out"), "1");
        assert_eq!(client.text("SET new 1"), "OK");
    });
    only_file(&redis.data(), "dump.rdb");
    assert_taken_over(&redis, &expected);
    // A server that is told to have no log does not guess which of the two counts.
    let log = refused(&redis, BARE);
    assert!(log.contains("appendonly yes") && log.contains("appendonlydir"), "{log}");
    assert!(files(&redis.data(), "snapshot-").is_empty());
    let server = Server::start(&redis, LOGGED);
    assert_eq!(all(&mut server.connect()), expected);
    server.wait_for_line(&["dump.rdb", "not imported"]);
}

#[test]
fn the_last_record_or_transaction_may_be_cut_off_if_the_configuration_says_so() {
    if is_redis() {
        return;
    }
    let redis = Folder::new("persistence");
    let expected = run_redis(&redis, &[], |client| {
        assert_eq!(client.text("SET before 1"), "OK");
    });
    let increment = only_file(&redis.data(), ".incr.");
    let whole = std::fs::read(&increment).expect("a file");
    let record = "*3\r\n$3\r\nSET\r\n$4\r\nlate\r\n$1\r\n1\r\n";
    for tail in [
        "*3\r\n$3\r\nSET\r\n$4\r\nlate\r\n$1\r\n",
        "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$6\r\nbefore\r\n",
        "#TS:17",
    ] {
        std::fs::write(&increment, [&whole[..], tail.as_bytes()].concat()).expect("a file");
        let log = refused(&redis, &with(LOGGED, &["--aof-load-truncated", "no"]));
        assert!(
            log.contains(&format!("at byte {}", whole.len())) && log.contains("aof-load-truncated"),
            "{log}"
        );
        let ours = Folder::new("persistence");
        copy(&redis.data(), &ours.data());
        let server = Server::start(&ours, LOGGED);
        assert_eq!(all(&mut server.connect()), expected, "{tail}");
        server.wait_for_line(&["left away"]);
        // In a file that another one follows it is damage.
        let manifest = ours.data().join("appendonlydir/appendonly.aof.manifest");
        let folder = Folder::new("persistence");
        copy(&redis.data(), &folder.data());
        let text = std::fs::read_to_string(&manifest).expect("a manifest") + "file next.aof seq 2 type i\n";
        std::fs::write(folder.data().join("appendonlydir/appendonly.aof.manifest"), text).expect("a file");
        std::fs::write(folder.data().join("appendonlydir/next.aof"), record).expect("a file");
        let log = refused(&folder, LOGGED);
        assert!(log.contains("another file of the log follows"), "{log}");
    }
}

#[test]
fn what_cannot_be_imported_whole_refuses_the_start_and_says_where() {
    if is_redis() {
        return;
    }
    let redis = Folder::new("persistence");
    run_redis(&redis, &[], |client| {
        assert_eq!(client.text("SET key 1"), "OK");
        assert_eq!(client.text("SAVE"), "OK");
    });
    let increment = only_file(&redis.data(), ".incr.");
    let manifest = only_file(&redis.data(), ".manifest");
    let (whole, named) =
        (std::fs::read(&increment).expect("a file"), std::fs::read(&manifest).expect("a file"));
    let place = format!("at byte {}", whole.len());
    let add = |record: &str| {
        std::fs::write(&increment, [&whole[..], record.as_bytes()].concat()).expect("a file");
        let log = refused(&redis, LOGGED);
        assert!(log.contains(&place) && log.contains(".incr.aof"), "{log}");
        log
    };
    let log = add("*3\r\n$8\r\nJSON.DEL\r\n$1\r\nl\r\n$1\r\n1\r\n");
    assert!(log.contains("JSON.DEL") && log.contains("cloakroom import"), "{log}");
    let log = add("*2\r\n$6\r\nSELECT\r\n$2\r\n99\r\n");
    assert!(log.contains("databases"), "{log}");
    add("SET key 2\r\n");
    add("*2\r\n$8\r\nSHUTDOWN\r\n$6\r\nNOSAVE\r\n");
    std::fs::write(&increment, &whole).expect("a file");
    for (text, what) in
        [(&b"file x seq 1 type q\n"[..], "line 1"), (b"", "no file"), (b"file a.aof seq 1 type b\n", "a.aof")]
    {
        std::fs::write(&manifest, text).expect("a file");
        let log = refused(&redis, LOGGED);
        assert!(log.contains(what), "{log}");
    }
    std::fs::remove_file(&manifest).expect("removes");
    let log = refused(&redis, LOGGED);
    assert!(log.contains("manifest") && log.contains("missing"), "{log}");
    std::fs::write(&manifest, named).expect("a file");
    assert!(files(&redis.data(), ".cloakroom").is_empty(), "nothing was begun beside it");
    // With a key it is as with our own files: what is not encrypted has to be accepted.
    let key = redis.0.join("key");
    std::fs::write(&key, "a".repeat(64)).expect("a file");
    let keyed = with(LOGGED, &["--encryption-key-file", key.to_str().expect("a path of the test")]);
    let log = refused(&redis, &keyed);
    assert!(log.contains("encryption-accept-plaintext"), "{log}");
    let server = Server::start(&redis, &with(&keyed, &["--encryption-accept-plaintext", "yes"]));
    assert_eq!(server.connect().text("GET key"), "1");
}

/// A dump that was put into a directory on which a server of ours has run before is not what is served, and whoever has put it there hears so.
#[test]
fn what_of_redis_lies_beside_data_of_our_own_is_named_and_not_read() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, LOGGED);
    // A server that has kept nothing yet has no data of its own.
    assert_eq!(server.connect().text("SAVE"), "OK");
    server.kill();
    for name in ["dump.rdb", "appendonly.aof"] {
        std::fs::write(folder.data().join(name), "from elsewhere").expect("a file");
    }
    let server = Server::start(&folder, LOGGED);
    assert_eq!(server.connect().text("DBSIZE"), "0");
    server.wait_for_line(&["warn", "dump.rdb", "not read"]);
    server.wait_for_line(&["warn", "appendonly.aof", "not read"]);
}
