//! The expiry wheel of one shard and database: a hierarchical timing wheel of 8-byte records.
//!
//! A record is the upper half of a key's hash and the tick at which somebody must look at that key; it owns nothing and may
//! be stale. Level `n` has 64 slots of `64^n` ticks each. A record lies on the level of the highest group of six bits in
//! which its tick differs from the wheel's own; when the wheel reaches a slot of a higher level, that slot's records move
//! down. Slots are chains of 128-byte chunks, so that a record costs little more than its 8 bytes.
//!
//! Sliding a deadline does not touch the wheel: `partition.rs` keeps the earliest filed tick in the entry and files the key
//! again when that tick comes and the deadline has moved on.

/// Milliseconds a tick: how late, at the most, an idle server looks at a key that is due.
pub const TICK_MS: i64 = 16;

const LEVELS: usize = 6;
const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const CHUNK_RECORDS: usize = 14;

/// A look at one key is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The upper 32 bits of the key's hash.
    pub prefix: u32,
    pub tick: u32,
}

struct Chunk {
    next: Option<Box<Chunk>>,
    len: usize,
    records: [Record; CHUNK_RECORDS],
}

/// See the module's text. `now` is the next tick that is not yet processed.
pub struct Wheel {
    now: u32,
    len: usize,
    occupied: [u64; LEVELS],
    slots: [[Option<Box<Chunk>>; SLOTS]; LEVELS],
}

impl Wheel {
    /// An empty wheel that has processed everything before `now`.
    pub fn new(now: u32) -> Wheel {
        Wheel { now, len: 0, occupied: [0; LEVELS], slots: [const { [const { None }; SLOTS] }; LEVELS] }
    }

    /// Records in the wheel, stale ones included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Files a record; one whose tick is already past comes due at once.
    pub fn file(&mut self, record: Record) {
        let tick = record.tick.max(self.now);
        let level = ((31 - (tick ^ self.now | 1).leading_zeros()) / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS * level as u32)) as usize % SLOTS;
        self.occupied[level] |= 1 << slot;
        self.len += 1;
        push(&mut self.slots[level][slot], record);
    }

    /// The next record whose tick is at or before `target`, in order of ticks; `None` when the wheel has caught up.
    /// Each unit of `budget` pays for moving or delivering one record; at 0 the rest waits for the next call.
    pub fn pop_due(&mut self, target: u32, budget: &mut usize) -> Option<Record> {
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
                self.file(record);
            }
        }
        None
    }

    /// The first tick at which [`Wheel::pop_due`] has something to do; `None` for an empty wheel.
    pub fn next_tick(&self) -> Option<u32> {
        self.next_slot().map(|(_, _, start)| start)
    }

    /// The occupied slot that comes first: its level, index and first tick (not before `now`). A higher level wins a tie,
    /// because what it holds may belong in front.
    fn next_slot(&self) -> Option<(usize, usize, u32)> {
        let mut first = None;
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level as u32;
            let current = (self.now >> shift) as usize % SLOTS;
            let ahead = self.occupied[level] >> current << current;
            if ahead == 0 {
                continue;
            }
            let slot = ahead.trailing_zeros() as usize;
            let above = u64::from(self.now) >> shift >> SLOT_BITS << SLOT_BITS;
            let start = (((above + slot as u64) << shift) as u32).max(self.now);
            if first.is_none_or(|(_, _, earliest)| start <= earliest) {
                first = Some((level, slot, start));
            }
        }
        first
    }

    fn pop(&mut self, level: usize, slot: usize) -> Option<Record> {
        let head = &mut self.slots[level][slot];
        let chunk = head.as_mut()?;
        chunk.len -= 1;
        let record = chunk.records[chunk.len];
        if chunk.len == 0 {
            *head = chunk.next.take();
            if head.is_none() {
                self.occupied[level] &= !(1 << slot);
            }
        }
        self.len -= 1;
        Some(record)
    }

    /// Records whose tick is at or before `target`, stale ones included.
    pub fn due(&self, target: u32) -> usize {
        let chunks = |head: &Option<Box<Chunk>>| {
            let mut next = head.as_deref();
            let mut due = 0;
            while let Some(chunk) = next {
                due += chunk.records[..chunk.len].iter().filter(|record| record.tick <= target).count();
                next = chunk.next.as_deref();
            }
            due
        };
        match self.next_tick() {
            Some(first) if first <= target => self.slots.iter().flatten().map(chunks).sum(),
            _ => 0,
        }
    }

    /// Drops the records of one slot that `keep` does not want: of the first slot in use from `step` on (slots are counted level by level).
    /// Gives the step to go on with.
    pub fn sweep(&mut self, step: usize, keep: impl Fn(Record) -> bool) -> usize {
        let in_use = |step: &usize| self.occupied[step / SLOTS] >> (step % SLOTS) & 1 == 1;
        let Some(step) = (step..Self::SWEEP_STEPS).find(in_use) else { return 0 };
        let (level, slot) = (step / SLOTS, step % SLOTS);
        let mut old = self.slots[level][slot].take();
        while let Some(mut chunk) = old {
            for record in &chunk.records[..chunk.len] {
                if keep(*record) {
                    push(&mut self.slots[level][slot], *record);
                } else {
                    self.len -= 1;
                }
            }
            old = chunk.next.take();
        }
        if self.slots[level][slot].is_none() {
            self.occupied[level] &= !(1 << slot);
        }
        (step + 1) % Self::SWEEP_STEPS
    }

    const SWEEP_STEPS: usize = LEVELS * SLOTS;
}

impl Drop for Wheel {
    fn drop(&mut self) {
        // Chains are taken apart link by link: the derived drop would recurse once per chunk.
        for head in self.slots.iter_mut().flatten() {
            let mut next = head.take();
            while let Some(mut chunk) = next {
                next = chunk.next.take();
            }
        }
    }
}

fn push(head: &mut Option<Box<Chunk>>, record: Record) {
    match head {
        Some(chunk) if chunk.len < CHUNK_RECORDS => {
            chunk.records[chunk.len] = record;
            chunk.len += 1;
        }
        _ => {
            let next = head.take();
            *head = Some(Box::new(Chunk { next, len: 1, records: [record; CHUNK_RECORDS] }));
        }
    }
}

const _: () = assert!(size_of::<Chunk>() == 128, "a chunk is one jemalloc class");

#[cfg(test)]
mod tests {
    use super::*;

    fn due(wheel: &mut Wheel, target: u32) -> Vec<u32> {
        let mut budget = usize::MAX;
        std::iter::from_fn(|| wheel.pop_due(target, &mut budget)).map(|record| record.tick).collect()
    }

    #[test]
    fn records_come_due_on_their_tick_and_not_before() {
        let mut wheel = Wheel::new(100);
        let ticks = [100, 101, 163, 164, 200, 4_096, 5_000, 300_000, 20_000_000, u32::MAX - 1];
        for tick in ticks {
            wheel.file(Record { prefix: tick, tick });
        }
        for tick in ticks {
            assert_eq!(due(&mut wheel, tick - 1), Vec::<u32>::new(), "nothing before {tick}");
            assert_eq!(due(&mut wheel, tick), [tick]);
        }
        assert_eq!(wheel.len(), 0);
    }

    #[test]
    fn random_records_all_come_in_time_whatever_the_steps() {
        let (mut wheel, mut state, mut now) = (Wheel::new(1), 99u64, 1u32);
        let mut model: Vec<u32> = Vec::new();
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let tick = now + (state >> 33) as u32 % (1 << ((state >> 20) % 24));
            wheel.file(Record { prefix: 0, tick });
            model.push(tick);
            if state >> 60 == 0 {
                now += (state >> 40) as u32 % 5000;
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
            wheel.file(Record { prefix: i, tick: 70 });
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
            wheel.file(Record { prefix: i, tick: 1 + i * 3 });
        }
        assert_eq!((wheel.due(0), wheel.due(1), wheel.due(300), wheel.due(u32::MAX)), (0, 1, 100, 1000));
    }

    #[test]
    fn a_sweep_drops_what_nobody_wants() {
        let mut wheel = Wheel::new(1);
        for i in 0..10_000 {
            wheel.file(Record { prefix: i, tick: 1 + i * 3 });
        }
        let in_use: u32 = wheel.occupied.iter().map(|slots| slots.count_ones()).sum();
        let mut step = 0;
        for _ in 0..in_use {
            step = wheel.sweep(step, |record| record.prefix % 2 == 0);
        }
        assert_eq!(wheel.len(), 5000);
        assert_eq!(wheel.sweep(step, |_| false), 0, "that was the last slot in use");
        assert_eq!(wheel.len(), 5000);
        assert_eq!(due(&mut wheel, 40_000).len(), 5000);
    }
}
