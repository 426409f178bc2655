//! SAVE, BGSAVE, LASTSAVE, save points, and what INFO says of them.

use std::process::Command;

use crate::support::client::{Client, Reply};
use crate::support::now_ms;
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::{BARE, LOGGED, contents, field, save, wait_for_saves, with};

#[test]
fn a_snapshot_keeps_values_deadlines_and_databases() {
    for command in ["SAVE", "BGSAVE"] {
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, BARE);
        let mut client = server.connect();
        let bytes: Vec<u8> = (0..=255).collect();
        let large: Vec<u8> = (0..300_000_u32).flat_map(|number| (number % 1013).to_le_bytes()).collect();
        for database in [0, 3, 15] {
            client.text(&format!("SELECT {database}"));
            for (key, value) in [
                ("bytes", bytes.as_slice()),
                ("large", &large),
                ("empty", b""),
                ("number", b"-9223372036854775808"),
            ] {
                assert_eq!(client.ask(&[b"SET", key.as_bytes(), value]), Reply::Simple("OK".into()));
            }
            assert_eq!(client.ask(&[b"SET".as_slice(), &bytes, b"its key"]), Reply::Simple("OK".into()));
            assert_eq!(client.text(&format!("SET deadline {database} PXAT 33177117420123")), "OK");
            assert_eq!(client.text("SET gone soon PX 1"), "OK");
        }
        let names: Vec<String> = (0..3000).map(|number| format!("key:{number}")).collect();
        names.iter().for_each(|name| assert_eq!(client.text(&format!("SET {name} {name} EX 10000")), "OK"));
        assert!(wait_until(|| client.text("EXISTS gone") == "0"));
        let before: Vec<_> = (0..16).map(|database| contents(&mut client, database)).collect();
        match command {
            "SAVE" => assert_eq!(client.text("SAVE"), "OK"),
            _ => save(&mut client),
        }
        assert_eq!(client.text("SET late lost"), "OK");
        server.kill();
        let server = Server::start(&folder, BARE);
        let mut client = server.connect();
        let after: Vec<_> = (0..16).map(|database| contents(&mut client, database)).collect();
        assert_eq!(before.iter().map(|one| one.len()).sum::<usize>(), 3 * 6 + 3000);
        assert!(before == after, "{command}");
    }
}

/// Collections of many leaves are in a snapshot as heads and leaves; those that change while it is taken, too.
#[test]
fn large_collections_survive_a_save_that_others_write_beside() {
    for (arguments, leaf_bytes) in [(BARE, "4096"), (LOGGED, "4096"), (LOGGED, "64")] {
        let folder = Folder::new("persistence");
        let arguments = with(arguments, &["--collection-leaf-bytes", leaf_bytes]);
        let server = Server::start(&folder, &arguments);
        let (mut client, mut other) = (server.connect(), server.connect());
        for chunk in 0..200 {
            let numbers = || (chunk * 100..chunk * 100 + 100).map(|number: u32| number.to_string());
            let fields: String = numbers().map(|number| format!(" field:{number} {number}")).collect();
            let elements: String = numbers().map(|number| format!(" element:{number}")).collect();
            client.text(&format!("HSET hash{fields}"));
            client.text(&format!("RPUSH list{elements}"));
        }
        client.text("PEXPIREAT hash 33177117420123");
        let is_logged = arguments.contains(&"always");
        if is_logged {
            assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
            for number in 0..2_000 {
                other.text(&format!("HSET hash field:{} changed new:{number} 1", number * 7 % 20_000));
                other.text(&format!("LSET list {} changed", number * 11 % 20_000));
                other.text("LPUSH list first");
                other.text("RPOP list");
            }
            assert!(wait_until(|| field(&mut client, "aof_rewrite_in_progress") == "0"));
            assert_eq!(field(&mut client, "aof_last_bgrewrite_status"), "ok");
        } else {
            assert_eq!(client.text("SAVE"), "OK");
        }
        let before = client.text("DEBUG DIGEST");
        assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "ok");
        drop((client, other));
        server.kill();
        let server = Server::start(&folder, &arguments);
        let mut client = server.connect();
        assert_eq!(client.text("DEBUG DIGEST"), before, "{arguments:?}");
        assert_eq!(client.text("LLEN list"), "20000");
        assert_eq!(client.text("PEXPIRETIME hash"), "33177117420123");
    }
}

#[test]
fn lastsave_and_info_tell_of_the_last_snapshot() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    assert_eq!(client.text("LASTSAVE"), field(&mut client, "rdb_last_save_time"));
    assert_eq!(field(&mut client, "rdb_last_bgsave_time_sec"), "-1");
    assert_eq!(field(&mut client, "rdb_saves"), "0");
    for number in 0..5 {
        client.text(&format!("SET key:{number} value"));
    }
    client.text("GET key:1");
    client.text("DEL nothing");
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "5");
    let before = now_ms() / 1000;
    assert_eq!(client.text("SAVE"), "OK");
    let saved: i64 = client.text("LASTSAVE").parse().expect("a time");
    assert!((before..=now_ms() / 1000).contains(&saved), "{saved}");
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "0");
    assert_eq!(field(&mut client, "rdb_saves"), "1");
    client.text("SET key value");
    save(&mut client);
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "0");
    assert_eq!(field(&mut client, "rdb_saves"), "2");
    assert_ne!(field(&mut client, "rdb_last_bgsave_time_sec"), "-1");
}

#[test]
fn save_points_fire() {
    let folder = Folder::new("persistence");
    let arguments = with(BARE, &["--save", "1000 100 1 3"]);
    let server = Server::start(&folder, &arguments);
    let mut client = server.connect();
    client.text("MSET one 1 two 2");
    // Two changes are not enough; the third one is made when the second of the save point has surely passed.
    let start_ms = now_ms();
    assert!(wait_until(|| now_ms() > start_ms + 1500));
    assert_eq!(field(&mut client, "rdb_saves"), "0");
    client.text("SET three 3");
    assert!(wait_until(|| field(&mut client, "rdb_saves") == "1"), "the save point fires");
    wait_for_saves(&mut client);
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "0");
    server.kill();
    let server = Server::start(&folder, BARE);
    assert_eq!(server.connect().text("MGET one two three"), "[1 2 3]");
}

#[test]
fn a_save_is_refused_while_another_one_runs() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    assert_eq!(client.text("DEBUG POPULATE 200000 key 200"), "OK");
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    assert_eq!(client.text("BGSAVE"), "-ERR Background save already in progress");
    assert_eq!(client.text("BGSAVE SCHEDULE"), "-ERR Background save already in progress");
    assert_eq!(client.text("SAVE"), "-ERR Background save already in progress");
    assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting scheduled");
    assert_eq!(field(&mut client, "rdb_bgsave_in_progress"), "1");
    assert_eq!(field(&mut client, "aof_rewrite_scheduled"), "1");
    wait_for_saves(&mut client);
    assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
    assert_eq!(client.text("BGREWRITEAOF"), "-ERR Background append only file rewriting already in progress");
    let refusal = "-ERR Another child process is active (AOF?): can't BGSAVE right now. \
        Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible.";
    assert_eq!(client.text("BGSAVE"), refusal);
    assert_eq!(client.text("BGSAVE SCHEDULE"), "Background saving scheduled");
    assert_eq!(field(&mut client, "aof_rewrite_in_progress"), "1");
    let saves = |client: &mut Client| field(client, "rdb_saves");
    assert!(wait_until(|| saves(&mut client) == "2"), "what was scheduled comes");
    assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(field(&mut client, "aof_last_bgrewrite_status"), "ok");
}

/// The names of INFO persistence, in alphabetical order.
fn names(info: &str) -> Vec<String> {
    let fields = info.lines().filter_map(|line| line.split_once(':'));
    let mut names: Vec<String> = fields.map(|(name, _)| name.to_owned()).collect();
    names.sort();
    names
}

/// What redis-server itself answers to INFO persistence.
fn names_of_redis(arguments: &[&str]) -> Vec<String> {
    let folder = Folder::new("persistence");
    let socket = folder.0.join("s");
    let mut command = Command::new("redis-server");
    command
        .args(["--port", "0", "--unixsocket"])
        .arg(&socket)
        .arg("--dir")
        .arg(folder.data())
        .args(arguments);
    let mut child = command.stdout(std::process::Stdio::null()).spawn().expect("redis-server runs");
    let mut info = String::new();
    wait_until(|| {
        let output = Command::new("redis-cli").arg("-s").arg(&socket).args(["info", "persistence"]).output();
        info = String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned();
        info.contains("loading:0")
    });
    // It holds nothing that is worth an orderly end.
    let _ = child.kill();
    let _ = child.wait();
    names(&info)
}

#[test]
fn info_persistence_has_the_fields_of_redis() {
    for arguments in [BARE, LOGGED] {
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, arguments);
        let ours = names(&server.connect().text("INFO persistence"));
        let theirs = names_of_redis(arguments);
        assert!(theirs.len() > 20, "{theirs:?}");
        let missing: Vec<_> = theirs.iter().filter(|name| !ours.contains(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(!is_redis() || ours == theirs);
    }
}
