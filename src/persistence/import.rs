//! What another server has left in a directory without data of ours: Redis's append-only log, or else its RDB file.
//!
//! Which of the two counts is what Redis would say: with a log the RDB file is older, or as old. What cannot be brought whole refuses the start, so
//! that nobody is served what was true some time ago. Nothing of the other server is changed; what was imported is saved before
//! anything else is recorded, and from then on the directory is ours.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::atomic::Ordering;

use super::load::{LoadError, Replayer};
use super::redis_log::{RecordError, Records, RedisLog, extent_of, is};
use super::store::Store;
use crate::base::clock::Now;
use crate::command::{access_rules, encoding_limits};
use crate::keyspace::values::exchange::{self, Builder};
use crate::keyspace::{AccessRules, Entry, Site};
use crate::rdb;
use crate::rdb::value::Decoded;
use crate::services::Services;

/// How much of an RDB file is read at once.
const IMPORT_BUFFER: usize = 256 * 1024;

/// Imports what is there. Says whether there was anything.
///
/// # Errors
/// When it cannot be read to its end, or is not understood; nothing was written then.
pub fn import_redis(services: &Services, store: &Store, now: Now, seed: u64) -> Result<bool, LoadError> {
    debug_assert!(store.is_new(), "who has data of ours keeps that");
    let config = services.settings.load();
    let folder = Path::new(&config.dir);
    let log = RedisLog::find(folder, &config.appenddirname, &config.appendfilename);
    let log = log.map_err(LoadError::Import)?;
    let path = folder.join(&config.dbfilename);
    let dump = is_file(&path)?.then_some(path);
    let Some(first) = log.as_ref().and_then(|log| log.files.first()).or(dump.as_ref()) else {
        return Ok(false);
    };
    let refused = |why: &str| Err(LoadError::Import(format!("{}: {why}", first.display())));
    if store.key().is_some_and(|key| !key.accepts_plaintext()) {
        return refused(
            "it is not encrypted, and an encryption key is configured; encryption-accept-plaintext yes imports it",
        );
    }
    let mut import = Import { services, rules: access_rules(&config), now };
    match (&log, &dump) {
        (Some(_), _) if !config.appendonly => refused(
            "it belongs to a log of Redis, which is newer than any RDB file, but appendonly no says that logs do not count; \
             start once with appendonly yes, which imports it, or move the log away",
        ),
        (Some(log), dump) => {
            if let Some(dump) = dump {
                let dump = dump.display();
                tracing::warn!(
                    "{dump} is not imported, because there is a log of Redis (as in Redis with appendonly yes)"
                );
            }
            import.log(log, seed, config.aof_load_truncated).map(|()| true)
        }
        (None, Some(dump)) => import.dump(dump).map(|()| true),
        (None, None) => Ok(false),
    }
}

/// Whether a regular file is there. A directory of that name, which an empty name means as well, is no RDB file.
fn is_file(path: &Path) -> Result<bool, LoadError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(LoadError::Import(format!("{}: {error}", path.display()))),
    }
}

/// Says what of Redis lies in a directory that has data of ours, and is not read. Whoever has put it there may take it for what is served.
pub fn warn_of_redis(services: &Services) {
    let config = services.settings.load();
    let folder = Path::new(&config.dir);
    let dump = Some(folder.join(&config.dbfilename)).filter(|path| path.is_file());
    let log = RedisLog::find(folder, &config.appenddirname, &config.appendfilename);
    let log = log.map_or_else(Some, |log| Some(log?.files.first()?.display().to_string()));
    for file in dump.map(|path| path.display().to_string()).into_iter().chain(log) {
        tracing::warn!(
            "{file}: it is Redis's and is not read, because the directory has data of Cloakroom's own"
        );
    }
}

/// What was read of an RDB stream.
struct Rdb {
    keys: u64,
    /// Where it ends in its file.
    end: u64,
}

struct Import<'i> {
    services: &'i Services,
    rules: AccessRules,
    now: Now,
}

impl Import<'_> {
    fn dump(&mut self, path: &Path) -> Result<(), LoadError> {
        let file = open(path)?;
        let keys = self.rdb(path, &file, false)?.keys;
        tracing::info!(keys, "imported {}", path.display());
        Ok(())
    }

    /// Imports the files of a log in order.
    fn log(&mut self, log: &RedisLog, seed: u64, may_be_truncated: bool) -> Result<(), LoadError> {
        let mut replayer = Replayer::new(self.services, self.now, seed);
        for (index, path) in log.files.iter().enumerate() {
            let is_last = index + 1 == log.files.len();
            self.log_file(&mut replayer, path, is_last, may_be_truncated)?;
        }
        let keyspace = &self.services.keyspace;
        let keys: usize = (0..keyspace.databases()).map(|database| keyspace.count(database).0).sum();
        self.services.snapshots.progress.loaded_keys.store(keys as u64, Ordering::Relaxed);
        let files: Vec<String> = log.files.iter().map(|path| path.display().to_string()).collect();
        tracing::info!(keys, records = replayer.records(), "imported a log of Redis: {}", files.join(", "));
        Ok(())
    }

    fn log_file(
        &self,
        replayer: &mut Replayer<'_>,
        path: &Path,
        is_last: bool,
        may_be_truncated: bool,
    ) -> Result<(), LoadError> {
        let failed =
            |at: u64, what: &str| LoadError::Import(format!("{}: at byte {at}: {what}", path.display()));
        let file = open(path)?;
        let progress = &self.services.snapshots.progress;
        progress.total_bytes.fetch_add(file.metadata()?.len(), Ordering::Relaxed);
        // Keys whose time has passed are needed, too: a record may give them another one.
        let start = if begins_as_rdb(&file)? { self.rdb(path, &file, true)?.end } else { 0 };
        let extent = extent_of(&file, start).map_err(|(at, what)| failed(at, &what))?;
        match (extent.is_truncated, is_last, may_be_truncated) {
            (true, false, _) => {
                let what = "it ends inside a record or a transaction, though another file of the log follows";
                return Err(failed(extent.end, what));
            }
            (true, true, false) => {
                let what =
                    "it ends inside a record or a transaction; aof-load-truncated yes leaves that away";
                return Err(failed(extent.end, what));
            }
            (true, true, true) => {
                let (path, at) = (path.display(), extent.end);
                tracing::warn!(
                    "{path}: its last record or transaction, at byte {at}, has no end and is left away"
                );
            }
            (false, ..) => {}
        }
        let mut records = Records::starting_at(&file, start)?;
        // Each file selects its databases anew.
        replayer.select_first();
        while records.offset() < extent.end {
            let at = records.offset();
            let args = match records.next_record() {
                Ok(Some(args)) => args,
                Ok(None) => break,
                Err(RecordError::Io(error)) => return Err(failed(at, &error.to_string())),
                Err(RecordError::Truncated) => return Err(failed(at, "the file has become shorter")),
                Err(RecordError::Wrong(what)) => return Err(failed(at, &what)),
            };
            if is(args, b"MULTI") || is(args, b"EXEC") {
                continue;
            }
            replayer.record(args).map_err(|what| {
                let advice = "it cannot be imported; 'cloakroom import' brings the keys of a running Redis";
                failed(at, &format!("{what}; {advice}"))
            })?;
            progress.loaded_bytes.fetch_add(records.offset() - at, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Imports an RDB stream from the beginning of a file. Keys whose time has passed are left out, unless they are wanted.
    fn rdb(&self, path: &Path, file: &File, with_expired: bool) -> Result<Rdb, LoadError> {
        let failed = |error: rdb::Error| LoadError::Import(format!("{}: {error}", path.display()));
        let mut reader = rdb::Reader::new(BufReader::with_capacity(IMPORT_BUFFER, file)).map_err(failed)?;
        let (mut keys, mut empty) = (0, 0u64);
        let config = self.services.settings.load();
        while let Some(key) = reader.next_key().map_err(failed)? {
            if key.database as usize >= self.services.keyspace.databases() {
                let text = format!(
                    "{}: it has keys in database {}, which this server does not have (see databases)",
                    path.display(),
                    key.database
                );
                return Err(LoadError::Import(text));
            }
            let kind = exchange::kind_of(key.kind);
            // The value of a key that is not wanted is passed over.
            if with_expired || key.expire_at_ms.is_none_or(|at_ms| at_ms > self.now.wall_ms()) {
                let mut builder = Builder::new(&self.services.keyspace, kind);
                if reader.value(&mut builder).map_err(failed)? == Decoded::Empty {
                    empty += 1;
                    continue;
                }
                self.insert(&key, builder.finish(&key.name, encoding_limits(&config, kind)));
                keys += 1;
                self.services.snapshots.progress.loaded_keys.fetch_add(1, Ordering::Relaxed);
            }
        }
        if empty > 0 {
            tracing::warn!(empty, "{} has collections without elements, which are left out", path.display());
        }
        let skipped = reader.skipped();
        if skipped.count() > 0 {
            let path = path.display();
            tracing::warn!(
                skipped = skipped.count(),
                "{path} has keys of types that do not exist here: {skipped}"
            );
        }
        Ok(Rdb { keys, end: reader.offset() })
    }

    fn insert(&self, found: &rdb::Key, entry: Entry) {
        let (keyspace, rules, now) = (&self.services.keyspace, self.rules, self.now);
        let key = keyspace.key(&found.name);
        let site =
            Site { keyspace, database: found.database as usize, shard: key.shard, now_ms: now.wall_ms() };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(site.database);
        if let Some(position) = partition.find(key.hash, key.bytes) {
            drop(partition.remove(site, position));
        }
        let access = match found.access {
            Some(rdb::Access::IdleSeconds(seconds)) => {
                rules.idle(i64::try_from(seconds).unwrap_or(i64::MAX), now.steady_ms())
            }
            Some(rdb::Access::Frequency(counter)) => rules.frequency(counter, now.steady_ms()),
            None => rules.fresh(now.steady_ms()),
        };
        let position = partition.insert(site, key.hash, entry.with_access(access));
        partition.set_expire_at_ms(site, position, key.hash, found.expire_at_ms, 0);
    }
}

fn open(path: &Path) -> Result<File, LoadError> {
    File::open(path).map_err(|error| LoadError::Import(format!("{}: {error}", path.display())))
}

/// Whether an RDB stream begins here. What follows it are records.
fn begins_as_rdb(file: &File) -> Result<bool, LoadError> {
    let mut start = [0; 5];
    let mut input = file;
    match input.read_exact(&mut start) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    std::io::Seek::rewind(&mut input)?;
    Ok(matches!(&start, b"REDIS" | b"VALKE"))
}
