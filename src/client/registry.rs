//! All connected clients, by id.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use super::info::ClientInfo;
use super::kill::Acknowledgement;
use super::mailbox::{Mailbox, Message};

/// The registry and the mailboxes of the event loops.
pub struct Clients {
    by_id: DashMap<u64, Arc<ClientInfo>>,
    connected: AtomicUsize,
    /// What all clients took when each was last counted.
    memory: AtomicUsize,
    last_id: AtomicU64,
    mailboxes: Box<[Mailbox]>,
}

impl Clients {
    /// One mailbox for each event loop.
    pub fn new(mailboxes: Box<[Mailbox]>) -> Clients {
        Clients {
            by_id: DashMap::new(),
            connected: AtomicUsize::new(0),
            memory: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            mailboxes,
        }
    }

    /// Ids count up from 1 and are never used again.
    pub fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn add(&self, info: Arc<ClientInfo>) {
        self.by_id.insert(info.id, info);
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    pub fn remove(&self, id: u64) {
        if let Some((_, info)) = self.by_id.remove(&id) {
            self.connected.fetch_sub(1, Ordering::Relaxed);
            self.memory.fetch_sub(info.counted_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Counts the memory of a client again; gives what all take together, those that are killed already not counted. Only called while
    /// `maxmemory-clients` is set, so before the first round of each loop after that it is less than the truth.
    pub fn recount(&self, info: &ClientInfo) -> usize {
        let now = if info.is_killed() { 0 } else { info.memory_bytes() };
        let more = now.wrapping_sub(info.counted_bytes.swap(now, Ordering::Relaxed));
        self.memory.fetch_add(more, Ordering::Relaxed).wrapping_add(more)
    }

    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    pub fn find(&self, id: u64) -> Option<Arc<ClientInfo>> {
        self.by_id.get(&id).filter(|entry| !entry.is_killed()).map(|entry| Arc::clone(&entry))
    }

    /// All clients in the order in which they connected, without those that are killed already.
    pub fn all(&self) -> Vec<Arc<ClientInfo>> {
        let living = self.by_id.iter().filter(|entry| !entry.is_killed());
        let mut clients: Vec<_> = living.map(|entry| Arc::clone(&entry)).collect();
        clients.sort_unstable_by_key(|info| info.id);
        clients
    }

    pub fn mailbox(&self, loop_index: usize) -> &Mailbox {
        &self.mailboxes[loop_index]
    }

    pub fn mailboxes(&self) -> &[Mailbox] {
        &self.mailboxes
    }

    /// Kills a client and asks the owning loop to close it; false if it was killed before. `done` is for who waits for that.
    pub fn kill(&self, info: &ClientInfo, done: impl FnOnce() -> Option<Acknowledgement>) -> bool {
        let first = info.mark_killed();
        if first {
            self.recount(info);
            let message = Message::Kill { place: info.place, id: info.id, done: done() };
            self.mailbox(info.loop_index).send(message);
        }
        first
    }

    /// Whether a mailbox of another loop than this holds more than `limit` bytes.
    pub fn has_full_mailbox(&self, but_for: usize, limit: u64) -> bool {
        let mut others = self.mailboxes.iter().enumerate().filter(|(loop_index, _)| *loop_index != but_for);
        others.any(|(_, mailbox)| mailbox.is_full(limit))
    }
}
