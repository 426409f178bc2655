//! Bytes as changes of collections; the body is in the library.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cloakroom::testing::fuzz_collections::collections(data));
