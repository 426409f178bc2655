//! Commands that give pending entries to another consumer: XCLAIM, XAUTOCLAIM. What they say to the write log, XREADGROUP says, too.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::{DELETE_KEY, UPDATE_KEY};
use super::super::spec::{CommandSpec, Flags, Group as CommandGroup};
use super::{change_group, ids, no_group, read_at, stream_of, write_entry};
use crate::base::number::parse_i64;
use crate::keyspace::collection::stream::{Entries, Group, Id, Pending};
use crate::keyspace::{Key, Kind, Position};

/// Without COUNT so many entries are claimed at most, and for each that is asked for so many are looked at.
const COUNT: usize = 100;
const ATTEMPTS: usize = 10;
/// Redis keeps the ids that it claims in memory of so many bytes each, and refuses a COUNT whose memory it could not address.
const COUNT_MAX: i64 = i64::MAX / 16;

const FLAGS: Flags = Flags::WRITE.and(Flags::FAST).and(Flags::LOGGED_OTHERWISE);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xautoclaim",
        syntax: "XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]",
        group: CommandGroup::Stream,
        since: "6.2.0",
        complexity: "O(M log N) where N is the number of pending entries and M the number of those that are looked at, at most ten times COUNT.",
        summary: "Gives pending entries that have waited for long to a consumer. Returns where to go on, the entries, and ids of those that no longer exist.",
        flags: FLAGS,
        keys: DELETE_KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: xautoclaim,
    },
    CommandSpec {
        name: "xclaim",
        syntax: "XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID lastid]",
        group: CommandGroup::Stream,
        since: "5.0.0",
        complexity: "O(log N) for each id, where N is the number of pending entries.",
        summary: "Gives pending entries that have waited for long to a consumer.",
        flags: FLAGS,
        keys: UPDATE_KEY,
        tips: &["nondeterministic_output"],
        subcommands: &[],
        run: xclaim,
    },
];

/// What a request has done to the pending entries of a group.
#[derive(Default)]
pub struct Deliveries {
    /// Entries as they are pending now.
    pub set: Vec<Pending>,
    /// Ids of entries that are gone, and so no longer pending.
    pub gone: Vec<Id>,
    /// The consumer was created.
    pub created: bool,
    /// How far the group has read, if that has changed.
    pub read: Option<(Id, Option<u64>)>,
}

impl Deliveries {
    /// The consumer with a name, which asks for something now; created if it is not there.
    pub fn consumer(&mut self, group: &mut Group, name: &[u8], now_ms: i64) -> u32 {
        if let Some(number) = group.find_consumer(name) {
            group.see(number, now_ms);
            return number;
        }
        self.created = true;
        group.add_consumer(name, now_ms)
    }

    /// An entry is pending now.
    pub fn put(&mut self, group: &mut Group, pending: Pending) {
        group.set_pending(pending);
        self.set.push(pending);
    }

    /// Tells the write log and whoever listens. `key` and the names are the request's.
    pub fn report(&self, cx: &mut Cx<'_, '_>, key: Key<'_>, group: &[u8], consumer: &[u8]) {
        if self.created {
            cx.log(&[b"XGROUP", b"CREATECONSUMER", key.bytes, group, consumer]);
            cx.changed_keyspace(1);
            cx.also(Event::XGROUP_CREATECONSUMER, key);
        }
        self.log_set(cx, key, group, consumer);
        if !self.gone.is_empty() {
            let ids: Vec<String> = self.gone.iter().map(Id::to_string).collect();
            let words = [b"XACK".as_slice(), key.bytes, group].into_iter();
            cx.log(&words.chain(ids.iter().map(String::as_bytes)).collect::<Vec<_>>());
        }
        if let Some((id, entries_read)) = self.read {
            let read = entries_read.map_or(String::from("-1"), |read| read.to_string());
            let words = [b"XGROUP", b"SETID".as_slice(), key.bytes, group];
            cx.log(&[&words[..], &[id.to_string().as_bytes(), b"ENTRIESREAD", read.as_bytes()]].concat());
        }
        let changes = self.set.len() + self.gone.len();
        if changes > 0 || self.read.is_some() {
            cx.changed_keyspace(changes.max(1) as u64);
        }
    }

    /// One record for all entries behind each other that agree in everything else.
    fn log_set(&self, cx: &mut Cx<'_, '_>, key: Key<'_>, group: &[u8], consumer: &[u8]) {
        let is_same =
            |a: &Pending, b: &Pending| (a.delivered_ms, a.deliveries) == (b.delivered_ms, b.deliveries);
        for same in self.set.chunk_by(is_same) {
            let ids: Vec<String> = same.iter().map(|pending| pending.id.to_string()).collect();
            let (time, count) = (same[0].delivered_ms.to_string(), same[0].deliveries.to_string());
            let mut words = vec![b"XCLAIM".as_slice(), key.bytes, group, consumer, b"0"];
            words.extend(ids.iter().map(String::as_bytes));
            words.extend([b"TIME", time.as_bytes(), b"RETRYCOUNT", count.as_bytes(), b"FORCE", b"JUSTID"]);
            cx.log(&words);
        }
    }
}

/// The stream and the group that a request needs.
fn find(cx: &mut Cx<'_, '_>, key: Key<'_>, group: &[u8]) -> Result<Position, Failure> {
    let position = cx.access_as(key, Kind::Stream)?.ok_or_else(|| no_group(key.bytes, group))?;
    match stream_of(cx.entry(key, position))?.group(group) {
        Some(_) => Ok(position),
        None => Err(no_group(key.bytes, group)),
    }
}

/// Writes the claimed entries, or their ids alone.
fn write_claimed(
    cx: &mut Cx<'_, '_>,
    key: Key<'_>,
    position: Position,
    claimed: &[Pending],
    just_ids: bool,
) -> Outcome {
    cx.reply.array(claimed.len());
    read_at(cx, key, position, |stream, reply| {
        for pending in claimed {
            if just_ids {
                reply.bulk_text(pending.id);
            } else if let Some(entry) = stream.entries().get(pending.id) {
                write_entry(reply, entry);
            }
        }
        Ok(())
    })
}

/// Options of XCLAIM.
#[derive(Default)]
struct Claim {
    ids: Vec<Id>,
    min_idle_ms: i64,
    delivered_ms: Option<i64>,
    deliveries: Option<u64>,
    force: bool,
    just_ids: bool,
    last: Id,
}

impl Claim {
    fn parse(cx: &Cx<'_, '_>, now_ms: i64) -> Result<Claim, Failure> {
        let mut claim = Claim { min_idle_ms: min_idle_ms(cx, "XCLAIM")?, ..Claim::default() };
        let ids = cx.args.iter_from(5).map_while(|text| ids::parse(text, 0).ok());
        claim.ids.extend(ids);
        let mut at = 5 + claim.ids.len();
        let number = |at: usize, option: &str| {
            let wrong = || Failure::owned(format!("ERR Invalid {option} option argument for XCLAIM"));
            parse_i64(cx.args.at(at)).ok_or_else(wrong)
        };
        while at < cx.args.len() {
            let word = cx.args.at(at);
            let more = at + 1 < cx.args.len();
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            at += 1;
            if is("force") {
                claim.force = true;
            } else if is("justid") {
                claim.just_ids = true;
            } else if is("idle") && more {
                claim.delivered_ms = Some(now_ms.wrapping_sub(number(at, "IDLE")?));
                at += 1;
            } else if is("time") && more {
                claim.delivered_ms = Some(number(at, "TIME")?);
                at += 1;
            } else if is("retrycount") && more {
                claim.deliveries = u64::try_from(number(at, "RETRYCOUNT")?).ok();
                at += 1;
            } else if is("lastid") && more {
                claim.last = ids::parse(cx.args.at(at), 0)?;
                at += 1;
            } else {
                return Err(Failure::echo("ERR Unrecognized XCLAIM option '", word, "'"));
            }
        }
        Ok(claim)
    }

    /// Claims what can be.
    fn run(&self, entries: &Entries, group: &mut Group, name: &[u8], now_ms: i64) -> Deliveries {
        let (mut done, mut consumer) = (Deliveries::default(), None);
        if self.last > group.last_delivered {
            group.last_delivered = self.last;
            done.read = Some((self.last, group.entries_read));
        }
        for id in self.ids.iter().copied() {
            if !entries.contains(id) {
                done.gone.extend(group.remove_pending(id).map(|pending| pending.id));
                continue;
            }
            let before = group.pending(id);
            if before.is_none() && !self.force
                || before.is_some_and(|it| is_busy(it, self.min_idle_ms, now_ms))
            {
                continue;
            }
            let consumer = *consumer.get_or_insert_with(|| done.consumer(group, name, now_ms));
            // One that FORCE makes pending was delivered once.
            let before = before.map_or(1, |before| before.deliveries);
            let deliveries = self.deliveries.unwrap_or(before.wrapping_add(u64::from(!self.just_ids)));
            let delivered_ms = self.delivered_ms.unwrap_or(now_ms);
            done.put(group, Pending { id, consumer, delivered_ms, deliveries });
        }
        consumer.into_iter().for_each(|number| group.set_active(number, now_ms));
        done
    }
}

fn min_idle_ms(cx: &Cx<'_, '_>, command: &str) -> Result<i64, Failure> {
    let wrong = || Failure::owned(format!("ERR Invalid min-idle-time argument for {command}"));
    Ok(parse_i64(cx.args.at(4)).ok_or_else(wrong)?.max(0))
}

/// An entry was delivered too short a time ago to be claimed.
fn is_busy(pending: Pending, min_idle_ms: i64, now_ms: i64) -> bool {
    min_idle_ms > 0 && now_ms.saturating_sub(pending.delivered_ms) < min_idle_ms
}

fn xclaim(cx: &mut Cx<'_, '_>) -> Outcome {
    let (key, group, consumer) = (cx.key(1)?, cx.args.at(2), cx.args.at(3));
    let (position, now_ms) = (find(cx, key, group)?, cx.now_ms());
    let mut claim = Claim::parse(cx, now_ms)?;
    // What the write log tells was the present once, whatever the clock says now.
    let is_possible = |ms: &i64| cx.state.is_replay() || (0..=now_ms).contains(ms);
    // As in Redis, -1 stands for no time.
    claim.delivered_ms = claim.delivered_ms.filter(|ms| *ms != -1 && is_possible(ms));
    let done =
        change_group(cx, key, position, group, |entries, group| claim.run(entries, group, consumer, now_ms))?;
    let done = done.unwrap_or_default();
    done.report(cx, key, group, consumer);
    write_claimed(cx, key, position, &done.set, claim.just_ids)
}

fn xautoclaim(cx: &mut Cx<'_, '_>) -> Outcome {
    let min_idle_ms = min_idle_ms(cx, "XAUTOCLAIM")?;
    let start = ids::start(cx, 5)?;
    let (mut count, mut just_ids, mut at) = (COUNT, false, 6);
    while at < cx.args.len() {
        let word = cx.args.at(at);
        if word.eq_ignore_ascii_case(b"count") && at + 1 < cx.args.len() {
            let wanted = parse_i64(cx.args.at(at + 1)).filter(|count| (1..=COUNT_MAX).contains(count));
            count = wanted.ok_or(Failure::text("ERR COUNT must be > 0"))? as usize;
            at += 1;
        } else if word.eq_ignore_ascii_case(b"justid") {
            just_ids = true;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += 1;
    }
    let (key, group, name) = (cx.key(1)?, cx.args.at(2), cx.args.at(3));
    let (position, now_ms) = (find(cx, key, group)?, cx.now_ms());
    let sweep = Sweep { start, count, min_idle_ms, just_ids, now_ms };
    let found = change_group(cx, key, position, group, |entries, group| sweep.run(entries, group, name))?;
    let (done, next) = found.unwrap_or_default();
    done.report(cx, key, group, name);
    cx.reply.array(3);
    cx.reply.bulk_text(next);
    write_claimed(cx, key, position, &done.set, just_ids)?;
    cx.reply.array(done.gone.len());
    done.gone.iter().for_each(|id| cx.reply.bulk_text(id));
    Ok(())
}

/// What XAUTOCLAIM is asked to do.
struct Sweep {
    start: Id,
    count: usize,
    min_idle_ms: i64,
    just_ids: bool,
    now_ms: i64,
}

impl Sweep {
    /// Claims what has waited long enough, and gives the id to go on from; 0 at the end.
    fn run(&self, entries: &Entries, group: &mut Group, name: &[u8]) -> (Deliveries, Id) {
        let (mut done, mut consumer) = (Deliveries::default(), None);
        let mut next = Some(self.start);
        let mut attempts = self.count.saturating_mul(ATTEMPTS);
        while attempts > 0 && done.set.len() + done.gone.len() < self.count {
            attempts -= 1;
            let Some(pending) = next.and_then(|next| group.pending_from(next).next()) else { break };
            next = pending.id.next();
            if !entries.contains(pending.id) {
                group.remove_pending(pending.id);
                done.gone.push(pending.id);
                continue;
            }
            if is_busy(pending, self.min_idle_ms, self.now_ms) {
                continue;
            }
            let consumer = *consumer.get_or_insert_with(|| done.consumer(group, name, self.now_ms));
            let deliveries = pending.deliveries.wrapping_add(u64::from(!self.just_ids));
            done.put(group, Pending { consumer, delivered_ms: self.now_ms, deliveries, ..pending });
        }
        consumer.into_iter().for_each(|number| group.set_active(number, self.now_ms));
        let rest = next.and_then(|next| group.pending_from(next).next());
        (done, rest.map_or(Id::ZERO, |pending| pending.id))
    }
}
