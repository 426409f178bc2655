//! Saving: how long overwrites take before and while a snapshot is saved. A server of its own, 8 clients at a steady 1,000 requests a second
//! each; a request counts from when it was due, so that those behind a stall count too. No divan: the tail is what matters.
//!
//! `CLOAKROOM_BENCH_KEYS` keys (a million unless told) of 1 KB.

#![allow(clippy::disallowed_methods, reason = "it waits for phases to pass")]

#[path = "common/server.rs"]
mod server;

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use cloakroom::base::random::Random;
use server::{Course, Server, keep_pace, line_of_phase, push_request};

const CLIENTS: u32 = 8;
const VALUE: [u8; 1024] = [b'v'; 1024];
const OK: &[u8] = b"+OK\r\n";

fn is_saving(control: &mut TcpStream) -> io::Result<bool> {
    control.write_all(b"INFO persistence\r\n")?;
    let mut reply = vec![0; 16 * 1024];
    let length = control.read(&mut reply)?;
    Ok(!String::from_utf8_lossy(&reply[..length]).contains("rdb_bgsave_in_progress:0"))
}

fn set(key: u64, out: &mut Vec<u8>) {
    push_request(out, &[b"SET", format!("k:{key}").as_bytes(), &VALUE]);
}

fn main() -> io::Result<()> {
    let real = std::env::args().any(|word| word == "--bench");
    let count = std::env::var("CLOAKROOM_BENCH_KEYS").ok().and_then(|text| text.parse().ok());
    // `cargo test --benches` only wants to know that it works.
    let (usual, before) =
        if real { (1_000_000, Duration::from_secs(5)) } else { (2_000, Duration::from_millis(50)) };
    let keys: u64 = count.unwrap_or(usual);
    let server = Server::start()?;
    server.fill(keys, OK, set)?;
    let mut control = server.connect()?;
    let course = Course::default();
    let seen: Vec<(usize, Duration)> = std::thread::scope(|scope| -> io::Result<_> {
        let mut clients = Vec::new();
        for place in 0..CLIENTS {
            let (stream, course) = (server.connect()?, &course);
            clients.push(scope.spawn(move || {
                let mut random = Random::new(place.into());
                keep_pace(stream, (place, CLIENTS), course, OK.len(), |out| set(random.below(keys), out))
            }));
        }
        std::thread::sleep(before);
        control.write_all(b"BGSAVE\r\n")?;
        control.read_exact(&mut [0; b"+Background saving started\r\n".len()])?;
        course.phase.store(1, Ordering::Relaxed);
        while is_saving(&mut control)? {
            std::thread::sleep(Duration::from_millis(50));
        }
        course.stop.store(true, Ordering::Relaxed);
        let mut seen = Vec::new();
        for client in clients {
            seen.extend(client.join().map_err(|_| io::Error::other("a client has panicked"))??);
        }
        Ok(seen)
    })?;
    println!("{}", line_of_phase("before", &seen, 0));
    println!("{}", line_of_phase("saving", &seen, 1));
    Ok(())
}
