//! Sequences of commands, drawn from seeds, to Cloakroom and to other servers of the protocol: they must answer alike, reply for reply, and
//! hold the same in the end.
//!
//! Three oracles, both forms of collections, both versions of the protocol: a seed decides. A sequence that shows a difference is made as short as
//! it gets and printed with its seed.
//!
//! - `CLOAKROOM_DIFFERENTIAL=1000000` sends so many commands instead of 100,000 (`CLOAKROOM_LONG=1`: 1,000,000).
//! - `CLOAKROOM_SEED=17` runs one sequence; with the variable above, so many commands from there on.

mod compare;
mod draw;
mod known;
mod servers;
#[path = "../support/mod.rs"]
mod support;
mod syntax;
mod vocabulary;
mod wire;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use compare::{Rule, by_code, by_value, rule, same, without_activity};
use draw::{Drawer, Step};
use known::{is_intended, is_withheld};
use parking_lot::Mutex;
use servers::{Form, ORACLES, Oracle, Pair};
use wire::{Value, Words, line, words};

const COMMANDS: u64 = 100_000;
const COMMANDS_LONG: u64 = 1_000_000;
/// Steps of a sequence, which are sent at once.
const STEPS: u64 = 100;
/// Findings that are shown of each pair of servers, each of another command.
const SHOWN: usize = 8;
/// Seeds that once found something; they run first. What a seed draws changes with the command table and the vocabulary, so each defect has a transcript, too.
const FOUND: &[u64] = &[222, 249, 282, 9, 1119, 1389, 259, 325];

/// What one seed decides besides the commands.
fn set_up(seed: u64) -> (Oracle, Form, bool) {
    let oracle = ORACLES[(seed % 3) as usize];
    let form = if (seed / 3).is_multiple_of(2) { Form::Default } else { Form::Large };
    (oracle, form, seed / 6 % 2 == 1)
}

/// A difference, and the request that showed it.
struct Difference {
    step: usize,
    request: Words,
    ours: Value,
    theirs: Value,
}

/// What is looked at when a sequence is over: everything, by its digest with Redis 7.0; key by key with those that digest scores otherwise.
fn closing(oracle: Oracle) -> Vec<Words> {
    let keys: Vec<String> = vocabulary::ALL_LETTERS
        .iter()
        .flat_map(|letter| (1..=vocabulary::KEYS_OF_A_LETTER).map(move |number| format!("{letter}{number}")))
        .collect();
    let looks = |key: &String| {
        ["TYPE _", "DEBUG DIGEST-VALUE _", "ZRANGE _ 0 -1 WITHSCORES", "HGETALL _"]
            .map(|look| words(&look.replace('_', key)))
    };
    if oracle == Oracle::Redis7 {
        // A look at a key that is due removes it.
        let exists = keys.iter().map(|key| words(&format!("EXISTS {key}")));
        return exists.chain(["EXISTS missing", "DEBUG DIGEST"].map(words)).collect();
    }
    keys.iter().flat_map(looks).collect()
}

/// How many commands were sent, and how many of them were served and not refused.
#[derive(Clone, Copy, Default)]
struct Tally {
    sent: usize,
    served: usize,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.sent += other.sent;
        self.served += other.served;
    }
}

/// Runs steps on empty servers; the first difference, if there is one.
fn run(pair: &mut Pair, resp3: bool, steps: &[Step]) -> (Option<Difference>, Tally) {
    let mut requests = vec![words("FLUSHALL")];
    let mut places = vec![0];
    for (place, step) in steps.iter().enumerate() {
        for request in step {
            requests.push(request.clone());
            places.push(place);
        }
    }
    let sent = requests.len();
    let closing = closing(pair.oracle);
    places.extend(closing.iter().map(|_| steps.len()));
    requests.extend(closing);
    let (ours, theirs) = pair.exchange(resp3, &requests).unwrap_or_else(|error| {
        let shown: Vec<String> = requests.iter().map(|request| line(request)).collect();
        panic!("{:?} or we broke off: {error}\n{}", pair.oracle, shown.join("\n"))
    });
    let served = ours[..sent].iter().filter(|reply| !reply.is_error()).count();
    let tally = Tally { sent, served };
    for at in 0..requests.len() {
        // Scores have other digits in the digests of newer servers, and Valkey's tells nothing of deadlines of fields.
        let before = at.checked_sub(1).map(|at| &ours[at]);
        let kind =
            before.and_then(Value::text).filter(|_| requests[at].len() == 3 && requests[at][0] == b"DEBUG");
        let is_digested_otherwise =
            kind == Some(b"zset") || kind == Some(b"hash") && pair.oracle == Oracle::Valkey9;
        // Redis makes a skiplist of each sorted set that SORT reads; here what reads changes nothing.
        let was_sorted =
            || requests[..at].iter().any(|words| words[0].to_ascii_uppercase().starts_with(b"SORT"));
        let is_level = requests[at][0].eq_ignore_ascii_case(b"OBJECT")
            && (ours[at].text(), theirs[at].text()) == (Some(b"listpack"), Some(b"skiplist"));
        if is_level && was_sorted() {
            continue;
        }
        if !is_digested_otherwise && !alike(pair, &requests[at], &ours[at], &theirs[at], before) {
            let difference = Difference {
                step: places[at],
                request: requests[at].clone(),
                ours: ours[at].clone(),
                theirs: theirs[at].clone(),
            };
            return (Some(difference), tally);
        }
        // One of the two has stored what the other has refused, as is intended; what follows differs.
        let refused = ours[at].is_error() != theirs[at].is_error();
        if refused && requests[at].iter().any(|word| word.eq_ignore_ascii_case(b"STORE")) {
            return (None, tally);
        }
    }
    (None, tally)
}

fn alike(pair: &Pair, request: &Words, ours: &Value, theirs: &Value, before: Option<&Value>) -> bool {
    let name = String::from_utf8_lossy(&request[0]).to_ascii_uppercase();
    let rule: Rule = rule(&name, request);
    if same(rule, request, ours, theirs, before) {
        return true;
    }
    // Texts of scores are shorter than those of 7.0, as in 8.2 (docs/compatibility.md).
    let of_scores = name.starts_with('Z') || name.starts_with("GEO");
    let is_newer = pair.oracle != Oracle::Redis7;
    let [our_scores, their_scores] = [ours, theirs].map(|reply| by_value(reply, is_newer));
    if of_scores && same(rule, request, &our_scores, &their_scores, before) {
        return true;
    }
    if is_newer && name == "XINFO" && same(rule, request, ours, &without_activity(theirs), before) {
        return true;
    }
    // Wordings have changed since, and so has what is looked at first. What Redis 8 alone has is held to its codes.
    let both_refuse = ours.is_error() && theirs.is_error();
    let reworded = match pair.oracle {
        Oracle::Redis7 => false,
        Oracle::Redis8 => both_refuse && (!pair.is_recent(&name) || by_code(ours) == by_code(theirs)),
        Oracle::Valkey9 => both_refuse,
    };
    reworded || is_intended(pair.oracle, request, ours, theirs)
}

fn draw(pair: &Pair, seed: u64) -> Vec<Step> {
    let mut drawer = Drawer::new(seed, &pair.commands, &pair.payloads);
    let mut steps = Vec::new();
    while steps.len() < STEPS as usize {
        let step = drawer.step();
        let is_sent = |words: &Words| pair.is_known(words) && !is_withheld(pair.oracle, words);
        if step.iter().all(is_sent) {
            steps.push(step);
        }
    }
    steps
}

/// Leaves steps out for as long as the same command differs.
fn shrink(
    pair: &mut Pair,
    resp3: bool,
    mut steps: Vec<Step>,
    mut difference: Difference,
) -> (Vec<Step>, Difference) {
    steps.truncate(difference.step + 1);
    let mut chunk = steps.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut shorter = false;
        while at < steps.len() {
            let end = (at + chunk).min(steps.len());
            let rest = [&steps[..at], &steps[end..]].concat();
            match run(pair, resp3, &rest).0 {
                Some(found) if found.request[0].eq_ignore_ascii_case(&difference.request[0]) => {
                    steps = rest;
                    steps.truncate(found.step + 1);
                    difference = found;
                    shorter = true;
                }
                _ => at = end,
            }
        }
        if chunk == 1 && !shorter {
            return (steps, difference);
        }
        chunk = (chunk / 2).max(1);
    }
}

fn tell(seed: u64, steps: &[Step], difference: &Difference) -> String {
    let (oracle, form, resp3) = set_up(seed);
    let mut text = format!("seed {seed}: {oracle:?}, {form:?}, RESP{}\n", if resp3 { 3 } else { 2 });
    for request in steps.iter().flatten() {
        let _ = writeln!(text, "  {}", line(request));
    }
    let Difference { request, ours, theirs, .. } = difference;
    let _ = write!(text, "  > {}\n  ours:   {ours:?}\n  theirs: {theirs:?}", line(request));
    text
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The findings of those of `seeds` that are for this pair of servers.
fn run_seeds(oracle: Oracle, form: Form, seeds: &[u64]) -> (Vec<String>, Tally) {
    let mine: Vec<u64> =
        seeds.iter().copied().filter(|seed| (set_up(*seed).0, set_up(*seed).1) == (oracle, form)).collect();
    if mine.is_empty() {
        return (Vec::new(), Tally::default());
    }
    let mut pair = Pair::start(oracle, form);
    let (mut findings, mut tally, mut seen) = (Vec::new(), Tally::default(), BTreeSet::new());
    for seed in mine {
        let resp3 = set_up(seed).2;
        let steps = draw(&pair, seed);
        let (difference, sent) = run(&mut pair, resp3, &steps);
        tally.add(sent);
        let Some(difference) = difference else { continue };
        let (steps, difference) = shrink(&mut pair, resp3, steps, difference);
        if seen.insert(difference.request[0].to_ascii_uppercase()) {
            findings.push(tell(seed, &steps, &difference));
        }
        if findings.len() >= SHOWN {
            break;
        }
    }
    (findings, tally)
}

#[test]
fn cloakroom_answers_as_redis_and_valkey_do() {
    let (seed, wanted) = (number("CLOAKROOM_SEED"), number("CLOAKROOM_DIFFERENTIAL"));
    let is_long = std::env::var_os("CLOAKROOM_LONG").is_some();
    let commands = wanted.unwrap_or(if is_long { COMMANDS_LONG } else { COMMANDS });
    let first = seed.unwrap_or(0);
    let sequences = if seed.is_some() && wanted.is_none() { 1 } else { commands.div_ceil(STEPS) };
    let found = if seed.is_none() { FOUND } else { &[] };
    let seeds: Vec<u64> = found.iter().copied().chain(first..first + sequences).collect();
    let results = Mutex::new((Vec::new(), Tally::default()));
    std::thread::scope(|scope| {
        for oracle in ORACLES {
            let (seeds, results) = (&seeds, &results);
            scope.spawn(move || {
                for form in [Form::Default, Form::Large] {
                    let (findings, tally) = run_seeds(oracle, form, seeds);
                    let mut results = results.lock();
                    results.0.extend(findings);
                    results.1.add(tally);
                }
            });
        }
    });
    let (findings, Tally { sent, served }) = results.into_inner();
    println!("{sent} commands, of which {served} were served");
    assert!(served > sent / 2, "most requests are valid");
    assert!(findings.is_empty(), "{} differences:\n\n{}", findings.len(), findings.join("\n\n"));
}
