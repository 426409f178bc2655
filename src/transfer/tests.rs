//! Transfers against servers that answer as the test says: what no real server does at the moment when it is wanted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::connection::Address;
use super::error::Error;
use super::export::{replace_durably, write_file};
use super::import::{Destination, ImportOptions, Source, import};
use super::origin::{LiveOrigin, Origin};
use super::state::StateFile;
use super::{BATCH_BYTES, BATCH_KEYS};
use crate::rdb::{Reader, Record, Writer, encode_payload};
use crate::resp::{Args, Limits, Parser, Step};

/// One request.
type Words = Vec<Vec<u8>>;

/// A server on threads of its own, which end with the test. Gives its address, and the requests as they come.
fn serve(answer: impl Fn(&[&[u8]]) -> Vec<u8> + Send + Sync + 'static) -> (Address, Receiver<Words>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let (asked, requests) = channel();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, asked) = (stream.expect("a client"), Arc::clone(&answer), asked.clone());
            // A client that goes away ends its connection, not the server.
            std::thread::spawn(move || converse(&mut stream, &*answer, &mut |words| drop(asked.send(words))));
        }
    });
    let address = format!("redis://127.0.0.1:{port}").parse().expect("an address");
    (address, requests)
}

fn converse(
    stream: &mut TcpStream,
    answer: &dyn Fn(&[&[u8]]) -> Vec<u8>,
    asked: &mut dyn FnMut(Words),
) -> std::io::Result<()> {
    let limits =
        Limits { bulk_len_max: 1 << 30, multibulk_len_max: 1 << 20, inline_max: 0, unauthenticated: false };
    let (mut input, mut parser, mut ranges) = (Vec::new(), Parser::default(), Vec::new());
    loop {
        while let Ok(Step::Request) = parser.advance(&input, &limits, &mut ranges) {
            let words: Vec<&[u8]> = Args::new(&input, &ranges).iter_from(0).collect();
            asked(words.iter().map(|word| word.to_vec()).collect());
            stream.write_all(&answer(&words))?;
            input.drain(..parser.at);
            (parser, ranges) = (Parser::default(), Vec::new());
        }
        let mut bytes = vec![0; 64 << 10];
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            count => input.extend_from_slice(&bytes[..count]),
        }
    }
}

fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What a server with these keys in database 0 answers to all but the requests for values.
fn about_keys(words: &[&[u8]], keys: usize) -> Vec<u8> {
    match words[0] {
        b"INFO" => bulk(format!("db0:keys={keys},expires=0\r\n").as_bytes()),
        b"SCAN" => {
            let names: Vec<u8> = (0..keys).flat_map(|number| bulk(format!("k{number}").as_bytes())).collect();
            [b"*2\r\n$1\r\n0\r\n*", keys.to_string().as_bytes(), b"\r\n", &names].concat()
        }
        _ => b"+OK\r\n".to_vec(),
    }
}

fn all_of(address: &Address) -> Vec<Vec<Record>> {
    let mut origin = LiveOrigin::open(address, None).expect("opens");
    std::iter::from_fn(|| origin.next_batch(BATCH_KEYS).expect("goes on")).collect()
}

/// A name for a file that does not exist, for this process and test.
fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("cloakroom-transfer-{}-{name}", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

#[test]
fn a_key_that_goes_between_its_value_and_its_deadline_is_not_taken_as_one_without() {
    for command in [&b"PEXPIRETIME"[..], b"PTTL"] {
        let (address, _requests) = serve(move |words| match words[0] {
            b"DUMP" => bulk(&encode_payload(b"v")),
            b"PEXPIRETIME" | b"PTTL" if words[0] != command => b"-ERR unknown command\r\n".to_vec(),
            b"PEXPIRETIME" | b"PTTL" => match words[1] {
                b"k0" => b":-2\r\n".to_vec(),
                b"k1" => b":-1\r\n".to_vec(),
                _ => b":4000000000000\r\n".to_vec(),
            },
            _ => about_keys(words, 3),
        });
        let records = all_of(&address).concat();
        let found: Vec<_> = records
            .iter()
            .map(|record| (record.key.escape_ascii().to_string(), record.expire_at_ms.is_some()))
            .collect();
        assert_eq!(found, [(String::from("k1"), false), (String::from("k2"), true)]);
    }
}

/// Sessions are in it, and nobody else knows of it.
#[test]
fn what_an_export_has_left_that_was_killed_goes_with_the_next_one() {
    let path = scratch("left");
    let beside = |end: &str| PathBuf::from(format!("{}.{end}", path.display()));
    let write = || replace_durably(&path, |file| file.write_all(b"new").map_err(Error::file(&path)));
    for end in ["temp-1", "temp-2", "temp-later"] {
        fs::write(beside(end), "sessions").expect("writes");
    }
    let under_way = File::open(beside("temp-2")).expect("opens");
    under_way.lock().expect("locks");
    write().expect("exports");
    let left = ["temp-1", "temp-2", "temp-later"].map(|end| beside(end).exists());
    assert_eq!(left, [false, true, true]);
    drop(under_way);
    write().expect("exports");
    assert!(!beside("temp-2").exists());
    assert_eq!(fs::read(&path).expect("reads"), b"new");
    for path in [path.clone(), beside("temp-later")] {
        fs::remove_file(path).expect("removes");
    }
}

#[test]
fn a_batch_of_a_live_import_does_not_hold_as_many_large_values_as_there_are_keys() {
    let value = vec![b'v'; BATCH_BYTES / 4];
    let (address, _requests) = serve(move |words| match words[0] {
        b"DUMP" => b"-NOPERM no\r\n".to_vec(),
        b"GET" => bulk(&value),
        b"PEXPIRETIME" => b":-1\r\n".to_vec(),
        _ => about_keys(words, 60),
    });
    let batches = all_of(&address);
    assert_eq!(batches.concat().len(), 60);
    let sizes: Vec<usize> = batches.iter().map(Vec::len).filter(|size| *size > 0).collect();
    // Before anything is known of them, a few are asked for together.
    assert!(sizes[0] <= 16 && sizes[1..].iter().all(|size| *size <= 8), "{sizes:?}");
}

#[test]
fn a_key_that_scan_gives_twice_is_written_once_because_redis_ends_when_it_is_not() {
    let (address, _requests) = serve(|words| match (words[0], words.get(1)) {
        (b"DUMP", _) => bulk(&encode_payload(b"v")),
        (b"PEXPIRETIME", _) => b":-1\r\n".to_vec(),
        (b"SCAN", Some(&b"0")) => b"*2\r\n$1\r\n7\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n".to_vec(),
        (b"SCAN", _) => b"*2\r\n$1\r\n0\r\n*2\r\n$1\r\nb\r\n$1\r\nc\r\n".to_vec(),
        _ => about_keys(words, 3),
    });
    let path = scratch("twice.rdb");
    write_file(&address, &path, 0).expect("exports");
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "sessions are credentials");
    let reader = Reader::new(File::open(&path).expect("the file")).expect("a header");
    let keys: Vec<Vec<u8>> = reader.map(|record| record.expect("a record").key).collect();
    fs::remove_file(path).expect("our file");
    assert_eq!(keys, [b"a", b"b", b"c"]);
}

#[test]
fn an_import_that_differed_is_done_again_from_its_beginning() {
    let file = scratch("differed.rdb");
    let mut writer = Writer::new(File::create(&file).expect("a file"), 0, 0).expect("a disk");
    for key in [b"a", b"b", b"c"] {
        writer.record(key, b"v", None, None).expect("a disk");
    }
    drop(writer.finish().expect("a disk"));
    let (target, requests) = serve(|words| match words[0] {
        b"GET" => b"$-1\r\n".to_vec(),
        b"PEXPIRETIME" => b":-2\r\n".to_vec(),
        b"INFO" => bulk(b"run_id:1\r\n"),
        _ => b"+OK\r\n".to_vec(),
    });
    let options = ImportOptions {
        source: Source::File(file.clone()),
        into: Destination::Server(target),
        rate: 0,
        state: Some(scratch("differed.import-state")),
        check: true,
    };
    for _ in 0..2 {
        let told = import(&options).expect_err("the target keeps nothing").to_string();
        assert!(told.starts_with("3 keys are missing"), "{told}");
        let stored = requests.try_iter().filter(|words| words[0] == b"SET").count();
        assert_eq!(stored, 3);
    }
    fs::remove_file(file).expect("our file");
}

#[test]
fn a_file_that_is_no_state_is_not_overwritten() {
    let path = scratch("letter.txt");
    for text in ["", "Dear diary"] {
        fs::write(&path, text).expect("a disk");
        let refused = StateFile::new(path.clone()).load("a", "b");
        assert!(matches!(refused, Err(Error::Usage(told)) if told.contains("letter.txt is not the state")));
    }
    fs::remove_file(path).expect("our file");
}
