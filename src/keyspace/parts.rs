//! How a running snapshot sees a large entry: piece by piece, while others change parts of it.
//!
//! An entry with a large block that the snapshot has not seen is copied by its visitor in pieces, each under the shard's lock. Whoever changes a part of
//! such a string (APPEND, SETRANGE, SETBIT) does so where it lies, and keeps the pages that it writes into as they were ([`before_edit`]), unless the visitor has passed
//! them. So a write costs a copy of a page or two, however long the string is, and the lock is never held for longer than a piece takes. What replaces or removes the
//! whole entry hands its block over as ever ([`super::capture`]), and what was kept here completes it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Site;
use super::capture::CapturedQueue;
use super::entry::EntryRef;
use super::large::Large;
use super::visit::AtCut;
use crate::storage::Kind;

/// Bytes that are kept together before one of them changes.
const PAGE: usize = 16 << 10;

/// A large entry of which the running snapshot has seen a part, or of which a part has changed.
pub(super) struct Parts {
    key_len: usize,
    /// Bytes of key and value at the cut.
    len: usize,
    kind: Kind,
    /// As far as the visitor has come: key and value as they were at the cut.
    bytes: Vec<u8>,
    /// Pages behind that which have changed since the cut, as they were then.
    pages: BTreeMap<usize, Box<[u8]>>,
}

impl Parts {
    /// Of an entry that is as it was at the cut, but for its deadline.
    pub fn of(entry: EntryRef<'_>) -> Parts {
        let (key_len, len) = (entry.key().len(), entry.key_and_value().len());
        Parts { key_len, len, kind: entry.kind(), bytes: Vec::new(), pages: BTreeMap::new() }
    }

    /// Bytes that this has set aside.
    pub fn owned_bytes(&self) -> usize {
        self.bytes.capacity() + self.pages.values().map(|page| page.len()).sum::<usize>()
    }

    /// Keeps pages of which bytes of the value are about to be written.
    fn keep(&mut self, entry: EntryRef<'_>, written: &Range<usize>) {
        let start = (self.key_len + written.start).max(self.bytes.len());
        let end = (self.key_len + written.end).min(self.len);
        if start >= end {
            return;
        }
        for page in start / PAGE..=(end - 1) / PAGE {
            let part = page * PAGE..((page + 1) * PAGE).min(self.len);
            self.pages.entry(page).or_insert_with(|| entry.key_and_value()[part].into());
        }
    }

    /// Copies at most so many bytes more, in whole pages; says whether all are copied.
    fn advance(&mut self, entry: EntryRef<'_>, budget: usize) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.len);
        }
        let stop = self.bytes.len().saturating_add(budget.max(PAGE));
        while self.bytes.len() < self.len.min(stop) {
            let start = self.bytes.len();
            match self.pages.remove(&(start / PAGE)) {
                Some(page) => self.bytes.extend_from_slice(&page),
                None => {
                    let part = start..(start + PAGE).min(self.len);
                    self.bytes.extend_from_slice(&entry.key_and_value()[part]);
                }
            }
        }
        self.bytes.len() == self.len
    }
}

/// A large entry as it was at the cut, copied.
pub(super) struct Whole {
    database: usize,
    shard: usize,
    parts: Parts,
    expire_at_ms: Option<i64>,
    access: u32,
}

impl Whole {
    pub fn at_cut(&self) -> AtCut<'_> {
        let (key, value) = self.parts.bytes.split_at(self.parts.key_len);
        AtCut {
            database: self.database,
            shard: self.shard,
            key,
            value,
            large: Large::No,
            kind: self.parts.kind,
            expire_at_ms: self.expire_at_ms,
            access: self.access,
        }
    }
}

/// Bytes of the value of a large string that the running snapshot has not seen are about to be written, where they lie. Called under the shard's lock.
#[cold]
pub(super) fn before_edit(site: Site<'_>, entry: EntryRef<'_>, written: &[Range<usize>]) {
    let queue = site.keyspace.captured_queue(site.shard);
    queue.with_parts(&site.keyspace.captured_bytes, entry, |parts| {
        written.iter().for_each(|range| parts.keep(entry, range));
    });
}

/// Copies a piece of a large entry that the running snapshot has not seen, for its visitor; gives the whole when it is complete. Called under the shard's lock.
pub(super) fn advance(site: Site<'_>, entry: EntryRef<'_>, budget: usize) -> Option<Whole> {
    let queue = site.keyspace.captured_queue(site.shard);
    let captured = &site.keyspace.captured_bytes;
    if !queue.with_parts(captured, entry, |parts| parts.advance(entry, budget)) {
        return None;
    }
    let database = site.keyspace.database_at_cut(site.database);
    take(database, site.shard, queue, captured, entry)
}

/// The whole of a large entry that has left its table, if a part of it was copied or has changed since the cut.
pub(super) fn completed(
    database: usize,
    shard: usize,
    queue: &CapturedQueue,
    captured: &super::capture::CapturedBytes,
    entry: EntryRef<'_>,
) -> Option<Whole> {
    let mut whole = take(database, shard, queue, captured, entry)?;
    whole.parts.advance(entry, usize::MAX);
    Some(whole)
}

fn take(
    database: usize,
    shard: usize,
    queue: &CapturedQueue,
    captured: &super::capture::CapturedBytes,
    entry: EntryRef<'_>,
) -> Option<Whole> {
    let parts = queue.take_parts(entry)?;
    captured.subtract(parts.owned_bytes());
    let expire_at_ms = queue.deadline_at_cut(entry);
    Some(Whole { database, shard, parts, expire_at_ms, access: entry.access() })
}
