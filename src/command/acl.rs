//! ACL, as far as there is anything to tell: the one user is `default`, who may do everything once `requirepass` is given. Rows that change
//! users do not exist; tools that only ask on connecting get the truth.

use aws_lc_rs::digest::{SHA256, digest};

use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::introspection::{CATEGORIES, categories};
use super::registry::COMMANDS;
use super::spec::{CommandSpec, Flags, Group};

/// Bits of ACL GENPASS without an argument, and at most.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4096;
const BITS_OUT_OF_RANGE: Failure = Failure::text(
    "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to 4096",
);

const ANYTIME: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE);

/// What the rows have in common.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Server,
    since: "6.0.0",
    complexity: "O(1)",
    summary: "",
    flags: ANYTIME,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: help::help,
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "acl",
    syntax: "ACL <subcommand>",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about users and what they may do.",
    flags: Flags::NONE,
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "cat",
        syntax: "ACL CAT [category]",
        complexity: "O(1) since the categories and commands are a fixed set.",
        summary: "Lists the categories of commands, or the commands of one.",
        run: cat,
        ..ROW
    },
    CommandSpec {
        name: "genpass",
        syntax: "ACL GENPASS [bits]",
        summary: "Generates a password that nobody can guess, in hexadecimal digits.",
        run: genpass,
        ..ROW
    },
    CommandSpec {
        name: "getuser",
        syntax: "ACL GETUSER username",
        complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
        summary: "Returns what a user may do.",
        flags: ANYTIME.and(Flags::ADMIN),
        run: getuser,
        ..ROW
    },
    help::row("ACL HELP", Group::Server, "6.0.0", Flags::NONE),
    CommandSpec {
        name: "list",
        syntax: "ACL LIST",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Returns the users in the form of lines of a configuration file.",
        flags: ANYTIME.and(Flags::ADMIN),
        run: list,
        ..ROW
    },
    CommandSpec {
        name: "users",
        syntax: "ACL USERS",
        complexity: "O(N). Where N is the number of configured users.",
        summary: "Returns the names of the users.",
        flags: ANYTIME.and(Flags::ADMIN),
        run: users,
        ..ROW
    },
    CommandSpec {
        name: "whoami",
        syntax: "ACL WHOAMI",
        summary: "Returns the name of the user that the connection is authenticated as.",
        run: whoami,
        ..ROW
    },
];

/// The only user.
const USER: &str = "default";

fn cat(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.len() == 2 {
        cx.reply.array(CATEGORIES.len());
        for category in CATEGORIES {
            cx.reply.bulk(category.as_bytes());
        }
        return Ok(());
    }
    if cx.args.len() > 3 {
        return Err(help::bad_arguments(cx));
    }
    let wanted = cx.args.at(2);
    let Some(wanted) = CATEGORIES.iter().find(|name| wanted.eq_ignore_ascii_case(name.as_bytes())) else {
        return Err(Failure::echo("ERR Unknown category '", wanted, "'"));
    };
    let found: Vec<&str> = COMMANDS
        .iter()
        .filter(|command| categories(command).any(|name| name == *wanted))
        .map(|command| command.full_name.as_str())
        .collect();
    cx.reply.array(found.len());
    for name in found {
        cx.reply.bulk(name.as_bytes());
    }
    Ok(())
}

fn genpass(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.len() > 3 {
        return Err(help::bad_arguments(cx));
    }
    let bits = if cx.args.len() > 2 { cx.integer(2)? } else { PASSWORD_BITS };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        return Err(BITS_OUT_OF_RANGE);
    }
    let digits = (bits as usize).div_ceil(4);
    let mut bytes = vec![0; digits.div_ceil(2)];
    // The server's own generator is for sampling; a password needs the system's.
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Failure::text("ERR the system gives no random bytes"))?;
    cx.reply.bulk(&hexadecimal(&bytes).as_bytes()[..digits]);
    Ok(())
}

fn getuser(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.at(2) != USER.as_bytes() {
        cx.reply.null();
        return Ok(());
    }
    let password = password_hash(cx);
    cx.reply.map(6);
    cx.reply.bulk(b"flags");
    cx.reply.set(if password.is_some() { 1 } else { 2 });
    cx.reply.bulk(b"on");
    if password.is_none() {
        cx.reply.bulk(b"nopass");
    }
    cx.reply.bulk(b"passwords");
    cx.reply.array(usize::from(password.is_some()));
    if let Some(password) = password {
        cx.reply.bulk(password.as_bytes());
    }
    for (what, rule) in [("commands", "+@all"), ("keys", "~*"), ("channels", "&*")] {
        cx.reply.bulk(what.as_bytes());
        cx.reply.bulk(rule.as_bytes());
    }
    cx.reply.bulk(b"selectors");
    cx.reply.array(0);
    Ok(())
}

fn list(cx: &mut Cx<'_, '_>) -> Outcome {
    let password = password_hash(cx).map_or_else(|| String::from("nopass"), |hash| format!("#{hash}"));
    cx.reply.array(1);
    cx.reply.bulk(format!("user {USER} on {password} ~* &* +@all").as_bytes());
    Ok(())
}

fn users(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(1);
    cx.reply.bulk(USER.as_bytes());
    Ok(())
}

fn whoami(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.bulk(USER.as_bytes());
    Ok(())
}

/// SHA-256 of `requirepass` in hexadecimal, as ACL rules hold passwords; `None` if everybody is let in.
fn password_hash(cx: &Cx<'_, '_>) -> Option<String> {
    let password = &cx.config().requirepass;
    (!password.is_empty()).then(|| hexadecimal(digest(&SHA256, password).as_ref()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
