//! The elements of a value that is sorted, and their order.

use std::cmp::Ordering;
use std::ops::Range;

use super::Options;
use crate::base::number::parse_f64;
use crate::base::quote::up_to_zero;
use crate::command::cx::{Cx, Failure};
use crate::keyspace::values::exchange;
use crate::keyspace::{Key, Kind};
use crate::rdb::value::{EntryFields, Group, Sink, StreamId, StreamState};

const NOT_A_SCORE: Failure = Failure::text("ERR One or more scores can't be converted into double");

/// All elements of a value, in memory of their own: looking at other keys may move or reclaim entries.
pub struct Gathered {
    pub kind: Kind,
    bytes: Vec<u8>,
    elements: Vec<Element>,
}

struct Element {
    text: Range<usize>,
    weight: Weight,
}

/// What an element is sorted by, before its own bytes.
#[derive(Clone)]
enum Weight {
    Score(f64),
    /// A string that BY has found; nothing comes before any.
    Text(Option<Range<usize>>),
    /// Its bytes.
    Own,
}

impl Gathered {
    /// The elements of a key; none if it is not there. Counts nothing.
    pub fn of(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Gathered, Failure> {
        let mut gathered = Gathered { kind: Kind::List, bytes: Vec::new(), elements: Vec::new() };
        if let Some(position) = cx.find(key) {
            let entry = cx.entry(key, position);
            gathered.kind = entry.kind();
            if !matches!(gathered.kind, Kind::List | Kind::Set | Kind::SortedSet) {
                return Err(Failure::WRONG_TYPE);
            }
            exchange::give(entry, &mut gathered);
        }
        Ok(gathered)
    }

    pub fn len(&self) -> usize {
        self.elements.len()
    }

    pub fn element(&self, index: usize) -> &[u8] {
        &self.bytes[self.elements[index].text.clone()]
    }

    fn add(&mut self, element: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(element);
        self.elements.push(Element { text: start..self.bytes.len(), weight: Weight::Own });
    }

    /// What is not sorted may be wanted from its end. A set has none.
    pub fn turn(&mut self, descending: bool) {
        if descending && self.kind != Kind::Set {
            self.elements.reverse();
        }
    }

    /// Finds out what each element is sorted by.
    pub fn weigh(&mut self, cx: &mut Cx<'_, '_>, options: &Options<'_>) -> Result<(), Failure> {
        for index in 0..self.len() {
            let text = self.elements[index].text.clone();
            let (start, mut score) = (self.bytes.len(), None);
            let weight = match &options.by {
                None if options.by_text => continue,
                None => Weight::Score(score_of(&self.bytes[text]).ok_or(NOT_A_SCORE)?),
                Some(by) => {
                    let element = self.bytes[text].to_vec();
                    let bytes = &mut self.bytes;
                    let found = by.look(cx, &element, |_, value| match value {
                        Some(value) if options.by_text => bytes.extend_from_slice(value),
                        Some(value) => score = score_of(value),
                        None => score = Some(0.0),
                    });
                    found?;
                    match options.by_text {
                        // A score of 0 stands for nothing here.
                        true => Weight::Text(score.is_none().then_some(start..self.bytes.len())),
                        false => Weight::Score(score.ok_or(NOT_A_SCORE)?),
                    }
                }
            };
            self.elements[index].weight = weight;
        }
        Ok(())
    }

    /// Elements that are equal in all stay as they came.
    pub fn sort(&mut self, options: &Options<'_>) {
        let mut elements = std::mem::take(&mut self.elements);
        let whole = options.destination.is_some();
        elements.sort_by(|one, other| {
            let order = self.compare(one, other, whole);
            if options.descending { order.reverse() } else { order }
        });
        self.elements = elements;
    }

    fn compare(&self, one: &Element, other: &Element, whole: bool) -> Ordering {
        let text = |range: &Range<usize>| &self.bytes[range.clone()];
        // What is only returned is compared as the C library does it, up to the first zero byte.
        let collated = |range: &Range<usize>| if whole { text(range) } else { up_to_zero(text(range)) };
        match (&one.weight, &other.weight) {
            (Weight::Score(a), Weight::Score(b)) => {
                a.total_cmp(b).then_with(|| text(&one.text).cmp(text(&other.text)))
            }
            (Weight::Text(a), Weight::Text(b)) => a.as_ref().map(collated).cmp(&b.as_ref().map(collated)),
            _ => collated(&one.text).cmp(collated(&other.text)),
        }
    }
}

impl Sink for Gathered {
    fn string(&mut self, _value: Vec<u8>) {}

    fn element(&mut self, element: &[u8]) {
        self.add(element);
    }

    fn member(&mut self, member: &[u8]) -> bool {
        self.add(member);
        true
    }

    fn scored(&mut self, member: &[u8], _score: f64) -> bool {
        self.add(member);
        true
    }

    fn field(&mut self, _field: &[u8], _value: &[u8], _due_ms: Option<i64>) -> bool {
        true
    }

    fn entry(&mut self, _id: StreamId, _fields: EntryFields<'_>) {}

    fn stream(&mut self, _state: StreamState) {}

    fn group(&mut self, _group: Group) {}
}

/// A number as `strtod` reads it: up to the first zero byte, behind any spaces; nothing at all is 0.
fn score_of(text: &[u8]) -> Option<f64> {
    let text = up_to_zero(text);
    let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let number = &text[text.iter().take_while(|byte| is_space(byte)).count()..];
    // Zeros of either sign are equal.
    if text.is_empty() { Some(0.0) } else { parse_f64(number).map(|score| score + 0.0) }
}
