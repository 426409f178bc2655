//! Admission: the gates that a request may have to pass before it runs. Reached only when a gate that concerns the command is in
//! force; the order of the checks is that of Redis, because it decides which error a client sees.

use super::memory;
use crate::client::{Client, Gates};
use crate::command::{Command, LoopState};
use crate::observe::counters::Count;
use crate::resp::{Args, Reply};

/// What becomes of a request at the gates.
pub enum Admission {
    /// It runs.
    Run,
    /// It was answered.
    Done,
    /// It waits, unchanged.
    Wait,
}

/// How much of an unknown command's arguments its error repeats.
const ECHOED_BYTES: usize = 128;

/// Checks the gates in force.
#[cold]
pub fn admit(
    state: &mut LoopState<'_>,
    client: &mut Client,
    gates: Gates,
    command: &'static Command,
    _args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Admission {
    if gates.has(Gates::UNAUTHENTICATED) {
        reject(state, client, reply, Some(command), b"NOAUTH Authentication required.");
        return Admission::Done;
    }
    if state.services.gates().has(Gates::MEMORY_LIMIT) && memory::is_refused(state, client, command) {
        reject(state, client, reply, Some(command), memory::OUT_OF_MEMORY);
        return Admission::Done;
    }
    Admission::Run
}

/// Answers with an error instead of running the request; a transaction that is being queued is spoilt by it.
#[cold]
pub fn reject(
    state: &mut LoopState<'_>,
    client: &mut Client,
    reply: &mut Reply<'_>,
    command: Option<&Command>,
    text: &[u8],
) {
    reply.error_bytes(text);
    state.services.statistics.record_error(text);
    state.count(Count::ErrorReplies, 1);
    if let Some(command) = command {
        state.statistics.commands.record_rejected(command.id);
    }
    if let Some(transaction) = &mut client.transaction {
        transaction.aborted = true;
    }
}

/// The error for a name that no command has.
#[cold]
pub fn unknown_command(args: Args<'_>) -> Vec<u8> {
    let cut = |bytes: &[u8]| bytes[..bytes.len().min(ECHOED_BYTES)].to_vec();
    let mut text = b"ERR unknown command '".to_vec();
    text.extend(cut(args.at(0)));
    text.extend_from_slice(b"', with args beginning with: ");
    let mut echoed = 0;
    for arg in args.iter_from(1) {
        if echoed >= ECHOED_BYTES {
            break;
        }
        let shown = &arg[..arg.len().min(ECHOED_BYTES - echoed)];
        text.push(b'\'');
        text.extend_from_slice(shown);
        text.extend_from_slice(b"' ");
        echoed += shown.len() + 3;
    }
    text
}

/// The error for a wrong number of arguments, or for a container without a subcommand of the given name.
#[cold]
pub fn bad_shape(command: &Command, args: Args<'_>) -> Vec<u8> {
    if !command.subcommands.is_empty()
        && let Some(name) = args.get(1)
    {
        let mut text = b"ERR unknown subcommand '".to_vec();
        text.extend_from_slice(&name[..name.len().min(ECHOED_BYTES)]);
        let container = command.full_name.to_ascii_uppercase();
        text.extend_from_slice(format!("'. Try {container} HELP.").as_bytes());
        return text;
    }
    format!("ERR wrong number of arguments for '{}' command", command.full_name).into_bytes()
}
