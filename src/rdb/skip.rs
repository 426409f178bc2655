//! Going past values that nobody has asked for, and remembering which they were.
//!
//! The format has no length in front of a value, so each type's structure must be walked. Compact encodings (ziplist, listpack, intset,
//! zipmap) are one string each.

use std::borrow::Cow;
use std::io::Read;

use super::error::{Error, Problem};
use super::source::Source;

/// Keys of one type that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedType {
    /// What TYPE would say; for what is no key, `function` or `module data`.
    pub name: Cow<'static, str>,
    pub count: u64,
    /// The first of them; empty for what is no key.
    pub first_key: Vec<u8>,
}

/// What a reader has walked over, by type in the order of appearance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    pub types: Vec<SkippedType>,
}

impl Skipped {
    /// Counts one more.
    pub fn add(&mut self, name: impl Into<Cow<'static, str>>, key: &[u8]) {
        let name = name.into();
        match self.types.iter_mut().find(|skipped| skipped.name == name) {
            Some(skipped) => skipped.count += 1,
            None => self.types.push(SkippedType { name, count: 1, first_key: key.to_vec() }),
        }
    }

    /// How many there were of all types.
    pub fn count(&self) -> u64 {
        self.types.iter().map(|skipped| skipped.count).sum()
    }
}

impl std::fmt::Display for Skipped {
    /// `3 of type list (the first is "a"), 1 of type hash (the first is "h")`
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, skipped) in self.types.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(formatter, "{comma}{} of type {}", skipped.count, skipped.name)?;
            if !skipped.first_key.is_empty() {
                write!(formatter, " (the first is \"{}\")", skipped.first_key.escape_ascii())?;
            }
        }
        Ok(())
    }
}

/// How a value lies in the input.
#[derive(Clone, Copy)]
enum Shape {
    /// One string.
    Packed,
    /// A minimal deadline of 8 bytes, then one string.
    PackedWithDeadline,
    /// A count, then for each element this.
    Elements(Element),
    /// A minimal deadline of 8 bytes, then a count and elements.
    ElementsWithDeadline(Element),
    /// A stream in this revision of its form.
    Stream(u32),
    /// Parts with opcodes, behind a module's id.
    Module,
}

#[derive(Clone, Copy)]
enum Element {
    String,
    /// Field and value.
    Pair,
    /// A number, then a string: a node of a quicklist with the kind of its content.
    NumberAndString,
    /// A number, then field and value: a field with its time to live.
    NumberAndPair,
    /// Field and value, then a deadline of 8 bytes.
    PairAndDeadline,
    /// A string and a score as text.
    TextScore,
    /// A string and a score of 8 bytes.
    BinaryScore,
}

/// The name and form of a type. Byte 22 means different things to Redis and Valkey, and later ones are Redis's only.
fn type_of(byte: u8, valkey: bool) -> Option<(&'static str, Shape)> {
    Some(match byte {
        0 => ("string", Shape::Packed),
        1 | 14 => ("list", Shape::Elements(Element::String)),
        2 => ("set", Shape::Elements(Element::String)),
        3 => ("zset", Shape::Elements(Element::TextScore)),
        4 => ("hash", Shape::Elements(Element::Pair)),
        5 => ("zset", Shape::Elements(Element::BinaryScore)),
        7 => ("module", Shape::Module),
        10 => ("list", Shape::Packed),
        11 | 20 => ("set", Shape::Packed),
        12 | 17 => ("zset", Shape::Packed),
        9 | 13 | 16 => ("hash", Shape::Packed),
        15 => ("stream", Shape::Stream(1)),
        18 => ("list", Shape::Elements(Element::NumberAndString)),
        19 => ("stream", Shape::Stream(2)),
        21 => ("stream", Shape::Stream(3)),
        22 if valkey => ("hash", Shape::Elements(Element::PairAndDeadline)),
        // 22 and 23 were written by release candidates of Redis 7.4 only.
        22 => ("hash", Shape::Elements(Element::NumberAndPair)),
        23 if !valkey => ("hash", Shape::Packed),
        24 if !valkey => ("hash", Shape::ElementsWithDeadline(Element::NumberAndPair)),
        25 if !valkey => ("hash", Shape::PackedWithDeadline),
        _ => return None,
    })
}

/// What TYPE says of a value whose encoding is `byte`, if that is a known one.
pub fn type_name(byte: u8, valkey: bool) -> Option<&'static str> {
    if byte == MODULE_WITHOUT_OPCODES { Some("module") } else { type_of(byte, valkey).map(|(name, _)| name) }
}

const MODULE_WITHOUT_OPCODES: u8 = 6;

/// Goes past a value whose type byte was read at `offset`; gives the name of its type.
pub fn skip_value<R: Read>(
    source: &mut Source<R>,
    byte: u8,
    offset: u64,
    valkey: bool,
) -> Result<&'static str, Error> {
    if byte == MODULE_WITHOUT_OPCODES {
        return Err(Error { offset, problem: Problem::ModuleWithoutOpcodes });
    }
    let (name, shape) = type_of(byte, valkey).ok_or(Error { offset, problem: Problem::UnknownType(byte) })?;
    match shape {
        Shape::Packed => source.skip_string()?,
        Shape::PackedWithDeadline => {
            source.skip(8)?;
            source.skip_string()?;
        }
        Shape::Elements(element) => skip_elements(source, element)?,
        Shape::ElementsWithDeadline(element) => {
            source.skip(8)?;
            skip_elements(source, element)?;
        }
        Shape::Stream(revision) => skip_stream(source, revision)?,
        Shape::Module => {
            source.length()?;
            skip_module_parts(source)?;
        }
    }
    Ok(name)
}

fn skip_elements<R: Read>(source: &mut Source<R>, element: Element) -> Result<(), Error> {
    for _ in 0..source.length()? {
        match element {
            Element::String => source.skip_string()?,
            Element::Pair => skip_strings(source, 2)?,
            Element::NumberAndString => {
                source.length()?;
                source.skip_string()?;
            }
            Element::NumberAndPair => {
                source.length()?;
                skip_strings(source, 2)?;
            }
            Element::PairAndDeadline => {
                skip_strings(source, 2)?;
                source.skip(8)?;
            }
            Element::TextScore => {
                source.skip_string()?;
                skip_text_score(source)?;
            }
            Element::BinaryScore => {
                source.skip_string()?;
                source.skip(8)?;
            }
        }
    }
    Ok(())
}

fn skip_strings<R: Read>(source: &mut Source<R>, count: u64) -> Result<(), Error> {
    (0..count).try_for_each(|_| source.skip_string())
}

fn skip_lengths<R: Read>(source: &mut Source<R>, count: u64) -> Result<(), Error> {
    (0..count).try_for_each(|_| source.length().map(drop))
}

/// A length of one byte and so many digits; the three highest lengths are the numbers that have no digits.
fn skip_text_score<R: Read>(source: &mut Source<R>) -> Result<(), Error> {
    match source.byte()? {
        253.. => Ok(()),
        length => source.skip(u64::from(length)),
    }
}

/// Identifier of an entry among pending ones.
const STREAM_ID_BYTES: u64 = 16;
const TIME_BYTES: u64 = 8;

fn skip_stream<R: Read>(source: &mut Source<R>, revision: u32) -> Result<(), Error> {
    // Nodes, each with its first id and a listpack.
    skip_elements(source, Element::Pair)?;
    // Length and last id; from revision 2 on the first id, the largest deleted one and the number of entries ever added.
    skip_lengths(source, if revision >= 2 { 8 } else { 3 })?;
    for _ in 0..source.length()? {
        skip_consumer_group(source, revision)?;
    }
    Ok(())
}

fn skip_consumer_group<R: Read>(source: &mut Source<R>, revision: u32) -> Result<(), Error> {
    source.skip_string()?;
    // The last id that was delivered; from revision 2 on also how many entries were read.
    skip_lengths(source, if revision >= 2 { 3 } else { 2 })?;
    for _ in 0..source.length()? {
        source.skip(STREAM_ID_BYTES + TIME_BYTES)?;
        source.length()?;
    }
    for _ in 0..source.length()? {
        source.skip_string()?;
        // When the consumer was seen; from revision 3 on also when it was active.
        source.skip(if revision >= 3 { 2 * TIME_BYTES } else { TIME_BYTES })?;
        for _ in 0..source.length()? {
            source.skip(STREAM_ID_BYTES)?;
        }
    }
    Ok(())
}

/// Goes past what a module wrote, behind its id: parts, each with an opcode that says what follows, up to the end mark.
pub fn skip_module_parts<R: Read>(source: &mut Source<R>) -> Result<(), Error> {
    const END: u64 = 0;
    const SIGNED: u64 = 1;
    const UNSIGNED: u64 = 2;
    const FLOAT: u64 = 3;
    const DOUBLE: u64 = 4;
    const STRING: u64 = 5;
    loop {
        let offset = source.offset();
        match source.length()? {
            END => return Ok(()),
            SIGNED | UNSIGNED => drop(source.length()?),
            FLOAT => source.skip(4)?,
            DOUBLE => source.skip(8)?,
            STRING => source.skip_string()?,
            other => return Err(Error { offset, problem: Problem::ModuleOpcode(other) }),
        }
    }
}
