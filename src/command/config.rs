//! CONFIG: reading and changing the configuration.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
