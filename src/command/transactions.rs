//! Transactions.

use super::spec::CommandSpec;

pub const ROWS: &[CommandSpec] = &[];
