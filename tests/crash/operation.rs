//! What a writer does: random changes over few keys, as requests.
//!
//! Pure. Keys come in classes, so that every outcome can be foreseen: `n` holds numbers, `s` strings (deadlines hours away), `e` is
//! ephemeral (deadlines that pass during a round) and only ever replaced or deleted, `a` are accounts whose sum stays 0.

use cloakroom::base::random::Random;

use crate::support::client::request;

/// Accounts that all writers share, in database 0.
pub const SHARED_ACCOUNTS: u64 = 8;

/// One request that changes something.
#[derive(Clone, Debug)]
pub enum Change {
    /// SET, with a time to live in milliseconds.
    Set(String, Vec<u8>, Option<i64>),
    /// INCRBY; INCR where it is 1.
    Add(String, i64),
    Append(String, Vec<u8>),
    Delete(Vec<String>),
    SetMany(Vec<(String, Vec<u8>)>),
    Rename(String, String),
    /// PEXPIRE, or EXPIRE where the milliseconds are whole seconds.
    Expire(String, i64),
    /// GETEX with a time to live in milliseconds, or PERSIST.
    GetExpire(String, Option<i64>),
    /// SETRANGE.
    Overwrite(String, usize, Vec<u8>),
    /// FLUSHDB.
    Flush,
}

/// What is acknowledged, and must survive, as a whole.
#[derive(Clone, Debug)]
pub enum Operation {
    One(Change),
    /// MULTI, changes in the writer's own database, EXEC.
    Transaction(Vec<Change>),
    /// Moves an amount between two shared accounts and counts it for this writer, in one transaction.
    Transfer {
        from: u64,
        to: u64,
        amount: i64,
    },
}

fn bytes(random: &mut Random, length_max: u64) -> Vec<u8> {
    let length = random.below(length_max + 1) as usize;
    (0..length).map(|_| random.next_u64() as u8).collect()
}

fn key(random: &mut Random, class: char, count: u64) -> String {
    format!("{class}{}", random.below(count))
}

fn number_key(random: &mut Random) -> String {
    key(random, 'n', 6)
}

fn string_key(random: &mut Random) -> String {
    key(random, 's', 10)
}

fn ephemeral_key(random: &mut Random) -> String {
    key(random, 'e', 5)
}

/// A deadline that no run of the harness reaches, in milliseconds; in half of the cases whole seconds.
fn far(random: &mut Random) -> i64 {
    let seconds = 20_000 + random.below(20_000) as i64;
    if random.below(2) == 0 { seconds * 1000 } else { seconds * 1000 + 1 + random.below(998) as i64 }
}

fn value(random: &mut Random) -> Vec<u8> {
    // Now and then one that spans several blocks of whatever buffers there are.
    let length_max = if random.below(200) == 0 { 100_000 } else { 600 };
    bytes(random, length_max)
}

impl Change {
    fn random(random: &mut Random) -> Change {
        match random.below(100) {
            0..16 => Change::Set(string_key(random), value(random), None),
            16..24 => Change::Set(string_key(random), value(random), Some(far(random))),
            24..36 => {
                let ttl_ms = 30 + random.below(1500) as i64;
                Change::Set(ephemeral_key(random), value(random), Some(ttl_ms))
            }
            36..40 => Change::Set(number_key(random), random.below(1000).to_string().into_bytes(), None),
            40..54 => Change::Add(number_key(random), 1),
            54..58 => Change::Add(number_key(random), random.below(1000) as i64 - 500),
            58..65 => Change::Append(string_key(random), bytes(random, 60)),
            65..69 => Change::Delete(vec![string_key(random), number_key(random)]),
            69..71 => Change::Delete(vec![ephemeral_key(random)]),
            71..77 => {
                let keys = [string_key(random), string_key(random), ephemeral_key(random)];
                Change::SetMany(keys.into_iter().map(|key| (key, value(random))).collect())
            }
            77..81 => Change::Rename(string_key(random), string_key(random)),
            81..87 => Change::Expire(string_key(random), far(random)),
            87..93 => Change::GetExpire(string_key(random), Some(far(random))),
            93..95 => Change::GetExpire(string_key(random), None),
            _ if random.below(60) == 0 => Change::Flush,
            _ => Change::Overwrite(string_key(random), random.below(300) as usize, bytes(random, 40)),
        }
    }

    fn words(&self) -> Vec<Vec<u8>> {
        let text = |word: &str| word.as_bytes().to_vec();
        let number = |number: i64| number.to_string().into_bytes();
        match self {
            Change::Set(key, value, None) => vec![text("SET"), text(key), value.clone()],
            Change::Set(key, value, Some(ms)) if ms % 1000 == 0 => {
                vec![text("SET"), text(key), value.clone(), text("EX"), number(ms / 1000)]
            }
            Change::Set(key, value, Some(ms)) => {
                vec![text("SET"), text(key), value.clone(), text("PX"), number(*ms)]
            }
            Change::Add(key, 1) => vec![text("INCR"), text(key)],
            Change::Add(key, amount) => vec![text("INCRBY"), text(key), number(*amount)],
            Change::Append(key, tail) => vec![text("APPEND"), text(key), tail.clone()],
            Change::Delete(keys) => {
                std::iter::once(text("DEL")).chain(keys.iter().map(|key| text(key))).collect()
            }
            Change::SetMany(pairs) => {
                let words = pairs.iter().flat_map(|(key, value)| [text(key), value.clone()]);
                std::iter::once(text("MSET")).chain(words).collect()
            }
            Change::Rename(from, to) => vec![text("RENAME"), text(from), text(to)],
            Change::Expire(key, ms) if ms % 1000 == 0 => vec![text("EXPIRE"), text(key), number(ms / 1000)],
            Change::Expire(key, ms) => vec![text("PEXPIRE"), text(key), number(*ms)],
            Change::GetExpire(key, Some(ms)) => vec![text("GETEX"), text(key), text("PX"), number(*ms)],
            Change::GetExpire(key, None) => vec![text("GETEX"), text(key), text("PERSIST")],
            Change::Overwrite(key, offset, bytes) => {
                vec![text("SETRANGE"), text(key), number(*offset as i64), bytes.clone()]
            }
            Change::Flush => vec![text("FLUSHDB")],
        }
    }
}

impl Operation {
    pub fn random(random: &mut Random) -> Operation {
        match random.below(10) {
            0 => {
                let amount = 1 + random.below(100) as i64;
                let mut changes =
                    vec![Change::Add(key(random, 'a', 6), amount), Change::Add(key(random, 'a', 6), -amount)];
                for _ in 0..random.below(3) {
                    let place = random.below(changes.len() as u64 + 1) as usize;
                    changes.insert(place, Change::random(random));
                }
                Operation::Transaction(changes)
            }
            1 => {
                let from = random.below(SHARED_ACCOUNTS);
                let to = (from + 1 + random.below(SHARED_ACCOUNTS - 1)) % SHARED_ACCOUNTS;
                Operation::Transfer { from, to, amount: 1 + random.below(100) as i64 }
            }
            _ => Operation::One(Change::random(random)),
        }
    }

    /// The requests of this operation, and how many replies they get; the last reply is the one that counts.
    pub fn requests(&self, writer: usize) -> (Vec<u8>, usize) {
        let words: Vec<Vec<Vec<u8>>> = match self {
            Operation::One(change) => return (request(&change.words()), 1),
            Operation::Transaction(changes) => changes.iter().map(Change::words).collect(),
            Operation::Transfer { from, to, amount } => {
                let line = |line: String| line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
                vec![
                    line("SELECT 0".to_owned()),
                    line(format!("DECRBY account:{from} {amount}")),
                    line(format!("INCRBY account:{to} {amount}")),
                    line(format!("INCR done:{writer}")),
                    line(format!("SELECT {}", database(writer))),
                ]
            }
        };
        let mut bytes = request(&["MULTI"]);
        words.iter().for_each(|words| bytes.extend(request(words)));
        bytes.extend(request(&["EXEC"]));
        (bytes, words.len() + 2)
    }
}

/// The database that one writer has for itself.
pub fn database(writer: usize) -> usize {
    writer + 1
}
