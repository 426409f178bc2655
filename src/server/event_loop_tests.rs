//! An event loop on its own, without the process around it: what it does when the operating system lets it down.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use rustix::event::{EventfdFlags, eventfd};

use super::{Door, EventLoop};
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
    let services = Services::new(
        Keyspace::new(1, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0),
        Settings::new(Config::default(), None),
        Clients::new(Box::new([Mailbox::new(Box::new(|| {}))])),
        Statistics::new(1, COMMANDS.count),
        Box::new(Ending(Arc::clone(&ending))),
        Identity { run_id: String::new(), started_ms: 0, loops: 1, executable: String::new() },
    );
    let door = Arc::new(Door::new().expect("a descriptor"));
    let made = EventLoop::new(&services, 0, door, Clock::System, Stopwatch::calibrated(), 1);
    let mut event_loop = made.expect("a poller");
    // What is not a poller cannot be waited for.
    event_loop.poller = eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
    event_loop.run();
    assert!(services.failed.load(Relaxed) && ending.load(Relaxed));
}
