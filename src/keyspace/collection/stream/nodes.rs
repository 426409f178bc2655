//! Where Redis would divide a stream.
//!
//! Redis keeps entries in nodes: listpacks in a radix tree. What `MAXLEN ~`, `MINID ~` and XINFO STREAM answer follows from how many entries and bytes
//! a node may have (`stream-node-max-entries`, `stream-node-max-bytes`), also from entries that were deleted, which Redis only marks. So a stream has
//! books of the nodes that Redis would have, some 0.5 bytes an entry; the entries lie elsewhere. Files in Redis's format have a listpack a node, too.

use std::cmp::Ordering;

use super::super::order::{Index, Order};
use super::super::tree::{Limits, NoCapture, Tree};
use super::id::Id;
use crate::base::number::parse_i64;

const NODE_BYTES: usize = 48;
/// What Redis takes for a limit of 0 bytes, and the most that an entry may have.
pub const LISTPACK_BYTES_MAX: u64 = 1 << 30;

/// How large a node gets, as the directives say; 0 is without limit.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    pub entries: u64,
    pub bytes: u64,
}

impl NodeLimits {
    /// The defaults of the directives.
    pub const USUAL: NodeLimits = NodeLimits { entries: 100, bytes: 4096 };
}

/// One of Redis's nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Node {
    /// The id that it began with; that entry may be gone.
    pub first: Id,
    /// The last id that it got; that entry may be gone, too.
    pub last: Id,
    /// Entries that are there.
    pub live: u32,
    /// Entries that are not, and that Redis would only have marked.
    pub deleted: u32,
    /// Bytes of the listpack without the two numbers above.
    pub bytes: u32,
    /// Of the names of its first entry, which others share.
    pub names_hash: u32,
}

impl Node {
    fn to_record(self) -> [u8; NODE_BYTES] {
        let mut record = [0; NODE_BYTES];
        record[..16].copy_from_slice(&self.first.to_bytes());
        record[16..32].copy_from_slice(&self.last.to_bytes());
        let numbers = [self.live, self.deleted, self.bytes, self.names_hash];
        for (place, number) in record[32..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        record
    }

    fn from_record(record: &[u8]) -> Node {
        let id =
            |at: usize| record.get(at..).and_then(|bytes| bytes.first_chunk()).copied().unwrap_or_default();
        let number = |at: usize| {
            record.get(at..).and_then(|bytes| bytes.first_chunk()).copied().map_or(0, u32::from_le_bytes)
        };
        Node {
            first: Id::from_bytes(id(0)),
            last: Id::from_bytes(id(16)),
            live: number(32),
            deleted: number(36),
            bytes: number(40),
            names_hash: number(44),
        }
    }
}

/// Nodes by their first ids.
#[derive(Clone, Copy)]
struct ByFirst;

impl Order for ByFirst {
    type Probe<'p> = Id;
    const INDEX: Index = Index::Fixed(NODE_BYTES);

    fn len_of(&self, _records: &[u8]) -> usize {
        NODE_BYTES
    }

    fn key_of(&self, record: &[u8]) -> u64 {
        Node::from_record(record).first.ms
    }

    fn key(&self, probe: Id) -> u64 {
        probe.ms
    }

    fn compare(&self, probe: Id, record: &[u8]) -> Ordering {
        probe.cmp(&Node::from_record(record).first)
    }
}

/// What an entry would take in a listpack.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub fields: usize,
    /// Bytes of all strings as they are.
    pub strings: u64,
    /// What names and values take.
    pub names: u64,
    pub values: u64,
    pub names_hash: u32,
}

impl Cost {
    /// Counts a field.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        self.fields += 1;
        self.strings += (name.len() + value.len()) as u64;
        self.names += string_bytes(name);
        self.values += string_bytes(value);
    }
}

/// See the module's text.
#[derive(Clone)]
pub struct Nodes {
    /// All but the last one, which changes with each entry.
    closed: Tree,
    last: Option<Node>,
}

impl Nodes {
    pub fn new(limits: Limits) -> Nodes {
        Nodes { closed: Tree::new(limits, 0), last: None }
    }

    pub fn len(&self) -> usize {
        self.closed.len() + usize::from(self.last.is_some())
    }

    pub fn owned_bytes(&self) -> usize {
        self.closed.owned_bytes()
    }

    /// An entry is added at the end.
    pub fn add(&mut self, id: Id, cost: &Cost, limits: NodeLimits) {
        let open = self.last.filter(|node| has_room(node, cost, limits));
        let mut node = match open {
            Some(node) => node,
            None => {
                let master = integer_bytes(cost.fields as i64) + cost.names + integer_bytes(0);
                let bytes = LISTPACK_FRAME_BYTES + master;
                self.push(Node {
                    first: id,
                    last: id,
                    live: 0,
                    deleted: 0,
                    bytes: bytes as u32,
                    names_hash: cost.names_hash,
                })
            }
        };
        let shares = node.names_hash == cost.names_hash;
        let own_names = if shares { 0 } else { integer_bytes(cost.fields as i64) + cost.names };
        // Flags, both parts of the id, and the number of strings and numbers, for the way back.
        let parts = cost.fields as i64 + 3 + if shares { 0 } else { cost.fields as i64 + 1 };
        let delta = |own: u64, first: u64| integer_bytes(own.wrapping_sub(first) as i64);
        let head = integer_bytes(2) + delta(id.ms, node.first.ms) + delta(id.seq, node.first.seq);
        let bytes = head + own_names + cost.values + integer_bytes(parts);
        node.bytes = node.bytes.saturating_add(bytes as u32);
        node.live += 1;
        node.last = id;
        self.last = Some(node);
    }

    /// Begins a node behind the others.
    pub fn push(&mut self, node: Node) -> Node {
        if let Some(full) = self.last.replace(node) {
            let end = self.closed.place_at(self.closed.len());
            self.closed.insert(&ByFirst, &mut NoCapture, &end, &full.to_record());
        }
        node
    }

    /// An entry is taken out. Its node goes with the last one that it has.
    pub fn remove(&mut self, id: Id) {
        if let Some(last) = self.last.as_mut().filter(|last| last.first <= id) {
            if last.live > 1 {
                (last.live, last.deleted) = (last.live - 1, last.deleted.saturating_add(1));
                return;
            }
            self.drop_last();
            return;
        }
        let place = match self.closed.find(&ByFirst, id) {
            Ok(place) => place,
            Err(mut place) => {
                if !self.closed.step_back(&mut place) {
                    return;
                }
                place
            }
        };
        let Some(record) = self.closed.record(&ByFirst, &place) else { return };
        let node = Node::from_record(record);
        if node.live > 1 {
            let node = Node { live: node.live - 1, deleted: node.deleted.saturating_add(1), ..node };
            self.closed.replace(&ByFirst, &mut NoCapture, &place, &node.to_record());
        } else {
            self.closed.remove(&ByFirst, &mut NoCapture, &place, 1);
        }
    }

    fn drop_last(&mut self) {
        self.last = None;
        if let Some(before) = self.closed.len().checked_sub(1) {
            let place = self.closed.place_at(before);
            self.last = self.closed.record(&ByFirst, &place).map(Node::from_record);
            self.closed.remove(&ByFirst, &mut NoCapture, &place, 1);
        }
    }

    pub fn last(&self) -> Option<Node> {
        self.last
    }

    pub fn first(&self) -> Option<Node> {
        self.closed.record(&ByFirst, &self.closed.place_at(0)).map(Node::from_record).or(self.last)
    }

    /// The first node goes, with all that it has.
    pub fn drop_first(&mut self) {
        if self.closed.is_empty() {
            self.last = None;
        } else {
            self.closed.remove(&ByFirst, &mut NoCapture, &self.closed.place_at(0), 1);
        }
    }

    /// So many entries of the first node are gone. It stays, even if it has none.
    pub fn take_from_first(&mut self, count: u32) {
        let Some(node) = self.first() else { return };
        let deleted = node.deleted.saturating_add(count);
        let node = Node { live: node.live.saturating_sub(count), deleted, ..node };
        if self.closed.is_empty() {
            self.last = Some(node);
        } else {
            let place = self.closed.place_at(0);
            self.closed.replace(&ByFirst, &mut NoCapture, &place, &node.to_record());
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Node> {
        self.closed.iter_from(&ByFirst, 0).map(Node::from_record).chain(self.last)
    }

    /// How many nodes Redis's radix tree of them has. It looks at each of ours.
    pub fn radix_nodes(&self) -> usize {
        let keys: Vec<[u8; 16]> = self.iter().map(|node| node.first.to_bytes()).collect();
        if keys.is_empty() { 1 } else { radix_nodes(&keys, 0) }
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        self.closed.check(&ByFirst)?;
        if self.last.is_none() && !self.closed.is_empty() {
            return Err(String::from("there is no last node"));
        }
        let mut before = None;
        for node in self.iter() {
            if node.last < node.first || before.is_some_and(|last| last >= node.first) {
                return Err(format!("{node:?} lies in the one before"));
            }
            before = Some(node.last);
        }
        Ok(())
    }
}

/// Nodes below a place in a radix tree of keys of one length: a run of bytes that all share is one node, and so are a place where they part, and a key's end.
fn radix_nodes(keys: &[[u8; 16]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return 0 };
    if keys.len() == 1 {
        return if depth == first.len() { 1 } else { 2 };
    }
    let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
    let parting = depth + shared;
    let below: usize =
        keys.chunk_by(|a, b| a[parting] == b[parting]).map(|part| radix_nodes(part, parting + 1)).sum();
    usize::from(shared > 0) + 1 + below
}

/// Whether Redis would put one more entry into a node.
fn has_room(node: &Node, cost: &Cost, limits: NodeLimits) -> bool {
    let most = match limits.bytes {
        0 => LISTPACK_BYTES_MAX,
        bytes => bytes.min(LISTPACK_BYTES_MAX),
    };
    let bytes =
        u64::from(node.bytes) + integer_bytes(i64::from(node.live)) + integer_bytes(i64::from(node.deleted));
    let count = u64::from(node.live) + u64::from(node.deleted);
    bytes + cost.strings < most && (limits.entries == 0 || count < limits.entries)
}

/// The head and the last byte of a listpack.
const LISTPACK_FRAME_BYTES: u64 = 7;

/// What an integer takes in a listpack.
fn integer_bytes(integer: i64) -> u64 {
    match integer {
        0..=127 => 2,
        -4096..=4095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// What a string takes in a listpack.
fn string_bytes(bytes: &[u8]) -> u64 {
    if let Some(integer) = parse_i64(bytes) {
        return integer_bytes(integer);
    }
    let len = bytes.len() as u64;
    let own = match len {
        0..64 => 1 + len,
        64..4096 => 2 + len,
        _ => 5 + len,
    };
    // Its length again behind it, seven bits a byte.
    let back = match own {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    own + back
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are what redis-server 7.0.15 says of such streams (XINFO STREAM).
    #[test]
    fn the_radix_tree_has_as_many_nodes_as_in_redis() {
        let nodes = |ids: &[Id]| {
            let mut nodes = Nodes::new(Limits::USUAL);
            let one = NodeLimits { entries: 1, bytes: 0 };
            ids.iter().for_each(|id| nodes.add(*id, &Cost::default(), one));
            (nodes.len(), nodes.radix_nodes())
        };
        let ids = |pairs: &[(u64, u64)]| pairs.iter().map(|(ms, seq)| Id::new(*ms, *seq)).collect::<Vec<_>>();
        assert_eq!(nodes(&[]), (0, 1));
        assert_eq!(nodes(&ids(&[(1, 1)])), (1, 2));
        assert_eq!(nodes(&ids(&[(1, 1), (1, 2)])), (2, 4));
        assert_eq!(nodes(&ids(&[(1, 1), (1, 2), (1, 300)])), (3, 7));
        assert_eq!(nodes(&ids(&[(1, 1), (2, 1), (300, 1), (70_000, 0)])), (4, 12));
        let now = 1_790_000_000_000;
        assert_eq!(
            nodes(&ids(&[(now, 0), (now + 1, 0), (now + 1, 1), (now + 500, 0), (now + 100_500, 0)])),
            (5, 14)
        );
        let far = [(0, 1), (0, 256), (1, 0), (256, 0), (65_536, 65_536), (u64::MAX, u64::MAX)];
        assert_eq!(nodes(&ids(&far)), (6, 19));
    }

    #[test]
    fn strings_take_in_a_listpack_what_redis_gives_them() {
        for (text, bytes) in
            [("", 2), ("a", 3), ("7", 2), ("-7", 3), ("4096", 4), ("99999999999", 10), ("007", 5)]
        {
            assert_eq!(string_bytes(text.as_bytes()), bytes, "{text}");
        }
        for (len, bytes) in
            [(63, 65), (64, 67), (125, 128), (126, 130), (4095, 4099), (4096, 4103), (16_378, 16_386)]
        {
            assert_eq!(string_bytes(&vec![b'x'; len]), bytes, "{len}");
        }
    }
}
