//! SORT and SORT_RO: the elements of a list, a set or a sorted set in an order that the request asks for.
//!
//! Order and results may come from other keys, whose names are made of the elements ([`pattern`]). The request asks for all of these before it
//! looks at one, and holds them until it is done. What it gathers is as large as the value, as in Redis; the result is recorded as what was stored.

mod order;
mod pattern;

use std::ops::Range;

use crate::command::cx::{Cx, Failure, Outcome, encoding_limits};
use crate::command::effects::Event;
use crate::command::keys::{Begin, Find, Found};
use crate::command::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::keyspace::values::exchange::Builder;
use crate::keyspace::{Key, Kind};
use crate::rdb::value::Sink;
use crate::resp::Args;
use order::Gathered;
use pattern::Pattern;

const SOURCE: Keys = Keys::one(1, Access::ReadOnly, Effect::ACCESS);
const PATTERNS: Keys = Keys {
    begin: Begin::Unknown,
    find: Find::Unknown,
    notes: "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort",
    ..SOURCE
};
const DESTINATION: Keys = Keys {
    begin: Begin::Unknown,
    find: Find::Unknown,
    notes: "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array",
    exact: Some(destination_of),
    ..Keys::one(1, Access::Overwrite, Effect::UPDATE)
};

/// Elements in one record of the write log.
const LOGGED_ELEMENTS: usize = 1000;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "sort",
        syntax: "SORT key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA] [STORE destination]",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).",
        summary: "Sorts the elements of a list, a set or a sorted set, and returns or stores them.",
        flags: Flags::WRITE
            .and(Flags::DENYOOM)
            .and(Flags::OPEN_KEYS)
            .and(Flags::SORTS)
            .and(Flags::DANGEROUS)
            .and(Flags::LOGGED_OTHERWISE),
        keys: &[SOURCE, PATTERNS, DESTINATION],
        tips: &[],
        subcommands: &[],
        run: sort,
    },
    CommandSpec {
        name: "sort_ro",
        syntax: "SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC | DESC] [ALPHA]",
        group: Group::Generic,
        since: "7.0.0",
        complexity: "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).",
        summary: "Sorts the elements of a list, a set or a sorted set, and returns them.",
        flags: Flags::READONLY.and(Flags::OPEN_KEYS).and(Flags::SORTS).and(Flags::DANGEROUS),
        keys: &[SOURCE, PATTERNS],
        tips: &[],
        subcommands: &[],
        run: sort,
    },
];

/// The word behind the last STORE.
fn destination_of(keys: &Keys, args: Args<'_>) -> Found {
    let (mut at, mut found) = (2, keys.declared(args));
    while at < args.len() {
        let word = args.at(at);
        if word.eq_ignore_ascii_case(b"STORE") && at + 1 < args.len() {
            (found.first, found.end) = (at + 1, at + 2);
        }
        at += match word {
            _ if word.eq_ignore_ascii_case(b"LIMIT") => 3,
            _ if [&b"STORE"[..], b"GET", b"BY"].iter().any(|option| word.eq_ignore_ascii_case(option)) => 2,
            _ => 1,
        };
    }
    found
}

/// What a request asks for.
struct Options<'a> {
    by: Option<Pattern<'a>>,
    /// As they come, or from the last one on if they are to descend.
    unsorted: bool,
    descending: bool,
    by_text: bool,
    /// The first element and how many; a negative number is all.
    limit: (i64, i64),
    gets: Vec<Pattern<'a>>,
    destination: Option<usize>,
}

impl<'a> Options<'a> {
    fn parse(cx: &Cx<'a, '_>) -> Result<Options<'a>, Failure> {
        let mut options = Options {
            by: None,
            unsorted: false,
            descending: false,
            by_text: false,
            limit: (0, -1),
            gets: Vec::new(),
            destination: None,
        };
        let mut at = 2;
        while at < cx.args.len() {
            at += options.take(cx, at)?;
        }
        Ok(options)
    }

    /// Takes the option at a place; says how many words it has.
    fn take(&mut self, cx: &Cx<'a, '_>, at: usize) -> Result<usize, Failure> {
        let (word, left) = (cx.args.at(at), cx.args.len() - at - 1);
        let is = |option: &[u8]| word.eq_ignore_ascii_case(option);
        match word {
            _ if is(b"ASC") => self.descending = false,
            _ if is(b"DESC") => self.descending = true,
            _ if is(b"ALPHA") => self.by_text = true,
            _ if is(b"LIMIT") && left >= 2 => {
                self.limit = (cx.integer(at + 1)?, cx.integer(at + 2)?);
                return Ok(3);
            }
            _ if is(b"STORE") && left >= 1 && cx.command.has(Flags::WRITE) => {
                self.destination = Some(at + 1);
                return Ok(2);
            }
            _ if is(b"BY") && left >= 1 => {
                let by = Pattern::of(cx.args.at(at + 1));
                // A pattern that names no key asks for no order, whatever other BY there is.
                self.unsorted |= !by.is_open();
                self.by = Some(by);
                return Ok(2);
            }
            _ if is(b"GET") && left >= 1 => {
                self.gets.push(Pattern::of(cx.args.at(at + 1)));
                return Ok(2);
            }
            _ => return Err(Failure::SYNTAX),
        }
        Ok(1)
    }

    /// The part of `len` elements that LIMIT names.
    fn part(&self, len: usize) -> Range<usize> {
        let (offset, count) = self.limit;
        let start = usize::try_from(offset.max(0)).map_or(len, |start| start.min(len));
        let count = usize::try_from(count).unwrap_or(len);
        start..start.saturating_add(count).min(len)
    }
}

fn sort(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut options = Options::parse(cx)?;
    let source = cx.key(1)?;
    let mut gathered = Gathered::of(cx, source)?;
    // The order in which a set is passed is no one's business, so what is stored of one has another.
    if options.unsorted && gathered.kind == Kind::Set && options.destination.is_some() {
        (options.unsorted, options.by_text, options.by) = (false, true, None);
    }
    hold_all(cx, &options, &gathered)?;
    cx.access(source);
    if options.unsorted {
        gathered.turn(options.descending);
    } else {
        gathered.weigh(cx, &options)?;
        gathered.sort(&options);
    }
    let part = options.part(gathered.len());
    match options.destination {
        Some(index) => {
            let destination = cx.key(index)?;
            store(cx, &options, &gathered, part, destination)
        }
        None => reply(cx, &options, &gathered, part),
    }
}

/// Asks for all keys that patterns name.
fn hold_all(cx: &mut Cx<'_, '_>, options: &Options<'_>, gathered: &Gathered) -> Outcome {
    let mut outcome = Ok(());
    let by = options.by.iter().filter(|_| !options.unsorted);
    for pattern in by.chain(&options.gets).filter(|pattern| pattern.is_open()) {
        for index in 0..gathered.len() {
            // What is not held yet is noted, and all of it comes at once.
            outcome = cx.further(&pattern.key(gathered.element(index))).map(drop).and(outcome);
        }
    }
    outcome
}

fn reply(cx: &mut Cx<'_, '_>, options: &Options<'_>, gathered: &Gathered, part: Range<usize>) -> Outcome {
    cx.reply.array(part.len() * options.gets.len().max(1));
    for index in part {
        let element = gathered.element(index);
        if options.gets.is_empty() {
            cx.reply.bulk(element);
        }
        for get in &options.gets {
            // Values go straight from their entries into the reply.
            get.look(cx, element, |reply, value| match value {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            })?;
        }
        if cx.reply.is_over() {
            break;
        }
    }
    Ok(())
}

/// What is stored: where nothing is found, a string without bytes.
fn results(
    cx: &mut Cx<'_, '_>,
    options: &Options<'_>,
    gathered: &Gathered,
    part: Range<usize>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut results = Vec::new();
    for index in part {
        let element = gathered.element(index);
        if options.gets.is_empty() {
            results.push(element.to_vec());
        }
        for get in &options.gets {
            results.push(get.look(cx, element, |_, value| value.unwrap_or_default().to_vec())?);
        }
    }
    Ok(results)
}

fn store(
    cx: &mut Cx<'_, '_>,
    options: &Options<'_>,
    gathered: &Gathered,
    part: Range<usize>,
    destination: Key<'_>,
) -> Outcome {
    let results = results(cx, options, gathered, part)?;
    let keyspace = &cx.services().keyspace;
    let mut builder = Builder::new(keyspace, Kind::List);
    results.iter().for_each(|result| builder.element(result));
    let (database, found) = (cx.client.database, cx.find(destination));
    if let Some(position) = found {
        cx.remove(database, destination, position);
        cx.log(&[b"DEL", destination.bytes]);
    }
    if !results.is_empty() {
        let access = cx.state.access.fresh(cx.steady_ms());
        let entry =
            builder.finish(destination.bytes, encoding_limits(cx.config(), Kind::List)).with_access(access);
        let (partition, site) = cx.partition(destination);
        partition.insert(site, destination.hash, entry);
        if found.is_none() {
            cx.also(Event::NEW_KEY, destination);
        }
        for some in results.chunks(LOGGED_ELEMENTS) {
            let words: Vec<&[u8]> = [&b"RPUSH"[..], destination.bytes]
                .into_iter()
                .chain(some.iter().map(Vec::as_slice))
                .collect();
            cx.log(&words);
        }
        cx.changed(Event::SORTSTORE, destination);
        cx.changed_keyspace(results.len() as u64 - 1);
    } else if found.is_some() {
        cx.changed(Event::DEL, destination);
    }
    cx.reply.integer(results.len() as i64);
    Ok(())
}
