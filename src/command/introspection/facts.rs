//! What COMMAND INFO shows of a row: flags, ACL categories, key positions and key specifications, in the names and the order of
//! Redis 7.2.

use super::write_set;
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
    (Flags::MOVABLE_KEYS, "movablekeys"),
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

/// The ACL categories of a command, without the `@`.
pub fn categories(command: &Command) -> impl Iterator<Item = &'static str> + use<> {
    let (has, group) = (|flag| command.has(flag), command.spec.group);
    let container = !command.subcommands.is_empty() && command.arity != -1;
    let connection = has(Flags::CONNECTION);
    let of_keys = group == Group::Generic && !container && !connection;
    let fast = has(Flags::FAST);
    let admin = has(Flags::ADMIN);
    [
        ("keyspace", of_keys || has(Flags::KEYSPACE)),
        ("read", has(Flags::READONLY)),
        ("write", has(Flags::WRITE)),
        ("string", group == Group::String),
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
    ]
    .into_iter()
    .filter_map(|(name, holds)| holds.then_some(name))
}

/// First key, last key and step, as clients knew them before there were key specifications.
fn key_range(specs: &[Keys]) -> (usize, isize, usize) {
    let Some(first) = specs.iter().map(|keys| keys.first).min() else { return (0, 0, 0) };
    let last = match specs.iter().find(|keys| keys.last < 0) {
        Some(open_ended) => open_ended.last,
        None => specs.iter().map(|keys| keys.last).max().unwrap_or(0),
    };
    let step = if let [only] = specs { only.step } else { 1 };
    (first, last, step)
}

/// One command as COMMAND INFO describes it, its subcommands included.
pub fn write_info(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    reply.array(10);
    reply.bulk(command.full_name.as_bytes());
    reply.integer(i64::from(command.arity));
    let flags = FLAG_NAMES.iter().filter(|(flag, _)| command.has(*flag)).map(|(_, name)| *name);
    write_set(reply, flags);
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

/// One key specification: where the search begins (a fixed argument), and how it goes on from there (a range).
fn write_keys(reply: &mut Reply<'_>, keys: &Keys) {
    reply.map(3 + usize::from(!keys.notes.is_empty()));
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_set(reply, key_flags(keys.access, keys.effect, keys.not_key));
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(keys.first as i64);
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    reply.bulk(b"lastkey");
    // Relative to where the search began, unless it counts from the end.
    let last = if keys.last < 0 { keys.last } else { keys.last - keys.first as isize };
    reply.integer(last as i64);
    reply.bulk(b"keystep");
    reply.integer(keys.step as i64);
    reply.bulk(b"limit");
    reply.integer(0);
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
