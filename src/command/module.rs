//! MODULE: there are none, and tools that ask on connecting hear so.

use super::cx::{Cx, Outcome};
use super::help;
use super::spec::{CommandSpec, Flags, Group};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "module",
    syntax: "MODULE <subcommand>",
    group: Group::Server,
    since: "4.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for module commands.",
    flags: Flags::NONE,
    keys: &[],
    tips: &[],
    subcommands: SUBCOMMANDS,
    run: help::help,
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    help::row("MODULE HELP", Group::Server, "5.0.0", Flags::NONE),
    CommandSpec {
        name: "list",
        syntax: "MODULE LIST",
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the number of loaded modules.",
        summary: "Returns the loaded modules.",
        flags: Flags::ADMIN.and(Flags::NOSCRIPT),
        keys: &[],
        tips: &["nondeterministic_output_order"],
        subcommands: &[],
        run: list,
    },
];

fn list(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(0);
    Ok(())
}
