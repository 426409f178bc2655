//! CLIENT REPLY: whether what a request has written is sent. This is the one place that decides it, for replies and errors of any origin.
//! Messages and pushes do not come through here: they are delivered, and always arrive.

use super::session::{Client, Gates};
use crate::resp::Output;

impl Gates {
    /// What is written now is dropped.
    const SILENT: Gates = Gates::REPLIES_OFF.and(Gates::SKIP_THIS);
    /// CLIENT REPLY has left something to do.
    pub const MUTED: Gates = Gates::SILENT.and(Gates::SKIP_NEXT);
}

impl Client {
    /// Whether replies to the client are dropped at present.
    pub fn is_silent(&self) -> bool {
        self.gates.has(Gates::SILENT)
    }

    /// Drops what was written from `mark` on, if nobody is to hear it. Called behind each reply, and inside EXEC behind each part of it,
    /// because a request of the queue may change what is heard.
    pub fn settle_reply(&self, out: &mut Output, mark: usize) {
        if self.is_silent() {
            out.rewind(mark);
        }
    }

    /// The request is done, its reply included: SKIP moves on.
    pub fn end_reply(&mut self) {
        let next = self.gates.has(Gates::SKIP_NEXT);
        self.set_gate(Gates::SKIP_THIS, next);
        self.set_gate(Gates::SKIP_NEXT, false);
    }
}
