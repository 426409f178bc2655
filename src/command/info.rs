//! INFO: the report of the server about itself.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
