//! MODULE: there are none, and tools that ask on connecting hear so.

use super::cx::{Cx, Outcome};
use super::help;
use super::spec::{CommandSpec, Flags, Group};

pub const ROWS: &[CommandSpec] = &[help::container(
    "module",
    "MODULE <subcommand>",
    Group::Server,
    "4.0.0",
    "A container for module commands.",
    SUBCOMMANDS,
)];

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
