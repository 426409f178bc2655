//! What a session costs on its way to a snapshot and back, by compression, and what a sync of the log costs, with and without prepared zeros.
//!
//! `CLOAKROOM_BENCH_SESSIONS` names a file of SET requests as tests/ and the arena write them; without it sessions of similar text are made up.
//! Files are below `TMPDIR` or /tmp: /dev/shm shows what the processor does alone, a disk what is seen of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cloakroom::base::random::Random;
use cloakroom::storage::{
    Compression, Disk, EncryptionKey, EntryRecord, LogOptions, LogStart, LogWriter, Opener, RealDisk,
    SnapshotOptions, SnapshotReader, SnapshotStart, SnapshotWriter,
};

#[global_allocator]
static ALLOCATOR: cloakroom::base::allocator::Counting = cloakroom::base::allocator::Counting;

const MADE_UP: usize = 50_000;
const ROUNDS: usize = 5;
const SYNCS: u64 = 300;

fn main() -> io::Result<()> {
    let sessions = match std::env::var_os("CLOAKROOM_BENCH_SESSIONS") {
        Some(path) => requests(&std::fs::read(path)?),
        None => made_up(),
    };
    let payload: usize = sessions.iter().map(|(key, value)| key.len() + value.len()).sum();
    println!("{} sessions, key and value {} bytes", sessions.len(), payload / sessions.len());
    println!("{:>10} {:>9} {:>12} {:>10} {:>10}", "zstd", "encrypted", "bytes/entry", "save ns", "load ns");
    let path = std::env::temp_dir().join(format!("cloakroom-bench-{}", std::process::id()));
    std::fs::create_dir_all(&path)?;
    let disk = Arc::new(RealDisk::open(&path)?);
    for encrypted in [false, true] {
        let key = encrypted.then(|| EncryptionKey::new([5; 32]));
        for compression in [None, Some(-7), Some(-5), Some(-3), Some(-2), Some(-1), Some(1), Some(2), Some(3)]
        {
            snapshot(&disk, &sessions, compression, key.as_ref());
        }
    }
    log_syncs(&disk)?;
    std::fs::remove_dir_all(path)
}

/// Keys and values of `SET key value ...` requests.
fn requests(mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut sessions = Vec::new();
    while !bytes.is_empty() {
        let count = number(&mut bytes, b'*');
        let words: Vec<&[u8]> = (0..count)
            .map(|_| {
                let len = number(&mut bytes, b'$');
                let (word, rest) = bytes.split_at(len);
                bytes = &rest[2..];
                word
            })
            .collect();
        sessions.push((words[1].to_vec(), words[2].to_vec()));
    }
    sessions
}

fn number(bytes: &mut &[u8], mark: u8) -> usize {
    assert_eq!(bytes[0], mark, "a request");
    let end = bytes.iter().position(|byte| *byte == b'\r').expect("a line");
    let number = std::str::from_utf8(&bytes[1..end]).expect("digits").parse().expect("a number");
    *bytes = &bytes[end + 2..];
    number
}

fn made_up() -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut random = Random::new(1);
    let mut token = |len: usize| -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..len).map(|_| char::from(letters[random.below(64) as usize])).collect()
    };
    let session = |_| {
        let key = format!("sess:{}", token(32));
        let value = format!(
            "{{\"cookie\":{{\"originalMaxAge\":1800000,\"expires\":\"2026-11-22T18:00:00.000Z\",\"httpOnly\":true,\"path\":\"/\"}},\
             \"passport\":{{\"user\":{{\"id\":\"{}\",\"email\":\"{}@example.com\",\"roles\":[\"user\"]}}}},\"csrfSecret\":\"{}\",\
             \"state\":\"{}\"}}",
            token(7),
            token(10),
            token(24),
            token(200)
        );
        (key.into_bytes(), value.into_bytes())
    };
    (0..MADE_UP).map(session).collect()
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn snapshot(
    disk: &Arc<RealDisk>,
    sessions: &[(Vec<u8>, Vec<u8>)],
    level: Option<i32>,
    key: Option<&EncryptionKey>,
) {
    let compression = level.map_or(Compression::None, Compression::Zstd);
    let (mut save, mut load, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..ROUNDS {
        let start = SnapshotStart { number: 1, created_ms: 1, databases: 1, lfu: false, log_offset: 0 };
        let options = SnapshotOptions { compression, key, incremental_sync: false };
        let begin = Instant::now();
        let writer = SnapshotWriter::create(disk.clone(), start, &options).expect("creates");
        let mut block = writer.block_writer().expect("memory");
        for (key, value) in sessions {
            let expire_at_ms = Some(1_790_000_000_000);
            block.push(3, &EntryRecord { expire_at_ms, access: 77, key, value, ..EntryRecord::default() });
            block.write_if_full().expect("writes");
        }
        block.flush().expect("writes");
        save = save.min(begin.elapsed());
        drop(block);
        bytes = writer.finish().expect("finishes").bytes;
        let reader = SnapshotReader::open(&**disk, "snapshot-1.cloakroom", key).expect("opens");
        let mut opener = Opener::new().expect("memory");
        let begin = Instant::now();
        let mut sum = 0;
        for block in 0..reader.blocks().len() {
            for entry in reader.read_block(block, &mut opener).expect("sound") {
                sum += divan::black_box(entry.expect("sound")).key.len();
            }
        }
        load = load.min(begin.elapsed());
        divan::black_box(sum);
    }
    let count = sessions.len() as f64;
    println!(
        "{:>10} {:>9} {:>12.1} {:>10.0} {:>10.0}",
        level.map_or("none".to_owned(), |level| level.to_string()),
        key.is_some(),
        bytes as f64 / count,
        save.as_nanos() as f64 / count,
        load.as_nanos() as f64 / count
    );
}

#[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
fn log_syncs(disk: &RealDisk) -> io::Result<()> {
    let raw = vec![7; 50 * 600];
    println!(
        "{:>14} {:>12} {:>12} {:>12} {:>12}",
        "prepared", "best us", "median us", "90 % us", "prepare us"
    );
    for ahead in [0, 1 << 20, 4 << 20, 8 << 20, 32 << 20] {
        let start = LogStart { number: ahead, start_offset: 0, created_ms: 1 };
        let options = LogOptions { compression: Compression::None, key: None };
        let mut log = LogWriter::create(disk, &start, &options)?;
        let mut preparing = Duration::ZERO;
        let mut took = Vec::new();
        for _ in 0..SYNCS {
            if ahead > 0 {
                let begin = Instant::now();
                let size = log.size();
                log.prepare(ahead)?;
                if log.size() > size {
                    log.sync()?;
                }
                preparing += begin.elapsed();
            }
            let begin = Instant::now();
            log.append(&raw)?;
            log.sync()?;
            took.push(begin.elapsed());
        }
        took.sort_unstable();
        let micros = |at: usize| took[at].as_micros();
        let (best, median, most) = (micros(0), micros(took.len() / 2), micros(took.len() * 9 / 10));
        let preparing = preparing.as_micros() / u128::from(SYNCS);
        println!("{ahead:>14} {best:>12} {median:>12} {most:>12} {preparing:>12}");
        disk.remove(&format!("log-{ahead}.cloakroom"))?;
    }
    Ok(())
}
