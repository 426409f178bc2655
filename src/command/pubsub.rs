//! Commands of publish and subscribe.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
