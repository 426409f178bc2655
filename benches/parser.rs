//! The request parser: nanoseconds a request, and proof that a huge request in small reads costs no more than in one.

mod common;

use cloakroom::resp::{ArgRange, Limits, Parser, Step};
use common::{VALUE, encode, session_key};
use divan::{Bencher, counter::BytesCount, counter::ItemsCount};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const LIMITS: Limits = Limits {
    bulk_len_max: 512 << 20,
    multibulk_len_max: 1 << 20,
    inline_max: 64 * 1024,
    unauthenticated: false,
};
const PIPELINE: usize = 64;
const ARGUMENTS: usize = 1_000_000;
const READ_BYTES: usize = 16 * 1024;

fn main() {
    divan::main();
}

/// Parses all requests of a whole input; gives how many arguments there were.
fn parse_all(input: &[u8], ranges: &mut Vec<ArgRange>) -> usize {
    let mut parser = Parser::default();
    ranges.clear();
    while let Ok(Step::Request) = parser.advance(input, &LIMITS, ranges) {}
    ranges.len()
}

fn bench_input(bencher: Bencher<'_, '_>, input: &[u8], requests: usize) {
    let mut ranges = Vec::new();
    bencher
        .counter(BytesCount::new(input.len()))
        .counter(ItemsCount::new(requests))
        .bench_local(|| parse_all(divan::black_box(input), &mut ranges));
}

#[divan::bench]
fn get(bencher: Bencher<'_, '_>) {
    let mut input = Vec::new();
    encode(&[b"GET", session_key(1).as_bytes()], &mut input);
    bench_input(bencher, &input, 1);
}

#[divan::bench]
fn set_512(bencher: Bencher<'_, '_>) {
    let mut input = Vec::new();
    encode(&[b"SET", session_key(1).as_bytes(), &VALUE], &mut input);
    bench_input(bencher, &input, 1);
}

#[divan::bench]
fn set_512_ex(bencher: Bencher<'_, '_>) {
    let mut input = Vec::new();
    encode(&[b"SET", session_key(1).as_bytes(), &VALUE, b"EX", b"1800"], &mut input);
    bench_input(bencher, &input, 1);
}

#[divan::bench]
fn pipeline_of_64_gets(bencher: Bencher<'_, '_>) {
    let mut input = Vec::new();
    for number in 0..PIPELINE {
        encode(&[b"GET", session_key(number).as_bytes()], &mut input);
    }
    bench_input(bencher, &input, PIPELINE);
}

/// An MSET with a million arguments.
fn huge_mset() -> Vec<u8> {
    let mut input = format!("*{}\r\n$4\r\nMSET\r\n", ARGUMENTS + 1).into_bytes();
    for number in 0..ARGUMENTS {
        input.extend_from_slice(format!("$8\r\n{number:08}\r\n").as_bytes());
    }
    input
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn million_argument_mset_in_one_piece(bencher: Bencher<'_, '_>) {
    let input = huge_mset();
    bench_input(bencher, &input, ARGUMENTS);
}

#[divan::bench(sample_count = 20, sample_size = 1)]
fn million_argument_mset_in_16_kb_pieces(bencher: Bencher<'_, '_>) {
    let input = huge_mset();
    let mut ranges = Vec::new();
    bencher.counter(BytesCount::new(input.len())).counter(ItemsCount::new(ARGUMENTS)).bench_local(|| {
        let mut parser = Parser::default();
        ranges.clear();
        let mut arrived = 0;
        while arrived < input.len() {
            arrived = (arrived + READ_BYTES).min(input.len());
            let step = parser.advance(divan::black_box(&input[..arrived]), &LIMITS, &mut ranges);
            assert!(step.is_ok(), "the request is valid");
        }
        assert_eq!(ranges.len(), ARGUMENTS + 1);
    });
}
