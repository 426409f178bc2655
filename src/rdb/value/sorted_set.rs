//! Sorted sets: members and scores one after the other, or as pairs of a ziplist or listpack.

use std::io::Read;

use super::super::error::{Error, Problem};
use super::super::source::Source;
use super::listpack::Listpack;
use super::packed::{Malformed, Text, for_pairs};
use super::ziplist::Ziplist;
use super::{Decoded, Sink, at, new, packed};
use crate::base::number::parse_f64;

/// How the score of a member is written.
#[derive(Clone, Copy)]
pub enum Scores {
    /// As digits.
    Text,
    /// As a double of 8 bytes.
    Binary,
}

/// First bytes of a score as text that has no digits.
const NOT_A_NUMBER: u8 = 253;
const INFINITE: u8 = 254;
const NEGATIVE_INFINITE: u8 = 255;

const NO_SCORE: Malformed = Malformed("a score that is not a number");

pub fn plain<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink, scores: Scores) -> Result<Decoded, Error> {
    let (count, mut member) = (source.length()?, Vec::new());
    for _ in 0..count {
        let offset = source.offset();
        source.string_into(&mut member)?;
        let score = match scores {
            Scores::Text => text_score(source)?,
            Scores::Binary => f64::from_le_bytes(source.array()?),
        };
        if score.is_nan() {
            return Err(at(offset, NO_SCORE));
        }
        new(sink.scored(&member, score)).map_err(|malformed| at(offset, malformed))?;
    }
    Ok(Decoded::of_count(count))
}

/// A length of one byte and so many digits; the three highest lengths are the numbers that have no digits.
fn text_score<R: Read>(source: &mut Source<R>) -> Result<f64, Error> {
    let offset = source.offset();
    match source.byte()? {
        NOT_A_NUMBER => Ok(f64::NAN),
        INFINITE => Ok(f64::INFINITY),
        NEGATIVE_INFINITE => Ok(f64::NEG_INFINITY),
        length => {
            let digits = source.bytes(u64::from(length))?;
            let Malformed(what) = NO_SCORE;
            parse_f64(&digits).ok_or(Error { offset, problem: Problem::Malformed(what) })
        }
    }
}

pub fn ziplist<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| give(Ziplist::new(bytes)?, sink)).map(Decoded::of_count)
}

pub fn listpack<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| give(Listpack::new(bytes)?, sink)).map(Decoded::of_count)
}

fn give<'a>(
    elements: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    sink: &mut dyn Sink,
) -> Result<u64, Malformed> {
    let digits = &mut itoa::Buffer::new();
    for_pairs(elements, |member, score| {
        let score = score.score()?;
        new(sink.scored(member.bytes(digits), score))
    })
}
