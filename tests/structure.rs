//! The shape of the source tree: which module may use which, where `unsafe` may be, what each file says at its top, that each command
//! has a transcript, and that dependencies keep to deny.toml.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cloakroom::command::COMMANDS;
use serde_json::Value;

/// Longer files are to be split by idea.
const FILE_LINES_MAX: usize = 900;
/// The only files with `unsafe` code; the tests of those in the keyspace and of the slabs run under AddressSanitizer (tests/run).
const UNSAFE_FILES: [&str; 15] = [
    "src/base/allocator.rs",
    "src/base/clock.rs",
    "src/base/crc.rs",
    "src/base/slabs/mod.rs",
    "src/base/slabs/pages.rs",
    "src/keyspace/chain.rs",
    "src/keyspace/collection/block.rs",
    "src/keyspace/entry.rs",
    "src/keyspace/line.rs",
    "src/keyspace/prefetch.rs",
    "src/keyspace/segment.rs",
    "src/keyspace/spill.rs",
    "src/keyspace/table.rs",
    "src/keyspace/words.rs",
    "src/base/scheduling.rs",
];
/// How many lines above an `unsafe` block its reason may begin.
const REASON_LINES: usize = 8;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with this extension, with their text; names are relative to the repository.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // What builds and downloads leave behind is not ours.
                let ours = path.file_name().is_none_or(|name| name != "target" && name != "node_modules");
                folders.extend(ours.then_some(path));
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = std::fs::read_to_string(&path).expect("a text file");
                let name = path.strip_prefix(root()).expect("a file of the repository").display().to_string();
                files.push((name, text));
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "there is something below {folder}");
    files
}

fn rust_files() -> Vec<(String, String)> {
    let folders =
        ["src", "tests", "benches", "fuzz"].into_iter().filter(|folder| root().join(folder).is_dir());
    folders.flat_map(|folder| files(folder, "rs")).collect()
}

/// The code of a line, without its comment. Good enough here: no string of ours has `//` before code that matters.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn fail_if_any(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// Modules and their ranks, as src/lib.rs lists them; those beside the ranks are left out.
fn ranks() -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let (mut ranks, mut rank) = (BTreeMap::new(), None);
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("// ") {
            rank = heading.strip_prefix("rank ").and_then(|rest| rest.chars().next()?.to_digit(10));
        } else if let Some(name) = line.strip_prefix("pub mod ").and_then(|rest| rest.strip_suffix(';'))
            && let Some(rank) = rank
        {
            ranks.insert(name.to_owned(), rank);
        }
    }
    assert!(ranks.len() > 5, "src/lib.rs lists modules by rank");
    ranks
}

#[test]
fn a_module_uses_only_modules_of_a_lower_or_equal_rank() {
    let ranks = ranks();
    let mut problems = Vec::new();
    for (name, text) in files("src", "rs") {
        let module = name.trim_start_matches("src/").split(['/', '.']).next().unwrap_or_default();
        let Some(rank) = ranks.get(module) else { continue };
        for (number, line) in text.lines().enumerate() {
            for used in code(line).split("crate::").skip(1) {
                let end = used.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
                let used = &used[..end.unwrap_or(used.len())];
                // Test modules may stand on what is beside the ranks.
                let is_help = used == "testing" && (name.ends_with("_tests.rs") || name.contains("_tests/"));
                if !is_help && ranks.get(used).is_none_or(|used| used > rank) {
                    problems.push(format!("{name}:{}: {module} (rank {rank}) uses {used}", number + 1));
                }
            }
        }
    }
    fail_if_any(problems);
}

#[test]
fn each_file_says_at_its_top_what_it_is() {
    let unsaid = rust_files().into_iter().filter(|(_, text)| !text.starts_with("//! "));
    fail_if_any(unsaid.map(|(name, _)| name).collect());
}

#[test]
fn no_file_is_too_long() {
    let long = rust_files().into_iter().map(|(name, text)| (name, text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > FILE_LINES_MAX);
    fail_if_any(long.map(|(name, lines)| format!("{name}: {lines} lines")).collect());
}

#[test]
fn unsafe_code_is_in_few_files_and_has_its_reason() {
    let mut problems = Vec::new();
    for (name, text) in rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = code(line);
            // Spelled in two parts, so that this file does not find itself.
            let found =
                ["{", "fn ", "impl "].iter().any(|what| code.contains(&format!("{} {what}", "unsafe")));
            if !found {
                continue;
            }
            if !UNSAFE_FILES.contains(&name.as_str()) {
                problems
                    .push(format!("{name}:{}: this file is not among those with unsafe code", number + 1));
            }
            let above = &lines[number.saturating_sub(REASON_LINES)..number];
            let reason = |line: &&str| line.contains("// SAFETY:") || line.contains("# Safety");
            // The methods of an allocator have the trait's contract.
            if !above.iter().any(reason) && !name.ends_with("allocator.rs") {
                problems.push(format!("{name}:{}: no reason why this is sound", number + 1));
            }
        }
    }
    fail_if_any(problems);
}

#[test]
fn each_command_has_a_transcript() {
    let transcripts = files("tests/transcripts", "txt");
    let lines: Vec<String> =
        transcripts.iter().flat_map(|(_, text)| text.lines().map(str::to_ascii_lowercase)).collect();
    // A line sends the command, alone or with arguments, by whichever connection.
    let sends = |line: &String, words: &str| {
        line.split_once("> ").is_some_and(|(_, sent)| {
            sent.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        })
    };
    let missing = COMMANDS.iter().filter(|command| command.subcommands.is_empty()).filter(|command| {
        let words = command.full_name.replace('|', " ");
        !lines.iter().any(|line| sends(line, &words))
    });
    fail_if_any(missing.map(|command| format!("no transcript sends {}", command.full_name)).collect());
}

/// The strings in quotes of a list or table of deny.toml, from the line that begins with `name` to the one that ends it.
fn quoted(name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml");
    let from = text.find(&format!("\n{name} = [")).expect("a list of deny.toml");
    let list = text[from..].split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every package that a build for Linux would take in, as cargo knows it.
fn packages() -> Vec<Value> {
    let arguments =
        ["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"];
    let output = std::process::Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let used: Vec<Value> = metadata["resolve"]["nodes"].as_array().into_iter().flatten().cloned().collect();
    let packages = metadata["packages"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let is_used = |package: &Value| used.iter().any(|node| node["id"] == package["id"]);
    packages.into_iter().filter(is_used).collect()
}

/// Whether an SPDX expression can be fulfilled with licences of a list. Reads one side of `OR` at a time, from `words` on.
fn either(words: &mut std::iter::Peekable<std::vec::IntoIter<String>>, allowed: &[String]) -> bool {
    let mut fulfilled = false;
    loop {
        let mut all = true;
        loop {
            let licence = words.next().unwrap_or_default();
            all &= if licence == "(" {
                let inner = either(words, allowed);
                words.next();
                inner
            } else if words.next_if_eq("WITH").is_some() {
                allowed.contains(&format!("{licence} WITH {}", words.next().unwrap_or_default()))
            } else {
                allowed.contains(&licence)
            };
            if words.next_if_eq("AND").is_none() {
                break;
            }
        }
        fulfilled |= all;
        if words.next_if_eq("OR").is_none() {
            return fulfilled;
        }
    }
}

fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<String> = spaced.split_whitespace().map(str::to_owned).collect();
    either(&mut words.into_iter().peekable(), allowed)
}

#[test]
fn licences_are_read_as_expressions() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(GPL-3.0 OR BSD-3-Clause) AND MIT", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn dependencies_keep_to_the_lists_of_deny_toml() {
    let (allowed, registries) = (quoted("allow"), quoted("allow-registry"));
    let denied = quoted("deny");
    let mut problems = Vec::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        let (name, licence, source) = (text("name"), text("license"), text("source"));
        if !is_allowed(&licence, &allowed) {
            problems.push(format!("{name}: the licence {licence:?} is not allowed"));
        }
        // Our own package has no source.
        if !source.is_empty() && !registries.iter().any(|registry| source == format!("registry+{registry}")) {
            problems.push(format!("{name}: the source {source:?} is not allowed"));
        }
        if denied.contains(&name) {
            problems.push(format!("{name}: denied by name"));
        }
    }
    fail_if_any(problems);
}
