//! What a server says of its own commands: COMMAND DOCS as trees, and the commands and options that an oracle knows.

use std::collections::{BTreeMap, BTreeSet};

use super::wire::{Value, Wire, words};

/// One argument, as COMMAND DOCS has it.
#[derive(Clone, Debug, Default)]
pub struct Argument {
    pub name: String,
    pub kind: String,
    pub token: Option<String>,
    pub optional: bool,
    pub multiple: bool,
    pub multiple_token: bool,
    pub parts: Vec<Argument>,
}

/// A command, or a subcommand as `xinfo|stream`.
#[derive(Clone, Debug)]
pub struct Syntax {
    pub name: String,
    pub group: String,
    /// The version of Redis that had it first; none has two digits in a part that matters here.
    pub since: String,
    pub arguments: Vec<Argument>,
}

/// The commands of a server by name; a container stands for its subcommands only.
pub fn learn(wire: &mut Wire) -> BTreeMap<String, Syntax> {
    let docs = wire.exchange(&[words("COMMAND DOCS")]).expect("COMMAND DOCS");
    let mut found = BTreeMap::new();
    commands(&docs[0], &mut found);
    found
}

fn commands(docs: &Value, found: &mut BTreeMap<String, Syntax>) {
    for pair in docs.parts().chunks(2) {
        let (name, doc) = (text(&pair[0]), &pair[1]);
        if let Some(subcommands) = member(doc, "subcommands") {
            commands(subcommands, found);
            continue;
        }
        let group = member(doc, "group").map(text).unwrap_or_default();
        let since = member(doc, "since").map(text).unwrap_or_default();
        let arguments = member(doc, "arguments").map(arguments).unwrap_or_default();
        found.insert(name.clone(), Syntax { name, group, since, arguments });
    }
}

fn arguments(list: &Value) -> Vec<Argument> {
    let argument = |doc: &Value| {
        let flags: Vec<String> =
            member(doc, "flags").map(|flags| flags.parts().iter().map(text).collect()).unwrap_or_default();
        let has = |flag: &str| flags.iter().any(|each| each == flag);
        Argument {
            name: member(doc, "name").map(text).unwrap_or_default(),
            kind: member(doc, "type").map(text).unwrap_or_default(),
            token: member(doc, "token").map(text),
            optional: has("optional"),
            multiple: has("multiple"),
            multiple_token: has("multiple_token"),
            parts: member(doc, "arguments").map(arguments).unwrap_or_default(),
        }
    };
    list.parts().iter().map(argument).collect()
}

fn member<'a>(doc: &'a Value, name: &str) -> Option<&'a Value> {
    doc.parts().chunks(2).find(|pair| pair[0].text() == Some(name.as_bytes())).map(|pair| &pair[1])
}

fn text(value: &Value) -> String {
    String::from_utf8_lossy(value.text().unwrap_or_default()).into_owned()
}

/// The tokens of a command's options, in capitals.
pub fn tokens(arguments: &[Argument]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for argument in arguments {
        found.extend(argument.token.iter().map(|token| token.to_ascii_uppercase()));
        found.extend(tokens(&argument.parts));
    }
    found
}
