//! The start: loading in front of clients, one server a directory, and an RDB file that lies in an empty one.

use std::process::{Command, Stdio};

use cloakroom::base::clock::Clock;
use cloakroom::rdb::{Access, Writer};

use crate::support::client::{Client, Reply};
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::{BARE, LOGGED, copy, field, files, wait_for_saves, with};

#[test]
fn while_loading_data_commands_are_refused_and_info_tells_the_progress() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    // Enough that loading lasts while this machine runs other tests.
    assert_eq!(client.text("DEBUG POPULATE 1500000 key 100"), "OK");
    assert_eq!(client.text("SAVE"), "OK");
    server.kill();
    let arguments = with(BARE, &["--loading-process-events-interval-bytes", "65536"]);
    let mut server = Server::launch(&folder, &arguments);
    let refusal = Reply::Error("LOADING Redis is loading the dataset in memory".into());
    let mut seen = false;
    server.wait_until_loaded(|client| {
        // Loading may end between any two of these.
        let mut replies = Vec::new();
        for line in [
            "GET key:7",
            "EXISTS key:7",
            "GETEX key:7 PERSIST",
            "DBSIZE",
            "PING",
            "MULTI",
            "GET key:7",
            "EXEC",
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            match client.try_ask(&words) {
                Ok(reply) => replies.push((line, reply)),
                Err(_) => return,
            }
        }
        let Ok(Reply::Bulk(info)) = client.try_ask(&["INFO", "persistence"]) else { return };
        let info = String::from_utf8_lossy(&info).into_owned();
        if !info.contains("loading:1") {
            return;
        }
        seen = true;
        let aborted = "EXECABORT Transaction discarded because of previous errors.";
        for (line, reply) in replies {
            match line {
                "MULTI" => assert_eq!(reply, Reply::Simple("OK".into())),
                "EXEC" => assert_eq!(reply, Reply::Error(aborted.into())),
                _ => assert_eq!(reply, refusal, "{line}"),
            }
        }
        for name in [
            "loading_start_time",
            "loading_total_bytes",
            "loading_rdb_used_mem",
            "loading_loaded_bytes",
            "loading_loaded_perc",
            "loading_eta_seconds",
        ] {
            assert!(info.contains(&format!("\n{name}:")), "{name} is missing:\n{info}");
        }
    });
    assert!(seen, "loading was over before anybody could look");
    let mut client = server.connect();
    assert_eq!(client.text("DBSIZE"), "1500000");
    assert!(client.text("INFO persistence").contains("loading:0"));
    assert!(!client.text("INFO persistence").contains("loading_start_time"));
    assert_eq!(client.text("STRLEN key:7"), "100");
    let info = client.text("INFO persistence");
    assert!(info.contains("rdb_last_load_keys_loaded:1500000\r"), "{info}");
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    if is_redis() {
        return;
    }
    for arguments in [BARE, LOGGED] {
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, arguments);
        let mut second = Server::launch(&folder, arguments);
        assert_eq!(second.exit().code(), Some(1));
        let log = second.log();
        assert!(log.contains(&folder.data().display().to_string()), "names the directory: {log}");
        assert!(log.contains("another") || log.contains("in use"), "{log}");
        // The file that everybody knows is not all that is locked.
        std::fs::remove_file(folder.data().join("lock")).expect("removes");
        assert_eq!(Server::launch(&folder, arguments).exit().code(), Some(1));
        assert_eq!(server.connect().text("SET key value"), "OK");
        // The lock goes with its holder, however that ends.
        server.kill();
        assert_eq!(Server::start(&folder, arguments).connect().text("PING"), "PONG");
    }
}

/// `cp -r` of a directory in use may bring an old manifest and the snapshot that came after it.
#[test]
fn a_manifest_that_names_a_missing_file_costs_nothing_that_is_there() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    assert_eq!(client.text("SET key old"), "OK");
    assert_eq!(client.text("SAVE"), "OK");
    let manifest = folder.data().join("manifest");
    let old = std::fs::read(&manifest).expect("a manifest");
    assert_eq!(client.text("SET key new"), "OK");
    assert_eq!(client.text("SAVE"), "OK");
    server.kill();
    let new = std::fs::read(&manifest).expect("a manifest");
    std::fs::write(&manifest, old).expect("a file");
    let before = files(&folder.data(), "snapshot-");
    assert_eq!(before.len(), 1);
    let mut server = Server::launch(&folder, BARE);
    assert_eq!(server.exit().code(), Some(1), "{}", server.log());
    assert_eq!(files(&folder.data(), "snapshot-"), before);
    std::fs::write(&manifest, new).expect("a file");
    assert_eq!(Server::start(&folder, BARE).connect().text("GET key"), "new");
}

#[test]
fn a_start_removes_what_this_program_left_and_nothing_else() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    Server::start(&folder, BARE).kill();
    let ours = ["temp-snapshot-3.cloakroom", "snapshot-70.cloakroom", "log-71.cloakroom"];
    let others = ["temp-4711.rdb", "temp-rewriteaof-1.aof", "snapshot-70.cloakroom.bak", "log-07.cloakroom"];
    for name in ours.iter().chain(&others) {
        std::fs::write(folder.data().join(name), "bytes").expect("a file");
    }
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    let is_there = |name: &&str| folder.data().join(name).exists();
    assert!(!ours.iter().any(is_there) && others.iter().all(is_there), "{:?}", files(&folder.data(), ""));
    assert_eq!(client.text("SAVE"), "OK");
    let new = files(&folder.data(), "snapshot-72.cloakroom");
    assert_eq!(new.len(), 1, "no number is taken twice: {:?}", files(&folder.data(), ""));
}

/// Writes a dump.rdb with Debian's redis-server.
fn dump_of_redis(folder: &Folder, lines: &[&str]) {
    let socket = folder.0.join("s");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder.data());
    let mut child = command.stdout(Stdio::null()).spawn().expect("redis-server runs");
    let cli = |line: &str| {
        let output = Command::new("redis-cli").arg("-s").arg(&socket).args(line.split(' ')).output();
        String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).into_owned()
    };
    assert!(wait_until(|| cli("PING") == "PONG\n"));
    lines.iter().for_each(|line| drop(cli(line)));
    cli("SHUTDOWN SAVE");
    assert!(child.wait().expect("a child").success());
}

#[test]
fn a_dump_of_redis_in_an_empty_directory_is_imported() {
    for arguments in [BARE, LOGGED] {
        if is_redis() && arguments == LOGGED {
            // redis-server looks for its log only.
            continue;
        }
        let redis = Folder::new("persistence");
        let long = format!("SET long {}", "abc".repeat(1000));
        let lines = [
            "SET text value",
            "SET number 12345",
            "SET late 1 PXAT 33177117420123",
            "-n 3 SET other 1",
            &long,
        ];
        dump_of_redis(&redis, &lines);
        let folder = Folder::new("persistence");
        let dumps = files(&redis.data(), "dump.rdb");
        std::fs::copy(dumps.first().expect("a dump"), folder.data().join("dump.rdb")).expect("a copy");
        let server = Server::start(&folder, arguments);
        let check = |server: &Server| {
            let mut client = server.connect();
            assert_eq!(client.text("MGET text number"), "[value 12345]");
            assert_eq!(client.text("STRLEN long"), "3000");
            assert_eq!(client.text("PEXPIRETIME late"), "33177117420123");
            assert_eq!(client.text("DBSIZE"), "4");
            client.text("SELECT 3");
            assert_eq!(client.text("GET other"), "1");
        };
        check(&server);
        if is_redis() {
            continue;
        }
        let log = server.log();
        assert_eq!(log.lines().filter(|line| line.contains("dump.rdb")).count(), 1, "{log}");
        server.wait_for_line(&["import", "dump.rdb"]);
        // From now on it is our own data: it is there without the file, and with the file it is not imported again.
        assert_eq!(server.connect().text("SET text changed"), "OK");
        assert_eq!(server.connect().text("SAVE"), "OK");
        server.kill();
        let server = Server::start(&folder, arguments);
        assert_eq!(server.connect().text("GET text"), "changed");
        server.kill();
        let without = Folder::new("persistence");
        copy(&folder.data(), &without.data());
        std::fs::remove_file(without.data().join("dump.rdb")).ok();
        let server = Server::start(&without, arguments);
        assert_eq!(server.connect().text("GET text"), "changed");
        assert_eq!(server.connect().text("DBSIZE"), "4");
    }
}

#[test]
fn what_is_no_regular_file_is_not_imported() {
    for name in ["", "folder"] {
        let folder = Folder::new("persistence");
        std::fs::create_dir(folder.data().join("folder")).expect("a directory");
        let arguments: Vec<&str> = BARE.iter().copied().chain(["--dbfilename", name]).collect();
        let server = Server::start(&folder, &arguments);
        assert_eq!(server.connect().text("DBSIZE"), "0", "{name:?}");
    }
}

/// Whether INFO or OBJECT gives a number in this range.
#[track_caller]
fn assert_number(client: &mut Client, line: &str, range: std::ops::Range<i64>) {
    let number = client.ask(&line.split(' ').collect::<Vec<_>>()).number().expect(line);
    assert!(range.contains(&number), "{line}: {number}");
}

#[test]
fn access_history_in_a_dump_counts_and_keys_without_one_are_fresh() {
    let dump = || {
        let folder = Folder::new("persistence");
        let file = std::fs::File::create(folder.data().join("dump.rdb")).expect("a file");
        let mut writer = Writer::new(file, 1_790_000_000, 0).expect("room");
        writer.database(0, 3, 0).expect("room");
        for (key, access) in [
            ("idle", Some(Access::IdleSeconds(1000))),
            ("used", Some(Access::Frequency(77))),
            ("plain", None),
        ] {
            writer.record(key.as_bytes(), b"v", None, access).expect("room");
        }
        drop(writer.finish().expect("room"));
        folder
    };
    let folder = dump();
    let server = Server::start(&folder, &with(BARE, &["--maxmemory-policy", "allkeys-lru"]));
    let mut client = server.connect();
    assert_number(&mut client, "OBJECT IDLETIME idle", 1000..1500);
    assert_number(&mut client, "OBJECT IDLETIME used", 0..500);
    assert_number(&mut client, "OBJECT IDLETIME plain", 0..500);
    drop(server);
    let folder = dump();
    let server = Server::start(&folder, &with(BARE, &["--maxmemory-policy", "allkeys-lfu"]));
    let mut client = server.connect();
    assert_number(&mut client, "OBJECT FREQ idle", 5..6);
    assert_number(&mut client, "OBJECT FREQ used", 77..78);
    assert_number(&mut client, "OBJECT FREQ plain", 5..6);
}

#[test]
fn keys_are_fresh_after_a_change_of_the_kind_of_eviction_policy() {
    let folder = Folder::new("persistence");
    let policy = |policy| with(BARE, &["--maxmemory-policy", policy]);
    let server = Server::start(&folder, &policy("allkeys-lru"));
    let mut client = server.connect();
    assert_eq!(client.text("SET key value"), "OK");
    assert_eq!(client.text("SAVE"), "OK");
    server.kill();
    let server = Server::start(&folder, &policy("allkeys-lfu"));
    let mut client = server.connect();
    assert_number(&mut client, "OBJECT FREQ key", 5..6);
    assert_eq!(client.text("SAVE"), "OK");
    server.kill();
    let server = Server::start(&folder, &policy("allkeys-lru"));
    assert_number(&mut server.connect(), "OBJECT IDLETIME key", 0..500);
}

#[test]
fn keys_that_expired_while_the_server_was_down_are_counted_and_gone() {
    for arguments in [BARE, LOGGED] {
        if is_redis() && arguments == LOGGED {
            // redis-server does not count those of its log.
            continue;
        }
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, arguments);
        let mut client = server.connect();
        assert_eq!(client.text("DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
        assert_eq!(client.text("MSET lasts 1 late 1"), "OK");
        assert_eq!(client.text("EXPIRE late 10000"), "1");
        for number in 0..20 {
            assert_eq!(client.text(&format!("SET short:{number} v PX 1")), "OK");
        }
        assert_eq!(client.text("SAVE"), "OK");
        server.kill();
        let server = Server::start(&folder, arguments);
        let mut client = server.connect();
        assert_eq!(client.text("DBSIZE"), "2");
        assert_eq!(client.text("EXISTS short:1 lasts late"), "2");
        assert_eq!(field(&mut client, "rdb_last_load_keys_expired"), "20");
        if arguments == BARE {
            assert_eq!(field(&mut client, "rdb_last_load_keys_loaded"), "2");
        }
        // What was left out or removed does not come back with the next start either.
        assert_eq!(client.text("SET short:1 again"), "OK");
        if arguments == BARE {
            assert_eq!(client.text("SAVE"), "OK");
        }
        server.kill();
        let server = Server::start(&folder, arguments);
        assert_eq!(server.connect().text("MGET short:1 short:2"), "[again (nil)]");
    }
}

/// The base has a deadline that has passed; only the log behind it knows better.
#[test]
fn a_key_that_the_log_keeps_alive_is_loaded_though_its_time_in_the_base_has_passed() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, LOGGED);
    let mut client = server.connect();
    assert_eq!(client.text("MSET kept 1 moved 1 renewed 1"), "OK");
    let soon_ms = Clock::System.now_ms() + 2000;
    for key in ["kept", "moved", "renewed"] {
        assert_eq!(client.text(&format!("PEXPIREAT {key} {soon_ms}")), "1");
    }
    assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
    wait_for_saves(&mut client);
    assert_eq!(client.text("PERSIST kept"), "1");
    assert_eq!(client.text("EXPIRE moved 1000"), "1");
    assert_eq!(client.text("SET renewed 2 XX"), "OK");
    server.kill();
    assert!(wait_until(|| Clock::System.now_ms() > soon_ms));
    let server = Server::start(&folder, LOGGED);
    assert_eq!(server.connect().text("MGET kept moved renewed"), "[1 1 2]");
}

#[test]
fn a_damaged_dump_refuses_the_start() {
    let redis = Folder::new("persistence");
    dump_of_redis(&redis, &["SET text value", "SET number 12345"]);
    let folder = Folder::new("persistence");
    let mut bytes = std::fs::read(redis.data().join("dump.rdb")).expect("a dump");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(folder.data().join("dump.rdb"), &bytes).expect("a file");
    let mut server = Server::launch(&folder, BARE);
    assert!(!server.exit().success());
    assert!(server.log().contains("dump.rdb") || is_redis(), "{}", server.log());
    assert!(std::fs::read(folder.data().join("dump.rdb")).expect("a file") == bytes);
}
