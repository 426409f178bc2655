//! Commands on keys of any type.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
