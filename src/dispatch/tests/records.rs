//! What the write log is told where that is not the request as it came: the outcome of a choice, of a rounding, of a relative time.

use super::crash::take_records;
use super::*;
use crate::command::Flags;

/// Requests that come before, a request, and what is recorded of it. All happen at [`START_MS`]; the log knows each deadline exactly.
const RECORDS: &[(&str, &str, &[&str])] = &[
    ("SET k 1", "INCRBYFLOAT k 0.5", &["SET k 1.5 KEEPTTL"]),
    ("", "MSETEX 1 k v EX 10", &["MSETEX 1 k v PXAT 1010000"]),
    ("SET k v", "DELEX k IFEQ v", &["DEL k"]),
    ("SET k v", "DELIFEQ k v", &["DEL k"]),
    ("SET k v", "GETEX k PX 10", &["PEXPIREAT k 1000010"]),
    ("SET k v EX 10", "GETEX k PERSIST", &["PERSIST k"]),
    ("SET k v", "EXPIRE k 10", &["PEXPIREAT k 1010000"]),
    ("SET k v", "PEXPIRE k 10", &["PEXPIREAT k 1000010"]),
    ("SET k v", "EXPIREAT k 1010", &["PEXPIREAT k 1010000"]),
    ("SET k v", "PEXPIREAT k 1000010", &["PEXPIREAT k 1000010"]),
    ("SET k v", "PEXPIREAT k 10", &["DEL k"]),
    ("HSET k f 1", "HINCRBYFLOAT k f 0.5", &["HSET k f 1.5"]),
    ("HSET k f 1;HEXPIRE k 10 FIELDS 1 f", "HINCRBYFLOAT k f 0.5", &["HSETEX k KEEPTTL FIELDS 1 f 1.5"]),
    ("HSET k f 1", "HEXPIRE k 10 FIELDS 1 f", &["HPEXPIREAT k 1010000 FIELDS 1 f"]),
    ("HSET k f 1", "HPEXPIRE k 10 FIELDS 1 f", &["HPEXPIREAT k 1000010 FIELDS 1 f"]),
    ("HSET k f 1", "HEXPIREAT k 1010 FIELDS 1 f", &["HPEXPIREAT k 1010000 FIELDS 1 f"]),
    ("HSET k f 1;HEXPIRE k 10 FIELDS 1 f", "HPERSIST k FIELDS 1 f", &["HPERSIST k FIELDS 1 f"]),
    ("HSET k f 1 g 2", "HPEXPIREAT k 10 FIELDS 1 f", &["HDEL k f"]),
    ("HSET k f 1 g 2", "HGETDEL k FIELDS 2 f x", &["HDEL k f"]),
    ("HSET k f 1 g 2", "HGETEX k EX 10 FIELDS 1 f", &["HPEXPIREAT k 1010000 FIELDS 1 f"]),
    ("HSET k f 1 g 2", "HSETEX k EX 10 FIELDS 1 f v", &["HSETEX k PXAT 1010000 FIELDS 1 f v"]),
    ("RPUSH l 2 1", "SORT l STORE k", &["RPUSH k 1 2"]),
    ("RPUSH l 2 1;SET k v", "SORT l STORE k", &["MULTI", "DEL k", "RPUSH k 1 2", "EXEC"]),
    ("SADD k a", "SPOP k", &["SREM k a"]),
    ("SADD k a b", "SPOP k 5", &["DEL k"]),
    ("", "XADD k * f v", &["XADD k 1000000-0 f v"]),
    ("XADD k 1-1 f v;XADD k 1-2 f v", "XADD k MAXLEN ~ 1 1-3 f v", &["XADD k MAXLEN = 3 1-3 f v"]),
    ("XADD k 1-1 f v;XADD k 1-2 f v", "XTRIM k MAXLEN 1", &["XTRIM k MAXLEN 1"]),
    (
        "XADD k 1-1 f v;XGROUP CREATE k g 0",
        "XREADGROUP GROUP g c STREAMS k >",
        &[
            "MULTI",
            "XGROUP CREATECONSUMER k g c",
            "XCLAIM k g c 0 1-1 TIME 1000000 RETRYCOUNT 1 FORCE JUSTID",
            "XGROUP SETID k g 1-1 ENTRIESREAD 1",
            "EXEC",
        ],
    ),
    (
        "XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >",
        "XCLAIM k g d 0 1-1",
        &[
            "MULTI",
            "XGROUP CREATECONSUMER k g d",
            "XCLAIM k g d 0 1-1 TIME 1000000 RETRYCOUNT 2 FORCE JUSTID",
            "EXEC",
        ],
    ),
    (
        "XADD k 1-1 f v;XGROUP CREATE k g 0;XREADGROUP GROUP g c STREAMS k >",
        "XAUTOCLAIM k g d 0 0",
        &[
            "MULTI",
            "XGROUP CREATECONSUMER k g d",
            "XCLAIM k g d 0 1-1 TIME 1000000 RETRYCOUNT 2 FORCE JUSTID",
            "EXEC",
        ],
    ),
];
/// Rows that no request of one server shows: MIGRATE has its own tests, RESTORE's payloads are bytes.
const SHOWN_ELSEWHERE: [&str; 2] = ["migrate", "restore"];

fn recorded(before: &str, line: &str) -> Vec<String> {
    let services = services(1, |config| config.expire_log_slack = 0);
    services.write_log.begin_increment();
    let mut it = Loop::new(&services, 0, 1);
    before.split(';').filter(|line| !line.is_empty()).for_each(|line| drop(it.ask(0, line)));
    take_records(&services);
    let reply = it.ask(0, line).expect("an answer");
    assert!(!reply.starts_with('-'), "{line}: {reply}");
    // The first one names the database.
    take_records(&services).into_iter().filter(|line| line != "SELECT 0").collect()
}

#[test]
fn what_does_not_say_it_itself_is_recorded_by_its_outcome() {
    let differs = |(before, line, records): &&(&str, &str, &[&str])| {
        let found = recorded(before, line);
        (found != *records).then(|| format!("{before};{line}: {found:?}"))
    };
    assert_eq!(RECORDS.iter().filter_map(|row| differs(&row)).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn every_row_that_is_recorded_by_its_outcome_is_shown_here() {
    let rows = COMMANDS.iter().filter(|command| command.has(Flags::LOGGED_OTHERWISE));
    let missing: Vec<_> = rows
        .map(|command| command.full_name.to_lowercase())
        .filter(|name| !SHOWN_ELSEWHERE.contains(&name.as_str()))
        .filter(|name| {
            let is_it =
                |line: &str| line.split(' ').next().is_some_and(|word| word.eq_ignore_ascii_case(name));
            !RECORDS.iter().any(|(_, line, _)| is_it(line))
        })
        .collect();
    assert!(missing.is_empty(), "no record of {missing:?} is shown");
}

/// Fields whose time has come and that a request names go before its own record; those that the wheel finds are named by the time.
#[test]
fn fields_that_have_expired_are_recorded_before_what_follows() {
    let services = services(1, |_| {});
    services.write_log.begin_increment();
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "HSET k f 1 g 2 h 3", ":3");
    it.check(0, "HPEXPIRE k 10 FIELDS 2 f g", "*2 :1 :1");
    take_records(&services);
    it.at_ms(10);
    it.check(0, "HINCRBY k f 4", ":4");
    assert_eq!(take_records(&services), ["MULTI", "HDEL k f", "HINCRBY k f 4", "EXEC"]);
    it.at_ms(1000);
    expire_round(&mut it.state);
    assert_eq!(take_records(&services), ["HEXPIRED k 1001000"]);
    it.check(0, "HGETALL k", "*4 $1 h $1 3 $1 f $1 4");
}
