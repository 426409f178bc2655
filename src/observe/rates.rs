//! The rates that INFO stats shows as "instantaneous": samples of the counters, taken ten times a second by one event loop.

use super::counters::{Count, CounterTotals};
use super::instantaneous::InstantaneousMetric;

/// How often [`Rates::sample`] is to be called; the window of sixteen samples is then 1.6 seconds.
pub const SAMPLE_MS: i64 = 100;
const MICROSECONDS: u64 = 1_000_000;

/// All rates.
#[derive(Debug, Default)]
pub struct Rates {
    /// Requests a second.
    pub operations: InstantaneousMetric,
    /// Bytes a second that clients sent.
    pub input: InstantaneousMetric,
    /// Bytes a second that clients were sent.
    pub output: InstantaneousMetric,
    /// Sweeps of event loops a second.
    pub cycles: InstantaneousMetric,
    /// Microseconds a sweep.
    pub cycle_us: InstantaneousMetric,
}

impl Rates {
    /// Takes a sample of the totals at a steady time in microseconds.
    pub fn sample(&mut self, totals: &CounterTotals, steady_us: i64) {
        let now = steady_us.max(0) as u64;
        let cycles = totals.count(Count::EventLoopCycles);
        self.operations.sample(totals.count(Count::CommandsProcessed), now, MICROSECONDS);
        self.input.sample(totals.count(Count::NetInputBytes), now, MICROSECONDS);
        self.output.sample(totals.count(Count::NetOutputBytes), now, MICROSECONDS);
        self.cycles.sample(cycles, now, MICROSECONDS);
        self.cycle_us.sample(totals.count(Count::EventLoopUs), cycles, 1);
    }

    /// Starts again (CONFIG RESETSTAT).
    pub fn reset(&mut self) {
        *self = Rates::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::counters::LoopCounters;

    #[test]
    fn a_steady_load_shows_its_rate_once_the_window_is_full() {
        let (counters, mut rates) = (LoopCounters::default(), Rates::default());
        for tenth in 0..17 {
            rates.sample(&CounterTotals::sum([&counters]), tenth * 100_000);
            counters.add(Count::CommandsProcessed, 50);
            counters.add(Count::NetInputBytes, 1024);
            counters.add(Count::EventLoopCycles, 10);
            counters.add(Count::EventLoopUs, 70);
        }
        assert_eq!((rates.operations.rate(), rates.cycles.rate(), rates.cycle_us.rate()), (500, 100, 7));
        assert_eq!((rates.input.kilobytes().as_str(), rates.output.rate()), ("10.00", 0));
        rates.reset();
        assert_eq!(rates.operations.rate(), 0);
    }
}
