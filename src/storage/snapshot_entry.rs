//! Entries as snapshots hold them: encoding one, cheap enough to be done under a shard's lock, and walking over the entries of a block.
//!
//! ```text
//!   byte 0     bits 0-2 type of the value (0: string, 1 list, 2 set, 3 sorted set, 4 hash, 5 stream); bit 3 the value is in its large form;
//!              bits 4-5 which kind of string, or of a collection 1 for a head, 2 for a leaf (below); bit 6 a deadline follows, bit 7 a database number follows
//!   3 bytes    access history (LRU clock, or LFU counter and minutes), little-endian
//!   varint     database, if bit 7 is set; else it is database 0
//!   varint     deadline in milliseconds since 1970, if bit 6 is set
//!   varint     length of the key
//!   varint     length of the value
//!   key, value
//! ```
//!
//! A large collection is one entry with all its elements, or a head and leaves, each an entry of its own, in any order (docs/snapshot-format.md). A leaf has no key.
//!
//! A session costs 13 bytes beside its key and value. An entry needs nothing but itself to be read, so the entries of a block, and the blocks
//! of a snapshot, may stand in any order.

use super::damage::Damage;
use super::encoding::{push_varint, take_varint};
use super::kind::Kind;

const TYPE_MASK: u8 = 0x07;
const IS_LARGE: u8 = 0x08;
const STRING_SHIFT: u32 = 4;
const STRING_MASK: u8 = 0x30;
const HAS_DEADLINE: u8 = 0x40;
const HAS_DATABASE: u8 = 0x80;
/// What the type of a collection is less than its kind.
const TYPE_OF_KIND: u8 = Kind::List as u8 - 1;
/// The most that an entry takes beside its key and value.
const HEAD_MAX: usize = 4 + 5 + 10 + 5 + 5;
/// The shortest entry: no database, no deadline, an empty key and an empty value.
pub const ENTRY_LEN_MIN: u64 = 4 + 1 + 1;
/// Bits of the access history.
const ACCESS_BITS: u32 = 24;

/// What part of a value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// A string, or a small collection.
    #[default]
    Small,
    /// All of a large collection.
    Large,
    /// What leaves belong to one, and how many elements it has.
    Head,
    /// Some elements of one.
    Leaf,
}

/// An entry of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct EntryRecord<'a> {
    /// The database's number.
    pub database: u32,
    /// What the value's bytes are.
    pub kind: Kind,
    pub form: Form,
    /// When the entry expires, in milliseconds since 1970.
    pub expire_at_ms: Option<u64>,
    /// Access history, 24 bits; whether LRU or LFU is in the snapshot's header.
    pub access: u32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
}

/// Appends an entry. No I/O, no surprise: one reservation and two copies.
#[inline]
pub fn encode_entry(out: &mut Vec<u8>, entry: &EntryRecord<'_>) {
    out.reserve(HEAD_MAX + entry.key.len() + entry.value.len());
    let kind = match entry.kind {
        string if string.is_string() => (string as u8) << STRING_SHIFT,
        collection => collection as u8 - TYPE_OF_KIND,
    };
    let form = match entry.form {
        Form::Small => 0,
        Form::Large => IS_LARGE,
        Form::Head => IS_LARGE | 1 << STRING_SHIFT,
        Form::Leaf => IS_LARGE | 2 << STRING_SHIFT,
    };
    let deadline = if entry.expire_at_ms.is_some() { HAS_DEADLINE } else { 0 };
    let database = if entry.database != 0 { HAS_DATABASE } else { 0 };
    let [first, second, third, _] = entry.access.to_le_bytes();
    out.extend_from_slice(&[kind | form | deadline | database, first, second, third]);
    if entry.database != 0 {
        push_varint(out, u64::from(entry.database));
    }
    if let Some(at) = entry.expire_at_ms {
        push_varint(out, at);
    }
    push_varint(out, entry.key.len() as u64);
    push_varint(out, entry.value.len() as u64);
    out.extend_from_slice(entry.key);
    out.extend_from_slice(entry.value);
}

/// Takes an entry from the front of `bytes`.
fn decode_entry<'a>(bytes: &mut &'a [u8]) -> Result<EntryRecord<'a>, &'static str> {
    const CUT: &str = "an entry ends early";
    let (&[head, first, second, third], rest) = bytes.split_first_chunk().ok_or(CUT)?;
    *bytes = rest;
    let (string, is_large) = ((head & STRING_MASK) >> STRING_SHIFT, head & IS_LARGE != 0);
    let kind = match (head & TYPE_MASK, string, is_large) {
        (0, string, false) if string < Kind::List as u8 => Kind::from_bits(string),
        (of @ 1..=5, 0, false) | (of @ 1..=5, 0..=2, true) => Kind::from_bits(of + TYPE_OF_KIND),
        _ => return Err("an entry is of an unknown kind"),
    };
    let form = match (is_large, string) {
        (false, _) => Form::Small,
        (true, 0) => Form::Large,
        (true, 1) => Form::Head,
        (true, _) => Form::Leaf,
    };
    let mut number = || take_varint(bytes).ok_or("a number of an entry is wrong");
    let database = if head & HAS_DATABASE != 0 { number()? } else { 0 };
    let database = u32::try_from(database).map_err(|_| "an entry is in no possible database")?;
    let expire_at_ms = if head & HAS_DEADLINE != 0 { Some(number()?) } else { None };
    let (key_len, value_len) = (number()?, number()?);
    let mut take = |len: u64| {
        let (taken, rest) =
            usize::try_from(len).ok().and_then(|len| bytes.split_at_checked(len)).ok_or(CUT)?;
        *bytes = rest;
        Ok::<&'a [u8], &'static str>(taken)
    };
    let (key, value) = (take(key_len)?, take(value_len)?);
    let access = u32::from_le_bytes([first, second, third, 0]);
    debug_assert!(access >> ACCESS_BITS == 0, "three bytes");
    Ok(EntryRecord { database, kind, form, expire_at_ms, access, key, value })
}

/// The entries of an opened block, in order. After an error there are no more.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    /// How many the index says are still to come.
    expected: u32,
    file: &'a str,
    offset: u64,
}

impl<'a> Entries<'a> {
    /// Walks over the raw body of a block that should have `expected` entries; file and offset are for messages.
    pub fn new(raw: &'a [u8], expected: u32, file: &'a str, offset: u64) -> Entries<'a> {
        Entries { rest: raw, expected, file, offset }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<EntryRecord<'a>, Damage>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() && self.expected == 0 {
            return None;
        }
        let decoded = match self.expected.checked_sub(1) {
            None => Err("the block has more entries than the index says"),
            Some(_) if self.rest.is_empty() => Err("the block has fewer entries than the index says"),
            Some(left) => {
                self.expected = left;
                decode_entry(&mut self.rest)
            }
        };
        Some(decoded.map_err(|what| {
            (self.rest, self.expected) = (&[], 0);
            Damage::wrong(self.file, self.offset, what)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn entries(raw: &[u8], expected: u32) -> Result<Vec<EntryRecord<'_>>, Damage> {
        Entries::new(raw, expected, "test", 0).collect()
    }

    #[test]
    fn a_session_costs_thirteen_bytes() {
        let (key, value) = ([b'k'; 45], [b'v'; 483]);
        let session = EntryRecord {
            expire_at_ms: Some(1_790_000_000_000),
            access: 0x00ff_ffff,
            key: &key,
            value: &value,
            ..EntryRecord::default()
        };
        let mut out = Vec::new();
        encode_entry(&mut out, &session);
        assert_eq!(out.len(), 45 + 483 + 13);
        assert_eq!(entries(&out, 1).expect("decodes"), [session]);
        out.clear();
        encode_entry(&mut out, &EntryRecord::default());
        assert_eq!(out.len() as u64, ENTRY_LEN_MIN);
    }

    #[test]
    fn any_entry_comes_back_and_no_part_of_one_does() {
        let seed = 0xe27;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..300 {
            let noise: Vec<u8> = (0..400).map(|_| random.next_u64() as u8).collect();
            let (key, value) = noise.split_at(random.below(200) as usize);
            let kind = Kind::from_bits(random.below(8) as u8);
            let entry = EntryRecord {
                database: (random.next_u64() as u32).unbounded_shr(random.below(33) as u32),
                kind,
                form: match random.below(4) {
                    _ if kind.is_string() => Form::Small,
                    0 => Form::Small,
                    1 => Form::Large,
                    2 => Form::Head,
                    _ => Form::Leaf,
                },
                expire_at_ms: (random.below(2) == 0).then(|| random.next_u64() >> random.below(64)),
                access: random.below(1 << ACCESS_BITS) as u32,
                key,
                value,
            };
            let mut out = Vec::new();
            encode_entry(&mut out, &entry);
            encode_entry(&mut out, &EntryRecord::default());
            assert_eq!(entries(&out, 2).expect("decodes"), [entry, EntryRecord::default()]);
            assert!(entries(&out, 1).is_err() && entries(&out, 3).is_err(), "the count is checked");
            for cut in 0..out.len() {
                assert!(entries(&out[..cut], 2).is_err(), "cut at {cut}");
            }
        }
    }

    #[test]
    fn any_bytes_are_entries_or_damage() {
        let seed = 0xbad;
        println!("seed {seed}");
        let mut random = Random::new(seed);
        for _ in 0..20_000 {
            let len = random.below(40);
            let noise: Vec<u8> = (0..len).map(|_| (random.next_u64() >> random.below(64)) as u8).collect();
            let walked = Entries::new(&noise, random.below(4) as u32, "test", 0);
            assert!(walked.filter(Result::is_err).count() <= 1, "nothing follows an error");
        }
    }
}
