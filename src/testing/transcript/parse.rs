//! From the text of a transcript to cases and steps.
//!
//! Owns the grammar of lines; replies and words have their own modules. Never panics, whatever the text: it is fuzzed.

use std::fmt;

use super::pattern::{Pattern, Variables};
use super::words::{Cursor, Text};

/// A file of cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// The cases in the order of the file.
    pub cases: Vec<Case>,
}

/// One named case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// What the server does in this case.
    pub name: String,
    /// The line of its name, counted from 1.
    pub line: usize,
    /// The notes of the file, then its own.
    pub notes: Vec<Note>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// Where a case may run, and what must be put back after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// `(since 7.2)`: the behaviour is that of Redis from this version on.
    Since(u32, u32),
    /// `(only process)`, `(only tcp)`, `(only cloakroom)`.
    Only(Place),
    /// `(differs from redis: reason)`: redis-server gives another reply, on purpose.
    Differs(String),
    /// `(restores name ...)`: configuration that the case changes; the runner reads it before and writes it back after.
    Restores(Vec<String>),
}

/// Where a case can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Cloakroom's library, with a clock that the transcript moves.
    Process,
    /// Cloakroom over a socket.
    Cloakroom,
    /// redis-server of this version over a socket.
    Redis(u32, u32),
    /// Any server over a socket; only in a note.
    Tcp,
}

/// One line of a case, with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Counted from 1.
    pub line: usize,
    /// The line as written, for messages.
    pub text: String,
    /// The letter of the connection.
    pub connection: char,
    /// What to do.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// Sends a command.
    Send(Vec<Argument>),
    /// Sends a command again and again until its reply fits.
    Until(Vec<Argument>, Pattern),
    /// Sends bytes.
    SendRaw(Argument),
    /// The next reply or push must fit.
    Expect(Pattern),
    /// The next bytes must be these.
    ExpectRaw(Argument),
    /// The server must have closed the connection, after everything that was expected before.
    ExpectClosed,
    /// Nothing may be waiting to be read.
    ExpectSilence,
    /// The client closes the connection.
    HangUp,
    /// Moves the clock by milliseconds, where it can be moved.
    Advance(u64),
}

/// Bytes to send, perhaps with variables in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument(Text);

impl Argument {
    /// The bytes, with variables filled in.
    ///
    /// # Errors
    /// A variable that no pattern has captured.
    pub fn bytes(&self, variables: &Variables) -> Result<Vec<u8>, String> {
        self.0.bytes(variables)
    }
}

/// A line that is no transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}: {}", self.line, self.problem)
    }
}

impl Transcript {
    /// Parses a whole file.
    ///
    /// # Errors
    /// The first line that is not in the format.
    pub fn parse(text: &str) -> Result<Transcript, SyntaxError> {
        let (mut file_notes, mut cases) = (Vec::new(), Vec::<Case>::new());
        let mut last_connection = 'A';
        let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
        while let Some((number, line)) = lines.next() {
            let failed = |problem: String| SyntaxError { line: number, problem };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix("== ") {
                let name = name.trim().to_owned();
                if cases.iter().any(|case| case.name == name) {
                    return Err(failed(format!("there is a case '{name}' already")));
                }
                cases.push(Case { name, line: number, notes: file_notes.clone(), steps: Vec::new() });
                last_connection = 'A';
                continue;
            }
            let fresh = cases.last().is_none_or(|case| case.steps.is_empty());
            if let Some(note) = line.strip_prefix('(').filter(|_| fresh) {
                let note = parse_note(note).map_err(failed)?;
                cases.last_mut().map_or(&mut file_notes, |case| &mut case.notes).push(note);
                continue;
            }
            let case = cases.last_mut().ok_or_else(|| failed("no case has begun".to_owned()))?;
            let mut whole = line.to_owned();
            if !is_directive(line) {
                while opens_more_than_it_closes(&whole) {
                    let (_, more) =
                        lines.next().ok_or_else(|| failed("a bracket is never closed".to_owned()))?;
                    if !more.starts_with('#') {
                        whole.push('\n');
                        whole.push_str(more);
                    }
                }
            }
            let step = parse_step(number, &whole, &mut last_connection).map_err(failed)?;
            append(case, step).map_err(failed)?;
        }
        match cases.iter().find(|case| case.steps.iter().any(|step| is_until_without_reply(&step.kind))) {
            Some(case) => Err(SyntaxError { line: case.line, problem: "an until> has no reply".to_owned() }),
            None => Ok(Transcript { cases }),
        }
    }
}

impl Case {
    /// Why this case does not run at `place`, if it does not.
    pub fn skipped_at(&self, place: Place) -> Option<String> {
        self.notes.iter().find_map(|note| match (note, place) {
            (Note::Since(major, minor), Place::Redis(has_major, has_minor)) => {
                ((*major, *minor) > (has_major, has_minor)).then(|| format!("since {major}.{minor}"))
            }
            (Note::Differs(reason), Place::Redis(..)) => Some(format!("differs from redis: {reason}")),
            (Note::Only(Place::Process), Place::Cloakroom | Place::Redis(..)) => {
                Some("only in process".to_owned())
            }
            (Note::Only(Place::Tcp), Place::Process) => Some("only over a socket".to_owned()),
            (Note::Only(Place::Cloakroom), Place::Redis(..)) => Some("only for Cloakroom".to_owned()),
            _ => None,
        })
    }

    /// The configuration that must be put back after the case.
    pub fn restores(&self) -> impl Iterator<Item = &str> {
        let lists = self
            .notes
            .iter()
            .filter_map(|note| if let Note::Restores(names) = note { Some(names) } else { None });
        lists.flatten().map(String::as_str)
    }
}

fn parse_note(text: &str) -> Result<Note, String> {
    let text = text.strip_suffix(')').ok_or("the closing ) is missing")?;
    if let Some(reason) = text.strip_prefix("differs from redis: ") {
        return Ok(Note::Differs(reason.to_owned()));
    }
    if let Some(names) = text.strip_prefix("restores ") {
        return Ok(Note::Restores(names.split_ascii_whitespace().map(str::to_owned).collect()));
    }
    if let Some(version) = text.strip_prefix("since ") {
        let numbers = version
            .split_once('.')
            .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers.ok_or("a version is two numbers")?;
        return Ok(Note::Since(major, minor));
    }
    match text {
        "only process" => Ok(Note::Only(Place::Process)),
        "only tcp" => Ok(Note::Only(Place::Tcp)),
        "only cloakroom" => Ok(Note::Only(Place::Cloakroom)),
        _ => Err(format!("the note ({text}) is unknown")),
    }
}

/// Whether the line says what to do, rather than which reply is expected.
fn is_directive(line: &str) -> bool {
    let verbs = ["> ", "< ", "until> ", "raw> ", "raw< ", "advance "];
    line.starts_with(|first: char| first.is_ascii_uppercase())
        || verbs.iter().any(|verb| line.starts_with(verb))
        || ["closed", "silent", "hangs-up"].contains(&line)
}

/// Whether brackets outside quotes are still open. A line that starts as a simple string or an error ends with the line.
fn opens_more_than_it_closes(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_i64, false, false);
    if text.starts_with(['+', '-']) {
        return false;
    }
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth > 0
}

fn parse_step(line: usize, text: &str, last_connection: &mut char) -> Result<Step, String> {
    let step = |connection, kind| Step { line, text: text.to_owned(), connection, kind };
    if !is_directive(text) {
        return Ok(step(*last_connection, StepKind::Expect(Pattern::parse(text)?)));
    }
    if let Some(milliseconds) = text.strip_prefix("advance ") {
        let milliseconds = milliseconds.parse().map_err(|_| "advance needs milliseconds")?;
        return Ok(step(*last_connection, StepKind::Advance(milliseconds)));
    }
    let first = text.chars().next().filter(char::is_ascii_uppercase);
    let connection = first.unwrap_or('A');
    *last_connection = connection;
    let rest = if first.is_some() { text[1..].trim_start() } else { text };
    let kind = if let Some(command) = rest.strip_prefix("> ") {
        StepKind::Send(arguments(command)?)
    } else if let Some(command) = rest.strip_prefix("until> ") {
        StepKind::Until(arguments(command)?, awaited_reply())
    } else if let Some(pattern) = rest.strip_prefix("< ") {
        StepKind::Expect(Pattern::parse(pattern)?)
    } else if let Some(bytes) = rest.strip_prefix("raw> ") {
        StepKind::SendRaw(joined(bytes)?)
    } else if let Some(bytes) = rest.strip_prefix("raw< ") {
        StepKind::ExpectRaw(joined(bytes)?)
    } else {
        match rest {
            "closed" => StepKind::ExpectClosed,
            "silent" => StepKind::ExpectSilence,
            "hangs-up" => StepKind::HangUp,
            _ => return Err(format!("'{text}' is neither a step nor a reply")),
        }
    };
    Ok(step(connection, kind))
}

/// Stands in an `until>` step until the line with its reply has been read. No reply fits it.
fn awaited_reply() -> Pattern {
    Pattern::nothing()
}

fn is_until_without_reply(kind: &StepKind) -> bool {
    matches!(kind, StepKind::Until(_, pattern) if *pattern == awaited_reply())
}

/// Adds a step to the case; the reply behind an `until>` becomes part of that step.
fn append(case: &mut Case, step: Step) -> Result<(), String> {
    if let Some(Step { kind: StepKind::Until(_, awaited), .. }) =
        case.steps.last_mut().filter(|last| is_until_without_reply(&last.kind))
    {
        let StepKind::Expect(pattern) = step.kind else {
            return Err("a reply must follow until>".to_owned());
        };
        *awaited = pattern;
        return Ok(());
    }
    case.steps.push(step);
    Ok(())
}

fn arguments(text: &str) -> Result<Vec<Argument>, String> {
    let mut cursor = Cursor::new(text);
    let mut arguments = Vec::new();
    loop {
        cursor.skip_spaces();
        match cursor.peek() {
            None => break,
            Some(b'"') => arguments.push(Argument(cursor.quoted(false)?)),
            Some(_) => arguments.push(Argument(cursor.bare(false, |byte| byte.is_ascii_whitespace())?)),
        }
    }
    if arguments.is_empty() {
        return Err("there is no command".to_owned());
    }
    Ok(arguments)
}

/// Quoted texts beside each other, as one run of bytes.
fn joined(text: &str) -> Result<Argument, String> {
    let mut cursor = Cursor::new(text);
    let mut whole = Text::default();
    loop {
        cursor.skip_spaces();
        if cursor.peek().is_none() {
            return Ok(Argument(whole));
        }
        whole.0.extend(cursor.quoted(false)?.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_cases_notes_and_steps() {
        let text = "# c\n(since 7.2)\n== one\n(restores a b)\n> SET k \"a b\"\n+OK\nB until> GET k\n[:1\n # c\n :2]\n== two\nclosed\n";
        let transcript = Transcript::parse(text).unwrap();
        assert_eq!(transcript.cases.len(), 2);
        let case = &transcript.cases[0];
        assert_eq!(case.restores().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(case.steps.len(), 3);
        assert_eq!((case.steps[2].line, case.steps[2].connection), (7, 'B'));
        assert!(case.skipped_at(Place::Redis(7, 0)).is_some());
        assert_eq!(case.skipped_at(Place::Cloakroom), None);
        assert_eq!(transcript.cases[1].notes, [Note::Since(7, 2)]);
    }

    #[test]
    fn mistakes_name_their_line() {
        let wrong = [
            ("> PING", 1),
            ("== a\nuntil> PING\n> PING", 3),
            ("== a\nuntil> PING", 1),
            ("== a\n(foo)", 2),
            ("== a\n[:1", 2),
            ("== a\nB what", 2),
            ("== a\n> ", 2),
            ("== a\n== a", 2),
            ("== a\nraw> \"\\q\"", 2),
        ];
        for (text, line) in wrong {
            assert_eq!(Transcript::parse(text).unwrap_err().line, line, "{text}");
        }
    }

    #[test]
    fn any_text_is_refused_or_parsed_but_never_panics() {
        // A fixed generator: the point is odd neighbours of the format's own pieces, the same ones in each run.
        let pieces = [
            "== a", "\n", "> ", "B", "\"", "\\x", "[", "]", "{", "}", "*9", "${", "~", "<int ", ">", "(",
            "é", "until> ", "-", "..",
        ];
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        for _ in 0..20_000 {
            let mut text = String::from("== start\n");
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text.push_str(pieces[(state % pieces.len() as u64) as usize]);
            }
            drop(Transcript::parse(&text));
        }
    }
}
