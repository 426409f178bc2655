//! Transactions: MULTI, DISCARD, WATCH, UNWATCH, and EXEC outside a transaction. Queueing requests is admission's work, and
//! running them `dispatch/transaction.rs`'s, which holds the locks of all of them.

use std::sync::atomic::Ordering::Relaxed;

use super::cx::{Cx, Failure, Outcome};
use super::spec::{Access, CommandSpec, Effect, Flags, Group, Keys};
use crate::client::{Client, Gates, Sighting, Transaction, WatchedKey};
use crate::keyspace::Keyspace;

const AT_ONCE: Flags = Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(Flags::NOT_QUEUED);
/// What a watched key takes besides its name, which is kept twice: in the client's list and in its shard's (as measured).
const WATCH_BYTES: usize = 184;
const QUICK: Flags = Flags::FAST.and(Flags::ALLOW_BUSY);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "discard",
        syntax: "DISCARD",
        group: Group::Transactions,
        since: "2.0.0",
        complexity: "O(N), when N is the number of queued commands",
        summary: "Drops the queued requests and ends the transaction.",
        flags: AT_ONCE.and(QUICK),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: discard,
    },
    CommandSpec {
        name: "exec",
        syntax: "EXEC",
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "Depends on commands in the transaction",
        summary: "Runs the queued requests as one step.",
        flags: AT_ONCE.and(Flags::SKIP_SLOWLOG).and(Flags::RUNS_QUEUE),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: exec_alone,
    },
    CommandSpec {
        name: "multi",
        syntax: "MULTI",
        group: Group::Transactions,
        since: "1.2.0",
        complexity: "O(1)",
        summary: "Begins a transaction: the requests that follow are queued until EXEC.",
        flags: AT_ONCE.and(QUICK),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: multi,
    },
    CommandSpec {
        name: "unwatch",
        syntax: "UNWATCH",
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Forgets all watched keys.",
        flags: Flags::NOSCRIPT.and(Flags::LOADING).and(Flags::STALE).and(QUICK),
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: unwatch,
    },
    CommandSpec {
        name: "watch",
        syntax: "WATCH key [key ...]",
        group: Group::Transactions,
        since: "2.2.0",
        complexity: "O(1) for every key.",
        summary: "Makes the next EXEC depend on these keys: it runs only if nobody changes them before.",
        flags: AT_ONCE.and(QUICK),
        keys: &[Keys::to_end(1, 1, Access::ReadOnly, Effect::NONE)],
        tips: &[],
        subcommands: &[],
        run: watch,
    },
];

fn multi(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.client.transaction.is_some() {
        return Err(Failure::text("ERR MULTI calls can not be nested"));
    }
    cx.client.transaction = Some(Box::new(Transaction::default()));
    cx.client.set_gate(Gates::IN_TRANSACTION, true);
    cx.client.info.queued.store(0, Relaxed);
    cx.reply.ok();
    Ok(())
}

fn exec_alone(_: &mut Cx<'_, '_>) -> Outcome {
    Err(Failure::text("ERR EXEC without MULTI"))
}

fn discard(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.client.transaction.is_none() {
        return Err(Failure::text("ERR DISCARD without MULTI"));
    }
    end_transaction(cx.client);
    unwatch_all(&cx.services().keyspace, cx.client);
    cx.reply.ok();
    Ok(())
}

const TOO_MUCH_WATCHED: Failure = Failure::text(
    "ERR the watched keys of this client would take more memory than client-watch-limit allows",
);

fn watch_bytes(key: &[u8]) -> usize {
    WATCH_BYTES + 2 * key.len()
}

fn watch(cx: &mut Cx<'_, '_>) -> Outcome {
    if cx.client.transaction.is_some() {
        return Err(Failure::text("ERR WATCH inside MULTI is not allowed"));
    }
    // As if none of them were watched yet: who is so near the limit need not be told more exactly.
    let more: usize = cx.args.iter_from(1).map(watch_bytes).sum();
    let limit = cx.config().client_watch_limit;
    if limit > 0 && (cx.client.info.watched_bytes.load(Relaxed) + more) as u64 > limit {
        return Err(TOO_MUCH_WATCHED);
    }
    let database = cx.client.database;
    for index in 1..cx.args.len() {
        let key = cx.key(index)?;
        let watched = WatchedKey { database, key: key.bytes.into() };
        if cx.client.watched.contains_key(&watched) {
            continue;
        }
        // Looking reclaims a key whose time has passed, except during a pause; then it stays, and its expiry is old news.
        let live = cx.find(key).is_some();
        let was_expired = !live && cx.partition(key).0.find(key.hash, key.bytes).is_some();
        let version =
            cx.locked.shard(key.shard).watched.watch(database, key.bytes, &cx.client.info.watch_broken);
        cx.client.watched.insert(watched, Sighting { version, was_expired });
        cx.client.info.watched_bytes.fetch_add(watch_bytes(key.bytes), Relaxed);
    }
    cx.client.info.watched.store(cx.client.watched.len(), Relaxed);
    cx.reply.ok();
    Ok(())
}

fn unwatch(cx: &mut Cx<'_, '_>) -> Outcome {
    // Inside EXEC the watches are over already, so no shard is locked a second time here.
    unwatch_all(&cx.services().keyspace, cx.client);
    cx.reply.ok();
    Ok(())
}

/// Ends a client's transaction, if it has begun one, without running it.
pub fn end_transaction(client: &mut Client) {
    client.transaction = None;
    client.set_gate(Gates::IN_TRANSACTION, false);
    client.info.queued.store(-1, Relaxed);
    client.info.queued_bytes.store(0, Relaxed);
    if client.watched.is_empty() {
        forget_watches(client);
    }
}

/// Ends all of a client's watches. The caller holds no shard.
pub fn unwatch_all(keyspace: &Keyspace, client: &mut Client) {
    for (watched, sighting) in client.watched.drain() {
        let key = keyspace.key(&watched.key);
        let mut shard = keyspace.lock_shard(key.shard);
        let broken = &client.info.watch_broken;
        shard.watched.unwatch(watched.database, key.bytes, sighting.version, broken);
    }
    forget_watches(client);
}

/// Makes what is known of a client's watches agree with there being none. No shard has the client's mark any more.
fn forget_watches(client: &Client) {
    client.info.watched.store(0, Relaxed);
    client.info.watched_bytes.store(0, Relaxed);
    client.info.watch_broken.store(false, Relaxed);
}
