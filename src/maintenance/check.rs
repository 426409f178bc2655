//! `cloakroom check [--fix] DIR`: what is in a data directory, where it is damaged, and, if that is wanted, a cut there. Sound is only what loads.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};

use super::{KeyOptions, ToolError, open};
use crate::persistence::{LoadError, load_for_trial};
use crate::storage::{self, Disk, EncryptionKey, KeyId, LogFacts, LogReport, Report, SnapshotReport};
use crate::write_log::scan;

/// Reads a data directory and writes what is in it; with `fix` cuts the write log at its damage.
///
/// # Errors
/// If the directory cannot be used, or, in the end, its data are not sound.
pub fn check(
    directory: &Path,
    key: &KeyOptions<'_>,
    fix: bool,
    out: &mut impl Write,
) -> Result<(), ToolError> {
    let key = key.load()?;
    let (disk, _lock) = open(directory)?;
    let report = examine(&(Arc::new(disk) as Arc<dyn Disk>), key.as_ref(), fix, out);
    match report {
        Ok(true) => Ok(()),
        Ok(false) => Err(ToolError::NotSound),
        Err(error) => Err(ToolError::Directory(directory.display().to_string(), error)),
    }
}

/// Checks, repairs and checks again; whether the data are sound now.
pub fn examine(
    disk: &Arc<dyn Disk>,
    key: Option<&EncryptionKey>,
    fix: bool,
    out: &mut impl Write,
) -> io::Result<bool> {
    let report = read_all(disk, key)?;
    write_report(&report, out)?;
    if report.is_sound() {
        writeln!(out, "The data are sound.")?;
        return Ok(true);
    }
    let Some(first) = report.first_cut() else {
        writeln!(
            out,
            "This cannot be repaired: what is damaged, missing or unreadable has to come from a copy."
        )?;
        return Ok(false);
    };
    write_costs(&report, first, fix, out)?;
    if !fix {
        return Ok(false);
    }
    storage::repair(&**disk, key, &report)?;
    let repaired = read_all(disk, key)?;
    for damage in repaired.problems() {
        writeln!(out, "still damaged: {damage}")?;
    }
    if repaired.is_sound() {
        writeln!(out, "The data are sound now, up to offset {} of the write log.", end_of_log(&repaired))?;
    }
    Ok(repaired.is_sound())
}

/// Reads everything, and loads it if nothing is wrong with the files: then it is said of no data that they are sound that a start refuses.
fn read_all(disk: &Arc<dyn Disk>, key: Option<&EncryptionKey>) -> io::Result<Report> {
    let mut report = read_files(&**disk, key)?;
    if report.is_sound() && report.manifest.is_some() {
        match load_for_trial(Arc::clone(disk), key.cloned()) {
            Err(LoadError::Damage(damage)) => report.note(&**disk, key, damage),
            Err(LoadError::System(error)) => return Err(error),
            Err(error @ LoadError::Import(_)) => return Err(io::Error::other(error.to_string())),
            Ok(()) => {}
        }
    }
    Ok(report)
}

/// Reads all files, with a bar if standard error is a terminal.
fn read_files(disk: &dyn Disk, key: Option<&EncryptionKey>) -> io::Result<Report> {
    let bar = ProgressBar::new(0).with_message("check");
    // The template is a constant; a mistake in it would only cost its look.
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    let report = storage::check_showing(disk, key, &count_records, &mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    report
}

fn end_of_log(report: &Report) -> u64 {
    let base = report.manifest.as_ref().and_then(|manifest| manifest.snapshot.as_ref());
    let base = base.map_or(0, |snapshot| snapshot.log_offset);
    report.logs.last().map_or(base, |log| log.offsets.1)
}

/// The requests in a block, and whether the last transaction goes on in the next one.
pub fn count_records(block: &[u8], inside: bool) -> Result<(u64, bool), String> {
    scan(block, inside).map(|scanned| (scanned.records, scanned.inside))
}

fn write_report(report: &Report, out: &mut impl Write) -> io::Result<()> {
    match &report.manifest {
        None if report.problem.is_none() => writeln!(out, "There are no data here.")?,
        None => {}
        Some(manifest) => {
            let snapshots = usize::from(manifest.snapshot.is_some());
            writeln!(
                out,
                "manifest: {} and {}",
                counted(snapshots as u64, "snapshot"),
                counted(manifest.logs.len() as u64, "log")
            )?;
        }
    }
    if let Some(snapshot) = &report.snapshot {
        write_snapshot(snapshot, out)?;
    }
    for log in &report.logs {
        write_log(log, out)?;
    }
    for name in &report.unnamed {
        writeln!(
            out,
            "{name}: not named by the manifest{}",
            if report.manifest.is_some() { "; a start that loads the data removes it" } else { "" }
        )?;
    }
    for damage in report.problems() {
        writeln!(out, "{damage}")?;
    }
    Ok(())
}

fn write_snapshot(snapshot: &SnapshotReport, out: &mut impl Write) -> io::Result<()> {
    let entries = snapshot.databases.values().map(|(entries, _)| *entries).sum();
    writeln!(
        out,
        "{}: {} in {}, {}{}{}",
        snapshot.name,
        counted(entries, "key"),
        counted(snapshot.blocks as u64, "block"),
        counted(snapshot.bytes, "byte"),
        if snapshot.compressed { ", compressed" } else { "" },
        encrypted(snapshot.key)
    )?;
    for (database, (entries, deadlines)) in &snapshot.databases {
        writeln!(out, "  database {database}: {}, {deadlines} with a deadline", counted(*entries, "key"))?;
    }
    Ok(())
}

fn write_log(log: &LogReport, out: &mut impl Write) -> io::Result<()> {
    if log.is_missing() {
        let name = LogFacts::name_of(log.number);
        return writeln!(out, "{name}: missing; it begins at offset {} of the write log", log.offsets.0);
    }
    writeln!(
        out,
        "{}: {} in {}, {}{}; offsets {} to {} of the write log",
        LogFacts::name_of(log.number),
        counted(log.records, "record"),
        counted(log.blocks, "block"),
        counted(log.bytes, "byte"),
        encrypted(log.key),
        log.offsets.0,
        log.offsets.1
    )
}

/// What the cut of this log loses, or would lose.
fn write_costs(report: &Report, first: usize, fix: bool, out: &mut impl Write) -> io::Result<()> {
    let log = &report.logs[first];
    let (name, lost) = (LogFacts::name_of(log.number), &log.behind);
    let would = if fix { "" } else { "would " };
    let s = if fix { "s" } else { "" };
    let torn = log.problem.as_ref().is_some_and(|damage| damage.is_torn_tail());
    let what = if torn { "the torn end" } else { "everything from the damage on" };
    if log.is_missing() {
        writeln!(
            out,
            "--fix {would}go{} on without {name}: what it had is lost, and how much that was is not known",
            if fix { "es" } else { "" }
        )?;
    } else {
        writeln!(
            out,
            "--fix {would}cut{s} {name} at offset {}: {what} is lost, {} with {} whose headers are whole",
            log.end,
            counted(lost.bytes, "byte"),
            counted(lost.blocks, "block"),
        )?;
    }
    for later in &report.logs[first + 1..] {
        writeln!(
            out,
            "--fix {would}remove{s} {}: {} in {} that follow the damage are lost",
            LogFacts::name_of(later.number),
            counted(later.records, "record"),
            counted(later.blocks, "block")
        )?;
    }
    if !fix {
        writeln!(out, "Copy the directory before you run check with --fix.")?;
    }
    Ok(())
}

fn encrypted(key: Option<KeyId>) -> String {
    key.map_or_else(String::new, |key| format!(", encrypted with key {key}"))
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
