//! Calls, time, rejections and failures of each command, by command id.
//!
//! One `CommandStats` belongs to one event loop, which alone writes it (see `counters`); readers add up all loops.
//! A command's four numbers share half a cache line, so a call touches one line.

use super::counters::Counter;

/// The numbers of one command on one loop.
#[derive(Debug, Default)]
#[repr(align(32))]
struct CommandCounters {
    calls: Counter,
    usec: Counter,
    rejected_calls: Counter,
    failed_calls: Counter,
}

/// Statistics of all commands on one event loop. An id outside the table is ignored.
#[derive(Debug)]
pub struct CommandStats {
    commands: Box<[CommandCounters]>,
}

impl CommandStats {
    /// Room for commands with the ids `0..commands`.
    pub fn new(commands: usize) -> CommandStats {
        CommandStats { commands: (0..commands).map(|_| CommandCounters::default()).collect() }
    }

    /// Counts one execution that took `elapsed_us` microseconds, whether or not it answered with an error.
    #[inline]
    pub fn record_call(&self, command: usize, elapsed_us: u64) {
        if let Some(counters) = self.commands.get(command) {
            counters.calls.add(1);
            counters.usec.add(elapsed_us);
        }
    }

    /// Counts that an execution (counted by `record_call` too) answered with an error.
    pub fn record_failed(&self, command: usize) {
        if let Some(counters) = self.commands.get(command) {
            counters.failed_calls.add(1);
        }
    }

    /// Counts a call that was refused before it ran: wrong arity, no permission, out of memory and so on.
    pub fn record_rejected(&self, command: usize) {
        if let Some(counters) = self.commands.get(command) {
            counters.rejected_calls.add(1);
        }
    }

    /// Adds this loop's numbers to `totals`, which is indexed by command id.
    pub fn add_to(&self, totals: &mut [CommandTotals]) {
        for (total, counters) in totals.iter_mut().zip(&self.commands) {
            total.calls += counters.calls.get();
            total.usec += counters.usec.get();
            total.rejected_calls += counters.rejected_calls.get();
            total.failed_calls += counters.failed_calls.get();
        }
    }
}

/// The numbers of one command over all loops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandTotals {
    /// Executions, failed ones included.
    pub calls: u64,
    /// Microseconds spent in executions.
    pub usec: u64,
    /// Calls refused before they ran.
    pub rejected_calls: u64,
    /// Executions that answered with an error.
    pub failed_calls: u64,
}

impl CommandTotals {
    /// What was counted after `baseline` was taken.
    pub fn since(self, baseline: &CommandTotals) -> CommandTotals {
        CommandTotals {
            calls: self.calls.saturating_sub(baseline.calls),
            usec: self.usec.saturating_sub(baseline.usec),
            rejected_calls: self.rejected_calls.saturating_sub(baseline.rejected_calls),
            failed_calls: self.failed_calls.saturating_sub(baseline.failed_calls),
        }
    }

    /// Whether anything was counted; INFO leaves out commands for which this is false. Time alone does not count.
    pub fn any(&self) -> bool {
        self.calls != 0 || self.rejected_calls != 0 || self.failed_calls != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_add_up_by_command() {
        let (first, second) = (CommandStats::new(3), CommandStats::new(3));
        first.record_call(1, 10);
        second.record_call(1, 5);
        second.record_failed(1);
        second.record_rejected(2);
        let mut totals = [CommandTotals::default(); 3];
        first.add_to(&mut totals);
        second.add_to(&mut totals);
        assert!(!totals[0].any());
        assert_eq!(totals[1], CommandTotals { calls: 2, usec: 15, rejected_calls: 0, failed_calls: 1 });
        assert_eq!(totals[2], CommandTotals { calls: 0, usec: 0, rejected_calls: 1, failed_calls: 0 });
        assert!(totals[2].any());
    }

    #[test]
    fn an_unknown_id_is_ignored() {
        let stats = CommandStats::new(1);
        stats.record_call(1, 10);
        stats.record_failed(1);
        stats.record_rejected(usize::MAX);
        let mut totals = [CommandTotals::default(); 2];
        stats.add_to(&mut totals);
        assert_eq!(totals, [CommandTotals::default(); 2]);
    }

    #[test]
    fn a_command_stays_within_one_cache_line() {
        assert_eq!((size_of::<CommandCounters>(), align_of::<CommandCounters>()), (32, 32));
    }
}
