//! An entry: one heap block that holds header, key and value.
//!
//! ```text
//! 0        8            12            16       20         24        24+key_len
//! | expire | filed_tick | access,kind | key_len | value_len | key ... | value ... | spare up to the size class
//! ```
//! `expire` has the absolute deadline in its upper 48 bits (0: none); below it 5 bits that say how coarsely the write log knows
//! the deadline, and an 11-bit snapshot stamp. The size of the block is not stored: it is always the size class
//! (`base/slabs`) of what it holds, so a value that stays within the class is overwritten where it lies, and one that leaves it moves.
//!
//! The value is a string, or a small collection ([`super::collection::Packed`], [`super::collection::Integers`]), or the address of a large one ([`Root`]),
//! which the entry then owns.
//!
//! All raw memory work of the keyspace's entries is in this file. `Entry` owns its block, `EntryRef` borrows it. To change an entry that lies in
//! a table takes an `EntryMut`, which nobody but `Partition` can get; `EntryNotes` changes what no snapshot and no log cares for.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use super::collection::Splice;
use super::root::Root;
use crate::base::slabs;
use crate::storage::Kind;

/// Width of an entry's snapshot stamp.
pub const EPOCH_BITS: u32 = COARSE_SHIFT;
/// The largest key or value: the length fields have 32 bits, and a block of a snapshot or of the write log holds both together
/// (`storage/blocks.rs`).
pub const LENGTH_MAX: usize = 1 << 30;

/// An entry with a block of more than this is large: it is not copied only because its deadline moves or a part of it changes, and a snapshot
/// copies it in pieces ([`super::parts`]).
const LARGE_BYTES: usize = 32 << 10;

const DEADLINE_SHIFT: u32 = 16;
const COARSE_SHIFT: u32 = 11;
const COARSE_MASK: u64 = 0x1f << COARSE_SHIFT;
const STAMP_MASK: u64 = (1 << COARSE_SHIFT) - 1;
const ACCESS_MASK: u32 = 0x00ff_ffff;
const KIND_SHIFT: u32 = 24;
const KIND_MASK: u32 = 7 << KIND_SHIFT;
/// The value is the address of a [`Root`].
const ROOT_FLAG: u32 = 1 << 27;
/// Elements of the value may have deadlines of their own.
const TIMED_FLAG: u32 = 1 << 28;

#[repr(C)]
struct Header {
    expire_and_stamp: u64,
    filed_tick: u32,
    access_and_kind: u32,
    key_len: u32,
    value_len: u32,
}

/// What lies where in a block: the one place that adds up header, key and value.
#[derive(Clone, Copy)]
struct Layout {
    key_len: usize,
    value_len: usize,
}

impl Layout {
    /// Where the key begins.
    const KEY_AT: usize = size_of::<Header>();

    #[inline]
    fn of(header: &Header) -> Layout {
        Layout { key_len: header.key_len as usize, value_len: header.value_len as usize }
    }

    #[inline]
    fn with_value_len(self, value_len: usize) -> Layout {
        Layout { value_len, ..self }
    }

    #[inline]
    fn value_at(self) -> usize {
        Self::KEY_AT + self.key_len
    }

    /// Bytes in use.
    #[inline]
    fn bytes(self) -> usize {
        self.value_at() + self.value_len
    }

    /// Bytes that the allocator sets aside for that.
    #[inline]
    fn block_bytes(self) -> usize {
        slabs::block_bytes(self.bytes())
    }
}

/// Deadline, coarseness and stamp in one word.
#[inline]
fn fate(at: Option<i64>, coarseness: u32, stamp: u64) -> u64 {
    debug_assert!(coarseness < 32, "the coarseness has 5 bits");
    let at = at.map_or(0, |at| at.clamp(1, (1 << 48) - 1)) as u64;
    at << DEADLINE_SHIFT | u64::from(coarseness) << COARSE_SHIFT | stamp
}

/// What becomes of an entry when it is changed.
#[derive(Clone, Copy)]
pub(super) enum Change<'v> {
    /// Its value stays, and its deadline changes.
    Deadline,
    /// It has this value from now on.
    Value(&'v [u8], Kind),
    /// Its value has this length from now on, to be written into: the leading bytes stay, new ones are zero.
    Length(usize, Kind),
    /// Some bytes of a small collection are replaced.
    Splice(&'v Splice<'v>),
}

/// An owned entry, in no table. Dropping it frees the block.
pub struct Entry {
    block: NonNull<Header>,
}

// SAFETY: an Entry is the only owner of its block, which holds plain bytes.
unsafe impl Send for Entry {}

/// A borrowed entry.
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    block: NonNull<Header>,
    life: PhantomData<&'a Entry>,
}

/// An exclusively borrowed entry whose block stays where it is. `Partition` alone makes one of an entry in a table, and only when it may be changed.
pub(super) struct EntryMut<'a> {
    block: NonNull<Header>,
    life: PhantomData<&'a mut Entry>,
}

/// An exclusively borrowed entry of which only the notes change: its access history, and what the wheel knows of it. Snapshots show
/// the first as it happens to be, and the second not at all, so an entry may be noted in that a running snapshot has yet to see.
pub struct EntryNotes<'a>(EntryMut<'a>);

impl Entry {
    /// A new entry without a deadline. `key` and `value` are at most [`LENGTH_MAX`] bytes, which the request parser's
    /// limits guarantee.
    #[inline]
    pub fn new(key: &[u8], value: &[u8]) -> Entry {
        let entry = Entry::allocate(key, value.len());
        // SAFETY: `allocate` reserved value.len() bytes behind the key, and a fresh block overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(value.as_ptr(), entry.value_start(), value.len()) };
        entry
    }

    /// A new entry whose value is `value_len` zero bytes, with what `fill` makes of them.
    pub fn filled(key: &[u8], value_len: usize, fill: impl FnOnce(&mut [u8])) -> Entry {
        let mut entry = Entry::allocate(key, value_len);
        // SAFETY: as in `new`.
        unsafe { ptr::write_bytes(entry.value_start(), 0, value_len) };
        fill(entry.view_mut().value_mut());
        entry
    }

    fn allocate(key: &[u8], value_len: usize) -> Entry {
        assert!(key.len() <= LENGTH_MAX && value_len <= LENGTH_MAX, "an entry's lengths are 32 bits wide");
        let layout = Layout { key_len: key.len(), value_len };
        let block = slabs::allocate(layout.bytes()).cast::<Header>();
        // SAFETY: the block is large enough and aligned for a header and the key behind it.
        unsafe {
            block.as_ptr().write(Header {
                expire_and_stamp: 0,
                filed_tick: 0,
                access_and_kind: 0,
                key_len: key.len() as u32,
                value_len: value_len as u32,
            });
            let start = block.as_ptr().cast::<u8>().add(Layout::KEY_AT);
            ptr::copy_nonoverlapping(key.as_ptr(), start, key.len());
        }
        Entry { block }
    }

    fn layout(&self) -> Layout {
        Layout::of(self.view().header())
    }

    fn value_start(&self) -> *mut u8 {
        // SAFETY: the value begins inside the block, or at its end.
        unsafe { self.block.as_ptr().cast::<u8>().add(self.layout().value_at()) }
    }

    /// The same entry with this access history.
    #[inline]
    pub fn with_access(mut self, access: u32) -> Entry {
        self.view_mut().set_access(access);
        self
    }

    /// The same entry with this deadline, in Unix milliseconds.
    pub fn with_expire_at_ms(mut self, at_ms: i64) -> Entry {
        self.view_mut().set_expire_at_ms(Some(at_ms), 0);
        self
    }

    /// The same entry; its value is of this kind.
    pub fn with_kind(mut self, kind: Kind) -> Entry {
        self.view_mut().set_kind(kind);
        self
    }

    /// A new entry without a deadline, whose value is a large collection.
    pub fn with_root(key: &[u8], kind: Kind, root: Box<Root>) -> Entry {
        let address = Box::into_raw(root).expose_provenance();
        let mut entry = Entry::new(key, &address.to_ne_bytes()).with_kind(kind);
        entry.view_mut().header().access_and_kind |= ROOT_FLAG;
        entry
    }

    /// Borrows the entry.
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef { block: self.block, life: PhantomData }
    }

    /// Borrows the entry for changes that keep its block.
    pub(super) fn view_mut(&mut self) -> EntryMut<'_> {
        EntryMut { block: self.block, life: PhantomData }
    }

    /// Gives the block's address to a table word, which becomes its owner.
    pub(super) fn into_address(self) -> usize {
        let address = self.block.as_ptr().expose_provenance();
        std::mem::forget(self);
        address
    }

    /// Takes ownership back from a table word.
    ///
    /// # Safety
    /// `address` came from [`Entry::into_address`] and no other owner or borrow of the block is left.
    pub(super) unsafe fn from_address(address: usize) -> Entry {
        // SAFETY: the caller vouches that the address is that of a live block.
        let block = unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) };
        Entry { block }
    }

    /// Changes the value's length, keeping its leading bytes (new ones are zero) and the header; the block may move.
    pub(super) fn resize_value(mut self, value_len: usize) -> Entry {
        assert!(value_len <= LENGTH_MAX, "an entry's lengths are 32 bits wide");
        let old = self.layout();
        let new = old.with_value_len(value_len);
        if old.block_bytes() != new.block_bytes() {
            // SAFETY: the block was allocated for what it holds, and `self` alone knows of it.
            self.block = unsafe { slabs::reallocate(self.block.cast(), old.bytes(), new.bytes()) }.cast();
        }
        self.view_mut().set_value_len(value_len);
        self
    }
}

impl Entry {
    /// The entry of a large collection under another key, with the same root and the same fate.
    pub(super) fn renamed(mut self, key: &[u8]) -> Entry {
        let Some(root) = self.view().root_address() else { return self.view().copy_as(key) };
        self.view_mut().header().access_and_kind &= !ROOT_FLAG;
        // SAFETY: the address came from `Box::into_raw` in `with_root`, and the entry does not own the root any more.
        let root = unsafe { Box::from_raw(root) };
        let view = self.view();
        let mut renamed = view.with_fate(Entry::with_root(key, view.kind(), root));
        renamed.view_mut().set_timed(view.is_timed());
        renamed
    }

    /// The entry with some bytes of its small collection replaced; the block may move.
    pub(super) fn splice(mut self, splice: &Splice<'_>) -> Entry {
        let before = self.layout().value_len;
        let after = splice.len_after(before);
        if after > before {
            self = self.resize_value(after);
        }
        splice.apply(self.view_mut().value_mut(), before);
        if after < before { self.resize_value(after) } else { self }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(root) = self.view().root_address() {
            // SAFETY: the address came from `Box::into_raw` in `with_root`, and the entry is its only owner.
            drop(unsafe { Box::from_raw(root) });
        }
        // SAFETY: the block was allocated for what it holds, or for something in the same class, and its owner goes away.
        unsafe { slabs::free(self.block.cast(), self.layout().bytes()) };
    }
}

impl<'a> EntryRef<'a> {
    /// # Safety
    /// `address` is that of a block that stays alive and unchanged for `'a`.
    #[inline]
    pub(super) unsafe fn from_address(address: usize) -> EntryRef<'a> {
        // SAFETY: the caller vouches that the address is not null.
        let block = unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) };
        EntryRef { block, life: PhantomData }
    }

    #[inline]
    fn header(self) -> &'a Header {
        // SAFETY: the block is alive for 'a and starts with a header.
        unsafe { self.block.as_ref() }
    }

    #[inline]
    pub fn key(self) -> &'a [u8] {
        let layout = Layout::of(self.header());
        // SAFETY: key_len bytes behind the header are initialised.
        unsafe {
            let start = self.block.as_ptr().cast::<u8>().add(Layout::KEY_AT);
            std::slice::from_raw_parts(start, layout.key_len)
        }
    }

    #[inline]
    pub fn value(self) -> &'a [u8] {
        let layout = Layout::of(self.header());
        // SAFETY: value_len bytes behind the key are initialised.
        unsafe {
            let start = self.block.as_ptr().cast::<u8>().add(layout.value_at());
            std::slice::from_raw_parts(start, layout.value_len)
        }
    }

    /// The key and the value behind it.
    pub(super) fn key_and_value(self) -> &'a [u8] {
        let layout = Layout::of(self.header());
        // SAFETY: key_len and value_len bytes behind the header are initialised.
        unsafe {
            let start = self.block.as_ptr().cast::<u8>().add(Layout::KEY_AT);
            std::slice::from_raw_parts(start, layout.key_len + layout.value_len)
        }
    }

    /// The absolute deadline in Unix milliseconds, or `None` for an entry that never expires.
    #[inline]
    pub fn expire_at_ms(self) -> Option<i64> {
        match (self.header().expire_and_stamp >> DEADLINE_SHIFT) as i64 {
            0 => None,
            at => Some(at),
        }
    }

    /// Whether the deadline has passed: from this millisecond on the entry is invisible.
    #[inline]
    pub fn is_expired(self, now_ms: i64) -> bool {
        let at = (self.header().expire_and_stamp >> DEADLINE_SHIFT) as i64;
        at != 0 && at <= now_ms
    }

    /// The snapshot epoch (its low 11 bits) in which the entry was made, or last captured by a snapshot.
    #[inline]
    pub fn stamp(self) -> u16 {
        (self.header().expire_and_stamp & STAMP_MASK) as u16
    }

    /// How many low bits of the deadline the write log does not know exactly: it holds the deadline rounded up to a multiple of
    /// 2^bits milliseconds. 0: it is known to the millisecond. This is what the increment of the entry's own epoch knows; a later one knows
    /// nothing of the entry ([`super::Partition::known_coarseness`]).
    #[inline]
    pub fn logged_coarseness(self) -> u32 {
        ((self.header().expire_and_stamp & COARSE_MASK) >> COARSE_SHIFT) as u32
    }

    /// The wheel tick of the earliest record that is filed for this entry (0: none).
    pub fn filed_tick(self) -> u32 {
        self.header().filed_tick
    }

    /// 24 bits of access history: seconds for LRU, minutes and a counter for LFU.
    #[inline]
    pub fn access(self) -> u32 {
        self.header().access_and_kind & ACCESS_MASK
    }

    /// What the value is.
    #[inline]
    pub fn kind(self) -> Kind {
        Kind::from_bits((self.header().access_and_kind >> KIND_SHIFT) as u8)
    }

    /// Whether the value is a string.
    #[inline]
    pub fn is_string(self) -> bool {
        self.header().access_and_kind & KIND_MASK < (Kind::List as u32) << KIND_SHIFT
    }

    /// Whether elements of the value may have deadlines of their own.
    #[inline]
    pub fn is_timed(self) -> bool {
        self.header().access_and_kind & TIMED_FLAG != 0
    }

    /// The value, if it is a large collection.
    #[inline]
    pub fn root(self) -> Option<&'a Root> {
        // SAFETY: the entry owns the root and lives for 'a, in which nobody changes it.
        self.root_address().map(|root| unsafe { &*root })
    }

    #[inline]
    fn root_address(self) -> Option<*mut Root> {
        let has_root = self.header().access_and_kind & ROOT_FLAG != 0;
        let address = has_root.then(|| self.value().first_chunk()).flatten();
        address.map(|bytes| ptr::with_exposed_provenance_mut(usize::from_ne_bytes(*bytes)))
    }

    /// A copy under another key: value, deadline and access history.
    pub fn copy_as(self, key: &[u8]) -> Entry {
        self.with_fate(self.copy_of_value(key))
    }

    fn copy_of_value(self, key: &[u8]) -> Entry {
        let mut copy = match self.root() {
            Some(root) => Entry::with_root(key, self.kind(), Box::new(root.clone())),
            None => Entry::new(key, self.value()).with_kind(self.kind()),
        };
        copy.view_mut().set_timed(self.is_timed());
        copy
    }

    /// The entry that a change makes of this one, in a block of its own.
    pub(super) fn changed(self, change: Change<'_>) -> Entry {
        let keep = |value: &mut [u8]| {
            let kept = value.len().min(self.value().len());
            value[..kept].copy_from_slice(&self.value()[..kept]);
        };
        let made = match change {
            Change::Deadline => self.copy_of_value(self.key()),
            Change::Value(value, kind) => Entry::new(self.key(), value).with_kind(kind),
            Change::Length(length, kind) => Entry::filled(self.key(), length, keep).with_kind(kind),
            Change::Splice(splice) => self.copy_of_value(self.key()).splice(splice),
        };
        let mut made = self.with_fate(made);
        made.view_mut().header().filed_tick = self.filed_tick();
        made
    }

    /// An entry with the same key and kind, and what happened to this one, but with another value.
    pub(super) fn with_other_value(self, make: impl FnOnce(&[u8], Kind) -> Entry) -> Entry {
        let mut made = self.with_fate(make(self.key(), self.kind()));
        made.view_mut().header().filed_tick = self.filed_tick();
        made.view_mut().set_timed(self.is_timed());
        made
    }

    /// Gives another entry what happened to this one: deadline with what the log knows of it, stamp, and access history.
    #[inline]
    fn with_fate(self, mut other: Entry) -> Entry {
        other.view_mut().header().expire_and_stamp = self.header().expire_and_stamp;
        other.with_access(self.access())
    }

    /// Bytes that the allocator set aside for the entry and all that it owns.
    pub fn owned_bytes(self) -> usize {
        Layout::of(self.header()).block_bytes() + self.root().map_or(0, |root| root.owned_bytes())
    }

    /// See [`LARGE_BYTES`].
    #[inline]
    pub(super) fn is_large(self) -> bool {
        Layout::of(self.header()).block_bytes() > LARGE_BYTES
    }

    /// Where its block lies, which says which entry it is as long as it lives.
    #[inline]
    pub(super) fn address(self) -> usize {
        self.block.as_ptr().addr()
    }

    /// Whether it has this deadline, known so coarsely, and belongs to this epoch.
    #[inline]
    pub(super) fn has_fate(self, at: Option<i64>, coarseness: u32, epoch: u16) -> bool {
        self.header().expire_and_stamp == fate(at, coarseness, u64::from(epoch))
    }
}

impl<'a> EntryMut<'a> {
    /// # Safety
    /// As [`EntryRef::from_address`], and nobody else borrows the block.
    #[inline]
    pub(super) unsafe fn from_address(address: usize) -> Self {
        // SAFETY: the caller vouches that the address is not null.
        let block = unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) };
        EntryMut { block, life: PhantomData }
    }

    #[inline]
    fn header(&mut self) -> &mut Header {
        // SAFETY: self borrows the block exclusively.
        unsafe { self.block.as_mut() }
    }

    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef { block: self.block, life: PhantomData }
    }

    /// From here on only notes change.
    #[inline]
    pub fn into_notes(self) -> EntryNotes<'a> {
        EntryNotes(self)
    }

    /// Makes the entry part of an epoch. What the write log's former increment knew of its deadline, the present one does not.
    #[inline]
    pub fn enter(&mut self, epoch: u16) {
        let header = self.header();
        if header.expire_and_stamp & STAMP_MASK != u64::from(epoch) {
            let kept = header.expire_and_stamp & !(COARSE_MASK | STAMP_MASK);
            header.expire_and_stamp = kept | u64::from(epoch);
        }
    }

    /// Sets the deadline (Unix milliseconds, at most 2^48 - 1; larger ones are cut to that) or removes it, with how coarsely the write log knows it
    /// ([`EntryRef::logged_coarseness`]).
    #[inline]
    pub fn set_expire_at_ms(&mut self, at: Option<i64>, coarseness: u32) {
        let header = self.header();
        header.expire_and_stamp = fate(at, coarseness, header.expire_and_stamp & STAMP_MASK);
    }

    /// Writes only when the value differs, so that a read leaves a clean cache line clean.
    #[inline]
    fn set_access(&mut self, access: u32) {
        let header = self.header();
        let word = header.access_and_kind & !ACCESS_MASK | access & ACCESS_MASK;
        if header.access_and_kind != word {
            header.access_and_kind = word;
        }
    }

    #[inline]
    fn set_kind(&mut self, kind: Kind) {
        let header = self.header();
        header.access_and_kind = header.access_and_kind & !KIND_MASK | (kind as u32) << KIND_SHIFT;
    }

    /// Elements of the value may have deadlines of their own from now on, or have none.
    pub(super) fn set_timed(&mut self, timed: bool) {
        let header = self.header();
        header.access_and_kind = header.access_and_kind & !TIMED_FLAG | if timed { TIMED_FLAG } else { 0 };
    }

    /// The value, if it is a large collection.
    pub(super) fn into_root(self) -> Option<&'a mut Root> {
        // SAFETY: the entry owns the root, and self borrowed the entry exclusively for 'a.
        self.view().root_address().map(|root| unsafe { &mut *root })
    }

    pub fn value_mut(&mut self) -> &mut [u8] {
        let layout = Layout::of(self.header());
        // SAFETY: value_len bytes behind the key are initialised, and self borrows the block exclusively.
        unsafe {
            let start = self.block.as_ptr().cast::<u8>().add(layout.value_at());
            std::slice::from_raw_parts_mut(start, layout.value_len)
        }
    }

    /// Makes a change where the entry lies, if its block then has the size that it should have; says whether it did.
    #[inline]
    pub fn change(&mut self, change: Change<'_>) -> bool {
        let length = match change {
            Change::Deadline => return true,
            Change::Value(value, _) => value.len(),
            Change::Length(length, _) => length,
            Change::Splice(splice) => splice.len_after(self.view().value().len()),
        };
        let header = self.header();
        let old = Layout::of(header);
        // What a collection owns, and what is known of its deadlines, goes with its entry.
        let whole = header.access_and_kind & (ROOT_FLAG | TIMED_FLAG) != 0;
        if old.block_bytes() != old.with_value_len(length).block_bytes()
            || whole && !matches!(change, Change::Splice(_))
        {
            return false;
        }
        match change {
            Change::Deadline => {}
            Change::Value(value, kind) => {
                self.overwrite(value);
                self.set_kind(kind);
            }
            Change::Length(_, kind) => {
                self.set_value_len(length);
                self.set_kind(kind);
            }
            Change::Splice(splice) => {
                self.set_value_len(length.max(old.value_len));
                splice.apply(self.value_mut(), old.value_len);
                self.set_value_len(length);
            }
        }
        true
    }

    /// Replaces the value; the block has room for it.
    #[inline]
    fn overwrite(&mut self, value: &[u8]) {
        let header = self.header();
        header.value_len = value.len() as u32;
        let value_at = Layout::of(header).value_at();
        // SAFETY: the caller saw to the room, and `value` is not inside the block (it was borrowed while self was exclusive).
        unsafe {
            let start = self.block.as_ptr().cast::<u8>().add(value_at);
            ptr::copy_nonoverlapping(value.as_ptr(), start, value.len());
        }
    }

    /// Changes the value's length; the block has room for it. New bytes are zero.
    fn set_value_len(&mut self, value_len: usize) {
        let header = self.header();
        let old = Layout::of(header);
        header.value_len = value_len as u32;
        if value_len > old.value_len {
            // SAFETY: the caller saw to the room.
            unsafe {
                let end = self.block.as_ptr().cast::<u8>().add(old.bytes());
                ptr::write_bytes(end, 0, value_len - old.value_len);
            }
        }
    }
}

impl EntryNotes<'_> {
    #[inline]
    pub fn view(&self) -> EntryRef<'_> {
        self.0.view()
    }

    /// Replaces the access history.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        self.0.set_access(access);
    }

    #[inline]
    pub(super) fn set_filed_tick(&mut self, tick: u32) {
        self.0.header().filed_tick = tick;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_holds_key_value_and_deadline() {
        let mut entry = Entry::new(b"sess:1", b"payload");
        assert_eq!((entry.view().key(), entry.view().value()), (&b"sess:1"[..], &b"payload"[..]));
        assert_eq!(entry.view().expire_at_ms(), None);
        entry.view_mut().set_expire_at_ms(Some(1_790_000_000_123), 0);
        assert_eq!(entry.view().expire_at_ms(), Some(1_790_000_000_123));
        assert!(!entry.view().is_expired(1_790_000_000_122) && entry.view().is_expired(1_790_000_000_123));
    }

    #[test]
    fn an_entry_changes_in_place_only_within_its_size_class() {
        let mut entry = Entry::new(b"k", &[1; 100]);
        let class = entry.view().owned_bytes();
        assert!(entry.view_mut().change(Change::Value(&[2; 103], Kind::String)));
        assert_eq!((entry.view().value(), entry.view().owned_bytes()), (&[2; 103][..], class));
        for other in [
            Change::Value(&[3; 104], Kind::String),
            Change::Length(104, Kind::Raw),
            Change::Length(0, Kind::Raw),
        ] {
            assert!(!entry.view_mut().change(other));
            assert_eq!((entry.view().value(), entry.view().kind()), (&[2; 103][..], Kind::String));
        }
        assert!(entry.view_mut().change(Change::Length(100, Kind::Raw)));
        assert_eq!((entry.view().value(), entry.view().kind()), (&[2; 100][..], Kind::Raw));
    }

    #[test]
    fn resizing_keeps_the_header_and_zeroes_what_is_new() {
        let mut entry = Entry::new(b"key", b"abc").with_access(77);
        entry.view_mut().set_expire_at_ms(Some(5), 0);
        for len in [5000, 4, 0, 70_000] {
            entry = entry.resize_value(len);
            assert_eq!(entry.view().value().len(), len);
            assert_eq!((entry.view().key(), entry.view().access()), (&b"key"[..], 77));
        }
        assert!(entry.view().value().iter().all(|byte| *byte == 0));
        assert_eq!(entry.view().expire_at_ms(), Some(5));
    }

    #[test]
    fn what_an_increment_knows_of_a_deadline_is_forgotten_in_the_next_epoch() {
        let mut entry = Entry::new(b"k", b"v").with_kind(Kind::Text);
        entry.view_mut().enter(5);
        entry.view_mut().set_expire_at_ms(Some(1_790_000_000_123), 31);
        entry.view_mut().enter(5);
        assert_eq!((entry.view().stamp(), entry.view().logged_coarseness()), (5, 31));
        let mut copy = entry.view().copy_as(b"other");
        copy.view_mut().enter(6);
        assert_eq!((copy.view().stamp(), copy.view().logged_coarseness()), (6, 0));
        assert_eq!((copy.view().expire_at_ms(), copy.view().kind()), (Some(1_790_000_000_123), Kind::Text));
    }

    #[test]
    fn empty_keys_and_values_are_entries_too() {
        let entry = Entry::filled(b"", 0, |_| {});
        assert!(entry.view().key().is_empty() && entry.view().value().is_empty());
    }
}
