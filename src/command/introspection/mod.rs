//! COMMAND: what the command table says, for clients and proxies.
//!
//! Everything is derived from the rows: flags, ACL categories and key specifications in `facts.rs`, the arguments of COMMAND DOCS
//! from the syntax line in `docs.rs`.

pub mod docs;
mod facts;

pub use facts::{CATEGORIES, categories};

use super::cx::{Cx, Failure, Outcome};
use super::help;
#[cfg(test)]
use super::keys::Begin;
use super::registry::{COMMANDS, Command};
use super::spec::{Access, CommandSpec, Effect, Flags, Group};
use crate::base::glob;
use crate::resp::Reply;

const FLAGS: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::CONNECTION);
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "command",
    syntax: "COMMAND [subcommand]",
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of Redis commands",
    summary: "Returns details of all commands.",
    flags: FLAGS,
    keys: &[],
    tips: UNORDERED,
    subcommands: SUBCOMMANDS,
    run: all,
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "count",
        syntax: "COMMAND COUNT",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(1)",
        summary: "Returns the number of commands.",
        flags: FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: count,
    },
    CommandSpec {
        name: "docs",
        syntax: "COMMAND DOCS [command-name [command-name ...]]",
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns documentation of the given commands, or of all.",
        flags: FLAGS,
        keys: &[],
        tips: UNORDERED,
        subcommands: &[],
        run: docs,
    },
    CommandSpec {
        name: "getkeys",
        syntax: "COMMAND GETKEYS command arg [arg ...]",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Returns the keys among the arguments of a command.",
        flags: FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: get_keys,
    },
    CommandSpec {
        name: "getkeysandflags",
        syntax: "COMMAND GETKEYSANDFLAGS command arg [arg ...]",
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(N) where N is the number of arguments to the command",
        summary: "Returns the keys among the arguments of a command, and what it does to each.",
        flags: FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: get_keys_and_flags,
    },
    help::row("COMMAND HELP", Group::Server, "5.0.0", Flags::CONNECTION),
    CommandSpec {
        name: "info",
        syntax: "COMMAND INFO [command-name [command-name ...]]",
        group: Group::Server,
        since: "2.8.13",
        complexity: "O(N) where N is the number of commands to look up",
        summary: "Returns details of the given commands, or of all.",
        flags: FLAGS,
        keys: &[],
        tips: UNORDERED,
        subcommands: &[],
        run: info,
    },
    CommandSpec {
        name: "list",
        syntax: "COMMAND LIST [FILTERBY <MODULE module-name | ACLCAT category | PATTERN pattern>]",
        group: Group::Server,
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Redis commands",
        summary: "Returns the names of all commands, or of those that a filter lets through.",
        flags: FLAGS,
        keys: &[],
        tips: UNORDERED,
        subcommands: &[],
        run: list,
    },
];

fn all(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(COMMANDS.all.len());
    for command in &COMMANDS.all {
        facts::write_info(&mut cx.reply, command);
    }
    Ok(())
}

fn count(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.integer(COMMANDS.all.len() as i64);
    Ok(())
}

fn info(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.len() == 2 {
        return all(cx);
    }
    cx.reply.array(cx.args.len() - 2);
    for name in cx.args.iter_from(2) {
        match COMMANDS.find_full(name) {
            Some(command) => facts::write_info(&mut cx.reply, command),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

fn docs(cx: &mut Cx<'_, '_>) -> Outcome {
    let commands: Vec<&Command> = if cx.args.len() == 2 {
        COMMANDS.all.iter().collect()
    } else {
        cx.args.iter_from(2).filter_map(|name| COMMANDS.find_full(name)).collect()
    };
    cx.reply.map(commands.len());
    for command in commands {
        cx.reply.bulk(command.full_name.as_bytes());
        docs::write(&mut cx.reply, command);
    }
    Ok(())
}

fn list(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut names: Vec<&str> = Vec::new();
    let mut add = |accept: &dyn Fn(&Command) -> bool| {
        names.extend(COMMANDS.iter().filter(|command| accept(command)).map(|each| each.full_name.as_str()));
    };
    match cx.args.len() {
        2 => add(&|_| true),
        5 if cx.args.at(2).eq_ignore_ascii_case(b"FILTERBY") => {
            let what = cx.args.at(4);
            match cx.args.at(3).to_ascii_uppercase().as_slice() {
                b"MODULE" => {}
                b"ACLCAT" => add(&|command| {
                    facts::categories(command).any(|each| each.as_bytes().eq_ignore_ascii_case(what))
                }),
                b"PATTERN" => {
                    add(&|command| glob::matches(what, command.full_name.as_bytes(), true));
                }
                _ => return Err(Failure::SYNTAX),
            }
        }
        _ => return Err(Failure::SYNTAX),
    }
    cx.reply.array(names.len());
    for name in names {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// The command that GETKEYS and GETKEYSANDFLAGS ask about, and its keys: each an index among this request's arguments, with what
/// the command does to it.
fn keys_of(cx: &Cx<'_, '_>) -> Result<Vec<(usize, Access, Effect)>, Failure> {
    let mut command = COMMANDS.find(cx.args.at(2));
    if let Some(container) = command
        && !container.subcommands.is_empty()
    {
        command = container.subcommand(cx.args.at(3));
    }
    let command = command.ok_or(Failure::text("ERR Invalid command specified"))?;
    if !command.spec.keys.iter().any(|keys| !keys.not_key) {
        return Err(Failure::text("ERR The command has no key arguments"));
    }
    let args = cx.args.from(2);
    if !command.accepts(args.len()) {
        return Err(Failure::text("ERR Invalid number of arguments specified for command"));
    }
    let keys = command
        .found(args)
        .flat_map(|found| found.positions().map(move |index| (index + 2, found.access, found.effect)));
    let keys: Vec<_> = keys.collect();
    if keys.is_empty() {
        return Err(Failure::text("ERR Invalid arguments specified for command"));
    }
    Ok(keys)
}

fn get_keys(cx: &mut Cx<'_, '_>) -> Outcome {
    let keys = keys_of(cx)?;
    cx.reply.array(keys.len());
    for (index, ..) in keys {
        cx.reply.bulk(cx.args.at(index));
    }
    Ok(())
}

fn get_keys_and_flags(cx: &mut Cx<'_, '_>) -> Outcome {
    let keys = keys_of(cx)?;
    cx.reply.array(keys.len());
    for (index, access, effect) in keys {
        cx.reply.array(2);
        cx.reply.bulk(cx.args.at(index));
        write_set(&mut cx.reply, facts::key_flags(access, effect, false));
    }
    Ok(())
}

/// A set of simple strings.
fn write_set<'n>(reply: &mut Reply<'_>, names: impl Iterator<Item = &'n str>) {
    let names: Vec<&str> = names.collect();
    reply.set(names.len());
    for name in names {
        reply.simple(name);
    }
}

#[cfg(test)]
mod tests {
    use super::docs::{Argument, Kind};
    use super::*;

    fn has_key(arguments: &[Argument]) -> bool {
        arguments.iter().any(|argument| argument.kind == Kind::Key || has_key(&argument.parts))
    }

    #[test]
    fn names_are_unique_and_rows_complete() {
        let mut names: Vec<&str> = COMMANDS.iter().map(|command| command.full_name.as_str()).collect();
        let total = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), total, "two rows have the same name");
        for command in COMMANDS.iter() {
            let spec = command.spec;
            assert_eq!(spec.name, spec.name.to_lowercase(), "a name is in lower case");
            let words = command.full_name.to_uppercase().replace('|', " ");
            assert!(spec.syntax.starts_with(&words), "{words}: the syntax starts with the name");
            assert!(spec.since.split('.').count() == 3, "{words}: since is a version");
            // Redis names none for MONITOR, which lasts as long as its client likes.
            assert!(!spec.complexity.is_empty() || words == "MONITOR", "{words}: complexity");
            assert!(spec.summary.ends_with('.'), "{words}: the summary is a sentence");
            let subcommands = spec.subcommands;
            assert!(
                subcommands.is_empty() || subcommands.iter().any(|row| row.name == "help"),
                "{words}: HELP"
            );
            assert!(spec.subcommands.is_empty() || spec.keys.is_empty(), "{words}: containers have no keys");
        }
    }

    #[test]
    fn keys_agree_with_the_syntax() {
        for command in COMMANDS.iter().filter(|command| command.subcommands.is_empty()) {
            let arguments = docs::arguments(command.spec);
            let named = has_key(&arguments);
            let keys = command.spec.keys.iter().any(|keys| !keys.not_key);
            assert_eq!(named, keys, "{}: key positions and the word key", command.full_name);
            let least = command.arity.unsigned_abs() as usize;
            for (place, keys) in command.spec.keys.iter().filter(|keys| !keys.not_key).enumerate() {
                if let Begin::At(first) = keys.begin {
                    // Further keys may be optional (the sources of PFMERGE).
                    let required = first < least || place > 0 && first == least;
                    assert!(required, "{}: a key lies among the required words", command.full_name);
                }
            }
        }
    }
}
