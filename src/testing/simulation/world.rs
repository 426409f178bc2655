//! The world: a disk, two clocks, and one life of a server after the other.

use std::slice::Iter;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::history::History;
use super::plan::{CLIENTS, Down, Op, Plan, Start};
use super::requests::{DATABASES, Request};
use crate::base::clock::{Clock, Hands, Now};
use crate::base::step::Next;
use crate::base::waiting::may_wait;
use crate::client::{Gates, MigrationOrder, ReloadOrder};
use crate::config::{AppendFsync, Config};
use crate::maintenance::count_records;
use crate::persistence::{Loader, LogTask, SaveTask, Saver, Store, log_exact_deadlines, look};
use crate::services::{Control, Services, Shutdown};
use crate::snapshot::SaveKind;
use crate::storage::{self, Disk, OurFile, Problem};
use crate::testing::in_process::{InProcess, START_MS, services_with};
use crate::testing::power_cut_disk::{Operation, PowerCutDisk};

const LOOPS: usize = 2;
/// More than any work here takes.
const STEPS_MAX: u32 = 20_000;
/// Enough for some blocks.
const PREPARED_BYTES: u64 = 16 * 1024;
/// A key whose time has passed for so long is gone after a round of expiry: a tick, and what the wheels do not notice of a step of the clock.
const LATE_MS: i64 = 150;
/// What the wheels count by.
const TICK_MS: i64 = 16;
/// `everysec` is a second, and what gathers before it is taken.
const DURABLE_MS: i64 = 1_100;
/// Files of ours that the manifest does not name while a server runs: a snapshot that is being written, and a manifest.
const UNNAMED_MAX: usize = 3;

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Result<(), String> {
    let (clock, hands) = Clock::manual(START_MS);
    let (disk, history) = (PowerCutDisk::new(), History::new());
    let mut world = World { disk, clock, hands, history, start: plan.start, power_was_cut: true };
    let mut ops = plan.ops.iter();
    while let Some(down) = world.live(&mut ops)? {
        world.hands.advance_ms(down.ms);
        world.hands.step_wall_ms(down.clock_ms);
        world.start = down.start;
    }
    // What the orderly end has left.
    world.live(&mut [].iter()).map(|_| ())
}

/// What outlives a server.
struct World {
    disk: PowerCutDisk,
    clock: Clock,
    hands: Arc<Hands>,
    history: History,
    start: Start,
    /// All that is on the disk is there for good.
    power_was_cut: bool,
}

/// What the server asks of its control thread.
#[derive(Default)]
struct Orders {
    services: OnceLock<Weak<Services>>,
    saves: Mutex<Vec<SaveKind>>,
}

struct Controlled(Arc<Orders>);

impl Control for Controlled {
    fn apply(&self, old: &Config, new: &Config) -> Result<(), (String, String)> {
        may_wait();
        if let Some(services) = self.0.services.get().and_then(Weak::upgrade) {
            services.take_effect(old, new);
        }
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }

    fn start_save(&self, kind: SaveKind) {
        self.0.saves.lock().push(kind);
    }
}

impl World {
    /// One life: it loads, does what is planned, and ends or is killed. `None` after the last event, when it has ended in an orderly way.
    fn live(&mut self, ops: &mut Iter<'_, Op>) -> Result<Option<Down>, String> {
        self.check_files()?;
        let orders = Arc::new(Orders::default());
        let control = Box::new(Controlled(Arc::clone(&orders)));
        let now = self.clock.now();
        let services = Arc::new(services_with(self.config(), LOOPS, control, now));
        let _ = orders.services.set(Arc::downgrade(&services));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Arc::new(Store::on(disk, None, None).map_err(|error| format!("no store: {error}"))?);
        let saver = Saver::new(Arc::clone(&services), Arc::clone(&store), self.clock.clone());
        let mut life = Life {
            log: LogTask::new(Arc::clone(&services), Arc::clone(&store)).preparing(PREPARED_BYTES),
            loops: (0..LOOPS).map(|index| InProcess::starting(&services, index, now)).collect(),
            services: &services,
            store: &store,
            saver: &saver,
            orders,
            save: None,
            places: vec![None; CLIENTS as usize],
            ending: None,
            snapshot_of: None,
            log_turns: Vec::new(),
            removals_fail: false,
            world: self,
        };
        life.load()?;
        life.run(ops)
    }

    /// What `cloakroom check` says: sound, but for the end of the last log, which a crash may tear.
    fn check_files(&self) -> Result<(), String> {
        let report = storage::check(&self.disk, None, &count_records).map_err(|error| error.to_string())?;
        let torn = report.logs.last().and_then(|log| log.problem.as_ref());
        let torn = torn.filter(|damage| matches!(damage.problem, Problem::TornTail(_)));
        let wrong: Vec<String> = report
            .problems()
            .filter(|damage| torn.is_none_or(|torn| !std::ptr::eq(*damage, torn)))
            .map(ToString::to_string)
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("check says: {}", wrong.join("; "))) }
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.databases = DATABASES as u32;
        config.dir = String::from("/no/such/directory");
        config.snapshot_compression = false;
        config.maxmemory_eviction_tenacity = 100;
        config.appendonly = self.start.appendonly;
        config.appendfsync = self.start.policy;
        let save: &[u8] = if self.start.saves { b"1 3" } else { b"" };
        config.set(&[(b"save", save)], true).expect("save points are valid")
    }
}

/// A server that runs. Its parts do something only when they are stepped.
struct Life<'w, 's> {
    world: &'w mut World,
    services: &'s Arc<Services>,
    store: &'s Arc<Store>,
    saver: &'s Saver,
    log: LogTask,
    loops: Vec<InProcess<'s>>,
    orders: Arc<Orders>,
    save: Option<Save>,
    /// Where each client is connected, in its loop.
    places: Vec<Option<usize>>,
    /// SIGTERM came: it is up again so.
    ending: Option<Ending>,
    /// The state that the last finished snapshot of this life has.
    snapshot_of: Option<usize>,
    /// The present state and the steady time at each turn of the log after which everything was written.
    log_turns: Vec<(usize, i64)>,
    /// A removal has failed, so files may stay.
    removals_fail: bool,
}

/// A save on its way.
struct Save {
    task: SaveTask,
    /// The state at its cut.
    cut: Option<usize>,
    /// The server ends when it has ended.
    last: bool,
}

#[derive(Clone, Copy)]
struct Ending {
    down: Down,
    /// Its last save is running, or has still to begin.
    saving: bool,
}

impl Life<'_, '_> {
    fn now(&self) -> Now {
        self.world.clock.now()
    }

    fn load(&mut self) -> Result<(), String> {
        self.services.snapshots.progress.begin(self.now());
        self.services.set_gate(Gates::LOADING, true);
        let mut loader = Loader::new(self.services, self.store, self.saver, 1);
        let mut steps = 0;
        loop {
            let now = self.world.clock.now();
            match loader.step(now).map_err(|error| format!("it does not start: {error}"))? {
                Next::End => break,
                Next::Now | Next::Signal | Next::At(_) => {}
            }
            self.log.step(now);
            steps += 1;
            if steps > STEPS_MAX {
                return Err(String::from("loading finds no end"));
            }
        }
        drop(loader);
        self.settle_log()?;
        // What was only in the system's memory becomes part of the data when a log goes on behind it.
        let lasting = self.world.power_was_cut || self.world.start.appendonly;
        self.world.history.recover(&self.services.keyspace, self.now().wall_ms(), lasting)?;
        self.observe();
        let unnamed = self.unnamed_files();
        if !unnamed.is_empty() {
            return Err(format!("files that nothing names stay after a start: {unnamed:?}"));
        }
        Ok(())
    }

    fn run(mut self, ops: &mut Iter<'_, Op>) -> Result<Option<Down>, String> {
        for op in ops.by_ref() {
            if let Op::Crash { power, down } = op {
                self.world.disk.heal();
                power.iter().for_each(|seed| self.world.disk.power_cut(*seed));
                self.world.power_was_cut = power.is_some();
                return Ok(Some(*down));
            }
            self.act(op)?;
            if let Some(down) = self.after(op)? {
                return Ok(Some(down));
            }
        }
        self.world.disk.heal();
        let down = Down { ms: 1000, clock_ms: 0, start: self.world.start };
        for _ in 0..STEPS_MAX {
            // Again and again: an end whose save fails is none.
            self.terminate(down);
            self.turn_log(1);
            self.turn_save(1)?;
            if self.after(&Op::Pass { ms: 0 })?.is_some() {
                return Ok(None);
            }
            self.world.hands.advance_ms(1);
        }
        Err(String::from("it does not end when it is asked to"))
    }

    fn act(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Ask { client, request } => self.ask(*client, request),
            Op::Log { turns } => self.turn_log(*turns),
            Op::Save { turns } => self.turn_save(*turns)?,
            Op::Expire => self.expire(),
            Op::Look => self.look(),
            Op::Pass { ms } => self.world.hands.advance_ms(*ms),
            Op::SetClock { ms } => self.world.hands.step_wall_ms(*ms),
            Op::Fail(fault) => {
                self.removals_fail |= fault.operation.is_none_or(|kind| kind == Operation::Remove);
                self.world.disk.fail(*fault);
            }
            Op::Heal => self.world.disk.heal(),
            Op::Disconnect { client } => {
                if let Some(place) = self.places[*client].take() {
                    self.loops[client % LOOPS].disconnect(place);
                }
            }
            Op::Terminate { down } => self.terminate(*down),
            Op::Crash { .. } => {}
        }
        Ok(())
    }

    fn ask(&mut self, client: usize, request: &Request) {
        let now = self.now();
        let on = &mut self.loops[client % LOOPS];
        on.look(now);
        let place = match self.places[client] {
            Some(place) if on.is_open(place) => place,
            _ => *self.places[client].insert(on.connect()),
        };
        // Clients do not send a request before the last one is answered, so that few happen unobserved in one go.
        if !on.is_waiting(place) {
            on.feed(place, &request.encode(now.wall_ms()));
        }
        on.take_output(place);
    }

    /// Twice, because a key whose time had passed already when it was set is due at the next tick.
    fn expire(&mut self) {
        self.loops.iter_mut().for_each(InProcess::expire);
        self.world.hands.advance_ms(TICK_MS);
        let now = self.now();
        for on in &mut self.loops {
            on.look(now);
            on.expire();
        }
    }

    fn turn_log(&mut self, turns: u32) {
        let now = self.now();
        for _ in 0..turns {
            if self.log.step(now) != Next::Now {
                return;
            }
        }
    }

    /// Steps the log's thread until it waits.
    fn settle_log(&mut self) -> Result<Next, String> {
        let now = self.now();
        for _ in 0..STEPS_MAX {
            match self.log.step(now) {
                Next::Now => {}
                next => return Ok(next),
            }
        }
        Err(String::from("the log's thread finds no end"))
    }

    fn turn_save(&mut self, turns: u32) -> Result<(), String> {
        let now = self.now();
        for _ in 0..turns {
            let Some(save) = &mut self.save else { return Ok(()) };
            let next = save.task.step(now);
            if save.cut.is_none() {
                save.cut = Some(self.world.history.present());
            }
            match next {
                Next::Now => {}
                Next::Signal | Next::At(_) => return Ok(()),
                Next::End => return self.end_save(),
            }
        }
        Ok(())
    }

    fn end_save(&mut self) -> Result<(), String> {
        let Some(save) = self.save.take() else { return Ok(()) };
        let saved = save.task.is_saved();
        if saved && let Some(cut) = save.cut {
            self.world.history.promise(cut);
            self.snapshot_of = Some(cut);
        }
        if save.last {
            if let Some(ending) = &mut self.ending {
                ending.saving = false;
            }
            if !saved {
                // It serves on.
                self.ending = None;
                self.services.unpause_clients();
            }
        }
        match self.services.keyspace.captured_bytes() {
            0 => Ok(()),
            bytes => Err(format!("{bytes} captured bytes are left when a save has ended")),
        }
    }

    fn look(&mut self) {
        let due = look(self.services, self.now().steady_ms());
        self.orders.saves.lock().extend(due);
    }

    /// What `server/run.rs` does on SIGTERM.
    fn terminate(&mut self, down: Down) {
        if self.ending.is_some() {
            return;
        }
        let saving = !self.services.settings.load().save.is_empty();
        if saving {
            self.services.pause_clients(i64::MAX, false, self.now().steady_ms());
        }
        self.ending = Some(Ending { down, saving });
    }

    /// What follows from anything that has happened, and what must hold after it. Gives how it goes on if the server has ended.
    fn after(&mut self, op: &Op) -> Result<Option<Down>, String> {
        let now = self.now();
        for index in 0..LOOPS {
            self.loops[index].look(now);
            self.observe();
        }
        for kind in std::mem::take(&mut *self.orders.saves.lock()) {
            self.save = Some(Save { task: self.saver.begin(kind), cut: None, last: false });
        }
        if let Some(Ending { saving: true, .. }) = self.ending
            && self.save.is_none()
            && self.services.reserve_save(SaveKind::Save, now.steady_ms())
        {
            self.save = Some(Save { task: self.saver.begin(SaveKind::Save), cut: None, last: true });
        }
        self.observe();
        self.check(op)?;
        match self.ending {
            Some(Ending { down, saving: false }) => self.end(down).map(Some),
            _ => Ok(None),
        }
    }

    /// Notes the state, and what the log has promised by now.
    fn observe(&mut self) {
        let (log, now) = (&self.services.write_log, self.now());
        let percent = i64::from(self.services.settings.load().expire_log_slack);
        let offset = log.is_on().then(|| log.appended());
        let history = &mut self.world.history;
        history.observe(&self.services.keyspace, offset, now.wall_ms(), percent);
        history.promise_offsets(|offset| log.is_durable(offset));
    }

    fn check(&mut self, op: &Op) -> Result<(), String> {
        let now = self.now();
        let log = &self.services.write_log;
        let is_held = self.services.gates().has(Gates::PAUSED) || log.is_full();
        if matches!(op, Op::Expire) && !is_held {
            let overdue = self.world.history.overdue(now.wall_ms() - LATE_MS);
            if overdue > 0 {
                return Err(format!("{overdue} keys are there although their time has long passed"));
            }
        }
        if matches!(op, Op::Log { .. }) && self.settle_log()? != Next::End {
            self.observe();
            let log = &self.services.write_log;
            let promises =
                log.is_on() && log.is_in_force() && log.policy() == AppendFsync::Everysec && !log.is_stuck();
            // The first of them was written in this turn, and there was one more now.
            let first = self.world.history.first_unpromised();
            let known =
                self.log_turns.iter().find(|(present, _)| first.is_some_and(|first| *present >= first));
            if promises && known.is_some_and(|(_, steady_ms)| *steady_ms < now.steady_ms() - DURABLE_MS) {
                return Err(String::from("everysec has not flushed for more than a second"));
            }
            let log = &self.services.write_log;
            if log.written() == log.appended() {
                self.log_turns.push((self.world.history.present(), now.steady_ms()));
            }
        }
        if matches!(op, Op::Log { .. } | Op::Save { .. }) && !self.removals_fail {
            let unnamed = self.unnamed_files();
            if unnamed.len() > UNNAMED_MAX {
                return Err(format!("files pile up that nothing names: {unnamed:?}"));
            }
        }
        Ok(())
    }

    fn unnamed_files(&self) -> Vec<String> {
        let manifest = self.store.manifest();
        let names = self.world.disk.list().unwrap_or_default();
        names.into_iter().filter(|name| OurFile::of(name).is_some() && !manifest.names(name)).collect()
    }

    /// The last steps of an orderly end.
    fn end(&mut self, down: Down) -> Result<Down, String> {
        let log = &self.services.write_log;
        let was_in_force = log.is_on() && log.is_in_force();
        log_exact_deadlines(self.services);
        log.end();
        for _ in 0..STEPS_MAX {
            match self.settle_log()? {
                Next::End => {
                    self.promise_end(was_in_force);
                    self.world.disk.power_cut(down.ms as u64);
                    self.world.power_was_cut = true;
                    return Ok(down);
                }
                Next::At(steady_ms) => {
                    let wait_ms = steady_ms - self.now().steady_ms();
                    self.world.hands.advance_ms(wait_ms.max(1));
                }
                _ => break,
            }
        }
        Err(String::from("the log's thread does not end when the server does"))
    }

    /// With the log whole, or a snapshot of the last state, nothing is lost.
    fn promise_end(&mut self, log_was_in_force: bool) {
        let present = self.world.history.present();
        let log_is_whole = log_was_in_force && !self.services.write_log.has_failed();
        if log_is_whole || self.snapshot_of == Some(present) {
            self.world.history.promise_exactly();
        }
    }
}
