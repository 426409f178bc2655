//! Lives of a server in one thread: loading, the log's writer and saves are stepped by hand, at times that the test chooses.
//!
//! Nothing here waits, and nothing happens unless a test steps it. So what lies between two steps of a save or of the writer can be looked at, and
//! a disk that is full, fails or loses power meets each of them.

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

/// While the log was off nothing was recorded. An increment that begins after that means nothing without the snapshot that it continues.
#[test]
fn a_log_that_is_turned_on_again_counts_only_once_its_base_is_there() {
    for (is_saved, counter) in [(false, "$1\r\n1\r\n"), (true, "$3\r\n101\r\n")] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("SET n 1\nSET other 1"), "+OK\r\n+OK\r\n");
        world.settle();
        assert!(world.is_durable());
        world.turn_log(false);
        assert_eq!(world.ask("SET n 100\nSET source 1"), "+OK\r\n+OK\r\n");
        world.turn_log(true);
        let mut task = world.begin_save(SaveKind::Rewrite);
        while !task.is_visiting() {
            task.step(world.now);
        }
        assert_eq!(world.ask("INCR n\nRENAME source target"), ":101\r\n+OK\r\n");
        world.settle();
        assert!(!world.is_durable() && !world.services.write_log.is_synchronous());
        if is_saved {
            assert!(world.finish(&mut task));
            assert!(world.is_durable() && world.services.write_log.is_synchronous());
        }
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("GET n"), counter);
        assert_eq!(world.ask("EXISTS target"), if is_saved { ":1\r\n" } else { ":0\r\n" });
        world.end();
    }
}

/// Then the log is off again until a save succeeds; what is on the disk stays as it was.
#[test]
fn a_log_whose_base_cannot_be_saved_is_no_log() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("SET n 1"), "+OK\r\n");
    world.settle();
    world.turn_log(false);
    world.ask("SET n 2");
    world.turn_log(true);
    let before = world.store.manifest();
    disk.fail(fault(Operation::Rename, 0, NO_SPACE, true));
    assert!(!world.save(SaveKind::Rewrite));
    assert!(!world.services.write_log.is_on());
    let refused = world.ask("SET n 3");
    assert!(refused.starts_with("-MISCONF Errors writing to the AOF file: the snapshot that"), "{refused}");
    assert_eq!(world.store.manifest().logs, before.logs);
    assert_eq!(files(&disk), before.file_names().collect::<Vec<_>>());
    disk.heal();
    assert!(world.save(SaveKind::Rewrite));
    world.ask("INCR n");
    world.settle();
    assert!(world.is_durable());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("GET n"), "$1\r\n3\r\n");
    world.end();
}

/// The log has filled the disk; its next increment cannot begin. A snapshot that found room has all that was there at its cut.
#[test]
fn a_snapshot_that_is_finished_on_a_full_disk_takes_the_place_of_the_log() {
    for kind in [Operation::Create, Operation::Rename, Operation::Write] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("SET first 1"), "+OK\r\n");
        world.settle();
        assert_eq!(world.ask("SET second 1"), "+OK\r\n");
        let mut task = world.begin_save(SaveKind::Save);
        while !task.is_visiting() {
            task.step(world.now);
        }
        disk.fail(fault(kind, 0, NO_SPACE, true));
        world.settle();
        assert!(world.services.write_log.is_troubled(), "{kind:?}");
        assert!(world.ask("SET third 1").starts_with("-MISCONF"), "{kind:?}");
        // There is room for the rest of the snapshot and a manifest, but nobody has asked the log to try again.
        disk.heal();
        while task.step(world.now) != Next::End {}
        assert!(task.is_saved(), "{kind:?}");
        assert_eq!(world.store.manifest().logs, []);
        world.settle();
        assert!(world.is_durable() && !world.services.write_log.is_stuck(), "{kind:?}");
        assert_eq!(world.ask("SET third 1"), "+OK\r\n");
        world.settle();
        assert!(world.is_durable(), "{kind:?}");
        let named: Vec<_> = world.store.manifest().file_names().collect();
        assert_eq!(named.len(), 2);
        assert_eq!(files(&disk).len(), 2, "{kind:?}: {:?}", files(&disk));
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("EXISTS first second third"), ":3\r\n", "{kind:?}");
        world.end();
    }
}

#[test]
fn saves_that_fail_leave_nothing_behind() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        world.ask("SET key value");
        world.settle();
        let before = (world.store.manifest().logs.len(), files(&disk).len());
        for _ in 0..20 {
            let mut task = world.begin_save(SaveKind::Save);
            // Only the save's own operations fail, not those of the log.
            let next = |task: &mut SaveTask, now| {
                disk.fail(fault(operation, 0, NO_SPACE, true));
                let next = task.step(now);
                disk.heal();
                next
            };
            while next(&mut task, world.now) != Next::End {
                world.settle();
            }
            assert!(!task.is_saved(), "{operation:?}");
        }
        // The cut needs an increment of its own once, which has no records.
        let after = (world.store.manifest().logs.len(), files(&disk).len());
        assert!(after.0 <= before.0 + 1 && after.1 <= before.1 + 1, "{operation:?}: {before:?} {after:?}");
        assert!(world.save(SaveKind::Save));
        assert_eq!(files(&disk).len(), 2);
        world.end();
    }
}

#[test]
fn a_flush_that_fails_is_made_good_by_the_next_snapshot() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    world.ask("SET first 1");
    world.settle();
    assert_eq!(world.ask("SET second 1"), "+OK\r\n");
    disk.fail(fault(Operation::Sync, 0, DEVICE_ERROR, false));
    world.settle();
    let log = Arc::clone(&world.services);
    let log = &log.write_log;
    assert!(log.has_failed() && log.needs_cut() && !world.is_durable());
    assert!(world.ask("SET third 1").starts_with("-MISCONF"));
    // The second flush of that file would say that all is well.
    log.request_sync();
    world.settle();
    assert!(log.has_failed());
    assert!(world.save(SaveKind::Save));
    assert!(!log.has_failed() && log.failure().is_none());
    assert_eq!(world.ask("SET third 1"), "+OK\r\n");
    world.settle();
    assert!(world.is_durable() && log.is_synchronous());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("EXISTS first second third"), ":3\r\n");
    world.end();
}

/// A server with `everysec` that has written one key and ordered the flush of it.
fn flushing(disk: &PowerCutDisk) -> (World, Receiver<Order>, Order) {
    let mut world = World::begin(disk, START_MS, |config| config.appendfsync = AppendFsync::Everysec);
    let orders = world.order_flushes();
    assert_eq!(world.ask("SET first 1"), "+OK\r\n");
    world.come_to_rest();
    let order = orders.try_recv().expect("a flush is ordered");
    (world, orders, order)
}

#[test]
fn what_comes_while_a_flush_lasts_outlives_the_process() {
    let disk = PowerCutDisk::new();
    let (mut world, orders, order) = flushing(&disk);
    let ordered = world.services.write_log.appended();
    for _ in 0..5 {
        world.ask("INCR second");
        world.come_to_rest();
        let log = &world.services.write_log;
        assert!(log.written() == log.appended() && log.durable() < ordered);
    }
    assert!(orders.try_recv().is_err(), "one at a time");
    // Killed, and not only the log's thread.
    drop((world, orders, order));
    let world = World::begin(&disk, START_MS, |_| {});
    assert_eq!(world.ask("GET first\nGET second"), "$1\r\n1\r\n$1\r\n5\r\n");
    world.end();
}

#[test]
fn a_flush_makes_durable_what_was_written_before_it_began() {
    let disk = PowerCutDisk::new();
    let (mut world, orders, order) = flushing(&disk);
    let services = Arc::clone(&world.services);
    let log = &services.write_log;
    let ordered = log.appended();
    world.ask("SET second 1");
    // Who asks for a flush now waits for another one.
    log.request_sync();
    world.come_to_rest();
    order.carry_out();
    world.settle();
    assert_eq!((log.durable(), log.delayed_flushes()), (ordered, 1));
    orders.try_recv().expect("the next one").carry_out();
    world.settle();
    assert!(world.is_durable() && log.delayed_flushes() == 1);
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, |_| {});
    assert_eq!(world.ask("EXISTS first second"), ":2\r\n");
    world.end();
}

#[test]
fn a_flush_that_fails_beside_the_writer_is_a_failure_of_all_that_was_not_durable() {
    let disk = PowerCutDisk::new();
    let (mut world, orders, order) = flushing(&disk);
    world.ask("SET second 1");
    world.come_to_rest();
    disk.fail(fault(Operation::Sync, 0, DEVICE_ERROR, false));
    order.carry_out();
    world.come_to_rest();
    let services = Arc::clone(&world.services);
    let log = &services.write_log;
    assert!(log.has_failed() && orders.try_recv().is_err(), "it is not tried again");
    assert!(world.ask("SET third 1").starts_with("-MISCONF"));
    assert!(world.save(SaveKind::Rewrite));
    assert_eq!(world.ask("SET third 1"), "+OK\r\n");
    world.come_to_rest();
    orders.try_recv().expect("a flush of the new file").carry_out();
    world.settle();
    assert!(world.is_durable());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, |_| {});
    assert_eq!(world.ask("EXISTS first second third"), ":3\r\n");
    world.end();
}

/// A file is closed, and a log ends, only when its last flush has said how it went.
#[test]
fn a_new_increment_and_the_end_wait_for_the_flush() {
    let disk = PowerCutDisk::new();
    let (mut world, orders, order) = flushing(&disk);
    let services = Arc::clone(&world.services);
    let increment = services.write_log.begin_increment();
    world.ask("SET second 1");
    assert_eq!(world.settle(), Next::Signal);
    assert!(world.store.log_of(increment).is_none());
    order.carry_out();
    world.come_to_rest();
    assert!(world.store.log_of(increment).is_some());
    let order = orders.try_recv().expect("a flush of the new file");
    services.write_log.end();
    assert_eq!(world.settle(), Next::Signal);
    order.carry_out();
    assert_eq!(world.settle(), Next::End);
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, |_| {});
    assert_eq!(world.ask("EXISTS first second"), ":2\r\n");
    world.end();
}

/// What is on the disk is not lost by an end.
#[test]
fn a_server_on_a_full_disk_ends_if_nothing_of_its_own_is_unwritten() {
    for save_points in [Vec::new(), vec![SavePoint { seconds: 60, changes: 1 }]] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.save = save_points.clone());
        assert_eq!(world.ask("SET key value"), "+OK\r\n");
        world.come_to_rest();
        disk.fail(fault(Operation::Create, 0, NO_SPACE, true));
        world.services.write_log.begin_increment();
        world.come_to_rest();
        assert!(world.services.write_log.is_troubled());
        let asked = world.order_end(Some(true));
        assert!(asked.as_ref().is_err_and(|lost| lost.contains("nothing but the snapshot")), "{asked:?}");
        for save in [None, Some(false)] {
            assert_eq!(world.order_end(save), Ok(()), "{save_points:?}");
        }
        let services = Arc::clone(&world.services);
        world.end();
        assert_eq!(services.write_log.failures(), 0, "nothing is lost");
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, |_| {});
        assert_eq!(world.ask("EXISTS key"), ":1\r\n");
        world.end();
    }
}

#[test]
fn an_end_that_would_lose_what_was_acknowledged_needs_to_be_told_so() {
    for save_points in [Vec::new(), vec![SavePoint { seconds: 60, changes: 1 }]] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.save = save_points.clone());
        disk.fail(fault(Operation::Write, 0, NO_SPACE, true));
        assert_eq!(world.ask("SET key value"), "+OK\r\n");
        world.come_to_rest();
        for save in [None, Some(true)] {
            let refused = world.order_end(save);
            assert!(
                refused.as_ref().is_err_and(|lost| lost.contains("bytes of the write log")),
                "{refused:?}"
            );
        }
        assert_eq!(world.order_end(Some(false)), Ok(()));
    }
}

/// The snapshot has nothing of what came behind its cut, and the log, which had it, is lost.
#[test]
fn a_save_that_was_cut_before_a_flush_failed_does_not_overcome_the_failure() {
    for (policy, kind) in [
        (AppendFsync::Always, SaveKind::Save),
        (AppendFsync::Everysec, SaveKind::Save),
        (AppendFsync::Always, SaveKind::Rewrite),
    ] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.appendfsync = policy);
        assert_eq!(world.ask("SET first 1"), "+OK\r\n");
        world.come_to_rest();
        let mut task = world.begin_save(kind);
        while !task.is_visiting() {
            task.step(world.now);
        }
        // The increment behind the cut has its file.
        world.settle();
        assert_eq!(world.ask("SET second 1"), "+OK\r\n");
        disk.fail(fault(Operation::Sync, 0, DEVICE_ERROR, false));
        world.come_to_rest();
        assert!(world.services.write_log.has_failed());
        assert!(world.finish(&mut task));
        assert!(world.ask("SET third 1").starts_with("-MISCONF"), "{policy:?}");
        // Nor does a save that fails, whatever it fails at, and however long the next one waits.
        for operation in [Operation::Create, Operation::Write, Operation::Rename] {
            disk.fail(fault(operation, 0, NO_SPACE, true));
            world.pass(400_000);
            assert_eq!(look(&world.services, world.now.steady_ms()), Some(SaveKind::Rewrite));
            let mut task = world.saver.begin(SaveKind::Rewrite);
            assert!(!world.finish(&mut task));
            assert!(world.ask("SET third 1").starts_with("-MISCONF"), "{policy:?}, {operation:?}");
            disk.heal();
        }
        assert!(world.save(SaveKind::Rewrite));
        assert_eq!(world.ask("SET third 1"), "+OK\r\n");
        world.come_to_rest();
        assert!(world.is_durable());
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, |_| {});
        assert_eq!(world.ask("EXISTS first second third"), ":3\r\n", "{policy:?}");
        world.end();
    }
}

/// Between the failure and the gate that refuses writes some may still run.
#[test]
fn what_a_failed_log_cannot_record_is_acknowledged_only_once_a_snapshot_has_it() {
    for policy in [AppendFsync::Always, AppendFsync::Everysec, AppendFsync::No] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.appendfsync = policy);
        let services = Arc::clone(&world.services);
        let mut clients = InProcess::new(&services);
        let [before, behind, transaction] = [clients.connect(), clients.connect(), clients.connect()];
        clients.feed(before, b"SET before 1\r\n");
        // One that is acknowledged at once stays so.
        assert_eq!(clients.is_held(before), policy == AppendFsync::Always);
        services.write_log.note_failure(String::from("the disk is gone"));
        clients.feed(before, b"GET before\r\n");
        assert_eq!(clients.is_held(before), policy == AppendFsync::Always);
        clients.feed(behind, b"SET behind 1\r\n");
        clients.feed(transaction, b"MULTI\r\nSET within 1\r\nEXEC\r\n");
        assert!(clients.is_held(behind) && clients.is_held(transaction), "{policy:?}");
        // What the log's thread does with what comes changes nothing about that.
        world.come_to_rest();
        services.write_log.request_sync();
        world.settle();
        assert!(clients.is_held(behind) && clients.is_held(transaction), "{policy:?}");
        assert_eq!(services.write_log.backlog_bytes(), 0);
        assert!(world.save(SaveKind::Rewrite));
        assert!(![before, behind, transaction].into_iter().any(|place| clients.is_held(place)));
        assert!(world.is_durable());
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, |_| {});
        assert_eq!(world.ask("EXISTS before behind within"), ":3\r\n", "{policy:?}");
        world.end();
    }
}

#[test]
fn an_increment_that_cannot_be_named_is_made_once() {
    for (operation, after) in [(Operation::Rename, 0), (Operation::SyncDirectory, 1), (Operation::Write, 1)] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        world.ask("SET key value");
        world.settle();
        let before = files(&disk).len();
        world.services.write_log.begin_increment();
        disk.fail(fault(operation, after, NO_SPACE, true));
        for _ in 0..20 {
            world.pass(1000);
            world.settle();
        }
        assert!(world.services.write_log.is_troubled(), "{operation:?}");
        assert!(files(&disk).len() <= before + 1, "{operation:?}: {:?}", files(&disk));
        disk.heal();
        world.pass(1000);
        world.settle();
        assert!(!world.services.write_log.is_troubled(), "{operation:?}");
        assert_eq!(files(&disk).len(), world.store.manifest().file_names().count(), "{operation:?}");
        world.end();
    }
}

/// Where the directory cannot be synced, the manifest that names the snapshot may be the one that a power cut leaves.
#[test]
fn a_snapshot_that_is_not_adopted_goes_as_soon_as_no_manifest_can_name_it() {
    for (operation, lasting, stays) in [
        (Operation::Rename, true, 0),
        (Operation::SyncDirectory, false, 0),
        (Operation::SyncDirectory, true, 1),
    ] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        world.ask("SET key value");
        world.settle();
        let mut task = world.begin_save(SaveKind::Save);
        while !task.is_visiting() {
            task.step(world.now);
        }
        world.settle();
        let before = files(&disk).len();
        // The first one gives the snapshot its name; the second one is the manifest's.
        disk.fail(fault(operation, 1, NO_SPACE, lasting));
        assert!(!world.finish(&mut task), "{operation:?}");
        disk.heal();
        // The temporary file that the save began with is gone, too.
        assert_eq!(files(&disk).len(), before - 1 + stays, "{operation:?}");
        world.ask("SET key later");
        world.settle();
        assert!(world.save(SaveKind::Save));
        assert_eq!(files(&disk).len(), 2);
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("GET key"), "$5\r\nlater\r\n");
        world.end();
    }
}

/// A transaction that is too large for one block, and what comes behind it.
#[test]
fn of_a_transaction_in_several_blocks_a_crash_leaves_all_or_nothing() {
    const COUNTERS: u64 = 12;
    let mut outcomes = std::collections::BTreeSet::new();
    for blocks in 0..=COUNTERS + 4 {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        world.log.block_max = 50;
        assert_eq!(world.ask("SET before 1"), "+OK\r\n");
        world.settle();
        let sets = (0..COUNTERS).map(|number| format!("INCR counter:{number}\n")).collect::<String>();
        world.ask(&format!("MULTI\n{sets}EXEC"));
        // The writer takes what there is, and writes some of its blocks.
        for _ in 0..=blocks {
            world.log.step(world.now);
        }
        let is_durable = world.is_durable();
        disk.power_cut(blocks);
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        let keys = world.ask("DBSIZE");
        assert!(
            keys == ":1\r\n" && !is_durable || keys == format!(":{}\r\n", COUNTERS + 1),
            "{blocks}: {keys}"
        );
        outcomes.insert(keys.clone());
        // The next increment follows what counts, and so it does at the next start.
        assert_eq!(world.ask("SET after 1"), "+OK\r\n");
        world.settle();
        disk.power_cut(blocks);
        let report = check(&disk, None, &|block, inside| {
            scan(block, inside).map(|scanned| (scanned.records, scanned.inside))
        });
        assert!(report.expect("it can be read").is_sound(), "{blocks}");
        let world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("EXISTS before after"), ":2\r\n");
        assert_eq!(
            world.ask("EXISTS counter:0 counter:11"),
            if keys == ":1\r\n" { ":0\r\n" } else { ":2\r\n" }
        );
        world.end();
    }
    assert_eq!(outcomes.len(), 2, "some crashes come before the end of the transaction, some after it");
}

/// The value of a key that takes the log a page to tell of.
const PAGEFUL: usize = 4000;

/// A log has filled the disk. The manifest that puts a snapshot in its place needs no page more than what it replaces.
#[test]
fn a_disk_that_is_full_to_the_last_page_heals_with_a_snapshot_that_just_fits() {
    let mut fits = None;
    for free in 0..8 {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, |config| config.appendfsync = AppendFsync::Everysec);
        let value = "v".repeat(PAGEFUL);
        for _ in 0..20 {
            assert_eq!(world.ask(&format!("SET key {value}")), "+OK\r\n");
            world.settle();
            world.pass(5);
            world.settle();
        }
        disk.limit_pages(disk.pages() + free);
        // What the log has to write is more than there is room for, and nothing of it is in the snapshot.
        let appends = format!("APPEND big {value}\n").repeat(20);
        assert!(world.ask(&format!("{appends}DEL big")).ends_with("\r\n:1\r\n"));
        world.settle();
        world.pass(2000);
        world.settle();
        assert!(world.services.write_log.is_troubled(), "{free}");
        if !world.save(SaveKind::Save) {
            assert!(fits.is_none(), "{free}");
            continue;
        }
        let snapshot = world.store.manifest().snapshot.expect("it is the base");
        assert_eq!(*fits.get_or_insert(free), snapshot.bytes.div_ceil(4096) as usize);
        // There is room again for all that the log had taken.
        assert_eq!(world.ask("SET after 1"), "+OK\r\n");
        world.settle();
        world.pass(2000);
        world.settle();
        assert!(world.is_durable(), "{free}");
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, |_| {});
        assert_eq!(world.ask("EXISTS key after big"), ":2\r\n", "{free}");
        world.end();
    }
    assert!(fits.is_some());
}

/// Files that the manifest does not name, when no save runs.
fn unnamed(world: &World, disk: &PowerCutDisk) -> Vec<String> {
    let manifest = world.store.manifest();
    files(disk).into_iter().filter(|name| !manifest.names(name)).collect()
}

/// A snapshot and the log that waits for it are on a manifest whose directory cannot be synced: neither may go before another manifest is
/// there. So there must never be those of a second attempt.
#[test]
fn whichever_step_of_a_save_fails_again_and_again_files_do_not_pile_up() {
    for (operation, lasting, was_on) in Operation::CHANGING
        .into_iter()
        .flat_map(|operation| [(operation, false, false), (operation, false, true), (operation, true, true)])
        .chain([(Operation::SyncDirectory, true, false), (Operation::Rename, true, false)])
    {
        for after in 0..10 {
            let what = format!("{operation:?} number {after}, lasting {lasting}, log on {was_on}");
            let disk = PowerCutDisk::new();
            let mut world = World::begin(&disk, START_MS, ALWAYS);
            assert_eq!(world.ask("SET n 1"), "+OK\r\n", "{what}");
            world.settle();
            for _ in 0..5 {
                if !was_on {
                    world.turn_log(false);
                }
                world.ask("INCR n");
                world.turn_log(true);
                disk.fail(fault(operation, after, DEVICE_ERROR, lasting));
                world.save(SaveKind::Rewrite);
                world.settle();
                let left = unnamed(&world, &disk);
                // A snapshot, a log that waited for it, and one that is made and waits for its manifest.
                assert!(operation == Operation::Remove || left.len() <= 3, "{what}: {left:?}");
                disk.heal();
                world.pass(1000);
                world.settle();
            }
            assert!(world.save(SaveKind::Rewrite), "{what}");
            assert_eq!(unnamed(&world, &disk), [""; 0], "{what}");
            let before = world.ask("GET n");
            world.settle();
            disk.power_cut(after);
            let world = World::begin(&disk, START_MS, ALWAYS);
            assert_eq!(world.ask("GET n"), before, "{what}");
            world.end();
        }
    }
}

/// After a flush that has failed the system's memory has what the disk has not, and the next flush says that all is well. A start reads the former.
#[test]
fn what_a_start_has_read_is_on_the_disk_before_another_log_follows() {
    for seed in 0..20 {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("SET first 1"), "+OK\r\n");
        world.settle();
        assert_eq!(world.ask("SET second 1\nSET third 1"), "+OK\r\n+OK\r\n");
        disk.fail(fault(Operation::Sync, 0, DEVICE_ERROR, false));
        world.settle();
        assert!(world.services.write_log.has_failed());
        // The process is killed; the machine goes on.
        drop(world);
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("EXISTS first second third"), ":3\r\n");
        assert_eq!(world.ask("SET fourth 1"), "+OK\r\n");
        world.settle();
        assert!(world.is_durable());
        disk.power_cut(seed);
        let world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(world.ask("EXISTS first second third fourth"), ":4\r\n", "{seed}");
        world.end();
    }
}

/// What a save has visited is of its epoch, and with that it is forgotten how roughly the log knows its deadline.
#[test]
fn after_a_save_that_has_failed_or_not_finished_an_orderly_end_leaves_exact_deadlines() {
    for fails in [false, true] {
        let disk = PowerCutDisk::new();
        let mut world = World::begin(&disk, START_MS, ALWAYS);
        assert_eq!(
            world.ask("SET session data PX 900000\nGETEX session PX 1000000"),
            "+OK\r\n$4\r\ndata\r\n"
        );
        // A slide that the log need not tell of.
        let before = world.services.write_log.appended();
        assert_eq!(world.ask("GETEX session PX 1000100"), "$4\r\ndata\r\n");
        assert_eq!(world.services.write_log.appended(), before);
        world.settle();
        let mut task = world.begin_save(SaveKind::Save);
        while !task.is_visiting() {
            task.step(world.now);
        }
        world.settle();
        if fails {
            disk.fail(fault(Operation::Write, 0, NO_SPACE, true));
        }
        while task.is_visiting() {
            task.step(world.now);
        }
        if fails {
            assert!(!world.finish(&mut task));
            disk.heal();
        }
        world.end();
        disk.power_cut(1);
        let world = World::begin(&disk, START_MS, ALWAYS);
        let exact = format!(":{}\r\n", START_MS + 1_000_100);
        assert_eq!(world.ask("PEXPIRETIME session"), exact, "{fails}");
        world.end();
    }
}

/// From `CONFIG SET appendonly yes` on it is enabled, and what it does not have yet is waited for.
#[test]
fn who_waits_for_a_log_that_is_turned_on_hears_of_it_when_its_base_is_there() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    world.turn_log(false);
    let services = Arc::clone(&world.services);
    let mut client = InProcess::new(&services);
    let place = client.connect();
    client.feed(place, b"SET n 1\r\nWAITAOF 1 0 0\r\n");
    let disabled = client.take_output(place).escape_ascii().to_string();
    assert!(disabled.ends_with("but appendonly is disabled.\\r\\n"), "{disabled}");
    world.turn_log(true);
    client.look(world.now);
    client.feed(place, b"SET n 2\r\nWAITAOF 1 0 0\r\n");
    assert_eq!(client.take_output(place), b"+OK\r\n");
    let mut task = world.begin_save(SaveKind::Rewrite);
    let info = world.ask("INFO persistence");
    for line in ["aof_enabled:1", "aof_rewrite_in_progress:1", "aof_pending_rewrite:0", "aof_base_size:"] {
        assert!(info.contains(line), "{line}: {info}");
    }
    while !task.is_visiting() {
        task.step(world.now);
    }
    world.settle();
    client.look(world.now);
    assert_eq!(client.take_output(place), b"", "its base is not there");
    assert!(world.finish(&mut task));
    client.look(world.now);
    assert_eq!(client.take_output(place), b"*2\r\n:1\r\n:0\r\n");
}

/// The log's thread is behind: it begins an increment that continues the data when a later one has begun that does not.
#[test]
fn an_increment_that_begins_late_does_not_put_the_next_one_in_force() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("SET n 1"), "+OK\r\n");
    world.settle();
    let mut task = world.begin_save(SaveKind::Save);
    disk.fail(fault(Operation::SyncDirectory, 0, DEVICE_ERROR, false));
    while task.step(world.now) != Next::End {}
    assert!(!task.is_saved());
    world.turn_log(false);
    world.ask("SET n 100");
    world.turn_log(true);
    let mut task = world.begin_save(SaveKind::Rewrite);
    while !task.is_visiting() {
        task.step(world.now);
    }
    assert_eq!(world.ask("INCR n"), ":101\r\n");
    world.settle();
    assert!(!world.is_durable() && !world.services.write_log.is_in_force());
    assert!(world.finish(&mut task));
    assert!(world.is_durable());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("GET n"), "$3\r\n101\r\n");
    world.end();
}
