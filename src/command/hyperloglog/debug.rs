//! PFDEBUG, which shows how a sketch is stored, and PFSELFTEST.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Deadline;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::estimate::estimate;
use super::find;
use super::hash::register_of;
use super::sketch::{self, REGISTERS, Run};
use crate::base::random::Random;
use crate::keyspace::{Key, Kind, Position};

const ADMIN: Flags = Flags::ADMIN;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "pfdebug",
        syntax: "PFDEBUG subcommand key",
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(N) where N is the number of registers.",
        summary: "Shows how a HyperLogLog is stored (GETREG, DECODE, ENCODING), or makes it dense (TODENSE). For tests.",
        flags: ADMIN.and(Flags::WRITE).and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys::one(2, Access::ReadWrite, Effect::ACCESS)],
        tips: &[],
        subcommands: &[],
        run: pfdebug,
    },
    CommandSpec {
        name: "pfselftest",
        syntax: "PFSELFTEST",
        group: Group::HyperLogLog,
        since: "2.8.9",
        complexity: "O(1)",
        summary: "Tests registers and estimates of HyperLogLogs.",
        flags: ADMIN,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: pfselftest,
    },
];

fn pfdebug(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(2)?;
    let position = find(cx, key)?.ok_or(Failure::text("ERR The specified key does not exist"))?;
    let word = cx.args.at(1);
    let is_dense = sketch::is_dense(cx.entry(key, position).value());
    match word.to_ascii_uppercase().as_slice() {
        b"GETREG" => {
            make_dense(cx, key, position)?;
            reply_registers(cx, key)?;
        }
        b"DECODE" if is_dense => return Err(Failure::text("ERR HLL encoding is not sparse")),
        b"DECODE" => {
            let text = decoded(cx.entry(key, position).value());
            cx.reply.bulk(text.as_bytes());
        }
        b"ENCODING" => cx.reply.simple(if is_dense { "dense" } else { "sparse" }),
        b"TODENSE" => {
            make_dense(cx, key, position)?;
            cx.reply.integer(i64::from(!is_dense));
        }
        _ => return Err(Failure::echo("ERR Unknown PFDEBUG subcommand '", word, "'")),
    }
    Ok(())
}

/// Stores a sparse sketch anew in dense form, which is no change of what it says.
fn make_dense(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position) -> Outcome {
    let value = cx.entry(key, position).value();
    if sketch::is_dense(value) {
        return Ok(());
    }
    let dense = sketch::to_dense(value)?;
    cx.store_as(key, Some(position), &dense, Kind::Raw, Deadline::Keep);
    cx.changed_keyspace(1);
    Ok(())
}

fn reply_registers(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Outcome {
    let position = find(cx, key)?.ok_or(Failure::NO_SUCH_KEY)?;
    let (entry, reply) = cx.entry_and_reply(key, position);
    reply.array(REGISTERS);
    for register in 0..REGISTERS {
        reply.integer(i64::from(sketch::dense_register(entry.value(), register)));
    }
    Ok(())
}

/// The opcodes of a sparse sketch as text.
fn decoded(bytes: &[u8]) -> String {
    let shown = |run: Run| match run {
        Run { value: 0, len, long: true, .. } => format!("Z:{len}"),
        Run { value: 0, len, .. } => format!("z:{len}"),
        Run { value, len, .. } => format!("v:{value},{len}"),
    };
    sketch::runs(bytes).map(shown).collect::<Vec<_>>().join(" ")
}

const SELF_TEST_ELEMENTS: u64 = 100_000;
/// Six standard errors.
const SELF_TEST_ERROR: f64 = 6.0 * 1.04 / 128.0;

fn pfselftest(cx: &mut Cx<'_, '_>) -> Outcome {
    let sparse_max = usize::try_from(cx.config().hll_sparse_max_bytes).unwrap_or(usize::MAX);
    self_test(&mut cx.state.random, sparse_max)?;
    cx.reply.ok();
    Ok(())
}

/// Elements go into a sketch that begins sparse and one that is dense from the start: both must agree, and be near.
fn self_test(random: &mut Random, sparse_max: usize) -> Outcome {
    let (seed, mut dense, mut grown) =
        (random.next_u64(), sketch::to_dense(&sketch::empty())?, sketch::empty());
    let mut checkpoint = 1;
    for count in 1..=SELF_TEST_ELEMENTS {
        let (register, run) = register_of(&(count ^ seed).to_le_bytes());
        sketch::raise_dense(&mut dense, register, run);
        sketch::raise(&mut grown, register, run, sparse_max)?;
        if count == checkpoint {
            check_estimates(count, &dense, &grown)?;
            checkpoint *= 10;
        }
    }
    Ok(())
}

fn check_estimates(count: u64, dense: &[u8], grown: &[u8]) -> Outcome {
    let estimated = estimate(&sketch::histogram(dense)?);
    if estimated != estimate(&sketch::histogram(grown)?) {
        return Err(Failure::text("ERR TESTFAILED dense/sparse disagree"));
    }
    let error = estimated.abs_diff(count);
    if error > (SELF_TEST_ERROR * count as f64).ceil() as u64 {
        return Err(Failure::owned(format!("ERR TESTFAILED Too big error. card:{count} abserr:{error}")));
    }
    Ok(())
}
