//! An event loop on its own, without the process around it: what it does when the operating system lets it down.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::super::connection::TURN_SEND_BYTES;
use super::super::door::{Accepted, Door};
use super::{EventLoop, WAKE_TOKEN};
use crate::base::clock::{Clock, Stopwatch};
use crate::client::{Clients, Closing, Delivery, Mailbox, Message, MigrationOrder, Parcel, ReloadOrder};
use crate::command::COMMANDS;
use crate::config::Config;
use crate::keyspace::{KeyHasher, Keyspace, Reclaimer};
use crate::observe::counters::{Count, Gauge};
use crate::observe::statistics::Statistics;
use crate::services::{Control, Identity, Services, Settings, Shutdown};
use crate::snapshot::SaveKind;

/// Notes that somebody wants the server to end.
struct Ending(Arc<AtomicBool>);

impl Control for Ending {
    fn apply(&self, _: &Config, _: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn start_save(&self, _kind: SaveKind) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }

    fn shut_down(&self, _how: Shutdown) {
        self.0.store(true, Relaxed);
    }
}

#[test]
fn a_loop_whose_poller_fails_ends_the_whole_server() {
    let ending = Arc::new(AtomicBool::new(false));
    let services = services(&ending);
    let doors = [Arc::new(Door::new().expect("a descriptor"))].into();
    let made = EventLoop::new(&services, 0, doors, Clock::System, Stopwatch::calibrated(), 1);
    let mut event_loop = made.expect("a poller");
    // What is not a poller cannot be waited for.
    event_loop.poller = eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
    event_loop.run();
    assert!(services.failed.load(Relaxed) && ending.load(Relaxed));
}

/// The services of one loop.
fn services(ending: &Arc<AtomicBool>) -> Services {
    Services::new(
        Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0),
        Settings::new(Config::default(), None),
        Clients::new(Box::new([Mailbox::new(Box::new(|| {}))])),
        Statistics::new(1, COMMANDS.count),
        Box::new(Ending(Arc::clone(ending))),
        Identity { run_id: String::new(), started_ms: 0, loops: 1, executable: String::new() },
    )
}

fn event_loop(services: &Services) -> EventLoop<'_> {
    let doors = [Arc::new(Door::new().expect("a descriptor"))].into();
    EventLoop::new(services, 0, doors, Clock::System, Stopwatch::calibrated(), 1).expect("a poller")
}

/// The client's end of a new connection.
fn connect(event_loop: &mut EventLoop<'_>) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().expect("two descriptors");
    theirs.set_nonblocking(true).expect("a socket");
    ours.set_nonblocking(true).expect("a socket");
    event_loop.open(Accepted {
        socket: theirs.into(),
        address: String::from("a:0"),
        local_address: String::from("b:0"),
        unix: true,
        local: true,
    });
    ours
}

/// What has come to the client by now.
fn received(client: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // It ends when nothing is left for now, which is an error of the read.
    let _ = client.read_to_end(&mut bytes);
    bytes
}

#[test]
fn a_request_is_not_charged_with_what_came_before_its_turn() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    client.write_all(b"PING\r\n").expect("an open socket");
    // As if another client's write had just taken a minute.
    let minute = event_loop.state.stopwatch.ticks_in(60_000_000);
    event_loop.state.started_ticks = Stopwatch::ticks().wrapping_sub(minute);
    let place = event_loop.connections.len() - 1;
    event_loop.read(place, 0);
    let turn = event_loop.turns.pop().expect("a request came");
    event_loop.run_turn(turn);
    assert_eq!(received(&mut client), b"+PONG\r\n");
    let ping = COMMANDS.find(b"PING").expect("a command").id;
    let calls = services.statistics.commands()[ping];
    assert!(calls.calls == 1 && calls.usec < 60_000_000, "{calls:?}");
}

/// As in Redis, where whatever resets the connection's parser ends the request that is skipped.
#[test]
fn an_empty_request_is_the_one_that_client_reply_skip_skips() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    for empty in ["\r\n", "*0\r\n", "*-1\r\n", "   \r\n", "\n", "\r\n*0\r\n\r\n"] {
        let mut client = connect(&mut event_loop);
        client.write_all(format!("CLIENT REPLY SKIP\r\n{empty}PING\r\n").as_bytes()).expect("a socket");
        event_loop.step(0).expect("a poller");
        assert_eq!(received(&mut client), b"+PONG\r\n", "{empty:?} with the others");
        for piece in ["CLIENT REPLY SKIP\r\n", empty, "CLIENT LIST ID 1\r\nECHO 1\r\n"] {
            client.write_all(piece.as_bytes()).expect("a socket");
            event_loop.step(0).expect("a poller");
        }
        let heard = String::from_utf8(received(&mut client)).expect("text");
        assert!(heard.starts_with('$') && heard.ends_with("$1\r\n1\r\n"), "{empty:?} alone: {heard}");
    }
}

/// An empty request is none: it counts for nothing and is not the last command.
#[test]
fn empty_requests_leave_no_trace_and_have_a_turn_like_others() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    client.write_all(b"PING\r\n\r\n*0\r\n").expect("a socket");
    event_loop.step(0).expect("a poller");
    assert_eq!(received(&mut client), b"+PONG\r\n");
    let ping = COMMANDS.find(b"PING").expect("a command").id;
    assert_eq!(services.clients.all()[0].last_command.load(Relaxed), ping);
    let errors = services.statistics.counters().count(Count::ErrorReplies);
    assert_eq!(errors, 0);
    // A request that waits behind them is not lost when each uses up its turn.
    event_loop.turn_ticks = 0;
    client.write_all(b"\r\n\r\n\r\nECHO 1\r\n\r\n").expect("a socket");
    let mut heard = Vec::new();
    while heard.is_empty() {
        event_loop.step(0).expect("a poller");
        heard = received(&mut client);
    }
    assert_eq!(heard, b"$1\r\n1\r\n");
}

#[test]
fn a_pipeline_whose_time_is_used_up_waits_for_other_clients() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    // Every request uses up its turn.
    event_loop.turn_ticks = 0;
    let (mut many, mut one) = (connect(&mut event_loop), connect(&mut event_loop));
    // The last request is not whole: its beginning has to survive the turns, too.
    many.write_all(b"ECHO 1\r\nECHO 2\r\nECHO 3\r\nECHO 4\r\nECHO 5\r\n*2\r\n$4\r\nECHO\r\n$1\r\n")
        .expect("an open socket");
    one.write_all(b"PING\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    assert_eq!((received(&mut many), received(&mut one)), (b"$1\r\n1\r\n".to_vec(), b"+PONG\r\n".to_vec()));
    many.write_all(b"6\r\n").expect("an open socket");
    let mut rest = Vec::new();
    for _ in 0..6 {
        one.write_all(b"PING\r\n").expect("an open socket");
        event_loop.step(0).expect("a poller");
        assert_eq!(event_loop.unfinished.is_empty(), rest.len() >= 3 * 7, "no rest while requests wait");
        rest.extend(received(&mut many));
        assert_eq!(received(&mut one), b"+PONG\r\n", "each step serves the other client");
    }
    assert_eq!(rest, b"$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n5\r\n$1\r\n6\r\n");
}

#[test]
fn a_request_that_walks_through_all_keys_shares_its_loop() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    event_loop.turn_ticks = u64::MAX;
    let (mut walker, mut other) = (connect(&mut event_loop), connect(&mut event_loop));
    let mut filling = Vec::new();
    for number in 0..20_000 {
        filling.extend_from_slice(format!("SET {{t}}{number} v\r\n").as_bytes());
    }
    for part in filling.chunks(32 * 1024) {
        walker.write_all(part).expect("a socket");
        event_loop.step(0).expect("a poller");
        while !received(&mut walker).is_empty() {
            event_loop.step(0).expect("a poller");
        }
    }
    walker.write_all(b"ECHO 1\r\nKEYS *\r\nECHO 2\r\n*2\r\n$4\r\nECHO\r\n$1\r\n").expect("a socket");
    event_loop.step(0).expect("a poller");
    assert!(received(&mut walker) == b"$1\r\n1\r\n", "what came before is sent");
    walker.write_all(b"3\r\n").expect("a socket");
    let (mut heard, mut steps) = (Vec::new(), 0);
    while !heard.ends_with(b"$1\r\n3\r\n") && steps < 1000 {
        other.write_all(b"PING\r\n").expect("a socket");
        let wait_ms = event_loop.step(0).expect("a poller");
        assert_eq!(received(&mut other), b"+PONG\r\n");
        heard.extend(received(&mut walker));
        assert!(wait_ms == 0 || !heard.is_empty(), "no rest while there is more to look at");
        steps += 1;
    }
    assert!(heard.starts_with(b"*20000\r\n") && (4..1000).contains(&steps), "{steps} steps");
    assert!(heard.ends_with(b"$1\r\n2\r\n$1\r\n3\r\n"));
    // One that goes away on its way takes all with it.
    walker.write_all(b"KEYS *\r\n").expect("a socket");
    event_loop.step(0).expect("a poller");
    drop(walker);
    for _ in 0..100 {
        event_loop.step(0).expect("a poller");
    }
    assert!(event_loop.unfinished.is_empty() && services.clients.connected() == 1);
}

#[test]
fn a_pipeline_whose_replies_are_large_waits_for_other_clients() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    event_loop.turn_ticks = u64::MAX;
    let (mut many, mut one) = (connect(&mut event_loop), connect(&mut event_loop));
    many.write_all(format!("SET k {}\r\n", "v".repeat(40_000)).as_bytes()).expect("an open socket");
    event_loop.step(0).expect("a poller");
    received(&mut many);
    many.write_all(&b"GET k\r\n".repeat(20)).expect("an open socket");
    one.write_all(b"PING\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    assert_eq!(received(&mut one), b"+PONG\r\n");
    assert!(received(&mut many).len() < 3 * 40_000);
}

#[test]
fn the_poller_tells_of_each_ring_once_and_nobody_reads_the_bell() {
    let services = services(&Arc::default());
    let event_loop = event_loop(&services);
    let wakes = || {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(8);
        let (room, at_once) = (rustix::buffer::spare_capacity(&mut events), Duration::ZERO.try_into().ok());
        epoll::wait(&event_loop.poller, room, at_once.as_ref()).expect("a poller");
        events.iter().filter(|event| event.data.u64() == WAKE_TOKEN).count()
    };
    assert_eq!(wakes(), 0);
    for _ in 0..3 {
        event_loop.door().ring();
        assert_eq!((wakes(), wakes()), (1, 0));
    }
    event_loop.door().ring();
    event_loop.door().ring();
    assert_eq!((wakes(), wakes()), (1, 0), "two rings before a look are one");
}

/// A subscriber with an output limit of two megabytes, and five megabytes on their way to it from another loop.
fn with_much_under_way(then: impl FnOnce(&mut EventLoop<'_>, &mut UnixStream)) {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    client
        .write_all(b"CONFIG SET client-output-buffer-limit \"pubsub 2mb 0 0\"\r\nSUBSCRIBE c\r\n")
        .expect("an open socket");
    event_loop.step(0).expect("a poller");
    assert_eq!(received(&mut client), b"+OK\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
    let info = &event_loop.connections.last().and_then(Option::as_deref).expect("a client").client.info;
    let parcel = Arc::new(Parcel::push(&[b"message", b"c"], Parcel::text(&[b'm'; 50_000])));
    for _ in 0..100 {
        let delivery = Delivery::new([Arc::clone(info)].into(), Arc::clone(&parcel));
        services.clients.mailbox(0).send(Message::Deliver(delivery));
    }
    then(&mut event_loop, &mut client);
}

#[test]
fn a_limit_counts_what_a_socket_did_not_take_and_not_what_another_loop_has_sent() {
    with_much_under_way(|event_loop, client| {
        let mut bytes = 0;
        while bytes < 100 * 50_000 {
            event_loop.step(0).expect("a poller");
            assert!(event_loop.connections.iter().any(Option::is_some), "closed behind {bytes} bytes");
            bytes += received(client).len();
        }
    });
}

#[test]
fn a_rest_is_short_however_much_a_socket_did_not_take() {
    with_much_under_way(|event_loop, _client| {
        let limits = &mut Arc::make_mut(&mut event_loop.state.config).client_output_buffer_limit;
        limits.pubsub.hard_bytes = 0;
        let mailbox = event_loop.state.services.clients.mailbox(0);
        let info = &event_loop.connections.last().and_then(Option::as_deref).expect("a client").client.info;
        for bytes in [30_000_000, 1] {
            let parcel = Parcel::push(&[b"message", b"c"], Parcel::text(&vec![b'm'; bytes]));
            let delivery = Delivery::new([Arc::clone(info)].into(), Arc::new(parcel));
            mailbox.send(Message::Deliver(delivery));
        }
        while mailbox.is_full(0) {
            event_loop.step(0).expect("a poller");
            let wait_ms = event_loop.mailbox_wait_ms();
            assert!(wait_ms <= 16 || !mailbox.is_signalled(), "{wait_ms}");
        }
    });
}

#[test]
fn a_subscriber_that_reads_nothing_is_not_waited_for_again_and_again() {
    with_much_under_way(|event_loop, client| {
        let limits = &mut Arc::make_mut(&mut event_loop.state.config).client_output_buffer_limit;
        limits.pubsub.hard_bytes = 0;
        let (clock, hands) = Clock::manual(1_790_000_000_000);
        event_loop.clock = clock;
        event_loop.step(0).expect("a poller");
        assert!(event_loop.mailbox_wait_ms() > 0, "its socket is full, and it is waited for");
        hands.advance_ms(1000);
        let mailbox = event_loop.state.services.clients.mailbox(0);
        while event_loop.mailbox_wait_ms() > 0 {
            assert!(mailbox.is_signalled(), "there is more");
            event_loop.step(0).expect("a poller");
        }
        while mailbox.is_signalled() {
            event_loop.step(0).expect("a poller");
            assert!(
                event_loop.mailbox_wait_ms() == 0 || !mailbox.is_signalled(),
                "it has not read for a second"
            );
        }
        assert!(!received(client).is_empty());
    });
}

#[test]
fn a_subscriber_that_does_not_read_is_closed_at_its_limit() {
    with_much_under_way(|event_loop, _| {
        while event_loop.connections.iter().any(Option::is_some) {
            event_loop.step(1).expect("a poller");
        }
        let counters = event_loop.state.services.statistics.counters();
        assert_eq!(counters.count(Count::OutputBufferLimitDisconnections), 1);
    });
}

/// Makes `key` a value of so many bytes, by a client that leaves again.
fn store(event_loop: &mut EventLoop<'_>, key: &str, bytes: usize) {
    let mut client = connect(event_loop);
    client.write_all(format!("SETRANGE {key} {} v\r\n", bytes - 1).as_bytes()).expect("an open socket");
    event_loop.step(0).expect("a poller");
    assert_eq!(received(&mut client), format!(":{bytes}\r\n").as_bytes());
    drop(client);
    event_loop.step(0).expect("a poller");
}

#[test]
fn a_reader_of_a_large_value_gets_a_share_of_each_turn() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    store(&mut event_loop, "k", 1_000_000);
    let (mut reader, mut other) = (connect(&mut event_loop), connect(&mut event_loop));
    reader.write_all(b"GET k\r\nGET k\r\nPING\r\n").expect("an open socket");
    let whole = 2 * (1_000_000 + b"$1000000\r\n\r\n".len()) + b"+PONG\r\n".len();
    let (mut bytes, mut steps) = (Vec::new(), 0);
    while bytes.len() < whole {
        other.write_all(b"PING\r\n").expect("an open socket");
        event_loop.step(0).expect("a poller");
        let share = received(&mut reader);
        assert!(share.len() <= TURN_SEND_BYTES, "{} bytes in one step", share.len());
        bytes.extend_from_slice(&share);
        assert_eq!(received(&mut other), b"+PONG\r\n", "each step serves the other client");
        // The second reply is not made before the first has gone.
        assert!(event_loop.connections.iter().flatten().all(|c| c.output_bytes() <= 1_100_000));
        steps += 1;
        assert!(steps < 100, "it gets on: {} bytes", bytes.len());
    }
    assert_eq!(bytes.len(), whole);
    assert!(bytes.ends_with(b"+PONG\r\n"));
}

#[test]
fn a_client_that_asks_for_more_than_its_output_limit_is_closed_while_the_reply_is_made() {
    let services = services(&Arc::default());
    let mut config = Config::default();
    config.client_output_buffer_limit.normal.hard_bytes = 1 << 20;
    services.put_in_force(config, 0);
    let mut event_loop = event_loop(&services);
    store(&mut event_loop, "k", 300_000);
    let mut client = connect(&mut event_loop);
    client.write_all(format!("MGET{}\r\n", " k".repeat(1000)).as_bytes()).expect("an open socket");
    event_loop.step(0).expect("a poller");
    assert_eq!(client.read(&mut [0]).expect("a closed socket"), 0, "nothing of the reply was sent");
    assert!(event_loop.connections.iter().all(Option::is_none));
    assert_eq!(services.statistics.counters().count(Count::OutputBufferLimitDisconnections), 1);
}

#[test]
fn a_pipeline_whose_replies_nobody_reads_goes_on_to_its_output_limit() {
    let services = services(&Arc::default());
    let mut config = Config::default();
    config.client_output_buffer_limit.normal.hard_bytes = 1 << 20;
    services.put_in_force(config, 0);
    let mut event_loop = event_loop(&services);
    store(&mut event_loop, "k", 100_000);
    let mut client = connect(&mut event_loop);
    client.write_all(&b"GET k\r\n".repeat(100)).expect("an open socket");
    for _ in 0..100 {
        event_loop.step(0).expect("a poller");
    }
    assert!(event_loop.connections.iter().all(Option::is_none), "it is closed");
}

#[test]
fn a_stranger_that_reads_nothing_is_closed_long_before_its_output_takes_memory() {
    let services = services(&Arc::default());
    let mut config = Config::default();
    config.requirepass = b"secret".to_vec();
    services.put_in_force(config, 0);
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    let mut most = 0;
    for _ in 0..100_000 {
        // It never reads; its own writes end when it is closed.
        if client.write(&b"PING\r\n".repeat(1000)).is_err_and(|error| error.kind() != ErrorKind::WouldBlock) {
            break;
        }
        event_loop.step(0).expect("a poller");
        let kept = event_loop.connections.iter().flatten().map(|c| c.output_bytes() + c.input_capacity());
        most = most.max(kept.sum());
    }
    assert!(event_loop.connections.iter().all(Option::is_none), "it is closed");
    assert!(most <= 256 * 1024, "{most} bytes kept for a stranger");
}

#[test]
fn an_argument_that_comes_in_pieces_takes_at_most_twice_what_has_come() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    let value = vec![b'v'; 3_000_000];
    client.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    let mut sent = 0;
    while sent < value.len() {
        let room = event_loop.connections[0].as_deref().expect("open").input_capacity();
        assert!(room <= 2 * sent + 128 * 1024, "{room} bytes for {sent}");
        assert!(room <= value.len() + 1024, "{room} bytes, more than the argument needs");
        sent += client.write(&value[sent..]).unwrap_or(0);
        event_loop.step(0).expect("a poller");
    }
    client.write_all(b"\r\nSTRLEN k\r\n").expect("an open socket");
    for _ in 0..100 {
        event_loop.step(0).expect("a poller");
    }
    assert_eq!(received(&mut client), b"+OK\r\n:3000000\r\n");
    assert_eq!(event_loop.connections[0].as_deref().expect("open").input_capacity(), 0);
}

/// Ends the blocked clients of a loop whose time has come.
fn until_time_has_gone(event_loop: &mut EventLoop<'_>, ms: i64) {
    let end_ms = event_loop.state.steady_ms + ms;
    while event_loop.state.steady_ms < end_ms {
        event_loop.step(ms).expect("a poller");
    }
}

#[test]
fn a_blocked_client_that_leaves_is_closed_although_its_input_is_not_read() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    for blocking in [&b"WAIT 1 0\r\n"[..], b"CLIENT PAUSE 100000\r\nSET k v\r\n"] {
        let mut client = connect(&mut event_loop);
        client.write_all(blocking).expect("an open socket");
        event_loop.step(0).expect("a poller");
        // More input than is read of a client that is blocked, and then none.
        client.write_all(b"SET k w\r\n").expect("an open socket");
        event_loop.step(0).expect("a poller");
        assert!(event_loop.connections.iter().any(Option::is_some));
        drop(client);
        event_loop.step(0).expect("a poller");
        assert!(event_loop.connections.iter().all(Option::is_none), "it has left");
    }
    services.unpause_clients();
    event_loop.step(0).expect("a poller");
    assert!(services.keyspace.keys() == 0, "nothing of it ran");
}

#[test]
fn a_client_that_is_killed_while_it_blocks_is_counted_as_blocked_once() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    let info = Arc::clone(&event_loop.connections[0].as_deref().expect("a client").client.info);
    client.write_all(b"WAIT 1 0\r\n").expect("an open socket");
    event_loop.read(0, 0);
    // As another loop does it, between the look whether the turn may run and the end of its request.
    let turn = event_loop.turns.pop().expect("a request came");
    event_loop.output.begin(usize::MAX);
    info.mark_killed();
    event_loop.run_requests(&turn, Stopwatch::ticks());
    let mailbox = services.clients.mailbox(0);
    mailbox.send(Message::Kill { place: 0, id: info.id, done: None });
    event_loop.step(0).expect("a poller");
    assert!(event_loop.connections.iter().all(Option::is_none));
    assert_eq!(services.statistics.counters().gauge(Gauge::BlockedClients), 0);
}

#[test]
fn a_client_that_unblock_was_told_of_does_not_end_its_waiting_by_itself() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let mut client = connect(&mut event_loop);
    client.write_all(b"WAIT 1 20\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    let info = Arc::clone(&event_loop.connections[0].as_deref().expect("a client").client.info);
    // As CLIENT UNBLOCK does it in another loop, whose message is under way when the time comes.
    assert!(info.unblockable.swap(false, Relaxed));
    until_time_has_gone(&mut event_loop, 60);
    assert_eq!(received(&mut client), b"", "it waits for the message");
    services.clients.mailbox(0).send(Message::Unblock { place: 0, id: info.id, error: true });
    event_loop.step(0).expect("a poller");
    assert_eq!(received(&mut client), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    client.write_all(b"WAIT 1 20\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    until_time_has_gone(&mut event_loop, 60);
    assert_eq!(received(&mut client), b":0\r\n");
}

#[test]
fn a_client_that_ends_itself_gets_the_reply_that_waits_for_other_loops() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let _client = connect(&mut event_loop);
    let connection = event_loop.connections[0].as_deref_mut().expect("a client");
    connection.client.closing = Closing::AfterReply;
    connection.client.withheld = Some(Box::default());
    // What was written before the reply has gone out.
    event_loop.flush(0);
    let connection = event_loop.connections[0].as_deref_mut().expect("it has to hear of it yet");
    connection.client.withheld = None;
    event_loop.flush(0);
    assert!(event_loop.connections[0].is_none());
}

/// The clock stands, so no periodic round comes.
#[test]
fn a_client_whose_input_takes_all_memory_of_clients_is_closed_while_it_sends() {
    let services = services(&Arc::default());
    let mut event_loop = event_loop(&services);
    let (mut small, mut large) = (connect(&mut event_loop), connect(&mut event_loop));
    small.write_all(b"CONFIG SET maxmemory-clients 1mb\r\n").expect("an open socket");
    event_loop.step(0).expect("a poller");
    large.write_all(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n").expect("an open socket");
    let (value, mut sent) = (vec![b'v'; 3_000_000], 0);
    while sent < value.len() && event_loop.connections.iter().flatten().count() > 1 {
        sent += large.write(&value[sent..]).unwrap_or(0);
        event_loop.step(0).expect("a poller");
    }
    assert!(sent < 2 << 20, "it was closed after {sent} bytes");
    assert_eq!(received(&mut small), b"+OK\r\n");
    assert_eq!(event_loop.connections.iter().flatten().count(), 1, "the small one stays");
}
