//! Requests that find further keys while they run. The command here is a test's own: each value names the next key of a chain.

use super::*;
use crate::command::{Access, Command, CommandSpec, Cx, Effect, Event, Flags, Group, Keys, Outcome};
use crate::dispatch::Prepared;
use crate::observe::counters::Count;

/// `look` counts the keys of a chain. `take` removes each before it looks at the next; `late` does so without saying that it begins,
/// `undeclared` asks for a key that the row does not name, and `unheld` uses one without asking for it.
const FOLLOW: CommandSpec = CommandSpec {
    name: "follow",
    syntax: "FOLLOW key how",
    group: Group::Generic,
    since: "1.0.0",
    complexity: "",
    summary: "",
    flags: Flags::WRITE.and(Flags::OPEN_KEYS),
    keys: &[Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE))],
    tips: &[],
    subcommands: &[],
    run: follow,
};

fn follow(cx: &mut Cx<'_, '_>) -> Outcome {
    let how = cx.args.at(2);
    if how == b"take" {
        cx.begin_changes()?;
    }
    if how == b"undeclared" {
        cx.key(2)?;
    }
    if how == b"unheld" {
        use_without_asking(cx);
        cx.reply.ok();
        return Ok(());
    }
    let (mut name, mut steps) = (cx.args.at(1).to_vec(), 0);
    loop {
        let key = if steps == 0 { cx.key(1)? } else { cx.further(&name)? };
        let Some(position) = cx.find(key) else { break };
        let next = cx.entry(key, position).value().to_vec();
        if how != b"look" {
            cx.remove(cx.client.database, key, position);
            cx.log(&[b"DEL", key.bytes]);
            cx.changed(Event::DEL, key);
        }
        steps += 1;
        name = next;
    }
    cx.reply.integer(steps);
    Ok(())
}

/// Does what functions do to keys, to one whose shard is not held.
fn use_without_asking(cx: &mut Cx<'_, '_>) {
    let key = cx.services().keyspace.key(b"unheld");
    let found = cx.find(key);
    let position = cx.store(key, found, b"value");
    cx.set_expire_at_ms(key, position, Some(i64::MAX >> 20));
    let position = cx.store(key, Some(position), &[b'v'; 5000]);
    cx.touch(key, position);
    cx.changed(Event::SET, key);
    cx.remove(cx.client.database, key, position);
    cx.store(key, None, b"left behind");
}

/// The same row, but that its keys are said to be all there are.
const CLOSED: CommandSpec = CommandSpec { name: "closed", flags: Flags::WRITE, ..FOLLOW };

impl Loop<'_> {
    /// Queues a request behind MULTI.
    fn queue(&mut self, command: &'static Command, start: &str, how: &str) {
        assert_eq!(self.follow(command, start, how), "+QUEUED");
    }

    fn follow(&mut self, command: &'static Command, start: &str, how: &str) -> String {
        let (bytes, ranges) = words(&format!("FOLLOW {start} {how}"));
        let prepared = Prepared { command: Some(command), key: None };
        let mut out = Output::default();
        let args = Args::new(&bytes, &ranges);
        assert!(execute(&mut self.state, &mut self.clients[0], prepared, args, &mut out));
        show(&out.into_bytes())
    }
}

/// Chains of four keys in shards that neither ascend nor descend.
const CHAINS: [[&str; 4]; 2] = [["a", "b", "c", "d"], ["h", "g", "f", "e"]];

fn make(chain: [&str; 4]) -> String {
    let [first, second, third, fourth] = chain;
    format!("MSET {first} {second} {second} {third} {third} {fourth} {fourth} -")
}

#[test]
fn a_request_that_finds_further_keys_runs_again_with_all_of_them() {
    let (services, command) = (services(1, |_| {}), Command::of_test(&FOLLOW));
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, &make(CHAINS[0]), "+OK");
    let calls = || services.statistics.counters().count(Count::CommandsProcessed);
    let before = calls();
    assert_eq!(it.follow(command, "a", "look"), ":4");
    assert_eq!(calls(), before + 1, "it counts once, however often it ran");
    assert_eq!(it.follow(command, "a", "take"), ":4");
    assert_eq!(it.follow(command, "a", "take"), ":0");
    it.check(0, "DBSIZE", ":0");
}

#[test]
fn a_key_that_expires_on_the_way_is_told_of_once() {
    let services = services(1, all_events);
    services.write_log.begin_increment();
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "MSET a b", "+OK");
    it.check(0, "SET b c PX 10", "+OK");
    it.at_ms(11);
    let before = services.write_log.appended();
    assert_eq!(it.follow(Command::of_test(&FOLLOW), "a", "look"), ":1");
    let removal = services.write_log.appended() - before;
    assert_eq!(it.follow(Command::of_test(&FOLLOW), "a", "look"), ":1");
    assert!(removal > 0 && services.write_log.appended() == before + removal);
}

#[test]
fn a_row_that_breaks_the_rules_is_an_error_and_no_panic() {
    let (services, command) = (services(1, |_| {}), Command::of_test(&FOLLOW));
    let mut it = Loop::new(&services, 0, 1);
    let undeclared = "-ERR internal error: the command uses a key that its row does not name";
    assert_eq!(it.follow(command, "a", "undeclared"), undeclared);
    it.check(0, &make(CHAINS[0]), "+OK");
    let late = "-ERR internal error: the command asks for a further key behind its first change";
    assert_eq!(it.follow(command, "a", "late"), late);
    it.check(0, "EXISTS b c d", ":3");
}

#[test]
fn a_key_that_is_not_held_is_an_error_and_no_panic() {
    let services = services(1, all_events);
    let (open, closed) = (Command::of_test(&FOLLOW), Command::of_test(&CLOSED));
    let mut it = Loop::new(&services, 0, 1);
    let unheld = "-ERR internal error: the command uses a key whose shard is not locked";
    it.check(0, "SET a -", "+OK");
    for command in [open, closed] {
        assert_eq!(it.follow(command, "a", "unheld"), unheld);
    }
    let undeclared = "-ERR internal error: the command uses a key that its row does not name";
    it.check(0, &make(CHAINS[0]), "+OK");
    assert_eq!(it.follow(closed, "a", "look"), undeclared, "nobody would run it again");
    it.check(0, "MULTI", "+OK");
    it.queue(closed, "a", "unheld");
    it.queue(closed, "a", "look");
    it.check(0, "GET d", "+QUEUED");
    it.check(0, "EXEC", &format!("*3 {unheld} {undeclared} $1 -"));
    it.check(0, "EXISTS unheld a b c d", ":4");
    it.check(0, "DBSIZE", ":4");
}

/// The keys are those of two chains: EXEC has the turn from the beginning, because what ran before such a request cannot be undone.
#[test]
fn exec_finds_further_keys_behind_its_first_change() {
    let services = services(1, |_| {});
    let command = Command::of_test(&FOLLOW);
    let mut it = Loop::new(&services, 0, 1);
    for chain in CHAINS {
        it.check(0, &make(chain), "+OK");
    }
    it.check(0, "MULTI", "+OK");
    it.check(0, "SET x y", "+QUEUED");
    it.queue(command, "a", "take");
    it.queue(command, "h", "look");
    it.check(0, "DEL f", "+QUEUED");
    it.queue(command, "h", "take");
    it.check(0, "EXISTS x", "+QUEUED");
    it.check(0, "EXEC", "*6 +OK :4 :4 :1 :2 :1");
    it.check(0, "DBSIZE", ":2");
}

/// Both loops take, look at and make chains that lie across each other's shards: nobody sees half of one, and nobody waits for ever.
#[test]
fn requests_with_further_keys_are_whole_and_do_not_wait_in_a_circle() {
    const ROUNDS: usize = 1500;
    let (services, command) = (services(2, |_| {}), Command::of_test(&FOLLOW));
    let run = |loop_index: usize| {
        let mut it = Loop::new(&services, loop_index, 1);
        let mut taken = 0;
        for round in 0..ROUNDS {
            let chain = CHAINS[(round + loop_index) % 2];
            match (round / 2 + loop_index) % 4 {
                0 => it.check(0, &make(chain), "+OK"),
                1 => taken += usize::from(it.follow(command, chain[0], "take") != ":0"),
                2 => {
                    let seen = it.follow(command, chain[0], "look");
                    assert!(seen == ":0" || seen == ":4", "{seen}");
                }
                _ => {
                    it.check(0, "MULTI", "+OK");
                    it.check(0, &make(chain), "+QUEUED");
                    it.check(0, &format!("EXISTS {}", chain.join(" ")), "+QUEUED");
                    it.queue(command, chain[0], if round % 3 == 0 { "take" } else { "look" });
                    it.check(0, "EXEC", "*3 +OK :4 :4");
                }
            }
        }
        taken
    };
    let taken = std::thread::scope(|scope| {
        let other = scope.spawn(|| run(1));
        run(0) + other.join().expect("the other loop")
    });
    assert!(taken > 0);
}
