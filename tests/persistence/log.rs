//! The write log: what it brings back, how it shrinks, and how it is turned on and off.

use cloakroom::base::random::Random;

use crate::support::client::{Client, request};
use crate::support::now_ms;
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::{BARE, LOGGED, contents, field, wait_for_saves, with};

/// Every way to change strings, keys and databases; what they reply is not the matter here.
const CHANGES: &str = "SET a 1|SET b 2 EX 5000|SET c 3 PX 5000000|SET d 4 EXAT 33177117420|SET e 5 PXAT 33177117420123|SET a 2 KEEPTTL|\
    SET b 3 KEEPTTL|SET c 4|SET f 1 NX|SET f 2 NX|SET g 1 XX|SET f 3 XX GET|SETNX h 1|SETNX h 2|SETEX i 5000 1|PSETEX j 5000000 1|\
    GETSET a 3|GETDEL d|GETEX e EX 7000|GETEX b PERSIST|GETEX f PXAT 33177117420999|MSET k 1 l 2 a 4|MSETNX m 1 n 2|MSETNX m 2 o 3|\
    INCR a|INCRBY a 5|DECR k|DECRBY k 7|INCRBYFLOAT l 1.5|APPEND l x|APPEND p new|SETRANGE p 5 y|SETRANGE q 3 z|SETRANGE r 3 |\
    EXPIRE a 5000|EXPIRE a 4000 GT|PEXPIRE k 5000000 NX|EXPIREAT l 33177117420|PEXPIREAT m 33177117420555|PERSIST e|EXPIRE n -1|\
    EXPIREAT o 1|RENAME f F|RENAMENX h H|RENAMENX H a|COPY a A|COPY a A REPLACE|COPY a t DB 3|MOVE i 3|DEL j nothing|UNLINK q|\
    SET gone 1 PX 1|SELECT 3|SET x 3|MULTI|SET y 1|INCR y|SELECT 4|SET y 2|EXEC|SWAPDB 3 5|SELECT 5|SET z 1|MULTI|SET never 1|DISCARD|\
    SELECT 6|SET w 1|FLUSHDB|SET v 1|SELECT 7|SET bits 1|SETRANGE bits 100 x|TOUCH v|SELECT 8|\
    SET late 1|RENAME late later|EXPIRE later 9000|RENAME later latest|SET over 1 EX 50|RENAME latest over";

fn run(client: &mut Client, lines: &str) {
    lines.split('|').for_each(|line| drop(client.text(line)));
}

#[test]
fn the_log_brings_back_every_change() {
    for arguments in
        [LOGGED, &with(LOGGED, &["--appendfsync", "everysec"]), &with(LOGGED, &["--appendfsync", "no"])]
    {
        // The log has what was acknowledged, but only `always` promises it to a killed server; and only without slack to the millisecond.
        let killed = arguments == LOGGED;
        let slack: &[&str] = if killed && !is_redis() { &["--expire-log-slack", "0"] } else { &[] };
        let arguments = &with(arguments, slack)[..];
        for rounds in 1..=2 {
            let folder = Folder::new("persistence");
            let mut server = Server::start(&folder, arguments);
            let mut client = server.connect();
            for round in 0..rounds {
                run(&mut client, CHANGES);
                if round == 0 && rounds == 2 {
                    client.text("BGREWRITEAOF");
                    wait_for_saves(&mut client);
                }
            }
            client.text("SELECT 0");
            assert!(wait_until(|| client.text("EXISTS gone") == "0"));
            let before: Vec<_> = (0..16).map(|database| contents(&mut client, database)).collect();
            assert!(before.iter().filter(|one| !one.is_empty()).count() >= 6);
            if killed {
                server.kill();
            } else {
                assert!(client.try_ask(&["SHUTDOWN"]).is_err());
                assert!(server.exit().success());
            }
            let server = Server::start(&folder, arguments);
            let mut client = server.connect();
            for (database, before) in before.iter().enumerate() {
                assert_eq!(&contents(&mut client, database as u32), before, "database {database}");
            }
        }
    }
}

#[test]
fn the_log_is_on_by_default() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, &[]);
    let mut client = server.connect();
    assert_eq!(client.text("CONFIG GET appendonly"), "[appendonly yes]");
    assert_eq!(client.text("CONFIG GET appendfsync"), "[appendfsync everysec]");
    assert_eq!(field(&mut client, "aof_enabled"), "1");
}

#[test]
fn the_log_can_be_turned_on_and_off() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    client.text("MSET a 1 b 2");
    assert_eq!(client.text("CONFIG SET appendonly yes appendfsync always"), "OK");
    assert_eq!(field(&mut client, "aof_enabled"), "1");
    client.text("SET during 1");
    wait_for_saves(&mut client);
    assert_eq!(field(&mut client, "aof_last_bgrewrite_status"), "ok");
    client.text("INCR a");
    server.kill();
    let server = Server::start(&folder, LOGGED);
    let mut client = server.connect();
    assert_eq!(client.text("MGET a b during"), "[2 2 1]");
    assert_eq!(client.text("SET late 1"), "OK");
    assert_eq!(client.text("CONFIG SET appendonly no"), "OK");
    assert_eq!(field(&mut client, "aof_enabled"), "0");
    assert_eq!(client.text("SET unlogged 1"), "OK");
    assert_eq!(client.text("CONFIG SET appendonly yes"), "OK");
    wait_for_saves(&mut client);
    client.text("INCR a");
    server.kill();
    let server = Server::start(&folder, LOGGED);
    assert_eq!(server.connect().text("MGET a b late unlogged"), "[3 2 1 1]");
}

#[test]
fn a_rewrite_makes_the_log_small_and_loses_nothing() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, &with(LOGGED, &["--appendfsync", "no"]));
    let mut client = server.connect();
    let mut random = Random::new(7);
    let write = |client: &mut Client, random: &mut Random| {
        let mut bytes = Vec::new();
        for _ in 0..1000 {
            let (key, value) = (random.below(100).to_string(), random.next_u64().to_string().repeat(20));
            bytes.extend(request(&["SET", &key, &value]));
        }
        client.send_bytes(&bytes).expect("the server reads");
        (0..1000).for_each(|_| drop(client.receive().expect("a reply")));
    };
    (0..10).for_each(|_| write(&mut client, &mut random));
    let size = |client: &mut Client| field(client, "aof_current_size").parse::<u64>().expect("a size");
    assert!(wait_until(|| size(&mut client) > 4_000_000) || !is_redis());
    let large = size(&mut client);
    assert_eq!(client.text("BGREWRITEAOF"), "Background append only file rewriting started");
    // Writes go on meanwhile.
    write(&mut client, &mut random);
    wait_for_saves(&mut client);
    assert!(size(&mut client) < large / 3, "{large} -> {}", size(&mut client));
    assert!(size(&mut client) >= field(&mut client, "aof_base_size").parse().expect("a size"));
    assert_eq!(field(&mut client, "aof_rewrites"), "1");
    let before = contents(&mut client, 0);
    assert!(client.try_ask(&["SHUTDOWN"]).is_err());
    let mut server = server;
    assert!(server.exit().success());
    let server = Server::start(&folder, LOGGED);
    assert!(contents(&mut server.connect(), 0) == before);
}

#[test]
fn a_log_that_has_grown_is_rewritten_by_itself() {
    let folder = Folder::new("persistence");
    let growth = ["--auto-aof-rewrite-percentage", "100", "--auto-aof-rewrite-min-size", "100kb"];
    let server = Server::start(&folder, &with(LOGGED, &growth));
    let mut client = server.connect();
    let value = "v".repeat(10_000);
    (0..30).for_each(|_| drop(client.ask(&["SET", "key", &value])));
    assert!(wait_until(|| field(&mut client, "aof_rewrites") == "1"), "{}", server.log());
    wait_for_saves(&mut client);
    assert!(field(&mut client, "aof_current_size").parse::<u64>().expect("a size") < 100_000);
    server.kill();
    let server = Server::start(&folder, LOGGED);
    assert_eq!(server.connect().text("STRLEN key"), "10000");
}

/// A key whose deadline passes while no server runs is not there afterwards, and one that has time left is.
#[test]
fn what_expired_meanwhile_does_not_come_back() {
    for arguments in [BARE, LOGGED] {
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, arguments);
        let mut client = server.connect();
        let end_ms = now_ms() + 500;
        client.text("SET stays 1");
        client.text("SET later 1 EX 1000");
        for number in 0..100 {
            assert_eq!(client.text(&format!("SET gone:{number} 1 PXAT {end_ms}")), "OK");
        }
        if arguments == BARE {
            assert_eq!(client.text("SAVE"), "OK");
        }
        server.kill();
        assert!(wait_until(|| now_ms() > end_ms));
        let server = Server::start(&folder, arguments);
        let mut client = server.connect();
        assert_eq!(client.text("GET gone:1"), "(nil)");
        assert_eq!(client.text("EXISTS stays later gone:2 gone:3"), "2");
        assert!(wait_until(|| client.text("DBSIZE") == "2"));
    }
}

/// As Redis 7.2 has it: how many local logs (0 or 1) and replicas have what this connection wrote.
#[test]
fn waitaof_waits_for_the_fsync() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, &with(LOGGED, &["--appendfsync", "no"]));
    let mut client = server.connect();
    assert_eq!(client.text("SET key 1"), "OK");
    assert_eq!(client.text("WAITAOF 1 0 50"), "[0 0]", "nothing asks for an fsync");
    assert_eq!(client.text("CONFIG SET appendfsync everysec"), "OK");
    assert_eq!(client.text("SET key 2"), "OK");
    assert_eq!(client.text("WAITAOF 1 0 0"), "[1 0]");
    assert_eq!(client.text("WAITAOF 1 1 50"), "[1 0]", "there are no replicas");
    assert_eq!(client.text("CONFIG SET appendfsync always"), "OK");
    assert_eq!(client.text("SET key 3"), "OK");
    assert_eq!(client.text("WAITAOF 1 0 0"), "[1 0]");
    assert_eq!(client.text("CONFIG SET appendfsync no"), "OK");
    assert_eq!(client.text("SET key 4"), "OK");
    // Whoever waits when the log is turned off is told so.
    client.send_bytes(&request(&["WAITAOF", "1", "0", "0"])).expect("the server reads");
    let mut other = server.connect();
    let is_blocked = |other: &mut Client| other.text("INFO clients").contains("blocked_clients:1");
    assert!(wait_until(|| is_blocked(&mut other)));
    assert_eq!(other.text("CONFIG SET appendonly no"), "OK");
    let refusal = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
    assert_eq!(client.receive().expect("a reply").to_string(), refusal);
    assert_eq!(client.text("WAITAOF 1 0 0"), refusal);
}
