//! Loading, the write log's thread and saving together, on a disk that loses power, runs full, or fails any single operation.
//!
//! A life of a server writes one key after the other, each with the number of all so far, waits until each is durable as `appendfsync always`
//! does, and saves and reloads now and then. Whatever the disk does, the next life must find all that was acknowledged, and nothing but a beginning of what was
//! asked for. Nothing waits for a time to pass: a troubled log is nudged, and every loop ends by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;

use super::store::Store;
use super::threads::Persistence;
use crate::base::clock::Clock;
use crate::client::{Gates, Reload, ReloadOrder};
use crate::config::{AppendFsync, Config};
use crate::services::Services;
use crate::snapshot::SaveKind;
use crate::storage::{
    Compression, Disk, EntryRecord, Manifest, SnapshotOptions, SnapshotStart, SnapshotWriter,
};
use crate::testing::in_process::{InProcess, START_MS, services};
use crate::testing::power_cut_disk::{DEVICE_ERROR, Fault, NO_SPACE, Operation, PowerCutDisk};

const WRITES: u64 = 9;
/// Looks at another thread's work before a test counts as hung; a look takes a millisecond when there is nothing new.
const LOOKS_MAX: u32 = 20_000;
/// Looks at a log in trouble before it counts as in trouble for good. Its thread tries again at each nudge, but on a busy machine it may be a while
/// before it runs.
const NUDGES_MAX: u32 = 200;

/// How many times as much is tried; `tests/run --long` asks for more.
fn thoroughness() -> u64 {
    if std::env::var_os("CLOAKROOM_LONG").is_some() { 10 } else { 1 }
}

/// What a life does besides writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    Saves,
    /// It loads its data again, too, in every way.
    Reloads,
}

/// How far a life came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    /// Writes that were known to be durable.
    acknowledged: u64,
    /// Writes that were done in memory.
    attempted: u64,
    saves: u32,
    reloads: u32,
}

/// A server without sockets.
struct Life {
    services: Arc<Services>,
    persistence: Persistence,
}

/// Looks until something holds; false if the life is stuck. It ends in any case.
fn wait_until(mut holds: impl FnMut() -> Option<bool>) -> bool {
    for _ in 0..LOOKS_MAX {
        if let Some(outcome) = holds() {
            return outcome;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
    panic!("it hangs");
}

impl Life {
    /// Starts on a disk and loads.
    fn begin(disk: &PowerCutDisk, policy: AppendFsync) -> Result<Life, String> {
        Life::begin_with(disk, |config| config.appendfsync = policy)
    }

    fn begin_with(disk: &PowerCutDisk, change: impl FnOnce(&mut Config)) -> Result<Life, String> {
        let mut config = Config::default();
        config.appendonly = true;
        change(&mut config);
        config.save = Vec::new();
        // Fewer partitions to go through.
        config.databases = 1;
        config.dir = String::from("/no/such/directory");
        let services = Arc::new(services(config));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = Store::on(shared, None, None).map_err(|error| error.to_string())?;
        let (clock, _) = Clock::manual(START_MS);
        let mut persistence = Persistence::new(&services, store, clock);
        let loaded = persistence.load(1).expect("a thread").blocking_recv().expect("the thread answers");
        let mut life = Life { services, persistence };
        if let Err(error) = loaded {
            life.persistence.end();
            return Err(error.to_string());
        }
        Ok(life)
    }

    /// One write, until it is durable. False if it will not be: the log has failed, or fails again and again.
    fn write(&self, client: &mut InProcess<'_>, place: usize, progress: &mut Progress) -> bool {
        let log = &self.services.write_log;
        let number = progress.attempted + 1;
        let mut nudges = 0;
        let mut has_given_up = || {
            // A log in trouble tries again when somebody asks for it.
            nudges += u32::from(log.failure().is_some());
            log.request_sync();
            log.has_failed() || nudges > NUDGES_MAX
        };
        let accepted = wait_until(|| {
            client.feed(place, format!("MSET key:{number} value counter {number}\r\n").as_bytes());
            let reply = client.take_output(place);
            if reply.starts_with(b"+OK") {
                return Some(true);
            }
            assert!(reply.starts_with(b"-MISCONF"), "{}", reply.escape_ascii());
            has_given_up().then_some(false)
        });
        if !accepted {
            return false;
        }
        progress.attempted = number;
        let target = log.appended();
        let durable = wait_until(|| {
            if log.durable() >= target && !log.has_failed() {
                return Some(true);
            }
            has_given_up().then_some(false)
        });
        progress.acknowledged += u64::from(durable);
        durable
    }

    /// A save, to its end or to the log's. Whether it succeeded.
    fn save(&self, kind: SaveKind) -> bool {
        let before = self.services.snapshots.ended();
        assert!(self.services.reserve_save(kind, START_MS), "no other save runs");
        self.persistence.start_save(kind);
        let mut nudges = 0;
        wait_until(|| {
            if self.services.snapshots.ended() > before {
                return Some(self.services.snapshots.state.lock().history(kind).last_ok);
            }
            let log = &self.services.write_log;
            log.request_sync();
            nudges += u32::from(log.failure().is_some());
            (nudges > NUDGES_MAX).then_some(false)
        })
    }

    /// A reload, to its end; whether it succeeded. `None`: the memory is lost, and the server would end; or the reload saves and waits for a
    /// log that is in trouble for good.
    fn reload(&self, client: &mut InProcess<'_>, what: Reload) -> Option<bool> {
        let place = client.connect();
        let id = self.services.clients.all().last().expect("a client").id;
        let (lost, mut is_lost) = unbounded_channel();
        self.persistence.start_reload(ReloadOrder { what, loop_index: 0, place, id }, 1, lost);
        let (mut outcome, mut nudges) = (None, 0);
        wait_until(|| {
            // A log in trouble tries again, and the event loop passes a quiet point.
            self.services.write_log.request_sync();
            client.feed(place, b"");
            match (is_lost.try_recv(), client.take_output(place).as_slice()) {
                (Ok(_), _) => Some(true),
                (_, b"") => {
                    nudges += u32::from(self.services.write_log.failure().is_some());
                    (nudges > NUDGES_MAX).then_some(false)
                }
                (_, reply) => {
                    outcome = Some(reply == b"+OK\r\n");
                    Some(true)
                }
            }
        });
        client.disconnect(place);
        outcome
    }

    /// Everything that a life does; ends early when the log gives up.
    fn run(mut self, plan: Plan) -> Progress {
        let mut progress = Progress::default();
        {
            let mut client = InProcess::new(&self.services);
            let place = client.connect();
            for number in 1..=WRITES {
                if !self.write(&mut client, place, &mut progress) {
                    break;
                }
                let kind = match number {
                    3 => Some(SaveKind::Rewrite),
                    6 => Some(SaveKind::Save),
                    _ => None,
                };
                let saved = kind.is_some_and(|kind| self.save(kind));
                progress.saves += u32::from(saved);
                let what = match number {
                    _ if plan == Plan::Saves => continue,
                    2 | 7 => Reload::Log,
                    4 => Reload::Snapshot { save: true, empty: true, merge: false },
                    // From a snapshot of this very state: nothing is given up.
                    6 if saved => Reload::Snapshot { save: false, empty: true, merge: false },
                    8 => Reload::Snapshot { save: true, empty: false, merge: true },
                    _ => continue,
                };
                let Some(reloaded) = self.reload(&mut client, what) else { break };
                progress.reloads += u32::from(reloaded);
            }
        }
        self.persistence.end();
        // A save that waited for the log hears of its end.
        let snapshots = &self.services.snapshots;
        wait_until(|| snapshots.state.lock().running.is_none().then_some(true));
        progress
    }

    /// How many writes this life has found.
    fn found(mut self) -> u64 {
        let found = {
            let mut client = InProcess::new(&self.services);
            let place = client.connect();
            client.feed(place, b"GET counter\r\nDBSIZE\r\n");
            let text = String::from_utf8(client.take_output(place)).expect("text");
            let lines: Vec<&str> = text.lines().collect();
            let found = if lines[0] == "$-1" { 0 } else { lines[1].parse().expect("a number") };
            let keys = if found == 0 { 0 } else { found + 1 };
            assert_eq!(lines.last(), Some(&format!(":{keys}").as_str()), "each write is there once, whole");
            found
        };
        self.persistence.end();
        found
    }
}

/// Starts again on what is left, and compares.
#[track_caller]
fn check(disk: &PowerCutDisk, progress: Progress, what: &str) {
    let life = Life::begin(disk, AppendFsync::Always).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(!life.services.gates().has(Gates::LOADING));
    let found = life.found();
    let possible = progress.acknowledged..=progress.attempted;
    assert!(possible.contains(&found), "{what}: {found} of {progress:?}");
}

fn whole_life(policy: AppendFsync, plan: Plan) -> u64 {
    let disk = PowerCutDisk::new();
    let progress = Life::begin(&disk, policy).expect("starts").run(plan);
    let reloads = if plan == Plan::Reloads { 5 } else { 0 };
    assert_eq!(progress, Progress { acknowledged: WRITES, attempted: WRITES, saves: 2, reloads });
    let changes = disk.changes();
    disk.power_cut(1);
    check(&disk, progress, "at the end");
    changes
}

/// Cuts the power at every `step_by`-th step of a life.
fn cut_the_power(policy: AppendFsync, plan: Plan, step_by: usize) {
    let changes = whole_life(policy, plan);
    println!("{changes} steps, {} seeds from each step's number on", thoroughness());
    assert!(changes > 50, "{changes}");
    for step in (0..changes + 3).step_by(step_by) {
        for seed in step..step + thoroughness() {
            let disk = PowerCutDisk::new();
            disk.stop_after(step);
            let progress = Life::begin(&disk, policy).map(|life| life.run(plan)).unwrap_or_default();
            disk.power_cut(seed);
            check(&disk, progress, &format!("step {step} seed {seed}"));
        }
    }
}

/// `everysec` with a flush asked for after each write: as `always`, but for the zeros that make every life slow.
#[test]
fn wherever_the_power_is_cut_all_that_was_acknowledged_is_there() {
    cut_the_power(AppendFsync::Everysec, Plan::Saves, 1);
}

#[test]
fn with_prepared_zeros_all_that_was_acknowledged_is_there_too() {
    cut_the_power(AppendFsync::Always, Plan::Saves, 60 / thoroughness() as usize);
}

#[test]
fn wherever_the_power_is_cut_a_reload_has_lost_nothing() {
    cut_the_power(AppendFsync::Everysec, Plan::Reloads, if thoroughness() > 1 { 1 } else { 7 });
}

/// Lets the operation of each kind and number in `afters` fail once.
fn fail_once(plan: Plan, errno: i32, afters: impl Iterator<Item = u64> + Clone) {
    for operation in Operation::CHANGING {
        for after in afters.clone() {
            let what = format!("{operation:?} number {after} fails with {errno}");
            let disk = PowerCutDisk::new();
            disk.fail(Fault { operation: Some(operation), after, errno, short: true, lasting: false });
            let life = match Life::begin(&disk, AppendFsync::Everysec) {
                Ok(life) => life,
                // A clear error, and the next start succeeds.
                Err(error) => {
                    assert!(error.contains("os error"), "{what}: {error}");
                    check(&disk, Progress::default(), &what);
                    continue;
                }
            };
            let progress = life.run(plan);
            // Only a flush that fails ends the log.
            if operation != Operation::Sync {
                assert_eq!(progress.acknowledged, WRITES, "{what}");
            }
            disk.power_cut(after);
            check(&disk, progress, &what);
        }
    }
}

#[test]
fn whichever_operation_fails_once_nothing_acknowledged_is_lost_and_writes_resume() {
    for errno in if thoroughness() > 1 { &[NO_SPACE, DEVICE_ERROR][..] } else { &[NO_SPACE] } {
        fail_once(Plan::Saves, *errno, 0..20);
    }
}

#[test]
fn whichever_operation_fails_once_a_reload_has_lost_nothing() {
    fail_once(Plan::Reloads, NO_SPACE, (0..40).step_by(if thoroughness() > 1 { 1 } else { 9 }));
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for after in 0..12 * thoroughness() {
        let disk = PowerCutDisk::new();
        let Ok(mut life) = Life::begin(&disk, AppendFsync::Everysec) else { continue };
        let mut progress = Progress::default();
        {
            let mut client = InProcess::new(&life.services);
            let place = client.connect();
            assert!(life.write(&mut client, place, &mut progress));
            let operation = Some(Operation::Write);
            disk.fail(Fault {
                operation,
                after: after % 6,
                errno: NO_SPACE,
                short: after % 2 == 0,
                lasting: true,
            });
            while progress.attempted < 10 && life.write(&mut client, place, &mut progress) {}
            assert!(progress.acknowledged < 10, "the disk is full");
            assert!(life.services.write_log.failure().is_some_and(|text| text.contains("No space")));
            // What was done before is still to become durable, so it counts when it is.
            disk.heal();
            progress.acknowledged = progress.attempted;
            assert!(life.write(&mut client, place, &mut progress), "writes resume");
            assert_eq!(life.services.write_log.failure(), None);
        }
        life.persistence.end();
        disk.power_cut(after);
        check(&disk, progress, &format!("full after {after}"));
    }
}

/// A snapshot of keys that have these deadlines.
fn snapshot_of(deadlines: impl Iterator<Item = u64>) -> PowerCutDisk {
    let disk = PowerCutDisk::new();
    let start = SnapshotStart { number: 1, created_ms: 1, databases: 16, lfu: false, log_offset: 0 };
    let options = SnapshotOptions { compression: Compression::None, key: None, incremental_sync: false };
    let writer = SnapshotWriter::create(Arc::new(disk.clone()), start, &options).expect("creates");
    let mut block = writer.block_writer().expect("memory");
    for (number, expire_at_ms) in deadlines.enumerate() {
        let (key, expire_at_ms) = (format!("key:{number}"), Some(expire_at_ms));
        block.push(
            0,
            &EntryRecord { expire_at_ms, key: key.as_bytes(), value: b"v", ..EntryRecord::default() },
        );
    }
    block.flush().expect("writes");
    drop(block);
    let snapshot = Some(writer.finish().expect("finishes"));
    Manifest { last_number: 1, snapshot, ..Manifest::default() }.write(&disk, None).expect("writes");
    disk
}

#[test]
fn a_deadline_beyond_all_times_is_the_latest_there_is_and_not_none() {
    let latest_ms = (1 << 48) - 1;
    let disk = snapshot_of([u64::MAX, i64::MAX as u64, latest_ms].into_iter());
    let mut life = Life::begin(&disk, AppendFsync::Always).expect("starts");
    {
        let mut client = InProcess::new(&life.services);
        let place = client.connect();
        client.feed(place, b"PEXPIRETIME key:0\r\nPEXPIRETIME key:1\r\nPEXPIRETIME key:2\r\n");
        let text = String::from_utf8(client.take_output(place)).expect("text");
        assert_eq!(text, format!(":{latest_ms}\r\n").repeat(3));
    }
    life.persistence.end();
}

#[test]
fn a_start_on_a_full_disk_does_not_fill_the_log_with_all_that_expired_meanwhile() {
    let disk = snapshot_of((0..3000).map(|number| number + 1));
    disk.fail(Fault {
        operation: Some(Operation::Create),
        after: 0,
        errno: NO_SPACE,
        short: false,
        lasting: true,
    });
    let limit = 1000;
    let mut life = Life::begin_with(&disk, |config| config.write_log_buffer_limit = limit).expect("starts");
    let appended = life.services.write_log.appended();
    assert!((limit..2 * limit).contains(&appended), "{appended}");
    {
        let mut client = InProcess::new(&life.services);
        let place = client.connect();
        client.feed(place, b"EXISTS key:1 key:2 key:3 key:4 key:5\r\n");
        assert_eq!(client.take_output(place), b":0\r\n");
    }
    disk.heal();
    life.persistence.end();
    check(&disk, Progress::default(), "after the start on the full disk");
}

#[test]
fn a_file_that_cannot_be_removed_does_not_keep_a_server_from_starting() {
    let disk = snapshot_of(std::iter::once(u64::MAX));
    disk.put("snapshot-40.cloakroom", b"of a save that was not finished");
    let fault = Fault {
        operation: Some(Operation::Remove),
        after: 0,
        errno: DEVICE_ERROR,
        short: false,
        lasting: true,
    };
    disk.fail(fault);
    let mut life = Life::begin(&disk, AppendFsync::Always).expect("starts");
    life.persistence.end();
    assert!(disk.exists("snapshot-40.cloakroom").expect("looks"));
    disk.heal();
    let mut life = Life::begin(&disk, AppendFsync::Always).expect("starts");
    life.persistence.end();
    assert!(!disk.exists("snapshot-40.cloakroom").expect("looks"));
}
