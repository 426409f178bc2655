//! LCS: the longest common subsequence of two strings.
//!
//! The textbook table has a number for each pair of prefixes. Only two of its rows are kept; of the others one bit remains for each
//! pair, which says where the way back goes: a 32nd of the memory. The way back leaves out a byte of the second string when
//! both ways are equally long, because Redis does and the matches that clients see depend on it.
//!
//! The table is made from copies, when the keys are unlocked: it may take a second, and nobody else should wait for that.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::keyspace::{Kind, Locked};
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "lcs",
    syntax: "LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
    group: Group::String,
    since: "7.0.0",
    complexity: "O(N*M) where N and M are the lengths of the two strings.",
    summary: "Finds the longest common subsequence of two strings.",
    flags: Flags::READONLY,
    keys: &[Keys::range(1, 1, 1, Access::ReadOnly, Effect::ACCESS)],
    tips: &[],
    subcommands: &[],
    run: lcs,
}];

#[derive(Default)]
struct Options {
    length: bool,
    matches: bool,
    match_len_min: usize,
    with_match_len: bool,
}

fn options(cx: &Cx<'_, '_>) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut at = 3;
    while let Some(word) = cx.args.get(at) {
        if word.eq_ignore_ascii_case(b"IDX") {
            options.matches = true;
        } else if word.eq_ignore_ascii_case(b"LEN") {
            options.length = true;
        } else if word.eq_ignore_ascii_case(b"WITHMATCHLEN") {
            options.with_match_len = true;
        } else if word.eq_ignore_ascii_case(b"MINMATCHLEN") && at + 1 < cx.args.len() {
            at += 1;
            options.match_len_min = cx.integer(at)?.max(0) as usize;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    if options.length && options.matches {
        return Err(Failure::text("ERR If you want both the length and indexes, please just use IDX."));
    }
    Ok(options)
}

const NOT_STRINGS: Failure = Failure::text("ERR The specified keys must contain string values");

fn lcs(cx: &mut Cx<'_, '_>) -> Outcome {
    let length = |cx: &mut Cx<'_, '_>, index| -> Result<usize, Failure> {
        let found = cx.read_as(cx.key(index)?, Kind::String).map_err(|_| NOT_STRINGS)?;
        Ok(found.map_or(0, |entry| entry.value().len()))
    };
    let (first_len, second_len) = (length(cx, 1)?, length(cx, 2)?);
    let options = options(cx)?;
    // What Redis would allocate; it bounds the time as well as the memory, and what is copied under the lock.
    let cells = (first_len as u64 + 1) * (second_len as u64 + 1);
    if cells.saturating_mul(4) > cx.config().proto_max_bulk_len {
        return Err(Failure::text(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let (first, second) = (value(cx, 1)?, value(cx, 2)?);
    // Record and event of a key that was reclaimed just now go out under its lock, else a later change of the key could come before them. Such
    // a key reads as empty, so there is little to compare.
    let effects = &cx.state.effects;
    if !cx.in_exec && !effects.records.any() && effects.events.is_empty() {
        *cx.locked = Locked::none(&cx.services().keyspace);
    }
    let table = Table::new(&first, &second);
    if options.length {
        cx.reply.integer(table.length as i64);
        return Ok(());
    }
    let runs = table.runs(&first, &second);
    if options.matches {
        reply_matches(&mut cx.reply, &options, &runs, table.length);
        return Ok(());
    }
    let mut common = Vec::with_capacity(table.length);
    for run in runs.iter().rev() {
        common.extend_from_slice(&first[run.first..][..run.length]);
    }
    cx.reply.bulk(&common);
    Ok(())
}

/// A copy of the value of the key at `index`: looking a second key up could move the first one's entry.
fn value(cx: &mut Cx<'_, '_>, index: usize) -> Result<Vec<u8>, Failure> {
    let key = cx.key(index)?;
    Ok(cx.find(key).map_or_else(Vec::new, |position| cx.entry(key, position).value().to_vec()))
}

fn reply_matches(reply: &mut Reply<'_>, options: &Options, runs: &[Run], length: usize) {
    let wanted = || runs.iter().filter(|run| run.length >= options.match_len_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(wanted().count());
    for run in wanted() {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.first, run.second] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + run.length - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(run.length as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(length as i64);
}

/// Bytes that both strings have in a row: where in each, and how many.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    first: usize,
    second: usize,
    length: usize,
}

struct Table {
    length: usize,
    columns: usize,
    /// For each pair of bytes, row by row: the way back leaves the first string's byte out.
    skips_first: Vec<u64>,
}

impl Table {
    fn new(first: &[u8], second: &[u8]) -> Table {
        let columns = second.len();
        let mut skips_first = vec![0u64; (first.len() * columns).div_ceil(64)];
        let mut above = vec![0u32; columns + 1];
        let mut row = vec![0u32; columns + 1];
        for (i, first_byte) in first.iter().enumerate() {
            for (j, second_byte) in second.iter().enumerate() {
                if first_byte == second_byte {
                    row[j + 1] = above[j] + 1;
                } else if above[j + 1] > row[j] {
                    row[j + 1] = above[j + 1];
                    let cell = i * columns + j;
                    skips_first[cell / 64] |= 1 << (cell % 64);
                } else {
                    row[j + 1] = row[j];
                }
            }
            std::mem::swap(&mut above, &mut row);
        }
        Table { length: above[columns] as usize, columns, skips_first }
    }

    /// The runs that make up the longest common subsequence, the last one first.
    fn runs(&self, first: &[u8], second: &[u8]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut i, mut j) = (first.len(), second.len());
        let mut in_run = false;
        while i > 0 && j > 0 {
            if first[i - 1] == second[j - 1] {
                (i, j) = (i - 1, j - 1);
                match runs.last_mut() {
                    Some(run) if in_run => *run = Run { first: i, second: j, length: run.length + 1 },
                    _ => runs.push(Run { first: i, second: j, length: 1 }),
                }
                in_run = true;
                continue;
            }
            in_run = false;
            let cell = (i - 1) * self.columns + j - 1;
            if self.skips_first[cell / 64] >> (cell % 64) & 1 == 1 {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(first: &[u8], second: &[u8]) -> (usize, Vec<(usize, usize, usize)>) {
        let table = Table::new(first, second);
        let runs = table.runs(first, second);
        (table.length, runs.iter().map(|run| (run.first, run.second, run.length)).collect())
    }

    #[test]
    fn matches_are_runs_from_the_end() {
        assert_eq!(runs(b"ohmytext", b"mynewtext"), (6, vec![(4, 5, 4), (2, 0, 2)]));
    }

    #[test]
    fn strings_without_common_bytes_have_no_runs() {
        assert_eq!(runs(b"abc", b"xyz"), (0, vec![]));
        assert_eq!(runs(b"", b"xyz"), (0, vec![]));
        assert_eq!(runs(b"abc", b""), (0, vec![]));
    }

    #[test]
    fn equal_strings_are_one_run() {
        assert_eq!(runs(&[7; 200], &[7; 200]), (200, vec![(0, 0, 200)]));
    }

    #[test]
    fn of_two_equally_long_ways_a_byte_of_the_second_string_is_left_out() {
        assert_eq!(runs(b"ab", b"ba"), (1, vec![(1, 0, 1)]));
    }
}
