//! COMMAND: the command table, told to clients.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
