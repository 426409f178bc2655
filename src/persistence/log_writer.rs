//! The thread that takes the write log to disk.
//!
//! It takes all records that have gathered, writes each chunk of them as one block and flushes as `appendfsync` says; while it does, the next ones
//! gather. A write that fails (a full disk) is tried again every second, and until it succeeds writes are refused; nothing is lost. A flush that
//! fails ends the log: nobody can know what the disk has, so nothing more is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use super::store::Store;
use crate::base::clock::Clock;
use crate::base::system;
use crate::client::{Gates, Message};
use crate::config::AppendFsync;
use crate::services::Services;
use crate::storage::LogWriter;
use crate::storage::log_file::RECORDS_MAX;
use crate::write_log::{Taken, WriteLog, leading_records};

/// `appendfsync everysec`.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// With `everysec`, so many bytes are flushed although the second is not over: one flush of all that a busy second has written
/// lasts long, and what gathers meanwhile needs new memory.
const SYNC_BYTES: u64 = 32 << 20;
const RETRY: Duration = Duration::from_secs(1);
/// Zeros that are kept ready behind the log's end when every group of writes is flushed: flushing into them is cheaper.
const PREPARED_BYTES: u64 = 8 << 20;

/// The state of the thread.
pub struct LogThread {
    services: Arc<Services>,
    store: Arc<Store>,
    clock: Clock,
    writer: Option<LogWriter>,
    /// Steady milliseconds.
    last_sync_ms: i64,
    /// There is something that is not flushed.
    unsynced: bool,
    /// Bytes of records among it.
    unsynced_bytes: u64,
}

/// The log cannot go on.
struct Failed;

impl LogThread {
    pub fn new(services: Arc<Services>, store: Arc<Store>, clock: Clock) -> LogThread {
        LogThread {
            services,
            store,
            clock,
            writer: None,
            last_sync_ms: 0,
            unsynced: false,
            unsynced_bytes: 0,
        }
    }

    /// Works until [`WriteLog::end`] was called and everything is written, or the log has failed.
    pub fn run(mut self) {
        loop {
            let every_second = self.log().policy() == AppendFsync::Everysec;
            let timeout = (self.unsynced && every_second).then(|| self.until_sync());
            let taken = self.log().take(timeout);
            let end = taken.end;
            let Ok(()) = self.work(taken) else { return };
            if end {
                self.close();
                return;
            }
        }
    }

    fn log(&self) -> &WriteLog {
        &self.services.write_log
    }

    /// How long `everysec` lets the next flush wait.
    fn until_sync(&self) -> Duration {
        let waited_ms = self.clock.steady_ms() - self.last_sync_ms;
        let waited = u64::try_from(waited_ms).map_or(SYNC_EVERY, Duration::from_millis);
        SYNC_EVERY.saturating_sub(waited)
    }

    fn work(&mut self, taken: Taken) -> Result<(), Failed> {
        let mut offset = taken.start_offset;
        for chunk in taken.chunks {
            if chunk.begins_increment {
                self.begin(offset)?;
            }
            self.append_block(&chunk.bytes)?;
            offset += chunk.bytes.len() as u64;
            self.log().note_written(offset);
            self.unsynced_bytes += chunk.bytes.len() as u64;
            self.log().recycle(chunk.bytes);
            if self.unsynced_bytes >= SYNC_BYTES && self.log().policy() == AppendFsync::Everysec {
                self.sync(offset)?;
            }
        }
        if self.services.gates().has(Gates::LOG_FULL) {
            self.services.set_gate(Gates::LOG_FULL, false);
            self.tell(&Message::Look);
        }
        let due = match self.log().policy() {
            AppendFsync::Always => true,
            AppendFsync::Everysec => self.until_sync().is_zero(),
            AppendFsync::No => false,
        };
        if due && self.unsynced || taken.sync {
            self.sync(offset)?;
        }
        Ok(())
    }

    /// Appends records as one block. Only what is larger than any block may be becomes several: a transaction of gigabytes, of which a crash may
    /// then leave the beginning.
    fn append_block(&mut self, mut records: &[u8]) -> Result<(), Failed> {
        if self.writer.is_none() {
            return Ok(());
        }
        while !records.is_empty() {
            let (block, rest) = records.split_at(leading_records(records, RECORDS_MAX));
            self.unsynced = true;
            self.until_it_works(|this| match &mut this.writer {
                Some(writer) => writer.append(block),
                None => Ok(()),
            })?;
            records = rest;
        }
        Ok(())
    }

    /// Ends the present increment and begins one at `offset`.
    fn begin(&mut self, offset: u64) -> Result<(), Failed> {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.close()
        {
            return self.fail(&error);
        }
        self.advance(offset);
        self.until_it_works(|this| {
            this.writer = Some(this.store.begin_log(offset, this.clock.now_ms())?);
            Ok(())
        })
    }

    fn sync(&mut self, offset: u64) -> Result<(), Failed> {
        self.last_sync_ms = self.clock.steady_ms();
        if let Some(writer) = &mut self.writer
            && self.unsynced
            && let Err(error) = writer.sync()
        {
            return self.fail(&error);
        }
        self.advance(offset);
        if self.log().policy() == AppendFsync::Always
            && let Some(writer) = &mut self.writer
        {
            // Only for speed: without space for zeros the log goes on as it is.
            let _ = writer.prepare(PREPARED_BYTES);
        }
        Ok(())
    }

    /// Everything before `offset` is on disk: tells those who wait for that.
    fn advance(&mut self, offset: u64) {
        self.unsynced = false;
        self.unsynced_bytes = 0;
        if self.log().note_durable(offset) {
            self.tell(&Message::Durable);
            self.tell(&Message::Look);
        }
    }

    /// Tries something on the disk until it succeeds, refusing writes meanwhile.
    fn until_it_works(
        &mut self,
        mut act: impl FnMut(&mut LogThread) -> std::io::Result<()>,
    ) -> Result<(), Failed> {
        let mut troubled = false;
        while let Err(error) = act(self) {
            if self.writer.as_ref().is_some_and(LogWriter::is_lost) {
                return self.fail(&error);
            }
            if !troubled {
                tracing::error!(%error, "the write log cannot be written; writes are refused until it can");
                self.log().note_trouble(Some(system::error_text(&error)));
                self.services.check_writes();
                self.tell(&Message::Durable);
                troubled = true;
            }
            if self.log().rest(RETRY) {
                // The server ends, and the disk does not take what is left.
                tracing::error!(%error, "the end of the write log is lost");
                // Whoever waits for the log, such as a save, hears that it has ended.
                self.log().note_failure(system::error_text(&error));
                return Err(Failed);
            }
        }
        if troubled {
            tracing::info!("the write log can be written again");
            self.log().note_trouble(None);
            self.services.check_writes();
        }
        Ok(())
    }

    fn fail(&mut self, error: &std::io::Error) -> Result<(), Failed> {
        tracing::error!(%error, "flushing the write log has failed; no more writes are accepted");
        self.log().note_failure(system::error_text(error));
        self.services.check_writes();
        self.tell(&Message::Durable);
        self.tell(&Message::Look);
        Err(Failed)
    }

    fn tell(&self, message: &Message) {
        for mailbox in self.services.clients.mailboxes() {
            mailbox.send(message.clone());
        }
    }

    fn close(&mut self) {
        if let Some(writer) = self.writer.take()
            && let Err(error) = writer.close()
        {
            tracing::error!(%error, "the end of the write log could not be flushed");
        }
    }
}
