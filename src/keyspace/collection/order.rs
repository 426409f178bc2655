//! In which order the records of a tree stand, and what its leaves keep to find one.

use std::cmp::Ordering;

use super::element;

/// What a leaf keeps for each record besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Index {
    /// Nothing: records are passed one after the other.
    None,
    /// Nothing: all records have this length.
    Fixed(usize),
    /// Where it begins.
    Offsets,
    /// Where it begins, and 16 bits of its key, which say mostly without a look at the record whether it can be the one.
    Tags,
}

/// See the module's text. What is looked for is a [`Order::Probe`]; it is found by its key first, 64 bits that never decrease in the tree's order, and
/// by a comparison with records where keys are equal.
pub trait Order: Copy {
    type Probe<'p>: Copy;
    const INDEX: Index;
    /// Records can be passed from the end, too ([`Order::len_of_last`]), and come and go at the ends mostly.
    const BOTH_WAYS: bool = false;

    /// Bytes that the first record of these takes.
    fn len_of(&self, records: &[u8]) -> usize;

    /// Bytes that the last record of these takes.
    fn len_of_last(&self, records: &[u8]) -> usize {
        records.len()
    }

    fn key_of(&self, record: &[u8]) -> u64;

    fn key(&self, probe: Self::Probe<'_>) -> u64;

    /// How what is looked for stands to a record: a total order, in which keys never decrease.
    fn compare(&self, probe: Self::Probe<'_>, record: &[u8]) -> Ordering;

    /// When the record's time has come, in Unix milliseconds; `i64::MAX` for never.
    fn due_ms(&self, _record: &[u8]) -> i64 {
        i64::MAX
    }
}

/// The order in which records were put: a list. A record is one string ([`element`]), and nothing is looked for but places.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPosition;

impl Order for ByPosition {
    type Probe<'p> = ();
    const INDEX: Index = Index::None;
    const BOTH_WAYS: bool = true;

    fn len_of(&self, records: &[u8]) -> usize {
        element::len_of(records)
    }

    fn len_of_last(&self, records: &[u8]) -> usize {
        element::len_of_last(records)
    }

    fn key_of(&self, _record: &[u8]) -> u64 {
        0
    }

    fn key(&self, _probe: ()) -> u64 {
        0
    }

    fn compare(&self, _probe: (), _record: &[u8]) -> Ordering {
        Ordering::Equal
    }
}
