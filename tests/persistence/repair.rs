//! Files that a crash has torn or something else has damaged: what the server says at its start, and what `cloakroom check` makes of them.
//!
//! Redis's files have other names and no checksums in the log, so these are Cloakroom's tests alone, apart from the torn tail.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::client::Client;
use crate::support::process::{Folder, Server, is_redis, program};
use crate::{BARE, LOGGED, files, refused, with};

/// A data directory with ten acknowledged writes in its log, each a block of its own.
fn ten_writes() -> Folder {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, LOGGED);
    let mut client = server.connect();
    (0..10).for_each(|number| assert_eq!(client.text(&format!("SET key:{number} value:{number}")), "OK"));
    server.kill();
    folder
}

fn newest_log(folder: &Folder) -> PathBuf {
    let part = if is_redis() { ".incr.aof" } else { "log-" };
    files(&folder.data(), part).pop().expect("there is a log")
}

fn name(path: &Path) -> String {
    path.file_name().expect("a file").to_string_lossy().into_owned()
}

/// Cuts off what is prepared behind the last record, and then so many bytes.
fn cut(path: &Path, bytes: usize) {
    let content = std::fs::read(path).expect("a file");
    // No record ends in a zero.
    let end = content.iter().rposition(|byte| *byte != 0).expect("records") + 1;
    std::fs::write(path, &content[..end - bytes]).expect("a shorter file");
}

fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[offset] ^= 0x10;
    std::fs::write(path, bytes).expect("a file");
}

/// The place of `text` in a file.
fn place(path: &Path, text: &[u8]) -> usize {
    let bytes = std::fs::read(path).expect("a file");
    bytes.windows(text.len()).position(|window| window == text).expect("the file has it")
}

#[track_caller]
fn check(folder: &Folder, options: &[&str]) -> (bool, String) {
    let output: Output = Command::new(program())
        .arg("check")
        .args(options)
        .arg(folder.data())
        .output()
        .expect("the binary runs");
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(!text.contains("panicked"), "{text}");
    (output.status.success(), text)
}

#[test]
fn a_torn_tail_is_cut_off_with_a_warning() {
    for bytes in [1, 5, 20] {
        let folder = ten_writes();
        let path = newest_log(&folder);
        cut(&path, bytes);
        let torn = std::fs::read(&path).expect("a file");
        let log = refused(&folder, &with(LOGGED, &["--aof-load-truncated", "no"]));
        assert!(log.contains(&name(&path)) || is_redis(), "{log}");
        assert!(std::fs::read(&path).expect("a file") == torn, "a refusal changes nothing");
        let server = Server::start(&folder, LOGGED);
        if !is_redis() {
            server.wait_for_line(&["warn", &name(&path)]);
        }
        let mut client = server.connect();
        assert_eq!(client.text("DBSIZE"), "9");
        assert_eq!(client.text("MGET key:8 key:9"), "[value:8 (nil)]");
        assert_eq!(client.text("SET key:9 again"), "OK");
        server.kill();
        let server = Server::start(&folder, &with(LOGGED, &["--aof-load-truncated", "no"]));
        assert_eq!(server.connect().text("GET key:9"), "again", "what follows the cut is read");
    }
}

/// As when an older copy was restored only in part: the log behind the snapshot does not fit it.
#[test]
fn another_snapshot_in_the_place_of_the_right_one_refuses_the_start() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, BARE);
    let mut client = server.connect();
    let snapshot = |client: &mut Client| {
        assert_eq!(client.text("INCR counter"), client.text("GET counter"));
        assert_eq!(client.text("SAVE"), "OK");
        files(&folder.data(), "snapshot-").pop().expect("there is one")
    };
    let older = std::fs::read(snapshot(&mut client)).expect("a file");
    let path = snapshot(&mut client);
    server.kill();
    let newer = std::fs::read(&path).expect("a file");
    assert_eq!(older.len(), newer.len());
    std::fs::write(&path, &older).expect("a file");
    let log = refused(&folder, BARE);
    assert!(log.contains(&name(&path)) && log.contains("another snapshot"), "{log}");
    assert!(!check(&folder, &[]).0);
    std::fs::write(&path, &newer).expect("a file");
    assert_eq!(Server::start(&folder, BARE).connect().text("GET counter"), "2");
}

#[test]
fn a_log_that_is_missing_refuses_the_start_and_the_way_out_is_named() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    let path = newest_log(&folder);
    std::fs::remove_file(&path).expect("a file");
    let log = refused(&folder, LOGGED);
    assert!(log.contains(&name(&path)) && log.contains("cloakroom check --fix"), "{log}");
    assert!(check(&folder, &["--fix"]).0);
    assert_eq!(Server::start(&folder, LOGGED).connect().text("DBSIZE"), "0");
}

/// A file system may have grown a file before its bytes were written; and the server prepares zeros itself, so they are worth no warning.
#[test]
fn zeros_at_the_end_are_cut_off() {
    if is_redis() {
        return;
    }
    for count in [1, 100, 10_000] {
        let folder = ten_writes();
        let path = newest_log(&folder);
        cut(&path, 0);
        let length = std::fs::metadata(&path).expect("a size").len();
        let mut file = std::fs::File::options().append(true).open(&path).expect("a file");
        file.write_all(&vec![0; count]).expect("room");
        let server = Server::start(&folder, LOGGED);
        assert_eq!(server.connect().text("DBSIZE"), "10");
        assert_eq!(std::fs::metadata(&path).expect("a size").len(), length);
    }
}

#[test]
fn damage_in_the_log_refuses_the_start() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    let path = newest_log(&folder);
    flip(&path, place(&path, b"value:4"));
    let damaged = std::fs::read(&path).expect("a file");
    let log = refused(&folder, LOGGED);
    let (is_sound, report) = check(&folder, &[]);
    assert!(!is_sound, "{report}");
    for text in [&log, &report] {
        assert!(text.contains(&name(&path)), "names the file: {text}");
        assert!(text.contains("offset"), "names the place: {text}");
    }
    assert!(log.contains("cloakroom check --fix"), "names the way out: {log}");
    assert!(std::fs::read(&path).expect("a file") == damaged, "neither changes anything");
}

#[test]
fn damage_in_a_snapshot_or_manifest_refuses_the_start() {
    for part in ["snapshot-", "manifest"] {
        if is_redis() {
            return;
        }
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, BARE);
        let mut client = server.connect();
        assert_eq!(client.text("DEBUG POPULATE 1000 key 100"), "OK");
        assert_eq!(client.text("SAVE"), "OK");
        server.kill();
        let mut found = files(&folder.data(), part).into_iter();
        let path = found.find(|path| !name(path).starts_with("temp-")).expect("there is one");
        let length = std::fs::metadata(&path).expect("a size").len() as usize;
        let good = std::fs::read(&path).expect("a file");
        for offset in [0, length / 2, length - 1] {
            flip(&path, offset);
            let log = refused(&folder, BARE);
            assert!(log.contains(&name(&path)), "byte {offset} of {length}: {log}");
            assert!(log.contains("cannot be repaired") && !log.contains("--fix"), "{log}");
            assert!(!check(&folder, &[]).0);
            std::fs::write(&path, &good).expect("a file");
        }
        std::fs::File::options()
            .write(true)
            .open(&path)
            .expect("a file")
            .set_len(length as u64 / 2)
            .expect("shorter");
        assert!(refused(&folder, BARE).contains(&name(&path)));
        std::fs::remove_file(&path).expect("a file");
        if part == "snapshot-" {
            assert!(
                refused(&folder, BARE).contains(&name(&path)),
                "a file that the manifest names must be there"
            );
        }
    }
}

#[test]
fn check_says_what_is_there_and_repairs_a_torn_tail() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    let (is_sound, report) = check(&folder, &[]);
    assert!(is_sound, "{report}");
    assert!(report.contains(&name(&newest_log(&folder))), "{report}");
    cut(&newest_log(&folder), 3);
    let (is_sound, report) = check(&folder, &[]);
    assert!(!is_sound, "{report}");
    assert!(report.contains("--fix"), "{report}");
    let (is_sound, report) = check(&folder, &["--fix"]);
    assert!(is_sound, "{report}");
    let (is_sound, report) = check(&folder, &[]);
    assert!(is_sound, "{report}");
    let server = Server::start(&folder, &with(LOGGED, &["--aof-load-truncated", "no"]));
    assert_eq!(server.connect().text("DBSIZE"), "9");
    // A directory that a server uses is not touched.
    let (is_sound, report) = check(&folder, &["--fix"]);
    assert!(!is_sound, "{report}");
}

/// After `--fix` the server starts again, with everything before the damage.
#[test]
fn check_repairs_damage_by_cutting_there() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    let path = newest_log(&folder);
    flip(&path, place(&path, b"value:4"));
    let (is_sound, report) = check(&folder, &["--fix"]);
    assert!(is_sound, "{report}");
    let server = Server::start(&folder, LOGGED);
    assert_eq!(server.connect().text("MGET key:3 key:4"), "[value:3 (nil)]");
}

/// A file that is longer on the disk than what was written, with rubbish instead of zeros, is damaged.
#[test]
fn rubbish_at_the_end_is_damage() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    cut(&newest_log(&folder), 0);
    let mut file = std::fs::File::options().append(true).open(newest_log(&folder)).expect("a file");
    file.write_all(&b"rubbish ".repeat(100)).expect("room");
    assert!(refused(&folder, LOGGED).contains(&name(&newest_log(&folder))));
}

/// A log that is not there says nothing about what it had.
#[test]
fn what_a_missing_log_had_is_not_called_nothing() {
    if is_redis() {
        return;
    }
    let folder = ten_writes();
    std::fs::remove_file(newest_log(&folder)).expect("removes");
    let (sound, text) = check(&folder, &[]);
    assert!(!sound && text.contains("how much that was is not known") && !text.contains("0 bytes"), "{text}");
    let (sound, text) = check(&folder, &["--fix"]);
    assert!(sound && text.contains("goes on without log-"), "{text}");
}

/// Nothing is damaged then, so nobody is told to look for a copy, or to cut a log.
#[test]
fn fewer_databases_than_the_data_have_are_not_called_damage() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    for request in ["PING", "SAVE"] {
        let server = Server::start(&folder, LOGGED);
        let mut client = server.connect();
        assert_eq!(client.text("SELECT 12"), "OK");
        assert_eq!(client.text("SET key value"), "OK");
        client.text(request);
        server.kill();
        let log = refused(&folder, &with(LOGGED, &["--databases", "4"]));
        assert!(log.contains("databases") && log.contains("it is not damaged"), "{log}");
        assert!(!log.contains("damaged at") && !log.contains("check"), "{log}");
    }
}
