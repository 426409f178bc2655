//! How other threads reach the clients of an event loop: a queue and a bell that wakes the loop.
//!
//! # The bell
//! The loop sleeps until the bell rings. That no ring is lost, and none needed twice, follows from these steps, each of which is atomic:
//!
//! | who | step |
//! | --- | --- |
//! | sender, under the queue's lock | **post**: put the message in; if the mark `signalled` was off, set it: this sender has to ring |
//! | sender | **ring**, if it has to |
//! | loop | **wake**: the poller tells of a ring, and forgets it by that |
//! | loop, under the queue's lock | **take**: clear the mark, take all messages |
//!
//! The loop wakes before it takes, never the other way round: a ring that came for messages which are taken is at worst heard once more, but
//! no ring for later ones can be taken for it. If the loop leaves something, the mark stays, and it comes back without a ring. So whenever the loop
//! sleeps, either the queue is empty, or the bell rings, or a sender is on its way from post to ring. The test below goes through all orders of
//! these steps. With an eventfd that the poller watches for edges, waking and forgetting are one call (`server/event_loop.rs`).
//!
//! # What waits
//! A delivery in the queue counts as its receivers' memory, and `waiting_bytes` as the queue's. Whoever sends looks at that ([`Mailbox::is_full`]) and
//! lets requests wait that would send more; so a queue is as long as `delivery-buffer-limit` allows, and what one request adds to it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::delivery::Delivery;
use super::kill::Acknowledgement;
use super::migration::MigrationResult;
use super::reload::{QuietPoint, ReloadResult};
use crate::base::lock::Mutex;

/// Room for deliveries that an empty queue keeps.
const KEPT_DELIVERIES: usize = 1024;

/// Something for clients of the loop. `place` and `id` name one; a client that is gone is skipped.
#[derive(Clone, Debug)]
pub enum Message {
    /// Bytes for the output of one client or several.
    Deliver(Delivery),
    /// CLIENT KILL.
    Kill { place: usize, id: u64, done: Option<Acknowledgement> },
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
    /// SHUTDOWN: the loop ends. For so long it may wait for clients to read.
    Stop { wait_ms: i64 },
}

#[derive(Default)]
struct Queue {
    messages: Vec<Message>,
    deliveries: VecDeque<Delivery>,
}

/// What the deliveries in a mailbox counted as before some were taken, and behind that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub before: u64,
    pub after: u64,
}

/// The queue of one event loop. On cache lines of its own, because its loop looks at it in every sweep.
#[repr(align(128))]
pub struct Mailbox {
    queue: Mutex<Queue>,
    signalled: AtomicBool,
    /// What the deliveries in the queue count as; changed under the queue's lock.
    waiting_bytes: AtomicUsize,
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Mailbox {
    /// `ring` rings the loop's bell.
    pub fn new(ring: Box<dyn Fn() + Send + Sync>) -> Mailbox {
        Mailbox {
            queue: Mutex::default(),
            signalled: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            ring,
        }
    }

    pub fn send(&self, message: Message) {
        if self.post(message) {
            (self.ring)();
        }
    }

    /// Puts a message in; says whether the bell has to be rung for it.
    fn post(&self, message: Message) -> bool {
        let mut queue = self.queue.lock();
        if let Message::Deliver(delivery) = message {
            delivery.depart();
            self.waiting_bytes.fetch_add(delivery.counted_bytes(), Ordering::Relaxed);
            queue.deliveries.push_back(delivery);
        } else {
            queue.messages.push(message);
        }
        !self.signalled.swap(true, Ordering::AcqRel)
    }

    /// Whether there is something to take; cheap.
    #[inline]
    pub fn is_signalled(&self) -> bool {
        self.signalled.load(Ordering::Acquire)
    }

    /// Whether more than `limit` bytes wait.
    pub fn is_full(&self, limit: u64) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) as u64 > limit
    }

    /// Appends all deliveries to `messages`, in their order, and leaves everything else. The loop that owns the mailbox calls it, as `take`.
    #[cold]
    pub fn take_deliveries(&self, messages: &mut Vec<Message>) -> Taken {
        self.move_deliveries(&mut self.queue.lock(), messages, usize::MAX)
    }

    /// Appends to `messages` what the queue has, deliveries last, and of these so many that they count as `bytes_max`, or one more. `None` is no
    /// delivery at all.
    pub fn take(&self, messages: &mut Vec<Message>, bytes_max: Option<usize>) -> Taken {
        let mut queue = self.queue.lock();
        messages.append(&mut queue.messages);
        let taken = self.move_deliveries(&mut queue, messages, bytes_max.unwrap_or(0));
        self.signalled.store(!queue.deliveries.is_empty(), Ordering::Release);
        taken
    }

    fn move_deliveries(&self, queue: &mut Queue, messages: &mut Vec<Message>, bytes_max: usize) -> Taken {
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(delivery) = queue.deliveries.pop_front()
        {
            bytes += delivery.counted_bytes();
            delivery.arrive();
            messages.push(Message::Deliver(delivery));
        }
        if queue.deliveries.is_empty() && queue.deliveries.capacity() > KEPT_DELIVERIES {
            queue.deliveries = VecDeque::new();
        }
        let before = self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Taken { before: before as u64, after: (before - bytes) as u64 }
    }
}

#[cfg(test)]
#[path = "mailbox_tests.rs"]
mod tests;
