//! CLIENT: what a client may see and change of connections.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
