//! Helpers that know nothing of the rest: checksums, number and pattern rules, accounting allocator, clock.

pub mod crc;
pub mod glob;
pub mod long_double;
pub mod number;
pub mod quote;
pub mod random;
