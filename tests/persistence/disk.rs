//! A disk that is full: a tmpfs of a few megabytes, mounted as the data directory. Mounting needs root, as tests/run does anyway.

use std::path::{Path, PathBuf};
use std::process::Command;

use cloakroom::storage::{LogFacts, Manifest, RealDisk};

use crate::support::client::Client;
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::{BARE, LOGGED, field, wait_for_saves, with};

/// What a client reads after a failed snapshot; the text is Redis's.
const MISCONF_SNAPSHOT: &str = "-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
    Commands that may modify the data set are disabled, because this instance is configured to report errors during writes \
    if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
const MISCONF_LOG: &str = "-MISCONF Errors writing to the AOF file: No space left on device";

/// A small file system.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    pub fn mount(folder: &Path, megabytes: u32) -> SmallDisk {
        let size = format!("size={megabytes}m");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder);
        assert!(command.status().expect("mount runs").success(), "mounting needs root");
        SmallDisk(folder.to_owned())
    }

    /// Leaves no room.
    pub fn fill(&self) {
        let ballast = self.0.join("ballast");
        let mut size: usize = 1 << 20;
        let mut bytes = Vec::new();
        while size > 0 {
            bytes.resize(bytes.len() + size, b'b');
            if std::fs::write(&ballast, &bytes).is_err() {
                bytes.truncate(bytes.len() - size);
                size /= 2;
            }
        }
    }

    pub fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).expect("the ballast is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a server may still be ending; what stays mounted after a failure can only be looked at.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Writes numbered keys until a reply is not OK; gives that reply.
fn write_until_refused(server: &Server, client: &mut Client, written: &mut u32) -> String {
    let value = "v".repeat(4000);
    for _ in 0..100_000 {
        // With `always` the write that the disk did not take has no answer: its client is closed.
        let Ok(reply) = client.try_ask(&["SET", &format!("key:{written}"), &value]) else {
            *client = server.connect();
            continue;
        };
        let reply = reply.to_string();
        if reply != "OK" {
            return reply;
        }
        *written += 1;
    }
    panic!("a full disk refuses nothing");
}

/// Reads go on, and every way to write is refused.
fn only_reads_go_on(client: &mut Client, refusal: &str) {
    assert_eq!(client.text("GET key:0").len(), 4000);
    assert_eq!(client.text("EXISTS key:0 key:1"), "2");
    for line in
        ["SET a b", "DEL key:0", "EXPIRE key:0 10", "INCR n", "FLUSHALL", "GETEX key:0 PERSIST", "PING"]
    {
        assert_eq!(client.text(line), refusal, "{line}");
    }
    assert_eq!(client.text("MULTI"), "OK");
    assert_eq!(client.text("SET a b"), refusal);
    assert!(client.text("EXEC").starts_with("-EXECABORT"));
    assert_eq!(client.text("CONFIG GET dbfilename"), "[dbfilename dump.rdb]");
}

#[test]
fn a_log_on_a_full_disk_refuses_writes_and_loses_nothing() {
    // redis-server ends when a write of the log fails under `always`.
    let policies = if is_redis() { &["everysec"][..] } else { &["everysec", "always", "no"] };
    for policy in policies {
        let folder = Folder::new("persistence");
        let disk = SmallDisk::mount(&folder.data(), 16);
        let arguments = with(LOGGED, &["--appendfsync", policy]);
        let server = Server::start(&folder, &arguments);
        let mut client = server.connect();
        let mut written = 0;
        while written < 200 {
            assert_eq!(client.ask(&["SET", &format!("key:{written}"), &"v".repeat(4000)]).to_string(), "OK");
            written += 1;
        }
        disk.fill();
        assert_eq!(write_until_refused(&server, &mut client, &mut written), MISCONF_LOG, "{policy}");
        only_reads_go_on(&mut client, MISCONF_LOG);
        assert_eq!(field(&mut client, "aof_last_write_status"), "err");
        disk.free();
        assert!(
            wait_until(|| {
                client.text("BGSAVE");
                client.text("SET resumed yes") == "OK"
            }),
            "writes resume when there is room: {}",
            server.log()
        );
        assert_eq!(client.text("PING"), "PONG");
        assert_eq!(client.text("SET last one"), "OK");
        wait_for_saves(&mut client);
        assert_eq!(field(&mut client, "aof_last_write_status"), "ok");
        assert!(wait_until(|| field(&mut client, "aof_buffer_length") == "0"));
        server.kill();
        let server = Server::start(&folder, &arguments);
        let mut client = server.connect();
        // What was refused is not there, what was acknowledged is.
        let keys = client.ask(&["DBSIZE"]).number().expect("a number") - i64::from(written + 2);
        // The write whose client was closed may be there or not: it was not answered.
        assert!(keys == 0 || keys == 1 && *policy == "always", "{policy}: {keys} too many");
        assert_eq!(client.text("MGET resumed last a"), "[yes one (nil)]");
        assert_eq!(client.text("GET key:0").len(), 4000);
    }
}

#[test]
fn a_snapshot_on_a_full_disk_keeps_the_old_one_and_refuses_writes() {
    let folder = Folder::new("persistence");
    let disk = SmallDisk::mount(&folder.data(), 8);
    let arguments = with(BARE, &["--save", "3600 1000000"]);
    let server = Server::start(&folder, &arguments);
    let mut client = server.connect();
    let value: String = "v".repeat(4000);
    for number in 0..500 {
        client.ask(&["SET", &format!("key:{number}"), &value]);
    }
    assert_eq!(client.text("SAVE"), "OK");
    client.text("SET later yes");
    // Random values, which no compression makes fit.
    let mut random = cloakroom::base::random::Random::new(1);
    for number in 0..500 {
        let noise: Vec<u8> = (0..4000).map(|_| random.next_u64() as u8).collect();
        client.ask(&[b"SET".as_slice(), format!("noise:{number}").as_bytes(), &noise]);
    }
    disk.fill();
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    wait_for_saves(&mut client);
    assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "err");
    assert_eq!(client.text("SAVE"), "-ERR");
    only_reads_go_on(&mut client, MISCONF_SNAPSHOT);
    // Whoever does not want that can say so.
    assert_eq!(client.text("CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    assert_eq!(client.text("SET a b"), "OK");
    assert_eq!(client.text("CONFIG SET stop-writes-on-bgsave-error yes"), "OK");
    assert_eq!(client.text("SET a b"), MISCONF_SNAPSHOT);
    let copy = Folder::new("persistence");
    crate::copy(&folder.data(), &copy.data());
    let old = Server::start(&copy, BARE);
    assert_eq!(old.connect().text("DBSIZE"), "500", "the old snapshot is whole");
    disk.free();
    assert_eq!(client.text("BGSAVE"), "Background saving started");
    wait_for_saves(&mut client);
    assert_eq!(field(&mut client, "rdb_last_bgsave_status"), "ok");
    assert_eq!(client.text("SET resumed yes"), "OK");
    server.kill();
    let server = Server::start(&folder, &arguments);
    assert_eq!(server.connect().text("MGET later a resumed"), "[yes b (nil)]");
    assert_eq!(server.connect().text("DBSIZE"), "1002");
}

/// A manifest is what frees a full disk, so it must find its room there.
#[test]
fn a_full_disk_takes_manifest_after_manifest() {
    if is_redis() {
        return;
    }
    let folder = Folder::new("persistence");
    let small = SmallDisk::mount(&folder.data(), 2);
    let disk = RealDisk::open(&folder.data()).expect("opens");
    let mut manifest = Manifest::default();
    manifest.write(&disk, None).expect("there is room");
    small.fill();
    let full = std::fs::write(folder.data().join("more"), [b'b'; 4096]).expect_err("it is full");
    assert_eq!(full.raw_os_error(), Some(28));
    for number in 1..100 {
        manifest.last_number = number;
        manifest.logs.push(LogFacts { number, start_offset: number });
        manifest.write(&disk, None).expect("its room is kept");
        assert_eq!(Manifest::read(&disk, None).expect("it is whole").as_ref(), Some(&manifest));
    }
}
