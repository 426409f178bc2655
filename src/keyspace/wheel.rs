//! The expiry wheel of one shard and database: a hierarchical timing wheel of 8-byte records.
//!
//! A record is the upper half of a key's hash and the tick at which somebody must look at that key; it owns nothing and may
//! be stale. Level `n` has 64 slots of `64^n` ticks each. A record lies on the level of the highest group of six bits in
//! which its tick differs from the wheel's own; when the wheel reaches a slot of a higher level, that slot's records move
//! down. Slots are chains of chunks (`chain.rs`), so that a record costs little more than its 8 bytes.
//!
//! Ticks have 64 bits, but a record keeps the lower 32: all records of a wheel lie within 2^31 ticks of its own tick, which says the
//! rest. Where time jumps further (a server that boots in 1970 and then learns the date), what the wheel holds is due at once.
//!
//! Sliding a deadline does not touch the wheel: `partition.rs` keeps the earliest filed tick in the entry and files the key
//! again when that tick comes and the deadline has moved on.

use std::mem;

use super::chain::Chain;

/// Milliseconds a tick: how late, at the most, an idle server looks at a key that is due.
pub const TICK_MS: i64 = 16;

/// How far ahead a record is filed at most: half a year. Who has a later deadline is looked at then, and filed again.
pub(super) const HORIZON_TICKS: u64 = 1 << 30;
/// How far the ticks of a wheel's records reach from its own. Time may pass while nobody expires anything, therefore not [`HORIZON_TICKS`].
const SPAN_TICKS: u64 = i32::MAX as u64;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;

/// A look at one key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The upper 32 bits of the key's hash.
    pub prefix: u32,
    /// The lower half of the tick.
    pub tick: u32,
}

/// See the module's text. `now` is the next tick that is not yet processed.
pub struct Wheel {
    now: u64,
    len: usize,
    /// Slots that hold records, those that a sweep has kept included.
    occupied: [u64; LEVELS],
    slots: Slots,
    sweep: Sweep,
    /// The wheel before a jump: all that it holds is due, in no order.
    overtaken: Option<Box<Wheel>>,
}

/// The slots of all levels. A level has memory for the slots in which something lies: there is a wheel for each shard, and most of them have few records.
#[derive(Default)]
struct Slots([Option<Box<Level>>; LEVELS]);

#[derive(Default)]
struct Level {
    /// A bit for each slot that has a chain.
    present: u64,
    /// Their chains, in the order of the slots; none is empty.
    chains: Vec<Chain>,
}

impl Level {
    /// Where the chain of a slot is, or would have to be.
    fn find(&self, slot: usize) -> Result<usize, usize> {
        let before = (self.present & ((1 << slot) - 1)).count_ones() as usize;
        if self.present >> slot & 1 == 1 { Ok(before) } else { Err(before) }
    }

    fn put(&mut self, slot: usize, chain: Chain) {
        if let Err(place) = self.find(slot) {
            self.chains.insert(place, chain);
            self.present |= 1 << slot;
        }
    }
}

impl Slots {
    /// The chain of a slot; `None` if nothing lies in it.
    fn chain(&self, level: usize, slot: usize) -> Option<&Chain> {
        let level = self.0[level].as_ref()?;
        level.find(slot).ok().map(|place| &level.chains[place])
    }

    fn push(&mut self, level: usize, slot: usize, record: Record) {
        let level = self.0[level].get_or_insert_default();
        match level.find(slot) {
            Ok(place) => level.chains[place].push(record),
            Err(_) => {
                let mut chain = Chain::default();
                chain.push(record);
                level.put(slot, chain);
            }
        }
    }

    /// Lets a slot in which nothing lies have a chain.
    fn put(&mut self, level: usize, slot: usize, chain: Chain) {
        if !chain.is_empty() {
            self.0[level].get_or_insert_default().put(slot, chain);
        }
    }

    /// Takes the last record of a slot.
    fn pop(&mut self, number: usize, slot: usize) -> Option<Record> {
        let level = self.0[number].as_mut()?;
        let place = level.find(slot).ok()?;
        let record = level.chains[place].pop();
        if level.chains[place].is_empty() {
            level.chains.remove(place);
            level.present &= !(1 << slot);
            if level.present == 0 {
                self.0[number] = None;
            }
        }
        record
    }

    fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.0.iter().flatten().flat_map(|level| level.chains.iter())
    }
}

/// How far the search for stale records has come: in which slot it is, counted level by level, and what it has kept of that. The slot has these
/// records too; they stand behind those that are still to be looked at.
#[derive(Default)]
struct Sweep {
    step: usize,
    kept: Chain,
}

impl Wheel {
    /// An empty wheel that has processed everything before `now`.
    pub fn new(now: u64) -> Wheel {
        let (slots, sweep) = (Slots::default(), Sweep::default());
        Wheel { now, len: 0, occupied: [0; LEVELS], slots, sweep, overtaken: None }
    }

    /// Records in the wheel, stale ones included.
    pub fn len(&self) -> usize {
        self.len + self.overtaken.as_ref().map_or(0, |old| old.len())
    }

    /// Files a key for a tick that is at most [`HORIZON_TICKS`] away from the present; if it is past, the key comes due at once.
    pub fn file(&mut self, prefix: u32, tick: u64) {
        if tick > self.now + SPAN_TICKS {
            self.jump(tick - HORIZON_TICKS);
        }
        self.place(Record { prefix, tick: tick as u32 });
    }

    /// The whole tick of a record that lies in the wheel.
    fn tick_of(&self, record: Record) -> u64 {
        self.now.saturating_add_signed(i64::from(record.tick.wrapping_sub(self.now as u32) as i32))
    }

    fn place(&mut self, record: Record) {
        let tick = self.tick_of(record).max(self.now);
        let level = ((63 - (tick ^ self.now | 1).leading_zeros()) / SLOT_BITS) as usize;
        // The last level goes round: of the next 64 slots none means two times.
        let level = level.min(LEVELS - 1);
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.len += 1;
        self.slots.push(level, slot, record);
    }

    /// The next record whose tick is at or before `target`, in order of ticks; `None` when the wheel has caught up.
    /// Each unit of `budget` pays for moving or delivering one record; at 0 the rest waits for the next call.
    pub fn pop_due(&mut self, target: u64, budget: &mut usize) -> Option<Record> {
        if target > self.now + SPAN_TICKS {
            self.jump(target);
        }
        if *budget > 0 && self.overtaken.is_some() {
            *budget -= 1;
            return self.pop_overtaken();
        }
        while *budget > 0 && self.now <= target {
            let slot = self.now as usize % SLOTS;
            if let Some(record) = self.pop(0, slot) {
                *budget -= 1;
                return Some(record);
            }
            let Some((level, slot, start)) = self.next_slot() else {
                self.now = target + 1;
                return None;
            };
            if start > target {
                self.now = target + 1;
                return None;
            }
            self.now = start;
            while level > 0 && *budget > 0 {
                let Some(record) = self.pop(level, slot) else { break };
                *budget -= 1;
                self.place(record);
            }
        }
        None
    }

    /// Goes on at a tick so far away that records filed there and those of before are more than a span apart.
    fn jump(&mut self, now: u64) {
        let old = std::mem::replace(self, Wheel::new(now));
        if old.len() > 0 {
            self.overtaken = Some(Box::new(old));
        }
    }

    fn pop_overtaken(&mut self) -> Option<Record> {
        let old = self.overtaken.as_mut()?;
        let record = old.pop_any();
        if old.len() == 0 {
            self.overtaken = None;
        }
        record
    }

    fn pop_any(&mut self) -> Option<Record> {
        if self.overtaken.is_some() {
            return self.pop_overtaken();
        }
        let level = (0..LEVELS).find(|level| self.occupied[*level] != 0)?;
        self.pop(level, self.occupied[level].trailing_zeros() as usize)
    }

    /// The first tick at which [`Wheel::pop_due`] has something to do; `None` for an empty wheel.
    pub fn next_tick(&self) -> Option<u64> {
        if self.overtaken.is_some() {
            return Some(self.now);
        }
        self.next_slot().map(|(_, _, start)| start)
    }

    /// The occupied slot that comes first: its level, index and first tick (not before `now`). A higher level wins a tie,
    /// because what it holds may belong in front.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let mut first = None;
        for level in 0..LEVELS {
            if self.occupied[level] == 0 {
                continue;
            }
            let current = (self.now >> (SLOT_BITS * level as u32)) as u32 % SLOTS as u32;
            let distance = self.occupied[level].rotate_right(current).trailing_zeros();
            let slot = (current + distance) as usize % SLOTS;
            let start = self.start(level, slot);
            if first.is_none_or(|(_, _, earliest)| start <= earliest) {
                first = Some((level, slot, start));
            }
        }
        first
    }

    /// The first tick of a slot that holds records, not before `now`.
    fn start(&self, level: usize, slot: usize) -> u64 {
        let shift = SLOT_BITS * level as u32;
        let current = self.now >> shift;
        let ahead = (slot as u64).wrapping_sub(current) % SLOTS as u64;
        ((current + ahead) << shift).max(self.now)
    }

    fn pop(&mut self, level: usize, slot: usize) -> Option<Record> {
        if self.slots.chain(level, slot).is_none() && self.sweep.step == level * SLOTS + slot {
            self.slots.put(level, slot, mem::take(&mut self.sweep.kept));
        }
        let record = self.slots.pop(level, slot);
        // A sweep may have taken the last one without looking further.
        let is_empty = self.slots.chain(level, slot).is_none();
        if is_empty && (self.sweep.kept.is_empty() || self.sweep.step != level * SLOTS + slot) {
            self.vacate(level, slot);
        }
        self.len -= usize::from(record.is_some());
        record
    }

    /// Records whose tick is at or before `target`, stale ones included. It looks only at slots that begin by then, and no further once it has
    /// counted `enough`.
    pub fn due(&self, target: u64, enough: usize) -> usize {
        let mut due = self.overtaken.as_ref().map_or(0, |old| old.len());
        for (level, slot) in (0..Self::SWEEP_STEPS).map(|step| (step / SLOTS, step % SLOTS)) {
            if due < enough && self.occupied[level] >> slot & 1 == 1 && self.start(level, slot) <= target {
                due += self.count(self.slots.chain(level, slot), target, enough - due);
                if self.sweep.step == level * SLOTS + slot {
                    due += self.count(Some(&self.sweep.kept), target, enough.saturating_sub(due));
                }
            }
        }
        due
    }

    /// Records of a chain whose tick is at or before `target`; no further once there are `enough`.
    fn count(&self, chain: Option<&Chain>, target: u64, enough: usize) -> usize {
        let records = chain.into_iter().flat_map(Chain::iter);
        records.filter(|record| self.tick_of(*record) <= target).take(enough).count()
    }

    /// All records, from one of the slots on, stale ones included.
    pub fn records(&self, from: usize) -> impl Iterator<Item = Record> {
        let steps = (0..Self::SWEEP_STEPS).map(move |step| from.wrapping_add(step) % Self::SWEEP_STEPS);
        let in_use = steps.filter(|step| self.occupied[step / SLOTS] >> (step % SLOTS) & 1 == 1);
        let chains = in_use.flat_map(|step| {
            let kept = (self.sweep.step == step).then_some(&self.sweep.kept);
            [self.slots.chain(step / SLOTS, step % SLOTS), kept].into_iter().flatten()
        });
        // Of a wheel before a jump the first slots will do: it is about to be emptied.
        let overtaken = self.overtaken.iter().flat_map(|old| old.slots.chains());
        chains.chain(overtaken).flat_map(Chain::iter)
    }

    /// Drops records that `keep` does not want. Each unit of `budget` pays for a look at one record; the next call goes on behind it. A turn
    /// ends at the last slot in use, or when the budget is used up.
    pub fn sweep(&mut self, budget: &mut usize, keep: impl Fn(Record) -> bool) {
        while *budget > 0 {
            let (level, slot) = (self.sweep.step / SLOTS, self.sweep.step % SLOTS);
            let Some(record) = self.slots.pop(level, slot) else {
                if self.sweep.kept.is_empty() {
                    self.vacate(level, slot);
                } else {
                    self.slots.put(level, slot, mem::take(&mut self.sweep.kept));
                }
                self.sweep.step = (self.sweep.step + 1..Self::SWEEP_STEPS)
                    .find(|step| self.occupied[step / SLOTS] >> (step % SLOTS) & 1 == 1)
                    .unwrap_or_default();
                if self.sweep.step == 0 {
                    return;
                }
                continue;
            };
            *budget -= 1;
            if keep(record) {
                self.sweep.kept.push(record);
            } else {
                self.len -= 1;
            }
        }
    }

    /// Nothing lies in a slot any more.
    fn vacate(&mut self, level: usize, slot: usize) {
        self.occupied[level] &= !(1 << slot);
    }

    const SWEEP_STEPS: usize = LEVELS * SLOTS;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, target: u64) -> Vec<u64> {
        let mut budget = usize::MAX;
        std::iter::from_fn(|| wheel.pop_due(target, &mut budget))
            .map(|record| u64::from(record.tick))
            .collect()
    }

    #[test]
    fn records_come_due_on_their_tick_and_not_before() {
        let mut wheel = Wheel::new(100);
        let ticks = [100, 101, 163, 164, 200, 4_096, 5_000, 300_000, 20_000_000, HORIZON_TICKS];
        for tick in ticks {
            wheel.file(0, tick);
        }
        for tick in ticks {
            assert_eq!(due(&mut wheel, tick - 1), Vec::<u64>::new(), "nothing before {tick}");
            assert_eq!(due(&mut wheel, tick), [tick]);
        }
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn random_records_all_come_in_time_whatever_the_steps() {
        let (mut wheel, mut state, mut now) = (Wheel::new(1), 99u64, 1u64);
        let mut model: Vec<u64> = Vec::new();
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let tick = now + (state >> 33) % (1 << ((state >> 20) % 24));
            wheel.file(0, tick);
            model.push(tick);
            if state >> 60 == 0 {
                now += (state >> 40) % 5000;
                let mut fired = due(&mut wheel, now);
                fired.sort_unstable();
                model.sort_unstable();
                let rest = model.partition_point(|tick| *tick <= now);
                assert_eq!(fired, model.drain(..rest).collect::<Vec<_>>());
            }
        }
        assert_eq!(wheel.len(), model.len());
    }

    #[test]
    fn a_budget_stops_the_work_and_nothing_is_lost() {
        let mut wheel = Wheel::new(1);
        for i in 0..1000 {
            wheel.file(i, 70);
        }
        let (mut got, mut calls) = (0, 0);
        while wheel.len() > 0 {
            let mut budget = 10;
            while wheel.pop_due(70, &mut budget).is_some() {
                got += 1;
            }
            calls += 1;
        }
        assert_eq!(got, 1000);
        assert!(calls >= 200, "moving down a level costs budget too");
    }

    #[test]
    fn records_that_are_due_can_be_counted() {
        let mut wheel = Wheel::new(1);
        for i in 0..1000 {
            wheel.file(i, u64::from(1 + i * 3));
        }
        assert_eq!(
            (
                wheel.due(0, usize::MAX),
                wheel.due(1, usize::MAX),
                wheel.due(300, usize::MAX),
                wheel.due(u64::MAX, usize::MAX)
            ),
            (0, 1, 100, 1000)
        );
    }

    #[test]
    fn a_sweep_drops_what_nobody_wants() {
        let mut wheel = Wheel::new(1);
        for i in 0..10_000 {
            wheel.file(i, u64::from(1 + i * 3));
        }
        let mut budget = usize::MAX;
        wheel.sweep(&mut budget, |record| record.prefix % 2 == 0);
        assert_eq!((usize::MAX - budget, wheel.len()), (10_000, 5000), "it looks at each record once");
        assert_eq!(due(&mut wheel, 40_000).len(), 5000);
    }

    #[test]
    fn a_wheel_goes_on_after_its_32_bits_have_come_round() {
        let mut state = 7u64;
        // Near 20 years: ticks of 32 bits last for two.
        let mut now = u64::from(u32::MAX) - 5_000_000;
        let (mut wheel, mut model) = (Wheel::new(now), Vec::new());
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let tick = now + (state >> 33) % (HORIZON_TICKS >> ((state >> 20) % 30));
            wheel.file(0, tick);
            model.push(tick);
            if state >> 60 == 0 {
                now += (state >> 20) % 60_000_000;
                let mut fired = due(&mut wheel, now);
                model.sort_unstable();
                let rest = model.partition_point(|tick| *tick <= now);
                let mut expected: Vec<u64> = model.drain(..rest).map(|tick| tick & 0xffff_ffff).collect();
                expected.sort_unstable();
                fired.sort_unstable();
                assert_eq!(fired, expected);
            }
        }
        assert!(now > 6 << 32, "{now}");
        assert_eq!(wheel.len(), model.len());
    }

    #[test]
    fn a_jump_of_half_a_century_makes_everything_due_and_nothing_late() {
        let day = 24 * 3600 * 1000 / TICK_MS as u64;
        let (mut wheel, today) = (Wheel::new(5), 20_000 * day);
        for i in 0..100 {
            wheel.file(i, 10 + u64::from(i) * day);
        }
        assert_eq!(wheel.due(9, usize::MAX), 0);
        // One who comes before the wheel has caught up.
        wheel.file(500, today + 20);
        assert_eq!((wheel.len(), wheel.next_tick()), (101, Some(wheel.now)));
        let mut budget = 60;
        assert_eq!(std::iter::from_fn(|| wheel.pop_due(today, &mut budget)).count(), 60);
        wheel.file(501, today + HORIZON_TICKS);
        budget = 1000;
        assert_eq!(std::iter::from_fn(|| wheel.pop_due(today + 19, &mut budget)).count(), 40);
        assert_eq!(due(&mut wheel, today + 20).len(), 1);
        assert_eq!(due(&mut wheel, today + HORIZON_TICKS).len(), 1);
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn a_sweep_of_a_full_slot_takes_many_turns_between_which_records_come_and_go() {
        let mut wheel = Wheel::new(1);
        let (mut filed, mut delivered, mut tick) = (0u32, Vec::new(), 1u64);
        while tick < 6_000 {
            // Most lie far ahead, in one slot, to which the wheel comes in the middle of a sweep.
            for each in [5_000 + u64::from(filed % 50), tick + u64::from(filed % 90)] {
                wheel.file(filed, each);
                filed += 1;
            }
            let mut budget = 7;
            let before = wheel.len();
            wheel.sweep(&mut budget, |record| record.prefix % 3 != 0);
            assert!(before - wheel.len() <= 7 - budget);
            if filed % 16 == 0 {
                let counted = wheel.due(tick, usize::MAX);
                let mut budget = usize::MAX;
                let mut due = Vec::new();
                while let Some(record) = wheel.pop_due(tick, &mut budget) {
                    assert!(u64::from(record.tick) <= tick);
                    due.push(record.prefix);
                }
                assert_eq!(counted, due.len());
                delivered.extend(due);
                tick += 5;
            }
        }
        delivered.extend(due_prefixes(&mut wheel));
        assert_eq!((wheel.len(), wheel.occupied), (0, [0; LEVELS]));
        delivered.sort_unstable();
        let mut wanted = delivered.clone();
        wanted.dedup();
        assert_eq!(wanted, delivered, "none is delivered twice");
        wanted.retain(|prefix| prefix % 3 != 0);
        assert_eq!(wanted, (0..filed).filter(|prefix| prefix % 3 != 0).collect::<Vec<_>>());
        assert!(delivered.len() < wanted.len() + wanted.len() / 4, "most of the others were swept away");
    }

    fn due_prefixes(wheel: &mut Wheel) -> Vec<u32> {
        let mut budget = usize::MAX;
        std::iter::from_fn(|| wheel.pop_due(HORIZON_TICKS, &mut budget)).map(|record| record.prefix).collect()
    }
}
