//! When a blocked client goes on, and what it then hears.

use crate::client::{Blocked, Client};
use crate::command::LoopState;
use crate::observe::counters::Count;
use crate::resp::Reply;

/// The answer to a client whose waiting CLIENT UNBLOCK has ended with ERROR.
const UNBLOCKED: &str = "UNBLOCKED client unblocked via CLIENT UNBLOCK";

/// Lets a blocked client go on if what it waits for has come, and answers the request that it waited in. Gives whether it goes on;
/// a request that was held back by a pause is then run from its beginning.
pub fn wake(state: &mut LoopState<'_>, client: &mut Client, out: &mut Vec<u8>) -> bool {
    let done = match client.blocked {
        None | Some(Blocked::Unblocked) => true,
        Some(Blocked::Paused) => state.services.pause_at(state.now_ms).is_none(),
        Some(Blocked::Waiting { until_ms, .. }) => until_ms != 0 && until_ms <= state.now_ms,
    };
    if !done {
        return false;
    }
    let mut reply = Reply::new(out, client.protocol);
    match client.blocked.take() {
        Some(Blocked::Waiting { answer, .. }) => reply.integer(answer),
        Some(Blocked::Unblocked) => {
            reply.error(UNBLOCKED);
            state.services.statistics.record_error(UNBLOCKED.as_bytes());
            state.count(Count::ErrorReplies, 1);
        }
        Some(Blocked::Paused) | None => {}
    }
    true
}
