//! DEBUG DIGEST and DIGEST-VALUE: 40 hexadecimal digits that are equal exactly when the content is.
//!
//! The sums are those of Redis, so that a digest here can be compared with one there. Two operations on a sum of 20 bytes: *add*
//! combines it with the SHA-1 of some bytes by exclusive or, so that order does not matter; *chain* adds and then replaces the
//! sum by its own SHA-1, so that it does. Checked against redis-server 7.0.15 in the tests below.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::command::cx::{Cx, Outcome};
use crate::command::walk::each_entry;
use crate::keyspace::EntryRef;

/// How Redis numbers the type of strings.
const STRING_TYPE: u32 = 0;
/// What stands for the deadline of a volatile key, whatever it is.
const VOLATILE: &[u8] = b"!!expire!!";

#[derive(Clone, Copy, Default)]
struct Sum([u8; 20]);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.combine(Sum(Sha1::digest(bytes).into()));
    }

    fn chain(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn combine(&mut self, other: Sum) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine ^= theirs;
        }
    }

    fn chain_value(&mut self, value: &[u8], volatile: bool) {
        self.chain(&STRING_TYPE.to_be_bytes());
        self.chain(value);
        if volatile {
            self.add(VOLATILE);
        }
    }

    fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn of_entry(entry: EntryRef<'_>) -> Sum {
    let mut sum = Sum::default();
    sum.chain(entry.key());
    sum.chain_value(entry.value(), entry.expire_at_ms().is_some());
    sum
}

pub fn of_everything(cx: &mut Cx<'_, '_>) -> Outcome {
    let (mut sums, now_ms) = (BTreeMap::<usize, Sum>::new(), cx.now_ms());
    let databases = 0..cx.services().keyspace.databases();
    each_entry(cx, databases, |database, entry| {
        if !entry.is_expired(now_ms) {
            sums.entry(database).or_default().add(&of_entry(entry).0);
        }
    });
    let mut all = Sum::default();
    for (database, keys) in sums {
        all.chain(&(database as u32).to_be_bytes());
        all.combine(keys);
    }
    cx.reply.simple(&all.text());
    Ok(())
}

pub fn of_values(cx: &mut Cx<'_, '_>) -> Outcome {
    cx.reply.array(cx.args.len() - 2);
    for index in 2..cx.args.len() {
        let key = cx.services().keyspace.key(cx.args.at(index));
        super::lock(cx, key);
        let mut sum = Sum::default();
        // The lock goes before the record of a reclaimed key would be appended.
        if let Some(position) = cx.peek(key) {
            let entry = cx.entry(key, position);
            sum.chain_value(entry.value(), entry.expire_at_ms().is_some());
        }
        cx.reply.simple(&sum.text());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::Entry;

    #[test]
    fn digests_are_those_of_redis() {
        let mut value = Sum::default();
        value.chain_value(b"b", false);
        assert_eq!(value.text(), "b78559cd22bce6e6df712eb99ce7f3b08e8f8f1f");
        let mut all = Sum::default();
        all.chain(&0u32.to_be_bytes());
        all.add(&of_entry(Entry::new(b"a", b"b").view()).0);
        assert_eq!(all.text(), "479783d7290f02957dfbe3408a858ba13eea1709");
    }
}
