//! Taking the write log to disk, in steps.
//!
//! The writer takes all records that have gathered, writes each chunk of them as one block and flushes as `appendfsync` says; while it writes, the next ones
//! gather. With `everysec` it goes on writing while the disk flushes (`flush.rs`). A write that fails (a full disk) is tried again every second, and until it succeeds writes are refused; nothing is lost. A snapshot
//! that was finished meanwhile frees the writer from all that came before its cut ([`WriteLog::cover`]).
//!
//! A flush that fails is never tried again: nobody can know what the disk has, so nothing more is acknowledged, and what comes is dropped until an
//! increment begins with the cut of a snapshot. When that is the base, the log is in force again.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::flush::{Flush, Order, start_flushing};
use super::store::{Named, Store};
use crate::base::clock::{Clock, Now};
use crate::base::step::Next;
use crate::base::system;
use crate::client::{Gates, Message};
use crate::config::AppendFsync;
use crate::services::Services;
use crate::storage::log_file::RECORDS_MAX;
use crate::storage::{LogFacts, LogWriter};
use crate::write_log::{Chunk, Gathered, Increment, WriteLog, leading_records};

/// `appendfsync everysec`.
const SYNC_EVERY_MS: i64 = 1000;
/// With `everysec`, so many bytes are flushed although the second is not over: one flush of all that a busy second has written
/// lasts long, and what gathers meanwhile needs new memory.
const SYNC_BYTES: u64 = 32 << 20;
/// How long records gather at most, unless somebody waits for them.
const GATHER_MS: i64 = 5;
/// Between two attempts on a disk that does not take the log.
const RETRY_MS: i64 = 1000;
/// Zeros that are kept ready behind the log's end when every group of writes is flushed: flushing into them is cheaper.
const PREPARED_BYTES: u64 = 8 << 20;

/// See the module's text.
pub struct LogTask {
    services: Arc<Services>,
    store: Arc<Store>,
    writer: Option<LogWriter>,
    /// The file of the next increment, which the manifest does not name yet.
    made: Option<(LogWriter, LogFacts)>,
    /// What was taken and is not written yet, and the offset of its first record.
    taken: VecDeque<Chunk>,
    offset: u64,
    /// The offset at which the present increment begins.
    begun_at: Option<u64>,
    /// The offset up to which the base has made writing unnecessary.
    skipped: u64,
    /// A flush has failed, and no increment has begun since.
    is_lost: bool,
    /// The most bytes of records that a block takes.
    pub(super) block_max: usize,
    /// How much of the first chunk is written already, as blocks of its own.
    chunk_written: usize,
    /// Somebody asked for a flush behind what was taken.
    sync_asked: bool,
    /// Nothing comes behind what was taken.
    last: bool,
    /// Steady milliseconds: when records that gather are taken.
    gather_until_ms: Option<i64>,
    /// Steady milliseconds of the last flush.
    last_sync_ms: i64,
    /// There is something that is not flushed.
    unsynced: bool,
    /// Bytes of records among it.
    unsynced_bytes: u64,
    /// Who flushes meanwhile.
    pub(super) flusher: Option<Sender<Order>>,
    /// The flush that is on its way.
    flush: Option<Flush>,
    /// The disk does not take what comes next; steady milliseconds of the next attempt.
    retry_at_ms: Option<i64>,
    /// What the last step has found in the log's buffer.
    found: Gathered,
    /// Calls that the last step knew of.
    heard: u64,
    ended: bool,
    /// Zeros that are kept ready behind the end.
    prepared_bytes: u64,
}

/// Why a step could not do its work.
enum Trouble {
    /// It may work later.
    Passing(io::Error),
    /// The log cannot go on.
    Final(io::Error),
}

impl LogTask {
    pub fn new(services: Arc<Services>, store: Arc<Store>) -> LogTask {
        LogTask {
            services,
            store,
            writer: None,
            made: None,
            taken: VecDeque::new(),
            offset: 0,
            begun_at: None,
            skipped: 0,
            is_lost: false,
            block_max: RECORDS_MAX,
            chunk_written: 0,
            sync_asked: false,
            last: false,
            gather_until_ms: None,
            last_sync_ms: 0,
            unsynced: false,
            unsynced_bytes: 0,
            flusher: None,
            flush: None,
            retry_at_ms: None,
            found: Gathered::Nothing,
            heard: 0,
            ended: false,
            prepared_bytes: PREPARED_BYTES,
        }
    }

    /// Keeps so many zeros ready instead: on a disk in memory they are a waste.
    pub fn preparing(self, prepared_bytes: u64) -> LogTask {
        LogTask { prepared_bytes, ..self }
    }

    /// Divides what it takes into smaller blocks than a real one.
    pub fn dividing(self, block_max: usize) -> LogTask {
        LogTask { block_max, ..self }
    }

    /// Whether its thread, which waits as the last step has said, would go on at this time.
    pub fn is_awake(&self, next: Next, now: Now) -> bool {
        let is_time = match next {
            Next::Now => true,
            Next::At(steady_ms) => steady_ms <= now.steady_ms(),
            Next::Signal => false,
            Next::End => return false,
        };
        is_time || self.log().is_called(self.heard, self.found)
    }

    /// Works until [`WriteLog::end`] was called and everything is written, or cannot be.
    pub fn run(mut self, clock: &Clock) {
        self.flusher = start_flushing();
        loop {
            let now = clock.now();
            match self.step(now) {
                Next::Now => {}
                Next::End => return,
                next => self.services.write_log.wait(self.heard, self.found, now, next),
            }
        }
    }

    /// Does one thing: begins an increment, writes a block, flushes, or takes what has gathered.
    pub fn step(&mut self, now: Now) -> Next {
        let calls = self.log().calls();
        if self.ended {
            return Next::End;
        }
        if let Some(retry_at_ms) = self.retry_at_ms
            && now.steady_ms() < retry_at_ms
            // Whoever waits for the log wants to know now.
            && calls == self.heard
        {
            return Next::At(retry_at_ms);
        }
        self.heard = calls;
        self.skip_covered();
        match self.act(now) {
            Ok(next) => {
                self.leave_trouble();
                next
            }
            Err(Trouble::Final(error)) => {
                self.fail(&error);
                Next::Now
            }
            Err(Trouble::Passing(error)) => self.enter_trouble(&error, now),
        }
    }

    fn log(&self) -> &WriteLog {
        &self.services.write_log
    }

    fn act(&mut self, now: Now) -> Result<Next, Trouble> {
        self.end_flush(now)?;
        let policy = self.log().policy();
        let much = policy == AppendFsync::Everysec
            && self.unsynced_bytes >= SYNC_BYTES
            && self.retry_at_ms.is_none()
            && self.flush.is_none();
        if !self.taken.is_empty() && !much {
            if self.flush.is_some() && self.taken.front().is_some_and(|chunk| chunk.begins.is_some()) {
                // The file is closed then.
                return Ok(self.await_flush());
            }
            self.write_next(now)?;
            return Ok(Next::Now);
        }
        let since_ms = now.steady_ms() - self.last_sync_ms;
        let is_due = match policy {
            AppendFsync::Always => true,
            // A time that went back does not delay it.
            AppendFsync::Everysec => much || !(0..SYNC_EVERY_MS).contains(&since_ms),
            AppendFsync::No => false,
        };
        let is_wanted = self.unsynced && is_due || self.sync_asked && self.taken.is_empty();
        if is_wanted && self.flush.is_none() {
            if policy == AppendFsync::Always || !self.begin_flush(now) {
                self.sync(now)?;
            }
            return Ok(Next::Now);
        }
        if self.last {
            if self.flush.is_some() {
                return Ok(self.await_flush());
            }
            self.close();
            return Ok(Next::End);
        }
        let is_timed = self.unsynced && policy == AppendFsync::Everysec && self.flush.is_none();
        let sync_at_ms = is_timed.then(|| self.last_sync_ms + SYNC_EVERY_MS);
        Ok(self.take(now, sync_at_ms))
    }

    /// Orders a flush of all that is written. False if there is nothing to flush, or nobody to do it.
    fn begin_flush(&mut self, now: Now) -> bool {
        let (Some(flusher), Some(writer), true) = (&self.flusher, &self.writer, self.unsynced) else {
            return false;
        };
        let sync = writer.begin_sync();
        self.flush = Flush::order(flusher, &self.services, sync, self.offset, now.steady_ms());
        if self.flush.is_none() {
            return false;
        }
        self.last_sync_ms = now.steady_ms();
        self.sync_asked &= !self.taken.is_empty();
        (self.unsynced, self.unsynced_bytes) = (false, 0);
        true
    }

    /// What the flush has brought, if it has ended. What was written meanwhile is not in it.
    fn end_flush(&mut self, now: Now) -> Result<(), Trouble> {
        let Some(result) = self.flush.as_ref().and_then(Flush::take_result) else { return Ok(()) };
        let (Some(flush), Some(writer)) = (self.flush.take(), &mut self.writer) else { return Ok(()) };
        if flush.is_delayed(now.steady_ms()) {
            self.services.write_log.note_delayed_flush();
        }
        writer.end_sync(&flush.sync, result).map_err(Trouble::Final)?;
        if self.log().note_durable(flush.offset) {
            self.tell_durable();
        }
        Ok(())
    }

    /// Only its end is of interest now.
    fn await_flush(&mut self) -> Next {
        self.found = Gathered::Enough;
        Next::Signal
    }

    /// Takes what has gathered, if there is enough of it or it has waited for long enough.
    fn take(&mut self, now: Now, sync_at_ms: Option<i64>) -> Next {
        self.found = self.log().gathered();
        match self.found {
            Gathered::Nothing => return sync_at_ms.map_or(Next::Signal, Next::At),
            Gathered::Few => {
                let until_ms = *self.gather_until_ms.get_or_insert(now.steady_ms() + GATHER_MS);
                if (1..=GATHER_MS).contains(&(until_ms - now.steady_ms())) {
                    return Next::At(sync_at_ms.map_or(until_ms, |at_ms| at_ms.min(until_ms)));
                }
            }
            Gathered::Enough => {}
        }
        self.gather_until_ms = None;
        let taken = self.log().take();
        self.offset = taken.start_offset;
        self.taken = taken.chunks.into();
        self.sync_asked |= taken.sync;
        self.last = taken.end;
        if self.taken.is_empty() {
            self.let_writes_in();
        }
        Next::Now
    }

    /// Writes the next block of what was taken, or begins the increment that it is in.
    fn write_next(&mut self, now: Now) -> Result<(), Trouble> {
        let Some(chunk) = self.taken.front() else { return Ok(()) };
        if let Some(increment) = chunk.begins {
            if !self.is_overtaken(increment) {
                self.begin(increment, now)?;
            }
            if let Some(chunk) = self.taken.front_mut() {
                chunk.begins = None;
            }
            return Ok(());
        }
        // Only what is larger than any block may be becomes several. Whoever reads a transaction's first ones looks for the last one.
        let rest = &chunk.bytes[self.chunk_written..];
        let block = &rest[..leading_records(rest, self.block_max)];
        if let Some(writer) = &mut self.writer
            && !block.is_empty()
        {
            self.unsynced = true;
            writer.append(block).map_err(|error| match writer.is_lost() {
                true => Trouble::Final(error),
                false => Trouble::Passing(error),
            })?;
            self.unsynced_bytes += block.len() as u64;
        }
        self.offset += block.len() as u64;
        self.chunk_written += block.len();
        self.log().note_written(self.offset);
        if self.chunk_written == chunk.bytes.len() {
            self.chunk_written = 0;
            if let Some(chunk) = self.taken.pop_front() {
                self.log().recycle(chunk.bytes);
            }
        }
        if self.taken.is_empty() {
            self.let_writes_in();
        }
        Ok(())
    }

    /// Its base was not to be had, and nothing was recorded before the next attempt began another one: it needs no file.
    fn is_overtaken(&self, increment: Increment) -> bool {
        let last = self.log().last_increment();
        let same_place = |last: Increment| last.start_offset == increment.start_offset;
        !increment.continues && last.is_some_and(|last| last.index != increment.index && same_place(last))
    }

    /// The buffer has room again.
    fn let_writes_in(&self) {
        if self.services.gates().has(Gates::LOG_FULL) {
            self.services.set_gate(Gates::LOG_FULL, false);
            self.tell(&Message::Look);
        }
    }

    /// Ends the present increment and begins the next one.
    fn begin(&mut self, increment: Increment, now: Now) -> Result<(), Trouble> {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.close()
            && increment.continues
        {
            return Err(Trouble::Final(error));
        }
        self.is_lost = false;
        self.advance();
        let (writer, facts) = match self.made.take() {
            Some(made) => made,
            None => self.store.create_log(self.offset, now.wall_ms()).map_err(Trouble::Passing)?,
        };
        match self.store.name_log(increment, &facts, now.wall_ms()) {
            Ok(Named::Covered) => {
                self.store.forget_log(&facts);
                Ok(())
            }
            Ok(named) => {
                self.writer = Some(writer);
                self.begun_at = Some(facts.start_offset);
                if named == Named::InForce && self.log().come_into_force(increment) {
                    self.tell_durable();
                }
                self.services.check_writes();
                Ok(())
            }
            Err(error) => {
                self.made = Some((writer, facts));
                Err(Trouble::Passing(error))
            }
        }
    }

    /// Drops what the base has, once: the increment that begins at its cut has not begun, and is the first thing that still counts.
    fn skip_covered(&mut self) {
        let covered = self.log().covered();
        if covered <= self.skipped || self.begun_at >= Some(covered) {
            return;
        }
        self.skipped = covered;
        let begins = |chunk: &Chunk| chunk.begins.is_some_and(|increment| increment.start_offset >= covered);
        let from = self.taken.iter().position(begins).unwrap_or(self.taken.len());
        for chunk in self.taken.drain(..from) {
            self.services.write_log.recycle(chunk.bytes);
        }
        // Its file is no part of the data any more.
        (self.writer, self.flush) = (None, None);
        if let Some((_, facts)) = self.made.take() {
            self.store.forget_log(&facts);
        }
        (self.chunk_written, self.offset) = (0, covered);
        self.log().note_written(covered);
        self.advance();
    }

    fn sync(&mut self, now: Now) -> Result<(), Trouble> {
        self.last_sync_ms = now.steady_ms();
        self.sync_asked &= !self.taken.is_empty();
        if let Some(writer) = &mut self.writer
            && self.unsynced
        {
            writer.sync().map_err(Trouble::Final)?;
        }
        self.advance();
        if self.log().policy() == AppendFsync::Always
            && let Some(writer) = &mut self.writer
        {
            // Only for speed: without space for zeros the log goes on as it is.
            let _ = writer.prepare(self.prepared_bytes);
        }
        Ok(())
    }

    /// Everything that was written is on disk: tells those who wait for that.
    fn advance(&mut self) {
        self.unsynced = false;
        self.unsynced_bytes = 0;
        if !self.is_lost && self.log().note_durable(self.offset) {
            self.tell_durable();
        }
    }

    fn tell_durable(&self) {
        self.tell(&Message::Durable);
        self.tell(&Message::Look);
    }

    /// The disk does not take what comes next: writes are refused until it does.
    fn enter_trouble(&mut self, error: &io::Error, now: Now) -> Next {
        // Records change nothing now.
        self.found = Gathered::Enough;
        if self.last || self.log().is_ending() {
            self.ended = true;
            if self.log().durable() >= self.log().appended() {
                tracing::warn!(%error, "the write log could not go on; it has everything");
                // Whoever waits for its next file goes on without.
                self.log().note_trouble(Some(system::error_text(error)));
                self.store.bell().ring();
                return Next::End;
            }
            // The server ends, and the disk does not take what is left.
            tracing::error!(%error, "the end of the write log is lost");
            // Whoever waits for the log, such as a save, hears that it has ended.
            self.log().note_failure(system::error_text(error));
            self.store.bell().ring();
            return Next::End;
        }
        if self.retry_at_ms.is_none() {
            tracing::error!(%error, "the write log cannot be written; writes are refused until it can");
            self.log().note_trouble(Some(system::error_text(error)));
            self.services.check_writes();
            self.tell(&Message::Durable);
            self.store.bell().ring();
        }
        let retry_at_ms = now.steady_ms() + RETRY_MS;
        self.retry_at_ms = Some(retry_at_ms);
        Next::At(retry_at_ms)
    }

    fn leave_trouble(&mut self) {
        if self.retry_at_ms.take().is_some() {
            tracing::info!("the write log can be written again");
            self.log().note_trouble(None);
            self.services.check_writes();
        }
    }

    /// A flush has failed: what was not flushed is lost to the log, and writes are refused until a snapshot has it.
    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "flushing the write log has failed; writes are refused until a snapshot is saved");
        (self.writer, self.flush) = (None, None);
        if let Some((_, facts)) = self.made.take() {
            self.store.forget_log(&facts);
        }
        self.taken.clear();
        (self.chunk_written, self.unsynced, self.unsynced_bytes) = (0, false, 0);
        (self.sync_asked, self.retry_at_ms, self.is_lost) = (false, None, true);
        self.log().note_failure(system::error_text(error));
        self.services.check_writes();
        self.tell_durable();
        self.store.bell().ring();
    }

    fn tell(&self, message: &Message) {
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(message.clone());
        }
    }

    fn close(&mut self) {
        self.ended = true;
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.close()
        {
            tracing::error!(%error, "the end of the write log could not be flushed");
        }
    }
}
