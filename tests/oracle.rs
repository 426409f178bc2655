//! The wire protocol against an implementation that others wrote, the redis-protocol crate: what our writer emits it must decode to the
//! same values, in both versions, and what it encodes our parser must read.

use cloakroom::base::number::format_f64;
use cloakroom::base::random::Random;
use cloakroom::resp::{Args, Limits, Output, Parser, Protocol, Reply, Step};
use redis_protocol::resp2::types::{OwnedFrame as Resp2, Resp2Frame};
use redis_protocol::resp3::types::{OwnedFrame as Resp3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};

const ROUNDS: u64 = 5000;
const SEED: u64 = 0x0c0a_7011;

/// A reply, by RESP3's nouns.
#[derive(Clone, Debug)]
enum Value {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Boolean(bool),
    Double(f64),
    Verbatim(String),
    BigNumber(String),
    Array(Vec<Value>),
    Set(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Push(Vec<Value>),
}

fn letters(random: &mut Random) -> String {
    (0..random.below(20)).map(|_| char::from(b'a' + random.below(26) as u8)).collect()
}

fn bytes(random: &mut Random) -> Vec<u8> {
    (0..random.below(50)).map(|_| random.next_u64() as u8).collect()
}

/// Different texts, as sets and keys of maps need them.
fn distinct(random: &mut Random) -> Vec<Value> {
    (0..random.below(4))
        .map(|number| Value::Bulk(format!("{number}{}", letters(random)).into_bytes()))
        .collect()
}

fn value(random: &mut Random, depth: u32) -> Value {
    let kinds = if depth < 3 { 14 } else { 10 };
    match random.below(kinds) {
        0 => Value::Simple(letters(random)),
        1 => Value::Error(format!("ERR {}", letters(random))),
        2 => Value::Integer(random.next_u64() as i64 >> random.below(64)),
        3 => Value::Bulk(bytes(random)),
        4 => Value::Null,
        5 => Value::NullArray,
        6 => Value::Boolean(random.below(2) == 0),
        7 => Value::Double(match random.below(8) {
            0 => f64::INFINITY,
            1 => f64::NEG_INFINITY,
            2 => 0.1 + random.below(1000) as f64,
            _ => (random.next_u64() as i64 >> 20) as f64 / 1024.0,
        }),
        8 => Value::Verbatim(letters(random)),
        9 => Value::BigNumber(format!("{}{:020}", 1 + random.below(9), random.next_u64())),
        10 => Value::Array((0..random.below(5)).map(|_| value(random, depth + 1)).collect()),
        11 => Value::Set(distinct(random)),
        12 => {
            let keys = distinct(random);
            Value::Map(keys.into_iter().map(|key| (key, value(random, depth + 1))).collect())
        }
        // A push stands only at the top.
        _ if depth == 0 => Value::Push((0..1 + random.below(4)).map(|_| value(random, 1)).collect()),
        _ => Value::Null,
    }
}

fn write(value: &Value, reply: &mut Reply<'_>) {
    match value {
        Value::Simple(text) => reply.simple(text),
        Value::Error(text) => reply.error(text),
        Value::Integer(number) => reply.integer(*number),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Null => reply.null(),
        Value::NullArray => reply.null_array(),
        Value::Boolean(value) => reply.boolean(*value),
        Value::Double(value) => reply.double(*value),
        Value::Verbatim(text) => reply.verbatim("txt", text),
        Value::BigNumber(digits) => reply.big_number(digits),
        Value::Array(values) => {
            reply.array(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Set(values) => {
            reply.set(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            pairs.iter().for_each(|(key, value)| {
                write(key, reply);
                write(value, reply);
            });
        }
        Value::Push(values) => {
            reply.push(values.len());
            values.iter().for_each(|value| write(value, reply));
        }
    }
}

fn as_resp2(value: &Value) -> Resp2 {
    match value {
        Value::Simple(text) => Resp2::SimpleString(text.clone().into_bytes()),
        Value::Error(text) => Resp2::Error(text.clone()),
        Value::Integer(number) => Resp2::Integer(*number),
        Value::Bulk(bytes) => Resp2::BulkString(bytes.clone()),
        Value::Null | Value::NullArray => Resp2::Null,
        Value::Boolean(value) => Resp2::Integer(i64::from(*value)),
        Value::Double(value) => Resp2::BulkString(format_f64(*value).to_vec()),
        Value::Verbatim(text) | Value::BigNumber(text) => Resp2::BulkString(text.clone().into_bytes()),
        Value::Array(values) | Value::Set(values) | Value::Push(values) => {
            Resp2::Array(values.iter().map(as_resp2).collect())
        }
        Value::Map(pairs) => {
            Resp2::Array(pairs.iter().flat_map(|(key, value)| [as_resp2(key), as_resp2(value)]).collect())
        }
    }
}

fn as_resp3(value: &Value) -> Resp3 {
    let attributes = None;
    match value.clone() {
        Value::Simple(text) => Resp3::SimpleString { data: text.into_bytes(), attributes },
        Value::Error(data) => Resp3::SimpleError { data, attributes },
        Value::Integer(data) => Resp3::Number { data, attributes },
        Value::Bulk(data) => Resp3::BlobString { data, attributes },
        Value::Null | Value::NullArray => Resp3::Null,
        Value::Boolean(data) => Resp3::Boolean { data, attributes },
        Value::Double(data) => Resp3::Double { data, attributes },
        Value::Verbatim(text) => {
            Resp3::VerbatimString { data: text.into_bytes(), format: VerbatimStringFormat::Text, attributes }
        }
        Value::BigNumber(digits) => Resp3::BigNumber { data: digits.into_bytes(), attributes },
        Value::Array(values) => Resp3::Array { data: values.iter().map(as_resp3).collect(), attributes },
        Value::Set(values) => Resp3::Set { data: values.iter().map(as_resp3).collect(), attributes },
        Value::Map(pairs) => {
            let data = pairs.iter().map(|(key, value)| (as_resp3(key), as_resp3(value))).collect();
            Resp3::Map { data, attributes }
        }
        Value::Push(values) => Resp3::Push { data: values.iter().map(as_resp3).collect(), attributes },
    }
}

#[test]
fn replies_decode_to_what_was_written() {
    println!("seed {SEED:#x}");
    let mut random = Random::new(SEED);
    for round in 0..ROUNDS {
        let value = value(&mut random, 0);
        let written = |protocol| {
            let mut out = Output::default();
            write(&value, &mut Reply::new(&mut out, protocol));
            out.into_bytes()
        };
        let out = written(Protocol::Resp2);
        let decoded = resp2::decode::decode(&out).expect("RESP2");
        assert_eq!(decoded, Some((as_resp2(&value), out.len())), "round {round}: {}", out.escape_ascii());
        let out = written(Protocol::Resp3);
        let decoded = resp3::decode::complete::decode(&out).expect("RESP3");
        assert_eq!(decoded, Some((as_resp3(&value), out.len())), "round {round}: {}", out.escape_ascii());
    }
}

#[test]
fn requests_parse_to_what_was_encoded() {
    println!("seed {SEED:#x}");
    let limits = Limits {
        bulk_len_max: 512 << 20,
        multibulk_len_max: 1 << 20,
        inline_max: 64 << 10,
        unauthenticated: false,
    };
    let mut random = Random::new(SEED);
    for round in 0..ROUNDS {
        let words: Vec<Vec<u8>> = (0..1 + random.below(8)).map(|_| bytes(&mut random)).collect();
        let frame = Resp2::Array(words.iter().cloned().map(Resp2::BulkString).collect());
        let mut encoded = vec![0; frame.encode_len(false)];
        resp2::encode::encode(&mut encoded, &frame, false).expect("the buffer is large enough");
        let (mut parser, mut ranges) = (Parser::default(), Vec::new());
        assert_eq!(parser.advance(&encoded, &limits, &mut ranges), Ok(Step::Request), "round {round}");
        let parsed: Vec<Vec<u8>> = Args::new(&encoded, &ranges).iter_from(0).map(<[u8]>::to_vec).collect();
        assert_eq!((parsed, parser.at), (words, encoded.len()), "round {round}");
    }
}
