//! Commands on the ends of lists: pushing, popping, and moving from one to another.

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::{Begin, Find};
use super::super::keys::{INSERT_KEY, READ_AND_DELETE_KEY};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::{elements_mut, find, read, remove, write};
use crate::base::number::parse_i64;
use crate::keyspace::values::End;
use crate::keyspace::{Key, Kind, Position};

const PUSH: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::List,
    since: "1.0.0",
    complexity: "O(1) for each element added, so O(N) to add N elements when the command is called with multiple arguments.",
    summary: "",
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
    keys: INSERT_KEY,
    tips: &[],
    subcommands: &[],
    run: lpush,
};

const POP: CommandSpec = CommandSpec {
    complexity: "O(N) where N is the number of elements returned",
    flags: Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
    keys: READ_AND_DELETE_KEY,
    ..PUSH
};

/// Elements up to this length are held without memory of their own while they move.
const SHORT_BYTES: usize = 128;

const MOVE_KEYS: &[Keys] = &[
    Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE)),
    Keys::one(2, Access::ReadWrite, Effect::INSERT),
];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "lmove",
        syntax: "LMOVE source destination <LEFT | RIGHT> <LEFT | RIGHT>",
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Takes an element from one end of a list, puts it to an end of a list, and returns it.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: MOVE_KEYS,
        run: lmove,
        ..PUSH
    },
    CommandSpec {
        name: "lmpop",
        syntax: "LMPOP numkeys key [key ...] <LEFT | RIGHT> [COUNT count]",
        since: "7.0.0",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        summary: "Takes elements from an end of the first list that is there, and returns them with its key.",
        flags: Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME),
        keys: &[Keys {
            begin: Begin::At(1),
            find: Find::Counted { count: 0, first: 1, step: 1 },
            ..Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE))
        }],
        run: lmpop,
        ..PUSH
    },
    CommandSpec {
        name: "lpop",
        syntax: "LPOP key [count]",
        summary: "Takes the first elements of a list and returns them: one, or as many as given.",
        run: lpop,
        ..POP
    },
    CommandSpec {
        name: "lpush",
        syntax: "LPUSH key element [element ...]",
        summary: "Puts elements in front of a list, one after the other. Creates the list if it does not exist.",
        run: lpush,
        ..PUSH
    },
    CommandSpec {
        name: "lpushx",
        syntax: "LPUSHX key element [element ...]",
        since: "2.2.0",
        summary: "Puts elements in front of a list, only if the list exists.",
        run: lpushx,
        ..PUSH
    },
    CommandSpec {
        name: "rpop",
        syntax: "RPOP key [count]",
        summary: "Takes the last elements of a list and returns them, the last one first: one, or as many as given.",
        run: rpop,
        ..POP
    },
    CommandSpec {
        name: "rpoplpush",
        syntax: "RPOPLPUSH source destination",
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Takes the last element of a list, puts it in front of a list, and returns it.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
        keys: MOVE_KEYS,
        run: rpoplpush,
        ..PUSH
    },
    CommandSpec {
        name: "rpush",
        syntax: "RPUSH key element [element ...]",
        summary: "Puts elements behind a list, one after the other. Creates the list if it does not exist.",
        run: rpush,
        ..PUSH
    },
    CommandSpec {
        name: "rpushx",
        syntax: "RPUSHX key element [element ...]",
        since: "2.2.0",
        summary: "Puts elements behind a list, only if the list exists.",
        run: rpushx,
        ..PUSH
    },
];

fn lpush(cx: &mut Cx<'_, '_>) -> Outcome {
    push(cx, End::Left, false)
}

fn rpush(cx: &mut Cx<'_, '_>) -> Outcome {
    push(cx, End::Right, false)
}

fn lpushx(cx: &mut Cx<'_, '_>) -> Outcome {
    push(cx, End::Left, true)
}

fn rpushx(cx: &mut Cx<'_, '_>) -> Outcome {
    push(cx, End::Right, true)
}

fn push(cx: &mut Cx<'_, '_>, end: End, if_present: bool) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    let position = match cx.find_as(key, Kind::List)? {
        Some(position) => {
            cx.touch(key, position);
            position
        }
        None if if_present => {
            cx.reply.integer(0);
            return Ok(());
        }
        None => cx.add_collection(key, Kind::List),
    };
    let mut list = elements_mut(cx, key, position);
    list.push(end, (2..args.len()).map(|index| args.at(index)));
    let len = list.view().len();
    cx.changed(end.pushed(), key);
    cx.changed_keyspace(args.len() as u64 - 3);
    cx.reply.integer(len as i64);
    Ok(())
}

fn lpop(cx: &mut Cx<'_, '_>) -> Outcome {
    pop(cx, End::Left)
}

fn rpop(cx: &mut Cx<'_, '_>) -> Outcome {
    pop(cx, End::Right)
}

fn pop(cx: &mut Cx<'_, '_>, end: End) -> Outcome {
    if cx.args.len() > 3 {
        return Err(cx.wrong_number_of_arguments());
    }
    let count = match cx.args.get(2) {
        None => None,
        Some(count) => Some(
            parse_i64(count)
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(Failure::text("ERR value is out of range, must be positive"))?,
        ),
    };
    let key = cx.key(1)?;
    let Some(position) = find(cx, key)? else {
        match count {
            Some(_) => cx.reply.null_array(),
            None => cx.reply.null(),
        }
        return Ok(());
    };
    match count {
        Some(0) => cx.reply.array(0),
        Some(count) => pop_some(cx, key, position, end, count),
        None => pop_one(cx, key, position, end),
    }
    Ok(())
}

/// Takes an element and writes it as the reply.
fn pop_one(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, end: End) {
    let (list, reply) = read(cx, key, position);
    let index = if end == End::Left { 0 } else { list.len().saturating_sub(1) };
    match list.get(index) {
        Some(element) => reply.bulk(element.bytes(&mut itoa::Buffer::new())),
        None => reply.null(),
    }
    remove(cx, key, position, end, 1);
}

/// Takes up to so many elements and writes them as an array.
fn pop_some(cx: &mut Cx<'_, '_>, key: Key<'_>, position: Position, end: End, count: usize) {
    let (list, reply) = read(cx, key, position);
    let count = count.min(list.len());
    reply.array(count);
    match end {
        End::Left => write(reply, list.iter_from(0).take(count)),
        End::Right => write(reply, list.iter_back().take(count)),
    }
    remove(cx, key, position, end, count);
}

fn lmpop(cx: &mut Cx<'_, '_>) -> Outcome {
    let positive = |word: &[u8], text| {
        let number = parse_i64(word).and_then(|number| usize::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(Failure::text(text))
    };
    let keys = positive(cx.args.at(1), "ERR numkeys should be greater than 0")?;
    let at = keys.checked_add(2).filter(|at| *at < cx.args.len()).ok_or(Failure::SYNTAX)?;
    let end = End::parse(cx.args.at(at))?;
    let mut count = None;
    let mut next = at + 1;
    while let Some(word) = cx.args.get(next) {
        let value = cx.args.get(next + 1).filter(|_| count.is_none() && word.eq_ignore_ascii_case(b"COUNT"));
        count = Some(positive(value.ok_or(Failure::SYNTAX)?, "ERR count should be greater than 0")?);
        next += 2;
    }
    for index in 2..2 + keys {
        let key = cx.key(index)?;
        if let Some(position) = find(cx, key)? {
            cx.reply.array(2);
            cx.reply.bulk(key.bytes);
            pop_some(cx, key, position, end, count.unwrap_or(1));
            return Ok(());
        }
    }
    cx.reply.null_array();
    Ok(())
}

fn rpoplpush(cx: &mut Cx<'_, '_>) -> Outcome {
    move_element(cx, End::Right, End::Left)
}

fn lmove(cx: &mut Cx<'_, '_>) -> Outcome {
    let (from, to) = (End::parse(cx.args.at(3))?, End::parse(cx.args.at(4))?);
    move_element(cx, from, to)
}

fn move_element(cx: &mut Cx<'_, '_>, from: End, to: End) -> Outcome {
    let (source, destination) = (cx.key(1)?, cx.key(2)?);
    let Some(position) = find(cx, source)? else {
        cx.reply.null();
        return Ok(());
    };
    let found = find(cx, destination)?;
    let (list, _) = read(cx, source, position);
    let index = if from == End::Left { 0 } else { list.len().saturating_sub(1) };
    let room = &mut itoa::Buffer::new();
    let element =
        list.get(index).map(|element| SmallVec::<[u8; SHORT_BYTES]>::from_slice(element.bytes(room)));
    let element = element.unwrap_or_default();
    let target = found.unwrap_or_else(|| cx.add_collection(destination, Kind::List));
    // Where both are one list it has the element twice for a moment, which comes to the same, and is never without elements.
    elements_mut(cx, destination, target).push(to, std::iter::once(element.as_slice()));
    cx.touched(to.pushed(), destination);
    cx.reply.bulk(&element);
    // Adding the destination may have moved the source's entry.
    if let Some(position) = cx.find(source) {
        remove(cx, source, position, from, 1);
    }
    Ok(())
}
