//! The latency monitor: for each kind of event that blocked the server, the latest samples, at most one a second.
//!
//! Only events that took at least `latency-monitor-threshold` are recorded; the caller compares. Event names are
//! the server's own, so their number is bounded by the program. Names that come from clients are only compared.

use super::latency_graph::{Column, age_label, draw};
use std::fmt::Write;

/// Samples kept for each event.
const SAMPLES_MAX: usize = 160;
/// Width of the line between a graph and its title.
const RULE_WIDTH: usize = 80;
/// What the doctor answers while the monitor is off and has recorded nothing.
const DISABLED: &str = "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this Redis instance. You \
    may use \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it. If we weren't in a deep \
    space mission I'd suggest to take a look at https://redis.io/topics/latency-monitor.\n";
/// What the doctor answers while the monitor is on and has recorded nothing.
const NOTHING_OBSERVED: &str = "Dave, no latency spike was observed during the lifetime of this Redis instance, not \
    in the slightest bit. I honestly think you ought to sit down calmly, take a stress pill, and think things over.\n";

/// One second in which an event was slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatencySample {
    /// The second, Unix time.
    pub unix_seconds: u64,
    /// The longest duration in that second, in milliseconds.
    pub latency_ms: u32,
}

/// What LATENCY LATEST tells of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatestLatency {
    /// Name of the event.
    pub event: &'static str,
    /// Its newest sample.
    pub latest: LatencySample,
    /// The longest duration ever, in milliseconds; samples that left the ring count too.
    pub max_ms: u32,
}

/// Settings that the doctor's advice depends on.
#[derive(Debug, Clone, Copy)]
pub struct DoctorSettings {
    /// `latency-monitor-threshold` in milliseconds, 0 if the monitor is off.
    pub threshold_ms: u64,
    /// `slowlog-log-slower-than` in microseconds, negative if the slow log is off.
    pub slow_log_slower_than_us: i64,
}

/// All events and their samples.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: Vec<EventSamples>,
}

impl LatencyMonitor {
    /// Records that `event` took `latency_ms`. Within one second only the longest is kept.
    pub fn record(&mut self, event: &'static str, latency_ms: u32, unix_seconds: u64) {
        let sample = LatencySample { unix_seconds, latency_ms };
        match self.events.iter_mut().find(|each| each.event == event) {
            Some(samples) => samples.push(sample),
            None => self.events.push(EventSamples::starting_with(event, sample)),
        }
    }

    /// The newest sample of each event, in the order in which the events first occurred.
    pub fn latest(&self) -> impl ExactSizeIterator<Item = LatestLatency> {
        self.events.iter().map(|samples| LatestLatency {
            event: samples.event,
            latest: samples.newest(),
            max_ms: samples.max_ms,
        })
    }

    /// The samples of an event, oldest first; none if there is no such event.
    pub fn history(&self, event: &[u8]) -> Vec<LatencySample> {
        self.find(event).map_or_else(Vec::new, |samples| samples.oldest_first().collect())
    }

    /// Forgets the named events, or all of them if no names are given. Returns how many there were.
    pub fn reset(&mut self, names: &[&[u8]]) -> usize {
        let before = self.events.len();
        self.events.retain(|samples| !names.is_empty() && !names.contains(&samples.event.as_bytes()));
        before - self.events.len()
    }

    /// The text of LATENCY GRAPH, or `None` if nothing was recorded for the event.
    pub fn graph(&self, event: &[u8], now_unix_seconds: u64) -> Option<String> {
        let samples = self.find(event)?;
        let summary = samples.summary(now_unix_seconds);
        let mut text = format!(
            "{} - high {} ms, low {} ms (all time high {} ms)\n{}\n",
            samples.event,
            summary.highest_ms,
            summary.lowest_ms,
            samples.max_ms,
            "-".repeat(RULE_WIDTH),
        );
        let columns: Vec<Column> = samples
            .oldest_first()
            .map(|sample| Column {
                value: sample.latency_ms,
                label: age_label(now_unix_seconds.saturating_sub(sample.unix_seconds)),
            })
            .collect();
        draw(&columns, &mut text);
        Some(text)
    }

    /// The text of LATENCY DOCTOR: a report of what was recorded and what may help.
    pub fn doctor(&self, settings: DoctorSettings, now_unix_seconds: u64) -> String {
        if self.events.is_empty() {
            return if settings.threshold_ms == 0 { DISABLED } else { NOTHING_OBSERVED }.to_owned();
        }
        let mut text =
            String::from("Dave, this instance had moments in which it did not answer at once:\n\n");
        for (number, samples) in (1..).zip(&self.events) {
            let summary = samples.summary(now_unix_seconds);
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{number}. {}: {} slow moments, {} ms on average (mean deviation {} ms), one every {:.2} s; the worst \
                 ever took {} ms.",
                samples.event,
                samples.ring.len(),
                summary.average_ms,
                summary.mean_deviation_ms,
                summary.period_seconds,
                samples.max_ms,
            );
        }
        text.push_str("\nWhat may help:\n\n");
        for advice in self.advice(settings) {
            let _ = writeln!(text, "- {advice}");
        }
        text
    }

    /// What to try against the recorded events, each advice once.
    fn advice(&self, settings: DoctorSettings) -> Vec<String> {
        let mut advice = Vec::new();
        if self.any_event(&["command", "fast-command"]) {
            let threshold_us = settings.threshold_ms.saturating_mul(1000);
            let slow_log_misses_some = u64::try_from(settings.slow_log_slower_than_us)
                .map_or(true, |slower_than_us| slower_than_us > threshold_us);
            if settings.threshold_ms != 0 && slow_log_misses_some {
                advice.push(format!(
                    "The slow log does not keep all commands that this monitor counts; 'CONFIG SET \
                     slowlog-log-slower-than {threshold_us}' makes it."
                ));
            }
            advice.push("SLOWLOG GET names the commands that took long and their arguments.".to_owned());
        }
        if self.any_event(&["command", "eviction-del", "expire-cycle"]) {
            advice.push(
                "Deleting or replacing a value of very many elements takes long; spread it over several keys, or \
                 delete it with UNLINK."
                    .to_owned(),
            );
        }
        if self.any_event(&["expire-cycle"]) {
            advice.push(
                "Many keys expire in the same moment; give them deadlines that differ a little.".to_owned(),
            );
        }
        if self.any_event(&["eviction-cycle", "eviction-del"]) {
            advice.push(
                "Keys are evicted while clients wait; a larger maxmemory or shorter lives of keys make that rarer."
                    .to_owned(),
            );
        }
        if self.events.iter().any(|samples| samples.event.starts_with("aof-")) {
            advice.push(
                "Writing the append-only file waited for the disk; use a faster disk, fewer neighbours on it, or \
                 'appendfsync everysec'."
                    .to_owned(),
            );
        }
        if advice.is_empty() {
            advice.push(
                "Nothing is known against these events; look at what else runs on the machine.".to_owned(),
            );
        }
        advice
    }

    fn any_event(&self, names: &[&str]) -> bool {
        self.events.iter().any(|samples| names.contains(&samples.event))
    }

    fn find(&self, event: &[u8]) -> Option<&EventSamples> {
        self.events.iter().find(|samples| samples.event.as_bytes() == event)
    }
}

/// The samples of one event; there is always at least one.
#[derive(Debug)]
struct EventSamples {
    event: &'static str,
    /// Grows to `SAMPLES_MAX`, after which the oldest is overwritten.
    ring: Vec<LatencySample>,
    /// Where the newest sample is.
    newest: usize,
    max_ms: u32,
}

/// Numbers about the samples of one event.
struct Summary {
    highest_ms: u32,
    lowest_ms: u32,
    average_ms: u64,
    mean_deviation_ms: u64,
    /// Time from the oldest sample to now, divided by the number of samples.
    period_seconds: f64,
}

impl EventSamples {
    fn starting_with(event: &'static str, sample: LatencySample) -> EventSamples {
        EventSamples { event, ring: vec![sample], newest: 0, max_ms: sample.latency_ms }
    }

    fn push(&mut self, sample: LatencySample) {
        self.max_ms = self.max_ms.max(sample.latency_ms);
        let newest = &mut self.ring[self.newest];
        if newest.unix_seconds == sample.unix_seconds {
            newest.latency_ms = newest.latency_ms.max(sample.latency_ms);
            return;
        }
        self.newest = (self.newest + 1) % SAMPLES_MAX;
        match self.ring.get_mut(self.newest) {
            Some(oldest) => *oldest = sample,
            None => self.ring.push(sample),
        }
    }

    fn newest(&self) -> LatencySample {
        self.ring[self.newest]
    }

    fn oldest_first(&self) -> impl Iterator<Item = LatencySample> {
        let (newer, older) = self.ring.split_at(self.newest + 1);
        older.iter().chain(newer).copied()
    }

    fn summary(&self, now_unix_seconds: u64) -> Summary {
        let count = self.ring.len() as u64;
        let values = || self.ring.iter().map(|sample| sample.latency_ms);
        let average_ms = values().map(u64::from).sum::<u64>() / count;
        let deviations = values().map(|value| u64::from(value).abs_diff(average_ms));
        let oldest = self.oldest_first().next().map_or(0, |sample| sample.unix_seconds);
        Summary {
            highest_ms: values().max().unwrap_or(0),
            lowest_ms: values().min().unwrap_or(0),
            average_ms,
            mean_deviation_ms: deviations.sum::<u64>() / count,
            period_seconds: now_unix_seconds.saturating_sub(oldest) as f64 / count as f64,
        }
    }
}

#[cfg(test)]
#[path = "latency_monitor_tests.rs"]
mod tests;
