//! What the server records about itself: slow log, latency monitor, statistics of commands and errors.
//!
//! Everything here is state and text. Nothing reads a clock or writes a reply: time comes in as an argument, and
//! the command layer turns the data into RESP.
//!
//! Hot-path numbers (`counters`, `command_stats`, `histogram`) belong to one event loop each: that loop alone
//! writes them, with a plain load and store, and any thread may read them. They only ever grow. A reset is
//! therefore something that the reader remembers (`statistics`), never a write into another thread's counter.

pub mod command_stats;
pub mod counters;
pub mod error_stats;
pub mod histogram;
pub mod info_lines;
pub mod instantaneous;
mod latency_graph;
pub mod latency_monitor;
pub mod rates;
pub mod slow_log;
pub mod statistics;
