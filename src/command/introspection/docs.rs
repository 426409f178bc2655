//! COMMAND DOCS. The tree of arguments is read from the row's syntax line, so that the line is the only place that says it.
//!
//! ```text
//! word           an argument; its name tells its type
//! WORD word      an argument behind a token          WORD alone    a token
//! [ ... ]        optional                            < a | b >     one of several
//! a b [a b ...]  a and b again and again           [...]         what stands before, again and again
//! ```

use crate::command::registry::Command;
use crate::command::spec::{CommandSpec, Flags};
use crate::resp::Reply;

/// Commands that Redis advises against: the name, since which version, and what to use instead.
const DEPRECATED: &[(&str, &str, &str)] = &[
    ("cluster|slots", "7.0.0", "`CLUSTER SHARDS`"),
    ("georadius", "6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    ("georadius_ro", "6.2.0", "`GEOSEARCH` with the `BYRADIUS` argument"),
    (
        "georadiusbymember",
        "6.2.0",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
    ("georadiusbymember_ro", "6.2.0", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    ("getset", "6.2.0", "`SET` with `GET`"),
    ("psetex", "2.6.12", "`SET` with `PX`"),
    ("quit", "7.2.0", "closing the connection"),
    ("setex", "2.6.12", "`SET` with `EX`"),
    ("setnx", "2.6.12", "`SET` with `NX`"),
    ("substr", "2.0.0", "`GETRANGE`"),
    ("zrangebylex", "6.2.0", "`ZRANGE` with the `BYLEX` argument"),
    ("zrangebyscore", "6.2.0", "`ZRANGE` with the `BYSCORE` argument"),
    ("zrevrange", "6.2.0", "`ZRANGE` with the `REV` argument"),
    ("zrevrangebylex", "6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    ("zrevrangebyscore", "6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
];

/// One argument.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    /// The token comes again with each repetition.
    pub multiple_token: bool,
    /// What a block or a choice is made of.
    pub parts: Vec<Argument>,
}

/// The types of Redis's documentation.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub enum Kind {
    #[default]
    String,
    Key,
    Integer,
    Double,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Key => "key",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// The type of an argument with this name.
    fn of(name: &str) -> Kind {
        const KEYS: &[&str] =
            &["key", "newkey", "source", "destination", "key1", "key2", "destkey", "sourcekey"];
        const INTEGERS: &[&str] = &[
            "seconds",
            "milliseconds",
            "count",
            "cursor",
            "offset",
            "start",
            "end",
            "increment",
            "decrement",
            "index",
            "index1",
            "index2",
            "db",
            "destination-db",
            "timeout",
            "numreplicas",
            "client-id",
            "protover",
            "version",
            "len",
            "min-match-len",
            "maxage",
            "ms",
            "numids",
            "entries-read",
            "entries-added",
            "bit",
            "bits",
            "frequency",
            "limit",
            "num-matches",
            "numfields",
            "numkeys",
            "port",
            "rank",
            "slot",
            "ttl",
            "weight",
        ];
        const DOUBLES: &[&str] = &["height", "latitude", "longitude", "radius", "score", "width"];
        match name {
            _ if KEYS.contains(&name) => Kind::Key,
            _ if INTEGERS.contains(&name) => Kind::Integer,
            _ if DOUBLES.contains(&name) => Kind::Double,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            "pattern" => Kind::Pattern,
            _ => Kind::String,
        }
    }
}

/// The arguments of a command.
pub fn arguments(spec: &CommandSpec) -> Vec<Argument> {
    let mut words = Words { rest: spec.syntax };
    // The command's own name, and its container's.
    words.next();
    if spec.syntax.split(' ').nth(1).is_some_and(|word| word.eq_ignore_ascii_case(spec.name)) {
        words.next();
    }
    let mut arguments = sequence(&mut words).0;
    if spec.flags.has(Flags::FLOAT_INCREMENT) {
        arguments
            .iter_mut()
            .filter(|each| each.name == "increment")
            .for_each(|each| each.kind = Kind::Double);
    }
    arguments
}

/// The words and brackets of a syntax line.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.trim_start();
        let end = match rest.chars().next()? {
            '[' | ']' | '<' | '>' | '|' => 1,
            _ => rest.find([' ', '[', ']', '<', '>', '|']).unwrap_or(rest.len()),
        };
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

fn is_token(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_uppercase())
        && !word.contains(|letter: char| letter.is_ascii_lowercase())
}

/// Reads arguments up to `|`, a closing bracket or the end; says which, and whether the last word was `...`.
fn sequence<'a>(words: &mut Words<'a>) -> (Vec<Argument>, Option<&'a str>, bool) {
    let mut arguments: Vec<Argument> = Vec::new();
    let mut token: Option<&str> = None;
    let mut repeats = false;
    let end = loop {
        let Some(word) = words.next() else { break None };
        let argument = match word {
            "|" | "]" | ">" => break Some(word),
            "..." => {
                repeats = true;
                continue;
            }
            "[" | "<" => {
                let (group, group_repeats) = choice(words);
                if group.kind == Kind::Block && group.parts.is_empty() {
                    // `[...]`: what is in front of it may come again.
                    repeats |= group_repeats;
                    continue;
                }
                if word == "[" && group_repeats && repeat(&mut arguments, &group) {
                    continue;
                }
                Argument {
                    optional: word == "[",
                    multiple: group_repeats || group.multiple,
                    multiple_token: group_repeats && group.token.is_some() || group.multiple_token,
                    ..group
                }
            }
            word if is_token(word) => {
                arguments.extend(token.replace(word).map(pure_token));
                continue;
            }
            word => Argument { name: word.to_owned(), kind: Kind::of(word), ..Argument::default() },
        };
        if argument.optional {
            arguments.extend(token.take().map(pure_token));
        }
        arguments.push(match token.take() {
            Some(token) => Argument { token: Some(token.to_owned()), ..argument },
            None => argument,
        });
    };
    arguments.extend(token.map(pure_token));
    (arguments, end, repeats)
}

/// A token that no argument follows is an argument of its own.
fn pure_token(token: &str) -> Argument {
    Argument {
        name: token.to_lowercase(),
        kind: Kind::PureToken,
        token: Some(token.to_owned()),
        ..Argument::default()
    }
}

/// Reads what is inside a bracket as one argument; says whether it may be repeated.
fn choice(words: &mut Words<'_>) -> (Argument, bool) {
    let (mut options, mut repeats) = (Vec::new(), false);
    loop {
        let (parts, end, some_repeat) = sequence(words);
        repeats |= some_repeat;
        options.push(joined(parts));
        if end != Some("|") {
            break;
        }
    }
    if options.len() == 1 {
        return (options.remove(0), repeats);
    }
    let names: Vec<&str> = options.iter().map(|option| option.name.as_str()).collect();
    let name = if names.iter().all(|name| ["nx", "xx", "gt", "lt"].contains(name)) {
        "condition".to_owned()
    } else if options.iter().any(|option| option.token.as_deref() == Some("EX")) {
        "expiration".to_owned()
    } else {
        names.join("-")
    };
    (Argument { name, kind: Kind::OneOf, parts: options, ..Argument::default() }, repeats)
}

/// Several arguments that belong together are a block; its token is that of the first.
fn joined(mut parts: Vec<Argument>) -> Argument {
    if parts.len() == 1 {
        return parts.remove(0);
    }
    let token =
        parts.first_mut().filter(|first| first.kind != Kind::PureToken).and_then(|first| first.token.take());
    let name = token.as_ref().map_or("data".to_owned(), |token| token.to_lowercase());
    Argument { name, kind: Kind::Block, token, parts, ..Argument::default() }
}

/// `a b [a b ...]`: makes the arguments in front of the bracket repeatable if they are what is inside.
fn repeat(arguments: &mut Vec<Argument>, group: &Argument) -> bool {
    let group_parts =
        if group.kind == Kind::Block { group.parts.as_slice() } else { std::slice::from_ref(group) };
    let Some(start) = arguments.len().checked_sub(group_parts.len()) else { return false };
    let same = arguments[start..].iter().zip(group_parts).all(|(left, right)| left.name == right.name);
    if !same {
        return false;
    }
    let mut repeated = joined(arguments.split_off(start));
    repeated.multiple = true;
    repeated.multiple_token = group.token.is_some();
    arguments.push(repeated);
    true
}

/// The documentation of one command, its subcommands included.
pub fn write(reply: &mut Reply<'_>, command: &Command) {
    let spec = command.spec;
    let arguments = if spec.subcommands.is_empty() { arguments(spec) } else { Vec::new() };
    let mut texts = vec![("summary", spec.summary), ("since", spec.since), ("group", spec.group.name())];
    if !spec.complexity.is_empty() {
        texts.push(("complexity", spec.complexity));
    }
    let deprecated = DEPRECATED.iter().find(|(name, ..)| *name == command.full_name);
    let fields = texts.len() + if deprecated.is_some() { 3 } else { 0 };
    reply.map(fields + usize::from(!arguments.is_empty()) + usize::from(!command.subcommands.is_empty()));
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if let Some((_, since, instead)) = deprecated {
        reply.bulk(b"doc_flags");
        super::write_set(reply, std::iter::once("deprecated"));
        reply.bulk(b"deprecated_since");
        reply.bulk(since.as_bytes());
        reply.bulk(b"replaced_by");
        reply.bulk(instead.as_bytes());
    }
    if !arguments.is_empty() {
        let key_specs = spec.keys.len();
        reply.bulk(b"arguments");
        write_arguments(reply, &arguments, key_specs, &mut 0);
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        for subcommand in &command.subcommands {
            reply.bulk(subcommand.full_name.as_bytes());
            write(reply, subcommand);
        }
    }
}

/// `next_key` is the key specification that the next key argument belongs to.
fn write_arguments(reply: &mut Reply<'_>, arguments: &[Argument], key_specs: usize, next_key: &mut usize) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags = [
            ("optional", argument.optional),
            ("multiple", argument.multiple),
            ("multiple_token", argument.multiple_token),
        ];
        let flags: Vec<&str> = flags.iter().filter_map(|(name, holds)| holds.then_some(*name)).collect();
        let simple = argument.parts.is_empty();
        let key = argument.kind == Kind::Key;
        let fields = 3 + usize::from(key) + usize::from(argument.token.is_some());
        reply.map(fields + usize::from(!flags.is_empty()));
        reply.bulk(b"name");
        reply.bulk(argument.name.as_bytes());
        reply.bulk(b"type");
        reply.bulk(argument.kind.name().as_bytes());
        if simple {
            reply.bulk(b"display_text");
            reply.bulk(argument.name.as_bytes());
        }
        if key {
            reply.bulk(b"key_spec_index");
            reply.integer((*next_key).min(key_specs.saturating_sub(1)) as i64);
            *next_key += 1;
        }
        if let Some(token) = &argument.token {
            reply.bulk(b"token");
            reply.bulk(token.as_bytes());
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            super::write_set(reply, flags.into_iter());
        }
        if !simple {
            reply.bulk(b"arguments");
            write_arguments(reply, &argument.parts, key_specs, next_key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as text: `name:type`, the token in front, `?` for optional, `*` for multiple, parts in parentheses.
    fn shown(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let token = argument.token.as_ref().map_or(String::new(), |token| format!("{token}="));
            let parts = if argument.parts.is_empty() {
                String::new()
            } else {
                format!("({})", shown(&argument.parts))
            };
            let optional = if argument.optional { "?" } else { "" };
            let multiple = match (argument.multiple, argument.multiple_token) {
                (true, true) => "**",
                (true, false) => "*",
                _ => "",
            };
            format!("{token}{}:{}{optional}{multiple}{parts}", argument.name, argument.kind.name())
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn tree(syntax: &str) -> String {
        let mut words = Words { rest: syntax };
        shown(&sequence(&mut words).0)
    }

    #[test]
    fn syntax_lines_become_trees() {
        for (syntax, want) in [
            ("key value [GET]", "key:key value:string GET=get:pure-token?"),
            ("key [key ...]", "key:key*"),
            ("key value [key value ...]", "data:block*(key:key value:string)"),
            ("[message]", "message:string?"),
            ("numkeys key [key ...] [LIMIT limit]", "numkeys:integer key:key* LIMIT=limit:integer?"),
            ("score member", "score:double member:string"),
            ("[pattern [pattern ...]]", "pattern:pattern?*"),
            ("key [SAMPLES count]", "key:key SAMPLES=count:integer?"),
            ("[NX | XX]", "condition:oneof?(NX=nx:pure-token XX=xx:pure-token)"),
            ("<ON | OFF>", "on-off:oneof(ON=on:pure-token OFF=off:pure-token)"),
            (
                "[EX seconds | PXAT unix-time-milliseconds | KEEPTTL]",
                "expiration:oneof?(EX=seconds:integer PXAT=unix-time-milliseconds:unix-time KEEPTTL=keepttl:pure-token)",
            ),
            (
                "<ip:port | <[ID client-id] | [USER username] [...]>>",
                "ip:port-client-id-username:oneof(ip:port:string client-id-username:oneof*(ID=client-id:integer? USER=username:string?))",
            ),
            ("[AUTH username password]", "AUTH=auth:block?(username:string password:string)"),
            (
                "[FILTERBY <MODULE name | PATTERN pattern>]",
                "FILTERBY=name-pattern:oneof?(MODULE=name:string PATTERN=pattern:pattern)",
            ),
            (
                "[NOSAVE | SAVE] [NOW]",
                "nosave-save:oneof?(NOSAVE=nosave:pure-token SAVE=save:pure-token) NOW=now:pure-token?",
            ),
        ] {
            assert_eq!(tree(syntax), want, "{syntax}");
        }
    }

    /// redis-cli reads the documentation of all commands when it starts, and crashes over a block without parts.
    #[test]
    fn blocks_and_choices_have_parts() {
        fn check(spec: &CommandSpec, arguments: &[Argument]) {
            for argument in arguments {
                let has_parts = matches!(argument.kind, Kind::OneOf | Kind::Block);
                assert_eq!(has_parts, !argument.parts.is_empty(), "{}: {argument:?}", spec.syntax);
                check(spec, &argument.parts);
            }
        }
        for command in crate::command::COMMANDS.iter() {
            check(command.spec, &arguments(command.spec));
        }
    }

    #[test]
    fn deprecated_commands_exist() {
        for (name, ..) in DEPRECATED {
            assert!(crate::command::COMMANDS.find_full(name.as_bytes()).is_some(), "{name}");
        }
    }

    /// Clients that build help from the tree (redis-cli) trust that groups have parts.
    fn is_whole(argument: &Argument) -> bool {
        let group = matches!(argument.kind, Kind::Block | Kind::OneOf);
        group != argument.parts.is_empty() && argument.parts.iter().all(is_whole)
    }

    #[test]
    fn each_row_of_the_table_can_be_read() {
        for command in crate::command::COMMANDS.iter() {
            let spec = command.spec;
            let balanced =
                |open, close| spec.syntax.matches(open).count() == spec.syntax.matches(close).count();
            assert!(balanced('[', ']') && balanced('<', '>'), "{}", spec.syntax);
            assert!(arguments(spec).iter().all(is_whole), "{}", spec.syntax);
            let required = arguments(spec).iter().any(|argument| !argument.optional);
            let words = command.full_name.split('|').count() as u32;
            let more = crate::command::spec::arity(spec.syntax).unsigned_abs() > words;
            assert_eq!(required, more, "{}", spec.syntax);
        }
    }
}
