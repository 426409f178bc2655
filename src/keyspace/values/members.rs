//! The members of a set: integers, or names as a hash has them, without values.

use std::ops::ControlFlow;

use super::draws::chosen_ranks;
use super::fields::with_room;
use super::{Edit, Either, Fields, FieldsMut, Form, Hint, Level};
use crate::base::number::parse_i64;
use crate::base::random::Random;
use crate::keyspace::collection::{ByHash, Field, Integers, NoCapture, Packed, Text, text};
use crate::keyspace::root::Body;
use crate::keyspace::{EntryRef, Keyspace, Kind, Root};

/// No member has a deadline.
const AT_ANY_TIME: i64 = i64::MIN;

/// A set, to be read.
#[derive(Clone, Copy)]
pub enum Members<'a> {
    Integers(Integers<'a>),
    Named(Fields<'a>),
}

impl<'a> Members<'a> {
    /// The set that an entry holds.
    pub fn of(keyspace: &'a Keyspace, entry: EntryRef<'a>) -> Members<'a> {
        match Form::of(entry) {
            Form::Integers(integers) => Members::Integers(integers),
            _ => Members::Named(Fields::of(keyspace, entry)),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Members::Integers(integers) => integers.count(),
            Members::Named(names) => names.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, member: &[u8]) -> bool {
        self.contains_near(member, &mut Hint::default())
    }

    /// [`Members::contains`] of several, one after the other.
    pub fn contains_near(&self, member: &[u8], hint: &mut Hint) -> bool {
        match self {
            Members::Integers(integers) => {
                parse_i64(member).is_some_and(|integer| integers.search(integer).is_ok())
            }
            Members::Named(names) => names.get_near(member, hint).is_some(),
        }
    }

    /// All members: ascending of integers, in the order in which they came of other small sets, in any order of large ones.
    pub fn iter(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        match self {
            Members::Integers(integers) => Either::Small(integers.iter().map(Text::Integer)),
            Members::Named(names) => Either::Large(names.iter().map(|field| field.name)),
        }
    }

    /// The member with this rank in the order of [`Members::iter`].
    pub fn at(&self, rank: usize) -> Option<Text<'a>> {
        match self {
            Members::Integers(integers) => {
                (rank < integers.count()).then(|| Text::Integer(integers.at(rank)))
            }
            Members::Named(names) => names.iter_from(rank).next().map(|field| field.name),
        }
    }

    /// Some member, each as likely as any other.
    pub fn random(&self, random: &mut Random) -> Option<Text<'a>> {
        if self.is_empty() {
            return None;
        }
        self.at(random.below(self.len() as u64) as usize)
    }

    /// So many draws, each of all members, until `see` breaks off.
    pub fn random_repeated(
        &self,
        random: &mut Random,
        count: u64,
        mut see: impl FnMut(Text<'a>) -> ControlFlow<()>,
    ) {
        match self {
            Members::Integers(_) => {
                for _ in 0..count {
                    if self.random(random).is_none_or(|member| see(member).is_break()) {
                        return;
                    }
                }
            }
            Members::Named(names) => {
                names.random_repeated(AT_ANY_TIME, random, count, |field| see(field.name));
            }
        }
    }

    /// So many different members, of which there are at least as many; each choice is as likely as any other.
    pub fn random_distinct(&self, random: &mut Random, count: usize, mut see: impl FnMut(Text<'a>)) {
        match self {
            Members::Integers(integers) => {
                for rank in chosen_ranks(integers.count(), count, random) {
                    see(Text::Integer(integers.at(rank)));
                }
            }
            Members::Named(names) => {
                names.random_distinct(AT_ANY_TIME, random, count, |field| see(field.name))
            }
        }
    }

    /// [`Fields::scan`] of members.
    pub fn scan(&self, place: u64, count: usize, mut see: impl FnMut(Text<'a>) -> bool) -> Option<u64> {
        match self {
            Members::Integers(integers) => {
                let _ = integers.iter().all(|integer| see(Text::Integer(integer)));
                None
            }
            Members::Named(names) => names.scan(place, count, |field| see(field.name)),
        }
    }
}

/// Gives the record of a member, which takes no memory of the request's own.
fn with_record<T>(member: &[u8], use_it: impl FnOnce(&[u8]) -> T) -> T {
    with_room(|record| {
        Field::push(record, member, None, None);
        use_it(record)
    })
}

/// A set in a table, to be changed. One without members is left for the caller to remove.
pub struct MembersMut<'p, 'k> {
    fields: FieldsMut<'p, 'k>,
}

impl<'p, 'k> MembersMut<'p, 'k> {
    pub fn new(edit: Edit<'p, 'k>) -> Self {
        MembersMut { fields: FieldsMut(edit) }
    }

    /// The set as it is now.
    pub fn view(&self) -> Members<'_> {
        match self.edit().form() {
            Form::Integers(integers) => Members::Integers(integers),
            _ => Members::Named(self.fields.view()),
        }
    }

    fn edit(&self) -> &Edit<'p, 'k> {
        &self.fields.0
    }

    fn edit_mut(&mut self) -> &mut Edit<'p, 'k> {
        &mut self.fields.0
    }

    fn order(&self) -> ByHash<'k> {
        super::fields::order(self.edit().keyspace().hasher(), Kind::Set)
    }

    /// Adds a member; says whether it is new. Redis makes a table of a set of more integers than `integers_max`, or with anything else in it.
    pub fn add(&mut self, member: &[u8], integers_max: u64) -> bool {
        let form = self.edit().form();
        let level = form.level();
        let integer = match form {
            Form::Packed(packed) if packed.count() > 0 => None,
            Form::Root(_) if level > Level::First => None,
            _ => parse_i64(member),
        };
        let is_new = match (form, integer) {
            (Form::Root(_), _) => self.add_to_tree(member),
            (Form::Packed(_), None) => self.add_to_packed(member),
            (_, Some(integer)) => self.add_integer(integer, member),
            (Form::Integers(_), None) => {
                self.leave_integers(member.len());
                self.add(member, integers_max)
            }
        };
        if is_new && level == Level::First && (integer.is_none() || self.view().len() as u64 > integers_max) {
            self.edit_mut().raise(Level::Table);
        }
        is_new
    }

    fn add_to_tree(&mut self, member: &[u8]) -> bool {
        let order = self.order();
        let edit = self.edit_mut();
        let Form::Root(root) = edit.form() else { return false };
        let Some(Err(place)) = root.tree().map(|tree| tree.find(&order, order.name(member))) else {
            return false;
        };
        if let Some(mut tree) = edit.tree_mut() {
            with_record(member, |record| tree.insert(&order, &place, record));
        }
        true
    }

    fn add_to_packed(&mut self, member: &[u8]) -> bool {
        let order = self.order();
        let edit = self.edit_mut();
        let Form::Packed(packed) = edit.form() else { return false };
        if packed.find_name(&order, member).is_some() {
            return false;
        }
        let is_added = with_record(member, |record| {
            let Form::Packed(packed) = edit.form() else { return false };
            let len = edit.entry().value().len();
            let splice = packed.insert(len, record);
            let is_small = edit.limits().is_small(usize::from(splice.count), splice.len_after(len));
            if is_small {
                edit.splice(&splice);
            }
            is_small
        });
        if is_added {
            return true;
        }
        self.grow();
        self.add_to_tree(member)
    }

    /// Adds an integer to a set of integers, or to one that is empty.
    fn add_integer(&mut self, integer: i64, member: &[u8]) -> bool {
        let Form::Integers(set) = self.edit().form() else {
            with_room(|value| {
                Integers::push(value, 0, std::iter::once(integer));
                self.edit_mut().set_bytes(value);
            });
            return true;
        };
        let Err(rank) = set.search(integer) else { return false };
        let (count, len) = (set.count() + 1, self.edit().entry().value().len());
        let is_small = |bytes| self.edit().limits().is_small(count, bytes) && u16::try_from(count).is_ok();
        let room = &mut [0; 8];
        match set.insert(rank, integer, room) {
            Some(splice) if is_small(splice.len_after(len)) => self.edit_mut().splice(&splice),
            None if is_small(Integers::bytes_for(count, set.span_with(integer))) => {
                let mut value = Vec::new();
                set.push_with(&mut value, rank, integer);
                self.edit_mut().set_bytes(&value);
            }
            _ => {
                self.grow();
                return self.add_to_tree(member);
            }
        }
        true
    }

    /// Makes a set of integers one like others, small or large, which gets a member of this length next.
    fn leave_integers(&mut self, len: usize) {
        let Form::Integers(integers) = self.edit().form() else { return };
        let mut value = Packed::EMPTY.to_vec();
        integers
            .iter()
            .for_each(|integer| text::push(&mut value, itoa::Buffer::new().format(integer).as_bytes()));
        let (count, level) = (integers.count(), Level::Table);
        if self.edit().limits().is_small(count + 1, value.len() + len) {
            value[..2].copy_from_slice(&(count as u16).to_le_bytes());
            value[2] = level as u8;
            self.edit_mut().set_bytes(&value);
        } else {
            self.grow();
        }
    }

    /// Makes a small set a large one.
    fn grow(&mut self) {
        let (order, form) = (self.order(), self.edit().form());
        let mut root = Root::new(Kind::Set, form.level() as u8, &self.edit().limits());
        let Body::Tree(tree) = &mut root.body else { return };
        let (digits, record) = (&mut itoa::Buffer::new(), &mut Vec::new());
        for member in self.view().iter() {
            let member = member.bytes(digits);
            record.clear();
            Field::push(record, member, None, None);
            if let Err(place) = tree.find(&order, order.name(member)) {
                tree.insert(&order, &mut NoCapture, &place, record);
            }
        }
        self.edit_mut().set_root(root);
    }

    /// Takes a member out; says whether it was there.
    pub fn remove(&mut self, member: &[u8]) -> bool {
        let Form::Integers(integers) = self.edit().form() else { return self.fields.remove(member) };
        let Some(Ok(rank)) = parse_i64(member).map(|integer| integers.search(integer)) else { return false };
        let splice = integers.remove(rank);
        self.edit_mut().splice(&splice);
        true
    }

    /// Takes out the members with these ranks, which ascend.
    pub fn remove_ranks(&mut self, ranks: &[usize]) {
        let order = self.order();
        let mut next = ranks.iter().copied().peekable();
        let mut is_kept = |rank: usize| next.next_if_eq(&rank).is_none();
        match self.edit().form() {
            Form::Integers(integers) => {
                let kept: Vec<i64> = integers
                    .iter()
                    .enumerate()
                    .filter(|(rank, _)| is_kept(*rank))
                    .map(|(_, own)| own)
                    .collect();
                let mut value = Vec::new();
                Integers::push(&mut value, integers.level(), kept.iter().copied());
                if kept.is_empty() {
                    value = Packed::EMPTY.to_vec();
                }
                self.edit_mut().set_bytes(&value);
            }
            Form::Packed(packed) => {
                let mut value = packed.head(packed.count().saturating_sub(ranks.len())).to_vec();
                let kept = packed.iter(&order).enumerate().filter(|(rank, _)| is_kept(*rank));
                kept.for_each(|(_, record)| value.extend_from_slice(record));
                self.edit_mut().set_bytes(&value);
            }
            Form::Root(_) => {
                let Some(mut tree) = self.edit_mut().tree_mut() else { return };
                // From the end, so that those in front keep their ranks.
                ranks.iter().rev().for_each(|rank| tree.remove_ranks(&order, *rank, 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::keyspace::{Entry, KeyHasher, Reclaimer, Site, ValueLimits};

    fn bytes(text: Text<'_>) -> Vec<u8> {
        text.bytes(&mut itoa::Buffer::new()).to_vec()
    }

    fn all(members: Members<'_>) -> BTreeSet<Vec<u8>> {
        let found: Vec<Vec<u8>> = members.iter().map(bytes).collect();
        assert_eq!(found.len(), members.len());
        let distinct: BTreeSet<Vec<u8>> = found.into_iter().collect();
        assert_eq!(distinct.len(), members.len());
        distinct
    }

    /// Runs a test with an empty set in a keyspace whose leaves are this large.
    fn with_set(seed: u64, leaf_bytes: usize, test: impl FnOnce(&mut MembersMut<'_, '_>, &mut Random)) {
        println!("seed {seed}, leaves of {leaf_bytes} bytes");
        let keyspace = Keyspace::new(1, 1, KeyHasher::fixed(seed), Reclaimer::inline(), 0)
            .with_limits(ValueLimits::of_leaves(leaf_bytes));
        let key = keyspace.key(b"set");
        let site = Site { keyspace: &keyspace, database: 0, shard: key.shard, now_ms: 0 };
        let mut shard = keyspace.lock_shard(key.shard);
        let partition = shard.partition_mut(0);
        let entry = Entry::new(key.bytes, &Packed::EMPTY).with_kind(Kind::Set);
        let position = partition.insert(site, key.hash, entry);
        let mut set = MembersMut::new(Edit::new(partition, site, position, key.hash));
        test(&mut set, &mut Random::new(seed));
    }

    /// Of integers alone, of any span; or of anything.
    fn member(random: &mut Random, is_integer: bool) -> Vec<u8> {
        match random.below(4) {
            _ if is_integer => (random.next_u64() as i64 >> (40 + random.below(24))).to_string().into_bytes(),
            0 => random.below(300).to_string().into_bytes(),
            1 => format!("0{}", random.below(300)).into_bytes(),
            2 => vec![b'x'; random.below(200) as usize],
            _ => format!("member:{}", random.below(300)).into_bytes(),
        }
    }

    fn agrees_with_a_tree_set(seed: u64, leaf_bytes: usize) {
        with_set(seed, leaf_bytes, |set, random| {
            let (mut model, integers_max, mut is_table) = (BTreeSet::new(), 200, false);
            // Integers first; in one of three cases forever.
            let mixed_from = [500, 2_000, usize::MAX][random.below(3) as usize];
            for step in 0..4_000 {
                let growing = step / 500 % 2 == 0;
                let member = member(random, step < mixed_from);
                if random.below(4) < if growing { 3 } else { 1 } {
                    is_table |= parse_i64(&member).is_none();
                    assert_eq!(set.add(&member, integers_max), model.insert(member));
                    is_table |= model.len() as u64 > integers_max;
                } else if random.below(20) == 0 {
                    let count = random.below(model.len() as u64 + 1) as usize;
                    let ranks = chosen_ranks(model.len(), count, random);
                    for rank in &ranks {
                        model.remove(&bytes(set.view().at(*rank).expect("there are so many")));
                    }
                    set.remove_ranks(&ranks);
                } else {
                    assert_eq!(set.remove(&member), model.remove(&member));
                }
                let probe = self::member(random, step < mixed_from);
                assert_eq!(set.view().contains(&probe), model.contains(&probe));
                if model.is_empty() {
                    // A key that goes with its last member begins anew.
                    set.edit_mut().set_bytes(&Packed::EMPTY);
                    is_table = false;
                } else {
                    assert_eq!(set.edit().form().level() == Level::Table, is_table, "step {step}");
                }
                if step % 50 == 0 {
                    assert_eq!(all(set.view()), model);
                    if let Form::Root(root) = set.edit().form() {
                        root.tree().expect("a tree").check(&set.order()).expect("it is whole");
                    }
                }
            }
        });
    }

    #[test]
    fn a_set_is_a_tree_set_whatever_its_form() {
        for seed in 0..12 {
            agrees_with_a_tree_set(seed, [64, 300, 4096, 16_384][seed as usize % 4]);
        }
    }

    /// Chi-square of ten counts that should be equal is below 40 but once in a hundred thousand times.
    fn is_uniform(counts: &[u32]) -> bool {
        let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
        counts.iter().map(|count| (f64::from(*count) - mean).powi(2) / mean).sum::<f64>() < 40.0
    }

    /// A way to draw members.
    type Way = fn(Members<'_>, &mut Random, &mut dyn FnMut(Text<'_>));

    #[test]
    fn each_member_is_drawn_as_often_as_any_other_whatever_the_form() {
        for (seed, prefix) in [(1, ""), (2, "name"), (3, "of so many bytes that ten of them are a tree: ")] {
            with_set(seed, 64, |set, random| {
                (0..10).for_each(|number| {
                    set.add(format!("{prefix}{number}").as_bytes(), 512);
                });
                let ways: [Way; 3] = [
                    |set, random, see| see(set.random(random).expect("it is not empty")),
                    |set, random, see| {
                        set.random_repeated(random, 3, |member| {
                            see(member);
                            ControlFlow::Continue(())
                        });
                    },
                    |set, random, see| set.random_distinct(random, 3, see),
                ];
                for way in ways {
                    let mut counts = [0; 10];
                    for _ in 0..3_000 {
                        way(set.view(), random, &mut |member| {
                            let last = bytes(member).last().map_or(0, |digit| usize::from(digit - b'0'));
                            counts[last] += 1;
                        });
                    }
                    assert!(is_uniform(&counts), "{prefix}: {counts:?}");
                }
            });
        }
    }

    #[test]
    fn a_scan_shows_each_member_once_though_others_come_and_go() {
        for leaf_bytes in [64, 4096] {
            with_set(4, leaf_bytes, |set, random| {
                (0..2_000).for_each(|number| {
                    set.add(format!("lasting:{number}").as_bytes(), 512);
                });
                let (mut seen, mut place) = (Vec::new(), Some(0));
                while let Some(at) = place {
                    place = set.view().scan(at, 7, |member| {
                        seen.push(bytes(member));
                        true
                    });
                    for _ in 0..5 {
                        set.add(format!("passing:{}", random.below(500)).as_bytes(), 512);
                        set.remove(format!("passing:{}", random.below(500)).as_bytes());
                    }
                }
                seen.retain(|member| member.starts_with(b"lasting"));
                let distinct: BTreeSet<&Vec<u8>> = seen.iter().collect();
                assert_eq!((seen.len(), distinct.len()), (2_000, 2_000));
            });
        }
    }
}
