//! MEMORY: what keys and the server take.

use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::info::process::allocator_name;
use super::info::sections::{MemoryFacts, difference, key_counts, memory_facts, ratio};
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::base::{allocator, slabs};

/// Below this use the doctor has nothing to look at.
const DOCTOR_BYTES_MIN: u64 = 5 << 20;
/// A table's word for one key.
const WORD_BYTES: usize = 8;
const TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];

pub const ROWS: &[CommandSpec] = &[help::container(
    "memory",
    "MEMORY <subcommand>",
    Group::Server,
    "4.0.0",
    "A container for memory diagnostics commands.",
    SUBCOMMANDS,
)];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "doctor",
        syntax: "MEMORY DOCTOR",
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns a report of memory problems.",
        flags: Flags::NONE,
        keys: &[],
        tips: TIPS,
        subcommands: &[],
        run: doctor,
    },
    help::row("MEMORY HELP", Group::Server, "4.0.0", Flags::NONE),
    CommandSpec {
        name: "malloc-stats",
        syntax: "MEMORY MALLOC-STATS",
        group: Group::Server,
        since: "4.0.0",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Returns the allocator's statistics.",
        flags: Flags::NONE,
        keys: &[],
        tips: TIPS,
        subcommands: &[],
        run: malloc_statistics,
    },
    CommandSpec {
        name: "purge",
        syntax: "MEMORY PURGE",
        group: Group::Server,
        since: "4.0.0",
        complexity: "Depends on how much memory is allocated, could be slow",
        summary: "Asks the allocator to give memory back.",
        flags: Flags::NONE,
        keys: &[],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        subcommands: &[],
        run: purge,
    },
    CommandSpec {
        name: "stats",
        syntax: "MEMORY STATS",
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(1)",
        summary: "Returns details of what the server uses memory for.",
        flags: Flags::ALL_KEYS,
        keys: &[],
        tips: TIPS,
        subcommands: &[],
        run: statistics,
    },
    CommandSpec {
        name: "usage",
        syntax: "MEMORY USAGE key [SAMPLES count]",
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the number of samples.",
        summary: "Returns the bytes that a key and its value take.",
        flags: Flags::READONLY,
        keys: &[Keys::one(2, Access::ReadOnly, Effect::NONE)],
        tips: &[],
        subcommands: &[],
        run: usage,
    },
];

fn usage(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut at = 3;
    while let Some(word) = cx.args.get(at) {
        if !word.eq_ignore_ascii_case(b"SAMPLES") || at + 1 >= cx.args.len() {
            return Err(Failure::SYNTAX);
        }
        // A string has nothing to sample; the number only has to be one.
        if cx.integer(at + 1)? < 0 {
            return Err(Failure::SYNTAX);
        }
        at += 2;
    }
    let key = cx.key(2)?;
    match cx.find(key) {
        None => cx.reply.null(),
        Some(position) => {
            let bytes = cx.entry(key, position).owned_bytes() + WORD_BYTES;
            cx.reply.integer(bytes as i64);
        }
    }
    Ok(())
}

fn statistics(cx: &mut Cx<'_, '_>) -> Outcome {
    let facts = memory_facts(cx);
    let filled = key_counts(cx);
    let keys: usize = filled.values().map(|(keys, _)| keys).sum();
    cx.reply.map(27 + filled.len());
    let mut integer = |name: &str, value: i64| {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(value);
    };
    integer("peak.allocated", facts.peak as i64);
    integer("total.allocated", facts.used as i64);
    integer("startup.allocated", facts.startup as i64);
    integer("replication.backlog", 0);
    integer("clients.slaves", 0);
    integer("clients.normal", facts.clients as i64);
    integer("cluster.links", 0);
    integer("aof.buffer", 0);
    integer("lua.caches", 0);
    integer("functions.caches", 0);
    for (database, (keys, volatile)) in filled {
        cx.reply.bulk_text(format_args!("db.{database}"));
        cx.reply.map(2);
        cx.reply.bulk(b"overhead.hashtable.main");
        cx.reply.integer((keys * WORD_BYTES) as i64);
        cx.reply.bulk(b"overhead.hashtable.expires");
        cx.reply.integer((volatile * WORD_BYTES) as i64);
    }
    let mut integer = |name: &str, value: i64| {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(value);
    };
    integer("overhead.total", facts.overhead as i64);
    integer("keys.count", keys as i64);
    let bytes_a_key = facts.used.saturating_sub(facts.startup).checked_div(keys as u64).unwrap_or(0);
    integer("keys.bytes-per-key", bytes_a_key as i64);
    integer("dataset.bytes", facts.dataset as i64);
    ratios(cx, &facts);
    Ok(())
}

/// The end of MEMORY STATS.
fn ratios(cx: &mut Cx<'_, '_>, facts: &MemoryFacts) {
    let allocator = facts.allocator;
    for (name, value) in [
        ("dataset.percentage", facts.dataset_percent),
        ("peak.percentage", ratio(facts.used, facts.peak) * 100.0),
    ] {
        cx.reply.bulk(name.as_bytes());
        cx.reply.double(value);
    }
    for (name, value) in [
        ("allocator.allocated", allocator.allocated),
        ("allocator.active", allocator.active),
        ("allocator.resident", allocator.resident),
    ] {
        cx.reply.bulk(name.as_bytes());
        cx.reply.integer(value as i64);
    }
    for (ratio_name, bytes_name, first, second) in [
        (
            "allocator-fragmentation.ratio",
            "allocator-fragmentation.bytes",
            allocator.active,
            allocator.allocated,
        ),
        ("allocator-rss.ratio", "allocator-rss.bytes", allocator.resident, allocator.active),
        ("rss-overhead.ratio", "rss-overhead.bytes", facts.resident, allocator.resident),
        ("fragmentation", "fragmentation.bytes", facts.resident, facts.used),
    ] {
        cx.reply.bulk(ratio_name.as_bytes());
        cx.reply.double(ratio(first, second));
        cx.reply.bulk(bytes_name.as_bytes());
        cx.reply.integer(difference(first, second));
    }
}

fn doctor(cx: &mut Cx<'_, '_>) -> Outcome {
    let facts = memory_facts(cx);
    cx.reply.verbatim("txt", &diagnosis(&facts));
    Ok(())
}

fn diagnosis(facts: &MemoryFacts) -> String {
    if facts.used < DOCTOR_BYTES_MIN {
        return String::from(
            "There is hardly anything in this instance yet; come back when it holds more data.\n",
        );
    }
    let mut findings = Vec::new();
    if ratio(facts.peak, facts.used) > 1.5 {
        findings.push(
            "Peak: the server once used more than one and a half times of what it uses now. The allocator may still hold \
             that memory, so the resident size can be larger than the data; it is used again when the data grows.",
        );
    }
    if ratio(facts.allocator.active, facts.allocator.allocated) > 1.1
        && difference(facts.allocator.active, facts.allocator.allocated) > 10 << 20
    {
        findings.push(
            "Fragmentation: pages of the allocator are only partly filled. Values of changing size are the usual reason.",
        );
    }
    if ratio(facts.allocator.resident, facts.allocator.active) > 1.1
        && difference(facts.allocator.resident, facts.allocator.active) > 10 << 20
    {
        findings.push(
            "Unused pages: the allocator keeps memory that nothing is in. It gives it back to the system by and by.",
        );
    }
    if findings.is_empty() {
        return format!("No memory problem was found ({}).\n", allocator_name());
    }
    let list: String = findings.iter().map(|finding| format!(" * {finding}\n\n")).collect();
    format!("What was found:\n\n{list}")
}

/// Threads of jemalloc's and of ours give back pages that stay unused for some seconds; this is for who cannot wait.
fn purge(cx: &mut Cx<'_, '_>) -> Outcome {
    slabs::purge();
    if !allocator::purge() {
        return Err(Failure::text("ERR Error purging dirty pages"));
    }
    cx.reply.ok();
    Ok(())
}

fn malloc_statistics(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut text = Vec::new();
    let written = tikv_jemalloc_ctl::stats_print::stats_print(&mut text, Default::default());
    if written.is_err() {
        return Err(Failure::text("ERR the allocator's statistics cannot be read"));
    }
    cx.reply.verbatim("txt", &String::from_utf8_lossy(&text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::info::process::AllocatorBytes;

    fn facts(used: u64, peak: u64, allocator: AllocatorBytes) -> MemoryFacts {
        MemoryFacts {
            used,
            peak,
            startup: 0,
            clients: 0,
            overhead: 0,
            dataset: used,
            dataset_percent: 100.0,
            resident: allocator.resident,
            allocator,
        }
    }

    #[test]
    fn the_doctor_names_what_stands_out() {
        let sound = AllocatorBytes { allocated: 100 << 20, active: 101 << 20, resident: 105 << 20 };
        assert!(diagnosis(&facts(1 << 20, 1 << 20, sound)).starts_with("There is hardly anything"));
        assert!(diagnosis(&facts(100 << 20, 100 << 20, sound)).starts_with("No memory problem"));
        let torn = AllocatorBytes { allocated: 100 << 20, active: 150 << 20, resident: 300 << 20 };
        let report = diagnosis(&facts(100 << 20, 200 << 20, torn));
        assert_eq!(report.matches(" * ").count(), 3, "{report}");
    }
}
