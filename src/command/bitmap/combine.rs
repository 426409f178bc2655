//! Whole bitmaps: BITOP.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::{Deadline, Event};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::words::combine;
use crate::keyspace::{Key, Kind};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "bitop",
    syntax: "BITOP operation destkey key [key ...]",
    group: Group::Bitmap,
    since: "2.6.0",
    complexity: "O(N) where N is the length of all values together.",
    summary: "Combines the string values of several keys bit by bit (AND, OR, XOR, NOT, DIFF, DIFF1, ANDOR, ONE), and stores the result.",
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
    keys: &[
        Keys::one(2, Access::Overwrite, Effect::UPDATE),
        Keys::to_end(3, 1, Access::ReadOnly, Effect::ACCESS),
    ],
    tips: &[],
    subcommands: &[],
    run: bitop,
}];

/// The first key of the sources.
const FIRST: usize = 3;

/// What is done with the sources: X is the first of them, and Y any other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    /// Of the only one.
    Not,
    /// In X and in no Y.
    Diff,
    /// In some Y and not in X.
    Diff1,
    /// In X and in some Y.
    AndOr,
    /// In exactly one.
    One,
}

impl Operation {
    const NAMES: [(&'static str, Operation); 8] = [
        ("AND", Operation::And),
        ("OR", Operation::Or),
        ("XOR", Operation::Xor),
        ("NOT", Operation::Not),
        ("DIFF", Operation::Diff),
        ("DIFF1", Operation::Diff1),
        ("ANDOR", Operation::AndOr),
        ("ONE", Operation::One),
    ];

    fn named(word: &[u8], sources: usize) -> Result<Operation, Failure> {
        let named = Operation::NAMES.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
        let (name, operation) = named.ok_or(Failure::SYNTAX)?;
        match operation {
            Operation::Not if sources != 1 => {
                Err(Failure::text("ERR BITOP NOT must be called with a single source key."))
            }
            Operation::Diff | Operation::Diff1 | Operation::AndOr if sources < 2 => {
                Err(Failure::owned(format!("ERR BITOP {name} must be called with at least two source keys.")))
            }
            _ => Ok(*operation),
        }
    }
}

fn bitop(cx: &mut Cx<'_, '_>) -> Outcome {
    let operation = Operation::named(cx.args.at(1), cx.args.len() - FIRST)?;
    let length = longest_source(cx)?;
    let key = cx.key(2)?;
    if length == 0 {
        if let Some(position) = cx.find(key) {
            cx.remove(cx.client.database, key, position);
            cx.changed(Event::DEL, key);
        }
    } else {
        let result = combined(cx, operation, length)?;
        let found = cx.find(key);
        cx.store_as(key, found, &result, Kind::Raw, Deadline::Clear);
        cx.changed(Event::SET, key);
    }
    cx.reply.integer(length as i64);
    Ok(())
}

/// The length of the longest source, which is that of the result.
fn longest_source(cx: &mut Cx<'_, '_>) -> Result<usize, Failure> {
    let mut longest = 0;
    for index in FIRST..cx.args.len() {
        let length = cx.read_as(cx.key(index)?, Kind::String)?.map_or(0, |entry| entry.value().len());
        longest = longest.max(length);
    }
    Ok(longest)
}

/// The value of a source; one that is missing is empty.
fn source<'c>(cx: &'c mut Cx<'_, '_>, key: Key<'_>) -> &'c [u8] {
    match cx.find(key) {
        Some(position) => cx.entry(key, position).value(),
        None => &[],
    }
}

fn combined(cx: &mut Cx<'_, '_>, operation: Operation, length: usize) -> Result<Vec<u8>, Failure> {
    let first = padded(cx, FIRST, length)?;
    match operation {
        Operation::And => fold(cx, FIRST + 1, first, |x, y| x & y),
        Operation::Or => fold(cx, FIRST + 1, first, |x, y| x | y),
        Operation::Xor => fold(cx, FIRST + 1, first, |x, y| x ^ y),
        Operation::Not => Ok(inverted(first)),
        Operation::Diff => fold(cx, FIRST + 1, first, |x, y| x & !y),
        Operation::Diff1 => {
            let others = any_other(cx, length)?;
            Ok(joined(first, &others, |x, y| y & !x))
        }
        Operation::AndOr => {
            let others = any_other(cx, length)?;
            Ok(joined(first, &others, |x, y| x & y))
        }
        Operation::One => exactly_one(cx, first),
    }
}

/// The source at an argument, with zeros behind it up to `length`.
fn padded(cx: &mut Cx<'_, '_>, index: usize, length: usize) -> Result<Vec<u8>, Failure> {
    let key = cx.key(index)?;
    let mut made = Vec::with_capacity(length);
    made.extend_from_slice(source(cx, key));
    made.resize(length, 0);
    Ok(made)
}

/// Changes `result` by each source from the argument `from` on.
fn fold(
    cx: &mut Cx<'_, '_>,
    from: usize,
    mut result: Vec<u8>,
    operation: impl Fn(u64, u64) -> u64,
) -> Result<Vec<u8>, Failure> {
    for index in from..cx.args.len() {
        let key = cx.key(index)?;
        combine(&mut result, source(cx, key), &operation);
    }
    Ok(result)
}

fn joined(mut into: Vec<u8>, from: &[u8], operation: impl Fn(u64, u64) -> u64) -> Vec<u8> {
    combine(&mut into, from, operation);
    into
}

fn inverted(bytes: Vec<u8>) -> Vec<u8> {
    joined(bytes, &[], |x, _| !x)
}

/// What is in some Y.
fn any_other(cx: &mut Cx<'_, '_>, length: usize) -> Result<Vec<u8>, Failure> {
    let second = padded(cx, FIRST + 1, length)?;
    fold(cx, FIRST + 2, second, |x, y| x | y)
}

/// What is in one source and in no other; `first` is the first.
fn exactly_one(cx: &mut Cx<'_, '_>, first: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let (mut some, mut several) = (first, Vec::new());
    several.resize(some.len(), 0);
    for index in FIRST + 1..cx.args.len() {
        let key = cx.key(index)?;
        let source = source(cx, key);
        let both = joined(some.clone(), source, |x, y| x & y);
        combine(&mut several, &both, |x, y| x | y);
        combine(&mut some, source, |x, y| x | y);
    }
    Ok(joined(some, &several, |x, y| x & !y))
}
