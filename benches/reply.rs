//! The reply writer: nanoseconds for each noun that a session client reads.

mod common;

use cloakroom::resp::{Output, Protocol, Reply};
use common::VALUE;
use divan::Bencher;

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const BOTH: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

fn main() {
    divan::main();
}

/// Writes one reply after the other into a buffer that is already large enough, as an event loop's is.
fn bench_reply(bencher: Bencher<'_, '_>, protocol: Protocol, write: impl Fn(&mut Reply<'_>)) {
    let mut out = Output::default();
    out.extend(&[0; 48 * 1024]);
    bencher.bench_local(|| {
        out.clear();
        write(&mut Reply::new(divan::black_box(&mut out), protocol));
    });
}

#[divan::bench]
fn ok(bencher: Bencher<'_, '_>) {
    bench_reply(bencher, Protocol::Resp2, |reply| reply.ok());
}

#[divan::bench(args = BOTH)]
fn null(bencher: Bencher<'_, '_>, protocol: Protocol) {
    bench_reply(bencher, protocol, |reply| reply.null());
}

#[divan::bench(args = [1, 1_800, i64::MIN])]
fn integer(bencher: Bencher<'_, '_>, value: i64) {
    bench_reply(bencher, Protocol::Resp2, |reply| reply.integer(value));
}

#[divan::bench(args = [8, 512, 4096])]
fn bulk(bencher: Bencher<'_, '_>, len: usize) {
    let value = vec![b'v'; len];
    bench_reply(bencher, Protocol::Resp2, |reply| reply.bulk(&value));
}

#[divan::bench]
fn array_of_64_bulks(bencher: Bencher<'_, '_>) {
    bench_reply(bencher, Protocol::Resp2, |reply| {
        reply.array(64);
        for _ in 0..64 {
            reply.bulk(&VALUE);
        }
    });
}

#[divan::bench(args = BOTH)]
fn map_of_8(bencher: Bencher<'_, '_>, protocol: Protocol) {
    bench_reply(bencher, protocol, |reply| {
        reply.map(8);
        for number in 0..8 {
            reply.bulk(b"name");
            reply.integer(number);
        }
    });
}

#[divan::bench(args = BOTH)]
fn double(bencher: Bencher<'_, '_>, protocol: Protocol) {
    bench_reply(bencher, protocol, |reply| reply.double(divan::black_box(0.1)));
}

#[divan::bench]
fn error(bencher: Bencher<'_, '_>) {
    bench_reply(bencher, Protocol::Resp2, |reply| reply.error("ERR value is not an integer or out of range"));
}
