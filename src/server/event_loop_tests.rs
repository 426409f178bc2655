//! An event loop on its own, without the process around it: what it does when the operating system lets it down.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{EventfdFlags, eventfd};

use super::{Accepted, Door, EventLoop};
use crate::base::clock::{Clock, Stopwatch};
use crate::client::{Clients, Mailbox, MigrationOrder, ReloadOrder};
use crate::command::COMMANDS;
use crate::config::Config;
use crate::keyspace::{KeyHasher, Keyspace, Reclaimer};
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
    let door = Arc::new(Door::new().expect("a descriptor"));
    let made = EventLoop::new(&services, 0, door, Clock::System, Stopwatch::calibrated(), 1);
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
    let door = Arc::new(Door::new().expect("a descriptor"));
    EventLoop::new(services, 0, door, Clock::System, Stopwatch::calibrated(), 1).expect("a poller")
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
