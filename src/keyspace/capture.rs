//! What a running snapshot still has to see, although it leaves the keyspace.
//!
//! Every entry carries the stamp of the epoch that it was made or visited in. A cut ([`super::visit`]) begins a new epoch, so from
//! then on an entry with an older stamp is one that the snapshot has not seen: it is never changed in place, and when it is replaced or
//! removed its block goes to the shard's captured queue instead of being freed. Nothing is copied for that. The invariant: between two
//! snapshots every entry carries the present epoch's stamp, so then nothing is ever captured.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Site;
use super::entry::{Entry, EntryRef};
use super::partition::Partition;
use crate::base::lock::Mutex;

/// Something that was part of the keyspace at the cut; the snapshot frees it when it has seen it.
pub enum Captured {
    /// An entry and the number that its database had at the cut.
    Entry(usize, Entry),
    /// What FLUSHALL or FLUSHDB took out, and the number that its database had at the cut.
    Partition(usize, Partition),
}

/// The captured queue of one shard. Its lock is only ever taken under the shard's.
#[derive(Default)]
pub struct CapturedQueue(Mutex<Vec<Captured>>);

impl CapturedQueue {
    fn push(&self, captured: Captured) {
        self.0.lock().push(captured);
    }

    pub fn take(&self) -> Vec<Captured> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// Bytes of captured entries that wait for the snapshot. They count as freed for eviction, else one snapshot would evict.
#[derive(Default)]
pub struct CapturedBytes(AtomicUsize);

impl CapturedBytes {
    pub fn waiting(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes note that a captured entry is freed.
    pub fn released(&self, entry: EntryRef<'_>) {
        self.0.fetch_sub(entry.owned_bytes(), Ordering::Relaxed);
    }

    fn captured(&self, entry: EntryRef<'_>) {
        self.0.fetch_add(entry.owned_bytes(), Ordering::Relaxed);
    }
}

/// An entry that has left its table. When this is dropped, which must happen under the shard's lock, the entry goes to the running
/// snapshot if that has not seen it, else it is freed.
pub struct Removed<'k> {
    /// `None` only while `self` is consumed or dropped.
    entry: Option<Entry>,
    site: Site<'k>,
}

impl<'k> Removed<'k> {
    #[inline]
    pub(super) fn new(site: Site<'k>, entry: Entry) -> Removed<'k> {
        Removed { entry: Some(entry), site }
    }

    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        let entry =
            self.entry.as_ref().expect("only `into_entry` and `drop` take it, and both end this value");
        entry.view()
    }

    /// The entry, to be put somewhere else: its own block if no snapshot waits for that, else a copy.
    pub fn into_entry(mut self) -> Entry {
        let (view, epoch) = (self.view(), self.site.epoch());
        let copy = (view.stamp() != epoch).then(|| view.copy_as(view.key()));
        copy.or_else(|| self.entry.take()).expect("as in `view`")
    }
}

impl Drop for Removed<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.entry.take() {
            Some(entry) if entry.view().stamp() != self.site.epoch() => capture_entry(self.site, entry),
            Some(entry) => self.site.keyspace.reclaimer().free_entry(entry),
            None => {}
        }
    }
}

#[cold]
fn capture_entry(site: Site<'_>, entry: Entry) {
    let keyspace = site.keyspace;
    keyspace.captured_bytes.captured(entry.view());
    keyspace.captured_queue(site.shard).push(Captured::Entry(keyspace.database_at_cut(site.database), entry));
}

/// Hands a partition that was taken out of the keyspace to the running snapshot. Called while all shards are locked.
pub(super) fn capture_partition(site: Site<'_>, partition: Partition) {
    let keyspace = site.keyspace;
    let database = keyspace.database_at_cut(site.database);
    keyspace.captured_queue(site.shard).push(Captured::Partition(database, partition));
}
