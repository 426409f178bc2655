//! Requests of several clients run against shared services, without sockets: transactions, pauses, muted replies, events.

use std::sync::{Arc, LazyLock};

use crate::base::clock::{Now, Stopwatch};
use crate::client::{
    Blocked, Client, ClientFlags, ClientInfo, Clients, Gates, Mailbox, Message, MigrationOrder, ReloadOrder,
};
use crate::command::{COMMANDS, Located, LoopState, ROWS_OF_TESTS, RequestKeys};
use crate::config::{AppendFsync, Config, NotifyFlags, Permission};
use crate::keyspace::{HashFunction, KeyHasher, Keyspace, Locked, Reclaimer, SHARDS, ValueLimits};
use crate::observe::statistics::Statistics;
use crate::resp::{ArgRange, Args, Output, Protocol};
use crate::services::{Control, Identity, Pause, Services, Settings, Shutdown};
use crate::snapshot::SaveKind;

use super::execute::call;
use super::{execute, expire_round, forget_client, prepare, replay, wake};

mod clock;
mod crash;
mod crash_streams;
mod every_command;
mod exec_waits;
mod muted;
mod open_keys;
mod random_key;
mod records;
mod rejected;
mod walks;

struct NoControl;

impl Control for NoControl {
    fn apply(&self, _: &Config, _: &Config) -> Result<(), (String, String)> {
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    fn start_save(&self, _kind: SaveKind) {}

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        false
    }
}

const START_MS: i64 = 1_000_000;
/// Calibrating one takes a while.
static STOPWATCH: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::calibrated);

fn services(loops: usize, change: impl FnOnce(&mut Config)) -> Services {
    services_with(Box::new(NoControl), loops, change)
}

fn services_with(control: Box<dyn Control>, loops: usize, change: impl FnOnce(&mut Config)) -> Services {
    let config = Config::with(change);
    let limits = ValueLimits::of_leaves(config.collection_leaf_bytes as usize);
    let hasher = KeyHasher::random(HashFunction::Ahash);
    let mailboxes = (0..loops).map(|_| Mailbox::new(Box::new(|| {})));
    Services::new(
        Keyspace::new(4, loops, hasher, Reclaimer::inline(), START_MS).with_limits(limits),
        Settings::new(config, None),
        Clients::new(mailboxes.collect()),
        Statistics::new(loops, COMMANDS.count + ROWS_OF_TESTS),
        control,
        Identity { run_id: String::new(), started_ms: START_MS, loops, executable: String::new() },
    )
}

/// One event loop with some clients.
struct Loop<'s> {
    state: LoopState<'s>,
    clients: Vec<Client>,
}

impl<'s> Loop<'s> {
    fn new(services: &'s Services, loop_index: usize, clients: usize) -> Loop<'s> {
        let mut state = LoopState::new(services, loop_index, 7, *STOPWATCH);
        state.set_now(Now::at_ms(START_MS));
        let client = |place| {
            let (address, flags) = (format!("10.0.0.1:{place}"), ClientFlags::default());
            let id = services.clients.next_id();
            let info = ClientInfo::new(id, address, String::new(), 0, loop_index, place, START_MS, flags);
            Client::new(Arc::new(info), false)
        };
        Loop { state, clients: (0..clients).map(client).collect() }
    }

    fn at_ms(&mut self, ms: i64) {
        self.state.set_now(Now::at_ms(START_MS + ms));
    }

    /// Runs one request, given as words; `None` if it has to wait. The reply's line ends are shown as spaces.
    fn ask(&mut self, place: usize, line: &str) -> Option<String> {
        let (bytes, ranges) = words(line);
        let args = Args::new(&bytes, &ranges);
        let prepared = prepare(&self.state.services.keyspace, args);
        let mut out = Output::default();
        let ran = execute(&mut self.state, &mut self.clients[place], prepared, args, &mut out);
        ran.then(|| show(&out.into_bytes()))
    }

    #[track_caller]
    fn check(&mut self, place: usize, line: &str, reply: &str) {
        assert_eq!(self.ask(place, line).as_deref(), Some(reply), "{line}");
    }

    /// Does a record of the write log again.
    fn replay(&mut self, line: &str) -> Result<(), String> {
        let (bytes, ranges) = words(line);
        replay(&mut self.state, &mut self.clients[0], Args::new(&bytes, &ranges), &mut Output::default())
    }

    /// Messages for clients of this loop since the last call, each with its client's place.
    fn pushes(&mut self) -> Vec<(usize, String)> {
        let mut pushes = Vec::new();
        for message in std::mem::take(&mut self.state.effects.local) {
            let Message::Deliver(delivery) = message else { continue };
            for client in delivery.missing() {
                let protocol = self.clients[client.place].protocol;
                let (head, text) = delivery.parcel.parts(protocol);
                pushes.push((client.place, show(&[head, text].concat())));
            }
        }
        pushes
    }
}

fn words(line: &str) -> (Vec<u8>, Vec<ArgRange>) {
    let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
    for word in line.split(' ') {
        ranges.push(ArgRange { start: bytes.len() as u32, len: word.len() as u32 });
        bytes.extend_from_slice(word.as_bytes());
    }
    (bytes, ranges)
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\r\n", " ").trim_end().to_owned()
}

fn all_events(config: &mut Config) {
    config.notify_keyspace_events = NotifyFlags::parse(b"EAn").expect("known letters");
}

/// Moves amounts between accounts on two loops at once, with WATCH and with crossing lock orders, while each transaction also
/// checks that the sum it sees is whole.
#[test]
fn transactions_are_atomic_and_do_not_deadlock() {
    const ACCOUNTS: usize = 6;
    const EACH: i64 = 100;
    let services = services(2, |_| {});
    let mut teller = Loop::new(&services, 0, 1);
    for account in 0..ACCOUNTS {
        teller.check(0, &format!("SET account:{account} {EACH}"), "+OK");
    }
    let run = |loop_index: usize| {
        let mut teller = Loop::new(&services, loop_index, 1);
        let mut moved = 0;
        for turn in 0..2000 {
            let (from, to) = (turn * (loop_index + 1) % ACCOUNTS, (turn * 5 + 1) % ACCOUNTS);
            if from == to {
                continue;
            }
            teller.check(0, &format!("WATCH account:{from} account:{to}"), "+OK");
            let amount = |teller: &mut Loop<'_>, account| {
                let reply = teller.ask(0, &format!("GET account:{account}")).expect("nothing pauses");
                reply.split(' ').nth(1).and_then(|digits| digits.parse::<i64>().ok()).expect("an amount")
            };
            let (has, gets) = (amount(&mut teller, from), amount(&mut teller, to));
            teller.check(0, "MULTI", "+OK");
            teller.check(0, &format!("SET account:{from} {}", has - 1), "+QUEUED");
            teller.check(0, &format!("SET account:{to} {}", gets + 1), "+QUEUED");
            for account in 0..ACCOUNTS {
                teller.check(0, &format!("GET account:{}", (account + turn) % ACCOUNTS), "+QUEUED");
            }
            let reply = teller.ask(0, "EXEC").expect("nothing pauses");
            if reply == "*-1" {
                continue;
            }
            moved += 1;
            let words: Vec<_> = reply.split(' ').skip(3).collect();
            let sum: i64 = words.chunks(2).filter_map(|pair| pair[1].parse::<i64>().ok()).sum();
            assert_eq!(sum, EACH * ACCOUNTS as i64, "{reply}");
        }
        moved
    };
    let moved = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        run(0) + other.join().expect("the other teller")
    });
    assert!(moved > 0, "some transactions go through");
}

#[test]
fn a_watched_key_that_expires_stops_exec_and_one_that_had_expired_does_not() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 2);
    it.check(0, "SET a 1 PX 10", "+OK");
    it.check(0, "WATCH a", "+OK");
    it.check(0, "MULTI", "+OK");
    it.check(0, "PING", "+QUEUED");
    it.at_ms(11);
    it.check(0, "EXEC", "*-1");
    it.check(0, "WATCH a", "+OK");
    it.check(0, "MULTI", "+OK");
    it.check(0, "PING", "+QUEUED");
    it.check(0, "EXEC", "*1 +PONG");
    // A watch of the same key twice is one watch, and it does not survive EXEC.
    it.check(0, "WATCH a a", "+OK");
    assert_eq!(it.clients[0].watched.len(), 1);
    it.check(1, "SET a 2", "+OK");
    it.check(0, "MULTI", "+OK");
    it.check(0, "EXEC", "*-1");
    it.check(0, "MULTI", "+OK");
    it.check(0, "EXEC", "*0");
}

#[test]
fn a_key_that_expires_during_a_pause_may_be_watched() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "SET a 1 PX 10", "+OK");
    *services.pause.lock() = Pause { until_ms: START_MS + 100, all: false };
    services.set_gate(Gates::PAUSED, true);
    it.at_ms(20);
    it.check(0, "WATCH a", "+OK");
    it.check(0, "MULTI", "+OK");
    it.check(0, "GET a", "+QUEUED");
    it.check(0, "EXEC", "*1 $-1");
}

#[test]
fn a_pause_of_writes_holds_back_what_may_write_until_its_end() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 3);
    it.check(1, "MULTI", "+OK");
    it.check(1, "SET a 1", "+QUEUED");
    *services.pause.lock() = Pause { until_ms: START_MS + 100, all: false };
    services.set_gate(Gates::PAUSED, true);
    it.check(0, "GET a", "$-1");
    it.check(0, "SET", "-ERR wrong number of arguments for 'set' command");
    for (place, line) in [(0, "SET a b"), (1, "EXEC"), (2, "PUBLISH c m")] {
        assert_eq!(it.ask(place, line), None, "{line}");
        assert_eq!(it.clients[place].blocked, Some(Blocked::Paused));
    }
    it.at_ms(100);
    it.check(1, "EXEC", "*1 +OK");
    assert!(!services.gates().has(Gates::PAUSED));
    *services.pause.lock() = Pause { until_ms: START_MS + 200, all: true };
    services.set_gate(Gates::PAUSED, true);
    assert_eq!(it.ask(0, "PING"), None);
}

/// The server's end has a gate of its own: writes that would be acknowledged and lost wait, whatever clients ask for.
#[test]
fn while_the_server_ends_nothing_lets_writes_in() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 4);
    it.check(0, "SET a 1", "+OK");
    it.check(1, "MULTI", "+OK");
    it.check(1, "SET a 2", "+QUEUED");
    services.set_gate(Gates::ENDING, true);
    for (place, line) in [(0, "SET a 2"), (1, "EXEC"), (2, "PUBLISH c m")] {
        assert_eq!(it.ask(place, line), None, "{line}");
        assert_eq!(it.clients[place].blocked, Some(Blocked::Ending));
    }
    for line in ["CLIENT PAUSE 10 WRITE", "CLIENT UNPAUSE", "CONFIG SET maxmemory 0"] {
        it.check(3, line, "+OK");
    }
    it.at_ms(100_000);
    it.check(3, "GET a", "$1 1");
    for place in 0..3 {
        assert!(!wake(&mut it.state, &mut it.clients[place], &mut Output::default()), "{place}");
    }
    services.set_gate(Gates::ENDING, false);
    assert!(wake(&mut it.state, &mut it.clients[0], &mut Output::default()));
    it.check(0, "SET a 2", "+OK");
}

/// The gate may come into force after a write has passed it.
#[test]
fn a_key_that_had_expired_is_not_there_twice_when_a_pause_begins_during_the_write() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "SET a 1 PX 10", "+OK");
    it.at_ms(20);
    services.set_gate(Gates::PAUSED, true);
    let keyspace = &services.keyspace;
    let mut locked = Locked::one(keyspace, keyspace.key(b"a").shard);
    let (args, ranges) = words("SET a 2");
    let command = COMMANDS.find(b"set").expect("a command");
    let args = Args::new(&args, &ranges);
    let keys = RequestKeys::of(keyspace, command, args);
    let (client, mut out) = (&mut it.clients[0], Output::default());
    call(&mut it.state, client, command, Located::Many(&keys), args, &mut locked, &mut out, false);
    drop(locked);
    services.set_gate(Gates::PAUSED, false);
    assert_eq!(show(&out.into_bytes()), "+OK");
    it.check(0, "GET a", "$1 2");
    it.check(0, "DBSIZE", ":1");
}

#[test]
fn reads_of_expired_keys_add_nothing_to_a_write_log_that_is_full() {
    let services = services(1, |_| {});
    services.write_log.configure(AppendFsync::No, 1);
    services.write_log.go_on();
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "MSET a 1 b 2 c 3", "+OK");
    services.write_log.take();
    for line in ["PEXPIRE a 10", "PEXPIRE b 10"] {
        it.check(0, line, ":1");
        services.write_log.take();
    }
    it.at_ms(20);
    it.check(0, "PERSIST c", ":0");
    it.check(0, "SET c 4", "+OK");
    let full = services.write_log.appended();
    assert!(services.write_log.is_full());
    it.check(0, "MGET a b c", "*3 $-1 $-1 $1 4");
    assert_eq!(services.write_log.appended(), full);
    services.write_log.take();
    it.check(0, "MGET a b c", "*3 $-1 $-1 $1 4");
    assert!(services.write_log.appended() > full, "now both removals are recorded");
    it.check(0, "DBSIZE", ":1");
}

#[test]
fn a_log_with_a_command_that_is_never_logged_makes_nothing_happen() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "SET k v", "+OK");
    it.state.begin_replay();
    for line in
        ["SHUTDOWN", "DEBUG SLEEP 1000", "CONFIG SET port 1", "MIGRATE 127.0.0.1 1 k 0 1", "GET k", "MONITOR"]
    {
        let told = it.replay(line).expect_err(line);
        assert!(told.ends_with("which is never logged"), "{told}");
    }
    assert_eq!(it.clients[0].blocked, None);
    assert_eq!(it.replay("DEL k"), Ok(()));
    it.check(0, "DBSIZE", ":0");
}

#[test]
fn a_log_is_replayed_although_proto_max_bulk_len_is_smaller_than_it_was() {
    let services = services(1, |config| config.proto_max_bulk_len = 1 << 20);
    let mut it = Loop::new(&services, 0, 1);
    it.state.begin_replay();
    assert_eq!(it.replay("SETRANGE k 2000000 end"), Ok(()));
    assert_eq!(it.replay("APPEND k more"), Ok(()));
    it.check(0, "STRLEN k", ":2000007");
}

#[test]
fn scan_gives_no_key_twice_though_a_table_grows_between_two_pages() {
    // Every round has another hash.
    for round in 0..40 {
        let services = services(1, |_| {});
        let mut it = Loop::new(&services, 0, 1);
        // One tag, one shard.
        let add = |it: &mut Loop<'_>, name: &str, count: usize| {
            (0..count).for_each(|number| it.check(0, &format!("SET {{t}}{name}{number} v"), "+OK"));
        };
        add(&mut it, "lasting", 60);
        let (mut cursor, mut seen, mut pages) = (String::from("0"), Vec::new(), 0);
        loop {
            let reply = it.ask(0, &format!("SCAN {cursor} COUNT 7")).expect("nothing pauses");
            let mut texts = reply.split(' ').filter(|word| !word.starts_with(['*', '$']));
            cursor = texts.next().expect("a cursor").to_owned();
            seen.extend(texts.filter(|key| key.starts_with("{t}lasting")).map(str::to_owned));
            if cursor == "0" {
                break;
            }
            // Not for ever: the cursor must be able to get to the end.
            pages += 1;
            if pages <= 5 {
                add(&mut it, &format!("more{pages}:"), 40);
            }
        }
        let distinct: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!((seen.len(), distinct.len()), (60, 60), "round {round}");
    }
}

#[test]
fn muted_clients_get_pushes_but_no_replies() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 2);
    it.check(0, "CLIENT REPLY OFF", "");
    for line in ["PING", "NOSUCH", "GET", "MULTI", "EXEC x", "SUBSCRIBE c", "GET x"] {
        it.check(0, line, "");
    }
    it.check(1, "PUBLISH c m", ":1");
    let pushes = ["*3 $9 subscribe $1 c :1", "*3 $7 message $1 c $1 m"];
    assert_eq!(it.pushes(), pushes.map(|push| (0, push.to_owned())));
    it.check(1, "CLIENT REPLY SKIP", "");
    it.check(1, "NOSUCH", "");
    it.check(1, "PING", "+PONG");
}

#[test]
fn events_and_messages_of_a_transaction_come_in_its_order() {
    let services = services(1, all_events);
    let mut it = Loop::new(&services, 0, 2);
    it.check(1, "PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1");
    it.check(0, "SET gone 1 PX 5", "+OK");
    it.pushes();
    it.at_ms(6);
    for (line, reply) in [
        ("MULTI", "+OK"),
        ("SET a 1 EX 100", "+QUEUED"),
        ("PUBLISH c m", "+QUEUED"),
        ("GET gone", "+QUEUED"),
        ("EXEC", "*3 +OK :1 $-1"),
    ] {
        it.check(0, line, reply);
    }
    let got: Vec<String> = it.pushes().into_iter().map(|(_, push)| push).collect();
    let channels = ["new", "set", "expire", "c", "expired"];
    assert_eq!(got.len(), channels.len(), "{got:?}");
    for (push, channel) in got.iter().zip(channels) {
        let word = push.split(' ').nth(6).expect("a channel");
        assert_eq!(word.rsplit(':').next(), Some(channel), "{push}");
    }
}

#[test]
fn a_message_of_the_own_loop_does_not_overtake_an_earlier_one_of_another() {
    let services = services(2, |_| {});
    let (mut own, mut other) = (Loop::new(&services, 0, 2), Loop::new(&services, 1, 1));
    own.check(1, "SUBSCRIBE c", "*3 $9 subscribe $1 c :1");
    other.check(0, "PUBLISH c first", ":1");
    services.clients.mailbox(0).send(Message::Look);
    other.check(0, "PUBLISH c second", ":1");
    own.check(0, "PUBLISH c third", ":1");
    let push = |text: &str| (1, format!("*3 $7 message $1 c ${} {text}", text.len()));
    assert_eq!(own.pushes(), ["first", "second", "third"].map(push));
    let mut left = Vec::new();
    services.clients.mailbox(0).take(&mut left, Some(usize::MAX));
    assert!(matches!(left[..], [Message::Look]), "{left:?}");
}

#[test]
fn the_wheel_tells_of_expired_keys_that_are_gone() {
    let services = services(1, all_events);
    let mut it = Loop::new(&services, 0, 2);
    it.check(1, "SUBSCRIBE __keyevent@0__:expired", "*3 $9 subscribe $22 __keyevent@0__:expired :1");
    it.check(0, "SET a 1 PX 5", "+OK");
    it.at_ms(500);
    expire_round(&mut it.state);
    assert_eq!(it.pushes(), [(1, "*3 $7 message $22 __keyevent@0__:expired $1 a".to_owned())]);
    assert_eq!(services.keyspace.count(0), (0, 0));
}

#[test]
fn monitors_see_what_runs_in_its_order_without_passwords() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 2);
    it.check(1, "MONITOR", "+OK");
    it.check(1, "MONITOR", "");
    it.check(1, "GET a", "-ERR Replica can't interact with the keyspace");
    for line in ["MULTI", "SET a \"", "EXEC", "GET"] {
        it.ask(0, line);
    }
    let want = [r#""MULTI""#, r#""SET" "a" "\"""#, r#""EXEC""#];
    let want = want.map(|words| (1, format!("+{}.000000 [0 10.0.0.1:0] {words}", START_MS / 1000)));
    assert_eq!(it.pushes(), want);
    let mut leaving = it.clients.pop().expect("the monitor");
    forget_client(&mut it.state, &mut leaving);
    assert!(!services.gates().has(Gates::MONITORED));
}

#[test]
fn a_client_that_leaves_is_forgotten_by_all_registries() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.clients[0].protocol = Protocol::Resp3;
    for line in ["WATCH a b", "SUBSCRIBE c", "PSUBSCRIBE p*", "SSUBSCRIBE s", "MULTI", "SET a 1"] {
        it.ask(0, line);
    }
    let mut leaving = it.clients.pop().expect("the client");
    forget_client(&mut it.state, &mut leaving);
    assert_eq!(services.pubsub.pattern_count(), 0);
    for space in [crate::pubsub::Space::Channels, crate::pubsub::Space::ShardChannels] {
        assert_eq!(services.pubsub.channel_count(space), 0);
    }
    for key in ["a", "b"] {
        let key = services.keyspace.key(key.as_bytes());
        assert!(services.keyspace.lock_shard(key.shard).watched.is_empty());
    }
}

#[test]
fn a_transaction_longer_than_the_input_limit_closes_the_client() {
    let services = services(1, |config| config.client_query_buffer_limit = 1024);
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "MULTI", "+OK");
    it.check(0, "PING", "+QUEUED");
    it.check(0, &format!("SET a {}", "x".repeat(1024)), "");
    assert_eq!(it.clients[0].closing, crate::client::Closing::Now);
}

#[test]
fn the_mean_ttl_of_info_is_that_of_the_volatile_keys() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "INFO keyspace", "$12 # Keyspace");
    for (number, ms) in [100_000, 200_000, 300_001, 400_000].iter().enumerate() {
        it.check(0, &format!("SET volatile:{number} v PX {ms}"), "+OK");
        it.check(0, &format!("SET lasting:{number} v"), "+OK");
    }
    it.check(0, "SET gone v PX 1", "+OK");
    it.at_ms(5);
    it.check(0, "INFO keyspace", "$49 # Keyspace db0:keys=9,expires=5,avg_ttl=249995");
    it.at_ms(500_000);
    it.check(0, "INFO keyspace", "$44 # Keyspace db0:keys=9,expires=5,avg_ttl=0");
}

#[test]
fn the_mean_ttl_of_many_keys_is_estimated_well() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    for number in 0..20_000 {
        it.check(0, &format!("SET key:{number} v PX {}", 100_000 + number * 10), "+OK");
    }
    let shown = it.ask(0, "INFO keyspace").expect("a reply");
    let mean_ms = shown.rsplit('=').next().and_then(|number| number.parse::<i64>().ok()).expect("a mean");
    // 4,096 samples of a spread of 200 s: one second is the standard error.
    assert!((190_000..210_000).contains(&mean_ms), "{shown}");
}

#[test]
fn debug_sleep_reaches_every_loop_but_its_own() {
    let services = services(3, |config| config.enable_debug_command = Permission::Yes);
    let mut it = Loop::new(&services, 1, 1);
    it.check(0, "DEBUG SLEEP 0.002", "+OK");
    for loop_index in 0..3 {
        let mut messages = Vec::new();
        services.clients.mailbox(loop_index).take(&mut messages, Some(usize::MAX));
        match messages[..] {
            [] => assert_eq!(loop_index, 1),
            [Message::Sleep { until_us }] => assert_eq!(until_us, START_MS * 1000 + 2000),
            _ => panic!("{messages:?}"),
        }
    }
}

#[test]
fn keys_goes_through_a_large_shard_in_bites_and_inside_exec() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    // One hash tag: all keys are in one shard.
    (0..3000).for_each(|number| it.check(0, &format!("SET {{t}}{number} v"), "+OK"));
    assert!(it.ask(0, "KEYS *").is_some_and(|shown| shown.starts_with("*3000 ")));
    assert!(it.ask(0, "KEYS *7").is_some_and(|shown| shown.starts_with("*300 ")));
    it.check(0, "MULTI", "+OK");
    it.check(0, "KEYS *7", "+QUEUED");
    assert!(it.ask(0, "EXEC").is_some_and(|shown| shown.starts_with("*1 *300 ")));
}

#[test]
fn lcs_holds_no_lock_while_it_compares() {
    let services = services(2, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "MSET {t}a ohmytext {t}b mynewtext", "+OK");
    it.check(0, "LCS {t}a {t}b", "$6 mytext");
    it.check(0, "MULTI", "+OK");
    it.check(0, "LCS {t}a {t}b LEN", "+QUEUED");
    it.check(0, "APPEND {t}a x", "+QUEUED");
    it.check(0, "EXEC", "*2 :6 :9");
    let (reply, locked) = call_lcs(&services, &mut it);
    assert_eq!(reply, "$6 mytext");
    assert!(locked.is_empty());
}

#[test]
fn lcs_records_a_reclaimed_key_before_its_lock_goes() {
    let services = services(1, |_| {});
    services.write_log.go_on();
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "SET {t}a old PX 5", "+OK");
    it.at_ms(6);
    let (reply, locked) = call_lcs(&services, &mut it);
    assert_eq!(reply, "$0");
    assert!(it.state.effects.records.any() && !locked.is_empty());
}

/// The reply of LCS to the keys of these tests, and what it has left locked.
fn call_lcs<'s>(services: &'s Services, it: &mut Loop<'s>) -> (String, Locked<'s>) {
    let keyspace = &services.keyspace;
    let args = [&b"LCS"[..], b"{t}a", b"{t}b"].concat();
    let ranges = [(0, 3), (3, 4), (7, 4)].map(|(start, len)| ArgRange { start, len });
    let mut locked = Locked::one(keyspace, keyspace.key(b"{t}a").shard);
    let command = COMMANDS.find(b"lcs").expect("a command");
    let args = Args::new(&args, &ranges);
    let keys = RequestKeys::of(keyspace, command, args);
    let (client, mut out) = (&mut it.clients[0], Output::default());
    call(&mut it.state, client, command, Located::Many(&keys), args, &mut locked, &mut out, false);
    (show(&out.into_bytes()), locked)
}

#[test]
fn watches_and_subscriptions_count_in_a_clients_memory_and_have_limits() {
    let services = services(1, |config| {
        (config.client_watch_limit, config.client_subscription_limit) = (10_000, 10_000);
    });
    let mut it = Loop::new(&services, 0, 1);
    let empty = it.clients[0].info.memory_bytes();
    let long = "k".repeat(4000);
    it.check(0, &format!("WATCH {long}"), "+OK");
    assert!(it.clients[0].info.memory_bytes() >= empty + 8000);
    let refused =
        "-ERR the watched keys of this client would take more memory than client-watch-limit allows";
    it.check(0, &format!("WATCH a {long}x"), refused);
    assert_eq!(it.clients[0].watched.len(), 1, "all of a request, or nothing");
    for end in ["UNWATCH", "RESET"] {
        assert!(it.ask(0, end).is_some());
        assert_eq!(it.clients[0].info.memory_bytes(), empty);
        it.check(0, &format!("WATCH a {long}"), "+OK");
    }
    it.check(0, "MULTI", "+OK");
    it.check(0, "EXEC", "*0");
    assert_eq!(it.clients[0].info.memory_bytes(), empty);

    for kind in ["SUBSCRIBE", "PSUBSCRIBE", "SUBSCRIBE"] {
        assert!(it.ask(0, &format!("{kind} {long}")).is_some_and(|reply| !reply.starts_with('-')), "{kind}");
    }
    assert!(it.clients[0].info.memory_bytes() > empty + 8000);
    it.check(
        0,
        &format!("SSUBSCRIBE {long}"),
        "-ERR the subscriptions of this client would take more memory than client-subscription-limit allows",
    );
    for end in [format!("PUNSUBSCRIBE {long}"), format!("SSUBSCRIBE {long}"), "RESET".to_owned()] {
        assert!(it.ask(0, &end).is_some_and(|reply| !reply.starts_with('-')), "{end}");
    }
    assert_eq!(it.clients[0].info.memory_bytes(), empty);
}

#[test]
fn under_more_expiry_than_the_budget_each_shard_has_its_turn() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    let shard = |tag: &str| services.keyspace.key(tag.as_bytes()).shard;
    let (low, high) = if shard("{a}") < shard("{b}") { ("{a}", "{b}") } else { ("{b}", "{a}") };
    let fill = |it: &mut Loop<'_>, tag: &str, keys: usize| {
        (0..keys).for_each(|number| it.check(0, &format!("SET {tag}{number} v PX 20"), "+OK"));
    };
    fill(&mut it, high, 100);
    // What comes due in the low shard before each round is more than a round can do.
    for round in 0..4 {
        fill(&mut it, low, 3000);
        it.at_ms(100 * (round + 1));
        assert!(expire_round(&mut it.state));
    }
    assert_eq!(services.keyspace.lock_shard(shard(high)).partition(0).len(), 0);
}

#[test]
fn stale_records_are_swept_in_shards_where_nothing_is_due() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    let records = || -> usize {
        (0..SHARDS).map(|shard| services.keyspace.lock_shard(shard).partition(0).records()).sum()
    };
    // Each key is deleted when it has a record an hour ahead.
    for number in 0..2000 {
        it.check(0, &format!("SET {{t}}{number} v EX {}", 3600 + number % 100), "+OK");
        it.check(0, &format!("DEL {{t}}{number}"), ":1");
    }
    assert_eq!(records(), 2000);
    for _ in 0..SHARDS * 4 {
        assert!(!expire_round(&mut it.state));
    }
    assert!(records() <= 64, "{} stale records are left", records());
}
