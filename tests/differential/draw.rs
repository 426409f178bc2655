//! Requests drawn at random along the syntax that COMMAND DOCS tells: valid ones, and such as miss validity by a word.
//!
//! Keys are few and named after the type that they mostly hold, so that commands meet values, mostly of their own type.

use cloakroom::base::random::Random;

use super::syntax::{Argument, Syntax};
use super::vocabulary;
use super::wire::{Words, words};

/// One of so many requests is not as its syntax says.
const BENT_EVERY: u64 = 6;
/// One of so many repeated arguments comes very often, so that collections become large.
const MANY_EVERY: u64 = 40;
const MANY: u64 = 150;

/// Commands that build something, which are drawn more often than the rest.
const BUILDERS: &[&str] = &[
    "set",
    "append",
    "setrange",
    "setbit",
    "bitfield",
    "pfadd",
    "hset",
    "hset",
    "hincrby",
    "hexpire",
    "rpush",
    "lpush",
    "rpush",
    "linsert",
    "sadd",
    "sadd",
    "zadd",
    "zadd",
    "zincrby",
    "geoadd",
    "geoadd",
    "xadd",
    "xadd",
    "xadd",
    "xgroup|create",
    "xreadgroup",
    "xreadgroup",
    "expire",
];

/// Requests that belong together: where one is left out of a sequence, all are.
pub type Step = Vec<Words>;

pub struct Drawer<'a> {
    pub random: Random,
    commands: &'a [Syntax],
    payloads: &'a [Vec<u8>],
    /// What was said of the arguments that come: `numkeys`, or how many keys there were.
    count: Option<u64>,
    /// The letter of the keys that the present command is for.
    letter: char,
    command: String,
}

impl<'a> Drawer<'a> {
    pub fn new(seed: u64, commands: &'a [Syntax], payloads: &'a [Vec<u8>]) -> Drawer<'a> {
        Drawer {
            random: Random::new(seed),
            commands,
            payloads,
            count: None,
            letter: 's',
            command: String::new(),
        }
    }

    fn one_in(&mut self, number: u64) -> bool {
        self.random.below(number) == 0
    }

    fn of<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        &list[self.random.below(list.len() as u64) as usize]
    }

    /// The next step of a sequence.
    pub fn step(&mut self) -> Step {
        if self.one_in(50) {
            return vec![self.even_set()];
        }
        loop {
            let syntax = if self.one_in(3) {
                let name = *self.of(BUILDERS);
                self.commands.iter().find(|each| each.name == name)
            } else {
                let commands = self.commands;
                Some(self.of(commands))
            };
            // An oracle may not know a builder.
            let Some(syntax) = syntax else { continue };
            let mut request = self.request(syntax);
            if self.one_in(BENT_EVERY) {
                self.bend(syntax, &mut request);
            }
            if !vocabulary::is_unfit(&request) {
                return around(request);
            }
        }
    }

    fn request(&mut self, syntax: &Syntax) -> Words {
        self.letter = match syntax.group.as_str() {
            "string" => 's',
            "bitmap" => 'b',
            "hyperloglog" => 'p',
            "hash" => 'h',
            "list" => 'l',
            "set" => 'e',
            "sorted-set" | "geo" => 'z',
            "stream" => 'x',
            _ => '*',
        };
        self.command.clone_from(&syntax.name);
        self.count = None;
        let mut request = words(&syntax.name.replace('|', " "));
        syntax.arguments.iter().for_each(|argument| self.argument(argument, &mut request));
        if vocabulary::is_of_names(&request) {
            let source = if syntax.name == "zrangestore" { 2 } else { 1 };
            request[source] = self.even_key();
        }
        request
    }

    fn argument(&mut self, argument: &Argument, into: &mut Words) {
        if argument.optional && !self.one_in(3) {
            return;
        }
        let times = match argument.multiple {
            false => 1,
            true => match self.count.take() {
                Some(count) if !self.one_in(20) => count,
                _ if self.one_in(MANY_EVERY) && argument.kind != "key" => MANY,
                _ => 1 + self.random.below(3),
            },
        };
        for time in 0..times {
            if let Some(token) = &argument.token
                && (time == 0 || argument.multiple_token)
            {
                into.push(
                    if self.one_in(4) { token.to_ascii_lowercase() } else { token.clone() }.into_bytes(),
                );
            }
            match argument.kind.as_str() {
                "pure-token" => {}
                "oneof" => {
                    let part = self.of(&argument.parts).clone();
                    // One of several must be there, whatever it says of itself.
                    self.argument(&Argument { optional: false, ..part }, into);
                }
                "block" => argument.parts.iter().for_each(|part| self.argument(part, into)),
                _ => {
                    let word = self.value(&argument.name, &argument.kind, times > 10);
                    into.push(word);
                }
            }
        }
        if argument.kind == "key" && argument.multiple && self.command.starts_with("xread") {
            self.count = Some(times);
        }
    }

    fn key(&mut self) -> Vec<u8> {
        let letter =
            if self.letter == '*' || self.one_in(12) { *self.of(vocabulary::LETTERS) } else { self.letter };
        if self.one_in(60) {
            return b"missing".to_vec();
        }
        format!("{letter}{}", 1 + self.random.below(vocabulary::KEYS_OF_A_LETTER)).into_bytes()
    }

    fn even_key(&mut self) -> Vec<u8> {
        let number = 1 + self.random.below(vocabulary::KEYS_OF_A_LETTER);
        format!("{}{number}", vocabulary::EVEN_LETTER).into_bytes()
    }

    /// Members of one score.
    fn even_set(&mut self) -> Words {
        let mut request = vec![b"ZADD".to_vec(), self.even_key()];
        for _ in 0..1 + self.random.below(5) {
            let member = self.value("member", "string", false);
            request.extend([b"1".to_vec(), member]);
        }
        request
    }

    fn value(&mut self, name: &str, kind: &str, many: bool) -> Vec<u8> {
        if kind == "key" {
            return self.key();
        }
        if name.starts_with("num") && name != "num-matches" {
            let count = 1 + self.random.below(3);
            self.count = Some(count);
            return count.to_string().into_bytes();
        }
        if name == "serialized-value" {
            let payloads = self.payloads;
            return self.of(payloads).clone();
        }
        if many && matches!(name, "element" | "member" | "field") {
            return format!("m{}", self.random.below(4 * MANY)).into_bytes();
        }
        // Ten of the longest words make a value large.
        let lists = vocabulary::of_name(&self.command, name, kind);
        let list = *self.of(lists);
        self.of(list).to_vec()
    }

    /// Makes a request a little wrong.
    fn bend(&mut self, syntax: &Syntax, request: &mut Words) {
        let first = 1 + usize::from(syntax.name.contains('|'));
        let places = request.len() - first;
        let at = first + self.random.below(places.max(1) as u64) as usize;
        match self.random.below(7) {
            0 if places > 0 => {
                request.remove(at);
            }
            1 if places > 0 => request.insert(at, request[at].clone()),
            2 if places > 1 => {
                let other = first + self.random.below(places as u64) as usize;
                request.swap(at, other);
            }
            3 if places > 0 => request.truncate(at),
            4 => {
                let word = self.of(vocabulary::ODD).to_vec();
                request.push(word);
            }
            // An option twice, or options that exclude each other.
            5 => {
                let options: Vec<Argument> =
                    syntax.arguments.iter().filter(|each| each.optional).cloned().collect();
                if !options.is_empty() {
                    let option = self.of(&options).clone();
                    self.argument(&Argument { optional: false, ..option }, request);
                }
            }
            _ if places > 0 => request[at] = self.of(vocabulary::ODD).to_vec(),
            _ => request.push(b"x".to_vec()),
        }
    }
}

/// What must stand around a request so that a random choice can be judged, and leaves nothing of itself behind.
fn around(request: Words) -> Step {
    let with = |name: &str, rest: &[&str]| -> Words {
        let rest = rest.iter().map(|word| word.as_bytes().to_vec());
        [name.as_bytes().to_vec(), request[1].clone()].into_iter().chain(rest).collect()
    };
    let is = |name: &str| request[0].eq_ignore_ascii_case(name.as_bytes());
    if request.len() < 2 {
        return vec![request];
    }
    if is("SPOP") {
        return vec![with("SMEMBERS", &[]), request.clone(), with("SCARD", &[]), with("DEL", &[])];
    }
    if is("SRANDMEMBER") {
        return vec![with("SMEMBERS", &[]), request];
    }
    if is("HRANDFIELD") {
        return vec![with("HGETALL", &[]), request];
    }
    if is("ZRANDMEMBER") {
        return vec![with("ZRANGE", &["0", "-1", "WITHSCORES"]), request];
    }
    if is("XADD") && request.iter().any(|word| word == b"*") {
        return vec![request.clone(), with("XLEN", &[]), with("DEL", &[])];
    }
    vec![request]
}
