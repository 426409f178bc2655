//! Cloakroom: an external session cache that speaks the Redis protocol.
//!
//! Modules are listed by rank; a module uses only modules of a lower rank (`tests/structure.rs` checks it).

// rank 0: knows nothing of the rest
pub mod base;
// rank 1: the wire protocol, and the files
pub mod rdb;
pub mod resp;
pub mod storage;
// rank 2: databases, shards, entries
pub mod keyspace;
// rank 3: services: state that is shared, no loops
pub mod client;
pub mod config;
pub mod observe;
pub mod pubsub;
pub mod services;
pub mod snapshot;
pub mod write_log;
// rank 4: one file for each group of commands
pub mod command;
// rank 5: from a request to its effects
pub mod dispatch;
// rank 6: what keeps the data while the server runs; and tools for a server's files
pub mod maintenance;
pub mod persistence;
pub mod transfer;
// rank 7: sockets, event loops, timers, signals
pub mod server;
// beside the ranks: bodies of tests and fuzz targets
pub mod testing;
