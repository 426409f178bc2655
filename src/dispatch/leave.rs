//! What the rest of the server has to forget when a client leaves.

use crate::client::Client;
use crate::command::{LoopState, leave_monitor, unsubscribe_all, unwatch_all};

/// Removes every trace of a client from the shared registries: watches, subscriptions, the monitor feed. A transaction that it
/// was queueing goes with it.
pub fn forget_client(state: &mut LoopState<'_>, client: &mut Client) {
    unwatch_all(&state.services.keyspace, client);
    unsubscribe_all(state, client);
    leave_monitor(state.services, client);
}
