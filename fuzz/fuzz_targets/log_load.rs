//! Any bytes, and edits of sound ones, as a write log; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom::testing::fuzz_files::log_load(data));
