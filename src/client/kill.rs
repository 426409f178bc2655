//! CLIENT KILL across event loops: how the killer's loop hears that none of a client's requests runs any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Kills that other loops have not confirmed yet. The killer's reply waits for them.
#[derive(Clone, Debug, Default)]
pub struct Acknowledgements(Arc<AtomicUsize>);

impl Acknowledgements {
    /// One more to come; it goes with the message to the other loop, and `loop_index` is that of the killer.
    pub fn expect(&self, loop_index: usize) -> Acknowledgement {
        self.0.fetch_add(1, Ordering::Relaxed);
        Acknowledgement { missing: Arc::clone(&self.0), loop_index }
    }

    pub fn are_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }
}

/// See [`Acknowledgements`].
#[derive(Clone, Debug)]
pub struct Acknowledgement {
    missing: Arc<AtomicUsize>,
    loop_index: usize,
}

impl Acknowledgement {
    /// The client is closed. Gives the loop that is to look at its blocked clients, if this was the last one that it waited for.
    pub fn give(self) -> Option<usize> {
        let last = self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        last.then_some(self.loop_index)
    }
}
