//! The order of hashes: members of a set, and fields of a hash with their values.
//!
//! ```text
//! [0xe0 and 6 bytes: the deadline in Unix milliseconds]  member                    of a set
//! [0xe0 and 6 bytes: the deadline in Unix milliseconds]  field, value              of a hash
//! ```
//! The hash has the keyspace's key, so nobody outside can aim at one leaf.

use std::cmp::Ordering;

use super::order::{Index, Order};
use super::text::{self, ESCAPE, Text};
use crate::keyspace::KeyHasher;

/// Bytes of a deadline in front of a record.
const DEADLINE_BYTES: usize = 7;
/// The latest deadline that a record can have: 48 bits.
pub const DEADLINE_MAX_MS: i64 = (1 << 48) - 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Member,
    FieldAndValue,
}

impl Shape {
    /// Bytes that the first record of these takes.
    #[inline]
    pub fn len_of(self, records: &[u8]) -> usize {
        let (_, rest) = deadline(records);
        let head = records.len() - rest.len();
        let name_len = text::len_of(rest);
        let value_len = match self {
            Shape::Member => 0,
            Shape::FieldAndValue => text::len_of(rest.get(name_len..).unwrap_or_default()),
        };
        head + name_len + value_len
    }
}

/// A record of a set or a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The member, or the field's name.
    pub name: Text<'a>,
    /// Empty for a member.
    pub value: Text<'a>,
    /// When its time comes, in Unix milliseconds.
    pub expire_at_ms: Option<i64>,
}

impl<'a> Field<'a> {
    /// The record at the front.
    #[inline]
    pub fn read(record: &'a [u8], shape: Shape) -> Field<'a> {
        let (expire_at_ms, rest) = deadline(record);
        let (name, name_len) = text::read(rest);
        let value = match shape {
            Shape::Member => Text::Bytes(&[]),
            Shape::FieldAndValue => text::read(rest.get(name_len..).unwrap_or_default()).0,
        };
        Field { name, value, expire_at_ms }
    }

    /// Whether its time has come.
    #[inline]
    pub fn is_due(&self, now_ms: i64) -> bool {
        self.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms)
    }

    /// The bytes of a record from its name on.
    #[inline]
    pub fn bytes_of_name(record: &[u8]) -> &[u8] {
        deadline(record).1
    }

    /// Appends the record that has these bytes from its name on.
    pub fn push_with_deadline(out: &mut Vec<u8>, bytes: &[u8], expire_at_ms: Option<i64>) {
        if let Some(at_ms) = expire_at_ms {
            out.push(ESCAPE);
            out.extend_from_slice(&at_ms.clamp(0, DEADLINE_MAX_MS).to_le_bytes()[..DEADLINE_BYTES - 1]);
        }
        out.extend_from_slice(bytes);
    }

    /// Appends a record; `value` is `None` for a member.
    pub fn push(out: &mut Vec<u8>, name: &[u8], value: Option<&[u8]>, expire_at_ms: Option<i64>) {
        Field::push_with_deadline(out, &[], expire_at_ms);
        text::push(out, name);
        value.into_iter().for_each(|value| text::push(out, value));
    }
}

/// The deadline of a record, and what follows it.
#[inline]
fn deadline(record: &[u8]) -> (Option<i64>, &[u8]) {
    match *record {
        [ESCAPE, a, b, c, d, e, f, ref rest @ ..] => {
            (Some(i64::from_le_bytes([a, b, c, d, e, f, 0, 0])), rest)
        }
        _ => (None, record),
    }
}

/// When a record's time comes, in Unix milliseconds; `i64::MAX` for never.
#[inline]
pub fn due_of(record: &[u8]) -> i64 {
    deadline(record).0.unwrap_or(i64::MAX)
}

/// See the module's text.
#[derive(Clone, Copy)]
pub struct ByHash<'h> {
    pub hasher: &'h KeyHasher,
    pub shape: Shape,
}

/// A name that is looked for, hashed already.
#[derive(Clone, Copy, Debug)]
pub struct Name<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

impl ByHash<'_> {
    pub fn name<'a>(&self, bytes: &'a [u8]) -> Name<'a> {
        Name { bytes, hash: self.hasher.hash(bytes) }
    }
}

impl Order for ByHash<'_> {
    type Probe<'p> = Name<'p>;
    const INDEX: Index = Index::Tags;

    #[inline]
    fn len_of(&self, records: &[u8]) -> usize {
        self.shape.len_of(records)
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        let name = Field::read(record, Shape::Member).name;
        self.hasher.hash(name.bytes(&mut itoa::Buffer::new()))
    }

    #[inline]
    fn key(&self, probe: Name<'_>) -> u64 {
        probe.hash
    }

    #[inline]
    fn compare(&self, probe: Name<'_>, record: &[u8]) -> Ordering {
        let name = Field::read(record, Shape::Member).name;
        if name.is(probe.bytes) {
            return Ordering::Equal;
        }
        // Few records have the tag of another.
        let room = &mut itoa::Buffer::new();
        let bytes = name.bytes(room);
        probe.hash.cmp(&self.hasher.hash(bytes)).then_with(|| probe.bytes.cmp(bytes))
    }

    #[inline]
    fn due_ms(&self, record: &[u8]) -> i64 {
        due_of(record)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tree::{Limits, NoCapture, Tree};
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_record_costs_a_byte_a_string_and_seven_for_a_deadline() {
        let mut out = Vec::new();
        Field::push(&mut out, b"role", Some(b"admin"), None);
        assert_eq!(out.len(), 4 + 5 + 2);
        Field::push(&mut out, b"seen", Some(b"1790000000000"), Some(1_790_000_000_123));
        assert_eq!(out.len(), 11 + 7 + 5 + 7);
        let seen = Field::read(&out[11..], Shape::FieldAndValue);
        assert_eq!(seen.expire_at_ms, Some(1_790_000_000_123));
        assert!(seen.name.is(b"seen") && seen.value == Text::Integer(1_790_000_000_000));
    }

    #[test]
    fn fields_are_found_changed_and_removed_whatever_their_names() {
        for seed in 0..6 {
            println!("seed {seed}");
            let hasher = KeyHasher::fixed(seed);
            let order = ByHash { hasher: &hasher, shape: Shape::FieldAndValue };
            let mut random = Random::new(seed);
            let small = Limits { leaf_bytes: [64, 400][seed as usize % 2], branches: 4 };
            let limits = if seed < 4 { small } else { Limits::USUAL };
            let (mut tree, mut model) = (Tree::new(limits, 0), BTreeMap::new());
            for _ in 0..8_000 {
                let name = match random.below(3) {
                    0 => random.below(3_000).to_string(),
                    1 => format!("field:{:06}", random.below(3_000)),
                    _ => "x".repeat(random.below(200) as usize),
                };
                let value = vec![b'v'; random.below(40) as usize];
                let mut record = Vec::new();
                let at_ms = (random.below(4) == 0).then(|| random.below(1_000) as i64);
                Field::push(&mut record, name.as_bytes(), Some(&value), at_ms);
                match tree.find(&order, order.name(name.as_bytes())) {
                    Ok(place) if random.below(3) == 0 => {
                        tree.remove(&order, &mut NoCapture, &place, 1);
                        assert!(model.remove(&name).is_some());
                    }
                    Ok(place) => {
                        tree.replace(&order, &mut NoCapture, &place, &record);
                        assert!(model.insert(name, (value, at_ms)).is_some());
                    }
                    Err(place) => {
                        tree.insert(&order, &mut NoCapture, &place, &record);
                        assert!(model.insert(name, (value, at_ms)).is_none());
                    }
                }
            }
            tree.check(&order).expect("a tree");
            let found: BTreeMap<String, (Vec<u8>, Option<i64>)> = tree
                .iter_from(&order, 0)
                .map(|record| {
                    let field = Field::read(record, Shape::FieldAndValue);
                    let name = String::from_utf8(field.name.bytes(&mut itoa::Buffer::new()).to_vec());
                    let value = field.value.bytes(&mut itoa::Buffer::new()).to_vec();
                    (name.expect("text"), (value, field.expire_at_ms))
                })
                .collect();
            assert_eq!(found, model);
        }
    }

    /// What the arena's `big` has: 16 bytes a member, and 15 and 20 of a field and its value.
    #[test]
    fn a_million_members_or_fields_cost_few_bytes_besides() {
        let hasher = KeyHasher::fixed(1);
        for (shape, most) in [(Shape::Member, 25.0), (Shape::FieldAndValue, 47.0)] {
            let order = ByHash { hasher: &hasher, shape };
            let mut tree = Tree::new(Limits::USUAL, 0);
            let mut record = Vec::new();
            for number in 0..200_000 {
                record.clear();
                let (name, value) = match shape {
                    Shape::Member => (format!("member:{number:09}"), None),
                    Shape::FieldAndValue => (format!("field:{number:09}"), Some([b'v'; 20].as_slice())),
                };
                Field::push(&mut record, name.as_bytes(), value, None);
                let place = tree.find(&order, order.name(name.as_bytes())).expect_err("it is new");
                tree.insert(&order, &mut NoCapture, &place, &record);
            }
            let each = tree.owned_bytes() as f64 / 200_000.0;
            println!("{shape:?}: {each} bytes");
            assert!(each < most, "{shape:?}: {each} bytes");
        }
    }
}
