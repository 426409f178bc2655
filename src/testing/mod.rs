//! Bodies of tests and fuzz targets that are more than a few lines, so that each build type-checks them.
//!
//! Nothing here runs in the server. A module of this folder may know the text of the protocol, but opens no socket and
//! reads no clock itself: what it drives is passed in.

pub mod fuzz;
pub mod fuzz_collections;
pub mod fuzz_files;
pub mod fuzz_rdb;
pub mod fuzz_streams;
pub mod in_process;
pub mod model;
pub mod power_cut_disk;
pub mod simulation;
pub mod transcript;
