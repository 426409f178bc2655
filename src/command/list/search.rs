//! Commands that look for elements: LINSERT, LPOS, LREM.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{DELETE_KEY, INSERT_KEY, READ_KEY};
use super::super::spec::{CommandSpec, Flags, Group};
use super::{elements_mut, read, remove_key};
use crate::base::number::parse_i64;
use crate::keyspace::Kind;
use crate::keyspace::collection::text::Needle;
use crate::keyspace::values::End;
use crate::resp::Reply;

const SEARCH: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::List,
    since: "1.0.0",
    complexity: "",
    summary: "",
    flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
    keys: DELETE_KEY,
    tips: &[],
    subcommands: &[],
    run: lrem,
};

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "linsert",
        syntax: "LINSERT key <BEFORE | AFTER> pivot element",
        since: "2.2.0",
        complexity: "O(N) where N is the number of elements to traverse before seeing the value pivot.",
        summary: "Puts an element in front of or behind another in a list.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: INSERT_KEY,
        run: linsert,
        ..SEARCH
    },
    CommandSpec {
        name: "lpos",
        syntax: "LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]",
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements in the list, or of those that MAXLEN allows.",
        summary: "Returns the indices of the elements of a list that are equal to a given one.",
        flags: Flags::READONLY,
        keys: READ_KEY,
        run: lpos,
        ..SEARCH
    },
    CommandSpec {
        name: "lrem",
        syntax: "LREM key count element",
        complexity: "O(N+M log N) where N is the length of the list and M is the number of elements removed.",
        summary: "Removes elements of a list that are equal to a given one: the first so many, the last so many if negative, or all for 0.",
        run: lrem,
        ..SEARCH
    },
];

fn linsert(cx: &mut Cx<'_, '_>) -> Outcome {
    let behind = match cx.args.at(2) {
        word if word.eq_ignore_ascii_case(b"AFTER") => 1,
        word if word.eq_ignore_ascii_case(b"BEFORE") => 0,
        _ => return Err(Failure::SYNTAX),
    };
    let (key, pivot, element) = (cx.key(1)?, Needle::of(cx.args.at(3)), cx.args.at(4));
    let Some(position) = cx.find_as(key, Kind::List)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let (list, _) = read(cx, key, position);
    let len = list.len();
    let Some(index) = list.records_from(0).position(|record| pivot.is_at(record)) else {
        cx.reply.integer(-1);
        return Ok(());
    };
    elements_mut(cx, key, position).insert(index + behind, element);
    cx.changed(Event::LINSERT, key);
    cx.reply.integer(len as i64 + 1);
    Ok(())
}

fn lrem(cx: &mut Cx<'_, '_>) -> Outcome {
    let (count, element) = (cx.integer(2)?, cx.args.at(3));
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::List)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let nearest = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let mut list = elements_mut(cx, key, position);
    let gone = list.remove_equal(nearest, most, element);
    let is_empty = list.view().is_empty();
    if gone > 0 {
        cx.changed(Event::LREM, key);
        cx.changed_keyspace(gone as u64 - 1);
    }
    if is_empty {
        remove_key(cx, key, position);
    }
    cx.reply.integer(gone as i64);
    Ok(())
}

struct Options {
    rank: i64,
    /// 0 for all; `None` for one, which is then the reply itself.
    count: Option<usize>,
    /// 0 for no limit.
    max_len: usize,
}

fn lpos_options(cx: &Cx<'_, '_>) -> Result<Options, Failure> {
    let mut options = Options { rank: 1, count: None, max_len: 0 };
    let natural = |at, text| {
        let number = parse_i64(cx.args.at(at)).and_then(|number| usize::try_from(number).ok());
        number.ok_or(Failure::text(text))
    };
    for at in (3..cx.args.len()).step_by(2) {
        let word = cx.args.at(at);
        if at + 1 == cx.args.len() {
            return Err(Failure::SYNTAX);
        }
        if word.eq_ignore_ascii_case(b"RANK") {
            options.rank = cx.integer(at + 1)?;
            if options.rank == 0 {
                return Err(Failure::text(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                ));
            }
        } else if word.eq_ignore_ascii_case(b"COUNT") {
            options.count = Some(natural(at + 1, "ERR COUNT can't be negative")?);
        } else if word.eq_ignore_ascii_case(b"MAXLEN") {
            options.max_len = natural(at + 1, "ERR MAXLEN can't be negative")?;
        } else {
            return Err(Failure::SYNTAX);
        }
    }
    Ok(options)
}

fn lpos(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = lpos_options(cx)?;
    let (key, element) = (cx.key(1)?, Needle::of(cx.args.at(2)));
    let Some(position) = cx.access_as(key, Kind::List)? else {
        match options.count {
            Some(_) => cx.reply.array(0),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    let (list, reply) = read(cx, key, position);
    let last = list.len().saturating_sub(1);
    if options.rank > 0 {
        answer(reply, &options, matches(&options, &element, list.records_from(0)));
    } else {
        let found = matches(&options, &element, list.records_back());
        answer(reply, &options, found.map(|index| last - index));
    }
    Ok(())
}

/// How many records stand before each match, of those that are wanted.
fn matches<'r>(
    options: &Options,
    element: &Needle<'_>,
    records: impl Iterator<Item = &'r [u8]>,
) -> impl Iterator<Item = usize> {
    let all = |number| if number == 0 { usize::MAX } else { number };
    let equal = records.take(all(options.max_len)).enumerate().filter(|(_, record)| element.is_at(record));
    // In Redis 7.0 the least number, which has no opposite, passes nothing.
    let passed = options.rank.checked_abs().map_or(0, |rank| rank as usize - 1);
    equal.map(|(index, _)| index).skip(passed).take(options.count.map_or(1, all))
}

fn answer(reply: &mut Reply<'_>, options: &Options, mut found: impl Iterator<Item = usize>) {
    if options.count.is_none() {
        return match found.next() {
            Some(index) => reply.integer(index as i64),
            None => reply.null(),
        };
    }
    // How many there are is known only behind the last one.
    let (mut aside, mut written) = (reply.aside(), 0);
    let mut indices = Reply::new(&mut aside, reply.protocol());
    for index in found {
        indices.integer(index as i64);
        written += 1;
        if indices.is_over() {
            break;
        }
    }
    reply.array(written);
    reply.append(aside);
}
