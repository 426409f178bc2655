//! PFADD, PFCOUNT, PFMERGE.
//!
//! PFCOUNT of one key keeps its estimate in the sketch. That is a change of the value: the log and watchers know of it, as in Redis, and no event tells of it.

use std::slice;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::{Deadline, Event};
use super::super::keys::INSERT_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::estimate::estimate;
use super::hash::register_of;
use super::sketch::{self, REGISTERS, Registers};
use super::{access, find};
use crate::keyspace::{Key, Kind, Position};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfadd",
        syntax: "PFADD key [element [element ...]]",
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(1) for each element.",
        summary: "Adds elements to a HyperLogLog. Creates the key if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: INSERT_KEY,
        tips: &[],
        subcommands: &[],
        run: pfadd,
    },
    CommandSpec {
        name: "pfcount",
        syntax: "PFCOUNT key [key ...]",
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(1) for one key, whose estimate is kept; O(N) for N keys.",
        summary: "Estimates how many different elements HyperLogLogs have together.",
        flags: Flags::READONLY.and(Flags::MAY_REPLICATE).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys {
            notes: "The estimate of one key is kept in its value.",
            ..Keys::to_end(1, 1, Access::ReadWrite, Effect::ACCESS)
        }],
        tips: &[],
        subcommands: &[],
        run: pfcount,
    },
    CommandSpec {
        name: "pfmerge",
        syntax: "PFMERGE destkey [sourcekey [sourcekey ...]]",
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(N) where N is the number of keys.",
        summary: "Merges HyperLogLogs into one, which is created if it does not exist.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[
            Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::INSERT)),
            Keys::to_end(2, 1, Access::ReadOnly, Effect::ACCESS),
        ],
        tips: &[],
        subcommands: &[],
        run: pfmerge,
    },
];

fn pfadd(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let found = find(cx, key)?;
    let raised = match found {
        Some(position) if sketch::is_dense(cx.entry(key, position).value()) => add_dense(cx, key, position),
        _ => add_sparse(cx, key, found)?,
    };
    if raised > 0 {
        cx.changed(Event::PFADD, key);
        cx.changed_keyspace(raised - 1);
    }
    cx.reply.integer(i64::from(raised > 0));
    Ok(())
}

/// Adds the elements to a sketch that keeps its length; says how many registers have risen.
fn add_dense(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) -> u64 {
    let args = cx.args;
    cx.touch(key, position);
    let value = cx.entry(key, position).value();
    let length = value.len();
    let rises = |element| {
        let (register, run) = register_of(element);
        run > sketch::dense_register(value, register)
    };
    if !args.iter_from(2).any(rises) {
        return 0;
    }
    let (partition, site) = cx.partition(key);
    partition.edit_value(site, position, (length, Kind::Raw), slice::from_ref(&(0..length)), |bytes| {
        sketch::forget_cached(bytes);
        let raised = args
            .iter_from(2)
            .map(register_of)
            .filter(|(register, run)| sketch::raise_dense(bytes, *register, *run));
        raised.count() as u64
    })
}

/// Adds the elements to a sketch that may change its length, or is not there yet; says how many registers have risen, a new sketch counting as one.
fn add_sparse(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>) -> Result<u64, Failure> {
    let (mut bytes, mut raised) = copy_or_new(cx, key, found);
    for element in cx.args.iter_from(2) {
        let (register, run) = register_of(element);
        raised += u64::from(sketch::raise(&mut bytes, register, run, sparse_max(cx))?);
    }
    if raised > 0 {
        sketch::forget_cached(&mut bytes);
        cx.store_as(key, found, &bytes, Kind::Raw, Deadline::Keep);
    } else if let Some(position) = found {
        cx.touch(key, position);
    }
    Ok(raised)
}

/// The sketch at a position, or a new one; and whether it is new.
fn copy_or_new(cx: &mut Cx<'_, '_>, key: Key<'_>, found: Option<Position>) -> (Vec<u8>, u64) {
    match found {
        Some(position) => (cx.entry(key, position).value().to_vec(), 0),
        None => (sketch::empty(), 1),
    }
}

fn sparse_max(cx: &Cx<'_, '_>) -> usize {
    usize::try_from(cx.config().hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

fn pfcount(cx: &mut Cx<'_, '_>) -> Outcome {
    let count = if cx.args.len() == 2 { count_one(cx)? } else { count_several(cx)? };
    cx.reply.integer(count as i64);
    Ok(())
}

fn count_one(cx: &mut Cx<'_, '_>) -> Result<u64, Failure> {
    let key = cx.key(1)?;
    let Some(position) = access(cx, key)? else { return Ok(0) };
    let value = cx.entry(key, position).value();
    if let Some(count) = sketch::cached(value) {
        return Ok(count);
    }
    let (count, length) = (estimate(&sketch::histogram(value)?), value.len());
    let (partition, site) = cx.partition(key);
    partition.edit_value(site, position, (length, Kind::Raw), slice::from_ref(&(0..length)), |bytes| {
        sketch::set_cached(bytes, count);
    });
    cx.changed_silently(key);
    Ok(count)
}

fn count_several(cx: &mut Cx<'_, '_>) -> Result<u64, Failure> {
    let mut registers = [0; REGISTERS];
    merge_keys(cx, &mut registers)?;
    Ok(estimate(&sketch::histogram_of(&registers)))
}

/// Raises registers to those of all keys of the request; says whether one of these is dense.
fn merge_keys(cx: &mut Cx<'_, '_>, registers: &mut Registers) -> Result<bool, Failure> {
    let mut any_dense = false;
    for index in 1..cx.args.len() {
        let key = cx.key(index)?;
        if let Some(position) = access(cx, key)? {
            let value = cx.entry(key, position).value();
            any_dense |= sketch::is_dense(value);
            sketch::merge_into(registers, value)?;
        }
    }
    Ok(any_dense)
}

fn pfmerge(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut registers = [0; REGISTERS];
    let any_dense = merge_keys(cx, &mut registers)?;
    let key = cx.key(1)?;
    let found = find(cx, key)?;
    let (mut bytes, _) = copy_or_new(cx, key, found);
    if any_dense {
        bytes = sketch::to_dense(&bytes)?;
    }
    for (register, value) in registers.iter().enumerate().filter(|(_, value)| **value != 0) {
        sketch::raise(&mut bytes, register, *value, sparse_max(cx))?;
    }
    sketch::forget_cached(&mut bytes);
    cx.store_as(key, found, &bytes, Kind::Raw, Deadline::Keep);
    cx.changed(Event::PFADD, key);
    cx.reply.ok();
    Ok(())
}
