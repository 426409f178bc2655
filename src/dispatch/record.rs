//! From a request that has changed something to its records in the write log.
//!
//! Called while the request's locks are still held, so that the log's order is the order of the changes (invariant 3).

use crate::client::{Client, Gates};
use crate::command::{Deadline, EXPIRED_FIELDS, LoopState, Record, Records};
use crate::keyspace::Expired;
use crate::resp::Args;
use crate::write_log::{WriteLog, encode_head, encode_request, encode_word};

/// From this size on records are encoded before the log's lock is taken.
const LARGE_BYTES: usize = 64 << 10;

/// Appends what the request did to the write log. Several records of one request are framed by MULTI and EXEC, so that after a crash
/// all or none of them count.
#[inline(never)]
pub fn append_request(state: &mut LoopState<'_>, client: &mut Client, args: Args<'_>) {
    let log = &state.services.write_log;
    let records = &mut state.effects.records;
    if log.is_on() {
        if records.count == 0 {
            let form = records.form;
            if form != Record::Written {
                client.log_offset = append_form(log, client.database, form, args);
            }
        } else {
            settle(records, client.database, args);
            client.log_offset = append_settled(log, records);
        }
    }
    records.clear();
    hold_back(state);
    // A large record takes its time to copy.
    state.begin_request();
}

/// Makes later writes wait while the log has no room.
#[inline]
fn hold_back(state: &LoopState<'_>) {
    if state.services.write_log.is_full() {
        state.services.set_gate(Gates::LOG_FULL, true);
    }
}

/// Makes a queued request's records ready; EXEC appends those of the whole transaction at once.
pub fn gather(state: &mut LoopState<'_>, client: &Client, args: Args<'_>) {
    settle(&mut state.effects.records, client.database, args);
}

/// Appends what [`gather`] has gathered.
pub fn append_gathered(state: &mut LoopState<'_>, client: &mut Client) {
    let log = &state.services.write_log;
    let records = &mut state.effects.records;
    if records.count > 0 && log.is_on() {
        client.log_offset = append_settled(log, records);
    }
    records.clear();
    hold_back(state);
}

/// Appends the removal of a key or of fields whose time has passed.
pub fn append_expired(log: &WriteLog, database: usize, expired: &Expired<'_, '_>) {
    match expired {
        Expired::Key(entry) => append_removal(log, database, entry.view().key()),
        Expired::Elements { gone: Some(entry), .. } => append_removal(log, database, entry.view().key()),
        // What is left for later is not gone: only where nothing is, a time says which those were.
        Expired::Elements { key, taken, at_ms, gone: None } if log.is_on() => {
            let digits = &mut itoa::Buffer::new();
            let words: Vec<&[u8]> = match taken.is_rest {
                false => vec![EXPIRED_FIELDS, key, digits.format(*at_ms).as_bytes()],
                true => [b"HDEL".as_slice(), key].into_iter().chain(taken.names()).collect(),
            };
            let bytes = words.iter().map(|word| word.len()).sum();
            append(log, (database, database), bytes, |out| encode_request(out, &words));
        }
        Expired::Elements { .. } => {}
    }
}

/// Appends the removal of a key that has expired or was evicted: what comes later may depend on its being gone.
pub fn append_removal(log: &WriteLog, database: usize, key: &[u8]) {
    if log.is_on() {
        let encode = |out: &mut Vec<u8>| encode_request(out, &[b"DEL", key]);
        append(log, (database, database), key.len(), encode);
    }
}

/// Appends records of about so many bytes. Other writers wait for the log's lock, so it is not held while many bytes are copied.
fn append(
    log: &WriteLog,
    (first, last): (usize, usize),
    bytes: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) -> u64 {
    if bytes < LARGE_BYTES {
        return log.append_ending_in(first, last, encode);
    }
    let mut records = Vec::with_capacity(bytes + LARGE_BYTES);
    encode(&mut records);
    log.append_encoded(first, last, records)
}

fn append_form(log: &WriteLog, database: usize, form: Record, args: Args<'_>) -> u64 {
    append(log, (database, database), args.bytes(), |out| encode_form(out, form, args))
}

fn settle(records: &mut Records, database: usize, args: Args<'_>) {
    let form = std::mem::take(&mut records.form);
    if !matches!(form, Record::None | Record::Written) {
        records.add(database, |out| encode_form(out, form, args));
    }
}

fn append_settled(log: &WriteLog, records: &Records) -> u64 {
    append(log, records.databases, records.bytes.len(), |out| {
        let several = records.count > 1;
        if several {
            encode_request(out, &[b"MULTI"]);
        }
        out.extend_from_slice(&records.bytes);
        if several {
            encode_request(out, &[b"EXEC"]);
        }
    })
}

fn encode_form(out: &mut Vec<u8>, form: Record, args: Args<'_>) {
    match form {
        Record::Verbatim => {
            out.reserve(args.bytes() + 16 * args.len());
            encode_head(out, args.len());
            for arg in args.iter_from(0) {
                encode_word(out, arg);
            }
        }
        Record::Set { value, deadline } => {
            out.reserve(args.bytes() + 64);
            let words = match deadline {
                Deadline::Clear => 3,
                Deadline::Keep => 4,
                Deadline::At(_) => 5,
            };
            encode_head(out, words);
            encode_word(out, b"SET");
            encode_word(out, args.at(1));
            encode_word(out, args.at(value));
            match deadline {
                Deadline::Clear => {}
                Deadline::Keep => encode_word(out, b"KEEPTTL"),
                Deadline::At(at_ms) => {
                    encode_word(out, b"PXAT");
                    encode_word(out, itoa::Buffer::new().format(at_ms).as_bytes());
                }
            }
        }
        Record::None | Record::Written => {}
    }
}
