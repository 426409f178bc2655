//! Commands that delete entries: XDEL, and since Redis 8.2 XDELEX and XACKDEL.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::DELETE_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::{change, ids, stream_of, trim};
use crate::keyspace::collection::stream::{Id, References, Stream};
use crate::keyspace::{Key, Kind};

const FLAGS: Flags = Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xackdel",
        syntax: "XACKDEL key group [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        group: Group::Stream,
        since: "8.2.0",
        complexity: "O(log N) for each id",
        summary: "Acknowledges entries in a group, and deletes them. Says for each whether it was deleted (1), is still referred to (2), or was not pending (-1).",
        flags: FLAGS,
        keys: &[Keys::one(1, Access::ReadWrite, Effect::UPDATE.and(Effect::DELETE))],
        tips: &[],
        subcommands: &[],
        run: xackdel,
    },
    CommandSpec {
        name: "xdel",
        syntax: "XDEL key id [id ...]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log N) for each id",
        summary: "Deletes entries of a stream. Returns how many there were.",
        flags: FLAGS,
        keys: DELETE_KEY,
        tips: &[],
        subcommands: &[],
        run: xdel,
    },
    CommandSpec {
        name: "xdelex",
        syntax: "XDELEX key [KEEPREF | DELREF | ACKED] IDS numids id [id ...]",
        group: Group::Stream,
        since: "8.2.0",
        complexity: "O(log N) for each id",
        summary: "Deletes entries of a stream. Says for each whether it was deleted (1), is still referred to by a group (2), or does not exist (-1).",
        flags: FLAGS,
        keys: DELETE_KEY,
        tips: &[],
        subcommands: &[],
        run: xdelex,
    },
];

fn xdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.key(1)?;
    let Some(position) = cx.find_as(key, Kind::Stream)? else {
        cx.reply.integer(0);
        return Ok(());
    };
    let ids = ids::all_from(cx, 2)?;
    let entries = stream_of(cx.entry(key, position))?.entries();
    if !ids.iter().any(|id| entries.contains(*id)) {
        cx.reply.integer(0);
        return Ok(());
    }
    let deleted = change(cx, key, position, |stream, gate| {
        ids.iter().filter(|id| stream.entries_mut().remove(gate, **id)).count() as u64
    })?;
    report_deleted(cx, key, deleted);
    cx.reply.integer(deleted as i64);
    Ok(())
}

fn report_deleted(cx: &mut Cx<'_, '_>, key: Key<'_>, deleted: u64) {
    if deleted > 0 {
        cx.changed(Event::XDEL, key);
        cx.changed_keyspace(deleted - 1);
    }
}

/// What became of an id, as the reply says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Missing = -1,
    Deleted = 1,
    Referenced = 2,
}

/// Reads options from an argument on: what to do with references, and where the ids stand.
fn parse(cx: &Cx<'_, '_>, from: usize) -> Result<(References, std::ops::Range<usize>), Failure> {
    let (mut references, mut found, mut at) = (None, None, from);
    while at < cx.args.len() {
        let word = cx.args.at(at);
        if let Some(wanted) = trim::references(word).filter(|_| references.is_none()) {
            references = Some(wanted);
            at += 1;
        } else if word.eq_ignore_ascii_case(b"ids") && at + 1 < cx.args.len() {
            let count = cx.integer(at + 1).ok().and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|count| *count > 0);
            let count = count.ok_or(Failure::text("ERR Number of IDs must be a positive integer"))?;
            if count > cx.args.len() - at - 2 {
                return Err(Failure::text("ERR The `numids` parameter must match the number of arguments"));
            }
            found = Some(at + 2..at + 2 + count);
            at += 2 + count;
        } else {
            return Err(Failure::SYNTAX);
        }
    }
    Ok((references.unwrap_or_default(), found.ok_or(Failure::SYNTAX)?))
}

fn xdelex(cx: &mut Cx<'_, '_>) -> Outcome {
    delete_some(cx, 2, false, |stream, id, references| {
        if references == References::Drop {
            stream.forget(id);
        }
        match () {
            () if references == References::Respect && stream.is_referenced(id) => Fate::Referenced,
            () if !stream.entries().contains(id) => Fate::Missing,
            () => Fate::Deleted,
        }
    })
}

fn xackdel(cx: &mut Cx<'_, '_>) -> Outcome {
    let group = cx.args.at(2);
    delete_some(cx, 3, true, |stream, id, references| {
        let acknowledged = stream.group_mut(group).and_then(|(_, group)| group.remove_pending(id));
        if acknowledged.is_none() {
            return Fate::Missing;
        }
        if references == References::Drop {
            stream.forget(id);
        }
        if references == References::Respect && stream.is_referenced(id) {
            Fate::Referenced
        } else {
            Fate::Deleted
        }
    })
}

/// Deletes the request's ids whose fate is that, and answers with each one's. Options begin at an argument; in front of them may be a group, without which all
/// ids are missing.
fn delete_some(
    cx: &mut Cx<'_, '_>,
    options_at: usize,
    of_group: bool,
    fate: impl Fn(&mut Stream, Id, References) -> Fate,
) -> Outcome {
    let key = cx.key(1)?;
    // A value of another type is told before what is wrong with the options.
    let found = cx.find_as(key, Kind::Stream)?;
    let (references, places) = parse(cx, options_at)?;
    let group = cx.args.at(2);
    let found = match found {
        Some(position) if of_group => {
            let has_group = stream_of(cx.entry(key, position))?.group(group).is_some();
            has_group.then_some(position)
        }
        found => found,
    };
    let Some(position) = found else {
        cx.reply.array(places.len());
        places.for_each(|_| cx.reply.integer(Fate::Missing as i64));
        return Ok(());
    };
    let ids = places.map(|at| ids::parse(cx.args.at(at), 0)).collect::<Result<Vec<Id>, Failure>>()?;
    let (fates, deleted) = change(cx, key, position, |stream, gate| {
        let mut deleted = 0;
        let fates = ids.iter().map(|id| {
            let fate = fate(stream, *id, references);
            if fate == Fate::Deleted && stream.entries_mut().remove(gate, *id) {
                deleted += 1;
            }
            fate
        });
        (fates.collect::<Vec<Fate>>(), deleted)
    })?;
    report_deleted(cx, key, deleted);
    let acknowledged = of_group && fates.iter().any(|fate| *fate != Fate::Missing);
    if deleted == 0 && (acknowledged || references == References::Drop) {
        cx.changed_keyspace(1);
    }
    cx.reply.array(fates.len());
    fates.iter().for_each(|fate| cx.reply.integer(*fate as i64));
    Ok(())
}
