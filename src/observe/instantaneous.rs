//! The "instantaneous" metrics of INFO: a rate over the last sixteen samples of a growing total.
//!
//! The caller samples at its own pace (Redis: ten times a second, so that the window is 1.6 seconds).

/// How many samples the average covers.
const SAMPLES: usize = 16;

/// A rate, kept as the latest sixteen differences between samples.
#[derive(Debug, Default)]
pub struct InstantaneousMetric {
    samples: [u64; SAMPLES],
    next: usize,
    /// Value and base of the previous sample.
    previous: Option<(u64, u64)>,
}

impl InstantaneousMetric {
    /// Takes a sample: `value` is the total so far, `base` what it is divided by, and `factor` how many units of
    /// base the rate refers to. Commands per second: value is the number of commands, base the time in
    /// microseconds, factor 1,000,000. Duration of an event loop cycle: value is the sum of durations, base the
    /// number of cycles, factor 1. The first sample only marks where to start.
    pub fn sample(&mut self, value: u64, base: u64, factor: u64) {
        if let Some((value_before, base_before)) = self.previous {
            let (grown, elapsed) = (value.saturating_sub(value_before), base.saturating_sub(base_before));
            let rate = (u128::from(grown) * u128::from(factor)).checked_div(u128::from(elapsed)).unwrap_or(0);
            self.samples[self.next] = u64::try_from(rate).unwrap_or(u64::MAX);
            self.next = (self.next + 1) % SAMPLES;
        }
        self.previous = Some((value, base));
    }

    /// The average rate. Until sixteen samples were taken the missing ones count as zero, as in Redis.
    pub fn rate(&self) -> u64 {
        let sum: u128 = self.samples.iter().copied().map(u128::from).sum();
        (sum / SAMPLES as u128) as u64
    }

    /// The average rate of a metric in bytes as INFO prints kilobytes: `instantaneous_input_kbps:0.13`.
    pub fn kilobytes(&self) -> String {
        format!("{:.2}", self.rate() as f32 / 1024.0)
    }

    /// Starts again, for CONFIG RESETSTAT.
    pub fn reset(&mut self) {
        *self = InstantaneousMetric::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_reached_after_sixteen_samples() {
        let mut metric = InstantaneousMetric::default();
        for tick in 0..=16 {
            metric.sample(tick * 50, tick * 100_000, 1_000_000);
        }
        assert_eq!(metric.rate(), 500);
    }

    #[test]
    fn missing_samples_count_as_zero() {
        let mut metric = InstantaneousMetric::default();
        metric.sample(1000, 0, 1_000_000);
        assert_eq!(metric.rate(), 0, "the first sample has nothing before it");
        metric.sample(1160, 1_000_000, 1_000_000);
        assert_eq!(metric.rate(), 10);
        assert_eq!(metric.kilobytes(), "0.01");
    }

    #[test]
    fn old_samples_leave_the_window() {
        let mut metric = InstantaneousMetric::default();
        metric.sample(0, 0, 1);
        metric.sample(1_000_000, 1, 1);
        for base in 2..18 {
            metric.sample(1_000_000, base, 1);
        }
        assert_eq!(metric.rate(), 0);
    }

    #[test]
    fn odd_input_neither_divides_by_zero_nor_overflows() {
        let mut metric = InstantaneousMetric::default();
        metric.sample(0, 5, u64::MAX);
        metric.sample(u64::MAX, 5, u64::MAX);
        assert_eq!(metric.rate(), 0);
        for base in 6..22 {
            metric.sample(if base % 2 == 0 { 0 } else { u64::MAX }, base, u64::MAX);
        }
        assert_eq!(metric.rate(), u64::MAX / 2);
        metric.reset();
        assert_eq!(metric.rate(), 0);
    }
}
