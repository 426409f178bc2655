//! RDB against a real redis-server: what it writes we read, what we write it loads, what it dumps we dump byte for byte; and `cloakroom
//! import` and `export` between both. Every server listens on a port of its own and lives in a folder below target/tmp. Values of all types
//! are in values.rs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use cloakroom::base::random::Random;
use cloakroom::rdb::value::{Kind, Value};
use cloakroom::rdb::{Access, Payload, Reader, Record, Writer, encode_payload};
use redis_protocol::resp2::types::OwnedFrame as Frame;

use server::{CLOAKROOM, Server, new_folder, text_of};

mod server;
mod values;

fn cloakroom(words: &[&str]) -> Output {
    Command::new(CLOAKROOM).args(words).stdin(Stdio::null()).output().expect("the binary runs")
}

/// Runs a command that must succeed; gives what it has said.
fn succeed(words: &[&str]) -> String {
    let output = cloakroom(words);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Strings of every encoding and size class, with and without deadlines, in two databases.
fn records() -> Vec<Record> {
    let mut values: Vec<Vec<u8>> = Vec::new();
    for bits in [0, 6, 7, 8, 14, 15, 16, 31, 32, 62] {
        for near in [-1, 0, 1] {
            let number = (1i64 << bits) + near;
            values.extend([number.to_string().into_bytes(), (-number).to_string().into_bytes()]);
        }
    }
    values.extend([&b""[..], b"00", b"+1", b"-0", b"\x00\xff\r\n", b"12345678901"].map(<[u8]>::to_vec));
    let random = &mut Random::new(7);
    for length in [1, 20, 21, 44, 63, 64, 300, 16_383, 16_384, 70_000] {
        values.push(vec![b'z'; length]);
        values.push((0..length).map(|_| random.next_u64() as u8).collect());
        values.push((0..length).map(|_| b"{\"user\":12,}"[random.below(12) as usize]).collect());
    }
    let now_ms = cloakroom::base::clock::Clock::System.now_ms();
    let record = |(number, value): (usize, Vec<u8>)| Record {
        database: if number.is_multiple_of(5) { 9 } else { 0 },
        key: match number % 3 {
            0 => format!("sess:{number}").into_bytes(),
            1 => number.to_string().into_bytes(),
            _ => [vec![0xff; 20 * (number % 7)], number.to_string().into_bytes()].concat(),
        },
        value: Value::String(value),
        expire_at_ms: (number.is_multiple_of(2)).then_some(now_ms + 1_000_000 + number as i64),
        access: None,
    };
    values.into_iter().enumerate().map(record).collect()
}

fn fill(server: &mut Server, records: &[Record]) {
    for record in records {
        server.run(&format!("SELECT {}", record.database));
        let reply = match record.expire_at_ms {
            Some(at_ms) => {
                server.ask(&[b"SET", &record.key, text_of(record), b"PXAT", at_ms.to_string().as_bytes()])
            }
            None => server.ask(&[b"SET", &record.key, text_of(record)]),
        };
        assert_eq!(reply, Frame::SimpleString(b"OK".to_vec()));
    }
    server.run("SELECT 0");
}

/// Values of the types that do not exist here, small and large, so that each encoding appears.
fn fill_other_types(server: &mut Server) {
    for (name, elements) in [("small", 3), ("large", 700)] {
        for number in 0..elements {
            server.run(&format!("RPUSH list:{name} element{number}"));
            server.run(&format!("SADD set:{name} member{number}"));
            server.run(&format!("SADD numbers:{name} {}", number * 100_000));
            server.run(&format!("HSET hash:{name} field{number} {number}"));
            server.run(&format!("ZADD zset:{name} {}.5 member{number}", number - 300));
            server.run(&format!("XADD stream:{name} * field {number}"));
        }
        server.run(&format!("XGROUP CREATE stream:{name} group 0"));
        server.run(&format!("XREADGROUP GROUP group me COUNT 2 STREAMS stream:{name} >"));
    }
    server.run("ZADD zset:small inf infinite");
    server.ask(&[
        b"FUNCTION",
        b"LOAD",
        b"#!lua name=l\nredis.register_function('f', function() return 1 end)",
    ]);
}

/// Both sides in the same order.
fn sorted(records: Vec<Record>) -> BTreeMap<(u32, Vec<u8>), Record> {
    let in_order = |record: Record| Record { value: record.value.as_written().sorted(), ..record };
    records.into_iter().map(|record| ((record.database, record.key.clone()), in_order(record))).collect()
}

/// The records with strings, and how many there are of each other type.
fn divide(records: Vec<Record>) -> (Vec<Record>, BTreeMap<&'static str, usize>) {
    let (strings, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|record| record.value.kind() == Kind::String);
    let mut counts = BTreeMap::new();
    others.iter().for_each(|record| *counts.entry(record.value.kind().name()).or_default() += 1);
    (strings, counts)
}

/// How many keys of each type [`fill_other_types`] makes.
const OTHER_TYPES: [(&str, usize); 5] = [("hash", 2), ("list", 2), ("set", 4), ("stream", 2), ("zset", 2)];
const OTHER_KEYS: usize = 12;

fn read(path: &Path) -> (Vec<Record>, String) {
    let mut reader = Reader::new(File::open(path).expect("a file")).expect("an RDB file");
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().expect("a good record") {
        records.push(record);
    }
    (records, reader.skipped().to_string())
}

#[test]
fn a_dump_of_redis_server_reads_key_by_key() {
    let (records, mut redis) = (records(), Server::start("redis-server", &[]));
    fill(&mut redis, &records);
    fill_other_types(&mut redis);
    redis.run("SAVE");
    let (read, skipped) = read(&redis.folder.join("dump.rdb"));
    let (strings, others) = divide(read);
    assert_eq!(sorted(strings), sorted(records));
    assert_eq!(others, BTreeMap::from(OTHER_TYPES));
    assert_eq!(skipped, "1 of type function");
}

#[test]
fn access_history_comes_from_servers_that_keep_it() {
    let limit = ["--maxmemory", "100mb", "--maxmemory-policy"];
    let mut redis = Server::start("redis-server", &[&limit[..], &["allkeys-lfu"]].concat());
    redis.run("SET k v");
    redis.run("SAVE");
    let (read_back, _) = read(&redis.folder.join("dump.rdb"));
    assert!(matches!(read_back[0].access, Some(cloakroom::rdb::Access::Frequency(1..))), "{read_back:?}");
    redis.run("CONFIG SET maxmemory-policy allkeys-lru");
    redis.run("SAVE");
    let (read_back, _) = read(&redis.folder.join("dump.rdb"));
    assert!(matches!(read_back[0].access, Some(cloakroom::rdb::Access::IdleSeconds(_))), "{read_back:?}");
}

#[test]
fn any_flipped_byte_of_a_dump_of_redis_server_is_an_error() {
    let mut redis = Server::start("redis-server", &[]);
    for line in ["SET a 1 EX 1000", "SET b hello", "RPUSH l 1 2 3", "HSET h a b", "XADD x * a b", "SELECT 1"]
    {
        redis.run(line);
    }
    redis.run(&format!("SET c {}", "abc".repeat(50)));
    redis.run("SAVE");
    let bytes = fs::read(redis.folder.join("dump.rdb")).expect("the dump");
    let read = |bytes: &[u8]| Reader::new(bytes)?.collect::<Result<Vec<Record>, _>>();
    assert_eq!(read(&bytes).expect("a good dump").len(), 6);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(read(&damaged).is_err(), "byte {at}, bit {bit}");
        }
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn redis_loads_what_is_written() {
    let (records, folder) = (records(), new_folder());
    let path = folder.join("dump.rdb");
    let mut writer =
        Writer::new(File::create(&path).expect("a file"), 1_790_000_000, 12_345).expect("a disk");
    for database in [0, 9] {
        let of_database: Vec<&Record> = records.iter().filter(|record| record.database == database).collect();
        writer.database(database, of_database.len() as u64, 0).expect("a disk");
        for record in of_database {
            writer.record(&record.key, text_of(record), record.expire_at_ms, None).expect("a disk");
        }
    }
    drop(writer.finish().expect("a disk"));
    assert_eq!(sorted(read(&path).0), sorted(records.clone()));
    check_rdb(&path);
    let mut redis = Server::start_in("redis-server", folder, &[]);
    redis.assert_holds(0, &records);
    redis.assert_holds(9, &records);
    let Frame::Integer(keys) = redis.run("DBSIZE") else { panic!("a number") };
    assert_eq!(keys as usize, records.iter().filter(|record| record.database == 9).count());
}

/// redis-check-rdb finds nothing wrong.
pub fn check_rdb(path: &Path) {
    let output = Command::new("redis-check-rdb").arg(path).output().expect("redis-check-rdb is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("Checksum OK"), "{said}");
}

#[test]
fn payloads_are_those_of_redis_server_byte_for_byte() {
    let mut redis = Server::start("redis-server", &[]);
    let mut values: Vec<Vec<u8>> = records().iter().map(|record| text_of(record).to_vec()).collect();
    for seed in 0..1500 {
        let random = &mut Random::new(seed);
        let (length, letters) = (random.below(1000), 1 + random.below(40));
        let word = 1 + random.below(30);
        values.push((0..length).map(|at| (at % word * random.below(letters)) as u8).collect());
    }
    for (index, value) in values.iter().enumerate() {
        redis.ask(&[b"SET", b"k", value]);
        let Frame::BulkString(dumped) = redis.ask(&[b"DUMP", b"k"]) else { panic!("a payload") };
        assert!(encode_payload(value) == dumped, "value {index}: {}", value.escape_ascii());
        let read = Payload::open(&dumped).and_then(|payload| payload.value());
        assert!(read.expect("a good payload") == Value::String(value.clone()), "value {index}");
    }
}

#[test]
fn a_file_is_imported_and_exported() {
    let (records, mut redis) = (records(), Server::start("redis-server", &[]));
    fill(&mut redis, &records);
    fill_other_types(&mut redis);
    redis.run("SAVE");
    let mut server = Server::start(CLOAKROOM, &[]);
    let dump = redis.folder.join("dump.rdb").display().to_string();
    let said = succeed(&["import", &dump, "--to", &server.address()]);
    let imported = format!("{} keys imported, 0 had expired.", records.len() + OTHER_KEYS);
    assert!(said.contains(&imported) && said.contains("All are equal."), "{said}");
    assert!(
        said.contains("Not taken, because their values cannot be read here: 1 of type function"),
        "{said}"
    );
    server.assert_holds(0, &records);
    server.assert_holds(9, &records);
    assert!(
        !Path::new(&format!("{dump}.import-state")).exists(),
        "an import that is complete leaves no state"
    );

    let exported = server.folder.join("exported.rdb");
    succeed(&["export", &exported.display().to_string(), "--from", &server.address()]);
    check_rdb(&exported);
    let (of_redis, _) = read(Path::new(&dump));
    assert_eq!(sorted(read(&exported).0), sorted(of_redis));
}

#[test]
fn access_history_goes_where_the_eviction_policy_has_use_for_it() {
    let folder = new_folder();
    let path = folder.join("used.rdb").display().to_string();
    let mut writer = Writer::new(File::create(&path).expect("a file"), 0, 0).expect("a disk");
    writer.database(0, 3, 0).expect("a disk");
    let far_ms = cloakroom::base::clock::Clock::System.now_ms() + 1_000_000;
    writer.record(b"idle", b"1", Some(far_ms), Some(Access::IdleSeconds(1000))).expect("a disk");
    writer.record(b"used", &[b'z'; 300], None, Some(Access::Frequency(77))).expect("a disk");
    writer.record(b"plain", b"3", None, None).expect("a disk");
    drop(writer.finish().expect("a disk"));
    for program in [CLOAKROOM, "redis-server"] {
        for (policy, line, range) in [
            ("allkeys-lru", "OBJECT IDLETIME idle", 1000..1500),
            ("allkeys-lru", "OBJECT IDLETIME used", 0..500),
            ("allkeys-lfu", "OBJECT FREQ used", 77..78),
            ("allkeys-lfu", "OBJECT FREQ idle", 0..10),
        ] {
            let mut server = Server::start(program, &["--maxmemory-policy", policy]);
            // The comparison of redis-server 7.0, which has no NO-TOUCH, would be an access.
            let check: &[&str] = if program == CLOAKROOM { &[] } else { &["--no-check"] };
            succeed(&[&["import", &path, "--to", &server.address()], check].concat());
            let Frame::Integer(number) = server.run(line) else { panic!("a number") };
            assert!(range.contains(&number), "{program}, {policy}, {line}: {number}");
            assert_eq!(server.look(b"idle"), Some((b"1".to_vec(), Some(far_ms))));
            assert_eq!(server.look(b"used"), Some((vec![b'z'; 300], None)));
        }
    }
    // Who may not use RESTORE goes without.
    let mut server = Server::start("redis-server", &[]);
    server.run("ACL SETUSER writer on >pw ~* +@all -restore");
    succeed(&["import", &path, "--to", &format!("redis://writer:pw@127.0.0.1:{}", server.port)]);
    assert_eq!(server.look(b"idle"), Some((b"1".to_vec(), Some(far_ms))));
    assert_eq!(server.run("DBSIZE"), Frame::Integer(3));
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_directory_in_which_a_server_runs_gets_no_file() {
    let mut redis = Server::start("redis-server", &[]);
    redis.run("SET k v");
    redis.run("SAVE");
    let server = Server::start(CLOAKROOM, &[]);
    let dump = redis.folder.join("dump.rdb").display().to_string();
    let refused = cloakroom(&["import", &dump, "--dir", &server.folder.display().to_string()]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("a server is running from"), "{told}");
    assert!(!server.folder.join("dump.rdb").exists());
}

#[test]
fn a_running_server_is_imported() {
    let (records, mut redis) = (records(), Server::start("redis-server", &["--requirepass", "s@cret"]));
    redis.run("AUTH s@cret");
    fill(&mut redis, &records);
    fill_other_types(&mut redis);
    let mut server = Server::start(CLOAKROOM, &[]);
    let source = format!("redis://:s%40cret@127.0.0.1:{}", redis.port);
    let words = ["import", &source, "--to", &server.address(), "--rate", "100000"];
    let state = ["--state", &server.folder.join("state").display().to_string()].map(str::to_owned);
    let words: Vec<&str> = words.into_iter().chain(state.iter().map(String::as_str)).collect();
    let said = succeed(&words);
    assert!(said.contains("All are equal."), "{said}");
    assert_eq!(server.run("DBSIZE"), redis.run("DBSIZE"));
    server.assert_holds(0, &records);
    server.assert_holds(9, &records);

    // Only what GET and PTTL tell, for a user who may do no more; everything into one database.
    redis.run("ACL SETUSER reader on >pw ~* -@all +get +pttl +scan +select +dbsize +type");
    server.run("FLUSHALL");
    let source = format!("redis://reader:pw@127.0.0.1:{}/9", redis.port);
    let words = ["import", &source, "--to", &format!("{}/3", server.address())];
    let words: Vec<&str> = words.into_iter().chain(state.iter().map(String::as_str)).collect();
    let said = succeed(&words);
    assert!(said.contains("All are equal."), "{said}");
    server.run("SELECT 3");
    let of_nine = records.iter().filter(|record| record.database == 9);
    for record in of_nine {
        let (value, at_ms) = server.look(&record.key).expect("the key");
        assert_eq!(value, text_of(record));
        assert!(at_ms.unwrap_or(0).abs_diff(record.expire_at_ms.unwrap_or(0)) < 2000);
    }
}

#[test]
fn an_interrupted_import_goes_on() {
    let folder = new_folder();
    let path = folder.join("many.rdb");
    let mut writer = Writer::new(File::create(&path).expect("a file"), 0, 0).expect("a disk");
    let key = |number: u32| format!("key:{number}").into_bytes();
    writer.database(0, 30_000, 0).expect("a disk");
    for number in 0..30_000 {
        writer.record(&key(number), &[b'v'; 300], None, None).expect("a disk");
    }
    drop(writer.finish().expect("a disk"));
    let mut server = Server::start(CLOAKROOM, &["--maxmemory", "8mb"]);
    let path = path.display().to_string();
    let failed = cloakroom(&["import", &path, "--to", &server.address()]);
    let told = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success() && told.contains("refuses SET: OOM"), "{told}");
    server.run("CONFIG SET maxmemory 0");
    let said = succeed(&["import", &path, "--to", &server.address()]);
    assert!(said.contains("Going on after ") && said.contains("All are equal."), "{said}");
    assert_eq!(server.run("DBSIZE"), Frame::Integer(30_000));
    // The next import finds no state and begins anew; what differs is told.
    server.run("SET key:7 other");
    let said = succeed(&["import", &path, "--to", &server.address(), "--no-check"]);
    assert!(!said.contains("Going on") && said.contains("30000 keys imported"), "{said}");
    assert_eq!(server.look(b"key:7"), Some((vec![b'v'; 300], None)));
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_data_directory_gets_a_file_for_the_next_start() {
    let mut redis = Server::start("redis-server", &[]);
    redis.run("SET k v");
    redis.run("SAVE");
    let folder = new_folder();
    let dump = redis.folder.join("dump.rdb").display().to_string();
    for source in [&dump, &redis.address()] {
        let data = folder.join("data");
        let name = data.display().to_string();
        succeed(&["import", source, "--dir", &name]);
        assert_eq!(read(&data.join("dump.rdb")).0.len(), 1);
        let again = cloakroom(&["import", source, "--dir", &name]);
        assert!(!again.status.success(), "what is there is not overwritten");
        fs::remove_dir_all(data).expect("our folder");
    }
    let damaged = folder.join("damaged.rdb");
    fs::write(&damaged, b"REDIS0010\xff12345678").expect("a disk");
    let refused =
        cloakroom(&["import", &damaged.display().to_string(), "--dir", &folder.display().to_string()]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && told.contains("damaged.rdb: at byte 10: the checksum is "),
        "{told}"
    );
    let _ = fs::remove_dir_all(folder);
}

/// Moves keys with MIGRATE from one server to the other, and looks what is where.
fn migrate_between(from: &mut Server, to: &mut Server) {
    let now_ms = cloakroom::base::clock::Clock::System.now_ms();
    let port = to.port;
    let say = |from: &mut Server, line: &str| {
        let line = line.replace("TO", &format!("127.0.0.1 {port}"));
        let words: Vec<&[u8]> = line.split(' ').map(|word| word.trim_matches('"').as_bytes()).collect();
        match from.ask(&words) {
            Frame::SimpleString(text) => String::from_utf8_lossy(&text).into_owned(),
            Frame::Error(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    };
    from.run(&format!("SET a 1 PXAT {}", now_ms + 500_000));
    from.run(&format!("SET b {}", "long".repeat(100)));
    from.run("SET c 3");
    assert_eq!(say(from, "MIGRATE TO a 0 1000 COPY"), "OK");
    assert!(from.look(b"a").is_some());
    let (value, at_ms) = to.look(b"a").expect("the copy");
    assert!(value == b"1" && at_ms.unwrap_or(0).abs_diff(now_ms + 500_000) < 5000, "{at_ms:?}");
    let busy = "ERR Target instance replied with error: BUSYKEY Target key name already exists.";
    assert_eq!(say(from, "MIGRATE TO a 0 1000"), busy);
    assert!(from.look(b"a").is_some());
    // What arrives goes, what is refused stays, what is not there does not matter.
    assert_eq!(say(from, "MIGRATE TO \"\" 0 1000 KEYS c a missing b"), busy);
    assert!(from.look(b"a").is_some() && from.look(b"b").is_none() && from.look(b"c").is_none());
    assert_eq!(to.look(b"b"), Some(("long".repeat(100).into_bytes(), None)));
    assert_eq!(say(from, "MIGRATE TO a 0 1000 REPLACE"), "OK");
    assert_eq!(from.run("DBSIZE"), Frame::Integer(0));
    assert_eq!(to.run("DBSIZE"), Frame::Integer(3));
    from.run("SET d 4");
    let answer = say(from, "MIGRATE TO d 99 1000");
    assert_eq!(answer, "ERR Target instance replied with error: ERR DB index is out of range");
    let answer = say(from, "MIGRATE TO d 0 1000 AUTH2 nobody wrong");
    assert!(answer.starts_with("ERR Target instance replied with error: WRONGPASS "), "{answer}");
    assert!(from.look(b"d").is_some());
    assert_eq!(say(from, "MIGRATE TO missing 0 1000"), "NOKEY");
}

#[test]
fn migrate_moves_keys_as_redis_server_does() {
    let start = || (Server::start("redis-server", &[]), Server::start(CLOAKROOM, &[]));
    // The first line shows that the expectations are those of redis-server.
    let (mut redis, mut server) = start();
    let mut other_redis = Server::start("redis-server", &[]);
    migrate_between(&mut redis, &mut other_redis);
    redis.run("FLUSHALL");
    migrate_between(&mut redis, &mut server);
    let (mut redis, mut server) = start();
    migrate_between(&mut server, &mut redis);
    assert!(redis.look(b"d").is_none(), "nothing goes to a database that was refused");
}

#[test]
fn migrate_to_the_same_place_deletes_nothing() {
    let mut server = Server::start(CLOAKROOM, &[]);
    server.run("SET k v");
    let port = server.port.to_string();
    let migrate = |server: &mut Server, database: &[u8]| {
        server.ask(&[b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"k", database, b"5000", b"REPLACE"])
    };
    let told = "ERR the target is this server and this database";
    assert_eq!(migrate(&mut server, b"0"), Frame::Error(String::from(told)));
    assert_eq!(server.look(b"k"), Some((b"v".to_vec(), None)));
    assert_eq!(migrate(&mut server, b"1"), Frame::SimpleString(b"OK".to_vec()));
    assert_eq!(server.look(b"k"), None);
    server.run("SELECT 1");
    assert_eq!(server.look(b"k"), Some((b"v".to_vec(), None)));
}

#[test]
fn migrate_gives_up_on_a_silent_server_and_blocks_nobody_else() {
    let mut server = Server::start(CLOAKROOM, &["--threads", "1"]);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = silent.local_addr().expect("an address").port();
    server.run("SET k v");
    let mut waiting = server.stream.try_clone().expect("a socket");
    let mut neighbour = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).expect("the server");
    waiting.write_all(format!("MIGRATE 127.0.0.1 {port} k 0 500\r\nPING\r\n").as_bytes()).expect("a request");
    let mut reached = silent.accept().expect("MIGRATE connects").0;
    let mut first = [0; 4];
    reached.read_exact(&mut first).expect("MIGRATE writes");
    // While it waits, the key is in use by others; it has changed when the answer comes.
    neighbour.write_all(b"SET k w\r\n").expect("a request");
    let mut reply = [0; 5];
    neighbour.read_exact(&mut reply).expect("an answer at once");
    assert_eq!(&reply, b"+OK\r\n");
    assert_eq!(
        server.receive(),
        Frame::Error(String::from("IOERR error or timeout reading to target instance"))
    );
    assert_eq!(server.receive(), Frame::SimpleString(b"PONG".to_vec()));
    // Now it arrives, but is no longer what is here.
    waiting.write_all(format!("MIGRATE 127.0.0.1 {port} k 0 20000\r\n").as_bytes()).expect("a request");
    let mut reached = silent.accept().expect("MIGRATE connects").0;
    reached.read_exact(&mut first).expect("MIGRATE writes");
    neighbour.write_all(b"SET k x\r\n").expect("a request");
    neighbour.read_exact(&mut reply).expect("an answer at once");
    for _ in 0..2 {
        reached.write_all(b"+OK\r\n").expect("MIGRATE reads");
    }
    let changed = "ERR 1 keys were changed here while they were copied, and stay";
    assert_eq!(server.receive(), Frame::Error(String::from(changed)));
    assert_eq!(server.look(b"k"), Some((b"x".to_vec(), None)));
}
