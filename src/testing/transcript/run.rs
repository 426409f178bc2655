//! Runs a case against a server behind a [`Target`].
//!
//! Owns the order of things: empty server, steps, nothing left unread, configuration put back. It opens no socket and
//! reads no clock. A case stops at its first mismatch, since what follows would only be noise.

use std::collections::BTreeMap;
use std::fmt;

use super::parse::{Argument, Case, Step, StepKind};
use super::pattern::{Pattern, Variables};
use super::reply::{Kind, Reply, Shape, decode, quote};

/// Carries bytes between the runner and a server, and knows how time passes there.
///
/// To drive Cloakroom's library in process: `open` makes a client state and its output buffer, `send` runs the dispatcher over
/// the bytes with the manual clock (and delivers what other connections get from it), `receive` drains the output buffer,
/// `advance` moves the clock and runs the timer ticks that became due, `retry` is always false.
pub trait Target {
    /// Opens a connection and returns the name that the other methods know it by.
    ///
    /// # Errors
    /// The server cannot be reached.
    fn open(&mut self) -> Result<usize, String>;

    /// Sends all bytes. A connection that the server has closed swallows them: the expectations tell what came of it.
    fn send(&mut self, connection: usize, bytes: &[u8]);

    /// Bytes that the server sent, if there are any. With [`Patience::Wait`] it waits as long as a slow machine may
    /// need (seconds); with [`Patience::Now`] it only looks. In process everything has been served by then; on a socket a byte may
    /// still be on its way, so there a check for silence can miss a fault, but never reports one that is none.
    fn receive(&mut self, connection: usize, patience: Patience) -> Received;

    /// Closes the connection from the client's side.
    fn close(&mut self, connection: usize);

    /// Moves the clock, where the target has one of its own; a target in real time does nothing.
    fn advance(&mut self, milliseconds: u64);

    /// Whether a question whose answer did not fit yet may be asked again, after a short wait that happens in here.
    /// `attempt` counts from 0. False once it has been tried for long enough, or when waiting cannot change anything.
    fn retry(&mut self, attempt: u32) -> bool;
}

/// How long to wait for bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// They must come.
    Wait,
    /// Only look.
    Now,
}

/// What was there to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// At least one byte.
    Bytes(Vec<u8>),
    /// Nothing, and the connection is open.
    Nothing,
    /// The server has closed the connection, and all that it sent has been read.
    Closed,
}

/// A reply that was not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The line of the expectation, or of the case when the server could not be made ready.
    pub line: usize,
    /// The last thing that was sent on that connection.
    pub sent: String,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "  sent      {}\n  expected  {}\n  got       {}",
            self.sent, self.expected, self.got
        )
    }
}

/// Runs one case from an empty server to the restored configuration.
///
/// # Errors
/// The first thing that was not as the transcript says.
pub fn run_case(case: &Case, target: &mut dyn Target) -> Result<(), Box<Mismatch>> {
    let mut run = Run { target, connections: BTreeMap::new(), variables: Variables::new() };
    let outcome = run.prepare(case).and_then(|before| {
        let outcome =
            case.steps.iter().try_for_each(|step| run.step(step)).and_then(|()| run.nothing_left(case));
        run.hang_up_all();
        outcome.and(run.restore(case, before))
    });
    run.hang_up_all();
    outcome
}

struct Connection {
    name: usize,
    unread: Vec<u8>,
    /// The last command, for messages.
    sent: String,
    hung_up: bool,
}

struct Run<'a> {
    target: &'a mut dyn Target,
    connections: BTreeMap<char, Connection>,
    variables: Variables,
}

/// A configuration parameter and its value before the case.
type Setting = (String, Vec<u8>);

impl Run<'_> {
    /// Waits until the connections of the case before are gone, empties the keyspace, reads what must be restored. This uses
    /// connection A, so that the case sees no other client than its own.
    fn prepare(&mut self, case: &Case) -> Result<Vec<Setting>, Box<Mismatch>> {
        let mut attempt = 0;
        loop {
            let listed = self.ask(case, &[b"CLIENT", b"LIST"])?;
            let alone = match listed {
                Reply::Scalar(Kind::Bulk, text) => text.iter().filter(|&&byte| byte == b'\n').count() <= 1,
                _ => true,
            };
            if alone || !self.target.retry(attempt) {
                break;
            }
            attempt += 1;
        }
        self.ask(case, &[b"FLUSHALL"])?;
        let mut settings = Vec::new();
        for name in case.restores() {
            let found = self.ask(case, &[b"CONFIG", b"GET", name.as_bytes()])?;
            let value = match found {
                Reply::Aggregate(Shape::Array, pair) => pair.into_iter().nth(1),
                _ => None,
            };
            let Some(Reply::Scalar(Kind::Bulk, value)) = value else {
                return Err(problem(case, &format!("no configuration parameter {name}")));
            };
            settings.push((name.to_owned(), value));
        }
        Ok(settings)
    }

    fn restore(&mut self, case: &Case, settings: Vec<Setting>) -> Result<(), Box<Mismatch>> {
        for (name, value) in settings {
            let reply = self.ask(case, &[b"CONFIG", b"SET", name.as_bytes(), &value])?;
            if reply != Reply::Scalar(Kind::Simple, b"OK".to_vec()) {
                return Err(problem(case, &format!("{name} cannot be restored: {reply}")));
            }
        }
        Ok(())
    }

    /// A command of the runner's own, on connection A.
    fn ask(&mut self, case: &Case, arguments: &[&[u8]]) -> Result<Reply, Box<Mismatch>> {
        self.send('A', &encode(arguments), "the runner's preparations")
            .map_err(|error| problem(case, &error))?;
        self.next_reply('A').map_err(|error| problem(case, &error))
    }

    fn step(&mut self, step: &Step) -> Result<(), Box<Mismatch>> {
        let connection = step.connection;
        match &step.kind {
            StepKind::Send(arguments) => {
                let bytes =
                    self.encode(arguments).and_then(|bytes| self.send(connection, &bytes, &step.text));
                bytes.map_err(|error| self.mismatch(step, &error))
            }
            StepKind::SendRaw(bytes) => {
                let bytes =
                    bytes.bytes(&self.variables).and_then(|bytes| self.send(connection, &bytes, &step.text));
                bytes.map_err(|error| self.mismatch(step, &error))
            }
            StepKind::Until(arguments, pattern) => self.until(step, arguments, pattern),
            StepKind::Expect(pattern) => {
                let reply = self.next_reply(connection).map_err(|got| self.mismatch(step, &got))?;
                if pattern.matches(&reply, &mut self.variables) {
                    return Ok(());
                }
                Err(self.mismatch(step, &reply.to_string()))
            }
            StepKind::ExpectRaw(bytes) => self.expect_raw(step, bytes),
            StepKind::ExpectClosed => self.expect_closed(step),
            StepKind::ExpectSilence => match self.unread(connection, Patience::Now) {
                Ok(None) => Ok(()),
                Ok(Some(bytes)) => Err(self.mismatch(step, &quote(&bytes))),
                Err(error) => Err(self.mismatch(step, &error)),
            },
            StepKind::HangUp => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    self.target.close(connection.name);
                    connection.hung_up = true;
                }
                Ok(())
            }
            StepKind::Advance(milliseconds) => {
                self.target.advance(*milliseconds);
                Ok(())
            }
        }
    }

    fn until(&mut self, step: &Step, arguments: &[Argument], pattern: &Pattern) -> Result<(), Box<Mismatch>> {
        let mut attempt = 0;
        loop {
            let bytes =
                self.encode(arguments).and_then(|bytes| self.send(step.connection, &bytes, &step.text));
            bytes.map_err(|error| self.mismatch(step, &error))?;
            let reply = self.next_reply(step.connection).map_err(|got| self.mismatch(step, &got))?;
            if pattern.matches(&reply, &mut self.variables) {
                return Ok(());
            }
            if !self.target.retry(attempt) {
                return Err(self.mismatch(step, &format!("{reply} after {} attempts", attempt + 1)));
            }
            attempt += 1;
        }
    }

    fn expect_raw(&mut self, step: &Step, bytes: &Argument) -> Result<(), Box<Mismatch>> {
        let wanted = bytes.bytes(&self.variables).map_err(|error| self.mismatch(step, &error))?;
        self.read_exactly(step.connection, &wanted).map_err(|got| self.mismatch(step, &got))
    }

    /// Reads `wanted`; the error is what came instead.
    fn read_exactly(&mut self, letter: char, wanted: &[u8]) -> Result<(), String> {
        loop {
            let unread = &mut self.connection(letter)?.unread;
            let common = wanted.len().min(unread.len());
            if unread[..common] != wanted[..common] {
                return Err(quote(unread));
            }
            if common == wanted.len() {
                unread.drain(..common);
                return Ok(());
            }
            let read_before = quote(unread);
            self.read_more(letter).map_err(|got| format!("{read_before}, then {got}"))?;
        }
    }

    fn expect_closed(&mut self, step: &Step) -> Result<(), Box<Mismatch>> {
        match self.unread(step.connection, Patience::Wait) {
            Ok(Some(bytes)) => Err(self.mismatch(step, &quote(&bytes))),
            Ok(None) => Err(self.mismatch(step, "an open connection")),
            Err(_) => {
                if let Some(connection) = self.connections.get_mut(&step.connection) {
                    connection.hung_up = true;
                }
                Ok(())
            }
        }
    }

    fn nothing_left(&mut self, case: &Case) -> Result<(), Box<Mismatch>> {
        let open: Vec<char> =
            self.connections.iter().filter(|(_, open)| !open.hung_up).map(|(&letter, _)| letter).collect();
        for letter in open {
            if let Ok(Some(bytes)) = self.unread(letter, Patience::Now) {
                return Err(problem(
                    case,
                    &format!("{} is left on connection {letter} at the end", quote(&bytes)),
                ));
            }
        }
        Ok(())
    }

    fn hang_up_all(&mut self) {
        for connection in std::mem::take(&mut self.connections).into_values().filter(|open| !open.hung_up) {
            self.target.close(connection.name);
        }
    }

    fn connection(&mut self, letter: char) -> Result<&mut Connection, String> {
        if let std::collections::btree_map::Entry::Vacant(vacant) = self.connections.entry(letter) {
            let name = self.target.open()?;
            vacant.insert(Connection { name, unread: Vec::new(), sent: String::new(), hung_up: false });
        }
        self.connections.get_mut(&letter).ok_or_else(|| "no connection".to_owned())
    }

    fn encode(&self, arguments: &[Argument]) -> Result<Vec<u8>, String> {
        let arguments = arguments
            .iter()
            .map(|argument| argument.bytes(&self.variables))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(encode(&arguments.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }

    fn send(&mut self, letter: char, bytes: &[u8], text: &str) -> Result<(), String> {
        let connection = self.connection(letter)?;
        connection.sent = text.to_owned();
        let name = connection.name;
        self.target.send(name, bytes);
        Ok(())
    }

    fn next_reply(&mut self, letter: char) -> Result<Reply, String> {
        loop {
            let connection = self.connection(letter)?;
            let decoded = decode(&connection.unread);
            match decoded.map_err(|error| format!("{} ({})", quote(&connection.unread), error.0))? {
                Some((reply, used)) => {
                    connection.unread.drain(..used);
                    return Ok(reply);
                }
                None => self.read_more(letter)?,
            }
        }
    }

    fn read_more(&mut self, letter: char) -> Result<(), String> {
        let name = self.connection(letter)?.name;
        match self.target.receive(name, Patience::Wait) {
            Received::Bytes(bytes) => {
                self.connection(letter)?.unread.extend_from_slice(&bytes);
                Ok(())
            }
            Received::Nothing => Err("nothing".to_owned()),
            Received::Closed => Err("a closed connection".to_owned()),
        }
    }

    /// Bytes that nobody expected yet, or an error if the connection is closed.
    fn unread(&mut self, letter: char, patience: Patience) -> Result<Option<Vec<u8>>, String> {
        let connection = self.connection(letter)?;
        if !connection.unread.is_empty() {
            return Ok(Some(connection.unread.clone()));
        }
        let name = connection.name;
        match self.target.receive(name, patience) {
            Received::Bytes(bytes) => {
                self.connection(letter)?.unread.extend_from_slice(&bytes);
                Ok(Some(bytes))
            }
            Received::Nothing => Ok(None),
            Received::Closed => Err("a closed connection".to_owned()),
        }
    }

    fn mismatch(&self, step: &Step, got: &str) -> Box<Mismatch> {
        let sent = self.connections.get(&step.connection).map_or("", |connection| connection.sent.as_str());
        Box::new(Mismatch {
            line: step.line,
            sent: sent.to_owned(),
            expected: step.text.clone(),
            got: got.to_owned(),
        })
    }
}

fn problem(case: &Case, got: &str) -> Box<Mismatch> {
    Box::new(Mismatch {
        line: case.line,
        sent: case.name.clone(),
        expected: "a server that is ready, and nothing unread at the end".to_owned(),
        got: got.to_owned(),
    })
}

fn encode(arguments: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::parse::Transcript;
    use super::*;

    /// Answers each command with the next of its replies, whatever the command is.
    struct Scripted {
        replies: Vec<&'static [u8]>,
        ready: Vec<u8>,
        sent: Vec<u8>,
    }

    impl Target for Scripted {
        fn open(&mut self) -> Result<usize, String> {
            Ok(0)
        }

        fn send(&mut self, _: usize, bytes: &[u8]) {
            self.sent.extend_from_slice(bytes);
            if !self.replies.is_empty() {
                self.ready.extend_from_slice(self.replies.remove(0));
            }
        }

        fn receive(&mut self, _: usize, _: Patience) -> Received {
            match std::mem::take(&mut self.ready) {
                bytes if bytes.is_empty() && self.replies.is_empty() => Received::Closed,
                bytes if bytes.is_empty() => Received::Nothing,
                bytes => Received::Bytes(bytes),
            }
        }

        fn close(&mut self, _: usize) {}

        fn advance(&mut self, _: u64) {}

        fn retry(&mut self, attempt: u32) -> bool {
            attempt < 3
        }
    }

    fn run(text: &str, replies: &[&'static [u8]]) -> (Result<(), Box<Mismatch>>, Vec<u8>) {
        let transcript = Transcript::parse(text).unwrap();
        let preparation: [&[u8]; 2] = [b"$5\r\nid=1\n\r\n", b"+OK\r\n"];
        let replies = preparation.iter().chain(replies).copied().collect();
        let mut target = Scripted { replies, ready: Vec::new(), sent: Vec::new() };
        let outcome = run_case(&transcript.cases[0], &mut target);
        (outcome, target.sent)
    }

    #[test]
    fn a_case_that_holds_is_sent_as_written() {
        let (outcome, sent) =
            run("== a\n> CLIENT ID\n<int as id>\n> KILL ${id}\n+OK\nclosed", &[b":12\r\n", b"+OK\r\n"]);
        assert_eq!(outcome, Ok(()));
        assert!(sent.ends_with(b"*2\r\n$4\r\nKILL\r\n$2\r\n12\r\n"));
    }

    #[test]
    fn a_mismatch_names_line_and_reply() {
        let (outcome, _) = run("== a\n> GET k\nnil\n", &[b"$1\r\nv\r\n"]);
        let mismatch = outcome.unwrap_err();
        assert_eq!((mismatch.line, mismatch.got.as_str()), (3, "\"v\""));
    }

    #[test]
    fn a_reply_that_nobody_expected_is_a_mismatch() {
        let (outcome, _) = run("== a\n> PING\n+PONG\n", &[b"+PONG\r\n+MORE\r\n", b""]);
        assert!(outcome.unwrap_err().got.contains("+MORE"));
    }

    #[test]
    fn until_asks_again_but_not_for_ever() {
        assert_eq!(run("== a\nuntil> GET k\nnil", &[b":1\r\n", b":1\r\n", b"$-1\r\n"]).0, Ok(()));
        let replies: [&[u8]; 6] = [b":1\r\n"; 6];
        assert!(run("== a\nuntil> GET k\nnil", &replies).0.unwrap_err().got.contains("after 4 attempts"));
    }
}
