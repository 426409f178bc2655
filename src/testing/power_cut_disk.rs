//! A disk in memory that can lose power, fill up, or fail any single operation, so that tests see what a real one may do.
//!
//! Each file has a live image, which reads see, and a durable one, which a power cut goes back to. A sync copies what was written since the last
//! one. At a power cut each unsynced 512-byte sector survives or not by itself, the length of a file is the old one, the new one or one between,
//! and of the operations on names that were not synced the first few survive, in order. A sync that fails copies nothing and forgets what
//! it should have copied, as Linux does: a second sync succeeds and saves nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::random::Random;
use crate::storage::{Disk, DiskFile};

const SECTOR: usize = 512;
/// What room is given by.
const PAGE: usize = 4096;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creating a file, or emptying one.
    Create,
    /// Opening a file that exists.
    Open,
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Syncing a file.
    Sync,
    /// Cutting or lengthening a file.
    SetSize,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Syncing the directory.
    SyncDirectory,
}

impl Operation {
    /// Those that change what a power cut could leave; only these are counted when any operation may fail.
    pub const CHANGING: [Operation; 7] = [
        Operation::Create,
        Operation::Write,
        Operation::Sync,
        Operation::SetSize,
        Operation::Rename,
        Operation::Remove,
        Operation::SyncDirectory,
    ];

    fn changes(self) -> bool {
        Operation::CHANGING.contains(&self)
    }
}

/// An operation that is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which kind; `None` for any that changes something.
    pub operation: Option<Operation>,
    /// How many of them succeed before.
    pub after: u64,
    /// The error, as the operating system numbers it.
    pub errno: i32,
    /// Whether about half of the bytes of a write that fails are written: whole sectors, as systems do that write by pages.
    pub short: bool,
    /// Whether all later ones of the kind fail, too: a full disk, or a machine without power.
    pub lasting: bool,
}

/// Out of space (ENOSPC).
pub const NO_SPACE: i32 = 28;
/// An error of the device (EIO).
pub const DEVICE_ERROR: i32 = 5;

/// The disk; its clones are the same one.
#[derive(Clone, Default)]
pub struct PowerCutDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: Vec<FileState>,
    live_names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// What was done to names since the directory was synced.
    pending: Vec<NameChange>,
    fault: Option<Fault>,
    /// Pages that all files together may take; `None` for as many as they want.
    room: Option<usize>,
    /// Milliseconds that each sync of a file takes, and that were taken so and not yet told.
    sync_ms: i64,
    waited_ms: i64,
    /// How many operations that change something were asked for.
    changes: u64,
    /// Handles from before a power cut are dead.
    power_cuts: u64,
}

#[derive(Default)]
struct FileState {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors written since the last sync.
    dirty: BTreeSet<usize>,
}

enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl PowerCutDisk {
    /// An empty disk.
    pub fn new() -> PowerCutDisk {
        PowerCutDisk::default()
    }

    /// Makes an operation fail; the one that was to fail before succeeds.
    pub fn fail(&self, fault: Fault) {
        self.state.lock().fault = Some(fault);
    }

    /// Makes the n-th operation from now on fail that changes something, counted from 0, and all later ones: the machine has stopped there.
    pub fn stop_after(&self, changes: u64) {
        self.fail(Fault { operation: None, after: changes, errno: DEVICE_ERROR, short: true, lasting: true });
    }

    /// Lets everything succeed again, in no time.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        (state.fault, state.sync_ms) = (None, 0);
    }

    /// Nothing is about to fail.
    pub fn is_sound(&self) -> bool {
        let state = self.state.lock();
        state.fault.is_none() && state.room.is_none()
    }

    /// Makes each sync of a file take so long. Nothing waits here: whoever has a clock asks for [`PowerCutDisk::take_waited_ms`] and lets it pass.
    pub fn slow_down(&self, sync_ms: i64) {
        self.state.lock().sync_ms = sync_ms;
    }

    /// How long was waited for the disk since this was last asked.
    pub fn take_waited_ms(&self) -> i64 {
        std::mem::take(&mut self.state.lock().waited_ms)
    }

    /// Pages that all files together take.
    pub fn pages(&self) -> usize {
        self.state.lock().pages()
    }

    /// Lets all files together take at most so many pages: a write that needs more finds no space, one within what a file has does.
    pub fn limit_pages(&self, pages: usize) {
        self.state.lock().room = Some(pages);
    }

    /// How many operations were asked for that change something.
    pub fn changes(&self) -> u64 {
        self.state.lock().changes
    }

    /// Cuts the power and turns it on again. The seed decides what survives of that which was not synced.
    pub fn power_cut(&self, seed: u64) {
        let mut random = Random::new(seed);
        let mut state = self.state.lock();
        let state = &mut *state;
        state.power_cuts += 1;
        state.fault = None;
        for file in &mut state.files {
            file.lose_power(&mut random);
        }
        let survivors = random.below(state.pending.len() as u64 + 1) as usize;
        for change in state.pending.drain(..).take(survivors) {
            change.apply(&mut state.durable_names);
        }
        state.live_names = state.durable_names.clone();
    }

    /// The bytes of a file; `None` if there is none of this name.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state.live_names.get(name).map(|file| state.files[*file].live.clone())
    }

    /// Puts a file on the disk, durably.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let file = state.files.len();
        state.files.push(FileState { live: bytes.to_vec(), durable: bytes.to_vec(), dirty: BTreeSet::new() });
        state.live_names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    fn handle(&self, file: usize, power_cuts: u64) -> Box<dyn DiskFile> {
        Box::new(PowerCutFile { disk: self.clone(), file, power_cuts })
    }
}

impl State {
    /// Counts an operation and lets it fail if it is its turn.
    fn attempt(&mut self, operation: Operation) -> Result<(), Fault> {
        self.changes += u64::from(operation.changes());
        let Some(fault) = &mut self.fault else { return Ok(()) };
        let concerned = match fault.operation {
            None => operation.changes(),
            Some(kind) => kind == operation,
        };
        if !concerned {
            return Ok(());
        }
        if fault.after > 0 {
            fault.after -= 1;
            return Ok(());
        }
        let failed = *fault;
        if !failed.lasting {
            self.fault = None;
        }
        Err(failed)
    }

    fn attempt_io(&mut self, operation: Operation) -> io::Result<()> {
        self.attempt(operation).map_err(|fault| io::Error::from_raw_os_error(fault.errno))
    }

    fn pages(&self) -> usize {
        self.live_names.values().map(|file| self.files[*file].live.len().div_ceil(PAGE)).sum()
    }

    /// Whether a file has room to reach to an end.
    fn has_room(&self, file: usize, end: usize) -> bool {
        let len = self.files[file].live.len();
        let more = end.max(len).div_ceil(PAGE) - len.div_ceil(PAGE);
        more == 0 || self.room.is_none_or(|room| self.pages() + more <= room)
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.live_names);
        self.pending.push(change);
    }
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            NameChange::Create(name, file) => drop(names.insert(name.clone(), *file)),
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove(name) => drop(names.remove(name)),
        }
    }
}

impl FileState {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if self.live.len() < end {
            self.set_size(end);
        }
        self.live[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset / SECTOR..=(end - 1) / SECTOR);
    }

    fn set_size(&mut self, size: usize) {
        let (from, to) = (self.live.len().min(size), self.live.len().max(size));
        self.live.resize(size, 0);
        // The sectors between the two lengths hold something else than before, or nothing.
        self.dirty.extend(from / SECTOR..to.div_ceil(SECTOR));
    }

    fn sync(&mut self) {
        // Sectors that a failed sync has forgotten stay as they are on the disk, whatever the live image says.
        self.durable.resize(self.live.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.copy_sector(sector);
        }
    }

    fn copy_sector(&mut self, sector: usize) {
        let end = ((sector + 1) * SECTOR).min(self.live.len()).min(self.durable.len());
        if let Some(range) = (sector * SECTOR < end).then(|| sector * SECTOR..end) {
            self.durable[range.clone()].copy_from_slice(&self.live[range]);
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        let (old, new) = (self.durable.len(), self.live.len());
        let between = old.min(new) + random.below((old.abs_diff(new) / SECTOR) as u64 + 1) as usize * SECTOR;
        let size = [old, new, between][random.below(3) as usize];
        // Bytes that a longer file gains are zeros until their sectors are written.
        self.durable.resize(size, 0);
        for sector in std::mem::take(&mut self.dirty) {
            if random.below(2) == 0 {
                self.copy_sector(sector);
            }
        }
        self.live = self.durable.clone();
    }
}

impl Disk for PowerCutDisk {
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.attempt_io(Operation::Create)?;
        let file = match state.live_names.get(name) {
            Some(file) => {
                let file = *file;
                state.files[file].set_size(0);
                file
            }
            None => {
                let file = state.files.len();
                state.files.push(FileState::default());
                state.change_name(NameChange::Create(name.to_owned(), file));
                file
            }
        };
        Ok(self.handle(file, state.power_cuts))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.attempt_io(Operation::Open)?;
        let file = state.live_names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file, state.power_cuts))
    }

    fn open_read(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt_io(Operation::Rename)?;
        if !state.live_names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt_io(Operation::Remove)?;
        if !state.live_names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state.lock().live_names.keys().cloned().collect())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.attempt_io(Operation::SyncDirectory)?;
        state.pending.clear();
        state.durable_names = state.live_names.clone();
        Ok(())
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.state.lock().live_names.contains_key(name))
    }

    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

struct PowerCutFile {
    disk: PowerCutDisk,
    file: usize,
    power_cuts: u64,
}

impl PowerCutFile {
    /// Does something with the file, unless the power went since it was opened.
    fn with<T>(&self, work: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state.lock();
        if state.power_cuts != self.power_cuts {
            return Err(io::Error::other("the file was opened before the power cut"));
        }
        work(&mut state, self.file)
    }
}

impl DiskFile for PowerCutFile {
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, file| {
            if let Err(fault) = state.attempt(Operation::Write) {
                if fault.short {
                    let (start, middle) = (offset as usize, offset as usize + bytes.len() / 2);
                    let written = (middle / SECTOR * SECTOR).saturating_sub(start);
                    state.files[file].write(start, &bytes[..written]);
                }
                return Err(io::Error::from_raw_os_error(fault.errno));
            }
            if !state.has_room(file, offset as usize + bytes.len()) {
                return Err(io::Error::from_raw_os_error(NO_SPACE));
            }
            state.files[file].write(offset as usize, bytes);
            Ok(())
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state, file| {
            state.attempt_io(Operation::Read)?;
            let rest = state.files[file].live.get(offset as usize..).unwrap_or_default();
            let len = rest.len().min(buffer.len());
            buffer[..len].copy_from_slice(&rest[..len]);
            Ok(len)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, file| {
            state.waited_ms += state.sync_ms;
            if let Err(error) = state.attempt_io(Operation::Sync) {
                // Linux marks the pages clean: nobody will write them again.
                state.files[file].dirty.clear();
                return Err(error);
            }
            state.files[file].sync();
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|state, file| Ok(state.files[file].live.len() as u64))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.with(|state, file| {
            state.attempt_io(Operation::SetSize)?;
            state.files[file].set_size(size as usize);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_synced_survives_and_nothing_else_is_sure_to() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = PowerCutDisk::new();
            let file = disk.create("file").expect("creates");
            file.write_all_at(0, &[1; 1500]).expect("writes");
            file.sync_data().expect("syncs");
            disk.sync_directory().expect("syncs");
            file.write_all_at(600, &[2; 1500]).expect("writes");
            disk.power_cut(seed);
            let left = disk.contents("file").expect("its name was synced");
            assert!((1500..=2100).contains(&left.len()) && left[..600] == [1; 600], "seed {seed}");
            lost += u32::from(left.get(600..) != Some(&[2; 1500]));
            assert!(file.sync_data().is_err(), "old handles are dead");
        }
        assert!((10..50).contains(&lost), "{lost}");
    }

    #[test]
    fn a_failed_sync_saves_nothing_and_the_next_one_neither() {
        let disk = PowerCutDisk::new();
        let file = disk.create("file").expect("creates");
        file.write_all_at(0, &[1; 512]).expect("writes");
        disk.sync_directory().expect("syncs");
        disk.fail(Fault {
            operation: Some(Operation::Sync),
            after: 0,
            errno: DEVICE_ERROR,
            short: false,
            lasting: false,
        });
        assert!(file.sync_data().is_err());
        file.sync_data().expect("succeeds, and lies");
        disk.power_cut(1);
        assert_eq!(disk.contents("file").expect("there"), [0; 512]);
    }

    #[test]
    fn names_survive_in_order() {
        for seed in 0..50 {
            let disk = PowerCutDisk::new();
            disk.put("old", b"old");
            disk.create("new").expect("creates").sync_data().expect("syncs");
            disk.rename("new", "old").expect("renames");
            disk.create("later").expect("creates");
            disk.power_cut(seed);
            let names = disk.list().expect("lists");
            let possible: [&[&str]; 4] = [&["old"], &["new", "old"], &["old"], &["later", "old"]];
            assert!(possible.iter().any(|possible| names == *possible), "seed {seed}: {names:?}");
        }
    }
}
