//! The write log's near end: where records gather until the log's thread takes them to disk.
//!
//! A record is appended under the locks of the change that it tells of, so the log's order is the order of the changes (invariant 3). Records
//! lie in chunks of which each becomes a block; the writing thread takes all chunks at once, writes them and, as `appendfsync` says, flushes. An
//! offset counts the bytes of records since the server started; three of them only grow: `appended` >= `written` >= `durable`.
//!
//! The chunks go round: a written one gathers records again. So a busy log touches the same few megabytes all the time, which are in the
//! processor's cache, while a buffer that grows as long as a flush takes is new memory each second.
//!
//! This module owns the buffer and the offsets. It knows neither files (`persistence/log_writer.rs`) nor what a command does
//! (`dispatch/record.rs`). The buffer has a limit: above it [`WriteLog::is_full`] holds new writes back before they take locks.

mod record;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};

pub use record::{
    RECORD_LIMITS, Scanned, encode_head, encode_request, encode_word, ends_inside, leading_records, scan,
};

use crate::base::clock::Now;
use crate::base::lock::{Condvar, Mutex, MutexGuard};
use crate::base::step::{Next, until};
use crate::config::AppendFsync;

/// Records that make the writing thread take them before it would look by itself.
const TAKE_SOON_BYTES: usize = 256 * 1024;
/// A chunk that has so many bytes takes no more records: with those of one usual request it stays below [`CHUNK_BYTES`].
const CHUNK_FULL: usize = CHUNK_BYTES - (64 << 10);
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that are kept for later records. What a large record or a slow disk has needed beyond that is given back after use.
const SPARE_CHUNKS: usize = 8;
/// Why writes are refused while the log is wanted and cannot begin.
const NO_BASE: &str = "the snapshot that the log would continue could not be saved";
/// No database was selected yet in the present increment.
const NO_DATABASE: usize = usize::MAX;

/// See the module's text.
pub struct WriteLog {
    on: AtomicBool,
    /// What is recorded continues what the disk would load: a write counts as durable when its record is. Not so from the moment that the log is
    /// turned on, or goes on after a failure, until the snapshot that it continues is the base.
    in_force: AtomicBool,
    buffer: Mutex<Buffer>,
    /// There is something for the writing thread.
    filled: Condvar,
    /// An offset has advanced, or the log has failed.
    advanced: Condvar,
    appended: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    policy: AtomicU8,
    limit_bytes: AtomicUsize,
    full: AtomicBool,
    failed: AtomicBool,
    /// How often that has happened.
    failures: AtomicU64,
    /// Flushes that have lasted long.
    delayed_flushes: AtomicU64,
    /// Where the last failure was: what was appended up to there was admitted before it.
    failed_at: AtomicU64,
    /// Offset before which the base has everything: nothing before it needs to be written any more.
    covered: AtomicU64,
    /// Offset up to which records are on disk in an increment that is not in force.
    synced: AtomicU64,
    /// It cannot be written at present, which may pass.
    troubled: AtomicBool,
    /// Somebody wants to hear when `durable` advances.
    awaited: AtomicBool,
}

/// Where an increment of the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increment {
    /// 1 for the first since the server started.
    pub index: u64,
    pub start_offset: u64,
    /// It continues the one before. Else only the snapshot whose cut it begins at can be its base.
    pub continues: bool,
}

struct Buffer {
    /// Whole chunks, oldest first.
    full: Vec<Chunk>,
    /// The one that takes records.
    open: Chunk,
    /// Empty ones, with memory.
    spare: Vec<Vec<u8>>,
    /// Bytes in `full` and `open`.
    length: usize,
    /// The database that the last record leaves selected.
    database: usize,
    /// The increment that began last since the server started.
    last_increment: Option<Increment>,
    /// How often the log had failed when it began.
    failures_before: u64,
    /// The writing thread waits, with nothing to do.
    idle: bool,
    /// The writing thread lets records gather.
    gathering: bool,
    /// How often it was woken for something else than records.
    calls: u64,
    /// Flush at the next opportunity, whatever the policy.
    sync: bool,
    end: bool,
    /// Why the log has failed.
    failure: Option<String>,
    /// Why it cannot be written at present.
    trouble: Option<String>,
}

/// Records that become one block.
#[derive(Default)]
pub struct Chunk {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// The increment that begins in front of them.
    pub begins: Option<Increment>,
}

/// What the writing thread has to do next.
pub struct Taken {
    /// In order.
    pub chunks: Vec<Chunk>,
    /// The offset of the first record in them.
    pub start_offset: u64,
    /// Somebody asked for a flush.
    pub sync: bool,
    /// There is no more to come.
    pub end: bool,
}

/// What waits for the writing thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gathered {
    Nothing,
    /// A few records that nobody waits for: more may gather.
    Few,
    /// Something that is to be taken now.
    Enough,
}

impl Buffer {
    /// Goes on in another chunk.
    fn turn_over(&mut self, begins: Option<Increment>) {
        // Where much comes, more will: a chunk that would grow is copied again and again.
        let like_this = || Vec::with_capacity(self.open.bytes.len().min(CHUNK_BYTES));
        let next = Chunk { bytes: self.spare.pop().unwrap_or_else(like_this), begins };
        self.full.push(std::mem::replace(&mut self.open, next));
    }

    fn has_chunks(&self) -> bool {
        !self.full.is_empty() || !self.open.is_empty()
    }

    /// Whether a writing thread goes on that has heard so many calls and found so much.
    fn is_called(&self, heard: u64, found: Gathered) -> bool {
        let more = match found {
            Gathered::Nothing => self.has_chunks(),
            Gathered::Few => self.length >= TAKE_SOON_BYTES,
            Gathered::Enough => false,
        };
        more || self.calls != heard
    }
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.begins.is_none()
    }
}

impl Default for WriteLog {
    fn default() -> WriteLog {
        WriteLog {
            on: AtomicBool::new(false),
            in_force: AtomicBool::new(false),
            buffer: Mutex::new(Buffer {
                full: Vec::new(),
                open: Chunk::default(),
                spare: Vec::new(),
                length: 0,
                database: NO_DATABASE,
                last_increment: None,
                failures_before: 0,
                idle: false,
                gathering: false,
                calls: 0,
                sync: false,
                end: false,
                failure: None,
                trouble: None,
            }),
            filled: Condvar::new(),
            advanced: Condvar::new(),
            appended: AtomicU64::new(0),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            policy: AtomicU8::new(0),
            limit_bytes: AtomicUsize::new(usize::MAX),
            full: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failures: AtomicU64::new(0),
            delayed_flushes: AtomicU64::new(0),
            failed_at: AtomicU64::new(0),
            covered: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            awaited: AtomicBool::new(false),
        }
    }
}

impl WriteLog {
    /// Whether changes are recorded. Read under a shard's lock, written under all of them. A log that has failed stays on: what it cannot record has
    /// an offset all the same, which counts as durable only when a snapshot has it.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Begins the first increment of a server, behind what it has loaded.
    pub fn go_on(&self) -> Increment {
        self.in_force.store(true, Ordering::Release);
        self.on.store(true, Ordering::Relaxed);
        self.begin_increment()
    }

    /// Begins a new increment, and recording if that was off. Called while all shards are locked. An increment that has no record yet is as good
    /// as a new one.
    pub fn begin_increment(&self) -> Increment {
        let mut buffer = self.buffer.lock();
        let was_on = self.on.swap(true, Ordering::Relaxed);
        let start_offset = self.appended.load(Ordering::Relaxed);
        if let Some(last) = buffer.last_increment
            && was_on
            && !self.has_failed()
            && last.start_offset == start_offset
        {
            let last = Increment { continues: self.is_in_force(), ..last };
            buffer.last_increment = Some(last);
            return last;
        }
        let continues = was_on && self.is_in_force();
        self.in_force.store(continues, Ordering::Release);
        let index = buffer.last_increment.map_or(1, |last| last.index + 1);
        let increment = Increment { index, start_offset, continues };
        if buffer.open.is_empty() {
            buffer.open.begins = Some(increment);
        } else {
            buffer.turn_over(Some(increment));
        }
        buffer.database = NO_DATABASE;
        buffer.last_increment = Some(increment);
        buffer.failures_before = self.failures();
        self.call(buffer);
        increment
    }

    /// What is recorded from here on continues what is loaded at a start.
    #[inline]
    pub fn is_in_force(&self) -> bool {
        self.in_force.load(Ordering::Acquire)
    }

    /// The base that an increment continues has been adopted, and the increment with it: if it is the present one, and the log has not failed since
    /// it began, what was recorded since the cut counts, and an earlier failure is overcome. Nothing else overcomes one. Says whether somebody
    /// waits to hear that.
    pub fn come_into_force(&self, increment: Increment) -> bool {
        let mut buffer = self.buffer.lock();
        if !self.is_on()
            || buffer.last_increment.is_none_or(|last| last.index != increment.index)
            || buffer.failures_before != self.failures()
            || self.in_force.swap(true, Ordering::AcqRel)
        {
            return false;
        }
        self.failed.store(false, Ordering::Release);
        buffer.failure = None;
        drop(buffer);
        self.note_durable(self.synced.load(Ordering::Acquire))
    }

    /// The base that the log needs was not to be had: ends recording into the increment that waits for it, if one has begun, until there is one. Called
    /// while all shards are locked.
    pub fn give_up_increment(&self) {
        let mut buffer = self.buffer.lock();
        if buffer.failures_before == self.failures() {
            self.on.store(false, Ordering::Relaxed);
        }
        buffer.failure.get_or_insert_with(|| String::from(NO_BASE));
    }

    /// What is recorded goes nowhere, and no increment has begun that would go on behind a snapshot.
    pub fn needs_cut(&self) -> bool {
        !self.is_on() || self.buffer.lock().failures_before != self.failures()
    }

    /// Everything before `offset` is in the base: what the writing thread has of it, or cannot write, it may forget.
    pub fn cover(&self, offset: u64) {
        self.covered.fetch_max(offset, Ordering::AcqRel);
        self.call(self.buffer.lock());
    }

    pub fn covered(&self) -> u64 {
        self.covered.load(Ordering::Acquire)
    }

    /// How often the log has failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Acquire)
    }

    /// The increment that began last, if any did.
    pub fn last_increment(&self) -> Option<Increment> {
        self.buffer.lock().last_increment
    }

    /// Ends recording, because it is not wanted any more. Called while all shards are locked.
    pub fn turn_off(&self) {
        let mut buffer = self.buffer.lock();
        self.on.store(false, Ordering::Relaxed);
        self.in_force.store(false, Ordering::Release);
        self.failed.store(false, Ordering::Release);
        buffer.failure = None;
    }

    /// Goes on where the log of an earlier start ended. Before the first record.
    pub fn start_at(&self, offset: u64) {
        for each in [&self.appended, &self.written, &self.durable] {
            each.store(offset, Ordering::Release);
        }
    }

    /// Takes the policy and the limit over from the configuration.
    pub fn configure(&self, policy: AppendFsync, limit_bytes: u64) {
        self.policy.store(policy as u8, Ordering::Relaxed);
        self.limit_bytes.store(usize::try_from(limit_bytes).unwrap_or(usize::MAX), Ordering::Relaxed);
        self.call(self.buffer.lock());
    }

    /// `appendfsync always`: a write is acknowledged when it is on disk.
    #[inline]
    pub fn is_synchronous(&self) -> bool {
        self.is_on() && self.policy.load(Ordering::Relaxed) == AppendFsync::Always as u8 && self.is_in_force()
    }

    pub fn policy(&self) -> AppendFsync {
        match self.policy.load(Ordering::Relaxed) {
            policy if policy == AppendFsync::Always as u8 => AppendFsync::Always,
            policy if policy == AppendFsync::No as u8 => AppendFsync::No,
            _ => AppendFsync::Everysec,
        }
    }

    /// Appends records of one database; `fill` writes whole records. Called under the locks of the change. Gives the offset behind them.
    #[inline]
    pub fn append(&self, database: usize, fill: impl FnOnce(&mut Vec<u8>)) -> u64 {
        self.append_ending_in(database, database, fill)
    }

    /// [`WriteLog::append`] for records that leave another database selected than the one they begin in.
    pub fn append_ending_in(&self, first: usize, last: usize, fill: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut guard = self.buffer.lock();
        let buffer = &mut *guard;
        if buffer.open.bytes.len() >= CHUNK_FULL {
            buffer.turn_over(None);
        }
        let bytes = &mut buffer.open.bytes;
        let before = bytes.len();
        if buffer.database != first {
            record::encode_select(bytes, first);
        }
        buffer.database = last;
        fill(bytes);
        let added = bytes.len() - before;
        self.note_appended(guard, added)
    }

    /// [`WriteLog::append_ending_in`] for many bytes of records that are encoded already: they become a chunk of their own as they are, so that
    /// nobody waits while they are copied.
    pub fn append_encoded(&self, first: usize, last: usize, records: Vec<u8>) -> u64 {
        let mut guard = self.buffer.lock();
        let buffer = &mut *guard;
        let mut added = records.len();
        if buffer.database != first {
            let before = buffer.open.bytes.len();
            record::encode_select(&mut buffer.open.bytes, first);
            added += buffer.open.bytes.len() - before;
        }
        buffer.database = last;
        if !buffer.open.bytes.is_empty() {
            buffer.turn_over(None);
        }
        let empty = std::mem::replace(&mut buffer.open.bytes, records);
        buffer.spare.push(empty);
        buffer.turn_over(None);
        self.note_appended(guard, added)
    }

    #[inline]
    fn note_appended(&self, mut guard: MutexGuard<'_, Buffer>, added: usize) -> u64 {
        let buffer = &mut *guard;
        buffer.length += added;
        let length = buffer.length;
        // Only ever changed under the buffer's lock.
        let offset = self.appended.load(Ordering::Relaxed) + added as u64;
        self.appended.store(offset, Ordering::Relaxed);
        if length > self.limit_bytes.load(Ordering::Relaxed) {
            self.full.store(true, Ordering::Relaxed);
        }
        if buffer.idle || buffer.gathering && length >= TAKE_SOON_BYTES {
            self.wake(guard);
        }
        offset
    }

    /// Wakes the writing thread because of something else than records.
    fn call(&self, mut buffer: MutexGuard<'_, Buffer>) {
        buffer.calls += 1;
        self.wake(buffer);
    }

    /// Wakes the writing thread, which finds the lock free.
    fn wake(&self, mut buffer: MutexGuard<'_, Buffer>) {
        buffer.idle = false;
        buffer.gathering = false;
        drop(buffer);
        self.filled.notify_one();
    }

    /// The buffer is above its limit: writes wait.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// The log could not be written; nothing is acknowledged any more.
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether the answer to what was written before `offset` waits for the disk, or for a snapshot. Without `appendfsync always` that is only so for what
    /// the log could not record any more.
    pub fn is_awaited(&self, offset: u64) -> bool {
        let is_synchronous = || self.policy.load(Ordering::Relaxed) == AppendFsync::Always as u8;
        self.durable() < offset && (is_synchronous() || offset > self.failed_at.load(Ordering::Acquire))
    }

    /// What was appended and is not durable may stay so for long.
    pub fn is_stuck(&self) -> bool {
        self.troubled.load(Ordering::Acquire) || self.has_failed()
    }

    /// It cannot be written at present.
    pub fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Whether what a client wrote before `offset` is on disk, and part of what a start loads.
    pub fn is_durable(&self, offset: u64) -> bool {
        self.is_on() && self.is_in_force() && self.durable() >= offset
    }

    /// Why records cannot be written at present, or any more.
    pub fn failure(&self) -> Option<String> {
        let buffer = self.buffer.lock();
        buffer.failure.clone().or_else(|| buffer.trouble.clone())
    }

    pub fn appended(&self) -> u64 {
        self.appended.load(Ordering::Acquire)
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    #[inline]
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Bytes that are on their way to the disk: in the buffer, or in the writing thread's hands.
    #[inline]
    pub fn backlog_bytes(&self) -> usize {
        self.appended().saturating_sub(self.written()) as usize
    }

    /// Bytes that wait for the writing thread.
    pub fn buffered_bytes(&self) -> usize {
        self.buffer.lock().length
    }

    /// Flushes that have lasted long.
    pub fn delayed_flushes(&self) -> u64 {
        self.delayed_flushes.load(Ordering::Relaxed)
    }

    /// Asks for a flush soon, and to hear of it when `durable` advances.
    pub fn request_sync(&self) {
        self.await_durable();
        let mut buffer = self.buffer.lock();
        buffer.sync = true;
        self.call(buffer);
    }

    /// Wants to hear when `durable` advances.
    #[inline]
    pub fn await_durable(&self) {
        self.awaited.store(true, Ordering::SeqCst);
        // Whoever reads `durable` next sees what was stored before `awaited` was looked at.
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// Flushes, and waits for that; false if the log cannot be written. For an event loop only when it ends.
    pub fn sync_and_wait(&self) -> bool {
        self.request_sync();
        let target = self.appended();
        let mut buffer = self.buffer.lock();
        while self.is_on() && self.is_in_force() && self.durable() < target && !self.is_stuck() {
            buffer = self.advanced.wait(buffer);
        }
        !self.is_on() || self.is_durable(target)
    }

    /// [`WriteLog::sync_and_wait`], also after the log was turned off. Only while its thread works and no save runs.
    pub fn drain_and_wait(&self) -> bool {
        self.request_sync();
        let target = self.appended();
        let mut buffer = self.buffer.lock();
        while self.durable() < target && !self.is_stuck() {
            buffer = self.advanced.wait(buffer);
        }
        self.durable() >= target
    }

    /// [`WriteLog::end`] was called.
    pub fn is_ending(&self) -> bool {
        self.buffer.lock().end
    }

    /// No more records will come: the writing thread ends when it has written what there is.
    pub fn end(&self) {
        let mut buffer = self.buffer.lock();
        buffer.end = true;
        buffer.sync = true;
        self.call(buffer);
    }
}

/// The writing thread's side.
impl WriteLog {
    /// Whether there is something to take.
    pub fn gathered(&self) -> Gathered {
        let buffer = self.buffer.lock();
        let begins = || buffer.open.begins.is_some() || buffer.full.iter().any(|each| each.begins.is_some());
        if buffer.sync || buffer.end || buffer.length >= TAKE_SOON_BYTES || begins() {
            return Gathered::Enough;
        }
        match buffer.has_chunks() {
            false => Gathered::Nothing,
            true if self.is_synchronous() => Gathered::Enough,
            true => Gathered::Few,
        }
    }

    /// Takes what has gathered.
    pub fn take(&self) -> Taken {
        let mut buffer = self.buffer.lock();
        if !buffer.open.is_empty() {
            buffer.turn_over(None);
        }
        self.full.store(false, Ordering::Relaxed);
        let length = std::mem::take(&mut buffer.length) as u64;
        Taken {
            chunks: std::mem::take(&mut buffer.full),
            start_offset: self.appended.load(Ordering::Relaxed) - length,
            sync: std::mem::take(&mut buffer.sync),
            end: buffer.end,
        }
    }

    pub fn note_delayed_flush(&self) {
        self.delayed_flushes.fetch_add(1, Ordering::Relaxed);
    }

    /// A flush that the writing thread has ordered has ended.
    pub fn call_writer(&self) {
        self.call(self.buffer.lock());
    }

    /// How often somebody has called for something else than records; to be asked before a step.
    pub fn calls(&self) -> u64 {
        self.buffer.lock().calls
    }

    /// Waits as a step has said that has found so much and no more, unless somebody has called more than `heard` times: where there was nothing
    /// for the first record, where there was little for much, else only for a call.
    pub fn wait(&self, heard: u64, found: Gathered, now: Now, next: Next) {
        let mut buffer = self.buffer.lock();
        if buffer.is_called(heard, found) {
            return;
        }
        buffer.idle = found == Gathered::Nothing;
        buffer.gathering = found == Gathered::Few;
        match next {
            Next::Now | Next::End => {}
            Next::At(steady_ms) => buffer = self.filled.wait_for(buffer, until(now, steady_ms)).0,
            Next::Signal => buffer = self.filled.wait(buffer),
        }
        buffer.idle = false;
        buffer.gathering = false;
    }

    /// Whether [`WriteLog::wait`] would return at once, or if it waits already, because of what was appended or called.
    pub fn is_called(&self, heard: u64, found: Gathered) -> bool {
        self.buffer.lock().is_called(heard, found)
    }

    /// Gives the memory of a chunk back whose records are written.
    pub fn recycle(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let usual = 1..=2 * CHUNK_BYTES;
        if usual.contains(&bytes.capacity()) {
            let mut buffer = self.buffer.lock();
            if buffer.spare.len() < SPARE_CHUNKS {
                buffer.spare.push(bytes);
            }
        }
    }

    /// After a failure everything counts as written.
    pub fn note_written(&self, offset: u64) {
        self.written.fetch_max(offset, Ordering::AcqRel);
    }

    /// Everything before `offset` is on disk. Says whether somebody waits to hear that.
    pub fn note_durable(&self, offset: u64) -> bool {
        let buffer = self.buffer.lock();
        self.synced.fetch_max(offset, Ordering::AcqRel);
        if self.is_on() && !self.is_in_force() {
            return false;
        }
        self.durable.fetch_max(offset, Ordering::SeqCst);
        drop(buffer);
        self.advanced.notify_all();
        self.awaited.swap(false, Ordering::SeqCst)
    }

    /// The log cannot be written at present; the thread keeps what it has taken and tries again. `None`: it can.
    pub fn note_trouble(&self, why: Option<String>) {
        self.troubled.store(why.is_some(), Ordering::Release);
        self.buffer.lock().trouble = why;
        self.advanced.notify_all();
    }

    /// The log cannot be written any more. What was appended and is not durable stays unacknowledged, until a snapshot has it
    /// ([`WriteLog::come_into_force`]).
    pub fn note_failure(&self, why: String) {
        let mut buffer = self.buffer.lock();
        self.failures.fetch_add(1, Ordering::AcqRel);
        buffer.trouble = None;
        // What is left of a log that was turned off concerns nobody.
        if self.is_on() || self.has_failed() {
            buffer.failure = Some(why);
            self.failed_at.store(self.appended.load(Ordering::Relaxed), Ordering::Release);
            self.failed.store(true, Ordering::Release);
        }
        self.troubled.store(false, Ordering::Release);
        self.in_force.store(false, Ordering::Release);
        (buffer.full, buffer.open, buffer.spare) = Default::default();
        buffer.length = 0;
        self.written.store(self.appended.load(Ordering::Relaxed), Ordering::Release);
        self.full.store(false, Ordering::Relaxed);
        drop(buffer);
        self.advanced.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> WriteLog {
        let log = WriteLog::default();
        log.configure(AppendFsync::Always, u64::MAX);
        log.go_on();
        log
    }

    #[test]
    fn what_fails_behind_a_log_that_was_turned_off_holds_nobody_back() {
        let log = log();
        let offset = log.append_ending_in(0, 0, |out| encode_request(out, &[b"SET", b"k", b"v"]));
        log.turn_off();
        log.note_failure(String::from("No space left on device"));
        assert!(!log.has_failed() && log.failure().is_none() && !log.is_stuck());
        // Turned on again, it begins anew, and fails as any other.
        let increment = log.begin_increment();
        log.come_into_force(increment);
        assert!(!increment.continues && log.is_in_force());
        log.note_failure(String::from("Input/output error"));
        assert!(log.has_failed() && log.failure().is_some() && offset > 0);
    }

    #[test]
    fn records_name_their_database_once() {
        let log = log();
        log.append(0, |out| encode_request(out, &[b"DEL", b"a"]));
        log.append(0, |out| encode_request(out, &[b"DEL", b"b"]));
        let end = log.append(3, |out| encode_request(out, &[b"DEL", b"c"]));
        let taken = log.take();
        let [chunk] = <[Chunk; 1]>::try_from(taken.chunks).ok().expect("one chunk");
        let text = String::from_utf8(chunk.bytes).expect("text");
        assert_eq!(text.matches("SELECT").count(), 2);
        assert!(text.starts_with("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"));
        assert!(chunk.begins.is_some());
        assert_eq!(taken.start_offset + text.len() as u64, end);
    }

    #[test]
    fn a_new_increment_selects_its_database_again() {
        let log = log();
        let first = log.append(0, |out| encode_request(out, &[b"DEL", b"a"]));
        assert_eq!(log.begin_increment(), Increment { index: 2, start_offset: first, continues: true });
        log.append(0, |out| encode_request(out, &[b"DEL", b"b"]));
        let chunks = log.take().chunks;
        assert_eq!(chunks.len(), 2);
        assert!(chunks.iter().all(|each| each.begins.is_some()));
        assert!(chunks[1].bytes.starts_with(b"*2\r\n$6\r\nSELECT\r\n"));
    }

    #[test]
    fn an_increment_without_records_is_as_good_as_a_new_one() {
        let log = log();
        let first = log.begin_increment();
        assert_eq!(first.index, 1);
        let end = log.append(0, |out| out.extend_from_slice(&[1; 10]));
        let second = log.begin_increment();
        assert_eq!((second.index, second.start_offset, second.continues), (2, end, true));
        assert_eq!(log.begin_increment(), second);
        let taken = log.take();
        let seen: Vec<_> = taken.chunks.iter().map(|each| (each.begins, each.bytes.is_empty())).collect();
        assert_eq!(seen, [(Some(first), false), (Some(second), true)]);
        assert_eq!(taken.start_offset, 0);
        assert_eq!(log.begin_increment(), second);
        log.append(0, |out| out.extend_from_slice(&[1; 10]));
        let next = log.take();
        assert!(next.start_offset == end && next.chunks.len() == 1 && next.chunks[0].begins.is_none());
    }

    #[test]
    fn many_bytes_of_records_are_not_copied_under_the_lock() {
        let log = log();
        log.append(0, |out| encode_request(out, &[b"DEL", b"before"]));
        let mut records = Vec::new();
        encode_request(&mut records, &[b"SET", b"key", &vec![b'v'; 3 * CHUNK_BYTES]]);
        let (place, bytes) = (records.as_ptr(), records.len());
        let end = log.append_encoded(2, 2, records);
        assert_eq!(log.append(2, |out| encode_request(out, &[b"DEL", b"after"])), end + 24);
        let taken = log.take();
        let [before, large, after] = <[Chunk; 3]>::try_from(taken.chunks).ok().expect("three chunks");
        assert!(before.bytes.ends_with(b"SELECT\r\n$1\r\n2\r\n"));
        assert_eq!((large.bytes.as_ptr(), large.bytes.len()), (place, bytes));
        assert_eq!((before.bytes.len() + large.bytes.len()) as u64, end);
        assert_eq!(after.bytes, b"*2\r\n$3\r\nDEL\r\n$5\r\nafter\r\n");
        assert!(large.begins.is_none() && after.begins.is_none());
    }

    /// Turned on again, or after a failure, the log continues nothing that a start would load; nothing counts as durable then.
    #[test]
    fn an_increment_that_continues_nothing_counts_only_once_its_base_is_there() {
        for failure in [false, true] {
            let log = log();
            log.append(0, |out| out.extend_from_slice(&[1; 10]));
            let written = log.appended();
            log.note_durable(written);
            if failure {
                log.note_failure(String::from("the disk is gone"));
            } else {
                log.turn_off();
            }
            let increment = log.begin_increment();
            assert!(!increment.continues && log.is_on() && !log.is_synchronous());
            let end = log.append(0, |out| out.extend_from_slice(&[1; 10]));
            log.note_durable(end);
            assert_eq!(log.durable(), written);
            assert_eq!(log.has_failed(), failure);
            log.come_into_force(increment);
            assert!(log.is_synchronous() && !log.has_failed() && log.failure().is_none());
            assert_eq!(log.durable(), end);
            log.append(0, |out| out.extend_from_slice(&[1; 10]));
            assert!(log.begin_increment().continues);
        }
    }

    #[test]
    fn records_lie_in_chunks_whose_memory_goes_round() {
        let log = log();
        for round in 0..3 {
            let records = SPARE_CHUNKS * CHUNK_BYTES / 1000;
            for _ in 0..records {
                log.append(0, |out| out.resize(out.len() + 1000, b'x'));
            }
            // More than a chunk holds lies in one all the same: it is one record.
            log.append(0, |out| out.resize(out.len() + 3 * CHUNK_BYTES, b'y'));
            let taken = log.take();
            let sizes: Vec<_> = taken.chunks.iter().map(|each| each.bytes.len()).collect();
            let (last, others) = sizes.split_last().expect("chunks");
            assert!(others.iter().all(|len| (CHUNK_FULL..CHUNK_FULL + 1100).contains(len)), "{sizes:?}");
            assert!(*last >= 3 * CHUNK_BYTES);
            // The records of a later round lie in what an earlier one has left.
            assert_eq!(log.buffer.lock().spare.len(), 0, "round {round}");
            for chunk in taken.chunks.into_iter().rev() {
                log.recycle(chunk.bytes);
            }
            let buffer = log.buffer.lock();
            assert_eq!(buffer.spare.len(), SPARE_CHUNKS, "round {round}");
            assert!(buffer.spare.iter().all(|each| each.is_empty() && each.capacity() <= 2 * CHUNK_BYTES));
        }
    }

    #[test]
    fn a_buffer_above_its_limit_is_full_until_it_is_taken() {
        let log = log();
        log.configure(AppendFsync::Always, 10);
        log.append(0, |out| out.extend_from_slice(&[0; 100]));
        assert!(log.is_full());
        log.take();
        assert!(!log.is_full());
    }
}
