//! Commands that look for keys: SCAN, KEYS, RANDOMKEY.
//!
//! A SCAN cursor stands for a shard and a place in its table (`keyspace/cursor.rs`); see `keyspace/segment.rs` for why a place means the
//! same before and after a resize. Outside EXEC one shard is locked at a time, and for a bounded walk, whatever COUNT says (`walk.rs`); a request
//! that looks at more keys than fit a turn goes on in its client's next one, so that others of its loop do not wait for it.
//! Keys whose time has passed are skipped; reclaiming them is the wheel's work.

use super::super::cx::{Cx, LoopState, Outcome};
use super::super::scanning::{Options, Own, cursor_argument, matches};
use super::super::spec::{CommandSpec, Flags, Group};
use super::super::walk::{BITE_HOMES, BITE_KEYS, TurnLeft};
use crate::base::random::Random;
use crate::client::Parked;
use crate::keyspace::{EntryRef, Locked, Partition, SHARDS, ShardWeights};
use crate::resp::{Protocol, Reply};

const FLAGS: Flags = Flags::READONLY.and(Flags::ALL_KEYS);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "keys",
        syntax: "KEYS pattern",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys in the database; O(1) for a pattern without wildcards.",
        summary: "Returns all keys that match a pattern.",
        flags: FLAGS.and(Flags::DANGEROUS),
        keys: &[],
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        subcommands: &[],
        run: keys,
    },
    CommandSpec {
        name: "randomkey",
        syntax: "RANDOMKEY",
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns some key of the database.",
        flags: FLAGS,
        keys: &[],
        tips: &["request_policy:all_shards", "response_policy:special", "nondeterministic_output"],
        subcommands: &[],
        run: randomkey,
    },
    CommandSpec {
        name: "scan",
        syntax: "SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]",
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for each call, O(N) for all calls until the cursor is back at 0.",
        summary: "Returns some of the keys of the database and a cursor to go on from.",
        flags: FLAGS,
        keys: &[],
        tips: &["nondeterministic_output", "request_policy:special", "response_policy:special"],
        subcommands: &[],
        run: scan,
    },
];

/// Homes of a table that SCAN walks for each key that it looks for, so that a sparse table does not hold it up.
const HOMES_PER_KEY: usize = 10;
/// Random shards that RANDOMKEY tries before it goes through all of them, random slots that it tries in each, and slots that it then goes through.
const RANDOM_TRIES: usize = 16;
const RANDOM_SLOTS: usize = 256;

/// What an earlier turn has left, or a beginning there.
fn begin(cx: &mut Cx<'_, '_>, (shard, granule): (usize, u64), count: usize) -> Box<Parked> {
    cx.take_parked().unwrap_or_else(|| {
        let homes_left = count.saturating_mul(HOMES_PER_KEY);
        let found = cx.reply.aside();
        Box::new(Parked { shard, granule, found, keys_left: count, homes_left, ..Parked::default() })
    })
}

fn push(parked: &mut Parked, key: &[u8], protocol: Protocol) {
    Reply::new(&mut parked.found, protocol).bulk(key);
    parked.count += 1;
}

fn reply(parked: Parked, reply: &mut Reply<'_>) {
    reply.array(parked.count);
    reply.append(parked.found);
}

/// Looks at the next keys of the client's database, and collects those that are `wanted`, until there are no more, so many as may be looked at were
/// seen, the reply is over its limit, or the turn is used up; then it says false.
fn look(cx: &mut Cx<'_, '_>, parked: &mut Parked, wanted: impl Fn(EntryRef<'_>) -> bool) -> bool {
    let (database, now_ms, protocol) = (cx.client.database, cx.now_ms(), cx.reply.protocol());
    let keyspace = &cx.services().keyspace;
    let mut left = TurnLeft::of(cx);
    while parked.shard < SHARDS && parked.keys_left > 0 && parked.homes_left > 0 && !parked.found.is_over() {
        if left.is_used_up() {
            return false;
        }
        let in_hand = parked.shard;
        cx.locked.each_shard(in_hand, |_, held| {
            let table = held.partition(database).table();
            let (keys, homes) = (parked.keys_left.min(BITE_KEYS), parked.homes_left.min(BITE_HOMES));
            let mut seen = 0;
            let rehash = |key: &[u8]| keyspace.key(key).hash;
            let rest = table.walk(parked.granule, keys, homes, rehash, |entry| {
                seen += 1;
                if !entry.is_expired(now_ms) && wanted(entry) {
                    push(parked, entry.key(), protocol);
                }
            });
            let homes = homes.min(table.slots());
            left.spend(seen, homes);
            parked.keys_left = parked.keys_left.saturating_sub(seen);
            parked.homes_left = parked.homes_left.saturating_sub(homes);
            (parked.shard, parked.granule) = rest.map_or((in_hand + 1, 0), |rest| (in_hand, rest));
            false
        });
        cx.locked.let_others(in_hand);
    }
    true
}

fn keys(cx: &mut Cx<'_, '_>) -> Outcome {
    let pattern = cx.args.at(1);
    if !pattern.iter().any(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')) {
        return only_key(cx, pattern);
    }
    let mut parked = begin(cx, (0, 0), usize::MAX);
    if !look(cx, &mut parked, |entry| matches(pattern, entry.key())) {
        return Err(cx.park(parked));
    }
    reply(*parked, &mut cx.reply);
    Ok(())
}

/// KEYS of a pattern that one key can match.
fn only_key(cx: &mut Cx<'_, '_>, name: &[u8]) -> Outcome {
    let (database, now_ms) = (cx.client.database, cx.now_ms());
    let key = cx.services().keyspace.key(name);
    let mut is_there = false;
    cx.locked.each_shard(key.shard, |_, shard| {
        let partition = shard.partition(database);
        let position = partition.find(key.hash, key.bytes);
        is_there = position.is_some_and(|position| !partition.entry(position).is_expired(now_ms));
        false
    });
    cx.reply.array(usize::from(is_there));
    if is_there {
        cx.reply.bulk(name);
    }
    Ok(())
}

/// Whether SCAN's options want a key.
fn wants(options: &Options<'_>, entry: EntryRef<'_>) -> bool {
    let is_of_type = |name: &[u8]| name.eq_ignore_ascii_case(entry.kind().type_name().as_bytes());
    options.of_type.is_none_or(is_of_type) && options.matches(entry.key())
}

fn scan(cx: &mut Cx<'_, '_>) -> Outcome {
    let cursor = cursor_argument(cx.args.at(1))?;
    let options = Options::parse(cx, 2, Some(Own::Type))?;
    let keyspace = &cx.services().keyspace;
    let mut parked = begin(cx, keyspace.place_of(cursor), options.count);
    if !look(cx, &mut parked, |entry| wants(&options, entry)) {
        return Err(cx.park(parked));
    }
    let at_end = parked.shard >= SHARDS;
    let next = if at_end { 0 } else { keyspace.cursor_of(parked.shard, parked.granule) };
    cx.reply.array(2);
    cx.reply.bulk_text(next);
    reply(*parked, &mut cx.reply);
    Ok(())
}

/// A random shard, in proportion to what it holds, and a random key in it; where that finds none that lives, because nearly all have
/// expired, some live key.
fn randomkey(cx: &mut Cx<'_, '_>) -> Outcome {
    let (database, now_ms) = (cx.client.database, cx.now_ms());
    let LoopState { random, key_counts: (counted, counts), .. } = &mut *cx.state;
    let locked = &mut *cx.locked;
    if *counted != database {
        (*counted, *counts) = (database, ShardWeights::default());
    }
    let mut keys_of = |shard| {
        let mut keys = 0;
        locked.each_shard(shard, |_, held| {
            keys = held.partition(database).len();
            false
        });
        keys
    };
    counts.look(|shard| Some(keys_of(shard)));
    if counts.is_zero() {
        counts.look_at_all(&mut keys_of);
    }
    let mut chosen = None;
    for _ in 0..RANDOM_TRIES {
        let Some(shard) = counts.draw(random) else { break };
        locked.each_shard(shard, |_, held| {
            let partition = held.partition(database);
            counts.note(shard, partition.len());
            chosen = random_live_key(partition, now_ms, random);
            false
        });
        if chosen.is_some() {
            break;
        }
    }
    match chosen.or_else(|| some_live_key(locked, database, now_ms, random)) {
        Some(key) => cx.reply.bulk(&key),
        None => cx.reply.null(),
    }
    Ok(())
}

fn random_live_key(partition: &Partition, now_ms: i64, random: &mut Random) -> Option<Box<[u8]>> {
    if partition.is_empty() {
        return None;
    }
    let table = partition.table();
    let mut live_from = |slots| {
        let from = random.below(table.slots() as u64) as usize;
        let mut entries = table.sample(from, usize::MAX, slots).map(|position| table.entry(position));
        entries.find(|entry| !entry.is_expired(now_ms))
    };
    // A key behind many empty slots would be found too often, so at first only the very slot counts.
    let found = (0..RANDOM_TRIES).find_map(|_| live_from(1)).or_else(|| live_from(RANDOM_SLOTS));
    found.map(|entry| entry.key().into())
}

/// The first live key from a random shard on. A shard is locked for a bite at a time.
fn some_live_key(
    locked: &mut Locked<'_>,
    database: usize,
    now_ms: i64,
    random: &mut Random,
) -> Option<Box<[u8]>> {
    let first = random.below(SHARDS as u64) as usize;
    let mut found = Vec::new();
    for shard in (first..SHARDS).chain(0..first) {
        let mut next = Some(0);
        while let Some(from) = next {
            let mut chosen = None;
            locked.each_shard(shard, |_, held| {
                let table = held.partition(database).table();
                found.clear();
                next = table.gather(from, BITE_KEYS, BITE_HOMES, &mut found);
                found.retain(|position| !table.entry(*position).is_expired(now_ms));
                if !found.is_empty() {
                    let position = found[random.below(found.len() as u64) as usize];
                    chosen = Some(table.entry(position).key().into());
                }
                false
            });
            if chosen.is_some() {
                return chosen;
            }
        }
    }
    None
}
