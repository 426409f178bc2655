//! The lock that event loops share with each other and with threads in the background.
//!
//! `parking_lot`'s lock is fair from time to time: who unlocks it hands it to the thread that has slept for it longest, and it stays locked until that
//! thread runs. Where two threads seldom meet, that is every time they do. Then an event loop waits for the lock that it has just had, as long as
//! the machine takes to wake the other thread up: milliseconds, on a busy one. Here whoever runs takes the lock (the standard library's rule), so it
//! is held by a sleeping thread only where the system interrupts one that holds it.
//!
//! A lock whose holder has panicked can still be taken, as with `parking_lot`.

#![allow(clippy::disallowed_types, reason = "the one place that wraps them; the module's text says why")]

use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;
use std::{hint, thread};

use super::waiting::may_wait;

/// Attempts before a thread sleeps, because most locks are held for less than it takes to fall asleep and wake up: first waiting twice as long
/// each time, then leaving the processor to others.
const SPINS: u32 = 3;
const YIELDS: u32 = 7;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Mutex<T>(sync::Mutex<T>);

/// Holds a [`Mutex`] until it is dropped.
pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(sync::Mutex::new(value))
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_contended())
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        for attempt in 0..SPINS + YIELDS {
            if attempt < SPINS {
                (0..2 << attempt).for_each(|_| hint::spin_loop());
            } else {
                thread::yield_now();
            }
            if let Some(guard) = self.try_lock() {
                return guard;
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for what another thread does under a [`Mutex`]. To notify after the unlock saves the woken thread a wait for the lock.
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    pub const fn new() -> Condvar {
        Condvar(sync::Condvar::new())
    }

    /// Releases the lock and waits for a notification, or for none: the caller looks again.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        may_wait();
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// [`Condvar::wait`] for no longer than `time`; says whether that was up.
    pub fn wait_for<'a, T>(&self, guard: MutexGuard<'a, T>, time: Duration) -> (MutexGuard<'a, T>, bool) {
        may_wait();
        let (guard, result) = self.0.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner);
        (guard, result.timed_out())
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
