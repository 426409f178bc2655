//! Conditions on the value that a string has: the IF options of SET (`set.rs`), and the commands on one key that go with them.
//!
//! Redis has all of this since 8.4, but for DELIFEQ, which is Valkey's DELEX with IFEQ (9.0). Where both have something and differ (SET with IFEQ,
//! MSETEX) it is done as in Redis.

use twox_hash::XxHash3_64;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::READ_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::command::keys::Found;
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Args;

const DELEX_KEY: &[Keys] = &[Keys {
    notes: "The value is read only because of a condition.",
    exact: Some(key_of_delex),
    ..Keys::one(1, Access::ReadWrite, Effect::DELETE.and(Effect::VARIABLE))
}];

/// Hexadecimal digits of a digest.
const DIGITS: usize = 16;
const NOT_A_DIGEST: Failure = Failure::text("ERR must be exactly 16 hexadecimal characters");
const NOT_A_STRING: Failure = Failure::text("ERR Key should be of string type if conditions are specified");
const NOT_A_CONDITION: Failure = Failure::text("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "delex",
        syntax: "DELEX key [IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest]",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(N) where N is the length of the value, if there is a condition.",
        summary: "Deletes a key if its string value, or the digest of it, is as given, or is not. Without a condition a value of any type is deleted.",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
        keys: DELEX_KEY,
        tips: &[],
        subcommands: &[],
        run: delex,
    },
    CommandSpec {
        name: "delifeq",
        syntax: "DELIFEQ key value",
        group: Group::String,
        // Of Valkey.
        since: "9.0.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Deletes a key if its string value is as given (Valkey; DELEX with IFEQ does the same).",
        flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE),
        keys: &[Keys::one(1, Access::Remove, Effect::DELETE)],
        tips: &[],
        subcommands: &[],
        run: delifeq,
    },
    CommandSpec {
        name: "digest",
        syntax: "DIGEST key",
        group: Group::String,
        since: "8.4.0",
        complexity: "O(N) where N is the length of the value.",
        summary: "Returns the digest (XXH3, 64 bits, hexadecimal) of the string value of a key.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: READ_KEY,
        tips: &[],
        subcommands: &[],
        run: digest,
    },
];

fn key_of_delex(keys: &Keys, args: Args<'_>) -> Found {
    let access = if args.len() > 2 { keys.access } else { Access::Remove };
    Found { access, effect: Effect::DELETE, ..keys.declared(args) }
}

/// What is asked of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    Equal,
    Different,
    DigestEqual,
    DigestDifferent,
}

impl Test {
    /// The test that an option names.
    pub fn named(word: &[u8]) -> Option<Test> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match word.len() {
            4 if is(b"IFEQ") => Some(Test::Equal),
            4 if is(b"IFNE") => Some(Test::Different),
            5 if is(b"IFDEQ") => Some(Test::DigestEqual),
            5 if is(b"IFDNE") => Some(Test::DigestDifferent),
            _ => None,
        }
    }
}

/// A test with what it compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Comparison<'a> {
    pub test: Test,
    pub with: &'a [u8],
}

impl Comparison<'_> {
    /// Whether a key without a value passes: it is different from whatever is given.
    pub fn holds_of_none(self) -> bool {
        matches!(self.test, Test::Different | Test::DigestDifferent)
    }

    /// Whether this value passes.
    ///
    /// # Errors
    /// If a digest does not have 16 characters. One with others than hexadecimal digits is a digest of nothing, as in Redis.
    pub fn holds_of(self, value: &[u8]) -> Result<bool, Failure> {
        match self.test {
            Test::Equal => Ok(value == self.with),
            Test::Different => Ok(value != self.with),
            _ if self.with.len() != DIGITS => Err(NOT_A_DIGEST),
            Test::DigestEqual => Ok(digest_of(value).eq_ignore_ascii_case(self.with)),
            Test::DigestDifferent => Ok(!digest_of(value).eq_ignore_ascii_case(self.with)),
        }
    }
}

/// The digest of a value, as DIGEST shows it.
fn digest_of(value: &[u8]) -> [u8; DIGITS] {
    let hash = XxHash3_64::oneshot(value);
    std::array::from_fn(|place| b"0123456789abcdef"[(hash >> (4 * (DIGITS - 1 - place))) as usize & 15])
}

fn digest(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    match cx.read_as(key, Kind::String)?.map(|entry| digest_of(entry.value())) {
        Some(digits) => cx.reply.bulk(&digits),
        None => cx.reply.null(),
    }
    Ok(())
}

fn delex(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = match cx.args.len() {
        2 => cx.find(key),
        4 => cx.access(key),
        _ => return Err(cx.wrong_number_of_arguments()),
    };
    let Some(position) = found else {
        cx.reply.integer(0);
        return Ok(());
    };
    if cx.args.len() == 2 {
        return delete_if(cx, key, position, true);
    }
    // In Redis's order: the option is read only when there is a string to compare.
    if !cx.entry(key, position).is_string() {
        return Err(NOT_A_STRING);
    }
    let test = Test::named(cx.args.at(2)).ok_or(NOT_A_CONDITION)?;
    let comparison = Comparison { test, with: cx.args.at(3) };
    let holds = comparison.holds_of(cx.entry(key, position).value())?;
    delete_if(cx, key, position, holds)
}

fn delifeq(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::String)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let value = cx.args.at(2);
    let holds = cx.entry(key, position).value() == value;
    delete_if(cx, key, position, holds)
}

/// Deletes the key if that is so, and answers how many keys were deleted.
fn delete_if(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, holds: bool) -> Outcome {
    if holds {
        cx.remove(cx.client.database, key, position);
        cx.log(&[b"DEL", key.bytes]);
        cx.changed(Event::DEL, key);
    }
    cx.reply.integer(i64::from(holds));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests that others have published: redis.io of "Hello world", issue 14496 of redis/redis of one with zeros in front; XXH3's of nothing.
    #[test]
    fn digests_are_those_of_redis() {
        let zeros =
            b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd";
        assert_eq!(&digest_of(b"Hello world"), b"b6acb9d84a38ff74");
        assert_eq!(&digest_of(zeros), b"00006c38adf31777");
        assert_eq!(&digest_of(b""), b"2d06800538d394c2");
    }
}
