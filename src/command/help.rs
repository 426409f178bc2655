//! The HELP subcommand of containers. Its text follows from the container's rows, so that it cannot go out of date.

use super::cx::{Cx, Failure, Outcome};
use super::registry::COMMANDS;
use super::spec::{CommandSpec, Flags, Group};

/// The row of a container's HELP. `syntax` is `CONFIG HELP`; `flags` adds what the group's rows have (an ACL category).
pub const fn row(syntax: &'static str, group: Group, since: &'static str, flags: Flags) -> CommandSpec {
    CommandSpec {
        name: "help",
        syntax,
        group,
        since,
        complexity: "O(1)",
        summary: "Returns helpful text about the different subcommands.",
        flags: Flags::LOADING.and(Flags::STALE).and(flags),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: help,
    }
}

/// The row of a container.
pub const fn container(
    name: &'static str,
    syntax: &'static str,
    group: Group,
    since: &'static str,
    summary: &'static str,
    subcommands: &'static [CommandSpec],
) -> CommandSpec {
    CommandSpec {
        name,
        syntax,
        group,
        since,
        complexity: "Depends on subcommand.",
        summary,
        flags: Flags::NONE,
        keys: &[],
        tips: &[],
        subcommands,
        run: help,
    }
}

/// How much of a subcommand's name an error repeats.
const ECHOED_BYTES: usize = 128;

/// Redis's error for a subcommand that looks at its arguments itself and does not know what to do with so many. It calls the subcommand
/// as the client did.
pub fn bad_arguments(cx: &Cx<'_, '_>) -> Failure {
    let name = cx.args.at(1);
    let container = cx.command.full_name.split('|').next().unwrap_or_default().to_ascii_uppercase();
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    Failure::echo(before, &name[..name.len().min(ECHOED_BYTES)], &format!("'. Try {container} HELP."))
}

/// Answers with the lines of the container that the request names.
pub fn help(cx: &mut Cx<'_, '_>) -> Outcome {
    let Some(container) = COMMANDS.find(cx.args.at(0)) else { return Ok(()) };
    let name = container.spec.name.to_ascii_uppercase();
    let rows = container.spec.subcommands;
    cx.reply.array(1 + 2 * rows.len());
    cx.reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    // HELP itself comes last, as everywhere in Redis.
    let (help, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.name == "help");
    for row in others {
        cx.reply.simple(row.syntax.strip_prefix(&name).unwrap_or(row.syntax).trim_start());
        cx.reply.simple(&format!("    {}", row.summary));
    }
    for _ in help {
        cx.reply.simple("HELP");
        cx.reply.simple("    Prints this help.");
    }
    Ok(())
}
