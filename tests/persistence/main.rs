//! Persistence as an operator and a client meet it: the built binary, its data directory, its log, and what is there after a restart.
//!
//! Only the interface is used: commands, directives, file names that docs/snapshot-format.md gives, and lines of the log. What Redis does as
//! well runs against redis-server, too: `CLOAKROOM_TEST_SERVER=redis-server cargo test --test persistence` (tests of what only Cloakroom
//! has then pass at once). Nothing waits for a time, except where a deadline must pass.

#[path = "../support/mod.rs"]
mod support;

mod consistency;
mod disk;
mod encryption;
mod log;
mod reload;
mod repair;
mod shutdown;
mod sliding;
mod snapshot;
mod start;
mod takeover;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use support::client::{Client, Reply};
use support::process::{Folder, Server, wait_until};

/// Neither log nor save points: what is written is what a test asks for.
const BARE: &[&str] = &["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"];

/// A log that is on the disk before a reply.
const LOGGED: &[&str] =
    &["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes"];

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

/// A field of INFO persistence.
#[track_caller]
fn field(client: &mut Client, name: &str) -> String {
    let info = client.text("INFO persistence");
    let found = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or_else(|| panic!("INFO persistence has no {name}:\n{info}")).to_owned()
}

/// Waits until no snapshot and no rewrite runs or is due.
#[track_caller]
fn wait_for_saves(client: &mut Client) {
    let is_idle = |client: &mut Client| {
        // All from one reply: between two, what was scheduled may begin.
        let info = client.text("INFO persistence");
        let names = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"];
        names.iter().all(|name| info.lines().any(|line| line.trim_end() == format!("{name}:0")))
    };
    assert!(wait_until(|| is_idle(client)), "a save never ended");
}

/// Takes a snapshot and waits for it.
#[track_caller]
fn save(client: &mut Client) {
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    wait_for_saves(client);
    assert_eq!(field(client, "rdb_last_bgsave_status"), "ok");
}

/// Value and deadline of each key of a database.
type Contents = BTreeMap<Vec<u8>, (Reply, i64)>;

fn contents(client: &mut Client, database: u32) -> Contents {
    assert_eq!(client.text(&format!("SELECT {database}")), "OK");
    let Reply::Array(keys) = client.ask(&["KEYS", "*"]) else { panic!("KEYS gives an array") };
    let mut contents = Contents::new();
    for key in keys {
        let Reply::Bulk(key) = key else { panic!("KEYS gives texts") };
        let value = client.ask(&[b"GET".as_slice(), &key]);
        let deadline = client.ask(&[b"PEXPIRETIME".as_slice(), &key]).number().expect("a time");
        contents.insert(key, (value, deadline));
    }
    contents
}

/// The files below a data directory whose path from there has `part`, in the order of their names.
fn files(folder: &Path, part: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a data directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.strip_prefix(folder).expect("below it").display().to_string().contains(part) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A start that fails: its complaint, with the folder's own path left out, which may have any words.
#[track_caller]
fn refused(folder: &Folder, arguments: &[&str]) -> String {
    let mut server = Server::launch(folder, arguments);
    let status = server.exit();
    assert_eq!(status.code(), Some(1), "{}", server.log());
    server.log().replace(&folder.0.display().to_string(), "FOLDER")
}

/// Copies a data directory.
fn copy(from: &Path, to: &Path) {
    for path in files(from, "") {
        let target = to.join(path.strip_prefix(from).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        std::fs::copy(&path, &target).expect("a copy");
    }
}
