//! The world: a disk, two clocks, and one life of a server after the other.

use std::slice::Iter;
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::history::History;
use super::life::Life;
use super::plan::{Down, Op, Plan, Start};
use super::requests::DATABASES;
use crate::base::clock::{Clock, Hands};
use crate::base::waiting::may_wait;
use crate::client::{MigrationOrder, ReloadOrder};
use crate::config::Config;
use crate::maintenance::count_records;
use crate::persistence::{Saver, Store};
use crate::services::{Control, Services, Shutdown};
use crate::snapshot::SaveKind;
use crate::storage::{self, Disk, OurFile, Problem};
use crate::testing::in_process::{START_MS, services_with};
use crate::testing::power_cut_disk::{Fault, PowerCutDisk};

pub const LOOPS: usize = 2;
/// A file of another program in the data directory.
const FOREIGN: (&str, &[u8]) = ("temp-4711.rdb", b"of Redis");

/// Runs a plan to its end.
pub fn run(plan: &Plan) -> Result<(), String> {
    let (clock, hands) = Clock::manual(START_MS);
    let (disk, history) = (PowerCutDisk::new(), History::new());
    disk.put(FOREIGN.0, FOREIGN.1);
    let mut world = World { disk, clock, hands, history, start: plan.start, power_was_cut: true };
    let mut ops = plan.ops.iter();
    while let Some(down) = world.live(&mut ops)? {
        world.hands.advance_ms(down.ms);
        world.hands.step_wall_ms(down.clock_ms);
        world.start = down.start;
    }
    // What the orderly end has left.
    world.start.fault = None;
    world.live(&mut [].iter()).map(|_| ())
}

/// What outlives a server.
pub struct World {
    pub disk: PowerCutDisk,
    pub clock: Clock,
    pub hands: Arc<Hands>,
    pub history: History,
    pub start: Start,
    /// All that is on the disk is there for good.
    pub power_was_cut: bool,
}

/// What the server asks of its control thread.
#[derive(Default)]
pub struct Orders {
    services: OnceLock<Weak<Services>>,
    pub saves: Mutex<Vec<SaveKind>>,
    pub shutdowns: Mutex<Vec<Shutdown>>,
}

struct Controlled(Arc<Orders>);

impl Control for Controlled {
    fn apply(&self, _old: &Config, new: &Config) -> Result<(), (String, String)> {
        may_wait();
        if let Some(services) = self.0.services.get().and_then(Weak::upgrade) {
            services.take_effect(new);
        }
        Ok(())
    }

    fn shut_down(&self, how: Shutdown) {
        self.0.shutdowns.lock().push(how);
    }

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
        if let Some(fault) = self.start.fault {
            self.start_in_vain(fault)?;
        }
        self.begin(|mut life| {
            life.load()?;
            life.run(ops)
        })
    }

    /// A start from a disk that fails. It may be refused; then nothing is lost by it.
    fn start_in_vain(&mut self, fault: Fault) -> Result<(), String> {
        let before = self.finished_files();
        self.disk.fail(fault);
        let refused = self.begin(|mut life| life.try_to_load());
        self.disk.heal();
        let after = self.finished_files();
        let lost: Vec<&String> = before.iter().filter(|name| !after.contains(name)).collect();
        match refused {
            Err(refused) if !lost.is_empty() => {
                Err(format!("a start was refused ({refused}) and has removed {lost:?}"))
            }
            // A server that has loaded is killed here: it has promised nothing.
            _ => Ok(()),
        }
    }

    fn begin<T>(&mut self, live: impl FnOnce(Life<'_, '_>) -> Result<T, String>) -> Result<T, String> {
        let orders = Arc::new(Orders::default());
        let control = Box::new(Controlled(Arc::clone(&orders)));
        let now = self.clock.now();
        let services = Arc::new(services_with(self.config(), LOOPS, control, now));
        let _ = orders.services.set(Arc::downgrade(&services));
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let store = Arc::new(Store::on(disk, None, None).map_err(|error| format!("no store: {error}"))?);
        let saver = Arc::new(Saver::new(Arc::clone(&services), Arc::clone(&store), self.clock.clone()));
        live(Life::new(self, &services, &store, &saver, orders))
    }

    /// What `cloakroom check` says: sound, but for the end of the last log, which a crash may tear. Files of others are as they were.
    fn check_files(&self) -> Result<(), String> {
        if self.disk.contents(FOREIGN.0).as_deref() != Some(FOREIGN.1) {
            return Err(format!("{} is gone, which is another program's", FOREIGN.0));
        }
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

    /// Files that may hold data.
    fn finished_files(&self) -> Vec<String> {
        let names = self.disk.list().unwrap_or_default();
        names.into_iter().filter(|name| OurFile::of(name).is_none_or(OurFile::is_finished)).collect()
    }

    fn config(&self) -> Config {
        let mut config = Config::default();
        config.databases = DATABASES as u32;
        config.dir = String::from("/no/such/directory");
        config.snapshot_compression = false;
        config.maxmemory_eviction_tenacity = 100;
        config.appendonly = self.start.appendonly;
        config.appendfsync = self.start.policy;
        if self.start.small_leaves {
            config.collection_leaf_bytes = 64;
        }
        if self.start.tight {
            config.write_log_buffer_limit = LIMIT_BYTES;
        }
        let save: &[u8] = if self.start.saves { b"1 3" } else { b"" };
        config.set(&[(b"save", save)], true).expect("save points are valid")
    }
}

/// `write-log-buffer-limit` where there is little room.
pub const LIMIT_BYTES: u64 = 8 * 1024;
