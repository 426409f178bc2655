//! XTRIM, and the options that it shares with XADD.

use std::fmt;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::DELETE_KEY;
use super::super::spec::{CommandSpec, Flags, Group};
use super::{change, ids, node_limits};
use crate::base::number::parse_i64;
use crate::keyspace::Kind;
use crate::keyspace::collection::stream::{Id, Keep, References, Stream, Trim};
use crate::keyspace::large::LeafGate;

/// What Redis takes where `stream-node-max-entries` is 0, and the most that it takes.
const LIMIT_WITHOUT_NODES: u64 = 10_000;
const LIMIT_MAX: u64 = 1_000_000;
/// Without LIMIT so many nodes go.
const LIMIT_NODES: u64 = 100;

pub const ROW: CommandSpec = CommandSpec {
    name: "xtrim",
    syntax: "XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]",
    group: Group::Stream,
    since: "5.0.0",
    complexity: "O(N), with N being the number of evicted entries.",
    summary: "Deletes entries from the beginning of a stream: all but so many, or those with lesser ids. With ~ only as far as that is cheap.",
    flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME).and(Flags::LOGGED_OTHERWISE),
    keys: DELETE_KEY,
    tips: &["nondeterministic_output"],
    subcommands: &[],
    run: xtrim,
};

/// Options of XADD and XTRIM.
#[derive(Debug, Default)]
pub struct Options {
    /// What to trim, and where the word stands that says so (MAXLEN, MINID).
    pub trim: Option<(Trim, usize)>,
    pub references: Option<References>,
    pub no_new_key: bool,
    /// Where the id stands (XADD).
    pub id_at: usize,
}

impl Options {
    /// Reads them, up to the id if the command has one.
    pub fn parse(cx: &Cx<'_, '_>, has_id: bool) -> Result<Options, Failure> {
        let (mut options, mut limit) = (Options::default(), None);
        let mut at = 2;
        while at < cx.args.len() {
            let (word, more) = (cx.args.at(at), cx.args.len() - 1 - at);
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            if has_id && word == b"*" {
                break;
            } else if (is("maxlen") || is("minid")) && more > 0 {
                at = options.threshold(cx, at, is("maxlen"))?;
            } else if is("limit") && more > 0 {
                at += 1;
                let count = u64::try_from(cx.integer(at)?);
                limit = Some(count.map_err(|_| Failure::text("ERR The LIMIT argument must be >= 0."))?);
            } else if has_id && is("nomkstream") {
                options.no_new_key = true;
            } else if let Some(references) = references(word).filter(|_| options.references.is_none()) {
                options.references = Some(references);
            } else if has_id {
                ids::parse_new(word)?;
                break;
            } else {
                return Err(Failure::SYNTAX);
            }
            at += 1;
        }
        options.id_at = at;
        options.set_limit(cx, limit, has_id)?;
        Ok(options)
    }

    /// Reads what stands behind MAXLEN or MINID; gives the place of its last word.
    fn threshold(&mut self, cx: &Cx<'_, '_>, word_at: usize, is_length: bool) -> Result<usize, Failure> {
        if self.trim.is_some() {
            return Err(Failure::text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let mut at = word_at + 1;
        let sign = Some(cx.args.at(at)).filter(|_| at + 1 < cx.args.len());
        let whole_nodes = sign == Some(b"~");
        if whole_nodes || sign == Some(b"=") {
            at += 1;
        }
        let keep = if is_length {
            let most = parse_i64(cx.args.at(at)).ok_or(Failure::NOT_AN_INTEGER)?;
            let most = u64::try_from(most);
            Keep::Newest(most.map_err(|_| Failure::text("ERR The MAXLEN argument must be >= 0."))?)
        } else {
            Keep::From(ids::parse(cx.args.at(at), 0)?)
        };
        self.trim = Some((Trim { keep, whole_nodes, limit: 0 }, word_at));
        Ok(at)
    }

    fn set_limit(&mut self, cx: &Cx<'_, '_>, limit: Option<u64>, has_id: bool) -> Outcome {
        if self.trim.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(Failure::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.trim.is_none() && !has_id {
            return Err(Failure::text("ERR syntax error, XTRIM must be called with a trimming strategy"));
        }
        if limit.is_some() && !self.trims_whole_nodes() {
            return Err(Failure::text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
        }
        if let Some((trim, _)) = self.trim.as_mut().filter(|(trim, _)| trim.whole_nodes) {
            let default = match node_limits(cx.config()).entries {
                0 => LIMIT_WITHOUT_NODES,
                entries => entries.saturating_mul(LIMIT_NODES).min(LIMIT_MAX),
            };
            trim.limit = limit.unwrap_or(default);
        }
        Ok(())
    }

    /// What comes out of that is not the same whenever it is done.
    pub fn trims_whole_nodes(&self) -> bool {
        self.trim.is_some_and(|(trim, _)| trim.whole_nodes)
    }

    /// Trims a stream; says how many entries are gone, and what the exact threshold would have been.
    pub fn apply(&self, stream: &mut Stream, gate: &mut LeafGate<'_>) -> (u64, Threshold) {
        let Some((trim, _)) = self.trim else { return (0, Threshold::Length(0)) };
        let removed = stream.trim(gate, trim, self.references.unwrap_or_default());
        let entries = stream.entries();
        let threshold = match trim.keep {
            Keep::Newest(_) => Threshold::Length(entries.len()),
            Keep::From(_) if entries.is_empty() => Threshold::Id(Id::MAX),
            Keep::From(_) => Threshold::Id(entries.first_id()),
        };
        (removed, threshold)
    }

    /// The words of a record that trim to an exact threshold.
    pub fn words<'w>(&self, cx: &Cx<'w, '_>, threshold: &'w str) -> Vec<&'w [u8]> {
        let mut words = Vec::new();
        if let Some((_, at)) = self.trim {
            words.extend([cx.args.at(at), b"=", threshold.as_bytes()]);
        }
        words.extend(self.references.map(word_of));
        words
    }
}

/// How far a stream was trimmed: what MAXLEN or MINID would have said exactly.
#[derive(Clone, Copy)]
pub enum Threshold {
    Length(usize),
    Id(Id),
}

impl fmt::Display for Threshold {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Threshold::Length(length) => length.fmt(out),
            Threshold::Id(id) => id.fmt(out),
        }
    }
}

/// KEEPREF, DELREF and ACKED.
pub fn references(word: &[u8]) -> Option<References> {
    let all = [References::Keep, References::Drop, References::Respect];
    all.into_iter().find(|references| word.eq_ignore_ascii_case(word_of(*references)))
}

fn word_of(references: References) -> &'static [u8] {
    match references {
        References::Keep => b"KEEPREF",
        References::Drop => b"DELREF",
        References::Respect => b"ACKED",
    }
}

fn xtrim(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = Options::parse(cx, false)?;
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::Stream)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let (removed, threshold) = change(cx, key, position, |stream, gate| options.apply(stream, gate))?;
    if removed > 0 {
        if options.trims_whole_nodes() {
            let threshold = threshold.to_string();
            let trim = options.words(cx, &threshold);
            cx.log(&[&[b"XTRIM", key.bytes], trim.as_slice()].concat());
        }
        cx.changed(Event::XTRIM, key);
        cx.changed_keyspace(removed - 1);
    }
    cx.reply.integer(removed as i64);
    Ok(())
}
