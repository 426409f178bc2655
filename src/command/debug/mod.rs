//! DEBUG: for tests and for looking inside. Off unless `enable-debug-command` allows it.
//!
//! As in Redis it is one command without rows for its subcommands; a name that is not in the table below gets Redis's error. It
//! names no keys in its row, so it locks what it looks at itself. Some of it waits, so inside EXEC it runs when the shards are released.

mod digest;
mod protocol;
mod reload;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::pubsub::publish_behind;
use super::spec::{CommandSpec, Flags, Group};
use crate::base::number::{parse_f64, parse_i64};
use crate::base::waiting::may_wait;
use crate::client::Message;
use crate::config::parse_memory;
use crate::keyspace::values::exchange;
use crate::keyspace::{Entry, Key, Locked, idle_seconds};
use crate::write_log::encode_request;

const FLAGS: Flags = Flags::ADMIN
    .and(Flags::NOSCRIPT)
    .and(Flags::LOADING)
    .and(Flags::STALE)
    .and(Flags::CONTROL)
    .and(Flags::PROTECTED);

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "debug",
    syntax: "DEBUG subcommand [argument ...]",
    group: Group::Server,
    since: "1.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for debugging commands.",
    flags: FLAGS,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: debug,
}];

/// The longest DEBUG SLEEP, in seconds: what a typing mistake can do at the most.
const SLEEP_SECONDS_MAX: f64 = 3600.0 * 24.0;
/// The largest value that DEBUG POPULATE makes.
const POPULATE_BYTES_MAX: i64 = 512 << 20;

/// A subcommand: its name, its arguments as HELP shows them, how many it takes at least and at most, what it does.
struct Probe {
    name: &'static str,
    arguments: &'static str,
    least: usize,
    most: usize,
    summary: &'static str,
    run: fn(&mut Cx<'_, '_>) -> Outcome,
}

const PROBES: &[Probe] = &[
    Probe {
        name: "CHANGE-REPL-ID",
        arguments: "",
        least: 0,
        most: 0,
        summary: "Gives the server another replication id.",
        run: change_replication_id,
    },
    Probe {
        name: "CONFIG-REWRITE-FORCE-ALL",
        arguments: "",
        least: 0,
        most: 0,
        summary: "Does what CONFIG REWRITE does, and writes defaults too.",
        run: |cx| super::config::rewrite_configuration(cx, true),
    },
    Probe {
        name: "DIGEST",
        arguments: "",
        least: 0,
        most: 0,
        summary: "Returns a digest of everything that all databases hold.",
        run: digest::of_everything,
    },
    Probe {
        name: "DIGEST-VALUE",
        arguments: "<key> [<key> ...]",
        least: 0,
        most: usize::MAX,
        summary: "Returns a digest of the value of each key.",
        run: digest::of_values,
    },
    Probe {
        name: "ERROR",
        arguments: "<string>",
        least: 1,
        most: 1,
        summary: "Answers with an error of this text.",
        run: error,
    },
    Probe { name: "HELP", arguments: "", least: 0, most: 0, summary: "Prints this help.", run: help },
    Probe {
        name: "HTSTATS-KEY",
        arguments: "<key>",
        least: 1,
        // Redis looks for FULL behind the key.
        most: 2,
        summary: "Finds the key, and says that no value is a hash table, whatever its encoding is called.",
        run: hash_table_of_key,
    },
    Probe {
        name: "LOADAOF",
        arguments: "",
        least: 0,
        // Redis does not look at them.
        most: usize::MAX,
        summary: "Makes the write log durable, empties the memory, and loads what a start would load.",
        run: reload::from_log,
    },
    Probe {
        name: "LOG",
        arguments: "<message>",
        least: 1,
        most: 1,
        summary: "Writes a message to the server's log.",
        run: log,
    },
    Probe {
        name: "OBJECT",
        arguments: "<key>",
        least: 1,
        most: 1,
        summary: "Shows how the value of a key is kept.",
        run: object,
    },
    Probe {
        name: "POPULATE",
        arguments: "<count> [<prefix>] [<size>]",
        least: 1,
        most: 3,
        summary: "Creates string keys `prefix:number` (prefix `key`) that do not exist yet.",
        run: populate,
    },
    Probe {
        name: "PROTOCOL",
        arguments: "<type>",
        least: 1,
        most: 1,
        summary: "Answers with a value of the given type of the protocol.",
        run: protocol::sample,
    },
    Probe {
        name: "QUICKLIST-PACKED-THRESHOLD",
        arguments: "<size>",
        least: 1,
        most: 1,
        summary: "Makes collections from now on of leaves of at most so many bytes (64 at least, 16kb at most), so that a larger element stands in one of its own. 0 restores collection-leaf-bytes.",
        run: leaf_bytes,
    },
    Probe {
        name: "RELOAD",
        arguments: "[MERGE] [NOFLUSH] [NOSAVE]",
        least: 0,
        most: usize::MAX,
        summary: "Saves a snapshot, empties the memory, and loads the snapshot. NOSAVE takes the newest that is there, NOFLUSH empties nothing; MERGE lets the snapshot's keys replace those in memory.",
        run: reload::from_snapshot,
    },
    Probe {
        name: "REPLYBUFFER",
        arguments: "<PEAK-RESET-TIME <NEVER|RESET|milliseconds> | RESIZING <0|1>>",
        least: 2,
        most: 2,
        summary: "Changes nothing: a connection has no reply buffer but for what its socket did not take.",
        run: reply_buffer,
    },
    Probe {
        name: "SET-ACTIVE-EXPIRE",
        arguments: "<0|1>",
        least: 1,
        most: 1,
        summary: "Stops or resumes the removal of expired keys that nobody asks for.",
        run: set_active_expire,
    },
    Probe {
        name: "SLEEP",
        arguments: "<seconds>",
        least: 1,
        most: 1,
        summary: "Stops all event loops for a time; decimals are allowed.",
        run: sleep,
    },
];

fn debug(cx: &mut Cx<'_, '_>) -> Outcome {
    let (name, arguments) = (cx.args.at(1), cx.args.len() - 2);
    let probe = PROBES.iter().find(|probe| probe.name.as_bytes().eq_ignore_ascii_case(name));
    match probe {
        Some(probe) if (probe.least..=probe.most).contains(&arguments) => (probe.run)(cx),
        _ => Err(help::bad_arguments(cx)),
    }
}

fn change_replication_id(cx: &mut Cx<'_, '_>) -> Outcome {
    let digits: String = (0..3).map(|_| format!("{:016x}", cx.state.random.next_u64())).collect();
    *cx.services().replication_id.lock() = digits[..40].to_owned();
    cx.reply.ok();
    Ok(())
}

fn help(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(1 + 2 * PROBES.len());
    cx.reply.simple("DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    for probe in PROBES {
        cx.reply.simple(format!("{} {}", probe.name, probe.arguments).trim_end());
        cx.reply.simple(&format!("    {}", probe.summary));
    }
    Ok(())
}

/// Holds the shard of a key from here on.
fn lock(cx: &mut Cx<'_, '_>, key: Key<'_>) {
    // One shard at a time, so the old lock goes before the new one comes.
    let held = std::mem::replace(cx.locked, Locked::none(&cx.services().keyspace));
    publish_behind(cx.state, held);
    *cx.locked = Locked::one(&cx.services().keyspace, key.shard);
}

fn error(cx: &mut Cx<'_, '_>) -> Outcome {
    Err(Failure(cx.args.at(2).to_vec().into()))
}

fn log(cx: &mut Cx<'_, '_>) -> Outcome {
    tracing::warn!("DEBUG LOG: {}", String::from_utf8_lossy(cx.args.at(2)));
    cx.reply.ok();
    Ok(())
}

/// Nobody is answered for this time, as in Redis: tests of clients simulate a server that hangs this way. The other loops finish the sweep
/// that they are in, and sleep until the same moment.
#[allow(clippy::disallowed_methods, reason = "to stop the event loop is what DEBUG SLEEP is for")]
fn sleep(cx: &mut Cx<'_, '_>) -> Outcome {
    // What is not a number counts as 0, as strtod has it.
    let seconds = parse_f64(cx.args.at(2)).unwrap_or(0.0).clamp(0.0, SLEEP_SECONDS_MAX);
    let time = Duration::from_secs_f64(seconds);
    let until_us = cx.state.steady_us + time.as_micros() as i64;
    let own = cx.state.loop_index;
    for (_, mailbox) in
        cx.services().clients.mailboxes().iter().enumerate().filter(|(index, _)| *index != own)
    {
        mailbox.send(Message::Sleep { until_us });
    }
    may_wait();
    std::thread::sleep(time);
    cx.reply.ok();
    Ok(())
}

fn set_active_expire(cx: &mut Cx<'_, '_>) -> Outcome {
    let on = parse_i64(cx.args.at(2)).is_some_and(|number| number != 0);
    cx.services().active_expire.store(on, Relaxed);
    cx.reply.ok();
    Ok(())
}

fn hash_table_of_key(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.services().keyspace.key(cx.args.at(2));
    lock(cx, key);
    Err(match cx.find(key) {
        Some(_) => {
            Failure::text("ERR The value stored at the specified key is not represented using an hash table")
        }
        None => Failure::NO_SUCH_KEY,
    })
}

/// Redis's threshold is that from which on an element of a list has a node of its own. Here that follows from the size of a leaf.
fn leaf_bytes(cx: &mut Cx<'_, '_>) -> Outcome {
    const OUT_OF_RANGE: Failure =
        Failure::text("ERR argument must be a memory value bigger than 1 and smaller than 4gb");
    let bytes = parse_memory(cx.args.at(2)).filter(|bytes| *bytes < 1 << 32).ok_or(OUT_OF_RANGE)?;
    cx.services().keyspace.set_leaf_bytes(bytes as usize);
    cx.reply.ok();
    Ok(())
}

fn reply_buffer(cx: &mut Cx<'_, '_>) -> Outcome {
    let (what, value) = (cx.args.at(2), cx.args.at(3));
    if what.eq_ignore_ascii_case(b"peak-reset-time") {
        let is_word = [&b"never"[..], b"reset"].iter().any(|word| value.eq_ignore_ascii_case(word));
        if !is_word && parse_i64(value).is_none() {
            return Err(Failure::NOT_AN_INTEGER);
        }
    } else if !what.eq_ignore_ascii_case(b"resizing") {
        return Err(help::bad_arguments(cx));
    }
    cx.reply.ok();
    Ok(())
}

fn object(cx: &mut Cx<'_, '_>) -> Outcome {
    let key = cx.services().keyspace.key(cx.args.at(2));
    lock(cx, key);
    let steady_ms = cx.steady_ms();
    let Some(position) = cx.find(key) else { return Err(Failure::NO_SUCH_KEY) };
    let entry = cx.entry(key, position);
    let text = format!(
        "Value at:{:p} refcount:1 encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{}",
        entry.value().as_ptr(),
        super::generic::encoding_name(entry),
        // Without the byte that names the type.
        exchange::encode(entry).bytes.len() - 1,
        entry.access(),
        idle_seconds(entry.access(), steady_ms),
    );
    cx.reply.simple(&text);
    Ok(())
}

fn populate(cx: &mut Cx<'_, '_>) -> Outcome {
    const OUT_OF_RANGE: Failure = Failure::text("ERR value is out of range, must be positive");
    reload::refuse_while_loading(cx)?;
    let positive = |at: usize| parse_i64(cx.args.at(at)).filter(|number| *number >= 0).ok_or(OUT_OF_RANGE);
    let count = positive(2)?;
    let size = if cx.args.len() > 4 { positive(4)? } else { 0 };
    if size > POPULATE_BYTES_MAX {
        return Err(OUT_OF_RANGE);
    }
    let prefix = cx.args.get(3).unwrap_or(b"key");
    let (keyspace, database, steady_ms) = (&cx.services().keyspace, cx.client.database, cx.steady_ms());
    for number in 0..count {
        let name = [prefix, format!(":{number}").as_bytes()].concat();
        let key = keyspace.key(&name);
        lock(cx, key);
        // One whose time has passed counts as there, too: to reclaim it would be a record behind the one below.
        if cx.partition(key).0.find(key.hash, key.bytes).is_some() {
            continue;
        }
        let mut value = format!("value:{number}").into_bytes();
        if size > 0 {
            value.resize(size as usize, 0);
        }
        let access = cx.state.access.fresh(steady_ms);
        cx.add(database, key, Entry::new(&name, &value).with_access(access));
        cx.locked.shard(key.shard).watched.touch(database, &name);
        let log = &cx.services().write_log;
        if log.is_on() {
            // At once, because the lock goes with the next key.
            cx.client.log_offset = log.append(database, |out| encode_request(out, &[b"SET", &name, &value]));
        }
    }
    cx.reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_sorted_by_name() {
        assert!(PROBES.is_sorted_by_key(|probe| probe.name));
    }
}
