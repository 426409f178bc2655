//! A snapshot is the state at one moment, whatever happens while it is taken. Each test changes keys in transactions that keep something true, takes
//! snapshots meanwhile, and loads each of them into a second server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloakroom::base::random::Random;

use crate::support::client::{Client, Reply, request};
use crate::support::pause;
use crate::support::process::{Folder, Server, is_redis};
use crate::{BARE, copy, field, save, with};

const ACCOUNTS: u64 = 64;
const BALANCE: i64 = 1000;
const SNAPSHOTS: u32 = 6;
const SEED: u64 = 0x5a_fe;

/// What one connection does again and again; the number counts its turns.
trait Change: Fn(&mut Client, &mut Random, u64) + Sync {}

impl<T: Fn(&mut Client, &mut Random, u64) + Sync> Change for T {}

/// Sends one MULTI of `lines` to the server; true if it was done, false if it was refused as a whole.
fn transaction(client: &mut Client, lines: &[String]) -> bool {
    let mut bytes = request(&["MULTI"]);
    lines.iter().for_each(|line| bytes.extend(request(&line.split(' ').collect::<Vec<_>>())));
    bytes.extend(request(&["EXEC"]));
    client.send_bytes(&bytes).expect("the server reads");
    (0..=lines.len()).for_each(|_| drop(client.receive().expect("a reply")));
    match client.receive().expect("a reply") {
        Reply::Array(replies) => {
            assert!(!replies.iter().any(Reply::is_error), "{replies:?}");
            true
        }
        reply => {
            assert!(reply.is_error(), "{reply}");
            false
        }
    }
}

fn open_accounts(client: &mut Client) {
    for number in 0..ACCOUNTS {
        assert_eq!(client.text(&format!("SET account:{number} {BALANCE}")), "OK");
    }
}

fn transfer(client: &mut Client, random: &mut Random) {
    let (from, to, amount) = (random.below(ACCOUNTS), random.below(ACCOUNTS), random.below(100));
    transaction(
        client,
        &[format!("DECRBY account:{from} {amount}"), format!("INCRBY account:{to} {amount}")],
    );
}

#[track_caller]
fn check_accounts(client: &mut Client) {
    let sum: i64 = (0..ACCOUNTS)
        .map(|number| client.text(&format!("GET account:{number}")).parse::<i64>().expect("a balance"))
        .sum();
    assert_eq!(sum, ACCOUNTS as i64 * BALANCE);
}

/// Runs `changes`, each on a thread and connection of its own, while snapshots are taken; `check` sees a server that has loaded one.
fn snapshots(folder: &Folder, server: &Server, changes: &[&dyn Change], check: impl Fn(&mut Client)) {
    println!("seed {SEED:#x}");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (number, change) in changes.iter().enumerate() {
            let (mut client, mut random) = (server.connect(), Random::new(SEED + number as u64));
            let stop = &stop;
            scope.spawn(move || {
                let mut turn = 0;
                while !stop.load(Ordering::Relaxed) {
                    change(&mut client, &mut random, turn);
                    turn += 1;
                }
            });
        }
        // A failed check must end the threads, too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut client = server.connect();
            for snapshot in 1..=SNAPSHOTS {
                // redis-server gives a snapshot up when a FLUSHALL comes.
                while field(&mut client, "rdb_saves") != snapshot.to_string() {
                    save(&mut client);
                    assert!(is_redis() || field(&mut client, "rdb_saves") == snapshot.to_string());
                }
                let other = Folder::new("persistence");
                copy(&folder.data(), &other.data());
                let second = Server::start(&other, BARE);
                check(&mut second.connect());
            }
        }));
        stop.store(true, Ordering::Relaxed);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Transfers in two databases that change places, keys that are renamed to and fro, a table that grows, keys that expire.
#[test]
fn snapshots_are_consistent_while_everything_moves() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    for database in [0, 1] {
        client.text(&format!("SELECT {database}"));
        open_accounts(&mut client);
    }
    client.text("SELECT 2");
    client.text("DEBUG POPULATE 50000 filler 100");
    for number in 0..ACCOUNTS {
        client.text(&format!("SET moved:{number}:0 1"));
    }
    let rename = |client: &mut Client, _: &mut Random, turn: u64| {
        let (number, from) = (turn % ACCOUNTS, turn / ACCOUNTS % 2);
        client.text("SELECT 2");
        assert_eq!(client.text(&format!("RENAME moved:{number}:{from} moved:{number}:{}", 1 - from)), "OK");
    };
    let grow = |client: &mut Client, _: &mut Random, turn: u64| {
        client.text("SELECT 3");
        assert!(transaction(client, &[format!("SET grown:{turn} {turn}"), "INCR grown".to_owned()]));
    };
    let expire = |client: &mut Client, random: &mut Random, turn: u64| {
        client.text("SELECT 4");
        client.text(&format!("SET short:{} {turn} PX {}", turn % 500, 1 + random.below(5)));
    };
    let changes: [&dyn Change; 6] = [
        &|client: &mut Client, random: &mut Random, _: u64| transfer(client, random),
        &|client: &mut Client, random: &mut Random, turn: u64| {
            if turn == 0 {
                client.text("SELECT 1");
            }
            transfer(client, random);
        },
        &|client: &mut Client, _: &mut Random, _: u64| assert_eq!(client.text("SWAPDB 0 1"), "OK"),
        &rename,
        &grow,
        &expire,
    ];
    snapshots(&folder, &server, &changes, |client| {
        for database in [0, 1] {
            client.text(&format!("SELECT {database}"));
            assert_eq!(client.text("DBSIZE"), ACCOUNTS.to_string());
            check_accounts(client);
        }
        client.text("SELECT 2");
        assert_eq!(client.text("DBSIZE"), (50_000 + ACCOUNTS).to_string());
        client.text("SELECT 3");
        let grown = client.text("GET grown");
        let grown: u64 = if grown == "(nil)" { 0 } else { grown.parse().expect("a number") };
        assert_eq!(client.text("DBSIZE"), (grown + u64::from(grown > 0)).to_string());
        if grown > 0 {
            assert_eq!(client.text(&format!("GET grown:{}", grown - 1)), (grown - 1).to_string());
        }
    });
}

/// FLUSHALL and what is written behind it in the same transaction are seen together or not at all.
#[test]
fn snapshots_are_consistent_around_flushall() {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let build = |client: &mut Client, _: &mut Random, turn: u64| {
        if is_redis() {
            pause(Duration::from_millis(50));
        }
        let mut lines = vec!["FLUSHALL".to_owned()];
        lines.extend((0..200).map(|number| format!("SET key:{number} {turn}")));
        assert!(transaction(client, &lines));
    };
    build(&mut server.connect(), &mut Random::new(0), 0);
    snapshots(&folder, &server, &[&build], |client| {
        assert_eq!(client.text("DBSIZE"), "200");
        let turn = client.text("GET key:0");
        for number in 0..200 {
            assert_eq!(client.text(&format!("GET key:{number}")), turn);
        }
    });
}

/// Keys that are evicted meanwhile are missing or whole; what may not be evicted adds up.
#[test]
fn snapshots_are_consistent_under_eviction() {
    let folder = Folder::new("persistence");
    let arguments = with(BARE, &["--maxmemory-policy", "volatile-random"]);
    let server = Server::start(&folder, &arguments);
    let mut client = server.connect();
    open_accounts(&mut client);
    for number in 0..20_000 {
        client
            .send_bytes(&request(&["SET", &format!("old:{number}"), &"v".repeat(200), "EX", "5000"]))
            .expect("sent");
    }
    (0..20_000).for_each(|_| drop(client.receive().expect("a reply")));
    let info = client.text("INFO memory");
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("a size");
    assert_eq!(client.text(&format!("CONFIG SET maxmemory {used}")), "OK");
    let fill = |client: &mut Client, _: &mut Random, turn: u64| {
        let value = turn.to_string().repeat(30);
        client.ask(&["SET", &format!("new:{turn}"), &value, "EX", "5000"]);
    };
    let changes: [&dyn Change; 2] =
        [&|client: &mut Client, random: &mut Random, _: u64| transfer(client, random), &fill];
    snapshots(&folder, &server, &changes, |client| {
        check_accounts(client);
        let Reply::Array(keys) = client.ask(&["KEYS", "new:*"]) else { panic!("KEYS gives an array") };
        for key in keys {
            let key = key.to_string();
            let turn = key.strip_prefix("new:").expect("its prefix");
            assert_eq!(client.text(&format!("GET {key}")), turn.repeat(30));
        }
    });
    let stats = client.text("INFO stats");
    assert!(!stats.contains("evicted_keys:0\r"), "{stats}");
}
