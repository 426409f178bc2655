//! Values of every type against Redis 7.0, Redis 8.2 and Valkey 9: what they write in each encoding is read as what they answer, and what is
//! encoded they restore as the same value.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use cloakroom::rdb::value::{
    Body, Collector, Consumer, Decoded, Encoder, Field, Group, Kind, Pending, StreamId, StreamState,
    StreamValue, Value,
};
use cloakroom::rdb::{Payload, Reader, Writer, seal_payload};
use redis_protocol::resp2::types::OwnedFrame as Frame;

use super::check_rdb;
use super::server::{CLOAKROOM, Server, new_folder};

/// A server to compare with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Oracle {
    Redis7,
    Redis8,
    Valkey9,
}

impl Oracle {
    fn start(self, more: &[&str]) -> Server {
        Server::start(&self.program(), &[STRICT, more].concat())
    }

    fn program(self) -> String {
        static FETCHED: OnceLock<()> = OnceLock::new();
        let name = match self {
            Oracle::Redis7 => return String::from("redis-server"),
            Oracle::Redis8 => "redis8",
            Oracle::Valkey9 => "valkey9",
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        FETCHED.get_or_init(|| {
            let fetched = Command::new(root.join("tests/oracles")).status().expect("a script that runs");
            assert!(fetched.success(), "tests/oracles fetches the servers");
        });
        root.join("target/oracles").join(name).display().to_string()
    }

    fn has_field_deadlines(self) -> bool {
        self != Oracle::Redis7
    }
}

const STRICT: &[&str] = &["--enable-debug-command", "yes", "--sanitize-dump-payload", "yes"];

/// Fills a server with values of all types in all encodings that it has. Gives the keys.
fn fill(oracle: Oracle, server: &mut Server) -> Vec<String> {
    let long = "z".repeat(300);
    for (name, count, text) in [("small", 3, "text"), ("large", 700, &long)] {
        for number in 0..count {
            let sign = if number % 2 == 0 { "" } else { "-" };
            server.run(&format!("RPUSH list:{name} element{number} {sign}{number}"));
            server.run(&format!("SADD set:{name} member{number} {number}"));
            server.run(&format!("SADD numbers:{name} {sign}{}", number * 100_000));
            server.run(&format!("HSET hash:{name} field{number} {number} {number} {text}"));
            server.run(&format!("ZADD zset:{name} {sign}{number}.5 member{number} {number} {number}"));
            server.run(&format!(
                "XADD stream:{name} {}-{number} field {number} other {sign}{number}",
                1000 + number / 3
            ));
        }
        server.run(&format!("ZADD zset:{name} inf most -inf least 1e300 much -0.0 nothing"));
        fill_groups(server, &format!("stream:{name}"));
    }
    server.run("SADD numbers:wide 9223372036854775807 -9223372036854775808");
    server.run("DEBUG QUICKLIST-PACKED-THRESHOLD 100b");
    server.run(&format!("RPUSH list:plain one {long} two"));
    server.run("SET string text");
    // A stream of nothing but what it remembers.
    server.run("XADD stream:empty 7-7 field value");
    server.run("XDEL stream:empty 7-7");
    server.run("XGROUP CREATE stream:empty group 3 ENTRIESREAD 1");
    let mut keys = vec!["numbers:wide", "list:plain", "string", "stream:empty"];
    keys.extend(["list:small", "list:large", "set:small", "set:large", "numbers:small", "numbers:large"]);
    keys.extend(["hash:small", "hash:large", "zset:small", "zset:large", "stream:small", "stream:large"]);
    if oracle.has_field_deadlines() {
        let now_ms = cloakroom::base::clock::Clock::System.now_ms();
        for (name, count) in [("small", 5), ("large", 600)] {
            for number in 0..count {
                server.run(&format!("HSET timed:{name} field{number} {number}"));
                if number % 3 > 0 {
                    let due_ms = now_ms + 1_000_000 + number * 7;
                    server.run(&format!("HPEXPIREAT timed:{name} {due_ms} FIELDS 1 field{number}"));
                }
            }
        }
        keys.extend(["timed:small", "timed:large"]);
    }
    keys.into_iter().map(str::to_owned).collect()
}

/// Groups with and without pending entries, one whose place is not known, and deleted entries.
fn fill_groups(server: &mut Server, stream: &str) {
    server.run(&format!("XADD {stream} 5000-0 one 1"));
    server.run(&format!("XADD {stream} 5000-1 two 2 field 3 field 4"));
    server.run(&format!("XDEL {stream} 1000-1"));
    server.run(&format!("XGROUP CREATE {stream} first 0"));
    server.run(&format!("XREADGROUP GROUP first me COUNT 3 STREAMS {stream} >"));
    server.run(&format!("XREADGROUP GROUP first you COUNT 1 STREAMS {stream} >"));
    server.run(&format!("XGROUP CREATECONSUMER {stream} first idle"));
    server.run(&format!("XGROUP CREATE {stream} second 1000-2"));
    server.run(&format!("XGROUP CREATE {stream} third $"));
}

fn bytes(frame: Frame) -> Vec<u8> {
    match frame {
        Frame::BulkString(bytes) | Frame::SimpleString(bytes) => bytes,
        other => panic!("a string, not {other:?}"),
    }
}

fn integer(frame: &Frame) -> i64 {
    match frame {
        Frame::Integer(number) => *number,
        other => panic!("a number, not {other:?}"),
    }
}

fn array(frame: Frame) -> Vec<Frame> {
    match frame {
        Frame::Array(frames) => frames,
        other => panic!("an array, not {other:?}"),
    }
}

fn pairs(frames: Vec<Frame>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let frames: Vec<Vec<u8>> = frames.into_iter().map(bytes).collect();
    frames.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

/// What a server answers about a key, whatever its type.
fn ask_value(server: &mut Server, key: &str) -> Value {
    let kind = bytes(server.run(&format!("TYPE {key}")));
    let texts = |frame: Frame| array(frame).into_iter().map(bytes).collect();
    match &kind[..] {
        b"string" => Value::String(bytes(server.run(&format!("GET {key}")))),
        b"list" => Value::List(texts(server.run(&format!("LRANGE {key} 0 -1")))),
        b"set" => Value::Set(texts(server.run(&format!("SMEMBERS {key}")))),
        b"zset" => {
            let members = pairs(array(server.run(&format!("ZRANGE {key} 0 -1 WITHSCORES"))));
            let score = |text: Vec<u8>| cloakroom::base::number::parse_f64(&text).expect("a score");
            Value::SortedSet(members.into_iter().map(|(member, text)| (member, score(text))).collect())
        }
        b"hash" => Value::Hash(ask_fields(server, key)),
        b"stream" => Value::Stream(ask_stream(server, key)),
        other => panic!("{key} is a {}", other.escape_ascii()),
    }
}

fn ask_fields(server: &mut Server, key: &str) -> Vec<Field> {
    let fields = pairs(array(server.run(&format!("HGETALL {key}"))));
    let mut times = vec![-1; fields.len()];
    if key.starts_with("timed:") || key.starts_with("copy:timed:") {
        let count = fields.len().to_string();
        let mut words: Vec<&[u8]> = vec![b"HPEXPIRETIME", key.as_bytes(), b"FIELDS", count.as_bytes()];
        words.extend(fields.iter().map(|(name, _)| &name[..]));
        times = array(server.ask(&words)).iter().map(integer).collect();
    }
    let field = |((name, value), time)| Field { name, value, due_ms: Some(time).filter(|ms| *ms >= 0) };
    fields.into_iter().zip(times).map(field).collect()
}

/// A reply of names and values.
struct Facts(Vec<Frame>);

impl Facts {
    fn of(frame: Frame) -> Facts {
        Facts(array(frame))
    }

    fn find(&self, name: &str) -> Option<Frame> {
        let at = self.0.chunks(2).find(|pair| bytes(pair[0].clone()) == name.as_bytes())?;
        Some(at[1].clone())
    }

    fn get(&self, name: &str) -> Frame {
        self.find(name).unwrap_or_else(|| panic!("{name}"))
    }
}

fn stream_id(frame: Frame) -> StreamId {
    let text = String::from_utf8(bytes(frame)).expect("an id");
    let (ms, number) = text.split_once('-').expect("two numbers");
    StreamId { ms: ms.parse().expect("a number"), number: number.parse().expect("a number") }
}

fn ask_stream(server: &mut Server, key: &str) -> StreamValue {
    let facts = Facts::of(server.run(&format!("XINFO STREAM {key} FULL COUNT 0")));
    let entry = |frame: Frame| {
        let mut both = array(frame).into_iter();
        let id = stream_id(both.next().expect("an id"));
        (id, pairs(array(both.next().expect("fields"))))
    };
    StreamValue {
        entries: array(facts.get("entries")).into_iter().map(entry).collect(),
        state: StreamState {
            last_id: stream_id(facts.get("last-generated-id")),
            max_deleted_id: stream_id(facts.get("max-deleted-entry-id")),
            entries_added: integer(&facts.get("entries-added")) as u64,
        },
        groups: array(facts.get("groups")).into_iter().map(group).collect(),
    }
}

fn group(frame: Frame) -> Group {
    let facts = Facts::of(frame);
    let consumers: Vec<Consumer> = array(facts.get("consumers"))
        .into_iter()
        .map(|frame| {
            let facts = Facts::of(frame);
            let seen_ms = integer(&facts.get("seen-time"));
            let active_ms = facts.find("active-time").map_or(seen_ms, |time| integer(&time));
            let active_ms = Some(active_ms).filter(|ms| *ms >= 0);
            Consumer { name: bytes(facts.get("name")), seen_ms, active_ms }
        })
        .collect();
    let pending = |frame: Frame| {
        let facts = array(frame);
        let owner = bytes(facts[1].clone());
        let consumer = consumers.iter().position(|consumer| consumer.name == owner).expect("an owner");
        Pending {
            id: stream_id(facts[0].clone()),
            delivered_ms: integer(&facts[2]),
            deliveries: integer(&facts[3]) as u64,
            consumer: consumer as u32,
        }
    };
    let entries_read = match facts.get("entries-read") {
        Frame::Null => None,
        number => Some(integer(&number) as u64),
    };
    let pending = array(facts.get("pending")).into_iter().map(pending).collect();
    let last_id = stream_id(facts.get("last-delivered-id"));
    Group { name: bytes(facts.get("name")), last_id, entries_read, pending, consumers }
}

fn dump(server: &mut Server, key: &str) -> Vec<u8> {
    bytes(server.run(&format!("DUMP {key}")))
}

fn read(payload: &[u8]) -> Result<Value, String> {
    let value = Payload::open(payload).and_then(|payload| payload.value());
    value.map(Value::sorted).map_err(|error| format!("{error:?}"))
}

/// Everything that one server has goes through here and back into it.
fn compare_with(oracle: Oracle, encodings: &[u8]) {
    let mut server = oracle.start(&[]);
    let keys = fill(oracle, &mut server);
    let mut seen = BTreeSet::new();
    for key in &keys {
        let (value, payload) = (ask_value(&mut server, key).sorted(), dump(&mut server, key));
        seen.insert(payload[0]);
        assert_eq!(read(&payload).as_ref(), Ok(&value), "{oracle:?}: {key}");
        let payload = seal_payload(value.encode());
        let copy = format!("copy:{key}");
        let restored = server.ask(&[b"RESTORE", copy.as_bytes(), b"0", &payload]);
        if oracle == Oracle::Valkey9 && key.starts_with("timed:") {
            let refused = "ERR DUMP payload version or checksum are wrong";
            assert_eq!(restored, Frame::Error(refused.into()), "Valkey has another form of such hashes");
            continue;
        }
        assert_eq!(restored, Frame::SimpleString(b"OK".to_vec()), "{oracle:?}: {key}");
        assert_eq!(ask_value(&mut server, &copy).sorted(), value.as_written(), "{oracle:?}: {key}");
        let digests = array(server.run(&format!("DEBUG DIGEST-VALUE {key} {copy}")));
        assert_eq!(digests[0], digests[1], "{oracle:?}: {key}");
        server.run(&format!("DEL {copy}"));
    }
    assert_eq!(seen, encodings.iter().copied().collect(), "{oracle:?}");
    compare_file(oracle, &mut server, &keys);
}

/// The server's file has the same values, and one that is written of them makes the same server.
fn compare_file(oracle: Oracle, server: &mut Server, keys: &[String]) {
    server.run("SAVE");
    let file = File::open(server.folder.join("dump.rdb")).expect("the dump");
    let mut reader = Reader::new(file).expect("a header");
    let (mut found, mut has_due) = (Vec::new(), false);
    let folder = new_folder();
    let path = folder.join("dump.rdb");
    let mut writer = Writer::new(File::create(&path).expect("a file"), 0, 0).expect("a disk");
    writer.database(0, keys.len() as u64, 0).expect("a disk");
    while let Some(key) = reader.next_key().expect("a good file") {
        // Straight from one form to the other, and to compare.
        let mut collector = Collector::new(key.kind);
        assert_eq!(reader.value(&mut collector).expect("a good value"), Decoded::Whole);
        let (name, value) = (String::from_utf8(key.name).expect("a name"), collector.into_value());
        let body = value.encode();
        has_due |= body.version > 10;
        writer.value(name.as_bytes(), &body, None, None).expect("a disk");
        assert_eq!(value.sorted(), ask_value(server, &name).sorted(), "{oracle:?}: {name}");
        found.push(name);
    }
    assert_eq!(reader.skipped().count(), 0);
    assert_eq!(found.iter().collect::<BTreeSet<_>>(), keys.iter().collect::<BTreeSet<_>>());
    drop(writer.finish().expect("a disk"));
    assert_eq!(has_due, oracle.has_field_deadlines());
    // Where a field is due, only a Redis that knows that can read the file.
    let reader = if has_due { Oracle::Redis8 } else { Oracle::Redis7 };
    if !has_due {
        check_rdb(&path);
    }
    let mut other = Server::start_in(&reader.program(), folder, STRICT);
    for key in keys {
        let (expected, found) = (ask_value(server, key), ask_value(&mut other, key));
        assert_eq!(found.sorted(), expected.as_written().sorted(), "{oracle:?}: {key}");
    }
    if oracle != Oracle::Valkey9 {
        assert_eq!(server.run("DEBUG DIGEST"), other.run("DEBUG DIGEST"), "{oracle:?}");
    }
}

#[test]
fn values_of_redis_7_read_and_are_restored() {
    compare_with(Oracle::Redis7, &[0, 2, 4, 5, 11, 16, 17, 18, 19]);
}

#[test]
fn values_of_redis_8_read_and_are_restored() {
    compare_with(Oracle::Redis8, &[0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 24, 25]);
}

#[test]
fn values_of_valkey_9_read_and_are_restored() {
    compare_with(Oracle::Valkey9, &[0, 2, 4, 5, 11, 16, 17, 18, 20, 21, 22]);
}

#[test]
fn a_server_that_does_not_know_fields_with_deadlines_refuses_the_file() {
    let folder = new_folder();
    let path = folder.join("dump.rdb");
    let mut writer = Writer::new(File::create(&path).expect("a file"), 0, 0).expect("a disk");
    let field = Field { name: b"f".to_vec(), value: b"v".to_vec(), due_ms: Some(1 << 45) };
    writer.value(b"k", &Value::Hash(vec![field]).encode(), None, None).expect("a disk");
    drop(writer.finish().expect("a disk"));
    let output = Command::new("redis-check-rdb").arg(&path).output().expect("redis-check-rdb is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && told.contains("Can't handle RDB format version 12"), "{told}");
    let _ = std::fs::remove_dir_all(folder);
}

/// Encodings that no server of today writes, by hand: both sides say the same of them.
#[test]
fn old_encodings_mean_what_redis_makes_of_them() {
    let mut redis = Oracle::Redis7.start(&[]);
    let pending = b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\x05\0\0\0\0\0\0\0\x02";
    let consumer = b"\x01\x01c\x07\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01";
    let node = b"\x01\x10\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\x27\x27\0\0\0\x0f\0\x01\x01\x01\x01\x01\x01\x81f\x02\x00\x01\
        \x02\x01\x00\x01\x00\x01\x81v\x02\x04\x01\x03\x01\x01\x01\x00\x01\x07\x01\x04\x01\xff";
    let group_at = |ms: u8, number: u8| {
        [&node[..], b"\x01\x05\x00\x01\x01g", &[ms, number], &pending[..], &consumer[..]].concat()
    };
    let examples: Vec<(u8, Vec<u8>)> = vec![
        (1, b"\x02\x01a\xc0\x05".to_vec()),
        (3, b"\x04\x01a\x031.5\x01b\xfe\x01c\xff\x01d\x0617e-10".to_vec()),
        (9, b"\x1a\x02\x03foo\x03\x02bar..\x05hello\x05\x00world\xff".to_vec()),
        (9, b"\x0d\xfe\x03foo\x03\x02bar..\xff".to_vec()),
        (9, [b"\x41\x0e\x01\x03foo\xfe\x02\x01\0\0\x00", &[b'z'; 258][..], b"\xff"].concat()),
        (10, b"\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff".to_vec()),
        (12, b"\x17\x17\0\0\0\x0e\0\0\0\x02\0\0\x02ab\x04\x06-1.5e3\xff".to_vec()),
        (13, b"\x10\x10\0\0\0\x0d\0\0\0\x02\0\0\x01a\x03\xf6\xff".to_vec()),
        (14, b"\x01\x0f\x0f\0\0\0\x0c\0\0\0\x02\0\0\xf3\x02\xf6\xff".to_vec()),
        (15, group_at(0, 0)),
        (15, group_at(3, 0)),
        (15, group_at(3, 1)),
        (15, group_at(4, 0)),
        (15, group_at(5, 0)),
        (15, group_at(6, 0)),
        (15, b"\x00\x00\x05\x00\x01\x01g\x01\x00\x00\x00".to_vec()),
        (15, b"\x00\x00\x00\x00\x01\x01g\x01\x00\x00\x00".to_vec()),
    ];
    for (code, value) in examples {
        let payload = seal_payload(Body { bytes: [&[code], &value[..]].concat(), version: 9 });
        let restored = redis.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(restored, Frame::SimpleString(b"OK".to_vec()), "{code}: {}", value.escape_ascii());
        let expected = ask_value(&mut redis, "k").sorted();
        assert_eq!(read(&payload), Ok(expected), "{code}: {}", value.escape_ascii());
    }
}

#[test]
fn what_redis_refuses_is_refused() {
    let mut redis = Oracle::Redis7.start(&[]);
    let twice = b"\x02\x01a\x011\x01a\x012";
    let examples: Vec<(u8, &[u8])> = vec![
        (1, b"\x00"),
        (2, b"\x02\x01a\x01a"),
        (3, twice),
        (3, b"\x01\x01a\xfd"),
        (4, twice),
        (5, b"\x00"),
        (9, b"\x02\x00\xff"),
        (9, b"\x11\xfe\x03foo\xfe\x03\0\0\0\x02bar..\xff"),
        (10, b"\x0b\x0b\0\0\0\x0a\0\0\0\0\0\xff"),
        (11, b"\x0c\x02\0\0\0\x02\0\0\0\x01\0\x01\0"),
        (16, b"\x0d\x0d\0\0\0\x02\0\x81a\x02\xc1\x00\x03\xff"),
        (16, b"\x0a\x0a\0\0\0\x01\0\x81a\x02\xff"),
        (18, b"\x01\x03\x01a"),
        (18, b"\x01\x01\x00"),
        (19, b"\x00\x01\x05\x00\x00\x00\x00\x00\x01\x00"),
        (7, b"\x01\x00"),
        (99, b"\x00"),
    ];
    for (code, value) in examples {
        let payload = seal_payload(Body { bytes: [&[code], value].concat(), version: 10 });
        let answer = redis.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(answer, Frame::Error("ERR Bad data format".into()), "{code}: {}", value.escape_ascii());
        assert!(read(&payload).is_err(), "{code}: {}", value.escape_ascii());
    }
    let kinds = [Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash];
    for kind in kinds {
        let payload = seal_payload(Encoder::new(kind).finish());
        let answer = redis.ask(&[b"RESTORE", b"k", b"0", &payload, b"REPLACE"]);
        assert_eq!(answer, Frame::Error("ERR Bad data format".into()), "an empty {}", kind.name());
    }
}

/// What a server of ours has under a key, as its payload says: this works for types that have no commands yet.
fn dumped(server: &mut Server, key: &str) -> Value {
    read(&dump(server, key)).expect("a good payload")
}

/// Whether the type of a key has its commands here, and so its digest.
fn has_commands(key: &str) -> bool {
    ["string", "hash:", "timed:", "list:", "stream:"].iter().any(|start| key.starts_with(start))
}

#[test]
fn cloakroom_restores_and_dumps_values_of_redis() {
    let mut redis = Oracle::Redis8.start(&[]);
    let keys = fill(Oracle::Redis8, &mut redis);
    let log = ["--enable-debug-command", "yes", "--appendonly", "yes"];
    let mut server = Server::start(CLOAKROOM, &log);
    for key in &keys {
        let payload = dump(&mut redis, key);
        let ttl = if key == "hash:small" { "3000000000000" } else { "0" };
        let restored = server.ask(&[b"RESTORE", key.as_bytes(), ttl.as_bytes(), &payload, b"ABSTTL"]);
        assert_eq!(restored, Frame::SimpleString(b"OK".to_vec()), "{key}");
        assert_eq!(dumped(&mut server, key), ask_value(&mut redis, key).as_written().sorted(), "{key}");
        let names = [&mut server, &mut redis].map(|server| server.run(&format!("OBJECT ENCODING {key}")));
        // Small sets and lists, and hashes with field TTLs, are named as Redis 7.0 names them.
        let is_compared = !["timed:", "list:", "set:"].iter().any(|start| key.starts_with(start));
        assert!(!is_compared || names[0] == names[1], "{key}: {names:?}");
        let busy = "BUSYKEY Target key name already exists.";
        assert_eq!(server.ask(&[b"RESTORE", key.as_bytes(), b"0", &payload]), Frame::Error(busy.into()));
    }
    server.run("PERSIST hash:small");
    for key in keys.iter().filter(|key| has_commands(key)) {
        let digests =
            [&mut server, &mut redis].map(|server| server.run(&format!("DEBUG DIGEST-VALUE {key}")));
        assert_eq!(digests[0], digests[1], "{key}");
    }
    // The log has all of them, and so has the snapshot.
    for again in ["DEBUG LOADAOF", "DEBUG RELOAD"] {
        server.run(again);
        assert_eq!(server.run("DBSIZE"), Frame::Integer(keys.len() as i64));
        for key in &keys {
            assert_eq!(
                dumped(&mut server, key),
                ask_value(&mut redis, key).as_written().sorted(),
                "{again}: {key}"
            );
        }
    }
    // What is dumped here is restored there as the same value.
    for key in &keys {
        let payload = dump(&mut server, key);
        let copy = format!("copy:{key}");
        let restored = redis.ask(&[b"RESTORE", copy.as_bytes(), b"0", &payload]);
        assert_eq!(restored, Frame::SimpleString(b"OK".to_vec()), "{key}");
        let digests = array(redis.run(&format!("DEBUG DIGEST-VALUE {key} {copy}")));
        assert_eq!(digests[0], digests[1], "{key}");
    }
}

#[test]
fn cloakroom_refuses_payloads_as_redis_does() {
    let (mut redis, mut server) = (Oracle::Redis7.start(&[]), Server::start(CLOAKROOM, &[]));
    let good = seal_payload(Value::List(vec![b"a".to_vec()]).encode());
    let mut damaged = good.clone();
    damaged[1] ^= 1;
    let twice = seal_payload(Body { bytes: b"\x02\x02\x01a\x01a".to_vec(), version: 10 });
    let empty = seal_payload(Encoder::new(Kind::Hash).finish());
    let cut = seal_payload(Body { bytes: good[..3].to_vec(), version: 10 });
    for payload in [&damaged, &twice, &empty, &cut, &b"x".to_vec()] {
        let words: &[&[u8]] = &[b"RESTORE", b"k", b"0", payload];
        let answers = [redis.ask(words), server.ask(words)];
        assert!(answers[0] == answers[1] && matches!(answers[0], Frame::Error(_)), "{answers:?}");
    }
    assert_eq!(server.run("DBSIZE"), Frame::Integer(0));
    assert_eq!(server.ask(&[b"RESTORE", b"k", b"0", &good]), Frame::SimpleString(b"OK".to_vec()));
    assert_eq!(
        server.ask(&[b"GET", b"k"]),
        redis.ask(&[
            b"EVAL",
            b"return redis.error_reply('WRONGTYPE Operation against a key holding the wrong kind of value')",
            b"0"
        ])
    );
}

#[test]
fn cloakroom_starts_from_a_dump_or_a_log_with_all_types() {
    for log in ["no", "yes"] {
        let mut redis = Oracle::Redis7.start(&["--appendonly", log, "--appendfsync", "always"]);
        let keys = fill(Oracle::Redis7, &mut redis);
        if log == "yes" {
            // What came before is in the base, which is an RDB file.
            redis.run("BGREWRITEAOF");
            while facts(&mut redis, "persistence", "aof_rewrite_in_progress") != "0" {}
            redis.run("HSET hash:small one more");
            redis.run("RPUSH list:large more");
        } else {
            redis.run("SAVE");
        }
        let folder = new_folder();
        for name in ["dump.rdb", "appendonlydir"] {
            copy(&redis.folder.join(name), &folder.join(name));
        }
        let mut server =
            Server::start_in(CLOAKROOM, folder, &["--enable-debug-command", "yes", "--appendonly", log]);
        for key in &keys {
            assert_eq!(
                dumped(&mut server, key),
                ask_value(&mut redis, key).as_written().sorted(),
                "log {log}: {key}"
            );
        }
        for key in keys.iter().filter(|key| has_commands(key)) {
            let digests =
                [&mut server, &mut redis].map(|server| server.run(&format!("DEBUG DIGEST-VALUE {key}")));
            assert_eq!(digests[0], digests[1], "{key}");
        }
        assert_eq!(server.run("DBSIZE"), Frame::Integer(keys.len() as i64));
    }
}

/// A fact of INFO.
fn facts(server: &mut Server, section: &str, name: &str) -> String {
    let text = String::from_utf8(bytes(server.run(&format!("INFO {section}")))).expect("text");
    let fact = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    fact.expect("a fact of INFO").to_owned()
}

/// Copies a file, or the files of a folder, if it is there.
fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("a file");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else if from.exists() {
        std::fs::copy(from, to).expect("a file that can be copied");
    }
}

#[test]
fn migrate_takes_values_of_all_types_along() {
    let (mut redis, mut server) = (Oracle::Redis7.start(&[]), Server::start(CLOAKROOM, &[]));
    let keys = fill(Oracle::Redis7, &mut redis);
    let values: Vec<Value> =
        keys.iter().map(|key| ask_value(&mut redis, key).as_written().sorted()).collect();
    let migrate = |from: &mut Server, to: &Server| {
        let port = to.port.to_string();
        let mut words: Vec<&[u8]> =
            vec![b"MIGRATE", b"127.0.0.1", port.as_bytes(), b"", b"0", b"9000", b"KEYS"];
        words.extend(keys.iter().map(|key| key.as_bytes()));
        assert_eq!(from.ask(&words), Frame::SimpleString(b"OK".to_vec()));
    };
    migrate(&mut redis, &server);
    for (key, value) in keys.iter().zip(&values) {
        assert_eq!(&dumped(&mut server, key), value, "{key}");
    }
    migrate(&mut server, &redis);
    assert_eq!(server.run("DBSIZE"), Frame::Integer(0));
    for (key, value) in keys.iter().zip(&values) {
        assert_eq!(&ask_value(&mut redis, key).as_written().sorted(), value, "{key}");
    }
}
