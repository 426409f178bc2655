//! Lists: one string an element, one ziplist, or nodes of ziplists or listpacks.

use std::io::Read;

use super::super::error::Error;
use super::super::source::Source;
use super::listpack::Listpack;
use super::packed::{Malformed, Text};
use super::ziplist::Ziplist;
use super::{Decoded, Sink, packed};

/// A node that is one element.
const PLAIN: u64 = 1;
/// A node that is packed elements.
const PACKED: u64 = 2;

/// What the nodes of a list are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    Ziplists,
    /// Each with a number in front that says which.
    ListpacksAndPlain,
}

pub fn plain<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    let (count, mut element) = (source.length()?, Vec::new());
    for _ in 0..count {
        source.string_into(&mut element)?;
        sink.element(&element);
    }
    Ok(Decoded::of_count(count))
}

pub fn ziplist<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| give(Ziplist::new(bytes)?, sink)).map(Decoded::of_count)
}

/// Packed nodes may be empty, plain ones not.
pub fn nodes<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink, nodes: Nodes) -> Result<Decoded, Error> {
    let mut elements = 0;
    for _ in 0..source.length()? {
        let content = match nodes {
            Nodes::Ziplists => PACKED,
            Nodes::ListpacksAndPlain => source.length()?,
        };
        elements += packed(source, |bytes| match (content, nodes) {
            (PLAIN, _) if bytes.is_empty() => Err(Malformed("a plain node without an element")),
            (PLAIN, _) => {
                sink.element(bytes);
                Ok(1)
            }
            (PACKED, Nodes::Ziplists) => give(Ziplist::new(bytes)?, sink),
            (PACKED, Nodes::ListpacksAndPlain) => give(Listpack::new(bytes)?, sink),
            _ => Err(Malformed("a node of an unknown kind")),
        })?;
    }
    Ok(Decoded::of_count(elements))
}

fn give<'a>(
    elements: impl Iterator<Item = Result<Text<'a>, Malformed>>,
    sink: &mut dyn Sink,
) -> Result<u64, Malformed> {
    let (mut count, digits) = (0, &mut itoa::Buffer::new());
    for element in elements {
        sink.element(element?.bytes(digits));
        count += 1;
    }
    Ok(count)
}
