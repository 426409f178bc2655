//! XREAD and XREADGROUP.
//!
//! BLOCK is read and checked, and has no effect yet: a request that finds nothing is answered as at its timeout, as Redis does inside of MULTI.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::{Begin, Find, Found, Keys};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Group};
use super::claim::Deliveries;
use super::{change_group, echo_two, ids, read_at, stream_of, unless_zero, write_entry, write_range};
use crate::keyspace::collection::stream::{Entries, Group as StreamGroup, Id, Pending, Stream};
use crate::keyspace::{Key, Kind, Position};
use crate::resp::Args;

const fn keys_behind_streams(from: isize) -> Keys {
    Keys {
        begin: Begin::Behind { word: "STREAMS", from },
        find: Find::Range { last: -1, step: 1, limit: 2 },
        exact: Some(keys_of),
        ..Keys::one(1, Access::ReadOnly, Effect::ACCESS)
    }
}

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "xread",
        syntax: "XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(log N + M) for each stream, where N is the number of its entries and M the number of those that are returned.",
        summary: "Returns the entries of streams behind the given ids.",
        flags: Flags::READONLY.and(Flags::BLOCKING),
        keys: &[keys_behind_streams(1)],
        tips: &[],
        subcommands: &[],
        run: xread,
    },
    CommandSpec {
        name: "xreadgroup",
        syntax: "XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
        group: Group::Stream,
        since: "5.0.0",
        complexity: "O(M log N) for each stream, where N is the number of its entries and M the number of those that are returned.",
        summary: "Returns entries that a group has not read yet, or those that are pending for a consumer.",
        flags: Flags::WRITE.and(Flags::BLOCKING).and(Flags::LOGGED_OTHERWISE),
        keys: &[keys_behind_streams(4)],
        tips: &[],
        subcommands: &[],
        run: xreadgroup,
    },
];

/// A request, as far as it can be read without its streams.
struct Request<'a> {
    count: usize,
    no_ack: bool,
    /// Names of the group and the consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// Where the keys begin, and how many they are; the ids follow.
    keys_at: usize,
    keys: usize,
}

/// The number of arguments that an option takes, itself included; `None` of what is no option.
fn option_len(word: &[u8]) -> Option<usize> {
    let all = [("block", 2), ("count", 2), ("group", 3), ("noack", 1)];
    all.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes())).map(|(_, len)| len)
}

/// Where STREAMS stands: as the command reads its options, whatever words these are.
fn streams_at(args: Args<'_>) -> Option<usize> {
    let mut at = 1;
    while at < args.len() && !(args.at(at).eq_ignore_ascii_case(b"streams") && at + 1 < args.len()) {
        at += option_len(args.at(at))?;
    }
    (at < args.len()).then_some(at)
}

fn keys_of(keys: &Keys, args: Args<'_>) -> Found {
    let none = Found { first: 0, end: 0, ..keys.declared(args) };
    let Some(first) = streams_at(args).map(|at| at + 1) else { return none };
    let both = args.len() - first;
    if both % 2 == 1 { none } else { Found { first, end: first + both / 2, step: 1, ..none } }
}

fn parse<'a>(cx: &Cx<'a, '_>, of_group: bool) -> Result<Request<'a>, Failure> {
    let mut request = Request { count: usize::MAX, no_ack: false, group: None, keys_at: 0, keys: 0 };
    let args = cx.args;
    let mut at = 1;
    while at < args.len() {
        let more = args.len() - 1 - at;
        let is = |name: &str| args.at(at).eq_ignore_ascii_case(name.as_bytes());
        if is("block") && more > 0 {
            let timeout_ms = cx.integer(at + 1);
            let wrong = Failure::text("ERR timeout is not an integer or out of range");
            if timeout_ms.map_err(|_| wrong)? < 0 {
                return Err(Failure::text("ERR timeout is negative"));
            }
        } else if is("count") && more > 0 {
            request.count = unless_zero(cx.integer(at + 1)?);
        } else if is("streams") && more > 0 {
            if more % 2 == 1 {
                return Err(Failure::text(
                    "ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.",
                ));
            }
            (request.keys_at, request.keys) = (at + 1, more / 2);
            break;
        } else if is("group") && more > 1 {
            only_of_group(of_group, "GROUP")?;
            request.group = Some((args.at(at + 1), args.at(at + 2)));
        } else if is("noack") {
            only_of_group(of_group, "NOACK")?;
            request.no_ack = true;
        } else {
            return Err(Failure::SYNTAX);
        }
        at += option_len(args.at(at)).unwrap_or(1);
    }
    if request.keys_at == 0 {
        return Err(Failure::SYNTAX);
    }
    if of_group && request.group.is_none() {
        return Err(Failure::text("ERR Missing GROUP option for XREADGROUP"));
    }
    Ok(request)
}

fn only_of_group(of_group: bool, option: &str) -> Outcome {
    if of_group {
        return Ok(());
    }
    Err(Failure::owned(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

/// From where on a stream is read.
#[derive(Clone, Copy)]
enum From {
    Behind(Id),
    /// What the group has not read.
    New,
}

/// Reads the id that belongs to a key.
fn from(text: &[u8], of_group: bool, last: Id) -> Result<From, Failure> {
    match text {
        b"$" if of_group => Err(Failure::text(
            "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
        )),
        b"$" => Ok(From::Behind(last)),
        b">" if of_group => Ok(From::New),
        b">" => Err(Failure::text(
            "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
        )),
        text => match ids::parse(text, 0)? {
            // Redis keeps the greatest id for `>`.
            Id::MAX if of_group => Ok(From::New),
            id => Ok(From::Behind(id)),
        },
    }
}

/// The id of each key, checked before anything is read.
fn starts(cx: &mut Cx<'_, '_>, request: &Request<'_>) -> Result<Vec<From>, Failure> {
    let mut starts = Vec::with_capacity(request.keys);
    for index in 0..request.keys {
        let key = cx.key(request.keys_at + index)?;
        let id = cx.args.at(request.keys_at + request.keys + index);
        let stream = match cx.access_as(key, Kind::Stream)? {
            Some(position) => Some(stream_of(cx.entry(key, position))?),
            None => None,
        };
        if let Some((name, _)) = request.group
            && stream.and_then(|stream| stream.group(name)).is_none()
        {
            let parts =
                ["NOGROUP No such key '", "' or consumer group '", "' in XREADGROUP with GROUP option"];
            return Err(echo_two(parts, [key.bytes, name]));
        }
        let last = stream.map_or(Id::ZERO, |stream| stream.entries().last_id());
        starts.push(from(id, request.group.is_some(), last)?);
    }
    Ok(starts)
}

/// What is to be written of a stream.
enum Served {
    /// So many entries behind an id.
    Behind(Id, usize),
    /// These, which may be gone.
    History(Vec<Id>),
}

fn xread(cx: &mut Cx<'_, '_>) -> Outcome {
    let request = parse(cx, false)?;
    let starts = starts(cx, &request)?;
    let mut served = Vec::new();
    for (index, start) in starts.into_iter().enumerate() {
        let (key, From::Behind(start)) = (cx.key(request.keys_at + index)?, start) else { continue };
        let Some(position) = cx.access_as(key, Kind::Stream)? else { continue };
        let greatest = stream_of(cx.entry(key, position))?.entries().greatest();
        if greatest.is_some_and(|greatest| greatest > start) {
            served.push((key, position, Served::Behind(start, request.count)));
        }
    }
    write(cx, served)
}

fn xreadgroup(cx: &mut Cx<'_, '_>) -> Outcome {
    let request = parse(cx, true)?;
    let starts = starts(cx, &request)?;
    let Some((group, consumer)) = request.group else { return Err(Failure::SYNTAX) };
    let mut served = Vec::new();
    for (index, start) in starts.into_iter().enumerate() {
        let key = cx.key(request.keys_at + index)?;
        let Some(position) = cx.access_as(key, Kind::Stream)? else { continue };
        let start = match start {
            From::Behind(id) => Some(id),
            From::New if has_new(stream_of(cx.entry(key, position))?, group) => None,
            From::New => continue,
        };
        let now_ms = cx.now_ms();
        let found = change_group(cx, key, position, group, |entries, group| {
            let mut done = Deliveries::default();
            let number = done.consumer(group, consumer, now_ms);
            let reader = Reader { number, count: request.count, no_ack: request.no_ack, now_ms };
            let served = match start {
                Some(start) => reader.history(&mut done, entries, group, start),
                None => reader.deliver(&mut done, entries, group),
            };
            (done, served)
        })?;
        let Some((done, what)) = found else { continue };
        done.report(cx, key, group, consumer);
        served.push((key, position, what));
    }
    write(cx, served)
}

fn has_new(stream: &Stream, group: &[u8]) -> bool {
    let last = stream.group(group).map(|group| group.last_delivered);
    stream.entries().greatest() > last
}

/// One consumer that reads one stream.
struct Reader {
    number: u32,
    count: usize,
    no_ack: bool,
    now_ms: i64,
}

impl Reader {
    /// Delivers what the group has not read.
    fn deliver(&self, done: &mut Deliveries, entries: &Entries, group: &mut StreamGroup) -> Served {
        let start = group.last_delivered;
        let mut delivered = 0;
        for entry in entries.range(start.next().unwrap_or(Id::MAX), Id::MAX).take(self.count) {
            group.advance(entries, entry.id);
            if !self.no_ack {
                let (consumer, delivered_ms) = (self.number, self.now_ms);
                done.put(group, Pending { id: entry.id, consumer, delivered_ms, deliveries: 1 });
            }
            delivered += 1;
        }
        done.read = Some((group.last_delivered, group.entries_read));
        group.set_active(self.number, self.now_ms);
        Served::Behind(start, delivered)
    }

    /// Delivers again what is pending for the consumer behind an id.
    fn history(
        &self,
        done: &mut Deliveries,
        entries: &Entries,
        group: &mut StreamGroup,
        start: Id,
    ) -> Served {
        let Some(start) = start.next() else { return Served::History(Vec::new()) };
        let pending: Vec<Pending> = group.pending_of(self.number, start).take(self.count).collect();
        for pending in pending.iter().filter(|pending| entries.contains(pending.id)) {
            let deliveries = pending.deliveries.wrapping_add(1);
            done.put(group, Pending { delivered_ms: self.now_ms, deliveries, ..*pending });
        }
        Served::History(pending.iter().map(|pending| pending.id).collect())
    }
}

/// Writes what was found in each stream; nothing, as at a timeout, if there is none.
fn write(cx: &mut Cx<'_, '_>, served: Vec<(Key<'_>, Position, Served)>) -> Outcome {
    if served.is_empty() {
        cx.reply.null_array();
        return Ok(());
    }
    cx.reply.map_of_pairs(served.len());
    for (key, position, what) in served {
        cx.reply.pair();
        cx.reply.bulk(key.bytes);
        read_at(cx, key, position, |stream, reply| {
            let entries = stream.entries();
            match what {
                Served::Behind(id, count) => {
                    let start = id.next().unwrap_or(Id::MAX);
                    write_range(reply, entries, (start, Id::MAX), count, false);
                }
                Served::History(ids) => {
                    reply.array(ids.len());
                    for id in ids {
                        if let Some(entry) = entries.get(id) {
                            write_entry(reply, entry);
                        } else {
                            reply.array(2);
                            reply.bulk_text(id);
                            reply.null_array();
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}
