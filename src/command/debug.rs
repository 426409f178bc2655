//! DEBUG: what tests and developers may do to a server; off unless `enable-debug-command` allows it.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
