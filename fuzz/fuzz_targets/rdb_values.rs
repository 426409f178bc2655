//! Any bytes as a value of each encoding; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom::testing::fuzz_rdb::rdb_values(data));
