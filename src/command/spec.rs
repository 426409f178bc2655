//! What a row of the command table says. From it come arity, key positions and locks, admission, COMMAND's replies, ACL categories
//! and docs/commands.md.

use super::cx::{Cx, Outcome};
use crate::client::Gates;

/// The function of a command.
pub type Run = fn(&mut Cx<'_, '_>) -> Outcome;

/// Properties of a command, with the names that COMMAND INFO shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u64);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const SKIP_MONITOR: Flags = Flags(1 << 9);
    pub const SKIP_SLOWLOG: Flags = Flags(1 << 10);
    pub const FAST: Flags = Flags(1 << 11);
    pub const NO_AUTH: Flags = Flags(1 << 12);
    pub const MAY_REPLICATE: Flags = Flags(1 << 13);
    pub const NO_MULTI: Flags = Flags(1 << 14);
    pub const ALLOW_BUSY: Flags = Flags(1 << 15);
    pub const NO_ASYNC_LOADING: Flags = Flags(1 << 16);
    pub const SENTINEL: Flags = Flags(1 << 17);
    /// Ours: a RESP2 client with subscriptions may still send it.
    pub const WHILE_SUBSCRIBED: Flags = Flags(1 << 18);
    /// Ours: works on the whole keyspace; inside a transaction it needs all shards.
    pub const ALL_KEYS: Flags = Flags(1 << 19);
    /// Ours: belongs to the transaction machinery and runs at once between MULTI and EXEC.
    pub const NOT_QUEUED: Flags = Flags(1 << 20);
    /// Ours: waits for another thread or a file, as no request may that holds shards. Inside a transaction it runs behind the last request
    /// that uses keys, when the shards are released.
    pub const CONTROL: Flags = Flags(1 << 32);
    /// ACL category `dangerous` that does not follow from another flag.
    pub const DANGEROUS: Flags = Flags(1 << 21);
    /// Ours: inside a transaction it runs the queued requests (EXEC).
    pub const RUNS_QUEUE: Flags = Flags(1 << 30);
    /// ACL category `connection`.
    pub const CONNECTION: Flags = Flags(1 << 22);
    /// ACL category `keyspace` of a command outside the generic group.
    pub const KEYSPACE: Flags = Flags(1 << 28);
    /// ACL category `admin` that does not follow from the flag.
    pub const ADMIN_CATEGORY: Flags = Flags(1 << 29);

    /// Where some keys are depends on words of the request: a row's positions are then more than the keys, never fewer.
    pub const MOVABLE_KEYS: Flags = Flags(1 << 31);

    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether at least one of `other` is set.
    pub const fn has_any(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

/// What a command does to the bytes of a key (the key specification flags of the Redis documentation).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    ReadOnly,
    ReadWrite,
    /// Overwrites without looking at the old value.
    Overwrite,
    /// Deletes without looking at the value.
    Remove,
}

/// What it does to the data that the user sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effect(pub u8);

impl Effect {
    pub const NONE: Effect = Effect(0);
    pub const ACCESS: Effect = Effect(1);
    pub const UPDATE: Effect = Effect(2);
    pub const INSERT: Effect = Effect(4);
    pub const DELETE: Effect = Effect(8);
    /// Not a flag of the data: the access depends on the arguments (`variable_flags`).
    pub const VARIABLE: Effect = Effect(16);

    pub const fn and(self, other: Effect) -> Effect {
        Effect(self.0 | other.0)
    }

    pub const fn has(self, other: Effect) -> bool {
        self.0 & other.0 != 0
    }
}

/// Positions of keys among the arguments (the command's name is 0): from `first` to `last`, every `step`-th. A `last` below 0
/// counts from the end, -1 being the last argument.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub first: usize,
    pub last: isize,
    pub step: usize,
    pub access: Access,
    pub effect: Effect,
    /// Channels of SSUBSCRIBE and the like: routed by slot, but no keys.
    pub not_key: bool,
    /// What `effect` does not tell, for people; may be empty.
    pub notes: &'static str,
}

impl Keys {
    pub const fn one(first: usize, access: Access, effect: Effect) -> Keys {
        Keys { first, last: first as isize, step: 1, access, effect, not_key: false, notes: "" }
    }

    /// From `first` to the end, every `step`-th.
    pub const fn to_end(first: usize, step: usize, access: Access, effect: Effect) -> Keys {
        Keys { first, last: -1, step, access, effect, not_key: false, notes: "" }
    }

    /// The argument indices among `argc` arguments.
    pub fn positions(&self, argc: usize) -> impl Iterator<Item = usize> + use<> {
        let last = if self.last < 0 { argc as isize + self.last } else { self.last };
        let end = last.min(argc as isize - 1);
        (self.first..(end + 1).max(0) as usize).step_by(self.step)
    }
}

/// The groups of the Redis documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Generic,
    String,
    Cluster,
    Connection,
    Server,
    Pubsub,
    Transactions,
}

impl Group {
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
        }
    }
}

/// One row. A row of a container (CLIENT, CONFIG ...) has subcommands; those are rows too.
pub struct CommandSpec {
    /// Lower case; of a subcommand, its own word.
    pub name: &'static str,
    /// As a user types it: `SET key value [NX | XX]`. Required words decide the arity.
    pub syntax: &'static str,
    pub group: Group,
    pub since: &'static str,
    pub complexity: &'static str,
    pub summary: &'static str,
    pub flags: Flags,
    pub keys: &'static [Keys],
    /// Hints for clients and proxies (COMMAND INFO's tips).
    pub tips: &'static [&'static str],
    pub subcommands: &'static [CommandSpec],
    pub run: Run,
}

/// Counts the required words of a syntax line; negative if more may follow.
pub const fn arity(syntax: &str) -> i32 {
    let bytes = syntax.as_bytes();
    let (mut words, mut depth, mut in_word, mut open_end) = (0, 0, false, false);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'[' => {
                depth += 1;
                open_end = true;
            }
            b'<' => {
                if depth == 0 && !in_word {
                    words += 1;
                }
                depth += 1;
            }
            b']' | b'>' => depth -= 1,
            b' ' => in_word = false,
            _ => {
                if depth == 0 && !in_word {
                    words += 1;
                    in_word = true;
                }
            }
        }
        at += 1;
    }
    if open_end { -words } else { words }
}

impl CommandSpec {
    /// The gates that must be looked at before this command runs.
    pub fn concerns(&self) -> Gates {
        let mut gates = Gates::PAUSED.and(Gates::MONITORING);
        if !self.flags.has(Flags::NO_AUTH) {
            gates = gates.and(Gates::UNAUTHENTICATED);
        }
        if !self.flags.has(Flags::NOT_QUEUED) {
            gates = gates.and(Gates::IN_TRANSACTION);
        }
        if !self.flags.has(Flags::WHILE_SUBSCRIBED) {
            gates = gates.and(Gates::SUBSCRIBED);
        }
        if !self.flags.has_any(Flags::SKIP_MONITOR.and(Flags::ADMIN)) {
            gates = gates.and(Gates::MONITORED);
        }
        // What EXEC would run decides.
        if !self.flags.has(Flags::LOADING) || self.name == "exec" {
            gates = gates.and(Gates::LOADING);
        }
        // Redis refuses PING as well, so that a health check sees that the server cannot save.
        if self.flags.has_any(Flags::WRITE.and(Flags::MAY_REPLICATE)) || matches!(self.name, "exec" | "ping")
        {
            gates = gates.and(Gates::WRITES_REFUSED).and(Gates::LOG_FULL);
        }
        if self.flags.has_any(Flags::WRITE.and(Flags::READONLY).and(Flags::MAY_REPLICATE))
            || gates.has(Gates::MONITORED)
            || self.name == "exec"
        {
            gates = gates.and(Gates::DELIVERIES_FULL);
        }
        if self.flags.has(Flags::DENYOOM) || !self.keys.is_empty() || self.name == "exec" {
            gates = gates.and(Gates::MEMORY_LIMIT);
        }
        gates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arity_follows_from_the_syntax() {
        for (syntax, want) in [
            ("GET key", 2),
            ("SET key value [NX | XX] [GET] [EX seconds | PX milliseconds]", -3),
            ("DEL key [key ...]", -2),
            ("PING [message]", -1),
            ("CLIENT REPLY <ON | OFF | SKIP>", 3),
            ("CLIENT KILL <ip:port | <[ID client-id] ...>>", -3),
            ("EXEC", 1),
        ] {
            assert_eq!(arity(syntax), want, "{syntax}");
        }
    }

    #[test]
    fn key_positions_count_from_both_ends() {
        let keys = |keys: Keys, argc| keys.positions(argc).collect::<Vec<_>>();
        assert_eq!(keys(Keys::to_end(1, 2, Access::Overwrite, Effect::UPDATE), 5), [1, 3]);
        assert_eq!(keys(Keys::one(1, Access::ReadOnly, Effect::ACCESS), 2), [1]);
        assert_eq!(keys(Keys::to_end(1, 1, Access::Remove, Effect::DELETE), 1), Vec::<usize>::new());
    }
}
