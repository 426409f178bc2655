//! Sessions whose deadline slides with each request do not flood the log, and a crash never takes time from them.

use crate::support::client::{Client, request};
use crate::support::now_ms;
use crate::support::process::{Folder, Server, is_redis};
use crate::{LOGGED, field, with};

const SESSIONS: u64 = 200;
const SLIDES: u64 = 20;
const TTL_MS: i64 = 1_800_000;

fn ask_all(client: &mut Client, words: impl Fn(u64) -> Vec<String>) {
    let bytes: Vec<u8> = (0..SESSIONS).flat_map(|number| request(&words(number))).collect();
    client.send_bytes(&bytes).expect("the server reads");
    (0..SESSIONS).for_each(|_| assert!(!client.receive().expect("a reply").is_error()));
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn size(client: &mut Client) -> u64 {
    field(client, "aof_current_size").parse().expect("a size")
}

/// Slides all sessions and gives by how many bytes the log grew for each.
fn growth(arguments: &[&str]) -> u64 {
    let folder = Folder::new("persistence");
    let server = Server::start(&folder, arguments);
    let mut client = server.connect();
    ask_all(&mut client, |number| words(&format!("SET session:{number} data PX {TTL_MS}")));
    let before = size(&mut client);
    for slide in 0..SLIDES {
        ask_all(&mut client, |number| match slide % 2 {
            0 => words(&format!("PEXPIRE session:{number} {TTL_MS}")),
            _ => words(&format!("GETEX session:{number} PX {TTL_MS}")),
        });
    }
    (size(&mut client) - before) / SESSIONS / SLIDES
}

#[test]
fn slides_are_logged_when_they_go_beyond_the_slack() {
    if is_redis() {
        return;
    }
    let (all, few) = (growth(&with(LOGGED, &["--expire-log-slack", "0"])), growth(LOGGED));
    assert!(all >= 20, "without slack each slide is a record: {all} bytes");
    // At most the first slide of each session, which moves the logged deadline ahead of the real one.
    assert!(few <= all / 8, "{few} bytes a slide instead of {all}");
}

#[test]
fn a_slid_deadline_comes_back_no_earlier_and_at_most_the_slack_later() {
    for (slack, slack_ms) in [("0", 0), ("2", TTL_MS / 50), ("10", TTL_MS / 10)] {
        let arguments =
            if is_redis() { LOGGED.to_vec() } else { with(LOGGED, &["--expire-log-slack", slack]) };
        let folder = Folder::new("persistence");
        let server = Server::start(&folder, &arguments);
        let mut client = server.connect();
        ask_all(&mut client, |number| words(&format!("SET session:{number} data PX {TTL_MS}")));
        // Ever later, by a bit and by more than the slack, and now and then earlier.
        let offset_ms = |number: u64, slide: u64| (number * slide * 500) as i64;
        let start_ms = now_ms();
        for slide in 0..SLIDES {
            ask_all(&mut client, |number| {
                let deadline_ms = start_ms + TTL_MS + offset_ms(number, slide);
                words(&format!("PEXPIREAT session:{number} {deadline_ms}"))
            });
        }
        ask_all(&mut client, |number| match number % 7 {
            0 => words(&format!("PEXPIREAT session:{number} {}", start_ms + 100_000)),
            _ => words("PING"),
        });
        let shown: Vec<i64> = deadlines(&mut client);
        for (number, shown) in shown.iter().enumerate() {
            let offset_ms = offset_ms(number as u64, SLIDES - 1);
            let expected = if number % 7 == 0 { start_ms + 100_000 } else { start_ms + TTL_MS + offset_ms };
            assert_eq!(*shown, expected, "the running server is exact");
        }
        server.kill();
        let server = Server::start(&folder, &arguments);
        for (number, (before, after)) in shown.iter().zip(deadlines(&mut server.connect())).enumerate() {
            // The slack is a part of the time to live that the slide set.
            let slack_ms = if is_redis() {
                0
            } else {
                slack_ms + slack_ms * (before - start_ms - TTL_MS).max(0) / TTL_MS
            };
            let later_ms = after - before;
            assert!(
                (0..=slack_ms + 1).contains(&later_ms),
                "session {number}, slack {slack} %: {later_ms} ms later"
            );
        }
    }
}

fn deadlines(client: &mut Client) -> Vec<i64> {
    let key = |number| format!("session:{number}");
    (0..SESSIONS).map(|number| client.ask(&["PEXPIRETIME", &key(number)]).number().expect("a time")).collect()
}
