//! Reading a whole data directory, saying what is in it and what is wrong, and cutting a log where it is damaged.
//!
//! Checking changes nothing. A repair cuts the first log that cannot be read to its end and drops the logs behind it, because records that follow
//! a gap mean nothing. It is the operator's decision: whoever calls [`repair`] has shown what it costs. A snapshot or a manifest cannot be
//! repaired: half of a snapshot is not the state of any moment.

use std::collections::BTreeMap;
use std::io;

use super::blocks::Opener;
use super::damage::{Damage, Problem};
use super::disk::Disk;
use super::keys::{EncryptionKey, KeyId};
use super::log_file::cut_tail;
use super::log_reader::{Behind, LogReader};
use super::manifest::{LogFacts, MANIFEST_NAME, Manifest, SnapshotFacts};
use super::names::OurFile;
use super::snapshot_entry::Form;
use super::snapshot_file::{LEAVES, SnapshotReader};

/// Counts the records of a block, or says what is wrong with them, and whether more blocks belong to the last one (a transaction), given whether
/// the block before had such a one. What a record is, this module does not know.
pub type CountRecords<'a> = &'a dyn Fn(&[u8], bool) -> Result<(u64, bool), String>;

/// How far a check has come in the files that the manifest names.
struct Progress<'a> {
    done: u64,
    total: u64,
    /// Is told both, in bytes, after each block.
    show: &'a mut dyn FnMut(u64, u64),
}

impl Progress<'_> {
    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        (self.show)(self.done, self.total);
    }
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Report {
    /// The manifest, if there is one that can be read.
    pub manifest: Option<Manifest>,
    /// What is wrong with the manifest, or with what it does not name.
    pub problem: Option<Damage>,
    /// The snapshot that the manifest names.
    pub snapshot: Option<SnapshotReport>,
    /// The logs that the manifest names, in order.
    pub logs: Vec<LogReport>,
    /// Files of ours that the manifest does not name: the next start removes them.
    pub unnamed: Vec<String>,
}

/// What a snapshot holds.
#[derive(Debug, Default)]
pub struct SnapshotReport {
    /// The file's name.
    pub name: String,
    /// What the file is, as far as it could be opened.
    pub bytes: u64,
    /// Entry blocks.
    pub blocks: usize,
    /// Whether blocks are compressed.
    pub compressed: bool,
    /// The key that it is encrypted with.
    pub key: Option<KeyId>,
    /// Entries by database, and how many of them have a deadline.
    pub databases: BTreeMap<u32, (u64, u64)>,
    /// The first thing that is wrong.
    pub problem: Option<Damage>,
}

/// What a log holds.
#[derive(Debug, Default)]
pub struct LogReport {
    /// The log's number.
    pub number: u64,
    /// Bytes of the file, prepared zeros included.
    pub bytes: u64,
    /// The key that it is encrypted with.
    pub key: Option<KeyId>,
    /// Blocks of records that can be read.
    pub blocks: u64,
    /// Records in them.
    pub records: u64,
    /// Where its first and the last of these records lie in the whole log.
    pub offsets: (u64, u64),
    /// Where in the file the last block that can be read ends.
    pub end: u64,
    /// The first thing that is wrong.
    pub problem: Option<Damage>,
    /// What lies behind it.
    pub behind: Behind,
}

impl LogReport {
    /// The manifest names it, and it is not there.
    pub fn is_missing(&self) -> bool {
        matches!(&self.problem, Some(Damage { problem: Problem::Unreadable(error), .. })
            if error.kind() == io::ErrorKind::NotFound)
    }
}

impl Report {
    /// Everything that is wrong, in the order of reading.
    pub fn problems(&self) -> impl Iterator<Item = &Damage> {
        let snapshot = self.snapshot.iter().filter_map(|snapshot| snapshot.problem.as_ref());
        let logs = self.logs.iter().filter_map(|log| log.problem.as_ref());
        self.problem.iter().chain(snapshot).chain(logs)
    }

    /// A server would start from it and lose nothing.
    pub fn is_sound(&self) -> bool {
        self.problems().next().is_none()
    }

    /// Notes damage that only loading has shown, at the file that it is in.
    pub fn note(&mut self, disk: &dyn Disk, key: Option<&EncryptionKey>, damage: Damage) {
        let is_in = |log: &&mut LogReport| disk.describe(&LogFacts::name_of(log.number)) == damage.file;
        match self.logs.iter_mut().find(is_in) {
            Some(log) => {
                let reader = LogReader::open(disk, log.number, key);
                log.behind = reader.and_then(|mut reader| reader.behind(damage.offset)).unwrap_or_default();
                log.end = damage.offset;
                log.problem = Some(damage);
            }
            None => self.problem = Some(damage),
        }
    }

    /// The first log that has to be cut, by its place in [`Report::logs`]; `None` if nothing is wrong, or if something is that no cut repairs.
    pub fn first_cut(&self) -> Option<usize> {
        let snapshot = self.snapshot.as_ref().and_then(|snapshot| snapshot.problem.as_ref());
        if self.problem.is_some() || snapshot.is_some() {
            return None;
        }
        let first = self.logs.iter().position(|log| log.problem.is_some())?;
        // With another key, another program or a disk that answers again, the records may be all there.
        let curable = self.logs[first].problem.as_ref().is_some_and(|damage| match &damage.problem {
            Problem::TornTail(_) | Problem::Wrong(_) => true,
            Problem::Unreadable(error) => error.kind() == io::ErrorKind::NotFound,
            Problem::UnknownVersion { .. }
            | Problem::WrongKey { .. }
            | Problem::NotEncrypted { .. }
            | Problem::Misfit(_) => false,
        });
        curable.then_some(first)
    }
}

/// Reads all files that the manifest names.
///
/// # Errors
/// Only if the directory cannot be listed; what is wrong with files is in the report.
pub fn check(disk: &dyn Disk, key: Option<&EncryptionKey>, count: CountRecords<'_>) -> io::Result<Report> {
    check_showing(disk, key, count, &mut |_, _| {})
}

/// [`check`], telling `show` now and then how many bytes of how many are read.
///
/// # Errors
/// As [`check`].
pub fn check_showing(
    disk: &dyn Disk,
    key: Option<&EncryptionKey>,
    count: CountRecords<'_>,
    show: &mut dyn FnMut(u64, u64),
) -> io::Result<Report> {
    let names = disk.list()?;
    let data: Vec<String> = names.into_iter().filter(|name| OurFile::of(name).is_some()).collect();
    let mut report = Report::default();
    let manifest = match Manifest::read(disk, key) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => {
            report.problem = missing_manifest(disk, &data);
            report.unnamed = data;
            return Ok(report);
        }
        Err(damage) => {
            report.problem = Some(damage);
            report.unnamed = data;
            return Ok(report);
        }
    };
    report.unnamed = data.into_iter().filter(|name| !manifest.names(name)).collect();
    let sizes = manifest.file_names().map(|name| size_of_file(disk, &name));
    let progress = &mut Progress { done: 0, total: sizes.sum(), show };
    let mut offset = None;
    if let Some(facts) = &manifest.snapshot {
        report.snapshot = Some(report_snapshot(disk, facts, key, progress));
        offset = Some(facts.log_offset);
    }
    for (index, facts) in manifest.logs.iter().enumerate() {
        let is_last = index + 1 == manifest.logs.len();
        let log = check_log(disk, facts, key, offset, is_last, count, progress);
        offset = log.problem.is_none().then_some(log.offsets.1);
        report.logs.push(log);
    }
    report.manifest = Some(manifest);
    Ok(report)
}

/// A directory without a manifest has these files. If one of them is data that only a manifest can make sense of, a server must not begin empty
/// ones beside it.
pub fn missing_manifest(disk: &dyn Disk, names: &[String]) -> Option<Damage> {
    let name = names.iter().find(|name| OurFile::of(name).is_some_and(OurFile::is_finished))?;
    let what = format!("there is no manifest, but there is {name}, which only a manifest can make sense of");
    Some(Damage::wrong(&disk.describe(MANIFEST_NAME), 0, what))
}

/// 0 for one that cannot be opened.
fn size_of_file(disk: &dyn Disk, name: &str) -> u64 {
    disk.open_read(name).and_then(|file| file.size()).unwrap_or(0)
}

/// Reads a snapshot to its end.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_snapshot(
    disk: &dyn Disk,
    facts: &SnapshotFacts,
    key: Option<&EncryptionKey>,
) -> Result<(), Damage> {
    let progress = &mut Progress { done: 0, total: facts.bytes, show: &mut |_, _| {} };
    report_snapshot(disk, facts, key, progress).problem.map_or(Ok(()), Err)
}

fn report_snapshot(
    disk: &dyn Disk,
    facts: &SnapshotFacts,
    key: Option<&EncryptionKey>,
    progress: &mut Progress<'_>,
) -> SnapshotReport {
    let mut report = SnapshotReport { name: facts.name(), ..SnapshotReport::default() };
    report.problem = read_snapshot(disk, facts, key, progress, &mut report).err();
    report
}

fn read_snapshot(
    disk: &dyn Disk,
    facts: &SnapshotFacts,
    key: Option<&EncryptionKey>,
    progress: &mut Progress<'_>,
    report: &mut SnapshotReport,
) -> Result<(), Damage> {
    let reader = SnapshotReader::open_named(disk, facts, key)?;
    report.bytes = reader.size();
    report.blocks = reader.blocks().len();
    report.compressed = reader.is_compressed();
    report.key = reader.key_id();
    let mut opener = Opener::new().map_err(|error| Damage::unreadable(&report.name, 0, error))?;
    for block in 0..reader.blocks().len() {
        for entry in reader.read_block(block, &mut opener)? {
            let entry = entry?;
            if entry.form == Form::Leaf {
                continue;
            }
            let (entries, deadlines) = report.databases.entry(entry.database).or_default();
            *entries += 1;
            *deadlines += u64::from(entry.expire_at_ms.is_some());
        }
        progress.advance(u64::from(reader.blocks()[block].stored_len));
    }
    let mut counted = BTreeMap::<u32, u64>::new();
    for count in reader.counts().iter().filter(|count| count.shard != LEAVES) {
        *counted.entry(count.database).or_default() += count.entries;
    }
    if counted
        .iter()
        .map(|(database, entries)| (database, *entries))
        .ne(report.databases.iter().map(|(database, (entries, _))| (database, *entries)))
    {
        return Err(reader.damage("its databases have other numbers of entries than its index says"));
    }
    Ok(())
}

fn check_log(
    disk: &dyn Disk,
    facts: &LogFacts,
    key: Option<&EncryptionKey>,
    before: Option<u64>,
    is_last: bool,
    count: CountRecords<'_>,
    progress: &mut Progress<'_>,
) -> LogReport {
    let offsets = (facts.start_offset, facts.start_offset);
    let mut report = LogReport { number: facts.number, offsets, ..LogReport::default() };
    let mut reader = match LogReader::open(disk, facts.number, key) {
        Ok(reader) => reader,
        Err(damage) => {
            // Of a log without a sound header nothing can be read.
            let size = size_of_file(disk, &facts.name());
            (report.bytes, report.behind.bytes, report.problem) = (size, size, Some(damage));
            return report;
        }
    };
    (report.bytes, report.key) = (reader.size(), reader.key_id());
    let read = match before {
        Some(before) => reader.follows(before),
        None => reader.follows(facts.start_offset),
    }
    .and_then(|()| read_log(&mut reader, &mut report, count, progress));
    if let Err(mut damage) = read {
        if let (Problem::TornTail(what), false) = (&damage.problem, is_last) {
            damage.problem = Problem::Wrong(format!("{what}, though a log follows that was begun later"));
        }
        report.behind = reader.behind(report.end).unwrap_or_default();
        report.problem = Some(damage);
    }
    report
}

fn read_log(
    reader: &mut LogReader,
    report: &mut LogReport,
    count: CountRecords<'_>,
    progress: &mut Progress<'_>,
) -> Result<(), Damage> {
    report.end = reader.end().offset;
    // What the report said before the first block of a transaction whose last one has not come.
    let mut open = None;
    loop {
        let before = (report.end, report.blocks, report.records, report.offsets);
        let (counted, len) = match reader.next_block() {
            Ok(Some(records)) => (count(records, open.is_some()), records.len()),
            end => {
                let end = end.map(drop);
                report.end = reader.end().offset;
                let torn = end.as_ref().map_or_else(Damage::is_torn_tail, |()| true);
                if let (Some(before), true) = (open, torn) {
                    // Half of a transaction counts as nothing.
                    (report.end, report.blocks, report.records, report.offsets) = before;
                    return Err(reader.unfinished(report.end));
                }
                return end;
            }
        };
        let (records, is_open) =
            counted.map_err(|what| reader.damage_at(report.end, format!("the block has {what}")))?;
        open = if is_open { open.or(Some(before)) } else { None };
        report.records += records;
        report.blocks += 1;
        report.offsets.1 += len as u64;
        progress.advance(reader.end().offset - report.end);
        report.end = reader.end().offset;
    }
}

/// Cuts the log at [`Report::first_cut`] where it is damaged, and drops the logs behind it.
///
/// The manifest stops to name the logs before anything is cut, so after a crash at any step the directory is as damaged as before or
/// repaired, and a second repair does what is left.
///
/// # Errors
/// What the disk says.
pub fn repair(disk: &dyn Disk, key: Option<&EncryptionKey>, report: &Report) -> io::Result<()> {
    let (Some(first), Some(manifest)) = (report.first_cut(), &report.manifest) else { return Ok(()) };
    let log = &report.logs[first];
    // A log without a sound header, or one that does not follow from what is before it, is dropped as a whole.
    let kept = first + usize::from(log.end > 0);
    if kept < manifest.logs.len() {
        let mut next = manifest.clone();
        next.logs.truncate(kept);
        next.write(disk, key)?;
    }
    if log.end > 0 {
        cut_tail(disk, &LogFacts::name_of(log.number), log.end)?;
    }
    for dropped in &manifest.logs[kept..] {
        match disk.remove(&dropped.name()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    disk.sync_directory()
}
