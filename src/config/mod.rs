//! Configuration directives: one table row each.
