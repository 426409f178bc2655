//! Requests that change the keyspace, made from the command table: a new row takes part by its syntax line alone.
//!
//! Keys, values, lengths of life and databases come from a small universe, so that requests meet each other's keys. What a request says does
//! not depend on the clock: a time of day is drawn as a distance, and becomes a date when the request is sent.

use std::sync::LazyLock;

use super::values;
use crate::base::random::Random;
use crate::command::docs::{Argument, Kind, arguments};
use crate::command::{COMMANDS, Command, Flags, Group};
use crate::rdb::encode_payload;

pub const DATABASES: usize = 4;
/// Names of all keys: those of sessions, of which two share a shard, and those that mostly hold a value of a certain type (`values::Type`).
pub const KEYS: [&str; 16] =
    ["k1", "k2", "k3", "k4", "{s}5", "{s}6", "h1", "h2", "l1", "l2", "s1", "s2", "z1", "z2", "x1", "x2"];
/// How many of them are those of sessions.
const GENERAL: usize = 6;

/// A word of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    Text(Vec<u8>),
    /// The Unix time so many milliseconds from now: in seconds, or in milliseconds.
    Seconds(i64),
    Milliseconds(i64),
}

/// A request, as it is drawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request(pub Vec<Word>);

impl Request {
    /// Words that are written with blanks between.
    pub fn of(line: &str) -> Request {
        Request(line.split(' ').map(|word| Word::Text(word.into())).collect())
    }

    /// With a Unix time in milliseconds, so far from now, for a word.
    pub fn at(mut self, word: &str, ms: i64) -> Request {
        for place in self.0.iter_mut().filter(|place| **place == Word::Text(word.into())) {
            *place = Word::Milliseconds(ms);
        }
        self
    }

    /// Its bytes when it is sent at a Unix time in milliseconds.
    pub fn encode(&self, now_ms: i64) -> Vec<u8> {
        let mut bytes = format!("*{}\r\n", self.0.len()).into_bytes();
        for word in &self.0 {
            let text = match word {
                Word::Text(text) => text.clone(),
                Word::Seconds(ms) => ((now_ms + ms) / 1000).to_string().into_bytes(),
                Word::Milliseconds(ms) => (now_ms + ms).to_string().into_bytes(),
            };
            bytes.extend_from_slice(format!("${}\r\n", text.len()).as_bytes());
            bytes.extend_from_slice(&text);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            let blank = if index == 0 { "" } else { " " };
            match word {
                Word::Text(text) if text.len() > 40 => write!(f, "{blank}<{} bytes>", text.len())?,
                Word::Text(text) => write!(f, "{blank}{}", text.escape_ascii())?,
                Word::Seconds(ms) => write!(f, "{blank}<now {ms:+} ms, in s>")?,
                Word::Milliseconds(ms) => write!(f, "{blank}<now {ms:+} ms>")?,
            }
        }
        Ok(())
    }
}

/// The rows that write and that a write log may hold, each with its arguments.
static ROWS: LazyLock<Vec<(&'static Command, Vec<Argument>)>> = LazyLock::new(|| {
    let rows = COMMANDS.iter().filter(|command| command.runs_itself(command.arity.unsigned_abs() as usize));
    let rows = rows.filter(|command| command.has(Flags::WRITE) && !command.has(Flags::NO_MULTI));
    rows.map(|command| (command, arguments(command.spec))).collect()
});

/// One of `choices`.
pub fn one_of<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

/// A request of any row that writes.
pub fn any_write(random: &mut Random) -> Request {
    let (command, arguments) = &ROWS[random.below(ROWS.len() as u64) as usize];
    let mut words: Vec<Word> =
        command.full_name.split('|').map(|word| Word::Text(word.as_bytes().into())).collect();
    let mut draft = Draft { words: Vec::new(), group: command.spec.group, promised: None };
    arguments.iter().for_each(|argument| draft.push(argument, random));
    words.append(&mut draft.words);
    Request(words)
}

/// A write as sessions make them: set, slide, read and slide, delete.
pub fn session_write(random: &mut Random) -> Request {
    let key = key(random);
    let (ttl_ms, value) = (time_to_live_ms(random), one_of(random, &["1", "20", "text"]));
    Request::of(&match random.below(8) {
        0 | 1 => format!("SET {key} {value} PX {ttl_ms}"),
        2 | 3 => format!("PEXPIRE {key} {ttl_ms}"),
        4 => format!("GETEX {key} PX {ttl_ms}"),
        5 => format!("PERSIST {key}"),
        6 => format!("INCR {key}"),
        _ => format!("DEL {key}"),
    })
}

/// Any key.
pub fn key_of_any_type(random: &mut Random) -> &'static str {
    one_of(random, &KEYS)
}

fn key(random: &mut Random) -> &'static str {
    one_of(random, &KEYS[..GENERAL])
}

/// A key for a row of this group: mostly one that holds its type, so that little ends as WRONGTYPE.
fn key_for(group: Group, random: &mut Random) -> &'static str {
    match values::Type::of(group) {
        Some(kind) if random.below(8) > 0 => kind.key(random),
        None if random.below(2) == 0 => key(random),
        _ => key_of_any_type(random),
    }
}

/// From what passes in a moment to what outlives a holiday.
pub fn time_to_live_ms(random: &mut Random) -> i64 {
    let exact = random.below(100) as i64;
    one_of(random, &[1, 300, 1_500, 3_000, 20_000, 1_800_000, 1_800_000, 1_830_000, 30 * 86_400_000]) + exact
}

/// The arguments of a request, as they are drawn.
struct Draft {
    words: Vec<Word>,
    group: Group,
    /// How many of what follows an argument like `numkeys` has announced.
    promised: Option<u64>,
}

impl Draft {
    fn push(&mut self, argument: &Argument, random: &mut Random) {
        if argument.optional && random.below(2) == 0 {
            return;
        }
        let drawn = 1 + random.below(3);
        let times = if argument.multiple { self.promised.take().unwrap_or(drawn) } else { 1 };
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.multiple_token)
            {
                self.words.push(Word::Text(token.clone().into_bytes()));
            }
            self.push_one(argument, random);
        }
    }

    fn push_one(&mut self, argument: &Argument, random: &mut Random) {
        let text = |text: String| Word::Text(text.into_bytes());
        let name = argument.name.as_str();
        let word = match argument.kind {
            Kind::PureToken => return,
            Kind::OneOf => {
                let chosen = random.below(argument.parts.len() as u64) as usize;
                return self.push(&argument.parts[chosen], random);
            }
            Kind::Block => return argument.parts.iter().for_each(|part| self.push(part, random)),
            Kind::Key => text(key_for(self.group, random).to_owned()),
            // A wrong number of keys would make a key of any word.
            Kind::Integer if name == "numkeys" || name.starts_with("num") && random.below(8) > 0 => {
                let count = 1 + random.below(3);
                self.promised = Some(count);
                text(count.to_string())
            }
            Kind::Integer => text(integer(name, random).to_string()),
            Kind::Double => text(one_of(random, &["1.5", "-0.25", "3e3"]).to_owned()),
            Kind::Pattern => text("*".to_owned()),
            Kind::UnixTime => {
                let ttl_ms = time_to_live_ms(random);
                match name.ends_with("milliseconds") {
                    true => Word::Milliseconds(ttl_ms),
                    false => Word::Seconds(ttl_ms),
                }
            }
            Kind::String => match values::element(name, random) {
                Some(element) => text(element),
                None => string(name, random),
            },
        };
        self.words.push(word);
    }
}

fn integer(name: &str, random: &mut Random) -> i64 {
    match name {
        "milliseconds" => time_to_live_ms(random),
        "seconds" => time_to_live_ms(random) / 1000 + 1,
        "ttl" => [0, time_to_live_ms(random)][random.below(2) as usize],
        "frequency" => 7,
        "offset" | "start" | "end" => random.below(60) as i64,
        _ if name.contains("db") || name.starts_with("index") => random.below(DATABASES as u64) as i64,
        _ => one_of(random, &[0, 1, 2, 7, -1]),
    }
}

fn string(name: &str, random: &mut Random) -> Word {
    let length = one_of(random, &[1, 1, 3, 40, 300, 3000]);
    let digit = b'1' + random.below(9) as u8;
    let value = vec![digit; length];
    Word::Text(match name {
        "serialized-value" => match random.below(2) {
            0 => encode_payload(&value),
            _ => values::payload(random),
        },
        _ => value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_that_writes_is_drawn() {
        let mut random = Random::new(1);
        let drawn: std::collections::BTreeSet<String> = (0..2000)
            .map(|_| any_write(&mut random).to_string().split(' ').next().unwrap_or_default().to_owned())
            .collect();
        let rows = ROWS.iter().map(|(command, _)| command.full_name.split('|').next().unwrap_or_default());
        for row in rows {
            assert!(drawn.contains(row), "{row}");
        }
        for row in ["set", "restore", "swapdb", "flushall", "copy", "move", "incrbyfloat"] {
            assert!(drawn.contains(row), "{row}");
        }
    }
}
