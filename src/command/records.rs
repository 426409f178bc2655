//! What the server recorded about slow requests: SLOWLOG and LATENCY. The records themselves are in `crate::observe`.

use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::registry::{COMMANDS, Command};
use super::spec::{CommandSpec, Flags, Group};
use crate::base::number::parse_i64;
use crate::observe::histogram::Histogram;
use crate::observe::latency_monitor::DoctorSettings;

const SLOWLOG_FLAGS: Flags = Flags::ADMIN.and(Flags::LOADING).and(Flags::STALE);
const LATENCY_FLAGS: Flags = SLOWLOG_FLAGS.and(Flags::NOSCRIPT);
const RESET_TIPS: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const REPORT_TIPS: &[&str] =
    &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
/// What SLOWLOG GET shows without a count.
const SLOWLOG_COUNT: i64 = 10;

pub const ROWS: &[CommandSpec] = &[
    help::container(
        "latency",
        "LATENCY <subcommand>",
        Group::Server,
        "2.8.13",
        "A container for latency diagnostics commands.",
        LATENCY,
    ),
    help::container(
        "slowlog",
        "SLOWLOG <subcommand>",
        Group::Server,
        "2.2.12",
        "A container for slow log commands.",
        SLOWLOG,
    ),
];

const SLOWLOG: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        syntax: "SLOWLOG GET [count]",
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries returned",
        summary: "Returns the newest entries of the slow log: ten, as many as given, or all for -1.",
        flags: SLOWLOG_FLAGS,
        keys: &[],
        tips: &["request_policy:all_nodes", "nondeterministic_output"],
        subcommands: &[],
        run: slowlog_get,
    },
    help::row("SLOWLOG HELP", Group::Server, "6.2.0", Flags::NONE),
    CommandSpec {
        name: "len",
        syntax: "SLOWLOG LEN",
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(1)",
        summary: "Returns the number of entries in the slow log.",
        flags: SLOWLOG_FLAGS,
        keys: &[],
        tips: &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"],
        subcommands: &[],
        run: slowlog_len,
    },
    CommandSpec {
        name: "reset",
        syntax: "SLOWLOG RESET",
        group: Group::Server,
        since: "2.2.12",
        complexity: "O(N) where N is the number of entries in the slowlog",
        summary: "Empties the slow log.",
        flags: SLOWLOG_FLAGS,
        keys: &[],
        tips: RESET_TIPS,
        subcommands: &[],
        run: slowlog_reset,
    },
];

const LATENCY: &[CommandSpec] = &[
    CommandSpec {
        name: "doctor",
        syntax: "LATENCY DOCTOR",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns a report of the recorded latency events, with advice.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: REPORT_TIPS,
        subcommands: &[],
        run: latency_doctor,
    },
    CommandSpec {
        name: "graph",
        syntax: "LATENCY GRAPH event",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Draws the samples of an event as text.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: REPORT_TIPS,
        subcommands: &[],
        run: latency_graph,
    },
    help::row("LATENCY HELP", Group::Server, "2.8.13", Flags::NONE),
    CommandSpec {
        name: "histogram",
        syntax: "LATENCY HISTOGRAM [command [command ...]]",
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        summary: "Returns how long calls of commands took, as cumulative distributions.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: REPORT_TIPS,
        subcommands: &[],
        run: latency_histogram,
    },
    CommandSpec {
        name: "history",
        syntax: "LATENCY HISTORY event",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns the samples of an event: when, and how many milliseconds.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: REPORT_TIPS,
        subcommands: &[],
        run: latency_history,
    },
    CommandSpec {
        name: "latest",
        syntax: "LATENCY LATEST",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns the newest sample and the maximum of each event.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: REPORT_TIPS,
        subcommands: &[],
        run: latency_latest,
    },
    CommandSpec {
        name: "reset",
        syntax: "LATENCY RESET [event [event ...]]",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Forgets the samples of the given events, or of all.",
        flags: LATENCY_FLAGS,
        keys: &[],
        tips: RESET_TIPS,
        subcommands: &[],
        run: latency_reset,
    },
];

fn slowlog_get(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.len() > 3 {
        return Err(help::bad_arguments(cx));
    }
    let count = match cx.args.get(2) {
        None => SLOWLOG_COUNT,
        Some(count) => parse_i64(count)
            .filter(|count| *count >= -1)
            .ok_or(Failure::text("ERR count should be greater than or equal to -1"))?,
    };
    let log = cx.services().slow_log.lock();
    let entries = log.entries(usize::try_from(count).unwrap_or(usize::MAX));
    cx.reply.array(entries.len());
    for entry in entries {
        cx.reply.array(6);
        cx.reply.integer(entry.id as i64);
        cx.reply.integer(entry.unix_seconds as i64);
        cx.reply.integer(entry.duration_us as i64);
        cx.reply.array(entry.arguments.len());
        for argument in &entry.arguments {
            cx.reply.bulk(argument);
        }
        cx.reply.bulk(entry.client_address.as_bytes());
        cx.reply.bulk(&entry.client_name);
    }
    Ok(())
}

fn slowlog_len(cx: &mut Cx<'_, '_>) -> Outcome {
    let len = cx.services().slow_log.lock().len();
    cx.reply.integer(len as i64);
    Ok(())
}

fn slowlog_reset(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.services().slow_log.lock().reset();
    cx.reply.ok();
    Ok(())
}

fn unix_seconds(cx: &Cx<'_, '_>) -> u64 {
    cx.now_ms().div_euclid(1000).max(0) as u64
}

fn latency_doctor(cx: &mut Cx<'_, '_>) -> Outcome {
    let settings = DoctorSettings {
        threshold_ms: cx.config().latency_monitor_threshold.max(0) as u64,
        slow_log_slower_than_us: cx.config().slowlog_log_slower_than,
    };
    let report = cx.services().latency.lock().doctor(settings, unix_seconds(cx));
    cx.reply.verbatim("txt", &report);
    Ok(())
}

fn latency_graph(cx: &mut Cx<'_, '_>) -> Outcome {
    let event = cx.args.at(2);
    let Some(graph) = cx.services().latency.lock().graph(event, unix_seconds(cx)) else {
        return Err(Failure::echo("ERR No samples available for event '", event, "'"));
    };
    cx.reply.verbatim("txt", &graph);
    Ok(())
}

fn latency_history(cx: &mut Cx<'_, '_>) -> Outcome {
    let samples = cx.services().latency.lock().history(cx.args.at(2));
    cx.reply.array(samples.len());
    for sample in samples {
        cx.reply.array(2);
        cx.reply.integer(sample.unix_seconds as i64);
        cx.reply.integer(i64::from(sample.latency_ms));
    }
    Ok(())
}

fn latency_latest(cx: &mut Cx<'_, '_>) -> Outcome {
    let monitor = cx.services().latency.lock();
    let events = monitor.latest();
    cx.reply.array(events.len());
    for event in events {
        cx.reply.array(4);
        cx.reply.bulk(event.event.as_bytes());
        cx.reply.integer(event.latest.unix_seconds as i64);
        cx.reply.integer(i64::from(event.latest.latency_ms));
        cx.reply.integer(i64::from(event.max_ms));
    }
    Ok(())
}

fn latency_reset(cx: &mut Cx<'_, '_>) -> Outcome {
    let names: Vec<&[u8]> = cx.args.iter_from(2).collect();
    let count = cx.services().latency.lock().reset(&names);
    cx.reply.integer(count as i64);
    Ok(())
}

/// Commands that were never called, and names that no command has, are left out.
fn latency_histogram(cx: &mut Cx<'_, '_>) -> Outcome {
    let commands: Vec<&Command> = if cx.args.len() == 2 {
        COMMANDS.iter().collect()
    } else {
        let named = cx.args.iter_from(2).filter_map(|name| COMMANDS.find_full(name));
        named.flat_map(|command| std::iter::once(command).chain(&command.subcommands)).collect()
    };
    let statistics = &cx.services().statistics;
    let found: Vec<(&Command, Histogram)> = commands
        .into_iter()
        .filter_map(|command| Some((command, statistics.latencies(command.id)?)))
        .collect();
    cx.reply.map(found.len());
    for (command, histogram) in found {
        cx.reply.bulk(command.full_name.as_bytes());
        cx.reply.map(2);
        cx.reply.bulk(b"calls");
        cx.reply.integer(histogram.count() as i64);
        cx.reply.bulk(b"histogram_usec");
        let buckets = histogram.cumulative_buckets();
        cx.reply.map(buckets.len());
        for (bound_us, count) in buckets {
            cx.reply.integer(bound_us as i64);
            cx.reply.integer(count as i64);
        }
    }
    Ok(())
}
