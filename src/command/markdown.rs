//! docs/commands.md, made from the command table. A test keeps the file fresh.

use std::fmt::Write;

use super::registry::{COMMANDS, Command};
use super::spec::Group;

const GROUPS: &[(Group, &str)] = &[
    (Group::String, "Strings"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Geo, "Geo"),
    (Group::Stream, "Streams"),
    (Group::Generic, "Keys"),
    (Group::Transactions, "Transactions"),
    (Group::Pubsub, "Pub/Sub"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
];

/// The page.
pub fn render_markdown() -> String {
    let mut page = format!(
        "# Commands\n\n\
         Generated from the rows in src/command; do not edit.\n\n\
         Commands, options, replies and errors are those of Redis {}. *Since* is the version of Redis that introduced a command, or that of Valkey where the meaning says so.\n",
        super::REDIS_VERSION
    );
    for (group, title) in GROUPS {
        let commands: Vec<&Command> = COMMANDS
            .iter()
            .filter(|command| command.spec.group == *group && command.subcommands.is_empty())
            .collect();
        if commands.is_empty() {
            continue;
        }
        write_line(&mut page, &format!("\n## {title}\n"));
        write_line(&mut page, "| Command | Since | Complexity | Meaning |");
        write_line(&mut page, "| --- | --- | --- | --- |");
        for command in commands {
            write_line(&mut page, &row(command));
        }
    }
    page
}

fn row(command: &Command) -> String {
    let spec = command.spec;
    // A bar separates columns, also inside code.
    let syntax = spec.syntax.replace('|', "\\|");
    format!("| `{syntax}` | {} | {} | {} |", spec.since, spec.complexity, spec.summary)
}

fn write_line(page: &mut String, line: &str) {
    writeln!(page, "{line}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");
        if std::env::var_os("CLOAKROOM_WRITE_DOCS").is_some() {
            std::fs::write(path, render_markdown()).expect("docs/commands.md can be written");
        }
        let file = std::fs::read_to_string(path).expect("docs/commands.md can be read");
        assert!(
            file == render_markdown(),
            "docs/commands.md is stale; run the tests with CLOAKROOM_WRITE_DOCS=1 to write it again"
        );
    }
}
