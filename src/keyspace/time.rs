//! The time that wheels run on. It follows the wall clock, by which deadlines are meant, but never goes back.
//!
//! Wheel time is wall time plus a correction. While the wall clock goes on, wheel time goes with it, by a jump if it jumps: then what the
//! jump has made due is due. When the wall clock is set back, the correction grows by as much, and wheel time goes on as if nothing had
//! happened. So the correction never shrinks, and a record that was filed with an earlier one comes due too early, never too late; what
//! comes too early is filed again. Nothing has to be filed anew because a clock was set.
//!
//! A step shows as a change of the difference between the two clocks. Event loops read them at different moments; the difference is the
//! same for all of them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::wheel::{HORIZON_TICKS, TICK_MS};
use crate::base::clock::Now;
use crate::base::lock::Mutex;

/// A change of the difference by less is no step: the clock is being slewed, or a thread was interrupted between two readings. Wheel time may
/// go back by so much, and keys may expire twice as much late for once.
const UNNOTICED_MS: i64 = 50;

/// See the module's text.
pub(super) struct WheelTime {
    /// Milliseconds by which wheel time is ahead of wall time. Grows with each step back.
    correction_ms: AtomicI64,
    /// Steady time minus wall time, as of the last step.
    difference_ms: AtomicI64,
    /// The last tick that anybody has seen.
    reached: AtomicU64,
    stepping: Mutex<()>,
}

impl WheelTime {
    /// Begins at a wall time.
    pub fn new(now_ms: i64) -> WheelTime {
        WheelTime {
            correction_ms: AtomicI64::new(0),
            difference_ms: AtomicI64::new(0),
            reached: AtomicU64::new(tick_at(now_ms)),
            stepping: Mutex::new(()),
        }
    }

    /// Notices a step of the wall clock, and how far time has come.
    #[inline]
    pub fn follow(&self, now: Now) {
        // The correction is read first and written last: whoever has read the clocks before a step, and meets the correction after it,
        // meets the difference after it, too, and takes his reading for one more step.
        let mut correction_ms = self.correction_ms.load(Ordering::Acquire);
        let difference_ms = now.steady_ms() - now.wall_ms();
        if (difference_ms - self.difference_ms.load(Ordering::Acquire)).abs() > UNNOTICED_MS {
            correction_ms = self.step(difference_ms);
        }
        let tick = tick_at(now.wall_ms() + correction_ms);
        if tick > self.reached.load(Ordering::Relaxed) {
            self.reached.fetch_max(tick, Ordering::Relaxed);
        }
    }

    #[cold]
    fn step(&self, difference_ms: i64) -> i64 {
        let _one = self.stepping.lock();
        let back_ms = difference_ms - self.difference_ms.load(Ordering::Relaxed);
        let mut correction_ms = self.correction_ms.load(Ordering::Relaxed);
        // Otherwise another loop has noticed the same step.
        if back_ms.abs() > UNNOTICED_MS {
            correction_ms += back_ms.max(0);
            self.difference_ms.store(difference_ms, Ordering::Release);
            self.correction_ms.store(correction_ms, Ordering::Release);
        }
        correction_ms
    }

    /// The last tick that has been reached at a wall time. A wall time from before a step must not take a wheel ahead of all others.
    #[inline]
    pub fn tick_reached(&self, now_ms: i64) -> u64 {
        let tick = tick_at(now_ms + self.correction_ms.load(Ordering::Acquire));
        tick.min(self.reached.load(Ordering::Relaxed))
    }

    /// The first tick at which a deadline has passed, or one before it: an entry whose deadline is beyond the horizon is looked at there and
    /// filed again.
    #[inline]
    pub fn tick_of_deadline(&self, at_ms: i64, now_ms: i64) -> u64 {
        let reached = self.tick_reached(now_ms);
        let corrected_ms = at_ms.saturating_add(self.correction_ms.load(Ordering::Acquire) + TICK_MS - 1);
        let tick = tick_at(corrected_ms).clamp(reached, reached + HORIZON_TICKS);
        // An entry keeps 32 bits of it, and 0 says there that it is not filed.
        tick + u64::from(tick as u32 == 0)
    }
}

fn tick_at(wheel_ms: i64) -> u64 {
    (wheel_ms / TICK_MS).max(0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: i64 = 1_790_000_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn at(steady_ms: i64, wall_ms: i64) -> Now {
        Now { wall_us: wall_ms * 1000, steady_us: steady_ms * 1000 }
    }

    #[test]
    fn a_deadline_is_filed_as_far_ahead_as_it_lies_whatever_the_clock_was_set_to() {
        let time = WheelTime::new(START_MS);
        let (mut steady_ms, mut wall_ms) = (START_MS, START_MS);
        let mut before = 0;
        for step_ms in [0, -HOUR_MS, HOUR_MS, HOUR_MS, -5 * HOUR_MS, 56 * 8766 * HOUR_MS, -1000, 40, -40] {
            steady_ms += 100;
            wall_ms += 100 + step_ms;
            time.follow(at(steady_ms, wall_ms));
            let reached = time.tick_reached(wall_ms);
            assert!(reached >= before, "after a step of {step_ms} ms: {reached} < {before}");
            let ahead = time.tick_of_deadline(wall_ms + 320, wall_ms) - reached;
            assert!((20..=21).contains(&ahead), "after a step of {step_ms} ms: {ahead}");
            before = reached;
        }
    }

    #[test]
    fn whoever_read_the_clock_before_a_step_takes_no_wheel_ahead() {
        let time = WheelTime::new(START_MS);
        time.follow(at(START_MS + 100, START_MS + 100 - HOUR_MS));
        let reached = time.tick_reached(START_MS + 100 - HOUR_MS);
        // This batch began before.
        assert_eq!(time.tick_reached(START_MS + 99), reached);
        // This one reads on: its old reading counts as two more steps, and time goes on from there for all.
        time.follow(at(START_MS + 99, START_MS + 99));
        time.follow(at(START_MS + 116, START_MS + 116 - HOUR_MS));
        let now_ms = START_MS + 116 - HOUR_MS;
        let ahead = time.tick_of_deadline(now_ms + 320, now_ms) - time.tick_reached(now_ms);
        assert!((20..=21).contains(&ahead), "{ahead}");
    }

    #[test]
    fn a_deadline_far_away_is_looked_at_within_the_horizon() {
        let time = WheelTime::new(START_MS);
        let tick = time.tick_of_deadline(i64::MAX, START_MS);
        assert_eq!(tick - time.tick_reached(START_MS), HORIZON_TICKS);
        assert_eq!(
            time.tick_of_deadline(1, START_MS),
            time.tick_reached(START_MS),
            "long past is due at once"
        );
    }
}
