//! What tests of a whole server share: processes in directories of their own (`process`) and a small client (`client`).
//!
//! Not a test binary by itself. Must not know what is tested. The server under test is the built binary, or the program that
//! `CLOAKROOM_TEST_SERVER` names, so that a test can first prove itself against redis-server.

#![allow(dead_code, reason = "each test binary that includes this module uses a part of it")]

pub mod client;
pub mod process;

use std::time::Duration;

/// Waits between two looks at something that cannot be waited for, such as another process.
#[allow(clippy::disallowed_methods, reason = "other processes cannot be waited for in another way")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Milliseconds since 1970 by the machine's clock, which the server under test reads as well.
pub fn now_ms() -> i64 {
    cloakroom::base::clock::Clock::System.now_ms()
}
