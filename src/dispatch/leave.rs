//! What the rest of the server has to forget when a client leaves.

use crate::client::Client;
use crate::command::{LoopState, stop_monitoring, unsubscribe_all, unwatch_all};

/// Removes every trace of a client from the shared registries: watches, subscriptions, the monitor feed.
pub fn forget_client(state: &mut LoopState<'_>, client: &mut Client) {
    unwatch_all(state.services, client);
    unsubscribe_all(state.services, client);
    stop_monitoring(state.services, client);
}
