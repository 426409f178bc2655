//! ZADD and ZINCRBY.

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{READ_AND_UPDATE_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags};
use super::{CHANGE, NOT_A_FLOAT, ROW, listpack_limits, scores_mut};
use crate::base::number::parse_f64;
use crate::keyspace::Kind;

const NOT_A_NUMBER: Failure = Failure::text("ERR resulting score is not a number (NaN)");

const FLAGS: Flags = CHANGE.and(Flags::DENYOOM).and(Flags::FAST);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "zadd",
        syntax: "ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]",
        complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        summary: "Adds members to a sorted set, or gives them other scores. Creates the set if it does not exist.",
        flags: FLAGS,
        keys: UPDATE_KEY,
        run: zadd,
        ..ROW
    },
    CommandSpec {
        name: "zincrby",
        syntax: "ZINCRBY key increment member",
        complexity: "O(log(N)) where N is the number of elements in the sorted set.",
        summary: "Adds to the score of a member of a sorted set. A missing member counts as 0.",
        flags: FLAGS.and(Flags::FLOAT_INCREMENT),
        keys: READ_AND_UPDATE_KEY,
        run: zincrby,
        ..ROW
    },
];

/// What a word in front of scores asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    Nx,
    Xx,
    Gt,
    Lt,
    Ch,
    Incr,
}

/// Which members are added or changed, and what is told.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Members that are there stay as they are.
    pub only_new: bool,
    /// Members that are not there are not added.
    pub only_there: bool,
    only_greater: bool,
    only_less: bool,
    /// Changed members are counted, too.
    pub count_changed: bool,
    increments: bool,
}

impl Options {
    pub fn set(&mut self, flag: Flag) {
        match flag {
            Flag::Nx => self.only_new = true,
            Flag::Xx => self.only_there = true,
            Flag::Gt => self.only_greater = true,
            Flag::Lt => self.only_less = true,
            Flag::Ch => self.count_changed = true,
            Flag::Incr => self.increments = true,
        }
    }

    /// Reads the words from argument `at` on; gives the place of the first that is none of `known`.
    pub fn parse(cx: &Cx<'_, '_>, mut at: usize, known: &[(&str, Flag)]) -> (Options, usize) {
        let mut options = Options::default();
        while let Some(word) = cx.args.get(at) {
            let is_it = |(name, _): &&(&str, Flag)| word.eq_ignore_ascii_case(name.as_bytes());
            let Some((_, flag)) = known.iter().find(is_it) else { break };
            options.set(*flag);
            at += 1;
        }
        (options, at)
    }

    fn check(&self, pairs: usize) -> Result<(), Failure> {
        if self.only_new && self.only_there {
            return Err(Failure::text("ERR XX and NX options at the same time are not compatible"));
        }
        let several = (self.only_greater || self.only_less) && self.only_new;
        if several || self.only_greater && self.only_less {
            return Err(Failure::text("ERR GT, LT, and/or NX options at the same time are not compatible"));
        }
        if self.increments && pairs > 1 {
            return Err(Failure::text("ERR INCR option supports a single increment-element pair"));
        }
        Ok(())
    }

    /// The score that a member gets that has or has not one; `None` if it stays as it is.
    fn decide(&self, before: Option<f64>, given: f64) -> Option<f64> {
        let Some(before) = before else { return Some(given).filter(|_| !self.only_there) };
        if self.only_new {
            return None;
        }
        let score = if self.increments { before + given } else { given };
        let stays = self.only_less && score >= before || self.only_greater && score <= before;
        (!stays).then_some(score)
    }
}

/// Scores and members of a request.
pub type Pairs<'a> = SmallVec<[(f64, &'a [u8]); 4]>;

const WORDS: &[(&str, Flag)] = &[
    ("NX", Flag::Nx),
    ("XX", Flag::Xx),
    ("CH", Flag::Ch),
    ("INCR", Flag::Incr),
    ("GT", Flag::Gt),
    ("LT", Flag::Lt),
];

fn zadd(cx: &mut Cx<'_, '_>) -> Outcome {
    let (options, first) = Options::parse(cx, 2, WORDS);
    add_arguments(cx, options, first)
}

fn zincrby(cx: &mut Cx<'_, '_>) -> Outcome {
    // An increment that reads as an option of ZADD is one in Redis, and then too few words are left.
    let (mut options, first) = Options::parse(cx, 2, WORDS);
    options.set(Flag::Incr);
    add_arguments(cx, options, first)
}

fn add_arguments(cx: &mut Cx<'_, '_>, options: Options, first: usize) -> Outcome {
    let args = cx.args;
    let count = args.len() - first;
    if count == 0 || !count.is_multiple_of(2) {
        return Err(Failure::SYNTAX);
    }
    options.check(count / 2)?;
    let pairs = (first..args.len()).step_by(2).map(|at| {
        let score = parse_f64(args.at(at)).ok_or(NOT_A_FLOAT)?;
        Ok((score, args.at(at + 1)))
    });
    let pairs: Pairs<'_> = pairs.collect::<Result<_, Failure>>()?;
    add(cx, options, &pairs)
}

/// What became of the members of a request.
#[derive(Default)]
struct Tally {
    added: usize,
    changed: usize,
    /// The score of the last member that was not passed over.
    score: Option<f64>,
}

/// Adds members, and tells how many, or the score of the only one.
pub fn add(cx: &mut Cx<'_, '_>, options: Options, pairs: &[(f64, &[u8])]) -> Outcome {
    let key = cx.key(1)?;
    let tally = match cx.find_as(key, Kind::SortedSet)? {
        None if options.only_there => Tally::default(),
        found => {
            let position = found.unwrap_or_else(|| cx.add_collection(key, Kind::SortedSet));
            let limits = listpack_limits(cx);
            if found.is_some() {
                cx.touch(key, position);
            }
            let mut scores = scores_mut(cx, key, position);
            let mut tally = Tally::default();
            for (score, member) in pairs {
                let before = scores.update(member, |before| {
                    let after = options.decide(before, *score);
                    tally.score = after;
                    // Zeros of both signs are equal, so the one that is there stays.
                    after.filter(|after| !after.is_nan() && before != Some(*after))
                });
                match (before, tally.score) {
                    (_, Some(score)) if score.is_nan() => return Err(NOT_A_NUMBER),
                    (None, Some(score)) => {
                        tally.added += 1;
                        scores.raise_beyond(limits, member.len());
                        // A listpack has no negative zero, but the member that makes it a skiplist comes into that.
                        if score.to_bits() == (-0.0f64).to_bits() {
                            scores.update(member, |_| Some(score));
                        }
                    }
                    (Some(before), Some(after)) => tally.changed += usize::from(before != after),
                    (_, None) => {}
                }
            }
            tally
        }
    };
    let changes = tally.added + tally.changed;
    if changes > 0 {
        cx.changed(if options.increments { Event::ZINCR } else { Event::ZADD }, key);
        cx.changed_keyspace(changes as u64 - 1);
    }
    match (options.increments, tally.score) {
        (true, Some(score)) => cx.reply.double(score),
        (true, None) => cx.reply.null(),
        (false, _) if options.count_changed => cx.reply.integer(changes as i64),
        (false, _) => cx.reply.integer(tally.added as i64),
    }
    Ok(())
}
