//! Publish/subscribe across event loops: what one subscriber sees of what several connections do at once.

mod support;

use std::thread;

use support::client::{Client, Reply, request};
use support::process::{Folder, Server, is_redis};

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
