//! A batch: the requests that one sweep over ready sockets has parsed, in the order in which they run.
//!
//! Its three steps are what makes pipelined requests cheap: parse many requests and hash their keys, prefetch first the table slots and
//! then the entries of all of them, run them.

use crate::dispatch::{EMPTY, Prepared, prepare};
use crate::keyspace::{Ahead, Keyspace};
use crate::resp::{ArgRange, Args};

/// Requests that are parsed before any of them runs.
pub const BATCH_REQUESTS: usize = 64;
/// Cache lines of an entry that are prefetched: header, key and the beginning of the value; the processor follows from there.
const ENTRY_LINES: usize = 10;
/// Requests whose entries are under way while an earlier one runs: as many as fit the first-level cache beside its other contents.
const ENTRIES_AHEAD: usize = 8;

/// One parsed request. Places in the input have 32 bits, and no batch has more ranges than input.
#[derive(Clone, Copy)]
pub struct Request {
    pub prepared: Prepared,
    ahead: Option<Ahead>,
    /// Its arguments in the batch's list.
    first_range: u32,
    ranges: u32,
    /// Offset of its first byte in the input.
    start: u32,
    /// Its arguments lie in this inline buffer, not in the input, unless it is [`NOT_INLINE`].
    inline: u32,
}

const NOT_INLINE: u32 = u32::MAX;

impl Request {
    /// Offset of its first byte in the input.
    pub fn start(&self) -> usize {
        self.start as usize
    }
}

/// See the module's text.
#[derive(Default)]
pub struct Batch {
    pub requests: Vec<Request>,
    pub ranges: Vec<ArgRange>,
    inline: Vec<Vec<u8>>,
}

impl Batch {
    pub fn clear(&mut self) {
        self.requests.clear();
        self.ranges.clear();
        self.inline.clear();
    }

    /// Frees what a batch of unusual size has left behind.
    pub fn shrink(&mut self) {
        const RANGES_KEPT: usize = 16 * 1024;
        if self.ranges.capacity() > RANGES_KEPT {
            self.ranges = Vec::new();
        }
    }

    /// Adds the request whose arguments are the ranges from `first_range` on, and starts its prefetch.
    #[inline]
    pub fn push(
        &mut self,
        keyspace: &Keyspace,
        database: usize,
        input: &[u8],
        first_range: usize,
        start: usize,
    ) {
        let args = Args::new(input, &self.ranges[first_range..]);
        let prepared = prepare(keyspace, args);
        let mut ahead = None;
        if let Some((_, hash, shard)) = prepared.key {
            keyspace.prefetch_shard(database, shard);
            ahead = keyspace.prefetcher().slot_ahead(database, shard, hash);
        }
        self.add(prepared, ahead, first_range, start, NOT_INLINE);
    }

    /// Adds a request that came as a plain line, already split into words.
    pub fn push_inline(&mut self, keyspace: &Keyspace, words: &[Vec<u8>], start: usize) {
        let first_range = self.ranges.len();
        let mut bytes = Vec::new();
        for word in words {
            self.ranges.push(ArgRange { start: bytes.len() as u32, len: word.len() as u32 });
            bytes.extend_from_slice(word);
        }
        let prepared = prepare(keyspace, Args::new(&bytes, &self.ranges[first_range..]));
        self.add(prepared, None, first_range, start, self.inline.len() as u32);
        self.inline.push(bytes);
    }

    /// Adds a request without arguments.
    pub fn push_empty(&mut self, start: usize) {
        self.add(EMPTY, None, self.ranges.len(), start, NOT_INLINE);
    }

    #[inline]
    fn add(
        &mut self,
        prepared: Prepared,
        ahead: Option<Ahead>,
        first_range: usize,
        start: usize,
        inline: u32,
    ) {
        let ranges = (self.ranges.len() - first_range) as u32;
        let (first_range, start) = (first_range as u32, start as u32);
        self.requests.push(Request { prepared, ahead, first_range, ranges, start, inline });
    }

    /// The second step of prefetching begins: the entries of the next few requests from `first` on. The rest follows one by one
    /// while these run ([`Batch::prefetch_ahead_of`]), so that entries arrive shortly before they are used and do not push each other
    /// out of the cache.
    pub fn prefetch_entries(&self, keyspace: &Keyspace, first: usize) {
        for request in self.requests.iter().skip(first).take(ENTRIES_AHEAD) {
            prefetch_entry(keyspace, request);
        }
    }

    /// Keeps the prefetched entries ahead of the request at `index`, which is about to run.
    #[inline]
    pub fn prefetch_ahead_of(&self, keyspace: &Keyspace, index: usize) {
        if let Some(request) = self.requests.get(index + ENTRIES_AHEAD) {
            prefetch_entry(keyspace, request);
        }
    }

    /// The arguments of a request whose input is `input`.
    #[inline]
    pub fn args<'a>(&'a self, request: &Request, input: &'a [u8]) -> Args<'a> {
        let input = if request.inline == NOT_INLINE { input } else { &self.inline[request.inline as usize] };
        Args::new(input, &self.ranges[request.first_range as usize..][..request.ranges as usize])
    }
}

#[inline]
fn prefetch_entry(keyspace: &Keyspace, request: &Request) {
    if let Some(ahead) = request.ahead {
        keyspace.prefetcher().entry_ahead(ahead, ENTRY_LINES);
    }
}
