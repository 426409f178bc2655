//! Commands that look for elements: LINSERT, LPOS, LREM.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::spec::{CommandSpec, Flags, Group};
use super::{DELETE_KEY, INSERT_KEY, READ_KEY, elements_mut, read};
use crate::base::number::parse_i64;
use crate::keyspace::Kind;
use crate::keyspace::collection::text::Needle;
use crate::keyspace::values::Elements;

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
    elements_mut(cx, key, position).insert(index + behind, element, &mut Vec::new());
    cx.changed(Event::LINSERT, key);
    cx.reply.integer(len as i64 + 1);
    Ok(())
}

fn lrem(cx: &mut Cx<'_, '_>) -> Outcome {
    let (count, element) = (cx.integer(2)?, Needle::of(cx.args.at(3)));
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::List)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    cx.touch(key, position);
    let (list, _) = read(cx, key, position);
    let (len, most) = (list.len(), if count == 0 { u64::MAX } else { count.unsigned_abs() });
    // From the last one to the first, so that none of them moves before it is removed.
    let mut indices = indices(list, &element, count < 0, len, most as usize);
    if count >= 0 {
        indices.reverse();
    }
    let removed = indices.len();
    let mut list = elements_mut(cx, key, position);
    indices.into_iter().for_each(|index| list.remove(index, 1));
    let is_empty = list.view().is_empty();
    if removed > 0 {
        cx.changed(Event::LREM, key);
        if is_empty {
            cx.remove(cx.client.database, key, position);
            cx.also(Event::DEL, key);
        }
    }
    cx.reply.integer(removed as i64);
    Ok(())
}

/// The indices of up to `most` elements that are equal to one, among the first `len` that are looked at, from the front or from the back.
fn indices(list: Elements<'_>, element: &Needle<'_>, from_back: bool, len: usize, most: usize) -> Vec<usize> {
    let equal = |record: &&[u8]| element.is_at(record);
    let last = list.len().saturating_sub(1);
    if from_back {
        let found = list.records_back().take(len).enumerate().filter(|(_, record)| equal(record));
        found.map(|(index, _)| last - index).take(most).collect()
    } else {
        let found = list.records_from(0).take(len).enumerate().filter(|(_, record)| equal(record));
        found.map(|(index, _)| index).take(most).collect()
    }
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
    let (passed, len) = ((options.rank.unsigned_abs() - 1) as usize, list.len());
    let looked_at = if options.max_len == 0 { len } else { options.max_len };
    let wanted = match options.count {
        None => 1,
        Some(0) => len,
        Some(count) => count,
    };
    let found = indices(list, &element, options.rank < 0, looked_at, passed.saturating_add(wanted));
    let found = found.get(passed..).unwrap_or_default();
    match (options.count, found) {
        (Some(_), found) => {
            reply.array(found.len());
            found.iter().for_each(|index| reply.integer(*index as i64));
        }
        (None, [index, ..]) => reply.integer(*index as i64),
        (None, []) => reply.null(),
    }
    Ok(())
}
