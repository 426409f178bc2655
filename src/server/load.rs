//! Loading at the start: the base snapshot on all processors, then the increments of the write log in order.
//!
//! Clients are answered with LOADING meanwhile. Damage stops the server and is reported with the file, the offset and what can be done;
//! only a last record that was torn when the machine stopped is cut off. Where there is a log, keys that expired while the server was down are
//! removed at the end, not before: until it has been replayed, a record may still depend on them.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::store::Store;
use super::system;
use crate::base::clock::{Clock, Stopwatch};
use crate::base::slabs;
use crate::client::{Client, ClientFlags, ClientInfo};
use crate::command::{LoopState, access_rules};
use crate::dispatch::{append_removal, begin_replay, replay};
use crate::keyspace::{AccessRules, Entry, LENGTH_MAX, SHARDS, Site, expire_shard};
use crate::rdb;
use crate::resp::{ArgRange, Args, Parser, Step};
use crate::services::Services;
use crate::storage::{Damage, EntryRecord, LogFacts, LogReader, Mark, Opener, SnapshotReader, cut_tail};
use crate::write_log::RECORD_LIMITS;

/// How much of an RDB file is read at once.
const IMPORT_BUFFER: usize = 256 * 1024;

/// Why the data could not be loaded.
#[derive(Debug)]
pub enum LoadError {
    Damage(Damage),
    /// The disk did not do what repairing or beginning a log needs.
    System(std::io::Error),
    /// `dump.rdb` cannot be imported.
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

/// Loads what the manifest names. Gives the write log's offset behind the last record. `with_log` says whether the log goes on then.
///
/// # Errors
/// See [`LoadError`]; part of the data may be in memory then.
pub fn load(
    services: &Services,
    store: &Store,
    clock: &Clock,
    seed: u64,
    with_log: bool,
) -> Result<u64, LoadError> {
    let manifest = store.manifest();
    let progress = &services.snapshots.progress;
    let mut offset = 0;
    let started_ms = clock.now_ms();
    if let Some(facts) = &manifest.snapshot {
        progress.total_bytes.store(facts.bytes, Ordering::Relaxed);
        let reader = SnapshotReader::open_named(&**store.disk(), facts, store.key())?;
        // Keys of the base whose time has passed need not be loaded if nothing follows. A log behind it may give such a key another deadline
        // (PEXPIREAT, PERSIST), or have done something only because it was there (SET with XX); and a log that goes on now would meet it
        // again at the next start, if it did not hear that the key is gone (`remove_expired`).
        let skips_expired = manifest.logs.is_empty() && !with_log;
        load_snapshot(services, &reader, clock.now_ms(), skips_expired)?;
        offset = facts.log_offset;
        let mut state = services.snapshots.state.lock();
        state.base_bytes = facts.bytes;
        state.base_raw_bytes = reader.blocks().iter().map(|block| u64::from(block.raw_len)).sum();
        state.base_offset = facts.log_offset;
        state.last_save_ms = facts.created_ms as i64;
    }
    let mut replayer = Replayer::new(services, clock.now_us(), seed);
    if let (None, Some(log)) = (&manifest.snapshot, manifest.logs.first()) {
        offset = log.start_offset;
    }
    for (index, log) in manifest.logs.iter().enumerate() {
        let is_last = index + 1 == manifest.logs.len();
        offset = replay_log(&mut replayer, store, log.number, offset, is_last)?;
    }
    let milliseconds = clock.now_ms() - started_ms;
    if !store.is_new() {
        let keys = progress.loaded_keys.load(Ordering::Relaxed);
        tracing::info!(keys, records = replayer.records, milliseconds, "data loaded");
    }
    Ok(offset)
}

/// Loads a snapshot's blocks, on one thread for each processor.
fn load_snapshot(
    services: &Services,
    reader: &SnapshotReader,
    now_ms: i64,
    skips_expired: bool,
) -> Result<(), Damage> {
    if let Some(count) =
        reader.counts().iter().find(|count| count.database as usize >= services.keyspace.databases())
    {
        let text = format!(
            "it has keys in database {}, which this server does not have (see databases)",
            count.database
        );
        return Err(reader.damage(text));
    }
    reserve(services, reader, now_ms);
    let rules = access_rules(&services.settings.load());
    let next_block = AtomicUsize::new(0);
    let loading = BaseLoading { services, reader, next_block, rules, now_ms, skips_expired };
    let work = || loading.load_blocks();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..system::processors().len().max(1)).map(|_| scope.spawn(work)).collect();
        let mut result = work();
        for thread in threads {
            let other =
                thread.join().unwrap_or_else(|_| Err(reader.damage("a thread that loaded it has panicked")));
            result = result.and(other);
        }
        result
    })
}

/// Makes the tables as large as they will be, so that none grows step by step. Entries that take less than a byte of the file each are no
/// sessions: for what an index may claim, no memory is taken before it is there.
fn reserve(services: &Services, reader: &SnapshotReader, now_ms: i64) {
    let keyspace = &services.keyspace;
    if reader.entries() > reader.size() {
        return;
    }
    for count in reader.counts() {
        let (database, shard) = (count.database as usize, usize::from(count.shard));
        if shard < SHARDS {
            let site = Site { keyspace, database, shard, now_ms };
            keyspace.lock_shard(shard).partition_mut(database).reserve(site, count.entries as usize);
        }
    }
}

/// What the threads that load a base share.
struct BaseLoading<'s> {
    services: &'s Services,
    reader: &'s SnapshotReader,
    next_block: AtomicUsize,
    rules: AccessRules,
    now_ms: i64,
    skips_expired: bool,
}

impl BaseLoading<'_> {
    /// Loads blocks until none is left.
    fn load_blocks(&self) -> Result<(), Damage> {
        slabs::prefer_huge_pages();
        let reader = self.reader;
        let mut opener = Opener::new().map_err(|error| reader.damage(error.to_string()))?;
        let progress = &self.services.snapshots.progress;
        loop {
            let block = self.next_block.fetch_add(1, Ordering::Relaxed);
            let Some(facts) = reader.blocks().get(block) else { return Ok(()) };
            let expired = self.load_block(block, &mut opener).inspect_err(|_| {
                // The other threads need not go on.
                self.next_block.store(reader.blocks().len(), Ordering::Relaxed);
            })?;
            progress.expired_keys.fetch_add(expired, Ordering::Relaxed);
            progress.loaded_keys.fetch_add(u64::from(facts.entries) - expired, Ordering::Relaxed);
            progress.loaded_bytes.fetch_add(u64::from(facts.stored_len), Ordering::Relaxed);
        }
    }

    /// Loads the entries of one block. Gives how many were left out.
    fn load_block(&self, block: usize, opener: &mut Opener) -> Result<u64, Damage> {
        let mut expired = 0;
        for record in self.reader.read_block(block, opener)? {
            let record = record?;
            if self.skips_expired && record.expire_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms as u64) {
                expired += 1;
            } else {
                self.insert(&record)?;
            }
        }
        Ok(expired)
    }

    fn insert(&self, record: &EntryRecord<'_>) -> Result<(), Damage> {
        let (keyspace, database, now_ms) = (&self.services.keyspace, record.database as usize, self.now_ms);
        if database >= keyspace.databases()
            || record.key.len() > LENGTH_MAX
            || record.value.len() > LENGTH_MAX
        {
            return Err(self
                .reader
                .damage("an entry is in no database of this server, or longer than any may be"));
        }
        let key = keyspace.key(record.key);
        let site = Site { keyspace, database, shard: key.shard, now_ms };
        let mut entry = Entry::new(record.key, record.value);
        let mut view = entry.view_mut();
        // The history of another kind of policy means nothing here.
        let is_known = self.reader.header().lfu == self.rules.lfu;
        view.set_access(if is_known { record.access } else { self.rules.fresh(now_ms) });
        match record.mark {
            Mark::None => {}
            Mark::Raw => view.set_raw(true),
            Mark::Text => view.set_text(),
        }
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(database);
        if partition.find(key.hash, key.bytes).is_some() {
            return Err(self.reader.damage("a key is in it twice"));
        }
        let position = partition.insert(site, key.hash, entry);
        let at_ms = record.expire_at_ms.map(|at_ms| i64::try_from(at_ms).unwrap_or(i64::MAX));
        partition.set_expire_at_ms(site, position, key.hash, at_ms, 0);
        Ok(())
    }
}

/// What replays records: a client that nobody sees.
struct Replayer<'s> {
    state: LoopState<'s>,
    client: Client,
    ranges: Vec<ArgRange>,
    reply: Vec<u8>,
    records: u64,
}

impl<'s> Replayer<'s> {
    fn new(services: &'s Services, now_us: i64, seed: u64) -> Replayer<'s> {
        // The statistics of the control thread: no event loop's numbers change by loading.
        let loops = services.identity.loops;
        let mut state = LoopState::new(services, loops, seed, Stopwatch::calibrated());
        state.set_now_us(now_us);
        begin_replay(&mut state);
        let address = String::from("replay");
        let flags = ClientFlags::default();
        let info = ClientInfo::new(0, address, String::new(), -1, loops, 0, now_us / 1000, flags);
        let client = Client::new(Arc::new(info), false);
        Replayer { state, client, ranges: Vec::new(), reply: Vec::new(), records: 0 }
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

/// Replays one increment, which follows what ends at `before`; gives the offset behind it.
fn replay_log(
    replayer: &mut Replayer<'_>,
    store: &Store,
    number: u64,
    before: u64,
    is_last: bool,
) -> Result<u64, LoadError> {
    let disk = &**store.disk();
    let mut reader = LogReader::open(disk, number, store.key())?;
    reader.follows(before)?;
    let mut offset = before;
    // Each increment names its databases anew.
    replayer.client.database = 0;
    let progress = &replayer.state.services.snapshots.progress;
    progress.total_bytes.fetch_add(reader.size(), Ordering::Relaxed);
    loop {
        let place = reader.end().offset;
        match reader.next_block() {
            Ok(Some(records)) => {
                offset += records.len() as u64;
                let done = replayer.block(records);
                done.map_err(|what| reader.damage_at(place, format!("the block has {what}")))?;
                progress.loaded_bytes.fetch_add(reader.end().offset - place, Ordering::Relaxed);
            }
            Ok(None) => {
                if is_last {
                    // What a killed server left may be in the system's memory alone, and the next increment must not outlive it.
                    cut_tail(disk, &LogFacts::name_of(number), place)?;
                }
                return Ok(offset);
            }
            Err(damage) if damage.is_torn_tail() && is_last => {
                if !replayer.state.config.aof_load_truncated {
                    return Err(damage.into());
                }
                tracing::warn!(%damage, "the last record of the write log was torn and is cut off");
                cut_tail(disk, &LogFacts::name_of(number), place)?;
                return Ok(offset);
            }
            Err(damage) => return Err(damage.into()),
        }
    }
}

/// Imports the RDB file that lies in a directory without data of ours, if there is one. Says whether there was.
///
/// # Errors
/// When it cannot be read to its end; nothing was written then.
pub fn import_dump(services: &Services, store: &Store, now_ms: i64) -> Result<bool, LoadError> {
    let config = services.settings.load();
    let path = Path::new(&config.dir).join(&config.dbfilename);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(LoadError::Import(format!("{}: {error}", path.display()))),
    };
    debug_assert!(store.is_new(), "who has data of ours keeps that");
    let failed = |error: rdb::Error| LoadError::Import(format!("{}: {error}", path.display()));
    let mut reader = rdb::Reader::new(BufReader::with_capacity(IMPORT_BUFFER, file)).map_err(failed)?;
    let progress = &services.snapshots.progress;
    let rules = access_rules(&config);
    let mut keys = 0;
    while let Some(record) = reader.next_record().map_err(failed)? {
        if record.database as usize >= services.keyspace.databases() {
            let text = format!(
                "{}: it has keys in database {}, which this server does not have (see databases)",
                path.display(),
                record.database
            );
            return Err(LoadError::Import(text));
        }
        if record.expire_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            import(services, &record, rules, now_ms);
            keys += 1;
            progress.loaded_keys.fetch_add(1, Ordering::Relaxed);
        }
    }
    let skipped = reader.skipped().count();
    let file = path.display();
    if skipped > 0 {
        tracing::warn!(
            keys,
            skipped,
            "imported {file}, but for keys of types that do not exist here: {}",
            reader.skipped()
        );
    } else {
        tracing::info!(keys, "imported {file}");
    }
    Ok(true)
}

fn import(services: &Services, record: &rdb::Record, rules: AccessRules, now_ms: i64) {
    let keyspace = &services.keyspace;
    let key = keyspace.key(&record.key);
    let site = Site { keyspace, database: record.database as usize, shard: key.shard, now_ms };
    let mut shard = keyspace.lock_shard(key.shard);
    let partition = shard.partition_mut(site.database);
    if let Some(position) = partition.find(key.hash, key.bytes) {
        drop(partition.remove(site, position));
    }
    let mut entry = Entry::new(&record.key, &record.value);
    entry.view_mut().set_access(match record.access {
        Some(rdb::Access::IdleSeconds(seconds)) => {
            rules.idle(i64::try_from(seconds).unwrap_or(i64::MAX), now_ms)
        }
        Some(rdb::Access::Frequency(counter)) => rules.frequency(counter, now_ms),
        None => rules.fresh(now_ms),
    });
    let position = partition.insert(site, key.hash, entry);
    partition.set_expire_at_ms(site, position, key.hash, record.expire_at_ms, 0);
}

/// Removes the keys whose time passed while the server was down, and those whose time passed during the load. The write log hears of it; when
/// it has no room, as on a full disk, the rest is left to active expiry, which waits until it has.
pub fn remove_expired(services: &Services, now_ms: i64) {
    let (mut expired, log) = (0, &services.write_log);
    for shard in 0..SHARDS {
        if log.is_full() && !log.sync_and_wait() {
            break;
        }
        // A shard's part is small enough to be done at once.
        let mut budget = usize::MAX;
        expire_shard(&services.keyspace, shard, now_ms, &mut budget, |database, entry| {
            expired += 1;
            append_removal(log, database, entry.view().key());
        });
    }
    services.snapshots.progress.expired_keys.fetch_add(expired, Ordering::Relaxed);
}
