//! CLIENT KILL. A killed client runs nothing more from the moment on that the caller has its answer, whichever loop it belongs to: the answer waits
//! until the loops of all that are killed have closed them.

use std::sync::Arc;

use super::list::ClientType;
use crate::base::number::parse_i64;
use crate::client::ClientInfo;
use crate::command::connection::{DEFAULT_USER, close_after_reply};
use crate::command::cx::{Cx, Failure, Outcome};

const NO_SUCH_CLIENT: Failure = Failure::text("ERR No such client");

/// What a client must be to be killed; what is not given fits every client.
struct Filter<'a> {
    id: Option<u64>,
    of_type: Option<ClientType>,
    address: Option<&'a [u8]>,
    local_address: Option<&'a [u8]>,
    skip_caller: bool,
}

const ANYBODY: Filter<'_> =
    Filter { id: None, of_type: None, address: None, local_address: None, skip_caller: true };

impl Filter<'_> {
    fn fits(&self, info: &ClientInfo) -> bool {
        self.id.is_none_or(|id| info.id == id)
            && self.of_type.is_none_or(|of_type| ClientType::of(info) == of_type)
            && self.address.is_none_or(|address| info.address.as_bytes() == address)
            && self.local_address.is_none_or(|address| info.local_address.as_bytes() == address)
    }
}

fn filter<'a>(cx: &Cx<'a, '_>) -> Result<Filter<'a>, Failure> {
    let mut filter = ANYBODY;
    let mut at = 2;
    while let Some(option) = cx.args.get(at) {
        let value = cx.args.get(at + 1).ok_or(Failure::SYNTAX)?;
        let is = |name: &str| name.as_bytes().eq_ignore_ascii_case(option);
        if is("ID") {
            let id = parse_i64(value).and_then(|id| u64::try_from(id).ok()).filter(|id| *id > 0);
            filter.id = Some(id.ok_or(Failure::text("ERR client-id should be greater than 0"))?);
        } else if is("TYPE") {
            filter.of_type = Some(ClientType::named(value)?);
        } else if is("ADDR") {
            filter.address = Some(value);
        } else if is("LADDR") {
            filter.local_address = Some(value);
        } else if is("USER") {
            // All clients are this user, so that the option excludes nobody.
            if value != DEFAULT_USER {
                return Err(Failure::echo("ERR No such user '", value, "'"));
            }
        } else if is("SKIPME") && value.eq_ignore_ascii_case(b"yes") {
            filter.skip_caller = true;
        } else if is("SKIPME") && value.eq_ignore_ascii_case(b"no") {
            filter.skip_caller = false;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 2;
    }
    Ok(filter)
}

pub fn kill(cx: &mut Cx<'_, '_>) -> Outcome {
    // The old form: an address alone, which may be the caller's own.
    let old_form = cx.args.len() == 3;
    let filter = if old_form {
        Filter { address: Some(cx.args.at(2)), skip_caller: false, ..ANYBODY }
    } else {
        filter(cx)?
    };
    let clients = &cx.services().clients;
    let candidates: Vec<Arc<ClientInfo>> = match filter.id {
        Some(id) => clients.find(id).into_iter().collect(),
        None => clients.all(),
    };
    let mut killed = 0;
    for info in candidates.iter().filter(|info| filter.fits(info)) {
        if info.id != cx.client.info.id {
            killed += i64::from(cx.state.kill(cx.client, info));
        } else if !filter.skip_caller {
            // The caller still gets its answer.
            killed += i64::from(info.mark_killed());
            close_after_reply(cx);
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(NO_SUCH_CLIENT),
        (true, _) => cx.reply.ok(),
        (false, _) => cx.reply.integer(killed),
    }
    Ok(())
}
