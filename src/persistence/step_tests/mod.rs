//! Lives of a server in one thread: loading, the log's writer and saves are stepped by hand, at times that the test chooses.
//!
//! Nothing here waits, and nothing happens unless a test steps it. So what lies between two steps of a save or of the writer can be looked at, and
//! a disk that is full, fails or loses power meets each of them.

mod faults;
mod flushes;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use super::end::EndTask;
use super::flush::Order;
use super::log_writer::LogTask;
use super::save::{SaveTask, Saver};
use super::start::Loader;
use super::store::Store;
use super::threads::{log_exact_deadlines, look};
use crate::base::clock::{Clock, Now};
use crate::base::step::Next;
use crate::config::{AppendFsync, Config, SavePoint};
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::{Disk, check};
use crate::testing::in_process::{InProcess, START_MS, services};
use crate::testing::power_cut_disk::{DEVICE_ERROR, Fault, NO_SPACE, Operation, PowerCutDisk};
use crate::write_log::scan;

/// More than any work here takes.
const STEPS_MAX: u32 = 10_000;
/// Enough for some blocks.
const PREPARED_BYTES: u64 = 16 * 1024;

/// A server whose parts are stepped.
struct World {
    services: Arc<Services>,
    store: Arc<Store>,
    saver: Saver,
    log: LogTask,
    now: Now,
}

impl World {
    /// Starts on a disk at a time in Unix milliseconds, and loads.
    fn begin(disk: &PowerCutDisk, now_ms: i64, change: impl FnOnce(&mut Config)) -> World {
        let mut config = Config::default();
        config.appendonly = true;
        config.save = Vec::new();
        config.databases = 2;
        config.dir = String::from("/no/such/directory");
        change(&mut config);
        let services = Arc::new(services(config));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = Arc::new(Store::on(shared, None, None).expect("a store"));
        services.snapshots.progress.begin(Now::at_ms(now_ms));
        let (clock, _) = Clock::manual(now_ms);
        let saver = Saver::new(Arc::clone(&services), Arc::clone(&store), clock);
        let log = LogTask::new(Arc::clone(&services), Arc::clone(&store)).preparing(PREPARED_BYTES);
        let now = Now::at_ms(now_ms);
        let mut world = World { services, store, saver, log, now };
        let (services, store) = (Arc::clone(&world.services), Arc::clone(&world.store));
        let saver = Saver::new(Arc::clone(&services), Arc::clone(&store), Clock::manual(now_ms).0);
        let mut loader = Loader::new(&services, &store, &saver, 1);
        while loader.step(now).expect("it loads") != Next::End {
            world.log.step(now);
        }
        world.settle();
        world
    }

    /// Time passes; nothing is stepped.
    fn pass(&mut self, milliseconds: i64) {
        self.now.wall_us += milliseconds * 1000;
        self.now.steady_us += milliseconds * 1000;
    }

    /// Steps the log's writer until it waits, and gives what for.
    fn settle(&mut self) -> Next {
        for _ in 0..STEPS_MAX {
            match self.log.step(self.now) {
                Next::Now => {}
                next => return next,
            }
        }
        panic!("the log's writer finds no end");
    }

    /// Orders the server's end, and steps everything until that is decided.
    fn order_end(&mut self, save: Option<bool>) -> Result<(), String> {
        let (clock, _) = Clock::manual(self.now.wall_ms());
        let saver = Saver::new(Arc::clone(&self.services), Arc::clone(&self.store), clock);
        let mut task = EndTask::new(Arc::clone(&self.services), Arc::new(saver), save);
        let services = Arc::clone(&self.services);
        let mut clients = InProcess::new(&services);
        for _ in 0..STEPS_MAX {
            if task.step(self.now) == Next::End {
                return task.result().expect("it is decided");
            }
            clients.settle();
            self.settle();
            self.pass(1);
        }
        panic!("the end finds no end");
    }

    /// From now on the log's writer orders flushes, and goes on; they are done when the test does them.
    fn order_flushes(&mut self) -> Receiver<Order> {
        let (flusher, orders) = channel();
        self.log.flusher = Some(flusher);
        orders
    }

    /// What was appended is written and flushed, if the disk takes it.
    fn come_to_rest(&mut self) {
        for milliseconds in [0, 10, 2000] {
            self.pass(milliseconds);
            self.settle();
        }
    }

    /// Requests of a client of database 0, as lines; gives the replies.
    fn ask(&self, lines: &str) -> String {
        let mut client = InProcess::new(&self.services);
        let place = client.connect();
        client.feed(place, format!("{lines}\n").replace('\n', "\r\n").as_bytes());
        String::from_utf8(client.take_output(place)).expect("text")
    }

    /// `appendonly` as CONFIG SET changes it; turning it on asks for a base.
    fn turn_log(&mut self, on: bool) {
        let mut config = (*self.services.settings.load()).clone();
        config.appendonly = on;
        self.services.settings.store(config);
        if !on {
            self.services.keyspace.while_locked(|| self.services.write_log.turn_off());
        }
    }

    /// A save from its beginning to its end.
    fn save(&mut self, kind: SaveKind) -> bool {
        let mut task = self.begin_save(kind);
        self.finish(&mut task)
    }

    /// Whether all that was written so far would be there after a crash now.
    fn is_durable(&self) -> bool {
        self.services.write_log.is_durable(self.services.write_log.appended())
    }

    fn begin_save(&mut self, kind: SaveKind) -> SaveTask {
        assert!(self.services.reserve_save(kind, self.now.steady_ms()), "no other save runs");
        self.saver.begin(kind)
    }

    /// Steps a save and the log's writer in turns to the save's end; whether it has saved.
    fn finish(&mut self, task: &mut SaveTask) -> bool {
        for _ in 0..STEPS_MAX {
            let next = task.step(self.now);
            if next == Next::End {
                return task.is_saved();
            }
            let waits = self.settle();
            assert!(next == Next::Now || waits != Next::End, "the save waits for a log that has ended");
        }
        panic!("the save finds no end");
    }

    /// An orderly end.
    fn end(mut self) {
        log_exact_deadlines(&self.services);
        self.services.write_log.end();
        assert_eq!(self.settle(), Next::End);
    }
}

#[test]
fn a_life_goes_in_steps_of_one_thread() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, |config| config.appendfsync = AppendFsync::Everysec);
    assert_eq!(world.ask("SET before save\nSET counter 1"), "+OK\r\n+OK\r\n");
    // Records gather for 5 ms; they are flushed at once, because the last flush was long ago.
    let appended = world.services.write_log.appended();
    assert_eq!(world.settle(), Next::At(START_MS + 5));
    assert!(world.services.write_log.written() < appended);
    world.pass(5);
    assert_eq!(world.settle(), Next::Signal);
    assert_eq!(world.services.write_log.durable(), appended);
    let mut task = world.begin_save(SaveKind::Save);
    // The file, and the cut; what comes behind that is not in the snapshot.
    assert_eq!([task.step(world.now), task.step(world.now)], [Next::Now; 2]);
    assert!(task.is_visiting());
    assert_eq!(world.ask("INCR counter"), ":2\r\n");
    // Two visitors take shards in turn.
    let mut other = task.visitor().expect("there are shards left");
    while other.step() != Next::End {
        assert_eq!(task.step(world.now), Next::Now);
    }
    assert!(world.finish(&mut task));
    assert_eq!(world.store.manifest().logs.len(), 1);
    // What comes within a second of the last flush waits for the next one.
    assert_eq!(world.ask("SET late 1"), "+OK\r\n");
    world.settle();
    world.pass(5);
    assert_eq!(world.settle(), Next::At(START_MS + 1005));
    assert!(world.services.write_log.durable() < world.services.write_log.appended());
    world.pass(1000);
    assert_eq!(world.settle(), Next::Signal);
    assert_eq!(world.services.write_log.durable(), world.services.write_log.appended());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, |_| {});
    assert_eq!(world.ask("GET before\nGET counter\nGET late"), "$4\r\nsave\r\n$1\r\n2\r\n$1\r\n1\r\n");
    world.end();
}

/// What is due is due when its time has passed, whatever the wall clock shows meanwhile.
#[test]
fn save_points_and_retries_keep_their_time_while_the_wall_clock_is_set() {
    const HOUR_US: i64 = 3_600_000_000;
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, |config| {
        config.appendonly = false;
        config.save = vec![SavePoint { seconds: 60, changes: 1 }];
    });
    assert!(world.save(SaveKind::Save));
    assert_eq!(world.ask("SET a 1"), "+OK\r\n");
    let due_in = |world: &mut World, milliseconds: i64| {
        for step_us in [-HOUR_US, 3 * HOUR_US, -3 * HOUR_US] {
            world.now.wall_us += step_us;
            assert_eq!(look(&world.services, world.now.steady_ms()), None, "it is too early");
        }
        world.pass(milliseconds);
        assert_eq!(look(&world.services, world.now.steady_ms()), None, "a moment too early");
        world.pass(1);
        assert_eq!(look(&world.services, world.now.steady_ms()), Some(SaveKind::Save));
        world.saver.begin(SaveKind::Save)
    };
    let mut task = due_in(&mut world, 60_000);
    disk.fail(fault(Operation::Create, 0, NO_SPACE, true));
    assert!(!world.finish(&mut task));
    // After each failure the wait is twice as long.
    for wait_ms in [5000, 10_000] {
        let mut task = due_in(&mut world, wait_ms);
        assert!(!world.finish(&mut task));
    }
    disk.heal();
    let mut task = due_in(&mut world, 20_000);
    assert!(world.finish(&mut task));
    let state = world.services.snapshots.state.lock();
    assert_eq!(state.last_save_ms, world.now.wall_ms(), "LASTSAVE is a date");
    drop(state);
    assert_eq!(world.ask("SET a 2"), "+OK\r\n");
    let mut task = due_in(&mut world, 60_000);
    assert!(world.finish(&mut task));
}

/// `appendfsync no` leaves flushing to the system; from the change on it is the server's again, although no more writes come.
#[test]
fn a_stricter_policy_flushes_what_was_written_before_it() {
    for policy in [AppendFsync::Everysec, AppendFsync::Always] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.appendfsync = AppendFsync::No);
        assert_eq!(world.ask("SET key value"), "+OK\r\n");
        world.pass(5000);
        world.settle();
        world.pass(5000);
        assert_eq!(world.settle(), Next::Signal);
        let log = &world.services.write_log;
        assert!(log.written() == log.appended() && log.durable() < log.appended());
        log.configure(policy, u64::MAX);
        world.settle();
        let log = &world.services.write_log;
        assert_eq!(log.durable(), log.appended(), "{policy:?}");
    }
}

const ALWAYS: fn(&mut Config) = |config| config.appendfsync = AppendFsync::Always;

/// The next operation of a kind fails, once or from then on.
fn fault(operation: Operation, after: u64, errno: i32, lasting: bool) -> Fault {
    Fault { operation: Some(operation), after, errno, short: false, lasting }
}

/// The files of a directory but for the manifest, the old one and the new one.
fn files(disk: &PowerCutDisk) -> Vec<String> {
    let mut names = disk.list().expect("lists");
    names.retain(|name| !name.ends_with("manifest"));
    names
}
