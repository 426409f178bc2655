//! MEMORY: where the bytes are.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
