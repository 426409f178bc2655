//! CLIENT PAUSE and UNPAUSE, which hold requests back at the gates, and CLIENT UNBLOCK, which ends what a client waits in.

use crate::base::number::parse_i64;
use crate::client::Message;
use crate::command::cx::{Cx, Failure, Outcome};
use crate::command::help;

pub fn pause(cx: &mut Cx<'_, '_>) -> Outcome {
    let all = match (cx.args.get(3), cx.args.len()) {
        (_, 5..) => return Err(help::bad_arguments(cx)),
        (None, _) => true,
        (Some(mode), _) if mode.eq_ignore_ascii_case(b"ALL") => true,
        (Some(mode), _) if mode.eq_ignore_ascii_case(b"WRITE") => false,
        _ => return Err(Failure::text("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout_ms =
        parse_i64(cx.args.at(2)).ok_or(Failure::text("ERR timeout is not an integer or out of range"))?;
    if timeout_ms < 0 {
        return Err(Failure::text("ERR timeout is negative"));
    }
    let steady_ms = cx.steady_ms();
    let until_ms = steady_ms.checked_add(timeout_ms).ok_or(Failure::text("ERR timeout is out of range"))?;
    cx.services().pause_clients(until_ms, all, steady_ms);
    cx.reply.ok();
    Ok(())
}

pub fn unpause(cx: &mut Cx<'_, '_>) -> Outcome {
    let services = cx.services();
    services.unpause_clients();
    for mailbox in services.clients.mailboxes() {
        mailbox.send(Message::Look);
    }
    cx.reply.ok();
    Ok(())
}

pub fn unblock(cx: &mut Cx<'_, '_>) -> Outcome {
    let error = match (cx.args.get(3), cx.args.len()) {
        (_, 5..) => return Err(help::bad_arguments(cx)),
        (None, _) => false,
        (Some(reason), _) if reason.eq_ignore_ascii_case(b"TIMEOUT") => false,
        (Some(reason), _) if reason.eq_ignore_ascii_case(b"ERROR") => true,
        _ => return Err(Failure::text("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")),
    };
    let id = cx.integer(2)?;
    let client = u64::try_from(id).ok().and_then(|id| cx.services().clients.find(id));
    let ended = client.is_some_and(|client| cx.state.unblock(&client, error));
    cx.reply.integer(i64::from(ended));
    Ok(())
}
