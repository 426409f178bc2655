//! Commands that add entries, take the oldest away, or set what a stream remembers of its ids: XADD, XTRIM, XSETID.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::UPDATE_KEY;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::trim::{self, Options, Threshold};
use super::{change, ids, node_limits, stream_of};
use crate::keyspace::collection::stream::{Id, Refused, Stream};
use crate::keyspace::{Key, Kind, Position};

const ADDED_KEY: &[Keys] = &[Keys {
    notes: "UPDATE instead of INSERT because of the optional trimming feature",
    ..Keys::one(1, Access::ReadWrite, Effect::UPDATE)
}];

const NOT_ABOVE: Failure =
    Failure::text("ERR The ID specified in XADD is equal or smaller than the target stream top item");
const TOO_LARGE: Failure = Failure::text("ERR Elements are too large to be stored");
const EXHAUSTED: Failure =
    Failure::text("ERR The stream has exhausted the last possible ID, unable to add more items");

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xadd",
        syntax: "XADD key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [<MAXLEN | MINID> [= | ~] threshold [LIMIT count]] <* | id> field value [field value ...]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log N) where N is the number of entries; besides, O(M) when M entries are trimmed.",
        summary: "Adds an entry to the end of a stream, and creates the stream if it does not exist. May trim it.",
        flags: Flags::WRITE
            .and(Flags::DENYOOM)
            .and(Flags::FAST)
            .and(Flags::LOGGED_AS_IT_CAME)
            .and(Flags::LOGGED_OTHERWISE),
        keys: ADDED_KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: xadd,
    },
    CommandSpec {
        name: "xsetid",
        syntax: "XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Sets the last id of a stream, how many entries were ever added, and the greatest id that was deleted.",
        flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::FAST).and(Flags::LOGGED_AS_IT_CAME),
        keys: UPDATE_KEY,
        tips: &[],
        subcommands: &[],
        run: xsetid,
    },
    trim::ROW,
];

fn xadd(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = Options::parse(cx, true)?;
    let fields_at = options.id_at + 1;
    if cx.args.len() < fields_at + 2 || (cx.args.len() - fields_at) % 2 == 1 {
        return Err(cx.wrong_number_of_arguments());
    }
    let wanted = match cx.args.at(options.id_at) {
        b"*" => None,
        text => Some(ids::parse_new(text)?),
    };
    if wanted == Some((0, Some(0))) {
        return Err(Failure::text("ERR The ID specified in XADD must be greater than 0-0"));
    }
    let key = cx.key(1)?;
    let found = cx.find_as(key, Kind::Stream)?;
    let position = match found {
        Some(position) => position,
        None if options.no_new_key => {
            cx.reply.null();
            return Ok(());
        }
        None => cx.add_collection(key, Kind::Stream),
    };
    let added = add(cx, key, position, wanted, &options);
    if added.is_err() && found.is_none() {
        cx.remove(cx.client.database, key, position);
    }
    let (id, removed, threshold) = added?;
    let is_chosen = wanted.is_none_or(|(_, seq)| seq.is_none()) || options.trims_whole_nodes();
    if is_chosen && cx.is_recorded() {
        log_added(cx, key, id, &options, &threshold.to_string());
    }
    cx.changed(Event::XADD, key);
    if removed > 0 {
        cx.also(Event::XTRIM, key);
    }
    cx.reply.bulk_text(id);
    Ok(())
}

/// Adds the request's entry, and trims; gives its id, how many entries are gone, and the exact threshold.
fn add(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Position,
    wanted: Option<(u64, Option<u64>)>,
    options: &Options,
) -> Result<(Id, u64, Threshold), Failure> {
    let last = stream_of(cx.entry(key, position))?.entries().last_id();
    let id = new_id(last, wanted, cx.now_ms())?;
    let (limits, args) = (node_limits(cx.config()), cx.args);
    change(cx, key, position, |stream: &mut Stream, gate| {
        let words = (options.id_at + 1..args.len()).step_by(2);
        let fields = words.map(|at| (args.at(at), args.at(at + 1)));
        stream.add(gate, id, fields, limits).map_err(|refused| match refused {
            Refused::NotAbove => NOT_ABOVE,
            Refused::TooLarge => TOO_LARGE,
        })?;
        let (removed, threshold) = options.apply(stream, gate);
        Ok((id, removed, threshold))
    })?
}

/// The id of an entry behind `last`: the present time, or what is wanted, of which the second part may be missing.
fn new_id(last: Id, wanted: Option<(u64, Option<u64>)>, now_ms: i64) -> Result<Id, Failure> {
    let behind = last.next().ok_or(EXHAUSTED)?;
    Ok(match wanted {
        None => behind.max(Id::new(now_ms.max(0) as u64, 0)),
        Some((ms, Some(seq))) => Id::new(ms, seq),
        // Redis says the same of an id whose second part is used up.
        Some((ms, None)) if ms == last.ms => Id::new(ms, last.seq.checked_add(1).ok_or(TOO_LARGE)?),
        Some((ms, None)) => Id::new(ms, 0),
    })
}

/// The record of an entry says its id, and how far the stream was trimmed.
fn log_added(cx: &mut Cx<'_, '_>, key: Key<'_>, id: Id, options: &Options, threshold: &str) {
    let (id, trim) = (id.to_string(), options.words(cx, threshold));
    let mut words = vec![b"XADD".as_slice(), key.bytes];
    words.extend(trim);
    words.push(id.as_bytes());
    words.extend(cx.args.iter_from(options.id_at + 1));
    cx.log(&words);
}

fn xsetid(cx: &mut Cx<'_, '_>) -> Outcome {
    let last = ids::parse(cx.args.at(2), 0)?;
    let (mut added, mut max_deleted) = (None, None);
    let mut at = 3;
    while at < cx.args.len() {
        let is = |name: &str| cx.args.at(at).eq_ignore_ascii_case(name.as_bytes());
        if is("entriesadded") && at + 1 < cx.args.len() {
            let count = u64::try_from(cx.integer(at + 1)?);
            added = Some(count.map_err(|_| Failure::text("ERR entries_added must be positive"))?);
        } else if is("maxdeletedid") && at + 1 < cx.args.len() {
            let id = ids::parse(cx.args.at(at + 1), 0)?;
            if last < id {
                return Err(Failure::text(
                    "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                ));
            }
            max_deleted = Some(id).filter(|id| *id != Id::ZERO);
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 2;
    }
    let key = cx.key(1)?;
    let position = cx.find_as(key, Kind::Stream)?.ok_or(Failure::NO_SUCH_KEY)?;
    let entries = stream_of(cx.entry(key, position))?.entries();
    if entries.greatest().is_some_and(|greatest| last < greatest) {
        return Err(Failure::text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if added.is_some_and(|added| added < entries.len() as u64) {
        return Err(Failure::text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    change(cx, key, position, |stream, _| stream.entries_mut().set_last_id(last, added, max_deleted))?;
    cx.changed_keyspace(1);
    cx.also(Event::XSETID, key);
    cx.reply.ok();
    Ok(())
}
