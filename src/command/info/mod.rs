//! INFO: which sections were asked for, in which order they come, and how the reply is put together.
//!
//! The text of each section is in `sections.rs` and `statistics.rs`; `process.rs` asks the operating system and the allocator.

mod persistence;
pub mod process;
pub mod sections;
mod statistics;

use super::cx::{Cx, Outcome};
use super::spec::{CommandSpec, Flags, Group};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "info",
    syntax: "INFO [section ...]",
    group: Group::Server,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "Returns facts and statistics about the server, by section.",
    flags: Flags::LOADING.and(Flags::STALE).and(Flags::DANGEROUS).and(Flags::ALL_KEYS),
    keys: &[],
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    subcommands: &[],
    run: info,
}];

/// When a section is part of the reply without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    /// By INFO alone, and by everything below.
    Always,
    /// By INFO all and INFO everything.
    InAll,
}

struct Section {
    name: &'static str,
    shown: Shown,
    write: fn(&mut Cx<'_, '_>, &mut Vec<u8>),
}

const fn section(name: &'static str, shown: Shown, write: fn(&mut Cx<'_, '_>, &mut Vec<u8>)) -> Section {
    Section { name, shown, write }
}

/// In the order of the reply. The heading is the name with a capital.
const SECTIONS: &[Section] = &[
    section("server", Shown::Always, sections::server),
    section("clients", Shown::Always, sections::clients),
    section("memory", Shown::Always, sections::memory),
    section("persistence", Shown::Always, persistence::persistence),
    section("stats", Shown::Always, statistics::stats),
    section("replication", Shown::Always, sections::replication),
    section("cpu", Shown::Always, sections::cpu),
    section("modules", Shown::Always, |_, _| {}),
    section("commandstats", Shown::InAll, statistics::command_statistics),
    section("errorstats", Shown::Always, statistics::error_statistics),
    section("latencystats", Shown::InAll, statistics::latency_statistics),
    section("cluster", Shown::Always, |_, text| text.extend_from_slice(b"cluster_enabled:0\r\n")),
    section("keyspace", Shown::Always, sections::keyspace),
    section("cloakroom", Shown::Always, sections::cloakroom),
];

/// Which sections a request with these words shows, as flags in the order of [`SECTIONS`]. An unknown word shows nothing.
fn wanted<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<bool> {
    let none_named = words.len() == 0;
    let mut wanted: Vec<bool> =
        SECTIONS.iter().map(|section| none_named && section.shown == Shown::Always).collect();
    for word in words {
        let word = word.to_ascii_lowercase();
        for (section, wanted) in SECTIONS.iter().zip(&mut wanted) {
            *wanted |= match word.as_slice() {
                b"default" => section.shown == Shown::Always,
                // The modules' own sections are not part of `all`; there are none, so both words mean the same here.
                b"all" | b"everything" => true,
                b"module_list" => section.name == "modules",
                word => section.name.as_bytes() == word,
            };
        }
    }
    wanted
}

fn info(cx: &mut Cx<'_, '_>) -> Outcome {
    let wanted = wanted(cx.args.iter_from(1));
    let mut text = Vec::new();
    for (section, _) in SECTIONS.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        if !text.is_empty() {
            text.extend_from_slice(b"\r\n");
        }
        let (first, rest) = section.name.split_at(1);
        let heading = if section.name == "cpu" { "CPU" } else { &format!("{}{rest}", first.to_uppercase()) };
        text.extend_from_slice(format!("# {heading}\r\n").as_bytes());
        (section.write)(cx, &mut text);
    }
    cx.reply.verbatim("txt", &String::from_utf8_lossy(&text));
    Ok(())
}

/// Appends a line `name:value`.
fn line(text: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    let _ = write!(text, "{name}:{value}\r\n");
}

/// A number of bytes for people: `894.85K`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let power = (bytes.ilog2() / 10).min(UNITS.len() as u32);
    let value = bytes as f64 / (1u64 << (10 * power)) as f64;
    format!("{value:.2}{}", UNITS[power as usize - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<&'static str> {
        let wanted = wanted(words.iter().map(|word| word.as_bytes()));
        SECTIONS.iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(section, _)| section.name).collect()
    }

    #[test]
    fn sections_are_chosen_as_in_redis() {
        let default = names(&[]);
        assert_eq!(default, names(&["DEFAULT"]));
        assert!(default.contains(&"errorstats") && !default.contains(&"commandstats"));
        assert_eq!(names(&["everything"]).len(), SECTIONS.len());
        assert_eq!(names(&["all"]), names(&["everything"]));
        assert_eq!(names(&["keyspace", "Cpu", "nosuch"]), ["cpu", "keyspace"]);
        assert!(names(&["nosuch"]).is_empty());
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit() {
        let shown = [0, 1023, 1024, 916_328, 25_276_510_208, 1 << 62].map(human);
        assert_eq!(shown, ["0B", "1023B", "1.00K", "894.85K", "23.54G", "4096.00P"]);
    }
}
