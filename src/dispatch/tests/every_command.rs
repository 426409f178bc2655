//! Every command of the table inside a transaction: whatever EXEC runs finds the locks that it needs, and holds none while it waits.
//!
//! The arguments are made from the syntax lines. They need not please the command: what counts is that it answers.

use super::exec_waits::NeedsAllShards;
use super::*;
use crate::command::docs::{Argument, Kind, arguments};
use crate::command::{Command, Flags};

/// Ways to fill in one syntax line: with and without its options, each with several choices.
const VARIANTS: usize = 12;
/// Between two transactions, so that a pause that one of them began is over.
const STEP_MS: i64 = 10_000;

fn push_words(words: &mut Vec<String>, arguments: &[Argument], variant: usize) {
    for argument in arguments {
        if !argument.optional || variant % 2 == 1 {
            push_argument(words, argument, variant);
        }
    }
}

fn push_argument(words: &mut Vec<String>, argument: &Argument, variant: usize) {
    words.extend(argument.token.clone());
    match argument.kind {
        Kind::PureToken => {}
        Kind::OneOf => push_argument(words, &argument.parts[variant / 2 % argument.parts.len()], variant),
        Kind::Block => push_words(words, &argument.parts, variant),
        Kind::Key => words.push(format!("key{}", words.len())),
        Kind::Integer => words.push("1".to_owned()),
        Kind::Double => words.push("1.5".to_owned()),
        Kind::Pattern => words.push("*".to_owned()),
        Kind::UnixTime => words.push("4102444800".to_owned()),
        Kind::String => words.push("text".to_owned()),
    }
}

fn line(command: &Command, variant: usize) -> String {
    let mut words: Vec<String> = command.full_name.split('|').map(str::to_owned).collect();
    push_words(&mut words, &arguments(command.spec), variant);
    words.join(" ")
}

/// Each request of the table, and those of DEBUG, whose subcommands have no rows.
pub fn lines() -> Vec<String> {
    let debug = [
        "OBJECT key1",
        "DIGEST",
        "DIGEST-VALUE key1 key2",
        "POPULATE 20 text",
        "SLEEP 0",
        "HELP",
        "RELOAD",
        "LOADAOF",
    ];
    let debug = debug.iter().map(|line| format!("DEBUG {line}"));
    let rows = COMMANDS.iter().filter(|command| command.runs_itself(command.arity.unsigned_abs() as usize));
    rows.flat_map(|command| (0..VARIANTS).map(|variant| line(command, variant))).chain(debug).collect()
}

/// `around` stands before and behind the command in its transaction, so that some locks are held when it comes.
fn run_all(around: Option<&str>) {
    let lines = lines();
    let change = |config: &mut Config| {
        all_events(config);
        config.enable_debug_command = Permission::Yes;
    };
    NeedsAllShards::at_work(change, |services| run_lines(&lines, services, around));
}

fn run_lines(lines: &[String], services: &Services, around: Option<&str>) {
    // So that each row's way into the write log is checked as well.
    services.write_log.begin_increment();
    let mut all = Loop::new(services, 0, lines.len());
    for (place, line) in lines.iter().enumerate() {
        all.at_ms(place as i64 * STEP_MS);
        for key in 0..4 {
            all.ask(place, &format!("SET key{key} 10"));
        }
        all.check(place, "MULTI", "+OK");
        around.into_iter().for_each(|around| all.check(place, around, "+QUEUED"));
        let reply = all.ask(place, line);
        if reply.as_deref() == Some("+QUEUED") {
            around.into_iter().for_each(|around| all.check(place, around, "+QUEUED"));
            let mut replies = all.ask(place, "EXEC").expect("nothing pauses");
            if all.clients[place].blocked.is_some() {
                replies = format!("{replies} {}", all.reloaded(place));
            }
            let muted = line.starts_with("client reply");
            let all_ran = replies.starts_with(if around.is_some() { "*3 " } else { "*1" });
            assert!(muted || all_ran, "{line}: {replies}");
        } else {
            let at_once = COMMANDS.find(line.split(' ').next().unwrap_or_default().as_bytes());
            let at_once = at_once.is_some_and(|command| command.has(Flags::NOT_QUEUED));
            let refused = reply.as_deref().is_some_and(|reply| reply.starts_with('-'));
            assert!(at_once || refused, "{line}: {reply:?}");
        }
        all.state.effects.local.clear();
    }
}

#[test]
fn every_command_answers_inside_a_transaction() {
    run_all(None);
}

#[test]
fn every_command_answers_between_others_of_its_transaction() {
    run_all(Some("APPEND key3 x"));
}

/// The hard limit of output in the test below; keys hold more.
const ALLOWED: usize = 2000;

/// Runs a request, given as words, with output of at most `allowed` bytes.
fn run_limited(it: &mut Loop<'_>, place: usize, line: &str, allowed: usize) -> Output {
    let (bytes, ranges) = words(line);
    let args = Args::new(&bytes, &ranges);
    let prepared = prepare(&it.state.services.keyspace, args);
    let mut out = Output::limited(allowed);
    execute(&mut it.state, &mut it.clients[place], prepared, args, &mut out);
    out
}

/// Whatever a row writes, and however: an output beyond its limit is cut off while it is written, and one within it is not touched.
#[test]
fn no_command_builds_more_than_its_output_limit_allows() {
    let more = ["keys *", "scan 0 COUNT 1000", "config get *", "getrange key1 0 -1"].map(str::to_owned);
    let rows = lines().into_iter().filter(|line| !line.starts_with("shutdown"));
    let lines: Vec<String> = rows.chain(more).collect();
    let both =
        [0, 1].map(|_| services(1, |config| config.enable_debug_command = crate::config::Permission::Yes));
    let [mut free, mut limited] = [0, 1].map(|index| Loop::new(&both[index], 0, lines.len()));
    let mut exceeding = std::collections::BTreeSet::new();
    for (place, line) in lines.iter().enumerate() {
        for it in [&mut free, &mut limited] {
            it.at_ms(place as i64 * STEP_MS);
            it.ask(place, "FLUSHALL");
            for key in 0..20 {
                it.ask(place, &format!("SET key{key} {}", "v".repeat(2 * ALLOWED)));
                it.ask(place, &format!("SET {key}{} v", "long".repeat(ALLOWED / 40)));
            }
            it.state.effects.local.clear();
        }
        let whole = run_limited(&mut free, place, line, usize::MAX).len();
        let cut = run_limited(&mut limited, place, line, ALLOWED);
        // The buffer may be larger than the limit when it grows.
        assert!(cut.len() <= 2 * ALLOWED + 2, "{line}: {} bytes", cut.len());
        if whole > 2 * ALLOWED + 2 {
            assert!(cut.is_over(), "{line}");
            exceeding.insert(line.split(' ').next().unwrap_or_default().to_owned());
        } else if whole <= ALLOWED / 2 {
            assert!(!cut.is_over(), "{line}");
        }
    }
    let expected =
        ["command", "config", "get", "getdel", "getex", "getrange", "info", "keys", "lcs", "mget", "scan"];
    assert!(expected.iter().all(|name| exceeding.contains(*name)), "{exceeding:?}");
}

#[test]
fn a_transaction_builds_no_more_than_its_output_limit_allows_but_runs_to_its_end() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.ask(0, &format!("SET key1 {}", "v".repeat(ALLOWED)));
    it.check(0, "MULTI", "+OK");
    for _ in 0..20 {
        it.check(0, "GET key1", "+QUEUED");
        // Its error takes back what it has written, but nothing that was cut off before.
        it.check(0, "INCR key1", "+QUEUED");
        it.check(0, "INCR key2", "+QUEUED");
    }
    let out = run_limited(&mut it, 0, "EXEC", ALLOWED);
    assert!(out.is_over() && out.len() <= 2 * ALLOWED + 2, "{}", out.len());
    it.check(0, "GET key2", "$2 20");
}

#[test]
fn a_muted_client_may_ask_for_more_than_its_output_limit() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    it.ask(0, &format!("SET key1 {}", "v".repeat(10 * ALLOWED)));
    it.ask(0, "CLIENT REPLY OFF");
    let out = run_limited(&mut it, 0, "GET key1", ALLOWED);
    assert!(out.is_empty() && !out.is_over());
}

/// An optional last argument makes the arity open, so that the function itself has to count.
#[test]
fn no_command_takes_more_arguments_than_its_syntax_has() {
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    let has_optional_end = |command: &&Command| {
        let arguments = arguments(command.spec);
        arguments.last().is_some_and(|last| last.optional && last.token.is_none())
            && !arguments.iter().any(|each| each.multiple)
            && arguments.iter().filter(|each| each.optional).count() == 1
    };
    // Those of CLUSTER are refused whatever their arguments are.
    let is_open = |row: &&Command| row.full_name.contains('|') && !row.full_name.starts_with("cluster|");
    let rows: Vec<_> = COMMANDS.iter().filter(is_open).filter(has_optional_end).collect();
    for name in ["acl|cat", "acl|genpass", "slowlog|get", "pubsub|channels"] {
        assert!(rows.iter().any(|row| row.full_name == name), "{name}");
    }
    // XINFO STREAM looks for its key before it looks at its options.
    it.ask(0, "XADD key2 1-1 field value");
    for (index, row) in rows.into_iter().enumerate() {
        it.at_ms(index as i64 * STEP_MS);
        let fits = line(row, 1);
        let longer = it.ask(0, &format!("{fits} more")).expect("a reply");
        let fitting = it.ask(0, &fits).expect("a reply");
        assert!(longer.starts_with('-') && longer != fitting, "{fits} more: {longer}");
    }
}
