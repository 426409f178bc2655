//! Latency histograms with two significant digits, bucket for bucket those of hdr_histogram as Redis sets it up
//! (1 ns to 1 s, two digits), so that percentiles and LATENCY HISTOGRAM print the same numbers for the same samples.
//!
//! Values are nanoseconds. A slot covers values that agree in their leading eight bits:
//!
//! ```text
//! group 0    128 slots of width 1            0 .. 127
//! group 1    128 slots of width 1          128 .. 255
//! group 2    128 slots of width 2          256 .. 511
//! group g    128 slots of width 2^(g-1)    2^(g+6) .. 2^(g+7) - 1
//! group 23   128 slots of width 2^22       2^29 .. 2^30 - 1          (one second is in here)
//! ```
//!
//! The whole range is 24 groups or 24 KB. A command's times lie in a few of them, so a group is allocated when a
//! sample first falls into it. Writing follows `counters`: one thread records, any thread reads and merges.

use super::counters::Counter;
use std::sync::OnceLock;

const GROUPS: usize = 24;
const SLOTS: usize = 128;
/// Longer times are recorded as this long.
const NANOSECONDS_MAX: u64 = 1_000_000_000;
/// The first bucket of LATENCY HISTOGRAM ends here; each next one reaches twice as far.
const FIRST_BUCKET_NS: u64 = 1024;
/// The group that begins at `FIRST_BUCKET_NS`.
const FIRST_BUCKET_GROUP: usize = 4;

/// Counts of samples by duration. Starts at 384 bytes and takes 1 KB for each group that samples fall into.
#[derive(Debug, Default)]
pub struct Histogram {
    groups: [OnceLock<Box<[Counter; SLOTS]>>; GROUPS],
}

impl Histogram {
    /// Counts one sample of `elapsed_us` microseconds. As in Redis, less than a microsecond counts as one
    /// nanosecond and more than a second as one second. Only the owning thread may call this.
    #[inline]
    pub fn record_us(&self, elapsed_us: u64) {
        if elapsed_us == 0 {
            // Most requests: the way below leads there, too.
            self.group(0)[1].add(1);
            return;
        }
        let nanoseconds = elapsed_us.saturating_mul(1000).clamp(1, NANOSECONDS_MAX);
        let (group, slot) = locate(nanoseconds);
        self.group(group)[slot].add(1);
    }

    /// Adds the samples of `other`. Only the owning thread of `self` may call this.
    pub fn merge(&self, other: &Histogram) {
        for (group, slot, count) in other.filled_slots() {
            self.group(group)[slot].add(count);
        }
    }

    /// The samples that came after `baseline` was taken.
    pub fn since(&self, baseline: &Histogram) -> Histogram {
        let later = Histogram::default();
        for (group, slot, count) in self.filled_slots() {
            let before = baseline.groups[group].get().map_or(0, |slots| slots[slot].get());
            if count > before {
                later.group(group)[slot].add(count - before);
            }
        }
        later
    }

    /// How many samples were recorded.
    pub fn count(&self) -> u64 {
        self.filled_slots().map(|(_, _, count)| count).sum()
    }

    /// The duration, in nanoseconds, that `percentile` percent (0 to 100) of the samples do not exceed, as
    /// hdr_histogram defines it: the highest value of the slot in which the sample of that rank lies, and for
    /// percentile 0 the lowest value of the first slot. Zero if there are no samples.
    pub fn percentile_ns(&self, percentile: f64) -> u64 {
        let rank = (percentile.clamp(0.0, 100.0) / 100.0 * self.count() as f64 + 0.5) as u64;
        let mut seen = 0;
        let mut last = (0, 0);
        for (group, slot, count) in self.filled_slots() {
            seen += count;
            last = (lowest_ns(group, slot), highest_ns(group, slot));
            if seen >= rank.max(1) {
                break;
            }
        }
        if percentile == 0.0 { last.0 } else { last.1 }
    }

    /// The rows of LATENCY HISTOGRAM: upper bound in microseconds and how many samples do not exceed it. Bounds are
    /// powers of two of 1024 ns, each rounded up to the end of its slot and down to microseconds; a bound under
    /// which no further sample lies is left out.
    pub fn cumulative_buckets(&self) -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        let mut reported = 0;
        for bound_group in FIRST_BUCKET_GROUP..=GROUPS {
            let within: u64 = self
                .filled_slots()
                .take_while(|&(group, slot, _)| (group, slot) <= (bound_group, 0))
                .map(|(_, _, count)| count)
                .sum();
            if within > reported {
                let bound = if bound_group < GROUPS {
                    highest_ns(bound_group, 0)
                } else {
                    (FIRST_BUCKET_NS << (GROUPS - FIRST_BUCKET_GROUP)) - 1
                };
                rows.push((bound / 1000, within));
                reported = within;
            }
        }
        rows
    }

    /// The slots of one group, allocated now if this is their first use.
    #[inline]
    fn group(&self, group: usize) -> &[Counter; SLOTS] {
        self.groups[group].get_or_init(|| Box::new([const { Counter::new() }; SLOTS]))
    }

    /// Group, slot and count of each slot that has samples, in ascending order of duration.
    fn filled_slots(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        self.groups
            .iter()
            .enumerate()
            .filter_map(|(group, slots)| slots.get().map(|slots| (group, slots)))
            .flat_map(|(group, slots)| {
                slots.iter().enumerate().map(move |(slot, count)| (group, slot, count.get()))
            })
            .filter(|&(_, _, count)| count != 0)
    }
}

/// The histograms of all commands on one event loop, each allocated at its command's first call. An id outside
/// the table is ignored.
#[derive(Debug)]
pub struct CommandLatencies {
    commands: Box<[OnceLock<Box<Histogram>>]>,
}

impl CommandLatencies {
    /// Room for commands with the ids `0..commands`.
    pub fn new(commands: usize) -> CommandLatencies {
        CommandLatencies { commands: (0..commands).map(|_| OnceLock::new()).collect() }
    }

    /// Counts one call that took `elapsed_us` microseconds. Only the owning loop may call this.
    #[inline]
    pub fn record_us(&self, command: usize, elapsed_us: u64) {
        if let Some(histogram) = self.commands.get(command) {
            histogram.get_or_init(Box::default).record_us(elapsed_us);
        }
    }

    /// The command's histogram, if it was called on this loop.
    pub fn histogram(&self, command: usize) -> Option<&Histogram> {
        Some(self.commands.get(command)?.get()?)
    }
}

/// Group and slot of a duration below 2^30 ns.
#[inline]
fn locate(nanoseconds: u64) -> (usize, usize) {
    // Bit 6 as a floor gives the first 128 values group 0 without a branch.
    let group = ((nanoseconds | 0x40).ilog2() - 6) as usize;
    let slot = (nanoseconds >> group.saturating_sub(1)) as usize & (SLOTS - 1);
    (group, slot)
}

/// The shortest duration of a slot.
fn lowest_ns(group: usize, slot: usize) -> u64 {
    match group {
        0 => slot as u64,
        _ => ((SLOTS + slot) as u64) << (group - 1),
    }
}

/// The longest duration of a slot.
fn highest_ns(group: usize, slot: usize) -> u64 {
    lowest_ns(group, slot) + (1 << group.saturating_sub(1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Durations of 120 LRANGE calls as redis-server 7.0.15 logged them in its slow log; the expected numbers in
    /// the tests below are what the same server printed for them.
    const MEASURED_US: [u64; 120] = [
        2, 2, 2, 3, 3, 4, 5, 8, 9, 9, 10, 10, 10, 10, 12, 12, 13, 14, 15, 16, 18, 18, 20, 21, 26, 36, 36, 37,
        38, 40, 53, 61, 61, 68, 89, 92, 112, 123, 129, 130, 136, 139, 154, 157, 159, 162, 163, 186, 189, 198,
        235, 269, 282, 287, 305, 310, 313, 314, 328, 339, 352, 356, 386, 395, 410, 411, 444, 447, 463, 467,
        473, 502, 507, 514, 517, 517, 533, 564, 568, 687, 708, 731, 737, 756, 770, 806, 820, 867, 881, 928,
        938, 1009, 1059, 1085, 1102, 1125, 1127, 1299, 1347, 1435, 1439, 1464, 1487, 1599, 1630, 1638, 1754,
        1773, 1873, 1924, 1955, 1978, 1980, 2054, 2060, 2149, 2154, 2202, 2342, 2379,
    ];

    fn histogram_of(samples_us: &[u64]) -> Histogram {
        let histogram = Histogram::default();
        for &sample in samples_us {
            histogram.record_us(sample);
        }
        histogram
    }

    #[test]
    fn percentiles_are_those_of_redis_for_the_same_samples() {
        let histogram = histogram_of(&MEASURED_US);
        let expected = [
            (0.0, 2000),
            (12.5, 12_031),
            (33.333333, 130_047),
            (50.0, 339_967),
            (66.66666666, 688_127),
            (99.0, 2_342_911),
            (99.9, 2_392_063),
            (100.0, 2_392_063),
        ];
        for (percentile, nanoseconds) in expected {
            assert_eq!(histogram.percentile_ns(percentile), nanoseconds, "p{percentile}");
        }
    }

    #[test]
    fn cumulative_buckets_are_those_of_redis_for_the_same_samples() {
        let rows = histogram_of(&MEASURED_US).cumulative_buckets();
        let expected = [
            (2, 3),
            (4, 6),
            (8, 8),
            (16, 20),
            (33, 25),
            (66, 33),
            (132, 40),
            (264, 51),
            (528, 76),
            (1056, 92),
            (2113, 115),
            (4227, 120),
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn long_times_are_cut_at_one_second() {
        // DEBUG SLEEP of 0.52, 0.7 and 1.2 seconds on redis-server 7.0.15.
        let histogram = histogram_of(&[520_100, 700_600, 1_200_300]);
        assert_eq!(histogram.cumulative_buckets(), [(541_065, 1), (1_073_741, 3)]);
        assert_eq!(histogram.percentile_ns(0.0), 520_093_696);
        assert_eq!(histogram.percentile_ns(50.0), 704_643_071);
        assert_eq!(histogram.percentile_ns(100.0), 1_002_438_655);
        assert_eq!(histogram_of(&[u64::MAX]).percentile_ns(50.0), 1_002_438_655);
    }

    #[test]
    fn short_times_keep_their_slots() {
        assert_eq!(histogram_of(&[1]).percentile_ns(50.0), 1003);
        assert_eq!(histogram_of(&[0]).percentile_ns(50.0), 1);
        assert_eq!(histogram_of(&[0, 1]).cumulative_buckets(), [(1, 2)]);
    }

    #[test]
    fn slots_tile_the_range_without_gaps() {
        let mut next = 0;
        for group in 0..GROUPS {
            for slot in 0..SLOTS {
                let (lowest, highest) = (lowest_ns(group, slot), highest_ns(group, slot));
                assert_eq!(lowest, next);
                assert_eq!(locate(lowest), (group, slot));
                assert_eq!(locate(highest), (group, slot));
                next = highest + 1;
            }
        }
        assert_eq!(next, 1 << 30);
        assert_eq!(lowest_ns(FIRST_BUCKET_GROUP, 0), FIRST_BUCKET_NS);
    }

    #[test]
    fn an_empty_histogram_answers() {
        let histogram = Histogram::default();
        assert_eq!(histogram.count(), 0);
        assert_eq!(histogram.percentile_ns(50.0), 0);
        assert!(histogram.cumulative_buckets().is_empty());
    }

    #[test]
    fn merging_and_subtracting_a_baseline_are_exact() {
        let (early, late) = MEASURED_US.split_at(50);
        let all = histogram_of(early);
        let baseline = histogram_of(early);
        all.merge(&histogram_of(late));
        assert_eq!(all.count(), 120);
        assert_eq!(all.percentile_ns(50.0), 339_967);
        let later = all.since(&baseline);
        assert_eq!(later.count(), 70);
        assert_eq!(later.cumulative_buckets(), histogram_of(late).cumulative_buckets());
    }

    #[test]
    fn memory_is_taken_at_first_use() {
        let latencies = CommandLatencies::new(2);
        assert!(latencies.histogram(0).is_none());
        latencies.record_us(1, 7);
        latencies.record_us(2, 7);
        assert!(latencies.histogram(0).is_none());
        assert!(latencies.histogram(2).is_none());
        let histogram = latencies.histogram(1).expect("it was recorded");
        assert_eq!(histogram.groups.iter().filter(|group| group.get().is_some()).count(), 1);
        assert_eq!(size_of::<Histogram>(), 384);
    }
}
