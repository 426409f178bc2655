//! What COMMAND INFO shows of a row: flags, ACL categories, key positions and key specifications, in the names and the order of
//! Redis 7.2.

use super::write_set;
use crate::command::keys::{Begin, Find};
use crate::command::registry::Command;
use crate::command::spec::{Access, Effect, Flags, Group, Keys};
use crate::resp::Reply;

/// Flags that are shown, in order. Redis keeps `may_replicate` to itself.
const FLAG_NAMES: &[(Flags, &str)] = &[
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// All ACL categories, in the order in which ACL CAT names them.
pub const CATEGORIES: &[&str] = &[
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// Whether the specifications of the keys are not all plain ranges, so that a client cannot find them by first, last and step.
fn are_movable(specs: &[Keys]) -> bool {
    specs.iter().any(|keys| {
        let plain = matches!((keys.begin, keys.find), (Begin::At(_), Find::Range { .. }));
        !plain || keys.effect.has(Effect::INCOMPLETE)
    })
}

/// The ACL categories of a command, without the `@`.
pub fn categories(command: &Command) -> impl Iterator<Item = &'static str> + use<> {
    let (has, group) = (|flag| command.has(flag), command.spec.group);
    let container = !command.subcommands.is_empty() && command.arity != -1;
    let connection = has(Flags::CONNECTION);
    let sorts = has(Flags::SORTS);
    let of_keys = group == Group::Generic && !container && !connection && !sorts;
    let fast = has(Flags::FAST);
    let admin = has(Flags::ADMIN);
    [
        ("keyspace", of_keys || has(Flags::KEYSPACE)),
        ("read", has(Flags::READONLY)),
        ("write", has(Flags::WRITE)),
        ("set", group == Group::Set || sorts),
        ("sortedset", group == Group::SortedSet || sorts),
        ("list", group == Group::List || sorts),
        ("hash", group == Group::Hash),
        ("string", group == Group::String),
        ("bitmap", group == Group::Bitmap),
        ("hyperloglog", group == Group::HyperLogLog),
        ("geo", group == Group::Geo),
        ("stream", group == Group::Stream),
        ("pubsub", has(Flags::PUBSUB)),
        ("admin", admin || has(Flags::ADMIN_CATEGORY)),
        ("fast", fast),
        ("slow", !fast),
        ("blocking", has(Flags::BLOCKING)),
        ("dangerous", admin || has(Flags::DANGEROUS)),
        ("connection", connection),
        ("transaction", group == Group::Transactions),
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
}

/// The flags of a key specification.
pub fn key_flags(access: Access, effect: Effect, not_key: bool) -> impl Iterator<Item = &'static str> {
    let access = match access {
        Access::ReadOnly => "RO",
        Access::ReadWrite => "RW",
        Access::Overwrite => "OW",
        Access::Remove => "RM",
    };
    [
        (access, !not_key),
        ("access", effect.has(Effect::ACCESS)),
        ("update", effect.has(Effect::UPDATE)),
        ("insert", effect.has(Effect::INSERT)),
        ("delete", effect.has(Effect::DELETE)),
        ("not_key", not_key),
        ("variable_flags", effect.has(Effect::VARIABLE)),
        ("incomplete", effect.has(Effect::INCOMPLETE)),
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
}

/// First key, last key and step, as clients knew them before there were key specifications; what those could not tell is left out.
fn key_range(specs: &[Keys]) -> (usize, isize, usize) {
    let ranges = specs.iter().filter_map(|keys| match (keys.begin, keys.find) {
        (Begin::At(first), Find::Range { last, step, .. }) if last < 0 => Some((first, last, step)),
        (Begin::At(first), Find::Range { last, step, .. }) => Some((first, first as isize + last, step)),
        _ => None,
    });
    let ranges: Vec<_> = ranges.collect();
    let Some(first) = ranges.iter().map(|(first, ..)| *first).min() else { return (0, 0, 0) };
    let last = match ranges.iter().find(|(_, last, _)| *last < 0) {
        Some((_, open_ended, _)) => *open_ended,
        None => ranges.iter().map(|(_, last, _)| *last).max().unwrap_or(0),
    };
    let step = if let [(.., only)] = ranges[..] { only } else { 1 };
    (first, last, step)
}

/// One command as COMMAND INFO describes it, its subcommands included.
pub fn write_info(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags = FLAG_NAMES.iter().filter(|(flag, _)| command.has(*flag)).map(|(_, name)| *name);
    write_set(reply, flags.chain(are_movable(spec.keys).then_some("movablekeys")));
    let (first, last, step) = key_range(spec.keys);
    reply.integer(first as i64);
    reply.integer(last as i64);
    reply.integer(step as i64);
    let categories: Vec<String> = categories(command).map(|name| format!("@{name}")).collect();
    write_set(reply, categories.iter().map(String::as_str));
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.keys.len());
    for keys in spec.keys {
        write_keys(reply, keys);
    }
    reply.set(command.subcommands.len());
    for subcommand in &command.subcommands {
        write_info(reply, subcommand);
    }
}

/// One key specification: where the search begins, and how it goes on from there.
fn write_keys(reply: &mut Reply<'_>, keys: &Keys) {
    reply.map(3 + usize::from(!keys.notes.is_empty()));
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_set(reply, key_flags(keys.access, keys.effect, keys.not_key));
    reply.bulk(b"begin_search");
    match keys.begin {
        Begin::At(index) => {
            write_step(reply, "index", 1);
            write_number(reply, "index", index as i64);
        }
        Begin::Behind { word, from } => {
            write_step(reply, "keyword", 2);
            reply.bulk(b"keyword");
            reply.bulk(word.as_bytes());
            write_number(reply, "startfrom", from as i64);
        }
        Begin::Unknown => write_step(reply, "unknown", 0),
    }
    reply.bulk(b"find_keys");
    match keys.find {
        Find::Range { last, step, limit } => {
            write_step(reply, "range", 3);
            write_number(reply, "lastkey", last as i64);
            write_number(reply, "keystep", step as i64);
            write_number(reply, "limit", limit as i64);
        }
        Find::Counted { count, first, step } => {
            write_step(reply, "keynum", 3);
            write_number(reply, "keynumidx", count as i64);
            write_number(reply, "firstkey", first as i64);
            write_number(reply, "keystep", step as i64);
        }
        Find::Unknown => write_step(reply, "unknown", 0),
    }
}

/// The head of a step of the search, whose specification has so many fields.
fn write_step(reply: &mut Reply<'_>, kind: &str, fields: usize) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields);
}

fn write_number(reply: &mut Reply<'_>, name: &str, number: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::registry::COMMANDS;

    #[test]
    fn categories_follow_from_the_row() {
        let of = |name: &str| {
            let command = COMMANDS.find_full(name.as_bytes()).expect("a command of this name");
            categories(command).collect::<Vec<_>>()
        };
        assert_eq!(of("get"), ["read", "string", "fast"]);
        assert_eq!(of("config"), ["slow"]);
        assert_eq!(of("config|get"), ["admin", "slow", "dangerous"]);
        assert_eq!(of("dbsize"), ["keyspace", "read", "fast"]);
        assert_eq!(of("role"), ["admin", "fast", "dangerous"]);
        assert_eq!(of("command|docs"), ["slow", "connection"]);
        assert_eq!(of("memory|usage"), ["read", "slow"]);
        assert_eq!(of("sort_ro"), ["read", "set", "sortedset", "list", "slow", "dangerous"]);
    }

    #[test]
    fn several_specifications_make_one_range() {
        let keys = |first| Keys::one(first, Access::ReadOnly, Effect::NONE);
        assert_eq!(key_range(&[]), (0, 0, 0));
        assert_eq!(key_range(&[keys(2)]), (2, 2, 1));
        assert_eq!(key_range(&[keys(1), keys(2)]), (1, 2, 1));
        assert_eq!(key_range(&[Keys::to_end(1, 2, Access::Overwrite, Effect::UPDATE)]), (1, -1, 2));
    }
}
