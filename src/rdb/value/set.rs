//! Sets: one string a member, an intset, or a listpack.

use std::io::Read;

use super::super::error::Error;
use super::super::source::Source;
use super::intset::for_members;
use super::listpack::Listpack;
use super::{Decoded, Sink, TWICE, at, new, packed};

pub fn plain<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    let (count, mut member) = (source.length()?, Vec::new());
    for _ in 0..count {
        let offset = source.offset();
        source.string_into(&mut member)?;
        if !sink.member(&member) {
            return Err(at(offset, TWICE));
        }
    }
    Ok(Decoded::of_count(count))
}

pub fn intset<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    let digits = &mut itoa::Buffer::new();
    packed(source, |bytes| for_members(bytes, |member| new(sink.member(digits.format(member).as_bytes()))))?;
    Ok(Decoded::Whole)
}

pub fn listpack<R: Read>(source: &mut Source<R>, sink: &mut dyn Sink) -> Result<Decoded, Error> {
    packed(source, |bytes| {
        let (mut count, digits) = (0, &mut itoa::Buffer::new());
        for member in Listpack::new(bytes)? {
            new(sink.member(member?.bytes(digits)))?;
            count += 1;
        }
        Ok(Decoded::of_count(count))
    })
}
