//! Publish/subscribe across event loops: what one subscriber sees of what several connections do at once.

mod support;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use support::client::{Client, Reply, request};
use support::process::{Folder, Server, is_redis, wait_until};

/// Requests between two looks at the replies.
const PIPELINE: usize = 50;

/// A server with several event loops; connections are dealt out to them in turn.
fn start(folder: &Folder) -> Server {
    let mut arguments = vec!["--notify-keyspace-events", "KA", "--save", "", "--appendonly", "no"];
    if !is_redis() {
        arguments.extend(["--threads", "3"]);
    }
    Server::start(folder, &arguments)
}

fn subscribe(server: &Server, channels: &[&str]) -> Client {
    let mut client = server.connect();
    for channel in channels {
        assert_eq!(client.text(&format!("SUBSCRIBE {channel}")).split(' ').next(), Some("[subscribe"));
    }
    client
}

/// The next message: its channel and its text.
fn message(client: &mut Client) -> (String, String) {
    match client.receive().expect("a message") {
        Reply::Array(parts) if parts.len() == 3 => (parts[1].to_string(), parts[2].to_string()),
        other => panic!("{other} is no message"),
    }
}

fn ask_often(mut client: Client, words: &[&str], times: usize) {
    let bytes = request(words).repeat(PIPELINE);
    for _ in 0..times / PIPELINE {
        client.send_bytes(&bytes).expect("the server reads");
        for _ in 0..PIPELINE {
            client.receive().expect("a reply");
        }
    }
}

#[test]
fn events_of_a_key_come_in_the_order_of_its_changes_from_any_loop() {
    const CHANGES: usize = 10_000;
    let folder = Folder::new("events");
    let server = start(&folder);
    let subscribers: Vec<_> = (0..3).map(|_| subscribe(&server, &["__keyspace@0__:k", "end"])).collect();
    thread::scope(|scope| {
        for mut subscriber in subscribers {
            scope.spawn(move || {
                // SET NX changes something only if the key is absent, and DEL only if it is there.
                let mut last = "del".to_owned();
                loop {
                    let (channel, event) = message(&mut subscriber);
                    if channel == "end" {
                        return;
                    }
                    assert_ne!(event, last, "two changes of this kind cannot follow each other");
                    last = event;
                }
            });
        }
        let writers: Vec<_> = [&["SET", "k", "v", "NX"][..], &["DEL", "k"][..]]
            .into_iter()
            .cycle()
            .take(6)
            .map(|words| (server.connect(), words))
            .map(|(client, words)| scope.spawn(move || ask_often(client, words, CHANGES)))
            .collect();
        for writer in writers {
            writer.join().expect("a writer");
        }
        server.connect().text("PUBLISH end .");
    });
}

/// Publishes to `channel` until `done`, so that there is always a message on its way.
fn publish_until(mut client: Client, channel: &str, done: &AtomicBool) {
    let bytes = request(&["PUBLISH", channel, "m"]).repeat(PIPELINE);
    while !done.load(Relaxed) {
        client.send_bytes(&bytes).expect("the server reads");
        for _ in 0..PIPELINE {
            client.receive().expect("a reply");
        }
    }
}

/// Sends requests at once, again and again, while others publish to `c` from several loops: `begin`, time for some messages, and `end`. Behind
/// the last reply to `end`, which begins with `last`, the next thing that comes must be the answer to the next request.
fn nothing_comes_behind(begin: &str, end: &str, last: &str) {
    const ROUNDS: usize = 400;
    const PINGS: usize = 20;
    let folder = Folder::new("ends");
    let server = start(&folder);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| publish_until(server.connect(), "c", &done));
        }
        let mut client = server.connect();
        let line = |line: &str| request(&line.split(' ').collect::<Vec<_>>());
        let requests = [line(begin), line("PING").repeat(PINGS), line(end)].concat();
        let late = (0..ROUNDS).find_map(|round| {
            client.send_bytes(&requests).expect("the server reads");
            while !begins_with(&client.receive().expect("a reply"), last) {}
            let next = client.text("ECHO behind");
            (next != "behind").then(|| format!("round {round}: {next}"))
        });
        done.store(true, Relaxed);
        assert_eq!(late, None);
    });
}

fn begins_with(reply: &Reply, word: &str) -> bool {
    match reply {
        Reply::Array(parts) => parts[0].to_string() == word,
        other => other.to_string() == word,
    }
}

#[test]
fn no_message_comes_behind_unsubscribe() {
    nothing_comes_behind("SUBSCRIBE c", "UNSUBSCRIBE", "unsubscribe");
}

#[test]
fn no_message_comes_behind_punsubscribe() {
    nothing_comes_behind("PSUBSCRIBE c*", "PUNSUBSCRIBE c*", "punsubscribe");
}

#[test]
fn no_message_comes_behind_reset() {
    nothing_comes_behind("SUBSCRIBE c", "RESET", "RESET");
}

#[test]
fn no_line_of_the_monitor_comes_behind_reset() {
    nothing_comes_behind("MONITOR", "RESET", "RESET");
}

#[test]
fn all_subscribers_of_a_channel_hear_its_messages_in_one_order() {
    const MESSAGES: usize = 5000;
    let folder = Folder::new("order");
    let server = start(&folder);
    let mut subscribers: Vec<_> = (0..3).map(|_| subscribe(&server, &["c"])).collect();
    for _ in 0..3 {
        let mut client = server.connect();
        assert_eq!(client.text("PSUBSCRIBE ?"), "[psubscribe ? 1]");
        subscribers.push(client);
    }
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let hear = |mut client: Client| {
            let texts = (0..4 * MESSAGES).map(|_| match client.receive().expect("a message") {
                Reply::Array(parts) => parts.last().expect("a text").to_string(),
                other => panic!("{other} is no message"),
            });
            texts.collect()
        };
        let listening: Vec<_> =
            subscribers.into_iter().map(|client| scope.spawn(move || hear(client))).collect();
        for publisher in 0..4 {
            let mut client = server.connect();
            scope.spawn(move || {
                for first in (0..MESSAGES).step_by(PIPELINE) {
                    let texts = (first..first + PIPELINE).map(|number| format!("{publisher}:{number}"));
                    let bytes: Vec<u8> = texts.flat_map(|text| request(&["PUBLISH", "c", &text])).collect();
                    client.send_bytes(&bytes).expect("the server reads");
                    (0..PIPELINE).for_each(|_| drop(client.receive().expect("a reply")));
                }
            });
        }
        listening.into_iter().map(|thread| thread.join().expect("a subscriber")).collect()
    });
    for other in &heard[1..] {
        let differs = heard[0].iter().zip(other).position(|(left, right)| left != right);
        assert_eq!(differs, None, "the place of the first difference");
    }
}

#[test]
fn a_subscriber_that_reads_all_the_time_is_not_closed() {
    const MESSAGES: usize = 4000;
    if is_redis() {
        // It closes a reader that gets too little of a busy machine's processors.
        return;
    }
    let folder = Folder::new("reader");
    let server = start(&folder);
    let subscriber = subscribe(&server, &["c"]);
    let text = "x".repeat(50_000);
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let mut subscriber = subscriber;
            (0..MESSAGES).take_while(|_| subscriber.receive().is_ok()).count()
        });
        let mut publisher = server.connect();
        let bytes = request(&["PUBLISH", "c", &text]);
        for _ in 0..MESSAGES {
            publisher.send_bytes(&bytes).expect("the server reads");
        }
        assert_eq!(reading.join().expect("the subscriber"), MESSAGES);
    });
}

#[test]
fn a_killed_client_changes_nothing_behind_the_answer_to_its_killer() {
    const ROUNDS: usize = 40;
    let folder = Folder::new("killed");
    let server = start(&folder);
    let mut killer = server.connect();
    let pipeline = request(&["INCR", "n"]).repeat(20_000);
    for round in 0..ROUNDS {
        let mut victim = server.connect();
        let id = victim.text("CLIENT ID");
        thread::scope(|scope| {
            // The server closes the connection in the middle of it.
            scope.spawn(|| victim.send_bytes(&pipeline).is_ok());
            let before = killer.text("GET n");
            assert!(wait_until(|| killer.text("GET n") != before), "the victim never began");
            let killed = killer.text(&format!("CLIENT KILL ID {id}"));
            let after = killer.text("GET n");
            (0..50).for_each(|_| assert_eq!(killer.text("PING"), "PONG"));
            assert_eq!(killer.text("GET n"), after, "round {round}, killed {killed}");
        });
    }
}
