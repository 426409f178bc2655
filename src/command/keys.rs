//! The keys of a request: where a row says that they are, and what is computed from them, once.
//!
//! [`Keys`] is a key specification as COMMAND INFO shows it. [`Command::found`] turns a row's specifications and a request's arguments
//! into positions and accesses, and [`RequestKeys`] hashes what lies there. Locks, EXEC and COMMAND GETKEYS take it from here, and so must
//! whatever else asks which keys a request uses.

use smallvec::SmallVec;

use super::registry::Command;
use crate::keyspace::{Key, Keyspace, ShardSet};
use crate::resp::Args;

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
    /// Not a flag of the data: the specification may find other keys than the request has (`incomplete`).
    pub const INCOMPLETE: Effect = Effect(32);

    pub const fn and(self, other: Effect) -> Effect {
        Effect(self.0 | other.0)
    }

    pub const fn has(self, other: Effect) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where the search for keys begins; the command's name is argument 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    At(usize),
    /// Behind this word, in any case, which is looked for from argument `from` on; a `from` below 0 counts from the end, -1 being the
    /// last argument, and the search goes backwards.
    Behind {
        word: &'static str,
        from: isize,
    },
    /// No client can tell (`unknown`): what the request says of them, only [`Keys::exact`] knows.
    Unknown,
}

/// How the search goes on. Places count from where it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// To `last`, every `step`-th. A `last` below 0 counts from the request's end, -1 being the last argument; then only the first
    /// `1/limit` of them, if `limit` is above 1 (`STREAMS key key id id`).
    Range { last: isize, step: usize, limit: usize },
    /// As many as the argument `count` says, from `first` on, every `step`-th (`numkeys key key`).
    Counted { count: usize, first: usize, step: usize },
    /// As [`Begin::Unknown`].
    Unknown,
}

/// A key specification.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub begin: Begin,
    pub find: Find,
    pub access: Access,
    pub effect: Effect,
    /// Channels of SSUBSCRIBE and the like: routed by slot, but no keys.
    pub not_key: bool,
    /// What `effect` does not tell, for people; may be empty.
    pub notes: &'static str,
    /// Says what the fields above cannot: where the keys are, or what becomes of them, depends on words of the request.
    pub exact: Option<fn(&Keys, Args<'_>) -> Found>,
}

/// The one key of most commands, which is their first argument: its value is read.
pub const READ_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::ACCESS)];
/// Something is asked of it that its value does not tell.
pub const ASK_KEY: &[Keys] = &[Keys::one(1, Access::ReadOnly, Effect::NONE)];
/// Its value gets new elements.
pub const INSERT_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::INSERT)];
/// Its value gets new elements or changes some, or the key has another property.
pub const UPDATE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::UPDATE)];
/// Its value loses elements.
pub const DELETE_KEY: &[Keys] = &[Keys::one(1, Access::ReadWrite, Effect::DELETE)];
/// Its value is read and changed.
pub const READ_AND_UPDATE_KEY: &[Keys] =
    &[Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::UPDATE))];
/// Its value, or what it loses, is read.
pub const READ_AND_DELETE_KEY: &[Keys] =
    &[Keys::one(1, Access::ReadWrite, Effect::ACCESS.and(Effect::DELETE))];

/// Keys of a request that one specification has found: from `first` up to `end`, every `step`-th argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub first: usize,
    pub end: usize,
    pub step: usize,
    pub access: Access,
    pub effect: Effect,
    /// The database of these keys, where it is not the client's.
    pub database: Option<usize>,
    /// One more database in which keys of these names are used (MOVE).
    pub also_in: Option<usize>,
}

impl Found {
    /// The argument indices.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        (self.first..self.end).step_by(self.step)
    }
}

impl Keys {
    pub const fn one(first: usize, access: Access, effect: Effect) -> Keys {
        Keys::range(first, 0, 1, access, effect)
    }

    /// From `first` to the end, every `step`-th.
    pub const fn to_end(first: usize, step: usize, access: Access, effect: Effect) -> Keys {
        Keys::range(first, -1, step, access, effect)
    }

    /// From `first` to `last`, which counts from there, every `step`-th.
    pub const fn range(first: usize, last: isize, step: usize, access: Access, effect: Effect) -> Keys {
        let find = Find::Range { last, step, limit: 0 };
        Keys { begin: Begin::At(first), find, access, effect, not_key: false, notes: "", exact: None }
    }

    /// The only argument that can be a key, whatever the request is.
    pub fn fixed(&self) -> Option<usize> {
        match (self.begin, self.find) {
            (Begin::At(first), Find::Range { last: 0, .. }) if !self.effect.has(Effect::INCOMPLETE) => {
                Some(first)
            }
            _ => None,
        }
    }

    /// The keys of a request.
    pub fn find(&self, args: Args<'_>) -> Found {
        match self.exact {
            Some(exact) => exact(self, args),
            None => self.declared(args),
        }
    }

    /// What the specification alone says; nothing, where the request is not as it expects.
    pub fn declared(&self, args: Args<'_>) -> Found {
        let (first, end, step) = self.places(args).unwrap_or((0, 0, 1));
        let (access, effect) = (self.access, self.effect);
        Found { first, end, step, access, effect, database: None, also_in: None }
    }

    fn places(&self, args: Args<'_>) -> Option<(usize, usize, usize)> {
        let argc = args.len();
        let begin = match self.begin {
            Begin::At(index) => index,
            Begin::Behind { word, from } => behind(args, word, from)?,
            Begin::Unknown => return None,
        };
        if begin >= argc {
            return None;
        }
        match self.find {
            Find::Range { last, step, limit } => {
                let last = if last < 0 {
                    let open = argc.checked_sub(last.unsigned_abs())?.checked_sub(begin)? + 1;
                    (begin + open / limit.max(1)).checked_sub(1).filter(|last| *last >= begin)?
                } else {
                    begin + last as usize
                };
                (last < argc).then_some((begin, last + 1, step))
            }
            Find::Counted { count, first, step } => {
                let count = crate::base::number::parse_i64(args.get(begin + count)?)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0 && *count <= argc)?;
                let (first, end) = (begin + first, begin + first + (count - 1) * step + 1);
                (end <= argc).then_some((first, end, step))
            }
            Find::Unknown => None,
        }
    }
}

/// The place behind a word, as [`Begin::Behind`] describes it.
fn behind(args: Args<'_>, word: &str, from: isize) -> Option<usize> {
    let is_word = |index: &usize| args.at(*index).eq_ignore_ascii_case(word.as_bytes());
    let argc = args.len();
    let found = if from < 0 {
        (1..=argc.checked_sub(from.unsigned_abs())?).rev().find(is_word)
    } else {
        (from as usize..argc).find(is_word)
    };
    found.map(|index| index + 1)
}

impl Command {
    /// What each specification of the row finds in a request; channels are left out.
    pub fn found<'a>(&self, args: Args<'a>) -> impl Iterator<Item = Found> + use<'a> {
        let keys: &'static [Keys] = self.spec.keys;
        keys.iter().filter(|keys| !keys.not_key).map(move |keys| keys.find(args))
    }
}

/// A key of a request, with what is computed from it.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    pub hash: u64,
    /// Its argument.
    pub position: u32,
    pub slot: u16,
    pub access: Access,
    pub effect: Effect,
    /// Its database, where that is not the client's.
    pub database: Option<u32>,
}

/// All keys of a request, by position. One that is used in two databases is there twice.
#[derive(Debug, Default)]
pub struct RequestKeys(SmallVec<[RequestKey; 4]>);

impl RequestKeys {
    pub fn of(keyspace: &Keyspace, command: &Command, args: Args<'_>) -> RequestKeys {
        let mut keys = SmallVec::new();
        for found in command.found(args) {
            for position in found.positions() {
                let (hash, slot) = keyspace.locate(args.at(position));
                let (access, effect) = (found.access, found.effect);
                let key = |database: Option<usize>| {
                    let database = database.and_then(|database| u32::try_from(database).ok());
                    RequestKey { hash, position: position as u32, slot, access, effect, database }
                };
                keys.push(key(found.database));
                keys.extend(found.also_in.map(|database| key(Some(database))));
            }
        }
        debug_assert!(keys.is_sorted_by_key(|key: &RequestKey| key.position), "{}", command.full_name);
        RequestKeys(keys)
    }

    pub fn iter(&self) -> impl Iterator<Item = &RequestKey> {
        self.0.iter()
    }

    /// The shards that hold them.
    pub fn add_shards(&self, shards: &mut ShardSet) {
        self.0.iter().for_each(|key| shards.add(Keyspace::shard_of_slot(key.slot)));
    }

    /// The argument at `position` as a key, if it is one.
    pub fn at<'a>(&self, position: usize, args: Args<'a>) -> Option<Key<'a>> {
        let keys = &self.0;
        let (first, last) = (keys.first()?.position as usize, keys.last()?.position as usize);
        // They are mostly as far from each other as the first two are, so the first look finds it.
        let expected = position.checked_sub(first)? * (keys.len() - 1) / (last - first).max(1);
        let found = match keys.get(expected) {
            Some(key) if key.position as usize == position => key,
            _ => &keys[keys.binary_search_by_key(&position, |key| key.position as usize).ok()?],
        };
        let shard = Keyspace::shard_of_slot(found.slot);
        Some(Key { bytes: args.at(position), hash: found.hash, shard })
    }
}

/// The keys of the request at hand.
#[derive(Clone, Copy)]
pub enum Located<'a> {
    None,
    /// The only one, and its argument.
    One(usize, Key<'a>),
    Many(&'a RequestKeys),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::COMMANDS;
    use crate::keyspace::{KeyHasher, Reclaimer};
    use crate::resp::ArgRange;

    fn places(keys: Keys, line: &str) -> Vec<usize> {
        let mut start = 0;
        let ranges: Vec<ArgRange> = line
            .split(' ')
            .map(|word| {
                let range = ArgRange { start, len: word.len() as u32 };
                start += word.len() as u32 + 1;
                range
            })
            .collect();
        keys.find(Args::new(line.as_bytes(), &ranges)).positions().collect()
    }

    /// Position and database of each key of a request.
    fn keys_of(line: &str) -> Vec<(u32, Option<u32>)> {
        let keyspace = Keyspace::new(16, 1, KeyHasher::fixed(1), Reclaimer::inline(), 0);
        let (mut at, mut ranges) = (0, Vec::new());
        for word in line.split(' ') {
            ranges.push(ArgRange { start: at, len: word.len() as u32 });
            at += word.len() as u32 + 1;
        }
        let args = Args::new(line.as_bytes(), &ranges);
        let command = COMMANDS.find(args.at(0)).expect("a row");
        let keys = RequestKeys::of(&keyspace, command, args);
        for key in keys.iter() {
            let located = keyspace.key(args.at(key.position as usize));
            assert_eq!((key.hash, Keyspace::shard_of_slot(key.slot)), (located.hash, located.shard));
            assert!(keys.at(key.position as usize, args).is_some());
        }
        keys.iter().map(|key| (key.position, key.database)).collect()
    }

    #[test]
    fn the_keys_of_a_request_say_in_which_databases_they_are() {
        assert_eq!(keys_of("MOVE k 3"), [(1, None), (1, Some(3))]);
        assert_eq!(keys_of("MOVE k x"), [(1, None)]);
        assert_eq!(keys_of("COPY a b DB 2 REPLACE"), [(1, None), (2, Some(2))]);
        assert_eq!(keys_of("COPY a b DB -1"), [(1, None), (2, None)]);
        assert_eq!(keys_of("RENAME a b"), [(1, None), (2, None)]);
    }

    #[test]
    fn ranges_count_from_both_ends() {
        let (access, effect) = (Access::Overwrite, Effect::UPDATE);
        assert_eq!(places(Keys::to_end(1, 2, access, effect), "MSET a 1 b 2"), [1, 3]);
        assert_eq!(places(Keys::one(1, access, effect), "GET a"), [1]);
        assert_eq!(places(Keys::range(1, 1, 1, access, effect), "LCS a b"), [1, 2]);
        assert_eq!(places(Keys::to_end(1, 1, access, effect), "DEL"), Vec::<usize>::new());
        let but_last =
            Keys { find: Find::Range { last: -2, step: 1, limit: 0 }, ..Keys::one(1, access, effect) };
        assert_eq!(places(but_last, "BLPOP a b 0"), [1, 2]);
        assert_eq!(places(but_last, "BLPOP 0"), Vec::<usize>::new());
    }

    #[test]
    fn keys_behind_a_word_are_found_from_either_end() {
        let behind = |word, from, limit| Keys {
            begin: Begin::Behind { word, from },
            ..Keys {
                find: Find::Range { last: -1, step: 1, limit },
                ..Keys::one(1, Access::ReadOnly, Effect::ACCESS)
            }
        };
        assert_eq!(places(behind("STREAMS", 1, 2), "XREAD COUNT 2 streams a b 0 0"), [4, 5]);
        assert_eq!(places(behind("STREAMS", 1, 2), "XREAD COUNT 2"), Vec::<usize>::new());
        assert_eq!(places(behind("KEYS", -2, 0), "MIGRATE h 1 x 0 9 KEYS a b"), [7, 8]);
        assert_eq!(places(behind("KEYS", -2, 0), "MIGRATE h 1 x 0 9 KEYS"), Vec::<usize>::new());
    }

    #[test]
    fn a_count_of_keys_is_believed_only_if_they_are_there() {
        let counted = Keys {
            find: Find::Counted { count: 0, first: 1, step: 1 },
            ..Keys::one(2, Access::ReadOnly, Effect::ACCESS)
        };
        assert_eq!(places(counted, "EVAL script 2 a b arg"), [3, 4]);
        for line in [
            "EVAL script 3 a b",
            "EVAL script 0 a",
            "EVAL script -1 a",
            "EVAL script x a",
            "EVAL script",
            "EVAL script 9223372036854775807 a",
        ] {
            assert_eq!(places(counted, line), Vec::<usize>::new(), "{line}");
        }
    }
}
