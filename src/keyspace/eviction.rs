//! How the policies of `maxmemory-policy` judge an entry, and what they remember of accesses. Who looks for a victim is `victims.rs`.
//!
//! An entry keeps 24 bits of access history. Under an LRU policy they are seconds; under an LFU policy 16 bits of minutes and
//! an 8-bit logarithmic counter that decays with idle time. Names and the counter's rule are those that the Redis
//! documentation of maxmemory-policy describes.

use super::EntryRef;
use crate::base::clock::Now;
use crate::base::random::Random;

const ACCESS_MASK: u64 = 0x00ff_ffff;
const MINUTES_MASK: u64 = 0xffff;
/// What a new entry's counter starts with, so that it is not evicted before it had a chance.
const LFU_INITIAL: u32 = 5;

/// `maxmemory-policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    NoEviction,
    AllKeysLru,
    AllKeysLfu,
    AllKeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

impl Policy {
    pub fn is_lfu(self) -> bool {
        matches!(self, Policy::AllKeysLfu | Policy::VolatileLfu)
    }

    pub(super) fn is_random(self) -> bool {
        matches!(self, Policy::AllKeysRandom | Policy::VolatileRandom)
    }

    pub(super) fn only_volatile(self) -> bool {
        matches!(
            self,
            Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom | Policy::VolatileTtl
        )
    }
}

/// A stamp of the last so many seconds before the clock comes round is one of the future: another loop read its time later. It was used just
/// now. No batch of requests lasts for a day.
const AHEAD_SECONDS_MAX: u32 = 24 * 60 * 60;

/// Three months. The clock of an entry comes round after twice as long, and what is idle for longer must not look fresh.
const IDLE_SECONDS_MAX: i64 = ACCESS_MASK as i64 / 2;

/// How an access is noted in an entry: fixed for a batch of requests. Times are steady milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct AccessRules {
    pub lfu: bool,
    /// `lfu-log-factor`: how many accesses one step of the counter takes.
    pub log_factor: u32,
    /// `lfu-decay-time`: minutes after which the counter loses one; 0 never.
    pub decay_minutes: u32,
}

/// The steps of a clock of so many bits from a stamp to now; 0 if the stamp is ahead of it by at most `ahead_max`.
fn age(now: u32, stamp: u32, mask: u64, ahead_max: u32) -> u32 {
    let mask = mask as u32;
    let age = now.wrapping_sub(stamp) & mask;
    if age > mask - ahead_max { 0 } else { age }
}

fn seconds(now_ms: i64) -> u32 {
    ((now_ms / 1000) as u64 & ACCESS_MASK) as u32
}

fn minutes(now_ms: i64) -> u32 {
    ((now_ms / 60_000) as u64 & MINUTES_MASK) as u32
}

impl AccessRules {
    /// The access history of an entry that was just made.
    #[inline]
    pub fn fresh(&self, now_ms: i64) -> u32 {
        if self.lfu { minutes(now_ms) << 8 | LFU_INITIAL } else { seconds(now_ms) }
    }

    /// The access history of an entry that was last used so many seconds ago. LFU starts such an entry like a new one.
    pub fn idle(&self, seconds: i64, now_ms: i64) -> u32 {
        let seconds = if self.lfu { 0 } else { seconds.clamp(0, IDLE_SECONDS_MAX) };
        self.fresh(now_ms - seconds * 1000)
    }

    /// The access history of an entry with this counter. LRU starts such an entry like a new one.
    pub fn frequency(&self, counter: u8, now_ms: i64) -> u32 {
        if self.lfu { minutes(now_ms) << 8 | u32::from(counter) } else { self.fresh(now_ms) }
    }

    /// The access history after one more access.
    #[inline]
    pub fn touched(&self, access: u32, now_ms: i64, random: &mut Random) -> u32 {
        if !self.lfu {
            return seconds(now_ms);
        }
        let counter = lfu_counter(access, now_ms, self.decay_minutes);
        let base = counter.saturating_sub(LFU_INITIAL);
        let chance = u64::from(base) * u64::from(self.log_factor) + 1;
        let grown = counter + u32::from(counter < 255 && random.below(chance) == 0);
        minutes(now_ms) << 8 | grown
    }
}

/// Seconds since the last access under an LRU policy.
pub fn idle_seconds(access: u32, now_ms: i64) -> u32 {
    age(seconds(now_ms), access, ACCESS_MASK, AHEAD_SECONDS_MAX)
}

/// The LFU counter, after the decay for the time since it was last written.
pub fn lfu_counter(access: u32, now_ms: i64, decay_minutes: u32) -> u32 {
    let idle = age(minutes(now_ms), access >> 8, MINUTES_MASK, AHEAD_SECONDS_MAX / 60);
    let periods = idle.checked_div(decay_minutes).unwrap_or(0);
    (access & 0xff).saturating_sub(periods)
}

/// How willingly a policy gives an entry up; the highest goes first.
pub(super) fn score(policy: Policy, entry: EntryRef<'_>, now: Now, decay_minutes: u32) -> u64 {
    match policy {
        Policy::AllKeysLru | Policy::VolatileLru => u64::from(idle_seconds(entry.access(), now.steady_ms())),
        Policy::AllKeysLfu | Policy::VolatileLfu => {
            u64::from(255 - lfu_counter(entry.access(), now.steady_ms(), decay_minutes).min(255))
        }
        Policy::VolatileTtl => u64::MAX - entry.expire_at_ms().unwrap_or(0) as u64,
        Policy::AllKeysRandom | Policy::VolatileRandom | Policy::NoEviction => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_survives_the_wrap_of_24_bits() {
        let rules = AccessRules { lfu: false, log_factor: 10, decay_minutes: 1 };
        let before_wrap_ms = (i64::from(ACCESS_MASK as u32) - 3) * 1000;
        let access = rules.fresh(before_wrap_ms);
        assert_eq!(idle_seconds(access, before_wrap_ms + 10_000), 10);
    }

    #[test]
    fn a_loop_whose_time_is_behind_the_last_access_sees_a_key_that_was_just_used() {
        let now_ms = 1_790_000_000_000;
        let lru = AccessRules { lfu: false, log_factor: 10, decay_minutes: 1 };
        let lfu = AccessRules { lfu: true, ..lru };
        for behind_ms in [1, 1_000, 60_000, 86_399_000] {
            assert_eq!(idle_seconds(lru.fresh(now_ms), now_ms - behind_ms), 0, "{behind_ms}");
            let used = lfu.frequency(254, now_ms);
            assert_eq!(lfu_counter(used, now_ms - behind_ms, 1), 254, "{behind_ms}");
            assert_eq!(
                lfu_counter(lfu.touched(used, now_ms - behind_ms, &mut Random::new(1)), now_ms, 0),
                254
            );
        }
        // The other way round the difference is an age; the longest is that of Redis but for a day.
        assert_eq!(idle_seconds(lru.fresh(now_ms), now_ms + 16_000_000_000), 16_000_000);
        assert_eq!(lfu_counter(lfu.frequency(254, now_ms), now_ms + 3 * 60_000, 1), 251);
    }

    #[test]
    fn the_lfu_counter_grows_slowly_and_decays() {
        let rules = AccessRules { lfu: true, log_factor: 10, decay_minutes: 1 };
        let mut random = Random::new(3);
        let mut access = rules.fresh(0);
        for _ in 0..1000 {
            access = rules.touched(access, 0, &mut random);
        }
        let counter = lfu_counter(access, 0, 1);
        assert!((10..40).contains(&counter), "1,000 accesses bring the counter to about 18, got {counter}");
        assert_eq!(lfu_counter(access, 3 * 60_000, 1), counter - 3);
        assert_eq!(lfu_counter(access, 3 * 60_000, 0), counter);
    }
}
