//! What a command function may touch: its arguments, the keys that its row names, its reply, its client, and effects.
//!
//! A function reads and changes values through [`Cx`], reports each change with [`Cx::changed`], and returns a [`Failure`] where the
//! request is wrong. Deadlines that have passed, access history, watch versions, keyspace events and counters follow from
//! these calls.
//!
//! The write log hears of a change in one of these ways, and the row's flags name those that its function uses (debug builds check each call):
//!
//! | the function calls | the record is | the row has |
//! | --- | --- | --- |
//! | [`Cx::changed`] (or `changed_in`, `changed_keyspace`) | the request as it came: done again at any time it does the same | `LOGGED_AS_IT_CAME` |
//! | besides, [`Cx::log_set`] | `SET key value [PXAT ms / KEEPTTL]`: a string and an absolute deadline | `LOGGED_AS_SET` |
//! | besides, and before it, [`Cx::log`], for each record | what is given: the outcome of a choice, a rounding, or a relative time | `LOGGED_OTHERWISE` |
//! | besides, and before it, [`Cx::slide_expire_at_ms`] | `PEXPIREAT`, or none, where the log knows the deadline well enough | `LOGGED_OTHERWISE` |
//!
//! Keys that were found to have expired are recorded as `DEL` in front, by themselves; a request that changes nothing has no record.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::effects::{Deadline, Effects, Event, Record};
use super::keys::Located;
use super::registry::Command;
use super::spec::Flags;
use crate::base::clock::{Now, Stopwatch};
use crate::base::quote::up_to_zero;
use crate::base::random::Random;
use crate::client::{Blocked, Client, ClientInfo, Gates, Message, Parked};
use crate::config::Config;
use crate::keyspace::collection::Packed;
use crate::keyspace::values::Edit;
use crate::keyspace::values::exchange::EncodingLimits;
use crate::keyspace::{
    AccessRules, Entry, EntryRef, ExpiryTurn, Key, Kind, LENGTH_MAX, Locked, Partition, Position, Removed,
    Root, ShardWeights, Site, Victims,
};
use crate::observe::counters::Count;
use crate::observe::statistics::LoopStatistics;
use crate::pubsub::Noted;
use crate::resp::{Args, Reply};
use crate::services::Services;
use crate::write_log::encode_request;

/// What `expire-log-slack` is at least, however short the TTL.
const LOG_SLACK_MS_MIN: u64 = 1000;
/// An entry has 5 bits for the exponent of the slack.
const LOG_SLACK_MS_MAX: u64 = (1 << 32) - 1;

/// The error of what may not run while the data are loaded.
pub const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// Why a command did not do what it was asked; the text is the error reply. It may hold bytes of the request, which are any.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Failure(pub Cow<'static, [u8]>);

impl Failure {
    pub const SYNTAX: Failure = Failure::text("ERR syntax error");
    pub const NOT_AN_INTEGER: Failure = Failure::text("ERR value is not an integer or out of range");
    const NOT_A_KEY: Failure =
        Failure::text("ERR internal error: the command uses a key that its row does not name");
    const TOO_LATE: Failure =
        Failure::text("ERR internal error: the command asks for a further key behind its first change");
    /// What was done to the key is undone.
    pub const NOT_HELD: Failure =
        Failure::text("ERR internal error: the command uses a key whose shard is not locked");
    /// Not an answer: the request runs again.
    const AGAIN: Failure = Failure::text("ERR internal error: the request was not run again");
    pub const WRONG_TYPE: Failure =
        Failure::text("WRONGTYPE Operation against a key holding the wrong kind of value");
    pub const NO_SUCH_KEY: Failure = Failure::text("ERR no such key");

    pub const fn text(text: &'static str) -> Failure {
        Failure(Cow::Borrowed(text.as_bytes()))
    }

    pub fn owned(text: String) -> Failure {
        Failure(Cow::Owned(text.into_bytes()))
    }

    /// A text with a word of the request in it, as far as Redis shows the word.
    pub fn echo(before: &str, word: &[u8], after: &str) -> Failure {
        Failure(Cow::Owned([before.as_bytes(), up_to_zero(word), after.as_bytes()].concat()))
    }
}

/// What a command function returns.
pub type Outcome = Result<(), Failure>;

/// What an event loop carries from request to request.
pub struct LoopState<'s> {
    pub services: &'s Services,
    pub statistics: Arc<LoopStatistics>,
    /// The configuration that the present request sees.
    pub config: Arc<Config>,
    pub generation: u64,
    pub access: AccessRules,
    pub random: Random,
    /// Candidates for eviction.
    pub victims: Victims,
    /// How many keys each shard has, in the database that RANDOMKEY was last asked about.
    pub key_counts: (usize, ShardWeights),
    pub effects: Effects,
    pub stopwatch: Stopwatch,
    pub loop_index: usize,
    pub expiry_turn: ExpiryTurn,
    /// When the present request began, as the stopwatch counts.
    pub started_ticks: u64,
    /// Unix milliseconds, read once for a batch: for deadlines of keys and for dates alone.
    pub now_ms: i64,
    /// Unix microseconds at the same moment.
    pub now_us: i64,
    /// Steady time at the same moment ([`Now`]): for all that lasts, waits or has an age.
    pub steady_ms: i64,
    pub steady_us: i64,
    /// Deadlines up to this time have passed: the same as `now_ms`, but for the replay of the write log, in which nothing expires that
    /// the log does not name.
    pub expired_ms: i64,
}

impl<'s> LoopState<'s> {
    /// `loop_index` names the loop's part of the statistics and its mailbox; `seed` starts its random numbers.
    pub fn new(services: &'s Services, loop_index: usize, seed: u64, stopwatch: Stopwatch) -> LoopState<'s> {
        let statistics = Arc::clone(&services.statistics.loops()[loop_index]);
        let config = services.settings.load();
        let access = access_rules(&config);
        LoopState {
            services,
            statistics,
            config,
            generation: services.settings.generation(),
            access,
            random: Random::new(seed),
            victims: Victims::default(),
            key_counts: Default::default(),
            effects: Effects::default(),
            stopwatch,
            loop_index,
            expiry_turn: ExpiryTurn::default(),
            started_ticks: 0,
            now_ms: 0,
            now_us: 0,
            steady_ms: 0,
            steady_us: 0,
            expired_ms: 0,
        }
    }

    /// Starts a batch at this time.
    pub fn set_now(&mut self, now: Now) {
        (self.now_us, self.steady_us) = (now.wall_us, now.steady_us);
        (self.now_ms, self.steady_ms) = (now.wall_ms(), now.steady_ms());
        self.expired_ms = self.now_ms;
        self.services.keyspace.follow(now);
    }

    /// The time of the batch.
    pub fn now(&self) -> Now {
        Now { wall_us: self.now_us, steady_us: self.steady_us }
    }

    /// Starts a replay: from here on every key is seen, whatever its deadline, and what was once long enough is not too long now.
    pub fn begin_replay(&mut self) {
        self.expired_ms = i64::MIN;
        Arc::make_mut(&mut self.config).proto_max_bulk_len = LENGTH_MAX as u64;
    }

    /// What runs is what the write log tells.
    #[inline]
    pub fn is_replay(&self) -> bool {
        self.expired_ms == i64::MIN
    }

    /// The next request begins now: what was done since the last one is not its own. Called after whatever may take long between two
    /// requests, since [`LoopState::started_ticks`] otherwise goes on from the end of the request before.
    #[inline]
    pub fn begin_request(&mut self) {
        self.started_ticks = Stopwatch::ticks();
    }

    /// Takes over a changed configuration.
    #[inline]
    pub fn refresh(&mut self) {
        let generation = self.services.settings.generation();
        if generation != self.generation {
            self.take_over(generation);
        }
    }

    #[cold]
    fn take_over(&mut self, generation: u64) {
        self.generation = generation;
        self.config = self.services.settings.load();
        self.access = access_rules(&self.config);
    }

    #[inline]
    pub fn count(&self, count: Count, by: u64) {
        self.statistics.counters.add(count, by);
    }

    /// Counts an error reply, whatever has written it; `line` is its text. The one place that does.
    #[cold]
    pub fn count_error(&self, line: &[u8]) {
        self.services.statistics.record_error(line);
        self.count(Count::ErrorReplies, 1);
    }

    /// Ends what a client waits in, as at its timeout or with an error; false if it does not wait.
    pub fn unblock(&mut self, client: &ClientInfo, error: bool) -> bool {
        // Whoever takes the mark away ends the waiting, so that two callers are not both told that they did.
        let waiting = client.unblockable.swap(false, Ordering::AcqRel);
        if waiting {
            let message = Message::Unblock { place: client.place, id: client.id, error };
            if client.loop_index == self.loop_index {
                self.effects.local.push(message);
            } else {
                self.services.clients.mailbox(client.loop_index).send(message);
            }
        }
        waiting
    }

    /// Notes a keyspace event if somebody wants its class.
    #[inline]
    pub fn note(&mut self, event: Event, database: usize, key: &[u8]) {
        let flags = self.config.notify_keyspace_events;
        if flags.intersects(event.class) {
            self.effects.events.push(Noted { name: event.name, database, key: key.into(), flags });
        }
    }

    /// Puts the noted events in line to be published; says whether there are any. Called as the last thing before the locks of the
    /// changes are released, and [`super::pubsub::publish_events`] soon after.
    #[inline]
    pub fn hand_over_events(&mut self) -> bool {
        let any = !self.effects.events.is_empty();
        if any {
            self.services.events.append(&mut self.effects.events);
        }
        any
    }
}

/// How this configuration wants accesses to be noted.
pub fn access_rules(config: &Config) -> AccessRules {
    AccessRules {
        lfu: config.maxmemory_policy.is_lfu(),
        log_factor: config.lfu_log_factor,
        decay_minutes: config.lfu_decay_time,
    }
}

/// What this configuration says of the encodings that Redis would name.
pub fn encoding_limits(config: &Config, kind: Kind) -> EncodingLimits {
    // The defaults of directives that nothing else reads yet.
    let (elements, bytes, integers) = match kind {
        Kind::Hash => (config.hash_max_listpack_entries as u64, config.hash_max_listpack_value, 0),
        Kind::Set => (0, 0, config.set_max_intset_entries as u64),
        Kind::SortedSet => (config.zset_max_listpack_entries as u64, config.zset_max_listpack_value, 0),
        // Redis 7.0 has one encoding of lists.
        _ => (0, 0, 0),
    };
    EncodingLimits { elements, bytes, integers }
}

/// See the module's text. `'s` is the life of the services, `'a` that of the request.
pub struct Cx<'a, 's> {
    pub args: Args<'a>,
    pub command: &'a Command,
    pub reply: Reply<'a>,
    pub client: &'a mut Client,
    pub state: &'a mut LoopState<'s>,
    pub locked: &'a mut Locked<'s>,
    /// The keys that the row names, hashed already.
    pub keys: Located<'a>,
    /// The request has reported a change.
    pub has_changed: bool,
    /// The command runs inside EXEC.
    pub in_exec: bool,
}

impl<'a, 's> Cx<'a, 's> {
    pub fn services(&self) -> &'s Services {
        self.state.services
    }

    pub fn config(&self) -> &Config {
        &self.state.config
    }

    /// Unix milliseconds.
    #[inline]
    pub fn now_ms(&self) -> i64 {
        self.state.now_ms
    }

    /// Steady milliseconds ([`Now`]).
    #[inline]
    pub fn steady_ms(&self) -> i64 {
        self.state.steady_ms
    }

    /// Whether a deadline's time has come. In a replay none has: what later records say of the key is not known yet.
    #[inline]
    pub fn has_passed(&self, at_ms: i64) -> bool {
        at_ms <= self.state.expired_ms
    }

    /// Whether the write log hears of what the request changes. What a replay does comes from there.
    #[inline]
    pub fn is_recorded(&self) -> bool {
        self.services().write_log.is_on() && !self.state.is_replay()
    }

    /// The argument at `index` as a key that the row names.
    ///
    /// # Errors
    /// If the row does not, so that its shard is not held: a defect of the row, never of the peer.
    #[inline(always)]
    pub fn key(&self, index: usize) -> Result<Key<'a>, Failure> {
        match self.keys {
            Located::One(at, key) if at == index => Ok(key),
            _ => self.key_of_several(index),
        }
    }

    fn key_of_several(&self, index: usize) -> Result<Key<'a>, Failure> {
        match self.keys {
            Located::Many(keys) => keys.at(index, self.args).ok_or(Failure::NOT_A_KEY),
            Located::None | Located::One(..) => Err(Failure::NOT_A_KEY),
        }
    }

    /// A key that the row does not name. The row has `Flags::OPEN_KEYS`.
    ///
    /// # Errors
    /// If its shard is not held. The function passes the error on; its request then runs again, holding that shard too. So further keys come
    /// before the first change, or after [`Cx::begin_changes`].
    pub fn further<'b>(&mut self, bytes: &'b [u8]) -> Result<Key<'b>, Failure> {
        let key = self.services().keyspace.key(bytes);
        if self.locked.holds(key.shard) || self.locked.widen(key.shard) {
            return Ok(key);
        }
        if !self.command.has(Flags::OPEN_KEYS) {
            // Nobody would run it again.
            return Err(Failure::NOT_A_KEY);
        }
        if self.has_changed {
            return Err(Failure::TOO_LATE);
        }
        self.locked.want(|wanted| wanted.shards.add(key.shard));
        Err(Failure::AGAIN)
    }

    /// Stands before the first change of a request that may ask for further keys behind it.
    ///
    /// # Errors
    /// If another request may do so at present. The function passes the error on, and its request runs again when that one is done.
    pub fn begin_changes(&mut self) -> Result<(), Failure> {
        if self.locked.take_turn() {
            return Ok(());
        }
        self.locked.want(|wanted| wanted.turn = true);
        Err(Failure::AGAIN)
    }

    /// What the request has done in earlier turns of its client, if it is not its first.
    pub fn take_parked(&mut self) -> Option<Box<Parked>> {
        let parked = self.client.parked.take()?;
        // So that it is charged with all of its turns, and with nothing between them.
        self.state.started_ticks = self.state.started_ticks.wrapping_sub(parked.spent_ticks);
        Some(parked)
    }

    /// Lets the request go on in the client's next turn. Nothing is written, and the function passes the failure on. Not inside EXEC, which is one
    /// step.
    pub fn park(&mut self, mut parked: Box<Parked>) -> Failure {
        debug_assert!(!self.in_exec && !self.has_changed, "{}", self.command.full_name);
        parked.spent_ticks = Stopwatch::ticks().wrapping_sub(self.state.started_ticks);
        self.client.parked = Some(parked);
        self.client.blocked = Some(Blocked::Parked);
        Failure::AGAIN
    }

    /// The argument at `index` as an integer.
    pub fn integer(&self, index: usize) -> Result<i64, Failure> {
        crate::base::number::parse_i64(self.args.at(index)).ok_or(Failure::NOT_AN_INTEGER)
    }

    /// The error for a request with a number of arguments that its command does not take.
    #[cold]
    pub fn wrong_number_of_arguments(&self) -> Failure {
        let name = &self.command.full_name;
        Failure::owned(format!("ERR wrong number of arguments for '{name}' command"))
    }

    /// The partition and site of a key in the client's database.
    #[inline]
    pub fn partition(&mut self, key: Key<'_>) -> (&mut Partition, Site<'s>) {
        self.partition_of(self.client.database, key)
    }

    /// The partition and site of a key in any database.
    #[inline]
    pub fn partition_of(&mut self, database: usize, key: Key<'_>) -> (&mut Partition, Site<'s>) {
        self.locked.partition(database, key, self.state.now_ms)
    }

    /// Finds a live key for reading: counts a hit or a miss, notes the access, reclaims the key if its time has passed.
    #[inline]
    pub fn read(&mut self, key: Key<'_>) -> Option<EntryRef<'_>> {
        let position = self.access(key)?;
        Some(self.entry(key, position))
    }

    /// [`Cx::read`] of a string, with the value written as the reply; false if there is no such key, or it is no string.
    #[inline]
    pub fn read_into_reply(&mut self, key: Key<'_>) -> bool {
        let (database, now_ms) = (self.client.database, self.state.now_ms);
        // The commonest request of all: the partition is looked up once for everything. The entry is borrowed from the shard and
        // the reply from the connection, so nothing is copied between.
        let (partition, _) = self.locked.partition(database, key, now_ms);
        if let Some(position) = partition.find(key.hash, key.bytes) {
            let mut entry = partition.notes(position);
            if !entry.view().is_expired(self.state.expired_ms) && entry.view().is_string() {
                if !self.client.gates.has(Gates::NO_TOUCH) {
                    let access = entry.view().access();
                    let (rules, steady_ms) = (self.state.access, self.state.steady_ms);
                    entry.set_access(rules.touched(access, steady_ms, &mut self.state.random));
                }
                self.reply.bulk(entry.view().value());
                self.state.count(Count::KeyspaceHits, 1);
                return true;
            }
        }
        false
    }

    /// What follows where [`Cx::read_into_reply`] has written nothing: a missing key is counted, noted and reclaimed. Says whether there is one, which is
    /// no string.
    #[cold]
    pub fn miss(&mut self, key: Key<'_>) -> bool {
        self.access(key).is_some()
    }

    /// [`Cx::find`] for a command on values of one kind; for any string of [`Kind::String`].
    ///
    /// # Errors
    /// If the value is of another type.
    #[inline]
    pub fn find_as(&mut self, key: Key<'_>, kind: Kind) -> Result<Option<Position>, Failure> {
        let found = self.find(key);
        self.require(key, found, kind)
    }

    /// [`Cx::access`] for a command on values of one kind; else as [`Cx::find_as`].
    pub fn access_as(&mut self, key: Key<'_>, kind: Kind) -> Result<Option<Position>, Failure> {
        let found = self.access(key);
        self.require(key, found, kind)
    }

    /// [`Cx::read`] for a command on values of one kind; else as [`Cx::find_as`].
    pub fn read_as(&mut self, key: Key<'_>, kind: Kind) -> Result<Option<EntryRef<'_>>, Failure> {
        let found = self.access_as(key, kind)?;
        Ok(found.map(|position| self.entry(key, position)))
    }

    #[inline]
    fn require(
        &mut self,
        key: Key<'_>,
        found: Option<Position>,
        kind: Kind,
    ) -> Result<Option<Position>, Failure> {
        let Some(position) = found else { return Ok(None) };
        let entry = self.entry(key, position);
        let fits = if kind.is_string() { entry.is_string() } else { entry.kind() == kind };
        if fits { Ok(found) } else { Err(Failure::WRONG_TYPE) }
    }

    /// Adds a key with an empty collection, for the caller to fill.
    pub fn add_collection(&mut self, key: Key<'_>, kind: Kind) -> Position {
        let access = self.state.access.fresh(self.state.steady_ms);
        let entry = match kind {
            Kind::Stream => {
                let root = Root::new(kind, 0, &self.services().keyspace.limits());
                Entry::with_root(key.bytes, kind, Box::new(root))
            }
            _ => Entry::new(key.bytes, &Packed::EMPTY).with_kind(kind),
        };
        let entry = entry.with_access(access);
        self.add(self.client.database, key, entry)
    }

    /// The collection at `position`, to be changed. The caller reports the change, and removes a key that is left without elements.
    pub fn edit(&mut self, key: Key<'_>, position: Position) -> Edit<'_, 's> {
        let (partition, site) = self.partition(key);
        Edit::new(partition, site, position, key.hash)
    }

    /// [`Cx::read`], giving the entry's position.
    #[inline]
    pub fn access(&mut self, key: Key<'_>) -> Option<Position> {
        let position = self.look(key)?;
        self.touch(key, position);
        Some(position)
    }

    /// Finds a live key and counts a hit or a miss, without that being an access (EXISTS, TYPE, TTL).
    #[inline]
    pub fn look(&mut self, key: Key<'_>) -> Option<Position> {
        let found = self.find(key);
        if found.is_some() {
            self.state.count(Count::KeyspaceHits, 1);
        } else {
            self.state.count(Count::KeyspaceMisses, 1);
            self.state.note(Event::KEY_MISS, self.client.database, key.bytes);
        }
        found
    }

    /// Writes the value at `position` as the reply.
    #[inline]
    pub fn reply_value(&mut self, key: Key<'_>, position: Position) {
        let (database, now_ms) = (self.client.database, self.state.now_ms);
        // The entry is borrowed from the shard and the reply from the connection, so nothing is copied between.
        self.reply.bulk(self.locked.partition(database, key, now_ms).0.entry(position).value());
    }

    /// Finds a live key without counting or noting anything.
    #[inline]
    pub fn find(&mut self, key: Key<'_>) -> Option<Position> {
        self.find_in(self.client.database, key)
    }

    /// [`Cx::find`] in any database.
    #[inline]
    pub fn find_in(&mut self, database: usize, key: Key<'_>) -> Option<Position> {
        let expired_ms = self.state.expired_ms;
        let (partition, _) = self.partition_of(database, key);
        let position = partition.find(key.hash, key.bytes)?;
        if partition.entry(position).is_expired(expired_ms) {
            self.expire(database, key, position);
            return None;
        }
        Some(position)
    }

    /// [`Cx::find`] for a request that must not change anything: one whose time has passed stays, unseen.
    pub fn peek(&mut self, key: Key<'_>) -> Option<Position> {
        let expired_ms = self.state.expired_ms;
        let (partition, _) = self.partition(key);
        let position = partition.find(key.hash, key.bytes)?;
        (!partition.entry(position).is_expired(expired_ms)).then_some(position)
    }

    /// The entry at a position that [`Cx::find`] gave.
    #[inline]
    pub fn entry(&mut self, key: Key<'_>, position: Position) -> EntryRef<'_> {
        self.partition(key).0.entry(position)
    }

    /// The entry at a position that [`Cx::find`] gave, to be read into the reply.
    pub fn entry_and_reply(&mut self, key: Key<'_>, position: Position) -> (EntryRef<'_>, &mut Reply<'a>) {
        let (database, now_ms) = (self.client.database, self.state.now_ms);
        (self.locked.partition(database, key, now_ms).0.entry(position), &mut self.reply)
    }

    /// Notes an access, unless the client asked that its reads leave no trace.
    #[inline]
    pub fn touch(&mut self, key: Key<'_>, position: Position) {
        if self.client.gates.has(Gates::NO_TOUCH) && !self.command.has(Flags::ALWAYS_TOUCHES) {
            return;
        }
        let now_ms = self.state.now_ms;
        let mut entry = self.locked.partition(self.client.database, key, now_ms).0.notes(position);
        let (rules, steady_ms) = (self.state.access, self.state.steady_ms);
        let access = entry.view().access();
        entry.set_access(rules.touched(access, steady_ms, &mut self.state.random));
    }

    /// Reclaims a key whose time has passed. While writes are paused, or the write log has no room for the record, a request that reads leaves
    /// it where it is, unseen. One that writes was admitted before that, and may be about to add the key anew: the old one has to go.
    #[cold]
    fn expire(&mut self, database: usize, key: Key<'_>, position: Position) {
        let services = self.services();
        let stays = services.gates().has(Gates::PAUSED.and(Gates::ENDING)) || services.write_log.is_full();
        if stays && self.command.has(Flags::READONLY) {
            return;
        }
        let (partition, site) = self.partition_of(database, key);
        drop(partition.remove(site, position));
        self.state.count(Count::ExpiredKeys, 1);
        self.locked.shard(key.shard).watched.touch(database, key.bytes);
        self.state.statistics.changes.add(1);
        if self.is_recorded() {
            // Before the request's own record: what that does depends on the key being gone.
            self.state.effects.records.add(database, |out| encode_request(out, &[b"DEL", key.bytes]));
        }
        self.state.note(Event::EXPIRED, database, key.bytes);
    }

    /// So many elements of a value were found to have expired, and are gone; `record` says to the write log which. It comes before the request's own
    /// record, as in that of a key whose time has passed.
    #[cold]
    pub fn elements_expired(&mut self, key: Key<'_>, count: u64, record: &[&[u8]]) {
        let database = self.client.database;
        self.state.count(Count::ExpiredElements, count);
        self.locked.shard(key.shard).watched.touch(database, key.bytes);
        self.state.statistics.changes.add(1);
        if self.is_recorded() {
            self.state.effects.records.add(database, |out| encode_request(out, record));
        }
        self.state.note(Event::HEXPIRED, database, key.bytes);
    }

    /// Stores a value under a key: over the entry at `found` (keeping its deadline), or as a new key. `found` is what
    /// [`Cx::find`] gave for this key just before. Gives the entry's position.
    #[inline]
    pub fn store(&mut self, key: Key<'_>, found: Option<Position>, value: &[u8]) -> Position {
        self.store_as(key, found, value, Kind::String, Deadline::Keep)
    }

    /// [`Cx::store`] of a value with a kind, which says what becomes of the deadline, too. The request's record must tell it exactly.
    #[inline]
    pub fn store_as(
        &mut self,
        key: Key<'_>,
        found: Option<Position>,
        value: &[u8],
        kind: Kind,
        deadline: Deadline,
    ) -> Position {
        let Some(position) = found else { return self.add_new(key, value, kind, deadline) };
        let (partition, site) = self.locked.partition(self.client.database, key, self.state.now_ms);
        let mut entry = partition.set_value(site, position, value, kind);
        let (rules, steady_ms) = (self.state.access, self.state.steady_ms);
        let access = entry.view().access();
        entry.set_access(rules.touched(access, steady_ms, &mut self.state.random));
        match deadline {
            Deadline::Keep => {}
            Deadline::Clear if entry.view().expire_at_ms().is_none() => {}
            Deadline::Clear => partition.set_expire_at_ms(site, position, key.hash, None, 0),
            Deadline::At(at_ms) => partition.set_expire_at_ms(site, position, key.hash, Some(at_ms), 0),
        }
        position
    }

    fn add_new(&mut self, key: Key<'_>, value: &[u8], kind: Kind, deadline: Deadline) -> Position {
        let access = self.state.access.fresh(self.state.steady_ms);
        let mut entry = Entry::new(key.bytes, value).with_kind(kind).with_access(access);
        if let Deadline::At(at_ms) = deadline {
            entry = entry.with_expire_at_ms(at_ms);
        }
        self.add(self.client.database, key, entry)
    }

    /// Adds an entry under a key that is not there.
    pub fn add(&mut self, database: usize, key: Key<'_>, entry: Entry) -> Position {
        let (partition, site) = self.partition_of(database, key);
        let position = partition.insert(site, key.hash, entry);
        self.state.note(Event::NEW_KEY, database, key.bytes);
        position
    }

    /// Puts an entry in place of the one at `found`, or adds it. `found` is what [`Cx::find`] gave for this key just before.
    pub fn put(&mut self, key: Key<'_>, found: Option<Position>, entry: Entry) -> Position {
        let Some(position) = found else { return self.add(self.client.database, key, entry) };
        let (partition, site) = self.partition(key);
        drop(partition.remove(site, position));
        partition.insert(site, key.hash, entry)
    }

    /// Sets or removes the deadline of the entry at `position`. The request's record must tell it exactly.
    #[inline]
    pub fn set_expire_at_ms(&mut self, key: Key<'_>, position: Position, at_ms: Option<i64>) {
        let (partition, site) = self.partition(key);
        partition.set_expire_at_ms(site, position, key.hash, at_ms, 0);
    }

    /// Moves the deadline of the entry at `position`, and writes the record of that: none, if the log knows the new deadline well enough.
    /// The log holds deadlines rounded up by at most `expire-log-slack`, so a session that slides its deadline is recorded once
    /// in a while, and after a crash lives longer by less than the slack, never shorter.
    pub fn slide_expire_at_ms(&mut self, key: Key<'_>, position: Position, at_ms: i64) {
        let slack_ms = log_slack_ms(at_ms - self.state.now_ms, self.state.config.expire_log_slack);
        let logging = self.is_recorded();
        let (partition, site) = self.partition(key);
        if !logging || slack_ms == 0 {
            partition.set_expire_at_ms(site, position, key.hash, Some(at_ms), 0);
            let digits = &mut itoa::Buffer::new();
            return self.log(&[b"PEXPIREAT", key.bytes, digits.format(at_ms).as_bytes()]);
        }
        let known = partition.known_coarseness(site, position);
        let entry = partition.entry(position);
        let coarseness = if partition.remembers_coarseness(site, position) { slack_ms.ilog2() } else { 0 };
        let is_known = entry
            .expire_at_ms()
            .is_some_and(|before| known != 0 && rounded_up(before, known) == rounded_up(at_ms, known));
        if is_known && known <= coarseness {
            partition.set_expire_at_ms(site, position, key.hash, Some(at_ms), known);
            return self.log_nothing();
        }
        partition.set_expire_at_ms(site, position, key.hash, Some(at_ms), coarseness);
        let digits = &mut itoa::Buffer::new();
        let logged_ms = rounded_up(at_ms, coarseness);
        self.log(&[b"PEXPIREAT", key.bytes, digits.format(logged_ms).as_bytes()]);
    }

    /// The request's record is this one, not the request as it came; may be called several times.
    pub fn log(&mut self, words: &[&[u8]]) {
        if self.is_recorded() {
            self.state.effects.records.form = Record::Written;
            self.state.effects.records.add(self.client.database, |out| encode_request(out, words));
        }
    }

    /// The request's record is `SET` of argument 1 to the argument at `value`.
    #[inline]
    pub fn log_set(&mut self, value: usize, deadline: Deadline) {
        if self.is_recorded() {
            self.state.effects.records.form = Record::Set { value, deadline };
        }
    }

    /// The request has changed something that the log need not know.
    fn log_nothing(&mut self) {
        self.state.effects.records.form = Record::Written;
    }

    /// Removes the entry at `position` and frees it. The caller reports the change.
    pub fn remove(&mut self, database: usize, key: Key<'_>, position: Position) {
        drop(self.take(database, key, position));
    }

    /// Removes the entry at `position` and gives it back. The caller reports the change.
    pub fn take(&mut self, database: usize, key: Key<'_>, position: Position) -> Removed<'s> {
        let (partition, site) = self.partition_of(database, key);
        partition.remove(site, position)
    }

    /// A key of the client's database has changed, and this is how.
    #[inline]
    pub fn changed(&mut self, event: Event, key: Key<'_>) {
        self.changed_in(self.client.database, event, key);
    }

    /// [`Cx::changed`] in any database.
    #[inline]
    pub fn changed_in(&mut self, database: usize, event: Event, key: Key<'_>) {
        self.note_change(database, key);
        self.state.note(event, database, key.bytes);
    }

    /// A further event of a change that was already reported (SET with EX: `set`, then `expire`).
    #[inline]
    pub fn also(&mut self, event: Event, key: Key<'_>) {
        self.state.note(event, self.client.database, key.bytes);
    }

    /// An event of a key that counts as changed for those who watch it, while its value is as it was (LTRIM of nothing), or the change is reported with
    /// that of another key (LMOVE).
    pub fn touched(&mut self, event: Event, key: Key<'_>) {
        self.locked.shard(key.shard).watched.touch(self.client.database, key.bytes);
        self.also(event, key);
    }

    /// [`Cx::changed`] where nobody is told of it, though watchers and the log must know.
    pub fn changed_silently(&mut self, key: Key<'_>) {
        self.note_change(self.client.database, key);
    }

    #[inline]
    fn note_change(&mut self, database: usize, key: Key<'_>) {
        self.locked.shard(key.shard).watched.touch(database, key.bytes);
        self.changed_keyspace(1);
    }

    /// The keyspace has changed, by so many changes; [`Cx::changed`] says this too.
    #[inline]
    pub fn changed_keyspace(&mut self, changes: u64) {
        self.has_changed = true;
        self.state.statistics.changes.add(changes);
        if self.state.effects.records.form == Record::None && self.is_recorded() {
            self.state.effects.records.form = Record::Verbatim;
        }
    }
}

/// How much longer than its TTL a key may live after a crash: `percent` of the TTL, but at least a second. 0 percent is not at all.
fn log_slack_ms(ttl_ms: i64, percent: u32) -> u64 {
    match percent {
        0 => 0,
        _ => (ttl_ms.max(0) as u64 / 100 * u64::from(percent)).clamp(LOG_SLACK_MS_MIN, LOG_SLACK_MS_MAX),
    }
}

/// The next multiple of 2^`coarseness` milliseconds.
fn rounded_up(at_ms: i64, coarseness: u32) -> i64 {
    let unit = 1i64 << coarseness;
    at_ms.saturating_add(unit - 1) & -unit
}
