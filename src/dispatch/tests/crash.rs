//! What a snapshot and the write log's present increment tell together is what clients were told, whatever changes while the snapshot is
//! being taken. The requests are made from the syntax lines of all rows that write, so a new row takes part by itself.

use std::collections::BTreeMap;

use super::*;
use crate::base::random::Random;
use crate::command::docs::{Argument, Kind, arguments};
use crate::command::{Command, Flags};
use crate::keyspace::large::Large;
use crate::keyspace::values::assembly::Assembly;
use crate::keyspace::{AtCut, EntryRef, ShardVisit, Site};
use crate::keyspace::{Kind as ValueKind, values};
use crate::resp::{Parser, Step};
use crate::write_log::RECORD_LIMITS;

const DATABASES: usize = 4;
const KEYS: u64 = 6;
const TTL_MS: i64 = 1_800_000;
/// The length of a value that a snapshot reads without a lock.
const LARGE: usize = 40_000;

/// A key, what is stored under it, and its deadline.
type Contents = BTreeMap<(usize, Vec<u8>), (Vec<u8>, Option<i64>)>;

fn content(entry: EntryRef<'_>) -> Vec<u8> {
    values::content(entry.kind(), entry.value(), entry.root())
}

fn note(contents: &mut Contents, database: usize, entry: EntryRef<'_>) {
    let before = contents.insert((database, entry.key().to_vec()), (content(entry), entry.expire_at_ms()));
    assert!(before.is_none(), "an entry is shown once");
}

/// What a snapshot has seen; large collections when all of them was.
#[derive(Default)]
struct Seen {
    contents: Contents,
    assembly: Assembly<(usize, Vec<u8>, ValueKind, Option<i64>)>,
}

impl Seen {
    fn note(&mut self, entry: &AtCut<'_>) {
        let AtCut { database, key, kind, expire_at_ms, .. } = *entry;
        let (name, value) = match entry.large {
            Large::No => ((database, key.to_vec()), (values::content(kind, entry.value, None), expire_at_ms)),
            _ => {
                let entry = self.assembly.shown((database, key.to_vec(), kind, expire_at_ms), entry);
                let Some((entry, encoded)) = entry.expect("parts that belong together") else { return };
                let (database, key, kind, expire_at_ms) = entry;
                ((database, key), (values::content_of_encoded(kind, &encoded), expire_at_ms))
            }
        };
        let before = self.contents.insert(name, value);
        assert!(before.is_none(), "an entry is shown once");
    }
}

/// What the keyspace knows of an entry besides what it shows.
struct Known {
    /// Of its deadline.
    coarseness: u32,
    is_seen: bool,
}

/// Shows each entry with its database.
fn each_entry(keyspace: &Keyspace, mut see: impl FnMut(usize, EntryRef<'_>, Known)) {
    for shard in 0..SHARDS {
        let held = keyspace.lock_shard(shard);
        for database in 0..DATABASES {
            let (partition, mut found) = (held.partition(database), Vec::new());
            let rest = partition.table().gather(0, usize::MAX, usize::MAX, &mut found);
            assert_eq!(rest, None);
            let site = Site { keyspace, database, shard, now_ms: 0 };
            for position in found {
                let coarseness = partition.known_coarseness(site, position);
                let is_seen = partition.is_seen(site, position);
                see(database, partition.entry(position), Known { coarseness, is_seen });
            }
        }
    }
}

/// All that a keyspace holds.
fn contents(keyspace: &Keyspace) -> Contents {
    let mut contents = Contents::new();
    each_entry(keyspace, |database, entry, _| note(&mut contents, database, entry));
    contents
}

/// A server that has a snapshot of `base` and nothing else.
fn restored(base: &Contents) -> Services {
    let services = services(1, |config| config.collection_leaf_bytes = 64);
    for ((database, name), (value, expire_at_ms)) in base {
        let (keyspace, key) = (&services.keyspace, services.keyspace.key(name));
        let site = Site { keyspace, database: *database, shard: key.shard, now_ms: START_MS };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(*database);
        let position = partition.insert(
            site,
            key.hash,
            values::of_content(keyspace, name, value).expect("it was a value"),
        );
        partition.set_expire_at_ms(site, position, key.hash, *expire_at_ms, 0);
    }
    services
}

/// The words of a record as a line. No word here has a space in it.
fn lines(records: &[u8]) -> Vec<String> {
    let (mut parser, mut ranges, mut lines) = (Parser::default(), Vec::new(), Vec::new());
    while let Ok(Step::Request) = parser.advance(records, &RECORD_LIMITS, &mut ranges) {
        let args = Args::new(records, &ranges);
        let words: Vec<_> = args.iter_from(0).map(String::from_utf8_lossy).collect();
        lines.push(words.join(" "));
        ranges.clear();
    }
    lines
}

/// The records since the last call.
pub(super) fn take_records(services: &Services) -> Vec<String> {
    if services.write_log.buffered_bytes() == 0 {
        return Vec::new();
    }
    services.write_log.take().chunks.iter().flat_map(|chunk| lines(&chunk.bytes)).collect()
}

/// The deadline that a log holds which knows it so coarsely.
fn rounded_up(at_ms: i64, coarseness: u32) -> i64 {
    let unit = 1i64 << coarseness;
    (at_ms + unit - 1) / unit * unit
}

/// One server with its log, a snapshot that is being taken of it, and the server that a crash would leave.
pub(super) struct World<'s> {
    it: Loop<'s>,
    pub(super) random: Random,
    /// What the keyspace held at the cut.
    base: Contents,
    /// What the visitor was shown.
    seen: Seen,
    visits: Vec<ShardVisit>,
    /// The present increment.
    records: Vec<String>,
}

impl<'s> World<'s> {
    pub(super) fn new(services: &'s Services, seed: u64) -> World<'s> {
        services.write_log.go_on();
        World {
            it: Loop::new(services, 0, 1),
            random: Random::new(seed),
            base: Contents::new(),
            seen: Seen::default(),
            visits: Vec::new(),
            records: Vec::new(),
        }
    }

    fn services(&self) -> &'s Services {
        self.it.state.services
    }

    pub(super) fn cut(&mut self) {
        let services = self.services();
        take_records(services);
        assert!(services.keyspace.cut(|| {
            services.write_log.begin_increment();
        }));
        self.base = contents(&services.keyspace);
        self.seen = Seen::default();
        self.records.clear();
        self.visits = (0..SHARDS).map(ShardVisit::of).collect();
    }

    /// Takes a bite of one of the shards that are not at their end.
    pub(super) fn visit(&mut self, one_in: u64) {
        let keyspace = &self.services().keyspace;
        let seen = &mut self.seen;
        let random = &mut self.random;
        let mut see = |entry: &AtCut<'_>| {
            seen.note(entry);
            true
        };
        self.visits.retain_mut(|visit| random.below(one_in) > 0 || keyspace.visit(visit, &mut see));
    }

    /// Shows the visitor what is left, which makes the snapshot what there was at the cut.
    pub(super) fn finish(&mut self, what: &str) {
        while !self.visits.is_empty() {
            self.visit(1);
        }
        let (services, seen) = (self.services(), &mut self.seen);
        services.keyspace.finish_visit(&mut |entry| {
            seen.note(entry);
            false
        });
        assert_eq!(self.seen.contents, self.base, "{what}");
    }

    /// Runs a request, whatever it answers.
    pub(super) fn ask(&mut self, line: &str) {
        self.it.ask(0, line);
        self.it.state.effects.local.clear();
        let records = take_records(self.services());
        self.records.extend(records);
    }

    /// Whether the snapshot that is being taken should have the entry, in whatever database, and does not have it yet.
    fn is_as_at_cut(&self, entry: EntryRef<'_>) -> bool {
        // Of a large one the deadline moves before it was seen, and of a large string parts change; `finish` looks at what is seen of it.
        let is_same = |(value, expire_at_ms): &(Vec<u8>, Option<i64>)| {
            let is_large = value.len() >= LARGE;
            let was_string = value.first().is_some_and(|kind| ValueKind::from_bits(*kind).is_string());
            is_large && was_string && entry.is_string()
                || *value == content(entry) && (is_large || *expire_at_ms == entry.expire_at_ms())
        };
        let key = |database| (database, entry.key().to_vec());
        let mut databases = (0..DATABASES).map(key);
        !self.visits.is_empty()
            && databases
                .any(|key| self.base.get(&key).is_some_and(is_same) && !self.seen.contents.contains_key(&key))
    }

    /// A crash now: what the next start finds is what was acknowledged, with deadlines as the log is said to know them. When it comes makes no
    /// difference, also long after all deadlines: what has expired is removed after the replay, not by it.
    pub(super) fn check(&self, what: &str) {
        for later_ms in [0, 100 * TTL_MS] {
            self.check_start(later_ms, &format!("{what}, {later_ms} ms later"));
        }
    }

    fn check_start(&self, later_ms: i64, what: &str) {
        let after = restored(&self.base);
        let mut replaying = Loop::new(&after, 0, 1);
        replaying.state.set_now(Now::at_ms(START_MS + later_ms));
        replaying.state.begin_replay();
        for record in &self.records {
            assert_eq!(replaying.replay(record), Ok(()), "{what}: {record}");
        }
        let mut expected = Contents::new();
        each_entry(&self.services().keyspace, |database, entry, known| {
            note(&mut expected, database, entry);
            let name = (database, String::from_utf8_lossy(entry.key()).into_owned());
            assert!(known.is_seen || self.is_as_at_cut(entry), "{what}: {name:?}");
            let key = (database, entry.key().to_vec());
            let (_, deadline) = expected.get_mut(&key).expect("it was just noted");
            *deadline = deadline.map(|at_ms| rounded_up(at_ms, known.coarseness));
        });
        assert_eq!(contents(&after.keyspace), expected, "{what}: {:#?}", self.records);
    }
}

/// Rows that write and that a log may hold.
fn rows() -> impl Iterator<Item = &'static Command> {
    let rows = COMMANDS.iter().filter(|command| command.runs_itself(command.arity.unsigned_abs() as usize));
    rows.filter(|command| command.has(Flags::WRITE) && !command.has(Flags::NO_MULTI))
}

fn push_random(words: &mut Vec<String>, argument: &Argument, random: &mut Random) {
    if argument.optional && random.below(2) == 0 {
        return;
    }
    words.extend(argument.token.clone());
    let now_ms = START_MS as u64;
    match argument.kind {
        Kind::PureToken => {}
        Kind::OneOf => {
            let chosen = &argument.parts[random.below(argument.parts.len() as u64) as usize];
            push_random(words, chosen, random);
        }
        Kind::Block => argument.parts.iter().for_each(|part| push_random(words, part, random)),
        Kind::Key => words.push(format!("key{}", random.below(KEYS))),
        Kind::Integer => {
            let (small, ttl_s) = (random.below(DATABASES as u64), 1_700 + random.below(200));
            words.push([small, ttl_s, ttl_s * 1000 + small][random.below(3) as usize].to_string());
        }
        Kind::Double => words.push("1.5".to_owned()),
        Kind::Pattern => words.push("*".to_owned()),
        Kind::UnixTime => {
            let at_ms = now_ms + TTL_MS as u64 + random.below(100_000);
            words.push([at_ms / 1000, at_ms][random.below(2) as usize].to_string());
        }
        Kind::String => {
            let length = [1, 5, 40, 300, 3000, LARGE][random.below(6) as usize];
            let digit = char::from(b'0' + random.below(10) as u8);
            words.push(std::iter::repeat_n(digit, length).collect());
        }
    }
}

fn random_line(command: &Command, random: &mut Random) -> String {
    let mut words: Vec<String> = command.full_name.split('|').map(str::to_owned).collect();
    arguments(command.spec).iter().for_each(|argument| push_random(&mut words, argument, random));
    words.join(" ")
}

/// Sets a deadline, slides it, cuts, changes the key in some way, and slides on within what the log knew before the cut.
#[test]
fn no_deadline_comes_back_earlier_than_acknowledged_whatever_changes_its_key_after_a_cut() {
    for command in rows() {
        for seed in 0..4 {
            let services = services(1, |config| config.collection_leaf_bytes = 64);
            let mut world = World::new(&services, seed);
            for key in 0..KEYS {
                world.ask(&format!("SET key{key} 10 PX {TTL_MS}"));
                world.ask(&format!("PEXPIRE key{key} {}", TTL_MS + 1));
            }
            world.cut();
            let line = random_line(command, &mut world.random);
            world.ask(&line);
            for database in 0..DATABASES {
                world.ask(&format!("SELECT {database}"));
                for later_ms in [2, 300, 7_000] {
                    (0..KEYS).for_each(|key| {
                        world.ask(&format!("PEXPIREAT key{key} {} XX", START_MS + TTL_MS + later_ms));
                    });
                }
            }
            world.check(&line);
            world.finish(&line);
        }
    }
}

#[test]
fn random_writes_between_cuts_leave_an_exact_snapshot_and_a_log_that_knows_what_it_is_said_to() {
    let commands: Vec<_> = rows().collect();
    for seed in 0..8 {
        let services = services(1, |config| config.collection_leaf_bytes = 64);
        let mut world = World::new(&services, seed);
        for _ in 0..4 {
            world.cut();
            for step in 0..150 {
                let line = match world.random.below(8) {
                    0 => format!("SELECT {}", world.random.below(DATABASES as u64)),
                    1..3 => {
                        let at_ms = START_MS + TTL_MS + world.random.below(60_000) as i64;
                        format!("PEXPIREAT key{} {at_ms}", world.random.below(KEYS))
                    }
                    _ => {
                        let command = commands[world.random.below(commands.len() as u64) as usize];
                        random_line(command, &mut world.random)
                    }
                };
                world.ask(&line);
                if world.random.below(20) == 0 {
                    world.visit(4);
                }
                if step % 25 == 0 {
                    world.check(&format!("seed {seed}, {line}"));
                }
            }
            world.finish(&format!("seed {seed}"));
            world.check(&format!("seed {seed}, after the visit"));
        }
    }
}
