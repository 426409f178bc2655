//! Commands about the connection itself: who it is, which protocol it speaks, which database it looks at.
//!
//! A client that has to authenticate carries the gate `UNAUTHENTICATED` until AUTH or HELLO takes it away. Only those two, RESET and
//! the beginning of a connection look at the password: who is in stays in when it changes.

use super::cx::{Cx, Failure, Outcome};
use super::monitor::leave_monitor;
use super::pubsub::unsubscribe_all;
use super::spec::{CommandSpec, Flags, Group};
use super::transactions::{end_transaction, unwatch_all};
use crate::base::number::parse_i64;
use crate::base::secret::is_same_secret;
use crate::client::{Client, ClientFlags, Gates, is_valid_name};
use crate::observe::counters::Count;
use crate::resp::Protocol;

/// The version of Redis that clients may take this server for.
pub const REDIS_VERSION: &str = "7.2.4";
/// The only user there is.
pub const DEFAULT_USER: &[u8] = b"default";

const WRONG_PASSWORD: Failure =
    Failure::text("WRONGPASS invalid username-password pair or user is disabled.");
const NO_PASSWORD_SET: Failure = Failure::text(
    "ERR AUTH <password> called without any password configured for the default user. \
     Are you sure your configuration is correct?",
);
const HELLO_NEEDS_AUTH: Failure = Failure::text(
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> \
     option can be used to authenticate the client and select the RESP protocol version at the same time",
);

const FAST: Flags = Flags::FAST.and(Flags::CONNECTION);
const FAST_ALWAYS: Flags = FAST.and(Flags::LOADING).and(Flags::STALE);
const WITHOUT_AUTH: Flags = FAST_ALWAYS.and(Flags::NOSCRIPT).and(Flags::NO_AUTH).and(Flags::ALLOW_BUSY);

/// What the rows have in common.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Connection,
    since: "1.0.0",
    complexity: "O(1)",
    summary: "",
    flags: FAST_ALWAYS,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: ping,
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "auth",
        syntax: "AUTH [username] password",
        complexity: "O(1), or the number of passwords of the user",
        summary: "Authenticates the connection.",
        flags: WITHOUT_AUTH.and(Flags::SECRET_ARGUMENTS),
        run: auth,
        ..ROW
    },
    CommandSpec { name: "echo", syntax: "ECHO message", summary: "Returns the message.", run: echo, ..ROW },
    CommandSpec {
        name: "hello",
        syntax: "HELLO [protover [AUTH username password] [SETNAME clientname]]",
        since: "6.0.0",
        summary: "Tells about the server; chooses the protocol version, authenticates and names the connection.",
        flags: WITHOUT_AUTH.and(Flags::SECRET_LOGIN),
        run: hello,
        ..ROW
    },
    CommandSpec {
        name: "ping",
        syntax: "PING [message]",
        summary: "Answers PONG, or the message.",
        flags: FAST.and(Flags::WHILE_SUBSCRIBED).and(Flags::REFUSED_WITH_WRITES),
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        run: ping,
        ..ROW
    },
    CommandSpec {
        name: "quit",
        syntax: "QUIT [ignored ...]",
        summary: "Closes the connection when its replies are sent.",
        flags: WITHOUT_AUTH.and(Flags::WHILE_SUBSCRIBED).and(Flags::NOT_QUEUED),
        run: quit,
        ..ROW
    },
    CommandSpec {
        name: "reset",
        syntax: "RESET",
        since: "6.2.0",
        summary: "Brings the connection back to the state of a new one.",
        flags: WITHOUT_AUTH.and(Flags::WHILE_SUBSCRIBED).and(Flags::NOT_QUEUED),
        run: reset,
        ..ROW
    },
    CommandSpec {
        name: "select",
        syntax: "SELECT index",
        summary: "Chooses the database that the connection's commands work on.",
        run: select,
        ..ROW
    },
];

fn ping(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.args.len() > 2 {
        return Err(cx.wrong_number_of_arguments());
    }
    let message = cx.args.get(1);
    if cx.client.gates.has(Gates::SUBSCRIBED) {
        // A RESP2 subscriber tells replies from messages by their shape: both are arrays of which the first is a word.
        cx.reply.array(2);
        cx.reply.bulk(b"pong");
        cx.reply.bulk(message.unwrap_or_default());
        return Ok(());
    }
    match message {
        Some(message) => cx.reply.bulk(message),
        None => cx.reply.simple("PONG"),
    }
    Ok(())
}

fn echo(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.bulk(cx.args.at(1));
    Ok(())
}

fn select(cx: &mut Cx<'_, '_>) -> Outcome {
    let index = cx.integer(1)?;
    if i32::try_from(index).is_err() {
        return Err(Failure::text(
            "ERR value is out of range, value must between -2147483648 and 2147483647",
        ));
    }
    let database = usize::try_from(index).ok().filter(|index| *index < cx.config().databases as usize);
    let database = database.ok_or(Failure::text("ERR DB index is out of range"))?;
    cx.client.select(database);
    cx.reply.ok();
    Ok(())
}

fn auth(cx: &mut Cx<'_, '_>) -> Outcome {
    let (user, password) = match cx.args.len() {
        2 if cx.config().requirepass.is_empty() => return Err(NO_PASSWORD_SET),
        2 => (DEFAULT_USER, cx.args.at(1)),
        3 => (cx.args.at(1), cx.args.at(2)),
        _ => return Err(Failure::SYNTAX),
    };
    authenticate(cx, user, password)?;
    cx.reply.ok();
    Ok(())
}

/// Lets the client in if the password is right. A wrong one changes nothing: who was in stays in.
fn authenticate(cx: &mut Cx<'_, '_>, user: &[u8], password: &[u8]) -> Outcome {
    let required = &cx.config().requirepass;
    let right = required.is_empty() || is_same_secret(required, password);
    if user != DEFAULT_USER || !right {
        cx.state.count(Count::AclDeniedAuth, 1);
        return Err(WRONG_PASSWORD);
    }
    cx.client.set_gate(Gates::UNAUTHENTICATED, false);
    Ok(())
}

/// What HELLO was asked for.
#[derive(Default)]
struct Greeting<'a> {
    protocol: Option<Protocol>,
    login: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn greeting<'a>(cx: &Cx<'a, '_>) -> Result<Greeting<'a>, Failure> {
    let mut greeting = Greeting::default();
    let Some(version) = cx.args.get(1) else { return Ok(greeting) };
    greeting.protocol = match parse_i64(version) {
        Some(2) => Some(Protocol::Resp2),
        Some(3) => Some(Protocol::Resp3),
        Some(_) => return Err(Failure::text("NOPROTO unsupported protocol version")),
        None => return Err(Failure::text("ERR Protocol version is not an integer or out of range")),
    };
    let mut at = 2;
    while let Some(option) = cx.args.get(at) {
        match (cx.args.get(at + 1), cx.args.get(at + 2)) {
            (Some(user), Some(password)) if option.eq_ignore_ascii_case(b"AUTH") => {
                greeting.login = Some((user, password));
                at += 3;
            }
            (Some(name), _) if option.eq_ignore_ascii_case(b"SETNAME") => {
                if !is_valid_name(name) {
                    return Err(BAD_CLIENT_NAME);
                }
                greeting.name = Some(name);
                at += 2;
            }
            _ => return Err(Failure::echo("ERR Syntax error in HELLO option '", option, "'")),
        }
    }
    Ok(greeting)
}

/// The error of CLIENT SETNAME and HELLO SETNAME.
pub const BAD_CLIENT_NAME: Failure =
    Failure::text("ERR Client names cannot contain spaces, newlines or special characters.");

fn hello(cx: &mut Cx<'_, '_>) -> Outcome {
    let greeting = greeting(cx)?;
    if let Some((user, password)) = greeting.login {
        authenticate(cx, user, password)?;
    }
    if cx.client.gates.has(Gates::UNAUTHENTICATED) {
        return Err(HELLO_NEEDS_AUTH);
    }
    if let Some(name) = greeting.name {
        cx.client.info.names.lock().name = name.to_vec();
    }
    if let Some(protocol) = greeting.protocol {
        if protocol != cx.client.protocol && is_listening(cx.client) {
            cx.write_deliveries_first();
        }
        set_protocol(cx, protocol);
    }
    let protocol = if cx.client.protocol == Protocol::Resp3 { 3 } else { 2 };
    let id = cx.client.info.id as i64;
    let reply = &mut cx.reply;
    reply.map(7);
    for (field, value) in [("server", "redis"), ("version", REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    for (field, value) in [("proto", protocol), ("id", id)] {
        reply.bulk(field.as_bytes());
        reply.integer(value);
    }
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(())
}

/// Whether others send something to the client.
fn is_listening(client: &Client) -> bool {
    client.subscriptions() > 0 || client.gates.has(Gates::MONITORING)
}

/// The reply at hand is in the new version already.
fn set_protocol(cx: &mut Cx<'_, '_>, protocol: Protocol) {
    cx.client.set_protocol(protocol);
    cx.reply.set_protocol(protocol);
    let restricted = protocol == Protocol::Resp2 && cx.client.subscriptions() > 0;
    cx.client.set_gate(Gates::SUBSCRIBED, restricted);
}

fn quit(cx: &mut Cx<'_, '_>) -> Outcome {
    close_after_reply(cx);
    cx.reply.ok();
    Ok(())
}

/// Ends the connection once everything that was written is sent: what others have sent so far, and the reply of this request.
pub fn close_after_reply(cx: &mut Cx<'_, '_>) {
    if is_listening(cx.client) {
        cx.write_deliveries_first();
    }
    cx.client.close_after_reply();
}

/// What stays is the library's name and version: it is still the same library that speaks.
fn reset(cx: &mut Cx<'_, '_>) -> Outcome {
    let services = cx.services();
    let must_authenticate = !cx.config().requirepass.is_empty();
    end_transaction(cx.client);
    unwatch_all(&services.keyspace, cx.client);
    let was_listening = is_listening(cx.client);
    unsubscribe_all(cx.state, cx.client);
    leave_monitor(services, cx.client);
    let client = &mut *cx.client;
    client.select(0);
    // A SKIP in front of it still counts, as in Redis.
    client.set_gate(Gates::REPLIES_OFF.and(Gates::SKIP_NEXT).and(Gates::NO_TOUCH), false);
    client.info.set_flag(ClientFlags::NO_EVICT, false);
    client.info.names.lock().name = Vec::new();
    client.set_gate(Gates::UNAUTHENTICATED, must_authenticate);
    if was_listening {
        cx.write_deliveries_first();
    }
    set_protocol(cx, Protocol::Resp2);
    cx.reply.simple("RESET");
    Ok(())
}
