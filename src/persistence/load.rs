//! Loading: the base snapshot on all processors, then the increments of the write log in order. At the start, and again when DEBUG asks for it
//! (`reload.rs`).
//!
//! Clients are answered with LOADING meanwhile. Damage stops the server and is reported with the file, the offset and what can be done;
//! only a last record that was torn when the machine stopped is cut off. Where there is a log, keys that expired while the server was down are
//! removed at the end, not before: until it has been replayed, a record may still depend on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;

use parking_lot::Mutex;

use super::helpers::{MemoryBudget, with_helpers};
use super::store::Store;
use crate::base::clock::{Clock, Now, Stopwatch};
use crate::base::scheduling;
use crate::base::slabs;
use crate::base::step::Next;
use crate::client::{Client, ClientFlags, ClientInfo};
use crate::command::{LoopState, access_rules};
use crate::dispatch::{NO_DATABASE, append_expired, replay};
use crate::keyspace::values;
use crate::keyspace::values::assembly::Assembly;
use crate::keyspace::{AccessRules, LENGTH_MAX, SHARDS, Site, expire_shard};
use crate::resp::{ArgRange, Args, Output, Parser, Step};
use crate::services::Services;
use crate::storage::{
    Damage, EntryRecord, Form, Kind, LogFacts, LogReader, Manifest, Opener, SnapshotFacts, SnapshotReader,
    keep_tail,
};
use crate::write_log::{RECORD_LIMITS, ends_inside};

/// What threads together decompress at a time, at most, unless a single block is larger: a block of 64 KB may stand for 2 GB.
const DECOMPRESSED_MAX: u64 = 256 << 20;

/// Why the data could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    Damage(Damage),
    /// The disk did not do what repairing or beginning a log needs.
    System(std::io::Error),
    /// What another server has left cannot be imported.
    Import(String),
}

impl std::fmt::Display for LoadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoadError::Damage(damage) => write!(f, "{damage}{}", damage.advice()),
            LoadError::System(error) => error.fmt(f),
            LoadError::Import(text) => f.write_str(text),
        }
    }
}

impl From<Damage> for LoadError {
    fn from(damage: Damage) -> LoadError {
        LoadError::Damage(damage)
    }
}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> LoadError {
        LoadError::System(error)
    }
}

/// Loading what a manifest names, in steps: each opens a file, or takes one block of it.
pub struct ManifestLoad<'l> {
    services: &'l Services,
    store: &'l Store,
    manifest: Manifest,
    seed: u64,
    ending: LogEnding,
    /// The log goes on behind what is loaded.
    with_log: bool,
    /// The log's offset behind what is loaded.
    offset: u64,
    state: LoadState<'l>,
}

/// What comes next.
enum LoadState<'l> {
    Snapshot,
    Blocks(Box<SnapshotLoad<'l>>, Opener),
    /// The log of this index among those of the manifest, and the reader of it when it is open.
    Log(Box<Replayer<'l>>, usize, Option<Box<LogReader>>),
    Done {
        records: u64,
    },
}

impl<'l> ManifestLoad<'l> {
    pub fn new(
        services: &'l Services,
        store: &'l Store,
        seed: u64,
        ending: LogEnding,
        with_log: bool,
    ) -> ManifestLoad<'l> {
        let manifest = store.manifest();
        let offset = manifest.logs.first().map_or(0, |log| log.start_offset);
        let state = LoadState::Snapshot;
        ManifestLoad { services, store, manifest, seed, ending, with_log, offset, state }
    }

    /// Loads all of it, with further threads where they help.
    ///
    /// # Errors
    /// See [`LoadError`]; part of the data may be in memory then.
    pub fn run(&mut self, clock: &Clock) -> Result<(), LoadError> {
        while self.step(clock.now())? != Next::End {
            if let LoadState::Blocks(load, _) = &self.state {
                load.run()?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// As [`ManifestLoad::run`].
    pub fn step(&mut self, now: Now) -> Result<Next, LoadError> {
        let done = LoadState::Done { records: 0 };
        self.state = match std::mem::replace(&mut self.state, done) {
            LoadState::Snapshot => match self.manifest.snapshot.clone() {
                Some(facts) => self.open_snapshot(&facts, now)?,
                None => self.first_log(now),
            },
            LoadState::Blocks(load, mut opener) => match load.next_block(&mut opener)? {
                true => LoadState::Blocks(load, opener),
                false => {
                    load.finish()?;
                    self.first_log(now)
                }
            },
            LoadState::Log(replayer, index, reader) => self.log(replayer, index, reader)?,
            LoadState::Done { records } => {
                self.state = LoadState::Done { records };
                return Ok(Next::End);
            }
        };
        Ok(Next::Now)
    }

    /// The log's offset behind the last record, and how many records there were. At the end.
    pub fn result(&self) -> (u64, u64) {
        match self.state {
            LoadState::Done { records } => (self.offset, records),
            _ => (self.offset, 0),
        }
    }

    fn open_snapshot(&mut self, facts: &SnapshotFacts, now: Now) -> Result<LoadState<'l>, LoadError> {
        let reader = SnapshotReader::open_named(&**self.store.disk(), facts, self.store.key())?;
        self.offset = facts.log_offset;
        let mut state = self.services.snapshots.state.lock();
        state.base_bytes = facts.bytes;
        state.base_raw_bytes = reader.blocks().iter().map(|block| u64::from(block.raw_len)).sum();
        state.base_offset = facts.log_offset;
        drop(state);
        // Keys of the base whose time has passed need not be loaded if nothing follows. A log behind it may give such a key another deadline
        // (PEXPIREAT, PERSIST), or have done something only because it was there (SET with XX); and a log that goes on now would meet it
        // again at the next start, if it did not hear that the key is gone (`Expired`).
        let expired = !self.manifest.logs.is_empty() || self.with_log;
        let load = SnapshotLoad::new(self.services, reader, now, LoadRules { expired, replace: false })?;
        let opener = load.opener()?;
        Ok(LoadState::Blocks(Box::new(load), opener))
    }

    fn first_log(&self, now: Now) -> LoadState<'l> {
        let replayer = Replayer::new(self.services, now, self.seed);
        LoadState::Log(Box::new(replayer), 0, None)
    }

    /// Opens the next log, or replays the next block of the one that is open.
    fn log(
        &mut self,
        mut replayer: Box<Replayer<'l>>,
        index: usize,
        reader: Option<Box<LogReader>>,
    ) -> Result<LoadState<'l>, LoadError> {
        let Some(log) = self.manifest.logs.get(index) else {
            return Ok(LoadState::Done { records: replayer.records });
        };
        let Some(mut reader) = reader else {
            let reader = LogReader::open(&**self.store.disk(), log.number, self.store.key())?;
            reader.follows(self.offset)?;
            // Each increment names its databases anew.
            replayer.select_first();
            self.services.snapshots.progress.total_bytes.fetch_add(reader.size(), Ordering::Relaxed);
            return Ok(LoadState::Log(replayer, index, Some(Box::new(reader))));
        };
        let is_last = index + 1 == self.manifest.logs.len();
        let ending = if is_last { self.ending } else { LogEnding::Whole };
        Ok(match replay_block(&mut replayer, self.store, &mut reader, ending)? {
            Some(bytes) => {
                self.offset += bytes;
                LoadState::Log(replayer, index, Some(reader))
            }
            None => LoadState::Log(replayer, index + 1, None),
        })
    }
}

/// What becomes of a snapshot's entries.
#[derive(Clone, Copy, Debug)]
pub struct LoadRules {
    /// Keys whose time has passed are loaded, too; somebody removes them later.
    pub expired: bool,
    /// A key that is in memory already is replaced. Without this it is damage.
    pub replace: bool,
}

/// A snapshot on its way into the keyspace, block by block, in any order.
pub struct SnapshotLoad<'l> {
    services: &'l Services,
    reader: SnapshotReader,
    rules: LoadRules,
    access: AccessRules,
    now: Now,
    next_block: AtomicUsize,
    /// Of [`DECOMPRESSED_MAX`] bytes.
    budget: MemoryBudget,
    /// Large collections that are not complete yet.
    assembly: Mutex<Assembly<OwnedRecord>>,
}

/// What the head of a large collection says of its entry.
struct OwnedRecord {
    database: u32,
    kind: Kind,
    expire_at_ms: Option<u64>,
    access: u32,
    key: Vec<u8>,
}

impl OwnedRecord {
    fn of(record: &EntryRecord<'_>) -> OwnedRecord {
        let EntryRecord { database, kind, expire_at_ms, access, key, .. } = *record;
        OwnedRecord { database, kind, expire_at_ms, access, key: key.to_vec() }
    }

    /// The record of the whole collection.
    fn record<'r>(&'r self, value: &'r [u8]) -> EntryRecord<'r> {
        let OwnedRecord { database, kind, expire_at_ms, access, ref key } = *self;
        EntryRecord { database, kind, form: Form::Large, expire_at_ms, access, key, value }
    }
}

impl<'l> SnapshotLoad<'l> {
    /// # Errors
    /// If it has keys that this server has no place for.
    pub fn new(
        services: &'l Services,
        reader: SnapshotReader,
        now: Now,
        rules: LoadRules,
    ) -> Result<SnapshotLoad<'l>, Damage> {
        if let Some(count) =
            reader.counts().iter().find(|count| count.database as usize >= services.keyspace.databases())
        {
            let (database, databases) = (count.database, services.keyspace.databases());
            let what = format!("it has keys in database {database}, and databases is {databases}");
            return Err(reader.damage("").misfit(what));
        }
        services.snapshots.progress.total_bytes.fetch_add(reader.size(), Ordering::Relaxed);
        let access = access_rules(&services.settings.load());
        let (next_block, budget) = (AtomicUsize::new(0), MemoryBudget::new(DECOMPRESSED_MAX));
        let assembly = Mutex::default();
        let load = SnapshotLoad { services, reader, rules, access, now, next_block, budget, assembly };
        load.reserve();
        Ok(load)
    }

    /// Loads what is left of the blocks, on one thread for each processor.
    ///
    /// # Errors
    /// Damage; part of the snapshot may be in memory then.
    pub fn run(&self) -> Result<(), Damage> {
        let helpers = scheduling::processors().saturating_sub(1);
        let panicked = || Err(self.reader.damage("a thread that loaded it has panicked"));
        let results =
            with_helpers(helpers, || Builder::new().name("load".into()), || self.blocks(), panicked);
        results.into_iter().collect::<Result<(), Damage>>()?;
        self.finish()
    }

    fn opener(&self) -> Result<Opener, Damage> {
        Opener::new().map_err(|error| self.reader.damage(error.to_string()))
    }

    /// Makes the tables as large as they will be, so that none grows step by step. Entries that take less than a byte of the file each are no
    /// sessions: for what an index may claim, no memory is taken before it is there.
    fn reserve(&self) {
        let keyspace = &self.services.keyspace;
        if self.reader.entries() > self.reader.size() {
            return;
        }
        for count in self.reader.counts() {
            let (database, shard) = (count.database as usize, usize::from(count.shard));
            if shard < SHARDS {
                let site = Site { keyspace, database, shard, now_ms: self.now.wall_ms() };
                keyspace.lock_shard(shard).partition_mut(database).reserve(site, count.entries as usize);
            }
        }
    }

    /// Loads blocks until none is left.
    fn blocks(&self) -> Result<(), Damage> {
        slabs::prefer_huge_pages();
        let mut opener = self.opener()?;
        while self.next_block(&mut opener)? {}
        Ok(())
    }

    /// Loads a block that nobody has begun; false if there is none.
    fn next_block(&self, opener: &mut Opener) -> Result<bool, Damage> {
        let progress = &self.services.snapshots.progress;
        let block = self.next_block.fetch_add(1, Ordering::Relaxed);
        let Some(facts) = self.reader.blocks().get(block) else { return Ok(false) };
        let share = self.budget.take(u64::from(facts.raw_len));
        let entries = self.reader.read_block(block, opener).inspect_err(|_| {
            // The other threads need not go on.
            self.next_block.store(self.reader.blocks().len(), Ordering::Relaxed);
        })?;
        let (mut expired, mut leaves) = (0, 0);
        for record in entries {
            let record = record?;
            let is_expired = deadline_ms(&record).is_some_and(|at_ms| at_ms <= self.now.wall_ms());
            let is_whole = matches!(record.form, Form::Small | Form::Large);
            leaves += u64::from(record.form == Form::Leaf);
            // Of what is in parts all is needed: whoever drops the head would have to know its leaves.
            if is_expired && !self.rules.expired && is_whole {
                expired += 1;
            } else {
                self.take(&record)?;
            }
        }
        opener.forget_large();
        drop(share);
        progress.expired_keys.fetch_add(expired, Ordering::Relaxed);
        progress.loaded_keys.fetch_add(u64::from(facts.entries) - expired - leaves, Ordering::Relaxed);
        progress.loaded_bytes.fetch_add(u64::from(facts.stored_len), Ordering::Relaxed);
        Ok(true)
    }

    /// Takes a record in: an entry at once, a part of a large collection when the others are there.
    fn take(&self, record: &EntryRecord<'_>) -> Result<(), Damage> {
        let complete = match record.form {
            Form::Small | Form::Large => return self.insert(record),
            Form::Head => {
                let entry = OwnedRecord::of(record);
                self.assembly.lock().head(entry, record.kind, record.value)
            }
            Form::Leaf => self.assembly.lock().leaf(record.value),
        };
        match complete.map_err(|what| self.reader.damage(what))? {
            None => Ok(()),
            Some((entry, whole)) => self.insert(&entry.record(&whole)),
        }
    }

    /// Called when no block is left.
    ///
    /// # Errors
    /// If a large collection is not complete.
    fn finish(&self) -> Result<(), Damage> {
        let complete = self.assembly.lock().is_empty();
        if complete { Ok(()) } else { Err(self.reader.damage("a large value is not complete")) }
    }

    fn insert(&self, record: &EntryRecord<'_>) -> Result<(), Damage> {
        let (keyspace, database) = (&self.services.keyspace, record.database as usize);
        if database >= keyspace.databases()
            || record.key.len() > LENGTH_MAX
            || record.value.len() > LENGTH_MAX && record.form == Form::Small
        {
            let what = "an entry is in no database of this server, or longer than any may be";
            return Err(self.reader.damage(what));
        }
        let key = keyspace.key(record.key);
        let site = Site { keyspace, database, shard: key.shard, now_ms: self.now.wall_ms() };
        // The history of another kind of policy means nothing here.
        let is_known = self.reader.header().lfu == self.access.lfu;
        let access = if is_known { record.access } else { self.access.fresh(self.now.steady_ms()) };
        let entry = values::load(keyspace, record.key, record.kind, record.form == Form::Large, record.value)
            .map_err(|what| self.reader.damage(what))?
            .with_access(access);
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(database);
        if let Some(position) = partition.find(key.hash, key.bytes) {
            if !self.rules.replace {
                return Err(self.reader.damage("a key is in it twice"));
            }
            drop(partition.remove(site, position));
        }
        let position = partition.insert(site, key.hash, entry);
        partition.set_expire_at_ms(site, position, key.hash, deadline_ms(record), 0);
        Ok(())
    }
}

fn deadline_ms(record: &EntryRecord<'_>) -> Option<i64> {
    record.expire_at_ms.map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX))
}

/// Whether some key of a snapshot is in memory already; those whose time has passed do not count.
///
/// # Errors
/// Damage of the snapshot.
pub fn meets_keys(services: &Services, reader: &SnapshotReader, now_ms: i64) -> Result<bool, Damage> {
    let mut opener = Opener::new().map_err(|error| reader.damage(error.to_string()))?;
    for block in 0..reader.blocks().len() {
        for record in reader.read_block(block, &mut opener)? {
            let record = record?;
            let (key, database) = (services.keyspace.key(record.key), record.database as usize);
            if database >= services.keyspace.databases()
                || deadline_ms(&record).is_some_and(|at_ms| at_ms <= now_ms)
            {
                continue;
            }
            let shard = services.keyspace.lock_shard(key.shard);
            if shard.partition(database).find(key.hash, key.bytes).is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// How the end of a log is to be treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEnding {
    /// The last log of a server that has ended, perhaps by a kill: zeros and a torn block behind its last record are cut off.
    Cut,
    /// Another log follows, so it was ended in an orderly way.
    Whole,
    /// It is still open, with nothing on its way into it, and is left alone.
    Open,
}

/// What replays records: a client that nobody sees.
pub struct Replayer<'s> {
    state: LoopState<'s>,
    client: Client,
    ranges: Vec<ArgRange>,
    reply: Output,
    records: u64,
    /// The records so far end inside a transaction, whose end is known to be there.
    inside: bool,
}

impl<'s> Replayer<'s> {
    pub fn new(services: &'s Services, now: Now, seed: u64) -> Replayer<'s> {
        // The statistics of the control thread: no event loop's numbers change by loading.
        let loops = services.identity.loops;
        let mut state = LoopState::new(services, loops, seed, Stopwatch::calibrated());
        state.set_now(now);
        state.begin_replay();
        let address = String::from("replay");
        let flags = ClientFlags::default();
        let info = ClientInfo::new(0, address, String::new(), -1, loops, 0, now.steady_ms(), flags);
        let client = Client::new(Arc::new(info), false);
        Replayer { state, client, ranges: Vec::new(), reply: Output::default(), records: 0, inside: false }
    }

    /// How many records were done.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// What follows selects its databases anew.
    pub fn select_first(&mut self) {
        self.client.database = 0;
    }

    /// Does one record again.
    pub fn record(&mut self, args: Args<'_>) -> Result<(), String> {
        replay(&mut self.state, &mut self.client, args, &mut self.reply)?;
        self.records += 1;
        Ok(())
    }

    /// Does the records of one block again.
    fn block(&mut self, records: &[u8]) -> Result<(), String> {
        let mut parser = Parser::default();
        while parser.at < records.len() {
            self.ranges.clear();
            match parser.advance(records, &RECORD_LIMITS, &mut self.ranges) {
                Ok(Step::Request) if !self.ranges.is_empty() => {
                    let args = Args::new(records, &self.ranges);
                    replay(&mut self.state, &mut self.client, args, &mut self.reply)?;
                    self.records += 1;
                }
                Ok(Step::Request) => {}
                Ok(Step::Inline(_) | Step::Incomplete) => {
                    return Err(String::from("a record that ends early"));
                }
                Err(error) => return Err(format!("a record that cannot be read: {error}")),
            }
        }
        Ok(())
    }
}

/// Replays the next block of an increment, and gives how many bytes of records it had; `None` at the end, which is treated as `ending` says.
fn replay_block(
    replayer: &mut Replayer<'_>,
    store: &Store,
    reader: &mut LogReader,
    ending: LogEnding,
) -> Result<Option<u64>, LoadError> {
    let place = reader.end().offset;
    let number = reader.header().number;
    let name = LogFacts::name_of(number);
    match reader.next_block() {
        Ok(Some(records)) => {
            let bytes = records.len() as u64;
            let done = match ends_inside(records, replayer.inside) {
                Ok(true) if !replayer.inside && !has_end(store, number, place)? => {
                    return end_unfinished(replayer, store, reader, place, ending);
                }
                Ok(inside) => {
                    replayer.inside = inside;
                    replayer.block(records)
                }
                Err(what) => Err(what),
            };
            done.map_err(|what| match what.ends_with(NO_DATABASE) {
                true => reader.damage_at(place, "").misfit(format!("it has {what}")),
                false => reader.damage_at(place, format!("the block has {what}")),
            })?;
            let progress = &replayer.state.services.snapshots.progress;
            progress.loaded_bytes.fetch_add(reader.end().offset - place, Ordering::Relaxed);
            Ok(Some(bytes))
        }
        Ok(None) => {
            if ending == LogEnding::Cut {
                // What a killed server left may be in the system's memory alone, and the next increment must not outlive it.
                keep_tail(&**store.disk(), &name, reader.proven_end(), place)?;
            }
            Ok(None)
        }
        Err(damage) if damage.is_torn_tail() && ending == LogEnding::Cut => {
            if !replayer.state.config.aof_load_truncated {
                return Err(damage.into());
            }
            tracing::warn!(%damage, "the last record of the write log was torn and is cut off");
            keep_tail(&**store.disk(), &name, reader.proven_end(), place)?;
            Ok(None)
        }
        Err(damage) => Err(damage.into()),
    }
}

/// Whether the transaction that begins in the block at `place`, and does not end there, ends in a later one. For that the log is read ahead; no more
/// than one block of it is in memory, and few transactions are so large.
fn has_end(store: &Store, number: u64, place: u64) -> Result<bool, LoadError> {
    let mut reader = LogReader::open(&**store.disk(), number, store.key())?;
    let mut inside = false;
    loop {
        let at = reader.end().offset;
        let ended = match reader.next_block() {
            Ok(Some(_)) if at < place => continue,
            Ok(Some(records)) => ends_inside(records, inside),
            Ok(None) => return Ok(false),
            Err(damage) if damage.is_torn_tail() => return Ok(false),
            Err(damage) => return Err(damage.into()),
        };
        inside = ended.map_err(|what| reader.damage_at(at, format!("the block has {what}")))?;
        if !inside {
            return Ok(true);
        }
    }
}

/// The last transaction is not whole: nothing of it counts, and it must not be in front of what is recorded from now on.
fn end_unfinished(
    replayer: &Replayer<'_>,
    store: &Store,
    reader: &LogReader,
    place: u64,
    ending: LogEnding,
) -> Result<Option<u64>, LoadError> {
    let damage = reader.unfinished(place);
    if ending != LogEnding::Cut || !replayer.state.config.aof_load_truncated {
        return Err(damage.into());
    }
    tracing::warn!(%damage, "the last transaction of the write log is not whole and is cut off");
    let name = LogFacts::name_of(reader.header().number);
    keep_tail(&**store.disk(), &name, reader.proven_end().min(place), place)?;
    Ok(None)
}

/// Removing the keys whose time passed while the server was down, and those whose time passed during the load, shard by shard. The write log
/// hears of it; when it has no room, as on a full disk, the rest is left to active expiry, which waits until it has.
pub struct Expired<'l> {
    services: &'l Services,
    shard: usize,
    /// The log had no room once.
    has_waited: bool,
}

impl<'l> Expired<'l> {
    pub fn new(services: &'l Services) -> Expired<'l> {
        Expired { services, shard: 0, has_waited: false }
    }

    pub fn run(&mut self, clock: &Clock) {
        let log = &self.services.write_log;
        loop {
            match self.step(clock.now()) {
                Next::End => return,
                Next::Now => {}
                Next::At(_) | Next::Signal => drop(log.sync_and_wait()),
            }
        }
    }

    /// One shard, which is small enough to be done at once. [`Next::Signal`]: when the log has room, or is stuck.
    pub fn step(&mut self, now: Now) -> Next {
        let (services, log) = (self.services, &self.services.write_log);
        if self.shard == SHARDS || self.has_waited && log.is_stuck() {
            return Next::End;
        }
        if log.is_full() {
            self.has_waited = true;
            return Next::Signal;
        }
        services.keyspace.follow(now);
        let (mut budget, mut expired) = (usize::MAX, 0);
        expire_shard(&services.keyspace, self.shard, now.wall_ms(), &mut budget, |database, what| {
            expired += u64::from(matches!(what, crate::keyspace::Expired::Key(_)));
            append_expired(log, database, &what);
        });
        services.snapshots.progress.expired_keys.fetch_add(expired, Ordering::Relaxed);
        self.shard += 1;
        Next::Now
    }
}
