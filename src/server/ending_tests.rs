//! The last save, held up by an event loop that does not come to its quiet point, as one in DEBUG SLEEP does not: what goes on meanwhile, and
//! how it ends. Two loops are stepped by hand; the control thread is this one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::{LocalSet, spawn_blocking, yield_now};

use super::super::control::{Controller, ServerControl};
use super::super::listen::Listeners;
use super::super::logging::Logging;
use super::super::supervision::Manager;
use super::{Ending, Signals};
use crate::base::clock::{Clock, Now};
use crate::client::Gates;
use crate::config::{Config, LogLevel};
use crate::persistence::{Persistence, Store};
use crate::services::{Services, Shutdown};
use crate::testing::in_process::{InProcess, START_MS, services_with};
use crate::testing::power_cut_disk::{Fault, NO_SPACE, Operation, PowerCutDisk};

const LOOPS: usize = 2;
/// What a client asks for while the server ends.
const END: Shutdown = Shutdown { save: Some(true), force: false, now: false, order: 1 };

fn ask(event_loop: &mut InProcess<'_>, place: usize, line: &str) -> String {
    event_loop.feed(place, format!("{line}\r\n").as_bytes());
    String::from_utf8(event_loop.take_output(place)).expect("text")
}

/// Lets the control thread and both loops work until something holds. A gate is raised before the loops hear that they have a point to pass, so who has seen
/// it has to let them look more than once.
async fn until_settled(loops: [&mut InProcess<'_>; 2], mut holds: impl FnMut() -> bool) {
    let [first, second] = loops;
    while !holds() {
        first.settle();
        second.settle();
        yield_now().await;
    }
}

/// Lets the control thread work until something holds.
async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        yield_now().await;
    }
}

/// Serves on a disk. `meanwhile` runs beside the control thread, with the services and both loops, and has to let the server end.
fn serve<F: Future<Output = ()>>(
    disk: &PowerCutDisk,
    meanwhile: impl FnOnce(Arc<Services>, InProcess<'static>, InProcess<'static>) -> F,
) -> Shutdown {
    let mut config = Config::default();
    (config.save, config.databases, config.loglevel) = (Vec::new(), 1, LogLevel::Nothing);
    config.appendonly = false;
    config.dir = String::from("/no/such/directory");
    let logging = Arc::new(Logging::start(&config).expect("a log"));
    let (control, orders) = ServerControl::new();
    let services = Arc::new(services_with(config, LOOPS, Box::new(control), Now::at_ms(START_MS)));
    let store = Store::on(Arc::new(disk.clone()), None, None).expect("a store");
    let mut persistence = Persistence::new(&services, store, Clock::manual(START_MS).0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let how = LocalSet::new().block_on(&runtime, async {
        let mut loaded = persistence.load(1).expect("a thread");
        (&mut loaded).await.expect("the thread answers").expect("it loads");
        let mut controller = Controller {
            services: Arc::clone(&services),
            listeners: Listeners::start([].into(), Vec::new()),
            logging,
        };
        let mut signals = Signals::new().expect("signals");
        let (lost, manager) = (unbounded_channel(), Manager::None);
        let ending = Ending { persistence: &persistence, orders, loaded, lost, manager: &manager };
        // The loops' state borrows the services, which stay until the test ends.
        let kept: &'static Services = Box::leak(Box::new(Arc::clone(&services)));
        let (awake, asleep) = (InProcess::on_loop(kept, 0), InProcess::on_loop(kept, 1));
        let meanwhile = meanwhile(Arc::clone(&services), awake, asleep);
        let (how, ()) = tokio::join!(ending.wait(&mut controller, &mut signals, false), meanwhile);
        how.expect("an orderly end")
    });
    persistence.end();
    how
}

#[test]
fn during_the_last_save_all_goes_on_but_writes() {
    let disk = PowerCutDisk::new();
    let how = serve(&disk, async |services, mut awake, mut asleep| {
        let (writer, other) = (awake.connect(), awake.connect());
        assert_eq!(ask(&mut awake, writer, "SET a 1"), "+OK\r\n");
        services.control.shut_down(END);
        until(|| services.gates().has(Gates::ENDING)).await;
        assert_eq!(ask(&mut awake, writer, "SET a 2"), "");
        // What CONFIG SET waits for is done by the control thread.
        let changes = Arc::clone(&services);
        let change = move || {
            let old = changes.settings.load();
            let mut new = (*old).clone();
            new.maxmemory = 1 << 30;
            changes.control.apply(&old, &new)
        };
        assert_eq!(spawn_blocking(change).await.expect("it ran"), Ok(()));
        for line in ["CLIENT PAUSE 1 WRITE", "CLIENT UNPAUSE"] {
            assert_eq!(ask(&mut awake, other, line), "+OK\r\n");
        }
        assert_eq!(ask(&mut awake, other, "GET a"), "$1\r\n1\r\n");
        assert_eq!(services.snapshots.ended(), 0, "nothing is saved while a loop may still write");
        until_settled([&mut awake, &mut asleep], || services.snapshots.ended() > 0).await;
        assert_eq!(ask(&mut awake, other, "GET a"), "$1\r\n1\r\n");
        assert_eq!(awake.take_output(writer), b"");
    });
    assert_eq!(how, END);
}

#[test]
fn an_end_that_would_lose_something_is_called_off_and_writes_go_on() {
    let disk = PowerCutDisk::new();
    let how = serve(&disk, async |services, mut awake, mut asleep| {
        let (writer, muted) = (awake.connect(), awake.connect());
        assert_eq!(ask(&mut awake, writer, "SET a 1"), "+OK\r\n");
        let (operation, errno) = (Some(Operation::Create), NO_SPACE);
        disk.fail(Fault { operation, after: 0, errno, short: false, lasting: true });
        services.control.shut_down(END);
        until(|| services.gates().has(Gates::ENDING)).await;
        assert_eq!(ask(&mut awake, writer, "SET a 2"), "");
        assert_eq!(ask(&mut awake, muted, "CLIENT REPLY SKIP\r\nSET b 1\r\nGET b"), "");
        until_settled([&mut awake, &mut asleep], || !services.gates().has(Gates::ENDING)).await;
        until(|| services.shutdowns_failed.load(Ordering::Acquire) >= END.order).await;
        awake.settle();
        assert_eq!(awake.take_output(writer), b"+OK\r\n");
        assert_eq!(awake.take_output(muted), b"$1\r\n1\r\n", "SKIP is for the request behind it alone");
        disk.heal();
        let ended = services.snapshots.ended();
        services.control.shut_down(Shutdown { order: 2, ..END });
        until_settled([&mut awake, &mut asleep], || services.snapshots.ended() > ended).await;
    });
    assert_eq!(how.order, 2);
}
