//! The plain model: what keys and strings must do, in the simplest way that can be written down, to hold the real server against.
//!
//! It is a second implementation on purpose and shares no code with the first: a `BTreeMap` for each database, a clock that is told, and
//! replies as bytes in RESP2. A key whose deadline has come is removed before anything looks.

use std::collections::BTreeMap;

#[derive(Clone)]
struct Item {
    value: Vec<u8>,
    expire_at_ms: Option<i64>,
}

/// The databases, and the one that the only client has selected.
pub struct Model {
    databases: Vec<BTreeMap<Vec<u8>, Item>>,
    selected: usize,
    now_ms: i64,
}

/// The farthest deadline, in Unix milliseconds: Cloakroom keeps 48 bits of it, enough until the year 10889. What is later counts as this.
const FARTHEST_MS: i64 = (1 << 48) - 1;

const SYNTAX: &str = "-ERR syntax error\r\n";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range\r\n";
const OVERFLOW: &str = "-ERR increment or decrement would overflow\r\n";
const NO_SUCH_KEY: &str = "-ERR no such key\r\n";
const SAME_OBJECT: &str = "-ERR source and destination objects are the same\r\n";
const NIL: &str = "$-1\r\n";
const OK: &str = "+OK\r\n";

impl Model {
    pub fn new(databases: usize, now_ms: i64) -> Model {
        Model { databases: vec![BTreeMap::new(); databases], selected: 0, now_ms }
    }

    /// Moves the clock.
    pub fn set_now_ms(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.settle_deadlines();
    }

    /// Keys of the selected database, in order.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.databases[self.selected].keys().cloned().collect()
    }

    /// The bytes that answer a request. It knows only requests that the fuzz target makes.
    pub fn answer(&mut self, words: &[Vec<u8>]) -> Vec<u8> {
        let name = text(&words[0]);
        let reply = match name.as_str() {
            "set" => self.set(words),
            "setnx" => self.setnx(words),
            "setex" | "psetex" => self.setex(&name, words),
            "mset" | "msetnx" => self.mset(&name, words),
            "getset" => {
                let old = self.value(&words[1]);
                self.store(&words[1], words[2].clone(), None);
                old
            }
            "get" => self.value(&words[1]),
            "mget" => array(words[1..].iter().map(|key| self.value(key)).collect()),
            "getdel" => {
                let old = self.value(&words[1]);
                self.keyspace().remove(&words[1]);
                old
            }
            "getex" => self.getex(words),
            "strlen" => integer(self.item(&words[1]).map_or(0, |item| item.value.len() as i64)),
            "append" => self.append(words),
            "setrange" => self.setrange(words),
            "getrange" => self.getrange(words),
            "incr" => self.add(&words[1], 1),
            "decr" => self.add(&words[1], -1),
            "incrby" => number(&words[2]).map_or(NOT_AN_INTEGER.into(), |by| self.add(&words[1], by)),
            "decrby" => self.decrby(words),
            "del" | "unlink" => {
                integer(words[1..].iter().filter(|key| self.keyspace().remove(*key).is_some()).count() as i64)
            }
            "exists" | "touch" => {
                integer(words[1..].iter().filter(|key| self.item(key).is_some()).count() as i64)
            }
            "type" => if self.item(&words[1]).is_some() { "+string\r\n" } else { "+none\r\n" }.into(),
            "expire" | "pexpire" | "expireat" | "pexpireat" => self.expire(&name, words),
            "ttl" | "pttl" | "expiretime" | "pexpiretime" => self.time_left(&name, words),
            "persist" => {
                let expire_at_ms = self.keyspace().get_mut(&words[1]).map(|item| item.expire_at_ms.take());
                integer(i64::from(expire_at_ms.flatten().is_some()))
            }
            "rename" | "renamenx" => self.rename(&name, words),
            "copy" => self.copy(words),
            "move" => self.move_key(words),
            "select" => {
                self.selected = index(&words[1]);
                OK.into()
            }
            "swapdb" => {
                self.databases.swap(index(&words[1]), index(&words[2]));
                OK.into()
            }
            "flushdb" => {
                self.keyspace().clear();
                OK.into()
            }
            other => unreachable!("the model has no {other}"),
        };
        self.settle_deadlines();
        reply.0
    }

    fn keyspace(&mut self) -> &mut BTreeMap<Vec<u8>, Item> {
        &mut self.databases[self.selected]
    }

    fn item(&self, key: &[u8]) -> Option<&Item> {
        self.databases[self.selected].get(key)
    }

    fn store(&mut self, key: &[u8], value: Vec<u8>, expire_at_ms: Option<i64>) {
        self.keyspace().insert(key.to_vec(), Item { value, expire_at_ms });
    }

    fn settle_deadlines(&mut self) {
        let now_ms = self.now_ms;
        for keys in &mut self.databases {
            for item in keys.values_mut() {
                item.expire_at_ms = item.expire_at_ms.map(|at| at.min(FARTHEST_MS));
            }
            keys.retain(|_, item| item.expire_at_ms.is_none_or(|at| at > now_ms));
        }
    }

    fn value(&self, key: &[u8]) -> Answer {
        self.item(key).map_or(NIL.into(), |item| bulk(&item.value))
    }

    fn set(&mut self, words: &[Vec<u8>]) -> Answer {
        let options: Vec<String> = words[3..].iter().map(|word| text(word)).collect();
        let has = |name: &str| options.iter().any(|option| option == name);
        let old = self.item(&words[1]).cloned();
        let expire_at_ms = match self.deadline("set", &options) {
            Ok(_) if has("keepttl") => old.as_ref().and_then(|item| item.expire_at_ms),
            Ok(deadline) => deadline,
            Err(error) => return error,
        };
        let refused = has("nx") && old.is_some() || has("xx") && old.is_none();
        let answer = match (has("get"), old, refused) {
            (true, old, _) => old.map_or(NIL.into(), |item| bulk(&item.value)),
            (false, _, true) => NIL.into(),
            (false, _, false) => OK.into(),
        };
        if !refused {
            self.store(&words[1], words[2].clone(), expire_at_ms);
        }
        answer
    }

    /// The deadline that EX, PX, EXAT or PXAT among the options means.
    fn deadline(&self, command: &str, options: &[String]) -> Result<Option<i64>, Answer> {
        let Some(at) = options.iter().position(|word| ["ex", "px", "exat", "pxat"].contains(&word.as_str()))
        else {
            return Ok(None);
        };
        let amount: i64 = options[at + 1].parse().map_err(|_| Answer::from(NOT_AN_INTEGER))?;
        if amount <= 0 {
            return Err(invalid_expire(command));
        }
        let unit = if options[at].starts_with('e') { 1000 } else { 1 };
        let base = if options[at].ends_with("at") { 0 } else { self.now_ms };
        let at_ms = amount.checked_mul(unit).and_then(|ms| ms.checked_add(base));
        at_ms.map(Some).ok_or_else(|| invalid_expire(command))
    }

    fn setnx(&mut self, words: &[Vec<u8>]) -> Answer {
        if self.item(&words[1]).is_some() {
            return integer(0);
        }
        self.store(&words[1], words[2].clone(), None);
        integer(1)
    }

    fn setex(&mut self, name: &str, words: &[Vec<u8>]) -> Answer {
        let unit = if name == "setex" { "ex" } else { "px" };
        match self.deadline(name, &[unit.to_owned(), text(&words[2])]) {
            Ok(deadline) => {
                self.store(&words[1], words[3].clone(), deadline);
                OK.into()
            }
            Err(error) => error,
        }
    }

    fn mset(&mut self, name: &str, words: &[Vec<u8>]) -> Answer {
        let pairs = words[1..].chunks_exact(2);
        if name == "msetnx" && pairs.clone().any(|pair| self.item(&pair[0]).is_some()) {
            return integer(0);
        }
        for pair in pairs {
            self.store(&pair[0], pair[1].clone(), None);
        }
        if name == "mset" { OK.into() } else { integer(1) }
    }

    fn getex(&mut self, words: &[Vec<u8>]) -> Answer {
        let options: Vec<String> = words[2..].iter().map(|word| text(word)).collect();
        let answer = self.value(&words[1]);
        if self.item(&words[1]).is_none() {
            return answer;
        }
        let deadline = match self.deadline("getex", &options) {
            Ok(deadline) => deadline,
            Err(error) => return error,
        };
        let persist = options.iter().any(|option| option == "persist");
        if let Some(item) = self.keyspace().get_mut(&words[1])
            && (persist || deadline.is_some())
        {
            item.expire_at_ms = deadline;
        }
        answer
    }

    fn append(&mut self, words: &[Vec<u8>]) -> Answer {
        let empty = Item { value: Vec::new(), expire_at_ms: None };
        let item = self.keyspace().entry(words[1].clone()).or_insert(empty);
        item.value.extend_from_slice(&words[2]);
        integer(item.value.len() as i64)
    }

    fn setrange(&mut self, words: &[Vec<u8>]) -> Answer {
        let Some(offset) = number(&words[2]) else { return NOT_AN_INTEGER.into() };
        if offset < 0 {
            return "-ERR offset is out of range\r\n".into();
        }
        if words[3].is_empty() {
            return integer(self.item(&words[1]).map_or(0, |item| item.value.len() as i64));
        }
        let (offset, end) = (offset as usize, offset as usize + words[3].len());
        let empty = Item { value: Vec::new(), expire_at_ms: None };
        let value = &mut self.keyspace().entry(words[1].clone()).or_insert(empty).value;
        value.resize(value.len().max(end), 0);
        value[offset..end].copy_from_slice(&words[3]);
        integer(value.len() as i64)
    }

    fn getrange(&mut self, words: &[Vec<u8>]) -> Answer {
        let (Some(start), Some(end)) = (number(&words[2]), number(&words[3])) else {
            return NOT_AN_INTEGER.into();
        };
        let value = self.item(&words[1]).map_or(&[][..], |item| &item.value);
        let len = value.len() as i64;
        let from_end = |at: i64| if at < 0 { (at + len).max(0) } else { at };
        // Both behind the end in the wrong order is nothing, even where each alone would mean the first byte.
        if start < 0 && end < 0 && start > end {
            return bulk(b"");
        }
        let (start, end) = (from_end(start), from_end(end).min(len - 1));
        if len == 0 || start > end { bulk(b"") } else { bulk(&value[start as usize..=end as usize]) }
    }

    fn add(&mut self, key: &[u8], by: i64) -> Answer {
        let old = self.item(key).cloned();
        let (text, expire_at_ms) = old.map_or((b"0".to_vec(), None), |item| (item.value, item.expire_at_ms));
        let Some(old) = number(&text) else { return NOT_AN_INTEGER.into() };
        let Some(sum) = old.checked_add(by) else { return OVERFLOW.into() };
        self.store(key, sum.to_string().into_bytes(), expire_at_ms);
        integer(sum)
    }

    fn decrby(&mut self, words: &[Vec<u8>]) -> Answer {
        match number(&words[2]) {
            None => NOT_AN_INTEGER.into(),
            Some(i64::MIN) => "-ERR decrement would overflow\r\n".into(),
            Some(by) => self.add(&words[1], -by),
        }
    }

    fn expire(&mut self, name: &str, words: &[Vec<u8>]) -> Answer {
        let Some(amount) = number(&words[2]) else { return NOT_AN_INTEGER.into() };
        let unit = if name.starts_with('p') { 1 } else { 1000 };
        let base = if name.ends_with("at") { 0 } else { self.now_ms };
        let Some(at_ms) = amount.checked_mul(unit).and_then(|ms| ms.checked_add(base)) else {
            return invalid_expire(name);
        };
        let conditions: Vec<String> = words[3..].iter().map(|word| text(word)).collect();
        let Some(item) = self.keyspace().get_mut(&words[1]) else { return integer(0) };
        let permitted = conditions.iter().all(|condition| match (condition.as_str(), item.expire_at_ms) {
            ("nx", now) => now.is_none(),
            ("xx", now) => now.is_some(),
            ("gt", now) => now.is_some_and(|now| at_ms > now),
            ("lt", now) => now.is_none_or(|now| at_ms < now),
            _ => false,
        });
        if permitted {
            item.expire_at_ms = Some(at_ms);
        }
        integer(i64::from(permitted))
    }

    fn time_left(&mut self, name: &str, words: &[Vec<u8>]) -> Answer {
        let Some(item) = self.item(&words[1]) else { return integer(-2) };
        let Some(at_ms) = item.expire_at_ms else { return integer(-1) };
        integer(match name {
            "pexpiretime" => at_ms,
            "expiretime" => (at_ms + 500) / 1000,
            "pttl" => at_ms - self.now_ms,
            _ => (at_ms - self.now_ms + 500) / 1000,
        })
    }

    fn rename(&mut self, name: &str, words: &[Vec<u8>]) -> Answer {
        let Some(item) = self.item(&words[1]).cloned() else { return NO_SUCH_KEY.into() };
        if name == "renamenx" && self.item(&words[2]).is_some() {
            return integer(0);
        }
        self.keyspace().remove(&words[1]);
        self.keyspace().insert(words[2].clone(), item);
        if name == "rename" { OK.into() } else { integer(1) }
    }

    fn copy(&mut self, words: &[Vec<u8>]) -> Answer {
        let (mut database, mut replace, mut at) = (self.selected, false, 3);
        while at < words.len() {
            match text(&words[at]).as_str() {
                "replace" => replace = true,
                "db" => {
                    at += 1;
                    database = index(&words[at]);
                }
                _ => return SYNTAX.into(),
            }
            at += 1;
        }
        if database == self.selected && words[1] == words[2] {
            return SAME_OBJECT.into();
        }
        let Some(item) = self.item(&words[1]).cloned() else { return integer(0) };
        let target = &mut self.databases[database];
        if target.contains_key(&words[2]) && !replace {
            return integer(0);
        }
        target.insert(words[2].clone(), item);
        integer(1)
    }

    fn move_key(&mut self, words: &[Vec<u8>]) -> Answer {
        let database = index(&words[2]);
        if database == self.selected {
            return SAME_OBJECT.into();
        }
        if self.databases[database].contains_key(&words[1]) {
            return integer(0);
        }
        let Some(item) = self.keyspace().remove(&words[1]) else { return integer(0) };
        self.databases[database].insert(words[1].clone(), item);
        integer(1)
    }
}

/// Bytes of a reply.
struct Answer(Vec<u8>);

impl From<&str> for Answer {
    fn from(text: &str) -> Answer {
        Answer(text.as_bytes().to_vec())
    }
}

fn integer(value: i64) -> Answer {
    Answer(format!(":{value}\r\n").into_bytes())
}

fn bulk(bytes: &[u8]) -> Answer {
    Answer([format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat())
}

fn array(elements: Vec<Answer>) -> Answer {
    let mut bytes = format!("*{}\r\n", elements.len()).into_bytes();
    elements.iter().for_each(|element| bytes.extend_from_slice(&element.0));
    Answer(bytes)
}

fn invalid_expire(command: &str) -> Answer {
    format!("-ERR invalid expire time in '{command}' command\r\n").as_str().into()
}

/// An integer in the only form that Redis takes: no sign but minus, no leading zeros, nothing around it.
fn number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.parse().ok().filter(|value: &i64| value.to_string() == text)
}

fn index(word: &[u8]) -> usize {
    number(word)
        .and_then(|index| usize::try_from(index).ok())
        .expect("the fuzz target makes only good indices")
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(word).to_ascii_lowercase()
}
