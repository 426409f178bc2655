//! How a server ends, and what it saves before.

use rustix::process::Signal;

use crate::disk::SmallDisk;
use crate::support::process::{Folder, Server};
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
    server.wait_for_line(&["sigterm"]);
    assert_eq!(client.text("DBSIZE"), "10000");
    shut_down(&server, "SHUTDOWN FORCE");
    assert!(server.exit().success());
    drop(disk);
}
