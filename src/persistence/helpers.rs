//! Threads that help with one piece of work, and memory that they share.

use std::thread::Builder;

use parking_lot::{Condvar, Mutex};

/// Does the work on this thread and on up to `helpers` others, and gives all results. Where the system has no thread left, fewer do it.
pub fn with_helpers<R: Send>(
    helpers: usize,
    thread: impl Fn() -> Builder,
    work: impl Fn() -> R + Sync,
    panicked: impl Fn() -> R,
) -> Vec<R> {
    let work = &work;
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..helpers {
            match thread().spawn_scoped(scope, work) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    tracing::warn!(%error, "{number} of {helpers} further threads could be started");
                    break;
                }
            }
        }
        let mut results = vec![work()];
        results.extend(threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| panicked())));
        results
    })
}

/// So many bytes, of which several threads take parts for a while. One that wants more than there is gets all of it, and has it alone.
pub struct MemoryBudget {
    bytes: u64,
    free: Mutex<u64>,
    given_back: Condvar,
}

/// A part of a budget.
pub struct Share<'b> {
    budget: &'b MemoryBudget,
    bytes: u64,
}

impl MemoryBudget {
    pub fn new(bytes: u64) -> MemoryBudget {
        MemoryBudget { bytes, free: Mutex::new(bytes), given_back: Condvar::new() }
    }

    /// Waits until there is so much.
    pub fn take(&self, bytes: u64) -> Share<'_> {
        let bytes = bytes.min(self.bytes);
        let mut free = self.free.lock();
        while *free < bytes {
            self.given_back.wait(&mut free);
        }
        *free -= bytes;
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock() += self.bytes;
        self.budget.given_back.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn work_is_done_though_no_thread_can_be_started() {
        // No address space has room for such a stack.
        let hopeless = || Builder::new().stack_size(1 << 50);
        for (thread, expected) in [(&hopeless as &dyn Fn() -> Builder, 1), (&Builder::new, 4)] {
            let done = AtomicU64::new(0);
            let results = with_helpers(3, thread, || done.fetch_add(1, Ordering::Relaxed), || u64::MAX);
            assert_eq!((results.len(), done.into_inner()), (expected, expected as u64));
        }
        let results = with_helpers(
            1,
            Builder::new,
            || assert!(std::thread::current().name().is_some(), "a helper has no name here"),
            || (),
        );
        assert_eq!(results.len(), 2, "a helper that panics is told of");
    }

    #[test]
    fn what_threads_hold_together_is_never_more_than_the_budget() {
        let budget = MemoryBudget::new(100);
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            for wanted in [30, 100, 1, 60, 5000] {
                let share = budget.take(wanted);
                let sum = held.fetch_add(wanted.min(100), Ordering::SeqCst) + wanted.min(100);
                most.fetch_max(sum, Ordering::SeqCst);
                held.fetch_sub(wanted.min(100), Ordering::SeqCst);
                drop(share);
            }
        };
        assert_eq!(with_helpers(3, Builder::new, work, || ()).len(), 4);
        let most = most.into_inner();
        assert!((1..=100).contains(&most), "{most}");
    }
}
