//! Helpers that know nothing of the rest: checksums, number and pattern rules, the counting allocator, the lock, the clock, work in steps,
//! what is asked of the operating system.

pub mod allocator;
pub mod clock;
pub mod crc;
pub mod geohash;
pub mod glob;
pub mod lock;
pub mod long_double;
pub mod number;
pub mod quote;
pub mod random;
pub mod scheduling;
pub mod secret;
pub mod slabs;
pub mod step;
pub mod system;
pub mod waiting;
