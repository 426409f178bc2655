//! The lock that event loops share with each other and with threads in the background.
//!
//! `parking_lot`'s lock is fair from time to time: who unlocks it hands it to the thread that has slept for it longest, and it stays locked until that
//! thread runs. Where two threads seldom meet, that is every time they do. Then an event loop waits for the lock that it has just had, as long as
//! the machine takes to wake the other thread up: milliseconds, on a busy one. Here whoever runs takes the lock (the standard library's rule), so it
//! is held by a sleeping thread only where the system interrupts one that holds it.
//!
//! A lock whose holder has panicked can still be taken, as with `parking_lot`.

#![allow(clippy::disallowed_types, reason = "the one place that wraps them; the module's text says why")]

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;
use std::{hint, thread};

use super::waiting::may_wait;

/// Attempts before a thread sleeps, because most locks are held for less than it takes to fall asleep and wake up: first waiting twice as long
/// each time, then leaving the processor to others.
const SPINS: u32 = 3;
const YIELDS: u32 = 7;
const YIELD_END: u32 = SPINS + YIELDS;
/// Between two looks of who must not fall asleep for good.
const NAP: Duration = Duration::from_micros(50);

/// How often [`Mutex::let_others`] leaves the processor: for about as long as a sleeping thread takes to wake up, at the most some ten times that.
const HAND_OVER_YIELDS: u32 = 500;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Mutex<T> {
    /// Threads that found it locked and do not have it yet.
    waiting: AtomicU32,
    inner: sync::Mutex<T>,
}

/// Holds a [`Mutex`] until it is dropped.
pub type MutexGuard<'a, T> = sync::MutexGuard<'a, T>;

impl<T> Mutex<T> {
    pub const fn new(value: T) -> Mutex<T> {
        Mutex { waiting: AtomicU32::new(0), inner: sync::Mutex::new(value) }
    }

    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.try_lock().unwrap_or_else(|| self.lock_contended())
    }

    /// Waits for the lock in naps, and ends without it when `give_up` says so: for who holds other locks, and may have to let go of them.
    #[allow(clippy::disallowed_methods, reason = "a nap in the place of the sleep that a lock is")]
    pub fn lock_unless(&self, give_up: impl Fn() -> bool) -> Option<MutexGuard<'_, T>> {
        let mut attempt = 0;
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            if give_up() {
                return None;
            }
            match attempt {
                0..SPINS => (0..2 << attempt).for_each(|_| hint::spin_loop()),
                SPINS..YIELD_END => thread::yield_now(),
                _ => thread::sleep(NAP),
            }
            attempt = (attempt + 1).min(YIELD_END);
        }
    }

    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        self.waiting.fetch_add(1, Relaxed);
        let guard = self.wait();
        self.waiting.fetch_sub(1, Relaxed);
        guard
    }

    /// For one who takes the lock again and again, and has just released it: lets those have it who wait for it now. As whoever runs takes the lock,
    /// they would sleep until he is through. Says whether nobody waits any more.
    pub fn let_others(&self) -> bool {
        for _ in 0..HAND_OVER_YIELDS {
            if self.waiting.load(Relaxed) == 0 {
                return true;
            }
            thread::yield_now();
        }
        false
    }

    fn wait(&self) -> MutexGuard<'_, T> {
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
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_waits_has_the_lock_before_another_takes_it_again() {
        let lock = Mutex::new(0);
        let mut held = lock.lock();
        thread::scope(|scope| {
            scope.spawn(|| *lock.lock() += 1);
            while lock.waiting.load(Relaxed) == 0 {
                thread::yield_now();
            }
            *held = 10;
            drop(held);
            while !lock.let_others() {}
            assert_eq!(*lock.lock(), 11, "the other has added to what was there");
        });
    }
}
