//! All statistics of the server in one place: hands each event loop its own part, adds the parts up for readers,
//! and knows what CONFIG RESETSTAT has to forget.
//!
//! A reset never writes into a loop's counters, since the loop could be in the middle of an addition that would
//! undo it. It stores the present totals as a baseline, which later reads subtract.

use super::command_stats::{CommandStats, CommandTotals};
use super::counters::{Counter, CounterTotals, LoopCounters};
use super::error_stats::ErrorStats;
use super::histogram::{CommandLatencies, Histogram};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// What one event loop writes: it alone, while any thread may read.
#[derive(Debug)]
pub struct LoopStatistics {
    /// Counters and gauges that do not belong to a command.
    pub counters: LoopCounters,
    /// Calls and time by command.
    pub commands: CommandStats,
    /// Durations by command; recorded while `latency-tracking` is on.
    pub latencies: CommandLatencies,
    /// Changes of keys; a reset leaves it alone, because snapshots count from it.
    pub changes: Counter,
}

/// The statistics of all loops, and of errors, which the loops share.
#[derive(Debug)]
pub struct Statistics {
    loops: Box<[Arc<LoopStatistics>]>,
    commands: usize,
    errors: Mutex<ErrorStats>,
    baseline: Mutex<Baseline>,
}

/// The totals at the last reset.
#[derive(Debug)]
struct Baseline {
    counters: CounterTotals,
    commands: Vec<CommandTotals>,
    /// Only commands that had samples.
    latencies: HashMap<usize, Histogram>,
}

impl Statistics {
    /// Statistics for `loops` writing threads and commands with the ids `0..commands`.
    pub fn new(loops: usize, commands: usize) -> Statistics {
        let one = || LoopStatistics {
            counters: LoopCounters::default(),
            commands: CommandStats::new(commands),
            latencies: CommandLatencies::new(commands),
            changes: Counter::new(),
        };
        Statistics {
            loops: (0..loops).map(|_| Arc::new(one())).collect(),
            commands,
            errors: Mutex::default(),
            baseline: Mutex::new(Baseline {
                counters: CounterTotals::sum([]),
                commands: vec![CommandTotals::default(); commands],
                latencies: HashMap::new(),
            }),
        }
    }

    /// The parts of the loops; the loop with index i takes the i-th for itself.
    pub fn loops(&self) -> &[Arc<LoopStatistics>] {
        &self.loops
    }

    /// Counters of all loops since the last reset, and gauges as they are now.
    pub fn counters(&self) -> CounterTotals {
        self.all_counters().since(&self.baseline.lock().counters)
    }

    /// Totals of all commands since the last reset, indexed by command id.
    pub fn commands(&self) -> Vec<CommandTotals> {
        let mut totals = self.all_commands();
        for (total, before) in totals.iter_mut().zip(&self.baseline.lock().commands) {
            *total = total.since(before);
        }
        totals
    }

    /// Durations of one command since the last reset; `None` if there are none.
    pub fn latencies(&self, command: usize) -> Option<Histogram> {
        let all = self.all_latencies(command)?;
        let later = match self.baseline.lock().latencies.get(&command) {
            Some(before) => all.since(before),
            None => all,
        };
        (later.count() != 0).then_some(later)
    }

    /// Counts an error reply by its code; `line` comes without its leading `-`.
    pub fn record_error(&self, line: &[u8]) {
        self.errors.lock().record(line);
    }

    /// Error codes and their counts since the last reset, sorted by code.
    pub fn errors(&self) -> Vec<(Box<[u8]>, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.into(), count)).collect()
    }

    /// CONFIG RESETSTAT: from here on, everything but the gauges counts from zero.
    pub fn reset(&self) {
        let latencies =
            (0..self.commands).filter_map(|command| Some((command, self.all_latencies(command)?)));
        let baseline = Baseline {
            counters: self.all_counters(),
            commands: self.all_commands(),
            latencies: latencies.collect(),
        };
        *self.baseline.lock() = baseline;
        self.errors.lock().reset();
    }

    fn all_counters(&self) -> CounterTotals {
        CounterTotals::sum(self.loops.iter().map(|each| &each.counters))
    }

    fn all_commands(&self) -> Vec<CommandTotals> {
        let mut totals = vec![CommandTotals::default(); self.commands];
        for each in &self.loops {
            each.commands.add_to(&mut totals);
        }
        totals
    }

    fn all_latencies(&self, command: usize) -> Option<Histogram> {
        let mut parts = self.loops.iter().filter_map(|each| each.latencies.histogram(command)).peekable();
        parts.peek()?;
        let merged = Histogram::default();
        parts.for_each(|part| merged.merge(part));
        Some(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::super::counters::{Count, Gauge};
    use super::*;

    #[test]
    fn readers_see_the_sum_of_all_loops() {
        let statistics = Statistics::new(2, 3);
        for (part, elapsed_us) in statistics.loops().iter().zip([10, 30]) {
            part.counters.add(Count::CommandsProcessed, 1);
            part.commands.record_call(2, elapsed_us);
            part.latencies.record_us(2, elapsed_us);
        }
        assert_eq!(statistics.counters().count(Count::CommandsProcessed), 2);
        assert_eq!(statistics.commands()[2].usec, 40);
        assert_eq!(statistics.latencies(2).expect("called").count(), 2);
        assert!(statistics.latencies(1).is_none());
        assert!(statistics.latencies(3).is_none());
    }

    #[test]
    fn a_reset_forgets_all_but_gauges_and_counting_goes_on() {
        let statistics = Statistics::new(1, 1);
        let part = &statistics.loops()[0];
        let call = |elapsed_us| {
            part.counters.add(Count::CommandsProcessed, 1);
            part.commands.record_call(0, elapsed_us);
            part.latencies.record_us(0, elapsed_us);
        };
        part.counters.rise(Gauge::ConnectedClients);
        call(10);
        statistics.record_error(b"WRONGTYPE text");
        statistics.reset();
        assert_eq!(statistics.counters().count(Count::CommandsProcessed), 0);
        assert_eq!(statistics.counters().gauge(Gauge::ConnectedClients), 1);
        assert!(!statistics.commands()[0].any());
        assert!(statistics.latencies(0).is_none());
        assert!(statistics.errors().is_empty());
        call(20);
        statistics.record_error(b"ERR text");
        assert_eq!(statistics.counters().count(Count::CommandsProcessed), 1);
        assert_eq!((statistics.commands()[0].calls, statistics.commands()[0].usec), (1, 20));
        assert_eq!(statistics.latencies(0).expect("called again").percentile_ns(100.0), 20_095);
        assert_eq!(statistics.errors(), [(Box::from(&b"ERR"[..]), 1)]);
    }
}
