//! What a running snapshot still has to see, although it leaves the keyspace or changes.
//!
//! Every entry carries the stamp of the epoch that it was made or visited in. A cut ([`super::visit`]) begins a new epoch, so from
//! then on an entry with an older stamp is one that the snapshot has not seen: its key and value are never changed in place, and when it is
//! replaced or removed its block goes to the shard's captured queue instead of being freed. Nothing is copied for that. The invariant: between two
//! snapshots every entry carries the present epoch's stamp, so then nothing is ever captured.
//!
//! A large entry is an exception: its deadline, and parts of its value, may change before it was seen. The queue then keeps what they were ([`super::parts`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::collection::Leaf;
use super::entry::{Entry, EntryRef};
use super::large::{self, Head};
use super::partition::Partition;
use super::parts::Parts;
use super::{NO_DATABASE, Site};
use crate::base::lock::Mutex;
use crate::storage::Kind;

/// Something that was part of the keyspace at the cut; the snapshot frees it when it has seen it.
pub(super) enum Captured {
    /// An entry and the number that its database had at the cut.
    Entry(usize, Entry),
    /// The head of a large collection that is still in its table, or was captured later.
    Head(Box<Head>),
    /// A leaf of one.
    Leaf { id: u64, kind: Kind, number: u32, leaf: Leaf },
    /// A large collection with leaves to see that has got this key, whose shard that is.
    Moved { id: u64, key: Box<[u8]>, shard: usize },
    /// What FLUSHALL or FLUSHDB took out, and the number that its database had at the cut.
    Partition(usize, Box<Partition>),
}

/// The captured queue of one shard. Its lock is only ever taken under the shard's, or with no other.
#[derive(Default)]
pub(super) struct CapturedQueue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    captured: Vec<Captured>,
    /// Large entries that were copied or have changed in part, by their blocks.
    parts: HashMap<usize, Parts>,
    /// Deadlines that large entries had at the cut and have no more, by their blocks.
    deadlines: HashMap<usize, Option<i64>>,
}

impl CapturedQueue {
    /// What was captured since the last call.
    pub fn take(&self) -> Vec<Captured> {
        std::mem::take(&mut self.0.lock().captured)
    }

    /// The deadline that an entry had at the cut. Asked once for each, when the snapshot sees it.
    #[inline]
    pub fn deadline_at_cut(&self, entry: EntryRef<'_>) -> Option<i64> {
        let noted = entry.is_large().then(|| self.0.lock().deadlines.remove(&entry.address())).flatten();
        noted.unwrap_or_else(|| entry.expire_at_ms())
    }

    /// Lets `act` do something with what is kept of a large entry that was not seen. What that has set aside is counted.
    pub fn with_parts<T>(
        &self,
        captured: &CapturedBytes,
        entry: EntryRef<'_>,
        act: impl FnOnce(&mut Parts) -> T,
    ) -> T {
        let mut waiting = self.0.lock();
        let parts = waiting.parts.entry(entry.address()).or_insert_with(|| Parts::of(entry));
        let before = parts.owned_bytes();
        let done = act(parts);
        captured.0.fetch_add(parts.owned_bytes(), Ordering::Relaxed);
        captured.0.fetch_sub(before, Ordering::Relaxed);
        done
    }

    /// What is kept of a large entry, which the snapshot now sees.
    pub fn take_parts(&self, entry: EntryRef<'_>) -> Option<Parts> {
        entry.is_large().then(|| self.0.lock().parts.remove(&entry.address())).flatten()
    }

    /// A large entry that was not seen has another block.
    pub fn moved(&self, before: usize, after: usize) {
        let mut waiting = self.0.lock();
        if let Some(parts) = waiting.parts.remove(&before) {
            waiting.parts.insert(after, parts);
        }
        if let Some(deadline) = waiting.deadlines.remove(&before) {
            waiting.deadlines.insert(after, deadline);
        }
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

    pub fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
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
        if view.root().is_some() {
            let key = view.key().to_vec();
            note_move(self.site, view, &key, self.site.shard);
            return self.entry.take().expect("as in `view`");
        }
        let copy = (view.stamp() != epoch).then(|| view.copy_as(view.key()));
        copy.or_else(|| self.entry.take()).expect("as in `view`")
    }

    /// The entry under another key, of which this is the shard: a large collection itself, else a copy.
    pub fn into_entry_as(mut self, key: &[u8], shard: usize) -> Entry {
        let view = self.view();
        if view.root().is_none() {
            return view.copy_as(key);
        }
        note_move(self.site, view, key, shard);
        let entry = self.entry.take().expect("as in `view`");
        entry.renamed(key)
    }
}

impl Drop for Removed<'_> {
    #[inline]
    fn drop(&mut self) {
        match self.entry.take() {
            Some(entry) if large::is_unseen(self.site, entry.view()) => capture_entry(self.site, entry),
            Some(entry) => self.site.keyspace.reclaimer().free_entry(entry),
            None => {}
        }
    }
}

/// A large collection goes to another place: what the running snapshot has yet to see of it stays noted.
fn note_move(site: Site<'_>, entry: EntryRef<'_>, key: &[u8], shard: usize) {
    capture_head(site, entry);
    if let Some(root) = entry.root().filter(|root| root.is_unseen(site.era())) {
        capture(site, Captured::Moved { id: root.id, key: key.into(), shard });
    }
}

/// Captures the head of a large collection, unless the running snapshot has seen it.
pub(super) fn capture_head(site: Site<'_>, entry: EntryRef<'_>) {
    if let Some(root) = entry.root().filter(|_| entry.stamp() != site.epoch()) {
        let database = site.keyspace.database_at_cut(site.database);
        capture(site, Captured::Head(Box::new(Head::of(database, site.shard, entry, root))));
    }
}

/// Captures something else than an entry. Called under the shard's lock.
pub(super) fn capture(site: Site<'_>, captured: Captured) {
    let keyspace = site.keyspace;
    let bytes = match &captured {
        Captured::Head(head) => head.owned_bytes(),
        Captured::Leaf { leaf, .. } => leaf.owned_bytes(),
        _ => 0,
    };
    keyspace.captured_bytes.0.fetch_add(bytes, Ordering::Relaxed);
    keyspace.captured_queue(site.shard).0.lock().captured.push(captured);
}

#[cold]
fn capture_entry(site: Site<'_>, entry: Entry) {
    if site.database == NO_DATABASE {
        return;
    }
    let keyspace = site.keyspace;
    keyspace.captured_bytes.captured(entry.view());
    let database = keyspace.database_at_cut(site.database);
    keyspace.captured_queue(site.shard).0.lock().captured.push(Captured::Entry(database, entry));
}

/// Hands a partition that was taken out of the keyspace to the running snapshot. Called while all shards are locked.
pub(super) fn capture_partition(site: Site<'_>, partition: Box<Partition>) {
    let keyspace = site.keyspace;
    let captured = Captured::Partition(keyspace.database_at_cut(site.database), partition);
    keyspace.captured_queue(site.shard).0.lock().captured.push(captured);
}

/// The deadline of a large entry that the running snapshot has yet to see is about to change. Called under the shard's lock.
#[cold]
pub(super) fn note_deadline(site: Site<'_>, entry: EntryRef<'_>) {
    let mut waiting = site.keyspace.captured_queue(site.shard).0.lock();
    waiting.deadlines.entry(entry.address()).or_insert_with(|| entry.expire_at_ms());
}
