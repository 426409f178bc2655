//! XGROUP: groups of a stream, and their consumers.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::help;
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use super::{change, change_group, ids, no_group_of_key, stream_of};
use crate::keyspace::collection::stream::Id;
use crate::keyspace::{Key, Kind, Position};

const FLAGS: Flags = Flags::WRITE.and(Flags::LOGGED_AS_IT_CAME);

const fn key_that(effect: Effect) -> Keys {
    Keys::one(2, Access::ReadWrite, effect)
}

pub const ROWS: &[CommandSpec] = &[help::container(
    "xgroup",
    "XGROUP <subcommand>",
    Group::Stream,
    "5.0.0",
    "A container for consumer groups commands.",
    XGROUP,
)];

const XGROUP: &[CommandSpec] = &[
    CommandSpec {
        name: "create",
        syntax: "XGROUP CREATE key group <id | $> [MKSTREAM] [ENTRIESREAD entries-read]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Creates a consumer group that reads from behind an id on.",
        flags: FLAGS.and(Flags::DENYOOM),
        keys: &[key_that(Effect::INSERT)],
        tips: &[],
        subcommands: &[],
        run: create,
    },
    CommandSpec {
        name: "createconsumer",
        syntax: "XGROUP CREATECONSUMER key group consumer",
        group: Group::Stream,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Creates a consumer in a consumer group.",
        flags: FLAGS.and(Flags::DENYOOM),
        keys: &[key_that(Effect::INSERT)],
        tips: &[],
        subcommands: &[],
        run: createconsumer,
    },
    CommandSpec {
        name: "delconsumer",
        syntax: "XGROUP DELCONSUMER key group consumer",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries that are pending for the consumer.",
        summary: "Deletes a consumer of a consumer group, with what is pending for it.",
        flags: FLAGS,
        keys: &[key_that(Effect::DELETE)],
        tips: &[],
        subcommands: &[],
        run: delconsumer,
    },
    CommandSpec {
        name: "destroy",
        syntax: "XGROUP DESTROY key group",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(N) where N is the number of entries in the group's pending entries list (PEL).",
        summary: "Deletes a consumer group.",
        flags: FLAGS,
        keys: &[key_that(Effect::DELETE)],
        tips: &[],
        subcommands: &[],
        run: destroy,
    },
    help::row("XGROUP HELP", Group::Stream, "5.0.0", Flags::NONE),
    CommandSpec {
        name: "setid",
        syntax: "XGROUP SETID key group <id | $> [ENTRIESREAD entries-read]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Sets the last id that a consumer group counts as delivered.",
        flags: FLAGS,
        keys: &[key_that(Effect::UPDATE)],
        tips: &[],
        subcommands: &[],
        run: setid,
    },
];

/// Options of CREATE and SETID.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
}

fn parse(cx: &Cx<'_, '_>, creates: bool) -> Result<Options, Failure> {
    let (mut options, mut at) = (Options::default(), 5);
    while at < cx.args.len() {
        let is = |name: &str| cx.args.at(at).eq_ignore_ascii_case(name.as_bytes());
        if creates && is("mkstream") {
            options.makes_stream = true;
            at += 1;
        } else if is("entriesread") && at + 1 < cx.args.len() {
            let count = cx.integer(at + 1)?;
            if count < -1 {
                return Err(Failure::text("ERR value for ENTRIESREAD must be positive or -1"));
            }
            options.entries_read = u64::try_from(count).ok();
            at += 2;
        } else {
            return Err(help::bad_arguments(cx));
        }
    }
    Ok(options)
}

/// The stream that a subcommand needs.
fn find(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Position, Failure> {
    cx.find_as(key, Kind::Stream)?.ok_or(Failure::text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
    ))
}

/// The stream and the group that a subcommand needs.
fn find_group(cx: &mut Cx<'_, '_>, key: Key<'_>) -> Result<Position, Failure> {
    let position = find(cx, key)?;
    let name = cx.args.at(3);
    match stream_of(cx.entry(key, position))?.group(name) {
        Some(_) => Ok(position),
        None => Err(no_group_of_key(key.bytes, name)),
    }
}

fn create(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = parse(cx, true)?;
    let (key, name) = (cx.key(2)?, cx.args.at(3));
    let found = match cx.find_as(key, Kind::Stream)? {
        None if !options.makes_stream => Some(find(cx, key)?),
        found => found,
    };
    if cx.args.len() > 8 {
        return Err(help::bad_arguments(cx));
    }
    let last = match found {
        Some(position) => stream_of(cx.entry(key, position))?.entries().last_id(),
        None => Id::ZERO,
    };
    let id = if cx.args.at(4) == b"$" { last } else { ids::parse(cx.args.at(4), 0)? };
    let position = match found {
        Some(position) if stream_of(cx.entry(key, position))?.group(name).is_some() => {
            return Err(Failure::text("BUSYGROUP Consumer Group name already exists"));
        }
        Some(position) => position,
        None => cx.add_collection(key, Kind::Stream),
    };
    change(cx, key, position, |stream, _| stream.add_group(name, id, options.entries_read))?;
    if found.is_none() {
        cx.changed(Event::XGROUP_CREATE, key);
    } else {
        report(cx, Event::XGROUP_CREATE, key);
    }
    cx.reply.ok();
    Ok(())
}

/// A change of groups alone is none that WATCH sees, as in Redis.
fn report(cx: &mut Cx<'_, '_>, event: Event, key: Key<'_>) {
    cx.changed_keyspace(1);
    cx.also(event, key);
}

fn setid(cx: &mut Cx<'_, '_>) -> Outcome {
    let options = parse(cx, false)?;
    let (key, name) = (cx.key(2)?, cx.args.at(3));
    let position = find_group(cx, key)?;
    if cx.args.len() > 7 {
        return Err(help::bad_arguments(cx));
    }
    let id = match cx.args.at(4) {
        b"$" => stream_of(cx.entry(key, position))?.entries().last_id(),
        text => ids::parse_edge(text, 0)?,
    };
    change_group(cx, key, position, name, |_, group| {
        (group.last_delivered, group.entries_read) = (id, options.entries_read);
    })?;
    report(cx, Event::XGROUP_SETID, key);
    cx.reply.ok();
    Ok(())
}

fn destroy(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name) = (cx.key(2)?, cx.args.at(3));
    let position = find(cx, key)?;
    let is_there = stream_of(cx.entry(key, position))?.group(name).is_some();
    if is_there {
        change(cx, key, position, |stream, _| stream.remove_group(name))?;
        report(cx, Event::XGROUP_DESTROY, key);
    }
    cx.reply.integer(i64::from(is_there));
    Ok(())
}

fn createconsumer(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name, consumer) = (cx.key(2)?, cx.args.at(3), cx.args.at(4));
    let position = find_group(cx, key)?;
    let now_ms = cx.now_ms();
    let created = change_group(cx, key, position, name, |_, group| {
        let is_new = group.find_consumer(consumer).is_none();
        if is_new {
            group.add_consumer(consumer, now_ms);
        }
        is_new
    })?;
    if created == Some(true) {
        report(cx, Event::XGROUP_CREATECONSUMER, key);
    }
    cx.reply.integer(i64::from(created == Some(true)));
    Ok(())
}

fn delconsumer(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, name, consumer) = (cx.key(2)?, cx.args.at(3), cx.args.at(4));
    let position = find_group(cx, key)?;
    let removed = change_group(cx, key, position, name, |_, group| {
        group.find_consumer(consumer).map(|number| group.remove_consumer(number))
    })?;
    if removed.flatten().is_some() {
        report(cx, Event::XGROUP_DELCONSUMER, key);
    }
    cx.reply.integer(removed.flatten().unwrap_or(0) as i64);
    Ok(())
}
