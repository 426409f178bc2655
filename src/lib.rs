//! Cloakroom: an external session cache that speaks the Redis protocol.
//!
//! Modules are listed by rank; a module uses only modules of a lower rank (`tests/structure.rs` checks it).

// rank 0: no knowledge of the rest
pub mod base;
// rank 3: services (state, no loops)
pub mod config;
pub mod observe;
// beside the ranks: bodies of tests and fuzz targets
pub mod testing;
