//! What a writer's database should hold: a plain model that operations are applied to, and its comparison with what a server holds.
//!
//! Pure. A deadline is known only as an interval, because the server's clock reads somewhere between sending and acknowledgement.

use std::collections::BTreeMap;

use crate::operation::{Change, Operation};
use crate::support::client::Reply;

/// How far the server's reading of the clock may lie outside of sending and acknowledgement: it reads it once for many requests.
const CLOCK_SLACK_MS: i64 = 100;

/// How late a slid deadline may come back after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slides {
    /// Every slide is logged, as redis-server does it.
    Exact,
    /// `expire-log-slack` at its default: 2 % of the time to live, at least a second, and never early.
    Slack,
}

/// When an operation was sent and when its reply had arrived (or the server was killed), Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub sent_ms: i64,
    pub acknowledged_ms: i64,
}

/// A deadline that is somewhere in here, both ends included.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    earliest_ms: i64,
    latest_ms: i64,
}

#[derive(Clone, Debug)]
struct Entry {
    value: Vec<u8>,
    deadline: Option<Deadline>,
}

/// What the model says of a reply.
#[derive(Debug)]
pub enum Expected {
    Is(Reply),
    /// Depends on a deadline that may or may not have passed, or on other writers.
    AnyInteger,
    All(Vec<Expected>),
}

impl Expected {
    pub fn fits(&self, reply: &Reply) -> bool {
        match (self, reply) {
            (Expected::Is(expected), reply) => expected == reply,
            (Expected::AnyInteger, Reply::Integer(_)) => true,
            (Expected::All(expected), Reply::Array(replies)) => {
                expected.len() == replies.len()
                    && expected.iter().zip(replies).all(|(one, reply)| one.fits(reply))
            }
            _ => false,
        }
    }
}

/// The database of one writer, and how many shared transfers it has done.
#[derive(Clone, Debug)]
pub struct State {
    entries: BTreeMap<String, Entry>,
    pub transfers: i64,
    slides: Slides,
}

/// What a server really holds.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Value and deadline (Unix milliseconds) of each key.
    pub entries: BTreeMap<String, (Vec<u8>, Option<i64>)>,
    pub transfers: i64,
    /// When the last of it was read, Unix milliseconds.
    pub read_ms: i64,
}

fn integer(number: usize) -> Reply {
    Reply::Integer(number as i64)
}

fn okay() -> Reply {
    Reply::Simple("OK".to_owned())
}

impl State {
    pub fn empty(slides: Slides) -> State {
        State { entries: BTreeMap::new(), transfers: 0, slides }
    }

    /// The state to go on from, after a restart.
    pub fn of(observed: &Observed, slides: Slides) -> State {
        let exact = |ms: i64| Deadline { earliest_ms: ms, latest_ms: ms };
        let entry = |(value, deadline_ms): &(Vec<u8>, Option<i64>)| Entry {
            value: value.clone(),
            deadline: deadline_ms.map(exact),
        };
        let entries = observed.entries.iter().map(|(key, held)| (key.clone(), entry(held))).collect();
        State { entries, transfers: observed.transfers, slides }
    }

    /// Does what the server should do, and says what it should reply.
    pub fn apply(&mut self, operation: &Operation, span: Span) -> Expected {
        match operation {
            Operation::One(change) => self.change(change, span),
            Operation::Transaction(changes) => {
                Expected::All(changes.iter().map(|change| self.change(change, span)).collect())
            }
            Operation::Transfer { .. } => {
                self.transfers += 1;
                let [selected, done, returned] =
                    [okay(), Reply::Integer(self.transfers), okay()].map(Expected::Is);
                Expected::All(vec![selected, Expected::AnyInteger, Expected::AnyInteger, done, returned])
            }
        }
    }

    fn change(&mut self, change: &Change, span: Span) -> Expected {
        Expected::Is(match change {
            Change::Set(key, value, ttl_ms) => {
                let deadline = ttl_ms.map(|ttl_ms| deadline(span, ttl_ms));
                self.entries.insert(key.clone(), Entry { value: value.clone(), deadline });
                okay()
            }
            Change::SetMany(pairs) => {
                for (key, value) in pairs {
                    self.entries.insert(key.clone(), Entry { value: value.clone(), deadline: None });
                }
                okay()
            }
            Change::Delete(keys) => {
                let gone = keys.iter().filter(|key| self.entries.remove(*key).is_some()).count();
                if keys.iter().any(|key| key.starts_with('e')) {
                    return Expected::AnyInteger;
                }
                integer(gone)
            }
            Change::Rename(from, to) => match self.entries.remove(from) {
                Some(entry) => {
                    self.entries.insert(to.clone(), entry);
                    okay()
                }
                None => Reply::Error("ERR no such key".to_owned()),
            },
            Change::Expire(key, ttl_ms) => {
                let slid = self.slid(span, *ttl_ms);
                let found = self.entries.get_mut(key).map(|entry| entry.deadline = Some(slid));
                Reply::Integer(i64::from(found.is_some()))
            }
            Change::GetExpire(key, ttl_ms) => {
                let slid = ttl_ms.map(|ttl_ms| self.slid(span, ttl_ms));
                match self.entries.get_mut(key) {
                    Some(entry) => {
                        entry.deadline = slid;
                        Reply::Bulk(entry.value.clone())
                    }
                    None => Reply::Nil,
                }
            }
            Change::Flush => {
                self.entries.clear();
                okay()
            }
            Change::Add(..) | Change::Append(..) | Change::Overwrite(..) => self.edit(change),
        })
    }

    /// Changes within a value, which keep the deadline.
    fn edit(&mut self, change: &Change) -> Reply {
        let (Change::Add(key, _) | Change::Append(key, _) | Change::Overwrite(key, ..)) = change else {
            unreachable!("the caller passes only these");
        };
        if let Change::Overwrite(key, _, bytes) = change
            && bytes.is_empty()
        {
            // Nothing is written, and no key made.
            return integer(self.entries.get(key).map_or(0, |entry| entry.value.len()));
        }
        let made = || Entry { value: Vec::new(), deadline: None };
        let value = &mut self.entries.entry(key.clone()).or_insert_with(made).value;
        match change {
            Change::Add(_, amount) => {
                let before: i64 = String::from_utf8_lossy(value).parse().unwrap_or(0);
                *value = (before + amount).to_string().into_bytes();
                Reply::Integer(before + amount)
            }
            Change::Overwrite(_, offset, bytes) => {
                let end = offset + bytes.len();
                value.resize(value.len().max(end), 0);
                value[*offset..end].copy_from_slice(bytes);
                integer(value.len())
            }
            Change::Append(_, tail) => {
                value.extend_from_slice(tail);
                integer(value.len())
            }
            _ => unreachable!("the caller passes only these"),
        }
    }

    fn slid(&self, span: Span, ttl_ms: i64) -> Deadline {
        let Deadline { earliest_ms, latest_ms } = deadline(span, ttl_ms);
        let slack_ms = match self.slides {
            Slides::Exact => 0,
            Slides::Slack => (ttl_ms / 50).max(1000),
        };
        Deadline { earliest_ms, latest_ms: latest_ms + slack_ms }
    }

    /// The first difference between this state and what a server holds.
    pub fn difference(&self, observed: &Observed) -> Option<String> {
        if self.transfers != observed.transfers {
            return Some(format!("{} transfers instead of {}", observed.transfers, self.transfers));
        }
        for (key, (value, deadline_ms)) in &observed.entries {
            let Some(entry) = self.entries.get(key) else {
                return Some(format!("{key} should not be there"));
            };
            if &entry.value != value {
                return Some(format!("{key} is {} instead of {}", shown(value), shown(&entry.value)));
            }
            let fits = match (entry.deadline, deadline_ms) {
                (None, None) => true,
                (Some(deadline), Some(ms)) => (deadline.earliest_ms..=deadline.latest_ms).contains(ms),
                _ => false,
            };
            if !fits {
                return Some(format!(
                    "the deadline of {key} is {deadline_ms:?} instead of {:?}",
                    entry.deadline
                ));
            }
        }
        let still_there =
            |entry: &Entry| entry.deadline.is_none_or(|deadline| deadline.earliest_ms > observed.read_ms);
        let missing = self
            .entries
            .iter()
            .find(|(key, entry)| !observed.entries.contains_key(*key) && still_there(entry));
        missing.map(|(key, entry)| format!("{key} is missing; it was {}", shown(&entry.value)))
    }
}

fn deadline(span: Span, ttl_ms: i64) -> Deadline {
    Deadline {
        earliest_ms: span.sent_ms + ttl_ms - CLOCK_SLACK_MS,
        latest_ms: span.acknowledged_ms + ttl_ms + CLOCK_SLACK_MS,
    }
}

/// The length of a value and how it begins.
fn shown(value: &[u8]) -> String {
    let start = &value[..value.len().min(16)];
    format!("{} bytes \"{}\"", value.len(), start.escape_ascii())
}
