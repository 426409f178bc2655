//! One life of a server: its event loops, its log's thread, its saving thread and its end, each of which does something only when it is stepped.
//!
//! A thread that waits is not stepped before what it waits for has come: a wake-up that somebody forgets is a finding here.

use std::slice::Iter;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::checks::Checks;
use super::plan::{CLIENTS, Down, Op, Start};
use super::requests::Request;
use super::world::{LOOPS, Orders, World};
use crate::base::clock::Now;
use crate::base::step::Next;
use crate::client::{Gates, Message};
use crate::config::AppendFsync;
use crate::observe::counters::Count;
use crate::persistence::{EndTask, Loader, LogTask, SaveTask, Saver, Store, end_log, look};
use crate::services::{Services, Shutdown};
use crate::snapshot::SaveKind;
use crate::testing::in_process::InProcess;
use crate::testing::power_cut_disk::Operation;

/// More than any work here takes.
const STEPS_MAX: u32 = 20_000;
/// What the wheels count by.
const TICK_MS: i64 = 16;
/// Enough for some blocks.
const PREPARED_BYTES: u64 = 16 * 1024;
/// The most bytes of records in a block where there is little room: transactions take several.
const SMALL_BLOCK: usize = 256;

/// See the module's text.
pub struct Life<'w, 's> {
    pub world: &'w mut World,
    pub services: &'s Arc<Services>,
    pub store: &'s Arc<Store>,
    saver: &'s Arc<Saver>,
    log: LogTask,
    /// What the log's thread waits for.
    log_next: Next,
    pub loops: Vec<InProcess<'s>>,
    orders: Arc<Orders>,
    pub save: Option<Save>,
    /// Where each client is connected, in its loop.
    pub places: Vec<Option<usize>>,
    pub ending: Option<Ending>,
    /// How it goes on after an end that a client orders.
    down: Down,
    /// The state that the last finished snapshot of this life has.
    snapshot_of: Option<usize>,
    /// What the rules remember.
    pub checks: Checks,
}

/// A save on its way.
pub struct Save {
    task: SaveTask,
    kind: SaveKind,
    /// What its thread waits for, and how often the bell had rung before.
    next: Next,
    heard: u64,
    /// The state at its cut.
    cut: Option<usize>,
}

/// The server has been asked to end.
pub struct Ending {
    task: EndTask,
    next: Next,
    heard: u64,
    how: Shutdown,
    down: Down,
    /// The state at the cut of its save.
    cut: Option<usize>,
}

impl<'w, 's> Life<'w, 's> {
    pub fn new(
        world: &'w mut World,
        services: &'s Arc<Services>,
        store: &'s Arc<Store>,
        saver: &'s Arc<Saver>,
        orders: Arc<Orders>,
    ) -> Life<'w, 's> {
        let now = world.clock.now();
        let log = LogTask::new(Arc::clone(services), Arc::clone(store)).preparing(PREPARED_BYTES);
        let log = if world.start.tight { log.dividing(SMALL_BLOCK) } else { log };
        let down = Down { ms: 1000, clock_ms: 0, start: Start { fault: None, ..world.start } };
        Life {
            log,
            log_next: Next::Now,
            loops: (0..LOOPS).map(|index| InProcess::starting(services, index, now)).collect(),
            services,
            store,
            saver,
            orders,
            save: None,
            places: vec![None; CLIENTS as usize],
            ending: None,
            down,
            snapshot_of: None,
            checks: Checks::default(),
            world,
        }
    }

    pub fn now(&self) -> Now {
        self.world.clock.now()
    }

    /// Loads what the life before has left, and checks it.
    pub fn load(&mut self) -> Result<(), String> {
        self.try_to_load()?;
        self.settle_log()?;
        // What was only in the system's memory becomes part of the data when a log goes on behind it.
        let lasting = self.world.power_was_cut || self.world.start.appendonly;
        self.world.history.recover(&self.services.keyspace, self.now().wall_ms(), lasting)?;
        self.observe();
        self.begin_checks()
    }

    /// Loads, if the disk lets it.
    pub fn try_to_load(&mut self) -> Result<(), String> {
        self.services.snapshots.progress.begin(self.now());
        self.services.set_gate(Gates::LOADING, true);
        let mut loader = Loader::new(self.services, self.store, self.saver, 1);
        for _ in 0..STEPS_MAX {
            let now = self.world.clock.now();
            match loader.step(now).map_err(|error| format!("it does not start: {error}"))? {
                Next::End => return Ok(()),
                Next::Now | Next::Signal | Next::At(_) => {}
            }
            if self.log.is_awake(self.log_next, now) {
                self.log_next = self.log.step(now);
            }
        }
        Err(String::from("loading finds no end"))
    }

    /// Does what is planned. `None` if it has then ended in an orderly way, with nothing planned any more.
    pub fn run(mut self, ops: &mut Iter<'_, Op>) -> Result<Option<Down>, String> {
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
        // On the disk as it is, the end may be refused, but it comes to a decision.
        self.terminate(Shutdown::default());
        if self.decide()? {
            return Ok(None);
        }
        self.world.disk.heal();
        self.recover()?;
        self.terminate(Shutdown::default());
        match self.decide()? {
            true => Ok(None),
            false => Err(String::from("it refuses to end although nothing keeps it from that")),
        }
    }

    /// Steps everything until an end that was ordered has come, or was refused. Says which.
    fn decide(&mut self) -> Result<bool, String> {
        for _ in 0..STEPS_MAX {
            self.turn_log(1);
            self.turn_save(1)?;
            if self.after(&Op::Pass { ms: 0 })?.is_some() {
                return Ok(true);
            }
            if self.ending.is_none() {
                return Ok(false);
            }
            self.world.hands.advance_ms(1);
        }
        Err(String::from("it neither ends nor refuses to"))
    }

    /// On a disk that works again, and with a save, a server accepts writes and keeps them.
    fn recover(&mut self) -> Result<(), String> {
        let mut started = false;
        for _ in 0..8 {
            self.world.hands.advance_ms(1_500);
            started |= self.services.start_save(SaveKind::Save, self.now().steady_ms());
            self.after(&Op::Pass { ms: 0 })?;
            self.turn_log(STEPS_MAX);
            self.turn_save(STEPS_MAX)?;
            self.turn_log(STEPS_MAX);
            self.turn_save(STEPS_MAX)?;
            if started {
                break;
            }
        }
        self.after(&Op::Pass { ms: 0 })?;
        self.check_recovered()
    }

    fn act(&mut self, op: &Op) -> Result<(), String> {
        match op {
            Op::Ask { client, request } => self.ask(*client, request),
            Op::Log { turns } => self.turn_log(*turns),
            Op::Save { turns } => self.turn_save(*turns)?,
            Op::Expire => self.expire(),
            Op::Look => self.look()?,
            Op::Pass { ms } => self.world.hands.advance_ms(*ms),
            Op::SetClock { ms } => self.world.hands.step_wall_ms(*ms),
            Op::Fail(fault) => {
                self.checks.removals_fail |= fault.operation.is_none_or(|kind| kind == Operation::Remove);
                self.world.disk.fail(*fault);
            }
            Op::Slow { ms } => self.world.disk.slow_down(*ms),
            Op::Heal => self.world.disk.heal(),
            Op::Disconnect { client } => {
                if let Some(place) = self.places[*client].take() {
                    self.loops[client % LOOPS].disconnect(place);
                }
            }
            Op::Terminate { down } => {
                self.down = *down;
                self.terminate(Shutdown::default());
            }
            Op::Crash { .. } => {}
        }
        Ok(())
    }

    fn ask(&mut self, client: usize, request: &Request) {
        self.look_at(client % LOOPS);
        let now = self.now();
        let on = &mut self.loops[client % LOOPS];
        let place = match self.places[client] {
            Some(place) if on.is_open(place) => place,
            _ => *self.places[client].insert(on.connect()),
        };
        // Clients do not send a request before the last one is answered, so that few happen unobserved in one go.
        if !on.is_waiting(place) {
            let before = (on.log_offset(place), self.world.history.present());
            on.feed(place, &request.encode(now.wall_ms()));
            self.checks.requests += 1;
            let is_answered = on.is_open(place) && !on.is_held(place);
            let is_recorded = on.log_offset(place) != before.0;
            // An error promises nothing, though keys may have been evicted before it.
            let is_error = on.take_output(place).starts_with(b"-");
            if is_answered && !is_error {
                self.note_answer(is_recorded, before.1);
            }
        } else {
            on.take_output(place);
        }
    }

    /// With `always` an answer promises what was written for it, once the log has been in force; whether it has, only its files know.
    fn note_answer(&mut self, is_recorded: bool, before: usize) {
        self.observe();
        let log = &self.services.write_log;
        let promises = self.services.settings.load().appendonly
            && log.policy() == AppendFsync::Always
            && (log.is_in_force() || log.has_failed());
        // While nothing is recorded, what the request has changed is what the client was told.
        let present = self.world.history.present();
        if promises && (is_recorded || !log.is_on() && present != before) {
            self.world.history.promise(present);
        }
    }

    /// Twice, because a key whose time had passed already when it was set is due at the next tick.
    fn expire(&mut self) {
        self.loops.iter_mut().for_each(InProcess::expire);
        self.observe();
        self.world.hands.advance_ms(TICK_MS);
        (0..LOOPS).for_each(|index| self.look_at(index));
        self.loops.iter_mut().for_each(InProcess::expire);
    }

    /// An event loop lets those go on who may, one by one.
    fn look_at(&mut self, index: usize) {
        for _ in 0..STEPS_MAX {
            let now = self.now();
            let more = self.loops[index].look(now);
            self.observe();
            if !more {
                return;
            }
        }
    }

    fn turn_log(&mut self, turns: u32) {
        for _ in 0..turns {
            let now = self.now();
            if !self.log.is_awake(self.log_next, now) {
                return;
            }
            self.log_next = self.log.step(now);
            self.pass_disk_time();
        }
    }

    /// A slow disk takes time.
    fn pass_disk_time(&self) {
        self.world.hands.advance_ms(self.world.disk.take_waited_ms());
    }

    /// The log's thread waits for something that has not come.
    pub fn log_waits(&self) -> bool {
        !self.log.is_awake(self.log_next, self.now())
    }

    /// It has nothing to do, now or later.
    pub fn log_rests(&self) -> bool {
        self.log_waits() && self.log_next == Next::Signal
    }

    /// Steps the log's thread until it waits.
    fn settle_log(&mut self) -> Result<(), String> {
        self.turn_log(STEPS_MAX);
        if self.log_waits() { Ok(()) } else { Err(String::from("the log's thread finds no end")) }
    }

    /// Steps the save that runs, which may be that of the server's end.
    fn turn_save(&mut self, turns: u32) -> Result<(), String> {
        for _ in 0..turns {
            let now = self.now();
            let rings = self.store.bell().rings();
            if let Some(save) = &mut self.save {
                if !is_awake(save.next, save.heard, rings, now) {
                    return Ok(());
                }
                (save.next, save.heard) = (save.task.step(now), rings);
                if save.cut.is_none() && save.task.is_visiting() {
                    save.cut = Some(self.world.history.present());
                    self.checks.note_cut(self.services);
                }
                if save.next == Next::End {
                    self.end_save()?;
                }
            } else if self.ending.as_ref().is_some_and(|ending| ending.task.save().is_some()) {
                if !self.step_end(rings, now) {
                    return Ok(());
                }
            } else {
                return Ok(());
            }
            self.pass_disk_time();
        }
        Ok(())
    }

    fn end_save(&mut self) -> Result<(), String> {
        let Some(save) = self.save.take() else { return Ok(()) };
        self.note_save(save.kind, save.cut, save.task.is_saved());
        self.check_saved()?;
        if let Some(task) = self.saver.begin_scheduled(self.now().steady_ms()) {
            self.begin_save(task);
        }
        Ok(())
    }

    fn begin_save(&mut self, task: SaveTask) {
        let running = self.services.snapshots.state.lock().running;
        let kind = running.map_or(SaveKind::Save, |running| running.kind);
        self.checks.note_try(self.now().steady_ms());
        self.save = Some(Save { task, kind, next: Next::Now, heard: 0, cut: None });
    }

    /// A save has ended whose cut was at a state.
    fn note_save(&mut self, kind: SaveKind, cut: Option<usize>, saved: bool) {
        self.checks.note_save(kind, cut.is_some(), saved, self.now().steady_ms());
        if saved && let Some(cut) = cut {
            self.world.history.promise(cut);
            self.snapshot_of = Some(cut);
        }
    }

    fn look(&mut self) -> Result<(), String> {
        if self.ending.is_some() {
            return Ok(());
        }
        let steady_ms = self.now().steady_ms();
        let scheduled = self.services.snapshots.state.lock().next_scheduled();
        let due = look(self.services, steady_ms);
        self.orders.saves.lock().extend(due);
        self.check_look(scheduled, due)
    }

    /// The server is asked to end, by a signal or by SHUTDOWN.
    fn terminate(&mut self, how: Shutdown) {
        match &mut self.ending {
            Some(ending) => {
                ending.how.force |= how.force;
                ending.how.order = ending.how.order.max(how.order);
            }
            None => {
                let parts = (Arc::clone(self.services), Arc::clone(self.saver));
                let task = EndTask::new(parts.0, parts.1, how.save);
                self.ending =
                    Some(Ending { task, next: Next::Now, heard: 0, how, down: self.down, cut: None });
            }
        }
    }

    /// One step of the server's end; false if that waits.
    fn step_end(&mut self, rings: u64, now: Now) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        if !is_awake(ending.next, ending.heard, rings, now) {
            return false;
        }
        let was_saving = ending.task.save().is_some();
        (ending.next, ending.heard) = (ending.task.step(now), rings);
        if !was_saving && ending.task.save().is_some() {
            self.checks.note_try(now.steady_ms());
        }
        if ending.cut.is_none() && ending.task.save().is_some_and(SaveTask::is_visiting) {
            ending.cut = Some(self.world.history.present());
            self.checks.note_cut(self.services);
        }
        if was_saving && ending.task.save().is_none() {
            // After a save that has failed the log may be enough; then the result comes later.
            let (cut, saved) = (ending.cut, ending.task.result().is_some_and(|result| result.is_ok()));
            self.note_save(SaveKind::Save, cut, saved);
        }
        true
    }

    /// What follows from anything that has happened, and what must hold after it. Gives how it goes on if the server has ended.
    fn after(&mut self, op: &Op) -> Result<Option<Down>, String> {
        let now = self.now();
        (0..LOOPS).for_each(|index| self.look_at(index));
        let saves = std::mem::take(&mut *self.orders.saves.lock());
        for kind in saves {
            self.begin_save(self.saver.begin(kind));
        }
        let shutdowns = std::mem::take(&mut *self.orders.shutdowns.lock());
        for how in shutdowns {
            self.terminate(how);
        }
        if self.ending.as_ref().is_some_and(|ending| ending.task.save().is_none()) {
            self.step_end(self.store.bell().rings(), now);
        }
        self.observe();
        self.check(op)?;
        match self.ending.as_ref().and_then(|ending| ending.task.result()) {
            Some(ready) => self.end(ready),
            None => Ok(None),
        }
    }

    /// Notes the state, and what the log has promised by now.
    fn observe(&mut self) {
        let (log, now) = (&self.services.write_log, self.now());
        let percent = i64::from(self.services.settings.load().expire_log_slack);
        let offset = log.is_on().then(|| log.appended());
        let evicted = self.services.statistics.counters().count(Count::EvictedKeys);
        let history = &mut self.world.history;
        history.observe(&self.services.keyspace, (offset, evicted), now.wall_ms(), percent);
        history.promise_offsets(|offset| log.is_durable(offset));
    }

    /// The server ends, unless it would lose something and was not told to end all the same.
    fn end(&mut self, ready: Result<(), String>) -> Result<Option<Down>, String> {
        let Some(Ending { how, down, cut, .. }) = self.ending.take() else { return Ok(None) };
        if ready.is_err() && !how.force {
            self.services.shutdowns_failed.fetch_max(how.order, Ordering::Release);
            self.services.clients.mailboxes().iter().for_each(|mailbox| mailbox.send(Message::Look));
            return Ok(None);
        }
        let present = self.world.history.present();
        let log = &self.services.write_log;
        let with_log = log.is_on() && log.is_in_force();
        if ready.is_ok()
            && cut.is_none()
            && self.services.settings.load().appendonly
            && how.save != Some(false)
            && log.is_stuck()
            && !log.is_durable(log.appended())
        {
            return Err(String::from("it ends although the disk does not take what its log has"));
        }
        let failures = end_log(self.services);
        self.close_log()?;
        if ready.is_ok() && self.services.write_log.failures() == failures {
            if with_log || self.snapshot_of == Some(present) {
                self.world.history.promise_exactly();
            } else if cut.is_some() {
                // Writes had to wait from before the cut to the end.
                self.world.history.promise(present);
            }
        }
        self.world.disk.power_cut(down.ms as u64);
        self.world.power_was_cut = true;
        Ok(Some(down))
    }

    /// Steps the log's thread to its end.
    fn close_log(&mut self) -> Result<(), String> {
        for _ in 0..STEPS_MAX {
            self.turn_log(STEPS_MAX);
            match self.log_next {
                Next::End => return Ok(()),
                Next::At(steady_ms) => {
                    let wait_ms = steady_ms - self.now().steady_ms();
                    self.world.hands.advance_ms(wait_ms.max(1));
                }
                Next::Now | Next::Signal => break,
            }
        }
        Err(String::from("the log's thread does not end when the server does"))
    }
}

impl Save {
    /// It waits for a ring that has not come since.
    pub fn waits(&self, rings: u64) -> bool {
        self.next == Next::Signal && self.heard == rings
    }
}

/// Whether a thread goes on that waits as a step has said, and had heard so many rings before that.
fn is_awake(next: Next, heard: u64, rings: u64, now: Now) -> bool {
    match next {
        Next::Now => true,
        Next::At(steady_ms) => steady_ms <= now.steady_ms() || rings != heard,
        Next::Signal => rings != heard,
        Next::End => false,
    }
}
