//! Logs that are turned on and off, and disks that fail, fill up or lose power, at each step.

use super::*;
use crate::storage::OurFile;

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

/// The save was ordered while the log was wanted, and makes its cut when it is not.
#[test]
fn a_log_that_was_turned_off_before_the_cut_of_a_save_stays_off() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("SET n 1"), "+OK\r\n");
    world.settle();
    let mut task = world.begin_save(SaveKind::Rewrite);
    world.turn_log(false);
    assert!(world.finish(&mut task));
    assert!(!world.services.write_log.is_on(), "what is recorded now would be kept by nobody");
    assert_eq!(world.ask("INCR n"), ":2\r\n");
    world.come_to_rest();
    assert!(world.store.manifest().logs.is_empty());
    world.turn_log(true);
    assert!(world.save(SaveKind::Rewrite));
    assert_eq!(world.ask("INCR n"), ":3\r\n");
    world.settle();
    assert!(world.is_durable());
    disk.power_cut(1);
    let world = World::begin(&disk, START_MS, ALWAYS);
    assert_eq!(world.ask("GET n"), "$1\r\n3\r\n");
    world.end();
}

/// Each attempt to save begins an increment; when the disk works again, only the last of them is of use.
#[test]
fn increments_of_attempts_that_have_failed_get_no_files() {
    let disk = PowerCutDisk::new();
    let mut world = World::begin(&disk, START_MS, ALWAYS);
    disk.fail(fault(Operation::Sync, 0, DEVICE_ERROR, true));
    world.ask("SET n 1");
    world.come_to_rest();
    for _ in 0..6 {
        assert!(!world.save(SaveKind::Save));
        world.come_to_rest();
    }
    disk.heal();
    world.come_to_rest();
    let manifest = world.store.manifest();
    let names = disk.list().expect("a directory");
    let unnamed: Vec<&String> =
        names.iter().filter(|name| OurFile::of(name).is_some() && !manifest.names(name)).collect();
    assert!(unnamed.len() <= 1, "{unnamed:?}");
    assert!(world.save(SaveKind::Save) && world.services.write_log.is_in_force());
    world.end();
}
