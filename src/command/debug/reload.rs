//! DEBUG RELOAD and DEBUG LOADAOF: empty the memory and load it again from what is on disk.
//!
//! A thread of the server does the work (`persistence/reload.rs`); the client is blocked until it is done, and other clients' requests wait or hear
//! LOADING. EXEC goes on behind it when it is done.

use crate::client::{Blocked, Gates, Reload, ReloadOrder};
use crate::command::cx::{Cx, Failure, LOADING, Outcome};

const UNKNOWN_OPTION: Failure =
    Failure::text("ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
const STOPPING: Failure = Failure::text("ERR the server is shutting down");

pub fn from_snapshot(cx: &mut Cx<'_, '_>) -> Outcome {
    let (mut save, mut empty, mut merge) = (true, true, false);
    for option in cx.args.iter_from(2) {
        match option.to_ascii_uppercase().as_slice() {
            b"MERGE" => merge = true,
            b"NOFLUSH" => empty = false,
            b"NOSAVE" => save = false,
            _ => return Err(UNKNOWN_OPTION),
        }
    }
    order(cx, Reload::Snapshot { save, empty, merge })
}

pub fn from_log(cx: &mut Cx<'_, '_>) -> Outcome {
    order(cx, Reload::Log)
}

fn order(cx: &mut Cx<'_, '_>, what: Reload) -> Outcome {
    refuse_while_loading(cx)?;
    let info = &cx.client.info;
    let order = ReloadOrder { what, loop_index: info.loop_index, place: info.place, id: info.id };
    if !cx.services().control.reload(order) {
        return Err(STOPPING);
    }
    cx.client.blocked = Some(Blocked::Reloading { result: None });
    Ok(())
}

/// DEBUG itself may run while the data are loaded, but not what changes them.
pub fn refuse_while_loading(cx: &Cx<'_, '_>) -> Outcome {
    if cx.services().gates().has(Gates::LOADING) { Err(Failure::text(LOADING)) } else { Ok(()) }
}
