//! Any bytes, and edits of sound ones, as a snapshot; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom::testing::fuzz_files::snapshot_load(data));
