//! How a server ends, and what it saves before.

use rustix::process::Signal;

use crate::disk::SmallDisk;
use crate::support::client::request as bytes_of;
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::{BARE, LOGGED, with};

/// Ends a server by `end` after a write, and says whether the write is there after a restart.
#[track_caller]
fn survives(arguments: &[&str], end: impl FnOnce(&Server)) -> bool {
    let folder = Folder::new("persistence");
    let mut server = Server::start(&folder, arguments);
    assert_eq!(server.connect().text("SET key value"), "OK");
    end(&server);
    let status = server.exit();
    assert!(status.success(), "{status}\n{}", server.log());
    let server = Server::start(&folder, arguments);
    server.connect().text("EXISTS key") == "1"
}

/// SHUTDOWN closes the connection instead of replying.
#[track_caller]
fn shut_down(server: &Server, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = server.connect().try_ask(&words);
    assert!(reply.is_err(), "{line}: {reply:?}");
}

#[test]
fn shutdown_saves_as_the_save_points_say() {
    let points = with(BARE, &["--save", "3600 1"]);
    assert!(!survives(BARE, |server| shut_down(server, "SHUTDOWN")));
    assert!(survives(&points, |server| shut_down(server, "SHUTDOWN")));
    assert!(survives(BARE, |server| shut_down(server, "SHUTDOWN SAVE")));
    assert!(!survives(&points, |server| shut_down(server, "SHUTDOWN NOSAVE")));
    assert!(survives(&points, |server| shut_down(server, "shutdown now force")));
    assert!(survives(BARE, |server| shut_down(server, "SHUTDOWN SAVE NOW FORCE")));
    // What the log has is not a matter of saving.
    assert!(survives(LOGGED, |server| shut_down(server, "SHUTDOWN NOSAVE")));
    let lazily = with(LOGGED, &["--appendfsync", "no"]);
    assert!(survives(&lazily, |server| shut_down(server, "SHUTDOWN NOSAVE")));
}

#[test]
fn a_signal_saves_as_the_save_points_say() {
    let points = with(BARE, &["--save", "3600 1"]);
    let save = with(BARE, &["--shutdown-on-sigterm", "save", "--shutdown-on-sigint", "nosave"]);
    assert!(survives(&points, |server| server.signal(Signal::TERM)));
    assert!(survives(&points, |server| server.signal(Signal::INT)));
    assert!(!survives(BARE, |server| server.signal(Signal::TERM)));
    assert!(survives(&save, |server| server.signal(Signal::TERM)));
    assert!(!survives(&with(&points, &save[BARE.len()..]), |server| server.signal(Signal::INT)));
    assert!(survives(&with(LOGGED, &["--appendfsync", "everysec"]), |server| server.signal(Signal::TERM)));
}

/// A server whose last save fails goes on, unless it is forced to end.
#[test]
fn a_shutdown_whose_save_fails_is_given_up() {
    let folder = Folder::new("persistence");
    let disk = SmallDisk::mount(&folder.data(), 4);
    let mut server = Server::start(&folder, &with(BARE, &["--save", "3600 1000000"]));
    let mut client = server.connect();
    assert_eq!(client.text("DEBUG POPULATE 10000 key 100"), "OK");
    disk.fill();
    let refusal = "-ERR Errors trying to SHUTDOWN. Check logs.";
    assert_eq!(client.text("SHUTDOWN"), refusal);
    assert_eq!(client.text("SHUTDOWN SAVE NOW"), refusal);
    assert_eq!(client.text("SHUTDOWN ABORT"), "-ERR No shutdown in progress.");
    server.signal(Signal::TERM);
    server.wait_for_line(&["sigterm", if is_redis() { "errors trying" } else { "shutting down" }]);
    // A write waits until it is decided.
    assert_eq!(client.text("CONFIG SET stop-writes-on-bgsave-error no"), "OK");
    assert_eq!(client.text("SET later yes"), "OK");
    assert_eq!(client.text("DBSIZE"), "10001");
    shut_down(&server, "SHUTDOWN FORCE");
    assert!(server.exit().success());
    drop(disk);
}

/// What the log has not brought to the disk would be lost. Only NOSAVE and FORCE do not mind that.
#[test]
fn a_shutdown_that_would_lose_the_end_of_the_log_is_given_up() {
    if is_redis() {
        // It ends, and loses that.
        return;
    }
    let folder = Folder::new("persistence");
    let disk = SmallDisk::mount(&folder.data(), 8);
    let arguments = with(LOGGED, &["--appendfsync", "everysec"]);
    let mut server = Server::start(&folder, &arguments);
    let mut client = server.connect();
    assert_eq!(client.text("SET first yes"), "OK");
    disk.fill();
    let value = "v".repeat(100_000);
    let mut written = 0;
    while client.ask(&["SET", &format!("key:{written}"), &value]).to_string() == "OK" {
        written += 1;
    }
    for line in ["SHUTDOWN", "SHUTDOWN SAVE"] {
        assert_eq!(client.text(line), "-ERR Errors trying to SHUTDOWN. Check logs.", "{line}");
    }
    server.signal(Signal::TERM);
    server.wait_for_line(&["sigterm"]);
    disk.free();
    // Now it ends, and nothing is lost.
    let ended = wait_until(|| client.try_ask(&["SHUTDOWN"]).is_err());
    assert!(ended && server.exit().success(), "{}", server.log());
    let server = Server::start(&folder, &arguments);
    assert_eq!(server.connect().text("DBSIZE"), (written + 1).to_string());
}

/// It was started on one, and nothing of its own is unwritten.
#[test]
fn a_server_on_a_full_disk_ends_when_it_is_asked_to() {
    for line in ["SHUTDOWN", "SHUTDOWN NOSAVE"] {
        let folder = Folder::new("persistence");
        let disk = SmallDisk::mount(&folder.data(), 8);
        let arguments = with(LOGGED, &["--save", "3600 1", "--appendfsync", "everysec"]);
        let mut server = Server::start(&folder, &arguments);
        assert_eq!(server.connect().text("SET first yes"), "OK");
        shut_down(&server, "SHUTDOWN");
        assert!(server.exit().success(), "{}", server.log());
        disk.fill();
        let mut server = Server::start(&folder, &arguments);
        assert_eq!(server.connect().text("GET first"), "yes");
        shut_down(&server, line);
        assert!(server.exit().success(), "{line}: {}", server.log());
        disk.free();
        let server = Server::start(&folder, &arguments);
        assert_eq!(server.connect().text("GET first"), "yes");
    }
}

/// The last save waits for a loop that sleeps; the second signal does not.
#[test]
fn a_second_sigint_ends_the_last_save_at_once() {
    if is_redis() {
        // It does not look at signals while it sleeps.
        return;
    }
    let folder = Folder::new("persistence");
    let mut server = Server::start(&folder, &with(BARE, &["--save", "3600 1"]));
    let mut client = server.connect();
    for request in [&["MULTI"][..], &["DEBUG", "LOG", "asleep"], &["DEBUG", "SLEEP", "3600"], &["EXEC"]] {
        client.send_bytes(&bytes_of(request)).expect("the server reads");
    }
    server.wait_for_line(&["asleep"]);
    server.signal(Signal::INT);
    server.wait_for_line(&["sigint received, shutting down"]);
    server.signal(Signal::INT);
    assert_eq!(server.exit().code(), Some(1));
    server.wait_for_line(&["sigint received again"]);
}
