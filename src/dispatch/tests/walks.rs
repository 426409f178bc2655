//! Requests that walk through many keys: SCAN, KEYS and DEBUG DIGEST let go of a shard between two bites, and see what they have to.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::keyspace::LOCKED;

/// Keys of one hash tag, so that all are in one shard.
const KEYS: usize = 9000;

fn fill(each: &mut Loop<'_>, keys: std::ops::Range<usize>) {
    for number in keys {
        each.check(0, &format!("SET {{tag}}:{number} v"), "+OK");
    }
}

/// The cursor and the keys of a reply to SCAN.
fn page(reply: &str) -> (u64, Vec<String>) {
    let words: Vec<&str> = reply.split_whitespace().collect();
    assert_eq!(words[0], "*2", "{reply}");
    let cursor = words[2].parse().expect("a cursor is a number");
    (cursor, words[4..].iter().filter(|word| !word.starts_with('$')).map(|word| (*word).to_owned()).collect())
}

impl Loop<'_> {
    /// Runs a request that may take several turns; gives the reply and how many it took.
    fn in_turns(&mut self, line: &str) -> (String, usize) {
        for turn in 1..1000 {
            if let Some(reply) = self.ask(0, line) {
                return (reply, turn);
            }
            assert_eq!(self.clients[0].blocked.take(), Some(Blocked::Parked), "{line}");
        }
        panic!("{line} never ends");
    }
}

/// It counts as one call, and MONITOR shows it once; what is refused on the way leaves nothing behind.
#[test]
fn a_long_walk_goes_on_in_later_turns_of_its_client() {
    let services = services(1, |_| {});
    let mut each = Loop::new(&services, 0, 2);
    fill(&mut each, 0..KEYS);
    let calls = |name: &[u8]| services.statistics.commands()[COMMANDS.find(name).expect("a row").id].calls;
    for (line, name) in [("KEYS *", &b"keys"[..]), ("SCAN 0 COUNT 100000000", b"scan")] {
        let (before, (reply, turns)) = (calls(name), each.in_turns(line));
        assert!(turns > 2 && reply.matches("{tag}:").count() == KEYS, "{line}: {turns} turns");
        assert_eq!((calls(name), each.clients[0].parked.is_none()), (before + 1, true), "{line}");
    }
    assert_eq!(each.ask(0, "KEYS *"), None);
    each.clients[0].blocked = None;
    services.set_gate(Gates::LOADING, true);
    assert!(each.ask(0, "KEYS *").is_some_and(|reply| reply.starts_with("-LOADING")));
    services.set_gate(Gates::LOADING, false);
    assert_eq!(each.in_turns("KEYS *").0.matches("{tag}:").count(), KEYS);
    each.check(0, "MULTI", "+OK");
    each.check(0, "KEYS *", "+QUEUED");
    assert!(each.ask(0, "EXEC").is_some_and(|reply| reply.matches("{tag}:").count() == KEYS), "one step");
}

#[test]
fn no_walk_holds_a_shard_for_more_than_a_bite_whatever_it_asks_for() {
    let services = services(1, |config| config.enable_debug_command = Permission::Yes);
    let mut each = Loop::new(&services, 0, 1);
    fill(&mut each, 0..KEYS);
    for line in ["SCAN 0 COUNT 100000000", "KEYS *", "DEBUG DIGEST"] {
        let before = LOCKED.get();
        let (reply, _) = each.in_turns(line);
        let locked = LOCKED.get() - before;
        assert!(locked >= SHARDS - 1 + KEYS / 512, "{line} locked {locked} times");
        if line.starts_with("SCAN") {
            let (cursor, keys) = page(&reply);
            assert_eq!((cursor, keys.len()), (0, KEYS));
        }
    }
}

#[test]
fn a_scan_returns_each_lasting_key_while_tables_split_and_merge() {
    let services = services(1, |_| {});
    let mut each = Loop::new(&services, 0, 1);
    fill(&mut each, 0..KEYS);
    let (mut seen, mut cursor, mut pages) = (BTreeMap::<String, usize>::new(), 0, 0);
    loop {
        let reply = each.ask(0, &format!("SCAN {cursor} COUNT 200")).expect("it does not wait");
        let (next, keys) = page(&reply);
        keys.into_iter().for_each(|key| *seen.entry(key).or_default() += 1);
        (cursor, pages) = (next, pages + 1);
        match (cursor, pages % 16) {
            (0, _) => break,
            (_, 4) => fill(&mut each, KEYS..3 * KEYS),
            (_, 12) => (KEYS..3 * KEYS).for_each(|number| {
                each.ask(0, &format!("DEL {{tag}}:{number}"));
            }),
            _ => {}
        }
    }
    for number in 0..KEYS {
        assert_eq!(seen.get(&format!("{{tag}}:{number}")), Some(&1), "{number}");
    }
}

#[test]
fn a_cursor_is_no_place_and_one_from_elsewhere_ends() {
    let services = services(1, |_| {});
    let mut each = Loop::new(&services, 0, 1);
    fill(&mut each, 0..200);
    let (mut cursor, mut cursors) = (0, BTreeSet::new());
    loop {
        cursor = page(&each.ask(0, &format!("SCAN {cursor} COUNT 10")).expect("it does not wait")).0;
        if cursor == 0 {
            break;
        }
        assert!(cursors.insert(cursor), "no cursor comes twice");
    }
    let shards: BTreeSet<u64> = cursors.iter().map(|cursor| cursor >> 43).collect();
    assert!(cursors.len() > 10 && shards.len() > 10, "all places but one are of one shard: {shards:?}");
    for mut cursor in [1, (1 << 53) - 1, 1 << 53, u64::MAX, 12_345] {
        for step in 0.. {
            assert!(step < 2 * SHARDS, "it ends");
            cursor = page(&each.ask(0, &format!("SCAN {cursor}")).expect("it does not wait")).0;
            if cursor == 0 {
                break;
            }
        }
    }
}

#[test]
fn inside_exec_a_scan_sees_all_under_the_locks_that_are_held() {
    let services = services(1, |_| {});
    let mut each = Loop::new(&services, 0, 1);
    fill(&mut each, 0..2000);
    each.check(0, "MULTI", "+OK");
    each.check(0, "SCAN 0 COUNT 5000", "+QUEUED");
    let before = LOCKED.get();
    let reply = each.ask(0, "EXEC").expect("it does not wait");
    assert_eq!(LOCKED.get() - before, SHARDS);
    let (cursor, keys) = page(reply.strip_prefix("*1 ").expect("one reply"));
    assert_eq!((cursor, keys.len()), (0, 2000));
}
