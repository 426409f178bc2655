//! Any bytes as an RDB file and as a payload of RESTORE; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom::testing::fuzz_rdb::rdb_load(data));
