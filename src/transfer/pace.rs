//! How fast a transfer goes, and how far it is: the rate limit and the progress bar.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::BATCH_KEYS;
use crate::base::clock::Clock;

/// See the module's text.
pub struct Pace {
    bar: ProgressBar,
    clock: Clock,
    started_us: i64,
    /// Keys a second; 0 is no limit.
    rate: u32,
    keys: u64,
}

impl Pace {
    /// A bar that is shown if standard error is a terminal.
    pub fn new(what: &'static str, rate: u32) -> Pace {
        let bar = ProgressBar::new(0);
        let template = "{msg} {wide_bar} {pos}/{len} keys, {per_sec}, {eta} left";
        // The template is a constant; a mistake in it would only cost its look.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what);
        let clock = Clock::System;
        Pace { bar, started_us: clock.now_us(), clock, rate, keys: 0 }
    }

    /// The most keys of the next batch: a tenth of a second's worth where a rate is set.
    pub fn keys_max(&self) -> usize {
        if self.rate == 0 { BATCH_KEYS } else { (self.rate as usize / 10).clamp(1, BATCH_KEYS) }
    }

    /// Notes keys that are done, of about `expected`, and waits if that was too fast.
    #[allow(
        clippy::disallowed_methods,
        reason = "a tool that keeps to a rate has nothing else to do meanwhile"
    )]
    pub fn done(&mut self, keys: u64, expected: u64) {
        self.keys += keys;
        self.bar.set_length(expected.max(self.keys));
        self.bar.set_position(self.keys);
        if self.rate == 0 {
            return;
        }
        let due_us =
            i64::try_from(self.keys.saturating_mul(1_000_000) / u64::from(self.rate)).unwrap_or(i64::MAX);
        let early_us = due_us.saturating_sub(self.clock.now_us() - self.started_us);
        if let Ok(early_us) = u64::try_from(early_us) {
            std::thread::sleep(Duration::from_micros(early_us));
        }
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
