//! Requests that change values of each type: elements come from a small universe, so that they meet again, and many at once make a value large
//! where leaves are small.

use std::sync::LazyLock;

use super::requests::{DATABASES, KEYS, Request, key_of_any_type, one_of, time_to_live_ms};
use crate::base::random::Random;
use crate::command::Group;
use crate::config::Config;
use crate::testing::in_process::{InProcess, services};

/// A type whose values have elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
}

const TYPES: [Type; 5] = [Type::Hash, Type::List, Type::Set, Type::SortedSet, Type::Stream];
/// How many different elements there are.
const ELEMENTS: u64 = 40;

impl Type {
    /// The type that the rows of a group work on.
    pub fn of(group: Group) -> Option<Type> {
        Some(match group {
            Group::Hash => Type::Hash,
            Group::List => Type::List,
            Group::Set => Type::Set,
            Group::SortedSet | Group::Geo => Type::SortedSet,
            Group::Stream => Type::Stream,
            _ => return None,
        })
    }

    /// Any of them.
    pub fn any(random: &mut Random) -> Type {
        one_of(random, &TYPES)
    }

    /// One of the two keys that mostly hold this type.
    pub fn key(self, random: &mut Random) -> &'static str {
        KEYS[KEYS.len() - 2 * (TYPES.len() - self as usize) + random.below(2) as usize]
    }

    /// A request that adds many elements to a value.
    pub fn growth(self, key: &str, random: &mut Random) -> Request {
        let count = one_of(random, &[3, 12, 30]);
        Request::of(&match self {
            Type::Hash => format!("HSET {key} {}", several(count, random, pair)),
            Type::List => {
                let end = one_of(random, &["LPUSH", "RPUSH"]);
                format!("{end} {key} {}", several(count, random, member))
            }
            Type::Set => format!("SADD {key} {}", several(count, random, member)),
            Type::SortedSet => format!("ZADD {key} {}", several(count, random, scored)),
            Type::Stream => format!("XADD {key} 1-* {}", several(count, random, pair)),
        })
    }

    /// A request that changes a value, or reads and changes it.
    pub fn change(self, key: &str, random: &mut Random) -> Request {
        let other = self.key(random);
        match self {
            Type::Hash => hash_change(key, random),
            Type::List => list_change(key, other, random),
            Type::Set => set_change(key, other, random),
            Type::SortedSet => sorted_set_change(key, other, random),
            Type::Stream => stream_change(key, random),
        }
    }

    /// What is done to a value as a whole.
    pub fn relocation(self, key: &str, random: &mut Random) -> Request {
        let (other, database) = (self.key(random), random.below(DATABASES as u64));
        let ttl_ms = time_to_live_ms(random);
        Request::of(&match random.below(12) {
            0 => format!("RENAME {key} {other}"),
            1 => format!("RENAMENX {key} {other}"),
            2 | 3 => format!("MOVE {key} {database}"),
            4 => format!("COPY {key} {other} REPLACE"),
            5 => format!("COPY {key} {other} DB {database}"),
            6 => format!("DEL {key}"),
            7 => format!("UNLINK {key}"),
            8 => format!("PERSIST {key}"),
            9 => format!("SWAPDB 0 {database}"),
            _ => format!("PEXPIRE {key} {ttl_ms}"),
        })
    }
}

/// A request that writes a value of some type.
pub fn value_write(random: &mut Random) -> Request {
    let kind = Type::any(random);
    let key = if random.below(16) == 0 { key_of_any_type(random) } else { kind.key(random) };
    match random.below(8) {
        0 | 1 => kind.growth(key, random),
        2 => kind.relocation(key, random),
        _ => kind.change(key, random),
    }
}

/// A word of a row's syntax that names an element, if it is one.
pub fn element(name: &str, random: &mut Random) -> Option<String> {
    Some(match name {
        "field" | "member" | "pivot" => member(random),
        "element" if random.below(4) > 0 => member(random),
        "group" => one_of(random, &["g1", "g2"]).to_owned(),
        "consumer" => one_of(random, &["c1", "c2", "c3"]).to_owned(),
        "id" | "last-id" | "lastid" => id(random),
        "increment" => one_of(random, &["1", "-3", "0.1"]).to_owned(),
        _ => return None,
    })
}

fn several(count: u64, random: &mut Random, make: impl Fn(&mut Random) -> String) -> String {
    let words: Vec<String> = (0..count).map(|_| make(random)).collect();
    words.join(" ")
}

/// Short words, numbers and long words.
fn member(random: &mut Random) -> String {
    let number = random.below(ELEMENTS);
    match number % 8 {
        0 => format!("m{number}{}", "x".repeat(30)),
        1 | 2 => number.to_string(),
        _ => format!("m{number}"),
    }
}

fn pair(random: &mut Random) -> String {
    let value = match random.below(8) {
        0 => "v".repeat(90),
        1 | 2 => member(random),
        _ => random.below(100).to_string(),
    };
    format!("{} {value}", member(random))
}

fn score(random: &mut Random) -> &'static str {
    one_of(random, &["0", "1", "2", "3", "1.5", "-7", "1e300", "inf", "-inf", "0.1"])
}

fn scored(random: &mut Random) -> String {
    format!("{} {}", score(random), member(random))
}

fn hash_change(key: &str, random: &mut Random) -> Request {
    let (field, ttl_ms) = (member(random), time_to_live_ms(random));
    let count = one_of(random, &[1, 1, 4, 20]);
    let fields = format!("FIELDS {count} {}", several(count, random, member));
    let pairs = format!("FIELDS {count} {}", several(count, random, pair));
    let condition = one_of(random, &["", "", "", " NX", " XX", " GT", " LT"]);
    let line = match random.below(14) {
        0 => format!("HDEL {key} {}", several(count, random, member)),
        1 | 2 => format!("HINCRBY {key} {field} 3"),
        3 => format!("HINCRBYFLOAT {key} {field} 0.1"),
        4..7 => format!("HPEXPIRE {key} {ttl_ms}{condition} {fields}"),
        7 => format!("HEXPIRE {key} {}{condition} {fields}", ttl_ms / 1000),
        8 => return Request::of(&format!("HPEXPIREAT {key} TIME{condition} {fields}")).at("TIME", ttl_ms),
        9 => format!("HPERSIST {key} {fields}"),
        10 => format!("HGETEX {key} {} {fields}", one_of(random, &["PX 3000", "EX 1800", "PERSIST"])),
        11 => format!("HGETDEL {key} {fields}"),
        12 => format!("HSETEX {key} PX {ttl_ms} {pairs}"),
        _ => format!("HSETEX {key} {} {pairs}", one_of(random, &["KEEPTTL", "FNX EX 2", "FXX PX 400"])),
    };
    Request::of(&line)
}

fn list_change(key: &str, other: &str, random: &mut Random) -> Request {
    let (first, second) = (member(random), member(random));
    let index = random.below(30) as i64 - 5;
    let ends = ["LEFT", "RIGHT"];
    let (from, to) = (one_of(random, &ends), one_of(random, &ends));
    Request::of(&match random.below(10) {
        0 => format!("LPOP {key} {}", one_of(random, &["1", "2", "9"])),
        1 => format!("RPOP {key} {}", one_of(random, &["1", "2", "9"])),
        2 | 3 => format!("LSET {key} {index} {first}"),
        4 => format!("LINSERT {key} {} {first} {second}", one_of(random, &["BEFORE", "AFTER"])),
        5 => format!("LTRIM {key} {} {}", random.below(4), 8 + random.below(30)),
        6 | 7 => format!("LMOVE {key} {other} {from} {to}"),
        8 => format!("LREM {key} {} {first}", one_of(random, &["0", "1", "-1"])),
        _ => format!("LMPOP 2 {key} {other} {from} COUNT 3"),
    })
}

fn set_change(key: &str, other: &str, random: &mut Random) -> Request {
    let (count, first) = (one_of(random, &[1, 4, 20]), member(random));
    Request::of(&match random.below(8) {
        0 | 1 => format!("SREM {key} {}", several(count, random, member)),
        2 | 3 => format!("SPOP {key} {}", one_of(random, &["1", "3", "9"])),
        4 => format!("SMOVE {key} {other} {first}"),
        5 => format!("SPOP {key}"),
        6 => format!("{} {key} {key} {other}", one_of(random, &["SUNIONSTORE", "SUNIONSTORE", "SDIFFSTORE"])),
        _ => format!("SINTERSTORE {other} {key} {other}"),
    })
}

fn sorted_set_change(key: &str, other: &str, random: &mut Random) -> Request {
    let (count, first) = (one_of(random, &[1, 4, 20]), member(random));
    let score = score(random);
    Request::of(&match random.below(10) {
        0 => format!("ZREM {key} {}", several(count, random, member)),
        1 | 2 => format!("ZINCRBY {key} 0.1 {first}"),
        3 => format!("{} {key} {}", one_of(random, &["ZPOPMIN", "ZPOPMAX"]), one_of(random, &["1", "5"])),
        4 => format!("ZREMRANGEBYRANK {key} {} {}", random.below(4), 2 + random.below(5)),
        5 => format!("ZREMRANGEBYSCORE {key} ({score} 2"),
        6 => format!("ZREMRANGEBYLEX {key} [m1 (m2"),
        7 => {
            let rule = one_of(random, &["SUM", "MIN", "MAX"]);
            format!("ZUNIONSTORE {key} 2 {key} {other} WEIGHTS 1 2 AGGREGATE {rule}")
        }
        8 => format!("ZRANGESTORE {other} {key} 0 {}", 5 + random.below(20)),
        _ => format!("ZADD {key} {} {score} {first}", one_of(random, &["NX", "XX", "GT", "LT CH", "INCR"])),
    })
}

/// Of an entry: most were given one of these.
fn id(random: &mut Random) -> String {
    format!("1-{}", random.below(30))
}

fn stream_change(key: &str, random: &mut Random) -> Request {
    let group = one_of(random, &["g1", "g2"]);
    let consumer = one_of(random, &["c1", "c2", "c3"]);
    let (count, limit) = (one_of(random, &[1, 4]), random.below(12));
    let ids = several(count, random, id);
    Request::of(&match random.below(20) {
        0..3 => format!("XADD {key} 1-* {}", pair(random)),
        3 if random.below(4) == 0 => format!("XADD {key} * {}", pair(random)),
        3 => format!("XADD {key} {} {}", id(random), pair(random)),
        4 => format!("XADD {key} MAXLEN ~ {} 1-* {}", 4 + limit, pair(random)),
        5 => format!("XTRIM {key} MAXLEN {} {}", one_of(random, &["=", "~"]), 2 + limit),
        6 => format!("XTRIM {key} MINID {}", id(random)),
        7 | 8 => format!("XDEL {key} {ids}"),
        9 | 10 => format!("XGROUP CREATE {key} {group} {} MKSTREAM", one_of(random, &["0", "$", "1-5"])),
        11 if random.below(4) == 0 => format!("XGROUP DESTROY {key} {group}"),
        11 => format!("XGROUP SETID {key} {group} {}", one_of(random, &["0", "1-3"])),
        12 => {
            format!("XGROUP {} {key} {group} {consumer}", one_of(random, &["CREATECONSUMER", "DELCONSUMER"]))
        }
        13..16 => format!("XREADGROUP GROUP {group} {consumer} COUNT {} STREAMS {key} >", 1 + limit),
        16 => format!("XREADGROUP GROUP {group} {consumer} COUNT 2 NOACK STREAMS {key} >"),
        17 => format!("XACK {key} {group} {ids}"),
        18 => {
            let how = one_of(random, &["", " JUSTID", " FORCE", " IDLE 500 RETRYCOUNT 4"]);
            format!("XCLAIM {key} {group} {consumer} 0 {ids}{how}")
        }
        _ => format!("XAUTOCLAIM {key} {group} {consumer} 0 0 COUNT 3"),
    })
}

/// A payload of DUMP with a value of some type.
pub fn payload(random: &mut Random) -> Vec<u8> {
    PAYLOADS[random.below(PAYLOADS.len() as u64) as usize].clone()
}

/// Two values of each type, made and dumped by a server of their own. Some fields have deadlines.
static PAYLOADS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let services = services(Config::default());
    let mut server = InProcess::new(&services);
    let (place, mut random) = (server.connect(), Random::new(12));
    let mut ask = |request: &Request| {
        server.feed(place, &request.encode(0));
        server.take_output(place)
    };
    let mut payloads = Vec::new();
    for index in 0..2 * TYPES.len() {
        let key = format!("p{index}");
        for _ in 0..1 + 2 * (index % 2) {
            ask(&TYPES[index / 2].growth(&key, &mut random));
        }
        ask(&Request::of(&format!("HPEXPIRE {key} 864000000 FIELDS 3 m3 m4 m5")));
        let reply = ask(&Request::of(&format!("DUMP {key}")));
        let start = reply.iter().position(|byte| *byte == b'\n').unwrap_or_default() + 1;
        payloads.push(reply[start..reply.len() - 2].to_vec());
    }
    payloads
});
