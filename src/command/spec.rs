//! What a row of the command table says. From it come arity, key positions and locks, admission, COMMAND's replies, ACL categories
//! and docs/commands.md.

use super::cx::{Cx, Outcome};
pub use super::keys::{Access, Effect, Keys};
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

    /// Ours: it may ask for further keys while it runs (`Cx::further`).
    pub const OPEN_KEYS: Flags = Flags(1 << 31);

    /// Ours, of rows that write: how the write log hears of what they change. `cx.rs` begins with what each means; a row may have several,
    /// where its options decide.
    pub const LOGGED_AS_IT_CAME: Flags = Flags(1 << 33);
    pub const LOGGED_AS_SET: Flags = Flags(1 << 34);
    pub const LOGGED_OTHERWISE: Flags = Flags(1 << 35);
    /// Ours: refused when writes are (PING, so that a health check sees that the server cannot save).
    pub const REFUSED_WITH_WRITES: Flags = Flags(1 << 17);
    /// Ours: an access of a key also where the client's reads leave no trace (TOUCH under CLIENT NO-TOUCH).
    pub const ALWAYS_TOUCHES: Flags = Flags(1 << 36);
    /// Ours: passwords that MONITOR and SLOWLOG do not show. All arguments (AUTH); the two words behind AUTH (HELLO); the word behind AUTH or the two
    /// behind AUTH2 (MIGRATE); the values of secret directives (CONFIG SET).
    pub const SECRET_ARGUMENTS: Flags = Flags(1 << 37);
    pub const SECRET_LOGIN: Flags = Flags(1 << 38);
    pub const SECRET_OPTIONS: Flags = Flags(1 << 39);
    pub const SECRET_VALUES: Flags = Flags(1 << 40);
    /// Ours: `enable-debug-command` says who may use it.
    pub const PROTECTED: Flags = Flags(1 << 41);

    /// Ours: an increment is a floating-point number (COMMAND DOCS).
    pub const FLOAT_INCREMENT: Flags = Flags(1 << 42);
    /// ACL categories `set`, `sortedset` and `list` in place of `keyspace` (SORT).
    pub const SORTS: Flags = Flags(1 << 43);

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

/// The groups of the Redis documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Generic,
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Bitmap,
    HyperLogLog,
    Geo,
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
            Group::Hash => "hash",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
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

/// Counts the required words of a syntax line, of a choice those of its shortest alternative; negative if more may follow.
pub const fn arity(syntax: &str) -> i32 {
    let (words, open_end, _) = required(syntax.as_bytes(), 0);
    if open_end { -words } else { words }
}

/// The words that are required from a place on, up to the end of the choice that it is in, or of the line; whether there may be more; where it ends.
const fn required(bytes: &[u8], mut at: usize) -> (i32, bool, usize) {
    let (mut words, mut in_word, mut open_end) = (0, false, false);
    let mut shortest = i32::MAX;
    while at < bytes.len() {
        match bytes[at] {
            b'[' => {
                open_end = true;
                let mut depth = 1;
                while depth > 0 && at + 1 < bytes.len() {
                    at += 1;
                    depth += match bytes[at] {
                        b'[' => 1,
                        b']' => -1,
                        _ => 0,
                    };
                }
            }
            b'<' => {
                let (inner, is_open, end) = required(bytes, at + 1);
                // One of several is required even if none of them is by itself.
                words += if inner > 0 { inner } else { 1 };
                open_end = open_end || is_open;
                at = end;
            }
            b'>' => break,
            b'|' => {
                open_end = open_end || shortest != i32::MAX && shortest != words;
                shortest = if words < shortest { words } else { shortest };
                (words, in_word) = (0, false);
            }
            b' ' => in_word = false,
            _ => {
                words += if in_word { 0 } else { 1 };
                in_word = true;
            }
        }
        at += 1;
    }
    open_end = open_end || shortest != i32::MAX && shortest != words;
    (if words < shortest { words } else { shortest }, open_end, at)
}

impl CommandSpec {
    /// The gates that must be looked at before this command runs.
    pub fn concerns(&self) -> Gates {
        let mut gates = Gates::PAUSED.and(Gates::MONITORING);
        if !self.flags.has(Flags::NO_AUTH) {
            gates = gates.and(Gates::UNAUTHENTICATED);
        }
        if self.flags.has(Flags::PROTECTED) {
            gates = gates.and(Gates::PROTECTED);
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
        let runs_queue = self.flags.has(Flags::RUNS_QUEUE);
        if !self.flags.has(Flags::LOADING) || runs_queue {
            gates = gates.and(Gates::LOADING);
        }
        if self.flags.has_any(Flags::WRITE.and(Flags::MAY_REPLICATE)) || runs_queue {
            gates = gates.and(Gates::WRITES_REFUSED).and(Gates::LOG_FULL).and(Gates::ENDING);
        }
        if self.flags.has_any(Flags::WRITE.and(Flags::READONLY).and(Flags::MAY_REPLICATE))
            || gates.has(Gates::MONITORED)
            || runs_queue
        {
            gates = gates.and(Gates::DELIVERIES_FULL);
        }
        if self.flags.has(Flags::REFUSED_WITH_WRITES) {
            gates = gates.and(Gates::WRITES_REFUSED);
        }
        if self.flags.has(Flags::DENYOOM) || !self.keys.is_empty() || runs_queue {
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
            (
                "GEOSEARCH key <FROMMEMBER member | FROMLONLAT x y> <BYRADIUS radius <M | KM> | BYBOX x y <M | KM>> [ANY]",
                -7,
            ),
            ("XADD key [<MAXLEN | MINID> threshold] <* | id> field value [field value ...]", -5),
        ] {
            assert_eq!(arity(syntax), want, "{syntax}");
        }
    }
}
