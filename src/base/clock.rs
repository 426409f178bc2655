//! The clock handle. Only the outer shells (event loops, cron, tests) hold one; the core gets the time as an argument.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the operating system for the time"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The operating system's wall clock.
    System,
    /// A hand that a test moves: Unix microseconds.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// A manual clock that shows `unix_ms`, and its hand.
    pub fn manual(unix_ms: i64) -> (Clock, Arc<AtomicI64>) {
        let hand = Arc::new(AtomicI64::new(unix_ms * 1000));
        (Clock::Manual(Arc::clone(&hand)), hand)
    }

    /// Unix microseconds.
    pub fn now_us(&self) -> i64 {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }
            Clock::Manual(hand) => hand.load(Ordering::Relaxed),
        }
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }
}

/// Measures how long requests take. On x86-64 it reads the processor's time stamp counter, which costs a few nanoseconds and runs at
/// a constant rate on every processor of the last fifteen years; elsewhere the monotonic clock.
#[derive(Clone, Copy)]
pub struct Stopwatch {
    /// Microseconds a tick, times 2^32.
    scale: u64,
}

impl Stopwatch {
    /// Calibrates against the monotonic clock for about two milliseconds.
    pub fn calibrated() -> Stopwatch {
        let (start, first) = (Instant::now(), Stopwatch::ticks());
        while start.elapsed().as_micros() < 2000 {
            std::hint::spin_loop();
        }
        let (elapsed, ticks) = (start.elapsed(), Stopwatch::ticks().wrapping_sub(first).max(1));
        Stopwatch { scale: ((elapsed.as_nanos() << 32) / 1000 / u128::from(ticks)) as u64 }
    }

    /// Now, in ticks of an unknown origin.
    #[inline]
    pub fn ticks() -> u64 {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: every x86-64 processor has this instruction; it only reads a counter.
        unsafe {
            std::arch::x86_64::_rdtsc()
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            use std::sync::OnceLock;
            static START: OnceLock<Instant> = OnceLock::new();
            START.get_or_init(Instant::now).elapsed().as_nanos() as u64
        }
    }

    /// How many ticks this many microseconds are.
    pub fn ticks_in(self, microseconds: u64) -> u64 {
        ((u128::from(microseconds) << 32) / u128::from(self.scale.max(1))) as u64
    }

    /// Whole microseconds from `start` to `end`.
    #[inline]
    pub fn microseconds(self, start: u64, end: u64) -> u64 {
        let ticks = end.wrapping_sub(start);
        // A counter that stepped back (a migrated virtual machine) reads as no time at all.
        if ticks > 1 << 62 { 0 } else { ((u128::from(ticks) * u128::from(self.scale)) >> 32) as u64 }
    }
}
