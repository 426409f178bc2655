//! What requests on one event loop send to clients of another, step by step: who waits, what counts, what comes before what.

use std::sync::atomic::Ordering::Relaxed;

use crate::client::Gates;
use crate::config::{Config, NotifyFlags};
use crate::services::Services;
use crate::testing::in_process::{InProcess, services_of};

/// A server with two event loops and a small limit for what is under way between them.
fn two_loops(change: impl FnOnce(&mut Config)) -> Services {
    let mut config = Config::default();
    config.delivery_buffer_limit = 2000;
    change(&mut config);
    services_of(config, 2)
}

/// What a client hears after some lines, with line ends as spaces.
fn ask(server: &mut InProcess<'_>, place: usize, lines: &[&str]) -> String {
    let bytes: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    server.feed(place, bytes.as_bytes());
    heard(server, place)
}

fn heard(server: &mut InProcess<'_>, place: usize) -> String {
    String::from_utf8_lossy(&server.take_output(place)).replace("\r\n", " ").trim_end().to_owned()
}

/// Sends a request until it is not answered; gives how often it was.
fn ask_until_it_waits(server: &mut InProcess<'_>, place: usize, line: &str) -> usize {
    let answered = (0..100).take_while(|_| !ask(server, place, &[line]).is_empty()).count();
    assert!(answered < 100, "{line} never waits");
    answered
}

const SUBSCRIBED: &str = "*3 $9 subscribe $1 c :1";
const MESSAGE: &str = "*3 $7 message $1 c $1 m";

#[test]
fn a_publisher_waits_while_too_much_is_under_way_to_another_loop() {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (publisher, subscribers) = (one.connect(), [other.connect(), other.connect()]);
    for subscriber in subscribers {
        assert_eq!(ask(&mut other, subscriber, &["SUBSCRIBE c"]), SUBSCRIBED);
    }
    let sent = ask_until_it_waits(&mut one, publisher, "PUBLISH c m");
    assert!((3..5).contains(&sent), "{sent} messages of some 600 bytes for two clients are 2,000 bytes");
    assert!(subscribers.iter().all(|place| heard(&mut other, *place).is_empty()), "it is on its way");

    let observer = one.connect();
    let list = ask(&mut one, observer, &["CLIENT LIST"]);
    let waiting = services.clients.all()[1].in_transit_bytes.load(Relaxed);
    assert_eq!(list.matches(&format!(" omem={waiting} ")).count(), 2, "{list}");
    assert!(waiting >= sent * "*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n".len(), "{waiting}");
    assert_eq!(ask(&mut one, observer, &["SET k v", "GET k"]), "+OK $1 v", "this sends nothing");

    other.settle();
    for subscriber in subscribers {
        assert_eq!(heard(&mut other, subscriber), vec![MESSAGE; sent].join(" "));
    }
    assert_eq!(services.clients.all()[1].in_transit_bytes.load(Relaxed), 0);
    one.settle();
    assert_eq!(heard(&mut one, publisher), ":2", "the request that waited");
    assert!(!services.gates().has(Gates::DELIVERIES_FULL));
}

#[test]
fn two_loops_that_send_to_each_other_both_go_on() {
    let services = two_loops(|_| {});
    let mut loops = [0, 1].map(|index| InProcess::on_loop(&services, index));
    let clients = [0, 1].map(|index| {
        let server = &mut loops[index];
        let (publisher, subscriber) = (server.connect(), server.connect());
        ask(server, subscriber, &[&format!("SUBSCRIBE from{}", 1 - index)]);
        (publisher, subscriber)
    });
    // Neither loop looks at its mailbox before both are full: `settle` comes with a request, and none comes.
    let pipeline = |index: usize| format!("PUBLISH from{index} m\r\n").repeat(100);
    for index in [0, 1] {
        loops[index].feed(clients[index].0, pipeline(index).as_bytes());
    }
    let mut got = [0, 0];
    for _ in 0..100 {
        for index in [0, 1] {
            loops[index].settle();
            got[index] += heard(&mut loops[index], clients[index].1).matches("message").count();
        }
    }
    assert_eq!(got, [100, 100]);
    for index in [0, 1] {
        assert_eq!(heard(&mut loops[index], clients[index].0), [":1"; 100].join(" "));
    }
}

#[test]
fn whoever_would_cause_events_waits_and_so_does_expiry() {
    let flags = NotifyFlags::parse(b"KEA").expect("known letters");
    let services = two_loops(|config| config.notify_keyspace_events = flags);
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (writer, subscriber) = (one.connect(), other.connect());
    ask(&mut other, subscriber, &["PSUBSCRIBE __key*"]);
    // A key whose shard is the first loop's to look after.
    let own = |name: &String| services.keyspace.key(name.as_bytes()).shard % 2 == 0;
    let short = (0..).map(|number| format!("short:{number}")).find(own).expect("one of two");
    assert_eq!(ask(&mut one, writer, &[&format!("SET {short} v PX 10")]), "+OK");
    ask_until_it_waits(&mut one, writer, "SET k v");
    let keys = services.keyspace.count(0).0;
    let another = one.connect();
    assert_eq!(ask(&mut one, another, &["PING"]), "+PONG");
    one.advance(1000);
    assert_eq!(services.keyspace.count(0).0, keys, "the expired key would cause an event");
    let waiting = ask(&mut one, another, &["MULTI", "SET k v", "EXEC"]);
    assert_eq!(waiting, "+OK +QUEUED", "what is only queued sends nothing");

    other.settle();
    assert!(!heard(&mut other, subscriber).contains("expired"));
    one.settle();
    assert_eq!(heard(&mut one, writer), "+OK");
    assert_eq!(heard(&mut one, another), "*1 +OK");
    other.settle();
    one.advance(1000);
    other.settle();
    assert!(heard(&mut other, subscriber).contains("expired"));
}

#[test]
fn whoever_is_monitored_waits() {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (client, monitor) = (one.connect(), other.connect());
    assert_eq!(ask(&mut other, monitor, &["MONITOR"]), "+OK");
    let shown = ask_until_it_waits(&mut one, client, "PING");
    other.settle();
    assert_eq!(heard(&mut other, monitor).matches("\"PING\"").count(), shown);
    one.settle();
    assert_eq!(heard(&mut one, client), "+PONG");
}

#[test]
fn what_is_under_way_counts_against_maxmemory_clients() {
    let services = two_loops(|config| config.delivery_buffer_limit = 1 << 30);
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (publisher, subscriber) = (one.connect(), other.connect());
    ask(&mut other, subscriber, &["SUBSCRIBE c"]);
    ask(&mut one, publisher, &["CONFIG SET maxmemory-clients 1mb"]);
    one.feed(publisher, "PUBLISH c m\r\n".repeat(1000).as_bytes());
    one.evict_clients();
    assert!(!services.clients.all()[1].is_killed());
    one.feed(publisher, "PUBLISH c m\r\n".repeat(40_000).as_bytes());
    one.evict_clients();
    assert_eq!(services.clients.all().len(), 1, "the subscriber is gone, for it is the largest");
}

/// A subscriber of `c` on the second loop, and a message that waits for it there.
fn with_a_message_under_way(begin: &str, then: impl FnOnce(&mut InProcess<'_>, usize) -> String) -> String {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (publisher, subscriber) = (one.connect(), other.connect());
    begin.split(';').for_each(|line| drop(ask(&mut other, subscriber, &[line])));
    ask(&mut one, publisher, &["PUBLISH c m"]);
    let shown = then(&mut other, subscriber);
    other.settle();
    let later = heard(&mut other, subscriber);
    assert_eq!(later, "", "nothing comes behind");
    ask(&mut one, publisher, &["PUBLISH c m"]);
    other.settle();
    shown + " | " + &heard(&mut other, subscriber)
}

/// Feeds without looking at the mailbox first, as a batch does that runs when the message comes.
fn run(lines: &'static [&'static str]) -> impl FnOnce(&mut InProcess<'_>, usize) -> String {
    |server, place| ask(server, place, lines)
}

#[test]
fn what_was_sent_before_the_end_of_a_subscription_comes_before_its_confirmation() {
    let ended = with_a_message_under_way("SUBSCRIBE c", run(&["UNSUBSCRIBE", "PING"]));
    assert_eq!(ended, format!("{MESSAGE} *3 $11 unsubscribe $1 c :0 +PONG | "));
    let ended = with_a_message_under_way("PSUBSCRIBE ?", run(&["PUNSUBSCRIBE ?", "PING"]));
    assert_eq!(ended, "*4 $8 pmessage $1 ? $1 c $1 m *3 $12 punsubscribe $1 ? :0 +PONG | ");
    let reset = with_a_message_under_way("SUBSCRIBE c", run(&["RESET", "PING"]));
    assert_eq!(reset, format!("{MESSAGE} +RESET +PONG | "));
    let closed = with_a_message_under_way("SUBSCRIBE c", run(&["QUIT"]));
    assert_eq!(closed, format!("{MESSAGE} +OK | "));
    let monitored = with_a_message_under_way("MONITOR", run(&["RESET", "PING"]));
    assert!(monitored.contains("\"PUBLISH\" \"c\" \"m\" +RESET +PONG | "), "{monitored}");
}

#[test]
fn a_message_is_in_the_version_that_the_client_speaks_where_it_comes() {
    // A subscriber may say HELLO in RESP3 only.
    let back = with_a_message_under_way("HELLO 3;SUBSCRIBE c", |server, place| {
        let shown = ask(server, place, &["HELLO 2"]);
        let (before, _) = shown.split_once(" *14 ").expect("the greeting in RESP2");
        before.to_owned()
    });
    assert_eq!(back, format!(">3 $7 message $1 c $1 m | {MESSAGE}"));
}

#[test]
fn messages_come_behind_an_exec_and_never_inside_of_it() {
    let shown = with_a_message_under_way(
        "HELLO 3;SUBSCRIBE c d",
        run(&["MULTI", "UNSUBSCRIBE d", "PUBLISH c own", "UNSUBSCRIBE c", "EXEC"]),
    );
    let own = ">3 $7 message $1 c $3 own";
    let queued = "+OK +QUEUED +QUEUED +QUEUED";
    let exec = "*3 >3 $11 unsubscribe $1 d :1 :1 >3 $11 unsubscribe $1 c :0";
    assert_eq!(shown, format!("{queued} {exec} >3 $7 message $1 c $1 m {own} | "));
    // A request that runs last of all, without the locks, is in front of the others here.
    let shown = with_a_message_under_way(
        "HELLO 3;SUBSCRIBE c",
        run(&["MULTI", "CONFIG GET databases", "UNSUBSCRIBE c", "EXEC"]),
    );
    let exec = "*2 %1 $9 databases $2 16 >3 $11 unsubscribe $1 c :0";
    assert_eq!(shown, format!("+OK +QUEUED +QUEUED {exec} >3 $7 message $1 c $1 m | "));
    // In the version that the client spoke when it was sent.
    let shown = with_a_message_under_way("HELLO 3;SUBSCRIBE c", |server, place| {
        let shown = ask(server, place, &["MULTI", "PUBLISH c own", "HELLO 2", "EXEC"]);
        let (_, behind) = shown.split_once("$7 modules *0 ").expect("the end of the greeting");
        behind.to_owned()
    });
    assert_eq!(shown, format!(">3 $7 message $1 c $1 m {own} | {MESSAGE}"));
}

#[test]
fn messages_come_behind_an_exec_that_has_to_wait_before_its_end() {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (client, victim) = (one.connect(), other.connect());
    let id = services.clients.all()[1].id;
    let kill = format!("CLIENT KILL ID {id}");
    ask(&mut one, client, &["HELLO 3", "SUBSCRIBE c"]);
    let queue = ["MULTI", "PUBLISH c own", "UNSUBSCRIBE c", "CONFIG RESETSTAT", &kill, "PING", "EXEC"];
    ask(&mut one, client, &queue);
    other.settle();
    assert!(!other.is_open(victim));
    one.settle();
    let exec = "*5 :1 >3 $11 unsubscribe $1 c :0 +OK :1 +PONG";
    assert_eq!(heard(&mut one, client), format!("{exec} >3 $7 message $1 c $3 own"));
}

#[test]
fn a_killer_waits_until_the_other_loop_has_closed_the_client() {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (killer, victim) = (one.connect(), other.connect());
    let id = services.clients.all()[1].id;
    let kill = format!("CLIENT KILL ID {id}");
    let shown = ask(&mut one, killer, &["PING", &kill, "PING"]);
    assert_eq!(shown, "+PONG", "the other loop may be in the middle of a request");
    other.feed(victim, b"SET k v\r\n");
    assert!(!other.is_open(victim));
    one.settle();
    assert_eq!(heard(&mut one, killer), ":1 +PONG");
    assert_eq!(ask(&mut one, killer, &["EXISTS k"]), ":0");
}

#[test]
fn a_kill_inside_exec_or_of_the_killer_too_answers_when_all_is_done() {
    let services = two_loops(|_| {});
    let (mut one, mut other) = (InProcess::on_loop(&services, 0), InProcess::on_loop(&services, 1));
    let (killer, first, second) = (one.connect(), other.connect(), other.connect());
    let ids: Vec<u64> = services.clients.all().iter().map(|client| client.id).collect();
    let kill = format!("CLIENT KILL ID {}", ids[1]);
    assert_eq!(ask(&mut one, killer, &["MULTI", "SET k v", &kill, "EXEC", "GET k"]), "+OK +QUEUED +QUEUED");
    other.settle();
    assert!(!other.is_open(first) && other.is_open(second));
    one.settle();
    assert_eq!(heard(&mut one, killer), "*2 +OK :1 $1 v");

    assert_eq!(ask(&mut one, killer, &["CLIENT KILL TYPE normal SKIPME no", "PING"]), "");
    assert!(one.is_open(killer), "it still gets its answer");
    other.settle();
    one.settle();
    assert_eq!(heard(&mut one, killer), ":2");
    assert!(!one.is_open(killer) && !other.is_open(second));
}
