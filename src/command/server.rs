//! Commands about the whole keyspace and about the server as such.

use super::cx::{Cx, Failure, Outcome};
use super::spec::{CommandSpec, Flags, Group};
use std::sync::atomic::Ordering;

use crate::base::number::parse_i64;
use crate::client::Blocked;
use crate::keyspace::{Locked, SHARDS, ShardSet, Site};
use crate::services::Shutdown;
use crate::snapshot::SaveKind;

const FLUSH_TIPS: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "dbsize",
        syntax: "DBSIZE",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the number of keys in the selected database.",
        flags: Flags::READONLY.and(Flags::FAST).and(Flags::ALL_KEYS).and(Flags::KEYSPACE),
        keys: &[],
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        subcommands: &[],
        run: dbsize,
    },
    CommandSpec {
        name: "flushall",
        syntax: "FLUSHALL [ASYNC | SYNC]",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the total number of keys in all databases",
        summary: "Removes all keys from all databases.",
        flags: Flags::WRITE
            .and(Flags::DANGEROUS)
            .and(Flags::ALL_KEYS)
            .and(Flags::KEYSPACE)
            .and(Flags::LOGGED_AS_IT_CAME),
        keys: &[],
        tips: FLUSH_TIPS,
        subcommands: &[],
        run: flush_all,
    },
    CommandSpec {
        name: "flushdb",
        syntax: "FLUSHDB [ASYNC | SYNC]",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys in the selected database",
        summary: "Removes all keys from the selected database.",
        flags: Flags::WRITE
            .and(Flags::DANGEROUS)
            .and(Flags::ALL_KEYS)
            .and(Flags::KEYSPACE)
            .and(Flags::LOGGED_AS_IT_CAME),
        keys: &[],
        tips: FLUSH_TIPS,
        subcommands: &[],
        run: flush_database,
    },
    CommandSpec {
        name: "lolwut",
        syntax: "LOLWUT [VERSION version]",
        group: Group::Server,
        since: "5.0.0",
        complexity: "O(1)",
        summary: "Draws a coat hanger and names the version.",
        flags: Flags::READONLY.and(Flags::FAST),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: lolwut,
    },
    CommandSpec {
        name: "role",
        syntax: "ROLE",
        group: Group::Server,
        since: "2.8.12",
        complexity: "O(1)",
        summary: "Returns the server's role in replication.",
        flags: ROLE_FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: role,
    },
    CommandSpec {
        name: "shutdown",
        syntax: "SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(N) when saving, where N is the total number of keys in all databases when saving data, otherwise O(1)",
        summary: "Stops the server in an orderly way.",
        flags: SHUTDOWN_FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: shutdown,
    },
    CommandSpec {
        name: "swapdb",
        syntax: "SWAPDB index1 index2",
        group: Group::Server,
        since: "4.0.0",
        complexity: "O(N) where N is the count of clients watching or blocking on keys from both databases.",
        summary: "Exchanges two databases for all clients at once.",
        flags: SWAP_FLAGS.and(Flags::LOGGED_AS_IT_CAME),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: swap_databases,
    },
    CommandSpec {
        name: "time",
        syntax: "TIME",
        group: Group::Server,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Returns the server's clock: Unix seconds and the microseconds within the second.",
        flags: Flags::LOADING.and(Flags::STALE).and(Flags::FAST),
        keys: &[],
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: time,
    },
];

const ROLE_FLAGS: Flags = Flags::NOSCRIPT
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::FAST)
    .and(Flags::ADMIN_CATEGORY)
    .and(Flags::DANGEROUS);
const SHUTDOWN_FLAGS: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::NO_MULTI)
    .and(Flags::ALLOW_BUSY);
const SWAP_FLAGS: Flags =
    Flags::WRITE.and(Flags::FAST).and(Flags::ALL_KEYS).and(Flags::KEYSPACE).and(Flags::DANGEROUS);

fn dbsize(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut keys = 0;
    let database = cx.client.database;
    cx.locked.each_shard(0, |_, shard| {
        keys += shard.partition(database).len();
        true
    });
    cx.reply.integer(keys as i64);
    Ok(())
}

fn flush_all(cx: &mut Cx<'_, '_>) -> Outcome {
    flush(cx, 0..cx.services().keyspace.databases())?;
    if !cx.config().save.is_empty() && !cx.services().write_log.is_on() {
        // As in Redis: else a crash would bring back what was flushed, until the next save point.
        cx.services().snapshots.state.lock().schedule(SaveKind::Save);
    }
    Ok(())
}

fn flush_database(cx: &mut Cx<'_, '_>) -> Outcome {
    let database = cx.client.database;
    flush(cx, database..database + 1)
}

/// Takes all partitions of the databases out at one moment. The keys are freed by the reclaiming thread, with SYNC too: what the
/// caller can see is the same, and no event loop waits.
fn flush(cx: &mut Cx<'_, '_>, databases: std::ops::Range<usize>) -> Outcome {
    match cx.args.get(1) {
        None => {}
        Some(_) if cx.args.len() > 2 => return Err(Failure::SYNTAX),
        Some(mode) if mode.eq_ignore_ascii_case(b"ASYNC") || mode.eq_ignore_ascii_case(b"SYNC") => {}
        Some(_) => return Err(Failure::SYNTAX),
    }
    lock_all(cx);
    let (keyspace, now_ms) = (&cx.services().keyspace, cx.now_ms());
    let removed = cx.locked.take_databases(databases, now_ms);
    let keys: usize = removed.iter().map(|(_, partition)| partition.len()).sum();
    // Redis counts an empty flush as a change too, because it is one to a replica.
    cx.changed_keyspace(keys.max(1) as u64);
    keyspace.discard(removed);
    cx.reply.ok();
    Ok(())
}

/// Locks every shard, unless the transaction that the request is part of has done so.
fn lock_all(cx: &mut Cx<'_, '_>) {
    if cx.locked.is_empty() {
        let mut all = ShardSet::default();
        all.add_all();
        *cx.locked = Locked::many(&cx.services().keyspace, all);
    }
}

fn swap_databases(cx: &mut Cx<'_, '_>) -> Outcome {
    let index = |at: usize| parse_i64(cx.args.at(at)).and_then(|index| i32::try_from(index).ok());
    let first = index(1).ok_or(Failure::text("ERR invalid first DB index"))?;
    let second = index(2).ok_or(Failure::text("ERR invalid second DB index"))?;
    let keyspace = &cx.services().keyspace;
    let database = |index: i32| usize::try_from(index).ok().filter(|index| *index < keyspace.databases());
    let (Some(first), Some(second)) = (database(first), database(second)) else {
        return Err(Failure::text("ERR DB index is out of range"));
    };
    if first != second {
        lock_all(cx);
        let now_ms = cx.now_ms();
        for shard in 0..SHARDS {
            reclaim_watched(cx, shard, [first, second]);
            let held = cx.locked.shard(shard);
            let mut watched = std::mem::take(&mut held.watched);
            watched.touch_all(|database, key| {
                let hash = keyspace.key(key).hash;
                // A key that is in neither database looks the same before and after.
                let is_in = |each| held.partition(each).find(hash, key).is_some();
                [first, second].contains(&database) && (is_in(first) || is_in(second))
            });
            held.watched = watched;
            held.swap(first, second);
            for database in [first, second] {
                held.partition(database).published(Site { keyspace, database, shard, now_ms });
            }
        }
        keyspace.note_swap(first, second);
        cx.changed_keyspace(1);
    }
    cx.reply.ok();
    Ok(())
}

/// Removes the watched keys of a shard whose time has passed. One that expired since it was watched has changed by that; an
/// expired one that only comes from the other database is as good as none, and must not look like a change at EXEC.
fn reclaim_watched(cx: &mut Cx<'_, '_>, shard: usize, databases: [usize; 2]) {
    let keyspace = &cx.services().keyspace;
    for name in cx.locked.shard(shard).watched.keys_of(databases) {
        for database in databases {
            cx.find_in(database, keyspace.key(&name));
        }
    }
}

fn time(cx: &mut Cx<'_, '_>) -> Outcome {
    let now_us = cx.state.now_us;
    cx.reply.array(2);
    cx.reply.bulk_integer(now_us.div_euclid(1_000_000));
    cx.reply.bulk_integer(now_us.rem_euclid(1_000_000));
    Ok(())
}

fn role(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(3);
    cx.reply.bulk(b"master");
    cx.reply.integer(0);
    cx.reply.array(0);
    Ok(())
}

/// Ends the server without a reply, or answers with an error when saving has failed.
fn shutdown(cx: &mut Cx<'_, '_>) -> Outcome {
    let (mut save, mut no_save, mut abort, mut now, mut force) = (false, false, false, false, false);
    for option in cx.args.iter_from(1) {
        match option.to_ascii_uppercase().as_slice() {
            b"SAVE" => save = true,
            b"NOSAVE" => no_save = true,
            b"NOW" => now = true,
            b"FORCE" => force = true,
            b"ABORT" => abort = true,
            _ => return Err(Failure::SYNTAX),
        }
    }
    if save && no_save || abort && (save || no_save || now || force) {
        return Err(Failure::SYNTAX);
    }
    if abort {
        // A shutdown never waits for replicas here, so there is never one to call off.
        return Err(Failure::text("ERR No shutdown in progress."));
    }
    let order = cx.services().shutdowns.fetch_add(1, Ordering::Relaxed) + 1;
    cx.client.blocked = Some(Blocked::ShuttingDown { order });
    let save = if save { Some(true) } else { no_save.then_some(false) };
    cx.services().control.shut_down(Shutdown { save, force, now, order });
    Ok(())
}

/// The versions that Redis has a picture for.
const DRAWN: [i64; 2] = [5, 6];

const HANGER: &str = "
                  .--.
                 (    )
                      /
                   __|
             _.--''   ''--._
        _.-''               ''-._
       '-------------------------'

            Your coat is safe here.

";

fn lolwut(cx: &mut Cx<'_, '_>) -> Outcome {
    let asks = cx.args.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"VERSION"));
    // Redis has pictures for some versions; of any other it shows only its own version.
    let picture = if asks && cx.args.len() > 2 && !DRAWN.contains(&cx.integer(2)?) { "" } else { HANGER };
    let version = format!("Redis ver. {} (Cloakroom {})\n", super::REDIS_VERSION, env!("CARGO_PKG_VERSION"));
    cx.reply.verbatim("txt", &format!("{picture}{version}"));
    Ok(())
}
