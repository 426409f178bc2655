//! How other threads reach the clients of an event loop: a queue and a way to wake the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::migration::MigrationResult;
use super::reload::{QuietPoint, ReloadResult};
use crate::base::lock::Mutex;

/// Something for a client of the loop. `place` and `id` name it; a client that is gone is skipped.
#[derive(Clone, Debug)]
pub enum Message {
    /// Bytes for the client's output, complete in its protocol.
    Deliver { place: usize, id: u64, bytes: Bytes },
    /// CLIENT KILL.
    Kill { place: usize, id: u64 },
    /// CLIENT UNBLOCK: what the client waits in ends, as at its timeout or with an error.
    Unblock { place: usize, id: u64, error: bool },
    /// MIGRATE has come to its end.
    Migrated { place: usize, id: u64, result: Arc<MigrationResult> },
    /// DEBUG RELOAD or LOADAOF has come to its end.
    Reloaded { place: usize, id: u64, result: ReloadResult },
    /// The loop is between two batches now, and is to say so.
    Pass(Arc<QuietPoint>),
    /// Something that blocked clients wait for has happened: look at them again.
    Look,
    /// The write log has reached the disk: look at held replies.
    Durable,
    /// DEBUG SLEEP: the loop does nothing until this time, in steady microseconds.
    Sleep { until_us: i64 },
    /// SHUTDOWN: the loop ends.
    Stop,
}

/// The queue of one event loop. What can pile up in it is bounded by the clients' output limits, which the loop applies when it
/// empties the queue, as it does between any two batches. On cache lines of its own, because its loop looks at it in every sweep.
#[repr(align(128))]
pub struct Mailbox {
    queue: Mutex<Vec<Message>>,
    signalled: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// `wake` makes the loop look soon; it is called at most once between two looks.
    pub fn new(wake: Box<dyn Fn() + Send + Sync>) -> Mailbox {
        Mailbox { queue: Mutex::new(Vec::new()), signalled: AtomicBool::new(false), wake }
    }

    pub fn send(&self, message: Message) {
        self.queue.lock().push(message);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            (self.wake)();
        }
    }

    /// Whether there is something to take; cheap.
    #[inline]
    pub fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }

    /// Moves what is for clients' outputs to `messages` and leaves the rest, in order both. The loop that owns the mailbox calls it.
    #[cold]
    pub fn take_deliveries(&self, messages: &mut Vec<Message>) {
        let mut queue = self.queue.lock();
        messages.extend(queue.extract_if(.., |message| matches!(message, Message::Deliver { .. })));
    }

    /// Empties the queue into `messages`.
    pub fn take(&self, messages: &mut Vec<Message>) {
        self.signalled.store(false, Ordering::Release);
        std::mem::swap(&mut *self.queue.lock(), messages);
    }
}
