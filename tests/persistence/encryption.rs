//! Encryption at rest: session blobs are credentials, so nothing of them may be found in the data directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{Folder, Server, is_redis, program};
use crate::{BARE, LOGGED, copy, files, refused, save, with};

const BLOB: &str = "blob-of-a-session-that-nobody-may-read";

/// A file with a key: 32 bytes in hexadecimal digits.
fn key_file(folder: &Folder, name: &str, digit: char) -> PathBuf {
    let path = folder.0.join(name);
    std::fs::write(&path, format!("{}\n", digit.to_string().repeat(64))).expect("a key file");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of the test")
}

/// The files of the data directory that hold `bytes`.
fn holding(folder: &Folder, bytes: &str) -> Vec<PathBuf> {
    let has = |path: &PathBuf| {
        let content = std::fs::read(path).expect("a file");
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    };
    files(&folder.data(), "").into_iter().filter(has).collect()
}

/// Writes blobs into a snapshot and, if there is one, into the log, and kills the server.
fn write(folder: &Folder, arguments: &[&str]) {
    let server = Server::start(folder, arguments);
    let mut client = server.connect();
    for number in 0..100 {
        assert_eq!(client.text(&format!("SET key-of-a-session:{number} {BLOB}:{number}")), "OK");
    }
    save(&mut client);
    for number in 100..200 {
        assert_eq!(client.text(&format!("SET key-of-a-session:{number} {BLOB}:{number}")), "OK");
    }
    server.kill();
}

#[track_caller]
fn read(folder: &Folder, arguments: &[&str], keys: u32) {
    let server = Server::start(folder, arguments);
    let mut client = server.connect();
    assert_eq!(client.text("DBSIZE"), keys.to_string());
    let last = keys - 1;
    assert_eq!(client.text(&format!("GET key-of-a-session:{last}")), format!("{BLOB}:{last}"));
    server.kill();
}

#[test]
fn nothing_readable_is_in_an_encrypted_directory() {
    if is_redis() {
        return;
    }
    // The test can fail: without a key the blobs are there.
    let plain = Folder::new("persistence");
    write(&plain, &with(LOGGED, &["--snapshot-compression", "no"]));
    assert!(holding(&plain, BLOB).len() >= 2, "{:?}", files(&plain.data(), ""));
    for (base, keys) in [(LOGGED, 200), (BARE, 100)] {
        let folder = Folder::new("persistence");
        let (key, other) = (key_file(&folder, "key", 'a'), key_file(&folder, "other", 'b'));
        let arguments = with(base, &["--encryption-key-file", text(&key), "--snapshot-compression", "no"]);
        write(&folder, &arguments);
        for readable in [BLOB, "key-of-a-session"] {
            assert_eq!(holding(&folder, readable), Vec::<PathBuf>::new());
        }
        read(&folder, &arguments, keys);
        let log = refused(&folder, &with(base, &["--encryption-key-file", text(&other)]));
        assert!(log.to_lowercase().contains("key"), "{log}");
        let log = refused(&folder, base);
        assert!(log.to_lowercase().contains("encrypt"), "{log}");
        read(&folder, &arguments, keys);
    }
}

#[test]
fn the_key_may_come_from_a_command() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let key = key_file(&folder, "key", 'c');
    let command = format!("cat {}", text(&key));
    write(&folder, &with(LOGGED, &["--encryption-key-command", &command]));
    assert_eq!(holding(&folder, BLOB), Vec::<PathBuf>::new());
    read(&folder, &with(LOGGED, &["--encryption-key-file", text(&key)]), 200);
    let log = refused(&folder, &with(LOGGED, &["--encryption-key-command", "false"]));
    assert!(log.contains("command"), "{log}");
}

#[test]
fn the_key_may_come_from_the_environment() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let key = key_file(&folder, "key", 'd');
    let arguments = with(LOGGED, &["--encryption-key-env", "CLOAKROOM_TEST_KEY"]);
    let setting = format!("CLOAKROOM_TEST_KEY={}", "d".repeat(64));
    let mut server = Server::launch_with(&folder, &["env", &setting], &arguments);
    server.wait_until_loaded(|_| {});
    assert_eq!(server.connect().text(&format!("SET key-of-a-session:0 {BLOB}:0")), "OK");
    server.kill();
    assert_eq!(holding(&folder, BLOB), Vec::<PathBuf>::new());
    read(&folder, &with(LOGGED, &["--encryption-key-file", text(&key)]), 1);
    let log = refused(&folder, &arguments);
    assert!(log.contains("CLOAKROOM_TEST_KEY"), "{log}");
}

/// `cloakroom rekey DIR` reads with the old key and writes with the new one.
#[test]
fn rekey_changes_the_key() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let (old, new) = (key_file(&folder, "old", 'e'), key_file(&folder, "new", 'f'));
    let before = with(LOGGED, &["--encryption-key-file", text(&old)]);
    let after = with(LOGGED, &["--encryption-key-file", text(&new)]);
    write(&folder, &before);
    let output = Command::new(program())
        .arg("rekey")
        .arg(folder.data())
        .args(["--encryption-key-file", text(&old), "--new-encryption-key-file", text(&new)])
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    refused(&folder, &before);
    read(&folder, &after, 200);
    assert_eq!(holding(&folder, BLOB), Vec::<PathBuf>::new());
}

/// Who can write to the directory must not be able to make sessions, so what is not encrypted is not read unless that is asked for.
#[test]
fn with_a_key_what_was_written_without_one_is_refused_until_it_is_accepted_or_converted() {
    if is_redis() {
        return;
    }
    for base in [LOGGED, BARE] {
        let folder = Folder::new("persistence");
        let key = key_file(&folder, "key", 'a');
        let keyed = with(base, &["--encryption-key-file", text(&key), "--snapshot-compression", "no"]);
        let keys = if base == LOGGED { 200 } else { 100 };
        write(&folder, &with(base, &["--snapshot-compression", "no"]));
        let plain = Folder::new("persistence");
        copy(&folder.data(), &plain.data());
        let log = refused(&folder, &keyed);
        assert!(log.contains("encryption-accept-plaintext") && log.contains("rekey"), "{log}");
        // Accepted once, and saved: then all of it is encrypted, and the directive can go.
        let accepting = with(&keyed, &["--encryption-accept-plaintext", "yes"]);
        read(&folder, &accepting, keys);
        let server = Server::start(&folder, &accepting);
        save(&mut server.connect());
        server.kill();
        read(&folder, &keyed, keys);
        assert_eq!(holding(&folder, BLOB), Vec::<PathBuf>::new());
        // Nobody without the key can say which files are the data.
        let manifest = folder.data().join("manifest");
        let bytes = std::fs::read(&manifest).expect("a manifest");
        std::fs::copy(plain.data().join("manifest"), &manifest).expect("a copy");
        refused(&folder, &keyed);
        std::fs::write(&manifest, bytes).expect("a file");
        // Or converted.
        let output = Command::new(program())
            .arg("rekey")
            .arg(plain.data())
            .args(["--new-encryption-key-file", text(&key)])
            .output()
            .expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        read(&plain, &keyed, keys);
        assert_eq!(holding(&plain, BLOB), Vec::<PathBuf>::new());
    }
}
