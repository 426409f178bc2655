//! The latency monitor against what redis-server 7.0.15 answers from the same spikes.

use super::*;

/// Milliseconds of one DEBUG SLEEP a second, as redis-server 7.0.15 recorded them from `FIRST_SECOND` on.
const MEASURED_MS: [u32; 86] = [
    7, 3, 9, 1, 2, 15, 2, 7, 20, 1, 15, 4, 1, 2, 9, 9, 2, 4, 2, 15, 9, 1, 20, 2, 4, 20, 1, 20, 20, 9, 1, 4,
    1, 15, 3, 5, 9, 3, 15, 2, 20, 5, 15, 3, 2, 20, 20, 4, 7, 2, 15, 2, 20, 1, 20, 4, 12, 15, 9, 7, 12, 20,
    12, 7, 5, 4, 3, 4, 2, 20, 5, 15, 12, 7, 12, 5, 20, 2, 2, 15, 9, 3, 7, 3, 12, 9,
];
const FIRST_SECOND: u64 = 1_795_361_009;

const ON: DoctorSettings = DoctorSettings { threshold_ms: 1, slow_log_slower_than_us: 10_000 };
const OFF: DoctorSettings = DoctorSettings { threshold_ms: 0, slow_log_slower_than_us: 10_000 };

fn monitor_of(samples_ms: &[u32]) -> LatencyMonitor {
    let mut monitor = LatencyMonitor::default();
    for (second, &latency_ms) in (FIRST_SECOND..).zip(samples_ms) {
        monitor.record("command", latency_ms, second);
    }
    monitor
}

#[test]
fn a_long_graph_is_that_of_redis_for_the_same_samples() {
    let graph = monitor_of(&MEASURED_MS).graph(b"command", FIRST_SECOND + 86).expect("there are samples");
    let expected = [
        "command - high 20 ms, low 1 ms (all time high 20 ms)",
        "--------------------------------------------------------------------------------",
        "        #             #  # ##           #    ##     # #      #       #      #   ",
        "     #  | #        #  |  | ||    #    # | #  ||   # | | _#  _|_      | #_ _ |  #",
        "_ #  | _| |   ##   |# |  | ||#   |  # | | |  || _ | | | ||#_|||_     | ||_| |  |",
        "|o|__|_||_|o__||_o_||_|_o|_|||_o_|o#|o|_|#|o_||o|_|_|_|o||||||||#ooo_|#||||#|__|",
        "                                                                                ",
        "11111111111111111111111111155555555554444444444333333333322222222221111111111987",
        "mmmmmmmmmmmmmmmmmmmmmmmmmmm98765432109876543210987654321098765432109876543210sss",
        "                           ssssssssssssssssssssssssssssssssssssssssssssssssss   ",
        "",
        "      ",
        "    _ ",
        "# _ |#",
        "|o|o||",
        "      ",
        "654321",
        "ssssss",
    ];
    assert_eq!(graph.lines().collect::<Vec<_>>(), expected);
    assert!(graph.ends_with("ssssss\n"));
}

#[test]
fn a_short_graph_is_that_of_redis_for_the_same_samples() {
    let graph = monitor_of(&[7, 3, 9, 1, 2]).graph(b"command", FIRST_SECOND + 5).expect("there are samples");
    let rule = "-".repeat(80);
    let expected = format!(
        "command - high 9 ms, low 1 ms (all time high 9 ms)\n{rule}\n_ #  \n| |  \n|_|  \n|||_o\n     \n54321\nsssss\n"
    );
    assert_eq!(graph, expected);
    let graph = monitor_of(&[1]).graph(b"command", FIRST_SECOND).expect("there is a sample");
    assert_eq!(
        graph,
        format!("command - high 1 ms, low 1 ms (all time high 1 ms)\n{rule}\n \n \n \n_\n \n0\ns\n")
    );
    assert_eq!(monitor_of(&[1]).graph(b"Command", FIRST_SECOND), None);
}

#[test]
fn a_second_keeps_its_longest_sample() {
    let mut monitor = LatencyMonitor::default();
    for latency_ms in [5, 9, 7] {
        monitor.record("fork", latency_ms, 100);
    }
    monitor.record("fork", 2, 101);
    let samples =
        [(100, 9), (101, 2)].map(|(unix_seconds, latency_ms)| LatencySample { unix_seconds, latency_ms });
    assert_eq!(monitor.history(b"fork"), samples);
    assert_eq!(
        monitor.latest().collect::<Vec<_>>(),
        [LatestLatency { event: "fork", latest: samples[1], max_ms: 9 }]
    );
    assert!(monitor.history(b"command").is_empty());
}

#[test]
fn the_ring_keeps_160_samples_and_the_maximum_of_all_time() {
    let mut monitor = LatencyMonitor::default();
    monitor.record("command", 500, 0);
    for second in 1..=400 {
        monitor.record("command", second as u32 % 50 + 1, second);
    }
    let history = monitor.history(b"command");
    assert_eq!(history.len(), 160);
    assert!(history.iter().map(|sample| sample.unix_seconds).eq(241..=400));
    assert_eq!(
        monitor.latest().next().map(|latest| (latest.latest.unix_seconds, latest.max_ms)),
        Some((400, 500))
    );
}

#[test]
fn reset_takes_the_named_events_or_all() {
    let mut monitor = LatencyMonitor::default();
    for event in ["command", "fork", "expire-cycle"] {
        monitor.record(event, 5, 100);
    }
    assert_eq!(monitor.reset(&[b"fork", b"unknown", b"fork"]), 1);
    assert_eq!(monitor.latest().map(|latest| latest.event).collect::<Vec<_>>(), ["command", "expire-cycle"]);
    assert_eq!(monitor.reset(&[]), 2);
    assert_eq!(monitor.reset(&[]), 0);
}

#[test]
fn the_doctor_without_samples_tells_whether_the_monitor_is_on() {
    let monitor = LatencyMonitor::default();
    assert!(
        monitor
            .doctor(OFF, 0)
            .starts_with("I'm sorry, Dave, I can't do that. Latency monitoring is disabled")
    );
    assert!(monitor.doctor(OFF, 0).ends_with("look at https://redis.io/topics/latency-monitor.\n"));
    assert!(monitor.doctor(ON, 0).starts_with("Dave, no latency spike was observed during the lifetime"));
    assert!(monitor.doctor(ON, 0).ends_with("take a stress pill, and think things over.\n"));
}

#[test]
fn the_doctor_reports_each_event_even_while_the_monitor_is_off() {
    let mut monitor = monitor_of(&[2, 5, 12]);
    monitor.record("aof-write", 30, FIRST_SECOND + 2);
    for settings in [ON, OFF] {
        let report = monitor.doctor(settings, FIRST_SECOND + 3);
        let numbers = "6 ms on average (mean deviation 3 ms), one every 1.00 s; the worst ever took 12 ms.";
        assert!(report.contains(&format!("\n1. command: 3 slow moments, {numbers}\n")), "{report}");
        assert!(report.contains("\n2. aof-write: 1 slow moments, 30 ms on average"), "{report}");
        assert!(report.contains("append-only file"), "{report}");
    }
}

#[test]
fn the_doctor_notices_a_slow_log_that_misses_commands() {
    let monitor = monitor_of(&[2]);
    let hint = "CONFIG SET slowlog-log-slower-than 1000'";
    let report = |slow_log_slower_than_us| {
        monitor.doctor(DoctorSettings { threshold_ms: 1, slow_log_slower_than_us }, FIRST_SECOND)
    };
    assert!(report(10_000).contains(hint));
    assert!(report(-1).contains(hint));
    assert!(!report(1000).contains(hint));
    assert!(!monitor.doctor(OFF, FIRST_SECOND).contains("CONFIG SET"));
}
