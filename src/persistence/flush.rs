//! A flush of the write log on its way: while the disk works on it, the log's thread writes what comes.
//!
//! A record that is written outlives the process, whatever becomes of the flush. What was written before a flush began is durable when it has
//! succeeded, and nothing behind that is. There is one at a time. A thread of its own does the flushes that [`LogTask`](super::LogTask) orders; without one, or where replies
//! wait for the flush, the log's thread does them itself.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use parking_lot::Mutex;

use crate::services::Services;
use crate::storage::LogSync;

/// From so much on INFO counts a flush as delayed, as Redis counts those that its writes have waited for.
const DELAYED_MS: i64 = 2000;

/// What the disk has answered, once it has.
type Answer = Arc<Mutex<Option<io::Result<()>>>>;

/// What the flushing thread is to do.
pub struct Order {
    services: Arc<Services>,
    sync: LogSync,
    answer: Answer,
}

impl Order {
    /// Flushes, and calls the log's thread.
    pub fn carry_out(self) {
        let result = self.sync.run();
        *self.answer.lock() = Some(result);
        self.services.write_log.call_writer();
    }
}

/// A flush that was ordered.
pub struct Flush {
    pub sync: LogSync,
    /// Up to where it makes the log durable.
    pub offset: u64,
    /// Steady milliseconds.
    begun_ms: i64,
    answer: Answer,
}

impl Flush {
    /// Orders one. `None` if nobody takes the order.
    pub fn order(
        orders: &Sender<Order>,
        services: &Arc<Services>,
        sync: LogSync,
        offset: u64,
        begun_ms: i64,
    ) -> Option<Flush> {
        let answer = Answer::default();
        let order = Order { services: Arc::clone(services), sync: sync.clone(), answer: Arc::clone(&answer) };
        orders.send(order).ok()?;
        Some(Flush { sync, offset, begun_ms, answer })
    }

    /// How it went, once.
    pub fn take_result(&self) -> Option<io::Result<()>> {
        self.answer.lock().take()
    }

    pub fn is_delayed(&self, steady_ms: i64) -> bool {
        steady_ms - self.begun_ms >= DELAYED_MS
    }
}

/// Starts the thread that flushes until nobody can order anything any more. `None` if the system has no thread left.
pub fn start_flushing() -> Option<Sender<Order>> {
    let (orders, taken): (Sender<Order>, Receiver<Order>) = channel();
    let work = move || taken.into_iter().for_each(Order::carry_out);
    match thread::Builder::new().name("flush".into()).spawn(work) {
        Ok(_) => Some(orders),
        Err(error) => {
            tracing::warn!(%error, "the write log is not written while it is flushed");
            None
        }
    }
}
