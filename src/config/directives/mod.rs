//! The table of directives: one row each, grouped by concept.
//!
//! Owns what a row is and how a name is looked up; the rows are in the files of this folder. A directive is
//! declared here and as a field of `Config`, nowhere else: parsing, CONFIG GET, SET and REWRITE, and
//! docs/config.md follow from its row. A row without effect keeps its value beside the fields, so that CONFIG
//! GET answers what was set.

mod cluster;
pub(super) mod foreign;
mod limits;
mod logging;
mod memory;
mod network;
mod persistence;
mod replication;
mod security;
mod server;
mod tls;
mod types;

use super::Config;
use super::kind::{Kind, ValueError};
use super::value::Value;

/// Every directive, by concept, in the order of docs/config.md and of CONFIG GET.
pub static GROUPS: &[Group] = &[
    network::GROUP,
    security::GROUP,
    limits::GROUP,
    memory::GROUP,
    persistence::GROUP,
    logging::GROUP,
    server::GROUP,
    types::GROUP,
    replication::GROUP,
    cluster::GROUP,
    tls::GROUP,
];

/// Directives of one concept.
#[derive(Debug)]
pub struct Group {
    /// heading in docs/config.md
    pub title: &'static str,
    /// the rows
    pub rows: &'static [Directive],
}

/// One directive.
#[derive(Debug)]
pub struct Directive {
    /// its name, in lower case
    pub name: &'static str,
    /// an older name that works in every place
    pub alias: Option<&'static str>,
    /// what it accepts
    pub kind: Kind,
    /// the default, as CONFIG SET would take it
    pub default: &'static str,
    /// when it may change
    pub change: Change,
    /// whether its value must not be logged
    pub is_secret: bool,
    /// whether patterns of CONFIG GET pass over it, as they do for Redis's debugging directives
    pub is_hidden: bool,
    /// one sentence on its meaning
    pub doc: &'static str,
    /// what it does
    pub effect: Effect,
}

/// When a directive may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// at any time, by CONFIG SET
    Runtime,
    /// by CONFIG SET where `enable-protected-configs` allows it
    Protected,
    /// only at start; CONFIG SET refuses even the present value, as Redis does
    Immutable,
    /// only at start, where Redis has [`Change::Protected`]: CONFIG SET refuses it with that reason first
    ProtectedImmutable,
    /// only at start; CONFIG SET takes the present value. For directives that Redis does not have, so that
    /// clients which write back what `CONFIG GET *` gave them succeed.
    Fixed,
}

/// Where a directive's value lives.
#[derive(Clone, Copy, Debug)]
pub enum Effect {
    /// in a field of `Config`
    Field {
        /// copies the field
        read: fn(&Config) -> Value,
        /// sets the field; false when the value is of another kind, which only a wrong row can cause
        write: fn(&mut Config, Value) -> bool,
    },
    /// nowhere: the value is kept only to be shown again
    None {
        /// why Redis's directive does nothing here
        reason: &'static str,
    },
    /// nowhere, and only the default is accepted: it restricts who may do what, and would not
    Refused {
        /// what to do instead
        reason: &'static str,
    },
}

/// Every row of every group.
pub fn directives() -> impl Iterator<Item = &'static Directive> {
    GROUPS.iter().flat_map(|group| group.rows)
}

/// The directive of that name or alias, in any case, and the name as the table spells it.
pub fn find(name: &[u8]) -> Option<(&'static Directive, &'static str)> {
    directives().find_map(|directive| {
        let spelled = directive.names().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
        Some((directive, spelled))
    })
}

impl Directive {
    /// The name and, if there is one, the alias.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// The value that `config` has.
    pub fn value(&self, config: &Config) -> Value {
        match self.effect {
            Effect::Field { read, .. } => read(config),
            Effect::None { .. } | Effect::Refused { .. } => {
                config.without_effect.get(self.name).cloned().unwrap_or_else(|| self.default_value())
            }
        }
    }

    /// The value of a configuration that says nothing about this directive.
    pub fn default_value(&self) -> Value {
        self.kind.parse(&[self.default.as_bytes()], &Value::Bool(false)).expect("a test parses every default")
    }

    /// Parses `words` as CONFIG SET and files do and stores the value in `config`.
    ///
    /// # Errors
    /// When the words are not of the directive's kind, or say what must not be ignored; `config` is unchanged then.
    pub fn assign(&self, config: &mut Config, words: &[&[u8]]) -> Result<(), ValueError> {
        let value = self.kind.parse(words, &self.value(config))?;
        if let Effect::Refused { reason } = self.effect
            && value != self.default_value()
        {
            return Err(ValueError::Other(reason));
        }
        self.store(config, value)
    }

    /// Stores a value in `config`.
    ///
    /// # Errors
    /// When the value is not of the directive's kind.
    pub(super) fn store(&self, config: &mut Config, value: Value) -> Result<(), ValueError> {
        match self.effect {
            Effect::Field { write, .. } if write(config, value.clone()) => Ok(()),
            Effect::Field { .. } => Err(ValueError::Other("value of another kind")),
            Effect::None { .. } | Effect::Refused { .. } => {
                config.without_effect.insert(self.name, value);
                Ok(())
            }
        }
    }
}

/// Row builders. A row reads: name, kind, default, sentence, field; then what is unusual about it.
impl Directive {
    const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
        effect: Effect,
    ) -> Directive {
        let change = Change::Runtime;
        Directive {
            name,
            alias: None,
            kind,
            default,
            change,
            is_secret: false,
            is_hidden: false,
            doc,
            effect,
        }
    }

    /// A directive of Redis that is accepted without effect; the sentence says why.
    const fn accepted(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        reason: &'static str,
    ) -> Directive {
        Directive::new(name, kind, default, reason, Effect::None { reason })
    }

    /// A directive of Redis that would leave a door open if it were ignored: any value but the default stops the start.
    const fn refused(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        reason: &'static str,
    ) -> Directive {
        Directive::new(name, kind, default, reason, Effect::Refused { reason })
    }

    const fn alias(self, alias: &'static str) -> Directive {
        Directive { alias: Some(alias), ..self }
    }

    const fn immutable(self) -> Directive {
        self.changes(Change::Immutable)
    }

    const fn protected_immutable(self) -> Directive {
        self.changes(Change::ProtectedImmutable)
    }

    const fn fixed(self) -> Directive {
        self.changes(Change::Fixed)
    }

    const fn protected(self) -> Directive {
        self.changes(Change::Protected)
    }

    /// A row says once when its directive may change. The tables are constants, so one that says it twice does not compile.
    const fn changes(self, change: Change) -> Directive {
        assert!(matches!(self.change, Change::Runtime), "a row says twice when its directive may change");
        Directive { change, ..self }
    }

    const fn secret(self) -> Directive {
        Directive { is_secret: true, ..self }
    }

    const fn hidden(self) -> Directive {
        Directive { is_hidden: true, ..self }
    }
}

/// The accessors of a field of `Config`, for the last column of a row.
macro_rules! field {
    ($field:ident) => {
        Effect::Field {
            read: |config| crate::config::value::Setting::to_value(&config.$field),
            write: |config, value| match crate::config::value::Setting::from_value(value) {
                Some(value) => {
                    config.$field = value;
                    true
                }
                None => false,
            },
        }
    };
}
use field;

/// From 0 to the greatest C `int`.
const COUNT: Kind = Kind::Integer { min: 0, max: i32::MAX as i64 };
/// From 0 to the greatest 64 bit integer.
const LONG_COUNT: Kind = Kind::Integer { min: 0, max: i64::MAX };
/// From 1 to the greatest C `int`.
const POSITIVE: Kind = Kind::Integer { min: 1, max: i32::MAX as i64 };
/// A TCP port; 0 means none.
const PORT: Kind = Kind::Integer { min: 0, max: 65535 };
/// Any number of bytes that a signed 64 bit integer holds.
const MEMORY: Kind = Kind::Memory { min: 0, max: i64::MAX as u64 };
/// At least one megabyte.
const LARGE_MEMORY: Kind = Kind::Memory { min: 1 << 20, max: i64::MAX as u64 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_can_say_twice_when_its_directive_may_change() {
        const SAYS: [fn(Directive) -> Directive; 3] =
            [Directive::immutable, Directive::fixed, Directive::protected];
        let row = || Directive::accepted("name", Kind::Bool, "no", "A test.");
        for (first, second) in SAYS.iter().flat_map(|first| SAYS.iter().map(move |second| (first, second))) {
            let both = std::panic::catch_unwind(|| second(first(row())));
            assert!(both.is_err(), "the second would win");
        }
    }
}
