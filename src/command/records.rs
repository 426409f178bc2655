//! SLOWLOG and LATENCY: what was recorded about slow requests; MONITOR.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
