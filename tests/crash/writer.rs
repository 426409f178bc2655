//! A connection that writes until the server is gone, and the journal of what it did.
//!
//! The journal is the test's memory: it does not depend on the server. Replies come in the order of requests, so what is acknowledged is a
//! prefix of the journal, and what the server applied is a prefix that is at least as long.

use std::io;

use cloakroom::base::random::Random;

use crate::operation::{Operation, database};
use crate::state::{Observed, Span, State};
use crate::support::client::{Client, Reply, request};
use crate::support::now_ms;

/// How many operations are sent before their replies are read, at most.
const PIPELINE_MAX: u64 = 16;

/// One operation that was sent.
#[derive(Debug)]
pub struct Step {
    operation: Operation,
    sent_ms: i64,
    /// When the reply had arrived, and the reply.
    acknowledged: Option<(i64, Reply)>,
}

/// What one writer did in one round.
#[derive(Debug, Default)]
pub struct Journal {
    steps: Vec<Step>,
}

/// What the check of a journal found.
#[derive(Debug)]
pub struct Verdict {
    pub acknowledged: usize,
    /// How many of the steps the server still has; the largest number that explains what it holds.
    pub kept: usize,
    /// How long before the end of the server the first lost acknowledgement was, milliseconds.
    pub lost_ms: Option<i64>,
}

/// Writes until the connection breaks. `breath` is called between pipelines.
pub fn write(port: u16, writer: usize, mut random: Random, breath: impl Fn()) -> Journal {
    let mut journal = Journal::default();
    // The server ends in the middle of something: that is the purpose.
    let _ = write_on(port, writer, &mut random, &mut journal, breath);
    journal
}

fn write_on(
    port: u16,
    writer: usize,
    random: &mut Random,
    journal: &mut Journal,
    breath: impl Fn(),
) -> io::Result<()> {
    let mut client = Client::connect(port)?;
    client.try_ask(&["SELECT", &database(writer).to_string()])?;
    loop {
        let first = journal.steps.len();
        let (mut bytes, mut counts) = (Vec::new(), Vec::new());
        let sent_ms = now_ms();
        for _ in 0..1 + random.below(PIPELINE_MAX) {
            let operation = Operation::random(random);
            let (requests, replies) = operation.requests(writer);
            bytes.extend(requests);
            counts.push(replies);
            journal.steps.push(Step { operation, sent_ms, acknowledged: None });
        }
        client.send_bytes(&bytes)?;
        for (step, replies) in journal.steps[first..].iter_mut().zip(counts) {
            for _ in 1..replies {
                client.receive()?;
            }
            let reply = client.receive()?;
            step.acknowledged = Some((now_ms(), reply));
        }
        breath();
    }
}

impl Journal {
    /// Looks for the part of the journal that explains what the server holds. Everything that was acknowledged before `durable_ms` must be in
    /// it; `gone_ms` is when nothing more can have been applied.
    ///
    /// # Errors
    /// What is lost or wrong, for a person.
    pub fn check(
        &self,
        start: &State,
        observed: &Observed,
        durable_ms: i64,
        gone_ms: i64,
    ) -> Result<Verdict, String> {
        let is_durable = |step: &Step| step.acknowledged.as_ref().is_some_and(|(ms, _)| *ms < durable_ms);
        let durable = self.steps.iter().filter(|step| is_durable(step)).count();
        let acknowledged = self.steps.iter().filter(|step| step.acknowledged.is_some()).count();
        let mut state = start.clone();
        let (mut kept, mut earlier, mut difference) = (None, None, None);
        // Where the shared transfers fit, but something else does not.
        let mut near = Vec::new();
        for count in 0..=self.steps.len() {
            match state.difference(observed) {
                None if count >= durable => kept = Some(count),
                None => earlier = Some(count),
                Some(text) => {
                    if count >= durable && state.transfers == observed.transfers {
                        near.push(format!("after {count}: {text}"));
                    }
                    if count == durable {
                        difference = Some(text);
                    }
                }
            }
            if let Some(step) = self.steps.get(count) {
                step.apply(&mut state, gone_ms)?;
            }
        }
        let Some(kept) = kept else {
            let all = self.steps.len();
            let why = match earlier {
                Some(count) => format!("it holds the state after {count} of them"),
                None => {
                    near.truncate(8);
                    let nearest =
                        if near.is_empty() { String::new() } else { format!("; {}", near.join("; ")) };
                    format!("no state fits; after {durable}: {}{nearest}", difference.unwrap_or_default())
                }
            };
            return Err(format!("{all} sent, {acknowledged} acknowledged, {durable} must be there: {why}"));
        };
        let lost = self.steps[kept..].iter().find_map(|step| step.acknowledged.as_ref());
        Ok(Verdict { acknowledged, kept, lost_ms: lost.map(|(ms, _)| gone_ms - ms) })
    }
}

impl Step {
    fn apply(&self, state: &mut State, gone_ms: i64) -> Result<(), String> {
        let acknowledged_ms = self.acknowledged.as_ref().map_or(gone_ms, |(ms, _)| *ms);
        let expected = state.apply(&self.operation, Span { sent_ms: self.sent_ms, acknowledged_ms });
        match &self.acknowledged {
            Some((_, reply)) if !expected.fits(reply) => {
                Err(format!("{:?} was answered with {reply} instead of {expected:?}", self.operation))
            }
            _ => Ok(()),
        }
    }
}

/// Reads what the database of one writer holds.
pub fn observe(client: &mut Client, writer: usize) -> Observed {
    client.ask(&["SELECT", "0"]);
    let transfers = client.ask(&["GET", &format!("done:{writer}")]).number().unwrap_or(0);
    client.ask(&["SELECT", &database(writer).to_string()]);
    let Reply::Array(keys) = client.ask(&["KEYS", "*"]) else { panic!("KEYS gives an array") };
    let mut observed = Observed { transfers, ..Observed::default() };
    for key in keys {
        let Reply::Bulk(key) = key else { panic!("KEYS gives texts") };
        let key = String::from_utf8(key).expect("only writers make keys");
        let questions = [request(&["GET", &key]), request(&["PEXPIRETIME", &key])].concat();
        client.send_bytes(&questions).expect("the server reads");
        let value = client.receive().expect("a value");
        let deadline = client.receive().expect("a deadline").number();
        // A key that expires between the questions counts as gone.
        if let (Reply::Bulk(value), Some(ms)) = (value, deadline.filter(|ms| *ms != -2)) {
            observed.entries.insert(key, (value, Some(ms).filter(|ms| *ms != -1)));
        }
    }
    observed.read_ms = now_ms();
    observed
}

/// The harness itself: it must notice what it is there for.
mod checks {
    use super::{Journal, Operation, Random, Step};
    use crate::operation::Change;
    use crate::state::{Observed, Slides, Span, State};
    use crate::support::client::Reply;

    const START_MS: i64 = 1_700_000_000_000;
    const SEED: u64 = 0xc4a5;

    fn set(key: &str, value: &str, ttl_ms: Option<i64>) -> Change {
        Change::Set(key.to_owned(), value.into(), ttl_ms)
    }

    /// Three acknowledged operations, a second apart, and one that was in flight.
    fn journal() -> Journal {
        let okay = || Reply::Simple("OK".to_owned());
        let transaction = Operation::Transaction(vec![set("s2", "x", None), set("s3", "y", None)]);
        let operations = [
            (Operation::One(set("s1", "one", None)), Some(okay())),
            (transaction, Some(Reply::Array(vec![okay(), okay()]))),
            (Operation::One(set("s1", "two", Some(20_000_000))), Some(okay())),
            (Operation::One(set("s4", "late", None)), None),
        ];
        let step = |(second, (operation, reply)): (i64, (Operation, Option<Reply>))| {
            let sent_ms = START_MS + second * 1000;
            Step { operation, sent_ms, acknowledged: reply.map(|reply| (sent_ms + 1, reply)) }
        };
        Journal { steps: (0..).zip(operations).map(step).collect() }
    }

    fn held(entries: &[(&str, &str, Option<i64>)]) -> Observed {
        let entry = |(key, value, deadline): &(&str, &str, Option<i64>)| {
            ((*key).to_owned(), (value.as_bytes().to_vec(), *deadline))
        };
        Observed { entries: entries.iter().map(entry).collect(), transfers: 0, read_ms: START_MS + 10_000 }
    }

    fn kept(observed: &Observed, durable_ms: i64) -> Option<usize> {
        let start = State::empty(Slides::Exact);
        let verdict = journal().check(&start, observed, durable_ms, START_MS + 5000);
        verdict.ok().map(|verdict| verdict.kept)
    }

    #[test]
    fn what_may_be_there_is_accepted_and_nothing_else() {
        let deadline = Some(START_MS + 2000 + 20_000_000);
        let transaction = [("s2", "x", None), ("s3", "y", None)];
        let all = [transaction[0], transaction[1], ("s1", "two", deadline)];
        let late = [all[0], all[1], all[2], ("s4", "late", None)];
        let two = [transaction[0], transaction[1], ("s1", "one", None)];
        assert_eq!(kept(&held(&all), i64::MAX), Some(3));
        assert_eq!(kept(&held(&late), i64::MAX), Some(4), "what was in flight may be there");
        assert_eq!(kept(&held(&two), i64::MAX), None, "an acknowledged write is lost");
        assert_eq!(
            kept(&held(&two), START_MS + 2000),
            Some(2),
            "it was acknowledged too late to be promised"
        );
        assert_eq!(kept(&held(&two[1..]), START_MS), None, "half a transaction");
        assert_eq!(kept(&held(&late[1..]), START_MS), None, "a write is missing in the middle");
        let early = [all[0], all[1], ("s1", "two", deadline.map(|ms| ms - 1000))];
        assert_eq!(kept(&held(&early), i64::MAX), None, "a deadline is too early");
        assert_eq!(kept(&held(&[all[0], all[1], ("s1", "two", None)]), i64::MAX), None, "a deadline is lost");
        let more = [all[0], all[1], all[2], ("s9", "", None)];
        assert_eq!(kept(&held(&more), i64::MAX), None, "nobody wrote that");
    }

    #[test]
    fn a_key_may_be_gone_only_after_its_deadline() {
        let mut journal = Journal::default();
        let operation = Operation::One(set("e1", "short", Some(1000)));
        let acknowledged = Some((START_MS, Reply::Simple("OK".to_owned())));
        journal.steps.push(Step { operation, sent_ms: START_MS, acknowledged });
        let start = State::empty(Slides::Exact);
        let check = |read_ms| {
            let observed = Observed { read_ms, ..Observed::default() };
            journal.check(&start, &observed, i64::MAX, START_MS).is_ok()
        };
        assert!(!check(START_MS + 500));
        assert!(check(START_MS + 1000));
    }

    /// The model accepts its own replies: a wrong one is told.
    #[test]
    fn a_wrong_reply_is_noticed() {
        println!("seed {SEED:#x}");
        let mut random = Random::new(SEED);
        let mut state = State::empty(Slides::Exact);
        let span = Span { sent_ms: START_MS, acknowledged_ms: START_MS };
        for _ in 0..2000 {
            let expected = state.apply(&Operation::random(&mut random), span);
            assert!(!expected.fits(&Reply::Error("ERR nonsense".to_owned())), "{expected:?}");
        }
    }
}
