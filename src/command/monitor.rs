//! MONITOR: shows all requests that run to the clients that asked for it, and what must not be shown of a request.

use super::cx::{Cx, Failure, LoopState, Outcome};
use super::registry::Command;
use super::spec::{CommandSpec, Flags, Group};
use crate::base::quote::push_quoted;
use crate::client::{Client, ClientFlags, Closing, Gates, Parcel};
use crate::config;
use crate::resp::Args;
use crate::services::Services;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "monitor",
    syntax: "MONITOR",
    group: Group::Server,
    since: "1.0.0",
    complexity: "",
    summary: "Shows every request that the server runs, as it happens.",
    flags: Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE),
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: monitor,
}];

/// The client's own gates. With the second one its requests are shown although it may be the only monitor and hear nothing: one of them may end that,
/// and is heard then.
const FEEDS: Gates = Gates::MONITORING.and(Gates::MONITORED);

fn monitor(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.in_exec {
        return Err(Failure::text("ERR MONITOR isn't allowed for DENY BLOCKING client"));
    }
    // A client that monitors already gets no second answer, as in Redis.
    if !cx.client.gates.has(Gates::MONITORING) {
        cx.client.set_gate(FEEDS, true);
        note_monitor(cx.services(), cx.client);
        cx.reply.ok();
    }
    Ok(())
}

/// Ends a client's feed, if it has one (RESET, or the client leaves).
pub fn leave_monitor(services: &Services, client: &mut Client) {
    if client.gates.has(Gates::MONITORING) {
        client.set_gate(FEEDS, false);
        note_monitor(services, client);
    }
}

/// Lets a client hear what is monitored or not, as its gates say: one that wants no replies hears nothing.
pub fn note_monitor(services: &Services, client: &Client) {
    let mut monitors = services.monitors.lock();
    if client.gates.has(Gates::MONITORING) && !client.gates.has(Gates::REPLIES_OFF) {
        monitors.insert(&client.info);
    } else {
        monitors.remove(&client.info);
    }
    services.set_gate(Gates::MONITORED, !monitors.is_empty());
}

/// Shows a request that has just run to all monitors: time, database, address, and the arguments in quotes.
#[cold]
pub fn feed_monitors(state: &mut LoopState<'_>, client: &Client, command: &Command, args: Args<'_>) {
    // As in Redis, nobody sees QUIT.
    if client.closing != Closing::No {
        return;
    }
    let (seconds, micros) = (state.now_us.div_euclid(1_000_000), state.now_us.rem_euclid(1_000_000));
    let info = &client.info;
    let mut line = format!("+{seconds}.{micros:06} [{} ", client.database).into_bytes();
    if info.has(ClientFlags::UNIX_SOCKET) {
        line.extend_from_slice(b"unix:");
        line.extend_from_slice(state.config.unixsocket.as_bytes());
    } else {
        line.extend_from_slice(info.address.as_bytes());
    }
    line.push(b']');
    for arg in shown_args(command, args) {
        line.push(b' ');
        push_quoted(&mut line, arg);
    }
    line.extend_from_slice(b"\r\n");
    let services = state.services;
    // Held until all have it: one order for all monitors.
    let monitors = services.monitors.lock();
    state.deliver(&monitors, Parcel::plain(line.into()));
}

/// The arguments of a request as MONITOR and SLOWLOG show them: passwords are hidden.
pub fn shown_args<'a>(command: &Command, args: Args<'a>) -> impl ExactSizeIterator<Item = &'a [u8]> {
    let secrets = secrets(command, args);
    args.iter_from(0).enumerate().map(move |(index, arg)| match secrets {
        Secrets::From(first) if index >= first => b"(redacted)".as_slice(),
        Secrets::One(at) if index == at => b"(redacted)",
        Secrets::Pair(first) if index == first || index == first + 1 => b"(redacted)",
        Secrets::ValuesOfSecretDirectives
            if index >= 3 && index % 2 == 1 && is_secret(args.at(index - 1)) =>
        {
            b"(redacted)"
        }
        _ => arg,
    })
}

/// Where a request has passwords.
#[derive(Clone, Copy)]
enum Secrets {
    None,
    /// From this argument to the end.
    From(usize),
    /// This argument.
    One(usize),
    /// This argument and the next.
    Pair(usize),
    /// CONFIG SET.
    ValuesOfSecretDirectives,
}

fn secrets(command: &Command, args: Args<'_>) -> Secrets {
    if command.has(Flags::SECRET_ARGUMENTS) {
        Secrets::From(1)
    } else if command.has(Flags::SECRET_LOGIN) {
        let auth = args.iter_from(2).position(|arg| arg.eq_ignore_ascii_case(b"AUTH"));
        auth.map_or(Secrets::None, |at| Secrets::Pair(at + 3))
    } else if command.has(Flags::SECRET_OPTIONS) {
        secret_options(command, args)
    } else if command.has(Flags::SECRET_VALUES) {
        Secrets::ValuesOfSecretDirectives
    } else {
        Secrets::None
    }
}

/// Behind AUTH stands a password, behind AUTH2 a user and a password; behind KEYS there are only keys.
fn secret_options(command: &Command, args: Args<'_>) -> Secrets {
    let required = command.arity.unsigned_abs() as usize;
    let is_option =
        |arg: &[u8]| ["AUTH", "AUTH2", "KEYS"].iter().any(|name| arg.eq_ignore_ascii_case(name.as_bytes()));
    let option = args.iter_from(required).position(is_option).map(|at| at + required);
    match option {
        Some(at) if args.at(at).eq_ignore_ascii_case(b"AUTH") => Secrets::One(at + 1),
        Some(at) if args.at(at).eq_ignore_ascii_case(b"AUTH2") => Secrets::Pair(at + 1),
        _ => Secrets::None,
    }
}

fn is_secret(directive: &[u8]) -> bool {
    config::find(directive).is_some_and(|(directive, _)| directive.is_secret)
}
