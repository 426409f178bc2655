//! An entry: one heap block that holds header, key and value of a string.
//!
//! ```text
//! 0        8            12            16       20         24        24+key_len
//! | expire | filed_tick | access,kind | key_len | value_len | key ... | value ... | spare up to the size class
//! ```
//! `expire` has the absolute deadline in its upper 48 bits (0: none); below it 5 bits that say how coarsely the write log knows
//! the deadline, and an 11-bit snapshot stamp. The size of the block is not stored: it is always the size class
//! (`base/slabs`) of what it holds, so a value that stays within the class is overwritten where it lies, and one that leaves it moves.
//!
//! All raw memory work of the keyspace is in this file; `Entry` owns its block, `EntryRef` and `EntryMut` borrow it.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::base::slabs;

/// Bytes in front of the key.
pub const HEADER_BYTES: usize = size_of::<Header>();
/// Width of an entry's snapshot stamp.
pub const EPOCH_BITS: u32 = COARSE_SHIFT;
/// The largest key or value: the length fields have 32 bits, and a block of a snapshot or of the write log holds both together
/// (`storage/blocks.rs`).
pub const LENGTH_MAX: usize = 1 << 30;

const DEADLINE_SHIFT: u32 = 16;
const COARSE_SHIFT: u32 = 11;
const COARSE_MASK: u64 = 0x1f << COARSE_SHIFT;
const STAMP_MASK: u64 = (1 << COARSE_SHIFT) - 1;
const ACCESS_MASK: u32 = 0x00ff_ffff;
const RAW_FLAG: u32 = 1 << 24;
const TEXT_FLAG: u32 = 1 << 25;

#[repr(C)]
struct Header {
    expire_and_stamp: u64,
    filed_tick: u32,
    access_and_kind: u32,
    key_len: u32,
    value_len: u32,
}

/// An owned entry. Dropping it frees the block.
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

/// An exclusively borrowed entry whose block stays where it is.
pub struct EntryMut<'a> {
    block: NonNull<Header>,
    life: PhantomData<&'a mut Entry>,
}

/// Bytes in use of an entry's block.
#[inline]
fn size(key_len: usize, value_len: usize) -> usize {
    HEADER_BYTES + key_len + value_len
}

impl Entry {
    /// A new entry without a deadline. `key` and `value` are at most [`LENGTH_MAX`] bytes, which the request parser's
    /// limits guarantee.
    #[inline]
    pub fn new(key: &[u8], value: &[u8]) -> Entry {
        let entry = Entry::allocate(key, value.len());
        // SAFETY: `allocate` reserved value.len() bytes behind the key, and a fresh block overlaps nothing.
        unsafe {
            ptr::copy_nonoverlapping(
                value.as_ptr(),
                entry.bytes().add(HEADER_BYTES + key.len()),
                value.len(),
            );
        }
        entry
    }

    /// A new entry whose value is `value_len` zero bytes.
    pub fn zeroed(key: &[u8], value_len: usize) -> Entry {
        let entry = Entry::allocate(key, value_len);
        // SAFETY: as in `new`.
        unsafe { ptr::write_bytes(entry.bytes().add(HEADER_BYTES + key.len()), 0, value_len) };
        entry
    }

    fn allocate(key: &[u8], value_len: usize) -> Entry {
        assert!(key.len() <= LENGTH_MAX && value_len <= LENGTH_MAX, "an entry's lengths are 32 bits wide");
        let block = slabs::allocate(size(key.len(), value_len)).cast::<Header>();
        // SAFETY: the block is large enough and aligned for a header and the key behind it.
        unsafe {
            block.as_ptr().write(Header {
                expire_and_stamp: 0,
                filed_tick: 0,
                access_and_kind: 0,
                key_len: key.len() as u32,
                value_len: value_len as u32,
            });
            ptr::copy_nonoverlapping(key.as_ptr(), block.as_ptr().cast::<u8>().add(HEADER_BYTES), key.len());
        }
        Entry { block }
    }

    fn bytes(&self) -> *mut u8 {
        self.block.as_ptr().cast()
    }

    /// Borrows the entry.
    pub fn view(&self) -> EntryRef<'_> {
        EntryRef { block: self.block, life: PhantomData }
    }

    /// Borrows the entry for changes that keep its block.
    pub fn view_mut(&mut self) -> EntryMut<'_> {
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
    pub fn resize_value(mut self, value_len: usize) -> Entry {
        assert!(value_len <= LENGTH_MAX, "an entry's lengths are 32 bits wide");
        let (key_len, old_len) = (self.view().key().len(), self.view().value().len());
        let (old, new) = (size(key_len, old_len), size(key_len, value_len));
        if slabs::block_bytes(old) != slabs::block_bytes(new) {
            // SAFETY: the block was allocated for what it holds, and `self` alone knows of it.
            self.block = unsafe { slabs::reallocate(self.block.cast(), old, new) }.cast();
        }
        // SAFETY: the block now has room for value_len bytes behind the key.
        unsafe {
            (*self.block.as_ptr()).value_len = value_len as u32;
            if value_len > old_len {
                ptr::write_bytes(self.bytes().add(HEADER_BYTES + key_len + old_len), 0, value_len - old_len);
            }
        }
        self
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let size = size(self.view().key().len(), self.view().value().len());
        // SAFETY: the block was allocated for what it holds, or for something in the same class, and its owner goes away.
        unsafe { slabs::free(self.block.cast(), size) };
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
        let len = self.header().key_len as usize;
        // SAFETY: key_len bytes behind the header are initialised.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().cast::<u8>().add(HEADER_BYTES), len) }
    }

    #[inline]
    pub fn value(self) -> &'a [u8] {
        let header = self.header();
        let start = HEADER_BYTES + header.key_len as usize;
        // SAFETY: value_len bytes behind the key are initialised.
        unsafe {
            std::slice::from_raw_parts(self.block.as_ptr().cast::<u8>().add(start), header.value_len as usize)
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
    /// 2^bits milliseconds. 0: it is known to the millisecond.
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

    /// Whether the value was built by a command that edits strings in place (OBJECT ENCODING then says `raw`).
    pub fn is_raw(self) -> bool {
        self.header().access_and_kind & RAW_FLAG != 0
    }

    /// Whether the value is a text for OBJECT ENCODING even where it reads as an integer (INCRBYFLOAT).
    pub fn is_text(self) -> bool {
        self.header().access_and_kind & TEXT_FLAG != 0
    }

    /// A copy under another key: value and its mark, deadline and access history.
    pub fn copy_as(self, key: &[u8]) -> Entry {
        self.copy_resized(key, self.value().len())
    }

    /// [`EntryRef::copy_as`] with another length of the value: its leading bytes are kept, new ones are zero.
    pub(super) fn copy_resized(self, key: &[u8], value_len: usize) -> Entry {
        let kept = value_len.min(self.value().len());
        let mut copy = if kept == value_len {
            Entry::new(key, &self.value()[..kept])
        } else {
            let mut copy = Entry::zeroed(key, value_len);
            copy.view_mut().value_mut()[..kept].copy_from_slice(&self.value()[..kept]);
            copy
        };
        let mut view = copy.view_mut();
        view.copy_header(self);
        view.header().access_and_kind |= self.header().access_and_kind & (RAW_FLAG | TEXT_FLAG);
        copy
    }

    /// Bytes that the allocator set aside for the block.
    pub fn block_bytes(self) -> usize {
        slabs::block_bytes(size(self.key().len(), self.value().len()))
    }
}

impl EntryMut<'_> {
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

    /// Sets the deadline (Unix milliseconds, at most 2^48 - 1; larger ones are cut to that) or removes it.
    #[inline]
    pub(super) fn set_expire_at_ms(&mut self, at: Option<i64>) {
        let at = at.map_or(0, |at| at.clamp(1, (1 << 48) - 1)) as u64;
        let header = self.header();
        header.expire_and_stamp = at << DEADLINE_SHIFT | header.expire_and_stamp & (COARSE_MASK | STAMP_MASK);
    }

    /// Notes how coarsely the write log knows the deadline, see [`EntryRef::logged_coarseness`].
    #[inline]
    pub(super) fn set_logged_coarseness(&mut self, bits: u32) {
        debug_assert!(bits < 32, "the coarseness has 5 bits");
        let header = self.header();
        header.expire_and_stamp = header.expire_and_stamp & !COARSE_MASK | u64::from(bits) << COARSE_SHIFT;
    }

    /// Notes the epoch in which the entry was made or captured, see [`EntryRef::stamp`].
    #[inline]
    pub(super) fn set_stamp(&mut self, stamp: u16) {
        let header = self.header();
        header.expire_and_stamp = header.expire_and_stamp & !STAMP_MASK | u64::from(stamp) & STAMP_MASK;
    }

    #[inline]
    pub(super) fn set_filed_tick(&mut self, tick: u32) {
        self.header().filed_tick = tick;
    }

    /// Takes deadline, stamp, filed tick and access history over from another entry; the value's flags stay this entry's own.
    pub(super) fn copy_header(&mut self, from: EntryRef<'_>) {
        let (expire_and_stamp, filed_tick, access) =
            (from.header().expire_and_stamp, from.header().filed_tick, from.access());
        let header = self.header();
        header.expire_and_stamp = expire_and_stamp;
        header.filed_tick = filed_tick;
        self.set_access(access);
    }

    /// Writes only when the value differs, so that a read leaves a clean cache line clean.
    #[inline]
    pub fn set_access(&mut self, access: u32) {
        let header = self.header();
        let word = header.access_and_kind & !ACCESS_MASK | access & ACCESS_MASK;
        if header.access_and_kind != word {
            header.access_and_kind = word;
        }
    }

    /// Marks the value as raw, or takes its marks away.
    #[inline]
    pub fn set_raw(&mut self, raw: bool) {
        let header = self.header();
        let unmarked = header.access_and_kind & !(RAW_FLAG | TEXT_FLAG);
        header.access_and_kind = unmarked | if raw { RAW_FLAG } else { 0 };
    }

    /// Marks the value as a text, see [`EntryRef::is_text`].
    pub fn set_text(&mut self) {
        self.header().access_and_kind |= TEXT_FLAG;
    }

    pub fn value_mut(&mut self) -> &mut [u8] {
        let (key_len, value_len) = (self.header().key_len as usize, self.header().value_len as usize);
        // SAFETY: value_len bytes behind the key are initialised, and self borrows the block exclusively.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.block.as_ptr().cast::<u8>().add(HEADER_BYTES + key_len),
                value_len,
            )
        }
    }

    /// Replaces the value where it lies if the block's size class stays the same; says whether it did.
    #[inline]
    pub fn overwrite(&mut self, value: &[u8]) -> bool {
        let header = self.header();
        let (key_len, old_len) = (header.key_len as usize, header.value_len as usize);
        let fixed = HEADER_BYTES + key_len;
        if slabs::block_bytes(fixed + old_len) != slabs::block_bytes(fixed + value.len()) {
            return false;
        }
        header.value_len = value.len() as u32;
        // SAFETY: the size class has room for value.len() bytes behind the key, and `value` is not inside the block
        // (it was borrowed while self was exclusive).
        unsafe {
            ptr::copy_nonoverlapping(
                value.as_ptr(),
                self.block.as_ptr().cast::<u8>().add(fixed),
                value.len(),
            );
        }
        true
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
        entry.view_mut().set_expire_at_ms(Some(1_790_000_000_123));
        assert_eq!(entry.view().expire_at_ms(), Some(1_790_000_000_123));
        assert!(!entry.view().is_expired(1_790_000_000_122) && entry.view().is_expired(1_790_000_000_123));
    }

    #[test]
    fn a_value_is_overwritten_in_place_only_within_its_size_class() {
        let mut entry = Entry::new(b"k", &[1; 100]);
        let class = entry.view().block_bytes();
        assert!(entry.view_mut().overwrite(&[2; 103]));
        assert_eq!(entry.view().value(), &[2; 103]);
        assert_eq!(entry.view().block_bytes(), class);
        assert!(!entry.view_mut().overwrite(&[3; 104]));
        assert!(!entry.view_mut().overwrite(b""));
        assert_eq!(entry.view().value(), &[2; 103]);
    }

    #[test]
    fn resizing_keeps_the_header_and_zeroes_what_is_new() {
        let mut entry = Entry::new(b"key", b"abc");
        entry.view_mut().set_expire_at_ms(Some(5));
        entry.view_mut().set_access(77);
        for len in [5000, 4, 0, 70_000] {
            entry = entry.resize_value(len);
            assert_eq!(entry.view().value().len(), len);
            assert_eq!((entry.view().key(), entry.view().access()), (&b"key"[..], 77));
        }
        assert!(entry.view().value().iter().all(|byte| *byte == 0));
        assert_eq!(entry.view().expire_at_ms(), Some(5));
    }

    #[test]
    fn empty_keys_and_values_are_entries_too() {
        let entry = Entry::zeroed(b"", 0);
        assert!(entry.view().key().is_empty() && entry.view().value().is_empty());
    }
}
