//! Rounds: write, disturb, kill, perhaps kill again while loading, restart, check.
//!
//! A `Harness` keeps one data directory through all its rounds, so that what one crash leaves behind is what the next one starts from.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use cloakroom::base::random::Random;

use crate::operation::SHARED_ACCOUNTS;
use crate::state::{Slides, State};
use crate::support::client::{Client, Reply, request};
use crate::support::process::{Folder, Server, is_redis, wait_until};
use crate::support::{now_ms, pause};
use crate::writer::{Journal, observe, write};

const WRITERS: usize = 4;

/// Keys that are written once, so that snapshots and loading take a while. They must come back each time.
const FILLER_DATABASE: &str = "9";
const FILLER_KEYS: u64 = 20_000;

/// What may be lost with `everysec`: one second between two fsyncs, and as long again because the fsync that covers a write may begin right
/// before it and be followed by another one only when it has ended. Redis, too, lets a write wait two seconds for a running fsync.
const EVERY_SECOND_LOST_MS: i64 = 2000;

/// What the server is asked to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// appendfsync always: all that was acknowledged.
    Always,
    /// appendfsync everysec: all that was acknowledged two seconds before the kill.
    EverySecond,
    /// No log: all that was acknowledged before the last snapshot that succeeded was asked for.
    Snapshot,
}

impl Policy {
    fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["--save", "", "--databases", "16"];
        arguments.extend(match self {
            Policy::Always => ["--appendonly", "yes", "--appendfsync", "always"],
            Policy::EverySecond => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Policy::Snapshot => ["--appendonly", "no", "--appendfsync", "no"],
        });
        // Growth starts a rewrite by itself every few rounds.
        arguments.extend(["--auto-aof-rewrite-percentage", "50", "--auto-aof-rewrite-min-size", "4mb"]);
        arguments
    }
}

/// What all rounds did.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: usize,
    unacknowledged_kept: usize,
    lost_ms: i64,
    loading_seen: usize,
    killed_loading: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} acknowledged operations, {} unacknowledged ones kept, at most the last {} ms lost, killed {} times while starting, {} times -LOADING seen",
            self.acknowledged, self.unacknowledged_kept, self.lost_ms, self.killed_loading, self.loading_seen
        )
    }
}

/// A data directory with its history.
pub struct Harness {
    policy: Policy,
    random: Random,
    // Dropped before the folder.
    server: Option<Server>,
    folder: Folder,
    states: Vec<State>,
    tally: Tally,
}

impl Harness {
    /// A server on an empty directory, filled.
    pub fn new(policy: Policy, random: Random) -> Harness {
        let folder = Folder::new("crash");
        let server = Server::start(&folder, &policy.arguments());
        let mut client = server.connect();
        client.ask(&["SELECT", FILLER_DATABASE]);
        for number in 0..FILLER_KEYS {
            client
                .send_bytes(&request(&["SET", &filler_key(number), &filler(number)]))
                .expect("the server reads");
        }
        (0..FILLER_KEYS)
            .for_each(|_| assert_eq!(client.receive().ok(), Some(Reply::Simple("OK".to_owned()))));
        if policy == Policy::Snapshot {
            assert_eq!(client.text("SAVE"), "OK");
        }
        let states = vec![State::empty(slides()); WRITERS];
        Harness { policy, random, server: Some(server), folder, states, tally: Tally::default() }
    }

    pub fn tally(&self) -> impl fmt::Display {
        &self.tally
    }

    /// One crash.
    ///
    /// # Errors
    /// What was lost, or came back wrong.
    pub fn round(&mut self) -> Result<(), String> {
        // What was there at the start of the round has been checked, and with a log it has been on the disk since.
        let server = self.server.take().expect("a server runs between rounds");
        let port = server.port;
        let seeds: Vec<u64> = (0..WRITERS).map(|_| self.random.next_u64()).collect();
        let breath = self.breath();
        let (journals, snapshot_ms, kill_ms, gone_ms) = std::thread::scope(|scope| {
            let start = |(writer, seed): (usize, &u64)| {
                let random = Random::new(*seed);
                scope.spawn(move || write(port, writer, random, || pause(breath)))
            };
            let writers: Vec<_> = seeds.iter().enumerate().map(start).collect();
            let snapshot_ms = self.disturb(&server);
            let kill_ms = now_ms();
            server.kill();
            let gone_ms = now_ms();
            let journals: Vec<Journal> =
                writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).collect();
            (journals, snapshot_ms, kill_ms, gone_ms)
        });
        self.kill_while_starting();
        self.restart();
        let durable_ms = match self.policy {
            Policy::Always => i64::MAX,
            Policy::EverySecond => kill_ms - EVERY_SECOND_LOST_MS,
            Policy::Snapshot => snapshot_ms.unwrap_or(i64::MIN),
        };
        self.check(&journals, durable_ms, gone_ms)
    }

    /// Lets the writers write for a while, and snapshots and rewrites begin. Gives the moment before which everything is in a snapshot.
    fn disturb(&mut self, server: &Server) -> Option<i64> {
        let milliseconds = match self.policy {
            Policy::EverySecond if self.random.below(3) > 0 => 2100 + self.random.below(1000),
            _ => 50 + self.random.below(350),
        };
        let (first, rest) = (self.random.below(milliseconds), self.random.below(30));
        pause(Duration::from_millis(first));
        let mut client = server.connect();
        let mut snapshot_ms = None;
        for _ in 0..self.random.below(3) {
            let asked_ms = now_ms();
            let is_done = match self.random.below(3) {
                0 => client.text("SAVE") == "OK",
                1 => client.text("BGSAVE").starts_with("Background") && saved(&mut client),
                // Refused while a save runs, which is as good a disturbance.
                _ => {
                    client.text("BGREWRITEAOF");
                    false
                }
            };
            if is_done {
                snapshot_ms = Some(asked_ms);
            }
        }
        pause(Duration::from_millis(milliseconds - first));
        // Half of the kills fall into one of them.
        match self.random.below(4) {
            0 => client.text("BGSAVE"),
            1 => client.text("BGREWRITEAOF"),
            _ => return snapshot_ms,
        };
        pause(Duration::from_millis(rest));
        snapshot_ms
    }

    /// How long writers pause between pipelines. A server that is busy all the time is killed in the middle of something, one that rests right
    /// after an acknowledgement; both matter. Longer rounds write slower, so that journals stay short.
    fn breath(&mut self) -> Duration {
        let milliseconds = match self.policy {
            Policy::EverySecond => [3, 5, 20],
            _ => [0, 1, 20],
        };
        Duration::from_millis(milliseconds[self.random.below(3) as usize])
    }

    /// In a third of the rounds: starts the server and kills it before it may have got ready.
    fn kill_while_starting(&mut self) {
        while self.random.below(3) == 0 {
            let server = Server::launch(&self.folder, &self.policy.arguments());
            pause(Duration::from_millis(self.random.below(100)));
            server.kill();
            self.tally.killed_loading += 1;
        }
    }

    fn restart(&mut self) {
        let mut server = Server::launch(&self.folder, &self.policy.arguments());
        let number = self.random.below(FILLER_KEYS);
        let mut seen = 0;
        server.wait_until_loaded(|client| {
            seen += 1;
            // A key that is not there yet must not look as if it did not exist.
            let Ok(Reply::Simple(_)) = client.try_ask(&["SELECT", FILLER_DATABASE]) else { return };
            match client.try_ask(&["GET", &filler_key(number)]) {
                Ok(Reply::Bulk(value)) => assert_eq!(value, filler(number).into_bytes()),
                Ok(reply) => assert!(reply.to_string().starts_with("-LOADING "), "while loading: {reply}"),
                Err(_) => {}
            }
        });
        self.tally.loading_seen += seen;
        self.server = Some(server);
    }

    fn check(&mut self, journals: &[Journal], durable_ms: i64, gone_ms: i64) -> Result<(), String> {
        let server = self.server.as_ref().expect("a server runs between rounds");
        let mut client = server.connect();
        check_filler(&mut client, &mut self.random)?;
        check_sum(&mut client)?;
        for (writer, journal) in journals.iter().enumerate() {
            let observed = observe(&mut client, writer);
            let verdict = journal
                .check(&self.states[writer], &observed, durable_ms, gone_ms)
                .map_err(|failure| format!("writer {writer}: {failure}"))?;
            self.tally.acknowledged += verdict.acknowledged;
            self.tally.unacknowledged_kept += verdict.kept.saturating_sub(verdict.acknowledged);
            self.tally.lost_ms = self.tally.lost_ms.max(verdict.lost_ms.unwrap_or(0));
            self.states[writer] = State::of(&observed, slides());
        }
        Ok(())
    }
}

fn slides() -> Slides {
    if is_redis() { Slides::Exact } else { Slides::Slack }
}

fn filler_key(number: u64) -> String {
    format!("filler:{number}")
}

fn filler(number: u64) -> String {
    format!("{:0>100}", number * number)
}

/// Waits for a background save to end; true when it succeeded.
fn saved(client: &mut Client) -> bool {
    let info = RefCell::new(String::new());
    let ended = wait_until(|| {
        info.replace(client.text("INFO persistence"));
        info.borrow().contains("rdb_bgsave_in_progress:0")
    });
    ended && info.borrow().contains("rdb_last_bgsave_status:ok")
}

fn check_filler(client: &mut Client, random: &mut Random) -> Result<(), String> {
    client.ask(&["SELECT", FILLER_DATABASE]);
    let size = client.ask(&["DBSIZE"]);
    if size != Reply::Integer(FILLER_KEYS as i64) {
        return Err(format!(
            "{size} keys instead of {FILLER_KEYS} are left of those that were only written once"
        ));
    }
    for _ in 0..50 {
        let number = random.below(FILLER_KEYS);
        let value = client.ask(&["GET", &filler_key(number)]);
        if value != Reply::Bulk(filler(number).into_bytes()) {
            return Err(format!("{} is {value}", filler_key(number)));
        }
    }
    Ok(())
}

/// What transfers move between the shared accounts adds up to nothing.
fn check_sum(client: &mut Client) -> Result<(), String> {
    client.ask(&["SELECT", "0"]);
    let balances: Vec<i64> = (0..SHARED_ACCOUNTS)
        .map(|number| client.ask(&["GET", &format!("account:{number}")]).number().unwrap_or(0))
        .collect();
    match balances.iter().sum::<i64>() {
        0 => Ok(()),
        sum => Err(format!("half a transaction is there: the sum of {balances:?} is {sum}")),
    }
}
