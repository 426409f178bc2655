//! CLIENT: what a client may see and change of connections, its own and others'.
//!
//! Other clients belong to other event loops: what is seen of them is what [`crate::client::ClientInfo`] tells, and what is done to them is asked of
//! their loops by message.

mod kill;
mod list;
mod pause;

use super::connection::BAD_CLIENT_NAME;
use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::monitor::note_monitor;
use super::spec::{CommandSpec, Flags, Group};
use crate::client::{ClientFlags, Gates, is_valid_name};

const ALWAYS: Flags = Flags::CONNECTION.and(Flags::LOADING).and(Flags::STALE);
const OWN: Flags = ALWAYS.and(Flags::NOSCRIPT);
const ADMIN: Flags = OWN.and(Flags::ADMIN);
const TO_ALL_NODES: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// What the rows have in common.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Connection,
    since: "",
    complexity: "O(1)",
    summary: "",
    flags: OWN,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: help::help,
};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "client",
    syntax: "CLIENT",
    since: "2.4.0",
    complexity: "Depends on subcommand.",
    summary: "A container for commands about connections.",
    flags: Flags::NONE,
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "getname",
        syntax: "CLIENT GETNAME",
        since: "2.6.9",
        summary: "Returns the name of the connection.",
        run: getname,
        ..ROW
    },
    CommandSpec {
        name: "getredir",
        syntax: "CLIENT GETREDIR",
        since: "6.0.0",
        summary: "Returns the id of the client that this connection's tracking messages go to.",
        run: getredir,
        ..ROW
    },
    help::row("CLIENT HELP", Group::Connection, "5.0.0", Flags::CONNECTION),
    CommandSpec {
        name: "id",
        syntax: "CLIENT ID",
        since: "5.0.0",
        summary: "Returns the id of the connection.",
        run: id,
        ..ROW
    },
    CommandSpec {
        name: "info",
        syntax: "CLIENT INFO",
        since: "6.2.0",
        summary: "Describes the connection in one line.",
        tips: &["nondeterministic_output"],
        run: list::info,
        ..ROW
    },
    CommandSpec {
        name: "kill",
        syntax: "CLIENT KILL <ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] [...]>>",
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Closes connections.",
        flags: ADMIN.and(Flags::CONTROL),
        run: kill::kill,
        ..ROW
    },
    CommandSpec {
        name: "list",
        syntax: "CLIENT LIST [TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        since: "2.4.0",
        complexity: "O(N) where N is the number of client connections",
        summary: "Describes connections, each in one line.",
        flags: ADMIN,
        tips: &["nondeterministic_output"],
        run: list::list,
        ..ROW
    },
    CommandSpec {
        name: "no-evict",
        syntax: "CLIENT NO-EVICT <ON | OFF>",
        since: "7.0.0",
        summary: "Protects the connection from being closed for the memory it takes.",
        flags: ADMIN,
        run: no_evict,
        ..ROW
    },
    CommandSpec {
        name: "no-touch",
        syntax: "CLIENT NO-TOUCH <ON | OFF>",
        since: "7.2.0",
        summary: "Keeps the connection's commands out of the access history of keys.",
        run: no_touch,
        ..ROW
    },
    CommandSpec {
        name: "pause",
        syntax: "CLIENT PAUSE timeout [WRITE | ALL]",
        since: "3.0.0",
        summary: "Makes all clients wait, or those that write.",
        flags: ADMIN,
        run: pause::pause,
        ..ROW
    },
    CommandSpec {
        name: "reply",
        syntax: "CLIENT REPLY <ON | OFF | SKIP>",
        since: "3.2.0",
        summary: "Chooses whether commands are answered.",
        run: reply,
        ..ROW
    },
    CommandSpec {
        name: "setinfo",
        syntax: "CLIENT SETINFO <LIB-NAME | LIB-VER> value",
        since: "7.2.0",
        summary: "Tells which library the client uses.",
        tips: TO_ALL_NODES,
        run: setinfo,
        ..ROW
    },
    CommandSpec {
        name: "setname",
        syntax: "CLIENT SETNAME connection-name",
        since: "2.6.9",
        summary: "Names the connection.",
        tips: TO_ALL_NODES,
        run: setname,
        ..ROW
    },
    CommandSpec {
        name: "trackinginfo",
        syntax: "CLIENT TRACKINGINFO",
        since: "6.2.0",
        summary: "Tells how the connection's reads are tracked.",
        run: trackinginfo,
        ..ROW
    },
    CommandSpec {
        name: "unblock",
        syntax: "CLIENT UNBLOCK client-id [TIMEOUT | ERROR]",
        since: "5.0.0",
        complexity: "O(log N) where N is the number of client connections",
        summary: "Ends what another client waits in.",
        flags: ADMIN,
        run: pause::unblock,
        ..ROW
    },
    CommandSpec {
        name: "unpause",
        syntax: "CLIENT UNPAUSE",
        since: "6.2.0",
        complexity: "O(N) where N is the number of paused clients",
        summary: "Lets paused clients go on.",
        flags: ADMIN,
        run: pause::unpause,
        ..ROW
    },
];

fn id(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.integer(cx.client.info.id as i64);
    Ok(())
}

fn getname(cx: &mut Cx<'_, '_>) -> Outcome {
    let names = cx.client.info.names.lock();
    if names.name.is_empty() {
        cx.reply.null();
    } else {
        cx.reply.bulk(&names.name);
    }
    Ok(())
}

fn setname(cx: &mut Cx<'_, '_>) -> Outcome {
    let name = cx.args.at(2);
    if !is_valid_name(name) {
        return Err(BAD_CLIENT_NAME);
    }
    cx.client.info.names.lock().name = name.to_vec();
    cx.reply.ok();
    Ok(())
}

fn setinfo(cx: &mut Cx<'_, '_>) -> Outcome {
    let (option, value) = (cx.args.at(2), cx.args.at(3));
    let is_name = option.eq_ignore_ascii_case(b"LIB-NAME");
    if !is_name && !option.eq_ignore_ascii_case(b"LIB-VER") {
        return Err(Failure::echo("ERR Unrecognized option '", option, "'"));
    }
    if !is_valid_name(value) {
        let after = " cannot contain spaces, newlines or special characters.";
        return Err(Failure::echo("ERR ", option, after));
    }
    let names = &mut *cx.client.info.names.lock();
    let field = if is_name { &mut names.library_name } else { &mut names.library_version };
    *field = value.to_vec();
    cx.reply.ok();
    Ok(())
}

/// OFF and SKIP are not answered themselves. What they do is in `client/muted.rs`.
fn reply(cx: &mut Cx<'_, '_>) -> Outcome {
    let mode = cx.args.at(2);
    if mode.eq_ignore_ascii_case(b"ON") {
        cx.client.set_gate(Gates::REPLIES_OFF.and(Gates::SKIP_THIS), false);
        cx.reply.ok();
    } else if mode.eq_ignore_ascii_case(b"OFF") {
        cx.client.set_gate(Gates::REPLIES_OFF, true);
    } else if mode.eq_ignore_ascii_case(b"SKIP") {
        let off = cx.client.gates.has(Gates::REPLIES_OFF);
        cx.client.set_gate(Gates::SKIP_NEXT, !off);
    } else {
        return Err(Failure::SYNTAX);
    }
    if cx.client.gates.has(Gates::MONITORING) {
        note_monitor(cx.services(), cx.client);
    }
    Ok(())
}

fn switch(cx: &Cx<'_, '_>) -> Result<bool, Failure> {
    let word = cx.args.at(2);
    if word.eq_ignore_ascii_case(b"ON") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"OFF") {
        Ok(false)
    } else {
        Err(Failure::SYNTAX)
    }
}

fn no_evict(cx: &mut Cx<'_, '_>) -> Outcome {
    let on = switch(cx)?;
    cx.client.info.set_flag(ClientFlags::NO_EVICT, on);
    cx.reply.ok();
    Ok(())
}

fn no_touch(cx: &mut Cx<'_, '_>) -> Outcome {
    let on = switch(cx)?;
    cx.client.set_gate(Gates::NO_TOUCH, on);
    cx.reply.ok();
    Ok(())
}

/// Nobody tracks: -1, as for a client that has not switched tracking on.
fn getredir(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.integer(-1);
    Ok(())
}

fn trackinginfo(cx: &mut Cx<'_, '_>) -> Outcome {
    let reply = &mut cx.reply;
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}
