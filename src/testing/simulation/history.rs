//! What was in the keyspace after each thing that happened, and what a server that starts again must find of it.
//!
//! No command is implemented a second time: the truth is the keyspace's own state, observed without touching it after each request and each
//! round of expiry. The log's order is the order of the changes, so whatever is lost, what is found is one of these states, not before the last
//! one that was promised: by the log's durable offset, by a finished snapshot, or by an orderly end.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::rc::Rc;

use super::requests::{DATABASES, KEYS};
use crate::keyspace::{EntryRef, Key, Keyspace, Kind, values};

/// What is stored under a key.
#[derive(Debug)]
struct Stored {
    value: Value,
    expire_at_ms: Option<i64>,
    /// How coarsely the entry says that the log knows the deadline. Not judged: another one shows that the same deadline was given anew.
    coarseness: u32,
    /// How much later the log may say, after a crash, that it expires: the slack that was in force when the deadline was given.
    slack_ms: i64,
}

/// A value in the form that it has, which is cheap to look at, and to be compared with others when a server has started.
#[derive(Debug)]
struct Value {
    kind: Kind,
    is_large: bool,
    bytes: Vec<u8>,
    content: OnceCell<Vec<u8>>,
}

impl Value {
    fn of(entry: EntryRef<'_>) -> Value {
        let (kind, root) = (entry.kind(), entry.root());
        let mut bytes = Vec::new();
        match root {
            Some(root) => root.encode(kind, &mut bytes),
            None => bytes.extend_from_slice(entry.value()),
        }
        Value { kind, is_large: root.is_some(), bytes, content: OnceCell::new() }
    }

    /// Whether it is certainly the one that an entry holds.
    fn is_of(&self, entry: EntryRef<'_>) -> bool {
        if self.kind != entry.kind() || self.is_large != entry.root().is_some() {
            return false;
        }
        match entry.root() {
            Some(_) => Value::of(entry).bytes == self.bytes,
            None => entry.value() == self.bytes,
        }
    }

    /// See [`values::content`].
    fn content(&self) -> &[u8] {
        self.content.get_or_init(|| match self.is_large {
            true => values::content_of_encoded(self.kind, &self.bytes),
            false => values::content(self.kind, &self.bytes, None),
        })
    }

    /// What of it is left at a Unix time in milliseconds, in which fields may have expired.
    fn left_at(&self, now_ms: i64) -> Option<Cow<'_, [u8]>> {
        match self.kind {
            Kind::Hash => values::content_at(self.content(), now_ms).map(Cow::Owned),
            _ => Some(Cow::Borrowed(self.content())),
        }
    }
}

/// What all keys hold: each in one database after the other.
type Contents = Vec<Option<Rc<Stored>>>;

struct Moment {
    contents: Contents,
    /// Where the log was behind what led here; `u64::MAX` if it was off.
    log_offset: u64,
    /// Keys were evicted on the way here, one after the other.
    evicting: bool,
}

/// See the module's text.
pub struct History {
    /// All keys, hashed; every server here hashes them alike.
    keys: Vec<Key<'static>>,
    moments: Vec<Moment>,
    /// The last one that was promised.
    promised: usize,
    /// What is found must be the last one, with exact deadlines.
    exact: bool,
    /// `expire-log-slack` and the number of evicted keys when they were last looked at.
    percent: i64,
    evicted: u64,
}

impl Default for History {
    fn default() -> History {
        History::new()
    }
}

impl History {
    pub fn new() -> History {
        let nothing = vec![None; DATABASES * KEYS.len()];
        let moments = vec![Moment { contents: nothing, log_offset: u64::MAX, evicting: false }];
        History { keys: Vec::new(), moments, promised: 0, exact: false, percent: 0, evicted: 0 }
    }

    /// Looks at the keyspace, and notes what has changed. The counts are the log's offset and how many keys were evicted; `percent` is
    /// `expire-log-slack`.
    pub fn observe(
        &mut self,
        keyspace: &Keyspace,
        (log_offset, evicted): (Option<u64>, u64),
        now_ms: i64,
        percent: i64,
    ) {
        let last = &self.moments[self.moments.len() - 1];
        // Some of what happened may have happened before it was changed.
        let larger = percent.max(std::mem::replace(&mut self.percent, percent));
        let contents = observe(keyspace, &self.keys, &last.contents, now_ms, larger);
        let log_offset = log_offset.unwrap_or(u64::MAX);
        let is_same = contents.iter().zip(&last.contents).all(|(new, old)| match (new, old) {
            (Some(new), Some(old)) => Rc::ptr_eq(new, old),
            (new, old) => new.is_none() && old.is_none(),
        });
        if !is_same || last.log_offset != log_offset && log_offset != u64::MAX {
            let evicting = std::mem::replace(&mut self.evicted, evicted) != evicted;
            self.moments.push(Moment { contents, log_offset, evicting });
        }
    }

    /// The number of the present state.
    pub fn present(&self) -> usize {
        self.moments.len() - 1
    }

    /// Nothing up to this state may be lost from now on.
    pub fn promise(&mut self, moment: usize) {
        self.promised = self.promised.max(moment);
    }

    /// Keys that are there although their time, or that of a field, passed before a Unix time in milliseconds.
    pub fn overdue(&self, before_ms: i64) -> usize {
        let contents = &self.moments[self.present()].contents;
        let has_overdue_field = |value: &Value| {
            value.kind == Kind::Hash && value.left_at(before_ms).as_deref() != Some(value.content())
        };
        let is_overdue = |stored: &&Rc<Stored>| {
            stored.expire_at_ms.is_some_and(|at_ms| at_ms < before_ms) || has_overdue_field(&stored.value)
        };
        contents.iter().flatten().filter(is_overdue).count()
    }

    /// What the log had recorded up to these offsets may not be lost from now on.
    pub fn promise_offsets(&mut self, is_durable: impl Fn(u64) -> bool) {
        let kept = |moment: &Moment| is_durable(moment.log_offset);
        if let Some(behind) = self.moments[self.promised..].iter().rposition(kept) {
            self.promised += behind;
        }
    }

    /// The server has ended in an orderly way: the present state, exactly.
    pub fn promise_exactly(&mut self) {
        self.promised = self.present();
        self.exact = true;
    }

    /// The first state that was recorded in the log and is not promised.
    pub fn first_unpromised(&self) -> Option<usize> {
        let is_recorded = |moment: &Moment| moment.log_offset != u64::MAX;
        self.moments[self.promised + 1..].iter().position(is_recorded).map(|index| self.promised + 1 + index)
    }

    /// A server has loaded its data at a time in Unix milliseconds: checks that it found one of the states that it may find, and goes on from it.
    /// What it found is promised if it is `lasting`: there for whatever comes.
    ///
    /// # Errors
    /// What it found instead.
    pub fn recover(&mut self, keyspace: &Keyspace, now_ms: i64, lasting: bool) -> Result<(), String> {
        let nothing = vec![None; DATABASES * KEYS.len()];
        self.keys = KEYS.iter().map(|name| keyspace.key(name.as_bytes())).collect();
        let found = observe(keyspace, &self.keys, &nothing, now_ms, 0);
        let known = (0..DATABASES).map(|database| keyspace.count(database).0).sum::<usize>();
        if known != found.iter().flatten().count() {
            return Err(format!("{known} keys are there, and some of them nobody has ever named"));
        }
        let possible = &self.moments[self.promised..];
        let followers = possible.iter().skip(1).map(Some).chain([None]);
        let wrong = |(moment, next): (&Moment, Option<&Moment>)| {
            // A crash may come between two evictions.
            let leaving = next.filter(|next| next.evicting).map(|next| &next.contents);
            differences(&found, &moment.contents, leaving, now_ms, self.exact)
        };
        let wrongs: Vec<Vec<String>> = possible.iter().zip(followers).map(wrong).collect();
        if wrongs.iter().any(Vec::is_empty) {
            self.go_on_from(&wrongs, found, lasting);
            return Ok(());
        }
        let states = self.moments.len() - self.promised;
        let how = if self.exact { ", after an orderly end" } else { "" };
        let least = wrongs.into_iter().min_by_key(Vec::len).unwrap_or_default().join("; ");
        Err(format!(
            "what was found is none of the {states} states it may be{how}; the nearest differs in: {least}"
        ))
    }
}

impl History {
    /// Goes on from what was found. The states that it may be stay: what has expired meanwhile is there again if the clock is set back before
    /// its removal is on disk. So do those that a loss of power may go back to.
    fn go_on_from(&mut self, wrongs: &[Vec<String>], found: Contents, lasting: bool) {
        let last = wrongs.iter().rposition(Vec::is_empty).unwrap_or(0);
        let kept = self.moments.drain(..).skip(self.promised).take(last + 1).zip(wrongs);
        self.moments =
            kept.filter(|(_, wrong)| !lasting || wrong.is_empty()).map(|(moment, _)| moment).collect();
        // The offsets of another life mean nothing any more.
        self.moments.iter_mut().for_each(|moment| moment.log_offset = u64::MAX);
        self.moments.push(Moment { contents: found, log_offset: u64::MAX, evicting: false });
        (self.promised, self.exact) = (0, false);
    }
}

fn observe(keyspace: &Keyspace, keys: &[Key<'_>], before: &Contents, now_ms: i64, percent: i64) -> Contents {
    let mut contents = Vec::with_capacity(before.len());
    for (key, formers) in keys.iter().zip(before.chunks(DATABASES)) {
        let shard = keyspace.lock_shard(key.shard);
        contents.extend(formers.iter().enumerate().map(|(database, former)| {
            let partition = shard.partition(database);
            let entry = partition.entry(partition.find(key.hash, key.bytes)?);
            let (expire_at_ms, coarseness) = (entry.expire_at_ms(), entry.logged_coarseness());
            if let Some(former) = former
                && (former.expire_at_ms, former.coarseness) == (expire_at_ms, coarseness)
                && former.value.is_of(entry)
            {
                return Some(Rc::clone(former));
            }
            let slack_ms = expire_at_ms.map_or(0, |at_ms| slack_ms(at_ms, before, now_ms, percent));
            Some(Rc::new(Stored { value: Value::of(entry), expire_at_ms, coarseness, slack_ms }))
        }));
    }
    contents
}

/// How much later the log may say that a key expires which has this deadline now, and had not before. RENAME, COPY, MOVE, SWAPDB and whatever
/// changes a value carry a deadline along, with the slack that it was given with.
fn slack_ms(at_ms: i64, before: &Contents, now_ms: i64, percent: i64) -> i64 {
    let had_it = before.iter().flatten().filter(|stored| stored.expire_at_ms == Some(at_ms));
    let carried_ms = had_it.map(|stored| stored.slack_ms).max().unwrap_or(0);
    let given_ms = if percent == 0 { 0 } else { ((at_ms - now_ms).max(0) / 100 * percent).max(1000) };
    carried_ms.max(given_ms)
}

/// In which keys what was found is not what a state says. Those that the next state, `leaving`, lacks may be gone already.
fn differences(
    found: &Contents,
    state: &Contents,
    leaving: Option<&Contents>,
    now_ms: i64,
    exact: bool,
) -> Vec<String> {
    let name = |index: usize| format!("{} of database {}", KEYS[index / DATABASES], index % DATABASES);
    let leaves = |index: usize| leaving.is_some_and(|next| next[index].is_none());
    let pairs = found.iter().zip(state).enumerate();
    pairs
        .filter(|(index, (found, _))| found.is_some() || !leaves(*index))
        .filter_map(|(index, (found, said))| {
            let wrong = difference(found.as_deref(), said.as_deref(), now_ms, exact)?;
            Some(format!("{} {wrong}", name(index)))
        })
        .collect()
}

fn difference(found: Option<&Stored>, said: Option<&Stored>, now_ms: i64, exact: bool) -> Option<String> {
    match (found, said) {
        (None, None) => None,
        (None, Some(said)) if said.expire_at_ms.is_some_and(|at_ms| at_ms <= now_ms) => None,
        (None, Some(said)) if said.value.left_at(now_ms).is_none() => None,
        (None, Some(said)) => {
            let left_ms = said.expire_at_ms.map(|at_ms| at_ms - now_ms);
            Some(format!("is missing (milliseconds left: {left_ms:?})"))
        }
        (Some(_), None) => Some(String::from("has come back")),
        (Some(found), Some(said)) if found.value.left_at(now_ms) != said.value.left_at(now_ms) => {
            Some(String::from("has another value"))
        }
        (Some(found), Some(said)) => match (found.expire_at_ms, said.expire_at_ms) {
            (None, None) => None,
            (Some(found_ms), Some(said_ms)) => {
                let late_ms = found_ms - said_ms;
                let allowed_ms = if exact { 0 } else { said.slack_ms };
                (!(0..=allowed_ms).contains(&late_ms)).then(|| format!("expires {late_ms} ms late"))
            }
            (found_ms, said_ms) => Some(format!("expires at {found_ms:?} instead of {said_ms:?}")),
        },
    }
}
