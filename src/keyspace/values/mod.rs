//! Collections as entries hold them: what can be asked of one, and how it is changed through the gate.
//!
//! A value has one of three forms, which commands need not know: records or integers in the entry's own block, or a large structure that the entry
//! owns ([`Root`]). Each type has a view to read ([`Fields`]) and one to change ([`FieldsMut`]), both over all forms.
//!
//! Which encoding Redis would name for a value is another question, and has nothing to do with the form. Each change says how far the value has come
//! since it was made, its level; it never goes back but for lists ([`Level`]).

pub mod assembly;
#[cfg(test)]
mod deadline_tests;
mod draws;
mod elements;
pub mod exchange;
mod exchange_streams;
mod fields;
mod members;
mod scores;
mod sources;

pub use draws::chosen_ranks;
pub use elements::{Elements, ElementsMut, End};
pub use fields::{Fields, FieldsMut, Hint};
pub use members::{Members, MembersMut};
pub use scores::{LexEnd, LexRange, ScoreRange, Scores, ScoresMut, entry_of_scores};
pub use sources::Source;

use super::collection::stream::Stream;
use super::collection::{
    ByPosition, ByScore, Field, Integers, Order, Packed, Place, Shape, SortedSet, Splice, Tree, element, text,
};
use super::entry::{Entry, EntryRef};
use super::large::LeafGate;
use super::partition::Partition;
use super::root::{Body, Root, ValueLimits};
use super::table::Position;
use super::{KeyHasher, Keyspace, Site};
use crate::storage::Kind;
use crate::storage::encoding::{push_varint, take_varint};

/// How far a value has come from the first encoding that Redis would have given it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// `listpack`; of a set `intset`.
    First = 0,
    /// `hashtable` or `skiplist`.
    Table = 1,
}

impl Level {
    /// The level with this number.
    pub fn of(number: u8) -> Level {
        match number {
            0 => Level::First,
            _ => Level::Table,
        }
    }

    /// A score as Redis would keep it: a listpack has zero without a sign.
    fn stored(self, score: f64) -> f64 {
        if self == Level::Table { score } else { score + 0.0 }
    }
}

/// The form of a collection.
#[derive(Clone, Copy)]
pub enum Form<'a> {
    Packed(Packed<'a>),
    Integers(Integers<'a>),
    Root(&'a Root),
}

impl<'a> Form<'a> {
    /// The form of the collection that an entry holds.
    #[inline]
    pub fn of(entry: EntryRef<'a>) -> Form<'a> {
        if let Some(root) = entry.root() {
            return Form::Root(root);
        }
        Form::of_bytes(entry.value())
    }

    /// The form of a small collection.
    #[inline]
    fn of_bytes(value: &'a [u8]) -> Form<'a> {
        Integers::of(value).map_or(Form::Packed(Packed::of(value)), Form::Integers)
    }

    /// How many elements there are.
    pub fn len(self) -> usize {
        match self {
            Form::Packed(packed) => packed.count(),
            Form::Integers(integers) => integers.count(),
            Form::Root(root) => root.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn level(self) -> Level {
        match self {
            Form::Packed(packed) => Level::of(packed.level()),
            Form::Integers(integers) => Level::of(integers.level()),
            Form::Root(root) => Level::of(root.level),
        }
    }
}

/// The name of the encoding that Redis would have for a collection.
pub fn encoding_name(entry: EntryRef<'_>) -> &'static str {
    let form = Form::of(entry);
    match (entry.kind(), form.level()) {
        (Kind::Stream, _) => "stream",
        (Kind::List, _) => "quicklist",
        (Kind::Set, Level::First) => "intset",
        (_, Level::First) => "listpack",
        (Kind::SortedSet, Level::Table) => "skiplist",
        (_, Level::Table) => "hashtable",
    }
}

/// When the earliest element that has a deadline is due, or before, in Unix milliseconds; `i64::MAX` for never.
pub(super) fn due_ms(entry: EntryRef<'_>) -> i64 {
    match Form::of(entry) {
        Form::Root(root) => root.due_ms(),
        Form::Packed(packed) if entry.kind() == Kind::Hash => {
            let records = packed.spots_of_hash(Shape::FieldAndValue).map(|spot| packed.record(spot));
            records.map(super::collection::due_of).min().unwrap_or(i64::MAX)
        }
        _ => i64::MAX,
    }
}

/// The entry of a value as a snapshot holds it.
///
/// # Errors
/// If a collection is not as it was written.
pub fn load(
    keyspace: &Keyspace,
    key: &[u8],
    kind: Kind,
    is_large: bool,
    value: &[u8],
) -> Result<Entry, &'static str> {
    if kind.is_string() {
        return Ok(Entry::new(key, value).with_kind(kind));
    }
    let mut entry = if is_large {
        let root = Root::decode(kind, value, keyspace.hasher(), &keyspace.limits())?;
        Entry::with_root(key, kind, Box::new(root))
    } else {
        check_small(kind, value)?;
        Entry::new(key, value).with_kind(kind)
    };
    let timed = due_ms(entry.view()) < i64::MAX;
    entry.view_mut().set_timed(timed);
    Ok(entry)
}

/// What a value holds, whatever its form, to be compared with another: the same for equal values. The root stands for the value where there is one.
pub fn content(kind: Kind, value: &[u8], root: Option<&Root>) -> Vec<u8> {
    if kind.is_string() {
        return [&[Kind::String as u8], value].concat();
    }
    let mut encoded = Vec::new();
    match root {
        Some(root) => root.encode(kind, &mut encoded),
        None => encode_small(kind, value, &mut encoded),
    }
    content_of_encoded(kind, &encoded)
}

/// The [`content`] of a large collection of which this is what [`Root::encode`] writes.
pub fn content_of_encoded(kind: Kind, encoded: &[u8]) -> Vec<u8> {
    let comparable = if kind == Kind::Stream { comparable_stream(encoded) } else { None };
    let mut whole = [&[kind as u8], comparable.as_deref().unwrap_or(encoded)].concat();
    if matches!(kind, Kind::Hash | Kind::Set) {
        sort_records(kind, &mut whole);
    }
    whole
}

/// An encoded stream without what differs between two that hold the same.
fn comparable_stream(encoded: &[u8]) -> Option<Vec<u8>> {
    let mut rest = encoded.get(1..)?;
    take_varint(&mut rest)?;
    let mut out = encoded[..encoded.len() - rest.len()].to_vec();
    Stream::decode(rest).ok()?.encode_comparable(&mut out);
    Some(out)
}

/// A [`content`] without the elements whose time has come at `now_ms`; `None` if none is left.
pub fn content_at(content: &[u8], now_ms: i64) -> Option<Vec<u8>> {
    let kind = Kind::from_bits(*content.first()?);
    if kind != Kind::Hash {
        return Some(content.to_vec());
    }
    let (mut rest, mut records, mut count) = (content.get(2..)?, Vec::new(), 0);
    take_varint(&mut rest)?;
    while !rest.is_empty() {
        let (record, behind) = rest.split_at(Shape::FieldAndValue.len_of(rest).clamp(1, rest.len()));
        if super::collection::due_of(record) > now_ms {
            records.extend_from_slice(record);
            count += 1;
        }
        rest = behind;
    }
    let mut left = content[..2].to_vec();
    push_varint(&mut left, count);
    left.extend(records);
    Some(left).filter(|_| count > 0)
}

/// The entry of a value with this [`content`]; a collection is a large one.
///
/// # Errors
/// If that is no content.
pub fn of_content(keyspace: &Keyspace, key: &[u8], content: &[u8]) -> Result<Entry, &'static str> {
    let (kind, value) = content.split_first().ok_or("nothing is no content")?;
    let kind = Kind::from_bits(*kind);
    load(keyspace, key, kind, !kind.is_string(), value)
}

/// A small collection as [`Root::encode`] would write it.
fn encode_small(kind: Kind, value: &[u8], out: &mut Vec<u8>) {
    let form = Form::of_bytes(value);
    out.push(form.level() as u8);
    push_varint(out, form.len() as u64);
    match form {
        Form::Packed(packed) => out.extend_from_slice(packed.records()),
        // As other sets have them, in which a number of one digit is a string.
        Form::Integers(integers) => {
            integers
                .iter()
                .for_each(|integer| text::push(out, itoa::Buffer::new().format(integer).as_bytes()));
        }
        Form::Root(_) => {}
    }
    debug_assert!(kind != Kind::Stream, "a stream has no small form");
}

/// Gives the records of a hash or a set behind their head another order, which depends on nothing but them.
fn sort_records(kind: Kind, whole: &mut Vec<u8>) {
    let mut rest = &whole[2..];
    let Some(_) = take_varint(&mut rest) else { return };
    let start = whole.len() - rest.len();
    let shape = if kind == Kind::Hash { Shape::FieldAndValue } else { Shape::Member };
    let mut records = Vec::new();
    while !rest.is_empty() {
        let (record, behind) = rest.split_at(shape.len_of(rest).clamp(1, rest.len()));
        records.push(record.to_vec());
        rest = behind;
    }
    records.sort_unstable();
    whole.truncate(start);
    whole.extend(records.concat());
}

/// Whether bytes are a small collection of this kind.
fn check_small(kind: Kind, value: &[u8]) -> Result<(), &'static str> {
    const WRONG: &str = "a small collection has other elements than it says";
    if kind == Kind::Stream {
        return Err("a stream has no small form");
    }
    if let Some(integers) = Integers::of(value) {
        return if kind == Kind::Set && integers.is_whole() { Ok(()) } else { Err(WRONG) };
    }
    let packed = Packed::checked(value).ok_or(WRONG)?;
    let found = match kind {
        Kind::Hash => packed.spots_of_hash(Shape::FieldAndValue).count(),
        Kind::Set => packed.spots_of_hash(Shape::Member).count(),
        Kind::SortedSet => packed.spots(&ByScore).count(),
        _ => packed.iter(&ByPosition).filter(|record| element::is_whole(record)).count(),
    };
    if found == packed.count() && found > 0 { Ok(()) } else { Err(WRONG) }
}

/// Elements that were taken out because their time had come.
#[derive(Default)]
pub struct Taken {
    /// Their names, one behind the other, and where each ends.
    names: Vec<u8>,
    ends: Vec<usize>,
    /// There are more.
    pub is_rest: bool,
}

impl Taken {
    fn push(&mut self, record: &[u8]) {
        let name = Field::read(record, Shape::Member).name;
        self.names.extend_from_slice(name.bytes(&mut itoa::Buffer::new()));
        self.ends.push(self.names.len());
    }

    pub fn count(&self) -> usize {
        self.ends.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.names[start..*end])
    }
}

/// Takes fields out of a hash whose time has come ([`FieldsMut::take_due`]). The entry is filed for those that are left: for what the budget did
/// not reach at once. A hash without fields is left for the caller to remove.
pub(super) fn take_due(
    partition: &mut Partition,
    site: Site<'_>,
    position: Position,
    budget: &mut usize,
) -> Taken {
    let hash = site.hash(partition.entry(position).key());
    let mut fields = FieldsMut(Edit::new(partition, site, position, hash));
    let taken = fields.take_due(site.now_ms, budget);
    fields.0.settle_deadlines();
    taken
}

/// A collection in a table, to be changed. Everything goes through the gate of its partition.
pub struct Edit<'p, 'k> {
    partition: &'p mut Partition,
    site: Site<'k>,
    position: Position,
    /// The key's.
    hash: u64,
}

impl<'p, 'k> Edit<'p, 'k> {
    /// The collection at a position; `hash` is its key's.
    pub fn new(partition: &'p mut Partition, site: Site<'k>, position: Position, hash: u64) -> Self {
        Edit { partition, site, position, hash }
    }

    pub fn entry(&self) -> EntryRef<'_> {
        self.partition.entry(self.position)
    }

    pub fn form(&self) -> Form<'_> {
        Form::of(self.entry())
    }

    pub fn keyspace(&self) -> &'k Keyspace {
        self.site.keyspace
    }

    pub fn limits(&self) -> ValueLimits {
        self.site.keyspace.limits()
    }

    /// Replaces some bytes of a small collection.
    pub fn splice(&mut self, splice: &Splice<'_>) {
        self.partition.splice(self.site, self.position, splice);
    }

    /// Replaces all bytes of a small collection.
    pub fn set_bytes(&mut self, value: &[u8]) {
        let kind = self.entry().kind();
        self.partition.set_value(self.site, self.position, value, kind);
    }

    /// Makes it a large one.
    pub fn set_root(&mut self, root: Root) {
        self.partition.set_root(self.site, self.position, Box::new(root));
    }

    fn root_mut(&mut self) -> Option<(&mut Root, LeafGate<'k>)> {
        self.partition.root_mut(self.site, self.position)
    }

    /// The tree of a large list, set or hash, to be changed; `None` of another form.
    pub fn tree_mut(&mut self) -> Option<TreeMut<'_, 'k>> {
        let (root, gate) = self.root_mut()?;
        match &mut root.body {
            Body::Tree(tree) => Some(TreeMut { tree, gate }),
            Body::SortedSet(_) | Body::Stream(_) => None,
        }
    }

    /// A large sorted set, to be changed; `None` of another form.
    pub fn sorted_set_mut(&mut self) -> Option<SortedSetMut<'_, 'k>> {
        let hasher = self.site.keyspace.hasher();
        let (root, gate) = self.root_mut()?;
        match &mut root.body {
            Body::SortedSet(set) => Some(SortedSetMut { set, hasher, gate }),
            Body::Tree(_) | Body::Stream(_) => None,
        }
    }

    /// The stream, to be changed, with what captures the leaves of its entries before; `None` of another form.
    pub fn stream_mut(&mut self) -> Option<(&mut Stream, LeafGate<'k>)> {
        let (root, gate) = self.root_mut()?;
        match &mut root.body {
            Body::Stream(stream) => Some((stream, gate)),
            Body::Tree(_) | Body::SortedSet(_) => None,
        }
    }

    /// Says that it has come at least so far.
    pub fn raise(&mut self, level: Level) {
        if self.form().level() >= level {
            return;
        }
        match self.form() {
            Form::Root(_) => {
                if let Some((root, _)) = self.root_mut() {
                    root.level = level as u8;
                }
            }
            Form::Packed(packed) => {
                let none = Splice {
                    level: level as u8,
                    ..packed.remove(Packed::EMPTY.len(), Packed::EMPTY.len(), 0)
                };
                self.splice(&none);
            }
            Form::Integers(integers) => {
                let none = integers.raise(level as u8);
                self.splice(&none);
            }
        }
    }

    /// An element has got this deadline, in Unix milliseconds.
    pub fn note_deadline(&mut self, at_ms: i64) {
        self.partition.note_element_deadline(self.site, self.position, self.hash, at_ms);
    }

    /// Files it anew for its elements' deadlines, when some are gone.
    fn settle_deadlines(&mut self) {
        self.partition.file_elements(self.site, self.position, self.hash);
    }

    /// Makes a collection of records in the order of the type a large one.
    fn grow<O: Order>(&mut self, order: &O, place: impl Fn(&mut Body, &O, &[u8])) {
        let Form::Packed(packed) = self.form() else { return };
        let mut root = Root::new(self.entry().kind(), packed.level(), &self.limits());
        packed.iter(order).for_each(|record| place(&mut root.body, order, record));
        self.set_root(root);
    }
}

/// A tree in a value, to be changed. The running snapshot sees each leaf as it was before.
pub struct TreeMut<'t, 'k> {
    tree: &'t mut Tree,
    gate: LeafGate<'k>,
}

impl std::ops::Deref for TreeMut<'_, '_> {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        self.tree
    }
}

impl TreeMut<'_, '_> {
    /// [`Tree::insert`].
    pub fn insert<O: Order>(&mut self, order: &O, place: &Place, record: &[u8]) {
        self.tree.insert(order, &mut self.gate, place, record);
    }

    /// [`Tree::replace`].
    pub fn replace<O: Order>(&mut self, order: &O, place: &Place, record: &[u8]) {
        self.tree.replace(order, &mut self.gate, place, record);
    }

    /// [`Tree::remove`].
    pub fn remove<O: Order>(&mut self, order: &O, place: &Place, count: usize) -> usize {
        self.tree.remove(order, &mut self.gate, place, count)
    }

    /// [`Tree::retain`].
    pub fn retain<O: Order>(
        &mut self,
        order: &O,
        place: &Place,
        is_wanted: impl FnMut(&[u8]) -> bool,
    ) -> usize {
        self.tree.retain(order, &mut self.gate, place, is_wanted)
    }

    /// [`Tree::remove_ranks`].
    pub fn remove_ranks<O: Order>(&mut self, order: &O, start: usize, count: usize) {
        self.tree.remove_ranks(order, &mut self.gate, start, count);
    }

    /// [`Tree::take_due`].
    pub fn take_due<O: Order>(&mut self, order: &O, place: &Place, now_ms: i64, see: impl FnMut(&[u8])) {
        self.tree.take_due(order, &mut self.gate, place, now_ms, see);
    }
}

/// A sorted set in a value, to be changed. The running snapshot sees each leaf as it was before.
pub struct SortedSetMut<'t, 'k> {
    set: &'t mut SortedSet,
    hasher: &'k KeyHasher,
    gate: LeafGate<'k>,
}

impl std::ops::Deref for SortedSetMut<'_, '_> {
    type Target = SortedSet;

    fn deref(&self) -> &SortedSet {
        self.set
    }
}

impl SortedSetMut<'_, '_> {
    /// [`SortedSet::update`].
    pub fn update(&mut self, member: &[u8], decide: impl FnOnce(Option<f64>) -> Option<f64>) -> Option<f64> {
        self.set.update(self.hasher, &mut self.gate, member, decide)
    }

    /// [`SortedSet::remove`].
    pub fn remove(&mut self, member: &[u8]) -> Option<f64> {
        self.set.remove(self.hasher, &mut self.gate, member)
    }

    /// [`SortedSet::remove_ranks`].
    pub fn remove_ranks(&mut self, start: usize, count: usize) {
        self.set.remove_ranks(self.hasher, &mut self.gate, start, count);
    }
}

/// Two iterators of the same things.
pub(super) enum Either<A, B> {
    Small(A),
    Large(B),
}

impl<T, A: Iterator<Item = T>, B: Iterator<Item = T>> Iterator for Either<A, B> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        match self {
            Either::Small(small) => small.next(),
            Either::Large(large) => large.next(),
        }
    }
}
