//! Flushes that last or fail, and what overcomes a failure; ends that would lose something.

use super::*;

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
