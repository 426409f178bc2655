//! The clock handle and the two times that it tells. Only the outer shells (event loops, cron, tests) hold one; the core gets the time as an argument.

#![allow(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the operating system for the time"
)]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One look at both clocks.
///
/// Wall time is what the deadlines of keys and all dates mean; it steps when somebody sets the clock. Steady time passes evenly, never goes
/// back, and is one for all threads: whatever lasts, waits or has an age is measured in it. It begins as the Unix time at which the process
/// first asked for it, so that an age that outlives the process (access histories in a snapshot) still means something in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix microseconds.
    pub wall_us: i64,
    pub steady_us: i64,
}

impl Now {
    /// A moment at which both clocks show these Unix milliseconds.
    pub fn at_ms(unix_ms: i64) -> Now {
        Now { wall_us: unix_ms * 1000, steady_us: unix_ms * 1000 }
    }

    pub fn wall_ms(self) -> i64 {
        self.wall_us.div_euclid(1000)
    }

    pub fn steady_ms(self) -> i64 {
        self.steady_us.div_euclid(1000)
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The operating system's clocks.
    System,
    /// Hands that a test moves.
    Manual(Arc<Hands>),
}

/// The hands of a manual clock.
pub struct Hands {
    wall_us: AtomicI64,
    steady_us: AtomicI64,
}

impl Hands {
    /// Time passes.
    pub fn advance_ms(&self, ms: i64) {
        self.steady_us.fetch_add(ms * 1000, Ordering::Relaxed);
        self.step_wall_ms(ms);
    }

    /// Somebody sets the wall clock; no time passes.
    pub fn step_wall_ms(&self, ms: i64) {
        self.wall_us.fetch_add(ms * 1000, Ordering::Relaxed);
    }
}

impl Clock {
    /// A manual clock that shows `unix_ms` on both hands, and its hands.
    pub fn manual(unix_ms: i64) -> (Clock, Arc<Hands>) {
        let us = || AtomicI64::new(unix_ms * 1000);
        let hands = Arc::new(Hands { wall_us: us(), steady_us: us() });
        (Clock::Manual(Arc::clone(&hands)), hands)
    }

    /// Both clocks, read as close together as it goes.
    pub fn now(&self) -> Now {
        let steady_us = self.steady_us();
        Now { wall_us: self.now_us(), steady_us }
    }

    /// Unix microseconds.
    pub fn now_us(&self) -> i64 {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
            }
            Clock::Manual(hands) => hands.wall_us.load(Ordering::Relaxed),
        }
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> i64 {
        self.now_us().div_euclid(1000)
    }

    /// Steady microseconds; see [`Now`].
    pub fn steady_us(&self) -> i64 {
        static ORIGIN: OnceLock<(i64, Instant)> = OnceLock::new();
        match self {
            Clock::System => {
                let (wall_us, instant) = ORIGIN.get_or_init(|| (Clock::System.now_us(), Instant::now()));
                wall_us + instant.elapsed().as_micros() as i64
            }
            Clock::Manual(hands) => hands.steady_us.load(Ordering::Relaxed),
        }
    }

    /// Steady milliseconds; see [`Now`].
    pub fn steady_ms(&self) -> i64 {
        self.steady_us().div_euclid(1000)
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
    /// The stopwatch of the process. The first call calibrates it against the monotonic clock, for about two milliseconds.
    pub fn calibrated() -> Stopwatch {
        static CALIBRATED: OnceLock<Stopwatch> = OnceLock::new();
        *CALIBRATED.get_or_init(Stopwatch::calibrate)
    }

    fn calibrate() -> Stopwatch {
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
